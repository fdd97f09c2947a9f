//! The encoding of calls: postcard's, with bounds.

use core::fmt;
use core::marker::PhantomData;

use cryptoki_sys::CKR_FUNCTION_FAILED;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use zeroize::Zeroizing;

use super::call::{Bytes, MAX_ATTRIBUTES};
use super::rv::{Answer, Rv};

/// The bytes of a value, in a buffer of their exact length: none is left behind by growing.
pub(super) fn encode<T: Serialize>(value: &T) -> Answer<Zeroizing<Vec<u8>>> {
    let failed = |_| Rv(CKR_FUNCTION_FAILED);
    let len = postcard::experimental::serialized_size(value).map_err(failed)?;
    let mut bytes = Zeroizing::new(vec![0; len]);
    postcard::to_slice(value, &mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// The value of these bytes, all of them.
pub(super) fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

/// A list as long as a template may be. What claims to be longer is not read to its end: two bytes of it may be thirty in
/// memory.
pub(super) fn bounded<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_seq(Bounded(PhantomData))
}

struct Bounded<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Bounded<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX_ATTRIBUTES} attributes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element()? {
            if list.len() == MAX_ATTRIBUTES {
                return Err(A::Error::custom("too many attributes"));
            }
            list.push(entry);
        }
        Ok(list)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        deserializer.deserialize_bytes(Copied)
    }
}

/// Copies bytes once, as a whole.
struct Copied;

impl Visitor<'_> for Copied {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes(Zeroizing::new(bytes.to_vec())))
    }
}
