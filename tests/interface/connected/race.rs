//! `otp-replay`: one code, used by several applications at once, each with many threads, for a wallet and for
//! a key that signs digests.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::sync::Barrier;

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::digest::{create_digest_key, digest_public_key, fresh_digest, verify_digest};
use harness::module::raw::Raw;
use harness::module::wallet::{Payment, verify_signed};
use harness::module::{Boundary, Stage, approval, assert_rv, this_test};
use harness::served::in_boundary;

const APPLICATIONS: usize = 4;
/// Threads of each application. Half of them ask for a transaction, and half for a digest.
const THREADS: usize = 8;
const USERS: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "frank"];

#[test]
fn otp_replay_one_code_raced_by_several_applications_signs_one_transaction_or_one_digest() {
    in_boundary(this_test!(), |boundary| match boundary.role() {
        "body" => race(boundary),
        _ => take_part(boundary),
    });
}

fn race(boundary: &Boundary) {
    let mut stage = Stage::new(&USERS);
    stage.as_so(|raw, so| create_digest_key(raw, so, "sidechain", &USERS, "unlimited = true"));
    boundary.note("descriptor", &stage.descriptor);
    let mut applications: Vec<Application> =
        (0..APPLICATIONS).map(|_| Application::start(boundary)).collect();
    for user in &stage.users {
        let code = user.code();
        applications.iter_mut().for_each(|one| one.begin(user.name(), &code));
        let signed: usize = applications.iter_mut().map(Application::signed).sum();
        assert_eq!(signed, 1, "{}", user.name());
    }
}

/// Another process, with its own sessions.
struct Application {
    child: Child,
    told: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Application {
    fn start(boundary: &Boundary) -> Application {
        let mut command = boundary.command("application");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let told = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut application = Application { child, told };
        assert_eq!(application.signed(), 0, "it is ready");
        application
    }

    /// Makes all its threads ask with this code.
    fn begin(&mut self, user: &str, code: &str) {
        writeln!(self.child.stdin.as_mut().expect("it is piped"), "{user} {code}").expect("it reads");
    }

    /// The number of its threads that got signatures.
    fn signed(&mut self) -> usize {
        let count = self.told.find_map(|line| Some(line.ok()?.strip_prefix("signed ")?.to_owned()));
        count.expect("it ended early").parse().expect("a number")
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        // It ends when its input ends.
        drop(self.child.stdin.take());
        let ended = self.child.wait().expect("it is ours");
        assert!(std::thread::panicking() || ended.success(), "{ended}");
    }
}

fn take_part(boundary: &Boundary) {
    let raw = Raw::load();
    assert_rv!(raw.initialize(), CKR_OK);
    let session = raw.user();
    let (wallet, key) = (raw.wallet_key(session, "treasury"), raw.wallet_key(session, "sidechain"));
    let public = digest_public_key(&raw, session, "sidechain");
    let descriptor = boundary.noted("descriptor");
    let sessions: Vec<_> = (0..THREADS).map(|_| raw.read_only()).collect();
    for session in sessions.iter().skip(1).step_by(2) {
        assert_rv!(raw.message_sign_init(*session, CKM_COUNTERSIGN_DIGEST, key), CKR_OK);
    }
    println!("\nsigned 0");
    for line in std::io::stdin().lines() {
        let line = line.expect("it is text");
        let (user, code) = line.split_once(' ').expect("both");
        let (record, together) = (approval(user, code), Barrier::new(THREADS));
        let ask = |number: usize, session: CK_SESSION_HANDLE| {
            let psbt = Payment { pay: 50_000 + number as u64, ..Payment::default() }.psbt(&descriptor);
            let digest = fresh_digest();
            together.wait();
            if number.is_multiple_of(2) {
                verify_signed(&psbt, &raw.countersign(session, wallet, &record, &psbt)?);
            } else {
                verify_digest(&public, &digest, &raw.sign_message(session, &record, &digest)?);
            }
            Ok(())
        };
        let answers: Vec<Result<(), CK_RV>> = std::thread::scope(|scope| {
            let threads = sessions.iter().enumerate();
            let threads: Vec<_> = threads
                .map(|(number, session)| {
                    let ask = &ask;
                    scope.spawn(move || ask(number, *session))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
        });
        for rv in answers.iter().filter_map(|answer| answer.err()) {
            // The user waits: the tries of other threads, wrong because the code is spent, were charged
            // before this one.
            assert!([CKR_PIN_INCORRECT, CKR_PIN_LOCKED].contains(&rv), "{rv:#x}");
        }
        println!("\nsigned {}", answers.iter().filter(|answer| answer.is_ok()).count());
    }
}
