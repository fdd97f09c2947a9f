//! What an act changes, old beside new, as its two documents show it.

use data_encoding::HEXLOWER;

use super::{Frozen, Motion, Raise, WalletSet};
use crate::name::UserId;
use crate::officer::{Council, OfficerKey};
use crate::policy;
use crate::text::quote;
use crate::utc::to_iso;

/// One row of the table of differences. All of it is printable ASCII, as in the text of the act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What changes.
    pub what: String,
    /// What it is, if it is there.
    pub old: Option<String>,
    /// What it is to be, if it is to be there.
    pub new: Option<String>,
}

impl Motion {
    /// What changes.
    pub fn differences(&self) -> Vec<Difference> {
        let mut table = Table::default();
        match self {
            Motion::WalletSet(set) => {
                let WalletSet { id: _, old, new, reach } = &**set;
                table.both("label", quote(&old.label), quote(&new.label));
                table.users(&old.users, &new.users);
                table.policy(&old.policy, &new.policy);
                if let Some(Raise { from, to }) = reach {
                    for (chain, at) in [("reach (external)", 0), ("reach (internal)", 1)] {
                        table.both(chain, from[at].to_string(), to[at].to_string());
                    }
                }
            }
            Motion::KeySet(set) => {
                table.both("label", quote(&set.old.label), quote(&set.new.label));
                table.users(&set.old.users, &set.new.users);
                table.policy(&set.old.policy, &set.new.policy);
            }
            Motion::ClockTake { believed, from } => {
                table.row("clock", believed.map(to_iso), Some(format!("from {}", to_iso(*from))));
            }
            Motion::Restore { store, anchor } => {
                table.row("newest link", anchor.map(|anchor| anchor.to_string()), Some(store.to_string()));
            }
            Motion::OfficersSet { old, new } => table.council(old.as_deref(), new),
            Motion::SoPinLost { pin, heir, .. } => {
                table.row("so-pin", Some(HEXLOWER.encode(pin)), None);
                table.row("heir, who sets the next so-pin", None, Some(HEXLOWER.encode(&heir.0)));
            }
            Motion::Thaw { what, since } => {
                table.row(&of_freeze(what), Some(format!("since {}", to_iso(*since))), None);
            }
            Motion::Freeze { what } => table.row(&of_freeze(what), None, Some("from now on".into())),
            Motion::DeviceAdd(add) => table.row("device", None, Some(add.new.print())),
        }
        table.rows
    }
}

fn of_freeze(what: &Frozen) -> String {
    match what {
        Frozen::Wallet(label, _) => format!("freeze of wallet {}", quote(label)),
        Frozen::Key(label, _) => format!("freeze of key {}", quote(label)),
        Frozen::User(user) => format!("freeze of user {}", quote(&user.name)),
        Frozen::All => "freeze of all".into(),
    }
}

#[derive(Default)]
struct Table {
    rows: Vec<Difference>,
}

impl Table {
    fn row(&mut self, what: &str, old: Option<String>, new: Option<String>) {
        if old != new {
            self.rows.push(Difference { what: what.into(), old, new });
        }
    }

    fn both(&mut self, what: &str, old: String, new: String) {
        self.row(what, Some(old), Some(new));
    }

    fn users(&mut self, old: &[UserId], new: &[UserId]) {
        let text = |user: &UserId| Some(format!("{} {}", quote(&user.name), HEXLOWER.encode(&user.key)));
        for user in old.iter().filter(|user| !new.contains(user)) {
            // Enrolled anew, it is another user of the same name.
            let anew = new.iter().find(|other| other.name == user.name);
            self.row("user", text(user), anew.and_then(text));
        }
        for user in new.iter().filter(|user| !old.iter().any(|other| other.name == user.name)) {
            self.row("user", None, text(user));
        }
    }

    fn policy(&mut self, old: &str, new: &str) {
        let printed = |value: Option<String>| value.map(|value| printable(&value));
        match policy::differences(old, new) {
            Some(rules) => {
                for policy::Difference { key, old, new } in &rules {
                    self.row(key, printed(old.clone()), printed(new.clone()));
                }
                if rules.is_empty() && old != new {
                    self.both("policy (its wording alone)", quote(old), quote(new));
                }
            }
            // One of the two cannot be read.
            None => self.both("policy", quote(old), quote(new)),
        }
    }

    fn council(&mut self, old: Option<&Council>, new: &Council) {
        let number =
            |of: fn(&Council) -> u64| (old.map(|old| of(old).to_string()), Some(of(new).to_string()));
        let emergency = |council: &Council| {
            council.emergency().map(|emergency| {
                format!("{} signatures, {} hours", emergency.signatures, emergency.delay_hours)
            })
        };
        for (what, (old, new)) in [
            ("threshold", number(|council| council.officers().threshold() as u64)),
            ("delay-hours", number(|council| council.delay_hours().into())),
            ("emergency", (old.and_then(emergency), emergency(new))),
            ("failures-per-hour", number(|council| council.settings().failures_per_hour.into())),
        ] {
            self.row(what, old, new);
        }
        let keys = |council: &Council| -> Vec<String> {
            council.officers().keys().iter().map(OfficerKey::to_string).collect()
        };
        let (old, new) = (old.map(keys).unwrap_or_default(), keys(new));
        for key in old.iter().filter(|key| !new.contains(key)) {
            self.row("officer", Some(key.clone()), None);
        }
        for key in new.iter().filter(|key| !old.contains(key)) {
            self.row("officer", None, Some(key.clone()));
        }
    }
}

/// As it stands in the text, without the quotes.
fn printable(text: &str) -> String {
    let quoted = quote(text);
    quoted[1..quoted.len() - 1].to_owned()
}
