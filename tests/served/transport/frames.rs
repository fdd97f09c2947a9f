//! Bytes that are no frame, no greeting, or not ours.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use countersign::remote::hello::{Hello, MAGIC, Refusal, VERSION, Welcome};

use super::support::{ECHO, Served, Told, serve, serve_with};

fn connect(served: &Served) -> UnixStream {
    UnixStream::connect(served.socket("backend.sock")).expect("it serves")
}

fn framed(payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_le_bytes(), payload].concat()
}

fn hello() -> Vec<u8> {
    framed(&Hello { join: None, first_handle: 1 }.encode(VERSION))
}

/// All bytes until the other side closes.
fn rest(mut stream: &UnixStream) -> Vec<u8> {
    let mut all = Vec::new();
    // A connection that is reset has delivered all it has.
    let _ = stream.read_to_end(&mut all);
    all
}

#[test]
fn bytes_that_are_no_greeting_are_closed_without_an_application() {
    let served = serve();
    let good = hello();
    let mut version = MAGIC.to_vec();
    version.extend_from_slice(&[VERSION as u8, 7, 7, 7]);
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 4],
        &[0xff; 64],
        &framed(b"x"),
        &framed(&[7; 257]),
        &framed(&MAGIC),
        &framed(&version),
        // Longer or shorter than announced: the next frame begins in the middle, or never.
        &[&4_u32.to_le_bytes()[..], &MAGIC].concat(),
    ] {
        let mut stream = connect(&served);
        stream.write_all(bytes).expect("it is taken");
        stream.shutdown(std::net::Shutdown::Write).expect("ours");
        assert_eq!(rest(&stream), b"", "{bytes:?}");
    }
    for cut in 1..good.len() {
        let mut stream = connect(&served);
        stream.write_all(&good[..cut]).expect("it is taken");
        stream.shutdown(std::net::Shutdown::Write).expect("ours");
        assert_eq!(rest(&stream), b"");
    }
    // Connecting only to see whether it is there is allowed.
    drop(connect(&served));
    assert_eq!(served.mock.state().opened.len(), 0);
    let refused = served.metric("countersign_peers_refused_total{door=\"backend\",reason=\"greeting\"}");
    assert_eq!(refused as usize, 8 + good.len() - 1);
    served.assert_well();
}

#[test]
fn a_peer_of_another_version_learns_which_version_is_spoken_here() {
    let served = serve();
    let mut other = MAGIC.to_vec();
    other.push(VERSION as u8 + 1);
    other.extend_from_slice(b"whatever that one will say");
    let mut stream = connect(&served);
    stream.write_all(&framed(&other)).expect("it is taken");
    let answer = rest(&stream);
    assert!(
        matches!(Welcome::decode(&answer[4..]), Some(Welcome::Refused(Refusal::Version { ours: VERSION }))),
        "{answer:?}"
    );
    served.assert_well();
}

#[test]
fn a_frame_that_is_cut_off_oversized_or_empty_ends_its_application_alone() {
    let served = serve_with(|config| config.limits.max_frame_bytes = 1 << 20);
    let mut neighbour = served.client();
    assert_eq!(neighbour.max_frame, 1 << 20);
    let whole = framed(&[ECHO; 100_000]);
    let over = ((1_u32 << 20) + 1).to_le_bytes();
    for (bytes, reason) in [
        (&whole[..2], "cut"),
        (&whole[..4], "cut"),
        (&whole[..50], "cut"),
        (&whole[..whole.len() - 1], "cut"),
        (&over[..], "too_long"),
        (&[0xff; 4], "too_long"),
        (&[0; 4], "empty"),
    ] {
        let name = format!("countersign_frames_refused_total{{reason=\"{reason}\"}}");
        let before = served.metric(&name);
        let mut stream = connect(&served);
        stream.write_all(&hello()).expect("it is taken");
        stream.write_all(bytes).expect("it is taken");
        stream.shutdown(std::net::Shutdown::Write).expect("ours");
        // Its welcome, and nothing else.
        assert_eq!(rest(&stream).len(), 4 + 1 + 32 + 3);
        served.wait_for_metric(&name, before + 1.0);
        neighbour.assert_echo(b"undisturbed");
    }
    let largest = vec![ECHO; 1 << 20];
    assert_eq!(neighbour.call(&largest), Some(Told::Answer(largest)));
    drop(neighbour);
    served.assert_well();
}

#[test]
fn requests_may_come_in_pieces_or_together() {
    let served = serve();
    let mut stream = connect(&served);
    let two = [hello(), framed(b"e1"), framed(b"e2")].concat();
    for byte in &two {
        stream.write_all(&[*byte]).expect("it is taken");
    }
    let mut answers = vec![0; 41 + 2 * 7];
    stream.read_exact(&mut answers).expect("they come");
    assert_eq!(&answers[41..], b"\x03\0\0\0\0e1\x03\0\0\0\0e2");
    stream.write_all(&[framed(b"e3"), framed(b"e4")].concat()).expect("it is taken");
    let mut answers = [0; 2 * 7];
    stream.read_exact(&mut answers).expect("they come");
    assert_eq!(&answers, b"\x03\0\0\0\0e3\x03\0\0\0\0e4");
    drop(stream);
    served.assert_well();
}

#[test]
fn random_bytes_do_no_harm() {
    let served = serve_with(|config| config.limits.max_frame_bytes = 1 << 20);
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..300 {
        let mut bytes = if round % 2 == 0 { hello() } else { Vec::new() };
        for _ in 0..random() % 40 {
            let mut some: Vec<u8> = (0..random() % 60).map(|_| random() as u8 % 4).collect();
            if random() % 2 == 0 && !some.is_empty() {
                some = framed(&some);
            }
            bytes.append(&mut some);
        }
        if !bytes.is_empty() && random() % 3 == 0 {
            let place = random() as usize % bytes.len();
            bytes[place] ^= 1 << (random() % 8);
        }
        // `w` would wait for a release, and `p` would panic. Neither can occur, because all bytes are below
        // 4.
        let mut stream = connect(&served);
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = rest(&stream);
    }
    assert!(served.mock.state().opened.len() > 50, "some of them got through");
    served.assert_well();
}
