//! Keys that sign digests, for the transactions of other chains, which this module cannot read.
//!
//! A digest does not show what it moves. So such a key is made for digests and never belongs to a wallet, its policy counts
//! signatures, and the user trusts whoever computed the digest.
//!
//! Invariants:
//! - D1. Only a key made for digests signs a digest, never a wallet's key: they have two types, and each signer takes only its own.
//! - D2. Codes, charges, spending and the limits of the period work as for a PSBT: both take one way
//!   ([`super::state::Signable`]).
//! - D3. The secret is wiped on drop and has no `Debug`.

use core::fmt;

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey, Signing};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

pub use super::act::document::DigestMechanisms;
use super::binding::Binding;
use super::key::KeyTerms;
use super::policy::{DigestPolicy, PolicyError};
use super::record::{Stored, Versioned};
use super::seal::Authority;
use super::wallet::ErasedKey;

/// Bytes of a digest.
pub const DIGEST_LEN: usize = 32;
/// Bytes of a digest's signature: r ‖ s, each of 32 bytes, big-endian.
pub const SIGNATURE_LEN: usize = 64;
const LABEL: &[u8] = b"countersign/digest/v1\0";

/// A key as it is sealed.
#[derive(Clone, Serialize, Deserialize)]
pub struct DigestKeyRecord {
    /// Its terms.
    pub terms: KeyTerms,
    /// The mechanisms that it was made for.
    pub mechanisms: DigestMechanisms,
    /// The secret key, 32 bytes.
    secret: Zeroizing<Vec<u8>>,
}

impl Stored for DigestKeyRecord {}

/// Everything about a key except its secret.
pub struct DigestKeyParts {
    /// Its terms.
    pub terms: KeyTerms,
    /// The mechanisms that it is made for.
    pub mechanisms: DigestMechanisms,
}

impl DigestKeyRecord {
    /// A key with this secret, which is fresh and random.
    pub fn new(parts: DigestKeyParts, secret: &Zeroizing<[u8; 32]>) -> DigestKeyRecord {
        let DigestKeyParts { terms, mechanisms } = parts;
        DigestKeyRecord { terms, mechanisms, secret: Zeroizing::new(secret.to_vec()) }
    }
}

/// A key ready to sign.
pub struct DigestKey {
    terms: KeyTerms,
    policy: DigestPolicy,
    mechanisms: DigestMechanisms,
    public_key: PublicKey,
    secret: ErasedKey,
    /// The store in which it is sealed. `None` if it is not sealed, or not yet: then it signs nothing.
    authority: Option<Authority>,
}

impl DigestKey {
    /// Opens `record` for inspection. The result cannot sign ([`DigestKey::of`]).
    pub fn open<C: Signing>(
        record: &DigestKeyRecord,
        secp: &Secp256k1<C>,
    ) -> Result<DigestKey, DigestKeyError> {
        let secret =
            SecretKey::from_slice(&record.secret).map(ErasedKey).map_err(|_| DigestKeyError::Secret)?;
        let policy = DigestPolicy::parse(&record.terms.policy)?;
        let (required, users) = (policy.required_approvals(), record.terms.users.len());
        if users < required {
            return Err(DigestKeyError::TooFewUsers { required, users });
        }
        Ok(DigestKey {
            terms: record.terms.clone(),
            policy,
            mechanisms: record.mechanisms,
            public_key: PublicKey::from_secret_key(secp, &secret.0),
            secret,
            authority: None,
        })
    }

    /// Opens a key that is sealed, so that it can sign.
    pub fn of<C: Signing>(
        record: &Versioned<DigestKeyRecord>,
        secp: &Secp256k1<C>,
    ) -> Result<DigestKey, DigestKeyError> {
        let key = DigestKey::open(&record.value, secp)?;
        Ok(DigestKey { authority: Some(record.authority), ..key })
    }

    /// Its terms.
    pub fn terms(&self) -> &KeyTerms {
        &self.terms
    }

    /// Its label.
    pub fn label(&self) -> &str {
        &self.terms.label
    }

    /// `CKA_ID`.
    pub fn cka_id(&self) -> &[u8] {
        &self.terms.cka_id
    }

    /// The users whose codes sign.
    pub fn users(&self) -> &[String] {
        &self.terms.users
    }

    /// Its policy.
    pub fn policy(&self) -> &DigestPolicy {
        &self.policy
    }

    /// Its policy as the original TOML document.
    pub fn policy_document(&self) -> &str {
        &self.terms.policy
    }

    /// The mechanisms that it was made for.
    pub fn mechanisms(&self) -> DigestMechanisms {
        self.mechanisms
    }

    /// Its public key.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Requests the signature of this digest.
    pub fn request(&self, digest: [u8; DIGEST_LEN]) -> RequestedDigest {
        RequestedDigest { label: self.terms.label.clone(), public_key: self.public_key, digest }
    }

    pub(crate) fn authority(&self) -> Option<Authority> {
        self.authority
    }

    pub(crate) fn secret(&self) -> &SecretKey {
        &self.secret.0
    }
}

/// A digest whose signature is requested from a key.
///
/// ```compile_fail,E0451
/// use countersign_kernel::digest_key::RequestedDigest;
/// fn forge(key: bitcoin::secp256k1::PublicKey) -> RequestedDigest {
///     RequestedDigest { label: String::new(), public_key: key, digest: [0; 32] }
/// }
/// ```
pub struct RequestedDigest {
    label: String,
    public_key: PublicKey,
    digest: [u8; DIGEST_LEN],
}

impl RequestedDigest {
    /// The digest.
    pub fn digest(&self) -> &[u8; DIGEST_LEN] {
        &self.digest
    }

    /// Label of the key.
    pub fn key_label(&self) -> &str {
        &self.label
    }

    /// The key.
    pub(crate) fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// What a code for this key and digest is bound to. It never equals a PSBT's binding, because the hashes
    /// begin differently.
    pub(crate) fn binding(&self) -> Binding {
        let hash = Sha256::new_with_prefix(LABEL);
        hash.chain_update(self.public_key.serialize()).chain_update(self.digest).finalize().into()
    }
}

/// The reason why a key that signs digests cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestKeyError {
    /// The random bytes are no secret key (a chance of 1 in 2^127).
    #[error("the random bytes are no secret key")]
    Secret,
    /// The policy is invalid.
    #[error("the policy is not valid: {0}")]
    Policy(#[from] PolicyError),
    /// The policy requires the codes of more users than the key has.
    #[error("the policy requires the approvals of {required} users, and the key has {users}")]
    TooFewUsers {
        /// Users who must approve.
        required: usize,
        /// Users of the key.
        users: usize,
    },
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestKey").field("label", &self.terms.label).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MECHANISMS: DigestMechanisms = DigestMechanisms { digest: true, ecdsa: false };

    fn record(users: &[&str], policy: &str) -> DigestKeyRecord {
        let parts = DigestKeyParts {
            terms: KeyTerms {
                label: "other chain".into(),
                cka_id: vec![1],
                users: users.iter().map(|user| (*user).into()).collect(),
                policy: policy.into(),
            },
            mechanisms: MECHANISMS,
        };
        DigestKeyRecord::new(parts, &Zeroizing::new([1; 32]))
    }

    #[test]
    fn the_binding_is_golden() {
        let key = DigestKey::open(&record(&["alice"], "unlimited = true"), &Secp256k1::new()).expect("a key");
        let golden = include_str!("../../tests/vectors/digest-binding.hex").trim();
        assert_eq!(hex::encode(key.request([7; 32]).binding()), golden);
    }

    #[test]
    fn the_binding_is_of_this_key_and_this_digest() {
        let secp = Secp256k1::new();
        let one = DigestKey::open(&record(&["alice"], "unlimited = true"), &secp).expect("a key");
        let mut other = record(&["alice"], "unlimited = true");
        other.secret = Zeroizing::new(vec![2; 32]);
        let other = DigestKey::open(&other, &secp).expect("a key");
        assert_ne!(one.request([7; 32]).binding(), one.request([8; 32]).binding());
        assert_ne!(one.request([7; 32]).binding(), other.request([7; 32]).binding());
    }

    #[test]
    fn a_key_has_as_many_users_as_its_policy_requires() {
        let secp = Secp256k1::new();
        let policy = "unlimited = true\nrequired_approvals = 2";
        let refused = DigestKey::open(&record(&["alice"], policy), &secp).map(drop);
        assert_eq!(refused, Err(DigestKeyError::TooFewUsers { required: 2, users: 1 }));
        assert!(DigestKey::open(&record(&["alice", "bob"], policy), &secp).is_ok());
    }

    #[test]
    fn a_secret_that_is_no_key_is_refused() {
        let mut zero = record(&["alice"], "unlimited = true");
        zero.secret = Zeroizing::new(vec![0; 32]);
        assert_eq!(DigestKey::open(&zero, &Secp256k1::new()).map(drop), Err(DigestKeyError::Secret));
    }

    #[test]
    fn a_key_is_written_in_the_layout_of_the_first_format() {
        let terms = ("other chain", vec![1_u8], ["alice"].as_slice(), "unlimited = true");
        let written = postcard::to_allocvec(&(terms, (true, false), vec![1_u8; 32])).expect("it is written");
        assert_eq!(record(&["alice"], "unlimited = true").encode()[..], [&[1][..], &written].concat());
    }
}
