//! Approvals and tickets against a store of records in memory. What the ticket pays for is a digest: it is decided as a transaction is.

mod devices;
mod passkeys;
mod tickets;

use std::collections::BTreeMap;

use bitcoin::secp256k1::Secp256k1;
use zeroize::Zeroizing;

use super::*;
use crate::approval::{Approval, ApprovalError};
use crate::audit::{Fate, TriedCode};
use crate::consent::{DEFAULT_LIFETIME, Means, Standing};
use crate::digest_key::{DigestKey, DigestKeyParts, DigestKeyRecord, DigestMechanisms, RequestedDigest};
use crate::factor::{Factor, FactorKind};
use crate::freeze;
use crate::key::KeyTerms;
use crate::network::Network;
use crate::otp::{OtpHash, OtpKey};
use crate::receipt::{Committed, Receipt};
use crate::record::Stored;
use crate::rule::Rule;
use crate::seal::DataKey;
use crate::state::{Declined, NobodyRecord, Opened, Ticket, WalletState, decide};

const NOW: u64 = 1_796_040_000;
const WALLET: RecordKey = RecordKey { kind: Kind::WalletState, id: [0x3f; 16] };
const TICKET: TicketId = [0x47; 16];
const ENTROPY: [u8; 32] = [5; 32];

/// Why nothing was decided.
#[derive(Debug, PartialEq, Eq)]
enum Not {
    Tried(Untried),
    Consent(ConsentError),
    Device(DeviceError),
    Passkey(PasskeyWordError),
}

impl From<Untried> for Not {
    fn from(untried: Untried) -> Not {
        Not::Tried(untried)
    }
}

impl From<ConsentError> for Not {
    fn from(error: ConsentError) -> Not {
        Not::Consent(error)
    }
}

/// Records in memory, by place, with their versions.
struct Store {
    key: DataKey,
    records: BTreeMap<RecordKey, (u64, Vec<u8>)>,
    now: u64,
    epoch: Epoch,
    /// The last batch: what was written, with each length, and the event.
    written: Vec<(RecordKey, usize)>,
    event: Option<Event>,
    unchanged: Vec<RecordKey>,
}

fn otp(name: &str) -> OtpKey {
    OtpKey::new(Zeroizing::new(vec![name.as_bytes()[0]; 20]), OtpHash::Sha1, 6, 30).expect("a key")
}

fn user_record(name: &str) -> UserRecord {
    let factor = Factor::totp(otp(name));
    UserRecord { confirmed: true, ..UserRecord::new(name.into(), "bank".into(), factor) }
}

fn user(name: &str) -> UserId {
    UserId { name: name.into(), key: otp(name).id() }
}

/// A key that signs digests, in the place of a wallet.
fn key(required: usize) -> DigestKey {
    let users = ["alice", "bob", "carol"].map(str::to_owned).to_vec();
    let policy = format!("required_approvals = {required}\nmax_period_transactions = 2");
    let terms = KeyTerms { label: "treasury".into(), cka_id: vec![], users, policy };
    let parts = DigestKeyParts { terms, mechanisms: DigestMechanisms { digest: true, ecdsa: false } };
    let record = DigestKeyRecord::new(parts, &Zeroizing::new([3; 32]));
    DigestKey::open(&record, &Secp256k1::new()).expect("a key")
}

fn request() -> RequestedDigest {
    key(1).request([8; 32])
}

/// The code of this user at a time.
fn code(name: &str, at: u64) -> String {
    let digits = otp(name).codes().of_step(at / 30);
    String::from_utf8(digits[..6].to_vec()).expect("digits")
}

impl Store {
    /// A store with alice, bob and carol, and a proposal that so many of them must approve.
    fn new(needed: usize) -> Store {
        let key = DataKey::new([7; 16], Zeroizing::new([9; 32]));
        let (records, epoch) = (BTreeMap::new(), Epoch::default());
        let mut store =
            Store { key, records, now: NOW, epoch, written: vec![], event: None, unchanged: vec![] };
        for name in ["alice", "bob", "carol"] {
            store.put(RecordKey::user(name), &user_record(name));
        }
        store.put(WALLET, &WalletState::default());
        store.put(RecordKey::single(Kind::Nobody), &NobodyRecord::default());
        let new = store.proposal(TICKET, needed, request().binding());
        store.put(RecordKey::pending(&TICKET), &new);
        store
    }

    fn proposal(&self, ticket: TicketId, needed: usize, binding: [u8; 32]) -> Pending {
        Pending::new(self.draft(ticket, needed, binding), self.now).expect("a proposal")
    }

    fn draft(&self, ticket: TicketId, needed: usize, binding: [u8; 32]) -> Draft {
        let statement = Statement {
            user: user("alice"),
            network: Network::Mainnet,
            label: "treasury".into(),
            wallet: WALLET.id,
            payouts: vec![],
            fee: 1,
            leaves: 1,
            txid: [0x9f; 32],
            expires: self.now + DEFAULT_LIFETIME,
            nonce: ticket,
        };
        let (asked, store, epoch) =
            (["alice", "bob", "carol"].map(user).to_vec(), [7; 16], self.epoch.name());
        Draft { store, epoch, binding, maker: Some("backend".into()), statement, asked, needed, asks: None }
    }

    fn put<T: Stored>(&mut self, place: RecordKey, value: &T) {
        let version = self.records.get(&place).map_or(0, |(version, _)| *version);
        self.records.insert(place, (version + 1, value.encode().to_vec()));
    }

    fn read<T: Stored>(&self, place: RecordKey) -> Versioned<T> {
        let (version, bytes) = &self.records[&place];
        let sealed = self.key.seal(&place, *version, [1; 12], bytes);
        Versioned::read(&self.key.unseal(&place, *version, &sealed).expect("it opens")).expect("it reads")
    }

    fn pending(&self) -> Versioned<Pending> {
        self.read(RecordKey::pending(&TICKET))
    }

    fn standing(&self) -> Standing {
        self.pending().value.standing(self.now)
    }

    /// Writes a decision, if nobody came first.
    fn write<E>(&mut self, decision: Decision<E>) -> Option<Receipt<E>> {
        let Store { key, records, written, event, unchanged, .. } = self;
        let write = |batch: &Batch| {
            if batch.is_overtaken(|place| records.get(place).map(|(version, _)| *version)) {
                return Err(());
            }
            written.clear();
            for Write { place, expected, content } in &batch.writes {
                match content {
                    Content::Put(bytes) => {
                        written.push((*place, bytes.len()));
                        records.insert(*place, (expected.map_or(0, |version| version + 1), bytes.to_vec()));
                    }
                    Content::Remove => drop(records.remove(place)),
                }
            }
            *event = Some(batch.event.clone());
            *unchanged = batch.unchanged.iter().map(|(place, _)| *place).collect();
            Ok(())
        };
        let mut write = write;
        Receipt::issue(decision, |batch| write(batch).map(|()| Committed::by(key, batch))).ok()
    }

    fn claim(&self, name: &str, code: &str) -> Claim {
        let approval = Approval::parse_pin(code.as_bytes()).expect("a code");
        let subject = Subject::User(Box::new(self.read(RecordKey::user(name))));
        Claim { approval, subject, released_at: None }
    }

    fn moment<'a>(&self, entropy: &'a Zeroizing<[u8; 32]>) -> Moment<'a> {
        Moment { now: self.now, epoch: self.epoch, entropy }
    }

    fn is_frozen(&self, place: &RecordKey) -> Result<bool, Not> {
        Ok(self.records.contains_key(place))
    }

    fn decide_word(&self, word: Word, name: &str, claim: Claim) -> Result<Decision<Outcome<Consent>>, Not> {
        self.decide_word_typed(word, name, claim, Typed::BeforeBackend)
    }

    fn decide_word_typed(
        &self,
        word: Word,
        name: &str,
        claim: Claim,
        typed: Typed,
    ) -> Result<Decision<Outcome<Consent>>, Not> {
        let (entropy, asked) = (Zeroizing::new(ENTROPY), Consent { user: user(name), word, typed });
        let pending = self.pending();
        consent(asked, &pending, claim, |place| self.is_frozen(place), self.moment(&entropy))
    }

    /// Says a user's word with a code.
    fn say(&mut self, word: Word, name: &str, code: &str) -> Result<Result<bool, Declined>, Not> {
        let decision = self.decide_word(word, name, self.claim(name, code))?;
        let Opened { answer, is_new, .. } = self.write(decision).expect("nobody came first").open();
        Ok(answer.map(|_| is_new))
    }

    /// Approves with a code that is typed at the desk.
    fn approve_at_desk(&mut self, name: &str, code: &str) -> Result<bool, Declined> {
        let claim = self.claim(name, code);
        let decision = self.decide_word_typed(Word::Approve, name, claim, Typed::AtDesk).expect("it is open");
        let Opened { answer, is_new, .. } = self.write(decision).expect("nobody came first").open();
        answer.map(|_| is_new)
    }

    fn approve(&mut self, name: &str) {
        let code = code(name, self.now);
        assert_eq!(self.say(Word::Approve, name, &code), Ok(Ok(true)), "{name}");
    }

    /// The claim of a ticket, as an engine makes it.
    fn ticket(&self, id: &TicketId) -> Claim {
        let pin = format!("#{}", data_encoding::HEXLOWER.encode(id));
        let approval = Approval::parse_pin_or_ticket(pin.as_bytes()).expect("a ticket");
        assert_eq!(approval.ticket(), Some(id));
        let place = RecordKey::pending(id);
        let subject = if self.records.contains_key(&place) {
            let signers = ["alice", "bob", "carol"].map(RecordKey::user);
            let present = signers.into_iter().filter(|place| self.records.contains_key(place));
            Subject::Ticket(Box::new(Ticket::new(
                self.read(place),
                present.map(|place| self.read(place)).collect(),
            )))
        } else {
            Subject::Nobody(self.read(RecordKey::single(Kind::Nobody)))
        };
        Claim { approval, subject, released_at: None }
    }

    fn decide_ticket(
        &self,
        key: &DigestKey,
        asked: RequestedDigest,
        claims: Vec<Claim>,
    ) -> Result<Decision<Outcome<RequestedDigest>>, Not> {
        let entropy = Zeroizing::new([self.now.to_le_bytes()[0]; 32]);
        let state = self.read(WALLET);
        decide((key, asked), claims, &state, |place| self.is_frozen(place), self.moment(&entropy))
    }

    /// Signs with a ticket. Gives the randomness, and whether it was spent now.
    fn sign(
        &mut self,
        key: &DigestKey,
        asked: RequestedDigest,
        id: &TicketId,
    ) -> Result<([u8; 32], bool), Declined> {
        let claims = vec![self.ticket(id)];
        let decision = self.decide_ticket(key, asked, claims).expect("it is decided");
        let Opened { answer, is_new, wrong, .. } = self.write(decision).expect("nobody came first").open();
        assert_eq!(
            wrong,
            u32::from(matches!(answer, Err(Declined::Code))),
            "one wrong code, whoever approved"
        );
        answer.map(|consumed| (*consumed.into_evidence().into_parts().1, is_new))
    }

    fn sign_usual(&mut self) -> Result<([u8; 32], bool), Declined> {
        self.sign(&key(1), request(), &TICKET)
    }

    fn signed(&self) -> u64 {
        self.read::<WalletState>(WALLET).value.signed
    }

    fn fates(&self) -> Vec<(Option<String>, Fate)> {
        let Some(Event::Tried { codes, .. }) = &self.event else { panic!("codes were tried") };
        codes.iter().map(|TriedCode { user, fate }| (user.clone(), *fate)).collect()
    }
}

fn approved() -> Store {
    let mut store = Store::new(1);
    store.approve("alice");
    store
}

#[test]
fn an_approval_spends_its_code_in_the_commit_that_records_it() {
    let mut store = Store::new(2);
    let code = code("alice", NOW);
    assert_eq!(store.say(Word::Approve, "alice", &code), Ok(Ok(true)));
    let places: Vec<_> = store.written.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, [RecordKey::user("alice"), RecordKey::pending(&TICKET)], "one commit");
    assert_eq!(store.standing(), Standing::Open { approved: 1, needed: 2 });
    let Some(Event::Tried { asked: Asked::Consent(facts), .. }) = &store.event else { panic!("told") };
    let digest = store.pending().value.digest_for(&user("alice")).expect("asked");
    assert_eq!((facts.ticket, facts.digest, facts.refuses), (TICKET, digest.0, false));
    // The same word with the same code is the same word, and the code is right for nothing else.
    assert_eq!(store.say(Word::Approve, "alice", &code), Ok(Ok(false)));
    assert_eq!(store.say(Word::Refuse, "alice", &code), Ok(Err(Declined::Code)));
    store.approve("bob");
    assert_eq!(store.standing(), Standing::Approved);
}

#[test]
fn consent_a_code_typed_at_the_desk_counts_as_that_and_one_that_passed_a_backend_never_becomes_it() {
    let means = |store: &Store| store.pending().value.means_of(&user("alice"));
    let (code, next) = (code("alice", NOW), code("alice", NOW + 30));
    let mut store = Store::new(1);
    assert_eq!(store.say(Word::Approve, "alice", &code), Ok(Ok(true)));
    assert_eq!(store.approve_at_desk("alice", &code), Ok(false), "the same word once more");
    assert_eq!(means(&store), Some(Means::Code(FactorKind::Totp)));
    // Another code makes it an approval at the desk, and it stays that.
    store.now += 30;
    assert_eq!(store.approve_at_desk("alice", &next), Ok(true));
    assert_eq!(means(&store), Some(Means::Desk(FactorKind::Totp)));
    let Some(Event::Tried { asked: Asked::ConsentAtDesk(facts), .. }) = &store.event else { panic!("told") };
    assert_eq!((facts.ticket, facts.refuses), (TICKET, false));
    let mut store = Store::new(1);
    assert_eq!(store.approve_at_desk("alice", &code), Ok(true));
    store.now += 30;
    assert_eq!(store.say(Word::Approve, "alice", &next), Ok(Ok(true)));
    assert_eq!(means(&store), Some(Means::Desk(FactorKind::Totp)));
}

#[test]
fn consent_a_code_that_approved_one_proposal_approves_no_other() {
    let mut store = Store::new(1);
    let code = code("alice", NOW);
    assert_eq!(store.say(Word::Approve, "alice", &code), Ok(Ok(true)));
    // Another proposal of the very same transaction.
    let other = store.proposal([0x48; 16], 1, request().binding());
    store.put(RecordKey::pending(&[0x48; 16]), &other);
    let (entropy, asked) = (
        Zeroizing::new(ENTROPY),
        Consent { user: user("alice"), word: Word::Approve, typed: Typed::BeforeBackend },
    );
    let other = store.read(RecordKey::pending(&[0x48; 16]));
    let claim = store.claim("alice", &code);
    let decision =
        consent::<Not>(asked, &other, claim, |_| Ok(false), store.moment(&entropy)).expect("decided");
    let opened = store.write(decision).expect("written").open();
    assert_eq!(opened.answer.err(), Some(Declined::Code));
    // And a plain signature takes no code that approved.
    let claims = vec![store.claim("alice", &code)];
    let decision = store.decide_ticket(&key(1), request(), claims).expect("decided");
    assert_eq!(store.write(decision).expect("written").open().answer.err(), Some(Declined::Code));
}

#[test]
fn a_wrong_code_is_charged_to_its_user_and_approves_nothing() {
    let mut store = Store::new(1);
    let wrong = if code("alice", NOW) == "123456" { "654321" } else { "123456" };
    assert_eq!(store.say(Word::Approve, "alice", wrong), Ok(Err(Declined::Code)));
    assert_eq!(store.say(Word::Refuse, "alice", wrong), Ok(Err(Declined::Code)));
    assert_eq!(store.standing(), Standing::Open { approved: 0, needed: 1 });
    let charged =
        |store: &Store| store.read::<UserRecord>(RecordKey::user("alice")).value.budget.failures(NOW);
    assert_eq!(charged(&store), 2);
    assert_eq!(store.say(Word::Approve, "alice", &code("bob", NOW)), Ok(Err(Declined::Code)), "bob's code");
    assert_eq!(charged(&store), 3);
    assert_eq!(store.say(Word::Approve, "alice", &code("alice", NOW)), Err(Not::Tried(Untried::Locked)));
}

#[test]
fn outcome_leak_a_word_writes_the_same_whether_its_code_is_right_or_wrong() {
    for word in [Word::Approve, Word::Refuse] {
        let (mut right, mut wrong) = (Store::new(1), Store::new(1));
        assert_eq!(right.say(word, "alice", &code("alice", NOW)), Ok(Ok(true)));
        assert_eq!(wrong.say(word, "alice", &code("bob", NOW)), Ok(Err(Declined::Code)));
        assert_eq!(right.written, wrong.written);
        let len = |store: &Store| postcard::to_allocvec(&store.event).expect("it is written").len();
        assert_eq!(len(&right), len(&wrong));
    }
}

#[test]
fn consent_a_refusal_kills_the_proposal_even_if_enough_have_approved() {
    let mut store = approved();
    assert_eq!(store.say(Word::Refuse, "bob", &code("bob", NOW)), Ok(Ok(true)));
    assert_eq!(store.standing(), Standing::Refused(user("bob")));
    assert_eq!(store.sign_usual(), Err(Declined::Code));
    let over = Not::Consent(ConsentError::Over(Standing::Refused(user("bob"))));
    assert_eq!(store.say(Word::Approve, "carol", &code("carol", NOW)), Err(over));
    assert_eq!(store.signed(), 0);
}

#[test]
fn only_the_user_who_was_asked_is_heard_by_this_enrolment() {
    let mut store = Store::new(1);
    let claim = store.claim("bob", &code("bob", NOW));
    let refused = Some(Not::Consent(ConsentError::NotAsked("alice".into())));
    assert_eq!(
        store.decide_word(Word::Approve, "alice", claim).err(),
        refused,
        "bob's record for alice's word"
    );
    let mut again = user_record("alice");
    again.factor = Factor::totp(otp("zoe"));
    store.put(RecordKey::user("alice"), &again);
    assert_eq!(store.say(Word::Approve, "alice", &code("zoe", NOW)).err(), refused, "enrolled again");
    assert_eq!(store.decide_word(Word::Approve, "alice", store.ticket(&TICKET)).err(), refused, "a ticket");
}

#[test]
fn a_freeze_stops_approvals_and_tickets_and_nobodys_refusal() {
    for frozen in [freeze::EVERYTHING, freeze::place_of(&WALLET), freeze::place_of(&RecordKey::user("alice"))]
    {
        let mut store = approved();
        store.put(frozen, &NobodyRecord::default());
        let code = code("alice", NOW + 30);
        let stopped = store.say(Word::Approve, "alice", &code);
        assert!(matches!(stopped, Err(Not::Tried(Untried::Frozen(_)))), "{stopped:?}");
        let signed = store.decide_ticket(&key(1), request(), vec![store.ticket(&TICKET)]);
        assert!(matches!(signed.err(), Some(Not::Tried(Untried::Frozen(_)))), "{frozen:?}");
        assert_eq!(store.say(Word::Refuse, "alice", &code), Ok(Ok(true)));
    }
    let mut store = approved();
    store.put(freeze::place_of(&RecordKey::user("bob")), &NobodyRecord::default());
    assert!(store.sign_usual().is_ok(), "bob has not approved");
}

#[test]
fn a_proposal_is_recorded_once_while_those_asked_stay_who_they_are_and_removes_what_is_past() {
    let mut store = Store::new(1);
    let asked = || {
        [
            store.read(RecordKey::user("alice")),
            store.read(RecordKey::user("bob")),
            store.read(RecordKey::user("carol")),
        ]
    };
    let (asked, old) = (asked(), store.pending());
    store.now += DEFAULT_LIFETIME + 1;
    let new = |store: &Store| store.proposal([0x48; 16], 1, [1; 32]);
    let again = record(new(&store), &[], &asked, store.now).expect("there is room");
    let decision = record(new(&store), &[&old], &asked, store.now).expect("there is room");
    assert!(store.write(decision).is_some());
    assert_eq!(store.unchanged, ["alice", "bob", "carol"].map(RecordKey::user));
    assert!(!store.records.contains_key(&RecordKey::pending(&TICKET)), "what is past is gone");
    let Some(Event::Consent(step)) = &store.event else { panic!("told") };
    let PendingStep::Proposed { statement, users, peer } = &step.step else { panic!("proposed") };
    assert_eq!((users.len(), peer.as_deref(), step.ticket), (3, Some("backend"), [0x48; 16]));
    assert!(Statement::parse(statement).is_ok_and(|statement| statement.nonce == [0x48; 16]));
    assert!(store.write(again).is_none(), "a ticket names one proposal");
}
