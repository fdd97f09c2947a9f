//! Compares the scripts in a map with the spent or paid output: `script-mismatch`.

use bitcoin::psbt::{Input, Output};
use bitcoin::secp256k1::{All, PublicKey, Secp256k1};
use bitcoin::taproot::TapNodeHash;
use bitcoin::{Script, ScriptBuf, XOnlyPublicKey};

use super::{PsbtError, refuse};
use crate::rule::Rule;
use crate::wallet::{Rebuilt, Spend, Taproot};

/// Whether the scripts that come with an output contain this key of ours.
pub(super) fn shows_our_key(output: &Output, key: &PublicKey) -> bool {
    let x_only = key.x_only_public_key().0.serialize();
    // A compressed key contains the x-only one.
    let has_ours = |script: &Script| script.as_bytes().windows(x_only.len()).any(|window| window == x_only);
    output.redeem_script.iter().chain(&output.witness_script).any(|script| has_ours(script))
        || output.tap_tree.iter().any(|tree| tree.script_leaves().any(|leaf| has_ours(leaf.script())))
        || output.tap_internal_key.is_some_and(|internal| internal.serialize() == x_only)
}

pub(super) fn taproot_of(rebuilt: &Rebuilt) -> Option<Taproot> {
    rebuilt.branches.first().and_then(|branch| match &branch.spend {
        Spend::KeyPath(taproot) | Spend::ScriptPath(taproot, _) => Some(*taproot),
        Spend::Legacy(_) | Spend::SegwitV0(_) => None,
    })
}

/// `script-mismatch`: a redeem script that does not hash to its P2SH, a witness script that does not hash to its P2WSH.
pub(super) fn check_scripts(
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
            // The redeem script of a P2WSH in a P2SH follows from the witness script, and may be left out.
            None if script_pubkey.is_p2sh() => program.to_p2sh().as_script() == script_pubkey,
            None => program.as_script() == script_pubkey,
        }
    });
    let what = match (redeem_fits, witness_fits) {
        (true, true) => return Ok(()),
        (false, _) => "redeem_script",
        (true, false) => "witness_script",
    };
    Err(refuse(Rule::ScriptMismatch, format!("the {what} of {side} {index} does not hash to its program")))
}

/// `script-mismatch`: a leaf whose control block does not lead to the output key (BIP 341, "Script validation rules").
pub(super) fn check_leaves(
    index: usize,
    input: &Input,
    script_pubkey: &Script,
    secp: &Secp256k1<All>,
) -> Result<(), PsbtError> {
    if input.tap_scripts.is_empty() {
        return Ok(());
    }
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

/// `script-mismatch`: an internal key and a tree that do not give the output key (BIP 341, "Constructing and
/// spending Taproot outputs").
pub(super) fn check_tree(
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

/// `script-mismatch`: taproot fields that differ from those of the rebuilt address.
pub(super) fn check_taproot(
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
