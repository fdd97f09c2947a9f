//! The promises of Countersign, and honestly which of them hold in this installation.

use std::borrow::Cow;

use super::backing::TokenKind;
use super::checks::Facts;
use super::consent;

/// One promise in the running configuration.
pub(super) struct Promise {
    pub(super) promise: &'static str,
    /// None if this process cannot know.
    pub(super) held: Option<bool>,
    pub(super) why: Cow<'static, str>,
}

/// All promises, the engine's first.
pub(super) fn all(facts: &Facts) -> Vec<Promise> {
    let mut promises: Vec<Promise> = OF_THE_ENGINE
        .iter()
        .map(|&(promise, why)| match facts.module_works {
            true => Promise { promise, held: Some(true), why: why.into() },
            false => Promise { promise, held: None, why: NOTHING_SIGNS.into() },
        })
        .collect();
    if facts.officers == Some(true) {
        promises.push(Promise {
            promise: "Officers and users are told of an act that waits.",
            held: Some(false),
            why: "nobody is told: look with \"countersign act list\", which needs no PIN, more often than the delay is long, or alert on the metric countersign_proposals".into(),
        });
    }
    promises.extend([caller(facts), administrator(facts), backing_token(facts), credential(facts)]);
    promises.extend(consent::promises(facts.asks.as_deref()));
    promises.extend([
        restored(facts),
        clock(facts),
        Promise {
            promise: "Nobody can set the clock while the machine is off.",
            held: Some(false),
            why: "after a boot only the newest record can contradict this machine's clock. The audit records each boot (clock-taken)".into(),
        },
    ]);
    promises
}

/// The promises that the module keeps wherever it runs.
const OF_THE_ENGINE: [(&str, &str); 8] = [
    (
        "Nobody learns anything about a code before its outcome is durable.",
        "right and wrong codes are written alike, and answered once that is anchored, so killing the process teaches nothing",
    ),
    ("A code signs once.", "the module records the matched time step durably before a signature exists"),
    (
        "Guessing locks the user.",
        "back-off from the third failure in a row; locked at 10 in a row, or at 20 in 30 days",
    ),
    (
        "Guessing at all users together stops all.",
        "after limits.failures_per_hour wrong codes no code is checked; opening the module counts them again from the audit",
    ),
    (
        "Used codes, tries and limits survive a crash at any moment.",
        "the module writes, syncs and anchors them before an answer leaves",
    ),
    (
        "An older copy of the store alone is refused.",
        "the backing token anchors the newest record; over an older store the module stays closed",
    ),
    (
        "A changed or exchanged record is refused.",
        "each is sealed under its store, kind, name and version; the sealing key never leaves the backing token",
    ),
    (
        "What the policy forbids is not signed, whoever asks.",
        "the policy is judged on what provably leaves the wallet, and sealed with it; only the SO can change it",
    ),
];

fn caller(facts: &Facts) -> Promise {
    let promise = "Whoever controls the process that calls the module cannot sign without a code.";
    let (held, why) = match facts {
        Facts { connected: true, apart: false, .. } => (
            None,
            "holds if the boundary is another user's process: name that user in connect.user, and the client checks it",
        ),
        Facts { connected: true, .. } => (
            Some(true),
            "the engine is in the boundary. This process has no key, no secret and no state, and cannot reach them",
        ),
        Facts { serves: true, .. } => (
            None,
            "holds if \"countersign serve\" runs as its own user, whose files and memory no backend can read; not for a process that loads the module with this configuration",
        ),
        _ => (
            Some(false),
            "the engine runs in the caller's own process: whoever controls this process controls the engine",
        ),
    };
    Promise { promise, held, why: why.into() }
}

fn administrator(facts: &Facts) -> Promise {
    let promise = "One administrator alone cannot have a transaction signed.";
    if facts.officers == Some(true) {
        let why = "officers must sign what adds users, lifts a limit, thaws or changes the officers; the engine holds each act against that. Not against somebody who controls the machine of the engine, and not against an administrator who copies the QR code while a user enrols";
        return Promise { promise, held: Some(true), why: why.into() };
    }
    let why = if facts.connected || facts.serves {
        "whoever has the SO PIN can enrol a user of their own, put that user into a wallet and lift its policy; whoever also has the user PIN and may use the backends' door then signs. An administrator gets that PIN only by declaring the old one lost, which logs every backend out. The audit records each step"
    } else {
        "whoever has the SO PIN can enrol a user of their own, put that user into a wallet and lift its policy. There is no door here to keep them from being the backend as well, once they have declared the user PIN lost. The audit records each step"
    };
    Promise { promise, held: Some(false), why: why.into() }
}

fn backing_token(facts: &Facts) -> Promise {
    let promise = "Whoever can read the disk cannot restore or clone the backing token.";
    match facts.backing {
        Some(TokenKind::SoftHsm) => Promise {
            promise,
            held: Some(false),
            why: "SoftHSM2's token is a directory. Whoever can copy it can restore and clone it, and older state with it".into(),
        },
        Some(TokenKind::Software) => Promise {
            promise,
            held: Some(false),
            why: "the backing token is software (its slot has no CKF_HW_SLOT). Whoever can copy its files can restore and clone it".into(),
        },
        Some(TokenKind::Hardware) => Promise {
            promise,
            held: None,
            why: "only the maker of the backing token can promise this. Also ask where it keeps data objects (CKO_DATA): some hardware keeps them in files of this machine".into(),
        },
        None => Promise { promise, held: None, why: unknown(facts).into() },
    }
}

fn restored(facts: &Facts) -> Promise {
    let promise = "Used codes, tries and limits survive a store that is put back.";
    match facts.backing {
        Some(TokenKind::Software) => Promise {
            promise,
            held: Some(false),
            why: "not against somebody who can copy the store and the files of the backing token: put back together they fit. The store alone is refused".into(),
        },
        Some(TokenKind::SoftHsm) => Promise {
            promise,
            held: Some(false),
            why: "not against somebody who can copy the store and SoftHSM2's folder: put back together they fit. The store alone is refused".into(),
        },
        // The anchor is as safe as the token, about which nothing more is known here.
        Some(TokenKind::Hardware) => Promise {
            promise,
            held: None,
            why: "holds if the backing token cannot be copied, which only its maker can promise. A store put back is refused, or accepted by the SO with every limit spent".into(),
        },
        None => Promise { promise, held: None, why: unknown(facts).into() },
    }
}

fn clock(facts: &Facts) -> Promise {
    let promise = "The clock cannot be set while the machine runs, whether the module is open or closed.";
    match facts.module_works {
        true => Promise {
            promise,
            held: Some(true),
            why: "the module compares it with the clock that counts since boot, and refuses a jump until the clock is right or the SO accepts it. Not against somebody who can give the process two false clocks".into(),
        },
        false => Promise { promise, held: None, why: NOTHING_SIGNS.into() },
    }
}

fn credential(facts: &Facts) -> Promise {
    let promise = "The credential of the backing token is known only inside a boundary.";
    match facts.pin_in_environment {
        Some(true) => Promise {
            promise,
            held: Some(false),
            why: "it is in the environment, where every process of the same user, and root, can read it"
                .into(),
        },
        Some(false) => Promise {
            promise,
            held: if facts.serves { None } else { Some(false) },
            why: "it is in a file, which every process of the same user, and root, can read".into(),
        },
        None => Promise { promise, held: None, why: unknown(facts).into() },
    }
}

fn unknown(facts: &Facts) -> &'static str {
    if facts.connected { ELSEWHERE } else { NO_CONFIGURATION }
}

const ELSEWHERE: &str =
    "that is up to the boundary: run \"countersign doctor\" there, with its configuration";
const NO_CONFIGURATION: &str = "the configuration could not be read";
const NOTHING_SIGNS: &str = "the module did not initialise: nothing signs here";

#[cfg(test)]
mod tests {
    use super::*;

    fn held(facts: &Facts, words: &str) -> Option<bool> {
        let promises = all(facts);
        promises.iter().find(|promise| promise.promise.contains(words)).expect("promised").held
    }

    #[test]
    fn softhsm_is_no_vault_and_says_so() {
        let mut facts = Facts {
            module_works: true,
            backing: Some(TokenKind::SoftHsm),
            pin_in_environment: Some(false),
            ..Facts::default()
        };
        assert_eq!(held(&facts, "clone the backing token"), Some(false));
        assert_eq!(held(&facts, "store that is put back"), Some(false));
        assert_eq!(held(&facts, "crash at any moment"), Some(true));
        facts.backing = Some(TokenKind::Software);
        assert_eq!(held(&facts, "clone the backing token"), Some(false));
        assert_eq!(held(&facts, "store that is put back"), Some(false));
        facts.backing = Some(TokenKind::Hardware);
        assert_eq!(held(&facts, "clone the backing token"), None);
        assert_eq!(held(&facts, "store that is put back"), None, "as good as a token that is not known");
    }

    #[test]
    fn the_clock_is_promised_for_one_run_of_the_machine() {
        let facts = Facts { module_works: true, ..Facts::default() };
        assert_eq!(held(&facts, "while the machine runs"), Some(true));
        assert_eq!(held(&facts, "while the machine is off"), Some(false));
        assert_eq!(held(&Facts::default(), "while the machine runs"), None);
    }

    #[test]
    fn in_process_there_is_no_boundary() {
        let mut facts = Facts {
            module_works: true,
            backing: Some(TokenKind::Hardware),
            pin_in_environment: Some(false),
            ..Facts::default()
        };
        assert_eq!(held(&facts, "controls the process"), Some(false));
        assert_eq!(held(&facts, "known only inside"), Some(false));
        assert_eq!(held(&facts, "signs once"), Some(true));
        facts.serves = true;
        assert_eq!(held(&facts, "controls the process"), None, "as whom it runs is not seen in it");
        assert_eq!(held(&facts, "known only inside"), None);
    }

    #[test]
    fn a_client_has_a_boundary_and_knows_nothing_of_its_backing_token() {
        let mut facts = Facts { module_works: true, connected: true, ..Facts::default() };
        assert_eq!(held(&facts, "controls the process"), None, "it may be this very user's");
        facts.apart = true;
        assert_eq!(held(&facts, "controls the process"), Some(true));
        assert_eq!(held(&facts, "clone the backing token"), None);
        assert_eq!(held(&facts, "known only inside"), None);
        assert_eq!(held(&facts, "signs once"), Some(true));
    }

    #[test]
    fn only_officers_stop_a_single_administrator_and_else_the_reason_names_the_present_doors() {
        let words = "One administrator alone";
        let why = |facts: &Facts| {
            let promises = all(facts);
            promises.iter().find(|promise| promise.promise.contains(words)).expect("promised").why.clone()
        };
        let client = Facts { module_works: true, connected: true, apart: true, ..Facts::default() };
        let boundary = Facts { module_works: true, serves: true, ..Facts::default() };
        for facts in [&client, &boundary, &Facts::default()] {
            assert_eq!(held(facts, words), Some(false));
        }
        assert!(why(&client).contains("backends' door") && why(&boundary).contains("backends' door"));
        assert!(why(&Facts::default()).contains("no door"));
        let none = Facts { module_works: true, serves: true, officers: Some(false), ..Facts::default() };
        assert_eq!((held(&none, words), why(&none)), (Some(false), why(&boundary)));
        let with = Facts { officers: Some(true), ..none };
        assert!(held(&with, words) == Some(true) && why(&with).contains("QR code"));
        assert_eq!(held(&with, "are told of an act"), Some(false));
    }

    #[test]
    fn a_module_that_does_not_work_promises_nothing() {
        assert_eq!(held(&Facts::default(), "signs once"), None);
    }
}
