//! The attributes of wallets, as far as they differ from other key pairs (see [`super::ec_pair`]).

use bitcoin::secp256k1::PublicKey;
use cryptoki_sys::*;

use super::super::vendor::*;
use super::{EcPair, Side, bool, ulong};
use crate::kernel::key::KeyTerms;
use crate::kernel::wallet::{Chain, Reach, Wallet, WatchOnly};

impl EcPair for Wallet {
    fn terms(&self) -> &KeyTerms {
        self.terms()
    }

    fn public_key(&self) -> &PublicKey {
        &self.account().public_key
    }

    fn made_by(&self) -> CK_MECHANISM_TYPE {
        CKM_COUNTERSIGN_WALLET_KEY_GEN
    }

    fn own(&self, side: Side, kind: CK_ATTRIBUTE_TYPE) -> Option<Vec<u8>> {
        Some(match (kind, side) {
            (CKA_ALLOWED_MECHANISMS, Side::Private) => ulong(CKM_COUNTERSIGN_PSBT),
            // No mechanism verifies with it.
            (CKA_ALLOWED_MECHANISMS, Side::Public) => vec![],
            (CKA_VERIFY, Side::Public) => bool(false),
            (CKA_COUNTERSIGN_NETWORK, _) => self.network().name().into(),
            (CKA_COUNTERSIGN_DESCRIPTOR, _) => of_script(self, |script| script.descriptor().into()),
            (CKA_COUNTERSIGN_WALLET_POLICY, _) => of_script(self, |script| script.policy().into()),
            (CKA_COUNTERSIGN_WALLET_ID, _) => of_script(self, |script| script.id().to_vec()),
            (CKA_COUNTERSIGN_XPUB, _) => self.account().to_string().into_bytes(),
            (CKA_COUNTERSIGN_FINGERPRINT, _) => self.master_fingerprint().as_bytes().to_vec(),
            (CKA_COUNTERSIGN_PATH, _) => self.account_path().into_bytes(),
            _ => return None,
        })
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
