//! `countersign plugin manifest`: writes what the officers of a release will sign.

use std::path::PathBuf;

use clap::Args;
use countersign_plugin::manifest::PluginVersion;
use countersign_plugin::{self as plugin, Manifest};
use serde_json::json;

use super::{manifest_json, manifest_lines, refused};
use crate::error::CommandError;
use crate::new_file::NewFile;
use crate::output::{Report, details};

/// Write the manifest of a release, beside its library.
///
/// One officer does this once for a release. All officers sign that same file, each against their own build of the library. The command
/// never overwrites a manifest: signatures of the old one would remain. If the library's bill of materials is beside it
/// (FILE.cdx.json), the manifest has its digest, too.
#[derive(Args)]
pub(crate) struct MakeManifest {
    /// The library of the release
    #[arg(long, value_name = "FILE")]
    library: PathBuf,
    /// The lowest version that may still run after this one has run
    #[arg(long, value_name = "VERSION")]
    floor: PluginVersion,
    /// The version of the library
    #[arg(long, value_name = "VERSION", default_value = env!("CARGO_PKG_VERSION"))]
    version: PluginVersion,
}

impl MakeManifest {
    pub(crate) fn run(&self) -> Result<Report, CommandError> {
        let path = plugin::manifest_file(&self.library);
        let digest = plugin::digest(&self.library).map_err(refused)?;
        let manifest = Manifest::new(self.version.clone(), digest, self.floor.clone()).map_err(|error| {
            CommandError::new(
                format!("no manifest was written: {error}"),
                "give a --floor that is not above the version, or correct --version",
            )
        })?;
        let manifest = match plugin::sbom_digest(&self.library).map_err(refused)? {
            Some(sbom) => manifest.with_sbom(sbom),
            None => manifest,
        };
        let file = NewFile::create("manifest", &path, 0o644)?;
        file.commit(manifest.to_toml().as_bytes())?;
        let text = format!("{}Written to {}.\n", details(&manifest_lines(&manifest)), path.display());
        let json = json!({ "manifest": manifest_json(&manifest), "file": path.display().to_string() });
        Ok(Report::new(text, json).note(
            "next: each officer, with their own build: countersign plugin sign --library FILE --secret-key FILE",
        ))
    }
}
