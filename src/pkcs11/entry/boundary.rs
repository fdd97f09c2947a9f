//! The entry functions of `countersign serve`: see [`crate::remote::interface`].

use cryptoki_sys::*;

use super::enter;
use crate::pkcs11::host;
use crate::pkcs11::raw;
use crate::pkcs11::rv::Rv;
use crate::remote::{PeerRole, interface};
use crate::shell::log;

entries! {
    fn boundary_open() {
        host::open()
    }

    fn boundary_begin(
        first_handle: CK_ULONG,
        role: CK_ULONG,
        identity: *const u8,
        identity_len: CK_ULONG,
        application: CK_ULONG_PTR,
    ) {
        let role = match role {
            interface::BACKEND => PeerRole::Backend,
            interface::ADMINISTRATOR => PeerRole::Administrator,
            interface::DESK => PeerRole::Desk,
            _ => return Err(Rv(CKR_ARGUMENTS_BAD)),
        };
        let identity = raw::borrowed(identity, identity_len)?;
        raw::put(application, host::begin(first_handle, role, identity)?)
    }

    fn boundary_call(
        application: CK_ULONG,
        request: *const u8,
        request_len: CK_ULONG,
        deliver: interface::Deliver,
        context: CK_VOID_PTR,
    ) {
        let answer = host::answer(application, raw::borrowed(request, request_len)?)?;
        deliver(context, answer.bytes.as_ptr(), answer.bytes.len() as CK_ULONG);
        Ok(())
    }

    fn boundary_end(application: CK_ULONG) {
        host::end(application)
    }

    fn boundary_close() {
        host::close()
    }

    fn boundary_standing(bits: CK_ULONG_PTR) {
        raw::put(bits, host::standing()?.bits())
    }

    fn boundary_newest_line(deliver: interface::Deliver, context: CK_VOID_PTR) {
        let line = log::take_newest().unwrap_or_default();
        deliver(context, line.as_ptr(), line.len() as CK_ULONG);
        Ok(())
    }

    fn boundary_administration(deliver: interface::Deliver, context: CK_VOID_PTR) {
        let answer = host::administration()?;
        deliver(context, answer.as_ptr(), answer.len() as CK_ULONG);
        Ok(())
    }
}
