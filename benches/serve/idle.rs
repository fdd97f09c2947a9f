//! The memory that a thousand idle connections take in the boundary. The clients are another process.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use countersign::remote::client::Client;
use countersign::shell::config::{Config, ConnectConfig};

use super::served::Served;
use harness::engine::ledgers::NoCommit;
use harness::engine::{ManualClock, SystemRandom};

/// The argument that makes this process the clients.
pub(crate) const CLIENTS: &str = "idle-clients";
const COUNT: usize = 1_000;
/// `C_OpenSession` and `C_GenerateRandom`, encoded.
const REQUESTS: [&[u8]; 2] = [b"\x00\x08\x00\x06", b"\x00\x1f\x01\x20"];

pub(crate) fn print() {
    let clock = Box::new(ManualClock::default());
    let engine = countersign::engine::Engine::open(Box::<NoCommit>::default(), clock, Box::new(SystemRandom));
    let engine = engine.expect("opens");
    engine.initialise(b"so-pin", "bench").expect("initialises");
    let served = Served::start(engine);
    let before = resident();
    let mut clients = Command::new(std::env::current_exe().expect("the system names it"))
        .arg(CLIENTS)
        .arg(served.client().join("client.toml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts again");
    let mut line = String::new();
    BufReader::new(clients.stdout.take().expect("piped")).read_line(&mut line).expect("it says so");
    let each = (resident() - before) / COUNT as f64;
    println!(
        "\n{COUNT} idle connections, each with a session and a call behind it ({})",
        served.socket().display()
    );
    println!("{:<52} {each:>8.1} KB", "resident memory for each (asked: 64)");
    drop(clients.stdin.take());
    clients.wait().expect("it ends");
}

/// Opens the connections, prints that it has, and waits for the end of its input.
pub(crate) fn connect_all(configuration: &Path) {
    let config: ConnectConfig = match Config::load(configuration).expect("it was written for us") {
        Config::Connect(config) => config,
        Config::Engine(_) => panic!("this is the client"),
    };
    let clients: Vec<Client> = (0..COUNT).map(|_| Client::open(&config, 1).expect("there is room")).collect();
    for client in &clients {
        REQUESTS.iter().for_each(|request| drop(client.exchange(request, <[u8]>::to_vec).expect("answered")));
    }
    println!("connected");
    std::io::stdin().read_to_end(&mut Vec::new()).expect("it ends");
}

/// Resident memory of this process, in KB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the system tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is there");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
