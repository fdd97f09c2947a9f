//! SoftHSM2's files: which file has which object, and where the object's value is.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use cryptoki_sys::*;

/// The name of the folder of the one token.
pub(crate) fn token_of(tokens: &Path) -> String {
    let entry =
        fs::read_dir(tokens).expect("it is there").next().expect("one token").expect("it can be read");
    entry.file_name().into_string().expect("ASCII")
}

/// SoftHSM2's files of the token's objects.
pub(crate) fn object_files(tokens: &Path) -> Vec<PathBuf> {
    let folder = tokens.join(token_of(tokens));
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("it is there")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "object"))
        .filter(|path| path.file_name().is_some_and(|name| name != "token.object"))
        .collect();
    files.sort();
    files
}

/// The files that hold anchors.
pub(crate) fn anchors(tokens: &Path) -> Vec<PathBuf> {
    object_files(tokens)
        .into_iter()
        .filter(|path| class_of(&fs::read(path).expect("it is there")) == Some(CKO_DATA))
        .collect()
}

/// The class of an object in its file. An attribute is its type, the kind of its value (2: a number) and the
/// value. Each has eight bytes, the highest first.
pub(crate) fn class_of(bytes: &[u8]) -> Option<CK_OBJECT_CLASS> {
    let start = find(bytes, &[CKA_CLASS.to_be_bytes(), 2_u64.to_be_bytes()].concat())?;
    bytes[start..].first_chunk().map(|class| CK_OBJECT_CLASS::from_be_bytes(*class))
}

/// The place of an object's value in its file. A byte string (kind 3) begins with its length.
pub(crate) fn value_of(bytes: &[u8]) -> Range<usize> {
    let length =
        find(bytes, &[CKA_VALUE.to_be_bytes(), 3_u64.to_be_bytes()].concat()).expect("it has a value");
    let len = u64::from_be_bytes(*bytes[length..].first_chunk().expect("whole"));
    let start = length + 8;
    start..start + usize::try_from(len).expect("a length")
}

/// The end of the only occurrence of `wanted`.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let mut found = bytes.windows(wanted.len()).enumerate().filter(|(_, window)| *window == wanted);
    let start = found.next()?.0;
    assert!(found.next().is_none(), "it is there twice");
    Some(start + wanted.len())
}
