//! The attributes of wallets, as far as they differ from other EC key pairs (see [`super::ec_pair`]).

use cryptoki_sys::*;

use super::super::vendor::*;
use super::ec_pair::{EcPair, of_ec_private, of_ec_public};
use super::{Value, bool, ulong};
use crate::engine::WalletId;
use crate::kernel::wallet::{Chain, Reach, Wallet, WatchOnly};

/// An attribute of a wallet's private side.
pub(in crate::pkcs11) fn of_private(id: &WalletId, wallet: &Wallet, kind: CK_ATTRIBUTE_TYPE) -> Value {
    match kind {
        CKA_ALLOWED_MECHANISMS => Ok(ulong(CKM_COUNTERSIGN_PSBT)),
        _ => of_wallet(wallet, kind).map_or_else(|| of_ec_private(&pair(id, wallet), kind), Ok),
    }
}

/// An attribute of a wallet's public side. No mechanism verifies with it.
pub(in crate::pkcs11) fn of_public(id: &WalletId, wallet: &Wallet, kind: CK_ATTRIBUTE_TYPE) -> Value {
    match kind {
        CKA_VERIFY => Ok(bool(false)),
        CKA_ALLOWED_MECHANISMS => Ok(vec![]),
        _ => of_wallet(wallet, kind).map_or_else(|| of_ec_public(&pair(id, wallet), kind), Ok),
    }
}

/// An attribute that both sides of a wallet have, and other key pairs do not.
fn of_wallet(wallet: &Wallet, kind: CK_ATTRIBUTE_TYPE) -> Option<Vec<u8>> {
    Some(match kind {
        CKA_COUNTERSIGN_NETWORK => wallet.network().name().into(),
        CKA_COUNTERSIGN_DESCRIPTOR => of_script(wallet, |script| script.descriptor().into()),
        CKA_COUNTERSIGN_WALLET_POLICY => of_script(wallet, |script| script.policy().into()),
        CKA_COUNTERSIGN_WALLET_ID => of_script(wallet, |script| script.id().to_vec()),
        CKA_COUNTERSIGN_XPUB => wallet.account().to_string().into_bytes(),
        CKA_COUNTERSIGN_FINGERPRINT => wallet.master_fingerprint().as_bytes().to_vec(),
        CKA_COUNTERSIGN_PATH => wallet.account_path().into_bytes(),
        _ => return None,
    })
}

fn pair<'a>(id: &'a WalletId, wallet: &'a Wallet) -> EcPair<'a> {
    EcPair {
        id,
        label: wallet.label(),
        cka_id: wallet.cka_id(),
        public_key: &wallet.account().public_key,
        made_by: CKM_COUNTERSIGN_WALLET_KEY_GEN,
        users: wallet.users(),
        policy_document: wallet.policy_document(),
    }
}

/// A value that follows from the registered script, or an empty one until there is a script.
fn of_script(wallet: &Wallet, value: impl FnOnce(&WatchOnly) -> Vec<u8>) -> Vec<u8> {
    wallet.keys().map(|keys| value(keys.watch())).unwrap_or_default()
}

/// How far the addresses of a wallet were used.
pub(in crate::pkcs11) fn reach(reach: Reach) -> Vec<u8> {
    [Chain::External, Chain::Internal].into_iter().flat_map(|chain| ulong(reach.next(chain).into())).collect()
}
