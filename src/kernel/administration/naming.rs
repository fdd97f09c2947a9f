//! The allowed names, labels, lists of users and policies.

use super::{Present, Refused};
use crate::name::{MAX_LABEL_LEN, MAX_POLICY_LEN, MAX_SIGNERS, check_text};
use crate::network::Network;
use crate::policy::Policy;

pub(super) fn check_issuer(issuer: &str) -> Result<(), Refused> {
    check_text("an issuer", issuer)?;
    if issuer.contains(':') {
        return Err(Refused::Name("an issuer cannot have a colon".into()));
    }
    Ok(())
}

/// A label names one wallet or one digest key, so that an approver knows what signs.
pub(super) fn check_is_free<P: Present>(label: &str, present: &P) -> Result<(), P::Error> {
    if present.has_label(label) {
        return Err(Refused::Name(format!("there is already a wallet or key {label:?}")).into());
    }
    if present.is_retired(label)? {
        let known = "people approved payments of another wallet or key by that name";
        return Err(Refused::Name(format!("nobody may use the label {label:?} again: {known}")).into());
    }
    Ok(())
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
