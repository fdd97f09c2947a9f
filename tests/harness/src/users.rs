//! A boundary that runs as its own user, and the users that call it.
//!
//! ```text
//! FOLDER/            root, 0755
//!   bin/             the programs, where every user can run them
//!   release/         the signed module
//!   boundary/        BOUNDARY, 0700: token, PINs, store, floor, configuration, log
//!   run/             BOUNDARY, 0755: the sockets
//!   client/          BACKEND, 0700: the backend's files
//!   desk/            DESK, 0700: the desk's files
//!   notes/           root, 0700: the test's notes
//! ```

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use cryptoki_sys::*;
use data_encoding::HEXLOWER;
use rustix::fs::Mode;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit, umask};
use rustix::thread::CapabilitySet;

use crate::built::place;
use crate::module::digest::{create_digest_key, fresh_digest};
use crate::module::raw::Raw;
use crate::module::wallet::Payment;
use crate::module::{
    Authenticator, Finished, LIMITS, approval, assert_rv, create_wallet, enrol_confirmed, module, root,
};
use crate::program;
use crate::served::Release;

/// The user that the boundary runs as. None of these users is in the machine's user database.
pub const BOUNDARY: u32 = 61_601;
/// The user that backends run as.
pub const BACKEND: u32 = 61_602;
/// The user that the desk runs as.
pub const DESK: u32 = 61_603;
/// Longer than any step here takes.
pub const LONG: Duration = Duration::from_secs(60);
/// The wallet.
pub const WALLET: &str = "treasury";
/// The key that signs digests.
pub const DIGEST_KEY: &str = "sidechain";
/// The user of the wallet and of the key.
pub const USER: &str = "alice";

/// Gives everybody access to every new file, and allows core files.
pub const CARELESS: &str = "umask 000; ulimit -c $(ulimit -H -c); exec \"$@\"";

const FOLDER: &str = "COUNTERSIGN_TEST_FOLDER";
const ROLE: &str = "COUNTERSIGN_TEST_ROLE";
/// The role of the test itself, as root.
const BODY: &str = "body";
const ADMINISTRATOR: &str = "administrator";

/// Everything that belongs to a test.
pub struct Wall {
    folder: PathBuf,
    test: String,
    role: String,
}

/// Runs `body` as root with a boundary that is set up but does not serve yet, and again in each process that
/// the body starts with [`Wall::run`].
pub fn behind_the_wall(test: &str, body: impl FnOnce(&Wall)) {
    if let (Some(folder), Ok(role)) = (env::var_os(FOLDER), env::var(ROLE)) {
        let wall = Wall { folder: folder.into(), test: test.into(), role };
        if wall.role == ADMINISTRATOR {
            wall.administrate();
        } else {
            body(&wall);
        }
        // The rest of the test is for the first process only.
        std::process::exit(0);
    }
    if !rustix::process::geteuid().is_root() {
        return again_as_root(test);
    }
    if let Err(why) = allow_to_lock_memory() {
        return eprintln!("not tried: {why}");
    }
    // Other users must be able to run and read these files. All others get an explicit mode.
    umask(Mode::from_raw_mode(0o022));
    let temporary = tempfile::tempdir().expect("a temporary folder can be made");
    let wall = Wall { folder: temporary.path().join("wall"), test: test.into(), role: BODY.into() };
    wall.set_up(temporary.path());
    body(&wall);
}

/// Where root makes temporary files: in memory if we do, but not in our own folder, because the boundary trusts none that an ordinary user
/// could change.
pub fn temporary_of_root() -> String {
    const MEMORY: &str = "/dev/shm";
    let folder = env::temp_dir();
    format!("TMPDIR={}", if folder.starts_with(MEMORY) { MEMORY } else { "/tmp" })
}

fn again_as_root(test: &str) {
    let sudo = |arguments: &[&str]| Command::new("sudo").arg("-n").args(arguments).output();
    if !sudo(&["true"]).is_ok_and(|done| done.status.success()) {
        return eprintln!(
            "not tried: only root can become two users; run it as root, or where \"sudo -n\" works"
        );
    }
    let executable = env::current_exe().expect("the system names the running executable");
    let module = format!("COUNTERSIGN_MODULE={}", module().display());
    let executable = executable.to_str().expect("its path is UTF-8");
    let is_seen = sudo(&["test", "-x", executable]).is_ok_and(|done| done.status.success());
    assert!(is_seen, "root does not see {executable}: build in a folder that every user sees");
    let temporary = temporary_of_root();
    let words = ["env", &module, &temporary, executable, "--exact", test, "--nocapture"];
    let done = sudo(&words).expect("it started before");
    let text = [done.stdout, done.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(done.status.success() && text.contains("1 passed"), "as root: {text}");
}

/// The boundary may lock memory because of an inherited limit or because of a capability. In a container,
/// root may be unable to raise a limit that was lowered for good.
static BY_CAPABILITY: OnceLock<bool> = OnceLock::new();

fn allow_to_lock_memory() -> Result<(), String> {
    let none = Rlimit { current: None, maximum: None };
    let by_limit = setrlimit(Resource::Memlock, none).is_ok();
    let sets = rustix::thread::capabilities(None).map_err(|error| error.to_string())?;
    let by_capability = sets.permitted.contains(CapabilitySet::IPC_LOCK);
    BY_CAPABILITY.get_or_init(|| !by_limit);
    if by_limit || by_capability {
        return Ok(());
    }
    Err("memory cannot be locked here: there is neither CAP_SYS_RESOURCE nor CAP_IPC_LOCK".into())
}

/// The words before a program that make it run as `user`, in no other group than the user's.
pub fn becoming(user: u32) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    if user != 0 {
        let user = user.to_string();
        words.extend(["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"].map(OsString::from));
    }
    if user == BOUNDARY && BY_CAPABILITY.get().is_some_and(|so| *so) {
        words.extend(["--inh-caps=+ipc_lock", "--ambient-caps=+ipc_lock"].map(OsString::from));
    }
    words
}

impl Wall {
    fn set_up(&self, temporary: &Path) {
        fs::set_permissions(temporary, Permissions::from_mode(0o755)).expect("the folder is ours");
        self.make_folder("", 0, 0o755);
        for (name, user, mode) in [
            ("bin", 0, 0o755),
            ("boundary", BOUNDARY, 0o700),
            ("run", BOUNDARY, 0o755),
            ("client", BACKEND, 0o700),
            ("desk", DESK, 0o700),
            ("notes", 0, 0o700),
        ] {
            self.make_folder(name, user, mode);
        }
        let executable = env::current_exe().expect("the system names the running executable");
        for (from, name) in [
            (&executable, "wall"),
            (&program(), "countersign"),
            (&module(), "libcountersign.so"),
            (&root().join("softhsm/setup.sh"), "setup.sh"),
            (&root().join("softhsm/lib.sh"), "lib.sh"),
        ] {
            self.install(from, name);
        }
        let mut setup = self.start_as(BOUNDARY, "bash");
        setup.arg(self.path("bin/setup.sh")).arg(self.path("boundary"));
        let _ = Finished::of(&mut setup).expect_success();
        let release = Release::signed(&self.path("release"), 1);
        let (folder, boundary) = (self.folder.display(), self.path("boundary"));
        let inside = fs::read_to_string(boundary.join("countersign.toml")).expect("setup.sh wrote it")
            + &release.table(1, &boundary.join("plugin.floor"))
            + &format!(
                "\n[log]\nlevel = \"info\"\nfile = \"{folder}/boundary/countersign.log\"\n\
                 [serve]\nmonitoring = \"{folder}/run/monitoring.sock\"\n\
                 [serve.backend]\nsocket = \"{folder}/run/backend.sock\"\nusers = [{BACKEND}]\n\
                 [serve.administrators]\nsocket = \"{folder}/run/administrators.sock\"\nusers = [0]\n\
                 [serve.desk]\nsocket = \"{folder}/run/desk.sock\"\nuser = {DESK}\n"
            );
        self.configure(&inside);
        let _ = Finished::of(&mut self.countersign(&["plugin", "pin"])).expect_success();
        for name in ["so.pin", "user.pin"] {
            let mut bytes = [0; 16];
            getrandom::fill(&mut bytes).expect("the system gives randomness");
            self.note(name, &HEXLOWER.encode(&bytes));
        }
        self.give("user.pin", &self.noted("user.pin"));
        self.give("client.toml", &client(&self.path("run/backend.sock")));
        self.write("desk/client.toml", &client(&self.path("run/desk.sock")), DESK);
        self.note("client.toml", &client(&self.path("run/administrators.sock")));
    }

    fn make_folder(&self, name: &str, user: u32, mode: u32) {
        let folder = self.path(name);
        fs::create_dir(&folder).expect("the folder is ours");
        fs::set_permissions(&folder, Permissions::from_mode(mode)).expect("the folder is ours");
        chown(&folder, Some(user), Some(user)).expect("root may");
    }

    fn install(&self, from: &Path, name: &str) {
        let to = self.path("bin").join(name);
        place(from, &to);
        let mode = fs::metadata(&to).expect("it is there").permissions().mode();
        // The system protects a process whose user cannot read its program, which would hide our own
        // protection.
        assert!(mode & 0o004 != 0, "{name} has mode {mode:o}");
    }

    /// A file or folder of the boundary's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.folder.clone() } else { self.folder.join(name) }
    }

    /// The role of this process: `body`, or the name that [`Wall::run`] gave.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// The configuration of the boundary.
    pub fn configuration(&self) -> String {
        fs::read_to_string(self.path("boundary/inside.toml")).expect("it was written")
    }

    /// Writes the configuration of the boundary.
    pub fn configure(&self, text: &str) {
        self.write("boundary/inside.toml", text, BOUNDARY);
    }

    /// Notes something that only the test knows.
    pub fn note(&self, name: &str, text: &str) {
        self.write(&format!("notes/{name}"), text, 0);
    }

    /// Reads a note.
    pub fn noted(&self, name: &str) -> String {
        fs::read_to_string(self.path("notes").join(name)).expect("it was noted before")
    }

    /// Gives a file to the backend.
    pub fn give(&self, name: &str, text: &str) {
        self.write(&format!("client/{name}"), text, BACKEND);
    }

    /// Reads such a file, as the backend.
    pub fn given(&self, name: &str) -> String {
        fs::read_to_string(self.path("client").join(name)).expect("it was given before")
    }

    /// Writes a file of `user` that nobody else may read.
    pub fn write(&self, name: &str, text: &str, user: u32) {
        let path = self.path(name);
        fs::write(&path, text).expect("root may");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("root may");
        chown(&path, Some(user), Some(user)).expect("root may");
    }
}

/// A client's configuration for a Unix socket.
fn client(socket: &Path) -> String {
    format!("[connect]\naddress = \"unix:{}\"\n\n[log]\nlevel = \"info\"\n", socket.display())
}

/// Other processes.
impl Wall {
    /// A program, ready to run as `user` with none of our environment.
    pub fn start_as(&self, user: u32, program: impl AsRef<OsStr>) -> Command {
        let mut words = becoming(user);
        words.push(program.as_ref().to_owned());
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    /// This test in a role, as `user`.
    pub fn command(&self, user: u32, role: &str) -> Command {
        let configuration = match user {
            BACKEND => "client/client.toml",
            DESK => "desk/client.toml",
            _ => "notes/client.toml",
        };
        let mut command = self.start_as(user, self.path("bin/wall"));
        command
            .args(["--exact", &self.test, "--nocapture", "--test-threads=1"])
            .env("COUNTERSIGN_CONF", self.path(configuration))
            .env("COUNTERSIGN_MODULE", self.path("bin/libcountersign.so"))
            .env(FOLDER, &self.folder)
            .env(ROLE, role);
        command
    }

    /// Runs this test in a role, as `user`, and expects it to succeed.
    pub fn run(&self, user: u32, role: &str) -> Finished {
        Finished::of(&mut self.command(user, role)).expect_success()
    }

    /// A command with the boundary's own configuration.
    pub fn countersign(&self, arguments: &[&str]) -> Command {
        let mut command = self.start_as(BOUNDARY, self.path("bin/countersign"));
        command
            .arg("--config")
            .arg(self.path("boundary/inside.toml"))
            .args(arguments)
            .env("SOFTHSM2_CONF", self.path("boundary/softhsm2.conf"));
        command
    }

    /// The desk's process, with the configuration in its folder.
    pub fn desk(&self) -> Command {
        // A desk is started again from the file that it ran from.
        if !self.path("bin/countersign-desk").exists() {
            self.install(&crate::built::desk(), "countersign-desk");
        }
        let mut command = self.start_as(DESK, self.path("bin/countersign-desk"));
        command
            .arg("--config")
            .arg(self.path("desk/desk.toml"))
            .env("COUNTERSIGN_MODULE", self.path("bin/libcountersign.so"));
        command
    }

    /// A shell script, as the boundary's user, in a folder where it could write a core file.
    pub fn script(&self, script: &str) -> Command {
        // Signals may be ignored because of the process that started the tests, as a shell does for
        // background jobs.
        let mut command = self.start_as(BOUNDARY, "env");
        command.args(["--default-signal=INT,QUIT", "sh", "-c", script, "sh"]).current_dir(self.path("run"));
        command
    }

    /// The boundary, ready to be started by a script that ends with `exec "$@"`.
    pub fn boundary_by(&self, script: &str) -> Command {
        let mut command = self.script(script);
        command
            .arg(self.path("bin/countersign"))
            .arg("--config")
            .arg(self.path("boundary/inside.toml"))
            .arg("serve")
            .env("SOFTHSM2_CONF", self.path("boundary/softhsm2.conf"));
        command
    }

    /// The boundary, ready to be started by somebody careless.
    pub fn boundary(&self) -> Command {
        self.boundary_by(CARELESS)
    }

    /// Starts the boundary, and waits until it is ready.
    pub fn serve(&self) -> Serving {
        self.serve_by(self.boundary())
    }

    /// The same, with a command of its own.
    pub fn serve_by(&self, mut command: Command) -> Serving {
        let log = File::options().create(true).append(true).open(self.path("notes/stderr"));
        command.stdout(Stdio::null()).stderr(log.expect("the folder is ours"));
        self.serve_as_it_is(command)
    }

    /// The same, with the command's standard output and error left as they are.
    pub fn serve_as_it_is(&self, mut command: Command) -> Serving {
        let (path, log) = (self.path("notify"), self.path("notes/stderr"));
        let _ = fs::remove_file(&path);
        let notified = UnixDatagram::bind(&path).expect("the folder is ours");
        fs::set_permissions(&path, Permissions::from_mode(0o777)).expect("the folder is ours");
        notified.set_read_timeout(Some(Duration::from_millis(50))).expect("ours");
        let child = command.env("NOTIFY_SOCKET", &path).spawn().expect("it runs");
        let mut serving = Serving { child, notified, logs: vec![log, self.path("boundary/countersign.log")] };
        let told = serving.told();
        assert!(told.starts_with("READY=1"), "{told}\n{}", serving.log());
        serving
    }

    /// Initialises the token, enrols [`USER`] and makes [`WALLET`] and [`DIGEST_KEY`], as an administrator.
    pub fn set_up_wallet(&self) -> Customer {
        let _ = self.run(0, ADMINISTRATOR);
        let alice = Authenticator::scan(USER, &self.noted("uri"));
        Customer { alice, descriptor: self.noted("descriptor") }
    }

    fn administrate(&self) {
        let (so_pin, user_pin) = (self.noted("so.pin"), self.noted("user.pin"));
        let raw = Raw::load();
        assert_rv!(raw.initialize(), CKR_OK);
        assert_rv!(raw.init_token(0, so_pin.as_bytes(), "behind the wall"), CKR_OK);
        let so = raw.read_write();
        assert_rv!(raw.login(so, CKU_SO, so_pin.as_bytes()), CKR_OK);
        assert_rv!(raw.init_pin(so, user_pin.as_bytes()), CKR_OK);
        let alice = enrol_confirmed(&raw, so, USER);
        self.note("uri", alice.uri());
        self.note("descriptor", &create_wallet(&raw, so, WALLET, &[USER], LIMITS));
        create_digest_key(&raw, so, DIGEST_KEY, &[USER], "unlimited = true");
        assert_rv!(raw.close_all(), CKR_OK);
    }
}

/// The world outside: the user's app and the watch-only wallet.
pub struct Customer {
    alice: Authenticator,
    descriptor: String,
}

impl Customer {
    /// An unused code.
    pub fn code(&self) -> String {
        // The code that confirmed was of the current step or an earlier one.
        self.alice.code_away(1)
    }

    /// Digits that are no code.
    pub fn wrong_code(&self) -> String {
        self.alice.wrong_code()
    }

    /// The user's secret, in base 32 (as in the app) and as bytes.
    pub fn secret(&self) -> (String, Vec<u8>) {
        let uri = self.alice.uri();
        let (_, rest) = uri.split_once("secret=").expect("it is in the URI");
        let secret = rest.split('&').next().unwrap_or(rest).to_owned();
        let bytes = data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).expect("base 32");
        (secret, bytes)
    }

    /// Makes a PSBT with the wallet, and gives it to the backend with a code.
    pub fn order(&self, wall: &Wall, code: &str) -> Vec<u8> {
        let psbt = Payment::default().psbt(&self.descriptor);
        wall.give("psbt", &HEXLOWER.encode(&psbt));
        wall.give("code", code);
        psbt
    }

    /// Gives a digest of another chain to the backend with a code.
    pub fn order_digest(&self, wall: &Wall, code: &str) {
        wall.give("digest", &HEXLOWER.encode(&fresh_digest()));
        wall.give("code", code);
    }
}

/// Signs an order, as a backend does, with the code that came with it.
pub fn sign_order(wall: &Wall) -> Result<Vec<u8>, CK_RV> {
    Backend::logged_in(wall).sign(wall)
}

/// A backend at work.
pub struct Backend {
    raw: Raw,
    session: CK_SESSION_HANDLE,
    key: CK_OBJECT_HANDLE,
}

impl Backend {
    pub fn logged_in(wall: &Wall) -> Backend {
        let raw = Raw::load();
        assert_rv!(raw.initialize(), CKR_OK);
        let session = raw.read_write();
        assert_rv!(raw.login(session, CKU_USER, wall.given("user.pin").as_bytes()), CKR_OK);
        Backend { raw, session, key: raw.wallet_key(session, WALLET) }
    }

    pub fn sign(&self, wall: &Wall) -> Result<Vec<u8>, CK_RV> {
        let psbt = HEXLOWER.decode(wall.given("psbt").as_bytes()).expect("hex");
        let record = approval(USER, &wall.given("code"));
        self.raw.countersign(self.session, self.key, &record, &psbt)
    }
}

/// A running boundary, which is ended when this is dropped.
pub struct Serving {
    pub child: Child,
    notified: UnixDatagram,
    logs: Vec<PathBuf>,
}

impl Serving {
    /// The process id.
    pub fn process(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The next message that it sent to the service manager.
    pub fn told(&mut self) -> String {
        let begun = Instant::now();
        let mut bytes = [0; 1024];
        loop {
            match self.notified.recv(&mut bytes) {
                Ok(length) => return String::from_utf8_lossy(&bytes[..length]).into_owned(),
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
                    let ended = self.child.try_wait().expect("it is ours");
                    assert!(ended.is_none(), "it ended with {ended:?}:\n{}", self.log());
                    assert!(begun.elapsed() < LONG, "nothing is told:\n{}", self.log());
                }
            }
        }
    }

    /// All output so far.
    pub fn log(&self) -> String {
        self.logs.iter().map(|path| fs::read_to_string(path).unwrap_or_default()).collect()
    }

    /// Sends a signal to the boundary, as root.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.process(), signal).expect("it runs");
    }

    /// Waits for the boundary's end.
    pub fn ended(mut self) -> ExitStatus {
        ended(&mut self.child).unwrap_or_else(|| panic!("it does not end:\n{}", self.log()))
    }

    /// Stops the boundary, and returns its status.
    pub fn stop(self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The status of a child that has ended, or none while it runs.
pub fn ended(child: &mut Child) -> Option<ExitStatus> {
    let begun = Instant::now();
    while begun.elapsed() < LONG {
        if let Some(status) = child.try_wait().expect("it is ours") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    None
}

/// Sends an HTTP request to a Unix socket, and returns the response.
pub fn http(socket: &Path, request: &str) -> std::io::Result<String> {
    use std::io::{Read, Write};
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LONG))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
