//! Work on a store from outside the engine: reading the audit chain, finding what keeps the store closed, and accepting a store that
//! does not fit its anchor.
//!
//! Reading the chain needs no lock and works while an engine writes. Finding what keeps a store closed needs the lock, as opening does.
//! Accepting a store also needs the security officer's PIN.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;

use super::backing::Backing;
use super::ledger::opening::{Opened, chain, index};
use super::ledger::{self, newest_anchored};
use super::lock::StoreLock;
use super::random::SystemRandom;
use super::sqlite::Sqlite;
use super::vault::check_unanchored;
use crate::kernel::administration::{self, Administrator, Agreed, Deciders, DisagreedError, Unfit};
use crate::kernel::anchor::{self, Anchored, Opening, StateError};
use crate::kernel::audit::Link;
use crate::kernel::clock::{self, Believed, SaidError};
use crate::kernel::officer::{Council, Officers};
use crate::kernel::receipt::{Committed, Receipt};
use crate::kernel::record::{Stored, Versioned};
use crate::kernel::seal::{DataKey, Kind, RecordKey};
use crate::kernel::state::{ClockRecord, Epoch, TokenRecord};
use crate::ports::{Anchor, Clock, LedgerError, Sealer, View};

/// How often to look for the anchor of a store in use, because a listed one may be replaced before it is
/// read.
const LOOKS: usize = 20;
/// The most damaged records that are named.
const NAMED: usize = 5;

/// The result of reading the whole chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Links, from the first to the newest.
    pub links: u64,
    /// Sequence of the newest link.
    pub newest: u64,
    /// Unix time of the newest link.
    pub time: u64,
    /// The head of the chain.
    pub head: [u8; 32],
    /// The link in the backing token's anchor.
    pub anchored: u64,
}

/// Follows the audit chain of the store at `path`, shows each link, and compares the chain with its anchor
/// and the records with the chain.
///
/// The store may be in use: this reads its state at one moment, in which its anchor must be one of the links.
pub fn audit(
    path: &Path,
    backing: &Backing,
    mut show: impl FnMut(&Link) -> Result<(), LedgerError>,
) -> Result<Verified, LedgerError> {
    let sqlite = existing(path).and_then(Sqlite::read_only)?;
    let key = unwrap_key(&sqlite, backing)?;
    // The anchor first, because the store is never behind it.
    let anchor = anchor_in_use(backing, &key)?.ok_or(StateError::AnchorMissing)?;
    sqlite.hold_still()?;
    let (mut links, mut seen) = (0, None);
    let end = chain(&sqlite, &key, |link| {
        links += 1;
        if link.sequence == anchor.sequence {
            seen = Some(anchor.is_of(link));
        }
        // A link that is not anchored may say something about a code that nobody may know yet.
        if link.sequence <= anchor.sequence { show(link) } else { Ok(()) }
    })?
    .end;
    if index(&sqlite, &key)?.1 != end.newest.set {
        return Err(StateError::Records.into());
    }
    let newest = end.newest.sequence;
    match seen {
        Some(true) => {
            Ok(Verified { links, newest, time: end.newest.time, head: end.head.0, anchored: anchor.sequence })
        }
        Some(false) => Err(StateError::Forked(anchor.sequence).into()),
        None if newest < anchor.sequence => {
            Err(StateError::Older { store: newest, anchor: anchor.sequence }.into())
        }
        None => Err(StateError::Ahead { store: newest, anchor: anchor.sequence }.into()),
    }
}

/// Finds what opening the store at `path` would find, and changes nothing: no record, no link, no anchor.
pub fn check(path: &Path, _lock: &StoreLock, backing: &Backing) -> Result<(), LedgerError> {
    if !path.is_file() {
        return check_unanchored(backing);
    }
    let seen = Seen::of(path, backing)?;
    match seen.fits {
        Err(StateError::Records) => Err(name_damaged(&seen.sqlite, &seen.key)?.into()),
        fits => Ok(fits.map(drop)?),
    }
}

/// The set hash shows that the records are not as they were, and not which. Names those that do not open. If all open, one was removed,
/// moved or put back, and nobody can tell which.
fn name_damaged(sqlite: &Sqlite, key: &DataKey) -> Result<StateError, LedgerError> {
    let (mut named, mut more) = (Vec::new(), 0);
    sqlite.rows(&mut |place, row| {
        if key.unseal(&place, row.version, &row.sealed).is_ok() {
            return Ok(());
        }
        if named.len() < NAMED {
            named.push(format!("{:?} {}", place.kind, HEXLOWER.encode(&place.id)));
        } else {
            more += 1;
        }
        Ok(())
    })?;
    let named = named.join(", ");
    Ok(match (named.is_empty(), more) {
        (true, _) => StateError::Records,
        (false, 0) => StateError::Sealed(format!("damaged: {named}")),
        (false, more) => StateError::Sealed(format!("damaged: {named}, and {more} more")),
    })
}

/// A completely read store, and whether it fits its anchor.
struct Seen {
    sqlite: Sqlite,
    key: DataKey,
    opened: Opened,
    anchor: Option<Anchored>,
    fits: Result<Opening, StateError>,
}

impl Seen {
    fn of(path: &Path, backing: &Backing) -> Result<Seen, LedgerError> {
        let sqlite = Sqlite::read_only(path)?;
        let key = unwrap_key(&sqlite, backing)?;
        let view = || Ok::<Box<dyn View>, LedgerError>(Box::new(Sqlite::read_only(path)?));
        let opened = Opened::scan([view()?, view()?], &key)?;
        let anchor = newest_anchored(backing, &key)?;
        let fits = match &anchor {
            Some(anchor) => anchor::judge(&opened.end, opened.records, anchor),
            None => Err(StateError::AnchorMissing),
        };
        Ok(Seen { sqlite, key, opened, anchor, fits })
    }
}

/// The effect of a restoration, shown before it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restoration {
    /// The newest link of the store.
    pub store: u64,
    /// Unix time of that link.
    pub time: u64,
    /// The link in the backing token's anchor, if the anchor is this store's.
    pub anchor: Option<u64>,
    /// Restorations so far.
    pub epoch: u32,
}

/// A store that does not fit its anchor, but is consistent in itself.
pub struct Unanchored<'a> {
    path: PathBuf,
    key: DataKey,
    opened: Opened,
    anchor: Option<Anchored>,
    found: StateError,
    token: TokenRecord,
    epoch: Option<Versioned<Epoch>>,
    council: Option<Versioned<Council>>,
    believed: Option<Believed>,
    backing: &'a Backing,
    _lock: StoreLock,
}

/// Reads the store at `path`, which nobody uses. Every link and every record must belong to its newest link.
///
/// `None`: it fits its anchor, and there is nothing to restore.
pub fn unanchored<'a>(
    path: &Path,
    lock: StoreLock,
    backing: &'a Backing,
) -> Result<Option<Unanchored<'a>>, LedgerError> {
    let path = existing(path)?;
    let Seen { sqlite, key, opened, anchor, fits } = Seen::of(path, backing)?;
    if opened.records != opened.end.newest.set {
        // Nobody can approve a mixture of two stores.
        return Err(StateError::Records.into());
    }
    let Err(found) = fits else { return Ok(None) };
    let token = record(&sqlite, &key, RecordKey::single(Kind::Token))?
        .ok_or_else(|| StateError::Sealed("the Token record is missing".into()))?;
    let epoch = record(&sqlite, &key, RecordKey::single(Kind::Epoch))?;
    let council = record(&sqlite, &key, RecordKey::single(Kind::Council))?;
    let clock: Option<Versioned<ClockRecord>> = record(&sqlite, &key, RecordKey::single(Kind::Clock))?;
    Ok(Some(Unanchored {
        path: path.into(),
        believed: clock.map(|clock| clock.value().believed),
        key,
        opened,
        anchor,
        found,
        token: token.into_value(),
        epoch,
        council,
        backing,
        _lock: lock,
    }))
}

impl Unanchored<'_> {
    /// The reason why it does not fit.
    pub fn found(&self) -> &StateError {
        &self.found
    }

    /// The effect of a restoration.
    pub fn restoration(&self) -> Restoration {
        Restoration {
            store: self.opened.end.newest.sequence,
            time: self.opened.time,
            anchor: self.anchor.map(|anchor| anchor.sequence),
            epoch: self.epoch.as_ref().map_or(0, |epoch| epoch.value().number),
        }
    }

    /// Those who decide whether it is taken. `given` is a council that somebody claims to be the anchor's, `pinned` the officers of
    /// the plugin.
    pub fn deciders(
        &self,
        given: Option<&Council>,
        pinned: Option<&Officers>,
    ) -> Result<Deciders, DisagreedError> {
        let found = Unfit {
            store: *self.key.store(),
            epoch: self.epoch.as_ref().map_or(0, |epoch| epoch.value().name()),
            end: &self.opened.end,
            council: self.council.as_ref().map(|council| council.value()),
            anchor: self.anchor.as_ref(),
        };
        Deciders::find(&found, given, pinned)
    }

    /// Whether this is the security officer's PIN at the time when the store was copied, or the secret that may set it if it was lost then.
    pub fn is_officer(&self, pin: &[u8]) -> bool {
        Administrator::by_pin(&self.token, pin).is_some()
    }

    /// Accepts the store and begins a new epoch. Every limit counts as spent, and every code that may have
    /// been used as used. `said` is the time according to the officer.
    pub fn take(
        self,
        officer_pin: &[u8],
        agreed: Agreed,
        said: Option<u64>,
        clock: &dyn Clock,
    ) -> Result<Restoration, RestoreError> {
        let administrator = Administrator::by_pin(&self.token, officer_pin).ok_or(RestoreError::Pin)?;
        let before = self.restoration();
        // As in the engine: within one run of the machine, a time that was believed once stays the basis.
        let reading = clock.read();
        let believed = self.believed.filter(|believed| believed.holds_in(clock.boot_id()));
        let now = clock::judge_said(reading, believed, before.time, said).map_err(RestoreError::Clock)?;
        let (epoch, council) = (self.epoch.as_ref(), self.council.as_ref());
        let decision = administration::restore(administrator.approve(agreed), epoch, council, now)
            .map_err(RestoreError::Disagreed)?;
        let lost = before.anchor.unwrap_or(0);
        let old = self.anchor.map(|anchor| anchor.encode(&self.key));
        let restored = Receipt::issue(decision, |batch| {
            // Nothing was written before this point.
            let sqlite = Sqlite::open(&self.path)?;
            let (pages, anchored) = ledger::restore(&self.key, &SystemRandom, &self.opened, lost, batch)?;
            sqlite.commit(&pages)?;
            self.backing.step(old.as_deref(), &anchored)?;
            Ok::<_, LedgerError>(Committed::by(&self.key, batch))
        });
        match restored {
            Ok(_) => Ok(before),
            Err((error, _)) => Err(error.into()),
        }
    }
}

/// The reason why a store is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Not the security officer.
    #[error(
        "this is not the SO PIN from when this store was copied, nor the secret that sets it if it was declared lost before"
    )]
    Pin,
    /// The clock is behind the store, far ahead of it, or differs from the officer's time.
    #[error(transparent)]
    Clock(SaidError),
    /// What officers agreed to holds no more.
    #[error(transparent)]
    Disagreed(DisagreedError),
    /// The store or the backing token failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

fn existing(path: &Path) -> Result<&Path, LedgerError> {
    if path.is_file() {
        return Ok(path);
    }
    Err(LedgerError::Io { store: path.display().to_string(), problem: "it is not there".into() })
}

/// The newest anchor, even while an engine replaces it.
fn anchor_in_use(backing: &Backing, key: &DataKey) -> Result<Option<Anchored>, LedgerError> {
    for _ in 1..LOOKS {
        if let Some(anchor) = newest_anchored(backing, key)? {
            return Ok(Some(anchor));
        }
    }
    newest_anchored(backing, key)
}

fn unwrap_key(sqlite: &Sqlite, backing: &Backing) -> Result<DataKey, LedgerError> {
    let header = sqlite.header()?;
    let context = DataKey::wrapping_context(&header.store);
    let key = backing.unwrap(&header.store, &context, &header.wrapped_key)?.ok_or(StateError::DataKey)?;
    Ok(DataKey::new(header.store, key))
}

fn record<T: Stored>(
    sqlite: &Sqlite,
    key: &DataKey,
    place: RecordKey,
) -> Result<Option<Versioned<T>>, LedgerError> {
    let Some(row) = sqlite.row(&place)? else { return Ok(None) };
    let damaged = |what: String| StateError::Sealed(format!("the {:?} record is {what}", place.kind));
    let record = key.unseal(&place, row.version, &row.sealed).map_err(|error| damaged(error.to_string()))?;
    Versioned::read(&record).ok_or_else(|| damaged("of a format that is not known".into()).into()).map(Some)
}
