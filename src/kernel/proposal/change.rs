//! The commits of a proposal: its new record, the link, and that the officers are still the same.

use super::{Proposal, ProposalError, State, Vetoer};
use crate::audit::{Event, OfficerSignature, ProposalStep, Step};
use crate::motion::Nonce;
use crate::officer::Council;
use crate::receipt::{Batch, Content, Decision, Receipt, Write};
use crate::record::{Stored, Versioned};
use crate::seal::RecordKey;
use crate::state::{Consumed, Recorded, Veto};

/// Those of these records that may go, in this epoch at this time.
pub fn past<R: AsRef<Versioned<Proposal>>>(
    records: &[R],
    epoch: u64,
    now: u64,
) -> impl Iterator<Item = &Versioned<Proposal>> {
    records.iter().map(R::as_ref).filter(move |record| record.value.may_go(epoch, now))
}

/// Records a new proposal, and removes `past` ones.
pub fn propose<'a>(
    new: &Proposal,
    past: impl Iterator<Item = &'a Versioned<Proposal>>,
    council: &Versioned<Council>,
    now: u64,
) -> Decision<Recorded> {
    let place = RecordKey::proposal(&new.nonce());
    let first = Write { place, expected: None, content: Content::Put(new.encode()) };
    let writes = [first].into_iter().chain(past.map(Versioned::remove)).collect();
    let step = Step::Proposed { text: new.text().into(), signature: newest_signature(new) };
    written(writes, new, step, council, now)
}

/// Records the next state of a proposal: it was signed, or an officer vetoed it with this signature.
pub fn record(
    old: &Versioned<Proposal>,
    next: &Proposal,
    veto: Option<&str>,
    council: &Versioned<Council>,
    now: u64,
) -> Option<Decision<Recorded>> {
    let step = match (next.state(), veto) {
        (State::VetoedByOfficer(officer), Some(signature)) => {
            Step::VetoedByOfficer(OfficerSignature { officer: *officer, signature: signature.into() })
        }
        (State::Open, None) => Step::Signed(newest_signature(next)?),
        _ => return None,
    };
    Some(written(vec![old.put(next)], next, step, council, now))
}

/// Ends a proposal by the veto of a user whose code for it was right and is spent.
pub fn veto(
    old: &Versioned<Proposal>,
    by: &Receipt<Consumed<Veto>>,
    council: &Versioned<Council>,
    now: u64,
) -> Result<Decision<Recorded>, ProposalError> {
    let Veto { nonce, user } = by.evidence().asked();
    if *nonce != old.value.nonce() {
        return Err(ProposalError::NoVetoer(user.name.clone()));
    }
    let next = old.value.veto_by_user(user, now)?;
    let Vetoer { name, enrolment } = Vetoer { name: user.name.clone(), enrolment: user.key };
    let step = Step::VetoedByUser { name, enrolment };
    Ok(written(vec![old.put(&next)], &next, step, council, now))
}

/// Records that a proposal was found void ([`Proposal::found_void`]).
pub fn void(
    old: &Versioned<Proposal>,
    next: &Proposal,
    council: &Versioned<Council>,
    now: u64,
) -> Option<Decision<Recorded>> {
    let State::Void(void, _) = next.state() else { return None };
    Some(written(vec![old.put(next)], next, Step::Voided(*void), council, now))
}

/// Removes a proposal that no officer has signed.
pub fn withdraw(
    old: &Versioned<Proposal>,
    council: &Versioned<Council>,
    now: u64,
) -> Result<Decision<Recorded>, ProposalError> {
    old.value.check_can_be_withdrawn()?;
    Ok(written(vec![old.remove()], &old.value, Step::Withdrawn, council, now))
}

/// Records that time counted for these proposals: each with its next state.
pub fn credit(
    credited: &[(&Versioned<Proposal>, Proposal)],
    council: &Versioned<Council>,
    now: u64,
) -> Decision<Recorded> {
    let writes = credited.iter().map(|(old, next)| old.put(next)).collect();
    let waiting = u32::try_from(credited.len()).unwrap_or(u32::MAX);
    Decision::new(
        Batch::new(writes, Event::Ticked(waiting), now).while_unchanged(council.unchanged()),
        Recorded,
    )
}

fn newest_signature(proposal: &Proposal) -> Option<OfficerSignature> {
    let kept = proposal.signatures().last()?;
    Some(OfficerSignature { officer: kept.public_key, signature: kept.signature.clone() })
}

fn written(
    writes: Vec<Write>,
    proposal: &Proposal,
    step: Step,
    council: &Versioned<Council>,
    now: u64,
) -> Decision<Recorded> {
    let nonce: Nonce = proposal.nonce();
    let step = ProposalStep { nonce, heading: proposal.act().motion.heading(), step };
    let batch = Batch::new(writes, Event::Proposal(Box::new(step)), now);
    Decision::new(batch.while_unchanged(council.unchanged()), Recorded)
}
