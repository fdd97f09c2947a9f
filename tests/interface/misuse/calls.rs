//! Every function of every version, with its arguments in the order of the parameters: a name for one
//! argument, a name in parentheses for a pointer and its length (`arguments.rs` has the names).
//!
//! The number is the weight of a function among the others.

use cryptoki_sys::*;

use super::caller::Caller;

/// A function of the interface.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    /// Its weight among the functions.
    pub(crate) weight: u64,
    /// The first version whose list has it.
    pub(crate) since: (u8, u8),
    /// Calls it, from this list.
    pub(crate) call: fn(&mut Caller<'_>, *const CK_FUNCTION_LIST_3_2) -> CK_RV,
}

/// Functions that make sense after one that succeeded, so that operations go on and some of them are
/// completed.
pub(crate) fn follow_ups(name: &str) -> &'static [&'static str] {
    match name {
        "C_FindObjectsInit" => &["C_FindObjects", "C_FindObjects", "C_FindObjectsFinal"],
        "C_SignInit" | "C_SignUpdate" => {
            &["C_Sign", "C_Sign", "C_SignUpdate", "C_SignFinal", "C_Login", "C_LoginUser", "C_SessionCancel"]
        }
        "C_MessageSignInit" | "C_SignMessageBegin" => {
            &["C_SignMessage", "C_SignMessageBegin", "C_SignMessageNext", "C_MessageSignFinal"]
        }
        "C_VerifyInit" => &["C_Verify", "C_VerifyUpdate", "C_VerifyFinal"],
        "C_VerifySignatureInit" => {
            &["C_VerifySignature", "C_VerifySignatureUpdate", "C_VerifySignatureFinal"]
        }
        _ => &[],
    }
}

/// Makes the arguments one after the other, and makes the call.
macro_rules! call {
    ($caller:ident $function:ident [$($made:ident)*]) => {
        // SAFETY: every pointer is null or valid for its length until the call is over. If a length is too
        // long for its pointer, it is beyond what the module may read.
        unsafe { $function($($made),*) }
    };
    ($caller:ident $function:ident [$($made:ident)*] ($pair:ident) $($more:tt)*) => {{
        let (pointer, len) = $caller.$pair();
        call!($caller $function [$($made)* pointer len] $($more)*)
    }};
    ($caller:ident $function:ident [$($made:ident)*] $one:ident $($more:tt)*) => {{
        let one = $caller.$one();
        call!($caller $function [$($made)* one] $($more)*)
    }};
}

macro_rules! table {
    ($($since:expr => { $($weight:literal $name:ident ($($argument:tt)*);)+ })+) => {
        pub(crate) const FUNCTIONS: &[Function] = &[$($(
            Function {
                name: stringify!($name),
                weight: $weight,
                since: $since,
                call: |caller, list| {
                    // SAFETY: the list is of a version that has the member; no reference is made to the rest of it.
                    let member = unsafe { (&raw const (*list).$name).read() };
                    let function = member.expect(concat!(stringify!($name), " is not in its list"));
                    call!(caller function [] $($argument)*)
                },
            },
        )+)+];
    };
}

table! {
    (2, 40) => {
        1 C_Initialize(initialize_arguments);
        2 C_Finalize(reserved);
        2 C_GetInfo(out);
        1 C_GetFunctionList(out);
        2 C_GetSlotList(boolean (list));
        2 C_GetSlotInfo(slot out);
        4 C_GetTokenInfo(slot out);
        2 C_GetMechanismList(slot (list));
        2 C_GetMechanismInfo(slot mechanism_type out);
        1 C_InitToken(slot (user_pin) label);
        2 C_InitPIN(session (user_pin));
        2 C_SetPIN(session (old_pin) (new_pin));
        16 C_OpenSession(slot session_flags nothing notify out);
        12 C_CloseSession(session);
        1 C_CloseAllSessions(slot_to_close);
        6 C_GetSessionInfo(session out);
        2 C_GetOperationState(session (output));
        2 C_SetOperationState(session (text) object object);
        24 C_Login(session user_type (pin));
        1 C_Logout(session_to_log_out);
        4 C_CreateObject(session (of_object) out);
        4 C_CopyObject(session object (template) out);
        6 C_DestroyObject(session object);
        3 C_GetObjectSize(session object out);
        16 C_GetAttributeValue(session object (wanted));
        8 C_SetAttributeValue(session object (template));
        10 C_FindObjectsInit(session (template));
        10 C_FindObjects(session (found) found_count);
        8 C_FindObjectsFinal(session);
        1 C_EncryptInit(session mechanism object);
        1 C_Encrypt(session (data) (output));
        1 C_EncryptUpdate(session (data) (output));
        1 C_EncryptFinal(session (output));
        1 C_DecryptInit(session mechanism object);
        1 C_Decrypt(session (data) (output));
        1 C_DecryptUpdate(session (data) (output));
        1 C_DecryptFinal(session (output));
        1 C_DigestInit(session mechanism);
        1 C_Digest(session (data) (output));
        1 C_DigestUpdate(session (data));
        1 C_DigestKey(session object);
        1 C_DigestFinal(session (output));
        40 C_SignInit(session signing_mechanism signer);
        40 C_Sign(session (data) (output));
        16 C_SignUpdate(session (data));
        16 C_SignFinal(session (output));
        1 C_SignRecoverInit(session mechanism object);
        1 C_SignRecover(session (data) (output));
        12 C_VerifyInit(session verifying_mechanism object);
        8 C_Verify(session (verified) (signature));
        3 C_VerifyUpdate(session (verified));
        3 C_VerifyFinal(session (signature));
        1 C_VerifyRecoverInit(session mechanism object);
        1 C_VerifyRecover(session (data) (output));
        1 C_DigestEncryptUpdate(session (data) (output));
        1 C_DecryptDigestUpdate(session (data) (output));
        1 C_SignEncryptUpdate(session (data) (output));
        1 C_DecryptVerifyUpdate(session (data) (output));
        8 C_GenerateKey(session making_mechanism (of_user) out);
        6 C_GenerateKeyPair(session making_mechanism (of_public) (of_private) out out);
        2 C_WrapKey(session mechanism object object (output));
        2 C_UnwrapKey(session mechanism object (text) (template) out);
        2 C_DeriveKey(session mechanism object (template) out);
        1 C_SeedRandom(session (text));
        6 C_GenerateRandom(session (room));
        1 C_GetFunctionStatus(session);
        1 C_CancelFunction(session);
        1 C_WaitForSlotEvent(no_waiting out nothing);
    }
    (3, 0) => {
        1 C_GetInterfaceList((list));
        2 C_GetInterface(name version out flags);
        12 C_LoginUser(session user_type (pin) (user));
        6 C_SessionCancel(session flags);
        1 C_MessageEncryptInit(session mechanism object);
        1 C_EncryptMessage(session (parameter) (text) (data) (output));
        1 C_EncryptMessageBegin(session (parameter) (text));
        1 C_EncryptMessageNext(session (parameter) (data) (output) flags);
        1 C_MessageEncryptFinal(session);
        1 C_MessageDecryptInit(session mechanism object);
        1 C_DecryptMessage(session (parameter) (text) (data) (output));
        1 C_DecryptMessageBegin(session (parameter) (text));
        1 C_DecryptMessageNext(session (parameter) (data) (output) flags);
        1 C_MessageDecryptFinal(session);
        12 C_MessageSignInit(session signing_mechanism signer);
        16 C_SignMessage(session (parameter) (data) (output));
        6 C_SignMessageBegin(session (parameter));
        8 C_SignMessageNext(session (parameter) (data) (output));
        4 C_MessageSignFinal(session);
        1 C_MessageVerifyInit(session mechanism object);
        1 C_VerifyMessage(session (parameter) (data) (signature));
        1 C_VerifyMessageBegin(session (parameter));
        1 C_VerifyMessageNext(session (parameter) (data) (signature));
        1 C_MessageVerifyFinal(session);
    }
    (3, 2) => {
        1 C_EncapsulateKey(session mechanism object (template) (output) out);
        1 C_DecapsulateKey(session mechanism object (template) (text) out);
        6 C_VerifySignatureInit(session verifying_mechanism object (signature));
        4 C_VerifySignature(session (verified));
        2 C_VerifySignatureUpdate(session (verified));
        3 C_VerifySignatureFinal(session);
        1 C_GetSessionValidationFlags(session number out);
        1 C_AsyncComplete(session name out);
        1 C_AsyncGetID(session name out);
        1 C_AsyncJoin(session name number (room));
        1 C_WrapKeyAuthenticated(session mechanism object object (text) (output));
        1 C_UnwrapKeyAuthenticated(session mechanism object (text) (template) (text) out);
    }
}
