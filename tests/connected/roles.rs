//! What comes in through the backends' socket, and what of one application another one sees.

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use crate::boundary::raw::Raw;
use crate::boundary::wallet::verify_signed;
use crate::boundary::{
    Boundary, SO_PIN, Stage, USER_PIN, approval, assert_rv, enrol, enrol_confirmed, in_boundary,
    initialised_token, this_test, ulong,
};

/// Writes a configuration for the backends' socket, and runs the test's role `backend` with it.
fn as_backend(boundary: &Boundary) {
    let conf = boundary.folder().join("backend.toml");
    let text = std::fs::read_to_string(boundary.conf()).expect("it was written");
    std::fs::write(&conf, text.replace("administrators.sock", "backend.sock")).expect("the folder is ours");
    let _ = crate::boundary::Finished::of(boundary.command("backend").env("COUNTERSIGN_CONF", &conf))
        .expect_success();
}

#[test]
fn a_backend_is_never_the_security_officer_however_right_the_pin() {
    in_boundary(this_test!(), |boundary| match boundary.role() {
        "body" => {
            let raw = initialised_token();
            as_backend(boundary);
            // Not one try was charged: a backend cannot lock the security officer out.
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
            // The same code on the same transaction, the other way: the same signatures.
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
            // In the midst of verifying with it.
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
            // One for each call: the first call that meets an object gone forgets its handle.
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
                // The enrolment that nobody read is not shown for the one that came after it.
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
                // Full of one application's, there is room for another's.
                for _ in 0..1_024 {
                    raw.create(session, &template).expect("there is room");
                }
                assert_eq!(raw.create(session, &template), Err(CKR_DEVICE_MEMORY));
            }
        }
    });
}
