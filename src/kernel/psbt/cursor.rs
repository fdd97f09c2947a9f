//! A walk over the bytes of a PSBT (BIP 174, "Specification"): the magic bytes, and maps of length-prefixed keys and
//! values. It allocates nothing.

use super::PsbtError;

pub(super) const MAGIC: &[u8] = b"psbt\xff";
/// The magic bytes in the forms in which people see PSBTs.
const MAGIC_IN_BASE64: &[u8] = b"cHNidP";
const MAGIC_IN_HEX: &[u8] = b"70736274ff";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
pub(super) const SEPARATOR: u8 = 0x00;

/// The bytes of a key with its type, and of its value.
type KeyValue<'a> = (&'a [u8], &'a [u8]);

/// A walk over the pairs of the maps.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// From the beginning of a map.
    pub(super) fn over(map: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes: map, at: 0 }
    }

    pub(super) fn behind_magic(bytes: &'a [u8]) -> Result<Cursor<'a>, PsbtError> {
        if bytes.starts_with(MAGIC) {
            return Ok(Cursor { bytes, at: MAGIC.len() });
        }
        let begins =
            |form: &[u8]| bytes.get(..form.len()).is_some_and(|start| start.eq_ignore_ascii_case(form));
        let what = if bytes.starts_with(MAGIC_IN_BASE64) {
            "this is base64: decode it first, this interface takes the bytes"
        } else if begins(MAGIC_IN_HEX) {
            "these are hexadecimal digits: decode them first, this interface takes the bytes"
        } else if bytes.starts_with(BYTE_ORDER_MARK) {
            "it begins with a byte order mark: this interface takes the bytes of a PSBT, without one"
        } else {
            "the magic bytes are missing"
        };
        Err(PsbtError::NotPsbt(what.into()))
    }

    /// The position of the next byte.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn is_done(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The next pair, or `None` after the separator of the map.
    pub(super) fn pair(&mut self) -> Result<Option<KeyValue<'a>>, PsbtError> {
        let key = self.field()?;
        if key.is_empty() {
            return Ok(None);
        }
        Ok(Some((key, self.field()?)))
    }

    /// Walks over one map.
    pub(super) fn walk(
        &mut self,
        mut see: impl FnMut(&'a [u8], &'a [u8]) -> Result<(), PsbtError>,
    ) -> Result<(), PsbtError> {
        while let Some((key, value)) = self.pair()? {
            see(key, value)?;
        }
        Ok(())
    }

    /// Walks over one map and shows the key of each pair, and the whole pair with its lengths.
    pub(super) fn pairs(&mut self, mut see: impl FnMut(&'a [u8], &'a [u8])) -> Result<(), PsbtError> {
        let mut from = self.at;
        while let Some((key, _)) = self.pair()? {
            see(key, &self.bytes[from..self.at]);
            from = self.at;
        }
        Ok(())
    }

    /// Copies one map with its separator to `copy`, without the fields whose key types `leave` selects. Only
    /// keys without data are passed to it, because the others are fields of their own.
    pub(super) fn copy(&mut self, copy: &mut Vec<u8>, leave: impl Fn(u8) -> bool) -> Result<(), PsbtError> {
        let mut from = self.at;
        while let Some((key, _)) = self.pair()? {
            if !matches!(key, [key_type] if leave(*key_type)) {
                copy.extend_from_slice(&self.bytes[from..self.at]);
            }
            from = self.at;
        }
        copy.push(SEPARATOR);
        Ok(())
    }

    /// Reads one length-prefixed field.
    fn field(&mut self) -> Result<&'a [u8], PsbtError> {
        let mut split = || {
            let mut rest = &self.bytes[self.at..];
            let len = compact_size(&mut rest)?;
            let field = rest.get(..len)?;
            self.at = self.bytes.len() - rest.len() + len;
            Some(field)
        };
        split().ok_or_else(|| {
            PsbtError::NotPsbt(format!(
                "at byte {} it ends in the middle of a map, or a length is not minimal",
                self.at
            ))
        })
    }
}

/// A CompactSize that fills the whole value.
pub(super) fn whole_compact_size(mut value: &[u8]) -> Option<usize> {
    compact_size(&mut value).filter(|_| value.is_empty())
}

/// Takes a CompactSize off the front, which must be minimal: the separator of a map has one form, of one
/// byte.
pub(super) fn compact_size(rest: &mut &[u8]) -> Option<usize> {
    let [first] = take(rest)?;
    let (size, least) = match first {
        0xfd => (u64::from(u16::from_le_bytes(take(rest)?)), 0xfd),
        0xfe => (u64::from(u32::from_le_bytes(take(rest)?)), 0x1_0000),
        0xff => (u64::from_le_bytes(take(rest)?), 0x1_0000_0000),
        short => (u64::from(short), 0),
    };
    usize::try_from(size).ok().filter(|_| size >= least)
}

pub(super) fn take<const N: usize>(tail: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, rest) = tail.split_first_chunk()?;
    *tail = rest;
    Some(*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_only_in_its_shortest_form() {
        for (bytes, size) in [
            (&[0xfc][..], Some(0xfc)),
            (&[0xfd, 0xfc, 0], None),
            (&[0xfd, 0xfd, 0], Some(0xfd)),
            (&[0xfe, 0xff, 0xff, 0, 0], None),
            (&[0xfe, 0, 0, 1, 0], Some(0x1_0000)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], None),
        ] {
            assert_eq!(compact_size(&mut &bytes[..]), size, "{bytes:?}");
        }
    }
}
