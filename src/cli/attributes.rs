//! Attributes of objects, as text, numbers and booleans.

use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;
use cryptoki_sys::{CK_ATTRIBUTE_TYPE, CK_ULONG};

use crate::error::{CommandError, During};
use crate::meaning::Act;

/// The attributes of one object that exist and are visible.
pub(crate) struct Attributes(Vec<Attribute>);

impl Attributes {
    /// Reads `types` of `object` in one call.
    pub(crate) fn read(
        session: &Session,
        object: ObjectHandle,
        types: &[AttributeType],
        act: Act<'_>,
    ) -> Result<Self, CommandError> {
        session.get_attributes(object, types).during(act).map(Attributes)
    }

    /// `CKA_LABEL`.
    pub(crate) fn label(&self) -> String {
        let label = self.0.iter().find_map(|attribute| match attribute {
            Attribute::Label(bytes) => Some(bytes.as_slice()),
            _ => None,
        });
        String::from_utf8_lossy(label.unwrap_or_default()).into_owned()
    }

    /// `CKA_VALUE`.
    pub(crate) fn value(&self) -> &[u8] {
        let value = self.0.iter().find_map(|attribute| match attribute {
            Attribute::Value(bytes) => Some(bytes.as_slice()),
            _ => None,
        });
        value.unwrap_or_default()
    }

    /// `CKA_VALUE` that is UTF-8.
    pub(crate) fn value_text(&self) -> String {
        String::from_utf8_lossy(self.value()).into_owned()
    }

    /// `CKA_ID`.
    pub(crate) fn id(&self) -> Vec<u8> {
        let id = self.0.iter().find_map(|attribute| match attribute {
            Attribute::Id(bytes) => Some(bytes.as_slice()),
            _ => None,
        });
        id.unwrap_or_default().to_vec()
    }

    /// `CKA_EC_POINT`.
    pub(crate) fn ec_point(&self) -> &[u8] {
        let point = self.0.iter().find_map(|attribute| match attribute {
            Attribute::EcPoint(bytes) => Some(bytes.as_slice()),
            _ => None,
        });
        point.unwrap_or_default()
    }

    /// The value of a vendor attribute.
    pub(crate) fn bytes(&self, number: CK_ATTRIBUTE_TYPE) -> Option<&[u8]> {
        self.0.iter().find_map(|attribute| match attribute {
            Attribute::VendorDefined((AttributeType::VendorDefined(n), bytes)) if *n == number => {
                Some(bytes.as_slice())
            }
            _ => None,
        })
    }

    /// A vendor attribute that is UTF-8, or an empty text without it.
    pub(crate) fn text(&self, number: CK_ATTRIBUTE_TYPE) -> String {
        String::from_utf8_lossy(self.bytes(number).unwrap_or_default()).into_owned()
    }

    /// A vendor attribute that is a `CK_ULONG`.
    pub(crate) fn number(&self, number: CK_ATTRIBUTE_TYPE) -> Option<CK_ULONG> {
        self.bytes(number)?.try_into().ok().map(CK_ULONG::from_ne_bytes)
    }

    /// A vendor attribute that is two `CK_ULONG` below 2^32.
    pub(crate) fn numbers(&self, number: CK_ATTRIBUTE_TYPE) -> Option<(u32, u32)> {
        let (first, second) = self.bytes(number)?.split_at_checked(size_of::<CK_ULONG>())?;
        let number = |bytes: &[u8]| bytes.try_into().ok().map(CK_ULONG::from_ne_bytes)?.try_into().ok();
        Some((number(first)?, number(second)?))
    }

    /// A vendor attribute that is a `CK_BBOOL`.
    pub(crate) fn truth(&self, number: CK_ATTRIBUTE_TYPE) -> Option<bool> {
        match self.bytes(number)? {
            [byte] => Some(*byte != 0),
            _ => None,
        }
    }
}

/// The type of a vendor attribute, or of a standard one that the crate has no variant for.
pub(crate) fn kind(number: CK_ATTRIBUTE_TYPE) -> AttributeType {
    AttributeType::VendorDefined(number)
}

/// An attribute whose value is text.
pub(crate) fn text(number: CK_ATTRIBUTE_TYPE, value: &str) -> Attribute {
    bytes(number, value.as_bytes())
}

/// An attribute whose value is bytes.
pub(crate) fn bytes(number: CK_ATTRIBUTE_TYPE, value: &[u8]) -> Attribute {
    Attribute::VendorDefined((kind(number), value.to_vec()))
}

/// An attribute whose value is a `CK_ULONG`.
pub(crate) fn number(number: CK_ATTRIBUTE_TYPE, value: CK_ULONG) -> Attribute {
    Attribute::VendorDefined((kind(number), value.to_ne_bytes().to_vec()))
}

/// An attribute whose value is a list of `CK_ULONG`.
pub(crate) fn numbers(number: CK_ATTRIBUTE_TYPE, values: &[CK_ULONG]) -> Attribute {
    let bytes = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
    Attribute::VendorDefined((kind(number), bytes))
}

/// An attribute whose value is a `CK_BBOOL`.
pub(crate) fn truth(number: CK_ATTRIBUTE_TYPE, value: bool) -> Attribute {
    Attribute::VendorDefined((kind(number), vec![u8::from(value)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let attributes = Attributes(vec![
            Attribute::Label(b"alice".to_vec()),
            text(0xC353_0001, "x\ny"),
            number(0xC353_0002, 30),
            truth(0xC353_0003, true),
        ]);
        assert_eq!(attributes.label(), "alice");
        assert_eq!(attributes.text(0xC353_0001), "x\ny");
        assert_eq!(attributes.number(0xC353_0002), Some(30));
        assert_eq!(attributes.truth(0xC353_0003), Some(true));
    }

    #[test]
    fn an_absent_or_misshapen_attribute_is_no_value() {
        let attributes = Attributes(vec![text(0xC353_0001, "abc")]);
        assert_eq!(attributes.label(), "");
        assert_eq!(attributes.text(0xC353_0009), "");
        assert_eq!(attributes.number(0xC353_0001), None);
        assert_eq!(attributes.truth(0xC353_0001), None);
    }
}
