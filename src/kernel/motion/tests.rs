use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::digest_key::DigestMechanisms;
use crate::message::SigningAddress;
use crate::name::{check_label, check_user_name};
use crate::network::Network;
use crate::officer::{Emergency, Officers, Settings};

const OFFICERS: [&str; 3] = [
    "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3",
    "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO2",
    "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO1",
];
const NOON: u64 = 1_796_040_000;

fn user_of(name: &str, byte: u8) -> UserId {
    UserId { name: name.into(), key: [byte; 16] }
}

pub(crate) fn wallet_terms(users: &[(&str, u8)], policy: &str) -> WalletTerms {
    WalletTerms {
        label: "treasury".into(),
        users: users.iter().map(|(name, byte)| user_of(name, *byte)).collect(),
        policy: policy.into(),
        fixed: WalletFixed {
            network: Network::Signet,
            fingerprint: [0xf5, 0xac, 0xc2, 0xfd],
            path: "m/84'/1'/0'".into(),
            xpub: "tpubDC5FSnBiZDMmhiuCmWAYsLwgLYrrT9rAqvTySfuCCrgsWz8wxMXUS9Tb9iVMvcRbvFcAHGkMD5Kx8koh4GquNGNTfohfk7pgjhaPCdXpoba".into(),
            descriptor: Some("wpkh([f5acc2fd/84'/1'/0']tpubDC5FSnBiZDMmhiuCmWAYsLwgLYrrT9rAqvTySfuCCrgsWz8wxMXUS9Tb9iVMvcRbvFcAHGkMD5Kx8koh4GquNGNTfohfk7pgjhaPCdXpoba/<0;1>/*)#0rlhs7rw".into()),
        },
    }
}

fn key_terms(label: &str, policy: &str) -> DigestKeyTerms {
    DigestKeyTerms {
        label: label.into(),
        users: vec![user_of("alice", 1)],
        policy: policy.into(),
        mechanisms: DigestMechanisms { digest: true, ecdsa: false },
        public_key: [2; 33],
    }
}

fn council(threshold: usize, emergency: bool) -> Box<Council> {
    let officers = Officers::parse(&OFFICERS, threshold).expect("officers");
    let emergency = emergency.then_some(Emergency { signatures: 3, delay_hours: 4 });
    let settings = Settings { failures_per_hour: 100 };
    Box::new(Council::new(officers, 72, emergency, settings).expect("a council"))
}

pub(crate) fn act(motion: Motion) -> ActText {
    let seen = Seen { head: Head([0x8c; 32]), link: 118_203 };
    ActText { store: [0x7c; 16], epoch: 3, nonce: [0x5f; 16], seen, expires: NOON + 7_200, motion }
}

pub(crate) fn wallet_set(old: WalletTerms, new: WalletTerms, reach: Option<Raise>) -> Motion {
    Motion::WalletSet(Box::new(WalletSet { id: [0x3f; 16], old, new, reach }))
}

fn device_add(old: &[(&str, &str)]) -> Motion {
    let device = |name: &str, address: &str| Device {
        name: name.into(),
        address: SigningAddress::parse(address, Network::Mainnet).expect("an address"),
    };
    let old = old.iter().map(|(name, address)| device(name, address)).collect();
    let new = device("ledger", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4");
    Motion::DeviceAdd(Box::new(DeviceAdd { user: user_of("alice", 1), old, new }))
}

/// One act of each kind, by the name of its golden file.
pub(crate) fn examples() -> BTreeMap<&'static str, ActText> {
    let old =
        wallet_terms(&[("alice", 1), ("bob", 2)], "max_transaction_sat = 50_000_000\nmax_fee_sat = 20_000\n");
    let policy = "# since November \nmax_transaction_sat = 90_000_000\nmax_fee_sat = 20_000\n\nallowlist = [\"script:51\"]";
    let mut new = wallet_terms(&[("alice", 1), ("bob", 9), ("Zo\u{eb} \u{430}\"", 3)], policy);
    new.label = "the \"treasury\"".into();
    let anchor = Seen { head: Head([0x11; 32]), link: 1_000 };
    let keys = KeySet {
        id: [0x4f; 16],
        old: key_terms("eth", "max_period_transactions = 5"),
        new: key_terms("eth", "max_period_transactions = 6"),
    };
    let label = || "treasury".to_owned();
    let thaw = |what| act(Motion::Thaw { what, since: NOON - 60 });
    let freeze = |what| act(Motion::Freeze { what });
    let pin =
        Motion::SoPinLost { label: "hsm".into(), serial: [0x12; 8], pin: [0x34; 8], heir: Heir([0x56; 32]) };
    BTreeMap::from([
        ("wallet-set", act(wallet_set(old.clone(), new, None))),
        ("wallet-reach", act(wallet_set(old.clone(), old, Some(Raise { from: [3, 0], to: [3, 5_000] })))),
        ("key-set", act(Motion::KeySet(Box::new(keys)))),
        ("clock-take", act(Motion::ClockTake { believed: Some(NOON - 9), from: NOON })),
        ("restore", act(Motion::Restore { store: Seen { link: 990, ..anchor }, anchor: Some(anchor) })),
        ("officers-first", act(Motion::OfficersSet { old: None, new: council(2, true) })),
        ("officers-set", act(Motion::OfficersSet { old: Some(council(2, true)), new: council(1, false) })),
        ("so-pin-lost", act(pin)),
        ("thaw-wallet", thaw(Frozen::Wallet(label(), [0x3f; 16]))),
        ("thaw-key", thaw(Frozen::Key("eth".into(), [0x4f; 16]))),
        ("thaw-user", thaw(Frozen::User(user_of("alice", 1)))),
        ("thaw-all", thaw(Frozen::All)),
        ("freeze-wallet", freeze(Frozen::Wallet(label(), [0x3f; 16]))),
        ("freeze-key", freeze(Frozen::Key("eth".into(), [0x4f; 16]))),
        ("freeze-user", freeze(Frozen::User(user_of("alice", 1)))),
        ("freeze-all", freeze(Frozen::All)),
        ("device-first", act(device_add(&[]))),
        ("device-add", act(device_add(&[("cold \"card\"", "bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l")]))),
    ])
}

macro_rules! goldens {
    ($($name:literal),*) => {
        BTreeMap::from([$(($name, include_str!(concat!("../../../tests/vectors/acts/", $name, ".txt")))),*])
    };
}

/// The golden file of each act.
fn goldens() -> BTreeMap<&'static str, &'static str> {
    goldens!(
        "clock-take",
        "device-add",
        "device-first",
        "freeze-all",
        "freeze-key",
        "freeze-user",
        "freeze-wallet",
        "key-set",
        "officers-first",
        "officers-set",
        "restore",
        "so-pin-lost",
        "thaw-all",
        "thaw-key",
        "thaw-user",
        "thaw-wallet",
        "wallet-reach",
        "wallet-set"
    )
}

#[test]
fn the_text_of_each_act_is_golden() {
    let (acts, texts) = (examples(), goldens());
    assert!(acts.keys().eq(texts.keys()), "{:?}", acts.keys());
    for (name, act) in acts {
        assert_eq!(act.print().as_deref(), Ok(texts[name]), "{name}");
        assert_eq!(ActText::parse(texts[name]), Ok(act), "{name}");
    }
}

#[test]
fn the_digest_of_an_act_is_golden_and_tells_all_that_it_says() {
    let first = act(Motion::OfficersSet { old: None, new: council(2, true) });
    let digest = first.digest().expect("a text").to_string();
    assert_eq!(digest, include_str!("../../../tests/vectors/act-text-digest.hex").trim());
    let others = [
        ActText { store: [0; 16], ..first.clone() },
        ActText { epoch: 4, ..first.clone() },
        ActText { nonce: [0; 16], ..first.clone() },
        ActText { seen: Seen { link: 0, ..first.seen }, ..first.clone() },
        ActText { expires: NOON, ..first.clone() },
        act(Motion::OfficersSet { old: None, new: council(3, false) }),
    ];
    for other in others {
        assert_ne!(other.digest().expect("a text").to_string(), digest);
    }
}

/// What is in force is named by its digest: whatever of it is another, the act is void.
#[test]
fn act_replay_what_was_tells_every_part_of_what_is_in_force() {
    let Motion::WalletSet(set) = &examples()["wallet-set"].motion else { panic!("a wallet") };
    let was = |change: fn(&mut WalletSet)| {
        let mut other = set.clone();
        change(&mut other);
        Motion::WalletSet(other).was()
    };
    let same = was(|_| {});
    assert_eq!(was(|set| set.new.label = "x".into()), same, "what is to be is not what is");
    assert_eq!(
        was(|set| set.reach = Some(Raise { from: [1, 1], to: [2, 2] })),
        same,
        "signing goes on meanwhile"
    );
    for other in [
        was(|set| set.id = [0; 16]),
        was(|set| set.old.label = "x".into()),
        was(|set| set.old.policy.push(' ')),
        was(|set| set.old.users[0].key = [9; 16]),
        was(|set| set.old.users.swap(0, 1)),
        was(|set| set.old.fixed.descriptor = None),
    ] {
        assert_ne!(other, same);
    }
    // What an administrator changes alone is no part of it.
    let council = |threshold, failures_per_hour| {
        let officers = Officers::parse(&OFFICERS, threshold).expect("officers");
        let old = Council::new(officers, 72, None, Settings { failures_per_hour }).expect("a council");
        Motion::OfficersSet { old: Some(old.into()), new: council(1, false) }.was()
    };
    assert_eq!(council(2, 100), council(2, 16));
    assert_ne!(council(2, 100), council(3, 100));
    let heir = Heir([3; 32]);
    let lost = |label: &str, pin| Motion::SoPinLost { label: label.into(), serial: [1; 8], pin, heir }.was();
    assert_eq!(lost("hsm", [1; 8]), lost("hsm", [2; 8]));
    assert_ne!(lost("hsm", [1; 8]), lost("other", [1; 8]));
    let frozen = |since| Motion::Thaw { what: Frozen::All, since }.was();
    assert_ne!(frozen(1), frozen(2), "another freeze");
}

#[test]
fn act_look_alikes_with_crlf_and_every_other_form_of_a_text_are_no_act() {
    let text = goldens()["wallet-set"];
    assert!(text.contains("user \"Zo\\u{eb} \\u{430}\\\"\""), "{text}");
    assert!(text.contains("  | # since November\\u{20}\n"), "{text}");
    let replaced = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    };
    let forms = [
        text.replace('\n', "\r\n"),
        text.trim_end().to_owned(),
        format!("{text}\n"),
        format!("\u{feff}{text}"),
        replaced("epoch 3", "epoch 03"),
        replaced("epoch 3", "epoch +3"),
        replaced("epoch 3", "epoch  3"),
        replaced("epoch 3", "epoch 3 "),
        replaced("epoch 3", "Epoch 3"),
        replaced("store 7c", "store 7C"),
        replaced("14:00:00Z", "14:00:00z"),
        replaced("\"alice\"", "\"\u{430}lice\""),
        replaced("\"alice\"", "\"\\u{61}lice\""),
        replaced("\\u{430}", "\\u{0430}"),
        replaced("\\u{20}", " "),
        replaced("  |\n", "\n"),
        replaced("  |\n", "  | \n"),
        replaced("  policy", "\tpolicy"),
        replaced("was 2", "was 3"),
        replaced("do wallet-set \"treasury\"", "do wallet-set \"treasurx\""),
        replaced("do wallet-set", "do key-set"),
        replaced("countersign/act/1", "countersign/act/2"),
        replaced("network signet", "network Signet"),
        String::new(),
    ];
    for form in forms {
        assert!(ActText::parse(&form).is_err(), "{form}");
    }
}

/// A policy is the administrator's text: whatever stands in it, it ends where the act says.
#[test]
fn act_look_alikes_a_policy_makes_no_line_of_the_text() {
    let policy = "unlimited = true\n#old\n  # policy\n\n# | x\n# \u{202e} ";
    let old = wallet_terms(&[("alice", 1)], "\nold\n  label \"x\"\n| \n");
    let act = act(wallet_set(old, wallet_terms(&[("alice", 1)], policy), None));
    let text = act.print().expect("a text");
    assert_eq!(
        text.lines().filter(|line| !line.starts_with("  ") && line.contains("old")).count(),
        1,
        "{text}"
    );
    assert_eq!(ActText::parse(&text), Ok(act));
}

#[test]
fn an_act_says_nothing_that_cannot_be() {
    let set = |change: fn(&mut WalletSet)| {
        let Motion::WalletSet(mut set) = examples()["wallet-set"].motion.clone() else { panic!("a wallet") };
        change(&mut set);
        act(Motion::WalletSet(set)).print()
    };
    assert!(set(|_| {}).is_ok());
    for wrong in [
        set(|set| set.new = set.old.clone()),
        set(|set| set.new.label = "a\nb".into()),
        set(|set| set.new.label = "x".repeat(129)),
        set(|set| set.new.users.clear()),
        set(|set| set.new.users[0].name = "a:b".into()),
        set(|set| set.new.users[1] = set.new.users[0].clone()),
        set(|set| set.new.users = (0..17).map(|byte| user_of(&format!("u{byte}"), byte)).collect()),
        set(|set| set.new.policy = String::new()),
        set(|set| set.new.policy = "no_such_key = 1".into()),
        set(|set| set.old.policy = "x".repeat(crate::administration::MAX_POLICY_LEN + 1)),
        set(|set| set.new.fixed.network = Network::Mainnet),
        set(|set| set.new.fixed.descriptor = None),
        set(|set| set.reach = Some(Raise { from: [1, 1], to: [1, 1] })),
        set(|set| set.reach = Some(Raise { from: [1, 1], to: [0, 2] })),
        set(|set| set.reach = Some(Raise { from: [1, 1], to: [1, u32::MAX] })),
    ] {
        assert!(matches!(wrong, Err(TextError::Says(_))), "{wrong:?}");
    }
    let keys = |change: fn(&mut KeySet)| {
        let Motion::KeySet(mut set) = examples()["key-set"].motion.clone() else { panic!("a key") };
        change(&mut set);
        act(Motion::KeySet(set)).print()
    };
    for wrong in [
        keys(|set| set.new = set.old.clone()),
        keys(|set| set.new.public_key = [3; 33]),
        keys(|set| set.new.mechanisms.ecdsa = true),
        keys(|set| set.new.label = String::new()),
        keys(|set| set.new.policy = "max_fee_sat = 1".into()),
    ] {
        assert!(matches!(wrong, Err(TextError::Says(_))), "{wrong:?}");
    }
    let clock = |from| act(Motion::ClockTake { believed: None, from }).print().is_ok();
    let expires = NOON + 7_200;
    assert!(clock(expires) && clock(expires - MAX_CLOCK_WINDOW));
    assert!(!clock(expires + 1) && !clock(expires - MAX_CLOCK_WINDOW - 1));
    let same = Motion::OfficersSet { old: Some(council(2, true)), new: council(2, true) };
    let label = Motion::SoPinLost { label: "x".repeat(33), serial: [0; 8], pin: [0; 8], heir: Heir([0; 32]) };
    let name = Motion::Thaw { what: Frozen::User(user_of("a:b", 1)), since: 0 };
    let freeze = Motion::Freeze { what: Frozen::Wallet(String::new(), [0; 16]) };
    let here = Seen { head: Head([1; 32]), link: 1 };
    let restore = Motion::Restore { store: here, anchor: Some(here) };
    for wrong in [same, label, name, freeze, restore, Motion::Thaw { what: Frozen::All, since: u64::MAX }] {
        assert!(matches!(act(wrong).print(), Err(TextError::Says(_))));
    }
    let far = ActText { expires: u64::MAX, ..act(Motion::Thaw { what: Frozen::All, since: 0 }) };
    assert!(matches!(far.print(), Err(TextError::Says(_))));
    // Each character of this policy takes eight of the text.
    let long = "\u{1f600}".repeat(MAX_TEXT_LEN / 32);
    let old = wallet_terms(&[("alice", 1)], &long);
    let long = wallet_terms(&[("alice", 1)], &format!("unlimited = true # {}", &long[..long.len() - 400]));
    let mut both = wallet_set(old, long, None);
    let Motion::WalletSet(set) = &mut both else { panic!("a wallet") };
    let descriptor = Some("x".repeat(MAX_TEXT_LEN / 2));
    (set.old.fixed.descriptor, set.new.fixed.descriptor) = (descriptor.clone(), descriptor);
    assert_eq!(act(both).print(), Err(TextError::Length));
    assert_eq!(ActText::parse(&"x".repeat(MAX_TEXT_LEN + 1)), Err(TextError::Length));
}

#[test]
fn what_an_act_changes_is_told_thing_by_thing() {
    let rows = |name: &str| -> Vec<String> {
        let rows = examples()[name].motion.differences();
        let side = |side: Option<String>| side.unwrap_or("-".into());
        rows.into_iter().map(|row| format!("{}: {} > {}", row.what, side(row.old), side(row.new))).collect()
    };
    let (two, nine, three) = ("02".repeat(16), "09".repeat(16), "03".repeat(16));
    assert_eq!(
        rows("wallet-set"),
        [
            r#"label: "treasury" > "the \"treasury\"""#.to_owned(),
            format!("user: \"bob\" {two} > \"bob\" {nine}"),
            format!("user: - > \"Zo\\u{{eb}} \\u{{430}}\\\"\" {three}"),
            "allowlist: - > a list of 1".into(),
            "allowlist: - > script:51".into(),
            "max_transaction_sat: 50000000 > 90000000".into(),
        ]
    );
    assert_eq!(rows("wallet-reach"), ["reach (internal): 0 > 5000"]);
    assert_eq!(rows("key-set"), ["max_period_transactions: 5 > 6"]);
    assert_eq!(rows("clock-take"), ["clock: 2026-11-30T11:59:51Z > from 2026-11-30T12:00:00Z"]);
    let head = "11".repeat(32);
    assert_eq!(rows("restore"), [format!("newest link: {head} 1000 > {head} 990")]);
    assert_eq!(rows("officers-set"), ["threshold: 2 > 1", "emergency: 3 signatures, 4 hours > -"]);
    let first = rows("officers-first");
    assert_eq!(first.len(), 7, "{first:?}");
    assert!(first[0] == "threshold: - > 2" && first[4].starts_with("officer: - > E7620F1842B4E81F (RWQ"));
    let heir = format!("heir, who sets the next so-pin: - > {}", "56".repeat(32));
    assert_eq!(rows("so-pin-lost"), ["so-pin: 3434343434343434 > -".into(), heir]);
    assert_eq!(rows("thaw-user"), [r#"freeze of user "alice": since 2026-11-30T11:59:00Z > -"#]);
    assert_eq!(rows("freeze-all"), ["freeze of all: - > from now on"]);
    let reworded = |old: &str, new: &str| {
        let users: &[(&str, u8)] = &[("alice", 1)];
        wallet_set(wallet_terms(users, old), wallet_terms(users, new), None).differences()
    };
    let row = |what: &str, old: &str, new: &str| Difference {
        what: what.into(),
        old: Some(old.into()),
        new: Some(new.into()),
    };
    assert_eq!(
        reworded("unlimited = true", "unlimited = true # é"),
        [row("policy (its wording alone)", "\"unlimited = true\"", "\"unlimited = true # \\u{e9}\"")]
    );
    assert_eq!(reworded("[", "unlimited = true"), [row("policy", "\"[\"", "\"unlimited = true\"")]);
}

fn users() -> impl Strategy<Value = Vec<UserId>> {
    let name = "[a-z]{1,3}|[a\u{430}\u{eb}\" \\\\]{1,4}x"
        .prop_filter("a name", |name| check_user_name(name).is_ok());
    proptest::collection::btree_map(name, any::<u8>(), 1..4)
        .prop_map(|users| users.into_iter().map(|(name, byte)| UserId { name, key: [byte; 16] }).collect())
}

fn texts() -> impl Strategy<Value = ActText> {
    let old = "(a|\\PC|[ \\r\\n\\t|\\\\\"]|old|new|policy|  ){0,20}";
    let new = ("(a|\\PC|[ |\\\\\"]|old){0,20}", crate::policy::tests_document());
    let label = "(\\PC|[a-z \"]){1,20}".prop_filter("a label", |label| check_label(label).is_ok());
    let wallets =
        (label, users(), users(), old, new, proptest::option::of((any::<[u16; 2]>(), any::<[u16; 2]>())))
            .prop_map(|(label, before, since, old, (comment, new), reach)| {
                let mut terms = wallet_terms(&[], &old);
                (terms.label, terms.users) = (label, before);
                let new = WalletTerms {
                    users: since,
                    policy: format!("# {comment}\n{new}"),
                    fixed: WalletFixed { ..terms.fixed.clone() },
                    label: terms.label.clone(),
                };
                let raise = |(from, by): ([u16; 2], [u16; 2])| Raise {
                    from: from.map(u32::from),
                    to: [u32::from(from[0]) + u32::from(by[0]), u32::from(from[1]) + u32::from(by[1]) + 1],
                };
                wallet_set(terms, new, reach.map(raise))
            });
    let others: Vec<Motion> = examples().into_values().map(|act| act.motion).collect();
    let motion = prop_oneof![3 => wallets, 1 => proptest::sample::select(others)];
    (any::<[u8; 16]>(), any::<u64>(), any::<[u8; 16]>(), any::<u64>(), motion).prop_map(
        |(store, epoch, nonce, link, motion)| ActText {
            store,
            epoch,
            nonce,
            seen: Seen { link, ..act(Motion::Thaw { what: Frozen::All, since: 0 }).seen },
            ..act(motion)
        },
    )
}

proptest! {
    #[test]
    fn what_is_printed_is_read_and_printed_again(act in texts()) {
        let text = act.print();
        // Only a comment may hold what no TOML has.
        prop_assume!(text.is_ok());
        let text = text.expect("it is there");
        prop_assert_eq!(ActText::parse(&text), Ok(act));
        prop_assert!(text.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)));
        prop_assert!(text.lines().all(|line| !line.ends_with(' ')));
    }

    /// Whatever is changed in a text: it is no act, or another act whose text that is.
    #[test]
    fn act_change_a_text_that_was_changed_is_none_or_another_act(
        act in texts(),
        at in any::<prop::sample::Index>(),
        byte in prop_oneof![any::<u8>(), proptest::sample::select(&b"\n\r \t\"\\|0123456789abcdef"[..])],
        how in 0..3,
    ) {
        let text = act.print();
        prop_assume!(text.is_ok());
        let mut bytes = text.expect("it is there").into_bytes();
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            _ => drop(bytes.remove(at)),
        }
        if let Ok(text) = String::from_utf8(bytes)
            && let Ok(other) = ActText::parse(&text)
        {
            prop_assert_eq!(other.print(), Ok(text.clone()));
            prop_assert_eq!(other == act, act.print() == Ok(text));
        }
    }
}

#[test]
fn an_officer_who_is_removed_has_no_veto_unless_as_many_are_removed_as_must_sign() {
    let council = |officers: &[usize], threshold| {
        let lines: Vec<&str> = officers.iter().map(|officer| OFFICERS[*officer]).collect();
        let officers = Officers::parse(&lines, threshold).expect("officers");
        let settings = Settings { failures_per_hour: 100 };
        Box::new(Council::new(officers, 72, None, settings).expect("a council"))
    };
    let key = |officer: usize| *council(&[officer], 1).officers().keys()[0].public_key();
    let removing = |threshold, stay: &[usize]| {
        let (old, new) = (Some(council(&[0, 1, 2], threshold)), council(stay, 1));
        let motion = Motion::OfficersSet { old, new };
        [0, 1, 2].map(|officer| motion.overrules(&key(officer)))
    };
    assert_eq!(removing(2, &[0, 1]), [false, false, true], "one of three, where two must sign");
    assert_eq!(removing(2, &[0]), [false; 3], "two must not remove two whom they do not outnumber");
    assert_eq!(removing(3, &[0]), [false, true, true], "where all three must have signed");
    assert_eq!(removing(1, &[0, 1]), [false; 3], "one alone removes nobody who objects");
    assert_eq!(removing(2, &[0, 1, 2]), [false; 3], "nobody is removed");
    let first = Motion::OfficersSet { old: None, new: council(&[0], 1) };
    assert!(!first.overrules(&key(1)) && !Motion::Freeze { what: Frozen::All }.overrules(&key(1)));
}
