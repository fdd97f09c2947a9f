//! Records where every caller is, to find the call that crashed or hung.

use core::ffi::c_int;
use std::process::abort;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::calls::FUNCTIONS;

/// The most callers at a time.
pub(crate) const CALLERS: usize = 8;
/// Checks, one a second, after which a caller that has not moved counts as lost.
const PATIENCE: u32 = 180;

static TRAILS: [Trail; CALLERS] = [const { Trail::new() }; CALLERS];
static SEED: AtomicU64 = AtomicU64::new(0);

/// The trail of one caller.
pub(crate) struct Trail {
    call: AtomicU64,
    function: AtomicUsize,
    is_calling: AtomicBool,
}

impl Trail {
    const fn new() -> Trail {
        Trail { call: AtomicU64::new(0), function: AtomicUsize::new(0), is_calling: AtomicBool::new(false) }
    }

    /// The trail of this caller.
    pub(crate) fn of(caller: usize) -> &'static Trail {
        &TRAILS[caller]
    }

    /// Records the beginning of a call, by the function's place in the table.
    pub(crate) fn enter(&self, function: usize) {
        self.function.store(function, Ordering::Relaxed);
        self.call.fetch_add(1, Ordering::Relaxed);
        self.is_calling.store(true, Ordering::Relaxed);
    }

    /// Records its return.
    pub(crate) fn leave(&self) {
        self.is_calling.store(false, Ordering::Relaxed);
    }

    /// The number of calls so far.
    pub(crate) fn calls(&self) -> u64 {
        self.call.load(Ordering::Relaxed)
    }
}

/// The number of calls of all callers.
pub(crate) fn calls() -> u64 {
    TRAILS.iter().map(Trail::calls).sum()
}

/// Ends the process and prints the trails if a caller does not return. It stops watching when it is dropped.
pub(crate) struct Watchdog {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts watching, also for signals that end a process.
    pub(crate) fn start(seed: u64) -> Watchdog {
        SEED.store(seed, Ordering::Relaxed);
        for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGABRT] {
            // SAFETY: plain data, for which zero is a value.
            let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
            action.sa_sigaction = tell_and_die as extern "C" fn(c_int) as usize;
            action.sa_flags = libc::SA_ONSTACK | libc::SA_RESETHAND | libc::SA_NODEFER;
            // SAFETY: the handler does only what a signal handler may do.
            let rv = unsafe { libc::sigaction(signal, &action, core::ptr::null_mut()) };
            assert_eq!(rv, 0, "sigaction");
        }
        let (stop, stopped) = channel();
        let thread = thread::spawn(move || {
            let mut seen = [(0, 0); CALLERS];
            while stopped.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                for (trail, (call, times)) in TRAILS.iter().zip(&mut seen) {
                    let now = trail.calls();
                    let is_stuck = now == *call && trail.is_calling.load(Ordering::Relaxed);
                    (*call, *times) = (now, if is_stuck { *times + 1 } else { 0 });
                    if *times > PATIENCE {
                        eprintln!("a call does not come back");
                        abort();
                    }
                }
            }
        });
        Watchdog { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Only its end matters.
            let _ = thread.join();
        }
    }
}

/// Prints where every caller is, and lets the signal have its default effect.
extern "C" fn tell_and_die(signal: c_int) {
    tell(&[b"\nsignal ", &digits(signal.unsigned_abs().into()), b", seed ", &digits(seed()), b"\n"]);
    for (number, trail) in TRAILS.iter().enumerate().filter(|(_, trail)| trail.calls() > 0) {
        let name = FUNCTIONS[trail.function.load(Ordering::Relaxed)].name.as_bytes();
        let place: &[u8] = if trail.is_calling.load(Ordering::Relaxed) { b" in " } else { b" after " };
        let (caller, call) = (digits(number as u64), digits(trail.calls()));
        tell(&[b"  caller ", &caller, b", call ", &call, place, name, b"\n"]);
    }
    // SAFETY: the handler was reset on entry, so this ends the process.
    unsafe { libc::raise(signal) };
}

fn seed() -> u64 {
    SEED.load(Ordering::Relaxed)
}

/// Writes as a signal handler may, without allocating.
fn tell(parts: &[&[u8]]) {
    for part in parts {
        // SAFETY: the pointer and length are a slice's. A failed write cannot be reported.
        let _ = unsafe { libc::write(libc::STDERR_FILENO, part.as_ptr().cast(), part.len()) };
    }
}

/// A number in decimal digits, with leading zeros.
fn digits(mut number: u64) -> [u8; 20] {
    let mut digits = [b'0'; 20];
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    digits
}
