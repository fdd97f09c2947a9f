use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::statement::tests::{examples, statements};
use super::*;
use crate::name::UserId;

fn text(word: Word, statement: &Statement) -> Result<DeviceText, DeviceTextError> {
    let digest = ConsentDigest::of([0x7c; 16], [0xb1; 32], statement).expect("it has a text");
    DeviceText::new(word, statement, digest)
}

/// One proposal of each shape that fits a screen, by the name of its golden file.
fn fitting() -> BTreeMap<&'static str, Statement> {
    let usual = examples()["usual"].clone();
    let labelled = |label: &str| Statement { label: label.into(), ..usual.clone() };
    let payees = &examples()["payees"].payouts;
    BTreeMap::from([
        ("usual", usual.clone()),
        ("own", examples()["own"].clone()),
        ("most", examples()["most"].clone()),
        ("taproot", Statement { payouts: vec![payees[4].clone()], ..usual.clone() }),
        ("script", Statement { payouts: vec![payees[7].clone()], ..usual.clone() }),
        ("signet", Statement { network: Network::Signet, ..usual.clone() }),
        ("label", labelled("a\" pay\\  1")),
    ])
}

macro_rules! goldens {
    ($($name:literal),*) => {
        BTreeMap::from([$(($name, include_str!(concat!("../../../../tests/vectors/device-texts/", $name, ".txt")))),*])
    };
}

/// Each file has the text that approves and the one that refuses, a line each.
fn goldens() -> BTreeMap<&'static str, &'static str> {
    goldens!("usual", "own", "most", "taproot", "script", "signet", "label")
}

#[test]
fn the_device_text_of_each_proposal_is_golden() {
    let (fitting, goldens) = (fitting(), goldens());
    assert!(fitting.keys().eq(goldens.keys()));
    for (name, statement) in &fitting {
        let [approve, refuse] = [Word::Approve, Word::Refuse].map(|word| text(word, statement).expect(name));
        assert_eq!(format!("{}\n{}\n", approve.as_str(), refuse.as_str()), goldens[name], "{name}");
    }
}

#[test]
fn consent_device_long_a_text_that_does_not_fit_is_refused_with_what_to_do() {
    let usual = examples()["usual"].clone();
    let length = text(Word::Approve, &usual).expect("it fits").as_str().len();
    let room = MAX_DEVICE_TEXT_LEN - length + usual.label.len();
    let labelled = |length: usize| Statement { label: "x".repeat(length), ..usual.clone() };
    assert_eq!(text(Word::Approve, &labelled(room)).expect("it fits").as_str().len(), MAX_DEVICE_TEXT_LEN);
    let long = text(Word::Approve, &labelled(room + 1)).expect_err("one more");
    let length = MAX_DEVICE_TEXT_LEN + 1;
    assert_eq!(long, DeviceTextError::Long { length, payees: 1, label: room + 3 });
    let told = long.to_string();
    for way in ["pay one address at a time", "a shorter label", "another means"] {
        assert!(told.contains(way), "{told}");
    }
    // Of two payees, none is left out.
    let two = Statement { payouts: [usual.payouts.clone(), usual.payouts.clone()].concat(), ..usual.clone() };
    assert!(
        text(Word::Approve, &two).is_err_and(|long| matches!(long, DeviceTextError::Long { payees: 2, .. }))
    );
    // A label of another alphabet is written by its numbers, each some eight characters.
    assert!(text(Word::Approve, &Statement { label: "\u{430}".repeat(5), ..usual.clone() }).is_err());
    assert!(text(Word::Approve, &Statement { label: "\u{430}".repeat(3), ..usual }).is_ok());
}

#[test]
fn consent_device_labels_forge_no_other_part() {
    let usual = examples()["usual"].clone();
    let marks = |text: &str| text.matches('"').count();
    let (before, _) = goldens()["usual"].split_once('"').expect("a label");
    for label in ["a\" pay 9", "\\\"", "\\", "\" ", "  ", "a  b", " ", "on signet", "\u{22}\u{22}"] {
        let shown = text(Word::Approve, &Statement { label: label.into(), ..usual.clone() }).expect(label);
        let shown = shown.as_str();
        assert_eq!(marks(shown), 2, "{shown}");
        assert!(shown.starts_with(before), "{shown}");
        let (_, behind) = shown.rsplit_once('"').expect("a label");
        let digest = behind.strip_prefix(' ').expect("a blank");
        assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{shown}");
        assert!(!shown.contains("  "), "{shown}");
    }
}

#[test]
fn everything_that_is_approved_changes_the_text_of_a_device() {
    let usual = examples()["usual"].clone();
    let other_user = |name: &str, key| Statement { user: UserId { name: name.into(), key }, ..usual.clone() };
    let mut more = usual.clone();
    more.payouts[0].amount += 1;
    let statements = [
        usual.clone(),
        more,
        other_user("bob", [0x16; 16]),
        other_user("alice", [0x17; 16]),
        Statement { label: "treasurx".into(), ..usual.clone() },
        Statement { wallet: [0x40; 16], ..usual.clone() },
        Statement { fee: usual.fee + 1, ..usual.clone() },
        Statement { leaves: usual.leaves + 1, ..usual.clone() },
        Statement { txid: [0x9e; 32], ..usual.clone() },
        Statement { expires: usual.expires + 1, ..usual.clone() },
        Statement { nonce: [0x48; 16], ..usual.clone() },
        Statement { network: Network::Signet, ..usual.clone() },
    ];
    let mut texts: Vec<DeviceText> = statements
        .iter()
        .flat_map(|statement| {
            [Word::Approve, Word::Refuse].map(|word| text(word, statement).expect("it fits"))
        })
        .collect();
    // Another store, and another transaction with the same words.
    for (store, binding) in [([0x7d; 16], [0xb1; 32]), ([0x7c; 16], [0xb2; 32])] {
        let digest = ConsentDigest::of(store, binding, &usual).expect("it has a text");
        texts.push(DeviceText::new(Word::Approve, &usual, digest).expect("it fits"));
    }
    for (at, text) in texts.iter().enumerate() {
        assert!(!texts[..at].contains(text), "{at}: {}", text.as_str());
    }
}

proptest! {
    #[test]
    fn a_device_text_is_one_line_that_the_strictest_device_signs(statement in statements(), other in statements()) {
        let texts = [&statement, &other].map(|statement| {
            let digest = ConsentDigest::of([0x7c; 16], [0xb1; 32], statement).ok()?;
            DeviceText::new(Word::Approve, statement, digest).ok()
        });
        for text in texts.iter().flatten().map(DeviceText::as_str) {
            prop_assert!((2..=MAX_DEVICE_TEXT_LEN).contains(&text.len()));
            prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", text);
            prop_assert!(!text.contains("  ") && text.trim() == text, "{}", text);
            prop_assert_eq!(text.matches('"').count(), 2, "{}", text);
        }
        if let [Some(one), Some(another)] = texts {
            prop_assert_eq!(one == another, statement == other);
        }
    }
}
