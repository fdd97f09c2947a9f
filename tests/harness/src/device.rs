//! A hardware wallet of one user, which signs a line as a message.

use bitcoin::secp256k1::{All, Message, Secp256k1, SecretKey};
use bitcoin::sign_message::signed_msg_hash;
use bitcoin::{Address, CompressedPublicKey, KnownHrp};

/// A device with one key.
pub struct Device {
    key: SecretKey,
    secp: Secp256k1<All>,
}

impl Device {
    /// The device of this number.
    pub fn new(number: u8) -> Device {
        Device { key: SecretKey::from_slice(&[number; 32]).expect("a key"), secp: Secp256k1::new() }
    }

    /// Its address on regtest.
    pub fn address(&self) -> String {
        let public = CompressedPublicKey(self.key.public_key(&self.secp));
        Address::p2wpkh(&public, KnownHrp::Regtest).to_string()
    }

    /// Its signature of a text, as BIP 137 says.
    pub fn sign(&self, text: &str) -> String {
        let digest = Message::from_digest(*signed_msg_hash(text).as_ref());
        let (recovery, compact) = self.secp.sign_ecdsa_recoverable(&digest, &self.key).serialize_compact();
        let header = 39 + u8::try_from(recovery.to_i32()).expect("0 to 3");
        data_encoding::BASE64.encode(&[&[header], &compact[..]].concat())
    }
}
