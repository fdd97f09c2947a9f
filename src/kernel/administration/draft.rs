//! The text of an act before anybody signs it: the boundary itself writes down what is in force and what is to be.

use bitcoin::secp256k1::{All, Secp256k1};

use super::{Act, Present, Refused, Target, UserId, WalletChange, officers};
use crate::key::{KeyChange, KeyTerms};
use crate::motion::{DeviceAdd, DigestKeyTerms, Frozen, KeySet, Motion, Raise, WalletSet, WalletTerms};
use crate::proposal::ProposalError;
use crate::wallet::Reach;

/// What an act does, as officers read it, on the present records. It is refused if officers need not sign such an act.
pub fn draft<P: Present>(act: &Act, present: &P, secp: &Secp256k1<All>) -> Result<Motion, P::Error> {
    let gone = || Refused::from(ProposalError::CHANGED);
    Ok(match act {
        Act::ChangeWallet(id, change) => {
            super::wallets::check_change(change)?;
            let WalletChange { terms, registration, reach } = change;
            if registration.is_some() {
                let one = "register the wallet first, and change the rest by an act after that";
                return Err(Refused::Parameter(one.into()).into());
            }
            let (old, reached) = officers::wallet(id, present, secp)?.ok_or_else(gone)?;
            let terms = changed(terms_of(&old.label, &old.users, &old.policy), terms, present)?;
            let users = users_of(&terms, present)?;
            let new =
                WalletTerms { label: terms.label, users, policy: terms.policy, fixed: old.fixed.clone() };
            let to = reached.joined(reach.unwrap_or_else(Reach::default)).numbers();
            let reach = (to != reached.numbers()).then(|| Raise { from: reached.numbers(), to });
            Motion::WalletSet(Box::new(WalletSet { id: *id, old, new, reach }))
        }
        Act::ChangeDigestKey(id, change) => {
            super::keys::check_change(change)?;
            let old = officers::digest_key(id, present, secp)?.ok_or_else(gone)?;
            let terms = changed(terms_of(&old.label, &old.users, &old.policy), change, present)?;
            let users = users_of(&terms, present)?;
            let new = DigestKeyTerms { label: terms.label, users, policy: terms.policy, ..old.clone() };
            Motion::KeySet(Box::new(KeySet { id: *id, old, new }))
        }
        Act::TakeClock(said) => {
            let believed = present.clock()?.map(|clock| clock.value.believed.wall);
            Motion::ClockTake { believed, from: *said }
        }
        Act::SetOfficers(new) => {
            let old = present.council()?.map(|council| Box::new(council.value));
            Motion::OfficersSet { old, new: new.clone() }
        }
        Act::LoseSoPin(heir) => {
            let token = present.token()?.value;
            let (label, serial, pin) = (token.label, token.serial, token.so.name());
            Motion::SoPinLost { label, serial, pin, heir: *heir }
        }
        Act::Freeze(target) => match frozen(target, present)? {
            (what, None) => Motion::Freeze { what },
            (_, Some(_)) => return Err(Refused::StandsAlready.into()),
        },
        Act::Thaw(target) => match frozen(target, present)? {
            (what, Some(since)) => Motion::Thaw { what, since },
            (_, None) => return Err(Refused::StandsAlready.into()),
        },
        Act::AddDevice(new) => {
            let (old, next) = super::devices::draft(new, present)?;
            Motion::DeviceAdd(Box::new(DeviceAdd::between(&old, &next)))
        }
        // An administrator removes a device alone, as a user.
        Act::Initialise(_)
        | Act::RemoveDevice(..)
        | Act::SetUserPin(_)
        | Act::ChangePin { .. }
        | Act::InheritSoPin { .. }
        | Act::LoseUserPin
        | Act::UnlockUserPin
        | Act::Enrol(_)
        | Act::RemoveUser(_)
        | Act::UnlockUser(_)
        | Act::MakeWallet(_)
        | Act::MakeDigestKey(_)
        | Act::TakeClockWithin(_) => return Err(Refused::from(ProposalError::NeedsNobody).into()),
    })
}

fn terms_of(label: &str, users: &[UserId], policy: &str) -> KeyTerms {
    let users = users.iter().map(|user| user.name.clone()).collect();
    KeyTerms { label: label.into(), cka_id: vec![], users, policy: policy.into() }
}

fn changed<P: Present>(old: KeyTerms, change: &KeyChange, present: &P) -> Result<KeyTerms, P::Error> {
    super::keys::changed(&old, change, present)
}

fn users_of<P: Present>(terms: &KeyTerms, present: &P) -> Result<Vec<UserId>, P::Error> {
    Ok(officers::enrolled(terms, present)?.ok_or_else(|| Refused::from(ProposalError::CHANGED))?)
}

fn frozen<P: Present>(target: &Target, present: &P) -> Result<(Frozen, Option<u64>), P::Error> {
    // The label is looked up.
    let what = match target {
        Target::Everything => Frozen::All,
        Target::Wallet(id) => Frozen::Wallet(String::new(), *id),
        Target::DigestKey(id) => Frozen::Key(String::new(), *id),
        Target::User(user) => Frozen::User(user.clone()),
    };
    match (officers::frozen(&what, present)?, target) {
        (Some(found), _) => Ok(found),
        (None, Target::User(user)) => Err(Refused::NoSuchUser(user.name.clone()).into()),
        (None, _) => Err(Refused::from(ProposalError::CHANGED).into()),
    }
}
