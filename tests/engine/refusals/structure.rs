//! Structure.

mod bounds;
mod changed_byte;

use super::*;

/// A signature for a leaf that is not in the tree cannot complete anything, and does not consent to what we
/// sign.
#[test]
fn foreign_partial_sig_for_a_leaf_that_is_not_there() {
    use bitcoin::secp256k1::Keypair;
    use bitcoin::sighash::{Prevouts, TapSighashType};
    use bitcoin::taproot::TapLeafHash;
    let bench = Bench::new();
    let alice = bench.user("alice");
    let cosigner = Cosigner::named("A");
    let policy = format!("unlimited = true\nrequire_cosigner = \"{}\"", cosigner.fingerprint());
    let script = scripts::named("tr-multi-a").to_be_made();
    let id = bench.add_wallet("w", &["alice"], &policy, script).expect("a wallet");
    let mut psbt = scripts::good_psbt(watch(&bench.engine.wallet(&id).expect("there")), 1);
    let rule_of = |psbt: &Psbt| match bench.sign(&id, "alice", &bench.code(&alice), &psbt.serialize()) {
        Err(EngineError::Psbt(PsbtError::Refused { rule, .. })) => Some(rule),
        Err(other) => panic!("{other}"),
        Ok(_) => None,
    };
    assert_eq!(rule_of(&psbt), Some(Rule::RequireCosigner));

    let path: DerivationPath = "48'/1'/0'/2'/0/0".parse().expect("a path");
    let secret = cosigner.master().derive_priv(&bench.secp, &path).expect("derives").private_key;
    let pair = Keypair::from_secret_key(&bench.secp, &secret);
    let leaf = TapLeafHash::from_byte_array([0x77; 32]);
    let prevouts = [psbt.inputs[0].witness_utxo.clone().expect("there")];
    let hash = SighashCache::new(&psbt.unsigned_tx)
        .taproot_script_spend_signature_hash(0, &Prevouts::All(&prevouts), leaf, TapSighashType::Default)
        .expect("an input");
    let signature = bench.secp.sign_schnorr_no_aux_rand(&Message::from(hash), &pair);
    let signature = bitcoin::taproot::Signature { signature, sighash_type: TapSighashType::Default };
    psbt.inputs[0].tap_script_sigs.insert((pair.x_only_public_key().0, leaf), signature);
    assert_eq!(rule_of(&psbt), Some(Rule::ForeignPartialSig));

    psbt.inputs[0].tap_script_sigs.clear();
    cosigner.sign(&mut psbt);
    assert_eq!(rule_of(&psbt), None);
}

/// Consensus refuses a Schnorr signature that names type DEFAULT, so nobody could use one that we accept.
#[test]
fn sighash_type_of_a_taproot_signature_that_names_the_default() {
    let bench = Bench::new();
    let alice = bench.user("alice");
    let script = scripts::named("tr-multi-a").to_be_made();
    let id = bench.add_wallet("w", &["alice"], UNLIMITED, script).expect("a wallet");
    let mut psbt = scripts::good_psbt(watch(&bench.engine.wallet(&id).expect("there")), 1);
    Cosigner::named("A").sign(&mut psbt);
    let good = psbt.serialize();
    let mut maps = harness::engine::maps::read(&good);
    let signature = maps[1].iter_mut().find(|(key, _)| key[0] == 0x14).expect("the cosigner signed");
    signature.1.push(0x00);
    let answer = bench.sign(&id, "alice", &bench.code(&alice), &harness::engine::maps::write(&maps));
    assert!(matches!(answer, Err(EngineError::Psbt(PsbtError::Refused { rule: Rule::SighashType, .. }))));
    bench.sign(&id, "alice", &bench.code(&alice), &good).expect("without it");
}

/// A cosigner who signs for another branch has not agreed to ours, and cannot complete it.
#[test]
fn require_cosigner_for_the_leaf_that_we_sign() {
    let bench = Bench::new();
    let alice = bench.user("alice");
    let (cosigner, other) = (Cosigner::named("A"), Cosigner::named("C"));
    let template = "tr(@0/**,{and_v(v:pk(@1/<0;1>/*),pk(@2/**)),and_v(v:pk(@1/<2;3>/*),older(144))})";
    let script = NewScript {
        registration: Some(format!("{template}\n{}\n{}\nours", other.key(), cosigner.key())),
        path: Some("m/48'/1'/0'/3'".into()),
    };
    let policy = format!("unlimited = true\nrequire_cosigner = \"{}\"", cosigner.fingerprint());
    let id = bench.add_wallet("w", &["alice"], &policy, script).expect("a wallet");
    let wallet = bench.engine.wallet(&id).expect("there");
    let mut psbt = scripts::good_psbt(watch(&wallet), 1);
    cosigner.sign(&mut psbt);
    assert_eq!(psbt.inputs[0].tap_script_sigs.len(), 2, "the cosigner is in both leaves");
    let mut origins = psbt.inputs[0].tap_key_origins.values();
    let ours = origins.find(|(_, (fingerprint, _))| *fingerprint == wallet.master_fingerprint());
    let our_leaf = ours.expect("our key").0[0];
    let sign = |psbt: &Psbt| bench.sign(&id, "alice", &bench.code(&alice), &psbt.serialize());

    let mut elsewhere = psbt.clone();
    elsewhere.inputs[0].tap_script_sigs.retain(|(_, leaf), _| *leaf != our_leaf);
    assert!(matches!(
        sign(&elsewhere),
        Err(EngineError::Psbt(PsbtError::Refused { rule: Rule::RequireCosigner, .. }))
    ));
    psbt.inputs[0].tap_script_sigs.retain(|(_, leaf), _| *leaf == our_leaf);
    sign(&psbt).expect("the cosigner agreed");
}

/// The separator of a map has one form. Another form would be copied, and our signature would end up in the
/// middle of it.
#[test]
fn a_separator_that_is_not_minimal_is_no_psbt_and_spends_nothing() {
    let scene = Scene::new(UNLIMITED);
    let good = scene.psbt(1).serialize();
    let maps = harness::engine::maps::read(&good);
    for cut in 1..=maps.len() {
        let end = harness::engine::maps::write(&maps[..cut]).len();
        for separator in [&[0xfd, 0, 0][..], &[0xfe, 0, 0, 0, 0], &[0xff, 0, 0, 0, 0, 0, 0, 0, 0]] {
            let bytes = [&good[..end - 1], separator, &good[end..]].concat();
            let answer = scene.sign(&bytes);
            assert!(matches!(answer, Err(EngineError::Psbt(error)) if error.is_no_psbt()), "map {cut}");
        }
    }
    scene.sign(&good).expect("the code is not spent");
}

#[test]
fn an_error_repeats_nothing_of_the_psbt() {
    let scene = Scene::new(UNLIMITED);
    let maps = harness::engine::maps::read(&scene.psbt(1).serialize());
    let key = [&[0x03][..], &[0x5a; 8_000]].concat();
    let mut signed = 0;
    for map in 0..maps.len() {
        let mut changed = maps.clone();
        changed[map].push((key.clone(), vec![0x5a; 100]));
        scene.bench.clock.advance(30);
        match scene.sign(&harness::engine::maps::write(&changed)) {
            Ok(_) => signed += 1,
            Err(error) => {
                let text = error.to_string();
                assert!(text.len() < 200 && !text.contains("5a5a"), "{text}");
            }
        }
    }
    // Only an input map knows this type.
    assert_eq!(signed, maps.len() - 1);
}

#[test]
fn sighash_type() {
    use EcdsaSighashType::{AllPlusAnyoneCanPay, None, NonePlusAnyoneCanPay, Single, SinglePlusAnyoneCanPay};
    for asked in [None, Single, AllPlusAnyoneCanPay, NonePlusAnyoneCanPay, SinglePlusAnyoneCanPay] {
        refuses(Rule::SighashType, 1, |_, psbt| psbt.inputs[0].sighash_type = Some(asked.into()));
    }
    for asked in [0, 4, 0x101, u32::MAX] {
        refuses(Rule::SighashType, 1, |_, psbt| {
            psbt.inputs[0].sighash_type = Some(PsbtSighashType::from_u32(asked));
        });
    }
    let scene = Scene::new(UNLIMITED);
    let mut all = scene.psbt(1);
    all.inputs[0].sighash_type = Some(EcdsaSighashType::All.into());
    scene.sign(&all.serialize()).expect("ALL is what we sign");
}

#[test]
fn duplicate_input() {
    refuses(Rule::DuplicateInput, 2, |_, psbt| {
        psbt.inputs[1] = psbt.inputs[0].clone();
        psbt.unsigned_tx.input[1] = psbt.unsigned_tx.input[0].clone();
    });
    refuses(Rule::DuplicateInput, 2, |_, psbt| {
        psbt.inputs[1] = psbt.inputs[0].clone();
        let previous_output = psbt.unsigned_tx.input[0].previous_output;
        psbt.unsigned_tx.input[1] = TxIn { previous_output, sequence: Sequence::ZERO, ..TxIn::default() };
    });
}

/// The places of a PSBT's key-value pairs, map after map.
fn pairs(psbt: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (mut pairs, mut at) = (vec![], 5);
    while at < psbt.len() {
        let start = at;
        if psbt[at] == 0 {
            at += 1;
            continue;
        }
        for _ in 0..2 {
            let (len, prefix) = match psbt[at] {
                0xfd => (usize::from(u16::from_le_bytes([psbt[at + 1], psbt[at + 2]])), 3),
                short => (usize::from(short), 1),
            };
            at += prefix + len;
        }
        pairs.push(start..at);
    }
    pairs
}

fn is_no_psbt(scene: &Scene, bytes: &[u8]) -> bool {
    matches!(scene.sign(bytes), Err(EngineError::Psbt(error)) if error.is_no_psbt())
}

#[test]
fn duplicate_key() {
    let scene = Scene::new(UNLIMITED);
    let mut psbt = scene.psbt(1);
    psbt.inputs[0].sighash_type = Some(EcdsaSighashType::All.into());
    psbt.inputs[0].unknown.insert(bitcoin::psbt::raw::Key { type_value: 0x77, key: vec![] }, vec![9]);
    let good = psbt.serialize();
    let pairs = pairs(&good);
    assert_eq!(pairs.len(), 1 + 5 + 1, "the unsigned transaction, the input's, the change's");
    for pair in pairs {
        let doubled = [&good[..pair.end], &good[pair.clone()], &good[pair.end..]].concat();
        match scene.sign(&doubled) {
            Err(EngineError::Psbt(PsbtError::DuplicateKey(_))) => {}
            other => panic!("the pair at {pair:?}: {:?}", other.map(|_| "signed")),
        }
    }
    scene.sign(&good).expect("nothing was spent");
}

#[test]
fn no_outputs() {
    refuses(Rule::NoOutputs, 1, |_, psbt| {
        psbt.unsigned_tx.output.clear();
        psbt.outputs.clear();
    });
}

#[test]
fn no_input_of_ours() {
    refuses(Rule::NoInputOfOurs, 1, |_, psbt| psbt.inputs[0].bip32_derivation.clear());
    refuses(Rule::NoInputOfOurs, 1, |_, psbt| {
        let (key, (_, path)) = psbt.inputs[0].bip32_derivation.pop_first().expect("there");
        psbt.inputs[0].bip32_derivation.insert(key, (Fingerprint::from([9; 4]), path));
    });
    refuses(Rule::NoInputOfOurs, 1, |_, psbt| {
        psbt.unsigned_tx.input.clear();
        psbt.inputs.clear();
        psbt.unsigned_tx.output.iter_mut().for_each(|output| output.value = Amount::ZERO);
    });
}

#[test]
fn trailing_bytes() {
    let scene = Scene::new(UNLIMITED);
    let good = scene.psbt(1).serialize();
    for tail in [&[0][..], &[1], &[0, 0], b"psbt\xff", &[1, 0x77, 1, 9, 0]] {
        assert!(is_no_psbt(&scene, &[&good[..], tail].concat()), "{tail:?}");
    }
    for cut in 0..good.len() {
        assert!(is_no_psbt(&scene, &good[..cut]), "cut at {cut}");
    }
    scene.sign(&good).expect("nothing was spent");
}

#[test]
fn foreign_partial_sig() {
    let secret = SecretKey::from_slice(&[0x51; 32]).expect("a key");
    let sign = move |psbt: &Psbt, index: usize, kind: EcdsaSighashType| {
        let prevout = psbt.inputs[index].witness_utxo.as_ref().expect("there");
        let hash = SighashCache::new(&psbt.unsigned_tx)
            .p2wpkh_signature_hash(index, &prevout.script_pubkey, prevout.value, kind)
            .expect("an input");
        let signature = Secp256k1::new().sign_ecdsa(&Message::from(hash), &secret);
        ecdsa::Signature { signature, sighash_type: kind }
    };
    let public = PublicKey::new(secret.public_key(&Secp256k1::new()));

    // A signature that verifies is accepted.
    let scene = Scene::new(UNLIMITED);
    let mut honest = scene.psbt(1);
    add_stranger(&mut honest);
    let signature = sign(&honest, 1, EcdsaSighashType::All);
    honest.inputs[1].partial_sigs.insert(public, signature);
    let signed = Psbt::deserialize(&scene.sign(&honest.serialize()).expect("signs")).expect("a PSBT");
    assert_eq!(signed.inputs[1].partial_sigs.get(&public), Some(&signature), "it is kept");

    // A signature for another input, under another key, or of our own input is not.
    refuses(Rule::ForeignPartialSig, 2, move |_, psbt| {
        let signature = sign(psbt, 0, EcdsaSighashType::All);
        psbt.inputs[1].partial_sigs.insert(public, signature);
    });
    refuses(Rule::ForeignPartialSig, 1, move |_, psbt| {
        let signature = sign(psbt, 0, EcdsaSighashType::All);
        let ours = *psbt.inputs[0].bip32_derivation.first_key_value().expect("there").0;
        psbt.inputs[0].partial_sigs.insert(PublicKey::new(ours), signature);
    });
    refuses(Rule::SighashType, 1, move |_, psbt| {
        add_stranger(psbt);
        let signature = sign(psbt, 1, EcdsaSighashType::AllPlusAnyoneCanPay);
        psbt.inputs[1].partial_sigs.insert(public, signature);
    });
}

#[test]
fn already_final() {
    refuses(Rule::AlreadyFinal, 1, |_, psbt| {
        psbt.inputs[0].final_script_witness = Some(Witness::from_slice(&[[1; 71].as_slice(), &[2; 33]]));
    });
    refuses(Rule::AlreadyFinal, 1, |_, psbt| {
        psbt.inputs[0].final_script_sig = Some(ScriptBuf::from_bytes(vec![1, 1]));
    });
    // A stranger may have finalised an input before us.
    let scene = Scene::new(UNLIMITED);
    let mut psbt = scene.psbt(1);
    add_stranger(&mut psbt);
    psbt.inputs[1].final_script_witness = Some(Witness::from_slice(&[[1; 71].as_slice(), &[2; 33]]));
    let signed = Psbt::deserialize(&scene.sign(&psbt.serialize()).expect("signs")).expect("a PSBT");
    assert_eq!(signed.inputs[1], psbt.inputs[1], "and is left as it is");
}

#[test]
fn op_return_value() {
    let op_return = || ScriptBuf::from_bytes(vec![0x6a, 4, 1, 2, 3, 4]);
    refuses(Rule::OpReturnValue, 1, |_, psbt| psbt.unsigned_tx.output[0].script_pubkey = op_return());
    let scene = Scene::new(UNLIMITED);
    let mut worthless = scene.psbt(1);
    worthless.unsigned_tx.output.push(TxOut { value: Amount::ZERO, script_pubkey: op_return() });
    worthless.outputs.push(Default::default());
    scene.sign(&worthless.serialize()).expect("one without value burns nothing");
}

#[test]
fn nonce() {
    let scene = Scene::new(UNLIMITED);
    let psbt = scene.psbt(20).serialize();
    let first = scene.sign(&psbt).expect("signs");
    scene.bench.clock.advance(30);
    assert_eq!(
        scene.sign(&psbt).expect("signs"),
        first,
        "RFC 6979: the same transaction, the same signatures"
    );
    for input in Psbt::deserialize(&first).expect("a PSBT").inputs {
        let (_, signature) = input.partial_sigs.first_key_value().expect("one signature");
        let compact = signature.signature.serialize_compact();
        assert!(compact[0] < 0x80, "low R");
        let mut low_s = signature.signature;
        low_s.normalize_s();
        assert_eq!(low_s, signature.signature, "low S");
    }
}
