//! The client, against servers that misbehave.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use countersign::remote::budget::Budget;
use countersign::remote::frame::{FrameError, Received, write_frame};
use countersign::remote::hello::{ApplicationSecret, Hello, Refusal, VERSION, Welcome};
use countersign::remote::stream::{ConnectError, Framed, Stream};
use countersign::shell::config::{ConnectAddress, ConnectConfig, UserName};

use super::support::{as_another_user, unix};

const HELLO: Hello = Hello { join: None, first_handle: 1 };

fn greet(config: &ConnectConfig) -> Result<(Framed, ApplicationSecret, u32), ConnectError> {
    let mut framed = Framed::new(Stream::connect(config)?, 1 << 20, Budget::unlimited());
    let (application, max_frame) = framed.greet(&HELLO, VERSION, config)?;
    Ok((framed, application, max_frame))
}

fn error(config: &ConnectConfig) -> String {
    greet(config).err().expect("nobody serves there").to_string()
}

/// A server that does this on one connection.
fn serving(
    path: &Path,
    act: impl FnOnce(std::os::unix::net::UnixStream) + Send + 'static,
) -> thread::JoinHandle<()> {
    let listener = UnixListener::bind(path).expect("the folder is ours");
    thread::spawn(move || act(listener.accept().expect("a client comes").0))
}

#[test]
fn a_boundary_that_is_not_there_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("b.sock");
    let missing = error(&unix(&path));
    assert!(missing.contains("b.sock") && missing.contains("countersign serve"), "{missing}");
    drop(UnixListener::bind(&path).expect("the folder is ours"));
    let dead = error(&unix(&path));
    assert!(dead.contains("nothing serves there"), "{dead}");
    let too_long = folder.path().join("x".repeat(200));
    assert!(greet(&unix(&too_long)).is_err());
}

#[test]
fn a_boundary_that_does_not_answer_is_not_waited_for_without_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("b.sock");
    let _silent = UnixListener::bind(&path).expect("the folder is ours");
    let config = ConnectConfig { connect: Duration::from_millis(50), ..unix(&path) };
    let told = error(&config);
    assert!(told.contains("connect.connect_seconds"), "{told}");
}

#[test]
fn another_program_is_distinguished_from_a_boundary_that_refuses() {
    let folder = tempfile::tempdir().expect("a folder");
    let welcome = |refusal| {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, [&Welcome::Refused(refusal).encode(), &[]]).expect("a vector takes it");
        bytes
    };
    for (name, answer, words) in [
        ("a", b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec(), "not a Countersign boundary"),
        ("b", vec![], "without giving a reason"),
        ("c", vec![1, 0, 0, 0, 9], "not a Countersign boundary"),
        ("d", welcome(Refusal::NotAllowed), "[serve] of the boundary's configuration"),
        ("e", welcome(Refusal::TooManyConnections), "serve.max_connections"),
        ("f", welcome(Refusal::Version { ours: 7 }), "version 7"),
        ("g", welcome(Refusal::Module(5)), "0x00000005"),
    ] {
        let path = folder.path().join(name);
        // It may read what came or not. Both must give the same result.
        for reads in [true, false] {
            let sent = answer.clone();
            let served = serving(&path, move |mut stream| {
                if reads {
                    let _ = stream.read(&mut [0; 64]);
                }
                stream.write_all(&sent).expect("the client waits");
            });
            let told = error(&unix(&path));
            served.join().expect("it ended");
            std::fs::remove_file(&path).expect("it is ours");
            if reads || !answer.is_empty() {
                assert!(told.contains(words), "{told}");
            }
            assert!(told.contains(&path.display().to_string()), "{told}");
        }
    }
}

#[test]
fn an_answer_that_does_not_come_ends_the_call_and_no_signal_ends_the_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("b.sock");
    let served = serving(&path, |mut stream| {
        let secret = ApplicationSecret::new([7; 32]);
        let welcome = Welcome::Accepted { application: secret, max_frame: 5000 };
        write_frame(&mut stream, [&welcome.encode(), &[]]).expect("the client waits");
        let mut hello = [0; 11];
        stream.read_exact(&mut hello).expect("it comes");
        assert_eq!(&hello[4..8], b"CSGN");
        // Half of an answer, and then nothing.
        stream.write_all(&[9, 0, 0, 0, 1]).expect("the client waits");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let signalled = Arc::new(AtomicBool::new(false));
    let id =
        signal_hook::flag::register(signal_hook::consts::SIGPIPE, Arc::clone(&signalled)).expect("registers");
    let config = ConnectConfig { call: Duration::from_millis(50), ..unix(&path) };
    let (mut framed, application, max_frame) = greet(&config).expect("it is welcome");
    assert_eq!((application.as_bytes(), max_frame), (&[7; 32], 5000));
    // Perhaps nothing has come yet. Later half of it has, and no more.
    let why = loop {
        match framed.read().err() {
            Some(FrameError::Idle) => {}
            other => break other,
        }
    };
    assert!(matches!(why, Some(FrameError::Slow)), "{why:?}");
    framed.stream().closer().close();
    served.join().expect("it ended");
    assert!(framed.write([b"x", b"y"]).is_err());
    // Cut off, or too late if its time was over just then.
    assert!(matches!(framed.read(), Err(FrameError::Cut | FrameError::Slow) | Ok(Received::End)));
    assert!(!signalled.load(Ordering::SeqCst), "SIGPIPE would end a process that does not ignore it");
    signal_hook::low_level::unregister(id);
}

#[test]
fn the_client_checks_who_serves_the_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("b.sock");
    let ours = rustix::process::getuid().as_raw();
    let by = |user| {
        let mut config = unix(&path);
        config.address = ConnectAddress::Unix { socket: path.clone(), user: Some(user) };
        config
    };
    let unknown = error(&by(UserName::Name("nobody-has-this-name".into())));
    assert!(unknown.contains("countersign serve"), "nothing is there: {unknown}");
    let _listener = UnixListener::bind(&path).expect("the folder is ours");
    let unknown = error(&by(UserName::Name("nobody-has-this-name".into())));
    assert!(unknown.contains("there is no user"), "{unknown}");
    assert!(Stream::connect(&by(UserName::Id(ours))).is_ok());
    assert!(ours != 0 || Stream::connect(&by(UserName::Id(77))).is_ok(), "systemd, as root, binds sockets");
    let others = folder.path().join("other");
    std::fs::create_dir(&others).expect("the folder is ours");
    for folder in [folder.path(), &others] {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).expect("it is ours");
    }
    let path = others.join("b.sock");
    let made = as_another_user(|user| (UnixListener::bind(&path).expect("everybody may"), user));
    let Some((_listener, user)) = made else { return };
    let by = |user| {
        let mut config = unix(&path);
        config.address = ConnectAddress::Unix { socket: path.clone(), user: Some(user) };
        config
    };
    let told = Stream::connect(&by(UserName::Name("root".into()))).err().expect("another user").to_string();
    assert!(told.contains(&format!("number {user}")) && told.contains("connect.user"), "{told}");
    assert!(Stream::connect(&by(UserName::Id(user))).is_ok());
}
