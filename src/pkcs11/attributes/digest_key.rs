//! The attributes of keys that sign digests, as far as they differ from other key pairs (see
//! [`super::ec_pair`]).

use bitcoin::secp256k1::PublicKey;
use cryptoki_sys::*;

use super::super::vendor::*;
use super::{EcPair, Side, bool, ulong};
use crate::kernel::digest_key::DigestKey;
use crate::kernel::key::KeyTerms;

impl EcPair for DigestKey {
    fn terms(&self) -> &KeyTerms {
        self.terms()
    }

    fn public_key(&self) -> &PublicKey {
        self.public_key()
    }

    fn made_by(&self) -> CK_MECHANISM_TYPE {
        CKM_EC_KEY_PAIR_GEN
    }

    fn own(&self, side: Side, kind: CK_ATTRIBUTE_TYPE) -> Option<Vec<u8>> {
        match (kind, side) {
            (CKA_ALLOWED_MECHANISMS, _) => Some(allowed_mechanisms(self)),
            (CKA_VERIFY, Side::Public) => Some(bool(true)),
            _ => None,
        }
    }
}

/// The mechanisms that it was made for.
fn allowed_mechanisms(key: &DigestKey) -> Vec<u8> {
    let made_for = key.mechanisms();
    [(made_for.digest, CKM_COUNTERSIGN_DIGEST), (made_for.ecdsa, CKM_ECDSA)]
        .into_iter()
        .filter(|(is_allowed, _)| *is_allowed)
        .flat_map(|(_, mechanism)| ulong(mechanism))
        .collect()
}
