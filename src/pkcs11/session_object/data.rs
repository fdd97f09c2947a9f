//! Data objects (PKCS#11 v3.2 section 4.5).

use cryptoki_sys::*;

use super::super::attributes::{Class, ulong};
use super::super::request::{Bytes, MAX_VALUE_LEN};
use super::super::rv::{Answer, Rv};
use super::super::template::{check_object_identifier, text};
use super::Occasion;

/// The attributes of a data object beyond those that every object has.
#[derive(Clone, Default)]
pub(super) struct Data {
    application: Bytes,
    object_id: Bytes,
    value: Bytes,
}

impl Data {
    pub(super) fn attribute(&self, kind: CK_ATTRIBUTE_TYPE) -> Option<Vec<u8>> {
        Some(match kind {
            CKA_CLASS => ulong(CKO_DATA),
            CKA_APPLICATION => self.application.to_vec(),
            CKA_OBJECT_ID => self.object_id.to_vec(),
            CKA_VALUE => self.value.to_vec(),
            _ => return None,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.application.len() + self.object_id.len() + self.value.len()
    }

    /// None of them can be changed later: the table of section 4.5 has no footnote 8.
    pub(super) fn set(&mut self, kind: CK_ATTRIBUTE_TYPE, value: &Bytes, occasion: Occasion) -> Answer {
        match kind {
            CKA_APPLICATION if occasion == Occasion::Creating => {
                text(value)?;
                self.application = value.clone();
            }
            CKA_OBJECT_ID if occasion == Occasion::Creating => {
                check_object_identifier(value)?;
                self.object_id = value.clone();
            }
            // The text of an act may be longer.
            CKA_VALUE if value.len() > MAX_VALUE_LEN => return Err(Rv(CKR_ATTRIBUTE_VALUE_INVALID)),
            CKA_VALUE if occasion == Occasion::Creating => self.value = value.clone(),
            other => return Err(Class::Data.refusal(other)),
        }
        Ok(())
    }
}
