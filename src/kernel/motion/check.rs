//! What an act can say at all.

use super::{ActText, DigestKeyTerms, Frozen, KeySet, MAX_CLOCK_WINDOW, Motion, Raise, TextError, WalletSet};
use crate::name::{check_label, check_token_label, check_user_name};
use crate::policy::{DigestPolicy, Policy};
use crate::utc::{from_iso, to_iso};
use crate::wallet::Reach;

impl ActText {
    pub(super) fn check(&self) -> Result<(), TextError> {
        let has_a_text = |time: u64| from_iso(&to_iso(time)) == Some(time);
        if !has_a_text(self.expires) {
            return Err(TextError::Says("a time after the year 9999"));
        }
        match &self.motion {
            Motion::WalletSet(set) => set.check(),
            Motion::KeySet(set) => set.check(),
            Motion::ClockTake { believed, from } => {
                let fits = *from <= self.expires && self.expires - from <= MAX_CLOCK_WINDOW;
                says(
                    fits && believed.is_none_or(has_a_text),
                    "that a clock may be accepted for longer than a day, or never",
                )
            }
            Motion::Restore { store, anchor } => says(anchor.as_ref() != Some(store), "that nothing changes"),
            Motion::OfficersSet { old, new } => says(old.as_ref() != Some(new), "that nothing changes"),
            Motion::SoPinLost { label, .. } => {
                says(check_token_label(label).is_ok(), "a label that no token has")
            }
            Motion::Thaw { what, since } => says(
                what.has_a_name() && has_a_text(*since),
                "a name that nobody can have, or a time after the year 9999",
            ),
            Motion::Freeze { what } => says(what.has_a_name(), "a name that nobody can have"),
            Motion::DeviceAdd(add) => add.check(),
        }
    }
}

pub(super) fn says(is_right: bool, otherwise: &'static str) -> Result<(), TextError> {
    if is_right { Ok(()) } else { Err(TextError::Says(otherwise)) }
}

impl Frozen {
    /// Whether something can be called so.
    fn has_a_name(&self) -> bool {
        match self {
            Frozen::Wallet(label, _) | Frozen::Key(label, _) => check_label(label).is_ok(),
            Frozen::User(user) => check_user_name(&user.name).is_ok(),
            Frozen::All => true,
        }
    }
}

impl WalletSet {
    fn check(&self) -> Result<(), TextError> {
        let WalletSet { id: _, old, new, reach } = self;
        says(old.are_sound() && new.are_sound(), "names or a policy that no wallet has")?;
        says(old.fixed == new.fixed, "another network, key or script, which no act changes")?;
        says(Policy::parse(&new.policy, new.fixed.network).is_ok(), "a policy that is none")?;
        if let Some(Raise { from, to }) = reach {
            let is_raised = from != to && from.iter().zip(to).all(|(from, to)| from <= to);
            says(is_raised && to.iter().all(|next| *next <= Reach::MOST), "a reach that is not raised")?;
        }
        says(old != new || reach.is_some(), "that nothing changes")
    }
}

impl KeySet {
    fn check(&self) -> Result<(), TextError> {
        let KeySet { id: _, old, new } = self;
        says(old.are_sound() && new.are_sound(), "names or a policy that no key has")?;
        let fixed = |terms: &DigestKeyTerms| (terms.mechanisms, terms.public_key);
        says(fixed(old) == fixed(new), "another key, which no act changes")?;
        says(DigestPolicy::parse(&new.policy).is_ok(), "a policy that is none")?;
        says(old != new, "that nothing changes")
    }
}
