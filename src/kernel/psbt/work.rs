//! Bounds the work for a PSBT before it begins. `oversize`.
//!
//! Checking a PSBT costs its caller nothing, but makes us derive keys: for each address that an input or
//! output claims to be the wallet's, one for each place in the script. So the claims are counted first, by
//! their paths, from bytes alone. A PSBT that asks for too much is refused before a key is derived.
//! Everything counts that could be the wallet's:
//! - an input, because each may be one of its coins. Inputs count by addresses, each of which is derived
//!   once;
//! - an output of the wallet's form, because each may be change. Other outputs cost only our own keys. A
//!   payment has little change, and as many inputs as it needs, so outputs are compared with the inputs.
//!
//! Signatures and trees, which are verified and hashed, have their own bounds ([`super::layout`]).

use std::collections::{HashMap, HashSet};

use super::PsbtError;
use super::decode::Decoded;
use crate::wallet::{Location, WatchOnly};

/// The most keys that are derived for one PSBT, at some 30 µs each.
const MAX_KEYS: usize = 10_000;
/// Keys that are derived for outputs, in addition to as many as for the inputs: a wallet may split its coins
/// into thousands.
const MAX_OUTPUT_KEYS: usize = 4_000;

/// So many inputs and outputs are not counted: the wallet caches that many rebuilt addresses.
const FEW: usize = 128;

/// The addresses that are claimed more than once, if all claimed ones can be derived. None if they are few,
/// because the wallet caches rebuilt addresses.
pub(super) fn repeated(psbt: &Decoded<'_>, wallet: &WatchOnly) -> Result<HashSet<Location>, PsbtError> {
    let ours = wallet.master_fingerprint();
    let (places, ours_alone) = (wallet.key_places(), wallet.places().count());
    let maps = psbt.transaction.input.len() + psbt.transaction.output.len();
    if maps <= FEW && maps * places <= MAX_OUTPUT_KEYS {
        return Ok(HashSet::new());
    }
    let mut claims: HashMap<Location, usize> = HashMap::new();
    for index in 0..psbt.transaction.input.len() {
        if let Some(location) = psbt.input_claim(index, ours).and_then(|path| wallet.locate(&path).ok()) {
            *claims.entry(location).or_default() += 1;
        }
    }
    let for_inputs = claims.len() * places;
    let mut for_outputs = 0;
    for (index, output) in psbt.transaction.output.iter().enumerate() {
        if let Some(location) = psbt.output_claim(index, ours).and_then(|path| wallet.locate(&path).ok()) {
            for_outputs += if wallet.has_form_of(&output.script_pubkey) { places } else { ours_alone };
            *claims.entry(location).or_default() += 1;
        }
    }
    check(for_inputs, for_outputs)?;
    Ok(claims.into_iter().filter(|(_, claims)| *claims > 1).map(|(location, _)| location).collect())
}

fn check(for_inputs: usize, for_outputs: usize) -> Result<(), PsbtError> {
    let most_for_outputs = MAX_OUTPUT_KEYS + for_inputs;
    let (what, keys, most) = if for_outputs > most_for_outputs {
        ("the outputs that claim to be this wallet's", for_outputs, most_for_outputs)
    } else {
        ("what claims to be this wallet's", for_inputs + for_outputs, MAX_KEYS)
    };
    if keys <= most {
        return Ok(());
    }
    Err(PsbtError::Oversize(format!(
        "{keys} keys would be derived for {what}, the most is {most}: split the transaction"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oversize_outputs_are_compared_with_the_inputs_and_all_with_a_bound() {
        let is_taken = |inputs, outputs| check(inputs, outputs).is_ok();
        assert!(is_taken(1, MAX_OUTPUT_KEYS + 1) && !is_taken(1, MAX_OUTPUT_KEYS + 2));
        assert!(is_taken(3_000, 7_000) && !is_taken(3_000, 7_001));
        assert!(is_taken(MAX_KEYS, 0) && !is_taken(MAX_KEYS, 1) && !is_taken(MAX_KEYS + 1, 0));
    }
}
