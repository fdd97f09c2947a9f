//! Links, without a network: to files and headings of this checkout, and of the package's documents.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use super::markdown::{Document, documents, root, under};

/// The target of a document's link: the path, and the heading after `#`. None for another site.
fn leads(document: &Document, target: &str) -> Option<(PathBuf, Option<String>)> {
    if target.starts_with("https://") {
        return None;
    }
    let (path, heading) = match target.split_once('#') {
        Some((path, heading)) => (path, Some(heading.to_owned())),
        None => (target, None),
    };
    if path.is_empty() {
        return Some((document.path.clone(), heading));
    }
    let mut whole = document.path.parent().expect("it is a file").to_owned();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => assert!(whole.pop(), "{:?}: {target} leaves the checkout", document.path),
            part => whole.push(part),
        }
    }
    Some((whole, heading))
}

/// The faults in the links of these documents, which are in `folder`.
fn broken(folder: &Path, documents: &[Document], exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut broken = Vec::new();
    for document in documents {
        for link in document.links() {
            let Some((path, heading)) = leads(document, &link.target) else { continue };
            let place = format!("{}:{}: {}", document.path.display(), link.line, link.target);
            if !exists(&path) {
                broken.push(format!("{place}: there is no {}", path.display()));
            } else if let Some(heading) = heading
                && !Document::read(folder, &path).anchors().contains(&heading)
            {
                broken.push(format!("{place}: {} has no such heading", path.display()));
            }
        }
    }
    broken
}

#[test]
fn every_link_of_the_documents_leads_to_a_file_and_a_heading() {
    let documents = documents();
    assert!(documents.iter().map(|document| document.links().len()).sum::<usize>() > 40, "links are found");
    let broken = broken(root(), &documents, |path| root().join(path).exists());
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_document_is_reached_from_the_readme() {
    let documents = documents();
    let (mut reached, mut next) = (HashSet::new(), vec![PathBuf::from("README.md")]);
    while let Some(path) = next.pop() {
        if let Some(document) = documents.iter().find(|document| document.path == path)
            && reached.insert(path)
        {
            next.extend(document.links().iter().filter_map(|link| Some(leads(document, &link.target)?.0)));
        }
    }
    let lost: Vec<_> =
        documents.iter().map(|document| &document.path).filter(|path| !reached.contains(*path)).collect();
    assert!(lost.is_empty(), "no link leads to {lost:?}");
}

#[test]
fn the_readme_has_at_most_180_lines() {
    let lines = std::fs::read_to_string(root().join("README.md")).expect("it is there").lines().count();
    assert!(lines <= 180, "{lines}: move what is not needed first to docs/");
}

#[test]
fn the_readme_names_the_rust_version_that_is_declared() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("it is there");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"'));
    let readme = std::fs::read_to_string(root().join("README.md")).expect("it is there");
    assert!(readme.contains(&format!("Rust toolchain ({} or later)", version.expect("it is declared"))));
}

/// The package has no sources, so `debian/documents.sh` removes links to them.
#[test]
fn every_link_of_the_packaged_documents_leads_to_what_is_in_the_package() {
    let made = tempfile::tempdir().expect("a folder");
    let done =
        Command::new("bash").arg(root().join("debian/documents.sh")).arg(made.path()).output().expect("bash");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let paths = under(made.path(), Path::new(""));
    let documents: Vec<_> = paths.iter().map(|path| Document::read(made.path(), path)).collect();
    assert!(documents.len() > 10, "{paths:?}");
    // The examples' sources are assets in Cargo.toml.
    let example = |path: &Path| path.starts_with("examples") && root().join(path).exists();
    let header = Path::new("/usr/include/countersign.h");
    let exists = |path: &Path| path == header || made.path().join(path).exists() || example(path);
    let broken = broken(made.path(), &documents, exists);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Each `` `tests/kernel/model.rs` `` in the text names a file or folder that exists.
#[test]
fn every_path_in_the_text_is_there() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for document in documents() {
        for (line, span) in document.code_spans() {
            let path = span.split([' ', ':', '*', '<', '…']).next().expect("there is one piece");
            let top = path.split('/').next().expect("there is one piece");
            let ours =
                ["benches", "debian", "docs", "examples", "include", "softhsm", "src", "tests", "tools"];
            if !path.contains('/') || !ours.contains(&top) {
                continue;
            }
            seen += 1;
            if !root().join(path).exists() {
                wrong.push(format!("{}:{line}: there is no {path}", document.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 30, "{seen}: paths are found");
}

/// The tables of SECURITY.md name tests, as `` `keys::wrapping…` `` or, for a whole file, `` `token::…` ``.
#[test]
fn every_test_that_security_md_names_is_there() {
    let sources = sources(Path::new("tests"));
    let document = Document::read(root(), Path::new("SECURITY.md"));
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (line, span) in document.code_spans() {
        let Some((module, name)) = span.strip_suffix('…').and_then(|span| span.rsplit_once("::")) else {
            continue;
        };
        seen += 1;
        let file = format!("{module}.rs");
        let is_there = sources.iter().any(|(path, text)| {
            let named = path.file_name().is_some_and(|there| *there == *file);
            named && (name.is_empty() || text.contains(&format!("fn {name}")))
        });
        if !is_there {
            wrong.push(format!("SECURITY.md:{line}: there is no test {span}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 40, "{seen}: tests are named");
}

/// The Rust sources under a folder, with their texts.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join(folder)).expect("it is ours") {
        let path = folder.join(entry.expect("it can be read").file_name());
        if root().join(&path).is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(root().join(&path)).expect("it is UTF-8");
            found.push((path, text));
        }
    }
    found
}
