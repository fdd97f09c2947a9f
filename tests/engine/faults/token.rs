//! A token that fails for a moment or for longer: at every call of one anchor step, and while nobody signs.

use cryptoki_sys::*;

use harness::module::shim::Shim;
use harness::module::{Boundary, assert_rv, in_boundary, report, summarise, this_test};

use super::story::{self, Client, authenticator, request};

/// The single faults, met by the first signature that follows. A step in SoftHSM2 makes a draft, copies it into the token,
/// destroys the draft, and then the old anchor.
const HICCUPS: [&str; 22] = [
    "fail C_CreateObject 0x30",
    "after C_CreateObject 0x30",
    "fail C_GetAttributeValue 0x30",
    "fail C_DestroyObject 0x30",
    "after C_DestroyObject 0x30",
    "fail C_DestroyObject 0x30 2",
    "after C_DestroyObject 0x30 2",
    "fail C_CopyObject 0x30",
    "after C_CopyObject 0x30",
    "drop C_CopyObject",
    "forget C_CopyObject",
    "drop C_CreateObject",
    "drop C_GetAttributeValue",
    "drop C_DestroyObject",
    "forget C_CreateObject",
    "forget C_GetAttributeValue",
    "forget C_DestroyObject",
    "drop C_GenerateRandom",
    "fail C_GenerateRandom 0x30",
    // A fault that opening again meets in turn.
    "drop C_CreateObject\nfail C_Login 0x30",
    "drop C_CreateObject\nfail C_OpenSession 0x30 1 2",
    "after C_CreateObject 0x30\nfail C_FindObjectsInit 0x30\nfail C_GetAttributeValue 0x30",
];

/// The token answers nothing, whatever is called.
const AWAY: &str = "fail C_CreateObject 0x30 1 0\nfail C_OpenSession 0x30 1 0";

#[test]
fn a_hiccup_of_the_token_costs_no_signature() {
    in_boundary(this_test!(), |boundary| a_hiccup_costs_no_signature(boundary, "", &HICCUPS));
}

/// The anchor of another token than SoftHSM2 is made at once, and not copied.
#[test]
fn a_hiccup_of_a_token_of_another_maker_costs_no_signature() {
    let hiccups: Vec<&str> = HICCUPS.into_iter().filter(|hiccup| !is_of_a_copy(hiccup)).collect();
    in_boundary(this_test!(), |boundary| a_hiccup_costs_no_signature(boundary, "hardware Vault 9", &hiccups));
}

/// Whether only a step with a copy meets it.
fn is_of_a_copy(hiccup: &str) -> bool {
    hiccup.contains("C_CopyObject") || hiccup.contains("C_DestroyObject 0x30 2")
}

fn a_hiccup_costs_no_signature(boundary: &Boundary, token: &str, hiccups: &[&str]) {
    let shim = Shim::install(boundary, token);
    story::tell(boundary, &["alice", "bob"]);
    let (client, alice) = (Client::open(boundary), authenticator(boundary, "alice"));
    for (number, hiccup) in hiccups.iter().enumerate() {
        // A repeated answer is a commit, too, so one code is enough for all of them.
        let code = alice.code_away(1);
        shim.behave(&format!("{token}\n{hiccup}"));
        assert_rv!(client.sign("alice", &code, &request(boundary, 0)), CKR_OK, "{hiccup:?}");
        assert_eq!(client.failures("alice"), 0, "{hiccup:?}");
        let functions =
            ["C_CreateObject", "C_CopyObject", "C_GetAttributeValue", "C_DestroyObject", "C_GenerateRandom"];
        let met: usize = functions.map(|function| shim.faults(function)).iter().sum();
        assert!(met > number, "{hiccup:?} was not met");
    }
    assert_rv!(client.raw.finalize(), CKR_OK);
    // The state that is left opens by itself, with one anchor in the token.
    shim.behave(token);
    assert_eq!(super::objects::anchors(&boundary.tokens()).len(), 1);
    assert_eq!(Client::open(boundary).failures("alice"), 0);
    summarise(format_args!("token {token}: {} hiccups, a signature after each", hiccups.len()));
}

#[test]
fn a_token_that_stays_away_closes_the_module_until_the_next_initialisation() {
    in_boundary(this_test!(), |boundary| match boundary.role() {
        "sign" => {
            let shim = Shim::of(boundary);
            let (client, alice) = (Client::open(boundary), authenticator(boundary, "alice"));
            shim.behave(AWAY);
            let code = alice.code_away(1);
            assert_rv!(client.sign("alice", &code, &request(boundary, 0)), CKR_DEVICE_ERROR);
            shim.behave("");
            assert_rv!(client.sign("alice", &code, &request(boundary, 0)), CKR_DEVICE_ERROR, "closed");
            assert_rv!(client.raw.finalize(), CKR_OK);
            // The outcome was written and is anchored by now, so asking again gives the signature that never
            // left.
            let client = Client::open(boundary);
            report("failures", client.failures("alice"));
            assert_rv!(client.sign("alice", &code, &request(boundary, 0)), CKR_OK);
        }
        _ => {
            boundary.reopen_for(1);
            let _shim = Shim::install(boundary, "");
            story::tell(boundary, &["alice", "bob"]);
            let finished = boundary.run("sign");
            assert_eq!(finished.value("failures"), "0");
            assert!(finished.stderr.contains("within 1 seconds did not help"), "{}", finished.stderr);
        }
    });
}

/// The token's PIN was changed, and its session is dropped.
#[test]
fn a_pin_that_the_token_refuses_is_tried_once() {
    in_boundary(this_test!(), |boundary| {
        let shim = Shim::install(boundary, "");
        story::tell(boundary, &["alice", "bob"]);
        let (client, alice) = (Client::open(boundary), authenticator(boundary, "alice"));
        // CKR_PIN_INCORRECT, at every try.
        shim.clear_log();
        shim.behave("drop C_CreateObject\nfail C_Login 0xa0 1 0");
        for _ in 0..3 {
            let rv = client.sign("alice", &alice.code_away(1), &request(boundary, 0));
            assert_rv!(rv, CKR_DEVICE_ERROR);
        }
        assert_eq!(shim.calls("C_Login"), 1, "a token locks a PIN that is tried again and again");
    });
}

/// The engine reads the PIN from its file again, and does not use the one from the start.
#[test]
fn the_pin_is_read_again_for_a_new_login() {
    in_boundary(this_test!(), |boundary| {
        let shim = Shim::install(boundary, "");
        story::tell(boundary, &["alice", "bob"]);
        let (client, alice) = (Client::open(boundary), authenticator(boundary, "alice"));
        std::fs::remove_file(pin_file(boundary)).expect("setup.sh wrote it");
        shim.behave("drop C_CreateObject");
        let rv = client.sign("alice", &alice.code_away(1), &request(boundary, 0));
        assert_rv!(rv, CKR_DEVICE_ERROR, "it was kept in memory");
    });
}

fn pin_file(boundary: &Boundary) -> std::path::PathBuf {
    let conf =
        std::fs::read_to_string(boundary.folder().join("countersign.toml")).expect("setup.sh wrote it");
    let line =
        conf.lines().find_map(|line| line.strip_prefix("pin_file = ")).expect("it names the PIN's file");
    line.trim_matches('"').into()
}
