//! Refused PSBTs in the audit: as many of each peer as tell that it tries, and no more than a disk bears.
//!
//! A refusal costs a peer nothing and writes a link. Each peer has a share of its own, so that nobody fills the audit with refusals
//! to hide those of others. The log says how many of a peer were left out.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::{Engine, EngineError};
use crate::cores::{self, PeerNumber};
use crate::kernel::failures::Failures;
use crate::kernel::rule::Rule;
use crate::kernel::state;

/// Refused PSBTs of one peer that the audit records in an hour. An application in this process is one peer.
const MAX_PER_HOUR: u32 = 60;

/// What each peer had recorded.
#[derive(Default)]
pub(super) struct Declined(Mutex<HashMap<PeerNumber, Share>>);

#[derive(Default)]
struct Share {
    recorded: Failures,
    /// Left out since the last that was recorded.
    left_out: u64,
}

impl Engine {
    /// Records a PSBT that a rule refused, within the share of the peer whose call this is.
    pub(crate) fn decline(&self, wallet: &str, rule: Rule, now: u64) -> Result<(), EngineError> {
        let Some(left_out) = self.declined.take(cores::working_for(), now) else { return Ok(()) };
        self.commit_anew(|| Ok(state::decline(wallet, rule, now))).map(|_recorded| ())?;
        if left_out > 0 {
            tracing::warn!(
                "the audit left out {left_out} refused PSBTs of this peer before the newest one: it records {MAX_PER_HOUR} an hour"
            );
        }
        Ok(())
    }
}

impl Declined {
    /// Whether the next refusal of `peer` is recorded, and how many were left out before it.
    fn take(&self, peer: PeerNumber, now: u64) -> Option<u64> {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let share = peers.entry(peer).or_default();
        if share.recorded.charge(1, MAX_PER_HOUR, now).is_ok() {
            return Some(std::mem::take(&mut share.left_out));
        }
        share.left_out = share.left_out.saturating_add(1);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_whose_psbts_are_refused_without_end_takes_no_share_of_another_and_is_told_of() {
        let (declined, now) = (Declined::default(), 1_000_000);
        let recorded = (0..1_000).filter(|_| declined.take(1, now).is_some()).count();
        assert_eq!(recorded, MAX_PER_HOUR as usize);
        assert_eq!(declined.take(2, now), Some(0), "another peer has all of its share");
        assert_eq!(declined.take(1, now + 3_660), Some(1_000 - u64::from(MAX_PER_HOUR)));
        assert_eq!(declined.take(1, now + 3_660), Some(0));
    }
}
