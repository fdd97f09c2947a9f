//! PSBTs in files and pipes: binary or base64 (BIP 174), read whole and written whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

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

/// Whether the path stands for standard input or output.
pub(crate) fn is_standard(path: Option<&Path>) -> bool {
    path.is_none_or(|path| path == Path::new("-"))
}

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

/// Where the signed PSBT goes. Made before the code is spent, so that what cannot be written is not signed.
pub(crate) enum Destination {
    /// Standard output.
    Standard,
    /// A file.
    File(Replacement),
}

/// A file that will get new content, whole or not at all: written under another name and moved to its place.
pub(crate) struct Replacement {
    draft: PathBuf,
    target: PathBuf,
}

impl Destination {
    /// No path or `-` is standard output.
    pub(crate) fn prepare(path: Option<&Path>) -> Result<Self, CommandError> {
        match path {
            Some(path) if !is_standard(Some(path)) => {
                Replacement::prepare(path).map(Destination::File).map_err(|reason| {
                    CommandError::new(
                        format!("cannot write to {}: {reason}; nothing was signed", path.display()),
                        "name a file in a folder that you may write to with --out",
                    )
                })
            }
            _ => Ok(Destination::Standard),
        }
    }
}

impl Replacement {
    fn prepare(path: &Path) -> std::io::Result<Self> {
        // Behind a symbolic link it is the file that is replaced, not the link.
        let target = match path.canonicalize() {
            Ok(target) => target,
            Err(reason) if reason.kind() == ErrorKind::NotFound => std::path::absolute(path)?,
            Err(reason) => return Err(reason),
        };
        if target.exists() && !target.is_file() {
            return Err(std::io::Error::other("it is not a regular file"));
        }
        let Some(name) = target.file_name() else {
            return Err(std::io::Error::other("it names no file"));
        };
        let mut draft_name = std::ffi::OsString::from(".");
        draft_name.push(name);
        draft_name.push(format!(".{}.part", std::process::id()));
        let draft = target.with_file_name(draft_name);
        // Tried now and taken back: a person may still give up at the prompt for the code.
        drop(create_new(&draft)?);
        std::fs::remove_file(&draft)?;
        Ok(Replacement { draft, target })
    }

    /// Writes `content` durably and moves it to its place.
    pub(crate) fn commit(self, content: &[u8]) -> std::io::Result<()> {
        let mut draft = create_new(&self.draft)?;
        let moved = draft
            .write_all(content)
            .and_then(|()| draft.sync_all())
            .and_then(|()| std::fs::rename(&self.draft, &self.target));
        if let Err(reason) = moved {
            // Half a file is of no use; the reason is the error that counts.
            let _ = std::fs::remove_file(&self.draft);
            return Err(reason);
        }
        match self.target.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

fn create_new(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
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

    #[test]
    fn a_file_is_replaced_whole_and_no_draft_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("signed.psbt");
        std::fs::write(&path, b"before").expect("written");
        let Ok(Destination::File(replacement)) = Destination::prepare(Some(&path)) else { panic!("a file") };
        assert_eq!(std::fs::read(&path).expect("there"), b"before");
        replacement.commit(PSBT).expect("committed");
        assert_eq!(std::fs::read(&path).expect("there"), PSBT);
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1);
    }

    #[test]
    fn preparing_leaves_everything_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let prepared = Destination::prepare(Some(&folder.path().join("signed.psbt")));
        assert!(prepared.is_ok());
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 0);
    }

    #[test]
    fn devices_and_missing_folders_are_refused() {
        for path in ["/dev/null", "/nonexistent/signed.psbt", "/"] {
            assert!(Destination::prepare(Some(Path::new(path))).is_err(), "{path}");
        }
    }
}
