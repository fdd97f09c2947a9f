//! The attributes of users (PKCS#11 v3.2 section 4.11, and "OTP mechanisms and parameters").

use cryptoki_sys::*;

use super::super::vendor::*;
use super::{Hidden, Value, bool, ulong};
use crate::engine::{DeviceView, UserView};
use crate::kernel::otp::{OtpHash, SECRET_LEN};
use crate::kernel::seal::RecordKey;

/// An attribute of a user's OTP key.
pub(in crate::pkcs11) fn of_user(user: &UserView, kind: CK_ATTRIBUTE_TYPE) -> Value {
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
        CKA_VALUE => return Err(Hidden::Sensitive),
        CKA_VALUE_LEN => ulong(SECRET_LEN as CK_ULONG),
        // Empty, because there is no check value to compare, because TOTP's counter is the time, and because that of HOTP says which
        // codes were right.
        CKA_CHECK_VALUE | CKA_OTP_COUNTER => vec![],
        CKA_WRAP_TEMPLATE | CKA_UNWRAP_TEMPLATE | CKA_DERIVE_TEMPLATE => vec![],
        CKA_OBJECT_VALIDATION_FLAGS => ulong(0),
        CKA_UNIQUE_ID => data_encoding::HEXLOWER.encode(&user.key_id).into_bytes(),
        CKA_OTP_FORMAT => ulong(CK_OTP_FORMAT_DECIMAL),
        CKA_OTP_LENGTH => ulong(user.form.digits.into()),
        CKA_OTP_TIME_INTERVAL => user.form.period.map(ulong).unwrap_or_default(),
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
        CKA_COUNTERSIGN_STOPPED => bool(user.stopped),
        CKA_COUNTERSIGN_FROZEN => bool(user.frozen),
        CKA_COUNTERSIGN_DEVICES => user.devices.iter().map(line).collect::<String>().into_bytes(),
        CKA_COUNTERSIGN_DEVICE_ADD | CKA_COUNTERSIGN_DEVICE_REMOVE => return Err(Hidden::Sensitive),
        CKA_COUNTERSIGN_FACTOR => ulong(user.form.kind as CK_ULONG),
        CKA_COUNTERSIGN_OTP_HASH => ulong(match user.form.hash {
            OtpHash::Sha1 => CKM_SHA_1,
            OtpHash::Sha256 => CKM_SHA256,
            OtpHash::Sha512 => CKM_SHA512,
        }),
        // Shown once, in the session that made the key: see `object`.
        CKA_COUNTERSIGN_OTPAUTH_URI => return Err(Hidden::Sensitive),
        _ => return Err(Hidden::Unknown),
    })
}
fn line(DeviceView { name, network, address }: &DeviceView) -> String {
    format!("{} {address} {name}\n", network.name())
}
