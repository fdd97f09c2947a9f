//! Releases side by side: each side of the boundary works with a peer that speaks version 2.

#![allow(unsafe_code, reason = "the function tables of PKCS#11 are tables of unsafe functions")]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::doors::configure_backends_behind;
use harness::module::wallet::{Payment, verify_signed};
use harness::module::{Boundary, Finished, Stage, USER_PIN, approval, assert_rv, this_test};
use harness::served::in_boundary;

fn framed(payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_le_bytes(), payload].concat()
}

/// The payload of the next frame; none at the end.
fn next_frame(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).ok()?;
    let mut payload = vec![0; u32::from_le_bytes(header) as usize];
    stream.read_exact(&mut payload).ok()?;
    Some(payload)
}

fn exchange(stream: &mut UnixStream, payload: &[u8]) -> Vec<u8> {
    stream.write_all(&framed(payload)).expect("it is taken");
    next_frame(stream).expect("it is answered")
}

fn varint(number: u64) -> Vec<u8> {
    postcard::to_allocvec(&number).expect("a number")
}

/// The requests of a client of version 2, byte for byte, and the answers.
#[test]
fn a_client_of_version_2_is_served_as_before_and_sees_nothing_new() {
    in_boundary(this_test!(), |boundary| {
        let stage = Stage::new(&["alice"]);
        let mut old = UnixStream::connect(boundary.folder().join("backend.sock")).expect("served");
        // The greeting: no application to join, handles from 1 on.
        let welcome = exchange(&mut old, b"CSGN\x02\x00\x01");
        assert_eq!(welcome[0], 0, "accepted: {welcome:?}");
        assert_eq!(welcome.len(), 1 + 32 + varint(17_825_792).len());
        // C_OpenSession, C_Login, C_GetSessionInfo.
        assert_eq!(exchange(&mut old, b"\x00\x08\x00\x06"), b"\x00\x00\x06\x01");
        let login = [&b"\x00\x0c\x01\x01\x00\x0e"[..], USER_PIN.as_bytes()].concat();
        assert_eq!(exchange(&mut old, &login), b"\x00\x00\x00");
        let session_info = b"\x00\x00\x05\x03\x06";
        assert_eq!(exchange(&mut old, b"\x00\x0b\x01"), session_info);
        // C_FindObjectsInit (private keys), C_FindObjects, C_FindObjectsFinal: a handle of a key that signs.
        assert_eq!(exchange(&mut old, b"\x00\x13\x01\x01\x00\x08\x03\0\0\0\0\0\0\0"), b"\x00\x00\x00");
        let found = exchange(&mut old, b"\x00\x14\x01\x01");
        let [0, 0, 7, 1, key, 1] = found[..] else { panic!("{found:?}") };
        assert_eq!(exchange(&mut old, b"\x00\x15\x01"), b"\x00\x00\x00");
        // C_Sign with the held-back C_SignInit: first a refusal of structure, then a signature.
        let user = &stage.users[0];
        let record = approval(user.name(), &user.code());
        let sign = |psbt: &[u8]| {
            let init = [b"\x01\x16\x01\x01\x81\x80\xcc\x9a\x0c\x80\x01", &record[..], &[key]].concat();
            let data = [b"\x17\x01\x00", &varint(psbt.len() as u64)[..], psbt, b"\x01\xff\xff\x03"].concat();
            [init, data].concat()
        };
        let liar = Payment { previous: false, ..Payment::default() }.psbt(&stage.descriptor);
        let refused = [b"\x00\x01", &varint(CKR_COUNTERSIGN_PSBT_REFUSED)[..]].concat();
        assert_eq!(exchange(&mut old, &sign(&liar)), refused);
        assert_eq!(exchange(&mut old, b"\x00\x0b\x01"), session_info, "no more than before");
        let psbt = stage.psbt();
        let signed = exchange(&mut old, &sign(&psbt));
        let (head, signed) = signed.split_at(4 + varint(signed.len() as u64 - 6).len());
        assert_eq!(head[..4], *b"\x00\x00\x09\x01");
        verify_signed(&psbt, signed);
    });
}

/// A boundary of version 2 refuses another version with this.
const REFUSED_FOR_VERSION_2: &[u8] = b"\x01\x00\x02";
/// The first request that version 2 does not have.
const NEW_REQUEST: u8 = 45;

/// Imitates a boundary of version 2 with one of today: it refuses every other version, and knows only the
/// requests of version 2.
fn carry(mut client: UnixStream, to: &Path, refused: &AtomicUsize) {
    let Some(greeting) = next_frame(&mut client) else { return };
    if greeting[4] != 2 {
        refused.fetch_add(1, Ordering::SeqCst);
        let _ = client.write_all(&framed(REFUSED_FOR_VERSION_2));
        return;
    }
    let mut boundary = UnixStream::connect(to).expect("it is served");
    client.write_all(&framed(&exchange(&mut boundary, &greeting))).expect("it is taken");
    while let Some(request) = next_frame(&mut client) {
        // Handles take one byte here.
        assert_ne!(request.get(request.len() - 2), Some(&NEW_REQUEST), "not to an older boundary");
        let answer = exchange(&mut boundary, &request);
        let _ = client.write_all(&framed(&answer));
    }
}

/// Runs `body` in a process of its own, as a client of an older boundary.
fn behind_an_older_one(boundary: &Boundary, body: impl FnOnce(&Stage, &AtomicUsize)) {
    let place = |name| boundary.folder().join(name);
    if boundary.role() == "body" {
        let conf = configure_backends_behind(boundary, "older.sock");
        let mut client = boundary.command("client");
        let _ = Finished::of(client.env("COUNTERSIGN_CONF", &conf)).expect_success();
        return;
    }
    let listener = UnixListener::bind(place("older.sock")).expect("the folder is ours");
    let (refused, to): (Arc<AtomicUsize>, PathBuf) = (Arc::default(), place("backend.sock"));
    let counted = Arc::clone(&refused);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, to, refused) = (client.expect("it connects"), to.clone(), Arc::clone(&counted));
            std::thread::spawn(move || carry(client, &to, &refused));
        }
    });
    body(&Stage::new(&["alice"]), &refused);
}

/// Sessions, refusals and signatures work as before. Only the rule's number is missing.
fn works_without_rules(stage: &Stage) {
    let (raw, session, key) = (&stage.raw, stage.session, stage.key);
    let code = stage.users[0].code();
    let liar = Payment { previous: false, ..Payment::default() }.psbt(&stage.descriptor);
    assert_eq!(raw.state(session), Ok(CKS_RW_USER_FUNCTIONS));
    assert_eq!(stage.sign("alice", &code, &liar), Err(CKR_COUNTERSIGN_PSBT_REFUSED));
    assert_eq!(raw.device_error(session), 0);
    // A held-back C_SignInit is not lost by the query between.
    assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &approval("alice", &code), key), CKR_OK);
    assert_eq!(raw.device_error(session), 0);
    let psbt = stage.psbt();
    verify_signed(&psbt, &raw.sign(session, &psbt).expect("nothing was spent"));
}

#[test]
fn a_boundary_of_version_2_serves_a_client_of_today() {
    in_boundary(this_test!(), |boundary| {
        behind_an_older_one(boundary, |stage, refused| {
            works_without_rules(stage);
            assert!(refused.load(Ordering::SeqCst) > 0, "it was greeted by the newer version first");
        });
    });
}
