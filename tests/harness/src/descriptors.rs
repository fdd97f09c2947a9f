//! The descriptors that a process has open.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::process::Command;

/// The numbers of the descriptors that a process has open, which is named as in `/proc`. For this process, that of the listing is
/// among them.
///
/// `countersign serve` hides them from every other process of its user. Root sees them.
pub fn open_descriptors(process: &str) -> BTreeSet<u64> {
    let folder = format!("/proc/{process}/fd");
    let number = |name: &str| name.parse().expect("Linux names them by number");
    match fs::read_dir(&folder) {
        Ok(entries) => entries
            .map(|entry| number(entry.expect("Linux lists them").file_name().to_str().expect("digits")))
            .collect(),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let listed =
                Command::new("sudo").args(["-n", "ls", &folder]).output().expect("sudo is installed");
            assert!(
                listed.status.success(),
                "only root sees {folder}: run this as root, or where \"sudo -n\" works"
            );
            String::from_utf8_lossy(&listed.stdout).lines().map(number).collect()
        }
        Err(error) => panic!("{folder}: {error}"),
    }
}
