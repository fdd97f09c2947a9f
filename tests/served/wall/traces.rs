//! What stays behind: in the memory of a client after a signature, in the boundary's log, in the output of
//! its monitoring.

#![allow(unsafe_code, reason = "the function tables of PKCS#11 are tables of unsafe functions")]

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bitcoin::secp256k1::{Secp256k1, SecretKey};
use countersign::kernel::digest_key::{DigestKey, DigestKeyRecord};
use countersign::kernel::record::Stored;
use countersign::kernel::seal::{DataKey, Kind};
use countersign::pkcs11::vendor::{CKM_COUNTERSIGN_DIGEST, CKM_COUNTERSIGN_PSBT};
use countersign::ports::{Sealer, Vault, View};
use countersign::shell::backing::Backing;
use countersign::shell::config::EngineConfig;
use countersign::shell::sqlite::Sqlite;
use countersign::shell::vault::SealedVault;
use cryptoki_sys::*;
use data_encoding::{BASE64, HEXLOWER};
use memchr::memmem::Finder;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use zeroize::Zeroizing;

use harness::module::raw::{Raw, call, call_v3};
use harness::module::{Finished, assert_rv, copy_folder, report, this_test};

use super::memory::wait_for;
use harness::users::{
    BACKEND, BOUNDARY, Customer, DIGEST_KEY, USER, WALLET, Wall, behind_the_wall, ended, http, sign_order,
};

/// Bytes that must not be found, with their names.
type Needles = Vec<(String, Vec<u8>)>;

/// A marker in the memory of every client, which must be found.
const MARKER: &str = "marker";

/// All secrets of a boundary, and the code of the current order.
fn secrets(wall: &Wall, customer: &Customer, code: &str) -> Needles {
    let (base32, otp) = customer.secret();
    let opened = open_copy(wall);
    let [data_key, digest_key] =
        ["data-key", "digest-key"].map(|name| HEXLOWER.decode(opened.value(name).as_bytes()).expect("hex"));
    let mut needles: Needles = vec![("the OTP secret in base 32".into(), base32.into_bytes())];
    for (name, bytes) in
        [("the OTP secret", otp), ("the data key", data_key), ("the key that signs digests", digest_key)]
    {
        assert!(bytes.len() >= 20, "{name} is too short to be looked for");
        let hex = HEXLOWER.encode(&bytes);
        needles.push((format!("{name} in hex"), hex.to_uppercase().into_bytes()));
        needles.push((format!("{name} in hex"), hex.into_bytes()));
        needles.push((name.into(), bytes));
    }
    for (name, text) in [
        ("the user PIN", wall.noted("user.pin")),
        ("the SO PIN", wall.noted("so.pin")),
        ("the backing token's PIN", read(wall, "boundary/backing-user.pin")),
        ("the backing token's SO PIN", read(wall, "boundary/backing-so.pin")),
        ("the code", code.to_owned()),
    ] {
        assert!(text.trim().len() >= 8, "{name} is too short to be looked for");
        needles.push((name.into(), text.trim().as_bytes().to_vec()));
    }
    needles
}

fn read(wall: &Wall, name: &str) -> String {
    fs::read_to_string(wall.path(name)).expect("root may")
}

/// Opens a copy of the boundary, as anybody with store, token and PIN can.
fn open_copy(wall: &Wall) -> Finished {
    copy_folder(&wall.path("boundary"), &wall.path("notes/copy"));
    let (ours, copy) = (wall.path("boundary"), wall.path("notes/copy"));
    for file in ["softhsm2.conf", "inside.toml"] {
        let text = fs::read_to_string(copy.join(file)).expect("it was copied");
        let text = text.replace(ours.to_str().expect("UTF-8"), copy.to_str().expect("UTF-8"));
        fs::write(copy.join(file), text).expect("the folder is ours");
    }
    let mut opener = wall.command(0, "opener");
    opener.env("SOFTHSM2_CONF", copy.join("softhsm2.conf"));
    Finished::of(&mut opener).expect_success()
}

/// Reports the key that seals all records, and the secret key that signs digests.
fn tell_keys(wall: &Wall) {
    let config = EngineConfig::load(&wall.path("notes/copy/inside.toml")).expect("it was copied");
    let backing = Backing::open(&config.backing).expect("store, token and PIN are here");
    let header = Sqlite::read_only(&config.store.path).expect("it was copied").header().expect("it has one");
    let key = backing.unwrap(&header.store, &DataKey::wrapping_context(&header.store), &header.wrapped_key);
    report("data-key", HEXLOWER.encode(&*key.expect("it answers").expect("the key is right")));
    let vault = SealedVault::at(config.store.path, &backing).expect("the folder is there");
    let ledger = vault.open().expect("the copy is whole").expect("it was initialised");
    let [place] = ledger.places(Kind::DigestKey).expect("it is open")[..] else { panic!("one key") };
    let record = ledger.read(&place).expect("it reads").expect("it is there");
    let record = record.plaintext();
    // The record ends with the secret.
    let secret = record.last_chunk::<32>().expect("it is longer");
    let (secp, key) = (Secp256k1::new(), DigestKeyRecord::decode(record).expect("it reads"));
    let key = DigestKey::open(&key, &secp).expect("it is a key");
    let of_secret = SecretKey::from_slice(secret).expect("it is one").public_key(&secp);
    assert_eq!(&of_secret, key.public_key());
    report("digest-key", HEXLOWER.encode(secret));
}

/// What the careful client signs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Psbt,
    Digest,
}

/// A client that wipes its own buffers: it logs in, signs an order with each way of attaching the code, and
/// stays.
fn careful_client(wall: &Wall, order: Order) {
    let marker = read_wiped(&wall.path("client").join(MARKER));
    {
        let raw = Raw::load();
        assert_rv!(raw.initialize(), CKR_OK);
        let session = raw.read_write();
        let mut pin = read_wiped(&wall.path("client/user.pin"));
        login(&raw, session, CKU_USER, &mut pin);
        let (label, file, signs) = match order {
            Order::Psbt => (WALLET, "psbt", CKM_COUNTERSIGN_PSBT),
            Order::Digest => (DIGEST_KEY, "digest", CKM_COUNTERSIGN_DIGEST),
        };
        let key = raw.wallet_key(session, label);
        let mut asked = HEXLOWER.decode(wall.given(file).as_bytes()).expect("hex");
        let code = read_wiped(&wall.path("client/code"));
        // An approval, laid out as in `include/countersign.h`.
        let mut record = Zeroizing::new(vec![0_u8; 128]);
        record[..4].copy_from_slice(&[1, 1, USER.len() as u8, code.len() as u8]);
        record[4..4 + USER.len()].copy_from_slice(USER.as_bytes());
        record[64..64 + code.len()].copy_from_slice(&code);
        let (parameter, parameter_len) = (record.as_mut_ptr().cast(), record.len() as CK_ULONG);
        assert_rv!(raw.message_sign_init(session, signs, key), CKR_OK);
        let (data, data_len) = (asked.as_mut_ptr(), asked.len() as CK_ULONG);
        let mut signed = vec![0; asked.len() + 4_096];
        let (out, mut len) = (signed.as_mut_ptr(), signed.len() as CK_ULONG);
        let rv =
            call_v3!(raw, C_SignMessage(session, parameter, parameter_len, data, data_len, out, &mut len));
        assert_rv!(rv, CKR_OK, "the code is right");
        signed.truncate(len as usize);
        assert_rv!(raw.message_sign_final(session), CKR_OK);
        let mut mechanism =
            CK_MECHANISM { mechanism: signs, pParameter: parameter, ulParameterLen: parameter_len };
        assert_rv!(call!(raw, C_SignInit(session, &mut mechanism, key)), CKR_OK);
        assert_eq!(raw.sign(session, &asked).as_ref(), Ok(&signed), "once charged, the same again");
        let mut named = Zeroizing::new(Vec::with_capacity(128));
        named.extend_from_slice(USER.as_bytes());
        named.push(b':');
        named.extend_from_slice(&code);
        assert_rv!(raw.sign_init(session, signs, &[], key), CKR_OK);
        login(&raw, session, CKU_CONTEXT_SPECIFIC, &mut named);
        assert_eq!(raw.sign(session, &asked), Ok(signed), "and by the other way, too");
    }
    println!("\nsigned");
    let _ = std::io::stdin().read(&mut [0]);
    assert!(!marker.is_empty());
}

fn login(raw: &Raw, session: CK_SESSION_HANDLE, who: CK_USER_TYPE, pin: &mut [u8]) {
    assert_rv!(call!(raw, C_Login(session, who, pin.as_mut_ptr(), pin.len() as CK_ULONG)), CKR_OK);
}

/// Reads a file into one buffer, which is wiped.
fn read_wiped(path: &Path) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(vec![0; 256]);
    let length = File::open(path).expect("it was given before").read(&mut bytes).expect("it can be read");
    assert!(length < bytes.len());
    bytes.truncate(length);
    bytes
}

/// Lets a careful client sign, and returns it while it stays.
fn signed_by_client(wall: &Wall) -> Child {
    let mut client = wall.command(BACKEND, "client");
    let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
    wait_for(&mut client, "signed");
    client
}

fn let_go(mut client: Child) {
    drop(client.stdin.take());
    assert!(ended(&mut client).expect("it ends").success());
}

/// The needles in the memory of a process, in every part that can be read.
fn found_in_memory(process: u32, needles: &Needles) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).expect("root may");
    let memory = File::open(format!("/proc/{process}/mem")).expect("root may");
    let mut found = Vec::new();
    let mut looked_at = 0;
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').expect("proc_pid_maps(5)");
        let (start, end) = range.split_once('-').expect("proc_pid_maps(5)");
        let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).expect("proc_pid_maps(5)"));
        // These mappings are the kernel's, and cannot be read like this.
        if !rest.starts_with('r') || line.contains("[vvar") || line.contains("[vsyscall]") {
            continue;
        }
        let bytes = read_range(&memory, start, end);
        looked_at += bytes.len();
        for (name, needle) in needles {
            for place in Finder::new(needle).find_iter(&bytes) {
                found.push(format!("{name} at {:#x} of {line}", start + place as u64));
            }
        }
    }
    assert!(looked_at > 1 << 20, "only {looked_at} bytes were looked at");
    found
}

/// The bytes of a mapping. Past the end of a mapped file there are none.
fn read_range(memory: &File, start: u64, end: u64) -> Vec<u8> {
    let mut bytes = vec![0; (end - start) as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        match memory.read_at(&mut bytes[filled..], start + filled as u64) {
            Ok(0) | Err(_) => break,
            Ok(more) => filled += more,
        }
    }
    bytes.truncate(filled);
    bytes
}

/// Gives the backend a marker, and returns its needle.
fn mark(wall: &Wall) -> (String, Vec<u8>) {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system gives randomness");
    let marker = HEXLOWER.encode(&bytes);
    wall.give(MARKER, &marker);
    (MARKER.into(), marker.into_bytes())
}

/// Expects to find the marker and nothing else.
fn expect_marker_alone(found: &[String]) {
    assert!(found.iter().any(|place| place.starts_with(MARKER)), "not even the marker was found");
    let secrets: Vec<_> = found.iter().filter(|place| !place.starts_with(MARKER)).collect();
    assert!(secrets.is_empty(), "{secrets:#?}");
}

/// The needles in the core file that a process would leave, or none without `gcore`.
fn found_in_core(wall: &Wall, process: u32, needles: &Needles) -> Option<Vec<String>> {
    let image = wall.path("notes/core");
    let done = match Command::new("gcore").arg("-o").arg(&image).arg(process.to_string()).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("not tried: gcore is not here (Debian: apt-get install gdb)");
            return None;
        }
        done => done.expect("it starts"),
    };
    let bytes = fs::read(format!("{}.{process}", image.display()))
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&done.stderr)));
    let places = |(name, needle): &(String, Vec<u8>)| {
        let places = Finder::new(needle).find_iter(&bytes).collect::<Vec<_>>();
        places.into_iter().map(|place| format!("{name} at {place}")).collect::<Vec<_>>()
    };
    Some(needles.iter().flat_map(places).collect())
}

fn leaves_nothing(wall: &Wall, order: Order) {
    match wall.role() {
        "body" => {
            let serving = wall.serve();
            let customer = wall.set_up_wallet();
            let code = customer.code();
            match order {
                Order::Psbt => drop(customer.order(wall, &code)),
                Order::Digest => customer.order_digest(wall, &code),
            }
            let mut needles = secrets(wall, &customer, &code);
            needles.push(mark(wall));
            let client = signed_by_client(wall);
            expect_marker_alone(&found_in_memory(client.id(), &needles));
            if let Some(found) = found_in_core(wall, client.id(), &needles) {
                expect_marker_alone(&found);
            }
            let_go(client);
            assert!(serving.stop().success());
        }
        "opener" => tell_keys(wall),
        _ => careful_client(wall, order),
    }
}

#[test]
fn a_client_over_a_unix_socket_keeps_no_secret_in_memory_or_in_a_core_image_after_it_signed() {
    behind_the_wall(this_test!(), |wall| leaves_nothing(wall, Order::Psbt));
}

#[test]
fn a_client_that_had_a_digest_signed_keeps_no_secret_in_memory_or_in_a_core_image() {
    behind_the_wall(this_test!(), |wall| leaves_nothing(wall, Order::Digest));
}

#[test]
fn a_client_over_tls_keeps_no_secret_in_memory_after_it_signed() {
    behind_the_wall(this_test!(), |wall| {
        if wall.role() == "body" {
            serve_by_tls(wall);
        }
        leaves_nothing(wall, Order::Psbt);
    });
}

/// Adds a TLS door to the boundary's configuration, and makes it the backend's.
fn serve_by_tls(wall: &Wall) {
    let mut params = CertificateParams::new(vec![]).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("a certificate").pem();
    let issuer = Issuer::new(params, key);
    for (folder, user, name) in
        [("boundary", BOUNDARY, "boundary.example"), ("client", BACKEND, "backend.example")]
    {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        wall.write(&format!("{folder}/own.pem"), &certificate.pem(), user);
        wall.write(&format!("{folder}/own.key"), &key.serialize_pem(), user);
        wall.write(&format!("{folder}/authority.pem"), &authority, user);
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = free.local_addr().expect("it is bound").port();
    drop(free);
    let files = |folder: &str, authority: &str| {
        let folder = wall.path(folder);
        let folder = folder.display();
        format!(
            "certificate_file = \"{folder}/own.pem\"\nkey_file = \"{folder}/own.key\"\n{authority} = \"{folder}/authority.pem\"\n"
        )
    };
    wall.configure(&format!(
        "{}[serve.tcp]\naddress = \"127.0.0.1:{port}\"\nbackends = [\"backend.example\"]\n{}",
        wall.configuration(),
        files("boundary", "client_authority_file")
    ));
    wall.give(
        "client.toml",
        &format!(
            "[connect]\naddress = \"tcp:127.0.0.1:{port}\"\n[connect.tls]\nserver_name = \"boundary.example\"\n{}",
            files("client", "authority_file")
        ),
    );
}

#[test]
fn no_part_of_an_order_is_in_the_boundarys_log_and_no_name_in_its_monitoring() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            let serving = wall.serve();
            let customer = wall.set_up_wallet();
            let (code, wrong) = (customer.code(), customer.wrong_code());
            let mut needles = secrets(wall, &customer, &code);
            needles.push(("a wrong code".into(), wrong.clone().into_bytes()));
            for code in [&wrong, &code, &code] {
                let psbt = customer.order(wall, code);
                // The first bytes of every PSBT.
                for (name, text) in
                    [("a PSBT in base 64", BASE64.encode(&psbt)), ("a PSBT in hex", HEXLOWER.encode(&psbt))]
                {
                    needles.push((name.into(), text.as_bytes()[..40].to_vec()));
                }
                needles.push(("a PSBT".into(), psbt[..20].to_vec()));
                let _ = wall.run(BACKEND, "backend");
            }
            let monitoring = wall.path("run/monitoring.sock");
            let metrics = http(&monitoring, "GET /metrics HTTP/1.1\r\n\r\n").expect("root may");
            let health = http(&monitoring, "GET /health HTTP/1.1\r\n\r\n").expect("root may");
            assert!(metrics.contains("countersign_calls_total{outcome=\"answered\"}"), "{metrics}");
            assert!(!metrics.contains("{outcome=\"answered\"} 0"), "{metrics}");
            for act in ["user-added", "user-confirmed", "wallet-created"] {
                let counted =
                    format!("countersign_administration_total{{act=\"{act}\",outcome=\"loosened\"}} ");
                assert!(metrics.contains(&counted), "{counted} is not in {metrics}");
                assert!(!metrics.contains(&format!("{counted}0")), "{metrics}");
            }
            assert!(serving.log().contains("refused: "), "the wrong code is told of: {}", serving.log());
            for act in ["was enrolled", "was confirmed by a first code", "was created"] {
                let log = serving.log();
                let is_told = |line: &str| line.contains("WARN administration: ") && line.contains(act);
                assert!(log.lines().any(is_told), "{act}: {log}");
            }
            let descriptor = wall.noted("descriptor");
            let names = [USER, WALLET, &descriptor[..40], &BACKEND.to_string()];
            for text in [&metrics, &health] {
                for name in names {
                    assert!(!text.contains(name), "{name} is in {text}");
                }
            }
            let log = serving.log();
            for text in [&log, &metrics, &health] {
                for (name, needle) in &needles {
                    assert!(Finder::new(needle).find(text.as_bytes()).is_none(), "{name} is in {text}");
                }
            }
            assert!(serving.stop().success());
        }
        "opener" => tell_keys(wall),
        _ => drop(sign_order(wall)),
    });
}
