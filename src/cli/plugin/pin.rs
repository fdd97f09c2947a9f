//! `countersign plugin pin`: the first floor file, at installation.

use clap::Args;
use countersign_plugin as plugin;
use serde_json::json;

use super::{configured, manifest_json, refused};
use crate::error::CommandError;
use crate::output::Report;

/// Verify the configured release, and write its floor to the floor file: once, at installation.
///
/// From then on each loaded release raises the floor to its own, and nothing below the floor is loaded. Run this as the user who runs the
/// boundary. If the floor file exists, the command leaves it alone: a new one would let old versions run.
#[derive(Args)]
pub(crate) struct Pin {}

impl Pin {
    pub(crate) fn run(&self) -> Result<Report, CommandError> {
        let config = configured()?;
        let release = plugin::pin(&config).map_err(refused)?;
        let manifest = release.manifest();
        let text = format!(
            "The floor is {}, in {}. The boundary loads nothing below it.\n",
            manifest.floor(),
            config.floor_file.display()
        );
        let json = json!({
            "manifest": manifest_json(manifest),
            "floor": manifest.floor().to_string(),
            "floor_file": config.floor_file.display().to_string(),
        });
        Ok(Report::new(text, json)
            .note("next: keep that file with the store, and out of every other user's reach"))
    }
}
