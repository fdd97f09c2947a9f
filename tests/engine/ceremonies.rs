//! What administrators do when something is wrong, on the real module: they read the audit, accept a restored
//! store, and accept a clock that jumped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use bitcoin::psbt::Psbt;
use countersign::kernel::audit::MAX_BATCH;
use countersign::kernel::utc::to_iso;
use countersign::shell::backing::Backing;
use countersign::shell::config::EngineConfig;
use countersign::shell::inspection;
use cryptoki_sys::*;
use rusqlite::Connection;
use serde_json::{Value, json};

use harness::module::cli::{Answer, Cli};
use harness::module::raw::Raw;
use harness::module::wallet::Payment;
use harness::module::{Authenticator, Boundary, USER_PIN, approval, assert_rv, in_boundary, now, this_test};

/// A token with one user, alice, and her wallet.
struct Scene<'a> {
    cli: Cli<'a>,
    boundary: &'a Boundary,
    alice: Authenticator,
    descriptor: String,
    /// The newest link.
    newest: u64,
}

impl Scene<'_> {
    fn new(boundary: &Boundary) -> Scene<'_> {
        let (cli, alice) = Cli::new(boundary);
        let wallet = cli.does(&[
            "wallet",
            "create",
            "treasury",
            "--network",
            "regtest",
            "--user",
            "alice",
            "--max-transaction-sat",
            "100000",
            "--max-fee-sat",
            "5000",
        ]);
        let descriptor = wallet["wallet"]["descriptor"].as_str().expect("a text").to_owned();
        let mut scene = Scene { cli, boundary, alice, descriptor, newest: 0 };
        scene.newest = scene.verified()["newest"]["sequence"].as_u64().expect("a number");
        scene
    }

    /// Signs another payment with `code`, under another program if one is given.
    fn sign(&self, under: &[&str], code: &str) -> (Answer, Psbt) {
        let psbt = Payment::default().psbt(&self.descriptor);
        fs::write(self.boundary.folder().join("psbt"), &psbt).expect("the folder is ours");
        self.boundary.note("code", code);
        let mut command = self.cli.command(under, &["sign", "--wallet", "treasury", "--in", "psbt"]);
        (Cli::answer(&mut command, ""), Psbt::deserialize(&psbt).expect("it is a PSBT"))
    }

    /// The answer to signing with `code`.
    fn signing(&self, under: &[&str], code: &str) -> Value {
        self.sign(under, code).0.json["error"]["rv"].clone()
    }

    fn verified(&self) -> Value {
        self.cli.does(&["audit", "verify"])["audit"].clone()
    }

    /// The doctor's diagnosis of `subject`.
    fn diagnosis(&self, under: &[&str], subject: &str) -> Value {
        let doctor = Cli::answer(&mut self.cli.command(under, &["doctor"]), "").json;
        let checks = doctor["checks"].as_array().expect("checks");
        checks.iter().find(|check| check["subject"] == subject).cloned().unwrap_or_default()
    }

    /// The lines of the export, parsed.
    fn exported(&self, arguments: &[&str]) -> Vec<Value> {
        let done = self.cli.text(&[&["audit", "export"], arguments].concat()).expect_success();
        done.stdout.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
    }

    /// Runs `state restore` with this PIN, and types something.
    fn restore(&self, arguments: &[&str], pin: &str, typed: &str) -> Answer {
        let mut command = self.cli.command(&[], &[&["state", "restore"], arguments].concat());
        Cli::answer(command.env("COUNTERSIGN_SO_PIN", pin), typed)
    }

    fn connect(&self) -> Connection {
        Connection::open(self.boundary.store()).expect("it opens")
    }
}

fn what(answer: &Answer) -> &str {
    assert!(!answer.success, "{}", answer.json);
    answer.json["error"]["what"].as_str().expect("an error")
}

fn assert_says(text: &Value, words: &str) {
    assert!(text.as_str().is_some_and(|text| text.contains(words)), "{words:?} is not in {text}");
}

/// Fails unless the `previous` of each line is the head of the one before.
fn assert_chained(lines: &[Value]) {
    for pair in lines.windows(2) {
        assert_eq!(pair[1]["previous"], pair[0]["head"], "{} after {}", pair[1], pair[0]);
    }
}

#[test]
fn state_rollback_only_the_security_officer_accepts_a_restored_store() {
    in_boundary(this_test!(), |boundary| {
        let scene = Scene::new(boundary);
        let nothing = scene.restore(&["--yes"], "not even looked at", "");
        assert!(nothing.success && nothing.json == json!({ "restored": null }), "{}", nothing.json);
        boundary.save("older");
        let lost_code = scene.alice.code();
        assert!(scene.sign(&[], &lost_code).0.success);
        scene.cli.does(&["user", "add", "mallory"]);
        scene.cli.does(&["user", "remove", "mallory"]);
        let newest = scene.verified()["newest"]["sequence"].as_u64().expect("a number");
        boundary.save("newest");
        boundary.restore_store("older");

        // The module is closed, and every command gives the reason.
        assert_eq!(scene.signing(&[], &lost_code), "CKR_COUNTERSIGN_STATE");
        let found = format!("the store is older (link {}) than its anchor (link {newest})", scene.newest);
        let reason = scene.diagnosis(&[], "reason");
        assert_says(&reason["finding"], &found);
        assert_says(&reason["next"], "countersign state restore");
        assert_eq!(reason["state"], "wrong");
        let audit = scene.cli.run(&["audit", "verify"]);
        assert!(what(&audit).contains(&found), "{}", audit.json);
        assert_says(&audit.json["error"]["next"], "countersign state restore");
        assert_says(&scene.cli.run(&["user", "list"]).json["error"]["next"], "countersign state restore");

        // Only the right PIN together with the confirmation word is accepted.
        for (arguments, pin, typed, words) in [
            (&["--yes"][..], "wrong-pin", "restore\n", "this is not the SO PIN"),
            (&["--yes"], USER_PIN, "restore\n", "this is not the SO PIN"),
            (
                &["--yes", "--time", "2001-01-01T00:00:00Z"],
                harness::module::SO_PIN,
                "",
                "--time 2001-01-01T00:00:00Z",
            ),
            (&[], harness::module::SO_PIN, "", "you did not type the word \"restore\""),
            (&[], harness::module::SO_PIN, "yes\n", "you did not type the word \"restore\""),
            (&[], harness::module::SO_PIN, "restore it\n", "you did not type the word \"restore\""),
        ] {
            let refused = scene.restore(arguments, pin, typed);
            assert!(what(&refused).contains(words), "{words}: {}", refused.json);
            assert!(what(&refused).contains("nothing was changed"), "{}", refused.json);
            assert_eq!(scene.signing(&[], &lost_code), "CKR_COUNTERSIGN_STATE", "{words}");
        }
        let taken = scene.restore(&[], harness::module::SO_PIN, "restore\n");
        assert!(taken.success, "{}\n{}", taken.json, taken.stderr);
        let restored = &taken.json["restored"];
        assert_eq!(
            (&restored["store"], &restored["anchor"], &restored["lost"], &restored["epoch"]),
            (&json!(scene.newest), &json!(newest), &json!(newest - scene.newest), &json!(1))
        );
        let copied = to_iso(restored["time"].as_u64().expect("a time"));
        for words in [&found, &copied, "counts as spent", "two windows", "a user removed", "restored so far"]
        {
            assert!(taken.stderr.contains(words), "{words:?} is not in\n{}", taken.stderr);
        }

        // The store opens, and accepts no code that may have been used: neither the one that was used nor any
        // other that is valid.
        assert_eq!(scene.signing(&[], &lost_code), "CKR_PIN_LOCKED");
        assert_eq!(scene.signing(&[], &scene.alice.code_away(0)), "CKR_PIN_LOCKED");
        let names = scene.cli.does(&["user", "list"]);
        assert_eq!(names["users"].as_array().map(Vec::len), Some(1), "{names}");
        let again = scene.restore(&["--yes"], harness::module::SO_PIN, "");
        assert!(again.success && again.json == json!({ "restored": null }), "{}", again.json);
        assert_eq!(scene.diagnosis(&[], "reason"), Value::Null);

        // The gap stays in the audit for ever, and the chain goes on after it.
        let verified = scene.verified();
        let gap = &verified["restored"][0];
        assert_eq!(verified["restored"].as_array().map(Vec::len), Some(1));
        assert_eq!((&gap["store"], &gap["anchor"]), (&json!(scene.newest), &json!(newest)));
        // Nor the codes of a batch that the lost store may have written after its anchor.
        let taken_at = newest + MAX_BATCH + 1;
        assert_eq!(gap["sequence"], taken_at, "no lost number is given again");
        let lines = scene.exported(&[]);
        assert_chained(&lines);
        let at = lines.iter().position(|line| line["event"] == "restored").expect("it is exported");
        assert_eq!(
            (&lines[at - 1]["sequence"], &lines[at]["sequence"]),
            (&json!(scene.newest), &json!(taken_at))
        );
        let text = scene.cli.text(&["audit", "verify"]).expect_success().stdout;
        assert!(text.contains(&format!("links {} to {newest} are lost", scene.newest + 1)), "{text}");

        // The lost store, put back now, has another history.
        boundary.restore_store("newest");
        assert_eq!(scene.signing(&[], &lost_code), "CKR_COUNTERSIGN_STATE");
    });
}

#[test]
fn state_rollback_an_older_backing_token_is_distinguished_from_an_older_store() {
    in_boundary(this_test!(), |boundary| {
        let scene = Scene::new(boundary);
        boundary.save("older");
        scene.cli.does(&["user", "add", "bob"]);
        scene.cli.does(&["user", "add", "carol"]);
        fs::remove_dir_all(boundary.tokens()).expect("the folder is ours");
        harness::module::copy_folder(
            &boundary.folder().with_file_name("older").join("tokens"),
            &boundary.tokens(),
        );
        assert_says(&scene.diagnosis(&[], "reason")["finding"], "the backing token was put back");
        // The chain itself is whole, and longer than the token's anchor.
        let verified = scene.verified();
        assert_eq!(verified["anchored"], scene.newest);
        let taken = scene.restore(&["--yes"], harness::module::SO_PIN, "");
        assert!(taken.success, "{}", taken.json);
        assert_eq!(taken.json["restored"]["lost"], 0);
        assert_eq!(scene.cli.does(&["user", "list"])["users"].as_array().map(Vec::len), Some(3));
    });
}

#[test]
fn state_missing_the_doctor_says_what_keeps_the_module_closed() {
    in_boundary(this_test!(), |boundary| {
        let scene = Scene::new(boundary);
        boundary.save("newest");
        let restoring = || scene.restore(&["--yes"], harness::module::SO_PIN, "");
        for (sql, words, next) in [
            ("DELETE FROM record WHERE kind = 2", "the records are not those", "whole copy"),
            ("DELETE FROM link WHERE sequence = 3", "is missing or another one", "whole copy"),
            ("UPDATE header SET value = zeroblob(16) WHERE name = 'store'", "does not unwrap", "[backing]"),
        ] {
            boundary.restore_store("newest");
            assert!(scene.connect().execute(sql, []).expect("written") > 0);
            let before = fs::read(boundary.store()).expect("it is there");
            let reason = scene.diagnosis(&[], "reason");
            assert_says(&reason["finding"], words);
            assert_says(&reason["next"], next);
            // A damaged store cannot be accepted at all.
            let refused = restoring();
            assert!(what(&refused).contains(words), "{sql}: {}", refused.json);
            let after = fs::read(boundary.store()).expect("it is there");
            assert!(before[100..] == after[100..], "{sql}: the store was changed");
        }
        boundary.remove_store();
        let reason = scene.diagnosis(&[], "reason");
        assert_says(&reason["finding"], "the backing token remembers one");
        assert_says(&reason["next"], "store.path");
        assert!(what(&restoring()).contains("it is not there"));
        assert!(!boundary.store().exists(), "nothing is begun anew");
        boundary.restore_store("newest");
        assert_eq!(scene.diagnosis(&[], "reason"), Value::Null);
        assert_eq!(scene.cli.does(&["doctor"])["ok"], true);
    });
}

#[test]
fn the_export_is_the_chain_line_by_line_and_holds_no_secret() {
    in_boundary(this_test!(), |boundary| {
        let scene = Scene::new(boundary);
        let code = scene.alice.code();
        let (answer, psbt) = scene.sign(&[], &code);
        assert!(answer.success, "{}", answer.json);
        assert_eq!(scene.signing(&[], &scene.alice.wrong_code()), "CKR_PIN_INCORRECT");

        let (lines, verified) = (scene.exported(&[]), scene.verified());
        assert_chained(&lines);
        assert_eq!(verified["holds"], true);
        assert_eq!(verified["links"], lines.len());
        assert_eq!(verified["anchored"], verified["newest"]["sequence"]);
        let (first, last) = (&lines[0], &lines[lines.len() - 1]);
        assert_eq!((&first["event"], &first["previous"]), (&json!("initialised"), &json!("00".repeat(32))));
        assert_eq!((&last["head"], &last["sequence"]), (&verified["head"], &verified["newest"]["sequence"]));
        for (index, line) in lines.iter().enumerate() {
            assert_eq!(line["sequence"], index);
            assert_eq!(line["time_utc"], to_iso(line["time"].as_u64().expect("a time")));
        }
        let of = |event: &str| lines.iter().rev().find(|line| line["event"] == event).expect(event);
        let signed = of("countersigned");
        assert_eq!(signed["txid"], psbt.unsigned_tx.compute_txid().to_string());
        assert_eq!((&signed["leaves_sat"], &signed["fee_sat"]), (&json!(61_000), &json!(1_000)));
        assert_eq!((&signed["users"], &signed["wallet"]), (&json!(["alice"]), &json!("treasury")));
        let refused = of("code-refused");
        assert_eq!((&refused["users"], &refused["wrong"]), (&json!(["alice"]), &json!(["alice"])));

        let whole = scene.cli.text(&["audit", "export"]).expect_success().stdout;
        let secret = scene.alice.uri().split("secret=").nth(1).expect("a secret").split('&').next();
        for secret in [secret.expect("a secret"), harness::module::SO_PIN, USER_PIN, &code] {
            assert!(!whole.contains(&format!("\"{secret}\"")) && !whole.contains(&format!(" {secret}")));
        }
        assert!(!whole.contains(secret.expect("a secret")));

        // An export from one link on, into a file, whole or not at all.
        let from = scene.exported(&["--from", "3"]);
        assert_eq!(from, lines[3..]);
        assert!(scene.exported(&["--from", "1000000"]).is_empty());
        let export = ["audit", "export", "--from", "3", "--out", "lines"];
        let told = scene.cli.does(&export)["export"].clone();
        assert_eq!((&told["lines"], &told["head"]), (&json!(lines.len() - 3), &verified["head"]));
        let written = fs::read_to_string(boundary.folder().join("lines")).expect("it is there");
        assert_eq!(written.lines().count(), lines.len() - 3);
        assert!(
            scene.cli.fails(&["audit", "export"]).contains("one JSON object"),
            "--json has no room for both"
        );

        boundary.save("newest");
        for (sql, words) in [
            ("DELETE FROM link WHERE sequence = 5", "missing or another one"),
            ("DELETE FROM link WHERE sequence = 0", "missing or another one"),
            ("DELETE FROM link WHERE sequence = (SELECT max(sequence) FROM link)", "records are not those"),
            ("UPDATE link SET sealed = zeroblob(200) WHERE sequence = 5", "link 5 of the history is"),
            ("DELETE FROM record WHERE kind = 2", "records are not those"),
        ] {
            assert!(scene.connect().execute(sql, []).expect("written") > 0);
            let refused = scene.cli.run(&["audit", "verify"]);
            assert!(what(&refused).contains(words), "{sql}: {}", refused.json);
            assert!(scene.cli.fails(&export).contains(words), "{sql}");
            let still = fs::read_to_string(boundary.folder().join("lines")).expect("it is there");
            assert!(still == written, "{sql}: half an export took the place of a whole one");
            let streamed = scene.cli.text(&["audit", "export"]);
            assert_eq!(streamed.status.code(), Some(1), "{sql}");
            assert!(streamed.stderr.contains(words) && streamed.stderr.contains("next: "), "{sql}");
            boundary.restore_store("newest");
        }
        scene.verified();
    });
}

#[test]
fn the_audit_alone_shows_what_was_in_force_at_any_time() {
    in_boundary(this_test!(), |boundary| {
        let scene = Scene::new(boundary);
        let limits = ["--max-transaction-sat", "100000", "--max-fee-sat", "5000"];
        // The policy is replaced and put back, and a user of that time is removed again.
        scene.cli.does(&["user", "add", "mallory"]);
        scene.cli.does(&["wallet", "set", "treasury", "--unlimited", "--user", "mallory"]);
        let loose = scene.verified()["newest"].clone();
        scene.cli.does(&[&["wallet", "set", "treasury", "--user", "alice"], &limits[..]].concat());
        scene.cli.does(&["user", "remove", "mallory"]);
        scene.cli.does(&["wallet", "set", "treasury", "--reach", "5000"]);
        let at = |arguments: &[&str]| {
            let told = scene.cli.does(&[&["audit", "in-force"], arguments].concat())["in_force"].clone();
            assert_eq!(told["without_document"], json!([]));
            told
        };
        let of = |told: &Value, kind: &str| -> Vec<Value> {
            let documents = told["documents"].as_array().expect("a list");
            documents.iter().map(|there| there["document"][kind].clone()).filter(|it| !it.is_null()).collect()
        };
        let (sequence, time) = (loose["sequence"].to_string(), loose["time_utc"].as_str().expect("a text"));
        let (then, now) = (at(&["--at", &sequence]), at(&[]));
        for (told, policy, user, users) in [
            (&then, "unlimited = true\n", "mallory", 2),
            (&now, "max_transaction_sat = 100000\nmax_fee_sat = 5000\n", "alice", 1),
        ] {
            let wallets = of(told, "wallet");
            assert_eq!(
                (wallets.len(), &wallets[0]["policy"], &wallets[0]["users"]),
                (1, &json!(policy), &json!([user]))
            );
            assert_eq!(of(told, "user").len(), users);
        }
        let shown = scene.cli.does(&["wallet", "show", "treasury"])["wallet"].clone();
        for field in
            ["label", "network", "users", "policy", "fingerprint", "path", "xpub", "descriptor", "id"]
        {
            assert_eq!(of(&now, "wallet")[0][field], shown[field], "{field}");
        }
        let raised = |told: &Value| -> Vec<Value> {
            let documents = told["documents"].as_array().expect("a list").iter();
            documents.map(|there| there["reach_raised_to"].clone()).filter(|reach| !reach.is_null()).collect()
        };
        assert_eq!((raised(&then), raised(&now)), (vec![], vec![json!([5_000, 5_000])]));
        let by_time = at(&["--at", time]);
        assert!(by_time["sequence"].as_u64() >= then["sequence"].as_u64());
        let before = scene.cli.fails(&["audit", "in-force", "--at", "2001-01-01T00:00:00Z"]);
        assert!(before.contains("--at") && before.contains("before the first link"), "{before}");

        // The same as text, with the links that made the change, each after the document before it.
        let text = scene.cli.text(&["audit", "in-force", "--at", &sequence]).expect_success().stdout;
        for words in [
            &format!("wallet, since link {sequence}, "),
            "unlimited = true",
            "users:       mallory",
            "name:      mallory",
        ] {
            assert!(text.contains(words), "{words:?} is not in\n{text}");
        }
        let links = scene.cli.does(&["audit", "show"])["links"].clone();
        let updates: Vec<&Value> = links
            .as_array()
            .expect("links")
            .iter()
            .filter(|link| link["event"] == "wallet-updated")
            .collect();
        let [loosened, tightened, _] = updates[..] else { panic!("{links}") };
        assert_eq!(tightened["before_digest"], loosened["document_digest"]);
        assert_eq!(
            (&loosened["policy_loosens"], &tightened["policy_loosens"]),
            (&json!(true), &json!(false))
        );
        assert_eq!(loosened["rules"], json!(["unlimited", "max_transaction_sat", "max_fee_sat"]));
        assert_eq!(tightened["policy_before_sha256"], loosened["policy_sha256"]);
        let shown = ["audit", "show", "--from", &sequence, "--to", &sequence];
        let text = scene.cli.text(&shown).expect_success().stdout;
        assert!(text.starts_with(&format!("link {sequence}, {time}: wallet-updated\n")), "{text}");
        assert!(
            text.contains("rules:                unlimited, max_transaction_sat, max_fee_sat\n"),
            "{text}"
        );
        assert!(text.contains("    policy:      unlimited = true\n"), "{text}");
        scene.verified();
    });
}

#[test]
fn the_audit_is_read_while_an_engine_writes_and_nothing_is_taken_from_it() {
    in_boundary(this_test!(), |boundary| {
        if boundary.role() == "busy" {
            return sign_until_told(boundary);
        }
        let scene = Scene::new(boundary);
        boundary.note("descriptor", &scene.descriptor);
        boundary.note("code", &scene.alice.code());
        let mut busy = boundary
            .command("busy")
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("it starts");
        let enough = Enough(boundary);
        let mut printed = BufReader::new(busy.stdout.take().expect("it is piped")).lines();
        assert!(printed.any(|line| line.expect("text") == "it signs"), "it never signed");
        let mut before = scene.newest;
        for _ in 0..8 {
            let verified = scene.verified();
            let newest = verified["newest"]["sequence"].as_u64().expect("a number");
            assert!(newest >= before, "{newest} after {before}");
            assert!(verified["anchored"].as_u64().expect("a number") <= newest);
            before = newest;
        }
        assert!(before > scene.newest, "the engine goes on");
        // Many times in one process: the anchor is replaced while the process looks, and is never missing.
        let config = EngineConfig::load(&boundary.conf()).expect("setup.sh wrote it");
        let backing = Backing::open(&config.backing).expect("it opens for several");
        for _ in 0..300 {
            inspection::audit(&config.store.path, &backing, |_| Ok(())).expect("it holds");
        }
        assert_chained(&scene.exported(&[]));
        let refused = scene.restore(&["--yes"], harness::module::SO_PIN, "");
        assert!(what(&refused).contains(&format!("in use by process {}", busy.id())), "{}", refused.json);
        let reason = scene.diagnosis(&[], "reason");
        assert_says(&reason["finding"], &format!("in use by process {}", busy.id()));
        drop(enough);
        assert!(busy.wait().expect("it ends").success());
        assert_eq!(scene.verified()["anchored"], scene.verified()["newest"]["sequence"]);
    });
}

/// Tells the busy process to end, also when the test fails.
struct Enough<'a>(&'a Boundary);

impl Drop for Enough<'_> {
    fn drop(&mut self) {
        self.0.note("enough", "");
    }
}

/// Asks for one answer many times: each time is a charge and a repetition.
fn sign_until_told(boundary: &Boundary) {
    let raw = Raw::load();
    assert_rv!(raw.initialize(), CKR_OK);
    let session = raw.user();
    let key = raw.wallet_key(session, "treasury");
    let psbt = Payment::default().psbt(&boundary.noted("descriptor"));
    let record = approval("alice", &boundary.noted("code"));
    let mut told = false;
    while !boundary.folder().join("enough").exists() {
        let answer = raw.countersign(session, key, &record, &psbt);
        assert!(answer.is_ok(), "{answer:?}");
        if !told {
            println!("\nit signs");
            told = true;
        }
    }
    assert_rv!(raw.finalize(), CKR_OK);
}

#[test]
fn clock_jump_the_security_officer_accepts_it_on_the_command_line() {
    in_boundary(this_test!(), |boundary| {
        let scene = Scene::new(boundary);
        let shown = scene.cli.does(&["clock", "show"])["clock"].clone();
        assert_eq!((&shown["believed"], &shown["refusal"]), (&json!(true), &Value::Null));
        assert_eq!(scene.diagnosis(&[], "clock")["state"], "ok");

        // The clock is an hour ahead, set while the module was closed.
        let ahead = ["faketime", "-f", "+1h"];
        let at =
            |shift: &[&str], arguments: &[&str]| Cli::answer(&mut scene.cli.command(shift, arguments), "");
        let code = || scene.alice.code_away(i64::try_from(3_600 / harness::module::PERIOD).expect("small"));
        assert_eq!(scene.signing(&ahead, &code()), "CKR_COUNTERSIGN_CLOCK");
        let shown = at(&ahead, &["clock", "show"]);
        assert!(!shown.success, "it says so by its exit status");
        assert_says(&shown.json["clock"]["refusal"], "the clock jumped by ");
        assert_eq!(shown.json["clock"]["believed"], false);
        let time = shown.json["clock"]["time"].as_u64().expect("a time");
        assert!(time.abs_diff(now() + 3_600) <= 60, "{time}");
        let clock = scene.diagnosis(&ahead, "clock");
        assert_eq!(clock["state"], "wrong");
        assert_says(&clock["next"], "countersign clock set");

        // Only the security officer, who knows the time, can have the clock accepted.
        let mut wrong = scene.cli.command(&ahead, &["clock", "set"]);
        let refused = Cli::answer(wrong.env("COUNTERSIGN_SO_PIN", "wrong-pin"), "");
        assert_eq!(refused.json["error"]["rv"], "CKR_PIN_INCORRECT");
        let refused = at(&ahead, &["clock", "set", "--time", &to_iso(now())]);
        assert_eq!(refused.json["error"]["rv"], "CKR_ATTRIBUTE_VALUE_INVALID");
        assert!(what(&refused).contains("differs from --time"));
        assert_eq!(scene.signing(&ahead, &code()), "CKR_COUNTERSIGN_CLOCK");
        let taken = at(&ahead, &["clock", "set", "--time", &to_iso(now() + 3_590)]);
        assert!(taken.success, "{}", taken.json);
        assert_eq!(taken.json["clock"]["believed"], true);
        assert_says(&taken.json["before"]["refusal"], "the clock jumped by ");
        assert!(scene.sign(&ahead, &code()).0.success, "signing goes on");
        let lines = scene.exported(&[]);
        let moved = lines
            .iter()
            .filter(|line| line["event"] == "clock-taken")
            .filter_map(|line| line["moved_s"].as_i64());
        assert_eq!(moved.map(|moved| (moved - 3_600).abs() <= 5).collect::<Vec<_>>(), [true]);

        // Set back again, the clock cannot be accepted by anybody: old codes would become valid again.
        assert_eq!(scene.signing(&[], &scene.alice.code_away(0)), "CKR_COUNTERSIGN_CLOCK");
        let refused = scene.cli.run(&["clock", "set"]);
        assert_eq!(refused.json["error"]["rv"], "CKR_COUNTERSIGN_CLOCK");
        assert!(what(&refused).contains("behind the module's newest record"), "{}", refused.json);
        assert_says(&scene.cli.run(&["clock", "show"]).json["clock"]["refusal"], "behind the newest record");
    });
}

#[test]
fn the_help_documents_what_an_exported_line_has() {
    let help =
        Command::new(harness::program()).args(["audit", "export", "--help"]).output().expect("it starts");
    let help = String::from_utf8(help.stdout).expect("UTF-8");
    for field in ["sequence", "time_utc", "event", "users", "txid", "leaves_sat", "previous", "head"] {
        assert!(help.contains(field), "{field} is not in\n{help}");
    }
}
