//! Officers in a folder: their keys, the command line as they run it, and minisign itself.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::module::Finished;
use crate::module::cli::{Answer, Cli};

/// Every officer's password.
pub const PASSWORD: &str = "officer's password 4e1b";

/// The command line in a folder, as an officer runs it.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(crate::program());
    command
        .args(arguments)
        .current_dir(folder)
        .env("COUNTERSIGN_CONF", folder.join("countersign.toml"))
        .env("COUNTERSIGN_OFFICER_PASSWORD", PASSWORD)
        .stdin(Stdio::null());
    command
}

/// The answer of a command, which never contains a password.
pub fn countersign(folder: &Path, arguments: &[&str]) -> Answer {
    let answer = Cli::answer(&mut command(folder, arguments), "");
    assert!(!answer.stderr.contains(PASSWORD) && !answer.json.to_string().contains(PASSWORD));
    answer
}

/// The JSON of a command that must succeed.
pub fn done(answer: &Answer) -> &Value {
    assert!(answer.success, "{}\n{}", answer.json, answer.stderr);
    &answer.json
}

/// The message and the next step of a command that must fail.
pub fn failed(answer: &Answer) -> String {
    assert!(!answer.success, "{}", answer.json);
    let error = &answer.json["error"];
    let text = |field: &str| error[field].as_str().unwrap_or_else(|| panic!("{}", answer.json));
    format!("{}\n{}", text("what"), text("next"))
}

/// Makes `NAME.key` and `NAME.pub`, and returns the key id.
pub fn keygen(folder: &Path, name: &str) -> String {
    let (secret, public) = (format!("{name}.key"), format!("{name}.pub"));
    let answer = countersign(folder, &["plugin", "keygen", "--secret-key", &secret, "--public-key", &public]);
    done(&answer)["officer"]["key_id"].as_str().expect("a text").to_owned()
}

/// Runs minisign in a folder. It reads passwords from its standard input.
pub fn minisign(folder: &Path, arguments: &[&str], typed: &str) -> Finished {
    let mut child = Command::new("minisign")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("minisign starts; install it (Debian: apt-get install minisign)");
    // If minisign asks for no password, it may have ended already.
    let _ = child.stdin.take().expect("it is piped").write_all(typed.as_bytes());
    let done = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Finished { status: done.status, stdout: text(&done.stdout), stderr: text(&done.stderr) }
}

/// The second line of a public key's file.
pub fn line(folder: &Path, file: &str) -> String {
    let text = fs::read_to_string(folder.join(file)).expect("it was written");
    text.lines().nth(1).expect("a comment and the key").to_owned()
}
