use super::document::{DigestMechanisms, KeyDocument, TokenDocument, UserDocument, WalletDocument};
use super::*;
use crate::audit::{Event, Head, Link};
use crate::freeze::{Freeze, Freezer};
use crate::network::Network;
use crate::otp::OtpHash;
use crate::record::Stored;
use crate::seal::SetHash;

pub(crate) fn token() -> Document {
    Document::Token(TokenDocument {
        label: "t".into(),
        serial: [7; 8],
        so_pin: [1; 8],
        user_pin: Some([2; 8]),
    })
}

pub(crate) fn user(name: &str, confirmed: bool) -> Document {
    Document::User(UserDocument {
        name: name.into(),
        issuer: "bank".into(),
        key_id: [3; 16],
        hash: OtpHash::Sha1,
        digits: 6,
        period: 30,
        confirmed,
    })
}

pub(crate) fn wallet(policy: &str, descriptor: Option<String>) -> Document {
    Document::Wallet(Box::new(WalletDocument {
        label: "l".repeat(128),
        cka_id: vec![9; 128],
        network: Network::Mainnet,
        users: vec!["u".repeat(60); 16],
        policy: policy.into(),
        fingerprint: [4; 4],
        path: "m/48'/0'/0'/2'".into(),
        xpub: "x".repeat(111),
        descriptor,
    }))
}

pub(crate) fn act(deed: Deed, document: Option<Document>) -> RecordedAct {
    RecordedAct { deed, id: [5; 16], name: "x".into(), document, before: None, changes: vec![] }
}

pub(crate) fn link(sequence: u64, act: RecordedAct) -> Link {
    Link {
        sequence,
        time: 1_000 + sequence,
        event: Event::Act(Box::new(act)),
        previous: Head::default(),
        set: SetHash::default(),
        batch: sequence,
    }
}

fn policy_change(tightens: bool, loosens: bool) -> Change {
    Change::Policy(PolicyChange::new("a", "b", Direction { tightens, loosens }, vec![]))
}

#[test]
fn the_digest_of_a_document_is_golden() {
    let golden = include_str!("../../../tests/vectors/act-document.hex").trim();
    assert_eq!(token().digest().to_string(), golden);
    assert_ne!(user("alice", true).digest(), user("alice", false).digest());
}

#[test]
fn the_encoding_of_an_act_is_golden() {
    // Event 26, deed 7 with an id, the name, a user's document, no document before, one change: 1, the registration.
    let written = RecordedAct { changes: vec![Change::Registration], ..act(Deed::WalletCreated, None) };
    let mut golden = vec![26, 7];
    golden.extend([5; 16]);
    golden.extend([1, b'x', 0, 0, 1, 1]);
    let event = Event::Act(Box::new(written));
    assert_eq!(postcard::to_allocvec(&event).expect("it is written"), golden);
    assert_eq!(postcard::from_bytes::<Event>(&golden).expect("it is read"), event);
}

#[test]
fn every_document_reads_back_from_its_link() {
    let key = Document::Key(KeyDocument {
        label: "k".into(),
        cka_id: vec![1],
        users: vec!["alice".into()],
        policy: "unlimited = true".into(),
        mechanisms: DigestMechanisms { digest: true, ecdsa: false },
        public_key: vec![2; 33],
    });
    let clock = Document::Clock(document::ClockDocument { wall: 8, boot: 9 });
    for document in [token(), user("alice", true), wallet("p", Some("wpkh()".into())), key, clock] {
        let link = link(3, act(Deed::Initialised, Some(document)));
        assert_eq!(Link::decode(&link.encode()), Some(link));
    }
}

/// The longest policy, the most users, and a descriptor far longer than any that registers: all of it is
/// kept, and nothing longer.
#[test]
fn the_longest_act_is_kept_whole_and_a_longer_one_is_refused() {
    let changes = vec![
        Change::Label("l".repeat(128)),
        Change::UsersAdded(vec!["u".repeat(60); 16]),
        Change::UsersRemoved(vec!["u".repeat(60); 16]),
        policy_change(true, true),
    ];
    let of = |descriptor: usize| {
        let document = wallet(&"p".repeat(32 * 1_024), Some("d".repeat(descriptor)));
        RecordedAct { changes: changes.clone(), ..act(Deed::WalletUpdated, Some(document)) }
    };
    assert!(of(200 * 1_024).is_bounded());
    assert!(!of(MAX_ACT_LEN).is_bounded());
}

#[test]
fn an_act_tightens_if_no_part_of_it_allows_more() {
    let updated = |changes: Vec<Change>| RecordedAct { changes, ..act(Deed::WalletUpdated, None) };
    let (added, removed) = (Change::UsersAdded(vec!["a".into()]), Change::UsersRemoved(vec!["b".into()]));
    assert!(updated(vec![removed.clone()]).tightens());
    assert!(updated(vec![policy_change(true, false), removed.clone()]).tightens());
    assert!(updated(vec![policy_change(false, false)]).tightens(), "it means the same");
    assert!(act(Deed::UserRemoved, None).tightens());
    for loosens in [
        updated(vec![policy_change(true, true)]),
        updated(vec![policy_change(false, true)]),
        updated(vec![removed, added]),
        updated(vec![Change::Registration]),
        updated(vec![Change::Label("w".into())]),
        updated(vec![]),
        act(Deed::UserUnlocked, None),
        act(Deed::PinSet(Role::User), None),
        act(Deed::WalletCreated, None),
    ] {
        assert!(!loosens.tightens(), "{loosens}");
    }
}

#[test]
fn an_act_is_shown_in_one_line_with_the_digests_of_its_documents() {
    let change = Change::Policy(PolicyChange::new(
        "a",
        "b",
        Direction { tightens: false, loosens: true },
        vec!["allowlist".into(), "max_fee_sat".into()],
    ));
    let (old, new) = (wallet("old", None), wallet("new", None));
    let act = RecordedAct {
        name: "hot\nwallet".into(),
        before: Some(old.digest()),
        changes: vec![Change::UsersAdded(vec!["bob".into()]), change],
        ..act(Deed::WalletUpdated, Some(new.clone()))
    };
    let expected = format!(
        "wallet \"hot\\nwallet\" was changed; users added: \"bob\"; its policy allows more (allowlist, max_fee_sat); \
         document {}; before it {}",
        new.digest(),
        old.digest()
    );
    assert_eq!(act.to_string(), expected);
}

/// Stores keep these bytes: a variant never changes its number.
#[test]
fn freezes_are_written_in_one_way_for_ever() {
    let written = |deed: Deed| postcard::to_allocvec(&deed).expect("it is written");
    assert_eq!(Deed::Frozen(Freezable::User).tag(), "user-frozen");
    for (number, what) in (0..).zip(Freezable::ALL) {
        assert_eq!(written(Deed::Frozen(what)), [14, number]);
        assert_eq!(written(Deed::Thawed(what)), [15, number]);
    }
    let freeze =
        Freeze { what: Freezable::Wallet, name: "w".into(), since: 300, by: Freezer::SecurityOfficer };
    // What, the name with its length, since when, by whom; and the same as a document and as a record.
    let bytes = [1, 1, b'w', 0xac, 0x02, 0];
    let document = postcard::to_allocvec(&Document::Freeze(freeze.clone())).expect("it is written");
    assert_eq!(document, [&[5][..], &bytes].concat());
    assert_eq!(freeze.encode()[..], [&[1][..], &bytes].concat());
    assert_eq!(Freeze::decode(&freeze.encode()), Some(freeze));
}

#[test]
fn a_freeze_tightens_and_a_thaw_does_not() {
    for what in Freezable::ALL {
        assert!(act(Deed::Frozen(what), None).tightens() && !act(Deed::Thawed(what), None).tightens());
    }
}
