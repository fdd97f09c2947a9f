//! Means of approval that show what is approved, where nobody who proposes it can change what is shown.

use core::str::FromStr;

/// Such a means, as policies name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    /// A device with a screen of its own, which signs what it shows.
    Device,
    /// A passkey, asked by the one page that the store trusts to show what it signs.
    Passkey,
    /// The desk, where a user reads what the boundary wrote and types a code that no backend sees.
    Desk,
}

impl Shown {
    /// All of them.
    pub const ALL: [Shown; 3] = [Shown::Device, Shown::Passkey, Shown::Desk];

    /// Those that a policy can ask for: a door brings them. Passkeys come by none yet, so a wallet that asked for them would sign nothing.
    pub const OFFERED: [Shown; 2] = [Shown::Device, Shown::Desk];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Shown::Device => "device",
            Shown::Passkey => "passkey",
            Shown::Desk => "desk",
        }
    }
}

/// No means of approval that this version has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotShown;

impl FromStr for Shown {
    type Err = NotShown;

    fn from_str(name: &str) -> Result<Shown, NotShown> {
        Shown::ALL.into_iter().find(|shown| shown.name() == name).ok_or(NotShown)
    }
}

/// How many different users approve, and by what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Approvers {
    /// One entry for each: by a means that shows what is approved, or else by a code that passed whoever brings it.
    by: Vec<Option<Shown>>,
}

impl Approvers {
    /// Users who gave codes, or who approved before.
    pub(crate) fn new(by: impl IntoIterator<Item = Option<Shown>>) -> Approvers {
        Approvers { by: by.into_iter().collect() }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.by.len()
    }

    /// How many approve by one of these means.
    pub(crate) fn count_shown(&self, means: &[Shown]) -> usize {
        self.by.iter().flatten().filter(|shown| means.contains(shown)).count()
    }
}
