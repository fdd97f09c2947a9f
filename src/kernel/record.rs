//! Records: how they are written, and how a record of a store is read as evidence. The content of each is defined
//! where it belongs: users and the token in [`super::state`], wallets and keys beside the types that they open to.

use postcard::experimental::serialized_size;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::receipt::{Content, Write};
use super::seal::{Authority, RecordKey, Unsealed};

/// Bytes of a record before postcard: its format.
pub(crate) const FORMAT_LEN: usize = 1;

/// Evidence: a record of a store, with the place and version it was read from. Decisions on it are decisions
/// on what was sealed.
///
/// ```compile_fail,E0451
/// // A user with an invented secret.
/// use countersign_kernel::{record::Versioned, seal::RecordKey, state::UserRecord};
/// fn forge(value: UserRecord) -> Versioned<UserRecord> {
///     Versioned { place: RecordKey::user("alice"), version: 1, value, authority: panic!(), shown_len: 0 }
/// }
/// ```
pub struct Versioned<T> {
    pub(crate) place: RecordKey,
    pub(crate) version: u64,
    pub(crate) value: T,
    pub(crate) authority: Authority,
    /// Its bytes of postcard, as far as anybody may learn them. What came of codes is no secret once it is settled.
    /// Before, only the length to which the record was padded may show.
    pub(crate) shown_len: usize,
}

impl<T: Stored> Versioned<T> {
    /// Reads a record that was opened. `None` if its format is unknown.
    pub fn read(record: &Unsealed) -> Option<Versioned<T>> {
        let value = T::decode(record.plaintext())?;
        let (place, version, authority) = (record.place(), record.version(), record.authority());
        let shown_len = match record.is_settled() {
            true => serialized_len(&value),
            false => record.plaintext().len() - FORMAT_LEN,
        };
        Some(Versioned { place, version, value, authority, shown_len })
    }

    /// Its place.
    pub fn place(&self) -> RecordKey {
        self.place
    }

    /// Its version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Its content.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Its content.
    pub fn into_value(self) -> T {
        self.value
    }

    /// What it is while nobody else writes it: its place and version.
    pub(crate) fn unchanged(&self) -> (RecordKey, u64) {
        (self.place, self.version)
    }

    /// Replaces the record. How long the new one is depends on the place and on what is known of the old one, and on nothing
    /// else.
    pub(crate) fn put(&self, value: &T) -> Write {
        let content = Content::Put(value.encode_after(self.shown_len));
        Write { place: self.place, expected: Some(self.version), content }
    }

    pub(crate) fn remove(&self) -> Write {
        Write { place: self.place, expected: Some(self.version), content: Content::Remove }
    }
}

/// A record that can be stored: one byte of format, then postcard, then zeros up to the length to which the
/// record is padded.
pub trait Stored: Serialize + DeserializeOwned {
    /// The format written.
    const FORMAT: u8 = 1;

    /// The number of postcard bytes to which the record is padded, given its own number, `len`, and that of the record
    /// that it replaces, as far as anybody may learn it: `earlier`, or 0 for the first one. For records whose length would
    /// reveal the outcome of a code.
    fn padded_len(&self, len: usize, _earlier: usize) -> usize {
        len
    }

    /// The first record of its place as plaintext, to be sealed.
    fn encode(&self) -> Zeroizing<Vec<u8>> {
        self.encode_after(0)
    }

    /// The record as plaintext, to be sealed in place of one with `earlier` bytes of postcard.
    fn encode_after(&self, earlier: usize) -> Zeroizing<Vec<u8>> {
        // Allocated at once: growing would leave copies of secrets behind.
        let body = serialized_len(self);
        let padded = self.padded_len(body, earlier).max(body);
        let mut bytes = Zeroizing::new(Vec::with_capacity(FORMAT_LEN + padded));
        bytes.push(Self::FORMAT);
        struct Tail<'a>(&'a mut Vec<u8>);
        impl Extend<u8> for Tail<'_> {
            fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
                self.0.extend(bytes);
            }
        }
        postcard::to_extend(self, Tail(&mut bytes)).expect("records hold nothing that postcard cannot write");
        bytes.resize(FORMAT_LEN + padded, 0);
        bytes
    }

    /// Reads what [`Self::encode_after`] wrote.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (format, body) = bytes.split_first()?;
        (*format == Self::FORMAT).then(|| decode_body(body)).flatten()
    }
}

/// Reads all of `body` as one record.
pub(crate) fn decode_body<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    let (record, rest) = postcard::take_from_bytes(body).ok()?;
    rest.is_empty().then_some(record)
}

/// Reads `body` as one record and the zeros that it is padded with.
pub(crate) fn decode_padded<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    let (record, padding) = postcard::take_from_bytes(body).ok()?;
    padding.iter().all(|byte| *byte == 0).then_some(record)
}

/// Bytes of postcard.
pub(crate) fn serialized_len(value: &impl Serialize) -> usize {
    serialized_size(value).expect("records hold nothing that postcard cannot write")
}
