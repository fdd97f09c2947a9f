//! The vault and the ledger over ports in memory: their promises do not depend on SQLite or on a token.

use super::*;
use countersign::ports::Vault;
use countersign::shell::vault::SealedVault;

#[derive(Default)]
struct Stage {
    site: MemorySite,
    sealer: MemorySealer,
    anchor: MemoryAnchor,
    random: FailingRandom,
}

impl Stage {
    fn vault(&self) -> SealedVault {
        let (sealer, anchor) = (Arc::new(self.sealer.clone()), Arc::new(self.anchor.clone()));
        SealedVault::new(Box::new(self.site.clone()), sealer, anchor, Arc::new(self.random.clone()))
    }

    fn opened(&self) -> Result<Option<Box<dyn Ledger>>, LedgerError> {
        self.vault().open()
    }
}

#[test]
fn a_vault_opens_what_it_made_and_nothing_before() {
    let stage = Stage::default();
    assert!(stage.opened().expect("nothing is wrong").is_none());
    let first = batch(vec![put(place(0), None, 1)], 1);
    let (ledger, _) = stage.vault().create(&first).expect("made");
    assert_eq!(marked(&*ledger, &place(0)).1, 1);
    assert!(matches!(stage.opened(), Err(LedgerError::InUse { .. })));
    drop(ledger);
    let ledger = stage.opened().expect("it opens").expect("it was made");
    ledger.commit(&batch(vec![put(place(0), Some(0), 2)], 2)).expect("committed");
    drop(ledger);
    assert!(matches!(stage.vault().create(&batch(vec![], 3)), Err(LedgerError::Exists(_))));
    let ledger = stage.opened().expect("it opens").expect("it was made");
    assert_eq!(marked(&*ledger, &place(0)).1, 2);
}

#[test]
fn state_missing_a_store_without_its_anchor_and_an_anchor_without_its_store_are_refused() {
    let stage = Stage::default();
    let first = batch(vec![], 1);
    let (ledger, _) = stage.vault().create(&first).expect("made");
    ledger.commit(&batch(vec![], 2)).expect("committed");
    drop(ledger);
    let refused = |stage: &Stage| match stage.opened() {
        Err(LedgerError::State(error)) => error,
        other => panic!("{:?}", other.err()),
    };
    let anchored = std::mem::take(&mut stage.anchor.state().now);
    assert_eq!(refused(&stage), StateError::AnchorMissing);
    stage.anchor.state().now = anchored;
    let keys = std::mem::take(&mut *stage.sealer.keys());
    assert_eq!(refused(&stage), StateError::DataKey);
    *stage.sealer.keys() = keys;
    drop(stage.opened().expect("both are there"));
    let emptied = Stage { site: MemorySite::default(), ..stage };
    assert_eq!(refused(&emptied), StateError::StoreMissing(1));
    let another = batch(vec![], 3);
    let created = emptied.vault().create(&another);
    assert!(matches!(created, Err(LedgerError::State(StateError::StoreMissing(1)))));
}

#[test]
fn a_failure_while_a_store_is_made_leaves_nothing_of_it() {
    let stage = Stage::default();
    stage.random.fail(true);
    assert!(matches!(stage.vault().create(&batch(vec![], 1)), Err(LedgerError::Random(_))));
    assert!(stage.sealer.keys().is_empty());
    stage.random.fail(false);
    for fault in [Fault::Before, Fault::Between, Fault::After] {
        stage.anchor.state().faults.push_back(fault);
        assert!(matches!(stage.vault().create(&batch(vec![], 1)), Err(LedgerError::Backing(_))), "{fault:?}");
        assert!(stage.sealer.keys().is_empty() && stage.anchor.state().now.is_empty(), "{fault:?}");
        assert!(stage.opened().expect("nothing is wrong").is_none(), "{fault:?}");
    }
    stage.vault().create(&batch(vec![], 1)).expect("made");
}

#[test]
fn a_commit_for_which_no_randomness_comes_changes_nothing() {
    let (site, anchor, random) = (MemorySite::default(), MemoryAnchor::default(), FailingRandom::default());
    begin_at(&site, &anchor);
    let store = site.open().expect("it opens").expect("it is there");
    let ledger = SealedLedger::open(store, data_key(), Arc::new(anchor), Arc::new(random.clone()));
    let ledger = ledger.expect("it opens");
    ledger.commit(&batch(vec![put(place(0), None, 1)], 1)).expect("committed");
    random.fail(true);
    let write = || ledger.commit(&batch(vec![put(place(0), Some(1), 2)], 2)).map(drop);
    assert!(matches!(write(), Err(LedgerError::Random(_))));
    assert_eq!((marked(&ledger, &place(0)), ledger.high_water()), ((1, 1), 1));
    random.fail(false);
    assert_eq!(write(), Ok(()), "it follows the first one");
}
