//! Acts on wallets. A wallet that could not be opened is never written.

use bitcoin::secp256k1::{All, Secp256k1};

use super::naming::{
    check_are_enrolled, check_cka_id, check_is_free, check_label, check_policy, check_policy_len, check_users,
};
use super::{Fresh, KeyId, Moment, NewScript, NewWallet, Present, Refused, WalletChange};
use crate::receipt::Batch;
use crate::state;
use crate::wallet::{Reach, SEED_LEN, Wallet, WalletError, WalletParts, WalletRecord, registration};

/// The record of a new wallet, and the opened wallet.
pub(super) fn new(
    new: NewWallet,
    fresh: &mut Fresh,
    secp: &Secp256k1<All>,
) -> Result<(KeyId, WalletRecord, Wallet), Refused> {
    let NewWallet { label, cka_id, network, users, policy, script } = new;
    check_label(&label)?;
    check_users(&users)?;
    check_policy(&policy, network)?;
    check_cka_id(&cka_id)?;
    let id: KeyId = *fresh.take()?;
    let cka_id = if cka_id.is_empty() { id.to_vec() } else { cka_id };
    let NewScript { registration, path } = script;
    let registration = registration.unwrap_or_else(|| registration::DEFAULT_POLICY.into());
    let path = match path {
        Some(path) => registration::parse_path(&path, network),
        None => registration::standard_path(&registration, network),
    };
    let path = path.map_err(WalletError::from)?;
    let parts = WalletParts { label, cka_id, network, users, policy, path };
    let mut record = WalletRecord::new(parts, &fresh.take::<SEED_LEN>()?, secp)?;
    if !registration.trim().is_empty() {
        record.descriptor = Some(record.descriptor_for(&registration, secp)?);
    }
    let wallet = opened(&record, secp)?;
    Ok((id, record, wallet))
}

pub(super) fn make<P: Present>(
    id: &KeyId,
    (record, wallet): (&WalletRecord, &Wallet),
    moment: &Moment,
    present: &P,
) -> Result<Batch, P::Error> {
    check_is_free(&record.label, present)?;
    check_are_enrolled(&record.users, present)?;
    Ok(state::add_wallet(*id, record, wallet, moment.now()?))
}

/// Refuses changes that no wallet can have.
pub(super) fn check_change(change: &WalletChange) -> Result<(), Refused> {
    if change.reach.is_some_and(|reach| reach.numbers().iter().any(|next| *next > Reach::MOST)) {
        return Err(Refused::Parameter(format!("a reach is at most {}", Reach::MOST)));
    }
    change.label.as_deref().map_or(Ok(()), check_label)?;
    change.users.as_deref().map_or(Ok(()), check_users)?;
    change.policy.as_deref().map_or(Ok(()), check_policy_len)
}

pub(super) fn change<P: Present>(
    id: &KeyId,
    change: &WalletChange,
    moment: &Moment,
    present: &P,
    secp: &Secp256k1<All>,
) -> Result<Batch, P::Error> {
    let (old, state) = present.wallet(id)?;
    let new = changed(&old.value, change, present, secp)?;
    let before = Wallet::open(&old.value, secp).map_err(Refused::from)?;
    let since = opened(&new, secp)?;
    let raised = (&state, change.reach.unwrap_or_default());
    Ok(state::change_wallet(&old, &new, (&before, &since), raised, moment.now()?))
}

/// The wallet after the change.
fn changed<P: Present>(
    old: &WalletRecord,
    change: &WalletChange,
    present: &P,
    secp: &Secp256k1<All>,
) -> Result<WalletRecord, P::Error> {
    let mut new = old.clone();
    if let Some(label) = change.label.as_ref().filter(|label| **label != new.label) {
        check_is_free(label, present)?;
        new.label.clone_from(label);
    }
    if let Some(users) = &change.users {
        check_are_enrolled(users, present)?;
        new.users.clone_from(users);
    }
    if let Some(policy) = &change.policy {
        check_policy(policy, new.network)?;
        new.policy.clone_from(policy);
    }
    if let Some(registration) = &change.registration {
        if new.descriptor.is_some() {
            return Err(Refused::AlreadyRegistered(new.label).into());
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
