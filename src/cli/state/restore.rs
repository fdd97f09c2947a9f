//! `countersign state restore`: the SO accepts a store that does not fit its anchor.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use countersign::kernel::administration::{Agreed, Deciders, DisagreedError};
use countersign::kernel::anchor::StateError;
use countersign::kernel::clock::SaidError;
use countersign::kernel::motion::MAX_TEXT_LEN;
use countersign::kernel::officer::{Council, MAX_SIGNATURE_LEN};
use countersign::kernel::utc::to_iso;
use countersign::ports::{Clock, Random};
use countersign::shell::clock::SystemClock;
use countersign::shell::file;
use countersign::shell::inspection::{self, Restoration, RestoreError, Unanchored};
use countersign::shell::random::SystemRandom;
use countersign_plugin::signatures::files as signature_files;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use crate::clock::set::iso;
use crate::error::CommandError;
use crate::inside::{Inside, explain};
use crate::new_file::NewFile;
use crate::officers::in_printout;
use crate::output::{Report, details};
use crate::secret::{Ask, SO_PIN, SoPin};

/// Seconds that the officers have to sign.
const SIGNING_TIME: u64 = 7 * 24 * 3_600;
/// More than the longest printout of a council has.
const MAX_PRINTOUT_LEN: usize = 64 * 1_024;
/// The word that confirms.
const WORD: &str = "restore";

/// Accept a store that was restored from a backup, or that no longer fits its backing token.
///
/// The module stays closed over such a store (CKR_COUNTERSIGN_STATE), because it lacks what was spent since the copy. This command shows
/// what it found, asks for the SO PIN as it was when the store was copied (or, if officers had declared it lost by then, for the secret of
/// that act), and for the word "restore". Run it inside the boundary, with
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
    /// The act that the officers have signed, with their signatures beside it (FILE.NAME.minisig); without it the command writes that
    /// act if officers decide
    #[arg(long, value_name = "FILE")]
    act: Option<PathBuf>,
    /// The officers that the anchor names, if the copy does not have them: what "countersign officers show"
    /// printed last, with or without --json
    #[arg(long, value_name = "FILE")]
    council: Option<PathBuf>,
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
        let given = self.council.as_deref().map(read_council).transpose()?;
        let deciders = unanchored.deciders(given.as_ref(), inside.pinned.as_ref()).map_err(disagreed)?;
        eprint!("{}", who_decides(&deciders));
        let agreed = self.agreed(&deciders, now)?;
        let pin = SO_PIN.obtain(self.pin.so_pin_file.as_deref(), Ask::OnStdin)?;
        if !unanchored.is_officer(pin.as_bytes()) {
            return Err(refused(RestoreError::Pin));
        }
        if !self.yes {
            confirm()?;
        }
        let taken = take(unanchored, pin.as_bytes(), agreed, self.time)?;
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

    /// Evidence that everybody has agreed. Without it, writes the act that is to be signed.
    fn agreed(&self, deciders: &Deciders, now: u64) -> Result<Agreed, CommandError> {
        let Some(path) = &self.act else {
            return deciders.agree(None, &[], now).or_else(|error| match error {
                DisagreedError::Unsigned => Err(write_act(deciders, now)?),
                error => Err(disagreed(error)),
            });
        };
        let text = read(path, MAX_TEXT_LEN)?;
        let mut signatures = Vec::new();
        for file in signature_files(path).map_err(|error| {
            CommandError::new(
                error.to_string(),
                "put the act and its signatures in a folder that can be read",
            )
        })? {
            // A file that is none does no harm, as beside the library.
            signatures.extend(
                file::read(&file, MAX_SIGNATURE_LEN).ok().and_then(|bytes| String::from_utf8(bytes).ok()),
            );
        }
        deciders.agree(Some(&text), &signatures, now).map_err(disagreed)
    }
}

/// Writes the act, and says what is to be done with it.
fn write_act(deciders: &Deciders, now: u64) -> Result<CommandError, CommandError> {
    let mut nonce = [0; 16];
    SystemRandom.fill(&mut nonce).map_err(|error| CommandError::new(error.to_string(), "try again"))?;
    let text = deciders.act(nonce, now.saturating_add(SIGNING_TIME)).print().map_err(|error| {
        CommandError::new(format!("the act {error}"), "set the machine's clock right, then try again")
    })?;
    let path = PathBuf::from(format!("restore-{}.act", HEXLOWER.encode(&nonce[..4])));
    NewFile::create("act", &path, 0o644)?.commit(text.as_bytes())?;
    let path = path.display();
    Ok(CommandError::new(
        format!(
            "officers decide about this restoration; nothing was changed, and {path} has the act that they sign"
        ),
        format!(
            "have the officers read and sign it (countersign act sign {path}), put their signatures beside it, and run: countersign \
             state restore --act {path}"
        ),
    ))
}

fn read_council(path: &Path) -> Result<Council, CommandError> {
    let text = read(path, MAX_PRINTOUT_LEN)?;
    in_printout(&text).ok_or_else(|| {
        CommandError::new(
            format!("{} has no council: it is not what \"countersign officers show\" prints", path.display()),
            "give the file with the newest output of \"countersign officers show\", with or without --json, as it was printed",
        )
    })
}

fn read(path: &Path, most: usize) -> Result<String, CommandError> {
    let bytes = file::read(path, most)
        .map_err(|error| CommandError::new(error.to_string(), "name a file that can be read"))?;
    String::from_utf8(bytes).map_err(|_| {
        CommandError::new(
            format!("{} is no text", path.display()),
            "give the file as it was written, unchanged",
        )
    })
}

fn take(
    unanchored: Unanchored<'_>,
    pin: &[u8],
    agreed: Agreed,
    said: Option<u64>,
) -> Result<Restoration, CommandError> {
    unanchored.take(pin, agreed, said, &SystemClock).map_err(refused)
}

/// Who decides, beside the security officer.
fn who_decides(deciders: &Deciders) -> String {
    deciders
        .groups()
        .iter()
        .map(|group| {
            let keys: Vec<String> = group.keys().iter().map(|key| format!("  {key}\n")).collect();
            format!("{} of these officers must agree:\n{}\n", group.threshold(), keys.concat())
        })
        .collect()
}

fn disagreed(error: DisagreedError) -> CommandError {
    let next = match &error {
        DisagreedError::CouncilUnknown(_) | DisagreedError::AnotherCouncil { .. } => {
            "give the council with --council FILE: the newest output of \"countersign officers show\". Only those officers can \
             agree, not those of an older copy"
        }
        DisagreedError::Few { .. } => "have more officers sign the act, and put their signatures beside it",
        DisagreedError::Unsigned
        | DisagreedError::Text(_)
        | DisagreedError::Another(_)
        | DisagreedError::Expired => {
            "run the command without --act: it writes a new act. Have the officers sign that"
        }
    };
    CommandError::new(format!("{error}; nothing was changed"), next)
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
- Users of HOTP have to be enrolled anew: nothing tells which of their codes were used since the copy.
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
        RestoreError::Pin => CommandError::new(
            what,
            "give the SO PIN that was set when this store was copied; if officers had declared it lost, give the secret of that act",
        ),
        RestoreError::Clock(SaidError::NotSaid(_)) => CommandError::new(
            what,
            "look at another clock. If the machine's is right, confirm it: --time 2026-11-21T12:00:00Z. If not, set it right first: accepted as it is, it keeps the module closed until the time has caught up",
        ),
        RestoreError::Disagreed(error) => disagreed(error),
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
