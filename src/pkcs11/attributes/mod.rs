//! The attributes of users, wallets and the clock (PKCS#11 v2.40 section 4; OTP keys: Current Mechanisms v2.40 section
//! 2.26).

use bitcoin::secp256k1::PublicKey;
use cryptoki_sys::*;

use super::rv::{Answer, Rv};
use super::vendor::*;
use crate::engine::UserView;
use crate::kernel::clock::ClockError;
use crate::kernel::otp::OtpHash;
use crate::kernel::seal::RecordKey;
use crate::kernel::state::Reach;
use crate::kernel::utc;
use crate::kernel::wallet::{Chain, Wallet, WatchOnly};

/// The object identifier of secp256k1 in DER (SEC 2: 1.3.132.0.10).
pub(super) const SECP256K1: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];

/// Why an attribute has no value to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hidden {
    /// It never leaves.
    Sensitive,
    /// The object has no such attribute.
    Unknown,
}

type Value = Result<Vec<u8>, Hidden>;

/// An attribute of a user's OTP key.
pub(super) fn of_user(user: &UserView, kind: CK_ATTRIBUTE_TYPE) -> Value {
    Ok(match kind {
        CKA_CLASS => ulong(CKO_OTP_KEY),
        CKA_KEY_TYPE => ulong(CKK_HOTP),
        CKA_TOKEN | CKA_PRIVATE | CKA_MODIFIABLE | CKA_DESTROYABLE => bool(true),
        CKA_COPYABLE => bool(false),
        CKA_LABEL | CKA_OTP_USER_IDENTIFIER => user.name.as_bytes().to_vec(),
        CKA_ID => RecordKey::user(&user.name).id.to_vec(),
        CKA_START_DATE | CKA_END_DATE => vec![],
        CKA_DERIVE => bool(false),
        CKA_LOCAL => bool(true),
        CKA_KEY_GEN_MECHANISM => ulong(CKM_COUNTERSIGN_TOTP_KEY_GEN),
        CKA_ALLOWED_MECHANISMS => ulong(CKM_COUNTERSIGN_TOTP),
        CKA_SENSITIVE | CKA_ALWAYS_SENSITIVE | CKA_NEVER_EXTRACTABLE | CKA_VERIFY => bool(true),
        CKA_EXTRACTABLE
        | CKA_ENCRYPT
        | CKA_DECRYPT
        | CKA_SIGN
        | CKA_WRAP
        | CKA_UNWRAP
        | CKA_WRAP_WITH_TRUSTED
        | CKA_TRUSTED => bool(false),
        CKA_VALUE | CKA_CHECK_VALUE | CKA_OTP_COUNTER => return Err(Hidden::Sensitive),
        CKA_OTP_FORMAT => ulong(CK_OTP_FORMAT_DECIMAL),
        CKA_OTP_LENGTH => ulong(user.digits.into()),
        CKA_OTP_TIME_INTERVAL => ulong(user.period),
        CKA_OTP_USER_FRIENDLY_MODE => bool(false),
        CKA_OTP_CHALLENGE_REQUIREMENT
        | CKA_OTP_TIME_REQUIREMENT
        | CKA_OTP_COUNTER_REQUIREMENT
        | CKA_OTP_PIN_REQUIREMENT => ulong(CK_OTP_PARAM_IGNORED),
        CKA_OTP_SERVICE_IDENTIFIER => user.service.as_bytes().to_vec(),
        CKA_OTP_SERVICE_LOGO | CKA_OTP_SERVICE_LOGO_TYPE | CKA_OTP_TIME => vec![],
        CKA_COUNTERSIGN_CONFIRMED => bool(user.confirmed),
        CKA_COUNTERSIGN_LOCKED => bool(user.locked),
        CKA_COUNTERSIGN_FAILURES => ulong(user.failures as CK_ULONG),
        CKA_COUNTERSIGN_OTP_HASH => ulong(match user.hash {
            OtpHash::Sha1 => CKM_SHA_1,
            OtpHash::Sha256 => CKM_SHA256,
            OtpHash::Sha512 => CKM_SHA512,
        }),
        // Shown once, by the session that made the key: see `object`.
        CKA_COUNTERSIGN_OTPAUTH_URI => return Err(Hidden::Sensitive),
        _ => return Err(Hidden::Unknown),
    })
}

/// An attribute of the clock (section 4.3.2), which says Unix time `now`. A hardware feature is no storage object: it has no
/// label and is no token object (section 4.3.1).
pub(super) fn of_clock(now: u64, refusal: Option<ClockError>, kind: CK_ATTRIBUTE_TYPE) -> Value {
    Ok(match kind {
        CKA_CLASS => ulong(CKO_HW_FEATURE),
        CKA_HW_FEATURE_TYPE => ulong(CKH_CLOCK),
        CKA_VALUE => utc::to_digits(now).into_bytes(),
        CKA_COUNTERSIGN_CLOCK_REFUSAL => refusal.map(|error| error.to_string()).unwrap_or_default().into(),
        _ => return Err(Hidden::Unknown),
    })
}

/// An attribute of a wallet's private side.
pub(super) fn of_private(wallet: &Wallet, kind: CK_ATTRIBUTE_TYPE) -> Value {
    Ok(match kind {
        CKA_CLASS => ulong(CKO_PRIVATE_KEY),
        CKA_PRIVATE
        | CKA_SENSITIVE
        | CKA_ALWAYS_SENSITIVE
        | CKA_NEVER_EXTRACTABLE
        | CKA_SIGN
        | CKA_ALWAYS_AUTHENTICATE => bool(true),
        CKA_EXTRACTABLE | CKA_DECRYPT | CKA_SIGN_RECOVER | CKA_UNWRAP | CKA_WRAP_WITH_TRUSTED => bool(false),
        CKA_ALLOWED_MECHANISMS => ulong(CKM_COUNTERSIGN_PSBT),
        CKA_VALUE => return Err(Hidden::Sensitive),
        _ => return of_wallet(wallet, kind),
    })
}

/// An attribute of a wallet's public side.
pub(super) fn of_public(wallet: &Wallet, kind: CK_ATTRIBUTE_TYPE) -> Value {
    Ok(match kind {
        CKA_CLASS => ulong(CKO_PUBLIC_KEY),
        CKA_PRIVATE | CKA_ENCRYPT | CKA_VERIFY | CKA_VERIFY_RECOVER | CKA_WRAP | CKA_TRUSTED => bool(false),
        CKA_ALLOWED_MECHANISMS => vec![],
        CKA_EC_POINT => ec_point(&wallet.account().public_key),
        _ => return of_wallet(wallet, kind),
    })
}

/// An attribute that both sides of a wallet have.
fn of_wallet(wallet: &Wallet, kind: CK_ATTRIBUTE_TYPE) -> Value {
    Ok(match kind {
        CKA_KEY_TYPE => ulong(CKK_EC),
        CKA_TOKEN | CKA_MODIFIABLE | CKA_LOCAL => bool(true),
        CKA_COPYABLE | CKA_DESTROYABLE | CKA_DERIVE => bool(false),
        CKA_LABEL => wallet.label().as_bytes().to_vec(),
        CKA_ID => wallet.cka_id().to_vec(),
        CKA_START_DATE | CKA_END_DATE | CKA_SUBJECT => vec![],
        CKA_KEY_GEN_MECHANISM => ulong(CKM_COUNTERSIGN_WALLET_KEY_GEN),
        CKA_EC_PARAMS => SECP256K1.to_vec(),
        CKA_PUBLIC_KEY_INFO => public_key_info(&wallet.account().public_key),
        CKA_COUNTERSIGN_NETWORK => wallet.network().name().into(),
        CKA_COUNTERSIGN_USERS => wallet.users().join("\n").into_bytes(),
        CKA_COUNTERSIGN_POLICY => wallet.policy_document().into(),
        CKA_COUNTERSIGN_DESCRIPTOR => of_script(wallet, |script| script.descriptor().into()),
        CKA_COUNTERSIGN_WALLET_POLICY => of_script(wallet, |script| script.policy().into()),
        CKA_COUNTERSIGN_WALLET_ID => of_script(wallet, |script| script.id().to_vec()),
        CKA_COUNTERSIGN_XPUB => wallet.account().to_string().into_bytes(),
        CKA_COUNTERSIGN_FINGERPRINT => wallet.master_fingerprint().as_bytes().to_vec(),
        CKA_COUNTERSIGN_PATH => wallet.account_path().into_bytes(),
        _ => return Err(Hidden::Unknown),
    })
}

/// What follows from the registered script; empty until there is one.
fn of_script(wallet: &Wallet, value: impl FnOnce(&WatchOnly) -> Vec<u8>) -> Vec<u8> {
    wallet.keys().map(|keys| value(keys.watch())).unwrap_or_default()
}

/// How far the addresses of a wallet were used.
pub(super) fn reach(reach: Reach) -> Vec<u8> {
    [Chain::External, Chain::Internal].into_iter().flat_map(|chain| ulong(reach.next(chain).into())).collect()
}

/// Whether any of our objects has the attribute.
pub(super) fn is_known(kind: CK_ATTRIBUTE_TYPE) -> bool {
    matches!(
        kind,
        CKA_CLASS
            | CKA_KEY_TYPE
            | CKA_TOKEN
            | CKA_PRIVATE
            | CKA_MODIFIABLE
            | CKA_COPYABLE
            | CKA_DESTROYABLE
            | CKA_LABEL
            | CKA_ID
            | CKA_START_DATE
            | CKA_END_DATE
            | CKA_DERIVE
            | CKA_LOCAL
            | CKA_KEY_GEN_MECHANISM
            | CKA_ALLOWED_MECHANISMS
            | CKA_SUBJECT
            | CKA_SENSITIVE
            | CKA_ALWAYS_SENSITIVE
            | CKA_EXTRACTABLE
            | CKA_NEVER_EXTRACTABLE
            | CKA_ENCRYPT
            | CKA_DECRYPT
            | CKA_SIGN
            | CKA_SIGN_RECOVER
            | CKA_VERIFY
            | CKA_VERIFY_RECOVER
            | CKA_WRAP
            | CKA_UNWRAP
            | CKA_WRAP_WITH_TRUSTED
            | CKA_TRUSTED
            | CKA_ALWAYS_AUTHENTICATE
            | CKA_VALUE
            | CKA_CHECK_VALUE
            | CKA_EC_PARAMS
            | CKA_EC_POINT
            | CKA_PUBLIC_KEY_INFO
            | CKA_OTP_FORMAT
            | CKA_OTP_LENGTH
            | CKA_OTP_TIME_INTERVAL
            | CKA_OTP_USER_FRIENDLY_MODE
            | CKA_OTP_CHALLENGE_REQUIREMENT
            | CKA_OTP_TIME_REQUIREMENT
            | CKA_OTP_COUNTER_REQUIREMENT
            | CKA_OTP_PIN_REQUIREMENT
            | CKA_OTP_USER_IDENTIFIER
            | CKA_OTP_SERVICE_IDENTIFIER
            | CKA_OTP_SERVICE_LOGO
            | CKA_OTP_SERVICE_LOGO_TYPE
            | CKA_OTP_COUNTER
            | CKA_OTP_TIME
            | CKA_COUNTERSIGN_OTPAUTH_URI
            | CKA_COUNTERSIGN_CONFIRMED
            | CKA_COUNTERSIGN_OTP_HASH
            | CKA_COUNTERSIGN_LOCKED
            | CKA_COUNTERSIGN_FAILURES
            | CKA_COUNTERSIGN_NETWORK
            | CKA_COUNTERSIGN_USERS
            | CKA_COUNTERSIGN_POLICY
            | CKA_COUNTERSIGN_DESCRIPTOR
            | CKA_COUNTERSIGN_XPUB
            | CKA_COUNTERSIGN_FINGERPRINT
            | CKA_COUNTERSIGN_PATH
            | CKA_COUNTERSIGN_WALLET_POLICY
            | CKA_COUNTERSIGN_WALLET_ID
            | CKA_COUNTERSIGN_REACH
            | CKA_HW_FEATURE_TYPE
            | CKA_COUNTERSIGN_CLOCK_REFUSAL
    )
}

/// A `CK_BBOOL`.
pub(super) fn bool_value(value: &[u8]) -> Answer<bool> {
    match value {
        [CK_FALSE] => Ok(false),
        [CK_TRUE] => Ok(true),
        _ => Err(Rv(CKR_ATTRIBUTE_VALUE_INVALID)),
    }
}

/// A `CK_ULONG`.
pub(super) fn ulong_value(value: &[u8]) -> Answer<CK_ULONG> {
    value.try_into().map(CK_ULONG::from_ne_bytes).map_err(|_| Rv(CKR_ATTRIBUTE_VALUE_INVALID))
}

fn ulong(value: CK_ULONG) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

fn bool(value: bool) -> Vec<u8> {
    vec![if value { CK_TRUE } else { CK_FALSE }]
}

/// The point in an OCTET STRING (v2.40 Current Mechanisms section 2.3.3).
fn ec_point(key: &PublicKey) -> Vec<u8> {
    let point = key.serialize_uncompressed();
    [&[0x04, point.len() as u8][..], &point].concat()
}

/// SubjectPublicKeyInfo (RFC 5280 section 4.1, RFC 5480 section 2).
fn public_key_info(key: &PublicKey) -> Vec<u8> {
    const EC_PUBLIC_KEY: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    let algorithm = der(0x30, &[EC_PUBLIC_KEY, SECP256K1].concat());
    let key = der(0x03, &[&[0][..], &key.serialize_uncompressed()].concat());
    der(0x30, &[algorithm, key].concat())
}

/// A DER value of fewer than 128 bytes.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, content.len() as u8][..], content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_info_is_short_form_der() {
        let key = PublicKey::from_slice(&[[2; 1].as_slice(), &[0x11; 32]].concat());
        let key = key.unwrap_or_else(|_| {
            // The generator, where 0x11… is no x-coordinate.
            "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".parse().expect("a point")
        });
        let info = public_key_info(&key);
        assert_eq!(info.len(), 88);
        assert_eq!((info[0], usize::from(info[1])), (0x30, info.len() - 2));
        assert_eq!(ec_point(&key).len(), 67);
    }
}
