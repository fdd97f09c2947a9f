//! Errors for the person at the terminal: what happened, and what to do next.

use std::path::PathBuf;

use countersign::kernel::rule::Rule;
use cryptoki::error::{Error, RvError};
use cryptoki::session::Session;
use serde_json::{Value, json};

use crate::meaning::{Act, frozen, meaning};
use crate::next_step::next_step;

/// A verb that failed.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct CommandError {
    /// What happened, and to which object.
    pub(crate) what: String,
    /// The name of the module's answer, for example `CKR_PIN_INCORRECT`. None if the module was not asked.
    pub(crate) rv: Option<String>,
    /// The rule that refused a transaction, if the module reports one.
    pub(crate) rule: Option<Rule>,
    /// What to do next.
    pub(crate) next: String,
    /// The file of the act that officers have to sign instead.
    pub(crate) act_file: Option<PathBuf>,
    /// The exit status.
    pub(crate) status: u8,
}

/// Refused or failed.
pub(crate) const FAILED: u8 = 1;
/// A failure that a new process may not have (`EX_TEMPFAIL` of sysexits.h): the service manager starts
/// `serve` again.
pub(crate) const START_ANEW: u8 = 75;
/// The backing token refuses its PIN (`EX_NOPERM` of sysexits.h). The service manager must not start `serve`
/// again, because each start is a login, and the token locks its PIN after a few.
pub(crate) const PIN_REFUSED: u8 = 77;

impl CommandError {
    /// A failure of the command line itself.
    pub(crate) fn new(what: impl Into<String>, next: impl Into<String>) -> Self {
        let (what, next) = (what.into(), next.into());
        CommandError { what, rv: None, rule: None, next, act_file: None, status: FAILED }
    }

    /// The object that `--json` prints.
    pub(crate) fn to_json(&self) -> Value {
        let rule = self
            .rule
            .map(|rule| json!({ "number": rule.number(), "tag": rule.tag(), "sentence": rule.sentence() }));
        let act_file = self.act_file.as_ref().map(|file| file.display().to_string());
        json!({ "error": { "what": self.what, "rv": self.rv, "rule": rule, "next": self.next, "act_file": act_file } })
    }

    /// Adds the rule that refused, from the session in which it refused, and what to do about it. `show` is
    /// the command that shows the wallet or key.
    pub(crate) fn with_rule_of(mut self, session: &Session, show: &str) -> Self {
        const WITH_A_RULE: [&str; 4] = [
            "CKR_COUNTERSIGN_POLICY",
            "CKR_COUNTERSIGN_PSBT_REFUSED",
            "CKR_DATA_INVALID",
            "CKR_DATA_LEN_RANGE",
        ];
        if WITH_A_RULE.iter().any(|name| self.is(name)) {
            // A boundary of an older release reports none, and a newer one may report a rule that is unknown
            // here.
            self.rule = session.get_session_info().ok().and_then(|info| Rule::of_number(info.device_error()));
            if let Some(rule) = self.rule {
                self.next = next_step(rule, show);
                if rule == Rule::Frozen {
                    (self.what, self.next) = frozen();
                }
            }
        }
        self
    }

    /// Whether the module answered `name`.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.rv.as_deref() == Some(name)
    }
}

/// Adds to a failed PKCS#11 call what the command was doing, so that its answer can be explained.
pub(crate) trait During<T> {
    /// Explains the failure as one during `act`.
    fn during(self, act: Act<'_>) -> Result<T, CommandError>;
}

impl<T> During<T> for Result<T, Error> {
    fn during(self, act: Act<'_>) -> Result<T, CommandError> {
        self.map_err(|error| match error {
            Error::Pkcs11(rv, function) => {
                let line = crate::module::newest_line();
                let (what, next) = meaning(act, &rv, &format!("C_{function:?}"), line.as_deref());
                CommandError { rv: Some(rv_name(&rv)), ..CommandError::new(what, next) }
            }
            Error::LibraryLoading(reason) => CommandError::new(
                format!("cannot load the module: {reason}"),
                "name libcountersign.so with --module or COUNTERSIGN_MODULE",
            ),
            other => CommandError::new(
                format!("the module gave an answer that this program cannot use: {other}"),
                "check that --module names the libcountersign.so of this version",
            ),
        })
    }
}

/// The name of an answer as the specification or `countersign.h` writes it.
pub(crate) fn rv_name(rv: &RvError) -> String {
    use countersign::pkcs11::vendor as v;
    match rv {
        RvError::VendorDefined(v::CKR_COUNTERSIGN_POLICY) => "CKR_COUNTERSIGN_POLICY".into(),
        RvError::VendorDefined(v::CKR_COUNTERSIGN_PSBT_REFUSED) => "CKR_COUNTERSIGN_PSBT_REFUSED".into(),
        RvError::VendorDefined(v::CKR_COUNTERSIGN_STATE) => "CKR_COUNTERSIGN_STATE".into(),
        RvError::VendorDefined(v::CKR_COUNTERSIGN_CLOCK) => "CKR_COUNTERSIGN_CLOCK".into(),
        RvError::VendorDefined(v::CKR_COUNTERSIGN_ACT) => "CKR_COUNTERSIGN_ACT".into(),
        RvError::VendorDefined(v::CKR_COUNTERSIGN_PENDING) => "CKR_COUNTERSIGN_PENDING".into(),
        RvError::VendorDefined(v::CKR_COUNTERSIGN_ACT_REFUSED) => "CKR_COUNTERSIGN_ACT_REFUSED".into(),
        named => countersign::shell::backing::rv_name(named),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign::pkcs11::vendor as v;
    use cryptoki::context::Function;

    #[test]
    fn names_are_the_specifications() {
        assert_eq!(rv_name(&RvError::PinIncorrect), "CKR_PIN_INCORRECT");
        assert_eq!(rv_name(&RvError::CantLock), "CKR_CANT_LOCK");
        assert_eq!(rv_name(&RvError::SessionReadWriteSoExists), "CKR_SESSION_READ_WRITE_SO_EXISTS");
        assert_eq!(rv_name(&RvError::VendorDefined(v::CKR_COUNTERSIGN_STATE)), "CKR_COUNTERSIGN_STATE");
        assert_eq!(rv_name(&RvError::VendorDefined(0x8000_0001)), "0x80000001");
    }

    #[test]
    fn an_answer_keeps_its_name_and_gets_a_next_step() {
        let answer: Result<(), Error> = Err(Error::Pkcs11(RvError::PinIncorrect, Function::Login));
        let error = answer.during(Act::LoginUser).expect_err("it failed");
        assert!(error.is("CKR_PIN_INCORRECT"));
        assert!(!error.next.is_empty());
        assert_eq!(error.to_json()["error"]["rv"], "CKR_PIN_INCORRECT");
    }

    #[test]
    fn an_error_of_the_command_line_has_no_answer() {
        assert!(CommandError::new("a", "b").to_json()["error"]["rv"].is_null());
    }
}
