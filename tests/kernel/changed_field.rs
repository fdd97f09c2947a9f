//! Changes one field of a good PSBT: either the module signs the same payment as before, or it signs nothing.
//!
//! The payment is the transaction with the outputs that it spends. If a change alters the transaction itself,
//! that is another payment, and the test compares it with what the wallet then truly loses. For all script
//! types and both versions of a PSBT.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bitcoin::psbt::Psbt;
use bitcoin::{OutPoint, Transaction, TxOut};
use proptest::prelude::*;
use proptest::sample::Index;
use totp_rs::Totp;

use countersign::engine::WalletId;
use countersign::kernel::psbt::{CheckedPsbt, Version};
use countersign::kernel::wallet::{Chain, Wallet};
use harness::engine::consensus::{completed, prevouts, verdicts};
use harness::engine::maps::{Pair, read, to_version_2, write};
use harness::engine::scripts::{SCRIPTS, Script, good_psbt, script_at};
use harness::engine::{Bench, alone, watch};

const INPUTS: u32 = 2;
/// The addresses that an oracle searches for outputs that come back.
const LOOKAHEAD: u32 = 8;

/// A wallet of one script type, and a PSBT for it that no rule refuses.
struct Stage {
    script: Script,
    bench: Bench,
    totp: Totp,
    id: WalletId,
    wallet: Arc<Wallet>,
    good: Psbt,
    /// Codes are used one at a time.
    turn: Mutex<()>,
    /// The number of answers that consensus accepted.
    verified: AtomicUsize,
}

impl Stage {
    fn new(script: &Script) -> Stage {
        let bench = Bench::new();
        let totp = bench.user("alice");
        let id =
            bench.add_wallet("w", &["alice"], "unlimited = true", script.to_be_made()).expect("a wallet");
        let wallet = bench.engine.wallet(&id).expect("there");
        let mut good = good_psbt(watch(&wallet), INPUTS);
        good.unknown.insert(
            bitcoin::psbt::raw::Key { type_value: 0xf0, key: vec![1, 2, 3] },
            b"unknown to everybody".to_vec(),
        );
        Stage {
            script: *script,
            bench,
            totp,
            id,
            wallet,
            good,
            turn: Mutex::default(),
            verified: AtomicUsize::new(0),
        }
    }

    fn maps(&self, version: Version) -> Vec<Vec<Pair>> {
        match version {
            Version::V0 => read(&self.good.serialize()),
            Version::V2 => read(&to_version_2(&self.good)),
        }
    }

    fn check(&self, psbt: &[u8]) -> Option<CheckedPsbt> {
        CheckedPsbt::parse(psbt.to_vec(), watch(&self.wallet), &alone(&self.bench.secp)).ok()
    }

    fn sign(&self, psbt: &[u8]) -> Option<Vec<u8>> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.bench.clock.advance(30);
        self.bench.sign(&self.id, "alice", &self.bench.code(&self.totp), psbt).ok()
    }

    /// The least that the wallet loses if that transaction spends these outputs.
    fn loss(&self, spent: &[TxOut], paid: &[TxOut]) -> u64 {
        let wallet = watch(&self.wallet);
        let is_ours = |output: &&TxOut| {
            [Chain::External, Chain::Internal]
                .iter()
                .flat_map(|chain| (0..LOOKAHEAD).map(|index| (*chain, index)))
                .any(|(chain, index)| script_at(wallet, chain, index) == output.script_pubkey)
        };
        let sum = |outputs: &[TxOut], only: &dyn Fn(&&TxOut) -> bool| {
            outputs.iter().filter(only).map(|output| output.value.to_sat()).sum::<u64>()
        };
        sum(spent, &|_| true) - sum(paid, &is_ours)
    }

    /// Checks the signer's promise for one changed PSBT, and returns whether the PSBT was signed.
    fn hold(&self, changed: &[u8], what: &str) -> bool {
        let what = format!("{}: {what}", self.script.name);
        let Some(checked) = self.check(changed) else {
            assert!(self.sign(changed).is_none(), "{what}: signed what is refused");
            return false;
        };
        let (spent, transaction) = (prevouts(&self.good), checked.transaction().clone());
        // The spent outputs are proved, so a PSBT cannot claim another value for them.
        for (input, prevout) in transaction.input.iter().zip(checked.prevouts()) {
            let place = self
                .good
                .unsigned_tx
                .input
                .iter()
                .position(|good| good.previous_output == input.previous_output);
            assert_eq!(*prevout, spent[place.expect("proved by a previous transaction")], "{what}");
        }
        assert!(checked.leaves() >= self.loss(checked.prevouts(), &transaction.output), "{what}: loss");
        let answer = self.sign(changed).unwrap_or_else(|| panic!("{what}: not signed"));
        let all_ours = checked.our_inputs().count() == transaction.input.len();
        let outpoints = |transaction: &Transaction| -> Vec<OutPoint> {
            transaction.input.iter().map(|input| input.previous_output).collect()
        };
        if all_ours && outpoints(&transaction) == outpoints(&self.good.unsigned_tx) {
            let complete = completed(&self.script, self.with_signatures_of(&answer, transaction));
            assert_eq!(verdicts(&complete, &spent), vec![true; spent.len()], "{what}: consensus");
            self.verified.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    /// The good PSBT with the signatures of an answer, of either version, for the transaction that they sign.
    /// An Updater provides the rest that a Finalizer needs, which the change may have removed from the
    /// answer.
    fn with_signatures_of(&self, answer: &[u8], transaction: Transaction) -> Psbt {
        let mut good = read(&self.good.serialize());
        for (map, signed) in good.iter_mut().zip(read(answer)).skip(1).take(INPUTS as usize) {
            map.extend(signed.into_iter().filter(|(key, _)| matches!(key[0], 0x02 | 0x13 | 0x14)));
        }
        let mut psbt = Psbt::deserialize(&write(&good)).expect("signatures are added");
        psbt.unsigned_tx = transaction;
        psbt
    }

    /// The same, for a field that is not part of the transaction.
    fn hold_meaning(&self, changed: &[u8], what: &str) -> bool {
        if !self.hold(changed, what) {
            return false;
        }
        let (checked, good) = (self.check(changed).expect("held"), &self.good);
        let what = format!("{}: {what}", self.script.name);
        assert_eq!(*checked.transaction(), good.unsigned_tx, "{what}");
        assert_eq!(checked.prevouts(), prevouts(good), "{what}");
        let of_good = self.check(&good.serialize()).expect("good");
        assert!(checked.leaves() >= of_good.leaves(), "{what}: less leaves than before");
        assert_eq!(checked.fee(), of_good.fee(), "{what}");
        true
    }
}

fn stages() -> &'static [Stage] {
    static STAGES: OnceLock<Vec<Stage>> = OnceLock::new();
    STAGES.get_or_init(|| SCRIPTS.iter().map(Stage::new).collect())
}

/// Whether a field is part of the transaction: `PSBT_GLOBAL_UNSIGNED_TX`, or one of the fields of BIP 370.
fn makes_the_transaction(inputs: usize, map: usize, key: &[u8]) -> bool {
    match (map, key) {
        (0, [0x00 | 0x02..=0x06 | 0xfb]) => true,
        (map, [0x0e..=0x12]) if (1..=inputs).contains(&map) => true,
        (map, [0x03 | 0x04]) if map > inputs => true,
        _ => false,
    }
}

fn hold(stage: &Stage, maps: &[Vec<Pair>], (map, key): (usize, &[u8]), what: &str) -> bool {
    let psbt = write(maps);
    let what = format!("map {map}, key {}, {what}", hex::encode(key));
    if makes_the_transaction(INPUTS as usize, map, key) {
        stage.hold(&psbt, &what)
    } else {
        stage.hold_meaning(&psbt, &what)
    }
}

#[test]
fn a_field_that_is_missing_longer_shorter_or_another_one_s_changes_nothing_that_is_signed() {
    let (mut signed, mut refused) = (0, 0);
    for stage in stages() {
        for version in [Version::V0, Version::V2] {
            let good = stage.maps(version);
            let before = stage.verified.load(Ordering::Relaxed);
            assert!(stage.hold_meaning(&write(&good), "unchanged"));
            for map in 0..good.len() {
                for pair in 0..good[map].len() {
                    let (key, value) = good[map][pair].clone();
                    let mut count = |changed: Vec<Vec<Pair>>, what: &str| {
                        let is_signed = hold(stage, &changed, (map, &key), what);
                        *(if is_signed { &mut signed } else { &mut refused }) += 1;
                    };
                    let with = |value: Vec<u8>| {
                        let mut changed = good.clone();
                        changed[map][pair].1 = value;
                        changed
                    };
                    let mut without = good.clone();
                    without[map].remove(pair);
                    count(without, "missing");
                    count(with([&value[..], &[0]].concat()), "longer");
                    count(with(value[..value.len().saturating_sub(1)].to_vec()), "shorter");
                    count(with(vec![]), "empty");
                    for other in (0..good.len()).filter(|other| *other != map) {
                        let mut moved = good.clone();
                        let taken = moved[map].remove(pair);
                        moved[other].push(taken);
                        count(moved, "moved to another map");
                        if let Some((_, theirs)) = good[other].iter().find(|(theirs, _)| *theirs == key) {
                            count(with(theirs.clone()), "that of another map");
                        }
                    }
                }
            }
            let verified = stage.verified.load(Ordering::Relaxed) - before;
            assert!(verified > 10, "{} in {version:?}: consensus took {verified}", stage.script.name);
        }
    }
    assert!(signed > 100 && refused > 1_000, "{signed} signed, {refused} refused");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn a_field_with_one_bit_changed_changes_nothing_that_is_signed(
        which in 0..SCRIPTS.len(),
        version in prop_oneof![Just(Version::V0), Just(Version::V2)],
        in_key in any::<bool>(),
        (map, pair, byte) in any::<(Index, Index, Index)>(),
        bit in 0u8..8,
    ) {
        let stage = &stages()[which];
        let mut maps = stage.maps(version);
        let map = map.index(maps.len());
        prop_assume!(!maps[map].is_empty());
        let pair = pair.index(maps[map].len());
        let key = maps[map][pair].0.clone();
        let (k, v) = &mut maps[map][pair];
        let changed = if in_key { k } else { v };
        prop_assume!(!changed.is_empty());
        let byte = byte.index(changed.len());
        changed[byte] ^= 1 << bit;
        let after = maps[map][pair].0.clone();
        let named = if makes_the_transaction(INPUTS as usize, map, &after) { &after } else { &key };
        hold(stage, &maps, (map, named), &format!("bit {bit} of byte {byte}, in the key: {in_key}"));
    }
}
