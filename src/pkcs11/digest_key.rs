//! Keys that sign digests, as templates describe them: `C_GenerateKeyPair` (PKCS#11 v3.2 section 5.18) with
//! `CKM_EC_KEY_PAIR_GEN` (section 6.3), and `C_SetAttributeValue`.
//!
//! A template must say what the key is made for: `CKA_ALLOWED_MECHANISMS` is required, and can contain only
//! `CKM_COUNTERSIGN_DIGEST` and `CKM_ECDSA`.

use cryptoki_sys::*;

use super::attributes::Class;
use super::key_management::user_list;
use super::key_pair::{Side, both_sides, is_decided};
use super::request::TemplateEntry;
use super::rv::{Answer, Rv};
use super::template::{bool_value, check_curve, expect, required, set_same, text, valid};
use super::vendor::*;
use crate::admin::{KeyTerms, NewDigestKey};
use crate::kernel::digest_key::DigestMechanisms;

/// The key that two templates describe.
pub(super) fn new_digest_key(public: &[&TemplateEntry], private: &[&TemplateEntry]) -> Answer<NewDigestKey> {
    // Section 6.3: the public template gives the curve.
    check_curve(required(public, CKA_EC_PARAMS)?)?;
    let (mut label, mut cka_id, mut users, mut policy, mut mechanisms) = (None, None, None, None, None);
    for (side, entry) in both_sides(public, private) {
        if is_decided(side, entry)? {
            continue;
        }
        let TemplateEntry { kind, value } = entry;
        match *kind {
            CKA_LABEL => set_same(&mut label, text(value)?)?,
            CKA_ID => set_same(&mut cka_id, value.to_vec())?,
            CKA_COUNTERSIGN_USERS => set_same(&mut users, text(value)?)?,
            CKA_COUNTERSIGN_POLICY => set_same(&mut policy, text(value)?)?,
            CKA_ALLOWED_MECHANISMS => set_same(&mut mechanisms, mechanisms_of(value)?)?,
            CKA_VERIFY if side == Side::Public => expect(bool_value(value)?)?,
            other => {
                return Err(match side {
                    Side::Public => Class::DigestPublic.refusal(other),
                    Side::Private => Class::DigestPrivate.refusal(other),
                });
            }
        }
    }
    let incomplete = Rv(CKR_TEMPLATE_INCOMPLETE);
    Ok(NewDigestKey {
        terms: KeyTerms {
            label: label.ok_or(incomplete)?,
            cka_id: cka_id.unwrap_or_default(),
            users: user_list(&users.ok_or(incomplete)?),
            policy: policy.ok_or(incomplete)?,
        },
        mechanisms: mechanisms.ok_or(incomplete)?,
    })
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
