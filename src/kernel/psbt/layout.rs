//! The maps of a PSBT as bytes: checks bounds before anything is allocated, and puts the answer together.
//!
//! The parser that runs afterwards builds a struct of several hundred bytes for each map and a tree node for
//! each list of keys. This file bounds what an attacker can make it allocate, from lengths alone. The answer
//! is the original PSBT with pairs inserted before the separators of its input maps. Everything else in it,
//! known to us or not, stays byte for byte.

use std::collections::HashSet;

use super::PsbtError;
use super::cursor::{Cursor, MAGIC, compact_size, take, whole_compact_size};
use super::fields::Map;

/// The most bytes of a PSBT: room for a thousand inputs with previous transactions of 16 KB each.
pub const MAX_PSBT_LEN: usize = 16 << 20;
/// The most bytes of the unsigned transaction: the 400,000 weight units that nodes relay, at four units for
/// each byte (BIP 141). This also bounds the work of a legacy signature hash, which reads the whole
/// transaction for each input.
const MAX_UNSIGNED_TX_LEN: usize = 100_000;
/// The most key-value pairs in all maps together.
const MAX_PAIRS: usize = 200_000;
/// The most maps: an output takes at least 9 bytes of the unsigned transaction, an input 41.
const MAX_MAPS: usize = MAX_UNSIGNED_TX_LEN / 9 + 1;
/// The most signatures by others: each is verified before any code is checked.
const MAX_SIGNATURES: usize = 20_000;
/// The longest tree of an output (BIP 371), whose parser needs up to a thousand times its length. Room for
/// some hundred leaves.
const MAX_TAP_TREE_LEN: usize = 16_384;
/// The greatest length of the trees of all outputs together: each is hashed.
const MAX_TAP_TREES_LEN: usize = 16 * MAX_TAP_TREE_LEN;
/// The longest key: a type with a control block of the deepest taproot tree (BIP 371) has 4,130 bytes.
const MAX_KEY_LEN: usize = 8_192;
/// The most bytes that one signature adds: a taproot script signature (BIP 371) has a key (1 + 1 + 32 + 32)
/// and a value (1 + 64 + its type). An ECDSA signature adds 107: key (1 + 1 + 33), value (1 + 71), low-R,
/// low-S in DER with its type.
const ADDED_PER_SIGNATURE: usize = 132;
/// The most bytes of an answer: the largest PSBT, with one signature for each input of the largest
/// transaction. A frame to the boundary can hold it.
const MAX_SIGNED_LEN: usize = MAX_PSBT_LEN + MAX_UNSIGNED_TX_LEN / 41 * ADDED_PER_SIGNATURE;

pub(super) const GLOBAL_UNSIGNED_TX: u8 = 0x00;
const GLOBAL_INPUT_COUNT: u8 = 0x04;
const GLOBAL_OUTPUT_COUNT: u8 = 0x05;
const GLOBAL_TX_MODIFIABLE: u8 = 0x06;
const GLOBAL_VERSION: u8 = 0xfb;
const IN_PARTIAL_SIG: u8 = 0x02;
const IN_TAP_SCRIPT_SIG: u8 = 0x14;
const OUT_TAP_TREE: u8 = 0x06;
/// Inputs and outputs modifiable (BIP 370, `PSBT_GLOBAL_TX_MODIFIABLE`).
const MODIFIABLE: u8 = 0b11;

/// The version of a PSBT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// BIP 174.
    V0,
    /// BIP 370.
    V2,
}

/// The places of a PSBT's maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Its version.
    pub version: Version,
    /// The end of the global map, after its separator, where the first input map begins.
    global_end: usize,
    /// The end of each further map, after its separator: as many as inputs and outputs together.
    ends: Vec<usize>,
    /// How many of them are inputs' maps.
    inputs: usize,
    /// The position of the flags that signing clears.
    modifiable: Option<usize>,
    len: usize,
}

/// The fields of the global map.
#[derive(Default)]
struct Global {
    version: Option<u32>,
    unsigned_inputs: Option<usize>,
    inputs: Option<usize>,
    outputs: Option<usize>,
    modifiable: Option<usize>,
}

impl Layout {
    /// Walks over all maps of `bytes` (BIP 174, "Specification").
    pub fn take(bytes: &[u8]) -> Result<Layout, PsbtError> {
        if bytes.len() > MAX_PSBT_LEN {
            return Err(PsbtError::Oversize(format!("{} bytes, the most is {MAX_PSBT_LEN}", bytes.len())));
        }
        let mut cursor = Cursor::behind_magic(bytes)?;
        let mut global = Global::default();
        let mut bounds = Bounds::default();
        let mut ends = Vec::new();
        while !cursor.is_done() {
            let mut keys = HashSet::new();
            while let Some((key, value)) = cursor.pair()? {
                bounds.take(key, value, ends.len())?;
                if !keys.insert(key) {
                    let map = Map::numbered(ends.len(), bounds.inputs);
                    let field = map.field(key.first().copied().unwrap_or_default());
                    return Err(PsbtError::DuplicateKey(format!("{field} comes twice with the same key")));
                }
                if ends.is_empty() {
                    global.read(key, value, cursor.at())?;
                }
            }
            bounds.inputs = global.unsigned_inputs.or(global.inputs).unwrap_or(0);
            ends.push(cursor.at());
            if ends.len() > MAX_MAPS {
                return Err(PsbtError::Oversize(format!("more than {MAX_MAPS} maps")));
            }
        }
        let (global_end, ends) =
            ends.split_first().ok_or(PsbtError::NotPsbt("the global map is missing".into()))?;
        let (version, inputs) = global.inputs(ends.len())?;
        Ok(Layout {
            version,
            global_end: *global_end,
            ends: ends.to_vec(),
            inputs,
            modifiable: global.modifiable.filter(|_| version == Version::V2),
            len: bytes.len(),
        })
    }

    /// The number of maps after the global one: as many as inputs and outputs together.
    pub fn maps(&self) -> usize {
        self.ends.len()
    }

    /// An upper bound for the length of the PSBT with our signatures added, for a wallet with `places` of our
    /// key in its script: each may sign each input. `oversize` if no answer can be that long.
    pub fn signed_len_bound(&self, places: usize) -> Result<usize, PsbtError> {
        let bound =
            self.inputs.saturating_mul(places).saturating_mul(ADDED_PER_SIGNATURE).saturating_add(self.len);
        if bound <= MAX_SIGNED_LEN {
            return Ok(bound);
        }
        Err(PsbtError::Oversize(format!(
            "with {places} signatures an input it could have {bound} bytes, the most is {MAX_SIGNED_LEN}: split the transaction"
        )))
    }

    /// The magic bytes and the global map.
    pub(super) fn up_to_inputs<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[..self.global_end]
    }

    /// The maps of so many inputs, and those of the outputs.
    pub(super) fn split<'a>(&self, bytes: &'a [u8], inputs: usize) -> (Vec<&'a [u8]>, Vec<&'a [u8]>) {
        let begins = [self.global_end].into_iter().chain(self.ends.iter().copied());
        let mut maps = begins.zip(&self.ends).map(|(begin, end)| &bytes[begin..*end]);
        (maps.by_ref().take(inputs).collect(), maps.collect())
    }

    /// The number of inputs.
    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    /// The PSBT `bytes` with the `added` pairs, each with the index of its input, in the order of inputs.
    pub(super) fn signed(&self, bytes: &[u8], added: &[(usize, Pair)]) -> Vec<u8> {
        let more: usize = added.iter().map(|(_, pair)| pair.0.len()).sum();
        let mut signed = Vec::with_capacity(bytes.len() + more);
        let mut from = 0;
        for (index, Pair(pair)) in added {
            let end = self.ends[*index] - 1;
            signed.extend_from_slice(&bytes[from..end]);
            signed.extend_from_slice(pair);
            from = end;
        }
        signed.extend_from_slice(&bytes[from..]);
        // A signature of type ALL makes all inputs and outputs fixed (BIP 370, "Signer").
        if let (Some(flags), false) = (self.modifiable, added.is_empty()) {
            signed[flags] &= !MODIFIABLE;
        }
        signed
    }
}

impl Global {
    /// Reads the relevant part of one pair, which ends at `end`.
    fn read(&mut self, key: &[u8], value: &[u8], end: usize) -> Result<(), PsbtError> {
        match key {
            [GLOBAL_UNSIGNED_TX] => {
                check_unsigned_len(value.len())?;
                self.unsigned_inputs = input_count(value);
            }
            [GLOBAL_VERSION] => self.version = value.try_into().ok().map(u32::from_le_bytes),
            [GLOBAL_INPUT_COUNT] => self.inputs = whole_compact_size(value),
            [GLOBAL_OUTPUT_COUNT] => self.outputs = whole_compact_size(value),
            [GLOBAL_TX_MODIFIABLE] if value.len() == 1 => self.modifiable = Some(end - 1),
            _ => {}
        }
        Ok(())
    }

    /// The version, and the number of inputs, which cannot be more than `maps`.
    fn inputs(&self, maps: usize) -> Result<(Version, usize), PsbtError> {
        match self.version {
            None | Some(0) => {
                let inputs = self
                    .unsigned_inputs
                    .ok_or(PsbtError::NotPsbt("the unsigned transaction is missing".into()))?;
                Ok((Version::V0, inputs.min(maps)))
            }
            Some(2) => match (self.inputs, self.outputs) {
                (Some(inputs), Some(outputs)) if inputs.checked_add(outputs) == Some(maps) => {
                    Ok((Version::V2, inputs))
                }
                _ => Err(PsbtError::NotPsbt("there are not as many maps as inputs and outputs".into())),
            },
            Some(other) => Err(PsbtError::NotPsbt(format!("version {other}: there are 0 and 2"))),
        }
    }
}

/// `oversize`, for the unsigned transaction.
pub(super) fn check_unsigned_len(len: usize) -> Result<(), PsbtError> {
    if len <= MAX_UNSIGNED_TX_LEN {
        return Ok(());
    }
    Err(PsbtError::Oversize(format!(
        "an unsigned transaction of {len} bytes, the most is {MAX_UNSIGNED_TX_LEN}"
    )))
}

/// The bounded quantities so far. `oversize`.
#[derive(Default)]
struct Bounds {
    inputs: usize,
    pairs: usize,
    signatures: usize,
    trees: usize,
}

impl Bounds {
    /// Counts one pair of a map: 0 is the global one, followed by those of the inputs.
    fn take(&mut self, key: &[u8], value: &[u8], map: usize) -> Result<(), PsbtError> {
        let is_input = (1..=self.inputs).contains(&map);
        self.pairs += 1;
        self.signatures +=
            usize::from(is_input && matches!(key, [IN_PARTIAL_SIG | IN_TAP_SCRIPT_SIG, _, ..]));
        self.trees += if !is_input && *key == [OUT_TAP_TREE] { value.len() } else { 0 };
        let problem = if self.pairs > MAX_PAIRS {
            format!("more than {MAX_PAIRS} key-value pairs")
        } else if self.signatures > MAX_SIGNATURES {
            format!("more than {MAX_SIGNATURES} signatures")
        } else if key.len() > MAX_KEY_LEN {
            format!("a key of {} bytes, the most is {MAX_KEY_LEN}", key.len())
        } else if *key == [OUT_TAP_TREE] && value.len() > MAX_TAP_TREE_LEN {
            format!("a taproot tree of {} bytes, the most is {MAX_TAP_TREE_LEN}", value.len())
        } else if self.trees > MAX_TAP_TREES_LEN {
            format!("taproot trees of more than {MAX_TAP_TREES_LEN} bytes together")
        } else {
            return Ok(());
        };
        Err(PsbtError::Oversize(problem))
    }
}

/// One key-value pair, as bytes.
pub(crate) struct Pair(Vec<u8>);

impl Pair {
    /// A pair with fewer than 253 bytes on each side.
    pub(crate) fn new(key_type: u8, key_data: &[&[u8]], value: &[u8]) -> Pair {
        let key_len = 1 + key_data.iter().map(|part| part.len()).sum::<usize>();
        let short = |len: usize| u8::try_from(len).ok().filter(|len| *len < 0xfd);
        let key_len = short(key_len).expect("a signature's key is short");
        let value_len = short(value.len()).expect("a signature is short");
        Pair([&[key_len, key_type], &key_data.concat()[..], &[value_len], value].concat())
    }
}

/// The PSBT of version 0 for an unsigned transaction: `rest` is all its maps without their first pair.
pub(super) fn with_unsigned_tx(unsigned: &[u8], rest: &[u8]) -> Vec<u8> {
    let len = bitcoin::consensus::serialize(&bitcoin::VarInt(unsigned.len() as u64));
    [MAGIC, &[1, GLOBAL_UNSIGNED_TX], &len, unsigned, rest].concat()
}

/// The number of inputs at the beginning of an unsigned transaction: version, then the count.
fn input_count(mut transaction: &[u8]) -> Option<usize> {
    take::<4>(&mut transaction)?;
    compact_size(&mut transaction)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn psbt(maps: &[&[u8]]) -> Vec<u8> {
        [MAGIC, &maps.concat()].concat()
    }

    #[test]
    fn maps_are_counted() {
        let global = [1, 0, 5, 2, 0, 0, 0, 1, 0];
        let layout = Layout::take(&psbt(&[&global, &[0], &[0]])).expect("three maps");
        assert_eq!(layout.maps(), 2);
        assert_eq!(layout.signed_len_bound(1), Ok(16 + 132));
        assert_eq!(layout.signed_len_bound(3), Ok(16 + 3 * 132));
        let most = (MAX_SIGNED_LEN - 16) / 132;
        assert!(layout.signed_len_bound(most).is_ok());
        assert!(matches!(layout.signed_len_bound(most + 1), Err(PsbtError::Oversize(_))));
        assert!(matches!(layout.signed_len_bound(usize::MAX), Err(PsbtError::Oversize(_))));
    }

    #[test]
    fn bytes_that_are_cut_or_have_no_map_are_no_psbt() {
        for bytes in [
            &b""[..],
            b"psbt",
            b"psbt\xff",
            b"PSBT\xff\0",
            b"psbt\xff\0",
            b"psbt\xff\x01",
            b"psbt\xff\x01\x00",
            b"psbt\xff\x02\0",
        ] {
            assert!(matches!(Layout::take(bytes), Err(PsbtError::NotPsbt(_))), "{bytes:?}");
        }
        let huge_length = psbt(&[&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]]);
        assert!(matches!(Layout::take(&huge_length), Err(PsbtError::NotPsbt(_))));
    }

    #[test]
    fn a_length_that_is_not_minimal_is_no_psbt() {
        let global = [1, 0, 5, 2, 0, 0, 0, 1, 0];
        for separator in [&[0xfd, 0, 0][..], &[0xfe, 0, 0, 0, 0], &[0xff, 0, 0, 0, 0, 0, 0, 0, 0]] {
            let bytes = psbt(&[&global, separator, &[0]]);
            assert!(matches!(Layout::take(&bytes), Err(PsbtError::NotPsbt(_))), "{separator:?}");
        }
    }

    #[test]
    fn oversize() {
        let over = |bytes: &[u8]| matches!(Layout::take(bytes), Err(PsbtError::Oversize(_)));
        assert!(over(&vec![0; MAX_PSBT_LEN + 1]));
        let pairs: Vec<u8> = (0..=MAX_PAIRS as u32)
            .flat_map(|number| [&[5, 0xfc][..], &number.to_le_bytes(), &[0]].concat())
            .collect();
        assert!(over(&psbt(&[&pairs, &[0]])));
        let maps = [&[1, 0, 5, 2, 0, 0, 0, 1, 0][..], &vec![0; MAX_MAPS]].concat();
        assert!(over(&psbt(&[&maps])));
        let signatures: Vec<u8> = (0..=MAX_SIGNATURES as u32)
            .flat_map(|number| [&[5, 0x02][..], &number.to_le_bytes(), &[0]].concat())
            .collect();
        let of_one_input = [1, 0, 5, 2, 0, 0, 0, 1, 0];
        assert!(over(&psbt(&[&of_one_input, &signatures, &[0]])));
        assert!(!over(&psbt(&[&of_one_input, &[0], &signatures, &[0]])), "the same types in an output map");
        let tree = [&[1, 0x06, 0xfd, 0x00, 0x40][..], &[0; MAX_TAP_TREE_LEN], &[0]].concat();
        assert!(!over(&psbt(&[&of_one_input, &[0], &tree.repeat(16)])));
        assert!(over(&psbt(&[&of_one_input, &[0], &tree.repeat(17)])));
        let tree = [&[1, 0x06, 0xfd, 0x01, 0x40][..], &[0; MAX_TAP_TREE_LEN + 1], &[0]].concat();
        assert!(over(&psbt(&[&tree])));
        let long_key = [&[0xfd, 0x01, 0x20][..], &[7; 8_193], &[0, 0]].concat();
        assert!(over(&psbt(&[&long_key])));
        let tx = [&[1, 0, 0xfe][..], &100_001u32.to_le_bytes(), &vec![0; 100_001], &[0]].concat();
        assert!(over(&psbt(&[&tx])));
    }
}
