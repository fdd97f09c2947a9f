//! Many threads at once: what is right for one thread stays right for many.

use std::sync::Barrier;

use cryptoki_sys::*;

use harness::module::raw::Raw;
use harness::module::{SO_PIN, USER_PIN, assert_rv, initialised_token, this_test};

use super::in_boundary;

const THREADS: usize = 24;

/// The answers to many threads that begin together.
fn by_threads(call: impl Fn() -> CK_RV + Sync) -> Vec<CK_RV> {
    let together = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        let thread = || {
            together.wait();
            call()
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(thread)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    })
}

fn count(answers: &[CK_RV], wanted: CK_RV) -> usize {
    answers.iter().filter(|rv| **rv == wanted).count()
}

#[test]
fn the_library_works_as_soon_as_it_reports_that_it_is_initialised() {
    in_boundary(this_test!(), |_| {
        let raw = Raw::load();
        for _ in 0..3 {
            let answers = by_threads(|| {
                let rv = raw.initialize();
                assert!([CKR_OK, CKR_CRYPTOKI_ALREADY_INITIALIZED].contains(&rv), "{rv:#x}");
                assert_eq!(raw.token_info().ulMaxPinLen, 255, "it answers");
                rv
            });
            assert_eq!(count(&answers, CKR_OK), 1, "{answers:x?}");
            assert_rv!(raw.finalize(), CKR_OK);
        }
    });
}

#[test]
fn right_pins_of_many_threads_at_once_log_in_once_and_lock_nothing() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        for (who, pin) in [(CKU_USER, USER_PIN), (CKU_SO, SO_PIN)] {
            if who == CKU_USER {
                raw.as_backend()
            } else {
                raw.as_administrator()
            }
            let sessions: Vec<_> = (0..THREADS).map(|_| raw.read_write()).collect();
            let next = std::sync::atomic::AtomicUsize::new(0);
            let answers = by_threads(|| {
                let session = sessions[next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)];
                raw.login(session, who, pin.as_bytes())
            });
            assert_eq!(count(&answers, CKR_OK), 1, "{answers:x?}");
            assert_eq!(count(&answers, CKR_USER_ALREADY_LOGGED_IN), THREADS - 1, "{answers:x?}");
            assert_rv!(raw.logout(sessions[0]), CKR_OK);
        }
        let low = CKF_USER_PIN_COUNT_LOW | CKF_SO_PIN_COUNT_LOW | CKF_USER_PIN_LOCKED | CKF_SO_PIN_LOCKED;
        assert_eq!(raw.token_info().flags & low, 0, "no try is left charged");
    });
}

/// Each wrong try is charged, however many come at once.
#[test]
fn otp_guess_wrong_pins_of_many_threads_at_once_are_five_and_no_more() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        raw.as_backend();
        let session = raw.read_write();
        let answers = by_threads(|| raw.login(session, CKU_USER, b"not the PIN"));
        assert_eq!(count(&answers, CKR_PIN_INCORRECT), 5, "{answers:x?}");
        assert_eq!(count(&answers, CKR_PIN_LOCKED), THREADS - 5, "{answers:x?}");
    });
}
