//! The records against which the kernel decides an act: the ledger's, and the names that are in use.

use crate::engine::{Engine, EngineError};
use crate::kernel::administration::{KeyId, Present, Refused, UserId};
use crate::kernel::credential::Credentials;
use crate::kernel::freeze::Freeze;
use crate::kernel::officer::Council;
use crate::kernel::record::Versioned;
use crate::kernel::seal::{Kind, RecordKey};
use crate::kernel::state::{
    ClockRecord, Epoch, FormerUsers, KeyRecord, TokenRecord, UserRecord, WalletState,
};
use crate::ports::RandomError;

impl Present for Engine {
    type Error = EngineError;

    fn is_initialised(&self) -> bool {
        self.is_initialised()
    }

    fn token(&self) -> Result<Versioned<TokenRecord>, EngineError> {
        self.token_record()
    }

    fn epoch(&self) -> Epoch {
        Engine::epoch(self)
    }

    fn user(&self, name: &str) -> Result<Option<Versioned<UserRecord>>, EngineError> {
        self.user_record(name)
    }

    fn key<K: KeyRecord>(&self, id: &KeyId) -> Result<(Versioned<K>, Versioned<WalletState>), EngineError> {
        Ok((self.key_record(id)?, self.key_state::<K>(id)?))
    }

    fn clock(&self) -> Result<Option<Versioned<ClockRecord>>, EngineError> {
        self.if_there(Kind::Clock)
    }

    fn council(&self) -> Result<Option<Versioned<Council>>, EngineError> {
        self.if_there(Kind::Council)
    }

    fn freeze(&self, place: &RecordKey) -> Result<Option<Versioned<Freeze>>, EngineError> {
        self.freeze_at(place)
    }

    fn former_users(&self, id: &KeyId) -> Result<Option<Versioned<FormerUsers>>, EngineError> {
        self.former_users_at(RecordKey::former_users(id))
    }

    fn credentials(&self, name: &str) -> Result<Option<Versioned<Credentials>>, EngineError> {
        self.credentials_of(name)
    }

    fn all_credentials(&self) -> Result<Vec<Credentials>, EngineError> {
        self.credentials_of_all()
    }

    fn has_label(&self, label: &str) -> bool {
        self.find_terms(|terms| (terms.label == label).then_some(())).is_some()
    }

    fn is_retired(&self, label: &str) -> Result<bool, EngineError> {
        Ok(self.version_at(RecordKey::retired(label))?.is_some())
    }

    fn acts_need(&self, user: &UserId) -> Result<bool, EngineError> {
        self.acts_need_user(user)
    }

    fn signs_for(&self, user: &str) -> Option<String> {
        self.find_terms(|terms| terms.users.iter().any(|name| name == user).then(|| terms.label.clone()))
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
            Refused::ActsNeed(user) => EngineError::ActsNeed(user),
            Refused::Proposal(error) => EngineError::Proposal(error),
            Refused::AlreadyRegistered(label) => EngineError::AlreadyRegistered(label),
            Refused::Wallet(error) => EngineError::Wallet(error),
            Refused::DigestKey(error) => EngineError::DigestKey(error),
            Refused::Policy(error) => EngineError::PolicyDocument(error),
            Refused::StandsAlready => EngineError::StandsAlready,
            Refused::NeedsOfficers(class) => EngineError::NeedsOfficers(class),
            Refused::Credential(error) => EngineError::Parameter(error.to_string()),
        }
    }
}
