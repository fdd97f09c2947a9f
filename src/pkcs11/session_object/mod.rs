//! Session objects (PKCS#11 v3.2 section 4.4, `CKA_TOKEN` false): objects that an application makes itself,
//! for a while.
//!
//! - S1. Data and public keys only, and the boundary's own drafts of acts. A secret or private key never comes from outside, and an object from
//!   outside never becomes a token object.
//! - S2. Such an object lives as long as the session that made it, only in memory, and is wiped when it is
//!   destroyed.
//! - S3. It is counted ([`held`]): neither one application nor all of them together can fill the memory.

mod data;
mod draft;
mod held;
mod public_key;

use bitcoin::secp256k1::PublicKey;
use cryptoki_sys::*;
use zeroize::Zeroizing;

pub(super) use held::{Held, Usage};

use super::attributes::{Class, Hidden, Value, bool};
use super::request::{Bytes, TemplateEntry};
use super::rv::{Answer, Rv};
use super::template::{bool_value, expect, required, text, ulong_value};
use crate::kernel::motion::TextError;
use data::Data;
use draft::Draft;
use public_key::PublicKeyObject;

/// An object that an application made.
#[derive(Clone)]
pub(super) struct SessionObject {
    /// `CKA_UNIQUE_ID`.
    unique_id: String,
    label: Bytes,
    is_private: bool,
    is_modifiable: bool,
    is_copyable: bool,
    is_destroyable: bool,
    content: Content,
}

#[derive(Clone)]
enum Content {
    Data(Data),
    PublicKey(PublicKeyObject),
    Draft(Draft),
}

/// The occasion on which an attribute is given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// With `C_CreateObject`.
    Creating,
    /// With `C_CopyObject`.
    Copying,
    /// With `C_SetAttributeValue`.
    Changing,
}

impl SessionObject {
    /// The object that the template of `C_CreateObject` describes.
    pub(super) fn create(template: &[&TemplateEntry], unique_id: String) -> Answer<SessionObject> {
        let content = match ulong_value(required(template, CKA_CLASS)?)? {
            CKO_DATA => Content::Data(Data::default()),
            CKO_PUBLIC_KEY => Content::PublicKey(PublicKeyObject::create(template)?),
            // S1, whatever else the template says.
            CKO_CERTIFICATE
            | CKO_PRIVATE_KEY
            | CKO_SECRET_KEY
            | CKO_HW_FEATURE
            | CKO_DOMAIN_PARAMETERS
            | CKO_MECHANISM
            | CKO_OTP_KEY
            | CKO_PROFILE
            | CKO_VALIDATION
            | CKO_TRUST => return Err(Rv(CKR_TEMPLATE_INCONSISTENT)),
            _ => return Err(Rv(CKR_ATTRIBUTE_VALUE_INVALID)),
        };
        let object = SessionObject {
            unique_id,
            label: Bytes::default(),
            is_private: false,
            is_modifiable: true,
            is_copyable: true,
            is_destroyable: true,
            content,
        };
        object.with(template, Occasion::Creating)
    }

    /// The draft of an act. The application can destroy it and nothing else.
    pub(super) fn draft(text: String, unique_id: String) -> Result<SessionObject, TextError> {
        let (draft, heading) = Draft::new(text)?;
        Ok(SessionObject {
            unique_id,
            label: Bytes(Zeroizing::new(heading.into_bytes())),
            is_private: false,
            is_modifiable: false,
            is_copyable: false,
            is_destroyable: true,
            content: Content::Draft(draft),
        })
    }

    /// Whether it is the draft of an act.
    pub(super) fn is_draft(&self) -> bool {
        matches!(self.content, Content::Draft(_))
    }

    /// A copy, changed by the template of `C_CopyObject`.
    pub(super) fn copy(&self, template: &[&TemplateEntry], unique_id: String) -> Answer<SessionObject> {
        SessionObject { unique_id, ..self.clone() }.with(template, Occasion::Copying)
    }

    /// The object, changed by the template of `C_SetAttributeValue`.
    pub(super) fn change(&self, template: &[&TemplateEntry]) -> Answer<SessionObject> {
        self.clone().with(template, Occasion::Changing)
    }

    /// `CKA_PRIVATE`.
    pub(super) fn is_private(&self) -> bool {
        self.is_private
    }

    /// `CKA_MODIFIABLE`.
    pub(super) fn is_modifiable(&self) -> bool {
        self.is_modifiable
    }

    /// `CKA_COPYABLE`.
    pub(super) fn is_copyable(&self) -> bool {
        self.is_copyable
    }

    /// `CKA_DESTROYABLE`.
    pub(super) fn is_destroyable(&self) -> bool {
        self.is_destroyable
    }

    /// Its kind, which determines its attributes.
    pub(super) fn class(&self) -> Class {
        match &self.content {
            Content::Data(_) => Class::Data,
            Content::PublicKey(_) => Class::PublicKey,
            Content::Draft(_) => Class::Draft,
        }
    }

    /// The key, if it is a public one and `mechanism` may verify with it.
    pub(super) fn verifies_by(&self, mechanism: CK_MECHANISM_TYPE) -> Option<PublicKey> {
        match &self.content {
            Content::PublicKey(key) => key.verifies_by(mechanism),
            Content::Data(_) | Content::Draft(_) => None,
        }
    }

    /// The value of an attribute.
    pub(super) fn attribute(&self, kind: CK_ATTRIBUTE_TYPE) -> Value {
        Ok(match kind {
            CKA_TOKEN => bool(false),
            CKA_PRIVATE => bool(self.is_private),
            CKA_MODIFIABLE => bool(self.is_modifiable),
            CKA_COPYABLE => bool(self.is_copyable),
            CKA_DESTROYABLE => bool(self.is_destroyable),
            CKA_LABEL => self.label.to_vec(),
            CKA_UNIQUE_ID => self.unique_id.clone().into_bytes(),
            _ => return self.content.attribute(kind).ok_or(Hidden::Unknown),
        })
    }

    /// The number of bytes that the application gave it.
    fn len(&self) -> usize {
        let content = match &self.content {
            Content::Data(data) => data.len(),
            Content::PublicKey(key) => key.len(),
            Content::Draft(draft) => draft.len(),
        };
        self.label.len() + content
    }

    /// Applies all of the template or nothing.
    fn with(mut self, template: &[&TemplateEntry], occasion: Occasion) -> Answer<SessionObject> {
        for TemplateEntry { kind, value } in template {
            self.set(*kind, value, occasion)?;
        }
        Ok(self)
    }

    /// Sets one of the attributes that every storage object has, or passes it on.
    fn set(&mut self, kind: CK_ATTRIBUTE_TYPE, value: &Bytes, occasion: Occasion) -> Answer {
        let is_new = occasion != Occasion::Changing;
        match kind {
            CKA_LABEL => {
                text(value)?;
                self.label = value.clone();
            }
            CKA_CLASS if occasion == Occasion::Creating => {}
            CKA_TOKEN if is_new => expect(!bool_value(value)?)?,
            // A copy can become private, never public.
            CKA_PRIVATE if is_new => {
                let is_private = bool_value(value)?;
                expect(is_private || !self.is_private)?;
                self.is_private = is_private;
            }
            CKA_MODIFIABLE if is_new => lower(&mut self.is_modifiable, value)?,
            CKA_DESTROYABLE if is_new => lower(&mut self.is_destroyable, value)?,
            // The one attribute that is read-only once it is false (section 4.4).
            CKA_COPYABLE => lower(&mut self.is_copyable, value).map_err(|rv| match rv {
                Rv(CKR_TEMPLATE_INCONSISTENT) => Rv(CKR_ATTRIBUTE_READ_ONLY),
                rv => rv,
            })?,
            _ => match &mut self.content {
                Content::Data(data) => data.set(kind, value, occasion)?,
                Content::PublicKey(key) => key.set(kind, value, occasion)?,
                Content::Draft(_) => return Err(Class::Draft.refusal(kind)),
            },
        }
        Ok(())
    }
}

impl Content {
    fn attribute(&self, kind: CK_ATTRIBUTE_TYPE) -> Option<Vec<u8>> {
        match self {
            Content::Data(data) => data.attribute(kind),
            Content::PublicKey(key) => key.attribute(kind),
            Content::Draft(draft) => draft.attribute(kind),
        }
    }
}

/// A permission that can be removed and not given again.
fn lower(allowed: &mut bool, value: &[u8]) -> Answer {
    let is_allowed = bool_value(value)?;
    expect(*allowed || !is_allowed)?;
    *allowed = is_allowed;
    Ok(())
}
