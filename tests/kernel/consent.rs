//! A transaction from its proposal to its signature: the boundary states it, a user approves the statement, and the ticket signs that
//! transaction and no other. What a backend that was taken over changes after the approval, and what comes of it.

use bitcoin::secp256k1::{All, Secp256k1};
use bitcoin::{Amount, Psbt, TxOut};
use countersign::kernel::approval::Approval;
use countersign::kernel::consent::{ConsentError, Pending, Standing, Statement, StatementError, Typed};
use countersign::kernel::factor::Factor;
use countersign::kernel::otp::{OtpHash, OtpKey};
use countersign::kernel::psbt::CheckedPsbt;
use countersign::kernel::receipt::{Batch, Committed, Content, Decision, Receipt};
use countersign::kernel::record::{Stored, Versioned};
use countersign::kernel::seal::{Kind, RecordKey};
use countersign::kernel::signer::{self, Authorization};
use countersign::kernel::state::{
    self, Claim, Consent, Declined, Epoch, Moment, Proposed, Subject, Ticket, Untried, UserRecord,
    WalletState, Word,
};
use countersign::kernel::wallet::Wallet;
use harness::engine::scripts::{good_psbt, named};
use harness::engine::{MEMORY_KEY, alone, recorded, stranger, watch};
use totp_rs::{Algorithm, Builder};
use zeroize::Zeroizing;

const NOW: u64 = 1_800_000_000;
const SECRET: [u8; 20] = [6; 20];
const TICKET: [u8; 16] = [0x47; 16];
const ID: [u8; 16] = [0x3f; 16];

/// Nothing was decided.
struct Not;

impl From<Untried> for Not {
    fn from(_: Untried) -> Not {
        Not
    }
}

impl From<ConsentError> for Not {
    fn from(_: ConsentError) -> Not {
        Not
    }
}

/// A wallet of alice's, and its store.
struct Bench {
    secp: Secp256k1<All>,
    wallet: Wallet,
    entropy: Zeroizing<[u8; 32]>,
}

impl Bench {
    fn new(script: &str) -> Bench {
        let secp = Secp256k1::new();
        let wallet = named(script).wallet(&secp);
        Bench { secp, wallet, entropy: Zeroizing::new([5; 32]) }
    }

    fn psbt(&self) -> Psbt {
        good_psbt(watch(&self.wallet), 2)
    }

    fn check(&self, psbt: &Psbt) -> CheckedPsbt {
        CheckedPsbt::parse(psbt.serialize(), watch(&self.wallet), &alone(&self.secp))
            .expect("nothing to refuse")
    }

    fn moment(&self) -> Moment<'_> {
        Moment { now: NOW, epoch: Epoch::default(), entropy: &self.entropy }
    }

    fn propose(
        &self,
        psbt: &Psbt,
        asked: &[Versioned<UserRecord>],
    ) -> Result<Versioned<Pending>, ConsentError> {
        let transaction = self.check(psbt);
        let proposed = Proposed {
            store: *MEMORY_KEY.store(),
            epoch: Epoch::default(),
            ticket: TICKET,
            id: ID,
            wallet: &self.wallet,
            transaction: &transaction,
            asked,
            peer: Some("backend"),
        };
        Ok(put(state::propose(&proposed, &[], NOW)?).1)
    }

    /// The record once alice has approved it.
    fn approved(&self, pending: &Versioned<Pending>) -> Versioned<Pending> {
        let totp = Builder::new().with_secret(SECRET.to_vec()).with_algorithm(Algorithm::SHA1).build();
        let code = totp.expect("a key").generate(NOW).to_string();
        let approval = Approval::parse_pin(code.as_bytes()).expect("a code");
        let subject = Subject::User(Box::new(alice()));
        let claim = Claim { approval, subject, released_at: None };
        let asked = Consent {
            user: pending.value().asked()[0].clone(),
            word: Word::Approve,
            typed: Typed::BeforeBackend,
        };
        let decided = state::consent::<Not>(asked, pending, claim, |_| Ok(false), self.moment());
        let Ok(decided) = decided else { panic!("it is open") };
        put(decided).1
    }

    /// Signs with the ticket: the PSBT with its signatures.
    fn sign(&self, pending: Versioned<Pending>, psbt: &Psbt) -> Result<Vec<u8>, Declined> {
        let digits = "47".repeat(16);
        let approval = Approval::parse_pin_or_ticket(format!("#{digits}").as_bytes()).expect("a ticket");
        let subject = Subject::Ticket(Box::new(Ticket::new(pending, vec![alice()])));
        let claims = vec![Claim { approval, subject, released_at: None }];
        let state = recorded(RecordKey { kind: Kind::WalletState, id: ID }, &WalletState::default());
        let request = (&self.wallet, self.check(psbt));
        let decided = state::decide::<_, Untried>(request, claims, &state, |_| Ok(false), self.moment());
        let Ok(decided) = decided else { panic!("nothing is frozen, and it has its approvals") };
        let authorization = Authorization::new(put(decided).0.open().answer?).expect("of this store");
        Ok(signer::sign(authorization, self.wallet.keys().expect("registered"), &self.secp)
            .expect("it signs"))
    }
}

fn alice() -> Versioned<UserRecord> {
    let otp = OtpKey::new(Zeroizing::new(SECRET.to_vec()), OtpHash::Sha1, 6, 30).expect("a key");
    let user = UserRecord::new("alice".into(), "test".into(), Factor::totp(otp));
    recorded(RecordKey::user("alice"), &UserRecord { confirmed: true, ..user })
}

/// Writes a decision. Gives the receipt, and the pending record as it is then.
fn put<E>(decided: Decision<E>) -> (Receipt<E>, Versioned<Pending>) {
    let mut pending = None;
    let write = |batch: &Batch| {
        for write in &batch.writes {
            if let (Kind::Pending, Content::Put(bytes)) = (write.place.kind, &write.content) {
                pending = Pending::decode(bytes).map(|next| recorded(write.place, &next));
            }
        }
    };
    let mut write = write;
    let issued = Receipt::issue(decided, |batch| {
        write(batch);
        Ok::<_, ()>(Committed::by(&MEMORY_KEY, batch))
    });
    (issued.ok().expect("it is written"), pending.expect("each of them writes it"))
}

#[test]
fn what_was_stated_and_approved_is_signed() {
    for script in ["wpkh", "tr"] {
        let bench = Bench::new(script);
        let psbt = bench.psbt();
        let pending = bench.propose(&psbt, &[alice()]).expect("nothing to refuse");
        let user = pending.value().asked()[0].clone();
        let statement = pending.value().statement_for(&user).expect("asked");
        let checked = bench.check(&psbt);
        assert_eq!((statement.fee, statement.leaves), (checked.fee(), checked.leaves()));
        assert_eq!((statement.txid, statement.expires), (checked.txid(), NOW + 600));
        // One output is a payment, the other one change.
        let paid: Vec<_> = statement.payouts.iter().map(|payout| (payout.amount, &payout.script)).collect();
        let output = &psbt.unsigned_tx.output[0];
        assert_eq!(paid, [(output.value.to_sat(), &output.script_pubkey)]);
        let text = statement.print().expect("a text");
        assert!(text.contains("for \"alice\" ") && text.contains(" on regtest\nwallet \"w\" 3f3f"), "{text}");
        assert_eq!(Statement::parse(&text), Ok(statement));

        let approved = bench.approved(&pending);
        assert_eq!(approved.value().standing(NOW), Standing::Approved);
        let signed = Psbt::deserialize(&bench.sign(approved, &psbt).expect("it signs")).expect("a PSBT");
        let is_signed =
            |input: &bitcoin::psbt::Input| !input.partial_sigs.is_empty() || input.tap_key_sig.is_some();
        assert!(signed.inputs.iter().all(is_signed), "{script}");
    }
}

/// What a backend could bring with the ticket instead of what was approved.
#[test]
fn consent_nothing_but_the_approved_transaction_is_signed() {
    let bench = Bench::new("wpkh");
    let psbt = bench.psbt();
    let approved = || bench.approved(&bench.propose(&psbt, &[alice()]).expect("nothing to refuse"));
    assert!(bench.sign(approved(), &psbt).is_ok());
    let change = |change: &dyn Fn(&mut Psbt)| {
        let mut other = psbt.clone();
        change(&mut other);
        bench.sign(approved(), &other).err()
    };
    let refused = Some(Declined::Code);
    assert_eq!(change(&|psbt| psbt.unsigned_tx.output[0].value -= Amount::ONE_SAT), refused, "an amount");
    assert_eq!(change(&|psbt| psbt.unsigned_tx.output[1].value -= Amount::ONE_SAT), refused, "the fee");
    assert_eq!(
        change(&|psbt| psbt.unsigned_tx.output.swap(0, 1)),
        refused,
        "the order, so that change is paid"
    );
    assert_eq!(
        change(&|psbt| psbt.unsigned_tx.lock_time = bitcoin::absolute::LockTime::from_consensus(1)),
        refused
    );
    assert_eq!(
        change(&|psbt| {
            psbt.unsigned_tx.output.push(TxOut { value: Amount::from_sat(600), script_pubkey: stranger() });
            psbt.outputs.push(bitcoin::psbt::Output::default());
            psbt.unsigned_tx.output[1].value -= Amount::from_sat(600);
        }),
        refused,
        "another payee"
    );
    assert_eq!(
        change(&|psbt| {
            psbt.unsigned_tx.output[1].script_pubkey = stranger();
            psbt.outputs[1] = bitcoin::psbt::Output::default();
        }),
        refused,
        "the change address"
    );
    assert_eq!(
        change(&|psbt| {
            psbt.unsigned_tx.input.pop();
            psbt.inputs.pop();
            psbt.unsigned_tx.output.truncate(1);
            psbt.outputs.truncate(1);
        }),
        refused,
        "fewer inputs, and no change"
    );
}

#[test]
fn what_cannot_be_approved_is_not_proposed() {
    let bench = Bench::new("wpkh");
    let refused = |psbt: &Psbt, asked: &[Versioned<UserRecord>]| bench.propose(psbt, asked).err();
    assert_eq!(refused(&bench.psbt(), &[]), Some(ConsentError::Asked { asked: 0, needed: 1 }));
    let asked_twice = Some(ConsentError::Asked { asked: 2, needed: 1 });
    assert_eq!(refused(&bench.psbt(), &[alice(), alice()]), asked_twice);
    let unconfirmed = UserRecord { confirmed: false, ..alice().into_value() };
    let unconfirmed = recorded(RecordKey::user("alice"), &unconfirmed);
    assert_eq!(refused(&bench.psbt(), &[unconfirmed]), Some(ConsentError::Stranger("alice".into())));
    let bob = recorded(RecordKey::user("bob"), &UserRecord { name: "bob".into(), ..alice().into_value() });
    assert_eq!(refused(&bench.psbt(), &[bob]), Some(ConsentError::Stranger("bob".into())));
    let mut long = bench.psbt();
    for _ in 0..600 {
        long.unsigned_tx.output.push(TxOut { value: Amount::from_sat(100), script_pubkey: stranger() });
        long.outputs.push(bitcoin::psbt::Output::default());
    }
    long.unsigned_tx.output[1].value -= Amount::from_sat(600 * 100);
    assert_eq!(refused(&long, &[alice()]), Some(ConsentError::Statement(StatementError::Length)));
}
