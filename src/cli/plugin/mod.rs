//! `countersign plugin …`: the signed release of `libcountersign.so`, from the officers' keys to its installation.
//!
//! None of these verbs loads the library or needs a token. The keys, signatures and comments are minisign's.

mod keygen;
mod manifest;
mod pin;
mod sign;
mod verify;

use clap::Subcommand;
use countersign::shell::config::{Config, EngineConfig};
use countersign_plugin::{Manifest, PluginConfig, PluginError};
use serde_json::{Value, json};

use crate::Global;
use crate::error::CommandError;
use crate::output::Report;

/// Make officers' keys; sign, verify and pin the library that the boundary loads.
#[derive(Subcommand)]
pub(crate) enum Plugin {
    Keygen(keygen::Keygen),
    Manifest(manifest::MakeManifest),
    Sign(sign::Sign),
    Verify(verify::Verify),
    Pin(pin::Pin),
}

impl Plugin {
    pub(crate) fn run(&self, _: &Global) -> Result<Report, CommandError> {
        match self {
            Plugin::Keygen(verb) => verb.run(),
            Plugin::Manifest(verb) => verb.run(),
            Plugin::Sign(verb) => verb.run(),
            Plugin::Verify(verb) => verb.run(),
            Plugin::Pin(verb) => verb.run(),
        }
    }
}

/// `[plugin]` of the configuration.
fn configured() -> Result<PluginConfig, CommandError> {
    const NEXT: &str = "run this inside the boundary, with its configuration (--config or COUNTERSIGN_CONF)";
    let config = Config::locate().and_then(|path| EngineConfig::load(&path).map(|config| (path, config)));
    let (path, config) = config.map_err(|error| CommandError::new(error.to_string(), NEXT))?;
    config.plugin.ok_or_else(|| {
        CommandError::new(
            format!("the configuration {} has no table [plugin]", path.display()),
            format!("add it, with library, officers, threshold and floor_file; or {NEXT}"),
        )
    })
}

/// The refusal in the words of `countersign serve`.
fn refused(error: PluginError) -> CommandError {
    CommandError::new(error.to_string(), error.next())
}

/// The content of the manifest, for a person.
fn manifest_lines(manifest: &Manifest) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("name", countersign_plugin::manifest::NAME.into()),
        ("version", manifest.version().to_string()),
        ("sha256", manifest.digest().to_string()),
        ("floor", format!("{}: once this has run, nothing lower may run", manifest.floor())),
    ];
    lines.extend(manifest.sbom().map(|digest| ("sbom sha256", digest.to_string())));
    lines
}

/// The same for a program.
fn manifest_json(manifest: &Manifest) -> Value {
    json!({
        "name": countersign_plugin::manifest::NAME,
        "version": manifest.version().to_string(),
        "sha256": manifest.digest().to_string(),
        "floor": manifest.floor().to_string(),
        "sbom_sha256": manifest.sbom().map(|digest| digest.to_string()),
    })
}
