//! `state-rollback`: two engines over two copies of one store, with one token. One of them goes on, and the other closes.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cryptoki_sys::*;

use harness::module::raw::Raw;
use harness::module::shim::Shim;
use harness::module::store::expect_open;
use harness::module::{Boundary, USER_PIN, assert_rv, in_boundary, summarise, this_test};

use super::story::{self, Client, authenticator, request};

/// Longer than any step of a test takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Copies the store beside itself, and writes a configuration that names the copy and the same token.
fn copy_the_store(boundary: &Boundary) {
    let name = "copy.db";
    for (file, suffix) in boundary.store_files().iter().zip(["", "-wal"]).filter(|(file, _)| file.exists()) {
        fs::copy(file, boundary.folder().join(format!("{name}{suffix}"))).expect("the folder is ours");
    }
    let conf = fs::read_to_string(boundary.conf()).expect("setup.sh wrote it");
    assert!(conf.contains("countersign.db"), "{conf}");
    fs::write(boundary.folder().join("copy.toml"), conf.replace("countersign.db", name))
        .expect("the folder is ours");
}

fn of_the_copy(boundary: &Boundary, role: &str) -> Command {
    let mut command = boundary.command(role);
    command.env("COUNTERSIGN_CONF", boundary.folder().join("copy.toml"));
    command
}

/// Waits for a note.
fn await_note(boundary: &Boundary, name: &str) {
    let until = Instant::now() + PATIENCE;
    while !boundary.folder().join(name).exists() {
        assert!(Instant::now() < until, "nobody notes {name:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Opens the module. When it is told to, logs in, signs the request of this number with alice's code, and tries to sign for bob.
/// Notes both answers. (A login is written, too.)
fn engine(boundary: &Boundary, number: usize) {
    let role = boundary.role();
    let raw = Raw::load();
    assert_rv!(raw.initialize(), CKR_OK);
    boundary.note(&format!("{role} is open"), "");
    await_note(boundary, &format!("{role} signs"));
    let session = raw.read_write();
    let answers = match raw.login(session, CKU_USER, USER_PIN.as_bytes()) {
        CKR_OK => {
            let client = Client::of(boundary, (raw, session));
            let first = client.sign("alice", &boundary.noted("code"), &request(boundary, number));
            let bob = authenticator(boundary, "bob").code_away(1);
            [first, client.sign("bob", &bob, &request(boundary, 2))]
        }
        refused => [refused; 2],
    };
    boundary.note(&format!("{role} answered"), &format!("{:#x} {:#x}", answers[0], answers[1]));
}

fn answers(boundary: &Boundary, role: &str) -> [CK_RV; 2] {
    let text = boundary.noted(&format!("{role} answered"));
    let rv = |text: &str| CK_RV::from_str_radix(text.trim_start_matches("0x"), 16).expect("it was noted so");
    let (first, second) = text.split_once(' ').expect("two answers");
    [rv(first), rv(second)]
}

/// Runs two engines at once, told to sign by `tell` once both are open. Returns what the original and the copy answered.
fn run_both(boundary: &Boundary, tell: impl FnOnce(&Boundary)) -> [[CK_RV; 2]; 2] {
    for name in ["original", "copy"] {
        for note in ["is open", "signs", "answered"] {
            let _ = fs::remove_file(boundary.folder().join(format!("{name} {note}")));
        }
    }
    copy_the_store(boundary);
    let code = authenticator(boundary, "alice").code_away(1);
    boundary.note("code", &code);
    let start = |command: &mut Command| command.stdout(Stdio::piped()).spawn().expect("this executable runs");
    let copy = start(&mut of_the_copy(boundary, "copy"));
    await_note(boundary, "copy is open");
    let original = start(&mut boundary.command("original"));
    await_note(boundary, "original is open");
    tell(boundary);
    for engine in [copy, original] {
        let output = engine.wait_with_output().expect("it is our child");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    ["original", "copy"].map(|role| answers(boundary, role))
}

fn one_after_the_other(boundary: &Boundary, first: &str, second: &str) {
    boundary.note(&format!("{first} signs"), "");
    await_note(boundary, &format!("{first} answered"));
    boundary.note(&format!("{second} signs"), "");
}

/// The part of this process: one of the two engines, or whoever runs both.
fn play(boundary: &Boundary, both: impl FnOnce()) {
    match boundary.role() {
        "original" => engine(boundary, 0),
        "copy" => engine(boundary, 1),
        _ => both(),
    }
}

fn whoever_signs_first_goes_on(boundary: &Boundary, first: &str, second: &str) {
    play(boundary, || {
        story::tell(boundary, &["alice", "bob"]);
        let [original, copy] = run_both(boundary, |boundary| one_after_the_other(boundary, first, second));
        let (early, late) = if first == "original" { (original, copy) } else { (copy, original) };
        assert_eq!(early, [CKR_OK, CKR_OK], "{first}");
        assert!(!late.contains(&CKR_OK), "{second}: {late:#x?}");
    });
}

#[test]
fn state_rollback_of_two_engines_over_copies_of_one_store_the_second_to_sign_closes() {
    in_boundary(this_test!(), |boundary| whoever_signs_first_goes_on(boundary, "original", "copy"));
}

#[test]
fn state_rollback_if_the_copy_signs_first_the_original_closes() {
    in_boundary(this_test!(), |boundary| whoever_signs_first_goes_on(boundary, "copy", "original"));
}

/// The token is so slow that both engines have looked at the old anchor before either makes a new one.
#[test]
fn state_rollback_of_two_engines_that_sign_at_once_at_most_one_answers() {
    in_boundary(this_test!(), |boundary| {
        play(boundary, || {
            let shim = Shim::install(boundary, "");
            story::tell(boundary, &["alice", "bob"]);
            let [original, copy] = run_both(boundary, |boundary| {
                shim.behave("slow C_CreateObject 700");
                boundary.note("original signs", "");
                boundary.note("copy signs", "");
            });
            let signed = [original, copy].iter().filter(|answers| answers.contains(&CKR_OK)).count();
            assert!(signed <= 1, "{original:#x?} {copy:#x?}");
            assert_eq!(
                super::objects::anchors(&boundary.tokens()).len(),
                1,
                "the one that closed took its own back"
            );
            if original.contains(&CKR_OK) {
                // The other one left nothing in the token that keeps this one closed.
                shim.behave("");
                expect_open(boundary);
            }
            summarise(format_args!("copies: of two engines at once, {signed} signed"));
        });
    });
}
