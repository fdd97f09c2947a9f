//! The acts of administration in the engine: one way for all of them.
//!
//! ```text
//! Login → Administrator → Approved<Act> → perform: check → decide → commit → put in force → Done
//! ```
//!
//! [`crate::kernel::administration`] decides an act. This file adds what comes from the world: randomness,
//! the present records, the time, the ledger. [`Engine::perform`], and nothing else, logs and counts each act
//! and puts it in force.

mod pins;
mod present;

pub use crate::kernel::administration::{
    Act, Administrator, Approved, Done, Enrolment, Login, MAX_LABEL_LEN, MAX_POLICY_LEN,
    MAX_SIGNERS as MAX_WALLET_USERS, MAX_TOKEN_LABEL_LEN, NewDevice, NewDigestKey, NewFactor, NewScript,
    NewUser, NewWallet, Target, UserId, WalletChange,
};

pub use crate::kernel::key::{KeyChange, KeyTerms};

use zeroize::Zeroizing;

use crate::engine::{Engine, EngineError};
use crate::kernel::act::Deed;
use crate::kernel::administration::{self, Fresh, Moment, PinEra, Plan, Timing};
use crate::kernel::digest_key::DigestKeyRecord;
use crate::kernel::pin::Role;
use crate::kernel::receipt::Decision;
use crate::kernel::seal::Kind;
use crate::kernel::state::{ClockRecord, Peer};
use crate::kernel::wallet::WalletRecord;

impl Engine {
    /// Initialises the token in a process that has loaded the engine itself: see [`Engine::initialise_for`].
    pub fn initialise(&self, so_pin: &[u8], label: &str) -> Result<(), EngineError> {
        self.initialise_for(None, so_pin, label)
    }

    /// Initialises the token, once, for `peer`. An existing token is never replaced. If officers declared its SO PIN lost, the secret on
    /// which they agreed becomes the next one: `label` must be the token's own, and nothing else changes.
    pub fn initialise_for(&self, peer: Peer<'_>, so_pin: &[u8], label: &str) -> Result<(), EngineError> {
        if self.is_initialised() {
            // The caller has not shown any right yet, so a refusal must cost nothing: no stretched PIN and no
            // call of the backing token.
            if self.has_lost_so_pin(label)? {
                return self.inherit_so_pin(peer, so_pin);
            }
            let _refused = self.attempt(Deed::Initialised.tag());
            return Err(EngineError::AlreadyInitialised);
        }
        self.perform(Approved::initialisation(label, so_pin)).map(|_initialised| ())
    }

    /// Whether this is the label of a token whose SO PIN was declared lost.
    fn has_lost_so_pin(&self, label: &str) -> Result<bool, EngineError> {
        let token = self.token_record()?.into_value();
        Ok(token.so.is_lost() && token.label == label)
    }

    /// The administrator of a login that is not over.
    pub fn administrator(&self, login: &Login) -> Result<Administrator, EngineError> {
        login.administrator(self.pin_era(Role::So)).ok_or(EngineError::NotAdministrator)
    }

    /// Does what was approved, once.
    pub fn perform(&self, approved: Approved<Act>) -> Result<Done, EngineError> {
        let attempt = self.attempt(approved.act().deed().tag());
        let (done, _) = self.administer(approved)?;
        attempt.done();
        Ok(done)
    }

    /// Carries out an act, and returns what was done, and the PIN era that it began.
    fn administer(&self, approved: Approved<Act>) -> Result<(Done, Option<PinEra>), EngineError> {
        let (timing, rests_on_others) = (approved.act().timing(), approved.act().rests_on_others());
        let _turn = rests_on_others.then(|| self.administration());
        if rests_on_others && self.is_initialised() {
            self.record_voids()?;
        }
        let plan = self.plan(approved)?;
        let decide = |plan| administration::decide(plan, &self.moment(timing)?, self, &self.secp);
        let receipt = self.commit(plan, decide, Decision::take_back)?;
        let done = receipt.open();
        let era = self.put_in_force(&done)?;
        if rests_on_others {
            self.record_voids_of_done();
        }
        Ok((done, era))
    }

    /// Carries out what officers decided. `decided` decides it against the present records, again if another commit came first. The
    /// caller has the turn of acts of administration.
    pub(crate) fn administer_decided(
        &self,
        decided: impl Fn() -> Result<Approved<Act>, EngineError>,
    ) -> Result<(), EngineError> {
        let decide = || {
            let approved = decided()?;
            let timing = approved.act().timing();
            administration::decide(self.plan(approved)?, &self.moment(timing)?, self, &self.secp)
        };
        self.record_voids()?;
        let done = self.commit_anew(decide)?.open();
        self.put_in_force(&done)?;
        self.record_voids_of_done();
        Ok(())
    }

    fn plan(&self, approved: Approved<Act>) -> Result<Approved<Plan>, EngineError> {
        let act = approved.act();
        let mut bytes = Zeroizing::new(vec![0; act.randomness().iter().sum()]);
        let mut rest = &mut bytes[..];
        for len in act.randomness() {
            let (next, behind) = rest.split_at_mut(*len);
            self.random(next)?;
            rest = behind;
        }
        let _turn = act.stretches_a_pin().then(|| self.turn_at_pins(Role::So));
        Ok(administration::check(approved, Fresh::new(bytes), &self.secp)?)
    }

    /// The moment at which an act is decided.
    fn moment(&self, timing: Timing) -> Result<Moment, EngineError> {
        let clocks = self.clocks();
        let now = match timing {
            Timing::Believed => self.now(),
            Timing::OrNewest => self.now_or_newest(),
            Timing::Clock => Ok(clocks.wall),
        };
        let now = match now {
            Ok(now) => Ok(now),
            Err(EngineError::Clock(error)) => Err(error),
            Err(error) => return Err(error),
        };
        let newest = if self.is_initialised() { self.ledger()?.high_water() } else { 0 };
        Ok(Moment { now, clocks, believed: self.believed(), newest })
    }

    /// Makes the engine use the records that an act has written. Returns the PIN era that this begins, if
    /// any.
    fn put_in_force(&self, done: &Done) -> Result<Option<PinEra>, EngineError> {
        match done {
            // A token that was initialised before has another SO PIN now.
            Done::Initialised | Done::SoPinLost | Done::SoPinInherited => {
                return Ok(Some(self.begin_pin_era(Role::So)));
            }
            Done::Enrolled(_) | Done::UserUnlocked | Done::UserPinUnlocked | Done::DevicesChanged => {}
            Done::OfficersSet => self.adopt_council()?,
            Done::UserRemoved(name) => self.forget_freeze_of_user(name),
            Done::Frozen(target) => self.count_freeze(target.place(), Some(target.what())),
            Done::Thawed(target) => self.count_freeze(target.place(), None),
            Done::UserPinReplaced => return Ok(Some(self.begin_pin_era(Role::User))),
            Done::PinChanged(new) => return Ok(Some(self.begin_pin_era(new.role()))),
            Done::Wallet(id) => self.publish::<WalletRecord>(*id, &self.key_record(id)?)?,
            Done::DigestKey(id) => self.publish::<DigestKeyRecord>(*id, &self.key_record(id)?)?,
            Done::ClockTaken => self.believe(self.single::<ClockRecord>(Kind::Clock)?.value().believed),
        }
        Ok(None)
    }
}
