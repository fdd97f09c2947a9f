//! The verb in a process of its own, with a mock of the module. The harness is here, and the tests
//! are in the files below.

mod configuration;
mod hardened;
mod life;
mod monitored;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use countersign::kernel::act::{ActCount, Outcome};
use countersign::remote::budget::Budget;
use countersign::remote::frame::{Frame, Received};
use countersign::remote::hello::{Hello, Response, VERSION};
use countersign::remote::interface::Administration;
use countersign::remote::standing::{Standing, Trouble};
use countersign::remote::stream::{Framed, Stream};
use countersign::remote::{CkRv, PeerRole};
use countersign::shell::config::{ConnectAddress, ConnectConfig, LogConfig, ServeLimits};
use rustix::process::{DumpableBehavior, Pid, Signal, dumpable_behavior, kill_process};
use rustix::thread::{Uid, no_new_privs, set_thread_res_uid};
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::*;

/// Longer than any step here takes.
const LONG: Duration = Duration::from_secs(60);
/// Turns a test of this file into the process that the same test, outside, observes.
const CONFIGURATION: &str = "COUNTERSIGN_TEST_SERVE";

/// Echoes requests. A request that begins with `w` waits until the file with the name that follows exists.
struct Echo;

impl Boundary for Echo {
    fn open(&self, _first_handle: u64, _role: PeerRole, _identity: &str) -> Result<u64, CkRv> {
        Ok(1)
    }

    fn answer(&self, _application: u64, request: &[u8]) -> Result<Zeroizing<Vec<u8>>, CkRv> {
        if let Some(name) = request.strip_prefix(b"w") {
            let name = PathBuf::from(String::from_utf8_lossy(name).into_owned());
            fs::write(name.with_extension("begun"), "").expect("the folder is ours");
            eventually("the release", || name.exists());
        }
        Ok(Zeroizing::new(request.to_vec()))
    }

    fn close(&self, _application: u64) {}

    fn standing(&self) -> Standing {
        Standing::WELL
    }
}

/// A boundary that has troubles from some moment on.
#[derive(Default)]
struct Breaking {
    bits: AtomicU64,
    /// The number of acts of administration, one more each time it is read.
    acts: AtomicU64,
}

impl Boundary for Breaking {
    fn open(&self, _first_handle: u64, _role: PeerRole, _identity: &str) -> Result<u64, CkRv> {
        Ok(1)
    }

    fn answer(&self, _application: u64, request: &[u8]) -> Result<Zeroizing<Vec<u8>>, CkRv> {
        Ok(Zeroizing::new(request.to_vec()))
    }

    fn close(&self, _application: u64) {}

    fn standing(&self) -> Standing {
        Standing::from_bits(self.bits.load(Ordering::SeqCst))
    }

    fn administration(&self) -> Administration {
        let count = self.acts.fetch_add(1, Ordering::SeqCst);
        let acts = vec![ActCount { act: "wallet-updated".into(), outcome: Outcome::Loosened, count }];
        // The first of two is thawed at the end.
        let frozen = vec![("wallet".into(), 2_u64.saturating_sub(count)), ("user".into(), 1)];
        let proposals = vec![("waiting".into(), count), ("due".into(), 1)];
        let consents = vec![("open".into(), count), ("refused".into(), 1)];
        let consent_events = vec![("consent-refused".into(), count)];
        Administration { acts, frozen, proposals, consents, consent_events }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        eprintln!("the module is closed");
    }
}

/// Opens the module. The signals in the file beside the configuration, if there is one, arrive during this.
fn open(configuration: &Path) -> Result<Arc<dyn Boundary>, CommandError> {
    let signals = fs::read(configuration.with_file_name("signals")).unwrap_or_default();
    for signal in signals {
        // To this thread, so it has arrived when this returns.
        signal_hook::low_level::raise(i32::from(signal)).expect("it is one");
    }
    Ok(Arc::new(Echo))
}

fn eventually(what: &str, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < LONG, "{what} does not come");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Whether this is the process that a test observes. If so, it has run to its end.
fn was_the_process() -> bool {
    let Some(path) = std::env::var_os(CONFIGURATION).map(PathBuf::from) else { return false };
    let config = EngineConfig::load(&path).expect("the test wrote it");
    let serve = serve_table(&path, &config).expect("the test wrote it");
    log::start(&config.log).expect("standard error is there");
    let ended = hardening::harden(&serve.limits)
        .and_then(|()| serve_until_stopped(&path, &config, false, || open(&path)));
    match ended {
        Ok(_) => eprintln!("outcome: done"),
        Err(error) => eprintln!("outcome: {} {}", error.what, error.next),
    }
    true
}

/// A running boundary, and its messages to a service manager.
struct Running {
    folder: TempDir,
    child: Child,
    notified: UnixDatagram,
}

impl Running {
    /// Starts the test named `test`, a path below this module, as the process.
    fn start(test: &str, change: impl FnOnce(&mut Command)) -> Running {
        Running::start_in(test, |_| {}, change)
    }

    fn start_in(test: &str, prepare: impl FnOnce(&Path), change: impl FnOnce(&mut Command)) -> Running {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let notified = UnixDatagram::bind(path("notify")).expect("the folder is ours");
        notified.set_read_timeout(Some(LONG)).expect("ours");
        write_configuration(&folder, "");
        prepare(folder.path());
        let program = std::env::current_exe().expect("it has a path");
        // A shell, so that a socket that arrives as standard input can be passed on as systemd does.
        let mut command = Command::new("sh");
        command
            .args(["-c", "export LISTEN_PID=$$; exec \"$@\" 3<&0 </dev/null", "sh"])
            .arg(program)
            .args([&format!("serve::tests::{test}"), "--exact", "--nocapture"])
            .env(CONFIGURATION, path("c.toml"))
            .env("NOTIFY_SOCKET", path("notify"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(path("log")).expect("the folder is ours"));
        change(&mut command);
        let child = command.spawn().expect("it runs");
        Running { folder, child, notified }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The next message to the service manager.
    fn told(&self) -> String {
        let mut bytes = [0; 1024];
        let length =
            self.notified.recv(&mut bytes).unwrap_or_else(|_| panic!("nothing was told:\n{}", self.log()));
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).expect("it is there")
    }

    fn signal(&self, signal: Signal) {
        let process = Pid::from_child(&self.child);
        kill_process(process, signal).expect("it runs");
    }

    fn end(&mut self) -> String {
        let begun = Instant::now();
        while self.child.try_wait().expect("it is ours").is_none() {
            assert!(begun.elapsed() < LONG, "it does not end:\n{}", self.log());
            thread::sleep(Duration::from_millis(2));
        }
        self.log()
    }

    fn connect(&self, socket: &str) -> Framed {
        let address = ConnectAddress::Unix { socket: self.path(socket), user: None };
        let config =
            ConnectConfig { address, connect: LONG, call: LONG, log: LogConfig::default(), desk: None };
        let stream = Stream::connect(&config).expect("it serves");
        let mut framed = Framed::new(stream, 1 << 20, Budget::unlimited());
        framed.greet(&Hello { join: None, first_handle: 1 }, VERSION, &config).expect("it is welcome");
        framed
    }

    fn http(&self, request: &str) -> String {
        http(&self.path("monitoring.sock"), request.as_bytes())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_configuration(folder: &TempDir, more: &str) {
    let place = folder.path().display();
    let user = rustix::process::geteuid().as_raw();
    let text = format!(
        "[backing]\nmodule = \"/m\"\ntoken = \"t\"\npin_file = \"/p\"\n[store]\npath = \"/s\"\n[log]\nlevel = \"info\"\n\
         [serve]\nmonitoring = \"{place}/monitoring.sock\"\n[serve.backend]\nsocket = \"{place}/backend.sock\"\n\
         users = [{user}]\n{more}"
    );
    let path = folder.path().join("c.toml");
    fs::write(&path, text).expect("the folder is ours");
    // Whatever the umask is.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("it is ours");
}

fn http(socket: &Path, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).expect("it listens");
    stream.set_read_timeout(Some(LONG)).expect("ours");
    let _ = stream.write_all(request);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn answer(framed: &mut Framed) -> Option<Vec<u8>> {
    match framed.read() {
        Ok(Received::Frame(Frame { payload, .. })) => match Response::decode(&payload) {
            Some(Response::Answered(answer)) => Some(answer.to_vec()),
            _ => panic!("it is no answer"),
        },
        _ => None,
    }
}
