//! A boundary that is missing, does not answer, or was started again; also with many threads, processes and
//! forks.

#![allow(unsafe_code, reason = "the function tables of PKCS#11 are tables of unsafe functions")]

use core::ffi::c_int;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;
use rustix::process::{Pid, Signal, kill_process};

use core::ptr;
use harness::module::raw::{Mechanism, Raw, call, call_v3};
use harness::module::wallet::{Payment, verify_signed};
use harness::module::{
    Boundary, LIMITS, Stage, USER_PIN, approval, assert_rv, create_wallet, enrol_confirmed, report, this_test,
};
use harness::served::Served;
use harness::served::in_boundary;

/// Runs `body` with a second boundary, which the test can stop and start.
fn beside(boundary: &Boundary, body: impl FnOnce(&Boundary, Served)) {
    if boundary.role() == "body" {
        let other = boundary.another("other");
        let _ = Served::start(&other).stop();
        let _ = other.run("client");
    } else {
        body(boundary, Served::start_again(boundary.folder()));
    }
}

fn slot_count(raw: &Raw) -> Result<CK_ULONG, CK_RV> {
    let mut count = 0;
    match call!(raw, C_GetSlotList(CK_TRUE, ptr::null_mut(), &mut count)) {
        CKR_OK => Ok(count),
        rv => Err(rv),
    }
}

#[test]
fn a_missing_boundary_is_reported_at_initialisation_with_what_to_do() {
    let log = in_boundary(this_test!(), |boundary| {
        beside(boundary, |_, served| {
            assert!(served.stop().success());
            let raw = Raw::load();
            assert_rv!(raw.initialize(), CKR_DEVICE_ERROR);
            report("said", "so");
        });
        let other = boundary.folder().with_file_name("other");
        let client = std::fs::read_to_string(other.join("client.toml")).expect("it was written");
        let finished = harness::module::Finished::of(
            boundary.command("probe").env("COUNTERSIGN_CONF", other.join("client.toml")),
        );
        assert!(client.contains("[connect]"));
        assert_eq!(finished.value("rv"), format!("{CKR_DEVICE_ERROR:#x}"));
        eprintln!("{}", finished.stderr);
    });
    assert!(
        log.contains("administrators.sock is not reached") && log.contains("start \"countersign serve\""),
        "{log}"
    );
}

#[test]
fn after_a_restart_of_the_boundary_old_sessions_are_gone_and_the_client_reconnects() {
    in_boundary(this_test!(), |boundary| {
        beside(boundary, |boundary, served| {
            let stage = Stage::new(&["alice"]);
            let (raw, old, key) = (&stage.raw, stage.session, stage.key);
            served.kill();
            assert_eq!(raw.random(old, 8), Err(CKR_DEVICE_REMOVED), "the call that meets it");
            assert_eq!(raw.random(old, 8), Err(CKR_SESSION_HANDLE_INVALID), "its session is gone");
            assert_eq!(raw.open(CKF_SERIAL_SESSION), Err(CKR_DEVICE_REMOVED), "and nothing is there");

            let served = Served::start_again(boundary.folder());
            assert_eq!(raw.random(old, 8), Err(CKR_SESSION_HANDLE_INVALID), "it never comes back");
            assert_eq!(slot_count(raw), Ok(1));
            let session = raw.user();
            assert!(session > old, "no session's number is given again");
            assert_rv!(
                raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &approval("alice", "12345678"), key),
                CKR_KEY_HANDLE_INVALID,
                "nor is an object's"
            );
            let found = raw.wallet_key(session, "treasury");
            assert!(found > key);
            let psbt = stage.psbt();
            let signed = raw
                .countersign(session, found, &approval("alice", &stage.users[0].code()), &psbt)
                .expect("signs again");
            verify_signed(&psbt, &signed);
            assert!(served.stop().success());
        });
    });
}

#[test]
fn a_connection_lost_while_no_session_is_open_is_made_again_silently() {
    in_boundary(this_test!(), |boundary| {
        beside(boundary, |boundary, served| {
            let raw = harness::module::initialised_token();
            served.kill();
            let _served = Served::start_again(boundary.folder());
            assert_eq!(slot_count(&raw), Ok(1));
            raw.so();
        });
    });
}

#[test]
fn a_signature_whose_answer_was_lost_is_given_again_by_the_same_code() {
    in_boundary(this_test!(), |boundary| {
        beside(boundary, |boundary, served| {
            let stage = Stage::new(&["alice"]);
            let (psbt, code) = (stage.psbt(), stage.users[0].code());
            let first = stage.sign("alice", &code, &psbt).expect("the right code");
            served.kill();
            let _served = Served::start_again(boundary.folder());
            assert_eq!(stage.raw.random(stage.session, 8), Err(CKR_DEVICE_REMOVED));
            let session = stage.raw.user();
            let key = stage.raw.wallet_key(session, "treasury");
            let again = stage.raw.countersign(session, key, &approval("alice", &code), &psbt);
            assert_eq!(again, Ok(first));
        });
    });
}

/// As many retries at once as the ration allows a backend. Then retries without end, each of which writes a
/// link in vain.
#[test]
fn the_same_signature_goes_to_256_calls_at_once_and_not_to_any_number() {
    const THREADS: usize = 32;
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let (psbt, record) = (stage.psbt(), approval("alice", &stage.users[0].code()));
        let ask = |session| stage.raw.countersign(session, stage.key, &record, &psbt);
        let first = ask(stage.session).expect("the right code");
        let barrier = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let session = stage.raw.read_write();
                    barrier.wait();
                    for _ in 0..256 / THREADS {
                        assert_eq!(ask(session).as_ref(), Ok(&first));
                    }
                });
            }
        });
        let refused = (0..1_000).find_map(|_| ask(stage.session).err());
        assert_eq!(refused, Some(CKR_FUNCTION_FAILED));
        assert_eq!(stage.failures("alice"), 0);
    });
}

#[test]
fn no_call_waits_for_ever_for_a_boundary_that_stands_still() {
    in_boundary(this_test!(), |boundary| {
        beside(boundary, |boundary, served| {
            let conf = boundary.folder().join("client.toml");
            let text = std::fs::read_to_string(&conf).expect("it was written");
            std::fs::write(
                &conf,
                text.replace("\n\n[log]", "\nconnect_seconds = 3\ncall_seconds = 3\n\n[log]"),
            )
            .expect("the folder is ours");
            let stage = Stage::new(&["alice"]);
            let process = Pid::from_raw(served.process() as i32).expect("it is no zero");
            kill_process(process, Signal::STOP).expect("it is our child");
            wait_until_stopped(served.process());
            assert_eq!(stage.raw.random(stage.session, 8), Err(CKR_DEVICE_REMOVED), "a call");
            assert_eq!(stage.raw.open(CKF_SERIAL_SESSION), Err(CKR_DEVICE_REMOVED), "a connection");
            kill_process(process, Signal::CONT).expect("it is our child");
            assert!(stage.raw.open(CKF_SERIAL_SESSION).is_ok());
            assert!(served.stop().success());
        });
    });
}

#[test]
fn a_part_of_a_message_that_was_not_carried_ends_the_message_and_none_is_signed_without_it() {
    in_boundary(this_test!(), |boundary| {
        beside(boundary, |boundary, served| {
            assert!(served.stop().success());
            let conf = boundary.folder().join("inside.toml");
            let text = std::fs::read_to_string(&conf).expect("it was written");
            let text = text.replace("[serve]\n", "[serve]\nmax_frame_bytes = 65536\n");
            std::fs::write(&conf, text).expect("the folder is ours");
            let _served = Served::start_again(boundary.folder());
            let stage = Stage::new(&["alice"]);
            let (raw, session, mut psbt) = (&stage.raw, stage.session, stage.psbt());
            let mut record = approval("alice", &stage.users[0].code());
            let mut mechanism = Mechanism::new(CKM_COUNTERSIGN_PSBT, &[]);
            assert_rv!(call_v3!(raw, C_MessageSignInit(session, mechanism.pointer(), stage.key)), CKR_OK);
            let mut begin = || call_v3!(raw, C_SignMessageBegin(session, record.as_mut_ptr().cast(), 128));
            let (none, no_len) = (ptr::null_mut(), ptr::null_mut());
            let next = |part: &mut [u8]| {
                let (part, len) = (part.as_mut_ptr(), part.len() as CK_ULONG);
                call_v3!(raw, C_SignMessageNext(session, none, 0, part, len, none.cast(), no_len))
            };
            for part in [&mut psbt[..], &mut []] {
                assert_rv!(begin(), CKR_OK);
                assert_rv!(next(part), CKR_OK);
                assert_rv!(next(&mut [0; 70_000]), CKR_DEVICE_MEMORY, "longer than the boundary takes");
                assert_rv!(next(&mut [0; 3]), CKR_OPERATION_NOT_INITIALIZED, "the message has ended");
            }
            assert_rv!(begin(), CKR_OK);
            assert_rv!(next(&mut [0; 70_000]), CKR_DEVICE_MEMORY);
            assert_rv!(begin(), CKR_OK, "ended before the next is begun");
            assert_rv!(next(&mut psbt), CKR_OK);
            let (mut signed, mut len) = (vec![0; 4_096], 4_096);
            let out = signed.as_mut_ptr();
            let last = call_v3!(raw, C_SignMessageNext(session, none, 0, none.cast(), 0, out, &mut len));
            assert_rv!(last, CKR_OK);
            verify_signed(&psbt, &signed[..len as usize]);
        });
    });
}

#[test]
fn a_call_that_was_not_carried_ends_exactly_what_it_would_have_ended() {
    in_boundary(this_test!(), |boundary| {
        beside(boundary, |boundary, served| {
            assert!(served.stop().success());
            let conf = boundary.folder().join("inside.toml");
            let text = std::fs::read_to_string(&conf).expect("it was written");
            let text = text.replace("[serve]\n", "[serve]\nmax_frame_bytes = 65536\n");
            std::fs::write(&conf, text).expect("the folder is ours");
            let _served = Served::start_again(boundary.folder());
            let stage = Stage::new(&["alice"]);
            let (raw, session, psbt) = (&stage.raw, stage.session, stage.psbt());
            let alice = raw.user_key(session, "alice");
            let record = approval("alice", &stage.users[0].code());
            let long = vec![0; 70_000];

            // An operation that was begun and acknowledged goes on.
            assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &record, stage.key), CKR_OK);
            assert_rv!(raw.verify_code(session, &long, b"123456"), CKR_DEVICE_MEMORY, "longer than it takes");
            verify_signed(&psbt, &raw.sign(session, &psbt).expect("it was begun"));

            // An operation that a call would have ended is ended.
            assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], stage.key), CKR_OK);
            assert_eq!(raw.sign(session, &long), Err(CKR_DEVICE_MEMORY));
            assert_eq!(raw.sign(session, &psbt), Err(CKR_OPERATION_NOT_INITIALIZED));
            assert_rv!(
                raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], stage.key),
                CKR_OK,
                "another begins"
            );
            for _ in 0..2 {
                assert_rv!(raw.verify_init(session, alice), CKR_OK);
                assert_rv!(raw.verify_code(session, &long, b"12345678"), CKR_DEVICE_MEMORY);
            }
            assert_rv!(raw.verify_code(session, &[], b"12345678"), CKR_OPERATION_NOT_INITIALIZED);
            assert_eq!(stage.failures("alice"), 0);
        });
    });
}

/// One thread takes a stop signal first. Until then the others may still answer.
fn wait_until_stopped(process: u32) {
    let until = Instant::now() + Duration::from_secs(60);
    let stopped = |task: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(task.expect("readable").path().join("stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
    };
    while !std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs").all(stopped) {
        assert!(Instant::now() < until, "it does not stop");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn threads_at_once_have_connections_at_once_and_each_code_signs_once() {
    const THREADS: usize = 32;
    in_boundary(this_test!(), |_| {
        let names: Vec<String> = (0..THREADS).map(|number| format!("user{number}")).collect();
        let raw = harness::module::initialised_token();
        let so = raw.so();
        let users: Vec<_> = names.iter().map(|name| enrol_confirmed(&raw, so, name)).collect();
        let descriptors: Vec<String> =
            names.iter().map(|name| create_wallet(&raw, so, name, &[name], LIMITS)).collect();
        assert_rv!(raw.close_all(), CKR_OK);
        let _first = raw.user();
        let barrier = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for ((name, user), descriptor) in names.iter().zip(&users).zip(&descriptors) {
                let (code, barrier) = (user.code(), &barrier);
                scope.spawn(move || {
                    let psbt = Payment::default().psbt(descriptor);
                    let session = raw.read_write();
                    let key = raw.wallet_key(session, name);
                    barrier.wait();
                    let signed =
                        raw.countersign(session, key, &approval(name, &code), &psbt).expect("the right code");
                    verify_signed(&psbt, &signed);
                    let other = Payment { pay: 1_234, ..Payment::default() }.psbt(descriptor);
                    assert_eq!(
                        raw.countersign(session, key, &approval(name, &code), &other),
                        Err(CKR_PIN_INCORRECT)
                    );
                });
            }
        });
    });
}

#[test]
fn a_dead_application_leaves_no_session_and_no_login() {
    in_boundary(this_test!(), |boundary| match boundary.role() {
        "body" => {
            let _ = Stage::new(&["alice"]).raw.finalize();
            for _ in 0..3 {
                let died = harness::module::Finished::of(&mut boundary.command("dies"));
                assert!(!died.status.success());
            }
            let raw = Raw::load();
            assert_rv!(raw.initialize(), CKR_OK);
            // The child is another application: nobody is logged in, and no session is open.
            assert_eq!(raw.token_info().ulSessionCount, 0);
            let session = raw.read_write();
            assert_eq!(raw.state(session), Ok(CKS_RW_PUBLIC_SESSION));
            assert_rv!(raw.login(session, CKU_USER, USER_PIN.as_bytes()), CKR_OK, "and nobody is in the way");
            raw.so();
        }
        _ => {
            let raw = Raw::load();
            assert_rv!(raw.initialize(), CKR_OK);
            raw.user();
            std::process::abort();
        }
    });
}

unsafe extern "C" {
    safe fn fork() -> c_int;
    fn waitpid(process: c_int, status: *mut c_int, options: c_int) -> c_int;
    safe fn _exit(status: c_int) -> !;
}

#[test]
fn a_forked_child_has_a_connection_of_its_own_and_neither_disturbs_the_other() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let child = fork();
        assert!(child >= 0, "fork failed");
        if child == 0 {
            // The child reports by its exit status, because it must not run anything of the test harness.
            let raw = &stage.raw;
            let not_ours = raw.random(stage.session, 8) == Err(CKR_CRYPTOKI_NOT_INITIALIZED);
            let initialised = raw.initialize() == CKR_OK;
            let stranger = raw.random(stage.session, 8) == Err(CKR_SESSION_HANDLE_INVALID);
            let session = raw.open(CKF_SERIAL_SESSION | CKF_RW_SESSION);
            let public = session.is_ok_and(|session| raw.state(session) == Ok(CKS_RW_PUBLIC_SESSION));
            let finalised = raw.finalize() == CKR_OK;
            let checks = [not_ours, initialised, stranger, public, finalised];
            _exit(checks.iter().position(|passed| !passed).map_or(0, |failed| 1 + failed as c_int));
        }
        let mut status = 0;
        // SAFETY: the pointer is to a local.
        assert_eq!(unsafe { waitpid(child, &mut status, 0) }, child);
        assert_eq!(status >> 8, 0, "which check of the child failed, from 1");
        let psbt = stage.psbt();
        let signed = stage.sign("alice", &stage.users[0].code(), &psbt).expect("the parent goes on");
        verify_signed(&psbt, &signed);
    });
}
