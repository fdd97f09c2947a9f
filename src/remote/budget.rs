//! The memory that the large frames of all connections may take together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of each frame that do not count. Every connection may have them, and each role may have a thousand
/// connections.
pub const UNCOUNTED: usize = 64 * 1024;

/// The memory for all frames together, beyond [`UNCOUNTED`] bytes each.
pub struct Budget {
    free: AtomicUsize,
    total: usize,
}

impl Budget {
    /// A budget of `total` bytes.
    pub fn new(total: usize) -> Arc<Budget> {
        Arc::new(Budget { free: AtomicUsize::new(total), total })
    }

    /// For a client, which reads only what it asked for.
    pub fn unlimited() -> Arc<Budget> {
        Budget::new(usize::MAX)
    }

    /// The bytes in use now.
    pub fn used(&self) -> usize {
        self.total - self.free.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let less = |free: usize| free.checked_sub(bytes);
        self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

/// The part of a budget that one frame has taken. Dropping returns it.
#[must_use]
pub struct Lease {
    budget: Arc<Budget>,
    taken: usize,
}

impl Lease {
    /// A lease of nothing yet.
    pub fn of(budget: &Arc<Budget>) -> Lease {
        Lease { budget: Arc::clone(budget), taken: 0 }
    }

    /// Takes what a frame of `bytes` needs, if the budget has it.
    pub fn cover(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(UNCOUNTED).saturating_sub(self.taken);
        let has = more == 0 || self.budget.take(more);
        if has {
            self.taken += more;
        }
        has
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.free.fetch_add(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_memory_is_given_back() {
        let budget = Budget::new(1000);
        let mut first = Lease::of(&budget);
        assert!(first.cover(UNCOUNTED) && budget.used() == 0);
        assert!(first.cover(UNCOUNTED + 600) && budget.used() == 600);
        assert!(first.cover(UNCOUNTED + 600) && budget.used() == 600, "once");
        let mut second = Lease::of(&budget);
        assert!(!second.cover(UNCOUNTED + 401) && budget.used() == 600);
        assert!(second.cover(UNCOUNTED + 400) && budget.used() == 1000);
        drop(first);
        assert_eq!(budget.used(), 400);
        drop(second);
        assert_eq!(budget.used(), 0);
    }
}
