//! Reads a policy from a file.

use std::io::Read;
use std::path::Path;

use countersign::admin::MAX_POLICY_LEN;
use toml::Value;

use crate::error::CommandError;

/// The longest file that is read: as long as the longest policy that the module accepts.
const FILE_MAX: u64 = MAX_POLICY_LEN as u64;

/// Reads the TOML document that `--policy` names.
pub(crate) fn read(path: &Path) -> Result<String, CommandError> {
    let failed = |why: String| {
        CommandError::new(
            format!("cannot read the policy from {}: {why}", path.display()),
            "check the file that --policy names",
        )
    };
    let file = std::fs::File::open(path).map_err(|reason| failed(reason.to_string()))?;
    let mut document = String::new();
    file.take(FILE_MAX + 1).read_to_string(&mut document).map_err(|reason| failed(reason.to_string()))?;
    if document.len() as u64 > FILE_MAX {
        return Err(failed(format!("a policy has at most {MAX_POLICY_LEN} bytes, and it is longer")));
    }
    Ok(document)
}

/// The lines of a document for the numbers that are given.
pub(crate) fn numbers(numbers: &[(&str, Option<u64>)]) -> String {
    let lines =
        numbers.iter().filter_map(|(name, number)| number.map(|number| format!("{name} = {number}\n")));
    lines.collect()
}

/// The list of these texts in a document, or nothing without texts.
pub(crate) fn list(name: &str, texts: &[String]) -> String {
    if texts.is_empty() {
        return String::new();
    }
    // As TOML strings, so that their content can end neither the string nor the list.
    let lines: String = texts.iter().map(|text| format!("    {},\n", Value::from(text.as_str()))).collect();
    format!("{name} = [\n{lines}]\n")
}

/// The same bound for the document that options stand for.
pub(crate) fn check_len(document: &str) -> Result<(), CommandError> {
    if document.len() <= MAX_POLICY_LEN {
        return Ok(());
    }
    Err(CommandError::new(
        format!(
            "the policy has at most {MAX_POLICY_LEN} bytes, and what --allow, --deny and --time-window name is longer"
        ),
        "name fewer, or a public descriptor that stands for many",
    ))
}
