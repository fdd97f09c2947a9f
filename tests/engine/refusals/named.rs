//! A refusal names what it found: the field, the script, the fingerprint, the path.

use bitcoin::bip32::{ChildNumber, DerivationPath, Fingerprint};
use bitcoin::psbt::Psbt;
use bitcoin::secp256k1::Secp256k1;

use countersign::kernel::psbt::{CheckedPsbt, PsbtError, hints};
use countersign::kernel::rule::Rule;
use countersign::kernel::wallet::{Chain, Location, Wallet};

use harness::engine::maps::{self, to_version_2};
use harness::engine::scripts::{good_psbt, named};
use harness::engine::{FEE, INPUT, PAID, alone, watch};

/// The refusal of these bytes.
fn refusal(bytes: Vec<u8>, wallet: &Wallet) -> PsbtError {
    let secp = Secp256k1::new();
    match CheckedPsbt::parse(bytes, watch(wallet), &alone(&secp)) {
        Err(refusal) => refusal,
        Ok(_) => panic!("it is not refused"),
    }
}

fn rule_and_detail(bytes: Vec<u8>, wallet: &Wallet) -> (Rule, String) {
    match refusal(bytes, wallet) {
        PsbtError::Refused { rule, detail } => (rule, detail),
        other => panic!("{other}"),
    }
}

fn not_psbt(bytes: Vec<u8>, wallet: &Wallet) -> String {
    match refusal(bytes, wallet) {
        PsbtError::NotPsbt(why) | PsbtError::DuplicateKey(why) => why,
        other => panic!("{other}"),
    }
}

/// A wallet, and a PSBT for it that no rule refuses.
fn stage(script: &str) -> (Wallet, Psbt) {
    let wallet = named(script).wallet(&Secp256k1::new());
    let psbt = good_psbt(watch(&wallet), 2);
    (wallet, psbt)
}

/// Changes the claimed origin of our key in every input.
fn rename(psbt: &mut Psbt, ours: Fingerprint, change: impl Fn(&mut Fingerprint, &mut DerivationPath)) {
    for input in &mut psbt.inputs {
        let plain = input.bip32_derivation.values_mut();
        let tap = input.tap_key_origins.values_mut().map(|(_, source)| source);
        for (fingerprint, path) in plain.chain(tap).filter(|(fingerprint, _)| *fingerprint == ours) {
            change(fingerprint, path);
        }
    }
}

#[test]
fn no_input_of_ours_says_under_which_fingerprint_our_key_is_claimed() {
    for script in ["wpkh", "wsh-sortedmulti", "tr", "tr-multi-a"] {
        let (wallet, good) = stage(script);
        let ours = wallet.master_fingerprint();
        let mut placeholder = good.clone();
        rename(&mut placeholder, ours, |fingerprint, _| *fingerprint = Fingerprint::default());
        // As software writes it that got the extended key alone.
        let mut without_origin = good.clone();
        let account = wallet.account().fingerprint();
        rename(&mut without_origin, ours, |fingerprint, path| {
            *fingerprint = account;
            let steps: &[ChildNumber] = (*path).as_ref();
            *path = steps[steps.len() - 2..].to_vec().into();
        });
        for (psbt, claimed) in [(placeholder, Fingerprint::default()), (without_origin, account)] {
            let (rule, detail) = rule_and_detail(psbt.serialize(), &wallet);
            assert_eq!(rule, Rule::NoInputOfOurs, "{script}");
            for part in [claimed.to_string(), ours.to_string(), "input 0".into()] {
                assert!(detail.contains(&part), "{script}: {detail}");
            }
        }
        // Keys of another wallet.
        let stranger = Fingerprint::from([1, 2, 3, 4]);
        let mut other = good.clone();
        rename(&mut other, ours, |fingerprint, path| {
            (*fingerprint, *path) = (stranger, "84'/1'/0'/0/77".parse().expect("a path"));
        });
        let (rule, detail) = rule_and_detail(other.serialize(), &wallet);
        assert_eq!(rule, Rule::NoInputOfOurs);
        assert!(detail.contains("01020304") && detail.contains(&ours.to_string()), "{detail}");
        let mut none = good;
        for input in &mut none.inputs {
            input.bip32_derivation.clear();
            input.tap_key_origins.clear();
        }
        let (_, detail) = rule_and_detail(none.serialize(), &wallet);
        assert!(detail.contains("bip32_derivation"), "{detail}");
    }
}

#[test]
fn derived_key_a_path_that_lost_its_hardening_is_no_other_wallet_s() {
    let (wallet, mut psbt) = stage("wpkh");
    let ours = wallet.master_fingerprint();
    let good = psbt.clone();
    for path in ["84/1/0/0/0", "84'/1'/0/0/0", "84'/1'/0'/0'/0", "84'/1'/0'/0/0'"] {
        rename(&mut psbt, ours, |_, there| *there = path.parse().expect("a path"));
        let (rule, detail) = rule_and_detail(psbt.serialize(), &wallet);
        assert_eq!(rule, Rule::DerivedKey, "{path}");
        assert!(detail.contains("hardening") && detail.contains(path), "{path}: {detail}");
    }
    rename(&mut psbt, ours, |_, there| *there = "84'/1'/7'/0/0".parse().expect("a path"));
    let (rule, detail) = rule_and_detail(psbt.serialize(), &wallet);
    assert!(rule == Rule::MixedWallets && detail.contains("m/84'/1'/0'"), "{rule}: {detail}");
    let mut change = good;
    // A path with thousands of steps is not repeated in the message.
    rename(&mut psbt, ours, |_, there| *there = vec![ChildNumber::Normal { index: 7 }; 5_000].into());
    let (_, detail) = rule_and_detail(psbt.serialize(), &wallet);
    assert!(detail.contains("5000 steps") && detail.len() < 200, "{detail}");
    let (_, path) = change.outputs[1].bip32_derivation.values_mut().next().expect("change");
    *path = "84/1/0/1/3".parse().expect("a path");
    let (rule, detail) = rule_and_detail(change.serialize(), &wallet);
    assert!(rule == Rule::ChangePath && detail.contains("hardening"), "{rule}: {detail}");
}

#[test]
fn script_mismatch_says_which_script() {
    let (wallet, good) = stage("sh-wsh-sortedmulti");
    let wrong = bitcoin::ScriptBuf::from_bytes(vec![0x51]);
    let mut psbt = good.clone();
    psbt.inputs[1].redeem_script = Some(wrong.clone());
    assert!(rule_and_detail(psbt.serialize(), &wallet).1.contains("redeem_script of input 1"));
    let mut psbt = good;
    psbt.outputs[1].witness_script = Some(wrong);
    assert!(rule_and_detail(psbt.serialize(), &wallet).1.contains("witness_script of output 1"));
}

#[test]
fn a_field_that_cannot_be_read_is_named() {
    let (wallet, good) = stage("wsh-sortedmulti");
    let with = |map: usize, key: &[u8], value: &[u8]| {
        let mut maps = maps::read(&good.serialize());
        maps[map].retain(|(there, _)| there[..] != *key);
        maps[map].push((key.to_vec(), value.to_vec()));
        maps::write(&maps)
    };
    let key = [&[6][..], &[2; 33]].concat();
    for (bytes, named) in [
        (with(0, &[1, 2, 3], &[0; 4]), "PSBT_GLOBAL_XPUB (0x01) of the global map"),
        (with(0, &[0], &[2; 30]), "PSBT_GLOBAL_UNSIGNED_TX (0x00) of the global map"),
        (with(2, &[3], &[1, 0, 0]), "PSBT_IN_SIGHASH_TYPE (0x03) of input 1"),
        (with(1, &key, &[0; 5]), "PSBT_IN_BIP32_DERIVATION (0x06) of input 0"),
        (with(1, &[0x17], &[0; 31]), "PSBT_IN_TAP_INTERNAL_KEY (0x17) of input 0"),
        (with(4, &[6], &[9; 3]), "PSBT_OUT_TAP_TREE (0x06) of output 1"),
        (with(0, &[3], &[0; 4]), "PSBT_GLOBAL_FALLBACK_LOCKTIME (0x03) of the global map is of version 2"),
        (with(2, &[0x10], &[0; 4]), "PSBT_IN_SEQUENCE (0x10) of input 1 is of version 2"),
        (with(4, &[4], &[0]), "PSBT_OUT_SCRIPT (0x04) of output 1 is of version 2"),
    ] {
        let why = not_psbt(bytes, &wallet);
        assert!(why.contains(named), "{named}: {why}");
    }
    let twice = {
        let mut maps = maps::read(&good.serialize());
        let pair = maps[4].first().expect("a field").clone();
        maps[4].push(pair);
        maps::write(&maps)
    };
    let why = not_psbt(twice, &wallet);
    assert!(why.contains("PSBT_OUT_") && why.contains("of output 1 comes twice"), "{why}");
    let version_2 = {
        let mut maps = maps::read(&to_version_2(&good));
        let (_, value) = maps[2].iter_mut().find(|(key, _)| key[..] == [0x0f]).expect("an index");
        value.push(0);
        maps::write(&maps)
    };
    let why = not_psbt(version_2, &wallet);
    assert!(why.contains("PSBT_IN_OUTPUT_INDEX (0x0f) of input 1 has 5 bytes, and takes 4"), "{why}");
    // The message repeats nothing of the field's content.
    let long = with(1, &[3], &[b'A'; 200]);
    assert!(!not_psbt(long, &wallet).contains("AAAA"));
}

#[test]
fn text_in_place_of_bytes_is_named_as_what_it_is() {
    use base64::Engine as _;
    let (wallet, good) = stage("wpkh");
    let bytes = good.serialize();
    let base64 = base64::engine::general_purpose::STANDARD.encode(&bytes);
    let hex = hex::encode(&bytes);
    for (text, named) in [
        (base64.into_bytes(), "base64"),
        (hex.clone().into_bytes(), "hexadecimal"),
        (hex.to_uppercase().into_bytes(), "hexadecimal"),
        ([b"\xef\xbb\xbf", &bytes[..]].concat(), "byte order mark"),
        (b"hello".to_vec(), "magic bytes"),
    ] {
        let why = not_psbt(text, &wallet);
        assert!(why.contains(named), "{why}");
    }
}

#[test]
fn change_under_another_fingerprint_counts_as_spent_and_a_hint_says_why() {
    let secp = Secp256k1::new();
    for script in ["wpkh", "wsh-sortedmulti", "tr-multi-a"] {
        let (wallet, mut psbt) = stage(script);
        let ours = wallet.master_fingerprint();
        assert_eq!(hints(&psbt.serialize(), watch(&wallet)), Vec::<String>::new(), "{script}");
        let output = &mut psbt.outputs[1];
        let plain = output.bip32_derivation.values_mut();
        let tap = output.tap_key_origins.values_mut().map(|(_, source)| source);
        for (fingerprint, _) in plain.chain(tap).filter(|(fingerprint, _)| *fingerprint == ours) {
            *fingerprint = Fingerprint::default();
        }
        let checked = CheckedPsbt::parse(psbt.serialize(), watch(&wallet), &alone(&secp)).expect(script);
        assert_eq!(checked.leaves(), 2 * INPUT, "{script}");
        let [hint] = &hints(&psbt.serialize(), watch(&wallet))[..] else { panic!("{script}: one hint") };
        for part in ["output 1", "internal 3", "00000000", &ours.to_string(), "counts as spent"] {
            assert!(hint.contains(part), "{script}: {hint}");
        }
    }
}

#[test]
fn an_output_without_its_redeem_script_is_ours_and_a_hint_says_so() {
    let secp = Secp256k1::new();
    for script in ["sh-wpkh", "sh-multi", "sh-wsh-sortedmulti"] {
        let (wallet, mut psbt) = stage(script);
        psbt.outputs[1].redeem_script = None;
        let checked = CheckedPsbt::parse(psbt.serialize(), watch(&wallet), &alone(&secp)).expect(script);
        assert_eq!(checked.our_outputs(), [(1, Location { chain: Chain::Internal, index: 3 })], "{script}");
        assert_eq!(checked.leaves(), PAID + 2 * FEE, "{script}");
        let [hint] = &hints(&psbt.serialize(), watch(&wallet))[..] else { panic!("{script}: one hint") };
        assert!(hint.contains("output 1 has no redeem_script"), "{hint}");
    }
}
