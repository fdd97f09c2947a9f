//! Key management (PKCS#11 v3.2 section 5.18): makes users, wallets and keys that sign digests.
//!
//! A template describes the new object. It may repeat values that the module decides, which must then be
//! right.

use cryptoki_sys::*;

use super::application::{Application, Object};
use super::attributes::{Class, KeyKind, Side};
use super::digest_key::new_digest_key;
use super::key_pair::Templates;
use super::request::{Mechanism, TemplateEntry};
use super::rv::{Answer, Rv};
use super::template::{
    bool_value, check_date, each_once, expect, expect_empty_array, text, ulong_value, value_of,
};
use super::vendor::*;
use super::wallet::new_wallet;
use crate::admin::{Act, Done, Enrolment, NewFactor, NewUser};
use crate::kernel::factor::FactorKind;
use crate::kernel::otp::{HotpKey, OtpHash, SECRET_LEN};

const DEFAULT_SERVICE: &str = "Countersign";
const TOTP: CK_ULONG = FactorKind::Totp as CK_ULONG;
const HOTP: CK_ULONG = FactorKind::Hotp as CK_ULONG;

impl Application {
    /// `C_GenerateKey` with `CKM_COUNTERSIGN_TOTP_KEY_GEN`: enrols a user.
    pub(super) fn generate_key(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: &Mechanism,
        template: &[TemplateEntry],
    ) -> Answer<CK_OBJECT_HANDLE> {
        self.with_session(session, |session| {
            check_mechanism(mechanism, &[CKM_COUNTERSIGN_TOTP_KEY_GEN])?;
            let administration = self.administration(session)?;
            let user = new_user(&each_once(template)?)?;
            let name = user.name.clone();
            let Done::Enrolled(Enrolment { key_id, uri }) = administration.perform(Act::Enrol(user))? else {
                return Err(Rv(CKR_GENERAL_ERROR));
            };
            session.enrolments.insert(key_id, uri);
            self.handle_of(Object::User { name, key_id })
        })
    }

    /// `C_GenerateKeyPair`: makes a wallet with `CKM_COUNTERSIGN_WALLET_KEY_GEN`, or a key that signs digests
    /// with `CKM_EC_KEY_PAIR_GEN`. The public handle comes first.
    pub(super) fn generate_key_pair(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: &Mechanism,
        public: &[TemplateEntry],
        private: &[TemplateEntry],
    ) -> Answer<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)> {
        self.with_session(session, |session| {
            check_mechanism(mechanism, &[CKM_COUNTERSIGN_WALLET_KEY_GEN, CKM_EC_KEY_PAIR_GEN])?;
            let administration = self.administration(session)?;
            let templates = Templates { public: &each_once(public)?, private: &each_once(private)? };
            let act = if mechanism.mechanism == CKM_EC_KEY_PAIR_GEN {
                Act::MakeDigestKey(new_digest_key(&templates)?)
            } else {
                Act::MakeWallet(new_wallet(&templates)?)
            };
            let (kind, id) = match administration.perform(act)? {
                Done::DigestKey(id) => (KeyKind::Digest, id),
                Done::Wallet(id) => (KeyKind::Wallet, id),
                _ => return Err(Rv(CKR_GENERAL_ERROR)),
            };
            let handle = |side| self.handle_of(Object::Key(kind, side, id));
            Ok((handle(Side::Public)?, handle(Side::Private)?))
        })
    }
}

fn check_mechanism(mechanism: &Mechanism, wanted: &[CK_MECHANISM_TYPE]) -> Answer {
    if !wanted.contains(&mechanism.mechanism) {
        return Err(Rv(CKR_MECHANISM_INVALID));
    }
    if !mechanism.parameter.is_empty() {
        return Err(Rv(CKR_MECHANISM_PARAM_INVALID));
    }
    Ok(())
}

fn new_user(template: &[&TemplateEntry]) -> Answer<NewUser> {
    let (mut service, mut factor) = (None, None);
    let (mut digits, mut period, mut hash) = (None, None, None);
    for TemplateEntry { kind, value } in template {
        match *kind {
            CKA_LABEL | CKA_OTP_USER_IDENTIFIER => {
                text(value)?;
            }
            CKA_OTP_SERVICE_IDENTIFIER => service = Some(text(value)?),
            CKA_OTP_LENGTH => digits = Some(ulong_value(value)?),
            CKA_OTP_TIME_INTERVAL => period = Some(ulong_value(value)?),
            CKA_COUNTERSIGN_FACTOR => factor = Some(ulong_value(value)?),
            CKA_COUNTERSIGN_OTP_HASH => hash = Some(ulong_value(value)?),
            CKA_CLASS => expect(ulong_value(value)? == CKO_OTP_KEY)?,
            CKA_KEY_TYPE => expect(ulong_value(value)? == CKK_HOTP)?,
            CKA_VALUE_LEN => expect(ulong_value(value)? == SECRET_LEN as CK_ULONG)?,
            CKA_OTP_FORMAT => expect(ulong_value(value)? == CK_OTP_FORMAT_DECIMAL)?,
            CKA_OTP_CHALLENGE_REQUIREMENT
            | CKA_OTP_TIME_REQUIREMENT
            | CKA_OTP_COUNTER_REQUIREMENT
            | CKA_OTP_PIN_REQUIREMENT => expect(ulong_value(value)? == CK_OTP_PARAM_IGNORED)?,
            CKA_TOKEN | CKA_PRIVATE | CKA_SENSITIVE | CKA_VERIFY | CKA_MODIFIABLE | CKA_DESTROYABLE => {
                expect(bool_value(value)?)?;
            }
            CKA_EXTRACTABLE
            | CKA_SIGN
            | CKA_ENCRYPT
            | CKA_DECRYPT
            | CKA_WRAP
            | CKA_UNWRAP
            | CKA_DERIVE
            | CKA_COPYABLE
            | CKA_TRUSTED
            | CKA_WRAP_WITH_TRUSTED
            | CKA_OTP_USER_FRIENDLY_MODE => expect(!bool_value(value)?)?,
            CKA_START_DATE | CKA_END_DATE => {
                check_date(value)?;
                expect(value.is_empty())?;
            }
            CKA_WRAP_TEMPLATE | CKA_UNWRAP_TEMPLATE | CKA_DERIVE_TEMPLATE => expect_empty_array(value)?,
            // The module makes the secret inside and never takes one from outside.
            CKA_VALUE => return Err(Rv(CKR_TEMPLATE_INCONSISTENT)),
            other => return Err(Class::OtpKey.refusal(other)),
        }
    }
    let label = value_of(template, CKA_LABEL);
    let identifier =
        value_of(template, CKA_OTP_USER_IDENTIFIER).or(label).ok_or(Rv(CKR_TEMPLATE_INCOMPLETE))?;
    expect(label.is_none_or(|label| label == identifier))?;
    let hash = match hash {
        None | Some(CKM_SHA_1) => OtpHash::Sha1,
        Some(CKM_SHA256) => OtpHash::Sha256,
        Some(CKM_SHA512) => OtpHash::Sha512,
        Some(_) => return Err(Rv(CKR_ATTRIBUTE_VALUE_INVALID)),
    };
    let factor = match factor {
        None | Some(TOTP) => NewFactor::Totp {
            hash,
            digits: u8::try_from(digits.unwrap_or(6)).map_err(|_| Rv(CKR_ATTRIBUTE_VALUE_INVALID))?,
            period: period.unwrap_or(30),
        },
        Some(HOTP) => {
            expect(digits.is_none_or(|digits| digits == u64::from(HotpKey::DIGITS)))?;
            expect(hash == OtpHash::Sha1 && period.is_none())?;
            NewFactor::Hotp
        }
        Some(_) => return Err(Rv(CKR_ATTRIBUTE_VALUE_INVALID)),
    };
    let service = service.unwrap_or_else(|| DEFAULT_SERVICE.into());
    Ok(NewUser { name: text(identifier)?, service, factor })
}
