//! The security officer's PIN after it was declared lost: nobody knows it, and one secret sets the next one.

use super::super::administration::of_token;
use super::{OfficerPin, PinCharged, TokenRecord};
use crate::act::Deed;
use crate::pin::{Heir, PinRecord, Role};
use crate::receipt::{Batch, Receipt};
use crate::record::Versioned;

/// Declares the security officer's PIN lost. From here on nobody can log in with it, and the heir may set the next one. Another loss
/// names another heir. None if this one is named already.
pub(crate) fn lose_so_pin(token: &Versioned<TokenRecord>, heir: Heir, now: u64) -> Option<Batch> {
    let lost = PinRecord::of_nobody(heir);
    let is_new = !token.value.so.pin.is_of_same_pin(&lost);
    is_new.then(|| replace_so_pin(token, OfficerPin::new(lost), Deed::SoPinLost, now))
}

/// Evidence: a try at the secret that follows a lost PIN was charged, and the secret was right.
pub struct HeirFound(PinRecord);

/// Compares a secret whose try was charged to the security officer's PIN, which must be lost.
pub fn verify_heir(charged: Receipt<PinCharged>, serial: &[u8; 8], secret: &[u8]) -> Option<HeirFound> {
    let lost = charged.into_evidence().pin.take()?;
    lost.is_inherited_by(serial, secret).then_some(HeirFound(lost))
}

/// Sets the security officer's PIN after it was lost. None if another loss or another PIN came in between.
pub(crate) fn inherit_so_pin(
    found: &HeirFound,
    token: &Versioned<TokenRecord>,
    new: PinRecord,
    now: u64,
) -> Option<Batch> {
    let is_same = token.value.so.pin.is_of_same_pin(&found.0);
    is_same.then(|| replace_so_pin(token, OfficerPin::new(new), Deed::PinSet(Role::So), now))
}

fn replace_so_pin(token: &Versioned<TokenRecord>, so: OfficerPin, deed: Deed, now: u64) -> Batch {
    let record = TokenRecord { so, ..token.value.clone() };
    Batch::new(vec![token.put(&record)], of_token(deed, Some(&token.value), &record), now)
}
