//! Loading exactly the bytes that were verified, from their sealed image.

#![allow(unsafe_code)]

use countersign::shell::image::{Image, ImageError};
use libloading::Library;
use libloading::os::unix::{Library as UnixLibrary, RTLD_LOCAL, RTLD_NOW};

/// Loads an image whose bytes are verified: its constructors run now.
pub(crate) fn load(verified: Image) -> Result<Library, LoadError> {
    let path = verified.into_path();
    // SAFETY: the constructors of the library run, and do whatever they do to this process. The caller has
    // verified that enough officers signed exactly these bytes, which are sealed. The signatures say that
    // they may run here.
    let library =
        unsafe { UnixLibrary::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(LoadError::Loader)?;
    Ok(library.into())
}

/// The reason why verified bytes are not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no image of them.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The loader refuses it.
    #[error("cannot load the verified library: {0}")]
    Loader(#[source] libloading::Error),
}

impl LoadError {
    /// What to do next.
    pub fn next(&self) -> &'static str {
        match self {
            LoadError::Image(error) => error.next(),
            LoadError::Loader(_) => {
                "check that /proc is mounted, and that the library was built for this machine and its C library"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use countersign::shell::image::LibraryDigest;

    use super::*;

    #[test]
    fn the_loader_refuses_a_file_that_is_no_library() {
        let image = Image::seal(b"bytes", LibraryDigest::of(b"bytes")).expect("sealed");
        let error = load(image).expect_err("no ELF file");
        assert!(matches!(&error, LoadError::Loader(_)), "{error}");
    }
}
