//! The anchor: what the backing token remembers about the store, so that the module notices an older or
//! different store.
//!
//! The token holds the newest link's sequence, head and set hash, with a MAC under the store's own key. A commit is
//! written to the store first and anchored second, batch by batch. So an honest store is at its anchor or one batch ahead.
//!
//! Format 1 is that of a store without officers. Format 2 also has the digest of the council that is in force after the link. It
//! follows from the chain, but a copy from before there were officers does not have those links: only the anchor then tells
//! who must agree to a restoration.

use super::audit::{ChainEnd, Head, Link};
use super::officer::CouncilDigest;
use super::seal::{DataKey, SetHash, StoreId};

const MAGIC: &[u8; 8] = b"CSANCHOR";
const VERSION: u8 = 1;
const VERSION_WITH_COUNCIL: u8 = 2;
const DIGEST_LEN: usize = 32;
const MAC_LEN: usize = 32;
/// Its encoded length without officers.
pub const ANCHOR_LEN: usize = 8 + 1 + 16 + 8 + 32 + 32 + MAC_LEN;
/// Its encoded length with officers.
pub const ANCHOR_LEN_WITH_COUNCIL: usize = ANCHOR_LEN + DIGEST_LEN;

/// What the backing token remembers about the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchored {
    /// Sequence of the newest link.
    pub sequence: u64,
    /// The head after it.
    pub head: Head,
    /// The set hash after it.
    pub set: SetHash,
    /// The council in force after it, if there are officers.
    pub council: Option<CouncilDigest>,
}

impl Anchored {
    /// The anchor of a store whose newest link is `link`, after which this council is in force.
    pub fn of(link: &Link, council: Option<CouncilDigest>) -> Anchored {
        Anchored { sequence: link.sequence, head: link.head(), set: link.set, council }
    }

    /// The anchor of a store whose chain was followed.
    pub fn at(end: &ChainEnd) -> Anchored {
        Anchored { sequence: end.newest.sequence, head: end.head, set: end.newest.set, council: end.council }
    }

    /// Whether it is the anchor after this link. The head determines the council.
    pub fn is_of(&self, link: &Link) -> bool {
        *self == Anchored::of(link, self.council)
    }

    /// magic ‖ version ‖ store ‖ sequence ‖ head ‖ set ‖ council, if there is one ‖ MAC.
    pub fn encode(&self, key: &DataKey) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ANCHOR_LEN_WITH_COUNCIL);
        bytes.extend_from_slice(MAGIC);
        bytes.push(if self.council.is_some() { VERSION_WITH_COUNCIL } else { VERSION });
        bytes.extend_from_slice(key.store());
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.head.0);
        bytes.extend_from_slice(self.set.as_bytes());
        if let Some(CouncilDigest(council)) = &self.council {
            bytes.extend_from_slice(council);
        }
        let mac = key.anchor_mac(&bytes);
        bytes.extend_from_slice(&mac);
        bytes
    }

    /// Reads an anchor of this store. `None` if it is torn, another store's, or not made by us.
    pub fn decode(bytes: &[u8], key: &DataKey) -> Option<Anchored> {
        use subtle::ConstantTimeEq;
        let (body, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC_LEN)?)?;
        if !bool::from(key.anchor_mac(body).ct_eq(mac)) {
            return None;
        }
        let (magic, body) = body.split_first_chunk()?;
        let ([version], body) = body.split_first_chunk()?;
        let (store, body): (&StoreId, _) = body.split_first_chunk()?;
        if magic != MAGIC || store != key.store() {
            return None;
        }
        let (sequence, body) = body.split_first_chunk()?;
        let (head, body) = body.split_first_chunk()?;
        let (set, council): (&[u8; 32], _) = body.split_first_chunk()?;
        let council = match *version {
            VERSION if council.is_empty() => None,
            VERSION_WITH_COUNCIL => Some(CouncilDigest(council.try_into().ok()?)),
            _ => return None,
        };
        Some(Anchored {
            sequence: u64::from_be_bytes(*sequence),
            head: Head(*head),
            set: SetHash::from_bytes(*set),
            council,
        })
    }

    /// The unverified sequence of an anchor, which is all that is known when its store is missing.
    pub fn claimed_sequence(bytes: &[u8]) -> Option<u64> {
        if ![ANCHOR_LEN, ANCHOR_LEN_WITH_COUNCIL].contains(&bytes.len()) || !bytes.starts_with(MAGIC) {
            return None;
        }
        bytes[25..].first_chunk().map(|sequence| u64::from_be_bytes(*sequence))
    }
}

/// The result of opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Store and anchor agree.
    Agree,
    /// The last batch was written but not anchored, and no answer left for it. The anchor moves up.
    RollForward,
}

/// Compares the end of a store's chain, and the set hash over all its records, with the newest anchor.
pub fn judge(end: &ChainEnd, records: SetHash, anchor: &Anchored) -> Result<Opening, StateError> {
    let newest = &end.newest;
    if records != newest.set {
        return Err(StateError::Records);
    }
    let here = Anchored::at(end);
    if here == *anchor {
        return Ok(Opening::Agree);
    }
    if anchor.sequence.checked_add(1) == Some(newest.batch) && end.before_batch == anchor.head {
        return Ok(Opening::RollForward);
    }
    Err(match here.sequence.cmp(&anchor.sequence) {
        core::cmp::Ordering::Less => StateError::Older { store: here.sequence, anchor: anchor.sequence },
        core::cmp::Ordering::Equal => StateError::Forked(here.sequence),
        core::cmp::Ordering::Greater => StateError::Ahead { store: here.sequence, anchor: anchor.sequence },
    })
}

/// What a failed step of the anchor left in the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Only the old value: the step must be taken.
    Untaken,
    /// The new value, with or without the old one: the step must be finished.
    Taken,
}

/// Finds out from the present anchors of this store what a step from `before` to `after` left in the token.
///
/// A failed step leaves the old value, the new one or both. Anything else has another cause: the token was
/// put back or emptied, or somebody else writes to it.
pub fn resume(found: &[Anchored], before: &Anchored, after: &Anchored) -> Result<Step, StateError> {
    if let Some(other) = found.iter().find(|anchor| ![before, after].contains(anchor)) {
        let store = after.sequence;
        return Err(match other.sequence.cmp(&store) {
            core::cmp::Ordering::Less => StateError::Ahead { store, anchor: other.sequence },
            core::cmp::Ordering::Equal => StateError::Forked(store),
            core::cmp::Ordering::Greater => StateError::Older { store, anchor: other.sequence },
        });
    }
    match (found.contains(before), found.contains(after)) {
        (_, true) => Ok(Step::Taken),
        (true, false) => Ok(Step::Untaken),
        (false, false) => Err(StateError::AnchorMissing),
    }
}

/// The reason why the module stays closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The store is an older copy.
    #[error("the store is older (link {store}) than its anchor (link {anchor}): an old copy was put back")]
    Older {
        /// Newest link of the store.
        store: u64,
        /// The anchored link.
        anchor: u64,
    },
    /// The store has gone on without its anchor.
    #[error(
        "the store is ahead (link {store}) of its anchor (link {anchor}): the backing token was put back"
    )]
    Ahead {
        /// Newest link of the store.
        store: u64,
        /// The anchored link.
        anchor: u64,
    },
    /// Another history of the same length.
    #[error("the store's history differs from the anchored one at link {0} or before")]
    Forked(u64),
    /// A record was changed, moved, removed, added or taken from an older copy.
    #[error("the records are not those of the newest link: one was changed, moved, removed or put back")]
    Records,
    /// One record or link does not open.
    #[error("a record does not open: {0}")]
    Sealed(String),
    /// There is an anchor, but no store.
    #[error("the store is missing, but the backing token remembers one (link {0})")]
    StoreMissing(u64),
    /// There is a store, but no anchor.
    #[error("the backing token has no anchor: it is another token, or somebody emptied it")]
    AnchorMissing,
    /// The data key does not unwrap.
    #[error(
        "the backing token does not unwrap the store's data key: another token, or the store's header was changed"
    )]
    DataKey,
    /// The store's file differs from what was written: its content, or the changes of a commit.
    #[error("the store's schema was changed: {0} (schema)")]
    Schema(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Event;
    use zeroize::Zeroizing;

    fn key() -> DataKey {
        DataKey::new([7; 16], Zeroizing::new([9; 32]))
    }

    fn link(sequence: u64, previous: Head) -> Link {
        Link {
            sequence,
            time: 5,
            event: Event::Initialised,
            previous,
            set: SetHash::from_bytes([sequence as u8; 32]),
            batch: sequence,
        }
    }

    fn end(newest: &Link, before_batch: Head) -> ChainEnd {
        ChainEnd { newest: newest.clone(), head: newest.head(), before_batch, council: None }
    }

    /// The end of a chain whose newest link is a batch of its own.
    fn alone(newest: &Link) -> ChainEnd {
        end(newest, newest.previous)
    }

    #[test]
    fn an_anchor_reads_back_for_its_own_store() {
        let anchor = Anchored::of(&link(3, Head([1; 32])), None);
        let bytes = anchor.encode(&key());
        assert_eq!(bytes.len(), ANCHOR_LEN);
        assert_eq!(Anchored::decode(&bytes, &key()), Some(anchor));
        assert_eq!(Anchored::claimed_sequence(&bytes), Some(3));
        let other = DataKey::new([8; 16], Zeroizing::new([9; 32]));
        assert_eq!(Anchored::decode(&bytes, &other), None);
    }

    #[test]
    fn an_anchor_names_the_council_and_is_as_before_where_there_is_none() {
        let link_3 = link(3, Head([1; 32]));
        let (without, with) =
            (Anchored::of(&link_3, None), Anchored::of(&link_3, Some(CouncilDigest([5; 32]))));
        let (old, new) = (without.encode(&key()), with.encode(&key()));
        assert_eq!((old.len(), old[8]), (ANCHOR_LEN, 1), "what earlier versions wrote and read");
        assert_eq!((new.len(), new[8]), (ANCHOR_LEN_WITH_COUNCIL, 2));
        assert_eq!(Anchored::decode(&new, &key()), Some(with));
        assert_eq!(Anchored::claimed_sequence(&new), Some(3));
        assert_ne!(with, without);
        assert!(with.is_of(&link_3) && !with.is_of(&link(4, Head([1; 32]))));
    }

    #[test]
    fn state_bitflip_every_bit_of_an_anchor_is_noticed() {
        for council in [None, Some(CouncilDigest([5; 32]))] {
            notices_every_change(&Anchored::of(&link(3, Head([1; 32])), council));
        }
    }

    fn notices_every_change(anchor: &Anchored) {
        let bytes = anchor.encode(&key());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Anchored::decode(&flipped, &key()), None, "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_eq!(Anchored::decode(&bytes[..len], &key()), None, "length {len}");
        }
        assert_eq!(Anchored::decode(&[bytes, vec![0]].concat(), &key()), None);
    }

    #[test]
    fn a_store_at_its_anchor_or_one_batch_ahead_opens() {
        let first = link(3, Head([1; 32]));
        let second = link(4, first.head());
        assert_eq!(judge(&alone(&first), first.set, &Anchored::of(&first, None)), Ok(Opening::Agree));
        assert_eq!(judge(&alone(&second), second.set, &Anchored::of(&first, None)), Ok(Opening::RollForward));
        let third = Link { batch: 4, ..link(5, second.head()) };
        let ahead = end(&third, first.head());
        assert_eq!(judge(&ahead, third.set, &Anchored::of(&first, None)), Ok(Opening::RollForward));
        assert_eq!(judge(&ahead, third.set, &Anchored::of(&third, None)), Ok(Opening::Agree));
    }

    #[test]
    fn state_rollback_older_ahead_and_forked_stores_are_refused() {
        let first = link(3, Head([1; 32]));
        let second = link(4, first.head());
        let third = link(5, second.head());
        let fork = link(4, Head([2; 32]));
        let judge =
            |newest: &Link, anchor: &Link| judge(&alone(newest), newest.set, &Anchored::of(anchor, None));
        assert_eq!(judge(&first, &second), Err(StateError::Older { store: 3, anchor: 4 }));
        assert_eq!(judge(&third, &first), Err(StateError::Ahead { store: 5, anchor: 3 }), "two batches");
        assert_eq!(judge(&fork, &first), Err(StateError::Ahead { store: 4, anchor: 3 }));
        assert_eq!(judge(&fork, &second), Err(StateError::Forked(4)));
    }

    #[test]
    fn state_rollback_an_anchor_in_the_middle_of_a_batch_is_refused() {
        let first = link(3, Head([1; 32]));
        let second = link(4, first.head());
        let third = Link { batch: 4, ..link(5, second.head()) };
        let ahead = end(&third, first.head());
        let refused = Err(StateError::Ahead { store: 5, anchor: 4 });
        assert_eq!(judge(&ahead, third.set, &Anchored::of(&second, None)), refused);
    }

    #[test]
    fn state_swap_records_that_are_not_the_newest_links_are_refused() {
        let first = link(3, Head([1; 32]));
        assert_eq!(
            judge(&alone(&first), SetHash::default(), &Anchored::of(&first, None)),
            Err(StateError::Records)
        );
    }

    #[test]
    fn a_step_that_failed_is_taken_again_or_finished() {
        let first = link(3, Head([1; 32]));
        let (before, after) = (Anchored::of(&first, None), Anchored::of(&link(4, first.head()), None));
        let resume = |found: &[Anchored]| resume(found, &before, &after);
        assert_eq!(resume(&[before]), Ok(Step::Untaken));
        assert_eq!(resume(&[before, before]), Ok(Step::Untaken));
        assert_eq!(resume(&[after]), Ok(Step::Taken));
        assert_eq!(resume(&[before, after]), Ok(Step::Taken));
        assert_eq!(resume(&[after, before, after]), Ok(Step::Taken));
    }

    #[test]
    fn state_rollback_an_anchor_that_no_step_left_is_refused() {
        let first = link(3, Head([1; 32]));
        let (before, after) = (Anchored::of(&first, None), Anchored::of(&link(4, first.head()), None));
        let resume = |found: &[Anchored]| resume(found, &before, &after);
        let (older, fork) =
            (Anchored::of(&link(2, Head([9; 32])), None), Anchored::of(&link(4, Head([2; 32])), None));
        let newer = Anchored::of(&link(5, Head([3; 32])), None);
        assert_eq!(resume(&[]), Err(StateError::AnchorMissing));
        assert_eq!(resume(&[older]), Err(StateError::Ahead { store: 4, anchor: 2 }));
        // Even together with one that a step leaves, because then somebody else writes there.
        assert_eq!(resume(&[before, older]), Err(StateError::Ahead { store: 4, anchor: 2 }));
        assert_eq!(resume(&[after, fork]), Err(StateError::Forked(4)));
        assert_eq!(resume(&[before, newer]), Err(StateError::Older { store: 4, anchor: 5 }));
    }
}
