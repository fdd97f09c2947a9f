//! The shim itself: what the tests over it rest on.

use cryptoki_sys::*;

use crate::boundary::shim::Shim;
use crate::boundary::{Stage, in_boundary, initialised_token, this_test};

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
        shim.behave("fail C_GenerateRandom 0x30 2 2");
        let answers: Vec<CK_RV> = (0..5).map(|_| raw.random(session, 8).err().unwrap_or(CKR_OK)).collect();
        assert_eq!(answers, [CKR_OK, CKR_DEVICE_ERROR, CKR_DEVICE_ERROR, CKR_OK, CKR_OK]);
        assert_eq!(shim.faults("C_GenerateRandom"), 2);
        shim.behave("fail C_GenerateRandom 0x30 1 0");
        assert!((0..3).all(|_| raw.random(session, 8).is_err()));
        shim.behave("");
        assert!(raw.random(session, 8).is_ok());
        assert_eq!(shim.faults("C_GenerateRandom"), 5);
    });
}
