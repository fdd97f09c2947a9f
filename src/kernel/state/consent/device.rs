//! A user's word on a proposal, signed by a device with a screen of its own.
//!
//! The device signs the device text of the proposal ([`DeviceText`](crate::consent::DeviceText)), which the boundary wrote for this user
//! and this word. So whoever brings the signature chooses nothing, and neither does the computer that the device is connected to.
//!
//! A signature is public: it is no secret that somebody could guess, and nothing is spent by it. Therefore
//! - a wrong one is answered at once, nothing is written, and nobody is charged;
//! - a user who is locked, because somebody guessed codes, still approves by device. Otherwise whoever guesses codes could keep a
//!   user from approving at all;
//! - the same signature says nothing new. What it approves is approved once ([`Pending`]), and the text is that of one proposal.

use bitcoin::secp256k1::{Secp256k1, Verification};

use super::{Word, told};
use crate::audit::{DeviceWord, PendingStep};
use crate::consent::{ConsentError, DeviceTextError, Means, Pending};
use crate::credential::Credentials;
use crate::message::{SignatureError, SigningAddress};
use crate::name::UserId;
use crate::network::Network;
use crate::receipt::{Batch, Decision};
use crate::record::Versioned;
use crate::seal::{Kind, RecordKey};
use crate::state::administration::Recorded;
use crate::state::codes::Thawed;
use crate::state::records::UserRecord;
use crate::state::way::Untried;

/// A user's word, with the signature that gives it.
pub struct SignedWord<'a> {
    /// The user, by enrolment.
    pub user: UserId,
    /// The word.
    pub word: Word,
    /// A signature over the device text of the proposal, in base64: BIP 137, or BIP 322 (simple).
    pub signature: &'a str,
}

/// Records a user's word on a proposal, if one of the user's devices signed it. It holds as long as the records of the user and of the
/// credentials are what they are.
///
/// A freeze stops approvals, and nobody's refusal.
pub fn consent_by_device<E: From<Untried> + From<DeviceError>, C: Verification>(
    asked: &SignedWord<'_>,
    pending: &Versioned<Pending>,
    user: &Versioned<UserRecord>,
    credentials: Option<&Versioned<Credentials>>,
    is_frozen: impl Fn(&RecordKey) -> Result<bool, E>,
    now: u64,
    secp: &Secp256k1<C>,
) -> Result<Decision<Recorded>, E> {
    let (SignedWord { user: who, word, signature }, old) = (asked, &pending.value);
    assert!(
        user.authority == pending.authority
            && credentials.is_none_or(|credentials| credentials.authority == pending.authority),
        "devices are of users of the store that has the proposal"
    );
    let UserRecord { name, factor, confirmed, .. } = &user.value;
    if *name != who.name || factor.key_id() != who.key || !confirmed {
        return Err(DeviceError::from(ConsentError::NotAsked(who.name.clone())).into());
    }
    let next = match word {
        // A code shows nothing. So whoever approved by one may still do so by a device.
        Word::Approve if old.means_of(who) == Some(Means::Device) => {
            return Err(DeviceError::Given(who.name.clone()).into());
        }
        Word::Approve => old.approve(who, Means::Device, now),
        Word::Refuse => old.refuse(who, now),
    };
    let next = next.map_err(DeviceError::from)?;
    let thawed = match word {
        Word::Approve => {
            let state = RecordKey { kind: Kind::WalletState, id: *old.wallet() };
            Thawed::look_for(Some(state), core::iter::once(user), is_frozen)?
        }
        Word::Refuse => Thawed::regardless(),
    };
    let text = old.device_text_for(who, *word).map_err(DeviceError::from)?;
    let network = old.network();
    // Those of an earlier enrolment are nobody's.
    let theirs = credentials.filter(|credentials| credentials.value.user() == who);
    let none = || DeviceError::None { user: who.name.clone(), network };
    let theirs = theirs.ok_or_else(none)?;
    let verify = |address: &SigningAddress| address.verify(text.as_str(), signature, secp);
    let (device, address) =
        signed_by(theirs.value.devices(network), verify).ok_or_else(none)?.map_err(DeviceError::from)?;
    let step = PendingStep::SaidByDevice(Box::new(DeviceWord {
        user: who.name.clone(),
        enrolment: who.key,
        digest: old.digest_for(who).map_err(DeviceError::from)?.0,
        refuses: *word == Word::Refuse,
        device: device.to_owned(),
        address: address.to_string(),
        text: text.as_str().to_owned(),
        signature: (*signature).to_owned(),
    }));
    let batch = Batch::new(vec![pending.put(&next)], told(&next, step), now);
    let batch = batch.while_absent(thawed.into_places());
    let batch = batch.while_unchanged(user.unchanged()).while_unchanged(theirs.unchanged());
    Ok(Decision::new(batch, Recorded).in_store_of(pending.authority))
}

/// The first of the devices that signed, or why none did. None if there is no device.
fn signed_by<'a>(
    devices: impl Iterator<Item = (&'a str, &'a SigningAddress)>,
    verify: impl Fn(&SigningAddress) -> Result<(), SignatureError>,
) -> Option<Result<(&'a str, &'a SigningAddress), SignatureError>> {
    let mut refused = None;
    for (name, address) in devices {
        match verify(address) {
            Ok(()) => return Some(Ok((name, address))),
            // A signature that could be of a device is by none of them: that says more than that it does not fit another one.
            Err(SignatureError::Wrong) => refused = Some(SignatureError::Wrong),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    refused.map(Err)
}

/// Why a word by device is not recorded. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The proposal does not take this user's word.
    #[error(transparent)]
    Consent(#[from] ConsentError),
    /// The proposal has no text for a device.
    #[error(transparent)]
    Text(#[from] DeviceTextError),
    /// The user has no device that could have signed.
    #[error("user {user:?} has no device for {}: an administrator registers one (countersign user device add)", .network.name())]
    None {
        /// The user.
        user: String,
        /// The proposal's network.
        network: Network,
    },
    /// The signature is not by a device of the user, or not over the text.
    #[error(
        "{0}; sign the text that the proposal shows for this user, byte for byte, with a registered device"
    )]
    Signature(#[from] SignatureError),
    /// The user has approved it by a device.
    #[error("user {0:?} has approved this proposal by device already")]
    Given(String),
}
