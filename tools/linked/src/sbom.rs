//! The bill of materials: CycloneDX 1.5, as JSON. It has no time and no serial number, so that it can be made again.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use crate::Outcome;
use crate::bundled::{self, Bundled};
use crate::crates::{Crate, Crates};

const LIBRARY: &str = "libcountersign.so";

pub(crate) fn document(crates: &Crates) -> Outcome<String> {
    let bundled = bundled::all(crates)?;
    let root = format!("pkg:generic/countersign@{}", crates.version);
    let components: Vec<Value> =
        crates.crates.iter().map(of_crate).chain(bundled.iter().map(of_bundled)).collect();
    let document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": {
            "type": "library",
            "bom-ref": root,
            "name": LIBRARY,
            "version": crates.version,
            "purl": root,
            "licenses": [{ "license": { "id": "Apache-2.0" } }],
        }},
        "components": components,
        "dependencies": dependencies(crates, &bundled, &root),
    });
    Ok(format!("{document:#}\n"))
}

/// What depends on what, each by its reference.
fn dependencies(crates: &Crates, bundled: &[Bundled], root: &str) -> Vec<Value> {
    let references: HashMap<&str, String> =
        crates.crates.iter().map(|one| (one.id.as_str(), purl(one))).collect();
    let named = |ids: &[String]| ids.iter().map(|id| references[id.as_str()].clone()).collect();
    let mut depends: BTreeMap<String, Vec<String>> = BTreeMap::new();
    depends.insert(root.to_owned(), named(&crates.direct));
    for one in &crates.crates {
        depends.insert(purl(one), named(&one.links));
    }
    for one in bundled {
        let by = one.brought_by.as_deref().map_or(root, |id| &references[id]);
        depends.entry(by.to_owned()).or_default().push(purl_of_bundled(one));
        depends.insert(purl_of_bundled(one), Vec::new());
    }
    let entry = |(reference, mut on): (String, Vec<String>)| {
        on.sort_unstable();
        on.dedup();
        json!({ "ref": reference, "dependsOn": on })
    };
    depends.into_iter().map(entry).collect()
}

fn purl(one: &Crate) -> String {
    format!("pkg:cargo/{}@{}", one.name, one.version)
}

fn purl_of_bundled(one: &Bundled) -> String {
    format!("{}@{}", one.purl, one.version)
}

fn of_crate(one: &Crate) -> Value {
    json!({
        "type": "library",
        "bom-ref": purl(one),
        "name": one.name,
        "version": one.version,
        "purl": purl(one),
        "hashes": [{ "alg": "SHA-256", "content": one.checksum }],
        "licenses": [{ "expression": one.licence }],
    })
}

fn of_bundled(one: &Bundled) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": purl_of_bundled(one),
        "name": one.name,
        "version": one.version,
        "purl": purl_of_bundled(one),
        "licenses": [{ "expression": one.licence }],
    });
    if let Some(cpe) = one.cpe {
        component["cpe"] = json!(format!("cpe:2.3:a:{cpe}:{}:*:*:*:*:*:*:*", one.version));
    }
    component
}
