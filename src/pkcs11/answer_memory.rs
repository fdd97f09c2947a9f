//! Memory for answers while they are made, when many applications are served.
//!
//! A request of some bytes can have an answer of megabytes. So memory is leased before anything of an answer
//! exists. The request alone determines how much. All backends share one stock, all administrators another,
//! and no peer can take more than its share. A call that finds no memory gets `CKR_DEVICE_MEMORY`: nothing
//! was done, and no code was checked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki_sys::*;

use super::application::{Application, Session};
use super::message_sign::MessageSigning;
use super::object::Finding;
use super::request::{Bytes, MAX_VALUE_LEN, Request, Room, Wanted, bare, max_value_len};
use super::rv::{Answer, Rv};
use super::sign::Signing;
use crate::cores::{self, PeerNumber};
use crate::kernel::psbt::MAX_PSBT_LEN;
use crate::remote::budget::{Budget, Lease};

/// The most memory for all answers that are being made at a time, beyond what each may have.
const MAX_ANSWERS: usize = 64 << 20;
/// The most of it for one peer. The largest possible answer, a signed PSBT, fits.
const MAX_ANSWERS_OF_PEER: usize = MAX_ANSWERS / 2;
/// The encoded length of a found handle.
const FOUND_LEN: usize = 11;
/// The encoded length around each value of an answer.
const AROUND: usize = 16;

/// The memory for all answers of one role.
pub(super) struct AnswerMemory {
    whole: Arc<Budget>,
    shares: Mutex<HashMap<PeerNumber, Arc<Budget>>>,
}

impl Default for AnswerMemory {
    fn default() -> AnswerMemory {
        AnswerMemory { whole: Budget::new(MAX_ANSWERS), shares: Mutex::default() }
    }
}

/// The memory of one answer, counted for its peer and in total.
pub(super) struct MemoryLease {
    _shared: Lease,
    _whole: Lease,
}

impl AnswerMemory {
    fn lease(&self, peer: PeerNumber, len: usize) -> Answer<MemoryLease> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let share = shares.entry(peer).or_insert_with(|| Budget::new(MAX_ANSWERS_OF_PEER));
        let (mut shared, mut whole) = (Lease::of(share), Lease::of(&self.whole));
        if shared.cover(len) && whole.cover(len) {
            Ok(MemoryLease { _shared: shared, _whole: whole })
        } else {
            Err(Rv(CKR_DEVICE_MEMORY))
        }
    }
}

impl Application {
    /// Leases the most memory that the answer to `request` can need. It is returned once the answer is
    /// delivered.
    pub(super) fn lease(&self, request: &Request) -> Answer<MemoryLease> {
        // A session that does not exist holds nothing.
        let held =
            |session, held: Held| self.with_session(session, |session| Ok(held.len(session))).unwrap_or(0);
        self.totals.answers.lease(cores::working_for(), answer_len(request, held))
    }
}

/// What a session holds that goes into an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// Handles that a search has found and not returned yet.
    Found,
    /// Bytes of the signing operation.
    Signing,
    /// Bytes of the message that is being signed.
    Message,
}

impl Held {
    fn len(self, session: &Session) -> usize {
        match self {
            Held::Found => session.finding.as_ref().map_or(0, Finding::left),
            Held::Signing => session.signing.as_ref().map_or(0, Signing::pending),
            Held::Message => session.message_signing.as_ref().map_or(0, MessageSigning::pending),
        }
    }
}

/// The greatest length of the answer. Nothing is made or decided.
fn answer_len(request: &Request, held: impl Fn(CK_SESSION_HANDLE, Held) -> usize) -> usize {
    let len = |answer: &Answer<Bytes>| answer.as_ref().map_or(0, |bytes| bytes.len());
    match request {
        Request::GetAttributeValue { wanted, .. } => wanted.iter().map(shown_len).sum(),
        Request::GenerateRandom { len, .. } => usize::try_from(*len).unwrap_or(usize::MAX),
        Request::FindObjects { session, most } => {
            held(*session, Held::Found).min(usize::try_from(*most).unwrap_or(usize::MAX)) * FOUND_LEN
        }
        Request::Sign { data, room, .. } | Request::SignMessage { data, room, .. } => {
            signed_len(len(data), *room)
        }
        Request::SignFinal { session, room } => signed_len(held(*session, Held::Signing), *room),
        Request::SignMessageNext { session, part, room: Some(room), .. } => {
            signed_len(held(*session, Held::Message) + len(part), *room)
        }
        // These are of a fixed length: some lengths, flags, names and handles.
        bare!()
        | Request::InitToken { .. }
        | Request::InitPin { .. }
        | Request::SetPin { .. }
        | Request::Login { .. }
        | Request::SetAttributeValue { .. }
        | Request::FindObjectsInit { .. }
        | Request::SignInit { .. }
        | Request::SignUpdate { .. }
        | Request::MessageSignInit { .. }
        | Request::SignMessageBegin { .. }
        | Request::SignMessageNext { room: None, .. }
        | Request::VerifyInit { .. }
        | Request::Verify { .. }
        | Request::VerifyUpdate { .. }
        | Request::VerifyFinal { .. }
        | Request::VerifySignatureInit { .. }
        | Request::VerifySignature { .. }
        | Request::VerifySignatureUpdate { .. }
        | Request::VerifySignatureFinal { .. }
        | Request::GenerateKey { .. }
        | Request::GenerateKeyPair { .. }
        | Request::CreateObject { .. }
        | Request::CopyObject { .. } => 0,
    }
}

/// The length of an attribute in an answer. A value is only given if it fits its room, and none is longer
/// than a template's.
fn shown_len(wanted: &Wanted) -> usize {
    AROUND + room_of(wanted.room).min(max_value_len(wanted.kind))
}

/// The same PSBT with signatures added. It fits its room, and is not twice as long.
fn signed_len(data: usize, room: Room) -> usize {
    room_of(room).min(2 * data.min(MAX_PSBT_LEN) + MAX_VALUE_LEN)
}

fn room_of(room: Room) -> usize {
    match room {
        Room::Query => 0,
        Room::Of(room) => usize::try_from(room).unwrap_or(usize::MAX),
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::super::codec::encode;
    use super::super::reply::{Filled, Found, Reply, Shown};
    use super::super::request::{MAX_ATTRIBUTES, MAX_RANDOM_LEN};
    use super::*;
    use crate::remote::budget::UNCOUNTED;

    const MIB: usize = 1 << 20;

    fn bytes(len: usize) -> Bytes {
        Bytes(Zeroizing::new(vec![7; len]))
    }

    fn wants(count: usize, room: u64) -> Request {
        let wanted = (0..count as u64).map(|kind| Wanted { kind, room: Room::Of(room) }).collect();
        Request::GetAttributeValue { session: 1, object: 1, wanted }
    }

    /// Every request whose answer can be larger than the request, at its largest, with the largest answer.
    fn largest() -> Vec<(Request, Reply)> {
        let room = Room::Of(u64::MAX);
        let signed = |len| Reply::Signed(Filled::Bytes(bytes(len)));
        let value = || Ok(Shown::Value(bytes(MAX_VALUE_LEN)));
        vec![
            (
                wants(MAX_ATTRIBUTES, u64::MAX),
                Reply::Attributes((0..MAX_ATTRIBUTES).map(|_| value()).collect()),
            ),
            (
                Request::GenerateRandom { session: 1, len: MAX_RANDOM_LEN },
                Reply::Random(bytes(MAX_RANDOM_LEN as usize)),
            ),
            (
                Request::FindObjects { session: 1, most: CK_ULONG::MAX },
                Reply::Found(vec![Found { handle: CK_OBJECT_HANDLE::MAX, signs: true }; MIB]),
            ),
            (Request::SignFinal { session: 1, room }, signed(MAX_PSBT_LEN * 3 / 2)),
            (Request::Sign { session: 1, data: Ok(bytes(MIB)), room }, signed(MIB * 3 / 2)),
            (
                Request::SignMessageNext {
                    session: 1,
                    parameter: Ok(bytes(0)),
                    part: Ok(bytes(0)),
                    room: Some(room),
                },
                signed(MAX_PSBT_LEN * 3 / 2),
            ),
        ]
    }

    fn held(_session: CK_SESSION_HANDLE, held: Held) -> usize {
        if held == Held::Found { MIB } else { MAX_PSBT_LEN }
    }

    #[test]
    fn an_answer_is_never_longer_than_the_room_that_was_leased_for_it() {
        for (request, reply) in largest() {
            let len = encode(&Answer::Ok(reply)).expect("it is encoded").len();
            let leased = answer_len(&request, held);
            assert!(len <= leased + UNCOUNTED, "{len} bytes in {leased}");
        }
    }

    /// As many calls as can run at a time, each of the kind that needs the most.
    #[test]
    fn all_answers_together_have_a_bound_whatever_is_asked_for_and_by_whom() {
        for (request, _) in largest() {
            let (room, len) = (AnswerMemory::default(), answer_len(&request, held));
            let leased: Vec<MemoryLease> = (0..64).filter_map(|peer| room.lease(peer, len).ok()).collect();
            assert!(room.whole.used() <= MAX_ANSWERS && !leased.is_empty(), "{len}: {}", room.whole.used());
            assert!(leased.len() * len <= MAX_ANSWERS + leased.len() * UNCOUNTED, "{len}");
            if len > 2 * MIB {
                assert!(leased.len() < 64, "{len}: some are told to come again");
            }
            drop(leased);
            assert_eq!(room.whole.used(), 0);
        }
    }

    #[test]
    fn a_peer_that_asks_for_the_largest_answers_at_once_leaves_room_for_the_largest_of_another() {
        for (request, _) in largest() {
            let (room, len) = (AnswerMemory::default(), answer_len(&request, held));
            let of_one: Vec<MemoryLease> = (0..64).filter_map(|_| room.lease(1, len).ok()).collect();
            assert!(!of_one.is_empty());
            assert!(room.lease(2, len).is_ok(), "{len}");
            assert!(room.lease(1, UNCOUNTED).is_ok(), "small answers are always given");
            drop(of_one);
            assert!(room.lease(1, len).is_ok(), "what was taken is given back");
        }
    }

    #[test]
    fn length_queries_and_short_buffers_lease_no_memory() {
        let nothing = |_, _| 0;
        let query = |count| {
            let wanted = vec![Wanted { kind: CKA_LABEL, room: Room::Query }; count];
            Request::GetAttributeValue { session: 1, object: 1, wanted }
        };
        for request in [
            query(MAX_ATTRIBUTES),
            wants(MAX_ATTRIBUTES, 100),
            Request::Sign { session: 1, data: Ok(bytes(MAX_PSBT_LEN)), room: Room::Query },
            Request::SignFinal { session: 1, room: Room::Of(64) },
            Request::SlotList,
        ] {
            assert!(answer_len(&request, nothing) <= UNCOUNTED);
        }
    }
}
