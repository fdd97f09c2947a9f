//! The place of the ledger: a store, the sealer of its key, and its anchor, which must fit each other.
//!
//! A store without its anchor, or an anchor without its store, is refused and never initialised again: an emptied folder must not look
//! like a first run. The one exception is an anchor of link 0, left by an initialisation that was interrupted before anything used it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::backing::Backing;
use super::ledger::{self, SealedLedger, Upkeep};
use super::random::{MixedRandom, SystemRandom};
use super::sqlite::SqliteSite;
use crate::kernel::anchor::{Anchored, StateError};
use crate::kernel::receipt::{Batch, Committed};
use crate::kernel::seal::{DataKey, StoreId};
use crate::ports::{Anchor, Header, Ledger, LedgerError, Random, Sealer, Site, Store, Vault};

/// A store, the sealer of its data key, and its anchor.
pub struct SealedVault {
    site: Box<dyn Site>,
    sealer: Arc<dyn Sealer>,
    anchor: Arc<dyn Anchor>,
    /// Makes the data key.
    random: Arc<dyn Random>,
    /// Makes the nonces of sealed records, which need not be secret.
    nonces: Arc<dyn Random>,
    upkeep: Upkeep,
}

impl SealedVault {
    /// The vault of the store at `site`.
    pub fn new(
        site: Box<dyn Site>,
        sealer: Arc<dyn Sealer>,
        anchor: Arc<dyn Anchor>,
        random: Arc<dyn Random>,
    ) -> SealedVault {
        SealedVault {
            site,
            sealer,
            anchor,
            random,
            nonces: Arc::new(SystemRandom),
            upkeep: Upkeep::default(),
        }
    }

    /// The vault of a SQLite file, with sealing key and anchor in one backing token.
    pub fn over(site: SqliteSite, backing: &Arc<Backing>) -> SealedVault {
        let random = Arc::new(MixedRandom::new(Arc::clone(backing)));
        let (sealer, anchor) = (Arc::clone(backing), Arc::clone(backing));
        SealedVault::new(Box::new(site), sealer, anchor, random)
    }

    /// The same for the store at `path`, whose folder must exist.
    pub fn at(path: PathBuf, backing: &Arc<Backing>) -> Result<SealedVault, LedgerError> {
        Ok(SealedVault::over(SqliteSite::new(path)?, backing))
    }

    /// The same vault, whose ledgers try to recover from a failed write for so long.
    #[must_use]
    pub fn reopening_for(self, reopening: Duration) -> SealedVault {
        SealedVault { upkeep: Upkeep { reopening, ..self.upkeep }, ..self }
    }

    /// The same vault, whose ledgers read everything in a thread whenever the last such look is so old.
    #[must_use]
    pub fn read_whole_every(self, whole: Duration) -> SealedVault {
        SealedVault { upkeep: Upkeep { whole: Some(whole), ..self.upkeep }, ..self }
    }

    /// Removes everything from the token that belongs to a store that could not be made. If that fails, too,
    /// it is only logged, because the first failure is the important one.
    fn withdraw(&self, store: &StoreId, first: &[u8]) {
        for (what, withdrawn) in
            [("anchor", self.anchor.withdraw(first)), ("sealing key", self.sealer.withdraw(store))]
        {
            if let Err(error) = withdrawn {
                tracing::error!(
                    "{error}; the backing token still holds the {what} of a store that does not exist"
                );
            }
        }
    }

    fn ledger(&self, store: Box<dyn Store>, key: DataKey) -> Result<Box<dyn Ledger>, LedgerError> {
        let (anchor, nonces) = (Arc::clone(&self.anchor), Arc::clone(&self.nonces));
        Ok(Box::new(SealedLedger::open(store, key, anchor, nonces)?.kept_by(self.upkeep)))
    }
}

/// Checks that the anchor allows a site without a store: only an interrupted initialisation may be begun
/// again.
pub(super) fn check_unanchored(anchor: &dyn Anchor) -> Result<(), LedgerError> {
    let claims = anchor.current()?.iter().filter_map(|value| Anchored::claimed_sequence(value)).max();
    match claims {
        Some(sequence) if sequence > 0 => Err(StateError::StoreMissing(sequence).into()),
        _ => Ok(()),
    }
}

impl Vault for SealedVault {
    fn open(&self) -> Result<Option<Box<dyn Ledger>>, LedgerError> {
        let Some(store) = self.site.open()? else {
            check_unanchored(&*self.anchor)?;
            return Ok(None);
        };
        let Header { store: id, wrapped_key } = store.view()?.header()?;
        let context = DataKey::wrapping_context(&id);
        let key = self.sealer.unwrap(&id, &context, &wrapped_key)?.ok_or(StateError::DataKey)?;
        self.ledger(store, DataKey::new(id, key)).map(Some)
    }

    fn create<'b>(&self, first: &'b Batch) -> Result<(Box<dyn Ledger>, Committed<'b>), LedgerError> {
        let mut claim = self.site.claim()?;
        check_unanchored(&*self.anchor)?;
        let mut store = [0; 16];
        let mut secret = Zeroizing::new([0; 32]);
        self.random.fill(&mut store)?;
        self.random.fill(&mut secret[..])?;
        let key = DataKey::new(store, secret.clone());
        let (pages, anchored) = ledger::begin(&key, &*self.nonces, first)?;
        let wrapped_key = self.sealer.wrap(&store, &DataKey::wrapping_context(&store), &secret)?;
        let mut anchor = || Ok(self.anchor.step(None, &anchored)?);
        if let Err(error) = claim.make(&Header { store, wrapped_key }, &pages, &mut anchor) {
            if claim.take_back() {
                self.withdraw(&store, &anchored);
            }
            return Err(error);
        }
        let committed = Committed::by(&key, first);
        Ok((self.ledger(claim.open()?, key)?, committed))
    }
}
