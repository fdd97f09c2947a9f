//! Verifying (PKCS#11 v3.2 section 5.15): a user's code, which is spent and confirms an enrolment; and the
//! signature of a digest, which is public.
//!
//! A code is the signature of empty data. The signature comes with the call that verifies it, or before the
//! data with `C_VerifySignatureInit`. In the second case it is kept, and no code is spent until the call that
//! answers.

use bitcoin::secp256k1::ecdsa::Signature;
use bitcoin::secp256k1::{All, Message, PublicKey, Secp256k1};
use cryptoki_sys::*;

use super::application::{Application, Object, Session};
use super::attributes::{Class, KeyKind, Side};
use super::request::{Bytes, Mechanism};
use super::rv::{Answer, Rv};
use super::sign::is_made_for;
use super::vendor::{CKM_COUNTERSIGN_DIGEST, CKM_COUNTERSIGN_TOTP};
use crate::engine::EngineError;
use crate::kernel::approval::Approval;
use crate::kernel::digest_key::{DIGEST_LEN, SIGNATURE_LEN};
use crate::kernel::otp::OtpKeyId;
use crate::kernel::pin::Role;

/// A verifying operation.
pub(super) struct Verifying {
    key: VerifyingKey,
    /// The signature, if it came first.
    signature: Option<Bytes>,
    /// The data from earlier parts; `None` before the first.
    parts: Option<Vec<u8>>,
}

/// The verifying key.
enum VerifyingKey {
    /// This OTP key of this user, and not a later one: the signature is a code.
    User { name: String, key_id: OtpKeyId },
    /// This key: the data is a digest.
    Digest(PublicKey),
}

impl VerifyingKey {
    /// The length of the data.
    fn text_len(&self) -> usize {
        match self {
            VerifyingKey::User { .. } => 0,
            VerifyingKey::Digest(_) => DIGEST_LEN,
        }
    }
}

/// When the signature comes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SignatureComes {
    /// With the answering call: `C_VerifyInit`, `C_Verify`, `C_VerifyUpdate`, `C_VerifyFinal`.
    Last,
    /// At the beginning: `C_VerifySignatureInit`, `C_VerifySignature`, `C_VerifySignatureUpdate`,
    /// `C_VerifySignatureFinal`.
    First,
}

impl Application {
    /// `C_VerifyInit`, or `C_VerifySignatureInit` with a signature; both with a mechanism.
    pub(super) fn verify_init(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: Mechanism,
        key: CK_OBJECT_HANDLE,
        signature: Option<Answer<Bytes>>,
    ) -> Answer {
        self.with_session(session, |session| {
            let Mechanism { mechanism, parameter } = mechanism;
            if session.verifying.is_some() {
                return Err(Rv(CKR_OPERATION_ACTIVE));
            }
            session.device_error = 0;
            let key = self.verifying_key(mechanism, key)?;
            if !parameter.is_empty() {
                return Err(Rv(CKR_MECHANISM_PARAM_INVALID));
            }
            let signature = signature.transpose()?;
            session.verifying = Some(Verifying { key, signature, parts: None });
            Ok(())
        })
    }

    /// The key of this handle, if the mechanism verifies with it. A user's key needs a login, a public key
    /// does not.
    fn verifying_key(&self, mechanism: CK_MECHANISM_TYPE, key: CK_OBJECT_HANDLE) -> Answer<VerifyingKey> {
        let object = || self.object_of(key).map_err(|_| Rv(CKR_KEY_HANDLE_INVALID));
        match mechanism {
            CKM_COUNTERSIGN_TOTP if self.role().is_none() => Err(Rv(CKR_USER_NOT_LOGGED_IN)),
            CKM_COUNTERSIGN_TOTP => match object()? {
                Object::User { name, key_id } => Ok(VerifyingKey::User { name, key_id }),
                _ => Err(Rv(CKR_KEY_TYPE_INCONSISTENT)),
            },
            CKM_COUNTERSIGN_DIGEST | CKM_ECDSA => match object()? {
                Object::Key(KeyKind::Digest, Side::Public, id) => {
                    let key = self.engine.digest_key(&id)?;
                    if !is_made_for(key.mechanisms(), mechanism) {
                        return Err(Rv(CKR_KEY_FUNCTION_NOT_PERMITTED));
                    }
                    Ok(VerifyingKey::Digest(*key.public_key()))
                }
                Object::Session { number, .. } => {
                    let object = self.session_object(number).ok_or(Rv(CKR_KEY_HANDLE_INVALID))?;
                    match object.class() {
                        Class::PublicKey => object
                            .verifies_by(mechanism)
                            .map(VerifyingKey::Digest)
                            .ok_or(Rv(CKR_KEY_FUNCTION_NOT_PERMITTED)),
                        _ => Err(Rv(CKR_KEY_TYPE_INCONSISTENT)),
                    }
                }
                // A wallet's account key itself signs nothing.
                Object::Key(..) => Err(Rv(CKR_KEY_FUNCTION_NOT_PERMITTED)),
                _ => Err(Rv(CKR_KEY_TYPE_INCONSISTENT)),
            },
            _ => Err(Rv(CKR_MECHANISM_INVALID)),
        }
    }

    /// `C_Verify`: `data` is empty and `signature` the code; or `data` is a digest. Ends the operation, whatever the answer.
    pub(super) fn verify(
        &self,
        session: CK_SESSION_HANDLE,
        data: Answer<Bytes>,
        signature: Answer<Bytes>,
    ) -> Answer {
        self.with_session(session, |session| {
            let Verifying { key, .. } = end_in_one(session, SignatureComes::Last)?;
            self.judge(&key, &data?, &signature?)
        })
    }

    /// `C_VerifySignature`: `data` as for `C_Verify`. Ends the operation, whatever the answer.
    pub(super) fn verify_signature(&self, session: CK_SESSION_HANDLE, data: Answer<Bytes>) -> Answer {
        self.with_session(session, |session| {
            let Verifying { key, signature, .. } = end_in_one(session, SignatureComes::First)?;
            self.judge(&key, &data?, &signature.unwrap_or_default())
        })
    }

    /// `C_VerifyUpdate`, `C_VerifySignatureUpdate`: a part of the data. For a code the data is empty.
    pub(super) fn verify_update(
        &self,
        session: CK_SESSION_HANDLE,
        comes: SignatureComes,
        part: Answer<Bytes>,
    ) -> Answer {
        self.with_session(session, |session| {
            let mut verifying = end(session, comes)?;
            let (part, most) = (part?, verifying.key.text_len());
            let parts = verifying.parts.get_or_insert_default();
            if part.len() > most - parts.len() {
                return Err(Rv(CKR_DATA_LEN_RANGE));
            }
            parts.extend_from_slice(&part);
            session.verifying = Some(verifying);
            Ok(())
        })
    }

    /// `C_VerifyFinal`. Ends the operation, whatever the answer.
    pub(super) fn verify_final(&self, session: CK_SESSION_HANDLE, signature: Answer<Bytes>) -> Answer {
        self.with_session(session, |session| {
            let Verifying { key, parts, .. } = end(session, SignatureComes::Last)?;
            self.judge(&key, &parts.unwrap_or_default(), &signature?)
        })
    }

    /// `C_VerifySignatureFinal`. Ends the operation, whatever the answer.
    pub(super) fn verify_signature_final(&self, session: CK_SESSION_HANDLE) -> Answer {
        self.with_session(session, |session| {
            let Verifying { key, signature, parts } = end(session, SignatureComes::First)?;
            self.judge(&key, &parts.unwrap_or_default(), &signature.unwrap_or_default())
        })
    }

    fn judge(&self, key: &VerifyingKey, text: &[u8], signature: &[u8]) -> Answer {
        if text.len() != key.text_len() {
            return Err(Rv(CKR_DATA_LEN_RANGE));
        }
        match key {
            VerifyingKey::User { name, key_id } => self.judge_code(name, key_id, signature),
            VerifyingKey::Digest(key) => judge_digest(key, text, signature, &self.engine.secp),
        }
    }

    fn judge_code(&self, user: &str, key: &OtpKeyId, code: &[u8]) -> Answer {
        // One code, or two in a row.
        if !matches!(code.len(), 6..=8 | 16) {
            return Err(Rv(CKR_SIGNATURE_LEN_RANGE));
        }
        // `require_cosigner` stops a backend from guessing codes and from locking users, here as well.
        if self.role() != Some(Role::So) && self.engine.is_guarded(user) {
            return Err(EngineError::Guarded(user.into()).into());
        }
        // A malformed code is not a wrong one: nothing is charged.
        Approval::parse_check(user, code).map_err(|_| Rv(CKR_SIGNATURE_INVALID))?;
        Ok(self.engine.confirm(user, key, code)?)
    }
}

/// Ends the operation, if its signature comes at this time.
fn end(session: &mut Session, comes: SignatureComes) -> Answer<Verifying> {
    let is_right =
        |verifying: &mut Verifying| (comes == SignatureComes::First) == verifying.signature.is_some();
    session.verifying.take_if(is_right).ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))
}

/// The same for a call with all of the data. It does not end an operation that gets its data in parts.
fn end_in_one(session: &mut Session, comes: SignatureComes) -> Answer<Verifying> {
    let verifying = end(session, comes)?;
    if verifying.parts.is_some() {
        session.verifying = Some(verifying);
        return Err(Rv(CKR_OPERATION_ACTIVE));
    }
    Ok(verifying)
}

/// ECDSA (PKCS#11 v3.2 section 6.3, "EC Signatures"): r ‖ s. Both values of s are accepted.
fn judge_digest(key: &PublicKey, digest: &[u8], signature: &[u8], secp: &Secp256k1<All>) -> Answer {
    if signature.len() != SIGNATURE_LEN {
        return Err(Rv(CKR_SIGNATURE_LEN_RANGE));
    }
    let message = Message::from_digest_slice(digest).map_err(|_| Rv(CKR_DATA_LEN_RANGE))?;
    let mut signature = Signature::from_compact(signature).map_err(|_| Rv(CKR_SIGNATURE_INVALID))?;
    // libsecp256k1 verifies only the low one.
    signature.normalize_s();
    secp.verify_ecdsa(&message, &signature, key).map_err(|_| Rv(CKR_SIGNATURE_INVALID))
}
