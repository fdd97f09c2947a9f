//! Sealed records: how a record is bound to its place, and how the set of all records is summed up.
//!
//! The store is not trusted. Every record is AES-256-GCM under a key of its own, derived from the store's
//! data key. The additional data has store, kind, id and version, so a record that was moved, renamed or kept
//! from an earlier version does not open. The [`SetHash`], which the backing token anchors, determines the
//! current versions.
//!
//! Invariants:
//! - S1. No two domains share a label; each has a golden-bytes test below.
//! - S2. A nonce is random and serves one record key. NIST SP 800-38D section 8.3 bounds that to 2^32
//!   versions of one record: 49 days of 1,000 signatures a second by one wallet, day and night. Nothing
//!   counts them. Beyond the bound the chance that any nonce occurred twice is 2^-33, and grows with the
//!   square. A forgery would still not fit any element of the set hash, which has another key.

use aes_gcm::aead::{Aead, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The id of one store: random, made at initialisation.
pub type StoreId = [u8; 16];

const FORMAT: u8 = 1;
const NONCE_LEN: usize = 12;
const LABEL_RECORD_KEY: &[u8] = b"countersign/record-key/v1";
const LABEL_RECORD: &[u8] = b"countersign/record/v1";
const LABEL_SET_KEY: &[u8] = b"countersign/set-hash-key/v1";
const LABEL_ANCHOR_KEY: &[u8] = b"countersign/anchor-key/v1";
const LABEL_DATA_KEY: &[u8] = b"countersign/data-key/v1";
const LABEL_AUTHORITY: &[u8] = b"countersign/authority/v1";

/// The kind of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Kind {
    /// Label and PINs of the token.
    Token = 1,
    /// A user: the OTP secret and the state of its codes.
    User = 2,
    /// A wallet: keys, users, policy.
    Wallet = 3,
    /// The state of a wallet: addresses reached, transactions signed.
    WalletState = 4,
    /// The tries charged for users who do not exist.
    Nobody = 5,
    /// One link of the audit chain.
    Link = 6,
    /// How often the store was restored, and when last.
    Epoch = 7,
    /// The readings that the wall clock is compared with.
    Clock = 8,
    /// A key that signs digests: the secret, users, policy.
    DigestKey = 9,
    /// The state of such a key.
    DigestKeyState = 10,
    /// A freeze of a wallet, a key, a user or everything. It lasts as long as the record exists.
    Freeze = 11,
    /// The officers of the store, and the settings that only they can weaken.
    Council = 12,
    /// An act that waits for officers.
    Proposal = 13,
    /// A label that a wallet or key had, and that nobody may use again.
    Retired = 14,
    /// The users who were taken off a wallet or key, and may still veto acts on it.
    FormerUsers = 15,
    /// A transaction that waits for its users' approvals.
    Pending = 16,
    /// What a user approves with besides the OTP key: devices with screens of their own, and passkeys.
    Credentials = 17,
    /// The one page that the store trusts to show its users what a passkey approves.
    RelyingParty = 18,
}

impl Kind {
    /// The kind stored as `value`, if there is one.
    pub const fn from_u8(value: u8) -> Option<Kind> {
        Some(match value {
            1 => Kind::Token,
            2 => Kind::User,
            3 => Kind::Wallet,
            4 => Kind::WalletState,
            5 => Kind::Nobody,
            6 => Kind::Link,
            7 => Kind::Epoch,
            8 => Kind::Clock,
            9 => Kind::DigestKey,
            10 => Kind::DigestKeyState,
            11 => Kind::Freeze,
            12 => Kind::Council,
            13 => Kind::Proposal,
            14 => Kind::Retired,
            15 => Kind::FormerUsers,
            16 => Kind::Pending,
            17 => Kind::Credentials,
            18 => Kind::RelyingParty,
            _ => return None,
        })
    }
}

/// The place of a record in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordKey {
    /// The kind of the record.
    pub kind: Kind,
    /// The id within its kind.
    pub id: [u8; 16],
}

impl RecordKey {
    /// The place of the only record of its kind.
    pub const fn single(kind: Kind) -> RecordKey {
        RecordKey { kind, id: [0; 16] }
    }

    /// The place of the user called `name`, which is computed and never searched for.
    pub fn user(name: &str) -> RecordKey {
        RecordKey {
            kind: Kind::User,
            id: truncated(Sha256::new_with_prefix(b"countersign/user/v1\0").chain_update(name)),
        }
    }

    /// The place of what the user called `name` approves with besides the OTP key: that of the user, of another kind.
    pub fn credentials(name: &str) -> RecordKey {
        RecordKey { kind: Kind::Credentials, id: RecordKey::user(name).id }
    }

    /// The place of the proposed act with this nonce.
    pub const fn proposal(nonce: &[u8; 16]) -> RecordKey {
        RecordKey { kind: Kind::Proposal, id: *nonce }
    }

    /// The place of the former users of the wallet or key with this id.
    pub const fn former_users(id: &[u8; 16]) -> RecordKey {
        RecordKey { kind: Kind::FormerUsers, id: *id }
    }

    /// The place of the transaction that waits under this ticket.
    pub const fn pending(ticket: &[u8; 16]) -> RecordKey {
        RecordKey { kind: Kind::Pending, id: *ticket }
    }

    /// The place where it is recorded that nobody may use `label` again.
    pub fn retired(label: &str) -> RecordKey {
        RecordKey {
            kind: Kind::Retired,
            id: truncated(Sha256::new_with_prefix(b"countersign/retired/v1\0").chain_update(label)),
        }
    }

    /// The place of link `sequence` of the audit chain.
    pub fn link(sequence: u64) -> RecordKey {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&sequence.to_be_bytes());
        RecordKey { kind: Kind::Link, id }
    }

    fn encode(&self) -> [u8; 17] {
        let mut bytes = [0; 17];
        bytes[0] = self.kind as u8;
        bytes[1..].copy_from_slice(&self.id);
        bytes
    }
}

/// The store's data key, as unwrapped by the backing token, and the keys derived from it.
pub struct DataKey {
    store: StoreId,
    /// HMAC under the data key itself, from which the sub-keys come, and under two of them that every record
    /// needs.
    sub_keys: Hmac<Sha256>,
    elements: Hmac<Sha256>,
    anchors: Hmac<Sha256>,
    authority: Authority,
}

/// Identifies the store of a piece of evidence, by its data key. It is made from the key, so nobody without
/// the key can have it, and it never leaves the kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Authority([u8; 32]);

/// Evidence: a record as opened with the key of its store. Only [`DataKey::unseal`] makes one.
///
/// ```compile_fail,E0451
/// // A record that no key opened.
/// use countersign_kernel::seal::{Kind, RecordKey, Unsealed};
/// fn forge() -> Unsealed { Unsealed { place: RecordKey::single(Kind::Token), ..panic!() } }
/// ```
pub struct Unsealed {
    place: RecordKey,
    version: u64,
    plaintext: Zeroizing<Vec<u8>>,
    authority: Authority,
    is_settled: bool,
}

impl Unsealed {
    /// The place that it was read from.
    pub fn place(&self) -> RecordKey {
        self.place
    }

    /// Its version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Its content.
    pub fn plaintext(&self) -> &[u8] {
        &self.plaintext
    }

    /// The same record, whose version is durable and anchored. Without this word of its ledger, a record counts as one
    /// that still waits.
    #[must_use]
    pub fn settled(self) -> Unsealed {
        Unsealed { is_settled: true, ..self }
    }

    /// Whether its version is durable and anchored.
    pub fn is_settled(&self) -> bool {
        self.is_settled
    }

    pub(crate) fn authority(&self) -> Authority {
        self.authority
    }
}

impl DataKey {
    /// From the unwrapped key of store `store`.
    pub fn new(store: StoreId, key: Zeroizing<[u8; 32]>) -> DataKey {
        let sub_keys = mac(&key);
        let of = |label| mac(&sub_key(sub_keys.clone(), label, &store, &[]));
        let (elements, anchors) = (of(LABEL_SET_KEY), of(LABEL_ANCHOR_KEY));
        let authority = Authority(*sub_key(sub_keys.clone(), LABEL_AUTHORITY, &store, &[]));
        DataKey { store, elements, anchors, authority, sub_keys }
    }

    /// The additional data under which the backing token wraps the data key of `store`.
    pub fn wrapping_context(store: &StoreId) -> Vec<u8> {
        [LABEL_DATA_KEY, b"\0", store].concat()
    }

    /// The store that this key belongs to.
    pub fn store(&self) -> &StoreId {
        &self.store
    }

    /// Seals `plaintext` as version `version` of the record at `place`: format ‖ nonce ‖ ciphertext ‖ tag.
    pub fn seal(&self, place: &RecordKey, version: u64, nonce: [u8; NONCE_LEN], plaintext: &[u8]) -> Vec<u8> {
        let context = self.context(place, version);
        let ciphertext = self
            .cipher(place)
            .encrypt(&Nonce::from(nonce), Payload { msg: plaintext, aad: &context })
            .expect("a record is far below the 64 GiB limit of GCM");
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + ciphertext.len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&ciphertext);
        sealed
    }

    /// Opens what [`Self::seal`] sealed at the same place and version.
    pub fn open(
        &self,
        place: &RecordKey,
        version: u64,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (format, rest) = sealed.split_first().ok_or(SealError::Truncated)?;
        if *format != FORMAT {
            return Err(SealError::Format(*format));
        }
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Truncated)?;
        let context = self.context(place, version);
        self.cipher(place)
            .decrypt(&Nonce::from(*nonce), Payload { msg: ciphertext, aad: &context })
            .map(Zeroizing::new)
            .map_err(|_| SealError::Damaged)
    }

    /// Opens a record, as evidence for a decision on it.
    pub fn unseal(&self, place: &RecordKey, version: u64, sealed: &[u8]) -> Result<Unsealed, SealError> {
        let plaintext = self.open(place, version, sealed)?;
        Ok(Unsealed { place: *place, version, plaintext, authority: self.authority, is_settled: false })
    }

    pub(crate) fn authority(&self) -> Authority {
        self.authority
    }

    /// The element of the [`SetHash`] for one sealed record.
    pub fn element(&self, place: &RecordKey, version: u64, sealed: &[u8]) -> SetHash {
        let mac = self
            .elements
            .clone()
            .chain_update(place.encode())
            .chain_update(version.to_be_bytes())
            .chain_update(Sha256::digest(sealed))
            .finalize()
            .into_bytes();
        SetHash(mac.into())
    }

    /// The MAC that binds an anchor to this store.
    pub fn anchor_mac(&self, anchor: &[u8]) -> [u8; 32] {
        self.anchors.clone().chain_update(anchor).finalize().into_bytes().into()
    }

    fn cipher(&self, place: &RecordKey) -> Aes256Gcm {
        let key = sub_key(self.sub_keys.clone(), LABEL_RECORD_KEY, &self.store, &place.encode());
        Aes256Gcm::new(&(*key).into())
    }

    fn context(&self, place: &RecordKey, version: u64) -> Vec<u8> {
        [LABEL_RECORD, b"\0", &self.store, &place.encode(), &version.to_be_bytes()].concat()
    }
}

fn mac(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// The sub-key of `label` for `context`, by HMAC under the data key.
fn sub_key(data_key: Hmac<Sha256>, label: &[u8], store: &StoreId, context: &[u8]) -> Zeroizing<[u8; 32]> {
    let mac = data_key.chain_update(label).chain_update([0]).chain_update(store).chain_update(context);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// A hash over a set of sealed records, updated by adding and removing single elements.
///
/// It is the sum modulo 2^256 of one HMAC for each element: the keyed `MSet-Add-Hash` of Clarke, Devadas, van
/// Dijk, Gassend and Suh (ASIACRYPT 2003). Its key never leaves the boundary, and the sum is stored only
/// sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetHash([u8; 32]);

impl SetHash {
    /// The set with `element` added.
    pub fn with(self, element: SetHash) -> SetHash {
        let mut carry = 0;
        let mut sum = self.0;
        for (byte, added) in sum.iter_mut().zip(element.0) {
            let total = u16::from(*byte) + u16::from(added) + carry;
            *byte = total.to_le_bytes()[0];
            carry = total >> 8;
        }
        SetHash(sum)
    }

    /// The set with `element` removed.
    pub fn without(self, element: SetHash) -> SetHash {
        // -x = !x + 1
        let mut one = [0; 32];
        one[0] = 1;
        self.with(SetHash(element.0.map(|byte| !byte)).with(SetHash(one)))
    }

    /// The sum, little-endian.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The sum given as 32 little-endian bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> SetHash {
        SetHash(bytes)
    }
}

/// The reason why a record does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Shorter than its frame.
    #[error("truncated")]
    Truncated,
    /// Sealed by a newer version.
    #[error("of unknown format {0}")]
    Format(u8),
    /// Changed, moved, renamed or of another version.
    #[error("damaged or moved")]
    Damaged,
}

/// The first 16 bytes of a SHA-256.
pub(crate) fn truncated(hash: Sha256) -> [u8; 16] {
    let digest: [u8; 32] = hash.finalize().into();
    *digest.first_chunk().expect("32 bytes hold 16")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> DataKey {
        DataKey::new([7; 16], Zeroizing::new([9; 32]))
    }

    const PLACE: RecordKey = RecordKey { kind: Kind::User, id: [3; 16] };

    #[test]
    fn additional_data_is_golden() {
        assert_eq!(
            hex::encode(key().context(&PLACE, 5)),
            "636f756e7465727369676e2f7265636f72642f763100\
             07070707070707070707070707070707\
             0203030303030303030303030303030303\
             0000000000000005"
        );
        assert_eq!(
            hex::encode(DataKey::wrapping_context(&[7; 16])),
            "636f756e7465727369676e2f646174612d6b65792f763100\
             07070707070707070707070707070707"
        );
    }

    #[test]
    fn places_that_follow_from_names_are_golden() {
        let id = |place: RecordKey| (place.kind, hex::encode(place.id));
        assert_eq!(
            id(RecordKey::retired("treasury")),
            (Kind::Retired, "8c8746fe169e419ecdd33874e70a17ea".to_owned())
        );
        assert_eq!(id(RecordKey::proposal(&[0x5f; 16])), (Kind::Proposal, "5f".repeat(16)));
        assert_eq!(id(RecordKey::pending(&[0x47; 16])), (Kind::Pending, "47".repeat(16)));
        assert_ne!(RecordKey::retired("alice").id, RecordKey::user("alice").id);
    }

    #[test]
    fn derived_values_are_golden() {
        assert_eq!(
            hex::encode(key().seal(&PLACE, 5, [1; 12], b"record")),
            include_str!("../../tests/vectors/seal-record.hex").trim()
        );
        assert_eq!(
            hex::encode(key().element(&PLACE, 5, b"sealed").as_bytes()),
            include_str!("../../tests/vectors/seal-element.hex").trim()
        );
        assert_eq!(
            hex::encode(key().anchor_mac(b"anchor")),
            include_str!("../../tests/vectors/seal-anchor-mac.hex").trim()
        );
    }

    #[test]
    fn a_record_opens_only_at_its_place_and_version() {
        let sealed = key().seal(&PLACE, 5, [1; 12], b"record");
        assert_eq!(&key().open(&PLACE, 5, &sealed).expect("opens")[..], b"record");
        let elsewhere = RecordKey { id: [4; 16], ..PLACE };
        let other_kind = RecordKey { kind: Kind::Wallet, ..PLACE };
        let other_store = DataKey::new([8; 16], Zeroizing::new([9; 32]));
        assert_eq!(key().open(&elsewhere, 5, &sealed).err(), Some(SealError::Damaged));
        assert_eq!(key().open(&other_kind, 5, &sealed).err(), Some(SealError::Damaged));
        assert_eq!(key().open(&PLACE, 4, &sealed).err(), Some(SealError::Damaged));
        assert_eq!(other_store.open(&PLACE, 5, &sealed).err(), Some(SealError::Damaged));
    }

    #[test]
    fn state_bitflip_every_bit_of_a_record_is_noticed() {
        let sealed = key().seal(&PLACE, 5, [1; 12], b"record");
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(key().open(&PLACE, 5, &flipped).is_err(), "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert!(key().open(&PLACE, 5, &sealed[..len]).is_err(), "length {len}");
        }
    }

    proptest! {
        #[test]
        fn a_set_hash_depends_on_the_set_alone(elements in prop::collection::vec(any::<[u8; 32]>(), 1..20)) {
            let forwards = elements.iter().fold(SetHash::default(), |set, &e| set.with(SetHash(e)));
            let backwards = elements.iter().rev().fold(SetHash::default(), |set, &e| set.with(SetHash(e)));
            prop_assert_eq!(forwards, backwards);
            let emptied = elements.iter().fold(forwards, |set, &e| set.without(SetHash(e)));
            prop_assert_eq!(emptied, SetHash::default());
        }
    }
}
