//! Transactions that are put before their users (`include/countersign.h`, "Proposed transactions").
//!
//! A backend sees its own, by its peer's name, because their statements say who is paid. The security officer sees all of them, and changes
//! none. The desk sees all of them, too, and brings what users say to them.

use cryptoki_sys::*;

use super::acts::{is_of_an_act, user_and_code};
use super::application::{Application, Object, Session};
use super::attributes::Class;
use super::ration;
use super::request::TemplateEntry;
use super::rv::{Answer, Refusal, Rv};
use super::template::{bool_value, expect, required, text, value_of};
use super::vendor::*;
use crate::engine::EngineError;
use crate::kernel::consent::Typed;
use crate::kernel::factor::TicketId;
use crate::kernel::pin::Role;
use crate::kernel::psbt::PsbtBytes;
use crate::kernel::state::{Peer, Word};

/// Whether a template of `C_CreateObject` is for a transaction.
pub(super) fn is_of_a_transaction(template: &[&TemplateEntry]) -> bool {
    is_of_an_act(template) && value_of(template, CKA_COUNTERSIGN_PROPOSAL_WALLET).is_some()
}

impl Application {
    /// Whose proposed transactions the present login sees. `None`: everybody's.
    pub(super) fn whose_tickets(&self) -> Option<Peer<'_>> {
        if self.is_desk() {
            return None;
        }
        match self.role() {
            Some(Role::So) => None,
            Some(Role::User) | None => Some(self.peer()),
        }
    }

    /// The proposed transactions that the present login sees. With an id, only that one is looked up: there may be thousands.
    pub(super) fn proposed_transactions(&self, id: Option<&[u8]>) -> Answer<Vec<Object>> {
        if self.role().is_none() && !self.is_desk() {
            return Ok(vec![]);
        }
        if let Some(id) = id {
            let Ok(ticket) = id.try_into() else { return Ok(vec![]) };
            let is_there = self.engine.has_ticket(&ticket, self.whose_tickets())?;
            return Ok(if is_there { vec![Object::Pending(ticket)] } else { vec![] });
        }
        Ok(self.engine.tickets(self.whose_tickets())?.into_iter().map(Object::Pending).collect())
    }

    /// `C_CreateObject` of a transaction: proposes it.
    pub(super) fn propose_transaction(
        &self,
        session: &mut Session,
        template: &[&TemplateEntry],
    ) -> Answer<CK_OBJECT_HANDLE> {
        session.device_error = 0;
        self.proposed(template).map_err(|refusal| refusal.note(&mut session.device_error))
    }

    fn proposed(&self, template: &[&TemplateEntry]) -> Result<CK_OBJECT_HANDLE, Refusal> {
        for TemplateEntry { kind, value } in template {
            match *kind {
                CKA_CLASS | CKA_VALUE | CKA_COUNTERSIGN_USERS | CKA_COUNTERSIGN_PROPOSAL_WALLET => {}
                CKA_TOKEN | CKA_PRIVATE => expect(bool_value(value)?)?,
                other => return Err(Class::Pending.refusal(other).into()),
            }
        }
        // It waits longer than the session lasts, so nobody shall take it for an object of the session, which is the default.
        let _is_token = required(template, CKA_TOKEN)?;
        let wallet = required(template, CKA_COUNTERSIGN_PROPOSAL_WALLET)?;
        let wallet = wallet.try_into().map_err(|_| Rv(CKR_ATTRIBUTE_VALUE_INVALID))?;
        let names = value_of(template, CKA_COUNTERSIGN_USERS).map(text).transpose()?;
        let names: Vec<String> = names.iter().flat_map(|names| names.lines()).map(str::to_owned).collect();
        let psbt = required(template, CKA_VALUE)?;
        self.require_user()?;
        ration::take_proposal()?;
        let psbt = PsbtBytes::read(psbt.to_vec()).map_err(EngineError::from)?;
        let proposed = self.engine.propose_transaction(&wallet, psbt, &names, self.peer());
        // There is no handle that could be wrong.
        let proposed = match proposed {
            Err(EngineError::NoSuchWallet) => return Err(Rv(CKR_ATTRIBUTE_VALUE_INVALID).into()),
            other => ration::of_refusals(other)?,
        };
        Ok(self.handle_of(Object::Pending(proposed))?)
    }

    /// `C_SetAttributeValue` of a proposed transaction: what one user says to it.
    pub(super) fn say_to_transaction(
        &self,
        session: &Session,
        ticket: &TicketId,
        template: &[&TemplateEntry],
    ) -> Result<(), Refusal> {
        let TemplateEntry { kind, value } = match template {
            [] => return Ok(()),
            [one] => one,
            _ => return Err(Rv(CKR_TEMPLATE_INCONSISTENT).into()),
        };
        let (word, is_signed) = match *kind {
            CKA_COUNTERSIGN_CONSENT_APPROVE => (Word::Approve, false),
            CKA_COUNTERSIGN_CONSENT_REFUSE => (Word::Refuse, false),
            CKA_COUNTERSIGN_APPROVE_SIGNED => (Word::Approve, true),
            CKA_COUNTERSIGN_REFUSE_SIGNED => (Word::Refuse, true),
            other => return Err(Class::Pending.refusal(other).into()),
        };
        if !session.read_write {
            return Err(Rv(CKR_SESSION_READ_ONLY).into());
        }
        let (user, code) = user_and_code(value)?;
        // Users come to the desk in person, so there is nobody else to log in.
        let typed = if self.is_desk() {
            Typed::AtDesk
        } else {
            self.require_user()?;
            Typed::BeforeBackend
        };
        if is_signed {
            let signature = core::str::from_utf8(code).map_err(|_| Rv(CKR_ATTRIBUTE_VALUE_INVALID))?;
            let judged = self.engine.say_by_device(ticket, word, user, signature);
            return ration::of_refusals(judged).map(|_standing| ());
        }
        ration::check_veto()?;
        let judged = self.engine.say(ticket, word, user, (code, typed));
        ration::count_veto(&judged);
        ration::of_refusals(judged).map(|_standing| ())
    }

    /// `C_DestroyObject` of a proposed transaction: its maker withdraws it.
    pub(super) fn withdraw_transaction(&self, session: &Session, ticket: &TicketId) -> Result<(), Refusal> {
        if !session.read_write {
            return Err(Rv(CKR_SESSION_READ_ONLY).into());
        }
        self.require_user()?;
        ration::take_proposal()?;
        ration::of_refusals(self.engine.withdraw_transaction(ticket, self.peer()))
    }
}
