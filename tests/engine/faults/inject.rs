//! Faults at system calls: finds the calls of one signature, and runs a process in which one of them fails.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::module::{Boundary, Finished};

/// The system calls that can change what is on a disk.
pub(crate) const WRITES: &str = "pwrite64,pwritev,pwritev2,write,writev,sendfile,copy_file_range,fdatasync,fsync,\
     sync_file_range,openat,open,openat2,creat,unlink,unlinkat,rename,renameat,renameat2,link,linkat,ftruncate,\
     truncate,fallocate";

/// One system call of the signature.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    /// Its name.
    pub(crate) call: String,
    /// Its place among the signing thread's calls of that name, counted from the thread's start.
    pub(crate) number: usize,
    /// The whole line that strace wrote, with the paths of the descriptors.
    pub(crate) line: String,
}

impl Point {
    /// Whether it changes a file. An `openat` that creates none does not.
    pub(crate) fn writes(&self) -> bool {
        !self.call.starts_with("open") || self.line.contains("O_CREAT")
    }

    /// Whether it concerns a file of this folder.
    pub(crate) fn is_in(&self, boundary: &Boundary) -> bool {
        self.line.contains(&format!("{}/", boundary.folder().display()))
    }

    /// An strace command under which this call fails with `fault`, and with `:when=+` all later ones, too.
    pub(crate) fn strace(&self, fault: &str) -> [String; 8] {
        let Point { call, number, .. } = self;
        let inject = match fault.strip_suffix(":when=+") {
            Some(fault) => format!("inject={call}:{fault}:when={number}+"),
            None => format!("inject={call}:{fault}:when={number}"),
        };
        ["strace", "-f", "-qq", "-o", "/dev/null", "--seccomp-bpf", "-e", &inject].map(str::to_owned)
    }
}

/// The calls that the role makes between its files `marker` and `answer`, in order.
pub(crate) fn points(boundary: &Boundary, role: &str) -> Vec<Point> {
    let trace = boundary.folder().with_file_name("trace");
    let to = trace.to_str().expect("UTF-8");
    let calls = format!("trace={WRITES}");
    let strace = ["strace", "-f", "-y", "-s", "16", "-o", to, "-e", &calls];
    Finished::of(&mut boundary.command_under(&strace, role)).expect_success();
    let traced = fs::read_to_string(&trace).expect("strace wrote it");
    let line_of = |name: &str| {
        let file = format!("/{name}\"");
        traced.lines().position(|line| line.contains(&file)).expect("both are traced")
    };
    let (marker, answer) = (line_of("marker"), line_of("answer"));
    let mut counts = std::collections::HashMap::new();
    let mut points = Vec::new();
    let thread = traced.lines().nth(marker).and_then(|line| line.split(' ').next()).expect("it begins so");
    for (at, line) in traced.lines().enumerate() {
        let Some((by, rest)) = line.split_once(' ') else { continue };
        let Some((call, _)) = rest.trim_start().split_once('(') else { continue };
        if !call.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        if by == thread {
            *counts.entry(call).or_insert(0) += 1;
        }
        if (marker + 1..answer).contains(&at) {
            // Calls are counted for each thread, so calls of another thread could not be told apart.
            assert_eq!(by, thread, "another thread writes for the signature: {line}");
            points.push(Point { call: call.into(), number: counts[call], line: line.into() });
        }
    }
    assert!(points.len() > 20, "so few calls cannot be a signature:\n{traced}");
    points
}

/// Runs `work` on every case, in two workers with a copy of the boundary each.
pub(crate) fn in_two_copies<C: Sync, T: Send>(
    boundary: &Boundary,
    cases: &[C],
    work: impl Fn(&Boundary, &C) -> T + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let mut results: Vec<(usize, T)> = std::thread::scope(|scope| {
        let workers: Vec<_> = ["left", "right"]
            .into_iter()
            .map(|name| {
                let copy = boundary.duplicate(name);
                // The start of each case.
                copy.save(&format!("{name}-before"));
                let (next, work) = (&next, &work);
                scope.spawn(move || {
                    let mut results = Vec::new();
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(case) = cases.get(at) else { return results };
                        copy.restore(&format!("{name}-before"));
                        results.push((at, work(&copy, case)));
                    }
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker failed, see above")).collect()
    });
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}
