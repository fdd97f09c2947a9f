//! `countersign act …` against the module: from a refused command to what the officers decide. The commands of docs/officers.md are run
//! here.

use harness::module::cli::{Answer, Cli};
use harness::module::{Authenticator, Boundary, in_boundary, this_test};
use harness::officers::{PASSWORD, keygen, line};
use serde_json::{Value, json};

/// A token with alice, who signs for a wallet, with bob, who does not, and with three officers, of whom two must sign.
fn stage(boundary: &Boundary) -> (Cli<'_>, Authenticator) {
    let (cli, alice) = Cli::new(boundary);
    cli.does(&["user", "add", "bob"]);
    let limits = ["--max-transaction-sat", "100000", "--max-fee-sat", "5000"];
    cli.does(
        &[&["wallet", "create", "treasury", "--network", "regtest", "--user", "alice"], &limits[..]].concat(),
    );
    boundary.note("password", PASSWORD);
    let lines = ["ann", "ben", "cleo"].map(|name| {
        keygen(boundary.folder(), name);
        line(boundary.folder(), &format!("{name}.pub"))
    });
    let officers = lines.iter().flat_map(|line| ["--officer", line]);
    let set: Vec<&str> =
        ["officers", "set", "--threshold", "2", "--delay-hours", "72"].into_iter().chain(officers).collect();
    cli.does(&set);
    (cli, alice)
}

/// The act's file that a command writes because officers must sign.
fn handed_over(cli: &Cli, command: &[&str]) -> String {
    let answer = cli.run(command);
    let error = &answer.json["error"];
    assert_eq!(error["rv"], "CKR_COUNTERSIGN_ACT", "{command:?}: {}", answer.json);
    let what = error["what"].as_str().expect("a text");
    assert!(what.contains("nothing was changed") && what.contains("2 of 3 officers"), "{what}");
    let next = error["next"].as_str().expect("a text");
    let file = error["act_file"].as_str().expect("a text").to_owned();
    assert!(file.ends_with(".act") && cli.0.folder().join(&file).is_file(), "{file}");
    assert!(next.contains(&format!("countersign act submit {file}")), "{next}");
    file
}

fn sign(cli: &Cli, file: &str, officer: &str) {
    let key = format!("{officer}.key");
    cli.does(&["act", "sign", file, "--secret-key", &key, "--password-file", "password"]);
}

fn state(proposal: &Value) -> &str {
    proposal["state"].as_str().unwrap_or_else(|| panic!("{proposal}"))
}

fn refused(answer: &Answer) -> &str {
    assert_eq!(answer.json["error"]["rv"], "CKR_COUNTERSIGN_ACT_REFUSED", "{}", answer.json);
    answer.json["error"]["what"].as_str().expect("a text")
}

#[test]
fn what_an_administrator_may_not_do_alone_becomes_a_file_for_the_officers() {
    in_boundary(this_test!(), |boundary| {
        let (cli, alice) = stage(boundary);
        assert_eq!(cli.does(&["act", "list"])["acts"], json!([]));
        assert_eq!(cli.text(&["act", "list"]).expect_success().stdout, "No act is proposed.\n");
        let file = handed_over(&cli, &["wallet", "set", "treasury", "--user", "alice", "--user", "bob"]);
        let shown = cli.does(&["act", "show", &file])["act"].clone();
        assert_eq!((&shown["class"], &shown["changes"][0]["what"]), (&json!("loosens"), &json!("user")));
        assert!(cli.fails(&["act", "submit", &file]).contains("no signature"));
        sign(&cli, &file, "ann");
        let first = cli.does(&["act", "submit", &file])["proposal"].clone();
        assert_eq!((state(&first), &first["signed"], &first["needed"]), ("unsigned", &json!(1), &json!(2)));
        sign(&cli, &file, "ben");
        let waiting = cli.does(&["act", "submit", &file])["proposal"].clone();
        assert_eq!((state(&waiting), &waiting["vetoers"]), ("waiting", &json!(["alice"])));
        assert!(waiting["delay_seconds"].as_u64().is_some_and(|left| left > 71 * 3_600), "{waiting}");
        // Once more does no harm, and is not sooner.
        assert_eq!(state(&cli.does(&["act", "submit", &file])["proposal"]), "waiting");
        let listed = cli.text(&["act", "list"]).expect_success().stdout;
        assert!(listed.contains("wallet-set \"treasury\"") && listed.contains("waits for"), "{listed}");
        assert!(listed.lines().all(|line| line.len() <= 120), "{listed}");
        assert_eq!(cli.does(&["wallet", "show", "treasury"])["wallet"]["users"], json!(["alice"]));
        assert!(refused(&cli.run(&["act", "withdraw", &file])).contains("an officer has signed"));

        // Alice ends it with a code.
        boundary.note("code", &alice.wrong_code());
        assert_eq!(
            cli.run(&["act", "veto", &file, "--user", "alice"]).json["error"]["rv"],
            "CKR_PIN_INCORRECT"
        );
        boundary.note("code", &alice.code());
        assert!(
            refused(&cli.run(&["act", "veto", &file, "--user", "bob"])).contains("did not concern this user")
        );
        assert_eq!(state(&cli.does(&["act", "veto", &file, "--user", "alice"])["proposal"]), "vetoed");
        assert!(refused(&cli.run(&["act", "veto", &file, "--user", "alice"])).contains("it is over"));

        // The next one an officer ends, who signs the veto elsewhere.
        let file = handed_over(&cli, &["wallet", "set", "treasury", "--unlimited"]);
        sign(&cli, &file, "ann");
        sign(&cli, &file, "cleo");
        let key = ["--secret-key", "ben.key", "--password-file", "password"];
        let veto = cli.does(&[&["act", "veto", &file, "--sign-only"], &key[..]].concat());
        let signature = veto["signature_file"].as_str().expect("a text").to_owned();
        assert!(cli.fails(&["act", "veto", &file, "--signature", &signature]).contains("was not proposed"));
        // The veto beside the file is no signature of the act, nor is that one a veto.
        assert_eq!(state(&cli.does(&["act", "submit", &file])["proposal"]), "waiting");
        let of_the_act = signature.replace(".veto.", ".");
        sign(&cli, &file, "ben");
        let wrong = cli.run(&["act", "veto", &file, "--signature", &of_the_act]);
        assert!(refused(&wrong).contains("no officer signed the text of this act's veto"), "{}", wrong.json);
        let next = wrong.json["error"]["next"].as_str().expect("a text");
        assert!(next.contains(&format!("countersign act veto {file} --sign-only")), "{next}");
        assert_eq!(
            state(&cli.does(&["act", "veto", &file, "--signature", &signature])["proposal"]),
            "vetoed"
        );
    });
}

#[test]
fn an_officer_with_the_key_at_hand_vetoes_in_one_step() {
    in_boundary(this_test!(), |boundary| {
        let (cli, _) = stage(boundary);
        let file = handed_over(&cli, &["wallet", "set", "treasury", "--unlimited"]);
        let key = ["--secret-key", "ben.key", "--password-file", "password"];
        let veto = [&["act", "veto", &file], &key[..]].concat();
        assert!(cli.fails(&veto).contains("was not proposed"));
        for officer in ["ann", "cleo"] {
            sign(&cli, &file, officer);
        }
        assert_eq!(state(&cli.does(&["act", "submit", &file])["proposal"]), "waiting");
        let before = files(boundary);
        let vetoed = cli.does(&veto)["proposal"].clone();
        assert_eq!(state(&vetoed), "vetoed");
        let by = vetoed["ended"].as_str().expect("a text");
        assert!(by.contains(&line(boundary.folder(), "ben.pub")), "{by}");
        assert_eq!(files(boundary), before, "it was sent, and not written");
        assert!(refused(&cli.run(&veto)).contains("it is over"));
        let over = cli.fails(&["act", "submit", &file]);
        assert!(over.contains(&format!("was vetoed by {by}")) && over.contains("nothing was done"), "{over}");
    });
}

/// Files go in the order of their names, and anybody can mail one.
#[test]
fn a_signature_that_does_not_count_keeps_no_other_from_counting() {
    in_boundary(this_test!(), |boundary| {
        let (cli, _) = stage(boundary);
        keygen(boundary.folder(), "rogue");
        let spoil = |file: &str| {
            sign(&cli, file, "rogue");
            boundary.note(&format!("{file}.0.minisig"), "no signature");
            boundary.note(&format!("{file}.1.minisig"), &"x".repeat(1_000_000));
            std::fs::create_dir(boundary.folder().join(format!("{file}.2.minisig"))).expect("ours");
        };
        let skipped = |answer: &Value| answer["skipped"].as_array().expect("a list").len();

        let file = cli.does(&["act", "draft", "freeze wallet treasury"])["act"]["file"]
            .as_str()
            .expect("a text")
            .to_owned();
        spoil(&file);
        let none = cli.run(&["act", "submit", &file]);
        let what = refused(&none);
        for reason in ["none of the 4 signatures", ".0.minisig: the act was refused", "not a regular file"] {
            assert!(what.contains(reason), "{reason:?} is not in {what}");
        }
        sign(&cli, &file, "cleo");
        let done = cli.does(&["act", "submit", &file]);
        assert_eq!(state(&done["proposal"]), "carried-out");
        assert!(skipped(&done) >= 3, "{done}");
        assert_eq!(cli.does(&["wallet", "show", "treasury"])["wallet"]["frozen"], true);

        // So it is with an act for which two must sign.
        let file = handed_over(&cli, &["wallet", "set", "treasury", "--unlimited"]);
        spoil(&file);
        sign(&cli, &file, "ann");
        let first = cli.text(&["act", "submit", &file]).expect_success();
        assert!(first.stdout.contains("has 1 of 2 signatures"), "{}", first.stdout);
        assert_eq!(first.stderr.matches("skipped: ").count(), 4, "{}", first.stderr);
        assert!(first.stderr.contains("no officer signed this text"), "{}", first.stderr);
        let bad = format!("{file}.0.minisig");
        assert!(cli.fails(&["act", "submit", &file, "--signature", &bad]).contains("no officer signed"));
        sign(&cli, &file, "ben");
        assert_eq!(state(&cli.does(&["act", "submit", &file])["proposal"]), "waiting");
        assert_eq!(state(&cli.does(&["act", "submit", &file, "--signature", &bad])["proposal"]), "waiting");
    });
}

#[test]
fn act_void_and_act_replay_submitting_again_says_that_nothing_was_done() {
    in_boundary(this_test!(), |boundary| {
        let (cli, _) = stage(boundary);
        let frozen = cli.does(&["act", "draft", "freeze wallet treasury"])["act"].clone();
        let freeze = frozen["file"].as_str().expect("a text");
        sign(&cli, freeze, "cleo");
        let now = cli.text(&["act", "submit", freeze]).expect_success().stdout;
        assert!(now.contains("The act was carried out."), "{now}");
        let again = cli.text(&["act", "submit", freeze]).expect_success().stdout;
        for words in
            ["carried out earlier", "Nothing was done now", "may have been thawed since", "a new act"]
        {
            assert!(again.contains(words), "{words:?} is not in {again}");
        }
        assert_eq!(cli.does(&["act", "submit", freeze])["carried_out_earlier"], true);

        let file = handed_over(&cli, &["wallet", "set", "treasury", "--unlimited"]);
        for officer in ["ann", "ben"] {
            sign(&cli, &file, officer);
        }
        cli.does(&["act", "submit", &file]);
        cli.does(&["wallet", "set", "treasury", "--max-transaction-sat", "1000", "--max-fee-sat", "500"]);
        let void = cli.text(&["act", "submit", &file]);
        assert_eq!(void.status.code(), Some(1), "{}", void.stderr);
        assert!(void.stdout.is_empty(), "{}", void.stdout);
        for words in ["error: the act is void: ", "nothing was done", "next: ask for the change again"] {
            assert!(void.stderr.contains(words), "{words:?} is not in {}", void.stderr);
        }
    });
}

#[test]
fn what_an_administrator_may_do_alone_leaves_no_file_and_a_user_is_frozen_with_a_pin() {
    in_boundary(this_test!(), |boundary| {
        let (cli, _) = stage(boundary);
        let before = files(boundary);
        cli.does(&[
            "wallet",
            "create",
            "cold",
            "--network",
            "regtest",
            "--user",
            "alice",
            "--unlimited",
            "--key-only",
            "--path",
            "m/84'/1'/0'",
        ]);
        boundary.note("cold.policy", "wpkh(@0/**)\nours");
        cli.does(&["wallet", "register", "cold", "--wallet-policy", "cold.policy"]);
        let again = cli.run(&["wallet", "register", "cold", "--wallet-policy", "cold.policy"]);
        assert_eq!(
            (again.success, &again.json["error"]["act_file"]),
            (false, &Value::Null),
            "{}",
            again.json
        );
        assert_eq!(files(boundary).len(), before.len() + 1, "the policy's own");

        // The draft of a user's freeze needs a PIN: nobody else may learn who is enrolled.
        let draft = |name: &str| {
            let what = format!("freeze user {name}");
            let mut command = cli.command(&[], &["act", "draft", &what]);
            Cli::answer(command.env_remove("COUNTERSIGN_SO_PIN").env_remove("COUNTERSIGN_USER_PIN"), "").json
        };
        for name in ["alice", "nosuch"] {
            let what = draft(name)["error"]["what"].as_str().expect("a text").to_owned();
            assert!(what.contains("needs the user PIN"), "{name}: {what}");
        }
        assert!(cli.fails(&["act", "draft", "freeze user nosuch"]).contains("no such user: \"nosuch\""));
        let file = cli.does(&["act", "draft", "freeze user alice"])["act"]["file"]
            .as_str()
            .expect("a text")
            .to_owned();
        sign(&cli, &file, "cleo");
        assert_eq!(state(&cli.does(&["act", "submit", &file])["proposal"]), "carried-out");
        assert_eq!(cli.does(&["user", "show", "alice"])["user"]["frozen"], true);
    });
}

#[test]
fn the_audit_tells_the_whole_way_of_an_act() {
    in_boundary(this_test!(), |boundary| {
        let (cli, _) = stage(boundary);
        let file = handed_over(&cli, &["wallet", "set", "treasury", "--unlimited"]);
        sign(&cli, &file, "ann");
        cli.does(&["act", "submit", &file]);
        sign(&cli, &file, "ben");
        cli.does(&["act", "submit", &file]);
        let key = ["--secret-key", "cleo.key", "--password-file", "password"];
        cli.does(&[&["act", "veto", &file], &key[..]].concat());
        let frozen = cli.does(&["act", "draft", "freeze all"])["act"].clone();
        let freeze = frozen["file"].as_str().expect("a text");
        sign(&cli, freeze, "cleo");
        cli.does(&["act", "submit", freeze]);
        let lines = cli.text(&["audit", "export"]).expect_success().stdout;
        let of = |nonce: &Value| -> Vec<String> {
            let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
            lines
                .filter(|line| &line["nonce"] == nonce)
                .map(|line| line["event"].as_str().expect("a text").to_owned())
                .collect()
        };
        let shown = cli.does(&["act", "show", &file])["act"].clone();
        assert_eq!(of(&shown["nonce"]), ["act-proposed", "act-signed", "act-vetoed"]);
        assert_eq!(of(&frozen["nonce"]), ["act-proposed", "everything-frozen"]);
    });
}

/// The files in the folder where the commands run, without those of the store.
fn files(boundary: &Boundary) -> Vec<String> {
    let entries = std::fs::read_dir(boundary.folder()).expect("the folder is ours");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned())
        .collect();
    names.retain(|name| !name.starts_with("countersign.db"));
    names.sort();
    names
}

#[test]
fn one_officer_freezes_and_the_thaw_is_handed_to_the_officers() {
    in_boundary(this_test!(), |boundary| {
        let (cli, _) = stage(boundary);
        let fails = |what: &str, words: &str| {
            let said = cli.fails(&["act", "draft", what]);
            assert!(said.contains(words), "{what}: {said}");
        };
        fails("freeze wallet nosuch", "no such wallet: \"nosuch\"");
        fails("freeze wallet", "no such wallet: its name is missing");
        fails("freeze key nosuch", "no such key: \"nosuch\"");
        fails("thaw wallet treasury", "there is nothing that");
        let made = cli.does(&["act", "draft", "freeze wallet treasury"])["act"].clone();
        assert_eq!(made["class"], "tightens");
        let file = made["file"].as_str().expect("a text");
        sign(&cli, file, "cleo");
        assert_eq!(state(&cli.does(&["act", "submit", file])["proposal"]), "carried-out");
        assert_eq!(cli.does(&["wallet", "show", "treasury"])["wallet"]["frozen"], true);

        fails("freeze wallet treasury", "wallet \"treasury\" is frozen already");

        let thaw = handed_over(&cli, &["wallet", "thaw", "treasury"]);
        assert_eq!(state(&cli.does(&["act", "propose", &thaw])["proposal"]), "unsigned");
        assert_eq!(cli.does(&["act", "withdraw", &thaw])["withdrawn"], true);
        assert!(cli.fails(&["act", "withdraw", &thaw]).contains("was not proposed"));
        // Officers decide who they are, and which clock is right.
        let key = line(boundary.folder(), "ann.pub");
        handed_over(&cli, &["officers", "set", "--officer", &key, "--threshold", "1", "--delay-hours", "1"]);
        let clock = handed_over(&cli, &["clock", "set"]);
        sign(&cli, &clock, "ann");
        sign(&cli, &clock, "ben");
        assert_eq!(state(&cli.does(&["act", "submit", &clock])["proposal"]), "carried-out");
        // What tightens stays the administrator's own.
        cli.does(&["wallet", "freeze", "treasury"]);
        cli.does(&["freeze", "--all"]);
        handed_over(&cli, &["thaw", "--all"]);
        fails("freeze all", "everything is frozen already");
    });
}
