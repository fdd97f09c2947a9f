//! Sockets, their places, and who may come in by them.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use countersign::remote::hello::Refusal;
use countersign::shell::config::{UnixDoor, UserName};
use countersign_server::door::{self, Listener, Passed};
use countersign_server::{ServeError, Server};

use super::support::{Client, as_another_user, config, refusal, serve, serve_in, serve_with};

fn open(folder: &Path) -> Result<Vec<Listener>, ServeError> {
    door::open(&config(folder), Passed::default())
}

fn error(folder: &Path) -> String {
    open(folder).err().expect("it does not open").to_string()
}

#[test]
fn a_socket_that_is_served_stays_with_its_server() {
    let served = serve();
    let told = error(served.folder.path());
    let us = std::process::id().to_string();
    assert!(
        told.contains("serve.backend.socket") && told.contains(&us) && told.contains("already served"),
        "{told}"
    );
    served.assert_well();
    // Also if another program serves it, which does not know our lock.
    let folder = tempfile::tempdir().expect("a folder");
    let listener = UnixListener::bind(folder.path().join("backend.sock")).expect("the folder is ours");
    let told = error(folder.path());
    assert!(told.contains("already served") && told.contains(&us), "{told}");
    drop(listener);
    // Now it is stale.
    assert!(folder.path().join("backend.sock").exists());
    let served = serve_in_again(folder);
    served.assert_well();
}

fn serve_in_again(folder: tempfile::TempDir) -> super::support::Served {
    let config = config(folder.path());
    serve_in(folder, config)
}

#[test]
fn a_file_that_is_no_socket_is_left_unchanged() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("backend.sock");
    fs::write(&path, "precious").expect("the folder is ours");
    let told = error(folder.path());
    assert!(told.contains("is no socket") && told.contains("serve.backend.socket"), "{told}");
    assert_eq!(fs::read(&path).expect("it is there"), b"precious");
    fs::remove_file(&path).expect("ours");
    fs::create_dir(&path).expect("the folder is ours");
    assert!(error(folder.path()).contains("is no socket"));
    fs::remove_dir(&path).expect("ours");
    symlink("/nowhere", &path).expect("the folder is ours");
    assert!(error(folder.path()).contains("is no socket"));
    fs::remove_file(&path).expect("ours");
    serve_in_again(folder).assert_well();
}

#[test]
fn a_folder_that_others_can_write_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let within = folder.path().join("run");
    fs::create_dir(&within).expect("the folder is ours");
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    for mode in [0o777, 0o775, 0o757, 0o1777] {
        set(&within, mode);
        let told = error(&within);
        assert!(told.contains(&format!("mode {mode:o}")) && told.contains("serve.backend.socket"), "{told}");
    }
    set(&within, 0o755);
    set(folder.path(), 0o777);
    assert!(error(&within).contains("mode 777"), "the folder above it");
    set(folder.path(), 0o1777);
    assert!(open(&within).is_ok(), "there the sticky bit keeps ours in its place");
    set(folder.path(), 0o700);
    assert!(error(&folder.path().join("missing")).contains("cannot be used"));
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&within, Some(65534), None).expect("root may");
        let told = error(&within);
        assert!(told.contains("another user (number 65534)"), "{told}");
    }
}

#[test]
fn sockets_have_the_modes_they_need_and_go_with_the_server() {
    let served = serve();
    let mode =
        |name: &str| fs::metadata(served.socket(name)).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode("backend.sock"), mode("administrators.sock")), (0o666, 0o666));
    let path = served.socket("other.sock");
    let (_socket, bound) = door::listen_unix("serve.monitoring", &path, 0o660).expect("it listens");
    assert_eq!(mode("other.sock"), 0o660);
    drop(bound);
    assert!(!path.exists());
    // If somebody put another socket there meanwhile, it is not ours to remove.
    let path = served.socket("backend.sock");
    fs::remove_file(&path).expect("ours");
    fs::write(&path, "another's").expect("ours");
    served.server.stop();
    assert!(path.exists() && !served.folder.path().join("administrators.sock").exists());
}

#[test]
fn users_are_admitted_by_the_identity_that_the_system_gives() {
    let served = serve();
    let (backend, administrator) = (served.backend(), served.administrator());
    let tried = as_another_user(|_| {
        for config in [&backend, &administrator] {
            assert_eq!(refusal(config), Refusal::NotAllowed);
        }
    });
    if tried.is_some() {
        let refused = |door| {
            served
                .metric(&format!("countersign_peers_refused_total{{door=\"{door}\",reason=\"not_allowed\"}}"))
        };
        assert_eq!((refused("backend"), refused("administrators")), (1.0, 1.0));
    }
    served.assert_well();
    // By number or by name, each at its own door.
    let root = rustix::process::geteuid().is_root();
    let served = serve_with(|config| {
        if root {
            config.backend.as_mut().expect("there").users = vec![UserName::Id(65534)];
            config.administrators.as_mut().expect("there").users = vec![UserName::Name("root".into())];
        }
    });
    let (backend, administrator) = (served.backend(), served.administrator());
    as_another_user(|_| {
        Client::open(&backend).expect("it is welcome").assert_echo(b"by number");
        assert_eq!(refusal(&administrator), Refusal::NotAllowed);
    });
    if root {
        assert_eq!(refusal(&backend), Refusal::NotAllowed, "not even root");
        Client::open(&administrator).expect("it is welcome").assert_echo(b"by name");
    }
}

#[test]
fn a_user_that_does_not_exist_is_an_error_of_the_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    for key in ["serve.backend.users", "serve.administrators.users"] {
        let mut config = config(folder.path());
        let door = if key.contains("backend") { &mut config.backend } else { &mut config.administrators };
        door.as_mut().expect("there").users.push(UserName::Name("nobody-has-this-name".into()));
        let mock = std::sync::Arc::new(super::support::Mock::default());
        let told = Server::start(&config, vec![], mock).err().expect("it does not start").to_string();
        assert!(told.contains(key) && told.contains("nobody-has-this-name"), "{told}");
    }
}

#[test]
fn the_desks_user_comes_in_by_no_other_door_and_nobody_else_by_the_desks() {
    let elsewhere =
        |folder: &Path| UnixDoor { socket: folder.join("desk.sock"), users: vec![UserName::Id(65534)] };
    let served = serve_with(|config| {
        let folder = config.backend.as_ref().and_then(|door| door.socket.parent()).expect("a folder");
        config.desk = Some(elsewhere(folder));
    });
    let desk = super::support::unix(&served.socket("desk.sock"));
    assert_eq!(refusal(&desk), Refusal::NotAllowed, "backends and administrators");
    as_another_user(|_| {
        Client::open(&desk).expect("it is welcome").assert_echo(b"a word");
        for other in [served.backend(), served.administrator()] {
            assert_eq!(refusal(&other), Refusal::NotAllowed);
        }
    });
    // A configuration in which it could is refused, also while the boundary runs.
    for key in ["serve.backend.users", "serve.administrators.users"] {
        let mut config = served.config.clone();
        let door = if key.contains("backend") { &mut config.backend } else { &mut config.administrators };
        door.as_mut().expect("there").users.push(UserName::Id(65534));
        let mock = std::sync::Arc::new(super::support::Mock::default());
        let started = Server::start(&config, vec![], mock).err().expect("it does not start").to_string();
        let reloaded = served.server.reload(&config).expect_err("nor is it taken later").to_string();
        assert_eq!(started, reloaded);
        assert!(started.contains("serve.desk.user") && started.contains(key), "{started}");
    }
    served.assert_well();
}

#[test]
fn a_new_configuration_ends_connections_that_it_does_not_let_in() {
    let served = serve();
    let mut backend = served.client();
    let mut administrator = Client::open(&served.administrator()).expect("it is welcome");
    let mut config = served.config.clone();
    config.backend.as_mut().expect("there").users = vec![UserName::Name("nobody-has-this-name".into())];
    assert!(served.server.reload(&config).is_err());
    backend.assert_echo(b"an error changes nothing");
    config.backend.as_mut().expect("there").users = vec![UserName::Id(4_000_000)];
    assert_eq!(served.server.reload(&config).expect("it is a good one"), 1);
    backend.assert_over();
    administrator.assert_echo(b"undisturbed");
    assert_eq!(refusal(&served.backend()), Refusal::NotAllowed);
    assert_eq!(served.server.reload(&served.config).expect("it was good"), 0);
    drop(administrator);
    served.assert_well();
}

#[test]
fn a_socket_that_was_passed_on_replaces_that_of_the_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let elsewhere = folder.path().join("passed.sock");
    let listener = UnixListener::bind(&elsewhere).expect("the folder is ours");
    let ours = listener.try_clone().expect("it is one");
    let config = config(folder.path());
    let passed = Passed { backend: Some(OwnedFd::from(listener)), ..Passed::default() };
    let listeners = door::open(&config, passed).expect("the doors open");
    let mock = std::sync::Arc::new(super::support::Mock::default());
    let server = Server::start(&config, listeners, mock.clone()).expect("it starts");
    let passed = super::support::unix(&elsewhere);
    Client::open(&passed).expect("it is welcome").assert_echo(b"here");
    assert!(!folder.path().join("backend.sock").exists());
    server.stop();
    mock.wait_until_all_are_closed();
    // The process that passed the socket on still has it: the next server will take the connections made
    // meanwhile.
    assert!(elsewhere.exists());
    let waiting = UnixStream::connect(&elsewhere).expect("it still listens");
    assert!(ours.accept().is_ok());
    drop(waiting);
}

#[test]
fn a_passed_on_socket_that_is_no_door_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(folder.path());
    let datagram = UnixDatagram::bind(folder.path().join("d")).expect("the folder is ours");
    let (connected, _other) = UnixStream::pair().expect("a pair");
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let file = fs::File::open("/dev/null").expect("it is there");
    for wrong in [OwnedFd::from(datagram), connected.into(), tcp.into(), file.into()] {
        let passed = Passed { administrators: Some(wrong), ..Passed::default() };
        let told = door::open(&config, passed).err().expect("no door").to_string();
        assert!(told.contains("administrators") && told.contains(".socket unit"), "{told}");
    }
    let listener = UnixListener::bind(folder.path().join("l")).expect("the folder is ours");
    let without = countersign::shell::config::ServeConfig { backend: None, ..config };
    let passed = Passed { backend: Some(listener.into()), ..Passed::default() };
    let told = door::open(&without, passed).err().expect("no table").to_string();
    assert!(told.contains("[serve.backend]"), "{told}");
}
