//! General-purpose functions (PKCS#11 v2.40 section 5.4; v3.0 section 5.4), and what holds for every function.

#![allow(unsafe_code, reason = "wrong pointers and fork are what this is about")]

use core::ffi::{CStr, c_int};
use core::ptr;

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use crate::boundary::raw::{Mechanism, Raw, call, call_v3};
use crate::boundary::wallet::verify_signed;
use crate::boundary::{Stage, assert_rv, in_boundary, initialised_token, this_test};

/// Calls every function that this module has, with arguments that are well-formed, and gives the answers.
fn call_every_function_of_ours(raw: &Raw, session: CK_SESSION_HANDLE) -> Vec<(&'static str, CK_RV)> {
    let mut bytes = [b'1'; 64];
    let data = bytes.as_mut_ptr();
    let mut len: CK_ULONG = 64;
    let mut handles = [0; 4];
    let mut other = 0;
    let mut sign = Mechanism::new(CKM_COUNTERSIGN_PSBT, &[]);
    let mut verify = Mechanism::new(CKM_COUNTERSIGN_TOTP, &[]);
    let mut user = Mechanism::new(CKM_COUNTERSIGN_TOTP_KEY_GEN, &[]);
    let mut wallet = Mechanism::new(CKM_COUNTERSIGN_WALLET_KEY_GEN, &[]);
    let mut attribute = CK_ATTRIBUTE { type_: CKA_LABEL, pValue: ptr::null_mut(), ulValueLen: 0 };
    macro_rules! answers {
        ($($by:ident $function:ident($($argument:expr),*);)+) => {
            vec![$((stringify!($function), $by!(raw, $function($($argument),*)))),+]
        };
    }
    answers! {
        call C_GetInfo(&mut CK_INFO::default());
        call C_GetSlotList(CK_TRUE, ptr::null_mut(), &mut len);
        call C_GetSlotInfo(0, &mut CK_SLOT_INFO::default());
        call C_GetTokenInfo(0, &mut CK_TOKEN_INFO::default());
        call C_GetMechanismList(0, ptr::null_mut(), &mut len);
        call C_GetMechanismInfo(0, CKM_COUNTERSIGN_PSBT, &mut CK_MECHANISM_INFO::default());
        call C_InitToken(0, data, 8, data);
        call C_InitPIN(session, data, 8);
        call C_SetPIN(session, data, 8, data, 8);
        call C_OpenSession(0, CKF_SERIAL_SESSION, ptr::null_mut(), None, &mut other);
        call C_GetSessionInfo(session, &mut CK_SESSION_INFO::default());
        call C_Login(session, CKU_USER, data, 8);
        call_v3 C_LoginUser(session, CKU_CONTEXT_SPECIFIC, data, 8, data, 5);
        call_v3 C_SessionCancel(session, CKF_SIGN);
        call C_Logout(session);
        call C_CreateObject(session, ptr::null_mut(), 0, &mut other);
        call C_CopyObject(session, 1, ptr::null_mut(), 0, &mut other);
        call C_GetObjectSize(session, 1, &mut len);
        call C_DestroyObject(session, 1);
        call C_GetAttributeValue(session, 1, &mut attribute, 1);
        call C_SetAttributeValue(session, 1, ptr::null_mut(), 0);
        call C_FindObjectsInit(session, ptr::null_mut(), 0);
        call C_FindObjects(session, handles.as_mut_ptr(), 4, &mut len);
        call C_FindObjectsFinal(session);
        call C_SignInit(session, sign.pointer(), 1);
        call C_Sign(session, data, 8, ptr::null_mut(), &mut len);
        call C_SignUpdate(session, data, 8);
        call C_SignFinal(session, ptr::null_mut(), &mut len);
        call C_VerifyInit(session, verify.pointer(), 1);
        call C_Verify(session, data, 0, data, 8);
        call C_VerifyUpdate(session, data, 0);
        call C_VerifyFinal(session, data, 8);
        call C_GenerateKey(session, user.pointer(), ptr::null_mut(), 0, &mut other);
        call C_GenerateKeyPair(session, wallet.pointer(), ptr::null_mut(), 0, ptr::null_mut(), 0, &mut other, &mut len);
        call C_GenerateRandom(session, data, 8);
        call C_CloseSession(session);
        call C_CloseAllSessions(0);
    }
}

#[test]
fn before_initialisation_and_after_finalisation_every_function_says_so() {
    in_boundary(this_test!(), |_| {
        let raw = Raw::load();
        let check = |when: &str| {
            for (function, rv) in call_every_function_of_ours(&raw, 1) {
                assert_rv!(rv, CKR_CRYPTOKI_NOT_INITIALIZED, "{function} {when}");
            }
            assert_rv!(raw.finalize(), CKR_CRYPTOKI_NOT_INITIALIZED, "{when}");
        };
        check("before C_Initialize");
        assert_rv!(raw.initialize(), CKR_OK);
        assert_rv!(raw.finalize(), CKR_OK);
        check("after C_Finalize");
    });
}

#[test]
fn every_function_with_a_session_refuses_a_handle_that_is_none() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let open = raw.read_write();
        let closed = raw.read_only();
        assert_rv!(raw.close(closed), CKR_OK);
        for handle in [CK_INVALID_HANDLE, closed, open + 1_000, CK_ULONG::MAX] {
            for (function, rv) in call_every_function_of_ours(&raw, handle) {
                let has_no_session = [
                    "C_GetInfo",
                    "C_GetSlotList",
                    "C_GetSlotInfo",
                    "C_GetTokenInfo",
                    "C_GetMechanismList",
                    "C_GetMechanismInfo",
                    "C_InitToken",
                    "C_OpenSession",
                    "C_CloseAllSessions",
                ];
                if !has_no_session.contains(&function) {
                    assert_rv!(rv, CKR_SESSION_HANDLE_INVALID, "{function} with {handle}");
                }
            }
        }
    });
}

#[test]
fn the_module_is_initialised_once_at_a_time() {
    in_boundary(this_test!(), |_| {
        let raw = Raw::load();
        assert_rv!(raw.initialize(), CKR_OK);
        assert_rv!(raw.initialize(), CKR_CRYPTOKI_ALREADY_INITIALIZED);
        assert_rv!(call!(raw, C_GetInfo(&mut CK_INFO::default())), CKR_OK);
        for _ in 0..3 {
            assert_rv!(raw.finalize(), CKR_OK);
            assert_rv!(raw.initialize(), CKR_OK);
        }
    });
}

#[test]
fn the_arguments_of_initialisation_and_finalisation_are_checked() {
    unsafe extern "C" fn create(_: *mut *mut core::ffi::c_void) -> CK_RV {
        CKR_OK
    }
    unsafe extern "C" fn other(_: *mut core::ffi::c_void) -> CK_RV {
        CKR_OK
    }
    in_boundary(this_test!(), |_| {
        let raw = Raw::load();
        let none = CK_C_INITIALIZE_ARGS {
            CreateMutex: None,
            DestroyMutex: None,
            LockMutex: None,
            UnlockMutex: None,
            flags: 0,
            pReserved: ptr::null_mut(),
        };
        let all = CK_C_INITIALIZE_ARGS {
            CreateMutex: Some(create),
            DestroyMutex: Some(other),
            LockMutex: Some(other),
            UnlockMutex: Some(other),
            ..none
        };
        let initialize =
            |mut arguments: CK_C_INITIALIZE_ARGS| call!(raw, C_Initialize((&raw mut arguments).cast()));
        let mut anything = 0u8;
        let reserved = (&raw mut anything).cast();
        assert_rv!(initialize(CK_C_INITIALIZE_ARGS { pReserved: reserved, ..none }), CKR_ARGUMENTS_BAD);
        for incomplete in [
            CK_C_INITIALIZE_ARGS { CreateMutex: Some(create), ..none },
            CK_C_INITIALIZE_ARGS { UnlockMutex: None, ..all },
        ] {
            assert_rv!(initialize(incomplete), CKR_ARGUMENTS_BAD);
        }
        assert_rv!(initialize(all), CKR_CANT_LOCK, "the caller's own mutexes only");
        for good in [
            none,
            CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK, ..none },
            CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK, ..all },
        ] {
            assert_rv!(initialize(good), CKR_OK);
            assert_rv!(call!(raw, C_Finalize(reserved)), CKR_ARGUMENTS_BAD);
            assert_rv!(raw.finalize(), CKR_OK);
        }
    });
}

#[test]
fn info_names_the_module() {
    in_boundary(this_test!(), |_| {
        let raw = Raw::load();
        assert_rv!(raw.initialize(), CKR_OK);
        assert_rv!(call!(raw, C_GetInfo(ptr::null_mut())), CKR_ARGUMENTS_BAD);
        let mut info = CK_INFO::default();
        assert_rv!(call!(raw, C_GetInfo(&mut info)), CKR_OK);
        assert_eq!((info.cryptokiVersion.major, info.cryptokiVersion.minor), (2, 40));
        assert_eq!(&info.manufacturerID, b"Countersign                     ");
        assert_eq!(info.flags, 0);
        let version = format!("{}.{}.", info.libraryVersion.major, info.libraryVersion.minor);
        assert!(env!("CARGO_PKG_VERSION").starts_with(&version), "{version}");
    });
}

#[test]
fn every_function_that_is_not_for_us_says_so() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let session = raw.user();
        let mut handle: CK_ULONG = session;
        let number = &raw mut handle;
        let bytes: *mut u8 = [0u8; 64].as_mut_ptr();
        let none: CK_VOID_PTR = ptr::null_mut();
        let mechanism: CK_MECHANISM_PTR = ptr::null_mut();
        let template: CK_ATTRIBUTE_PTR = ptr::null_mut();
        macro_rules! unsupported {
            ($($by:ident $function:ident($($argument:expr),*);)+) => {
                [$((stringify!($function), $by!(raw, $function($($argument),*)))),+]
            };
        }
        let answers = unsupported! {
            call C_GetOperationState(session, bytes, number);
            call C_SetOperationState(session, bytes, 0, 0, 0);
            call C_EncryptInit(session, mechanism, 1);
            call C_Encrypt(session, bytes, 1, bytes, number);
            call C_EncryptUpdate(session, bytes, 1, bytes, number);
            call C_EncryptFinal(session, bytes, number);
            call C_DecryptInit(session, mechanism, 1);
            call C_Decrypt(session, bytes, 1, bytes, number);
            call C_DecryptUpdate(session, bytes, 1, bytes, number);
            call C_DecryptFinal(session, bytes, number);
            call C_DigestInit(session, mechanism);
            call C_Digest(session, bytes, 1, bytes, number);
            call C_DigestUpdate(session, bytes, 1);
            call C_DigestKey(session, 1);
            call C_DigestFinal(session, bytes, number);
            call C_SignRecoverInit(session, mechanism, 1);
            call C_SignRecover(session, bytes, 1, bytes, number);
            call C_VerifyRecoverInit(session, mechanism, 1);
            call C_VerifyRecover(session, bytes, 1, bytes, number);
            call C_DigestEncryptUpdate(session, bytes, 1, bytes, number);
            call C_DecryptDigestUpdate(session, bytes, 1, bytes, number);
            call C_SignEncryptUpdate(session, bytes, 1, bytes, number);
            call C_DecryptVerifyUpdate(session, bytes, 1, bytes, number);
            call C_WrapKey(session, mechanism, 1, 1, bytes, number);
            call C_UnwrapKey(session, mechanism, 1, bytes, 1, template, 0, number);
            call C_DeriveKey(session, mechanism, 1, template, 0, number);
            call C_SeedRandom(session, bytes, 1);
            call C_GetFunctionStatus(session);
            call C_CancelFunction(session);
            call C_WaitForSlotEvent(0, number, none);
            call_v3 C_MessageEncryptInit(session, mechanism, 1);
            call_v3 C_EncryptMessage(session, none, 0, bytes, 0, bytes, 1, bytes, number);
            call_v3 C_EncryptMessageBegin(session, none, 0, bytes, 0);
            call_v3 C_EncryptMessageNext(session, none, 0, bytes, 1, bytes, number, 0);
            call_v3 C_MessageEncryptFinal(session);
            call_v3 C_MessageDecryptInit(session, mechanism, 1);
            call_v3 C_DecryptMessage(session, none, 0, bytes, 0, bytes, 1, bytes, number);
            call_v3 C_DecryptMessageBegin(session, none, 0, bytes, 0);
            call_v3 C_DecryptMessageNext(session, none, 0, bytes, 1, bytes, number, 0);
            call_v3 C_MessageDecryptFinal(session);
            call_v3 C_MessageSignInit(session, mechanism, 1);
            call_v3 C_SignMessage(session, none, 0, bytes, 1, bytes, number);
            call_v3 C_SignMessageBegin(session, none, 0);
            call_v3 C_SignMessageNext(session, none, 0, bytes, 1, bytes, number);
            call_v3 C_MessageSignFinal(session);
            call_v3 C_MessageVerifyInit(session, mechanism, 1);
            call_v3 C_VerifyMessage(session, none, 0, bytes, 1, bytes, 1);
            call_v3 C_VerifyMessageBegin(session, none, 0);
            call_v3 C_VerifyMessageNext(session, none, 0, bytes, 1, bytes, 1);
            call_v3 C_MessageVerifyFinal(session);
        };
        for (function, rv) in answers {
            assert_rv!(rv, CKR_FUNCTION_NOT_SUPPORTED, "{function}");
        }
        assert_eq!(handle, session, "and nothing is written");
    });
}

#[test]
fn the_interfaces_are_listed_and_found_by_name_and_version() {
    in_boundary(this_test!(), |_| {
        let raw = Raw::load();
        let library = raw.library;
        // Before C_Initialize too: this is how a table is found at all.
        // SAFETY: null.
        assert_rv!(unsafe { library.C_GetFunctionList(ptr::null_mut()) }, CKR_ARGUMENTS_BAD);
        assert_eq!((raw.v2_40.version.major, raw.v2_40.version.minor), (2, 40));
        assert_eq!((raw.v3_0.version.major, raw.v3_0.version.minor), (3, 0));

        let mut count: CK_ULONG = 0;
        // SAFETY: null, or to a local.
        unsafe {
            assert_rv!(library.C_GetInterfaceList(ptr::null_mut(), ptr::null_mut()), CKR_ARGUMENTS_BAD);
            assert_rv!(library.C_GetInterfaceList(ptr::null_mut(), &mut count), CKR_OK);
        }
        let empty =
            CK_INTERFACE { pInterfaceName: ptr::null_mut(), pFunctionList: ptr::null_mut(), flags: 0 };
        let mut list = vec![empty; count as usize];
        let mut too_few = count - 1;
        // SAFETY: the list has room for as many as each count says.
        unsafe {
            assert_rv!(library.C_GetInterfaceList(list.as_mut_ptr(), &mut too_few), CKR_BUFFER_TOO_SMALL);
            assert_eq!(too_few, count);
            assert_rv!(library.C_GetInterfaceList(list.as_mut_ptr(), &mut count), CKR_OK);
        }
        let versions: Vec<(u8, u8)> = list
            .iter()
            .map(|interface| {
                // SAFETY: both are statics of a library that stays loaded; every table begins with its version.
                let (name, version) = unsafe {
                    (
                        CStr::from_ptr(interface.pInterfaceName.cast()),
                        interface.pFunctionList.cast::<CK_VERSION>().read(),
                    )
                };
                assert_eq!(name, c"PKCS 11");
                (version.major, version.minor)
            })
            .collect();
        assert!(versions.contains(&(2, 40)) && versions.contains(&(3, 0)), "{versions:?}");

        let find = |name: Option<&CStr>, version: Option<(u8, u8)>, flags: CK_FLAGS| {
            let name = name.map_or(ptr::null_mut(), |name| name.as_ptr().cast_mut().cast());
            let mut version = version.map(|(major, minor)| CK_VERSION { major, minor });
            let version = version.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
            let mut found = ptr::null_mut();
            // SAFETY: null, or to a local; an interface that was found is a static.
            unsafe {
                match library.C_GetInterface(name, version, &mut found, flags) {
                    CKR_OK => Ok((*found).pFunctionList.cast::<CK_VERSION>().read()),
                    rv => Err(rv),
                }
            }
            .map(|version| (version.major, version.minor))
        };
        let ours = Some(c"PKCS 11");
        assert_eq!(find(None, None, 0), Ok(versions[0]), "the default is the first");
        assert_eq!(find(ours, None, 0), Ok(versions[0]));
        for version in &versions {
            assert_eq!(find(ours, Some(*version), 0), Ok(*version));
            assert_eq!(find(None, Some(*version), 0), Ok(*version));
        }
        assert_eq!(find(ours, Some((1, 0)), 0), Err(CKR_FUNCTION_FAILED));
        assert_eq!(find(Some(c"Vendor other"), None, 0), Err(CKR_FUNCTION_FAILED));
        assert_eq!(find(ours, None, CKF_INTERFACE_FORK_SAFE), Err(CKR_FUNCTION_FAILED), "not claimed");
        // SAFETY: null.
        let rv = unsafe { library.C_GetInterface(ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) };
        assert_rv!(rv, CKR_ARGUMENTS_BAD);
    });
}

unsafe extern "C" {
    safe fn fork() -> c_int;
    fn waitpid(process: c_int, status: *mut c_int, options: c_int) -> c_int;
    safe fn _exit(status: c_int) -> !;
}

#[test]
fn a_forked_child_is_another_application_and_the_parent_goes_on() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let psbt = stage.psbt();
        let code = stage.users[0].code();
        // Half-way through an operation.
        let record = crate::boundary::approval("alice", &code);
        assert_rv!(stage.raw.sign_init(stage.session, CKM_COUNTERSIGN_PSBT, &record, stage.key), CKR_OK);
        let child = fork();
        assert!(child >= 0, "fork failed");
        if child == 0 {
            // The child reports by its status: it must not run anything of the test harness.
            let answers = call_every_function_of_ours(&stage.raw, stage.session);
            let wrong = answers.iter().position(|(_, rv)| *rv != CKR_CRYPTOKI_NOT_INITIALIZED);
            let finalised = stage.raw.finalize();
            // The parent has the store: the child does not get it as well. (A client's child connects, as another client.)
            let expected = if env!("CARGO_CRATE_NAME") == "connected" { CKR_OK } else { CKR_CANT_LOCK };
            let initialised = stage.raw.initialize();
            _exit(match wrong {
                Some(index) => 100 + index as c_int,
                None if finalised != CKR_CRYPTOKI_NOT_INITIALIZED => 2,
                None if initialised != expected => 3,
                None => 0,
            });
        }
        let mut status = 0;
        // SAFETY: the pointer is to a local.
        assert_eq!(unsafe { waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0, "the child's status; from 100 on it counts the functions in their order");
        let signed = stage.raw.sign(stage.session, &psbt).expect("the operation is still there");
        verify_signed(&psbt, &signed);
        assert_rv!(stage.raw.finalize(), CKR_OK);
    });
}
