//! What keeps the module from its work, as its host is told: a number with a bit for each trouble.

/// What keeps the module from its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// A write failed, and opening anew did not help.
    #[error("the store is closed after a write that failed: restart the boundary")]
    StoreClosed,
    /// The store that is open is not the one at its place.
    #[error(
        "the store was removed, replaced or overwritten under the boundary, and is closed: run \"countersign state rescue\" as root before you stop it"
    )]
    StoreLost,
    /// A write failed, and store or token are being opened anew.
    #[error("a write failed: the store or the backing token is being opened anew, callers wait")]
    Reviving,
    /// The token gives no randomness, without which nothing is signed.
    #[error("the backing token does not answer: see the log, and the token itself")]
    Token,
    /// The clock cannot be believed.
    #[error("the clock cannot be believed: set it right, or run \"countersign clock set\"")]
    Clock,
    /// Too many codes of all users were wrong.
    #[error(
        "too many codes of all users were wrong within an hour: no code is looked at until the count drops below limits.failures_per_hour"
    )]
    Breaker,
    /// A peer gave too many wrong SO PINs.
    #[error("too many wrong SO PINs: a peer must wait")]
    OfficerLocked,
    /// A write does not come back.
    #[error(
        "a write has been under way for over 30 seconds: the disk or the backing token does not answer, callers wait; if it stays so, restart the boundary"
    )]
    StoreStuck,
    /// The backing token refuses its PIN.
    #[error(
        "the backing token refuses its PIN, which is not tried again: correct backing.pin_file or backing.pin_env, then start the boundary"
    )]
    PinRefused,
}

impl Trouble {
    /// All of them, in the order of their bits. A new one goes to the end.
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

    /// Whether nobody can sign.
    pub fn stops_signing(self) -> bool {
        self != Trouble::OfficerLocked
    }

    /// Whether nobody can administer.
    pub fn stops_administration(self) -> bool {
        !matches!(self, Trouble::Clock | Trouble::Breaker)
    }
}

/// How the module stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing(u64);

impl Standing {
    /// Nothing keeps it from its work.
    pub const WELL: Standing = Standing(0);

    /// As the module gives it, a bit for each of [`Trouble::ALL`].
    pub fn from_bits(bits: u64) -> Standing {
        Standing(bits)
    }

    /// As the module gives it.
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

    /// What keeps it from its work.
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
