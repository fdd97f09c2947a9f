//! `countersign audit verify`: compares the whole chain with its anchor and the records.

use clap::Args;
use countersign::kernel::audit::in_force::InForce;
use countersign::kernel::audit::{Event, Link};
use countersign::kernel::utc::to_iso;
use countersign::shell::inspection::{self, Verified};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use crate::error::CommandError;
use crate::inside::{Inside, explain};
use crate::output::{Report, details};

/// Verify the audit chain: every link follows from the one before, the records match the newest link, and the backing token remembers a
/// link of this chain. Each act of administration must name, as in force before it, what the links up to it put in force.
///
/// Run it inside the boundary, with the module's configuration. It needs no PIN and works while the module is in use. The exit status is
/// 1 if the chain does not hold; the error then says what was found and what to do next.
#[derive(Args)]
pub(crate) struct Verify {}

impl Verify {
    pub(crate) fn run(&self) -> Result<Report, CommandError> {
        let inside = Inside::open()?;
        let (mut gaps, mut in_force, mut broken) = (Vec::new(), InForce::default(), None);
        let verified = inspection::audit(&inside.store, &inside.backing, |link| {
            gaps.extend(Gap::of(link));
            if let Err(discontinuity) = in_force.follow(link) {
                broken.get_or_insert(discontinuity);
            }
            Ok(())
        })
        .map_err(explain)?;
        if let Some(discontinuity) = broken {
            return Err(CommandError::new(
                format!("an act does not continue what was in force before it: {discontinuity}"),
                "keep store and backing token as they are. Something changed a record without an act: treat it as an \
                 intrusion, and compare users, wallets and policies with what they should be",
            ));
        }
        Ok(Report::new(text(&verified, &gaps), to_json(&verified, &gaps)))
    }
}

/// The place where a restored store was accepted. Events before it may be lost.
struct Gap {
    link: u64,
    time: u64,
    epoch: u32,
    store: u64,
    anchor: Option<u64>,
    /// The public keys of the officers who agreed.
    officers: Vec<String>,
}

impl Gap {
    fn of(link: &Link) -> Option<Gap> {
        let (epoch, store, anchor, officers) = match &link.event {
            Event::Restored { epoch, store, anchor } => (*epoch, *store, *anchor, &[][..]),
            Event::RestoredByOfficers { epoch, store, anchor, officers, council: _ } => {
                (*epoch, *store, *anchor, &officers[..])
            }
            _ => return None,
        };
        let officers = officers.iter().map(|key| HEXLOWER.encode(key)).collect();
        Some(Gap { link: link.sequence, time: link.time, epoch, store, anchor, officers })
    }

    fn text(&self) -> String {
        let lost = match self.anchor {
            Some(anchor) if anchor > self.store => {
                format!("links {} to {anchor} are lost", self.store + 1)
            }
            Some(_) => "the backing token was an older one".into(),
            None => "the backing token remembered nothing".into(),
        };
        let agreed = match self.officers.len() {
            0 => String::new(),
            1 => "; one officer agreed".into(),
            number => format!("; {number} officers agreed"),
        };
        format!(
            "link {}, {}: a store of link {} was accepted; {lost}{agreed}",
            self.link,
            to_iso(self.time),
            self.store
        )
    }

    fn to_json(&self) -> Value {
        json!({
            "sequence": self.link,
            "time": self.time,
            "time_utc": to_iso(self.time),
            "epoch": self.epoch,
            "store": self.store,
            "anchor": self.anchor,
            "officers": self.officers,
        })
    }
}

fn text(verified: &Verified, gaps: &[Gap]) -> String {
    let mut lines = vec![
        ("links", verified.links.to_string()),
        ("newest", format!("{}, {}", verified.newest, to_iso(verified.time))),
        ("head", HEXLOWER.encode(&verified.head)),
        ("anchored", verified.anchored.to_string()),
    ];
    if !gaps.is_empty() {
        lines.push(("restored", gaps.iter().map(Gap::text).collect::<Vec<_>>().join("\n")));
    }
    format!("{}\n{}\n", details(&lines), meaning(verified))
}

fn meaning(verified: &Verified) -> String {
    let mut text =
        "The chain holds: every link follows from the one before, and the records are those of the newest.\n"
            .to_owned();
    text.push_str(&match verified.newest.saturating_sub(verified.anchored) {
        0 => "The backing token remembers the newest link: nothing was cut off or put back.".to_owned(),
        newer => format!(
            "The backing token remembers link {}; {newer} newer links were being written, or a crash left them. If the\n\
             module refuses to open (CKR_COUNTERSIGN_STATE), an older backing token was put back.",
            verified.anchored
        ),
    });
    text
}

fn to_json(verified: &Verified, gaps: &[Gap]) -> Value {
    json!({ "audit": {
        "holds": true,
        "links": verified.links,
        "newest": {
            "sequence": verified.newest,
            "time": verified.time,
            "time_utc": to_iso(verified.time),
        },
        "head": HEXLOWER.encode(&verified.head),
        "anchored": verified.anchored,
        "restored": gaps.iter().map(Gap::to_json).collect::<Vec<_>>(),
    } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verified(newest: u64, anchored: u64) -> Verified {
        Verified { links: newest + 1, newest, time: 1_735_689_600, head: [0xab; 32], anchored }
    }

    #[test]
    fn records_that_are_not_anchored_yet_are_reported() {
        assert!(meaning(&verified(9, 9)).contains("remembers the newest link"));
        let behind = meaning(&verified(9, 7));
        assert!(behind.contains("link 7; 2 newer links"), "{behind}");
    }

    #[test]
    fn a_restoration_is_shown_with_what_it_lost() {
        let gap = |anchor| Gap { link: 9, time: 0, epoch: 1, store: 5, anchor, officers: vec![] };
        for (anchor, words) in
            [(Some(8), "links 6 to 8 are lost"), (Some(3), "an older one"), (None, "remembered nothing")]
        {
            let shown = text(&verified(9, 9), &[gap(anchor)]);
            assert!(shown.contains("link 9, 1970-01-01T00:00:00Z") && shown.contains(words), "{shown}");
        }
        let agreed = Gap { officers: vec!["ab".into(), "cd".into()], ..gap(None) };
        assert!(text(&verified(9, 9), &[agreed]).contains("nothing; 2 officers agreed"));
        assert!(!text(&verified(9, 9), &[]).contains("restored"));
    }
}
