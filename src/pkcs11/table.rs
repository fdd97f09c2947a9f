//! The exports: the function lists, and the three functions that return them.
//!
//! The library exports no other `C_*` symbol: SoftHSM2's own table would bind to a `C_GetInfo` of ours.

#![allow(unsafe_code)]

use core::ffi::CStr;
use core::ptr;

use cryptoki_sys::*;

use super::entry::*;
use crate::engine::Engine;
use crate::remote::interface::{self, LoadedModule};

/// Functions that this module does not support, one for each number of arguments. Their types come from their
/// place in the table.
mod unsupported {
    use cryptoki_sys::{CK_RV, CKR_FUNCTION_NOT_SUPPORTED};

    macro_rules! unsupported {
        ($($name:ident($($type:ident),*);)+) => {
            $(pub(super) unsafe extern "C" fn $name<$($type),*>($(_: $type),*) -> CK_RV {
                CKR_FUNCTION_NOT_SUPPORTED
            })+
        };
    }

    unsupported! {
        of_1(A);
        of_2(A, B);
        of_3(A, B, C);
        of_5(A, B, C, D, E);
        of_6(A, B, C, D, E, F);
        of_7(A, B, C, D, E, F, G);
        of_8(A, B, C, D, E, F, G, H);
        of_9(A, B, C, D, E, F, G, H, I);
        of_10(A, B, C, D, E, F, G, H, I, J);
    }
}
use unsupported::*;

/// The members that all tables share.
macro_rules! function_list {
    ($type:ident, $major:literal, $minor:literal, $get_info:ident, { $($more:tt)* }) => {
        $type {
            version: CK_VERSION { major: $major, minor: $minor },
            C_Initialize: Some(c_initialize),
            C_Finalize: Some(c_finalize),
            C_GetInfo: Some($get_info),
            C_GetFunctionList: Some(C_GetFunctionList),
            C_GetSlotList: Some(c_get_slot_list),
            C_GetSlotInfo: Some(c_get_slot_info),
            C_GetTokenInfo: Some(c_get_token_info),
            C_GetMechanismList: Some(c_get_mechanism_list),
            C_GetMechanismInfo: Some(c_get_mechanism_info),
            C_InitToken: Some(c_init_token),
            C_InitPIN: Some(c_init_pin),
            C_SetPIN: Some(c_set_pin),
            C_OpenSession: Some(c_open_session),
            C_CloseSession: Some(c_close_session),
            C_CloseAllSessions: Some(c_close_all_sessions),
            C_GetSessionInfo: Some(c_get_session_info),
            C_GetOperationState: Some(c_get_operation_state),
            C_SetOperationState: Some(c_set_operation_state),
            C_Login: Some(c_login),
            C_Logout: Some(c_logout),
            C_CreateObject: Some(c_create_object),
            C_CopyObject: Some(c_copy_object),
            C_DestroyObject: Some(c_destroy_object),
            C_GetObjectSize: Some(c_get_object_size),
            C_GetAttributeValue: Some(c_get_attribute_value),
            C_SetAttributeValue: Some(c_set_attribute_value),
            C_FindObjectsInit: Some(c_find_objects_init),
            C_FindObjects: Some(c_find_objects),
            C_FindObjectsFinal: Some(c_find_objects_final),
            C_EncryptInit: Some(of_3),
            C_Encrypt: Some(of_5),
            C_EncryptUpdate: Some(of_5),
            C_EncryptFinal: Some(of_3),
            C_DecryptInit: Some(of_3),
            C_Decrypt: Some(of_5),
            C_DecryptUpdate: Some(of_5),
            C_DecryptFinal: Some(of_3),
            C_DigestInit: Some(of_2),
            C_Digest: Some(of_5),
            C_DigestUpdate: Some(of_3),
            C_DigestKey: Some(of_2),
            C_DigestFinal: Some(of_3),
            C_SignInit: Some(c_sign_init),
            C_Sign: Some(c_sign),
            C_SignUpdate: Some(c_sign_update),
            C_SignFinal: Some(c_sign_final),
            C_SignRecoverInit: Some(of_3),
            C_SignRecover: Some(of_5),
            C_VerifyInit: Some(c_verify_init),
            C_Verify: Some(c_verify),
            C_VerifyUpdate: Some(c_verify_update),
            C_VerifyFinal: Some(c_verify_final),
            C_VerifyRecoverInit: Some(of_3),
            C_VerifyRecover: Some(of_5),
            C_DigestEncryptUpdate: Some(of_5),
            C_DecryptDigestUpdate: Some(of_5),
            C_SignEncryptUpdate: Some(of_5),
            C_DecryptVerifyUpdate: Some(of_5),
            C_GenerateKey: Some(c_generate_key),
            C_GenerateKeyPair: Some(c_generate_key_pair),
            C_WrapKey: Some(of_6),
            C_UnwrapKey: Some(of_8),
            C_DeriveKey: Some(of_6),
            C_SeedRandom: Some(c_seed_random),
            C_GenerateRandom: Some(c_generate_random),
            C_GetFunctionStatus: Some(c_get_function_status),
            C_CancelFunction: Some(c_cancel_function),
            C_WaitForSlotEvent: Some(c_wait_for_slot_event),
            $($more)*
        }
    };
}

/// The further members that the tables from 3.0 on share.
macro_rules! function_list_3 {
    ($type:ident, $major:literal, $minor:literal, $get_info:ident, { $($more:tt)* }) => {
        function_list!($type, $major, $minor, $get_info, {
            C_GetInterfaceList: Some(C_GetInterfaceList),
            C_GetInterface: Some(C_GetInterface),
            C_LoginUser: Some(c_login_user),
            C_SessionCancel: Some(c_session_cancel),
            C_MessageEncryptInit: Some(of_3),
            C_EncryptMessage: Some(of_9),
            C_EncryptMessageBegin: Some(of_5),
            C_EncryptMessageNext: Some(of_8),
            C_MessageEncryptFinal: Some(of_1),
            C_MessageDecryptInit: Some(of_3),
            C_DecryptMessage: Some(of_9),
            C_DecryptMessageBegin: Some(of_5),
            C_DecryptMessageNext: Some(of_8),
            C_MessageDecryptFinal: Some(of_1),
            C_MessageSignInit: Some(c_message_sign_init),
            C_SignMessage: Some(c_sign_message),
            C_SignMessageBegin: Some(c_sign_message_begin),
            C_SignMessageNext: Some(c_sign_message_next),
            C_MessageSignFinal: Some(c_message_sign_final),
            C_MessageVerifyInit: Some(of_3),
            C_VerifyMessage: Some(of_7),
            C_VerifyMessageBegin: Some(of_3),
            C_VerifyMessageNext: Some(of_7),
            C_MessageVerifyFinal: Some(of_1),
            $($more)*
        })
    };
}

static FUNCTIONS_2_40: CK_FUNCTION_LIST = function_list!(CK_FUNCTION_LIST, 2, 40, c_get_info_2_40, {});

static FUNCTIONS_3_0: CK_FUNCTION_LIST_3_0 = function_list_3!(CK_FUNCTION_LIST_3_0, 3, 0, c_get_info_3_0, {});

static FUNCTIONS_3_2: CK_FUNCTION_LIST_3_2 = function_list_3!(CK_FUNCTION_LIST_3_2, 3, 2, c_get_info_3_2, {
    C_EncapsulateKey: Some(of_8),
    C_DecapsulateKey: Some(of_8),
    C_VerifySignatureInit: Some(c_verify_signature_init),
    C_VerifySignature: Some(c_verify_signature),
    C_VerifySignatureUpdate: Some(c_verify_signature_update),
    C_VerifySignatureFinal: Some(c_verify_signature_final),
    C_GetSessionValidationFlags: Some(c_get_session_validation_flags),
    C_AsyncComplete: Some(of_3),
    C_AsyncGetID: Some(of_3),
    C_AsyncJoin: Some(of_5),
    C_WrapKeyAuthenticated: Some(of_8),
    C_UnwrapKeyAuthenticated: Some(of_10),
});

static FUNCTIONS_OF_BOUNDARY: interface::Functions = interface::Functions {
    version: interface::VERSION,
    release: super::raw::release(),
    open: boundary_open,
    begin: boundary_begin,
    call: boundary_call,
    end: boundary_end,
    close: boundary_close,
    standing: boundary_standing,
    administration: boundary_administration,
    newest_line: boundary_newest_line,
};

/// Hosts this engine in this process, as `countersign serve` does with the engine of a module that it loads:
/// for benches and for fuzzing. None if an engine is hosted already. The shared library has no symbol for
/// this.
pub fn host(engine: Engine) -> Option<LoadedModule> {
    super::host::host(engine).ok()?;
    Some(LoadedModule::of(&FUNCTIONS_OF_BOUNDARY))
}

/// The name of PKCS#11's own interface.
const INTERFACE_NAME: &CStr = c"PKCS 11";

/// `CK_INTERFACE` with pointers into statics only.
#[repr(transparent)]
struct Interface(CK_INTERFACE);

// SAFETY: the pointers are to statics that nobody writes.
unsafe impl Sync for Interface {}

const fn named<T>(name: &'static CStr, functions: &'static T) -> Interface {
    Interface(CK_INTERFACE {
        pInterfaceName: name.as_ptr().cast_mut().cast(),
        pFunctionList: ptr::from_ref(functions).cast_mut().cast(),
        flags: 0,
    })
}

/// The newest first: it is the default.
static INTERFACES: [Interface; 3] = [
    named(INTERFACE_NAME, &FUNCTIONS_3_2),
    named(INTERFACE_NAME, &FUNCTIONS_3_0),
    named(INTERFACE_NAME, &FUNCTIONS_2_40),
];

/// Not in the list: only `countersign serve` asks for it, by its name.
static BOUNDARY: Interface = named(interface::NAME, &FUNCTIONS_OF_BOUNDARY);

/// `C_GetFunctionList` (PKCS#11 v3.2 section 5.4): the 2.40 table.
///
/// # Safety
/// `list` is null or valid for writing a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    // SAFETY: not null, and the caller vouches for it. The table is never written through the pointer (`C_GetFunctionList`).
    unsafe { list.write(ptr::from_ref(&FUNCTIONS_2_40).cast_mut()) };
    CKR_OK
}

/// `C_GetInterfaceList` (PKCS#11 v3.2 section 5.4).
///
/// # Safety
/// `count` is null or valid; `list` is null or valid for writing as many interfaces as `count` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetInterfaceList(list: *mut CK_INTERFACE, count: *mut CK_ULONG) -> CK_RV {
    let interfaces = INTERFACES.each_ref().map(|interface| interface.0);
    // SAFETY: the caller vouches for both.
    match unsafe { super::raw::put_list(&interfaces, list, count) } {
        Ok(()) => CKR_OK,
        Err(super::rv::Rv(rv)) => rv,
    }
}

/// `C_GetInterface` (PKCS#11 v3.2 section 5.4): the interface of this name and version, or the default.
///
/// # Safety
/// `name` is null or a C string, `version` null or valid, `interface` null or valid for writing a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetInterface(
    name: *mut CK_UTF8CHAR,
    version: *mut CK_VERSION,
    interface: *mut *mut CK_INTERFACE,
    flags: CK_FLAGS,
) -> CK_RV {
    if interface.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    // SAFETY: not null, and the caller vouches for a C string.
    let name = if name.is_null() { INTERFACE_NAME } else { unsafe { CStr::from_ptr(name.cast()) } };
    // SAFETY: not null, and the caller vouches for it.
    let wanted = (!version.is_null()).then(|| unsafe { version.read() });
    let found = INTERFACES.iter().chain([&BOUNDARY]).find(|interface| {
        // SAFETY: every name here is a static C string.
        let is_named = unsafe { CStr::from_ptr(interface.0.pInterfaceName.cast()) } == name;
        // SAFETY: every function list begins with its version (`C_GetInterface`).
        let offered = unsafe { interface.0.pFunctionList.cast::<CK_VERSION>().read() };
        is_named
            && interface.0.flags & flags == flags
            && wanted.is_none_or(|wanted| (wanted.major, wanted.minor) == (offered.major, offered.minor))
    });
    // For this case the specification lists `CKR_ARGUMENTS_BAD` and `CKR_FUNCTION_FAILED` without choosing.
    // The arguments ask for something that does not exist, which is what this answer means (section 5.1, "All
    // other Cryptoki function return values"). Other libraries and their callers use it, too.
    let Some(found) = found else { return CKR_ARGUMENTS_BAD };
    // SAFETY: not null, and the caller vouches for it. The interface is never written through the pointer.
    unsafe { interface.write(ptr::from_ref(&found.0).cast_mut()) };
    CKR_OK
}
