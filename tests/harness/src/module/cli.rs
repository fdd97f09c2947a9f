//! The command line, as a person or a script runs it.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use bitcoin::bip32::{Fingerprint, Xpub};
use bitcoin::secp256k1::Secp256k1;
use countersign::kernel::network::Network;
use countersign::kernel::wallet::WatchOnly;
use serde_json::Value;

use super::doors::BACKENDS;
use super::{Authenticator, Boundary, Finished, PERIOD, SO_PIN, USER_PIN, module};
use crate::program;

/// The command line, in the boundary of this test.
pub struct Cli<'a>(pub &'a Boundary);

/// The answer of a command: its JSON, whether it succeeded, and its standard error.
pub struct Answer {
    pub json: Value,
    pub success: bool,
    pub stderr: String,
}

impl Cli<'_> {
    /// Initialises the token, and enrols alice, who confirms.
    pub fn new(boundary: &Boundary) -> (Cli<'_>, Authenticator) {
        let cli = Cli(boundary);
        for (name, pin) in [("so.pin", SO_PIN), ("user.pin", USER_PIN)] {
            boundary.note(name, pin);
        }
        cli.does(&["init", "--label", "t"]);
        let period = PERIOD.to_string();
        let json = cli.does(&["user", "add", "alice", "--period", &period]);
        let alice = Authenticator::scan("alice", json["user"]["otpauth_uri"].as_str().expect("a URI"));
        boundary.note("code", &alice.code());
        cli.does(&["user", "confirm", "alice"]);
        (cli, alice)
    }

    /// The command, ready to run, under another program if one is given: `faketime …`. It gets the right PINs
    /// and the noted code.
    pub fn command(&self, under: &[&str], arguments: &[&str]) -> Command {
        let mut words = under.iter().map(Into::into).chain([program().into_os_string()]);
        let mut command = Command::new(words.next().expect("there is the program at least"));
        command
            .args(words)
            .arg("--module")
            .arg(module())
            .args(arguments)
            .current_dir(self.0.folder())
            .env("COUNTERSIGN_CONF", self.conf_for(arguments))
            .env("SOFTHSM2_CONF", self.0.folder().join("softhsm2.conf"))
            .env("COUNTERSIGN_SO_PIN", SO_PIN)
            .env("COUNTERSIGN_USER_PIN", USER_PIN)
            .env("COUNTERSIGN_CODE", fs::read_to_string(self.0.folder().join("code")).unwrap_or_default())
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .stdin(Stdio::null());
        command
    }

    /// The configuration of the door that a verb needs.
    fn conf_for(&self, arguments: &[&str]) -> PathBuf {
        let backend = self.0.folder().join(BACKENDS);
        let signs = matches!(arguments, ["sign" | "propose" | "proposal", ..] | ["key", "sign", ..]);
        if signs && backend.exists() { backend } else { self.0.conf() }
    }

    /// Runs a command that answers in JSON.
    pub fn answer(command: &mut Command, typed: &str) -> Answer {
        let mut running = command
            .arg("--json")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        // A command that asks for nothing may have ended already.
        let _ = running.stdin.take().expect("it is piped").write_all(typed.as_bytes());
        let done = running.wait_with_output().expect("it ends");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let (stdout, stderr) = (text(&done.stdout), text(&done.stderr));
        let json = serde_json::from_str(&stdout).unwrap_or_else(|error| {
            panic!("{command:?}: no JSON ({error})\n{stdout}\n{stderr}");
        });
        Answer { json, success: done.status.success(), stderr }
    }

    /// Runs a command and returns its answer.
    pub fn run(&self, arguments: &[&str]) -> Answer {
        Cli::answer(&mut self.command(&[], arguments), "")
    }

    /// Runs a command that must succeed, and returns its JSON.
    pub fn does(&self, arguments: &[&str]) -> Value {
        let answer = self.run(arguments);
        assert!(answer.success, "{arguments:?}: {}\n{}", answer.json, answer.stderr);
        answer.json
    }

    /// Runs a command that must fail, and returns its message.
    pub fn fails(&self, arguments: &[&str]) -> String {
        let answer = self.run(arguments);
        assert!(!answer.success, "{arguments:?}: {}", answer.json);
        answer.json["error"]["what"].as_str().unwrap_or_else(|| panic!("{}", answer.json)).to_owned()
    }

    /// Runs a command that answers in text.
    pub fn text(&self, arguments: &[&str]) -> Finished {
        Finished::of(&mut self.command(&[], arguments))
    }

    /// The public side of a wallet, from the command line's output.
    pub fn watch(&self, label: &str) -> WatchOnly {
        let json = self.does(&["wallet", "show", label]);
        let text = |field: &str| json["wallet"][field].as_str().expect("a text");
        let fingerprint: Fingerprint = text("fingerprint").parse().expect("hex");
        let path = text("path").parse().expect("a path");
        let xpub: Xpub = text("xpub").parse().expect("an xpub");
        let secp = Secp256k1::new();
        WatchOnly::register(label, text("descriptor"), (fingerprint, &path), &xpub, Network::Regtest, &secp)
            .expect("what is shown is what is registered")
    }

    /// The command line's view of a PSBT.
    pub fn show(&self, label: &str, file: &str) -> Value {
        self.does(&["psbt", "show", "--wallet", label, "--in", file])
    }
}
