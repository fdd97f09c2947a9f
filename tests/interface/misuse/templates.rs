//! Templates that the module reads, and templates that it fills.

use core::ptr;

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::{LIMITS, ulong};

use super::arguments::{HUGE, start};
use super::caller::Caller;
use super::checks::Watched;
use super::ration::Costly;
use super::world::{SECP256K1, digest_key_template, prey, users_of};

/// Attributes that our objects have, and some that they do not have.
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

impl Caller<'_> {
    /// A template for the module to read.
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
        // A recipe is usually left as it is.
        let more = if attributes.is_empty() || self.random.below(4) == 0 { self.random.below(4) } else { 0 };
        for _ in 0..more {
            let kind = self.kind();
            attributes.push((kind, self.value_of(kind)));
        }
        self.attributes(&attributes)
    }

    /// A template for a user. Half of them are valid.
    pub(crate) fn of_user(&mut self) -> (CK_ATTRIBUTE_PTR, CK_ULONG) {
        if self.random.below(2) == 0 || !self.ration.allows(Costly::Administer) {
            return self.template();
        }
        let number = self.random.below(12);
        let name = format!("extra-{number}").into_bytes();
        self.attributes(&[(CKA_LABEL, name), (CKA_OTP_LENGTH, ulong(6 + number % 3))])
    }

    /// A template for a session object, data or a public key. Half of them are valid.
    pub(crate) fn of_object(&mut self) -> (CK_ATTRIBUTE_PTR, CK_ULONG) {
        let wallet = self.random.below(self.world.wallets.len().max(1) as u64) as usize;
        let attributes = match (self.random.below(4), self.world.wallets.get(wallet)) {
            (0, _) => vec![(CKA_CLASS, ulong(CKO_DATA)), (CKA_VALUE, self.garbage(600))],
            (1, Some(wallet)) => vec![
                (CKA_CLASS, ulong(CKO_PUBLIC_KEY)),
                (CKA_KEY_TYPE, ulong(CKK_EC)),
                (CKA_EC_PARAMS, SECP256K1.to_vec()),
                (CKA_EC_POINT, wallet.point.clone()),
            ],
            _ => return self.template(),
        };
        self.attributes(&attributes)
    }

    /// The first of two templates for a wallet or a key that signs digests.
    pub(crate) fn of_public(&mut self) -> (CK_ATTRIBUTE_PTR, CK_ULONG) {
        if self.random.below(2) == 0 || !self.ration.allows(Costly::Wallet) {
            return self.template();
        }
        if self.last_mechanism == CKM_EC_KEY_PAIR_GEN {
            return self.attributes(&[(CKA_EC_PARAMS, SECP256K1.to_vec())]);
        }
        let label = format!("extra-{}", self.random.below(12)).into_bytes();
        self.attributes(&[
            (CKA_LABEL, label),
            (CKA_COUNTERSIGN_NETWORK, b"regtest".to_vec()),
            (CKA_COUNTERSIGN_USERS, users_of(0).into_bytes()),
            (CKA_COUNTERSIGN_POLICY, LIMITS.into()),
        ])
    }

    /// The second of them, which a wallet does not need.
    pub(crate) fn of_private(&mut self) -> (CK_ATTRIBUTE_PTR, CK_ULONG) {
        if self.last_mechanism == CKM_EC_KEY_PAIR_GEN && self.random.below(4) > 0 {
            let name = format!("extra-digests-{}", self.random.below(4));
            return self.attributes(&digest_key_template(&name, &users_of(0)));
        }
        if self.random.below(2) == 0 { (ptr::null_mut(), 0) } else { self.template() }
    }

    /// A template for the module to fill.
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

    /// The beginning of a template: a change that an administrator can make, a class to find, or nothing.
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

    /// A value of a likely length. Never one that removes the payers from a wallet.
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
