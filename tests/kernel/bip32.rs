//! BIP 32 test vectors 1 to 4, compared with the keys that our wallets derive.

use bitcoin::bip32::{ChildNumber, DerivationPath, Xpriv, Xpub};
use bitcoin::secp256k1::{Scalar, Secp256k1};
use bitcoin::{NetworkKind, bip32};

use countersign::kernel::network::Network;
use countersign::kernel::wallet::{Chain, Location, SEED_LEN};

struct Row<'a> {
    vector: &'a str,
    seed: Vec<u8>,
    path: DerivationPath,
    xprv: Xpriv,
    xpub: Xpub,
}

fn rows() -> Vec<Row<'static>> {
    include_str!("../vectors/bip32.csv")
        .lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let [vector, seed, path, xprv, xpub] = fields[..] else { panic!("five fields: {line}") };
            Row {
                vector,
                seed: hex::decode(seed).expect("hex"),
                path: path.replace('h', "'").parse().expect("a path"),
                xprv: xprv.parse().expect("an extended key"),
                xpub: xpub.parse().expect("an extended key"),
            }
        })
        .collect()
}

#[test]
fn test_vectors_1_to_4() {
    let secp = Secp256k1::new();
    let rows = rows();
    assert_eq!(rows.len(), 17);
    for Row { vector, seed, path, xprv, xpub } in rows {
        let master = Xpriv::new_master(NetworkKind::Main, &seed).expect("a key");
        let derived = master.derive_priv(&secp, &path).expect("derives");
        assert_eq!(derived, xprv, "vector {vector}, {path}");
        assert_eq!(Xpub::from_priv(&secp, &derived), xpub, "vector {vector}, {path}");
    }
}

/// Our derivation of one normal step from a cached node: the tweak of the parent's public side, added to its
/// secret.
#[test]
fn one_step_from_a_kept_node_is_that_of_the_vectors() {
    let secp = Secp256k1::new();
    let rows = rows();
    let mut steps = 0;
    for child in &rows {
        let Some((ChildNumber::Normal { index }, parent)) = child.path.as_ref().split_last() else {
            continue;
        };
        let step: ChildNumber = bip32::ChildNumber::from_normal_idx(*index).expect("normal");
        let parent = rows.iter().find(|row| row.seed == child.seed && row.path.as_ref() == parent);
        let parent = parent.expect("the vectors list each parent");
        let (tweak, _) = parent.xpub.ckd_pub_tweak(step).expect("a tweak");
        let secret = parent.xprv.private_key.add_tweak(&Scalar::from(tweak)).expect("a key");
        assert_eq!(secret, child.xprv.private_key, "{}", child.path);
        let public = parent.xpub.public_key.add_exp_tweak(&secp, &Scalar::from(tweak)).expect("a key");
        assert_eq!(public, child.xpub.public_key, "{}", child.path);
        steps += 1;
    }
    assert!(steps > 0, "the vectors have normal steps");
}

/// The vectors' master keys in our wallets: vectors 2 and 3, whose seeds have our length.
#[test]
fn our_wallets_derive_from_the_masters_of_the_vectors() {
    let secp = Secp256k1::new();
    let rows = rows();
    let mut masters = 0;
    for master in rows.iter().filter(|row| row.path.is_empty()) {
        let Ok(seed) = <[u8; SEED_LEN]>::try_from(&master.seed[..]) else { continue };
        for network in [Network::Mainnet, Network::Testnet, Network::Signet, Network::Regtest] {
            let wallet = harness::engine::scripts::of_seed(seed, "wpkh(@0/**)\nours", network, &secp);
            assert_eq!(wallet.master_fingerprint(), master.xpub.fingerprint(), "vector {}", master.vector);

            let account: DerivationPath = format!("84'/{}'/0'", network.coin_type()).parse().expect("a path");
            let account = master.xprv.derive_priv(&secp, &account).expect("derives");
            let mut account_xpub = Xpub::from_priv(&secp, &account);
            account_xpub.network = network.kind();
            assert_eq!(*wallet.account(), account_xpub, "vector {}", master.vector);

            for chain in [Chain::External, Chain::Internal] {
                for index in [0, 1, 19, 0x7fff_ffff] {
                    let path: DerivationPath = format!("{}/{index}", chain as u32).parse().expect("a path");
                    let private = account.derive_priv(&secp, &path).expect("derives").private_key;
                    let public = harness::engine::watch(&wallet)
                        .public_key(Location { chain, index })
                        .expect("derives");
                    assert_eq!(public, private.public_key(&secp), "vector {}, {path}", master.vector);
                }
            }
        }
        masters += 1;
    }
    assert_eq!(masters, 2);
}
