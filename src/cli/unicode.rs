//! Text from editors and shells of other systems: UTF-8 or UTF-16, with a byte order mark or without.

use std::borrow::Cow;

/// The text of `bytes`, without its byte order mark. `None` if it is not text. UTF-16 is recognised by its
/// mark.
pub(crate) fn decode(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let units = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().copied().map(unit).collect();
        rest.is_empty().then(|| String::from_utf16(&units).ok()).flatten().map(Cow::Owned)
    };
    match bytes {
        [0xef, 0xbb, 0xbf, text @ ..] => std::str::from_utf8(text).ok().map(Cow::Borrowed),
        [0xff, 0xfe, text @ ..] => units(text, u16::from_le_bytes),
        [0xfe, 0xff, text @ ..] => units(text, u16::from_be_bytes),
        text => std::str::from_utf8(text).ok().map(Cow::Borrowed),
    }
}
