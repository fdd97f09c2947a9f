//! Reads files that an attacker may have put there: once, with a bound, and only regular files.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Reads the file at `path`, of at most `max` bytes.
pub fn read(path: &Path, max: usize) -> io::Result<Vec<u8>> {
    read_opened(&open(path, OFlags::empty())?, max)
}

/// Opens the file at `path` for reading. A pipe or a device neither blocks this nor passes as a file.
pub fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = (OFlags::NONBLOCK | flags).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(file)
}

/// Reads all of an open file, of at most `max` bytes.
pub fn read_opened(file: &File, max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max {
        return Err(io::Error::other(format!("it has more than {max} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_within_its_bound_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, b"12345").expect("the folder is ours");
        assert_eq!(read(&path, 5).expect("as long as that"), b"12345");
        let error = read(&path, 4).expect_err("longer").to_string();
        assert!(error.contains("more than 4 bytes"), "{error}");
        let error = read(folder.path(), 5).expect_err("a folder").to_string();
        assert!(error.contains("not a regular file"), "{error}");
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .expect("the folder is ours");
        let error = read(&pipe, 5).expect_err("a pipe").to_string();
        assert!(error.contains("not a regular file"), "{error}");
    }
}
