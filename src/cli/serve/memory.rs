//! How the allocator treats memory that is free again.

#![allow(unsafe_code)]

use libc::{M_ARENA_MAX, M_MMAP_THRESHOLD, c_int, mallopt};

/// Larger blocks are mapped one by one, and go back to the system when they are free.
const MAPPED: c_int = 256 * 1024;
/// Heaps beside each other. By default there are as many as eight for each processor, and each keeps what a PSBT or a PIN of
/// some thread once took.
const HEAPS: c_int = 4;

/// Has the allocator give memory back. What it refuses it does as ever.
pub(super) fn give_back() {
    for (option, value) in [(M_MMAP_THRESHOLD, MAPPED), (M_ARENA_MAX, HEAPS)] {
        // SAFETY: it takes two numbers, and only one thread runs yet.
        unsafe { mallopt(option, value) };
    }
}
