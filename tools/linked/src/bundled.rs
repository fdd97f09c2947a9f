//! What is linked and no crate: C libraries that crates bring along, which have versions and vulnerabilities of their own, and
//! Rust's standard library. (The C and the assembly of `ring` have no version but that of the crate.)

use std::fs;

use crate::Outcome;
use crate::crates::{Crate, Crates};

/// A library that is linked and no crate.
pub(crate) struct Bundled {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    /// Package URL, without the version.
    pub(crate) purl: &'static str,
    /// Vendor and product, where the National Vulnerability Database has a Common Platform Enumeration for it.
    pub(crate) cpe: Option<&'static str>,
    /// An SPDX expression.
    pub(crate) licence: &'static str,
    /// The id of the crate that brings it; none: the compiler does.
    pub(crate) brought_by: Option<String>,
}

/// All of them.
pub(crate) fn all(crates: &Crates) -> Outcome<Vec<Bundled>> {
    let mut found = vec![Bundled {
        name: "rust-std",
        version: crates.rust.clone(),
        purl: "pkg:generic/rust-std",
        cpe: Some("rust-lang:rust"),
        licence: "MIT OR Apache-2.0",
        brought_by: None,
    }];
    for one in &crates.crates {
        match one.name.as_str() {
            "libsqlite3-sys" => found.push(Bundled {
                name: "sqlite",
                version: sqlite(one)?,
                purl: "pkg:generic/sqlite",
                cpe: Some("sqlite:sqlite"),
                licence: "blessing",
                brought_by: Some(one.id.clone()),
            }),
            "secp256k1-sys" => found.push(Bundled {
                name: "libsecp256k1",
                version: secp256k1(one)?,
                purl: "pkg:github/bitcoin-core/secp256k1",
                cpe: None,
                licence: "MIT",
                brought_by: Some(one.id.clone()),
            }),
            _ => {}
        }
    }
    Ok(found)
}

/// `#define SQLITE_VERSION "3.50.2"`.
fn sqlite(one: &Crate) -> Outcome<String> {
    let header = fs::read_to_string(one.folder.join("sqlite3/sqlite3.h"))?;
    let value = header.lines().find_map(|line| line.strip_prefix("#define SQLITE_VERSION "));
    let version = value.and_then(|value| value.trim().strip_prefix('"')?.strip_suffix('"'));
    Ok(version.ok_or("sqlite3.h does not say its version")?.into())
}

/// `define(_PKG_VERSION_MAJOR, 0)` and so on.
fn secp256k1(one: &Crate) -> Outcome<String> {
    let script = fs::read_to_string(one.folder.join("depend/secp256k1/configure.ac"))?;
    let part = |name: &str| {
        let define = format!("define(_PKG_VERSION_{name}, ");
        let value = script.lines().find_map(|line| line.strip_prefix(&define)?.strip_suffix(')'));
        value.ok_or("configure.ac does not say the version of libsecp256k1")
    };
    Ok(format!("{}.{}.{}", part("MAJOR")?, part("MINOR")?, part("PATCH")?))
}
