//! The attributes of wallets (PKCS#11 v3.0 sections 4.8 and 4.9; v3.2 section 6.3).

use cryptoki_sys::*;

use super::super::vendor::*;
use super::{Hidden, SECP256K1, Value, bool, ec_point, public_key_info, ulong, unique_id};
use crate::engine::WalletId;
use crate::kernel::state::Reach;
use crate::kernel::wallet::{Chain, Wallet, WatchOnly};

/// An attribute of a wallet's private side.
pub(in crate::pkcs11) fn of_private(id: &WalletId, wallet: &Wallet, kind: CK_ATTRIBUTE_TYPE) -> Value {
    Ok(match kind {
        CKA_CLASS => ulong(CKO_PRIVATE_KEY),
        CKA_PRIVATE
        | CKA_SENSITIVE
        | CKA_ALWAYS_SENSITIVE
        | CKA_NEVER_EXTRACTABLE
        | CKA_SIGN
        | CKA_ALWAYS_AUTHENTICATE => bool(true),
        CKA_EXTRACTABLE
        | CKA_DECRYPT
        | CKA_SIGN_RECOVER
        | CKA_UNWRAP
        | CKA_DECAPSULATE
        | CKA_WRAP_WITH_TRUSTED => bool(false),
        CKA_UNWRAP_TEMPLATE | CKA_DECAPSULATE_TEMPLATE | CKA_DERIVE_TEMPLATE => vec![],
        CKA_UNIQUE_ID => unique_id(id, "private"),
        CKA_ALLOWED_MECHANISMS => ulong(CKM_COUNTERSIGN_PSBT),
        CKA_VALUE => return Err(Hidden::Sensitive),
        _ => return of_wallet(wallet, kind),
    })
}

/// An attribute of a wallet's public side.
pub(in crate::pkcs11) fn of_public(id: &WalletId, wallet: &Wallet, kind: CK_ATTRIBUTE_TYPE) -> Value {
    Ok(match kind {
        CKA_CLASS => ulong(CKO_PUBLIC_KEY),
        CKA_PRIVATE | CKA_ENCRYPT | CKA_VERIFY | CKA_VERIFY_RECOVER | CKA_WRAP | CKA_ENCAPSULATE
        | CKA_TRUSTED => bool(false),
        CKA_ALLOWED_MECHANISMS | CKA_WRAP_TEMPLATE | CKA_ENCAPSULATE_TEMPLATE => vec![],
        CKA_UNIQUE_ID => unique_id(id, "public"),
        CKA_EC_POINT => ec_point(&wallet.account().public_key),
        _ => return of_wallet(wallet, kind),
    })
}

/// An attribute that both sides of a wallet have.
fn of_wallet(wallet: &Wallet, kind: CK_ATTRIBUTE_TYPE) -> Value {
    Ok(match kind {
        CKA_KEY_TYPE => ulong(CKK_EC),
        CKA_TOKEN | CKA_MODIFIABLE | CKA_LOCAL => bool(true),
        CKA_COPYABLE | CKA_DESTROYABLE | CKA_DERIVE => bool(false),
        CKA_LABEL => wallet.label().as_bytes().to_vec(),
        CKA_ID => wallet.cka_id().to_vec(),
        CKA_START_DATE | CKA_END_DATE | CKA_SUBJECT => vec![],
        CKA_KEY_GEN_MECHANISM => ulong(CKM_COUNTERSIGN_WALLET_KEY_GEN),
        CKA_OBJECT_VALIDATION_FLAGS => ulong(0),
        CKA_EC_PARAMS => SECP256K1.to_vec(),
        CKA_PUBLIC_KEY_INFO => public_key_info(&wallet.account().public_key),
        CKA_COUNTERSIGN_NETWORK => wallet.network().name().into(),
        CKA_COUNTERSIGN_USERS => wallet.users().join("\n").into_bytes(),
        CKA_COUNTERSIGN_POLICY => wallet.policy_document().into(),
        CKA_COUNTERSIGN_DESCRIPTOR => of_script(wallet, |script| script.descriptor().into()),
        CKA_COUNTERSIGN_WALLET_POLICY => of_script(wallet, |script| script.policy().into()),
        CKA_COUNTERSIGN_WALLET_ID => of_script(wallet, |script| script.id().to_vec()),
        CKA_COUNTERSIGN_XPUB => wallet.account().to_string().into_bytes(),
        CKA_COUNTERSIGN_FINGERPRINT => wallet.master_fingerprint().as_bytes().to_vec(),
        CKA_COUNTERSIGN_PATH => wallet.account_path().into_bytes(),
        _ => return Err(Hidden::Unknown),
    })
}

/// What follows from the registered script; empty until there is one.
fn of_script(wallet: &Wallet, value: impl FnOnce(&WatchOnly) -> Vec<u8>) -> Vec<u8> {
    wallet.keys().map(|keys| value(keys.watch())).unwrap_or_default()
}

/// How far the addresses of a wallet were used.
pub(in crate::pkcs11) fn reach(reach: Reach) -> Vec<u8> {
    [Chain::External, Chain::Internal].into_iter().flat_map(|chain| ulong(reach.next(chain).into())).collect()
}
