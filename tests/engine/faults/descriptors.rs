//! A process that has no descriptor left (EMFILE): what is open stays open, and nothing can be opened.
//!
//! That it happens once, at every single `openat` of a signature, is in [`super::disk`].

use std::fs;

use cryptoki_sys::*;
use rustix::process::{Pid, Resource, Rlimit, getpid, getrlimit, prlimit};

use harness::module::{Boundary, Finished, assert_rv, in_boundary, report, this_test};
use harness::open_descriptors;
use harness::served::Served;

use super::served::{START_ANEW, answer, is_well, served, sign};
use super::story::{self, Client, authenticator, request};

/// Lowers the limit of a process to its lowest number that is free, and gives the limit of before. Not lower: poll(2) takes no
/// more descriptors than the limit.
fn exhaust(process: Pid) -> Rlimit {
    let lowest_free = || {
        if process == getpid() {
            // A listing would have the lowest number itself.
            return (0..).find(|number| fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_err());
        }
        let open = open_descriptors(&process.as_raw_nonzero().to_string());
        (0..).find(|number| !open.contains(number))
    };
    // A file that is open only for a moment may have the lowest number, so look several times.
    let free = (0..50).filter_map(|_| lowest_free()).min();
    let lowered = Rlimit { current: free, maximum: getrlimit(Resource::Nofile).maximum };
    prlimit(Some(process), Resource::Nofile, lowered).expect("it is of this user")
}

fn roles(boundary: &Boundary) -> bool {
    match boundary.role() {
        "sign while the boundary has no descriptor" => {
            let client = Client::open(boundary);
            let process = boundary.noted("process").parse().ok().and_then(Pid::from_raw);
            exhaust(process.expect("a process"));
            let code = authenticator(boundary, "alice").code_away(1);
            report("rv", format!("{:#x}", client.sign("alice", &code, &request(boundary, 0))));
        }
        _ => return super::served::roles(boundary),
    }
    true
}

#[test]
fn a_boundary_that_can_open_nothing_ends_with_the_status_that_starts_it_anew() {
    in_boundary(this_test!(), |boundary| {
        if roles(boundary) {
            return;
        }
        boundary.reopen_for(1);
        let served = served(boundary);
        assert_rv!(sign(boundary), CKR_OK);
        boundary.note("process", &served.process().to_string());
        assert_rv!(answer(boundary, "sign while the boundary has no descriptor"), CKR_DEVICE_ERROR);
        let (folder, log) = (boundary.folder(), served.log());
        assert!(log.contains("opening again for at most 1 seconds, callers wait"), "{log}");
        assert!(log.contains("tries within 1 seconds did not help"), "{log}");
        assert_eq!(served.ended().code(), Some(START_ANEW));
        let served = Served::start_again(folder);
        assert_rv!(sign(boundary), CKR_OK);
        assert!(is_well(&served), "{}", served.health());
        assert!(served.stop().success());
    });
}

#[test]
fn an_application_that_can_open_nothing_signs_again_once_it_can_and_is_initialised_anew() {
    in_boundary(this_test!(), |boundary| match boundary.role() {
        "sign" => {
            let (client, alice) = (Client::open(boundary), authenticator(boundary, "alice"));
            let code = alice.code_away(1);
            assert_rv!(client.sign("alice", &code, &request(boundary, 0)), CKR_OK);
            let psbt = request(boundary, 0);
            let before = exhaust(getpid());
            let refused = client.sign("alice", &code, &psbt);
            prlimit(None, Resource::Nofile, before).expect("as it was");
            assert_rv!(refused, CKR_DEVICE_ERROR);
            assert_rv!(client.sign("alice", &code, &psbt), CKR_DEVICE_ERROR, "closed");
            assert_rv!(client.raw.finalize(), CKR_OK);
            let client = Client::open(boundary);
            assert_rv!(client.sign("alice", &code, &psbt), CKR_OK);
            report("failures", client.failures("alice"));
        }
        _ => {
            boundary.reopen_for(1);
            story::tell(boundary, &["alice", "bob"]);
            let finished: Finished = boundary.run("sign");
            assert_eq!(finished.value("failures"), "0");
            assert!(finished.stderr.contains("within 1 seconds did not help"), "{}", finished.stderr);
        }
    });
}
