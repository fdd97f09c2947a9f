//! Public keys on secp256k1 (PKCS#11 v3.2 sections 4.9 and 6.3).

use bitcoin::secp256k1::PublicKey;
use cryptoki_sys::*;

use super::super::attributes::{Class, SECP256K1, bool, public_key_info, ulong};
use super::super::request::{Bytes, TemplateEntry};
use super::super::rv::{Answer, Rv};
use super::super::template::{
    bool_value, check_curve, check_date, expect, expect_empty_array, required, ulong_value, valid, value_of,
};
use super::Occasion;

/// The attributes of a public key beyond those that every object has.
#[derive(Clone)]
pub(super) struct PublicKeyObject {
    key: PublicKey,
    /// The point as it was given, compressed or uncompressed.
    point: Bytes,
    id: Bytes,
    subject: Bytes,
    start_date: Bytes,
    end_date: Bytes,
    allowed_mechanisms: Bytes,
    verifies: bool,
}

impl PublicKeyObject {
    /// The key in a template. The template's other attributes are set afterwards.
    pub(super) fn create(template: &[&TemplateEntry]) -> Answer<PublicKeyObject> {
        expect(ulong_value(required(template, CKA_KEY_TYPE)?)? == CKK_EC)?;
        check_curve(required(template, CKA_EC_PARAMS)?)?;
        let point = required(template, CKA_EC_POINT)?;
        let key = parse_point(point)?;
        if let Some(info) = value_of(template, CKA_PUBLIC_KEY_INFO).filter(|info| !info.is_empty()) {
            expect(info == public_key_info(&key))?;
        }
        Ok(PublicKeyObject {
            key,
            point: Bytes(zeroize::Zeroizing::new(point.to_vec())),
            id: Bytes::default(),
            subject: Bytes::default(),
            start_date: Bytes::default(),
            end_date: Bytes::default(),
            allowed_mechanisms: Bytes::default(),
            verifies: true,
        })
    }

    pub(super) fn attribute(&self, kind: CK_ATTRIBUTE_TYPE) -> Option<Vec<u8>> {
        Some(match kind {
            CKA_CLASS => ulong(CKO_PUBLIC_KEY),
            CKA_KEY_TYPE => ulong(CKK_EC),
            CKA_ID => self.id.to_vec(),
            CKA_SUBJECT => self.subject.to_vec(),
            CKA_START_DATE => self.start_date.to_vec(),
            CKA_END_DATE => self.end_date.to_vec(),
            CKA_ALLOWED_MECHANISMS => self.allowed_mechanisms.to_vec(),
            CKA_VERIFY => bool(self.verifies),
            CKA_LOCAL | CKA_DERIVE | CKA_ENCRYPT | CKA_VERIFY_RECOVER | CKA_WRAP | CKA_ENCAPSULATE
            | CKA_TRUSTED => bool(false),
            // It was not made here (section 4.8).
            CKA_KEY_GEN_MECHANISM => ulong(CK_UNAVAILABLE_INFORMATION),
            CKA_OBJECT_VALIDATION_FLAGS => ulong(0),
            CKA_WRAP_TEMPLATE | CKA_ENCAPSULATE_TEMPLATE => vec![],
            CKA_EC_PARAMS => SECP256K1.to_vec(),
            CKA_EC_POINT => self.point.to_vec(),
            CKA_PUBLIC_KEY_INFO => public_key_info(&self.key),
            _ => return None,
        })
    }

    /// The key, if `mechanism` may verify with it.
    pub(super) fn verifies_by(&self, mechanism: CK_MECHANISM_TYPE) -> Option<PublicKey> {
        let (allowed, _) = self.allowed_mechanisms.as_chunks::<{ size_of::<CK_MECHANISM_TYPE>() }>();
        let is_allowed = allowed.is_empty() || allowed.contains(&mechanism.to_ne_bytes());
        (self.verifies && is_allowed).then_some(self.key)
    }

    pub(super) fn len(&self) -> usize {
        let values = [
            &self.point,
            &self.id,
            &self.subject,
            &self.start_date,
            &self.end_date,
            &self.allowed_mechanisms,
        ];
        values.iter().map(|value| value.len()).sum()
    }

    pub(super) fn set(&mut self, kind: CK_ATTRIBUTE_TYPE, value: &Bytes, occasion: Occasion) -> Answer {
        match kind {
            CKA_ID => self.id = value.clone(),
            CKA_SUBJECT => self.subject = value.clone(),
            CKA_START_DATE => {
                check_date(value)?;
                self.start_date = value.clone();
            }
            CKA_END_DATE => {
                check_date(value)?;
                self.end_date = value.clone();
            }
            CKA_VERIFY => self.verifies = bool_value(value)?,
            CKA_DERIVE | CKA_ENCRYPT | CKA_VERIFY_RECOVER | CKA_WRAP | CKA_ENCAPSULATE => {
                expect(!bool_value(value)?)?;
            }
            _ if occasion != Occasion::Creating => return Err(Class::PublicKey.refusal(kind)),
            // Read by `create`.
            CKA_KEY_TYPE | CKA_EC_PARAMS | CKA_EC_POINT | CKA_PUBLIC_KEY_INFO => {}
            CKA_TRUSTED => expect(!bool_value(value)?)?,
            CKA_ALLOWED_MECHANISMS => {
                valid(value.len().is_multiple_of(size_of::<CK_MECHANISM_TYPE>()))?;
                self.allowed_mechanisms = value.clone();
            }
            CKA_WRAP_TEMPLATE | CKA_ENCAPSULATE_TEMPLATE => expect_empty_array(value)?,
            other => return Err(Class::PublicKey.refusal(other)),
        }
        Ok(())
    }
}

/// An ECPoint (X9.62 section 4.3.6) in an OCTET STRING: compressed or uncompressed, and on the curve.
fn parse_point(value: &[u8]) -> Answer<PublicKey> {
    const OCTET_STRING: u8 = 0x04;
    let point = match value {
        [OCTET_STRING, 33, point @ ..] if matches!(point, [0x02 | 0x03, ..]) => point,
        [OCTET_STRING, 65, point @ ..] if matches!(point, [0x04, ..]) => point,
        _ => return Err(Rv(CKR_ATTRIBUTE_VALUE_INVALID)),
    };
    valid(point.len() == usize::from(value[1]))?;
    PublicKey::from_slice(point).map_err(|_| Rv(CKR_ATTRIBUTE_VALUE_INVALID))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The generator (SEC 2 section 2.4.1).
    const X: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    const Y: &str = "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";

    #[test]
    fn a_point_is_on_the_curve_and_in_one_of_two_forms() {
        let parse = |hex: String| {
            parse_point(&data_encoding::HEXLOWER.decode(hex.as_bytes()).expect("hex"))
                .map(|key| key.serialize())
        };
        let generator = parse(format!("042102{X}"));
        assert!(generator.is_ok());
        assert_eq!(parse(format!("044104{X}{Y}")), generator);
        assert_ne!(parse(format!("042103{X}")), generator);
        let off = Y.replace("d4b8", "d4b9");
        for bad in [
            String::new(),
            "04".into(),
            format!("02{X}"),
            format!("04{X}{Y}"),
            format!("032102{X}"),
            format!("042002{X}"),
            format!("042102{X}00"),
            format!("04814104{X}{Y}"),
            format!("044106{X}{Y}"),
            format!("042104{X}"),
            format!("044104{X}{off}"),
            format!("042102{}", "ff".repeat(32)),
            format!("0421{}", "00".repeat(33)),
        ] {
            assert_eq!(parse(bad.clone()), Err(Rv(CKR_ATTRIBUTE_VALUE_INVALID)), "{bad}");
        }
    }
}
