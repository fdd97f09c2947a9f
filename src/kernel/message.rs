//! Signatures over messages, as hardware wallets make them: by the one key of an address, in the format of BIP 137 or the simple one of
//! BIP 322.
//!
//! | address | BIP 137, header | BIP 322 |
//! |---|---|---|
//! | P2PKH | 27 to 30 (uncompressed key), 31 to 34 | not defined |
//! | P2SH-P2WPKH | 35 to 38, and 31 to 34 as many wallets write it | yes |
//! | P2WPKH | 39 to 42, and 31 to 34 as many wallets write it | yes |
//! | P2TR | not defined | by the key path |
//!
//! The header only says how to read the signature. What counts is the key, and the key must be the one that the address names.
//!
//! Invariants:
//! - G1. Only an address that one key can sign for verifies anything. A P2SH address does not show what is behind it, so one with another
//!   script can be named, and no signature is right for it.
//! - G2. The key that verifies a signature is hashed here and compared with the address. Whoever signs may choose the key that comes with a
//!   signature, so it proves nothing by itself.
//! - G3. A signature is short ([`MAX_SIGNATURE_LEN`]) and in canonical base64. Its length is checked before anything is decoded, and
//!   nothing may follow what is decoded.
//!
//! A signature can be written in more than one way (another header, `s` negated). That is no matter here: nothing is counted or spent
//! by the bytes of a signature.

use core::fmt;

use bitcoin::absolute::LockTime;
use bitcoin::address::{AddressType, NetworkUnchecked};
use bitcoin::consensus::deserialize;
use bitcoin::hashes::{Hash as _, HashEngine as _, sha256};
use bitcoin::opcodes::OP_0;
use bitcoin::opcodes::all::OP_RETURN;
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1, Verification, XOnlyPublicKey};
use bitcoin::sighash::{Prevouts, SighashCache};
use bitcoin::sign_message::signed_msg_hash;
use bitcoin::transaction::Version;
use bitcoin::{
    Address, Amount, EcdsaSighashType, OutPoint, ScriptBuf, Sequence, TapSighashType, Transaction, TxIn,
    TxOut, Witness, ecdsa, taproot,
};
use data_encoding::BASE64;

use crate::network::Network;

/// The most characters of an address.
pub const MAX_ADDRESS_LEN: usize = 90;
/// The most characters of a signature: the longest one of BIP 322 for P2WPKH has 148, and a prefix may come before it.
pub const MAX_SIGNATURE_LEN: usize = 160;

/// Bytes of a signature of BIP 137: the header, `r` and `s`.
const COMPACT_LEN: usize = 65;
/// Before a simple signature, since a later version of BIP 322.
const SIMPLE_PREFIX: &str = "smp";
const TAG: &[u8] = b"BIP0322-signed-message";

/// An address that one key can sign messages for, on one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningAddress {
    network: Network,
    address: Address,
    form: Form,
}

/// How the key is behind the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Pkh,
    ShWpkh,
    Wpkh,
    Tr,
}

impl SigningAddress {
    /// Reads an address of this network.
    pub fn parse(text: &str, network: Network) -> Result<SigningAddress, AddressError> {
        if text.len() > MAX_ADDRESS_LEN {
            return Err(AddressError::Form);
        }
        let address: Address<NetworkUnchecked> = text.parse().map_err(|_| AddressError::Form)?;
        let address =
            address.require_network(network.addresses()).map_err(|_| AddressError::Network(network))?;
        let form = match address.address_type() {
            Some(AddressType::P2pkh) => Form::Pkh,
            Some(AddressType::P2sh) => Form::ShWpkh,
            Some(AddressType::P2wpkh) => Form::Wpkh,
            Some(AddressType::P2tr) if output_key(&address.script_pubkey()).is_some() => Form::Tr,
            _ => return Err(AddressError::Kind),
        };
        Ok(SigningAddress { network, address, form })
    }

    /// Its network.
    pub fn network(&self) -> Network {
        self.network
    }

    /// Whether one key signs for both, as far as the addresses show: the same address, or the one of the same key in another form.
    pub fn shares_a_key_with(&self, other: &SigningAddress) -> bool {
        self.address.script_pubkey() == other.address.script_pubkey()
            || matches!((self.nested(), other.nested()), (Some(mine), Some(theirs)) if mine == theirs)
    }

    /// The P2SH-P2WPKH script of its key, if that follows from the address.
    fn nested(&self) -> Option<ScriptBuf> {
        let script = self.address.script_pubkey();
        let of_hash = |hash: &[u8]| {
            let wpkh = [&[0, 20], hash].concat();
            ScriptBuf::new_p2sh(&ScriptBuf::from(wpkh).script_hash())
        };
        match self.form {
            Form::Pkh => Some(of_hash(&script.as_bytes()[3..23])),
            Form::Wpkh => Some(of_hash(&script.as_bytes()[2..])),
            Form::ShWpkh => Some(script),
            Form::Tr => None,
        }
    }

    /// Verifies that its key signed this message.
    pub fn verify<C: Verification>(
        &self,
        message: &str,
        signature: &str,
        secp: &Secp256k1<C>,
    ) -> Result<(), SignatureError> {
        if signature.len() > MAX_SIGNATURE_LEN {
            return Err(SignatureError::Form);
        }
        let encoded = signature.strip_prefix(SIMPLE_PREFIX);
        let decode = |text: &str| BASE64.decode(text.as_bytes()).map_err(|_| SignatureError::Form);
        match encoded {
            Some(encoded) => self.verify_witness(message, &decode(encoded)?, secp),
            None => {
                let bytes = decode(signature)?;
                match <&[u8; COMPACT_LEN]>::try_from(&*bytes) {
                    Ok(compact) => self.verify_compact(message, compact, secp),
                    Err(_) => self.verify_witness(message, &bytes, secp),
                }
            }
        }
    }

    /// BIP 137.
    fn verify_compact<C: Verification>(
        &self,
        message: &str,
        bytes: &[u8; COMPACT_LEN],
        secp: &Secp256k1<C>,
    ) -> Result<(), SignatureError> {
        let header = bytes[0];
        let is_compressed = match (self.form, header) {
            (Form::Pkh, 27..=30) => false,
            (Form::Pkh | Form::ShWpkh | Form::Wpkh, 31..=34) => true,
            (Form::ShWpkh, 35..=38) | (Form::Wpkh, 39..=42) => true,
            (Form::Pkh | Form::ShWpkh | Form::Wpkh | Form::Tr, _) => return Err(SignatureError::Kind),
        };
        let recovery =
            RecoveryId::from_i32(i32::from((header - 27) % 4)).map_err(|_| SignatureError::Form)?;
        let signature =
            RecoverableSignature::from_compact(&bytes[1..], recovery).map_err(|_| SignatureError::Wrong)?;
        let digest = Message::from_digest(signed_msg_hash(message).to_byte_array());
        let key = secp.recover_ecdsa(&digest, &signature).map_err(|_| SignatureError::Wrong)?;
        if self.is_of(&key, is_compressed) { Ok(()) } else { Err(SignatureError::Wrong) }
    }

    /// BIP 322, simple: `bytes` are the witness that spends an output which pays the address.
    fn verify_witness<C: Verification>(
        &self,
        message: &str,
        bytes: &[u8],
        secp: &Secp256k1<C>,
    ) -> Result<(), SignatureError> {
        // Before it is decoded: no other number of items is right, and each item takes memory.
        let items = match self.form {
            Form::Pkh => return Err(SignatureError::Kind),
            Form::ShWpkh | Form::Wpkh => 2,
            Form::Tr => 1,
        };
        if bytes.first() != Some(&items) {
            return Err(SignatureError::Form);
        }
        let witness: Witness = deserialize(bytes).map_err(|_| SignatureError::Form)?;
        let spent = TxOut { value: Amount::ZERO, script_pubkey: self.address.script_pubkey() };
        let to_sign = to_sign(message, spent.clone());
        let mut sighash = SighashCache::new(&to_sign);
        match (witness.nth(0), witness.nth(1)) {
            (Some(signature), Some(key)) => {
                let signature = ecdsa::Signature::from_slice(signature).map_err(|_| SignatureError::Form)?;
                let is_usual = signature.sighash_type == EcdsaSighashType::All && key.len() == 33;
                let key = PublicKey::from_slice(key).map_err(|_| SignatureError::Form)?;
                if !is_usual {
                    return Err(SignatureError::Form);
                }
                if !self.is_of(&key, true) {
                    return Err(SignatureError::Wrong);
                }
                let digest = sighash
                    .p2wpkh_signature_hash(0, &wpkh(&key), spent.value, EcdsaSighashType::All)
                    .map_err(|_| SignatureError::Form)?;
                let digest = Message::from_digest(digest.to_byte_array());
                secp.verify_ecdsa(&digest, &signature.signature, &key).map_err(|_| SignatureError::Wrong)
            }
            (Some(signature), None) => {
                let length = signature.len();
                let signature =
                    taproot::Signature::from_slice(signature).map_err(|_| SignatureError::Form)?;
                let is_usual = match signature.sighash_type {
                    TapSighashType::Default => length == 64,
                    TapSighashType::All => length == 65,
                    _ => false,
                };
                let key =
                    output_key(&spent.script_pubkey).filter(|_| is_usual).ok_or(SignatureError::Form)?;
                let digest = sighash
                    .taproot_key_spend_signature_hash(0, &Prevouts::All(&[spent]), signature.sighash_type)
                    .map_err(|_| SignatureError::Form)?;
                let digest = Message::from_digest(digest.to_byte_array());
                secp.verify_schnorr(&signature.signature, &digest, &key).map_err(|_| SignatureError::Wrong)
            }
            (None, _) => Err(SignatureError::Form),
        }
    }

    /// Whether the address is that of this key.
    fn is_of(&self, key: &PublicKey, is_compressed: bool) -> bool {
        let key_hash = if is_compressed {
            bitcoin::PublicKey::new(*key)
        } else {
            bitcoin::PublicKey::new_uncompressed(*key)
        };
        let script = match self.form {
            Form::Pkh => ScriptBuf::new_p2pkh(&key_hash.pubkey_hash()),
            Form::Wpkh => wpkh(key),
            Form::ShWpkh => ScriptBuf::new_p2sh(&wpkh(key).script_hash()),
            Form::Tr => return false,
        };
        self.address.script_pubkey() == script
    }
}

/// As the network writes it.
impl fmt::Display for SigningAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

fn wpkh(key: &PublicKey) -> ScriptBuf {
    let hash = bitcoin::CompressedPublicKey(*key).wpubkey_hash();
    ScriptBuf::new_p2wpkh(&hash)
}

/// The output key of a P2TR script, if it is a point of the curve.
fn output_key(script: &ScriptBuf) -> Option<XOnlyPublicKey> {
    XOnlyPublicKey::from_slice(script.as_bytes().get(2..)?).ok()
}

/// The transaction that is signed in place of a message, as BIP 322 puts it together. It spends an output that no block can have.
fn to_sign(message: &str, challenge: TxOut) -> Transaction {
    let transaction = |input, output| Transaction {
        version: Version(0),
        lock_time: LockTime::ZERO,
        input: vec![input],
        output: vec![output],
    };
    let spends = |previous_output, script_sig| TxIn {
        previous_output,
        script_sig,
        sequence: Sequence::ZERO,
        witness: Witness::new(),
    };
    let hash = PushBytesBuf::from(message_hash(message));
    let script = Builder::new().push_opcode(OP_0).push_slice(hash).into_script();
    let to_spend = transaction(spends(OutPoint::null(), script), challenge);
    let outpoint = OutPoint { txid: to_spend.compute_txid(), vout: 0 };
    let nothing = Builder::new().push_opcode(OP_RETURN).into_script();
    transaction(spends(outpoint, ScriptBuf::new()), TxOut { value: Amount::ZERO, script_pubkey: nothing })
}

/// BIP 340's tagged hash of a message.
fn message_hash(message: &str) -> [u8; 32] {
    let tag = sha256::Hash::hash(TAG);
    let mut engine = sha256::Hash::engine();
    for part in [tag.as_ref(), tag.as_ref(), message.as_bytes()] {
        engine.input(part);
    }
    sha256::Hash::from_engine(engine).to_byte_array()
}

/// Why an address cannot be a device's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not an address.
    #[error("this is not a Bitcoin address")]
    Form,
    /// An address of another network.
    #[error("this is not an address on {}", .0.name())]
    Network(Network),
    /// An address that one key does not sign for.
    #[error(
        "this address is not that of a single key: use a P2PKH, P2SH-P2WPKH, P2WPKH or P2TR address of the device"
    )]
    Kind,
}

/// Why a signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not a signature of a message.
    #[error(
        "this is not a signature of a message: it is base64 without blanks, as BIP 137 or BIP 322 (simple) describes it"
    )]
    Form,
    /// A signature of a type that this kind of address does not make.
    #[error(
        "this type of signature does not fit the address: P2TR addresses sign by BIP 322, P2PKH addresses by BIP 137"
    )]
    Kind,
    /// Another key, or another text.
    #[error("the signature is not by the key of this address, or not over this text")]
    Wrong,
}

#[cfg(test)]
mod tests;
