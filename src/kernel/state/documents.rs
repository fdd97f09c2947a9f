//! The documents that the audit keeps of the records that an act puts in force.

use super::records::{TokenRecord, UserRecord};
use crate::act::Document;
use crate::act::document::{
    CountingUserDocument, CredentialDocument, CredentialsDocument, KeyDocument, TokenDocument, UserDocument,
    WalletDocument,
};
use crate::credential::{Credential, Credentials};
use crate::digest_key::DigestKey;
use crate::factor::Form;
use crate::officer::Council;
use crate::passkey::Passkey;
use crate::wallet::Wallet;

impl From<&TokenRecord> for Document {
    fn from(token: &TokenRecord) -> Document {
        Document::Token(TokenDocument {
            label: token.label.clone(),
            serial: token.serial,
            so_pin: token.so.name(),
            user_pin: token.user.as_ref().and_then(|pin| pin.name()),
        })
    }
}

impl From<&Council> for Document {
    fn from(council: &Council) -> Document {
        Document::Council(council.to_string())
    }
}

impl From<&UserRecord> for Document {
    fn from(user: &UserRecord) -> Document {
        let (name, issuer, confirmed) = (user.name.clone(), user.service.clone(), user.confirmed);
        let (key_id, Form { digits, period, hash, .. }) = (user.factor.key_id(), user.factor.form());
        match period {
            Some(period) => {
                Document::User(UserDocument { name, issuer, key_id, hash, digits, period, confirmed })
            }
            None => Document::CountingUser(CountingUserDocument { name, issuer, key_id, digits, confirmed }),
        }
    }
}

impl From<&Credentials> for Document {
    fn from(credentials: &Credentials) -> Document {
        let documents = credentials.list().iter().map(|named| match &named.credential {
            Credential::Device(address) => CredentialDocument::Device {
                name: named.name.clone(),
                network: address.network(),
                address: address.to_string(),
                since: named.since,
            },
            Credential::Passkey(Passkey { id, key, counter: _, is_shared }) => CredentialDocument::Passkey {
                name: named.name.clone(),
                id: id.as_bytes().to_vec(),
                public_key: key.to_spki(),
                is_shared: *is_shared,
                since: named.since,
            },
        });
        Document::Credentials(CredentialsDocument {
            user: credentials.user().name.clone(),
            key_id: credentials.user().key,
            credentials: documents.collect(),
        })
    }
}

impl From<&Wallet> for Document {
    fn from(wallet: &Wallet) -> Document {
        Document::Wallet(Box::new(WalletDocument {
            label: wallet.label().into(),
            cka_id: wallet.cka_id().into(),
            network: wallet.network(),
            users: wallet.users().into(),
            policy: wallet.policy_document().into(),
            fingerprint: wallet.master_fingerprint().to_bytes(),
            path: wallet.account_path(),
            xpub: wallet.account().to_string(),
            descriptor: wallet.keys().map(|keys| keys.watch().descriptor().into()),
        }))
    }
}

impl From<&DigestKey> for Document {
    fn from(key: &DigestKey) -> Document {
        Document::Key(KeyDocument {
            label: key.label().into(),
            cka_id: key.cka_id().into(),
            users: key.users().into(),
            policy: key.policy_document().into(),
            mechanisms: key.mechanisms(),
            public_key: key.public_key().serialize().into(),
        })
    }
}
