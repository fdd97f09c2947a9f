//! Frames: a length in four bytes, little-endian, then that many bytes of payload.
//!
//! - F1. The reader refuses a length of zero, and a length over the maximum before it allocates anything.
//! - F2. A buffer grows as bytes arrive, at most to twice what has arrived, and large buffers take their part of a [`Budget`]. If
//!   the budget is used up, the reader reads the frame to its end and drops it.
//! - F3. Dropping a payload wipes it. A buffer that is outgrown is wiped, too: payloads hold PINs, codes and PSBTs.
//! - F4. A typical frame takes one read and one write, header included.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use zeroize::{Zeroizing, optimization_barrier};

use super::budget::{Budget, Lease};

/// Bytes of the length before a payload.
pub const HEADER: usize = 4;
/// Bytes of the reader's buffer. A frame that fits is not copied.
const BUFFER: usize = 8 * 1024;
/// First size of the buffer of a longer frame.
const FIRST: usize = 64 * 1024;

/// Writes one frame, whose payload is `parts` one after the other.
pub fn write_frame(sink: &mut impl Write, parts: [&[u8]; 2]) -> io::Result<()> {
    let length = u32::try_from(parts[0].len() + parts[1].len()).map_err(|_| {
        io::Error::new(ErrorKind::InvalidInput, "a payload of 4 GiB does not fit into a frame")
    })?;
    let header = length.to_le_bytes();
    let mut slices = [IoSlice::new(&header), IoSlice::new(parts[0]), IoSlice::new(parts[1])];
    let mut slices = &mut slices[..];
    while !slices.is_empty() {
        match sink.write_vectored(slices) {
            Ok(0) if slices.iter().all(|slice| slice.is_empty()) => break,
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The result of a read.
pub enum Received<'a> {
    /// A frame.
    Frame(Frame<'a>),
    /// A frame that the budget had no room for. It was read to its end and dropped.
    NoRoom,
    /// The end, between two frames.
    End,
}

/// One frame.
pub struct Frame<'a> {
    /// Its payload.
    pub payload: Payload<'a>,
    /// Its part of the budget.
    pub lease: Lease,
}

/// The bytes of one frame, wiped on drop.
pub enum Payload<'a> {
    /// In the reader's buffer.
    Short(&'a mut [u8]),
    /// In a buffer of its own.
    Long(Wiped),
}

/// Bytes that are wiped on drop, all at once. `Zeroizing` writes them one by one, which would take longer than a call.
pub struct Wiped(Vec<u8>);

impl Wiped {
    fn of(length: usize) -> Wiped {
        Wiped(vec![0; length])
    }
}

impl From<Zeroizing<Vec<u8>>> for Wiped {
    fn from(mut bytes: Zeroizing<Vec<u8>>) -> Wiped {
        Wiped(std::mem::take(&mut *bytes))
    }
}

impl Deref for Wiped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Wiped {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        // Reserved bytes may have been in use before.
        self.0.resize(self.0.capacity(), 0);
        wipe(&mut self.0);
    }
}

fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    optimization_barrier(bytes);
}

impl Deref for Payload<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Payload::Short(bytes) => bytes,
            Payload::Long(bytes) => bytes,
        }
    }
}

impl Drop for Payload<'_> {
    fn drop(&mut self) {
        if let Payload::Short(bytes) = self {
            wipe(bytes);
        }
    }
}

/// Reads frames, one after the other.
pub struct FrameReader {
    buffer: Wiped,
    start: usize,
    end: usize,
}

impl Default for FrameReader {
    fn default() -> FrameReader {
        FrameReader { buffer: Wiped::of(BUFFER), start: 0, end: 0 }
    }
}

impl FrameReader {
    /// Reads the next frame, of at most `maximum` bytes.
    ///
    /// After [`FrameError::Idle`] reading may go on. After any other error nothing can be read.
    pub fn read(
        &mut self,
        source: &mut impl Read,
        maximum: u32,
        budget: &Arc<Budget>,
    ) -> Result<Received<'_>, FrameError> {
        if !self.fill(source, HEADER)? {
            return Ok(Received::End);
        }
        let mut header = [0; HEADER];
        header.copy_from_slice(&self.buffer[self.start..self.start + HEADER]);
        let length = u32::from_le_bytes(header);
        if length > maximum {
            return Err(FrameError::TooLong { length, maximum });
        }
        if length == 0 {
            return Err(FrameError::Empty);
        }
        let length = length as usize;
        if HEADER + length > BUFFER {
            self.start += HEADER;
            return self.read_long(source, length, Lease::of(budget));
        }
        self.fill(source, HEADER + length)?;
        let payload = self.start + HEADER..self.start + HEADER + length;
        self.start = payload.end;
        let payload = Payload::Short(&mut self.buffer[payload]);
        Ok(Received::Frame(Frame { payload, lease: Lease::of(budget) }))
    }

    /// Reads until the buffer has `wanted` bytes from `start` on. False: the source ended before the first of them.
    fn fill(&mut self, source: &mut impl Read, wanted: usize) -> Result<bool, FrameError> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.start + wanted > BUFFER {
            self.buffer.copy_within(self.start..self.end, 0);
            let kept = self.end - self.start;
            wipe(&mut self.buffer[kept..self.end]);
            (self.start, self.end) = (0, kept);
        }
        while self.end - self.start < wanted {
            let begun = self.end > self.start;
            match read(source, &mut self.buffer[self.end..], begun)? {
                0 if begun => return Err(FrameError::Cut),
                0 => return Ok(false),
                more => self.end += more,
            }
        }
        Ok(true)
    }

    fn read_long(
        &mut self,
        source: &mut impl Read,
        length: usize,
        mut lease: Lease,
    ) -> Result<Received<'_>, FrameError> {
        let mut payload = Wiped::of(length.min(FIRST));
        let mut filled = (self.end - self.start).min(length);
        payload[..filled].copy_from_slice(&self.buffer[self.start..self.start + filled]);
        wipe(&mut self.buffer[self.start..self.start + filled]);
        self.start += filled;
        while filled < length {
            if filled == payload.len() {
                let larger = length.min(2 * payload.len());
                if !lease.cover(larger) {
                    drop(payload);
                    return self.drain(source, length - filled);
                }
                // A growing `Vec` would not wipe what it leaves.
                let mut next = Wiped::of(larger);
                next[..filled].copy_from_slice(&payload);
                payload = next;
            }
            match read(source, &mut payload[filled..], true)? {
                0 => return Err(FrameError::Cut),
                more => filled += more,
            }
        }
        Ok(Received::Frame(Frame { payload: Payload::Long(payload), lease }))
    }

    /// Reads the rest of a frame without keeping it. The buffer is empty here.
    fn drain(&mut self, source: &mut impl Read, mut left: usize) -> Result<Received<'_>, FrameError> {
        while left > 0 {
            let most = left.min(BUFFER);
            match read(source, &mut self.buffer[..most], true)? {
                0 => return Err(FrameError::Cut),
                more => left -= more,
            }
        }
        wipe(&mut self.buffer);
        Ok(Received::NoRoom)
    }
}

fn read(source: &mut impl Read, into: &mut [u8], begun: bool) -> Result<usize, FrameError> {
    loop {
        match source.read(into) {
            Ok(bytes) => return Ok(bytes),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && !begun => return Err(FrameError::Idle),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(FrameError::Slow);
            }
            Err(error) => return Err(FrameError::Io(error)),
        }
    }
}

/// The reason why there is no frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// No frame began in time.
    #[error("the peer was silent for too long")]
    Idle,
    /// A frame began and did not end in time.
    #[error("the peer did not send a whole frame in time")]
    Slow,
    /// The connection ended within a frame.
    #[error("the connection ended within a frame")]
    Cut,
    /// An empty frame.
    #[error("the peer sent an empty frame")]
    Empty,
    /// A frame over the maximum.
    #[error("the peer sent a frame of {length} bytes; at most {maximum} are allowed")]
    TooLong {
        /// The length in its header.
        length: u32,
        /// The longest allowed.
        maximum: u32,
    },
    /// The connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

#[cfg(test)]
mod tests {
    use super::super::budget::UNCOUNTED;
    use super::*;

    const MAXIMUM: u32 = 1 << 20;

    fn framed(payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, [payload, &[]]).expect("a vector takes it");
        bytes
    }

    /// Returns at most `step` bytes at a time, and counts the reads.
    struct Slowly<'a> {
        bytes: &'a [u8],
        step: usize,
        reads: usize,
    }

    impl Read for Slowly<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.reads += 1;
            let most = self.step.min(into.len());
            self.bytes.by_ref().take(most as u64).read(&mut into[..most])
        }
    }

    /// All payloads in `bytes`, and the error that ends them.
    fn payloads(bytes: &[u8], step: usize, budget: usize) -> (Vec<Option<Vec<u8>>>, Option<FrameError>) {
        let budget = Budget::new(budget);
        let mut source = Slowly { bytes, step, reads: 0 };
        let mut reader = FrameReader::default();
        let mut all = Vec::new();
        let why = loop {
            match reader.read(&mut source, MAXIMUM, &budget) {
                Ok(Received::Frame(frame)) => all.push(Some(frame.payload.to_vec())),
                Ok(Received::NoRoom) => all.push(None),
                Ok(Received::End) => break None,
                Err(error) => break Some(error),
            }
        };
        assert_eq!(budget.used(), 0, "all is given back");
        (all, why)
    }

    fn some(length: usize) -> Vec<u8> {
        (0..length).map(|place| (place * 7 + length) as u8).collect()
    }

    #[test]
    fn the_layout_is_fixed() {
        assert_eq!(framed(b"abc"), b"\x03\x00\x00\x00abc");
        let mut bytes = Vec::new();
        write_frame(&mut bytes, [b"\x07", b"xy"]).expect("a vector takes it");
        assert_eq!(bytes, b"\x03\x00\x00\x00\x07xy");
    }

    #[test]
    fn frames_of_every_length_arrive_as_written_however_they_are_cut_up() {
        let lengths =
            [1, 2, 100, BUFFER - HEADER - 1, BUFFER - HEADER, BUFFER - HEADER + 1, BUFFER, FIRST, FIRST + 1];
        let mut all: Vec<Vec<u8>> = lengths.iter().map(|length| some(*length)).collect();
        all.extend(lengths.iter().rev().map(|length| some(*length)));
        all.push(some(MAXIMUM as usize));
        let bytes: Vec<u8> = all.iter().flat_map(|payload| framed(payload)).collect();
        let wanted: Vec<Option<Vec<u8>>> = all.into_iter().map(Some).collect();
        for step in [1, 3, 1000, BUFFER, usize::MAX] {
            let (came, why) = payloads(&bytes, step, usize::MAX);
            assert!(came == wanted && why.is_none(), "{step}: {why:?}");
        }
    }

    #[test]
    fn a_typical_frame_is_one_read() {
        let bytes = [framed(&some(4000)), framed(&some(4000))].concat();
        let mut source = Slowly { bytes: &bytes, step: 4004, reads: 0 };
        let mut reader = FrameReader::default();
        for reads in [1, 2] {
            let frame = reader.read(&mut source, MAXIMUM, &Budget::unlimited()).expect("a frame");
            assert!(matches!(frame, Received::Frame(_)));
            drop(frame);
            assert_eq!(source.reads, reads);
        }
    }

    #[test]
    fn a_frame_that_is_cut_off_is_not_mistaken_for_the_end() {
        for length in [1, 50, BUFFER, FIRST + 5] {
            let whole = framed(&some(length));
            for cut in [1, 2, 3, 4, 5, whole.len() / 2, whole.len() - 1] {
                let (came, why) = payloads(&whole[..cut.min(whole.len() - 1)], 4096, usize::MAX);
                assert!(came.is_empty() && matches!(why, Some(FrameError::Cut)), "{length}, {cut}: {why:?}");
            }
        }
        assert!(matches!(payloads(&[], 1, 0), (came, None) if came.is_empty()));
    }

    #[test]
    fn a_length_of_nothing_or_over_the_maximum_is_refused_before_anything_is_read() {
        let (came, why) = payloads(&[0, 0, 0, 0, 1], 5, 0);
        assert!(came.is_empty() && matches!(why, Some(FrameError::Empty)));
        for length in [MAXIMUM + 1, u32::MAX] {
            let header = length.to_le_bytes();
            let mut source = Slowly { bytes: &header, step: 4, reads: 0 };
            let mut reader = FrameReader::default();
            let why = reader.read(&mut source, MAXIMUM, &Budget::unlimited()).err();
            assert!(matches!(why, Some(FrameError::TooLong { length: told, .. }) if told == length));
            assert_eq!(source.reads, 1);
        }
    }

    #[test]
    fn a_claim_alone_takes_nothing_of_the_budget() {
        let budget = Budget::new(usize::MAX);
        struct Claim<'a>(&'a [u8], &'a Budget, usize);
        impl Read for Claim<'_> {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                self.2 = self.2.max(self.1.used());
                assert!(into.len() <= 2 * UNCOUNTED, "no buffer for what is only claimed");
                self.0.read(into)
            }
        }
        let bytes = [&MAXIMUM.to_le_bytes()[..], &some(UNCOUNTED)].concat();
        let mut source = Claim(&bytes, &budget, 0);
        let why = FrameReader::default().read(&mut source, MAXIMUM, &budget).err();
        assert!(matches!(why, Some(FrameError::Cut)));
        assert_eq!((source.2, budget.used()), (UNCOUNTED, 0), "as much again as has come");
    }

    #[test]
    fn a_frame_without_budget_is_passed_over_and_the_next_one_comes() {
        let long = some(2 * UNCOUNTED);
        let bytes = [framed(b"a"), framed(&long), framed(b"b")].concat();
        for step in [100, 4096, usize::MAX] {
            let (came, why) = payloads(&bytes, step, UNCOUNTED - 1);
            assert!(why.is_none());
            assert_eq!(came, [Some(b"a".to_vec()), None, Some(b"b".to_vec())]);
            let (came, _) = payloads(&bytes, step, UNCOUNTED);
            assert_eq!(came[1].as_ref(), Some(&long));
        }
    }

    #[test]
    fn bytes_that_were_read_are_wiped() {
        let bytes = [framed(b"a secret"), framed(b"another"), framed(&[7; BUFFER])].concat();
        for step in [5, 20, usize::MAX] {
            let mut source = Slowly { bytes: &bytes, step, reads: 0 };
            let mut reader = FrameReader::default();
            for _ in 0..3 {
                assert!(reader.read(&mut source, MAXIMUM, &Budget::unlimited()).is_ok());
            }
            // Only lengths are left.
            let left: Vec<u8> = reader.buffer.iter().copied().filter(|byte| *byte != 0).collect();
            assert!(left.iter().all(|byte| *byte == 8 || *byte == 7 || *byte == 0x20), "{step}: {left:?}");
            assert!(left.len() <= 3 * HEADER, "{step}: {left:?}");
        }
    }

    #[test]
    fn waiting_for_a_frame_is_not_waiting_within_one() {
        struct Once(Option<u8>);
        impl Read for Once {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                let byte = self.0.take().ok_or(ErrorKind::WouldBlock)?;
                into[0] = byte;
                Ok(1)
            }
        }
        let mut reader = FrameReader::default();
        let mut read = |byte| reader.read(&mut Once(byte), MAXIMUM, &Budget::unlimited()).err();
        assert!(matches!(read(None), Some(FrameError::Idle)));
        assert!(matches!(read(Some(1)), Some(FrameError::Slow)));
    }
}
