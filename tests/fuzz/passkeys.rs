//! Fuzzes what a page brings as the answer of a passkey: an assertion, or a registration.
//!
//! Whatever it is: nothing panics, and no assertion is right but the one that the vector's passkey signed.

#![no_main]

use std::sync::LazyLock;

use countersign::kernel::passkey::{Assertion, Passkey, PublicKey, Registration, RelyingParty};
use libfuzzer_sys::fuzz_target;

/// The vector "packed-es256" of W3C Web Authentication level 3.
const VECTOR: &str = include_str!("../vectors/webauthn/packed-es256.txt");

fuzz_target!(|data: &[u8]| {
    static PARTY: LazyLock<RelyingParty> =
        LazyLock::new(|| RelyingParty::of_origin("https://example.org").expect("an origin"));
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _new = Registration::from_json(text).and_then(|registration| {
        Passkey::register(&registration, &challenge("registration-challenge"), &PARTY)
    });
    let Ok(assertion) = Assertion::from_json(text) else { return };
    let key = PublicKey::from_spki(&field("public-key")).expect("a key");
    let passkey = Passkey { id: assertion.id.clone(), key, counter: 0, is_shared: true };
    if passkey.verify(&assertion, &challenge("challenge"), &PARTY).is_ok() {
        assert_eq!(assertion.client_data, field("client-data"));
        assert_eq!(assertion.authenticator_data, field("authenticator-data"));
    }
});

fn challenge(name: &str) -> [u8; 32] {
    field(name).try_into().expect("32 bytes")
}

fn field(name: &str) -> Vec<u8> {
    let value =
        VECTOR.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).expect("it has it");
    data_encoding::HEXLOWER.decode(value.as_bytes()).expect("hex")
}
