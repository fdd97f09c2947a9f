//! The anchor, as a private data object of the token (`CKO_DATA`, PKCS#11 v3.2 section 4.5).
//!
//! A step makes the new object, reads it back, and then destroys the old one. With fewer operations there
//! would be a moment without an anchor, and a kill would destroy an object that is changed in place (SoftHSM2
//! truncates its file first). A SoftHSM2 token keeps some 1,000 bytes of memory for each step, and never frees
//! them.
//!
//! SoftHSM2 writes the file of a new token object once for each of its attributes, and has the disk write each time. A copy of
//! an object it writes three times. So there the new object is made in the session first, and copied into the
//! token. That takes a third of the time.
//!
//! Two engines over two copies of one store may share a token. Only one of them may go on, so a step compares:
//! it begins only if the old object is still there, and ends only if it destroyed that object itself. SoftHSM2
//! does not show an engine what another process wrote until it looks again, and a write of its own hides what
//! came before. So the old object is read before anything is written.

use cryptoki::error::{Error, RvError};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::answer::failed;
use super::{AnchorSession, Backing, is_logged_in};
use crate::ports::{Anchor, BackingError, ReopenError};

const ANCHOR_LABEL: &[u8] = b"countersign-anchor";
const APPLICATION: &[u8] = b"countersign";

impl Anchor for Backing {
    fn current(&self) -> Result<Vec<Vec<u8>>, BackingError> {
        let AnchorSession { session, .. } = &*self.anchor();
        Ok(found(session)?.into_iter().filter_map(|found| found.value).collect())
    }

    fn step(&self, old: Option<&[u8]>, new: &[u8]) -> Result<(), BackingError> {
        let AnchorSession { session, known } = &mut *self.anchor();
        // Taken out, so that after a failure the objects are looked up again.
        let there = match known.take() {
            Some(known) => {
                still_there(session, &known, old)?;
                known
            }
            None => stands_at(session, old, new)?,
        };
        let created = match self.identity().is_softhsm() {
            true => keep_a_copy(session, new)?,
            false => keep(session, ANCHOR_LABEL, new)?,
        };
        for object in &there {
            if let Err(error) = session.destroy_object(*object) {
                if there.len() == 1 && is_gone(&error) && is_logged_in(session) {
                    // Another engine destroyed it, and made an anchor of its own. That one stands.
                    let _ = session.destroy_object(created);
                }
                return Err(failed("does not destroy the old anchor")(error));
            }
        }
        *known = Some(vec![created]);
        Ok(())
    }

    fn withdraw(&self, first: &[u8]) -> Result<(), BackingError> {
        let session = self.token.open_session()?;
        // The known objects must be looked up again.
        self.anchor().known = None;
        for Found { object, value } in found(&session)? {
            if value.is_some_and(|value| value == first) {
                session.destroy_object(object).map_err(failed("does not destroy an anchor"))?;
            }
        }
        Ok(())
    }

    fn reopen(&self) -> Result<(), ReopenError> {
        self.begin_anew(None)
    }
}

/// Checks that the objects of the last step are there, with the value that it left. After a failure the caller looks for
/// anchors again, and judges what it finds.
fn still_there(session: &Session, known: &[ObjectHandle], old: Option<&[u8]>) -> Result<(), BackingError> {
    for object in known {
        let value = value(session, *object).map_err(failed("does not show the old anchor"))?;
        if old.is_some_and(|old| old != value) {
            return Err(of_another_engine());
        }
    }
    Ok(())
}

fn of_another_engine() -> BackingError {
    BackingError("the anchor is not the one that was left there: somebody else writes it".into())
}

/// The objects of an anchor with the value `old`, or `new` if a step was interrupted.
fn stands_at(session: &Session, old: Option<&[u8]>, new: &[u8]) -> Result<Vec<ObjectHandle>, BackingError> {
    let there = found(session)?;
    let is_one = |value: &[u8]| value == new || old == Some(value);
    if old.is_some() && !there.iter().any(|found| found.value.as_deref().is_some_and(is_one)) {
        return Err(of_another_engine());
    }
    Ok(there.into_iter().map(|found| found.object).collect())
}

/// One object of the anchor.
struct Found {
    object: ObjectHandle,
    /// None if it cannot be read because a crash left it torn. It is no value, and the next step destroys it.
    value: Option<Vec<u8>>,
}

fn found(session: &Session) -> Result<Vec<Found>, BackingError> {
    let mut found = Vec::new();
    for object in anchors(session)? {
        match value(session, object) {
            Ok(value) => found.push(Found { object, value: Some(value) }),
            Err(error) if is_of_the_token(&error) => return Err(failed("does not show the anchor")(error)),
            Err(_) => found.push(Found { object, value: None }),
        }
    }
    Ok(found)
}

/// Makes a data object with this value, and reads it back.
pub(super) fn keep(session: &Session, label: &[u8], new: &[u8]) -> Result<ObjectHandle, BackingError> {
    let created = create(session, label, new, [Attribute::Token(true), Attribute::Modifiable(false)])?;
    check(session, created, new)
}

/// The same for an anchor in SoftHSM2, by a copy.
fn keep_a_copy(session: &Session, new: &[u8]) -> Result<ObjectHandle, BackingError> {
    // It can be copied with other attributes only if it can be modified.
    let draft = create(session, ANCHOR_LABEL, new, [Attribute::Token(false), Attribute::Modifiable(true)])?;
    let copied = session.copy_object(draft, &[Attribute::Token(true), Attribute::Modifiable(false)]);
    // It must not be found beside the anchors.
    session.destroy_object(draft).map_err(failed("does not destroy the draft of an anchor"))?;
    check(session, copied.map_err(failed(NOT_KEPT))?, new)
}

const NOT_KEPT: &str = "does not keep the anchor, a private data object (CKO_DATA)";

fn create(
    session: &Session,
    label: &[u8],
    new: &[u8],
    [token, modifiable]: [Attribute; 2],
) -> Result<ObjectHandle, BackingError> {
    let template = [
        Attribute::Class(ObjectClass::DATA),
        token,
        Attribute::Private(true),
        modifiable,
        Attribute::Label(label.into()),
        Attribute::Application(APPLICATION.into()),
        Attribute::Value(new.to_vec()),
    ];
    session.create_object(&template).map_err(failed(NOT_KEPT))
}

/// Reads the object back.
fn check(session: &Session, created: ObjectHandle, new: &[u8]) -> Result<ObjectHandle, BackingError> {
    if value(session, created).map_err(failed("does not show the anchor"))? != new {
        return Err(BackingError("the anchor reads back differently from what was written".into()));
    }
    Ok(created)
}

/// Whether the token shows an anchor, which is private and so visible only to a logged-in user.
pub(super) fn is_shown(session: &Session) -> bool {
    anchors(session).is_ok_and(|anchors| !anchors.is_empty())
}

fn anchors(session: &Session) -> Result<Vec<ObjectHandle>, BackingError> {
    session
        .find_objects(&[Attribute::Class(ObjectClass::DATA), Attribute::Label(ANCHOR_LABEL.into())])
        .map_err(failed("does not look for the anchor"))
}

fn value(session: &Session, object: ObjectHandle) -> Result<Vec<u8>, Error> {
    let attributes = session.get_attributes(object, &[AttributeType::Value])?;
    Ok(attributes
        .into_iter()
        .find_map(|attribute| match attribute {
            Attribute::Value(value) => Some(value),
            _ => None,
        })
        .unwrap_or_default())
}

/// Whether the object is not there, or is not shown any more.
fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Pkcs11(RvError::ObjectHandleInvalid, _))
}

/// Whether the token or the session fails, whatever the object is (PKCS#11 v3.2 section 5.1, the values for
/// functions that use a session handle or a token).
fn is_of_the_token(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(
            RvError::DeviceError
                | RvError::DeviceMemory
                | RvError::DeviceRemoved
                | RvError::TokenNotPresent
                | RvError::SessionClosed
                | RvError::SessionHandleInvalid
                | RvError::UserNotLoggedIn
                | RvError::HostMemory,
            _
        )
    )
}
