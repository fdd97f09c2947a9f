//! The encoding of calls: postcard with bounds.

use core::fmt;
use core::marker::PhantomData;

use cryptoki_sys::CKR_FUNCTION_FAILED;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use zeroize::Zeroizing;

use super::request::{Bytes, MAX_ATTRIBUTES};
use super::rv::{Answer, Rv};

/// Encodes a value into a buffer of the exact length, so that no growing buffer leaves a copy behind.
pub(super) fn encode<T: Serialize>(value: &T) -> Answer<Zeroizing<Vec<u8>>> {
    let failed = |_| Rv(CKR_FUNCTION_FAILED);
    let len = postcard::experimental::serialized_size(value).map_err(failed)?;
    let mut bytes = Zeroizing::new(vec![0; len]);
    postcard::to_slice(value, &mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Decodes a value that takes all of these bytes.
pub(super) fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

/// A list at most as long as a template may be. A list that claims to be longer is not read to its end: two
/// bytes of it can become thirty in memory.
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

#[cfg(test)]
mod tests {
    use cryptoki_sys::CKA_LABEL;

    use super::super::reply::{Reply, SessionInfo};
    use super::super::request::{Mechanism, Request, Room, TemplateEntry, Wanted};
    use super::*;

    #[test]
    fn a_request_comes_back_as_it_was_and_nothing_may_follow_it() {
        let request =
            Request::Sign { session: 7, data: Ok(Bytes(Zeroizing::new(vec![1, 2, 3]))), room: Room::Of(9) };
        let mut bytes = encode(&request).expect("encodes").to_vec();
        let Some(Request::Sign { session: 7, data: Ok(data), room: Room::Of(9) }) = decode(&bytes) else {
            panic!("not what was encoded")
        };
        assert_eq!(&data[..], [1, 2, 3]);
        for len in 0..bytes.len() {
            assert!(decode::<Request>(&bytes[..len]).is_none(), "cut at {len}");
        }
        bytes.push(0);
        assert!(decode::<Request>(&bytes).is_none());
    }

    #[test]
    fn a_list_that_is_too_long_is_not_read_to_its_end() {
        let request = |count: usize| {
            let wanted = vec![Wanted { kind: CKA_LABEL, room: Room::Query }; count];
            encode(&Request::GetAttributeValue { session: 1, object: 1, wanted }).expect("encodes")
        };
        assert!(decode::<Request>(&request(MAX_ATTRIBUTES)).is_some());
        let longer = request(MAX_ATTRIBUTES + 1);
        assert!(decode::<Request>(&longer).is_none());
        // A fault behind the bound is not reached.
        assert!(decode::<Request>(&longer[..longer.len() - 1]).is_none());
    }

    #[test]
    fn the_encoding_is_fixed() {
        let pin = |text: &[u8]| Bytes(Zeroizing::new(text.to_vec()));
        let golden = |request: Request| hex(&encode(&request).expect("encodes"));
        assert_eq!(golden(Request::SlotList), "00");
        assert_eq!(
            golden(Request::Login { session: 300, user_type: 1, user: None, pin: pin(b"1234") }),
            "0cac0201000431323334"
        );
        let mechanism = Some(Mechanism { mechanism: 0xC353_0001, parameter: pin(b"\x01\x02") });
        assert_eq!(
            golden(Request::SignInit { session: 1, mechanism, key: 2 }),
            "160101818 0cc9a0c02010202".replace(' ', "")
        );
        assert_eq!(
            golden(Request::Sign { session: 1, data: Err(Rv(0x21)), room: Room::Query }),
            "1701012100"
        );
        assert_eq!(
            golden(Request::SignMessageNext {
                session: 1,
                parameter: Ok(pin(b"\x03")),
                part: Ok(pin(b"\x04\x05")),
                room: Some(Room::Of(6)),
            }),
            "1d01000103000204050101 06".replace(' ', "")
        );
        assert_eq!(golden(Request::GenerateRandom { session: 1, len: 32 }), "290120");
        let template = || vec![TemplateEntry { kind: CKA_LABEL, value: pin(b"a") }];
        assert_eq!(golden(Request::CreateObject { session: 1, template: template() }), "2a0101030161");
        assert_eq!(
            golden(Request::CopyObject { session: 1, object: 2, template: template() }),
            "2b010201030161"
        );
        assert_eq!(golden(Request::GetObjectSize { session: 1, object: 2 }), "2c0102");
        assert_eq!(golden(Request::SessionInfo { session: 1 }), "0b01");
        assert_eq!(golden(Request::SessionInfoAndRule { session: 1 }), "2d01");
        assert_eq!(hex(&encode::<Answer<Reply>>(&Err(Rv(0xa0))).expect("encodes")), "01a001");
        assert_eq!(
            hex(&encode::<Answer<Reply>>(&Ok(Reply::Random(pin(&[9])))).expect("encodes")),
            "000c0109"
        );
        let session = SessionInfo { state: 3, flags: 6 };
        assert_eq!(hex(&encode::<Answer<Reply>>(&Ok(Reply::Session(session))).expect("encodes")), "00050306");
        let with_rule = Reply::SessionAndRule { session, rule: 300 };
        assert_eq!(hex(&encode::<Answer<Reply>>(&Ok(with_rule)).expect("encodes")), "000f0306ac02");
    }

    fn hex(bytes: &[u8]) -> String {
        data_encoding::HEXLOWER.encode(bytes)
    }
}
