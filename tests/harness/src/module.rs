//! Shared by the tests of the interface: a boundary for each test, and clients of the real module.
//!
//! A process has one module, which reads its configuration from the environment. So a test that needs a
//! boundary runs its body in a process of its own. [`in_boundary`] makes a SoftHSM2 token and a configuration
//! in a temporary folder (`softhsm/setup.sh`), and runs the same test of the same executable again with the
//! environment set. A body can start further processes, each under the name of a role ([`Boundary::run`]).
//!
//! `COUNTERSIGN_MODULE` names a module other than `target/debug/libcountersign.so`.

pub mod cli;
pub mod digest;
pub mod doors;
pub mod raw;
pub mod shim;
pub mod store;
mod token;
pub mod wallet;

use std::cell::Cell;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use countersign::paths::with_suffix;
use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;
use totp_rs::{Algorithm, Builder, Totp};

use crate::Way;
use crate::built::MODULE;
pub use crate::built::module;
use crate::served::Served;
pub use crate::{assert_rv, root, target_folder, this_test};
use raw::Raw;

/// The security officer's PIN in every test.
pub const SO_PIN: &str = "officer-2f71c0";
/// The backend's PIN in every test.
pub const USER_PIN: &str = "backend-9d04ab";
/// A policy that every transaction of [`wallet::Payment`] passes.
pub const LIMITS: &str = "max_transaction_sat = 100000\nmax_fee_sat = 5000\n";
/// Seconds of a time step: long, so that a test sees at most one change of the step.
pub const PERIOD: u64 = 120;

const FOLDER: &str = "COUNTERSIGN_TEST_FOLDER";
const ROLE: &str = "COUNTERSIGN_TEST_ROLE";
/// The role of the body itself.
const BODY: &str = "body";
/// The role that only initialises the module and reports the answer.
const PROBE: &str = "probe";
/// The note with the process that serves a boundary.
const SERVED_BY: &str = "serve.pid";
/// The beginning of the lines that the first process prints.
const SUMMARY: &str = "summary: ";

/// A boundary: a folder with a backing token, a configuration and, once initialised, a store.
pub struct Boundary {
    folder: PathBuf,
    test: String,
    role: String,
}

/// Runs `body` in a process of its own with a fresh boundary, and returns what it wrote to standard error.
pub fn in_boundary(test: &str, body: impl FnOnce(&Boundary)) -> String {
    in_boundary_of(test, None, body)
}

/// As [`in_boundary`], with another module than the one under test.
pub fn in_boundary_of(test: &str, other_module: Option<&Path>, body: impl FnOnce(&Boundary)) -> String {
    in_prepared_boundary(test, other_module, Way::Direct, |_| (), body)
}

/// As [`in_boundary_of`], after `prepare` has changed the folder, and reached in this way.
pub fn in_prepared_boundary(
    test: &str,
    other_module: Option<&Path>,
    way: Way,
    prepare: impl FnOnce(&Boundary),
    body: impl FnOnce(&Boundary),
) -> String {
    if let (Some(folder), Ok(role)) = (env::var_os(FOLDER), env::var(ROLE)) {
        let boundary = Boundary { folder: folder.into(), test: test.into(), role };
        if boundary.role == PROBE {
            report("rv", format!("{:#x}", Raw::load().initialize()));
        } else {
            body(&boundary);
        }
        // The rest of the test is for the first process only.
        std::process::exit(0);
    }
    let temporary = tempfile::tempdir().expect("a temporary folder can be made");
    let boundary =
        Boundary { folder: temporary.path().join("boundary"), test: test.into(), role: String::new() };
    boundary.set_up(token::copy_to);
    prepare(&boundary);
    let served = (way == Way::Served).then(|| Served::start(&boundary));
    if let Some(served) = &served {
        boundary.note(SERVED_BY, &served.process().to_string());
    }
    let mut command = boundary.command(BODY);
    if let Some(module) = other_module {
        command.env(MODULE, module);
    }
    let finished = Finished::of(&mut command).expect_success();
    finished.stdout.lines().filter_map(|line| line.strip_prefix(SUMMARY)).for_each(|line| println!("{line}"));
    served.map_or(String::new(), |served| served.log()) + &finished.stderr
}

impl Boundary {
    /// Makes a second boundary with a token of its own. It shares the processes of this test.
    pub fn another(&self, name: &str) -> Boundary {
        let folder = self.folder.parent().expect("it is in a temporary folder").join(name);
        let boundary = Boundary { folder, test: self.test.clone(), role: String::new() };
        boundary.set_up(token::make_in);
        boundary
    }

    /// Makes a boundary in `folder`, for programs other than this executable.
    pub fn in_folder(folder: PathBuf) -> Boundary {
        let boundary = Boundary { folder, test: String::new(), role: String::new() };
        boundary.set_up(token::copy_to);
        boundary
    }

    fn set_up(&self, make: impl FnOnce(&Path)) {
        make(&self.folder);
        let mut conf = fs::read_to_string(self.conf()).expect("setup.sh wrote it");
        conf.push_str("\n[log]\nlevel = \"info\"\n");
        fs::write(self.conf(), conf).expect("the folder is ours");
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The configuration. If the boundary is served, it is a client's.
    pub fn conf(&self) -> PathBuf {
        let client = self.folder.join("client.toml");
        if client.exists() { client } else { self.folder.join("countersign.toml") }
    }

    /// Logs failures only, for a test that has more calls refused than anybody will read.
    pub fn log_failures_only(&self) {
        let text = fs::read_to_string(self.conf()).expect("setup.sh wrote it");
        fs::write(self.conf(), text.replace("level = \"info\"", "level = \"error\""))
            .expect("the folder is ours");
    }

    /// Allows the most wrong codes an hour that the configuration can, for a test that needs many.
    pub fn allow_many_failures(&self) {
        let mut text = fs::read_to_string(self.conf()).expect("setup.sh wrote it");
        text.push_str("\n[limits]\nfailures_per_hour = 1000000\n");
        fs::write(self.conf(), text).expect("the folder is ours");
    }

    /// Makes its processes give up on a failed write after so many seconds.
    pub fn reopen_for(&self, seconds: u64) {
        let text = fs::read_to_string(self.conf()).expect("setup.sh wrote it");
        let table = format!("[store]\nreopen_seconds = {seconds}\n");
        assert!(text.contains("[store]\n"), "{text}");
        fs::write(self.conf(), text.replacen("[store]\n", &table, 1)).expect("the folder is ours");
    }

    /// The store.
    pub fn store(&self) -> PathBuf {
        self.folder.join("countersign.db")
    }

    /// The folder of SoftHSM2's tokens.
    pub fn tokens(&self) -> PathBuf {
        self.folder.join("tokens")
    }

    /// The process that serves the boundary, if one does.
    pub fn served_by(&self) -> Option<u32> {
        let noted = fs::read_to_string(self.folder.join(SERVED_BY)).ok()?;
        Some(noted.parse().expect("it was noted as a number"))
    }

    /// The role of this process: `body`, or the name that [`Boundary::run`] gave.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// Leaves a note for the test's other processes.
    pub fn note(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).expect("the folder is ours");
    }

    /// Reads a note.
    pub fn noted(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).expect("it was noted before")
    }

    /// A command that runs this test in `role`.
    pub fn command(&self, role: &str) -> Command {
        self.command_under::<&str>(&[], role)
    }

    /// The same command, run by another program: `strace …`, `faketime …`.
    pub fn command_under<S: AsRef<OsStr>>(&self, by: &[S], role: &str) -> Command {
        let executable = env::current_exe().expect("the system names the running executable");
        let mut command = match by.split_first() {
            None => Command::new(executable),
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(executable);
                command
            }
        };
        command
            .args(["--exact", &self.test, "--nocapture", "--test-threads=1"])
            .env("SOFTHSM2_CONF", self.folder.join("softhsm2.conf"))
            .env("COUNTERSIGN_CONF", self.conf())
            .env(FOLDER, &self.folder)
            .env(ROLE, role)
            // Cargo names every folder that something was built in, and the loader looks into each of them:
            // hundreds of calls that are not the module's.
            .env_remove("LD_LIBRARY_PATH")
            .stdin(Stdio::null());
        command
    }

    /// Runs this test in `role`, and expects it to succeed.
    pub fn run(&self, role: &str) -> Finished {
        Finished::of(&mut self.command(role)).expect_success()
    }

    /// Initialises the module in a process of its own.
    pub fn probe(&self) -> Probe {
        self.probe_with(|_| ())
    }

    /// The same, with the command changed by `change`.
    pub fn probe_with(&self, change: impl FnOnce(&mut Command)) -> Probe {
        let mut command = self.command(PROBE);
        change(&mut command);
        let finished = Finished::of(&mut command).expect_success();
        let rv = finished.value("rv").trim_start_matches("0x").to_owned();
        Probe { rv: CK_RV::from_str_radix(&rv, 16).expect("it is reported so"), stderr: finished.stderr }
    }

    /// Copies the whole boundary to the folder `name` beside it, and replaces what is there.
    pub fn save(&self, name: &str) {
        let copy = self.folder.with_file_name(name);
        let _ = fs::remove_dir_all(&copy);
        copy_folder(&self.folder, &copy);
    }

    /// Puts the copy called `name` back.
    pub fn restore(&self, name: &str) {
        fs::remove_dir_all(&self.folder).expect("the folder is ours");
        copy_folder(&self.folder.with_file_name(name), &self.folder);
    }
}

/// The store alone.
impl Boundary {
    /// The store's files: the database and SQLite's journal. SQLite makes the shared index again from the
    /// journal.
    pub fn store_files(&self) -> [PathBuf; 2] {
        [self.store(), with_suffix(&self.store(), "-wal")]
    }

    /// Removes the store.
    pub fn remove_store(&self) {
        for suffix in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(with_suffix(&self.store(), suffix));
        }
    }

    /// Takes the store's files from the copy `name`, and leaves the rest as it is.
    pub fn restore_store(&self, name: &str) {
        self.remove_store();
        for file in self.store_files() {
            let copy = self.folder.with_file_name(name).join(file.file_name().expect("it has a name"));
            if copy.exists() {
                fs::copy(&copy, &file).expect("the folder is ours");
            }
        }
    }
}

/// What `C_Initialize` answered in another process, and what was written to standard error.
pub struct Probe {
    /// The answer.
    pub rv: CK_RV,
    /// Standard error.
    pub stderr: String,
}

/// Another process of this test that has ended.
pub struct Finished {
    /// How it ended.
    pub status: std::process::ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Finished {
        let program = command.get_program().to_owned();
        let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| {
            panic!(
                "{} does not start: {error}; install it (Debian: apt-get install strace faketime)",
                program.display()
            )
        });
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Finished { status, stdout: text(stdout), stderr: text(stderr) }
    }

    /// Fails with all output unless the process succeeded.
    pub fn expect_success(self) -> Finished {
        assert!(
            self.status.success(),
            "a process of this test: {}\n--- stdout\n{}\n--- stderr\n{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }

    /// The value that the process passed to [`report`] under this name.
    pub fn value(&self, name: &str) -> &str {
        self.stdout
            .lines()
            .find_map(|line| line.split_once(&format!("report {name}="))?.1.into())
            .unwrap_or_else(|| panic!("{name} was not reported:\n{}\n{}", self.stdout, self.stderr))
    }
}

/// Reports a value to the process that started this one.
pub fn report(name: &str, value: impl std::fmt::Display) {
    println!("\nreport {name}={value}");
}

/// Prints a line from the body about how much was tried.
pub fn summarise(line: impl std::fmt::Display) {
    println!("\n{SUMMARY}{line}");
}

/// Copies all files of a folder, with their modes and owners.
pub fn copy_folder(from: &Path, to: &Path) {
    if !to.exists() {
        fs::create_dir_all(to).expect("the folder is ours");
        let permissions = fs::metadata(from).expect("it is there").permissions();
        fs::set_permissions(to, permissions).expect("the folder is ours");
    }
    for entry in fs::read_dir(from).expect("it is there") {
        let entry = entry.expect("it can be read");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("it can be read").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("the folder is ours");
        }
    }
}

/// Unix time in seconds.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs()
}

/// A user's authenticator app, made from the `otpauth://` URI alone.
pub struct Authenticator {
    name: String,
    uri: String,
    totp: Totp,
    period: u64,
    /// The first step whose code the app has not given out.
    next: Cell<u64>,
}

impl Authenticator {
    /// Scans the URI.
    pub fn scan(name: &str, uri: &str) -> Authenticator {
        let (label, query) = uri.split_once('?').expect("a URI with a query");
        assert!(label.starts_with("otpauth://totp/"), "{label}");
        let field = |wanted: &str| {
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find_map(|(key, value)| (key == wanted).then_some(value))
                .unwrap_or_else(|| panic!("the URI has no {wanted}"))
        };
        let secret =
            data_encoding::BASE32_NOPAD.decode(field("secret").as_bytes()).expect("the secret is base 32");
        let period = field("period").parse().expect("a number");
        let totp = Builder::new()
            .with_algorithm(match field("algorithm") {
                "SHA1" => Algorithm::SHA1,
                "SHA256" => Algorithm::SHA256,
                "SHA512" => Algorithm::SHA512,
                other => panic!("algorithm {other}"),
            })
            .with_digits(field("digits").parse().expect("a number"))
            .with_step_duration(period)
            .with_secret(secret)
            .build()
            .expect("the module makes what RFC 6238 allows");
        Authenticator { name: name.into(), uri: uri.into(), totp, period, next: Cell::new(0) }
    }

    /// The user.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URI.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The code of the first valid step that the app has not given out.
    ///
    /// The search begins with the current step. If that step ends meanwhile, its code is still valid for a
    /// whole period.
    pub fn code(&self) -> String {
        self.next_code().unwrap_or_else(|| panic!("{} has no live code left: take another user", self.name))
    }

    /// The same, if there is such a code now.
    pub fn next_code(&self) -> Option<String> {
        let current = now() / self.period;
        let step = self.next.get().max(current);
        (step <= current + 1).then(|| {
            self.next.set(step + 1);
            self.code_of(step)
        })
    }

    /// The code that the app gave out last.
    pub fn last_code(&self) -> String {
        self.code_of(self.next.get() - 1)
    }

    /// The code of the step that is so many steps away from the current one.
    pub fn code_away(&self, steps: i64) -> String {
        self.code_of((now() / self.period).checked_add_signed(steps).expect("after 1970"))
    }

    /// Digits that are the code of no nearby step.
    pub fn wrong_code(&self) -> String {
        let current = now() / self.period;
        let near: Vec<String> = (current - 3..=current + 3).map(|step| self.code_of(step)).collect();
        let digits = near[0].len();
        (0..)
            .map(|number| format!("{number:0digits$}"))
            .find(|code| !near.contains(code))
            .expect("there are more codes than steps")
    }

    fn code_of(&self, step: u64) -> String {
        self.totp.generate(step * self.period).to_string()
    }
}

/// One record of the mechanism parameter with a code of a time step, as `include/countersign.h` lays it out.
pub fn approval(user: &str, code: &str) -> [u8; 128] {
    approval_by(1, user, code)
}

/// The same with the factor of this number.
pub fn approval_by(factor: u8, user: &str, code: &str) -> [u8; 128] {
    let mut record = [0; 128];
    record[..4].copy_from_slice(&[1, factor, user.len() as u8, code.len() as u8]);
    record[4..4 + user.len()].copy_from_slice(user.as_bytes());
    record[64..64 + code.len()].copy_from_slice(code.as_bytes());
    record
}

/// Initialises module and token, and sets both PINs.
pub fn initialised_token() -> Raw {
    let raw = Raw::load();
    assert_rv!(raw.initialize(), CKR_OK);
    assert_rv!(raw.init_token(0, SO_PIN.as_bytes(), "token of the tests"), CKR_OK);
    let so = raw.so();
    assert_rv!(raw.init_pin(so, USER_PIN.as_bytes()), CKR_OK);
    assert_rv!(raw.close_all(), CKR_OK);
    raw
}

/// Enrols a user, who has not confirmed.
pub fn enrol(raw: &Raw, so: CK_SESSION_HANDLE, name: &str) -> Authenticator {
    enrol_with(raw, so, name, PERIOD)
}

/// The same, with a time step of so many seconds.
pub fn enrol_with(raw: &Raw, so: CK_SESSION_HANDLE, name: &str, period: u64) -> Authenticator {
    let template = [
        (CKA_LABEL, name.as_bytes().to_vec()),
        (CKA_OTP_TIME_INTERVAL, ulong(period)),
        (CKA_OTP_LENGTH, ulong(8)),
    ];
    let user = raw
        .generate_key(so, CKM_COUNTERSIGN_TOTP_KEY_GEN, &template)
        .unwrap_or_else(|rv| panic!("C_GenerateKey answered {rv:#x}"));
    let uri = raw
        .attribute(so, user, CKA_COUNTERSIGN_OTPAUTH_URI)
        .unwrap_or_else(|rv| panic!("the URI was answered by {rv:#x}"));
    Authenticator::scan(name, &String::from_utf8(uri).expect("a URI is ASCII"))
}

/// Enrols a user and confirms with the first code, which spends it.
pub fn enrol_confirmed(raw: &Raw, so: CK_SESSION_HANDLE, name: &str) -> Authenticator {
    let authenticator = enrol(raw, so, name);
    assert_rv!(raw.verify(so, raw.user_key(so, name), &authenticator.code()), CKR_OK);
    authenticator
}

/// Creates a wallet on regtest, and returns its descriptor.
pub fn create_wallet(raw: &Raw, so: CK_SESSION_HANDLE, label: &str, users: &[&str], policy: &str) -> String {
    let template = [
        (CKA_LABEL, label.as_bytes().to_vec()),
        (CKA_COUNTERSIGN_NETWORK, b"regtest".to_vec()),
        (CKA_COUNTERSIGN_USERS, users.join("\n").into_bytes()),
        (CKA_COUNTERSIGN_POLICY, policy.as_bytes().to_vec()),
    ];
    let (public, _) = raw
        .generate_key_pair(so, CKM_COUNTERSIGN_WALLET_KEY_GEN, &template, &[])
        .unwrap_or_else(|rv| panic!("C_GenerateKeyPair answered {rv:#x}"));
    let descriptor = raw
        .attribute(so, public, CKA_COUNTERSIGN_DESCRIPTOR)
        .unwrap_or_else(|rv| panic!("the descriptor was answered by {rv:#x}"));
    String::from_utf8(descriptor).expect("a descriptor is ASCII")
}

/// A token with one wallet, `treasury`, and the backend logged in.
pub struct Stage {
    /// The module.
    pub raw: Raw,
    /// The backend's session.
    pub session: CK_SESSION_HANDLE,
    /// The wallet's private key.
    pub key: CK_OBJECT_HANDLE,
    /// The wallet's descriptor.
    pub descriptor: String,
    /// The users, all of whom have confirmed.
    pub users: Vec<Authenticator>,
}

impl Stage {
    /// Sets everything up for these users, with [`LIMITS`].
    pub fn new(users: &[&str]) -> Stage {
        let raw = initialised_token();
        let so = raw.so();
        let authenticators = users.iter().map(|name| enrol_confirmed(&raw, so, name)).collect();
        let descriptor = create_wallet(&raw, so, "treasury", users, LIMITS);
        assert_rv!(raw.close_all(), CKR_OK);
        let session = raw.user();
        let key = raw.wallet_key(session, "treasury");
        Stage { raw, session, key, descriptor, users: authenticators }
    }

    /// A PSBT that [`LIMITS`] allow, another one each time.
    pub fn psbt(&self) -> Vec<u8> {
        wallet::Payment::default().psbt(&self.descriptor)
    }

    /// Signs with the code in the mechanism's parameter.
    pub fn sign(&self, user: &str, code: &str, psbt: &[u8]) -> Result<Vec<u8>, CK_RV> {
        self.raw.countersign(self.session, self.key, &approval(user, code), psbt)
    }

    /// Wrong tries of a user in the last 30 days.
    pub fn failures(&self, user: &str) -> CK_ULONG {
        let key = self.raw.user_key(self.session, user);
        read_ulong(&self.raw, self.session, key, CKA_COUNTERSIGN_FAILURES)
    }

    /// Logs the backend out, lets the security officer do `work`, and logs the backend in again.
    pub fn as_so(&mut self, work: impl FnOnce(&Raw, CK_SESSION_HANDLE)) {
        assert_rv!(self.raw.close_all(), CKR_OK);
        let so = self.raw.so();
        work(&self.raw, so);
        assert_rv!(self.raw.close_all(), CKR_OK);
        self.session = self.raw.user();
        self.key = self.raw.wallet_key(self.session, "treasury");
    }
}

/// Reads an attribute that is a `CK_ULONG`.
pub fn read_ulong(
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    kind: CK_ATTRIBUTE_TYPE,
) -> CK_ULONG {
    let value = raw.attribute(session, object, kind).unwrap_or_else(|rv| panic!("answered by {rv:#x}"));
    CK_ULONG::from_ne_bytes(value.try_into().expect("it is a CK_ULONG"))
}

/// The value of an attribute that is a `CK_ULONG`.
pub fn ulong(value: CK_ULONG) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

/// Fails unless a call gave this answer, and prints both by their names in the header.
#[macro_export]
macro_rules! assert_rv {
    ($call:expr, $wanted:expr) => {
        $crate::assert_rv!($call, $wanted, "")
    };
    ($call:expr, $wanted:expr, $($what:tt)+) => {{
        let (answered, wanted): (cryptoki_sys::CK_RV, cryptoki_sys::CK_RV) = ($call, $wanted);
        assert!(
            answered == wanted,
            "{} answered {answered:#x}, not {} = {wanted:#x} {}",
            stringify!($call),
            stringify!($wanted),
            format!($($what)+)
        );
    }};
}
