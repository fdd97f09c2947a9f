use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;
use crate::receipt::Committed;
use crate::record::Stored;
use crate::seal::{DataKey, Kind, RecordKey};
use crate::state::BACK_OFF_MOST;

const NOW: u64 = 1_800_000_000;
const SO: &[u8] = b"so-pin";
const USER: &[u8] = b"user-pin";

fn deed(event: &Event) -> Deed {
    let Event::Act(act) = event else { panic!("{event:?}") };
    act.deed
}

fn clocks(boot_id: u8, boot: u64) -> Believed {
    Believed { boot_id: [boot_id; 16], wall: NOW, boot }
}

fn record(pin: &[u8]) -> PinRecord {
    PinRecord::new(pin, [7; 16]).expect("long enough")
}

/// The key of the token's store.
fn key() -> DataKey {
    DataKey::new([7; 16], Zeroizing::new([9; 32]))
}

/// A token whose records are written as soon as they are decided.
struct Token(Versioned<TokenRecord>);

impl Token {
    fn new() -> Token {
        let value = TokenRecord {
            label: "t".into(),
            serial: [1; 8],
            so: OfficerPin::new(record(SO)),
            user: Some(UserPin::new(record(USER))),
        };
        let (place, authority) = (RecordKey::single(Kind::Token), key().authority());
        Token(Versioned { place, version: 1, value, authority, shown_len: 0 })
    }

    /// Reads back what is written, as after a restart.
    fn write<E>(&mut self, decision: Decision<E>) -> (Receipt<E>, Event) {
        let mut event = None;
        let issued = Receipt::issue(decision, |batch| {
            let [write] = &batch.writes[..] else { panic!("one record") };
            let crate::receipt::Content::Put(bytes) = &write.content else { panic!("it is kept") };
            self.0.value = TokenRecord::decode(bytes).expect("it is read");
            event = Some(batch.event.clone());
            Ok::<_, ()>(Committed::by(&key(), batch))
        });
        let Ok(receipt) = issued else { panic!("it is written") };
        (receipt, event.expect("it was written"))
    }

    /// The same for a decision without evidence.
    fn record(&mut self, batch: Batch) -> Event {
        self.write(Decision::new(batch, ())).1
    }

    /// Whether the PIN was right, or why it was not checked.
    fn try_at(
        &mut self,
        role: Role,
        peer: Peer<'_>,
        pin: &[u8],
        clocks: Believed,
        now: u64,
    ) -> Result<bool, PinClosed> {
        let (charged, event) = self.write(charge_pin(&self.0, role, peer, clocks, now)?);
        assert_eq!(event, Event::PinCharged(role));
        let Some(matched) = verify_pin(charged, pin) else { return Ok(false) };
        let accepted = accept_pin(&matched, &self.0, now).expect("nobody came in between");
        let _ = self.write(accepted);
        Ok(true)
    }

    fn user(&mut self, peer: Peer<'_>, pin: &[u8], now: u64) -> Result<bool, PinClosed> {
        self.try_at(Role::User, peer, pin, clocks(1, 0), now)
    }

    fn pin(&self) -> &UserPin {
        self.0.value.user.as_ref().expect("it is set")
    }

    /// Counts a wrong try without stretching the PIN.
    fn charge(&mut self, peer: Peer<'_>, now: u64) -> Result<(), PinClosed> {
        self.0.value.user = Some(self.pin().charged(peer, clocks(1, 0), now)?);
        Ok(())
    }
}

#[test]
fn a_peer_that_used_its_tries_up_is_refused_uncharged_and_others_go_on() {
    let mut token = Token::new();
    for tried in 1..=PEER_TRIES {
        assert_eq!(token.user(Some("user 1"), b"wrong", NOW), Ok(false));
        let expected = match tried {
            PEER_TRIES => PinStanding::Locked,
            4 => PinStanding::FinalTry,
            _ => PinStanding::CountLow,
        };
        assert_eq!(token.pin().standing(Some("user 1"), NOW), expected, "after {tried}");
    }
    assert_eq!(token.user(Some("user 1"), USER, NOW + 1), Err(PinClosed::Locked), "however right");
    assert_eq!(token.pin().failures(NOW + 1), 5, "that was not charged");
    assert_eq!(token.pin().standing(Some("user 2"), NOW), PinStanding::Clean);
    assert_eq!(token.user(Some("user 2"), USER, NOW + 1), Ok(true));
    assert_eq!(token.user(None, USER, NOW + 1), Ok(true));
    assert_eq!(
        token.user(Some("user 1"), USER, NOW + BUDGET_PERIOD),
        Err(PinClosed::Locked),
        "no time ends it"
    );
    let event = token.record(unlock_user_pin(&token.0, NOW).expect("it is set"));
    assert_eq!(deed(&event), Deed::PinUnlocked);
    assert_eq!(token.user(Some("user 1"), USER, NOW + 2), Ok(true), "the security officer does");
}

#[test]
fn a_right_pin_ends_the_row_of_its_own_peer_alone() {
    let mut token = Token::new();
    for peer in ["user 1", "user 2"] {
        for _ in 0..3 {
            assert_eq!(token.user(Some(peer), b"wrong", NOW), Ok(false));
        }
    }
    assert_eq!(token.user(Some("user 1"), USER, NOW), Ok(true));
    assert_eq!(token.pin().peers().collect::<Vec<_>>(), [(Some("user 2"), 3)]);
    assert_eq!(token.pin().failures(NOW), 6, "the wrong ones stay in the budget of all");
}

#[test]
fn all_peers_together_have_a_hundred_wrong_tries_in_30_days() {
    let mut token = Token::new();
    for number in 0..PIN_BUDGET as u64 {
        token.charge(Some(&format!("user {}", number / 4)), NOW + number).expect("within the budget");
    }
    let last = NOW + PIN_BUDGET as u64;
    assert_eq!(token.user(Some("user 99"), USER, last), Err(PinClosed::Locked));
    assert_eq!(token.pin().standing(Some("user 99"), last), PinStanding::Locked);
    let _ = token.record(unlock_user_pin(&token.0, last).expect("it is set"));
    assert_eq!(token.user(Some("user 99"), USER, last), Err(PinClosed::Locked), "no unlocking ends it");
    assert_eq!(token.user(Some("user 99"), USER, NOW + BUDGET_PERIOD - 1), Err(PinClosed::Locked));
    assert_eq!(
        token.user(Some("user 99"), USER, NOW + BUDGET_PERIOD),
        Ok(true),
        "the oldest is 30 days past"
    );
    assert!(token.pin().failures(NOW + BUDGET_PERIOD) < PIN_BUDGET);
}

#[test]
fn the_peers_beyond_the_64th_share_one_row() {
    let mut token = Token::new();
    for number in 0..MAX_PEERS {
        token.charge(Some(&format!("user {number}")), NOW).expect("a row of its own");
    }
    for (tried, peer) in [Some("user 64"), Some("user 65"), None, Some("user 66"), None].iter().enumerate() {
        assert_eq!(token.charge(*peer, NOW), Ok(()), "{tried}");
    }
    assert_eq!(token.charge(Some("user 67"), NOW), Err(PinClosed::Locked));
    assert_eq!(token.charge(None, NOW), Err(PinClosed::Locked));
    assert_eq!(token.charge(Some("user 63"), NOW), Ok(()), "who has a row keeps it");
    assert_eq!(token.pin().tries.of_peers.len(), MAX_PEERS);
}

#[test]
fn a_user_pin_is_set_once_and_then_only_where_it_is_locked_or_lost() {
    let new = || record(b"another");
    let mut token = Token::new();
    assert!(set_user_pin(&token.0, new(), Some("user 0"), NOW).is_err(), "it stands");
    assert!(set_user_pin(&token.0, new(), None, NOW).is_err(), "it stands");
    for _ in 0..PEER_TRIES {
        token.charge(Some("user 1"), NOW).expect("its own");
    }
    assert!(set_user_pin(&token.0, new(), Some("user 0"), NOW).is_err(), "one peer's lock is not the PIN's");
    let event = token.record(lose_user_pin(&token.0, NOW).expect("it is set"));
    assert_eq!(deed(&event), Deed::PinLost);
    assert_eq!(token.user(Some("user 2"), USER, NOW), Err(PinClosed::Locked), "what is lost opens nothing");
    let _ = token.record(unlock_user_pin(&token.0, NOW).expect("it is set"));
    assert_eq!(token.user(Some("user 2"), USER, NOW), Err(PinClosed::Locked), "and is not found again");
    let event = token.record(set_user_pin(&token.0, new(), Some("user 0"), NOW).expect("it was lost"));
    assert_eq!(deed(&event), Deed::PinSet(Role::User));
    assert_eq!(token.user(Some("user 1"), b"another", NOW), Ok(true), "a new PIN has all its tries");
    assert!(set_user_pin(&token.0, record(USER), Some("user 0"), NOW).is_err(), "and stands");
    // Without doors there is one row, and its lock is the PIN's.
    for _ in 0..PEER_TRIES {
        token.charge(None, NOW).expect("the row of the rest");
    }
    assert!(set_user_pin(&token.0, record(USER), Some("user 0"), NOW).is_err(), "a peer has its own");
    assert!(set_user_pin(&token.0, record(USER), None, NOW).is_ok());
    // All tries of all peers.
    let mut token = Token::new();
    for number in 0..PIN_BUDGET {
        token.charge(Some(&format!("user {}", number / 4)), NOW).expect("within the budget");
    }
    assert!(set_user_pin(&token.0, record(b"another"), Some("user 0"), NOW).is_ok());
    assert!(set_user_pin(&token.0, record(b"another"), Some("user 0"), NOW + BUDGET_PERIOD).is_err());
}

#[test]
fn a_right_pin_is_not_accepted_once_it_is_lost_or_changed() {
    for act in [true, false] {
        let mut token = Token::new();
        let decision = charge_pin(&token.0, Role::User, Some("user 1"), clocks(1, 0), NOW).expect("open");
        let (charged, _) = token.write(decision);
        let matched = verify_pin(charged, USER).expect("right");
        let _ = token.record(lose_user_pin(&token.0, NOW).expect("it is set"));
        if act {
            let _ = token.record(set_user_pin(&token.0, record(b"another"), None, NOW).expect("it was lost"));
        }
        assert!(accept_pin(&matched, &token.0, NOW).is_none());
        assert!(change_pin(&matched, &token.0, record(b"stolen"), NOW).is_none());
    }
}

#[test]
fn the_so_pin_waits_up_to_an_hour_and_never_locks() {
    let mut token = Token::new();
    let mut boot = 1_000;
    for wait in [0, 0, 30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600, 3_600] {
        assert_eq!(token.try_at(Role::So, None, b"wrong", clocks(1, boot), NOW), Ok(false));
        if wait > 0 {
            let early = token.try_at(Role::So, None, SO, clocks(1, boot + wait - 1), NOW);
            assert_eq!(early, Err(PinClosed::Waiting { seconds: 1 }), "however right");
            assert_eq!(token.0.value.so.standing(None, clocks(1, boot + 1)), PinStanding::Locked);
        }
        boot += wait;
    }
    assert_eq!(token.try_at(Role::So, None, SO, clocks(1, boot), NOW), Ok(true));
    assert_eq!(token.0.value.so.standing(None, clocks(1, boot)), PinStanding::Clean);
    // Each administrator waits for their own wrong tries.
    for _ in 0..3 {
        assert_eq!(token.try_at(Role::So, Some("user 1"), b"wrong", clocks(1, boot), NOW), Ok(false));
    }
    assert!(token.try_at(Role::So, Some("user 1"), SO, clocks(1, boot), NOW).is_err());
    assert_eq!(token.try_at(Role::So, Some("user 0"), SO, clocks(1, boot), NOW), Ok(true));
}

#[test]
fn a_peer_that_must_wait_at_the_so_pin_is_shown_by_name_or_among_the_rest() {
    for peer in [Some("user 1"), None] {
        let mut token = Token::new();
        for tried in 1..=3 {
            assert!(!token.0.value.so.is_waiting_for_any(clocks(1, 1_000)), "{peer:?}: before try {tried}");
            assert_eq!(token.try_at(Role::So, peer, b"wrong", clocks(1, 1_000), NOW), Ok(false));
        }
        assert!(token.0.value.so.is_waiting_for_any(clocks(1, 1_029)), "{peer:?}");
        assert_eq!(token.try_at(Role::So, Some("user 0"), SO, clocks(1, 1_029), NOW), Ok(true));
        assert!(
            token.0.value.so.is_waiting_for_any(clocks(1, 1_029)),
            "{peer:?}: a right PIN ends no other's wait"
        );
        assert!(!token.0.value.so.is_waiting_for_any(clocks(1, 1_030)), "{peer:?}: it is over");
    }
}

#[test]
fn the_wait_at_the_so_pin_is_measured_by_the_clock_that_nobody_sets() {
    let row = Row { count: 3, last: Some(clocks(1, 500)) };
    let ahead = Believed { wall: NOW + BACK_OFF_MOST, ..clocks(1, 501) };
    assert_eq!(row.wait(ahead), 29, "a wall clock that is ahead ends nothing");
    assert_eq!(row.wait(clocks(1, 530)), 0);
    assert_eq!(row.wait(clocks(2, 10)), 20, "started anew, from its start on");
    assert_eq!(row.wait(clocks(2, 30)), 0);
    // A system that does not give its runs ids.
    let row = Row { count: 3, last: Some(clocks(0, 500)) };
    assert_eq!((row.wait(clocks(0, 510)), row.wait(clocks(0, 10)), row.wait(clocks(0, 31))), (20, 20, 0));
}

/// A token in the first format, with so many tries at the PINs.
fn first_format(so: u8, user: u8) -> TokenRecord {
    let pin = |pin: &[u8], tries: u8| (record(pin), tries);
    let body = postcard::to_allocvec(&("t", [1_u8; 8], pin(SO, so), Some(pin(USER, user)))).expect("written");
    TokenRecord::decode(&[&[1][..], &body].concat()).expect("it is read")
}

#[test]
fn a_token_of_the_first_format_keeps_its_pins_and_no_officer_is_locked_for_good() {
    for (so, user) in [(0, 0), (3, 9), (10, 4), (10, 10)] {
        let mut token = Token::new();
        token.0.value = first_format(so, user);
        // At most an hour after the boot.
        let late = clocks(1, BACK_OFF_MOST);
        assert_eq!(token.try_at(Role::So, None, SO, late, NOW), Ok(true), "{so}");
        let opened = token.user(None, USER, NOW);
        let expected = if user < 10 { Ok(true) } else { Err(PinClosed::Locked) };
        assert_eq!(opened, expected, "{user}: what was locked stays so, and nothing else is");
        assert_eq!(set_user_pin(&token.0, record(b"newer"), Some("user 0"), NOW).is_ok(), user == 10);
    }
    let first = first_format(10, 9);
    assert_eq!(first.so.standing(None, clocks(1, 5)), PinStanding::Locked, "not at once");
    assert_eq!(first.user.expect("set").standing(None, NOW), PinStanding::FinalTry);
}

proptest! {
    #[test]
    fn no_peer_gets_more_than_its_tries_and_all_together_no_more_than_the_budget(
        steps in prop::collection::vec((0_usize..90, any::<bool>(), 0_u64..100_000), 1..400)
    ) {
        let (mut token, mut now) = (Token::new(), NOW);
        let (mut rows, mut wrong) = (std::collections::HashMap::<_, u32>::new(), Vec::new());
        for (number, is_right, wait) in steps {
            now += wait;
            let name = format!("user {number}");
            let peer = (number < 89).then_some(name.as_str());
            let Ok(charged) = token.pin().charged(peer, clocks(1, 0), now) else { continue };
            // The rule's promise is for the peer's row: its own, or that of the rest.
            let row = charged.tries.place_of(peer).map(|_| name.clone());
            token.0.value.user = Some(charged);
            if is_right {
                token.0.value.user = Some(token.pin().accepted(peer, now));
                rows.remove(&row);
            } else {
                let count = rows.entry(row).or_default();
                *count += 1;
                prop_assert!(*count <= PEER_TRIES);
                wrong.push(now);
                let recent = wrong.iter().filter(|at| **at + BUDGET_PERIOD > now).count();
                prop_assert!(recent <= PIN_BUDGET);
            }
            prop_assert!(token.pin().tries.of_peers.len() <= MAX_PEERS);
            prop_assert!(token.pin().charged.len() <= PIN_BUDGET);
        }
    }
}
