//! What the ledger is kept in: sealed rows and links, of which the store understands none.

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

/// What one commit writes.
#[derive(Default)]
pub struct Pages {
    /// The newest link that must be there now; `None` where there is none yet.
    pub after: Option<u64>,
    /// The new rows by their places; `None` removes one.
    pub rows: BTreeMap<RecordKey, Option<Row>>,
    /// The new links: sequence and sealed bytes.
    pub links: Vec<(u64, Vec<u8>)>,
}

/// What the store says of itself: in the clear, bound by the data key's wrapping.
#[derive(Clone)]
pub struct Header {
    /// Names the store.
    pub store: StoreId,
    /// The data key, wrapped by the backing token.
    pub wrapped_key: Vec<u8>,
}

/// Takes one row after the other. What it fails with ends the reading.
pub type VisitRow<'a> = dyn FnMut(RecordKey, Row) -> Result<(), LedgerError> + 'a;
/// Takes one link after the other: sequence and sealed bytes.
pub type VisitLink<'a> = dyn FnMut(u64, Vec<u8>) -> Result<(), LedgerError> + 'a;

/// Shows what is in a store. What is damaged is a state that cannot be trusted ([`LedgerError::State`]); what cannot be read
/// just now is not.
pub trait View: Send {
    /// What the store says of itself.
    fn header(&self) -> Result<Header, LedgerError>;

    /// One row.
    fn row(&self, place: &RecordKey) -> Result<Option<Row>, LedgerError>;

    /// How many rows there are.
    fn count(&self) -> Result<usize, LedgerError>;

    /// Every row, in no order.
    fn rows(&self, visit: &mut VisitRow<'_>) -> Result<(), LedgerError>;

    /// The links from `since` on, in order.
    fn follow(&self, since: u64, visit: &mut VisitLink<'_>) -> Result<(), LedgerError>;

    /// From here on all reading shows one state of the store, whatever is written meanwhile, until the view is dropped.
    fn hold_still(&self) -> Result<(), LedgerError>;
}

/// A store that this engine alone writes. Dropped after its views, it lets the next engine in.
pub trait Store: Send {
    /// Names it in errors.
    fn name(&self) -> String;

    /// A view that has nothing in memory yet: it shows what everybody would find.
    fn view(&self) -> Result<Box<dyn View>, LedgerError>;

    /// Writes all or nothing, durably, if the newest link is the expected one ([`LedgerError::Moved`] where it is not).
    fn commit(&mut self, pages: &Pages) -> Result<(), LedgerError>;

    /// Makes durable whatever is there to be read.
    fn sync(&mut self) -> Result<(), LedgerError>;

    /// Opens anew what failed, with nothing of it left in memory. Every view was dropped before. Fails with
    /// [`LedgerError::Displaced`] where another store is at its place; after any failure it may be tried again.
    fn reopen(&mut self) -> Result<(), LedgerError>;

    /// Looks whether what is open is what everybody finds ([`LedgerError::Displaced`] where it is not).
    fn look(&mut self) -> Result<Sight, LedgerError>;

    /// All that [`Sight::Smaller`] had in doubt was found there.
    fn found_whole(&mut self);
}

/// What a look at the place of a store shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It is as it was.
    Same,
    /// It became smaller, by somebody else: what is in it has to be read.
    Smaller,
}

/// Where a store is, or is to be made.
pub trait Site: Send + Sync {
    /// Names the store in errors.
    fn name(&self) -> String;

    /// Opens the store and keeps every other engine out. `None` where there is none.
    fn open(&self) -> Result<Option<Box<dyn Store>>, LedgerError>;

    /// Keeps every other engine out of a site without a store. [`LedgerError::Exists`] where there is one.
    fn claim(&self) -> Result<Box<dyn Claim + '_>, LedgerError>;
}

/// A site where a store is to be made, by this engine alone.
pub trait Claim {
    /// Makes the store with its first commit. Nobody finds it before `anchor` has come off.
    fn make(
        &mut self,
        header: &Header,
        first: &Pages,
        anchor: &mut dyn FnMut() -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError>;

    /// Leaves nothing of a store that was not made. Gives `false` where it is there after all.
    fn take_back(&mut self) -> bool;

    /// Opens the store that was made.
    fn open(self: Box<Self>) -> Result<Box<dyn Store>, LedgerError>;
}
