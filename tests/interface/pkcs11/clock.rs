//! The clock object (PKCS#11 v3.2 section 4.3, "Clock").

use core::ops::RangeInclusive;

use countersign::kernel::utc::{from_digits, to_digits};
use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::raw::Raw;
use harness::module::{Stage, assert_rv, now, this_test, ulong};

use super::in_boundary;

fn class(class: CK_OBJECT_CLASS) -> (CK_ATTRIBUTE_TYPE, Vec<u8>) {
    (CKA_CLASS, ulong(class))
}

fn clock(raw: &Raw, session: CK_SESSION_HANDLE) -> CK_OBJECT_HANDLE {
    let clock = [class(CKO_HW_FEATURE), (CKA_HW_FEATURE_TYPE, ulong(CKH_CLOCK))];
    let found = raw.find(session, &clock).expect("it finds");
    let [clock] = found[..] else { panic!("{} clocks", found.len()) };
    clock
}

/// The time that the clock shows, which must lie between two readings of ours.
fn shown(raw: &Raw, session: CK_SESSION_HANDLE, clock: CK_OBJECT_HANDLE) -> u64 {
    let before = now();
    let value = raw.attribute(session, clock, CKA_VALUE).expect("whoever asks may know the time");
    let between: RangeInclusive<u64> = before..=now();
    assert_eq!(value.len(), 16);
    let time = from_digits(&value).expect("sixteen digits");
    assert!(between.contains(&time), "{time} is not in {between:?}");
    time
}

fn at(time: u64) -> [(CK_ATTRIBUTE_TYPE, Vec<u8>); 1] {
    [(CKA_VALUE, to_digits(time).into_bytes())]
}

#[test]
fn the_clock_is_found_by_its_class_alone_and_shows_the_time_without_login() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let raw = &stage.raw;
        assert_rv!(raw.close_all(), CKR_OK);
        let session = raw.read_only();
        let clock = clock(raw, session);
        shown(raw, session, clock);
        assert_eq!(raw.attribute(session, clock, CKA_CLASS), Ok(ulong(CKO_HW_FEATURE)));
        assert_eq!(raw.attribute(session, clock, CKA_HW_FEATURE_TYPE), Ok(ulong(CKH_CLOCK)));
        assert_eq!(raw.attribute(session, clock, CKA_COUNTERSIGN_CLOCK_REFUSAL), Ok(vec![]));
        for other in [CKA_LABEL, CKA_TOKEN, CKA_ID, CKA_COUNTERSIGN_REACH] {
            assert_eq!(raw.attribute(session, clock, other), Err(CKR_ATTRIBUTE_TYPE_INVALID), "{other:#x}");
        }
        let hardware = class(CKO_HW_FEATURE);
        let of_type = |kind| (CKA_HW_FEATURE_TYPE, ulong(kind));
        let find = |template: &[_]| raw.find(session, template).expect("it finds");
        let freeze = find(&[hardware.clone(), of_type(CKH_COUNTERSIGN_FREEZE)]);
        let all = [&[clock][..], &freeze].concat();
        assert_eq!(find(std::slice::from_ref(&hardware)), all, "nobody sees another hardware feature");
        assert_eq!(find(&[hardware.clone(), of_type(CKH_CLOCK)]), [clock]);
        assert_eq!(find(&[of_type(CKH_CLOCK), hardware.clone()]), [clock], "in any order");
        assert!(find(&[hardware, of_type(CKH_MONOTONIC_COUNTER)]).is_empty());
        for template in [vec![], vec![of_type(CKH_CLOCK)], vec![class(CKO_DATA)]] {
            assert!(!find(&template).contains(&clock), "{template:?}");
        }
        // Nor by a logged-in session that asks for every attribute.
        let session = raw.user();
        assert!(!raw.find(session, &[]).expect("it finds").contains(&clock));
    });
}

#[test]
fn only_the_security_officer_sets_the_clock_and_a_malformed_value_is_refused() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let raw = &stage.raw;
        let user = stage.session;
        let clock_in = clock;
        let clock = clock_in(raw, user);
        assert_rv!(raw.set_attributes(user, clock, &at(now())), CKR_USER_NOT_LOGGED_IN, "the backend");
        assert_rv!(raw.sign_init(user, CKM_COUNTERSIGN_PSBT, &[], clock), CKR_KEY_TYPE_INCONSISTENT);
        assert_rv!(raw.verify_init(user, clock), CKR_KEY_TYPE_INCONSISTENT);
        assert_rv!(raw.close_all(), CKR_OK);
        let nobody = raw.read_write();
        assert_rv!(raw.set_attributes(nobody, clock, &at(now())), CKR_USER_NOT_LOGGED_IN, "nobody");
        assert_rv!(raw.close_all(), CKR_OK);

        let so = raw.so();
        let clock = clock_in(raw, so);
        // The right time in a wrong form.
        let right = to_digits(now());
        let second = |digits: &str| format!("{}{digits}", &right[..14]);
        for value in ["", "20261121", "2026113112000000", "2026-11-21T12:00Z", &second(""), &second("99")] {
            let template = [(CKA_VALUE, value.as_bytes().to_vec())];
            assert_rv!(raw.set_attributes(so, clock, &template), CKR_ATTRIBUTE_VALUE_INVALID, "{value:?}");
        }
        for wrong in [now() - 3_600, now() + 3_600, 0] {
            let answer = raw.set_attributes(so, clock, &at(wrong));
            assert_rv!(answer, CKR_ATTRIBUTE_VALUE_INVALID, "not what the machine's clock says");
        }
        assert_rv!(
            raw.set_attributes(so, clock, &[(CKA_HW_FEATURE_TYPE, ulong(0))]),
            CKR_ATTRIBUTE_READ_ONLY
        );
        assert_rv!(raw.set_attributes(so, clock, &[(0x4000_0000, vec![])]), CKR_ATTRIBUTE_TYPE_INVALID);
        assert_rv!(raw.destroy(so, clock), CKR_ACTION_PROHIBITED);
        assert_rv!(raw.set_attributes(so, clock, &at(now() - 60)), CKR_OK, "typed a minute ago");
        shown(raw, so, clock);
    });
}
