//! Makes the allocator return free memory.

#![allow(unsafe_code)]

use libc::{M_ARENA_MAX, M_MMAP_THRESHOLD, c_int, mallopt};

/// Larger blocks get mappings of their own, which go back to the system when they are freed.
const MAPPED: c_int = 256 * 1024;
/// The number of heaps. The default is up to eight for each processor, and each heap keeps the memory that a
/// PSBT or a PIN of some thread once needed.
const HEAPS: c_int = 4;

/// Makes the allocator return memory. If it refuses a setting, it works as usual.
pub(super) fn give_back() {
    for (option, value) in [(M_MMAP_THRESHOLD, MAPPED), (M_ARENA_MAX, HEAPS)] {
        // SAFETY: the function takes two numbers, and only one thread runs yet.
        unsafe { mallopt(option, value) };
    }
}
