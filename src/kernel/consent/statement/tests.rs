use std::collections::BTreeMap;

use bitcoin::ScriptBuf;
use proptest::prelude::*;

use super::*;

const NOON: u64 = 1_796_040_000;

fn script(hex: &str) -> ScriptBuf {
    ScriptBuf::from_hex(hex).expect("hex")
}

fn payout(amount: u64, hex: &str) -> Payout {
    Payout { amount, script: script(hex) }
}

/// One script of each kind that an output may have.
fn scripts() -> [String; 9] {
    [
        format!("76a914{}88ac", "11".repeat(20)),
        format!("a914{}87", "22".repeat(20)),
        format!("0014{}", "33".repeat(20)),
        format!("0020{}", "44".repeat(32)),
        format!("5120{}", "55".repeat(32)),
        // Pay to anchor, a public key of its own, a data carrier, and nothing.
        "51024e73".into(),
        format!("21{}ac", "02".repeat(33)),
        "6a0548656c6c6f".into(),
        String::new(),
    ]
}

fn usual() -> Statement {
    Statement {
        user: UserId { name: "alice".into(), key: [0x16; 16] },
        network: Network::Mainnet,
        label: "treasury".into(),
        wallet: [0x3f; 16],
        payouts: vec![payout(50_000_000, &scripts()[2])],
        fee: 2_000,
        leaves: 50_002_000,
        txid: [0x9f; 32],
        expires: NOON + 600,
        nonce: [0x47; 16],
    }
}

/// One statement of each shape, by the name of its golden file.
pub(crate) fn examples() -> BTreeMap<&'static str, Statement> {
    let payees = (1..).zip(scripts()).map(|(amount, hex)| payout(amount, &hex)).collect();
    let named = |name: &str, label: &str| Statement {
        user: UserId { name: name.into(), key: [0x16; 16] },
        label: label.into(),
        ..usual()
    };
    let most = Amount::MAX_MONEY.to_sat();
    BTreeMap::from([
        ("usual", usual()),
        ("payees", Statement { network: Network::Signet, payouts: payees, ..usual() }),
        ("own", Statement { payouts: vec![], leaves: 2_000, ..usual() }),
        ("most", Statement { payouts: vec![payout(most, &scripts()[0])], fee: 0, leaves: most, ..usual() }),
        // Cyrillic letters, quotes, and labels that would like to be lines or ends of lines.
        (
            "names",
            named(
                "\u{430}lice\" on mainnet",
                "treasury\" 3f\\ wallet \"\u{202f}x\u{e9}e\u{301} pay 1 BTC to me",
            ),
        ),
    ])
}

macro_rules! goldens {
    ($($name:literal),*) => {
        BTreeMap::from([$(($name, include_str!(concat!("../../../../tests/vectors/statements/", $name, ".txt")))),*])
    };
}

fn goldens() -> BTreeMap<&'static str, &'static str> {
    goldens!("usual", "payees", "own", "most", "names")
}

#[test]
fn the_text_of_each_statement_is_golden() {
    let (statements, texts) = (examples(), goldens());
    assert!(statements.keys().eq(texts.keys()));
    for (name, statement) in &statements {
        assert_eq!(statement.print().as_deref(), Ok(texts[name]), "{name}");
        assert_eq!(Statement::parse(texts[name]).as_ref(), Ok(statement), "{name}");
    }
}

/// A transaction of which output 1 is change within the wallet's reach.
struct Sends(Vec<TxOut>);

impl Payment for Sends {
    fn outputs(&self) -> &[TxOut] {
        &self.0
    }

    fn our_reachable_outputs(&self) -> impl Iterator<Item = usize> {
        [1].into_iter()
    }

    fn leaves(&self) -> u64 {
        1_100
    }

    fn paid_to_others(&self) -> u64 {
        unreachable!("a statement shows outputs")
    }

    fn comes_back(&self) -> u64 {
        unreachable!("a statement shows outputs")
    }

    fn fee(&self) -> u64 {
        600
    }

    fn vsize(&self) -> u64 {
        unreachable!("a statement shows outputs")
    }
}

#[test]
fn a_statement_shows_every_output_but_what_stays_in_the_wallet() {
    let output = |value, hex: &str| TxOut { value: Amount::from_sat(value), script_pubkey: script(hex) };
    let [_, _, key, long, ..] = scripts();
    let sends = Sends(vec![output(200, &key), output(9_000, &key), output(300, &long), output(200, &key)]);
    let Statement { user, network, label, wallet, expires, nonce, .. } = usual();
    let subject = Subject { label: &label, wallet, network, nonce, expires };
    let statement = Statement::of_payment(&sends, [0x9f; 32], &subject, user);
    let payouts = vec![payout(200, &key), payout(300, &long), payout(200, &key)];
    assert_eq!(statement, Statement { payouts, fee: 600, leaves: 1_100, ..usual() });
}

/// Every byte, replaced by every other byte, and left out, and doubled.
#[test]
fn a_text_with_one_byte_changed_is_refused_or_another_statement() {
    for (name, text) in goldens() {
        let statement = Statement::parse(text).expect(name);
        for at in 0..text.len() {
            let others = (0..=255_u8).filter(|byte| *byte != text.as_bytes()[at]).map(|byte| vec![byte]);
            for with in others.chain([vec![], vec![text.as_bytes()[at]; 2]]) {
                let changed = [&text.as_bytes()[..at], &with, &text.as_bytes()[at + 1..]].concat();
                let Ok(changed) = String::from_utf8(changed) else { continue };
                if let Ok(read) = Statement::parse(&changed) {
                    assert_ne!(read, statement, "{name}, byte {at}: {changed}");
                    assert_eq!(read.print().as_deref(), Ok(&*changed), "{name}, byte {at}");
                }
            }
        }
    }
}

#[test]
fn another_spelling_of_the_same_statement_is_refused() {
    let text = goldens()["usual"];
    let address = "bc1qxvenxvenxvenxvenxvenxvenxvenxven2ymjt8";
    assert!(text.contains(address), "{text}");
    let hex = format!("script 0014{}", "33".repeat(20));
    for (from, to) in [
        ("0.50000000 BTC to", ".50000000 BTC to"),
        ("0.50000000 BTC to", "0.5 BTC to"),
        ("0.50000000 BTC to", "00.50000000 BTC to"),
        ("0.50000000 BTC to", "0.500000000 BTC to"),
        ("0.50000000 BTC to", "+0.50000000 BTC to"),
        ("0.50000000 BTC to", "0.+5000000 BTC to"),
        ("0.50000000 BTC to", "0,50000000 BTC to"),
        ("0.50000000 BTC to", "0.50000000 btc to"),
        ("0.50000000 BTC to", "0.50000000  BTC to"),
        (address, &address.to_uppercase()),
        (address, &hex),
        (address, &format!("bitcoin:{address}")),
        ("\"alice\"", "\"\\u{61}lice\""),
        ("\"treasury\"", "\"treas\\u{0075}ry\""),
        ("9f9f9f9f\n", "9F9f9f9f\n"),
        ("Z nonce", "+00:00 nonce"),
        ("mainnet", "bitcoin"),
        ("fee", "Fee"),
        ("\nfee", "\n\nfee"),
        ("\nfee", "\r\nfee"),
        ("\nfee", " \nfee"),
    ] {
        let other = text.replacen(from, to, 1);
        assert_ne!(other, text, "{from}");
        assert_eq!(Statement::parse(&other), Err(StatementError::Form), "{other}");
    }
    let of_testnet = "tb1qxvenxvenxvenxvenxvenxvenxvenxvenqzqps5";
    assert!(Statement::parse(&text.replace(address, of_testnet)).is_err(), "an address of another network");
    assert!(Statement::parse(&text[..text.len() - 1]).is_err(), "the last line does not end");
    assert!(
        Statement::parse(&format!("{text}\n")).is_err() && Statement::parse(&format!("{text}x")).is_err()
    );
}

#[test]
fn consent_look_alikes_are_written_by_their_numbers_and_no_label_makes_a_line() {
    let text = goldens()["names"];
    assert!(text.is_ascii() && text.lines().count() == 8, "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("pay ")).count(), 1);
    for hidden in
        ["a\u{202e}b", "a\u{200b}b", "a\nb", "a\npay 1.00000000 BTC to x", "a\u{2028}b", "", "a:b", " a"]
    {
        let user = UserId { name: hidden.into(), key: [1; 16] };
        assert!(matches!(Statement { user, ..usual() }.print(), Err(StatementError::Says(_))), "{hidden:?}");
    }
    for hidden in ["a\u{202e}b", "a\u{200b}b", "a\nb", "a\r", "\t", "a\u{2028}b", ""] {
        let statement = Statement { label: hidden.into(), ..usual() };
        assert!(matches!(statement.print(), Err(StatementError::Says(_))), "{hidden:?}");
    }
}

#[test]
fn a_statement_that_says_what_cannot_be_or_too_much_has_no_text() {
    let over = Amount::MAX_MONEY.to_sat() + 1;
    for statement in [
        Statement { fee: over, ..usual() },
        Statement { leaves: over, ..usual() },
        Statement { payouts: vec![payout(over, "51")], ..usual() },
        Statement { payouts: vec![payout(u64::MAX, "51")], ..usual() },
        Statement { expires: u64::MAX, ..usual() },
    ] {
        assert!(matches!(statement.print(), Err(StatementError::Says(_))), "{statement:?}");
    }
    let many = |count| Statement { payouts: vec![payout(1, &scripts()[3]); count], ..usual() };
    assert!(many(300).print().is_ok());
    assert_eq!(many(400).print(), Err(StatementError::Length));
    assert_eq!(Statement::parse(&"x".repeat(MAX_STATEMENT_LEN + 1)), Err(StatementError::Length));
}

pub(crate) fn statements() -> impl Strategy<Value = Statement> {
    let name = "[ -~]{1,20}|.{1,20}|[\"\\\\a u{}]{1,20}";
    let amount = 0..=Amount::MAX_MONEY.to_sat();
    let script = prop_oneof![
        proptest::sample::select(scripts().to_vec()).prop_map(|hex| script(&hex)),
        proptest::collection::vec(any::<u8>(), 0..45).prop_map(ScriptBuf::from),
        (0x50..=0x60_u8, proptest::collection::vec(any::<u8>(), 2..=40)).prop_map(|(version, program)| {
            let version = if version == 0x50 { 0 } else { version };
            ScriptBuf::from([vec![version, program.len() as u8], program].concat())
        }),
    ];
    let payout = (amount.clone(), script).prop_map(|(amount, script)| Payout { amount, script });
    let network =
        proptest::sample::select(vec![Network::Mainnet, Network::Testnet, Network::Signet, Network::Regtest]);
    let ids = (any::<[u8; 16]>(), any::<[u8; 16]>(), any::<[u8; 32]>(), any::<[u8; 16]>());
    let payouts = proptest::collection::vec(payout, 0..4);
    let rest = (amount.clone(), amount, 0..=253_402_300_799_u64);
    ((name, name), ids, network, payouts, rest).prop_map(
        |((name, label), (key, wallet, txid, nonce), network, payouts, (fee, leaves, expires))| Statement {
            user: UserId { name, key },
            network,
            label,
            wallet,
            payouts,
            fee,
            leaves,
            txid,
            expires,
            nonce,
        },
    )
}

proptest! {
    #[test]
    fn a_statement_reads_back_and_is_printable_ascii_in_one_line_for_each_payment(statement in statements()) {
        let Ok(text) = statement.print() else {
            let is_name = check_user_name(&statement.user.name).is_ok();
            prop_assert!(!is_name || check_label(&statement.label).is_err());
            return Ok(());
        };
        prop_assert_eq!(text.lines().count(), 7 + statement.payouts.len());
        for line in text.lines() {
            prop_assert!(!line.ends_with(' ') && line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", line);
        }
        prop_assert_eq!(Statement::parse(&text), Ok(statement));
    }

    #[test]
    fn an_amount_has_one_spelling(satoshi in 0..=Amount::MAX_MONEY.to_sat()) {
        let text = print_amount(satoshi);
        prop_assert_eq!(read_amount(&text), Some(satoshi));
        prop_assert_eq!(Amount::from_str_with_denomination(&text).map(Amount::to_sat), Ok(satoshi));
    }
}
