//! The memory of the boundary: another user sees nothing of it, and neither does the same one; no page of it
//! goes to a disk.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Instant;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use harness::module::{assert_rv, this_test};

use super::attack::{Bystander, by_signals, expect_refused, expect_works, on_memory, until_it_is};
use harness::users::{BACKEND, BOUNDARY, CARELESS, LONG, Wall, behind_the_wall, ended, sign_order};

/// The boundary's process id, in a process of a role.
fn target(wall: &Wall) -> Pid {
    let id: i32 = std::env::var("TARGET").expect("it was named").parse().expect("a number");
    assert!(wall.role() != "body");
    Pid::from_raw(id).expect("not nought")
}

/// Makes a process of `user` attack the boundary, in the role `attacker`.
fn attack_as(wall: &Wall, user: u32, target: Pid) {
    let mut command = wall.command(user, "attacker");
    command.env("TARGET", target.as_raw_nonzero().to_string());
    let _ = harness::module::Finished::of(&mut command).expect_success();
}

#[test]
fn a_backend_cannot_look_into_the_boundarys_process() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            let serving = wall.serve();
            let customer = wall.set_up_wallet();
            customer.order(wall, &customer.code());
            let _ = wall.run(BACKEND, "backend");
            attack_as(wall, BACKEND, serving.process());
            assert!(serving.stop().success());
        }
        "backend" => assert!(sign_order(wall).is_ok()),
        _ => {
            let bystander = Bystander::start();
            expect_works(&on_memory(bystander.process()));
            expect_refused(&on_memory(target(wall)));
        }
    });
}

#[test]
fn not_even_a_process_of_the_boundarys_own_user_looks_into_it() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            let serving = wall.serve();
            let process = fs::metadata(format!("/proc/{}/mem", serving.child.id())).expect("it runs");
            assert_eq!((process.uid(), process.gid()), (0, 0), "what is not dumpable is root's");
            attack_as(wall, BOUNDARY, serving.process());
            assert!(serving.stop().success());
        }
        _ => {
            let bystander = Bystander::start();
            expect_works(&on_memory(bystander.process()));
            expect_refused(&on_memory(target(wall)));
        }
    });
}

#[test]
fn a_backend_can_neither_stop_the_boundary_nor_have_it_write_a_core_file() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            let serving = wall.serve();
            attack_as(wall, BACKEND, serving.process());
            assert!(serving.stop().success(), "it goes on, and stops when it is told to");
        }
        _ => {
            let bystander = Bystander::start();
            expect_works(&by_signals(bystander.process()));
            expect_refused(&by_signals(target(wall)));
        }
    });
}

/// Whether a process started from here can leave a core file. sudo lowers the limit to nothing, and without `CAP_SYS_RESOURCE`, as
/// in some containers, root cannot raise it again.
fn may_leave_a_core_file() -> bool {
    let Rlimit { maximum, .. } = getrlimit(Resource::Core);
    maximum != Some(0) || setrlimit(Resource::Core, Rlimit { current: None, maximum: None }).is_ok()
}

#[test]
fn it_dies_without_a_core_file_whatever_its_limits_were() {
    behind_the_wall(this_test!(), |wall| {
        if !may_leave_a_core_file() {
            return eprintln!(
                "not tried: sudo took core files away (rlimit_core in sudoers), and this machine does not let root have them back"
            );
        }
        for signal in [Signal::QUIT, Signal::ABORT, Signal::SYS] {
            // An unprotected process leaves a core file, with the same signal and the same limits.
            let mut other = wall.script(CARELESS).args(["sleep", "600"]).spawn().expect("it runs");
            until_it_is(&other, "sleep");
            kill_process(Pid::from_child(&other), signal).expect("root may");
            let status = ended(&mut other).expect("it ends");
            assert_eq!((status.signal(), status.core_dumped()), (Some(signal.as_raw()), true), "{status}");
            for file in files_but_sockets(wall) {
                fs::remove_file(wall.path("run").join(file)).expect("root may");
            }

            let serving = wall.serve();
            serving.signal(signal);
            let status = serving.ended();
            assert_eq!((status.signal(), status.core_dumped()), (Some(signal.as_raw()), false), "{status}");
            assert_eq!(files_but_sockets(wall), Vec::<String>::new());
        }
    });
}

/// The files in the boundary's working folder, without its sockets and their locks.
fn files_but_sockets(wall: &Wall) -> Vec<String> {
    let entries = fs::read_dir(wall.path("run")).expect("it is there");
    let names = entries.map(|entry| entry.expect("listed").file_name().into_string().expect("UTF-8"));
    names.filter(|name| !name.ends_with(".sock") && !name.ends_with(".lock")).collect()
}

#[test]
fn every_page_of_the_boundary_is_locked_and_it_can_gain_nothing() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            let serving = wall.serve();
            let customer = wall.set_up_wallet();
            customer.order(wall, &customer.code());
            let _ = wall.run(BACKEND, "backend");
            // A lane is a thread that is made after everything was locked.
            let mut client = wall.command(BACKEND, "stay");
            let client = client.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
            let mut client = client.spawn().expect("it runs");
            wait_for(&mut client, "connected");
            let proc = |name: &str| {
                fs::read_to_string(format!("/proc/{}/{name}", serving.child.id())).expect("root may")
            };
            let status = proc("status");
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("it is Linux");
                line.trim().trim_end_matches(" kB").to_owned()
            };
            assert!(field("VmLck:").parse::<usize>().expect("a number") > 0);
            assert_eq!(field("VmSwap:"), "0");
            assert_eq!(field("NoNewPrivs:"), "1");
            assert_eq!(field("Umask:"), "0077");
            for rights in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
                let rights = u64::from_str_radix(&field(rights), 16).expect("it is Linux");
                let locking = rustix::thread::CapabilitySet::IPC_LOCK.bits();
                assert_eq!(rights & !locking, 0, "no right but that to lock memory");
            }
            let user = BOUNDARY.to_string();
            assert_eq!(field("Uid:").split_whitespace().collect::<Vec<_>>(), [&user; 4]);
            assert_eq!(field("Gid:").split_whitespace().collect::<Vec<_>>(), [&user; 4]);
            assert_eq!(field("Groups:"), "");
            let core = proc("limits");
            let core = core.lines().find(|line| line.starts_with("Max core file size")).expect("it is Linux");
            assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
            assert!(field("Threads:").parse::<usize>().expect("a number") >= 4, "{status}");
            let mut anonymous = 0;
            for mapping in mappings(&proc("smaps")) {
                let [resident, locked] = ["Anonymous:", "Locked:"].map(|name| mapping.kilobytes(name));
                anonymous += resident;
                if resident > 0 {
                    assert!(mapping.flags.contains(&"lo".to_owned()), "not locked: {}", mapping.name);
                    assert!(locked >= resident, "{locked} of {resident} kB are locked: {}", mapping.name);
                }
            }
            assert!(anonymous > 1024, "{anonymous} kB were looked at");
            drop(client.stdin.take());
            assert!(ended(&mut client).expect("it ends").success());
        }
        "backend" => assert!(sign_order(wall).is_ok()),
        _ => {
            let raw = harness::module::raw::Raw::load();
            assert_rv!(raw.initialize(), cryptoki_sys::CKR_OK);
            let _ = raw.read_write();
            println!("\nconnected");
            let _ = std::io::stdin().read_line(&mut String::new());
        }
    });
}

/// Reads a child's standard output until it contains `word`.
pub(crate) fn wait_for(child: &mut std::process::Child, word: &str) {
    use std::io::{BufRead, BufReader};
    let out = child.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(out).lines();
    let said = lines.any(|line| line.is_ok_and(|line| line == word));
    assert!(said, "it ended without a word");
}

/// One mapping of `proc_pid_smaps(5)`.
struct Mapping {
    name: String,
    fields: Vec<(String, usize)>,
    flags: Vec<String>,
}

impl Mapping {
    fn kilobytes(&self, name: &str) -> usize {
        self.fields.iter().find(|(field, _)| field == name).expect("it is Linux").1
    }
}

fn mappings(smaps: &str) -> Vec<Mapping> {
    let mut all: Vec<Mapping> = Vec::new();
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().expect("no line is empty");
        if !first.ends_with(':') {
            all.push(Mapping { name: line.into(), fields: vec![], flags: vec![] });
            continue;
        }
        let mapping = all.last_mut().expect("a mapping begins with its addresses");
        if first == "VmFlags:" {
            mapping.flags = words.map(str::to_owned).collect();
        } else if let Some(Ok(number)) = words.next().map(str::parse) {
            mapping.fields.push((first.into(), number));
        }
    }
    all
}

#[test]
fn a_backing_pin_in_the_environment_is_nobody_elses() {
    const VARIABLE: &str = "BACKING_PIN_OF_THE_TEST";
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            let file = wall.path("boundary/backing-user.pin");
            let pin = fs::read_to_string(&file).expect("root may");
            let named = format!("pin_file = \"{}\"", file.display());
            let configuration = wall.configuration();
            assert!(configuration.contains(&named));
            wall.configure(&configuration.replace(&named, &format!("pin_env = \"{VARIABLE}\"")));
            fs::remove_file(&file).expect("root may");
            let mut command = wall.boundary();
            command.env(VARIABLE, pin.trim());
            let serving = wall.serve_by(command);
            let environ = fs::read(format!("/proc/{}/environ", serving.child.id())).expect("root may");
            assert!(String::from_utf8_lossy(&environ).contains(pin.trim()), "this is where it is");
            for user in [BACKEND, BOUNDARY] {
                attack_as(wall, user, serving.process());
            }
            assert!(!serving.log().contains(pin.trim()));
            assert!(serving.stop().success());
        }
        _ => {
            let own = Command::new("env").env(VARIABLE, "x").output().expect("it runs");
            assert!(String::from_utf8_lossy(&own.stdout).contains(VARIABLE));
            let path = format!("/proc/{}/environ", target(wall).as_raw_nonzero());
            let error = fs::read(path).expect_err("it is the boundary's alone");
            assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
        }
    });
}

#[test]
fn it_is_hardened_before_it_reads_a_secret_and_before_anybody_can_connect() {
    behind_the_wall(this_test!(), |wall| {
        // It starts up to its last socket, whose place is taken.
        fs::write(wall.path("run/monitoring.sock"), "").expect("root may");
        let log = wall.path("notes/calls");
        let boundary = wall.boundary();
        let mut traced = Command::new("strace");
        traced
            .args(["-f", "-o"])
            .arg(&log)
            .args([
                "-e",
                "trace=prctl,prlimit64,setrlimit,mlockall,umask,open,openat,memfd_create,bind,listen",
            ])
            .arg(boundary.get_program())
            .args(boundary.get_args())
            .env("SOFTHSM2_CONF", wall.path("boundary/softhsm2.conf"));
        let finished = harness::module::Finished::of(&mut traced);
        assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
        let calls = fs::read_to_string(log).expect("root may");
        // In the calls of the program itself, which replaces itself once to read its configuration.
        let place = |what: &str, is: &dyn Fn(&str) -> bool| {
            calls.lines().position(is).unwrap_or_else(|| panic!("no {what} in:\n{calls}"))
        };
        let ends_well = |line: &str| line.ends_with("= 0");
        let hardened = [
            place("dumpable", &|line| line.contains("PR_SET_DUMPABLE, SUID_DUMP_DISABLE") && ends_well(line)),
            place("rights", &|line| line.contains("PR_SET_NO_NEW_PRIVS, 1") && ends_well(line)),
            place("core", &|line| line.contains("RLIMIT_CORE, {rlim_cur=0, rlim_max=0}") && ends_well(line)),
            place("lock", &|line| {
                line.contains("mlockall(MCL_CURRENT|MCL_FUTURE|MCL_ONFAULT)") && ends_well(line)
            }),
            place("umask", &|line| line.contains("umask(077)")),
        ];
        let last = hardened.into_iter().max().expect("there are some");
        for what in ["boundary/backing-user.pin", "boundary/tokens", "memfd_create(", " bind(", " listen("] {
            let first = place(what, &|line| line.contains(what));
            assert!(last < first, "{what} came before:\n{calls}");
        }
    });
}

#[test]
fn a_command_that_was_given_a_pin_cannot_be_looked_into_either() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            let serving = wall.serve();
            let _ = wall.set_up_wallet();
            let pin = wall.path("client/pin");
            rustix::fs::mknodat(rustix::fs::CWD, &pin, rustix::fs::FileType::Fifo, 0o600.into(), 0)
                .expect("root may");
            std::os::unix::fs::chown(&pin, Some(BACKEND), Some(BACKEND)).expect("root may");
            let mut command = wall.start_as(BACKEND, wall.path("bin/countersign"));
            let mut command = command
                .env("COUNTERSIGN_CONF", wall.path("client/client.toml"))
                .env("COUNTERSIGN_MODULE", wall.path("bin/libcountersign.so"))
                .args(["user", "list", "--user-pin-file"])
                .arg(&pin)
                .stderr(std::process::Stdio::null())
                .spawn()
                .expect("it runs");
            // Opening succeeds once the command has opened it, too. From then on the command waits for a PIN.
            let begun = Instant::now();
            let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
            let open = || File::options().write(true).custom_flags(nonblocking).open(&pin);
            let writer = loop {
                match open() {
                    Ok(writer) => break writer,
                    Err(error) => assert!(begun.elapsed() < LONG, "it does not ask for a PIN: {error}"),
                }
                assert!(command.try_wait().expect("it is ours").is_none(), "it did not ask for a PIN");
            };
            attack_as(wall, BACKEND, Pid::from_child(&command));
            drop(writer);
            assert_eq!(ended(&mut command).expect("it ends").code(), Some(1), "there was no PIN");
            assert!(serving.stop().success());
        }
        _ => {
            let bystander = Bystander::start();
            expect_works(&on_memory(bystander.process()));
            expect_refused(&on_memory(target(wall)));
        }
    });
}
