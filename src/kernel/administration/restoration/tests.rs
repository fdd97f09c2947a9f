use minisign::KeyPair;

use super::*;
use crate::administration::Administrator;
use crate::audit::{Event, Head, Link};
use crate::officer::Settings;
use crate::pin::PinRecord;
use crate::seal::SetHash;
use crate::state::{OfficerPin, TokenRecord};

const NOW: u64 = 1_800_000_000;
const STORE: StoreId = [7; 16];

struct Group {
    pairs: Vec<KeyPair>,
    council: Council,
}

impl Group {
    fn of(number: usize, threshold: usize) -> Group {
        let pairs: Vec<KeyPair> =
            (0..number).map(|_| KeyPair::generate_unencrypted_keypair().expect("a key pair")).collect();
        let lines: Vec<String> = pairs.iter().map(|pair| pair.pk.to_base64()).collect();
        let officers = Officers::parse(&lines, threshold).expect("officers");
        let council =
            Council::new(officers, 24, None, Settings { failures_per_hour: 100 }).expect("a council");
        Group { pairs, council }
    }

    fn sign(&self, text: &str) -> Vec<String> {
        let one = |pair: &KeyPair| {
            minisign::sign(Some(&pair.pk), &pair.sk, text.as_bytes(), None, None)
                .expect("signs")
                .into_string()
        };
        self.pairs.iter().map(one).collect()
    }
}

fn end(sequence: u64) -> ChainEnd {
    let newest = Link {
        sequence,
        time: NOW,
        event: Event::Initialised,
        previous: Head([1; 32]),
        set: SetHash::from_bytes([sequence as u8; 32]),
        batch: sequence,
    };
    ChainEnd { head: newest.head(), newest, before_batch: Head::default(), council: None }
}

fn anchor(sequence: u64, council: Option<&Council>) -> Anchored {
    let council = council.map(Council::digest);
    Anchored { sequence, head: Head([9; 32]), set: SetHash::from_bytes([9; 32]), council }
}

/// The groups that decide, and the council in force afterwards, over a store of link 5.
fn find(
    council: Option<&Council>,
    anchor: Option<&Anchored>,
    given: Option<&Council>,
    pinned: Option<&Officers>,
) -> Result<Deciders, DisagreedError> {
    let end = end(5);
    Deciders::find(&Unfit { store: STORE, epoch: 2, end: &end, council, anchor }, given, pinned)
}

#[test]
fn act_restore_the_anchor_says_who_decides_and_never_the_older_copy() {
    let (before, since, plugin) = (Group::of(1, 1), Group::of(3, 2), Group::of(2, 2));
    let [before, since] = [&before, &since].map(|group| &group.council);
    let pinned = plugin.council.officers();
    let (b, s) = (before.officers().clone(), since.officers().clone());
    let at = |sequence, council| anchor(sequence, council);
    for (what, store, anchor, given, decide, after) in [
        ("no officers anywhere", None, Some(at(9, None)), None, vec![], None),
        (
            "a copy from before there were officers",
            None,
            Some(at(9, Some(since))),
            Some(since),
            vec![&s],
            Some(since),
        ),
        ("a copy with the same officers", Some(since), Some(at(9, Some(since))), None, vec![&s], Some(since)),
        (
            "a copy from before they changed",
            Some(before),
            Some(at(9, Some(since))),
            Some(since),
            vec![&s],
            Some(since),
        ),
        (
            "another history of the same length",
            Some(before),
            Some(at(5, Some(since))),
            Some(since),
            vec![&s],
            Some(since),
        ),
        ("an older token", Some(since), Some(at(3, Some(before))), Some(before), vec![&b, &s], Some(since)),
        (
            "an older token with the same officers",
            Some(since),
            Some(at(3, Some(since))),
            None,
            vec![&s],
            Some(since),
        ),
        (
            "a token from before there were officers",
            Some(since),
            Some(at(3, None)),
            None,
            vec![&s],
            Some(since),
        ),
        ("another history, with officers", Some(since), Some(at(9, None)), None, vec![&s], Some(since)),
        ("an emptied token", Some(since), None, None, vec![pinned, &s], Some(since)),
        ("an emptied token and an old copy", None, None, None, vec![pinned], None),
    ] {
        let found = find(store, anchor.as_ref(), given, Some(pinned)).expect(what);
        assert_eq!(found.groups.iter().collect::<Vec<_>>(), decide, "{what}");
        assert_eq!(found.council.as_ref(), after, "{what}");
    }
    let found = find(Some(since), None, None, None).expect("the copy's, where none are pinned");
    assert_eq!((found.groups, found.council.as_ref()), (vec![s.clone()], Some(since)));
    assert_eq!(find(None, None, None, None).expect("nobody").groups, vec![]);
    let found = find(Some(since), None, None, Some(since.officers())).expect("the same people");
    assert_eq!(found.groups, [since.officers().clone()], "each is asked once");
}

#[test]
fn act_restore_a_council_that_the_anchor_does_not_name_decides_nothing() {
    let (before, since) = (Group::of(1, 1).council, Group::of(3, 2).council);
    let anchored = anchor(9, Some(&since));
    let digest = since.digest();
    for store in [None, Some(&before)] {
        assert_eq!(find(store, Some(&anchored), None, None), Err(DisagreedError::CouncilUnknown(digest)));
        let another = DisagreedError::AnotherCouncil { given: before.digest(), anchored: digest };
        assert_eq!(find(store, Some(&anchored), Some(&before), None), Err(another));
    }
}

#[test]
fn act_restore_as_many_officers_as_the_threshold_agree_to_exactly_this_restoration() {
    let group = Group::of(3, 2);
    let anchored = anchor(9, Some(&group.council));
    let deciders = find(None, Some(&anchored), Some(&group.council), None).expect("officers");
    let act = deciders.act([3; 16], NOW + 60);
    let text = act.print().expect("a text");
    let signed = group.sign(&text);
    let agree = |text: &str, signatures: &[String]| {
        deciders.agree(Some(text), signatures, NOW).map(|agreed| agreed.officers)
    };
    assert_eq!(agree(&text, &signed[..2]).expect("two of three").len(), 2);
    assert_eq!(agree(&text, &signed).expect("all").len(), 3);
    let few = |signed| Err(DisagreedError::Few { signed, needed: 2 });
    assert_eq!(agree(&text, &[]), few(0));
    assert_eq!(agree(&text, &[signed[0].clone(), signed[0].clone()]), few(1), "one officer twice");
    assert_eq!(
        agree(&text, &[signed[0].clone(), Group::of(1, 1).sign(&text)[0].clone()]),
        few(1),
        "a stranger"
    );
    assert_eq!(
        deciders.agree(None, &signed, NOW).map(|agreed| agreed.officers),
        Err(DisagreedError::Unsigned)
    );
    for (what, other) in [
        ("another store", ActText { store: [8; 16], ..act.clone() }),
        ("another epoch", ActText { epoch: 1, ..act.clone() }),
        ("another copy", {
            let store = Seen { head: Head([4; 32]), link: 5 };
            ActText {
                motion: Motion::Restore { store, anchor: Some(Seen { head: Head([9; 32]), link: 9 }) },
                ..act.clone()
            }
        }),
        ("another act", {
            ActText { motion: Motion::ClockTake { believed: None, from: NOW }, ..act.clone() }
        }),
    ] {
        let text = other.print().expect("a text");
        let refused = agree(&text, &group.sign(&text));
        assert!(matches!(refused, Err(DisagreedError::Another(_))), "{what}: {refused:?}");
    }
    for expires in [NOW - 1, NOW + MAX_RESTORE_WINDOW + 1] {
        let text = ActText { expires, ..act.clone() }.print().expect("a text");
        assert_eq!(agree(&text, &group.sign(&text)), Err(DisagreedError::Expired), "{expires}");
    }
    let altered = text.replace('\n', "\r\n");
    assert!(matches!(agree(&altered, &group.sign(&altered)), Err(DisagreedError::Text(_))));
}

#[test]
fn act_restore_each_group_that_decides_must_agree() {
    let (before, since) = (Group::of(1, 1), Group::of(3, 2));
    let anchored = anchor(3, Some(&before.council));
    let deciders = find(Some(&since.council), Some(&anchored), Some(&before.council), None).expect("both");
    let text = deciders.act([3; 16], NOW).print().expect("a text");
    let (old, new) = (before.sign(&text), since.sign(&text));
    let agree = |signatures: &[String]| {
        deciders.agree(Some(&text), signatures, NOW).map(|agreed| agreed.officers.len())
    };
    assert_eq!(agree(&new), Err(DisagreedError::Few { signed: 0, needed: 1 }));
    assert_eq!(agree(&old), Err(DisagreedError::Few { signed: 0, needed: 2 }));
    assert_eq!(agree(&[old, new].concat()), Ok(4));
}

#[test]
fn act_restore_over_an_emptied_token_neither_the_pinned_officers_nor_the_copys_decide_alone() {
    let (plugin, own) = (Group::of(2, 2), Group::of(3, 2));
    let deciders = find(Some(&own.council), None, None, Some(plugin.council.officers())).expect("both");
    let text = deciders.act([3; 16], NOW).print().expect("a text");
    let (pinned, of_copy) = (plugin.sign(&text), own.sign(&text));
    let agree = |signatures: &[String]| {
        deciders.agree(Some(&text), signatures, NOW).map(|agreed| agreed.officers.len())
    };
    let few = |signed| Err(DisagreedError::Few { signed, needed: 2 });
    assert_eq!(agree(&pinned), few(0), "whoever wrote the configuration");
    assert_eq!(agree(&of_copy), few(0), "whoever chose the copy");
    assert_eq!(agree(&[&pinned[..], &of_copy[..1]].concat()), few(1));
    assert_eq!(agree(&[&pinned[..], &of_copy[1..]].concat()), Ok(4));
}

/// Officers agreed by one clock, and the store is accepted by another one, or much later.
#[test]
fn act_restore_an_act_that_has_expired_by_the_clock_that_is_judged_restores_nothing() {
    let group = Group::of(3, 2);
    let deciders = find(None, Some(&anchor(9, Some(&group.council))), Some(&group.council), None);
    let deciders = deciders.expect("officers");
    let text = deciders.act([3; 16], NOW + 60).print().expect("a text");
    let so = PinRecord::new(b"so-pin", [1; 16]).expect("long enough");
    let token = TokenRecord { label: "t".into(), serial: [1; 8], so: OfficerPin::new(so), user: None };
    let administrator = Administrator::by_pin(&token, b"so-pin").expect("it is the PIN");
    let accept = |now| {
        let agreed = deciders.agree(Some(&text), &group.sign(&text), NOW).expect("all of them");
        restore(administrator.approve(agreed), None, None, now).map(drop)
    };
    assert_eq!(accept(NOW + 60), Ok(()));
    assert_eq!(accept(NOW + 61), Err(DisagreedError::Expired));
    assert_eq!(accept(NOW + 59 - MAX_RESTORE_WINDOW), Err(DisagreedError::Expired));
}
