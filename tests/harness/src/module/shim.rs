//! A backing module that misbehaves on demand: `tests/shim/shim.c`, in front of SoftHSM2.
//!
//! ```ignore
//! in_boundary(this_test!(), |boundary| {
//!     // From here on every process of this boundary has the shim as its backing module.
//!     let shim = Shim::install(boundary, "gcm written\nslow C_CreateObject 50");
//!     // … and from here on, in a process that runs already, too: the second object that it makes from now on is refused
//!     // with CKR_DEVICE_ERROR. Whatever was asked for before is over.
//!     shim.behave("fail C_CreateObject 0x30 2");
//!     assert_eq!(shim.faults("C_CreateObject"), 1);
//! });
//! ```
//!
//! The head of `shim.c` explains the directives. These imitate the faults of a token:
//!
//! | what happens | directive |
//! |---|---|
//! | one `CKR_DEVICE_ERROR` in the next anchor step: nothing was written | `fail C_CreateObject 0x30` |
//! | the same, and the object was written | `after C_CreateObject 0x30` |
//! | … when the object is read back | `fail C_GetAttributeValue 0x30` |
//! | … when the old one is destroyed | `fail C_DestroyObject 0x30` or `after C_DestroyObject 0x30` |
//! | the token is gone until [`Shim::behave`] is called again | `fail C_CreateObject 0x30 1 0` and `fail C_OpenSession 0x30 1 0` |
//! | it drops all sessions, and with them the login (fail-over, firmware) | `drop C_CreateObject` |
//! | it forgets the login, and the sessions stay (idle time-out) | `forget C_CreateObject` |
//! | it refuses the first login after that | `drop C_CreateObject` and `fail C_Login 0x30` |
//! | it is slow | `slow C_CreateObject 200` |
//!
//! If the boundary is served, the shim must be there before the server starts: install it in the `prepare` of
//! `in_prepared_boundary`, and get it with [`Shim::of`] in the body.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use super::{Boundary, root, target_folder};

/// Where p11-kit's header is (Debian: libp11-kit-dev).
const HEADERS: &str = "/usr/include/p11-kit-1";

/// The shim in front of a boundary's backing module.
pub struct Shim {
    folder: PathBuf,
}

impl Shim {
    /// Puts the shim in front of the backing module of `boundary`, with these directives, one a line.
    pub fn install(boundary: &Boundary, directives: &str) -> Shim {
        let shim = Shim::of(boundary);
        let own = shim.folder.join("shim.so");
        assert!(!own.exists(), "it is installed already: call behave");
        let real = boundary.backing_module();
        fs::copy(compiled(), &own).expect("the folder is ours");
        shim.write(&real, directives);
        let conf = boundary.folder().join("countersign.toml");
        let text = fs::read_to_string(&conf).expect("setup.sh wrote it");
        let text = text.replace(&format!("{real:?}"), &format!("{:?}", own.display().to_string()));
        fs::write(conf, text).expect("the folder is ours");
        shim
    }

    /// The shim that was installed.
    pub fn of(boundary: &Boundary) -> Shim {
        Shim { folder: boundary.folder().into() }
    }

    /// Changes the shim's behaviour from the next call on, in every process that has loaded it.
    pub fn behave(&self, directives: &str) {
        let text = fs::read_to_string(self.folder.join("shim.conf")).expect("it is installed");
        let real =
            text.lines().find_map(|line| line.strip_prefix("real ")).expect("it has a module behind it");
        self.write(real, directives);
    }

    /// How often `function` was called, in all processes.
    pub fn calls(&self, function: &str) -> usize {
        self.log()
            .lines()
            .filter(|line| line.split_once(' ').is_some_and(|(_, call)| call == function))
            .count()
    }

    /// How often a call of `function` had a fault, in all processes.
    pub fn faults(&self, function: &str) -> usize {
        let fault = format!("{function} fault ");
        self.log().lines().filter(|line| line.contains(&fault)).count()
    }

    /// Begins a new log.
    pub fn clear_log(&self) {
        let _ = fs::remove_file(self.folder.join("shim.log"));
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("shim.log")).unwrap_or_default()
    }

    /// Replaces the file at once, because another process may be reading it.
    fn write(&self, real: &str, directives: &str) {
        let (new, conf) = (self.folder.join("shim.conf.new"), self.folder.join("shim.conf"));
        fs::write(&new, format!("real {real}\n{directives}\n")).expect("the folder is ours");
        fs::rename(new, conf).expect("the folder is ours");
    }
}

/// The compiled shim, compiled once for each version of its source.
fn compiled() -> PathBuf {
    let source = root().join("tests/shim/shim.c");
    let digest = Sha256::digest(fs::read(&source).expect("it is part of the checkout"));
    let library = target_folder().join(format!("shim-{}.so", data_encoding::HEXLOWER.encode(&digest[..8])));
    if !library.exists() {
        // Other test processes compile at the same time, so each writes under a name of its own first.
        let own = library.with_extension(std::process::id().to_string());
        compile(&source, &own);
        fs::rename(own, &library).expect("the folder is ours");
    }
    library
}

fn compile(source: &Path, library: &Path) {
    let done = Command::new("cc")
        .args([
            "-shared",
            "-fPIC",
            "-O1",
            "-fvisibility=hidden",
            "-Wl,-Bsymbolic",
            "-Wall",
            "-Wextra",
            "-Werror",
        ])
        .arg(format!("-I{HEADERS}"))
        .arg("-o")
        .args([library, source])
        .arg("-ldl")
        .stdin(Stdio::null())
        .output()
        .expect("cc starts (Debian: apt-get install gcc libc6-dev)");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "shim.c does not compile (Debian: apt-get install libp11-kit-dev):\n{said}"
    );
}
