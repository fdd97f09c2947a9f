//! One-time codes: RFC 4226 (HOTP) and RFC 6238 (TOTP). [`super::factor`] decides when a code is right.

use core::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use totp_rs::{Algorithm, Builder, Totp};
use zeroize::Zeroizing;

/// Bytes of a shared secret: 160 bits (RFC 4226 section 4, R6).
pub const SECRET_LEN: usize = 20;

/// Longer than any message of HOTP, which has 8 bytes (RFC 4226 section 5.1).
const LABEL_KEY_ID: &[u8] = b"countersign/otp-key-id/v1";

/// The id of an OTP key. The same user's next enrolment has another one.
pub type OtpKeyId = [u8; 16];

/// The hash of HMAC (RFC 6238 section 1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OtpHash {
    /// HMAC-SHA-1, which all authenticator apps support.
    #[default]
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

/// A user's shared secret with its parameters.
#[derive(Clone, Serialize, Deserialize)]
pub struct OtpKey {
    secret: Zeroizing<Vec<u8>>,
    hash: OtpHash,
    digits: u8,
    period: u64,
}

impl OtpKey {
    /// A key for 6 to 8 digits and 15 to 120 seconds, with a secret of at least 160 bits. `None` outside that
    /// range.
    pub fn new(secret: Zeroizing<Vec<u8>>, hash: OtpHash, digits: u8, period: u64) -> Option<OtpKey> {
        ((6..=8).contains(&digits) && (15..=120).contains(&period) && secret.len() >= SECRET_LEN)
            .then_some(OtpKey { secret, hash, digits, period })
    }

    /// The hash of HMAC.
    pub fn hash(&self) -> OtpHash {
        self.hash
    }

    /// Digits of a code.
    pub fn digits(&self) -> u8 {
        self.digits
    }

    /// Seconds of a time step (`X` of RFC 6238 section 4.1; `T0` is 0).
    pub fn period(&self) -> u64 {
        self.period
    }

    /// Its id, which reveals nothing about the secret: HMAC-SHA-256 of a label under it, cut to 128 bits.
    pub fn id(&self) -> OtpKeyId {
        id_of(&self.secret)
    }

    /// The enrolment as an `otpauth://totp/` URI, the form that authenticator apps scan.
    pub fn uri(&self, service: &str, user: &str) -> Zeroizing<String> {
        let algorithm = match self.hash {
            OtpHash::Sha1 => "SHA1",
            OtpHash::Sha256 => "SHA256",
            OtpHash::Sha512 => "SHA512",
        };
        let tail = format!("algorithm={algorithm}&digits={}&period={}", self.digits, self.period);
        otpauth("totp", &self.secret, (service, user), &tail)
    }

    /// Computes its codes.
    pub(crate) fn codes(&self) -> Codes {
        let algorithm = match self.hash {
            OtpHash::Sha1 => Algorithm::SHA1,
            OtpHash::Sha256 => Algorithm::SHA256,
            OtpHash::Sha512 => Algorithm::SHA512,
        };
        Codes::new(&self.secret, algorithm, self.digits, self.period)
    }

    /// The key that a code for an unknown user is compared with, so that this costs the same as for a known
    /// one.
    pub(crate) fn decoy() -> OtpKey {
        OtpKey { secret: Zeroizing::new(vec![0; SECRET_LEN]), hash: OtpHash::Sha1, digits: 6, period: 30 }
    }
}

/// A user's shared secret for codes that a counter numbers: HMAC-SHA-1, 8 digits (RFC 4226).
#[derive(Clone, Serialize, Deserialize)]
pub struct HotpKey {
    secret: Zeroizing<Vec<u8>>,
}

impl HotpKey {
    /// Digits of a code. The window of counters is wider than that of time steps, so there are as many as RFC 4226 allows.
    pub const DIGITS: u8 = 8;

    /// A key with a secret of 160 bits.
    pub fn new(secret: &[u8; SECRET_LEN]) -> HotpKey {
        HotpKey { secret: Zeroizing::new(secret.to_vec()) }
    }

    /// Its id, as that of an [`OtpKey`].
    pub fn id(&self) -> OtpKeyId {
        id_of(&self.secret)
    }

    /// The enrolment as an `otpauth://hotp/` URI.
    pub fn uri(&self, service: &str, user: &str) -> Zeroizing<String> {
        let tail = format!("algorithm=SHA1&digits={}&counter=0", Self::DIGITS);
        otpauth("hotp", &self.secret, (service, user), &tail)
    }

    /// Computes its codes.
    pub(crate) fn codes(&self) -> Codes {
        // Every second is a step: the step is the counter.
        Codes::new(&self.secret, Algorithm::SHA1, Self::DIGITS, 1)
    }

    /// The key that a code is compared with if there is none of this kind.
    pub(crate) fn decoy() -> HotpKey {
        HotpKey::new(&[0; SECRET_LEN])
    }
}

fn id_of(secret: &[u8]) -> OtpKeyId {
    let mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    let mac = mac.chain_update(LABEL_KEY_ID).finalize().into_bytes();
    core::array::from_fn(|index| mac[index])
}

/// An enrolment as a URI.
fn otpauth(kind: &str, secret: &[u8], (service, user): (&str, &str), tail: &str) -> Zeroizing<String> {
    let escape = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let (service, user) = (escape(service), escape(user));
    // One allocation of the final size, because a growing string would leave copies of the secret behind.
    let mut uri =
        Zeroizing::new(String::with_capacity(256 + 2 * service.len() + user.len() + 2 * secret.len()));
    write!(uri, "otpauth://{kind}/{service}:{user}?secret=").expect("writing to a String cannot fail");
    data_encoding::BASE32_NOPAD.encode_append(secret, &mut uri);
    write!(uri, "&issuer={service}&{tail}").expect("writing to a String cannot fail");
    uri
}

/// The codes of one key.
pub(crate) struct Codes {
    totp: Totp,
    period: u64,
}

#[cfg(test)]
std::thread_local! {
    /// How many codes this thread has computed.
    pub(crate) static COMPUTED: core::cell::Cell<u32> = const { core::cell::Cell::new(0) };
}

impl Codes {
    fn new(secret: &[u8], algorithm: Algorithm, digits: u8, period: u64) -> Codes {
        let totp = Builder::new()
            .with_algorithm(algorithm)
            .with_digits(digits)
            .with_skew(0)
            .with_step_duration(period)
            .with_secret(secret.to_vec())
            .build()
            .expect("the keys of both kinds are within what RFC 4226 and RFC 6238 allow");
        Codes { totp, period }
    }

    /// The code of a step or counter, left-aligned and padded with zero bytes.
    pub(crate) fn of_step(&self, step: u64) -> Zeroizing<[u8; 8]> {
        #[cfg(test)]
        COMPUTED.set(COMPUTED.get() + 1);
        struct Digits(Zeroizing<[u8; 8]>, usize);
        impl core::fmt::Write for Digits {
            fn write_str(&mut self, text: &str) -> core::fmt::Result {
                let free = self.0.get_mut(self.1..self.1 + text.len()).ok_or(core::fmt::Error)?;
                free.copy_from_slice(text.as_bytes());
                self.1 += text.len();
                Ok(())
            }
        }
        let mut digits = Digits(Zeroizing::new([0; 8]), 0);
        write!(digits, "{}", self.totp.generate(step.saturating_mul(self.period)))
            .expect("a code has at most 8 digits");
        digits.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: &[u8], hash: OtpHash, digits: u8, period: u64) -> OtpKey {
        OtpKey { secret: Zeroizing::new(secret.to_vec()), hash, digits, period }
    }

    fn code(key: &OtpKey, time: u64) -> String {
        let padded = key.codes().of_step(time / key.period);
        String::from_utf8(padded[..usize::from(key.digits)].to_vec()).expect("digits")
    }

    #[test]
    fn rfc4226_appendix_d() {
        // HOTP values of counters 0 to 9: a TOTP of period X at time count * X.
        let key = key(b"12345678901234567890", OtpHash::Sha1, 6, 30);
        let expected = [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871",
            "520489",
        ];
        for (count, expected) in expected.iter().enumerate() {
            assert_eq!(code(&key, count as u64 * 30), *expected, "count {count}");
        }
    }

    #[test]
    fn rfc4226_appendix_d_with_eight_digits() {
        // The last eight digits of the truncated values, which the appendix lists in decimal.
        let codes = HotpKey::new(b"12345678901234567890").codes();
        let expected: [&[u8; 8]; 10] = [
            b"84755224",
            b"94287082",
            b"37359152",
            b"26969429",
            b"40338314",
            b"68254676",
            b"18287922",
            b"82162583",
            b"73399871",
            b"45520489",
        ];
        for (counter, expected) in expected.into_iter().enumerate() {
            assert_eq!(*codes.of_step(counter as u64), *expected, "counter {counter}");
        }
    }

    #[test]
    fn a_counting_key_has_a_uri_of_its_own_kind() {
        let key = HotpKey::new(b"12345678901234567890");
        assert_eq!(
            key.uri("A & B", "zoë").as_str(),
            "otpauth://hotp/A%20%26%20B:zo%C3%AB?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
             &issuer=A%20%26%20B&algorithm=SHA1&digits=8&counter=0"
        );
        assert_eq!(key.id(), self::key(b"12345678901234567890", OtpHash::Sha1, 6, 30).id());
    }

    #[test]
    fn rfc6238_appendix_b() {
        let sha1 = key(b"12345678901234567890", OtpHash::Sha1, 8, 30);
        let sha256 = key(b"12345678901234567890123456789012", OtpHash::Sha256, 8, 30);
        let sha512 =
            key(b"1234567890123456789012345678901234567890123456789012345678901234", OtpHash::Sha512, 8, 30);
        for (time, s1, s256, s512) in [
            (59, "94287082", "46119246", "90693936"),
            (1_111_111_109, "07081804", "68084774", "25091201"),
            (1_111_111_111, "14050471", "67062674", "99943326"),
            (1_234_567_890, "89005924", "91819424", "93441116"),
            (2_000_000_000, "69279037", "90698825", "38618901"),
            (20_000_000_000, "65353130", "77737706", "47863826"),
        ] {
            assert_eq!(code(&sha1, time), s1, "SHA-1 at {time}");
            assert_eq!(code(&sha256, time), s256, "SHA-256 at {time}");
            assert_eq!(code(&sha512, time), s512, "SHA-512 at {time}");
        }
    }

    #[test]
    fn the_code_is_the_truncated_hmac_of_the_counter() {
        // RFC 4226 section 5.3 with the crates `hmac` and `sha1` only, independent of totp-rs.
        let key = key(b"another 20 byte key!", OtpHash::Sha1, 7, 30);
        for counter in [0u64, 1, 57_000_000, u64::from(u32::MAX)] {
            let mac: [u8; 20] = Hmac::<sha1::Sha1>::new_from_slice(&key.secret)
                .expect("any length")
                .chain_update(counter.to_be_bytes())
                .finalize()
                .into_bytes()
                .into();
            let offset = usize::from(mac[19] & 0xf);
            let word = u32::from_be_bytes(mac[offset..offset + 4].try_into().expect("4 bytes")) & 0x7fff_ffff;
            assert_eq!(code(&key, counter * 30), format!("{:07}", word % 10_000_000));
        }
    }

    #[test]
    fn the_name_of_a_key_is_golden_and_independent_of_its_parameters() {
        let id = |key: &OtpKey| data_encoding::HEXLOWER.encode(&key.id());
        assert_eq!(
            id(&key(b"12345678901234567890", OtpHash::Sha1, 8, 30)),
            "16185022f191189f2b7927025dffda91"
        );
        assert_eq!(
            id(&key(b"12345678901234567890", OtpHash::Sha256, 6, 60)),
            "16185022f191189f2b7927025dffda91"
        );
        assert_ne!(
            id(&key(b"12345678901234567891", OtpHash::Sha1, 8, 30)),
            "16185022f191189f2b7927025dffda91"
        );
    }

    #[test]
    fn the_uri_is_escaped_and_complete() {
        let key = key(b"12345678901234567890", OtpHash::Sha256, 8, 60);
        assert_eq!(
            key.uri("A & B", "zoë@example.org").as_str(),
            "otpauth://totp/A%20%26%20B:zo%C3%AB%40example%2Eorg?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
             &issuer=A%20%26%20B&algorithm=SHA256&digits=8&period=60"
        );
    }

    #[test]
    fn a_key_out_of_range_is_refused() {
        let secret = || Zeroizing::new(vec![0; 20]);
        assert!(OtpKey::new(secret(), OtpHash::Sha1, 6, 30).is_some());
        assert!(OtpKey::new(secret(), OtpHash::Sha1, 5, 30).is_none());
        assert!(OtpKey::new(secret(), OtpHash::Sha1, 9, 30).is_none());
        assert!(OtpKey::new(secret(), OtpHash::Sha1, 6, 14).is_none());
        assert!(OtpKey::new(secret(), OtpHash::Sha1, 6, 121).is_none());
        assert!(OtpKey::new(Zeroizing::new(vec![0; 19]), OtpHash::Sha1, 6, 30).is_none());
    }
}
