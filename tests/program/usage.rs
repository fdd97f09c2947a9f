//! Wrong input on the command line, for every verb: the message names the field at fault, and with `--json`
//! it is one object.

use std::fs;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use harness::module::cli::Cli;
use harness::module::{in_boundary, module, this_test};

/// Every verb. A test of the program itself compares this list with the verbs that exist.
const VERBS: &str = include_str!("../vectors/verbs.txt");

/// Of no proposal.
const TICKET: &str = "00112233445566778899aabbccddeeff";

/// Runs the command without a configuration.
fn without_configuration(words: &[&str]) -> Output {
    Command::new(harness::program())
        .args(words)
        .env("COUNTERSIGN_CONF", "/nonexistent/countersign.toml")
        .env("COUNTERSIGN_MODULE", module())
        .env("COUNTERSIGN_SO_PIN", "so-pin")
        .env("COUNTERSIGN_USER_PIN", "user-pin")
        .stdin(Stdio::null())
        .output()
        .expect("it starts")
}

/// The one JSON object on standard output.
fn object(output: &Output, words: &[&str]) -> Value {
    let stdout = std::str::from_utf8(&output.stdout).expect("UTF-8");
    let value: Value =
        serde_json::from_str(stdout).unwrap_or_else(|error| panic!("{words:?}: {error}\n{stdout}"));
    assert!(value.is_object(), "{words:?}: {stdout}");
    value
}

fn text<'a>(told: &'a Value, field: &str) -> &'a str {
    told["error"][field].as_str().unwrap_or_else(|| panic!("no {field} in {told}"))
}

#[test]
fn with_json_wrong_usage_of_every_verb_is_one_object_on_standard_output() {
    for verb in VERBS.lines() {
        let verb: Vec<&str> = verb.split(' ').collect();
        for order in [
            [&verb[..], &["--json", "--no-such-option"]].concat(),
            [&["--json"], &verb[..], &["--no-such-option"]].concat(),
        ] {
            let output = without_configuration(&order);
            assert_eq!(output.status.code(), Some(2), "{order:?}");
            let told = object(&output, &order);
            assert!(text(&told, "what").contains("--no-such-option"), "{told}");
            assert!(text(&told, "next").contains("--help"), "{told}");
            assert_eq!(told["error"]["rv"], Value::Null);
        }
    }
    for words in
        [&["--json"][..], &["--json", "wallet"], &["--json", "nonsense"], &["wallet", "--json", "nonsense"]]
    {
        let output = without_configuration(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(!text(&object(&output, words), "what").is_empty());
    }
    let help = without_configuration(&["user", "add", "--json", "--help"]);
    assert!(
        help.status.success()
            && object(&help, &["--help"])["help"].as_str().is_some_and(|help| help.contains("--issuer"))
    );
}

#[test]
fn with_json_every_verb_that_cannot_begin_is_one_object_on_standard_output() {
    for verb in VERBS.lines() {
        let words: Vec<&str> = verb.split(' ').chain(["--json"]).collect();
        let output = without_configuration(&words);
        let told = object(&output, &words);
        assert!(!output.status.success(), "{words:?}: {told}");
        // The doctor reports its findings. Every other command says what is wrong, and never refers to a line
        // elsewhere.
        if verb != "doctor" {
            let told = [text(&told, "what"), text(&told, "next")].concat();
            assert!(
                !told.is_empty() && !told.contains("line above") && !told.contains("own line"),
                "{verb}: {told}"
            );
        }
    }
    // The message includes what only the module knows.
    let told = object(&without_configuration(&["user", "list", "--json"]), &["user", "list"]);
    assert!(text(&told, "what").contains("/nonexistent/countersign.toml"), "{told}");
}

/// Words that an error must contain, and the arguments that cause it.
type Row<'a> = (&'a str, Vec<&'a str>);

#[test]
fn every_error_names_the_field_at_fault() {
    in_boundary(this_test!(), |boundary| {
        let (cli, _) = Cli::new(boundary);
        let limits = ["--max-transaction-sat", "1000", "--max-fee-sat", "10"];
        let create = |label, more: &[&'static str]| {
            [&["wallet", "create", label, "--network", "regtest"][..], &limits, more].concat()
        };
        cli.does(&create("treasury", &["--user", "alice"]));
        cli.does(&["key", "create", "sidechain", "--user", "alice", "--unlimited"]);
        let policies = [
            ("unknown.toml", "max_fee_sat = 5\nmax_tee = 3\n"),
            ("type.toml", "max_fee_sat = 5\nmax_transaction_sat = \"3\"\n"),
            ("digest.toml", "unlimited = true\nmax_fee_sat = 1\n"),
            ("bad.policy", "wsh(multi(2,@0/**"),
        ];
        for (file, content) in policies {
            boundary.note(file, content);
        }
        fs::write(boundary.folder().join("long.toml"), vec![b'#'; 40_000]).expect("the folder is ours");
        let long: &'static str = "x".repeat(129).leak();
        let alice = ["--user", "alice"];
        let wallet = |more: &[&'static str]| [create("w", &alice), more.to_vec()].concat();
        let policy =
            |file| vec!["wallet", "create", "w", "--network", "regtest", "--user", "alice", "--policy", file];
        let key = |more: &[&'static str]| [&["key", "create", "k", "--user", "alice"], more].concat();
        let rows: Vec<Row<'_>> = vec![
            ("--issuer", vec!["user", "add", "bob", "--issuer", "Acme: X"]),
            ("--issuer", vec!["user", "add", "bob", "--issuer", long]),
            ("<NAME>", vec!["user", "add", "a:b"]),
            ("<NAME>", vec!["user", "add", " bob"]),
            ("already a user alice", vec!["user", "add", "alice"]),
            ("--digits", vec!["user", "add", "bob", "--digits", "9"]),
            ("--period", vec!["user", "add", "bob", "--period", "14"]),
            ("--hash", vec!["user", "add", "bob", "--hash", "md5"]),
            ("--svg", vec!["user", "add", "bob", "--svg", "/nonexistent/bob.svg"]),
            ("no user nobody", vec!["user", "remove", "nobody"]),
            ("wallet treasury, key sidechain", vec!["user", "remove", "alice"]),
            ("<LABEL>", create("", &alice)),
            ("<LABEL>", create(long, &alice)),
            ("already a wallet treasury", create("treasury", &alice)),
            (
                "--network",
                vec!["wallet", "create", "w", "--network", "moon", "--user", "alice", "--unlimited"],
            ),
            ("--user: there is no user nobody", create("w", &["--user", "nobody"])),
            ("--user names \"alice\" twice", wallet(&alice)),
            ("--allow", wallet(&["--allow", "script:51", "--allow", "nonsense"])),
            ("--deny", wallet(&["--deny", "nonsense"])),
            ("--time-window", wallet(&["--time-window", "25:00-26:00"])),
            ("--required-approvals", wallet(&["--required-approvals", "17"])),
            (
                "name more users with --user, or lower --required-approvals",
                wallet(&["--required-approvals", "2"]),
            ),
            ("--require-cosigner", wallet(&["--require-cosigner", "zz"])),
            ("--require-cosigner", wallet(&["--require-cosigner", "01020304"])),
            ("--path", wallet(&["--path", "m/84'/5'/0'"])),
            ("--period-hours", wallet(&["--max-period-sat", "9", "--period-hours", "0"])),
            ("unknown.toml", policy("unknown.toml")),
            ("line 2", policy("type.toml")),
            ("--policy", policy("long.toml")),
            ("--policy", policy("missing.toml")),
            ("--wallet-policy", wallet(&["--wallet-policy", "bad.policy"])),
            ("--wallet-policy", wallet(&["--wallet-policy", "missing.policy"])),
            ("no wallet nosuch", vec!["wallet", "set", "nosuch", "--unlimited"]),
            ("--allow", vec!["wallet", "set", "treasury", "--unlimited", "--allow", "nonsense"]),
            ("--user names", vec!["wallet", "set", "treasury", "--user", "alice", "--user", "alice"]),
            ("--reach", vec!["wallet", "set", "treasury", "--reach", "0"]),
            ("registered already", vec!["wallet", "register", "treasury", "--wallet-policy", "bad.policy"]),
            ("already a key sidechain", vec!["key", "create", "sidechain", "--user", "alice", "--unlimited"]),
            ("--mechanism", key(&["--unlimited", "--mechanism", "rsa"])),
            ("--time-window", key(&["--unlimited", "--time-window", "never"])),
            ("max_fee_sat in digest.toml", key(&["--policy", "digest.toml"])),
            ("no key nosuch", vec!["key", "set", "nosuch", "--unlimited"]),
            ("--digest", vec!["key", "sign", "sidechain", "--digest", "00"]),
            ("--time", vec!["clock", "set", "--time", "yesterday"]),
            ("--time", vec!["clock", "set", "--time", "2001-01-01T00:00:00Z"]),
            ("--in", vec!["sign", "--wallet", "treasury", "--in", "missing.psbt"]),
            ("--in", vec!["psbt", "show", "--wallet", "treasury", "--in", "missing.psbt"]),
            ("--in", vec!["propose", "--wallet", "treasury", "--in", "missing.psbt"]),
            ("--ask", vec!["propose", "--wallet", "treasury", "--ask", "a:b"]),
            ("--ask names", vec!["propose", "--wallet", "treasury", "--ask", "alice", "--ask", "alice"]),
            ("--ticket", vec!["sign", "--wallet", "treasury", "--ticket", "47"]),
            ("<TICKET>", vec!["proposal", "show", "#0112233445566778899aabbccddeeff"]),
            ("--user", vec!["proposal", "approve", TICKET]),
            ("ticket 00112233", vec!["proposal", "withdraw", TICKET]),
            ("--user-pin-file", vec!["user", "list", "--user-pin-file", "missing.pin"]),
            ("--from", vec!["audit", "export", "--from", "x"]),
            ("--at", vec!["audit", "in-force", "--at", "x"]),
            ("--time", vec!["state", "restore", "--time", "x"]),
            ("--officer", vec!["plugin", "verify", "--library", "l", "--officer", "x", "--threshold", "1"]),
            ("--label", vec!["init", "--label", &long[..33]]),
            ("SHELL", vec!["completions", "elvish"]),
            ("/nonexistent", vec!["man", "/nonexistent"]),
        ];
        for (field, words) in rows {
            let answer = cli.run(&words);
            assert!(!answer.success, "{words:?}: {}", answer.json);
            let told = format!("{}\n{}", text(&answer.json, "what"), text(&answer.json, "next"));
            assert!(told.contains(field), "{words:?} does not name {field}:\n{told}");
            assert!(!told.contains("may name it") && !told.contains("own line"), "{words:?}:\n{told}");
        }
        assert_eq!(
            cli.does(&["user", "list"])["users"].as_array().map(Vec::len),
            Some(1),
            "nothing was added"
        );
        assert_eq!(cli.does(&["wallet", "list"])["wallets"].as_array().map(Vec::len), Some(1));
        // The command line cannot judge this value, so the message is the module's.
        boundary.note("code", "12");
        let answer = cli.run(&["user", "confirm", "alice"]);
        assert!(text(&answer.json, "what").contains("6 to 8 digits"), "{}", answer.json);
        assert_eq!(answer.json["error"]["rv"], json!(null));
    });
}
