//! The records against which the kernel decides an act: the ledger's, and the names that are in use.

use crate::engine::{Engine, EngineError};
use crate::kernel::administration::{KeyId, Present, Refused};
use crate::kernel::digest_key::DigestKeyRecord;
use crate::kernel::record::Versioned;
use crate::kernel::seal::Kind;
use crate::kernel::state::{ClockRecord, TokenRecord, UserRecord, WalletState};
use crate::kernel::wallet::WalletRecord;
use crate::ports::RandomError;

impl Present for Engine {
    type Error = EngineError;

    fn is_initialised(&self) -> bool {
        self.is_initialised()
    }

    fn token(&self) -> Result<Versioned<TokenRecord>, EngineError> {
        self.token_record()
    }

    fn user(&self, name: &str) -> Result<Option<Versioned<UserRecord>>, EngineError> {
        self.user_record(name)
    }

    fn wallet(&self, id: &KeyId) -> Result<(Versioned<WalletRecord>, Versioned<WalletState>), EngineError> {
        Ok((self.wallet_record(id)?, self.wallet_state(id)?))
    }

    fn digest_key(
        &self,
        id: &KeyId,
    ) -> Result<(Versioned<DigestKeyRecord>, Versioned<WalletState>), EngineError> {
        Ok((self.digest_key_record(id)?, self.digest_key_state(id)?))
    }

    fn clock(&self) -> Result<Option<Versioned<ClockRecord>>, EngineError> {
        self.if_there(Kind::Clock)
    }

    fn has_label(&self, label: &str) -> bool {
        self.of_closed(|closed| closed.label == label).contains(&true)
            || self.wallets().iter().any(|(_, wallet)| wallet.label() == label)
            || self.digest_keys().iter().any(|(_, key)| key.label() == label)
    }

    fn signs_for(&self, user: &str) -> Option<String> {
        let lists = |users: &[String]| users.iter().any(|name| name == user);
        let of_wallets = || {
            let wallets = self.wallets();
            wallets
                .iter()
                .find(|(_, wallet)| lists(wallet.users()))
                .map(|(_, wallet)| wallet.label().to_owned())
        };
        let of_keys = || {
            let keys = self.digest_keys();
            keys.iter().find(|(_, key)| lists(key.users())).map(|(_, key)| key.label().to_owned())
        };
        let of_closed = || {
            let closed = self.of_closed(|closed| lists(&closed.users).then(|| closed.label.clone()));
            closed.into_iter().flatten().next()
        };
        of_wallets().or_else(of_keys).or_else(of_closed)
    }
}

impl From<Refused> for EngineError {
    fn from(refused: Refused) -> EngineError {
        match refused {
            Refused::AlreadyInitialised => EngineError::AlreadyInitialised,
            Refused::NotAdministrator => EngineError::NotAdministrator,
            Refused::Clock(error) => EngineError::Clock(error),
            Refused::ClockDiffers { clock, said } => EngineError::Parameter(format!(
                "the machine's clock says Unix time {clock}, not {said}: set the machine's clock right first"
            )),
            Refused::Randomness => {
                EngineError::Random(RandomError::Failed("fewer bytes came than were asked for".into()))
            }
            Refused::Pin => EngineError::Pin,
            Refused::PinStands => EngineError::PinStands,
            Refused::PinNotSet => EngineError::PinNotSet,
            Refused::PinLength => EngineError::PinLength,
            Refused::Name(problem) => EngineError::Name(problem),
            Refused::Parameter(problem) => EngineError::Parameter(problem),
            Refused::NoSuchUser(name) => EngineError::NoSuchUser(name),
            Refused::UserInUse { user, signs_for } => EngineError::UserInUse { user, signs_for },
            Refused::AlreadyRegistered(label) => EngineError::AlreadyRegistered(label),
            Refused::Wallet(error) => EngineError::Wallet(error),
            Refused::DigestKey(error) => EngineError::DigestKey(error),
            Refused::Policy(error) => EngineError::PolicyDocument(error),
        }
    }
}
