//! General-purpose functions (PKCS#11 v3.2 section 5.4), and rules for every function.

#![allow(unsafe_code, reason = "wrong pointers and fork are what this is about")]

use core::ffi::{CStr, c_int};
use core::ptr;

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::raw::{Raw, call, call_v3, call_v3_2};
use harness::module::wallet::verify_signed;
use harness::module::{Stage, assert_rv, this_test};

use super::IS_CLIENT;
use super::functions::{Wrong, call_every_function};
use super::in_boundary;

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
        let may_not_make_threads = CKF_LIBRARY_CANT_CREATE_OS_THREADS;
        assert_rv!(
            initialize(CK_C_INITIALIZE_ARGS { flags: may_not_make_threads, ..all }),
            CKR_CANT_LOCK,
            "threads are not the matter"
        );
        for good in [
            none,
            CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK, ..none },
            CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK, ..all },
            CK_C_INITIALIZE_ARGS { flags: may_not_make_threads, ..none },
            CK_C_INITIALIZE_ARGS { flags: may_not_make_threads | CKF_OS_LOCKING_OK, ..all },
        ] {
            assert_rv!(initialize(good), CKR_OK);
            assert_rv!(call!(raw, C_Finalize(reserved)), CKR_ARGUMENTS_BAD);
            assert_rv!(raw.finalize(), CKR_OK);
        }
    });
}

#[test]
fn info_names_the_module_and_the_version_of_the_interface_it_comes_from() {
    in_boundary(this_test!(), |_| {
        let raw = Raw::load();
        assert_rv!(raw.initialize(), CKR_OK);
        let [mut old, mut newer, mut newest] = [CK_INFO::default(); 3];
        assert_rv!(call!(raw, C_GetInfo(&mut old)), CKR_OK);
        assert_rv!(call_v3!(raw, C_GetInfo(&mut newer)), CKR_OK);
        assert_rv!(call_v3_2!(raw, C_GetInfo(&mut newest)), CKR_OK);
        for (info, cryptoki) in [(old, (2, 40)), (newer, (3, 0)), (newest, (3, 2))] {
            assert_eq!((info.cryptokiVersion.major, info.cryptokiVersion.minor), cryptoki);
            assert_eq!(&info.manufacturerID, b"Countersign                     ");
            assert_eq!(info.flags, 0);
            let version = format!("{}.{}.", info.libraryVersion.major, info.libraryVersion.minor);
            assert!(env!("CARGO_PKG_VERSION").starts_with(&version), "{version}");
        }
    });
}

#[test]
fn slots_have_no_events_and_waiting_for_one_does_not_hang() {
    in_boundary(this_test!(), |_| {
        let raw = Raw::load();
        let mut slot = 77;
        let mut wait = |flags| call!(raw, C_WaitForSlotEvent(flags, &mut slot, ptr::null_mut()));
        assert_rv!(wait(CKF_DONT_BLOCK), CKR_CRYPTOKI_NOT_INITIALIZED);
        assert_rv!(raw.initialize(), CKR_OK);
        assert_rv!(wait(CKF_DONT_BLOCK), CKR_NO_EVENT);
        assert_rv!(wait(0), CKR_FUNCTION_NOT_SUPPORTED);
        let reserved = (&raw mut slot).cast();
        for flags in [0, CKF_DONT_BLOCK] {
            assert_rv!(call!(raw, C_WaitForSlotEvent(flags, &mut slot, reserved)), CKR_ARGUMENTS_BAD);
        }
        assert_eq!(slot, 77, "nothing is written");
    });
}

#[test]
fn the_interfaces_are_listed_and_found_by_name_and_version() {
    in_boundary(this_test!(), |_| {
        let raw = Raw::load();
        let library = raw.library;
        // Before C_Initialize, too, because this is how a caller finds a table.
        // SAFETY: null.
        assert_rv!(unsafe { library.C_GetFunctionList(ptr::null_mut()) }, CKR_ARGUMENTS_BAD);
        assert_eq!((raw.v2_40.version.major, raw.v2_40.version.minor), (2, 40));
        assert_eq!((raw.v3_0.version.major, raw.v3_0.version.minor), (3, 0));
        assert_eq!((raw.v3_2.version.major, raw.v3_2.version.minor), (3, 2));

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
        // SAFETY: the list has room for each count.
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
        assert_eq!(versions, [(3, 2), (3, 0), (2, 40)], "the newest first");

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
        for version in [(1, 0), (2, 20), (3, 1), (4, 0)] {
            assert_eq!(find(ours, Some(version), 0), Err(CKR_ARGUMENTS_BAD), "{version:?}");
        }
        assert_eq!(find(Some(c"Vendor other"), None, 0), Err(CKR_ARGUMENTS_BAD));
        assert_eq!(find(ours, None, CKF_INTERFACE_FORK_SAFE), Err(CKR_ARGUMENTS_BAD), "not claimed");
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
        // During an operation.
        let record = harness::module::approval("alice", &code);
        assert_rv!(stage.raw.sign_init(stage.session, CKM_COUNTERSIGN_PSBT, &record, stage.key), CKR_OK);
        let child = fork();
        assert!(child >= 0, "fork failed");
        if child == 0 {
            // The child reports by its exit status, because it must not run anything of the test harness.
            let answers = call_every_function(&stage.raw, Wrong::NotInitialised);
            let wrong = answers.iter().position(|called| called.answer != called.wanted);
            let finalised = stage.raw.finalize();
            // The parent has the store, so the child cannot get it as well. (A client's child connects as
            // another client.)
            let expected = if IS_CLIENT { CKR_OK } else { CKR_CANT_LOCK };
            let initialised = stage.raw.initialize();
            _exit(match wrong {
                Some(index) => 10 + index.min(245) as c_int,
                None if finalised != CKR_CRYPTOKI_NOT_INITIALIZED => 2,
                None if initialised != expected => 3,
                None => 0,
            });
        }
        let mut status = 0;
        // SAFETY: the pointer is to a local.
        assert_eq!(unsafe { waitpid(child, &mut status, 0) }, child);
        assert_eq!(status >> 8, 0, "the child's status; from 10 on it counts the functions in their order");
        let signed = stage.raw.sign(stage.session, &psbt).expect("the operation is still there");
        verify_signed(&psbt, &signed);
        assert_rv!(stage.raw.finalize(), CKR_OK);
    });
}
