//! Whether a change allows less than before, or more.

use serde::{Deserialize, Serialize};

/// In which direction a change of policy goes. Both where some of it allows less and some more, or where that cannot be
/// told; neither where the two mean the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Direction {
    /// It may refuse something that was allowed.
    pub tightens: bool,
    /// It may allow something that was refused.
    pub loosens: bool,
}

impl Direction {
    /// What a change is taken for where one of the two policies cannot be read.
    pub const UNKNOWN: Direction = Direction { tightens: true, loosens: true };

    pub(crate) fn and(self, other: Direction) -> Direction {
        Direction { tightens: self.tightens || other.tightens, loosens: self.loosens || other.loosens }
    }
}
