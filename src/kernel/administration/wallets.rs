//! Acts on wallets, the part that is theirs alone ([`super::keys`] has the rest).

use bitcoin::secp256k1::{All, Secp256k1};

use super::naming::check_policy;
use super::{Fresh, KeyId, Moment, NewScript, NewWallet, Present, Refused, WalletChange, keys};
use crate::act;
use crate::receipt::Batch;
use crate::state::{KeyRecord, WalletState};
use crate::wallet::{Reach, SEED_LEN, Wallet, WalletError, WalletParts, WalletRecord, registration};

/// The record of a new wallet, and the opened wallet.
pub(super) fn new(
    new: NewWallet,
    fresh: &mut Fresh,
    secp: &Secp256k1<All>,
) -> Result<(KeyId, WalletRecord, Wallet), Refused> {
    let NewWallet { terms, network, script } = new;
    let (id, terms) = keys::new(terms, fresh)?;
    check_policy(&terms.policy, network)?;
    let NewScript { registration, path } = script;
    let registration = registration.unwrap_or_else(|| registration::DEFAULT_POLICY.into());
    let path = match path {
        Some(path) => registration::parse_path(&path, network),
        None => registration::standard_path(&registration, network),
    };
    let parts = WalletParts { terms, network, path: path.map_err(WalletError::from)? };
    let mut record = WalletRecord::new(parts, &fresh.take::<SEED_LEN>()?, secp)?;
    if !registration.trim().is_empty() {
        record.descriptor = Some(record.descriptor_for(&registration, secp)?);
    }
    let wallet = opened(&record, secp)?;
    Ok((id, record, wallet))
}

/// Refuses changes that no wallet can have.
pub(super) fn check_change(change: &WalletChange) -> Result<(), Refused> {
    if change.reach.is_some_and(|reach| reach.numbers().iter().any(|next| *next > Reach::MOST)) {
        return Err(Refused::Parameter(format!("a reach is at most {}", Reach::MOST)));
    }
    keys::check_change(&change.terms)
}

/// Changes a wallet. Its reach is never lowered.
pub(super) fn change<P: Present>(
    id: &KeyId,
    change: &WalletChange,
    moment: &Moment,
    present: &P,
    secp: &Secp256k1<All>,
) -> Result<Batch, P::Error> {
    let (old, state) = present.key::<WalletRecord>(id)?;
    let new = changed(&old.value, change, present, secp)?;
    let since = opened(&new, secp)?;
    let reach = state.value.reach.joined(change.reach.unwrap_or_default());
    let reached = WalletState { reach, ..state.value.clone() };
    let mut further = Vec::new();
    if old.value.descriptor.is_none() && new.descriptor.is_some() {
        further.push(act::Change::Registration);
    }
    if reach != state.value.reach {
        let (before, after) = (state.value.reach.numbers(), reach.numbers());
        further.push(act::Change::Reach { before, after });
    }
    keys::write::<_, P>((&old, &new, &since), (&state, &reached), further, (moment, present), secp)
}

/// The wallet after the change.
fn changed<P: Present>(
    old: &WalletRecord,
    change: &WalletChange,
    present: &P,
    secp: &Secp256k1<All>,
) -> Result<WalletRecord, P::Error> {
    let mut new = old.with(keys::changed(&old.terms, &change.terms, present)?);
    if let Some(policy) = &change.terms.policy {
        check_policy(policy, new.network)?;
    }
    if let Some(registration) = &change.registration {
        if new.descriptor.is_some() {
            return Err(Refused::AlreadyRegistered(new.terms.label).into());
        }
        new.descriptor = Some(new.descriptor_for(registration, secp).map_err(Refused::from)?);
    }
    Ok(new)
}

fn opened(record: &WalletRecord, secp: &Secp256k1<All>) -> Result<Wallet, Refused> {
    let wallet = Wallet::open(record, secp)?;
    wallet.check_new()?;
    Ok(wallet)
}
