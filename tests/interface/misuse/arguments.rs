//! Arguments: for each kind of parameter, values that a caller may get wrong, and sometimes right ones.
//!
//! What the specification lets a module rely on always holds here: a pointer that is not null is valid for
//! its length. A length beyond every bound of the module comes with a small buffer or with none, so the
//! module must refuse it before it reads anything.

use core::ptr;

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use super::caller::Caller;
use super::checks::Watched;
use super::memory::{Place, longest};
use super::ration::Costly;

/// Lengths beyond all bounds.
pub(crate) const HUGE: [CK_ULONG; 6] =
    [CK_ULONG::MAX, CK_ULONG::MAX - 7, 1 << 63, (1 << 63) - 1, 1 << 40, 1 << 32];

/// Mechanisms: ours first.
const MECHANISMS: [CK_MECHANISM_TYPE; 22] = [
    CKM_COUNTERSIGN_PSBT,
    CKM_COUNTERSIGN_DIGEST,
    CKM_COUNTERSIGN_TOTP_KEY_GEN,
    CKM_COUNTERSIGN_TOTP,
    CKM_COUNTERSIGN_WALLET_KEY_GEN,
    CKM_ECDSA,
    CKM_ECDSA_SHA256,
    CKM_EC_KEY_PAIR_GEN,
    CKM_ECDH1_DERIVE,
    CKM_HOTP,
    CKM_HOTP_KEY_GEN,
    CKM_SHA_1_HMAC,
    CKM_SHA256_HMAC,
    CKM_GENERIC_SECRET_KEY_GEN,
    CKM_AES_KEY_WRAP,
    CKM_AES_CBC,
    CKM_RSA_PKCS,
    CKM_RSA_PKCS_KEY_PAIR_GEN,
    CKM_CONCATENATE_BASE_AND_DATA,
    CKM_EXTRACT_KEY_FROM_KEY,
    CKM_XOR_BASE_AND_DATA,
    CKM_SHA256,
];

/// Numbers and handles.
impl Caller<'_> {
    pub(crate) fn slot(&mut self) -> CK_SLOT_ID {
        match self.random.below(20) {
            0 => 1,
            1 => CK_SLOT_ID::MAX,
            2 => self.random.next(),
            _ => 0,
        }
    }

    /// The slot if the ration allows this costly call, otherwise another slot.
    pub(crate) fn slot_to_close(&mut self) -> CK_SLOT_ID {
        if self.ration.allows(Costly::Logout) { 0 } else { 1 + self.random.below(1 << 20) }
    }

    pub(crate) fn session(&mut self) -> CK_SESSION_HANDLE {
        self.last_session = self.sessions.pick(self.last_session, &mut self.random);
        self.last_session
    }

    pub(crate) fn session_to_log_out(&mut self) -> CK_SESSION_HANDLE {
        if self.ration.allows(Costly::Logout) {
            return self.session();
        }
        self.last_session = self.sessions.pick_dead(&mut self.random);
        self.last_session
    }

    pub(crate) fn object(&mut self) -> CK_OBJECT_HANDLE {
        self.last_object = self.objects.pick(0, &mut self.random);
        self.last_object
    }

    /// A key to sign with, usually one that signs.
    pub(crate) fn signer(&mut self) -> CK_OBJECT_HANDLE {
        if self.random.below(4) == 0 {
            return self.object();
        }
        self.last_object = self.signers.pick(0, &mut self.random);
        self.last_object
    }

    pub(crate) fn number(&mut self) -> CK_ULONG {
        match self.random.below(6) {
            0 => 0,
            1 => CK_ULONG::MAX,
            2 => self.random.next(),
            _ => self.random.below(64),
        }
    }

    pub(crate) fn boolean(&mut self) -> CK_BBOOL {
        self.random.below(4) as CK_BBOOL
    }

    pub(crate) fn flags(&mut self) -> CK_FLAGS {
        match self.random.below(4) {
            0 => self.random.next(),
            1 => 0,
            _ => 1 << self.random.below(64),
        }
    }

    /// Flags that open a session, while this caller has few.
    pub(crate) fn session_flags(&mut self) -> CK_FLAGS {
        let may_open = self.sessions.has_room();
        match self.random.below(6) {
            0 => 0,
            1 => CKF_RW_SESSION,
            2 if may_open => CKF_SERIAL_SESSION,
            3 if may_open => CKF_SERIAL_SESSION | self.random.next(),
            _ if may_open => CKF_SERIAL_SESSION | CKF_RW_SESSION,
            _ => 0,
        }
    }

    /// Never a wait without end, although the specification allows it.
    pub(crate) fn no_waiting(&mut self) -> CK_FLAGS {
        CKF_DONT_BLOCK | self.flags()
    }

    pub(crate) fn user_type(&mut self) -> CK_USER_TYPE {
        self.last_user_type = match self.random.below(10) {
            0 => self.random.next(),
            1 | 2 => CKU_SO,
            3 | 4 => CKU_USER,
            _ => CKU_CONTEXT_SPECIFIC,
        };
        self.last_user_type
    }

    pub(crate) fn mechanism_type(&mut self) -> CK_MECHANISM_TYPE {
        match self.random.below(20) {
            0 => self.random.next(),
            1 => CKM_COUNTERSIGN_PSBT + self.random.below(64),
            2..=7 => CKM_COUNTERSIGN_PSBT,
            8 | 9 => CKM_COUNTERSIGN_TOTP,
            _ => *self.random.one_of(&MECHANISMS),
        }
    }

    /// A callback, which is never called.
    pub(crate) fn notify(&mut self) -> CK_NOTIFY {
        None
    }
}

/// Pointers to a single thing.
impl Caller<'_> {
    /// A pointer that should be null, and mostly is.
    pub(crate) fn nothing<T>(&mut self) -> *mut T {
        if self.random.below(8) == 0 { self.input(&[0; 64]).cast() } else { ptr::null_mut() }
    }

    /// The argument of `C_Finalize`: null only if the call may succeed.
    pub(crate) fn reserved<T>(&mut self) -> *mut T {
        if self.ration.allows(Costly::Finalize) { ptr::null_mut() } else { self.input(&[0; 64]).cast() }
    }

    /// Arguments of `C_Initialize`.
    pub(crate) fn initialize_arguments<T>(&mut self) -> *mut T {
        if self.random.below(3) == 0 {
            return ptr::null_mut();
        }
        unsafe extern "C" fn create(_: *mut CK_VOID_PTR) -> CK_RV {
            CKR_MUTEX_BAD
        }
        unsafe extern "C" fn other(_: CK_VOID_PTR) -> CK_RV {
            CKR_MUTEX_BAD
        }
        let of = |given: bool| given.then_some(other as unsafe extern "C" fn(CK_VOID_PTR) -> CK_RV);
        let arguments = CK_C_INITIALIZE_ARGS {
            CreateMutex: (self.random.below(2) == 0).then_some(create),
            DestroyMutex: of(self.random.below(2) == 0),
            LockMutex: of(self.random.below(2) == 0),
            UnlockMutex: of(self.random.below(2) == 0),
            flags: self.random.below(8),
            pReserved: self.nothing(),
        };
        let place = self.memory.value(arguments);
        self.watch(Watched::Input(place)).cast()
    }

    /// A place for one value of output.
    pub(crate) fn out<T>(&mut self) -> *mut T {
        if self.random.below(12) == 0 {
            return ptr::null_mut();
        }
        let place = self.memory.buffer(size_of::<T>(), true);
        self.watch(Watched::Fixed(place)).cast()
    }

    pub(crate) fn label(&mut self) -> *mut CK_UTF8CHAR {
        if self.random.below(8) == 0 { ptr::null_mut() } else { self.input(&[b' '; 32]) }
    }

    /// A C string.
    pub(crate) fn name(&mut self) -> *mut CK_UTF8CHAR {
        match self.random.below(5) {
            0 => ptr::null_mut(),
            1 => self.input(b"\0"),
            2 => self.input(b"C_Sign\0"),
            3 => self.input(b"\xff\xfe\0"),
            _ => self.input(b"PKCS 11\0"),
        }
    }

    pub(crate) fn version(&mut self) -> *mut CK_VERSION {
        let version = match self.random.below(5) {
            0 => return ptr::null_mut(),
            1 => CK_VERSION { major: 2, minor: 40 },
            2 => CK_VERSION { major: 3, minor: 0 },
            3 => CK_VERSION { major: 3, minor: 2 },
            _ => CK_VERSION { major: self.random.next() as u8, minor: self.random.next() as u8 },
        };
        let place = self.memory.value(version);
        self.watch(Watched::Input(place)).cast()
    }

    pub(crate) fn mechanism(&mut self) -> *mut CK_MECHANISM {
        if self.random.below(16) == 0 {
            return ptr::null_mut();
        }
        let mechanism = self.mechanism_type();
        self.mechanism_of(mechanism)
    }

    /// A mechanism to sign with, mostly ours.
    pub(crate) fn signing_mechanism(&mut self) -> *mut CK_MECHANISM {
        match self.random.below(12) {
            0..=2 => self.mechanism(),
            3 => self.mechanism_of(CKM_COUNTERSIGN_DIGEST),
            4 => self.mechanism_of(CKM_ECDSA),
            _ => self.mechanism_of(CKM_COUNTERSIGN_PSBT),
        }
    }

    /// A mechanism to verify with, often ours.
    pub(crate) fn verifying_mechanism(&mut self) -> *mut CK_MECHANISM {
        match self.random.below(4) {
            0 => self.mechanism_of(CKM_COUNTERSIGN_DIGEST),
            1 => self.mechanism_of(CKM_ECDSA),
            _ => self.mechanism(),
        }
    }

    /// Whether the last mechanism is one for digests.
    pub(crate) fn means_digests(&self) -> bool {
        matches!(self.last_mechanism, CKM_COUNTERSIGN_DIGEST | CKM_ECDSA)
    }

    /// A mechanism to make something with, mostly ours.
    pub(crate) fn making_mechanism(&mut self) -> *mut CK_MECHANISM {
        match self.random.below(8) {
            0 => self.mechanism(),
            1..=4 => self.mechanism_of(CKM_COUNTERSIGN_TOTP_KEY_GEN),
            5 => self.mechanism_of(CKM_EC_KEY_PAIR_GEN),
            _ => self.mechanism_of(CKM_COUNTERSIGN_WALLET_KEY_GEN),
        }
    }

    fn mechanism_of(&mut self, mechanism: CK_MECHANISM_TYPE) -> *mut CK_MECHANISM {
        self.last_mechanism = mechanism;
        // Ours take no parameter if the code comes by a login, or if a key is made.
        let is_bare = self.random.below(3) > 0;
        let (parameter, len) = if is_bare { (ptr::null_mut(), 0) } else { self.parameter() };
        let place = self.memory.value(CK_MECHANISM { mechanism, pParameter: parameter, ulParameterLen: len });
        self.watch(Watched::Input(place)).cast()
    }
}

/// Puts values into memory.
impl Caller<'_> {
    pub(crate) fn garbage(&mut self, most: usize) -> Vec<u8> {
        let len = self.random.below(most as u64 + 1);
        (0..len).map(|_| self.random.next() as u8).collect()
    }

    pub(crate) fn sized<T>(&mut self, bytes: &[u8]) -> (*mut T, CK_ULONG) {
        let bytes = &bytes[..bytes.len().min(longest())];
        (self.input(bytes).cast(), bytes.len() as CK_ULONG)
    }

    pub(crate) fn input(&mut self, bytes: &[u8]) -> *mut u8 {
        let is_at_end = self.random.below(4) > 0;
        let place = self.memory.bytes(bytes, is_at_end);
        self.watch(Watched::Input(place))
    }

    pub(crate) fn buffer(&mut self, len: usize) -> Place {
        // A list's values must be aligned. At the end of a page they are.
        self.memory.buffer(len, true)
    }
}

/// The pointer to a place, or null.
pub(crate) fn start(place: Option<Place>) -> *mut u8 {
    place.map_or(ptr::null_mut(), |place| place.start)
}
