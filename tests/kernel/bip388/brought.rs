//! Registrations as people bring them: the module reads those with one meaning, and names the fault of the
//! others.
//!
//! The files in `tests/vectors/registration` are named after their defect. `ours` stands for our key.

use bitcoin::base58;
use bitcoin::secp256k1::Secp256k1;

use countersign::kernel::network::Network;
use countersign::kernel::wallet::{RegistrationError, WalletError, WatchOnly};

use harness::engine::scripts::{Cosigner, named};

fn file(name: &str) -> String {
    let path = format!("{}/tests/vectors/registration/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Registers `text` with the key of a wallet on regtest.
fn register(text: &str) -> Result<WatchOnly, WalletError> {
    let wallet = named("wsh-multi").wallet(&Secp256k1::new());
    let path = wallet.account_path().trim_start_matches("m/").parse().expect("a path");
    let origin = (wallet.master_fingerprint(), &path);
    WatchOnly::register("w", text, origin, wallet.account(), Network::Regtest, &Secp256k1::new())
}

fn registered(text: &str) -> String {
    register(text).unwrap_or_else(|error| panic!("{text}: {error}")).descriptor().to_owned()
}

fn refusal(text: &str) -> RegistrationError {
    match register(text).map(|watch| watch.descriptor().to_owned()) {
        Err(WalletError::Registration(error)) => error,
        other => panic!("{text}: {other:?}"),
    }
}

/// A descriptor with the word `ours`, and the same with our key in its place and with its checksum.
fn sample() -> (String, String) {
    let by_word = format!("wsh(sortedmulti(2,{}/<0;1>/*,ours/<0;1>/*))", Cosigner::named("A").key());
    let complete = registered(&by_word);
    (by_word, complete)
}

/// The descriptor of one chain, with its checksum.
fn single(complete: &str, chain: usize) -> String {
    let descriptor: miniscript::Descriptor<miniscript::DescriptorPublicKey> =
        complete.parse().expect("a descriptor");
    descriptor.into_single_descriptors().expect("two chains").remove(chain).to_string()
}

#[test]
fn each_file_is_read_or_named() {
    for name in [
        "bsms-descriptor-record",
        "our-key-in-both-paths",
        "internal-key-that-nobody-has",
        "byte-order-mark-and-crlf",
        "two-placeholder-fingerprints",
    ] {
        let watch = register(&file(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        watch.check_spendable().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(registered(watch.policy()), watch.descriptor(), "{name}");
    }
    assert_eq!(register(&file("our-key-in-both-paths")).expect("read").places().count(), 2);
    let slip132 = refusal(&file("slip-132-prefix"));
    assert!(matches!(slip132, RegistrationError::Slip132 { .. }), "{slip132}");
}

#[test]
fn a_slip_132_prefix_is_refused_and_the_equal_key_is_offered() {
    let equal = Cosigner::named("A").xpub().to_string();
    let bytes = base58::decode_check(&equal).expect("base58");
    let mainnet = base58::encode_check(&[&[0x04, 0x88, 0xb2, 0x1e], &bytes[4..]].concat());
    for (version, letters, equal) in [
        (0x049d_7cb2u32, "ypub", &mainnet),
        (0x04b2_4746, "zpub", &mainnet),
        (0x0295_b43f, "Ypub", &mainnet),
        (0x02aa_7ed3, "Zpub", &mainnet),
        (0x044a_5262, "upub", &equal),
        (0x045f_1cf6, "vpub", &equal),
        (0x0242_89ef, "Upub", &equal),
        (0x0257_5483, "Vpub", &equal),
    ] {
        let key = base58::encode_check(&[&version.to_be_bytes()[..], &bytes[4..]].concat());
        assert!(key.starts_with(letters), "{key}");
        for text in [
            format!("wsh(multi(2,{key}/<0;1>/*,ours/<0;1>/*))"),
            format!("wsh(multi(2,@0/**,@1/**))\n[00112233/48h/1h/0h/2h]{key}\nours"),
        ] {
            let expected = RegistrationError::Slip132 { prefix: letters.into(), equal: equal.clone() };
            let error = refusal(&text);
            assert_eq!(error, expected, "{text}");
            assert!(error.to_string().contains(equal.as_str()), "{error} does not name {equal}");
        }
    }
}

#[test]
fn a_private_key_is_refused_and_not_repeated() {
    let master = Cosigner::named("A").master();
    let bytes = master.encode();
    let secret = "cMahea7zqjxrtgAbB7LSGbcQUr1uX1ojuat9jZodMN87JcbXMTcA";
    let mut keys = vec![master.to_string(), secret.to_owned(), format!("{master}X")];
    for version in
        [0x0488_ade4u32, 0x049d_7878, 0x04b2_430c, 0x0295_b005, 0x02aa_7a99, 0x044a_4e28, 0x045f_18bc]
    {
        keys.push(base58::encode_check(&[&version.to_be_bytes()[..], &bytes[4..]].concat()));
    }
    for key in keys {
        let error = refusal(&format!("wsh(multi(2,[00112233/48h]{key}/<0;1>/*,ours/<0;1>/*))"));
        assert_eq!(error, RegistrationError::PrivateKey, "{key}");
        assert!(!error.to_string().contains(&key), "{error}");
    }
}

#[test]
fn characters_that_editors_leave_around_a_registration_are_ignored() {
    let (by_word, complete) = sample();
    let a = Cosigner::named("A").key();
    for text in [
        format!("\u{feff}{by_word}"),
        format!("\u{feff}{by_word}\r\n"),
        format!("\r\n  {by_word}  \r\n\r\n"),
        format!("# the treasury\n{by_word}\n// end"),
        format!("{by_word} # the treasury"),
        by_word.replace('\'', "\u{2019}"),
        by_word.replace('\'', "h"),
        by_word.replace("2,", "2,\n    ").replace("*,", "*,\r\n    ").replace("))", "\n  )\n)\n"),
        format!(
            "wsh(sortedmulti(2,@0/**,@1/**)) # template\n# the user\n{a} # Alice\n\nours # Countersign\n"
        ),
        format!("\u{feff}wsh(sortedmulti(2,@0/**,@1/**))\r\n{a}\r\nours\r\n"),
        by_word.replace("/<0;1>/*", "/**"),
    ] {
        assert_eq!(registered(&text), complete, "{text}");
    }
}

#[test]
fn a_checksum_is_of_the_text_as_it_stands_or_with_our_key_in_it() {
    let (by_word, complete) = sample();
    let sum = |text: &str| {
        let mut engine = miniscript::descriptor::checksum::Engine::new();
        engine.input(text).expect("ASCII");
        engine.checksum()
    };
    let short = by_word.replace("/<0;1>/*", "/**");
    for sum in [sum(&by_word), sum(&short), complete.rsplit_once('#').expect("a checksum").1.to_owned()] {
        for text in [&by_word, &short] {
            assert_eq!(registered(&format!("{text}#{sum}")), complete);
        }
    }
    for text in [&by_word, &short, &complete.replace("#", "#q")] {
        let text = text.split('#').next().expect("a descriptor");
        assert_eq!(refusal(&format!("{text}#qqqqqqqq")), RegistrationError::Checksum);
    }
    let broken = complete.replacen("2,", "1,", 1);
    assert_eq!(refusal(&broken), RegistrationError::Checksum);
}

#[test]
fn a_bsms_file_is_read_with_its_restrictions_and_its_first_address_is_compared() {
    let (by_word, complete) = sample();
    let watch = register(&by_word).expect("registers");
    let body = |text: &str| text.split('#').next().expect("a descriptor").replace("/<0;1>/*", "/**");
    let address = |watch: &WatchOnly| {
        let script =
            harness::engine::scripts::script_at(watch, countersign::kernel::wallet::Chain::External, 0);
        bitcoin::Address::from_script(&script, bitcoin::Network::Regtest).expect("an address").to_string()
    };
    let first = address(&watch);
    for restrictions in ["/0/*,/1/*", "No path restrictions"] {
        let file = format!("BSMS 1.0\n{}\n{restrictions}\n{first}\n", body(&complete));
        assert_eq!(registered(&file), complete);
        assert_eq!(registered(&file.replace('\n', "\r\n")), complete);
    }
    let other_chains = registered(&by_word.replace("<0;1>", "<4;5>"));
    let their_first = address(&register(&other_chains).expect("registers"));
    let file = |restrictions: &str, address: &str| {
        format!("BSMS 1.0\n{}\n{restrictions}\n{address}", body(&complete))
    };
    assert_eq!(registered(&file("/4/*,/5/*", &their_first)), other_chains);
    assert_eq!(refusal(&file("/0/*,/1/*", &their_first)), RegistrationError::FirstAddress);
    assert_eq!(refusal(&file("/0/*,/1/*", "tb1qfoo")), RegistrationError::FirstAddress);
    for bad in [
        file("/0/*", &first),
        file("/0/*,/1/*,/2/*", &first),
        file("/0'/*,/1'/*", &first),
        format!("BSMS 2.0\n{}\n/0/*,/1/*\n{first}", body(&complete)),
        format!("BSMS 1.0\n00\n{}\nthe user's key\nSIG", Cosigner::named("A").key()),
        "BSMS 1.0".into(),
    ] {
        let error = refusal(&bad);
        assert!(matches!(error, RegistrationError::Bsms(_)), "{bad}: {error}");
    }
    let template = "BSMS 1.0\nwsh(sortedmulti(2,ours/**,ours/**))\n/0/*,/1/*\nx";
    refusal(template);
}

#[test]
fn the_descriptors_of_both_chains_are_one_and_those_of_two_scripts_are_not() {
    let (by_word, complete) = sample();
    let (external, internal) = (single(&complete, 0), single(&complete, 1));
    for text in [
        format!("{external}\n{internal}"),
        format!(
            "# Receive and change descriptor (BIP389):\n{complete}\n\n# Receive descriptor:\n{external}\n\n# Change descriptor:\n{internal}\n"
        ),
        format!("{complete}\n{external}"),
        format!("{}\n{}", by_word.replace("<0;1>", "0"), by_word.replace("<0;1>", "1")),
    ] {
        assert_eq!(registered(&text), complete, "{text}");
    }
    let other = registered(&by_word.replace("sortedmulti(2", "sortedmulti(1"));
    for text in [
        format!("{complete}\n{other}"),
        format!("{external}\n{}", single(&other, 1)),
        format!("{external}\n{external}"),
        format!("{complete}\n{}", single(&other, 0)),
        format!("{external}\n{internal}\n{other}\n{external}"),
    ] {
        let error = refusal(&text);
        assert!(matches!(error, RegistrationError::SeveralDescriptors(_)), "{text}: {error}");
    }
    assert_eq!(
        refusal(&format!("{external}\n{}", internal.replacen("2,", "1,", 1))),
        RegistrationError::Checksum
    );
}

#[test]
fn an_ambiguous_registration_is_refused_with_its_reason() {
    let a = Cosigner::named("A").key();
    for json in [
        "{\"wallet_name\": \"w\", \"descriptors\": []}",
        "{\n  \"wallet_name\": \"w\"}",
        "[{\"desc\": \"wsh()\"}]",
        "[\n  {\"desc\": \"wsh()\"}]",
    ] {
        assert_eq!(refusal(json), RegistrationError::Json, "{json}");
    }
    let coldcard = format!(
        "# Coldcard Multisig setup file\nName: vault\nPolicy: 2 of 2\nDerivation: m/48'/1'/0'/2'\nFormat: P2WSH\n\n{a}"
    );
    assert_eq!(refusal(&coldcard), RegistrationError::Coldcard);
    let behind = format!("wsh(multi(2,@0/**,@1/**))\n{a}/<0;1>/*\nours");
    assert_eq!(refusal(&behind), RegistrationError::KeyLine);
}

#[test]
fn a_placeholder_fingerprint_names_nobody() {
    let at_zero = |name: &str| {
        let key = Cosigner::named(name).key();
        format!("[00000000{}", &key[9..])
    };
    let (a, b) = (at_zero("A"), at_zero("B"));
    registered(&format!("wsh(sortedmulti(2,@0/**,@1/**,@2/**))\n{a}\n{b}\nours"));
    registered(&format!("wsh(and_v(v:pk(@0/**),and_v(v:pk(@1/**),pk(@2/**))))\n{a}\n{b}\nours"));
    // The same key twice is one cosigner, whatever the fingerprints say.
    let twice = refusal(&format!("wsh(multi(2,@0/**,@0/<2;3>/*,@1/**))\n{a}\nours"));
    assert!(matches!(twice, RegistrationError::CosignerTwice(_)), "{twice}");
}
