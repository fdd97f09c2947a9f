//! Administration, as an administrator does it.

use std::sync::OnceLock;

use countersign::admin::{
    Act, Administrator, Done, Enrolment, KeyChange, NewDigestKey, NewUser, NewWallet, Target, UserId,
    WalletChange,
};
use countersign::engine::{DigestKeyId, Engine, EngineError, WalletId};
use countersign::kernel::otp::OtpKeyId;
use countersign::kernel::pin::Role;
use countersign::kernel::state::Peer;
use zeroize::Zeroizing;

use super::Bench;

/// The administrator, who logs in when a test first needs one.
#[derive(Default)]
pub struct LoggedIn(OnceLock<Administrator>);

impl Bench {
    /// The administrator of a fresh token, logged in once.
    pub fn administrator(&self) -> &Administrator {
        self.administrator.0.get_or_init(|| administrator_as(&self.engine, None, b"so-pin"))
    }

    /// Does an act as the administrator.
    pub fn perform(&self, act: Act) -> Result<Done, EngineError> {
        self.engine.perform(self.administrator().approve(act))
    }

    fn change(&self, act: Act) -> Result<(), EngineError> {
        self.perform(act).map(drop)
    }

    pub fn enrol(&self, user: NewUser) -> Result<Enrolment, EngineError> {
        self.perform(Act::Enrol(user)).map(|done| match done {
            Done::Enrolled(enrolment) => enrolment,
            _ => panic!("a user is enrolled"),
        })
    }

    pub fn remove_user(&self, name: &str, key: &OtpKeyId) -> Result<(), EngineError> {
        self.change(Act::RemoveUser(user_id(name, key)))
    }

    pub fn unlock_user(&self, name: &str, key: &OtpKeyId) -> Result<(), EngineError> {
        self.change(Act::UnlockUser(user_id(name, key)))
    }

    pub fn set_user_pin(&self, pin: &[u8]) -> Result<(), EngineError> {
        self.change(user_pin(pin))
    }

    pub fn lose_user_pin(&self) -> Result<(), EngineError> {
        self.change(Act::LoseUserPin)
    }

    pub fn unlock_user_pin(&self) -> Result<(), EngineError> {
        self.change(Act::UnlockUserPin)
    }

    pub fn make_wallet(&self, new: NewWallet) -> Result<WalletId, EngineError> {
        self.perform(Act::MakeWallet(new)).map(|done| match done {
            Done::Wallet(id) => id,
            _ => panic!("a wallet is made"),
        })
    }

    pub fn change_wallet(&self, id: &WalletId, change: impl Into<WalletChange>) -> Result<(), EngineError> {
        self.change(Act::ChangeWallet(*id, change.into()))
    }

    pub fn add_digest_key(&self, new: NewDigestKey) -> Result<DigestKeyId, EngineError> {
        self.perform(Act::MakeDigestKey(new)).map(|done| match done {
            Done::DigestKey(id) => id,
            _ => panic!("a key is made"),
        })
    }

    pub fn change_digest_key(&self, id: &DigestKeyId, change: KeyChange) -> Result<(), EngineError> {
        self.change(Act::ChangeDigestKey(*id, change))
    }

    pub fn freeze(&self, target: &Target) -> Result<(), EngineError> {
        self.change(Act::Freeze(target.clone()))
    }

    pub fn thaw(&self, target: &Target) -> Result<(), EngineError> {
        self.change(Act::Thaw(target.clone()))
    }

    /// The user, to be frozen or thawed, as enrolled now.
    pub fn target_user(&self, name: &str) -> Target {
        Target::User(user_id(name, &self.key_id(name)))
    }

    pub fn take_clock(&self, said: u64) -> Result<(), EngineError> {
        self.change(Act::TakeClock(said))
    }
}

/// An administrator, who logs in as `peer`.
pub fn administrator_as(engine: &Engine, peer: Peer<'_>, pin: &[u8]) -> Administrator {
    let login = engine.login_of(peer, Role::So, pin).expect("the SO PIN");
    engine.administrator(&login).expect("logged in just now")
}

pub fn user_pin(pin: &[u8]) -> Act {
    Act::SetUserPin(Zeroizing::new(pin.to_vec()))
}

fn user_id(name: &str, key: &OtpKeyId) -> UserId {
    UserId { name: name.into(), key: *key }
}
