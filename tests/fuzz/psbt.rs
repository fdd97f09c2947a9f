//! Fuzzes the whole way of a signature with bytes that claim to be a PSBT, for every script type.
//!
//! The first byte of the input chooses the script type. Whatever the rest is, nothing panics. A PSBT that is
//! signed
//! - is a PSBT to crate `bitcoin`, too, with the same transaction and the same amounts (version 0),
//! - gets the same judgement in version 2 (BIP 370),
//! - comes back byte for byte, with at most one more pair in each input map, and unchanged when it is signed
//!   again.

#![no_main]

use std::sync::OnceLock;

use bitcoin::Psbt;
use countersign::admin::NewScript;
use countersign::engine::{Engine, EngineError, WalletId};
use countersign::kernel::psbt::{CheckedPsbt, Layout, Version};
use countersign::kernel::seal::RecordKey;
use countersign::kernel::wallet::Wallet;
use countersign::ports::{Random, RandomError};
use harness::engine::scripts::{SCRIPTS, script_at};
use harness::engine::{Bench, ManualClock, MemoryLedger, Plain, alone, maps, watch};
use libfuzzer_sys::fuzz_target;
use std::collections::HashMap;
use std::sync::Arc;
use totp_rs::Totp;

fuzz_target!(|data: &[u8]| {
    if let Some((which, psbt)) = data.split_first() {
        let stages =
            STAGES.get_or_init(|| SCRIPTS.iter().map(|script| Stage::new(script.to_be_made())).collect());
        stages[usize::from(*which) % stages.len()].run(psbt);
    }
});

static STAGES: OnceLock<Vec<Stage>> = OnceLock::new();

/// The randomness of the testkit, which gives the wallets its seed. So its vectors fit these wallets.
struct Nines;

impl Random for Nines {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        bytes.fill(9);
        Ok(())
    }
}

/// A token with one wallet.
struct Stage {
    bench: Bench,
    totp: Totp,
    id: WalletId,
    wallet: Arc<Wallet>,
    begin: HashMap<RecordKey, Plain>,
}

impl Stage {
    fn new(script: NewScript) -> Stage {
        let (clock, ledger) = (ManualClock::default(), MemoryLedger::default());
        let engine =
            Engine::open(Box::new(ledger.clone()), Box::new(clock.clone()), Box::new(Nines)).expect("opens");
        engine.initialise(b"so-pin", "fuzz").expect("initialises");
        let bench = Bench::of(engine, clock, ledger);
        let totp = bench.user("alice");
        let id = bench.add_wallet("w", &["alice"], "unlimited = true", script).expect("a wallet");
        let wallet = bench.engine.wallet(&id).expect("there");
        let begin = bench.ledger.state().records.clone();
        Stage { bench, totp, id, wallet, begin }
    }

    fn run(&self, psbt: &[u8]) {
        let layout = Layout::take(psbt);
        let checked = self.check(psbt);
        match self.sign(psbt) {
            Ok(signed) => {
                let layout = layout.expect("it was signed");
                assert!(signed.len() <= layout.signed_len_bound(1).expect("bounded"));
                let checked = checked.expect("it was signed");
                self.check_meaning(psbt, layout.version, &checked);
                check_answer(psbt, &signed, layout.version, checked.transaction().input.len());
                assert_eq!(self.sign(&signed).expect("signs what it signed"), signed);
            }
            Err(EngineError::Psbt(_)) => assert!(checked.is_err()),
            Err(error) => panic!("{error}"),
        }
    }

    fn check(&self, psbt: &[u8]) -> Result<CheckedPsbt, countersign::kernel::psbt::PsbtError> {
        CheckedPsbt::parse(psbt.to_vec(), watch(&self.wallet), &alone(&self.bench.secp))
    }

    /// Signs with a fresh code. The token is as new each time.
    fn sign(&self, psbt: &[u8]) -> Result<Vec<u8>, EngineError> {
        self.bench.ledger.state().records.clone_from(&self.begin);
        self.bench.ledger.state().events.clear();
        self.bench.clock.advance(30);
        self.bench.sign(&self.id, "alice", &self.bench.code(&self.totp), psbt)
    }

    /// Other software understands the PSBT as we do.
    fn check_meaning(&self, psbt: &[u8], version: Version, checked: &CheckedPsbt) {
        let sum = |values: &mut dyn Iterator<Item = bitcoin::Amount>| {
            values.map(|value| value.to_sat()).sum::<u64>()
        };
        let transaction = checked.transaction();
        let paid_in = sum(&mut checked.prevouts().iter().map(|prevout| prevout.value));
        let paid_out = sum(&mut transaction.output.iter().map(|output| output.value));
        assert_eq!(checked.fee(), paid_in - paid_out);
        assert!((checked.fee()..=paid_in).contains(&checked.leaves()));
        let wallet = watch(&self.wallet);
        for (index, place) in checked.our_inputs() {
            assert_eq!(checked.prevouts()[index].script_pubkey, script_at(wallet, place.chain, place.index));
        }
        for (index, place) in checked.our_outputs() {
            assert_eq!(transaction.output[*index].script_pubkey, script_at(wallet, place.chain, place.index));
        }
        if version == Version::V0 {
            let theirs = Psbt::deserialize(psbt).expect("crate bitcoin takes it, too");
            assert_eq!(theirs.unsigned_tx, *transaction);
            for (ours, theirs) in checked.prevouts().iter().zip(theirs.iter_funding_utxos()) {
                assert_eq!(ours, theirs.expect("an amount was proved"));
            }
            // A PSBT that names a version already would name it twice.
            if theirs.version == 0 && !maps::read(psbt)[0].iter().any(|(key, _)| *key == [0xfb]) {
                let other = self.check(&maps::to_version_2(&theirs)).expect("the same in version 2");
                assert_eq!(other.transaction(), transaction);
                assert_eq!((other.leaves(), other.fee()), (checked.leaves(), checked.fee()));
                assert_eq!(other.our_outputs(), checked.our_outputs());
            }
        }
    }
}

/// The answer adds signatures and changes nothing else.
fn check_answer(psbt: &[u8], signed: &[u8], version: Version, inputs: usize) {
    const MODIFIABLE: &[u8] = &[0x06];
    let (mut before, after) = (maps::read(psbt), maps::read(signed));
    assert_eq!(before.len(), after.len());
    if version == Version::V2 && psbt != signed {
        for (key, value) in &mut before[0] {
            if key == MODIFIABLE {
                value[0] &= !0b11;
            }
        }
    }
    for (index, (before, after)) in before.iter().zip(&after).enumerate() {
        let is_input = (1..=inputs).contains(&index);
        assert!(after.starts_with(before), "map {index} is not as it was");
        let added = &after[before.len()..];
        let are_signatures = added.iter().all(|(key, _)| matches!(key[0], 0x02 | 0x13 | 0x14));
        assert!(are_signatures, "map {index} has something else than a signature more");
        assert!(added.len() <= usize::from(is_input), "map {index} has {} pairs more", added.len());
    }
}
