//! Gives a process of its own to a test that measures or limits its process.

use std::process::Command;

/// Runs a test in a process of its own, where no other test has threads, files or memory.
pub fn alone(name: &str, test: impl FnOnce()) {
    const VARIABLE: &str = "COUNTERSIGN_TEST_ALONE";
    if std::env::var(VARIABLE).is_ok_and(|wanted| wanted == name) {
        return test();
    }
    let program = std::env::current_exe().expect("it has a path");
    let mut child = Command::new(program);
    let child = child.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(VARIABLE, name);
    let output = child.output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stdout);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{told}\n{why}");
    print!("{told}");
}
