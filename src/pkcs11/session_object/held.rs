//! The session objects of an application, and the bounds on their number.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};

use cryptoki_sys::*;

use super::super::application::{Application, Object, Totals};
use super::super::rv::{Answer, Rv};
use super::SessionObject;
use crate::kernel::pin::Role;

/// The most session objects of an application, and the most bytes of their values.
const MAX_OBJECTS: usize = 1_024;
const MAX_BYTES: usize = 1 << 20;
/// The same for all backends, and for all administrators.
const MAX_ALL_OBJECTS: usize = 65_536;
const MAX_ALL_BYTES: usize = 64 << 20;

/// The session objects of an application, by their numbers, which are not used again.
#[derive(Default)]
pub(in crate::pkcs11) struct Held {
    objects: HashMap<u64, Entry>,
    usage: Usage,
    last: u64,
}

struct Entry {
    /// The session that made it.
    owner: CK_SESSION_HANDLE,
    object: Arc<SessionObject>,
}

/// The number of session objects, and the bytes that they hold.
#[derive(Default)]
pub(in crate::pkcs11) struct Usage {
    objects: AtomicUsize,
    bytes: AtomicUsize,
}

impl Usage {
    /// Takes so much, or nothing if that would exceed the bounds.
    fn take(&self, [objects, bytes]: [usize; 2], [most_objects, most_bytes]: [usize; 2]) -> Answer {
        let objects_before = self.objects.fetch_add(objects, Ordering::SeqCst);
        let bytes_before = self.bytes.fetch_add(bytes, Ordering::SeqCst);
        if objects_before + objects > most_objects || bytes_before + bytes > most_bytes {
            self.give([objects, bytes]);
            return Err(Rv(CKR_DEVICE_MEMORY));
        }
        Ok(())
    }

    fn give(&self, [objects, bytes]: [usize; 2]) {
        self.objects.fetch_sub(objects, Ordering::SeqCst);
        self.bytes.fetch_sub(bytes, Ordering::SeqCst);
    }
}

impl Held {
    fn take(&self, totals: &Totals, amount: [usize; 2]) -> Answer {
        self.usage.take(amount, [MAX_OBJECTS, MAX_BYTES])?;
        totals
            .session_objects
            .take(amount, [MAX_ALL_OBJECTS, MAX_ALL_BYTES])
            .inspect_err(|_| self.usage.give(amount))
    }

    fn give(&self, totals: &Totals, amount: [usize; 2]) {
        self.usage.give(amount);
        totals.session_objects.give(amount);
    }
}

/// Locks are taken in this order: these objects first, then sessions or handles.
impl Application {
    /// Keeps an object that was made in `owner`, and returns its handle.
    pub(in crate::pkcs11) fn keep(
        &self,
        owner: CK_SESSION_HANDLE,
        object: SessionObject,
    ) -> Answer<CK_OBJECT_HANDLE> {
        let mut held = self.held();
        // Checked under the lock: a caller that closes the session or logs out comes here afterwards, and
        // finds the object.
        if !self.is_open(owner) {
            return Err(Rv(CKR_SESSION_HANDLE_INVALID));
        }
        if object.is_private() && self.role() != Some(Role::User) {
            return Err(Rv(CKR_USER_NOT_LOGGED_IN));
        }
        let amount = [1, object.len()];
        held.take(&self.totals, amount)?;
        held.last += 1;
        let number = held.last;
        let handle = self
            .handle_of(Object::Session { number, is_private: object.is_private() })
            .inspect_err(|_| held.give(&self.totals, amount))?;
        held.objects.insert(number, Entry { owner, object: Arc::new(object) });
        Ok(handle)
    }

    /// Keeps the draft of an act in place of the one that the session had.
    pub(in crate::pkcs11) fn keep_draft(
        &self,
        owner: CK_SESSION_HANDLE,
        draft: SessionObject,
    ) -> Answer<CK_OBJECT_HANDLE> {
        self.drop_draft(owner);
        self.keep(owner, draft)
    }

    /// Drops the draft of a session, if it has one.
    pub(in crate::pkcs11) fn drop_draft(&self, owner: CK_SESSION_HANDLE) {
        self.drop_session_objects(|entry, _| entry.owner != owner || !entry.object.is_draft());
    }

    /// Replaces an object with the result of `change`.
    pub(in crate::pkcs11) fn change_session_object(
        &self,
        number: u64,
        change: impl FnOnce(&SessionObject) -> Answer<SessionObject>,
    ) -> Answer {
        let mut held = self.held();
        let old = held.objects.get(&number).ok_or(Rv(CKR_OBJECT_HANDLE_INVALID))?;
        let new = Arc::new(change(&old.object)?);
        let (before, after) = (old.object.len(), new.len());
        held.take(&self.totals, [0, after.saturating_sub(before)])?;
        held.give(&self.totals, [0, before.saturating_sub(after)]);
        if let Some(entry) = held.objects.get_mut(&number) {
            entry.object = new;
        }
        Ok(())
    }

    /// The object with this number, if it still exists.
    pub(in crate::pkcs11) fn session_object(&self, number: u64) -> Option<Arc<SessionObject>> {
        self.held().objects.get(&number).map(|entry| Arc::clone(&entry.object))
    }

    /// All objects that are drafts of acts, or all others.
    pub(in crate::pkcs11) fn session_objects(&self, are_drafts: bool) -> Vec<Object> {
        let held = self.held();
        let object = |(number, entry): (&u64, &Entry)| Object::Session {
            number: *number,
            is_private: entry.object.is_private(),
        };
        held.objects.iter().filter(|(_, entry)| entry.object.is_draft() == are_drafts).map(object).collect()
    }

    /// Destroys an object.
    pub(in crate::pkcs11) fn drop_session_object(&self, number: u64) {
        self.drop_session_objects(|_, one| one != number);
    }

    /// Destroys the objects of closed sessions.
    pub(in crate::pkcs11) fn drop_orphans(&self) {
        self.drop_session_objects(|entry, _| self.is_open(entry.owner));
    }

    /// Destroys the private objects.
    pub(in crate::pkcs11) fn drop_private_session_objects(&self) {
        self.drop_session_objects(|entry, _| !entry.object.is_private());
    }

    fn drop_session_objects(&self, stays: impl Fn(&Entry, u64) -> bool) {
        let mut held = self.held();
        let mut freed = [0, 0];
        held.objects.retain(|number, entry| {
            let stays = stays(entry, *number);
            if !stays {
                freed = [freed[0] + 1, freed[1] + entry.object.len()];
                self.forget_object(&Object::Session {
                    number: *number,
                    is_private: entry.object.is_private(),
                });
            }
            stays
        });
        held.give(&self.totals, freed);
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing under this lock can panic half-way.
        self.session_objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_all_applications_is_bounded_and_given_back() {
        for (amount, applications) in [([MAX_OBJECTS, 0], 64), ([0, MAX_BYTES], 64)] {
            let totals = Totals::default();
            let held: Vec<Held> = (0..applications).map(|_| Held::default()).collect();
            for one in &held {
                assert_eq!(one.take(&totals, amount), Ok(()));
                assert_eq!(one.take(&totals, [1, 1]), Err(Rv(CKR_DEVICE_MEMORY)), "its own share");
            }
            let late = Held::default();
            assert_eq!(late.take(&totals, amount), Err(Rv(CKR_DEVICE_MEMORY)));
            held[0].give(&totals, amount);
            assert_eq!(late.take(&totals, amount), Ok(()), "nothing was kept of what was refused");
            assert_eq!(held[0].take(&totals, amount), Err(Rv(CKR_DEVICE_MEMORY)));
        }
    }
}
