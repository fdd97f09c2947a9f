//! The crates, as `cargo metadata` resolves them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use crate::Outcome;

/// The package of the program.
const PROGRAM: &str = "countersign-cli";

/// What is linked.
pub(crate) struct Crates {
    /// The version of the package itself.
    pub(crate) version: String,
    /// In the order of their names.
    pub(crate) crates: Vec<Crate>,
    /// The ids of those that our own packages name.
    pub(crate) direct: Vec<String>,
    /// The version of the compiler, whose standard library is linked as well.
    pub(crate) rust: String,
}

/// A crate that is linked.
pub(crate) struct Crate {
    /// Names it among the others.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    /// An SPDX expression.
    pub(crate) licence: String,
    /// SHA-256 of the published crate.
    pub(crate) checksum: String,
    /// Its sources.
    pub(crate) folder: PathBuf,
    /// The ids of those that it links.
    pub(crate) links: Vec<String>,
}

/// What something is linked into.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The library.
    Library,
    /// The library or the program.
    Package,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    /// None: one of ours.
    source: Option<String>,
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Resolve {
    root: Option<String>,
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// None: a normal one.
    kind: Option<String>,
}

impl Package {
    /// A procedural macro runs in the compiler.
    fn is_linked(&self) -> bool {
        !self.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "proc-macro"))
    }
}

/// What is linked into this.
pub(crate) fn linked(into: Part) -> Outcome<Crates> {
    let (target, rust) = toolchain()?;
    let metadata: Metadata = serde_json::from_str(&cargo_metadata(&target)?)?;
    let packages: HashMap<&str, &Package> =
        metadata.packages.iter().map(|package| (package.id.as_str(), package)).collect();
    let nodes: HashMap<&str, &Node> =
        metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let links = |id: &str| -> Vec<String> {
        let linked = nodes[id].deps.iter().filter(|dependency| {
            dependency.dep_kinds.iter().any(|kind| kind.kind.is_none())
                && packages[dependency.pkg.as_str()].is_linked()
        });
        linked.map(|dependency| dependency.pkg.clone()).collect()
    };

    let root = metadata.resolve.root.as_deref().ok_or("run this in the folder of the checkout")?;
    let named = |name: &str| {
        let found = packages.values().find(|package| package.source.is_none() && package.name == name);
        found.map(|package| package.id.clone()).ok_or(format!("no package of ours is called {name}"))
    };
    let parts = match into {
        Part::Library => vec![root.to_owned()],
        Part::Package => vec![root.to_owned(), named(PROGRAM)?],
    };
    // Packages of ours are parts of the whole: what they name, the whole names.
    let is_ours = |id: &String| packages[id.as_str()].source.is_none();
    let (mut direct, mut ours) = (BTreeSet::new(), parts);
    while let Some(id) = ours.pop() {
        let (own, others): (Vec<String>, Vec<String>) = links(&id).into_iter().partition(is_ours);
        ours.extend(own);
        direct.extend(others);
    }
    let direct = Vec::from_iter(direct);
    let (mut seen, mut next) = (BTreeSet::new(), direct.clone());
    while let Some(id) = next.pop() {
        if seen.insert(id.clone()) {
            next.extend(links(&id));
        }
    }
    let checksums = checksums(&fs::read_to_string("Cargo.lock")?);
    let one = |id: &String| -> Outcome<Crate> {
        let package = packages[id.as_str()];
        let named = format!("{} {}", package.name, package.version);
        let checksum = checksums.get(&named).ok_or(format!("{named} has no checksum in Cargo.lock"))?;
        let licence = package.license.as_ref().ok_or(format!("{named} names no licence"))?;
        Ok(Crate {
            id: id.clone(),
            name: package.name.clone(),
            version: package.version.clone(),
            // The slash is how crates once said "or".
            licence: licence.replace('/', " OR "),
            checksum: checksum.clone(),
            folder: package.manifest_path.parent().ok_or("a manifest is in a folder")?.into(),
            links: links(id),
        })
    };
    let mut crates = seen.iter().map(one).collect::<Outcome<Vec<Crate>>>()?;
    crates.sort_by(|one, other| (&one.name, &one.version).cmp(&(&other.name, &other.version)));
    Ok(Crates { version: packages[root].version.clone(), crates, direct, rust })
}

fn cargo_metadata(target: &str) -> Outcome<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    output(Command::new(cargo).args([
        "metadata",
        "--locked",
        "--format-version",
        "1",
        "--filter-platform",
        target,
    ]))
}

/// The target that is built for, and the version of the compiler.
fn toolchain() -> Outcome<(String, String)> {
    let said = output(Command::new("rustc").arg("-vV"))?;
    let field = |name: &str| {
        said.lines()
            .find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
            .ok_or_else(|| format!("rustc -vV does not say {name}"))
    };
    Ok((field("host:")?, field("release:")?))
}

fn output(command: &mut Command) -> Outcome<String> {
    let done = command.output().map_err(|error| format!("{command:?} does not start: {error}"))?;
    if !done.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&done.stderr).trim()).into());
    }
    Ok(String::from_utf8(done.stdout)?)
}

/// The checksums of a lock file, by name and version. Each package is a table of `key = "value"` lines.
fn checksums(lock: &str) -> BTreeMap<String, String> {
    let of_table = |table: &str| {
        let value = |key: &str| {
            let line = table.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
            line?.strip_suffix('"')
        };
        Some((format!("{} {}", value("name")?, value("version")?), value("checksum")?.to_owned()))
    };
    lock.split("[[package]]").skip(1).filter_map(of_table).collect()
}
