//! The sockets: a backend can come in only by its own, and only as a backend.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use countersign::remote::hello::{Hello, Refusal, VERSION, Welcome};
use cryptoki_sys::*;
use rustix::process::Signal;

use harness::module::raw::Raw;
use harness::module::wallet::verify_signed;
use harness::module::{assert_rv, report, this_test};
use harness::users::{BACKEND, LONG, Wall, behind_the_wall, http, sign_order};

#[test]
fn the_backend_does_its_own_work_with_a_right_code_and_nothing_without() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            let serving = wall.serve();
            let customer = wall.set_up_wallet();
            customer.order(wall, &customer.wrong_code());
            assert_eq!(wall.run(BACKEND, "backend").value("answer"), format!("{CKR_PIN_INCORRECT:#x}"));
            let psbt = customer.order(wall, &customer.code());
            let answer = wall.run(BACKEND, "backend").value("answer").to_owned();
            verify_signed(&psbt, &data_encoding::HEXLOWER.decode(answer.as_bytes()).expect("a PSBT in hex"));
            assert!(serving.stop().success());
        }
        _ => match sign_order(wall) {
            Ok(signed) => report("answer", data_encoding::HEXLOWER.encode(&signed)),
            Err(rv) => report("answer", format!("{rv:#x}")),
        },
    });
}

/// The response to a stranger's bytes: the greeting's answer, and what comes after it.
fn greeted(wall: &Wall, socket: &str, write: &[u8]) -> (Option<Welcome>, Vec<u8>) {
    let mut stream = UnixStream::connect(wall.path("run").join(socket)).expect("every user may knock");
    stream.set_read_timeout(Some(LONG)).expect("ours");
    // The connection may be closed already.
    let _ = stream.write_all(write);
    let _ = stream.shutdown(Shutdown::Write);
    let mut bytes = Vec::new();
    let mut chunk = [0; 512];
    while let Ok(more @ 1..) = stream.read(&mut chunk) {
        bytes.extend_from_slice(&chunk[..more]);
    }
    let Some((header, rest)) = bytes.split_first_chunk::<4>() else { return (None, bytes) };
    let length = u32::from_le_bytes(*header) as usize;
    let (payload, rest) = rest.split_at(length.min(rest.len()));
    (Welcome::decode(payload), rest.to_vec())
}

fn hello() -> Vec<u8> {
    let hello = Hello { join: None, first_handle: 1 }.encode(VERSION);
    [&(hello.len() as u32).to_le_bytes()[..], &hello].concat()
}

#[test]
fn the_administrators_socket_hears_nothing_from_a_backend() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            let mut serving = wall.serve();
            let _ = wall.run(BACKEND, "refused");
            let metrics =
                http(&wall.path("run/monitoring.sock"), "GET /metrics HTTP/1.1\r\n\r\n").expect("root may");
            for line in [
                "countersign_peers_refused_total{door=\"administrators\",reason=\"not_allowed\"} 6",
                "countersign_calls_total{outcome=\"answered\"} 0",
            ] {
                assert!(metrics.contains(line), "{line}\n{metrics}");
            }
            assert!(!metrics.contains("countersign_applications{role=\"administrator\"} 1"), "{metrics}");
            assert!(
                serving.log().contains(&format!("user {BACKEND} is not among serve.administrators.users"))
            );
            // The same attack works once the user is admitted, so the list is what keeps it out.
            let door = "administrators.sock\"\nusers = [0";
            let configuration = wall.configuration();
            assert!(configuration.contains(door));
            wall.configure(&configuration.replace(door, &format!("{door}, {BACKEND}")));
            serving.signal(Signal::HUP);
            assert!(serving.told().starts_with("RELOADING=1"));
            assert!(serving.told().starts_with("READY=1"));
            let _ = wall.run(BACKEND, "let in");
            assert!(serving.stop().success());
        }
        "refused" => {
            // Before a byte was written, in the middle of a frame, after whole frames: the same response, and
            // nothing else.
            let two = [hello(), vec![1, 0, 0, 0, 0]].concat();
            for write in [&b""[..], &hello(), &hello()[..6], &two, &[0xff; 4096]] {
                let (welcome, rest) = greeted(wall, "administrators.sock", write);
                assert!(matches!(welcome, Some(Welcome::Refused(Refusal::NotAllowed))), "{welcome:?}");
                assert!(rest.is_empty());
            }
            let text = fs::read_to_string(wall.path("client/client.toml")).expect("it is ours");
            fs::write(wall.path("client/client.toml"), text.replace("backend.sock", "administrators.sock"))
                .expect("it is ours");
            assert_rv!(Raw::load().initialize(), CKR_DEVICE_ERROR, "and by the library");
        }
        _ => {
            let (welcome, _) = greeted(wall, "administrators.sock", &hello());
            assert!(matches!(welcome, Some(Welcome::Accepted { .. })), "{welcome:?}");
        }
    });
}

#[test]
fn the_security_officers_pin_is_worth_nothing_at_the_backends_socket_and_costs_nothing() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            let serving = wall.serve();
            let _ = wall.set_up_wallet();
            wall.give("so.pin", &wall.noted("so.pin"));
            let _ = wall.run(BACKEND, "backend");
            let monitoring = wall.path("run/monitoring.sock");
            let metrics = http(&monitoring, "GET /metrics HTTP/1.1\r\n\r\n").expect("root may");
            let counted = "countersign_administration_total{act=\"by-backend\",outcome=\"refused\"} 14";
            assert!(metrics.contains(counted), "{metrics}");
            // Ten wrong tries would have locked it for good.
            let _ = wall.run(0, "officer");
            assert!(serving.stop().success());
        }
        "backend" => {
            let raw = Raw::load();
            assert_rv!(raw.initialize(), CKR_OK);
            let (so_pin, user_pin) = (wall.given("so.pin"), wall.given("user.pin"));
            let session = raw.read_write();
            for _ in 0..12 {
                assert_rv!(raw.login(session, CKU_SO, b"a wrong one"), CKR_ACTION_PROHIBITED);
            }
            assert_rv!(raw.login(session, CKU_SO, so_pin.as_bytes()), CKR_ACTION_PROHIBITED);
            assert_rv!(raw.close_all(), CKR_OK);
            assert_rv!(raw.init_token(0, so_pin.as_bytes(), "mine"), CKR_ACTION_PROHIBITED);
            let session = raw.read_write();
            assert_rv!(raw.login(session, CKU_USER, user_pin.as_bytes()), CKR_OK);
            assert_rv!(raw.init_pin(session, b"another one"), CKR_USER_NOT_LOGGED_IN);
        }
        _ => {
            let raw = Raw::load();
            assert_rv!(raw.initialize(), CKR_OK);
            let flags = raw.token_info().flags;
            assert_eq!(flags & (CKF_SO_PIN_COUNT_LOW | CKF_SO_PIN_FINAL_TRY | CKF_SO_PIN_LOCKED), 0);
            assert_rv!(raw.login(raw.read_write(), CKU_SO, wall.noted("so.pin").as_bytes()), CKR_OK);
        }
    });
}

#[test]
fn the_monitoring_is_closed_to_a_backend() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            let serving = wall.serve();
            let health =
                http(&wall.path("run/monitoring.sock"), "GET /health HTTP/1.1\r\n\r\n").expect("root may");
            assert!(health.ends_with("ok\n"), "{health}");
            let _ = wall.run(BACKEND, "attacker");
            assert!(serving.stop().success());
        }
        _ => {
            assert!(
                UnixStream::connect(wall.path("run/backend.sock")).is_ok(),
                "its own socket is open to it"
            );
            let error = http(&wall.path("run/monitoring.sock"), "GET /metrics HTTP/1.1\r\n\r\n");
            assert_eq!(error.expect_err("not its own").kind(), ErrorKind::PermissionDenied);
        }
    });
}
