//! The entry functions of object management (PKCS#11 v3.2 section 5.7).

use cryptoki_sys::*;

use super::enter;
use crate::pkcs11::instance::current;
use crate::pkcs11::raw;
use crate::pkcs11::reply::Reply;
use crate::pkcs11::request::Request;
use crate::pkcs11::rv::Rv;

entries! {
    fn c_create_object(
        session: CK_SESSION_HANDLE,
        template: CK_ATTRIBUTE_PTR,
        count: CK_ULONG,
        object: CK_OBJECT_HANDLE_PTR,
    ) {
        let instance = current()?;
        if object.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        let template = raw::template(template, count)?;
        let reply = instance.answer(Request::CreateObject { session, template })?;
        raw::put(object, expect!(reply, Reply::Created(made) => made))
    }

    fn c_copy_object(
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        template: CK_ATTRIBUTE_PTR,
        count: CK_ULONG,
        copy: CK_OBJECT_HANDLE_PTR,
    ) {
        let instance = current()?;
        if copy.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        let template = raw::template(template, count)?;
        let reply = instance.answer(Request::CopyObject { session, object, template })?;
        raw::put(copy, expect!(reply, Reply::Created(made) => made))
    }

    fn c_get_object_size(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, size: CK_ULONG_PTR) {
        let instance = current()?;
        if size.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        let reply = instance.answer(Request::GetObjectSize { session, object })?;
        raw::put(size, expect!(reply, Reply::Size(bytes) => bytes))
    }

    fn c_destroy_object(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) {
        current()?.perform(Request::DestroyObject { session, object })
    }

    fn c_get_attribute_value(
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        template: CK_ATTRIBUTE_PTR,
        count: CK_ULONG,
    ) {
        let instance = current()?;
        let slots = raw::slots(template, count)?;
        let wanted = slots.iter().map(|slot| slot.wanted()).collect();
        let reply = instance.answer(Request::GetAttributeValue { session, object, wanted })?;
        raw::fill(slots, expect!(reply, Reply::Attributes(shown) => shown))
    }

    fn c_set_attribute_value(
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        template: CK_ATTRIBUTE_PTR,
        count: CK_ULONG,
    ) {
        let instance = current()?;
        let template = raw::template(template, count)?;
        instance.perform(Request::SetAttributeValue { session, object, template })
    }

    fn c_find_objects_init(session: CK_SESSION_HANDLE, template: CK_ATTRIBUTE_PTR, count: CK_ULONG) {
        let instance = current()?;
        instance.perform(Request::FindObjectsInit { session, template: raw::template(template, count)? })
    }

    fn c_find_objects(
        session: CK_SESSION_HANDLE,
        objects: CK_OBJECT_HANDLE_PTR,
        most: CK_ULONG,
        count: CK_ULONG_PTR,
    ) {
        let instance = current()?;
        if objects.is_null() || count.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        let reply = instance.answer(Request::FindObjects { session, most })?;
        let found = expect!(reply, Reply::Found(found) => found);
        let handles: Vec<CK_OBJECT_HANDLE> = found.iter().map(|found| found.handle).collect();
        raw::put(count, most)?;
        raw::put_list(&handles, objects, count)
    }

    fn c_find_objects_final(session: CK_SESSION_HANDLE) {
        current()?.perform(Request::FindObjectsFinal { session })
    }
}
