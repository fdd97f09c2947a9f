//! TOML documents: each error names the line, the key at fault, and what may stand there.
//!
//! serde's own errors name a type and no key ("invalid type: string, expected u64"). `serde_path_to_error` finds the
//! way to the value that failed, and `explain` turns serde's sentence into one for the author of the document. It quotes
//! only the names of keys: a value in the wrong place may be a secret.

use core::fmt::Write as _;

use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

/// Why a document cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", place(*line, key))]
pub struct DocumentError {
    /// The line, from 1. Nothing where a key of the document itself is missing.
    line: Option<usize>,
    /// The key at fault, with its tables. Empty where the document is no TOML.
    key: String,
    /// What stands there and what may.
    problem: String,
}

/// Reads a document into `T`.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, DocumentError> {
    let line = |error: &toml::de::Error| {
        error
            .span()
            .map(|span| 1 + text.as_bytes()[..span.start].iter().filter(|byte| **byte == b'\n').count())
    };
    let document = toml::Deserializer::parse(text).map_err(|error| DocumentError {
        line: line(&error),
        key: error.span().map_or(String::new(), |span| key_before(text, span.start)),
        problem: error.message().to_owned(),
    })?;
    serde_path_to_error::deserialize(document).map_err(|error| {
        let (mut key, message) = (key_of(error.path()), error.inner().message());
        let missing = quoted(message, "missing field `");
        if let Some(missing) = missing {
            // serde names the table that the key is missing in.
            let dot = if key.is_empty() { "" } else { "." };
            let _ = write!(key, "{dot}{missing}");
        }
        // The span of the whole document is no place to look at.
        let line = line(error.inner()).filter(|_| missing.is_none() || key.contains('.'));
        DocumentError { line, key, problem: explain(message) }
    })
}

/// The key whose line has `position`, where the text is no TOML and only its author knows the table. Empty where the line begins
/// with no key.
fn key_before(text: &str, position: usize) -> String {
    let bytes = text.as_bytes();
    let start = bytes[..position].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let key = line.split_once('=').map_or("", |(key, _)| key.trim());
    let is_bare = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if is_bare { key.to_owned() } else { String::new() }
}

fn place(line: Option<usize>, key: &str) -> String {
    match (line, key) {
        (None, "") => String::new(),
        (Some(line), "") => format!("line {line}: "),
        (None, key) => format!("key {key}: "),
        (Some(line), key) => format!("line {line}, key {key}: "),
    }
}

/// `serve.backend.users, entry 2`.
fn key_of(path: &Path) -> String {
    let mut key = String::new();
    for segment in path {
        let dot = if key.is_empty() { "" } else { "." };
        let _ = match segment {
            Segment::Seq { index } => write!(key, ", entry {}", index + 1),
            Segment::Map { key: name } | Segment::Enum { variant: name } => write!(key, "{dot}{name}"),
            Segment::Unknown => Ok(()),
        };
    }
    key
}

/// What stands between `before` and the next backtick.
fn quoted<'a>(message: &'a str, before: &str) -> Option<&'a str> {
    message.split_once(before)?.1.split('`').next()
}

/// serde's sentence in the words of the document's author.
fn explain(message: &str) -> String {
    if message.starts_with("missing field `") {
        return "it is missing, and has no default: add it".to_owned();
    }
    let (what, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    if what.starts_with("unknown field `") {
        return format!("there is no such key here: remove it, or write {expected}");
    }
    if what.starts_with("unknown variant `") {
        return format!("write {}", expected.replace('`', "\""));
    }
    // toml's own sentence for a value that is none of an enum's strings.
    if message == "wanted string or table" {
        return "write a string in quotes".to_owned();
    }
    let Some((_, met)) = what.split_once("invalid type: ").or_else(|| what.split_once("invalid value: "))
    else {
        return message.to_owned();
    };
    format!("{} stands there: write {}", thing(met), needed(expected))
}

/// What stands there, without its text.
fn thing(met: &str) -> &str {
    match met.split([' ', '`']).next().unwrap_or(met) {
        "string" => "a string",
        "integer" | "boolean" => met.split('`').nth(1).unwrap_or(met),
        "floating" => "a number with a point",
        "sequence" => "a list",
        "map" => "a table or a time",
        _ => "something else",
    }
}

/// What may stand there.
fn needed(expected: &str) -> String {
    let number = |most: &dyn core::fmt::Display| format!("a whole number from 0 to {most}, without quotes");
    match expected {
        "a string" | "path string" => "a string in quotes".to_owned(),
        "a boolean" => "true or false, without quotes".to_owned(),
        "a sequence" => "a list in brackets, as in [\"a\", \"b\"]".to_owned(),
        "i64" => "a whole number, without quotes".to_owned(),
        "u32" => number(&u32::MAX),
        // TOML's own numbers end there.
        "u64" | "usize" => number(&i64::MAX),
        table if table.starts_with("struct ") || table == "a map" => {
            "a table with keys of its own".to_owned()
        }
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Example {
        name: String,
        sat: Option<u64>,
        port: Option<u32>,
        least: Option<i64>,
        is_on: Option<bool>,
        level: Option<Level>,
        list: Option<Vec<String>>,
        ids: Option<Vec<u32>>,
        door: Option<Door>,
        doors: Option<Vec<Door>>,
        map: Option<BTreeMap<String, Door>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Door {
        socket: std::path::PathBuf,
        users: Option<Vec<u32>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Level {
        Off,
        Warn,
    }

    fn error(text: &str) -> String {
        read::<Example>(&format!("name = \"x\"\n{text}")).expect_err(text).to_string()
    }

    #[test]
    fn a_value_that_cannot_be_read_names_its_line_its_key_and_what_may_stand_there() {
        let number = |most: &str| format!("write a whole number from 0 to {most}, without quotes");
        let (u32s, u64s) = (number("4294967295"), number("9223372036854775807"));
        for (text, expected) in [
            ("sat = \"1\"", format!("line 2, key sat: a string stands there: {u64s}")),
            ("sat = -1", format!("line 2, key sat: -1 stands there: {u64s}")),
            ("sat = 1.5", format!("line 2, key sat: a number with a point stands there: {u64s}")),
            ("sat = true", format!("line 2, key sat: true stands there: {u64s}")),
            ("sat = [1]", format!("line 2, key sat: a list stands there: {u64s}")),
            ("sat = { a = 1 }", format!("line 2, key sat: a table or a time stands there: {u64s}")),
            ("sat = 2026-01-01", format!("line 2, key sat: a table or a time stands there: {u64s}")),
            ("port = 4294967296", format!("line 2, key port: 4294967296 stands there: {u32s}")),
            (
                "sat = 99999999999999999999",
                format!("line 2, key sat: 99999999999999999999 stands there: {u64s}"),
            ),
            (
                "least = \"1\"",
                "key least: a string stands there: write a whole number, without quotes".into(),
            ),
            (
                "is_on = \"yes\"",
                "key is_on: a string stands there: write true or false, without quotes".into(),
            ),
            ("level = \"loud\"", "line 2, key level: write \"off\" or \"warn\"".into()),
            ("level = 1", "line 2, key level: write a string in quotes".into()),
            ("list = \"a\"", "line 2, key list: a string stands there: write a list in brackets".into()),
            (
                "list = [\n\"a\",\n3]",
                "line 4, key list, entry 2: 3 stands there: write a string in quotes".into(),
            ),
            ("ids = [1, -2]", format!("line 2, key ids, entry 2: -2 stands there: {u32s}")),
            ("door = 5", "line 2, key door: 5 stands there: write a table with keys of its own".into()),
            (
                "[door]\nsocket = 5",
                "line 3, key door.socket: 5 stands there: write a string in quotes".into(),
            ),
            (
                "[door]\nsocket = \"/s\"\nusers = [1,\n\"x\"]",
                format!("line 5, key door.users, entry 2: a string stands there: {u32s}"),
            ),
            (
                "[[doors]]\nsocket = \"/s\"\n[[doors]]\nsocket = 1",
                "line 5, key doors, entry 2.socket: 1 stands there: write a string in quotes".into(),
            ),
            ("map.a.socket = 1", "line 2, key map.a.socket: 1 stands there".into()),
        ] {
            let error = error(text);
            assert!(error.contains(&expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_key_that_is_missing_or_unknown_is_named_with_its_table() {
        let error_of = |text: &str| read::<Example>(text).expect_err(text).to_string();
        assert_eq!(error_of("sat = 1"), "key name: it is missing, and has no default: add it");
        assert_eq!(
            error("[door]\nusers = []"),
            "line 2, key door.socket: it is missing, and has no default: add it"
        );
        assert_eq!(
            error("[door]\nsocket = \"/s\"\npeople = 1"),
            "line 4, key door.people: there is no such key here: remove it, or write `socket` or `users`"
        );
        assert!(
            error("title = 1").starts_with("line 2, key title: there is no such key here"),
            "{}",
            error("title = 1")
        );
    }

    #[test]
    fn what_is_no_toml_names_the_line() {
        for (text, expected) in [
            ("sat = ", "line 2, key sat: "),
            ("level = warn", "line 2, key level: string values must be quoted"),
            ("list = [\nbob = 1", "line 3, key bob: "),
            ("\n[", "line 3: "),
            ("a b = 1", "line 2: "),
            ("name = \"y\"", "line 2, key name: duplicate key"),
        ] {
            assert!(error(text).starts_with(expected), "{text}: {}", error(text));
        }
    }

    #[test]
    fn no_string_of_the_document_is_in_an_error() {
        for text in [
            "sat = \"hunter2\"",
            "level = \"hunter2\"",
            "ids = [\"hunter2\"]",
            "door = \"hunter2\"",
            "is_on = \"hunter2",
        ] {
            assert!(!error(text).contains("hunter2"), "{text}: {}", error(text));
        }
    }
}
