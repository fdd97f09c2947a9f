//! Vectors of BIP 322 (`bip-0322/basic-test-vectors.json`, `generated-test-vectors.json`), and of BIP 137 as bitcoinjs-message 2.2 has
//! them (`test/fixtures.json`). What another implementation signs and verifies is compared, too (`bip322`).

use bitcoin::key::{PrivateKey, TapTweak as _};
use bitcoin::secp256k1::{Keypair, SecretKey};
use proptest::prelude::*;

use super::*;

const NUMERIS: &str = "vires is numeris";
/// Of key 1, as its two P2PKH addresses.
const UNCOMPRESSED: &str = "1EHNa6Q4Jz2uvNExL497mE43ikXhwF6kZm";
const PKH: &str = "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH";

/// Address, message and signature, right as they are.
const RIGHT: [[&str; 3]; 12] = [
    // BIP 137: a key uncompressed and compressed, and key 1 as P2SH-P2WPKH and P2WPKH.
    [
        "16UwLL9Risc3QfPqBUvKofHmBQ7wMtjvM",
        NUMERIS,
        "G8JawPtQOrybrSP1WHQnQPr67B9S3qrxBrl1mlzoTJOSHEpmnF7D3+t+LX0Xei9J20B5AIdPbeL3AaTBZ4N3bY0=",
    ],
    [
        "1PMycacnJaSqwwJqjawXBErnLsZ7RkXUAs",
        NUMERIS,
        "H8JawPtQOrybrSP1WHQnQPr67B9S3qrxBrl1mlzoTJOSHEpmnF7D3+t+LX0Xei9J20B5AIdPbeL3AaTBZ4N3bY0=",
    ],
    [
        "3JvL6Ymt8MVWiCNHC7oWU6nLeHNJKLZGLN",
        NUMERIS,
        "JF8nHqFr3K2UKYahhX3soVeoW8W1ECNbr0wfck7lzyXjCS5Q16Ek45zyBuy1Fiy9sTPKVgsqqOuPvbycuVSSVl8=",
    ],
    [
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        NUMERIS,
        "KF8nHqFr3K2UKYahhX3soVeoW8W1ECNbr0wfck7lzyXjCS5Q16Ek45zyBuy1Fiy9sTPKVgsqqOuPvbycuVSSVl8=",
    ],
    // The same two with the header of a compressed P2PKH key, as Electrum and most devices write it.
    [
        "3JvL6Ymt8MVWiCNHC7oWU6nLeHNJKLZGLN",
        NUMERIS,
        "IF8nHqFr3K2UKYahhX3soVeoW8W1ECNbr0wfck7lzyXjCS5Q16Ek45zyBuy1Fiy9sTPKVgsqqOuPvbycuVSSVl8=",
    ],
    [
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        NUMERIS,
        "IF8nHqFr3K2UKYahhX3soVeoW8W1ECNbr0wfck7lzyXjCS5Q16Ek45zyBuy1Fiy9sTPKVgsqqOuPvbycuVSSVl8=",
    ],
    // BIP 322.
    [
        "bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l",
        "",
        "smpAkcwRAIgM2gBAQqvZX15ZiysmKmQpDrG83avLIT492QBzLnQIxYCIBaTpOaD20qRlEylyxFSeEA2ba9YOixpX8z46TSDtS40ASECx/EgAxlkQpQ9hYjgGu6EBCPMVPwVIVJqO4XCsMvViHI=",
    ],
    [
        "bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l",
        "Hello World",
        "AkgwRQIhAOzyynlqt93lOKJr+wmmxIens//zPzl9tqIOua93wO6MAiBi5n5EyAcPScOjf1lAqIUIQtr3zKNeavYabHyR8eGhowEhAsfxIAMZZEKUPYWI4BruhAQjzFT8FSFSajuFwrDL1Yhy",
    ],
    [
        "bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l",
        "Hello World",
        "AkcwRAIgZRfIY3p7/DoVTty6YZbWS71bc5Vct9p9Fia83eRmw2QCICK/ENGfwLtptFluMGs2KsqoNSk89pO7F29zJLUx9a/sASECx/EgAxlkQpQ9hYjgGu6EBCPMVPwVIVJqO4XCsMvViHI=",
    ],
    [
        "bc1qkntwc3c4dzxh9xh6875l03fn3vkk023jgak3u7",
        "ESHJI7MWUL64AXHBI42L3UR4QA",
        "AkcwRAIgCYHF/vn67iZX5WBimh84kqD6pTME6eNCMGhfFnnwCNECIAF3nMCk/RfLit+uv8a8FgfQIw0f0ASE21GSz7rX17PsASEDTA2vM8bOtUFgvenSDUmvkq7aWNwoTB0CMiM6carHY1s=",
    ],
    [
        "bc1pss0zhytly75awhm6x2hhvd5lnzv3vssgrf9axfheq8ldyzn88ges79fler",
        "No prefix fallback",
        "AUCJYOwOjxYAvatTAGYaVlNXBVyFuc4MwNQkOuK2tl8xhfKDONd0NjfYyNSYcRqeCp8hsAnCEPHAVEkO9h6vbQ/R",
    ],
    [
        "bc1p9cyuceaazr8cz46mvgkzl94wy397mwpqsrk84su37t72jvkg6wzqv52nfp",
        "TPIZPITUIHEUHO5ACOL6W6MBVD",
        "AUBay6NwR4LEYedkTG+vE9F7C0RTOCB5NH6ZAqf+3hudjHIkOzSZk1jW/5Kt0wRKX3llJ25os+0qktdou4/Y8516",
    ],
];

fn address(text: &str) -> SigningAddress {
    SigningAddress::parse(text, Network::Mainnet).expect("an address")
}

fn verify(text: &str, message: &str, signature: &str) -> Result<(), SignatureError> {
    address(text).verify(message, signature, &Secp256k1::verification_only())
}

#[test]
fn bip_137_and_bip_322_vectors_that_are_right_verify() {
    for [address, message, signature] in RIGHT {
        assert_eq!(verify(address, message, signature), Ok(()), "{address}, {message:?}");
    }
}

#[test]
fn bip_322_hashes_of_messages_and_transactions_are_those_of_the_vectors() {
    for (message, hash, signs) in [
        (
            "",
            "c90c269c4f8fcbe6880f72a721ddfbf1914268a794cbb21cfafee13770ae19f1",
            "1e9654e951a5ba44c8604c4de6c67fd78a27e81dcadcfe1edf638ba3aaebaed6",
        ),
        (
            "Hello World",
            "f0eb03b1a75ac6d9847f55c624a99169b5dccba2a31f5b23bea77ba270de0a7a",
            "88737ae86f2077145f93cc4b153ae9a1cb8d56afa511988c149c5c8c9d93bddf",
        ),
    ] {
        assert_eq!(hex::encode(message_hash(message)), hash);
        let script_pubkey = address("bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l").address.script_pubkey();
        let to_sign = to_sign(message, TxOut { value: Amount::ZERO, script_pubkey });
        assert_eq!(to_sign.compute_txid().to_string(), signs);
    }
}

#[test]
fn consent_device_wrong_a_signature_is_over_one_text_and_by_the_key_of_one_address() {
    for [signer, message, signature] in RIGHT {
        for other in [format!("{message}\n"), format!(" {message}"), format!("{message}\0"), "x".into()] {
            assert_eq!(verify(signer, &other, signature), Err(SignatureError::Wrong), "{signer}, {other:?}");
        }
        for [other, ..] in
            RIGHT.iter().filter(|[other, ..]| !address(other).shares_a_key_with(&address(signer)))
        {
            let refused = verify(other, message, signature).expect_err("another address");
            let of_other_kind = address(other).form != address(signer).form;
            assert!(of_other_kind || refused == SignatureError::Wrong, "{other}: {refused:?}");
        }
    }
    // A vector of BIP 322 for just this.
    let [_, message, signature] = RIGHT[9];
    assert_eq!(
        verify("bc1qx3f9s3scavc92s3g2fhwzqzn7qucd37ez03jpf", message, signature),
        Err(SignatureError::Wrong)
    );
}

/// Somebody else's key, which signs just what the key of the address would have to sign. Crate `bip322` took that until its release 0.0.11.
#[test]
fn consent_device_wrong_a_key_that_comes_with_a_signature_is_that_of_the_address() {
    let secp = Secp256k1::new();
    let message = "approve: ";
    let signed_by = |secret: u8, challenge: &SigningAddress| {
        let secret = SecretKey::from_slice(&[secret; 32]).expect("a key");
        let key = secret.public_key(&secp);
        let spent = TxOut { value: Amount::ZERO, script_pubkey: challenge.address.script_pubkey() };
        let to_sign = to_sign(message, spent);
        let digest = SighashCache::new(&to_sign)
            .p2wpkh_signature_hash(0, &wpkh(&key), Amount::ZERO, EcdsaSighashType::All)
            .expect("it has an input");
        let signature = secp.sign_ecdsa(&Message::from_digest(digest.to_byte_array()), &secret);
        let witness = Witness::p2wpkh(&ecdsa::Signature::sighash_all(signature), &key);
        challenge.verify(message, &BASE64.encode(&bitcoin::consensus::serialize(&witness)), &secp)
    };
    let owner =
        bitcoin::CompressedPublicKey(SecretKey::from_slice(&[1; 32]).expect("a key").public_key(&secp));
    for of_owner in [
        Address::p2wpkh(&owner, bitcoin::Network::Bitcoin),
        Address::p2shwpkh(&owner, bitcoin::Network::Bitcoin),
    ] {
        let challenge = address(&of_owner.to_string());
        assert_eq!(signed_by(1, &challenge), Ok(()), "{challenge}");
        assert_eq!(signed_by(2, &challenge), Err(SignatureError::Wrong), "{challenge}");
    }
}

#[test]
fn consent_device_form_what_is_not_exactly_a_signature_is_refused_before_it_is_decoded() {
    let [signer, message, signature] = RIGHT[6];
    let bare = signature.strip_prefix("smp").expect("it has one");
    for other in [
        String::new(),
        "smp".into(),
        "not-valid-base64!!!".into(),
        "smpAA==".into(),
        "fooAA==".into(),
        format!("ful{bare}"),
        format!("pof{bare}"),
        format!("smp{signature}"),
        format!("{signature}\n"),
        format!(" {signature}"),
        format!("{signature}===="),
        bare.trim_end_matches('=').into(),
        // Other bits at the end that mean the same bytes.
        format!("{}J=", bare.strip_suffix("I=").expect("its end")),
        format!("{bare}AAAA"),
        "A".repeat(MAX_SIGNATURE_LEN + 4),
        "A".repeat(100_000_000),
    ] {
        assert_eq!(verify(signer, message, &other), Err(SignatureError::Form), "{:.40}", other);
    }
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = BASE64.decode(bare.as_bytes()).expect("base64");
        change(&mut bytes);
        verify(signer, message, &BASE64.encode(&bytes))
    };
    assert_eq!(with(&|_| {}), Ok(()));
    let form = Err(SignatureError::Form);
    assert_eq!(with(&|bytes| bytes.push(0)), form, "bytes behind it");
    assert_eq!(with(&|bytes| bytes[0] = 3), form, "another number of items");
    assert_eq!(
        with(&|bytes| bytes.splice(0..1, [0xfe, 0xff, 0xff, 0xff, 0x7f]).for_each(drop)),
        form,
        "very many"
    );
    assert_eq!(
        with(&|bytes| bytes.splice(0..1, [0xfd, 2, 0]).for_each(drop)),
        form,
        "another way to write 2"
    );
    assert_eq!(with(&|bytes| bytes[1 + 71] = 0x81), form, "ANYONECANPAY");
    assert_eq!(with(&|bytes| bytes[1 + 71] = 3), form, "SINGLE");
    assert_eq!(with(&|bytes| bytes.truncate(1 + 72)), form, "no key");
}

#[test]
fn consent_device_form_a_signature_of_taproot_signs_all_and_has_one_length() {
    let [signer, message, signature] = RIGHT[10];
    let bytes = BASE64.decode(signature.as_bytes()).expect("base64");
    for last in [0_u8, 1, 2, 3, 0x81] {
        let longer = [&[1, 65], &bytes[2..], &[last]].concat();
        let refused = verify(signer, message, &BASE64.encode(&longer));
        // With SIGHASH_ALL in words, other bytes are signed.
        let expected = if last == 1 { SignatureError::Wrong } else { SignatureError::Form };
        assert_eq!(refused, Err(expected), "{last}");
    }
}

#[test]
fn consent_device_kind_a_header_of_bip_137_fits_the_address() {
    let of = |signer: &str, header: u8| {
        let mut bytes = BASE64.decode(RIGHT[3][2].as_bytes()).expect("base64");
        let recovery = (bytes[0] - 39) % 4;
        bytes[0] = header + recovery;
        verify(signer, NUMERIS, &BASE64.encode(&bytes))
    };
    let (nested, wpkh) = (RIGHT[2][0], RIGHT[3][0]);
    let kind = Err(SignatureError::Kind);
    for (signer, header, expected) in [
        (UNCOMPRESSED, 27, Ok(())),
        (UNCOMPRESSED, 31, Err(SignatureError::Wrong)),
        (PKH, 27, Err(SignatureError::Wrong)),
        (PKH, 31, Ok(())),
        (PKH, 35, kind),
        (PKH, 39, kind),
        (nested, 27, kind),
        (nested, 31, Ok(())),
        (nested, 35, Ok(())),
        (nested, 39, kind),
        (wpkh, 27, kind),
        (wpkh, 31, Ok(())),
        (wpkh, 35, kind),
        (wpkh, 39, Ok(())),
    ] {
        assert_eq!(of(signer, header), expected, "{signer}, {header}");
    }
    for header in [0, 26 - 1, 43, 127, 251] {
        assert_eq!(of(wpkh, header), kind, "{header}");
    }
    assert_eq!(of(RIGHT[10][0], 39), kind, "taproot");
    let [_, message, witness] = RIGHT[7];
    assert_eq!(verify(PKH, message, witness), kind, "BIP 322 for P2PKH");
}

#[test]
fn consent_device_address_only_single_keys_of_the_network_are_taken() {
    let parse = |text: &str, network| SigningAddress::parse(text, network).map(|address| address.to_string());
    for [signer, ..] in RIGHT {
        assert_eq!(parse(signer, Network::Mainnet).as_deref(), Ok(signer));
        for network in [Network::Testnet, Network::Signet, Network::Regtest] {
            assert_eq!(parse(signer, network), Err(AddressError::Network(network)), "{signer}");
        }
    }
    let wpkh = RIGHT[3][0];
    assert_eq!(parse(&wpkh.to_uppercase(), Network::Mainnet).as_deref(), Ok(wpkh), "as a QR code has it");
    let testnet = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx";
    assert!(parse(testnet, Network::Testnet).is_ok() && parse(testnet, Network::Signet).is_ok());
    assert_eq!(parse(testnet, Network::Regtest), Err(AddressError::Network(Network::Regtest)));
    // P2WSH of three keys, pay to anchor, and a taproot output that is no point of the curve.
    for other in [
        "bc1qp0ahvfh83088w49k405szqgg4f3pptr7p2g06tdxfjcd40z4lh4q95lsz9",
        "bc1pfeessrawgf",
        &Address::from_script(
            &ScriptBuf::from([vec![0x51, 32], vec![0xff; 32]].concat()),
            bitcoin::Network::Bitcoin,
        )
        .expect("it has an address")
        .to_string(),
    ] {
        assert_eq!(parse(other, Network::Mainnet), Err(AddressError::Kind), "{other}");
    }
    for none in
        ["", "alice", "bitcoin:1PMycacnJaSqwwJqjawXBErnLsZ7RkXUAs", " 1PMycacnJaSqwwJqjawXBErnLsZ7RkXUAs"]
    {
        assert_eq!(parse(none, Network::Mainnet), Err(AddressError::Form), "{none:?}");
    }
    assert_eq!(parse(&"1".repeat(100_000_000), Network::Mainnet), Err(AddressError::Form));
}

/// P2SH with two of two keys (BIP 322's full vectors): it looks like the address of one key, and no signature is right for it.
#[test]
fn consent_device_address_of_several_keys_behind_p2sh_verifies_nothing() {
    let multisig = "3Nye4j1GUFqCEBR3do2KEFZAs9oLe8NZ6X";
    for [_, message, signature] in RIGHT {
        let refused = verify(multisig, message, signature).expect_err("it is not by one key");
        assert!(
            refused == SignatureError::Wrong
                || refused == SignatureError::Kind
                || refused == SignatureError::Form
        );
    }
}

#[test]
fn addresses_of_one_key_are_known_as_such() {
    let [pkh, nested, wpkh] = [PKH, RIGHT[2][0], RIGHT[3][0]].map(address);
    for one in [&pkh, &nested, &wpkh] {
        assert!([&pkh, &nested, &wpkh].iter().all(|other| one.shares_a_key_with(other)));
        assert!(
            !one.shares_a_key_with(&address(RIGHT[6][0])) && !one.shares_a_key_with(&address(RIGHT[10][0]))
        );
    }
    let testnet = SigningAddress::parse("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", Network::Testnet);
    assert!(wpkh.shares_a_key_with(&testnet.expect("an address")), "on another network, too");
}

/// The addresses of a key, each with what another implementation signs for it.
fn signed(secret: [u8; 32], message: &str) -> Vec<(String, String)> {
    let secp = Secp256k1::new();
    let key = PrivateKey::new(SecretKey::from_slice(&secret).expect("a key"), bitcoin::Network::Bitcoin);
    let public = bitcoin::CompressedPublicKey::from_private_key(&secp, &key).expect("it is compressed");
    let internal = Keypair::from_secret_key(&secp, &key.inner).x_only_public_key().0;
    let (output, _) = internal.tap_tweak(&secp, None);
    let addresses = [
        Address::p2wpkh(&public, bitcoin::Network::Bitcoin),
        Address::p2shwpkh(&public, bitcoin::Network::Bitcoin),
        Address::p2tr_tweaked(output, bitcoin::Network::Bitcoin),
    ];
    let wif = key.to_wif();
    addresses
        .map(|address| {
            let address = address.to_string();
            let signature =
                bip322::sign_simple_encoded(&address, message, &[wif.as_str()], None).expect("it signs");
            (address, signature)
        })
        .to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_another_implementation_signs_verifies_for_its_address_and_text_alone(
        secret in any::<[u8; 32]>().prop_filter("a key", |secret| SecretKey::from_slice(secret).is_ok()),
        message in "[ -~]{0,240}",
    ) {
        let signed = signed(secret, &message);
        let strangers = self::signed([7; 32], &message);
        for ((address, signature), (stranger, _)) in signed.iter().zip(&strangers) {
            prop_assert_eq!(verify(address, &message, signature), Ok(()), "{}", address);
            let longer = format!("{message}.");
            prop_assert_eq!(verify(address, &longer, signature), Err(SignatureError::Wrong));
            prop_assert_eq!(verify(stranger, &message, signature), Err(SignatureError::Wrong));
            prop_assert!(bip322::verify_simple_encoded(stranger, &message, signature).is_err());
        }
    }

    #[test]
    fn nothing_that_is_no_signature_verifies_or_breaks_anything(text in ".{0,200}|[A-Za-z0-9+/]{0,160}={0,2}|smp.{0,150}") {
        for [signer, message, _] in RIGHT {
            prop_assert!(verify(signer, message, &text).is_err());
        }
    }
}
