use zeroize::Zeroizing;

use super::super::statement::tests::examples;
use super::*;
use crate::factor::FactorKind;
use crate::seal::{DataKey, RecordKey};

const NOW: u64 = 1_796_040_000;

fn user(name: &str) -> UserId {
    UserId { name: name.into(), key: [0x16; 16] }
}

fn draft(asked: &[&str], needed: usize) -> Draft {
    let statement = Statement { user: user(asked[0]), expires: NOW + 600, ..examples()["usual"].clone() };
    let asked = asked.iter().map(|name| user(name)).collect();
    let (maker, binding) = (Some("backend".to_owned()), [0xb1; 32]);
    Draft { store: [0x7c; 16], epoch: 2, binding, maker, statement, asked, needed, asks: None }
}

/// Two of alice, bob and carol must approve.
fn pending() -> Pending {
    Pending::new(draft(&["alice", "bob", "carol"], 2), NOW).expect("a proposal")
}

fn approved() -> Pending {
    let once = pending().approve(&user("alice"), Means::Code(FactorKind::Totp), NOW).expect("open");
    once.approve(&user("bob"), Means::Code(FactorKind::Totp), NOW + 5).expect("open")
}

fn spent() -> Pending {
    approved().spend(SpentOn::new([0xb1; 32], NOW + 9, [7; 32]))
}

/// One proposal in each state in which nobody can say anything any more, and a time at which it is.
fn over() -> [(Pending, u64, Standing); 5] {
    let refused = approved().refuse(&user("carol"), NOW + 6).expect("open");
    let withdrawn = approved().withdraw(Some("backend"), NOW + 6).expect("its maker");
    [
        (refused, NOW + 7, Standing::Refused(user("carol"))),
        (withdrawn, NOW + 7, Standing::Withdrawn),
        (spent(), NOW + 9, Standing::Spent),
        (approved(), NOW + 601, Standing::Expired),
        (pending(), NOW + 601, Standing::Expired),
    ]
}

#[test]
fn as_many_users_approve_as_are_needed_and_each_counts_once() {
    let first = pending();
    assert_eq!(first.standing(NOW), Standing::Open { approved: 0, needed: 2 });
    let once = first.approve(&user("alice"), Means::Code(FactorKind::Totp), NOW).expect("open");
    let twice = once.approve(&user("alice"), Means::Code(FactorKind::Totp), NOW + 1).expect("open");
    assert_eq!(twice.standing(NOW), Standing::Open { approved: 1, needed: 2 });
    let both = twice.approve(&user("bob"), Means::Code(FactorKind::Totp), NOW + 5).expect("open");
    assert_eq!(both.standing(NOW + 600), Standing::Approved);
    let given: Vec<_> = both.approvals().map(|given| (given.user.name.as_str(), given.at)).collect();
    assert_eq!(given, [("alice", NOW), ("bob", NOW + 5)]);
    let all =
        both.approve(&user("carol"), Means::Code(FactorKind::Totp), NOW + 6).expect("a third one may, too");
    assert_eq!((all.approvals().count(), all.standing(NOW + 6)), (3, Standing::Approved));
}

#[test]
fn only_who_was_asked_by_this_enrolment_says_anything() {
    let enrolled_again = UserId { key: [0x17; 16], ..user("alice") };
    for stranger in [user("mallory"), enrolled_again] {
        let refused = Some(ConsentError::NotAsked(stranger.name.clone()));
        assert_eq!(pending().approve(&stranger, Means::Code(FactorKind::Totp), NOW).err(), refused);
        assert_eq!(pending().refuse(&stranger, NOW).err(), refused);
        assert_eq!(pending().statement_for(&stranger).err(), refused);
        assert_eq!(pending().digest_for(&stranger).err(), refused);
    }
}

#[test]
fn each_user_approves_a_digest_of_their_own() {
    let digests = ["alice", "bob"].map(|name| pending().digest_for(&user(name)).expect("asked").0);
    assert_ne!(digests[0], digests[1]);
    let statement = pending().statement_for(&user("bob")).expect("asked");
    assert!(statement.print().expect("a text").contains("for \"bob\" 1616"));
    assert_eq!(ConsentDigest::of([0x7c; 16], [0xb1; 32], &statement).map(|digest| digest.0), Ok(digests[1]));
}

#[test]
fn consent_of_what_is_refused_withdrawn_spent_or_expired_is_over_for_good() {
    for (over, now, standing) in over() {
        assert_eq!(over.standing(now), standing);
        assert_eq!(over.standing(now + MAX_LIFETIME), standing, "it stays so");
        let refused = Some(ConsentError::Over(standing.clone()));
        assert_eq!(
            over.approve(&user("carol"), Means::Code(FactorKind::Totp), now).err(),
            refused,
            "{standing:?}"
        );
        assert_eq!(over.refuse(&user("carol"), now).err(), refused, "{standing:?}");
        assert_eq!(over.withdraw(Some("backend"), now).err(), refused, "{standing:?}");
    }
}

#[test]
fn only_its_maker_withdraws_a_proposal() {
    for peer in [None, Some("other"), Some("")] {
        assert_eq!(pending().withdraw(peer, NOW).err(), Some(ConsentError::NotTheMaker));
    }
    let withdrawn = pending().withdraw(Some("backend"), NOW).expect("its maker");
    assert_eq!(withdrawn.standing(NOW), Standing::Withdrawn);
}

#[test]
fn a_ticket_is_about_one_transaction_of_one_wallet_since_the_last_restoration() {
    let (wallet, binding) = ([0x3f; 16], [0xb1; 32]);
    assert!(pending().is_about(&wallet, &binding, 2));
    assert!(!pending().is_about(&[1; 16], &binding, 2), "another wallet");
    assert!(!pending().is_about(&wallet, &[1; 32], 2), "another transaction");
    assert!(!pending().is_about(&wallet, &binding, 3), "restored since");
}

#[test]
fn the_same_signatures_are_given_once_more_for_two_minutes() {
    assert_eq!(spent().repeated(&[0xb1; 32], None, NOW + 128), Some([7; 32]));
    assert_eq!(spent().repeated(&[0xb1; 32], None, NOW + 129), None);
    assert_eq!(spent().repeated(&[1; 32], None, NOW + 10), None, "another transaction");
    assert_eq!(approved().repeated(&[0xb1; 32], None, NOW + 10), None, "not spent");
}

#[test]
fn a_proposal_asks_somebody_each_once_enough_of_them_and_for_a_week_at_most() {
    let asks = |asked: &[&str], needed| Pending::new(draft(asked, needed), NOW).map(drop);
    let many: Vec<String> = (0..=MAX_SIGNERS).map(|number| format!("user{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(asks(&many[..MAX_SIGNERS], MAX_SIGNERS), Ok(()));
    for (asked, needed) in
        [(&many[..], 1), (&["alice", "alice"][..], 1), (&["alice"][..], 2), (&["alice"][..], 0)]
    {
        assert_eq!(asks(asked, needed), Err(ConsentError::Asked { asked: asked.len(), needed }));
    }
    let other = Draft { asked: vec![user("bob")], ..draft(&["alice"], 1) };
    assert!(Pending::new(other, NOW).is_err(), "the statement is for somebody else");
    for (lifetime, is_right) in [(0, false), (1, true), (MAX_LIFETIME, true), (MAX_LIFETIME + 1, false)] {
        let mut new = draft(&["alice"], 1);
        new.statement.expires = NOW + lifetime;
        assert_eq!(Pending::new(new, NOW).is_ok(), is_right, "{lifetime} s");
    }
    let mut late = draft(&["alice"], 1);
    late.statement.expires = NOW - 1;
    assert!(Pending::new(late, NOW).is_err());
}

#[test]
fn outcome_leak_a_proposal_has_one_length_whoever_approved_it_and_whether_or_not_it_was_spent() {
    let first = pending().encode();
    for (next, ..) in over().iter().chain(&[(approved(), NOW, Standing::Approved)]) {
        assert_eq!(next.encode().len(), first.len());
        let read = Pending::decode(&next.encode()).expect("it reads back");
        assert_eq!(read.encode(), next.encode());
        assert_eq!((read.standing(NOW), read.asked()), (next.standing(NOW), next.asked()));
    }
    let all = ["alice", "bob", "carol"].iter().fold(pending(), |pending, name| {
        pending.approve(&user(name), Means::Code(FactorKind::Totp), NOW).expect("open")
    });
    assert_eq!(all.spend(SpentOn::longest()).encode().len(), first.len(), "no record is longer");
}

#[test]
fn a_record_that_no_version_wrote_is_not_read() {
    let bytes = approved().encode();
    assert!(Pending::decode(&bytes[..bytes.len() - 1]).is_some_and(|read| read.approvals.len() == 2));
    assert!(
        Pending::decode(&[&bytes[..bytes.len() - 1], &[1]].concat()).is_none(),
        "padding that is not zero"
    );
    assert!(Pending::decode(&[&[2], &bytes[1..]].concat()).is_none(), "another format");
    assert!(Pending::decode(&[]).is_none());
    let mut stranger = approved();
    stranger.approvals[0].by = 3;
    assert!(Pending::decode(&stranger.encode()).is_none(), "an approval of somebody who was not asked");
}

/// Records of proposals by this peer for this wallet.
fn records(count: usize, wallet: u8, peer: &str, of: &Pending) -> Vec<Versioned<Pending>> {
    let key = DataKey::new([7; 16], Zeroizing::new([9; 32]));
    let mut pending = of.clone();
    pending.statement.wallet = [wallet; 16];
    pending.maker = Some(peer.into());
    let place = RecordKey::pending(pending.ticket());
    let sealed = key.seal(&place, 1, [1; 12], &pending.encode());
    let read = || Versioned::read(&key.unseal(&place, 1, &sealed).expect("it opens")).expect("it reads");
    (0..count).map(|_| read()).collect()
}

#[test]
fn proposals_are_bounded_for_each_wallet_and_each_peer() {
    let new = pending();
    let room =
        |present: &[Versioned<Pending>]| make_room(&all(present), &new, NOW + 10).map(|going| going.len());
    assert_eq!(room(&records(MAX_OF_WALLET - 1, 0x3f, "other", &new)), Ok(0));
    assert_eq!(room(&records(MAX_OF_WALLET, 0x3f, "other", &new)), Err(ConsentError::Room), "of the wallet");
    assert_eq!(room(&records(MAX_OF_PEER - 1, 1, "backend", &new)), Ok(0));
    assert_eq!(room(&records(MAX_OF_PEER, 1, "backend", &new)), Err(ConsentError::Room), "of the peer");
    assert_eq!(room(&records(MAX_OF_PEER, 1, "other", &new)), Ok(0), "somebody else's are somewhere else");
}

#[test]
fn what_is_over_makes_room_and_what_can_still_be_repeated_stays() {
    let new = pending();
    let going = |of: &Pending, count, now| {
        make_room(&all(&records(count, 0x3f, "backend", of)), &new, now).map(|going| going.len())
    };
    for (over, ..) in &over()[..2] {
        assert_eq!(going(over, 3, NOW + 10), Ok(0), "there is room");
        assert_eq!(going(over, MAX_OF_WALLET, NOW + 10), Ok(MAX_OF_WALLET));
    }
    assert_eq!(going(&spent(), MAX_OF_WALLET, NOW + 10), Err(ConsentError::Room), "somebody may ask again");
    assert_eq!(going(&spent(), MAX_OF_WALLET, NOW + 9 + 241), Ok(MAX_OF_WALLET));
    assert_eq!(going(&approved(), 3, NOW + 600), Ok(0));
    assert_eq!(going(&approved(), 3, NOW + 601), Ok(3), "what has expired goes");
    let late = approved().spend(SpentOn::new([0xb1; 32], NOW + 599, [7; 32]));
    assert_eq!(going(&late, 3, NOW + 700), Ok(0), "spent just before it expired");
    assert_eq!(going(&late, 3, NOW + 840), Ok(3));
}

fn all(records: &[Versioned<Pending>]) -> Vec<&Versioned<Pending>> {
    records.iter().collect()
}

#[test]
fn consent_where_a_means_is_asked_for_no_other_approves_and_every_one_refuses() {
    let asks = Some(vec![Shown::Device]);
    let pending = Pending::new(Draft { asks: asks.clone(), ..draft(&["alice"], 1) }, NOW).expect("right");
    let alice = user("alice");
    let by_code = pending.approve(&alice, Means::Code(FactorKind::Totp), NOW + 1);
    assert_eq!(by_code.err(), Some(ConsentError::Means(vec![Shown::Device])));
    let approved = pending.approve(&alice, Means::Device, NOW + 1).expect("what is asked for");
    assert_eq!(approved.standing(NOW + 1), Standing::Approved);
    assert!(pending.refuse(&alice, NOW + 1).is_ok());
    // It is kept with the record.
    let read = Pending::decode(&approved.encode()).expect("it reads");
    assert_eq!(read.asks(), asks.as_deref());
}

#[test]
fn no_code_takes_the_place_of_a_signature_and_a_signature_that_of_any_code() {
    let (pending, alice) = (Pending::new(draft(&["alice"], 1), NOW).expect("right"), user("alice"));
    let after = |all: &[Means]| {
        let add = |pending: Pending, means: &Means| pending.approve(&alice, *means, NOW + 1).expect("open");
        all.iter().fold(pending.clone(), add).means_of(&alice)
    };
    let (code, desk) = (Means::Code(FactorKind::Totp), Means::Desk(FactorKind::Totp));
    for signed in [Means::Device, Means::Passkey] {
        assert_eq!(after(&[signed, desk, code]), Some(signed));
        assert_eq!(after(&[code, desk, signed]), Some(signed));
    }
    assert_eq!((after(&[code, desk]), after(&[desk, code])), (Some(desk), Some(desk)));
}
