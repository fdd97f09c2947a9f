//! Small requests that ask for answers of megabytes.

#![allow(unsafe_code, reason = "the function tables of PKCS#11 are tables of unsafe functions")]

use cryptoki_sys::*;

use harness::module::raw::{Raw, call};
use harness::module::{assert_rv, initialised_token, this_test, ulong};
use harness::served::in_boundary;

/// Bytes of the object's value, close to the longest possible.
const VALUE: usize = 60_000;

/// The answer to a call that asks for the value so many times, with room for each.
fn ask(
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    times: usize,
) -> (CK_RV, Vec<Vec<u8>>) {
    let mut values = vec![vec![0_u8; VALUE]; times];
    let mut wanted: Vec<CK_ATTRIBUTE> = values
        .iter_mut()
        .map(|value| CK_ATTRIBUTE {
            type_: CKA_VALUE,
            pValue: value.as_mut_ptr().cast(),
            ulValueLen: VALUE as CK_ULONG,
        })
        .collect();
    let rv = call!(raw, C_GetAttributeValue(session, object, wanted.as_mut_ptr(), times as CK_ULONG));
    (rv, values)
}

#[test]
fn one_attribute_asked_for_by_many_names_is_not_given_as_many_times() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let session = raw.read_write();
        let value = vec![0x5a; VALUE];
        let template = [(CKA_CLASS, ulong(CKO_DATA)), (CKA_VALUE, value.clone())];
        let object = raw.create(session, &template).expect("a session object, without a login");
        for times in [1, 2] {
            let (rv, values) = ask(&raw, session, object, times);
            assert_rv!(rv, CKR_OK, "{times}");
            assert!(values.iter().all(|given| *given == value), "{times}");
        }
        for times in [3, 256] {
            let (rv, values) = ask(&raw, session, object, times);
            assert_rv!(rv, CKR_ARGUMENTS_BAD, "{times}");
            assert!(values.iter().flatten().all(|byte| *byte == 0), "{times}");
        }
    });
}
