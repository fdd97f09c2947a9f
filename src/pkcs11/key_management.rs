//! Key management (PKCS#11 v3.2 section 5.18): makes users, wallets and keys that sign digests.
//!
//! A template describes the new object. It may repeat values that the module decides, which must then be
//! right.

use core::str::FromStr;

use cryptoki_sys::*;

use super::application::{Application, Object};
use super::attributes::Class;
use super::digest_key::new_digest_key;
use super::key_pair::{Side, both_sides, is_decided};
use super::request::{Mechanism, TemplateEntry};
use super::rv::{Answer, Rv};
use super::template::{
    bool_value, check_date, each_once, expect, expect_empty_array, set_same, text, ulong_value, value_of,
};
use super::vendor::*;
use crate::admin::{Act, Done, Enrolment, KeyTerms, NewScript, NewUser, NewWallet};
use crate::kernel::network::Network;
use crate::kernel::otp::{OtpHash, SECRET_LEN};

const DEFAULT_SERVICE: &str = "Countersign";

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
            let (public, private) = (each_once(public)?, each_once(private)?);
            let act = if mechanism.mechanism == CKM_EC_KEY_PAIR_GEN {
                Act::MakeDigestKey(new_digest_key(&public, &private)?)
            } else {
                Act::MakeWallet(new_wallet(&public, &private)?)
            };
            let (public, private) = match administration.perform(act)? {
                Done::DigestKey(id) => (Object::DigestPublic(id), Object::DigestPrivate(id)),
                Done::Wallet(id) => (Object::WalletPublic(id), Object::WalletPrivate(id)),
                _ => return Err(Rv(CKR_GENERAL_ERROR)),
            };
            Ok((self.handle_of(public)?, self.handle_of(private)?))
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
    let (mut service, mut digits, mut period, mut hash) = (None, None, None, None);
    for TemplateEntry { kind, value } in template {
        match *kind {
            CKA_LABEL | CKA_OTP_USER_IDENTIFIER => {
                text(value)?;
            }
            CKA_OTP_SERVICE_IDENTIFIER => service = Some(text(value)?),
            CKA_OTP_LENGTH => digits = Some(ulong_value(value)?),
            CKA_OTP_TIME_INTERVAL => period = Some(ulong_value(value)?),
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
    Ok(NewUser {
        name: text(identifier)?,
        service: service.unwrap_or_else(|| DEFAULT_SERVICE.into()),
        hash,
        digits: u8::try_from(digits.unwrap_or(6)).map_err(|_| Rv(CKR_ATTRIBUTE_VALUE_INVALID))?,
        period: period.unwrap_or(30),
    })
}

fn new_wallet(public: &[&TemplateEntry], private: &[&TemplateEntry]) -> Answer<NewWallet> {
    let (mut label, mut cka_id, mut network, mut users, mut policy) = (None, None, None, None, None);
    let (mut registration, mut path) = (None, None);
    for (side, entry) in both_sides(public, private) {
        if is_decided(side, entry)? {
            continue;
        }
        let TemplateEntry { kind, value } = entry;
        match *kind {
            CKA_LABEL => set_same(&mut label, text(value)?)?,
            CKA_ID => set_same(&mut cka_id, value.to_vec())?,
            CKA_COUNTERSIGN_NETWORK => set_same(&mut network, text(value)?)?,
            CKA_COUNTERSIGN_USERS => set_same(&mut users, text(value)?)?,
            CKA_COUNTERSIGN_POLICY => set_same(&mut policy, text(value)?)?,
            CKA_COUNTERSIGN_WALLET_POLICY => set_same(&mut registration, text(value)?)?,
            CKA_COUNTERSIGN_PATH => set_same(&mut path, text(value)?)?,
            // No mechanism verifies with it. A client that asks for it by habit may, and gets none.
            CKA_VERIFY if side == Side::Public => {
                bool_value(value)?;
            }
            other => {
                return Err(match side {
                    Side::Public => Class::WalletPublic.refusal(other),
                    Side::Private => Class::WalletPrivate.refusal(other),
                });
            }
        }
    }
    let incomplete = Rv(CKR_TEMPLATE_INCOMPLETE);
    Ok(NewWallet {
        terms: KeyTerms {
            label: label.ok_or(incomplete)?,
            cka_id: cka_id.unwrap_or_default(),
            users: user_list(&users.ok_or(incomplete)?),
            policy: policy.ok_or(incomplete)?,
        },
        network: Network::from_str(&network.ok_or(incomplete)?)
            .map_err(|_| Rv(CKR_ATTRIBUTE_VALUE_INVALID))?,
        script: NewScript { registration, path },
    })
}

/// The names in `CKA_COUNTERSIGN_USERS`.
pub(super) fn user_list(value: &str) -> Vec<String> {
    value.split('\n').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
