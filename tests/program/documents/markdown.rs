//! As much of Markdown as the documents use.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The checkout.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A document, by its path in the checkout.
pub(crate) struct Document {
    pub(crate) path: PathBuf,
    text: String,
}

/// A fenced block.
pub(crate) struct Block {
    /// The line of its first line of code.
    pub(crate) line: usize,
    pub(crate) language: String,
    pub(crate) code: String,
    /// The comment above it.
    pub(crate) mark: Option<String>,
}

/// A link in the text.
pub(crate) struct Link {
    pub(crate) line: usize,
    pub(crate) target: String,
}

impl Document {
    pub(crate) fn read(folder: &Path, path: &Path) -> Document {
        let text = fs::read_to_string(folder.join(path)).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        Document { path: path.to_owned(), text }
    }

    pub(crate) fn blocks(&self) -> Vec<Block> {
        let (mut blocks, mut open, mut above) = (Vec::new(), None::<(Block, usize)>, "");
        for (number, line) in (1..).zip(self.text.lines()) {
            let trimmed = line.trim_start();
            let indent = line.len() - trimmed.len();
            match &mut open {
                Some(_) if trimmed == "```" => blocks.extend(open.take().map(|(block, _)| block)),
                Some((block, indent)) => {
                    block.code += line.get(*indent..).unwrap_or("");
                    block.code.push('\n');
                }
                None if trimmed.starts_with("```") => {
                    let mark = above.strip_prefix("<!-- ").and_then(|above| above.strip_suffix(" -->"));
                    let block = Block {
                        line: number + 1,
                        language: trimmed.trim_start_matches('`').to_owned(),
                        code: String::new(),
                        mark: mark.map(str::to_owned),
                    };
                    open = Some((block, indent));
                }
                None => {}
            }
            if !trimmed.is_empty() {
                above = trimmed;
            }
        }
        assert!(open.is_none(), "{:?}: the last block has no end", self.path);
        blocks
    }

    /// The lines outside of blocks, with their numbers.
    fn prose(&self) -> Vec<(usize, &str)> {
        let mut fenced = false;
        let outside = |(number, line): (usize, &'_ str)| {
            let fence = line.trim_start().starts_with("```");
            fenced ^= fence;
            (!fenced && !fence).then_some((number, line.len()))
        };
        let kept: Vec<_> = (1..).zip(self.text.lines()).filter_map(outside).collect();
        let lines: Vec<&str> = self.text.lines().collect();
        kept.into_iter().map(|(number, _)| (number, lines[number - 1])).collect()
    }

    pub(crate) fn links(&self) -> Vec<Link> {
        let mut links = Vec::new();
        for (line, text) in self.prose() {
            let mut rest = without_code(text);
            while let Some((_, after)) = rest.split_once("](") {
                let (target, next) = after.split_once(')').expect("a link ends on its line");
                links.push(Link { line, target: target.to_owned() });
                rest = next.to_owned();
            }
        }
        links
    }

    /// The code in the text, with its lines. Code may continue in the next line.
    pub(crate) fn code_spans(&self) -> Vec<(usize, String)> {
        let (mut spans, mut open) = (Vec::new(), None::<(usize, String)>);
        let mut last = 0;
        for (number, text) in self.prose() {
            // A paragraph ends with an empty line or before a block.
            if text.trim().is_empty() || number > last + 1 {
                open = None;
            }
            last = number;
            for (index, piece) in text.split('`').enumerate() {
                if index > 0 {
                    match open.take() {
                        Some(span) => spans.push(span),
                        None => open = Some((number, String::new())),
                    }
                }
                if let Some((_, code)) = &mut open {
                    if index == 0 {
                        code.push(' ');
                    }
                    code.push_str(piece);
                }
            }
        }
        spans
    }

    /// The names that `#…` can use, as GitHub derives them from the headings.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let mut seen: HashMap<String, usize> = HashMap::new();
        let heading = |(_, line): (usize, &str)| {
            let hashes = line.len() - line.trim_start_matches('#').len();
            let title = line[hashes..].strip_prefix(' ').filter(|_| (1..=6).contains(&hashes))?;
            let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
            let name: String = title.to_lowercase().chars().filter(kept).collect();
            let name = name.trim().replace(' ', "-");
            let before = seen.entry(name.clone()).or_default();
            *before += 1;
            Some(if *before == 1 { name } else { format!("{name}-{}", *before - 1) })
        };
        self.prose().into_iter().filter_map(heading).collect()
    }
}

/// A line without its code.
fn without_code(line: &str) -> String {
    // With an even number of pieces, the last backtick opens code that continues in the next line. No link of
    // ours is there.
    line.split('`').enumerate().map(|(index, piece)| if index % 2 == 0 { piece } else { "code" }).collect()
}

/// The documents that people read, README first.
pub(crate) fn documents() -> Vec<Document> {
    let mut paths: Vec<PathBuf> = [
        "README.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "examples/README.md",
        "tests/judges/README.md",
    ]
    .map(PathBuf::from)
    .into_iter()
    .filter(|path| root().join(path).exists())
    .collect();
    paths.extend(under(root(), Path::new("docs")));
    paths.iter().map(|path| Document::read(root(), path)).collect()
}

/// All documents under a folder, in order.
pub(crate) fn under(root: &Path, folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join(folder)).unwrap_or_else(|error| panic!("{folder:?}: {error}")) {
        let path = folder.join(entry.expect("it can be read").file_name());
        if root.join(&path).is_dir() {
            found.extend(under(root, &path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found.sort();
    found
}
