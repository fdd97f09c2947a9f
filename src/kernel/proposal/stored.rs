//! A proposal as it is stored: the text is the act.

use serde::{Deserialize, Serialize};

use super::{Bringer, Kept, Proposal, State, Tick, Vetoer};
use crate::motion::{ActText, TextError};
use crate::record::Stored;

/// The stored form of a proposal.
#[derive(Serialize, Deserialize)]
pub(super) struct Written {
    text: String,
    by: Bringer,
    deciders: [u8; 32],
    subject: Option<u64>,
    vetoers: Vec<Vetoer>,
    signatures: Vec<Kept>,
    credited: u64,
    last: Option<Tick>,
    state: State,
}

impl From<Proposal> for Written {
    fn from(proposal: Proposal) -> Written {
        let Proposal { act: _, text, by, deciders, subject, vetoers, signatures, credited, last, state } =
            proposal;
        Written { text, by, deciders, subject, vetoers, signatures, credited, last, state }
    }
}

impl TryFrom<Written> for Proposal {
    type Error = TextError;

    fn try_from(written: Written) -> Result<Proposal, TextError> {
        let Written { text, by, deciders, subject, vetoers, signatures, credited, last, state } = written;
        let act = ActText::parse(&text)?;
        Ok(Proposal { act, text, by, deciders, subject, vetoers, signatures, credited, last, state })
    }
}

impl Stored for Proposal {}
