//! The restoration: who decides about a store that does not fit its anchor, and what is written once they agree.
//!
//! The copy cannot say who decides, because it may be from before there were officers, or from when they were others. So the anchor
//! names the council. What the copy says counts besides, as far as the copy may be newer than the anchor.
//!
//! | the anchor | who must sign | in force afterwards |
//! |---|---|---|
//! | names a council, and the store is older, or another of the same length | the council of the anchor | that one |
//! | names a council, and the store is ahead | the councils of the anchor and of the store | the store's |
//! | names none | the council of the store, if it has one | the same |
//! | is gone, and officers are pinned for the plugin | the pinned officers, and the council of the store, if it has one | the store's |
//! | is gone, and no officers are pinned | the council of the store, if it has one | the same |
//!
//! The security officer's PIN is needed in any case. Where nobody must sign, it is enough.

use super::Approved;
use crate::anchor::Anchored;
use crate::audit::ChainEnd;
use crate::motion::{ActText, Motion, Seen, TextError};
use crate::officer::{Council, CouncilDigest, Officers};
use crate::receipt::Decision;
use crate::record::Versioned;
use crate::seal::StoreId;
use crate::state::{self, Epoch};

/// Seconds for which an act may let a store be taken, at the most. Where the anchor is gone, nothing else ends it.
pub const MAX_RESTORE_WINDOW: u64 = 30 * 24 * 3_600;

/// A store that does not fit its anchor, as it was found.
#[derive(Clone, Copy)]
pub struct Unfit<'a> {
    /// The store.
    pub store: StoreId,
    /// The name of its epoch.
    pub epoch: u64,
    /// The end of its chain.
    pub end: &'a ChainEnd,
    /// Its council, if it has one.
    pub council: Option<&'a Council>,
    /// The anchor of this store, if the token has one.
    pub anchor: Option<&'a Anchored>,
}

/// Those who decide about a restoration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deciders {
    /// Each of them must agree: as many officers of each as its threshold says.
    groups: Vec<Officers>,
    /// The council in force afterwards.
    council: Option<Council>,
    motion: Motion,
    store: StoreId,
    epoch: u64,
}

/// Evidence: everybody who decides about this restoration has agreed to it.
#[must_use = "an agreed restoration is not done yet"]
pub struct Agreed {
    council: Option<Council>,
    officers: Vec<[u8; 32]>,
    /// When the act expires that officers signed, Unix seconds. None if they need not agree.
    expires: Option<u64>,
    store: u64,
    anchor: Option<u64>,
}

/// The acceptance of a store that does not fit its anchor: the links of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restoration {
    /// The newest link of the store.
    pub store: u64,
    /// The link in the backing token's anchor, if the anchor is this store's.
    pub anchor: Option<u64>,
}

/// The reason why nobody can decide, or too few have agreed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DisagreedError {
    /// The copy does not have the council that the anchor names.
    #[error("the anchor names a council that this copy does not have (digest {0})")]
    CouncilUnknown(CouncilDigest),
    /// The given council is another one.
    #[error(
        "the given council is not the one that the anchor names: its digest is {given}, the anchor's {anchored}"
    )]
    AnotherCouncil {
        /// The digest of the given one.
        given: CouncilDigest,
        /// The digest in the anchor.
        anchored: CouncilDigest,
    },
    /// There is no act, and one is needed.
    #[error("officers decide about this restoration")]
    Unsigned,
    /// The text is no act.
    #[error("the act {0}")]
    Text(#[from] TextError),
    /// It is an act about something else.
    #[error("the act is not about this restoration: {0}")]
    Another(&'static str),
    /// Too late, or it holds too long.
    #[error("the act has expired, or expires in more than 30 days")]
    Expired,
    /// Too few signatures.
    #[error("{signed} of the {needed} officers who must agree have signed")]
    Few {
        /// How many have.
        signed: usize,
        /// How many must.
        needed: usize,
    },
}

impl Deciders {
    /// Finds those who decide. `given` is a council that somebody claims to be the anchor's, `pinned` the officers of the plugin.
    pub fn find(
        found: &Unfit<'_>,
        given: Option<&Council>,
        pinned: Option<&Officers>,
    ) -> Result<Deciders, DisagreedError> {
        let of_store = found.council;
        let named = match found.anchor.and_then(|anchor| anchor.council) {
            Some(digest) => Some(of_digest(digest, of_store, given)?),
            None => None,
        };
        let is_ahead = found.anchor.is_some_and(|anchor| found.end.newest.sequence > anchor.sequence);
        let (councils, in_force): (Vec<&Council>, _) = match (&named, of_store) {
            (Some(named), Some(of_store)) if is_ahead && *named != of_store => {
                (vec![named, of_store], Some(of_store))
            }
            (Some(named), _) => (vec![named], Some(*named)),
            (None, of_store) => (of_store.into_iter().collect(), of_store),
        };
        // A configuration can be changed by whoever emptied the token, and a copy can be chosen. Neither decides alone.
        let pinned = pinned.filter(|_| found.anchor.is_none());
        let of_councils = councils.into_iter().map(Council::officers);
        let mut groups: Vec<Officers> = pinned.into_iter().chain(of_councils).cloned().collect();
        groups.dedup();
        let newest = Seen { head: found.end.head, link: found.end.newest.sequence };
        let anchor = found.anchor.map(|anchor| Seen { head: anchor.head, link: anchor.sequence });
        Ok(Deciders {
            groups,
            council: in_force.cloned(),
            motion: Motion::Restore { store: newest, anchor },
            store: found.store,
            epoch: found.epoch,
        })
    }

    /// The groups of officers who must agree, each by its threshold. None where the security officer decides alone.
    pub fn groups(&self) -> &[Officers] {
        &self.groups
    }

    /// The act that they sign.
    pub fn act(&self, nonce: [u8; 16], expires: u64) -> ActText {
        let Motion::Restore { store: seen, .. } = self.motion else { unreachable!("it is made so") };
        let (store, epoch, motion) = (self.store, self.epoch, self.motion.clone());
        ActText { store, epoch, nonce, seen, expires, motion }
    }

    /// Everybody has agreed by signing this text.
    pub fn agree(
        &self,
        text: Option<&str>,
        signatures: &[String],
        now: u64,
    ) -> Result<Agreed, DisagreedError> {
        let (mut officers, mut expires) = (Vec::new(), None);
        if !self.groups.is_empty() {
            let text = text.ok_or(DisagreedError::Unsigned)?;
            let act = ActText::parse(text)?;
            self.check(&act, now)?;
            expires = Some(act.expires);
            for group in &self.groups {
                let signed = signers(group, text, signatures);
                if signed.len() < group.threshold() {
                    return Err(DisagreedError::Few { signed: signed.len(), needed: group.threshold() });
                }
                officers.extend(signed);
            }
            officers.sort_unstable();
            officers.dedup();
        }
        let Motion::Restore { store, anchor } = self.motion else { unreachable!("it is made so") };
        let (store, anchor) = (store.link, anchor.map(|anchor| anchor.link));
        Ok(Agreed { council: self.council.clone(), officers, expires, store, anchor })
    }

    fn check(&self, act: &ActText, now: u64) -> Result<(), DisagreedError> {
        let another = |what| Err(DisagreedError::Another(what));
        match act {
            act if act.store != self.store => another("it is for another store"),
            act if act.epoch != self.epoch => another("it is for another epoch of the store"),
            act if !matches!(act.motion, Motion::Restore { .. }) => another("it does something else"),
            act if act.motion != self.motion => {
                another("it is for another copy, or for another state of the anchor")
            }
            act => check_expiry(act.expires, now),
        }
    }
}

fn check_expiry(expires: u64, now: u64) -> Result<(), DisagreedError> {
    let holds = expires >= now && expires - now <= MAX_RESTORE_WINDOW;
    if holds { Ok(()) } else { Err(DisagreedError::Expired) }
}

/// The council of this digest: the store's, or else the given one.
fn of_digest<'a>(
    digest: CouncilDigest,
    of_store: Option<&'a Council>,
    given: Option<&'a Council>,
) -> Result<&'a Council, DisagreedError> {
    match (of_store, given) {
        (Some(council), _) if council.digest() == digest => Ok(council),
        (_, Some(council)) if council.digest() == digest => Ok(council),
        (_, Some(council)) => {
            Err(DisagreedError::AnotherCouncil { given: council.digest(), anchored: digest })
        }
        (_, None) => Err(DisagreedError::CouncilUnknown(digest)),
    }
}

/// The officers of a group who have signed, each once.
fn signers(group: &Officers, text: &str, signatures: &[String]) -> Vec<[u8; 32]> {
    let mut signed: Vec<[u8; 32]> = Vec::new();
    for signature in signatures {
        if let Ok(found) = group.verify(text.as_bytes(), signature) {
            let key = *found.officer().public_key();
            if !signed.contains(&key) {
                signed.push(key);
            }
        }
    }
    signed
}

impl Agreed {
    /// The links of store and anchor.
    pub fn restoration(&self) -> Restoration {
        Restoration { store: self.store, anchor: self.anchor }
    }
}

/// Accepts a store that did not fit its anchor, which begins a new epoch. The store is not open, so no engine
/// does this.
pub fn restore(
    approved: Approved<Agreed>,
    epoch: Option<&Versioned<Epoch>>,
    council: Option<&Versioned<Council>>,
    now: u64,
) -> Result<Decision<Approved<Agreed>>, DisagreedError> {
    let Agreed { council: in_force, officers, expires, store, anchor } = approved.act();
    // Officers may have agreed by a clock that was not judged, or long ago.
    expires.map_or(Ok(()), |expires| check_expiry(expires, now))?;
    let batch = state::restore((*store, *anchor), epoch, (council, in_force.as_ref()), officers, now);
    Ok(Decision::new(batch, approved))
}

#[cfg(test)]
mod tests;
