//! BIP 340 and BIP 341 test vectors, run through the library that signs and verifies for us.

use bitcoin::consensus::deserialize;
use bitcoin::hex::FromHex;
use bitcoin::key::TapTweak;
use bitcoin::secp256k1::{Keypair, Message, Secp256k1, SecretKey, XOnlyPublicKey, schnorr};
use bitcoin::sighash::{Prevouts, SighashCache, TapSighashType};
use bitcoin::taproot::TapNodeHash;
use bitcoin::{Amount, ScriptBuf, Transaction, TxOut};
use serde_json::Value;

#[test]
fn bip340_vectors_sign_and_verify() {
    let secp = Secp256k1::new();
    let (mut signed, mut verified, mut refused) = (0, 0, 0);
    for line in include_str!("../vectors/bip340.csv").lines().skip(1) {
        let fields: Vec<&str> = line.splitn(8, ',').collect();
        let [index, secret, public, aux, message, signature, valid, _comment] = fields[..] else {
            panic!("eight fields: {line}")
        };
        // Messages that are not 32 bytes long are no sighashes.
        let Ok(message) = <[u8; 32]>::from_hex(message).map(Message::from_digest) else { continue };
        let expected =
            schnorr::Signature::from_slice(&hex::decode(signature).expect("hex")).expect("64 bytes");
        let verifies = XOnlyPublicKey::from_slice(&hex::decode(public).expect("hex"))
            .is_ok_and(|key| secp.verify_schnorr(&expected, &message, &key).is_ok());
        assert_eq!(verifies, valid == "TRUE", "vector {index}");
        if verifies {
            verified += 1;
        } else {
            refused += 1;
        }
        if !secret.is_empty() {
            let keypair =
                Keypair::from_seckey_slice(&secp, &hex::decode(secret).expect("hex")).expect("a key");
            let aux = <[u8; 32]>::from_hex(aux).expect("32 bytes");
            assert_eq!(secp.sign_schnorr_with_aux_rand(&message, &keypair, &aux), expected, "vector {index}");
            signed += 1;
        }
    }
    assert_eq!((signed, verified, refused), (4, 5, 10));
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors/bip341.json")).expect("JSON")
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("hex")).expect("hex")
}

fn root(value: &Value) -> Option<TapNodeHash> {
    value.as_str().map(|root| root.parse().expect("a hash"))
}

#[test]
fn bip341_output_keys() {
    let secp = Secp256k1::new();
    let vectors = vectors();
    let vectors = vectors["scriptPubKey"].as_array().expect("a list");
    assert_eq!(vectors.len(), 7);
    for vector in vectors {
        let internal = XOnlyPublicKey::from_slice(&bytes(&vector["given"]["internalPubkey"])).expect("a key");
        let root = root(&vector["intermediary"]["merkleRoot"]);
        let (output, _) = internal.tap_tweak(&secp, root);
        assert_eq!(
            output.to_x_only_public_key().serialize()[..],
            bytes(&vector["intermediary"]["tweakedPubkey"])[..]
        );
        let script = ScriptBuf::new_p2tr(&secp, internal, root);
        assert_eq!(script.as_bytes(), bytes(&vector["expected"]["scriptPubKey"]));
    }
}

#[test]
fn bip341_key_path_spending() {
    let secp = Secp256k1::new();
    let vectors = vectors();
    let vector = &vectors["keyPathSpending"][0];
    let transaction: Transaction =
        deserialize(&bytes(&vector["given"]["rawUnsignedTx"])).expect("a transaction");
    let prevouts: Vec<TxOut> = vector["given"]["utxosSpent"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|spent| TxOut {
            script_pubkey: ScriptBuf::from_bytes(bytes(&spent["scriptPubKey"])),
            value: Amount::from_sat(spent["amountSats"].as_u64().expect("an amount")),
        })
        .collect();
    let inputs = vector["inputSpending"].as_array().expect("a list");
    assert_eq!(inputs.len(), 7);
    let mut cache = SighashCache::new(&transaction);
    for input in inputs {
        let index = input["given"]["txinIndex"].as_u64().expect("an index") as usize;
        let sighash_type =
            TapSighashType::from_consensus_u8(input["given"]["hashType"].as_u64().expect("a type") as u8)
                .expect("known");
        let hash = cache
            .taproot_key_spend_signature_hash(index, &Prevouts::All(&prevouts), sighash_type)
            .expect("an input");
        let message = Message::from(hash);
        assert_eq!(message.as_ref()[..], bytes(&input["intermediary"]["sigHash"])[..], "input {index}");

        let secret = SecretKey::from_slice(&bytes(&input["given"]["internalPrivkey"])).expect("a key");
        let tweaked = Keypair::from_secret_key(&secp, &secret)
            .tap_tweak(&secp, root(&input["given"]["merkleRoot"]))
            .to_keypair();
        assert_eq!(
            tweaked.secret_bytes()[..],
            bytes(&input["intermediary"]["tweakedPrivkey"])[..],
            "input {index}"
        );
        let signature = bitcoin::taproot::Signature {
            signature: secp.sign_schnorr_with_aux_rand(&message, &tweaked, &[0; 32]),
            sighash_type,
        };
        assert_eq!(signature.to_vec(), bytes(&input["expected"]["witness"][0]), "input {index}");
    }
}
