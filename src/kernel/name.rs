//! Names: of users and their enrolments, of wallets and keys, and which ones are allowed.

use crate::approval::{MAX_RECORDS, MAX_USER_LEN, is_user_name, is_visible};
use crate::otp::OtpKeyId;

/// The most users of one wallet or key: as many as one approval can name.
pub const MAX_SIGNERS: usize = MAX_RECORDS;
/// The greatest length of a wallet's label, a user's issuer and a `CKA_ID`, in bytes.
pub const MAX_LABEL_LEN: usize = 128;
/// The greatest length of a policy document in bytes.
pub const MAX_POLICY_LEN: usize = 32 * 1_024;
/// The greatest length of a token label in bytes (`CK_TOKEN_INFO.label`).
pub const MAX_TOKEN_LABEL_LEN: usize = 32;

/// The id of a wallet or of a key that signs digests: random, made with it.
pub type KeyId = [u8; 16];

/// One enrolment of a user. A later user with the same name is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserId {
    /// The name.
    pub name: String,
    /// The OTP key.
    pub key: OtpKeyId,
}

/// Why a name is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAllowed(pub String);

pub(crate) fn check_token_label(label: &str) -> Result<(), NotAllowed> {
    if label.len() > MAX_TOKEN_LABEL_LEN {
        return Err(NotAllowed(format!("a token label has at most {MAX_TOKEN_LABEL_LEN} bytes")));
    }
    Ok(())
}

pub(crate) fn check_user_name(name: &str) -> Result<(), NotAllowed> {
    if is_user_name(name) {
        return Ok(());
    }
    Err(NotAllowed(format!(
        "a user name has 1 to {MAX_USER_LEN} bytes of UTF-8, no colon, no control character, no blank at its ends"
    )))
}

/// Checks the label of a wallet or key, without checking whether it is in use.
pub(crate) fn check_label(label: &str) -> Result<(), NotAllowed> {
    check_text("a label", label)
}

pub(crate) fn check_text(what: &str, text: &str) -> Result<(), NotAllowed> {
    if (1..=MAX_LABEL_LEN).contains(&text.len()) && is_visible(text) {
        return Ok(());
    }
    Err(NotAllowed(format!("{what} has 1 to {MAX_LABEL_LEN} bytes and no control character")))
}
