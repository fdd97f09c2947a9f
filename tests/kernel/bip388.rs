//! BIP 388 wallet policies, BIP 86 addresses and BIP 67 sorting, in the module's own registration.

mod brought;

use std::str::FromStr;

use bitcoin::bip32::{Fingerprint, Xpub};
use bitcoin::secp256k1::Secp256k1;
use serde_json::Value;

use countersign::kernel::network::Network;
use countersign::kernel::wallet::{Chain, Location, RegistrationError, WalletError, WatchOnly};
use harness::engine::scripts::of_seed;

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(|text| text.as_str().expect("a text")).collect()
}

/// Registers `text` for the holder of `key`, an extended public key with its origin.
fn register(text: &str, key: &str) -> Result<WatchOnly, WalletError> {
    let (origin, xpub) = key.trim_start_matches('[').split_once(']').expect("an origin");
    let (fingerprint, path) = origin.split_once('/').expect("a path");
    WatchOnly::register(
        "w",
        text,
        (Fingerprint::from_str(fingerprint).expect("hex"), &path.parse().expect("a path")),
        &Xpub::from_str(xpub).expect("an xpub"),
        Network::Mainnet,
        &Secp256k1::new(),
    )
}

#[test]
fn valid_vectors_register_for_each_key_holder_as_the_same_descriptor() {
    let vectors: Value = serde_json::from_str(include_str!("../vectors/bip388.json")).expect("JSON");
    let mut registered = Vec::new();
    for vector in vectors["valid"].as_array().expect("a list") {
        let name = vector["name"].as_str().expect("a name");
        let template = vector["template"].as_str().expect("a template");
        let keys = strings(&vector["keys_info"]);
        let descriptor = vector["descriptor"].as_str().expect("a descriptor");
        for ours in keys.iter().filter(|key| key.starts_with('[')) {
            let ours_by_word: Vec<_> =
                keys.iter().map(|key| if key == ours { "ours" } else { key }).collect();
            for text in [format!("{template}\n{}", ours_by_word.join("\n")), descriptor.into()] {
                match register(&text, ours) {
                    Ok(watch) => {
                        assert_eq!(watch.descriptor().rsplit_once('#').expect("a checksum").0, descriptor);
                        assert_eq!(watch.policy(), format!("{template}\n{}", keys.join("\n")), "{name}");
                        registered.push(name);
                    }
                    // The module does not sign for sortedmulti_a and MuSig2 (BIP 390).
                    Err(WalletError::Registration(RegistrationError::Syntax(_)))
                        if template.contains("sortedmulti_a") || template.contains("musig") => {}
                    Err(error) => panic!("{name}: {error}"),
                }
            }
        }
    }
    registered.dedup();
    assert_eq!(registered.len(), 7, "{registered:?}");
}

#[test]
fn invalid_vectors_are_refused() {
    let vectors: Value = serde_json::from_str(include_str!("../vectors/bip388.json")).expect("JSON");
    let ours = strings(&vectors["valid"][0]["keys_info"])[0];
    let others = strings(&vectors["valid"][5]["keys_info"]);
    let templates = vectors["invalid"].as_array().expect("a list");
    assert_eq!(templates.len(), 9);
    for vector in templates {
        let template = vector["template"].as_str().expect("a template");
        // With any number of keys that it could want, so that the template is the reason for the refusal.
        for keys in 1..=3 {
            let text = format!("{template}\nours\n{}", others[..keys - 1].join("\n"));
            assert!(register(&text, ours).is_err(), "{template}: {}", vector["reason"]);
        }
    }
}

#[test]
fn bip86_addresses() {
    let vectors: Value = serde_json::from_str(include_str!("../vectors/bip86.json")).expect("JSON");
    let secp = Secp256k1::new();
    // The seed of the vectors' mnemonic, by BIP 39.
    let seed = "5eb00bbddcf069084889a8ab9155568165f5c453ccb85e70811aaed6f6da5fc1\
                9a5ac40b389cd370d086206dec8aa6c43daea6690f20ad3d8d48b2d2ce9e38e4";
    let seed = hex::decode(seed).expect("hex").try_into().expect("64 bytes");
    let wallet = of_seed(seed, "tr(@0/**)\nours", Network::Mainnet, &secp);
    assert_eq!(wallet.account().to_string(), vectors["account"]["xpub"].as_str().expect("an xpub"));
    assert_eq!(wallet.account_path(), vectors["account"]["path"].as_str().expect("a path"));
    let addresses = vectors["addresses"].as_array().expect("a list");
    assert_eq!(addresses.len(), 3);
    for address in addresses {
        let path = address["path"].as_str().expect("a path").rsplit('/').collect::<Vec<_>>();
        let chain = if path[1] == "0" { Chain::External } else { Chain::Internal };
        let location = Location { chain, index: path[0].parse().expect("an index") };
        let rebuilt = harness::engine::watch(&wallet).rebuild(location).expect("rebuilds");
        assert_eq!(rebuilt.script_pubkey.to_hex_string(), address["scriptPubKey"].as_str().expect("hex"));
        let shown = bitcoin::Address::from_script(&rebuilt.script_pubkey, bitcoin::Network::Bitcoin);
        assert_eq!(shown.expect("an address").to_string(), address["address"].as_str().expect("a text"));
    }
}

#[test]
fn bip67_the_keys_of_sortedmulti_are_sorted() {
    use miniscript::descriptor::Descriptor;
    let vectors: Value = serde_json::from_str(include_str!("../vectors/bip67.json")).expect("JSON");
    let vectors = vectors["vectors"].as_array().expect("a list");
    assert_eq!(vectors.len(), 4);
    for vector in vectors {
        let text = format!("sh(sortedmulti({},{}))", vector["required"], strings(&vector["keys"]).join(","));
        let descriptor = Descriptor::<bitcoin::PublicKey>::from_str(&text).expect("a descriptor");
        let script = descriptor.explicit_script().expect("a script");
        assert_eq!(script.to_hex_string(), vector["script"].as_str().expect("hex"), "{}", vector["name"]);
    }
}
