//! Version 2 of a PSBT (BIP 370) for the one parser: builds the unsigned transaction of version 0 from the
//! fields that describe the transaction.

use core::ops::RangeInclusive;

use bitcoin::absolute::{LOCK_TIME_THRESHOLD, LockTime};
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness, transaction};

use super::cursor::Cursor;
use super::fields::Map;
use super::layout::{self, Layout};
use super::{PsbtError, refuse};
use crate::rule::Rule;

const GLOBAL_UNSIGNED_TX: u8 = 0x00;
const GLOBAL_TX_VERSION: u8 = 0x02;
const GLOBAL_FALLBACK_LOCKTIME: u8 = 0x03;
const GLOBAL_TX_MODIFIABLE: u8 = 0x06;
const GLOBAL_VERSION: u8 = 0xfb;
const IN_PREVIOUS_TXID: u8 = 0x0e;
const IN_OUTPUT_INDEX: u8 = 0x0f;
const IN_SEQUENCE: u8 = 0x10;
const IN_REQUIRED_TIME_LOCKTIME: u8 = 0x11;
const IN_REQUIRED_HEIGHT_LOCKTIME: u8 = 0x12;
const OUT_AMOUNT: u8 = 0x03;
const OUT_SCRIPT: u8 = 0x04;

/// Key types that only version 2 has. They come without key data: a key with data is unknown, in any version.
pub(super) const GLOBAL_FIELDS: RangeInclusive<u8> = GLOBAL_TX_VERSION..=GLOBAL_TX_MODIFIABLE;
/// The same for inputs.
pub(super) const INPUT_FIELDS: RangeInclusive<u8> = IN_PREVIOUS_TXID..=IN_REQUIRED_HEIGHT_LOCKTIME;
/// The same for outputs.
pub(super) const OUTPUT_FIELDS: RangeInclusive<u8> = OUT_AMOUNT..=OUT_SCRIPT;

/// Refuses `fields` in maps of version 0, from which BIP 370 excludes them.
pub(super) fn refuse_fields(
    maps: &[&[u8]],
    which: fn(usize) -> Map,
    fields: RangeInclusive<u8>,
) -> Result<(), PsbtError> {
    for (index, map) in maps.iter().enumerate() {
        Cursor::over(map).walk(|key, _| match key {
            [key_type] if fields.contains(key_type) => Err(misplaced(which(index), *key_type)),
            _ => Ok(()),
        })?;
    }
    Ok(())
}

pub(super) fn misplaced(map: Map, key_type: u8) -> PsbtError {
    PsbtError::NotPsbt(format!(
        "{} is of version 2, and the PSBT of version 0 (BIP 370)",
        map.field(key_type)
    ))
}

/// Whether this file reads a field of the global map.
pub(super) fn is_global(key_type: u8) -> bool {
    key_type == GLOBAL_VERSION || GLOBAL_FIELDS.contains(&key_type)
}

/// Magic bytes and global map of the same PSBT in version 0.
pub(super) fn up_to_inputs(bytes: &[u8], layout: &Layout) -> Result<Vec<u8>, PsbtError> {
    let mut global_map = Cursor::behind_magic(bytes)?;
    let global = Global::read(&mut global_map)?;
    let (inputs, outputs) = layout.split(bytes, layout.inputs());
    if inputs.is_empty() {
        // Without inputs the serialization of a transaction is ambiguous (BIP 144).
        return Err(refuse(Rule::NoInputOfOurs, "the transaction has no inputs"));
    }
    let inputs = inputs
        .into_iter()
        .enumerate()
        .map(|(index, map)| Input::read(index, map))
        .collect::<Result<Vec<_>, _>>()?;
    let outputs = outputs
        .into_iter()
        .enumerate()
        .map(|(index, map)| read_output(index, map))
        .collect::<Result<Vec<_>, _>>()?;
    let transaction = Transaction {
        version: transaction::Version(global.tx_version),
        lock_time: lock_time(&inputs, global.fallback)?,
        input: inputs.into_iter().map(|input| input.unsigned).collect(),
        output: outputs,
    };
    let unsigned = serialize(&transaction);
    layout::check_unsigned_len(unsigned.len())?;
    let mut rest = Vec::new();
    Cursor::behind_magic(bytes)?.copy(&mut rest, is_global)?;
    Ok(layout::with_unsigned_tx(&unsigned, &rest))
}

struct Global {
    tx_version: i32,
    fallback: LockTime,
}

impl Global {
    fn read(cursor: &mut Cursor<'_>) -> Result<Global, PsbtError> {
        let (mut tx_version, mut fallback) = (None, LockTime::ZERO);
        cursor.walk(|key, value| {
            match key {
                [GLOBAL_UNSIGNED_TX] => return Err(broken("it has an unsigned transaction")),
                [GLOBAL_TX_VERSION] => {
                    tx_version = Some(i32::from_le_bytes(fixed(value, Map::Global, GLOBAL_TX_VERSION)?))
                }
                [GLOBAL_FALLBACK_LOCKTIME] => {
                    fallback = LockTime::from_consensus(u32::from_le_bytes(fixed(
                        value,
                        Map::Global,
                        GLOBAL_FALLBACK_LOCKTIME,
                    )?));
                }
                // The layout has compared the counts with the maps.
                [GLOBAL_TX_MODIFIABLE] => drop(fixed::<1>(value, Map::Global, GLOBAL_TX_MODIFIABLE)?),
                [GLOBAL_VERSION] => drop(fixed::<4>(value, Map::Global, GLOBAL_VERSION)?),
                _ => {}
            }
            Ok(())
        })?;
        let tx_version = tx_version.ok_or_else(|| broken("the transaction's version is missing"))?;
        Ok(Global { tx_version, fallback })
    }
}

struct Input {
    unsigned: TxIn,
    time: Option<u32>,
    height: Option<u32>,
}

impl Input {
    fn read(index: usize, map: &[u8]) -> Result<Input, PsbtError> {
        let map_of = Map::Input(index);
        let (mut txid, mut vout, mut sequence) = (None, None, Sequence::MAX);
        let (mut time, mut height) = (None, None);
        Cursor::over(map).walk(|key, value| {
            match key {
                [IN_PREVIOUS_TXID] => {
                    txid = Some(Txid::from_byte_array(fixed(value, map_of, IN_PREVIOUS_TXID)?))
                }
                [IN_OUTPUT_INDEX] => vout = Some(u32::from_le_bytes(fixed(value, map_of, IN_OUTPUT_INDEX)?)),
                [IN_SEQUENCE] => sequence = Sequence(u32::from_le_bytes(fixed(value, map_of, IN_SEQUENCE)?)),
                [IN_REQUIRED_TIME_LOCKTIME] => {
                    time = Some(u32::from_le_bytes(fixed(value, map_of, IN_REQUIRED_TIME_LOCKTIME)?))
                }
                [IN_REQUIRED_HEIGHT_LOCKTIME] => {
                    height = Some(u32::from_le_bytes(fixed(value, map_of, IN_REQUIRED_HEIGHT_LOCKTIME)?))
                }
                _ => {}
            }
            Ok(())
        })?;
        if time.is_some_and(|time| time < LOCK_TIME_THRESHOLD) {
            return Err(broken(&format!("the required time of input {index} is a height")));
        }
        if height.is_some_and(|height| height == 0 || height >= LOCK_TIME_THRESHOLD) {
            return Err(broken(&format!("the required height of input {index} is zero or a time")));
        }
        let (Some(txid), Some(vout)) = (txid, vout) else {
            return Err(broken(&format!("input {index} does not say what it spends")));
        };
        let unsigned = TxIn {
            previous_output: OutPoint { txid, vout },
            script_sig: ScriptBuf::new(),
            sequence,
            witness: Witness::new(),
        };
        Ok(Input { unsigned, time, height })
    }
}

fn read_output(index: usize, map: &[u8]) -> Result<TxOut, PsbtError> {
    let (mut value, mut script) = (None, None);
    Cursor::over(map).walk(|key, field| {
        match key {
            // A negative amount becomes one over 21 million bitcoin, and is refused as such.
            [OUT_AMOUNT] => {
                value =
                    Some(Amount::from_sat(u64::from_le_bytes(fixed(field, Map::Output(index), OUT_AMOUNT)?)))
            }
            [OUT_SCRIPT] => script = Some(ScriptBuf::from_bytes(field.to_vec())),
            _ => {}
        }
        Ok(())
    })?;
    match (value, script) {
        (Some(value), Some(script_pubkey)) => Ok(TxOut { value, script_pubkey }),
        _ => Err(broken(&format!("output {index} does not say what it pays, and to which script"))),
    }
}

/// BIP 370, "Determining Lock Time": the highest required one, by height if all inputs that require one allow
/// it.
fn lock_time(inputs: &[Input], fallback: LockTime) -> Result<LockTime, PsbtError> {
    let mut requiring =
        inputs.iter().filter(|input| input.time.is_some() || input.height.is_some()).peekable();
    if requiring.peek().is_none() {
        return Ok(fallback);
    }
    let (mut height, mut time) = (Some(0), Some(0));
    for input in requiring {
        height = height.zip(input.height).map(|(highest, height)| highest.max(height));
        time = time.zip(input.time).map(|(highest, time)| highest.max(time));
    }
    let required = height.or(time).ok_or_else(|| broken("its inputs require a time and a height"))?;
    Ok(LockTime::from_consensus(required))
}

fn fixed<const N: usize>(value: &[u8], map: Map, key_type: u8) -> Result<[u8; N], PsbtError> {
    value.try_into().map_err(|_| {
        let (field, len) = (map.field(key_type), value.len());
        PsbtError::NotPsbt(format!("version 2: {field} has {len} bytes, and takes {N}"))
    })
}

fn broken(why: &str) -> PsbtError {
    PsbtError::NotPsbt(format!("version 2: {why}"))
}
