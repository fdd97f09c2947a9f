//! `countersign doctor`: how this installation is set up, and which promises hold in it.

mod backing;
mod checks;
mod clock;
mod consent;
mod files;
mod freezes;
mod p11_kit;
mod promises;

use clap::Args;
use serde_json::{Value, json};

use self::checks::{Check, State};
use self::promises::Promise;
use crate::Global;
use crate::error::CommandError;
use crate::output::Report;

/// Check this installation, and show which promises hold in it.
///
/// It checks the configuration, the files and their permissions, the module and its token, and the clock. It tries the backing token on
/// objects of its own, unless another process uses the store. It needs no PIN. The exit status is 1 if something is wrong. A promise that
/// cannot hold here is shown, but is no error.
#[derive(Args)]
pub(crate) struct Doctor {}

impl Doctor {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let (checks, facts) = checks::all(global);
        let promises = promises::all(&facts);
        let wrong = checks.iter().filter(|check| check.state == State::Wrong).count();
        let text = format!(
            "{}\nPromises in this configuration\n\n{}",
            checks.iter().map(check_text).collect::<String>(),
            promises.iter().map(promise_text).collect::<String>(),
        );
        let json = json!({
            "ok": wrong == 0,
            "checks": checks.iter().map(check_json).collect::<Vec<Value>>(),
            "promises": promises.iter().map(promise_json).collect::<Vec<Value>>(),
        });
        let note = match wrong {
            0 => "Nothing is wrong.".to_owned(),
            1 => "1 thing is wrong: see \"WRONG\" above.".to_owned(),
            n => format!("{n} things are wrong: see \"WRONG\" above."),
        };
        Ok(Report::new(text, json).note(note).wrong(wrong > 0))
    }
}

fn check_text(check: &Check) -> String {
    let state = match check.state {
        State::Good => "ok",
        State::Noted => "note",
        State::Wrong => "WRONG",
    };
    let mut text = format!("{state:6} {:16} {}\n", check.subject, crate::names::printable(&check.finding));
    if let Some(next) = &check.next {
        text.push_str(&format!("{:23} next: {}\n", "", crate::names::printable(next)));
    }
    text
}

fn check_json(check: &Check) -> Value {
    let state = match check.state {
        State::Good => "ok",
        State::Noted => "note",
        State::Wrong => "wrong",
    };
    json!({ "subject": check.subject, "state": state, "finding": check.finding, "next": check.next })
}

fn promise_text(promise: &Promise) -> String {
    let held = match promise.held {
        Some(true) => "held",
        Some(false) => "NOT HELD",
        None => "unknown",
    };
    format!("{held:9} {}\n{:9} {}\n", promise.promise, "", promise.why)
}

fn promise_json(promise: &Promise) -> Value {
    json!({ "promise": promise.promise, "held": promise.held, "why": promise.why })
}
