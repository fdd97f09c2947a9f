//! Wallets, as templates describe them: the part that is theirs alone (see [`super::key_pair`]).

use core::str::FromStr;

use cryptoki_sys::*;

use super::attributes::{Class, KeyKind, Side};
use super::key_pair::{Templates, change_of_terms, new_terms};
use super::request::TemplateEntry;
use super::rv::{Answer, Rv};
use super::template::{bool_value, set_same, text, ulong_value};
use super::vendor::*;
use crate::admin::{NewScript, NewWallet, WalletChange};
use crate::kernel::network::Network;
use crate::kernel::wallet::Reach;

/// The wallet that two templates describe, for `CKM_COUNTERSIGN_WALLET_KEY_GEN`.
pub(super) fn new_wallet(templates: &Templates<'_>) -> Answer<NewWallet> {
    let (mut network, mut registration, mut path) = (None, None, None);
    let terms = new_terms(KeyKind::Wallet, templates, |side, TemplateEntry { kind, value }| {
        match *kind {
            CKA_COUNTERSIGN_NETWORK => set_same(&mut network, text(value)?)?,
            CKA_COUNTERSIGN_WALLET_POLICY => set_same(&mut registration, text(value)?)?,
            CKA_COUNTERSIGN_PATH => set_same(&mut path, text(value)?)?,
            // No mechanism verifies with it. A client that asks for it by habit may, and gets none.
            CKA_VERIFY if side == Side::Public => {
                bool_value(value)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let network = network.ok_or(Rv(CKR_TEMPLATE_INCOMPLETE))?;
    Ok(NewWallet {
        terms,
        network: Network::from_str(&network).map_err(|_| Rv(CKR_ATTRIBUTE_VALUE_INVALID))?,
        script: NewScript { registration, path },
    })
}

/// The attributes of a wallet that can be set: its terms, its reach, and once the wallet policy.
pub(super) fn wallet_change(class: Class, template: &[&TemplateEntry]) -> Answer<WalletChange> {
    let (mut registration, mut new_reach) = (None, None);
    let terms = change_of_terms(class, template, |TemplateEntry { kind, value }| {
        match *kind {
            CKA_COUNTERSIGN_WALLET_POLICY => registration = Some(text(value)?),
            CKA_COUNTERSIGN_REACH => new_reach = Some(reach(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(WalletChange { terms, registration, reach: new_reach })
}

/// Two `CK_ULONG`: the next external and the next internal index.
fn reach(value: &[u8]) -> Answer<Reach> {
    let invalid = Rv(CKR_ATTRIBUTE_VALUE_INVALID);
    let (external, internal) = value.split_at_checked(size_of::<CK_ULONG>()).ok_or(invalid)?;
    let next = |bytes| ulong_value(bytes).and_then(|next| next.try_into().map_err(|_| invalid));
    Ok(Reach::at(next(external)?, next(internal)?))
}
