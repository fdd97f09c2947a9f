//! What an act does, as lines: its heading, and its two sections.

use core::fmt;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use super::{DeviceAdd, DigestKeyTerms, Frozen, KeySet, Motion, Raise, Seen, WalletSet, WalletTerms};
use crate::audit::Head;
use crate::officer::Council;
use crate::pin::Heir;
use crate::text::{Reader, from_hex, named, print_user, quote, user};
use crate::utc::{from_iso, to_iso};

const LABEL_WAS: &[u8] = b"countersign/was/v1\0";

impl Motion {
    /// The digest of what is in force: whoever carries it out compares it with what is in force then.
    pub fn was(&self) -> [u8; 32] {
        let subject = Sha256::new_with_prefix(LABEL_WAS).chain_update(self.heading());
        let in_force = match self {
            // What an administrator can change alone is left out: the settings, which only become stricter, and the PIN itself, which
            // somebody who has it would otherwise change whenever officers declare it lost.
            Motion::OfficersSet { old: Some(old), .. } => old.deciders(),
            Motion::SoPinLost { .. } => "so-pin set\n".into(),
            _ => self.old_section(),
        };
        subject.chain_update(b"\n").chain_update(in_force).finalize().into()
    }

    /// What is done, and to which object, as the text puts it after `do`.
    pub fn heading(&self) -> String {
        let of =
            |what: &str, name: &str, id: &[u8]| format!("{what} {} {}", quote(name), HEXLOWER.encode(id));
        match self {
            Motion::WalletSet(set) => of("wallet-set", &set.old.label, &set.id),
            Motion::KeySet(set) => of("key-set", &set.old.label, &set.id),
            Motion::ClockTake { .. } => "clock-take".into(),
            Motion::Restore { .. } => "restore".into(),
            Motion::OfficersSet { .. } => "officers-set".into(),
            Motion::SoPinLost { label, serial, .. } => of("so-pin-lost", label, serial),
            Motion::Thaw { what, .. } => what.heading("thaw"),
            Motion::Freeze { what } => what.heading("freeze"),
            Motion::DeviceAdd(add) => format!("device-add {}", print_user(&add.user)),
        }
    }

    pub(super) fn new_section(&self) -> String {
        match self {
            Motion::WalletSet(set) => match &set.reach {
                Some(Raise { from: [external, internal], to: [further, further_internal] }) => {
                    format!(
                        "reach {external} {internal} to {further} {further_internal}\n{}",
                        set.new.print()
                    )
                }
                None => set.new.print(),
            },
            Motion::KeySet(set) => set.new.print(),
            Motion::ClockTake { from, .. } => format!("from {}\n", to_iso(*from)),
            Motion::Restore { store, .. } => format!("store {store}\n"),
            Motion::OfficersSet { new, .. } => new.to_string(),
            Motion::SoPinLost { heir, .. } => format!("so-pin none\nheir {}\n", HEXLOWER.encode(&heir.0)),
            Motion::Thaw { .. } => "frozen no\n".into(),
            Motion::Freeze { .. } => "frozen yes\n".into(),
            Motion::DeviceAdd(add) => add.print_new(),
        }
    }

    pub(super) fn old_section(&self) -> String {
        match self {
            Motion::WalletSet(set) => set.old.print(),
            Motion::KeySet(set) => set.old.print(),
            Motion::ClockTake { believed, .. } => {
                format!("believed {}\n", believed.map_or("none".into(), to_iso))
            }
            Motion::Restore { anchor, .. } => {
                format!("anchor {}\n", anchor.map_or("none".into(), |anchor| anchor.to_string()))
            }
            Motion::OfficersSet { old, .. } => old.as_ref().map_or("none\n".into(), |old| old.to_string()),
            Motion::SoPinLost { pin, .. } => format!("so-pin {}\n", HEXLOWER.encode(pin)),
            Motion::Thaw { since, .. } => format!("frozen since {}\n", to_iso(*since)),
            Motion::Freeze { .. } => "frozen no\n".into(),
            Motion::DeviceAdd(add) => add.print_old(),
        }
    }

    pub(super) fn read(heading: &str, new: &str, old: &str) -> Option<Motion> {
        let (what, subject) = heading.split_once(' ').unwrap_or((heading, ""));
        let (mut since, mut before) = (Reader::new(new), Reader::new(old));
        // `ActText::parse` prints the motion again and compares. That also shows whether the label in the heading is the old one.
        Some(match what {
            "wallet-set" => {
                let (_, id) = named::<16>(subject)?;
                let (reach, new) = match new.strip_prefix("reach ") {
                    Some(raised) => {
                        let (raise, new) = raised.split_once('\n')?;
                        (Some(Raise::read(raise)?), new)
                    }
                    None => (None, new),
                };
                let (old, new) = (WalletTerms::read(old)?, WalletTerms::read(new)?);
                Motion::WalletSet(Box::new(WalletSet { id, old, new, reach }))
            }
            "key-set" => {
                let (_, id) = named(subject)?;
                Motion::KeySet(Box::new(KeySet {
                    id,
                    old: DigestKeyTerms::read(old)?,
                    new: DigestKeyTerms::read(new)?,
                }))
            }
            "clock-take" => {
                let believed = or_none(before.value("believed")?, from_iso)?;
                Motion::ClockTake { believed, from: from_iso(since.value("from")?)? }
            }
            "restore" => {
                let anchor = or_none(before.value("anchor")?, Seen::read)?;
                Motion::Restore { store: Seen::read(since.value("store")?)?, anchor }
            }
            "officers-set" => {
                let old = or_none(old.strip_suffix('\n')?, |_| Council::parse(old).map(Box::new))?;
                Motion::OfficersSet { old, new: Box::new(Council::parse(new)?) }
            }
            "so-pin-lost" => {
                let (label, serial) = named(subject)?;
                since.expect("so-pin none")?;
                let (pin, heir) = (before.value("so-pin")?, Heir(from_hex(since.value("heir")?)?));
                Motion::SoPinLost { label, serial, pin: from_hex(pin)?, heir }
            }
            "thaw" => {
                let what = Frozen::read(subject)?;
                Motion::Thaw { what, since: from_iso(before.value("frozen since")?)? }
            }
            "freeze" => Motion::Freeze { what: Frozen::read(subject)? },
            "device-add" => Motion::DeviceAdd(Box::new(DeviceAdd::read(user(subject)?, new, old)?)),
            _ => return None,
        })
    }
}

/// `none`, or something that reads.
fn or_none<T>(text: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    if text == "none" { Some(None) } else { read(text).map(Some) }
}

impl Frozen {
    /// What to do with it, and what it is.
    fn heading(&self, deed: &str) -> String {
        let named = |kind: &str, name: &str, id: &[u8]| {
            format!("{deed} {kind} {} {}", quote(name), HEXLOWER.encode(id))
        };
        match self {
            Frozen::Wallet(label, id) => named("wallet", label, id),
            Frozen::Key(label, id) => named("key", label, id),
            Frozen::User(user) => format!("{deed} user {}", print_user(user)),
            Frozen::All => format!("{deed} all"),
        }
    }

    fn read(subject: &str) -> Option<Frozen> {
        let (kind, subject) = subject.split_once(' ').unwrap_or((subject, ""));
        Some(match kind {
            "wallet" => named(subject).map(|(label, id)| Frozen::Wallet(label, id))?,
            "key" => named(subject).map(|(label, id)| Frozen::Key(label, id))?,
            "user" => Frozen::User(user(subject)?),
            "all" => Frozen::All,
            _ => return None,
        })
    }
}

impl Seen {
    pub(super) fn read(text: &str) -> Option<Seen> {
        let (head, link) = text.split_once(' ')?;
        Some(Seen { head: Head(from_hex(head)?), link: link.parse().ok()? })
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", HEXLOWER.encode(&self.head.0), self.link)
    }
}

impl Raise {
    fn read(text: &str) -> Option<Raise> {
        let pair = |text: &str| {
            let (external, internal) = text.split_once(' ')?;
            Some([external.parse().ok()?, internal.parse().ok()?])
        };
        let (from, to) = text.split_once(" to ")?;
        Some(Raise { from: pair(from)?, to: pair(to)? })
    }
}
