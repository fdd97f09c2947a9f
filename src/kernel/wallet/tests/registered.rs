//! The scripts and paths that may be registered.

use super::*;

fn register(text: &str) -> Result<String, WalletError> {
    record(Network::Mainnet, "48'/0'/0'/2'").descriptor_for(text, &Secp256k1::new())
}

fn refusal(text: &str) -> RegistrationError {
    match register(text) {
        Err(WalletError::Registration(error)) => error,
        Err(other) => panic!("{text}: {other}"),
        Ok(descriptor) => panic!("{text}: registered as {descriptor}"),
    }
}

#[test]
fn both_forms_register_the_same_descriptor() {
    let (a, b) = (cosigner(1), cosigner(2));
    let policy = format!("wsh(sortedmulti(2,@0/**,@1/**,@2/<0;1>/*))\n{a}\nours\n{b}\n");
    let descriptor = register(&policy).expect("registers");
    let by_word = format!("wsh(sortedmulti(2,{a}/<0;1>/*,ours/<0;1>/*,{b}/<0;1>/*))");
    assert_eq!(register(&by_word).expect("registers"), descriptor);
    assert_eq!(register(&descriptor).expect("its own text, with its checksum"), descriptor);
    let hardened = descriptor.rsplit_once('#').expect("a checksum").0.replace('\'', "h");
    assert_eq!(register(&hardened).expect("h for '"), descriptor);
    let watch = Account::open(&record(Network::Mainnet, "48'/0'/0'/2'"), &Secp256k1::new())
        .expect("opens")
        .watch("w", &policy, Network::Mainnet, &Secp256k1::new())
        .expect("registers");
    let shown: Vec<&str> = watch.policy().lines().collect();
    assert_eq!(shown[0], "wsh(sortedmulti(2,@0/**,@1/**,@2/**))");
    assert_eq!((shown[1], shown[3]), (a.as_str(), b.as_str()));
    assert_eq!(register(watch.policy()).expect("what is shown can be registered"), descriptor);
}

#[test]
fn our_key_occurs_once_with_its_origin() {
    use RegistrationError::{OursAlone, OursClaimed, OursCountsTwice, OursMissing, OursOrigin, OursTwice};
    let (a, b) = (cosigner(1), cosigner(2));
    let ours = {
        let record = record(Network::Mainnet, "48'/0'/0'/2'");
        Account::open(&record, &Secp256k1::new()).expect("opens").xpub.to_string()
    };
    assert_eq!(refusal(&format!("wsh(multi(2,@0/**,@1/**))\n{a}\n{b}")), OursMissing);
    assert_eq!(refusal(&format!("wsh(multi(2,{a}/<0;1>/*,{b}/<0;1>/*))")), OursMissing);
    assert_eq!(refusal("wsh(multi(2,@0/**,@1/**))\nours\nours"), OursTwice);
    assert_eq!(refusal("wsh(multi(2,ours,ours))"), OursAlone);
    assert_eq!(refusal("wpkh(ours)"), OursAlone);
    assert_eq!(refusal(&format!("wsh(multi(2,@0/**,@1/**,@0/<2;3>/*))\nours\n{a}")), OursCountsTwice);
    assert_eq!(
        refusal(&format!("wsh(thresh(2,pk(@0/**),s:pk(@1/**),s:pk(@0/<2;3>/*)))\nours\n{a}")),
        OursCountsTwice
    );
    assert_eq!(refusal(&format!("wsh(multi(2,@0/**,@1/**))\n{a}\n{ours}")), OursOrigin);
    assert_eq!(
        refusal(&format!("wsh(multi(2,@0/**,@1/**))\n{a}\n[73c5da0a/48'/0'/1'/2']{ours}")),
        OursOrigin
    );
    assert_eq!(
        refusal(&format!("wsh(multi(2,@0/**,@1/**))\n{a}\n[00000000/48'/0'/0'/2']{ours}")),
        OursOrigin
    );
    // Our fingerprint on a key that is not ours.
    let claimed = format!("[73c5da0a/48'/0'/0'/2']{}", b.split_once(']').expect("an origin").1);
    assert_eq!(refusal(&format!("wsh(multi(2,@0/**,@1/**))\n{claimed}\nours")), OursClaimed);
}

/// BIP 388: the same key in several branches, each with its own chains.
#[test]
fn our_key_may_stand_in_several_branches_at_disjoint_derivations() {
    let a = cosigner(1);
    for template in [
        "wsh(or_d(pk(@0/**),and_v(v:pk(@0/<2;3>/*),older(9))))",
        "wsh(multi(1,@0/**,@0/<2;3>/*))",
        "tr(@0/**,and_v(v:pk(@0/<2;3>/*),older(9)))",
        "wsh(or_i(and_v(v:pk(@0/**),older(9)),or_i(and_v(v:pk(@0/<2;3>/*),older(99)),pk(@0/<4;5>/*))))",
    ] {
        register(&format!("{template}\nours")).unwrap_or_else(|error| panic!("{template}: {error}"));
    }
    let word = format!("wsh(or_d(multi(2,{a}/**,ours/**),and_v(v:pk(ours/<2;3>/*),older(9))))");
    let policy = format!("wsh(or_d(multi(2,@0/**,@1/**),and_v(v:pk(@1/<2;3>/*),older(9))))\n{a}\nours");
    assert_eq!(register(&word).expect("registers"), register(&policy).expect("registers"));
    for template in [
        "wsh(or_d(pk(@0/**),and_v(v:pk(@0/**),older(9))))",
        "wsh(or_d(pk(@0/**),and_v(v:pk(@0/<1;2>/*),older(9))))",
        "tr(@0/**,{pk(@1/**),and_v(v:pk(@0/<3;0>/*),older(9))})",
    ] {
        let keys = if template.contains("@1") { format!("ours\n{a}") } else { "ours".into() };
        let refused = refusal(&format!("{template}\n{keys}"));
        assert!(matches!(refused, RegistrationError::Syntax(_)), "{template}: {refused}");
    }
}

#[test]
fn a_cosigner_counts_once_towards_a_threshold() {
    let a = cosigner(1);
    let fingerprint = Fingerprint::from_str(&a[1..9]).expect("hex");
    let twice = RegistrationError::CosignerTwice(fingerprint);
    for (template, first, second) in [
        ("wsh(multi(2,@0/**,@1/**,@0/<2;3>/*))", a.as_str(), "ours"),
        ("wsh(thresh(2,pk(@0/**),s:pk(@1/**),s:pk(@0/<2;3>/*)))", &a, "ours"),
        ("wsh(and_v(v:pk(@0/**),or_d(pk(@1/**),pk(@0/<2;3>/*))))", &a, "ours"),
        ("tr(@0/**,multi_a(2,@1/**,@1/<2;3>/*))", "ours", &a),
    ] {
        assert_eq!(refusal(&format!("{template}\n{first}\n{second}")), twice, "{template}");
    }
    // The same key with another placeholder is refused, because it would count twice.
    let same = refusal(&format!("wsh(multi(2,@0/**,@1/**,@2/**))\n{a}\nours\n{a}"));
    assert!(matches!(same, RegistrationError::Syntax(_)), "{same}");
    // Two accounts of one master key are one cosigner, and so is a key that claims another's master
    // fingerprint.
    let account = |seed: u8, path: &str| {
        let secp = Secp256k1::new();
        let master = Xpriv::new_master(NetworkKind::Main, &[seed; 32]).expect("a master");
        let path: DerivationPath = path.parse().expect("a path");
        let xpub = Xpub::from_priv(&secp, &master.derive_priv(&secp, &path).expect("derives"));
        format!("[{fingerprint}/{path}]{xpub}")
    };
    for second in [account(1, "48'/0'/1'/2'"), account(2, "48'/0'/0'/2'")] {
        assert_eq!(refusal(&format!("wsh(multi(2,@0/**,@1/**,@2/**))\n{a}\n{second}\nours")), twice);
    }
    // With us, or alone in time: the user's two chains are in branches of which one is enough.
    let recovery = "wsh(or_d(multi(2,@0/<0;1>/*,@1/**),and_v(v:pk(@0/<2;3>/*),older(144))))";
    register(&format!("{recovery}\n{a}\nours")).expect("registers");
}

#[test]
fn keys_are_of_the_wallet_s_network_and_nothing_is_hardened_behind_them() {
    let a = cosigner(1);
    let tpub = "[00112233/48'/1'/0'/2']tpubDCwYjpDhUdPGP5rS3wgNg13mTrrjBuG8V9VpWbyptX6TRPbNoZVXsoVUSkCjmQ8jJycjuDKBb9eataSymXakTTaGifxR6kmVsfFehH1ZgJT";
    assert_eq!(
        refusal(&format!("wsh(multi(2,@0/**,@1/**))\n{tpub}\nours")),
        RegistrationError::Network("mainnet")
    );
    for path in ["/0'/<0;1>/*", "/<0';1'>/*", "/<0;1>/*'", "/0/*", "/<0;1>/2/*", "/<0;1;2>/*", "/*", ""] {
        let error = refusal(&format!("wsh(multi(2,{a}{path},ours/<0;1>/*))"));
        let by_parser = matches!(error, RegistrationError::Syntax(_));
        assert!(error == RegistrationError::Derivation || by_parser, "{path}: {error}");
    }
    assert_eq!(refusal(&format!("wsh(multi(2,{a}/0'/<0;1>/*,ours/<0;1>/*))")), RegistrationError::Derivation);
    assert_eq!(refusal(&format!("wsh(multi(2,{a}/<0;1>/*',ours/<0;1>/*))")), RegistrationError::Derivation);
}

#[test]
fn a_script_that_is_not_sane_is_refused() {
    let a = cosigner(1);
    for template in [
        // Anyone can spend.
        "wsh(or_d(multi(2,@0/**,@1/**),older(144)))",
        // Heights and times mixed.
        "wsh(and_v(v:and_v(v:pk(@0/**),pk(@1/**)),and_v(v:older(4194305),older(9))))",
        // Malleable.
        "wsh(and_v(v:pk(@0/**),or_d(sha256(926a54995ca48600920a19bf7bc502ca5f2f7d07e6f804c4f00ebf0325084dfc),pk(@1/**))))",
    ] {
        let error = refusal(&format!("{template}\n{a}\nours"));
        let named = matches!(error, RegistrationError::Insane(_) | RegistrationError::Syntax(_));
        assert!(named, "{template}: {error}");
    }
}

/// An age that looks like a year and is not.
#[test]
fn a_timelock_that_does_not_wait_is_refused() {
    let a = cosigner(1);
    let of =
        |age: u32| format!("wsh(or_d(multi(2,@0/**,@1/**),and_v(v:pk(@0/<2;3>/*),older({age}))))\n{a}\nours");
    for age in [1 << 16, 1 << 17, 1 << 22, 52_560 | 1 << 21, (1 << 22) | (1 << 16)] {
        assert!(matches!(refusal(&of(age)), RegistrationError::Insane(_)), "{age}");
    }
    for age in [1, 144, 52_560, 65_535, (1 << 22) | 1, (1 << 22) | 65_535] {
        register(&of(age)).unwrap_or_else(|error| panic!("{age}: {error}"));
    }
}

#[test]
fn script_types_that_are_not_signed_are_refused() {
    let a = cosigner(1);
    for template in ["sh(and_v(v:pk(@0/**),pk(@1/**)))", "sh(thresh(2,pk(@0/**),s:pk(@1/**)))"] {
        assert_eq!(refusal(&format!("{template}\n{a}\nours")), RegistrationError::ScriptType, "{template}");
    }
    for text in [
        "",
        "ours",
        "@0",
        "pk(@0/**)\nours",
        "multi(1,@0/**)\nours",
        "wpkh(ours)",
        "wpkh(@0/**)",
        "wpkh(@0/**)\nours\nours",
        "combo(ours/<0;1>/*)",
        "raw(00)",
        "addr(bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu)",
        "wpkh(ours/<0;1>/*)#00000000",
        "wpkh(0330d54fd0dd420a6e5f8d3624f5f3482cae350f79d5f0753bf5beef9c2d91af3c)",
        "wpkh(zpub6rFR7y4Q2AijBEqTUquhVz398htDFrtymD9xYYfG1m4wAcvPhXNfE3EfH1r1ADqtfSdVCToUG868RvUUkgDKf31mGDtKsAYz2oz2AGutZYs/<0;1>/*)",
    ] {
        refusal(text);
    }
    assert!(matches!(refusal(&"w".repeat(9_000)), RegistrationError::Syntax(_)));
}

/// BIP 341's point, as wallets write it.
const POINT: &str = "50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0";

#[test]
fn an_internal_key_that_nobody_can_have_is_registered_as_itself_and_as_an_extended_key() {
    let secp = Secp256k1::new();
    let a = cosigner(1);
    let xpub = nobody::stand_in(Network::Mainnet).to_string();
    let tree = "{multi_a(2,@0/**,@1/**),and_v(v:pk(@0/<2;3>/*),older(65535))}";
    for (point, policy) in [
        (POINT.to_owned(), format!("tr({POINT},{tree})\n{a}\nours")),
        (
            format!("{xpub}/<0;1>/*"),
            format!("tr(@0/**,{})\n{xpub}\n{a}\nours", tree.replace("@1", "@2").replace("@0", "@1")),
        ),
    ] {
        let tree = tree.replace("@0", &a).replace("@1", "ours");
        let descriptor =
            register(&format!("tr({point},{tree})")).unwrap_or_else(|error| panic!("{point}: {error}"));
        assert_eq!(register(&descriptor).expect("its own text"), descriptor);
        assert_eq!(register(&policy).expect("as a wallet policy"), descriptor);
        let account = Account::open(&record(Network::Mainnet, "48'/0'/0'/2'"), &secp).expect("opens");
        let watch = account.watch("w", &descriptor, Network::Mainnet, &secp).expect("registers");
        assert_eq!(register(watch.policy()).expect("what is shown can be registered"), descriptor);
        for (chain, index) in [(Chain::External, 0), (Chain::Internal, 77)] {
            let rebuilt = watch.rebuild(Location { chain, index }).expect("rebuilds").script_pubkey;
            let chains = Descriptor::<DescriptorPublicKey>::from_str(&descriptor)
                .expect("a descriptor")
                .into_single_descriptors()
                .expect("two chains");
            let there = chains[chain as usize].at_derivation_index(index).expect("in range");
            assert_eq!(rebuilt, there.derived_descriptor(&secp).script_pubkey(), "{point}");
        }
    }
    // Any other key must be an extended one.
    let generator = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    refusal(&format!("tr({generator},pk(ours/**))"));
}

#[test]
fn coins_that_nobody_could_ever_spend_are_refused() {
    let a = cosigner(1);
    let mut xpub = nobody::stand_in(Network::Mainnet).xkey;
    xpub.chain_code = [7; 32].into();
    let xpub = format!("{xpub}/<0;1>/*");
    for text in [
        format!("wsh(multi(2,{xpub},ours/**))"),
        format!("wsh(and_v(v:pk({xpub}),or_d(pk({a}/**),and_v(v:pk(ours/**),older(9)))))"),
        format!("wsh(and_v(v:pk(03{POINT}),pk(ours/**)))"),
    ] {
        assert_eq!(refusal(&text), RegistrationError::Unspendable, "{text}");
    }
    register(&format!("wsh(multi(2,{xpub},{a}/**,ours/**))")).expect("the two others can");
}

#[test]
fn a_required_cosigner_is_somebody() {
    let secp = Secp256k1::new();
    let mut record = record(Network::Mainnet, "48'/0'/0'/2'");
    let key = nobody::stand_in(Network::Mainnet);
    let text = format!("wsh(multi(2,@0/**,@1/**,@2/**))\n{}\nours\n{key}", cosigner(1));
    record.descriptor = Some(record.descriptor_for(&text, &secp).expect("registers"));
    let fingerprint = key.xkey.fingerprint();
    record.terms.policy = format!("unlimited = true\nrequire_cosigner = \"{fingerprint}\"");
    let wallet = Wallet::open(&record, &secp).expect("as if it was sealed before");
    assert!(matches!(wallet.check_new(), Err(WalletError::NobodyCosigns(_))));
}

#[test]
fn standard_paths() {
    for (text, mainnet) in [
        ("pkh(@0/**)", Some("44'/0'/0'")),
        ("wpkh(@0/**)", Some("84'/0'/0'")),
        ("sh(wpkh(@0/**))", Some("49'/0'/0'")),
        ("tr(@0/**)", Some("86'/0'/0'")),
        ("sh(wsh(multi(2,@0/**,@1/**)))", Some("48'/0'/0'/1'")),
        ("wsh(multi(2,@0/**,@1/**))", Some("48'/0'/0'/2'")),
        ("sh(multi(2,@0/**,@1/**))", None),
        ("tr(@0/**,pk(@1/**))", None),
    ] {
        let path = registration::standard_path(text, Network::Mainnet);
        match mainnet {
            Some(mainnet) => assert_eq!(path.expect("a path").to_string(), mainnet, "{text}"),
            None => assert_eq!(path, Err(RegistrationError::PathNeeded), "{text}"),
        }
    }
    let path = registration::standard_path("wpkh(@0/**)", Network::Regtest).expect("a path");
    assert_eq!(path.to_string(), "84'/1'/0'");
}

#[test]
fn explicit_paths_are_hardened_and_of_the_network() {
    let parse = |path: &str| registration::parse_path(path, Network::Mainnet);
    for path in ["m/48'/0'/7'/2'", "48h/0h/0h/2h", "m/45'", "1'/2'/3'/4'/5'/6'/7'/8'"] {
        parse(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    for path in ["", "m", "m/48'/0'/0'/2", "0", "m/x", "1'/2'/3'/4'/5'/6'/7'/8'/9'"] {
        assert_eq!(parse(path), Err(RegistrationError::Path), "{path}");
    }
    for path in ["m/84'/1'/0'", "m/48'/1'/0'/2'", "m/84'", "m/44'/2'"] {
        let expected = if path == "m/84'" { Ok(()) } else { Err(RegistrationError::CoinType(0)) };
        assert_eq!(parse(path).map(drop), expected, "{path}");
    }
}

#[test]
fn a_required_cosigner_is_one_of_the_wallet_s() {
    let secp = Secp256k1::new();
    let a = cosigner(1);
    let mut record = record(Network::Mainnet, "48'/0'/0'/2'");
    let text = format!("wsh(multi(2,@0/**,@1/**))\n{a}\nours");
    record.descriptor = Some(record.descriptor_for(&text, &secp).expect("registers"));
    record.terms.policy = format!("unlimited = true\nrequire_cosigner = \"{}\"", &a[1..9]);
    Wallet::open(&record, &secp).expect("opens");
    for fingerprint in ["73c5da0a", "00000000"] {
        record.terms.policy = format!("unlimited = true\nrequire_cosigner = \"{fingerprint}\"");
        assert!(matches!(Wallet::open(&record, &secp), Err(WalletError::NoSuchCosigner(_))), "{fingerprint}");
    }
}

#[test]
fn a_required_cosigner_is_one_key_that_nobody_else_claims_to_be() {
    let secp = Secp256k1::new();
    let (a, b) = (cosigner(1), cosigner(2));
    let lying = format!("[{}{}", &a[1..9], &b[9..]);
    let mut record = record(Network::Mainnet, "48'/0'/0'/2'");
    // In two branches of which one is enough, this is allowed. But then the fingerprint names nobody.
    let text = format!(
        "wsh(or_d(multi(2,@0/**,@1/**),and_v(v:multi(2,@2/**,@1/<2;3>/*),older(144))))\n{a}\nours\n{lying}"
    );
    let text = text.replace("@1/<2;3>/*", "@3/**") + &format!("\n{}", cosigner(3));
    record.descriptor = Some(record.descriptor_for(&text, &secp).expect("registers"));
    Wallet::open(&record, &secp).expect("opens");
    record.terms.policy = format!("unlimited = true\nrequire_cosigner = \"{}\"", &a[1..9]);
    assert!(matches!(Wallet::open(&record, &secp), Err(WalletError::SeveralCosigners(_))));
    // Two pairs of chains of one extended key are one cosigner.
    let text = "wsh(or_d(multi(2,@0/<0;1>/*,@1/**),and_v(v:pk(@0/<2;3>/*),older(144))))";
    record.descriptor = Some(record.descriptor_for(&format!("{text}\n{a}\nours"), &secp).expect("registers"));
    Wallet::open(&record, &secp).expect("opens");
}

#[test]
fn a_registration_that_opens_once_opens_again_however_long_its_descriptor_is() {
    let secp = Secp256k1::new();
    let mut record = record(Network::Mainnet, "48'/0'/0'/2'");
    let keys: Vec<String> = (1..20).map(cosigner).collect();
    // Each cosigner is in three leaves, so the descriptor is three times as long as the wallet policy.
    let leaf = |chains: u32| {
        let key = |key: usize| format!("@{}/<{};{}>/*", key + 1, chains, chains + 1);
        format!("multi_a(10,{})", (0..keys.len()).map(key).collect::<Vec<_>>().join(","))
    };
    let text = format!("tr(@0/**,{{{},{{{},{}}}}})\nours\n{}", leaf(0), leaf(2), leaf(4), keys.join("\n"));
    assert!(text.len() < registration::MAX_REGISTRATION_LEN);
    let descriptor = record.descriptor_for(&text, &secp).expect("registers");
    assert!(descriptor.len() > registration::MAX_REGISTRATION_LEN);
    record.descriptor = Some(descriptor);
    Wallet::open(&record, &secp).expect("opens");
    let long = format!("{text}\n{}", " ".repeat(registration::MAX_REGISTRATION_LEN));
    assert!(matches!(refusal(&long), RegistrationError::Syntax(_)));
}
