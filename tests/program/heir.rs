//! `countersign act draft so-pin-lost` and `countersign init` after a lost SO PIN, and a restored copy in which it is lost.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use countersign::admin::Act;
use countersign::kernel::pin::Heir;
use countersign::kernel::proposal::MAX_OPEN_OF_OFFICER;
use harness::engine::ManualClock;
use harness::engine::configured::{decide, open_by, with_officers};
use harness::engine::officers::Signers;
use harness::module::cli::Cli;
use harness::module::{Boundary, SO_PIN, USER_PIN, in_boundary, now, this_test};
use serde_json::json;

const HOUR: u64 = 3_600;

/// A token with officers, and a clock that is hours behind.
fn stage(boundary: &Boundary) -> (Cli<'_>, Signers, ManualClock) {
    boundary.note("user.pin", USER_PIN);
    let (clock, signers) = (ManualClock::default(), Signers::new(2));
    clock.set(now() - 3 * HOUR);
    drop(with_officers(&clock, &signers, "t"));
    (Cli(boundary), signers, clock)
}

#[test]
fn the_secret_of_a_draft_sets_the_lost_so_pin_and_restores_a_copy_from_then() {
    in_boundary(this_test!(), |boundary| {
        let (cli, signers, clock) = stage(boundary);
        assert!(cli.fails(&["act", "draft", "so-pin-lost"]).contains("needs a secret"));
        assert!(cli.fails(&["act", "draft", "freeze all", "--secret-file", "x"]).contains("only"));
        let made = cli.does(&["act", "draft", "so-pin-lost", "--secret-file", "next"]);
        let file = made["act"]["file"].as_str().expect("a text").to_owned();
        let secret = boundary.folder().join("next");
        assert_eq!(fs::metadata(&secret).expect("it was made").permissions().mode() & 0o777, 0o600);
        let secret = fs::read_to_string(secret).expect("it is ours");
        assert_eq!(secret.len(), 32);
        let text = fs::read_to_string(boundary.folder().join(&file)).expect("it was written");
        assert!(text.contains("\n  heir ") && !text.contains(&secret), "{text}");
        let shown = cli.text(&["act", "show", &file]).expect_success().stdout;
        assert!(shown.contains("heir") && !shown.contains(&secret), "{shown}");
        assert!(cli.fails(&["act", "draft", "so-pin-lost", "--secret-file", "next"]).contains("exists"));
        // Nothing is lost yet.
        assert!(cli.fails(&["init", "--label", "t", "--so-pin-file", "next"]).contains("SO PIN"));

        decide(&open_by(&clock), &clock, &signers, 2, &text);
        boundary.save("lost");
        assert!(cli.fails(&["init", "--label", "hsm", "--so-pin-file", "next"]).contains("the token is t"));
        boundary.note("wrong", &secret.to_lowercase());
        let wrong = cli.fails(&["init", "--label", "t", "--so-pin-file", "wrong"]);
        assert!(wrong.contains("not the secret on which the officers agreed"), "{wrong}");
        let set = cli.does(&["init", "--label", "t", "--so-pin-file", "next"]);
        assert_eq!(set["so_pin_set"], json!(true));
        // It is the SO PIN now, with which an interrupted initialisation goes on.
        cli.does(&["init", "--label", "t", "--so-pin-file", "next", "--user-pin-file", "user.pin"]);

        // A copy in which the PIN is lost is accepted by its heir, with the officers.
        boundary.restore_store("lost");
        let restore = |pin: &str, act: &[&str]| {
            cli.run(&[&["state", "restore", "--yes", "--so-pin-file", pin], act].concat())
        };
        let next = restore("next", &[]).json["error"]["next"].as_str().expect("what to do").to_owned();
        let act = next.rsplit(' ').next().expect("the file comes last").to_owned();
        let text = fs::read_to_string(boundary.folder().join(&act)).expect("it was written");
        for officer in [0, 1] {
            boundary.note(&format!("{act}.{officer}.minisig"), &signers.sign(officer, &text));
        }
        boundary.note("so.pin", SO_PIN);
        for pin in ["so.pin", "wrong"] {
            let refused = restore(pin, &["--act", &act]);
            assert!(
                !refused.success
                    && refused.json["error"]["what"].as_str().is_some_and(|what| what.contains("lost"))
            );
        }
        let taken = restore("next", &["--act", &act]);
        assert!(taken.success, "{}\n{}", taken.json, taken.stderr);
        assert_eq!(cli.does(&["init", "--label", "t", "--so-pin-file", "next"])["so_pin_set"], json!(true));
    });
}

/// Whose room is full, brings no act; `act submit` then lets the next officer who has signed bring it.
#[test]
fn act_room_an_act_is_brought_by_an_officer_who_has_room_for_it() {
    in_boundary(this_test!(), |boundary| {
        let (cli, signers, clock) = stage(boundary);
        let engine = open_by(&clock);
        for number in 0..MAX_OPEN_OF_OFFICER {
            let text = engine.draft(&Act::LoseSoPin(Heir([number as u8; 32]))).expect("officers may sign it");
            engine.propose(None, &text, Some(&signers.sign(0, &text))).expect("there is room");
        }
        drop(engine);
        let made = cli.does(&["act", "draft", "so-pin-lost", "--secret-file", "next"]);
        let file = made["act"]["file"].as_str().expect("a text");
        let text = fs::read_to_string(boundary.folder().join(file)).expect("it was written");
        let sign =
            |officer| boundary.note(&format!("{file}.{officer}.minisig"), &signers.sign(officer, &text));
        sign(0);
        assert!(cli.fails(&["act", "submit", file]).contains("has brought too many acts"));
        sign(1);
        let proposal = cli.does(&["act", "submit", file])["proposal"].clone();
        assert_eq!((&proposal["state"], &proposal["signed"]), (&json!("waiting"), &json!(2)));
    });
}
