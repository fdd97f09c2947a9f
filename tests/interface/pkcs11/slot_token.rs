//! Slot and token management (PKCS#11 v2.40 section 5.5), and Countersign's own PINs.

#![allow(unsafe_code, reason = "wrong pointers are what this is about")]

use core::ptr;

use countersign::kernel::utc::from_digits;
use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::cli::Cli;
use harness::module::raw::{Raw, call};
use harness::module::{
    Boundary, SO_PIN, USER_PIN, assert_rv, initialised_token, now, read_ulong, this_test, ulong,
};

use super::{IS_CLIENT, in_boundary, where_there_is_one_door};

const WRONG: &[u8] = b"none of these";

fn initialised_again() -> Raw {
    let raw = Raw::load();
    assert_rv!(raw.initialize(), CKR_OK);
    raw
}

#[test]
fn there_is_one_slot() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_again();
        for present in [CK_TRUE, CK_FALSE] {
            let mut count = 0;
            assert_rv!(call!(raw, C_GetSlotList(present, ptr::null_mut(), &mut count)), CKR_OK);
            assert_eq!(count, 1);
            let mut slots = [77; 3];
            count = 0;
            assert_rv!(
                call!(raw, C_GetSlotList(present, slots.as_mut_ptr(), &mut count)),
                CKR_BUFFER_TOO_SMALL
            );
            assert_eq!((count, slots), (1, [77; 3]));
            count = 3;
            assert_rv!(call!(raw, C_GetSlotList(present, slots.as_mut_ptr(), &mut count)), CKR_OK);
            assert_eq!((count, slots), (1, [0, 77, 77]));
        }
        assert_rv!(call!(raw, C_GetSlotList(CK_TRUE, ptr::null_mut(), ptr::null_mut())), CKR_ARGUMENTS_BAD);
        let mut info = CK_SLOT_INFO::default();
        assert_rv!(call!(raw, C_GetSlotInfo(1, &mut info)), CKR_SLOT_ID_INVALID);
        assert_rv!(call!(raw, C_GetSlotInfo(0, ptr::null_mut())), CKR_ARGUMENTS_BAD);
        assert_rv!(call!(raw, C_GetSlotInfo(0, &mut info)), CKR_OK);
        assert_eq!(info.flags, CKF_TOKEN_PRESENT);
    });
}

#[test]
fn the_mechanisms_are_listed() {
    const CURVE: CK_FLAGS = CKF_EC_F_P | CKF_EC_OID | CKF_EC_UNCOMPRESS;
    in_boundary(this_test!(), |_| {
        let raw = initialised_again();
        let mut count = 0;
        assert_rv!(call!(raw, C_GetMechanismList(0, ptr::null_mut(), &mut count)), CKR_OK);
        let mut list = vec![0; count as usize];
        let mut few = count - 1;
        assert_rv!(call!(raw, C_GetMechanismList(0, list.as_mut_ptr(), &mut few)), CKR_BUFFER_TOO_SMALL);
        assert_rv!(call!(raw, C_GetMechanismList(0, list.as_mut_ptr(), &mut count)), CKR_OK);
        for (mechanism, flags) in [
            (CKM_COUNTERSIGN_PSBT, CKF_SIGN | CKF_MESSAGE_SIGN),
            (CKM_COUNTERSIGN_DIGEST, CKF_SIGN | CKF_MESSAGE_SIGN | CKF_VERIFY | CURVE),
            (CKM_ECDSA, CKF_SIGN | CKF_VERIFY | CURVE),
            (CKM_EC_KEY_PAIR_GEN, CKF_GENERATE_KEY_PAIR | CURVE),
            (CKM_COUNTERSIGN_TOTP_KEY_GEN, CKF_GENERATE),
            (CKM_COUNTERSIGN_TOTP, CKF_VERIFY),
            (CKM_COUNTERSIGN_WALLET_KEY_GEN, CKF_GENERATE_KEY_PAIR),
        ] {
            assert!(list.contains(&mechanism), "{mechanism:#x}");
            let mut info = CK_MECHANISM_INFO::default();
            assert_rv!(call!(raw, C_GetMechanismInfo(0, mechanism, &mut info)), CKR_OK);
            assert_eq!(info.flags, flags, "{mechanism:#x}");
        }
        let mut info = CK_MECHANISM_INFO::default();
        assert_rv!(call!(raw, C_GetMechanismInfo(0, CKM_ECDSA_SHA256, &mut info)), CKR_MECHANISM_INVALID);
        assert_rv!(call!(raw, C_GetMechanismInfo(1, list[0], &mut info)), CKR_SLOT_ID_INVALID);
        assert_rv!(call!(raw, C_GetMechanismInfo(0, list[0], ptr::null_mut())), CKR_ARGUMENTS_BAD);
        assert_rv!(call!(raw, C_GetMechanismList(1, ptr::null_mut(), &mut count)), CKR_SLOT_ID_INVALID);
        assert_rv!(call!(raw, C_GetMechanismList(0, ptr::null_mut(), ptr::null_mut())), CKR_ARGUMENTS_BAD);
    });
}

#[test]
fn the_token_has_a_clock_that_shows_the_time_before_there_is_anything_else() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_again();
        let shown = || {
            let before = now();
            let info = raw.token_info();
            assert_eq!(info.flags & CKF_CLOCK_ON_TOKEN, CKF_CLOCK_ON_TOKEN);
            let time = from_digits(&info.utcTime).expect("sixteen digits");
            assert!((before..=now()).contains(&time), "{time} is not in {before}..={}", now());
        };
        shown();
        assert_rv!(raw.init_token(0, SO_PIN.as_bytes(), "t"), CKR_OK);
        shown();
    });
}

#[test]
fn a_token_is_initialised_once_and_never_wiped() {
    in_boundary(this_test!(), |boundary| {
        let raw = initialised_again();
        let pin = SO_PIN.as_bytes();
        if boundary.role() == "later" {
            assert_rv!(raw.init_token(0, pin, "again"), CKR_TOKEN_WRITE_PROTECTED);
            assert_eq!(&raw.token_info().label, b"first                           ");
            raw.so();
            return;
        }
        let info = raw.token_info();
        assert_eq!(info.flags & (CKF_TOKEN_INITIALIZED | CKF_USER_PIN_INITIALIZED), 0);
        assert_rv!(call!(raw, C_GetTokenInfo(0, ptr::null_mut())), CKR_ARGUMENTS_BAD);
        assert_rv!(call!(raw, C_GetTokenInfo(1, &mut CK_TOKEN_INFO::default())), CKR_SLOT_ID_INVALID);

        assert_rv!(raw.init_token(1, pin, "first"), CKR_SLOT_ID_INVALID);
        assert_rv!(raw.init_token(0, b"123", "first"), CKR_PIN_LEN_RANGE);
        assert_rv!(raw.init_token(0, &[b'1'; 256], "first"), CKR_PIN_LEN_RANGE);
        let (mut some_pin, mut label) = (pin.to_vec(), [b' '; 32]);
        let len = pin.len() as CK_ULONG;
        assert_rv!(call!(raw, C_InitToken(0, ptr::null_mut(), len, label.as_mut_ptr())), CKR_ARGUMENTS_BAD);
        assert_rv!(
            call!(raw, C_InitToken(0, some_pin.as_mut_ptr(), len, ptr::null_mut())),
            CKR_ARGUMENTS_BAD
        );
        label[0] = 0xff;
        assert_rv!(
            call!(raw, C_InitToken(0, some_pin.as_mut_ptr(), len, label.as_mut_ptr())),
            CKR_ARGUMENTS_BAD,
            "a label that is not UTF-8"
        );
        assert!(!boundary.store().exists(), "none of these made a store");

        assert_rv!(raw.init_token(0, pin, "first"), CKR_OK);
        let info = raw.token_info();
        assert_eq!(&info.label, b"first                           ");
        assert_eq!(info.flags & (CKF_TOKEN_INITIALIZED | CKF_USER_PIN_INITIALIZED), CKF_TOKEN_INITIALIZED);
        assert_rv!(raw.init_token(0, pin, "again"), CKR_TOKEN_WRITE_PROTECTED);
        assert_rv!(raw.init_token(0, b"another pin", "again"), CKR_TOKEN_WRITE_PROTECTED);
        assert_rv!(raw.init_token(0, b"123", "again"), CKR_TOKEN_WRITE_PROTECTED, "no PIN is looked at");
        let session = raw.read_write();
        assert_rv!(raw.init_token(0, pin, "again"), CKR_SESSION_EXISTS);
        assert_rv!(raw.close(session), CKR_OK);
        raw.so();
        assert_rv!(raw.finalize(), CKR_OK);
        boundary.run("later");
    });
}

#[test]
fn only_the_security_officer_sets_the_user_pin() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_again();
        assert_rv!(raw.init_token(0, SO_PIN.as_bytes(), "t"), CKR_OK);
        let pin = USER_PIN.as_bytes();
        raw.as_backend();
        let session = raw.read_write();
        assert_rv!(raw.login(session, CKU_USER, pin), CKR_USER_PIN_NOT_INITIALIZED);
        assert_rv!(raw.init_pin(session, pin), CKR_USER_NOT_LOGGED_IN);
        assert_rv!(raw.close(session), CKR_OK);
        let session = raw.so();
        assert_rv!(raw.init_pin(session, b"123"), CKR_PIN_LEN_RANGE);
        assert_rv!(raw.init_pin(session, &[b'1'; 256]), CKR_PIN_LEN_RANGE);
        assert_rv!(call!(raw, C_InitPIN(session, ptr::null_mut(), 8)), CKR_ARGUMENTS_BAD);
        assert_eq!(raw.token_info().flags & CKF_USER_PIN_INITIALIZED, 0);
        assert_rv!(raw.init_pin(session, pin), CKR_OK);
        assert_ne!(raw.token_info().flags & CKF_USER_PIN_INITIALIZED, 0);
        assert_rv!(raw.close_all(), CKR_OK);
        let session = raw.user();
        assert_rv!(raw.init_pin(session, b"1234"), CKR_USER_NOT_LOGGED_IN, "not the backend's");
    });
}

/// The object of the backends' PIN.
fn user_pin(raw: &Raw, so: CK_SESSION_HANDLE) -> CK_OBJECT_HANDLE {
    let template =
        [(CKA_CLASS, ulong(CKO_HW_FEATURE)), (CKA_HW_FEATURE_TYPE, ulong(CKH_COUNTERSIGN_USER_PIN))];
    let found = raw.find(so, &template).expect("it finds");
    let [pin] = found[..] else { panic!("{} objects of the user PIN", found.len()) };
    pin
}

/// What the security officer sees of the PIN: whether it is locked, how many tries were wrong, whether it is
/// lost, and who made the tries.
fn seen(raw: &Raw, so: CK_SESSION_HANDLE) -> (bool, CK_ULONG, bool, String) {
    let pin = user_pin(raw, so);
    let bytes = |kind| raw.attribute(so, pin, kind).expect("it is shown");
    let truth = |kind| bytes(kind) == [CK_TRUE];
    let tries = String::from_utf8(bytes(CKA_COUNTERSIGN_PIN_TRIES)).expect("UTF-8");
    let failures = read_ulong(raw, so, pin, CKA_COUNTERSIGN_FAILURES);
    (truth(CKA_COUNTERSIGN_LOCKED), failures, truth(CKA_COUNTERSIGN_PIN_LOST), tries)
}

/// The peer whose tries are counted: this user at a door, or "the rest" without a door.
fn ourselves() -> String {
    if IS_CLIENT { format!("user {}", rustix::process::getuid().as_raw()) } else { "the rest".into() }
}

const UNLOCKED: (CK_ATTRIBUTE_TYPE, [u8; 1]) = (CKA_COUNTERSIGN_LOCKED, [CK_FALSE]);
const LOST: (CK_ATTRIBUTE_TYPE, [u8; 1]) = (CKA_COUNTERSIGN_PIN_LOST, [CK_TRUE]);

fn set(raw: &Raw, so: CK_SESSION_HANDLE, (kind, value): (CK_ATTRIBUTE_TYPE, [u8; 1])) -> CK_RV {
    raw.set_attributes(so, user_pin(raw, so), &[(kind, value.to_vec())])
}

#[test]
fn a_user_pin_is_set_once_and_then_only_after_it_was_locked_or_declared_lost() {
    in_boundary(this_test!(), |boundary| {
        let raw = initialised_token();
        let so = raw.so();
        assert_rv!(raw.init_pin(so, b"the officer's own"), CKR_ACTION_PROHIBITED, "it stands");
        assert_rv!(raw.init_pin(so, USER_PIN.as_bytes()), CKR_ACTION_PROHIBITED, "the same one, too");
        assert_eq!(seen(&raw, so), (false, 0, false, String::new()));
        // What the security officer can set of it, and how.
        for (kind, value, wanted) in [
            (CKA_COUNTERSIGN_PIN_LOST, CK_FALSE, CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_COUNTERSIGN_LOCKED, CK_TRUE, CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_COUNTERSIGN_FAILURES, 0, CKR_ATTRIBUTE_READ_ONLY),
        ] {
            assert_rv!(set(&raw, so, (kind, [value])), wanted);
        }
        let both = [UNLOCKED, LOST].map(|(kind, value)| (kind, value.to_vec()));
        assert_rv!(raw.set_attributes(so, user_pin(&raw, so), &both), CKR_TEMPLATE_INCONSISTENT);
        assert_rv!(raw.destroy(so, user_pin(&raw, so)), CKR_ACTION_PROHIBITED);
        assert_eq!(seen(&raw, so), (false, 0, false, String::new()), "none of these did anything");

        let before = pins_in_audit(boundary).len();
        assert_rv!(set(&raw, so, LOST), CKR_OK);
        assert_eq!(seen(&raw, so), (true, 0, true, String::new()));
        assert_rv!(set(&raw, so, UNLOCKED), CKR_OK);
        assert_eq!(seen(&raw, so), (true, 0, true, String::new()), "what is lost is not unlocked");
        assert_rv!(raw.close_all(), CKR_OK);
        raw.as_backend();
        let session = raw.read_write();
        assert_rv!(raw.login(session, CKU_USER, USER_PIN.as_bytes()), CKR_PIN_LOCKED, "it opens nothing");
        assert_rv!(raw.set_pin(session, USER_PIN.as_bytes(), b"stolen"), CKR_PIN_LOCKED);
        let none = raw.find(session, &[(CKA_HW_FEATURE_TYPE, ulong(CKH_COUNTERSIGN_USER_PIN))]);
        assert_eq!(none, Ok(vec![]), "the security officer alone sees it");
        assert_rv!(raw.close_all(), CKR_OK);
        let so = raw.so();
        assert_rv!(raw.init_pin(so, b"another"), CKR_OK, "it was lost");
        assert_rv!(raw.init_pin(so, b"the officer's own"), CKR_ACTION_PROHIBITED, "and stands again");
        assert_rv!(raw.close_all(), CKR_OK);
        raw.as_backend();
        let session = raw.read_write();
        assert_rv!(raw.login(session, CKU_USER, USER_PIN.as_bytes()), CKR_PIN_INCORRECT);
        assert_rv!(raw.login(session, CKU_USER, b"another"), CKR_OK);
        let links = pins_in_audit(boundary);
        let acts: Vec<_> = links[before..].iter().filter(|event| !event.starts_with("so ")).collect();
        assert_eq!(
            acts,
            [
                "user pin-lost",
                "user pin-unlocked",
                "user pin-set",
                "user pin-charged",
                "user pin-charged",
                "user pin-accepted"
            ]
        );
    });
}

/// The events about PINs in the audit, in order.
fn pins_in_audit(boundary: &Boundary) -> Vec<String> {
    let mut command = Cli(boundary).command(&[], &["audit", "export"]);
    command.env("COUNTERSIGN_CONF", boundary.folder().join("countersign.toml"));
    harness::module::Finished::of(&mut command)
        .expect_success()
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
        .filter_map(|link| {
            let event = link["event"].as_str().filter(|event| event.starts_with("pin-"))?;
            Some(format!("{} {event}", link["role"].as_str().expect("whose")))
        })
        .collect()
}

const USER_FLAGS: CK_FLAGS = CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED;
const SO_FLAGS: CK_FLAGS = CKF_SO_PIN_COUNT_LOW | CKF_SO_PIN_FINAL_TRY | CKF_SO_PIN_LOCKED;

#[test]
fn wrong_user_pins_are_counted_over_restarts_and_the_fifth_closes_the_door() {
    in_boundary(this_test!(), |boundary| {
        let flags = |raw: &Raw| raw.token_info().flags & USER_FLAGS;
        let wrong = |raw: &Raw, session| assert_rv!(raw.login(session, CKU_USER, WRONG), CKR_PIN_INCORRECT);
        let as_backend = || {
            let raw = initialised_again();
            raw.as_backend();
            raw
        };
        match boundary.role() {
            "wrong twice" => {
                let raw = as_backend();
                let session = raw.read_only();
                (0..2).for_each(|_| wrong(&raw, session));
                assert_eq!(flags(&raw), CKF_USER_PIN_COUNT_LOW);
                // Without C_Finalize: what was counted stays counted.
                std::process::abort();
            }
            "the rest" => {
                let raw = as_backend();
                assert_eq!(flags(&raw), CKF_USER_PIN_COUNT_LOW, "two were counted before the restart");
                let session = raw.read_write();
                (3..=4).for_each(|_| wrong(&raw, session));
                assert_eq!(flags(&raw), CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY);
                wrong(&raw, session);
                assert_eq!(flags(&raw), CKF_USER_PIN_LOCKED);
                assert_rv!(raw.login(session, CKU_USER, WRONG), CKR_PIN_LOCKED);
            }
            "locked" => {
                let raw = as_backend();
                assert_eq!(flags(&raw), CKF_USER_PIN_LOCKED);
                let session = raw.read_write();
                assert_rv!(raw.login(session, CKU_USER, USER_PIN.as_bytes()), CKR_PIN_LOCKED);
                assert_rv!(raw.set_pin(session, USER_PIN.as_bytes(), b"another"), CKR_PIN_LOCKED);
                assert_rv!(raw.close_all(), CKR_OK);
                // The security officer gives the tries back.
                let so = raw.so();
                assert_eq!(seen(&raw, so), (true, 9, false, format!("5 {}", ourselves())));
                assert_rv!(set(&raw, so, UNLOCKED), CKR_OK);
                assert_eq!(seen(&raw, so), (false, 9, false, String::new()), "those of 30 days stay");
                assert_rv!(raw.close_all(), CKR_OK);
                raw.as_backend();
                let session = raw.read_write();
                (1..=5).for_each(|_| wrong(&raw, session));
                assert_rv!(raw.close_all(), CKR_OK);
                // Or sets a new PIN, if the lock is the PIN's, because no door tells peers apart.
                let so = raw.so();
                assert_rv!(raw.init_pin(so, b"another"), where_there_is_one_door(CKR_OK));
                if IS_CLIENT {
                    assert_rv!(set(&raw, so, LOST), CKR_OK);
                    assert_rv!(raw.init_pin(so, b"another"), CKR_OK);
                }
                assert_eq!(seen(&raw, so), (false, 0, false, String::new()));
                assert_rv!(raw.close_all(), CKR_OK);
                raw.as_backend();
                let session = raw.read_write();
                assert_rv!(raw.login(session, CKU_USER, USER_PIN.as_bytes()), CKR_PIN_INCORRECT);
                assert_rv!(raw.login(session, CKU_USER, b"another"), CKR_OK);
                assert_eq!(flags(&raw), 0, "a right PIN ends the count");
            }
            _ => {
                let raw = initialised_token();
                raw.as_backend();
                assert_eq!(flags(&raw), 0);
                let session = raw.read_only();
                (1..=4).for_each(|_| wrong(&raw, session));
                assert_rv!(raw.login(session, CKU_USER, USER_PIN.as_bytes()), CKR_OK, "the fifth, right");
                assert_eq!(flags(&raw), 0, "a right PIN ends the count");
                assert_rv!(raw.finalize(), CKR_OK);
                let aborted = harness::module::Finished::of(&mut boundary.command("wrong twice"));
                assert!(aborted.status.code().is_none(), "{}{}", aborted.stdout, aborted.stderr);
                boundary.run("the rest");
                boundary.run("locked");
            }
        }
    });
}

#[test]
fn three_wrong_so_pins_make_the_next_try_wait() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let session = raw.read_write();
        let flags = || raw.token_info().flags & SO_FLAGS;
        for (tried, expected) in [
            (1, CKF_SO_PIN_COUNT_LOW),
            (2, CKF_SO_PIN_COUNT_LOW | CKF_SO_PIN_FINAL_TRY),
            (3, CKF_SO_PIN_LOCKED),
        ] {
            assert_rv!(raw.login(session, CKU_SO, WRONG), CKR_PIN_INCORRECT);
            assert_eq!(flags(), expected, "after {tried}");
        }
        assert_rv!(raw.login(session, CKU_SO, SO_PIN.as_bytes()), CKR_PIN_LOCKED, "however right");
        raw.user();
    });
}

#[test]
fn a_pin_is_changed_by_whoever_knows_it() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        raw.as_backend();
        let (old, new) = (USER_PIN.as_bytes(), b"new user pin".as_slice());
        let read_only = raw.read_only();
        assert_rv!(raw.set_pin(read_only, old, new), CKR_SESSION_READ_ONLY);
        assert_rv!(raw.close(read_only), CKR_OK);

        let session = raw.read_write();
        assert_rv!(raw.set_pin(session, old, b"123"), CKR_PIN_LEN_RANGE);
        assert_rv!(raw.set_pin(session, old, &[b'1'; 256]), CKR_PIN_LEN_RANGE);
        let mut pin = old.to_vec();
        let (pin, len) = (pin.as_mut_ptr(), old.len() as CK_ULONG);
        assert_rv!(call!(raw, C_SetPIN(session, ptr::null_mut(), 8, pin, len)), CKR_ARGUMENTS_BAD);
        assert_rv!(call!(raw, C_SetPIN(session, pin, len, ptr::null_mut(), 8)), CKR_ARGUMENTS_BAD);
        assert_eq!(raw.token_info().flags & USER_FLAGS, 0, "none of these was a try");
        assert_rv!(raw.set_pin(session, old, old), CKR_PIN_INVALID, "the same one");
        assert_rv!(raw.set_pin(session, WRONG, WRONG), CKR_PIN_INVALID, "and neither is looked at");
        assert_rv!(raw.set_pin(session, WRONG, new), CKR_PIN_INCORRECT);
        assert_eq!(raw.token_info().flags & USER_FLAGS, CKF_USER_PIN_COUNT_LOW, "this was");
        assert_rv!(raw.set_pin(session, old, new), CKR_OK, "the user's, where nobody is logged in");
        assert_eq!(raw.token_info().flags & USER_FLAGS, 0);
        assert_rv!(raw.login(session, CKU_USER, old), CKR_PIN_INCORRECT);
        assert_rv!(raw.login(session, CKU_USER, new), CKR_OK);
        assert_rv!(raw.set_pin(session, new, old), CKR_OK, "the user's, by the user");
        assert_rv!(raw.logout(session), CKR_OK);

        assert_rv!(raw.close_all(), CKR_OK);
        let session = raw.so();
        assert_rv!(raw.set_pin(session, SO_PIN.as_bytes(), b"new officer pin"), CKR_OK);
        assert_eq!(raw.state(session), Ok(CKS_RW_SO_FUNCTIONS), "whoever changed it goes on");
        assert_rv!(raw.logout(session), CKR_OK);
        // If nobody is logged in, the call concerns the user's PIN, which cannot be tried at the
        // administrators' door.
        assert_rv!(raw.set_pin(session, old, new), where_there_is_one_door(CKR_OK));
        assert_rv!(raw.login(session, CKU_SO, SO_PIN.as_bytes()), CKR_PIN_INCORRECT);
        assert_rv!(raw.login(session, CKU_SO, b"new officer pin"), CKR_OK);
        assert_rv!(raw.close_all(), CKR_OK);
        raw.as_backend();
        let user_pin = if IS_CLIENT { old } else { new };
        assert_rv!(raw.login(raw.read_write(), CKU_USER, user_pin), CKR_OK);
    });
}

#[test]
fn the_command_line_shows_unlocks_loses_and_sets_the_user_pin() {
    in_boundary(this_test!(), |boundary| {
        let (cli, _) = Cli::new(boundary);
        let shown = |lost: bool, locked: bool, failures: u32, peers: serde_json::Value| {
            let pin =
                serde_json::json!({ "lost": lost, "locked": locked, "failures": failures, "peers": peers });
            assert_eq!(cli.does(&["pin", "show"]), serde_json::json!({ "pin": pin }));
        };
        let none = || serde_json::json!([]);
        shown(false, false, 0, none());
        let stands = cli.fails(&["pin", "set"]);
        assert!(stands.contains("neither locked nor lost"), "{stands}");

        boundary.note("wrong.pin", "none of these");
        let digest = "00".repeat(32);
        let log_in = ["key", "sign", "none", "--digest", &digest];
        let wrong: Vec<&str> = log_in.iter().copied().chain(["--user-pin-file", "wrong.pin"]).collect();
        for tried in 1..=5 {
            assert_eq!(cli.fails(&wrong), "the user PIN is wrong", "{tried}");
        }
        for arguments in [&log_in[..], &wrong] {
            let locked = cli.fails(arguments);
            assert!(locked.contains("was not checked"), "{locked}");
        }
        shown(false, true, 5, serde_json::json!([{ "peer": ourselves(), "tries": 5, "locked": true }]));
        let text = cli.text(&["pin", "show"]).expect_success().stdout;
        assert!(text.contains("5 of 100") && text.contains(&format!("5 of 5  {}", ourselves())), "{text}");
        cli.does(&["pin", "unlock"]);
        shown(false, false, 5, none());
        let next = cli.fails(&log_in);
        assert!(!next.contains("PIN"), "it is the key that is missed: {next}");

        cli.does(&["pin", "lost"]);
        shown(true, true, 5, none());
        let lost = cli.fails(&log_in);
        assert!(lost.contains("declared lost"), "{lost}");
        assert!(cli.fails(&["pin", "unlock"]).contains("stays locked"));
        cli.does(&["pin", "set"]);
        shown(false, false, 0, none());
        let next = cli.fails(&log_in);
        assert!(!next.contains("PIN"), "it is the key that is missed: {next}");
    });
}
