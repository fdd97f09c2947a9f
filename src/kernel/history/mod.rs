//! What left a wallet, or was signed by a digest key, in the last week, hour by hour. The limits of a period
//! are compared with it.
//!
//! Invariants:
//! - H1. The history is kept whatever the policy says, so no change of policy resets it.
//! - H2. A second within the period always counts. One that is more than the period and an hour ago never
//!   does. The future counts: setting a clock back gives nothing back.
//! - H3. Of the transactions that spend exactly the same outpoints at most one can confirm (BIP 125 calls
//!   them replacements). Together they are charged the most that one of them takes out, and one transaction,
//!   in the hour of the last one. Nothing is known about what a digest stands for: each signature is charged
//!   as one transaction without value, even if the digest was signed before with other codes. Requested again
//!   with the same codes, it is the same signature.
//! - H4. What is forgotten is only ever charged again.

use bitcoin::Transaction;
use bitcoin::hashes::Hash;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::binding::Binding;
use crate::factor::Mark;

/// Hours that the history goes back.
const KEPT_HOURS: u32 = 168;
/// Charges that are remembered separately.
const KEPT_CHARGES: usize = 64;
const INPUTS_LABEL: &[u8] = b"countersign/inputs/v1\0";
const DIGEST_LABEL: &[u8] = b"countersign/digest-signature/v1\0";

/// What left a wallet, or was signed by a key that signs digests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Only hours in which something was charged, in the order of the first charge.
    hours: Vec<Hour>,
    /// In the order of their last charge.
    charges: Vec<KnownCharge>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hour {
    /// Unix time in hours.
    hour: u32,
    sat: u64,
    transactions: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KnownCharge {
    id: ChargeId,
    /// The most that a transaction with this id took out.
    charged: u64,
    /// The hour of the last charge.
    hour: u32,
}

/// The charge of a transaction, or all charges in a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    /// Satoshi that leave the wallet, fees included.
    pub sat: u64,
    /// Transactions.
    pub transactions: u32,
}

/// The id of something that is charged once, however often it is requested: a set of inputs, which means all
/// outpoints that a transaction spends, whoever owns them; or one signature of a digest.
///
/// It is the whole hash: an input may belong to anybody, so the author of a PSBT can search for two sets with
/// the same id, of which the second would be free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargeId([u8; 32]);

impl ChargeId {
    /// The id of the charge for the inputs of `transaction`, whatever their order.
    pub fn of_inputs(transaction: &Transaction) -> ChargeId {
        let mut outpoints: Vec<_> = transaction.input.iter().map(|input| input.previous_output).collect();
        outpoints.sort_unstable();
        let mut hasher = Sha256::new_with_prefix(INPUTS_LABEL);
        for outpoint in outpoints {
            hasher.update(outpoint.txid.to_byte_array());
            hasher.update(outpoint.vout.to_le_bytes());
        }
        ChargeId(hasher.finalize().into())
    }

    /// The id of the charge for one signature of a digest with these codes. The next signature has another
    /// id.
    pub(crate) fn of_digest(binding: &Binding, marks: &[Mark]) -> ChargeId {
        let mut hasher = Sha256::new_with_prefix(DIGEST_LABEL);
        hasher.update(binding);
        marks.iter().for_each(|mark| mark.add_to(&mut hasher));
        ChargeId(hasher.finalize().into())
    }

    #[cfg(test)]
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> ChargeId {
        ChargeId(bytes)
    }
}

impl History {
    /// The history after a transaction, or the signature of a digest, with the charge `id`, that takes out
    /// `leaves` satoshi at `now` (Unix seconds). If it replaces another, it moves that one's charge to the
    /// hour of `now`: an old charge must not pay for coins that move after it has left the period.
    #[must_use]
    pub fn charge(&self, id: ChargeId, leaves: u64, now: u64) -> History {
        let hour = hour_of(now);
        let is_kept = |there: u32| there >= hour.saturating_sub(KEPT_HOURS);
        let mut after = self.clone();
        after.hours.retain(|there| is_kept(there.hour));
        after.charges.retain(|there| is_kept(there.hour));
        let charged = after.take_out(id).map_or(leaves, |before| before.max(leaves));
        if after.charges.len() >= KEPT_CHARGES {
            after.charges.drain(..=after.charges.len() - KEPT_CHARGES);
        }
        after.charges.push(KnownCharge { id, charged, hour });
        after.add(Charge { sat: charged, transactions: 1 }, hour);
        after
    }

    /// The longest history that can be written: every hour that is kept, and two partial ones at the ends.
    pub(crate) fn longest() -> History {
        History::long(KEPT_HOURS as usize + 2, KEPT_CHARGES)
    }

    /// A history at least as long as what one charge adds to any other.
    pub(crate) fn longest_charge() -> History {
        History::long(1, 1)
    }

    /// The longest history of so many hours and charges.
    fn long(hours: usize, charges: usize) -> History {
        let hour = Hour { hour: u32::MAX, sat: u64::MAX, transactions: u32::MAX };
        let charge = KnownCharge { id: ChargeId([0; 32]), charged: u64::MAX, hour: u32::MAX };
        History { hours: vec![hour; hours], charges: vec![charge; charges] }
    }

    /// The charges in the `hours` before `now` (Unix seconds). The highest possible ones while `exhausted_at`
    /// is within them.
    pub fn spent(&self, hours: u32, now: u64, exhausted_at: Option<u64>) -> Charge {
        // The hour in which the period began counts as a whole, because the charge may be in any second of
        // it.
        let since = hour_of(now).saturating_sub(hours);
        if exhausted_at.is_some_and(|at| hour_of(at) >= since) {
            return Charge { sat: u64::MAX, transactions: u32::MAX };
        }
        self.hours.iter().filter(|there| there.hour >= since).fold(Charge::default(), |sum, there| Charge {
            sat: sum.sat.saturating_add(there.sat),
            transactions: sum.transactions.saturating_add(there.transactions),
        })
    }

    /// Removes a charge from its hour, and returns its amount.
    fn take_out(&mut self, id: ChargeId) -> Option<u64> {
        let found = self.charges.iter().position(|there| there.id == id)?;
        let KnownCharge { charged, hour, .. } = self.charges.remove(found);
        // An hour with a saturated sum is of unknown size, and stays so.
        if let Some(there) = self.hours.iter_mut().find(|there| there.hour == hour && there.sat < u64::MAX) {
            there.sat = there.sat.saturating_sub(charged);
            there.transactions = there.transactions.saturating_sub(1);
        }
        self.hours.retain(|there| there.sat > 0 || there.transactions > 0);
        Some(charged)
    }

    fn add(&mut self, charge: Charge, hour: u32) {
        match self.hours.iter_mut().find(|there| there.hour == hour) {
            Some(there) => {
                there.sat = there.sat.saturating_add(charge.sat);
                there.transactions = there.transactions.saturating_add(charge.transactions);
            }
            None => {
                self.hours.push(Hour { hour, sat: charge.sat, transactions: charge.transactions });
            }
        }
    }
}

fn hour_of(now: u64) -> u32 {
    u32::try_from(now / 3_600).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
