//! One gated P2WPKH signature through `C_Sign` without a durable commit, compared with signing alone, in CPU
//! time.

use std::hint::black_box;
use std::ptr;

use bitcoin::psbt::Psbt;
use bitcoin::secp256k1::{Keypair, Message, Secp256k1};
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::{Amount, ScriptBuf};
use cryptoki_sys::*;

use countersign::engine::{Engine, WalletId};
use countersign::kernel::pin::Role;
use countersign::pkcs11::vendor::CKM_COUNTERSIGN_PSBT;

use super::measure::{Ratio, cpu, in_turn, median};
use harness::engine::ledgers::NoCommit;
use harness::engine::scripts::good_psbt;
use harness::engine::{Bench, ManualClock, MemoryLedger, SystemRandom, script_pubkey, watch};

/// Transactions, each with another message, because the number of low-R tries depends on the message.
const TRANSACTIONS: usize = 256;
const ROUNDS: usize = 8;

pub(crate) fn print() {
    let module = Module::new();
    let psbts: Vec<Psbt> = (0..TRANSACTIONS).map(|number| module.psbt(number)).collect();
    let signer = Raw::new();
    let all = |take: &dyn Fn(&Psbt) -> f64| psbts.iter().map(take).sum::<f64>();
    let taken = in_turn(
        ROUNDS,
        vec![
            Box::new(|| all(&|psbt| cpu(|| signer.sign(psbt, false)))),
            Box::new(|| all(&|psbt| cpu(|| signer.sign(psbt, true)))),
            Box::new(|| all(&|psbt| module.sign(psbt, || ()))),
            Box::new(|| all(&|psbt| module.sign(psbt, || module.forget()))),
        ],
    );
    println!(
        "\nOne P2WPKH input and its change, in CPU time; {TRANSACTIONS} transactions, {ROUNDS} rounds, the sides in turn"
    );
    println!("{:60} {:>8}  to raw: median (middle half)", "", "µs");
    let names = [
        "raw: sighash + low-R sign",
        "raw: sighash + low-R sign + verify",
        "C_SignInit + C_Sign, no commit, own signature verified",
        "the same, both addresses derived for the first time",
    ];
    for (name, figures) in names.iter().zip(&taken) {
        let each = median(figures) / TRANSACTIONS as f64 / 1000.0;
        println!("{name:60} {each:>8.1}  {}", Ratio::of(figures, &taken[0]));
    }
}

/// The work that no signer can avoid.
struct Raw {
    secp: Secp256k1<bitcoin::secp256k1::All>,
    pair: Keypair,
    script: ScriptBuf,
}

impl Raw {
    fn new() -> Raw {
        let secp = Secp256k1::new();
        let pair = Keypair::from_seckey_slice(&secp, &[1; 32]).expect("a key");
        Raw { script: script_pubkey(&pair.public_key()), secp, pair }
    }

    fn sign(&self, psbt: &Psbt, verify: bool) {
        let mut cache = SighashCache::new(&psbt.unsigned_tx);
        let value = psbt.inputs[0].witness_utxo.as_ref().expect("it has one").value;
        let hash = cache.p2wpkh_signature_hash(0, &self.script, value, EcdsaSighashType::All);
        let message = Message::from(hash.expect("an input"));
        let signature = black_box(self.secp.sign_ecdsa_low_r(&message, &self.pair.secret_key()));
        if verify {
            self.secp.verify_ecdsa(&message, &signature, &self.pair.public_key()).expect("verifies");
        }
    }
}

/// The module behind its C interface, over an engine that commits nothing.
struct Module {
    functions: CK_FUNCTION_LIST,
    session: CK_SESSION_HANDLE,
    key: CK_OBJECT_HANDLE,
    wallet: std::sync::Arc<countersign::kernel::wallet::Wallet>,
    clock: ManualClock,
    totp: totp_rs::Totp,
}

impl Module {
    fn new() -> Module {
        let clock = ManualClock::default();
        let vault = Box::<NoCommit>::default();
        let engine = Engine::open(vault, Box::new(clock.clone()), Box::new(SystemRandom)).expect("opens");
        engine.initialise(b"so-pin", "bench").expect("initialises");
        let bench = Bench::of(engine, clock.clone(), MemoryLedger::default());
        bench.set_user_pin(b"user-pin").expect("set");
        let totp = bench.user("alice");
        let id: WalletId = bench.wallet("w", &["alice"], "unlimited = true");
        let wallet = bench.engine.wallet(&id).expect("there");
        let _ = bench.engine.login(Role::User, b"user-pin").expect("the PIN is right");
        countersign::pkcs11::install(bench.engine);
        let functions = functions();
        let (session, key) = log_in(&functions);
        Module { functions, session, key, wallet, clock, totp }
    }

    fn psbt(&self, number: usize) -> Psbt {
        let mut psbt = good_psbt(watch(&self.wallet), 1);
        let moved = Amount::from_sat(number as u64);
        psbt.unsigned_tx.output[0].value += moved;
        psbt.unsigned_tx.output[1].value -= moved;
        psbt
    }

    fn forget(&self) {
        watch(&self.wallet).forget_known();
    }

    /// CPU time of one signature, in nanoseconds.
    fn sign(&self, psbt: &Psbt, before: impl FnOnce()) -> f64 {
        self.clock.advance(30);
        let mut psbt = psbt.serialize();
        let mut parameter = parameter(&self.totp.generate(self.clock.now()).to_string());
        let mut out = vec![0; psbt.len() + 1_000];
        before();
        cpu(|| self.c_sign(&mut parameter, &mut psbt, &mut out))
    }

    #[allow(unsafe_code, reason = "the C interface")]
    fn c_sign(&self, parameter: &mut [u8], psbt: &mut [u8], out: &mut [u8]) {
        let mut mechanism = CK_MECHANISM {
            mechanism: CKM_COUNTERSIGN_PSBT,
            pParameter: parameter.as_mut_ptr().cast(),
            ulParameterLen: parameter.len() as CK_ULONG,
        };
        let mut len = out.len() as CK_ULONG;
        let (init, sign) = (self.functions.C_SignInit, self.functions.C_Sign);
        // SAFETY: every pointer is to memory of the length beside it, alive until the calls return.
        unsafe {
            let rv = init.expect("there")(self.session, &mut mechanism, self.key);
            assert_eq!(rv, CKR_OK);
            let rv = sign.expect("there")(
                self.session,
                psbt.as_mut_ptr(),
                psbt.len() as CK_ULONG,
                out.as_mut_ptr(),
                &mut len,
            );
            assert_eq!(rv, CKR_OK);
        }
    }
}

#[allow(unsafe_code, reason = "the C interface")]
fn functions() -> CK_FUNCTION_LIST {
    let mut list = ptr::null_mut();
    // SAFETY: the list is static and comes from the library itself.
    unsafe {
        assert_eq!(countersign::pkcs11::C_GetFunctionList(&mut list), CKR_OK);
        *list
    }
}

/// A session of the backend, and the wallet's key.
#[allow(unsafe_code, reason = "the C interface")]
fn log_in(functions: &CK_FUNCTION_LIST) -> (CK_SESSION_HANDLE, CK_OBJECT_HANDLE) {
    let (mut session, mut key, mut found) = (0, 0, 0);
    let mut class: CK_OBJECT_CLASS = CKO_PRIVATE_KEY;
    let mut template = [CK_ATTRIBUTE {
        type_: CKA_CLASS,
        pValue: ptr::from_mut(&mut class).cast(),
        ulValueLen: size_of::<CK_OBJECT_CLASS>() as CK_ULONG,
    }];
    let mut pin = *b"user-pin";
    let flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
    // SAFETY: every pointer is to memory of the length beside it, alive until the calls return.
    unsafe {
        let rv = functions.C_OpenSession.expect("there")(0, flags, ptr::null_mut(), None, &mut session);
        assert_eq!(rv, CKR_OK);
        let rv =
            functions.C_Login.expect("there")(session, CKU_USER, pin.as_mut_ptr(), pin.len() as CK_ULONG);
        assert_eq!(rv, CKR_OK);
        let rv = functions.C_FindObjectsInit.expect("there")(session, template.as_mut_ptr(), 1);
        assert_eq!(rv, CKR_OK);
        let rv = functions.C_FindObjects.expect("there")(session, &mut key, 1, &mut found);
        assert_eq!((rv, found), (CKR_OK, 1));
        assert_eq!(functions.C_FindObjectsFinal.expect("there")(session), CKR_OK);
    }
    (session, key)
}

/// One approval as the mechanism parameter has it.
pub(crate) fn parameter(code: &str) -> Vec<u8> {
    let mut record = vec![0; 128];
    record[..4].copy_from_slice(&[1, 1, 5, code.len() as u8]);
    record[4..9].copy_from_slice(b"alice");
    record[64..64 + code.len()].copy_from_slice(code.as_bytes());
    record
}
