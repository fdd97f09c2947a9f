//! Loading exactly the bytes that were verified.
//!
//! They are written to a file that has no name and no other opener (memfd_create(2)) and sealed: from then on nobody can
//! change them, us included. They are then compared with the digest once more, and that file is what the loader maps.

#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::fs::FileExt;

use libloading::Library;
use libloading::os::unix::{Library as UnixLibrary, RTLD_LOCAL, RTLD_NOW};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
use rustix::io::Errno;

use super::manifest::LibraryDigest;

/// What the mapping is called, in `/proc/PID/maps`.
const IMAGE_NAME: &str = "libcountersign.so";

/// The verified bytes, where nobody can change them.
pub(super) struct Image(File);

impl Image {
    /// Writes `library` where nobody can change it.
    pub(super) fn seal(library: &[u8], digest: LibraryDigest) -> Result<Image, LoadError> {
        let mut file = File::from(create()?);
        file.write_all(library).map_err(LoadError::Image)?;
        let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        fcntl_add_seals(&file, seals).map_err(|errno| LoadError::Image(errno.into()))?;
        let sealed = fcntl_get_seals(&file).map_err(|errno| LoadError::Image(errno.into()))?;
        // Before it was sealed, another process of the same user could have reached it by /proc.
        let mut bytes = vec![0; library.len()];
        file.read_exact_at(&mut bytes, 0).map_err(LoadError::Image)?;
        let length = file.metadata().map_err(LoadError::Image)?.len();
        if !sealed.contains(seals) || length != library.len() as u64 || LibraryDigest::of(&bytes) != digest {
            return Err(LoadError::Changed);
        }
        Ok(Image(file))
    }

    /// Loads it: its constructors run now.
    pub(super) fn load(self) -> Result<Library, LoadError> {
        let path = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        // SAFETY: the constructors of the library run, and whatever they do is done to this process. The caller has
        // verified that enough officers signed these very bytes, which are sealed: that they may run here is what the
        // signatures say.
        let library =
            unsafe { UnixLibrary::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(LoadError::Loader)?;
        // The loader knows a library by the name it was opened by, and ours is never unmapped. The descriptor stays open for
        // as long as the process runs, or another library that gets its number would be taken for this one.
        let _ = self.0.into_raw_fd();
        Ok(library.into())
    }
}

/// An empty file without a name, from which code may be mapped.
fn create() -> Result<rustix::fd::OwnedFd, LoadError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let created = match memfd_create(IMAGE_NAME, flags | MemfdFlags::EXEC) {
        // Before Linux 6.3 the flag is unknown, and what it asks for is so.
        Err(Errno::INVAL) => memfd_create(IMAGE_NAME, flags),
        created => created,
    };
    created.map_err(|errno| match errno {
        Errno::ACCESS => LoadError::Forbidden,
        errno => LoadError::Image(errno.into()),
    })
}

/// Why verified bytes are not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No room for them, or no such file.
    #[error("the verified library cannot be put in a sealed memory file: {0}")]
    Image(#[source] io::Error),
    /// The system lets no code be mapped from such a file.
    #[error("the system lets no code run from a memory file")]
    Forbidden,
    /// Somebody wrote to it before it was sealed.
    #[error("the verified library was changed in memory before it could be sealed")]
    Changed,
    /// The loader refuses it.
    #[error("the verified library cannot be loaded: {0}")]
    Loader(#[source] libloading::Error),
}

impl LoadError {
    /// What to do next.
    pub fn next(&self) -> &'static str {
        match self {
            LoadError::Image(_) => {
                "give the process the memory for it, and the system call memfd_create (a service's SystemCallFilter)"
            }
            LoadError::Forbidden => "set the sysctl vm.memfd_noexec to 0 or 1",
            LoadError::Changed => "treat it as an intrusion: another process of this user did it",
            LoadError::Loader(_) => {
                "see that /proc is mounted and that the library was built for this machine and its C library"
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
        assert!(matches!(other, Err(LoadError::Changed)));
    }

    #[test]
    fn what_is_no_library_is_refused_by_the_loader() {
        let image = Image::seal(b"bytes", LibraryDigest::of(b"bytes")).expect("sealed");
        let error = image.load().expect_err("no ELF file");
        assert!(matches!(&error, LoadError::Loader(_)), "{error}");
    }
}
