//! PSBTs in files, pipes and terminals: binary, base64 (BIP 174) or hexadecimal, read whole.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

use crate::destination::is_standard;
use crate::error::CommandError;
use crate::{paste, unicode};

/// The forms of a PSBT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The bytes themselves.
    Binary,
    /// One line of base64.
    Base64,
    /// One line of hexadecimal digits.
    Hex,
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
            Form::Hex => {
                let mut line = HEXLOWER.encode(psbt).into_bytes();
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
            Form::Hex => "hexadecimal",
        }
    }
}

const MAGIC: &[u8] = b"psbt\xff";

/// More than the module accepts, because the module should report what is too large. But memory is limited.
const INPUT_MAX: u64 = 256 << 20;

/// Reads a PSBT in any form. No path, or `-`, means standard input.
pub(crate) fn read(path: Option<&Path>) -> Result<(Vec<u8>, Form), CommandError> {
    let name =
        path.filter(|_| !is_standard(path)).map_or("standard input".into(), |p| p.display().to_string());
    let failed = |why: String| {
        CommandError::new(
            format!("cannot read the PSBT from {name}: {why}"),
            "check the file that --in names",
        )
    };
    let mut input = Vec::new();
    let read = match path {
        Some(path) if !is_standard(Some(path)) => {
            File::open(path).and_then(|file| file.take(INPUT_MAX + 1).read_to_end(&mut input))
        }
        _ if std::io::stdin().is_terminal() => {
            eprintln!("Paste the PSBT (base64 or hexadecimal), then press Enter and Ctrl-D.");
            paste::read(INPUT_MAX).map(|pasted| {
                input = pasted;
                input.len()
            })
        }
        _ => std::io::stdin().take(INPUT_MAX + 1).read_to_end(&mut input),
    };
    read.map_err(|reason| failed(reason.to_string()))?;
    if input.len() as u64 > INPUT_MAX {
        return Err(failed("it is larger than 256 MiB".into()));
    }
    detect(input).ok_or_else(|| {
        CommandError::new(
            format!("the content of {name} is not a PSBT, neither binary nor base64 nor hexadecimal; nothing was spent"),
            "give a PSBT (BIP 174) as your wallet software exports it",
        )
    })
}

/// Distinguishes the forms by the magic bytes. `None` if it is none of them. A byte order mark, quotes,
/// spaces and line ends around text are ignored.
fn detect(input: Vec<u8>) -> Option<(Vec<u8>, Form)> {
    if input.starts_with(MAGIC) {
        return Some((input, Form::Binary));
    }
    if let Some(psbt) = input.strip_prefix(b"\xef\xbb\xbf").filter(|rest| rest.starts_with(MAGIC)) {
        return Some((psbt.to_vec(), Form::Binary));
    }
    let text = unicode::decode(&input)?;
    let text: Vec<u8> =
        text.trim().trim_matches(['"', '\'']).bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let hex = || Some((HEXLOWER_PERMISSIVE.decode(&text).ok()?, Form::Hex));
    let base64 = || Some((STANDARD.decode(&text).ok()?, Form::Base64));
    hex().or_else(base64).filter(|(psbt, _)| psbt.starts_with(MAGIC))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PSBT: &[u8] = b"psbt\xff\x01\x00\x02";

    #[test]
    fn every_form_is_recognised_and_reads_back() {
        for form in [Form::Binary, Form::Base64, Form::Hex] {
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
    fn a_byte_order_mark_quotes_and_upper_case_do_not_count() {
        let text = |form: Form| String::from_utf8(form.encode(PSBT)).expect("ASCII");
        for form in [Form::Base64, Form::Hex] {
            let plain = text(form);
            let utf16: Vec<u8> =
                std::iter::once(0xfeff).chain(plain.encode_utf16()).flat_map(u16::to_le_bytes).collect();
            let quoted = format!("\"{}\"\r\n", plain.trim());
            for input in [format!("\u{feff}{plain}").into_bytes(), utf16, quoted.into_bytes()] {
                assert_eq!(detect(input), Some((PSBT.to_vec(), form)));
            }
        }
        let upper = text(Form::Hex).to_uppercase().into_bytes();
        assert_eq!(detect(upper), Some((PSBT.to_vec(), Form::Hex)));
        let marked = [b"\xef\xbb\xbf", PSBT].concat();
        assert_eq!(detect(marked), Some((PSBT.to_vec(), Form::Binary)));
    }

    #[test]
    fn input_in_no_known_form_is_refused() {
        for input in [
            &b""[..],
            b"psbt",
            b"hello",
            b"cHNi",
            b"aGVsbG8gd29ybGQ=",
            b"\xff\xfe",
            b"70736274",
            b"70736274f",
        ] {
            assert_eq!(detect(input.to_vec()), None, "{input:?}");
        }
    }
}
