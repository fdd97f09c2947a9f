mod kept;
mod registered;

use core::str::FromStr;

use bitcoin::NetworkKind;
use miniscript::descriptor::{Descriptor, DescriptorPublicKey};
use zeroize::Zeroizing;

use super::*;
use crate::record::Stored;

/// BIP 84 test vectors: "abandon … about".
const BIP84_SEED: &str = "5eb00bbddcf069084889a8ab9155568165f5c453ccb85e70811aaed6f6da5fc1\
                          9a5ac40b389cd370d086206dec8aa6c43daea6690f20ad3d8d48b2d2ce9e38e4";

fn seed() -> Zeroizing<[u8; SEED_LEN]> {
    Zeroizing::new(hex::decode(BIP84_SEED).expect("hex").try_into().expect("64 bytes"))
}

fn record(network: Network, path: &str) -> WalletRecord {
    let parts = WalletParts {
        terms: KeyTerms {
            label: "w".into(),
            cka_id: vec![],
            users: vec!["alice".into()],
            policy: "unlimited = true".into(),
        },
        network,
        path: path.parse().expect("a path"),
    };
    WalletRecord::new(parts, &seed(), &Secp256k1::new()).expect("a record")
}

fn wallet(network: Network) -> Wallet {
    let secp = Secp256k1::new();
    let mut record = record(network, &format!("84'/{}'/0'", network.coin_type()));
    record.descriptor = Some(record.descriptor_for(registration::DEFAULT_POLICY, &secp).expect("registers"));
    Wallet::open(&record, &secp).expect("opens")
}

fn watch(wallet: &Wallet) -> &WatchOnly {
    wallet.keys().expect("registered").watch()
}

/// A cosigner's key: account `index` of a master key that nobody else here has.
fn cosigner(index: u32) -> String {
    let secp = Secp256k1::new();
    let master = Xpriv::new_master(NetworkKind::Main, &[index as u8; 32]).expect("a master");
    let path: DerivationPath = "48'/0'/0'/2'".parse().expect("a path");
    let xpub = Xpub::from_priv(&secp, &master.derive_priv(&secp, &path).expect("derives"));
    format!("[{}/48'/0'/0'/2']{xpub}", master.fingerprint(&secp))
}

#[test]
fn bip84_test_vectors() {
    let (secp, wallet) = (Secp256k1::new(), wallet(Network::Mainnet));
    // The vector has the account as zpub. This is the same key with the version bytes of xpub:
    let zpub = "zpub6rFR7y4Q2AijBEqTUquhVz398htDFrtymD9xYYfG1m4wAcvPhXNfE3EfH1r1ADqtfSdVCToUG868RvUUkgDKf31mGDtKsAYz2oz2AGutZYs";
    let zpub = bitcoin::base58::decode_check(zpub).expect("base58");
    assert_eq!(wallet.account().encode()[4..], zpub[4..]);
    for (chain, index, key, address) in [
        (
            Chain::External,
            0,
            "0330d54fd0dd420a6e5f8d3624f5f3482cae350f79d5f0753bf5beef9c2d91af3c",
            "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu",
        ),
        (
            Chain::External,
            1,
            "03e775fd51f0dfb8cd865d9ff1cca2a158cf651fe997fdc9fee9c1d3b5e995ea77",
            "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g",
        ),
        (
            Chain::Internal,
            0,
            "03025324888e429ab8e3dbaf1f7802648b9cd01e9b418485c5fa4c1b9b5700e1a6",
            "bc1q8c6fshw2dlwun7ekn9qwf37cu2rn755upcp6el",
        ),
    ] {
        let location = Location { chain, index };
        let rebuilt = watch(&wallet).rebuild(location).expect("rebuilds");
        assert_eq!(rebuilt.branches[0].key.to_string(), key);
        let keys = wallet.keys().expect("registered");
        let branch = &rebuilt.branches[0];
        let secret = keys.secret_key(branch.place, chain, &branch.tweak).expect("derives");
        assert_eq!(secret.0.public_key(&secp), branch.key);
        let address = bitcoin::Address::from_str(address).expect("address").assume_checked();
        assert_eq!(rebuilt.script_pubkey, address.script_pubkey());
    }
}

#[test]
fn bip32_our_derivation_equals_the_library_s() {
    let secp = Secp256k1::new();
    let wallet = wallet(Network::Signet);
    for index in [0, 1, 999, 0x7fff_ffff] {
        let path = DerivationPath::from_str(&format!("m/1/{index}")).expect("path");
        let expected = wallet.account().derive_pub(&secp, &path).expect("derives").public_key;
        let location = Location { chain: Chain::Internal, index };
        assert_eq!(watch(&wallet).public_key(location).expect("derives"), expected);
    }
}

#[test]
fn only_the_account_s_two_chains_are_located() {
    let wallet = wallet(Network::Mainnet);
    let locate = |path: &str| watch(&wallet).locate(DerivationPath::from_str(path).expect("path").as_ref());
    assert_eq!(locate("m/84'/0'/0'/1/5"), Ok(Location { chain: Chain::Internal, index: 5 }));
    assert_eq!(locate("m/84'/1'/0'/1/5"), Err(Elsewhere::Network));
    for path in [
        "m",
        "m/84'",
        "m/84'/0'/0'",
        "m/84'/0'/0'/1",
        "m/84'/0'/0'/1/5/0",
        "m/84'/0'/1'/1/5",
        "m/84/0/0/2/5",
        "m/84/0/1/1/5",
        "m/84'/0'/0'/2/5",
        "m/49'/0'/0'/1/5",
        "m/49'/1'/0'/1/5",
    ] {
        assert_eq!(locate(path), Err(Elsewhere::Path), "{path}");
    }
    for path in [
        "m/84/0/0/1/5",
        "m/84/0'/0'/1/5",
        "m/84'/0/0'/1/5",
        "m/84'/0'/0/1/5",
        "m/84'/0'/0'/1'/5",
        "m/84'/0'/0'/1/5'",
        "m/84'/0'/0'/1'/5'",
    ] {
        assert_eq!(locate(path), Err(Elsewhere::Hardening), "{path}");
    }
}

#[test]
fn each_of_our_places_has_chains_of_its_own() {
    let secp = Secp256k1::new();
    let mut record = record(Network::Mainnet, "48'/0'/0'/2'");
    let text = format!(
        "wsh(or_d(multi(2,@0/**,@1/<4;5>/*),and_v(v:pk(@1/<7;6>/*),older(144))))\n{}\nours",
        cosigner(1)
    );
    record.descriptor = Some(record.descriptor_for(&text, &secp).expect("registers"));
    let wallet = Wallet::open(&record, &secp).expect("opens");
    let (watch, keys) = (watch(&wallet), wallet.keys().expect("registered"));
    let locate = |path: &str| watch.locate_key(DerivationPath::from_str(path).expect("path").as_ref());
    for (path, place, chain) in [
        ("48'/0'/0'/2'/4/9", 0, Chain::External),
        ("48'/0'/0'/2'/5/9", 0, Chain::Internal),
        ("48'/0'/0'/2'/7/9", 1, Chain::External),
        ("48'/0'/0'/2'/6/9", 1, Chain::Internal),
    ] {
        let (place_there, location) = locate(path).expect("ours");
        assert_eq!((place_there.number(), location), (place, Location { chain, index: 9 }), "{path}");
        let branch = watch.rebuild(location).expect("rebuilds").branch(place_there).clone();
        let secret = keys.secret_key(place_there, chain, &branch.tweak).expect("derives").0;
        let steps = DerivationPath::from_str(&path.replace("48'/0'/0'/2'", "m")).expect("a path");
        let expected = wallet.account().derive_pub(&secp, &steps).expect("derives").public_key;
        assert_eq!((branch.key, secret.public_key(&secp)), (expected, expected), "{path}");
    }
    assert_eq!(locate("48'/0'/0'/2'/0/9"), Err(Elsewhere::Path));
    assert_eq!(locate("48'/0'/0'/2/7/9"), Err(Elsewhere::Hardening));
}

#[test]
fn the_chains_are_those_of_the_wallet_policy() {
    let secp = Secp256k1::new();
    let record = record(Network::Mainnet, "84'/0'/0'");
    let account = Account::open(&record, &secp).expect("opens");
    let watch = account.watch("w", "wpkh(@0/<4;2>/*)\nours", Network::Mainnet, &secp).expect("registers");
    let locate = |path: &str| watch.locate(DerivationPath::from_str(path).expect("path").as_ref());
    assert_eq!(locate("84'/0'/0'/4/7"), Ok(Location { chain: Chain::External, index: 7 }));
    assert_eq!(locate("84'/0'/0'/2/7"), Ok(Location { chain: Chain::Internal, index: 7 }));
    assert_eq!(locate("84'/0'/0'/0/7"), Err(Elsewhere::Path));
    let second = Descriptor::<DescriptorPublicKey>::from_str(watch.descriptor())
        .expect("a descriptor")
        .into_single_descriptors()
        .expect("two chains")
        .remove(1);
    let script = second.at_derivation_index(7).expect("in range").derived_descriptor(&secp).script_pubkey();
    let location = Location { chain: Chain::Internal, index: 7 };
    assert_eq!(watch.rebuild(location).expect("rebuilds").script_pubkey, script);
}

#[test]
fn the_id_is_the_hash_of_the_descriptor() {
    use sha2::{Digest, Sha256};
    let wallet = wallet(Network::Mainnet);
    let descriptor = watch(&wallet).descriptor();
    assert!(descriptor.rsplit_once('#').is_some_and(|(_, checksum)| checksum.len() == 8));
    assert_eq!(watch(&wallet).id()[..], Sha256::digest(descriptor)[..]);
    // Cosigners compare this over years, so the form of the descriptor must not change with a library.
    assert_eq!(
        hex::encode(watch(&wallet).id()),
        "bc6cec9ee35e516367f1c96e65a84d192edd36aad2b7ed0d028bc723db8c7511"
    );
}
