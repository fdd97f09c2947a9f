//! `outcome-leak`: the writes reveal nothing about the outcome. Somebody who sees every system call up to the
//! anchor, with its file, offset and length, cannot tell right codes from wrong ones. Otherwise they could
//! stop the machine before the try is charged.

use super::inject::{Point, points};
use super::story::{self, Client, OVER_LIMIT, authenticator, request, sign_between_markers};
use cryptoki_sys::*;
use harness::module::{Boundary, assert_rv, in_boundary, report, summarise, this_test};

use countersign::pkcs11::vendor::*;

#[test]
fn outcome_leak_every_outcome_of_a_code_is_written_by_the_same_calls() {
    in_boundary(this_test!(), |boundary| play(boundary, |_| ()));
}

#[test]
fn outcome_leak_every_outcome_of_a_code_for_a_digest_is_written_by_the_same_calls() {
    in_boundary(this_test!(), |boundary| play(boundary, story::ask_for_digests));
}

fn play(boundary: &Boundary, ask: impl FnOnce(&Boundary)) {
    match boundary.role() {
        "story" => {
            story::tell(boundary, &["alice", "bob"]);
            ask(boundary);
        }
        "sign" => {
            let (_client, rv) = sign_between_markers(boundary);
            report("rv", format!("{rv:#x}"));
        }
        // Uses up the limit of a key that signs digests.
        "bob" => {
            let code = authenticator(boundary, "bob").code_away(1);
            assert_rv!(Client::open(boundary).sign("bob", &code, &request(boundary, 2)), CKR_OK);
        }
        _ => compare(boundary),
    }
}

fn compare(boundary: &Boundary) {
    boundary.run("story");
    let alice = authenticator(boundary, "alice");
    let (earlier, later) = (alice.code_away(-1), alice.code_away(1));
    let attempt = |before: &str, code: &str, request: usize| {
        boundary.restore(before);
        boundary.note("code", code);
        boundary.note("request", &request.to_string());
    };
    boundary.save("fresh");
    attempt("fresh", &later, 1);
    boundary.run("sign");
    boundary.save("answered");
    boundary.restore("fresh");
    boundary.run("bob");
    boundary.save("used");

    // The outcomes that are possible from one store. What came of earlier codes is anchored there, and no secret.
    let wrong = alice.wrong_code();
    for (before, outcomes) in [
        (
            "fresh",
            &[
                ("right", &later, 0, CKR_OK),
                ("wrong", &wrong, 0, CKR_PIN_INCORRECT),
                ("stale", &earlier, 0, CKR_PIN_INCORRECT),
            ][..],
        ),
        (
            "answered",
            &[
                ("repeated", &later, 1, CKR_OK),
                ("replayed", &later, 0, CKR_PIN_INCORRECT),
                ("wrong", &wrong, 1, CKR_PIN_INCORRECT),
            ],
        ),
        (
            "used",
            &[
                ("refused", &later, OVER_LIMIT, CKR_COUNTERSIGN_POLICY),
                ("wrong", &wrong, OVER_LIMIT, CKR_PIN_INCORRECT),
            ],
        ),
    ] {
        let mut shapes = Vec::new();
        for &(outcome, code, request, expected) in outcomes {
            attempt(before, code, request);
            let rv = boundary.run("sign").value("rv").to_owned();
            assert_eq!(rv, format!("{expected:#x}"), "{outcome}");
            attempt(before, code, request);
            shapes.push((outcome, shape(&points(boundary, "sign"))));
        }
        let (right, first) = &shapes[0];
        assert!(first.iter().any(|call| call.contains("sync ")), "nothing was synced: {first:#?}");
        for (outcome, shape) in &shapes {
            assert_eq!(shape, first, "{outcome} differs from {right}");
        }
        summarise(format_args!("shape: {} outcomes, each by the same {} calls", shapes.len(), first.len()));
    }
}

/// The calls that change a file, up to the last one of the anchor, each with its file, offset and length.
/// Offsets in the journal count from the first write, because the journal's present length does not depend on
/// the code.
fn shape(points: &[Point]) -> Vec<String> {
    let anchored =
        points.iter().rposition(|point| point.call.starts_with("unlink")).expect("an old anchor goes");
    let mut journal = None;
    let calls = points[..=anchored].iter().filter(|point| point.writes());
    calls.map(|point| from_the_first(of_call(point), &mut journal)).collect()
}

fn from_the_first(call: String, journal: &mut Option<u64>) -> String {
    let offset =
        call.strip_suffix(')').and_then(|call| call.rsplit_once(", ")).filter(|_| call.contains("-wal,"));
    let Some((rest, Ok(offset))) = offset.map(|(rest, offset)| (rest, offset.parse::<u64>())) else {
        return call;
    };
    format!("{rest}, {}", offset - *journal.get_or_insert(offset))
}

/// A call without the parts that differ in a fresh process or come from a random name: descriptors, folders,
/// contents.
fn of_call(point: &Point) -> String {
    let line = &point.line;
    let quoted = line.split('"').find(|part| part.starts_with('/'));
    let path = quoted.or_else(|| line.split(['<', '>']).find(|part| part.starts_with('/'))).unwrap_or("");
    let file = path.rsplit('/').next().unwrap_or("");
    // The backing token gives its objects random names.
    let file = if file.ends_with(".object") || file.ends_with(".lock") {
        file.rsplit('.').next().unwrap_or("")
    } else {
        file
    };
    let numbers = line.rsplit(['"', '>']).find(|part| part.contains(") = ")).unwrap_or("");
    let numbers = numbers.split(" = ").next().unwrap_or("").trim_start_matches('.');
    format!("{} {file}{numbers}", point.call)
}
