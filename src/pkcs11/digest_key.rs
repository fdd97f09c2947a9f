//! Keys that sign digests, as templates describe them: the part that is theirs alone (see [`super::key_pair`]).
//!
//! The templates of a new key must say what it is made for: `CKA_ALLOWED_MECHANISMS` is required, and can contain
//! only `CKM_COUNTERSIGN_DIGEST` and `CKM_ECDSA`.

use cryptoki_sys::*;

use super::attributes::{Class, KeyKind, Side};
use super::key_pair::{Templates, change_of_terms, new_terms};
use super::request::TemplateEntry;
use super::rv::{Answer, Rv};
use super::template::{bool_value, check_curve, expect, required, set_same, valid};
use super::vendor::CKM_COUNTERSIGN_DIGEST;
use crate::admin::{KeyChange, NewDigestKey};
use crate::kernel::digest_key::DigestMechanisms;

/// The key that two templates describe, for `CKM_EC_KEY_PAIR_GEN` (PKCS#11 v3.2 section 6.3).
pub(super) fn new_digest_key(templates: &Templates<'_>) -> Answer<NewDigestKey> {
    // Section 6.3: the public template gives the curve.
    check_curve(required(templates.public, CKA_EC_PARAMS)?)?;
    let mut mechanisms = None;
    let terms = new_terms(KeyKind::Digest, templates, |side, TemplateEntry { kind, value }| {
        match *kind {
            CKA_ALLOWED_MECHANISMS => set_same(&mut mechanisms, mechanisms_of(value)?)?,
            CKA_VERIFY if side == Side::Public => expect(bool_value(value)?)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(NewDigestKey { terms, mechanisms: mechanisms.ok_or(Rv(CKR_TEMPLATE_INCOMPLETE))? })
}

/// The attributes of a key that can be set: its terms. Never what it was made for.
pub(super) fn digest_key_change(class: Class, template: &[&TemplateEntry]) -> Answer<KeyChange> {
    change_of_terms(class, template, |_| Ok(false))
}

/// `CKA_ALLOWED_MECHANISMS`: one or both of the two. A wallet's mechanism is not allowed: a key that signs
/// PSBTs signs no digests.
fn mechanisms_of(value: &[u8]) -> Answer<DigestMechanisms> {
    let (mechanisms, rest) = value.as_chunks::<{ size_of::<CK_MECHANISM_TYPE>() }>();
    valid(rest.is_empty())?;
    let mut allowed = DigestMechanisms { digest: false, ecdsa: false };
    for mechanism in mechanisms {
        match CK_MECHANISM_TYPE::from_ne_bytes(*mechanism) {
            CKM_COUNTERSIGN_DIGEST => allowed.digest = true,
            CKM_ECDSA => allowed.ecdsa = true,
            _ => return Err(Rv(CKR_TEMPLATE_INCONSISTENT)),
        }
    }
    expect(allowed.digest || allowed.ecdsa)?;
    Ok(allowed)
}
