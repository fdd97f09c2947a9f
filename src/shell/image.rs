//! Images of libraries: bytes with a digest that is known, where the loader finds them and nobody can change them.
//!
//! The bytes go into a file without a name that nobody else can open (memfd_create(2)), and the file is
//! sealed: from then on nobody can change it, not even this process. It is compared with the digest once
//! more before the loader may map it.
//!
//! The signed plugin is loaded from an image, and so is the backing token's module if the configuration has
//! its digest ([`sealed`]).

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::IntoRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use data_encoding::HEXLOWER;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::file;

/// The greatest length of a library. (With all its debugging information, one has some hundred megabytes.)
pub const MAX_LIBRARY_LEN: usize = 512 * 1024 * 1024;
/// The name of the mapping in `/proc/PID/maps`.
const IMAGE_NAME: &str = "libcountersign.so";

/// The copies that [`sealed`] has made, one for each digest. A second copy would be a second module with its
/// own state.
static SEALED: Mutex<Vec<(LibraryDigest, PathBuf)>> = Mutex::new(Vec::new());

/// The SHA-256 (FIPS 180-4) of the library's file, or of its bill of materials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LibraryDigest([u8; 32]);

impl LibraryDigest {
    /// The digest of a library's bytes.
    pub fn of(library: &[u8]) -> LibraryDigest {
        LibraryDigest(Sha256::digest(library).into())
    }

    /// Reads 64 hex digits.
    pub fn parse(hex: &str) -> Option<LibraryDigest> {
        HEXLOWER.decode(hex.as_bytes()).ok()?.try_into().ok().map(LibraryDigest)
    }
}

impl fmt::Display for LibraryDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// A sealed copy of the library in `from`, if it has this digest. The loader finds the bytes at the returned
/// path, and nobody can change them. The copy stays as long as the process runs.
pub fn sealed(from: &Path, digest: LibraryDigest) -> Result<PathBuf, SealedError> {
    let mut all = SEALED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, path)) = all.iter().find(|(there, _)| *there == digest) {
        return Ok(path.clone());
    }
    let library = file::read(from, MAX_LIBRARY_LEN).map_err(SealedError::Unreadable)?;
    let found = LibraryDigest::of(&library);
    if found != digest {
        return Err(SealedError::Other { found, named: digest });
    }
    let path = Image::seal(&library, digest)?.into_path();
    all.push((digest, path.clone()));
    Ok(path)
}

/// The reason why there is no sealed copy.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// It has another digest.
    #[error("its SHA-256 is {found}, not {named}")]
    Other {
        /// Its digest.
        found: LibraryDigest,
        /// The digest that it should have.
        named: LibraryDigest,
    },
    /// It cannot be sealed.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// The bytes of a library in a sealed file.
pub struct Image(File);

impl Image {
    /// Writes `library` into a sealed file, if it has this digest.
    pub fn seal(library: &[u8], digest: LibraryDigest) -> Result<Image, ImageError> {
        let mut file = File::from(create()?);
        file.write_all(library).map_err(ImageError::File)?;
        let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        fcntl_add_seals(&file, seals).map_err(|errno| ImageError::File(errno.into()))?;
        let sealed = fcntl_get_seals(&file).map_err(|errno| ImageError::File(errno.into()))?;
        // Before it was sealed, another process of the same user could have reached it through /proc.
        let mut bytes = vec![0; library.len()];
        file.read_exact_at(&mut bytes, 0).map_err(ImageError::File)?;
        let length = file.metadata().map_err(ImageError::File)?.len();
        if !sealed.contains(seals) || length != library.len() as u64 || LibraryDigest::of(&bytes) != digest {
            return Err(ImageError::Changed);
        }
        Ok(Image(file))
    }

    /// The path for the loader.
    pub fn into_path(self) -> PathBuf {
        // The loader knows a library by the name under which it was opened, and ours is never unmapped. So
        // the descriptor must stay open as long as the process runs: a library that gets its number would be
        // taken for this one.
        format!("/proc/self/fd/{}", self.0.into_raw_fd()).into()
    }
}

/// An empty file without a name, from which code may be mapped.
fn create() -> Result<rustix::fd::OwnedFd, ImageError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let created = match memfd_create(IMAGE_NAME, flags | MemfdFlags::EXEC) {
        // Before Linux 6.3 the flag is unknown, and every such file is executable.
        Err(Errno::INVAL) => memfd_create(IMAGE_NAME, flags),
        created => created,
    };
    created.map_err(|errno| match errno {
        Errno::ACCESS => ImageError::Forbidden,
        errno => ImageError::File(errno.into()),
    })
}

/// The reason why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// There is no memory for the bytes, or no such file.
    #[error("cannot put the verified library into a sealed memory file: {0}")]
    File(#[source] io::Error),
    /// The system does not let code be mapped from such a file.
    #[error("the system does not let code run from a memory file")]
    Forbidden,
    /// Somebody wrote to it before it was sealed.
    #[error("somebody changed the verified library in memory before it was sealed")]
    Changed,
}

impl ImageError {
    /// What to do next.
    pub fn next(&self) -> &'static str {
        match self {
            ImageError::File(_) => {
                "give the process the memory for it, and the system call memfd_create (a service's SystemCallFilter)"
            }
            ImageError::Forbidden => "set the sysctl vm.memfd_noexec to 0 or 1",
            ImageError::Changed => "treat this as an intrusion: another process of this user did it",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_sealed_image_is_what_was_given_and_stays_so() {
        let image = Image::seal(b"bytes", LibraryDigest::of(b"bytes")).expect("sealed");
        let other =
            std::fs::OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", image.0.as_raw_fd()));
        let mut other = other.expect("a process of the same user can open it");
        assert_eq!(other.write(b"B").expect_err("sealed").kind(), io::ErrorKind::PermissionDenied);
        for length in [0, 3, 9] {
            assert_eq!(other.set_len(length).expect_err("sealed").kind(), io::ErrorKind::PermissionDenied);
        }
        let more = fcntl_add_seals(&image.0, SealFlags::FUTURE_WRITE);
        assert_eq!(more.expect_err("the seals are sealed"), Errno::PERM);
        let mut bytes = [0; 5];
        image.0.read_exact_at(&mut bytes, 0).expect("readable");
        assert_eq!(&bytes, b"bytes");
    }

    #[test]
    fn an_image_of_another_digest_is_not_made() {
        let other = Image::seal(b"bytes", LibraryDigest::of(b"Bytes"));
        assert!(matches!(other, Err(ImageError::Changed)));
    }

    #[test]
    fn backing_owner_only_bytes_of_the_named_digest_are_sealed_and_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let module = folder.path().join("module.so");
        std::fs::write(&module, b"another one").expect("ours");
        let digest = LibraryDigest::of(b"the one that is named");
        let error = sealed(&module, digest).expect_err("another digest").to_string();
        assert!(error.contains(&LibraryDigest::of(b"another one").to_string()), "{error}");
        std::fs::write(&module, b"the one that is named").expect("ours");
        let path = sealed(&module, digest).expect("sealed");
        std::fs::write(&module, b"replaced").expect("ours");
        assert_eq!(std::fs::read(&path).expect("readable"), b"the one that is named");
        assert_eq!(sealed(&module, digest).expect("sealed before"), path);
    }
}
