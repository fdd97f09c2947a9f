//! The attributes of each kind of object: the tables of PKCS#11 v3.2 sections 4 and 6.

use cryptoki_sys::*;

use super::super::rv::Rv;
use super::super::vendor::*;
use super::specified::SPECIFIED;

type Table = &'static [CK_ATTRIBUTE_TYPE];

/// A kind of object, distinguished by its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pkcs11) enum Class {
    /// A user's OTP key.
    OtpKey,
    /// One side of a wallet or of a key that signs digests.
    Key(KeyKind, Side),
    /// The clock.
    Clock,
    /// The backends' PIN.
    UserPin,
    /// The freeze of everything.
    Freeze,
    /// The officers.
    Officers,
    /// A proposed act.
    Proposal,
    /// A draft of an act.
    Draft,
    /// A proposed transaction.
    Pending,
    /// A profile that the token conforms to.
    Profile,
    /// A data object of a session.
    Data,
    /// A public key of a session.
    PublicKey,
}

/// A kind of key that signs once its users approve. Each is a key pair on secp256k1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::pkcs11) enum KeyKind {
    /// A wallet, which signs PSBTs.
    Wallet,
    /// A key that signs digests.
    Digest,
}

/// A side of a key pair, which is an object of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::pkcs11) enum Side {
    Public,
    Private,
}

impl Class {
    /// All of them.
    const ALL: [Class; 15] = [
        Class::OtpKey,
        Class::Key(KeyKind::Wallet, Side::Public),
        Class::Key(KeyKind::Wallet, Side::Private),
        Class::Key(KeyKind::Digest, Side::Public),
        Class::Key(KeyKind::Digest, Side::Private),
        Class::Clock,
        Class::UserPin,
        Class::Freeze,
        Class::Officers,
        Class::Proposal,
        Class::Draft,
        Class::Pending,
        Class::Profile,
        Class::Data,
        Class::PublicKey,
    ];

    /// The attributes of such an object.
    pub(in crate::pkcs11) fn attributes(self) -> impl Iterator<Item = CK_ATTRIBUTE_TYPE> {
        self.tables().iter().flat_map(|table| table.iter().copied())
    }

    /// Whether such an object has this attribute.
    pub(in crate::pkcs11) fn has(self, kind: CK_ATTRIBUTE_TYPE) -> bool {
        self.attributes().any(|had| had == kind)
    }

    /// The reason why an attribute cannot be given here (section 4.1, cases 1, 3 and 5): only the token sets
    /// it, it belongs to other objects, or it does not exist.
    pub(in crate::pkcs11) fn refusal(self, kind: CK_ATTRIBUTE_TYPE) -> Rv {
        if self.has(kind) {
            Rv(CKR_ATTRIBUTE_READ_ONLY)
        } else if SPECIFIED.contains(&kind) || Class::ALL.iter().any(|class| class.has(kind)) {
            Rv(CKR_TEMPLATE_INCONSISTENT)
        } else {
            Rv(CKR_ATTRIBUTE_TYPE_INVALID)
        }
    }

    fn tables(self) -> &'static [Table] {
        match self {
            Class::OtpKey => &[OBJECT, STORAGE, KEY, SECRET_KEY, OTP_KEY, USER],
            Class::Key(KeyKind::Wallet, Side::Public) => {
                &[OBJECT, STORAGE, KEY, PUBLIC_KEY, EC_PUBLIC_KEY, APPROVED, WALLET]
            }
            Class::Key(KeyKind::Wallet, Side::Private) => {
                &[OBJECT, STORAGE, KEY, PRIVATE_KEY, EC_PRIVATE_KEY, APPROVED, WALLET]
            }
            Class::Key(KeyKind::Digest, Side::Public) => {
                &[OBJECT, STORAGE, KEY, PUBLIC_KEY, EC_PUBLIC_KEY, APPROVED]
            }
            Class::Key(KeyKind::Digest, Side::Private) => {
                &[OBJECT, STORAGE, KEY, PRIVATE_KEY, EC_PRIVATE_KEY, APPROVED]
            }
            Class::Clock => &[OBJECT, CLOCK],
            Class::UserPin => &[OBJECT, USER_PIN],
            Class::Freeze => &[OBJECT, FREEZE],
            Class::Officers => &[OBJECT, STORAGE, OFFICERS],
            Class::Proposal => &[OBJECT, STORAGE, DRAFT, PROPOSAL],
            Class::Draft => &[OBJECT, STORAGE, DRAFT],
            Class::Pending => &[OBJECT, STORAGE, PENDING],
            Class::Profile => &[OBJECT, STORAGE, PROFILE],
            Class::Data => &[OBJECT, STORAGE, DATA],
            Class::PublicKey => &[OBJECT, STORAGE, KEY, PUBLIC_KEY, EC_PUBLIC_KEY],
        }
    }
}

/// Section 4.2.
const OBJECT: Table = &[CKA_CLASS];
/// Section 4.4.
const STORAGE: Table =
    &[CKA_TOKEN, CKA_PRIVATE, CKA_MODIFIABLE, CKA_LABEL, CKA_COPYABLE, CKA_DESTROYABLE, CKA_UNIQUE_ID];
/// Section 4.3, "Clock", and our own.
const CLOCK: Table = &[CKA_HW_FEATURE_TYPE, CKA_VALUE, CKA_COUNTERSIGN_CLOCK_REFUSAL];
/// `include/countersign.h`, "The backends' PIN".
const USER_PIN: Table = &[
    CKA_HW_FEATURE_TYPE,
    CKA_COUNTERSIGN_LOCKED,
    CKA_COUNTERSIGN_FAILURES,
    CKA_COUNTERSIGN_PIN_LOST,
    CKA_COUNTERSIGN_PIN_TRIES,
];
/// `include/countersign.h`, "Freezes".
const FREEZE: Table = &[CKA_HW_FEATURE_TYPE, CKA_COUNTERSIGN_FROZEN];
/// `include/countersign.h`, "Officers' acts".
const OFFICERS: Table = &[CKA_COUNTERSIGN_COUNCIL];
/// The same: what a draft has, too.
const DRAFT: Table = &[CKA_ID, CKA_VALUE, CKA_COUNTERSIGN_ACT_CLASS, CKA_COUNTERSIGN_PROPOSAL_KIND];
/// The rest of them.
const PROPOSAL: Table = &[
    CKA_COUNTERSIGN_ACT_STATE,
    CKA_COUNTERSIGN_ACT_DELAY,
    CKA_COUNTERSIGN_ACT_SIGNED,
    CKA_COUNTERSIGN_ACT_NEEDED,
    CKA_COUNTERSIGN_ACT_SIGNATURES,
    CKA_COUNTERSIGN_ACT_VETOERS,
    CKA_COUNTERSIGN_ACT_EXPIRES,
    CKA_COUNTERSIGN_ACT_ENDED,
    CKA_COUNTERSIGN_ACT_SIGNATURE,
    CKA_COUNTERSIGN_ACT_VETO,
    CKA_COUNTERSIGN_ACT_VETO_CODE,
    CKA_COUNTERSIGN_ACT_CARRY_OUT,
    CKA_COUNTERSIGN_ACT_DO,
];
/// `include/countersign.h`, "Proposed transactions".
const PENDING: Table = &[
    CKA_ID,
    CKA_VALUE,
    CKA_COUNTERSIGN_USERS,
    CKA_COUNTERSIGN_PROPOSAL_KIND,
    CKA_COUNTERSIGN_PROPOSAL_WALLET,
    CKA_COUNTERSIGN_STATEMENT,
    CKA_COUNTERSIGN_CONSENT_DIGEST,
    CKA_COUNTERSIGN_CONSENT_STATE,
    CKA_COUNTERSIGN_CONSENT_NEEDED,
    CKA_COUNTERSIGN_CONSENT_GIVEN,
    CKA_COUNTERSIGN_CONSENT_EXPIRES,
    CKA_COUNTERSIGN_CONSENT_ENDED,
    CKA_COUNTERSIGN_CONSENT_APPROVE,
    CKA_COUNTERSIGN_CONSENT_REFUSE,
    CKA_COUNTERSIGN_DEVICE_APPROVAL,
    CKA_COUNTERSIGN_DEVICE_REFUSAL,
    CKA_COUNTERSIGN_APPROVE_SIGNED,
    CKA_COUNTERSIGN_REFUSE_SIGNED,
];
/// Section 4.5.
const DATA: Table = &[CKA_APPLICATION, CKA_OBJECT_ID, CKA_VALUE];
/// Section 4.8.
const KEY: Table = &[
    CKA_KEY_TYPE,
    CKA_ID,
    CKA_START_DATE,
    CKA_END_DATE,
    CKA_DERIVE,
    CKA_LOCAL,
    CKA_KEY_GEN_MECHANISM,
    CKA_ALLOWED_MECHANISMS,
    CKA_OBJECT_VALIDATION_FLAGS,
];
/// Section 4.9. `CKA_PUBLIC_CRC64_VALUE` is computed over a `CKA_VALUE`, which keys of elliptic curves do not
/// have.
const PUBLIC_KEY: Table = &[
    CKA_SUBJECT,
    CKA_ENCRYPT,
    CKA_VERIFY,
    CKA_VERIFY_RECOVER,
    CKA_WRAP,
    CKA_ENCAPSULATE,
    CKA_TRUSTED,
    CKA_WRAP_TEMPLATE,
    CKA_ENCAPSULATE_TEMPLATE,
    CKA_PUBLIC_KEY_INFO,
];
/// Section 4.10.
const PRIVATE_KEY: Table = &[
    CKA_SUBJECT,
    CKA_SENSITIVE,
    CKA_DECRYPT,
    CKA_SIGN,
    CKA_SIGN_RECOVER,
    CKA_UNWRAP,
    CKA_DECAPSULATE,
    CKA_EXTRACTABLE,
    CKA_ALWAYS_SENSITIVE,
    CKA_NEVER_EXTRACTABLE,
    CKA_WRAP_WITH_TRUSTED,
    CKA_UNWRAP_TEMPLATE,
    CKA_DECAPSULATE_TEMPLATE,
    CKA_DERIVE_TEMPLATE,
    CKA_ALWAYS_AUTHENTICATE,
    CKA_PUBLIC_KEY_INFO,
];
/// Section 4.11.
const SECRET_KEY: Table = &[
    CKA_SENSITIVE,
    CKA_ENCRYPT,
    CKA_DECRYPT,
    CKA_SIGN,
    CKA_VERIFY,
    CKA_WRAP,
    CKA_UNWRAP,
    CKA_EXTRACTABLE,
    CKA_ALWAYS_SENSITIVE,
    CKA_NEVER_EXTRACTABLE,
    CKA_CHECK_VALUE,
    CKA_WRAP_WITH_TRUSTED,
    CKA_TRUSTED,
    CKA_WRAP_TEMPLATE,
    CKA_UNWRAP_TEMPLATE,
    CKA_DERIVE_TEMPLATE,
];
/// Section 4.14.
const PROFILE: Table = &[CKA_PROFILE_ID];
/// Section 6.3, public keys.
const EC_PUBLIC_KEY: Table = &[CKA_EC_PARAMS, CKA_EC_POINT];
/// Section 6.3, private keys.
const EC_PRIVATE_KEY: Table = &[CKA_EC_PARAMS, CKA_VALUE];
/// "OTP mechanisms and parameters".
const OTP_KEY: Table = &[
    CKA_OTP_FORMAT,
    CKA_OTP_LENGTH,
    CKA_OTP_TIME_INTERVAL,
    CKA_OTP_USER_FRIENDLY_MODE,
    CKA_OTP_CHALLENGE_REQUIREMENT,
    CKA_OTP_TIME_REQUIREMENT,
    CKA_OTP_COUNTER_REQUIREMENT,
    CKA_OTP_PIN_REQUIREMENT,
    CKA_OTP_COUNTER,
    CKA_OTP_TIME,
    CKA_OTP_USER_IDENTIFIER,
    CKA_OTP_SERVICE_IDENTIFIER,
    CKA_OTP_SERVICE_LOGO,
    CKA_OTP_SERVICE_LOGO_TYPE,
    CKA_VALUE,
    CKA_VALUE_LEN,
];
/// `include/countersign.h`, "Attributes of a user".
const USER: Table = &[
    CKA_COUNTERSIGN_OTPAUTH_URI,
    CKA_COUNTERSIGN_CONFIRMED,
    CKA_COUNTERSIGN_OTP_HASH,
    CKA_COUNTERSIGN_LOCKED,
    CKA_COUNTERSIGN_FAILURES,
    CKA_COUNTERSIGN_STOPPED,
    CKA_COUNTERSIGN_DEVICES,
    CKA_COUNTERSIGN_DEVICE_ADD,
    CKA_COUNTERSIGN_DEVICE_REMOVE,
    CKA_COUNTERSIGN_FROZEN,
    CKA_COUNTERSIGN_FACTOR,
];
/// `include/countersign.h`, "Attributes of a wallet": those that a key that signs digests also has.
const APPROVED: Table = &[CKA_COUNTERSIGN_USERS, CKA_COUNTERSIGN_POLICY, CKA_COUNTERSIGN_FROZEN];
/// The rest of them.
const WALLET: Table = &[
    CKA_COUNTERSIGN_NETWORK,
    CKA_COUNTERSIGN_DESCRIPTOR,
    CKA_COUNTERSIGN_XPUB,
    CKA_COUNTERSIGN_FINGERPRINT,
    CKA_COUNTERSIGN_PATH,
    CKA_COUNTERSIGN_WALLET_POLICY,
    CKA_COUNTERSIGN_WALLET_ID,
    CKA_COUNTERSIGN_REACH,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_attribute_is_in_a_class_twice() {
        for class in Class::ALL {
            let mut attributes: Vec<_> = class.attributes().collect();
            let count = attributes.len();
            attributes.sort_unstable();
            attributes.dedup();
            assert_eq!(attributes.len(), count, "{class:?}");
        }
    }

    #[test]
    fn a_refused_attribute_is_read_only_or_another_class_s_or_unknown() {
        for (class, kind, wanted) in [
            (Class::OtpKey, CKA_UNIQUE_ID, CKR_ATTRIBUTE_READ_ONLY),
            (Class::OtpKey, CKA_COUNTERSIGN_FAILURES, CKR_ATTRIBUTE_READ_ONLY),
            (Class::OtpKey, CKA_COUNTERSIGN_POLICY, CKR_TEMPLATE_INCONSISTENT),
            (Class::OtpKey, CKA_MODULUS, CKR_TEMPLATE_INCONSISTENT),
            (Class::Clock, CKA_LABEL, CKR_TEMPLATE_INCONSISTENT),
            (Class::Data, CKA_COUNTERSIGN_CLOCK_REFUSAL, CKR_TEMPLATE_INCONSISTENT),
            (Class::Data, 0xC353_0121, CKR_ATTRIBUTE_TYPE_INVALID),
            (Class::Data, 0x7fff_ffff, CKR_ATTRIBUTE_TYPE_INVALID),
        ] {
            assert_eq!(class.refusal(kind), Rv(wanted), "{class:?} {kind:#x}");
        }
    }
}
