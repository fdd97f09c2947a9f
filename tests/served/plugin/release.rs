//! A release in a folder of its own, and the officers who sign it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign::kernel::officer::{OfficerKey, Officers};
use countersign::shell::image::LibraryDigest;
use countersign_plugin::manifest::PluginVersion;
use countersign_plugin::{self as plugin, Manifest, PluginConfig, PluginError, Verified};
use minisign::{KeyPair, PublicKey, SecretKey};

use harness::module::Finished;

/// The offset of the key id in minisign's public and secret keys.
const ID_IN_PUBLIC: usize = 2;
const ID_IN_SECRET: usize = 54;
const ID_LEN: usize = 8;

/// An officer with a key that has no password.
pub(crate) struct Officer(KeyPair);

impl Officer {
    pub(crate) fn new() -> Officer {
        Officer(KeyPair::generate_unencrypted_keypair().expect("there is randomness"))
    }

    /// A new key that has the key id of another.
    pub(crate) fn with_id_of(other: &Officer) -> Officer {
        let id = other.0.pk.to_bytes()[ID_IN_PUBLIC..][..ID_LEN].to_vec();
        let KeyPair { pk, sk } = Officer::new().0;
        let with = |mut bytes: Vec<u8>, at: usize| {
            bytes[at..][..ID_LEN].copy_from_slice(&id);
            bytes
        };
        Officer(KeyPair {
            pk: PublicKey::from_bytes(&with(pk.to_bytes(), ID_IN_PUBLIC)).expect("as long as before"),
            sk: SecretKey::from_bytes(&with(sk.to_bytes(), ID_IN_SECRET)).expect("as long as before"),
        })
    }

    /// The same key under the key id of another.
    pub(crate) fn under_id_of(&self, other: &Officer) -> Officer {
        let mut bytes = self.0.pk.to_bytes();
        bytes[ID_IN_PUBLIC..][..ID_LEN].copy_from_slice(&other.0.pk.to_bytes()[ID_IN_PUBLIC..][..ID_LEN]);
        let sk = self.0.sk.clone();
        Officer(KeyPair { pk: PublicKey::from_bytes(&bytes).expect("as long as before"), sk })
    }

    pub(crate) fn line(&self) -> String {
        self.0.pk.to_base64()
    }

    pub(crate) fn id(&self) -> String {
        OfficerKey::parse(&self.line()).expect("a key").id().to_string()
    }

    /// The text of a signature file.
    pub(crate) fn signature(&self, bytes: &[u8], trusted_comment: &str) -> String {
        minisign::sign(None, &self.0.sk, bytes, Some(trusted_comment), None).expect("it signs").into_string()
    }
}

/// A release: `libcountersign.so`, its manifest and signatures, together with a floor file.
pub(crate) struct Release {
    pub(crate) folder: tempfile::TempDir,
}

impl Release {
    /// A release whose library is just bytes.
    pub(crate) fn new(version: &str, floor: &str) -> Release {
        Release::of(b"the library's bytes", version, floor)
    }

    pub(crate) fn of(library: &[u8], version: &str, floor: &str) -> Release {
        let release = Release { folder: tempfile::tempdir().expect("a temporary folder can be made") };
        release.replace(library, version, floor);
        release
    }

    /// Replaces it with another version, without signatures.
    pub(crate) fn replace(&self, library: &[u8], version: &str, floor: &str) {
        for entry in fs::read_dir(self.folder.path()).expect("the folder is ours") {
            let path = entry.expect("it can be read").path();
            if path.extension().is_some_and(|extension| extension == "minisig") {
                fs::remove_file(path).expect("the folder is ours");
            }
        }
        // Moved into place, as a package does: the loaded library may be mapped from the old file.
        let draft = self.path("draft");
        fs::write(&draft, library).expect("the folder is ours");
        fs::rename(draft, self.library()).expect("the folder is ours");
        let parse = |text: &str| -> PluginVersion { text.parse().expect("a version") };
        let manifest = Manifest::new(parse(version), LibraryDigest::of(library), parse(floor));
        let manifest = manifest.expect("the floor is not above");
        fs::write(self.manifest(), manifest.to_toml()).expect("the folder is ours");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn library(&self) -> PathBuf {
        self.path("libcountersign.so")
    }

    pub(crate) fn manifest(&self) -> PathBuf {
        self.path("libcountersign.so.manifest")
    }

    pub(crate) fn manifest_bytes(&self) -> Vec<u8> {
        fs::read(self.manifest()).expect("it is there")
    }

    pub(crate) fn floor_file(&self) -> PathBuf {
        self.path("plugin.floor")
    }

    /// Adds a signature file under this name.
    pub(crate) fn put(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(&format!("libcountersign.so.manifest.{name}.minisig")), text)
            .expect("the folder is ours");
    }

    /// Adds the signatures of these officers.
    pub(crate) fn sign(&self, officers: &[&Officer]) {
        for (at, officer) in officers.iter().enumerate() {
            self.put(&format!("{at}"), officer.signature(&self.manifest_bytes(), "a comment"));
        }
    }

    pub(crate) fn config(&self, officers: &[&Officer], threshold: usize) -> PluginConfig {
        let lines: Vec<String> = officers.iter().map(|officer| officer.line()).collect();
        PluginConfig {
            library: self.library(),
            officers: Officers::parse(&lines, threshold).expect("officers"),
            floor_file: self.floor_file(),
        }
    }

    /// A configuration for which one officer is enough, signed and pinned.
    pub(crate) fn installed(&self, officer: &Officer) -> PluginConfig {
        self.sign(&[officer]);
        let config = self.config(&[officer], 1);
        plugin::pin(&config).expect("it is signed, and there is no floor yet");
        config
    }

    pub(crate) fn floor_text(&self) -> String {
        fs::read_to_string(self.floor_file()).expect("it is there")
    }
}

/// Expects a refusal with all of `words` in its message or next step.
pub(crate) fn refused(outcome: Result<Verified, PluginError>, words: &[&str]) {
    let error = outcome.expect_err("it is refused");
    let text = format!("{error}\n{}", error.next());
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

/// Compiles a library whose function `answer` returns a number. If `floor` is given, the library's
/// constructor copies that file to `seen` before any other code of it can run.
pub(crate) fn compile(folder: &Path, answer: u32, floor: Option<(&Path, &Path)>) -> Vec<u8> {
    let source = folder.join("library.c");
    let compiled = folder.join("compiled.so");
    let constructor = floor.map_or(String::new(), |(floor, seen)| {
        format!(
            "__attribute__((constructor)) static void runs(void) {{
                 char text[4096];
                 FILE *floor = fopen({:?}, \"r\"), *seen = fopen({:?}, \"w\");
                 fwrite(text, 1, floor ? fread(text, 1, sizeof text, floor) : 0, seen);
                 fclose(seen);
             }}",
            floor.display().to_string(),
            seen.display().to_string()
        )
    });
    fs::write(
        &source,
        format!("#include <stdio.h>\nint answer(void) {{ return {answer}; }}\n{constructor}\n"),
    )
    .expect("the folder is ours");
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-o"]).arg(&compiled).arg(&source);
    Finished::of(&mut command).expect_success();
    let bytes = fs::read(&compiled).expect("cc wrote it");
    fs::remove_file(compiled).and_then(|()| fs::remove_file(source)).expect("the folder is ours");
    bytes
}
