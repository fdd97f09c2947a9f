//! A ticket in place of codes: users approved the transaction before ([`crate::consent`]), and its pending record is what a signature
//! spends.
//!
//! A ticket that is unknown counts as a code of nobody. One that was refused or withdrawn, has expired or was spent, is for another
//! transaction or wallet, or is from before a restoration, is wrong. The answer is that to a wrong code, and the same records are
//! written as for a right one.

use subtle::{Choice, ConstantTimeEq};

use super::records::{Epoch, UserRecord};
use crate::binding::Binding;
use crate::consent::{Means, Pending, Standing};
use crate::factor::{Shown, TicketId};
use crate::name::UserId;
use crate::record::Versioned;
use crate::seal::{Kind, RecordKey};

/// A pending record, with the users who may sign with its wallet now.
pub struct Ticket {
    pub(super) pending: Versioned<Pending>,
    signers: Vec<Versioned<UserRecord>>,
}

/// Whether a ticket is right. Nothing outside of the kernel sees it before the outcome is durable.
pub(super) struct Redeemed {
    /// It is right and not spent.
    pub(super) is_new: Choice,
    /// It is right, and was spent on what is approved now.
    pub(super) repeats: Choice,
}

impl Ticket {
    /// The record at the place of a ticket. `signers` are the present users of the wallet. An approval of anybody else, or of an
    /// earlier enrolment, does not count.
    pub fn new(pending: Versioned<Pending>, signers: Vec<Versioned<UserRecord>>) -> Ticket {
        assert!(
            signers.iter().all(|user| user.authority == pending.authority),
            "approvals are of users of the store that has the ticket"
        );
        Ticket { pending, signers }
    }

    /// The place of its record.
    pub fn place(&self) -> RecordKey {
        self.pending.place
    }

    /// The users whose approvals count: they approved, and may sign now.
    pub(super) fn approvers(&self) -> impl Iterator<Item = &Versioned<UserRecord>> {
        self.signers
            .iter()
            .enumerate()
            .filter(|(at, user)| {
                let UserRecord { name, factor, confirmed, .. } = &user.value;
                let id = UserId { name: name.clone(), key: factor.key_id() };
                let is_first = self.signers[..*at].iter().all(|earlier| earlier.place != user.place);
                is_first && *confirmed && self.pending.value.is_approved_by(&id)
            })
            .map(|(_, user)| user)
    }

    /// By what means each of them approved, of those that a policy can ask for.
    pub(super) fn means(&self) -> Vec<Option<Shown>> {
        let shown = |user: &Versioned<UserRecord>| {
            let id = UserId { name: user.value.name.clone(), key: user.value.factor.key_id() };
            self.pending.value.means_of(&id).and_then(Means::shown)
        };
        self.approvers().map(shown).collect()
    }

    /// Whether it is for just this, and still gathers approvals.
    pub(super) fn waits_for(&self, wallet: &RecordKey, binding: &Binding, epoch: Epoch, now: u64) -> bool {
        let is_open = matches!(self.pending.value.standing(now), Standing::Open { .. });
        is_open && self.is_about(Some((wallet, binding)), epoch)
    }

    /// Whether the ticket `id` is this one and signs `asked`: the place of a wallet's state, and a binding.
    pub(super) fn redeem(
        &self,
        id: &TicketId,
        asked: Option<(&RecordKey, &Binding)>,
        released_at: Option<u64>,
        epoch: Epoch,
        now: u64,
    ) -> Redeemed {
        let pending = &self.pending.value;
        let fits = u8::from(self.is_about(asked, epoch) && self.pending.place == RecordKey::pending(id));
        let fits = Choice::from(fits) & pending.ticket().ct_eq(id);
        let counts = self.approvers().next().is_some();
        let is_approved = u8::from(counts && pending.standing(now) == Standing::Approved);
        let repeated = asked.and_then(|(_, binding)| pending.repeated(binding, released_at, now));
        Redeemed {
            is_new: fits & Choice::from(is_approved),
            repeats: fits & Choice::from(u8::from(repeated.is_some())),
        }
    }

    fn is_about(&self, asked: Option<(&RecordKey, &Binding)>, epoch: Epoch) -> bool {
        asked.is_some_and(|(wallet, binding)| {
            wallet.kind == Kind::WalletState && self.pending.value.is_about(&wallet.id, binding, epoch.name())
        })
    }
}
