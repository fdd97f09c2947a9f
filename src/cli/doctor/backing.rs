//! The backing token: which one it is, what it says about itself, and whether it can do its work.

use countersign::shell::backing::{Backing, Identity, Token};
use countersign::shell::config::BackingConfig;

use super::checks::{Check, good, wrong};

const SUBJECT: &str = "backing token";
const TRIAL: &str = "backing trial";
const SET_UP: &str = "correct [backing] in the configuration, or the token's own set-up";
/// The requirements in the specification's words.
const NEEDED: &str = "use a token that makes AES keys of 256 bits (CKM_AES_KEY_GEN), encrypts and decrypts by CKM_AES_GCM, and keeps \
                      private data objects (CKO_DATA); its user must be allowed to make and to destroy them";

/// The kind of a token, from its manufacturer, its model and the flag of its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// SoftHSM2's, which is a folder.
    SoftHsm,
    /// Not hardware according to itself (no `CKF_HW_SLOT`), so files somewhere.
    Software,
    /// Hardware according to itself.
    Hardware,
}

impl TokenKind {
    fn of(identity: &Identity) -> TokenKind {
        match identity {
            identity if identity.is_softhsm() => TokenKind::SoftHsm,
            Identity { is_hardware: false, .. } => TokenKind::Software,
            _ => TokenKind::Hardware,
        }
    }
}

/// Finds the token, without a login. A module that others can change is not loaded.
pub(super) fn find(config: &BackingConfig, is_safe: bool) -> (Check, Option<TokenKind>) {
    if !is_safe {
        let finding = "not looked for: its module cannot be loaded like this".into();
        return (wrong(SUBJECT, finding, "correct [backing], then try again"), None);
    }
    match Token::find(config) {
        Ok(token) => {
            let identity = token.identity();
            let kind = TokenKind::of(identity);
            let what = match kind {
                TokenKind::Hardware => "hardware, according to its slot",
                TokenKind::SoftHsm | TokenKind::Software => "software",
            };
            let Identity { manufacturer, model, .. } = identity;
            (good(SUBJECT, format!("{}: {manufacturer} {model}, {what}", identity.in_full())), Some(kind))
        }
        Err(error) => (wrong(SUBJECT, error.to_string(), SET_UP), None),
    }
}

/// Opens the token and tries it. If this process is logged in already, this is no further login.
pub(super) fn open_and_try(config: &BackingConfig) -> Check {
    match Backing::open(config) {
        Ok(backing) => try_out(&backing),
        Err(error) => wrong(TRIAL, error.to_string(), SET_UP),
    }
}

/// Tries the token's work on objects of its own, which are gone afterwards.
pub(super) fn try_out(backing: &Backing) -> Check {
    let done = "wrapped and unwrapped a key (CKM_AES_GCM), and replaced a data object (CKO_DATA)";
    match backing.try_out() {
        Ok(()) => good(TRIAL, done.into()),
        Err(error) => wrong(TRIAL, error.to_string(), NEEDED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_it_says_of_itself_and_not_what_its_module_is_called() {
        let token = |manufacturer: &str, is_hardware| Identity {
            slot: 0,
            label: "t".into(),
            serial: "1".into(),
            manufacturer: manufacturer.into(),
            model: "m".into(),
            is_hardware,
        };
        assert_eq!(TokenKind::of(&token("SoftHSM project", false)), TokenKind::SoftHsm);
        assert_eq!(TokenKind::of(&token("SoftHSM project", true)), TokenKind::SoftHsm);
        assert_eq!(TokenKind::of(&token("Somebody", false)), TokenKind::Software);
        assert_eq!(TokenKind::of(&token("Somebody", true)), TokenKind::Hardware);
    }
}
