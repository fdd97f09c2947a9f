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

    pub(crate) fn and(self, other: Direction) -> Direction {
        Direction { tightens: self.tightens || other.tightens, loosens: self.loosens || other.loosens }
    }
}
