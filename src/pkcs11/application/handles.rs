//! The handles of objects: each application numbers them for itself.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use cryptoki_sys::*;

use super::Application;
use crate::engine::KeyId;
use crate::kernel::factor::TicketId;
use crate::kernel::motion::Nonce;
use crate::kernel::otp::OtpKeyId;
use crate::kernel::pin::Role;
use crate::pkcs11::attributes::{KeyKind, Side};
use crate::pkcs11::rv::{Answer, Rv};

/// The most object handles of all backends at a time, of all administrators, and of the desk: enough for twice a million
/// users with their wallets.
const MAX_ALL_HANDLES: usize = 1 << 22;

/// The object behind a handle.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::pkcs11) enum Object {
    /// A user's OTP key. Enrolling the user again makes another one.
    User { name: String, key_id: OtpKeyId },
    /// One side of a wallet or of a key that signs digests.
    Key(KeyKind, Side, KeyId),
    /// The clock.
    Clock,
    /// The state of the backends' PIN, for the security officer.
    UserPin,
    /// The freeze of everything.
    Freeze,
    /// The officers.
    Officers,
    /// A proposed act.
    Proposal(Nonce),
    /// A proposed transaction.
    Pending(TicketId),
    /// The profile that the token conforms to.
    Profile,
    /// An object that the application made itself.
    Session { number: u64, is_private: bool },
}

impl Object {
    /// Whether it is invisible without login (`CKA_PRIVATE`).
    pub(in crate::pkcs11) fn is_private(&self) -> bool {
        match self {
            Object::User { .. } | Object::Key(_, Side::Private, _) | Object::UserPin | Object::Pending(_) => {
                true
            }
            Object::Key(_, Side::Public, _)
            | Object::Clock
            | Object::Freeze
            | Object::Officers
            | Object::Proposal(_)
            | Object::Profile => false,
            Object::Session { is_private, .. } => *is_private,
        }
    }

    /// Whether the present login sees it. The security officer sees the objects to administer, and none of
    /// the user's private objects.
    fn is_visible_to(&self, role: Option<Role>) -> bool {
        match self {
            Object::Session { is_private: true, .. } => role == Some(Role::User),
            Object::UserPin => role == Some(Role::So),
            object => role.is_some() || !object.is_private(),
        }
    }
}

#[derive(Default)]
pub(super) struct Handles {
    objects: HashMap<CK_OBJECT_HANDLE, Object>,
    handles: HashMap<Object, CK_OBJECT_HANDLE>,
    last: CK_OBJECT_HANDLE,
}

impl Application {
    /// The handle of an object. It stays the same while the object is visible.
    pub(in crate::pkcs11) fn handle_of(&self, object: Object) -> Answer<CK_OBJECT_HANDLE> {
        let mut handles = self.handles();
        if let Some(handle) = handles.handles.get(&object) {
            return Ok(*handle);
        }
        if self.totals.handles.load(Ordering::SeqCst) >= MAX_ALL_HANDLES {
            return Err(Rv(CKR_DEVICE_MEMORY));
        }
        self.totals.handles.fetch_add(1, Ordering::SeqCst);
        handles.last += 1;
        let handle = handles.last;
        handles.objects.insert(handle, object.clone());
        handles.handles.insert(object, handle);
        Ok(handle)
    }

    /// The object of a handle, if the present login sees it and it still exists.
    pub(in crate::pkcs11) fn object_of(&self, handle: CK_OBJECT_HANDLE) -> Answer<Object> {
        let object = self.visible_object(handle)?;
        let is_there = match &object {
            Object::User { name, key_id } => {
                self.engine.user(name)?.is_some_and(|user| user.key_id == *key_id)
            }
            Object::Session { number, .. } => self.session_object(*number).is_some(),
            Object::Proposal(nonce) => self.engine.proposal(nonce)?.is_some(),
            Object::Pending(ticket) => self.engine.has_ticket(ticket, self.whose_tickets())?,
            // Never destroyed.
            Object::Key(..)
            | Object::Clock
            | Object::UserPin
            | Object::Freeze
            | Object::Officers
            | Object::Profile => true,
        };
        if !is_there {
            self.forget_object(&object);
            return Err(Rv(CKR_OBJECT_HANDLE_INVALID));
        }
        Ok(object)
    }

    /// The object of a handle, if the present login sees it. Another application may have destroyed it.
    pub(in crate::pkcs11) fn visible_object(&self, handle: CK_OBJECT_HANDLE) -> Answer<Object> {
        let object = self.handles().objects.get(&handle).cloned().ok_or(Rv(CKR_OBJECT_HANDLE_INVALID))?;
        if self.sees(&object) { Ok(object) } else { Err(Rv(CKR_OBJECT_HANDLE_INVALID)) }
    }

    /// Whether the caller sees the object with its present login. The desk logs in as nobody, and sees proposed transactions alone.
    pub(in crate::pkcs11) fn sees(&self, object: &Object) -> bool {
        match object {
            Object::Pending(_) if self.is_desk() => true,
            object => !self.is_desk() && object.is_visible_to(self.role()),
        }
    }

    /// Forgets the handle of an object that is gone.
    pub(in crate::pkcs11) fn forget_object(&self, object: &Object) {
        let mut handles = self.handles();
        if let Some(handle) = handles.handles.remove(object) {
            handles.objects.remove(&handle);
            self.totals.handles.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Forgets the handles of private objects. A later login gets others (PKCS#11 v3.2, `C_Logout`).
    pub(super) fn forget_private_objects(&self) {
        let mut handles = self.handles();
        let Handles { objects, handles: by_object, .. } = &mut *handles;
        let before = objects.len();
        objects.retain(|_, object| !object.is_private());
        by_object.retain(|object, _| !object.is_private());
        self.totals.handles.fetch_sub(before - objects.len(), Ordering::SeqCst);
    }

    fn handles(&self) -> MutexGuard<'_, Handles> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many handles the application has.
    pub(super) fn handle_count(&self) -> usize {
        self.handles().objects.len()
    }
}

impl Handles {
    /// No handles. The next one follows `last`.
    pub(super) fn after(last: CK_OBJECT_HANDLE) -> Handles {
        Handles { last, ..Handles::default() }
    }
}
