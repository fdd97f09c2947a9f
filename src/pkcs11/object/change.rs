//! Changing objects (PKCS#11 v3.2 section 5.7, `C_SetAttributeValue`).

use cryptoki_sys::*;

use super::super::application::{Application, Object};
use super::super::attributes::{Class, KeyKind};
use super::super::digest_key::digest_key_change;
use super::super::key_pair;
use super::super::request::TemplateEntry;
use super::super::rv::{Answer, Rv};
use super::super::template::{bool_value, each_once, text};
use super::super::vendor::*;
use super::super::wallet::wallet_change;
use crate::admin::{Act, NewDevice, Target, UserId};
use crate::kernel::officer::Council;
use crate::kernel::utc;

impl Application {
    /// `C_SetAttributeValue`: all of the template or nothing.
    pub(in crate::pkcs11) fn set_attribute_value(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        template: &[TemplateEntry],
    ) -> Answer {
        self.with_session(session, |in_session| {
            in_session.device_error = 0;
            let object = self.object_of(object)?;
            match &object {
                Object::Profile => Err(Rv(CKR_ACTION_PROHIBITED)),
                Object::Session { number, .. } => self.change_session_object(*number, |old| {
                    if !old.is_modifiable() {
                        return Err(Rv(CKR_ACTION_PROHIBITED));
                    }
                    old.change(&each_once(template)?)
                }),
                Object::Proposal(nonce) => self
                    .change_proposal(in_session, nonce, &each_once(template)?)
                    .map_err(|refusal| refusal.note(&mut in_session.device_error)),
                Object::Pending(ticket) => self
                    .say_to_transaction(in_session, ticket, &each_once(template)?)
                    .map_err(|refusal| refusal.note(&mut in_session.device_error)),
                _ => {
                    let administration = self.administration(in_session)?;
                    let template = each_once(template)?;
                    let Some(act) = change_of(&object, &template)? else { return Ok(()) };
                    administration.change(act).map_err(|refusal| {
                        if refusal.needs_officers()
                            && let Ok(Some(act)) = change_of(&object, &template)
                        {
                            self.leave_draft(session, &act);
                        }
                        refusal.note(&mut in_session.device_error)
                    })
                }
            }
        })
    }
}

/// The act that a template asks for, or none for an empty template.
fn change_of(object: &Object, template: &[&TemplateEntry]) -> Answer<Option<Act>> {
    if let Some(act) = freeze_of(object, template)? {
        return Ok(Some(act));
    }
    let act = match object {
        Object::User { name, key_id } => {
            let user = UserId { name: name.clone(), key: *key_id };
            if let Some(act) = device_change(&user, template)? {
                return Ok(Some(act));
            }
            check_unlocking(template)?;
            Act::UnlockUser(user)
        }
        Object::Clock => return Ok(clock_change(template)?.map(Act::TakeClock)),
        Object::UserPin => return pin_change(template),
        Object::Officers => return officers_change(template),
        // Nothing else can be set of it.
        Object::Freeze => {
            return template.first().map_or(Ok(None), |entry| Err(Class::Freeze.refusal(entry.kind)));
        }
        Object::Key(kind, side, id) => {
            let class = Class::Key(*kind, *side);
            match kind {
                KeyKind::Wallet => Act::ChangeWallet(*id, wallet_change(class, template)?),
                KeyKind::Digest => Act::ChangeDigestKey(*id, digest_key_change(class, template)?),
            }
        }
        Object::Proposal(_) | Object::Pending(_) | Object::Profile | Object::Session { .. } => {
            return Err(Rv(CKR_ACTION_PROHIBITED));
        }
    };
    Ok(if template.is_empty() { None } else { Some(act) })
}

/// The freeze or thaw that a template asks for. The template has no other attribute, because each act has its own link in the audit.
fn freeze_of(object: &Object, template: &[&TemplateEntry]) -> Answer<Option<Act>> {
    let target = match object {
        Object::Freeze => Target::Everything,
        Object::User { name, key_id } => Target::User(UserId { name: name.clone(), key: *key_id }),
        Object::Key(kind, _, id) => key_pair::target(*kind, *id),
        Object::Clock
        | Object::UserPin
        | Object::Officers
        | Object::Proposal(_)
        | Object::Pending(_)
        | Object::Profile
        | Object::Session { .. } => return Ok(None),
    };
    match template {
        [TemplateEntry { kind: CKA_COUNTERSIGN_FROZEN, value }] => {
            Ok(Some(if bool_value(value)? { Act::Freeze(target) } else { Act::Thaw(target) }))
        }
        _ if template.iter().any(|entry| entry.kind == CKA_COUNTERSIGN_FROZEN) => {
            Err(Rv(CKR_TEMPLATE_INCONSISTENT))
        }
        _ => Ok(None),
    }
}

/// The device to register or to remove. The template has no other attribute, because each act has its own link in the audit.
fn device_change(user: &UserId, template: &[&TemplateEntry]) -> Answer<Option<Act>> {
    let of_devices = [CKA_COUNTERSIGN_DEVICE_ADD, CKA_COUNTERSIGN_DEVICE_REMOVE];
    let [TemplateEntry { kind, value }] = template else {
        let has_one = template.iter().any(|entry| of_devices.contains(&entry.kind));
        return if has_one { Err(Rv(CKR_TEMPLATE_INCONSISTENT)) } else { Ok(None) };
    };
    match *kind {
        CKA_COUNTERSIGN_DEVICE_ADD => {
            let (line, invalid) = (text(value)?, Rv(CKR_ATTRIBUTE_VALUE_INVALID));
            let (network, rest) = line.split_once(' ').ok_or(invalid)?;
            let (address, name) = rest.split_once(' ').ok_or(invalid)?;
            let network = network.parse().map_err(|_| invalid)?;
            let (address, name) = (address.to_owned(), name.to_owned());
            Ok(Some(Act::AddDevice(NewDevice { user: user.clone(), name, network, address })))
        }
        CKA_COUNTERSIGN_DEVICE_REMOVE => Ok(Some(Act::RemoveDevice(user.clone(), text(value)?))),
        _ => Ok(None),
    }
}

/// Checks the one attribute of a user that can be set: `CKA_COUNTERSIGN_LOCKED`, to false.
fn check_unlocking(template: &[&TemplateEntry]) -> Answer {
    template.iter().try_for_each(|TemplateEntry { kind, value }| match *kind {
        CKA_COUNTERSIGN_LOCKED if !bool_value(value)? => Ok(()),
        CKA_COUNTERSIGN_LOCKED => Err(Rv(CKR_ATTRIBUTE_VALUE_INVALID)),
        other => Err(Class::OtpKey.refusal(other)),
    })
}

/// The one attribute of the clock that can be set: the time that it shows.
fn clock_change(template: &[&TemplateEntry]) -> Answer<Option<u64>> {
    let mut time = None;
    for TemplateEntry { kind, value } in template {
        match *kind {
            CKA_VALUE => time = Some(utc::from_digits(value).ok_or(Rv(CKR_ATTRIBUTE_VALUE_INVALID))?),
            other => return Err(Class::Clock.refusal(other)),
        }
    }
    Ok(time)
}

/// The one attribute of the officers that can be set.
fn officers_change(template: &[&TemplateEntry]) -> Answer<Option<Act>> {
    let mut change = None;
    for TemplateEntry { kind, value } in template {
        match *kind {
            CKA_COUNTERSIGN_COUNCIL => {
                let council = Council::parse(&text(value)?).ok_or(Rv(CKR_ATTRIBUTE_VALUE_INVALID))?;
                change = Some(Act::SetOfficers(Box::new(council)));
            }
            other => return Err(Class::Officers.refusal(other)),
        }
    }
    Ok(change)
}

/// The attributes of the backends' PIN that can be set: `CKA_COUNTERSIGN_LOCKED`, to false, or
/// `CKA_COUNTERSIGN_PIN_LOST`, to true. Only one at a time, because each is an act with a link of its own in
/// the audit.
fn pin_change(template: &[&TemplateEntry]) -> Answer<Option<Act>> {
    let change = |TemplateEntry { kind, value }: &TemplateEntry| match *kind {
        CKA_COUNTERSIGN_LOCKED if !bool_value(value)? => Ok(Act::UnlockUserPin),
        CKA_COUNTERSIGN_PIN_LOST if bool_value(value)? => Ok(Act::LoseUserPin),
        CKA_COUNTERSIGN_LOCKED | CKA_COUNTERSIGN_PIN_LOST => Err(Rv(CKR_ATTRIBUTE_VALUE_INVALID)),
        other => Err(Class::UserPin.refusal(other)),
    };
    match template {
        [] => Ok(None),
        [one] => change(one).map(Some),
        _ => Err(Rv(CKR_TEMPLATE_INCONSISTENT)),
    }
}
