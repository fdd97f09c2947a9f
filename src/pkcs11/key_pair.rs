//! Wallets and keys that sign digests, as templates describe them: the two templates of `C_GenerateKeyPair`
//! (PKCS#11 v3.2 sections 5.18 and 6.3), and that of `C_SetAttributeValue`.
//!
//! What is the same for both kinds is in this file. `wallet` and `digest_key` have what is theirs alone.

use cryptoki_sys::*;

use super::attributes::{Class, KeyKind, Side};
use super::request::TemplateEntry;
use super::rv::{Answer, Rv};
use super::template::{
    bool_value, check_curve, check_date, expect, expect_empty_array, set_same, text, ulong_value,
};
use super::vendor::*;
use crate::admin::{KeyChange, KeyTerms, Target};
use crate::engine::KeyId;

/// The two templates of a new pair.
pub(super) struct Templates<'a> {
    pub(super) public: &'a [&'a TemplateEntry],
    pub(super) private: &'a [&'a TemplateEntry],
}

/// Reads the templates of a new pair of this kind: both may give any of its terms. `own` takes an attribute that
/// only this kind has, and answers whether it is one.
pub(super) fn new_terms(
    kind: KeyKind,
    templates: &Templates<'_>,
    mut own: impl FnMut(Side, &TemplateEntry) -> Answer<bool>,
) -> Answer<KeyTerms> {
    let (mut label, mut cka_id, mut users, mut policy) = (None, None, None, None);
    let public = templates.public.iter().map(|entry| (Side::Public, *entry));
    let private = templates.private.iter().map(|entry| (Side::Private, *entry));
    for (side, entry) in public.chain(private) {
        let value = &entry.value;
        match entry.kind {
            CKA_LABEL => set_same(&mut label, text(value)?)?,
            CKA_ID => set_same(&mut cka_id, value.to_vec())?,
            CKA_COUNTERSIGN_USERS => set_same(&mut users, text(value)?)?,
            CKA_COUNTERSIGN_POLICY => set_same(&mut policy, text(value)?)?,
            _ if is_decided(side, entry)? || own(side, entry)? => {}
            other => return Err(Class::Key(kind, side).refusal(other)),
        }
    }
    let incomplete = Rv(CKR_TEMPLATE_INCOMPLETE);
    Ok(KeyTerms {
        label: label.ok_or(incomplete)?,
        cka_id: cka_id.unwrap_or_default(),
        users: user_list(&users.ok_or(incomplete)?),
        policy: policy.ok_or(incomplete)?,
    })
}

/// Reads the template of a change: it may give label, users and the whole policy. `own` as for [`new_terms`].
pub(super) fn change_of_terms(
    class: Class,
    template: &[&TemplateEntry],
    mut own: impl FnMut(&TemplateEntry) -> Answer<bool>,
) -> Answer<KeyChange> {
    let mut change = KeyChange::default();
    for entry in template {
        let value = &entry.value;
        match entry.kind {
            CKA_LABEL => change.label = Some(text(value)?),
            CKA_COUNTERSIGN_USERS => change.users = Some(user_list(&text(value)?)),
            CKA_COUNTERSIGN_POLICY => change.policy = Some(text(value)?),
            _ if own(entry)? => {}
            other => return Err(class.refusal(other)),
        }
    }
    Ok(change)
}

/// The names in `CKA_COUNTERSIGN_USERS`.
fn user_list(value: &str) -> Vec<String> {
    value.split('\n').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// What a freeze of the pair stops.
pub(super) fn target(kind: KeyKind, id: KeyId) -> Target {
    match kind {
        KeyKind::Wallet => Target::Wallet(id),
        KeyKind::Digest => Target::DigestKey(id),
    }
}

/// Whether the module decides this attribute alike for every pair. A template may repeat it, and must then be
/// right.
fn is_decided(side: Side, TemplateEntry { kind, value }: &TemplateEntry) -> Answer<bool> {
    let is_private = side == Side::Private;
    match *kind {
        CKA_CLASS => expect(ulong_value(value)? == if is_private { CKO_PRIVATE_KEY } else { CKO_PUBLIC_KEY }),
        CKA_KEY_TYPE => expect(ulong_value(value)? == CKK_EC),
        CKA_EC_PARAMS => check_curve(value),
        CKA_PRIVATE => expect(bool_value(value)? == is_private),
        CKA_TOKEN | CKA_MODIFIABLE => expect(bool_value(value)?),
        CKA_DERIVE | CKA_COPYABLE | CKA_DESTROYABLE => expect(!bool_value(value)?),
        CKA_SUBJECT => expect(value.is_empty()),
        CKA_START_DATE | CKA_END_DATE => {
            check_date(value)?;
            expect(value.is_empty())
        }
        CKA_SENSITIVE | CKA_SIGN | CKA_ALWAYS_AUTHENTICATE if is_private => expect(bool_value(value)?),
        CKA_EXTRACTABLE
        | CKA_DECRYPT
        | CKA_SIGN_RECOVER
        | CKA_UNWRAP
        | CKA_DECAPSULATE
        | CKA_WRAP_WITH_TRUSTED
            if is_private =>
        {
            expect(!bool_value(value)?)
        }
        CKA_UNWRAP_TEMPLATE | CKA_DECAPSULATE_TEMPLATE | CKA_DERIVE_TEMPLATE if is_private => {
            expect_empty_array(value)
        }
        CKA_ENCRYPT | CKA_VERIFY_RECOVER | CKA_WRAP | CKA_ENCAPSULATE | CKA_TRUSTED if !is_private => {
            expect(!bool_value(value)?)
        }
        CKA_WRAP_TEMPLATE | CKA_ENCAPSULATE_TEMPLATE if !is_private => expect_empty_array(value),
        _ => return Ok(false),
    }
    .map(|()| true)
}
