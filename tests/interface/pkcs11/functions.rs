//! Every function of every table: before initialisation, with an invalid session handle, with null pointers,
//! and out of order (PKCS#11 v3.2 section 5).

#![allow(unsafe_code, reason = "wrong pointers are what this is about")]

use core::ptr;

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::raw::{Mechanism, Raw};
use harness::module::{USER_PIN, assert_rv, initialised_token, this_test};

use super::in_boundary;

/// What is wrong with the calls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The module is not initialised in this process.
    NotInitialised,
    /// Nor are the pointers right, which are not checked first.
    NotInitialisedNorPointers,
    /// The session handle, which is this.
    Session(CK_SESSION_HANDLE),
    /// The pointers: those that must not be null are null.
    Pointers,
    /// The order: no operation was begun in the session, which is the user's and read-only.
    Order,
}

impl Wrong {
    fn is_of_pointers(self) -> bool {
        matches!(self, Wrong::Pointers | Wrong::NotInitialisedNorPointers)
    }
}

/// The answer of a function, and the one that it must give.
pub(crate) struct Called {
    pub(crate) function: &'static str,
    pub(crate) answer: CK_RV,
    pub(crate) wanted: CK_RV,
}

/// The expected answers of one row.
struct Columns {
    not_initialised: Option<CK_RV>,
    session: Option<CK_RV>,
    pointers: CK_RV,
    order: CK_RV,
}

impl Columns {
    fn of(&self, wrong: Wrong) -> CK_RV {
        match wrong {
            Wrong::NotInitialised => self.not_initialised.unwrap_or(self.order),
            Wrong::NotInitialisedNorPointers => self.not_initialised.unwrap_or(self.pointers),
            Wrong::Session(_) => self.session.unwrap_or(self.order),
            Wrong::Pointers => self.pointers,
            Wrong::Order => self.order,
        }
    }
}

/// The answers of functions of this kind, whatever else is right or wrong: functions of a session, functions
/// without one, functions that do not ask whether the module is initialised, and functions that are not meant
/// for it.
macro_rules! columns {
    (session $pointers:ident $order:ident) => {
        Columns {
            not_initialised: Some(CKR_CRYPTOKI_NOT_INITIALIZED),
            session: Some(CKR_SESSION_HANDLE_INVALID),
            pointers: $pointers,
            order: $order,
        }
    };
    (library $pointers:ident $order:ident) => {
        Columns {
            not_initialised: Some(CKR_CRYPTOKI_NOT_INITIALIZED),
            session: None,
            pointers: $pointers,
            order: $order,
        }
    };
    (always $pointers:ident $order:ident) => {
        Columns { not_initialised: None, session: None, pointers: $pointers, order: $order }
    };
    (refused) => {
        Columns {
            not_initialised: None,
            session: None,
            pointers: CKR_FUNCTION_NOT_SUPPORTED,
            order: CKR_FUNCTION_NOT_SUPPORTED,
        }
    };
}

/// Calls the functions of `$table`, each with the first arguments, or with the second ones if the pointers
/// must be wrong.
macro_rules! rows {
    ($table:expr, $wrong:expr; $(
        $kind:ident $function:ident($($good:expr),*) ($($null:expr),*) $($rv:ident)*;
    )+) => {
        vec![$({
            let function = $table.$function.expect("every place of the table is filled");
            // SAFETY: each pointer is null, or to a value of the type and length that the same call names.
            let answer = unsafe {
                if $wrong.is_of_pointers() { function($($null),*) } else { function($($good),*) }
            };
            Called { function: stringify!($function), answer, wanted: columns!($kind $($rv)*).of($wrong) }
        }),+]
    };
}

/// The values that calls point to.
struct Places {
    bytes: [u8; 64],
    number: CK_ULONG,
    other: CK_ULONG,
    info: CK_INFO,
    slot: CK_SLOT_INFO,
    token: CK_TOKEN_INFO,
    mechanism: CK_MECHANISM_INFO,
    session: CK_SESSION_INFO,
    attribute: CK_ATTRIBUTE,
    list: *mut CK_FUNCTION_LIST,
    interface: *mut CK_INTERFACE,
    made: [Mechanism; 4],
}

impl Places {
    fn new() -> Places {
        Places {
            bytes: [b'1'; 64],
            number: 64,
            other: 0,
            info: CK_INFO::default(),
            slot: CK_SLOT_INFO::default(),
            token: CK_TOKEN_INFO::default(),
            mechanism: CK_MECHANISM_INFO::default(),
            session: CK_SESSION_INFO::default(),
            attribute: CK_ATTRIBUTE { type_: CKA_LABEL, pValue: ptr::null_mut(), ulValueLen: 0 },
            list: ptr::null_mut(),
            interface: ptr::null_mut(),
            made: [
                CKM_COUNTERSIGN_PSBT,
                CKM_COUNTERSIGN_TOTP,
                CKM_COUNTERSIGN_TOTP_KEY_GEN,
                CKM_COUNTERSIGN_WALLET_KEY_GEN,
            ]
            .map(|mechanism| Mechanism::new(mechanism, &[])),
        }
    }
}

/// No object has this handle.
const NO_OBJECT: CK_OBJECT_HANDLE = 9_999_999;

fn null<T>() -> *mut T {
    ptr::null_mut()
}

/// The rows of the 2.40 table, without `C_Initialize` and `C_Finalize`.
macro_rules! rows_2_40 {
    ($table:expr, $wrong:expr, $session:expr) => {{
        let mut places = Places::new();
        let Places {
            bytes, number, other, info, slot, token, mechanism, session, attribute, list, made, ..
        } = &mut places;
        let [sign, verify, user, wallet] = made.each_mut().map(Mechanism::pointer);
        let (bytes, number, other) = (bytes.as_mut_ptr(), &raw mut *number, &raw mut *other);
        let (s, attribute) = ($session, &raw mut *attribute);
        rows! { $table, $wrong;
            library C_GetInfo(info)(null()) CKR_ARGUMENTS_BAD CKR_OK;
            always C_GetFunctionList(list)(null()) CKR_ARGUMENTS_BAD CKR_OK;
            library C_GetSlotList(CK_TRUE, null(), number)(CK_TRUE, null(), null()) CKR_ARGUMENTS_BAD CKR_OK;
            library C_GetSlotInfo(0, slot)(0, null()) CKR_ARGUMENTS_BAD CKR_OK;
            library C_GetTokenInfo(0, token)(0, null()) CKR_ARGUMENTS_BAD CKR_OK;
            library C_GetMechanismList(0, null(), number)(0, null(), null()) CKR_ARGUMENTS_BAD CKR_OK;
            library C_GetMechanismInfo(0, CKM_COUNTERSIGN_PSBT, mechanism)
                (0, CKM_COUNTERSIGN_PSBT, null()) CKR_ARGUMENTS_BAD CKR_OK;
            library C_InitToken(1, bytes, 8, bytes)
                (1, null(), 8, bytes) CKR_ARGUMENTS_BAD CKR_SLOT_ID_INVALID;
            session C_InitPIN(s(), bytes, 8)(s(), null(), 8) CKR_ARGUMENTS_BAD CKR_USER_NOT_LOGGED_IN;
            session C_SetPIN(s(), bytes, 8, bytes, 8)
                (s(), null(), 8, bytes, 8) CKR_ARGUMENTS_BAD CKR_SESSION_READ_ONLY;
            library C_OpenSession(0, CKF_SERIAL_SESSION, null(), None, other)
                (0, CKF_SERIAL_SESSION, null(), None, null()) CKR_ARGUMENTS_BAD CKR_OK;
            session C_CloseSession(s())(s()) CKR_OK CKR_OK;
            library C_CloseAllSessions(0)(0) CKR_OK CKR_OK;
            session C_GetSessionInfo(s(), session)(s(), null()) CKR_ARGUMENTS_BAD CKR_OK;
            session C_GetOperationState(s(), bytes, number)
                (s(), bytes, null()) CKR_ARGUMENTS_BAD CKR_OPERATION_NOT_INITIALIZED;
            session C_SetOperationState(s(), bytes, 8, 0, 0)
                (s(), null(), 8, 0, 0) CKR_ARGUMENTS_BAD CKR_SAVED_STATE_INVALID;
            session C_Login(s(), CKU_USER, bytes, 8)
                (s(), CKU_USER, null(), 8) CKR_ARGUMENTS_BAD CKR_USER_ALREADY_LOGGED_IN;
            session C_Logout(s())(s()) CKR_OK CKR_OK;
            session C_CreateObject(s(), attribute, 1, number)
                (s(), null(), 1, null()) CKR_ARGUMENTS_BAD CKR_TEMPLATE_INCOMPLETE;
            session C_CopyObject(s(), NO_OBJECT, attribute, 1, number)
                (s(), NO_OBJECT, null(), 1, null()) CKR_ARGUMENTS_BAD CKR_OBJECT_HANDLE_INVALID;
            session C_DestroyObject(s(), NO_OBJECT)
                (s(), CK_INVALID_HANDLE) CKR_OBJECT_HANDLE_INVALID CKR_OBJECT_HANDLE_INVALID;
            session C_GetObjectSize(s(), NO_OBJECT, number)
                (s(), NO_OBJECT, null()) CKR_ARGUMENTS_BAD CKR_OBJECT_HANDLE_INVALID;
            session C_GetAttributeValue(s(), NO_OBJECT, attribute, 1)
                (s(), NO_OBJECT, null(), 1) CKR_ARGUMENTS_BAD CKR_OBJECT_HANDLE_INVALID;
            session C_SetAttributeValue(s(), NO_OBJECT, attribute, 1)
                (s(), NO_OBJECT, null(), 1) CKR_ARGUMENTS_BAD CKR_OBJECT_HANDLE_INVALID;
            session C_FindObjectsInit(s(), null(), 0)(s(), null(), 1) CKR_ARGUMENTS_BAD CKR_OK;
            session C_FindObjects(s(), other, 1, number)
                (s(), null(), 1, null()) CKR_ARGUMENTS_BAD CKR_OPERATION_NOT_INITIALIZED;
            session C_FindObjectsFinal(s())(s()) CKR_OPERATION_NOT_INITIALIZED CKR_OPERATION_NOT_INITIALIZED;
            refused C_EncryptInit(s(), sign, NO_OBJECT)(s(), null(), NO_OBJECT);
            refused C_Encrypt(s(), bytes, 1, bytes, number)(s(), null(), 1, null(), null());
            refused C_EncryptUpdate(s(), bytes, 1, bytes, number)(s(), null(), 1, null(), null());
            refused C_EncryptFinal(s(), bytes, number)(s(), null(), null());
            refused C_DecryptInit(s(), sign, NO_OBJECT)(s(), null(), NO_OBJECT);
            refused C_Decrypt(s(), bytes, 1, bytes, number)(s(), null(), 1, null(), null());
            refused C_DecryptUpdate(s(), bytes, 1, bytes, number)(s(), null(), 1, null(), null());
            refused C_DecryptFinal(s(), bytes, number)(s(), null(), null());
            refused C_DigestInit(s(), sign)(s(), null());
            refused C_Digest(s(), bytes, 1, bytes, number)(s(), null(), 1, null(), null());
            refused C_DigestUpdate(s(), bytes, 1)(s(), null(), 1);
            refused C_DigestKey(s(), NO_OBJECT)(s(), CK_INVALID_HANDLE);
            refused C_DigestFinal(s(), bytes, number)(s(), null(), null());
            session C_SignInit(s(), sign, NO_OBJECT)(s(), null(), NO_OBJECT) CKR_OK CKR_KEY_HANDLE_INVALID;
            session C_Sign(s(), bytes, 8, bytes, number)
                (s(), bytes, 8, bytes, null()) CKR_ARGUMENTS_BAD CKR_OPERATION_NOT_INITIALIZED;
            session C_SignUpdate(s(), bytes, 8)
                (s(), null(), 8) CKR_OPERATION_NOT_INITIALIZED CKR_OPERATION_NOT_INITIALIZED;
            session C_SignFinal(s(), bytes, number)
                (s(), bytes, null()) CKR_ARGUMENTS_BAD CKR_OPERATION_NOT_INITIALIZED;
            refused C_SignRecoverInit(s(), sign, NO_OBJECT)(s(), null(), NO_OBJECT);
            refused C_SignRecover(s(), bytes, 1, bytes, number)(s(), null(), 1, null(), null());
            session C_VerifyInit(s(), verify, NO_OBJECT)
                (s(), null(), NO_OBJECT) CKR_OK CKR_KEY_HANDLE_INVALID;
            session C_Verify(s(), bytes, 0, bytes, 8)
                (s(), null(), 1, null(), 8) CKR_OPERATION_NOT_INITIALIZED CKR_OPERATION_NOT_INITIALIZED;
            session C_VerifyUpdate(s(), bytes, 0)
                (s(), null(), 1) CKR_OPERATION_NOT_INITIALIZED CKR_OPERATION_NOT_INITIALIZED;
            session C_VerifyFinal(s(), bytes, 8)
                (s(), null(), 8) CKR_OPERATION_NOT_INITIALIZED CKR_OPERATION_NOT_INITIALIZED;
            refused C_VerifyRecoverInit(s(), sign, NO_OBJECT)(s(), null(), NO_OBJECT);
            refused C_VerifyRecover(s(), bytes, 1, bytes, number)(s(), null(), 1, null(), null());
            refused C_DigestEncryptUpdate(s(), bytes, 1, bytes, number)(s(), null(), 1, null(), null());
            refused C_DecryptDigestUpdate(s(), bytes, 1, bytes, number)(s(), null(), 1, null(), null());
            refused C_SignEncryptUpdate(s(), bytes, 1, bytes, number)(s(), null(), 1, null(), null());
            refused C_DecryptVerifyUpdate(s(), bytes, 1, bytes, number)(s(), null(), 1, null(), null());
            session C_GenerateKey(s(), user, null(), 0, other)
                (s(), user, null(), 0, null()) CKR_ARGUMENTS_BAD CKR_SESSION_READ_ONLY;
            session C_GenerateKeyPair(s(), wallet, null(), 0, null(), 0, other, number)
                (s(), null(), null(), 0, null(), 0, null(), null()) CKR_ARGUMENTS_BAD CKR_SESSION_READ_ONLY;
            refused C_WrapKey(s(), sign, NO_OBJECT, NO_OBJECT, bytes, number)
                (s(), null(), NO_OBJECT, NO_OBJECT, null(), null());
            refused C_UnwrapKey(s(), sign, NO_OBJECT, bytes, 1, attribute, 1, other)
                (s(), null(), NO_OBJECT, null(), 1, null(), 1, null());
            refused C_DeriveKey(s(), sign, NO_OBJECT, attribute, 1, other)
                (s(), null(), NO_OBJECT, null(), 1, null());
            session C_SeedRandom(s(), bytes, 8)
                (s(), null(), 8) CKR_ARGUMENTS_BAD CKR_RANDOM_SEED_NOT_SUPPORTED;
            session C_GenerateRandom(s(), bytes, 8)(s(), null(), 8) CKR_ARGUMENTS_BAD CKR_OK;
            library C_GetFunctionStatus(s())(s()) CKR_FUNCTION_NOT_PARALLEL CKR_FUNCTION_NOT_PARALLEL;
            library C_CancelFunction(s())(s()) CKR_FUNCTION_NOT_PARALLEL CKR_FUNCTION_NOT_PARALLEL;
            library C_WaitForSlotEvent(CKF_DONT_BLOCK, other, null())
                (CKF_DONT_BLOCK, null(), null()) CKR_ARGUMENTS_BAD CKR_NO_EVENT;
        }
    }};
}

/// The rows that the 3.0 table adds.
macro_rules! rows_3_0 {
    ($table:expr, $wrong:expr, $session:expr) => {{
        let mut places = Places::new();
        let Places { bytes, number, interface, made, .. } = &mut places;
        let [sign, ..] = made.each_mut().map(Mechanism::pointer);
        let (bytes, number) = (bytes.as_mut_ptr(), &raw mut *number);
        let s = $session;
        rows! { $table, $wrong;
            always C_GetInterfaceList(null(), number)(null(), null()) CKR_ARGUMENTS_BAD CKR_OK;
            always C_GetInterface(null(), null(), interface, 0)
                (null(), null(), null(), 0) CKR_ARGUMENTS_BAD CKR_OK;
            session C_LoginUser(s(), CKU_CONTEXT_SPECIFIC, bytes, 8, bytes, 5)
                (s(), CKU_CONTEXT_SPECIFIC, bytes, 8, null(), 5)
                CKR_ARGUMENTS_BAD CKR_OPERATION_NOT_INITIALIZED;
            session C_SessionCancel(s(), CKF_SIGN)(s(), 0) CKR_OK CKR_OK;
            refused C_MessageEncryptInit(s(), sign, NO_OBJECT)(s(), null(), NO_OBJECT);
            refused C_EncryptMessage(s(), null(), 0, bytes, 1, bytes, 1, bytes, number)
                (s(), null(), 1, null(), 1, null(), 1, null(), null());
            refused C_EncryptMessageBegin(s(), null(), 0, bytes, 1)(s(), null(), 1, null(), 1);
            refused C_EncryptMessageNext(s(), null(), 0, bytes, 1, bytes, number, 0)
                (s(), null(), 1, null(), 1, null(), null(), 0);
            refused C_MessageEncryptFinal(s())(s());
            refused C_MessageDecryptInit(s(), sign, NO_OBJECT)(s(), null(), NO_OBJECT);
            refused C_DecryptMessage(s(), null(), 0, bytes, 1, bytes, 1, bytes, number)
                (s(), null(), 1, null(), 1, null(), 1, null(), null());
            refused C_DecryptMessageBegin(s(), null(), 0, bytes, 1)(s(), null(), 1, null(), 1);
            refused C_DecryptMessageNext(s(), null(), 0, bytes, 1, bytes, number, 0)
                (s(), null(), 1, null(), 1, null(), null(), 0);
            refused C_MessageDecryptFinal(s())(s());
            session C_MessageSignInit(s(), sign, NO_OBJECT)
                (s(), null(), NO_OBJECT) CKR_OK CKR_KEY_HANDLE_INVALID;
            session C_SignMessage(s(), null(), 0, bytes, 8, bytes, number)
                (s(), null(), 0, bytes, 8, bytes, null()) CKR_ARGUMENTS_BAD CKR_OPERATION_NOT_INITIALIZED;
            session C_SignMessageBegin(s(), null(), 0)
                (s(), null(), 128) CKR_OPERATION_NOT_INITIALIZED CKR_OPERATION_NOT_INITIALIZED;
            session C_SignMessageNext(s(), null(), 0, bytes, 8, bytes, number)
                (s(), null(), 128, null(), 8, null(), null())
                CKR_OPERATION_NOT_INITIALIZED CKR_OPERATION_NOT_INITIALIZED;
            session C_MessageSignFinal(s())(s()) CKR_OPERATION_NOT_INITIALIZED CKR_OPERATION_NOT_INITIALIZED;
            refused C_MessageVerifyInit(s(), sign, NO_OBJECT)(s(), null(), NO_OBJECT);
            refused C_VerifyMessage(s(), null(), 0, bytes, 1, bytes, 1)(s(), null(), 1, null(), 1, null(), 1);
            refused C_VerifyMessageBegin(s(), null(), 0)(s(), null(), 1);
            refused C_VerifyMessageNext(s(), null(), 0, bytes, 1, bytes, 1)
                (s(), null(), 1, null(), 1, null(), 1);
            refused C_MessageVerifyFinal(s())(s());
        }
    }};
}

/// The rows that the 3.2 table adds.
macro_rules! rows_3_2 {
    ($table:expr, $wrong:expr, $session:expr) => {{
        let mut places = Places::new();
        let Places { bytes, number, other, attribute, made, .. } = &mut places;
        let [sign, verify, ..] = made.each_mut().map(Mechanism::pointer);
        let (bytes, number, other) = (bytes.as_mut_ptr(), &raw mut *number, &raw mut *other);
        let (s, attribute) = ($session, &raw mut *attribute);
        let mut result =
            CK_ASYNC_DATA { ulVersion: 0, pValue: null(), ulValue: 0, hObject: 0, hAdditionalObject: 0 };
        rows! { $table, $wrong;
            refused C_EncapsulateKey(s(), sign, NO_OBJECT, attribute, 1, bytes, number, other)
                (s(), null(), NO_OBJECT, null(), 1, null(), null(), null());
            refused C_DecapsulateKey(s(), sign, NO_OBJECT, attribute, 1, bytes, 1, other)
                (s(), null(), NO_OBJECT, null(), 1, null(), 1, null());
            session C_VerifySignatureInit(s(), verify, NO_OBJECT, bytes, 8)
                (s(), null(), NO_OBJECT, null(), 8) CKR_OK CKR_KEY_HANDLE_INVALID;
            session C_VerifySignature(s(), bytes, 0)
                (s(), null(), 1) CKR_OPERATION_NOT_INITIALIZED CKR_OPERATION_NOT_INITIALIZED;
            session C_VerifySignatureUpdate(s(), bytes, 0)
                (s(), null(), 1) CKR_OPERATION_NOT_INITIALIZED CKR_OPERATION_NOT_INITIALIZED;
            session C_VerifySignatureFinal(s())
                (s()) CKR_OPERATION_NOT_INITIALIZED CKR_OPERATION_NOT_INITIALIZED;
            session C_GetSessionValidationFlags(s(), CKS_LAST_VALIDATION_OK, number)
                (s(), CKS_LAST_VALIDATION_OK, null()) CKR_ARGUMENTS_BAD CKR_OK;
            refused C_AsyncComplete(s(), bytes, &mut result)(s(), null(), null());
            refused C_AsyncGetID(s(), bytes, number)(s(), null(), null());
            refused C_AsyncJoin(s(), bytes, 0, bytes, 1)(s(), null(), 0, null(), 1);
            refused C_WrapKeyAuthenticated(s(), sign, NO_OBJECT, NO_OBJECT, bytes, 1, bytes, number)
                (s(), null(), NO_OBJECT, NO_OBJECT, null(), 1, null(), null());
            refused C_UnwrapKeyAuthenticated(s(), sign, NO_OBJECT, bytes, 1, attribute, 1, bytes, 1, other)
                (s(), null(), NO_OBJECT, null(), 1, null(), 1, null(), 1, null());
        }
    }};
}

/// Calls every function of every table, except `C_Initialize` and `C_Finalize`.
pub(crate) fn call_every_function(raw: &Raw, wrong: Wrong) -> Vec<Called> {
    // A session for each call, so that what a call does to it or to the login does not affect the next one.
    let session = || match wrong {
        Wrong::NotInitialised | Wrong::NotInitialisedNorPointers => 1,
        Wrong::Session(session) => session,
        Wrong::Pointers | Wrong::Order => {
            let session = raw.read_only();
            if raw.state(session) == Ok(CKS_RO_PUBLIC_SESSION) {
                assert_rv!(raw.login(session, CKU_USER, USER_PIN.as_bytes()), CKR_OK);
            }
            session
        }
    };
    if matches!(wrong, Wrong::Pointers | Wrong::Order) {
        raw.as_backend();
    }
    let Raw { v2_40, v3_0, v3_2, .. } = raw.here();
    let tables = [
        vec![rows_2_40!(v2_40, wrong, session)],
        vec![rows_2_40!(v3_0, wrong, session), rows_3_0!(v3_0, wrong, session)],
        vec![
            rows_2_40!(v3_2, wrong, session),
            rows_3_0!(v3_2, wrong, session),
            rows_3_2!(v3_2, wrong, session),
        ],
    ]
    .map(|table| table.into_iter().flatten().collect::<Vec<Called>>());
    // After the version there are only pointers to functions, and two of them are not called here.
    let functions = |size| size / size_of::<CK_C_Initialize>() - 1;
    let sizes =
        [size_of::<CK_FUNCTION_LIST>(), size_of::<CK_FUNCTION_LIST_3_0>(), size_of::<CK_FUNCTION_LIST_3_2>()];
    for (table, size) in tables.iter().zip(sizes) {
        assert_eq!(table.len() + 2, functions(size), "a function has no row");
    }
    tables.into_iter().flatten().collect()
}

fn check(raw: &Raw, wrong: Wrong, what: &str) {
    for Called { function, answer, wanted } in call_every_function(raw, wrong) {
        assert_rv!(answer, wanted, "{function}: {what}");
    }
}

#[test]
fn before_initialisation_and_after_finalisation_every_function_says_so() {
    in_boundary(this_test!(), |_| {
        let raw = Raw::load();
        check(&raw, Wrong::NotInitialised, "before C_Initialize");
        check(&raw, Wrong::NotInitialisedNorPointers, "before C_Initialize, with null pointers");
        assert_rv!(raw.finalize(), CKR_CRYPTOKI_NOT_INITIALIZED);
        assert_rv!(raw.initialize(), CKR_OK);
        assert_rv!(raw.finalize(), CKR_OK);
        check(&raw, Wrong::NotInitialised, "after C_Finalize");
        check(&raw, Wrong::NotInitialisedNorPointers, "after C_Finalize, with null pointers");
        assert_rv!(raw.finalize(), CKR_CRYPTOKI_NOT_INITIALIZED);
    });
}

#[test]
fn every_function_with_a_session_refuses_a_handle_that_is_none() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let (open, closed) = (raw.read_write(), raw.read_only());
        assert_rv!(raw.close(closed), CKR_OK);
        let last = raw.read_only();
        for (what, handle) in [
            ("no handle", CK_INVALID_HANDLE),
            ("closed", closed),
            ("closed with all others", open),
            ("closed with all others, the last", last),
            ("of nobody", open + 1_000_000),
            ("the largest", CK_ULONG::MAX),
        ] {
            check(&raw, Wrong::Session(handle), what);
        }
    });
}

#[test]
fn every_function_checks_its_pointers() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        check(&raw, Wrong::Pointers, "null pointers");
        assert_eq!(raw.token_info().flags & CKF_USER_PIN_COUNT_LOW, 0, "none was a try at a PIN");
    });
}

#[test]
fn every_function_out_of_order_says_what_is_missing() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        check(&raw, Wrong::Order, "out of order");
    });
}

#[test]
fn the_tables_have_the_same_functions() {
    in_boundary(this_test!(), |_| {
        let raw = Raw::load();
        /// The pointers behind a table's version.
        fn pointers<T>(table: &T) -> &[usize] {
            // SAFETY: a table is its version, padded to the size of a pointer, and then pointers.
            unsafe {
                core::slice::from_raw_parts(
                    ptr::from_ref(table).cast::<usize>().add(1),
                    size_of::<T>() / size_of::<usize>() - 1,
                )
            }
        }
        let [old, newer, newest] = [pointers(raw.v2_40), pointers(raw.v3_0), pointers(raw.v3_2)];
        assert_eq!([old.len(), newer.len(), newest.len()], [68, 92, 104]);
        assert!(newest.iter().all(|function| *function != 0), "an empty place");
        // Only `C_GetInfo` differs between the tables.
        const GET_INFO: usize = 2;
        for (index, function) in newer.iter().enumerate().filter(|(index, _)| *index != GET_INFO) {
            assert_eq!(old.get(index).unwrap_or(function), function, "{index} of 2.40 and 3.0");
            assert_eq!(newest[index], *function, "{index} of 3.0 and 3.2");
        }
        assert_ne!(old[GET_INFO], newer[GET_INFO]);
        assert_ne!(newer[GET_INFO], newest[GET_INFO]);
    });
}
