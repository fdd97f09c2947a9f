//! Finds the token: loads the module, and finds the one slot that the configuration means (PKCS#11 v3.2
//! sections 5.4, 5.5).
//!
//! It skips a slot that misbehaves, with a line in the log. If the configuration could mean several tokens,
//! it takes none.

use std::path::Path;

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;

use super::answer::said;
use super::{reserved, softhsm};
use crate::ports::BackingError;
use crate::shell::config::{BackingConfig, PinSource};
use crate::shell::image::sealed;

/// The token: its initialised module, and its slot.
pub struct Token {
    pkcs11: Pkcs11,
    slot: Slot,
    identity: Identity,
    pin: PinSource,
}

/// A token's description of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Number of its slot.
    pub slot: u64,
    /// Its label.
    pub label: String,
    /// Its serial number.
    pub serial: String,
    /// Its manufacturer.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// Whether its slot is a hardware slot (`CKF_HW_SLOT`).
    pub is_hardware: bool,
}

/// The reason why a login failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogInError {
    /// The PIN cannot be read, or the token refuses it. Trying again could lock it.
    #[error(transparent)]
    Refused(BackingError),
    /// The token did not answer as it should.
    #[error(transparent)]
    Failed(BackingError),
}

impl From<LogInError> for BackingError {
    fn from(error: LogInError) -> BackingError {
        let (LogInError::Refused(error) | LogInError::Failed(error)) = error;
        error
    }
}

impl Token {
    /// Loads the module and finds the token. Nobody is logged in, and no session is open.
    pub fn find(config: &BackingConfig) -> Result<Token, BackingError> {
        let pkcs11 = load(config)?;
        let identity = choose(config, &Listed::of(&pkcs11, &config.module)?)?;
        let slot = Slot::try_from(identity.slot).map_err(|error| BackingError(error.to_string()))?;
        Ok(Token { pkcs11, slot, identity, pin: config.pin.clone() })
    }

    /// Its description of itself.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Opens a session. A login holds for all sessions of the process (PKCS#11 v3.2 section 5.6).
    pub fn open_session(&self) -> Result<Session, BackingError> {
        let failed =
            |error: Error| BackingError(format!("{} opens no session: {}", self.identity, said(&error)));
        self.pkcs11.open_rw_session(self.slot).map_err(failed)
    }

    /// Logs in with the PIN from the configured source. SoftHSM2 writes a file at each login, so this is done
    /// no more often than necessary.
    pub fn log_in(&self, session: &Session) -> Result<(), LogInError> {
        let refused = |words: String| LogInError::Refused(BackingError(words));
        let pin = self.pin.read().map_err(|error| {
            let words = error.to_string();
            if error.may_pass() { LogInError::Failed(BackingError(words)) } else { refused(words) }
        })?;
        match session.login(UserType::User, Some(&AuthPin::new(pin.as_str().into()))) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinLenRange, _)) => Err(refused(format!(
                "{} refuses its PIN: correct backing.pin_file or backing.pin_env",
                self.identity
            ))),
            Err(Error::Pkcs11(RvError::PinLocked, _)) => Err(refused(format!(
                "{} has locked its PIN: have its own security officer set a new one, and correct backing.pin_file or \
                 backing.pin_env first",
                self.identity
            ))),
            Err(Error::Pkcs11(RvError::UserPinNotInitialized, _)) => Err(refused(format!(
                "{} has no user PIN. If it had one, it is damaged: a kill during a login can do that to a token that is a \
                 folder. Restore its folder from its backup then, and do not make a new token in its place",
                self.identity
            ))),
            Err(error) => Err(LogInError::Failed(BackingError(format!(
                "{} refuses the login: {}",
                self.identity,
                said(&error)
            )))),
        }
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "token {:?}", self.label)
    }
}

impl Identity {
    /// Whether it is SoftHSM2's, which is just a folder.
    pub fn is_softhsm(&self) -> bool {
        self.manufacturer == "SoftHSM project"
    }

    /// Its label, serial number and slot, which together identify it.
    pub fn in_full(&self) -> String {
        format!("{:?} (serial {:?}, slot {})", self.label, self.serial, self.slot)
    }
}

/// Loads and initialises the module, unless another part of the process has initialised it.
fn load(config: &BackingConfig) -> Result<Pkcs11, BackingError> {
    let module = config.module.display();
    if !config.module.is_file() {
        return Err(BackingError(format!(
            "{module} does not exist: install the backing module (Debian: apt-get install softhsm2), or correct backing.module"
        )));
    }
    check_not_ourselves(&config.module)?;
    let from = match config.sha256 {
        // Exactly these bytes, whoever replaces the file meanwhile.
        Some(digest) => sealed(&config.module, digest).map_err(|error| {
            BackingError(format!(
                "{module} is not loaded: {error}; put the right module back, or correct backing.sha256 (backing-owner)"
            ))
        })?,
        None => config.module.clone(),
    };
    let pkcs11 = Pkcs11::new(from).map_err(|error| {
        BackingError(format!("cannot load {module} as a PKCS#11 module: {}", said(&error)))
    })?;
    match reserved::initialise(&pkcs11, config.init_args.as_deref()) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(BackingError(why_not_initialised(config, &error))),
    }
    let info = pkcs11
        .get_library_info()
        .map_err(|error| BackingError(format!("{module} does not say what it is: {}", said(&error))))?;
    if ["Countersign", "PKCS#11 Kit"].contains(&info.manufacturer_id()) {
        return Err(BackingError(format!(
            "{module} is Countersign itself or a proxy: name the module of the token behind it"
        )));
    }
    Ok(pkcs11)
}

fn why_not_initialised(config: &BackingConfig, error: &Error) -> String {
    let what = format!("{} does not initialise: {}", config.module.display(), said(error));
    let why = match (error, &config.init_args) {
        (Error::Pkcs11(RvError::GeneralError | RvError::FunctionFailed, _), _) => {
            softhsm::why_it_does_not_start(&config.module)
        }
        (Error::Pkcs11(RvError::ArgumentsBad, _), None) => Some(
            "it may need a configuration string, as NSS does: set backing.init_args to what its documentation names"
                .into(),
        ),
        (Error::Pkcs11(RvError::ArgumentsBad, _), Some(_)) => {
            Some("correct backing.init_args, or leave it out if the module takes none".into())
        }
        // A copy of this library finds that we hold the lock of its store.
        (Error::Pkcs11(RvError::CantLock, _), _) => Some(
            "If it is a copy of Countersign itself, name the module of the token behind it".into(),
        ),
        _ => None,
    };
    why.map_or(what.clone(), |why| format!("{what}. {why}"))
}

/// The tokens in the slots.
#[derive(Default)]
struct Listed {
    /// The initialised tokens.
    tokens: Vec<Identity>,
    /// The slots without usable information, each with the reason.
    skipped: Vec<String>,
}

impl Listed {
    /// Looks at each slot separately.
    fn of(pkcs11: &Pkcs11, module: &Path) -> Result<Listed, BackingError> {
        let slots = pkcs11.get_slots_with_token().map_err(|error| {
            BackingError(format!("{} lists no slots: {}", module.display(), said(&error)))
        })?;
        let mut listed = Listed::default();
        for slot in slots {
            let (token, info) = match (pkcs11.get_token_info(slot), pkcs11.get_slot_info(slot)) {
                (Ok(token), Ok(info)) => (token, info),
                (Err(error), _) | (_, Err(error)) => {
                    let (id, module, said) = (slot.id(), module.display(), said(&error));
                    tracing::warn!(
                        "skipping slot {id} of {module}: what it reports of its token cannot be used: {said}"
                    );
                    listed.skipped.push(format!("slot {id} ({said})"));
                    continue;
                }
            };
            if token.token_initialized() {
                listed.tokens.push(Identity {
                    slot: slot.id(),
                    label: token.label().into(),
                    serial: token.serial_number().into(),
                    manufacturer: token.manufacturer_id().into(),
                    model: token.model().into(),
                    is_hardware: info.hardware_slot(),
                });
            }
        }
        Ok(listed)
    }
}

/// The one token that the configuration means.
fn choose(config: &BackingConfig, listed: &Listed) -> Result<Identity, BackingError> {
    let is_meant = |token: &&Identity| {
        config.token.as_ref().is_none_or(|label| *label == token.label)
            && config.serial.as_ref().is_none_or(|serial| *serial == token.serial)
            && config.slot.is_none_or(|slot| slot == token.slot)
    };
    let meant: Vec<&Identity> = listed.tokens.iter().filter(is_meant).collect();
    match meant[..] {
        [token] => Ok(token.clone()),
        [] => Err(BackingError(none_is_meant(config, listed))),
        _ => {
            let all: Vec<String> = meant.iter().map(|token| token.in_full()).collect();
            Err(BackingError(format!(
                "{} tokens are {}: {}. Name one of them by backing.serial",
                meant.len(),
                wanted(config),
                all.join(", ")
            )))
        }
    }
}

fn none_is_meant(config: &BackingConfig, listed: &Listed) -> String {
    let mut there = match &listed.tokens[..] {
        [] => "it has no initialised token".to_owned(),
        found => format!("there is {}", found.iter().map(Identity::in_full).collect::<Vec<_>>().join(", ")),
    };
    if !listed.skipped.is_empty() {
        there.push_str(&format!(", and what these say cannot be used: {}", listed.skipped.join(", ")));
    }
    let serials: Vec<&str> = listed.tokens.iter().map(|token| token.serial.as_str()).collect();
    let module = config.module.display();
    let mut words =
        format!("{module} has no token that is {}: {there}. Correct backing.token", wanted(config));
    for (key, is_set) in
        [("backing.serial", config.serial.is_some()), ("backing.slot", config.slot.is_some())]
    {
        if is_set {
            words.push_str(&format!(" or {key}"));
        }
    }
    if softhsm::is_softhsm(&config.module) {
        words.push_str(&format!(", or SOFTHSM2_CONF. {}", softhsm::where_it_looked(&serials)));
    }
    words
}

/// The configuration's description of the token.
fn wanted(config: &BackingConfig) -> String {
    let label = config.token.as_ref().map(|label| format!("called {label:?}"));
    let serial = config.serial.as_ref().map(|serial| format!("of serial number {serial:?}"));
    let slot = config.slot.map(|slot| format!("in slot {slot}"));
    [label, serial, slot].into_iter().flatten().collect::<Vec<_>>().join(" and ")
}

/// If the module were this library, it would call itself without end.
fn check_not_ourselves(module: &Path) -> Result<(), BackingError> {
    use std::os::unix::fs::MetadataExt;
    let Some(ourselves) = mapped_file_of(check_not_ourselves as *const () as usize) else { return Ok(()) };
    let (Ok(ours), Ok(theirs)) = (std::fs::metadata(ourselves), std::fs::metadata(module)) else {
        return Ok(());
    };
    if (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()) {
        return Err(BackingError(format!(
            "{} is Countersign itself: name the module of the token behind it",
            module.display()
        )));
    }
    Ok(())
}

/// The file from which `address` of this process is mapped (`proc_pid_maps(5)`).
fn mapped_file_of(address: usize) -> Option<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let (start, rest) = line.split_once('-')?;
        let (end, _) = rest.split_once(' ')?;
        let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
        range.contains(&address).then(|| line.find('/').map(|path| line[path..].to_owned()))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(lines: &str) -> BackingConfig {
        BackingConfig {
            module: "/m.so".into(),
            sha256: None,
            token: None,
            serial: None,
            slot: None,
            init_args: None,
            pin: PinSource::Env("P".into()),
        }
        .asking(lines)
    }

    impl BackingConfig {
        /// "t": a label; "#1": a serial number; "@2": a slot.
        fn asking(mut self, words: &str) -> BackingConfig {
            for word in words.split_whitespace() {
                match word.split_at(1) {
                    ("#", serial) => self.serial = Some(serial.into()),
                    ("@", slot) => self.slot = slot.parse().ok(),
                    _ => self.token = Some(word.into()),
                }
            }
            self
        }
    }

    fn token(slot: u64, label: &str, serial: &str) -> Identity {
        let (manufacturer, model) = (String::new(), String::new());
        Identity { slot, label: label.into(), serial: serial.into(), manufacturer, model, is_hardware: false }
    }

    fn listed(tokens: &[Identity]) -> Listed {
        Listed { tokens: tokens.to_vec(), skipped: vec![] }
    }

    #[test]
    fn the_only_token_that_fits_the_whole_configuration_is_taken() {
        let there = [token(0, "a", "1"), token(1, "b", "2"), token(2, "b", "3"), token(3, "c", "3")];
        for (asked, slot) in [("a", 0), ("b #2", 1), ("b @2", 2), ("#3 @3", 3), ("@1", 1), ("c #3 @3", 3)] {
            assert_eq!(choose(&config(asked), &listed(&there)).expect(asked).slot, slot, "{asked}");
        }
    }

    #[test]
    fn of_two_tokens_that_fit_none_is_taken_and_both_are_named() {
        let there = [token(0, "b", "2"), token(7, "b", "3")];
        let BackingError(words) = choose(&config("b"), &listed(&there)).expect_err("two fit");
        for part in
            ["2 tokens are called \"b\"", "serial \"2\", slot 0", "serial \"3\", slot 7", "backing.serial"]
        {
            assert!(words.contains(part), "{part}: {words}");
        }
    }

    #[test]
    fn a_missing_token_is_reported_with_the_present_ones_and_without_advice_to_make_one() {
        let there = Listed { skipped: vec!["slot 4 (C_x)".into()], ..listed(&[token(0, "a", "1")]) };
        let BackingError(words) = choose(&config("b #9"), &there).expect_err("none fits");
        for part in [
            "called \"b\" and of serial number \"9\"",
            "\"a\" (serial \"1\", slot 0)",
            "backing.token or backing.serial",
            "slot 4 (C_x)",
        ] {
            assert!(words.contains(part), "{part}: {words}");
        }
        assert!(!words.contains("initialise it"), "{words}");
    }
}
