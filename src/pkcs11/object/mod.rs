//! Object management (PKCS#11 v2.40 section 5.7).

use std::sync::Arc;

use cryptoki_sys::*;
use zeroize::Zeroizing;

use super::attributes::{self, Hidden, bool_value};
use super::call::{Bytes, Found, Room, Shown, TemplateEntry, Wanted};
use super::key_management::{text, user_list};
use super::module::{Module, Object, Session};
use super::rv::{Answer, Rv};
use super::vendor::*;
use crate::admin::WalletChange;
use crate::engine::{UserView, WalletId};
use crate::kernel::clock::ClockError;
use crate::kernel::utc;
use crate::kernel::wallet::Wallet;

/// An object as it is now.
enum Loaded {
    User(UserView),
    WalletPublic(Arc<Wallet>),
    WalletPrivate(Arc<Wallet>),
    Clock { now: u64, refusal: Option<ClockError> },
}

impl Loaded {
    fn attribute(&self, kind: CK_ATTRIBUTE_TYPE) -> Result<Vec<u8>, Hidden> {
        match self {
            Loaded::User(user) => attributes::of_user(user, kind),
            Loaded::WalletPublic(wallet) => attributes::of_public(wallet, kind),
            Loaded::WalletPrivate(wallet) => attributes::of_private(wallet, kind),
            Loaded::Clock { now, refusal } => attributes::of_clock(*now, *refusal, kind),
        }
    }

    fn matches(&self, template: &[TemplateEntry]) -> bool {
        template.iter().all(|entry| self.attribute(entry.kind).is_ok_and(|value| value == entry.value[..]))
    }
}

impl Module {
    /// `C_FindObjectsInit`: what is visible and matches every attribute of the template.
    pub(super) fn find_objects_init(&self, session: CK_SESSION_HANDLE, template: &[TemplateEntry]) -> Answer {
        self.with_session(session, |session| {
            if session.found.is_some() {
                return Err(Rv(CKR_OPERATION_ACTIVE));
            }
            let mut found = Vec::new();
            for object in self.candidates(template)? {
                if self.load(&object)?.is_some_and(|loaded| loaded.matches(template)) {
                    let signs = matches!(object, Object::WalletPrivate(_));
                    found.push(Found { handle: self.handle_of(object)?, signs });
                }
            }
            found.sort_unstable_by_key(|found| found.handle);
            session.found = Some(found.into_iter());
            Ok(())
        })
    }

    /// `C_FindObjects`: at most `most` further handles.
    pub(super) fn find_objects(&self, session: CK_SESSION_HANDLE, most: usize) -> Answer<Vec<Found>> {
        self.with_session(session, |session| {
            let found = session.found.as_mut().ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
            Ok(found.by_ref().take(most).collect())
        })
    }

    /// `C_FindObjectsFinal`.
    pub(super) fn find_objects_final(&self, session: CK_SESSION_HANDLE) -> Answer {
        self.with_session(session, |session| {
            session.found.take().map(drop).ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))
        })
    }

    /// `C_GetAttributeValue`: every one is answered.
    pub(super) fn get_attribute_value(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        wanted: &[Wanted],
    ) -> Answer<Vec<Answer<Shown>>> {
        self.with_session(session, |session| {
            let object = self.object_of(object)?;
            let loaded = self.load(&object)?.ok_or(Rv(CKR_OBJECT_HANDLE_INVALID))?;
            Ok(wanted
                .iter()
                .map(|Wanted { kind, room }| match (&loaded, *kind) {
                    (Loaded::WalletPublic(_) | Loaded::WalletPrivate(_), CKA_COUNTERSIGN_REACH) => {
                        self.show_reach(&object, *room)
                    }
                    (Loaded::User(user), CKA_COUNTERSIGN_OTPAUTH_URI) => {
                        show_enrolment(session, &user.name, *room)
                    }
                    (_, kind) => show(loaded.attribute(kind), *room),
                })
                .collect())
        })
    }

    /// `C_SetAttributeValue`: all of the template or nothing.
    pub(super) fn set_attribute_value(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        template: &[TemplateEntry],
    ) -> Answer {
        self.with_session(session, |session| {
            let object = self.object_of(object)?;
            match &object {
                Object::User(name) => {
                    check_unlocking(template)?;
                    self.require_so(session)?;
                    if template.is_empty() { Ok(()) } else { Ok(self.engine.unlock_user(name)?) }
                }
                Object::Clock => {
                    let time = clock_change(template)?;
                    self.require_so(session)?;
                    time.map_or(Ok(()), |time| Ok(self.engine.take_clock(time)?))
                }
                Object::WalletPublic(id) | Object::WalletPrivate(id) => {
                    let change = wallet_change(template)?;
                    self.require_so(session)?;
                    if template.is_empty() { Ok(()) } else { Ok(self.engine.change_wallet(id, change)?) }
                }
            }
        })
    }

    /// `C_DestroyObject`: a user whom no wallet lists. A wallet is never destroyed: there may be coins in it.
    pub(super) fn destroy_object(&self, session: CK_SESSION_HANDLE, handle: CK_OBJECT_HANDLE) -> Answer {
        self.with_session(session, |session| {
            let Object::User(name) = self.object_of(handle)? else { return Err(Rv(CKR_ACTION_PROHIBITED)) };
            self.require_so(session)?;
            self.engine.remove_user(&name)?;
            session.enrolments.remove(&name);
            self.forget(handle);
            Ok(())
        })
    }

    /// The visible objects that can match: by name or by id where the template has one, else all. A user is looked up, not
    /// searched for: there may be a million.
    fn candidates(&self, template: &[TemplateEntry]) -> Answer<Vec<Object>> {
        // Hardware features are found by who asks for them, and by nobody else (section 4.3.1).
        let asks_for = |entry: &TemplateEntry| {
            entry.kind == CKA_CLASS && attributes::ulong_value(&entry.value) == Ok(CKO_HW_FEATURE)
        };
        if template.iter().any(asks_for) {
            return Ok(vec![Object::Clock]);
        }
        let sees_private = self.role().is_some();
        let value = |kinds: &[CK_ATTRIBUTE_TYPE]| {
            template.iter().find(|entry| kinds.contains(&entry.kind)).map(|entry| &entry.value[..])
        };
        let name = value(&[CKA_LABEL, CKA_OTP_USER_IDENTIFIER]).map(core::str::from_utf8);
        let id = value(&[CKA_ID]);
        let mut objects = Vec::new();
        let wallets: Vec<(WalletId, Arc<Wallet>)> = self.engine.wallets();
        for (wallet_id, wallet) in wallets {
            let is_named = name.is_none_or(|name| name == Ok(wallet.label()));
            if is_named && id.is_none_or(|id| id == wallet.cka_id()) {
                objects.push(Object::WalletPublic(wallet_id));
                if sees_private {
                    objects.push(Object::WalletPrivate(wallet_id));
                }
            }
        }
        if sees_private {
            match (name, id) {
                (Some(Ok(name)), _) => objects.push(Object::User(name.to_owned())),
                (Some(Err(_)), _) => {}
                (None, Some(id)) => objects.extend(self.engine.user_name_of(id)?.map(Object::User)),
                (None, None) => objects.extend(self.engine.user_names()?.into_iter().map(Object::User)),
            }
        }
        Ok(objects)
    }

    /// State that changes with every signature is read when it is asked for.
    fn show_reach(&self, object: &Object, room: Room) -> Answer<Shown> {
        let (Object::WalletPublic(id) | Object::WalletPrivate(id)) = object else {
            return Err(Rv(CKR_ATTRIBUTE_TYPE_INVALID));
        };
        show(Ok(attributes::reach(self.engine.reach(id)?)), room)
    }

    fn load(&self, object: &Object) -> Answer<Option<Loaded>> {
        Ok(match object {
            Object::User(name) => self.engine.user(name)?.map(Loaded::User),
            Object::WalletPublic(id) => Some(Loaded::WalletPublic(self.engine.wallet(id)?)),
            Object::WalletPrivate(id) => Some(Loaded::WalletPrivate(self.engine.wallet(id)?)),
            Object::Clock => {
                let (now, refusal) = (self.engine.clock_time(), self.engine.clock_refusal()?);
                Some(Loaded::Clock { now, refusal })
            }
        })
    }
}

/// The value, wiped where it is not shown, or its length, or why not (section 5.7, `C_GetAttributeValue`, cases 1 to 5).
fn show(value: Result<Vec<u8>, Hidden>, room: Room) -> Answer<Shown> {
    let value = value.map(Zeroizing::new).map_err(|hidden| match hidden {
        Hidden::Sensitive => Rv(CKR_ATTRIBUTE_SENSITIVE),
        Hidden::Unknown => Rv(CKR_ATTRIBUTE_TYPE_INVALID),
    })?;
    match room {
        Room::Query => Ok(Shown::Length(value.len() as u64)),
        room if room.fits(value.len()) => Ok(Shown::Value(Bytes(value))),
        Room::Of(_) => Err(Rv(CKR_BUFFER_TOO_SMALL)),
    }
}

/// Shows the `otpauth://` URI once: a length query does not count, a delivery does.
fn show_enrolment(session: &mut Session, name: &str, room: Room) -> Answer<Shown> {
    let uri = session.enrolments.get(name).ok_or(Rv(CKR_ATTRIBUTE_SENSITIVE))?;
    let shown = show(Ok(uri.as_bytes().to_vec()), room)?;
    if matches!(shown, Shown::Value(_)) {
        session.enrolments.remove(name);
    }
    Ok(shown)
}

/// All that can be set of a user: `CKA_COUNTERSIGN_LOCKED`, to false.
fn check_unlocking(template: &[TemplateEntry]) -> Answer {
    template.iter().try_for_each(|TemplateEntry { kind, value }| match *kind {
        CKA_COUNTERSIGN_LOCKED if !bool_value(value)? => Ok(()),
        CKA_COUNTERSIGN_LOCKED => Err(Rv(CKR_ATTRIBUTE_VALUE_INVALID)),
        other => Err(not_to_be_set(other)),
    })
}

/// All that can be set of the clock: the time that it shows.
fn clock_change(template: &[TemplateEntry]) -> Answer<Option<u64>> {
    let mut time = None;
    for TemplateEntry { kind, value } in template {
        match *kind {
            CKA_VALUE => time = Some(utc::from_digits(value).ok_or(Rv(CKR_ATTRIBUTE_VALUE_INVALID))?),
            other => return Err(not_to_be_set(other)),
        }
    }
    Ok(time)
}

/// All that can be set of a wallet: its label, its users, its policy as a whole, and once its wallet policy.
fn wallet_change(template: &[TemplateEntry]) -> Answer<WalletChange> {
    let mut change = WalletChange::default();
    for TemplateEntry { kind, value } in template {
        match *kind {
            CKA_LABEL => change.label = Some(text(value)?),
            CKA_COUNTERSIGN_USERS => change.users = Some(user_list(&text(value)?)),
            CKA_COUNTERSIGN_POLICY => change.policy = Some(text(value)?),
            CKA_COUNTERSIGN_WALLET_POLICY => change.registration = Some(text(value)?),
            other => return Err(not_to_be_set(other)),
        }
    }
    Ok(change)
}

fn not_to_be_set(kind: CK_ATTRIBUTE_TYPE) -> Rv {
    if attributes::is_known(kind) { Rv(CKR_ATTRIBUTE_READ_ONLY) } else { Rv(CKR_ATTRIBUTE_TYPE_INVALID) }
}
