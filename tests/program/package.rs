//! The Debian package of this build is installed, set up as docs/deploying.md says, used by another Unix user
//! to sign, and removed again. The scripts of `debian/test` do this, and list what they need.
//!
//! It needs root (or `sudo` without a password), and `cargo-deb` in `target/tools`, which `softhsm/test.sh`
//! builds. To run it by hand: `cargo build && cargo test --test program package`. `COUNTERSIGN_PYTHON` names
//! another interpreter.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, OnceLock};

use countersign::shell::config::Config;
use rustix::process::geteuid;

/// The exit status of a script that cannot run here and has printed the reason.
const NOT_HERE: i32 = 77;

/// There is one machine to install on, and it must not change while a copy of it is made.
static MACHINE: Mutex<()> = Mutex::new(());

#[test]
fn the_installed_server_signs_for_another_user_within_the_units_filter_and_leaves_only_its_state() {
    let _machine = MACHINE.lock();
    as_root(&["debian/test/install.sh", "by-hand"]);
}

#[test]
fn the_unit_works_under_systemd_with_all_its_restrictions() {
    let _machine = MACHINE.lock();
    let folder = folder().to_str().expect("the path is UTF-8");
    as_root(&["debian/test/boot.sh", folder, "bash", "debian/test/install.sh", "by-systemd"]);
}

#[test]
fn the_examples_are_configurations_commented_parts_included() {
    let example = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("debian/examples").join(name);
        std::fs::read_to_string(path).expect("it is in the package")
    };
    let boundary = example("boundary.toml");
    let places = boundary.lines().find(|line| line.starts_with("officers = ")).expect("it has officers");
    let officers = boundary.replace(places, &format!("officers = {OFFICERS:?}"));
    assert!(matches!(configuration(&officers), Config::Engine(_)));
    let Config::Engine(whole) = configuration(&uncommented(&officers)) else { panic!("it is an engine's") };
    let serve = whole.serve.expect("it serves");
    assert!(serve.backend.is_some() && serve.administrators.is_some());
    assert!(serve.tcp.is_some() && serve.vsock.is_some() && whole.plugin.is_some());

    let backend = example("backend.toml");
    let (here, elsewhere) = backend.split_once("# On another one, instead:").expect("it has both");
    for text in [here, &uncommented(elsewhere), &example("administrator.toml")] {
        assert!(matches!(configuration(text), Config::Connect(_)), "{text}");
    }
}

/// minisign keys that nobody has.
const OFFICERS: [&str; 3] = [
    "RWS/zQQgY51t34m+baeXyJe8NDvQWRpHA6nWLOpo0ELDRTLYTv8+dcpp",
    "RWTYLX29kCr+9cuY3FsUtqNH9BGznfSFDsJBtNMR3O2/zSHz+vG0vcfE",
    "RWRP26LiW36GpAGW7TYyhsBY2zlbPYb0WzRBv/5ennYhhOlcpMl8CTF7",
];

fn configuration(text: &str) -> Config {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), text).expect("it is ours");
    Config::load(file.path()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The text with its commented-out settings. A setting has no space after its `#`, as prose has.
fn uncommented(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with([' ', '\n']) && !setting.is_empty() => setting.to_owned(),
        _ => line.to_owned(),
    };
    text.split_inclusive('\n').map(line).collect()
}

/// Runs a script of the checkout as root, with the package's folder.
fn as_root(script: &[&str]) {
    let mut command = if geteuid().is_root() {
        Command::new("env")
    } else if finished(Command::new("sudo").args(["-n", "true"])).status.success() {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "env", &harness::users::temporary_of_root()]);
        sudo
    } else {
        println!("not run here: it needs root, and sudo asks for a password");
        return;
    };
    command.arg(format!("COUNTERSIGN_PYTHON={}", python().display())).arg("bash").args(script).arg(folder());
    let done = finished(&mut command);
    let (printed, complained) = texts(&done);
    if done.status.code() == Some(NOT_HERE) {
        println!("{printed}");
        return;
    }
    assert!(done.status.success(), "{script:?}: {}\n{printed}\n{complained}", done.status);
    assert!(printed.ends_with("\ndone\n"), "{script:?} ended before its end\n{printed}\n{complained}");
}

/// The folder of a release and its package, which are made once.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("package");
        let _ = std::fs::remove_dir_all(&folder);
        let built = harness::target_folder();
        assert!(
            built.join("libcountersign.so").is_file(),
            "{} has no module; run `cargo build` first",
            built.display()
        );
        let done = finished(Command::new("bash").arg("debian/test/release.sh").arg(built).arg(&folder));
        let (printed, complained) = texts(&done);
        assert!(done.status.success(), "release.sh: {}\n{printed}\n{complained}", done.status);
        folder
    })
}

fn finished(command: &mut Command) -> Output {
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).output().expect("it starts")
}

fn texts(done: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&done.stdout), text(&done.stderr))
}

fn python() -> PathBuf {
    let path = env::var_os("COUNTERSIGN_PYTHON")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python"), PathBuf::from);
    assert!(path.exists(), "{} is not there; softhsm/test.sh makes it", path.display());
    path
}
