//! One client cannot use up what others need.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use countersign::remote::client::Client as Application;
use countersign::remote::hello::{Hello, Refusal, VERSION};

use super::support::{Client, ECHO, LARGE, Told, WAIT, refusal, serve, serve_with};

const SHORT: Duration = Duration::from_millis(200);

/// An accepted connection, without the protocol of a client.
fn raw(path: &std::path::Path) -> UnixStream {
    let mut stream = UnixStream::connect(path).expect("it serves");
    let hello = Hello { join: None, first_handle: 1 }.encode(VERSION);
    stream.write_all(&(hello.len() as u32).to_le_bytes()).expect("it is taken");
    stream.write_all(&hello).expect("it is taken");
    let mut header = [0; 4];
    stream.read_exact(&mut header).expect("it is answered");
    let mut welcome = vec![0; u32::from_le_bytes(header) as usize];
    stream.read_exact(&mut welcome).expect("it is answered");
    assert_eq!(welcome[0], 0, "it is welcome");
    stream
}

/// Whether the other side has closed. Earlier bytes are skipped.
fn is_over(mut stream: &UnixStream) -> bool {
    stream.set_read_timeout(Some(super::support::LONG)).expect("ours");
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn slow_clients_wait_alone() {
    let served = serve();
    let path = served.socket("backend.sock");
    let slow: Vec<UnixStream> = (0..40)
        .map(|number| {
            let mut stream =
                if number % 2 == 0 { raw(&path) } else { UnixStream::connect(&path).expect("it serves") };
            stream.write_all(&[9, 0, 0, 0, 1][..number % 5 + 1]).expect("it is taken");
            stream
        })
        .collect();
    let mut client = served.client();
    for _ in 0..100 {
        client.assert_echo(b"at once");
    }
    drop((slow, client));
    served.assert_well();
}

#[test]
fn a_frame_has_its_time_from_its_first_byte_on() {
    let served = serve_with(|config| config.limits.frame = SHORT);
    let path = served.socket("backend.sock");
    // However the bytes trickle in: within header or payload, within a short or a long frame.
    for (first, then) in [(&[9][..], 0), (&[0x88, 0x13, 0, 0, ECHO], 1), (&[0, 0, 1, 0, ECHO], 1)] {
        let mut stream = raw(&path);
        stream.write_all(first).expect("it is taken");
        thread::scope(|scope| {
            let mut trickle = &stream;
            scope.spawn(move || {
                // One byte at a time, more often than the limit. Each byte is progress, but together they are
                // too late.
                let mut left = 2000 * then;
                while left > 0 && trickle.write_all(&[0]).is_ok() {
                    left -= 1;
                    thread::sleep(Duration::from_millis(5));
                }
            });
            assert!(is_over(&stream), "after {first:?}: it is still open");
        });
    }
    assert_eq!(served.metric("countersign_frames_refused_total{reason=\"slow\"}"), 3.0);
    // A client that sends nothing between two frames has the idle time, which is longer.
    let mut client = served.client();
    thread::sleep(2 * SHORT);
    client.assert_echo(b"here");
    // A client that does not greet has only a frame's time.
    assert!(is_over(&UnixStream::connect(&path).expect("it serves")));
    drop(client);
    served.assert_well();
}

#[test]
fn a_peer_that_does_not_read_its_answer_is_dropped() {
    let served = serve_with(|config| config.limits.frame = SHORT);
    let mut stream = raw(&served.socket("backend.sock"));
    stream.write_all(&[2, 0, 0, 0, LARGE, 8]).expect("it is taken");
    // Its application is closed although this side holds the connection open.
    served.mock.wait_for("the application", |state| state.opened.len() == 1);
    served.mock.wait_until_all_are_closed();
    // Taking a little now and then does not help either.
    let mut stream = raw(&served.socket("backend.sock"));
    stream.write_all(&[2, 0, 0, 0, LARGE, 16]).expect("it is taken");
    let mut taken = 0;
    while let Ok(bytes @ 1..) = stream.read(&mut [0; 4096]) {
        taken += bytes;
        thread::sleep(Duration::from_millis(2));
    }
    assert!(taken < 16 << 20, "it was given all the time it wanted");
    drop(stream);
    served.assert_well();
}

#[test]
fn connections_over_the_limit_are_refused_and_those_of_the_other_role_are_not() {
    let served = serve_with(|config| config.limits.max_connections = 3);
    let mut backends: Vec<Client> = (0..3).map(|_| served.client()).collect();
    for _ in 0..5 {
        assert_eq!(refusal(&served.backend()), Refusal::TooManyConnections);
    }
    let mut administrators: Vec<Client> =
        (0..3).map(|_| Client::open(&served.administrator()).expect("it is welcome")).collect();
    assert_eq!(refusal(&served.administrator()), Refusal::TooManyConnections);
    backends.iter_mut().chain(&mut administrators).for_each(|client| client.assert_echo(b"here"));
    assert_eq!(served.metric("countersign_peers_refused_total{door=\"backend\",reason=\"too_many\"}"), 5.0);
    drop(backends.pop());
    super::support::eventually("a place", || Client::open(&served.backend()).is_ok());
    drop((backends, administrators));
    served.assert_well();
}

#[test]
fn calls_over_the_limit_wait_for_their_turn() {
    let served = serve_with(|config| config.limits.max_calls = 2);
    thread::scope(|scope| {
        let calls: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = served.client();
                    client.call(&[WAIT])
                })
            })
            .collect();
        served.mock.wait_for("two calls", |state| state.in_flight == 2 && state.opened.len() == 6);
        // The other role has its own budget.
        Client::open(&served.administrator()).expect("it is welcome").assert_echo(b"at once");
        served.mock.release();
        for call in calls {
            assert_eq!(call.join().expect("no panic"), Some(Told::Answer(vec![WAIT])));
        }
    });
    // Two backends, and the administrator at the same time.
    assert_eq!(served.mock.state().most_in_flight, 3);
    served.assert_well();
}

#[test]
fn a_call_whose_turn_does_not_come_may_come_again() {
    let served = serve_with(|config| (config.limits.max_calls, config.limits.frame) = (1, SHORT));
    let mut first = served.client();
    first.framed.write([&[WAIT], &[]]).expect("it is taken");
    served.mock.wait_for("the call", |state| state.in_flight == 1);
    let mut second = served.client();
    assert_eq!(second.call(&[ECHO]), Some(Told::Busy));
    assert_eq!(second.call(&[ECHO]), Some(Told::Busy));
    served.mock.release();
    assert_eq!(first.answer(), Some(Told::Answer(vec![WAIT])));
    second.assert_echo(b"now");
    assert_eq!(served.metric("countersign_calls_total{outcome=\"busy\"}"), 2.0);
    drop((first, second));
    served.assert_well();
}

#[test]
fn large_frames_share_a_budget_and_small_ones_need_none() {
    let served = serve();
    let large = vec![ECHO; 17 << 20];
    // Three frames that never end take most of it.
    let held: Vec<UnixStream> = (0..3)
        .map(|_| {
            let mut stream = raw(&served.socket("backend.sock"));
            stream.write_all(&(large.len() as u32).to_le_bytes()).expect("it is taken");
            stream.write_all(&large[..large.len() - 1]).expect("it is taken");
            stream
        })
        .collect();
    let each = large.len() - 64 * 1024;
    served.wait_for_metric("countersign_large_frames_bytes", 3.0 * each as f64);
    let mut client = served.client();
    for _ in 0..2 {
        assert_eq!(client.call(&large), Some(Told::Busy));
        client.assert_echo(&[7; 60_000]);
    }
    assert_eq!(served.metric("countersign_frames_refused_total{reason=\"no_room\"}"), 2.0);
    // What backends use up does not affect administrators.
    assert_eq!(
        Client::open(&served.administrator()).expect("it is welcome").call(&large),
        Some(Told::Answer(large.clone()))
    );
    // An answer that is much larger than its request needs its part of the budget, too.
    assert_eq!(client.call(&[LARGE, 13]), Some(Told::Answer(vec![5; 13 << 20])));
    assert_eq!(client.call(&[LARGE, 15]), Some(Told::Busy));
    drop(held);
    served.wait_for_metric("countersign_large_frames_bytes", 0.0);
    assert_eq!(client.call(&large), Some(Told::Answer(large)));
    client.assert_echo(b"and it goes on");
    drop(client);
    served.assert_well();
}

#[test]
fn the_limit_on_requests_does_not_limit_answers() {
    let served = serve_with(|config| config.limits.max_frame_bytes = 65_536);
    let application = Application::open(&served.backend(), 1).expect("it is welcome");
    let answer = application.exchange(&[LARGE, 31], <[u8]>::to_vec).expect("it was made, and is given");
    assert_eq!(answer.len(), 31 << 20);
    let too_long =
        application.exchange(&[ECHO; 65_537], <[u8]>::to_vec).expect_err("no such request is carried");
    assert!(too_long.to_string().contains("serve.max_frame_bytes"), "{too_long}");
    // An answer that no client would accept is an error that ends the application, and never counts as an
    // answer.
    let lost = application.exchange(&[LARGE, 32], <[u8]>::to_vec).expect_err("no such answer is carried");
    assert!(lost.to_string().contains("closed this application"), "{lost}");
    drop(application);
    served.assert_well();
}

#[test]
fn claims_of_large_frames_take_nothing_from_others() {
    let served = serve();
    let claims: Vec<UnixStream> = (0..50)
        .map(|_| {
            let mut stream = raw(&served.socket("backend.sock"));
            stream.write_all(&(17_u32 << 20).to_le_bytes()).expect("it is taken");
            stream
        })
        .collect();
    let large = vec![ECHO; 16 << 20];
    assert_eq!(served.client().call(&large), Some(Told::Answer(large)));
    drop(claims);
    served.assert_well();
}

#[test]
fn each_family_of_metrics_has_a_name_of_its_own_and_labels_are_in_lower_case() {
    let served = serve_with(|config| config.limits.max_connections = 1);
    let mut client = served.client();
    client.assert_echo(b"counted");
    assert_eq!(refusal(&served.backend()), Refusal::TooManyConnections);
    assert_eq!(served.metric("countersign_connections_accepted_total{door=\"backend\"}"), 2.0);
    let text = served.server.metrics().encode();
    let mut families: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert!(families.len() >= 10, "{text}");
    families.iter_mut().for_each(|family| *family = family.split(' ').next().expect("its name"));
    families.sort_unstable();
    assert!(families.windows(2).all(|two| two[0] != two[1]), "{families:?}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.rsplit_once(' ').expect("a name and a number").0.replace("+Inf", "");
        assert_eq!(name, name.to_lowercase(), "{line}");
    }
}
