//! `countersign audit show`: links for a person to read, with the documents that they put in force.

use std::collections::VecDeque;

use clap::Args;
use countersign::kernel::audit::Link;
use countersign::kernel::utc::to_iso;
use countersign::shell::inspection;
use serde_json::{Value, json};

use super::{document, line};
use crate::error::CommandError;
use crate::inside::{Inside, explain};
use crate::output::{Report, details};

/// How many links are shown by default.
const NEWEST: usize = 20;
/// The most links that are shown at once, because they are held in memory. "audit export" writes any number.
const MOST: usize = 1_000;

/// Show links of the audit chain, with everything that each put in force, and verify the chain on the way.
///
/// Without options it shows the newest 20. Run it inside the boundary, with the module's configuration. It needs no PIN and works while
/// the module is in use.
#[derive(Args)]
#[command(after_help = line::FIELDS)]
pub(crate) struct Show {
    /// The first link to show
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// The last link to show
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,
}

impl Show {
    pub(crate) fn run(&self) -> Result<Report, CommandError> {
        let inside = Inside::open()?;
        let most = if self.from.is_some() { MOST } else { NEWEST };
        let (mut links, mut left_out) = (VecDeque::new(), 0_u64);
        inspection::audit(&inside.store, &inside.backing, |link| {
            let is_named = self.from.is_none_or(|from| link.sequence >= from)
                && self.to.is_none_or(|to| link.sequence <= to);
            if is_named && self.from.is_some() && links.len() == most {
                left_out += 1;
            } else if is_named {
                links.push_back(link.clone());
                // Without a start, the newest ones count.
                if links.len() > most {
                    links.pop_front();
                }
            }
            Ok(())
        })
        .map_err(explain)?;
        let text: Vec<String> = links.iter().map(text).collect();
        let json: Vec<Value> = links.iter().map(line::to_json).collect();
        let report = Report::new(text.join("\n"), json!({ "links": json, "left_out": left_out }));
        Ok(match left_out {
            0 => report,
            more => report.note(format!(
                "{more} more links are not shown: use --to, or write them all with \"countersign audit export\""
            )),
        })
    }
}

fn text(link: &Link) -> String {
    let mut facts = line::to_json(link);
    let mut lines = Vec::new();
    if let Some(facts) = facts.as_object_mut() {
        for told in ["sequence", "time", "time_utc", "event", "document", "document_digest"] {
            facts.remove(told);
        }
        lines.extend(facts.iter().map(|(name, value)| (name.as_str(), plain(value))));
    }
    let event = line::name(&link.event);
    let mut text = format!("link {}, {}: {event}\n", link.sequence, to_iso(link.time));
    let documented = link.event.act().and_then(|act| act.document.as_ref());
    let blocks = [Some(details(&lines)), documented.map(document::to_text)];
    for (indent, block) in
        ["  ", "    "].iter().zip(blocks).filter_map(|(indent, block)| Some((indent, block?)))
    {
        block.lines().for_each(|line| text.push_str(&format!("{indent}{line}\n")));
    }
    text
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
