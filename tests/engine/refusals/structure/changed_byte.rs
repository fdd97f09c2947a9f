//! Changes one byte of a good PSBT.

use super::super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Changes one byte of a good PSBT: it is refused, or the signatures are for what its bytes now say.
    #[test]
    fn a_changed_byte_is_refused_or_counted(position in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let secp = Secp256k1::new();
        let wallet = harness::engine::scripts::named("wpkh").wallet(&secp);
        let good = harness::engine::good_psbt(&wallet, 2);
        let mut bytes = good.serialize();
        let at = position.index(bytes.len());
        bytes[at] ^= flip;
        let watch = watch(&wallet);
        if let Ok(checked) = CheckedPsbt::parse(bytes.clone(), watch, &alone(&secp)) {
            let parsed = Psbt::deserialize(&bytes).expect("it was checked");
            prop_assert_eq!(checked.transaction(), &parsed.unsigned_tx);
            let paid: u64 = parsed.unsigned_tx.output.iter().map(|output| output.value.to_sat()).sum();
            prop_assert_eq!(checked.fee(), 2 * INPUT - paid, "the amounts of the inputs cannot be changed");
            // The leaving amount follows from the keys, whatever was changed: all of it, unless every input
            // is proved.
            let ours = |claims: &std::collections::BTreeMap<_, (Fingerprint, DerivationPath)>, script| {
                claims.iter().any(|(key, (fingerprint, path))| {
                    *fingerprint == wallet.master_fingerprint()
                        && script_pubkey(key) == script
                        && watch.locate(path.as_ref()).is_ok_and(|location| {
                            watch.public_key(location).expect("derives") == *key
                        })
                })
            };
            let all_ours = parsed.inputs.iter().all(|input| {
                let previous = input.non_witness_utxo.as_ref().expect("it was checked");
                ours(&input.bip32_derivation, previous.output[0].script_pubkey.clone())
            });
            let back: u64 = parsed
                .outputs
                .iter()
                .zip(&parsed.unsigned_tx.output)
                .filter(|(output, paid)| ours(&output.bip32_derivation, paid.script_pubkey.clone()))
                .map(|(_, paid)| paid.value.to_sat())
                .sum();
            prop_assert_eq!(checked.leaves(), if all_ours { 2 * INPUT - back } else { 2 * INPUT });
        }
    }
}

/// Changes every byte of a good PSBT, one at a time: whatever is signed is what the bytes now say, in the
/// answer and in the record.
#[test]
fn a_changed_byte_is_refused_or_signed_as_it_is() {
    let scene = Scene::new(UNLIMITED);
    let good = scene.psbt(2).serialize();
    let mut signed_of = 0;
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        let Ok(answer) = scene.sign(&bytes) else { continue };
        let asked = Psbt::deserialize(&bytes).expect("it was signed");
        let mut signed = Psbt::deserialize(&answer).expect("a PSBT");
        for (index, input) in signed.inputs.iter_mut().enumerate() {
            let prevout = &asked.inputs[index].witness_utxo.clone().unwrap_or_else(|| {
                asked.inputs[index].non_witness_utxo.as_ref().expect("proved").output[0].clone()
            });
            let hash = SighashCache::new(&asked.unsigned_tx)
                .p2wpkh_signature_hash(index, &prevout.script_pubkey, prevout.value, EcdsaSighashType::All)
                .expect("an input");
            for (key, signature) in std::mem::take(&mut input.partial_sigs) {
                let secp = &scene.bench.secp;
                secp.verify_ecdsa(&Message::from(hash), &signature.signature, &key.inner)
                    .unwrap_or_else(|error| panic!("byte {at}: {error}"));
            }
        }
        assert_eq!(signed, asked, "byte {at}: nothing else was changed");
        let checked = scene.check(&asked).expect("it was signed");
        let mut txid = asked.unsigned_tx.compute_txid().to_byte_array();
        txid.reverse();
        let facts =
            TransactionFacts { wallet: "w".into(), txid, leaves: checked.leaves(), fee: checked.fee() };
        match scene.bench.ledger.state().events.last() {
            Some(Event::Tried { asked: Asked::Transaction(transaction), answer: Answer::Signed, .. }) => {
                assert_eq!(*transaction, facts, "byte {at}");
            }
            other => panic!("byte {at}: {other:?}"),
        }
        scene.bench.clock.advance(30);
        signed_of += 1;
    }
    assert!(signed_of > 50, "amounts, scripts, sequences and claims can change: {signed_of}");
    assert_eq!(scene.bench.failures("alice"), 0, "no refusal was charged");
}
