//! Proves what is ours by rebuilding the script from the registered wallet, never by a claim.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bitcoin::bip32::{DerivationPath, Fingerprint};
use bitcoin::psbt::{Input, Output};
use bitcoin::{Script, Transaction, TxOut};

use super::claims::{Claim, Derivations, Located, TapDerivations, claims, fingerprints};
use super::scripts::{check_leaves, check_scripts, check_taproot, check_tree, shows_our_key, taproot_of};
use super::{PsbtError, Surroundings, refuse};
use crate::rule::Rule;
use crate::wallet::{
    Branch, Chain, Elsewhere, GAP_LIMIT, Location, Locks, Place, Reach, Rebuilt, Sketch, Spend, WalletError,
    WatchOnly,
};

/// An input proved ours.
pub(crate) struct OurInput {
    pub(crate) index: usize,
    pub(crate) rebuilt: Arc<Rebuilt>,
    /// The branches for which it requests our signature, at least one.
    asked: Vec<Asked>,
    /// It requests a signature of explicit type ALL: taproot, instead of the shorter DEFAULT.
    pub(crate) asks_all: bool,
}

/// A branch for which an input requests our signature.
struct Asked {
    place: Place,
    /// Our signature is already there, and verifies.
    is_signed: bool,
}

impl OurInput {
    /// Removes branches that must not be signed. Returns `false` if none would be left; then all stay.
    pub(super) fn keep(&mut self, is_kept: impl Fn(&Branch) -> bool) -> bool {
        let rebuilt = &self.rebuilt;
        let is_kept = |asked: &Asked| is_kept(rebuilt.branch(asked.place));
        let any = self.asked.iter().any(is_kept);
        if any {
            self.asked.retain(is_kept);
        }
        any
    }

    /// The branches without our signature.
    pub(crate) fn unsigned(&self) -> impl Iterator<Item = &Branch> {
        self.asked.iter().filter(|asked| !asked.is_signed).map(|asked| self.rebuilt.branch(asked.place))
    }
}

/// Proves what is ours, map by map.
pub(super) struct Prover<'a> {
    wallet: &'a WatchOnly,
    around: &'a Surroundings<'a>,
    transaction: &'a Transaction,
    /// How far outputs may go: as far as the wallet's addresses were used, and near the inputs proved ours.
    admitted: Reach,
    /// Addresses that are claimed more than once, and those of them that were rebuilt, which each is only
    /// once.
    repeated: HashSet<Location>,
    rebuilt: HashMap<Location, Arc<Rebuilt>>,
}

impl<'a> Prover<'a> {
    pub(super) fn new(
        wallet: &'a WatchOnly,
        around: &'a Surroundings<'a>,
        transaction: &'a Transaction,
        repeated: HashSet<Location>,
    ) -> Prover<'a> {
        let (admitted, rebuilt) = (around.reach, HashMap::new());
        Prover { wallet, around, transaction, admitted, repeated, rebuilt }
    }

    /// Proves that input `index` is ours, if it claims to be. `mixed-wallets`, `network`, `derived-key`,
    /// `script-mismatch`, `already-final`.
    pub(super) fn input(
        &mut self,
        index: usize,
        input: &Input,
        prevout: &TxOut,
    ) -> Result<Option<OurInput>, PsbtError> {
        check_scripts("input", index, &input.redeem_script, &input.witness_script, &prevout.script_pubkey)?;
        check_leaves(index, input, &prevout.script_pubkey, self.around.secp)?;
        self.refuse_siblings(index, input)?;
        let claims = self.claims(("input", index), &input.bip32_derivation, &input.tap_key_origins)?;
        let located = Located::of(("input", index), &claims, self.wallet, |elsewhere, path| {
            self.not_our_input(index, elsewhere, path)
        })?;
        located.map(|located| self.prove_input(index, input, prevout, &located)).transpose()
    }

    fn claims<'m>(
        &self,
        map: (&str, usize),
        derivations: &'m Derivations,
        tap: &'m TapDerivations,
    ) -> Result<Vec<Claim<'m>>, PsbtError> {
        claims(map, derivations, tap, self.wallet.master_fingerprint(), self.wallet.places().count())
    }

    fn not_our_input(&self, index: usize, elsewhere: Elsewhere, path: &DerivationPath) -> PsbtError {
        let (ours, path) = (self.wallet.account_path(), shown(path));
        match elsewhere {
            Elsewhere::Network => refuse(
                Rule::Network,
                format!("input {index} has path {path}, with another network's coin type than m/{ours}"),
            ),
            Elsewhere::Hardening => refuse(
                Rule::DerivedKey,
                format!(
                    "input {index} has path {path}, whose hardening differs from this wallet's (m/{ours}): have the wallet \
                     software keep the hardened steps of the key's origin"
                ),
            ),
            Elsewhere::Path => refuse(
                Rule::MixedWallets,
                format!(
                    "input {index} has path {path}, on which this wallet has no address: its keys are below m/{ours}"
                ),
            ),
        }
    }

    /// Refuses a key of another wallet of this token, unless it cosigns in this one.
    fn refuse_siblings(&self, index: usize, input: &Input) -> Result<(), PsbtError> {
        let is_foreign = |fingerprint: &&Fingerprint| {
            // Nearly always the key is of this wallet, and nobody asks about the others.
            let is_of_this = **fingerprint == self.wallet.master_fingerprint()
                || self.wallet.cosigners().any(|cosigner| cosigner == **fingerprint);
            !is_of_this && (self.around.is_sibling)(fingerprint)
        };
        if fingerprints(&input.bip32_derivation, &input.tap_key_origins).any(|there| is_foreign(&there)) {
            return Err(refuse(
                Rule::MixedWallets,
                format!("input {index} is of another wallet of this token"),
            ));
        }
        Ok(())
    }

    fn prove_input(
        &mut self,
        index: usize,
        input: &Input,
        prevout: &TxOut,
        located: &Located<'_>,
    ) -> Result<OurInput, PsbtError> {
        let sketch = self.sketch(located.location)?;
        if !located.holds(&sketch) {
            return Err(refuse(Rule::DerivedKey, format!("the path of input {index} derives another key")));
        }
        let rebuilt = self.complete(located.location, sketch)?;
        if rebuilt.script_pubkey != prevout.script_pubkey {
            return Err(refuse(
                Rule::ScriptMismatch,
                format!("the output that input {index} spends is not this wallet's at its path"),
            ));
        }
        if let Some(taproot) = taproot_of(&rebuilt) {
            let root = input.tap_merkle_root.is_none_or(|root| Some(root) == taproot.merkle_root);
            check_taproot("input", index, input.tap_internal_key, root, &taproot)?;
        }
        if input.final_script_sig.is_some() || input.final_script_witness.is_some() {
            return Err(refuse(Rule::AlreadyFinal, format!("input {index} is already finalised")));
        }
        let locks = Locks {
            version: self.transaction.version,
            lock_time: self.transaction.lock_time,
            sequence: self.transaction.input[index].sequence,
        };
        let asked = located.asked(input, &rebuilt, self.wallet, &locks).into_iter();
        self.admitted = self.admitted.admitting(located.location);
        let asked = asked
            .map(|place| Asked { place, is_signed: has_our_signature(input, rebuilt.branch(place)) })
            .collect();
        Ok(OurInput {
            index,
            asked,
            asks_all: input.sighash_type.is_some_and(super::proof::asks_all),
            rebuilt,
        })
    }

    /// The place of output `index` in the wallet, if it is proved ours. All inputs were checked before.
    /// `change-path`, `network`, and `change-multisig` if the script that comes with it contains our key and
    /// is not the registered one. Any other output that claims our key and does not pay us (`change-fraud`)
    /// is not ours: it counts as spent.
    pub(super) fn output(
        &mut self,
        index: usize,
        output: &Output,
        paid: &Script,
    ) -> Result<Option<Location>, PsbtError> {
        check_scripts("output", index, &output.redeem_script, &output.witness_script, paid)?;
        check_tree(index, output, paid, self.around.secp)?;
        let claims = self.claims(("output", index), &output.bip32_derivation, &output.tap_key_origins)?;
        let located = Located::of(("output", index), &claims, self.wallet, |elsewhere, path| {
            self.not_our_output(index, elsewhere, path)
        })?;
        match located {
            Some(located) => self.prove_output(index, output, paid, &located),
            None => Ok(None),
        }
    }

    fn not_our_output(&self, index: usize, elsewhere: Elsewhere, path: &DerivationPath) -> PsbtError {
        let (ours, path) = (self.wallet.account_path(), shown(path));
        match elsewhere {
            Elsewhere::Network => refuse(
                Rule::Network,
                format!("output {index} has path {path}, with another network's coin type than m/{ours}"),
            ),
            Elsewhere::Hardening => refuse(
                Rule::ChangePath,
                format!(
                    "output {index} has path {path}, whose hardening differs from this wallet's (m/{ours})"
                ),
            ),
            Elsewhere::Path => refuse(
                Rule::ChangePath,
                format!(
                    "output {index} has path {path}, on which this wallet has no address: its keys are below m/{ours}"
                ),
            ),
        }
    }

    fn prove_output(
        &mut self,
        index: usize,
        output: &Output,
        paid: &Script,
        located: &Located<'_>,
    ) -> Result<Option<Location>, PsbtError> {
        let location = located.location;
        if !self.admitted.covers(location) {
            return Err(refuse(Rule::ChangePath, self.too_far(index, location)));
        }
        let sketch = self.sketch(location)?;
        if !located.holds(&sketch) {
            return Ok(None);
        }
        // The others' keys are not derived for an output that cannot be ours.
        if !self.wallet.has_form_of(paid) {
            return self.paid_elsewhere(index, output, &sketch);
        }
        let rebuilt = self.complete(location, sketch)?;
        if rebuilt.script_pubkey.as_script() != paid {
            return self.paid_elsewhere(index, output, &rebuilt.into());
        }
        if let Some(taproot) = taproot_of(&rebuilt) {
            let root =
                output.tap_tree.as_ref().is_none_or(|tree| Some(tree.root_hash()) == taproot.merkle_root);
            check_taproot("output", index, output.tap_internal_key, root, &taproot)?;
        }
        Ok(Some(location))
    }

    /// Our true key in a script that is not the registered one: only a fraud pays there.
    fn paid_elsewhere(
        &self,
        index: usize,
        output: &Output,
        ours: &Sketch,
    ) -> Result<Option<Location>, PsbtError> {
        let is_shown = |place| shows_our_key(output, ours.key(place));
        if self.wallet.cosigners().next().is_some() && self.wallet.places().any(is_shown) {
            return Err(refuse(
                Rule::ChangeMultisig,
                format!(
                    "output {index} has our key with another threshold, other cosigners or another order"
                ),
            ));
        }
        Ok(None)
    }

    fn too_far(&self, index: usize, Location { chain, index: there }: Location) -> String {
        let chain_name = match chain {
            Chain::External => "external",
            Chain::Internal => "internal",
        };
        format!(
            "output {index} is at {chain_name} index {there}, where no wallet would look for it: here the last one is {}, \
             {GAP_LIMIT} past the highest index that the wallet has used or an input spends. If its owner scans further, the \
             administrator can say so: countersign wallet set LABEL --reach N",
            self.admitted.end(chain) - 1
        )
    }

    fn sketch(&self, location: Location) -> Result<Sketch, PsbtError> {
        match self.rebuilt.get(&location) {
            Some(rebuilt) => Ok(Arc::clone(rebuilt).into()),
            None => self.wallet.sketch(location).map_err(not_derived),
        }
    }

    fn complete(&mut self, location: Location, sketch: Sketch) -> Result<Arc<Rebuilt>, PsbtError> {
        let rebuilt = self.wallet.complete(sketch).map_err(not_derived)?;
        if self.repeated.contains(&location) {
            self.rebuilt.insert(location, Arc::clone(&rebuilt));
        }
        Ok(rebuilt)
    }
}

/// A path for a message. A PSBT can have one with thousands of steps, which no log needs.
pub(super) fn shown(path: &DerivationPath) -> String {
    const LONGEST: usize = 12;
    if path.len() <= LONGEST { format!("m/{path}") } else { format!("of {} steps", path.len()) }
}

fn not_derived(error: WalletError) -> PsbtError {
    refuse(Rule::DerivedKey, error.to_string())
}

/// Whether our signature is there. [`super::partial`] checks that it verifies.
fn has_our_signature(input: &Input, ours: &Branch) -> bool {
    match &ours.spend {
        Spend::Legacy(_) | Spend::SegwitV0(_) => {
            input.partial_sigs.contains_key(&bitcoin::PublicKey::new(ours.key))
        }
        Spend::KeyPath(_) => input.tap_key_sig.is_some(),
        Spend::ScriptPath(_, leaf) => {
            input.tap_script_sigs.contains_key(&(ours.key.x_only_public_key().0, *leaf))
        }
    }
}
