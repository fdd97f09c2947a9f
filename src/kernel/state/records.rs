//! The records: what is kept about the token, its users and its wallets, and how it is encoded.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::budget::Budget;
use super::pins::{self, OfficerPin, UserPin};
use crate::clock::Believed;
use crate::factor::totp::Totp;
use crate::factor::{Factor, SpentOn};
use crate::freeze::Freeze;
use crate::history::History;
use crate::officer::Council;
use crate::otp::OtpKey;
use crate::record::{Stored, decode_body, decode_padded, serialized_len};
use crate::wallet::Reach;

/// The token: its label and PINs.
#[derive(Clone, Serialize, Deserialize)]
pub struct TokenRecord {
    /// `CK_TOKEN_INFO.label`, without its padding.
    pub label: String,
    /// Distinguishes this token from others: random, shown in hex as `CK_TOKEN_INFO.serialNumber`.
    pub serial: [u8; 8],
    /// The security officer's PIN.
    pub so: OfficerPin,
    /// The backends' PIN, once set.
    pub user: Option<UserPin>,
}

/// The token as version 0.1 first wrote it.
#[derive(Serialize, Deserialize)]
struct FirstToken {
    label: String,
    serial: [u8; 8],
    so: pins::FirstFormat,
    user: Option<pins::FirstFormat>,
}

impl TokenRecord {
    fn upgrade(first: FirstToken) -> TokenRecord {
        let FirstToken { label, serial, so, user } = first;
        TokenRecord { label, serial, so: OfficerPin::upgrade(so), user: user.map(UserPin::upgrade) }
    }
}

/// A user: the factor by which they approve, and the state of the tries.
#[derive(Clone, Serialize, Deserialize)]
pub struct UserRecord {
    /// The name.
    pub name: String,
    /// `CKA_OTP_SERVICE_IDENTIFIER`: the issuer shown in the authenticator.
    pub service: String,
    /// The factor by which the user approves.
    pub factor: Factor,
    /// Whether a first proof was right.
    pub confirmed: bool,
    /// The tries at all factors.
    pub budget: Budget,
}

impl UserRecord {
    /// A user who has not confirmed yet.
    pub fn new(name: String, service: String, factor: Factor) -> UserRecord {
        UserRecord { name, service, factor, confirmed: false, budget: Budget::default() }
    }

    fn upgrade(first: FirstUser) -> UserRecord {
        let FirstUser { name, service, otp, confirmed, codes: FirstCodes { last_step, budget } } = first;
        let factor = Factor::Totp(Totp::read(otp, last_step, None));
        UserRecord { name, service, factor, confirmed, budget }
    }

    /// A user with one TOTP factor, whose state was around the budget.
    fn upgrade_third(third: ThirdUser) -> UserRecord {
        let ThirdUser { name, service, otp, confirmed, codes: ThirdCodes { last_step, budget, on } } = third;
        let factor = Factor::Totp(Totp::read(otp, last_step, on));
        UserRecord { name, service, factor, confirmed, budget }
    }
}

/// A user in the second format, and in the third, which is padded.
#[derive(Deserialize)]
struct ThirdUser {
    name: String,
    service: String,
    otp: OtpKey,
    confirmed: bool,
    codes: ThirdCodes,
}

#[derive(Deserialize)]
struct ThirdCodes {
    last_step: Option<u64>,
    budget: Budget,
    on: Option<SpentOn>,
}

/// A user as version 0.1 first wrote it.
#[derive(Serialize, Deserialize)]
struct FirstUser {
    name: String,
    service: String,
    otp: OtpKey,
    confirmed: bool,
    codes: FirstCodes,
}

#[derive(Serialize, Deserialize)]
struct FirstCodes {
    last_step: Option<u64>,
    budget: Budget,
}

/// How often the store was restored, and when last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// Restorations.
    pub number: u32,
    /// Unix time of the last one.
    pub at: u64,
}

impl Epoch {
    /// Its name in acts. The number is no name: a copy that is put back twice has the same number twice.
    pub fn name(&self) -> u64 {
        self.at
    }

    /// When the store was last restored.
    pub fn restored(self) -> Option<u64> {
        (self.number > 0).then_some(self.at)
    }
}

/// The readings that the wall clock is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockRecord {
    /// The trusted readings.
    pub believed: Believed,
}

/// A label that a wallet or key had, and that nobody may use again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// The label.
    pub label: String,
}

/// The tries charged for users that do not exist.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NobodyRecord {
    pub(super) tries: u64,
}

/// The state of a wallet, or of a key that signs digests, which has no addresses.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WalletState {
    /// How far its addresses were used.
    pub reach: Reach,
    /// Transactions signed.
    pub signed: u64,
    /// What left it in the last week.
    pub history: History,
}

impl WalletState {
    /// The postcard bytes of the longest state with this history.
    fn len_with(history: History) -> usize {
        serialized_len(&WalletState { reach: Reach::at(u32::MAX, u32::MAX), signed: u64::MAX, history })
    }
}

/// The state as version 0.1 first wrote it.
#[derive(Serialize, Deserialize)]
struct FirstWalletState {
    reach: Reach,
    signed: u64,
}

impl Stored for TokenRecord {
    const FORMAT: u8 = 2;

    fn decode(bytes: &[u8]) -> Option<TokenRecord> {
        match bytes.split_first()? {
            (1, body) => decode_body(body).map(TokenRecord::upgrade),
            (&Self::FORMAT, body) => decode_body(body),
            _ => None,
        }
    }
}
impl Stored for UserRecord {
    const FORMAT: u8 = 4;

    /// The length of the same user with the longest state that codes can give.
    fn padded_len(&self, len: usize, _earlier: usize) -> usize {
        let state = |factor: &Factor, budget: &Budget| serialized_len(factor) + serialized_len(budget);
        len - state(&self.factor, &self.budget) + state(&self.factor.longest(), &Budget::longest())
    }

    fn decode(bytes: &[u8]) -> Option<UserRecord> {
        match bytes.split_first()? {
            (1, body) => decode_body(body).map(UserRecord::upgrade),
            (2, body) => decode_body(body).map(UserRecord::upgrade_third),
            (3, body) => decode_padded(body).map(UserRecord::upgrade_third),
            (&Self::FORMAT, body) => decode_padded(body),
            _ => None,
        }
    }
}
impl Stored for Epoch {}
impl Stored for Council {}
impl Stored for Retired {}
impl Stored for Freeze {}
impl Stored for ClockRecord {}
impl Stored for NobodyRecord {}
impl Stored for WalletState {
    const FORMAT: u8 = 3;

    /// The length of the earlier state with the longest charge, whether or not the request is charged. Requests that wait
    /// for one batch build on each other. Each adds a charge to the length of the one before it, so the last one does not
    /// tell how many of them were charged.
    fn padded_len(&self, _len: usize, earlier: usize) -> usize {
        static CHARGE: LazyLock<usize> = LazyLock::new(|| WalletState::len_with(History::longest_charge()));
        static LONGEST: LazyLock<usize> = LazyLock::new(|| WalletState::len_with(History::longest()));
        LONGEST.min(earlier.saturating_add(*CHARGE))
    }

    fn decode(bytes: &[u8]) -> Option<WalletState> {
        match bytes.split_first()? {
            (1, body) => {
                let FirstWalletState { reach, signed } = decode_body(body)?;
                Some(WalletState { reach, signed, history: History::default() })
            }
            (2, body) => decode_body(body),
            (&Self::FORMAT, body) => decode_padded(body),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    use super::*;
    use crate::history::ChargeId;
    use crate::otp::HotpKey;
    use crate::receipt::Content;
    use crate::record::{FORMAT_LEN, Versioned};
    use crate::seal::{DataKey, Kind, RecordKey};

    #[test]
    fn a_record_reads_back_and_tolerates_nothing_but_zeros_behind_it() {
        let history = History::default().charge(ChargeId::from_bytes([7; 32]), 8, 9);
        let state = WalletState { reach: Reach::at(3, 4), signed: 5, history };
        let bytes = state.encode();
        let read = WalletState::decode(&bytes).expect("reads");
        assert_eq!((read.reach, read.signed, &read.history), (state.reach, state.signed, &state.history));
        assert!(WalletState::decode(&[&bytes[..bytes.len() - 1], &[1]].concat()).is_none());
        assert!(WalletState::decode(&[&[1], &bytes[1..]].concat()).is_none(), "an older format");
        assert!(WalletState::decode(&[&[4], &bytes[1..]].concat()).is_none(), "another format");
        assert!(WalletState::decode(&[]).is_none());
        let second = postcard::to_allocvec(&state).expect("it is written");
        let read = WalletState::decode(&[&[2][..], &second].concat()).expect("reads the second format");
        assert_eq!(read.history, state.history);
        assert!(WalletState::decode(&[&[2][..], &second, &[0]].concat()).is_none(), "which has no padding");
    }

    const PLACE: RecordKey = RecordKey::single(Kind::WalletState);

    /// The state as a later request finds it.
    fn read(key: &DataKey, version: u64, content: &Content, is_settled: bool) -> Versioned<WalletState> {
        let Content::Put(plaintext) = content else { panic!("it is written") };
        let sealed = key.seal(&PLACE, version, [1; 12], plaintext);
        let record = key.unseal(&PLACE, version, &sealed).expect("it opens");
        Versioned::read(&if is_settled { record.settled() } else { record }).expect("it reads")
    }

    fn len(content: &Content) -> usize {
        match content {
            Content::Put(plaintext) => plaintext.len(),
            Content::Remove => 0,
        }
    }

    proptest! {
        /// Requests build on each other, and some of them are settled before the next one is decided. No length depends on
        /// the outcomes of those that are not.
        #[test]
        fn outcome_leak_no_length_of_a_wallets_state_tells_which_requests_are_charged(
            requests in vec((any::<bool>(), any::<bool>(), 0..40_u8, any::<u64>(), 0..40_000_u64), 1..200),
            other in vec(any::<bool>(), 200),
        ) {
            let key = DataKey::new([7; 16], Zeroizing::new([9; 32]));
            let mut now = 1_800_000_000;
            let first = || Content::Put(WalletState::default().encode());
            // Two worlds. The outcomes differ from the first request that is not settled on.
            let mut worlds = [read(&key, 0, &first(), true), read(&key, 0, &first(), true)];
            for (number, (is_charged, is_settled, id, leaves, pause)) in requests.into_iter().enumerate() {
                now += pause;
                let outcomes = [is_charged, other[number]];
                let written = [0, 1].map(|world| {
                    let state = &worlds[world].value;
                    let (reach, signed) = (Reach::at(u32::from(id), u32::MAX), state.signed.saturating_add(leaves));
                    let history = state.history.charge(ChargeId::from_bytes([id; 32]), leaves, now);
                    let charged = WalletState { reach, signed, history };
                    worlds[world].put(if outcomes[world] { &charged } else { state }).content
                });
                prop_assert_eq!(len(&written[0]), len(&written[1]), "request {}", number);
                let version = number as u64 + 1;
                worlds = [0, 1].map(|world| read(&key, version, &written[world], false));
                if is_settled {
                    // Now the outcomes may be known, and both worlds go on from the same one.
                    worlds = [(); 2].map(|()| read(&key, version, &written[0], true));
                    let most = worlds[0].shown_len;
                    prop_assert!(FORMAT_LEN + most <= len(&written[0]), "{most} bytes were cut");
                }
            }
        }
    }

    #[test]
    fn a_settled_state_is_written_with_room_for_one_charge() {
        let key = DataKey::new([7; 16], Zeroizing::new([9; 32]));
        let charge = WalletState::len_with(History::longest_charge());
        let mut state = read(&key, 0, &Content::Put(WalletState::default().encode()), true);
        assert!(charge < 100, "{charge} bytes");
        for number in 0..400_u32 {
            let id = ChargeId::from_bytes([number as u8; 32]);
            let history = state.value.history.charge(id, u64::MAX, 1_800_000_000 + u64::from(number) * 1_200);
            let written = state.put(&WalletState { history, ..state.value.clone() }).content;
            let after = len(&written);
            assert!(after <= FORMAT_LEN + WalletState::len_with(History::longest()));
            assert!(after <= FORMAT_LEN + state.shown_len + charge, "after {number}");
            state = read(&key, u64::from(number) + 1, &written, true);
        }
    }

    #[test]
    fn a_state_that_an_earlier_version_padded_to_the_longest_is_read() {
        let state = WalletState { signed: 7, ..WalletState::default() };
        let longest = FORMAT_LEN + WalletState::len_with(History::longest());
        let mut bytes = state.encode();
        bytes.resize(longest, 0);
        let key = DataKey::new([7; 16], Zeroizing::new([9; 32]));
        let read = read(&key, 3, &Content::Put(bytes), true);
        assert_eq!((read.value.signed, &read.value.history), (7, &state.history));
        assert!(len(&read.put(&state).content) < 200, "it is written shorter");
    }

    #[test]
    fn a_user_of_the_first_format_is_read_with_all_that_was_charged_and_spent() {
        let secret = Zeroizing::new(vec![7; 20]);
        let otp = OtpKey::new(secret, crate::otp::OtpHash::Sha1, 6, 30).expect("a key");
        // last_step Some(9), in_row 2, not_before 5, two charges.
        let codes = [1, 9, 2, 5, 2, 3, 4];
        let first = postcard::to_allocvec(&("alice", "bank", &otp, true)).expect("it is written");
        let user = UserRecord::decode(&[&[1][..], &first, &codes].concat()).expect("it is read");
        assert_eq!((user.name.as_str(), user.confirmed), ("alice", true));
        let last_step = |user: &UserRecord| spent(user).0;
        assert_eq!((last_step(&user), user.budget.failures(4)), (Some(9), 2));
        assert!(spent(&user).1.is_none());
        let again = UserRecord::decode(&user.encode()).expect("it is read");
        assert_eq!(last_step(&again), Some(9), "and written as the fourth");
    }

    fn spent(user: &UserRecord) -> (Option<u64>, Option<&SpentOn>) {
        let Factor::Totp(totp) = &user.factor else { panic!("another factor") };
        totp.spent()
    }

    /// The last spent step; tries in a row, the wait, the tries of 30 days; what was signed, when, and with which randomness.
    type Spent = (Option<u64>, u32, u64, Vec<u64>, Option<([u8; 32], u64, [u8; 32])>);

    fn states() -> [Spent; 2] {
        [(Some(9), 2, 5, vec![3, 4], Some(([1; 32], 77, [2; 32]))), (None, 0, 0, vec![], None)]
    }

    #[test]
    fn a_user_of_the_second_and_third_format_is_read_with_all_that_was_charged_and_spent() {
        let otp =
            OtpKey::new(Zeroizing::new(vec![7; 20]), crate::otp::OtpHash::Sha256, 8, 60).expect("a key");
        for codes in states() {
            let written = postcard::to_allocvec(&(("alice", "bank", &otp, true), &codes)).expect("written");
            let (last_step, in_row, not_before, charged, on) = codes;
            let spent_on = on.map(|(digest, at, entropy)| SpentOn::new(digest, at, entropy));
            let budget = postcard::to_allocvec(&(in_row, not_before, charged)).expect("written");
            for (format, padding) in [(2, &[][..]), (3, &[0; 9])] {
                let user = UserRecord::decode(&[&[format][..], &written, padding].concat()).expect("read");
                assert!(spent(&user) == (last_step, spent_on.as_ref()) && user.confirmed);
                assert_eq!(postcard::to_allocvec(&user.budget).expect("written"), budget);
                assert_eq!(user.factor.key_id(), otp.id());
            }
            assert!(UserRecord::decode(&[&[2][..], &written, &[0]].concat()).is_none(), "it has no padding");
        }
    }

    #[test]
    fn a_user_is_written_in_the_layout_of_the_fourth_format() {
        let otp =
            OtpKey::new(Zeroizing::new(vec![7; 20]), crate::otp::OtpHash::Sha256, 8, 60).expect("a key");
        for (last_step, in_row, not_before, charged, on) in states() {
            let budget = (in_row, not_before, charged);
            // The number of the factor's kind in the record, then its key and its state. A counter has its next value and its epoch.
            let totp = (0_u8, (&otp, last_step, on));
            let hotp = (1_u8, (vec![7_u8; 20], last_step.unwrap_or(0) + 1, 1_800_000_000_u64, on));
            for factor in [postcard::to_allocvec(&totp), postcard::to_allocvec(&hotp)] {
                let factor = factor.expect("written");
                let ends = postcard::to_allocvec(&(true, &budget)).expect("written");
                let starts = postcard::to_allocvec(&("alice", "bank")).expect("written");
                let written = [starts, factor, ends].concat();
                let user = UserRecord::decode(&[&[4][..], &written, &[0; 9]].concat()).expect("read");
                let again = user.encode();
                assert_eq!((again[0], &again[1..=written.len()]), (4, &written[..]));
                assert!(again[1 + written.len()..].iter().all(|byte| *byte == 0));
            }
        }
    }

    #[test]
    fn outcome_leak_a_user_has_one_length_whatever_is_spent_and_charged() {
        use crate::factor::Spends;
        let otp = OtpKey::new(Zeroizing::new(vec![7; 20]), crate::otp::OtpHash::Sha1, 6, 30).expect("a key");
        let hotp = Factor::hotp(HotpKey::new(&[7; 20]));
        for (factor, spends) in
            [(Factor::totp(otp), Spends::Step(u64::MAX)), (hotp, Spends::Counter(u64::MAX))]
        {
            let fresh = UserRecord::new("alice".into(), "bank".into(), factor);
            let budget = Budget::longest();
            let spent = fresh.factor.spend(spends, Some(SpentOn::longest()));
            for user in [
                UserRecord { confirmed: true, ..fresh.clone() },
                UserRecord { factor: spent.clone(), ..fresh.clone() },
                UserRecord { budget: budget.clone(), ..fresh.clone() },
                UserRecord { factor: spent.clone(), budget, ..fresh.clone() },
            ] {
                assert_eq!(user.encode().len(), fresh.encode().len());
            }
        }
    }

    #[test]
    fn a_state_of_the_first_format_has_no_history_yet() {
        let read = WalletState::decode(&[1, 3, 4, 5]).expect("reads");
        assert_eq!((read.reach, read.signed, read.history), (Reach::at(3, 4), 5, History::default()));
        assert!(WalletState::decode(&[1, 3, 4, 5, 0]).is_none());
        assert!(WalletState::decode(&[1, 3, 4]).is_none());
    }
}
