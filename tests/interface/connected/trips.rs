//! The number of round trips to the boundary, counted by a proxy that knows only frames.

#![allow(unsafe_code, reason = "the function tables of PKCS#11 are tables of unsafe functions")]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::doors::configure_backends_behind;
use harness::module::raw::Raw;
use harness::module::wallet::verify_signed;
use harness::module::{Boundary, Stage, approval, assert_rv, this_test};
use harness::served::in_boundary;

/// Carries frames between `from` and `to`, and counts those that go to `to`.
fn count_frames(from: &Path, to: &Path) -> Arc<AtomicUsize> {
    let (listener, to) = (UnixListener::bind(from).expect("the folder is ours"), to.to_path_buf());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, counted) = (client.expect("it connects"), Arc::clone(&counted));
            let mut boundary = UnixStream::connect(&to).expect("it is served");
            let (mut back, mut forth) =
                (boundary.try_clone().expect("clones"), client.try_clone().expect("clones"));
            std::thread::spawn(move || std::io::copy(&mut back, &mut forth));
            std::thread::spawn(move || {
                let mut header = [0; 4];
                while client.read_exact(&mut header).is_ok() {
                    let mut payload = vec![0; u32::from_le_bytes(header) as usize];
                    client.read_exact(&mut payload).expect("frames are whole");
                    counted.fetch_add(1, Ordering::SeqCst);
                    boundary.write_all(&[&header[..], &payload].concat()).expect("it is served");
                }
                let _ = boundary.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    count
}

/// Runs `body` in a process of its own behind the proxy, with the count of frames to the boundary.
fn counted(boundary: &Boundary, body: impl FnOnce(&Stage, &AtomicUsize)) {
    if boundary.role() == "body" {
        let conf = configure_backends_behind(boundary, "proxy.sock");
        let _ = harness::module::Finished::of(boundary.command("client").env("COUNTERSIGN_CONF", &conf))
            .expect_success();
    } else {
        let place = |name| boundary.folder().join(name);
        let count = count_frames(&place("proxy.sock"), &place("backend.sock"));
        body(&Stage::new(&["alice", "bob"]), &count);
    }
}

#[test]
fn sign_init_and_sign_are_one_round_trip_together() {
    in_boundary(this_test!(), |boundary| {
        counted(boundary, |stage, count| {
            let (raw, session) = (&stage.raw, stage.session);
            let (psbt, mut room) = (stage.psbt(), vec![0; 4_096]);
            for user in &stage.users {
                let before = count.load(Ordering::SeqCst);
                let record = approval(user.name(), &user.code());
                assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &record, stage.key), CKR_OK);
                assert_eq!(count.load(Ordering::SeqCst), before, "held back");
                let len = sign_into(raw, session, &psbt, &mut room).expect("the right code");
                assert_eq!(count.load(Ordering::SeqCst), before + 1);
                verify_signed(&psbt, &room[..len]);
            }
        });
    });
}

#[test]
fn a_sign_init_that_is_not_certain_to_be_accepted_asks_the_boundary() {
    in_boundary(this_test!(), |boundary| {
        counted(boundary, |stage, count| {
            let (raw, session, key) = (&stage.raw, stage.session, stage.key);
            let record = approval("alice", "12345678");
            let asks = |session, mechanism, parameter: &[u8], key, expected: CK_RV, why: &str| {
                let before = count.load(Ordering::SeqCst);
                assert_rv!(raw.sign_init(session, mechanism, parameter, key), expected, "{why}");
                assert_eq!(count.load(Ordering::SeqCst), before + 1, "{why}");
            };
            asks(9_999, CKM_COUNTERSIGN_PSBT, &record[..], key, CKR_SESSION_HANDLE_INVALID, "no session");
            asks(session, CKM_COUNTERSIGN_PSBT, &record, 9_999, CKR_KEY_HANDLE_INVALID, "no key");
            asks(session, CKM_COUNTERSIGN_PSBT, &record[1..], key, CKR_MECHANISM_PARAM_INVALID, "no record");
            asks(session, CKM_ECDSA_SHA256, &record, key, CKR_MECHANISM_INVALID, "no mechanism of ours");
            asks(
                session,
                CKM_COUNTERSIGN_DIGEST,
                &record,
                key,
                CKR_KEY_FUNCTION_NOT_PERMITTED,
                "no digest key",
            );
            // All of these ended without an operation, but the client cannot be certain of it.
            asks(session, CKM_COUNTERSIGN_PSBT, &record, key, CKR_OK, "after a refusal");
            asks(session, CKM_COUNTERSIGN_PSBT, &record, key, CKR_OPERATION_ACTIVE, "in an operation");
            assert_rv!(raw.logout(session), CKR_OK);
            asks(session, CKM_COUNTERSIGN_PSBT, &record, key, CKR_USER_NOT_LOGGED_IN, "logged out");
        });
    });
}

#[test]
fn an_operation_that_is_held_back_is_an_operation() {
    in_boundary(this_test!(), |boundary| {
        counted(boundary, |stage, count| {
            let (raw, session, key, psbt) = (&stage.raw, stage.session, stage.key, stage.psbt());
            let code = stage.users[0].code();
            let record = approval("alice", &code);
            let begin = || assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &record, key), CKR_OK);
            let before = count.load(Ordering::SeqCst);
            begin();
            assert_eq!(count.load(Ordering::SeqCst), before);
            assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &record, key), CKR_OPERATION_ACTIVE);
            // A length query leaves the operation as it is. Then the code signs.
            let len = raw.sign(session, &psbt).expect("by query and by buffer").len();
            assert!(len > psbt.len());
            // The login, which attaches the code in the other way, comes between.
            begin_without_parameter(raw, session, key);
            let before = count.load(Ordering::SeqCst);
            assert_rv!(raw.login(session, CKU_CONTEXT_SPECIFIC, format!("alice:{code}").as_bytes()), CKR_OK);
            assert_eq!(count.load(Ordering::SeqCst), before + 1);
            assert!(raw.sign(session, &psbt).is_ok(), "the same code, the same transaction");
            // Logging out ends the operation.
            begin();
            assert_rv!(raw.logout(session), CKR_OK);
            assert_eq!(raw.sign(session, &psbt), Err(CKR_OPERATION_NOT_INITIALIZED));
        });
    });
}

fn begin_without_parameter(raw: &Raw, session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE) {
    assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], key), CKR_OK);
}

/// `C_Sign` into a buffer that is large enough, without asking for the length first.
fn sign_into(raw: &Raw, session: CK_SESSION_HANDLE, psbt: &[u8], room: &mut [u8]) -> Result<usize, CK_RV> {
    let (mut psbt, mut len) = (psbt.to_vec(), room.len() as CK_ULONG);
    let rv = harness::module::raw::call!(
        raw,
        C_Sign(session, psbt.as_mut_ptr(), psbt.len() as CK_ULONG, room.as_mut_ptr(), &mut len)
    );
    if rv == CKR_OK { Ok(len as usize) } else { Err(rv) }
}
