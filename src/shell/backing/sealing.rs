//! The data key, wrapped under a key that never leaves the token, by AES-GCM (PKCS#11 v3.2 section 6.13).
//!
//! The mechanism does not say who makes the initialisation vector, and tokens differ. Most take the caller's. Some ignore it and append
//! or prepend their own to the ciphertext, or write it into `pIv`. Some accept only zeros there. So after encrypting, this tries every
//! vector that the token may have used, as a restart would, and keeps the first that gives the same key back. If none does, the token is
//! refused: its store would never open again.

use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Backing;
use super::answer::{failed, said};
use crate::kernel::seal::StoreId;
use crate::ports::{BackingError, Random, Sealer};
use crate::shell::random::SystemRandom;

const SEALING_KEY_LABEL: &[u8] = b"countersign-sealing-key";
/// Bytes of the initialisation vector that we offer (NIST SP 800-38D section 8.2).
const IV_LEN: usize = 12;
/// Bytes of a vector that a token may choose instead.
const OTHER_IV_LEN: usize = 16;
const TAG_BITS: u64 = 128;
/// Bytes of a data key and its tag.
const CIPHERTEXT_LEN: usize = 32 + 16;
/// The first byte of every layout other than IV ‖ ciphertext, whose length differs.
const LAYOUT: u8 = 2;

/// The wrapped data key.
#[derive(Debug, PartialEq, Eq)]
struct Wrapped {
    /// The vector for `C_DecryptInit`.
    iv: Vec<u8>,
    /// The ciphertext for `C_Decrypt`.
    ciphertext: Vec<u8>,
}

impl Wrapped {
    /// If the token used our IV, or its own of the same length: iv\[12\] ‖ ciphertext\[48\], as in release
    /// 0.1. Otherwise: layout ‖ length of the IV ‖ IV ‖ ciphertext.
    fn encode(&self) -> Vec<u8> {
        if (self.iv.len(), self.ciphertext.len()) == (IV_LEN, CIPHERTEXT_LEN) {
            return [&self.iv[..], &self.ciphertext].concat();
        }
        let iv_len = u8::try_from(self.iv.len()).expect("it is of 12 or 16 bytes");
        [&[LAYOUT, iv_len], &self.iv[..], &self.ciphertext].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Wrapped> {
        let (iv, ciphertext) = match bytes {
            [LAYOUT, iv_len, rest @ ..] if bytes.len() != IV_LEN + CIPHERTEXT_LEN => {
                rest.split_at_checked(usize::from(*iv_len))?
            }
            _ => bytes.split_at_checked(IV_LEN)?,
        };
        (iv.len() >= IV_LEN).then(|| Wrapped { iv: iv.into(), ciphertext: ciphertext.into() })
    }

    /// All possible meanings of the token's result: it was given `offered`, left `iv` in its place, and
    /// answered `answer`.
    fn readings(offered: &[u8; IV_LEN], iv: &[u8; IV_LEN], answer: &[u8]) -> Vec<Wrapped> {
        let reading = |iv: &[u8], ciphertext: &[u8]| Wrapped { iv: iv.into(), ciphertext: ciphertext.into() };
        let mut readings = vec![reading(iv, answer)];
        if iv != offered {
            readings.push(reading(offered, answer));
        }
        for len in [IV_LEN, OTHER_IV_LEN] {
            if answer.len() == CIPHERTEXT_LEN + len {
                let (ciphertext, appended) = answer.split_at(CIPHERTEXT_LEN);
                readings.push(reading(appended, ciphertext));
                let (prepended, ciphertext) = answer.split_at(len);
                readings.push(reading(prepended, ciphertext));
            }
        }
        readings
    }
}

impl Sealer for Backing {
    fn wrap(&self, store: &StoreId, context: &[u8], key: &[u8; 32]) -> Result<Vec<u8>, BackingError> {
        let wrapped = self.wrap_under(SEALING_KEY_LABEL, store, context, key);
        if wrapped.is_err() {
            self.take_back(|| destroy_keys(&self.session(), SEALING_KEY_LABEL, store));
        }
        wrapped
    }

    fn unwrap(
        &self,
        store: &StoreId,
        context: &[u8],
        wrapped: &[u8],
    ) -> Result<Option<Zeroizing<[u8; 32]>>, BackingError> {
        match Wrapped::decode(wrapped) {
            Some(wrapped) => unwrap(&self.session(), SEALING_KEY_LABEL, store, context, &wrapped),
            None => Ok(None),
        }
    }

    fn withdraw(&self, store: &StoreId) -> Result<(), BackingError> {
        destroy_keys(&self.token.open_session()?, SEALING_KEY_LABEL, store)
    }
}

impl Backing {
    /// Wraps a data key under a new key with this label and id, and checks that it unwraps again.
    pub(super) fn wrap_under(
        &self,
        label: &[u8],
        id: &StoreId,
        context: &[u8],
        key: &[u8; 32],
    ) -> Result<Vec<u8>, BackingError> {
        // A session of its own, so that an operation that a failure leaves active affects nobody.
        let session = self.token.open_session()?;
        let sealing_key = make_key(&session, label, id)?;
        let mut offered = [0; IV_LEN];
        SystemRandom.fill(&mut offered).map_err(|error| BackingError(error.to_string()))?;
        let (mut answer, mut iv) = encrypt(&session, sealing_key, &offered, context, key);
        if answer.is_err() {
            // A token that makes its own vectors may accept nothing but zeros. The key is new, so nothing
            // else uses that vector with it.
            offered = [0; IV_LEN];
            let (second, left) = encrypt(&self.token.open_session()?, sealing_key, &offered, context, key);
            // If both fail, the first error is reported.
            if second.is_ok() {
                (answer, iv) = (second, left);
            }
        }
        let answer = answer.map_err(no_gcm)?;
        self.prove(label, id, context, key, Wrapped::readings(&offered, &iv, &answer))
    }

    /// Finds the meaning that unwraps to the same key. Each try has a session of its own, as after a restart.
    fn prove(
        &self,
        label: &[u8],
        id: &StoreId,
        context: &[u8],
        key: &[u8; 32],
        readings: Vec<Wrapped>,
    ) -> Result<Vec<u8>, BackingError> {
        for reading in readings {
            let (encoded, session) = (reading.encode(), self.token.open_session()?);
            let Some(decoded) = Wrapped::decode(&encoded) else { continue };
            let unwrapped = unwrap(&session, label, id, context, &decoded)?;
            if unwrapped.is_some_and(|unwrapped| bool::from(unwrapped.ct_eq(key))) {
                return Ok(encoded);
            }
        }
        Err(BackingError(format!(
            "{} does not decrypt what it encrypted itself by AES-GCM (CKM_AES_GCM): it makes an initialisation vector of its own \
             and does not give it. Have it accept the caller's, or use another token; nothing was left in it",
            self.identity()
        )))
    }

    /// Removes what a failure would leave in the token. If that fails, too, it is only logged, because the
    /// first failure is the important one.
    pub(super) fn take_back(&self, work: impl FnOnce() -> Result<(), BackingError>) {
        if let Err(error) = work() {
            tracing::error!(
                "{error}; {} still holds something made for a store that does not exist",
                self.identity()
            );
        }
    }
}

/// Encrypts the data key. Also returns the IV's place afterwards, because a token may have written its own
/// there.
fn encrypt(
    session: &Session,
    sealing_key: ObjectHandle,
    offered: &[u8; IV_LEN],
    context: &[u8],
    key: &[u8; 32],
) -> (Result<Vec<u8>, Error>, [u8; IV_LEN]) {
    let mut iv = *offered;
    let answer = GcmParams::new(&mut iv, context, TAG_BITS.into())
        .and_then(|parameters| session.encrypt(&Mechanism::AesGcm(parameters), sealing_key, key));
    (answer, iv)
}

fn no_gcm(error: Error) -> BackingError {
    let said = said(&error);
    BackingError(match error {
        Error::Pkcs11(RvError::MechanismInvalid | RvError::FunctionNotSupported, _) => format!(
            "it has no AES-GCM (CKM_AES_GCM), by which the data key is wrapped: {said}. Use a token that has it; nothing was left \
             in this one"
        ),
        _ => format!("it does not encrypt by AES-GCM (CKM_AES_GCM): {said}; nothing was left in it"),
    })
}

fn unwrap(
    session: &Session,
    label: &[u8],
    id: &StoreId,
    context: &[u8],
    wrapped: &Wrapped,
) -> Result<Option<Zeroizing<[u8; 32]>>, BackingError> {
    // Anyone who can write to the token can make a second key with the same name. The right one opens it.
    for sealing_key in keys(session, label, id)? {
        let mut iv = wrapped.iv.clone();
        let parameters =
            GcmParams::new(&mut iv, context, TAG_BITS.into()).map_err(failed("unwraps nothing"))?;
        if let Ok(plaintext) =
            session.decrypt(&Mechanism::AesGcm(parameters), sealing_key, &wrapped.ciphertext)
        {
            let plaintext = Zeroizing::new(plaintext);
            if let Ok(key) = <[u8; 32]>::try_from(&plaintext[..]) {
                check_key(session, sealing_key)?;
                return Ok(Some(Zeroizing::new(key)));
            }
        }
    }
    Ok(None)
}

fn make_key(session: &Session, label: &[u8], id: &StoreId) -> Result<ObjectHandle, BackingError> {
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
        Attribute::Label(label.into()),
        Attribute::Id(id.to_vec()),
    ];
    let key = session
        .generate_key(&Mechanism::AesKeyGen, &template)
        .map_err(failed("makes no AES key of 256 bits (CKM_AES_KEY_GEN)"))?;
    check_key(session, key)?;
    Ok(key)
}

fn keys(session: &Session, label: &[u8], id: &StoreId) -> Result<Vec<ObjectHandle>, BackingError> {
    session
        .find_objects(&[
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::Label(label.into()),
            Attribute::Id(id.to_vec()),
        ])
        .map_err(failed("does not look for the sealing key"))
}

fn destroy_keys(session: &Session, label: &[u8], id: &StoreId) -> Result<(), BackingError> {
    for key in keys(session, label, id)? {
        session.destroy_object(key).map_err(failed("does not destroy a sealing key"))?;
    }
    Ok(())
}

/// The key must be unable to leave the token.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(iv_len: usize, ciphertext_len: usize) -> Wrapped {
        Wrapped { iv: vec![LAYOUT; iv_len], ciphertext: vec![5; ciphertext_len] }
    }

    #[test]
    fn data_wrapped_by_release_0_1_still_unwraps() {
        let bytes: Vec<u8> = (0..60).map(|byte| byte + LAYOUT).collect();
        let read = Wrapped::decode(&bytes).expect("an IV and a ciphertext");
        assert_eq!((&read.iv[..], &read.ciphertext[..]), bytes.split_at(12));
        assert_eq!(read.encode(), bytes, "and the same is written where the token takes our IV");
    }

    #[test]
    fn every_layout_reads_back() {
        for (iv_len, ciphertext_len) in [(12, 48), (16, 48), (12, 60), (12, 64), (16, 60), (16, 64)] {
            let before = wrapped(iv_len, ciphertext_len);
            assert_eq!(Wrapped::decode(&before.encode()), Some(before), "{iv_len}, {ciphertext_len}");
        }
        for len in 0..IV_LEN {
            assert_eq!(Wrapped::decode(&vec![LAYOUT; len]), None, "{len}");
        }
        assert_eq!(Wrapped::decode(&[&[LAYOUT, 0][..], &[5; 48]].concat()), None, "an IV that is too short");
    }

    #[test]
    fn a_token_can_have_used_what_it_was_given_what_it_left_or_what_it_added() {
        let (given, left) = ([1; IV_LEN], [2; IV_LEN]);
        let ivs = |left: &[u8; IV_LEN], len: usize| -> Vec<(Vec<u8>, usize)> {
            let answer: Vec<u8> = (0..len).map(|byte| byte as u8).collect();
            let readings = Wrapped::readings(&given, left, &answer);
            readings.into_iter().map(|reading| (reading.iv, reading.ciphertext.len())).collect()
        };
        assert_eq!(ivs(&given, 48), [(given.to_vec(), 48)]);
        assert_eq!(ivs(&left, 48), [(left.to_vec(), 48), (given.to_vec(), 48)]);
        let added = |range: core::ops::Range<u8>| (range.collect::<Vec<u8>>(), 48);
        assert_eq!(ivs(&given, 64), [(given.to_vec(), 64), added(48..64), added(0..16)]);
        assert_eq!(ivs(&given, 60), [(given.to_vec(), 60), added(48..60), added(0..12)]);
    }
}
