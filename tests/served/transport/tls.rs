//! TLS: certificates on both sides, names, and new certificates while it serves.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign::remote::PeerRole;
use countersign::remote::hello::Refusal;
use countersign::remote::tls;
use countersign::shell::config::{ConnectAddress, ConnectConfig, ConnectTls, ServeConfig, TcpDoor};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::pki_types::{DnsName, ServerName};

use super::support::{Client, LONG, Served, Told, WAIT, client_of, eventually, refused, serve_with};

/// An authority, and the files that it issues.
struct Authority {
    folder: PathBuf,
    name: &'static str,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &'static str) -> Authority {
        let mut params = CertificateParams::new(vec![]).expect("no names");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        fs::write(folder.join(name), certificate.pem()).expect("the folder is ours");
        Authority { folder: folder.into(), name, issuer: Issuer::new(params, key) }
    }

    fn file(&self) -> PathBuf {
        self.folder.join(self.name)
    }

    fn issue(&self, name: &str) -> Files {
        self.issue_with(name, |_| {})
    }

    fn issue_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Files {
        let names = if name.is_empty() { vec![] } else { vec![name.to_owned()] };
        let mut params = CertificateParams::new(names).expect("a name");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let unique = format!("{}-{}", self.name, key.serialized_der().len() + rand());
        let files = Files {
            certificate: self.folder.join(format!("{unique}.pem")),
            key: self.folder.join(format!("{unique}.key")),
        };
        fs::write(&files.certificate, certificate.pem()).expect("the folder is ours");
        fs::write(&files.key, key.serialize_pem()).expect("the folder is ours");
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).expect("ours");
        files
    }
}

/// A number that no other file has.
fn rand() -> usize {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    NEXT.fetch_add(1_000, std::sync::atomic::Ordering::Relaxed)
}

fn names(names: &[&str]) -> Vec<DnsName<'static>> {
    names.iter().map(|name| DnsName::try_from((*name).to_owned()).expect("a name")).collect()
}

/// A server on a port of its own, and the authorities of both sides.
struct Scene {
    served: Served,
    authority: Authority,
    server: Files,
}

const BACKEND: &str = "backend-1.example";
const OFFICER: &str = "officer.example";
const TCP_CONNECTIONS: &str = "countersign_connections{door=\"tcp\"}";
const BOUNDARY: &str = "boundary.example";

impl Scene {
    fn new() -> Scene {
        Scene::with(|_, _| {})
    }

    fn with(change: impl FnOnce(&Authority, &mut ServeConfig)) -> Scene {
        let files = tempfile::tempdir().expect("a folder").keep();
        let authority = Authority::new(&files, "authority");
        let server = authority.issue(BOUNDARY);
        let served = serve_with(|config| {
            config.tcp = Some(TcpDoor {
                address: "127.0.0.1:0".parse().expect("an address"),
                certificate_file: server.certificate.clone(),
                key_file: server.key.clone(),
                client_authority_file: authority.file(),
                backends: names(&[BACKEND, "backend-2.example", "a.clients.example"]),
                administrators: names(&[OFFICER]),
            });
            change(&authority, config);
        });
        Scene { served, authority, server }
    }

    /// A client with this certificate.
    fn client(&self, own: &Files) -> ConnectConfig {
        client_of(ConnectAddress::Tcp {
            host: "127.0.0.1".into(),
            port: self.served.port,
            tls: ConnectTls {
                server_name: ServerName::try_from(BOUNDARY).expect("a name"),
                authority_file: self.authority.file(),
                certificate_file: own.certificate.clone(),
                key_file: own.key.clone(),
            },
        })
    }

    fn error(&self, own: &Files) -> String {
        error(&self.client(own))
    }

    fn refused(&self, reason: &str) -> f64 {
        self.served.metric(&format!("countersign_peers_refused_total{{door=\"tcp\",reason=\"{reason}\"}}"))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.authority.folder);
    }
}

fn error(config: &ConnectConfig) -> String {
    Client::open(config).err().expect("it is not welcome").to_string()
}

fn tls_of(config: &mut ConnectConfig) -> &mut ConnectTls {
    let ConnectAddress::Tcp { tls, .. } = &mut config.address else { panic!("it is TCP") };
    tls
}

#[test]
fn a_certificate_is_admitted_in_the_role_of_its_name() {
    let scene = Scene::new();
    let (backend, officer) = (scene.authority.issue(BACKEND), scene.authority.issue("Officer.Example"));
    let mut first = Client::open(&scene.client(&backend)).expect("it is welcome");
    first.assert_echo(&[7; 200_000]);
    let mut lane = Client::join(&scene.client(&backend), &first.secret).expect("it is welcome");
    lane.assert_echo(b"a further lane");
    let renewed = scene.authority.issue(BACKEND);
    Client::join(&scene.client(&renewed), &first.secret).expect("the same name").assert_echo(b"a third");
    first.assert_over();
    let mut first = Client::open(&scene.client(&officer)).expect("it is welcome");
    let other = Client::join(&scene.client(&backend), &first.secret);
    assert_eq!(refused(other), Refusal::UnknownApplication, "another name");
    let other = Client::join(&scene.client(&scene.authority.issue("backend-2.example")), &first.secret);
    assert_eq!(refused(other), Refusal::UnknownApplication, "another name");
    assert_eq!(refused(Client::join(&scene.served.backend(), &first.secret)), Refusal::UnknownApplication);
    first.assert_echo(b"unharmed");
    let opened = |role, name| (1, role, format!("certificate {name}"));
    let expected = [opened(PeerRole::Backend, BACKEND), opened(PeerRole::Administrator, OFFICER)];
    assert_eq!(scene.served.mock.state().opened, expected);
    // With names of both roles, it gets the one with fewer rights.
    let both = scene.authority.issue_with(OFFICER, |params| {
        params.subject_alt_names.push(rcgen::SanType::DnsName(BACKEND.try_into().expect("a name")));
    });
    drop(Client::open(&scene.client(&both)).expect("it is welcome"));
    assert_eq!(scene.served.mock.state().opened[2], opened(PeerRole::Backend, BACKEND));
    drop(first);
    scene.served.assert_well();
}

#[test]
fn a_name_that_is_not_listed_is_refused_and_a_wildcard_is_no_name() {
    let scene = Scene::new();
    for name in ["backend-3.example", "example", "x.backend-1.example", "*.clients.example", "*.example", ""]
    {
        let own = scene.authority.issue(name);
        assert_eq!(refused(Client::open(&scene.client(&own))), Refusal::NotAllowed, "{name:?}");
    }
    // The subject's common name is not a machine's name.
    let common = scene.authority.issue_with("other.example", |params| {
        params.distinguished_name.push(rcgen::DnType::CommonName, BACKEND);
    });
    assert_eq!(refused(Client::open(&scene.client(&common))), Refusal::NotAllowed);
    eventually("the refusals are counted", || scene.refused("not_allowed") == 7.0);
    assert_eq!(scene.served.mock.state().opened.len(), 0);
    scene.served.assert_well();
}

#[test]
fn untrusted_certificates_are_refused_with_what_to_do() {
    let scene = Scene::new();
    let expired = scene.authority.issue_with(BACKEND, |params| params.not_after = date_time_ymd(2024, 1, 1));
    let early = scene.authority.issue_with(BACKEND, |params| params.not_before = date_time_ymd(4000, 1, 1));
    let stranger = Authority::new(&scene.authority.folder, "stranger");
    // The same subject, and another key.
    fs::create_dir(scene.authority.folder.join("twin")).expect("ours");
    let twin = Authority::new(&scene.authority.folder.join("twin"), "authority");
    let server_only = scene.authority.issue_with(BACKEND, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    for (own, words) in [
        (&expired, "not valid now; renew connect.tls.certificate_file"),
        (&early, ""),
        (&stranger.issue(BACKEND), "serve.tcp.client_authority_file"),
        (&twin.issue(BACKEND), "serve.tcp.client_authority_file"),
        (&server_only, ""),
    ] {
        let told = scene.error(own);
        assert!(told.contains(words) && told.contains("127.0.0.1"), "{told}");
    }
    eventually("the refusals are counted", || scene.refused("tls") == 5.0);
    assert_eq!(scene.served.mock.state().opened.len(), 0);
    scene.served.assert_well();
}

#[test]
fn no_certificate_at_all_is_refused() {
    let scene = Scene::new();
    let mut roots = rustls::RootCertStore::empty();
    let pem = fs::read(scene.authority.file()).expect("it is there");
    let root = <rustls::pki_types::CertificateDer as rustls::pki_types::pem::PemObject>::from_pem_slice(&pem);
    roots.add(root.expect("PEM")).expect("an authority");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("it has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(BOUNDARY).expect("a name");
    let connection = rustls::ClientConnection::new(config.into(), name).expect("it begins");
    let socket = TcpStream::connect(("127.0.0.1", scene.served.port)).expect("it serves");
    let mut stream = rustls::StreamOwned::new(connection, socket);
    let _ = stream.write_all(b"\x08\0\0\0CSGN\x01\0\x01\0");
    let told = stream.read(&mut [0; 64]).expect_err("it is not welcome").to_string();
    assert!(told.contains("CertificateRequired"), "{told}");
    scene.served.wait_for_metric("countersign_peers_refused_total{door=\"tcp\",reason=\"tls\"}", 1.0);
    scene.served.assert_well();
}

#[test]
fn a_boundary_that_is_not_trusted_learns_nothing() {
    let scene = Scene::new();
    let own = scene.authority.issue(BACKEND);
    let mut other_name = scene.client(&own);
    tls_of(&mut other_name).server_name = ServerName::try_from("elsewhere.example").expect("a name");
    let told = error(&other_name);
    assert!(told.contains("connect.tls.server_name"), "{told}");
    let stranger = Authority::new(&scene.authority.folder, "stranger");
    let mut other_authority = scene.client(&own);
    tls_of(&mut other_authority).authority_file = stranger.file();
    let told = error(&other_authority);
    assert!(told.contains("connect.tls.authority_file"), "{told}");
    let scene = Scene::with(|authority, config| {
        let expired = authority.issue_with(BOUNDARY, |params| params.not_after = date_time_ymd(2024, 1, 1));
        let tcp = config.tcp.as_mut().expect("it is there");
        (tcp.certificate_file, tcp.key_file) = (expired.certificate, expired.key);
    });
    let told = scene.error(&scene.authority.issue(BACKEND));
    assert!(told.contains("has expired"), "{told}");
    assert_eq!(scene.served.mock.state().opened.len(), 0);
}

/// A greeting of TLS 1.2, without the extension that would offer 1.3 (RFC 5246 section 7.4.1.2).
fn client_hello_of_1_2() -> Vec<u8> {
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.push(0);
    // ECDHE with AES-128-GCM, for ECDSA and for RSA.
    hello.extend([0, 4, 0xc0, 0x2b, 0xc0, 0x2f, 1, 0]);
    // Groups and signature algorithms that everybody supports.
    let extensions = [0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 6, 0, 4, 4, 3, 8, 4];
    hello.extend((extensions.len() as u16).to_be_bytes());
    hello.extend(extensions);
    let mut message = vec![1, 0];
    message.extend((hello.len() as u16).to_be_bytes());
    message.extend(hello);
    let mut record = vec![22, 3, 1];
    record.extend((message.len() as u16).to_be_bytes());
    record.extend(message);
    record
}

#[test]
fn tls_1_2_and_bytes_that_are_no_tls_are_refused() {
    let scene = Scene::new();
    let hello = b"\x08\0\0\0CSGN\x01\0\x01\0";
    for (bytes, alert) in
        [(&client_hello_of_1_2()[..], Some(70)), (hello, None), (b"GET / HTTP/1.1\r\n\r\n", None)]
    {
        let mut stream = TcpStream::connect(("127.0.0.1", scene.served.port)).expect("it serves");
        stream.write_all(bytes).expect("it is taken");
        stream.set_read_timeout(Some(LONG)).expect("ours");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        // An alert of level fatal: 70 is protocol_version (RFC 8446 section 6.2).
        if let Some(alert) = alert {
            assert_eq!(answer, [21, 3, 3, 0, 2, 2, alert]);
        }
        assert!(answer.len() <= 7, "{answer:?}");
    }
    scene.served.wait_for_metric("countersign_peers_refused_total{door=\"tcp\",reason=\"tls\"}", 3.0);
    assert_eq!(scene.served.mock.state().opened.len(), 0);
    scene.served.assert_well();
}

#[test]
fn unidentified_peers_have_the_time_of_one_frame_and_places_of_their_own() {
    let scene = Scene::with(|_, config| {
        (config.limits.frame, config.limits.max_connections) = (Duration::from_millis(400), 2);
    });
    // The largest allowed number of connections has not sent anything yet. Then some more come.
    let silent: Vec<TcpStream> = (0..140)
        .map(|_| TcpStream::connect(("127.0.0.1", scene.served.port)).expect("it is taken"))
        .collect();
    let local: Vec<Client> = (0..2).map(|_| scene.served.client()).collect();
    for mut stream in silent {
        stream.set_read_timeout(Some(LONG)).expect("ours");
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert!(scene.refused("too_many") >= 12.0);
    drop(local);
    eventually("a place", || Client::open(&scene.client(&scene.authority.issue(BACKEND))).is_ok());
    scene.served.assert_well();
}

#[test]
fn a_trickle_within_a_record_of_tls_is_no_sign_of_life() {
    let scene = Scene::with(|_, config| config.limits.frame = Duration::from_millis(200));
    let own = scene.authority.issue(BACKEND);
    let mut client = Client::open(&scene.client(&own)).expect("it is welcome");
    client.assert_echo(b"here");
    let mut socket = client.framed.stream().socket();
    // The beginning of a record, and then single bytes.
    socket.write_all(&[23, 3, 3, 0x40, 0]).expect("it is taken");
    let begun = std::time::Instant::now();
    while scene.served.mock.state().closed == 0 {
        assert!(begun.elapsed() < LONG, "it may go on for ever");
        let _ = socket.write_all(&[0]);
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(client);
    scene.served.assert_well();
}

#[test]
fn too_many_of_one_role_are_refused_over_tls_too() {
    let scene = Scene::with(|_, config| config.limits.max_connections = 1);
    let (backend, officer) = (scene.authority.issue(BACKEND), scene.authority.issue(OFFICER));
    let _first = Client::open(&scene.client(&backend)).expect("it is welcome");
    assert_eq!(refused(Client::open(&scene.client(&backend))), Refusal::TooManyConnections);
    assert_eq!(
        refused(Client::open(&scene.served.backend())),
        Refusal::TooManyConnections,
        "by whichever door"
    );
    Client::open(&scene.client(&officer)).expect("it is welcome").assert_echo(b"hello");
}

#[test]
fn a_peer_without_a_call_under_way_has_a_turn_at_once_however_many_calls_of_another_wait() {
    let scene = Scene::with(|_, config| config.limits.max_calls = 2);
    let mut greedy: Vec<Client> = (0..6).map(|_| scene.served.client()).collect();
    for client in &mut greedy {
        client.framed.write([&[WAIT], &[]]).expect("it is taken");
    }
    scene.served.mock.wait_for("every turn", |state| state.in_flight == 2);
    let mut other = Client::open(&scene.client(&scene.authority.issue(BACKEND))).expect("it is welcome");
    for _ in 0..10 {
        other.assert_echo(b"at once");
    }
    assert_eq!(scene.served.mock.state().in_flight, 2, "and it took nobody's turn");
    scene.served.mock.release();
    for mut client in greedy {
        assert_eq!(client.answer(), Some(Told::Answer(vec![WAIT])));
    }
    assert_eq!(scene.served.mock.state().most_in_flight, 3);
}

#[test]
fn a_reload_takes_new_certificates_and_refuses_bad_ones() {
    let scene = Scene::new();
    let own = scene.authority.issue(BACKEND);
    let mut connected = Client::open(&scene.client(&own)).expect("it is welcome");
    let mut local = scene.served.client();
    let server = &scene.served.server;
    // Whatever is wrong, the old certificates stay.
    let good =
        [fs::read(&scene.server.certificate).expect("there"), fs::read(&scene.server.key).expect("there")];
    let other_key = fs::read(scene.authority.issue(BOUNDARY).key).expect("there");
    let (certificate, key) = (&scene.server.certificate, &scene.server.key);
    let wrongs: [(&Path, &[u8], &str); 6] = [
        (certificate, b"", "the file has no certificate"),
        (
            certificate,
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "serve.tcp.certificate_file",
        ),
        (certificate, b"-----BEGIN CERTIFICATE-----\n!", "not PEM"),
        (key, b"", "no private key"),
        (key, &other_key, "not the key"),
        (key, &good[0], "no private key"),
    ];
    for (file, bytes, words) in wrongs {
        fs::write(file, bytes).expect("ours");
        let told = server.reload(&scene.served.config).expect_err("a bad one").to_string();
        assert!(told.contains(words) && told.contains(&file.display().to_string()), "{told}");
        assert!(!told.contains("PRIVATE KEY"), "{told}");
        fs::write(certificate, &good[0]).expect("ours");
        fs::write(key, &good[1]).expect("ours");
        Client::open(&scene.client(&own)).expect("it is welcome").assert_echo(b"as before");
    }
    fs::set_permissions(key, fs::Permissions::from_mode(0o640)).expect("ours");
    let told = server.reload(&scene.served.config).expect_err("others can read it").to_string();
    assert!(told.contains("chmod 600") && told.contains("mode 640"), "{told}");
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).expect("ours");
    connected.assert_echo(b"undisturbed");

    // A new certificate for the server, from a new authority: nobody is disturbed.
    let next = Authority::new(&scene.authority.folder, "next");
    let renewed = next.issue(BOUNDARY);
    fs::copy(&renewed.certificate, certificate).expect("ours");
    fs::copy(&renewed.key, key).expect("ours");
    assert_eq!(server.reload(&scene.served.config).expect("a good one"), 0);
    connected.assert_echo(b"undisturbed");
    assert!(scene.error(&own).contains("connect.tls.authority_file"), "of the new authority");
    let mut with_next = scene.client(&own);
    tls_of(&mut with_next).authority_file = next.file();
    Client::open(&with_next).expect("it is welcome").assert_echo(b"renewed");

    scene.served.wait_for_metric(TCP_CONNECTIONS, 1.0);

    // A new authority for clients: clients of the old one are dropped, and those at other doors stay.
    fs::copy(next.file(), scene.authority.file()).expect("ours");
    assert_eq!(server.reload(&scene.served.config).expect("a good one"), 1);
    connected.assert_over();
    local.assert_echo(b"undisturbed");
    let told = error(&with_next);
    assert!(told.contains("serve.tcp.client_authority_file"), "{told}");
    let mut with_next = scene.client(&next.issue(BACKEND));
    tls_of(&mut with_next).authority_file = next.file();
    let mut connected = Client::open(&with_next).expect("it is welcome");

    scene.served.wait_for_metric(TCP_CONNECTIONS, 1.0);

    // A name that is no longer allowed.
    let mut config = scene.served.config.clone();
    config.tcp.as_mut().expect("there").backends = names(&["backend-2.example"]);
    assert_eq!(server.reload(&config).expect("a good one"), 1);
    connected.assert_over();
    assert_eq!(refused(Client::open(&with_next)), Refusal::NotAllowed);
    // Or a name that now belongs to the other role: its application was a backend's.
    server.reload(&scene.served.config).expect("a good one");
    let mut connected = Client::open(&with_next).expect("it is welcome");
    scene.served.wait_for_metric(TCP_CONNECTIONS, 1.0);
    let tcp = config.tcp.as_mut().expect("there");
    tcp.administrators = names(&[BACKEND]);
    assert_eq!(server.reload(&config).expect("a good one"), 1);
    connected.assert_over();
    // And no TCP at all.
    config.tcp = None;
    server.reload(&config).expect("a good one");
    assert!(Client::open(&with_next).is_err());
    drop(local);
    scene.served.assert_well();
}

#[test]
fn unusable_files_of_a_client_are_named() {
    let scene = Scene::new();
    let own = scene.authority.issue(BACKEND);
    let good = scene.client(&own);
    let missing = scene.authority.folder.join("missing");
    for key in ["connect.tls.authority_file", "connect.tls.certificate_file", "connect.tls.key_file"] {
        let mut config = good.clone();
        let tls = tls_of(&mut config);
        match key {
            "connect.tls.authority_file" => tls.authority_file.clone_from(&missing),
            "connect.tls.certificate_file" => tls.certificate_file.clone_from(&missing),
            _ => tls.key_file.clone_from(&missing),
        }
        let told = error(&config);
        assert!(told.contains(key) && told.contains(&missing.display().to_string()), "{told}");
    }
    fs::set_permissions(&own.key, fs::Permissions::from_mode(0o604)).expect("ours");
    let told = error(&good);
    assert!(told.contains("connect.tls.key_file") && told.contains("chmod 600"), "{told}");
    let ConnectAddress::Tcp { tls, .. } = &good.address else { panic!("it is TCP") };
    assert!(tls::client(tls).is_err());
}
