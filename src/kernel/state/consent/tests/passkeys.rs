//! Words that users give by passkeys.

use super::*;
use crate::audit::PasskeyWord;
use crate::consent::Means;
use crate::credential::{Credential, Credentials, NamedCredential};
use crate::factor::Shown;
use crate::passkey::tests::soft::{SoftKey, SoftPasskey};
use crate::passkey::{Assertion, PasskeyError, PublicKey, RelyingParty};

impl From<PasskeyWordError> for Not {
    fn from(error: PasskeyWordError) -> Not {
        Not::Passkey(error)
    }
}

const PARTY: RecordKey = RecordKey::single(Kind::RelyingParty);

fn party() -> RelyingParty {
    RelyingParty::of_origin("https://approve.example.org").expect("an origin")
}

fn soft(name: &str) -> SoftPasskey {
    let kind = if name == "bob" { SoftKey::EdDsa } else { SoftKey::Es256 };
    SoftPasskey::of(name, kind, 7)
}

fn registered(name: &str, soft: &SoftPasskey) -> Credentials {
    let new =
        NamedCredential { name: "phone".into(), credential: Credential::Passkey(soft.passkey()), since: NOW };
    Credentials::none_of(user(name)).with(new, core::iter::empty()).expect("the first one")
}

/// A store in which alice and bob have passkeys, and a page is trusted.
fn store(needed: usize) -> Store {
    let mut store = Store::new(needed);
    for name in ["alice", "bob"] {
        store.put(RecordKey::credentials(name), &registered(name, &soft(name)));
    }
    store.put(PARTY, &party());
    store
}

impl Store {
    fn challenge(&self, word: Word, name: &str) -> [u8; 32] {
        self.pending().value.digest_for(&user(name)).expect("asked").binding(word)
    }

    fn decide_asserted(
        &self,
        word: Word,
        name: &str,
        assertion: &Assertion,
    ) -> Result<Decision<Recorded>, Not> {
        let of = |place: RecordKey| self.records.contains_key(&place).then_some(place);
        let credentials = of(RecordKey::credentials(name)).map(|place| self.read(place));
        let page = of(PARTY).map(|place| self.read(place));
        let asked = AssertedWord { user: user(name), word, assertion };
        let (pending, record) = (self.pending(), self.read(RecordKey::user(name)));
        let is_frozen = |place: &RecordKey| self.is_frozen(place);
        consent_by_passkey(
            &asked,
            &pending,
            &record,
            credentials.as_ref(),
            page.as_ref(),
            is_frozen,
            self.now,
        )
    }

    fn say_asserted(&mut self, word: Word, name: &str, assertion: &Assertion) -> Result<(), Not> {
        let decision = self.decide_asserted(word, name, assertion)?;
        let _recorded = self.write(decision).expect("nobody came first");
        Ok(())
    }

    fn asserts(&self, soft: &mut SoftPasskey, word: Word, name: &str) -> Assertion {
        soft.assert(&self.challenge(word, name), &party())
    }

    fn counter(&self, name: &str) -> u32 {
        let credentials: Versioned<Credentials> = self.read(RecordKey::credentials(name));
        credentials.value.passkeys().next().expect("there is one").1.counter
    }
}

fn wrong(error: PasskeyError) -> Option<Not> {
    Some(Not::Passkey(PasskeyWordError::Passkey(error)))
}

#[test]
fn an_approval_by_passkey_counts_as_one_by_code_and_its_ticket_signs() {
    let mut store = store(2);
    let assertion = store.asserts(&mut soft("alice"), Word::Approve, "alice");
    let before = store.records[&RecordKey::credentials("alice")].1.len();
    assert_eq!(store.say_asserted(Word::Approve, "alice", &assertion), Ok(()));
    // One commit, and no code is spent.
    let places: Vec<_> = store.written.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, [RecordKey::pending(&TICKET), RecordKey::credentials("alice")]);
    assert_eq!(store.records[&RecordKey::credentials("alice")].1.len(), before);
    assert_eq!(store.unchanged, [RecordKey::user("alice"), PARTY]);
    assert_eq!((store.counter("alice"), store.counter("bob")), (8, 7));
    assert_eq!(store.standing(), Standing::Open { approved: 1, needed: 2 });
    let Some(Event::Consent(step)) = &store.event else { panic!("told") };
    assert_eq!(step.step.tag(), "consent-given");
    let PendingStep::SaidByPasskey(word) = &step.step else { panic!("by passkey") };
    let PasskeyWord { user, refuses, passkey, digest, public_key, .. } = &**word;
    assert_eq!((user.as_str(), *refuses, passkey.as_str(), step.ticket), ("alice", false, "phone", TICKET));
    // The audit alone shows that the passkey signed.
    let known = crate::passkey::Passkey {
        key: PublicKey::from_spki(public_key).expect("a key"),
        ..soft("alice").passkey()
    };
    let again = Assertion {
        id: known.id.clone(),
        client_data: word.client_data.clone(),
        authenticator_data: word.authenticator_data.clone(),
        signature: word.signature.clone(),
    };
    assert!(known.verify(&again, digest, &party()).is_ok());
    let assertion = store.asserts(&mut soft("bob"), Word::Approve, "bob");
    assert_eq!(store.say_asserted(Word::Approve, "bob", &assertion), Ok(()));
    let means: Vec<_> = store.pending().value.approvals().map(|approved| approved.means).collect();
    assert_eq!(means, [Means::Passkey, Means::Passkey]);
    assert!(store.sign_usual().is_ok());
}

#[test]
fn a_refusal_by_passkey_kills_the_proposal() {
    let mut store = store(1);
    let assertion = store.asserts(&mut soft("bob"), Word::Refuse, "bob");
    assert_eq!(store.say_asserted(Word::Refuse, "bob", &assertion), Ok(()));
    assert_eq!(store.standing(), Standing::Refused(user("bob")));
    assert_eq!(store.counter("bob"), 8);
    let Some(Event::Consent(step)) = &store.event else { panic!("told") };
    assert_eq!(step.step.tag(), "consent-refused");
    let assertion = store.asserts(&mut soft("alice"), Word::Approve, "alice");
    let over = ConsentError::Over(Standing::Refused(user("bob")));
    let refused = store.decide_asserted(Word::Approve, "alice", &assertion).err();
    assert_eq!(refused, Some(Not::Passkey(over.into())));
}

#[test]
fn consent_passkey_word_an_assertion_to_approve_refuses_nothing_and_the_reverse() {
    let store = store(1);
    for (given, asked) in [(Word::Approve, Word::Refuse), (Word::Refuse, Word::Approve)] {
        let assertion = store.asserts(&mut soft("alice"), given, "alice");
        let refused = store.decide_asserted(asked, "alice", &assertion).err();
        assert_eq!(refused, wrong(PasskeyError::Challenge));
        assert!(store.decide_asserted(given, "alice", &assertion).is_ok());
    }
}

#[test]
fn consent_passkey_proposal_an_assertion_for_anything_else_writes_nothing_and_charges_nobody() {
    let store = store(2);
    let mut pendings = vec![
        (store.proposal([0x48; 16], 2, request().binding()), "another proposal of the same transaction"),
        (store.proposal(TICKET, 2, [0x77; 32]), "another transaction"),
    ];
    let changes = [
        (|draft: &mut Draft| draft.store = [8; 16]) as fn(&mut Draft),
        |draft| draft.statement.wallet = [0x40; 16],
        |draft| draft.statement.expires += 1,
        |draft| draft.statement.fee += 1,
    ];
    let names = ["another store", "another wallet", "another end", "another fee"];
    for (change, why) in changes.into_iter().zip(names) {
        let mut draft = store.draft(TICKET, 2, request().binding());
        change(&mut draft);
        pendings.push((Pending::new(draft, NOW).expect("a proposal"), why));
    }
    for (pending, why) in pendings {
        let challenge = pending.digest_for(&user("alice")).expect("asked").approval();
        let assertion = soft("alice").assert(&challenge, &party());
        let refused = store.decide_asserted(Word::Approve, "alice", &assertion).err();
        assert_eq!(refused, wrong(PasskeyError::Challenge), "{why}");
    }
    let assertion = soft("alice").assert(&store.challenge(Word::Approve, "bob"), &party());
    let refused = store.decide_asserted(Word::Approve, "alice", &assertion).err();
    assert_eq!(refused, wrong(PasskeyError::Challenge), "another user's statement");
}

#[test]
fn consent_passkey_user_nobody_approves_with_another_users_passkey() {
    let none = |name: &str| Some(Not::Passkey(PasskeyWordError::None(name.into())));
    let mut store = store(2);
    let mut bobs = soft("bob");
    let assertion = store.asserts(&mut bobs, Word::Approve, "alice");
    assert_eq!(store.decide_asserted(Word::Approve, "alice", &assertion).err(), none("alice"));
    // Under the id of one of alice's.
    bobs.id = soft("alice").id;
    let assertion = store.asserts(&mut bobs, Word::Approve, "alice");
    let refused = store.decide_asserted(Word::Approve, "alice", &assertion).err();
    assert_eq!(refused, wrong(PasskeyError::Signature));
    let assertion = store.asserts(&mut soft("carol"), Word::Approve, "carol");
    assert_eq!(
        store.decide_asserted(Word::Approve, "carol", &assertion).err(),
        none("carol"),
        "who has none"
    );
    let earlier = Credentials::none_of(UserId { key: [0x16; 16], ..user("bob") });
    let new = registered("bob", &soft("bob")).list()[0].clone();
    store.put(RecordKey::credentials("bob"), &earlier.with(new, core::iter::empty()).expect("the first one"));
    let assertion = store.asserts(&mut soft("bob"), Word::Approve, "bob");
    assert_eq!(
        store.decide_asserted(Word::Approve, "bob", &assertion).err(),
        none("bob"),
        "of an earlier enrolment"
    );
}

#[test]
fn consent_passkey_unconfirmed_only_who_is_confirmed_by_this_enrolment_is_heard() {
    let mut store = store(1);
    let assertion = store.asserts(&mut soft("alice"), Word::Approve, "alice");
    let not_asked = Some(Not::Passkey(ConsentError::NotAsked("alice".into()).into()));
    store.put(RecordKey::user("alice"), &UserRecord { confirmed: false, ..user_record("alice") });
    assert_eq!(store.decide_asserted(Word::Approve, "alice", &assertion).err(), not_asked);
    let again = UserRecord { factor: Factor::totp(otp("zoe")), ..user_record("alice") };
    store.put(RecordKey::user("alice"), &again);
    assert_eq!(store.decide_asserted(Word::Approve, "alice", &assertion).err(), not_asked, "enrolled again");
}

#[test]
fn consent_passkey_page_only_the_one_of_the_store_counts() {
    let mut store = store(1);
    let assertion = store.asserts(&mut soft("alice"), Word::Approve, "alice");
    let other = RelyingParty::of_origin("https://approve.example.com").expect("an origin");
    store.put(PARTY, &other);
    let refused = store.decide_asserted(Word::Approve, "alice", &assertion).err();
    assert_eq!(refused, wrong(PasskeyError::Origin("https://approve.example.com".into())));
    store.records.remove(&PARTY);
    let refused = store.decide_asserted(Word::Approve, "alice", &assertion).err();
    assert_eq!(refused, Some(Not::Passkey(PasskeyWordError::NoPage)));
}

#[test]
fn consent_passkey_replay_the_same_assertion_is_heard_once() {
    for shared in [false, true] {
        let mut store = store(2);
        let mut alices = soft("alice");
        if shared {
            // One that does not count.
            alices.counter = 0;
            store.put(RecordKey::credentials("alice"), &registered("alice", &alices));
        }
        let challenge = store.challenge(Word::Approve, "alice");
        alices.counter += u32::from(!shared);
        let assertion = alices.answer(&challenge, &party());
        assert_eq!(store.say_asserted(Word::Approve, "alice", &assertion), Ok(()));
        let given = Some(Not::Passkey(PasskeyWordError::Given("alice".into())));
        assert_eq!(store.decide_asserted(Word::Approve, "alice", &assertion).err(), given);
        assert_eq!(store.standing(), Standing::Open { approved: 1, needed: 2 });
    }
}

#[test]
fn consent_passkey_counter_of_two_answers_with_one_counter_one_is_heard() {
    let mut store = store(2);
    let (approval, refusal) = (
        store.asserts(&mut soft("alice"), Word::Approve, "alice"),
        store.asserts(&mut soft("alice"), Word::Refuse, "alice"),
    );
    let early = store.decide_asserted(Word::Refuse, "alice", &refusal).expect("right so far");
    assert_eq!(store.say_asserted(Word::Approve, "alice", &approval), Ok(()));
    assert!(store.write(early).is_none(), "decided before the other one was written");
    let refused = store.decide_asserted(Word::Refuse, "alice", &refusal).err();
    assert_eq!(refused, wrong(PasskeyError::Counter { before: 8, now: 8 }));
}

#[test]
fn a_passkey_shows_what_a_code_does_not_and_the_last_such_means_counts() {
    let shown = |store: &Store| {
        store.pending().value.approvals().map(|approved| approved.means.shown()).collect::<Vec<_>>()
    };
    let mut store = store(2);
    store.approve("alice");
    assert_eq!(shown(&store), [None]);
    let assertion = store.asserts(&mut soft("alice"), Word::Approve, "alice");
    assert_eq!(store.say_asserted(Word::Approve, "alice", &assertion), Ok(()));
    assert_eq!(shown(&store), [Some(Shown::Passkey)]);
    let pending = store.pending().value;
    let by_device = pending.approve(&user("alice"), Means::Device, NOW).expect("it is open");
    assert_eq!(by_device.means_of(&user("alice")), Some(Means::Device));
    let again = by_device.approve(&user("alice"), Means::Passkey, NOW).expect("it is open");
    assert_eq!(again.means_of(&user("alice")), Some(Means::Passkey));
    let code = Means::Code(crate::factor::FactorKind::Totp);
    let by_code = again.approve(&user("alice"), code, NOW).expect("it is open");
    assert_eq!(by_code.means_of(&user("alice")), Some(Means::Passkey));
    assert_eq!(by_code.standing(NOW), Standing::Open { approved: 1, needed: 2 });
}

#[test]
fn a_freeze_stops_approvals_by_passkey_and_nobodys_refusal() {
    for frozen in [freeze::EVERYTHING, freeze::place_of(&WALLET), freeze::place_of(&RecordKey::user("alice"))]
    {
        let mut store = store(1);
        let assertion = store.asserts(&mut soft("alice"), Word::Approve, "alice");
        let before = store.decide_asserted(Word::Approve, "alice", &assertion).expect("nothing is frozen");
        store.put(frozen, &NobodyRecord::default());
        let stopped = store.decide_asserted(Word::Approve, "alice", &assertion).err();
        assert!(matches!(stopped, Some(Not::Tried(Untried::Frozen(_)))), "{stopped:?}");
        assert!(store.write(before).is_none(), "decided before the freeze");
        let assertion = store.asserts(&mut soft("alice"), Word::Refuse, "alice");
        assert_eq!(store.say_asserted(Word::Refuse, "alice", &assertion), Ok(()));
    }
}

#[test]
fn an_approval_by_passkey_is_recorded_only_while_user_passkey_and_page_are_what_they_were() {
    for place in
        [RecordKey::user("alice"), RecordKey::credentials("alice"), RecordKey::pending(&TICKET), PARTY]
    {
        let mut store = store(1);
        let assertion = store.asserts(&mut soft("alice"), Word::Approve, "alice");
        let decision = store.decide_asserted(Word::Approve, "alice", &assertion).expect("right");
        store.records.get_mut(&place).expect("it is there").0 += 1;
        assert!(store.write(decision).is_none(), "{place:?}");
    }
}

#[test]
fn a_user_who_is_locked_for_wrong_codes_still_approves_by_passkey() {
    let mut store = store(1);
    let mut record = user_record("alice");
    for _ in 0..20 {
        record.budget = record.budget.charge(NOW);
    }
    assert!(record.budget.is_locked(NOW));
    store.put(RecordKey::user("alice"), &record);
    let assertion = store.asserts(&mut soft("alice"), Word::Approve, "alice");
    assert_eq!(store.say_asserted(Word::Approve, "alice", &assertion), Ok(()));
}
