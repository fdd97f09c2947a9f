//! The links, and how to follow a chain of them.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Event;
use crate::officer::CouncilDigest;
use crate::seal::SetHash;

const LABEL: &[u8] = b"countersign/audit/v1\0";
/// The most links of one batch.
pub const MAX_BATCH: u64 = 64;

/// Hash of a link and, through it, of all links before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head(pub [u8; 32]);

/// One link of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Counts the links from 0.
    pub sequence: u64,
    /// Unix time in seconds.
    pub time: u64,
    /// What happened.
    pub event: Event,
    /// The head before this link.
    pub previous: Head,
    /// The set hash over all sealed records after this link's commit.
    pub set: SetHash,
    /// Sequence of the first link of this link's batch.
    pub batch: u64,
}

/// A link as it is written, without `batch`, which follows it. Links of the first format have none, because
/// each of them was a batch of its own.
#[derive(Serialize, Deserialize)]
struct Body {
    sequence: u64,
    time: u64,
    event: Event,
    previous: Head,
    set: SetHash,
}

impl Link {
    /// The head after this link.
    pub fn head(&self) -> Head {
        Head(Sha256::new_with_prefix(LABEL).chain_update(self.encode()).finalize().into())
    }

    /// The link as bytes (postcard). A link that begins its batch has the bytes of the first format.
    pub fn encode(&self) -> Vec<u8> {
        let Link { sequence, time, event, previous, set, batch } = self.clone();
        let body = Body { sequence, time, event, previous, set };
        let written = if batch == sequence {
            postcard::to_allocvec(&body)
        } else {
            postcard::to_allocvec(&(body, batch))
        };
        written.expect("a link holds nothing that postcard cannot write")
    }

    /// Reads what [`Self::encode`] wrote, if nothing follows.
    pub fn decode(bytes: &[u8]) -> Option<Link> {
        let (Body { sequence, time, event, previous, set }, rest) = postcard::take_from_bytes(bytes).ok()?;
        let batch = if rest.is_empty() {
            sequence
        } else {
            let (batch, rest) = postcard::take_from_bytes(rest).ok()?;
            // Each link has one encoding, and so one head.
            (rest.is_empty() && batch < sequence).then_some(batch)?
        };
        Some(Link { sequence, time, event, previous, set, batch })
    }
}

/// The end of a chain that was followed link by link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainEnd {
    /// The newest link.
    pub newest: Link,
    /// The head after it.
    pub head: Head,
    /// The head before the batch that it was written in.
    pub before_batch: Head,
    /// The council in force after the newest link: that of the last link that has one.
    pub council: Option<CouncilDigest>,
}

impl ChainEnd {
    /// Begins a chain with its first link; `None` if it is not one.
    pub fn begin(first: Link) -> Option<ChainEnd> {
        (first.sequence == 0 && first.batch == 0 && first.previous == Head::default()).then(|| {
            let (head, council) = (first.head(), first.event.council());
            ChainEnd { newest: first, head, before_batch: Head::default(), council }
        })
    }

    /// Follows the chain by one link; `None` if it is not the next one.
    pub fn follow(self, next: Link) -> Option<ChainEnd> {
        let expected = self.newest.sequence.checked_add(1)?;
        // A restoration skips the numbers of the lost links, so that no version of a record occurs twice.
        let in_order = next.sequence == expected || (next.sequence > expected && next.event.restores());
        let begins = next.batch == next.sequence;
        let goes_on = next.batch == self.newest.batch && next.sequence - next.batch < MAX_BATCH;
        if !in_order || next.previous != self.head || !(begins || goes_on) {
            return None;
        }
        let before_batch = if begins { self.head } else { self.before_batch };
        let council = next.event.council().or(self.council);
        Some(ChainEnd { head: next.head(), newest: next, before_batch, council })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(links: impl IntoIterator<Item = Link>) -> Option<ChainEnd> {
        let mut links = links.into_iter();
        let mut end = ChainEnd::begin(links.next()?)?;
        for link in links {
            let previous = end.head;
            end = end.follow(Link { previous, ..link })?;
        }
        Some(end)
    }

    fn at(sequence: u64, batch: u64) -> Link {
        Link { sequence, batch, event: Event::Initialised, previous: Head::default(), ..link() }
    }

    #[test]
    fn a_chain_is_followed_batch_by_batch() {
        let end = chain([at(0, 0), at(1, 1), at(2, 1), at(3, 3), at(4, 3), at(5, 3)]).expect("a chain");
        assert_eq!(end.newest.sequence, 5);
        let before = chain([at(0, 0), at(1, 1), at(2, 1)]).expect("a chain");
        assert_eq!(end.before_batch, before.head);
    }

    #[test]
    fn a_chain_has_no_gap_no_fork_and_no_batch_of_its_own_making() {
        assert!(chain([at(1, 1)]).is_none(), "no beginning");
        assert!(chain([at(0, 0), at(2, 2)]).is_none(), "a gap");
        assert!(chain([at(0, 0), at(0, 0)]).is_none(), "the same again");
        assert!(chain([at(0, 0), at(1, 1), at(2, 0)]).is_none(), "the batch before the last");
        let long = |last| chain((0..=last).map(|sequence| at(sequence, 0)));
        assert!(long(MAX_BATCH - 1).is_some() && long(MAX_BATCH).is_none(), "a batch that is too long");
        let end = chain([at(0, 0)]).expect("a chain");
        assert!(end.follow(Link { previous: Head([9; 32]), ..at(1, 1) }).is_none(), "a fork");
    }

    #[test]
    fn only_a_restoration_skips_numbers() {
        let restored = Event::Restored { epoch: 1, store: 0, anchor: Some(4) };
        assert!(chain([at(0, 0), Link { event: restored.clone(), ..at(5, 5) }]).is_some());
        assert!(chain([at(0, 0), at(1, 1), Link { event: restored, ..at(1, 1) }]).is_none(), "backwards");
    }

    fn link() -> Link {
        Link {
            sequence: 1,
            time: 1_700_000_000,
            event: Event::CodeCharged(vec!["alice".into()]),
            previous: Head([1; 32]),
            set: SetHash::from_bytes([2; 32]),
            batch: 1,
        }
    }

    #[test]
    fn the_head_is_golden() {
        assert_eq!(
            hex::encode(link().head().0),
            include_str!("../../../tests/vectors/audit-head.hex").trim()
        );
    }

    #[test]
    fn the_head_depends_on_every_field() {
        let head = link().head();
        let changed = [
            Link { sequence: 2, ..link() },
            Link { time: 1_700_000_001, ..link() },
            Link { event: Event::CodeCharged(vec!["bob".into()]), ..link() },
            Link { previous: Head([3; 32]), ..link() },
            Link { set: SetHash::from_bytes([3; 32]), ..link() },
            Link { batch: 0, ..link() },
        ];
        assert!(changed.iter().all(|other| other.head() != head));
    }

    #[test]
    fn a_link_reads_back_and_tolerates_nothing_behind_it() {
        for link in [link(), Link { batch: 0, ..link() }] {
            assert_eq!(Link::decode(&link.encode()), Some(link.clone()));
            assert_ne!(Link::decode(&[link.encode(), vec![0]].concat()), Some(link));
        }
        assert_eq!(Link::decode(&[Link { batch: 0, ..link() }.encode(), vec![0]].concat()), None);
        assert_eq!(Link::decode(&[link().encode(), vec![1]].concat()), None, "its own batch, written twice");
        assert_eq!(Link::decode(&[link().encode(), vec![2]].concat()), None, "a batch that begins later");
    }
}
