//! Key pairs on secp256k1, as the two templates of `C_GenerateKeyPair` describe them (PKCS#11 v3.2 sections
//! 5.18 and 6.3): the part that is the same for every pair made inside, whatever it signs.

use cryptoki_sys::*;

use super::request::TemplateEntry;
use super::rv::Answer;
use super::template::{bool_value, check_curve, check_date, expect, expect_empty_array, ulong_value};

/// Which of the two templates an attribute is in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Public,
    Private,
}

/// The attributes of both templates, each with its side.
pub(super) fn both_sides<'a>(
    public: &[&'a TemplateEntry],
    private: &[&'a TemplateEntry],
) -> impl Iterator<Item = (Side, &'a TemplateEntry)> {
    let public = public.iter().map(|entry| (Side::Public, *entry));
    public.chain(private.iter().map(|entry| (Side::Private, *entry)))
}

/// Whether the module decides this attribute alike for every pair. A template may repeat it, and must then be
/// right.
pub(super) fn is_decided(side: Side, TemplateEntry { kind, value }: &TemplateEntry) -> Answer<bool> {
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
