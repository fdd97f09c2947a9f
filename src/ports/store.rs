//! The store of the ledger: sealed rows and links, whose content the store does not know.

use std::collections::BTreeMap;

use super::LedgerError;
use crate::kernel::seal::{RecordKey, StoreId};

/// A sealed row.
#[derive(Clone)]
pub struct Row {
    /// Its version.
    pub version: u64,
    /// Its bytes.
    pub sealed: Vec<u8>,
}

/// The writes of one commit.
#[derive(Default)]
pub struct Pages {
    /// The newest link that must be there now, or `None` if there must be none.
    pub after: Option<u64>,
    /// The new rows by their places; `None` removes one.
    pub rows: BTreeMap<RecordKey, Option<Row>>,
    /// The new links: sequence and sealed bytes.
    pub links: Vec<(u64, Vec<u8>)>,
}

/// What the store says about itself. It is not encrypted, but bound by the wrapping of the data key.
#[derive(Clone)]
pub struct Header {
    /// The id of the store.
    pub store: StoreId,
    /// The data key, wrapped by the backing token.
    pub wrapped_key: Vec<u8>,
}

/// Takes one row after the other. An error ends the reading.
pub type VisitRow<'a> = dyn FnMut(RecordKey, Row) -> Result<(), LedgerError> + 'a;
/// Takes one link after the other: sequence and sealed bytes.
pub type VisitLink<'a> = dyn FnMut(u64, Vec<u8>) -> Result<(), LedgerError> + 'a;

/// Reads a store. Damage is a state that cannot be trusted ([`LedgerError::State`]); a read that fails at the
/// moment is not.
pub trait View: Send {
    /// What the store says about itself.
    fn header(&self) -> Result<Header, LedgerError>;

    /// One row.
    fn row(&self, place: &RecordKey) -> Result<Option<Row>, LedgerError>;

    /// The number of rows.
    fn count(&self) -> Result<usize, LedgerError>;

    /// Every row, in any order.
    fn rows(&self, visit: &mut VisitRow<'_>) -> Result<(), LedgerError>;

    /// The links from `since` on, in order.
    fn follow(&self, since: u64, visit: &mut VisitLink<'_>) -> Result<(), LedgerError>;

    /// From here on all reading shows one state of the store, whatever is written meanwhile, until the view
    /// is dropped.
    fn hold_still(&self) -> Result<(), LedgerError>;
}

/// A store that only this engine writes. When it is dropped, after its views, the next engine can open it.
pub trait Store: Send {
    /// The store's name for errors.
    fn name(&self) -> String;

    /// A view with nothing cached: it shows what any process would find.
    fn view(&self) -> Result<Box<dyn View>, LedgerError>;

    /// Writes all or nothing, durably, if the newest link is the expected one. Otherwise fails with
    /// [`LedgerError::Moved`].
    fn commit(&mut self, pages: &Pages) -> Result<(), LedgerError>;

    /// Makes everything durable that can be read now.
    fn sync(&mut self) -> Result<(), LedgerError>;

    /// Opens the store again after a failure, with nothing of it left in memory. The caller has dropped every
    /// view. Fails with [`LedgerError::Displaced`] if another store is at its place. After any failure it may
    /// be tried again.
    fn reopen(&mut self) -> Result<(), LedgerError>;

    /// Checks that the open store is the one that any process would find. Otherwise fails with
    /// [`LedgerError::Displaced`].
    fn look(&mut self) -> Result<Sight, LedgerError>;

    /// The caller has read everything that [`Sight::Smaller`] put in doubt, and found it whole.
    fn found_whole(&mut self);
}

/// The result of a look at the place of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Nothing has changed.
    Same,
    /// Somebody else made it smaller, so its content must be read.
    Smaller,
}

/// The place of a store that exists or is to be made.
pub trait Site: Send + Sync {
    /// The store's name for errors.
    fn name(&self) -> String;

    /// Opens the store and keeps every other engine out, or returns `None` if there is no store.
    fn open(&self) -> Result<Option<Box<dyn Store>>, LedgerError>;

    /// Keeps every other engine out of a site without a store. Fails with [`LedgerError::Exists`] if there is
    /// a store.
    fn claim(&self) -> Result<Box<dyn Claim + '_>, LedgerError>;
}

/// A site where only this engine can make a store.
pub trait Claim {
    /// Makes the store with its first commit. Nobody can find the store before `anchor` has succeeded.
    fn make(
        &mut self,
        header: &Header,
        first: &Pages,
        anchor: &mut dyn FnMut() -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError>;

    /// Removes everything of a store that could not be made. Returns `false` if the store exists after all.
    fn take_back(&mut self) -> bool;

    /// Opens the store that was made.
    fn open(self: Box<Self>) -> Result<Box<dyn Store>, LedgerError>;
}
