//! Words that users give by devices.

use bitcoin::secp256k1::{All, SecretKey};
use data_encoding::BASE64;

use super::*;
use crate::audit::DeviceWord;
use crate::consent::Means;
use crate::credential::{Credential, Credentials, NamedCredential};
use crate::factor::Shown;
use crate::message::SignatureError;

impl From<DeviceError> for Not {
    fn from(error: DeviceError) -> Not {
        Not::Device(error)
    }
}

fn secp() -> Secp256k1<All> {
    Secp256k1::new()
}

/// The key of a user's device.
fn device_key(name: &str) -> SecretKey {
    SecretKey::from_slice(&[name.as_bytes()[0]; 32]).expect("a key")
}

fn device_address(name: &str, network: Network) -> String {
    let public = bitcoin::CompressedPublicKey(device_key(name).public_key(&secp()));
    bitcoin::Address::p2wpkh(&public, network.addresses()).to_string()
}

/// What a device answers that was asked to sign this text (BIP 137).
fn signs(name: &str, text: &str) -> String {
    let digest = bitcoin::sign_message::signed_msg_hash(text);
    let digest = bitcoin::secp256k1::Message::from_digest(*digest.as_ref());
    let (recovery, compact) = secp().sign_ecdsa_recoverable(&digest, &device_key(name)).serialize_compact();
    let header = 39 + u8::try_from(recovery.to_i32()).expect("0 to 3");
    BASE64.encode(&[&[header], &compact[..]].concat())
}

fn registered(name: &str, key: &str, network: Network) -> Credentials {
    let credential = Credential::device(&device_address(key, network), network).expect("an address");
    let new = NamedCredential { name: "ledger".into(), credential, since: NOW };
    Credentials::none_of(user(name)).with(new, core::iter::empty()).expect("the first one")
}

/// A store in which alice and bob have devices.
fn store(needed: usize) -> Store {
    let mut store = Store::new(needed);
    for name in ["alice", "bob"] {
        store.put(RecordKey::credentials(name), &registered(name, name, Network::Mainnet));
    }
    store
}

impl Store {
    fn text(&self, word: Word, name: &str) -> String {
        let text = self.pending().value.device_text_for(&user(name), word).expect("it fits");
        text.as_str().to_owned()
    }

    fn decide_signed(&self, word: Word, name: &str, signature: &str) -> Result<Decision<Recorded>, Not> {
        let place = RecordKey::credentials(name);
        let credentials = self.records.contains_key(&place).then(|| self.read(place));
        let asked = SignedWord { user: user(name), word, signature };
        let (pending, record) = (self.pending(), self.read(RecordKey::user(name)));
        let is_frozen = |place: &RecordKey| self.is_frozen(place);
        consent_by_device(&asked, &pending, &record, credentials.as_ref(), is_frozen, self.now, &secp())
    }

    fn say_signed(&mut self, word: Word, name: &str, signature: &str) -> Result<(), Not> {
        let decision = self.decide_signed(word, name, signature)?;
        let _recorded = self.write(decision).expect("nobody came first");
        Ok(())
    }
}

const WRONG: Not = Not::Device(DeviceError::Signature(SignatureError::Wrong));

#[test]
fn an_approval_by_device_counts_as_one_by_code_and_its_ticket_signs() {
    let mut store = store(2);
    let text = store.text(Word::Approve, "alice");
    assert_eq!(store.say_signed(Word::Approve, "alice", &signs("alice", &text)), Ok(()));
    let places: Vec<_> = store.written.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, [RecordKey::pending(&TICKET)], "no code is spent");
    assert_eq!(store.unchanged, [RecordKey::user("alice"), RecordKey::credentials("alice")]);
    assert_eq!(store.standing(), Standing::Open { approved: 1, needed: 2 });
    let Some(Event::Consent(step)) = &store.event else { panic!("told") };
    let PendingStep::SaidByDevice(word) = &step.step else { panic!("by device") };
    let DeviceWord { user, refuses, device, address, text: shown, signature, .. } = &**word;
    assert_eq!((user.as_str(), *refuses, device.as_str(), step.ticket), ("alice", false, "ledger", TICKET));
    // The audit alone shows that the device signed.
    let address = crate::message::SigningAddress::parse(address, Network::Mainnet).expect("an address");
    assert_eq!(address.verify(shown, signature, &secp()), Ok(()));
    assert_eq!(*shown, text);
    let digest = store.pending().value.digest_for(&self::user("alice")).expect("asked");
    assert!(word.digest == digest.0 && text.ends_with(&digest.to_string()));
    store.approve("bob");
    let means: Vec<_> = store.pending().value.approvals().map(|approved| approved.means).collect();
    assert_eq!(means, [Means::Device, Means::Code(crate::factor::FactorKind::Totp)]);
    assert!(store.sign_usual().is_ok());
}

#[test]
fn a_refusal_by_device_kills_the_proposal() {
    let mut store = store(1);
    let text = store.text(Word::Refuse, "bob");
    assert_eq!(store.say_signed(Word::Refuse, "bob", &signs("bob", &text)), Ok(()));
    assert_eq!(store.standing(), Standing::Refused(user("bob")));
    let Some(Event::Consent(step)) = &store.event else { panic!("told") };
    assert_eq!(step.step.tag(), "consent-refused");
}

#[test]
fn consent_device_wrong_a_signature_for_anything_else_writes_nothing_and_charges_nobody() {
    let store = store(2);
    let text = store.text(Word::Approve, "alice");
    let other_proposal = store.proposal([0x48; 16], 2, request().binding());
    let other_transaction = store.proposal(TICKET, 2, [0x77; 32]);
    let other_text = |pending: &Pending| {
        pending.device_text_for(&user("alice"), Word::Approve).expect("it fits").as_str().to_owned()
    };
    for (signature, why) in [
        (signs("bob", &text), "another user's device"),
        (signs("carol", &text), "nobody's device"),
        (signs("alice", &store.text(Word::Approve, "bob")), "the text for another user"),
        (signs("alice", &store.text(Word::Refuse, "alice")), "the other word"),
        (signs("alice", &other_text(&other_proposal)), "another proposal of the same transaction"),
        (signs("alice", &other_text(&other_transaction)), "another transaction"),
        (signs("alice", &format!("{text}\n")), "a newline more"),
        (signs("alice", &format!("{text} ")), "a blank more"),
        (signs("alice", &text.to_uppercase()), "other letters"),
        (signs("alice", &text.replace("approve", "\u{430}pprove")), "a letter that looks the same"),
        (signs("alice", &text[..text.len() - 64]), "no digest"),
    ] {
        assert_eq!(store.decide_signed(Word::Approve, "alice", &signature).err(), Some(WRONG), "{why}");
    }
    // Of another store, another wallet, another end.
    for change in [
        (|draft: &mut Draft| draft.store = [8; 16]) as fn(&mut Draft),
        |draft| draft.statement.wallet = [0x40; 16],
        |draft| draft.statement.expires += 1,
    ] {
        let mut draft = store.draft(TICKET, 2, request().binding());
        change(&mut draft);
        let signature = signs("alice", &other_text(&Pending::new(draft, NOW).expect("a proposal")));
        assert_eq!(store.decide_signed(Word::Approve, "alice", &signature).err(), Some(WRONG));
    }
    assert!(
        store.decide_signed(Word::Approve, "alice", &signs("alice", &text)).is_ok(),
        "and so it is right"
    );
}

#[test]
fn consent_device_form_what_is_no_signature_or_too_long_is_told_apart() {
    let store = store(1);
    let form = Some(Not::Device(DeviceError::Signature(SignatureError::Form)));
    for none in ["", "123456", "\n", &"A".repeat(1_000_000)] {
        assert_eq!(store.decide_signed(Word::Approve, "alice", none).err(), form);
    }
}

#[test]
fn consent_device_none_is_registered_for_this_user_enrolment_and_network() {
    let none =
        |name: &str| Some(Not::Device(DeviceError::None { user: name.into(), network: Network::Mainnet }));
    let mut store = store(1);
    let of = |store: &Store, name: &str| {
        let signature = signs(name, &store.text(Word::Approve, name));
        store.decide_signed(Word::Approve, name, &signature).err()
    };
    assert_eq!(of(&store, "carol"), none("carol"), "who has none");
    store.put(RecordKey::credentials("alice"), &registered("alice", "alice", Network::Signet));
    assert_eq!(of(&store, "alice"), none("alice"), "of another network");
    let earlier = UserId { key: [0x16; 16], ..user("bob") };
    let mut credentials = Credentials::none_of(earlier);
    let credential = Credential::device(&device_address("bob", Network::Mainnet), Network::Mainnet);
    let new =
        NamedCredential { name: "ledger".into(), credential: credential.expect("an address"), since: NOW };
    credentials = credentials.with(new, core::iter::empty()).expect("the first one");
    store.put(RecordKey::credentials("bob"), &credentials);
    assert_eq!(of(&store, "bob"), none("bob"), "of an earlier enrolment");
}

#[test]
fn consent_device_given_the_same_signature_approves_once() {
    let mut store = store(2);
    let signature = signs("alice", &store.text(Word::Approve, "alice"));
    assert_eq!(store.say_signed(Word::Approve, "alice", &signature), Ok(()));
    let given = Some(Not::Device(DeviceError::Given("alice".into())));
    assert_eq!(store.decide_signed(Word::Approve, "alice", &signature).err(), given);
    assert_eq!(store.standing(), Standing::Open { approved: 1, needed: 2 });
}

#[test]
fn what_a_user_approves_by_device_counts_as_shown_even_after_a_code_and_before_another() {
    let mut store = store(2);
    let shown = |store: &Store| {
        let signers = ["alice", "bob", "carol"].map(|name| store.read(RecordKey::user(name)));
        Ticket::new(store.pending(), signers.into()).means()
    };
    store.approve("alice");
    store.approve("bob");
    assert_eq!(shown(&store), [None, None]);
    let signature = signs("bob", &store.text(Word::Approve, "bob"));
    assert_eq!(store.say_signed(Word::Approve, "bob", &signature), Ok(()));
    assert_eq!(shown(&store), [None, Some(Shown::Device)]);
    assert_eq!(store.pending().value.approvals().count(), 2, "each user once");
    store.now += 30;
    store.approve("bob");
    assert_eq!(shown(&store), [None, Some(Shown::Device)]);
}

#[test]
fn consent_device_over_what_is_refused_or_expired_takes_no_signature() {
    let mut store = store(1);
    let signature = signs("alice", &store.text(Word::Approve, "alice"));
    store.now += DEFAULT_LIFETIME + 1;
    let over = |standing| Some(Not::Device(DeviceError::Consent(ConsentError::Over(standing))));
    assert_eq!(store.decide_signed(Word::Approve, "alice", &signature).err(), over(Standing::Expired));
    store.now = NOW;
    store.say(Word::Refuse, "bob", &code("bob", NOW)).expect("it is open").expect("a right code");
    let refused = over(Standing::Refused(user("bob")));
    assert_eq!(store.decide_signed(Word::Approve, "alice", &signature).err(), refused);
}

#[test]
fn consent_device_user_only_who_is_confirmed_by_this_enrolment_is_heard() {
    let mut store = store(1);
    let signature = signs("alice", &store.text(Word::Approve, "alice"));
    let not_asked = Some(Not::Device(DeviceError::Consent(ConsentError::NotAsked("alice".into()))));
    store.put(RecordKey::user("alice"), &UserRecord { confirmed: false, ..user_record("alice") });
    assert_eq!(store.decide_signed(Word::Approve, "alice", &signature).err(), not_asked);
    let again = UserRecord { factor: Factor::totp(otp("zoe")), ..user_record("alice") };
    store.put(RecordKey::user("alice"), &again);
    assert_eq!(store.decide_signed(Word::Approve, "alice", &signature).err(), not_asked, "enrolled again");
}

#[test]
fn a_freeze_stops_approvals_by_device_and_nobodys_refusal() {
    for frozen in [freeze::EVERYTHING, freeze::place_of(&WALLET), freeze::place_of(&RecordKey::user("alice"))]
    {
        let mut store = store(1);
        let signature = signs("alice", &store.text(Word::Approve, "alice"));
        let before = store.decide_signed(Word::Approve, "alice", &signature).expect("nothing is frozen");
        store.put(frozen, &NobodyRecord::default());
        let stopped = store.decide_signed(Word::Approve, "alice", &signature).err();
        assert!(matches!(stopped, Some(Not::Tried(Untried::Frozen(_)))), "{stopped:?}");
        assert!(store.write(before).is_none(), "decided before the freeze");
        let signature = signs("alice", &store.text(Word::Refuse, "alice"));
        assert_eq!(store.say_signed(Word::Refuse, "alice", &signature), Ok(()));
    }
}

#[test]
fn an_approval_by_device_is_recorded_only_while_user_and_device_are_what_they_were() {
    for place in [RecordKey::user("alice"), RecordKey::credentials("alice"), RecordKey::pending(&TICKET)] {
        let mut store = store(1);
        let signature = signs("alice", &store.text(Word::Approve, "alice"));
        let decision = store.decide_signed(Word::Approve, "alice", &signature).expect("right");
        store.records.get_mut(&place).expect("it is there").0 += 1;
        assert!(store.write(decision).is_none(), "{place:?}");
    }
}

#[test]
fn a_user_who_is_locked_for_wrong_codes_still_approves_by_device() {
    let mut store = store(1);
    let mut record = user_record("alice");
    for _ in 0..20 {
        record.budget = record.budget.charge(NOW);
    }
    assert!(record.budget.is_locked(NOW));
    store.put(RecordKey::user("alice"), &record);
    let signature = signs("alice", &store.text(Word::Approve, "alice"));
    assert_eq!(store.say_signed(Word::Approve, "alice", &signature), Ok(()));
}
