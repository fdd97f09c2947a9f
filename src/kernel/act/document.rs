//! The documents that acts of administration put in force.

use core::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::write_hex;
use crate::clock::Believed;
use crate::freeze::Freeze;
use crate::network::Network;
use crate::otp::{OtpHash, OtpKeyId};
use crate::pin::PinName;

const LABEL: &[u8] = b"countersign/document/v1\0";

/// Everything that is in force about one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Document {
    /// The token.
    Token(TokenDocument),
    /// A user.
    User(UserDocument),
    /// A wallet.
    Wallet(Box<WalletDocument>),
    /// A key that signs digests.
    Key(KeyDocument),
    /// The clock.
    Clock(ClockDocument),
    /// That something is frozen.
    Freeze(Freeze),
    /// The officers of the store, how many of them must sign, the delays, and the settings that only they can weaken: the council's
    /// text.
    Council(String),
    /// A user whose codes have a counter.
    CountingUser(CountingUserDocument),
    /// What a user approves with besides the OTP key.
    Credentials(CredentialsDocument),
}

/// SHA-256 of a label and a document in its encoding (postcard).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentDigest(pub [u8; 32]);

impl fmt::Display for DocumentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl Document {
    /// The digest of the document. Another document has another digest.
    pub fn digest(&self) -> DocumentDigest {
        let bytes = postcard::to_allocvec(self).expect("a document holds nothing that postcard cannot write");
        DocumentDigest(Sha256::new_with_prefix(LABEL).chain_update(bytes).finalize().into())
    }
}

/// The token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenDocument {
    /// Its label.
    pub label: String,
    /// Distinguishes it from other tokens.
    pub serial: [u8; 8],
    /// The name of the security officer's PIN. Another PIN has another name.
    pub so_pin: PinName,
    /// The name of the backends' PIN, from when it is set until it is declared lost.
    pub user_pin: Option<PinName>,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserDocument {
    /// The name.
    pub name: String,
    /// The issuer that the authenticator shows.
    pub issuer: String,
    /// The name of the OTP key. The key of the next enrolment has another one.
    pub key_id: OtpKeyId,
    /// The hash of HMAC.
    pub hash: OtpHash,
    /// Digits of a code.
    pub digits: u8,
    /// Seconds of a time step.
    pub period: u64,
    /// Whether the user's codes sign.
    pub confirmed: bool,
}

/// A user whose codes have a counter (RFC 4226).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountingUserDocument {
    /// The name.
    pub name: String,
    /// The issuer that the authenticator shows.
    pub issuer: String,
    /// The name of the OTP key. The key of the next enrolment has another one.
    pub key_id: OtpKeyId,
    /// Digits of a code.
    pub digits: u8,
    /// Whether the user's codes sign.
    pub confirmed: bool,
}

/// What a user approves with besides the OTP key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialsDocument {
    /// The user's name.
    pub user: String,
    /// The name of the user's OTP key. Another enrolment does not have these.
    pub key_id: OtpKeyId,
    /// All of them.
    pub credentials: Vec<CredentialDocument>,
}

/// What a user approves with. A new kind goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CredentialDocument {
    /// A device with a screen of its own.
    Device {
        /// Its name among the user's.
        name: String,
        /// The network.
        network: Network,
        /// The address whose key signs.
        address: String,
        /// When it was registered, Unix time in seconds.
        since: u64,
    },
    /// A passkey. Its counter is no document's: it changes with every use.
    Passkey {
        /// Its name among the user's.
        name: String,
        /// The credential id.
        id: Vec<u8>,
        /// The key: a SubjectPublicKeyInfo in DER.
        public_key: Vec<u8>,
        /// Whether it may be kept on several devices.
        is_shared: bool,
        /// When it was registered, Unix time in seconds.
        since: u64,
    },
}

/// A wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalletDocument {
    /// Its label.
    pub label: String,
    /// `CKA_ID`.
    pub cka_id: Vec<u8>,
    /// Its network.
    pub network: Network,
    /// The users whose codes sign.
    pub users: Vec<String>,
    /// The policy, a TOML document.
    pub policy: String,
    /// The master fingerprint of our key.
    pub fingerprint: [u8; 4],
    /// The account's path, for example `m/84'/0'/0'`.
    pub path: String,
    /// The account's extended public key.
    pub xpub: String,
    /// The registered descriptor with its checksum, whose SHA-256 is the wallet id. None while the wallet
    /// waits for cosigners' keys.
    pub descriptor: Option<String>,
}

/// A key that signs digests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyDocument {
    /// Its label.
    pub label: String,
    /// `CKA_ID`.
    pub cka_id: Vec<u8>,
    /// The users whose codes sign.
    pub users: Vec<String>,
    /// The policy, a TOML document.
    pub policy: String,
    /// The mechanisms that it was made for.
    pub mechanisms: DigestMechanisms,
    /// Its public key, compressed: 33 bytes.
    pub public_key: Vec<u8>,
}

/// The mechanisms that a key was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestMechanisms {
    /// `CKM_COUNTERSIGN_DIGEST`.
    pub digest: bool,
    /// `CKM_ECDSA`.
    pub ecdsa: bool,
}

/// The clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockDocument {
    /// The trusted time, Unix seconds.
    pub wall: u64,
    /// The seconds since the machine was booted, at that time.
    pub boot: u64,
}

impl From<Believed> for Document {
    fn from(believed: Believed) -> Document {
        Document::Clock(ClockDocument { wall: believed.wall, boot: believed.boot })
    }
}
