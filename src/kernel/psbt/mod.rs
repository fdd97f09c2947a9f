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
mod cursor;
mod decode;
mod error;
mod fields;
mod hint;
mod layout;
mod message;
mod ownership;
mod partial;
mod proof;
mod scripts;
mod version_2;
mod work;

use bitcoin::bip32::Fingerprint;
use bitcoin::consensus::Encodable;
use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::secp256k1::{All, Secp256k1};
use bitcoin::{Transaction, TxOut};

use super::binding::Binding;
use super::policy::Payment;
use super::rule::Rule;
use super::wallet::{Location, Reach, WatchOnly};
pub use error::PsbtError;
use error::refuse;
pub use hint::hints;
pub(crate) use layout::Pair;
pub use layout::{Layout, MAX_PSBT_LEN, Version};
pub(crate) use ownership::OurInput;
pub(crate) use partial::ecdsa_message;
use proof::{Proved, prove};

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

    /// Id of the unsigned transaction, in display order. If inputs get a scriptSig when they are finalised (`pkh`, `sh`), the
    /// transaction has another id on the chain.
    pub fn txid(&self) -> [u8; 32] {
        let mut txid = self.transaction.compute_txid().to_byte_array();
        txid.reverse();
        txid
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

fn vsize(transaction: &Transaction, ours: usize, wallet: &WatchOnly) -> u64 {
    let (inputs, ours) = (transaction.input.len() as u64, ours as u64);
    let mut weight = transaction.weight().to_wu() + ours * wallet.satisfaction_weight();
    if wallet.is_segwit() {
        // Every input has a witness, at least the count of its empty stack.
        weight += SEGWIT_MARKER_WEIGHT + inputs;
    }
    weight.div_ceil(4)
}
