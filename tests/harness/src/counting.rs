//! A user's authenticator whose codes have a counter (RFC 4226), made from the `otpauth://` URI alone.

use totp_rs::{Builder, Totp};

/// The authenticator.
pub struct Counting(Totp);

impl Counting {
    /// Scans the URI.
    pub fn scan(uri: &str) -> Counting {
        let (label, query) = uri.split_once('?').expect("a URI with a query");
        assert!(label.starts_with("otpauth://hotp/"), "another kind");
        let fields: Vec<_> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        for expected in [("algorithm", "SHA1"), ("digits", "8"), ("counter", "0")] {
            assert!(fields.contains(&expected), "{expected:?}");
        }
        let (_, secret) = fields.iter().find(|(name, _)| *name == "secret").expect("a secret");
        let secret = data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).expect("base 32");
        // A time step of one second: the time is the counter.
        let totp = Builder::new().with_digits(8).with_skew(0).with_step_duration(1).with_secret(secret);
        Counting(totp.build().expect("a key of RFC 4226"))
    }

    /// The code of a counter.
    pub fn code(&self, counter: u64) -> String {
        self.0.generate(counter).to_string()
    }

    /// Two codes in a row, one right after the other.
    pub fn pair(&self, first: u64) -> String {
        self.code(first) + &self.code(first + 1)
    }

    /// Digits that are the code of no counter below 100.
    pub fn wrong(&self) -> String {
        let mut numbers = (0..).map(|number| format!("{number:08}"));
        numbers
            .find(|code| (0..100).all(|counter| self.code(counter) != *code))
            .expect("there are more codes")
    }
}
