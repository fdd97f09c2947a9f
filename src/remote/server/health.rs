//! What keeps a server that runs from serving, and is found out by nobody else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::kernel::act::ActCount;
use crate::remote::Boundary;

/// Whether the server serves.
pub struct Health {
    boundary: Arc<dyn Boundary>,
    door_lost: AtomicBool,
}

/// What keeps it from serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Nothing that needs the store is answered.
    #[error("the store is closed after a failed write: restart the boundary")]
    StoreClosed,
    /// Nobody comes in there any more.
    #[error("a door is closed after an internal error: restart the boundary")]
    DoorLost,
}

impl Health {
    pub(super) fn new(boundary: Arc<dyn Boundary>) -> Health {
        Health { boundary, door_lost: AtomicBool::new(false) }
    }

    /// What keeps it from serving now.
    pub fn problem(&self) -> Option<Problem> {
        if self.store_closed() {
            return Some(Problem::StoreClosed);
        }
        self.door_lost.load(Ordering::Relaxed).then_some(Problem::DoorLost)
    }

    pub(super) fn store_closed(&self) -> bool {
        !self.boundary.healthy()
    }

    pub(super) fn administration(&self) -> Vec<ActCount> {
        self.boundary.administration()
    }

    /// Does the work of a door, and notes if it ends by a panic.
    pub(super) fn of_door(&self, name: &str, work: impl FnOnce()) {
        // Nothing that it left behind is used again.
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            self.door_lost.store(true, Ordering::Relaxed);
            tracing::error!("the door {name} is closed after an internal error: restart the boundary");
        }
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::remote::{CkRv, PeerRole};

    struct Well;

    impl Boundary for Well {
        fn open(&self, _first_handle: u64, _role: PeerRole, _identity: &str) -> Result<u64, CkRv> {
            Ok(1)
        }

        fn call(&self, _application: u64, request: &[u8]) -> Result<Zeroizing<Vec<u8>>, CkRv> {
            Ok(Zeroizing::new(request.to_vec()))
        }

        fn close(&self, _application: u64) {}

        fn healthy(&self) -> bool {
            true
        }
    }

    #[test]
    fn a_door_that_panics_is_noticed() {
        let health = Health::new(Arc::new(Well));
        health.of_door("backend", || {});
        assert_eq!(health.problem(), None, "it was told to close");
        health.of_door("backend", || panic!("as it was asked"));
        assert_eq!(health.problem(), Some(Problem::DoorLost));
    }
}
