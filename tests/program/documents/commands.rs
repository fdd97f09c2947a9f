//! Commands: each document is a story in a folder of its own, and bash runs its blocks one after the other.
//!
//! Stand-ins replace two things: `cargo` builds nothing (`target/release` holds what was built for the
//! tests), and an authenticator app gives a code whenever a command asks for one
//! (`tests/documents/countersign.sh`).

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::markdown::{Block, Document, documents, root};

/// How a block is run.
enum Fate<'a> {
    /// It is run here, after this line of shell.
    Run(&'a str),
    /// The same, where there is a node of Bitcoin Core, and if it must have a wallet, one that has.
    WithNode { before: &'a str, wallet: bool },
    /// These tests run it.
    RunBy(Vec<&'a str>),
    /// Nothing runs it, for this reason.
    NotRun(&'a str),
}

/// The fate of a block, or none if it is no command.
fn fate(block: &Block) -> Option<Fate<'_>> {
    let mark = block.mark.as_deref().unwrap_or("");
    if let Some(before) = mark.strip_prefix("test: ") {
        return Some(Fate::Run(before));
    }
    if let Some(words) = mark.strip_prefix("with a node") {
        let (wallet, words) =
            words.strip_prefix(" and its wallet").map_or((false, words), |words| (true, words));
        return Some(Fate::WithNode { before: words.strip_prefix(": ").unwrap_or(":"), wallet });
    }
    if !matches!(block.language.as_str(), "sh" | "python") {
        return None;
    }
    Some(match (mark.strip_prefix("run by "), mark.strip_prefix("not run: ")) {
        (Some(files), _) => Fate::RunBy(files.split(", ").collect()),
        (_, Some(reason)) => Fate::NotRun(reason),
        _ => Fate::Run(""),
    })
}

/// The documents with commands that run here, each in a test.
macro_rules! stories {
    ($($name:ident: $path:literal;)*) => {
        const STORIES: &[&str] = &[$($path),*];

        $(#[test]
        fn $name() {
            tell($path, None);
        })*
    };
}

stories! {
    the_commands_of_the_readme_do_what_it_says: "README.md";
    the_commands_of_the_examples_readme_do_what_it_says: "examples/README.md";
    the_commands_of_bitcoin_core_do_what_it_says: "docs/bitcoin-core.md";
    the_commands_of_from_a_program_do_what_it_says: "docs/from-a-program.md";
    the_commands_of_operating_do_what_it_says: "docs/operating.md";
    the_commands_of_signed_plugin_do_what_it_says: "docs/signed-plugin.md";
    the_commands_of_wallets_do_what_it_says: "docs/wallets.md";
}

/// All of them, where there is a node: `COUNTERSIGN_BITCOIND` names a `bitcoind` that has `bitcoin-cli` beside it, or
/// `tests/judges/node.sh` built one, or one is installed.
#[test]
fn the_commands_of_bitcoin_core_do_what_it_says_with_a_node() {
    let named = std::env::var_os("COUNTERSIGN_BITCOIND").map(PathBuf::from);
    assert!(named.as_ref().is_none_or(|path| path.is_file()), "COUNTERSIGN_BITCOIND: {named:?} is no file");
    let installed = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(root().join("target/judges/node")).chain(std::env::split_paths(&installed));
    let there = folders.map(|folder| folder.join("bitcoind")).find(|path| path.is_file());
    let Some(bitcoind) = named.or(there) else {
        println!("NOT CHECKED: no bitcoind, which tests/judges/node.sh builds (in some minutes)");
        return;
    };
    println!("{}", tell("docs/bitcoin-core.md", Some(&bitcoind)));
}

#[test]
fn every_command_is_run_or_says_which_test_runs_it_or_why_none_does() {
    let (mut wrong, mut told) = (Vec::new(), BTreeSet::new());
    for document in documents() {
        let path = document.path.to_str().expect("UTF-8");
        for block in document.blocks() {
            let place = format!("{path}:{}", block.line);
            match fate(&block) {
                None => {}
                Some(Fate::Run(_) | Fate::WithNode { .. }) => {
                    told.insert(path.to_owned());
                }
                Some(Fate::NotRun(reason)) if reason.split(' ').count() >= 4 => {}
                Some(Fate::NotRun(reason)) => wrong.push(format!("{place}: {reason:?} is no reason")),
                Some(Fate::RunBy(files)) => {
                    let names = |file: &&str| {
                        fs::read_to_string(root().join(file)).is_ok_and(|text| text.contains(path))
                    };
                    let not = files.into_iter().filter(|file| !names(file));
                    wrong.extend(not.map(|file| format!("{place}: {file} does not name {path}")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let stories: BTreeSet<String> = STORIES.iter().map(|&path| path.to_owned()).collect();
    assert_eq!(told, stories, "the documents with commands to run, and those that have a test above");
}

/// Each `` `countersign wallet show` `` in the text names a verb that exists, with options that it has.
#[test]
fn every_verb_and_option_in_the_text_is_one_of_the_command_line() {
    let mut help: HashMap<String, String> = HashMap::new();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for document in documents() {
        // The changelog names verbs of older releases.
        if document.path == Path::new("CHANGELOG.md") {
            continue;
        }
        for (line, span) in document.code_spans() {
            let Some(words) = span.strip_prefix("countersign ") else { continue };
            let place = format!("{}:{line}: countersign {words}", document.path.display());
            let verb: Vec<_> = words.split_whitespace().take_while(|word| is_name(word)).collect();
            let Some(help) = (1..=verb.len()).rev().find_map(|count| help_of(&mut help, &verb[..count]))
            else {
                wrong.push(format!("{place}: there is no such verb"));
                continue;
            };
            seen += 1;
            for option in words.split_whitespace().filter(|word| word.starts_with("--")) {
                let option = option.split(['|', '=', ',']).next().expect("there is one piece");
                if !help.contains(option) {
                    wrong.push(format!("{place}: it has no option {option}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 20, "{seen}: verbs are found");
}

fn is_name(word: &str) -> bool {
    !word.is_empty()
        && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        && !word.starts_with('-')
}

/// The help of a verb, if there is one.
fn help_of(known: &mut HashMap<String, String>, verb: &[&str]) -> Option<String> {
    let name = verb.join(" ");
    if !known.contains_key(&name) {
        let done = Command::new(program()).args(verb).arg("--help").output().expect("it starts");
        known.insert(name.clone(), String::from_utf8(done.stdout).expect("UTF-8"));
    }
    // Words that are no verb have no help. A verb with subcommands prints its usage.
    known.get(&name).filter(|help| help.contains(&format!("Usage: countersign {name}"))).cloned()
}

/// The command line that was built for the tests.
fn program() -> PathBuf {
    harness::program()
}

/// Runs the blocks of a document, in a folder that looks like a checkout with a release build. What they printed.
fn tell(path: &str, bitcoind: Option<&Path>) -> String {
    let document = Document::read(root(), Path::new(path));
    let folder = tempfile::tempdir().expect("a folder");
    let checkout = folder.path().join("checkout");
    lay_out(&checkout);
    let story = folder.path().join("story.sh");
    fs::write(&story, script(&document, bitcoind.is_some())).expect("ours");

    let python = std::env::var_os("COUNTERSIGN_PYTHON")
        .unwrap_or_else(|| root().join("target/venv/bin/python").into());
    let mut command = Command::new("bash");
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("COUNTERSIGN_"))
    {
        command.env_remove(name);
    }
    let mut running = command
        .arg(&story)
        .current_dir(&checkout)
        .env("HOME", folder.path())
        .env("STORY", folder.path())
        .env("SOURCES", root())
        .env("PYTHON", python)
        .env("COUNTERSIGN_BUILT", program())
        .envs(bitcoind.map(|bitcoind| ("BITCOIND", bitcoind)))
        .env("COUNTERSIGN_OFFICER_PASSWORD", "of-no-use-but-here")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("bash starts");
    // The two PINs, for documents whose reader types them.
    let typed = std::io::Write::write_all(
        &mut running.stdin.take().expect("it is piped"),
        b"so-pin-typed\nuser-pin-typed\n",
    );
    let done = running.wait_with_output().expect("it ends");
    let (said, complained) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{path}: {}\n{said}\n{complained}", done.status);
    assert!(said.ends_with("the story ends\n"), "{path}: it ended early\n{said}\n{complained}");
    drop(typed);
    said.into_owned()
}

/// All blocks in one script.
fn script(document: &Document, with_node: bool) -> String {
    let path = document.path.display();
    let mut script = String::from("set -eEuo pipefail\n. \"$SOURCES/tests/documents/story.sh\"\n");
    if with_node {
        script += ". \"$SOURCES/tests/documents/node.sh\"\n";
    }
    for block in document.blocks() {
        let (before, needs_wallet) = match fate(&block) {
            Some(Fate::Run(before)) => (before, false),
            Some(Fate::WithNode { before, wallet }) if with_node => (before, wallet),
            _ => continue,
        };
        script += &format!("at {path}:{}\n", block.line);
        if needs_wallet {
            script += &format!("if has_wallet; then\n{before}\n{}fi\n", block.code);
            continue;
        }
        match block.language.as_str() {
            "sh" => script += &format!("{before}\n{}", block.code),
            // The function before a block reads it, if the block is no shell.
            _ => script += &format!("{before} <<'END OF BLOCK'\n{}END OF BLOCK\n", block.code),
        }
    }
    if with_node {
        script += "at the ending\nending\n";
    }
    script + "echo 'the story ends'\n"
}

/// A checkout with a release build, whose command line comes with an authenticator app.
fn lay_out(checkout: &Path) {
    let release = checkout.join("target/release");
    fs::create_dir_all(&release).expect("ours");
    for name in ["softhsm", "tests", "examples", "include"] {
        symlink(root().join(name), checkout.join(name)).expect("ours");
    }
    let library = program().with_file_name("libcountersign.so");
    assert!(library.is_file(), "the module is not built; run `cargo build` first");
    symlink(library, release.join("libcountersign.so")).expect("ours");
    let wrapped = release.join("countersign");
    fs::copy(root().join("tests/documents/countersign.sh"), &wrapped).expect("ours");
    fs::set_permissions(&wrapped, Permissions::from_mode(0o755)).expect("ours");
}
