//! `countersign state restore`: the SO accepts a store that does not fit its anchor.

use std::io::Write;

use clap::Args;
use countersign::kernel::anchor::StateError;
use countersign::kernel::clock::SaidError;
use countersign::kernel::utc::to_iso;
use countersign::ports::Clock;
use countersign::shell::clock::SystemClock;
use countersign::shell::inspection::{self, Restoration, RestoreError, Unanchored};
use serde_json::{Value, json};

use crate::clock::set::iso;
use crate::error::CommandError;
use crate::inside::{Inside, explain};
use crate::output::{Report, details};
use crate::secret::{Ask, SO_PIN, SoPin};

/// The word that confirms.
const WORD: &str = "restore";

/// Accept a store that was restored from a backup, or that no longer fits its backing token.
///
/// The module stays closed over such a store (CKR_COUNTERSIGN_STATE), because it lacks what was spent since the copy. This command shows
/// what it found, asks for the SO PIN as it was when the store was copied, and for the word "restore". Run it inside the boundary, with
/// the module's configuration, while nothing else uses the store. First look for the newest store: everything later is lost.
#[derive(Args)]
pub(crate) struct Restore {
    /// Do not ask for the word "restore"
    #[arg(long)]
    yes: bool,
    /// The time in UTC by another clock, as in 2026-11-21T12:00:00Z; needed if the machine's clock is more than a week ahead of the
    /// store
    #[arg(long, value_name = "TIME", value_parser = iso)]
    time: Option<u64>,
    #[command(flatten)]
    pin: SoPin,
}

impl Restore {
    pub(crate) fn run(&self) -> Result<Report, CommandError> {
        let (lock, inside) = Inside::open_to_act()?;
        let Some(unanchored) =
            inspection::unanchored(&inside.store, lock, &inside.backing).map_err(explain)?
        else {
            return Ok(Report::new(
                "The store fits its anchor in the backing token: there is nothing to restore.\n",
                json!({ "restored": null }),
            ));
        };
        // Before any prompt. On standard error, because standard output is for the result.
        let now = SystemClock.read().wall;
        eprint!("{}", findings(unanchored.found(), &unanchored.restoration(), now));
        let pin = SO_PIN.obtain(self.pin.so_pin_file.as_deref(), Ask::OnStdin)?;
        if !unanchored.is_officer(pin.as_bytes()) {
            return Err(refused(RestoreError::Pin));
        }
        if !self.yes {
            confirm()?;
        }
        let taken = take(unanchored, pin.as_bytes(), self.time)?;
        tracing::warn!(
            "administration: the store was restored: that of link {}, {}; restored {}",
            taken.store,
            to_iso(taken.time),
            times(taken.epoch.saturating_add(1))
        );
        Ok(Report::new(done(&taken), to_json(&taken)).note(
            "next: look at countersign user list and countersign wallet list; remove again who was removed since, tighten again what was tightened",
        ))
    }
}

fn take(unanchored: Unanchored<'_>, pin: &[u8], said: Option<u64>) -> Result<Restoration, CommandError> {
    unanchored.take(pin, said, &SystemClock).map_err(refused)
}

fn findings(found: &StateError, restoration: &Restoration, now: u64) -> String {
    let Restoration { store, time, anchor, epoch } = *restoration;
    let lines = details(&[
        ("found", found.to_string()),
        ("store", format!("newest link {store}, {}", to_iso(time))),
        ("anchor", anchor.map_or("none of this store".to_owned(), |link| format!("link {link}"))),
        ("lost", lost_text(found, restoration)),
        ("restored so far", times(epoch)),
        ("clock", format!("{}: if that is not the time, set it right first", to_iso(now))),
    ]);
    format!(
        "{lines}
Accepting this store means:
- What happened after {} is lost: signatures, charges, changes of users, PINs and policies.
- Every limit over a period counts as spent until its period has passed.
- No code is accepted for two windows of its time step: 3 minutes at 30 seconds.
- Users, PINs and policies are as they were in the copy: a user removed or a policy tightened since is back.

",
        to_iso(time)
    )
}

/// How many links came after the newest one of the store, according to the anchor.
fn lost(restoration: &Restoration) -> Option<u64> {
    restoration.anchor.map(|anchor| anchor.saturating_sub(restoration.store))
}

fn lost_text(found: &StateError, restoration: &Restoration) -> String {
    match (found, lost(restoration)) {
        (StateError::Older { .. }, Some(links)) => format!("{links} links"),
        (StateError::Ahead { .. }, _) => {
            "no link that the backing token knows of: the token is the older one".into()
        }
        (StateError::Forked(_), _) => "unknown: the histories part at some link before".into(),
        _ => "unknown: the backing token does not show it".into(),
    }
}

fn times(number: u32) -> String {
    match number {
        0 => "never".into(),
        1 => "once".into(),
        number => format!("{number} times"),
    }
}

fn confirm() -> Result<(), CommandError> {
    eprint!("Type \"{WORD}\" to accept this store: ");
    // If the prompt cannot be shown, the same text must still be typed.
    let _ = std::io::stderr().flush();
    let mut typed = String::new();
    let read = std::io::stdin().read_line(&mut typed);
    if read.is_ok() && typed.trim_end_matches(['\r', '\n']) == WORD {
        return Ok(());
    }
    Err(CommandError::new(
        format!("you did not type the word \"{WORD}\"; nothing was changed"),
        "run the command again and type it, or give --yes",
    ))
}

fn refused(error: RestoreError) -> CommandError {
    let what = format!("{error}; nothing was changed");
    match error {
        RestoreError::Pin => {
            CommandError::new(what, "give the SO PIN that was set when this store was copied")
        }
        RestoreError::Clock(SaidError::NotSaid(_)) => CommandError::new(
            what,
            "look at another clock. If the machine's is right, confirm it: --time 2026-11-21T12:00:00Z. If not, set it right first: accepted as it is, it keeps the module closed until the time has caught up",
        ),
        RestoreError::Clock(_) => CommandError::new(what, "set the machine's clock right, then try again"),
        // It may have reached the store. Opening the store shows that.
        RestoreError::Ledger(error) => explain(error),
    }
}

fn done(taken: &Restoration) -> String {
    format!(
        "The module accepts the store of link {}, {}; restored {}.\nNo code is checked for two windows from now.\n",
        taken.store,
        to_iso(taken.time),
        times(taken.epoch.saturating_add(1))
    )
}

fn to_json(taken: &Restoration) -> Value {
    json!({ "restored": {
        "store": taken.store,
        "time": taken.time,
        "time_utc": to_iso(taken.time),
        "anchor": taken.anchor,
        "lost": lost(taken),
        "epoch": taken.epoch.saturating_add(1),
    } })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLDER: Restoration = Restoration { store: 12, time: 1_735_689_600, anchor: Some(15), epoch: 0 };

    #[test]
    fn restore_shows_its_findings_and_the_consequences() {
        let shown = findings(&StateError::Older { store: 12, anchor: 15 }, &OLDER, 1_735_700_000);
        for words in [
            "an old copy was put back",
            "newest link 12, 2025-01-01T00:00:00Z",
            "link 15",
            "2025-01-01T02:53:20Z: if that is not the time",
            "3 links",
            "never",
            "is lost",
            "counts as spent",
            "two windows",
            "a user removed",
        ] {
            assert!(shown.contains(words), "{words:?} is not in\n{shown}");
        }
    }

    #[test]
    fn unknown_facts_are_left_out() {
        let ahead = Restoration { anchor: Some(9), ..OLDER };
        assert!(findings(&StateError::Ahead { store: 12, anchor: 9 }, &ahead, 0).contains("no link that"));
        let forked = Restoration { anchor: Some(12), ..OLDER };
        assert!(findings(&StateError::Forked(12), &forked, 0).contains("unknown"));
        let none = Restoration { anchor: None, epoch: 2, ..OLDER };
        let shown = findings(&StateError::AnchorMissing, &none, 0);
        assert!(shown.contains("none of this store") && shown.contains("2 times"), "{shown}");
        assert_eq!(to_json(&none)["restored"]["lost"], Value::Null);
        assert_eq!(to_json(&OLDER)["restored"]["lost"], 3);
    }
}
