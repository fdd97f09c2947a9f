//! What the process gives up before it serves.

use super::*;

#[test]
fn the_process_is_hardened_before_it_serves() {
    if was_the_process() {
        return;
    }
    if std::env::var_os("COUNTERSIGN_TEST_HARDEN").is_none() {
        // The limits apply to a whole process, so this uses its own.
        let program = std::env::current_exe().expect("it has a path");
        let mut child = Command::new(program);
        child.args([
            "serve::tests::hardened::the_process_is_hardened_before_it_serves",
            "--exact",
            "--nocapture",
        ]);
        let output = child.env("COUNTERSIGN_TEST_HARDEN", "1").output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stdout);
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && told.contains("1 passed"), "{told}\n{why}");
        return;
    }
    let limits = ServeLimits { max_connections: 1_000_000_000, ..ServeLimits::default() };
    let error = hardening::harden(&limits).err().map(|error| format!("{} {}", error.what, error.next));
    match error {
        Some(error) if error.contains("LimitMEMLOCK") => {
            eprintln!("not tried as a whole: {error}");
            return;
        }
        Some(error) => assert!(error.contains("LimitNOFILE") && error.contains("max_connections"), "{error}"),
        None => assert_eq!(rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum, None),
    }
    hardening::harden(&ServeLimits::default()).expect("as much is allowed");
    assert_eq!(dumpable_behavior().expect("it is Linux"), DumpableBehavior::NotDumpable);
    assert!(no_new_privs().expect("it is Linux"));
    let core = rustix::process::getrlimit(rustix::process::Resource::Core);
    assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    assert!(files.is_none_or(|files| files >= 2 * 1024));
    let status = fs::read_to_string("/proc/self/status").expect("it is Linux");
    let locked = status.lines().find(|line| line.starts_with("VmLck:")).expect("it is there");
    assert!(!locked.contains(" 0 kB"), "{locked}");
    // Also pages that are allocated later.
    let later = vec![1_u8; 4 << 20];
    let smaps = fs::read_to_string("/proc/self/smaps").expect("it is Linux");
    let total: usize = smaps
        .lines()
        .filter_map(|line| line.strip_prefix("Locked:")?.trim().strip_suffix(" kB")?.parse::<usize>().ok())
        .sum();
    assert!(total >= 4096, "{total} kB are locked, of {} more", later.len());
}

#[test]
fn it_does_not_start_where_memory_cannot_be_locked() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tried: only root can become a user that may lock nothing");
        return;
    }
    if std::env::var_os("COUNTERSIGN_TEST_HARDEN").is_none() {
        let program = std::env::current_exe().expect("it has a path");
        let mut child = Command::new(program);
        child.args([
            "serve::tests::hardened::it_does_not_start_where_memory_cannot_be_locked",
            "--exact",
            "--nocapture",
        ]);
        let output = child.env("COUNTERSIGN_TEST_HARDEN", "1").output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stdout);
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && told.contains("1 passed"), "{told}\n{why}");
        return;
    }
    // A limit, however high, will be reached one day, and limits are only ever lowered.
    for bytes in [4 << 20, 65_536, 0] {
        let limit = rustix::process::Rlimit { current: Some(bytes), maximum: Some(bytes) };
        rustix::process::setrlimit(rustix::process::Resource::Memlock, limit)
            .expect("everybody may lower it");
        let refused = thread::spawn(|| {
            // For this thread alone.
            let nobody = Uid::from_raw(65534);
            set_thread_res_uid(nobody, nobody, nobody).expect("root may");
            hardening::harden(&ServeLimits::default())
        });
        let error = refused.join().expect("it does not panic").expect_err("it must not start");
        assert!(
            error.what.contains("swap") && error.next.contains("LimitMEMLOCK"),
            "{bytes}: {}",
            error.what
        );
    }
}
