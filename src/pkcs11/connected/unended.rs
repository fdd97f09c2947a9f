//! Operations that have ended here, but not yet at the boundary.
//!
//! A call that finds no room on its way fails, and a failed call ends its operation ([`Request::refused`]).
//! The boundary has not seen that call. So the client owes it the end of the operation, and sends the end
//! before the next call of that session.
//!
//! - U1. An owed end goes to the boundary before any other call of its session, except `C_CloseSession`,
//!   which ends everything.
//! - U2. If an end finds no room either, it is still owed, and the call that waited for it fails, too.
//! - U3. Whatever the boundary answers to an end, the operation is over: it ended now, or there was none.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};

use cryptoki_sys::CK_SESSION_HANDLE;

use crate::pkcs11::request::Request;

/// The ends that are owed, by session: at most one for each kind of operation.
#[derive(Default)]
pub(super) struct Unended(HashMap<CK_SESSION_HANDLE, HashMap<Discriminant<Request>, Request>>);

impl Unended {
    /// Records an owed end.
    pub(super) fn owe(&mut self, end: Request) {
        if let Some(session) = end.session() {
            self.0.entry(session).or_default().insert(discriminant(&end), end);
        }
    }

    /// The ends to send before `request`. They are no longer owed: if one cannot be sent, the caller must
    /// record it again.
    pub(super) fn due_before(&mut self, request: &Request) -> Vec<Request> {
        if matches!(request, Request::CloseSession { .. }) {
            return Vec::new();
        }
        let owed = request.session().and_then(|session| self.0.remove(&session));
        owed.map(|ends| ends.into_values().collect()).unwrap_or_default()
    }

    /// Forgets the ends of a session that is closed.
    pub(super) fn closed_by(&mut self, request: &Request) {
        match request {
            Request::CloseSession { session } => drop(self.0.remove(session)),
            Request::CloseAllSessions { .. } => self.0.clear(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pkcs11::request::{Bytes, Room};
    use crate::pkcs11::rv::Rv;

    fn sign(session: CK_SESSION_HANDLE) -> Request {
        Request::Sign { session, data: Ok(Bytes::default()), room: Room::Query }
    }

    fn end_of(request: &Request) -> Request {
        request.refused(Rv(0x31)).expect("it ends an operation")
    }

    #[test]
    fn an_end_is_due_before_the_next_call_of_its_session_and_of_no_other() {
        let mut unended = Unended::default();
        unended.owe(end_of(&sign(1)));
        assert!(unended.due_before(&sign(2)).is_empty());
        assert!(unended.due_before(&Request::SlotList).is_empty());
        let due = unended.due_before(&Request::FindObjectsFinal { session: 1 });
        assert!(matches!(due[..], [Request::SignUpdate { session: 1, part: Err(Rv(0x31)) }]));
        assert!(unended.due_before(&sign(1)).is_empty(), "it is owed once");
    }

    #[test]
    fn each_kind_of_operation_is_ended_and_each_once() {
        let mut unended = Unended::default();
        let verify = Request::VerifyFinal { session: 1, signature: Ok(Bytes::default()) };
        for request in [sign(1), sign(1), verify, Request::VerifySignatureFinal { session: 1 }] {
            unended.owe(end_of(&request));
        }
        assert_eq!(unended.due_before(&sign(1)).len(), 3);
    }

    #[test]
    fn closing_a_session_ends_what_it_owes() {
        let mut unended = Unended::default();
        unended.owe(end_of(&sign(1)));
        unended.owe(end_of(&sign(2)));
        let close = Request::CloseSession { session: 1 };
        assert!(unended.due_before(&close).is_empty(), "closing ends it");
        unended.closed_by(&close);
        assert!(unended.due_before(&sign(1)).is_empty());
        unended.closed_by(&Request::CloseAllSessions { slot: 0 });
        assert!(unended.due_before(&sign(2)).is_empty());
    }
}
