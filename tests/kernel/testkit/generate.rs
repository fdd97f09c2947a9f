//! Makes the vectors: a PSBT that no rule refuses, with one attack on it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bitcoin::bip32::{DerivationPath, Fingerprint, KeySource, Xpriv, Xpub};
use bitcoin::psbt::raw::Key;
use bitcoin::psbt::{Input, Psbt, PsbtSighashType};
use bitcoin::secp256k1::{All, PublicKey, Secp256k1, SecretKey};
use bitcoin::{Amount, NetworkKind, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use countersign::kernel::wallet::{Chain, WatchOnly};
use miniscript::psbt::PsbtExt;

use harness::engine::scripts::{
    Cosigner, SCRIPTS, Script, descriptor_at, good_psbt, script_at, update_input,
};
use harness::engine::{
    FEE, INPUT, PAID, anchor, funding, maps, pay_nobody, respend, script_pubkey, stranger, to_spend, watch,
};

/// The master fingerprint of another wallet of the same token.
const SIBLING: [u8; 4] = [0x51, 0xb1, 0x16, 0x00];
const UNLIMITED: &str = "unlimited = true";
const INPUTS: u32 = 2;
const ALL_OF_IT: u64 = INPUT * INPUTS as u64;

/// One attack.
struct Case {
    tag: &'static str,
    /// Tells the attack from others with the same tag.
    what: &'static str,
    expect: String,
    policy: String,
    psbt: Vec<u8>,
}

/// Every file with its name.
pub(crate) fn files() -> BTreeMap<String, String> {
    let secp = Secp256k1::new();
    let mut files = BTreeMap::new();
    for script in SCRIPTS {
        let wallet = script.wallet(&secp);
        for case in Bench::new(script, watch(&wallet), &secp).cases() {
            let name = if case.what.is_empty() {
                format!("{}--{}", case.tag, script.name)
            } else {
                format!("{}--{}--{}", case.tag, case.what, script.name)
            };
            let replaced = files.insert(name, file(script, &case));
            assert!(replaced.is_none(), "two vectors {} {} for {}", case.tag, case.what, script.name);
        }
    }
    files
}

fn file(script: &Script, case: &Case) -> String {
    let registration = script.registration().replace('\n', " ");
    let path = script.path.unwrap_or("standard");
    let psbt = STANDARD.encode(&case.psbt);
    format!(
        "# Countersign testkit, format 1\n\
         tag: {}\n\
         expect: {}\n\
         script: {}\n\
         wallet-policy: {registration}\n\
         path: {path}\n\
         seed: 64 bytes 09\n\
         network: regtest\n\
         sibling: {}\n\
         policy: {}\n\n\
         {psbt}\n",
        case.tag,
        case.expect,
        script.name,
        Fingerprint::from(SIBLING),
        case.policy.replace('\n', "; "),
    )
}

struct Bench<'a> {
    script: &'a Script,
    watch: &'a WatchOnly,
    secp: &'a Secp256k1<All>,
    cases: Vec<Case>,
}

impl<'a> Bench<'a> {
    fn new(script: &'a Script, watch: &'a WatchOnly, secp: &'a Secp256k1<All>) -> Bench<'a> {
        Bench { script, watch, secp, cases: Vec::new() }
    }

    fn cases(mut self) -> Vec<Case> {
        self.push("good", "", format!("leaves {}", PAID + FEE * u64::from(INPUTS)), UNLIMITED, |_, _| {});
        self.amounts();
        self.change();
        self.ownership();
        self.structure();
        self.messages();
        self.signatures();
        self.bytes();
        self.cases
    }

    fn push(
        &mut self,
        tag: &'static str,
        what: &'static str,
        expect: impl Into<String>,
        policy: &str,
        attack: impl FnOnce(&Bench<'_>, &mut Psbt),
    ) {
        let mut psbt = good_psbt(self.watch, INPUTS);
        attack(self, &mut psbt);
        let case = Case { tag, what, expect: expect.into(), policy: policy.into(), psbt: psbt.serialize() };
        self.cases.push(case);
    }

    /// An attack that the rule named by its tag refuses.
    fn refused(&mut self, tag: &'static str, what: &'static str, attack: impl FnOnce(&Bench<'_>, &mut Psbt)) {
        self.push(tag, what, format!("refused {tag}"), UNLIMITED, attack);
    }

    fn amounts(&mut self) {
        if !self.script.is_taproot() {
            self.refused("utxo-missing", "", |_, psbt| psbt.inputs[1].non_witness_utxo = None);
        }
        // The answer depends on our signatures: they cover the amounts of all inputs only if they are
        // taproot.
        let tolerated = format!("leaves {}", ALL_OF_IT + INPUT);
        let refused = "refused utxo-missing".to_owned();
        let expected = if self.script.is_taproot() { tolerated } else { refused };
        self.push("utxo-missing", "beside-a-taproot-claim", expected, UNLIMITED, |bench, psbt| {
            // All our inputs are taproot, and a stranger's input of another type has no previous transaction.
            psbt.inputs[0].non_witness_utxo = None;
            add_stranger(psbt, |input| input.non_witness_utxo = None);
            if !bench.script.is_taproot() {
                psbt.inputs[0].witness_utxo = Some(taproot_output());
            }
        });
        self.refused("utxo-txid", "", |_, psbt| {
            // The attack of CVE-2020-14199: the same output, with a lower value.
            let previous = psbt.inputs[0].non_witness_utxo.as_mut().expect("there");
            previous.output[0].value -= Amount::from_sat(10_000);
            let claimed = previous.output[0].clone();
            psbt.inputs[0].witness_utxo.iter_mut().for_each(|utxo| *utxo = claimed.clone());
        });
        self.refused("utxo-vout", "", |_, psbt| psbt.unsigned_tx.input[1].previous_output.vout = 1);
        self.refused("utxo-vout", "highest", |_, psbt| {
            psbt.unsigned_tx.input[0].previous_output.vout = u32::MAX;
        });
        self.refused("utxo-disagree", "amount", |bench, psbt| {
            let script_pubkey = script_at(bench.watch, Chain::External, 0);
            let value = Amount::from_sat(INPUT - 1);
            psbt.inputs[0].witness_utxo = Some(TxOut { value, script_pubkey });
        });
        self.refused("utxo-disagree", "script", |_, psbt| {
            let value = Amount::from_sat(INPUT);
            psbt.inputs[0].witness_utxo = Some(TxOut { value, script_pubkey: stranger() });
        });
        let over = Amount::from_sat(Amount::MAX_MONEY.to_sat() + 1);
        self.refused("amount-range", "output", move |_, psbt| psbt.unsigned_tx.output[0].value = over);
        self.refused("amount-range", "sum", |_, psbt| {
            let half = Amount::from_sat(Amount::MAX_MONEY.to_sat() / 2 + 1);
            psbt.unsigned_tx.output.iter_mut().for_each(|output| output.value = half);
        });
        self.refused("amount-range", "sum-that-wraps", |_, psbt| {
            psbt.unsigned_tx.output[0].value = Amount::from_sat(u64::MAX - 1);
            psbt.unsigned_tx.output[1].value = Amount::from_sat(2);
        });
        self.refused("amount-range", "negative-fee", |_, psbt| {
            psbt.unsigned_tx.output[0].value += Amount::from_sat(FEE * u64::from(INPUTS) + 1);
        });
        self.refused("amount-range", "input", move |bench, psbt| bench.respend(psbt, 0, 0, over.to_sat()));
        let fee = FEE * u64::from(INPUTS);
        let cap = format!("max_transaction_sat = 1000000\nmax_fee_sat = {}", fee - 1);
        self.push("fee-cap", "satoshi", "policy fee-cap", &cap, |_, _| {});
        let rate = "max_transaction_sat = 1000000\nmax_fee_sat = 100000\nmax_fee_sat_per_vbyte = 1";
        self.push("fee-cap", "rate", "policy fee-cap", rate, |_, _| {});
        let share = "max_transaction_sat = 1000000\nmax_fee_sat = 100000\nmax_fee_percent = 3";
        self.push("fee-cap", "share", "policy fee-cap", share, |_, _| {});
        let most = format!("max_transaction_sat = {}\nmax_fee_sat = 100000", PAID + fee - 1);
        self.push("transaction-max", "", "policy transaction-max", &most, |_, _| {});
        self.lists();
    }

    fn lists(&mut self) {
        let leaves = format!("leaves {}", PAID + FEE * u64::from(INPUTS));
        let listed = |key: &str| format!("{UNLIMITED}\n{key} = [\"script:{}\"]", stranger().to_hex_string());
        let (allow, deny) = (listed("allowlist"), listed("denylist"));
        let both = format!("{allow}\n{}", deny.lines().last().expect("two lines"));
        let none = format!("{UNLIMITED}\nallowlist = []");
        let own = good_psbt(self.watch, INPUTS).unsigned_tx.output[1].script_pubkey.to_hex_string();
        let own = format!("{UNLIMITED}\ndenylist = [\"script:{own}\"]");
        self.push("allowlist", "listed", &*leaves, &allow, |_, _| {});
        self.push("allowlist", "nobody", "policy allowlist", &none, |_, _| {});
        self.push("allowlist", "unproved-change", "policy allowlist", &allow, |_, psbt| {
            psbt.outputs[1] = Default::default();
        });
        self.push("allowlist", "op-return", "policy allowlist", &allow, |_, psbt| {
            let script_pubkey = ScriptBuf::new_op_return([7; 4]);
            psbt.unsigned_tx.output.push(TxOut { value: Amount::ZERO, script_pubkey });
            psbt.outputs.push(Default::default());
        });
        self.push("denylist", "", "policy denylist", &deny, |_, _| {});
        self.push("denylist", "allowed", "policy denylist", &both, |_, _| {});
        self.push("denylist", "own-change", "policy denylist", &own, |_, _| {});
        self.push("denylist", "another", &*leaves, &deny, |bench, psbt| {
            let another = SecretKey::from_slice(&[0x52; 32]).expect("a key").public_key(bench.secp);
            psbt.unsigned_tx.output[0].script_pubkey = script_pubkey(&another);
        });
    }

    fn change(&mut self) {
        let all = format!("leaves {ALL_OF_IT}");
        // An output that shows our key in its own script is refused. One that only claims our key counts as
        // spent.
        self.push("change-fraud", "paid-to-a-stranger", &*all, UNLIMITED, |_, psbt| {
            psbt.unsigned_tx.output[1].script_pubkey = stranger();
            let output = &mut psbt.outputs[1];
            (output.redeem_script, output.witness_script) = (None, None);
            (output.tap_internal_key, output.tap_tree) = (None, None);
        });
        self.push("change-fraud", "paid-to-a-key-that-is-not-ours", &*all, UNLIMITED, |bench, psbt| {
            let foreign = SecretKey::from_slice(&[0x51; 32]).expect("a key").public_key(bench.secp);
            let path = bench.our_path(Chain::Internal, 3);
            psbt.outputs[1] = Default::default();
            psbt.outputs[1].bip32_derivation.insert(foreign, (bench.watch.master_fingerprint(), path));
            psbt.unsigned_tx.output[1].script_pubkey = script_pubkey(&foreign);
        });
        self.push("change-fraud", "without-a-claim", &*all, UNLIMITED, |_, psbt| {
            psbt.outputs[1] = Default::default();
        });
        self.push("change-fraud", "hidden-input", &*all, UNLIMITED, |_, psbt| {
            // With an input that is not proved ours, nothing counts as coming back.
            psbt.inputs[1].bip32_derivation.clear();
            psbt.inputs[1].tap_key_origins.clear();
        });
        for (what, path) in [
            ("other-account", "48'/1'/9'/2'/1/3"),
            ("other-chain", "@/2/3"),
            ("hardened-chain", "@/1'/3"),
            ("hardened-index", "@/1/3'"),
            ("too-short", "@/1"),
            ("too-long", "@/1/3/0"),
            ("out-of-reach", "@/1/1000"),
            ("highest-index", "@/1/2147483647"),
        ] {
            self.refused("change-path", what, |bench, psbt| {
                let path = bench.path(path);
                bench.edit_output_claim(psbt, path);
            });
        }
        self.refused("change-path", "ours-truly-but-out-of-reach", |bench, psbt| {
            psbt.outputs[1] = Default::default();
            psbt.unsigned_tx.output[1].script_pubkey = script_at(bench.watch, Chain::Internal, 1_000);
            let descriptor = descriptor_at(bench.watch, Chain::Internal, 1_000);
            psbt.update_output_with_descriptor(1, &descriptor).expect("the change");
        });
        // Coins at 1,500 and 1,501 admit change up to 2,501 on their chain, and up to 1,501 on the other.
        let far = |(chain, index): (Chain, u32)| {
            move |bench: &Bench<'_>, psbt: &mut Psbt| {
                bench.respend(psbt, 0, 1_500, INPUT);
                bench.respend(psbt, 1, 1_501, INPUT);
                psbt.outputs[1] = Default::default();
                psbt.unsigned_tx.output[1].script_pubkey = script_at(bench.watch, chain, index);
                let descriptor = descriptor_at(bench.watch, chain, index);
                psbt.update_output_with_descriptor(1, &descriptor).expect("the change");
            }
        };
        let leaves = format!("leaves {}", PAID + FEE * u64::from(INPUTS));
        self.push("change-path", "near-an-input", &*leaves, UNLIMITED, far((Chain::External, 2_501)));
        self.push("change-path", "at-an-input-s-index", &*leaves, UNLIMITED, far((Chain::Internal, 1_501)));
        self.refused("change-path", "beyond-an-input", far((Chain::External, 2_502)));
        self.refused("change-path", "beyond-an-input-s-index", far((Chain::Internal, 1_502)));
        for (what, template, keys) in self.other_multisigs() {
            self.refused("change-multisig", what, |bench, psbt| {
                // Our key in a wallet that somebody else made with it.
                let ours = bench.our_key_info();
                let keys: Vec<String> = keys
                    .iter()
                    .map(|name| if *name == "ours" { ours.clone() } else { Cosigner::named(name).key() })
                    .collect();
                let descriptor = filled(template, &keys);
                psbt.outputs[1] = Default::default();
                psbt.unsigned_tx.output[1].script_pubkey =
                    descriptor.derived_descriptor(bench.secp).script_pubkey();
                psbt.update_output_with_descriptor(1, &descriptor).expect("its own change");
            });
        }
    }

    /// Wallets that contain our key and are not the registered one.
    fn other_multisigs(&self) -> Vec<(&'static str, &'static str, Vec<&'static str>)> {
        match self.script.name {
            "sh-multi" => vec![
                ("threshold", "sh(multi(1,@0/**,@1/**))", vec!["A", "ours"]),
                ("order", "sh(multi(2,@0/**,@1/**))", vec!["ours", "A"]),
                ("cosigner", "sh(multi(2,@0/**,@1/**))", vec!["C", "ours"]),
            ],
            "wsh-multi" => vec![
                ("threshold", "wsh(multi(1,@0/**,@1/**))", vec!["A", "ours"]),
                ("order", "wsh(multi(2,@0/**,@1/**))", vec!["ours", "A"]),
                ("cosigner", "wsh(multi(2,@0/**,@1/**))", vec!["C", "ours"]),
                ("one-more", "wsh(multi(2,@0/**,@1/**,@2/**))", vec!["A", "ours", "C"]),
            ],
            "sh-sortedmulti" => vec![
                ("threshold", "sh(sortedmulti(1,@0/**,@1/**,@2/**))", vec!["A", "ours", "B"]),
                ("cosigner", "sh(sortedmulti(2,@0/**,@1/**,@2/**))", vec!["A", "ours", "C"]),
            ],
            "sh-wsh-sortedmulti" => vec![
                ("threshold", "sh(wsh(sortedmulti(1,@0/**,@1/**,@2/**)))", vec!["A", "ours", "B"]),
                ("cosigner", "sh(wsh(sortedmulti(2,@0/**,@1/**,@2/**)))", vec!["A", "ours", "C"]),
                ("wrapping", "wsh(sortedmulti(2,@0/**,@1/**,@2/**))", vec!["A", "ours", "B"]),
            ],
            "wsh-sortedmulti" => vec![
                ("threshold", "wsh(sortedmulti(1,@0/**,@1/**,@2/**))", vec!["A", "ours", "B"]),
                ("cosigner", "wsh(sortedmulti(2,@0/**,@1/**,@2/**))", vec!["A", "ours", "C"]),
                ("one-fewer", "wsh(sortedmulti(2,@0/**,@1/**))", vec!["A", "ours"]),
            ],
            "wsh-one-of-several" => {
                vec![("cosigner", "wsh(and_v(v:pk(@0/**),multi(1,@1/**,@2/**)))", vec!["A", "ours", "B"])]
            }
            "wsh-recovery" => vec![
                (
                    "sooner",
                    "wsh(or_d(multi(2,@0/<0;1>/*,@1/**),and_v(v:pk(@0/<2;3>/*),older(1))))",
                    vec!["A", "ours"],
                ),
                (
                    "threshold",
                    "wsh(or_d(multi(1,@0/<0;1>/*,@1/**),and_v(v:pk(@0/<2;3>/*),older(144))))",
                    vec!["A", "ours"],
                ),
            ],
            "tr-key-of-tree" => vec![("sooner", "tr(@0/**,and_v(v:pk(@1/**),older(1)))", vec!["ours", "A"])],
            "tr-leaf" => vec![("internal-key", "tr(@0/**,pk(@1/**))", vec!["B", "ours"])],
            "tr-multi-a" => vec![
                ("threshold", "tr(@0/**,multi_a(1,@1/**,@2/**))", vec!["C", "A", "ours"]),
                ("order", "tr(@0/**,multi_a(2,@1/**,@2/**))", vec!["C", "ours", "A"]),
            ],
            "tr-tree" => vec![(
                "sooner",
                "tr(@0/**,{and_v(v:pk(@1/**),older(1)),and_v(v:pk(@2/**),pk(@3/**))})",
                vec!["C", "B", "A", "ours"],
            )],
            _ => vec![],
        }
    }

    fn ownership(&mut self) {
        let script = || ScriptBuf::from_bytes(vec![0x51]);
        self.refused("script-mismatch", "redeem-script", |_, psbt| {
            psbt.inputs[0].redeem_script = Some(script());
        });
        self.refused("script-mismatch", "witness-script", |_, psbt| {
            psbt.inputs[0].witness_script = Some(script());
        });
        self.refused("script-mismatch", "redeem-script-of-an-output", |_, psbt| {
            psbt.outputs[1].redeem_script = Some(script());
        });
        self.refused("script-mismatch", "witness-script-of-an-output", |_, psbt| {
            psbt.outputs[0].witness_script = Some(script());
        });
        self.refused("script-mismatch", "prevout-of-a-stranger", |_, psbt| {
            let previous = funding(stranger(), INPUT, 0);
            psbt.unsigned_tx.input[0].previous_output = OutPoint::new(previous.compute_txid(), 0);
            psbt.inputs[0].witness_utxo = Some(previous.output[0].clone());
            psbt.inputs[0].non_witness_utxo = Some(previous);
            (psbt.inputs[0].redeem_script, psbt.inputs[0].witness_script) = (None, None);
            psbt.inputs[0].tap_scripts.clear();
        });
        self.refused("script-mismatch", "prevout-of-another-address", |bench, psbt| {
            // The output is the wallet's, but not at the claimed path.
            let claimed = psbt.inputs[0].clone();
            bench.respend(psbt, 0, 7, INPUT);
            psbt.inputs[0].bip32_derivation = claimed.bip32_derivation;
            psbt.inputs[0].tap_key_origins = claimed.tap_key_origins;
        });
        if self.script.is_taproot() {
            let other = SecretKey::from_slice(&[0x52; 32]).expect("a key").public_key(self.secp);
            let other = other.x_only_public_key().0;
            self.refused("script-mismatch", "internal-key", move |_, psbt| {
                psbt.inputs[0].tap_internal_key = Some(other);
            });
            self.refused("script-mismatch", "internal-key-of-an-output", move |_, psbt| {
                psbt.outputs[1].tap_internal_key = Some(other);
            });
            self.refused("script-mismatch", "merkle-root", |_, psbt| {
                psbt.inputs[0].tap_merkle_root = Some("07".repeat(32).parse().expect("a hash"));
            });
            self.refused("script-mismatch", "leaf", |_, psbt| {
                let secp = Secp256k1::new();
                let leaf = (script(), bitcoin::taproot::LeafVersion::TapScript);
                let builder = bitcoin::taproot::TaprootBuilder::new();
                let info = builder.add_leaf(0, script()).expect("one leaf").finalize(
                    &secp,
                    SecretKey::from_slice(&[0x52; 32]).expect("a key").x_only_public_key(&secp).0,
                );
                let control_block = info.expect("complete").control_block(&leaf).expect("there");
                psbt.inputs[0].tap_scripts.insert(control_block, leaf);
            });
            self.refused("script-mismatch", "tree-of-an-output", |_, psbt| {
                let builder = bitcoin::taproot::TaprootBuilder::new();
                let builder = builder.add_leaf(0, script()).expect("one leaf");
                psbt.outputs[1].tap_tree = Some(builder.try_into().expect("complete"));
            });
        }
        self.refused("derived-key", "of-somebody-else", |bench, psbt| {
            bench.replace_key(&mut psbt.inputs[0], SecretKey::from_slice(&[0x51; 32]).expect("a key"));
        });
        self.refused("derived-key", "of-another-index", |bench, psbt| {
            let path = bench.path("@/0/1");
            bench.edit_input_claim(&mut psbt.inputs[0], path);
        });
        self.refused("derived-key", "several", |bench, psbt| {
            let foreign = SecretKey::from_slice(&[0x51; 32]).expect("a key").public_key(bench.secp);
            let origin = (bench.watch.master_fingerprint(), bench.path("@/0/5"));
            if bench.script.is_taproot() {
                psbt.inputs[0].tap_key_origins.insert(foreign.x_only_public_key().0, (vec![], origin));
            } else {
                psbt.inputs[0].bip32_derivation.insert(foreign, origin);
            }
        });
        if self.script.path.is_none_or(|path| path != "m/45'") {
            // The same path with mainnet's coin type.
            self.refused("network", "input", |bench, psbt| {
                let path = bench.on_mainnet(Chain::External, 0);
                bench.edit_input_claim(&mut psbt.inputs[0], path);
            });
            self.refused("network", "output", |bench, psbt| {
                let path = bench.on_mainnet(Chain::Internal, 3);
                bench.edit_output_claim(psbt, path);
            });
        }
        self.refused("network", "global-xpub", |bench, psbt| {
            let key = Xpriv::new_master(NetworkKind::Main, &[1; 32]).expect("a key");
            let origin = (bench.watch.master_fingerprint(), DerivationPath::master());
            psbt.xpub.insert(Xpub::from_priv(bench.secp, &key), origin);
        });
        self.refused("mixed-wallets", "sibling", |bench, psbt| {
            let key = SecretKey::from_slice(&[0x51; 32]).expect("a key").public_key(bench.secp);
            add_stranger(psbt, |input| {
                let path = "84'/1'/0'/0/0".parse().expect("a path");
                input.bip32_derivation.insert(key, (Fingerprint::from(SIBLING), path));
            });
        });
        self.refused("mixed-wallets", "other-account", |bench, psbt| {
            let path = bench.path("48'/1'/9'/2'/0/0");
            bench.edit_input_claim(&mut psbt.inputs[1], path);
        });
    }

    fn structure(&mut self) {
        for (what, asked) in [
            ("none", 2u32),
            ("single", 3),
            ("all-anyone", 0x81),
            ("none-anyone", 0x82),
            ("single-anyone", 0x83),
        ] {
            self.refused("sighash-type", what, move |_, psbt| {
                psbt.inputs[1].sighash_type = Some(PsbtSighashType::from_u32(asked));
            });
        }
        self.refused("sighash-type", "unknown", |_, psbt| {
            psbt.inputs[0].sighash_type = Some(PsbtSighashType::from_u32(0x101));
        });
        if !self.script.is_taproot() {
            self.refused("sighash-type", "default", |_, psbt| {
                psbt.inputs[0].sighash_type = Some(PsbtSighashType::from_u32(0));
            });
        }
        self.refused("duplicate-input", "", |_, psbt| {
            psbt.inputs[1] = psbt.inputs[0].clone();
            psbt.unsigned_tx.input[1] = psbt.unsigned_tx.input[0].clone();
        });
        self.refused("duplicate-input", "another-sequence", |_, psbt| {
            psbt.inputs[1] = psbt.inputs[0].clone();
            psbt.unsigned_tx.input[1] =
                TxIn { sequence: Sequence::ZERO, ..psbt.unsigned_tx.input[0].clone() };
        });
        self.refused("no-outputs", "", |_, psbt| {
            psbt.unsigned_tx.output.clear();
            psbt.outputs.clear();
        });
        self.refused("no-input-of-ours", "without-derivations", |_, psbt| {
            for input in &mut psbt.inputs {
                input.bip32_derivation.clear();
                input.tap_key_origins.clear();
            }
        });
        self.refused("no-input-of-ours", "other-fingerprint", |bench, psbt| {
            let ours = bench.watch.master_fingerprint();
            let other = |(fingerprint, _): &mut KeySource| {
                if *fingerprint == ours {
                    *fingerprint = Fingerprint::from([9; 4]);
                }
            };
            for input in &mut psbt.inputs {
                input.bip32_derivation.values_mut().for_each(other);
                input.tap_key_origins.values_mut().for_each(|(_, origin)| other(origin));
            }
        });
        self.refused("already-final", "witness", |_, psbt| {
            psbt.inputs[0].final_script_witness = Some(Witness::from_slice(&[[1; 71].as_slice(), &[2; 33]]));
        });
        self.refused("already-final", "script-sig", |_, psbt| {
            psbt.inputs[1].final_script_sig = Some(ScriptBuf::from_bytes(vec![1, 1]));
        });
        self.refused("op-return-value", "", |_, psbt| {
            psbt.unsigned_tx.output[0].script_pubkey = ScriptBuf::from_bytes(vec![0x6a, 4, 1, 2, 3, 4]);
        });
    }

    /// Attacks that would sign a message by BIP 322, as a transaction that moves nothing.
    fn messages(&mut self) {
        let ours = |bench: &Bench<'_>| script_at(bench.watch, Chain::External, 0);
        for (what, version, more) in
            [("to-sign", 0, 0), ("to-sign-version-2", 2, 0), ("proof-of-funds", 0, 1)]
        {
            self.refused("message", what, move |bench, psbt| {
                respend(psbt, to_spend(ours(bench)));
                pay_nobody(psbt);
                psbt.unsigned_tx.input.truncate(1 + more);
                psbt.inputs.truncate(1 + more);
                psbt.unsigned_tx.version = bitcoin::transaction::Version(version);
            });
        }
        self.refused("message", "without-to-spend", move |bench, psbt| {
            respend(psbt, to_spend(ours(bench)));
            pay_nobody(psbt);
            let challenge = to_spend(ours(bench)).output[0].clone();
            psbt.inputs[0].witness_utxo = Some(challenge);
            psbt.inputs[0].non_witness_utxo = None;
        });
        self.refused("message", "field", |_, psbt| {
            psbt.unknown.insert(Key { type_value: 0x09, key: vec![] }, b"Hello World".to_vec());
        });
        self.refused("message", "proof-of-reserves", |_, psbt| {
            psbt.inputs[0].unknown.insert(Key { type_value: 0x09, key: vec![] }, b"Hello World".to_vec());
        });
        let all = format!("leaves {ALL_OF_IT}");
        // A child that pays for its parent spends an anchor without value, and moves something.
        self.push("message", "none-by-an-anchor", all, UNLIMITED, |_, psbt| {
            let mut parent = funding(stranger(), INPUT, 98);
            parent.output[0] = anchor(0);
            let spent = OutPoint::new(parent.compute_txid(), 0);
            psbt.unsigned_tx.input.insert(0, TxIn { previous_output: spent, ..TxIn::default() });
            let utxo = Some(parent.output[0].clone());
            let input = Input { witness_utxo: utxo, non_witness_utxo: Some(parent), ..Input::default() };
            psbt.inputs.insert(0, input);
        });
    }

    fn signatures(&mut self) {
        if let [cosigner, ..] = self.script.with {
            let cosigner = Cosigner::named(cosigner);
            let fingerprint = cosigner.fingerprint();
            let policy = format!("{UNLIMITED}\nrequire_cosigner = \"{fingerprint}\"");
            self.push("require-cosigner", "unsigned", "refused require-cosigner", &policy, |_, _| {});
            self.push(
                "require-cosigner",
                "one-input-unsigned",
                "refused require-cosigner",
                &policy,
                |_, psbt| {
                    cosigner.sign(psbt);
                    psbt.inputs[1].partial_sigs.clear();
                    psbt.inputs[1].tap_script_sigs.clear();
                },
            );
            let leaves = format!("leaves {}", PAID + FEE * u64::from(INPUTS));
            self.push("require-cosigner", "signed", leaves, &policy, |_, psbt| cosigner.sign(psbt));
            self.push(
                "foreign-partial-sig",
                "of-another-transaction",
                "refused foreign-partial-sig",
                &policy,
                |_, psbt| {
                    cosigner.sign(psbt);
                    psbt.unsigned_tx.output[0].value -= Amount::ONE_SAT;
                },
            );
            self.push(
                "foreign-partial-sig",
                "of-another-input",
                "refused foreign-partial-sig",
                &policy,
                |_, psbt| {
                    cosigner.sign(psbt);
                    let (first, second) = psbt.inputs.split_at_mut(1);
                    std::mem::swap(&mut first[0].partial_sigs, &mut second[0].partial_sigs);
                    std::mem::swap(&mut first[0].tap_script_sigs, &mut second[0].tap_script_sigs);
                },
            );
            self.push("sighash-type", "of-a-signature", "refused sighash-type", &policy, |_, psbt| {
                cosigner.sign(psbt);
                for signature in psbt.inputs[0].partial_sigs.values_mut() {
                    signature.sighash_type = bitcoin::sighash::EcdsaSighashType::AllPlusAnyoneCanPay;
                }
                for signature in psbt.inputs[0].tap_script_sigs.values_mut() {
                    signature.sighash_type = bitcoin::sighash::TapSighashType::None;
                }
            });
        }
        self.refused("foreign-partial-sig", "in-our-name", |bench, psbt| {
            let garbage = SecretKey::from_slice(&[0x53; 32]).expect("a key");
            bench.sign_in_our_name(psbt, garbage);
        });
    }

    fn bytes(&mut self) {
        let good = good_psbt(self.watch, INPUTS);
        let mut case = |tag, what, expect: &str, psbt: Vec<u8>| {
            self.cases.push(Case { tag, what, expect: expect.into(), policy: UNLIMITED.into(), psbt });
        };
        let mut doubled = maps::read(&good.serialize());
        let again = doubled[1][0].clone();
        doubled[1].push(again);
        case("duplicate-key", "", "no psbt", maps::write(&doubled));
        let mut unknown = maps::read(&good.serialize());
        unknown[2].extend([(vec![0xee, 1], vec![1]), (vec![0xee, 1], vec![2])]);
        case("duplicate-key", "unknown", "no psbt", maps::write(&unknown));
        case("trailing-bytes", "", "no psbt", [&good.serialize()[..], &[0]].concat());
        case("trailing-bytes", "a-map", "no psbt", [&good.serialize()[..], &[1, 0x77, 1, 9, 0]].concat());
        let mut long_key = good;
        long_key.inputs[0].unknown.insert(Key { type_value: 0xee, key: vec![7; 8_192] }, vec![]);
        case("oversize", "key", "oversize", long_key.serialize());
    }

    /// The path of an address; `@` is the account's.
    fn path(&self, path: &str) -> DerivationPath {
        path.replace('@', &self.account()).parse().expect("a path")
    }

    fn our_path(&self, chain: Chain, index: u32) -> DerivationPath {
        self.path(&format!("@/{}/{index}", chain as u32))
    }

    fn on_mainnet(&self, chain: Chain, index: u32) -> DerivationPath {
        let path = self.our_path(chain, index).to_string();
        path.replacen("/1'/", "/0'/", 1).parse().expect("a path")
    }

    fn account(&self) -> String {
        let info = self.our_key_info();
        let (origin, _) = info.split_once(']').expect("an origin");
        origin.split_once('/').expect("a path").1.to_owned()
    }

    /// Our key as the wallet policy lists it.
    fn our_key_info(&self) -> String {
        let ours = format!("[{}/", self.watch.master_fingerprint());
        self.watch.policy().lines().find(|line| line.starts_with(&ours)).expect("our key").to_owned()
    }

    /// Makes input `index` spend another external address of the wallet.
    fn respend(&self, psbt: &mut Psbt, index: usize, address: u32, value: u64) {
        let previous = funding(script_at(self.watch, Chain::External, address), value, 40);
        psbt.unsigned_tx.input[index].previous_output = OutPoint::new(previous.compute_txid(), 0);
        psbt.inputs[index] = Input::default();
        update_input(psbt, index, self.watch, previous, address);
    }

    fn edit_input_claim(&self, input: &mut Input, path: DerivationPath) {
        let ours = self.watch.master_fingerprint();
        let origins = input.bip32_derivation.values_mut();
        let origins = origins.chain(input.tap_key_origins.values_mut().map(|(_, origin)| origin));
        origins.filter(|(fingerprint, _)| *fingerprint == ours).for_each(|(_, there)| *there = path.clone());
    }

    fn edit_output_claim(&self, psbt: &mut Psbt, path: DerivationPath) {
        let ours = self.watch.master_fingerprint();
        let output = &mut psbt.outputs[1];
        let origins = output.bip32_derivation.values_mut();
        let origins = origins.chain(output.tap_key_origins.values_mut().map(|(_, origin)| origin));
        origins.filter(|(fingerprint, _)| *fingerprint == ours).for_each(|(_, there)| *there = path.clone());
    }

    /// Puts another key in place of ours.
    fn replace_key(&self, input: &mut Input, secret: SecretKey) {
        let ours = self.watch.master_fingerprint();
        let key: PublicKey = secret.public_key(self.secp);
        let there = input.bip32_derivation.iter().find(|(_, (fingerprint, _))| *fingerprint == ours);
        if let Some((old, _)) = there.map(|(old, origin)| (*old, origin.clone())) {
            let origin = input.bip32_derivation.remove(&old).expect("there");
            input.bip32_derivation.insert(key, origin);
        }
        let there = input.tap_key_origins.iter().find(|(_, (_, (fingerprint, _)))| *fingerprint == ours);
        if let Some(old) = there.map(|(old, _)| *old) {
            let origin = input.tap_key_origins.remove(&old).expect("there");
            input.tap_key_origins.insert(key.x_only_public_key().0, origin);
        }
    }

    /// Adds a signature by somebody else where ours would be, under our key.
    fn sign_in_our_name(&self, psbt: &mut Psbt, secret: SecretKey) {
        use bitcoin::secp256k1::{Keypair, Message};
        let ours = self.watch.master_fingerprint();
        let message = Message::from_digest([7; 32]);
        let input = &mut psbt.inputs[0];
        let key = input.bip32_derivation.iter().find(|(_, (fingerprint, _))| *fingerprint == ours);
        if let Some(key) = key.map(|(key, _)| bitcoin::PublicKey::new(*key)) {
            let signature = bitcoin::ecdsa::Signature::sighash_all(self.secp.sign_ecdsa(&message, &secret));
            input.partial_sigs.insert(key, signature);
        }
        let key = input.tap_key_origins.iter().find(|(_, (_, (fingerprint, _)))| *fingerprint == ours);
        if let Some((key, leaves)) = key.map(|(key, (leaves, _))| (*key, leaves.clone())) {
            let keypair = Keypair::from_secret_key(self.secp, &secret);
            let signature = bitcoin::taproot::Signature {
                signature: self.secp.sign_schnorr_no_aux_rand(&message, &keypair),
                sighash_type: bitcoin::sighash::TapSighashType::Default,
            };
            match leaves.first() {
                None => input.tap_key_sig = Some(signature),
                Some(leaf) => drop(input.tap_script_sigs.insert((key, *leaf), signature)),
            }
        }
    }
}

/// The address at index 3 of the internal chain of another wallet policy.
fn filled(template: &str, keys: &[String]) -> miniscript::Descriptor<miniscript::DefiniteDescriptorKey> {
    use miniscript::descriptor::{KeyInfo, WalletPolicy};
    let mut policy: WalletPolicy = template.parse().expect("a template");
    let keys = keys.iter().map(|key| key.parse::<KeyInfo>().expect("a key")).collect();
    policy.set_key_info(keys).expect("as many keys");
    let chains = policy.into_descriptor().expect("filled").into_single_descriptors().expect("two chains");
    chains[1].at_derivation_index(3).expect("in range")
}

/// Adds an input of a stranger, worth as much as ours.
fn add_stranger(psbt: &mut Psbt, change: impl FnOnce(&mut Input)) {
    let previous: Transaction = funding(stranger(), INPUT, 99);
    psbt.unsigned_tx
        .input
        .push(TxIn { previous_output: OutPoint::new(previous.compute_txid(), 0), ..TxIn::default() });
    let mut input = Input {
        witness_utxo: Some(previous.output[0].clone()),
        non_witness_utxo: Some(previous),
        ..Input::default()
    };
    change(&mut input);
    psbt.inputs.push(input);
}

fn taproot_output() -> TxOut {
    TxOut {
        value: Amount::from_sat(INPUT),
        script_pubkey: ScriptBuf::from_bytes([&[0x51, 0x20][..], &[7; 32]].concat()),
    }
}
