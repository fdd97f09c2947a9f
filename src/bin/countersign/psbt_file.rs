//! PSBTs in files and pipes: binary or base64 (BIP 174), read whole.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::destination::is_standard;
use crate::error::CommandError;

/// The two forms of a PSBT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The bytes themselves.
    Binary,
    /// One line of base64.
    Base64,
}

impl Form {
    /// The bytes of `psbt` in this form.
    pub(crate) fn encode(self, psbt: &[u8]) -> Vec<u8> {
        match self {
            Form::Binary => psbt.to_vec(),
            Form::Base64 => {
                let mut line = STANDARD.encode(psbt).into_bytes();
                line.push(b'\n');
                line
            }
        }
    }

    /// The form's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Form::Binary => "binary",
            Form::Base64 => "base64",
        }
    }
}

const MAGIC: &[u8] = b"psbt\xff";

/// More than the module accepts: it is the one to say what is too large, but memory has an end.
const INPUT_MAX: u64 = 256 << 20;

/// Reads a PSBT in either form; no path or `-` is standard input.
pub(crate) fn read(path: Option<&Path>) -> Result<(Vec<u8>, Form), CommandError> {
    let name =
        path.filter(|_| !is_standard(path)).map_or("standard input".into(), |p| p.display().to_string());
    let failed = |why: String| {
        CommandError::new(
            format!("the PSBT cannot be read from {name}: {why}"),
            "check the file that --in names",
        )
    };
    let source: Box<dyn Read> = match path {
        Some(path) if !is_standard(Some(path)) => {
            Box::new(File::open(path).map_err(|reason| failed(reason.to_string()))?)
        }
        _ => {
            if std::io::stdin().is_terminal() {
                eprintln!("Paste the PSBT as base64, then press Enter and Ctrl-D.");
            }
            Box::new(std::io::stdin())
        }
    };
    let mut input = Vec::new();
    source.take(INPUT_MAX + 1).read_to_end(&mut input).map_err(|reason| failed(reason.to_string()))?;
    if input.len() as u64 > INPUT_MAX {
        return Err(failed("it is larger than 256 MiB".into()));
    }
    detect(input).ok_or_else(|| {
        CommandError::new(
            format!("what was read from {name} is not a PSBT, neither binary nor base64; nothing was spent"),
            "give a PSBT (BIP 174) as your wallet software exports it",
        )
    })
}

/// Tells the forms apart by the magic bytes; `None` if it is neither. Blanks and line ends in base64 do not count.
fn detect(input: Vec<u8>) -> Option<(Vec<u8>, Form)> {
    if input.starts_with(MAGIC) {
        return Some((input, Form::Binary));
    }
    let text: Vec<u8> = input.into_iter().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let psbt = STANDARD.decode(text).ok()?;
    psbt.starts_with(MAGIC).then_some((psbt, Form::Base64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PSBT: &[u8] = b"psbt\xff\x01\x00\x02";

    #[test]
    fn both_forms_are_told_apart_and_come_back() {
        for form in [Form::Binary, Form::Base64] {
            assert_eq!(detect(form.encode(PSBT)), Some((PSBT.to_vec(), form)));
        }
    }

    #[test]
    fn base64_may_be_wrapped() {
        let mut text = Form::Base64.encode(PSBT);
        text.splice(4..4, *b"\r\n ");
        assert_eq!(detect(text), Some((PSBT.to_vec(), Form::Base64)));
    }

    #[test]
    fn what_is_neither_is_refused() {
        for input in [&b""[..], b"psbt", b"hello", b"cHNi", b"aGVsbG8gd29ybGQ=", b"\xff\xfe", b"70736274ff"] {
            assert_eq!(detect(input.to_vec()), None, "{input:?}");
        }
    }
}
