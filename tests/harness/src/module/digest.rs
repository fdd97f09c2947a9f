//! A chain that the module cannot read: makes keys that sign its digests, and verifies their signatures.

use bitcoin::secp256k1::ecdsa::Signature;
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1};
use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use super::raw::Raw;
use super::ulong;

/// The curve's name (SEC 2), as an object identifier in DER.
const SECP256K1: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];

/// Makes a key that signs digests by [`CKM_COUNTERSIGN_DIGEST`].
pub fn create_digest_key(raw: &Raw, so: CK_SESSION_HANDLE, label: &str, users: &[&str], policy: &str) {
    let public = [(CKA_EC_PARAMS, SECP256K1.to_vec())];
    let private = [
        (CKA_LABEL, label.as_bytes().to_vec()),
        (CKA_COUNTERSIGN_USERS, users.join("\n").into_bytes()),
        (CKA_COUNTERSIGN_POLICY, policy.as_bytes().to_vec()),
        (CKA_ALLOWED_MECHANISMS, ulong(CKM_COUNTERSIGN_DIGEST)),
    ];
    raw.generate_key_pair(so, CKM_EC_KEY_PAIR_GEN, &public, &private)
        .unwrap_or_else(|rv| panic!("C_GenerateKeyPair answered {rv:#x}"));
}

/// The public key of this label, as anybody can read it.
pub fn digest_public_key(raw: &Raw, session: CK_SESSION_HANDLE, label: &str) -> PublicKey {
    let point = raw
        .attribute(session, raw.wallet_public(session, label), CKA_EC_POINT)
        .unwrap_or_else(|rv| panic!("the point was answered by {rv:#x}"));
    PublicKey::from_slice(&point[2..]).expect("a point in an OCTET STRING")
}

/// Verifies r ‖ s as a chain would: with the public key, and with a low s only.
pub fn verify_digest(key: &PublicKey, digest: &[u8], signature: &[u8]) {
    let message = Message::from_digest_slice(digest).expect("32 bytes");
    let signature = Signature::from_compact(signature).expect("r and s");
    Secp256k1::verification_only().verify_ecdsa(&message, &signature, key).expect("it verifies");
}

/// A digest, another one each time.
pub fn fresh_digest() -> [u8; 32] {
    let mut digest = [0; 32];
    getrandom::fill(&mut digest).expect("the system gives randomness");
    digest
}
