//! Arguments: for each kind of parameter, what a caller may get wrong, and sometimes what is right.
//!
//! What a specification lets a module rely on is never false here: a pointer that is not null is valid for the length that comes
//! with it. A length beyond every bound of the module comes with a small buffer or with none: it has to be refused before
//! anything is read.

use core::ptr;

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use super::caller::{Caller, Phase};
use super::checks::Watched;
use super::memory::{Place, longest, zeros};
use super::ration::Costly;
use super::world::{prey, right_pin, users_of};
use crate::boundary::{LIMITS, approval, ulong};

/// Lengths beyond all bounds.
const HUGE: [CK_ULONG; 6] = [CK_ULONG::MAX, CK_ULONG::MAX - 7, 1 << 63, (1 << 63) - 1, 1 << 40, 1 << 32];
/// What is no code, and is no user's either.
const MALFORMED: [&[u8]; 10] = [
    b"",
    b"12345",
    b"123456789",
    b" 123456",
    b"+1234567",
    b"12 34 56",
    b"alice:",
    b"prey-0:1234567a",
    b"123456\0",
    &[0xd9, 0xa3, 0xd9, 0xa3, 0xd9, 0xa3],
];
/// Longest PSBT that the module reads.
const MAX_PSBT: usize = 16 << 20;

/// Attributes that our objects have, and some that they have not.
const KINDS: [CK_ATTRIBUTE_TYPE; 64] = [
    CKA_CLASS,
    CKA_TOKEN,
    CKA_PRIVATE,
    CKA_LABEL,
    CKA_UNIQUE_ID,
    CKA_APPLICATION,
    CKA_VALUE,
    CKA_OBJECT_ID,
    CKA_CERTIFICATE_TYPE,
    CKA_TRUSTED,
    CKA_CHECK_VALUE,
    CKA_KEY_TYPE,
    CKA_SUBJECT,
    CKA_ID,
    CKA_SENSITIVE,
    CKA_ENCRYPT,
    CKA_DECRYPT,
    CKA_WRAP,
    CKA_UNWRAP,
    CKA_SIGN,
    CKA_SIGN_RECOVER,
    CKA_VERIFY,
    CKA_VERIFY_RECOVER,
    CKA_DERIVE,
    CKA_START_DATE,
    CKA_END_DATE,
    CKA_MODULUS,
    CKA_MODULUS_BITS,
    CKA_PRIVATE_EXPONENT,
    CKA_PUBLIC_KEY_INFO,
    CKA_VALUE_LEN,
    CKA_EXTRACTABLE,
    CKA_LOCAL,
    CKA_NEVER_EXTRACTABLE,
    CKA_ALWAYS_SENSITIVE,
    CKA_KEY_GEN_MECHANISM,
    CKA_MODIFIABLE,
    CKA_COPYABLE,
    CKA_DESTROYABLE,
    CKA_EC_PARAMS,
    CKA_EC_POINT,
    CKA_ALWAYS_AUTHENTICATE,
    CKA_WRAP_WITH_TRUSTED,
    CKA_WRAP_TEMPLATE,
    CKA_UNWRAP_TEMPLATE,
    CKA_OTP_FORMAT,
    CKA_OTP_LENGTH,
    CKA_OTP_TIME_INTERVAL,
    CKA_OTP_COUNTER,
    CKA_OTP_TIME,
    CKA_OTP_USER_IDENTIFIER,
    CKA_OTP_SERVICE_IDENTIFIER,
    CKA_HW_FEATURE_TYPE,
    CKA_ALLOWED_MECHANISMS,
    CKA_PROFILE_ID,
    CKA_COUNTERSIGN_OTPAUTH_URI,
    CKA_COUNTERSIGN_CONFIRMED,
    CKA_COUNTERSIGN_FAILURES,
    CKA_COUNTERSIGN_NETWORK,
    CKA_COUNTERSIGN_POLICY,
    CKA_COUNTERSIGN_DESCRIPTOR,
    CKA_COUNTERSIGN_XPUB,
    CKA_COUNTERSIGN_WALLET_POLICY,
    CKA_COUNTERSIGN_REACH,
];

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

    /// The slot, where the call has a price that is rationed; else another.
    pub(crate) fn slot_to_close(&mut self) -> CK_SLOT_ID {
        if self.ration.allows(Costly::Logout) { 0 } else { 1 + self.random.below(1 << 20) }
    }

    pub(crate) fn session(&mut self) -> CK_SESSION_HANDLE {
        self.last_session = self.sessions.pick(self.last_session, &mut self.random);
        self.last_session
    }

    pub(crate) fn session_to_log_out(&mut self) -> CK_SESSION_HANDLE {
        if self.ration.allows(Costly::Logout) {
            self.session()
        } else {
            self.sessions.pick_dead(&mut self.random)
        }
    }

    pub(crate) fn object(&mut self) -> CK_OBJECT_HANDLE {
        self.last_object = self.objects.pick(0, &mut self.random);
        self.last_object
    }

    /// A key to sign with, mostly one that signs.
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

    /// Of a session to open: while this caller has few.
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

    /// Never a wait without an end, which the specification allows to whoever asks for it.
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

    /// A callback: none is ever called.
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

    /// Of `C_Finalize`: null only where the call may succeed.
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

    /// Where one value is to be written.
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
        if self.random.below(4) == 0 { self.mechanism() } else { self.mechanism_of(CKM_COUNTERSIGN_PSBT) }
    }

    /// A mechanism to make something with, mostly ours.
    pub(crate) fn making_mechanism(&mut self) -> *mut CK_MECHANISM {
        match self.random.below(8) {
            0 => self.mechanism(),
            1..=4 => self.mechanism_of(CKM_COUNTERSIGN_TOTP_KEY_GEN),
            _ => self.mechanism_of(CKM_COUNTERSIGN_WALLET_KEY_GEN),
        }
    }

    fn mechanism_of(&mut self, mechanism: CK_MECHANISM_TYPE) -> *mut CK_MECHANISM {
        // Ours take none where a code comes by a login, or where a key is made.
        let is_bare = self.random.below(3) > 0;
        let (parameter, len) = if is_bare { (ptr::null_mut(), 0) } else { self.parameter() };
        let place = self.memory.value(CK_MECHANISM { mechanism, pParameter: parameter, ulParameterLen: len });
        self.watch(Watched::Input(place)).cast()
    }
}

/// A pointer with a length.
impl Caller<'_> {
    /// Any bytes.
    pub(crate) fn text<T>(&mut self) -> (*mut T, CK_ULONG) {
        if let Some(odd) = self.odd() {
            return odd;
        }
        let bytes = self.garbage(600);
        self.sized(&bytes)
    }

    /// A PSBT, or what is none.
    pub(crate) fn data<T>(&mut self) -> (*mut T, CK_ULONG) {
        if let Some(odd) = self.odd() {
            return odd;
        }
        let wallets = self.world.wallets.len();
        let mut bytes = match wallets {
            0 => self.garbage(200),
            _ => {
                let wallet = self.random.below(wallets as u64) as usize;
                self.world.psbt(wallet)
            }
        };
        match self.random.below(12) {
            0 => bytes = self.garbage(2_000),
            1 => bytes.truncate(self.random.below(bytes.len() as u64 + 1) as usize),
            2 | 3 if !bytes.is_empty() => {
                for _ in 0..=self.random.below(4) {
                    let place = self.random.below(bytes.len() as u64) as usize;
                    bytes[place] ^= 1 << self.random.below(8);
                }
            }
            4 => bytes.extend_from_within(..),
            5 if self.random.below(100) == 0 => {
                return (zeros(MAX_PSBT + 1).cast(), MAX_PSBT as CK_ULONG + 1);
            }
            6 if self.random.below(200) == 0 => return (zeros(1 << 20).cast(), 1 << 20),
            _ => {}
        }
        self.sized(&bytes)
    }

    /// The data of a verification: empty, or wrong.
    pub(crate) fn no_data<T>(&mut self) -> (*mut T, CK_ULONG) {
        if self.random.below(4) > 0 { (ptr::null_mut(), 0) } else { self.text() }
    }

    /// A PIN for the user type before it.
    pub(crate) fn pin<T>(&mut self) -> (*mut T, CK_ULONG) {
        let user_type = match self.last_user_type {
            CKU_CONTEXT_SPECIFIC => return self.code(),
            user_type @ (CKU_SO | CKU_USER) => user_type,
            _ => return self.text(),
        };
        self.pin_of(user_type)
    }

    /// A PIN to change; its new one comes next.
    pub(crate) fn old_pin<T>(&mut self) -> (*mut T, CK_ULONG) {
        self.last_user_type = if self.random.below(4) == 0 { CKU_SO } else { CKU_USER };
        self.pin_of(self.last_user_type)
    }

    /// The same PIN again, so that it stays; or none that can be set.
    pub(crate) fn new_pin<T>(&mut self) -> (*mut T, CK_ULONG) {
        match self.random.below(3) {
            0 => self.refused_pin(),
            1 => self.sized(b"\x01"),
            _ => self.sized(right_pin(self.last_user_type).as_bytes()),
        }
    }

    /// The user's PIN, set by the security officer.
    pub(crate) fn user_pin<T>(&mut self) -> (*mut T, CK_ULONG) {
        self.last_user_type = CKU_USER;
        if self.ration.allows(Costly::Pin) {
            self.sized(right_pin(CKU_USER).as_bytes())
        } else {
            self.refused_pin()
        }
    }

    fn pin_of<T>(&mut self, user_type: CK_USER_TYPE) -> (*mut T, CK_ULONG) {
        if !self.ration.allows(Costly::Pin) {
            return self.refused_pin();
        }
        if self.random.below(4) > 0 || !self.world.takes_a_wrong_pin() {
            return self.sized(right_pin(user_type).as_bytes());
        }
        let wrong = self.garbage(255);
        self.sized(&wrong)
    }

    /// Refused before anybody looks at it: a PIN that is looked at costs an attempt, and a tenth of a second.
    fn refused_pin<T>(&mut self) -> (*mut T, CK_ULONG) {
        match self.random.below(3) {
            0 => (ptr::null_mut(), 1 + self.random.below(300)),
            1 => (self.input(&[b'1'; 16]).cast(), *self.random.one_of(&HUGE)),
            _ => self.sized(&[b'1'; 256]),
        }
    }

    /// A code: malformed, or a wrong one, which costs a commit.
    pub(crate) fn code<T>(&mut self) -> (*mut T, CK_ULONG) {
        if let Some(odd) = self.odd() {
            return odd;
        }
        if !self.ration.allows(Costly::Charge) {
            let malformed = self.random.one_of(&MALFORMED);
            return self.sized(malformed);
        }
        let (user, code) = self.wrong_code();
        match self.random.below(2) {
            0 => self.sized(code.as_bytes()),
            _ => self.sized(format!("{user}:{code}").as_bytes()),
        }
    }

    /// The name of a user.
    pub(crate) fn user<T>(&mut self) -> (*mut T, CK_ULONG) {
        if let Some(odd) = self.odd() {
            return odd;
        }
        match self.random.below(3) {
            0 => self.text(),
            1 => self.sized(b""),
            _ => {
                let name = prey(self.random.next());
                self.sized(name.as_bytes())
            }
        }
    }

    /// A mechanism parameter: approvals, malformed or wrong; or other bytes.
    pub(crate) fn parameter<T>(&mut self) -> (*mut T, CK_ULONG) {
        if let Some(odd) = self.odd() {
            return odd;
        }
        if self.phase == Phase::Among
            && self.ration.allows(Costly::Stray)
            && let Some(code) = self.world.draw()
        {
            // A right code, for whatever comes after: among others, whoever signs with it has been paid for.
            return self.sized(&approval(&code.user, &code.code));
        }
        if self.ration.allows(Costly::Charge) {
            let (user, code) = self.wrong_code();
            let mut records = approval(&user, &code).to_vec();
            if self.random.below(4) == 0 {
                records.extend(approval(&prey(self.random.next()), "00000000"));
            }
            return self.sized(&records);
        }
        let mut records = approval("prey-0", "12345678").to_vec();
        match self.random.below(7) {
            0 => records.truncate(self.random.below(128) as usize),
            1 => records[0] = 2 + self.random.next() as u8 % 200,
            2 => records[1] = 0,
            3 => records[2] = 61 + self.random.next() as u8 % 190,
            4 => records[127] = 1,
            5 => records[64] = b' ',
            _ => records = self.garbage(2_200),
        }
        self.sized(&records)
    }

    /// Somebody's code that is not right: invented for a user who may be locked by it, or a payer's.
    fn wrong_code(&mut self) -> (String, String) {
        if self.random.below(4) == 0
            && self.ration.allows(Costly::Theft)
            && let Some(wrong) = self.world.wrong(&mut self.random)
        {
            return (wrong.user, wrong.code);
        }
        (prey(self.random.next()), format!("{:08}", self.random.below(100_000_000)))
    }

    /// Where an answer of variable length is to be written, in bytes.
    pub(crate) fn output<T>(&mut self) -> (*mut T, CK_ULONG_PTR) {
        let room = match self.random.below(5) {
            0 => self.random.below(16) as usize,
            1 => 4_096,
            _ => self.random.below(3_000) as usize,
        };
        let (buffer, len) = self.answer(room, 1);
        (buffer.cast(), len)
    }

    /// Where a list of slots, mechanisms or the like is to be written.
    pub(crate) fn list<T>(&mut self) -> (*mut T, CK_ULONG_PTR) {
        let room = self.random.below(12) as usize;
        let (buffer, len) = self.answer(room, size_of::<T>());
        (buffer.cast(), len)
    }

    fn answer(&mut self, room: usize, item: usize) -> (*mut u8, CK_ULONG_PTR) {
        let buffer = (self.random.below(5) > 0).then(|| self.buffer(room * item));
        let count = match buffer {
            Some(_) => room as CK_ULONG,
            // Without a buffer it means nothing.
            None => self.number(),
        };
        let len = (self.random.below(16) > 0).then(|| self.memory.value(count));
        self.watch(Watched::Answer { buffer, len, item });
        (start(buffer), start(len).cast())
    }

    /// Where found handles are to be written: the buffer and its length; where their number goes is `found_count`.
    pub(crate) fn found(&mut self) -> (CK_OBJECT_HANDLE_PTR, CK_ULONG) {
        let room = self.random.below(24) as usize;
        let buffer = (self.random.below(12) > 0).then(|| self.buffer(room * size_of::<CK_OBJECT_HANDLE>()));
        self.watch(Watched::Found { buffer, count: None });
        (start(buffer).cast(), buffer.map_or_else(|| self.number(), |_| room as CK_ULONG))
    }

    pub(crate) fn found_count(&mut self) -> CK_ULONG_PTR {
        let place = (self.random.below(12) > 0).then(|| self.memory.value(self.random.next()));
        if let Some(Watched::Found { count, .. }) = self.watched.last_mut() {
            *count = place;
        }
        start(place).cast()
    }

    /// Room for exactly so many bytes.
    pub(crate) fn room<T>(&mut self) -> (*mut T, CK_ULONG) {
        if let Some(odd) = self.odd() {
            return odd;
        }
        let len = self.random.below(3_000) as usize;
        let place = self.buffer(len);
        (self.watch(Watched::Fixed(place)).cast(), len as CK_ULONG)
    }

    /// Null with a length, or a length beyond all bounds; now and then.
    fn odd<T>(&mut self) -> Option<(*mut T, CK_ULONG)> {
        match self.random.below(24) {
            0 => Some((ptr::null_mut(), 0)),
            1 => Some((ptr::null_mut(), 1 + self.random.below(500))),
            2 => Some((ptr::null_mut(), *self.random.one_of(&HUGE))),
            3 => {
                let len = *self.random.one_of(&HUGE);
                Some((self.input(&[0; 8]).cast(), len))
            }
            _ => None,
        }
    }
}

/// Templates.
impl Caller<'_> {
    /// A template that is read.
    pub(crate) fn template(&mut self) -> (CK_ATTRIBUTE_PTR, CK_ULONG) {
        match self.random.below(24) {
            0 => return (ptr::null_mut(), 0),
            1 => return (ptr::null_mut(), 1 + self.random.below(10)),
            2 => return (ptr::null_mut(), *self.random.one_of(&HUGE)),
            3 => {
                let (one, _) = self.attributes(&[(CKA_TOKEN, vec![1])]);
                return (one, *self.random.one_of(&HUGE));
            }
            4 if self.random.below(20) == 0 => {
                let many = vec![(CKA_LABEL, vec![]); 200 + self.random.below(100) as usize];
                return self.attributes(&many);
            }
            _ => {}
        }
        let mut attributes = self.recipe();
        // A recipe is mostly left as it is.
        let more = if attributes.is_empty() || self.random.below(4) == 0 { self.random.below(4) } else { 0 };
        for _ in 0..more {
            let kind = self.kind();
            attributes.push((kind, self.value_of(kind)));
        }
        self.attributes(&attributes)
    }

    /// A template to make a user by; half of them could.
    pub(crate) fn of_user(&mut self) -> (CK_ATTRIBUTE_PTR, CK_ULONG) {
        if self.random.below(2) == 0 || !self.ration.allows(Costly::Administer) {
            return self.template();
        }
        let number = self.random.below(12);
        let name = format!("extra-{number}").into_bytes();
        self.attributes(&[(CKA_LABEL, name), (CKA_OTP_LENGTH, ulong(6 + number % 3))])
    }

    /// The first of two templates to make a wallet by.
    pub(crate) fn of_wallet(&mut self) -> (CK_ATTRIBUTE_PTR, CK_ULONG) {
        if self.random.below(2) == 0 || !self.ration.allows(Costly::Wallet) {
            return self.template();
        }
        let label = format!("extra-{}", self.random.below(12)).into_bytes();
        self.attributes(&[
            (CKA_LABEL, label),
            (CKA_COUNTERSIGN_NETWORK, b"regtest".to_vec()),
            (CKA_COUNTERSIGN_USERS, users_of(0).into_bytes()),
            (CKA_COUNTERSIGN_POLICY, LIMITS.into()),
        ])
    }

    /// The second of them, which needs to say nothing.
    pub(crate) fn of_its_key(&mut self) -> (CK_ATTRIBUTE_PTR, CK_ULONG) {
        if self.random.below(2) == 0 { (ptr::null_mut(), 0) } else { self.template() }
    }

    /// What is asked for: a template that is filled.
    pub(crate) fn wanted(&mut self) -> (CK_ATTRIBUTE_PTR, CK_ULONG) {
        match self.random.below(24) {
            0 => return (ptr::null_mut(), self.random.below(3)),
            1 => return (ptr::null_mut(), *self.random.one_of(&HUGE)),
            _ => {}
        }
        let mut values = Vec::new();
        let mut entries = Vec::new();
        for _ in 0..self.random.below(9) {
            let buffer = (self.random.below(4) > 0).then(|| {
                let len = if self.random.below(3) == 0 { 400 } else { self.random.below(40) };
                self.buffer(len as usize)
            });
            entries.push(CK_ATTRIBUTE {
                type_: self.kind(),
                pValue: start(buffer).cast(),
                ulValueLen: buffer.map_or_else(|| self.number(), |buffer| buffer.len as CK_ULONG),
            });
            values.push(buffer);
        }
        let place = self.memory.values(&entries);
        self.watch(Watched::Wanted { entries: place, values });
        (place.start.cast(), entries.len() as CK_ULONG)
    }

    /// The beginning of a template: a change that whoever may administer can make, a class to find, or nothing.
    fn recipe(&mut self) -> Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)> {
        match self.random.below(6) {
            0 if self.ration.allows(Costly::Administer) => vec![(CKA_COUNTERSIGN_POLICY, LIMITS.into())],
            1 if self.ration.allows(Costly::Administer) => vec![(CKA_COUNTERSIGN_LOCKED, vec![CK_FALSE])],
            2 => vec![(CKA_CLASS, ulong(self.random.below(10)))],
            _ => vec![],
        }
    }

    fn kind(&mut self) -> CK_ATTRIBUTE_TYPE {
        match self.random.below(16) {
            0 => self.random.next(),
            1 => self.random.below(0x700),
            2 => CKA_COUNTERSIGN_OTPAUTH_URI + self.random.below(40),
            _ => *self.random.one_of(&KINDS),
        }
    }

    /// A value, of a likely length. None that leaves a wallet of the payers without them.
    fn value_of(&mut self, kind: CK_ATTRIBUTE_TYPE) -> Vec<u8> {
        if matches!(kind, CKA_COUNTERSIGN_USERS | CKA_COUNTERSIGN_POLICY) {
            return self.random.one_of(&[&b""[..], b"nobody", b"\xff", b"max_fee_sat = -1"]).to_vec();
        }
        match self.random.below(6) {
            0 => vec![],
            1 => vec![self.random.below(3) as u8],
            2 => ulong(self.random.below(10)),
            3 => ulong(self.random.next()),
            4 => prey(self.random.next()).into_bytes(),
            _ => self.garbage(80),
        }
    }

    /// Puts a template into memory; some of its values are null with a length.
    fn attributes(&mut self, attributes: &[(CK_ATTRIBUTE_TYPE, Vec<u8>)]) -> (CK_ATTRIBUTE_PTR, CK_ULONG) {
        let entries: Vec<CK_ATTRIBUTE> = attributes
            .iter()
            .map(|(kind, value)| {
                let (pointer, len) = match self.random.below(40) {
                    0 => (ptr::null_mut(), 1 + self.random.below(70_000)),
                    1 => (self.input(&[1; 8]), *self.random.one_of(&HUGE)),
                    _ if value.is_empty() => (ptr::null_mut(), 0),
                    _ => self.sized(value),
                };
                CK_ATTRIBUTE { type_: *kind, pValue: pointer.cast(), ulValueLen: len }
            })
            .collect();
        let place = self.memory.values(&entries);
        (self.watch(Watched::Input(place)).cast(), entries.len() as CK_ULONG)
    }
}

/// Putting into memory.
impl Caller<'_> {
    fn garbage(&mut self, most: usize) -> Vec<u8> {
        let len = self.random.below(most as u64 + 1);
        (0..len).map(|_| self.random.next() as u8).collect()
    }

    fn sized<T>(&mut self, bytes: &[u8]) -> (*mut T, CK_ULONG) {
        let bytes = &bytes[..bytes.len().min(longest())];
        (self.input(bytes).cast(), bytes.len() as CK_ULONG)
    }

    fn input(&mut self, bytes: &[u8]) -> *mut u8 {
        let is_at_end = self.random.below(4) > 0;
        let place = self.memory.bytes(bytes, is_at_end);
        self.watch(Watched::Input(place))
    }

    fn buffer(&mut self, len: usize) -> Place {
        // Values of a list must be aligned: at the end of a page they are.
        self.memory.buffer(len, true)
    }
}

/// The pointer to a place; null for none.
fn start(place: Option<Place>) -> *mut u8 {
    place.map_or(ptr::null_mut(), |place| place.start)
}
