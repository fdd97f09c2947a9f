//! The means by which a user approved a proposal.

use serde::{Deserialize, Serialize};

use crate::factor::{FactorKind, Shown};

/// The means of an approval, with its number in pending records. A number is never used again for another means.
///
/// | number | means |
/// |---|---|
/// | 1 to 31 | a code of this factor, brought by a backend |
/// | 32 | a passkey |
/// | 33 | a device with a screen of its own |
/// | 65 to 95 | a code of a factor, typed at the desk, where no backend sees it: 64 and the number of the factor |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Means {
    /// A code, brought by a backend.
    Code(FactorKind),
    /// The signature of a passkey.
    Passkey,
    /// The signature of a device with a screen of its own.
    Device,
    /// A code, typed at the desk.
    Desk(FactorKind),
}

const PASSKEY: u8 = 32;
const DEVICE: u8 = 33;
const DESK: u8 = 64;

/// Where a user types a code, as far as the boundary knows: by the door that it comes in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// Where it passes a backend.
    BeforeBackend,
    /// At the desk.
    AtDesk,
}

impl Typed {
    /// The means of an approval by a code of this factor.
    pub const fn means(self, kind: FactorKind) -> Means {
        match self {
            Typed::BeforeBackend => Means::Code(kind),
            Typed::AtDesk => Means::Desk(kind),
        }
    }
}

impl Means {
    /// What a policy calls it, if it shows what is approved.
    pub const fn shown(self) -> Option<Shown> {
        match self {
            Means::Code(_) => None,
            Means::Passkey => Some(Shown::Passkey),
            Means::Device => Some(Shown::Device),
            Means::Desk(_) => Some(Shown::Desk),
        }
    }

    /// Whether what is approved was signed, and not only a code given for it.
    pub const fn is_signature(self) -> bool {
        matches!(self, Means::Passkey | Means::Device)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Means::Code(kind) => kind.name(),
            Means::Passkey => "passkey",
            Means::Device => "device",
            Means::Desk(_) => "desk",
        }
    }
}

impl From<Means> for u8 {
    fn from(means: Means) -> u8 {
        match means {
            Means::Code(kind) => kind as u8,
            Means::Passkey => PASSKEY,
            Means::Device => DEVICE,
            Means::Desk(kind) => DESK + kind as u8,
        }
    }
}

/// A number that is no means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a means of approval that this version does not know")]
pub struct UnknownMeans;

impl TryFrom<u8> for Means {
    type Error = UnknownMeans;

    fn try_from(number: u8) -> Result<Means, UnknownMeans> {
        match number {
            PASSKEY => Ok(Means::Passkey),
            DEVICE => Ok(Means::Device),
            number if number > DESK => {
                FactorKind::of_number(number - DESK).map(Means::Desk).ok_or(UnknownMeans)
            }
            number => FactorKind::of_number(number).map(Means::Code).ok_or(UnknownMeans),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_means_never_change() {
        for (means, number) in [
            (Means::Code(FactorKind::Totp), 1),
            (Means::Code(FactorKind::Ticket), 2),
            (Means::Code(FactorKind::Hotp), 3),
            (Means::Passkey, 32),
            (Means::Device, 33),
            (Means::Desk(FactorKind::Totp), 65),
            (Means::Desk(FactorKind::Ticket), 66),
            (Means::Desk(FactorKind::Hotp), 67),
        ] {
            assert_eq!((u8::from(means), Means::try_from(number)), (number, Ok(means)));
        }
        let known = (0..=u8::MAX).filter(|number| Means::try_from(*number).is_ok());
        assert_eq!(known.collect::<Vec<_>>(), [1, 2, 3, 32, 33, 65, 66, 67], "none else has a number yet");
    }
}
