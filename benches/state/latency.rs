//! The latency of one caller, compared with what it waits for: one synced write and one step of the anchor.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use countersign::kernel::seal::{Kind, RecordKey};
use countersign::ports::{Anchor, BackingError, Header, LedgerError, Pages, ReopenError, Row, Site, Store};
use countersign::shell::backing::Backing;
use countersign::shell::sqlite::SqliteSite;

use super::commits::Load;
use super::measure::{Ratio, median, wall};

const ROUNDS: usize = 20;
/// Signatures of each round.
const SIGNATURES: usize = 20;

pub(crate) fn print(anchored: &Load, steps: &Steps, folder: &Path) {
    let mut rows = Rows::new(&folder.join("rows.db"));
    let [mut signing, mut waiting, mut syncs, mut stepping] = [const { Vec::new() }; 4];
    let each = |taken: f64| taken / SIGNATURES as f64 / 1000.0;
    for round in 0..=ROUNDS {
        let before = steps.taken();
        let signed = each(wall(|| anchored.sign_in_turn(SIGNATURES)));
        let after = steps.taken();
        let synced = each(wall(|| (0..SIGNATURES).for_each(|_| rows.write())));
        let stepped = (after.1 - before.1).as_nanos() as f64 / f64::from(after.0 - before.0) / 1000.0;
        // The first round is a warm-up.
        if round > 0 {
            signing.push(signed);
            syncs.push(synced);
            stepping.push(stepped);
            waiting.push(synced + stepped);
        }
    }
    println!("\nOne caller, anchored in SoftHSM2: {SIGNATURES} signatures a round, {ROUNDS} rounds");
    println!(
        "one signature {:.0} µs; one synced write of three rows {:.0} µs, one step of the anchor {:.0} µs; ratio {}",
        median(&signing),
        median(&syncs),
        median(&stepping),
        Ratio::of(&signing, &waiting)
    );
}

/// The anchor of SoftHSM2, with the number of its steps and the time that they took.
pub(crate) struct Steps {
    backing: Arc<Backing>,
    taken: Mutex<(u32, Duration)>,
}

impl Steps {
    pub(crate) fn of(backing: Arc<Backing>) -> Steps {
        Steps { backing, taken: Mutex::default() }
    }

    pub(crate) fn taken(&self) -> (u32, Duration) {
        *self.taken.lock().expect("not poisoned")
    }
}

impl Anchor for Steps {
    fn current(&self) -> Result<Vec<Vec<u8>>, BackingError> {
        self.backing.current()
    }

    fn step(&self, old: Option<&[u8]>, new: &[u8]) -> Result<(), BackingError> {
        let begun = Instant::now();
        let stepped = self.backing.step(old, new);
        let mut taken = self.taken.lock().expect("not poisoned");
        *taken = (taken.0 + 1, taken.1 + begun.elapsed());
        stepped
    }

    fn withdraw(&self, first: &[u8]) -> Result<(), BackingError> {
        Anchor::withdraw(&*self.backing, first)
    }

    fn reopen(&self) -> Result<(), ReopenError> {
        self.backing.reopen()
    }
}

/// A store like that of a ledger, without one: a user, the state of a wallet and a link are written each time.
struct Rows {
    store: Box<dyn Store>,
    sequence: u64,
}

impl Rows {
    fn new(path: &Path) -> Rows {
        let site = SqliteSite::new(path.into()).expect("its folder is there");
        let header = Header { store: [1; 16], wrapped_key: vec![] };
        let mut anchor = || Ok::<(), LedgerError>(());
        site.claim().expect("it is free").make(&header, &pages(0), &mut anchor).expect("it is made");
        Rows { store: site.open().expect("it opens").expect("it was made"), sequence: 0 }
    }

    fn write(&mut self) {
        self.sequence += 1;
        self.store.commit(&pages(self.sequence)).expect("it is written");
    }
}

fn pages(sequence: u64) -> Pages {
    let row = |kind, len| {
        (RecordKey::single(kind), Some(Row { version: sequence, sealed: vec![sequence as u8; len] }))
    };
    let rows = [row(Kind::User, 500), row(Kind::WalletState, 250)].into_iter().collect();
    Pages { after: sequence.checked_sub(1), rows, links: vec![(sequence, vec![sequence as u8; 250])] }
}
