//! Object management (PKCS#11 v3.2 section 5.7).
//!
//! Refusals come in this order: what the object never allows, whoever asks; then what the session may not do;
//! then what the template may not say.

mod change;
mod find;

pub(super) use find::Finding;

use std::sync::Arc;

use cryptoki_sys::*;
use zeroize::Zeroizing;

use super::acts;
use super::application::{Application, Object, Session};
use super::attributes::{self, Class, EcPair, Hidden, KeyKind, Side, Value};
use super::consents;
use super::key_pair;
use super::reply::Shown;
use super::request::{Bytes, Room, TemplateEntry, Wanted};
use super::rv::{Answer, Rv};
use super::session_object::SessionObject;
use super::template::{bool_value, each_once, value_of};
use super::vendor::*;
use crate::admin::{Act, Target, UserId};
use crate::engine::{KeyId, PendingView, ProposalView, UserPinView, UserView};
use crate::kernel::clock::ClockError;
use crate::kernel::officer::Council;
use crate::kernel::otp::OtpKeyId;

/// An object in its present state.
enum Loaded {
    User(UserView),
    Key { kind: KeyKind, side: Side, id: KeyId, pair: Arc<dyn EcPair> },
    Clock { now: u64, refusal: Option<ClockError> },
    UserPin(UserPinView),
    Freeze { is_frozen: bool },
    Officers(Option<Council>),
    Proposal(Box<ProposalView>),
    Pending(Box<PendingView>),
    Profile,
    Session(Arc<SessionObject>),
}

impl Loaded {
    fn class(&self) -> Class {
        match self {
            Loaded::User(_) => Class::OtpKey,
            Loaded::Key { kind, side, .. } => Class::Key(*kind, *side),
            Loaded::Clock { .. } => Class::Clock,
            Loaded::UserPin(_) => Class::UserPin,
            Loaded::Freeze { .. } => Class::Freeze,
            Loaded::Officers(_) => Class::Officers,
            Loaded::Proposal(_) => Class::Proposal,
            Loaded::Pending(_) => Class::Pending,
            Loaded::Profile => Class::Profile,
            Loaded::Session(object) => object.class(),
        }
    }

    fn attribute(&self, kind: CK_ATTRIBUTE_TYPE) -> Value {
        match self {
            Loaded::User(user) => attributes::of_user(user, kind),
            Loaded::Key { side, id, pair, .. } => attributes::of_pair(id, &**pair, *side, kind),
            Loaded::Clock { now, refusal } => attributes::of_clock(*now, *refusal, kind),
            Loaded::UserPin(pin) => attributes::of_user_pin(pin, kind),
            Loaded::Freeze { is_frozen } => attributes::of_freeze(*is_frozen, kind),
            Loaded::Officers(council) => attributes::of_officers(council.as_ref(), kind),
            Loaded::Proposal(proposal) => attributes::of_proposal(proposal, kind),
            Loaded::Pending(pending) => attributes::of_pending(pending, kind),
            Loaded::Profile => attributes::of_profile(kind),
            Loaded::Session(object) => object.attribute(kind),
        }
    }
}

impl Application {
    /// `C_CreateObject`: a session object, or an act or a transaction that is proposed.
    pub(super) fn create_object(
        &self,
        session: CK_SESSION_HANDLE,
        template: &[TemplateEntry],
    ) -> Answer<CK_OBJECT_HANDLE> {
        self.with_session(session, |in_session| {
            let template = each_once(template)?;
            check_session(in_session, &template)?;
            if consents::is_of_a_transaction(&template) {
                return self.propose_transaction(in_session, &template);
            }
            if acts::is_of_an_act(&template) {
                return self.create_act(session, in_session, &template);
            }
            let object = SessionObject::create(&template, self.unique_id()?)?;
            self.keep(session, object)
        })
    }

    /// `C_CopyObject`: copies a session object.
    pub(super) fn copy_object(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        template: &[TemplateEntry],
    ) -> Answer<CK_OBJECT_HANDLE> {
        self.with_session(session, |in_session| {
            let (_, loaded) = self.loaded(object)?;
            let Loaded::Session(original) = loaded else { return Err(Rv(CKR_ACTION_PROHIBITED)) };
            if !original.is_copyable() {
                return Err(Rv(CKR_ACTION_PROHIBITED));
            }
            let template = each_once(template)?;
            check_session(in_session, &template)?;
            self.keep(session, original.copy(&template, self.unique_id()?)?)
        })
    }

    /// `C_DestroyObject`: destroys a user whom no wallet lists, or a session object, and withdraws an act or a proposed transaction. A wallet is never
    /// destroyed, because there may be coins in it.
    pub(super) fn destroy_object(&self, session: CK_SESSION_HANDLE, handle: CK_OBJECT_HANDLE) -> Answer {
        self.with_session(session, |session| {
            let (object, loaded) = self.loaded(handle)?;
            match (&object, loaded) {
                (Object::User { name, key_id }, _) => {
                    let user = UserId { name: name.clone(), key: *key_id };
                    let _ = self.administration(session)?.perform(Act::RemoveUser(user))?;
                    session.enrolments.remove(key_id);
                    self.forget_object(&object);
                }
                (Object::Proposal(nonce), _) => {
                    session.device_error = 0;
                    self.withdraw(session, nonce)
                        .map_err(|refusal| refusal.note(&mut session.device_error))?;
                    self.forget_object(&object);
                }
                (Object::Pending(ticket), _) => {
                    session.device_error = 0;
                    self.withdraw_transaction(session, ticket)
                        .map_err(|refusal| refusal.note(&mut session.device_error))?;
                    self.forget_object(&object);
                }
                (Object::Session { number, .. }, Loaded::Session(held)) if held.is_destroyable() => {
                    self.drop_session_object(*number);
                }
                _ => return Err(Rv(CKR_ACTION_PROHIBITED)),
            }
            Ok(())
        })
    }

    /// `C_GetObjectSize`: the bytes of all visible attributes. Token memory is not counted by objects.
    pub(super) fn get_object_size(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
    ) -> Answer<CK_ULONG> {
        self.with_session(session, |_| {
            let (_, loaded) = self.loaded(object)?;
            let mut size = 0;
            for kind in loaded.class().attributes() {
                match self.value(&loaded, kind) {
                    Ok(value) => size += value.len() as CK_ULONG,
                    Err(Rv(CKR_ATTRIBUTE_SENSITIVE)) => {}
                    Err(rv) => return Err(rv),
                }
            }
            Ok(size)
        })
    }

    /// `C_GetAttributeValue`: answers every attribute.
    pub(super) fn get_attribute_value(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        wanted: &[Wanted],
    ) -> Answer<Vec<Answer<Shown>>> {
        self.with_session(session, |session| {
            let (_, loaded) = self.loaded(object)?;
            Ok(wanted
                .iter()
                .map(|Wanted { kind, room }| match (&loaded, *kind) {
                    (Loaded::User(user), CKA_COUNTERSIGN_OTPAUTH_URI) => {
                        show_enrolment(session, &user.key_id, *room)
                    }
                    (_, kind) => show(self.value(&loaded, kind)?, *room),
                })
                .collect())
        })
    }

    /// The value of an attribute, wiped if it is not shown. Values that change with every signature are read
    /// now.
    fn value(&self, loaded: &Loaded, kind: CK_ATTRIBUTE_TYPE) -> Answer<Zeroizing<Vec<u8>>> {
        let value = match (loaded, kind) {
            (Loaded::Key { kind: KeyKind::Wallet, id, .. }, CKA_COUNTERSIGN_REACH) => {
                Ok(attributes::reach(self.engine.reach(id)?))
            }
            (Loaded::Key { kind, id, .. }, CKA_COUNTERSIGN_FROZEN) => {
                Ok(attributes::bool(self.engine.is_frozen(&key_pair::target(*kind, *id))?))
            }
            _ => loaded.attribute(kind),
        };
        value.map(Zeroizing::new).map_err(|hidden| match hidden {
            Hidden::Sensitive => Rv(CKR_ATTRIBUTE_SENSITIVE),
            Hidden::Unknown => Rv(CKR_ATTRIBUTE_TYPE_INVALID),
        })
    }

    /// The object of a handle, in its present state.
    fn loaded(&self, handle: CK_OBJECT_HANDLE) -> Answer<(Object, Loaded)> {
        let object = self.visible_object(handle)?;
        match self.load(&object)? {
            Some(loaded) => Ok((object, loaded)),
            None => {
                self.forget_object(&object);
                Err(Rv(CKR_OBJECT_HANDLE_INVALID))
            }
        }
    }

    fn load(&self, object: &Object) -> Answer<Option<Loaded>> {
        Ok(match object {
            Object::User { name, key_id } => {
                self.engine.user(name)?.filter(|user| user.key_id == *key_id).map(Loaded::User)
            }
            &Object::Key(kind, side, id) => {
                let pair: Arc<dyn EcPair> = match kind {
                    KeyKind::Wallet => self.engine.wallet(&id)?,
                    KeyKind::Digest => self.engine.digest_key(&id)?,
                };
                Some(Loaded::Key { kind, side, id, pair })
            }
            Object::Clock => {
                let (now, refusal) = (self.engine.clock_time(), self.engine.clock_refusal()?);
                Some(Loaded::Clock { now, refusal })
            }
            Object::UserPin => self.engine.user_pin()?.map(Loaded::UserPin),
            Object::Freeze => Some(Loaded::Freeze { is_frozen: self.engine.is_frozen(&Target::Everything)? }),
            Object::Officers => Some(Loaded::Officers(self.engine.council()?)),
            Object::Proposal(nonce) => {
                self.engine.proposal(nonce)?.map(|proposal| Loaded::Proposal(Box::new(proposal)))
            }
            Object::Pending(ticket) if self.engine.has_ticket(ticket, self.whose_tickets())? => {
                self.engine.pending(ticket)?.map(|pending| Loaded::Pending(Box::new(pending)))
            }
            Object::Pending(_) => None,
            Object::Profile => Some(Loaded::Profile),
            Object::Session { number, .. } => self.session_object(*number).map(Loaded::Session),
        })
    }

    /// A new value for `CKA_UNIQUE_ID` (v3.2, "The CKA_UNIQUE_ID attribute").
    pub(super) fn unique_id(&self) -> Answer<String> {
        let mut id = [0; 16];
        self.engine.random(&mut id)?;
        Ok(data_encoding::HEXLOWER.encode(&id))
    }
}

/// A read-only session cannot make a token object. No session makes one in this way ([`SessionObject`]):
/// `C_GenerateKey` and `C_GenerateKeyPair` make the token's objects inside.
fn check_session(session: &Session, template: &[&TemplateEntry]) -> Answer {
    match value_of(template, CKA_TOKEN).map(bool_value).transpose()? {
        Some(true) if !session.read_write => Err(Rv(CKR_SESSION_READ_ONLY)),
        _ => Ok(()),
    }
}

/// The value, its length, or that there is no room for it (`C_GetAttributeValue`, cases 3 to 5).
fn show(value: Zeroizing<Vec<u8>>, room: Room) -> Answer<Shown> {
    match room {
        Room::Query => Ok(Shown::Length(value.len() as u64)),
        room if room.fits(value.len()) => Ok(Shown::Value(Bytes(value))),
        Room::Of(_) => Err(Rv(CKR_BUFFER_TOO_SMALL)),
    }
}

/// Shows the `otpauth://` URI once. A length query does not count as showing it.
fn show_enrolment(session: &mut Session, key_id: &OtpKeyId, room: Room) -> Answer<Shown> {
    let uri = session.enrolments.get(key_id).ok_or(Rv(CKR_ATTRIBUTE_SENSITIVE))?;
    let shown = show(Zeroizing::new(uri.as_bytes().to_vec()), room)?;
    if matches!(shown, Shown::Value(_)) {
        session.enrolments.remove(key_id);
    }
    Ok(shown)
}
