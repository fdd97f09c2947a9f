//! Finding objects (PKCS#11 v3.2 section 5.7, `C_FindObjectsInit` to `C_FindObjectsFinal`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cryptoki_sys::*;

use super::super::application::{Application, Object, Totals};
use super::super::attributes::{KeyKind, Side, ulong};
use super::super::reply::Found;
use super::super::request::TemplateEntry;
use super::super::rv::{Answer, Rv};
use super::super::vendor::*;
use super::Loaded;
use crate::kernel::key::KeyTerms;

/// The most handles that the searches of all backends, or of all administrators, hold at a time. With a
/// million users in the token, each search finds a million.
const MAX_ALL_FOUND: usize = 1 << 23;

/// The handles that `C_FindObjects` has not returned yet, counted together with those of other searches.
pub(in crate::pkcs11) struct Finding {
    found: std::vec::IntoIter<Found>,
    counted: usize,
    totals: Arc<Totals>,
}

impl Finding {
    fn new(totals: &Arc<Totals>) -> Finding {
        Finding { found: vec![].into_iter(), counted: 0, totals: Arc::clone(totals) }
    }

    /// The number of handles that are left to return.
    pub(in crate::pkcs11) fn left(&self) -> usize {
        self.found.len()
    }

    fn hold(mut self, mut found: Vec<Found>) -> Answer<Finding> {
        let before = self.totals.found.fetch_add(found.len(), Ordering::SeqCst);
        self.counted = found.len();
        if before + found.len() > MAX_ALL_FOUND {
            return Err(Rv(CKR_DEVICE_MEMORY));
        }
        found.sort_unstable_by_key(|found| found.handle);
        self.found = found.into_iter();
        Ok(self)
    }
}

impl Drop for Finding {
    fn drop(&mut self) {
        self.totals.found.fetch_sub(self.counted, Ordering::SeqCst);
    }
}

impl Application {
    /// `C_FindObjectsInit`: finds the visible objects that match every attribute of the template.
    pub(in crate::pkcs11) fn find_objects_init(
        &self,
        session: CK_SESSION_HANDLE,
        template: &[TemplateEntry],
    ) -> Answer {
        self.with_session(session, |session| {
            if session.finding.is_some() {
                return Err(Rv(CKR_OPERATION_ACTIVE));
            }
            session.device_error = 0;
            let mut found = Vec::new();
            let mut consider = |object: Object, loaded: &Loaded| -> Answer {
                if self.matches(loaded, template)? {
                    let signs = matches!(object, Object::Key(KeyKind::Wallet, Side::Private, _));
                    found.push(Found { handle: self.handle_of(object)?, signs });
                }
                Ok(())
            };
            for object in self.candidates(template)? {
                if let Some(loaded) = self.load(&object)? {
                    consider(object, &loaded)?;
                }
            }
            for name in self.candidate_users(template)? {
                if let Some(user) = self.engine.user(&name)? {
                    let object = Object::User { name, key_id: user.key_id };
                    consider(object, &Loaded::User(user))?;
                }
            }
            session.finding = Some(Finding::new(&self.totals).hold(found)?);
            Ok(())
        })
    }

    /// `C_FindObjects`: returns at most `most` further handles.
    pub(in crate::pkcs11) fn find_objects(
        &self,
        session: CK_SESSION_HANDLE,
        most: usize,
    ) -> Answer<Vec<Found>> {
        self.with_session(session, |session| {
            let finding = session.finding.as_mut().ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
            Ok(finding.found.by_ref().take(most).collect())
        })
    }

    /// `C_FindObjectsFinal`.
    pub(in crate::pkcs11) fn find_objects_final(&self, session: CK_SESSION_HANDLE) -> Answer {
        self.with_session(session, |session| {
            session.finding.take().map(drop).ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))
        })
    }

    /// Whether the object has these values, byte for byte. A hidden value matches nothing, so nobody can
    /// guess it by searching.
    fn matches(&self, loaded: &Loaded, template: &[TemplateEntry]) -> Answer<bool> {
        for TemplateEntry { kind, value } in template {
            match self.value(loaded, *kind) {
                Ok(shown) if shown[..] == value[..] => {}
                Ok(_) | Err(Rv(CKR_ATTRIBUTE_SENSITIVE | CKR_ATTRIBUTE_TYPE_INVALID)) => return Ok(false),
                Err(rv) => return Err(rv),
            }
        }
        Ok(true)
    }

    /// The visible objects that can match, without users.
    fn candidates(&self, template: &[TemplateEntry]) -> Answer<Vec<Object>> {
        if self.is_desk() {
            let asks = asks_for(template, CKO_COUNTERSIGN_PROPOSAL);
            return if asks { self.proposed_transactions(id_in(template)) } else { Ok(vec![]) };
        }
        // Hardware features are found only by searches that ask for them (section 4.3).
        if asks_for(template, CKO_HW_FEATURE) {
            return Ok([Object::Clock, Object::UserPin, Object::Freeze]
                .into_iter()
                .filter(|object| self.sees(object))
                .collect());
        }
        // So are officers and acts, which older clients do not know.
        if asks_for(template, CKO_COUNTERSIGN_OFFICERS) {
            return Ok(vec![Object::Officers]);
        }
        if asks_for(template, CKO_COUNTERSIGN_PROPOSAL) {
            let proposed = self.engine.proposal_nonces()?.into_iter().map(Object::Proposal);
            let drafts = self.session_objects(true);
            return Ok(proposed.chain(self.proposed_transactions(id_in(template))?).chain(drafts).collect());
        }
        let (name, id) = (name_in(template), id_in(template));
        let mut objects = vec![Object::Profile];
        let mut consider = |kind, key_id, terms: &KeyTerms| {
            let is_named = name.is_none_or(|name| name == terms.label.as_bytes());
            if is_named && id.is_none_or(|id| id == terms.cka_id) {
                objects.extend([Side::Public, Side::Private].map(|side| Object::Key(kind, side, key_id)));
            }
        };
        for (id, wallet) in self.engine.wallets() {
            consider(KeyKind::Wallet, id, wallet.terms());
        }
        for (id, key) in self.engine.digest_keys() {
            consider(KeyKind::Digest, id, key.terms());
        }
        objects.extend(self.session_objects(false));
        objects.retain(|object| self.sees(object));
        Ok(objects)
    }

    /// The names of the users who can match. A user whom the template names is looked up, because there may
    /// be a million of them.
    fn candidate_users(&self, template: &[TemplateEntry]) -> Answer<Vec<String>> {
        let may_be_users =
            template.iter().all(|entry| entry.kind != CKA_CLASS || is_class(entry, CKO_OTP_KEY));
        if !may_be_users || self.role().is_none() {
            return Ok(vec![]);
        }
        Ok(match (name_in(template).map(core::str::from_utf8), id_in(template)) {
            (Some(Ok(name)), _) => vec![name.to_owned()],
            (Some(Err(_)), _) => vec![],
            (None, Some(id)) => self.engine.user_name_of(id)?.into_iter().collect(),
            (None, None) => self.engine.user_names()?,
        })
    }
}

fn asks_for(template: &[TemplateEntry], class: CK_OBJECT_CLASS) -> bool {
    template.iter().any(|entry| entry.kind == CKA_CLASS && is_class(entry, class))
}

fn is_class(entry: &TemplateEntry, class: CK_OBJECT_CLASS) -> bool {
    entry.value[..] == ulong(class)
}

/// The label in the template: a wallet's, or a user's name.
fn name_in(template: &[TemplateEntry]) -> Option<&[u8]> {
    first_of(template, &[CKA_LABEL, CKA_OTP_USER_IDENTIFIER])
}

fn id_in(template: &[TemplateEntry]) -> Option<&[u8]> {
    first_of(template, &[CKA_ID])
}

fn first_of<'a>(template: &'a [TemplateEntry], kinds: &[CK_ATTRIBUTE_TYPE]) -> Option<&'a [u8]> {
    template.iter().find(|entry| kinds.contains(&entry.kind)).map(|entry| &entry.value[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_hold_so_many_handles_together_and_give_them_back() {
        let totals = Arc::new(Totals::default());
        let found = |count: u64| (0..count).map(|handle| Found { handle, signs: false }).collect();
        totals.found.store(MAX_ALL_FOUND - 3, Ordering::SeqCst);
        let Ok(first) = Finding::new(&totals).hold(found(2)) else { panic!("there is room") };
        assert_eq!(Finding::new(&totals).hold(found(2)).err(), Some(Rv(CKR_DEVICE_MEMORY)));
        assert_eq!(totals.found.load(Ordering::SeqCst), MAX_ALL_FOUND - 1, "the first one's alone");
        assert!(Finding::new(&totals).hold(found(1)).is_ok());
        drop(first);
        assert_eq!(totals.found.load(Ordering::SeqCst), MAX_ALL_FOUND - 3);
    }
}
