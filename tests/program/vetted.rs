//! `supply-chain/` has a record of every dependency in exactly its version: as reviewed (`audits.toml`), or
//! as taken without a review (an exemption in `config.toml`). So nobody adds or updates a dependency without
//! a line that says which.
//!
//! `softhsm/vet.sh` runs cargo-vet, which judges the records themselves.

use std::collections::BTreeSet;

use harness::root;
use toml::Table;

/// A name and a version.
type Crate = (String, String);

fn table(path: &str) -> Table {
    let text = std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The crates in a table of cargo-vet's. A review of the changes between two versions (`delta`) counts for
/// the later version.
fn recorded(path: &str, key: &str) -> BTreeSet<Crate> {
    let entries = |(name, entries): (&String, &toml::Value)| {
        let version = |entry: &toml::Value| {
            let delta = entry.get("delta").and_then(|delta| delta.as_str()?.rsplit_once("-> "));
            let version = entry.get("version").and_then(toml::Value::as_str).or(delta.map(|(_, to)| to));
            (name.clone(), version.expect("an entry has a version").to_owned())
        };
        entries.as_array().expect("a list").iter().map(version).collect::<Vec<_>>()
    };
    let table = table(path);
    table.get(key).and_then(toml::Value::as_table).into_iter().flatten().flat_map(entries).collect()
}

#[test]
fn every_dependency_is_recorded_as_reviewed_or_as_exempted() {
    let lock = table("Cargo.lock");
    let packages = lock["package"].as_array().expect("a list");
    let text = |package: &toml::Value, key: &str| package[key].as_str().expect("a text").to_owned();
    let locked: BTreeSet<Crate> = packages
        .iter()
        .filter(|package| package.get("source").is_some())
        .map(|package| (text(package, "name"), text(package, "version")))
        .collect();
    assert!(locked.len() > 100, "{}: dependencies are found", locked.len());

    let mut known = recorded("supply-chain/audits.toml", "audits");
    known.extend(recorded("supply-chain/config.toml", "exemptions"));
    let unknown: Vec<_> = locked.difference(&known).collect();
    assert!(
        unknown.is_empty(),
        "look at these, then record them in supply-chain/ (softhsm/vet.sh builds cargo-vet; \"cargo vet certify\" records a \
         review, \"cargo vet add-exemption\" that there was none): {unknown:?}"
    );
    // A review of an older version stays, because the next review may cover only the changes since then.
    let exempted = recorded("supply-chain/config.toml", "exemptions");
    let gone: Vec<_> = exempted.difference(&locked).collect();
    assert!(
        gone.is_empty(),
        "no dependency any more: remove these from supply-chain/ (\"cargo vet prune\"): {gone:?}"
    );
}
