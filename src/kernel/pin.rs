//! The token's own PINs: Argon2id (RFC 9106). [`super::state`] counts the wrong tries.

use std::sync::{Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The shortest PIN, in bytes.
pub const MIN_LEN: usize = 4;
/// The longest PIN, in bytes.
pub const MAX_LEN: usize = 255;

/// Argon2id with 19 MiB, 2 passes, 1 lane: OWASP's second recommended setting.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;

/// The name of a PIN. The next one that is set has another name, which reveals nothing about the PIN.
pub type PinName = [u8; 8];

/// The salt of a PIN that nobody knows: no salt of a PIN can be expected to be zero, and a PIN with this one would not match.
const NOBODYS: [u8; 16] = [0; 16];

const LABEL_NAME: &[u8] = b"countersign/pin-name/v1\0";
const LABEL_HEIR: &[u8] = b"countersign/so-pin-heir/v1\0";

/// Bytes of the shortest secret that can become the security officer's PIN after a loss. Its digest is public, so it must be too long to
/// be guessed: 32 characters of base 32 have 160 bits.
pub const MIN_HEIR_LEN: usize = 32;

/// Who may set the security officer's PIN after it was declared lost: whoever has the secret of this digest. It is SHA-256 of a label, the
/// token's serial number and the secret. It is not stretched, because the secret is random and long, and nothing has to be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heir(pub [u8; 32]);

impl Heir {
    /// The holder of this secret, at the token with this serial number; none if the secret is too short or too long.
    pub fn of(serial: &[u8; 8], secret: &[u8]) -> Option<Heir> {
        (MIN_HEIR_LEN..=MAX_LEN).contains(&secret.len()).then(|| {
            let hash = Sha256::new_with_prefix(LABEL_HEIR).chain_update(serial).chain_update(secret);
            Heir(hash.finalize().into())
        })
    }
}

/// The role of a PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// The security officer.
    So,
    /// The user of PKCS#11: the backend.
    User,
}

/// A PIN as it is stored: salt and tag.
#[derive(Clone, Serialize, Deserialize)]
pub struct PinRecord {
    salt: [u8; 16],
    tag: [u8; 32],
}

impl PinRecord {
    /// The record for a new PIN, or `None` if its length is out of range.
    pub fn new(pin: &[u8], salt: [u8; 16]) -> Option<PinRecord> {
        has_a_length(pin).then(|| PinRecord { salt, tag: *stretch(pin, &salt) })
    }

    /// The record of a PIN that nobody knows. In the place of the tag it keeps who may set the next one.
    pub(crate) fn of_nobody(heir: Heir) -> PinRecord {
        PinRecord { salt: NOBODYS, tag: heir.0 }
    }

    /// Whether it is the record of a PIN that nobody knows.
    pub(crate) fn is_of_nobody(&self) -> bool {
        self.salt == NOBODYS
    }

    /// Whether it is the record of a PIN that nobody knows, and this secret may set the next one.
    pub(crate) fn is_inherited_by(&self, serial: &[u8; 8], secret: &[u8]) -> bool {
        self.is_of_nobody()
            && Heir::of(serial, secret).is_some_and(|heir| bool::from(heir.0.ct_eq(&self.tag)))
    }

    /// Its name: SHA-256 of the salt, which is random and serves one PIN, cut to 64 bits. A PIN that nobody knows has no salt, and is
    /// named by what is public about it.
    pub(crate) fn name(&self) -> PinName {
        let hash = Sha256::new_with_prefix(LABEL_NAME).chain_update(self.salt);
        let hash = if self.is_of_nobody() { hash.chain_update(self.tag) } else { hash }.finalize();
        core::array::from_fn(|index| hash[index])
    }

    /// Compares in constant time. The try must have been charged before.
    pub(crate) fn matches(&self, pin: &[u8]) -> bool {
        let is_right: bool = stretch(pin, &self.salt).ct_eq(&self.tag).into();
        is_right && !self.is_of_nobody()
    }

    /// Whether this is the record of the same PIN, and not of one that was set later.
    pub(crate) fn is_of_same_pin(&self, other: &PinRecord) -> bool {
        self.salt == other.salt && bool::from(self.tag.ct_eq(&other.tag))
    }
}

/// Whether a PIN may have this length.
pub fn has_a_length(pin: &[u8]) -> bool {
    (MIN_LEN..=MAX_LEN).contains(&pin.len())
}

/// The wiped memory of the last stretching, for the next one. If it were freed each time, the next allocation
/// could be elsewhere in the heap of the application that has loaded this library, and stay in use as long as
/// anything behind it does.
static SPARE: Mutex<Vec<Block>> = Mutex::new(Vec::new());

fn stretch(pin: &[u8], salt: &[u8; 16]) -> Zeroizing<[u8; 32]> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, Some(32)).expect("the parameters are in Argon2's range");
    let spare = || SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut memory = core::mem::take(&mut *spare());
    memory.resize(params.block_count(), Block::new());
    let mut tag = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(pin, salt, &mut tag[..], &mut memory)
        .expect(
            "salt and tag lengths are in Argon2's range, and the memory is as long as its parameters say",
        );
    memory.fill(Block::new());
    // If two ran at once, the memory of the one that ends last is kept.
    *spare() = memory;
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_matches_itself_only() {
        let record = PinRecord::new(b"correct horse", [1; 16]).expect("long enough");
        assert!(record.matches(b"correct horse"));
        assert!(!record.matches(b"correct hors"));
        assert!(!record.matches(b""));
    }

    #[test]
    fn a_pin_is_argon2id_as_configured() {
        // Made with the reference implementation (argon2-cffi). The other golden values were made in Python,
        // too.
        let record = PinRecord::new(b"password", *b"somesaltsomesalt").expect("long enough");
        assert_eq!(hex::encode(record.tag), include_str!("../../tests/vectors/argon2id-pin.hex").trim());
    }

    #[test]
    fn a_lost_pin_matches_nothing_and_only_its_secret_sets_the_next_one() {
        let (serial, secret) = ([3; 8], b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
        let heir = Heir::of(&serial, secret).expect("long enough");
        assert_eq!(hex::encode(heir.0), include_str!("../../tests/vectors/so-pin-heir.hex").trim());
        let lost = PinRecord::of_nobody(heir);
        assert!(lost.is_of_nobody() && lost.is_inherited_by(&serial, secret));
        assert!(!lost.matches(secret) && !lost.matches(&heir.0) && !lost.matches(b""));
        assert!(!lost.is_inherited_by(&[4; 8], secret), "of another token");
        assert!(!lost.is_inherited_by(&serial, &secret[1..]));
        assert!(!lost.is_inherited_by(&serial, &heir.0), "the digest is no secret");
        let other = PinRecord::of_nobody(Heir::of(&serial, &[b'x'; 32]).expect("long enough"));
        assert_ne!(lost.name(), other.name());
        let pin = PinRecord::new(secret, [1; 16]).expect("a PIN");
        assert!(!pin.is_of_nobody() && !pin.is_inherited_by(&serial, secret));
        assert!(Heir::of(&serial, &secret[1..]).is_none() && Heir::of(&serial, &[b'x'; 256]).is_none());
    }

    #[test]
    fn the_length_is_bounded() {
        assert!(PinRecord::new(b"123", [0; 16]).is_none());
        assert!(PinRecord::new(&[b'1'; 256], [0; 16]).is_none());
    }
}
