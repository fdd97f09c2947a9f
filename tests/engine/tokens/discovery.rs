//! Which token the module takes, and its message if there is none.

use std::fs;

use cryptoki_sys::*;

use harness::module::shim::Shim;
use harness::module::{Boundary, assert_rv, in_boundary, this_test};

/// The one line that gives the reason why the module does not open.
fn refusal(boundary: &Boundary) -> String {
    let probe = boundary.probe();
    assert_rv!(probe.rv, CKR_DEVICE_ERROR, "\n{}", probe.stderr);
    let errors: Vec<&str> =
        probe.stderr.lines().filter(|line| line.starts_with("countersign: ERROR ")).collect();
    assert_eq!(errors.len(), 1, "{}", probe.stderr);
    assert!(!probe.stderr.contains("initialise it"), "{}", probe.stderr);
    errors[0].to_owned()
}

fn expect(words: &str, parts: &[&str]) {
    for part in parts {
        assert!(words.contains(part), "{part}: {words}");
    }
}

/// Adds a line to `[backing]`.
fn add(boundary: &Boundary, line: &str) {
    let conf = fs::read_to_string(boundary.conf()).expect("setup.sh wrote it");
    fs::write(boundary.conf(), conf.replace("[backing]\n", &format!("[backing]\n{line}\n")))
        .expect("the folder is ours");
}

#[test]
fn a_slot_that_misbehaves_is_skipped_and_logged() {
    in_boundary(this_test!(), |boundary| {
        let shim = Shim::install(boundary, "");
        for kind in ["clock", "broken"] {
            shim.behave(&format!("slot {kind}"));
            let probe = boundary.probe();
            assert_rv!(probe.rv, CKR_OK, "{kind}\n{}", probe.stderr);
            expect(&probe.stderr, &["countersign: WARN skipping slot 21525 of "]);
        }
    });
}

#[test]
fn two_tokens_of_one_label_are_refused_by_both_serial_numbers_until_one_is_named() {
    in_boundary(this_test!(), |boundary| {
        let _ = Shim::install(boundary, "slot twin");
        let words = refusal(boundary);
        expect(
            &words,
            &["2 tokens are called \"countersign-backing\"", "serial \"twin\", slot 21525", "backing.serial"],
        );
        let (_, other) = words.rsplit_once("(serial \"").expect("both are named");
        let (serial, _) = other.split_once('"').expect("it ends");
        add(boundary, &format!("serial = \"{serial}\""));
        assert_rv!(boundary.probe().rv, CKR_OK);
        add(boundary, "slot = 7");
        expect(
            &refusal(boundary),
            &["called \"countersign-backing\" and of serial number", "and in slot 7", "backing.slot"],
        );
    });
}

#[test]
fn a_module_that_wants_a_string_as_it_is_initialised_gets_it() {
    in_boundary(this_test!(), |boundary| {
        let _ = Shim::install(boundary, "init-args configdir='sql:/nss' flags=readOnly");
        expect(&refusal(boundary), &["C_Initialize answered CKR_ARGUMENTS_BAD", "set backing.init_args"]);
        add(boundary, "init_args = \"configdir='sql:/nss'\"");
        expect(&refusal(boundary), &["correct backing.init_args"]);
        let conf = fs::read_to_string(boundary.conf()).expect("setup.sh wrote it");
        fs::write(boundary.conf(), conf.replace("sql:/nss'", "sql:/nss' flags=readOnly")).expect("ours");
        assert_rv!(boundary.probe().rv, CKR_OK);
    });
}

#[test]
fn an_unreadable_configuration_or_folder_of_softhsm_is_named() {
    in_boundary(this_test!(), |boundary| {
        let conf = boundary.folder().join("softhsm2.conf");
        let tokens = boundary.tokens().display().to_string();
        fs::rename(boundary.tokens(), boundary.folder().join("elsewhere")).expect("ours");
        expect(
            &refusal(boundary),
            &["cannot read its folder", &tokens, "directories.tokendir", "SOFTHSM2_CONF"],
        );
        fs::remove_file(&conf).expect("ours");
        expect(
            &refusal(boundary),
            &[
                "cannot read its configuration",
                &conf.display().to_string(),
                "Set SOFTHSM2_CONF",
                "CKR_GENERAL_ERROR",
            ],
        );
    });
}

#[test]
fn a_token_that_a_kill_has_torn_must_be_restored_and_is_never_made_again() {
    in_boundary(this_test!(), |boundary| {
        let folder =
            fs::read_dir(boundary.tokens()).expect("ours").next().expect("one").expect("ours").path();
        let file = folder.join("token.object");
        let whole = fs::read(&file).expect("ours");
        // A file that ends between two attributes reads as an object with fewer of them: no label, or no user
        // PIN.
        for (len, words) in
            [(0, "leaves out"), (64, "leaves out"), (128, "has no user PIN"), (whole.len() / 2, "leaves out")]
        {
            fs::write(&file, &whole[..len]).expect("ours");
            let refusal = refusal(boundary);
            expect(&refusal, &[words, "folder from its backup", "do not make a new token"]);
            let is_named = refusal.contains(&folder.display().to_string());
            assert_eq!(is_named, words == "leaves out", "{refusal}");
        }
        fs::write(&file, whole).expect("ours");
        assert_rv!(boundary.probe().rv, CKR_OK);
    });
}
