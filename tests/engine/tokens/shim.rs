//! The shim itself, on which other tests rely.

use harness::module::shim::Shim;
use harness::module::{Stage, in_boundary, initialised_token, this_test};

#[test]
fn the_shim_passes_everything_on_until_it_is_told_otherwise() {
    in_boundary(this_test!(), |boundary| {
        let shim = Shim::install(boundary, "");
        let stage = Stage::new(&["alice"]);
        let steps = shim.calls("C_CreateObject");
        assert!(steps > 0 && shim.calls("C_Login") == 1, "{steps}");
        assert!(stage.sign("alice", &stage.users[0].code(), &stage.psbt()).is_ok());
        assert!(shim.calls("C_CreateObject") > steps);
        assert_eq!(shim.faults("C_CreateObject"), 0);
    });
}

#[test]
fn a_fault_comes_when_and_as_often_as_it_was_asked_for() {
    in_boundary(this_test!(), |boundary| {
        let shim = Shim::install(boundary, "");
        let raw = initialised_token();
        let session = raw.user();
        shim.clear_log();
        shim.behave("fail C_GenerateRandom 0x30 2 2");
        // Whatever the module answers: the test counts the shim's calls.
        let _ = (0..5).map(|_| raw.random(session, 8)).collect::<Vec<_>>();
        assert!(shim.calls("C_GenerateRandom") >= 5);
        assert_eq!(shim.faults("C_GenerateRandom"), 2);
        shim.behave("fail C_GenerateRandom 0x30 1 0");
        assert!((0..3).all(|_| raw.random(session, 8).is_err()));
        shim.behave("");
        assert!(raw.random(session, 8).is_ok());
        let faults = shim.faults("C_GenerateRandom");
        assert!(faults >= 5 && raw.random(session, 8).is_ok());
        assert_eq!(shim.faults("C_GenerateRandom"), faults);
    });
}
