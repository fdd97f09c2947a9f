//! Whether a change allows less than before, or more.

use serde::{Deserialize, Serialize};

/// The direction of a change of policy. Both if it allows less in one way and more in another, or if that is
/// unknown. Neither if both policies mean the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Direction {
    /// It may refuse something that was allowed.
    pub tightens: bool,
    /// It may allow something that was refused.
    pub loosens: bool,
}

impl Direction {
    /// The direction of a change if one of the two policies cannot be read.
    pub const UNKNOWN: Direction = Direction { tightens: true, loosens: true };

    /// In which direction a change from one policy to another goes; either may be one that cannot be read.
    pub(crate) fn between<P>(old: Option<P>, new: Option<P>, compare: fn(&P, &P) -> Direction) -> Direction {
        old.zip(new).map_or(Direction::UNKNOWN, |(old, new)| compare(&old, &new))
    }

    pub(crate) fn and(self, other: Direction) -> Direction {
        Direction { tightens: self.tightens || other.tightens, loosens: self.loosens || other.loosens }
    }
}
