//! Memory that detects misuse: each piece ends or begins at a page that nobody may touch, and its content is
//! remembered.
//!
//! The system ends the process at the instruction that reads or writes past the hard end. Past the soft end
//! are bytes that must not change.

use core::ptr;
use core::slice;
use std::sync::OnceLock;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};

/// The most pieces of one call.
const PIECES: usize = 48;
/// Bytes of a piece, and of the gap after it: a multiple of every system's page.
const PAGE: usize = 1 << 16;
/// Bytes next to the soft end that are checked.
const FENCE: usize = 64;
/// The value of these bytes.
const FENCE_BYTE: u8 = 0xc5;
/// The value that fills a buffer before a call.
const FILLING: u8 = 0xa7;

/// The memory of one call's arguments.
pub(crate) struct Memory {
    /// The first usable byte of each piece.
    pieces: Vec<*mut u8>,
    used: usize,
    /// The original content of the pieces.
    copies: Vec<u8>,
}

/// An argument: a piece's bytes, at its hard end.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) start: *mut u8,
    pub(crate) len: usize,
    fence: *mut u8,
    copy: usize,
}

/// The longest argument that fits.
pub(crate) fn longest() -> usize {
    PAGE - FENCE
}

/// Zero bytes, more than any bound of the module. Nobody may write them.
pub(crate) fn zeros(len: usize) -> *mut u8 {
    const MOST: usize = 20 << 20;
    static ZEROS: OnceLock<usize> = OnceLock::new();
    assert!(len <= MOST, "{len} zero bytes");
    // SAFETY: a new mapping, at a place that the system chooses.
    let map = || unsafe { mmap_anonymous(ptr::null_mut(), MOST, ProtFlags::READ, MapFlags::PRIVATE) };
    *ZEROS.get_or_init(|| map().expect("the system has address space").expose_provenance()) as *mut u8
}

impl Memory {
    pub(crate) fn new() -> Memory {
        let piece = 2 * PAGE;
        let whole = PAGE + PIECES * piece;
        // SAFETY: a new mapping, at a place that the system chooses.
        let first = unsafe {
            mmap_anonymous(ptr::null_mut(), whole, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        }
        .expect("the system has memory")
        .cast::<u8>();
        for number in 0..=PIECES {
            // SAFETY: within the mapping, which is never unmapped.
            unsafe {
                mprotect(first.add(number * piece).cast(), PAGE, MprotectFlags::empty())
                    .expect("the mapping is ours");
            }
        }
        // SAFETY: as above.
        let pieces = (0..PIECES).map(|number| unsafe { first.add(number * piece + PAGE) }).collect();
        Memory { pieces, used: 0, copies: Vec::new() }
    }

    /// Frees all pieces.
    pub(crate) fn clear(&mut self) {
        self.used = 0;
        self.copies.clear();
    }

    /// Whether so many more pieces are free.
    pub(crate) fn has(&self, pieces: usize) -> bool {
        self.used + pieces <= PIECES
    }

    /// A buffer of so many bytes.
    pub(crate) fn buffer(&mut self, len: usize, is_at_end: bool) -> Place {
        self.take(len, is_at_end, |place| place.fill(FILLING))
    }

    /// A piece with these bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8], is_at_end: bool) -> Place {
        self.take(bytes.len(), is_at_end, |place| place.copy_from_slice(bytes))
    }

    /// A piece with this value.
    pub(crate) fn value<T: Copy>(&mut self, value: T) -> Place {
        self.values(&[value])
    }

    /// A piece with these values.
    pub(crate) fn values<T: Copy>(&mut self, values: &[T]) -> Place {
        let len = size_of_val(values);
        // SAFETY: the types of PKCS#11 are plain, and padding was written when the value was zeroed or has none.
        let bytes = unsafe { slice::from_raw_parts(values.as_ptr().cast::<u8>(), len) };
        // At the end of a page a value is aligned, because its size is a multiple of its alignment.
        self.bytes(bytes, true)
    }

    fn take(&mut self, len: usize, is_at_end: bool, put: impl FnOnce(&mut [u8])) -> Place {
        assert!(len <= longest() && self.has(1), "no room for an argument of {len} bytes");
        let first = self.pieces[self.used];
        self.used += 1;
        // SAFETY: within the piece, which has room for `len` and the fence.
        let (start, fence) = unsafe {
            match is_at_end {
                true => (first.add(PAGE - len), first.add(PAGE - len - FENCE)),
                false => (first, first.add(len)),
            }
        };
        // SAFETY: as above; nothing else uses the piece, and the reference ends here.
        put(unsafe { slice::from_raw_parts_mut(start, len) });
        // SAFETY: as above.
        unsafe { fence.write_bytes(FENCE_BYTE, FENCE) };
        let place = Place { start, len, fence, copy: self.copies.len() };
        self.copies.extend_from_slice(place.now());
        place
    }

    /// The first changed byte from `from` on.
    pub(crate) fn first_change(&self, place: Place, from: usize) -> Option<usize> {
        let was = &self.copies[place.copy..][..place.len];
        let from = from.min(place.len);
        let (now, was) = (&place.now()[from..], &was[from..]);
        (now != was).then(|| from + now.iter().zip(was).position(|(now, was)| now != was).unwrap_or_default())
    }
}

impl Place {
    /// The present bytes. The call is over, so the module no longer uses them.
    pub(crate) fn now<'a>(self) -> &'a [u8] {
        // SAFETY: within a piece, which is never unmapped, and nobody writes it before the next call.
        unsafe { slice::from_raw_parts(self.start, self.len) }
    }

    /// Whether the soft end is unchanged.
    pub(crate) fn is_fenced(self) -> bool {
        // SAFETY: as above.
        unsafe { slice::from_raw_parts(self.fence, FENCE) }.iter().all(|byte| *byte == FENCE_BYTE)
    }

    /// The content as a value.
    pub(crate) fn read<T: Copy>(self) -> T {
        self.read_at(0)
    }

    /// The content as the value at `index` of several.
    pub(crate) fn read_at<T: Copy>(self, index: usize) -> T {
        assert!((index + 1) * size_of::<T>() <= self.len, "a value past the end of its place");
        // SAFETY: within the place, written as a value of this type, and aligned, see `Memory::values`.
        unsafe { self.start.cast::<T>().add(index).read_unaligned() }
    }
}
