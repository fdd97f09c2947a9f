//! The room for proposals: how many records there may be of each who brings acts.
//!
//! Whoever brings an act has room of their own for its record: the security officer for those that no officer has signed, and each officer
//! for those that came with their signature. So nobody can take the room of somebody else. What tightens has room apart, so that an
//! officer who has proposed much can still freeze.
//!
//! A record must stay until its text has expired, because otherwise somebody could propose the text again, with signatures that were made
//! for it before: an act that was vetoed, a change that was undone since, a freeze that was ended. So a proposal that is over gives back
//! most of its room at once, and the rest when its text expires. What tightens must therefore expire early. A record from before a
//! restoration may go, because its text names an epoch that does not come back.

use serde::{Deserialize, Serialize};

use super::{Circumstances, Proposal, ProposalError, State};
use crate::act::class::Class;

/// The most open proposals of one officer that do not tighten.
pub const MAX_OPEN_OF_OFFICER: usize = 16;
/// The most proposals of one officer that do not tighten, including those that are over.
pub const MAX_OF_OFFICER: usize = 64;
/// The most proposals of one officer that tighten, including those that are over.
pub const MAX_TIGHTENING_OF_OFFICER: usize = 32;
/// The most open proposals of the security officer that no officer has signed.
pub const MAX_UNSIGNED: usize = 16;
/// The most proposals of the security officer, including those that are over.
pub const MAX_OF_ADMINISTRATOR: usize = 96;

/// Who brought a proposal, and in whose room its record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bringer {
    /// The security officer.
    Administrator,
    /// The officer with this key, by a signature of the text.
    Officer([u8; 32]),
}

impl Proposal {
    /// The same, brought by the officer who made this signature of its text, whoever carried it here.
    pub fn bring(&self, signature: &str, found: &Circumstances<'_>) -> Result<Proposal, ProposalError> {
        let signed = self.sign(signature, found)?;
        let by = signed.signatures.last().map_or(self.by, |kept| Bringer::Officer(kept.public_key));
        Ok(Proposal { by, ..signed })
    }

    /// Whether its record may go, in this epoch at this time: nobody can propose its text again.
    pub fn may_go(&self, epoch: u64, now: u64) -> bool {
        self.is_past(now) || self.act.epoch < epoch
    }

    /// Whether both are in the same room.
    fn shares_room_with(&self, other: &Proposal) -> bool {
        let tightens = |proposal: &Proposal| proposal.class() == Class::Tightens;
        self.by == other.by && (self.by == Bringer::Administrator || tightens(self) == tightens(other))
    }
}

/// Checks that there is room for another proposal beside these, and that none of them has the same nonce, since a text is proposed
/// once.
pub fn check_room<'a>(
    proposals: impl Iterator<Item = &'a Proposal>,
    new: &Proposal,
) -> Result<(), ProposalError> {
    let (mut all, mut open, mut unsigned) = (0, 0, 0);
    for proposal in proposals {
        if proposal.nonce() == new.nonce() {
            return Err(ProposalError::Known);
        }
        if proposal.shares_room_with(new) {
            let is_open = proposal.state == State::Open;
            all += 1;
            open += usize::from(is_open);
            unsigned += usize::from(is_open && proposal.signatures.is_empty());
        }
    }
    let has_room = match new.by {
        Bringer::Administrator => all < MAX_OF_ADMINISTRATOR && unsigned < MAX_UNSIGNED,
        Bringer::Officer(_) if new.class() == Class::Tightens => all < MAX_TIGHTENING_OF_OFFICER,
        Bringer::Officer(_) => all < MAX_OF_OFFICER && open < MAX_OPEN_OF_OFFICER,
    };
    if has_room { Ok(()) } else { Err(ProposalError::Room) }
}

#[cfg(test)]
mod tests;
