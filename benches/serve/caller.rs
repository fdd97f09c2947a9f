//! A backend that calls a module by its function table: the module in this process, or the client.

#![allow(unsafe_code, reason = "the C interface")]

use std::path::Path;
use std::ptr;

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

/// A module's function table.
#[derive(Clone, Copy)]
pub(crate) struct Module(CK_FUNCTION_LIST);

/// A session of a module.
pub(crate) struct Session {
    module: Module,
    handle: CK_SESSION_HANDLE,
    out: Vec<u8>,
}

impl Module {
    /// The module that is linked into this process, with the engine that was installed.
    pub(crate) fn of_this_process() -> Module {
        let mut list = ptr::null_mut();
        // SAFETY: the list is static and comes from the library itself.
        unsafe {
            assert_eq!(countersign::pkcs11::C_GetFunctionList(&mut list), CKR_OK);
            Module(*list)
        }
    }

    /// The client: a library of its own, initialised with the configuration in `folder`.
    pub(crate) fn client(folder: &Path) -> Module {
        let executable = std::env::current_exe().expect("the system names it");
        let library = executable.ancestors().nth(2).expect("it is in deps/").join("libcountersign.so");
        // SAFETY: no other thread looks at the environment yet.
        unsafe { std::env::set_var("COUNTERSIGN_CONF", folder.join("client.toml")) };
        // SAFETY: a PKCS#11 module runs nothing of consequence when it is loaded.
        let library = unsafe { Pkcs11::new(&library) }
            .unwrap_or_else(|error| panic!("{error}; run `cargo build --release` first"));
        let library: &'static Pkcs11 = Box::leak(Box::new(library));
        let mut list = ptr::null_mut();
        // SAFETY: the pointer is to a local, and the library stays loaded.
        unsafe {
            assert_eq!(library.C_GetFunctionList(&mut list), CKR_OK);
            let module = Module(*list);
            assert_eq!(module.0.C_Initialize.expect("there")(ptr::null_mut()), CKR_OK, "C_Initialize");
            module
        }
    }

    /// Finalises the module.
    pub(crate) fn finalize(self) {
        // SAFETY: C_Finalize takes null.
        unsafe { assert_eq!(self.0.C_Finalize.expect("there")(ptr::null_mut()), CKR_OK) };
    }

    pub(crate) fn open(self) -> Session {
        let mut handle = 0;
        let flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
        // SAFETY: the pointer is to a local.
        let rv =
            unsafe { self.0.C_OpenSession.expect("there")(0, flags, ptr::null_mut(), None, &mut handle) };
        assert_eq!(rv, CKR_OK, "C_OpenSession");
        Session { module: self, handle, out: vec![0; 4_096] }
    }
}

impl Session {
    /// Logs the user in.
    pub(crate) fn log_in(&self) {
        let mut pin = *b"user-pin";
        // SAFETY: the pointer is to a local of that length.
        let rv = unsafe {
            self.module.0.C_Login.expect("there")(
                self.handle,
                CKU_USER,
                pin.as_mut_ptr(),
                pin.len() as CK_ULONG,
            )
        };
        assert_eq!(rv, CKR_OK, "C_Login");
    }

    /// The key of the wallet with this label.
    pub(crate) fn key(&self, label: &str) -> CK_OBJECT_HANDLE {
        let (mut key, mut found, mut label) = (0, 0, label.as_bytes().to_vec());
        let mut class: CK_OBJECT_CLASS = CKO_PRIVATE_KEY;
        let attribute = |type_, value: *mut u8, len: usize| CK_ATTRIBUTE {
            type_,
            pValue: value.cast(),
            ulValueLen: len as CK_ULONG,
        };
        let mut template = [
            attribute(CKA_CLASS, ptr::from_mut(&mut class).cast(), size_of::<CK_OBJECT_CLASS>()),
            attribute(CKA_LABEL, label.as_mut_ptr(), label.len()),
        ];
        let list = &self.module.0;
        // SAFETY: every pointer is to memory of the length beside it, alive until the calls return.
        unsafe {
            let rv = list.C_FindObjectsInit.expect("there")(self.handle, template.as_mut_ptr(), 2);
            assert_eq!(rv, CKR_OK);
            let rv = list.C_FindObjects.expect("there")(self.handle, &mut key, 1, &mut found);
            assert_eq!((rv, found), (CKR_OK, 1), "the key of {}", String::from_utf8_lossy(&label));
            assert_eq!(list.C_FindObjectsFinal.expect("there")(self.handle), CKR_OK);
        }
        key
    }

    /// `C_SignInit` and `C_Sign`, into a buffer that is large enough.
    pub(crate) fn sign(&mut self, key: CK_OBJECT_HANDLE, parameter: &mut [u8], psbt: &mut [u8]) {
        let mut mechanism = CK_MECHANISM {
            mechanism: CKM_COUNTERSIGN_PSBT,
            pParameter: parameter.as_mut_ptr().cast(),
            ulParameterLen: parameter.len() as CK_ULONG,
        };
        let mut len = self.out.len() as CK_ULONG;
        let list = &self.module.0;
        // SAFETY: every pointer is to memory of the length beside it, alive until the calls return.
        unsafe {
            let rv = list.C_SignInit.expect("there")(self.handle, &mut mechanism, key);
            assert_eq!(rv, CKR_OK, "C_SignInit");
            let (data, out) = (psbt.as_mut_ptr(), self.out.as_mut_ptr());
            let rv = list.C_Sign.expect("there")(self.handle, data, psbt.len() as CK_ULONG, out, &mut len);
            assert_eq!(rv, CKR_OK, "C_Sign");
        }
    }
}

/// One approval as the mechanism parameter has it.
pub(crate) fn parameter(user: &str, code: &str) -> Vec<u8> {
    let mut record = vec![0; 128];
    record[..4].copy_from_slice(&[1, 1, user.len() as u8, code.len() as u8]);
    record[4..4 + user.len()].copy_from_slice(user.as_bytes());
    record[64..64 + code.len()].copy_from_slice(code.as_bytes());
    record
}
