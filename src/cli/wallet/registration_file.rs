//! The file of --wallet-policy: text in any Unicode encoding, or JSON that Bitcoin Core and others export.
//! The module reads the text itself.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::error::CommandError;
use crate::unicode;

/// Larger than any export: eight descriptors of twenty keys, with everything that Core adds to each.
const FILE_MAX: u64 = 1 << 20;

/// Reads a wallet policy or descriptor.
pub(super) fn read(path: &Path) -> Result<String, CommandError> {
    let failed = |why: &str| {
        CommandError::new(
            format!("cannot read the wallet policy from {}: {why}", path.display()),
            "check the file that --wallet-policy names",
        )
    };
    let file = File::open(path).map_err(|reason| failed(&reason.to_string()))?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(|reason| failed(&reason.to_string()))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(failed("it is larger than 1 MiB"));
    }
    let text = unicode::decode(&bytes)
        .ok_or_else(|| failed("it is not text in UTF-8 or UTF-16: save it as plain text"))?;
    if text.trim().is_empty() {
        return Err(failed("it is empty"));
    }
    match serde_json::from_str::<Value>(&text) {
        Ok(json @ (Value::Object(_) | Value::Array(_))) => {
            let descriptors = descriptors(&json);
            if descriptors.is_empty() {
                return Err(failed("it is JSON without a descriptor (Bitcoin Core has one under \"desc\")"));
            }
            Ok(descriptors.join("\n"))
        }
        _ => Ok(text.into_owned()),
    }
}

/// The descriptors in JSON: the active ones of `listdescriptors`, or else everything called `desc` or
/// `descriptor` in an object or in a list of objects.
fn descriptors(json: &Value) -> Vec<&str> {
    let list = match json {
        Value::Array(list) => list.as_slice(),
        one => match one.get("descriptors") {
            Some(Value::Array(list)) => list,
            _ => std::slice::from_ref(one),
        },
    };
    let is_active = |entry: &Value| entry.get("active") == Some(&Value::Bool(true));
    let some_active = list.iter().any(is_active);
    list.iter()
        .filter(|entry| !some_active || is_active(entry))
        .filter_map(|entry| entry.get("desc").or_else(|| entry.get("descriptor")).unwrap_or(entry).as_str())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(content: &[u8]) -> Result<String, CommandError> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), content).expect("written");
        read(file.path())
    }

    #[test]
    fn a_text_is_taken_as_it_is_in_any_unicode_encoding() {
        let text = "wsh(multi(2,@0/**,@1/**))\r\nours\r\n";
        let utf16 = |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(bytes).collect()
        };
        for bytes in [
            text.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            utf16(u16::to_le_bytes),
            utf16(u16::to_be_bytes),
        ] {
            assert_eq!(of(&bytes).expect("read"), text);
        }
        // A key with its origin begins like a list.
        let key = "[00112233/48'/1'/0'/2']tpub";
        assert_eq!(of(key.as_bytes()).expect("read"), key);
    }

    #[test]
    fn the_descriptors_of_json_are_taken_where_they_are() {
        for (json, expected) in [
            (r#"{"desc": "wpkh(a)#x"}"#, "wpkh(a)#x"),
            (r#"{"label": "w", "blockheight": 0, "descriptor": "wsh(a)"}"#, "wsh(a)"),
            (
                r#"[{"desc": "wsh(a/0/*)", "active": true}, {"desc": "wsh(a/1/*)", "active": true}]"#,
                "wsh(a/0/*)\nwsh(a/1/*)",
            ),
            (
                r#"{"wallet_name": "w", "descriptors": [
                    {"desc": "wsh(a/0/*)", "active": true, "internal": false, "range": [0, 999]},
                    {"desc": "wpkh(old)", "active": false},
                    {"desc": "wsh(a/1/*)", "active": true, "internal": true}]}"#,
                "wsh(a/0/*)\nwsh(a/1/*)",
            ),
            (r#"{"descriptors": [{"desc": "wsh(a)", "active": false}]}"#, "wsh(a)"),
            (r#"["wsh(a/0/*)", "wsh(a/1/*)"]"#, "wsh(a/0/*)\nwsh(a/1/*)"),
        ] {
            assert_eq!(of(json.as_bytes()).expect("read"), expected, "{json}");
            assert_eq!(of(&[b"\xef\xbb\xbf", json.as_bytes()].concat()).expect("read"), expected);
        }
    }

    #[test]
    fn a_file_without_a_registration_is_an_error_that_names_the_option() {
        for content in [
            &b""[..],
            b" \r\n",
            b"\xff\xfe\x00",
            b"\xc3\x28",
            b"{\"descriptors\": []}",
            b"[]",
            &vec![b' '; 1 << 21],
        ] {
            let error = of(content).expect_err("refused");
            assert!(error.next.contains("--wallet-policy"), "{error:?}");
        }
        assert!(read(Path::new("/nonexistent/policy")).is_err());
    }
}
