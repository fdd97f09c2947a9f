//! A first walk over the bytes of a PSBT: bounds, before anything is allocated for it.
//!
//! The parser behind it builds a struct of several hundred bytes per input and a tree node per pair; what an attacker
//! can make it allocate is bounded here, from lengths alone.

use super::PsbtError;

/// Most bytes of a PSBT: room for a thousand inputs with previous transactions of 16 KB each.
pub const MAX_PSBT_LEN: usize = 16 << 20;
/// Most bytes of the unsigned transaction: at four weight units a byte (BIP 141), the 400,000 that nodes relay. It also
/// bounds the work of a legacy signature hash, which reads the whole transaction for each input.
const MAX_UNSIGNED_TX_LEN: usize = 100_000;
/// Most key-value pairs in all maps together.
const MAX_PAIRS: usize = 200_000;
/// Longest key: a type with a control block of the deepest taproot tree (BIP 371) is 4,130 bytes.
const MAX_KEY_LEN: usize = 8_192;
/// Bytes that one signature adds: key (1 + 1 + 33), value (1 + 71): a low-R, low-S signature in DER with its type.
const ADDED_PER_INPUT: usize = 107;

const MAGIC: &[u8] = b"psbt\xff";
const GLOBAL_UNSIGNED_TX: u8 = 0x00;

/// What the walk counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Maps after the global one: as many as inputs and outputs together.
    pub maps: usize,
    inputs: usize,
    len: usize,
}

impl Survey {
    /// Walks over all maps of `bytes` (BIP 174, "Specification").
    pub fn take(bytes: &[u8]) -> Result<Survey, PsbtError> {
        if bytes.len() > MAX_PSBT_LEN {
            return Err(PsbtError::Oversize(format!("{} bytes, the most is {MAX_PSBT_LEN}", bytes.len())));
        }
        let mut rest =
            bytes.strip_prefix(MAGIC).ok_or(PsbtError::NotPsbt("the magic bytes are missing".into()))?;
        let (mut maps, mut pairs, mut inputs) = (0usize, 0, None);
        while !rest.is_empty() {
            loop {
                let key = field(&mut rest)?;
                let Some((key_type, key_data)) = key.split_first() else { break };
                let value = field(&mut rest)?;
                pairs += 1;
                if pairs > MAX_PAIRS {
                    return Err(PsbtError::Oversize(format!("more than {MAX_PAIRS} key-value pairs")));
                }
                if key.len() > MAX_KEY_LEN {
                    return Err(PsbtError::Oversize(format!(
                        "a key of {} bytes, the most is {MAX_KEY_LEN}",
                        key.len()
                    )));
                }
                if maps == 0 && *key_type == GLOBAL_UNSIGNED_TX && key_data.is_empty() {
                    if value.len() > MAX_UNSIGNED_TX_LEN {
                        return Err(PsbtError::Oversize(format!(
                            "an unsigned transaction of {} bytes, the most is {MAX_UNSIGNED_TX_LEN}",
                            value.len()
                        )));
                    }
                    inputs = input_count(value);
                }
            }
            maps += 1;
        }
        let maps = maps.checked_sub(1).ok_or(PsbtError::NotPsbt("the global map is missing".into()))?;
        let inputs = inputs.ok_or(PsbtError::NotPsbt("the unsigned transaction is missing".into()))?;
        Ok(Survey { maps, inputs: inputs.min(maps), len: bytes.len() })
    }

    /// An upper bound for the length of the PSBT with our signatures added.
    pub fn signed_len_bound(&self) -> usize {
        self.len + self.inputs * ADDED_PER_INPUT
    }
}

/// Takes one length-prefixed field off the front.
fn field<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], PsbtError> {
    let mut split = || {
        let len = compact_size(rest)?;
        let (field, tail) = rest.split_at_checked(len)?;
        *rest = tail;
        Some(field)
    };
    split().ok_or_else(|| PsbtError::NotPsbt("it ends in the middle of a map".into()))
}

/// The number of inputs that an unsigned transaction begins with: version, then the count.
fn input_count(mut transaction: &[u8]) -> Option<usize> {
    take::<4>(&mut transaction)?;
    compact_size(&mut transaction)
}

/// Takes a CompactSize off the front. One that is not minimal is left to the parser to refuse.
fn compact_size(rest: &mut &[u8]) -> Option<usize> {
    let [first] = take(rest)?;
    match first {
        0xfd => take(rest).map(|bytes| usize::from(u16::from_le_bytes(bytes))),
        0xfe => usize::try_from(u32::from_le_bytes(take(rest)?)).ok(),
        0xff => usize::try_from(u64::from_le_bytes(take(rest)?)).ok(),
        short => Some(usize::from(short)),
    }
}

fn take<const N: usize>(tail: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, rest) = tail.split_first_chunk()?;
    *tail = rest;
    Some(*bytes)
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
        let survey = Survey::take(&psbt(&[&global, &[0], &[0]])).expect("three maps");
        assert_eq!(survey.maps, 2);
        assert_eq!(survey.signed_len_bound(), 16 + 107);
    }

    #[test]
    fn what_is_cut_or_has_no_map_is_no_psbt() {
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
            assert!(matches!(Survey::take(bytes), Err(PsbtError::NotPsbt(_))), "{bytes:?}");
        }
        let huge_length = psbt(&[&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]]);
        assert!(matches!(Survey::take(&huge_length), Err(PsbtError::NotPsbt(_))));
    }

    #[test]
    fn oversize() {
        let over = |bytes: &[u8]| matches!(Survey::take(bytes), Err(PsbtError::Oversize(_)));
        assert!(over(&vec![0; MAX_PSBT_LEN + 1]));
        assert!(over(&psbt(&[&[1, 0xfc, 0].repeat(MAX_PAIRS + 1), &[0]])));
        let long_key = [&[0xfd, 0x01, 0x20][..], &[7; 8_193], &[0, 0]].concat();
        assert!(over(&psbt(&[&long_key])));
        let tx = [&[1, 0, 0xfe][..], &100_001u32.to_le_bytes(), &vec![0; 100_001], &[0]].concat();
        assert!(over(&psbt(&[&tx])));
    }
}
