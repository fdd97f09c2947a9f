//! The file of an act: read, shown, and named in a signature.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use countersign::kernel::act::class::Class;
use countersign::kernel::motion::{ActText, Difference, MAX_TEXT_LEN};
use countersign::kernel::utc::to_iso;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use crate::error::CommandError;
use crate::officer::KeyPair;
use crate::output::{details, table};

/// An act that was read from its file.
pub(super) struct ActFile {
    path: PathBuf,
    pub(super) text: String,
    pub(super) act: ActText,
}

impl ActFile {
    pub(super) fn read(path: &Path) -> Result<ActFile, CommandError> {
        let failed = |why: String| {
            CommandError::new(
                format!("cannot read the act {}: {why}", path.display()),
                "name the file of an act, as the boundary wrote it",
            )
        };
        let file = File::open(path).map_err(|reason| failed(reason.to_string()))?;
        let mut bytes = Vec::new();
        file.take(MAX_TEXT_LEN as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|reason| failed(reason.to_string()))?;
        // An act is ASCII, so what is not UTF-8 is as wrong as any other text.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let act = ActText::parse(&text).map_err(|error| failed(error.to_string()))?;
        Ok(ActFile { path: path.into(), text, act })
    }

    /// What it is and what it changes, old beside new.
    pub(super) fn shown(&self) -> String {
        let ActText { store, epoch, nonce, seen, expires, motion } = &self.act;
        let lines = details(&[
            ("do", motion.heading()),
            ("class", format!("{}: {}", motion.class().name(), who_signs(motion.class()))),
            ("store", format!("{}, epoch {epoch}", HEXLOWER.encode(store))),
            ("nonce", HEXLOWER.encode(nonce)),
            (
                "seen",
                format!(
                    "link {} of the audit, after which its head is\n{}\n(so its proposer claims: the boundary does not check it)",
                    seen.link,
                    HEXLOWER.encode(&seen.head.0)
                ),
            ),
            ("expires", to_iso(*expires)),
        ]);
        let rows: Vec<Vec<String>> = motion.differences().into_iter().map(row).collect();
        format!("{lines}\n{}", table(&["CHANGES", "FROM", "TO"], &rows))
    }

    pub(super) fn to_json(&self) -> Value {
        let ActText { store, epoch, nonce, seen, expires, motion } = &self.act;
        let changes: Vec<Value> = motion
            .differences()
            .into_iter()
            .map(|Difference { what, old, new }| json!({ "what": what, "old": old, "new": new }))
            .collect();
        json!({
            "file": self.path.display().to_string(),
            "do": motion.heading(),
            "class": motion.class().name(),
            "store": HEXLOWER.encode(store),
            "epoch": epoch,
            "nonce": HEXLOWER.encode(nonce),
            "seen": { "head": HEXLOWER.encode(&seen.head.0), "link": seen.link },
            "expires": to_iso(*expires),
            "changes": changes,
        })
    }

    /// The comment of a signature, which is signed with it. It has one line.
    pub(super) fn comment(&self, what: &str) -> String {
        format!(
            "timestamp:{}\t{what}:{}\tnonce:{}",
            now(),
            self.act.motion.heading(),
            HEXLOWER.encode(&self.act.nonce)
        )
    }

    /// Says on standard error that the act is past, by this machine's clock, which may be wrong.
    pub(super) fn warn_if_expired(&self) {
        if now() > self.act.expires {
            eprintln!(
                "warning: the act expired at {}: the boundary does not accept it any more",
                to_iso(self.act.expires)
            );
        }
    }

    /// Where an officer's signature goes: beside the file, named by the key, since each officer makes one.
    pub(super) fn signature_file(&self, suffix: &str, pair: &KeyPair) -> PathBuf {
        countersign::paths::with_suffix(&self.path, format!("{suffix}.{}.minisig", pair.officer.id()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// The officers' signatures beside the file of an act. Those of a veto are none.
pub(super) fn signatures_beside(path: &Path) -> Result<Vec<PathBuf>, CommandError> {
    let failed = |reason: std::io::Error| {
        CommandError::new(
            format!("cannot look for signatures beside {}: {reason}", path.display()),
            "name them with --signature",
        )
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = std::path::absolute(path).map_err(failed)?.parent().unwrap_or(Path::new("/")).to_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        let entry = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        let rest = entry.strip_prefix(&name).and_then(|rest| rest.strip_suffix(".minisig"));
        if rest.is_some_and(|rest| (rest.is_empty() || rest.starts_with('.')) && !rest.starts_with(".veto."))
        {
            found.push(folder.join(entry));
        }
    }
    found.sort();
    Ok(found)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn row(Difference { what, old, new }: Difference) -> Vec<String> {
    let cell = |value: Option<String>| value.unwrap_or_else(|| "(nothing)".into());
    vec![what, cell(old), cell(new)]
}

fn who_signs(class: Class) -> &'static str {
    match class {
        Class::Tightens => "one officer's signature is enough, and nothing waits",
        Class::Neutral => "the administrator does it alone",
        Class::Loosens => "enough officers must sign, and then it waits",
        Class::Vouchless => "enough officers must sign, and nothing waits",
    }
}
