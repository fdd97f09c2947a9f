//! The signed plugin: no code runs inside the boundary unless enough officers have signed it.
//!
//! A release is a library, its manifest and the officers' signatures of the manifest, side by side:
//!
//! ```text
//! libcountersign.so
//! libcountersign.so.manifest                              name, version, SHA-256 of the library, floor
//! libcountersign.so.manifest.E7620F1842B4E81F.minisig     minisign's format, prehashed; one for each officer
//! ```
//!
//! [`verify`] gives a [`Verified`] release, and only that can be loaded. In this order:
//!
//! 1. At least `threshold` different pinned keys have signed the manifest's bytes, which are parsed only after that
//!    ([`signatures`]).
//! 2. The library's bytes, read once, have the digest of the manifest.
//! 3. The version is not below the floor ([`floor`]).
//! 4. To be loaded, those bytes are put where nobody can change them ([`load`]),
//! 5. the floor is raised to the manifest's, durably,
//! 6. and only then the library is mapped, and its code runs.
//!
//! Nothing here can be switched off. It does not stop somebody who can replace the program, its configuration or the floor file: see
//! SECURITY.md.
//!
//! ```compile_fail,E0451
//! // A release that nobody verified cannot be made up: the fields are private.
//! use countersign_plugin::{Release, Verified, manifest::PluginVersion};
//! fn forge(release: Release, floor: PluginVersion, floor_file: std::path::PathBuf) -> Verified {
//!     Verified { release, floor, floor_file }
//! }
//! ```
//!
//! ```compile_fail,E0382
//! // One verification loads once.
//! use countersign_plugin::Verified;
//! fn twice(verified: Verified) { let _ = verified.load(); let _ = verified.load(); }
//! ```

pub mod floor;
pub mod load;
pub mod manifest;
pub mod signatures;

use std::fmt::{self, Write as _};
use std::io;
use std::path::{Path, PathBuf};

pub use countersign::shell::config::PluginConfig;
pub use manifest::Manifest;

use floor::FloorError;
use load::LoadError;
use manifest::{MAX_MANIFEST_LEN, ManifestError, PluginVersion};
use signatures::{Signatures, SignaturesError, Signer};

use countersign::kernel::officer::{OfficerKey, Officers};
use countersign::paths::with_suffix;
use countersign::shell::file;
use countersign::shell::image::{Image, LibraryDigest, MAX_LIBRARY_LEN};

/// A release that enough officers have signed. The floor decides whether it may run here.
pub struct Release {
    manifest: Manifest,
    library: Vec<u8>,
    signatures: Signatures,
}

/// A release that enough officers have signed, and that is not below the floor: it may run here.
#[must_use = "verifying loads nothing"]
#[derive(Debug)]
pub struct Verified {
    release: Release,
    floor: PluginVersion,
    floor_file: PathBuf,
}

/// A library whose code runs in this process.
#[derive(Debug)]
pub struct Loaded {
    /// The library.
    pub library: libloading::Library,
    /// The manifest that the officers signed.
    pub manifest: Manifest,
}

/// Verifies the configured release as it would be loaded: signatures, digest, floor. It changes nothing.
pub fn verify(config: &PluginConfig) -> Result<Verified, PluginError> {
    let release = Release::verify(&config.library, &config.officers)?;
    let floor = floor::check(&config.floor_file, release.manifest.version())?;
    Ok(Verified { release, floor, floor_file: config.floor_file.clone() })
}

/// Verifies the configured release and makes the floor file, once, at installation.
pub fn pin(config: &PluginConfig) -> Result<Release, PluginError> {
    let release = Release::verify(&config.library, &config.officers)?;
    floor::pin(&config.floor_file, &release.manifest)?;
    Ok(release)
}

/// The path of a library's manifest.
pub fn manifest_file(library: &Path) -> PathBuf {
    with_suffix(library, ".manifest")
}

/// The digest of the bill of materials beside a library, or none without one.
pub fn sbom_digest(library: &Path) -> Result<Option<LibraryDigest>, PluginError> {
    match read("bill of materials", &sbom_file(library), MAX_LIBRARY_LEN) {
        Ok(bytes) => Ok(Some(LibraryDigest::of(&bytes))),
        Err(PluginError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The path of a library's bill of materials.
pub fn sbom_file(library: &Path) -> PathBuf {
    with_suffix(library, ".cdx.json")
}

/// Reads the manifest beside a library for somebody who is about to sign it: its bytes, and their meaning.
pub fn read_manifest(library: &Path) -> Result<(Vec<u8>, Manifest), PluginError> {
    let file = manifest_file(library);
    let bytes = read("manifest", &file, MAX_MANIFEST_LEN)?;
    let manifest = Manifest::parse(&bytes).map_err(|problem| PluginError::Manifest { file, problem })?;
    Ok((bytes, manifest))
}

/// The digest of a library's file.
pub fn digest(library: &Path) -> Result<LibraryDigest, PluginError> {
    Ok(LibraryDigest::of(&read("library", library, MAX_LIBRARY_LEN)?))
}

/// Reads a library and compares it with its manifest.
pub fn read_library(path: &Path, manifest: &Manifest) -> Result<Vec<u8>, PluginError> {
    let library = read("library", path, MAX_LIBRARY_LEN)?;
    let found = LibraryDigest::of(&library);
    if found != manifest.digest() {
        return Err(PluginError::Digest { library: path.into(), found, signed: manifest.digest() });
    }
    Ok(library)
}

impl Release {
    /// Verifies the library at `path` without the floor: the signatures, and that it is the signed library.
    pub fn verify(path: &Path, officers: &Officers) -> Result<Release, PluginError> {
        let file = manifest_file(path);
        let bytes = read("manifest", &file, MAX_MANIFEST_LEN)?;
        let signatures = Signatures::check(officers, &file, &bytes)?;
        if signatures.signers.len() < officers.threshold() {
            return Err(PluginError::too_few(file, officers, signatures));
        }
        let manifest = Manifest::parse(&bytes).map_err(|problem| PluginError::Manifest { file, problem })?;
        let library = read_library(path, &manifest)?;
        Ok(Release { manifest, library, signatures })
    }

    /// The manifest that the officers signed.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The officers who have signed, and the files that do not count.
    pub fn signatures(&self) -> &Signatures {
        &self.signatures
    }
}

impl Verified {
    /// The manifest that the officers signed.
    pub fn manifest(&self) -> &Manifest {
        &self.release.manifest
    }

    /// The officers who have signed.
    pub fn signers(&self) -> &[Signer] {
        &self.release.signatures.signers
    }

    /// The whole release.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// The floor that it was compared with.
    pub fn floor(&self) -> &PluginVersion {
        &self.floor
    }

    /// Raises the floor and loads the verified bytes, whatever is at the library's path by now.
    pub fn load(self) -> Result<Loaded, PluginError> {
        let Release { manifest, library, .. } = self.release;
        let image = Image::seal(&library, manifest.digest()).map_err(LoadError::from)?;
        // Mapping it runs its constructors.
        floor::raise(&self.floor_file, &manifest)?;
        Ok(Loaded { library: load::load(image)?, manifest })
    }
}

/// Without the library's bytes.
impl fmt::Debug for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut release = formatter.debug_struct("Release");
        release
            .field("manifest", &self.manifest)
            .field("signatures", &self.signatures)
            .finish_non_exhaustive()
    }
}

fn read(what: &'static str, file: &Path, max: usize) -> Result<Vec<u8>, PluginError> {
    file::read(file, max).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => PluginError::Missing { what, file: file.into() },
        _ => PluginError::Unreadable { what, file: file.into(), problem: error.to_string() },
    })
}

/// The reason why a release is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// A part of the release is missing.
    #[error("the {what} {} is missing", file.display())]
    Missing {
        /// Which part.
        what: &'static str,
        /// Its file.
        file: PathBuf,
    },
    /// A part of the release cannot be read.
    #[error("the {what} {} cannot be read: {problem}", file.display())]
    Unreadable {
        /// Which part.
        what: &'static str,
        /// Its file.
        file: PathBuf,
        /// The reason.
        problem: String,
    },
    /// The signatures cannot be checked.
    #[error(transparent)]
    Signatures(#[from] SignaturesError),
    /// Not enough officers have signed.
    #[error("{}", too_few(manifest, signatures, missing, *threshold))]
    TooFew {
        /// The manifest's file.
        manifest: PathBuf,
        /// The officers who have signed, and the files that do not count.
        signatures: Signatures,
        /// The officers who have not signed.
        missing: Vec<OfficerKey>,
        /// How many officers must have signed.
        threshold: usize,
    },
    /// The manifest cannot be used, whether it is signed or not.
    #[error("the manifest {}, {problem}", file.display())]
    Manifest {
        /// Its file.
        file: PathBuf,
        /// What is wrong.
        problem: ManifestError,
    },
    /// The library is not the one that was signed.
    #[error(
        "the library {} does not match its manifest: its sha256 is {found}, the manifest says {signed}",
        library.display()
    )]
    Digest {
        /// The library.
        library: PathBuf,
        /// The digest of its bytes.
        found: LibraryDigest,
        /// The digest in the manifest.
        signed: LibraryDigest,
    },
    /// It may not run here, or the floor is unknown.
    #[error(transparent)]
    Floor(#[from] FloorError),
    /// It is verified, but cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl PluginError {
    fn too_few(manifest: PathBuf, officers: &Officers, signatures: Signatures) -> PluginError {
        let signed =
            |key: &OfficerKey| signatures.signers.iter().any(|signer| signer.officer.line() == key.line());
        let missing = officers.keys().iter().filter(|key| !signed(key)).cloned().collect();
        PluginError::TooFew { manifest, signatures, missing, threshold: officers.threshold() }
    }

    /// What to do next.
    pub fn next(&self) -> String {
        match self {
            PluginError::Missing { .. } => {
                "install the whole release: the library, its .manifest and the officers' .minisig files, in one folder"
                    .into()
            }
            PluginError::Unreadable { .. } => {
                "let the user who runs the boundary read this file of the release".into()
            }
            PluginError::Signatures(SignaturesError::Folder { .. }) => {
                "let the user who runs the boundary list that folder".into()
            }
            PluginError::Signatures(SignaturesError::TooMany { .. }) => {
                "keep the officers' signatures of this manifest, one each, and remove the others".into()
            }
            PluginError::TooFew { .. } => {
                "have the missing officers review the release and sign it (\"countersign plugin sign\"), and put \
                 their .minisig files beside it. If all of them have signed, it is not what they signed: find out who \
                 changed it"
                    .into()
            }
            PluginError::Manifest { .. } => {
                "have the officers make a manifest with \"countersign plugin manifest\" and sign it".into()
            }
            PluginError::Digest { .. } => {
                "put the signed library back. If nobody installed another, treat this as an intrusion".into()
            }
            PluginError::Floor(error) => error.next(),
            PluginError::Load(error) => error.next().into(),
        }
    }
}

fn too_few(manifest: &Path, signatures: &Signatures, missing: &[OfficerKey], threshold: usize) -> String {
    let list = |entries: Vec<String>| if entries.is_empty() { "nobody".into() } else { entries.join(", ") };
    let signers = signatures.signers.iter().map(|signer| signer.officer.to_string()).collect();
    let missing = missing.iter().map(OfficerKey::to_string).collect();
    let mut text = format!(
        "the manifest {} has {} valid signatures of the {threshold} that it needs: signed by {}; not signed by {}",
        manifest.display(),
        signatures.signers.len(),
        list(signers),
        list(missing)
    );
    for aside in &signatures.set_aside {
        // Writing to a string does not fail.
        let _ = write!(text, "; {aside}");
    }
    text
}
