//! `countersign propose` and `countersign proposal …` against the module: from a proposal to the signature that its ticket pays for.

use std::fs;

use countersign::kernel::consent::Statement;
use harness::device::Device;
use harness::engine::scripts::good_psbt;
use harness::engine::{FEE, PAID};
use harness::module::cli::{Answer, Cli};
use harness::module::wallet::verify_signed;
use harness::module::{Authenticator, Boundary, PERIOD, in_boundary, this_test};
use serde_json::{Value, json};

const LIMITS: [&str; 4] = ["--max-transaction-sat", "100000", "--max-fee-sat", "5000"];

/// A token with alice and bob, and their wallet, on the codes of `needed` of them. Two transactions of it are in files.
fn stage<'a>(boundary: &'a Boundary, needed: &str) -> (Cli<'a>, Authenticator, Authenticator) {
    let (cli, alice) = Cli::new(boundary);
    let json = cli.does(&["user", "add", "bob", "--period", &PERIOD.to_string()]);
    let bob = Authenticator::scan("bob", json["user"]["otpauth_uri"].as_str().expect("a URI"));
    boundary.note("code", &bob.code());
    cli.does(&["user", "confirm", "bob"]);
    let users = ["--network", "regtest", "--user", "alice", "--user", "bob", "--required-approvals", needed];
    cli.does(&[&["wallet", "create", "treasury"], &users[..], &LIMITS].concat());
    for (file, inputs) in [("unsigned.psbt", 1), ("other.psbt", 2)] {
        write(boundary, file, &good_psbt(&cli.watch("treasury"), inputs).serialize());
    }
    boundary.note("code", "");
    (cli, alice, bob)
}

fn write(boundary: &Boundary, file: &str, bytes: &[u8]) {
    fs::write(boundary.folder().join(file), bytes).expect("the folder is ours");
}

/// Proposes a file. Its ticket.
fn propose(cli: &Cli, file: &str) -> String {
    let json = cli.does(&["propose", "--wallet", "treasury", "--in", file]);
    json["proposal"]["ticket"].as_str().unwrap_or_else(|| panic!("{json}")).to_owned()
}

/// The user's word, with this code.
fn say(cli: &Cli, verb: &str, ticket: &str, user: &str, code: &str) -> Answer {
    cli.0.note("code", code);
    let answer = cli.run(&["proposal", verb, ticket, "--user", user]);
    cli.0.note("code", "");
    answer
}

/// Signs a file by a ticket. There is no code that could pay for it.
fn sign(cli: &Cli, file: &str, ticket: &str) -> Answer {
    cli.run(&["sign", "--wallet", "treasury", "--in", file, "--out", "signed.psbt", "--ticket", ticket])
}

fn state(cli: &Cli, ticket: &str) -> Value {
    cli.does(&["proposal", "show", ticket])["proposal"]["state"].clone()
}

/// What an answer says that must be this refusal.
fn refused<'a>(answer: &'a Answer, rv: &str) -> &'a str {
    assert!(!answer.success, "{}", answer.json);
    assert_eq!(answer.json["error"]["rv"].as_str().unwrap_or("null"), rv, "{}", answer.json);
    assert!(answer.json["error"]["next"].as_str().is_some_and(|next| !next.is_empty()));
    answer.json["error"]["what"].as_str().expect("a text")
}

fn failures(cli: &Cli, user: &str) -> Value {
    cli.does(&["user", "show", user])["user"]["failures"].clone()
}

#[test]
fn consent_what_was_shown_and_approved_is_signed_by_its_ticket_and_nothing_else_is() {
    in_boundary(this_test!(), |boundary| {
        let (cli, alice, bob) = stage(boundary, "2");
        let listed = cli.text(&["proposal", "list"]).expect_success();
        assert_eq!(listed.stdout, "No transaction is proposed.\n");
        let proposed =
            cli.does(&["propose", "--wallet", "treasury", "--in", "unsigned.psbt"])["proposal"].clone();
        let ticket = proposed["ticket"].as_str().expect("a text").to_owned();
        assert_eq!(
            (&proposed["state"], &proposed["needed"], &proposed["approvals"]),
            (&json!("open"), &json!(2), &json!(0))
        );
        let users = proposed["users"].as_array().expect("a list");
        for (user, name) in users.iter().zip(["alice", "bob"]) {
            let read =
                Statement::parse(user["statement"].as_str().expect("a text")).expect("the boundary's words");
            assert_eq!((&*read.user.name, &*read.label, read.fee), (name, "treasury", FEE));
            assert_eq!((read.payouts[0].amount, &user["name"]), (PAID, &json!(name)));
        }
        assert_eq!(cli.does(&["proposal", "list"])["proposals"], json!([proposed]));

        // For a person: every statement, and what comes next.
        let shown = cli.text(&["proposal", "show", &ticket]).expect_success().stdout;
        for words in [
            "has 0 of 2 approvals",
            "alice is asked to approve:",
            "for \"bob\" ",
            &ticket,
            "pay 0.00060000 BTC to",
        ] {
            assert!(shown.contains(words), "{words:?} is not in:\n{shown}");
        }
        // A line for a device is signed as it is.
        let for_devices = |line: &&str| line.starts_with("approve: ") || line.starts_with("refuse: ");
        assert!(shown.lines().all(|line| line.len() <= 80 || for_devices(&line)), "{shown}");
        assert_eq!(shown.lines().filter(for_devices).count(), 4, "{shown}");

        let what = refused(&sign(&cli, "unsigned.psbt", &ticket), "CKR_COUNTERSIGN_PENDING").to_owned();
        assert!(what.contains("too few users have approved"), "{what}");
        let one = say(&cli, "approve", &ticket, "alice", &alice.code());
        assert!(one.success, "{}", one.json);
        assert_eq!(
            (&one.json["proposal"]["state"], &one.json["proposal"]["approvals"]),
            (&json!("open"), &json!(1))
        );
        assert_eq!(one.json["proposal"]["users"][0]["approved"]["by"], "totp");
        let again = say(&cli, "approve", &ticket, "alice", "000000");
        assert!(refused(&again, "null").contains("already"), "{}", again.json);
        let two = say(&cli, "approve", &ticket, "bob", &bob.code());
        assert_eq!(two.json["proposal"]["state"], "approved", "{}", two.json);

        // The backend swaps the file.
        let swapped = sign(&cli, "other.psbt", &ticket);
        assert!(
            refused(&swapped, "CKR_PIN_INCORRECT").contains("it is for another transaction"),
            "{}",
            swapped.json
        );
        assert!(!boundary.folder().join("signed.psbt").exists());
        assert!(
            sign(&cli, "unsigned.psbt", &"5a".repeat(16)).json["error"]["what"]
                .as_str()
                .is_some_and(|what| what.contains("unknown"))
        );
        let signed = sign(&cli, "unsigned.psbt", &ticket);
        assert!(signed.success, "{}", signed.json);
        assert_eq!((&signed.json["ticket"], &signed.json["user"]), (&json!(ticket), &Value::Null));
        let read = |file: &str| fs::read(boundary.folder().join(file)).expect("it is there");
        verify_signed(&read("unsigned.psbt"), &read("signed.psbt"));
        assert_eq!(state(&cli, &ticket), "spent");
        refused(&sign(&cli, "other.psbt", &ticket), "CKR_PIN_INCORRECT");
        // The audit has each step, with the ticket.
        let events = cli.text(&["audit", "export"]).expect_success().stdout;
        for event in ["consent-asked", "consent-given", "countersigned"] {
            let has = |line: &str| line.contains(&format!("\"{event}\"")) && line.contains(&ticket);
            assert!(events.lines().any(has), "{event} is not in:\n{events}");
        }
    });
}

#[test]
fn consent_nobody_is_asked_for_a_code_before_the_statement_was_shown() {
    in_boundary(this_test!(), |boundary| {
        let (cli, alice, bob) = stage(boundary, "1");
        let ticket = propose(&cli, "unsigned.psbt");
        let statement = cli.does(&["proposal", "show", &ticket])["proposal"]["users"][0]["statement"].clone();
        let payee = statement
            .as_str()
            .and_then(|text| text.split(" to ").nth(1)?.lines().next())
            .expect("a payee")
            .to_owned();
        for verb in ["approve", "refuse"] {
            // There is no such file, so the command ends where it would read the code.
            let missing = ["proposal", verb, &ticket, "--user", "alice", "--code-file", "missing"];
            let ended = cli.text(&missing);
            let (shown, error) = ended.stderr.split_once("error: ").expect("there is no code");
            assert!(error.contains("--code-file"), "{error}");
            for words in [
                "for \"alice\" ",
                &payee,
                "fee 0.00001000 BTC",
                "leaves 0.00061000 BTC",
                &format!("nonce {ticket}"),
            ] {
                assert!(shown.contains(words), "{words:?} is not shown before the code:\n{}", ended.stderr);
            }
        }
        // Digits that are no code are not sent.
        for slip in ["12345", "123 456", "١٢٣٤٥٦"] {
            let answer = say(&cli, "approve", &ticket, "alice", slip);
            assert!(refused(&answer, "null").contains("6 to 8 digits"), "{}", answer.json);
        }
        let answer = say(&cli, "approve", &ticket, "carol", "000000");
        assert!(refused(&answer, "null").contains("carol is not asked"), "{}", answer.json);
        assert!(answer.json["error"]["next"].as_str().is_some_and(|next| next.contains("alice, bob")));

        // Another user's code is a wrong one.
        let bobs = bob.code();
        for code in [&alice.wrong_code(), &bobs] {
            let answer = say(&cli, "approve", &ticket, "alice", code);
            assert!(
                refused(&answer, "CKR_PIN_INCORRECT").contains("the code of user alice"),
                "{}",
                answer.json
            );
        }
        assert_eq!((failures(&cli, "alice"), state(&cli, &ticket)), (json!(2), json!("open")));
        let answer = say(&cli, "approve", &ticket, "bob", &bobs);
        assert_eq!(answer.json["proposal"]["state"], "approved", "{}", answer.json);
        // The code that approved is spent.
        cli.0.note("code", &bobs);
        let spent = cli.run(&["sign", "--wallet", "treasury", "--user", "bob", "--in", "unsigned.psbt"]);
        refused(&spent, "CKR_PIN_INCORRECT");
    });
}

#[test]
fn consent_a_refused_withdrawn_or_expired_proposal_signs_nothing_and_says_why() {
    in_boundary(this_test!(), |boundary| {
        let (cli, alice, bob) = stage(boundary, "1");
        let ticket = propose(&cli, "unsigned.psbt");
        assert!(say(&cli, "approve", &ticket, "alice", &alice.code()).success);
        let no = say(&cli, "refuse", &ticket, "bob", &bob.code());
        assert_eq!(
            (&no.json["proposal"]["state"], &no.json["proposal"]["refused_by"]),
            (&json!("refused"), &json!("bob"))
        );
        let late = say(&cli, "approve", &ticket, "alice", "000000");
        let what = refused(&late, "null");
        assert!(what.contains("was refused by bob") && what.contains("no code was asked for"), "{what}");
        refused(&sign(&cli, "unsigned.psbt", &ticket), "CKR_PIN_INCORRECT");

        let ticket = propose(&cli, "unsigned.psbt");
        let gone = cli.does(&["proposal", "withdraw", &ticket]);
        assert_eq!(gone, json!({ "ticket": ticket, "withdrawn": true }));
        for verb in
            [&["show"][..], &["withdraw"], &["approve", "--user", "alice"], &["refuse", "--user", "bob"]]
        {
            let answer = cli.run(&[&["proposal"], verb, &[&ticket]].concat());
            assert!(refused(&answer, "null").contains("no proposal with the ticket"), "{}", answer.json);
        }
        refused(&sign(&cli, "unsigned.psbt", &ticket), "CKR_PIN_INCORRECT");

        let ticket = propose(&cli, "unsigned.psbt");
        let later = |words: &[&str]| Cli::answer(&mut cli.command(&["faketime", "-f", "+11m"], words), "");
        let accepted = later(&["clock", "set"]);
        assert!(accepted.success, "{}", accepted.json);
        assert_eq!(later(&["proposal", "show", &ticket]).json["proposal"]["state"], "expired");
        let answer = later(&["proposal", "approve", &ticket, "--user", "alice"]);
        assert!(refused(&answer, "null").contains("expired at"), "{}", answer.json);
        let signs = ["sign", "--wallet", "treasury", "--in", "unsigned.psbt", "--ticket", &ticket];
        assert!(refused(&later(&signs), "CKR_PIN_INCORRECT").contains("expired"));
    });
}

#[test]
fn consent_what_cannot_be_proposed_is_refused_with_its_reason() {
    in_boundary(this_test!(), |boundary| {
        let (cli, _, _) = stage(boundary, "1");
        cli.does(&["user", "add", "Zoë"]);
        let propose = |more: &[&str]| {
            cli.run(&[&["propose", "--wallet", "treasury", "--in", "unsigned.psbt"], more].concat())
        };
        let answer = propose(&["--ask", "Zoë"]);
        assert!(
            refused(&answer, "CKR_COUNTERSIGN_ACT_REFUSED")
                .contains("somebody is asked who does not sign for this wallet")
        );
        let answer = propose(&["--ask", "alice", "--ask", "alice"]);
        assert!(refused(&answer, "null").contains("--ask names \"alice\" twice"));
        assert_eq!(propose(&["--ask", "bob"]).json["proposal"]["users"][0]["name"], "bob");

        let of = |wallet: &str, file: &str| cli.run(&["propose", "--wallet", wallet, "--in", file]);
        assert!(refused(&of("nosuch", "unsigned.psbt"), "null").contains("no wallet nosuch"));
        assert!(refused(&of("treasury", "missing.psbt"), "null").contains("missing.psbt"));
        boundary.note("text.psbt", "été");
        assert!(refused(&of("treasury", "text.psbt"), "null").contains("not a PSBT"));
        let mut long = fs::read(boundary.folder().join("unsigned.psbt")).expect("it is there");
        long.resize(8 << 20, 0);
        write(boundary, "long.psbt", &long);
        assert!(refused(&of("treasury", "long.psbt"), "CKR_DATA_LEN_RANGE").contains("too large"));
        let mut unproved = good_psbt(&cli.watch("treasury"), 1);
        unproved.inputs[0].non_witness_utxo = None;
        write(boundary, "unproved.psbt", &unproved.serialize());
        let answer = of("treasury", "unproved.psbt");
        assert!(refused(&answer, "CKR_COUNTERSIGN_PSBT_REFUSED").contains("nothing was proposed"));
        assert_eq!(answer.json["error"]["rule"]["tag"], "utxo-missing");
        cli.does(&["wallet", "set", "treasury", "--max-transaction-sat", "1000", "--max-fee-sat", "5000"]);
        let answer = of("treasury", "unsigned.psbt");
        assert!(refused(&answer, "CKR_COUNTERSIGN_POLICY").contains("nobody was asked"));
        assert_eq!(answer.json["error"]["rule"]["tag"], "transaction-max");
    });
}

#[test]
fn consent_where_a_wallet_asks_for_a_device_its_signature_alone_approves() {
    in_boundary(this_test!(), |boundary| {
        let (cli, alice, _) = stage(boundary, "1");
        boundary.note(
            "policy.toml",
            "max_transaction_sat = 100000\nmax_fee_sat = 5000\nconsent_from_sat = 0\nconsent_by = [\"device\"]\n",
        );
        cli.does(&["wallet", "set", "treasury", "--policy", "policy.toml"]);
        let device = Device::new(5);
        let listed = |user: &str| cli.does(&["user", "device", "list", user])["devices"].clone();
        assert_eq!(listed("alice"), json!([]));
        let add = |user: &str, address: &str| {
            cli.run(&[
                "user",
                "device",
                "add",
                user,
                "--device",
                "my ledger",
                "--network",
                "regtest",
                "--address",
                address,
            ])
        };
        let wrong = add("alice", "bcrt1qnothing");
        assert!(refused(&wrong, "CKR_ATTRIBUTE_VALUE_INVALID").contains("is not changed"), "{}", wrong.json);
        let added = add("alice", &device.address());
        assert!(added.success, "{}", added.json);
        assert_eq!(
            listed("alice"),
            json!([{ "name": "my ledger", "network": "regtest", "address": device.address() }])
        );
        refused(&add("bob", &device.address()), "CKR_ATTRIBUTE_VALUE_INVALID");

        let proposed =
            cli.does(&["propose", "--wallet", "treasury", "--in", "unsigned.psbt"])["proposal"].clone();
        let ticket = proposed["ticket"].as_str().expect("a text").to_owned();
        let line = |word: &str| proposed["users"][0]["device"][word].as_str().expect("a text").to_owned();
        let by_code = say(&cli, "approve", &ticket, "alice", &alice.code());
        assert!(
            refused(&by_code, "CKR_COUNTERSIGN_ACT_REFUSED").contains("only approvals by a means"),
            "{}",
            by_code.json
        );
        let signed = |text: &str, user: &str| {
            boundary.note("device.sig", &format!("{}\n", device.sign(text)));
            cli.run(&["proposal", "approve", &ticket, "--user", user, "--signature-file", "device.sig"])
        };
        let wrong = signed(&line("refuse"), "alice");
        assert!(
            refused(&wrong, "CKR_COUNTERSIGN_ACT_REFUSED").contains("no device of the user's"),
            "{}",
            wrong.json
        );
        let nobodys = signed(&line("approve"), "bob");
        assert!(
            refused(&nobodys, "CKR_COUNTERSIGN_ACT_REFUSED").contains("no device for"),
            "{}",
            nobodys.json
        );
        let right = signed(&line("approve"), "alice");
        assert_eq!(right.json["proposal"]["users"][0]["approved"]["by"], "device", "{}", right.json);
        assert!(sign(&cli, "unsigned.psbt", &ticket).success);
        let unsigned = fs::read(boundary.folder().join("unsigned.psbt")).expect("it is there");
        let answer = fs::read(boundary.folder().join("signed.psbt")).expect("it is signed");
        verify_signed(&unsigned, &answer);

        cli.does(&["user", "device", "remove", "alice", "--device", "my ledger"]);
        assert_eq!(listed("alice"), json!([]));
    });
}
