//! The beginning of a connection, and the responses to requests.
//!
//! The client sends a [`Hello`] and the server a [`Welcome`], each of at most [`MAX_GREETING_LEN`] bytes. From then on the server
//! sends one [`Response`] to each request. Magic number and version come first in every version to come.
//!
//! A client greets in the newest version that it speaks. A server that speaks it, too, answers in it. Another server refuses and
//! names its own version, in which the client greets again if it can. Greetings and responses are the same in all versions so
//! far. Requests differ: version 3 adds `C_GetSessionInfo` with the rule that refused.

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::CkRv;
use crate::kernel::psbt::MAX_PSBT_LEN;

/// The first bytes of a [`Hello`].
pub const MAGIC: [u8; 4] = *b"CSGN";
/// The newest version that this release speaks.
pub const VERSION: u16 = 3;
/// The oldest version that it speaks.
pub const OLDEST_VERSION: u16 = 2;
/// The greatest length of a greeting, in bytes.
pub const MAX_GREETING_LEN: u32 = 256;
/// The greatest length of a [`Response`] in bytes, whatever the limit on requests is: no call may be made
/// whose answer the client could not accept. The longest response is a signed PSBT, which is less than twice
/// as long as the longest PSBT in a request.
pub const MAX_RESPONSE_LEN: u32 = 32 << 20;

const _: () = assert!(2 * MAX_PSBT_LEN <= MAX_RESPONSE_LEN as usize);

/// The client's first message.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hello {
    /// The application that this connection joins. `None`: a new one.
    pub join: Option<ApplicationSecret>,
    /// The first handle of a new application.
    pub first_handle: u64,
}

/// Proves that two connections belong to one application.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct ApplicationSecret([u8; 32]);

impl ApplicationSecret {
    /// From bytes that must be random.
    pub fn new(random: [u8; 32]) -> ApplicationSecret {
        ApplicationSecret(random)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for ApplicationSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApplicationSecret(..)")
    }
}

impl Hello {
    /// The payload of its frame, in `version`.
    pub fn encode(&self, version: u16) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_GREETING_LEN as usize));
        bytes.extend_from_slice(&MAGIC);
        append(&mut bytes, &version);
        append(&mut bytes, self);
        bytes
    }

    /// Reads the payload of its frame.
    pub fn decode(payload: &[u8]) -> Result<Hello, HelloError> {
        let rest = payload.strip_prefix(&MAGIC).ok_or(HelloError::Malformed)?;
        let (version, rest): (u16, _) = postcard::take_from_bytes(rest).map_err(|_| HelloError::Malformed)?;
        if !is_spoken(version) {
            return Err(HelloError::Version(version));
        }
        whole(rest).ok_or(HelloError::Malformed)
    }
}

/// Whether this release speaks this version.
pub fn is_spoken(version: u16) -> bool {
    (OLDEST_VERSION..=VERSION).contains(&version)
}

/// The reason why a greeting is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// It is not the greeting of a Countersign client.
    #[error("the peer is not a Countersign client")]
    Malformed,
    /// It speaks another version.
    #[error(
        "the peer speaks version {0} of the protocol; this release speaks versions {OLDEST_VERSION} to {VERSION}"
    )]
    Version(u16),
}

/// The answer to a [`Hello`].
#[derive(Debug, Serialize, Deserialize)]
pub enum Welcome {
    /// Requests may come.
    Accepted {
        /// What other connections show to join this application.
        application: ApplicationSecret,
        /// The longest frame that the server accepts, in bytes.
        max_frame: u32,
    },
    /// The connection ends here.
    Refused(Refusal),
}

impl Welcome {
    /// The payload of its frame.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_GREETING_LEN as usize));
        append(&mut bytes, self);
        bytes
    }

    /// Reads the payload of its frame.
    pub fn decode(payload: &[u8]) -> Option<Welcome> {
        whole(payload)
    }
}

/// The reason why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// It speaks another version.
    #[error(
        "it speaks version {ours} of the protocol; this release speaks versions {OLDEST_VERSION} to {VERSION}: install the same release on both sides"
    )]
    Version {
        /// The newest that the server speaks.
        ours: u16,
    },
    /// The peer is not among those that may connect.
    #[error(
        "this peer may not connect; add this process's user, its certificate's name or its context id to [serve] of the boundary's configuration"
    )]
    NotAllowed,
    /// The limit on connections is reached.
    #[error(
        "it has reached serve.max_connections; close some connections, or raise that limit in the boundary's configuration"
    )]
    TooManyConnections,
    /// The application to join has ended, or is another peer's.
    #[error("it no longer knows this application; initialise again")]
    UnknownApplication,
    /// The server is stopping.
    #[error("it is stopping; try again when it has restarted")]
    Stopping,
    /// The module refused to begin an application.
    #[error("its module refused to begin an application (CK_RV {0:#010X}); its log says why")]
    Module(u64),
}

/// The response to a request: a tag of one byte, and its content.
pub enum Response<'a> {
    /// The module's answer.
    Answered(&'a [u8]),
    /// There is no room for this request or its answer now. The client may send it again, and a signature
    /// request with the same code.
    Busy,
    /// The application has ended.
    Closed(CkRv),
}

impl<'a> Response<'a> {
    const ANSWER: u8 = 0;
    const BUSY: u8 = 1;
    const CLOSED: u8 = 2;

    /// The payload of its frame. `number` is memory for it.
    pub fn parts<'b>(&'b self, number: &'b mut [u8; 8]) -> [&'b [u8]; 2] {
        match self {
            Response::Answered(answer) => [&[Self::ANSWER], answer],
            Response::Busy => [&[Self::BUSY], &[]],
            Response::Closed(rv) => {
                *number = rv.to_le_bytes();
                [&[Self::CLOSED], number]
            }
        }
    }

    /// Reads the payload of its frame.
    pub fn decode(payload: &'a [u8]) -> Option<Response<'a>> {
        match payload.split_first()? {
            (&Self::ANSWER, answer) => Some(Response::Answered(answer)),
            (&Self::BUSY, []) => Some(Response::Busy),
            (&Self::CLOSED, rv) => Some(Response::Closed(CkRv::from_le_bytes(rv.try_into().ok()?))),
            _ => None,
        }
    }
}

/// Reads one value that takes up all of the bytes.
fn whole<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(bytes).ok()?;
    rest.is_empty().then_some(value)
}

/// Appends within the capacity. A buffer that has to grow would leave a copy of the secret behind.
fn append(bytes: &mut Vec<u8>, value: &impl Serialize) {
    let written = Zeroizing::new(postcard::to_allocvec(value).expect("plain fields are always written"));
    debug_assert!(bytes.len() + written.len() <= bytes.capacity());
    bytes.extend_from_slice(&written);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(join: Option<[u8; 32]>) -> Hello {
        Hello { join: join.map(ApplicationSecret::new), first_handle: 300 }
    }

    #[test]
    fn the_layout_is_fixed() {
        assert_eq!(hello(None).encode(2).as_slice(), b"CSGN\x02\x00\xac\x02");
        assert_eq!(hello(None).encode(3).as_slice(), b"CSGN\x03\x00\xac\x02");
        let joined = [&b"CSGN\x02\x01"[..], &[9; 32], b"\xac\x02"].concat();
        assert_eq!(*hello(Some([9; 32])).encode(2), joined);
        let accepted = Welcome::Accepted { application: ApplicationSecret::new([8; 32]), max_frame: 65536 };
        assert_eq!(*accepted.encode(), [&[0][..], &[8; 32], &[0x80, 0x80, 4]].concat());
        for (refusal, bytes) in [
            (Refusal::Version { ours: 1 }, &[1, 0, 1][..]),
            (Refusal::NotAllowed, &[1, 1]),
            (Refusal::TooManyConnections, &[1, 2]),
            (Refusal::UnknownApplication, &[1, 3]),
            (Refusal::Stopping, &[1, 4]),
            (Refusal::Module(5), &[1, 5, 5]),
        ] {
            assert_eq!(Welcome::Refused(refusal).encode().as_slice(), bytes);
            assert!(matches!(Welcome::decode(bytes), Some(Welcome::Refused(read)) if read == refusal));
        }
        let mut number = [0; 8];
        assert_eq!(Response::Answered(b"x").parts(&mut number).concat(), b"\x00x");
        assert_eq!(Response::Busy.parts(&mut number).concat(), b"\x01");
        assert_eq!(Response::Closed(0x30).parts(&mut number).concat(), b"\x02\x30\0\0\0\0\0\0\0");
    }

    #[test]
    fn what_is_written_is_read() {
        for (join, version) in [(None, 2), (Some([5; 32]), 2), (None, 3), (Some([5; 32]), 3)] {
            let read = Hello::decode(&hello(join).encode(version)).expect("a greeting");
            assert_eq!(read.join.map(|secret| *secret.as_bytes()), join);
            assert_eq!(read.first_handle, 300);
        }
        let most = Hello { join: Some(ApplicationSecret::new([1; 32])), first_handle: u64::MAX };
        assert!(most.encode(VERSION).len() <= MAX_GREETING_LEN as usize);
        assert!(matches!(Response::decode(b"\x00abc"), Some(Response::Answered(b"abc"))));
        assert!(matches!(Response::decode(b"\x00"), Some(Response::Answered(b""))));
        assert!(matches!(Response::decode(b"\x02\x30\0\0\0\0\0\0\0"), Some(Response::Closed(0x30))));
    }

    #[test]
    fn other_versions_are_distinguished_from_other_programs() {
        for version in [0u16, 1, VERSION + 1, 127, 128, 0xffff] {
            let mut bytes = MAGIC.to_vec();
            append_version(&mut bytes, version);
            bytes.extend_from_slice(b"whatever comes then");
            assert_eq!(Hello::decode(&bytes).err(), Some(HelloError::Version(version)));
        }
        let good = hello(Some([5; 32])).encode(VERSION);
        for cut in 0..good.len() {
            assert_eq!(Hello::decode(&good[..cut]).err(), Some(HelloError::Malformed), "{cut}");
        }
        let longer = [good.as_slice(), &[0]].concat();
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"csgn\x01\x00\x00", &longer] {
            assert_eq!(Hello::decode(bytes).err(), Some(HelloError::Malformed));
        }
    }

    fn append_version(bytes: &mut Vec<u8>, version: u16) {
        bytes.extend(postcard::to_allocvec(&version).expect("a number"));
    }

    #[test]
    fn bytes_that_are_no_answer_are_refused() {
        for bytes in
            [&b""[..], b"\x03", b"\x01\x00", b"\x02", b"\x02\0\0\0\0\0\0\0", b"\x02\0\0\0\0\0\0\0\0\0"]
        {
            assert!(Response::decode(bytes).is_none(), "{bytes:?}");
        }
        for bytes in [&b""[..], b"\x02", b"\x00", b"\x01\x06", b"\x01\x01\x00"] {
            assert!(Welcome::decode(bytes).is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn secret_of_an_application_is_not_shown() {
        assert_eq!(
            format!("{:?}", hello(Some([5; 32]))),
            "Hello { join: Some(ApplicationSecret(..)), first_handle: 300 }"
        );
    }
}
