//! Starting, reloading and stopping: what the service manager is told, and what becomes of clients and their calls.

use super::*;

#[test]
fn it_says_when_it_is_ready_reloads_and_ends_its_calls_before_it_stops() {
    if was_the_process() {
        return;
    }
    let mut boundary =
        Running::start("life::it_says_when_it_is_ready_reloads_and_ends_its_calls_before_it_stops", |_| {});
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
    assert!(boundary.log().contains("people: there is no such key"), "{}", boundary.log());
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
    let test = "life::a_process_with_calls_left_inside_the_module_ends_without_closing_it";
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
    let test = "life::signals_that_come_while_the_module_opens_are_kept_until_it_has";
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
    let test = "life::a_broken_standard_error_keeps_no_door_from_its_work";
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
    let config = ConnectConfig { address, connect: LONG, call: LONG, log: LogConfig::default(), desk: None };
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
fn a_second_boundary_names_the_process_of_the_first() {
    if was_the_process() {
        return;
    }
    let test = "life::a_second_boundary_names_the_process_of_the_first";
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
    let test = "life::sockets_are_taken_from_systemd_by_their_names";
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
    let config = ConnectConfig { address, connect: LONG, call: LONG, log: LogConfig::default(), desk: None };
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
