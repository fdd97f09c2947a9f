//! Templates (PKCS#11 v3.2 section 4.1): a caller's description of an object, one attribute after the other.
//!
//! Each mistake has its own answer: `CKR_TEMPLATE_INCOMPLETE` for a missing attribute,
//! `CKR_ATTRIBUTE_VALUE_INVALID` for an invalid value, `CKR_TEMPLATE_INCONSISTENT` for values that cannot be
//! had, or not together. [`Class::refusal`](super::attributes::Class::refusal) has the answers for attributes
//! that cannot be given at all.

use cryptoki_sys::*;

use super::attributes::SECP256K1;
use super::request::TemplateEntry;
use super::rv::{Answer, Rv};

/// The attributes of a template, each once. Repeating one with the same value does no harm. With another
/// value, the template contradicts itself (section 4.1, cases 5 and 6).
pub(super) fn each_once(template: &[TemplateEntry]) -> Answer<Vec<&TemplateEntry>> {
    let mut once: Vec<&TemplateEntry> = Vec::with_capacity(template.len());
    for entry in template {
        match once.iter().find(|earlier| earlier.kind == entry.kind) {
            None => once.push(entry),
            Some(earlier) => expect(earlier.value[..] == entry.value[..])?,
        }
    }
    Ok(once)
}

/// The value of an attribute in a template, if it is there.
pub(super) fn value_of<'a>(template: &[&'a TemplateEntry], kind: CK_ATTRIBUTE_TYPE) -> Option<&'a [u8]> {
    template.iter().find(|entry| entry.kind == kind).map(|entry| &entry.value[..])
}

/// The value of a required attribute.
pub(super) fn required<'a>(template: &[&'a TemplateEntry], kind: CK_ATTRIBUTE_TYPE) -> Answer<&'a [u8]> {
    value_of(template, kind).ok_or(Rv(CKR_TEMPLATE_INCOMPLETE))
}

/// The template must give the value that the module decides.
pub(super) fn expect(right: bool) -> Answer {
    if right { Ok(()) } else { Err(Rv(CKR_TEMPLATE_INCONSISTENT)) }
}

/// An attribute that both templates of a key pair may give, with the same value.
pub(super) fn set_same<T: PartialEq>(slot: &mut Option<T>, value: T) -> Answer {
    expect(slot.as_ref().is_none_or(|there| *there == value))?;
    *slot = Some(value);
    Ok(())
}

/// A `CK_BBOOL`.
pub(super) fn bool_value(value: &[u8]) -> Answer<bool> {
    match value {
        [CK_FALSE] => Ok(false),
        [CK_TRUE] => Ok(true),
        _ => Err(Rv(CKR_ATTRIBUTE_VALUE_INVALID)),
    }
}

/// A `CK_ULONG`.
pub(super) fn ulong_value(value: &[u8]) -> Answer<CK_ULONG> {
    value.try_into().map(CK_ULONG::from_ne_bytes).map_err(|_| Rv(CKR_ATTRIBUTE_VALUE_INVALID))
}

/// An RFC 2279 string.
pub(super) fn text(value: &[u8]) -> Answer<String> {
    core::str::from_utf8(value).map(str::to_owned).map_err(|_| Rv(CKR_ATTRIBUTE_VALUE_INVALID))
}

/// An array of attributes, which must be empty, because we have none.
pub(super) fn expect_empty_array(value: &[u8]) -> Answer {
    valid(value.len().is_multiple_of(size_of::<CK_ATTRIBUTE>()))?;
    expect(value.is_empty())
}

/// A `CK_DATE`, or an empty one.
pub(super) fn check_date(value: &[u8]) -> Answer {
    valid(value.is_empty() || (value.len() == size_of::<CK_DATE>() && value.iter().all(u8::is_ascii_digit)))
}

/// EC domain parameters, which must be those of secp256k1, as an object identifier.
pub(super) fn check_curve(params: &[u8]) -> Answer {
    const OBJECT_IDENTIFIER: u8 = 0x06;
    const PRINTABLE_STRING: u8 = 0x13;
    const SEQUENCE: u8 = 0x30;
    match params {
        SECP256K1 => Ok(()),
        // Another curve, or a curve given by its name or its numbers.
        [OBJECT_IDENTIFIER | PRINTABLE_STRING | SEQUENCE, _, _, ..] => Err(Rv(CKR_CURVE_NOT_SUPPORTED)),
        _ => Err(Rv(CKR_ATTRIBUTE_VALUE_INVALID)),
    }
}

/// An object identifier in DER (X.690 section 8.19) of fewer than 128 bytes, or an empty value.
pub(super) fn check_object_identifier(value: &[u8]) -> Answer {
    let is_one = match value {
        [] => true,
        [0x06, len, arcs @ ..] => {
            // An arc ends with a byte whose high bit is clear, and does not begin with an empty digit.
            usize::from(*len) == arcs.len()
                && arcs.len() < 128
                && arcs.last().is_some_and(|last| last & 0x80 == 0)
                && arcs.first() != Some(&0x80)
                && arcs.windows(2).all(|pair| pair[0] & 0x80 != 0 || pair[1] != 0x80)
        }
        _ => false,
    };
    valid(is_one)
}

/// The value must have the length and form of its attribute.
pub(super) fn valid(is_valid: bool) -> Answer {
    if is_valid { Ok(()) } else { Err(Rv(CKR_ATTRIBUTE_VALUE_INVALID)) }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::super::request::Bytes;
    use super::*;

    #[test]
    fn an_attribute_given_twice_counts_once_and_two_values_are_a_contradiction() {
        let entry = |kind, value: &[u8]| TemplateEntry { kind, value: Bytes(Zeroizing::new(value.to_vec())) };
        let template = [entry(CKA_LABEL, b"a"), entry(CKA_ID, b"a"), entry(CKA_LABEL, b"a")];
        let kinds = |template: &[TemplateEntry]| {
            each_once(template).map(|once| once.iter().map(|entry| entry.kind).collect::<Vec<_>>())
        };
        assert_eq!(kinds(&template), Ok(vec![CKA_LABEL, CKA_ID]));
        let template = [entry(CKA_LABEL, b"a"), entry(CKA_LABEL, b"")];
        assert_eq!(kinds(&template), Err(Rv(CKR_TEMPLATE_INCONSISTENT)));
    }

    #[test]
    fn object_identifiers_are_der() {
        for good in [&[][..], SECP256K1, &[0x06, 0x01, 0x00], &[0x06, 0x02, 0x81, 0x00]] {
            assert_eq!(check_object_identifier(good), Ok(()), "{good:?}");
        }
        for bad in [
            &[0x06][..],
            &[0x06, 0x00],
            &[0x06, 0x02, 0x2a],
            &[0x06, 0x01, 0x2a, 0x03],
            &[0x06, 0x01, 0x80],
            &[0x06, 0x02, 0x80, 0x01],
            &[0x06, 0x03, 0x2a, 0x80, 0x01],
            &[0x04, 0x01, 0x2a],
            b"1.3.132.0.10",
        ] {
            assert_eq!(check_object_identifier(bad), Err(Rv(CKR_ATTRIBUTE_VALUE_INVALID)), "{bad:?}");
        }
    }
}
