//! Attacks of one process on another.

#![allow(unsafe_code, reason = "attacks are made of system calls")]

use std::ffi::{c_int, c_long, c_void};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Instant;

use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Resource, Rlimit, Signal, kill_process, pidfd_getfd, pidfd_open,
    prlimit,
};

use harness::users::LONG;

const PTRACE_ATTACH: c_int = 16;
const PTRACE_DETACH: c_int = 17;
const PTRACE_SEIZE: c_int = 0x4206;

#[repr(C)]
struct Iovec {
    base: *mut c_void,
    len: usize,
}

unsafe extern "C" {
    fn ptrace(request: c_int, process: c_int, address: *mut c_void, data: *mut c_void) -> c_long;
    fn process_vm_readv(
        process: c_int,
        local: *const Iovec,
        locals: usize,
        remote: *const Iovec,
        remotes: usize,
        flags: usize,
    ) -> isize;
    fn process_vm_writev(
        process: c_int,
        local: *const Iovec,
        locals: usize,
        remote: *const Iovec,
        remotes: usize,
        flags: usize,
    ) -> isize;
    fn waitpid(process: c_int, status: *mut c_int, options: c_int) -> c_int;
}

/// An attack: its name and its result.
pub(crate) type Tried = (String, io::Result<()>);

/// Everything that can be tried on the memory of a process and on its other resources. A process that may
/// debug it succeeds in all.
pub(crate) fn on_memory(process: Pid) -> Vec<Tried> {
    let pid = process.as_raw_nonzero().get();
    let mut tried: Vec<Tried> = Vec::new();
    for name in ["maps", "smaps", "environ", "auxv", "pagemap", "numa_maps", "io", "syscall"] {
        // Not every kernel has all of these files.
        if Path::new("/proc/self").join(name).exists() {
            tried.push((format!("read /proc/PID/{name}"), read_some(&format!("/proc/{pid}/{name}"))));
        }
    }
    for name in ["exe", "cwd", "root"] {
        tried.push((
            format!("follow /proc/PID/{name}"),
            fs::read_link(format!("/proc/{pid}/{name}")).map(drop),
        ));
    }
    for name in ["fd", "fdinfo", "map_files"] {
        tried.push((format!("list /proc/PID/{name}"), fs::read_dir(format!("/proc/{pid}/{name}")).map(drop)));
    }
    tried.push(("read /proc/PID/mem".into(), read_mem(pid)));
    // Addresses of this process. It does not matter whether the other process has them, because it must not
    // even be asked.
    let mut byte = [0_u8; 1];
    let ours = Iovec { base: byte.as_mut_ptr().cast(), len: 1 };
    let place = mapped(pid).unwrap_or(ours.base as usize);
    let theirs = Iovec { base: place as *mut c_void, len: 1 };
    // SAFETY: one address each. Ours is a local, and the kernel checks the other one.
    tried.push((
        "process_vm_readv".into(),
        done(unsafe { process_vm_readv(pid, &ours, 1, &theirs, 1, 0) } as c_long),
    ));
    // SAFETY: as above. The call writes the bytes that were read.
    tried.push((
        "process_vm_writev".into(),
        done(unsafe { process_vm_writev(pid, &ours, 1, &theirs, 1, 0) } as c_long),
    ));
    tried.push(("take a descriptor".into(), take_descriptor(process)));
    for (name, request) in [("attach", PTRACE_ATTACH), ("seize", PTRACE_SEIZE)] {
        // SAFETY: neither uses the pointers.
        let attached = done(unsafe { ptrace(request, pid, std::ptr::null_mut(), std::ptr::null_mut()) });
        if attached.is_ok() && request == PTRACE_ATTACH {
            let mut status = 0;
            // SAFETY: the pointer is to a local; the other call takes none.
            unsafe {
                waitpid(pid, &mut status, 0);
                ptrace(PTRACE_DETACH, pid, std::ptr::null_mut(), std::ptr::null_mut());
            }
        }
        tried.push((format!("ptrace: {name}"), attached));
    }
    tried
}

/// What a process can do to another one without looking at its memory. The same user may.
pub(crate) fn by_signals(process: Pid) -> Vec<Tried> {
    // The limit first, because a process that has ended has none.
    let mut tried: Vec<Tried> = vec![("its limits".into(), raise_core_limit(process))];
    for (name, signal) in [
        ("SIGHUP", Signal::HUP),
        ("SIGSTOP", Signal::STOP),
        ("SIGQUIT", Signal::QUIT),
        ("SIGABRT", Signal::ABORT),
        ("SIGTERM", Signal::TERM),
        ("SIGKILL", Signal::KILL),
    ] {
        tried.push((name.into(), kill_process(process, signal).map_err(io::Error::from)));
    }
    tried
}

/// Expects each attack to have failed because the system refused it, and for no other reason.
pub(crate) fn expect_refused(tried: &[Tried]) {
    for (name, outcome) in tried {
        match outcome {
            Ok(()) => panic!("{name}: it worked"),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{name}: {error}"),
        }
    }
}

/// Expects each attack on an unprotected process to have worked.
pub(crate) fn expect_works(tried: &[Tried]) {
    for (name, outcome) in tried {
        assert!(outcome.is_ok(), "{name} does not even work on what is not protected: {outcome:?}");
    }
}

/// An unprotected process of this user.
pub(crate) struct Bystander(Child);

impl Bystander {
    pub(crate) fn start() -> Bystander {
        let child = Command::new("sleep").arg("600").spawn().expect("it runs");
        until_it_is(&child, "sleep");
        Bystander(child)
    }

    pub(crate) fn process(&self) -> Pid {
        Pid::from_child(&self.0)
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until a child is the program `name`. Before that it is a copy of its parent.
pub(crate) fn until_it_is(child: &Child, name: &str) {
    let begun = Instant::now();
    let is = || fs::read_to_string(format!("/proc/{}/comm", child.id()));
    while !is().is_ok_and(|found| found.trim() == name) {
        assert!(begun.elapsed() < LONG, "it does not begin");
        std::thread::yield_now();
    }
}

fn done(answer: c_long) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn read_some(path: &str) -> io::Result<()> {
    let mut bytes = [0; 64];
    File::open(path)?.read(&mut bytes).map(drop)
}

fn read_mem(pid: i32) -> io::Result<()> {
    let file = File::open(format!("/proc/{pid}/mem"))?;
    let place = mapped(pid).expect("who may open it may read the map");
    file.read_exact_at(&mut [0; 64], place as u64)
}

/// An address that the process may write to.
fn mapped(pid: i32) -> Option<usize> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let stack = maps.lines().find(|line| line.ends_with("[stack]"))?;
    let (_, end) = stack.split(' ').next()?.split_once('-')?;
    Some(usize::from_str_radix(end, 16).ok()? - 4096)
}

fn take_descriptor(process: Pid) -> io::Result<()> {
    let whole = pidfd_open(process, PidfdFlags::empty())?;
    Ok(pidfd_getfd(whole, 2, PidfdGetfdFlags::empty()).map(drop)?)
}

fn raise_core_limit(process: Pid) -> io::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Core);
    Ok(prlimit(Some(process), Resource::Core, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .map(drop)?)
}
