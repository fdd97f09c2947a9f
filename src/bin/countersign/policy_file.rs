//! A policy that is in a file.

use std::io::Read;
use std::path::Path;

use crate::error::CommandError;

/// Longest file that is read.
const FILE_MAX: u64 = 64 << 10;

/// Reads the TOML document that `--policy` names.
pub(crate) fn read(path: &Path) -> Result<String, CommandError> {
    let failed = |why: String| {
        CommandError::new(
            format!("the policy cannot be read from {}: {why}", path.display()),
            "check the file that --policy names",
        )
    };
    let file = std::fs::File::open(path).map_err(|reason| failed(reason.to_string()))?;
    let mut document = String::new();
    file.take(FILE_MAX + 1).read_to_string(&mut document).map_err(|reason| failed(reason.to_string()))?;
    if document.len() as u64 > FILE_MAX {
        return Err(failed("it is larger than 64 KiB".into()));
    }
    Ok(document)
}
