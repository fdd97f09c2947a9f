//! What must not grow, whatever is called: files, threads and memory, of this process and of the one that
//! serves it.

use std::fmt;
use std::fs;

use cryptoki_sys::CKR_OK;

use harness::module::Boundary;
use harness::module::raw::Raw;
use harness::open_descriptors;

/// Bytes of the heap that may be in use above the first measurement while no session is open: users, wallets,
/// answers that may be repeated, and SQLite's pages.
const MORE_OPEN: usize = 4 << 20;
/// The same while the module is finalised: memory that the allocator keeps for a thread counts as in use.
const MORE_CLOSED: usize = 384 << 10;
/// Kilobytes of resident memory above the first measurement: a thread that stretched a PIN does not return
/// its memory at once.
const MORE_RESIDENT: u64 = 192 << 10;
/// Files and threads of the serving process: a connection that has ended may not be cleaned up yet.
const MORE_SERVING: usize = 8;

/// One process.
#[derive(Debug)]
struct Process {
    files: usize,
    threads: usize,
    /// Kilobytes.
    resident: u64,
}

/// One measurement.
#[derive(Debug)]
pub(crate) struct Measure {
    /// Bytes of the heap in use, in this process, while no session is open.
    open: usize,
    /// The same while the module is finalised.
    closed: usize,
    this: Process,
    served_by: Option<Process>,
}

impl Process {
    fn look(process: &str) -> Process {
        let threads = fs::read_dir(format!("/proc/{process}/task")).expect("Linux tells of a process");
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("Linux tells of a process");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix(" kB"));
        Process {
            files: open_descriptors(process).len(),
            threads: threads.count(),
            resident: resident.expect("it has memory").trim().parse().expect("a number"),
        }
    }
}

/// All allocated memory. The C library puts the memory for stretching a PIN into a mapping of its own or into
/// the heap, depending on what was freed before.
fn heap() -> usize {
    // SAFETY: the function has no argument, and only counts.
    let counted = unsafe { libc::mallinfo2() };
    counted.uordblks + counted.hblkhd
}

impl Measure {
    /// Measures while no session is open, finalises, measures again, and initialises. Concurrent calls each
    /// had a connection.
    pub(crate) fn take(boundary: &Boundary, raw: &Raw) -> Measure {
        let open = heap();
        assert_eq!(raw.finalize(), CKR_OK);
        let closed = heap();
        assert_eq!(raw.initialize(), CKR_OK);
        let served_by = boundary.served_by().map(|process| Process::look(&process.to_string()));
        Measure { open, closed, this: Process::look("self"), served_by }
    }

    /// Compares each with the first, which was taken when everything needed for work was there.
    pub(crate) fn check(measures: &[Measure]) {
        let Some((first, later)) = measures.split_first() else { return };
        for now in later {
            assert!(now.open <= first.open + MORE_OPEN, "memory is kept: {first}, then {now}");
            assert!(now.closed <= first.closed + MORE_CLOSED, "memory leaks: {first}, then {now}");
            assert_eq!(now.this.files, first.this.files, "files are left open");
            assert_eq!(now.this.threads, first.this.threads, "threads are left");
            for (now, first) in
                [(Some(&now.this), Some(&first.this)), (now.served_by.as_ref(), first.served_by.as_ref())]
            {
                let (Some(now), Some(first)) = (now, first) else { continue };
                assert!(
                    now.resident <= first.resident + MORE_RESIDENT,
                    "memory leaks: {first:?}, then {now:?}"
                );
                assert!(now.files <= first.files + MORE_SERVING, "files are left: {first:?}, then {now:?}");
                assert!(
                    now.threads <= first.threads + MORE_SERVING,
                    "threads are left: {first:?}, then {now:?}"
                );
            }
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "heap {}, closed {}, {:?}", self.open, self.closed, self.this)?;
        self.served_by.as_ref().map_or(Ok(()), |served_by| write!(f, "; served by {served_by:?}"))
    }
}
