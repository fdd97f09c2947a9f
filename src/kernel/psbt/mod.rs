//! A PSBT (BIP 174, BIP 370) that may be signed: a [`CheckedPsbt`] exists only if every rule of structure,
//! amount and ownership holds.
//!
//! Invariants:
//! - P1. Every amount is proved: by the previous transaction whose txid the prevout names (with BIP 143 alone
//!   a liar could split the fee over two signings, CVE-2020-14199), or by the sighash itself if every input
//!   that we sign is taproot.
//! - P2. "Ours" is proved by deriving the keys and rebuilding the scriptPubKey. A claim in the PSBT proves
//!   nothing.
//! - P3. While any input is not proved ours, the value of all inputs counts as leaving, and nothing as coming
//!   back. Otherwise a transaction could be countersigned input by input, hiding the others each time, under
//!   a limit for one.
//! - P4. No sum wraps: every amount is at most 21 million bitcoin, and every sum is checked.
//! - P5. The answer is the original PSBT, byte for byte, with our signatures added ([`Layout`]). In version 2
//!   the flags that allow to modify it are cleared.

mod amounts;
mod claims;
mod decode;
mod fields;
mod hint;
mod layout;
mod message;
mod ownership;
mod partial;
mod scripts;
mod version_2;
mod work;

use std::collections::HashSet;

use bitcoin::bip32::Fingerprint;
use bitcoin::consensus::Encodable;
use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::psbt::{Input, PsbtSighashType};
use bitcoin::secp256k1::{All, Secp256k1};
use bitcoin::sighash::EcdsaSighashType;
use bitcoin::{Amount, Transaction, TxOut};

use super::binding::Binding;
use super::policy::Payment;
use super::rule::Rule;
use super::wallet::{Location, Reach, WatchOnly};
use decode::Decoded;
pub use hint::hints;
pub(crate) use layout::Pair;
pub use layout::{Layout, MAX_PSBT_LEN, Version};
pub(crate) use ownership::OurInput;
use ownership::Prover;
pub(crate) use partial::ecdsa_message;

/// Weight units of the marker and flag of a transaction with witnesses (BIP 141).
const SEGWIT_MARKER_WEIGHT: u64 = 2;

/// The bytes of a PSBT, and the places of its maps: read once, and passed on to everything that needs them.
pub struct PsbtBytes {
    bytes: Vec<u8>,
    layout: Layout,
}

impl PsbtBytes {
    /// Finds the places of the maps.
    pub fn read(bytes: Vec<u8>) -> Result<PsbtBytes, PsbtError> {
        let layout = Layout::take(&bytes)?;
        Ok(PsbtBytes { bytes, layout })
    }

    /// See [`Layout::signed_len_bound`].
    pub fn signed_len_bound(&self, places: usize) -> Result<usize, PsbtError> {
        self.layout.signed_len_bound(places)
    }

    /// The original bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The PSBT with the `added` pairs, each with the index of its input, in the order of inputs.
    pub(crate) fn signed(&self, added: &[(usize, Pair)]) -> Vec<u8> {
        self.layout.signed(&self.bytes, added)
    }
}

/// A PSBT that breaks no rule, with its meaning for the wallet.
pub struct CheckedPsbt {
    psbt: PsbtBytes,
    transaction: Transaction,
    prevouts: Vec<TxOut>,
    wallet: String,
    script_id: [u8; 32],
    binding: Binding,
    ours: Vec<OurInput>,
    change: Vec<(usize, Location)>,
    leaves: u64,
    moved_out_of_reach: u64,
    paid_to_others: u64,
    comes_back: u64,
    fee: u64,
    vsize: u64,
    reach_before: Reach,
    reach: Reach,
}

/// The parts of a checked PSBT that a signature needs.
pub(crate) struct Parts {
    pub(crate) psbt: PsbtBytes,
    pub(crate) transaction: Transaction,
    pub(crate) prevouts: Vec<TxOut>,
    pub(crate) script_id: [u8; 32],
    pub(crate) ours: Vec<OurInput>,
}

/// What the check knows about the wallet's token.
pub struct Surroundings<'a> {
    /// How far the wallet's addresses have been used.
    pub reach: Reach,
    /// The cosigner who must have signed before us, by its master fingerprint.
    pub require_cosigner: Option<Fingerprint>,
    /// Whether a master fingerprint is that of another wallet of this token.
    pub is_sibling: &'a dyn Fn(&Fingerprint) -> bool,
    /// The curve.
    pub secp: &'a Secp256k1<All>,
}

impl CheckedPsbt {
    /// Parses and checks `bytes` for `wallet`.
    pub fn parse(
        bytes: Vec<u8>,
        wallet: &WatchOnly,
        around: &Surroundings<'_>,
    ) -> Result<CheckedPsbt, PsbtError> {
        CheckedPsbt::check(PsbtBytes::read(bytes)?, wallet, around)
    }

    /// Checks `psbt` for `wallet`.
    pub fn check(
        psbt: PsbtBytes,
        wallet: &WatchOnly,
        around: &Surroundings<'_>,
    ) -> Result<CheckedPsbt, PsbtError> {
        let decoded = decode::decode(&psbt.bytes, &psbt.layout)?;
        let Proved { prevouts, paid_in, paid_out, ours, change } =
            prove(&decoded, wallet, around).map_err(|refusal| decoded.unreadable_map().unwrap_or(refusal))?;
        let transaction = decoded.transaction;

        let all_ours = ours.len() == prevouts.len();
        let back: u64 = change.iter().map(|(index, _)| transaction.output[*index].value.to_sat()).sum();
        let moved_out_of_reach = moved_out_of_reach(&transaction, &prevouts, &ours, &change, around.reach);
        let leaves = if all_ours { paid_in.checked_sub(back - moved_out_of_reach) } else { Some(paid_in) };
        let reach = ours
            .iter()
            .map(|input| input.rebuilt.location)
            .chain(change.iter().map(|(_, location)| *location))
            // Compared with the earlier reach, so that one transaction extends it by at most one gap.
            .filter(|location| around.reach.covers(*location))
            .fold(around.reach, Reach::extended);
        Ok(CheckedPsbt {
            wallet: wallet.label().into(),
            script_id: *wallet.id(),
            binding: binding(wallet.id(), &transaction, &prevouts),
            leaves: leaves.ok_or_else(|| refuse(Rule::AmountRange, "more comes back than goes in"))?,
            moved_out_of_reach,
            paid_to_others: paid_out - back,
            comes_back: back,
            fee: paid_in - paid_out,
            vsize: vsize(&transaction, ours.len(), wallet),
            ours,
            change,
            reach_before: around.reach,
            reach,
            transaction,
            prevouts,
            psbt,
        })
    }

    /// Satoshi that leave the wallet: inputs minus outputs proved ours if all inputs are proved ours,
    /// otherwise all inputs. This includes the fee, and what is moved out of reach.
    pub fn leaves(&self) -> u64 {
        self.leaves
    }

    /// Satoshi of change beyond the wallet's reach, minus those of the inputs from beyond it. They belong to
    /// the wallet, at an address near one that is spent here, and count as leaving: see [`Reach::admitting`].
    pub fn moved_out_of_reach(&self) -> u64 {
        self.moved_out_of_reach
    }

    /// Satoshi in outputs that are not proved ours.
    pub fn paid_to_others(&self) -> u64 {
        self.paid_to_others
    }

    /// Satoshi in outputs that are proved ours.
    pub fn comes_back(&self) -> u64 {
        self.comes_back
    }

    /// Satoshi of fee.
    pub fn fee(&self) -> u64 {
        self.fee
    }

    /// Virtual bytes of the signed transaction (BIP 141), as far as they are known: other witnesses count as
    /// empty, ours as small as the script allows.
    pub fn vsize(&self) -> u64 {
        self.vsize
    }

    /// The unsigned transaction.
    pub fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// The outputs that the inputs spend, in their order.
    pub fn prevouts(&self) -> &[TxOut] {
        &self.prevouts
    }

    /// The indices of the inputs proved ours, and their places in the wallet.
    pub fn our_inputs(&self) -> impl Iterator<Item = (usize, Location)> + '_ {
        self.ours.iter().map(|input| (input.index, input.rebuilt.location))
    }

    /// The indices of the outputs proved ours, and their places in the wallet.
    pub fn our_outputs(&self) -> &[(usize, Location)] {
        &self.change
    }

    /// The indices of the outputs that the wallet finds where it looks. Change beyond the reach that this
    /// transaction moves there is not among them, because it counts as leaving.
    pub fn our_reachable_outputs(&self) -> impl Iterator<Item = usize> + '_ {
        let is_moved = self.moved_out_of_reach > 0;
        let kept =
            self.change.iter().filter(move |(_, location)| !is_moved || self.reach_before.covers(*location));
        kept.map(|(index, _)| *index)
    }

    /// Label of the wallet for which it was checked.
    pub fn wallet(&self) -> &str {
        &self.wallet
    }

    /// The wallet's reach after this transaction.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// What a code for this wallet and transaction is bound to: the transaction, and every output that it
    /// spends, because not every signature hash covers their amounts and scripts.
    pub fn binding(&self) -> Binding {
        self.binding
    }

    /// Names the registered script of the wallet for which it was checked.
    pub(crate) fn script_id(&self) -> &[u8; 32] {
        &self.script_id
    }

    pub(crate) fn into_parts(self) -> Parts {
        let CheckedPsbt { psbt, transaction, prevouts, script_id, ours, .. } = self;
        Parts { psbt, transaction, prevouts, script_id, ours }
    }
}

impl Payment for CheckedPsbt {
    fn outputs(&self) -> &[TxOut] {
        &self.transaction.output
    }

    fn our_reachable_outputs(&self) -> impl Iterator<Item = usize> {
        CheckedPsbt::our_reachable_outputs(self)
    }

    fn leaves(&self) -> u64 {
        self.leaves
    }

    fn paid_to_others(&self) -> u64 {
        self.paid_to_others
    }

    fn comes_back(&self) -> u64 {
        self.comes_back
    }

    fn fee(&self) -> u64 {
        self.fee
    }

    fn vsize(&self) -> u64 {
        self.vsize
    }
}

/// The value of change beyond `reach`, minus that of our inputs from beyond it.
fn moved_out_of_reach(
    transaction: &Transaction,
    prevouts: &[TxOut],
    ours: &[OurInput],
    change: &[(usize, Location)],
    reach: Reach,
) -> u64 {
    let spent = ours.iter().map(|input| (input.rebuilt.location, &prevouts[input.index]));
    let paid = change.iter().map(|(index, location)| (*location, &transaction.output[*index]));
    // No sum is more than 21 million bitcoin.
    let beyond = |outputs: &mut dyn Iterator<Item = (Location, &TxOut)>| -> u64 {
        outputs
            .filter(|(location, _)| !reach.covers(*location))
            .map(|(_, output)| output.value.to_sat())
            .sum()
    };
    beyond(&mut { paid }).saturating_sub(beyond(&mut { spent }))
}

/// SHA-256 over a transaction of a wallet and the outputs that it spends.
fn binding(script_id: &[u8; 32], transaction: &Transaction, prevouts: &[TxOut]) -> Binding {
    let mut hash = sha256::Hash::engine();
    hash.input(b"countersign/transaction/v1\0");
    hash.input(script_id);
    // Each encodes itself with its lengths.
    transaction.consensus_encode(&mut hash).expect("a hash takes whatever is written");
    for prevout in prevouts {
        prevout.consensus_encode(&mut hash).expect("a hash takes whatever is written");
    }
    sha256::Hash::from_engine(hash).to_byte_array()
}

/// The transaction of a PSBT, unchecked: for a display that also shows what would be refused.
pub fn transaction_of(bytes: &[u8]) -> Result<Transaction, PsbtError> {
    Ok(decode::decode(bytes, &Layout::take(bytes)?)?.transaction)
}

/// The message of a PSBT (BIP 322), if it is text: for a display.
pub fn message_of(bytes: &[u8]) -> Option<String> {
    Layout::take(bytes).ok()?;
    message::text(bytes)
}

/// The reason why bytes are not signed. The texts contain no amounts, keys or addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PsbtError {
    /// Not a PSBT of version 0 or 2.
    #[error("not a PSBT: {0}")]
    NotPsbt(String),
    /// Not a PSBT: a map has a key twice.
    #[error("not a PSBT: {0}")]
    DuplicateKey(String),
    /// Not a PSBT: bytes follow the last map.
    #[error("not a PSBT: {0}")]
    TrailingBytes(String),
    /// Over a bound.
    #[error("oversize: {0}")]
    Oversize(String),
    /// A rule refuses.
    #[error("{rule}: {detail}")]
    Refused {
        /// The rule.
        rule: Rule,
        /// What broke it, and what to do.
        detail: String,
    },
}

impl PsbtError {
    /// The rule that refuses.
    pub fn rule(&self) -> Rule {
        match self {
            PsbtError::NotPsbt(_) => Rule::NotAPsbt,
            PsbtError::DuplicateKey(_) => Rule::DuplicateKey,
            PsbtError::TrailingBytes(_) => Rule::TrailingBytes,
            PsbtError::Oversize(_) => Rule::Oversize,
            PsbtError::Refused { rule, .. } => *rule,
        }
    }

    /// Whether the bytes are no PSBT at all.
    pub fn is_no_psbt(&self) -> bool {
        matches!(self.rule(), Rule::NotAPsbt | Rule::DuplicateKey | Rule::TrailingBytes)
    }
}

fn refuse(rule: Rule, detail: impl Into<String>) -> PsbtError {
    PsbtError::Refused { rule, detail: detail.into() }
}

/// What is proved about a PSBT for a wallet.
struct Proved {
    prevouts: Vec<TxOut>,
    paid_in: u64,
    paid_out: u64,
    ours: Vec<OurInput>,
    change: Vec<(usize, Location)>,
}

/// Checks every rule of structure, amounts and ownership.
fn prove(psbt: &Decoded<'_>, wallet: &WatchOnly, around: &Surroundings<'_>) -> Result<Proved, PsbtError> {
    check_structure(&psbt.transaction)?;
    check_global_keys(psbt, wallet)?;
    // The wallet has one script, so all inputs that we sign are of one kind.
    let prevouts = amounts::prevouts(psbt, wallet.is_taproot())?;
    let (paid_in, paid_out) = amounts::sums(&psbt.transaction, &prevouts)?;
    let repeated = work::repeated(psbt, wallet)?;
    let mut prover = Prover::new(wallet, around, &psbt.transaction, repeated);
    let ours = inputs_of_ours(psbt, &prevouts, &mut prover, wallet, around)?;
    if ours.is_empty() {
        return Err(hint::no_input_of_ours(psbt, wallet));
    }
    let change = outputs_of_ours(psbt, &mut prover)?;
    Ok(Proved { prevouts, paid_in, paid_out, ours, change })
}

/// Checks every input, and returns those proved ours. `sighash-type`, and the refusals of [`ownership`] and
/// [`partial`].
fn inputs_of_ours(
    psbt: &Decoded<'_>,
    prevouts: &[TxOut],
    prover: &mut Prover<'_>,
    wallet: &WatchOnly,
    around: &Surroundings<'_>,
) -> Result<Vec<OurInput>, PsbtError> {
    let mut verifier = partial::Verifier::new(&psbt.transaction, prevouts, around.secp);
    let mut ours = Vec::new();
    for (index, prevout) in prevouts.iter().enumerate() {
        let input = psbt.input(index)?;
        check_sighash_type(index, &input, prevout)?;
        let mut proved = prover.input(index, &input, prevout)?;
        verifier.check(index, &input, proved.as_ref())?;
        if let (Some(cosigner), Some(proved)) = (around.require_cosigner, &mut proved) {
            partial::require(cosigner, &input, proved, wallet)?;
        }
        ours.extend(proved);
    }
    Ok(ours)
}

/// Checks every output, and returns those proved ours, with their places. The refusals of [`ownership`].
fn outputs_of_ours(psbt: &Decoded<'_>, prover: &mut Prover<'_>) -> Result<Vec<(usize, Location)>, PsbtError> {
    let mut ours = Vec::new();
    for (index, paid) in psbt.transaction.output.iter().enumerate() {
        let place = prover.output(index, &psbt.output(index)?, &paid.script_pubkey)?;
        ours.extend(place.map(|place| (index, place)));
    }
    Ok(ours)
}

/// `sighash-type`: ALL; for taproot also DEFAULT (BIP 341, "Common signature message").
fn check_sighash_type(index: usize, input: &Input, prevout: &TxOut) -> Result<(), PsbtError> {
    let is_default = |asked: PsbtSighashType| asked.to_u32() == 0 && prevout.script_pubkey.is_p2tr();
    if input.sighash_type.is_none_or(|asked| asks_all(asked) || is_default(asked)) {
        return Ok(());
    }
    Err(refuse(Rule::SighashType, format!("input {index} asks for a signature that is not of type ALL")))
}

/// `no-input-of-ours`, `duplicate-input`, `no-outputs`, `op-return-value`.
fn check_structure(transaction: &Transaction) -> Result<(), PsbtError> {
    if transaction.input.is_empty() {
        return Err(refuse(Rule::NoInputOfOurs, "the transaction has no inputs"));
    }
    if transaction.output.is_empty() {
        return Err(refuse(Rule::NoOutputs, "the transaction has no outputs"));
    }
    let mut outpoints = HashSet::with_capacity(transaction.input.len());
    if let Some(input) = transaction.input.iter().find(|input| !outpoints.insert(input.previous_output)) {
        return Err(refuse(Rule::DuplicateInput, format!("{} is spent twice", input.previous_output)));
    }
    for (index, output) in transaction.output.iter().enumerate() {
        if output.script_pubkey.is_op_return() && output.value != Amount::ZERO {
            return Err(refuse(
                Rule::OpReturnValue,
                format!("output {index} burns its value in an OP_RETURN"),
            ));
        }
    }
    Ok(())
}

fn asks_all(asked: PsbtSighashType) -> bool {
    asked.to_u32() == EcdsaSighashType::All.to_u32()
}

/// `network`: an extended key of our master with another network's version bytes.
fn check_global_keys(psbt: &Decoded<'_>, wallet: &WatchOnly) -> Result<(), PsbtError> {
    let foreign = psbt.xpubs.iter().any(|(xpub, (fingerprint, _))| {
        *fingerprint == wallet.master_fingerprint() && xpub.network != wallet.network().kind()
    });
    if foreign {
        return Err(refuse(Rule::Network, "an extended key of this wallet is written for another network"));
    }
    Ok(())
}

fn vsize(transaction: &Transaction, ours: usize, wallet: &WatchOnly) -> u64 {
    let (inputs, ours) = (transaction.input.len() as u64, ours as u64);
    let mut weight = transaction.weight().to_wu() + ours * wallet.satisfaction_weight();
    if wallet.is_segwit() {
        // Every input has a witness, at least the count of its empty stack.
        weight += SEGWIT_MARKER_WEIGHT + inputs;
    }
    weight.div_ceil(4)
}
