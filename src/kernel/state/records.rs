//! The records: what is kept of the token, its users and its wallets, and how it is written.

use std::sync::LazyLock;

use postcard::experimental::serialized_size;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

use super::budget::Budget;
use super::history::History;
use super::pins::{self, OfficerPin, UserPin};
use crate::clock::Believed;
use crate::digest_key::DigestKeyRecord;
use crate::factor::totp::Totp;
use crate::factor::{Factor, SpentOn};
use crate::otp::OtpKey;
use crate::receipt::{Content, Write};
use crate::seal::{Authority, RecordKey, Unsealed};
use crate::wallet::{Chain, GAP_LIMIT, Location, WalletRecord};

/// Evidence: a record of a store, with the place and version it was read from. What is decided on it is decided on what was sealed.
///
/// ```compile_fail,E0451
/// // A user with a secret of one's own.
/// use countersign_kernel::{seal::RecordKey, state::{UserRecord, Versioned}};
/// fn forge(value: UserRecord) -> Versioned<UserRecord> {
///     Versioned { place: RecordKey::user("alice"), version: 1, value, authority: panic!() }
/// }
/// ```
pub struct Versioned<T> {
    pub(crate) place: RecordKey,
    pub(crate) version: u64,
    pub(crate) value: T,
    pub(crate) authority: Authority,
}

impl<T: Stored> Versioned<T> {
    /// Reads a record that was opened. `None` where its format is not known.
    pub fn read(record: &Unsealed) -> Option<Versioned<T>> {
        let value = T::decode(record.plaintext())?;
        let (place, version, authority) = (record.place(), record.version(), record.authority());
        Some(Versioned { place, version, value, authority })
    }

    /// Where it is.
    pub fn place(&self) -> RecordKey {
        self.place
    }

    /// Its version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What it holds.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// What it held.
    pub fn into_value(self) -> T {
        self.value
    }

    pub(super) fn put(&self, value: &T) -> Write {
        Write { place: self.place, expected: Some(self.version), content: Content::Put(value.encode()) }
    }

    pub(super) fn remove(&self) -> Write {
        Write { place: self.place, expected: Some(self.version), content: Content::Remove }
    }
}

/// A record that can be stored: one byte of format, then postcard, then zeros up to the length that the record is padded to.
pub trait Stored: Serialize + DeserializeOwned {
    /// The format written.
    const FORMAT: u8 = 1;

    /// Bytes of postcard that the record is padded to, given how many it has: where its length would tell what came of a code.
    fn padded_len(&self, len: usize) -> usize {
        len
    }

    /// The record as plaintext, to be sealed.
    fn encode(&self) -> Zeroizing<Vec<u8>> {
        // Room for all of it: growing would leave copies of secrets behind.
        let body = serialized_len(self);
        let padded = self.padded_len(body).max(body);
        let mut bytes = Zeroizing::new(Vec::with_capacity(1 + padded));
        bytes.push(Self::FORMAT);
        struct Tail<'a>(&'a mut Vec<u8>);
        impl Extend<u8> for Tail<'_> {
            fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
                self.0.extend(bytes);
            }
        }
        postcard::to_extend(self, Tail(&mut bytes)).expect("records hold nothing that postcard cannot write");
        bytes.resize(1 + padded, 0);
        bytes
    }

    /// Reads what [`Self::encode`] wrote.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (format, body) = bytes.split_first()?;
        (*format == Self::FORMAT).then(|| decode_body(body)).flatten()
    }
}

fn decode_body<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    let (record, rest) = postcard::take_from_bytes(body).ok()?;
    rest.is_empty().then_some(record)
}

fn decode_padded<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    let (record, padding) = postcard::take_from_bytes(body).ok()?;
    padding.iter().all(|byte| *byte == 0).then_some(record)
}

fn serialized_len(value: &impl Serialize) -> usize {
    serialized_size(value).expect("records hold nothing that postcard cannot write")
}

/// The token: its label and PINs.
#[derive(Clone, Serialize, Deserialize)]
pub struct TokenRecord {
    /// `CK_TOKEN_INFO.label`, without its padding.
    pub label: String,
    /// Tells this token from others; random, shown in hex as `CK_TOKEN_INFO.serialNumber`.
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

/// A user: by what they approve, and what became of the tries at it.
#[derive(Clone, Deserialize)]
#[serde(from = "ReadUser")]
pub struct UserRecord {
    /// The name.
    pub name: String,
    /// `CKA_OTP_SERVICE_IDENTIFIER`: the issuer shown in the authenticator.
    pub service: String,
    /// By what the user approves.
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

    /// The fields that change with what comes of codes.
    fn codes(&self) -> WrittenCodes<'_> {
        let Factor::Totp(totp) = &self.factor;
        let (last_step, on) = totp.spent();
        WrittenCodes { last_step, budget: &self.budget, on }
    }
}

/// A user as it is written: with one TOTP factor, whose state lies around the budget.
#[derive(Serialize)]
struct WrittenUser<'a> {
    name: &'a str,
    service: &'a str,
    otp: &'a OtpKey,
    confirmed: bool,
    codes: WrittenCodes<'a>,
}

#[derive(Serialize)]
struct WrittenCodes<'a> {
    last_step: Option<u64>,
    budget: &'a Budget,
    on: Option<&'a SpentOn>,
}

impl Serialize for UserRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let UserRecord { name, service, factor, confirmed, budget: _ } = self;
        let (otp, confirmed, codes) = (factor.otp_key(), *confirmed, self.codes());
        WrittenUser { name, service, otp, confirmed, codes }.serialize(serializer)
    }
}

/// The same, as it is read.
#[derive(Deserialize)]
struct ReadUser {
    name: String,
    service: String,
    otp: OtpKey,
    confirmed: bool,
    codes: ReadCodes,
}

#[derive(Deserialize)]
struct ReadCodes {
    last_step: Option<u64>,
    budget: Budget,
    on: Option<SpentOn>,
}

impl From<ReadUser> for UserRecord {
    fn from(read: ReadUser) -> UserRecord {
        let ReadUser { name, service, otp, confirmed, codes: ReadCodes { last_step, budget, on } } = read;
        UserRecord { name, service, factor: Factor::Totp(Totp::read(otp, last_step, on)), confirmed, budget }
    }
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
    /// When the store was last restored.
    pub fn restored(self) -> Option<u64> {
        (self.number > 0).then_some(self.at)
    }
}

/// What the wall clock is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockRecord {
    /// The time that was believed.
    pub believed: Believed,
}

/// The tries charged for users that do not exist.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NobodyRecord {
    pub(super) tries: u64,
}

/// What a wallet has done, or a key that signs digests: that one has no addresses.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WalletState {
    /// How far its addresses were used.
    pub reach: Reach,
    /// Transactions signed.
    pub signed: u64,
    /// What left it in the last week.
    pub history: History,
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
    const FORMAT: u8 = 3;

    /// That of the same user with the longest state that codes can have.
    fn padded_len(&self, len: usize) -> usize {
        let (budget, on) = (&Budget::longest(), SpentOn::longest());
        let longest = WrittenCodes { last_step: Some(u64::MAX), budget, on: Some(&on) };
        len - serialized_len(&self.codes()) + serialized_len(&longest)
    }

    fn decode(bytes: &[u8]) -> Option<UserRecord> {
        match bytes.split_first()? {
            (1, body) => decode_body(body).map(UserRecord::upgrade),
            (2, body) => decode_body(body),
            (&Self::FORMAT, body) => decode_padded(body),
            _ => None,
        }
    }
}
impl Stored for Epoch {}
impl Stored for ClockRecord {}
impl Stored for NobodyRecord {}
impl Stored for WalletRecord {
    const FORMAT: u8 = 2;

    fn decode(bytes: &[u8]) -> Option<WalletRecord> {
        match bytes.split_first()? {
            (1, body) => WalletRecord::upgrade(decode_body(body)?).ok(),
            (&Self::FORMAT, body) => decode_body(body),
            _ => None,
        }
    }
}
impl Stored for DigestKeyRecord {}
impl Stored for WalletState {
    const FORMAT: u8 = 3;

    /// That of the longest history.
    fn padded_len(&self, _len: usize) -> usize {
        static LONGEST: LazyLock<usize> = LazyLock::new(|| {
            let reach = Reach([u32::MAX; 2]);
            serialized_len(&WalletState { reach, signed: u64::MAX, history: History::longest() })
        });
        *LONGEST
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

/// How far the addresses of a wallet were used: the next index for each chain.
///
/// It bounds where change is taken for ours. A backend that could have the change of a real payment go to an index of its
/// choice would hold it to ransom: the coins are the wallet's, and nobody but the backend knows where to look. So the reach is
/// what the wallet's owner would find by scanning with our gap limit. It grows
/// - by signing: to the highest address that a transaction used within the reach, so by one gap a signature at the most. An
///   address beyond it never counts, since its transaction may be invented ([`Reach::extended`]);
/// - by the administrator's word ([`Reach::joined`]), who knows how far the owner scans.
///
/// Within one transaction an input proved ours widens it ([`Reach::admitting`]), and that is forgotten afterwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach([u32; 2]);

impl Reach {
    /// The highest that the administrator can raise it to: indices are below 2^31 (BIP 32, "Extended keys").
    pub const MOST: u32 = 0x7fff_ffff;

    /// A reach whose next indices are these.
    pub fn at(external: u32, internal: u32) -> Reach {
        Reach([external, internal])
    }

    /// The next index of a chain, past the highest used.
    pub fn next(self, chain: Chain) -> u32 {
        self.0[chain as usize]
    }

    /// The next indices of both chains.
    pub fn numbers(self) -> [u32; 2] {
        self.0
    }

    /// Whether a wallet that scans with our gap limit would find `location`.
    pub fn covers(self, location: Location) -> bool {
        location.index < self.end(location.chain)
    }

    /// The first index of a chain that a wallet that scans with our gap limit would not find.
    pub fn end(self, chain: Chain) -> u32 {
        self.next(chain).saturating_add(GAP_LIMIT)
    }

    /// The reach for the outputs of a transaction that spends `location`, proved ours: on its chain up to its index and our gap
    /// limit, on the other up to the same index (software that keeps an address a customer has the customer's index on both).
    ///
    /// A coin that was invented lets nobody send change far ahead. We sign the whole transaction (ALL, DEFAULT): if one of its
    /// inputs does not exist, it is void with all its outputs, and our signatures are worth nothing in any other. The same
    /// holds for an input that has a signature of ours already, which verifies for this transaction. A coin that exists
    /// was found out there by somebody who scans that far. But it may be a farthing that a backend has sent there on
    /// purpose: so the change beyond the lasting reach counts as leaving, as far as it is worth more than what was spent
    /// from beyond it (see `CheckedPsbt::leaves`), and the lasting reach does not follow.
    #[must_use]
    pub fn admitting(self, location: Location) -> Reach {
        let mut admitted = [location.index.saturating_add(1).saturating_sub(GAP_LIMIT); 2];
        admitted[location.chain as usize] = location.index.saturating_add(1);
        self.joined(Reach(admitted))
    }

    /// The reach after both.
    #[must_use]
    pub fn joined(self, other: Reach) -> Reach {
        Reach([self.0[0].max(other.0[0]), self.0[1].max(other.0[1])])
    }

    /// The reach after `location` was used. One beyond the reach does not extend it: its transaction may be invented.
    #[must_use]
    pub fn extended(mut self, location: Location) -> Reach {
        if self.covers(location) {
            let next = &mut self.0[location.chain as usize];
            *next = (*next).max(location.index + 1);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::ChargeId;

    #[test]
    fn change_path_the_reach_grows_step_by_step() {
        let at = |index| Location { chain: Chain::Internal, index };
        let reach = Reach::default();
        assert!(reach.covers(at(999)) && !reach.covers(at(1_000)));
        let extended = reach.extended(at(999));
        assert!(extended.covers(at(1_999)) && !extended.covers(at(2_000)));
        assert!(!extended.covers(Location { chain: Chain::External, index: 1_000 }), "each chain for itself");
        assert_eq!(reach.extended(at(1_000)), reach, "what is out of reach does not extend it");
        assert_eq!(extended.extended(at(3)), extended, "it never shrinks");
        assert!(Reach([u32::MAX, 0]).covers(Location { chain: Chain::External, index: 0x7fff_ffff }));
    }

    #[test]
    fn a_record_reads_back_and_tolerates_nothing_but_zeros_behind_it() {
        let history = History::default().charge(ChargeId::from_bytes([7; 32]), 8, 9);
        let state = WalletState { reach: Reach([3, 4]), signed: 5, history };
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

    #[test]
    fn outcome_leak_every_state_of_a_wallet_has_one_length() {
        let (mut state, empty) = (WalletState::default(), WalletState::default().encode().len());
        let now = 1_800_000_000;
        for number in 0..600_u32 {
            let id = ChargeId::from_bytes([number as u8; 32]);
            let at = now + u64::from(number) * 1_200;
            state =
                WalletState { signed: u64::MAX, history: state.history.charge(id, u64::MAX, at), ..state };
            assert_eq!(state.encode().len(), empty, "after {number}");
        }
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
        let last_step = |user: &UserRecord| user.codes().last_step;
        assert_eq!((last_step(&user), user.budget.failures(4)), (Some(9), 2));
        assert!(user.codes().on.is_none());
        let again = UserRecord::decode(&user.encode()).expect("it is read");
        assert_eq!(last_step(&again), Some(9), "and written as the third");
    }

    #[test]
    fn a_user_is_written_in_the_layout_of_the_third_format() {
        let otp =
            OtpKey::new(Zeroizing::new(vec![7; 20]), crate::otp::OtpHash::Sha256, 8, 60).expect("a key");
        let of_user = ("alice", "bank", &otp, true);
        // The step spent last; tries in a row, the wait, the tries of 30 days; what was signed, when, by which randomness.
        for codes in [
            (Some(9_u64), 2_u32, 5_u64, vec![3_u64, 4], Some(([1_u8; 32], 77_u64, [2_u8; 32]))),
            (None, 0, 0, vec![], None),
        ] {
            let written = postcard::to_allocvec(&(of_user, &codes)).expect("it is written");
            let user = UserRecord::decode(&[&[3][..], &written, &[0; 9]].concat()).expect("it is read");
            let (last_step, in_row, not_before, charged, on) = codes;
            let spent_on = on.map(|(digest, at, entropy)| SpentOn::new(digest, at, entropy));
            assert!(user.codes().last_step == last_step && user.codes().on == spent_on.as_ref());
            let budget = postcard::to_allocvec(&(in_row, not_before, charged)).expect("it is written");
            assert_eq!(postcard::to_allocvec(&user.budget).expect("it is written"), budget);
            let again = user.encode();
            assert_eq!((again[0], &again[1..=written.len()]), (3, &written[..]));
            assert!(again[1 + written.len()..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn outcome_leak_a_user_has_one_length_whatever_is_spent_and_charged() {
        let otp = OtpKey::new(Zeroizing::new(vec![7; 20]), crate::otp::OtpHash::Sha1, 6, 30).expect("a key");
        let fresh = UserRecord::new("alice".into(), "bank".into(), Factor::totp(otp));
        let (budget, on) = (Budget::longest(), SpentOn::longest());
        let spent = fresh.factor.spend(crate::factor::Spends::Step(u64::MAX), Some(on));
        for user in [
            UserRecord { confirmed: true, ..fresh.clone() },
            UserRecord { factor: spent.clone(), ..fresh.clone() },
            UserRecord { budget: budget.clone(), ..fresh.clone() },
            UserRecord { factor: spent, budget, ..fresh.clone() },
        ] {
            assert_eq!(user.encode().len(), fresh.encode().len());
        }
    }

    #[test]
    fn a_state_of_the_first_format_has_no_history_yet() {
        let read = WalletState::decode(&[1, 3, 4, 5]).expect("reads");
        assert_eq!((read.reach, read.signed, read.history), (Reach([3, 4]), 5, History::default()));
        assert!(WalletState::decode(&[1, 3, 4, 5, 0]).is_none());
        assert!(WalletState::decode(&[1, 3, 4]).is_none());
    }
}
