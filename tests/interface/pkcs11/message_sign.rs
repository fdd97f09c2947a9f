//! Message-based signing (PKCS#11 v3.2 section 5.14): one operation, and a code of its own for each of its
//! messages.

#![allow(unsafe_code, reason = "the function tables of PKCS#11 are tables of unsafe functions")]

use core::ptr;

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::raw::{Mechanism, Raw, call, call_v3};
use harness::module::wallet::{Payment, verify_signed};
use harness::module::{Stage, USER_PIN, approval, assert_rv, this_test};

use super::in_boundary;

/// Bytes of a buffer that holds every answer of these tests.
const ROOM: usize = 1 << 16;

pub(crate) fn init(raw: &Raw, session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE) -> CK_RV {
    init_with(raw, session, CKM_COUNTERSIGN_PSBT, &[], key)
}

fn init_with(
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_TYPE,
    parameter: &[u8],
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    call_v3!(raw, C_MessageSignInit(session, Mechanism::new(mechanism, parameter).pointer(), key))
}

pub(crate) fn end(raw: &Raw, session: CK_SESSION_HANDLE) -> CK_RV {
    call_v3!(raw, C_MessageSignFinal(session))
}

/// The pointer that a call takes for these bytes, or null if there are none.
fn pointer(bytes: &mut [u8]) -> *mut u8 {
    if bytes.is_empty() { ptr::null_mut() } else { bytes.as_mut_ptr() }
}

/// `C_SignMessage`, once, with a buffer that is large enough.
pub(crate) fn sign(
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    parameter: &[u8],
    data: &[u8],
) -> Result<Vec<u8>, CK_RV> {
    let (mut parameter, mut data, mut signed) = (parameter.to_vec(), data.to_vec(), vec![0; ROOM]);
    let (parameter_len, data_len) = (parameter.len() as CK_ULONG, data.len() as CK_ULONG);
    let (mut len, parameter) = (ROOM as CK_ULONG, pointer(&mut parameter).cast());
    let data = data.as_mut_ptr();
    let out = signed.as_mut_ptr();
    match call_v3!(raw, C_SignMessage(session, parameter, parameter_len, data, data_len, out, &mut len)) {
        CKR_OK => {
            signed.truncate(len as usize);
            Ok(signed)
        }
        rv => Err(rv),
    }
}

pub(crate) fn begin(raw: &Raw, session: CK_SESSION_HANDLE, parameter: &[u8]) -> CK_RV {
    let mut parameter = parameter.to_vec();
    let len = parameter.len() as CK_ULONG;
    call_v3!(raw, C_SignMessageBegin(session, pointer(&mut parameter).cast(), len))
}

/// `C_SignMessageNext` with a part that is not the last.
pub(crate) fn part(raw: &Raw, session: CK_SESSION_HANDLE, parameter: &[u8], part: &[u8]) -> CK_RV {
    let (mut parameter, mut part) = (parameter.to_vec(), part.to_vec());
    let (parameter_len, part_len) = (parameter.len() as CK_ULONG, part.len() as CK_ULONG);
    let (parameter, part) = (pointer(&mut parameter).cast(), pointer(&mut part));
    let (out, len) = (ptr::null_mut(), ptr::null_mut());
    call_v3!(raw, C_SignMessageNext(session, parameter, parameter_len, part, part_len, out, len))
}

/// `C_SignMessageNext` with the last part.
pub(crate) fn last(
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    parameter: &[u8],
    part: &[u8],
) -> Result<Vec<u8>, CK_RV> {
    let (mut signed, mut len) = (vec![0; ROOM], ROOM as CK_ULONG);
    match last_into(raw, session, parameter, part, signed.as_mut_ptr(), &mut len) {
        CKR_OK => {
            signed.truncate(len as usize);
            Ok(signed)
        }
        rv => Err(rv),
    }
}

fn last_into(
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    parameter: &[u8],
    part: &[u8],
    out: *mut u8,
    len: &mut CK_ULONG,
) -> CK_RV {
    let (mut parameter, mut part) = (parameter.to_vec(), part.to_vec());
    let (parameter_len, part_len) = (parameter.len() as CK_ULONG, part.len() as CK_ULONG);
    let (parameter, part) = (pointer(&mut parameter).cast(), pointer(&mut part));
    call_v3!(raw, C_SignMessageNext(session, parameter, parameter_len, part, part_len, out, len))
}

#[test]
fn one_operation_signs_many_messages_each_by_a_code_of_its_own() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice", "bob", "carol", "dave"]);
        let (raw, session) = (&stage.raw, stage.session);
        let [alice, bob, carol, dave] = &stage.users[..] else { panic!("four users") };
        assert_rv!(init(raw, session, stage.key), CKR_OK);

        let psbt = stage.psbt();
        verify_signed(&psbt, &sign(raw, session, &approval("alice", &alice.code()), &psbt).expect("signs"));
        let psbt = stage.psbt();
        verify_signed(&psbt, &sign(raw, session, &approval("bob", &bob.code()), &psbt).expect("another"));

        let psbt = stage.psbt();
        assert_rv!(begin(raw, session, &approval("carol", &carol.code())), CKR_OK);
        assert_rv!(part(raw, session, &[], &psbt[..100]), CKR_OK);
        assert_rv!(part(raw, session, &[], &[]), CKR_OK, "of no bytes");
        verify_signed(&psbt, &last(raw, session, &[], &psbt[100..]).expect("signs in parts"));

        let again = approval("alice", &alice.last_code());
        assert_eq!(sign(raw, session, &again, &stage.psbt()), Err(CKR_PIN_INCORRECT), "each code once");
        let psbt = stage.psbt();
        let signed = sign(raw, session, &approval("dave", &dave.code()), &psbt);
        verify_signed(&psbt, &signed.expect("after a refusal it goes on"));
        assert_rv!(end(raw, session), CKR_OK);
        assert_rv!(end(raw, session), CKR_OPERATION_NOT_INITIALIZED);
    });
}

#[test]
fn the_code_may_come_last() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice", "bob"]);
        let (raw, session, psbt) = (&stage.raw, stage.session, stage.psbt());
        assert_rv!(init(raw, session, stage.key), CKR_OK);
        assert_rv!(begin(raw, session, &[]), CKR_OK);
        assert_rv!(part(raw, session, &[], &psbt), CKR_OK);
        let record = approval("alice", &stage.users[0].code());
        verify_signed(&psbt, &last(raw, session, &record, &[]).expect("signs"));
        // The approval given last is the message's.
        let psbt = stage.psbt();
        let (wrong, right) = (stage.users[1].wrong_code(), stage.users[1].code());
        assert_rv!(begin(raw, session, &approval("bob", &wrong)), CKR_OK);
        assert_rv!(part(raw, session, &approval("bob", &right), &psbt[..7]), CKR_OK);
        verify_signed(&psbt, &last(raw, session, &[], &psbt[7..]).expect("signs"));
        assert_eq!(stage.failures("bob"), 0);
    });
}

#[test]
fn a_length_query_or_too_small_a_buffer_spends_nothing_and_keeps_the_message() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice", "bob"]);
        let (raw, session) = (&stage.raw, stage.session);
        assert_rv!(init(raw, session, stage.key), CKR_OK);
        let mut psbt = stage.psbt();
        let mut record = approval("alice", &stage.users[0].code());
        let (data, data_len) = (psbt.as_mut_ptr(), psbt.len() as CK_ULONG);
        let parameter: CK_VOID_PTR = record.as_mut_ptr().cast();
        let mut signed = vec![0u8; ROOM];
        let mut bound = 0;
        let query = ptr::null_mut();
        for _ in 0..3 {
            let rv = call_v3!(raw, C_SignMessage(session, parameter, 128, data, data_len, query, &mut bound));
            assert_rv!(rv, CKR_OK);
            let mut small = bound - 1;
            let out = signed.as_mut_ptr();
            let rv = call_v3!(raw, C_SignMessage(session, parameter, 128, data, data_len, out, &mut small));
            assert_rv!(rv, CKR_BUFFER_TOO_SMALL);
            assert_eq!(small, bound, "and says how much is needed");
            assert!(signed.iter().all(|byte| *byte == 0), "nothing is written");
        }
        // Asking for a length needs no code.
        let rv = call_v3!(raw, C_SignMessage(session, query.cast(), 0, data, data_len, query, &mut bound));
        assert_rv!(rv, CKR_OK);
        assert_eq!(stage.failures("alice"), 0);
        verify_signed(&psbt, &sign(raw, session, &record, &psbt).expect("the code is as good as before"));

        let record = approval("bob", &stage.users[1].code());
        assert_rv!(begin(raw, session, &record), CKR_OK);
        assert_rv!(part(raw, session, &[], &psbt[..50]), CKR_OK);
        for _ in 0..3 {
            let (mut len, out) = (0, signed.as_mut_ptr());
            assert_rv!(last_into(raw, session, &[], &psbt[50..], ptr::null_mut(), &mut len), CKR_OK);
            assert_eq!(len, bound, "the part is not there twice");
            len -= 1;
            assert_rv!(last_into(raw, session, &[], &psbt[50..], out, &mut len), CKR_BUFFER_TOO_SMALL);
            assert_eq!(len, bound);
            assert!(signed.iter().all(|byte| *byte == 0), "nothing is written");
        }
        assert_eq!(stage.failures("bob"), 0);
        verify_signed(&psbt, &last(raw, session, &[], &psbt[50..]).expect("the message is still there"));
        assert_eq!(last(raw, session, &[], &psbt), Err(CKR_OPERATION_NOT_INITIALIZED), "it ended");
        assert_rv!(end(raw, session), CKR_OK, "the operation did not");
    });
}

#[test]
fn a_malformed_parameter_spends_nothing() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let (raw, session, psbt) = (&stage.raw, stage.session, stage.psbt());
        let good = approval("alice", &stage.users[0].code());
        let changed = |at: usize, byte: u8| {
            let mut record = good.to_vec();
            record[at] = byte;
            record
        };
        assert_rv!(init(raw, session, stage.key), CKR_OK);
        for (what, parameter) in [
            ("a byte short", good[..127].to_vec()),
            ("a record and a half", [&good[..], &good[..64]].concat()),
            ("seventeen records", good.repeat(17)),
            ("over all bounds", vec![1; 70_000]),
            ("version 2", changed(0, 2)),
            ("factor 2", changed(1, 2)),
            ("padding behind the code", changed(127, 1)),
            ("otp-blank: a blank", changed(64, b' ')),
        ] {
            let refused = sign(raw, session, &parameter, &psbt);
            assert_eq!(refused, Err(CKR_MECHANISM_PARAM_INVALID), "C_SignMessage: {what}");
            assert_rv!(begin(raw, session, &parameter), CKR_MECHANISM_PARAM_INVALID, "begun: {what}");
            assert_rv!(part(raw, session, &[], &psbt), CKR_OPERATION_NOT_INITIALIZED, "not begun: {what}");
            assert_rv!(begin(raw, session, &good), CKR_OK);
            assert_rv!(part(raw, session, &parameter, &psbt), CKR_MECHANISM_PARAM_INVALID, "part: {what}");
            assert_rv!(part(raw, session, &[], &psbt), CKR_OPERATION_NOT_INITIALIZED, "ended: {what}");
        }
        let mut psbt_again = psbt.clone();
        let (data, len) = (psbt_again.as_mut_ptr(), psbt_again.len() as CK_ULONG);
        let (null, mut room) = (ptr::null_mut(), 0);
        let rv = call_v3!(raw, C_SignMessage(session, null, 128, data, len, null.cast(), &mut room));
        assert_rv!(rv, CKR_MECHANISM_PARAM_INVALID, "128 bytes at null");
        assert_rv!(call_v3!(raw, C_SignMessageBegin(session, null, 128)), CKR_MECHANISM_PARAM_INVALID);
        assert_eq!(stage.failures("alice"), 0);
        verify_signed(&psbt, &sign(raw, session, &good, &psbt).expect("the code is as good as before"));
    });
}

#[test]
fn no_message_is_signed_without_a_code_or_without_the_backend() {
    in_boundary(this_test!(), |_| {
        let mut stage = Stage::new(&["alice"]);
        let (raw, psbt) = (stage.raw, stage.psbt());
        let record = approval("alice", &stage.users[0].code());
        assert_rv!(init(&raw, stage.session, stage.key), CKR_OK);
        assert_eq!(sign(&raw, stage.session, &[], &psbt), Err(CKR_USER_NOT_LOGGED_IN), "no code");
        assert_rv!(begin(&raw, stage.session, &[]), CKR_OK);
        assert_rv!(part(&raw, stage.session, &[], &psbt), CKR_OK);
        assert_eq!(last(&raw, stage.session, &[], &[]), Err(CKR_USER_NOT_LOGGED_IN), "no code, in parts");
        // A context-specific login belongs to the other operation.
        let login = raw.login(stage.session, CKU_CONTEXT_SPECIFIC, stage.users[0].last_code().as_bytes());
        assert_rv!(login, CKR_OPERATION_NOT_INITIALIZED);

        assert_rv!(begin(&raw, stage.session, &record), CKR_OK);
        assert_rv!(raw.logout(stage.session), CKR_OK);
        assert_eq!(last(&raw, stage.session, &[], &psbt), Err(CKR_OPERATION_NOT_INITIALIZED), "logged out");
        assert_eq!(sign(&raw, stage.session, &record, &psbt), Err(CKR_OPERATION_NOT_INITIALIZED));
        assert_rv!(init(&raw, stage.session, stage.key), CKR_USER_NOT_LOGGED_IN);
        assert_rv!(raw.login(stage.session, CKU_USER, USER_PIN.as_bytes()), CKR_OK);
        assert_rv!(end(&raw, stage.session), CKR_OPERATION_NOT_INITIALIZED, "it does not come back");

        stage.as_so(|raw, so| {
            let key = raw.wallet_key(so, "treasury");
            assert_rv!(init(raw, so, key), CKR_USER_NOT_LOGGED_IN, "the security officer never signs");
        });
        assert_eq!(stage.failures("alice"), 0);
        assert_rv!(init(&raw, stage.session, stage.key), CKR_OK);
        verify_signed(&psbt, &sign(&raw, stage.session, &record, &psbt).expect("nothing was spent"));
    });
}

#[test]
fn the_mechanism_the_key_and_the_order_are_checked() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let (raw, session, key, psbt) = (&stage.raw, stage.session, stage.key, stage.psbt());
        let record = approval("alice", &stage.users[0].code());
        assert_rv!(init_with(raw, session, CKM_COUNTERSIGN_PSBT, &record, key), CKR_MECHANISM_PARAM_INVALID);
        assert_rv!(
            init_with(raw, session, CKM_COUNTERSIGN_DIGEST, &[], key),
            CKR_KEY_FUNCTION_NOT_PERMITTED,
            "raw-digest"
        );
        assert_rv!(init_with(raw, session, CKM_ECDSA, &[], key), CKR_MECHANISM_INVALID);
        assert_rv!(init(raw, session, 9_999), CKR_KEY_HANDLE_INVALID);
        for other in [raw.user_key(session, "alice"), raw.wallet_public(session, "treasury")] {
            assert_rv!(init(raw, session, other), CKR_KEY_TYPE_INCONSISTENT);
        }
        assert_rv!(end(raw, session), CKR_OPERATION_NOT_INITIALIZED, "none of these began one");

        assert_rv!(init(raw, session, key), CKR_OK);
        assert_rv!(init(raw, session, key), CKR_OPERATION_ACTIVE);
        assert_rv!(call_v3!(raw, C_MessageSignInit(session, ptr::null_mut(), 0)), CKR_OK, "it ends it");
        assert_eq!(sign(raw, session, &record, &psbt), Err(CKR_OPERATION_NOT_INITIALIZED));

        assert_rv!(init(raw, session, key), CKR_OK);
        assert_eq!(last(raw, session, &record, &psbt), Err(CKR_OPERATION_NOT_INITIALIZED), "not begun");
        assert_rv!(begin(raw, session, &record), CKR_OK);
        assert_rv!(begin(raw, session, &record), CKR_OPERATION_ACTIVE);
        assert_rv!(part(raw, session, &[], &psbt[..20]), CKR_OK);
        assert_eq!(sign(raw, session, &record, &psbt), Err(CKR_OPERATION_ACTIVE), "in the midst of another");
        let of_another = raw.read_only();
        assert_rv!(part(raw, of_another, &[], &psbt), CKR_OPERATION_NOT_INITIALIZED, "each session alone");
        verify_signed(&psbt, &last(raw, session, &[], &psbt[20..]).expect("goes on where it was"));

        assert_rv!(begin(raw, session, &record), CKR_OK);
        assert_rv!(end(raw, session), CKR_OK, "with a message that is not complete");
        assert_rv!(part(raw, session, &[], &psbt), CKR_OPERATION_NOT_INITIALIZED);
        assert_rv!(init(raw, session, key), CKR_OK);
        assert_rv!(part(raw, session, &[], &psbt), CKR_OPERATION_NOT_INITIALIZED, "which is gone");
    });
}

#[test]
fn a_message_that_is_refused_ends_and_the_operation_goes_on() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice", "bob"]);
        let (raw, session, good) = (&stage.raw, stage.session, stage.psbt());
        let alice = approval("alice", &stage.users[0].code());
        let bob = approval("bob", &stage.users[1].code());
        let liar = Payment { previous: false, ..Payment::default() }.psbt(&stage.descriptor);
        let too_much = Payment { pay: 200_000, ..Payment::default() }.psbt(&stage.descriptor);
        let wrong = approval("alice", &stage.users[0].wrong_code());
        assert_rv!(init(raw, session, stage.key), CKR_OK);
        for (record, psbt, refusal) in [
            (&alice, &b"no psbt"[..], CKR_DATA_INVALID),
            (&alice, &good[..good.len() - 1], CKR_DATA_INVALID),
            (&alice, &liar, CKR_COUNTERSIGN_PSBT_REFUSED),
            (&wrong, &good, CKR_PIN_INCORRECT),
            (&bob, &too_much, CKR_COUNTERSIGN_POLICY),
        ] {
            assert_eq!(sign(raw, session, record, psbt), Err(refusal));
            assert_rv!(begin(raw, session, record), CKR_OK, "after {refusal:#x}");
            assert_rv!(part(raw, session, &[], &psbt[..3]), CKR_OK);
            let again = if refusal == CKR_COUNTERSIGN_POLICY { CKR_PIN_INCORRECT } else { refusal };
            assert_eq!(last(raw, session, &[], &psbt[3..]), Err(again));
            assert_rv!(part(raw, session, &[], &good), CKR_OPERATION_NOT_INITIALIZED, "it ended");
        }
        // A part that is refused ends its message as well.
        assert_rv!(begin(raw, session, &alice), CKR_OK);
        let (null, mut byte) = (ptr::null_mut(), 0u8);
        let rv = call_v3!(raw, C_SignMessageNext(session, null, 0, null.cast(), 5, null.cast(), null.cast()));
        assert_rv!(rv, CKR_ARGUMENTS_BAD);
        assert_rv!(part(raw, session, &[], &good), CKR_OPERATION_NOT_INITIALIZED, "it ended");
        assert_rv!(begin(raw, session, &alice), CKR_OK);
        let too_long = CK_ULONG::MAX;
        let rv =
            call_v3!(raw, C_SignMessageNext(session, null, 0, &mut byte, too_long, null.cast(), null.cast()));
        assert_rv!(rv, CKR_DATA_LEN_RANGE);
        assert_rv!(part(raw, session, &[], &good), CKR_OPERATION_NOT_INITIALIZED, "it ended");

        assert_eq!(stage.failures("alice"), 2, "the wrong code's");
        verify_signed(&good, &sign(raw, session, &alice, &good).expect("the code is as good as before"));
    });
}

#[test]
fn messages_and_a_plain_signature_are_operations_of_their_own() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice", "bob", "carol"]);
        let (raw, session, key) = (&stage.raw, stage.session, stage.key);
        let [alice, bob, carol] = &stage.users[..] else { panic!("three users") };
        let psbt = stage.psbt();
        assert_rv!(init(raw, session, key), CKR_OK);
        assert_rv!(begin(raw, session, &approval("alice", &alice.code())), CKR_OK);
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], key), CKR_OK);
        assert_rv!(raw.sign_update(session, &psbt[..9]), CKR_OK);
        assert_rv!(part(raw, session, &[], &psbt[..200]), CKR_OK);
        assert_rv!(raw.sign_update(session, &psbt[9..]), CKR_OK);
        let login = format!("bob:{}", bob.code());
        assert_rv!(raw.login(session, CKU_CONTEXT_SPECIFIC, login.as_bytes()), CKR_OK);
        verify_signed(&psbt, &last(raw, session, &[], &psbt[200..]).expect("the message, by alice's code"));
        verify_signed(&psbt, &raw.sign_final(session).expect("the other, by bob's"));

        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], key), CKR_OK);
        assert_rv!(begin(raw, session, &approval("carol", &carol.code())), CKR_OK);
        assert_rv!(call_v3!(raw, C_SessionCancel(session, CKF_SIGN)), CKR_OK);
        assert_rv!(raw.sign_update(session, &psbt), CKR_OPERATION_NOT_INITIALIZED);
        assert_rv!(part(raw, session, &[], &psbt[..1]), CKR_OK, "goes on");
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], key), CKR_OK);
        assert_rv!(call_v3!(raw, C_SessionCancel(session, CKF_MESSAGE_SIGN)), CKR_OK);
        assert_rv!(part(raw, session, &[], &psbt[1..]), CKR_OPERATION_NOT_INITIALIZED);
        assert_rv!(end(raw, session), CKR_OPERATION_NOT_INITIALIZED);
        assert_rv!(raw.sign_update(session, &psbt), CKR_OK, "goes on");
    });
}

#[test]
fn toctou_the_approval_is_copied_when_it_comes() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let (raw, session, psbt) = (&stage.raw, stage.session, stage.psbt());
        let mut record = approval("alice", &stage.users[0].code());
        assert_rv!(init(raw, session, stage.key), CKR_OK);
        assert_rv!(call_v3!(raw, C_SignMessageBegin(session, record.as_mut_ptr().cast(), 128)), CKR_OK);
        record.fill(0xff);
        verify_signed(&psbt, &last(raw, session, &[], &psbt).expect("by what came first"));
    });
}

#[test]
fn oversize_unfinished_messages_are_counted_with_the_other_operations() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let raw = &stage.raw;
        let mut long = vec![0u8; 15 << 20];
        let (long, len) = (long.as_mut_ptr(), long.len() as CK_ULONG);
        let more = |session| {
            let null = ptr::null_mut();
            call_v3!(raw, C_SignMessageNext(session, null, 0, long, len, null.cast(), null.cast()))
        };
        let open = || {
            let session = raw.read_only();
            assert_rv!(init(raw, session, stage.key), CKR_OK);
            assert_rv!(begin(raw, session, &[]), CKR_OK);
            session
        };
        let sessions = [open(), open(), open()];
        for session in sessions {
            assert_rv!(more(session), CKR_OK);
        }
        let plain = raw.read_only();
        assert_rv!(raw.sign_init(plain, CKM_COUNTERSIGN_PSBT, &[], stage.key), CKR_OK);
        assert_rv!(call!(raw, C_SignUpdate(plain, long, len)), CKR_OK);
        let one_more = open();
        assert_rv!(more(one_more), CKR_DEVICE_MEMORY);
        assert_rv!(part(raw, one_more, &[], b"x"), CKR_OPERATION_NOT_INITIALIZED, "it ended");
        assert_rv!(begin(raw, one_more, &[]), CKR_OK, "the operation did not");
        // What a session gives up is available again.
        assert_rv!(more(sessions[0]), CKR_DATA_LEN_RANGE, "over the bound of one PSBT");
        assert_rv!(more(one_more), CKR_OK);
    });
}
