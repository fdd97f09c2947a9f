//! The officers: the pinned public keys, how many of them must have signed, and who has signed.
//!
//! The plugin pins officers in its configuration, a store pins them in its council ([`Council`]). Keys and signatures
//! have minisign's format, so nobody needs our software to sign or to verify.
//!
//! Invariants:
//! - O1. An officer is a public key. Key ids, comments and the order of signatures decide nothing, and no key occurs
//!   twice.
//! - O2. A signature counts only if it is of exactly these bytes, hashed (BLAKE2b). The older form without a hash is
//!   refused.
//! - O3. A key for which anybody can sign without its secret is refused.

mod council;
mod signature;

use core::fmt;

use data_encoding::{BASE64, HEXLOWER, HEXUPPER};
use minisign_verify::PublicKey;

pub use council::{
    Council, CouncilDigest, CouncilError, Emergency, MAX_DELAY_HOURS, MAX_FAILURES_PER_HOUR,
    MIN_FAILURES_PER_HOUR, NotACouncil, Settings,
};
pub use signature::{MAX_SIGNATURE_LEN, SignatureError, Signed};

/// The greatest number of pinned keys.
pub const MAX_OFFICERS: usize = 16;
/// The parts of a public key in minisign's format: algorithm, key id, Ed25519 public key (RFC 8032).
const ALGORITHM: &[u8; 2] = b"Ed";
const KEY_ID_LEN: usize = 8;
const PUBLIC_KEY_LEN: usize = 32;
/// The y of each point of small order, little-endian, and two other encodings that decode to one. (RFC 8032 section
/// 5.1.3 refuses these two, the last entries; not every verifier does.) The top bit is the sign of x.
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// The pinned keys, all different, and a threshold that they can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Officers {
    keys: Vec<OfficerKey>,
    threshold: usize,
}

/// One officer's public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfficerKey {
    line: String,
    id: KeyId,
    public_key: [u8; PUBLIC_KEY_LEN],
    verifier: PublicKey,
}

/// The number by which minisign finds a key. It is random and not authenticated, so it names keys and decides
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyId([u8; KEY_ID_LEN]);

impl Officers {
    /// The officers of `lines`, of whom `threshold` must have signed.
    pub fn parse<S: AsRef<str>>(lines: &[S], threshold: usize) -> Result<Officers, OfficersError> {
        if lines.is_empty() || lines.len() > MAX_OFFICERS {
            return Err(OfficersError::Number(lines.len()));
        }
        let mut keys: Vec<OfficerKey> = Vec::with_capacity(lines.len());
        for (at, line) in lines.iter().enumerate() {
            let entry = at + 1;
            let key = OfficerKey::parse(line.as_ref()).ok_or(OfficersError::Key { entry })?;
            // Compares the key itself: the same key under two key ids would otherwise count twice.
            if let Some(first) = keys.iter().position(|other| other.public_key == key.public_key) {
                return Err(OfficersError::Twice { entry, first: first + 1 });
            }
            keys.push(key);
        }
        if threshold == 0 || threshold > keys.len() {
            return Err(OfficersError::Threshold { officers: keys.len() });
        }
        Ok(Officers { keys, threshold })
    }

    /// The keys, in the order in which they were pinned.
    pub fn keys(&self) -> &[OfficerKey] {
        &self.keys
    }

    /// How many of them must have signed.
    pub fn threshold(&self) -> usize {
        self.threshold
    }
}

impl OfficerKey {
    /// Reads the base64 line of a public key: the second one of the file that `minisign -G` writes. A point of small
    /// order is refused: it has no secret, and anybody can make signatures that verify under it.
    pub fn parse(line: &str) -> Option<OfficerKey> {
        let bytes = BASE64.decode(line.as_bytes()).ok()?;
        let rest = bytes.strip_prefix(ALGORITHM)?;
        let (id, public_key) = rest.split_first_chunk::<KEY_ID_LEN>()?;
        let public_key = <[u8; PUBLIC_KEY_LEN]>::try_from(public_key).ok()?;
        if is_of_small_order(&public_key) {
            return None;
        }
        Some(OfficerKey {
            line: line.to_owned(),
            id: KeyId(*id),
            public_key,
            verifier: PublicKey::from_base64(line).ok()?,
        })
    }

    /// The number by which minisign finds the key.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The base64 line.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The key itself.
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    /// Whether this is the officer's signature of `bytes`, in minisign's format.
    pub fn has_signed(&self, bytes: &[u8], signature: &str) -> bool {
        let alone = Officers { keys: vec![self.clone()], threshold: 1 };
        alone.verify(bytes, signature).is_ok()
    }
}

impl KeyId {
    /// The key id in the base64 line of a signature, after the algorithm.
    fn of_signature(line: &str) -> Option<KeyId> {
        BASE64.decode(line.as_bytes()).ok()?.get(2..)?.first_chunk().copied().map(KeyId)
    }
}

fn is_of_small_order(public_key: &[u8; PUBLIC_KEY_LEN]) -> bool {
    let mut y = *public_key;
    y[PUBLIC_KEY_LEN - 1] &= 0x7f;
    SMALL_ORDER.contains(&HEXLOWER.encode(&y).as_str())
}

/// With the line, because two keys can have one key id.
impl fmt::Display for OfficerKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.id, self.line)
    }
}

/// As minisign shows it: as a little-endian number.
impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.0;
        bytes.reverse();
        formatter.write_str(&HEXUPPER.encode(&bytes))
    }
}

/// The reason why these are no officers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfficersError {
    /// None, or too many.
    #[error("there must be 1 to {MAX_OFFICERS} public keys, not {0}")]
    Number(usize),
    /// Not a public key.
    #[error(
        "entry {entry} is no public key of minisign: give the second line of the .pub file, which begins with RW"
    )]
    Key {
        /// Its place, from 1.
        entry: usize,
    },
    /// One key could sign for two officers.
    #[error("entry {entry} is the same key as entry {first}: each officer needs their own key")]
    Twice {
        /// Its place, from 1.
        entry: usize,
        /// The place of the first one.
        first: usize,
    },
    /// The officers cannot reach it, or it needs none.
    #[error("a number from 1 to {officers}, the number of officers, is needed")]
    Threshold {
        /// The number of officers.
        officers: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key in minisign's own documentation, and its id as minisign shows it.
    const LINE: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const ID: &str = "E7620F1842B4E81F";

    /// The key of `LINE` with one byte changed.
    pub(super) fn changed_line(at: usize) -> String {
        let mut bytes = BASE64.decode(LINE.as_bytes()).expect("base64");
        bytes[at] ^= 1;
        BASE64.encode(&bytes)
    }

    #[test]
    fn a_key_is_read_and_shown_as_minisign_does() {
        let key = OfficerKey::parse(LINE).expect("a key");
        assert_eq!((key.id().to_string().as_str(), key.line()), (ID, LINE));
        assert_eq!(key.to_string(), format!("{ID} ({LINE})"));
    }

    #[test]
    fn bytes_that_are_no_key_are_refused() {
        let bytes = BASE64.decode(LINE.as_bytes()).expect("base64");
        for wrong in [
            "".to_owned(),
            format!("{LINE} "),
            format!("{LINE}\n"),
            LINE[..55].to_owned(),
            changed_line(0),
            changed_line(1),
            BASE64.encode(&bytes[..41]),
            BASE64.encode(&[&bytes[..], b"x"].concat()),
        ] {
            assert!(OfficerKey::parse(&wrong).is_none(), "{wrong:?}");
            assert_eq!(
                Officers::parse(&[LINE, &wrong], 1).err(),
                Some(OfficersError::Key { entry: 2 }),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn officers_are_different_keys_and_can_reach_their_threshold() {
        let (same_key, same_id) = (changed_line(2), changed_line(20));
        assert_ne!(OfficerKey::parse(&same_key).expect("a key").id().to_string(), ID);
        for line in [LINE, &same_key] {
            assert_eq!(
                Officers::parse(&[LINE, &same_id, line], 1).err(),
                Some(OfficersError::Twice { entry: 3, first: 1 })
            );
        }
        assert!(Officers::parse(&[LINE, &same_id], 2).is_ok(), "a key id is anybody's to choose");
        for (threshold, right) in [(0, false), (1, true), (2, true), (3, false), (usize::MAX, false)] {
            let officers = Officers::parse(&[LINE, &same_id], threshold);
            assert_eq!(officers.is_ok(), right, "{threshold}");
        }
        assert_eq!(Officers::parse::<&str>(&[], 0).err(), Some(OfficersError::Number(0)));
        let many: Vec<String> = (10..10 + MAX_OFFICERS + 1).map(changed_line).collect();
        assert!(Officers::parse(&many[1..], 1).is_ok());
        assert_eq!(Officers::parse(&many, 1).err(), Some(OfficersError::Number(17)));
    }
}
