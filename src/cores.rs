//! The cores of this machine, shared by the peers whose calls the engine answers.
//!
//! A call has a core while it computes, and none while it waits for the disk or the backing token. Commits of
//! many callers share one sync, and none of them should have to wait for a core to join it. Calls of an
//! application in this process have no peer, and take what the system gives them.

use std::cell::Cell;
use std::sync::{LockResult, Mutex, MutexGuard, OnceLock, TryLockError};

use crate::remote::fair::{Fair, Place};

/// A peer, by a number of this process. 0 is nobody.
pub(crate) type PeerNumber = u64;

static CORES: OnceLock<Fair<PeerNumber>> = OnceLock::new();

thread_local! {
    /// The peer for which this thread has a core.
    static WORKING_FOR: Cell<PeerNumber> = const { Cell::new(0) };
}

fn cores() -> &'static Fair<PeerNumber> {
    CORES.get_or_init(|| Fair::new(std::thread::available_parallelism().map_or(1, usize::from)))
}

/// Does the work of a call for `peer`, as soon as there is a core for it.
pub(crate) fn work<T>(peer: PeerNumber, work: impl FnOnce() -> T) -> T {
    let _core = Core::taken(cores().enter(&peer, None), peer);
    work()
}

/// The peer whose call this thread computes, or 0.
pub(crate) fn working_for() -> PeerNumber {
    WORKING_FOR.get()
}

/// Waits without a core, if this thread has one. The core is taken back at once, because others may wait for
/// this thread.
pub(crate) fn wait<T>(waiting: impl FnOnce() -> T) -> T {
    let peer = WORKING_FOR.replace(0);
    if peer == 0 {
        return waiting();
    }
    // The core of `work`, which returns it when dropped. Until then it is only lent.
    let _aside = Aside::of(peer);
    waiting()
}

/// A core, while a call computes.
struct Core<'a>(Option<Place<'a, PeerNumber>>);

impl<'a> Core<'a> {
    fn taken(place: Option<Place<'a, PeerNumber>>, peer: PeerNumber) -> Core<'a> {
        WORKING_FOR.set(peer);
        Core(place)
    }
}

impl Drop for Core<'_> {
    fn drop(&mut self) {
        WORKING_FOR.set(0);
        drop(self.0.take());
    }
}

/// A core that is lent to others for a while.
struct Aside(PeerNumber);

impl Aside {
    fn of(peer: PeerNumber) -> Aside {
        cores().lend(&peer);
        Aside(peer)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        cores().take_back(&self.0);
        WORKING_FOR.set(self.0);
    }
}

/// Locks. If it must wait, it has no core meanwhile.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> LockResult<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Ok(guard),
        Err(TryLockError::Poisoned(poisoned)) => Err(poisoned),
        Err(TryLockError::WouldBlock) => wait(|| mutex.lock()),
    }
}

/// The number of cores that a peer has now.
#[cfg(test)]
pub(crate) fn taken_by(peer: PeerNumber) -> usize {
    cores().taken_by(&peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_call_has_no_core_and_gets_one_again_afterwards() {
        let peer = u64::MAX;
        assert_eq!(wait(|| cores().taken_by(&peer)), 0, "nobody's call");
        work(peer, || {
            assert_eq!(cores().taken_by(&peer), 1);
            wait(|| {
                assert_eq!(cores().taken_by(&peer), 0);
                wait(|| assert_eq!(cores().taken_by(&peer), 0));
            });
            assert_eq!(cores().taken_by(&peer), 1);
            let panicked = std::panic::catch_unwind(|| wait(|| panic!("in a commit")));
            assert!(panicked.is_err());
            assert_eq!(cores().taken_by(&peer), 1);
        });
        assert_eq!(cores().taken_by(&peer), 0);
    }
}
