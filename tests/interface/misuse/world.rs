//! Shared by all callers: the module, the token with its wallets, the users' authenticators, and the account
//! of what was paid for.

use core::ptr;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bitcoin::Txid;
use bitcoin::absolute::LockTime;
use bitcoin::psbt::Psbt;
use bitcoin::secp256k1::ecdsa::Signature;
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1};
use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::raw::{Attribute, Raw};
use harness::module::wallet::Payment;
use harness::module::{
    Authenticator, LIMITS, USER_PIN, assert_rv, create_wallet, enrol_with, initialised_token, ulong,
};

use super::payments::find;
use super::ration::Random;

/// Wallets that pay.
const WALLETS: usize = 4;
/// Users of each wallet whose right codes pay.
const PAYERS: usize = 12;
/// The payers of all wallets.
const PAYING: u64 = (WALLETS * PAYERS) as u64;
/// Users for guessing; every wallet lists them.
const PREY: usize = 4;
/// Seconds of a payer's time step, as short as the module allows, so that there are many codes.
const STEP: u64 = 15;
/// Wrong codes of a payer in total; the budget is twenty.
const MAX_WRONG_CODES: u64 = 12;
/// Wrong PINs in a row; the PIN would lock at ten.
const MAX_WRONG_PINS: u64 = 4;
/// The curve's name (SEC 2), as an object identifier in DER.
pub(crate) const SECP256K1: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];
/// Bytes of a digest's signature. No PSBT with signatures is so short.
const SIGNATURE_LEN: usize = 64;

/// A version of the interface with its function list. Each list begins with the members of the one before it,
/// so all of them are read as the newest type.
#[derive(Clone, Copy)]
pub(crate) struct Table {
    pub(crate) version: (u8, u8),
    pub(crate) functions: *const CK_FUNCTION_LIST_3_2,
}

// SAFETY: function lists are statics that nobody writes, of a library that stays loaded.
unsafe impl Sync for Table {}
// SAFETY: as above.
unsafe impl Send for Table {}

/// The module, and its token and users.
pub(crate) struct World {
    pub(crate) raw: Raw,
    pub(crate) tables: Vec<Table>,
    pub(crate) wallets: Vec<WatchedWallet>,
    payers: Mutex<Vec<Payer>>,
    account: Mutex<Account>,
    /// Right codes that were handed out.
    drawn: AtomicU64,
    /// Wrong PINs since the last right one, of the security officer and of the user.
    wrong_pins: [AtomicU64; 2],
    /// Numbers the PSBTs and the digests, so that each differs.
    texts: AtomicU64,
}

/// A wallet as a watch-only wallet knows it, and the key that signs digests for the same users.
pub(crate) struct WatchedWallet {
    pub(crate) descriptor: String,
    /// `CKA_EC_POINT` of the other key.
    pub(crate) point: Vec<u8>,
    payment: Psbt,
}

/// A user, and the state of their codes.
struct Payer {
    authenticator: Authenticator,
    drawn: u64,
    wrong: u64,
    is_clean: bool,
}

/// The answers that came out: how many for each transaction, and the signatures of digests in the order in
/// which they came.
#[derive(Default)]
struct Account {
    transactions: HashMap<Txid, u64>,
    digests: Vec<([u8; SIGNATURE_LEN], u64)>,
}

/// A code, to sign with its user's wallet or digest key.
pub(crate) struct Code {
    pub(crate) user: String,
    pub(crate) code: String,
    pub(crate) wallet: usize,
    pub(crate) payer: usize,
}

/// The present account.
#[derive(Debug)]
pub(crate) struct Balance {
    /// Right codes handed out.
    pub(crate) drawn: u64,
    /// Transactions signed.
    pub(crate) transactions: u64,
    /// Digests signed.
    pub(crate) digests: u64,
    /// Answers with signatures. Several may be for one transaction or digest.
    pub(crate) answers: u64,
    /// Right codes handed out, by user.
    pub(crate) by_user: BTreeMap<String, u64>,
}

impl World {
    /// The module, loaded and not initialised.
    pub(crate) fn load() -> World {
        let raw = Raw::load();
        let tables = [(2, 40), (3, 0), (3, 2)]
            .into_iter()
            .filter_map(|(major, minor)| {
                let (mut version, mut interface) = (CK_VERSION { major, minor }, ptr::null_mut());
                // SAFETY: the pointers are null or to locals; an interface that is found is a static.
                unsafe {
                    match raw.library.C_GetInterface(ptr::null_mut(), &mut version, &mut interface, 0) {
                        CKR_OK => Some((*interface).pFunctionList.cast_const().cast()),
                        _ => None,
                    }
                }
                .map(|functions| Table { version: (major, minor), functions })
            })
            .collect();
        World {
            raw,
            tables,
            wallets: Vec::new(),
            payers: Mutex::default(),
            account: Mutex::default(),
            drawn: AtomicU64::new(0),
            wrong_pins: [const { AtomicU64::new(0) }; 2],
            texts: AtomicU64::new(1),
        }
    }

    /// The same with an initialised token, confirmed users, and wallets. Nobody is logged in.
    pub(crate) fn furnished(self) -> World {
        let raw = initialised_token();
        let so = raw.so();
        let enrol = |name: &str| {
            let authenticator = enrol_with(&raw, so, name, STEP);
            assert_rv!(raw.verify(so, raw.user_key(so, name), &authenticator.code()), CKR_OK);
            authenticator
        };
        (0..PREY as u64).for_each(|which| drop(enrol(&prey(which))));
        let payers = (0..PAYING as usize)
            .map(|number| {
                let authenticator = enrol(&payer(number));
                Payer { authenticator, drawn: 0, wrong: 0, is_clean: true }
            })
            .collect();
        let wallets = (0..WALLETS)
            .map(|number| {
                let users = users_of(number);
                let users: Vec<&str> = users.split('\n').collect();
                let descriptor = create_wallet(&raw, so, &format!("wallet-{number}"), &users, LIMITS);
                let payment = Psbt::deserialize(&Payment::default().psbt(&descriptor)).expect("a PSBT");
                let private = digest_key_template(&digest_key_id(number), &users.join("\n"));
                let public = [(CKA_EC_PARAMS, SECP256K1.to_vec())];
                let made = raw.generate_key_pair(so, CKM_EC_KEY_PAIR_GEN, &public, &private);
                let (public, _) = made.expect("a key that signs digests is made");
                let point = raw.attribute(so, public, CKA_EC_POINT).expect("it is public");
                WatchedWallet { descriptor, point, payment }
            })
            .collect();
        assert_rv!(raw.close_all(), CKR_OK);
        harness::module::doors::stay_with_backends(&raw);
        World { raw, wallets, payers: Mutex::new(payers), ..self }
    }

    /// A PSBT of this wallet, a new one each time.
    pub(crate) fn psbt(&self, wallet: usize) -> Vec<u8> {
        let number = self.next_text();
        let mut psbt = self.wallets[wallet].payment.clone();
        psbt.unsigned_tx.lock_time = LockTime::from_consensus(u32::try_from(number).expect("not so many"));
        psbt.serialize()
    }

    /// A digest, a new one each time.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut digest = [0x5a; 32];
        digest[..8].copy_from_slice(&self.next_text().to_be_bytes());
        digest
    }

    fn next_text(&self) -> u64 {
        self.texts.fetch_add(1, Ordering::SeqCst)
    }

    /// A right code of a payer, if one is left, with its wallet.
    pub(crate) fn draw(&self) -> Option<Code> {
        let mut payers = self.payers();
        let (payer, code) = payers
            .iter()
            .enumerate()
            .find_map(|(index, payer)| payer.authenticator.next_code().map(|code| (index, code)))?;
        let wallet = payer / PAYERS;
        payers[payer].drawn += 1;
        self.drawn.fetch_add(1, Ordering::SeqCst);
        Some(Code { user: payers[payer].authenticator.name().into(), code, wallet, payer })
    }

    /// A payer's newest code was accepted, which ends the row of wrong ones before it.
    pub(crate) fn paid(&self, payer: usize) {
        self.payers()[payer].is_clean = true;
    }

    /// A payer with a code that is not right now: spent, another payer's, or invented. Once between two
    /// payments, which end the row.
    pub(crate) fn wrong(&self, random: &mut Random) -> Option<Code> {
        let mut payers = self.payers();
        let (index, other) = (random.below(PAYING) as usize, random.below(PAYING) as usize);
        let code = match random.below(4) {
            0 => payers.get(index)?.authenticator.last_code(),
            1 if other != index => payers.get(other)?.authenticator.last_code(),
            _ => format!("{:08}", random.below(100_000_000)),
        };
        let payer = payers.get_mut(index)?;
        if !payer.is_clean || payer.wrong == MAX_WRONG_CODES {
            return None;
        }
        payer.is_clean = false;
        payer.wrong += 1;
        Some(Code { user: payer.authenticator.name().into(), code, wallet: index / PAYERS, payer: index })
    }

    /// Whether one more wrong PIN cannot lock anybody.
    pub(crate) fn takes_a_wrong_pin(&self) -> bool {
        self.wrong_pins.iter().all(|wrong| wrong.fetch_add(1, Ordering::SeqCst) < MAX_WRONG_PINS)
    }

    /// A right PIN ends the row of wrong ones.
    pub(crate) fn took_a_right_pin(&self, user_type: CK_USER_TYPE) {
        if let Some(wrong) = self.wrong_pins.get(user_type as usize) {
            wrong.store(0, Ordering::SeqCst);
        }
    }

    /// Counts an answer with signatures. There must never be more transactions and digests than right codes.
    pub(crate) fn saw_signed(&self, answer: &[u8]) -> Result<(), String> {
        if let Ok(signature) = <[u8; SIGNATURE_LEN]>::try_from(answer) {
            let mut account = self.account();
            match account.digests.iter_mut().rfind(|(seen, _)| *seen == signature) {
                Some((_, answers)) => *answers += 1,
                None => account.digests.push((signature, 1)),
            }
        } else {
            let psbt = Psbt::deserialize(answer).map_err(|error| format!("an answer is no PSBT: {error}"))?;
            if psbt.inputs.iter().any(|input| input.partial_sigs.is_empty()) {
                return Err("an answer lacks signatures".into());
            }
            *self.account().transactions.entry(psbt.unsigned_tx.compute_txid()).or_default() += 1;
        }
        let Balance { drawn, transactions, digests, .. } = self.balance();
        if transactions + digests > drawn {
            return Err(format!(
                "a signature that no code paid for: {transactions} transactions, {digests} digests, {drawn} right codes"
            ));
        }
        Ok(())
    }

    /// The balance of the account.
    pub(crate) fn balance(&self) -> Balance {
        let account = self.account();
        Balance {
            drawn: self.drawn.load(Ordering::SeqCst),
            transactions: account.transactions.len() as u64,
            digests: account.digests.len() as u64,
            answers: account
                .transactions
                .values()
                .chain(account.digests.iter().map(|(_, times)| times))
                .sum(),
            by_user: self
                .payers()
                .iter()
                .map(|payer| (payer.authenticator.name().to_owned(), payer.drawn))
                .collect(),
        }
    }

    /// The transactions that were signed.
    pub(crate) fn transactions(&self) -> Vec<String> {
        self.account().transactions.keys().map(Txid::to_string).collect()
    }

    /// The keys of the token that sign digests, as anybody can read them.
    pub(crate) fn digest_keys(&self) -> Vec<PublicKey> {
        let session = self.raw.read_only();
        let template: [Attribute; 2] =
            [(CKA_CLASS, ulong(CKO_PUBLIC_KEY)), (CKA_KEY_GEN_MECHANISM, ulong(CKM_EC_KEY_PAIR_GEN))];
        let found = find(&self.raw, session, &template).expect("nobody else calls");
        let points = found.into_iter().map(|key| {
            let point = self.raw.attribute(session, key, CKA_EC_POINT).expect("it is public");
            PublicKey::from_slice(&point[2..]).expect("a point in an OCTET STRING")
        });
        let keys = points.collect();
        assert_rv!(self.raw.close(session), CKR_OK);
        keys
    }

    /// The digests without a signature. Each of the others has its own, by one of these keys.
    pub(crate) fn unsigned_digests(&self, keys: &[PublicKey], digests: Vec<[u8; 32]>) -> Vec<[u8; 32]> {
        let secp = Secp256k1::verification_only();
        let mut signatures: Vec<Signature> = (self.account().digests.iter())
            .map(|(signature, _)| Signature::from_compact(signature).expect("r and s"))
            .collect();
        let mut unsigned = digests;
        unsigned.retain(|digest| {
            let message = Message::from_digest(*digest);
            // The audit has them in nearly the same order.
            let place = signatures.iter().position(|signature| {
                keys.iter().any(|key| secp.verify_ecdsa(&message, signature, key).is_ok())
            });
            place.map(|place| signatures.remove(place)).is_none()
        });
        unsigned
    }

    fn payers(&self) -> MutexGuard<'_, Vec<Payer>> {
        self.payers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wallet's `CKA_COUNTERSIGN_USERS`, which does not change.
pub(crate) fn users_of(wallet: usize) -> String {
    let payers = (wallet * PAYERS..(wallet + 1) * PAYERS).map(payer);
    payers.chain((0..PREY as u64).map(prey)).collect::<Vec<_>>().join("\n")
}

/// `CKA_ID` of the key that signs digests for the users of this wallet.
pub(crate) fn digest_key_id(wallet: usize) -> String {
    format!("digests-{wallet}")
}

/// The private template of a key that signs digests, by both mechanisms.
pub(crate) fn digest_key_template(name: &str, users: &str) -> Vec<Attribute> {
    let mechanisms = [CKM_COUNTERSIGN_DIGEST, CKM_ECDSA].into_iter().flat_map(ulong).collect();
    vec![
        (CKA_LABEL, name.into()),
        (CKA_ID, name.into()),
        (CKA_COUNTERSIGN_USERS, users.into()),
        (CKA_COUNTERSIGN_POLICY, b"unlimited = true".to_vec()),
        (CKA_ALLOWED_MECHANISMS, mechanisms),
    ]
}

fn payer(number: usize) -> String {
    format!("payer-{number}")
}

/// The name of a user for guessing. Some of them exist only as a name.
pub(crate) fn prey(which: u64) -> String {
    format!("prey-{}", which % (PREY as u64 + 2))
}

/// The user PIN, and the security officer's.
pub(crate) fn right_pin(user_type: CK_USER_TYPE) -> &'static str {
    if user_type == CKU_SO { harness::module::SO_PIN } else { USER_PIN }
}
