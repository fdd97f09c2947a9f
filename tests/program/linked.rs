//! What is linked into the library and the program, according to `tools/linked`: the bill of materials,
//! checked by CycloneDX's own validator, and the licences.
//!
//! `softhsm/test.sh` installs the validator in `target/judges` (`tests/judges/requirements.txt`).

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs the tool as the scripts do.
fn linked(what: &str) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["run", "--quiet", "--locked", "-p", "linked", "--", what]).current_dir(root());
    let done = cargo.stdin(Stdio::null()).output().expect("cargo starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("UTF-8")
}

fn sbom() -> &'static str {
    static SBOM: OnceLock<String> = OnceLock::new();
    SBOM.get_or_init(|| linked("sbom"))
}

fn parsed() -> Value {
    serde_json::from_str(sbom()).expect("JSON")
}

/// The components by their references.
fn components(sbom: &Value) -> BTreeMap<&str, &Value> {
    let list = sbom["components"].as_array().expect("a list");
    let all: BTreeMap<_, _> =
        list.iter().map(|one| (one["bom-ref"].as_str().expect("a text"), one)).collect();
    assert_eq!(all.len(), list.len(), "each reference is of one component");
    all
}

fn validate(text: &str) -> (bool, String) {
    const SCRIPT: &str = "import sys\n\
        from cyclonedx.schema import SchemaVersion\n\
        from cyclonedx.validation.json import JsonStrictValidator\n\
        error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(sys.stdin.read())\n\
        sys.exit(str(error)[:2000] if error else 0)";
    let python = root().join("target/judges/venv/bin/python");
    let mut validator = Command::new(&python)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; tests/judges/install.sh makes it", python.display()));
    validator.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("it reads");
    let done = validator.wait_with_output().expect("it ends");
    (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
}

#[test]
fn the_bill_of_materials_is_cyclonedx_and_can_be_made_again() {
    let (is_valid, complaint) = validate(sbom());
    assert!(is_valid, "{complaint}");
    // Make sure that the validator is strict.
    let (is_valid, _) = validate(&sbom().replacen("\"SHA-256\"", "\"SHA-257\"", 1));
    assert!(!is_valid, "an unknown algorithm is valid");
    assert_eq!(linked("sbom"), sbom());
    assert!(!sbom().contains(root().to_str().expect("UTF-8")), "it names a folder of this machine");
}

#[test]
fn a_vulnerability_can_be_looked_up_in_the_bill_of_materials() {
    let sbom = parsed();
    let components = components(&sbom);
    let of = |purl: &str| -> Vec<&&str> {
        components.keys().filter(|reference| reference.starts_with(&format!("{purl}@"))).collect()
    };
    for purl in ["pkg:cargo/bitcoin", "pkg:cargo/rustls", "pkg:generic/sqlite", "pkg:generic/rust-std"] {
        assert_eq!(of(purl).len(), 1, "{purl}");
    }
    assert_eq!(of("pkg:github/bitcoin-core/secp256k1").len(), 1);
    let sqlite = components[*of("pkg:generic/sqlite")[0]];
    assert!(
        sqlite["cpe"].as_str().expect("it has one").starts_with("cpe:2.3:a:sqlite:sqlite:3."),
        "{sqlite}"
    );
    // Neither dependencies of the program alone, nor of tests or the compiler.
    for purl in ["pkg:cargo/clap", "pkg:cargo/proptest", "pkg:cargo/serde_derive", "pkg:cargo/cc"] {
        assert!(of(purl).is_empty(), "{purl}");
    }
    // The library reaches every component, and nothing else is listed.
    let root = sbom["metadata"]["component"]["bom-ref"].as_str().expect("a text");
    let depends: BTreeMap<&str, Vec<&str>> = (sbom["dependencies"].as_array().expect("a list").iter())
        .map(|entry| {
            let on = entry["dependsOn"].as_array().expect("a list");
            (
                entry["ref"].as_str().expect("a text"),
                on.iter().map(|on| on.as_str().expect("a text")).collect(),
            )
        })
        .collect();
    let (mut reached, mut next) = (BTreeSet::new(), vec![root]);
    while let Some(reference) = next.pop() {
        if reached.insert(reference) {
            next.extend(&depends[reference]);
        }
    }
    assert!(reached.remove(root));
    assert_eq!(reached, components.keys().copied().collect());
}

/// All crates that are linked with this package.
fn tree(package: &str) -> BTreeSet<String> {
    tree_to_depth(package, "1000")
}

fn tree_to_depth(package: &str, depth: &str) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "tree", "--locked", "-p", package, "-e", "normal", "--depth", depth, "--prefix", "none", "--format",
        "{p}",
    ]);
    let done = cargo.current_dir(root()).stdin(Stdio::null()).output().expect("cargo starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let lines = String::from_utf8(done.stdout).expect("UTF-8");
    lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// None of these crates is linked with this package.
#[track_caller]
fn assert_without(package: &str, crates: &[&str]) {
    let tree = tree(package);
    assert!(tree.contains(package) && tree.contains("bitcoin"), "{tree:?}");
    let found: Vec<_> = crates.iter().filter(|name| tree.contains(**name)).collect();
    assert!(found.is_empty(), "{package} depends on {found:?}: `cargo tree -p {package} -i CRATE` shows how");
}

#[test]
fn the_kernel_links_nothing_that_reaches_the_world() {
    let files_and_sockets = ["libc", "libloading", "nix", "rustix", "rusqlite", "rustls", "socket2"];
    // rand_core is not among them: it has traits of random sources, and no source.
    let others = ["cryptoki", "cryptoki-sys", "getrandom", "log", "rand", "tracing"];
    assert_without("countersign-kernel", &[&files_and_sockets[..], &others].concat());
}

/// The command line's dependencies are not in the library that officers sign.
#[test]
fn the_library_links_nothing_of_the_command_line() {
    let arguments_and_terminals =
        ["clap", "clap_builder", "clap_complete", "clap_mangen", "qrcode", "rpassword"];
    let others = ["httparse", "minisign", "sd-notify", "signal-hook"];
    assert_only_in("countersign-cli", &[&arguments_and_terminals[..], &others].concat());
}

/// Nor are those of the boundary's server, which carries calls to the library.
#[test]
fn the_library_links_nothing_of_the_server() {
    let metrics = ["dtoa", "prometheus-client", "prometheus-client-derive-encode"];
    let locks_of_metrics = ["lock_api", "parking_lot", "parking_lot_core", "scopeguard"];
    assert_only_in("countersign-server", &[&metrics[..], &locks_of_metrics].concat());
}

/// Nor are those of the plugin, which decides what may be loaded.
#[test]
fn the_library_links_nothing_of_the_plugin() {
    assert_only_in("countersign-plugin", &["semver"]);
}

/// `package` links all of these crates, and the library none of them, nor the package.
#[track_caller]
fn assert_only_in(package: &str, crates: &[&str]) {
    assert_without("countersign", &[crates, &[package]].concat());
    let tree = tree(package);
    let unused: Vec<_> = crates.iter().filter(|name| !tree.contains(**name)).collect();
    assert!(unused.is_empty(), "{package} does not link {unused:?} any more: remove them here");
}

/// Each crate here is one more that the officers vouch for.
#[test]
fn the_library_names_these_dependencies_and_no_other() {
    let named = "bitcoin countersign-kernel cryptoki cryptoki-sys data-encoding getrandom libc libloading \
                 nix postcard rusqlite rustix rustls serde sha2 socket2 subtle thiserror toml \
                 tracing tracing-subscriber zeroize";
    let mut found = tree_to_depth("countersign", "1");
    assert!(found.remove("countersign"));
    assert_eq!(Vec::from_iter(found).join(" "), named);
}

#[test]
fn every_linked_crate_has_the_text_of_its_licence() {
    let text = linked("licences");
    let ruler = format!("\n{}\n", "=".repeat(80));
    let mut parts = text.split(ruler.as_str());
    let list = parts.next().expect("what is linked");
    let names: BTreeSet<&str> =
        list.lines().filter_map(|line| Some(line.strip_prefix("  ")?.split_once(": ")?.0)).collect();
    assert!(names.len() > 100, "{list}");
    let (mut with_text, mut heading) = (BTreeSet::new(), None);
    for part in parts {
        match heading.take() {
            None => heading = Some(part),
            // Some have an extra file that only names the licences.
            Some(of) if part.len() > 150 => with_text.extend(of.split(", ")),
            Some(_) => {}
        }
    }
    let without: Vec<_> =
        names.difference(&with_text).filter(|name| !name.starts_with("libsecp256k1 ")).collect();
    assert!(without.is_empty(), "{without:?}");
    // The licence of C code is found beside the crate's own.
    assert!(text.contains("Copyright (c) 2013 Pieter Wuille"), "the licence of libsecp256k1");
    // Every component of the library's bill is in the package's list.
    let sbom = parsed();
    for component in components(&sbom).values() {
        let name = format!(
            "{} {}",
            component["name"].as_str().expect("a text"),
            component["version"].as_str().expect("a text")
        );
        assert!(names.contains(name.as_str()), "{name}");
    }
}
