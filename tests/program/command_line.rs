//! The command line on the real module: wallets in every form of registration, and the signer's view of a
//! PSBT.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bitcoin::Amount;
use bitcoin::psbt::Psbt;
use bitcoin::secp256k1::Secp256k1;
use countersign::kernel::rule::Rule;
use countersign::kernel::wallet::Chain;
use miniscript::psbt::PsbtExt;
use serde_json::{Value, json};

use harness::engine::maps::{read, to_version_2};
use harness::engine::scripts::{Cosigner, good_psbt, named};
use harness::engine::{FEE, INPUT, PAID, pay_nobody, respend, to_spend};
use harness::module::cli::Cli;
use harness::module::{in_boundary, this_test};

const LIMITS: [&str; 4] = ["--max-transaction-sat", "1000000", "--max-fee-sat", "5000"];

/// The arguments that create a wallet for alice.
fn create<'a>(label: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["wallet", "create", label, "--network", "regtest", "--user", "alice"], &LIMITS[..], more].concat()
}

#[test]
fn a_wallet_policy_is_registered_once_at_once_or_later() {
    in_boundary(this_test!(), |boundary| {
        let (cli, _) = Cli::new(boundary);
        let vault = named("wsh-recovery");
        boundary.note("vault.policy", &vault.registration());
        let made = cli.does(&create("vault", &["--wallet-policy", "vault.policy"]))["wallet"].clone();
        assert_eq!(made["path"], "m/48'/1'/0'/2'");
        assert!(made["wallet_policy"].as_str().expect("a text").starts_with("wsh(or_d("), "{made}");
        assert_eq!(made["without_us"], "the other keys suffice once older(144) has passed");

        let key_only = create("later", &["--key-only", "--path", "m/48'/1'/0'/2'"]);
        let unregistered = cli.does(&key_only)["wallet"].clone();
        assert_eq!((&unregistered["descriptor"], &unregistered["id"]), (&Value::Null, &Value::Null));
        let list = cli.does(&["wallet", "list"]);
        assert_eq!(list["wallets"].as_array().map(Vec::len), Some(2));
        let error = cli.fails(&["psbt", "show", "--wallet", "later", "--in", "vault.policy"]);
        assert!(error.contains("not a PSBT"), "{error}");

        let register = ["wallet", "register", "later", "--wallet-policy", "vault.policy"];
        let registered = cli.does(&register)["wallet"].clone();
        // The beginning of a PSBT: the magic bytes, and the length of a key that does not follow.
        boundary.note("cut.psbt", "70736274ff01");
        let error = cli.fails(&["psbt", "show", "--wallet", "later", "--in", "cut.psbt"]);
        assert!(error.contains("not a PSBT: at byte"), "{error}");
        assert_eq!(registered["xpub"], unregistered["xpub"], "the key that the cosigners were given");
        assert!(registered["id"].as_str().is_some_and(|id| id.len() == 64));
        assert!(cli.fails(&register).contains("registered already"));

        // For bad input, the message says what is wrong with it.
        for (file, text, wanted) in [
            ("a", "wsh(multi(2,@0/**,@1/**))\nours\nours".to_owned(), "two different keys in place of ours"),
            ("b", format!("wsh(multi(1,@0/**))\n{}", Cosigner::named("A").key()), "our key is missing"),
            ("c", "wsh(multi(2,@0/**".to_owned(), "no wallet policy"),
            ("d", "sh(multi(2,@0/**,@1/**))\nours\n".to_owned() + &Cosigner::named("A").key(), "name one"),
        ] {
            boundary.note(file, &text);
            let error = cli.fails(&create("bad", &["--wallet-policy", file]));
            assert!(error.contains(wanted), "{text}: {error}");
        }
        let required = create("bad", &["--wallet-policy", "vault.policy", "--require-cosigner", "01020304"]);
        assert!(cli.fails(&required).contains("requires cosigner 01020304"));
        let set = [&["wallet", "set", "vault", "--require-cosigner", "01020304"], &LIMITS[..]].concat();
        assert!(cli.fails(&set).contains("requires cosigner 01020304"));
        let required = create("bad", &["--required-approvals", "2"]);
        assert!(cli.fails(&required).contains("requires the approvals of 2 users, and the wallet has 1"));
        let set = [&["wallet", "set", "vault", "--required-approvals", "2"], &LIMITS[..]].concat();
        assert!(cli.fails(&set).contains("requires the approvals of 2 users, and the wallet has 1"));
        let listed =
            create("bad", &["--allow", "script:51", "--allow", "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH"]);
        assert!(cli.fails(&listed).contains("allowlist, entry 2: this belongs to another network"));
    });
}

#[test]
fn a_psbt_is_shown_as_the_signer_sees_it_and_signed_as_it_was_shown() {
    in_boundary(this_test!(), |boundary| {
        let (cli, alice) = Cli::new(boundary);
        let vault = named("wsh-multi");
        let user = Cosigner::named("A");
        boundary.note("vault.policy", &vault.registration());
        let fingerprint = user.fingerprint().to_string();
        let script = ["--wallet-policy", "vault.policy", "--require-cosigner", &fingerprint];
        cli.does(&create("vault", &script));

        let mut psbt = good_psbt(&cli.watch("vault"), 2);
        let write = |name: &str, bytes: &[u8]| {
            fs::write(boundary.folder().join(name), bytes).expect("the folder is ours");
        };
        // A cosigner looks before there is a signature.
        write("unsigned", &psbt.serialize());
        let shown = cli.show("vault", "unsigned");
        assert!(
            shown["refused"]["reason"].as_str().is_some_and(|reason| reason.starts_with("require-cosigner"))
        );
        assert_eq!(shown["leaves_sat"], PAID + 2 * FEE);

        // A PSBT that is no payment is named as such before anybody signs it.
        let mut message = good_psbt(&cli.watch("vault"), 1);
        let challenge = message.inputs[0].witness_utxo.clone().expect("there").script_pubkey;
        respend(&mut message, to_spend(challenge));
        pay_nobody(&mut message);
        let field = bitcoin::psbt::raw::Key { type_value: 0x09, key: vec![] };
        message.unknown.insert(field, b"Hello World".to_vec());
        write("message", &message.serialize());
        let shown = cli.show("vault", "message");
        assert_eq!((&shown["is_message"], &shown["message"]), (&true.into(), &"Hello World".into()));
        assert!(shown["refused"]["reason"].as_str().is_some_and(|reason| reason.starts_with("message: ")));

        // Both commands give the next step for the rule.
        write("early", &psbt.serialize());
        boundary.note("code", "000000");
        let answer = cli.run(&["sign", "--wallet", "vault", "--in", "early", "--out", "signed"]);
        assert_eq!(answer.json["error"]["rule"]["tag"], "require-cosigner");
        for next in [&answer.json["error"]["next"], &cli.show("vault", "early")["refused"]["next"]] {
            assert!(
                next.as_str().is_some_and(|next| next.contains("have the cosigner sign first")),
                "{next}"
            );
        }

        user.sign(&mut psbt);
        write("v0", &psbt.serialize());
        write("v2", &to_version_2(&psbt));
        write("v2.base64", STANDARD.encode(to_version_2(&psbt)).as_bytes());
        for file in ["v0", "v2", "v2.base64"] {
            let shown = cli.show("vault", file);
            assert_eq!(shown["refused"], Value::Null, "{file}");
            assert_eq!(
                (&shown["leaves_sat"], &shown["fee_sat"]),
                (&(PAID + 2 * FEE).into(), &(2 * FEE).into())
            );
            assert_eq!(shown["unsigned_txid"], psbt.unsigned_tx.compute_txid().to_string());
            let ours = |side: &str| -> Vec<bool> {
                let rows = shown[side].as_array().expect("rows");
                rows.iter().map(|row| row["ours"].as_bool().expect("known")).collect()
            };
            assert_eq!(ours("inputs"), [true, true]);
            assert_eq!(ours("outputs"), [false, true]);
            assert_eq!(shown["inputs"][1]["value_sat"], INPUT);
            assert_eq!(shown["outputs"][1]["location"]["chain"], "internal");
        }

        boundary.note("code", &alice.code());
        cli.does(&["sign", "--wallet", "vault", "--in", "v2.base64", "--out", "signed"]);
        let signed = fs::read_to_string(boundary.folder().join("signed")).expect("base64 in, base64 out");
        let signed = read(&STANDARD.decode(signed.trim()).expect("base64"));
        let before = read(&to_version_2(&psbt));
        for input in 1..=2 {
            let added = &signed[input][before[input].len()..];
            assert_eq!(added.len(), 1, "one signature");
            assert_eq!(added[0].0[0], 0x02, "PSBT_IN_PARTIAL_SIG");
        }

        // The command also shows the limits that are not in a PSBT.
        let rules = ["--time-window", "00:00-24:00", "--max-period-sat", "1", "--period-hours", "48"];
        cli.does(&[&["wallet", "set", "vault"], &LIMITS[..], &rules].concat());
        let shown = cli.show("vault", "v0");
        assert_eq!(shown["refused"], Value::Null);
        assert_eq!(shown["required_approvals"], 1);
        assert_eq!(shown["judged_when_signing"], serde_json::json!(["time-window", "period-max"]));
        cli.does(&[&["wallet", "set", "vault", "--allow", "script:51"], &LIMITS[..]].concat());
        assert_eq!(cli.show("vault", "v0")["refused"]["rule"], "allowlist");
        let cosigner = ["--require-cosigner", &fingerprint];
        cli.does(&[&["wallet", "set", "vault"], &LIMITS[..], &cosigner].concat());

        // It shows, without a code, what the policy refuses and what does not belong to this wallet.
        let mut dear = good_psbt(&cli.watch("vault"), 2);
        dear.unsigned_tx.output[1].value -= bitcoin::Amount::from_sat(10_000);
        user.sign(&mut dear);
        write("dear", &dear.serialize());
        assert_eq!(cli.show("vault", "dear")["refused"]["rule"], "fee-cap");
        let mut foreign: Psbt = dear.clone();
        foreign.inputs.iter_mut().for_each(|input| {
            input.bip32_derivation.clear();
            input.partial_sigs.clear();
        });
        write("foreign", &foreign.serialize());
        let shown = cli.show("vault", "foreign");
        assert!(
            shown["refused"]["reason"].as_str().is_some_and(|reason| reason.starts_with("no-input-of-ours"))
        );
    });
}

/// A wallet whose software went on to addresses that the module has never seen.
#[test]
fn the_reach_is_raised_and_shown() {
    in_boundary(this_test!(), |boundary| {
        let (cli, alice) = Cli::new(boundary);
        cli.does(&create("treasury", &[]));
        let mut psbt = good_psbt(&cli.watch("treasury"), 1);
        let far = harness::engine::scripts::descriptor_at(&cli.watch("treasury"), Chain::Internal, 5_999);
        psbt.outputs[1] = Default::default();
        psbt.unsigned_tx.output[1].script_pubkey = far.derived_descriptor(&Secp256k1::new()).script_pubkey();
        psbt.update_output_with_descriptor(1, &far).expect("the change");
        fs::write(boundary.folder().join("far"), psbt.serialize()).expect("the folder is ours");
        let reason = cli.show("treasury", "far")["refused"]["reason"].as_str().expect("refused").to_owned();
        assert!(reason.starts_with("change-path: ") && reason.contains("--reach"), "{reason}");

        let raised = cli.does(&["wallet", "set", "treasury", "--reach", "5000"]);
        assert_eq!(raised["wallet"]["reach"], serde_json::json!({ "external": 5_000, "internal": 5_000 }));
        let again = cli.does(&["wallet", "set", "treasury", "--reach", "10", "--user", "alice"]);
        assert_eq!(again["wallet"]["reach"], raised["wallet"]["reach"], "it is never lowered");
        assert_eq!(cli.show("treasury", "far")["refused"], Value::Null);
        boundary.note("code", &alice.code());
        cli.does(&["sign", "--wallet", "treasury", "--in", "far", "--out", "signed"]);
        let after = cli.does(&["wallet", "show", "treasury"]);
        assert_eq!(after["wallet"]["reach"], serde_json::json!({ "external": 5_000, "internal": 6_000 }));
    });
}

/// `docs/bitcoin-core.md`: the PSBTs that `createpsbt` and `utxoupdatepsbt` make, on a node with an index of
/// transactions and on one without, in the version of older nodes and of newer ones.
#[test]
fn a_psbt_of_a_node_with_an_index_is_signed_and_without_one_the_refusal_says_what_to_do() {
    in_boundary(this_test!(), |boundary| {
        let (cli, alice) = Cli::new(boundary);
        cli.does(&create("treasury", &[]));
        let watch = cli.watch("treasury");
        let indexed = good_psbt(&watch, 2);
        let mut unindexed = indexed.clone();
        unindexed.inputs.iter_mut().for_each(|input| input.non_witness_utxo = None);
        let write = |name: &str, psbt: &[u8]| {
            let line = STANDARD.encode(psbt) + "\n";
            fs::write(boundary.folder().join(name), line).expect("the folder is ours");
        };
        for (version, bytes) in [("v0", unindexed.serialize()), ("v2", of_a_newer_node(&unindexed))] {
            write(version, &bytes);
            let shown = cli.show("treasury", version);
            let reason = shown["refused"]["reason"].as_str().expect("refused");
            assert!(
                reason.starts_with("utxo-missing: input 0 has a witness_utxo but no"),
                "{version}: {reason}"
            );
            assert!(
                reason.contains("-txindex") && reason.contains("walletprocesspsbt"),
                "{version}: {reason}"
            );
        }
        // Both have the same transaction, so one code signs them.
        boundary.note("code", &alice.code());
        for (version, bytes) in [("v0", indexed.serialize()), ("v2", of_a_newer_node(&indexed))] {
            write("unsigned.psbt", &bytes);
            let sign = ["sign", "--wallet", "treasury", "--in", "unsigned.psbt", "--out", version];
            cli.does(&sign);
            let signed = fs::read_to_string(boundary.folder().join(version)).expect("it is there");
            let (before, signed) = (read(&bytes), read(&STANDARD.decode(signed.trim()).expect("base64")));
            assert_eq!(before[0], signed[0], "{version}: the version that it was asked in");
            let mut finished = indexed.clone();
            for (index, input) in finished.inputs.iter_mut().enumerate() {
                let [(key, signature)] = &signed[1 + index][before[1 + index].len()..] else {
                    panic!("{version}: one signature")
                };
                let key = bitcoin::PublicKey::from_slice(&key[1..]).expect("a key");
                let signature = bitcoin::ecdsa::Signature::from_slice(signature).expect("a signature");
                input.partial_sigs.insert(key, signature);
            }
            let prevouts = harness::engine::consensus::prevouts(&finished);
            let transaction = harness::engine::consensus::completed(&named("wpkh"), finished);
            assert_eq!(
                harness::engine::consensus::verdicts(&transaction, &prevouts),
                [true, true],
                "{version}"
            );
        }
    });
}

/// The same PSBT from a node that makes version 2. Nothing may be modified any more.
fn of_a_newer_node(psbt: &Psbt) -> Vec<u8> {
    let mut maps = read(&to_version_2(psbt));
    maps[0].retain(|(key, _)| key[..] != [0x06]);
    harness::engine::maps::write(&maps)
}

#[test]
fn a_refused_transaction_is_reported_with_the_tag_and_the_sentence_of_its_rule() {
    in_boundary(this_test!(), |boundary| {
        let (cli, alice) = Cli::new(boundary);
        cli.does(&create("treasury", &[]));
        let psbt = good_psbt(&cli.watch("treasury"), 1);
        let write = |name: &str, bytes: &[u8]| {
            fs::write(boundary.folder().join(name), bytes).expect("the folder is ours");
        };
        let (mut unproved, mut too_dear) = (psbt.clone(), psbt);
        unproved.inputs[0].non_witness_utxo = None;
        write("unproved.psbt", &unproved.serialize());
        let sign = ["sign", "--wallet", "treasury", "--out", "signed.psbt", "--in"];
        let refused = |file| cli.run(&[&sign[..], &[file]].concat());
        let rule = |tag: &str| {
            let rule = Rule::ALL.iter().find(|rule| rule.tag() == tag).expect("there is such a rule");
            json!({ "number": rule.number(), "tag": tag, "sentence": rule.sentence() })
        };
        let answer = refused("unproved.psbt");
        assert_eq!(answer.json["error"]["rv"], "CKR_COUNTERSIGN_PSBT_REFUSED");
        assert_eq!(answer.json["error"]["rule"], rule("utxo-missing"), "{}", answer.json);
        // In text output, it has a line of its own.
        let text = cli.text(&[&sign[..], &["unproved.psbt"]].concat());
        let line = "rule: utxo-missing: An input lacks the previous transaction that proves its amount.";
        assert!(text.stderr.lines().any(|shown| shown == line), "{}", text.stderr);

        // The fee is over the policy's 5,000 sat.
        too_dear.unsigned_tx.output[0].value -= Amount::from_sat(6_000);
        write("too-dear.psbt", &too_dear.serialize());
        boundary.note("code", &alice.code());
        let answer = refused("too-dear.psbt");
        assert_eq!(answer.json["error"]["rv"], "CKR_COUNTERSIGN_POLICY");
        assert_eq!(answer.json["error"]["rule"], rule("fee-cap"), "{}", answer.json);
        // The code is spent. A refusal of a code has no rule.
        let answer = refused("too-dear.psbt");
        assert_eq!(answer.json["error"]["rv"], "CKR_PIN_INCORRECT");
        assert_eq!(answer.json["error"]["rule"], Value::Null);
    });
}

#[test]
fn what_is_frozen_is_shown_and_refused_with_its_rule_until_it_is_thawed() {
    in_boundary(this_test!(), |boundary| {
        let (cli, alice) = Cli::new(boundary);
        cli.does(&create("treasury", &[]));
        cli.does(&["key", "create", "sidechain", "--user", "alice", "--unlimited"]);
        let unsigned = good_psbt(&cli.watch("treasury"), 1).serialize();
        fs::write(boundary.folder().join("unsigned.psbt"), unsigned).expect("the folder is ours");
        boundary.note("code", &alice.code());
        let sign = ["sign", "--wallet", "treasury", "--in", "unsigned.psbt", "--out", "signed.psbt"];
        let things: [(&[&str], &[&str], &[&str]); 3] = [
            (
                &["wallet", "freeze", "treasury"],
                &["wallet", "thaw", "treasury"],
                &["wallet", "show", "treasury"],
            ),
            (&["user", "freeze", "alice"], &["user", "thaw", "alice"], &["user", "show", "alice"]),
            (&["key", "freeze", "sidechain"], &["key", "thaw", "sidechain"], &["key", "show", "sidechain"]),
        ];
        for (freeze, thaw, show) in things {
            let kind = freeze[0];
            assert_eq!(cli.does(freeze)["changed"], true, "{kind}");
            assert_eq!(cli.does(freeze)["changed"], false, "{kind}: it is so already");
            assert_eq!(cli.does(show)[kind]["frozen"], true);
            if kind != "key" {
                let answer = cli.run(&sign);
                assert_eq!(answer.json["error"]["rv"], "CKR_COUNTERSIGN_POLICY", "{kind}: {}", answer.json);
                assert_eq!(answer.json["error"]["rule"]["tag"], "frozen", "{kind}");
            }
            let doctor = cli.run(&["doctor"]).json["checks"].clone();
            let checks = doctor.as_array().expect("a list");
            let frozen = checks.iter().find(|check| check["subject"] == "frozen").expect("it is looked at");
            // Without a PIN it sees wallets and keys.
            let state = if kind == "user" { "ok" } else { "note" };
            assert_eq!(frozen["state"], state, "{kind}: {frozen}");
            assert_eq!(cli.does(thaw)["changed"], true, "{kind}");
            assert_eq!(cli.does(show)[kind]["frozen"], false);
        }
        cli.does(&["freeze", "--all"]);
        assert_eq!(cli.show("treasury", "unsigned.psbt")["refused"]["rule"], "frozen");
        assert_eq!(cli.run(&sign).json["error"]["rv"], "CKR_COUNTERSIGN_POLICY");
        let text = cli.text(&["wallet", "list"]);
        assert!(text.stderr.contains("Everything is frozen"), "{}", text.stderr);
        // What is in force is what the chain says.
        let in_force = cli.does(&["audit", "in-force"]);
        let documents = in_force["in_force"]["documents"].as_array().expect("a list");
        let freezes: Vec<_> = documents.iter().filter(|of| of["document"]["freeze"].is_object()).collect();
        assert_eq!(freezes.len(), 1, "{in_force}");
        assert_eq!(freezes[0]["document"]["freeze"]["what"], "everything");
        cli.does(&["thaw", "--all"]);
        // The same code: nothing was spent.
        cli.does(&sign);
    });
}

#[test]
fn a_key_signs_a_digest_for_a_code_and_is_no_wallet() {
    in_boundary(this_test!(), |boundary| {
        let (cli, alice) = Cli::new(boundary);
        cli.does(&create("treasury", &[]));
        let digest = "5a".repeat(32);
        let counted = ["--max-period-transactions", "1"];
        let key = ["key", "create", "sidechain", "--user", "alice", "--mechanism", "digest"];
        let made = cli.does(&[&key[..], &["--mechanism", "ecdsa"], &counted].concat())["key"].clone();
        assert_eq!(made["mechanisms"], serde_json::json!(["digest", "ecdsa"]));
        assert_eq!(made["policy"], "max_period_transactions = 1\n");

        let labels = |kind: &str, list: &str| {
            let json = cli.does(&[kind, "list"]);
            let labels = json[list].as_array().expect("a list").iter().map(|there| there["label"].clone());
            labels.collect::<Vec<_>>()
        };
        assert_eq!(labels("wallet", "wallets"), ["treasury"]);
        assert_eq!(labels("key", "keys"), ["sidechain"]);
        assert!(cli.fails(&["wallet", "show", "sidechain"]).contains("no wallet sidechain"));
        assert!(cli.fails(&["key", "show", "treasury"]).contains("no key treasury"));

        // For bad input, the message says what is wrong with it.
        assert!(cli.fails(&[&key[..], &counted].concat()).contains("already a key sidechain"));
        let taken = ["key", "create", "treasury", "--user", "alice", "--unlimited"];
        assert!(cli.fails(&taken).contains("already a wallet treasury"));
        let stranger = ["key", "create", "k", "--user", "mallory", "--unlimited"];
        assert!(cli.fails(&stranger).contains("no user mallory"));
        boundary.note("policy.toml", "unlimited = true\nmax_fee_sat = 1\n");
        let amounts = ["key", "create", "k", "--user", "alice", "--policy", "policy.toml"];
        assert!(cli.fails(&amounts).contains("max_fee_sat needs a transaction"));
        assert!(cli.fails(&["key", "set", "sidechain", "--policy", "policy.toml"]).contains("max_fee_sat"));
        let two = ["key", "set", "sidechain", "--unlimited", "--required-approvals", "2"];
        assert!(cli.fails(&two).contains("requires the approvals of 2 users, and the key has 1"));

        boundary.note("code", &alice.code());
        let sign = ["key", "sign", "sidechain", "--digest", &digest];
        let signature = cli.does(&sign)["signature"].as_str().expect("hex").to_owned();
        verify_digest(&made, &digest, &signature);
        assert_eq!(cli.does(&sign)["signature"], *signature, "the same code, the same digest");
        let other = ["key", "sign", "sidechain", "--digest", &"5b".repeat(32)];
        assert!(cli.fails(&other).contains("already used"));
        let changed = cli.does(&["key", "set", "sidechain", "--unlimited"])["key"].clone();
        assert_eq!(
            (&changed["policy"], &changed["public_key"]),
            (&"unlimited = true\n".into(), &made["public_key"])
        );
    });
}

/// Verifies with the public key that the command line shows.
fn verify_digest(key: &Value, digest: &str, signature: &str) {
    use bitcoin::secp256k1::ecdsa::Signature;
    use bitcoin::secp256k1::{Message, PublicKey};
    let bytes = |hex: &str| data_encoding::HEXLOWER.decode(hex.as_bytes()).expect("hex");
    let point = bytes(key["public_key"].as_str().expect("a text"));
    let point = PublicKey::from_slice(&point).expect("a point");
    let message = Message::from_digest_slice(&bytes(digest)).expect("32 bytes");
    let signature = Signature::from_compact(&bytes(signature)).expect("r and s");
    Secp256k1::new().verify_ecdsa(&message, &signature, &point).expect("it verifies");
}

#[test]
fn the_doctor_says_for_which_amounts_of_which_wallets_a_code_does_not_count() {
    in_boundary(this_test!(), |boundary| {
        let (cli, _) = Cli::new(boundary);
        let told = || {
            let promises = cli.does(&["doctor"])["promises"].clone();
            let promises = promises.as_array().expect("a list").iter();
            let of_consent = promises.filter(|promise| {
                promise["promise"].as_str().is_some_and(|promise| promise.starts_with("A code is consent"))
            });
            let told = |promise: &serde_json::Value| {
                (promise["held"] == true, promise["why"].as_str().expect("a text").to_owned())
            };
            of_consent.map(told).collect::<Vec<_>>()
        };
        assert!(matches!(&told()[..], [(false, _)]));
        cli.does(&create("petty", &[]));
        assert!(matches!(&told()[..], [(false, _)]));
        cli.does(&create("treasury", &["--consent-from-sat", "50000", "--consent-by", "device"]));
        let [(true, held), (false, not)] = &told()[..] else { panic!("{:?}", told()) };
        assert!(held.ends_with("wallet treasury from 50000 sat on, by device"), "{held}");
        assert!(not.starts_with("wallet petty; wallet treasury below 50000 sat: "), "{not}");
        let wrong = cli.run(&create("vault", &["--consent-from-sat", "5", "--consent-by", "page"]));
        assert!(
            !wrong.success
                && wrong.json["error"]["next"].as_str().is_some_and(|next| next.contains("--consent-by"))
        );
    });
}
