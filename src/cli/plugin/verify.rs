//! `countersign plugin verify`: whether the boundary would load a release, and who signed it.

use std::path::{Path, PathBuf};

use clap::Args;
use countersign::kernel::officer::{Officers, OfficersError};
use countersign_plugin::signatures::{SetAside, Signer};
use countersign_plugin::{self as plugin, Manifest, Release};
use serde_json::{Value, json};

use super::{configured, manifest_json, manifest_lines, refused};
use crate::error::CommandError;
use crate::output::{Report, details};

/// Verify a release as the boundary does before it loads it. The command loads nothing and changes nothing.
///
/// Without options it verifies the configured release, and compares it with the floor: what "countersign serve" would refuse, it refuses
/// in the same words, with exit status 1. With --library, --officer and --threshold it verifies any release, anywhere, without the
/// boundary's floor. If a bill of materials was signed, the command compares that, too: a different one does not keep the library from
/// loading, but gives exit status 1.
#[derive(Args)]
pub(crate) struct Verify {
    /// The library, beside its manifest and signatures [default: that of the configuration]
    #[arg(long, value_name = "FILE", requires_all = ["officer", "threshold"])]
    library: Option<PathBuf>,
    /// The public key of an officer, as in RWQf6LRC…; repeat for each
    #[arg(long, value_name = "KEY", requires = "library")]
    officer: Vec<String>,
    /// How many of them must have signed
    #[arg(long, value_name = "NUMBER", requires = "library")]
    threshold: Option<usize>,
}

impl Verify {
    pub(crate) fn run(&self) -> Result<Report, CommandError> {
        match (&self.library, self.threshold) {
            (Some(library), Some(threshold)) => {
                let officers = Officers::parse(&self.officer, threshold).map_err(wrong_option)?;
                let library = std::path::absolute(library).map_err(|reason| {
                    CommandError::new(format!("{}: {reason}", library.display()), "name an absolute path")
                })?;
                let release = Release::verify(&library, &officers).map_err(refused)?;
                report(&library, &release, &officers, None)
            }
            _ => {
                let config = configured()?;
                let verified = plugin::verify(&config).map_err(refused)?;
                let floor = Floor { file: &config.floor_file, version: verified.floor().to_string() };
                report(&config.library, verified.release(), &config.officers, Some(floor))
            }
        }
    }
}

/// The floor that a release was compared with.
struct Floor<'a> {
    file: &'a Path,
    version: String,
}

fn wrong_option(error: OfficersError) -> CommandError {
    let option = match error {
        OfficersError::Threshold { .. } => "--threshold",
        _ => "--officer",
    };
    CommandError::new(format!("{option}: {error}"), "correct it and run the command again")
}

/// How the bill of materials beside the library relates to the manifest.
fn sbom_is(library: &Path, manifest: &Manifest) -> Result<Option<&'static str>, CommandError> {
    let Some(signed) = manifest.sbom() else { return Ok(None) };
    Ok(Some(match plugin::sbom_digest(library).map_err(refused)? {
        Some(found) if found == signed => "as signed",
        Some(_) => "not the one that was signed",
        None => "missing",
    }))
}

fn report(
    library: &Path,
    release: &Release,
    officers: &Officers,
    floor: Option<Floor<'_>>,
) -> Result<Report, CommandError> {
    let signatures = release.signatures();
    let sbom = sbom_is(library, release.manifest())?;
    let mut lines = vec![("library", library.display().to_string())];
    lines.extend(manifest_lines(release.manifest()));
    if let Some(sbom) = sbom {
        lines.push(("sbom", format!("{}: {sbom}", plugin::sbom_file(library).display())));
    }
    let signers: Vec<String> = signatures.signers.iter().map(|signer| signer.officer.to_string()).collect();
    lines.push(("signed by", signers.join("\n")));
    lines.push(("needed", format!("{} of {} officers", officers.threshold(), officers.keys().len())));
    lines.push(match &floor {
        Some(floor) => ("running floor", format!("{} ({})", floor.version, floor.file.display())),
        None => ("running floor", "unknown here: only the boundary's configuration names its file".into()),
    });
    if !signatures.set_aside.is_empty() {
        let aside: Vec<String> = signatures.set_aside.iter().map(SetAside::to_string).collect();
        lines.push(("does not count", aside.join("\n")));
    }
    let json = json!({ "plugin": {
        "library": library.display().to_string(),
        "manifest": manifest_json(release.manifest()),
        "signers": signatures.signers.iter().map(signer_json).collect::<Vec<_>>(),
        "sbom": sbom,
        "threshold": officers.threshold(),
        "officers": officers.keys().len(),
        "running_floor": floor.map(|floor| floor.version),
        "set_aside": signatures.set_aside.iter().map(SetAside::to_string).collect::<Vec<_>>(),
    } });
    // People use it to look up vulnerabilities. It has nothing to do with loading.
    Ok(Report::new(details(&lines), json).wrong(sbom == Some("not the one that was signed")))
}

fn signer_json(signer: &Signer) -> Value {
    json!({
        "key_id": signer.officer.id().to_string(),
        "public_key": signer.officer.line(),
        "signature_file": signer.file.display().to_string(),
        "trusted_comment": signer.trusted_comment,
    })
}
