//! A disk that is full or broken: at every single system call of one signature, from that call on, and on a
//! disk that is really full.
//!
//! After a single fault the store and the token are opened again, and the signature is made. If the disk
//! stays broken, the module closes after trying for a second.

use std::fs;
use std::process::Command;

use super::inject::{Point, in_two_copies, points};
use super::story::{self, authenticator, found, request, sign_between_markers};
use cryptoki_sys::*;
use harness::module::{Boundary, Finished, in_boundary, report, summarise, this_test};

/// One case: a call, and how it fails.
struct Case {
    point: Point,
    fault: &'static str,
}

#[test]
fn crash_no_space_or_a_broken_disk_at_every_write_of_a_signature() {
    in_boundary(this_test!(), |boundary| match boundary.role() {
        "story" => story::tell(boundary, &["alice", "bob", "carol"]),
        "sign" => sign_through_a_fault(boundary),
        "look" => story::look(boundary),
        _ => every_point(boundary),
    });
}

fn every_point(boundary: &Boundary) {
    boundary.reopen_for(1);
    boundary.run("story");
    boundary.save("before");
    boundary.note("code", &authenticator(boundary, "alice").code_away(1));
    let points = points(boundary, "sign");
    boundary.restore("before");
    let mut cases = Vec::new();
    for point in points.iter().filter(|point| point.is_in(boundary)) {
        let once = ["error=ENOSPC", "error=EIO"];
        // The disk stays broken. Without calls that also write to the standard streams, because their report
        // would fail as well.
        let for_good = ["error=ENOSPC:when=+", "error=EIO:when=+"];
        let of_store_alone = ["pwrite64", "fdatasync", "fsync", "ftruncate", "fallocate"];
        cases.extend(once.map(|fault| Case { point: point.clone(), fault }));
        if point.call.starts_with("open") {
            cases.push(Case { point: point.clone(), fault: "error=EMFILE" });
        }
        if of_store_alone.contains(&point.call.as_str()) {
            cases.extend(for_good.map(|fault| Case { point: point.clone(), fault }));
        }
    }

    let answers = in_two_copies(boundary, &cases, try_one);
    let syncs = cases.iter().filter(|case| case.is_sync()).count();
    assert!(syncs >= 4, "a commit is a sync, which fails in four ways: {syncs}");
    let signed = answers.iter().filter(|rv| **rv == CKR_OK).count();
    assert!(signed < answers.len(), "no fault was met");
    let once = cases.iter().filter(|case| !case.is_for_good()).count();
    assert!(signed >= once, "{once} faults came once, and {signed} were signed");
    summarise(format_args!(
        "disk: {} faults at {} system calls, {} sound (100 %): {} refused, {signed} signed and spent",
        cases.len(),
        points.iter().filter(|point| point.is_in(boundary)).count(),
        answers.len(),
        answers.len() - signed
    ));
}

impl Case {
    fn is_sync(&self) -> bool {
        ["fdatasync", "fsync"].contains(&self.point.call.as_str())
    }

    fn is_for_good(&self) -> bool {
        self.fault.ends_with(":when=+")
    }
}

fn try_one(copy: &Boundary, case: &Case) -> CK_RV {
    let what = format!("{} at {:?}", case.fault, case.point);
    copy.note("code", &authenticator(copy, "alice").code_away(1));
    copy.note("carols-code", &authenticator(copy, "carol").code_away(1));
    let met = Finished::of(&mut copy.command_under(&case.point.strace(case.fault), "sign"));
    assert!(met.status.success(), "{what}\n{}\n{}", met.stdout, met.stderr);
    let answer = |name: &str| {
        CK_RV::from_str_radix(met.value(name).trim_start_matches("0x"), 16).expect("it is reported so")
    };
    let (first, then) = (answer("first"), answer("then"));
    if !case.is_for_good() {
        assert_eq!(first, CKR_OK, "{what}: it came once\n{}", met.stderr);
        assert_eq!(then, CKR_OK, "{what}: it is long over\n{}", met.stderr);
    } else if case.is_sync() {
        assert_ne!(first, CKR_OK, "{what}: signed, though nobody knows whether it is durable");
        assert_ne!(then, CKR_OK, "{what}: signed in a process that knows no more what is durable");
    }
    let found = found(copy, &what);
    let transactions = [first == CKR_OK || found.signed[0], found.signed[1], found.signed[2]];
    assert!(transactions.iter().filter(|signed| **signed).count() <= 1, "{what}: accepted twice: {found:?}");
    assert!(found.failures <= 1, "{what}: {found:?}");
    first
}

/// Signs during a fault, and then for carol in the same process.
fn sign_through_a_fault(boundary: &Boundary) {
    let (client, first) = sign_between_markers(boundary);
    let then = match fs::read_to_string(boundary.folder().join("carols-code")) {
        Ok(code) => client.sign("carol", &code, &request(boundary, 1)),
        // This run only records the trace.
        Err(_) => CKR_OK,
    };
    report("first", format!("{first:#x}"));
    report("then", format!("{then:#x}"));
}

#[test]
fn crash_a_disk_that_is_really_full() {
    in_boundary(this_test!(), |boundary| match boundary.role() {
        "story" => story::tell(boundary, &["alice", "bob", "carol"]),
        "sign" => sign_through_a_fault(boundary),
        "look" => story::look(boundary),
        "small disk" => every_rest(boundary),
        _ => {
            boundary.reopen_for(1);
            boundary.run("story");
            // In a mount namespace of its own, so that nothing of it remains.
            let namespace = ["unshare", "-rm"];
            let allowed =
                Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
            match allowed {
                Ok(done) if done.status.success() => {
                    let mut small = boundary.command_under(&namespace, "small disk");
                    summarise(Finished::of(&mut small).expect_success().value("summary"));
                }
                refused => summarise(format_args!(
                    "disk: the full disk was NOT tried, this system lets nobody mount a small one: {refused:?}"
                )),
            }
        }
    });
}

/// Bytes of a page, the unit by which a disk in memory fills.
const PAGE: u64 = 4_096;
/// Free pages: from none to more than a signature writes.
const LEFT: std::ops::Range<u64> = 0..40;

/// Signs with every number of free pages on a disk that has both store and token.
fn every_rest(boundary: &Boundary) {
    let disk = boundary.folder().with_file_name("disk");
    fs::create_dir(&disk).expect("the folder is ours");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "none"])
        .arg(&disk)
        .status()
        .expect("it starts");
    assert!(mounted.success());
    let (mut refused, mut signed) = (0, 0);
    for pages in LEFT {
        let copy = boundary.duplicate_to(disk.join("boundary"));
        copy.note("code", &authenticator(&copy, "alice").code_away(1));
        copy.note("carols-code", &authenticator(&copy, "carol").code_away(1));
        let what = format!("{pages} pages left");
        let filler = disk.join("filler");
        fill(&disk, &filler, pages);
        let met = Finished::of(&mut copy.command("sign"));
        fs::remove_file(&filler).expect("it was made");
        // A disk too full to open anything is a refusal, too.
        let first = if met.status.success() { met.value("first") } else { "not opened" };
        let found = found(&copy, &what);
        let transactions =
            [first == format!("{CKR_OK:#x}") || found.signed[0], found.signed[1], found.signed[2]];
        assert!(
            transactions.iter().filter(|signed| **signed).count() <= 1,
            "{what}: accepted twice: {found:?}"
        );
        assert!(found.failures <= 1, "{what}: {found:?}");
        if first == format!("{CKR_OK:#x}") {
            signed += 1
        } else {
            refused += 1
        }
        fs::remove_dir_all(copy.folder()).expect("the folder is ours");
    }
    assert!(refused > 0, "the disk was never full");
    assert!(signed > 0, "the disk was never large enough");
    report(
        "summary",
        format_args!(
            "disk: really full, with each of {} rests of space: all sound, {refused} refused, {signed} signed",
            LEFT.count()
        ),
    );
}

/// Writes a file until so many pages are free.
fn fill(disk: &std::path::Path, filler: &std::path::Path, pages: u64) {
    use std::io::Write;
    let mut file = fs::File::create(filler).expect("there is room");
    let free = rustix::fs::statvfs(disk).expect("it is mounted").f_bavail;
    let wanted = free.checked_sub(pages).expect("the disk is not that small");
    for _ in 0..wanted {
        file.write_all(&[0; PAGE as usize]).expect("there is room");
    }
    assert_eq!(rustix::fs::statvfs(disk).expect("it is mounted").f_bavail, pages);
}
