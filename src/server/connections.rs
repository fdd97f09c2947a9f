//! All connections, each from its acceptance to the end of its thread.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use countersign::remote::stream::Closer;
use rustls::pki_types::CertificateDer;

use super::allowed::Peer;

/// All connections.
#[derive(Clone, Default)]
pub(crate) struct Connections(Arc<Table>);

#[derive(Default)]
struct Table {
    state: Mutex<State>,
    fewer: Condvar,
}

#[derive(Default)]
struct State {
    connections: HashMap<u64, Registered>,
    next: u64,
    stopping: bool,
}

struct Registered {
    closer: Closer,
    /// Set once it is known.
    peer: Option<(Peer, Vec<CertificateDer<'static>>)>,
}

/// One connection, until this is dropped.
#[must_use]
pub(crate) struct Entry {
    table: Connections,
    number: u64,
}

impl Connections {
    /// Adds a connection.
    pub(crate) fn enter(&self, closer: Closer) -> Entry {
        let mut state = self.state();
        if state.stopping {
            closer.close_reading();
        }
        let number = state.next;
        state.next += 1;
        state.connections.insert(number, Registered { closer, peer: None });
        Entry { table: self.clone(), number }
    }

    /// Ends the connections of known peers for which `ends` is true, and returns how many.
    pub(crate) fn close_where(&self, ends: impl Fn(&Peer, &[CertificateDer<'static>]) -> bool) -> usize {
        let state = self.state();
        let known = state.connections.values().filter_map(|one| Some((one, one.peer.as_ref()?)));
        known.filter(|(_, (peer, chain))| ends(peer, chain)).map(|(one, _)| one.closer.close()).count()
    }

    /// Stops reading on all connections: calls under way are the last ones.
    pub(crate) fn stop(&self) {
        let mut state = self.state();
        state.stopping = true;
        state.connections.values().for_each(|connection| connection.closer.close_reading());
    }

    /// Ends all connections.
    pub(crate) fn close_all(&self) {
        self.state().connections.values().for_each(|connection| connection.closer.close());
    }

    /// Waits until none is left, at most until `end`, and returns how many are.
    pub(crate) fn wait_for_all(&self, end: Instant) -> usize {
        let mut state = self.state();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if state.connections.is_empty() || left.is_zero() {
                return state.connections.len();
            }
            state = self.0.fewer.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Names its peer.
    pub(crate) fn is(&self, peer: Peer, certificates: Vec<CertificateDer<'static>>) {
        if let Some(connection) = self.table.state().connections.get_mut(&self.number) {
            connection.peer = Some((peer, certificates));
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.table.state().connections.remove(&self.number);
        self.table.0.fewer.notify_all();
    }
}
