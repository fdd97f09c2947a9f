//! `countersign act …` on an officer's own machine: nothing but the file of the act, a key, and minisign.

use std::fs;
use std::path::Path;

use countersign::kernel::motion::ActText;
use countersign::kernel::officer::OfficerKey;
use countersign::kernel::proposal::veto_text;
use harness::module::Finished;
use harness::officers::{PASSWORD, command, countersign, done, failed, keygen, line, minisign};

const ACT: &str = include_str!("../vectors/acts/wallet-set.txt");

/// A folder with an act and alice's key. Her key's id.
fn folder() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    fs::write(folder.path().join("wallet.act"), ACT).expect("the folder is ours");
    let id = keygen(folder.path(), "alice");
    (folder, id)
}

fn read(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).unwrap_or_else(|reason| panic!("{file}: {reason}"))
}

#[test]
fn an_act_is_shown_with_what_changes_old_beside_new() {
    let (folder, _) = folder();
    let shown = Finished::of(&mut command(folder.path(), &["act", "show", "wallet.act"])).expect_success();
    let rows: Vec<Vec<&str>> = shown
        .stdout
        .lines()
        .skip_while(|line| !line.starts_with("CHANGES"))
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    for row in [
        &["CHANGES", "FROM", "TO"][..],
        &["label", "\"treasury\"", "\"the \\\"treasury\\\"\""],
        &["user", "\"bob\" 02020202020202020202020202020202", "\"bob\" 09090909090909090909090909090909"],
        &["max_transaction_sat", "50000000", "90000000"],
        &["allowlist", "(nothing)", "script:51"],
    ] {
        assert!(rows.contains(&row.to_vec()), "{row:?} is not in:\n{}", shown.stdout);
    }
    assert!(shown.stdout.contains("loosens: enough officers must sign"), "{}", shown.stdout);
    assert!(shown.stdout.contains("the boundary does not check it"), "{}", shown.stdout);

    let json = countersign(folder.path(), &["act", "show", "wallet.act"]);
    let act = &done(&json)["act"];
    assert_eq!(act["do"], "wallet-set \"treasury\" 3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f");
    assert_eq!((&act["class"], &act["epoch"]), (&"loosens".into(), &3.into()));
    assert_eq!(act["expires"], "2026-11-30T14:00:00Z");
    let change = |what: &str| {
        let all = act["changes"].as_array().expect("a list");
        all.iter().find(|change| change["what"] == what).unwrap_or_else(|| panic!("{what}: {act}"))
    };
    assert_eq!((&change("label")["old"], &change("allowlist")["old"]), (&"\"treasury\"".into(), &().into()));
}

#[test]
fn every_act_of_the_golden_files_is_shown() {
    let acts = harness::root().join("tests/vectors/acts");
    let mut count = 0;
    for file in fs::read_dir(acts).expect("there") {
        let path = file.expect("there").path();
        let answer = countersign(Path::new("/"), &["act", "show", path.to_str().expect("UTF-8")]);
        let act = ActText::parse(&fs::read_to_string(&path).expect("there")).expect("golden");
        let shown = &done(&answer)["act"];
        assert_eq!(shown["class"], act.motion.class().name(), "{path:?}");
        assert_eq!(shown["changes"].as_array().map(Vec::len), Some(act.motion.differences().len()));
        count += 1;
    }
    assert!(count > 10, "{count}");
}

#[test]
fn minisign_verifies_an_officers_signature_of_an_act() {
    let (folder, id) = folder();
    let folder = folder.path();
    let answer = countersign(folder, &["act", "sign", "wallet.act", "--secret-key", "alice.key"]);
    let file = format!("wallet.act.{id}.minisig");
    assert_eq!(done(&answer)["signature_file"], file.as_str());
    for words in ["about to sign this act", "max_transaction_sat  50000000", "loosens"] {
        assert!(
            answer.stderr.contains(words),
            "{words:?} is not shown before the password: {}",
            answer.stderr
        );
    }
    let verify = ["-V", "-p", "alice.pub", "-m", "wallet.act", "-x", &file];
    let shown = minisign(folder, &verify, "").expect_success().stdout;
    assert!(shown.contains("verified") && shown.contains("act:wallet-set \"treasury\""), "{shown}");
    let officer = OfficerKey::parse(&line(folder, "alice.pub")).expect("a key");
    assert!(officer.has_signed(ACT.as_bytes(), &read(folder, &file)));

    // The signature covers every byte.
    fs::write(folder.join("wallet.act"), ACT.replace("90_000_000", "99_000_000")).expect("ours");
    assert!(!minisign(folder, &verify, "").status.success());
    // minisign itself signs the same bytes.
    fs::write(folder.join("wallet.act"), ACT).expect("ours");
    minisign(folder, &["-S", "-s", "alice.key", "-m", "wallet.act"], &format!("{PASSWORD}\n"))
        .expect_success();
    assert!(officer.has_signed(ACT.as_bytes(), &read(folder, "wallet.act.minisig")));
}

#[test]
fn a_veto_is_a_text_of_its_own_that_minisign_verifies() {
    let (folder, id) = folder();
    let folder = folder.path();
    let veto = |name: &str| {
        let key = format!("{name}.key");
        countersign(folder, &["act", "veto", "wallet.act", "--sign-only", "--secret-key", &key])
    };
    let answer = veto("alice");
    let file = format!("wallet.act.veto.{id}.minisig");
    assert_eq!(done(&answer)["signature_file"], file.as_str());
    assert!(answer.stderr.contains("a veto against this act"), "{}", answer.stderr);
    let act = ActText::parse(ACT).expect("golden");
    assert_eq!(read(folder, "wallet.act.veto"), veto_text(&act).expect("it has a text"));
    minisign(folder, &["-V", "-p", "alice.pub", "-m", "wallet.act.veto", "-x", &file], "").expect_success();
    let officer = OfficerKey::parse(&line(folder, "alice.pub")).expect("a key");
    assert!(!officer.has_signed(ACT.as_bytes(), &read(folder, &file)), "a veto is no signature of the act");

    // A second officer signs the same text, and no file is replaced.
    keygen(folder, "bob");
    done(&veto("bob"));
    assert!(failed(&veto("alice")).contains("exists already; nothing was changed"));
    keygen(folder, "carol");
    fs::write(folder.join("wallet.act.veto"), "something else").expect("ours");
    assert!(failed(&veto("carol")).contains("wallet.act.veto exists already"));
    assert_eq!(read(folder, "wallet.act.veto"), "something else");
    let left = fs::read_dir(folder).expect("listed").count();
    assert_eq!(left, 2 + 6 + 2, "the act and its veto, three pairs of keys, two signatures");
}

#[test]
fn nobody_signs_a_text_that_is_no_act() {
    let (folder, _) = folder();
    let folder = folder.path();
    for text in [
        String::new(),
        ACT.replace('\n', "\r\n"),
        ACT.replace("\"alice\"", "\"\u{430}lice\""),
        ACT.trim_end().to_owned(),
        format!("{ACT}\n"),
        ACT.replace("50_000_000", "60_000_000"),
    ] {
        fs::write(folder.join("wrong.act"), &text).expect("ours");
        for verb in [
            &["show"][..],
            &["sign", "--secret-key", "alice.key"],
            &["veto", "--sign-only", "--secret-key", "alice.key"],
        ] {
            let answer = countersign(folder, &[&["act"], verb, &["wrong.act"]].concat());
            let said = failed(&answer);
            assert!(
                said.contains("cannot read the act wrong.act") && said.contains("not in the form of an act"),
                "{said}"
            );
        }
    }
    fs::write(folder.join("wrong.act"), [ACT.as_bytes(), b"\xff"].concat()).expect("ours");
    failed(&countersign(folder, &["act", "show", "wrong.act"]));
    fs::write(folder.join("wrong.act"), ACT.repeat(200)).expect("ours");
    assert!(failed(&countersign(folder, &["act", "show", "wrong.act"])).contains("more than 262144 bytes"));
    let sign = ["act", "sign", "wallet.act", "--secret-key", "alice.key"];
    done(&countersign(folder, &sign));
    assert!(failed(&countersign(folder, &sign)).contains("exists already"));
    let missing = ["act", "sign", "none.act", "--secret-key", "alice.key"];
    assert!(failed(&countersign(folder, &missing)).contains("none.act"));
}
