//! `countersign audit in-force`: what was in force at some time, according to the audit alone.

use clap::Args;
use countersign::kernel::audit::Link;
use countersign::kernel::audit::in_force::{self, Standing};
use countersign::kernel::seal::Kind;
use countersign::kernel::utc::to_iso;
use countersign::shell::inspection;
use serde_json::{Value, json};

use super::document;
use crate::clock::set::iso;
use crate::error::CommandError;
use crate::inside::{Inside, explain};
use crate::output::Report;

/// Show what was in force at a time, whole: token, users, wallets with their policies, keys.
///
/// The command reads only the audit chain, and verifies it as "audit verify" does. Each document names the link that put it in force.
/// Run it inside the boundary, with the module's configuration. It needs no PIN and works while the module is in use. An older version
/// kept no documents: of what it made, and nothing changed since, the audit has only the name.
#[derive(Args)]
pub(crate) struct InForce {
    /// After this link, or at this time in UTC, as in 2026-11-21T12:00:00Z [default: now]
    #[arg(long, value_name = "LINK|TIME", value_parser = moment)]
    at: Option<Moment>,
}

/// A place in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Link(u64),
    Time(u64),
}

fn moment(text: &str) -> Result<Moment, String> {
    let link = text.parse().map(Moment::Link).ok();
    link.or_else(|| iso(text).map(Moment::Time).ok())
        .ok_or_else(|| "give the number of a link, or a time in UTC, as in 2026-11-21T12:00:00Z".into())
}

impl Moment {
    fn is_before(self, link: &Link) -> bool {
        match self {
            Moment::Link(sequence) => link.sequence > sequence,
            Moment::Time(time) => link.time > time,
        }
    }
}

impl InForce {
    pub(crate) fn run(&self) -> Result<Report, CommandError> {
        let inside = Inside::open()?;
        let (mut in_force, mut last, mut is_past) = (in_force::InForce::default(), None, false);
        inspection::audit(&inside.store, &inside.backing, |link| {
            is_past |= self.at.is_some_and(|at| at.is_before(link));
            if !is_past {
                // If this fails, the chain does not hold, and "audit verify" reports it.
                let _ = in_force.follow(link);
                last = Some((link.sequence, link.time));
            }
            Ok(())
        })
        .map_err(explain)?;
        let Some((link, time)) = last else {
            return Err(CommandError::new(
                "--at names a time before the first link: there was no token",
                "\"countersign audit show\" lists the links",
            ));
        };
        Ok(Report::new(text(&in_force, link, time), to_json(&in_force, link, time)))
    }
}

fn text(in_force: &in_force::InForce, link: u64, time: u64) -> String {
    let mut text = format!("After link {link}, {}:\n", to_iso(time));
    for (_, Standing { link, time, deed, document, reach }) in in_force.standing() {
        let kind = document::kind(document);
        text.push_str(&format!("\n{kind}, since link {link}, {} ({})\n", to_iso(*time), deed.tag()));
        for line in document::to_text(document).lines() {
            text.push_str(&format!("  {line}\n"));
        }
        if let Some([external, internal]) = reach {
            text.push_str(&format!(
                "  reach:       raised to {external} (external), {internal} (internal)\n"
            ));
        }
    }
    for (kind, name, told) in in_force.undocumented() {
        let named =
            if name.is_empty() { String::new() } else { format!(" {}", crate::names::printable(name)) };
        text.push_str(&format!(
            "\n{}{named}, of link {}, {}\n  An older version wrote this link without a document: look at the records themselves.\n",
            kind_name(kind),
            told.link,
            to_iso(told.time),
        ));
    }
    text
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::User => "user",
        Kind::Wallet => "wallet",
        Kind::DigestKey => "key",
        _ => "token",
    }
}

fn to_json(in_force: &in_force::InForce, link: u64, time: u64) -> Value {
    let standing = |(_, standing): (_, &Standing)| {
        let Standing { link, time, deed, document, reach } = standing;
        json!({
            "sequence": link,
            "time": time,
            "time_utc": to_iso(*time),
            "event": deed.tag(),
            "document": document::to_json(document),
            "document_digest": document.digest().to_string(),
            "reach_raised_to": reach,
        })
    };
    let undocumented = |(kind, name, told): (Kind, &str, &in_force::Undocumented)| json!({ "kind": kind_name(kind), "name": name, "sequence": told.link, "time": told.time, "time_utc": to_iso(told.time) });
    json!({ "in_force": {
        "sequence": link,
        "time": time,
        "time_utc": to_iso(time),
        "documents": in_force.standing().map(standing).collect::<Vec<_>>(),
        "without_document": in_force.undocumented().map(undocumented).collect::<Vec<_>>(),
    } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_given_as_a_link_or_a_time() {
        assert_eq!(moment("57"), Ok(Moment::Link(57)));
        assert_eq!(moment("2025-01-01T00:00:00Z"), Ok(Moment::Time(1_735_689_600)));
        for wrong in ["", "-1", "2025-01-01", "yesterday"] {
            assert!(
                moment(wrong).is_err_and(|error| error.contains("link") && error.contains("time")),
                "{wrong}"
            );
        }
    }
}
