//! The manifest of a release: the few lines that the officers sign.
//!
//! ```toml
//! name = "countersign"
//! version = "1.2.0"
//! sha256 = "…"          # of libcountersign.so, 64 lower-case hexadecimal digits
//! floor = "1.1.0"       # from when this version has run, nothing lower may run
//! sbom_sha256 = "…"     # of the library's bill of materials; optional, as releases before it have none
//! ```
//!
//! The first four keys are required, and there may be no others but these five. Signatures cover the file's
//! bytes, so a manifest that is written differently is a different manifest.

use std::fmt;
use std::str::FromStr;

use countersign::kernel::document::{self, DocumentError};
use countersign::shell::image::LibraryDigest;
use serde::Deserialize;

/// The only product that is loaded.
pub const NAME: &str = "countersign";
/// The greatest length of a manifest.
pub const MAX_MANIFEST_LEN: usize = 4096;
/// The greatest length of a version as text.
const MAX_VERSION_LEN: usize = 64;

/// The content of a manifest, which the officers sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    version: PluginVersion,
    digest: LibraryDigest,
    floor: PluginVersion,
    sbom: Option<LibraryDigest>,
}

/// A version of the library: SemVer 2.0.0 without build metadata, which has no order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PluginVersion(semver::Version);

impl Manifest {
    /// The manifest of a library. It is an error if the floor is above the version, because that would
    /// exclude this very release.
    pub fn new(
        version: PluginVersion,
        digest: LibraryDigest,
        floor: PluginVersion,
    ) -> Result<Manifest, ManifestError> {
        if floor > version {
            return Err(ManifestError::Floor { version, floor });
        }
        Ok(Manifest { version, digest, floor, sbom: None })
    }

    /// The same manifest with the digest of the library's bill of materials.
    pub fn with_sbom(self, digest: LibraryDigest) -> Manifest {
        Manifest { sbom: Some(digest), ..self }
    }

    /// Reads the bytes of a manifest. Before loading, the caller has verified their signatures.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        if bytes.len() > MAX_MANIFEST_LEN {
            return Err(ManifestError::Length);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ManifestError::Text)?;
        let file: File = document::read(text)?;
        if file.name != NAME {
            return Err(ManifestError::Name(file.name));
        }
        let version = |key, text: String| {
            text.parse().map_err(|problem| ManifestError::Version { key, text: text.clone(), problem })
        };
        let digest = LibraryDigest::parse(&file.sha256).ok_or(ManifestError::Digest)?;
        let sbom = file.sbom_sha256.map(|hex| LibraryDigest::parse(&hex).ok_or(ManifestError::SbomDigest));
        let manifest =
            Manifest::new(version("version", file.version)?, digest, version("floor", file.floor)?)?;
        Ok(Manifest { sbom: sbom.transpose()?, ..manifest })
    }

    /// The text of the manifest's file.
    pub fn to_toml(&self) -> String {
        let sbom = self.sbom.map(|digest| format!("sbom_sha256 = \"{digest}\"\n")).unwrap_or_default();
        format!(
            "name = \"{NAME}\"\nversion = \"{}\"\nsha256 = \"{}\"\nfloor = \"{}\"\n{sbom}",
            self.version, self.digest, self.floor
        )
    }

    /// The version of the library.
    pub fn version(&self) -> &PluginVersion {
        &self.version
    }

    /// The digest of the library.
    pub fn digest(&self) -> LibraryDigest {
        self.digest
    }

    /// The digest of the library's bill of materials.
    pub fn sbom(&self) -> Option<LibraryDigest> {
        self.sbom
    }

    /// The floor: once this version has run, nothing lower may run.
    pub fn floor(&self) -> &PluginVersion {
        &self.floor
    }
}

impl FromStr for PluginVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<PluginVersion, VersionError> {
        if text.len() > MAX_VERSION_LEN {
            return Err(VersionError::Length);
        }
        let version =
            semver::Version::parse(text).map_err(|error| VersionError::Semver(error.to_string()))?;
        if !version.build.is_empty() {
            return Err(VersionError::Build);
        }
        Ok(PluginVersion(version))
    }
}

impl fmt::Display for PluginVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The reason why these bytes are no manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Too long.
    #[error("it has more than {MAX_MANIFEST_LEN} bytes")]
    Length,
    /// Not UTF-8.
    #[error("it is not UTF-8")]
    Text,
    /// No TOML, or a key is missing, unknown or of another type.
    #[error(transparent)]
    Toml(#[from] DocumentError),
    /// The manifest of another product.
    #[error("name: the manifest belongs to {0:?}, not to {NAME:?}")]
    Name(String),
    /// A version that cannot be read.
    #[error("{key}: {text:?} is not a version that can be ordered: {problem}")]
    Version {
        /// `version` or `floor`.
        key: &'static str,
        /// The text.
        text: String,
        /// What is wrong.
        problem: VersionError,
    },
    /// A digest that cannot be read.
    #[error("sha256: 64 lower-case hexadecimal digits are needed")]
    Digest,
    /// A digest of the bill of materials that cannot be read.
    #[error("sbom_sha256: 64 lower-case hexadecimal digits are needed")]
    SbomDigest,
    /// The floor would exclude this very release.
    #[error("floor: {floor} is above the version itself, {version}")]
    Floor {
        /// The version.
        version: PluginVersion,
        /// The floor.
        floor: PluginVersion,
    },
}

/// The reason why this text is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// Too long.
    #[error("it has more than {MAX_VERSION_LEN} bytes")]
    Length,
    /// Not SemVer.
    #[error("{0} (write it as in 1.2.0)")]
    Semver(String),
    /// It has build metadata.
    #[error("it has build metadata (+…), which cannot be ordered: leave it out")]
    Build,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    version: String,
    sha256: String,
    floor: String,
    sbom_sha256: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn good() -> String {
        format!("name = \"countersign\"\nversion = \"1.2.0\"\nsha256 = \"{DIGEST}\"\nfloor = \"1.1.0\"\n")
    }

    fn version(text: &str) -> PluginVersion {
        text.parse().expect("a version")
    }

    #[test]
    fn what_is_written_is_read() {
        let manifest = Manifest::new(version("1.2.0"), LibraryDigest::of(b"abc"), version("1.1.0"));
        let manifest = manifest.expect("the floor is below");
        assert_eq!(manifest.to_toml(), good());
        assert_eq!(Manifest::parse(good().as_bytes()), Ok(manifest));
    }

    #[test]
    fn a_bill_of_materials_is_a_key_more_and_a_manifest_without_it_reads_as_before() {
        let before = Manifest::parse(good().as_bytes()).expect("a release of before");
        assert_eq!((before.sbom(), before.to_toml()), (None, good()));
        let with_sbom = before.with_sbom(LibraryDigest::of(b"{}"));
        let text = format!("{}sbom_sha256 = \"{}\"\n", good(), LibraryDigest::of(b"{}"));
        assert_eq!(with_sbom.to_toml(), text);
        assert_eq!(Manifest::parse(text.as_bytes()), Ok(with_sbom));
        let short = text.replace("sbom_sha256 = \"44", "sbom_sha256 = \"");
        assert_ne!(short, text);
        assert_eq!(Manifest::parse(short.as_bytes()), Err(ManifestError::SbomDigest));
    }

    #[test]
    fn anything_but_the_known_keys_is_refused_and_named() {
        for (from, to, expected) in [
            ("name = \"countersign\"\n", "", "key name: it is missing"),
            ("\"countersign\"", "\"countersigm\"", "name: the manifest belongs to \"countersigm\""),
            ("floor = \"1.1.0\"", "", "key floor: it is missing"),
            ("floor", "threshold = 1\nfloor", "line 4, key threshold: there is no such key"),
            ("floor", "name = \"countersign\"\nfloor", "line 4, key name: duplicate key"),
            (
                "\"1.2.0\"",
                "1.2",
                "line 2, key version: a number with a point stands there: write a string in quotes",
            ),
            ("\"1.2.0\"", "\"1.2\"", "version: \"1.2\" is not a version"),
            ("\"1.1.0\"", "\"1.1.0+a\"", "floor: \"1.1.0+a\" is not a version"),
            ("\"1.1.0\"", "\"v1.1.0\"", "floor: \"v1.1.0\" is not a version"),
            ("\"1.1.0\"", "\"1.2.1\"", "floor: 1.2.1 is above the version itself, 1.2.0"),
            ("\"1.2.0\"", "\"1.1.0-rc.1\"", "floor: 1.1.0 is above the version itself, 1.1.0-rc.1"),
            ("ba78", "BA78", "sha256: 64 lower-case"),
            ("ba78", "a78", "sha256: 64 lower-case"),
            ("ba78", "baba78", "sha256: 64 lower-case"),
            ("ba78", " ba78", "sha256: 64 lower-case"),
        ] {
            assert!(good().contains(from), "{from}");
            let error = Manifest::parse(good().replacen(from, to, 1).as_bytes()).expect_err(to).to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
        assert_eq!(Manifest::parse(b"name = \"\xff\""), Err(ManifestError::Text));
        let padded = |length: usize| format!("{}{}", good(), "#".repeat(length - good().len()));
        assert!(Manifest::parse(padded(MAX_MANIFEST_LEN).as_bytes()).is_ok());
        assert_eq!(Manifest::parse(padded(MAX_MANIFEST_LEN + 1).as_bytes()), Err(ManifestError::Length));
    }

    #[test]
    fn versions_are_in_the_order_of_semver() {
        let order = ["0.9.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-rc.1", "1.0.0", "1.0.10", "1.1.0"];
        for (at, lower) in order.iter().enumerate() {
            for higher in &order[at + 1..] {
                assert!(version(lower) < version(higher), "{lower} {higher}");
            }
        }
        let long = |length: usize| format!("1.0.0-{}", "a".repeat(length - 6)).parse::<PluginVersion>();
        assert!(long(MAX_VERSION_LEN).is_ok());
        assert_eq!(long(MAX_VERSION_LEN + 1), Err(VersionError::Length));
        assert_eq!("1.0.0+5".parse::<PluginVersion>(), Err(VersionError::Build));
    }
}
