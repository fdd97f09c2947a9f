//! The faults that keep the module from working, as a number with a bit for each.

/// A fault that keeps the module from working.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// A write failed, and reopening did not help.
    #[error("the store is closed after a failed write; restart the boundary")]
    StoreClosed,
    /// The open store is no longer the one at its path.
    #[error(
        "the store was removed, replaced, overwritten or damaged while the boundary used it, and is closed; the log says which. If it was removed or replaced, run \"countersign state rescue\" as root before you stop the boundary"
    )]
    StoreLost,
    /// A write failed, and the boundary reopens store or token.
    #[error("a write failed; the boundary reopens the store or the backing token, and callers wait")]
    Reviving,
    /// The token gives no randomness. Without it nothing is signed.
    #[error("the backing token does not answer; see the log, and check the token")]
    Token,
    /// The engine does not trust the clock.
    #[error("the engine does not trust the clock; correct it, or run \"countersign clock set\"")]
    Clock,
    /// All users together gave too many wrong codes.
    #[error(
        "all users together had too many wrong codes within an hour; no code is checked until the count drops below limits.failures_per_hour"
    )]
    Breaker,
    /// A peer gave too many wrong SO PINs.
    #[error("a peer tried too many wrong SO PINs and must wait")]
    OfficerLocked,
    /// A write does not end.
    #[error(
        "a write has been under way for over 30 seconds; the disk or the backing token does not answer, and callers wait; restart the boundary if this goes on"
    )]
    StoreStuck,
    /// The backing token refuses its PIN.
    #[error(
        "the backing token refuses its PIN, which is not tried again: correct backing.pin_file or backing.pin_env, then start the boundary"
    )]
    PinRefused,
}

impl Trouble {
    /// All troubles, in the order of their bits. New ones go to the end.
    pub const ALL: [Trouble; 9] = [
        Trouble::StoreClosed,
        Trouble::StoreLost,
        Trouble::Reviving,
        Trouble::Token,
        Trouble::Clock,
        Trouble::Breaker,
        Trouble::OfficerLocked,
        Trouble::StoreStuck,
        Trouble::PinRefused,
    ];

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Trouble::StoreClosed => "store_closed",
            Trouble::StoreLost => "store_lost",
            Trouble::Reviving => "reviving",
            Trouble::Token => "token",
            Trouble::Clock => "clock",
            Trouble::Breaker => "breaker",
            Trouble::OfficerLocked => "officer_locked",
            Trouble::StoreStuck => "store_stuck",
            Trouble::PinRefused => "pin_refused",
        }
    }

    /// Whether it keeps everybody from signing.
    pub fn stops_signing(self) -> bool {
        self != Trouble::OfficerLocked
    }

    /// Whether it keeps everybody from administering.
    pub fn stops_administration(self) -> bool {
        !matches!(self, Trouble::Clock | Trouble::Breaker)
    }
}

/// The troubles that the module has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing(u64);

impl Standing {
    /// Nothing keeps it from its work.
    pub const WELL: Standing = Standing(0);

    /// From the module's number: a bit for each of [`Trouble::ALL`].
    pub fn from_bits(bits: u64) -> Standing {
        Standing(bits)
    }

    /// The module's number.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The same, with this trouble.
    #[must_use]
    pub fn with(self, trouble: Trouble) -> Standing {
        Standing(self.0 | 1 << trouble as u64)
    }

    /// Whether it has this trouble.
    pub fn has(self, trouble: Trouble) -> bool {
        self.0 & 1 << trouble as u64 != 0
    }

    /// The troubles.
    pub fn troubles(self) -> impl Iterator<Item = Trouble> {
        Trouble::ALL.into_iter().filter(move |trouble| self.has(*trouble))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trouble_passes_as_its_own_bit() {
        for (bit, trouble) in Trouble::ALL.into_iter().enumerate() {
            let standing = Standing::WELL.with(trouble);
            assert_eq!(standing.bits(), 1 << bit);
            assert!(Standing::from_bits(standing.bits()).troubles().eq([trouble]));
        }
        assert_eq!(Standing::WELL.troubles().count(), 0);
    }
}
