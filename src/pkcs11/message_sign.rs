//! Message-based signing (PKCS#11 v3.2 section 5.14): one operation, and a code of its own for each of its
//! messages.
//!
//! A message is a PSBT or a digest. Its parameter is the approval, which is otherwise the mechanism's
//! parameter. Both are copied together before anything looks at either.
//!
//! A message ends with the call that answers it, whatever the answer, except after a length query and
//! `CKR_BUFFER_TOO_SMALL` ("C_SignMessage", "C_SignMessageNext"). The operation goes on afterwards, even
//! after a refusal: it is active until `C_MessageSignFinal` ("C_MessageSignInit"). It is separate from the
//! operation of `C_SignInit`: a session may have both, and `C_SessionCancel` has a flag for each.

use cryptoki_sys::*;

use super::application::Application;
use super::reply::Filled;
use super::request::{Bytes, Mechanism, Room};
use super::rv::{Answer, Refusal, Rv};
use super::sign::{Parts, SigningKey};
use crate::engine::EngineError;
use crate::kernel::approval::Approval;

/// A message-based signing operation.
pub(super) struct MessageSigning {
    key: SigningKey,
    /// The message in parts, once one was begun.
    message: Option<Message>,
}

/// A message in parts.
struct Message {
    approvals: Vec<Approval>,
    parts: Parts,
}

impl MessageSigning {
    /// Bytes of the message that have come so far.
    pub(super) fn pending(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.parts.data.len())
    }
}

impl Application {
    /// `C_MessageSignInit`, with a mechanism.
    pub(super) fn message_sign_init(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: Mechanism,
        key: CK_OBJECT_HANDLE,
    ) -> Answer {
        self.with_session(session, |session| {
            let Mechanism { mechanism, parameter } = mechanism;
            if session.message_signing.is_some() {
                return Err(Rv(CKR_OPERATION_ACTIVE));
            }
            session.device_error = 0;
            self.require_user()?;
            if mechanism == CKM_ECDSA {
                // Its messages have no parameter, so none could have a code.
                return Err(Rv(CKR_MECHANISM_INVALID));
            }
            let key = self.signing_key(mechanism, key)?;
            if !parameter.is_empty() {
                return Err(Rv(CKR_MECHANISM_PARAM_INVALID));
            }
            session.message_signing = Some(MessageSigning { key, message: None });
            Ok(())
        })
    }

    /// `C_SignMessage`: `data` is the whole PSBT or the digest.
    pub(super) fn sign_message(
        &self,
        session: CK_SESSION_HANDLE,
        parameter: Answer<Bytes>,
        data: Answer<Bytes>,
        room: Room,
    ) -> Answer<Filled> {
        self.with_session(session, |session| {
            let operation = session.message_signing.as_ref().ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
            if operation.message.is_some() {
                return Err(Rv(CKR_OPERATION_ACTIVE));
            }
            // The rule that refused the message before does not concern this one.
            let device_error = &mut session.device_error;
            *device_error = 0;
            let approvals = approvals_of(parameter)?;
            let mut data = data?;
            let (asked, bound) = (operation.key.read(&mut data.0, &self.engine))
                .map_err(|error| Refusal::from(error).note(device_error))?;
            if !room.fits(bound) {
                return Ok(Filled::Length(bound as u64));
            }
            self.sign_asked(asked, approvals).map_err(|refusal| refusal.note(device_error))
        })
    }

    /// `C_SignMessageBegin`.
    pub(super) fn sign_message_begin(&self, session: CK_SESSION_HANDLE, parameter: Answer<Bytes>) -> Answer {
        self.with_session(session, |session| {
            let operation = session.message_signing.as_mut().ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
            if operation.message.is_some() {
                return Err(Rv(CKR_OPERATION_ACTIVE));
            }
            session.device_error = 0;
            let approvals = approvals_of(parameter)?;
            operation.message = Some(Message { approvals, parts: Parts::new(&self.totals) });
            Ok(())
        })
    }

    /// `C_SignMessageNext`: one part. It is the last one if there is `room`, which means a place for the
    /// answer's length. If it has a parameter, that replaces the message's: the code may come after
    /// everything else.
    pub(super) fn sign_message_next(
        &self,
        session: CK_SESSION_HANDLE,
        parameter: Answer<Bytes>,
        part: Answer<Bytes>,
        room: Option<Room>,
    ) -> Answer<Option<Filled>> {
        self.with_session(session, |session| {
            let operation = session.message_signing.as_mut().ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
            // Taken out, so that a refusal from here on ends the message.
            let mut message = operation.message.take().ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
            let approvals = approvals_of(parameter)?;
            if !approvals.is_empty() {
                message.approvals = approvals;
            }
            let before = message.parts.data.len();
            message.parts.append(&part?)?;
            let Some(room) = room else {
                operation.message = Some(message);
                return Ok(None);
            };
            let device_error = &mut session.device_error;
            let (asked, bound) = (operation.key.read(&mut message.parts.data, &self.engine))
                .map_err(|error| Refusal::from(error).note(device_error))?;
            if !room.fits(bound) {
                // The caller will make the call again with this part.
                message.parts.data = asked.into_data();
                message.parts.truncate(before);
                operation.message = Some(message);
                return Ok(Some(Filled::Length(bound as u64)));
            }
            // The parts count as pending until the answer exists.
            let Message { approvals, parts: _parts } = message;
            self.sign_asked(asked, approvals).map(Some).map_err(|refusal| refusal.note(device_error))
        })
    }

    /// `C_MessageSignFinal`: ends the operation, and with it an incomplete message.
    pub(super) fn message_sign_final(&self, session: CK_SESSION_HANDLE) -> Answer {
        self.with_session(session, |session| {
            session.message_signing.take().map(drop).ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))
        })
    }
}

/// The approvals in a message's parameter, or none without a parameter.
fn approvals_of(parameter: Answer<Bytes>) -> Answer<Vec<Approval>> {
    let parameter = parameter?;
    if parameter.is_empty() {
        return Ok(Vec::new());
    }
    Ok(Approval::parse_or_ticket(&parameter).map_err(EngineError::from)?)
}
