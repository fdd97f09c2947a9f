//! A client that calls the module's function tables itself, with slices for pointers.

#![allow(
    unsafe_code,
    clippy::macro_metavars_in_unsafe,
    reason = "the function tables of PKCS#11 are tables of unsafe functions"
)]

use core::ptr;
use std::path::Path;

use cryptoki_sys::*;

use super::doors::{self, Door};
use super::{SO_PIN, USER_PIN, assert_rv, module};
use countersign::pkcs11::vendor::*;

/// An attribute of a template.
pub type Attribute = (CK_ATTRIBUTE_TYPE, Vec<u8>);

/// Calls a function of the 2.40 table.
#[macro_export]
macro_rules! call {
    ($raw:expr, $function:ident($($argument:expr),* $(,)?)) => {{
        let function = $raw.here().v2_40.$function.expect("every place of the table is filled");
        // SAFETY: each pointer is null, or to a local value of the type and length that the same call names.
        unsafe { function($($argument),*) }
    }};
}
pub use crate::call;

/// Calls a function of the 3.0 table.
#[macro_export]
macro_rules! call_v3 {
    ($raw:expr, $function:ident($($argument:expr),* $(,)?)) => {{
        let function = $raw.here().v3_0.$function.expect("every place of the table is filled");
        // SAFETY: each pointer is null, or to a local value of the type and length that the same call names.
        unsafe { function($($argument),*) }
    }};
}
pub use crate::call_v3;

/// Calls a function of the 3.2 table.
#[macro_export]
macro_rules! call_v3_2 {
    ($raw:expr, $function:ident($($argument:expr),* $(,)?)) => {{
        let function = $raw.here().v3_2.$function.expect("every place of the table is filled");
        // SAFETY: each pointer is null, or to a local value of the type and length that the same call names.
        unsafe { function($($argument),*) }
    }};
}
pub use crate::call_v3_2;

/// Finalises the backing module, if nobody has, so that it forgets its state.
pub fn finalize_backing(boundary: &super::Boundary) {
    static BACKING: std::sync::OnceLock<Pkcs11> = std::sync::OnceLock::new();
    let backing = BACKING.get_or_init(|| {
        // SAFETY: as below; the module is in this process already.
        unsafe { Pkcs11::new(boundary.backing_module()) }.expect("the module loads")
    });
    // SAFETY: C_Finalize takes null.
    let rv = unsafe { backing.C_Finalize(ptr::null_mut()) };
    assert!([CKR_OK, CKR_CRYPTOKI_NOT_INITIALIZED].contains(&rv), "C_Finalize answered {rv:#x}");
}

/// The loaded module.
#[derive(Clone, Copy)]
pub struct Raw {
    /// The list that `C_GetFunctionList` returns.
    pub v2_40: &'static CK_FUNCTION_LIST,
    /// The list that `C_GetInterface` returns for version 3.0.
    pub v3_0: &'static CK_FUNCTION_LIST_3_0,
    /// The list that `C_GetInterface` returns for version 3.2.
    pub v3_2: &'static CK_FUNCTION_LIST_3_2,
    /// The exports.
    pub library: &'static Pkcs11,
    /// Whether calls go to this module, whatever door was chosen.
    is_by_itself: bool,
}

impl Raw {
    /// Loads the module under test.
    pub fn load() -> Raw {
        Raw::load_from(&module())
    }

    /// Loads the module in this file.
    pub fn load_from(path: &Path) -> Raw {
        // SAFETY: a PKCS#11 module runs nothing of consequence when it is loaded.
        let library = unsafe { Pkcs11::new(path) }.expect("the module loads");
        // The library is never unloaded, so its tables live as long as the process.
        Raw::of(Box::leak(Box::new(library)))
    }

    /// The tables of a library that stays loaded.
    pub fn of(library: &'static Pkcs11) -> Raw {
        let mut v2_40 = ptr::null_mut();
        // SAFETY: the pointer is to a local.
        assert_rv!(unsafe { library.C_GetFunctionList(&mut v2_40) }, CKR_OK);
        let table = |major, minor| {
            let (mut version, mut interface) = (CK_VERSION { major, minor }, ptr::null_mut());
            // SAFETY: null, or to a local.
            let rv = unsafe { library.C_GetInterface(ptr::null_mut(), &mut version, &mut interface, 0) };
            assert_rv!(rv, CKR_OK, "version {major}.{minor}");
            // SAFETY: an interface that was found is a static of a library that stays loaded.
            unsafe { (*interface).pFunctionList }
        };
        // SAFETY: all are statics of a library that stays loaded, each of the version that was asked for.
        unsafe {
            Raw {
                v2_40: &*v2_40,
                v3_0: &*table(3, 0).cast(),
                v3_2: &*table(3, 2).cast(),
                library,
                is_by_itself: false,
            }
        }
    }

    /// The module of the current door: see [`doors`].
    pub fn here(&self) -> Raw {
        if self.is_by_itself { *self } else { doors::current().unwrap_or(*self) }
    }

    /// This module, whatever door was chosen.
    pub fn by_itself(self) -> Raw {
        Raw { is_by_itself: true, ..self }
    }

    /// Uses the backends' door from now on, if the boundary is served: the other door lets no user log in.
    pub fn as_backend(&self) {
        doors::come_in(Door::Backends);
    }

    /// Uses the administrators' door from now on, if the boundary is served.
    pub fn as_administrator(&self) {
        doors::come_in(Door::Administrators);
    }

    /// `C_Initialize` without arguments.
    pub fn initialize(&self) -> CK_RV {
        call!(self, C_Initialize(ptr::null_mut()))
    }

    /// `C_Finalize`, through both doors.
    pub fn finalize(&self) -> CK_RV {
        if !self.is_by_itself {
            doors::finalize_others(self);
        }
        call!(self, C_Finalize(ptr::null_mut()))
    }

    /// `C_InitToken`, with the label padded with spaces.
    pub fn init_token(&self, slot: CK_SLOT_ID, pin: &[u8], label: &str) -> CK_RV {
        let mut pin = pin.to_vec();
        let mut padded = format!("{label:32}").into_bytes();
        call!(self, C_InitToken(slot, pin.as_mut_ptr(), pin.len() as CK_ULONG, padded.as_mut_ptr()))
    }

    /// `C_InitPIN`.
    pub fn init_pin(&self, session: CK_SESSION_HANDLE, pin: &[u8]) -> CK_RV {
        let mut pin = pin.to_vec();
        call!(self, C_InitPIN(session, pin.as_mut_ptr(), pin.len() as CK_ULONG))
    }

    /// `C_SetPIN`.
    pub fn set_pin(&self, session: CK_SESSION_HANDLE, old: &[u8], new: &[u8]) -> CK_RV {
        let (mut old, mut new) = (old.to_vec(), new.to_vec());
        call!(
            self,
            C_SetPIN(
                session,
                old.as_mut_ptr(),
                old.len() as CK_ULONG,
                new.as_mut_ptr(),
                new.len() as CK_ULONG
            )
        )
    }

    /// `C_GetTokenInfo`.
    pub fn token_info(&self) -> CK_TOKEN_INFO {
        let mut info = CK_TOKEN_INFO::default();
        assert_rv!(call!(self, C_GetTokenInfo(0, &mut info)), CKR_OK);
        info
    }

    /// `C_OpenSession`.
    pub fn open(&self, flags: CK_FLAGS) -> Result<CK_SESSION_HANDLE, CK_RV> {
        let mut session = 0;
        match call!(self, C_OpenSession(0, flags, ptr::null_mut(), None, &mut session)) {
            CKR_OK => Ok(session),
            rv => Err(rv),
        }
    }

    /// A read-only session.
    pub fn read_only(&self) -> CK_SESSION_HANDLE {
        self.open(CKF_SERIAL_SESSION).unwrap_or_else(|rv| panic!("C_OpenSession answered {rv:#x}"))
    }

    /// A read-write session.
    pub fn read_write(&self) -> CK_SESSION_HANDLE {
        self.open(CKF_SERIAL_SESSION | CKF_RW_SESSION)
            .unwrap_or_else(|rv| panic!("C_OpenSession answered {rv:#x}"))
    }

    /// A session of the security officer, logged in.
    pub fn so(&self) -> CK_SESSION_HANDLE {
        self.as_administrator();
        let session = self.read_write();
        assert_rv!(self.login(session, CKU_SO, SO_PIN.as_bytes()), CKR_OK);
        session
    }

    /// A session of the backend, logged in.
    pub fn user(&self) -> CK_SESSION_HANDLE {
        self.as_backend();
        let session = self.read_write();
        assert_rv!(self.login(session, CKU_USER, USER_PIN.as_bytes()), CKR_OK);
        session
    }

    /// `C_CloseSession`.
    pub fn close(&self, session: CK_SESSION_HANDLE) -> CK_RV {
        call!(self, C_CloseSession(session))
    }

    /// `C_CloseAllSessions`, which logs out.
    pub fn close_all(&self) -> CK_RV {
        call!(self, C_CloseAllSessions(0))
    }

    /// `C_GetSessionInfo`: the state.
    pub fn state(&self, session: CK_SESSION_HANDLE) -> Result<CK_STATE, CK_RV> {
        let mut info = CK_SESSION_INFO::default();
        match call!(self, C_GetSessionInfo(session, &mut info)) {
            CKR_OK => Ok(info.state),
            rv => Err(rv),
        }
    }

    /// `C_GetSessionInfo`: the number of the rule that refused.
    pub fn device_error(&self, session: CK_SESSION_HANDLE) -> CK_ULONG {
        let mut info = CK_SESSION_INFO { ulDeviceError: 9_999, ..CK_SESSION_INFO::default() };
        assert_rv!(call!(self, C_GetSessionInfo(session, &mut info)), CKR_OK);
        info.ulDeviceError
    }

    /// `C_Login`.
    pub fn login(&self, session: CK_SESSION_HANDLE, who: CK_USER_TYPE, pin: &[u8]) -> CK_RV {
        let mut pin = pin.to_vec();
        call!(self, C_Login(session, who, pin.as_mut_ptr(), pin.len() as CK_ULONG))
    }

    /// `C_LoginUser`.
    pub fn login_user(
        &self,
        session: CK_SESSION_HANDLE,
        who: CK_USER_TYPE,
        pin: &[u8],
        name: &[u8],
    ) -> CK_RV {
        let (mut pin, mut name) = (pin.to_vec(), name.to_vec());
        call_v3!(
            self,
            C_LoginUser(
                session,
                who,
                pin.as_mut_ptr(),
                pin.len() as CK_ULONG,
                name.as_mut_ptr(),
                name.len() as CK_ULONG
            )
        )
    }

    /// `C_Logout`.
    pub fn logout(&self, session: CK_SESSION_HANDLE) -> CK_RV {
        call!(self, C_Logout(session))
    }

    /// `C_GenerateKey`.
    pub fn generate_key(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: CK_MECHANISM_TYPE,
        template: &[Attribute],
    ) -> Result<CK_OBJECT_HANDLE, CK_RV> {
        let mut mechanism = Mechanism::new(mechanism, &[]);
        let mut template = Template::of(template);
        let mut key = 0;
        match call!(
            self,
            C_GenerateKey(session, mechanism.pointer(), template.pointer(), template.count(), &mut key)
        ) {
            CKR_OK => Ok(key),
            rv => Err(rv),
        }
    }

    /// `C_GenerateKeyPair`: the public handle comes first.
    pub fn generate_key_pair(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: CK_MECHANISM_TYPE,
        public: &[Attribute],
        private: &[Attribute],
    ) -> Result<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE), CK_RV> {
        let mut mechanism = Mechanism::new(mechanism, &[]);
        let (mut public, mut private) = (Template::of(public), Template::of(private));
        let mut keys = (0, 0);
        match call!(
            self,
            C_GenerateKeyPair(
                session,
                mechanism.pointer(),
                public.pointer(),
                public.count(),
                private.pointer(),
                private.count(),
                &mut keys.0,
                &mut keys.1
            )
        ) {
            CKR_OK => Ok(keys),
            rv => Err(rv),
        }
    }

    /// `C_FindObjectsInit`, `C_FindObjects` and `C_FindObjectsFinal`.
    pub fn find(
        &self,
        session: CK_SESSION_HANDLE,
        template: &[Attribute],
    ) -> Result<Vec<CK_OBJECT_HANDLE>, CK_RV> {
        let mut template = Template::of(template);
        match call!(self, C_FindObjectsInit(session, template.pointer(), template.count())) {
            CKR_OK => {}
            rv => return Err(rv),
        }
        let mut all = Vec::new();
        loop {
            let (mut found, mut count) = ([0; 64], 0);
            assert_rv!(call!(self, C_FindObjects(session, found.as_mut_ptr(), 64, &mut count)), CKR_OK);
            all.extend_from_slice(&found[..count as usize]);
            if count == 0 {
                break;
            }
        }
        assert_rv!(call!(self, C_FindObjectsFinal(session)), CKR_OK);
        Ok(all)
    }

    /// The OTP key of a user.
    pub fn user_key(&self, session: CK_SESSION_HANDLE, name: &str) -> CK_OBJECT_HANDLE {
        self.only(session, CKO_OTP_KEY, name)
    }

    /// The private key of a wallet.
    pub fn wallet_key(&self, session: CK_SESSION_HANDLE, label: &str) -> CK_OBJECT_HANDLE {
        self.only(session, CKO_PRIVATE_KEY, label)
    }

    /// The public key of a wallet.
    pub fn wallet_public(&self, session: CK_SESSION_HANDLE, label: &str) -> CK_OBJECT_HANDLE {
        self.only(session, CKO_PUBLIC_KEY, label)
    }

    fn only(&self, session: CK_SESSION_HANDLE, class: CK_OBJECT_CLASS, label: &str) -> CK_OBJECT_HANDLE {
        let template = [(CKA_CLASS, super::ulong(class)), (CKA_LABEL, label.as_bytes().to_vec())];
        let found =
            self.find(session, &template).unwrap_or_else(|rv| panic!("C_FindObjects answered {rv:#x}"));
        assert_eq!(found.len(), 1, "objects of class {class} called {label}");
        found[0]
    }

    /// `C_GetAttributeValue` of one attribute: its length first, then its value.
    pub fn attribute(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        kind: CK_ATTRIBUTE_TYPE,
    ) -> Result<Vec<u8>, CK_RV> {
        let mut one = CK_ATTRIBUTE { type_: kind, pValue: ptr::null_mut(), ulValueLen: 0 };
        match call!(self, C_GetAttributeValue(session, object, &mut one, 1)) {
            CKR_OK => {}
            rv => return Err(rv),
        }
        let mut value = vec![0u8; one.ulValueLen as usize];
        one.pValue = value.as_mut_ptr().cast();
        match call!(self, C_GetAttributeValue(session, object, &mut one, 1)) {
            CKR_OK => Ok(value),
            rv => Err(rv),
        }
    }

    /// `C_SetAttributeValue`.
    pub fn set_attributes(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        template: &[Attribute],
    ) -> CK_RV {
        let mut template = Template::of(template);
        call!(self, C_SetAttributeValue(session, object, template.pointer(), template.count()))
    }

    /// `C_CreateObject`.
    pub fn create(
        &self,
        session: CK_SESSION_HANDLE,
        template: &[Attribute],
    ) -> Result<CK_OBJECT_HANDLE, CK_RV> {
        let mut template = Template::of(template);
        let mut made = 0;
        match call!(self, C_CreateObject(session, template.pointer(), template.count(), &mut made)) {
            CKR_OK => Ok(made),
            rv => Err(rv),
        }
    }

    /// `C_CopyObject`.
    pub fn copy(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        template: &[Attribute],
    ) -> Result<CK_OBJECT_HANDLE, CK_RV> {
        let mut template = Template::of(template);
        let mut made = 0;
        match call!(self, C_CopyObject(session, object, template.pointer(), template.count(), &mut made)) {
            CKR_OK => Ok(made),
            rv => Err(rv),
        }
    }

    /// `C_GetObjectSize`.
    pub fn object_size(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
    ) -> Result<CK_ULONG, CK_RV> {
        let mut size = 0;
        match call!(self, C_GetObjectSize(session, object, &mut size)) {
            CKR_OK => Ok(size),
            rv => Err(rv),
        }
    }

    /// `C_DestroyObject`.
    pub fn destroy(&self, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> CK_RV {
        call!(self, C_DestroyObject(session, object))
    }

    /// `C_SignInit`.
    pub fn sign_init(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: CK_MECHANISM_TYPE,
        parameter: &[u8],
        key: CK_OBJECT_HANDLE,
    ) -> CK_RV {
        call!(self, C_SignInit(session, Mechanism::new(mechanism, parameter).pointer(), key))
    }

    /// `C_Sign`, once, with a buffer that is large enough.
    pub fn sign(&self, session: CK_SESSION_HANDLE, data: &[u8]) -> Result<Vec<u8>, CK_RV> {
        let mut data = data.to_vec();
        let mut signed = vec![0; data.len() + 4_096];
        let mut len = signed.len() as CK_ULONG;
        match call!(
            self,
            C_Sign(session, data.as_mut_ptr(), data.len() as CK_ULONG, signed.as_mut_ptr(), &mut len)
        ) {
            CKR_OK => {
                signed.truncate(len as usize);
                Ok(signed)
            }
            rv => Err(rv),
        }
    }

    /// `C_SignUpdate`.
    pub fn sign_update(&self, session: CK_SESSION_HANDLE, part: &[u8]) -> CK_RV {
        let mut part = part.to_vec();
        call!(self, C_SignUpdate(session, part.as_mut_ptr(), part.len() as CK_ULONG))
    }

    /// `C_SignFinal`, once, with a buffer that is large enough.
    pub fn sign_final(&self, session: CK_SESSION_HANDLE) -> Result<Vec<u8>, CK_RV> {
        let mut signed = vec![0; 1 << 16];
        let mut len = signed.len() as CK_ULONG;
        match call!(self, C_SignFinal(session, signed.as_mut_ptr(), &mut len)) {
            CKR_OK => {
                signed.truncate(len as usize);
                Ok(signed)
            }
            rv => Err(rv),
        }
    }

    /// Signs with the code in the mechanism's parameter: `C_SignInit` with an approval, and `C_Sign`.
    pub fn countersign(
        &self,
        session: CK_SESSION_HANDLE,
        key: CK_OBJECT_HANDLE,
        approval: &[u8],
        psbt: &[u8],
    ) -> Result<Vec<u8>, CK_RV> {
        match self.sign_init(session, CKM_COUNTERSIGN_PSBT, approval, key) {
            CKR_OK => self.sign(session, psbt),
            rv => Err(rv),
        }
    }

    /// `C_MessageSignInit`.
    pub fn message_sign_init(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: CK_MECHANISM_TYPE,
        key: CK_OBJECT_HANDLE,
    ) -> CK_RV {
        call_v3!(self, C_MessageSignInit(session, Mechanism::new(mechanism, &[]).pointer(), key))
    }

    /// `C_SignMessage`, once, with a buffer that is large enough.
    pub fn sign_message(
        &self,
        session: CK_SESSION_HANDLE,
        approval: &[u8],
        data: &[u8],
    ) -> Result<Vec<u8>, CK_RV> {
        let (mut approval, mut data) = (approval.to_vec(), data.to_vec());
        let mut signed = vec![0; data.len() + 4_096];
        let mut len = signed.len() as CK_ULONG;
        match call_v3!(
            self,
            C_SignMessage(
                session,
                approval.as_mut_ptr().cast(),
                approval.len() as CK_ULONG,
                data.as_mut_ptr(),
                data.len() as CK_ULONG,
                signed.as_mut_ptr(),
                &mut len
            )
        ) {
            CKR_OK => {
                signed.truncate(len as usize);
                Ok(signed)
            }
            rv => Err(rv),
        }
    }

    /// `C_MessageSignFinal`.
    pub fn message_sign_final(&self, session: CK_SESSION_HANDLE) -> CK_RV {
        call_v3!(self, C_MessageSignFinal(session))
    }

    /// `C_VerifyInit` on a user's OTP key.
    pub fn verify_init(&self, session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE) -> CK_RV {
        call!(self, C_VerifyInit(session, Mechanism::new(CKM_COUNTERSIGN_TOTP, &[]).pointer(), key))
    }

    /// `C_Verify`.
    pub fn verify_code(&self, session: CK_SESSION_HANDLE, data: &[u8], code: &[u8]) -> CK_RV {
        let (mut data, mut code) = (data.to_vec(), code.to_vec());
        call!(
            self,
            C_Verify(
                session,
                data.as_mut_ptr(),
                data.len() as CK_ULONG,
                code.as_mut_ptr(),
                code.len() as CK_ULONG
            )
        )
    }

    /// `C_VerifyInit` and `C_Verify` of a code.
    pub fn verify(&self, session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE, code: &str) -> CK_RV {
        match self.verify_init(session, key) {
            CKR_OK => self.verify_code(session, &[], code.as_bytes()),
            rv => rv,
        }
    }

    /// `C_VerifySignatureInit` on a user's OTP key.
    pub fn verify_signature_init(
        &self,
        session: CK_SESSION_HANDLE,
        key: CK_OBJECT_HANDLE,
        code: &str,
    ) -> CK_RV {
        let (mut mechanism, mut code) = (Mechanism::new(CKM_COUNTERSIGN_TOTP, &[]), code.as_bytes().to_vec());
        let (pointer, len) = (code.as_mut_ptr(), code.len() as CK_ULONG);
        call_v3_2!(self, C_VerifySignatureInit(session, mechanism.pointer(), key, pointer, len))
    }

    /// `C_GenerateRandom`.
    pub fn random(&self, session: CK_SESSION_HANDLE, len: usize) -> Result<Vec<u8>, CK_RV> {
        let mut bytes = vec![0; len];
        match call!(self, C_GenerateRandom(session, bytes.as_mut_ptr(), len as CK_ULONG)) {
            CKR_OK => Ok(bytes),
            rv => Err(rv),
        }
    }
}

/// A mechanism that owns its parameter.
pub struct Mechanism {
    raw: CK_MECHANISM,
    parameter: Vec<u8>,
}

impl Mechanism {
    /// The mechanism with its parameter, or with null if that is empty.
    pub fn new(mechanism: CK_MECHANISM_TYPE, parameter: &[u8]) -> Mechanism {
        let raw = CK_MECHANISM {
            mechanism,
            pParameter: ptr::null_mut(),
            ulParameterLen: parameter.len() as CK_ULONG,
        };
        Mechanism { raw, parameter: parameter.to_vec() }
    }

    /// The pointer for a call.
    pub fn pointer(&mut self) -> CK_MECHANISM_PTR {
        if !self.parameter.is_empty() {
            self.raw.pParameter = self.parameter.as_mut_ptr().cast();
        }
        &mut self.raw
    }
}

/// A template that owns its values.
pub struct Template {
    entries: Vec<CK_ATTRIBUTE>,
    _values: Vec<Vec<u8>>,
}

impl Template {
    /// Copies the attributes.
    pub fn of(attributes: &[Attribute]) -> Template {
        let mut values: Vec<Vec<u8>> = attributes.iter().map(|(_, value)| value.clone()).collect();
        let entries = attributes
            .iter()
            .zip(&mut values)
            .map(|((kind, _), value)| CK_ATTRIBUTE {
                type_: *kind,
                pValue: value.as_mut_ptr().cast(),
                ulValueLen: value.len() as CK_ULONG,
            })
            .collect();
        Template { entries, _values: values }
    }

    /// The pointer for a call, or null without attributes.
    pub fn pointer(&mut self) -> CK_ATTRIBUTE_PTR {
        if self.entries.is_empty() { ptr::null_mut() } else { self.entries.as_mut_ptr() }
    }

    /// The number of attributes.
    pub fn count(&self) -> CK_ULONG {
        self.entries.len() as CK_ULONG
    }
}
