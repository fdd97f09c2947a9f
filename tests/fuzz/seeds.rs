//! Writes the seed corpora: for `psbt` every PSBT of the testkit, after the byte of its script type; for
//! `frames` the bytes that a client sends; for `acts` and `statements` their golden texts; for `passkeys`
//! the published answers as pages send them.
//!
//! `cargo run --example fuzz-seeds FOLDER` makes a folder for each of them.

use std::path::Path;
use std::{env, fs};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

fn main() {
    let to = env::args_os().nth(1).expect("usage: fuzz-seeds FOLDER");
    psbts(&Path::new(&to).join("psbt"));
    frames(&Path::new(&to).join("frames"));
    passkeys(&Path::new(&to).join("passkeys"));
    ["acts", "statements"].iter().for_each(|kind| texts(kind, &Path::new(&to).join(kind)));
}

fn texts(kind: &str, to: &Path) {
    fs::create_dir_all(to).expect("the folder can be made");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(kind);
    for entry in fs::read_dir(from).expect("the vectors are there") {
        let path = entry.expect("readable").path();
        fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("it can be written");
    }
}

fn passkeys(to: &Path) {
    fs::create_dir_all(to).expect("the folder can be made");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/webauthn");
    for entry in fs::read_dir(from).expect("the vectors are there") {
        let path = entry.expect("readable").path();
        let text = fs::read_to_string(&path).expect("UTF-8");
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            URL_SAFE_NO_PAD.encode(hex::decode(value.expect("it has it")).expect("hex"))
        };
        let asserted = json!({
            "clientDataJSON": field("client-data"),
            "authenticatorData": field("authenticator-data"),
            "signature": field("signature"),
        });
        let registered = json!({
            "clientDataJSON": field("registration-client-data"),
            "authenticatorData": field("registration-authenticator-data"),
            "publicKey": field("public-key"),
        });
        let name = path.file_stem().expect("a name").to_string_lossy();
        for (kind, response) in [("assertion", asserted), ("registration", registered)] {
            let answer = json!({ "id": field("credential-id"), "type": "public-key", "response": response });
            fs::write(to.join(format!("{name}-{kind}")), answer.to_string()).expect("it can be written");
        }
    }
}

fn psbts(to: &Path) {
    fs::create_dir_all(to).expect("the folder can be made");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testkit/vectors");
    for entry in fs::read_dir(from).expect("the testkit is there") {
        let path = entry.expect("readable").path();
        let text = fs::read_to_string(&path).expect("UTF-8");
        let (header, body) = text.split_once("\n\n").expect("a blank line behind the header");
        let script = header.lines().find_map(|line| line.strip_prefix("script: ")).expect("a script type");
        let number =
            harness::engine::scripts::SCRIPTS.iter().position(|known| known.name == script).expect("known");
        let psbt = STANDARD.decode(body.split_whitespace().collect::<String>()).expect("base64");
        let name = path.file_stem().expect("a name");
        let seed = [&[u8::try_from(number).expect("few")], &psbt[..]].concat();
        fs::write(to.join(name), seed).expect("it can be written");
    }
}

/// Requests in session 1, one of each kind: no `C_SignInit` held back, then the call, numbered as in
/// `src/pkcs11/call.rs`.
const REQUESTS: [&[u8]; 34] = [
    b"\x00\x00",
    b"\x00\x01\x00",
    b"\x00\x02\x00",
    b"\x00\x03\x00",
    b"\x00\x04\x00\x81\x80\xcc\x9a\x0c",
    b"\x00\x05\x00\x04abcd01234567890123456789012345678901",
    b"\x00\x06\x01\x04abcd",
    b"\x00\x07\x01\x04abcd\x04efgh",
    b"\x00\x08\x00\x06",
    b"\x00\x09\x01",
    b"\x00\x0a\x00",
    b"\x00\x0b\x01",
    b"\x00\x0c\x01\x02\x01\x05alice\x06123456",
    b"\x00\x0d\x01",
    b"\x00\x0e\x01\xff\xff\x03",
    b"\x00\x0f\x01\x01",
    b"\x00\x10\x01\x01\x02\x03\x00\x00\x01\x80\x08",
    b"\x00\x11\x01\x01\x01\x03\x01w",
    b"\x00\x12\x01\x01\x03\x01w",
    b"\x00\x12\x01\x00",
    b"\x00\x13\x01\x0a",
    b"\x00\x14\x01",
    b"\x00\x15\x01\x01\x81\x80\xcc\x9a\x0c\x00\x02",
    b"\x00\x16\x01\x00\x05psbt\xff\x00",
    b"\x00\x16\x01\x00\x05psbt\xff\x01\x80\x10",
    b"\x00\x17\x01\x00\x05psbt\xff",
    b"\x00\x18\x01\x01\x80\x10",
    b"\x00\x19\x01\x01\x91\x80\xcc\x9a\x0c\x00\x03",
    b"\x00\x1a\x01\x00\x00\x00\x06123456",
    b"\x00\x1b\x01\x00\x00",
    b"\x00\x1c\x01\x00\x06123456",
    b"\x00\x1d\x01\x90\x80\xcc\x9a\x0c\x00\x01\x03\x03bob",
    b"\x00\x1e\x01\xa0\x80\xcc\x9a\x0c\x00\x01\x03\x01v\x00",
    b"\x00\x1f\x01\x20",
];

fn frames(to: &Path) {
    fs::create_dir_all(to).expect("the folder can be made");
    let write = |name: &str, who: u8, payloads: &[&[u8]]| {
        let mut seed = vec![who];
        for payload in payloads {
            seed.extend((payload.len() as u32).to_le_bytes());
            seed.extend_from_slice(payload);
        }
        fs::write(to.join(name), seed).expect("it can be written");
    };
    // As an administrator, as a backend, and as a logged-in user.
    for who in [0, 1, 2] {
        write(&format!("all-{who}"), who, &REQUESTS);
        for (number, request) in REQUESTS.iter().enumerate() {
            write(&format!("one-{who}-{number}"), who, &[REQUESTS[8], REQUESTS[19], REQUESTS[20], request]);
        }
    }
    write("hello", 0, &[b"CSGN\x02\x00\x01"]);
}
