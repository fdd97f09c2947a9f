//! The plan of an act, as far as it needs no record.

use bitcoin::secp256k1::{All, Secp256k1};
use zeroize::Zeroizing;

use super::{
    Act, Approved, Enrolment, KeyId, NewDevice, Refused, Target, UserId, WalletChange, Window, digest_keys,
    keys, token, users, wallets,
};
use crate::credential::Credential;
use crate::digest_key::{DigestKey, DigestKeyRecord};
use crate::key::KeyChange;
use crate::officer::Council;
use crate::otp::SECRET_LEN;
use crate::pin::{Heir, PinRecord};
use crate::receipt::Decision;
use crate::state::{HeirFound, PinMatched, TokenRecord, UserRecord};
use crate::wallet::{SEED_LEN, Wallet, WalletRecord};

/// An act with its secrets made, and with everything checked that does not depend on the records.
pub struct Plan(pub(super) Planned);

pub(super) enum Planned {
    Initialise(Box<TokenRecord>),
    SetUserPin(PinRecord),
    ChangePin { old: PinMatched, new: PinRecord },
    LoseUserPin,
    UnlockUserPin,
    Enrol(Box<UserRecord>, Enrolment),
    RemoveUser(UserId),
    UnlockUser(UserId),
    MakeWallet(KeyId, Box<WalletRecord>, Box<Wallet>),
    ChangeWallet(KeyId, WalletChange),
    MakeDigestKey(KeyId, Box<DigestKeyRecord>, Box<DigestKey>),
    ChangeDigestKey(KeyId, KeyChange),
    TakeClock(u64),
    Freeze(Target),
    Thaw(Target),
    SetOfficers(Box<Council>),
    LoseSoPin(Heir),
    InheritSoPin { found: HeirFound, new: PinRecord },
    TakeClockWithin(Window),
    AddDevice(UserId, String, Credential),
    RemoveDevice(UserId, String),
}

/// Fresh randomness from inside: as many bytes as the act needs.
#[derive(Default)]
pub struct Fresh {
    bytes: Zeroizing<Vec<u8>>,
    taken: usize,
}

impl Fresh {
    /// From these random bytes, which are used for nothing else.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Fresh {
        Fresh { bytes, taken: 0 }
    }

    /// The next `N` bytes.
    pub(super) fn take<const N: usize>(&mut self) -> Result<Zeroizing<[u8; N]>, Refused> {
        let end = self.taken.saturating_add(N);
        let bytes = self.bytes.get(self.taken..end).ok_or(Refused::Randomness)?;
        self.taken = end;
        let mut taken = Zeroizing::new([0; N]);
        taken.copy_from_slice(bytes);
        Ok(taken)
    }
}

impl Act {
    /// The random bytes that it needs: the length of each of its secrets, ids and salts.
    pub fn randomness(&self) -> &'static [usize] {
        match self {
            Act::Initialise(_) => &[token::SERIAL_LEN, token::SALT_LEN],
            Act::SetUserPin(_) => &[token::SALT_LEN],
            Act::Enrol(_) => &[SECRET_LEN],
            Act::MakeWallet(_) => &[size_of::<KeyId>(), SEED_LEN],
            Act::MakeDigestKey(_) => &[size_of::<KeyId>(), digest_keys::SECRET_LEN],
            Act::ChangePin { .. }
            | Act::LoseSoPin(_)
            | Act::InheritSoPin { .. }
            | Act::LoseUserPin
            | Act::UnlockUserPin
            | Act::RemoveUser(_)
            | Act::UnlockUser(_)
            | Act::ChangeWallet(..)
            | Act::ChangeDigestKey(..)
            | Act::TakeClock(_)
            | Act::Freeze(_)
            | Act::Thaw(_)
            | Act::SetOfficers(_)
            | Act::TakeClockWithin(_)
            | Act::AddDevice(_)
            | Act::RemoveDevice(..) => &[],
        }
    }
}

/// Checks everything about an act that needs no record, and makes its secrets from `fresh`, which has the
/// bytes of [`Act::randomness`] one after the other.
pub fn check(
    approved: Approved<Act>,
    mut fresh: Fresh,
    secp: &Secp256k1<All>,
) -> Result<Approved<Plan>, Refused> {
    approved.try_map(|act| {
        Ok(Plan(match act {
            Act::Initialise(new) => Planned::Initialise(Box::new(token::new(&new, &mut fresh)?)),
            Act::SetUserPin(pin) => Planned::SetUserPin(token::new_pin(&pin, &mut fresh)?),
            Act::ChangePin { old, new } => Planned::ChangePin { old, new },
            Act::LoseUserPin => Planned::LoseUserPin,
            Act::UnlockUserPin => Planned::UnlockUserPin,
            Act::Enrol(new) => {
                let (user, enrolment) = users::new(new, &mut fresh)?;
                Planned::Enrol(Box::new(user), enrolment)
            }
            Act::RemoveUser(user) => Planned::RemoveUser(user),
            Act::UnlockUser(user) => Planned::UnlockUser(user),
            Act::MakeWallet(new) => {
                let (id, record, wallet) = wallets::new(new, &mut fresh, secp)?;
                Planned::MakeWallet(id, Box::new(record), Box::new(wallet))
            }
            Act::ChangeWallet(id, change) => {
                wallets::check_change(&change)?;
                Planned::ChangeWallet(id, change)
            }
            Act::MakeDigestKey(new) => {
                let (id, record, key) = digest_keys::new(new, &mut fresh, secp)?;
                Planned::MakeDigestKey(id, Box::new(record), Box::new(key))
            }
            Act::ChangeDigestKey(id, change) => {
                keys::check_change(&change)?;
                Planned::ChangeDigestKey(id, change)
            }
            Act::TakeClock(said) => Planned::TakeClock(said),
            Act::Freeze(target) => Planned::Freeze(target),
            Act::Thaw(target) => Planned::Thaw(target),
            Act::SetOfficers(council) => Planned::SetOfficers(council),
            Act::LoseSoPin(heir) => Planned::LoseSoPin(heir),
            Act::InheritSoPin { found, new } => Planned::InheritSoPin { found, new },
            Act::TakeClockWithin(window) => Planned::TakeClockWithin(window),
            Act::AddDevice(NewDevice { user, name, network, address }) => {
                Planned::AddDevice(user, name, Credential::device(&address, network)?)
            }
            Act::RemoveDevice(user, name) => Planned::RemoveDevice(user, name),
        }))
    })
}

impl Decision<Approved<Plan>> {
    /// The plan of a decision that was not written, to decide it again.
    pub fn take_back(self) -> Approved<Plan> {
        self.into_unwritten()
    }
}
