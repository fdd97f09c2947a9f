//! What the module's answers to a draft mean.

use cryptoki::error::RvError;

use super::{Words, words};

pub(super) fn of_a_draft(rv: &RvError, what: &str) -> Words {
    let (kind, name) = what
        .strip_prefix("freeze ")
        .map(|what| what.split_once(' ').unwrap_or((what, "")))
        .unwrap_or_default();
    let is_one = ["wallet", "key", "user"].contains(&kind);
    match rv {
        RvError::FunctionFailed if !kind.is_empty() => words(
            if is_one {
                format!("{kind} {name:?} is frozen already; no act was written")
            } else {
                "everything is frozen already; no act was written".into()
            },
            "there is nothing to do: it stays frozen until somebody thaws it, which the officers decide",
        ),
        RvError::AttributeValueInvalid if is_one && name.is_empty() => words(
            format!("no such {kind}: its name is missing behind {what:?}"),
            format!("say \"freeze {kind} NAME\"; \"countersign {kind} list\" lists the names"),
        ),
        RvError::AttributeValueInvalid if is_one => words(
            format!("no such {kind}: {name:?}"),
            format!("\"countersign {kind} list\" lists what there is"),
        ),
        RvError::AttributeValueInvalid => words(
            format!("there is nothing that {what:?} could be done to"),
            "say \"freeze all\", \"freeze wallet LABEL\", \"freeze key LABEL\", \"freeze user NAME\" or \"so-pin-lost\" with --secret-file",
        ),
        _ => None,
    }
}
