//! Key management (PKCS#11 v2.40 section 5.13; v3.0 section 5.18): users and wallets are made here.
//!
//! A template says what is to be made; what we decide ourselves may be repeated in it, and must then be right.

use core::str::FromStr;

use cryptoki_sys::*;
use zeroize::Zeroizing;

use super::attributes::{bool_value, ulong_value};
use super::call::{Mechanism, TemplateEntry};
use super::module::{Module, Object};
use super::rv::{Answer, Rv};
use super::vendor::*;
use crate::admin::{NewScript, NewUser, NewWallet};
use crate::kernel::otp::OtpHash;
use crate::kernel::wallet::Network;

const DEFAULT_SERVICE: &str = "Countersign";

impl Module {
    /// `C_GenerateKey` with `CKM_COUNTERSIGN_TOTP_KEY_GEN`: enrols a user.
    pub(super) fn generate_key(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: &Mechanism,
        template: &[TemplateEntry],
    ) -> Answer<CK_OBJECT_HANDLE> {
        self.with_session(session, |session| {
            check_mechanism(mechanism, CKM_COUNTERSIGN_TOTP_KEY_GEN)?;
            let user = new_user(template)?;
            self.require_so(session)?;
            let name = user.name.clone();
            let uri: Zeroizing<String> = self.engine.add_user(user)?;
            session.enrolments.insert(name.clone(), uri);
            self.handle_of(Object::User(name))
        })
    }

    /// `C_GenerateKeyPair` with `CKM_COUNTERSIGN_WALLET_KEY_GEN`: creates a wallet. The public handle comes first.
    pub(super) fn generate_key_pair(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: &Mechanism,
        public: &[TemplateEntry],
        private: &[TemplateEntry],
    ) -> Answer<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)> {
        self.with_session(session, |session| {
            check_mechanism(mechanism, CKM_COUNTERSIGN_WALLET_KEY_GEN)?;
            let wallet = new_wallet(public, private)?;
            self.require_so(session)?;
            let id = self.engine.add_wallet(wallet)?;
            Ok((self.handle_of(Object::WalletPublic(id))?, self.handle_of(Object::WalletPrivate(id))?))
        })
    }
}

fn check_mechanism(mechanism: &Mechanism, wanted: CK_MECHANISM_TYPE) -> Answer {
    if mechanism.mechanism != wanted {
        return Err(Rv(CKR_MECHANISM_INVALID));
    }
    if !mechanism.parameter.is_empty() {
        return Err(Rv(CKR_MECHANISM_PARAM_INVALID));
    }
    Ok(())
}

fn new_user(template: &[TemplateEntry]) -> Answer<NewUser> {
    let (mut label, mut identifier, mut service) = (None, None, None);
    let (mut digits, mut period, mut hash) = (None, None, None);
    for TemplateEntry { kind, value } in template {
        match *kind {
            CKA_LABEL => set(&mut label, text(value)?)?,
            CKA_OTP_USER_IDENTIFIER => set(&mut identifier, text(value)?)?,
            CKA_OTP_SERVICE_IDENTIFIER => set(&mut service, text(value)?)?,
            CKA_OTP_LENGTH => set(&mut digits, ulong_value(value)?)?,
            CKA_OTP_TIME_INTERVAL => set(&mut period, ulong_value(value)?)?,
            CKA_COUNTERSIGN_OTP_HASH => set(&mut hash, ulong_value(value)?)?,
            CKA_CLASS => expect(ulong_value(value)? == CKO_OTP_KEY)?,
            CKA_KEY_TYPE => expect(ulong_value(value)? == CKK_HOTP)?,
            CKA_OTP_FORMAT => expect(ulong_value(value)? == CK_OTP_FORMAT_DECIMAL)?,
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
            | CKA_OTP_USER_FRIENDLY_MODE => expect(!bool_value(value)?)?,
            // The secret is made inside, and never comes from outside.
            CKA_VALUE => return Err(Rv(CKR_TEMPLATE_INCONSISTENT)),
            other => return Err(not_for_creation(other)),
        }
    }
    let name = match (label, identifier) {
        (Some(label), Some(identifier)) if label != identifier => return Err(Rv(CKR_TEMPLATE_INCONSISTENT)),
        (label, identifier) => label.or(identifier).ok_or(Rv(CKR_TEMPLATE_INCOMPLETE))?,
    };
    let hash = match hash {
        None | Some(CKM_SHA_1) => OtpHash::Sha1,
        Some(CKM_SHA256) => OtpHash::Sha256,
        Some(CKM_SHA512) => OtpHash::Sha512,
        Some(_) => return Err(Rv(CKR_ATTRIBUTE_VALUE_INVALID)),
    };
    Ok(NewUser {
        name,
        service: service.unwrap_or_else(|| DEFAULT_SERVICE.into()),
        hash,
        digits: u8::try_from(digits.unwrap_or(6)).map_err(|_| Rv(CKR_ATTRIBUTE_VALUE_INVALID))?,
        period: period.unwrap_or(30),
    })
}

fn new_wallet(public: &[TemplateEntry], private: &[TemplateEntry]) -> Answer<NewWallet> {
    let (mut label, mut cka_id, mut network, mut users, mut policy) = (None, None, None, None, None);
    let (mut registration, mut path) = (None, None);
    for (is_private, TemplateEntry { kind, value }) in
        public.iter().map(|entry| (false, entry)).chain(private.iter().map(|entry| (true, entry)))
    {
        match *kind {
            CKA_LABEL => set_same(&mut label, text(value)?)?,
            CKA_ID => set_same(&mut cka_id, value.to_vec())?,
            CKA_COUNTERSIGN_NETWORK => set_same(&mut network, text(value)?)?,
            CKA_COUNTERSIGN_USERS => set_same(&mut users, text(value)?)?,
            CKA_COUNTERSIGN_POLICY => set_same(&mut policy, text(value)?)?,
            CKA_COUNTERSIGN_WALLET_POLICY => set_same(&mut registration, text(value)?)?,
            CKA_COUNTERSIGN_PATH => set_same(&mut path, text(value)?)?,
            CKA_CLASS => {
                expect(ulong_value(value)? == if is_private { CKO_PRIVATE_KEY } else { CKO_PUBLIC_KEY })?
            }
            CKA_KEY_TYPE => expect(ulong_value(value)? == CKK_EC)?,
            CKA_EC_PARAMS => expect(&value[..] == super::attributes::SECP256K1)?,
            CKA_TOKEN => expect(bool_value(value)?)?,
            CKA_PRIVATE => expect(bool_value(value)? == is_private)?,
            CKA_SENSITIVE | CKA_SIGN | CKA_ALWAYS_AUTHENTICATE if is_private => expect(bool_value(value)?)?,
            CKA_EXTRACTABLE | CKA_DECRYPT | CKA_SIGN_RECOVER | CKA_UNWRAP if is_private => {
                expect(!bool_value(value)?)?;
            }
            // There is no mechanism to verify with: a client that asks for it by habit may, and gets none.
            CKA_VERIFY if !is_private => {
                bool_value(value)?;
            }
            CKA_ENCRYPT | CKA_VERIFY_RECOVER | CKA_WRAP if !is_private => expect(!bool_value(value)?)?,
            CKA_DERIVE | CKA_COPYABLE | CKA_DESTROYABLE => expect(!bool_value(value)?)?,
            CKA_MODIFIABLE => expect(bool_value(value)?)?,
            other => return Err(not_for_creation(other)),
        }
    }
    let incomplete = Rv(CKR_TEMPLATE_INCOMPLETE);
    Ok(NewWallet {
        label: label.ok_or(incomplete)?,
        cka_id: cka_id.unwrap_or_default(),
        network: Network::from_str(&network.ok_or(incomplete)?)
            .map_err(|_| Rv(CKR_ATTRIBUTE_VALUE_INVALID))?,
        users: user_list(&users.ok_or(incomplete)?),
        policy: policy.ok_or(incomplete)?,
        script: NewScript { registration, path },
    })
}

/// The names in `CKA_COUNTERSIGN_USERS`.
pub(super) fn user_list(value: &str) -> Vec<String> {
    value.split('\n').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

pub(super) fn text(value: &[u8]) -> Answer<String> {
    core::str::from_utf8(value).map(str::to_owned).map_err(|_| Rv(CKR_ATTRIBUTE_VALUE_INVALID))
}

/// An attribute that is ours to decide was asked for otherwise.
fn expect(right: bool) -> Answer {
    if right { Ok(()) } else { Err(Rv(CKR_TEMPLATE_INCONSISTENT)) }
}

/// An attribute given once.
fn set<T>(slot: &mut Option<T>, value: T) -> Answer {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Rv(CKR_TEMPLATE_INCONSISTENT)),
    }
}

/// An attribute that both templates may give, alike.
fn set_same<T: PartialEq>(slot: &mut Option<T>, value: T) -> Answer {
    expect(slot.as_ref().is_none_or(|there| *there == value))?;
    *slot = Some(value);
    Ok(())
}

/// Known attributes that nobody sets are read-only; others are unknown.
fn not_for_creation(kind: CK_ATTRIBUTE_TYPE) -> Rv {
    if super::attributes::is_known(kind) {
        Rv(CKR_ATTRIBUTE_READ_ONLY)
    } else {
        Rv(CKR_ATTRIBUTE_TYPE_INVALID)
    }
}
