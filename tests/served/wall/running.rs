//! The real program with the real module, under a service manager.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::time::Instant;

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;
use rusqlite::Connection;
use rustix::process::Signal;

use harness::engine::officers::Signers;
use harness::module::raw::Raw;
use harness::module::{assert_rv, report, this_test, ulong};

use super::memory::wait_for;
use harness::users::{
    BACKEND, BOUNDARY, Backend, LONG, Serving, USER, WALLET, Wall, behind_the_wall, ended, http, sign_order,
};

fn reload(serving: &mut Serving) {
    serving.signal(Signal::HUP);
    assert!(serving.told().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert!(serving.told().starts_with("READY=1"));
}

#[test]
fn a_backend_removed_from_the_list_is_disconnected_by_the_next_sighup() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            let mut serving = wall.serve();
            let _ = wall.set_up_wallet();
            let right = wall.configuration();
            let mut client = wall.command(BACKEND, "client");
            let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
            wait_for(&mut client, "connected");
            // An unusable configuration changes nothing, and the log says why.
            wall.configure(&right.replace("[serve.backend]", "[serve.backends]"));
            reload(&mut serving);
            assert!(
                serving.log().contains("the new configuration is refused as a whole"),
                "{}",
                serving.log()
            );
            let _ = wall.run(BACKEND, "allowed");
            wall.configure(&right.replace(&format!("users = [{BACKEND}]"), "users = [0]"));
            reload(&mut serving);
            assert!(serving.log().contains(&format!("user {BACKEND} may not connect any more")));
            let _ = wall.run(BACKEND, "not allowed");
            wall.configure(&right);
            reload(&mut serving);
            let _ = wall.run(BACKEND, "allowed");
            drop(client.stdin.take());
            assert!(ended(&mut client).expect("it ends").success());
            assert!(serving.stop().success());
        }
        "client" => {
            let raw = Raw::load();
            assert_rv!(raw.initialize(), CKR_OK);
            let session = raw.read_write();
            println!("\nconnected");
            let _ = std::io::stdin().read_line(&mut String::new());
            assert_eq!(raw.state(session), Err(CKR_DEVICE_REMOVED), "the connection was closed");
        }
        role => {
            let wanted = if role == "allowed" { CKR_OK } else { CKR_DEVICE_ERROR };
            assert_rv!(Raw::load().initialize(), wanted);
        }
    });
}

#[test]
fn a_reload_refuses_a_configuration_that_others_can_write_to() {
    behind_the_wall(this_test!(), |wall| {
        let mut serving = wall.serve();
        let door = format!("users = [{BACKEND}]");
        wall.configure(&wall.configuration().replace(&door, "users = [0]"));
        fs::set_permissions(wall.path("boundary/inside.toml"), Permissions::from_mode(0o666))
            .expect("root may");
        reload(&mut serving);
        let log = serving.log();
        assert!(log.contains("others can write to") && log.contains("the old one stays"), "{log}");
        assert!(!log.contains("reloaded users"), "{log}");
        assert!(serving.stop().success());
    });
}

#[test]
fn what_is_frozen_is_in_the_metrics_until_it_is_thawed() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            let serving = wall.serve();
            let _ = wall.set_up_wallet();
            let frozen_after = |role: &str| {
                let _ = wall.run(0, role);
                let metrics = http(&wall.path("run/monitoring.sock"), "GET /metrics HTTP/1.1\r\n\r\n");
                let metrics = metrics.expect("it serves");
                let lines = metrics.lines().filter_map(|line| line.strip_prefix("countersign_frozen{what="));
                lines.map(str::to_owned).collect::<BTreeSet<_>>()
            };
            let counted = |everything: u8, wallets: u8| {
                let everything = format!("\"everything\"}} {everything}");
                let wallets = format!("\"wallet\"}} {wallets}");
                BTreeSet::from([everything, wallets, "\"key\"} 0".into(), "\"user\"} 0".into()])
            };
            assert_eq!(frozen_after("freeze"), counted(1, 1));
            assert_eq!(frozen_after("thaw everything"), counted(0, 1));
            assert_eq!(frozen_after("thaw the wallet"), counted(0, 0));
            assert!(serving.stop().success());
        }
        role => {
            let raw = Raw::load();
            assert_rv!(raw.initialize(), CKR_OK);
            let session = raw.read_write();
            assert_rv!(raw.login(session, CKU_SO, wall.noted("so.pin").as_bytes()), CKR_OK);
            let of_freeze = (CKA_HW_FEATURE_TYPE, ulong(CKH_COUNTERSIGN_FREEZE));
            let everything = raw.find(session, &[(CKA_CLASS, ulong(CKO_HW_FEATURE)), of_freeze]);
            let everything = everything.expect("it finds")[0];
            let treasury = raw.wallet_public(session, WALLET);
            let (to, objects) = match role {
                "freeze" => (CK_TRUE, vec![everything, treasury]),
                "thaw everything" => (CK_FALSE, vec![everything]),
                _ => (CK_FALSE, vec![treasury]),
            };
            for object in objects {
                assert_rv!(
                    raw.set_attributes(session, object, &[(CKA_COUNTERSIGN_FROZEN, vec![to])]),
                    CKR_OK
                );
            }
        }
    });
}

#[test]
fn acts_that_wait_for_officers_are_in_the_metrics() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            let serving = wall.serve();
            let _ = wall.set_up_wallet();
            let proposals = || {
                let metrics = http(&wall.path("run/monitoring.sock"), "GET /metrics HTTP/1.1\r\n\r\n");
                let metrics = metrics.expect("it serves");
                let lines =
                    metrics.lines().filter_map(|line| line.strip_prefix("countersign_proposals{state="));
                lines.filter(|line| !line.ends_with(" 0")).map(str::to_owned).collect::<Vec<_>>()
            };
            assert!(proposals().is_empty());
            let _ = wall.run(0, "propose");
            assert_eq!(proposals(), ["\"unsigned\"} 1"]);
            assert!(serving.stop().success());
        }
        _ => {
            let raw = Raw::load();
            assert_rv!(raw.initialize(), CKR_OK);
            let session = raw.read_write();
            assert_rv!(raw.login(session, CKU_SO, wall.noted("so.pin").as_bytes()), CKR_OK);
            let officers =
                raw.find(session, &[(CKA_CLASS, ulong(CKO_COUNTERSIGN_OFFICERS))]).expect("it finds")[0];
            let council = Signers::new(3).council(2, 72).to_string().into_bytes();
            assert_rv!(raw.set_attributes(session, officers, &[(CKA_COUNTERSIGN_COUNCIL, council)]), CKR_OK);
            let label = [(CKA_LABEL, b"petty cash".to_vec())];
            let renamed = raw.set_attributes(session, raw.wallet_public(session, WALLET), &label);
            assert_rv!(renamed, CKR_COUNTERSIGN_ACT);
            let class = (CKA_CLASS, ulong(CKO_COUNTERSIGN_PROPOSAL));
            let draft = raw.find(session, std::slice::from_ref(&class)).expect("it finds")[0];
            let act = raw.attribute(session, draft, CKA_VALUE).expect("it has a text");
            let proposal = [class, (CKA_TOKEN, vec![CK_TRUE]), (CKA_VALUE, act)];
            raw.create(session, &proposal).expect("the administrator proposes");
        }
    });
}

#[test]
fn transactions_that_wait_for_their_users_are_in_the_metrics_and_a_users_refusal_is_in_the_log() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            let serving = wall.serve();
            let customer = wall.set_up_wallet();
            let _psbt = customer.order(wall, &customer.code());
            let metrics = || {
                http(&wall.path("run/monitoring.sock"), "GET /metrics HTTP/1.1\r\n\r\n").expect("it serves")
            };
            let has = |line: &str| {
                let metrics = metrics();
                assert!(metrics.lines().any(|shown| shown == line), "{line} is not in\n{metrics}");
            };
            has("countersign_consents{state=\"open\"} 0");
            has("countersign_consent_events_total{event=\"consent-asked\"} 0");
            let proposed = wall.run(BACKEND, "propose");
            has("countersign_consents{state=\"open\"} 1");
            has("countersign_consent_events_total{event=\"consent-asked\"} 1");
            let _ = wall.run(BACKEND, "refuse");
            has("countersign_consents{state=\"open\"} 0");
            has("countersign_consents{state=\"refused\"} 1");
            has("countersign_consent_events_total{event=\"consent-refused\"} 1");
            has("countersign_consent_events_total{event=\"consent-given\"} 0");
            let log = serving.log();
            let ticket = proposed.value("ticket");
            let told =
                |line: &str| line.contains("WARN") && line.contains(ticket) && line.contains("refused a");
            assert!(log.lines().any(told), "{log}");
            assert!(serving.stop().success());
        }
        role => {
            let raw = Raw::load();
            assert_rv!(raw.initialize(), CKR_OK);
            let session = raw.read_write();
            assert_rv!(raw.login(session, CKU_USER, wall.given("user.pin").as_bytes()), CKR_OK);
            let class = (CKA_CLASS, ulong(CKO_COUNTERSIGN_PROPOSAL));
            if role == "propose" {
                let psbt = data_encoding::HEXLOWER.decode(wall.given("psbt").as_bytes()).expect("hex");
                let key = raw.wallet_key(session, WALLET);
                let wallet = raw.attribute(session, key, CKA_ID).expect("it has an id");
                let of = (CKA_COUNTERSIGN_PROPOSAL_WALLET, wallet);
                let template = [class, (CKA_TOKEN, vec![CK_TRUE]), (CKA_VALUE, psbt), of];
                let proposal = raw.create(session, &template).expect("a backend proposes");
                let ticket = raw.attribute(session, proposal, CKA_ID).expect("it has a ticket");
                report("ticket", data_encoding::HEXLOWER.encode(&ticket));
            } else {
                let proposal = raw.find(session, &[class]).expect("it finds")[0];
                let word = format!("{USER}:{}", wall.given("code")).into_bytes();
                let refuse = (CKA_COUNTERSIGN_CONSENT_REFUSE, word);
                assert_rv!(raw.set_attributes(session, proposal, &[refuse]), CKR_OK);
            }
        }
    });
}

#[test]
fn a_signature_under_way_is_answered_before_it_stops() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            let mut serving = wall.serve();
            let customer = wall.set_up_wallet();
            let psbt = customer.order(wall, &customer.code());
            let mut client = wall.command(BACKEND, "client");
            let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
            let mut out = BufReader::new(client.stdout.take().expect("it is piped"));
            let mut line = String::new();
            while line != "logged in\n" {
                line.clear();
                assert!(out.read_line(&mut line).expect("UTF-8") > 0, "it ended without a word");
            }
            // While another process holds the store's write lock, the commit waits.
            let store = Connection::open(wall.path("boundary/countersign.db")).expect("root may");
            store.execute_batch("BEGIN IMMEDIATE").expect("nobody writes");
            drop(client.stdin.take());
            let begun = Instant::now();
            let in_flight = || {
                let metrics = http(&wall.path("run/monitoring.sock"), "GET /metrics HTTP/1.1\r\n\r\n");
                metrics.expect("it serves").contains("countersign_calls_in_flight 1")
            };
            while !in_flight() {
                assert!(begun.elapsed() < LONG, "no call is under way");
            }
            serving.signal(Signal::TERM);
            assert!(serving.told().starts_with("STOPPING=1"));
            store.execute_batch("ROLLBACK").expect("it was begun");
            drop(store);
            let said = std::io::read_to_string(out).expect("UTF-8");
            assert!(ended(&mut client).expect("it ends").success(), "{said}");
            let signed =
                said.lines().find_map(|line| line.strip_prefix("report signed=")).expect("it signed");
            let signed = data_encoding::HEXLOWER.decode(signed.as_bytes()).expect("hex");
            harness::module::wallet::verify_signed(&psbt, &signed);
            let log = serving.log();
            assert!(serving.ended().success(), "{log}");
            for name in ["backend.sock", "administrators.sock", "monitoring.sock"] {
                assert!(!wall.path("run").join(name).exists(), "{name} stays behind");
            }
            assert!(!wall.path("boundary/countersign.db-wal").exists(), "the store was closed");
        }
        _ => {
            let backend = Backend::logged_in(wall);
            println!("\nlogged in");
            let _ = std::io::stdin().read_line(&mut String::new());
            report("signed", data_encoding::HEXLOWER.encode(&backend.sign(wall).expect("it is answered")));
        }
    });
}

#[test]
fn sockets_that_systemd_bound_are_served_by_their_names() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            let names = ["backend", "administrators", "monitoring"];
            let sockets = names.map(|name| {
                let path = wall.path("run").join(format!("{name}.sock"));
                let socket = UnixListener::bind(&path).expect("root may");
                let mode = if name == "monitoring" { 0o660 } else { 0o666 };
                fs::set_permissions(&path, Permissions::from_mode(mode)).expect("root may");
                OwnedFd::from(socket)
            });
            wall.write("client/activated.log", "", BOUNDARY);
            fs::set_permissions(wall.path("client"), Permissions::from_mode(0o711)).expect("root may");
            // They arrive as descriptors 0 to 2, which a shell can name, and go on from 3, as systemd passes them.
            let mut command = wall.boundary_by(
                "export LISTEN_PID=$$; exec \"$@\" 3<&0 4<&1 5<&2 </dev/null >/dev/null 2>>\"$LOG\"",
            );
            command
                .env("LOG", wall.path("client/activated.log"))
                .env("LISTEN_FDS", "3")
                .env("LISTEN_FDNAMES", names.join(":"));
            let [backend, administrators, monitoring] = sockets.map(Stdio::from);
            command.stdin(backend).stdout(administrators).stderr(monitoring);
            let serving = wall.serve_as_it_is(command);
            let customer = wall.set_up_wallet();
            let psbt = customer.order(wall, &customer.code());
            let finished = wall.run(BACKEND, "backend");
            let signed = data_encoding::HEXLOWER.decode(finished.value("signed").as_bytes()).expect("hex");
            harness::module::wallet::verify_signed(&psbt, &signed);
            let health =
                http(&wall.path("run/monitoring.sock"), "GET /health HTTP/1.1\r\n\r\n").expect("root may");
            assert!(health.ends_with("ok\n"), "{health}");
            assert!(serving.stop().success());
            for name in names {
                assert!(wall.path("run").join(format!("{name}.sock")).exists(), "it is systemd's, and stays");
            }
        }
        _ => report("signed", data_encoding::HEXLOWER.encode(&sign_order(wall).expect("the code is right"))),
    });
}

/// Starts the program, which must end without serving.
pub(crate) fn expect_no_start(wall: &Wall, words: &[&str]) -> String {
    let mut child = wall.boundary().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs");
    let status = ended(&mut child);
    let _ = child.kill();
    let mut said = child.stderr.take().map(std::io::read_to_string).expect("it is piped").expect("UTF-8");
    let status = status.unwrap_or_else(|| panic!("it serves, and should not: {said}"));
    said += &fs::read_to_string(wall.path("boundary/countersign.log")).unwrap_or_default();
    // A PIN that the token refuses, or that cannot be read, has its own exit status, after which nothing
    // starts the boundary again.
    let is_of_pin = ["refuses its PIN", "backing token's PIN"].iter().any(|words| said.contains(words));
    let expected = if is_of_pin { 77 } else { 1 };
    assert_eq!(status.code(), Some(expected), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    let error = said.lines().find(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("{said}"));
    let next = said.lines().find(|line| line.starts_with("next: ")).unwrap_or_else(|| panic!("{said}"));
    assert!(error.len() > 20 && next.len() > 15, "{said}");
    said
}
