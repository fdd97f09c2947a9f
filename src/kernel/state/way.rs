//! The transitions on the way of a signature: charge, then spend, or find that it was spent on this before.

use zeroize::Zeroizing;

use super::administration::of_user;
use super::codes::{CodeState, Locked, Signed, Spent};
use super::records::{Epoch, NobodyRecord, UserRecord, Versioned, WalletState};
use crate::kernel::act::Deed;
use crate::kernel::approval::Approval;
use crate::kernel::audit::Event;
use crate::kernel::otp::{Matched, MatchedStep, OtpKey};
use crate::kernel::policy::{Approved, Refused};
use crate::kernel::psbt::Digest;
use crate::kernel::receipt::{Batch, Change, Write};
use crate::kernel::signable::Signable;

/// What a code is tried for.
#[derive(Clone, Copy)]
pub enum Purpose<'a> {
    /// To sign this: only a confirmed user's code can be right, or one that was spent on the same before.
    Sign(&'a dyn Signable),
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
    User(Box<Versioned<UserRecord>>),
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
    /// The step that was spent on this very transaction, while it may be tried again.
    pub(in crate::kernel) repeatable: Option<u64>,
}

/// Charges one try to every claim, or none when one of the users is locked.
pub fn charge(
    claims: Vec<Claim>,
    purpose: Purpose<'_>,
    epoch: Epoch,
    now: u64,
) -> Result<Change<Charged>, Locked> {
    let digest = match purpose {
        Purpose::Sign(asked) => Some(asked.binding()),
        Purpose::Confirm => None,
    };
    let codes_tried = u32::try_from(claims.len()).unwrap_or(u32::MAX);
    let mut writes: Vec<Write> = Vec::with_capacity(claims.len());
    let mut users = Vec::new();
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
                // What cannot be right is not tried, and costs nobody anything.
                if user.value.codes.is_barred(epoch.restored(), user.value.otp.period(), now) {
                    return Err(Locked);
                }
                let codes = user.value.codes.charge(now)?;
                let eligible = !again && (user.value.confirmed || digest.is_none());
                let last_step = codes.last_step(epoch.restored(), user.value.otp.period());
                let repeatable = digest.and_then(|digest| codes.repeatable(&digest, now));
                if !again {
                    users.push(user.value.name.clone());
                    writes.push(user.put(&UserRecord { codes, ..user.value.clone() }));
                }
                let UserRecord { name, otp, .. } = user.value;
                eligible.then_some(ChargedUser { name, otp, last_step, repeatable })
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
    let event = match purpose {
        Purpose::Sign(asked) => asked.charged(users, codes_tried),
        Purpose::Confirm => Event::Charged { users, codes: codes_tried, transaction: None },
    };
    Ok(Change::new(Batch { writes, event, time: now }, Charged { claims: charged, at: now }))
}

impl Change<Charged> {
    /// The approvals of a charge that was not written, to be charged anew.
    pub fn withdraw(self) -> Vec<Approval> {
        self.into_unwritten().claims.into_iter().map(|claim| claim.approval).collect()
    }
}

/// Evidence: the codes and the spend of what was approved are recorded.
pub struct Consumed<S> {
    approved: Approved<S>,
    entropy: Zeroizing<[u8; 32]>,
}

impl<S> Consumed<S> {
    /// What is to be signed, and the randomness of its signatures.
    pub(in crate::kernel) fn into_parts(self) -> (S, Zeroizing<[u8; 32]>) {
        (self.approved.into_asked(), self.entropy)
    }
}

impl<S> Change<Consumed<S>> {
    /// What was approved of a change that was not written, to be recorded anew.
    pub fn withdraw(self) -> Approved<S> {
        self.into_unwritten().approved
    }
}

/// Evidence: codes are spent, on nothing that is signed.
pub struct CodesSpent;

/// Why what was approved is not recorded.
pub enum NotConsumed<S> {
    /// A code was spent meanwhile, or its user is gone.
    Spent,
    /// A limit of the period refuses.
    Refused(Box<Refused<S>>),
}

impl<S> From<Spent> for NotConsumed<S> {
    fn from(_: Spent) -> NotConsumed<S> {
        NotConsumed::Spent
    }
}

/// Spends the codes of what was approved and charges it to its wallet or key, within the limits of the period.
///
/// `users` are the records of [`Matched::users`], and `wallet` the state of that wallet or key, read afresh; the users in
/// that order. The limits are held against the state that the change replaces: were another transaction charged in between,
/// the change could not be written. For as long as `exhausted_at` (Unix seconds) is within the period, all of it counts
/// as spent. `entropy` is fresh, from inside.
pub fn consume<S: Signable>(
    approved: Approved<S>,
    users: &[Versioned<UserRecord>],
    wallet: &Versioned<WalletState>,
    entropy: &Zeroizing<[u8; 32]>,
    exhausted_at: Option<u64>,
    now: u64,
) -> Result<Change<Consumed<S>>, NotConsumed<S>> {
    let (asked, matched) = approved.parts();
    let digest = asked.binding();
    // Also codes that were right as new ones: the same was asked for twice at once, and the other was faster.
    if is_repetition(matched, users, &digest, now) {
        return Ok(repeat(approved, users, wallet, now)?);
    }
    let signed = Signed::new(digest, now, **entropy);
    let mut writes = spend_codes(matched, users, Some(&signed))?;
    let state = asked.charged_to(&wallet.value, matched, now);
    if let Some(rule) = approved.period().refusing_rule(&state.history, exhausted_at, now) {
        return Err(NotConsumed::Refused(Box::new(approved.refused(rule))));
    }
    writes.push(wallet.put(&state));
    let event = asked.signed(names(matched));
    let entropy = entropy.clone();
    Ok(Change::new(Batch { writes, event, time: now }, Consumed { approved, entropy }))
}

/// Whether every code was spent on this digest before, and may be tried again.
fn is_repetition(matched: &Matched, users: &[Versioned<UserRecord>], digest: &Digest, now: u64) -> bool {
    let is_same = |(step, user): (&MatchedStep, &Versioned<UserRecord>)| {
        user.value.codes.repeatable(digest, now) == Some(step.step)
    };
    matched.steps().len() == users.len() && matched.steps().iter().zip(users).all(is_same)
}

/// Gives the signatures once more, for the codes that were spent on it. Nothing further is spent.
///
/// The wallet's state is written as it is, like every change of the wallet writes it: so it is still the one that judged.
fn repeat<S: Signable>(
    approved: Approved<S>,
    users: &[Versioned<UserRecord>],
    wallet: &Versioned<WalletState>,
    now: u64,
) -> Result<Change<Consumed<S>>, Spent> {
    let (asked, matched) = approved.parts();
    let digest = asked.binding();
    let mut entropy = None;
    let mut writes = write_codes(matched, users, |codes, step| {
        let (codes, of_user) = codes.repeat(step, &digest, now)?;
        let of_user = Zeroizing::new(of_user);
        // Codes that were spent together were spent on the same signatures.
        if entropy.get_or_insert_with(|| of_user.clone()) != &of_user {
            return Err(Spent);
        }
        Ok(codes)
    })?;
    writes.push(wallet.put(&wallet.value));
    let event = asked.repeated(names(matched));
    let entropy = entropy.ok_or(Spent)?;
    Ok(Change::new(Batch { writes, event, time: now }, Consumed { approved, entropy }))
}

/// Spends the codes of what was refused.
pub fn consume_refused<S: Signable>(
    refused: &Refused<S>,
    users: &[Versioned<UserRecord>],
    now: u64,
) -> Result<Change<CodesSpent>, Spent> {
    let (asked, matched) = refused.parts();
    let event = asked.refused(names(matched), refused.rule().tag().into());
    // A repetition that is refused, as by a policy that was changed since, has nothing to spend.
    let digest = asked.binding();
    let writes = if is_repetition(matched, users, &digest, now) {
        write_codes(matched, users, |codes, step| Ok(codes.repeat(step, &digest, now)?.0))?
    } else {
        spend_codes(matched, users, None)?
    };
    Ok(Change::new(Batch { writes, event, time: now }, CodesSpent))
}

/// Spends a code that was checked for its own sake, and confirms its user.
pub fn confirm(
    matched: &Matched,
    users: &[Versioned<UserRecord>],
    now: u64,
) -> Result<Change<CodesSpent>, Spent> {
    let writes = spend_codes(matched, users, None)?;
    let event = match users {
        [user] if !user.value.confirmed => {
            let confirmed = UserRecord { confirmed: true, ..user.value.clone() };
            of_user(Deed::UserConfirmed, Some(&user.value), Some(&confirmed))
        }
        _ => Event::CodeAccepted(names(matched).join(" ")),
    };
    Ok(Change::new(Batch { writes, event, time: now }, CodesSpent))
}

fn spend_codes(
    matched: &Matched,
    users: &[Versioned<UserRecord>],
    signed: Option<&Signed>,
) -> Result<Vec<Write>, Spent> {
    write_codes(matched, users, |codes, step| codes.spend(step, signed.cloned()))
}

/// A right code confirms its user: a user that signs is confirmed already.
fn write_codes(
    matched: &Matched,
    users: &[Versioned<UserRecord>],
    mut change: impl FnMut(&CodeState, &MatchedStep) -> Result<CodeState, Spent>,
) -> Result<Vec<Write>, Spent> {
    if matched.steps().len() != users.len() {
        return Err(Spent);
    }
    matched
        .steps()
        .iter()
        .zip(users)
        .map(|(step, user)| {
            // Of another key it is not: the user was enrolled anew since the code was compared.
            if step.user != user.value.name || step.key_id != user.value.otp.id() {
                return Err(Spent);
            }
            let codes = change(&user.value.codes, step)?;
            Ok(user.put(&UserRecord { codes, confirmed: true, ..user.value.clone() }))
        })
        .collect()
}

fn names(matched: &Matched) -> Vec<String> {
    matched.users().map(str::to_owned).collect()
}
