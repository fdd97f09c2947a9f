//! The attributes of objects, one file for each kind of object (PKCS#11 v3.2 sections 4 and 6).
//!
//! [`Class`] has the specification's tables of which attributes an object has. The other files have their
//! values.

mod class;
mod clock;
mod digest_key;
mod ec_pair;
mod freeze;
mod officers;
mod otp_key;
mod pending;
mod profile;
mod proposal;
mod specified;
mod user_pin;
mod wallet;

use bitcoin::secp256k1::PublicKey;
use cryptoki_sys::*;

pub(super) use class::{Class, KeyKind, Side};
pub(super) use clock::of_clock;
pub(super) use ec_pair::{EcPair, of_pair};
pub(super) use freeze::of_freeze;
pub(super) use officers::{class_number, of_officers};
pub(super) use otp_key::of_user;
pub(super) use pending::of_pending;
pub(super) use profile::of_profile;
pub(super) use proposal::of_proposal;
pub(super) use user_pin::of_user_pin;
pub(super) use wallet::reach;

/// The object identifier of secp256k1 in DER (SEC 2: 1.3.132.0.10).
pub(super) const SECP256K1: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];

/// The reason why an attribute has no value to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hidden {
    /// The value never leaves.
    Sensitive,
    /// The object has no such attribute.
    Unknown,
}

/// The value of an attribute, or the reason why there is none.
pub(super) type Value = Result<Vec<u8>, Hidden>;

/// A `CK_ULONG`, or a type defined as one: `CK_OBJECT_CLASS`, `CK_KEY_TYPE`, `CK_MECHANISM_TYPE`.
pub(super) fn ulong(value: CK_ULONG) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

/// A `CK_BBOOL`.
pub(super) fn bool(value: bool) -> Vec<u8> {
    vec![if value { CK_TRUE } else { CK_FALSE }]
}

/// `CKA_UNIQUE_ID` of one side of a key pair. Both sides come from one record, but are two objects.
fn unique_id(id: &[u8; 16], side: &str) -> Vec<u8> {
    format!("{}.{side}", data_encoding::HEXLOWER.encode(id)).into_bytes()
}

/// The point in an OCTET STRING (section 6.3).
pub(super) fn ec_point(key: &PublicKey) -> Vec<u8> {
    der(0x04, &key.serialize_uncompressed())
}

/// SubjectPublicKeyInfo (RFC 5280 section 4.1, RFC 5480 section 2).
pub(super) fn public_key_info(key: &PublicKey) -> Vec<u8> {
    const EC_PUBLIC_KEY: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    let algorithm = der(0x30, &[EC_PUBLIC_KEY, SECP256K1].concat());
    let key = der(0x03, &[&[0][..], &key.serialize_uncompressed()].concat());
    der(0x30, &[algorithm, key].concat())
}

/// A DER value of fewer than 128 bytes.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, content.len() as u8][..], content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `openssl ec -pubout -outform DER` of the secret key 1, whose public key is the generator of secp256k1.
    #[test]
    fn the_generator_is_shown_as_openssl_writes_it() {
        let x = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        let y = "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";
        let generator: PublicKey = format!("02{x}").parse().expect("a point");
        let hex = |bytes: Vec<u8>| data_encoding::HEXLOWER.encode(&bytes);
        let info = format!("3056301006072a8648ce3d020106052b8104000a03420004{x}{y}");
        assert_eq!(hex(public_key_info(&generator)), info);
        assert_eq!(hex(ec_point(&generator)), format!("044104{x}{y}"));
    }
}
