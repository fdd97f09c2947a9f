//! `countersign officers …`, and `init` with officers.

use std::fs;

use countersign::kernel::officer::Council;
use harness::engine::officers::Signers;
use harness::module::cli::{Answer, Cli};
use harness::module::{Boundary, SO_PIN, USER_PIN, in_boundary, this_test};
use serde_json::{Value, json};

/// The options that name these officers.
fn named(signers: &Signers, officers: usize) -> Vec<String> {
    (0..officers).flat_map(|officer| ["--officer".to_owned(), signers.line(officer)]).collect()
}

fn run(cli: &Cli, verb: &[&str], officers: &[String], more: &[&str]) -> Answer {
    let officers: Vec<&str> = officers.iter().map(String::as_str).collect();
    cli.run(&[verb, &officers, more].concat())
}

fn with_pins(boundary: &Boundary) -> Cli<'_> {
    boundary.note("so.pin", SO_PIN);
    boundary.note("user.pin", USER_PIN);
    Cli(boundary)
}

#[test]
fn a_token_is_initialised_with_officers() {
    in_boundary(this_test!(), |boundary| {
        let cli = with_pins(boundary);
        let signers = Signers::new(3);
        let officers = named(&signers, 3);
        let init = ["init", "--label", "hsm"];
        for (more, option) in [
            (&["--threshold", "4", "--delay-hours", "72"][..], "--threshold"),
            (&["--threshold", "2", "--delay-hours", "0"], "--delay-hours"),
            (
                &["--threshold", "2", "--delay-hours", "72", "--emergency", "2", "--emergency-hours", "1"],
                "--emergency",
            ),
            (
                &["--threshold", "2", "--delay-hours", "72", "--emergency", "3", "--emergency-hours", "72"],
                "--emergency-hours",
            ),
            (&["--threshold", "2", "--delay-hours", "72", "--failures-per-hour", "1"], "--failures-per-hour"),
            (&["--delay-hours", "72"], "--threshold"),
            (&["--threshold", "2"], "--delay-hours"),
            (&["--threshold", "2", "--delay-hours", "72", "--emergency", "3"], "--emergency-hours"),
            (&["--threshold", "2", "--delay-hours", "72", "--officer", "RW"], "--officer"),
        ] {
            let answer = run(&cli, &init, &officers, more);
            assert!(!answer.success, "{more:?}");
            let said = answer.json["error"]["what"].as_str().expect("a text");
            assert!(said.contains(option), "{more:?}: {said}");
        }
        let alone = run(&cli, &init, &[], &["--threshold", "2", "--delay-hours", "72"]);
        assert!(!alone.success && alone.json.to_string().contains("--officer"), "{}", alone.json);

        let more = ["--threshold", "2", "--delay-hours", "72", "--emergency", "3", "--emergency-hours", "1"];
        let made = run(&cli, &init, &officers, &more);
        assert!(made.success, "{}", made.json);
        let shown = cli.does(&["officers", "show"])["council"].clone();
        assert_eq!(made.json["council"], shown);
        assert_eq!((&shown["threshold"], &shown["delay_hours"]), (&json!(2), &json!(72)));
        assert_eq!(shown["emergency"], json!({ "signatures": 3, "delay_hours": 1 }));
        assert_eq!(shown["officers"].as_array().map(Vec::len), Some(3));
        let text = cli.text(&["officers", "show"]).expect_success().stdout;
        for officer in 0..3 {
            assert!(text.contains(&signers.line(officer)), "{text}");
        }
        assert!(text.contains("2 of 3 officers") && text.contains("72 hours"), "{text}");

        // Nobody changes them alone.
        let other =
            run(&cli, &["officers", "set"], &named(&signers, 1), &["--threshold", "1", "--delay-hours", "1"]);
        assert_eq!(other.json["error"]["rv"], "CKR_COUNTERSIGN_ACT", "{}", other.json);
        assert_eq!(cli.does(&["officers", "show"])["council"], shown);
    });
}

#[test]
fn an_older_token_gets_its_first_officers_from_the_security_officer() {
    in_boundary(this_test!(), |boundary| {
        let cli = with_pins(boundary);
        cli.does(&["init", "--label", "hsm"]);
        assert_eq!(cli.does(&["officers", "show"])["council"], Value::Null);
        let text = cli.text(&["officers", "show"]).expect_success().stdout;
        assert!(text.contains("an administrator decides everything alone"), "{text}");
        assert!(cli.fails(&["officers", "set"]).contains("--officer"));
        let signers = Signers::new(3);
        let council: Council = signers.council_of(0..3, 2, 5, None, 50);
        let more = ["--threshold", "2", "--delay-hours", "5", "--failures-per-hour", "50"];
        let set = run(&cli, &["officers", "set"], &named(&signers, 3), &more);
        assert!(set.success, "{}", set.json);
        let shown = cli.does(&["officers", "show"])["council"].clone();
        let keys: Vec<&str> = council.officers().keys().iter().map(|key| key.line()).collect();
        let shown_keys: Vec<&str> = (shown["officers"].as_array().expect("a list").iter())
            .map(|officer| officer["public_key"].as_str().expect("a text"))
            .collect();
        assert_eq!((shown_keys, &shown["failures_per_hour"]), (keys, &json!(50)));
        assert_eq!(set.json["council"], shown);

        // The security officer alone lowers the setting, and nothing else.
        let again = |failures: &str| {
            let officers = named(&signers, 3);
            let officers: Vec<&str> = officers.iter().map(String::as_str).collect();
            let more = ["--threshold", "2", "--delay-hours", "5", "--failures-per-hour", failures];
            cli.text(&[&["officers", "set"], &officers[..], &more[..]].concat()).expect_success().stdout
        };
        let told = again("50");
        assert!(told.contains("Nothing has changed") && !told.contains("From now on officers"), "{told}");
        let told = again("40");
        assert!(
            told.contains("at most 40 from now on; it was 50") && told.contains("officers stay"),
            "{told}"
        );
    });
}

#[test]
fn the_doctor_says_who_decides() {
    in_boundary(this_test!(), |boundary| {
        let cli = with_pins(boundary);
        cli.does(&["init", "--label", "hsm"]);
        let of_officers = || {
            let checks = cli.does(&["doctor"])["checks"].clone();
            let checks = checks.as_array().expect("a list").iter();
            checks.clone().find(|check| check["subject"] == "officers").expect("a line of theirs").clone()
        };
        let promised = || {
            let promises = cli.does(&["doctor"])["promises"].clone();
            let held = |promise: &Value| promise["held"] == true;
            promises.as_array().expect("a list").iter().filter(|promise| held(promise)).count()
        };
        let (alone, before) = (of_officers(), promised());
        assert_eq!(alone["state"], "note", "{alone}");
        assert!(
            alone["finding"].as_str().is_some_and(|finding| finding.contains("decides everything alone")),
            "{alone}"
        );
        assert!(
            alone["next"].as_str().is_some_and(|next| next.contains("countersign officers set")),
            "{alone}"
        );
        let more = ["--threshold", "2", "--delay-hours", "72"];
        let set = run(&cli, &["officers", "set"], &named(&Signers::new(3), 3), &more);
        assert!(set.success, "{}", set.json);
        let council = of_officers();
        assert_eq!((&council["state"], &council["next"]), (&json!("ok"), &Value::Null), "{council}");
        assert_eq!(council["finding"], "2 of 3 sign what loosens; it then waits 72 hours");
        assert!(promised() > before, "more is held with officers");
    });
}

/// docs/officers.md asks for the printout to be kept.
#[test]
fn what_officers_show_printed_restores_a_copy_from_before_there_were_officers() {
    in_boundary(this_test!(), |boundary| {
        let cli = with_pins(boundary);
        cli.does(&["init", "--label", "hsm"]);
        boundary.save("before");
        let signers = Signers::new(3);
        let more = ["--threshold", "2", "--delay-hours", "72", "--emergency", "3", "--emergency-hours", "1"];
        let set = run(&cli, &["officers", "set"], &named(&signers, 3), &more);
        assert!(set.success, "{}", set.json);
        let text = cli.text(&["officers", "show"]).expect_success().stdout;
        boundary.note("text", &text);
        boundary.note("mailed", &format!("{}\r\n\r\n", text.replace('\n', "\r\n")));
        boundary.note("json", &cli.text(&["officers", "show", "--json"]).expect_success().stdout);
        boundary.note("cut", text.split_inclusive("officer ").next().expect("a part"));

        let restore = |more: &[&str]| cli.run(&[&["state", "restore", "--yes"], more].concat());
        let said = |answer: &Answer, field: &str| {
            assert!(!answer.success, "{}", answer.json);
            answer.json["error"][field].as_str().expect("a text").to_owned()
        };
        boundary.restore_store("before");
        assert!(said(&restore(&["--council", "cut"]), "what").contains("has no council"));
        for printout in ["text", "mailed", "json"] {
            boundary.restore_store("before");
            let refused = restore(&["--council", printout]);
            assert!(said(&refused, "what").contains("officers decide"), "{printout}: {}", refused.json);
            let act = said(&refused, "next").rsplit(' ').next().expect("the file comes last").to_owned();
            let signed = fs::read_to_string(boundary.folder().join(&act)).expect("it was written");
            for officer in [0, 2] {
                boundary.note(&format!("{act}.{officer}.minisig"), &signers.sign(officer, &signed));
            }
            let taken = restore(&["--council", printout, "--act", &act]);
            assert!(taken.success, "{printout}: {}\n{}", taken.json, taken.stderr);
            assert_eq!(cli.does(&["officers", "show"])["council"], set.json["council"]);
        }
    });
}
