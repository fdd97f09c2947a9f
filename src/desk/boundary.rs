//! The boundary, as the desk sees it: proposed transactions, and what users say to them.

use std::path::Path;

use countersign::kernel::factor::TicketId;
use countersign::pkcs11::vendor::*;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::slot::Slot;
use cryptoki_sys::{CK_ATTRIBUTE_TYPE, CK_ULONG, CKA_CLASS};
use zeroize::{Zeroize, Zeroizing};

use crate::facts::Facts;
use crate::page::Notice;

/// The module, connected to the boundary.
pub(crate) struct Boundary {
    pkcs11: Pkcs11,
    slot: Slot,
}

/// A proposed transaction.
pub(crate) struct Proposal {
    /// What it does, in the boundary's words. None: in words that this version does not know, so nobody may approve them here.
    pub(crate) facts: Option<Facts>,
    /// Where it stands.
    pub(crate) state: State,
    /// How many users must approve.
    pub(crate) needed: u64,
    /// How many have.
    pub(crate) given: usize,
}

/// Where a proposed transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Users must still approve.
    Open,
    /// Enough users have approved.
    Approved,
    /// A user refused it.
    Refused,
    /// It was signed.
    Signed,
    /// Its time is over.
    Expired,
}

/// What a user says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Yes.
    Approve,
    /// No.
    Refuse,
}

impl Proposal {
    /// Why nobody can say anything to it any more, if so.
    pub(crate) fn takes_no_word(&self) -> Option<Notice> {
        match self.state {
            State::Open | State::Approved => None,
            State::Refused | State::Signed | State::Expired => Some(Notice::Over),
        }
    }
}

/// What became of a user's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It is recorded.
    Recorded,
    /// The name or the code is wrong, or the code was used. So it is for whoever is not asked.
    Wrong,
    /// It is no code.
    NoCode,
    /// The user has to wait.
    Locked,
    /// Too many codes come by the desk.
    Busy,
    /// Something is frozen, or the boundary's clock is refused.
    Stopped,
    /// For so much, the wallet takes no codes.
    Means,
    /// The proposal is closed.
    Over,
    /// It does not exist any more.
    Gone,
}

impl Boundary {
    /// Loads the module, which connects as its configuration says.
    pub(crate) fn open(module: &Path) -> Result<Boundary, String> {
        let failed = |error: Error| format!("{}: {error}", module.display());
        let module = std::path::absolute(module).map_err(|error| format!("{}: {error}", module.display()))?;
        let pkcs11 = Pkcs11::new(&module).map_err(|error| format!("{}: {error}", module.display()))?;
        let opened = pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
        opened.map_err(|error| match countersign::remote::interface::newest_line(&module) {
            Some(line) => line,
            None => failed(error),
        })?;
        let slots = pkcs11.get_slots_with_token().map_err(failed)?;
        let slot = slots.first().copied().ok_or_else(|| format!("{} shows no token", module.display()))?;
        Ok(Boundary { pkcs11, slot })
    }

    /// The proposed transaction with this ticket.
    pub(crate) fn look(&self, ticket: &TicketId) -> Result<Option<Proposal>, Error> {
        let session = self.session()?;
        let Some(object) = find(&session, ticket)? else { return Ok(None) };
        match read(&session, object, ticket) {
            // It went between the search and the look.
            Err(Error::Pkcs11(RvError::ObjectHandleInvalid, _)) => Ok(None),
            read => read.map(Some),
        }
    }

    /// Brings a user's word.
    pub(crate) fn say(&self, ticket: &TicketId, word: Word, user: &str, code: &str) -> Result<Said, Error> {
        let session = self.session()?;
        let Some(object) = find(&session, ticket)? else { return Ok(Said::Gone) };
        let kind = match word {
            Word::Approve => CKA_COUNTERSIGN_CONSENT_APPROVE,
            Word::Refuse => CKA_COUNTERSIGN_CONSENT_REFUSE,
        };
        let value = Zeroizing::new(format!("{user}:{code}"));
        let mut attribute = [vendor(kind, value.as_bytes())];
        let answer = session.update_attributes(object, &attribute);
        if let [Attribute::VendorDefined((_, bytes))] = &mut attribute {
            bytes.zeroize();
        }
        let refusal = match answer {
            Ok(()) => return Ok(Said::Recorded),
            Err(Error::Pkcs11(refusal, function)) => (refusal, function),
            Err(error) => return Err(error),
        };
        Ok(match refusal {
            (RvError::PinIncorrect, _) => Said::Wrong,
            (RvError::AttributeValueInvalid | RvError::MechanismParamInvalid, _) => Said::NoCode,
            (RvError::PinLocked, _) => Said::Locked,
            (RvError::FunctionFailed, _) => Said::Busy,
            (RvError::ObjectHandleInvalid, _) => Said::Gone,
            (RvError::VendorDefined(CKR_COUNTERSIGN_POLICY | CKR_COUNTERSIGN_CLOCK), _) => Said::Stopped,
            (RvError::VendorDefined(CKR_COUNTERSIGN_ACT_REFUSED), _) => {
                match session.get_session_info()?.device_error() {
                    CS_CONSENT_REFUSED_NOT_ASKED => Said::Wrong,
                    CS_CONSENT_REFUSED_MEANS => Said::Means,
                    _ => Said::Over,
                }
            }
            (refusal, function) => return Err(Error::Pkcs11(refusal, function)),
        })
    }

    /// A session of its own for each request. After the boundary was started again, the first call only finds that out.
    fn session(&self) -> Result<Session, Error> {
        match self.pkcs11.open_rw_session(self.slot) {
            Err(Error::Pkcs11(RvError::DeviceRemoved, _)) => self.pkcs11.open_rw_session(self.slot),
            opened => opened,
        }
    }
}

fn find(session: &Session, ticket: &TicketId) -> Result<Option<ObjectHandle>, Error> {
    // cryptoki has no name for a vendor's class.
    let class = vendor(CKA_CLASS, &CKO_COUNTERSIGN_PROPOSAL.to_ne_bytes());
    let template = [class, Attribute::Id(ticket.to_vec())];
    Ok(session.find_objects(&template)?.first().copied())
}

fn read(session: &Session, object: ObjectHandle, ticket: &TicketId) -> Result<Proposal, Error> {
    let kinds = [
        CKA_COUNTERSIGN_STATEMENT,
        CKA_COUNTERSIGN_CONSENT_STATE,
        CKA_COUNTERSIGN_CONSENT_NEEDED,
        CKA_COUNTERSIGN_CONSENT_GIVEN,
    ];
    let found = session.get_attributes(object, &kinds.map(AttributeType::VendorDefined))?;
    let value = |wanted: CK_ATTRIBUTE_TYPE| -> &[u8] {
        let found = found.iter().find_map(|attribute| match attribute {
            Attribute::VendorDefined((AttributeType::VendorDefined(kind), value)) if *kind == wanted => {
                Some(&value[..])
            }
            _ => None,
        });
        found.unwrap_or_default()
    };
    let number = |wanted| value(wanted).try_into().map_or(0, CK_ULONG::from_ne_bytes);
    let state = match number(CKA_COUNTERSIGN_CONSENT_STATE) {
        CS_CONSENT_OPEN => State::Open,
        CS_CONSENT_APPROVED => State::Approved,
        CS_CONSENT_REFUSED | CS_CONSENT_WITHDRAWN => State::Refused,
        CS_CONSENT_SPENT => State::Signed,
        // An unknown state takes no word either.
        _ => State::Expired,
    };
    let text = |wanted| core::str::from_utf8(value(wanted)).unwrap_or_default();
    Ok(Proposal {
        facts: Facts::of(text(CKA_COUNTERSIGN_STATEMENT), ticket),
        state,
        needed: number(CKA_COUNTERSIGN_CONSENT_NEEDED),
        given: text(CKA_COUNTERSIGN_CONSENT_GIVEN).lines().count(),
    })
}

fn vendor(kind: CK_ATTRIBUTE_TYPE, value: &[u8]) -> Attribute {
    Attribute::VendorDefined((AttributeType::VendorDefined(kind), value.to_vec()))
}
