//! A proposal as it is stored: the text is the act.

use serde::{Deserialize, Serialize};

use super::{Bringer, Kept, Proposal, RunId, State, Tick, Vetoer};
use crate::audit::Head;
use crate::motion::{ActText, Frozen, Motion, Seen, TextError};
use crate::record::{Stored, decode_body};

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

impl Stored for Proposal {
    const FORMAT: u8 = 2;

    fn decode(bytes: &[u8]) -> Option<Proposal> {
        match bytes.split_first()? {
            (1, body) => decode_body::<FirstFormat>(body)?.upgrade(),
            (&Self::FORMAT, body) => decode_body(body),
            _ => None,
        }
    }
}

/// The first format knew neither who brought an act nor what its subject's record was. An act of then that is open is void, since
/// nobody knows whether its subject was changed in between. Officers sign another one.
#[derive(Serialize, Deserialize)]
struct FirstFormat {
    text: String,
    /// The digest of the whole council.
    council: [u8; 32],
    vetoers: Vec<Vetoer>,
    signatures: Vec<Kept>,
    credited: u64,
    last: Option<FirstTick>,
    /// Its four states are the first four of today.
    state: State,
}

#[derive(Serialize, Deserialize)]
struct FirstTick {
    run: RunId,
    wall: u64,
    boot: u64,
    is_open: bool,
}

impl FirstFormat {
    fn upgrade(self) -> Option<Proposal> {
        let FirstFormat { text, council: _, vetoers, signatures, credited, last: _, state } = self;
        // No council has this digest.
        let deciders = [0; 32];
        let by = Bringer::Administrator;
        let Ok(act) = ActText::parse(&text) else { return foreign(&text) };
        Some(Proposal {
            act,
            text,
            by,
            deciders,
            subject: None,
            vetoers,
            signatures,
            credited,
            last: None,
            state,
        })
    }
}

/// Stands for an act of then whose text is none any more: of the officers, or of a lost PIN. It has expired, so its record goes with the
/// next proposal, and nobody can propose its text again. The audit keeps the text.
fn foreign(text: &str) -> Option<Proposal> {
    let nonce = text.lines().find_map(|line| line.strip_prefix("nonce "))?;
    let nonce = data_encoding::HEXLOWER.decode(nonce.as_bytes()).ok()?.try_into().ok()?;
    let (seen, motion) = (Seen { head: Head([0; 32]), link: 0 }, Motion::Freeze { what: Frozen::All });
    let act = ActText { store: [0; 16], epoch: 0, nonce, seen, expires: 0, motion };
    let (text, by, state) = (act.print().ok()?, Bringer::Administrator, State::Open);
    let (vetoers, signatures) = (vec![], vec![]);
    Some(Proposal {
        act,
        text,
        by,
        deciders: [0; 32],
        subject: None,
        vetoers,
        signatures,
        credited: 0,
        last: None,
        state,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_act_of_the_first_format_is_read_and_belongs_to_no_council() {
        let text = include_str!("../../../tests/vectors/acts/wallet-set.txt");
        let last = Some(FirstTick { run: [1; 16], wall: 5, boot: 6, is_open: true });
        let (vetoers, signatures) = (vec![], vec![Kept { public_key: [7; 32], signature: "a".into() }]);
        let state = State::Open;
        let first = FirstFormat {
            text: text.into(),
            council: [9; 32],
            vetoers,
            signatures,
            credited: 7_200,
            last,
            state,
        };
        let bytes = [&[1][..], &postcard::to_allocvec(&first).expect("it is written")].concat();
        let read = Proposal::decode(&bytes).expect("it is read");
        assert_eq!((read.text(), read.state(), read.deciders), (text, &State::Open, [0; 32]));
        let again = Proposal::decode(&read.encode()).expect("it is read");
        assert_eq!(again, read);
        assert_eq!(read.encode()[0], 2);
        assert!(Proposal::decode(&[&[3][..], &bytes[1..]].concat()).is_none());

        // As the officers' acts of then.
        let text = text.replace("countersign/act/1", "countersign/act/0");
        let (vetoers, signatures, state) = (vec![], vec![], State::Open);
        let first =
            FirstFormat { text, council: [9; 32], vetoers, signatures, credited: 0, last: None, state };
        let bytes = [&[1][..], &postcard::to_allocvec(&first).expect("it is written")].concat();
        let foreign = Proposal::decode(&bytes).expect("it is read");
        assert!(foreign.nonce() == read.nonce() && foreign.is_past(1) && !foreign.is_open(1));
        assert_eq!(Proposal::decode(&foreign.encode()), Some(foreign));
    }
}
