//! What a PKCS#11 module owes its process: one operation of a kind at a time, threads, forks, being loaded
//! twice, and a process that ends without finalising (PKCS#11 v3.2 section 5.4, usage guide section 2).

#![allow(unsafe_code, reason = "forking and loading libraries are what this is about")]

use core::ffi::c_int;
use core::ptr;
use std::fs;
use std::io::{Read, Write};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::raw::{Mechanism, Raw, call, call_v3};
use harness::module::wallet::{Payment, verify_signed};
use harness::module::{
    Finished, LIMITS, Stage, approval, assert_rv, create_wallet, enrol_confirmed, initialised_token, module,
    this_test,
};

use super::functions::{Wrong, call_every_function};
use super::{IS_CLIENT, in_boundary};

const THREADS: usize = 16;

// Operations

#[test]
fn a_session_has_one_operation_of_each_kind_at_a_time() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let (raw, session) = (&stage.raw, stage.session);
        let alice = raw.user_key(session, "alice");
        let sign = || raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], stage.key);
        let messages = || {
            let mut mechanism = Mechanism::new(CKM_COUNTERSIGN_PSBT, &[]);
            call_v3!(raw, C_MessageSignInit(session, mechanism.pointer(), stage.key))
        };
        let verify = || raw.verify_init(session, alice);
        let verify_signature = || raw.verify_signature_init(session, alice, "12345678");
        let find = || call!(raw, C_FindObjectsInit(session, ptr::null_mut(), 0));
        // Both ways to verify count as one operation.
        let begun: [(&str, usize, &dyn Fn() -> CK_RV); 5] = [
            ("C_SignInit", 0, &sign),
            ("C_MessageSignInit", 1, &messages),
            ("C_VerifyInit", 2, &verify),
            ("C_VerifySignatureInit", 2, &verify_signature),
            ("C_FindObjectsInit", 3, &find),
        ];
        for (first, its_kind, begin_first) in &begun {
            for (second, kind, begin_second) in &begun {
                assert_rv!(begin_first(), CKR_OK, "{first}");
                let wanted = if its_kind == kind { CKR_OPERATION_ACTIVE } else { CKR_OK };
                assert_rv!(begin_second(), wanted, "{first}, {second}");
                assert_rv!(call_v3!(raw, C_SessionCancel(session, CK_FLAGS::MAX)), CKR_OK);
            }
        }
        assert_eq!(stage.failures("alice"), 0);
    });
}

#[test]
fn one_authorisation_is_one_operation() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice", "bob"]);
        let (raw, key) = (&stage.raw, stage.key);
        let (one, other) = (stage.session, raw.read_only());
        let context = |session, pin: &str| raw.login(session, CKU_CONTEXT_SPECIFIC, pin.as_bytes());
        let begin = |session| raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], key);
        assert_rv!(begin(one), CKR_OK);
        assert_rv!(begin(other), CKR_OK);
        let psbt = stage.psbt();
        assert_rv!(context(one, &format!("alice:{}", stage.users[0].code())), CKR_OK);
        assert_eq!(raw.sign(other, &psbt), Err(CKR_USER_NOT_LOGGED_IN), "it was for that session alone");
        verify_signed(&psbt, &raw.sign(one, &psbt).expect("which signs"));
        let late = context(one, &format!("bob:{}", stage.users[1].code()));
        assert_rv!(late, CKR_OPERATION_NOT_INITIALIZED, "nothing waits for it");
        assert_rv!(begin(one), CKR_OK);
        assert_eq!(raw.sign(one, &psbt), Err(CKR_USER_NOT_LOGGED_IN), "each operation wants its own");
        // An operation that ended without signing takes its login with it.
        assert_rv!(begin(one), CKR_OK);
        let code = stage.users[1].last_code();
        assert_rv!(context(one, &format!("bob:{code}")), CKR_OK);
        assert_rv!(call!(raw, C_SignInit(one, ptr::null_mut(), 0)), CKR_OK);
        assert_rv!(begin(one), CKR_OK);
        assert_eq!(raw.sign(one, &psbt), Err(CKR_USER_NOT_LOGGED_IN));
        let psbt = stage.psbt();
        verify_signed(&psbt, &stage.sign("bob", &code, &psbt).expect("nothing was spent"));
    });
}

#[test]
fn a_message_answered_in_one_call_takes_no_parts() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let (raw, session, psbt) = (&stage.raw, stage.session, stage.psbt());
        let record = approval("alice", &stage.users[0].code());
        verify_signed(&psbt, &raw.countersign(session, stage.key, &record, &psbt).expect("signs"));
        assert_rv!(raw.sign_update(session, &psbt), CKR_OPERATION_NOT_INITIALIZED);
        assert_eq!(raw.sign_final(session), Err(CKR_OPERATION_NOT_INITIALIZED));
        assert_eq!(raw.sign(session, &psbt), Err(CKR_OPERATION_NOT_INITIALIZED));
        let alice = raw.user_key(session, "alice");
        assert_rv!(raw.verify(session, alice, "1234567x"), CKR_SIGNATURE_INVALID);
        assert_rv!(call!(raw, C_VerifyUpdate(session, ptr::null_mut(), 0)), CKR_OPERATION_NOT_INITIALIZED);
        let mut code = *b"12345678";
        assert_rv!(call!(raw, C_VerifyFinal(session, code.as_mut_ptr(), 8)), CKR_OPERATION_NOT_INITIALIZED);
        assert_eq!(stage.failures("alice"), 0);
    });
}

// Threads

#[test]
fn threads_sign_find_open_and_close_at_once_each_in_sessions_of_its_own() {
    in_boundary(this_test!(), |_| {
        let names: Vec<String> = (0..THREADS).map(|number| format!("user{number}")).collect();
        let raw = initialised_token();
        let so = raw.so();
        let users: Vec<_> = names.iter().map(|name| enrol_confirmed(&raw, so, name)).collect();
        let listed: Vec<&str> = names.iter().map(String::as_str).collect();
        let descriptor = create_wallet(&raw, so, "treasury", &listed, LIMITS);
        assert_rv!(raw.close_all(), CKR_OK);
        let logged_in = raw.user();
        std::thread::scope(|scope| {
            for (name, user) in names.iter().zip(&users) {
                let (code, descriptor) = (user.code(), &descriptor);
                scope.spawn(move || {
                    for _ in 0..10 {
                        let passing = raw.read_only();
                        assert_eq!(raw.state(passing), Ok(CKS_RO_USER_FUNCTIONS));
                        raw.user_key(passing, name);
                        assert_rv!(raw.close(passing), CKR_OK);
                        assert_eq!(raw.state(passing), Err(CKR_SESSION_HANDLE_INVALID));
                    }
                    let session = raw.read_write();
                    let key = raw.wallet_key(session, "treasury");
                    let psbt = Payment::default().psbt(descriptor);
                    let signed = raw.countersign(session, key, &approval(name, &code), &psbt);
                    verify_signed(&psbt, &signed.expect("the right code"));
                    let again = Payment::default().psbt(descriptor);
                    let refused = raw.countersign(session, key, &approval(name, &code), &again);
                    assert_eq!(refused, Err(CKR_PIN_INCORRECT));
                    assert_rv!(raw.close(session), CKR_OK);
                });
            }
        });
        assert_eq!(raw.token_info().ulSessionCount, 1);
        assert_eq!(raw.state(logged_in), Ok(CKS_RW_USER_FUNCTIONS));
    });
}

#[test]
fn the_module_is_finalised_while_calls_run() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let raw = stage.raw;
        let calls: [AtomicUsize; THREADS] = Default::default();
        std::thread::scope(|scope| {
            for count in &calls {
                scope.spawn(move || {
                    // Until the module is finalised, which first closes this session with all others.
                    loop {
                        let answer = match raw.open(CKF_SERIAL_SESSION) {
                            Ok(session) => raw.random(session, 100).map(drop),
                            Err(rv) => Err(rv),
                        };
                        count.fetch_add(1, Ordering::Relaxed);
                        match answer {
                            Ok(()) | Err(CKR_SESSION_HANDLE_INVALID | CKR_SESSION_COUNT) => {}
                            Err(CKR_CRYPTOKI_NOT_INITIALIZED) => break,
                            // A client's connection was closed during the call.
                            Err(CKR_DEVICE_REMOVED) if IS_CLIENT => {}
                            Err(rv) => panic!("{rv:#x}"),
                        }
                    }
                });
            }
            while calls.iter().any(|count| count.load(Ordering::Relaxed) < 20) {
                std::thread::yield_now();
            }
            assert_rv!(raw.finalize(), CKR_OK);
        });
        assert_rv!(raw.finalize(), CKR_CRYPTOKI_NOT_INITIALIZED);
        assert_rv!(raw.initialize(), CKR_OK, "the last of them has let go of the store");
        let session = raw.user();
        let psbt = stage.psbt();
        let record = approval("alice", &stage.users[0].code());
        let signed = raw.countersign(session, raw.wallet_key(session, "treasury"), &record, &psbt);
        verify_signed(&psbt, &signed.expect("signs again"));
    });
}

// Forks

unsafe extern "C" {
    safe fn fork() -> c_int;
    fn waitpid(process: c_int, status: *mut c_int, options: c_int) -> c_int;
    safe fn _exit(status: c_int) -> !;
    safe fn exit(status: c_int) -> !;
}

/// Waits for a child, and returns its exit status.
fn wait_for(child: c_int) -> c_int {
    let mut status = 0;
    // SAFETY: the pointer is to a local.
    assert_eq!(unsafe { waitpid(child, &mut status, 0) }, child);
    assert_eq!(status & 0x7f, 0, "the child was killed by a signal");
    status >> 8
}

#[test]
fn a_forked_child_that_exits_hurts_nothing_of_its_parents() {
    in_boundary(this_test!(), |boundary| {
        let stage = Stage::new(&["alice", "bob"]);
        let (raw, session) = (&stage.raw, stage.session);
        let record = approval("alice", &stage.users[0].code());
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &record, stage.key), CKR_OK);
        let psbt = stage.psbt();
        assert_rv!(raw.sign_update(session, &psbt[..40]), CKR_OK);
        for _ in 0..3 {
            let child = fork();
            assert!(child >= 0, "fork failed");
            if child == 0 {
                // The destructors of the process run in the child, too.
                exit(0);
            }
            assert_eq!(wait_for(child), 0);
        }
        assert_rv!(raw.sign_update(session, &psbt[40..]), CKR_OK);
        verify_signed(&psbt, &raw.sign_final(session).expect("the operation is still there"));
        // The store still belongs to this process.
        let wanted = if IS_CLIENT { CKR_OK } else { CKR_CANT_LOCK };
        assert_rv!(boundary.probe().rv, wanted);
        let psbt = stage.psbt();
        verify_signed(&psbt, &stage.sign("bob", &stage.users[1].code(), &psbt).expect("goes on"));
        assert_rv!(raw.finalize(), CKR_OK);
        assert_rv!(boundary.probe().rv, CKR_OK);
    });
}

#[test]
fn a_forked_child_that_lives_on_does_not_keep_its_parents_store() {
    in_boundary(this_test!(), |boundary| {
        let raw = initialised_token();
        raw.user();
        let (mut read, mut write) = std::io::pipe().expect("a pipe");
        let child = fork();
        assert!(child >= 0, "fork failed");
        if child == 0 {
            drop(write);
            // Until the parent lets go.
            let ended = read.read(&mut [0; 1]);
            let wrong = call_every_function(&raw, Wrong::NotInitialised)
                .iter()
                .filter(|called| called.answer != called.wanted)
                .count();
            _exit(if ended.is_ok() { wrong.min(100) as c_int } else { 101 });
        }
        drop(read);
        assert_rv!(raw.finalize(), CKR_OK);
        assert_rv!(boundary.probe().rv, CKR_OK, "another process opens the store");
        assert_rv!(raw.initialize(), CKR_OK, "and this one again");
        let session = raw.user();
        write.write_all(&[1]).expect("the child reads");
        assert_eq!(wait_for(child), 0, "functions that do not say so in the child");
        assert_eq!(raw.state(session), Ok(CKS_RW_USER_FUNCTIONS));
    });
}

// Processes and libraries

#[test]
fn a_process_that_ends_without_finalising_leaves_the_store_as_it_was() {
    in_boundary(this_test!(), |boundary| {
        if boundary.role() == "leaves" {
            let raw = Raw::load();
            assert_rv!(raw.initialize(), CKR_OK);
            let session = raw.user();
            let key = raw.wallet_key(session, "treasury");
            assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], key), CKR_OK);
            let done: &Barrier = Box::leak(Box::new(Barrier::new(5)));
            for _ in 0..4 {
                std::thread::spawn(move || {
                    let session = raw.read_only();
                    done.wait();
                    // While the process ends, calls may be refused, but only by the client itself.
                    while raw.random(session, 100).is_ok() {}
                    loop {
                        std::thread::park();
                    }
                });
            }
            done.wait();
            // Ends here: with an operation begun, sessions open, and threads in the middle of calls.
            return;
        }
        let stage = Stage::new(&["alice"]);
        assert_rv!(stage.raw.finalize(), CKR_OK);
        for _ in 0..10 {
            let left = Finished::of(&mut boundary.command("leaves")).expect_success();
            assert!(!left.stderr.contains("panicked"), "{}", left.stderr);
            assert_rv!(stage.raw.initialize(), CKR_OK, "at once");
            assert_rv!(stage.raw.finalize(), CKR_OK);
        }
        assert_rv!(stage.raw.initialize(), CKR_OK);
        let session = stage.raw.user();
        let (key, psbt) = (stage.raw.wallet_key(session, "treasury"), stage.psbt());
        let record = approval("alice", &stage.users[0].code());
        verify_signed(&psbt, &stage.raw.countersign(session, key, &record, &psbt).expect("signs"));
    });
}

/// Loads the module as a library that can be closed.
fn open_library() -> (Box<Pkcs11>, Raw) {
    // SAFETY: a PKCS#11 module runs nothing of consequence when it is loaded.
    let library = Box::new(unsafe { Pkcs11::new(module()) }.expect("the module loads"));
    // SAFETY: the box is kept next to it, and is dropped after the last call through `Raw`. The tables are in
    // a library that is never unmapped (`-z nodelete`, tests/interface/exports.rs).
    let raw = Raw::of(unsafe { &*ptr::from_ref(&*library) });
    (library, raw)
}

#[test]
fn the_library_is_closed_and_opened_again_finalised_or_not() {
    in_boundary(this_test!(), |boundary| {
        if boundary.role() == "body" {
            let stage = Stage::new(&["alice", "bob"]);
            assert_rv!(stage.raw.finalize(), CKR_OK);
            boundary.note("descriptor", &stage.descriptor);
            stage.users.iter().for_each(|user| boundary.note(user.name(), &user.code()));
            // A process in which nothing else holds the library.
            let _ = boundary.run("closes");
            return;
        }
        let sign = |raw: &Raw, session, user: &str| {
            let key = raw.wallet_key(session, "treasury");
            let psbt = Payment::default().psbt(&boundary.noted("descriptor"));
            let record = approval(user, &boundary.noted(user));
            verify_signed(&psbt, &raw.countersign(session, key, &record, &psbt).expect("signs"));
        };
        let (library, raw) = open_library();
        assert_rv!(raw.initialize(), CKR_OK);
        raw.user();
        assert_rv!(raw.finalize(), CKR_OK);
        drop(library);
        let (library, raw) = open_library();
        assert_rv!(raw.initialize(), CKR_OK, "closed after it was finalised");
        let session = raw.user();
        sign(&raw, session, "alice");
        drop(library);
        // It was not finalised, and the process still has it, so its state is unchanged.
        let (_library, raw) = open_library();
        assert_rv!(raw.initialize(), CKR_CRYPTOKI_ALREADY_INITIALIZED);
        assert_eq!(raw.state(session), Ok(CKS_RW_USER_FUNCTIONS));
        sign(&raw, session, "bob");
        assert_rv!(raw.finalize(), CKR_OK);
    });
}

#[test]
fn two_copies_of_the_library_in_one_process_are_two_applications() {
    in_boundary(this_test!(), |boundary| {
        let stage = Stage::new(&["alice", "bob", "carol"]);
        let copy = boundary.folder().join("another-libcountersign.so");
        fs::copy(module(), &copy).expect("the folder is ours");
        let other = Raw::load_from(&copy).by_itself();
        let sign = |raw: &Raw, session, user: usize| {
            let (key, psbt) = (raw.wallet_key(session, "treasury"), stage.psbt());
            let user = &stage.users[user];
            let record = approval(user.name(), &user.code());
            verify_signed(&psbt, &raw.countersign(session, key, &record, &psbt).expect("signs"));
        };
        assert_rv!(other.finalize(), CKR_CRYPTOKI_NOT_INITIALIZED, "it is not the first one");
        if IS_CLIENT {
            assert_rv!(other.initialize(), CKR_OK);
            let public = other.read_only();
            assert_eq!(other.state(public), Ok(CKS_RO_PUBLIC_SESSION), "a login of its own");
            let session = other.user();
            sign(&other, session, 0);
            sign(&stage.raw, stage.session, 1);
            assert_rv!(stage.raw.finalize(), CKR_OK);
            sign(&other, session, 2);
        } else {
            // One engine owns the store, within one process, too.
            for _ in 0..2 {
                assert_rv!(other.initialize(), CKR_CANT_LOCK);
            }
            sign(&stage.raw, stage.session, 0);
            assert_rv!(stage.raw.finalize(), CKR_OK);
            assert_rv!(other.initialize(), CKR_OK, "when the first has let go of it");
            let session = other.user();
            sign(&other, session, 1);
            assert_rv!(stage.raw.initialize(), CKR_CANT_LOCK);
            sign(&other, session, 2);
        }
        assert_rv!(other.finalize(), CKR_OK);
    });
}
