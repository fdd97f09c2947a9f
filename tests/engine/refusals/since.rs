//! Attacks found since the list was first written.

use super::*;

/// A statement of ownership for the price of a payment's code, in each shape of BIP 322, and of BIP 127.
#[test]
fn message() {
    let field = |value: &[u8]| {
        let key = bitcoin::psbt::raw::Key { type_value: 0x09, key: vec![] };
        (key, value.to_vec())
    };
    // The PSBT itself says that it signs a message, whatever the transaction is.
    refuses(Rule::Message, 1, |_, psbt| psbt.unknown.extend([field(b"Hello World")]));
    refuses(Rule::Message, 1, |_, psbt| psbt.inputs[0].unknown.extend([field(b"I have it")]));
    for version in [0, 1, 2, 3] {
        let versioned = |psbt: &mut Psbt| psbt.unsigned_tx.version = transaction::Version(version);
        // Simple and full: `to_sign` spends `to_spend` of an address of the wallet.
        refuses(Rule::Message, 1, |_, psbt| {
            let script = psbt.inputs[0].witness_utxo.clone().expect("there").script_pubkey;
            respend(psbt, to_spend(script));
            pay_nobody(psbt);
            versioned(psbt);
        });
        // A proof of funds: further inputs are coins of the wallet.
        refuses(Rule::Message, 3, |_, psbt| {
            let script = psbt.inputs[0].witness_utxo.clone().expect("there").script_pubkey;
            respend(psbt, to_spend(script));
            pay_nobody(psbt);
            versioned(psbt);
        });
        // The same for our coins, with somebody else's address.
        refuses(Rule::Message, 2, |_, psbt| {
            for script in [stranger(), anchor(0).script_pubkey] {
                psbt.inputs[0] = Default::default();
                psbt.inputs[0].witness_utxo = Some(TxOut::NULL);
                respend(psbt, to_spend(script));
            }
            pay_nobody(psbt);
            versioned(psbt);
        });
        // Any input spends `to_spend`, and somebody is paid.
        refuses(Rule::Message, 2, |_, psbt| {
            let script = psbt.inputs[0].witness_utxo.clone().expect("there").script_pubkey;
            respend(psbt, to_spend(script));
            psbt.unsigned_tx.input.swap(0, 1);
            psbt.inputs.swap(0, 1);
            psbt.unsigned_tx.output[1].value = Amount::from_sat(1_000);
            psbt.unsigned_tx.output[0].value = Amount::from_sat(60_000);
            versioned(psbt);
        });
    }
    // The transaction moves nothing: its coins are worth nothing, or claim to be.
    let worthless = |psbt: &mut Psbt| {
        let script = psbt.inputs[0].witness_utxo.clone().expect("there").script_pubkey;
        respend(psbt, funding(script, 0, 5));
        pay_nobody(psbt);
    };
    refuses(Rule::Message, 1, |_, psbt| worthless(psbt));
    refuses(Rule::Message, 1, |_, psbt| {
        worthless(psbt);
        psbt.inputs[0].non_witness_utxo = None;
    });
    // A version that no node relays, and nobody is paid.
    refuses(Rule::Message, 1, |_, psbt| {
        pay_nobody(psbt);
        psbt.unsigned_tx.version = transaction::Version(0);
    });
}

/// The vector of BIP 322, "Transaction Hashes".
#[test]
fn to_spend_is_built_as_in_the_specification() {
    let address =
        "bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l".parse::<bitcoin::Address<_>>().expect("an address");
    let txid = to_spend(address.assume_checked().script_pubkey()).compute_txid().to_string();
    assert_eq!(txid, "b79d196740ad5217771c1098fc4a4b51e0535c32236c71f1ea4d61a2d603352b");
}

/// Child pays for parent: the parent's anchor is worth nothing, and all of our coin may be the fee.
#[test]
fn an_anchor_of_no_value_is_no_message() {
    for change in [true, false] {
        let scene = Scene::new(UNLIMITED);
        let mut psbt = scene.psbt(1);
        let mut parent = funding(stranger(), INPUT, 8);
        parent.output[0] = anchor(0);
        psbt.unsigned_tx
            .input
            .insert(0, TxIn { previous_output: OutPoint::new(parent.compute_txid(), 0), ..TxIn::default() });
        psbt.inputs.insert(0, Default::default());
        psbt.inputs[0].witness_utxo = Some(parent.output[0].clone());
        psbt.inputs[0].non_witness_utxo = Some(parent);
        psbt.unsigned_tx.version = transaction::Version(3);
        if !change {
            pay_nobody(&mut psbt);
        }
        let signed = Psbt::deserialize(&scene.sign(&psbt.serialize()).expect("signs")).expect("a PSBT");
        assert_eq!(signed.inputs[1].partial_sigs.len(), 1);
    }
}

/// A coinbase spends the same outpoint as `to_spend`, and its outputs have a value.
#[test]
fn a_mined_coin_is_no_message() {
    let scene = Scene::new(UNLIMITED);
    let mut psbt = scene.psbt(1);
    let mut coinbase = psbt.inputs[0].non_witness_utxo.clone().expect("there");
    coinbase.input[0].previous_output = OutPoint::null();
    respend(&mut psbt, coinbase);
    scene.sign(&psbt.serialize()).expect("signs");
}
