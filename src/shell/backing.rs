//! The backing token: a PKCS#11 token that keeps the sealing key and the anchor.
//!
//! It is logged in to once and stays so: SoftHSM2 rewrites a file at each login, and a kill in that moment destroys the
//! token. What another part of the process initialised is used and never finalised. Labels prove nothing: a key is the
//! right one when it opens what it sealed, an anchor when its MAC is right.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use super::config::BackingConfig;
use super::exit;
use crate::kernel::seal::StoreId;
use crate::ports::{AnchorSlots, BackingError, Sealer};

const SEALING_KEY_LABEL: &[u8] = b"countersign-sealing-key";
const ANCHOR_LABEL: &[u8] = b"countersign-anchor";
const APPLICATION: &[u8] = b"countersign";
const IV_LEN: usize = 12;
const TAG_BITS: u64 = 128;
/// How long the end of the process waits for a thread to leave the token.
const LEAVING: Duration = Duration::from_millis(200);

/// The token, with sessions that are logged in.
pub struct Backing {
    session: Mutex<Session>,
    /// The anchor has a session of its own: who needs randomness does not wait for it.
    anchor: Mutex<AnchorSession>,
}

struct AnchorSession {
    session: Session,
    /// The anchors that are there, once it is known.
    known: Option<Vec<ObjectHandle>>,
}

impl Backing {
    /// Loads the module, finds the token and logs in. As the process ends nobody is in the token.
    pub fn open(config: &BackingConfig) -> Result<Arc<Backing>, BackingError> {
        let module = config.module.display();
        if !config.module.is_file() {
            return Err(BackingError(format!(
                "{module} is not there: install the backing module (Debian: apt-get install softhsm2), or correct backing.module"
            )));
        }
        check_not_ourselves(&config.module)?;
        let pkcs11 = Pkcs11::new(&config.module).map_err(|error| {
            BackingError(format!("{module} cannot be loaded as a PKCS#11 module: {error}"))
        })?;
        match pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(BackingError(format!("{module} does not initialise: {error}"))),
        }
        let info = pkcs11.get_library_info().map_err(|error| BackingError(format!("{module}: {error}")))?;
        if ["Countersign", "PKCS#11 Kit"].contains(&info.manufacturer_id()) {
            return Err(BackingError(format!(
                "{module} is Countersign itself or a proxy: name the module of the token behind it"
            )));
        }
        let slot = pkcs11
            .get_slots_with_initialized_token()
            .map_err(|error| BackingError(format!("{module} lists no slots: {error}")))?
            .into_iter()
            .find(|slot| pkcs11.get_token_info(*slot).is_ok_and(|token| token.label() == config.token))
            .ok_or_else(|| {
                BackingError(format!(
                    "no token is called {:?}: initialise it, correct backing.token, or (SoftHSM2) set SOFTHSM2_CONF",
                    config.token
                ))
            })?;
        let session = pkcs11
            .open_rw_session(slot)
            .map_err(|error| BackingError(format!("token {:?} opens no session: {error}", config.token)))?;
        let pin = config.pin.read().map_err(|error| BackingError(error.to_string()))?;
        match session.login(UserType::User, Some(&AuthPin::new(pin.as_str().into()))) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinLenRange, _)) => {
                return Err(BackingError(format!(
                    "token {:?} refuses its PIN: correct backing.pin_file or backing.pin_env",
                    config.token
                )));
            }
            Err(error) => {
                return Err(BackingError(format!("token {:?} refuses the login: {error}", config.token)));
            }
        }
        // The login holds for all sessions (PKCS#11 v2.40 section 2.4).
        let anchor = pkcs11
            .open_rw_session(slot)
            .map_err(|error| BackingError(format!("token {:?} opens no session: {error}", config.token)))?;
        let anchor = Mutex::new(AnchorSession { session: anchor, known: None });
        let backing = Arc::new(Backing { session: Mutex::new(session), anchor });
        exit::guard(&backing);
        Ok(backing)
    }

    /// Fills `bytes` from the token's random source.
    pub fn random(&self, bytes: &mut [u8]) -> Result<(), BackingError> {
        self.session().generate_random_slice(bytes).map_err(failed("gives no randomness"))
    }

    /// Keeps every thread out of the token for good, once those that are in it have left. Who does not leave is not waited for:
    /// it may be the one that ends the process.
    pub(super) fn keep_out(&self) {
        let until = Instant::now() + LEAVING;
        let (mut session, mut anchor) = (false, false);
        while !(session && anchor) && Instant::now() < until {
            session = session || lock_for_good(&self.session);
            anchor = anchor || lock_for_good(&self.anchor);
            if !(session && anchor) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn anchor(&self) -> MutexGuard<'_, AnchorSession> {
        self.anchor.lock().unwrap_or_else(|poisoned| {
            let mut anchor = PoisonError::into_inner(poisoned);
            anchor.known = None;
            anchor
        })
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        // A session has no state of ours between calls.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the lock is taken, and never given back.
fn lock_for_good<T>(lock: &Mutex<T>) -> bool {
    match lock.try_lock() {
        Ok(guard) => core::mem::forget(guard),
        Err(TryLockError::Poisoned(guard)) => core::mem::forget(guard.into_inner()),
        Err(TryLockError::WouldBlock) => return false,
    }
    true
}

impl Sealer for Backing {
    fn make_key(&self, store: &StoreId) -> Result<(), BackingError> {
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen(32.into()),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Modifiable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Wrap(false),
            Attribute::Unwrap(false),
            Attribute::Label(SEALING_KEY_LABEL.into()),
            Attribute::Id(store.to_vec()),
        ];
        let session = self.session();
        let key = session.generate_key(&Mechanism::AesKeyGen, &template).map_err(failed("makes no key"))?;
        check_key(&session, key)
    }

    fn wrap(&self, store: &StoreId, context: &[u8], key: &[u8; 32]) -> Result<Vec<u8>, BackingError> {
        let session = self.session();
        let sealing_key = sealing_keys(&session, store)?
            .pop()
            .ok_or_else(|| BackingError("the sealing key that was just made is not there".into()))?;
        let mut iv = [0; IV_LEN];
        getrandom::fill(&mut iv).map_err(|error| BackingError(error.to_string()))?;
        let mut wrapped = iv.to_vec();
        let parameters =
            GcmParams::new(&mut iv, context, TAG_BITS.into()).map_err(failed("wraps nothing"))?;
        let ciphertext = session
            .encrypt(&Mechanism::AesGcm(parameters), sealing_key, key)
            .map_err(failed("does not wrap the data key"))?;
        wrapped.extend_from_slice(&ciphertext);
        Ok(wrapped)
    }

    fn unwrap(
        &self,
        store: &StoreId,
        context: &[u8],
        wrapped: &[u8],
    ) -> Result<Option<Zeroizing<[u8; 32]>>, BackingError> {
        let Some((iv, ciphertext)) = wrapped.split_first_chunk::<IV_LEN>() else { return Ok(None) };
        let session = self.session();
        // Anyone who can write to the token can make a second key of the same name: the right one opens.
        for sealing_key in sealing_keys(&session, store)? {
            let mut iv = *iv;
            let parameters =
                GcmParams::new(&mut iv, context, TAG_BITS.into()).map_err(failed("unwraps nothing"))?;
            if let Ok(plaintext) = session.decrypt(&Mechanism::AesGcm(parameters), sealing_key, ciphertext) {
                let plaintext = Zeroizing::new(plaintext);
                if let Ok(key) = <[u8; 32]>::try_from(&plaintext[..]) {
                    check_key(&session, sealing_key)?;
                    return Ok(Some(Zeroizing::new(key)));
                }
            }
        }
        Ok(None)
    }
}

impl AnchorSlots for Backing {
    fn values(&self) -> Result<Vec<Vec<u8>>, BackingError> {
        let AnchorSession { session, .. } = &*self.anchor();
        // An object that a crash left torn may not even be readable: it is no value, and is destroyed with the next one.
        Ok(anchors(session)?.into_iter().filter_map(|anchor| value(session, anchor).ok()).collect())
    }

    fn replace(&self, new: &[u8]) -> Result<(), BackingError> {
        let AnchorSession { session, known } = &mut *self.anchor();
        // Taken: after a failure it is looked for anew.
        let old = match known.take() {
            Some(old) => old,
            None => anchors(session)?,
        };
        let template = [
            Attribute::Class(ObjectClass::DATA),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Modifiable(false),
            Attribute::Label(ANCHOR_LABEL.into()),
            Attribute::Application(APPLICATION.into()),
            Attribute::Value(new.to_vec()),
        ];
        let created = session.create_object(&template).map_err(failed("does not keep the anchor"))?;
        if value(session, created)? != new {
            return Err(BackingError("the anchor does not read back as it was written".into()));
        }
        for anchor in old {
            session.destroy_object(anchor).map_err(failed("does not destroy the old anchor"))?;
        }
        *known = Some(vec![created]);
        Ok(())
    }
}

/// A module that is this library would call itself for ever.
fn check_not_ourselves(module: &Path) -> Result<(), BackingError> {
    use std::os::unix::fs::MetadataExt;
    let Some(ourselves) = mapped_file_of(check_not_ourselves as *const () as usize) else { return Ok(()) };
    let (Ok(ours), Ok(theirs)) = (std::fs::metadata(ourselves), std::fs::metadata(module)) else {
        return Ok(());
    };
    if (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()) {
        return Err(BackingError(format!(
            "{} is Countersign itself: name the module of the token behind it",
            module.display()
        )));
    }
    Ok(())
}

/// The file that `address` of this process is mapped from (`proc_pid_maps(5)`).
fn mapped_file_of(address: usize) -> Option<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let (start, rest) = line.split_once('-')?;
        let (end, _) = rest.split_once(' ')?;
        let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
        range.contains(&address).then(|| line.find('/').map(|path| line[path..].to_owned()))?
    })
}

fn sealing_keys(session: &Session, store: &StoreId) -> Result<Vec<ObjectHandle>, BackingError> {
    session
        .find_objects(&[
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::Label(SEALING_KEY_LABEL.into()),
            Attribute::Id(store.to_vec()),
        ])
        .map_err(failed("does not look for the sealing key"))
}

/// The key must be one that cannot leave the token.
fn check_key(session: &Session, key: ObjectHandle) -> Result<(), BackingError> {
    let wanted = [
        AttributeType::Sensitive,
        AttributeType::Extractable,
        AttributeType::AlwaysSensitive,
        AttributeType::NeverExtractable,
    ];
    let found =
        session.get_attributes(key, &wanted).map_err(failed("does not show the sealing key's attributes"))?;
    let stays = [
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::AlwaysSensitive(true),
        Attribute::NeverExtractable(true),
    ];
    if stays.iter().all(|attribute| found.contains(attribute)) {
        return Ok(());
    }
    Err(BackingError(
        "the sealing key can leave the token: it must be sensitive and never extractable".into(),
    ))
}

fn anchors(session: &Session) -> Result<Vec<ObjectHandle>, BackingError> {
    session
        .find_objects(&[Attribute::Class(ObjectClass::DATA), Attribute::Label(ANCHOR_LABEL.into())])
        .map_err(failed("does not look for the anchor"))
}

fn value(session: &Session, object: ObjectHandle) -> Result<Vec<u8>, BackingError> {
    let attributes = session
        .get_attributes(object, &[AttributeType::Value])
        .map_err(failed("does not show the anchor"))?;
    Ok(attributes
        .into_iter()
        .find_map(|attribute| match attribute {
            Attribute::Value(value) => Some(value),
            _ => None,
        })
        .unwrap_or_default())
}

fn failed(what: &'static str) -> impl Fn(Error) -> BackingError {
    move |error| BackingError(format!("it {what}: {error}"))
}
