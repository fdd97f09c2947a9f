//! An authorization made outside the engine, from an invented store, does not sign with a key of another
//! store.

use bitcoin::secp256k1::Secp256k1;
use totp_rs::{Algorithm, Builder, Totp};
use zeroize::Zeroizing;

use countersign::admin::KeyTerms;
use countersign::kernel::approval::Approval;
use countersign::kernel::digest_key::{DigestKey, DigestKeyParts, DigestKeyRecord, DigestMechanisms};
use countersign::kernel::factor::Factor;
use countersign::kernel::otp::{OtpHash, OtpKey};
use countersign::kernel::psbt::CheckedPsbt;
use countersign::kernel::receipt::{Committed, Decision, Receipt};
use countersign::kernel::record::{Stored, Versioned};
use countersign::kernel::seal::{DataKey, Kind, RecordKey};
use countersign::kernel::signer::{self, Authorization, DigestAuthorization, SignerError};
use countersign::kernel::state::{
    self, Budget, Claim, Consumed, Epoch, Moment, Outcome, Subject, Untried, UserRecord, WalletState,
};
use harness::engine::scripts::{good_psbt, named};
use harness::engine::{MEMORY_KEY, alone, watch};

const NOW: u64 = 1_800_000_000;
const SECRET: [u8; 20] = [6; 20];

/// An invented store, with a data key of its own and a user whose code the inventor can compute.
struct MadeUp(DataKey);

impl MadeUp {
    /// The id of a store is no secret. This store has the id of the one that holds the wallet.
    fn of_key(byte: u8) -> MadeUp {
        MadeUp(DataKey::new(*MEMORY_KEY.store(), Zeroizing::new([byte; 32])))
    }

    fn record<T: Stored>(&self, place: RecordKey, value: &T) -> Versioned<T> {
        let sealed = self.0.seal(&place, 1, [1; 12], &value.encode());
        Versioned::read(&self.0.unseal(&place, 1, &sealed).expect("it was sealed so")).expect("it is read")
    }

    fn claims(&self) -> Vec<Claim> {
        let totp: Totp = Builder::new()
            .with_secret(SECRET.to_vec())
            .with_algorithm(Algorithm::SHA1)
            .build()
            .expect("a key");
        let code = totp.generate(NOW);
        let otp = OtpKey::new(Zeroizing::new(SECRET.to_vec()), OtpHash::Sha1, 6, 30).expect("a key");
        let (name, service) = ("alice".to_owned(), "test".to_owned());
        let user = UserRecord {
            name,
            service,
            factor: Factor::totp(otp),
            confirmed: true,
            budget: Budget::default(),
        };
        let subject = Subject::User(Box::new(self.record(RecordKey::user("alice"), &user)));
        let approval = Approval::parse_pin(code.to_string().as_bytes()).expect("a code");
        vec![Claim { approval, subject, released_at: None }]
    }

    fn state(&self) -> Versioned<WalletState> {
        self.record(RecordKey { kind: Kind::WalletState, id: [0; 16] }, &WalletState::default())
    }

    fn consumed<S>(&self, decided: Decision<Outcome<S>>) -> Receipt<Consumed<S>> {
        let written = Receipt::issue(decided, |batch| Ok::<_, ()>(Committed::by(&self.0, batch)));
        let Ok(written) = written else { panic!("it is said to be written") };
        let Ok(consumed) = written.open().answer else { panic!("the code is right") };
        consumed
    }
}

fn decide<S: countersign::kernel::state::Signable>(
    (key, asked): (&S::Key, S),
    store: &MadeUp,
) -> Decision<Outcome<S>> {
    let entropy = Zeroizing::new([5; 32]);
    let moment = Moment { now: NOW, epoch: Epoch::default(), entropy: &entropy };
    let (claims, state) = (store.claims(), store.state());
    let decided = state::decide::<_, Untried>((key, asked), claims, &state, |_| Ok(false), moment);
    let Ok(decided) = decided else { panic!("nobody is locked, and nothing is frozen") };
    decided
}

/// Signs a transaction with a code of a store with this key.
fn sign_of(store: &MadeUp) -> Result<Vec<u8>, SignerError> {
    let secp = Secp256k1::new();
    let wallet = named("wpkh").wallet(&secp);
    let psbt = good_psbt(watch(&wallet), 1).serialize();
    let checked = CheckedPsbt::parse(psbt, watch(&wallet), &alone(&secp)).expect("nothing to refuse");
    let authorization = Authorization::new(store.consumed(decide((&wallet, checked), store)))?;
    signer::sign(authorization, wallet.keys().expect("registered"), &secp)
}

/// Signs a digest in the same way, with a sealed key or with one that is not sealed.
fn sign_digest_of(store: &MadeUp, is_sealed: bool) -> Result<[u8; 64], SignerError> {
    let secp = Secp256k1::new();
    let parts = DigestKeyParts {
        terms: KeyTerms {
            label: "k".into(),
            cka_id: vec![],
            users: vec!["alice".into()],
            policy: "unlimited = true".into(),
        },
        mechanisms: DigestMechanisms { digest: true, ecdsa: false },
    };
    let record = DigestKeyRecord::new(parts, &Zeroizing::new([3; 32]));
    let place = RecordKey { kind: Kind::DigestKey, id: [0; 16] };
    let sealed = harness::engine::recorded(place, &record);
    let key = if is_sealed { DigestKey::of(&sealed, &secp) } else { DigestKey::open(&record, &secp) };
    let key = key.expect("a key");
    let consumed = store.consumed(decide((&key, key.request([8; 32])), store));
    signer::sign_digest(DigestAuthorization::new(consumed), &key, &secp)
}

#[test]
fn codes_that_were_spent_in_a_made_up_store_sign_with_no_key_of_another() {
    let own = MadeUp(DataKey::new([3; 16], Zeroizing::new([4; 32])));
    assert!(sign_of(&own).is_ok() && sign_digest_of(&own, true).is_ok(), "the store that the keys are in");
    let made_up = MadeUp::of_key(5);
    assert_eq!(sign_of(&made_up), Err(SignerError::Store));
    assert_eq!(sign_digest_of(&made_up, true), Err(SignerError::Store));
}

#[test]
fn a_key_that_is_not_sealed_signs_nothing() {
    let own = MadeUp(DataKey::new([3; 16], Zeroizing::new([4; 32])));
    assert_eq!(sign_digest_of(&own, false), Err(SignerError::Store));
}

/// A policy says nothing of what another key is to sign.
#[test]
#[should_panic(expected = "was checked for the key that is to sign it")]
fn a_transaction_is_not_judged_by_the_policy_of_another_wallet() {
    let secp = Secp256k1::new();
    let own = MadeUp(DataKey::new([3; 16], Zeroizing::new([4; 32])));
    let (wallet, other) = (named("wpkh").wallet(&secp), named("tr").wallet(&secp));
    let psbt = good_psbt(watch(&wallet), 1).serialize();
    let checked = CheckedPsbt::parse(psbt, watch(&wallet), &alone(&secp)).expect("nothing to refuse");
    let _ = decide((&other, checked), &own);
}
