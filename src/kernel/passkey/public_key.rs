//! The public keys of passkeys: ES256 (ECDSA on P-256 with SHA-256) and EdDSA (Ed25519), in the forms in which authenticators and browsers
//! write them.
//!
//! A key has one form here. Its SubjectPublicKeyInfo (RFC 5480, RFC 8410) is a fixed prefix and the key, and so is its COSE_Key (RFC 9053) in
//! the canonical CBOR that authenticators must write (CTAP2). Neither needs a parser: whatever is written otherwise is refused.

use core::fmt;

use p256::ecdsa::signature::Verifier as _;

use super::PasskeyError;

/// SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING } of an uncompressed point, up to the point's coordinates.
const SPKI_P256: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04";
/// SEQUENCE { SEQUENCE { id-Ed25519 }, BIT STRING }, up to the key.
const SPKI_ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// The public key of a passkey. Nothing else is its algorithm: a number beside it could only contradict it.
#[derive(Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// ES256.
    Es256(p256::ecdsa::VerifyingKey),
    /// EdDSA with Ed25519.
    EdDsa(ed25519_dalek::VerifyingKey),
}

impl PublicKey {
    /// Reads what [`Self::to_spki`] writes, and nothing else.
    pub fn from_spki(bytes: &[u8]) -> Result<PublicKey, PasskeyError> {
        let key = if let Some(point) = bytes.strip_prefix(SPKI_P256) {
            p256(point)
        } else if let Some(key) = bytes.strip_prefix(SPKI_ED25519) {
            ed25519(key)
        } else {
            None
        };
        key.ok_or(PasskeyError::PublicKey)
    }

    /// As a SubjectPublicKeyInfo in DER.
    pub fn to_spki(&self) -> Vec<u8> {
        match self {
            PublicKey::Es256(_) => [SPKI_P256, &self.coordinates()].concat(),
            PublicKey::EdDsa(_) => [SPKI_ED25519, &self.coordinates()].concat(),
        }
    }

    /// The algorithm's number in COSE, and its name in the specification.
    pub fn algorithm(&self) -> (i32, &'static str) {
        match self {
            PublicKey::Es256(_) => (-7, "ES256"),
            PublicKey::EdDsa(_) => (-8, "EdDSA"),
        }
    }

    /// As a COSE_Key in canonical CBOR.
    pub(super) fn to_cose(&self) -> Vec<u8> {
        let coordinates = self.coordinates();
        match self {
            // { kty: EC2, alg: ES256, crv: P-256, x, y }
            PublicKey::Es256(_) => {
                let (x, y) = coordinates.split_at(32);
                [b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20", x, b"\x22\x58\x20", y].concat()
            }
            // { kty: OKP, alg: EdDSA, crv: Ed25519, x }
            PublicKey::EdDsa(_) => [b"\xa4\x01\x01\x03\x27\x20\x06\x21\x58\x20", &coordinates[..]].concat(),
        }
    }

    /// Whether the signature is by this key, over this message. One of ECDSA is in strict DER. That there is another one with the other
    /// sign of `s` changes nothing: nothing is kept or compared by its signature.
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            PublicKey::Es256(key) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            PublicKey::EdDsa(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
        }
    }

    /// x and y, or the key.
    fn coordinates(&self) -> Vec<u8> {
        match self {
            PublicKey::Es256(key) => key.to_sec1_point(false).as_bytes()[1..].to_vec(),
            PublicKey::EdDsa(key) => key.as_bytes().to_vec(),
        }
    }
}

/// A point of P-256 by its coordinates.
fn p256(coordinates: &[u8]) -> Option<PublicKey> {
    let coordinates: &[u8; 64] = coordinates.try_into().ok()?;
    let point = [&[4], &coordinates[..]].concat();
    p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).ok().map(PublicKey::Es256)
}

/// A key of Ed25519. One of small order has no secret: anybody can sign for it.
fn ed25519(bytes: &[u8]) -> Option<PublicKey> {
    let key = ed25519_dalek::VerifyingKey::from_bytes(bytes.try_into().ok()?).ok()?;
    (!key.is_weak() && key.to_bytes() == *bytes).then_some(PublicKey::EdDsa(key))
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm().1, data_encoding::HEXLOWER.encode(&self.coordinates()))
    }
}
