//! The state of the model: memory, store, token, callers, the attacker, and what an observer counts.

use super::protocol::{CALLERS, DIGESTS, Protocol, STEPS};

/// A transaction to sign: one of [`DIGESTS`].
pub(crate) type Digest = u8;
/// A time step, or a time in steps.
pub(crate) type Step = u8;

/// A code as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Code {
    /// Right at no time.
    Wrong,
    /// Right in this step.
    Of(Step),
}

/// A call of `C_Sign`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Request {
    pub(crate) code: Code,
    pub(crate) digest: Digest,
}

/// A set of (step, digest), one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Pairs(u8);

impl Pairs {
    pub(crate) fn add(&mut self, step: Step, digest: Digest) {
        self.0 |= 1 << ((step - 1) * DIGESTS + digest);
    }

    pub(crate) fn count(self) -> u8 {
        self.0.count_ones() as u8
    }

    pub(crate) fn within(self, other: Pairs) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether one step has two digests.
    pub(crate) fn is_doubled(self) -> bool {
        let of_step = (1 << DIGESTS) - 1;
        (0..STEPS).any(|step| (self.0 >> (step * DIGESTS) & of_step).count_ones() > 1)
    }
}

/// The records of one user and one wallet in one. Every entry writes it, except that of a freeze, which has its own record. The flag of
/// that record is here, too, for the observer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Records {
    /// The step spent last; 0 for none.
    pub(crate) last_step: Step,
    /// The digest that it was spent on, if it signed.
    pub(crate) digest: Option<Digest>,
    /// The time at which it was spent.
    pub(crate) spent_at: Step,
    /// Wrong tries.
    pub(crate) tries: u8,
    /// Amount spent; each transaction is 1.
    pub(crate) spent: u8,
    /// Whether there is a record of a freeze.
    pub(crate) frozen: bool,
}

/// The effect of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Charges a wrong try.
    Wrong,
    /// Spends the step and the amount.
    Consume,
    /// Spends the step on a transaction over the limit.
    Refuse,
    /// Writes the records as they were, for a repeated request.
    Retry,
    /// Freezes.
    Freeze,
}

/// The length of the records, in charges: the least and the most that it may be for all that an observer knows, who knows the
/// outcomes of anchored entries, and no others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Length {
    pub(crate) least: u8,
    pub(crate) most: u8,
}

impl Length {
    /// A length that an observer knows.
    pub(crate) fn known(charges: u8) -> Length {
        Length { least: charges, most: charges }
    }

    /// With room for one charge more.
    pub(crate) fn with_charge(self) -> Length {
        Length { least: self.least + 1, most: self.most + 1 }
    }

    /// Whether it depends on outcomes that an observer does not know, and so tells them.
    pub(crate) fn tells(self) -> bool {
        self.least < self.most
    }
}

/// One link of the chain, with the records after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Entry {
    pub(crate) sequence: u8,
    pub(crate) kind: Kind,
    pub(crate) after: Records,
    /// To which its records are padded.
    pub(crate) padded: Length,
}

/// A caller's thread during one signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Caller {
    /// Between two calls.
    Idle,
    /// It has decided what to write, from the records of this version. `known`: an observer knows the
    /// outcome.
    Decided { request: Request, kind: Kind, after: Records, version: u8, known: bool },
    /// Its entry is in the queue, or in the batch that is being committed.
    Waiting { request: Request, entry: Entry, in_batch: bool, known: bool },
    /// Its entry is committed: it opens the receipt.
    Woken { request: Request, kind: Kind, known: bool },
    /// The user is locked or frozen by an entry that may still be pending. The caller waits until this sequence
    /// is anchored.
    Settling { sequence: u8 },
}

/// The newest link of a chain. Within one opening no sequence is used twice, so this can stand for its hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Head {
    pub(crate) sequence: u8,
    /// The opening of the module that made it.
    pub(crate) opening: u8,
}

/// The store, as one transaction leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    pub(crate) head: Head,
    /// The head before the newest batch.
    pub(crate) previous: Option<Head>,
    /// Whether every batch follows the one before it.
    pub(crate) whole: bool,
    pub(crate) records: Records,
    /// The transactions that were countersigned according to the chain, and their steps.
    pub(crate) audit: Pairs,
}

impl Store {
    /// The store of a first run.
    pub(crate) fn new(opening: u8) -> Store {
        Store {
            head: Head { sequence: 0, opening },
            previous: None,
            whole: true,
            records: Records::default(),
            audit: Pairs::default(),
        }
    }
}

/// The disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Disk {
    /// The store that a crash certainly leaves. `None`: the file was removed.
    pub(crate) store: Option<Store>,
    /// The store that a crash may leave instead: written, not synced.
    pub(crate) unsynced: Option<Store>,
}

/// The content of a slot of the token: the head, and for the observer the audit up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Anchor {
    pub(crate) head: Head,
    pub(crate) audit: Pairs,
}

impl Anchor {
    pub(crate) fn of(store: &Store) -> Anchor {
        Anchor { head: store.head, audit: store.audit }
    }
}

/// The anchor objects in the backing token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slots {
    /// The readable ones, in order, without duplicates.
    pub(crate) anchors: Vec<Anchor>,
    /// Whether a crash left an unreadable one.
    pub(crate) torn: bool,
}

impl Slots {
    pub(crate) fn newest(&self) -> Option<Anchor> {
        self.anchors.last().copied()
    }

    pub(crate) fn create(&mut self, anchor: Anchor) {
        if let Err(at) = self.anchors.binary_search(&anchor) {
            self.anchors.insert(at, anchor);
        }
    }

    pub(crate) fn destroy_all_but(&mut self, anchor: Anchor) {
        self.anchors.retain(|other| *other == anchor);
        self.torn = false;
    }
}

/// The engine's phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// The store was accepted; its anchor is being renewed.
    Opening { rolled_forward: bool },
    /// Requests are served.
    Serving,
    /// A commit failed half-way. Nothing is answered until the module is opened again.
    Closed,
}

/// The volatile memory of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Engine {
    pub(crate) phase: Phase,
    /// How many steps of [`Protocol::plan`] the leader has done, if there is a leader.
    pub(crate) leading: Option<u8>,
    /// The durable records with all pending entries.
    pub(crate) newest: Records,
    /// The sequence of the newest entry that wrote the records of user and wallet: their version.
    pub(crate) version: u8,
    /// The length of that version: to which it was padded or, once it is anchored, of what is in it.
    pub(crate) shown: Length,
    /// The sequence of the newest entry, pending or durable.
    pub(crate) sequence: u8,
    /// The head to anchor: the last batch that this engine wrote, or the one at which it opened.
    pub(crate) written: Anchor,
}

/// The whole state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) now: Step,
    /// `None`: killed, or not opened.
    pub(crate) engine: Option<Engine>,
    pub(crate) callers: [Caller; CALLERS],
    pub(crate) disk: Disk,
    pub(crate) slots: Slots,
    pub(crate) crashes: u8,
    pub(crate) openings: u8,
    /// The attacker's copy of the store.
    pub(crate) copy: Option<Store>,
    /// Whether the store was put back or removed.
    pub(crate) tampered: bool,
    /// Observer: the signatures that left.
    pub(crate) signed: Pairs,
    /// Observer: the number of codes that it knows to be wrong.
    pub(crate) wrong: u8,
    /// Observer: whether the administrator was told that it is frozen.
    pub(crate) frozen: bool,
    /// Observer: the newest head that was ever anchored.
    pub(crate) anchored: Head,
}

impl State {
    /// A new token, open.
    pub(crate) fn new(protocol: &Protocol) -> State {
        let store = Store::new(0);
        let mut state = State {
            now: 1,
            engine: None,
            callers: [Caller::Idle; CALLERS],
            disk: Disk { store: Some(store), unsynced: None },
            slots: Slots { anchors: vec![Anchor::of(&store)], torn: false },
            crashes: 0,
            openings: 0,
            copy: None,
            tampered: false,
            signed: Pairs::default(),
            wrong: 0,
            frozen: false,
            anchored: store.head,
        };
        protocol.open(&mut state, false);
        if let Some(engine) = &mut state.engine {
            (engine.phase, engine.leading) = (Phase::Serving, None);
        }
        state
    }

    /// The sequences of the entries in the queue that no leader has taken.
    pub(crate) fn queued(&self) -> impl Iterator<Item = u8> + '_ {
        self.callers.iter().filter_map(|caller| match caller {
            Caller::Waiting { entry, in_batch: false, .. } => Some(entry.sequence),
            _ => None,
        })
    }

    /// The length of the newest records without padding.
    pub(crate) fn content(&self) -> Length {
        let least = self.slots.newest().map_or(0, |anchor| anchor.audit.count());
        let may_be_charged = |caller: &&Caller| match caller {
            Caller::Waiting { entry, .. } => {
                entry.kind != Kind::Freeze && entry.sequence > self.anchored.sequence
            }
            _ => false,
        };
        Length { least, most: least + self.callers.iter().filter(may_be_charged).count() as u8 }
    }

    /// The entries of the batch that is being committed.
    pub(crate) fn batch(&self) -> impl Iterator<Item = (Request, Entry)> + '_ {
        self.callers.iter().filter_map(|caller| match *caller {
            Caller::Waiting { request, entry, in_batch: true, .. } => Some((request, entry)),
            _ => None,
        })
    }
}
