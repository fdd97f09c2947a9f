//! Evidence: who asks for an act, and that they may.
//!
//! All makers of [`Approved`] are in this file. Each takes evidence: a login, which comes from a receipt for
//! a right PIN; a PIN that was found right; that officers decided; or that there is nobody yet who could be asked.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::officers::Ruling;
use super::{Act, NewToken, Refused};
use crate::freeze::Freezer;
use crate::officer::Council;
use crate::pin::{PinName, PinRecord, Role};
use crate::proposal::{Decided, Proposal};
use crate::receipt::Receipt;
use crate::record::Versioned;
use crate::state::{HeirFound, Peer, PinKnown, PinMatched, TokenRecord, is_so_pin};

/// Distinguishes the PINs of a role: a new era begins when the PIN is set again or declared lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinEra(u64);

impl PinEra {
    /// The era with this number.
    pub const fn new(number: u64) -> PinEra {
        PinEra(number)
    }
}

/// Evidence: a peer logged in with the PIN of a role. It lasts as long as the era of that PIN.
#[derive(Debug)]
pub struct Login {
    role: Role,
    peer: Option<String>,
    pin: PinName,
    era: PinEra,
}

impl Login {
    /// The login of a peer that knows the PIN of this era. The era was read before the PIN was compared, or a
    /// change of the PIN began it.
    pub fn new(known: Receipt<PinKnown>, era: PinEra) -> Login {
        Login::of(known.into_evidence(), era)
    }

    pub(super) fn of(known: PinKnown, era: PinEra) -> Login {
        let (role, peer, pin) = known.into_parts();
        Login { role, peer, pin, era }
    }

    /// The role of the PIN.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether the login's PIN is still the role's, given the present era.
    pub fn is_of(&self, now: PinEra) -> bool {
        self.era == now
    }

    /// The administrator, if this is an administrator's login and not over.
    pub fn administrator(&self, now: PinEra) -> Option<Administrator> {
        let is_administrator = self.role == Role::So && self.is_of(now);
        is_administrator.then(|| Administrator { peer: self.peer.clone(), pin: self.pin })
    }
}

/// Evidence: an administrator asks, who logged in with the SO PIN of this name.
pub struct Administrator {
    peer: Option<String>,
    pin: PinName,
}

impl Administrator {
    /// The administrator of a store that is not open, by the PIN in the store, or by the secret that may set a lost one.
    pub fn by_pin(token: &TokenRecord, pin: &[u8]) -> Option<Administrator> {
        is_so_pin(token, pin).then(|| Administrator { peer: None, pin: token.so.name() })
    }

    /// Whether this is still the PIN of the token's administrator.
    pub fn is_of(&self, token: &TokenRecord) -> bool {
        token.so.name() == self.pin
    }

    /// Approves an act. An act that somebody else must approve cannot be made without their evidence.
    pub fn approve<A>(&self, act: A) -> Approved<A> {
        Approved { act, by: By::Administrator { peer: self.peer.clone(), pin: self.pin } }
    }
}

/// Evidence: the act may be done, once.
#[must_use = "what is approved is not done yet"]
pub struct Approved<A> {
    act: A,
    by: By,
}

/// The approver.
enum By {
    /// An administrator.
    Administrator { peer: Option<String>, pin: PinName },
    /// Somebody who knows the PIN that the act changes, or who has the secret that sets a lost one.
    PinOwner,
    /// Nobody, because there is no token yet and so no administrator.
    Nobody,
    /// Officers, by a proposed act.
    Officers(Box<Ruling>),
}

impl Approved<Act> {
    /// The change of a PIN, approved by somebody who knows the old one.
    pub fn change_of_pin(old: PinMatched, new: PinRecord) -> Approved<Act> {
        Approved { act: Act::ChangePin { old, new }, by: By::PinOwner }
    }

    /// The next PIN of the security officer after a loss, by somebody who has the secret on which officers agreed.
    pub fn inheritance_of_so_pin(found: HeirFound, new: PinRecord) -> Approved<Act> {
        Approved { act: Act::InheritSoPin { found, new }, by: By::PinOwner }
    }

    /// What officers decided by this proposal. The act is done in the commit that records that it was, once, while the officers are
    /// the same.
    pub fn decided(
        decided: Decided,
        proposal: Arc<Versioned<Proposal>>,
        council: Versioned<Council>,
    ) -> Result<Approved<Act>, Refused> {
        let (act, ruling) = Ruling::new(decided, proposal, council)?;
        Ok(Approved { act, by: By::Officers(Box::new(ruling)) })
    }

    /// The initialisation of a token. It needs no approval, because it cannot be written if there is a token.
    pub fn initialisation(label: &str, so_pin: &[u8]) -> Approved<Act> {
        let token = NewToken { label: label.into(), so_pin: Zeroizing::new(so_pin.to_vec()) };
        Approved { act: Act::Initialise(token), by: By::Nobody }
    }
}

impl<A> Approved<A> {
    /// The approved act.
    pub fn act(&self) -> &A {
        &self.act
    }

    /// Whether it may be done while this is the token's record. An administrator's approval ends with the PIN
    /// that it was given with, and is worth nothing at another token.
    pub(super) fn holds_by(&self, token: &TokenRecord) -> bool {
        match &self.by {
            By::Administrator { pin, .. } => token.so.name() == *pin,
            By::PinOwner | By::Nobody | By::Officers(_) => true,
        }
    }

    /// Whether an administrator approved it.
    pub(super) fn is_by_administrator(&self) -> bool {
        matches!(self.by, By::Administrator { .. })
    }

    /// What officers decided, if they did.
    pub(super) fn ruling(&self) -> Option<&Ruling> {
        match &self.by {
            By::Officers(ruling) => Some(ruling),
            By::Administrator { .. } | By::PinOwner | By::Nobody => None,
        }
    }

    /// Who freezes by it.
    pub(super) fn freezer(&self) -> Freezer {
        match self.by {
            By::Officers(_) => Freezer::Officer,
            By::Administrator { .. } | By::PinOwner | By::Nobody => Freezer::SecurityOfficer,
        }
    }

    /// The peer through which the administrator came.
    pub(super) fn peer(&self) -> Peer<'_> {
        match &self.by {
            By::Administrator { peer, .. } => peer.as_deref(),
            By::PinOwner | By::Nobody | By::Officers(_) => None,
        }
    }

    pub(super) fn into_act(self) -> A {
        self.act
    }

    /// The approval of the plan that the act becomes.
    pub(super) fn try_map<B, E>(self, plan: impl FnOnce(A) -> Result<B, E>) -> Result<Approved<B>, E> {
        Ok(Approved { act: plan(self.act)?, by: self.by })
    }
}
