//! The allowed names, labels, lists of users and policies.

use super::{Present, Refused};
use crate::approval::{MAX_RECORDS, MAX_USER_LEN, is_user_name, is_visible};
use crate::network::Network;
use crate::policy::Policy;

/// The most users of one wallet or key: as many as one approval can name.
pub const MAX_SIGNERS: usize = MAX_RECORDS;
/// The greatest length of a wallet's label, a user's issuer and a `CKA_ID`, in bytes.
pub const MAX_LABEL_LEN: usize = 128;
/// The greatest length of a policy document in bytes.
pub const MAX_POLICY_LEN: usize = 32 * 1_024;
/// The greatest length of a token label in bytes (`CK_TOKEN_INFO.label`).
pub const MAX_TOKEN_LABEL_LEN: usize = 32;

pub(crate) fn check_token_label(label: &str) -> Result<(), Refused> {
    if label.len() > MAX_TOKEN_LABEL_LEN {
        return Err(Refused::Name(format!("a token label has at most {MAX_TOKEN_LABEL_LEN} bytes")));
    }
    Ok(())
}

pub(crate) fn check_user_name(name: &str) -> Result<(), Refused> {
    if is_user_name(name) {
        return Ok(());
    }
    Err(Refused::Name(format!(
        "a user name has 1 to {MAX_USER_LEN} bytes of UTF-8, no colon, no control character, no blank at its ends"
    )))
}

pub(super) fn check_issuer(issuer: &str) -> Result<(), Refused> {
    check_text("an issuer", issuer)?;
    if issuer.contains(':') {
        return Err(Refused::Name("an issuer cannot have a colon".into()));
    }
    Ok(())
}

/// Checks the label of a wallet or key, without checking whether it is in use.
pub(crate) fn check_label(label: &str) -> Result<(), Refused> {
    check_text("a label", label)
}

/// A label names one wallet or one digest key, so that an approver knows what signs.
pub(super) fn check_is_free<P: Present>(label: &str, present: &P) -> Result<(), Refused> {
    if present.has_label(label) {
        return Err(Refused::Name(format!("there is already a wallet or key {label:?}")));
    }
    Ok(())
}

fn check_text(what: &str, text: &str) -> Result<(), Refused> {
    if (1..=MAX_LABEL_LEN).contains(&text.len()) && is_visible(text) {
        return Ok(());
    }
    Err(Refused::Name(format!("{what} has 1 to {MAX_LABEL_LEN} bytes and no control character")))
}

pub(super) fn check_cka_id(id: &[u8]) -> Result<(), Refused> {
    if id.len() > MAX_LABEL_LEN {
        return Err(Refused::Parameter(format!("CKA_ID has at most {MAX_LABEL_LEN} bytes")));
    }
    Ok(())
}

/// Checks that there are not too many users, and none twice.
pub(super) fn check_users(users: &[String]) -> Result<(), Refused> {
    if users.is_empty() || users.len() > MAX_SIGNERS {
        return Err(Refused::Parameter(format!("there are 1 to {MAX_SIGNERS} users")));
    }
    for (index, user) in users.iter().enumerate() {
        if users[..index].contains(user) {
            return Err(Refused::Parameter(format!("user {user:?} is named twice")));
        }
    }
    Ok(())
}

/// Checks that all of them are enrolled.
pub(super) fn check_are_enrolled<P: Present>(users: &[String], present: &P) -> Result<(), P::Error> {
    for user in users {
        if present.user(user)?.is_none() {
            return Err(Refused::NoSuchUser(user.clone()).into());
        }
    }
    Ok(())
}

pub(super) fn check_policy(document: &str, network: Network) -> Result<(), Refused> {
    check_policy_len(document)?;
    Policy::parse(document, network)?;
    Ok(())
}

pub(super) fn check_policy_len(document: &str) -> Result<(), Refused> {
    if document.len() > MAX_POLICY_LEN {
        return Err(Refused::Parameter(format!("a policy has at most {MAX_POLICY_LEN} bytes")));
    }
    Ok(())
}
