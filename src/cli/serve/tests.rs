//! The verb in a process of its own, with a mock of the module.

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

    fn administration(&self) -> Vec<ActCount> {
        let count = self.acts.fetch_add(1, Ordering::SeqCst);
        vec![ActCount { act: "wallet-updated".into(), outcome: Outcome::Loosened, count }]
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
        let config = ConnectConfig { address, connect: LONG, call: LONG, log: LogConfig::default() };
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

#[test]
fn it_says_when_it_is_ready_reloads_and_ends_its_calls_before_it_stops() {
    if was_the_process() {
        return;
    }
    let mut boundary =
        Running::start("it_says_when_it_is_ready_reloads_and_ends_its_calls_before_it_stops", |_| {});
    assert!(boundary.told().starts_with("READY=1"));
    let mut client = boundary.connect("backend.sock");
    client.write([b"hello", &[]]).expect("it is taken");
    assert_eq!(answer(&mut client).as_deref(), Some(&b"hello"[..]));
    assert!(boundary.http("GET /health HTTP/1.1\r\n\r\n").contains("\r\n\r\nok\n"));
    let metrics = boundary.http("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(metrics.contains("application/openmetrics-text") && metrics.ends_with("# EOF\n"), "{metrics}");
    assert!(metrics.contains("countersign_calls_total{outcome=\"answered\"} 1"), "{metrics}");

    // An unusable configuration changes nothing.
    write_configuration(&boundary.folder, "people = []\n");
    boundary.signal(Signal::HUP);
    assert!(boundary.told().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert!(boundary.told().starts_with("READY=1"));
    assert!(boundary.log().contains("unknown field `people`"), "{}", boundary.log());
    client.write([b"hello", &[]]).expect("it is taken");
    assert!(answer(&mut client).is_some());
    // A configuration without this client ends its connection.
    write_configuration(
        &boundary.folder,
        "[serve.administrators]\nsocket = \"/nowhere/a.sock\"\nusers = [0]\n",
    );
    let text = fs::read_to_string(boundary.path("c.toml")).expect("it is there");
    let user = format!("users = [{}]", rustix::process::geteuid().as_raw());
    fs::write(boundary.path("c.toml"), text.replacen(&user, "users = [4000000]", 1)).expect("ours");
    boundary.signal(Signal::HUP);
    assert!(boundary.told().starts_with("RELOADING=1"));
    assert!(boundary.told().starts_with("READY=1"));
    assert!(answer(&mut client).is_none());
    assert!(boundary.log().contains("count from the next start"), "{}", boundary.log());
    write_configuration(&boundary.folder, "");
    boundary.signal(Signal::HUP);
    assert!(boundary.told().starts_with("RELOADING=1"));
    assert!(boundary.told().starts_with("READY=1"));

    let mut client = boundary.connect("backend.sock");
    let release = boundary.path("release");
    client.write([b"w", release.as_os_str().as_encoded_bytes()]).expect("it is taken");
    eventually("the call", || release.with_extension("begun").exists());
    boundary.signal(Signal::TERM);
    assert!(boundary.told().starts_with("STOPPING=1"));
    eventually("a closed door", || !boundary.path("backend.sock").exists());
    let health = boundary.http("GET /health HTTP/1.1\r\n\r\n");
    assert!(health.starts_with("HTTP/1.1 503 ") && health.ends_with("stopping\n"), "{health}");
    fs::write(&release, "").expect("the folder is ours");
    assert!(answer(&mut client).is_some());
    let log = boundary.end();
    let (before, _) = log.split_once("outcome: done").unwrap_or_else(|| panic!("{log}"));
    assert!(before.contains("the module is closed"), "{log}");
    assert!(!boundary.path("monitoring.sock").exists());
}

#[test]
fn a_process_with_calls_left_inside_the_module_ends_without_closing_it() {
    if was_the_process() {
        return;
    }
    let test = "a_process_with_calls_left_inside_the_module_ends_without_closing_it";
    let short = |folder: &Path| {
        let text = fs::read_to_string(folder.join("c.toml")).expect("it is there");
        let text = text.replace("[serve]\n", "[serve]\nstop_seconds = 1\n");
        fs::write(folder.join("c.toml"), text).expect("ours");
    };
    let mut boundary = Running::start_in(test, short, |_| {});
    assert!(boundary.told().starts_with("READY=1"));
    let mut client = boundary.connect("backend.sock");
    let release = boundary.path("release");
    client.write([b"w", release.as_os_str().as_encoded_bytes()]).expect("it is taken");
    eventually("the call", || release.with_extension("begun").exists());
    boundary.signal(Signal::TERM);
    let log = boundary.end();
    assert!(log.contains("error: stopped with 1 connections") && log.contains("serve.stop_seconds"), "{log}");
    assert!(!log.contains("the module is closed") && !log.contains("outcome:"), "{log}");
    assert_eq!(boundary.child.wait().expect("it has ended").code(), Some(1));
}

#[test]
fn signals_that_come_while_the_module_opens_are_kept_until_it_has() {
    if was_the_process() {
        return;
    }
    let test = "signals_that_come_while_the_module_opens_are_kept_until_it_has";
    let opening = |signals: &[Signal]| {
        let numbers: Vec<u8> = signals.iter().map(|signal| signal.as_raw() as u8).collect();
        let write = |folder: &Path| fs::write(folder.join("signals"), numbers).expect("the folder is ours");
        Running::start_in(test, write, |_| {})
    };
    for signal in [Signal::TERM, Signal::INT] {
        let mut boundary = opening(&[signal]);
        assert!(boundary.told().starts_with("STOPPING=1"));
        let log = boundary.end();
        assert!(log.contains("the module is closed") && log.contains("outcome: done"), "{log}");
        assert!(!log.contains("serving"), "{log}");
    }
    let mut boundary = opening(&[Signal::HUP]);
    assert!(boundary.told().starts_with("READY=1"));
    assert!(boundary.told().starts_with("RELOADING=1"));
    assert!(boundary.told().starts_with("READY=1"));
    boundary.signal(Signal::TERM);
    let log = boundary.end();
    assert!(log.contains("reloaded users") && log.contains("the module is closed"), "{log}");
    let log = opening(&[Signal::HUP, Signal::TERM]).end();
    assert!(log.contains("the module is closed") && !log.contains("serving"), "{log}");
}

#[test]
fn a_broken_standard_error_keeps_no_door_from_its_work() {
    if was_the_process() {
        return;
    }
    let test = "a_broken_standard_error_keeps_no_door_from_its_work";
    let nobody = |folder: &Path| {
        let user = format!("users = [{}]", rustix::process::geteuid().as_raw());
        let text = fs::read_to_string(folder.join("c.toml")).expect("it is there");
        fs::write(folder.join("c.toml"), text.replace(&user, "users = [4000000]")).expect("ours");
    };
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let boundary = Running::start_in(test, nobody, |command| {
        command.stderr(writer);
    });
    assert!(boundary.told().starts_with("READY=1"));
    let address = ConnectAddress::Unix { socket: boundary.path("backend.sock"), user: None };
    let config = ConnectConfig { address, connect: LONG, call: LONG, log: LogConfig::default() };
    // The log has one line for the first refusal.
    for _ in 0..2 {
        let mut framed = Framed::new(Stream::connect(&config).expect("it serves"), 256, Budget::unlimited());
        let refused =
            framed.greet(&Hello { join: None, first_handle: 1 }, VERSION, &config).expect_err("not allowed");
        assert!(refused.to_string().contains("may not connect"), "{refused}");
    }
    assert!(boundary.http("GET /health HTTP/1.1\r\n\r\n").contains("\r\n\r\nok\n"));
}

#[test]
fn whatever_a_reload_does_not_take_is_known_to_wait_for_the_next_start() {
    const CONFIG: &str = r#"
        [backing]
        module = "/m"
        token = "t"
        pin_file = "/p"
        [store]
        path = "/s"
        [limits]
        failures_per_hour = 100
        [log]
        level = "info"
        [plugin]
        library = "/l.so"
        officers = ["RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"]
        threshold = 1
        floor_file = "/f"
        [serve]
        max_calls = 3
        monitoring = "/m.sock"
        [serve.backend]
        socket = "/b.sock"
        users = [1]
        [serve.tcp]
        address = "127.0.0.1:1"
        certificate_file = "/c"
        key_file = "/k"
        client_authority_file = "/a"
        backends = ["b.example"]
        [serve.vsock]
        port = 1
        backends = [3]
    "#;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.toml");
    let waits = |from: &str, to: &str| {
        let config = |text: String| {
            fs::write(&path, text).expect("the folder is ours");
            EngineConfig::load(&path).expect("it is one")
        };
        assert!(CONFIG.contains(from), "{from}");
        waits_for_the_next_start(&config(CONFIG.replace(from, to)), &config(CONFIG.into()))
    };
    for (from, to) in [
        ("module = \"/m\"", "module = \"/m2\""),
        ("token = \"t\"", "token = \"t2\""),
        ("pin_file = \"/p\"", "pin_env = \"P\""),
        ("path = \"/s\"", "path = \"/s2\""),
        ("failures_per_hour = 100", "failures_per_hour = 101"),
        ("level = \"info\"", "level = \"warn\""),
        ("level = \"info\"", "level = \"info\"\nfile = \"/log\""),
        ("/l.so", "/l2.so"),
        ("\"/f\"", "\"/f2\""),
        ("max_calls = 3", "max_calls = 4"),
        ("/m.sock", "/m2.sock"),
        ("/b.sock", "/b2.sock"),
        ("127.0.0.1:1", "127.0.0.1:2"),
        ("port = 1", "port = 2"),
    ] {
        assert!(waits(from, to), "{to}");
    }
    let of_plugin =
        CONFIG.find("[plugin]").expect("it is there")..CONFIG.find("[serve]").expect("it is there");
    assert!(waits(&CONFIG[of_plugin], ""), "none is another one");
    for (from, to) in [
        ("users = [1]", "users = [2]"),
        ("\"/c\"", "\"/c2\""),
        ("\"/k\"", "\"/k2\""),
        ("\"/a\"", "\"/a2\""),
        ("b.example", "b2.example"),
        ("backends = [3]", "backends = [4]"),
    ] {
        assert!(!waits(from, to), "{to}");
    }
}

#[test]
fn a_second_one_is_told_who_the_first_is() {
    if was_the_process() {
        return;
    }
    let test = "a_second_one_is_told_who_the_first_is";
    let first = Running::start(test, |_| {});
    first.told();
    let mut second = Running::start(test, |command| {
        command.env(CONFIGURATION, first.path("c.toml"));
    });
    let log = second.end();
    assert!(log.contains(&format!("already served by process {}", first.child.id())), "{log}");
}

#[test]
fn sockets_are_taken_from_systemd_by_their_names() {
    if was_the_process() {
        return;
    }
    let test = "sockets_are_taken_from_systemd_by_their_names";
    let folder = tempfile::tempdir().expect("a folder");
    let passing = |names: &str, socket: OwnedFd| {
        Running::start(test, |command| {
            command.stdin(Stdio::from(socket)).env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", names);
        })
    };
    let listener = |name: &str| UnixListener::bind(folder.path().join(name)).expect("the folder is ours");
    let backend = passing("backend", listener("b").into());
    assert!(backend.told().starts_with("READY=1"));
    assert!(!backend.path("backend.sock").exists());
    let address = ConnectAddress::Unix { socket: folder.path().join("b"), user: None };
    let config = ConnectConfig { address, connect: LONG, call: LONG, log: LogConfig::default() };
    let mut framed = Framed::new(Stream::connect(&config).expect("it serves"), 1 << 20, Budget::unlimited());
    assert!(framed.greet(&Hello { join: None, first_handle: 1 }, VERSION, &config).is_ok());
    drop(backend);
    let monitoring = passing("monitoring", listener("m").into());
    assert!(monitoring.told().starts_with("READY=1"));
    assert!(http(&folder.path().join("m"), b"GET /health HTTP/1.1\r\n\r\n").contains("\r\n\r\nok\n"));
    drop(monitoring);
    let file = || fs::File::open("/dev/null").expect("it is there").into();
    for (names, socket, words) in [
        ("frontend", listener("f").into(), "frontend"),
        ("administrators", listener("a").into(), "[serve.administrators]"),
        ("backend:monitoring", listener("n").into(), "cannot take the sockets"),
        ("backend", file(), "listening Unix stream socket"),
        ("monitoring", file(), "listening Unix stream socket"),
    ] {
        let log = passing(names, socket).end();
        assert!(log.contains("outcome: ") && log.contains(words), "{names}: {log}");
        assert!(!log.contains("outcome: done"), "{names}: {log}");
    }
}

#[test]
fn the_process_is_hardened_before_it_serves() {
    if was_the_process() {
        return;
    }
    if std::env::var_os("COUNTERSIGN_TEST_HARDEN").is_none() {
        // The limits apply to a whole process, so this uses its own.
        let program = std::env::current_exe().expect("it has a path");
        let mut child = Command::new(program);
        child.args(["serve::tests::the_process_is_hardened_before_it_serves", "--exact", "--nocapture"]);
        let output = child.env("COUNTERSIGN_TEST_HARDEN", "1").output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stdout);
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && told.contains("1 passed"), "{told}\n{why}");
        return;
    }
    let limits = ServeLimits { max_connections: 1_000_000_000, ..ServeLimits::default() };
    let error = hardening::harden(&limits).err().map(|error| format!("{} {}", error.what, error.next));
    match error {
        Some(error) if error.contains("LimitMEMLOCK") => {
            eprintln!("not tried as a whole: {error}");
            return;
        }
        Some(error) => assert!(error.contains("LimitNOFILE") && error.contains("max_connections"), "{error}"),
        None => assert_eq!(rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum, None),
    }
    hardening::harden(&ServeLimits::default()).expect("as much is allowed");
    assert_eq!(dumpable_behavior().expect("it is Linux"), DumpableBehavior::NotDumpable);
    assert!(no_new_privs().expect("it is Linux"));
    let core = rustix::process::getrlimit(rustix::process::Resource::Core);
    assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    assert!(files.is_none_or(|files| files >= 2 * 1024));
    let status = fs::read_to_string("/proc/self/status").expect("it is Linux");
    let locked = status.lines().find(|line| line.starts_with("VmLck:")).expect("it is there");
    assert!(!locked.contains(" 0 kB"), "{locked}");
    // Also pages that are allocated later.
    let later = vec![1_u8; 4 << 20];
    let smaps = fs::read_to_string("/proc/self/smaps").expect("it is Linux");
    let total: usize = smaps
        .lines()
        .filter_map(|line| line.strip_prefix("Locked:")?.trim().strip_suffix(" kB")?.parse::<usize>().ok())
        .sum();
    assert!(total >= 4096, "{total} kB are locked, of {} more", later.len());
}

#[test]
fn it_does_not_start_where_memory_cannot_be_locked() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tried: only root can become a user that may lock nothing");
        return;
    }
    if std::env::var_os("COUNTERSIGN_TEST_HARDEN").is_none() {
        let program = std::env::current_exe().expect("it has a path");
        let mut child = Command::new(program);
        child.args([
            "serve::tests::it_does_not_start_where_memory_cannot_be_locked",
            "--exact",
            "--nocapture",
        ]);
        let output = child.env("COUNTERSIGN_TEST_HARDEN", "1").output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stdout);
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && told.contains("1 passed"), "{told}\n{why}");
        return;
    }
    // A limit, however high, will be reached one day, and limits are only ever lowered.
    for bytes in [4 << 20, 65_536, 0] {
        let limit = rustix::process::Rlimit { current: Some(bytes), maximum: Some(bytes) };
        rustix::process::setrlimit(rustix::process::Resource::Memlock, limit)
            .expect("everybody may lower it");
        let refused = thread::spawn(|| {
            // For this thread alone.
            let nobody = Uid::from_raw(65534);
            set_thread_res_uid(nobody, nobody, nobody).expect("root may");
            hardening::harden(&ServeLimits::default())
        });
        let error = refused.join().expect("it does not panic").expect_err("it must not start");
        assert!(
            error.what.contains("swap") && error.next.contains("LimitMEMLOCK"),
            "{bytes}: {}",
            error.what
        );
    }
}

#[test]
fn a_configuration_without_doors_is_told_what_to_add() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.toml");
    fs::write(
        &path,
        "[backing]\nmodule = \"/m\"\ntoken = \"t\"\npin_file = \"/p\"\n[store]\npath = \"/s\"\n",
    )
    .expect("the folder is ours");
    let config = EngineConfig::load(&path).expect("it is the engine's");
    let error = serve_table(&path, &config).expect_err("no doors");
    assert!(
        error.what.contains("c.toml") && error.next.contains("[serve.backend]"),
        "{} {}",
        error.what,
        error.next
    );
}

fn without_doors() -> ServeConfig {
    ServeConfig {
        limits: ServeLimits::default(),
        monitoring: None,
        backend: None,
        administrators: None,
        tcp: None,
        vsock: None,
    }
}

#[test]
fn health_tells_signing_and_administration_apart_and_each_trouble_has_a_metric() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.sock");
    let module = Arc::new(Breaking::default());
    let server = Server::start(&without_doors(), vec![], Arc::clone(&module) as _).expect("it starts");
    let monitoring =
        Monitoring::start(Some(&path), None, server.metrics(), server.health()).expect("it starts");
    let get = |target: &str| http(&path, format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes());
    let (health, metrics) = (get("/health"), get("/metrics"));
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    assert!(health.ends_with("\r\n\r\nok\nsigning: ok\nadministration: ok\n"), "{health}");
    assert!(metrics.contains("\ncountersign_store_closed 0\n"), "{metrics}");
    assert!(metrics.contains("\ncountersign_serving{what=\"signing\"} 1\n"), "{metrics}");
    for trouble in Trouble::ALL {
        module.bits.store(Standing::WELL.with(trouble).bits(), Ordering::SeqCst);
        let (health, metrics) = (get("/health"), get("/metrics"));
        let status = if trouble.stops_signing() { "HTTP/1.1 503 " } else { "HTTP/1.1 200 " };
        assert!(health.starts_with(status) && !health.contains("\r\n\r\nok"), "{health}");
        for (what, stops) in
            [("signing", trouble.stops_signing()), ("administration", trouble.stops_administration())]
        {
            let says = if stops { trouble.to_string() } else { "ok".into() };
            assert!(health.contains(&format!("\n{what}: {says}\n")), "{health}");
            let shown = format!("\ncountersign_serving{{what=\"{what}\"}} {}\n", u8::from(!stops));
            assert!(metrics.contains(&shown), "{metrics}");
        }
        for other in Trouble::ALL {
            let shown = format!(
                "\ncountersign_trouble{{trouble=\"{}\"}} {}\n",
                other.label(),
                u8::from(other == trouble)
            );
            assert!(metrics.contains(&shown), "{metrics}");
        }
    }
    module.bits.store(Standing::WELL.with(Trouble::StoreClosed).bits(), Ordering::SeqCst);
    assert!(get("/metrics").contains("\ncountersign_store_closed 1\n"));
    drop(monitoring);
}

#[test]
fn the_memory_of_the_process_is_a_metric_that_follows_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.sock");
    let server = Server::start(&without_doors(), vec![], Arc::new(Breaking::default())).expect("it starts");
    let _monitoring =
        Monitoring::start(Some(&path), None, server.metrics(), server.health()).expect("it starts");
    let bytes = || -> i64 {
        let metrics = http(&path, b"GET /metrics HTTP/1.1\r\n\r\n");
        let line = metrics.lines().find_map(|line| line.strip_prefix("countersign_resident_memory_bytes "));
        line.and_then(|bytes| bytes.parse().ok()).unwrap_or_else(|| panic!("{metrics}"))
    };
    let before = bytes();
    // 256 MiB, far above what the other tests free meanwhile.
    let room = vec![1_u8; 256 << 20];
    let after = bytes();
    assert!(after > before + (128 << 20), "{before} {after} {}", room.len());
}

#[test]
fn acts_of_administration_are_a_metric_by_kind_as_the_module_counts_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.sock");
    let server = Server::start(&without_doors(), vec![], Arc::new(Breaking::default())).expect("it starts");
    let monitoring =
        Monitoring::start(Some(&path), None, server.metrics(), server.health()).expect("it starts");
    for count in [0, 1, 2] {
        let metrics = http(&path, b"GET /metrics HTTP/1.1\r\n\r\n");
        let line = format!(
            "\ncountersign_administration_total{{act=\"wallet-updated\",outcome=\"loosened\"}} {count}\n"
        );
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
    drop(monitoring);
}

#[test]
fn requests_to_the_monitoring_are_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.sock");
    let server = Server::start(&without_doors(), vec![], Arc::new(Echo)).expect("it starts");
    let monitoring =
        Monitoring::start(Some(&path), None, server.metrics(), server.health()).expect("it starts");
    let status = |request: &[u8]| {
        let answer = http(&path, request);
        answer.split(' ').nth(1).map(str::to_owned)
    };
    let many = format!("GET /health HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(33));
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(9000));
    for (request, expected) in [
        (&b"GET /health HTTP/1.1\r\n\r\n"[..], Some("200")),
        (b"GET /health?now HTTP/1.0\r\nA: b\r\n\r\n", Some("200")),
        (b"GET /metrics HTTP/1.1\r\n\r\n", Some("200")),
        (b"GET / HTTP/1.1\r\n\r\n", Some("404")),
        (b"GET /healthy HTTP/1.1\r\n\r\n", Some("404")),
        (b"POST /health HTTP/1.1\r\n\r\n", Some("405")),
        (b"DELETE /metrics HTTP/1.1\r\n\r\n", Some("405")),
        (b"\x16\x03\x01\x00\x05\r\n\r\n", Some("400")),
        (b"GET /health\r\n\r\n", Some("400")),
        (many.as_bytes(), Some("400")),
        (long.as_bytes(), Some("431")),
    ] {
        assert_eq!(status(request).as_deref(), expected, "{}", String::from_utf8_lossy(request));
    }
    // A client that does not complete its request is not waited for without end, and one that leaves is not
    // waited for at all.
    let silent = UnixStream::connect(&path).expect("it listens");
    (&silent).write_all(b"GET /hea").expect("it is taken");
    drop(UnixStream::connect(&path).expect("it listens"));
    assert_eq!(status(b"GET /health HTTP/1.1\r\n\r\n").as_deref(), Some("200"));
    assert_eq!((&silent).read(&mut [0; 8]).ok(), Some(0), "it was let go");
    monitoring.stopping();
    assert_eq!(status(b"GET /health HTTP/1.1\r\n\r\n").as_deref(), Some("503"));
    drop(monitoring);
    assert!(!path.exists());
}
