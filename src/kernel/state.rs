//! The state of users, wallets and PINs: old → new, no side effects.
//!
//! Each transition takes the records as they were read, with their versions, and gives a [`Change`]: what to write, what
//! to tell the audit, and the evidence that the next step needs once the change is durable. Two transitions from the
//! same version cannot both be written, so every race has one winner.
//!
//! Invariants:
//! - T1. A try is charged before the comparison, and only a right code takes its own charge back.
//! - T2. Success never touches another try's charge: the 30-day budget is not reset by anything.
//! - T3. A spent step is never spent again, and no earlier one.
//! - T4. A locked user's code is not evaluated.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::approval::Approval;
use super::audit::{Event, Role, TransactionFacts};
use super::otp::{Matched, MatchedStep, OtpKey};
use super::pin::PinRecord;
use super::policy::{Approved, Refused};
use super::psbt::CheckedPsbt;
use super::receipt::{Batch, Change, Content, Receipt, Write};
use super::seal::{Kind, RecordKey};
use super::wallet::{GAP_LIMIT, Location, WalletRecord};

/// Wrong tries in a row from which on a user must wait before the next one.
pub const BACK_OFF_FROM: u32 = 3;
/// The first wait in seconds; each further one is twice as long.
pub const BACK_OFF_FIRST: u64 = 30;
/// The longest wait in seconds.
pub const BACK_OFF_MOST: u64 = 3_600;
/// Wrong tries in a row that lock a user until the security officer unlocks.
pub const LOCK_FROM: u32 = 10;
/// Wrong tries in [`BUDGET_PERIOD`] that lock a user, whatever happens in between.
pub const BUDGET: usize = 20;
/// Seconds after which a wrong try leaves the budget: 30 days.
pub const BUDGET_PERIOD: u64 = 30 * 24 * 3_600;

/// A record with the place and version it was read from.
pub struct Versioned<T> {
    /// Where it is.
    pub place: RecordKey,
    /// Its version.
    pub version: u64,
    /// What it holds.
    pub value: T,
}

impl<T: Stored> Versioned<T> {
    fn put(&self, value: &T) -> Write {
        Write { place: self.place, expected: Some(self.version), content: Content::Put(value.encode()) }
    }

    fn remove(&self) -> Write {
        Write { place: self.place, expected: Some(self.version), content: Content::Remove }
    }
}

/// A record that can be stored: one byte of format, then postcard.
pub trait Stored: Serialize + DeserializeOwned {
    /// The format written.
    const FORMAT: u8 = 1;

    /// The record as plaintext, to be sealed.
    fn encode(&self) -> Zeroizing<Vec<u8>> {
        // Room for the largest record: growing would leave copies of secrets behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(8 * 1024));
        bytes.push(Self::FORMAT);
        struct Tail<'a>(&'a mut Vec<u8>);
        impl Extend<u8> for Tail<'_> {
            fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
                self.0.extend(bytes);
            }
        }
        postcard::to_extend(self, Tail(&mut bytes)).expect("records hold nothing that postcard cannot write");
        bytes
    }

    /// Reads what [`Self::encode`] wrote.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (format, body) = bytes.split_first()?;
        let (record, rest) =
            (*format == Self::FORMAT).then(|| postcard::take_from_bytes(body).ok()).flatten()?;
        rest.is_empty().then_some(record)
    }
}

/// The token: its label and PINs.
#[derive(Clone, Serialize, Deserialize)]
pub struct TokenRecord {
    /// `CK_TOKEN_INFO.label`, without its padding.
    pub label: String,
    /// The security officer's PIN.
    pub so: PinRecord,
    /// The backend's PIN, once set.
    pub user: Option<PinRecord>,
}

/// A user: the OTP key and what became of its codes.
#[derive(Clone, Serialize, Deserialize)]
pub struct UserRecord {
    /// The name.
    pub name: String,
    /// `CKA_OTP_SERVICE_IDENTIFIER`: the issuer shown in the authenticator.
    pub service: String,
    /// The shared secret with its parameters.
    pub otp: OtpKey,
    /// Whether a first code was right.
    pub confirmed: bool,
    /// The state of its codes.
    pub codes: CodeState,
}

/// What became of a user's codes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeState {
    /// The last step spent.
    last_step: Option<u64>,
    /// Tries charged since the last right code or unlocking.
    in_row: u32,
    /// No try is taken before this Unix time.
    not_before: u64,
    /// Unix times of the tries charged in the last 30 days and not right.
    charged: Vec<u64>,
}

/// The tries charged for users that do not exist.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NobodyRecord {
    tries: u64,
}

/// What a wallet has done.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WalletState {
    /// How far its addresses were used.
    pub reach: Reach,
    /// Transactions signed.
    pub signed: u64,
}

impl Stored for TokenRecord {}
impl Stored for UserRecord {}
impl Stored for NobodyRecord {}
impl Stored for WalletRecord {}
impl Stored for WalletState {}

/// How far the addresses of a wallet were used: the next index for each chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach([u32; 2]);

impl Reach {
    /// Whether a wallet that scans with our gap limit would find `location`.
    pub fn covers(self, location: Location) -> bool {
        location.index < self.0[location.chain as usize].saturating_add(GAP_LIMIT)
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

impl CodeState {
    /// Whether no try is taken at `now`.
    pub fn is_locked(&self, now: u64) -> bool {
        self.in_row >= LOCK_FROM || now < self.not_before || self.failures(now) >= BUDGET
    }

    /// Tries charged and not right in the 30 days before `now`.
    pub fn failures(&self, now: u64) -> usize {
        self.charged.iter().filter(|&&at| at.saturating_add(BUDGET_PERIOD) > now).count()
    }

    fn charge(&self, now: u64) -> Result<CodeState, Locked> {
        if self.is_locked(now) {
            return Err(Locked);
        }
        let in_row = self.in_row + 1;
        let wait = in_row.checked_sub(BACK_OFF_FROM).map_or(0, |doublings| {
            BACK_OFF_FIRST.checked_shl(doublings).map_or(BACK_OFF_MOST, |wait| wait.min(BACK_OFF_MOST))
        });
        let mut charged: Vec<u64> =
            self.charged.iter().copied().filter(|at| at.saturating_add(BUDGET_PERIOD) > now).collect();
        charged.push(now);
        Ok(CodeState { last_step: self.last_step, in_row, not_before: now + wait, charged })
    }

    /// Spends the matched step and takes back the charge it was tried under.
    fn spend(&self, matched: &MatchedStep) -> Result<CodeState, Spent> {
        if self.last_step.is_some_and(|last| matched.step <= last) {
            return Err(Spent);
        }
        let mut charged = self.charged.clone();
        if let Some(own) = charged.iter().position(|&at| at == matched.charged_at) {
            charged.remove(own);
        }
        Ok(CodeState { last_step: Some(matched.step), in_row: 0, not_before: 0, charged })
    }

    /// What the security officer can give back: the row, not the budget.
    fn unlocked(&self) -> CodeState {
        CodeState { in_row: 0, not_before: 0, ..self.clone() }
    }
}

/// The user is locked or must wait; the code was not evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locked;

/// The step was spent meanwhile, or the user is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent;

/// What a code is tried for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To sign: only a confirmed user's code can be right.
    Sign,
    /// To confirm the enrolment, or to check a code.
    Confirm,
}

/// One approval with the record that it will be charged to.
pub struct Claim {
    /// What was claimed.
    pub approval: Approval,
    /// Who it is charged to.
    pub subject: Subject,
}

/// Who a try is charged to.
pub enum Subject {
    /// A user whose code may sign here.
    User(Versioned<UserRecord>),
    /// Nobody known: the try is charged all the same, and takes as long.
    Nobody(Versioned<NobodyRecord>),
}

/// Evidence: these tries are charged.
pub struct Charged {
    pub(in crate::kernel) claims: Vec<ChargedClaim>,
    pub(in crate::kernel) at: u64,
}

pub(in crate::kernel) struct ChargedClaim {
    pub(in crate::kernel) approval: Approval,
    /// `None`: no code can be right.
    pub(in crate::kernel) user: Option<ChargedUser>,
}

pub(in crate::kernel) struct ChargedUser {
    pub(in crate::kernel) name: String,
    pub(in crate::kernel) otp: OtpKey,
    pub(in crate::kernel) last_step: Option<u64>,
}

/// Charges one try to every claim, or none when one of the users is locked.
pub fn charge(claims: Vec<Claim>, purpose: Purpose, now: u64) -> Result<Change<Charged>, Locked> {
    let mut writes: Vec<Write> = Vec::with_capacity(claims.len());
    let mut names = Vec::new();
    let mut charged = Vec::with_capacity(claims.len());
    for Claim { approval, subject } in claims {
        let place = match &subject {
            Subject::User(user) => user.place,
            Subject::Nobody(nobody) => nobody.place,
        };
        // A second claim of the same user is charged with the first one, and is never right.
        let again = writes.iter().any(|write| write.place == place);
        let user = match subject {
            Subject::User(user) => {
                let codes = user.value.codes.charge(now)?;
                let eligible = !again && (user.value.confirmed || purpose == Purpose::Confirm);
                let last_step = codes.last_step;
                if !again {
                    names.push(user.value.name.clone());
                    writes.push(user.put(&UserRecord { codes, ..user.value.clone() }));
                }
                let UserRecord { name, otp, .. } = user.value;
                eligible.then_some(ChargedUser { name, otp, last_step })
            }
            Subject::Nobody(nobody) => {
                if !again {
                    writes.push(nobody.put(&NobodyRecord { tries: nobody.value.tries.saturating_add(1) }));
                }
                None
            }
        };
        charged.push(ChargedClaim { approval, user });
    }
    let batch = Batch { writes, event: Event::CodeCharged(names), time: now };
    Ok(Change::new(batch, Charged { claims: charged, at: now }))
}

impl Change<Charged> {
    /// The approvals of a charge that was not written, to be charged anew.
    pub fn withdraw(self) -> Vec<Approval> {
        self.into_unwritten().claims.into_iter().map(|claim| claim.approval).collect()
    }
}

/// Evidence: the codes and the spend of an approved transaction are recorded.
pub struct Consumed {
    approved: Approved,
}

impl Consumed {
    pub(in crate::kernel) fn into_psbt(self) -> CheckedPsbt {
        self.approved.into_psbt()
    }
}

impl Change<Consumed> {
    /// The approved transaction of a change that was not written, to be recorded anew.
    pub fn withdraw(self) -> Approved {
        self.into_unwritten().approved
    }
}

/// Evidence: codes are spent, on nothing that is signed.
pub struct CodesSpent;

/// Spends the codes of an approved transaction and records it with the wallet.
///
/// `users` are the records of [`Matched::users`], read afresh, in that order.
pub fn consume(
    approved: Approved,
    users: &[Versioned<UserRecord>],
    wallet: &Versioned<WalletState>,
    now: u64,
) -> Result<Change<Consumed>, Spent> {
    let (psbt, matched) = approved.parts();
    let mut writes = spend_codes(matched, users)?;
    let state = WalletState {
        reach: wallet.value.reach.joined(psbt.reach()),
        signed: wallet.value.signed.saturating_add(1),
    };
    writes.push(wallet.put(&state));
    let event = Event::Countersigned { users: names(matched), transaction: facts(psbt) };
    Ok(Change::new(Batch { writes, event, time: now }, Consumed { approved }))
}

/// Spends the codes of a refused transaction.
pub fn consume_refused(
    refused: &Refused,
    users: &[Versioned<UserRecord>],
    now: u64,
) -> Result<Change<CodesSpent>, Spent> {
    let (psbt, matched) = refused.parts();
    let event = Event::PolicyRefused {
        users: names(matched),
        transaction: facts(psbt),
        rule: refused.rule().tag().into(),
    };
    Ok(Change::new(Batch { writes: spend_codes(matched, users)?, event, time: now }, CodesSpent))
}

/// Spends a code that was checked for its own sake, and confirms its user.
pub fn confirm(
    matched: &Matched,
    users: &[Versioned<UserRecord>],
    now: u64,
) -> Result<Change<CodesSpent>, Spent> {
    let writes = spend_codes(matched, users)?;
    let event = Event::CodeAccepted(names(matched).join(" "));
    Ok(Change::new(Batch { writes, event, time: now }, CodesSpent))
}

/// A right code confirms its user: a user that signs is confirmed already.
fn spend_codes(matched: &Matched, users: &[Versioned<UserRecord>]) -> Result<Vec<Write>, Spent> {
    if matched.steps().len() != users.len() {
        return Err(Spent);
    }
    matched
        .steps()
        .iter()
        .zip(users)
        .map(|(step, user)| {
            if step.user != user.value.name {
                return Err(Spent);
            }
            let codes = user.value.codes.spend(step)?;
            Ok(user.put(&UserRecord { codes, confirmed: true, ..user.value.clone() }))
        })
        .collect()
}

fn names(matched: &Matched) -> Vec<String> {
    matched.users().map(str::to_owned).collect()
}

fn facts(psbt: &CheckedPsbt) -> TransactionFacts {
    use bitcoin::hashes::Hash;
    let mut txid = psbt.transaction().compute_txid().to_byte_array();
    txid.reverse();
    TransactionFacts { wallet: psbt.wallet().into(), txid, leaves: psbt.leaves(), fee: psbt.fee() }
}

/// Evidence: a try at a PIN is charged.
pub struct PinCharged {
    role: Role,
}

/// Evidence: an act of administration is recorded.
pub struct Recorded;

/// Why a PIN is not tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinClosed {
    /// Locked.
    Locked,
    /// Never set.
    NotSet,
}

fn pin_of(token: &TokenRecord, role: Role) -> Option<&PinRecord> {
    match role {
        Role::So => Some(&token.so),
        Role::User => token.user.as_ref(),
    }
}

fn with_pin(token: &TokenRecord, role: Role, pin: PinRecord) -> TokenRecord {
    match role {
        Role::So => TokenRecord { so: pin, ..token.clone() },
        Role::User => TokenRecord { user: Some(pin), ..token.clone() },
    }
}

/// Charges one try at the PIN of `role`.
pub fn charge_pin(
    token: &Versioned<TokenRecord>,
    role: Role,
    now: u64,
) -> Result<Change<PinCharged>, PinClosed> {
    let pin = pin_of(&token.value, role).ok_or(PinClosed::NotSet)?.charged().ok_or(PinClosed::Locked)?;
    let writes = vec![token.put(&with_pin(&token.value, role, pin))];
    Ok(Change::new(Batch { writes, event: Event::PinCharged(role), time: now }, PinCharged { role }))
}

/// Evidence: the PIN that was charged for was right. Not yet recorded.
pub struct PinMatched {
    role: Role,
}

/// Compares a PIN whose try is charged.
pub fn verify_pin(charged: Receipt<PinCharged>, token: &TokenRecord, pin: &[u8]) -> Option<PinMatched> {
    let PinCharged { role } = charged.into_evidence();
    pin_of(token, role).is_some_and(|record| record.matches(pin)).then_some(PinMatched { role })
}

/// Clears the tries of a PIN that was right, and sets a new one where given.
pub fn accept_pin(
    matched: &PinMatched,
    token: &Versioned<TokenRecord>,
    new: Option<PinRecord>,
    now: u64,
) -> Option<Change<Recorded>> {
    let role = matched.role;
    let event = if new.is_some() { Event::PinSet(role) } else { Event::PinAccepted(role) };
    let pin = match new {
        Some(pin) => pin,
        None => pin_of(&token.value, role)?.cleared(),
    };
    let writes = vec![token.put(&with_pin(&token.value, role, pin))];
    Some(Change::new(Batch { writes, event, time: now }, Recorded))
}

/// Sets the backend's PIN; the security officer is logged in.
pub fn set_user_pin(token: &Versioned<TokenRecord>, pin: PinRecord, now: u64) -> Change<Recorded> {
    let writes = vec![token.put(&with_pin(&token.value, Role::User, pin))];
    Change::new(Batch { writes, event: Event::PinSet(Role::User), time: now }, Recorded)
}

/// The first batch of a store.
pub fn initialise(token: &TokenRecord, now: u64) -> Change<Recorded> {
    let first = |kind, content| Write {
        place: RecordKey::single(kind),
        expected: None,
        content: Content::Put(content),
    };
    let writes =
        vec![first(Kind::Token, token.encode()), first(Kind::Nobody, NobodyRecord::default().encode())];
    Change::new(Batch { writes, event: Event::Initialised, time: now }, Recorded)
}

/// Enrols a user. The place is that of its name: a second user of the same name cannot be written.
pub fn add_user(user: &UserRecord, now: u64) -> Change<Recorded> {
    let place = RecordKey::user(&user.name);
    let writes = vec![Write { place, expected: None, content: Content::Put(user.encode()) }];
    Change::new(Batch { writes, event: Event::UserAdded(user.name.clone()), time: now }, Recorded)
}

/// Removes a user. The caller has made sure, with no other act of administration in between, that no wallet lists it.
pub fn remove_user(user: &Versioned<UserRecord>, now: u64) -> Change<Recorded> {
    let event = Event::UserRemoved(user.value.name.clone());
    Change::new(Batch { writes: vec![user.remove()], event, time: now }, Recorded)
}

/// Unlocks a user: ends the row of failures and the wait, never the 30-day budget.
pub fn unlock_user(user: &Versioned<UserRecord>, now: u64) -> Change<Recorded> {
    let unlocked = UserRecord { codes: user.value.codes.unlocked(), ..user.value.clone() };
    let event = Event::UserUnlocked(user.value.name.clone());
    Change::new(Batch { writes: vec![user.put(&unlocked)], event, time: now }, Recorded)
}

/// Creates the wallet `id`, with its state beside it.
pub fn add_wallet(id: [u8; 16], wallet: &WalletRecord, now: u64) -> Change<Recorded> {
    let first = |kind, content| Write {
        place: RecordKey { kind, id },
        expected: None,
        content: Content::Put(content),
    };
    let writes =
        vec![first(Kind::Wallet, wallet.encode()), first(Kind::WalletState, WalletState::default().encode())];
    Change::new(Batch { writes, event: Event::WalletCreated(wallet.label.clone()), time: now }, Recorded)
}

/// Changes label, users or policy of a wallet.
pub fn change_wallet(wallet: &Versioned<WalletRecord>, new: &WalletRecord, now: u64) -> Change<Recorded> {
    let event = Event::WalletChanged(new.label.clone());
    Change::new(Batch { writes: vec![wallet.put(new)], event, time: now }, Recorded)
}

#[cfg(test)]
mod tests {
    use super::super::wallet::Chain;
    use super::*;

    fn matched(step: u64, charged_at: u64) -> MatchedStep {
        MatchedStep { user: "alice".into(), step, charged_at }
    }

    #[test]
    fn otp_guess_the_back_off_doubles_up_to_an_hour_and_ten_in_a_row_lock() {
        let (mut state, mut now) = (CodeState::default(), 1_000_000);
        for wait in [0, 0, 30, 60, 120, 240, 480, 960, 1_920] {
            state = state.charge(now).expect("open");
            if wait > 0 {
                assert_eq!(state.charge(now + wait - 1), Err(Locked), "wait {wait}");
            }
            now += wait;
            assert!(!state.is_locked(now), "wait {wait}");
        }
        state = state.charge(now).expect("the tenth try is taken");
        assert_eq!(state.charge(now + 365 * 24 * 3_600), Err(Locked), "locked for good");
        assert!(state.unlocked().charge(now).is_ok(), "until the security officer unlocks");
    }

    #[test]
    fn otp_guess_success_never_resets_the_budget() {
        let (mut state, mut now) = (CodeState::default(), 1_000_000);
        for failure in 1..=BUDGET {
            state = state.charge(now).expect("open");
            assert_eq!(state.failures(now), failure);
            now += 1;
            if failure < BUDGET {
                // A success in between takes back its own charge only.
                let tried = state.charge(now).expect("open");
                state = tried.spend(&matched(now, now)).expect("a later step");
                assert_eq!(state.failures(now), failure);
                now += 1;
            }
        }
        assert_eq!(state.charge(now), Err(Locked));
        assert_eq!(state.unlocked().charge(now), Err(Locked), "unlocking does not touch the budget");
        assert!(state.charge(now + BUDGET_PERIOD).is_ok(), "30 days do");
    }

    #[test]
    fn otp_replay_a_step_is_spent_once_and_no_earlier_one_after_it() {
        let state = CodeState::default().charge(1).expect("open").spend(&matched(100, 1)).expect("first");
        assert_eq!(state.spend(&matched(100, 1)), Err(Spent));
        assert_eq!(state.spend(&matched(99, 1)), Err(Spent));
        assert!(state.spend(&matched(101, 1)).is_ok());
    }

    #[test]
    fn a_charge_only_ever_adds() {
        let state = CodeState::default().charge(5).expect("open").charge(5).expect("open");
        assert_eq!((state.in_row, state.failures(5)), (2, 2));
    }

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
    fn a_record_reads_back_and_tolerates_nothing_behind_it() {
        let state = WalletState { reach: Reach([3, 4]), signed: 5 };
        let bytes = state.encode();
        assert_eq!(WalletState::decode(&bytes).expect("reads").signed, 5);
        assert!(WalletState::decode(&[&bytes[..], &[0]].concat()).is_none());
        assert!(WalletState::decode(&[&[2], &bytes[1..]].concat()).is_none(), "another format");
        assert!(WalletState::decode(&[]).is_none());
    }
}
