//! The coins belong to the users, who get them back without Countersign, from the backups alone
//! (`examples/recover.rs`, as `examples/README.md` runs it).

#[path = "../../examples/recover.rs"]
#[allow(dead_code, reason = "the example's main is not called here")]
mod recover;

use core::str::FromStr;

use bitcoin::bip32::Xpriv;
use bitcoin::secp256k1::Secp256k1;
use bitcoin::{Amount, NetworkKind, Transaction};
use miniscript::{Descriptor, DescriptorPublicKey};

use countersign::kernel::network::Network;
use countersign::kernel::wallet::{Chain, Wallet};
use harness::engine::consensus::verdicts;
use harness::engine::scripts::{Cosigner, named, of_seed, script_at};
use harness::engine::{INPUT, funding, stranger, watch};
use recover::{Coin, Wait, find_coins, recover};

const FEE: Amount = Amount::from_sat(1_000);

/// Two coins of a wallet that Countersign made. Its descriptor alone finds them.
fn coins(wallet: &Wallet) -> Vec<Coin> {
    let watch = watch(wallet);
    let previous: Vec<Transaction> = [(Chain::External, 0), (Chain::Internal, 7)]
        .into_iter()
        .zip(0..)
        .map(|((chain, index), salt)| funding(script_at(watch, chain, index), INPUT, salt))
        .collect();
    let descriptor = Descriptor::<DescriptorPublicKey>::from_str(watch.descriptor()).expect("a descriptor");
    assert_eq!(recover::network_of(&descriptor), NetworkKind::Test);
    assert!(find_coins(&descriptor, &previous, 7).is_err(), "a coin that is not found is not left behind");
    let twice = [&previous[..], &previous].concat();
    let coins = find_coins(&descriptor, &twice, 8).expect("coins");
    assert_eq!(coins.len(), 2);
    coins
}

fn older(age: u32) -> Wait {
    Wait { older: Some(age), after: None }
}

fn keys(cosigners: &[&str]) -> Vec<Xpriv> {
    cosigners.iter().map(|name| Cosigner::named(name).master()).collect()
}

/// The recovery that these cosigners can make without us.
fn recovered(script: &str, cosigners: &[&str]) -> Option<(Wait, u32)> {
    recovered_of(script, &named(script).wallet(&Secp256k1::new()), cosigners)
}

fn recovered_of(script: &str, wallet: &Wallet, cosigners: &[&str]) -> Option<(Wait, u32)> {
    let coins = coins(wallet);
    let recovered = match recover(&coins, &keys(cosigners), &stranger(), FEE) {
        Ok(recovered) => recovered,
        Err(error) if error.to_string().starts_with("these keys alone can never spend") => return None,
        Err(error) => panic!("{script}: {error}"),
    };
    let prevouts: Vec<_> = coins.iter().map(|coin| coin.output().clone()).collect();
    assert_eq!(verdicts(&recovered.transaction, &prevouts), [true; 2], "{script}: consensus");
    assert_eq!(recovered.transaction.output[0].value, Amount::from_sat(2 * INPUT) - FEE);
    Some((recovered.wait, recovered.transaction.input[0].sequence.0))
}

#[test]
fn the_user_alone_takes_the_coins_back_once_they_are_old_enough() {
    assert_eq!(recovered("wsh-recovery", &["A"]), Some((older(144), 144)));
    assert_eq!(recovered("tr-key-of-tree", &["A"]), Some((older(144), 144)));
    assert_eq!(recovered("tr-tree", &["B"]), Some((older(144), 144)));
}

#[test]
fn a_way_that_waits_for_a_height_and_an_age_waits_for_both() {
    let secp = Secp256k1::new();
    let keys = format!("ours\n{}", Cosigner::named("A").key());
    let of = |branch: &str| {
        let text = format!("wsh(or_d(multi(2,@0/**,@1/<0;1>/*),{branch}))\n{keys}");
        recovered_of(branch, &of_seed([9; 64], &text, Network::Regtest, &secp), &["A"])
    };
    let after = Wait { older: None, after: Some(900_000) };
    assert_eq!(of("and_v(v:pk(@1/<2;3>/*),after(900000))"), Some((after, 0xffff_fffd)));
    let both = Wait { older: Some(144), after: Some(900_000) };
    assert_eq!(of("and_v(v:pk(@1/<2;3>/*),and_v(v:after(900000),older(144)))"), Some((both, 144)));
}

#[test]
fn user_and_backup_take_the_coins_back_at_once() {
    for script in ["sh-sortedmulti", "sh-wsh-sortedmulti", "wsh-sortedmulti"] {
        assert!(
            matches!(recovered(script, &["A", "B"]), Some((Wait { older: None, after: None }, _))),
            "{script}"
        );
    }
    assert!(matches!(
        recovered("wsh-one-of-several", &["A", "B"]),
        Some((Wait { older: None, after: None }, _))
    ));
    assert!(matches!(
        recovered("wsh-one-of-several", &["A", "C"]),
        Some((Wait { older: None, after: None }, _))
    ));
}

#[test]
fn one_key_of_two_gets_nothing_without_us() {
    for (script, key) in [
        ("wsh-multi", "A"),
        ("sh-multi", "A"),
        ("wsh-sortedmulti", "A"),
        ("wsh-one-of-several", "A"),
        ("wsh-one-of-several", "B"),
    ] {
        assert_eq!(recovered(script, &[key]), None, "{script} by {key}");
    }
}

#[test]
fn a_backup_is_words_or_a_master_key() {
    // The first vector of BIP 39, without a passphrase.
    let words =
        "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";
    let master = recover::master_key(&format!("{words}\n"), NetworkKind::Main).expect("words");
    let text = "xprv9s21ZrQH143K3GJpoapnV8SFfukcVBSfeCficPSGfubmSFDxo1kuHnLisriDvSnRRuL2Qrg5ggqHKNVpxR86QEC8w35uxmGoggxtQTPvfUu";
    assert_eq!(master.to_string(), text);
    assert_eq!(recover::master_key(text, NetworkKind::Main).expect("a key"), master);
    let error = recover::master_key("abandon abandon secretword", NetworkKind::Main).expect_err("no words");
    assert!(!error.to_string().contains("secretword"), "{error}");
}
