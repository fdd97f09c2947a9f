//! Signing (PKCS#11 v3.2 section 5.13).
//!
//! An operation ends with the call that answers it, whatever the answer, except after a length query and
//! `CKR_BUFFER_TOO_SMALL` (section 5.2, "Conventions for functions returning output in a variable-length
//! buffer").

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cryptoki_sys::*;
use zeroize::Zeroizing;

use super::application::{Application, Object, Session, Totals};
use super::attributes::{KeyKind, Side};
use super::ration;
use super::reply::Filled;
use super::request::{Bytes, Mechanism, Room};
use super::rv::{Answer, Refusal, Rv};
use super::vendor::{CKM_COUNTERSIGN_DIGEST, CKM_COUNTERSIGN_PSBT};
use crate::engine::{DigestKeyId, Engine, EngineError, WalletId};
use crate::gate::Countersigned;
use crate::kernel::approval::Approval;
use crate::kernel::digest_key::{DIGEST_LEN, DigestKey, DigestMechanisms, SIGNATURE_LEN};
use crate::kernel::pin::Role;
use crate::kernel::psbt::{MAX_PSBT_LEN, PsbtBytes};
use crate::kernel::wallet::Wallet;

/// A signing operation.
pub(super) struct Signing {
    key: SigningKey,
    code_source: CodeSource,
    /// The data from `C_SignUpdate`; `None` before its first call.
    parts: Option<Parts>,
}

/// The signing key, which determines what it can sign.
pub(super) enum SigningKey {
    /// A wallet's key, for a PSBT.
    Wallet(WalletId),
    /// A key that was made for digests, for a digest.
    Digest(DigestKeyId),
}

/// The most bytes that the unfinished operations of all sessions of all applications hold. A backend can have
/// thousands of them.
const MAX_PENDING: usize = 4 * MAX_PSBT_LEN;

/// A PSBT or a digest in parts, counted together with those of the other sessions.
pub(super) struct Parts {
    pub(super) data: Vec<u8>,
    counted: usize,
    totals: Arc<Totals>,
}

impl Parts {
    pub(super) fn new(totals: &Arc<Totals>) -> Parts {
        Parts { data: Vec::new(), counted: 0, totals: Arc::clone(totals) }
    }

    pub(super) fn append(&mut self, part: &[u8]) -> Answer {
        if part.len() > MAX_PSBT_LEN - self.data.len() {
            return Err(Rv(CKR_DATA_LEN_RANGE));
        }
        let before = self.totals.pending.fetch_add(part.len(), Ordering::SeqCst);
        self.counted += part.len();
        if before + part.len() > MAX_PENDING {
            return Err(Rv(CKR_DEVICE_MEMORY));
        }
        self.data.extend_from_slice(part);
        Ok(())
    }

    /// Drops what was appended after the first `len` bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        let cut = self.data.len().saturating_sub(len);
        self.data.truncate(len);
        self.counted -= cut;
        self.totals.pending.fetch_sub(cut, Ordering::SeqCst);
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.totals.pending.fetch_sub(self.counted, Ordering::SeqCst);
    }
}

/// How the code reaches the operation (docs/from-a-program.md).
enum CodeSource {
    /// In the mechanism's parameter.
    Parameter(Vec<Approval>),
    /// By a context-specific login, once there was one.
    Login(Option<Approval>),
}

impl CodeSource {
    fn into_approvals(self) -> Vec<Approval> {
        match self {
            CodeSource::Parameter(approvals) => approvals,
            CodeSource::Login(attached) => attached.into_iter().collect(),
        }
    }
}

impl Signing {
    /// Bytes that have come so far.
    pub(super) fn pending(&self) -> usize {
        self.parts.as_ref().map_or(0, |parts| parts.data.len())
    }
}

/// The data to sign, read once, with the key that signs it.
pub(super) enum Asked {
    Psbt(WalletId, PsbtBytes),
    Digest(DigestKeyId, [u8; DIGEST_LEN]),
}

impl SigningKey {
    /// Takes `data` out of its place and reads it. Also returns the greatest length of the answer. Data that
    /// cannot be signed at all is refused here, where nothing is spent.
    pub(super) fn read(&self, data: &mut Vec<u8>, engine: &Engine) -> Result<(Asked, usize), EngineError> {
        let data = core::mem::take(data);
        match self {
            SigningKey::Wallet(id) => {
                let psbt = PsbtBytes::read(data)?;
                // A wallet that is not registered signs nothing. The call that asks it to sign reports that.
                let places = engine.wallet(id)?.keys().map_or(1, |keys| keys.watch().places().count());
                let bound = psbt.signed_len_bound(places)?;
                Ok((Asked::Psbt(*id, psbt), bound))
            }
            SigningKey::Digest(id) => {
                let digest = data[..].try_into().map_err(|_| EngineError::DigestLength)?;
                Ok((Asked::Digest(*id, digest), SIGNATURE_LEN))
            }
        }
    }
}

impl Asked {
    /// The original data, for a call that will be made again.
    pub(super) fn into_data(self) -> Vec<u8> {
        match self {
            Asked::Psbt(_, psbt) => psbt.into_bytes(),
            Asked::Digest(_, digest) => digest.to_vec(),
        }
    }
}

/// Whether a key that signs digests was made for this mechanism.
pub(super) fn is_made_for(allowed: DigestMechanisms, mechanism: CK_MECHANISM_TYPE) -> bool {
    match mechanism {
        CKM_COUNTERSIGN_DIGEST => allowed.digest,
        CKM_ECDSA => allowed.ecdsa,
        _ => false,
    }
}

impl Signing {
    /// Takes the code of a context-specific login; a later one replaces it. Nothing is checked here.
    pub(super) fn attach(&mut self, approval: Approval) -> Answer {
        match &mut self.code_source {
            CodeSource::Login(attached) => {
                *attached = Some(approval);
                Ok(())
            }
            // The code came in the mechanism's parameter: one authorisation, one operation.
            CodeSource::Parameter(_) => Err(Rv(CKR_USER_ALREADY_LOGGED_IN)),
        }
    }
}

impl Application {
    /// `C_SignInit`, with a mechanism.
    pub(super) fn sign_init(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: Mechanism,
        key: CK_OBJECT_HANDLE,
    ) -> Answer {
        self.with_session(session, |session| {
            let Mechanism { mechanism, parameter } = mechanism;
            if session.signing.is_some() {
                return Err(Rv(CKR_OPERATION_ACTIVE));
            }
            session.device_error = 0;
            self.require_user()?;
            let key = self.signing_key(mechanism, key)?;
            let code_source = match (mechanism, &parameter[..]) {
                (_, []) => CodeSource::Login(None),
                // It has no parameter (section 6.3, "ECDSA without hashing").
                (CKM_ECDSA, _) => return Err(Rv(CKR_MECHANISM_PARAM_INVALID)),
                (_, parameter) => {
                    CodeSource::Parameter(Approval::parse_or_ticket(parameter).map_err(EngineError::from)?)
                }
            };
            session.signing = Some(Signing { key, code_source, parts: None });
            Ok(())
        })
    }

    /// `C_Sign`: `data` is the whole PSBT or the digest, copied before anything looks at it.
    pub(super) fn sign(&self, session: CK_SESSION_HANDLE, data: Answer<Bytes>, room: Room) -> Answer<Filled> {
        self.with_session(session, |session| {
            match &session.signing {
                None => return Err(Rv(CKR_OPERATION_NOT_INITIALIZED)),
                Some(Signing { parts: Some(_), .. }) => return Err(Rv(CKR_OPERATION_ACTIVE)),
                Some(_) => {}
            }
            match data {
                Ok(mut data) => self.finish(session, &mut data.0, room),
                Err(rv) => {
                    session.signing = None;
                    Err(rv)
                }
            }
        })
    }

    /// `C_SignUpdate`.
    pub(super) fn sign_update(&self, session: CK_SESSION_HANDLE, part: Answer<Bytes>) -> Answer {
        self.with_session(session, |session| {
            let signing = session.signing.as_mut().ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
            let parts = signing.parts.get_or_insert_with(|| Parts::new(&self.totals));
            let appended = part.and_then(|part| parts.append(&part));
            if appended.is_err() {
                session.signing = None;
            }
            appended
        })
    }

    /// `C_SignFinal`.
    pub(super) fn sign_final(&self, session: CK_SESSION_HANDLE, room: Room) -> Answer<Filled> {
        self.with_session(session, |session| {
            let signing = session.signing.as_mut().ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
            let mut parts = signing.parts.take().unwrap_or_else(|| Parts::new(&self.totals));
            let answer = self.finish(session, &mut parts.data, room);
            // After a length query the operation is still there, and so are the parts.
            if let Some(signing) = &mut session.signing {
                signing.parts = Some(parts);
            }
            answer
        })
    }

    /// Requires a backend that is logged in, because nobody else may sign. The security officer never signs,
    /// and no administrator can log in as the user. This is the only way to the signer, so it checks the door
    /// once more.
    pub(super) fn require_user(&self) -> Answer {
        if self.role() == Some(Role::User) { self.check_backend() } else { Err(Rv(CKR_USER_NOT_LOGGED_IN)) }
    }

    /// The key of this handle, if the mechanism signs with it.
    pub(super) fn signing_key(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        key: CK_OBJECT_HANDLE,
    ) -> Answer<SigningKey> {
        let key = self.object_of(key).map_err(|_| Rv(CKR_KEY_HANDLE_INVALID))?;
        match (mechanism, key) {
            (CKM_COUNTERSIGN_PSBT, Object::Key(KeyKind::Wallet, Side::Private, id)) => {
                Ok(SigningKey::Wallet(id))
            }
            (CKM_COUNTERSIGN_DIGEST | CKM_ECDSA, Object::Key(KeyKind::Digest, Side::Private, id)) => {
                if !is_made_for(self.engine.digest_key(&id)?.mechanisms(), mechanism) {
                    return Err(Rv(CKR_KEY_FUNCTION_NOT_PERMITTED));
                }
                Ok(SigningKey::Digest(id))
            }
            // A wallet's key never signs a digest that a caller supplies, and no PSBT is signed without a
            // wallet's checks.
            (CKM_COUNTERSIGN_PSBT | CKM_COUNTERSIGN_DIGEST | CKM_ECDSA, Object::Key(_, Side::Private, _)) => {
                Err(Rv(CKR_KEY_FUNCTION_NOT_PERMITTED))
            }
            (CKM_COUNTERSIGN_PSBT | CKM_COUNTERSIGN_DIGEST | CKM_ECDSA, _) => {
                Err(Rv(CKR_KEY_TYPE_INCONSISTENT))
            }
            _ => Err(Rv(CKR_MECHANISM_INVALID)),
        }
    }

    /// Signs. Every signing function comes here.
    pub(super) fn sign_asked(&self, asked: Asked, approvals: Vec<Approval>) -> Result<Filled, Refusal> {
        self.require_user()?;
        if approvals.is_empty() {
            return Err(Rv(CKR_USER_NOT_LOGGED_IN).into());
        }
        ration::check_signing()?;
        let answer = match asked {
            Asked::Psbt(id, psbt) => self.engine.sign_with::<Wallet>(&id, approvals, psbt),
            Asked::Digest(id, digest) => {
                self.engine.sign_with::<DigestKey>(&id, approvals, digest).map(Countersigned::into_bytes)
            }
        };
        ration::count_signing(&answer);
        Ok(Filled::Bytes(Bytes(Zeroizing::new(answer?.signed))))
    }

    /// Answers a length query, which leaves the operation active, or ends the operation and signs.
    fn finish(&self, session: &mut Session, data: &mut Vec<u8>, room: Room) -> Answer<Filled> {
        let signing = session.signing.take().ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
        let device_error = &mut session.device_error;
        let (asked, bound) = (signing.key.read(data, &self.engine))
            .map_err(|error| Refusal::from(error).note(device_error))?;
        if !room.fits(bound) {
            *data = asked.into_data();
            session.signing = Some(signing);
            return Ok(Filled::Length(bound as u64));
        }
        self.sign_asked(asked, signing.code_source.into_approvals())
            .map_err(|refusal| refusal.note(device_error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_counted_as_long_as_they_are_held() {
        let totals = Arc::new(Totals::default());
        let pending = || totals.pending.load(Ordering::SeqCst);
        let mut parts = Parts::new(&totals);
        assert_eq!(parts.append(&[1; 10]), Ok(()));
        assert_eq!(parts.append(&[2; 5]), Ok(()));
        assert_eq!(pending(), 15);
        parts.truncate(10);
        assert_eq!((pending(), &parts.data[..]), (10, &[1; 10][..]));
        parts.truncate(12);
        assert_eq!((pending(), parts.data.len()), (10, 10), "there is no more to let go of");
        drop(parts);
        assert_eq!(pending(), 0);
    }
}
