//! `countersign serve` over a token and files that fail: what it reports, when it ends, and what survives.

use std::fs;
use std::os::unix::net::UnixStream;

use cryptoki_sys::*;
use rustix::process::Signal;

use countersign::kernel::seal::Kind;
use harness::module::shim::Shim;
use harness::module::{Boundary, Finished, assert_rv, in_boundary, report, this_test};
use harness::served::Served;

use super::story::{self, Client, authenticator, request};

/// The exit status that makes the unit start it again.
pub(super) const START_ANEW: i32 = 75;
/// The exit status that makes the unit start nothing.
const PIN_REFUSED: i32 = 77;
const AWAY: &str = "fail C_CreateObject 0x30 1 0\nfail C_OpenSession 0x30 1 0";

/// A boundary of the story, served and monitored. The test's roles are its clients.
pub(super) fn served(boundary: &Boundary) -> Served {
    boundary.run("story");
    let monitoring = format!("monitoring = \"{}/monitoring.sock\"", boundary.folder().display());
    let served = Served::start_with(boundary, &monitoring);
    // Its clients sign: they are backends.
    served.write_client("client.toml", "backend.sock");
    served
}

/// Signs as a client of the boundary, in a process of its own.
pub(super) fn sign(boundary: &Boundary) -> CK_RV {
    answer(boundary, "sign")
}

pub(super) fn answer(boundary: &Boundary, role: &str) -> CK_RV {
    let signed = boundary.run(role);
    CK_RV::from_str_radix(signed.value("rv").trim_start_matches("0x"), 16).expect("it is reported so")
}

pub(super) fn roles(boundary: &Boundary) -> bool {
    match boundary.role() {
        "story" => story::tell(boundary, &["alice", "bob"]),
        role @ ("sign" | "sign while the token is away" | "sign while the PIN is refused") => {
            let client = Client::open(boundary);
            match role {
                "sign" => {}
                "sign while the token is away" => Shim::of(boundary).behave(AWAY),
                _ => Shim::of(boundary).behave(&boundary.noted("behaviour")),
            }
            let code = authenticator(boundary, "alice").code_away(1);
            report("rv", format!("{:#x}", client.sign("alice", &code, &request(boundary, 0))));
        }
        _ => return false,
    }
    true
}

pub(super) fn is_well(served: &Served) -> bool {
    served.health().ends_with("\r\n\r\nok\nsigning: ok\nadministration: ok\n")
}

#[test]
fn a_served_token_that_stays_away_ends_the_boundary_with_the_status_that_restarts_it() {
    in_boundary(this_test!(), |boundary| {
        if roles(boundary) {
            return;
        }
        boundary.reopen_for(1);
        let shim = Shim::install(boundary, "");
        let served = served(boundary);
        assert_rv!(sign(boundary), CKR_OK);
        assert!(is_well(&served), "{}", served.health());
        assert_rv!(answer(boundary, "sign while the token is away"), CKR_DEVICE_ERROR);
        let folder = boundary.folder();
        assert_eq!(served.ended().code(), Some(START_ANEW));
        // A start with the same fault is no final answer either, but a refused PIN is.
        let start = || Finished::of(&mut Served::command(folder, &["serve"])).status.code();
        assert_eq!(start(), Some(START_ANEW));
        shim.behave("fail C_Login 0xa0 1 0");
        assert_eq!(start(), Some(PIN_REFUSED));
        shim.behave("");
        let served = Served::start_again(folder);
        assert_rv!(sign(boundary), CKR_OK);
        assert!(is_well(&served), "{}", served.health());
        assert!(served.stop().success());
    });
}

/// Each login with a wrong PIN costs the token one of its tries. There is one try only, and no new start
/// makes another.
#[test]
fn a_served_token_that_refuses_its_pin_ends_the_boundary_with_the_status_that_starts_nothing() {
    in_boundary(this_test!(), |boundary| {
        if roles(boundary) {
            return;
        }
        boundary.reopen_for(1);
        let shim = Shim::install(boundary, "");
        let mut served = served(boundary);
        for call in ["C_CreateObject", "C_GenerateRandom"] {
            let before = shim.faults("C_Login");
            boundary.note("behaviour", &format!("forget {call}\nfail C_Login 0xa0 1 0"));
            assert_rv!(answer(boundary, "sign while the PIN is refused"), CKR_DEVICE_ERROR, "{call}");
            assert_eq!(served.ended().code(), Some(PIN_REFUSED), "{call}");
            assert_eq!(shim.faults("C_Login") - before, 1, "{call}");
            shim.behave("");
            served = Served::start_again(boundary.folder());
            assert_rv!(sign(boundary), CKR_OK);
        }
        assert!(served.stop().success());
    });
}

/// Nobody commits: there is no randomness, so no code is checked.
#[test]
fn a_served_token_without_randomness_is_out_of_service_and_ends_the_boundary_when_it_stays_so() {
    in_boundary(this_test!(), |boundary| {
        if roles(boundary) {
            return;
        }
        boundary.reopen_for(1);
        let shim = Shim::install(boundary, "");
        let served = served(boundary);
        shim.behave("fail C_GenerateRandom 0x30 1 0");
        assert_rv!(sign(boundary), CKR_DEVICE_ERROR);
        assert_eq!(served.ended().code(), Some(START_ANEW));
    });
}

#[test]
fn a_store_removed_under_the_boundary_is_reported_at_once_and_rescued_whole() {
    in_boundary(this_test!(), |boundary| {
        if roles(boundary) {
            return;
        }
        let served = served(boundary);
        assert_rv!(sign(boundary), CKR_OK);
        let store = boundary.store();
        fs::remove_file(&store).expect("ours");
        // Without a single call.
        let health = served.health();
        assert!(health.starts_with("HTTP/1.1 503 ") && health.contains("signing: the store was"), "{health}");
        served
            .eventually("a line in the log", |served| served.log().contains("was removed while it was open"));
        // The store is closed for everybody, and the process stays, because it has all that is left of the
        // store.
        let refused = Finished::of(&mut boundary.command("sign"));
        assert!(
            !refused.status.success() || refused.value("rv") != format!("{CKR_OK:#x}"),
            "{}",
            refused.stdout
        );
        assert!(fs::metadata(format!("/proc/{}", served.process())).is_ok());

        let to = boundary.folder().join("rescued.db");
        let told = Finished::of(&mut Served::command(boundary.folder(), &["doctor"]));
        assert!(told.stdout.contains("state rescue"), "{}", told.stdout);
        assert!(!told.stdout.contains("first run"), "{}", told.stdout);
        let mut rescue = Served::command(boundary.folder(), &["state", "rescue", "--to"]);
        let rescued = Finished::of(rescue.arg(&to));
        if !rustix::process::geteuid().is_root() {
            assert!(rescued.stderr.contains("run this as root"), "{}", rescued.stderr);
            return;
        }
        assert!(rescued.status.success(), "{}", rescued.stderr);
        let folder = boundary.folder();
        assert!(served.stop().success());
        boundary.remove_store();
        fs::rename(to, &store).expect("ours");
        let served = Served::start_again(folder);
        assert!(is_well(&served), "{}", served.health());
        // What was spent stays spent: the same code signs the same transaction, and no other.
        assert_rv!(sign(boundary), CKR_OK);
        assert!(served.stop().success());
    });
}

/// The copy is opened and checked as a whole, not only found.
#[test]
fn a_rescued_store_whose_records_are_damaged_is_not_called_whole() {
    in_boundary(this_test!(), |boundary| {
        if roles(boundary) {
            return;
        }
        let served = served(boundary);
        assert_rv!(sign(boundary), CKR_OK);
        let stranger = rusqlite::Connection::open(boundary.store()).expect("it opens");
        let garble = "UPDATE record SET sealed = zeroblob(40) WHERE kind = ?1";
        assert_eq!(stranger.execute(garble, [Kind::User as u8]), Ok(2));
        fs::remove_file(boundary.store()).expect("ours");
        let noticed = |served: &Served| served.health().contains("signing: the store was");
        served.eventually("a line of its health", noticed);
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let to = boundary.folder().join("rescued.db");
        let rescued = Finished::of(Served::command(boundary.folder(), &["state", "rescue", "--to"]).arg(&to));
        assert!(!rescued.status.success(), "{}", rescued.stdout);
        for told in [
            "rescued.db is a copy of what process",
            "a record does not open: damaged: User ",
            ", User ",
            "whole copy",
        ] {
            assert!(rescued.stderr.contains(told), "{told}: {}", rescued.stderr);
        }
    });
}

#[test]
fn a_copy_renamed_over_the_store_is_noticed_and_there_is_nothing_to_rescue_while_all_is_well() {
    in_boundary(this_test!(), |boundary| {
        if roles(boundary) {
            return;
        }
        let served = served(boundary);
        assert_rv!(sign(boundary), CKR_OK);
        if rustix::process::geteuid().is_root() {
            let mut rescue = Served::command(boundary.folder(), &["state", "rescue", "--to"]);
            let rescued = Finished::of(rescue.arg(boundary.folder().join("rescued.db")));
            assert!(rescued.stderr.contains("there is nothing to rescue"), "{}", rescued.stderr);
        }
        let copy = boundary.folder().join("copy");
        fs::copy(boundary.store(), &copy).expect("ours");
        fs::rename(copy, boundary.store()).expect("ours");
        served
            .eventually("a line in the log", |served| served.log().contains("was replaced by another file"));
        assert!(served.health().starts_with("HTTP/1.1 503 "), "{}", served.health());
    });
}

#[test]
fn a_removed_socket_file_is_reported_and_made_again_on_a_reload() {
    in_boundary(this_test!(), |boundary| {
        if roles(boundary) {
            return;
        }
        let served = served(boundary);
        let socket = |name: &str| boundary.folder().join(format!("{name}.sock"));
        for (reloads, (name, status)) in
            [("backend", "HTTP/1.1 503 "), ("administrators", "HTTP/1.1 200 ")].into_iter().enumerate()
        {
            fs::remove_file(socket(name)).expect("ours");
            let health = served.health();
            assert!(health.starts_with(status) && health.contains("SIGHUP"), "{health}");
            let gone = format!("the door {name} cannot be found");
            served.eventually("a line in the log", |served| served.log().contains(&gone));
            served.signal(Signal::HUP);
            served.eventually("the socket", |_| UnixStream::connect(socket(name)).is_ok());
            // A reload that is under way would make the next socket again before anybody misses it.
            let is_over = |served: &Served| served.log().matches("reloaded users").count() == reloads + 1;
            served.eventually("the end of the reload", is_over);
            served.eventually("health", is_well);
        }
        assert_rv!(sign(boundary), CKR_OK);
        // Also without the lock file beside the socket, which nobody else has taken.
        for name in ["backend.sock", "backend.sock.lock"] {
            fs::remove_file(boundary.folder().join(name)).expect("ours");
        }
        served.signal(Signal::HUP);
        served.eventually("health", is_well);
        assert!(served.stop().success());
        assert!(!socket("backend").exists() && !socket("administrators").exists());
    });
}
