//! Drafts: acts that the boundary has put into words and nobody has proposed yet (`include/countersign.h`, "Officers").

use cryptoki_sys::*;

use super::super::attributes::{class_number, ulong};
use super::super::vendor::*;
use crate::kernel::act::class::Class;
use crate::kernel::motion::{ActText, Nonce, TextError};

/// The attributes of a draft beyond those that every object has.
#[derive(Clone)]
pub(super) struct Draft {
    text: String,
    nonce: Nonce,
    class: Class,
}

impl Draft {
    /// The draft of this text, and what it is called.
    pub(super) fn new(text: String) -> Result<(Draft, String), TextError> {
        let ActText { nonce, motion, .. } = ActText::parse(&text)?;
        Ok((Draft { text, nonce, class: motion.class() }, motion.heading()))
    }

    pub(super) fn attribute(&self, kind: CK_ATTRIBUTE_TYPE) -> Option<Vec<u8>> {
        Some(match kind {
            CKA_CLASS => ulong(CKO_COUNTERSIGN_PROPOSAL),
            CKA_ID => self.nonce.to_vec(),
            CKA_VALUE => self.text.clone().into_bytes(),
            CKA_COUNTERSIGN_PROPOSAL_KIND => ulong(CS_PROPOSAL_ACT),
            CKA_COUNTERSIGN_ACT_CLASS => ulong(class_number(self.class)),
            _ => return None,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }
}
