//! What is ours: proved by rebuilding the script from the registered wallet, never by a claim.

use bitcoin::bip32::{DerivationPath, Fingerprint, KeySource};
use bitcoin::psbt::{Input, Output};
use bitcoin::secp256k1::{All, PublicKey, Secp256k1};
use bitcoin::taproot::{TapLeafHash, TapNodeHash};
use bitcoin::{Script, ScriptBuf, Transaction, TxOut, XOnlyPublicKey};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::{PsbtError, Surroundings, refuse};
use crate::kernel::rule::Rule;
use crate::kernel::state::Reach;
use crate::kernel::wallet::{
    Branch, Chain, Elsewhere, GAP_LIMIT, Location, Locks, Place, Rebuilt, Sketch, Spend, Taproot,
    WalletError, WatchOnly,
};

/// An input proved ours.
pub(in crate::kernel) struct OurInput {
    pub(in crate::kernel) index: usize,
    pub(in crate::kernel) rebuilt: Arc<Rebuilt>,
    /// The branches that it asks our signature for, at least one.
    asked: Vec<Asked>,
    /// It asks for a signature that says ALL: taproot, in place of the shorter DEFAULT.
    pub(in crate::kernel) asks_all: bool,
}

/// A branch that an input asks our signature for.
struct Asked {
    place: Place,
    /// Our signature is there already, and verifies.
    is_signed: bool,
}

impl OurInput {
    /// Takes out the branches that are not to be signed: `false` where none would be left, and all stay.
    pub(super) fn keep(&mut self, is_kept: impl Fn(&Branch) -> bool) -> bool {
        let rebuilt = &self.rebuilt;
        let is_kept = |asked: &Asked| is_kept(rebuilt.branch(asked.place));
        let any = self.asked.iter().any(is_kept);
        if any {
            self.asked.retain(is_kept);
        }
        any
    }

    /// Those of them for which our signature is not there yet.
    pub(in crate::kernel) fn unsigned(&self) -> impl Iterator<Item = &Branch> {
        self.asked.iter().filter(|asked| !asked.is_signed).map(|asked| self.rebuilt.branch(asked.place))
    }
}

/// A key of ours that an input or output claims, with the path it is said to be at.
struct Claim<'a> {
    key: ClaimedKey,
    path: &'a DerivationPath,
}

enum ClaimedKey {
    Whole(PublicKey),
    XOnly(XOnlyPublicKey),
}

impl ClaimedKey {
    fn is(&self, key: &PublicKey) -> bool {
        match self {
            ClaimedKey::Whole(claimed) => claimed == key,
            ClaimedKey::XOnly(claimed) => *claimed == key.x_only_public_key().0,
        }
    }
}

type Derivations = BTreeMap<PublicKey, KeySource>;
type TapDerivations = BTreeMap<XOnlyPublicKey, (Vec<TapLeafHash>, KeySource)>;

/// All master fingerprints that are named.
fn fingerprints<'a>(
    derivations: &'a Derivations,
    tap: &'a TapDerivations,
) -> impl Iterator<Item = &'a Fingerprint> {
    let plain = derivations.values().map(|(fingerprint, _)| fingerprint);
    plain.chain(tap.values().map(|(_, (fingerprint, _))| fingerprint))
}

/// The keys that are claimed to be `ours`: no more than we have `places` in the script, plain or of taproot; `derived-key`
/// where there are more.
fn claims<'a>(
    (side, index): (&str, usize),
    derivations: &'a Derivations,
    tap: &'a TapDerivations,
    ours: Fingerprint,
    places: usize,
) -> Result<Vec<Claim<'a>>, PsbtError> {
    let plain = derivations
        .iter()
        .filter(|(_, (fingerprint, _))| *fingerprint == ours)
        .map(|(key, (_, path))| Claim { key: ClaimedKey::Whole(*key), path });
    let tap = tap
        .iter()
        .filter(|(_, (_, (fingerprint, _)))| *fingerprint == ours)
        .map(|(key, (_, (_, path)))| Claim { key: ClaimedKey::XOnly(*key), path });
    let claims: Vec<_> = plain.chain(tap).take(places + 1).collect();
    if claims.len() <= places {
        return Ok(claims);
    }
    let detail =
        format!("{side} {index} claims more keys of this wallet than its script has, which is {places}");
    Err(refuse(Rule::DerivedKey, detail))
}

/// Where the claims of one map lead: to one address, each to a place of its own. `derived-key` where they do not. That
/// also bounds the derivations that a list of claims can cost.
struct Located<'a> {
    location: Location,
    claims: Vec<(Place, &'a ClaimedKey)>,
}

impl<'a> Located<'a> {
    /// `None` without a claim; `elsewhere` says what a path means that leads to no address of the wallet.
    fn of(
        (side, index): (&str, usize),
        claims: &'a [Claim<'a>],
        wallet: &WatchOnly,
        elsewhere: impl Fn(Elsewhere, &DerivationPath) -> PsbtError,
    ) -> Result<Option<Located<'a>>, PsbtError> {
        let mut located: Option<Located<'a>> = None;
        for Claim { key, path } in claims {
            let (place, location) = wallet.locate_key(path.as_ref()).map_err(|why| elsewhere(why, path))?;
            let located = located.get_or_insert_with(|| Located { location, claims: Vec::new() });
            if located.location != location || located.claims.iter().any(|(there, _)| *there == place) {
                let detail = format!("{side} {index} claims keys of several addresses of this wallet");
                return Err(refuse(Rule::DerivedKey, detail));
            }
            located.claims.push((place, key));
        }
        Ok(located)
    }

    /// Whether every claimed key is the one that its path derives.
    fn holds(&self, ours: &Sketch) -> bool {
        self.claims.iter().all(|(place, key)| key.is(ours.key(*place)))
    }

    /// The places that are asked for our signature: those claimed, without leaves that the input does not show, and without
    /// branches whose timelock the transaction does not keep. Where nothing would be left, a narrower view is not taken.
    fn asked(&self, input: &Input, rebuilt: &Rebuilt, wallet: &WatchOnly, locks: &Locks) -> Vec<Place> {
        let claimed: Vec<Place> = self.claims.iter().map(|(place, _)| *place).collect();
        let narrowed = |places: Vec<Place>, keep: &dyn Fn(&Place) -> bool| {
            let kept: Vec<Place> = places.iter().copied().filter(keep).collect();
            if kept.is_empty() { places } else { kept }
        };
        let shown: Vec<TapLeafHash> = input
            .tap_scripts
            .values()
            .map(|(script, version)| TapLeafHash::from_script(script, *version))
            .collect();
        let is_shown = |place: &Place| match &rebuilt.branch(*place).spend {
            Spend::ScriptPath(_, leaf) => shown.is_empty() || shown.contains(leaf),
            Spend::Legacy(_) | Spend::SegwitV0(_) | Spend::KeyPath(_) => true,
        };
        narrowed(narrowed(claimed, &is_shown), &|place| wallet.leads_to(*place, locks))
    }
}

/// Proves what is ours, map by map.
pub(super) struct Prover<'a> {
    wallet: &'a WatchOnly,
    around: &'a Surroundings<'a>,
    transaction: &'a Transaction,
    /// How far outputs may go: as far as the wallet's addresses have been used, and near the inputs proved ours.
    admitted: Reach,
    /// Addresses that are claimed more than once, and those of them that were rebuilt: each is, once.
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

    /// Proves input `index` ours, where it claims to be. `mixed-wallets`, `network`, `derived-key`, `script-mismatch`,
    /// `already-final`.
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
        let ours = self.wallet.account_path();
        match elsewhere {
            Elsewhere::Network => refuse(
                Rule::Network,
                format!("input {index} has path m/{path}, with another network's coin type than m/{ours}"),
            ),
            Elsewhere::Hardening => refuse(
                Rule::DerivedKey,
                format!(
                    "input {index} has path m/{path}, whose hardening differs from this wallet's (m/{ours}): have the wallet \
                     software keep the hardened steps of the key's origin"
                ),
            ),
            Elsewhere::Path => refuse(
                Rule::MixedWallets,
                format!(
                    "input {index} has path m/{path}, on which this wallet has no address: its keys are below m/{ours}"
                ),
            ),
        }
    }

    /// A key of another wallet of this token, unless it cosigns in this one.
    fn refuse_siblings(&self, index: usize, input: &Input) -> Result<(), PsbtError> {
        let is_foreign = |fingerprint: &&Fingerprint| {
            (self.around.is_sibling)(fingerprint)
                && !self.wallet.cosigners().any(|cosigner| cosigner == **fingerprint)
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
        Ok(OurInput { index, asked, asks_all: input.sighash_type.is_some_and(super::asks_all), rebuilt })
    }

    /// Where output `index` is in the wallet, if it is proved ours; all inputs were looked at before. `change-path`, `network`, and `change-multisig` where the
    /// script that comes with it has our key and is not the registered one. Any other output that claims our key and is not
    /// paid to us (`change-fraud`) is not ours: it counts as spent.
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
        let ours = self.wallet.account_path();
        match elsewhere {
            Elsewhere::Network => refuse(
                Rule::Network,
                format!("output {index} has path m/{path}, with another network's coin type than m/{ours}"),
            ),
            Elsewhere::Hardening => refuse(
                Rule::ChangePath,
                format!(
                    "output {index} has path m/{path}, whose hardening differs from this wallet's (m/{ours})"
                ),
            ),
            Elsewhere::Path => refuse(
                Rule::ChangePath,
                format!(
                    "output {index} has path m/{path}, on which this wallet has no address: its keys are below m/{ours}"
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
        // The keys of the others are not derived for what cannot be ours.
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

    /// Our key truly, in a script that is not the registered one: nobody pays there but by fraud.
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
            None => self.wallet.sketch(location, self.around.secp).map_err(not_derived),
        }
    }

    fn complete(&mut self, location: Location, sketch: Sketch) -> Result<Arc<Rebuilt>, PsbtError> {
        let rebuilt = self.wallet.complete(sketch, self.around.secp).map_err(not_derived)?;
        if self.repeated.contains(&location) {
            self.rebuilt.insert(location, Arc::clone(&rebuilt));
        }
        Ok(rebuilt)
    }
}

fn not_derived(error: WalletError) -> PsbtError {
    refuse(Rule::DerivedKey, error.to_string())
}

/// Whether our signature is there. That it verifies is found by [`super::partial`].
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

/// Whether the scripts that come with an output have this key of ours in them.
fn shows_our_key(output: &Output, key: &PublicKey) -> bool {
    let x_only = key.x_only_public_key().0.serialize();
    // A compressed key has the x-only one in it.
    let has_ours = |script: &Script| script.as_bytes().windows(x_only.len()).any(|window| window == x_only);
    output.redeem_script.iter().chain(&output.witness_script).any(|script| has_ours(script))
        || output.tap_tree.iter().any(|tree| tree.script_leaves().any(|leaf| has_ours(leaf.script())))
        || output.tap_internal_key.is_some_and(|internal| internal.serialize() == x_only)
}

fn taproot_of(rebuilt: &Rebuilt) -> Option<Taproot> {
    rebuilt.branches.first().and_then(|branch| match &branch.spend {
        Spend::KeyPath(taproot) | Spend::ScriptPath(taproot, _) => Some(*taproot),
        Spend::Legacy(_) | Spend::SegwitV0(_) => None,
    })
}

/// `script-mismatch`: a redeem script that does not hash to its P2SH, a witness script that does not hash to its P2WSH.
fn check_scripts(
    side: &str,
    index: usize,
    redeem_script: &Option<ScriptBuf>,
    witness_script: &Option<ScriptBuf>,
    script_pubkey: &Script,
) -> Result<(), PsbtError> {
    let redeem_fits =
        redeem_script.as_ref().is_none_or(|script| script.to_p2sh().as_script() == script_pubkey);
    let witness_fits = witness_script.as_ref().is_none_or(|script| {
        let program = script.to_p2wsh();
        match redeem_script {
            Some(redeem_script) => program == *redeem_script,
            // The redeem script of a P2WSH in a P2SH follows from the witness script: it may be left out.
            None if script_pubkey.is_p2sh() => program.to_p2sh().as_script() == script_pubkey,
            None => program.as_script() == script_pubkey,
        }
    });
    if redeem_fits && witness_fits {
        return Ok(());
    }
    Err(refuse(Rule::ScriptMismatch, format!("a script of {side} {index} does not hash to its program")))
}

/// `script-mismatch`: a leaf whose control block does not lead to the output key (BIP 341, "Script validation rules").
fn check_leaves(
    index: usize,
    input: &Input,
    script_pubkey: &Script,
    secp: &Secp256k1<All>,
) -> Result<(), PsbtError> {
    let output_key = output_key(script_pubkey);
    let fits = input.tap_scripts.iter().all(|(control_block, (script, version))| {
        output_key.is_some_and(|key| {
            control_block.leaf_version == *version
                && control_block.verify_taproot_commitment(secp, key, script)
        })
    });
    if fits {
        return Ok(());
    }
    Err(refuse(Rule::ScriptMismatch, format!("a leaf script of input {index} is not in its output")))
}

/// `script-mismatch`: an internal key with a tree that do not make the output key (BIP 341, "Constructing and spending
/// Taproot outputs").
fn check_tree(
    index: usize,
    output: &Output,
    script_pubkey: &Script,
    secp: &Secp256k1<All>,
) -> Result<(), PsbtError> {
    let (Some(internal_key), Some(tree)) = (output.tap_internal_key, &output.tap_tree) else { return Ok(()) };
    let root: TapNodeHash = tree.root_hash();
    if ScriptBuf::new_p2tr(secp, internal_key, Some(root)).as_script() == script_pubkey {
        return Ok(());
    }
    Err(refuse(Rule::ScriptMismatch, format!("the script tree of output {index} does not make its key")))
}

/// `script-mismatch`: taproot fields that are not those of the rebuilt address.
fn check_taproot(
    side: &str,
    index: usize,
    internal_key: Option<XOnlyPublicKey>,
    root_fits: bool,
    ours: &Taproot,
) -> Result<(), PsbtError> {
    if root_fits && internal_key.is_none_or(|key| key == ours.internal_key) {
        return Ok(());
    }
    Err(refuse(
        Rule::ScriptMismatch,
        format!("{side} {index} has another internal key or merkle root than the wallet's address"),
    ))
}

/// The output key of a taproot output (BIP 341).
pub(super) fn output_key(script_pubkey: &Script) -> Option<XOnlyPublicKey> {
    let program = script_pubkey.is_p2tr().then(|| script_pubkey.as_bytes().get(2..)).flatten()?;
    XOnlyPublicKey::from_slice(program).ok()
}
