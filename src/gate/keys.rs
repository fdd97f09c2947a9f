//! Keys that sign once their users approve: a wallet signs a PSBT, and a key that was made for digests signs
//! a digest.

use std::cell::OnceCell;
use std::collections::HashSet;

use crate::engine::{Engine, EngineError, KeyId, Registered};
use crate::kernel::digest_key::{DIGEST_LEN, DigestKey, DigestKeyRecord, RequestedDigest, SIGNATURE_LEN};
use crate::kernel::key::KeyTerms;
use crate::kernel::psbt::{CheckedPsbt, PsbtBytes, PsbtError, Surroundings};
use crate::kernel::receipt::Receipt;
use crate::kernel::rule::Rule;
use crate::kernel::signer::{self, Authorization, DigestAuthorization};
use crate::kernel::state::{Consumed, Signable};
use crate::kernel::wallet::{Wallet, WalletKeys, WalletRecord};

/// Proof that a request to a key was paid for.
pub(super) type Paid<K> = Receipt<Consumed<<K as Countersigner>::Request>>;

/// A key that signs once its users approve. The gate ([`super`]) treats all of them alike.
pub(crate) trait Countersigner: Sized {
    /// The caller's input.
    type Asked;
    /// The part of it that the users' codes pay for.
    type Request: Signable<Key = Self>;
    /// The signed result.
    type Signed;

    /// The record that it is opened from.
    type Record: Registered<Opened = Self>;

    /// Its terms.
    fn terms(&self) -> &KeyTerms;

    /// Checks everything in the input that needs no code. A refusal here spends nothing.
    fn request(&self, engine: &Engine, id: &KeyId, asked: Self::Asked) -> Result<Self::Request, EngineError>;

    /// The answer to a request that was refused before its codes were checked. It is recorded if the audit has a link for it.
    fn untried(&self, _: &Engine, error: EngineError) -> EngineError {
        error
    }

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

    type Record = WalletRecord;

    fn terms(&self) -> &KeyTerms {
        self.terms()
    }

    /// Checks a PSBT, and compares it with the other wallets of this token. If a rule refuses it, that is
    /// recorded.
    fn request(&self, engine: &Engine, id: &KeyId, psbt: PsbtBytes) -> Result<CheckedPsbt, EngineError> {
        let watch = registered(self)?.watch();
        let now = engine.now()?;
        let siblings = OnceCell::new();
        let collect = || -> HashSet<_> {
            let others = engine.wallets().into_iter().filter(|(sibling, _)| sibling != id);
            others.map(|(_, sibling)| sibling.master_fingerprint()).collect()
        };
        let around = Surroundings {
            reach: engine.key_state::<WalletRecord>(id)?.value().reach,
            require_cosigner: self.policy().require_cosigner(),
            is_sibling: &|fingerprint| siblings.get_or_init(collect).contains(fingerprint),
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

    /// A PSBT that a freeze refuses is recorded like one that a rule of structure refuses.
    fn untried(&self, engine: &Engine, error: EngineError) -> EngineError {
        if !matches!(error, EngineError::Frozen(_)) {
            return error;
        }
        match engine.now().and_then(|now| engine.decline(self.label(), Rule::Frozen, now)) {
            Ok(()) => error,
            Err(failure) => failure,
        }
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

    type Record = DigestKeyRecord;

    fn terms(&self) -> &KeyTerms {
        self.terms()
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
