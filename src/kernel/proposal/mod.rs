//! Proposals: acts that wait for officers. A proposal is a sealed record of a text and of the officers who approved it.
//!
//! ```text
//!              sign (m officers)     credit (the delay)      carry out
//! propose ──► unsigned ──────────► waiting ─────────────► due ─────────► carried out
//!     │          └──────────────┬─────┴─────────────────────┘
//!     └─► withdrawn, gone       └─► vetoed, expired, void
//! ```
//!
//! Every transition takes the present record and returns the next one, which the caller commits. Two transitions from the same version
//! cannot both be written, so one of two that race wins.
//!
//! Invariants:
//! - Q1. An act that loosens is carried out only after as many officers have signed as the council requires, each counted once by
//!   the key, and only after the whole delay was credited. Delay is credited only once enough of them have signed.
//! - Q2. A second counts as delay if the boundary ran and answered, its clocks agreed, and everybody who may veto could do so
//!   ([`Tick`]).
//! - Q3. A proposal that was vetoed or carried out stays so. Its record stays until its text has expired, so nobody can propose the
//!   same text again. An administrator withdraws only what no officer has signed, and thereby uses up nothing that officers signed.
//! - Q4. A proposal is void once the store, its epoch, those who decide or the document in force differ from when it was proposed, and
//!   stays void if they become again what they were. The version of the subject's record tells that it was changed, whatever it says
//!   now. Besides, a void proposal is recorded as such before anything else changes.
//! - Q5. The users who may veto are fixed when the act is proposed. Who was taken off its wallet or key shortly before is one of them.
//! - Q6. An open proposal can be vetoed whatever is in force.
//! - Q7. No officer keeps a place by a veto: the veto of an officer who is removed does not count, unless as many are removed as must sign.

mod change;
mod delay;
mod error;
mod room;
mod stored;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::act::class::Class;
pub use crate::audit::Void;
use crate::binding::Binding;
use crate::motion::{ActText, Motion, Nonce, TextError};
use crate::name::UserId;
use crate::officer::Council;
use crate::otp::OtpKeyId;
use crate::seal::StoreId;
pub use change::{credit, past, propose, record, veto, void, withdraw};
pub use delay::{MOST_BETWEEN, Objectors, RunId, Tick};
pub use error::ProposalError;
pub use room::{
    Bringer, MAX_OF_ADMINISTRATOR, MAX_OF_OFFICER, MAX_OPEN_OF_OFFICER, MAX_TIGHTENING_OF_OFFICER,
    MAX_UNSIGNED, check_room,
};
use stored::Written;

/// The longest signature that a record keeps. Long comments belong in the file.
pub const MAX_KEPT_SIGNATURE_LEN: usize = 1_024;
/// Seconds for which an act may be carried out after its delay: 30 days. Its record stays that long.
pub const MAX_OPEN: u64 = 30 * 24 * 3_600;
/// The same for an act that tightens: 8 days. It is for today, and until then its record takes its officer's room.
pub const MAX_OPEN_TIGHTENING: u64 = 8 * 24 * 3_600;

const HOUR: u64 = 3_600;
const LABEL_VETO: &[u8] = b"countersign/veto-code/v1\0";
/// An officer vetoes by signing this line, the store and the act's digest: no signature of an act is one of a veto.
const FIRST_LINE_VETO: &str = "countersign/veto/1";

/// A proposed act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub struct Proposal {
    act: ActText,
    text: String,
    by: Bringer,
    /// The digest of who decided, and after which delay, at the time of the proposal ([`Council::deciders_digest`]).
    deciders: [u8; 32],
    /// The version of its subject's record at that time.
    subject: Option<u64>,
    vetoers: Vec<Vetoer>,
    signatures: Vec<Kept>,
    /// Seconds of delay so far.
    credited: u64,
    last: Option<Tick>,
    state: State,
}

/// A signature that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The officer's key.
    pub public_key: [u8; 32],
    /// The signature in minisign's format, so that anybody can verify it again.
    pub signature: String,
}

/// A user who may veto, by name and enrolment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vetoer {
    /// The name.
    pub name: String,
    /// The enrolment.
    pub enrolment: OtpKeyId,
}

/// The state of a proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// It gathers signatures or waits.
    Open,
    /// It was carried out.
    CarriedOut,
    /// An officer vetoed it, by this key.
    VetoedByOfficer([u8; 32]),
    /// A user vetoed it.
    VetoedByUser(Vetoer),
    /// It was found void at this Unix time, in seconds.
    Void(Void, u64),
}

/// The present store, with which a proposal is compared.
#[derive(Clone, Copy)]
pub struct Circumstances<'a> {
    /// The store.
    pub store: StoreId,
    /// Its epoch ([`Epoch::name`](crate::state::Epoch::name)).
    pub epoch: u64,
    /// Its council.
    pub council: &'a Council,
    /// The digest of the document in force about the act's subject ([`Motion::was`]).
    pub in_force: [u8; 32],
    /// The version of the record that has it, if there is one that nothing else is written to.
    pub subject: Option<u64>,
    /// Unix time in seconds.
    pub now: u64,
}

/// What a proposal still needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Too few officers have signed.
    Unsigned {
        /// How many have.
        signed: usize,
        /// How many must.
        needed: usize,
    },
    /// Enough officers have signed, and this many seconds of the delay are left.
    Waiting(u64),
    /// It can be carried out.
    Due,
}

/// Evidence: officers decided this act, which may be done once. The commit that does it also writes the proposal's new record.
///
/// ```compile_fail,E0451
/// use countersign_kernel::{motion::Motion, proposal::Decided};
/// fn forge(motion: Motion) -> Decided { Decided { motion, next: panic!() } }
/// ```
#[must_use = "a decided act is not done yet"]
#[derive(Debug)]
pub struct Decided {
    motion: Motion,
    /// The proposal's new record.
    next: Box<Proposal>,
}

impl Decided {
    /// The act.
    pub fn motion(&self) -> &Motion {
        &self.motion
    }

    /// The proposal as the commit that does the act leaves it.
    pub(crate) fn next(&self) -> &Proposal {
        &self.next
    }
}

impl Proposal {
    /// Proposes the act of this text for an administrator ([`Self::bring`] for an officer). `vetoers` are the users concerned, as of now.
    pub fn new(text: &str, vetoers: &[UserId], found: &Circumstances<'_>) -> Result<Proposal, ProposalError> {
        Proposal::of(ActText::parse(text)?, vetoers, found)
    }

    /// Proposes this act. `vetoers` are the users concerned, as of now.
    pub fn of(
        act: ActText,
        vetoers: &[UserId],
        found: &Circumstances<'_>,
    ) -> Result<Proposal, ProposalError> {
        let class = act.motion.class();
        if class == Class::Neutral {
            return Err(ProposalError::NeedsNobody);
        }
        let vetoer = |user: &UserId| Vetoer { name: user.name.clone(), enrolment: user.key };
        // Nobody has to object to an act that only tightens, and without a delay there is no time to.
        let vetoers = if class == Class::Loosens { vetoers.iter().map(vetoer).collect() } else { vec![] };
        let proposal = Proposal {
            text: act.print()?,
            by: Bringer::Administrator,
            deciders: found.council.deciders_digest(),
            subject: found.subject,
            vetoers,
            signatures: vec![],
            credited: 0,
            last: None,
            state: State::Open,
            act,
        };
        proposal.check_holds(found)?;
        let latest = match class {
            Class::Tightens => MAX_OPEN_TIGHTENING,
            _ => longest_delay(&proposal.act.motion, found.council).saturating_add(MAX_OPEN),
        };
        if proposal.act.expires - found.now > latest {
            return Err(ProposalError::ExpiresLate);
        }
        Ok(proposal)
    }

    /// Adds an officer's signature of the text.
    pub fn sign(&self, signature: &str, found: &Circumstances<'_>) -> Result<Proposal, ProposalError> {
        self.check_open(found)?;
        if signature.len() > MAX_KEPT_SIGNATURE_LEN {
            return Err(ProposalError::SignatureLength);
        }
        let signed = found.council.officers().verify(self.text.as_bytes(), signature)?;
        let public_key = *signed.officer().public_key();
        if self.has_signed(&public_key) {
            return Err(ProposalError::Again(Box::new(signed.officer().clone())));
        }
        let mut signatures = self.signatures.clone();
        signatures.push(Kept { public_key, signature: signature.into() });
        Ok(Proposal { signatures, ..self.clone() })
    }

    /// Ends it on an officer's veto, which is a signature of [`Self::veto_text`].
    pub fn veto_by_officer(
        &self,
        signature: &str,
        found: &Circumstances<'_>,
    ) -> Result<Proposal, ProposalError> {
        self.check_can_be_vetoed(found.now)?;
        let signed = found.council.officers().verify(self.veto_text().as_bytes(), signature)?;
        let public_key = *signed.officer().public_key();
        if self.act.motion.overrules(&public_key) {
            return Err(ProposalError::OwnRemoval);
        }
        Ok(self.over(State::VetoedByOfficer(public_key)))
    }

    /// Ends it on the veto of a user whose code for this act was right.
    pub fn veto_by_user(&self, user: &UserId, now: u64) -> Result<Proposal, ProposalError> {
        self.check_can_be_vetoed(now)?;
        let vetoer = self.vetoers.iter().find(|one| one.name == user.name && one.enrolment == user.key);
        let vetoer = vetoer.ok_or_else(|| ProposalError::NoVetoer(user.name.clone()))?;
        Ok(self.over(State::VetoedByUser(vetoer.clone())))
    }

    /// Whether it can be vetoed at this time: whatever is in force now, as long as it is open.
    pub fn check_can_be_vetoed(&self, now: u64) -> Result<(), ProposalError> {
        match &self.state {
            State::Open if self.is_past(now) => Err(ProposalError::Expired),
            State::Open if self.class() == Class::Loosens => Ok(()),
            State::Open => Err(ProposalError::NothingToVeto),
            State::Void(void, _) => Err(ProposalError::Void(*void)),
            over => Err(ProposalError::Over(over.clone())),
        }
    }

    /// Whether it could still be carried out at this time, unless it is void and nobody has found it so yet.
    pub fn is_open(&self, now: u64) -> bool {
        self.state == State::Open && !self.is_past(now)
    }

    /// The same, void for ever, if it is open and void now.
    pub fn found_void(&self, found: &Circumstances<'_>) -> Option<Proposal> {
        if !self.is_open(found.now) {
            return None;
        }
        match self.check_holds(found) {
            Err(ProposalError::Void(void)) => Some(self.over(State::Void(void, found.now))),
            _ => None,
        }
    }

    /// Whether an administrator may withdraw it: not once an officer has signed. Who submits must not end what officers decide.
    pub fn check_can_be_withdrawn(&self) -> Result<(), ProposalError> {
        match &self.state {
            State::Open | State::Void(..) if self.signatures.is_empty() => Ok(()),
            State::Open | State::Void(..) => Err(ProposalError::Signed),
            over => Err(ProposalError::Over(over.clone())),
        }
    }

    /// Credits the time since the last tick, if it counts.
    pub fn credit(&self, tick: &Tick, found: &Circumstances<'_>) -> Result<Proposal, ProposalError> {
        let counts = match self.standing(found)? {
            Standing::Unsigned { .. } => 0,
            Standing::Waiting(_) | Standing::Due => self.last.as_ref().map_or(0, |last| last.until(tick)),
        };
        // Time before the last needed signature does not count.
        let last = (self.delay(found).is_some()).then(|| tick.clone());
        Ok(Proposal { credited: self.credited.saturating_add(counts), last, ..self.clone() })
    }

    /// What it still needs.
    pub fn standing(&self, found: &Circumstances<'_>) -> Result<Standing, ProposalError> {
        self.check_open(found)?;
        Ok(match self.delay(found) {
            None => {
                let needed =
                    if self.class() == Class::Tightens { 1 } else { found.council.officers().threshold() };
                Standing::Unsigned { signed: self.signatures.len(), needed }
            }
            Some(delay) if self.credited < delay => Standing::Waiting(delay - self.credited),
            Some(_) => Standing::Due,
        })
    }

    /// Carries it out, once. Returns the record to write in the same commit, and the evidence for the act.
    pub fn carry_out(&self, found: &Circumstances<'_>) -> Result<(Proposal, Decided), ProposalError> {
        match self.standing(found)? {
            Standing::Due => {
                let next = self.over(State::CarriedOut);
                let decided = Decided { motion: self.act.motion.clone(), next: Box::new(next.clone()) };
                Ok((next, decided))
            }
            standing => Err(ProposalError::NotDue(standing)),
        }
    }

    /// Whether its record may go, because its text has expired and nobody can propose it again.
    pub fn is_past(&self, now: u64) -> bool {
        now > self.act.expires
    }

    /// Names it among the proposals of its store.
    pub fn nonce(&self) -> Nonce {
        self.act.nonce
    }

    /// The act.
    pub fn act(&self) -> &ActText {
        &self.act
    }

    /// Its text, which officers sign.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What an officer signs to veto it.
    pub fn veto_text(&self) -> String {
        veto_text(&self.act).expect("its text was parsed")
    }

    /// Its class.
    pub fn class(&self) -> Class {
        self.act.motion.class()
    }

    /// The signatures that count.
    pub fn signatures(&self) -> &[Kept] {
        &self.signatures
    }

    /// The version of its subject's record when it was proposed.
    pub(crate) fn subject(&self) -> Option<u64> {
        self.subject
    }

    /// The users who may veto it.
    pub fn vetoers(&self) -> &[Vetoer] {
        &self.vetoers
    }

    /// Whether it needs this enrolment: the user may veto it, or joins by it.
    pub fn needs(&self, user: &UserId) -> bool {
        let joins = match &self.act.motion {
            Motion::WalletSet(set) => set.new.users.contains(user),
            Motion::KeySet(set) => set.new.users.contains(user),
            _ => false,
        };
        joins || self.vetoers.iter().any(|one| one.name == user.name && one.enrolment == user.key)
    }

    /// The time of its last tick, Unix seconds.
    pub fn last_tick(&self) -> Option<u64> {
        self.last.as_ref().map(Tick::wall)
    }

    /// Who brought it.
    pub fn by(&self) -> Bringer {
        self.by
    }

    /// Its state.
    pub fn state(&self) -> &State {
        &self.state
    }

    fn over(&self, state: State) -> Proposal {
        Proposal { state, ..self.clone() }
    }

    fn has_signed(&self, public_key: &[u8; 32]) -> bool {
        self.signatures.iter().any(|kept| kept.public_key == *public_key)
    }

    /// The whole delay in seconds, or `None` while too few officers have signed.
    fn delay(&self, found: &Circumstances<'_>) -> Option<u64> {
        let signed = self.signatures.len();
        let has_enough = signed >= found.council.officers().threshold();
        match self.class() {
            Class::Tightens => (signed >= 1).then_some(0),
            Class::Vouchless => has_enough.then_some(0),
            Class::Neutral | Class::Loosens => match &self.act.motion {
                // An emergency does not shorten it. Otherwise an emergency could shorten every later delay, too.
                motion @ Motion::OfficersSet { .. } => {
                    has_enough.then_some(longest_delay(motion, found.council))
                }
                _ => found.council.delay_with(signed).map(|hours| u64::from(hours) * HOUR),
            },
        }
    }

    fn check_open(&self, found: &Circumstances<'_>) -> Result<(), ProposalError> {
        match &self.state {
            State::Open => self.check_holds(found),
            State::Void(void, _) => Err(ProposalError::Void(*void)),
            over => Err(ProposalError::Over(over.clone())),
        }
    }

    fn check_holds(&self, found: &Circumstances<'_>) -> Result<(), ProposalError> {
        let void = |what| Err(ProposalError::Void(what));
        match &self.act {
            act if act.store != found.store => void(Void::Store),
            act if act.epoch != found.epoch => void(Void::Epoch),
            act if act.motion.was() != found.in_force => void(Void::Subject),
            _ if self.subject != found.subject => void(Void::Subject),
            _ if self.deciders != found.council.deciders_digest() => void(Void::Officers),
            act if found.now > act.expires => Err(ProposalError::Expired),
            _ => Ok(()),
        }
    }
}

/// Seconds of delay if no emergency shortens it. Another council waits for the longer delay of the two.
pub fn longest_delay(motion: &Motion, council: &Council) -> u64 {
    let hours = match motion {
        Motion::OfficersSet { new, .. } => council.delay_hours().max(new.delay_hours()),
        _ => council.delay_hours(),
    };
    u64::from(hours) * HOUR
}

/// What an officer signs to veto an act.
pub fn veto_text(act: &ActText) -> Result<String, TextError> {
    let (digest, store) = (act.digest()?, data_encoding::HEXLOWER.encode(&act.store));
    Ok(format!("{FIRST_LINE_VETO}\nstore {store}\nact {digest}\n"))
}

/// What a code that vetoes an act is bound to once it is spent.
pub fn veto_binding(act: &ActText) -> Result<Binding, TextError> {
    Ok(Sha256::new_with_prefix(LABEL_VETO).chain_update(veto_text(act)?).finalize().into())
}

#[cfg(test)]
mod tests;
