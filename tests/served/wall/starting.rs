//! Reasons that keep the boundary from starting. Each is one line with the next step, and nothing listens.

use std::fs::{self, File, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};

use harness::module::this_test;
use harness::served::Release;
use harness::users::{BOUNDARY, Wall, behind_the_wall};

use super::running::expect_no_start;

/// It does not start, its message has `words`, and there are no sockets.
fn stays_out(wall: &Wall, words: &[&str]) {
    expect_no_start(wall, words);
    for name in ["backend.sock", "administrators.sock", "monitoring.sock"] {
        assert!(UnixStream::connect(wall.path("run").join(name)).is_err(), "{name} is served");
    }
}

#[test]
fn a_library_that_is_missing_changed_unsigned_or_signed_by_too_few_is_not_served() {
    behind_the_wall(this_test!(), |wall| {
        let library = wall.path("release/libcountersign.so");
        let beside = |end: &str| wall.path(&format!("release/libcountersign.so{end}"));
        let (kept, own) = (wall.path("notes/kept"), wall.path("notes/own"));
        let moved_away = |file: &std::path::Path, words: &[&str]| {
            fs::rename(file, &kept).expect("root may");
            stays_out(wall, words);
            fs::rename(&kept, file).expect("root may");
        };
        moved_away(&library, &["libcountersign.so", "next: "]);
        moved_away(&beside(".manifest"), &["libcountersign.so.manifest"]);
        moved_away(&beside(".manifest.0.minisig"), &["0 valid signatures of the 1", "signed by nobody"]);
        // A byte in the middle. The file is a link to the module under test, so the test changes a copy.
        fs::rename(&library, &kept).expect("root may");
        fs::copy(&kept, &own).expect("root may");
        fs::rename(&own, &library).expect("root may");
        let mut file = File::options().write(true).open(&library).expect("root may");
        let middle = file.metadata().expect("it is there").len() / 2;
        file.seek(SeekFrom::Start(middle)).expect("it is a file");
        file.write_all(b"\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xcc").expect("root may");
        drop(file);
        stays_out(wall, &["sha256"]);
        fs::rename(&kept, &library).expect("root may");

        let right = wall.configuration();
        wall.configure(&right.replace("threshold = 1", "threshold = 2"));
        stays_out(wall, &["plugin.threshold"]);
        // Two officers, of whom one has signed.
        let other = Release::signed(&wall.path("notes/other"), 1);
        let officer = other.officers[0].as_str();
        let two = right
            .replace("officers = [", &format!("officers = [{officer:?}, "))
            .replace("threshold = 1", "threshold = 2");
        wall.configure(&two);
        stays_out(wall, &["1 valid signatures of the 2", "countersign plugin sign"]);
        wall.configure(&right);
        assert!(wall.serve().stop().success(), "everything is as it was");
    });
}

#[test]
fn a_floor_that_is_missing_damaged_or_above_is_not_passed() {
    behind_the_wall(this_test!(), |wall| {
        let floor = wall.path("boundary/plugin.floor");
        let right = fs::read_to_string(&floor).expect("it was pinned");
        fs::remove_file(&floor).expect("root may");
        stays_out(wall, &["plugin.floor", "is missing", "countersign plugin pin"]);
        assert!(!floor.exists(), "it is not made anew");
        wall.write("boundary/plugin.floor", &right.replace("floor", "flour"), BOUNDARY);
        stays_out(wall, &["plugin.floor is damaged"]);
        wall.write("boundary/plugin.floor", &right, BOUNDARY);
        fs::set_permissions(&floor, Permissions::from_mode(0o666)).expect("root may");
        stays_out(wall, &["others can write to the floor file", "chmod 600"]);
        fs::set_permissions(&floor, Permissions::from_mode(0o600)).expect("root may");
        assert!(wall.serve().stop().success());
    });
}

#[test]
fn a_socket_that_is_served_or_no_socket_is_not_taken() {
    behind_the_wall(this_test!(), |wall| {
        let socket = wall.path("run/backend.sock");
        fs::write(&socket, "what somebody keeps there").expect("root may");
        stays_out(wall, &["serve.backend.socket", "is there and is no socket", "move it away"]);
        assert_eq!(fs::read_to_string(&socket).expect("it is kept"), "what somebody keeps there");
        fs::remove_file(&socket).expect("root may");
        // Another program listens there.
        let other = UnixListener::bind(&socket).expect("root may");
        fs::set_permissions(&socket, Permissions::from_mode(0o666)).expect("root may");
        let process = format!("is already served by process {}", std::process::id());
        expect_no_start(wall, &["serve.backend.socket", &process, "stop that"]);
        drop(other);
        // The socket that it left behind is stale.
        let first = wall.serve();
        // Another boundary, with another store.
        let configuration = wall.configuration();
        wall.configure(&configuration.replace("countersign.db", "another.db"));
        let process = format!("is already served by process {}", first.child.id());
        expect_no_start(wall, &[&process, "stop that process, or name another path"]);
        wall.configure(&configuration);
        // The first boundary is not affected.
        assert!(UnixStream::connect(&socket).is_ok());
        assert!(first.stop().success());
    });
}

#[test]
fn a_store_that_another_engine_has_is_not_opened() {
    behind_the_wall(this_test!(), |wall| {
        let first = wall.serve();
        let _ = wall.set_up_wallet();
        let configuration = wall.configuration();
        let elsewhere = configuration.replace("/run/", "/boundary/");
        assert_ne!(configuration, elsewhere);
        wall.configure(&elsewhere);
        let owner = format!("process {}", first.child.id());
        expect_no_start(wall, &["countersign.db", &owner]);
        assert!(!wall.path("boundary/backend.sock").exists(), "nothing listens");
        assert!(first.stop().success());
    });
}

#[test]
fn a_socket_in_a_folder_that_others_can_write_to_is_not_made() {
    behind_the_wall(this_test!(), |wall| {
        for (mode, user, words) in [
            (0o777, BOUNDARY, "can be written by others"),
            (0o1777, BOUNDARY, "can be written by others"),
            (0o755, harness::users::BACKEND, "belongs to another user"),
        ] {
            fs::set_permissions(wall.path("run"), Permissions::from_mode(mode)).expect("root may");
            chown(wall.path("run"), Some(user), Some(user)).expect("root may");
            stays_out(wall, &["serve.backend.socket", words, "use a folder"]);
        }
    });
}

#[test]
fn a_configuration_without_what_serving_needs_says_what_to_add() {
    behind_the_wall(this_test!(), |wall| {
        let right = wall.configuration();
        let (before_serve, _) = right.split_once("[serve]").expect("it is there");
        wall.configure(before_serve);
        stays_out(wall, &["inside.toml has no table [serve]", "[serve.backend]"]);
        let (before, rest) = right.split_once("[plugin]").expect("it is there");
        let (_, after) = rest.split_once("[log]").expect("it is there");
        wall.configure(&format!("{before}[log]{after}"));
        stays_out(wall, &["inside.toml has no table [plugin]", "threshold"]);
        let (doors, _) = right.split_once("[serve.backend]").expect("it is there");
        wall.configure(doors);
        stays_out(wall, &["key serve:", "serve.backend"]);
        wall.configure("[connect]\naddress = \"unix:/run/countersign/backend.sock\"\n");
        stays_out(wall, &["key connect", "inside the boundary"]);
        wall.configure(&right.replace("users = [0]", "users = [\"nobody-of-that-name\"]"));
        stays_out(wall, &["serve.administrators.users", "nobody-of-that-name", "create it"]);
        wall.configure(&right.replace("[serve]", "[serve]\nmax_connection = 1"));
        stays_out(wall, &["max_connection", "inside.toml, line"]);
        fs::remove_file(wall.path("boundary/inside.toml")).expect("root may");
        stays_out(wall, &["inside.toml", "No such file"]);
    });
}

#[test]
fn a_configuration_that_others_can_write_to_is_refused() {
    behind_the_wall(this_test!(), |wall| {
        let file = wall.path("boundary/inside.toml");
        for mode in [0o620, 0o602, 0o666] {
            fs::set_permissions(&file, Permissions::from_mode(mode)).expect("root may");
            stays_out(
                wall,
                &["others can write to", "inside.toml (mode", &format!("chmod go-w {}", file.display())],
            );
        }
        // Others may read it: there is no secret in it.
        fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("root may");
        assert!(wall.serve().stop().success());
        // Its owner can write to it, whatever its mode.
        chown(&file, Some(harness::users::BACKEND), None).expect("root may");
        stays_out(wall, &["inside.toml belongs to another user"]);
        chown(&file, Some(0), Some(BOUNDARY)).expect("root may");
        fs::set_permissions(&file, Permissions::from_mode(0o640)).expect("root may");
        assert!(wall.serve().stop().success(), "root's, that its group reads");
        // Anybody who can write to its folder can replace it.
        fs::set_permissions(wall.path("boundary"), Permissions::from_mode(0o770)).expect("root may");
        stays_out(wall, &["others can write to", "wall/boundary (mode"]);
    });
}

/// A file that runs in the boundary, opens its token or is written by it must be nobody else's, and so must
/// its configuration.
#[test]
fn backing_owner_others_can_change_nothing_that_the_configuration_names() {
    behind_the_wall(this_test!(), |wall| {
        let right = wall.configuration();
        let shared = wall.path("shared");
        fs::create_dir(&shared).expect("root may");
        let line = |key: &str| {
            let begins = format!("{key} = ");
            right.lines().find(|line| line.starts_with(&begins)).unwrap_or_else(|| panic!("{key} is set"))
        };
        let named = |key: &str| line(key).split('"').nth(1).expect("a path in quotes");
        fs::copy(named("module"), shared.join("module.so")).expect("root may");
        fs::copy(named("pin_file"), shared.join("pin")).expect("root may");
        chown(shared.join("pin"), Some(BOUNDARY), Some(BOUNDARY)).expect("root may");
        for (key, shown, file) in [
            ("module", "backing.module", "module.so"),
            ("pin_file", "backing.pin_file", "pin"),
            ("path", "store.path", "none.db"),
            ("floor_file", "plugin.floor_file", "none.floor"),
            ("file", "log.file", "none.log"),
        ] {
            let there = format!("{key} = \"{}\"", shared.join(file).display());
            wall.configure(&right.replace(line(key), &there));
            for mode in [0o777, 0o775] {
                fs::set_permissions(&shared, Permissions::from_mode(mode)).expect("root may");
                let words = [shown, "others can write to", "wall/shared (mode", "(backing-owner)"];
                stays_out(wall, &words);
            }
            chown(&shared, Some(harness::users::BACKEND), None).expect("root may");
            fs::set_permissions(&shared, Permissions::from_mode(0o755)).expect("root may");
            stays_out(wall, &[shown, "wall/shared belongs to another user", "(backing-owner)"]);
            chown(&shared, Some(0), None).expect("root may");
        }
        // The copy of the module may belong to the boundary's user, and so may the PIN file.
        wall.configure(
            &right
                .replace(named("module"), &shared.join("module.so").display().to_string())
                .replace(named("pin_file"), &shared.join("pin").display().to_string()),
        );
        assert!(wall.serve().stop().success());
        chown(shared.join("module.so"), Some(harness::users::BACKEND), None).expect("root may");
        stays_out(wall, &["backing.module", "module.so belongs to another user"]);
        wall.configure(&right);
        assert!(wall.serve().stop().success());
    });
}

#[test]
fn the_log_says_what_keeps_the_module_closed_and_names_the_doctor() {
    behind_the_wall(this_test!(), |wall| {
        let pin = wall.path("boundary/backing-user.pin");
        let right = fs::read_to_string(&pin).expect("root may");
        wall.write("boundary/backing-user.pin", "no such pin\n", BOUNDARY);
        stays_out(wall, &["refuses its PIN", "the module stays closed", "countersign doctor"]);
        wall.write("boundary/backing-user.pin", &right, BOUNDARY);
        fs::set_permissions(&pin, Permissions::from_mode(0o644)).expect("root may");
        stays_out(wall, &["backing-user.pin", "others can read it", "chmod 600"]);
        let said = fs::read_to_string(wall.path("boundary/countersign.log")).expect("root may");
        assert!(!said.contains("no such pin") && !said.contains(right.trim()), "{said}");
    });
}
