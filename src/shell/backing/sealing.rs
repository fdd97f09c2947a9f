//! The data key, wrapped under a key that never leaves the token, by AES-GCM (PKCS#11 v3.0 section 6.13).

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use zeroize::Zeroizing;

use super::Backing;
use super::answer::failed;
use crate::kernel::seal::StoreId;
use crate::ports::{BackingError, Sealer};

const SEALING_KEY_LABEL: &[u8] = b"countersign-sealing-key";
const IV_LEN: usize = 12;
const TAG_BITS: u64 = 128;

impl Sealer for Backing {
    fn make_key(&self, store: &StoreId) -> Result<(), BackingError> {
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen(32.into()),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Modifiable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Wrap(false),
            Attribute::Unwrap(false),
            Attribute::Label(SEALING_KEY_LABEL.into()),
            Attribute::Id(store.to_vec()),
        ];
        let session = self.session();
        let key = session.generate_key(&Mechanism::AesKeyGen, &template).map_err(failed("makes no key"))?;
        check_key(&session, key)
    }

    fn wrap(&self, store: &StoreId, context: &[u8], key: &[u8; 32]) -> Result<Vec<u8>, BackingError> {
        let session = self.session();
        let sealing_key = sealing_keys(&session, store)?
            .pop()
            .ok_or_else(|| BackingError("the sealing key that was just made is not there".into()))?;
        let mut iv = [0; IV_LEN];
        getrandom::fill(&mut iv).map_err(|error| BackingError(error.to_string()))?;
        let mut wrapped = iv.to_vec();
        let parameters =
            GcmParams::new(&mut iv, context, TAG_BITS.into()).map_err(failed("wraps nothing"))?;
        let ciphertext = session
            .encrypt(&Mechanism::AesGcm(parameters), sealing_key, key)
            .map_err(failed("does not wrap the data key"))?;
        wrapped.extend_from_slice(&ciphertext);
        Ok(wrapped)
    }

    fn unwrap(
        &self,
        store: &StoreId,
        context: &[u8],
        wrapped: &[u8],
    ) -> Result<Option<Zeroizing<[u8; 32]>>, BackingError> {
        let Some((iv, ciphertext)) = wrapped.split_first_chunk::<IV_LEN>() else { return Ok(None) };
        let session = self.session();
        // Anyone who can write to the token can make a second key of the same name: the right one opens.
        for sealing_key in sealing_keys(&session, store)? {
            let mut iv = *iv;
            let parameters =
                GcmParams::new(&mut iv, context, TAG_BITS.into()).map_err(failed("unwraps nothing"))?;
            if let Ok(plaintext) = session.decrypt(&Mechanism::AesGcm(parameters), sealing_key, ciphertext) {
                let plaintext = Zeroizing::new(plaintext);
                if let Ok(key) = <[u8; 32]>::try_from(&plaintext[..]) {
                    check_key(&session, sealing_key)?;
                    return Ok(Some(Zeroizing::new(key)));
                }
            }
        }
        Ok(None)
    }
}

fn sealing_keys(session: &Session, store: &StoreId) -> Result<Vec<ObjectHandle>, BackingError> {
    session
        .find_objects(&[
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::Label(SEALING_KEY_LABEL.into()),
            Attribute::Id(store.to_vec()),
        ])
        .map_err(failed("does not look for the sealing key"))
}

/// The key must be one that cannot leave the token.
fn check_key(session: &Session, key: ObjectHandle) -> Result<(), BackingError> {
    let wanted = [
        AttributeType::Sensitive,
        AttributeType::Extractable,
        AttributeType::AlwaysSensitive,
        AttributeType::NeverExtractable,
    ];
    let found =
        session.get_attributes(key, &wanted).map_err(failed("does not show the sealing key's attributes"))?;
    let stays = [
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::AlwaysSensitive(true),
        Attribute::NeverExtractable(true),
    ];
    if stays.iter().all(|attribute| found.contains(attribute)) {
        return Ok(());
    }
    Err(BackingError(
        "the sealing key can leave the token: it must be sensitive and never extractable".into(),
    ))
}
