//! Pasting at the terminal: a text as long as a PSBT, and a terminal that is restored however the command
//! ended.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

/// A terminal, and a command that it controls.
struct Terminal {
    keyboard: File,
    screen: OwnedFd,
    line: OwnedFd,
}

impl Terminal {
    fn new() -> Terminal {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&keyboard).expect("granted");
        unlockpt(&keyboard).expect("unlocked");
        let name = ptsname(&keyboard, Vec::new()).expect("a name");
        let line = open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("its other side");
        let screen = keyboard.try_clone().expect("a second handle");
        Terminal { keyboard: keyboard.into(), screen, line }
    }

    /// Runs "countersign sign" on the terminal, which reads the PSBT before it loads a module.
    fn sign(&self) -> Child {
        let screen = File::from(self.screen.try_clone().expect("a second handle"));
        // Reads the screen, because the command would otherwise wait for room on it.
        thread::spawn(move || {
            let mut screen = screen;
            let mut shown = [0; 4096];
            while screen.read(&mut shown).is_ok_and(|read| read > 0) {}
        });
        Command::new("setsid")
            .arg("--ctty")
            .arg(harness::program())
            .args(["--config", "/nonexistent/countersign.toml", "--module", "/nonexistent/libcountersign.so"])
            .args(["sign", "--wallet", "treasury", "--out", "/dev/shm/never-written.psbt"])
            .stdin(self.line.try_clone().expect("a second handle"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts")
    }

    fn type_in(&self, text: &[u8]) {
        (&self.keyboard).write_all(text).expect("typed");
    }

    fn is_by_lines(&self) -> bool {
        let modes = tcgetattr(&self.line).expect("a terminal").local_modes;
        modes.contains(LocalModes::ICANON)
    }

    /// Waits until the command reads characters.
    fn wait_until_read(&self, child: &mut Child) {
        let begun = Instant::now();
        while self.is_by_lines() {
            assert!(child.try_wait().expect("waits").is_none(), "it ended before it read");
            assert!(begun.elapsed() < Duration::from_secs(60), "it does not read");
            thread::yield_now();
        }
    }
}

fn ended(child: Child) -> (Output, String) {
    let output = child.wait_with_output().expect("ends");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, text)
}

/// The bytes of a large PSBT, as far as the command line checks them.
fn psbt(len: usize) -> Vec<u8> {
    b"psbt\xff".iter().copied().chain((0..len).map(|at| (at % 251) as u8)).collect()
}

#[test]
fn a_psbt_of_any_length_is_pasted_whole_and_the_terminal_is_given_back() {
    let terminal = Terminal::new();
    for (len, hex) in [(100, false), (3_100, false), (300_000, false), (40_000, true)] {
        let mut child = terminal.sign();
        terminal.wait_until_read(&mut child);
        let text = if hex { hex::encode(psbt(len)) } else { STANDARD.encode(psbt(len)) };
        terminal.type_in(text.as_bytes());
        terminal.type_in(b"\n\x04");
        let (output, said) = ended(child);
        assert!(!output.status.success(), "{len} bytes: there is no module: {said}");
        assert!(said.contains("Paste the PSBT"), "{len} bytes: {said}");
        // The command has read all of it, and fails at the module, which does not exist.
        assert!(!said.contains("not a PSBT"), "{len}: {said}");
        assert!(said.contains("libcountersign.so"), "{len}: {said}");
        assert!(terminal.is_by_lines(), "{len}: the terminal is not as it was");
    }
}

#[test]
fn what_is_wrong_with_a_paste_is_said_and_the_terminal_is_given_back() {
    let terminal = Terminal::new();
    let mut child = terminal.sign();
    terminal.wait_until_read(&mut child);
    terminal.type_in(b"cHNidP8\x15hello\n\x04");
    let (_, said) = ended(child);
    assert!(said.contains("not a PSBT"), "{said}");
    assert!(terminal.is_by_lines());
}

#[test]
fn signals_end_it_as_usual_and_the_terminal_is_restored() {
    for (key, signal) in [(0x03, 2), (0x1c, 3)] {
        let terminal = Terminal::new();
        let mut child = terminal.sign();
        terminal.wait_until_read(&mut child);
        terminal.type_in(b"cHNidP8B");
        terminal.type_in(&[key]);
        let (output, _) = ended(child);
        assert_eq!(output.status.signal(), Some(signal));
        assert!(terminal.is_by_lines(), "after signal {signal}");
    }
    for (signal, number) in [("-TERM", 15), ("-HUP", 1)] {
        let terminal = Terminal::new();
        let mut child = terminal.sign();
        terminal.wait_until_read(&mut child);
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success(), "kill {signal}: {sent}");
        let (output, _) = ended(child);
        assert_eq!(output.status.signal(), Some(number), "{signal}");
        assert!(terminal.is_by_lines(), "after {signal}");
    }
}

#[test]
fn a_stop_gives_the_terminal_back_and_going_on_takes_it_again() {
    let terminal = Terminal::new();
    let mut child = terminal.sign();
    terminal.wait_until_read(&mut child);
    let send = |signal: &str| {
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
    };
    send("-TSTP");
    let begun = Instant::now();
    while !terminal.is_by_lines() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the terminal is not given back");
        thread::yield_now();
    }
    send("-CONT");
    terminal.wait_until_read(&mut child);
    terminal.type_in(STANDARD.encode(psbt(10_000)).as_bytes());
    terminal.type_in(b"\n\x04");
    let (_, said) = ended(child);
    assert!(!said.contains("not a PSBT") && said.contains("libcountersign.so"), "{said}");
    assert!(terminal.is_by_lines());
}
