//! Proposals as everybody sees them.

use super::{Engine, EngineError};
use crate::kernel::act::class::Class;
use crate::kernel::motion::{Motion, Nonce};
use crate::kernel::officer::Council;
use crate::kernel::proposal::{Proposal, ProposalError, Standing, State, Void};
use crate::kernel::record::Versioned;
use crate::kernel::seal::{Kind, RecordKey};

/// A proposed act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposalView {
    /// Names it.
    pub nonce: Nonce,
    /// The text, which officers sign.
    pub text: String,
    /// What it does, of what.
    pub heading: String,
    /// Its class.
    pub class: Class,
    /// Its state.
    pub standing: ProposalStanding,
    /// The signatures that count, in minisign's format.
    pub signatures: Vec<String>,
    /// How many officers have signed.
    pub signed: usize,
    /// How many must.
    pub needed: usize,
    /// The users who may veto it.
    pub vetoers: Vec<String>,
    /// When it expires, Unix seconds.
    pub expires: u64,
}

/// The state of a proposed act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProposalStanding {
    /// Too few officers have signed.
    Unsigned,
    /// It waits for so many seconds more.
    Waiting(u64),
    /// It can be carried out.
    Due,
    /// It was carried out.
    CarriedOut,
    /// It was vetoed, by this user or officer.
    Vetoed(String),
    /// Its date is past.
    Expired,
    /// Something has changed since it was written, as was found at this Unix time, if that is recorded already.
    Void(Void, Option<u64>),
}

impl ProposalStanding {
    /// Its name, in the metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            ProposalStanding::Unsigned => "unsigned",
            ProposalStanding::Waiting(_) => "waiting",
            ProposalStanding::Due => "due",
            ProposalStanding::CarriedOut => "carried-out",
            ProposalStanding::Vetoed(_) => "vetoed",
            ProposalStanding::Expired => "expired",
            ProposalStanding::Void(..) => "void",
        }
    }
}

impl Engine {
    /// One proposed act.
    pub fn proposal(&self, nonce: &Nonce) -> Result<Option<ProposalView>, EngineError> {
        match self.proposal_record(nonce) {
            Ok(record) => self.view(&record).map(Some),
            Err(EngineError::Proposal(ProposalError::Unknown)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All proposed acts, also those that are over, in the order of their nonces.
    pub fn proposals(&self) -> Result<Vec<ProposalView>, EngineError> {
        let mut views: Vec<ProposalView> =
            self.proposal_records()?.iter().map(|record| self.view(record)).collect::<Result<_, _>>()?;
        views.sort_by_key(|view| view.nonce);
        Ok(views)
    }

    /// The nonces of all proposed acts, without reading them.
    pub fn proposal_nonces(&self) -> Result<Vec<Nonce>, EngineError> {
        Ok(self.ledger()?.places(Kind::Proposal)?.into_iter().map(|RecordKey { id, .. }| id).collect())
    }

    /// How many proposed acts are in each state.
    pub fn proposal_counts(&self) -> Result<Vec<(&'static str, u64)>, EngineError> {
        let mut counts =
            ["unsigned", "waiting", "due", "carried-out", "vetoed", "expired", "void"].map(|name| (name, 0));
        let views = if self.is_initialised() { self.proposals()? } else { vec![] };
        for view in views {
            counts
                .iter_mut()
                .filter(|(name, _)| *name == view.standing.name())
                .for_each(|(_, count)| *count += 1);
        }
        Ok(counts.into())
    }

    fn view(&self, record: &Versioned<Proposal>) -> Result<ProposalView, EngineError> {
        let council = self.council_record()?.ok_or(ProposalError::NoOfficers)?;
        // A change that is under way may still fail.
        self.ledger()?.settle(record.version().max(council.version()))?;
        let (proposal, motion) = (record.value(), &record.value().act().motion);
        let now = match motion {
            Motion::ClockTake { .. } => self.clock_time(),
            _ => self.now_or_newest()?,
        };
        let standing = proposal.standing(&self.circumstances(motion, &council, now)?);
        let officers = council.value().officers();
        Ok(ProposalView {
            nonce: proposal.nonce(),
            text: proposal.text().into(),
            heading: motion.heading(),
            class: proposal.class(),
            standing: shown(proposal.state(), standing, council.value()),
            signatures: proposal.signatures().iter().map(|kept| kept.signature.clone()).collect(),
            signed: proposal.signatures().len(),
            needed: if proposal.class() == Class::Tightens { 1 } else { officers.threshold() },
            vetoers: proposal.vetoers().iter().map(|vetoer| vetoer.name.clone()).collect(),
            expires: proposal.act().expires,
        })
    }
}

fn shown(state: &State, standing: Result<Standing, ProposalError>, council: &Council) -> ProposalStanding {
    match standing {
        Ok(Standing::Unsigned { .. }) => ProposalStanding::Unsigned,
        Ok(Standing::Waiting(seconds)) => ProposalStanding::Waiting(seconds),
        Ok(Standing::Due) => ProposalStanding::Due,
        Err(ProposalError::Over(State::CarriedOut)) => ProposalStanding::CarriedOut,
        Err(ProposalError::Over(State::VetoedByUser(user))) => ProposalStanding::Vetoed(user.name),
        Err(ProposalError::Over(State::VetoedByOfficer(key))) => {
            let officer = council.officers().keys().iter().find(|officer| *officer.public_key() == key);
            ProposalStanding::Vetoed(officer.map_or("a former officer".into(), ToString::to_string))
        }
        Err(ProposalError::Expired) => ProposalStanding::Expired,
        Err(ProposalError::Void(void)) => {
            let since = if let State::Void(_, since) = state { Some(*since) } else { None };
            ProposalStanding::Void(void, since)
        }
        // No other refusal is one of a look.
        Err(_) => ProposalStanding::Void(Void::Subject, None),
    }
}
