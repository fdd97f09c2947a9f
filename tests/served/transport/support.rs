//! A mock of the module, a server for it, and clients.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use cryptoki_sys::{CKR_DEVICE_REMOVED, CKR_HOST_MEMORY};
use rustix::thread::{Gid, Uid};
use tempfile::TempDir;
use zeroize::Zeroizing;

use countersign::remote::budget::Budget;
use countersign::remote::frame::{Frame, FrameError, Received};
use countersign::remote::hello::{ApplicationSecret, Hello, Refusal, Response, VERSION};
use countersign::remote::standing::Standing;
use countersign::remote::stream::{ConnectError, Framed, Stream};
use countersign::remote::{Boundary, CkRv, PeerRole};
use countersign::shell::config::{
    ConnectAddress, ConnectConfig, LogConfig, ServeConfig, ServeLimits, UnixDoor, UserName,
};
use countersign_server::Server;
use countersign_server::door::{self, Passed};

/// Longer than any step here takes. If something has not happened by then, the test fails.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Sends the request back.
pub(crate) const ECHO: u8 = b'e';
/// Answers when the module is released.
pub(crate) const WAIT: u8 = b'w';
/// Answers with as many MiB as the next byte gives.
pub(crate) const LARGE: u8 = b'l';
/// Cannot be carried to the module.
pub(crate) const FAIL: u8 = b'f';
/// Panics.
pub(crate) const PANIC: u8 = b'p';

/// A mock of the module. It records calls that must never be made.
#[derive(Default)]
pub(crate) struct Mock {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
pub(crate) struct State {
    /// The first handle, the role and the peer of each.
    pub(crate) opened: Vec<(u64, PeerRole, String)>,
    /// Those that are open, with the number of their calls under way.
    pub(crate) open: HashMap<u64, usize>,
    pub(crate) closed: usize,
    pub(crate) in_flight: usize,
    pub(crate) most_in_flight: usize,
    released: bool,
    wrongs: Vec<String>,
}

impl Mock {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with it")
    }

    /// Waits until the mock is in such a state.
    pub(crate) fn wait_for(&self, what: &str, is: impl Fn(&State) -> bool) {
        let (state, waited) = self
            .changed
            .wait_timeout_while(self.state(), LONG, |state| !is(state))
            .expect("no test panics with it");
        assert!(!waited.timed_out(), "{what} does not come");
        drop(state);
    }

    pub(crate) fn release(&self) {
        self.state().released = true;
        self.changed.notify_all();
    }

    /// Waits until every application is closed, each once and after its calls.
    pub(crate) fn wait_until_all_are_closed(&self) {
        self.wait_for("the end of all applications", |state| state.open.is_empty());
        let state = self.state();
        assert_eq!(state.closed, state.opened.len());
        assert_eq!(state.wrongs, Vec::<String>::new());
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state());
        self.changed.notify_all();
        changed
    }
}

impl Boundary for Mock {
    fn open(&self, first_handle: u64, role: PeerRole, identity: &str) -> Result<u64, CkRv> {
        if first_handle == u64::MAX {
            return Err(CKR_HOST_MEMORY);
        }
        Ok(self.change(|state| {
            state.opened.push((first_handle, role, identity.to_owned()));
            let application = state.opened.len() as u64;
            state.open.insert(application, 0);
            application
        }))
    }

    fn answer(&self, application: u64, request: &[u8]) -> Result<Zeroizing<Vec<u8>>, CkRv> {
        self.change(|state| {
            match state.open.get_mut(&application) {
                Some(calls) => *calls += 1,
                None => state.wrongs.push(format!("call of {application}, which is closed")),
            }
            state.in_flight += 1;
            state.most_in_flight = state.most_in_flight.max(state.in_flight);
        });
        let answer = match request {
            [WAIT, ..] => {
                self.wait_for("the release", |state| state.released);
                Ok(Zeroizing::new(request.to_vec()))
            }
            [LARGE, mebibytes] => Ok(Zeroizing::new(vec![5; usize::from(*mebibytes) << 20])),
            [FAIL] => Err(CKR_DEVICE_REMOVED),
            other => Ok(Zeroizing::new(other.to_vec())),
        };
        self.change(|state| {
            state.in_flight -= 1;
            match state.open.get_mut(&application) {
                Some(calls) => *calls -= 1,
                None => state.wrongs.push(format!("{application} was closed during its call")),
            }
        });
        assert!(request != [PANIC], "as it was asked");
        answer
    }

    fn close(&self, application: u64) {
        self.change(|state| {
            match state.open.remove(&application) {
                Some(0) => {}
                Some(calls) => state.wrongs.push(format!("close of {application} in {calls} calls")),
                None => state.wrongs.push(format!("close of {application}, which is not open")),
            }
            state.closed += 1;
        });
    }

    fn standing(&self) -> Standing {
        Standing::WELL
    }
}

/// A server on sockets in a folder of its own.
pub(crate) struct Served {
    pub(crate) mock: Arc<Mock>,
    pub(crate) server: Server,
    pub(crate) config: ServeConfig,
    pub(crate) folder: TempDir,
    /// The port that TCP listens at.
    pub(crate) port: u16,
}

/// Two Unix sockets for this user, and time limits that nothing here reaches.
pub(crate) fn config(folder: &Path) -> ServeConfig {
    let ours = UserName::Id(rustix::process::geteuid().as_raw());
    let door = |name: &str| Some(UnixDoor { socket: folder.join(name), users: vec![ours.clone()] });
    ServeConfig {
        limits: ServeLimits { idle: 10 * LONG, frame: LONG, stop: LONG, ..ServeLimits::default() },
        monitoring: None,
        backend: door("backend.sock"),
        administrators: door("administrators.sock"),
        desk: None,
        tcp: None,
        vsock: None,
    }
}

pub(crate) fn serve() -> Served {
    serve_with(|_| {})
}

pub(crate) fn serve_with(change: impl FnOnce(&mut ServeConfig)) -> Served {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let mut config = config(folder.path());
    change(&mut config);
    serve_in(folder, config)
}

pub(crate) fn serve_in(folder: TempDir, config: ServeConfig) -> Served {
    let mock = Arc::new(Mock::default());
    let listeners = door::open(&config, Passed::default()).expect("the doors open");
    let port =
        listeners.iter().find_map(|door| door.address().ok()?.as_socket()).map_or(0, |place| place.port());
    let server = Server::start(&config, listeners, Arc::clone(&mock) as _).expect("it starts");
    Served { mock, server, config, folder, port }
}

impl Served {
    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A backend's connection to a new application.
    pub(crate) fn client(&self) -> Client {
        Client::open(&self.backend()).expect("it is welcome")
    }

    pub(crate) fn backend(&self) -> ConnectConfig {
        unix(&self.socket("backend.sock"))
    }

    pub(crate) fn administrator(&self) -> ConnectConfig {
        unix(&self.socket("administrators.sock"))
    }

    /// A metric's value, or 0 if it is not there yet.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.server.metrics().encode();
        let line =
            text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.and_then(|line| line.rsplit_once(' '))
            .map_or(0.0, |(_, number)| number.parse().expect("a number"))
    }

    pub(crate) fn wait_for_metric(&self, name: &str, wanted: f64) {
        eventually(&format!("{name} = {wanted}"), || self.metric(name) == wanted);
    }

    /// Checks that it serves, and has nothing left of earlier clients.
    pub(crate) fn assert_well(&self) {
        self.mock.wait_until_all_are_closed();
        let mut client = self.client();
        client.assert_echo(b"still here");
        drop(client);
        self.mock.wait_until_all_are_closed();
        for door in ["backend", "administrators", "tcp", "vsock"] {
            self.wait_for_metric(&format!("countersign_connections{{door=\"{door}\"}}"), 0.0);
        }
        for role in ["backend", "administrator"] {
            self.wait_for_metric(&format!("countersign_applications{{role=\"{role}\"}}"), 0.0);
        }
        self.wait_for_metric("countersign_calls_in_flight", 0.0);
        self.wait_for_metric("countersign_large_frames_bytes", 0.0);
    }
}

/// Waits for something that no thread reports.
pub(crate) fn eventually(what: &str, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < LONG, "{what} does not come");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A client of the socket at `path`.
pub(crate) fn unix(path: &Path) -> ConnectConfig {
    client_of(ConnectAddress::Unix { socket: path.into(), user: None })
}

pub(crate) fn client_of(address: ConnectAddress) -> ConnectConfig {
    ConnectConfig { address, connect: LONG, call: LONG, log: LogConfig::default(), desk: None }
}

/// An accepted connection.
pub(crate) struct Client {
    pub(crate) framed: Framed,
    pub(crate) secret: ApplicationSecret,
    pub(crate) max_frame: u32,
}

/// The response to a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Answer(Vec<u8>),
    Busy,
    Closed(CkRv),
}

impl Client {
    /// Begins an application.
    pub(crate) fn open(config: &ConnectConfig) -> Result<Client, ConnectError> {
        Client::greet(config, Hello { join: None, first_handle: 1 })
    }

    /// Joins an application.
    pub(crate) fn join(config: &ConnectConfig, secret: &ApplicationSecret) -> Result<Client, ConnectError> {
        Client::greet(config, Hello { join: Some(secret.clone()), first_handle: 1 })
    }

    pub(crate) fn greet(config: &ConnectConfig, hello: Hello) -> Result<Client, ConnectError> {
        let mut framed = Framed::new(Stream::connect(config)?, 64 << 20, Budget::unlimited());
        let (secret, max_frame) = framed.greet(&hello, VERSION, config)?;
        Ok(Client { framed, secret, max_frame })
    }

    pub(crate) fn call(&mut self, request: &[u8]) -> Option<Told> {
        self.framed.write([request, &[]]).ok()?;
        self.answer()
    }

    /// The response, or none if the connection is over.
    pub(crate) fn answer(&mut self) -> Option<Told> {
        match self.framed.read() {
            Ok(Received::Frame(Frame { payload, .. })) => {
                Some(match Response::decode(&payload).expect("a reply") {
                    Response::Answered(answer) => Told::Answer(answer.to_vec()),
                    Response::Busy => Told::Busy,
                    Response::Closed(rv) => Told::Closed(rv),
                })
            }
            Ok(Received::End) | Err(FrameError::Io(_) | FrameError::Cut) => None,
            Ok(Received::NoRoom) => panic!("a client has room"),
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn assert_echo(&mut self, text: &[u8]) {
        let request = [&[ECHO], text].concat();
        assert_eq!(self.call(&request), Some(Told::Answer(request)));
    }

    pub(crate) fn assert_over(&mut self) {
        assert_eq!(self.answer(), None);
    }
}

/// The reason why a client was refused.
pub(crate) fn refusal(config: &ConnectConfig) -> Refusal {
    refused(Client::open(config))
}

pub(crate) fn refused(result: Result<Client, ConnectError>) -> Refusal {
    match result.err().expect("it is not welcome") {
        ConnectError::Refused { refusal, .. } => refusal,
        other => panic!("{other}"),
    }
}

/// Does this as another user, if we may become one.
pub(crate) fn as_another_user<T: Send>(act: impl FnOnce(u32) -> T + Send) -> Option<T> {
    const NOBODY: u32 = 65534;
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tried: only root can become another user");
        return None;
    }
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            // For this thread alone, as the system calls do.
            let (group, user) = (Gid::from_raw(NOBODY), Uid::from_raw(NOBODY));
            rustix::thread::set_thread_res_gid(group, group, group).expect("root may");
            rustix::thread::set_thread_res_uid(user, user, user).expect("root may");
            act(NOBODY)
        });
        Some(other.join().expect("it does not panic"))
    })
}
