//! The licence texts, each once, with the names of all that it is of.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Outcome;
use crate::bundled;
use crate::crates::{Crate, Crates};

/// How the files begin that have them.
const NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];
/// How their names do not end: programs may have a licence in their name.
const NO_TEXTS: [&str; 7] = [".RS", ".PY", ".SH", ".C", ".H", ".HTML", ".TOML"];
/// How deep they lie: C code that a crate brings along has its own.
const DEEPEST: usize = 4;

/// The texts of licences whose crates come without one.
const STANDARD: [(&str, &str); 2] =
    [("CC0-1.0", include_str!("../texts/CC0-1.0.txt")), ("MITNFA", include_str!("../texts/MITNFA.txt"))];
/// That of Rust's standard library.
const RUST: &str = include_str!("../texts/rust-std.txt");
/// That of SQLite.
const SQLITE: &str = include_str!("../texts/sqlite.txt");

const RULER: &str = "================================================================================";

/// The texts in the order in which they are first met, each with what it is of.
#[derive(Default)]
struct Texts(Vec<(String, Vec<String>)>);

impl Texts {
    fn add(&mut self, text: String, of: &str) {
        match self.0.iter_mut().find(|(known, _)| *known == text) {
            Some((_, all)) if all.iter().any(|one| one == of) => {}
            Some((_, all)) => all.push(of.to_owned()),
            None => self.0.push((text, vec![of.to_owned()])),
        }
    }
}

pub(crate) fn document(crates: &Crates) -> Outcome<String> {
    let (mut lines, mut texts) = (Vec::new(), Texts::default());
    for one in &crates.crates {
        let name = format!("{} {}", one.name, one.version);
        lines.push(format!("  {name}: {}", one.licence));
        texts_of(one)?.into_iter().for_each(|text| texts.add(text, &name));
    }
    for one in bundled::all(crates)? {
        let name = format!("{} {}", one.name, one.version);
        lines.push(format!("  {name}: {}", one.licence));
        match one.name {
            "rust-std" => texts.add(normal(RUST), &name),
            "sqlite" => texts.add(normal(SQLITE), &name),
            // Its text is among those of the crate that brings it.
            _ => {}
        }
    }
    let mut document = format!(
        "Licences of what is linked into Countersign {}\n\nCountersign itself is licensed under the Apache License, version 2.0.\n\
         Linked into its library and its program are:\n\n{}\n",
        crates.version,
        lines.join("\n")
    );
    for (text, of) in texts.0 {
        document.push_str(&format!("\n{RULER}\n{}\n{RULER}\n\n{text}\n", of.join(", ")));
    }
    Ok(document)
}

/// The texts that come with a crate, or the standard text of its licence.
fn texts_of(one: &Crate) -> Outcome<Vec<String>> {
    let mut files = BTreeMap::new();
    find(&one.folder, DEEPEST, &mut files)?;
    if !files.is_empty() {
        return Ok(files.into_values().collect());
    }
    let standard = STANDARD.iter().find(|(licence, _)| *licence == one.licence).ok_or_else(|| {
        format!(
            "{} {} ({}) comes without the text of its licence: add it to tools/linked/texts",
            one.name, one.version, one.licence
        )
    })?;
    Ok(vec![normal(standard.1)])
}

fn find(folder: &Path, depth: usize, files: &mut BTreeMap<PathBuf, String>) -> Outcome {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().to_uppercase());
        let is_licence = NAMES.iter().any(|wanted| name.starts_with(wanted))
            && NO_TEXTS.iter().all(|ending| !name.ends_with(ending));
        if entry.file_type()?.is_dir() {
            if depth > 1 {
                find(&path, depth - 1, files)?;
            }
        } else if is_licence {
            let text = normal(&String::from_utf8_lossy(&fs::read(&path)?));
            files.insert(path, text);
        }
    }
    Ok(())
}

/// The same text, whatever its line ends and the blanks at them.
fn normal(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}
