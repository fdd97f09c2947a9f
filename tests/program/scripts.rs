//! The shell scripts: what they wait for, and that nothing they start or make outlives them.
//! `softhsm/demo.sh` runs as README.md says.

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a line of shell with the functions of `softhsm/lib.sh`. Where they become root, this user does it
/// here.
fn with_lib(line: &str) -> Command {
    let mut command = Command::new("bash");
    let lib = root().join("softhsm/lib.sh");
    command
        .args(["-c", &format!("set -euo pipefail; . '{}'; as_root() {{ \"$@\"; }}; {line}", lib.display())])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

// The real apt-get, in a folder of its own that has neither sources nor packages.

struct Apt(TempDir);

impl Apt {
    fn new() -> Apt {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["var/lib/apt/lists/partial", "var/lib/dpkg", "var/cache/apt/archives/partial", "etc/apt"]
        {
            fs::create_dir_all(folder.path().join(name)).expect("ours");
        }
        for name in ["var/lib/dpkg/status", "etc/apt/sources.list"] {
            fs::write(folder.path().join(name), "").expect("ours");
        }
        let here = folder.path().display();
        let conf = format!("Dir \"{here}\";\nDir::State::status \"{here}/var/lib/dpkg/status\";\n");
        fs::write(folder.path().join("apt.conf"), conf).expect("ours");
        Apt(folder)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = with_lib(line);
        command.env("APT_CONFIG", self.0.path().join("apt.conf"));
        command
    }

    /// Holds a lock, as another program would, until this is closed.
    fn hold(&self, lock: &str) -> File {
        let file = File::create(self.0.path().join(lock)).expect("ours");
        fcntl_lock(&file, FlockOperation::LockExclusive).expect("nobody has it");
        file
    }
}

#[test]
fn packages_wait_for_a_process_with_apts_lock_and_say_so() {
    for (lock, line) in [
        // Locks that DPkg::Lock::Timeout does not cover.
        ("var/lib/apt/lists/lock", "apt_get update -qq"),
        ("var/lib/dpkg/lock-frontend", "apt_get install -y -qq"),
    ] {
        let apt = Apt::new();
        let held = apt.hold(lock);
        let mut child = apt.command(line).spawn().expect("bash starts");
        let mut said = String::new();
        let mut printed = BufReader::new(child.stdout.take().expect("it is piped"));
        printed.read_line(&mut said).expect("UTF-8");
        assert!(said.starts_with("Waiting: another program uses apt (E: "), "{lock}: {said:?}");
        assert!(child.try_wait().expect("ours").is_none(), "{lock}: it waits");
        drop(held);
        printed.read_to_string(&mut said).expect("UTF-8");
        let done = child.wait_with_output().expect("ours");
        assert!(done.status.success(), "{lock}: {said}{}", text(&done.stderr));
        assert_eq!(said.lines().count(), 1, "it is said once: {said}");
    }
}

#[test]
fn packages_wait_only_for_a_lock_and_not_for_ever() {
    let apt = Apt::new();
    let done = apt.command("apt_get install -y -qq no-such-package").output().expect("bash starts");
    assert_eq!((done.status.code(), text(&done.stdout).as_str()), (Some(1), ""));
    let complaint = text(&done.stderr);
    assert!(complaint.contains("no-such-package") && complaint.contains("next: "), "{complaint}");

    let _held = apt.hold("var/lib/apt/lists/lock");
    let mut command = apt.command("apt_get update -qq");
    let done = command.env("COUNTERSIGN_APT_SECONDS", "0").output().expect("bash starts");
    assert_eq!(done.status.code(), Some(1));
    assert!(text(&done.stderr).contains("Could not get lock"), "{}", text(&done.stderr));
}

// advisories.sh, with a cargo-deny whose exit status the test chooses.

#[test]
fn missing_advisories_are_not_taken_for_none() {
    for (fetches, checks, status, says) in [
        ("true", "true", 0, "No dependency has an advisory."),
        ("true", "false", 1, "error: a dependency has an advisory"),
        ("false", "true", 3, "NOT CHECKED: "),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let deny = folder.path().join("cargo-deny");
        fs::write(&deny, format!("#!/bin/sh\n[ \"$1\" != fetch ] || exec {fetches}\nexec {checks}\n"))
            .expect("ours");
        fs::set_permissions(&deny, Permissions::from_mode(0o755)).expect("ours");
        let path = std::env::var("PATH").expect("there is one");
        let done = Command::new("bash")
            .arg(root().join("softhsm/advisories.sh"))
            .env("PATH", format!("{}:{path}", folder.path().display()))
            .output()
            .expect("bash starts");
        let said = text(&done.stdout) + &text(&done.stderr);
        assert_eq!(done.status.code(), Some(status), "fetch {fetches}, check {checks}: {said}");
        assert!(said.contains(says), "{said}");
    }
}

// demo.sh, with the build of the tests instead of its own.

struct Demo {
    folder: TempDir,
}

impl Demo {
    /// Replaces `verify_tx`, which runs while the boundary serves, with this program.
    fn new(verify_tx: &str) -> Demo {
        let folder = tempfile::tempdir().expect("a folder");
        let place = |name: &str| folder.path().join(name);
        let built = harness::target_folder();
        for name in ["bin", "tmp", "target/demo"] {
            fs::create_dir_all(place(name)).expect("ours");
        }
        for name in ["countersign", "libcountersign.so"] {
            assert!(built.join(name).is_file(), "{name} is not built; run `cargo build` first");
            symlink(built.join(name), place("target/demo").join(name)).expect("ours");
        }
        let program = |path: PathBuf, script: &str| {
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("ours");
            fs::set_permissions(path, Permissions::from_mode(0o755)).expect("ours");
        };
        let target = place("target");
        let cargo = format!(
            "[ \"$1\" != metadata ] || echo '{}'",
            serde_json::json!({ "target_directory": target.to_str().expect("UTF-8") })
        );
        program(place("bin/cargo"), &cargo);
        program(place("target/demo/verify_tx"), verify_tx);
        Demo { folder }
    }

    fn start(&self) -> Child {
        let place = |name: &str| self.folder.path().join(name);
        let path = std::env::var("PATH").expect("there is one");
        // Ctrl-C may be ignored because of the process that started the tests, as for background jobs. A
        // shell cannot undo that.
        Command::new("env")
            .args(["--default-signal=INT,QUIT", "bash"])
            .arg(root().join("softhsm/demo.sh"))
            .env("PATH", format!("{}:{path}", place("bin").display()))
            // Its files are here, and so all its processes name this folder.
            .env("TMPDIR", place("tmp"))
            .env_remove("COUNTERSIGN_CONF")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(place("stderr")).expect("ours"))
            .spawn()
            .expect("bash starts")
    }

    /// Its exit status and output, after checking that neither a process nor a file of it is left.
    fn nothing_is_left(&self, mut demo: Child) -> (ExitStatus, String) {
        let status = demo.wait().expect("ours");
        let left = self.processes();
        // This test must not leave anything of the script either.
        let _ = kill_process_group(Pid::from_child(&demo), Signal::KILL);
        let mut said = String::new();
        demo.stdout.take().expect("it is piped").read_to_string(&mut said).expect("UTF-8");
        said += &fs::read_to_string(self.folder.path().join("stderr")).expect("ours");
        assert_eq!(left, Vec::<String>::new(), "{status}\n{said}");
        let files: Vec<_> = fs::read_dir(self.folder.path().join("tmp")).expect("ours").collect();
        assert!(files.is_empty(), "{files:?}");
        (status, said)
    }

    /// The command lines of all processes that name the folder.
    fn processes(&self) -> Vec<String> {
        let folder = self.folder.path().to_str().expect("UTF-8");
        let lines = fs::read_dir("/proc").expect("it is Linux").filter_map(|entry| {
            let line = fs::read(entry.ok()?.path().join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&line).replace('\0', " "))
        });
        lines.filter(|line| line.contains(folder)).collect()
    }
}

#[test]
fn nothing_of_the_demo_outlives_its_success() {
    let demo = Demo::new("exit 0");
    let (status, said) = demo.nothing_is_left(demo.start());
    assert!(status.success() && said.contains("== Done"), "{status}\n{said}");
}

#[test]
fn nothing_of_the_demo_outlives_its_failure() {
    let demo = Demo::new("exit 9");
    let (status, said) = demo.nothing_is_left(demo.start());
    assert_eq!(status.code(), Some(9), "{said}");
    assert!(!said.contains("== 11."), "it failed while the boundary served: {said}");
}

#[test]
fn nothing_of_the_demo_outlives_ctrl_c() {
    let demo = Demo::new("echo verify_tx runs; exec sleep 600");
    let mut child = demo.start();
    let mut printed = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    while line != "verify_tx runs\n" {
        line.clear();
        assert!(printed.read_line(&mut line).expect("UTF-8") > 0, "it ended early");
    }
    child.stdout = Some(printed.into_inner());
    assert!(demo.processes().iter().any(|line| line.contains(" serve ")), "the boundary serves");
    // A terminal sends the signal to all of them.
    kill_process_group(Pid::from_child(&child), Signal::INT).expect("they run");
    let (status, said) = demo.nothing_is_left(child);
    assert_eq!(status.code(), Some(130), "{said}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Under `pipefail` a pipe fails if its reader ends first, which depends on chance: `grep -q` ends at its
/// first match.
#[test]
fn no_script_reads_a_pipe_with_a_grep_that_ends_early() {
    let ends_early = |line: &str| {
        line.split("| grep -")
            .skip(1)
            .any(|rest| rest.split(' ').next().is_some_and(|options| options.contains('q')))
    };
    assert!(ends_early("nm x | grep -Fqx y") && !ends_early("grep -q y x | grep -F z"));
    let mut folders: Vec<PathBuf> =
        ["softhsm", "debian", "tests", "benches", "examples"].iter().map(|name| root().join(name)).collect();
    let mut scripts = 0;
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(&folder).expect("it is in the checkout").map(|entry| entry.expect("it is there"))
        {
            let path = entry.path();
            if entry.file_type().expect("it is there").is_dir() {
                if entry.file_name() != "node_modules" && entry.file_name() != "target" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "sh") {
                scripts += 1;
                let text = fs::read_to_string(&path).expect("a script is text");
                let found = text.lines().find(|line| ends_early(line));
                assert_eq!(found, None, "{}: write `grep … >/dev/null`", path.display());
            }
        }
    }
    assert!(scripts > 10, "{scripts} scripts");
}
