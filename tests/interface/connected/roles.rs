//! What a backend can do through its socket, and what applications see of each other.

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::doors::{AS_BACKEND, BACKENDS};
use harness::module::raw::Raw;
use harness::module::wallet::verify_signed;
use harness::module::{
    Boundary, SO_PIN, Stage, USER_PIN, approval, assert_rv, enrol, enrol_confirmed, initialised_token,
    this_test, ulong,
};
use harness::served::in_boundary;

/// Runs the test's role `backend`, which has only the backends' configuration.
fn as_backend(boundary: &Boundary) {
    let conf = boundary.folder().join(BACKENDS);
    let mut command = boundary.command("backend");
    command.env("COUNTERSIGN_CONF", &conf).env(AS_BACKEND, "1");
    let _ = harness::module::Finished::of(&mut command).expect_success();
}

#[test]
fn a_backend_is_never_the_security_officer_however_right_the_pin() {
    in_boundary(this_test!(), |boundary| match boundary.role() {
        "body" => {
            let raw = initialised_token();
            as_backend(boundary);
            // No try was charged, so a backend cannot lock the security officer out.
            assert_eq!(raw.token_info().flags & (CKF_SO_PIN_COUNT_LOW | CKF_SO_PIN_LOCKED), 0);
            raw.so();
        }
        _ => {
            let raw = Raw::load();
            assert_rv!(raw.initialize(), CKR_OK);
            assert_rv!(raw.init_token(0, SO_PIN.as_bytes(), "mine"), CKR_ACTION_PROHIBITED);
            let session = raw.read_write();
            for _ in 0..12 {
                assert_rv!(raw.login(session, CKU_SO, b"a wrong one"), CKR_ACTION_PROHIBITED);
            }
            assert_rv!(raw.login(session, CKU_SO, SO_PIN.as_bytes()), CKR_ACTION_PROHIBITED);
            assert_eq!(raw.state(session), Ok(CKS_RW_PUBLIC_SESSION));
            assert_rv!(raw.login(session, CKU_USER, USER_PIN.as_bytes()), CKR_OK);
            assert_rv!(raw.init_pin(session, b"another pin"), CKR_USER_NOT_LOGGED_IN);
        }
    });
}

#[test]
fn a_login_that_the_sessions_do_not_allow_is_answered_as_pkcs11_says_whichever_the_door() {
    in_boundary(this_test!(), |boundary| match boundary.role() {
        "body" => {
            let raw = initialised_token();
            as_backend(boundary);
            let so = raw.so();
            let rv = raw.login(so, CKU_USER, USER_PIN.as_bytes());
            assert_rv!(rv, CKR_USER_ANOTHER_ALREADY_LOGGED_IN);
            assert_rv!(raw.logout(so), CKR_OK);
            assert_rv!(raw.login(so, CKU_USER, USER_PIN.as_bytes()), CKR_ACTION_PROHIBITED);
        }
        _ => {
            let raw = Raw::load();
            assert_rv!(raw.initialize(), CKR_OK);
            let session = raw.user();
            let by_so = || raw.login(session, CKU_SO, SO_PIN.as_bytes());
            assert_rv!(by_so(), CKR_USER_ANOTHER_ALREADY_LOGGED_IN);
            assert_rv!(raw.logout(session), CKR_OK);
            let read_only = raw.read_only();
            assert_rv!(by_so(), CKR_SESSION_READ_ONLY_EXISTS);
            assert_rv!(raw.close(read_only), CKR_OK);
            assert_rv!(by_so(), CKR_ACTION_PROHIBITED);
        }
    });
}

#[test]
fn a_backend_that_is_refused_without_end_does_not_fill_the_log() {
    const TRIES: usize = 600;
    let log = in_boundary(this_test!(), |boundary| match boundary.role() {
        "body" => {
            initialised_token();
            as_backend(boundary);
        }
        _ => {
            let raw = Raw::load();
            assert_rv!(raw.initialize(), CKR_OK);
            let session = raw.read_write();
            for _ in 0..TRIES {
                assert_rv!(raw.login(session, CKU_SO, b"a wrong one"), CKR_ACTION_PROHIBITED);
            }
        }
    });
    // Sixty, and one for each second that this takes.
    let lines = log.lines().filter(|line| line.contains("refused a backend's call")).count();
    assert!((60..TRIES / 2).contains(&lines), "{lines} lines");
}

#[test]
fn a_token_is_not_initialised_through_the_backends_socket() {
    in_boundary(this_test!(), |boundary| match boundary.role() {
        "body" => {
            as_backend(boundary);
            assert!(!boundary.store().exists());
        }
        _ => {
            let raw = Raw::load();
            assert_rv!(raw.initialize(), CKR_OK);
            assert_rv!(raw.init_token(0, SO_PIN.as_bytes(), "mine"), CKR_ACTION_PROHIBITED);
        }
    });
}

#[test]
fn a_backend_signs_by_both_ways_of_attaching_the_code() {
    in_boundary(this_test!(), |boundary| match boundary.role() {
        "body" => {
            let stage = Stage::new(&["alice"]);
            let psbt = stage.psbt();
            boundary.note("psbt", &data_encoding::HEXLOWER.encode(&psbt));
            boundary.note("first", &stage.users[0].code());
            as_backend(boundary);
        }
        _ => {
            let raw = Raw::load();
            assert_rv!(raw.initialize(), CKR_OK);
            let psbt = data_encoding::HEXLOWER.decode(boundary.noted("psbt").as_bytes()).expect("hex");
            let (session, code) = (raw.user(), boundary.noted("first"));
            let key = raw.wallet_key(session, "treasury");
            let signed =
                raw.countersign(session, key, &approval("alice", &code), &psbt).expect("the right code");
            verify_signed(&psbt, &signed);
            // The same code on the same transaction, attached in the other way, gives the same signatures.
            assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], key), CKR_OK);
            assert_rv!(raw.login(session, CKU_CONTEXT_SPECIFIC, format!("alice:{code}").as_bytes()), CKR_OK);
            assert_eq!(raw.sign(session, &psbt), Ok(signed));
        }
    });
}

#[test]
fn applications_at_once_have_logins_sessions_and_handles_of_their_own() {
    in_boundary(this_test!(), |boundary| match boundary.role() {
        "body" => {
            let stage = Stage::new(&["alice"]);
            boundary.note("session", &stage.session.to_string());
            boundary.note("key", &stage.key.to_string());
            let _ = boundary.run("other");
            assert_eq!(stage.raw.state(stage.session), Ok(CKS_RW_USER_FUNCTIONS), "as it was");
            assert!(stage.sign("alice", &stage.users[0].code(), &stage.psbt()).is_ok());
        }
        _ => {
            let raw = Raw::load();
            assert_rv!(raw.initialize(), CKR_OK);
            let number = |name: &str| boundary.noted(name).parse::<CK_ULONG>().expect("a number");
            let theirs = number("session");
            assert_eq!(raw.state(theirs), Err(CKR_SESSION_HANDLE_INVALID));
            assert_rv!(raw.close(theirs), CKR_SESSION_HANDLE_INVALID);
            let session = raw.read_write();
            assert_eq!(raw.state(session), Ok(CKS_RW_PUBLIC_SESSION), "their login is not ours");
            assert_eq!(raw.attribute(session, number("key"), CKA_LABEL), Err(CKR_OBJECT_HANDLE_INVALID));
            assert_rv!(raw.close_all(), CKR_OK, "ours");
        }
    });
}

const USERS: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

#[test]
fn an_object_that_another_application_destroyed_is_an_invalid_handle() {
    in_boundary(this_test!(), |boundary| match boundary.role() {
        "body" => {
            let mut stage = Stage::new(&["alice"]);
            stage.as_so(|raw, so| drop(enrol_confirmed(raw, so, "bob")));
            let (raw, session) = (&stage.raw, stage.session);
            let bob = raw.user_key(session, "bob");
            // During an operation that verifies with it.
            let other = raw.read_only();
            assert_rv!(raw.verify_init(other, bob), CKR_OK);
            let _ = boundary.run("officer");
            assert_eq!(raw.attribute(session, bob, CKA_LABEL), Err(CKR_OBJECT_HANDLE_INVALID));
            assert_rv!(raw.verify_init(session, bob), CKR_KEY_HANDLE_INVALID);
            assert_rv!(raw.verify_code(other, &[], b"12345678"), CKR_PIN_INCORRECT, "as of an unknown user");
            assert!(!raw.find(session, &[]).expect("it finds").contains(&bob));
            assert!(stage.sign("alice", &stage.users[0].code(), &stage.psbt()).is_ok(), "the rest goes on");
        }
        _ => {
            let raw = Raw::load();
            assert_rv!(raw.initialize(), CKR_OK);
            let so = raw.so();
            assert_rv!(raw.destroy(so, raw.user_key(so, "bob")), CKR_OK);
        }
    });
}

#[test]
fn a_handle_is_invalid_once_another_application_destroyed_its_object_even_if_there_is_one_of_that_name_again()
{
    in_boundary(this_test!(), |boundary| match boundary.role() {
        "body" => {
            let raw = initialised_token();
            let so = raw.so();
            // One for each call, because the first call that finds an object gone forgets its handle.
            let mut enrolled = USERS.iter().map(|name| {
                let template = [(CKA_LABEL, name.as_bytes().to_vec())];
                raw.generate_key(so, CKM_COUNTERSIGN_TOTP_KEY_GEN, &template).expect("made")
            });
            let mut next = || enrolled.next().expect("there are five");
            let (read, sized, changed, destroyed, verified) = (next(), next(), next(), next(), next());
            let _ = boundary.run("other");
            assert_eq!(raw.attribute(so, read, CKA_LABEL), Err(CKR_OBJECT_HANDLE_INVALID));
            assert_eq!(raw.object_size(so, sized), Err(CKR_OBJECT_HANDLE_INVALID));
            let unlock = [(CKA_COUNTERSIGN_LOCKED, vec![CK_FALSE])];
            assert_rv!(raw.set_attributes(so, changed, &unlock), CKR_OBJECT_HANDLE_INVALID);
            assert_rv!(raw.destroy(so, destroyed), CKR_OBJECT_HANDLE_INVALID);
            assert_rv!(raw.verify_init(so, verified), CKR_KEY_HANDLE_INVALID);
            for name in USERS {
                let user = raw.user_key(so, name);
                assert!(![read, sized, changed, destroyed, verified].contains(&user), "{name}");
                // The URI of an enrolment that nobody read is not shown for the enrolment that came after it.
                let uri = raw.attribute(so, user, CKA_COUNTERSIGN_OTPAUTH_URI);
                assert_eq!(uri, Err(CKR_ATTRIBUTE_SENSITIVE), "{name}");
            }
        }
        _ => {
            let raw = Raw::load();
            assert_rv!(raw.initialize(), CKR_OK);
            let so = raw.so();
            for name in USERS {
                assert_rv!(raw.destroy(so, raw.user_key(so, name)), CKR_OK);
                enrol(&raw, so, name);
            }
        }
    });
}

#[test]
fn a_login_ends_in_every_application_once_its_pin_is_changed_or_lost() {
    in_boundary(this_test!(), |boundary| match boundary.role() {
        "body" => {
            let mut stage = Stage::new(&["alice"]);
            let (raw, psbt) = (stage.raw, stage.psbt());
            let record = approval("alice", &stage.users[0].code());
            // During an operation that signs.
            let other = raw.read_write();
            assert_rv!(raw.sign_init(other, CKM_COUNTERSIGN_PSBT, &record, stage.key), CKR_OK);
            assert_rv!(raw.sign_update(other, &psbt[..20]), CKR_OK);
            let _ = boundary.run("another backend");
            assert_rv!(raw.sign_update(other, &psbt[20..]), CKR_OPERATION_NOT_INITIALIZED);
            assert_eq!(raw.state(stage.session), Ok(CKS_RW_PUBLIC_SESSION));
            let signed = raw.countersign(stage.session, stage.key, &record, &psbt);
            assert_eq!(signed, Err(CKR_USER_NOT_LOGGED_IN));
            // The login was missing, and nothing else.
            let mut log_in = || {
                assert_rv!(raw.login(stage.session, CKU_USER, CHANGED), CKR_OK);
                stage.key = raw.wallet_key(stage.session, "treasury");
                raw.countersign(stage.session, stage.key, &record, &psbt)
            };
            assert!(log_in().is_ok());
            let _ = boundary.run("officer");
            // The same call again, which would give a logged-in caller the same answer.
            let signed = raw.countersign(stage.session, stage.key, &record, &psbt);
            assert_eq!(signed, Err(CKR_USER_NOT_LOGGED_IN));
            assert_rv!(raw.login(stage.session, CKU_USER, CHANGED), CKR_PIN_LOCKED, "it is lost");
        }
        "another backend" => {
            let raw = Raw::load();
            assert_rv!(raw.initialize(), CKR_OK);
            let session = raw.user();
            assert_rv!(raw.set_pin(session, USER_PIN.as_bytes(), CHANGED), CKR_OK);
            assert_eq!(raw.state(session), Ok(CKS_RW_USER_FUNCTIONS), "whoever changed it goes on");
        }
        _ => {
            let raw = Raw::load();
            assert_rv!(raw.initialize(), CKR_OK);
            let so = raw.so();
            let class =
                [(CKA_CLASS, ulong(CKO_HW_FEATURE)), (CKA_HW_FEATURE_TYPE, ulong(CKH_COUNTERSIGN_USER_PIN))];
            let pin = raw.find(so, &class).expect("it finds")[0];
            assert_rv!(raw.set_attributes(so, pin, &[(CKA_COUNTERSIGN_PIN_LOST, vec![CK_TRUE])]), CKR_OK);
        }
    });
}

/// The PIN that another backend sets.
const CHANGED: &[u8] = b"changed-1f2e3d";

#[test]
fn an_administrator_is_never_a_backend_however_right_the_pin() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let session = raw.read_write();
        for _ in 0..7 {
            assert_rv!(raw.login(session, CKU_USER, b"a wrong one"), CKR_ACTION_PROHIBITED);
        }
        assert_rv!(raw.login(session, CKU_USER, USER_PIN.as_bytes()), CKR_ACTION_PROHIBITED);
        assert_eq!(raw.state(session), Ok(CKS_RW_PUBLIC_SESSION));
        // No try was charged, so an administrator cannot lock the backends out.
        raw.user();
        assert_eq!(raw.token_info().flags & (CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_LOCKED), 0);
    });
}

#[test]
fn the_session_objects_of_an_application_are_its_own() {
    in_boundary(this_test!(), |boundary| {
        const NOTE: &[u8] = b"note";
        let template = [(CKA_CLASS, ulong(CKO_DATA)), (CKA_LABEL, NOTE.to_vec())];
        match boundary.role() {
            "body" => {
                let raw = initialised_token();
                let session = raw.read_only();
                let note = raw.create(session, &template).expect("it is made");
                boundary.note("note", &note.to_string());
                let _ = boundary.run("other");
                assert_eq!(raw.find(session, &template), Ok(vec![note]), "as it was");
            }
            _ => {
                let raw = Raw::load();
                assert_rv!(raw.initialize(), CKR_OK);
                let session = raw.read_only();
                let theirs = boundary.noted("note").parse().expect("a number");
                assert_eq!(raw.find(session, &template), Ok(vec![]));
                assert_eq!(raw.attribute(session, theirs, CKA_LABEL), Err(CKR_OBJECT_HANDLE_INVALID));
                assert_rv!(raw.destroy(session, theirs), CKR_OBJECT_HANDLE_INVALID);
                // While it is full for one application, there is room for another.
                for _ in 0..1_024 {
                    raw.create(session, &template).expect("there is room");
                }
                assert_eq!(raw.create(session, &template), Err(CKR_DEVICE_MEMORY));
            }
        }
    });
}
