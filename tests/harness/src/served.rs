//! `countersign serve` for a test: a release signed for it, a process of its own, and the client's configuration.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::built::place;
use crate::module::doors::{ADMINISTRATORS, BACKENDS};
use crate::module::{Boundary, Finished, in_prepared_boundary, module};
use crate::{Way, program};

/// How long the boundary may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `body` in a process of its own that is a client of a fresh boundary, served by a third process.
pub fn in_boundary(test: &str, body: impl FnOnce(&Boundary)) -> String {
    in_prepared_boundary(test, None, Way::Served, |_| (), body)
}

/// A running `countersign serve`, which is stopped when this is dropped.
pub struct Served {
    child: Child,
    folder: PathBuf,
}

/// The release of a test: the module, and officers who have signed it.
pub struct Release {
    pub library: PathBuf,
    pub officers: Vec<String>,
}

impl Release {
    /// Signs the module under test in `folder`, with so many officers.
    pub fn signed(folder: &Path, officers: usize) -> Release {
        fs::create_dir_all(folder).expect("the folder is ours");
        let library = folder.join("libcountersign.so");
        let from = module();
        place(&from, &library);
        let digest = Sha256::digest(fs::read(&library).expect("it can be read"));
        let version = env!("CARGO_PKG_VERSION");
        let manifest = format!(
            "name = \"countersign\"\nversion = \"{version}\"\nsha256 = \"{}\"\nfloor = \"{version}\"\n",
            data_encoding::HEXLOWER.encode(&digest)
        );
        fs::write(folder.join("libcountersign.so.manifest"), &manifest).expect("the folder is ours");
        let officers = (0..officers)
            .map(|number| {
                let pair = minisign::KeyPair::generate_unencrypted_keypair().expect("a key pair");
                let signature =
                    minisign::sign(None, &pair.sk, manifest.as_bytes(), Some("test"), None).expect("signs");
                let file = folder.join(format!("libcountersign.so.manifest.{number}.minisig"));
                fs::write(file, signature.into_string()).expect("the folder is ours");
                pair.pk.to_base64()
            })
            .collect();
        Release { library, officers }
    }

    /// The configuration's `[plugin]` table for this release.
    pub fn table(&self, threshold: usize, floor_file: &Path) -> String {
        format!(
            "\n[plugin]\nlibrary = \"{}\"\nofficers = {:?}\nthreshold = {threshold}\nfloor_file = \"{}\"\n",
            self.library.display(),
            self.officers,
            floor_file.display()
        )
    }
}

impl Served {
    /// Serves `boundary` to administrators (this user) over a Unix socket. From then on its clients are
    /// clients of this server.
    pub fn start(boundary: &Boundary) -> Served {
        Served::start_with(boundary, "")
    }

    /// The same, with more keys in `[serve]`.
    pub fn start_with(boundary: &Boundary, more: &str) -> Served {
        let folder = boundary.folder().to_path_buf();
        let user = rustix::process::getuid().as_raw();
        let release = Release::signed(&folder.join("plugin"), 1);
        let inside = fs::read_to_string(folder.join("countersign.toml")).expect("setup.sh wrote it")
            + &release.table(1, &folder.join("plugin.floor"))
            + &format!("\n[serve]\n{more}\n")
            + &format!(
                "\n[serve.administrators]\nsocket = \"{0}/administrators.sock\"\nusers = [{user}]\n\
                 [serve.backend]\nsocket = \"{0}/backend.sock\"\nusers = [{user}]\n",
                folder.display()
            );
        let file = folder.join("inside.toml");
        fs::write(&file, inside).expect("the folder is ours");
        // Whatever the umask, since the boundary refuses a file that others could write to.
        fs::set_permissions(file, Permissions::from_mode(0o600)).expect("it is ours");
        Served::pin(&folder);
        let served = Served::start_again(&folder);
        served.write_client(ADMINISTRATORS, "administrators.sock");
        served.write_client(BACKENDS, "backend.sock");
        served
    }

    /// Writes a client's configuration, `name` in the folder, for this socket.
    pub fn write_client(&self, name: &str, socket: &str) {
        let client = format!(
            "[connect]\naddress = \"unix:{}/{socket}\"\n\n[log]\nlevel = \"info\"\n",
            self.folder.display()
        );
        fs::write(self.folder.join(name), client).expect("the folder is ours");
    }

    /// Starts the boundary again in a folder where it ran before.
    pub fn start_again(folder: &Path) -> Served {
        let log = File::options().create(true).append(true).open(folder.join("serve.log")).expect("ours");
        let child = Served::command(folder, &["serve"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the command was built");
        // From here on, dropping this stops the process, also if it never listens.
        let mut served = Served { child, folder: folder.into() };
        let until = Instant::now() + PATIENCE;
        while UnixStream::connect(folder.join("administrators.sock")).is_err() {
            let ended = served.child.try_wait().expect("it is our child");
            let log = || fs::read_to_string(folder.join("serve.log")).unwrap_or_default();
            assert!(ended.is_none(), "countersign serve ended with {}:\n{}", ended.expect("ended"), log());
            assert!(Instant::now() < until, "countersign serve does not listen:\n{}", log());
            std::thread::sleep(Duration::from_millis(5));
        }
        served
    }

    /// A command with the boundary's own configuration.
    pub fn command(folder: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .arg("--config")
            .arg(folder.join("inside.toml"))
            .args(arguments)
            .env("SOFTHSM2_CONF", folder.join("softhsm2.conf"))
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null());
        command
    }

    fn pin(folder: &Path) {
        let _ = Finished::of(&mut Served::command(folder, &["plugin", "pin"])).expect_success();
    }

    /// The process id.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// The log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("serve.log")).unwrap_or_default()
    }

    /// Kills the process like `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is our child");
    }

    /// The whole answer of its `/health` at `monitoring.sock`.
    pub fn health(&self) -> String {
        let socket = self.folder.join("monitoring.sock");
        // The boundary opens this socket last.
        self.eventually("the monitoring", |_| UnixStream::connect(&socket).is_ok());
        let mut stream = UnixStream::connect(socket).expect("it is monitored");
        stream.write_all(b"GET /health HTTP/1.1\r\n\r\n").expect("it listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, signal).expect("it runs");
    }

    /// Waits until the process has ended by itself, and returns its status.
    pub fn ended(mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(ended) = self.child.try_wait().expect("it is our child") {
                return ended;
            }
            assert!(Instant::now() < until, "it does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until `is` holds.
    pub fn eventually(&self, what: &str, is: impl Fn(&Served) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is(self) {
            assert!(Instant::now() < until, "{what} does not come:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops the process, and returns its status.
    pub fn stop(mut self) -> ExitStatus {
        self.end().expect("it stops when it is told to")
    }

    fn end(&mut self) -> Option<ExitStatus> {
        if let Some(ended) = self.child.try_wait().ok()? {
            return Some(ended);
        }
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).ok()?;
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(ended) = self.child.try_wait().ok()? {
                return Some(ended);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if self.end().is_none() {
            // The process ignores the signal, and a test must not leave it running.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
