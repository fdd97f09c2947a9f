//! `crash`: the process is killed at every single system call by which one signature reaches a disk.

use harness::module::{Boundary, Finished, in_boundary, summarise, this_test};

use super::inject::{in_two_copies, points};
use super::story::{self, Found, authenticator, found, sign_between_markers};

/// The state after a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    /// Nothing happened.
    Untouched,
    /// The code is spent.
    Spent,
}

#[test]
fn crash_killed_at_every_write_of_a_signature_the_state_is_sound() {
    in_boundary(this_test!(), |boundary| play(boundary, |_| ()));
}

#[test]
fn crash_killed_at_every_write_of_a_signature_of_a_digest_the_state_is_sound() {
    in_boundary(this_test!(), |boundary| play(boundary, story::ask_for_digests));
}

fn play(boundary: &Boundary, ask: impl FnOnce(&Boundary)) {
    match boundary.role() {
        "story" => {
            story::tell(boundary, &["alice", "bob"]);
            ask(boundary);
        }
        "sign" => drop(sign_between_markers(boundary)),
        "look" => story::look(boundary),
        _ => every_point(boundary),
    }
}

fn every_point(boundary: &Boundary) {
    boundary.run("story");
    boundary.save("before");
    boundary.note("code", &authenticator(boundary, "alice").code_away(1));
    let points: Vec<_> = points(boundary, "sign").into_iter().filter(|point| point.writes()).collect();
    assert_eq!(
        left(&found(boundary, "undisturbed")),
        Left::Spent,
        "an answer came, and its code is not spent"
    );
    boundary.restore("before");

    let seen = in_two_copies(boundary, &points, |copy, point| {
        copy.note("code", &authenticator(copy, "alice").code_away(1));
        let killed = Finished::of(&mut copy.command_under(&point.strace("signal=SIGKILL"), "sign"));
        assert!(!killed.status.success(), "it outlived {point:?}: {}", killed.stdout);
        let noted = |name: &str| copy.folder().join(name).exists();
        assert!(noted("marker") && !noted("answer"), "not killed between the markers: {point:?}");
        left(&found(copy, &format!("killed at {point:?}")))
    });

    // What was durable before an earlier kill is durable before a later one.
    for (pair, points) in seen.windows(2).zip(points.windows(2)) {
        assert!(pair[0] <= pair[1], "{pair:?} at {points:#?}");
    }
    for left in [Left::Untouched, Left::Spent] {
        assert!(seen.contains(&left), "never {left:?}: {seen:?}");
    }
    let count = |wanted: Left| seen.iter().filter(|left| **left == wanted).count();
    summarise(format_args!(
        "crash: {} points killed, {} sound (100 %): {} untouched, {} spent",
        points.len(),
        seen.len(),
        count(Left::Untouched),
        count(Left::Spent)
    ));
}

fn left(found: &Found) -> Left {
    assert!(found.signed.iter().filter(|signed| **signed).count() <= 1, "accepted twice: {found:?}");
    // The request that was killed may be tried again. Once the code is spent, no other request may use it.
    match (found.failures, found.signed[1]) {
        (0, true) => Left::Untouched,
        (0, false) => {
            assert!(found.signed[0], "who lost the answer does not get it: {found:?}");
            Left::Spent
        }
        _ => panic!("a state that no kill leaves: {found:?}"),
    }
}
