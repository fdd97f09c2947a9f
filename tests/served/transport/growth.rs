//! Memory, threads and files do not grow.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use countersign::remote::hello::{Hello, VERSION};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use harness::alone::alone;
use harness::this_test;

use super::support::{Client, eventually, serve};

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").expect("it is Linux").count()
}

fn status(field: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("it is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("it is there");
    line.trim_start_matches(':')
        .split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

fn resident_kilobytes() -> usize {
    status("VmRSS")
}

fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .expect("up to the most");
}

fn hello() -> Vec<u8> {
    let hello = Hello { join: None, first_handle: 1 }.encode(VERSION);
    [&(hello.len() as u32).to_le_bytes()[..], &hello].concat()
}

#[test]
fn ten_thousand_connections_leave_nothing_behind() {
    alone(this_test!(), || {
        allow_many_files();
        let served = serve();
        let visit = |number: usize| {
            let path = served.socket("backend.sock");
            match number % 5 {
                0 => drop(UnixStream::connect(path).expect("it serves")),
                1 => UnixStream::connect(path).expect("it serves").write_all(&hello()).expect("it is taken"),
                2 => UnixStream::connect(path).expect("it serves").write_all(&[5, 0]).expect("it is taken"),
                3 => served.client().assert_echo(&[7; 20_000]),
                _ => {
                    let first = served.client();
                    drop(Client::join(&served.backend(), &first.secret).expect("it is welcome"));
                }
            }
        };
        let all_at_once = |count: usize| {
            thread::scope(|scope| {
                for part in 0..8 {
                    scope.spawn(move || (0..count / 8).for_each(|number| visit(number + part)));
                }
            });
            served.assert_well();
        };
        // From now on, stacks and heaps that are kept for the next connection exist.
        all_at_once(1_000);
        let quiet = status("Threads");
        eventually("the end of all threads", || status("Threads") == 4);
        let (files, memory) = (open_files(), resident_kilobytes());
        all_at_once(10_000);
        eventually("the end of all threads", || status("Threads") == 4);
        assert_eq!(open_files(), files);
        assert!(served.mock.state().opened.len() > 5_000);
        let grown = resident_kilobytes().saturating_sub(memory);
        println!("{memory} kB before, {grown} kB more afterwards; {quiet} threads");
        assert!(grown < 8_192, "{grown} kB more than before");
    });
}

#[test]
fn a_thousand_idle_connections_take_little() {
    alone(this_test!(), || {
        allow_many_files();
        let served = serve();
        let connect = || {
            let mut stream = UnixStream::connect(served.socket("backend.sock")).expect("it serves");
            stream.write_all(&hello()).expect("it is taken");
            stream.read_exact(&mut [0; 4 + 1 + 32 + 4]).expect("it is welcome");
            // One call, so that everything that a call needs exists.
            stream.write_all(&[2, 0, 0, 0, b'e', 1]).expect("it is taken");
            stream.read_exact(&mut [0; 4 + 1 + 2]).expect("it is answered");
            stream
        };
        drop(connect());
        served.assert_well();
        let before = resident_kilobytes();
        let idle: Vec<UnixStream> = (0..1_000).map(|_| connect()).collect();
        let each = (resident_kilobytes() - before) as f64 / 1_000.0;
        println!("{each} kB for each idle connection");
        assert!(each <= 64.0, "{each} kB");
        drop(idle);
        served.assert_well();
    });
}
