//! BIP 143: the example of a native P2WPKH input, and our own signatures, verified by Bitcoin Core's
//! consensus code.

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::psbt::Psbt;
use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::{Amount, ScriptBuf, Transaction, Witness};

/// The consensus rules before taproot, without which nothing is checked.
const FLAGS: u32 = bitcoinconsensus::VERIFY_ALL_PRE_TAPROOT;

#[test]
fn native_p2wpkh_example() {
    let bytes = concat!(
        "0100000002fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f0000000000eeffffff",
        "ef51e1b804cc89d182d279655c3aa89e815b1b309fe287d9b2b55d57b90ec68a0100000000ffffffff02202cb206",
        "000000001976a9148280b37df378db99f66f85c95a783a76ac7a6d5988ac9093510d000000001976a9143bde42db",
        "ee7e4dbe6a21b2d50ce2f0167faa815988ac11000000",
    );
    let transaction: Transaction = deserialize(&hex::decode(bytes).expect("hex")).expect("a transaction");
    let secret: SecretKey =
        "619c335025c7f4012e556c2a58b2506e30b8511b53ade95ea316fd8c3286feb9".parse().expect("a key");
    let secp = Secp256k1::new();
    let script =
        ScriptBuf::new_p2wpkh(&bitcoin::CompressedPublicKey(secret.public_key(&secp)).wpubkey_hash());
    assert_eq!(script.to_hex_string(), "00141d0f172a0ecb48aee1be1f2687d2963ae33f71a1");

    let hash = SighashCache::new(&transaction)
        .p2wpkh_signature_hash(1, &script, Amount::from_sat(600_000_000), EcdsaSighashType::All)
        .expect("an input");
    let message = Message::from(hash);
    assert_eq!(
        hex::encode(message.as_ref()),
        "c37af31116d1b27caf68aae9e3ac82f1477929014d5b917657d0eb49478cb670"
    );
    assert_eq!(
        hex::encode(secp.sign_ecdsa_low_r(&message, &secret).serialize_der()),
        "304402203609e17b84f6a7d30c80bfa610b5b4542f32a8a0d5447a12fb1366d7f01cc44a0220573a954c4518331561406f90300e8f33\
         58f51928d43c212a8caed02de67eebee"
    );
}

/// BIP 174's Finalizer for P2WPKH, in one line: signature and key make the witness.
fn finalised(signed: &Psbt) -> Transaction {
    let mut transaction = signed.unsigned_tx.clone();
    for (input, signed) in transaction.input.iter_mut().zip(&signed.inputs) {
        let (key, signature) = signed.partial_sigs.first_key_value().expect("one signature");
        input.witness = Witness::p2wpkh(signature, &key.inner);
    }
    transaction
}

/// Whether consensus accepts each input if its prevout is worth `difference` satoshi more.
fn verdicts(transaction: &Transaction, signed: &Psbt, difference: i64) -> Vec<bool> {
    let bytes = serialize(transaction);
    let verdict = |(index, input): (usize, &bitcoin::psbt::Input)| {
        let prevout = input.witness_utxo.as_ref().expect("there");
        let value = prevout.value.to_sat().checked_add_signed(difference).expect("far from both ends");
        let script = prevout.script_pubkey.as_bytes();
        bitcoinconsensus::verify_with_flags(script, value, &bytes, None, index, FLAGS).is_ok()
    };
    signed.inputs.iter().enumerate().map(verdict).collect()
}

#[test]
fn consensus_takes_our_signatures_for_exactly_these_amounts_and_outputs() {
    let bench = harness::engine::Bench::new();
    let alice = bench.user("alice");
    let id = bench.wallet("w", &["alice"], "unlimited = true");
    let psbt = bench.psbt(&id, 5).serialize();
    let signed = bench.sign(&id, "alice", &bench.code(&alice), &psbt).expect("signs");
    let signed = Psbt::deserialize(&signed).expect("a PSBT");
    for input in &signed.inputs {
        let (_, signature) = input.partial_sigs.first_key_value().expect("one signature");
        assert_eq!(signature.sighash_type, EcdsaSighashType::All);
    }
    let transaction = finalised(&signed);
    assert_eq!(verdicts(&transaction, &signed, 0), [true; 5], "consensus takes it");
    assert_eq!(verdicts(&transaction, &signed, 1), [false; 5], "not for one satoshi more");
    assert_eq!(verdicts(&transaction, &signed, -1), [false; 5], "not for one satoshi less");

    let changes: [fn(&mut Transaction); 6] = [
        |changed| changed.output[1].value -= Amount::from_sat(1),
        |changed| changed.output[0].script_pubkey = changed.output[1].script_pubkey.clone(),
        |changed| changed.output.truncate(1),
        |changed| changed.input[4].sequence.0 ^= 1,
        |changed| changed.lock_time = bitcoin::absolute::LockTime::from_consensus(1),
        |changed| changed.version = bitcoin::transaction::Version::ONE,
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut changed = transaction.clone();
        change(&mut changed);
        assert_eq!(verdicts(&changed, &signed, 0), [false; 5], "change {number}");
    }

    let size = transaction.vsize() as u64;
    let bound = harness::engine::vsize_of(&bench, &id, &psbt);
    assert!(size <= bound && bound - size <= 3, "the feerate is judged by {bound} vB for {size} vB");
}
