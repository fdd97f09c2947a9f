//! The names of fields (BIP 174, 370, 371), for messages about a PSBT that cannot be read.

use super::cursor::Cursor;

/// The three kinds of maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Map {
    Global,
    Input(usize),
    Output(usize),
}

impl Map {
    /// The kind of the map with this number in the file: the global one, then those of so many inputs, then
    /// those of the outputs.
    pub(super) fn numbered(number: usize, inputs: usize) -> Map {
        match number.checked_sub(1) {
            None => Map::Global,
            Some(index) if index < inputs => Map::Input(index),
            Some(index) => Map::Output(index - inputs),
        }
    }

    /// A field with its map, for example `PSBT_IN_SIGHASH_TYPE (0x03) of input 2`.
    pub(super) fn field(self, key_type: u8) -> String {
        let name = match self {
            Map::Global => name(GLOBAL, key_type),
            Map::Input(_) => name(INPUT, key_type),
            Map::Output(_) => name(OUTPUT, key_type),
        };
        let field = name
            .map_or(format!("the field of type {key_type:#04x}"), |name| format!("{name} ({key_type:#04x})"));
        format!("{field} of {self}")
    }
}

impl core::fmt::Display for Map {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Map::Global => f.write_str("the global map"),
            Map::Input(index) => write!(f, "input {index}"),
            Map::Output(index) => write!(f, "output {index}"),
        }
    }
}

/// The first field of `map` that `reads` cannot read by itself. Each is passed as its key, and as the pair
/// with its lengths.
pub(super) fn unreadable(map: &[u8], reads: impl Fn(&[u8], &[u8]) -> bool) -> Option<u8> {
    let mut found = None;
    // The pairs of this map were walked over before. If an end is no pair, this walk ends there, too.
    let _ = Cursor::over(map).pairs(|key, pair| {
        if found.is_none() && !reads(key, pair) {
            found = key.first().copied();
        }
    });
    found
}

type Names = &'static [(u8, &'static str)];

fn name(names: Names, key_type: u8) -> Option<&'static str> {
    names.iter().find(|(number, _)| *number == key_type).map(|(_, name)| *name)
}

const GLOBAL: Names = &[
    (0x00, "PSBT_GLOBAL_UNSIGNED_TX"),
    (0x01, "PSBT_GLOBAL_XPUB"),
    (0x02, "PSBT_GLOBAL_TX_VERSION"),
    (0x03, "PSBT_GLOBAL_FALLBACK_LOCKTIME"),
    (0x04, "PSBT_GLOBAL_INPUT_COUNT"),
    (0x05, "PSBT_GLOBAL_OUTPUT_COUNT"),
    (0x06, "PSBT_GLOBAL_TX_MODIFIABLE"),
    (0xfb, "PSBT_GLOBAL_VERSION"),
    (0xfc, "PSBT_GLOBAL_PROPRIETARY"),
];

const INPUT: Names = &[
    (0x00, "PSBT_IN_NON_WITNESS_UTXO"),
    (0x01, "PSBT_IN_WITNESS_UTXO"),
    (0x02, "PSBT_IN_PARTIAL_SIG"),
    (0x03, "PSBT_IN_SIGHASH_TYPE"),
    (0x04, "PSBT_IN_REDEEM_SCRIPT"),
    (0x05, "PSBT_IN_WITNESS_SCRIPT"),
    (0x06, "PSBT_IN_BIP32_DERIVATION"),
    (0x07, "PSBT_IN_FINAL_SCRIPTSIG"),
    (0x08, "PSBT_IN_FINAL_SCRIPTWITNESS"),
    (0x09, "PSBT_IN_POR_COMMITMENT"),
    (0x0a, "PSBT_IN_RIPEMD160"),
    (0x0b, "PSBT_IN_SHA256"),
    (0x0c, "PSBT_IN_HASH160"),
    (0x0d, "PSBT_IN_HASH256"),
    (0x0e, "PSBT_IN_PREVIOUS_TXID"),
    (0x0f, "PSBT_IN_OUTPUT_INDEX"),
    (0x10, "PSBT_IN_SEQUENCE"),
    (0x11, "PSBT_IN_REQUIRED_TIME_LOCKTIME"),
    (0x12, "PSBT_IN_REQUIRED_HEIGHT_LOCKTIME"),
    (0x13, "PSBT_IN_TAP_KEY_SIG"),
    (0x14, "PSBT_IN_TAP_SCRIPT_SIG"),
    (0x15, "PSBT_IN_TAP_LEAF_SCRIPT"),
    (0x16, "PSBT_IN_TAP_BIP32_DERIVATION"),
    (0x17, "PSBT_IN_TAP_INTERNAL_KEY"),
    (0x18, "PSBT_IN_TAP_MERKLE_ROOT"),
    (0xfc, "PSBT_IN_PROPRIETARY"),
];

const OUTPUT: Names = &[
    (0x00, "PSBT_OUT_REDEEM_SCRIPT"),
    (0x01, "PSBT_OUT_WITNESS_SCRIPT"),
    (0x02, "PSBT_OUT_BIP32_DERIVATION"),
    (0x03, "PSBT_OUT_AMOUNT"),
    (0x04, "PSBT_OUT_SCRIPT"),
    (0x05, "PSBT_OUT_TAP_INTERNAL_KEY"),
    (0x06, "PSBT_OUT_TAP_TREE"),
    (0x07, "PSBT_OUT_TAP_BIP32_DERIVATION"),
    (0xfc, "PSBT_OUT_PROPRIETARY"),
];
