//! The files of the boundary, and what else the system shows about a process.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use harness::module::this_test;
use harness::users::{BACKEND, BOUNDARY, Wall, behind_the_wall, sign_order};

/// All files and folders below a folder, and the folder itself.
fn all_below(folder: &Path) -> Vec<PathBuf> {
    let mut all = vec![folder.to_path_buf()];
    let mut next = 0;
    while next < all.len() {
        if all[next].is_dir() {
            let entries = fs::read_dir(&all[next]).expect("it is there");
            all.extend(entries.map(|entry| entry.expect("listed").path()));
        }
        next += 1;
    }
    all
}

/// Serves, makes the wallet and signs one order. After that every file exists that the boundary ever writes.
fn at_work(wall: &Wall) -> harness::users::Serving {
    let serving = wall.serve();
    let customer = wall.set_up_wallet();
    customer.order(wall, &customer.code());
    let _ = wall.run(BACKEND, "backend");
    serving
}

#[test]
fn a_backend_reads_no_file_of_the_boundary() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            let serving = at_work(wall);
            let files = all_below(&wall.path("boundary"));
            let has = |name: &str| files.iter().any(|file| file.ends_with(name));
            for name in [
                "tokens",
                "softhsm2.conf",
                "backing-user.pin",
                "backing-so.pin",
                "inside.toml",
                "plugin.floor",
                "countersign.db",
                "countersign.db-wal",
                "countersign.db-shm",
                "countersign.db.lock",
                "countersign.log",
            ] {
                assert!(has(name), "{name} is not there: what would be tried?");
            }
            let objects = files.iter().filter(|file| file.extension().is_some_and(|end| end == "object"));
            assert!(objects.count() >= 3, "the token, its key and its anchor");
            // Once as it is set up, and once without the folder's protection: each file must be closed by
            // itself.
            for folder in [0o700, 0o755] {
                fs::set_permissions(wall.path("boundary"), Permissions::from_mode(folder)).expect("root may");
                let files: Vec<PathBuf> = all_below(&wall.path("boundary")).split_off(1);
                let list = files.iter().map(|file| file.to_str().expect("UTF-8")).collect::<Vec<_>>();
                wall.give("list", &list.join("\n"));
                let _ = wall.run(BACKEND, "attacker");
            }
            assert!(serving.stop().success());
        }
        "backend" => assert!(sign_order(wall).is_ok()),
        _ => {
            fs::write(wall.path("client/own"), "ours").expect("it is ours");
            assert!(File::open(wall.path("client/own")).is_ok(), "what is ours opens");
            let list = wall.given("list");
            for file in list.lines().map(Path::new) {
                for error in [
                    File::open(file).err(),
                    OpenOptions::new().append(true).open(file).err(),
                    fs::read_dir(file).err(),
                    fs::remove_file(file).err(),
                    fs::rename(file, wall.path("client/taken")).err(),
                    fs::hard_link(file, wall.path("client/linked")).err(),
                ] {
                    let error = error.unwrap_or_else(|| panic!("{} is not protected", file.display()));
                    let refused =
                        [ErrorKind::PermissionDenied, ErrorKind::NotADirectory, ErrorKind::IsADirectory];
                    assert!(refused.contains(&error.kind()), "{}: {error}", file.display());
                }
                // The folder's mode must stop the attacker, and not just the fact that it is a folder.
                let entered = fs::read_dir(file).map(drop).and_then(|()| File::open(file).map(drop));
                assert!(entered.is_err(), "{}", file.display());
            }
        }
    });
}

#[test]
fn no_file_that_the_boundary_makes_is_anybody_elses_under_any_umask() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            let serving = at_work(wall);
            let monitoring = wall.path("run/monitoring.sock");
            let files =
                [all_below(&wall.path("boundary")), all_below(&wall.path("run")).split_off(1)].concat();
            assert!(files.len() > 15, "{files:?}");
            for file in files {
                let found = fs::symlink_metadata(&file).expect("it is there");
                let mode = found.permissions().mode() & 0o777;
                let allowed = match found.file_type().is_socket() {
                    true if file == monitoring => 0o660,
                    // The peer's user decides who may connect.
                    true => 0o666,
                    false => 0o700,
                };
                assert_eq!(mode & !allowed, 0, "{} has mode {mode:o}", file.display());
            }
            assert!(serving.stop().success());
        }
        _ => assert!(sign_order(wall).is_ok()),
    });
}

#[test]
fn a_backend_cannot_put_a_socket_in_the_place_of_the_boundarys() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            let serving = wall.serve();
            let _ = wall.run(BACKEND, "attacker");
            assert!(serving.stop().success());
            // Neither before it starts nor after it stopped.
            let _ = wall.run(BACKEND, "early");
            assert!(wall.serve().stop().success());
        }
        role => {
            let own = wall.path("client/own.sock");
            let _ = fs::remove_file(&own);
            drop(UnixListener::bind(&own).expect("in our own folder we may"));
            for name in ["backend.sock", "administrators.sock", "monitoring.sock"] {
                let socket = wall.path("run").join(name);
                let refused = |what: &str, outcome: std::io::Result<()>| {
                    let error = outcome.expect_err(what);
                    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{what} {name}: {error}");
                };
                if role == "attacker" {
                    refused("remove", fs::remove_file(&socket));
                    refused("rename", fs::rename(&socket, wall.path("client/taken")));
                    refused("replace", fs::rename(&own, &socket));
                    refused("chmod", fs::set_permissions(&socket, Permissions::from_mode(0o666)));
                    let lock = File::open(wall.path("run").join(format!("{name}.lock")));
                    refused("lock", lock.map(drop));
                } else {
                    refused("bind", UnixListener::bind(&socket).map(drop));
                    refused("make", fs::write(wall.path("run").join(format!("{name}.lock")), ""));
                }
            }
        }
    });
}

#[test]
fn everybody_sees_only_the_boundarys_name_and_its_configurations_path() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            let before = shared_memory();
            let serving = at_work(wall);
            let id = serving.child.id();
            let line = fs::read(format!("/proc/{id}/cmdline")).expect("everybody may");
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).filter(|word| !word.is_empty()).collect();
            let configuration = wall.path("boundary/inside.toml");
            let wanted = ["--config", configuration.to_str().expect("UTF-8"), "serve"];
            assert_eq!(words[1..], wanted.map(str::as_bytes));
            // The environment comes from the service manager and has no secret in it. The boundary adds none.
            let environ = fs::read(format!("/proc/{id}/environ")).expect("root may");
            let environ = String::from_utf8(environ).expect("UTF-8");
            let names: Vec<&str> =
                environ.split('\0').filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
            for name in &names {
                let known = [
                    "PATH",
                    "PWD",
                    "OLDPWD",
                    "SHLVL",
                    "_",
                    "SOFTHSM2_CONF",
                    "NOTIFY_SOCKET",
                    "COUNTERSIGN_CONF",
                ];
                assert!(known.contains(name), "{name} is in its environment");
            }
            assert_eq!(shared_memory(), before, "nothing in shared memory");
            expect_known_descriptors(wall, id);
            assert!(serving.stop().success());
        }
        _ => assert!(sign_order(wall).is_ok()),
    });
}

/// The boundary's files in shared memory.
fn shared_memory() -> Vec<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let entries = fs::read_dir("/dev/shm").expect("it is Linux");
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    files.filter(|file| fs::symlink_metadata(file).is_ok_and(|found| found.uid() == BOUNDARY)).collect()
}

/// The boundary has nothing open that it does not need.
fn expect_known_descriptors(wall: &Wall, process: u32) {
    let entries = fs::read_dir(format!("/proc/{process}/fd")).expect("root may");
    let mut looked_at = 0;
    for entry in entries {
        let entry = entry.expect("listed").path();
        let Ok(target) = fs::read_link(&entry) else { continue };
        // Descriptors that were open when the tests started are in all processes.
        let own = Path::new("/proc/self/fd").join(entry.file_name().expect("a number"));
        if fs::read_link(own).is_ok_and(|own| own == target) {
            continue;
        }
        let target = target.to_str().expect("UTF-8").to_owned();
        let boundary = wall.path("boundary");
        let own = target.strip_prefix(boundary.to_str().expect("UTF-8"));
        let known = match own {
            Some(file) => {
                let store =
                    ["/countersign.db", "/countersign.db-wal", "/countersign.db-shm", "/countersign.db.lock"];
                store.contains(&file) || file == "/countersign.log" || file.starts_with("/tokens/")
            }
            None => {
                target.starts_with("socket:")
                    || target.starts_with("anon_inode:[event")
                    || target == "/dev/null"
                    || target == wall.path("notes/stderr").to_str().expect("UTF-8")
                    || (target.starts_with(wall.path("run").to_str().expect("UTF-8")) && target.ends_with(".lock"))
                    // Sealed: the library itself.
                    || target == "/memfd:libcountersign.so (deleted)"
            }
        };
        assert!(known, "{target} is open");
        looked_at += 1;
    }
    assert!(looked_at > 8, "{looked_at} descriptors");
}
