//! The document, and the lists.

use bitcoin::ScriptBuf;
use proptest::prelude::*;

use super::listing::Listing;
use super::*;
use crate::network::Network;

const MINIMAL: &str = "max_transaction_sat = 1\nmax_fee_sat = 1\n";
/// The account of BIP 84's test vectors, in the version bytes of BIP 32 for mainnet.
const XPUB: &str = "xpub6CatWdiZiodmUeTDp8LT5or8nmbKNcuyvz7WyksVFkKB4RHwCD3XyuvPEbvqAQY3rAPshWcMLoP2fMFMKHPJ4ZeZXYVUhLv1VMrjPC7PW6V";

fn parse(document: &str) -> Result<Policy, PolicyError> {
    Policy::parse(document, Network::Mainnet)
}

fn with(lines: &str) -> Result<Policy, PolicyError> {
    parse(&format!("{MINIMAL}{lines}"))
}

fn list(network: Network, texts: &[&str]) -> Result<Listing, PolicyError> {
    Listing::parse("allowlist", &texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), network)
}

fn has(list: &Listing, hex: &str) -> bool {
    list.has(&ScriptBuf::from_hex(hex).expect("hex"))
}

fn script_of(address: &str) -> ScriptBuf {
    let address: bitcoin::Address<bitcoin::address::NetworkUnchecked> = address.parse().expect("an address");
    address.assume_checked().script_pubkey()
}

#[test]
fn an_empty_policy_is_refused() {
    for document in [
        "",
        "unlimited = false",
        "max_transaction_sat = 1",
        "max_fee_sat = 1",
        "max_fee_percent = 1",
        "max_period_sat = 1",
        "max_fee_sat = 1\nmax_period_transactions = 1",
        "allowlist = []",
        "required_approvals = 2",
        "time_windows = [\"00:00-24:00\"]",
        "require_cosigner = \"f5acc2fd\"",
    ] {
        assert_eq!(parse(document), Err(PolicyError::Incomplete), "{document}");
    }
    for document in ["max_fee_sat = 1\nmax_period_sat = 1", "max_fee_sat = 1\nmax_transaction_sat = 1"] {
        assert!(parse(document).is_ok(), "{document}");
    }
}

#[test]
fn unlimited_excludes_limits_and_allows_all_other_rules() {
    let unlimited = parse("unlimited = true").expect("reads");
    assert_eq!((unlimited.limits.as_ref(), unlimited.period()), (None, PeriodLimits::NONE));
    for key in [
        "max_transaction_sat",
        "max_period_sat",
        "max_period_transactions",
        "period_hours",
        "max_fee_sat",
        "max_fee_sat_per_vbyte",
        "max_fee_percent",
    ] {
        let document = format!("unlimited = true\n{key} = 1");
        assert_eq!(parse(&document), Err(PolicyError::UnlimitedWithLimits), "{key}");
    }
    let rules = "allowlist = []\ndenylist = []\ntime_windows = [\"08:00-09:00\"]\nrequired_approvals = 2\n\
                 approvals_from_sat = 5\nrequire_cosigner = \"f5acc2fd\"";
    let policy = parse(&format!("unlimited = true\n{rules}")).expect("reads");
    assert!(policy.limits.is_none() && policy.allowlist.is_some() && policy.denylist.is_some());
    assert!(policy.has_time_windows() && policy.require_cosigner().is_some());
    assert_eq!((policy.required_approvals(4), policy.required_approvals(5)), (1, 2));
}

#[test]
fn a_misspelt_or_ill_typed_key_is_an_error() {
    for document in [
        "max_transaction = 1",
        "max_transaction_sat = -1\nmax_fee_sat = 1",
        "unlimited = \"yes\"",
        "[",
        "unlimited = true\nallowlist = \"script:51\"",
        "max_fee_sat = 1\nmax_period_sat = 1\nmax_period_transactions = 4294967296",
    ] {
        assert!(matches!(parse(document), Err(PolicyError::Toml(_))), "{document}");
    }
    let number = "write a whole number from 0 to 9223372036854775807, without quotes";
    for (document, expected) in [
        (
            "unlimited = \"yes\"",
            "line 1, key unlimited: a string stands there: write true or false, without quotes",
        ),
        ("max_transaction_sat = -1", &format!("line 1, key max_transaction_sat: -1 stands there: {number}")),
        ("\nmax_fee_sat = \"1\"", &format!("line 2, key max_fee_sat: a string stands there: {number}")),
        (
            "max_period_transactions = 4294967296",
            "line 1, key max_period_transactions: 4294967296 stands there: write a whole number from 0 to 4294967295, \
             without quotes",
        ),
        (
            "allowlist = [\"script:51\", 5]",
            "line 1, key allowlist, entry 2: 5 stands there: write a string in quotes",
        ),
        ("unlimited = true\nrequired_approvals = -1", "required_approvals is 1 to 16"),
        ("max_fee_sat = 1\nmax_period_sat = 1\nperiod_hours = -1", "period_hours is 1 to 168"),
    ] {
        assert_eq!(parse(document).expect_err(document).to_string(), expected);
    }
}

#[test]
fn limits_are_read() {
    let document = "max_transaction_sat = 100_000\nmax_fee_sat = 5_000\nmax_fee_sat_per_vbyte = 20\nmax_fee_percent = 10\n\
                    max_period_sat = 7\nmax_period_transactions = 8\nperiod_hours = 168";
    let period = PeriodLimits { max_sat: Some(7), max_transactions: Some(8), hours: 168 };
    let limits = Limits {
        max_transaction: Some(100_000),
        max_fee: 5_000,
        max_feerate: Some(20),
        max_fee_percent: Some(10),
        period,
    };
    let policy = parse(document).expect("reads");
    assert_eq!((policy.limits.as_ref(), policy.period()), (Some(&limits), period));
    assert_eq!(with("max_period_sat = 7").expect("reads").period().hours, 24);
}

#[test]
fn a_period_needs_a_limit_and_is_at_most_a_week() {
    assert_eq!(with("period_hours = 24"), Err(PolicyError::PeriodWithoutLimit));
    for (hours, is_right) in [(0, false), (1, true), (168, true), (169, false)] {
        let found = with(&format!("max_period_transactions = 1\nperiod_hours = {hours}"));
        assert_eq!(found.is_ok(), is_right, "{hours}");
        assert!(is_right || found == Err(PolicyError::Period), "{hours}");
    }
}

#[test]
fn approvals_are_1_to_16_and_an_amount_needs_them() {
    for (required, is_right) in [(0, false), (1, true), (16, true), (17, false)] {
        let found = with(&format!("required_approvals = {required}"));
        assert_eq!(found.is_ok(), is_right, "{required}");
        assert!(is_right || found == Err(PolicyError::Approvals), "{required}");
    }
    assert_eq!(with("approvals_from_sat = 1"), Err(PolicyError::ApprovalsFrom));
    let policy = with("required_approvals = 3").expect("reads");
    assert_eq!((policy.required_approvals(0), policy.most_approvals()), (3, 3));
    assert_eq!(with("").expect("reads").required_approvals(u64::MAX), 1);
}

#[test]
fn require_cosigner_is_a_fingerprint() {
    let policy = with("require_cosigner = \"f5acc2fd\"").expect("reads");
    assert_eq!(policy.require_cosigner(), Some(Fingerprint::from([0xf5, 0xac, 0xc2, 0xfd])));
    for text in ["", "f5acc2f", "f5acc2fd00", "@0", "xyzwxyzw"] {
        assert_eq!(with(&format!("require_cosigner = \"{text}\"")), Err(PolicyError::Cosigner), "{text}");
    }
}

#[test]
fn an_address_lists_its_script_and_only_on_its_own_network() {
    // BIP 173 and BIP 350 give the scripts of these addresses.
    let listed = list(
        Network::Mainnet,
        &[
            "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
        ],
    )
    .expect("lists");
    assert!(has(&listed, "0014751e76e8199196d454941c45d1b3a323f1433bd6"));
    assert!(has(&listed, "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"));
    assert!(!has(&listed, "0014751e76e8199196d454941c45d1b3a323f1433bd7"));
    for (network, address) in [
        (Network::Regtest, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
        (Network::Mainnet, "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"),
        (Network::Regtest, "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"),
        (Network::Regtest, "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH"),
    ] {
        let problem = EntryError::Network(network.name());
        let expected = PolicyError::Entry { list: "allowlist", position: 2, problem };
        assert_eq!(list(network, &["script:51", address]), Err(expected), "{address}");
    }
    assert!(list(Network::Signet, &["tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"]).is_ok());
}

#[test]
fn an_invalid_entry_is_named_by_its_position_and_not_repeated() {
    let secret = "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi";
    let bad = [
        String::new(),
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5".into(),
        " bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4".into(),
        "script:".into(),
        "script:5".into(),
        "script:zz".into(),
        format!("script:{}", "51".repeat(10_001)),
        "wpkh()".into(),
        format!("wpkh({secret}/*)"),
        format!("wpkh({XPUB}/*h)"),
        format!("wpkh({XPUB}/0h/*)"),
        format!("wpkh({XPUB}/<0;1;2>/*)"),
        format!("wpkh({XPUB}/0/0/0/0/*)"),
        format!("wpkh({XPUB}/0/*)#aaaaaaaa"),
    ];
    for text in &bad {
        let found = list(Network::Mainnet, &["script:51", "script:52", text]).expect_err(text);
        let problem = EntryError::Unreadable("mainnet");
        assert_eq!(found, PolicyError::Entry { list: "allowlist", position: 3, problem }, "{text}");
        let told = found.to_string();
        assert!(told.starts_with("allowlist, entry 3: ") && told.contains("address of mainnet"), "{told}");
        assert!(!told.contains("xprv"), "{told}");
    }
    let foreign = list(Network::Regtest, &[&format!("wpkh({XPUB}/*)")]);
    let problem = EntryError::Network("regtest");
    assert_eq!(foreign, Err(PolicyError::Entry { list: "allowlist", position: 1, problem }));
    let in_the_other = with("allowlist = []\ndenylist = [\"x\"]");
    let problem = EntryError::Unreadable("mainnet");
    assert_eq!(in_the_other, Err(PolicyError::Entry { list: "denylist", position: 1, problem }));
}

#[test]
fn two_ways_to_write_one_script_are_a_duplicate() {
    let address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
    let descriptor = format!("wpkh({XPUB}/<0;1>/*)");
    let key = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    for (one, other) in [
        (address, address.to_uppercase()),
        (address, "script:0014751e76e8199196d454941c45d1b3a323f1433bd6".into()),
        (address, format!("wpkh({key})")),
        (&descriptor, descriptor.clone()),
        (&descriptor, with_checksum(&descriptor)),
    ] {
        let problem = EntryError::Duplicate(2);
        let expected = PolicyError::Entry { list: "allowlist", position: 3, problem };
        assert_eq!(list(Network::Mainnet, &["script:51", one, &other]), Err(expected), "{other}");
    }
}

fn with_checksum(descriptor: &str) -> String {
    let parsed: miniscript::Descriptor<miniscript::DescriptorPublicKey> =
        descriptor.parse().expect("a descriptor");
    assert!(parsed.to_string().starts_with(descriptor) && parsed.to_string() != descriptor);
    parsed.to_string()
}

#[test]
fn a_ranged_descriptor_lists_a_thousand_indices_of_each_chain() {
    // The first addresses of BIP 84's test vectors.
    let listed = list(Network::Mainnet, &[&format!("wpkh({XPUB}/<0;1>/*)")]).expect("lists");
    for address in [
        "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu",
        "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g",
        "bc1q8c6fshw2dlwun7ekn9qwf37cu2rn755upcp6el",
    ] {
        assert!(listed.has(&script_of(address)), "{address}");
    }
    let at = |chain: u32, index: u32| {
        let definite: miniscript::Descriptor<miniscript::DescriptorPublicKey> =
            format!("wpkh({XPUB}/{chain}/{index})").parse().expect("a descriptor");
        definite.at_derivation_index(0).expect("definite").script_pubkey()
    };
    assert!(listed.has(&at(0, 999)) && listed.has(&at(1, 999)));
    assert!(!listed.has(&at(0, 1_000)) && !listed.has(&at(1, 1_000)) && !listed.has(&at(2, 0)));
    // Without a wildcard, it is one script for each chain.
    let single = list(Network::Mainnet, &[&format!("wpkh({XPUB}/<0;1>/7)")]).expect("lists");
    assert!(single.has(&at(0, 7)) && single.has(&at(1, 7)) && !single.has(&at(0, 0)));
    let definite = list(Network::Mainnet, &[&format!("wpkh({XPUB}/0/7)")]).expect("lists");
    assert!(definite.has(&at(0, 7)) && !definite.has(&at(1, 7)));
}

#[test]
fn the_lists_are_bounded() {
    let scripts: Vec<String> = (0..257).map(|number| format!("script:6a02{number:04x}")).collect();
    let texts: Vec<&str> = scripts.iter().map(String::as_str).collect();
    assert!(list(Network::Mainnet, &texts[..256]).is_ok());
    assert_eq!(list(Network::Mainnet, &texts), Err(PolicyError::Entries { list: "allowlist" }));
    let ranged: Vec<String> = (0..17).map(|chain| format!("wpkh({XPUB}/{chain}/*)")).collect();
    let texts: Vec<&str> = ranged.iter().map(String::as_str).collect();
    assert!(list(Network::Mainnet, &texts[..16]).is_ok());
    assert_eq!(list(Network::Mainnet, &texts), Err(PolicyError::Ranged { list: "allowlist" }));
}

#[test]
fn derived_scripts_do_not_make_policies_differ() {
    let document = format!("unlimited = true\nallowlist = [\"wpkh({XPUB}/*)\"]");
    let (one, other) = (parse(&document).expect("reads"), parse(&document).expect("reads"));
    assert!(!one.allowlist.as_ref().is_some_and(|list| has(list, "51")));
    assert_eq!(one, other);
    assert_eq!(one.clone(), other);
}

proptest! {
    /// The document of limits is read as it was written, and two different documents are different policies.
    #[test]
    fn what_is_written_is_read(
        amounts in proptest::array::uniform4(proptest::option::of(0..=i64::MAX as u64)),
        max_fee in 0..=i64::MAX as u64,
        number in proptest::option::of(any::<u32>()),
        hours in proptest::option::of(1u32..=168),
    ) {
        let [transaction, period, rate, percent] = amounts;
        let line = |key: &str, value: Option<u64>| {
            value.map_or(String::new(), |value| format!("{key} = {value}\n"))
        };
        let document = [
            line("max_transaction_sat", transaction),
            line("max_period_sat", period),
            line("max_fee_sat", Some(max_fee)),
            line("max_fee_sat_per_vbyte", rate),
            line("max_fee_percent", percent),
            line("max_period_transactions", number.map(u64::from)),
            line("period_hours", hours.map(u64::from)),
        ].concat();
        let expected = Limits {
            max_transaction: transaction,
            max_fee,
            max_feerate: rate,
            max_fee_percent: percent,
            period: PeriodLimits { max_sat: period, max_transactions: number, hours: hours.unwrap_or(24) },
        };
        match parse(&document) {
            Ok(policy) => prop_assert_eq!(policy.limits, Some(expected)),
            Err(PolicyError::Incomplete) => prop_assert!(transaction.is_none() && period.is_none()),
            Err(PolicyError::PeriodWithoutLimit) => {
                prop_assert!(hours.is_some() && period.is_none() && number.is_none());
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}

/// The error for an unknown key lists the keys that exist.
#[test]
fn the_documentation_has_every_key_of_a_policy() {
    let documentation = include_str!("../../../docs/policies.md");
    let error = parse("no_such_key = 1").expect_err("it is unknown").to_string();
    let (_, keys) = error.split_once("write one of ").expect("it lists the others");
    let keys: Vec<&str> = keys.split('`').skip(1).step_by(2).collect();
    assert!(keys.len() > 10, "{keys:?}");
    for key in keys {
        assert!(
            key == "unlimited"
                || documentation.contains(&format!("| `{key}`"))
                || documentation.contains(&format!(", `{key}` |")),
            "{key}"
        );
    }
}
