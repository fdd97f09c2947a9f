//! Recovery from a failed write of a batch.
//!
//! After a failure nobody knows what is durable. So the ledger opens the store and the token again, looks at what is there, and continues
//! the batch from there, for as long as the configuration allows. Its callers wait, and so do those of the batches behind it.
//!
//! - V1. The store goes on only if it opens by the ordinary rule, and ends where the batch began or where it ends.
//! - V2. The token goes on only if it has the anchor before the batch, the one after it, or both, and no
//!   other of this store. If it lists none, it is asked again.
//! - V3. Exactly the bytes of the batch are written again, or found: nothing is sealed twice under one
//!   version.
//! - V4. The store never goes on with another file than the one that was open.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::book::{Closed, Group};
use super::opening::Opened;
use super::{SealedLedger, Writer};
use crate::kernel::anchor::{self, Anchored, StateError};
use crate::ports::{LedgerError, LedgerStanding, ReopenError};

/// The first wait between two tries, and the longest.
const WAITS: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];

/// A failure in the writing of a batch.
pub(super) enum Stumble {
    /// It may go on once the store is opened again, whose content is unknown.
    Store(LedgerError),
    /// It may go on once the token is opened again, whose content is unknown.
    Token(LedgerError),
    /// It cannot go on.
    End(Closed),
}

impl From<StateError> for Stumble {
    fn from(error: StateError) -> Stumble {
        Stumble::End(LedgerError::State(error).into())
    }
}

impl From<ReopenError> for Stumble {
    fn from(error: ReopenError) -> Stumble {
        match error {
            ReopenError::Away(error) => Stumble::Token(error.into()),
            ReopenError::Refused(error) => {
                Stumble::End(Closed { reason: error.to_string(), standing: LedgerStanding::Refused })
            }
        }
    }
}

/// The open store is not the one at its place.
pub(super) fn lost(problem: String) -> Closed {
    let process = std::process::id();
    let reason = format!(
        "{problem}; the module signs nothing into a store that nobody can find again. Process {process} still has it open: do \
         not stop it before \"countersign state rescue\", as root, has copied the store"
    );
    Closed { reason, standing: LedgerStanding::Lost }
}

/// A record of the open store is not as it was written.
pub(super) fn spoilt(problem: String) -> Closed {
    let reason = format!(
        "{problem}; the store is closed and nothing is signed. Keep the file for an investigation, and restore the newest backup \
         with \"countersign state restore\""
    );
    Closed { reason, standing: LedgerStanding::Lost }
}

/// The record is as it was written, but this version cannot read it.
pub(super) fn unreadable(found: &StateError) -> Closed {
    let reason = format!(
        "{found}; the store is closed and nothing is signed. A newer version may have written it: install that version"
    );
    Closed { reason, standing: LedgerStanding::Closed }
}

/// The unknown parts of a batch.
#[derive(Default)]
struct Doubt {
    store: bool,
    token: bool,
}

impl Doubt {
    /// Records a failure, and returns the error to report, or the end.
    fn add(&mut self, stumble: Stumble) -> Result<LedgerError, Closed> {
        match stumble {
            Stumble::Store(error) => {
                self.store = true;
                Ok(error)
            }
            Stumble::Token(error) => {
                self.token = true;
                Ok(error)
            }
            Stumble::End(closed) => Err(closed),
        }
    }
}

impl SealedLedger {
    /// Writes a group and anchors it, in as many tries as the time allows.
    pub(super) fn write(&self, group: &Group) -> Result<(), Closed> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let Err(stumble) = self.write_once(&mut writer, group) else { return Ok(()) };
        writer.is_in_doubt = true;
        let mut doubt = Doubt::default();
        let first = doubt.add(stumble)?;
        let limit = self.upkeep.reopening;
        if limit.is_zero() {
            return Err(first.into());
        }
        tracing::error!("{first}; opening again for at most {} seconds, callers wait", limit.as_secs());
        self.book().reviving = true;
        let revived = self.revive(&mut writer, group, doubt, first);
        self.book().reviving = false;
        writer.is_in_doubt = revived.is_err();
        revived
    }

    fn write_once(&self, writer: &mut Writer, group: &Group) -> Result<(), Stumble> {
        writer.store.commit(&group.pages).map_err(of_store)?;
        self.step(writer, &group.anchored)
    }

    fn revive(
        &self,
        writer: &mut Writer,
        group: &Group,
        mut doubt: Doubt,
        mut last: LedgerError,
    ) -> Result<(), Closed> {
        let (begun, [mut wait, longest]) = (Instant::now(), WAITS);
        let mut tries = 1_u32;
        loop {
            let Err(stumble) = self.go_on(writer, group, &mut doubt) else {
                let seconds = begun.elapsed().as_secs();
                tracing::warn!(
                    "opened again after {seconds} seconds, at try {tries}: the failed write is done"
                );
                return Ok(());
            };
            last = match doubt.add(stumble) {
                Ok(error) => error,
                Err(Closed { reason, standing }) => {
                    return Err(Closed { reason: format!("{last}; then {reason}"), standing });
                }
            };
            let left = self.upkeep.reopening.saturating_sub(begun.elapsed());
            if left.is_zero() {
                let seconds = self.upkeep.reopening.as_secs();
                let reason = format!("{last}; {tries} tries within {seconds} seconds did not help");
                return Err(Closed { reason, standing: LedgerStanding::Closed });
            }
            std::thread::sleep(wait.min(left));
            wait = (wait * 2).min(longest);
            tries += 1;
        }
    }

    /// Opens what is in doubt again, and finishes the batch from its present state.
    fn go_on(&self, writer: &mut Writer, group: &Group, doubt: &mut Doubt) -> Result<(), Stumble> {
        if doubt.token {
            self.anchor.reopen()?;
            doubt.token = false;
        }
        // The token first, because the store is compared with it.
        let values = self.anchor.current().map_err(|error| Stumble::Token(error.into()))?;
        let found: Vec<Anchored> =
            values.iter().filter_map(|value| Anchored::decode(value, &self.key)).collect();
        if found.is_empty() {
            // A token that cannot read its own files lists no object (SoftHSM2 without a free descriptor), and lists
            // them again later. An emptied token stays empty, and the next opening refuses it.
            return Err(Stumble::Token(StateError::AnchorMissing.into()));
        }
        anchor::resume(&found, &writer.anchored, &group.anchored)?;
        if doubt.store {
            let newest = found.iter().max_by_key(|found| found.sequence).ok_or(StateError::AnchorMissing)?;
            if !self.reopen_store(writer, group, newest)? {
                writer.store.commit(&group.pages).map_err(of_store)?;
            }
            doubt.store = false;
        }
        self.step(writer, &group.anchored)
    }

    /// Opens the store again, and returns whether the group is in it.
    fn reopen_store(&self, writer: &mut Writer, group: &Group, found: &Anchored) -> Result<bool, Stumble> {
        // While it is still open: a store that nobody can find any more must not be closed.
        writer.store.look().map_err(of_store)?;
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        // Both at once, so that nothing of the failed state is left in memory.
        *reader = None;
        writer.store.reopen().map_err(of_store)?;
        let view = || writer.store.view().map_err(of_store);
        let opened = Opened::scan([view()?, view()?], &self.key).map_err(of_store)?;
        anchor::judge(&opened.end, opened.records, found)?;
        let here = Anchored::at(&opened.end);
        let is_written = here == group.anchored;
        if !is_written && here != writer.anchored {
            return Err(StateError::Ahead { store: here.sequence, anchor: found.sequence }.into());
        }
        // The failed write may be only in the system's memory. This writes it again, and shows that the disk
        // accepts it.
        writer.store.sync().map_err(of_store)?;
        *reader = Some(writer.store.view().map_err(of_store)?);
        Ok(is_written)
    }

    /// Takes the step of the anchor over what is written, after checking that every process would find it.
    fn step(&self, writer: &mut Writer, to: &Anchored) -> Result<(), Stumble> {
        self.look_at_store(writer, to)?;
        let (old, new) = (writer.anchored.encode(&self.key), to.encode(&self.key));
        self.anchor.step(Some(&old), &new).map_err(|error| Stumble::Token(error.into()))?;
        writer.anchored = *to;
        Ok(())
    }
}

/// The meaning of a store's error: it may go on later, or it is not what was written, or not where it was.
pub(super) fn of_store(error: LedgerError) -> Stumble {
    match error {
        LedgerError::State(error) => error.into(),
        LedgerError::Displaced { problem, .. } => Stumble::End(lost(problem)),
        error => Stumble::Store(error),
    }
}
