//! Every script type that the module signs for, with cosigners whose keys the tests know.
//!
//! miniscript does the work of Updater and Finalizer (BIP 174), from the descriptor that the module shows.
//! Nothing here knows how the module derives, rebuilds or signs.

use core::str::FromStr;

use bitcoin::absolute::LockTime;
use bitcoin::bip32::{DerivationPath, Xpriv, Xpub};
use bitcoin::psbt::Psbt;
use bitcoin::secp256k1::{All, Secp256k1};
use bitcoin::sighash::SighashCache;
use bitcoin::{
    Amount, NetworkKind, OutPoint, PrivateKey, ScriptBuf, Sequence, Transaction, TxIn, TxOut, transaction,
};
use miniscript::psbt::PsbtExt;
use miniscript::{DefiniteDescriptorKey, Descriptor, DescriptorPublicKey};
use zeroize::Zeroizing;

use countersign::admin::KeyTerms;
use countersign::admin::NewScript;
use countersign::kernel::network::Network;
use countersign::kernel::seal::{Kind, RecordKey};
use countersign::kernel::wallet::{Chain, Wallet, WalletParts, WalletRecord, WatchOnly, registration};

use super::{FEE, INPUT, PAID, funding, recorded, stranger};

/// A script type, given by its wallet policy. `A`, `B` and `C` stand for the cosigners' keys.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    pub name: &'static str,
    pub template: &'static str,
    pub keys: &'static [&'static str],
    pub path: Option<&'static str>,
    /// The cosigners whose signatures complete ours.
    pub with: &'static [&'static str],
}

const fn script(
    name: &'static str,
    template: &'static str,
    keys: &'static [&'static str],
    path: Option<&'static str>,
    with: &'static [&'static str],
) -> Script {
    Script { name, template, keys, path, with }
}

/// Every script type that custodians hold coins in: single keys, multisig in each of its wrappings,
/// miniscript with a timelocked way out, taproot by key and by leaf.
pub const SCRIPTS: &[Script] = &[
    script("pkh", "pkh(@0/**)", &["ours"], None, &[]),
    script("wpkh", "wpkh(@0/**)", &["ours"], None, &[]),
    script("sh-wpkh", "sh(wpkh(@0/**))", &["ours"], None, &[]),
    script("tr", "tr(@0/**)", &["ours"], None, &[]),
    script("sh-multi", "sh(multi(2,@0/**,@1/**))", &["A", "ours"], Some("m/45'"), &["A"]),
    script(
        "sh-sortedmulti",
        "sh(sortedmulti(2,@0/**,@1/**,@2/**))",
        &["A", "ours", "B"],
        Some("m/45'"),
        &["B"],
    ),
    script(
        "sh-wsh-sortedmulti",
        "sh(wsh(sortedmulti(2,@0/**,@1/**,@2/**)))",
        &["A", "ours", "B"],
        None,
        &["A"],
    ),
    script("wsh-multi", "wsh(multi(2,@0/**,@1/**))", &["A", "ours"], None, &["A"]),
    script("wsh-sortedmulti", "wsh(sortedmulti(2,@0/**,@1/**,@2/**))", &["A", "ours", "B"], None, &["B"]),
    script(
        "wsh-one-of-several",
        "wsh(and_v(v:pk(@0/**),multi(1,@1/**,@2/**,@3/**)))",
        &["A", "ours", "B", "C"],
        None,
        &["A"],
    ),
    script(
        "wsh-recovery",
        "wsh(or_d(multi(2,@0/<0;1>/*,@1/**),and_v(v:pk(@0/<2;3>/*),older(144))))",
        &["A", "ours"],
        None,
        &["A"],
    ),
    script(
        "tr-key-of-tree",
        "tr(@0/**,and_v(v:pk(@1/**),older(144)))",
        &["ours", "A"],
        Some("m/86'/1'/0'"),
        &[],
    ),
    script("tr-leaf", "tr(@0/**,pk(@1/**))", &["A", "ours"], Some("m/48'/1'/0'/3'"), &[]),
    script(
        "tr-multi-a",
        "tr(@0/**,multi_a(2,@1/**,@2/**))",
        &["C", "A", "ours"],
        Some("m/48'/1'/0'/3'"),
        &["A"],
    ),
    script(
        "tr-tree",
        "tr(@0/**,{and_v(v:pk(@1/**),older(144)),and_v(v:pk(@2/**),pk(@3/**))})",
        &["C", "B", "A", "ours"],
        Some("m/48'/1'/0'/3'"),
        &["A"],
    ),
];

/// Scripts with our key in two branches, at disjoint derivations: together with `A` at once, together with
/// `B` after a timelock.
pub const BRANCHED: &[Script] = &[
    script(
        "wsh-both-branches",
        "wsh(or_d(multi(2,@0/<0;1>/*,@1/<0;1>/*),and_v(v:thresh(2,pkh(@0/<2;3>/*),a:pkh(@1/<2;3>/*),a:pkh(@2/**)),older(144))))",
        &["A", "ours", "B"],
        None,
        &["A"],
    ),
    script(
        "tr-both-branches",
        "tr(@0/**,{and_v(v:multi_a(2,@1/**,@2/<2;3>/*),older(144)),multi_a(2,@3/**,@2/**)})",
        &["C", "B", "ours", "A"],
        Some("m/48'/1'/0'/3'"),
        &["A"],
    ),
];

/// The script type with this name.
pub fn named(name: &str) -> Script {
    *SCRIPTS.iter().chain(BRANCHED).find(|script| script.name == name).expect("a script type")
}

impl Script {
    /// The registration, as a security officer writes it.
    pub fn registration(&self) -> String {
        let key = |name: &&str| if *name == "ours" { "ours".into() } else { Cosigner::named(name).key() };
        let keys: Vec<String> = self.keys.iter().map(key).collect();
        format!("{}\n{}", self.template, keys.join("\n"))
    }

    pub fn to_be_made(self) -> NewScript {
        NewScript { registration: Some(self.registration()), path: self.path.map(str::to_owned) }
    }

    /// A wallet of this script with a seed that the test knows.
    pub fn wallet(&self, secp: &Secp256k1<All>) -> Wallet {
        of_seed_at([9; 64], &self.registration(), self.path, Network::Regtest, secp)
    }

    pub fn is_taproot(&self) -> bool {
        self.template.starts_with("tr(")
    }

    pub fn is_single(&self) -> bool {
        self.keys == ["ours"]
    }
}

/// A wallet with a seed that the test knows, on its standard path.
pub fn of_seed(seed: [u8; 64], registration: &str, network: Network, secp: &Secp256k1<All>) -> Wallet {
    of_seed_at(seed, registration, None, network, secp)
}

fn of_seed_at(
    seed: [u8; 64],
    text: &str,
    path: Option<&str>,
    network: Network,
    secp: &Secp256k1<All>,
) -> Wallet {
    let path = match path {
        Some(path) => registration::parse_path(path, network),
        None => registration::standard_path(text, network),
    };
    let parts = WalletParts {
        terms: KeyTerms {
            label: "w".into(),
            cka_id: vec![],
            users: vec!["alice".into()],
            policy: "unlimited = true".into(),
        },
        network,
        path: path.expect("a path"),
    };
    let mut record = WalletRecord::new(parts, &Zeroizing::new(seed), secp).expect("a wallet");
    record.descriptor = Some(record.descriptor_for(text, secp).expect("registers"));
    Wallet::of(&recorded(RecordKey { kind: Kind::Wallet, id: [0; 16] }, &record), secp).expect("opens")
}

/// The owner of another key in a script.
pub struct Cosigner(Xpriv);

impl Cosigner {
    pub fn named(name: &str) -> Cosigner {
        let seed = [name.as_bytes()[0]; 64];
        Cosigner(Xpriv::new_master(NetworkKind::Test, &seed).expect("a master"))
    }

    fn path() -> DerivationPath {
        "48'/1'/0'/2'".parse().expect("a path")
    }

    pub fn fingerprint(&self) -> bitcoin::bip32::Fingerprint {
        self.0.fingerprint(&Secp256k1::new())
    }

    /// The master key, which the cosigner's backup has.
    pub fn master(&self) -> Xpriv {
        self.0
    }

    /// Its extended public key.
    pub fn xpub(&self) -> Xpub {
        let secp = Secp256k1::new();
        Xpub::from_priv(&secp, &self.0.derive_priv(&secp, &Cosigner::path()).expect("derives"))
    }

    /// The cosigner's key as a wallet policy lists it.
    pub fn key(&self) -> String {
        format!("[{}/{}]{}", self.fingerprint(), Cosigner::path(), self.xpub())
    }

    /// Signs like any other software: with every key that the PSBT attributes to this cosigner.
    pub fn sign(&self, psbt: &mut Psbt) {
        let secp = Secp256k1::new();
        let tx = psbt.unsigned_tx.clone();
        let mut cache = SighashCache::new(&tx);
        for index in 0..psbt.inputs.len() {
            let paths: Vec<DerivationPath> = psbt.inputs[index]
                .bip32_derivation
                .values()
                .map(|(fingerprint, path)| (fingerprint, path))
                .chain(psbt.inputs[index].tap_key_origins.values().map(|(_, (fp, path))| (fp, path)))
                .filter(|(fingerprint, _)| **fingerprint == self.fingerprint())
                .map(|(_, path)| path.clone())
                .collect();
            for path in paths {
                let secret = self.0.derive_priv(&secp, &path).expect("derives").private_key;
                self.sign_input(psbt, index, secret, &mut cache, &secp);
            }
        }
    }

    fn sign_input(
        &self,
        psbt: &mut Psbt,
        index: usize,
        secret: bitcoin::secp256k1::SecretKey,
        cache: &mut SighashCache<&Transaction>,
        secp: &Secp256k1<All>,
    ) {
        use bitcoin::secp256k1::{Keypair, Message};
        use bitcoin::sighash::{Prevouts, TapSighashType};
        let key = secret.public_key(secp);
        let x_only = key.x_only_public_key().0;
        if psbt.inputs[index].bip32_derivation.contains_key(&key) {
            let (message, sighash_type) = psbt.sighash_ecdsa(index, cache).expect("a sighash");
            let signature =
                bitcoin::ecdsa::Signature { signature: secp.sign_ecdsa(&message, &secret), sighash_type };
            let key = PrivateKey::new(secret, NetworkKind::Test).public_key(secp);
            psbt.inputs[index].partial_sigs.insert(key, signature);
        } else if let Some((leaves, _)) = psbt.inputs[index].tap_key_origins.get(&x_only).cloned() {
            let prevouts: Vec<TxOut> =
                psbt.inputs.iter().map(|input| input.witness_utxo.clone().expect("taproot")).collect();
            for leaf in leaves {
                let hash = cache
                    .taproot_script_spend_signature_hash(
                        index,
                        &Prevouts::All(&prevouts),
                        leaf,
                        TapSighashType::Default,
                    )
                    .expect("a sighash");
                let keypair = Keypair::from_secret_key(secp, &secret);
                let signature = secp.sign_schnorr_no_aux_rand(&Message::from(hash), &keypair);
                let sighash_type = TapSighashType::Default;
                psbt.inputs[index]
                    .tap_script_sigs
                    .insert((x_only, leaf), bitcoin::taproot::Signature { signature, sighash_type });
            }
        }
    }
}

/// The descriptor of one address.
pub fn descriptor_at(watch: &WatchOnly, chain: Chain, index: u32) -> Descriptor<DefiniteDescriptorKey> {
    let descriptor = Descriptor::<DescriptorPublicKey>::from_str(watch.descriptor()).expect("a descriptor");
    let chains = descriptor.into_single_descriptors().expect("multipath");
    chains[chain as usize].at_derivation_index(index).expect("in range")
}

/// The script of one address.
pub fn script_at(watch: &WatchOnly, chain: Chain, index: u32) -> ScriptBuf {
    descriptor_at(watch, chain, index).derived_descriptor(&Secp256k1::new()).script_pubkey()
}

/// A PSBT of `watch` that no rule refuses: `inputs` inputs, a payment to a stranger, change at index 3.
pub fn good_psbt(watch: &WatchOnly, inputs: u32) -> Psbt {
    let previous: Vec<Transaction> =
        (0..inputs).map(|index| funding(script_at(watch, Chain::External, index), INPUT, index)).collect();
    let output = |value, script_pubkey| TxOut { value: Amount::from_sat(value), script_pubkey };
    let transaction = Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: previous
            .iter()
            .map(|previous| TxIn {
                previous_output: OutPoint::new(previous.compute_txid(), 0),
                sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
                ..TxIn::default()
            })
            .collect(),
        output: vec![
            output(PAID, stranger()),
            output(
                INPUT * u64::from(inputs) - PAID - FEE * u64::from(inputs),
                script_at(watch, Chain::Internal, 3),
            ),
        ],
    };
    let mut psbt = Psbt::from_unsigned_tx(transaction).expect("nothing is signed");
    for (index, previous) in previous.into_iter().enumerate() {
        update_input(&mut psbt, index, watch, previous, index as u32);
    }
    psbt.update_output_with_descriptor(1, &descriptor_at(watch, Chain::Internal, 3)).expect("the change");
    psbt
}

/// Adds what an Updater adds to an input that spends output 0 of `previous`, at this external address of the
/// wallet.
pub fn update_input(psbt: &mut Psbt, index: usize, watch: &WatchOnly, previous: Transaction, address: u32) {
    if watch.is_segwit() {
        psbt.inputs[index].witness_utxo = Some(previous.output[0].clone());
    }
    psbt.inputs[index].non_witness_utxo = Some(previous);
    psbt.update_input_with_descriptor(index, &descriptor_at(watch, Chain::External, address))
        .expect("the input is the wallet's");
}
