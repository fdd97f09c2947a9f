//! What signs once its users approve: a wallet signs a PSBT, a key that was made for it signs a digest.

use std::collections::HashSet;

use crate::engine::{Engine, EngineError, Held, KeyId};
use crate::kernel::digest_key::{DIGEST_LEN, DigestKey, RequestedDigest, SIGNATURE_LEN};
use crate::kernel::psbt::{CheckedPsbt, PsbtBytes, PsbtError, Surroundings};
use crate::kernel::receipt::Receipt;
use crate::kernel::seal::Kind;
use crate::kernel::signer::{self, Authorization, DigestAuthorization};
use crate::kernel::state::{Consumed, Signable};
use crate::kernel::wallet::{Wallet, WalletKeys};

/// Proof that what a key is to sign was paid for.
pub(super) type Paid<K> = Receipt<Consumed<<K as Countersigner>::Request>>;

/// A key that signs once its users approve. The gate ([`super`]) takes all of them the same way.
pub(crate) trait Countersigner: Sized {
    /// What a caller hands in.
    type Asked;
    /// What of it the users' codes pay for.
    type Request: Signable<Key = Self>;
    /// What leaves.
    type Signed;

    /// Where its record stands.
    const RECORD: Kind;
    /// Where it stands what was done with it.
    const STATE: Kind;

    /// The key as it is now.
    fn held(engine: &Engine, id: &KeyId) -> Result<Held<Self>, EngineError>;

    /// Its label.
    fn label(&self) -> &str;

    /// Names of the users whose codes sign.
    fn users(&self) -> &[String];

    /// Checks all of what was handed in that needs no code. Whatever is refused here spends nothing.
    fn request(&self, engine: &Engine, id: &KeyId, asked: Self::Asked) -> Result<Self::Request, EngineError>;

    /// Signs what was paid for.
    fn sign(
        &self,
        paid: Receipt<Consumed<Self::Request>>,
        engine: &Engine,
    ) -> Result<Self::Signed, EngineError>;
}

impl Countersigner for Wallet {
    type Asked = PsbtBytes;
    type Request = CheckedPsbt;
    type Signed = Vec<u8>;

    const RECORD: Kind = Kind::Wallet;
    const STATE: Kind = Kind::WalletState;

    fn held(engine: &Engine, id: &KeyId) -> Result<Held<Wallet>, EngineError> {
        engine.held(id)
    }

    fn label(&self) -> &str {
        self.label()
    }

    fn users(&self) -> &[String] {
        self.users()
    }

    /// Checks a PSBT among the other wallets of this token. One that a rule refuses is recorded.
    fn request(&self, engine: &Engine, id: &KeyId, psbt: PsbtBytes) -> Result<CheckedPsbt, EngineError> {
        let watch = registered(self)?.watch();
        let now = engine.now()?;
        let siblings: HashSet<_> = engine
            .wallets()
            .iter()
            .filter(|(sibling, _)| sibling != id)
            .map(|(_, sibling)| sibling.master_fingerprint())
            .collect();
        let around = Surroundings {
            reach: engine.wallet_state(id)?.value().reach,
            require_cosigner: self.policy().require_cosigner(),
            is_sibling: &|fingerprint| siblings.contains(fingerprint),
            secp: &engine.secp,
        };
        CheckedPsbt::check(psbt, watch, &around).map_err(|error| match error {
            PsbtError::Refused { rule, .. } => match engine.decline(self.label(), rule, now) {
                Ok(()) => error.into(),
                Err(failure) => failure,
            },
            error => error.into(),
        })
    }

    fn sign(&self, paid: Receipt<Consumed<CheckedPsbt>>, engine: &Engine) -> Result<Vec<u8>, EngineError> {
        Ok(signer::sign(Authorization::new(paid)?, registered(self)?, &engine.secp)?)
    }
}

fn registered(wallet: &Wallet) -> Result<&WalletKeys, EngineError> {
    wallet.keys().ok_or_else(|| EngineError::NotRegistered(wallet.label().into()))
}

impl Countersigner for DigestKey {
    type Asked = [u8; DIGEST_LEN];
    type Request = RequestedDigest;
    type Signed = [u8; SIGNATURE_LEN];

    const RECORD: Kind = Kind::DigestKey;
    const STATE: Kind = Kind::DigestKeyState;

    fn held(engine: &Engine, id: &KeyId) -> Result<Held<DigestKey>, EngineError> {
        engine.held_digest_key(id)
    }

    fn label(&self) -> &str {
        self.label()
    }

    fn users(&self) -> &[String] {
        self.users()
    }

    fn request(
        &self,
        _: &Engine,
        _: &KeyId,
        digest: [u8; DIGEST_LEN],
    ) -> Result<RequestedDigest, EngineError> {
        Ok(self.request(digest))
    }

    fn sign(
        &self,
        paid: Receipt<Consumed<RequestedDigest>>,
        engine: &Engine,
    ) -> Result<[u8; SIGNATURE_LEN], EngineError> {
        Ok(signer::sign_digest(DigestAuthorization::new(paid), self, &engine.secp)?)
    }
}
