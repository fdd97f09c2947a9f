//! `clock-back`, `clock-jump`: the wall clock is set to various times, while the module is open or closed.
//!
//! The machine's own clock goes on, because setting the wall clock does not affect it.

use std::process::Command;

use cryptoki_sys::*;

use super::story::{self, Client, authenticator, request};
use countersign::pkcs11::vendor::*;
use harness::module::raw::Raw;
use harness::module::{
    Boundary, Finished, USER_PIN, assert_rv, in_boundary, now, report, summarise, this_test,
};

/// How the clock is set.
#[derive(Clone, Copy, Debug)]
enum Set {
    /// So many seconds from the present time; it goes on from there.
    By(i64),
    /// This Unix time; it stands still.
    At(i64),
    /// So many seconds from the present time; it stands still.
    StandingBy(i64),
}

use Set::{At, By, StandingBy};

/// The clock is set between closing and opening.
const WHILE_CLOSED: [(Set, CK_RV); 12] = [
    (By(0), CKR_OK),
    (By(-30), CKR_COUNTERSIGN_CLOCK),
    (By(-3_600), CKR_COUNTERSIGN_CLOCK),
    (By(-86_400), CKR_COUNTERSIGN_CLOCK),
    (By(-365 * 86_400), CKR_COUNTERSIGN_CLOCK),
    // 1970.
    (At(0), CKR_COUNTERSIGN_CLOCK),
    (At(3_600), CKR_COUNTERSIGN_CLOCK),
    // It stood still since some time before the newest record.
    (StandingBy(-30), CKR_COUNTERSIGN_CLOCK),
    (StandingBy(-3_600), CKR_COUNTERSIGN_CLOCK),
    (By(30), CKR_COUNTERSIGN_CLOCK),
    (By(3_600), CKR_COUNTERSIGN_CLOCK),
    (By(86_400), CKR_COUNTERSIGN_CLOCK),
];

/// The clock is set while the module is open: nothing is signed, and nothing is charged.
const WHILE_OPEN: [Set; 11] = [
    By(-30),
    By(30),
    By(-3_600),
    By(3_600),
    By(-86_400),
    By(86_400),
    At(0),
    At(3_600),
    StandingBy(-30),
    StandingBy(30),
    // It stands still at the present time, which shows once time has passed.
    StandingBy(0),
];

/// Seconds after which the module must notice that a clock stands still: more than the tolerance.
const NOTICED_AFTER: u64 = 7;

#[test]
fn clock_set_while_the_module_is_closed() {
    in_boundary(this_test!(), |boundary| match boundary.role() {
        "story" => story::tell(boundary, &["alice", "bob", "carol"]),
        "act" => act(boundary),
        "open" => report("rv", format!("{:#x}", open_and_sign(boundary))),
        _ => {
            boundary.run("story");
            boundary.save("before");
            for (set, expected) in WHILE_CLOSED {
                boundary.restore("before");
                boundary.run("act");
                // Each of two users has an unused code.
                let answer = |user: &str, set: Set| {
                    boundary.note("user", user);
                    let mut command = boundary.command("open");
                    Finished::of(under(&mut command).env("FAKETIME", set.faketime())).expect_success()
                };
                let met = answer("alice", set);
                assert_eq!(met.value("rv"), format!("{expected:#x}"), "{set:?}\n{}", met.stderr);
                let right = answer("carol", By(0));
                assert_eq!(right.value("rv"), format!("{CKR_OK:#x}"), "set right after {set:?}");
            }
            summarise(format_args!("clock: {} times set while closed, each as expected", WHILE_CLOSED.len()));
        }
    });
}

/// Seals a record now, so that a clock set back is behind it.
fn act(boundary: &Boundary) {
    let client = Client::open(boundary);
    let code = authenticator(boundary, "bob").wrong_code();
    assert_rv!(client.sign("bob", &code, &request(boundary, 0)), CKR_PIN_INCORRECT);
}

/// The first answer other than `CKR_OK` while signing with a code that is right at this time, if there is
/// one.
fn open_and_sign(boundary: &Boundary) -> CK_RV {
    let raw = Raw::load();
    let opened = raw.initialize();
    if opened != CKR_OK {
        return opened;
    }
    let session = raw.read_write();
    let login = raw.login(session, CKU_USER, USER_PIN.as_bytes());
    if login != CKR_OK {
        return login;
    }
    let client = Client::of(boundary, (raw, session));
    let user = boundary.noted("user");
    client.sign(&user, &authenticator(boundary, &user).code_away(1), &request(boundary, 0))
}

#[test]
fn clock_set_under_an_open_module() {
    in_boundary(this_test!(), |boundary| match boundary.role() {
        "story" => story::tell(boundary, &["alice", "bob"]),
        "set" => set_under_the_open_module(boundary),
        _ => {
            boundary.run("story");
            boundary.note("shift", &By(0).faketime());
            let mut command = boundary.command("set");
            let file = boundary.folder().join("shift");
            let command =
                under(&mut command).env("FAKETIME_TIMESTAMP_FILE", file).env("FAKETIME_NO_CACHE", "1");
            Finished::of(command).expect_success();
            summarise(format_args!("clock: {} times set while open, all refused", WHILE_OPEN.len()));
        }
    });
}

fn set_under_the_open_module(boundary: &Boundary) {
    let client = Client::open(boundary);
    let alice = authenticator(boundary, "alice");
    let (wrong, right) = (alice.wrong_code(), alice.code_away(1));
    assert_rv!(client.sign("alice", &wrong, &request(boundary, 0)), CKR_PIN_INCORRECT);
    for set in WHILE_OPEN {
        boundary.note("shift", &set.faketime());
        if let StandingBy(0) = set {
            std::thread::sleep(std::time::Duration::from_secs(NOTICED_AFTER));
        }
        for code in [&right, &wrong] {
            assert_rv!(client.sign("alice", code, &request(boundary, 0)), CKR_COUNTERSIGN_CLOCK, "{set:?}");
        }
        boundary.note("shift", &By(0).faketime());
        assert_eq!(client.failures("alice"), 1, "{set:?}");
    }
    assert_rv!(client.sign("alice", &right, &request(boundary, 0)), CKR_OK, "set right, it goes on");
}

impl Set {
    /// The text for libfaketime, with times in seconds.
    fn faketime(self) -> String {
        match self {
            By(seconds) => format!("{seconds:+}"),
            // libfaketime ignores a file with a single digit.
            At(time) => format!("{time:010}"),
            StandingBy(seconds) => (now().cast_signed() + seconds).to_string(),
        }
    }
}

/// Runs a command under libfaketime.
fn under(command: &mut Command) -> &mut Command {
    let wrapped = Finished::of(Command::new("faketime").args(["-f", "+0", "env"])).expect_success();
    let library = wrapped
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("LD_PRELOAD="))
        .expect("faketime works by it");
    command.env("LD_PRELOAD", library).env("FAKETIME_FMT", "%s").env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
}
