//! The signatures of a manifest: which officers have signed these bytes.
//!
//! They are beside the manifest, one file each, in minisign's format:
//! `libcountersign.so.manifest.ANYTHING.minisig`. Only the number of different pinned keys that verify
//! counts, whatever the files are called and claim. A file that does not count does no harm, and is listed
//! with its reason.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use countersign::kernel::officer::{MAX_SIGNATURE_LEN, OfficerKey, Officers, SignatureError};
use countersign::shell::file;

/// The most signature files beside one manifest. More are a mistake, or an attempt to keep us busy.
pub const MAX_SIGNATURE_FILES: usize = 64;
const SUFFIX: &[u8] = b".minisig";

/// The result of checking the files beside a manifest.
#[derive(Debug)]
pub struct Signatures {
    /// The officers who have signed, in the order of the configuration, each once.
    pub signers: Vec<Signer>,
    /// The files that do not count.
    pub set_aside: Vec<SetAside>,
}

/// An officer who has signed.
#[derive(Debug)]
pub struct Signer {
    /// The officer.
    pub officer: OfficerKey,
    /// The signature's file.
    pub file: PathBuf,
    /// The signature's comment, which is signed, too.
    pub trusted_comment: String,
}

/// A signature file that does not count.
#[derive(Debug)]
pub struct SetAside {
    /// The file.
    pub file: PathBuf,
    /// Why it does not count.
    pub reason: SetAsideReason,
}

/// The reason why a signature file does not count.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SetAsideReason {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// It is no officer's signature of this manifest.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The officer has signed in another file.
    #[error("is another signature of {0}, who counts once")]
    Again(Box<OfficerKey>),
}

impl Signatures {
    /// Checks all signature files beside the manifest at `path`, whose bytes are `manifest`.
    pub(super) fn check(
        officers: &Officers,
        path: &Path,
        manifest: &[u8],
    ) -> Result<Signatures, SignaturesError> {
        let mut signers: Vec<Option<Signer>> = officers.keys().iter().map(|_| None).collect();
        let mut set_aside = Vec::new();
        for file in files(path)? {
            match judge(officers, &file, manifest) {
                Ok((officer, signer)) if signers[officer].is_none() => signers[officer] = Some(signer),
                Ok((_, signer)) => {
                    set_aside.push(SetAside { file, reason: SetAsideReason::Again(signer.officer.into()) });
                }
                Err(reason) => set_aside.push(SetAside { file, reason }),
            }
        }
        Ok(Signatures { signers: signers.into_iter().flatten().collect(), set_aside })
    }
}

/// The officer whose signature this is, by place, and the trusted comment.
fn judge(officers: &Officers, path: &Path, manifest: &[u8]) -> Result<(usize, Signer), SetAsideReason> {
    let bytes =
        file::read(path, MAX_SIGNATURE_LEN).map_err(|error| SetAsideReason::Unreadable(error.to_string()))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| SignatureError::Format)?;
    let signed = officers.verify(manifest, text)?;
    let (at, officer) = (signed.place(), signed.officer().clone());
    Ok((at, Signer { officer, file: path.into(), trusted_comment: signed.into_trusted_comment() }))
}

/// The signature files beside a manifest or an act, by name.
pub fn files(manifest: &Path) -> Result<Vec<PathBuf>, SignaturesError> {
    // For a bare file name the folder is empty.
    let folder = manifest.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let unreadable =
        |error: io::Error| SignaturesError::Folder { folder: folder.into(), problem: error.to_string() };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        if manifest.file_name().is_some_and(|manifest| is_signature(manifest, &name)) {
            files.push(folder.join(name));
        }
        if files.len() > MAX_SIGNATURE_FILES {
            return Err(SignaturesError::TooMany { manifest: manifest.into() });
        }
    }
    files.sort();
    Ok(files)
}

/// Whether `name` is `MANIFEST.ANYTHING.minisig`, or `MANIFEST.minisig` as minisign itself calls it.
fn is_signature(manifest: &OsStr, name: &OsStr) -> bool {
    let middle = name
        .as_encoded_bytes()
        .strip_prefix(manifest.as_encoded_bytes())
        .and_then(|rest| rest.strip_suffix(SUFFIX));
    middle.is_some_and(|middle| middle.is_empty() || middle.starts_with(b"."))
}

impl fmt::Display for SetAside {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Somebody who can put a file there chooses its name. Nothing in it may control a terminal or begin a
        // line of the log.
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        write!(formatter, "{} {}", name.escape_debug(), self.reason)
    }
}

/// The reason why the signatures cannot be checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignaturesError {
    /// The folder cannot be listed.
    #[error("cannot read the folder of the signatures, {}: {problem}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The reason.
        problem: String,
    },
    /// Too many files.
    #[error("there are more than {MAX_SIGNATURE_FILES} signature files beside {}", manifest.display())]
    TooMany {
        /// The manifest.
        manifest: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_files_are_recognised_by_their_name() {
        let manifest = OsStr::new("l.so.manifest");
        for name in ["l.so.manifest.minisig", "l.so.manifest.A.minisig", "l.so.manifest.a.b c.minisig"] {
            assert!(is_signature(manifest, OsStr::new(name)), "{name}");
        }
        for name in [
            "l.so.manifest",
            "l.so.manifest.A.minisi",
            "l.so.manifestA.minisig",
            "k.so.manifest.A.minisig",
            ".l.so.manifest.A.minisig",
            "minisig",
        ] {
            assert!(!is_signature(manifest, OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn a_file_name_begins_no_line_of_its_own() {
        let aside = SetAside {
            file: "/f/a\n\u{1b}[2J.minisig".into(),
            reason: SetAsideReason::Signature(SignatureError::Format),
        };
        assert_eq!(aside.to_string(), "a\\n\\u{1b}[2J.minisig is not in minisign's format");
    }
}
