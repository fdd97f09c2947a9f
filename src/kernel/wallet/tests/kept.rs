//! How a wallet is written and read.

use super::*;

#[test]
fn a_record_of_the_first_format_is_read_as_what_it_was() {
    let first = record::FirstFormat {
        label: "w".into(),
        cka_id: vec![7],
        network: Network::Mainnet,
        users: vec!["alice".into()],
        policy: "unlimited = true".into(),
        seed: Zeroizing::new(seed().to_vec()),
    };
    let bytes = [&[1][..], &postcard::to_allocvec(&first).expect("writes")].concat();
    let record = WalletRecord::decode(&bytes).expect("reads");
    let old = Wallet::open(&record, &Secp256k1::new()).expect("opens");
    let new = wallet(Network::Mainnet);
    assert_eq!(watch(&old).descriptor(), watch(&new).descriptor());
    assert_eq!((old.cka_id(), old.users()), (&[7][..], new.users()));
    let again = WalletRecord::decode(&record.encode()).expect("reads");
    assert_eq!(again.descriptor, record.descriptor);
    assert_eq!(record.encode()[0], 2);
    for (at, byte) in [(0, 3), (0, 0)] {
        let mut other = record.encode();
        other[at] = byte;
        assert!(WalletRecord::decode(&other).is_none(), "another format");
    }
}

// Registration

#[test]
fn a_wallet_is_written_in_the_layout_of_the_second_format() {
    let mut record = record(Network::Signet, "m/84'/1'/0'");
    record.terms = KeyTerms { cka_id: vec![7, 8], ..record.terms };
    let descriptor =
        record.descriptor_for(registration::DEFAULT_POLICY, &Secp256k1::new()).expect("registers");
    record.descriptor = Some(descriptor.clone());
    let first =
        ("w", vec![7_u8, 8], Network::Signet, ["alice"].as_slice(), "unlimited = true", Some(descriptor));
    let first = postcard::to_allocvec(&first).expect("it is written");
    let written = record.encode();
    assert_eq!((written[0], &written[1..=first.len()]), (2, &first[..]), "then the account");
    assert!(
        written.ends_with(&postcard::to_allocvec(&seed().to_vec()).expect("it is written")),
        "and the seed"
    );
    let again = WalletRecord::decode(&written).expect("it is read");
    assert!(again.terms == record.terms && again.encode() == written);
}
