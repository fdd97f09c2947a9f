//! Acts that officers decide: drafts, proposals, signatures and vetoes (`include/countersign.h`, "Officers").
//!
//! An officer has no PIN, so none of this needs a login: the right is the officer's signature, whatever door it comes in by. A user's veto
//! needs one, because whoever could hand in codes without a PIN could lock every user. So does the draft of a user's freeze, because it
//! shows whether there is such a user.

use cryptoki_sys::*;

use super::application::{Application, Object, Session};
use super::attributes::Class;
use super::ration;
use super::request::TemplateEntry;
use super::rv::{Answer, Refusal, Rv};
use super::session_object::SessionObject;
use super::template::{bool_value, expect, required, text, ulong_value, value_of};
use super::vendor::*;
use crate::admin::{Act, Target, UserId};
use crate::engine::{Engine, EngineError};
use crate::kernel::motion::{MAX_TEXT_LEN, Nonce};
use crate::kernel::pin::Heir;

/// Whether a template of `C_CreateObject` is for an act.
pub(super) fn is_of_an_act(template: &[&TemplateEntry]) -> bool {
    value_of(template, CKA_CLASS)
        .is_some_and(|class| ulong_value(class).is_ok_and(|class| class == CKO_COUNTERSIGN_PROPOSAL))
}

/// Credits delay to the acts that wait, at most once in a few minutes.
pub(super) fn tick(engine: &Engine) {
    match engine.tick() {
        Ok(()) | Err(EngineError::NotInitialised) => {}
        Err(error) => ration::failed(|| format!("no delay was credited to the acts that wait: {error}")),
    }
}

impl Application {
    /// `C_CreateObject` of an act: proposes it, or drafts one.
    pub(super) fn create_act(
        &self,
        handle: CK_SESSION_HANDLE,
        session: &mut Session,
        template: &[&TemplateEntry],
    ) -> Answer<CK_OBJECT_HANDLE> {
        session.device_error = 0;
        let is_token = value_of(template, CKA_TOKEN).map(bool_value).transpose()?.unwrap_or(false);
        let made = if is_token { self.propose(session, template) } else { self.draft(handle, template) };
        made.map_err(|refusal| refusal.note(&mut session.device_error))
    }

    /// Leaves the draft of what an administrator was refused, for the officers.
    pub(super) fn leave_draft(&self, session: CK_SESSION_HANDLE, act: &Act) {
        // Whatever comes of this one, the one before is of another call.
        self.drop_draft(session);
        if self.keep_draft_of(session, act).is_err() {
            ration::refused(|| "the session has no draft of the act that officers must sign".into());
        }
    }

    /// `C_SetAttributeValue` of a proposed act: a signature, a veto, or that it is to be carried out. One at a time, because each is
    /// durable by itself.
    pub(super) fn change_proposal(
        &self,
        session: &Session,
        nonce: &Nonce,
        template: &[&TemplateEntry],
    ) -> Result<(), Refusal> {
        let TemplateEntry { kind, value } = match template {
            [] => return Ok(()),
            [one] => one,
            _ => return Err(Rv(CKR_TEMPLATE_INCONSISTENT).into()),
        };
        match *kind {
            CKA_COUNTERSIGN_ACT_SIGNATURE
            | CKA_COUNTERSIGN_ACT_VETO
            | CKA_COUNTERSIGN_ACT_VETO_CODE
            | CKA_COUNTERSIGN_ACT_CARRY_OUT => {}
            other => return Err(Class::Proposal.refusal(other).into()),
        }
        if !session.read_write {
            return Err(Rv(CKR_SESSION_READ_ONLY).into());
        }
        match *kind {
            CKA_COUNTERSIGN_ACT_SIGNATURE => {
                ration::of_refusals(self.engine.sign_proposal(nonce, &text(value)?))
            }
            CKA_COUNTERSIGN_ACT_VETO => {
                ration::of_refusals(self.engine.veto_by_officer(nonce, &text(value)?))
            }
            CKA_COUNTERSIGN_ACT_VETO_CODE => {
                let (user, code) = user_and_code(value)?;
                if self.role().is_none() {
                    return Err(Rv(CKR_USER_NOT_LOGGED_IN).into());
                }
                ration::check_veto()?;
                let judged = self.engine.veto_by_user(nonce, user, code);
                ration::count_veto(&judged);
                ration::of_refusals(judged)
            }
            _ => {
                if !bool_value(value)? {
                    return Err(Rv(CKR_ATTRIBUTE_VALUE_INVALID).into());
                }
                ration::of_refusals(self.engine.carry_out(nonce))
            }
        }
    }

    /// `C_DestroyObject` of a proposed act: the security officer withdraws it.
    pub(super) fn withdraw(&self, session: &Session, nonce: &Nonce) -> Result<(), Refusal> {
        let administration = self.administration(session)?;
        ration::take_draft()?;
        Ok(self.engine.withdraw(administration.administrator(), nonce)?)
    }

    fn propose(&self, session: &Session, template: &[&TemplateEntry]) -> Result<CK_OBJECT_HANDLE, Refusal> {
        for TemplateEntry { kind, value } in template {
            match *kind {
                CKA_CLASS | CKA_TOKEN | CKA_VALUE | CKA_COUNTERSIGN_ACT_SIGNATURE => {}
                CKA_PRIVATE => expect(!bool_value(value)?)?,
                other => return Err(Class::Proposal.refusal(other).into()),
            }
        }
        let act = required(template, CKA_VALUE)?;
        // A transaction may be longer.
        if act.len() > MAX_TEXT_LEN {
            return Err(Rv(CKR_ATTRIBUTE_VALUE_INVALID).into());
        }
        let act = text(act)?;
        let signature = value_of(template, CKA_COUNTERSIGN_ACT_SIGNATURE).map(text).transpose()?;
        let administration = match &signature {
            // Whoever is logged in: the signature is enough.
            Some(_) => self.administration(session).ok(),
            None => Some(self.administration(session)?),
        };
        if signature.is_none() {
            ration::take_draft()?;
        }
        let by = administration.as_ref().map(|administration| administration.administrator());
        let nonce = ration::of_refusals(self.engine.propose(by, &act, signature.as_deref()))?;
        Ok(self.handle_of(Object::Proposal(nonce))?)
    }

    fn draft(
        &self,
        session: CK_SESSION_HANDLE,
        template: &[&TemplateEntry],
    ) -> Result<CK_OBJECT_HANDLE, Refusal> {
        for TemplateEntry { kind, value } in template {
            match *kind {
                CKA_CLASS | CKA_TOKEN | CKA_COUNTERSIGN_ACT_DO => {}
                CKA_PRIVATE => expect(!bool_value(value)?)?,
                other => return Err(Class::Draft.refusal(other).into()),
            }
        }
        let what = text(required(template, CKA_COUNTERSIGN_ACT_DO)?)?;
        // A freeze is in a hurry, and its draft is short.
        if !what.starts_with("freeze ") {
            ration::take_draft()?;
        }
        let act = self.act_to_draft(&what)?;
        self.keep_draft_of(session, &act)
    }

    /// The acts that an officer may want without an administrator's having been refused them.
    fn act_to_draft(&self, what: &str) -> Result<Act, Refusal> {
        let invalid = || Rv(CKR_ATTRIBUTE_VALUE_INVALID);
        if let Some(heir) = what.strip_prefix("so-pin-lost ") {
            let digest = data_encoding::HEXLOWER.decode(heir.as_bytes()).map_err(|_| invalid())?;
            return Ok(Act::LoseSoPin(Heir(digest.try_into().map_err(|_| invalid())?)));
        }
        let (kind, name) = what
            .strip_prefix("freeze ")
            .map(|what| what.split_once(' ').unwrap_or((what, "")))
            .ok_or_else(invalid)?;
        Ok(Act::Freeze(match kind {
            "all" if name.is_empty() => Target::Everything,
            "wallet" => {
                let wallets = self.engine.wallets();
                let found = wallets.into_iter().find(|(_, wallet)| wallet.label() == name);
                Target::Wallet(found.ok_or_else(invalid)?.0)
            }
            "key" => {
                let keys = self.engine.digest_keys();
                let found = keys.into_iter().find(|(_, key)| key.label() == name);
                Target::DigestKey(found.ok_or_else(invalid)?.0)
            }
            // Without a login, nobody learns who is enrolled.
            "user" if self.role().is_none() => return Err(Rv(CKR_USER_NOT_LOGGED_IN).into()),
            "user" => {
                let found = self.engine.user(name)?.ok_or_else(invalid)?;
                Target::User(UserId { name: found.name, key: found.key_id })
            }
            _ => return Err(invalid().into()),
        }))
    }

    fn keep_draft_of(&self, session: CK_SESSION_HANDLE, act: &Act) -> Result<CK_OBJECT_HANDLE, Refusal> {
        let text = self.engine.draft(act)?;
        let draft = SessionObject::draft(text, self.unique_id()?).map_err(EngineError::from)?;
        Ok(self.keep_draft(session, draft)?)
    }
}

/// A user's name and code, as in the PIN of a context-specific login.
pub(super) fn user_and_code(value: &[u8]) -> Answer<(&str, &[u8])> {
    let invalid = Rv(CKR_ATTRIBUTE_VALUE_INVALID);
    let (user, code) = core::str::from_utf8(value).map_err(|_| invalid)?.split_once(':').ok_or(invalid)?;
    Ok((user, code.as_bytes()))
}
