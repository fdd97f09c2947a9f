//! Bad input to `C_Initialize`: each case writes one line that says what happened and what to do, and nothing
//! is lost.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;
use harness::module::raw::Raw;
use harness::module::{Boundary, Probe, Stage, assert_rv, in_boundary, initialised_token, module, this_test};
use sha2::{Digest, Sha256};

/// The line that a refusal to initialise writes. Checks that it is the only one and contains no secret.
fn the_line(boundary: &Boundary, probe: &Probe) -> String {
    let lines: Vec<&str> = probe.stderr.lines().collect();
    let [line] = lines[..] else { panic!("{} lines:\n{}", lines.len(), probe.stderr) };
    assert!(line.starts_with("countersign: ERROR "), "{line}");
    for file in ["backing-user.pin", "backing-so.pin"] {
        if let Ok(pin) = fs::read_to_string(boundary.folder().join(file)) {
            let pin = pin.lines().next().unwrap_or_default();
            assert!(pin.is_empty() || !line.contains(pin), "the line has the PIN of {file}");
        }
    }
    line.to_owned()
}

/// Expects a refusal with this answer, and a line that contains all of `words`.
fn refused(boundary: &Boundary, probe: &Probe, rv: CK_RV, words: &[&str]) {
    assert_rv!(probe.rv, rv, "\n{}", probe.stderr);
    let line = the_line(boundary, probe);
    for word in words {
        assert!(line.contains(word), "{word:?} is not in: {line}");
    }
}

/// Replaces a part of the configuration, which must exist.
fn replace(boundary: &Boundary, from: &str, to: &str) {
    let text = fs::read_to_string(boundary.conf()).expect("setup.sh wrote it");
    assert!(text.contains(from), "{from:?} is not in:\n{text}");
    fs::write(boundary.conf(), text.replace(from, to)).expect("the folder is ours");
}

/// Replaces the whole line of a key.
fn set(boundary: &Boundary, key: &str, line: &str) {
    let text = fs::read_to_string(boundary.conf()).expect("setup.sh wrote it");
    let old = text.lines().find(|line| line.starts_with(&format!("{key} = "))).expect("the key is there");
    replace(boundary, old, line);
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn no_configuration() {
    in_boundary(this_test!(), |boundary| {
        let empty = boundary.folder().join("empty");
        let probe = boundary.probe_with(|command| {
            command.env_remove("COUNTERSIGN_CONF").env("XDG_CONFIG_HOME", &empty);
        });
        let own = text(&empty.join("countersign/countersign.toml"));
        let system = "/etc/countersign/countersign.toml";
        refused(
            boundary,
            &probe,
            CKR_FUNCTION_FAILED,
            &["no configuration", &own, system, "COUNTERSIGN_CONF"],
        );

        // Found in the user's folder, by either variable.
        fs::create_dir_all(empty.join(".config/countersign")).expect("the folder is ours");
        fs::copy(boundary.conf(), empty.join(".config/countersign/countersign.toml")).expect("copied");
        let probe = boundary.probe_with(|command| {
            command.env_remove("COUNTERSIGN_CONF").env_remove("XDG_CONFIG_HOME").env("HOME", &empty);
        });
        assert_rv!(probe.rv, CKR_OK, "\n{}", probe.stderr);
        let probe = boundary.probe_with(|command| {
            command.env("COUNTERSIGN_CONF", "").env("XDG_CONFIG_HOME", empty.join(".config"));
        });
        assert_rv!(probe.rv, CKR_OK, "\n{}", probe.stderr);
    });
}

/// The XDG Base Directory Specification ignores relative paths, so the owner of the working directory has no
/// influence.
#[test]
fn a_configuration_folder_that_is_not_absolute_is_ignored() {
    in_boundary(this_test!(), |boundary| {
        let (empty, there) = (boundary.folder().join("empty"), boundary.folder().join("there"));
        for folder in [there.join("countersign"), there.join(".config/countersign")] {
            fs::create_dir_all(&folder).expect("the folder is ours");
            fs::copy(boundary.conf(), folder.join("countersign.toml")).expect("copied");
        }
        for (variable, value) in
            [("XDG_CONFIG_HOME", "there"), ("XDG_CONFIG_HOME", "./there"), ("HOME", "there")]
        {
            let probe = boundary.probe_with(|command| {
                command.current_dir(boundary.folder()).env_remove("COUNTERSIGN_CONF");
                command.env("HOME", &empty).env_remove("XDG_CONFIG_HOME").env(variable, value);
            });
            refused(boundary, &probe, CKR_FUNCTION_FAILED, &["no configuration", "/etc/countersign"]);
            assert!(!probe.stderr.contains("there/"), "{}", probe.stderr);
        }
        // The absolute one after it counts.
        let probe = boundary.probe_with(|command| {
            command.current_dir(boundary.folder()).env_remove("COUNTERSIGN_CONF");
            command.env("HOME", &there).env("XDG_CONFIG_HOME", "there");
        });
        assert_rv!(probe.rv, CKR_OK, "\n{}", probe.stderr);
    });
}

#[test]
fn a_configuration_that_never_ends_is_refused() {
    in_boundary(this_test!(), |boundary| {
        let long = boundary.folder().join("long.toml");
        fs::write(&long, " ".repeat((1 << 20) + 1)).expect("the folder is ours");
        for path in [Path::new("/dev/zero"), &long] {
            let probe = boundary.probe_with(|command| {
                command.env("COUNTERSIGN_CONF", path);
            });
            refused(
                boundary,
                &probe,
                CKR_FUNCTION_FAILED,
                &["the configuration", &text(path), "longer than"],
            );
        }
    });
}

#[test]
fn a_configuration_that_cannot_be_read() {
    in_boundary(this_test!(), |boundary| {
        let missing = boundary.folder().join("missing.toml");
        // Unreadable for everybody, root included: a folder, and bytes that are no text.
        let binary = boundary.folder().join("binary.toml");
        fs::write(&binary, [0xff, 0xfe, 0x00]).expect("the folder is ours");
        for path in [missing.as_path(), boundary.folder(), &binary] {
            let probe = boundary.probe_with(|command| {
                command.env("COUNTERSIGN_CONF", path);
            });
            refused(boundary, &probe, CKR_FUNCTION_FAILED, &["the configuration", &text(path)]);
        }
        assert_rv!(boundary.probe().rv, CKR_OK, "and nothing was spoilt by it");
    });
}

#[test]
fn a_wrong_configuration_names_the_file_and_the_key() {
    in_boundary(this_test!(), |boundary| {
        let good = fs::read_to_string(boundary.conf()).expect("setup.sh wrote it");
        let line_of = |key: &str| {
            good.lines().find(|line| line.starts_with(&format!("{key} = "))).expect("the key is there")
        };
        for (from, to, named) in [
            ("[backing]", "[backing", "line "),
            (line_of("token"), "token = 5", "key backing.token: 5 stands there: write a string in quotes"),
            (line_of("token"), "", "backing.token"),
            (line_of("token"), "token = \"t\"\ntokens = 1", "key backing.tokens: there is no such key"),
            ("[store]", "[stone]", "key stone: there is no such key"),
            (line_of("path"), "", "key store.path: it is missing"),
            (line_of("path"), "path = \"countersign.db\"", "key store.path"),
            (line_of("module"), "module = \"libsofthsm2.so\"", "key backing.module"),
            (line_of("pin_file"), "", "key backing.pin_file"),
            (line_of("pin_file"), "pin = \"secret-pin-in-here\"", "key backing.pin: there is no such key"),
            ("level = \"info\"", "level = \"loud\"", "key log.level: write one of \"off\""),
        ] {
            fs::write(boundary.conf(), good.replacen(from, to, 1)).expect("the folder is ours");
            let probe = boundary.probe();
            refused(boundary, &probe, CKR_FUNCTION_FAILED, &[&text(&boundary.conf()), named]);
            assert!(!probe.stderr.contains("secret-pin-in-here"), "{}", probe.stderr);
        }
        let (_, without_backing) = good.split_once("[store]").expect("it has a store");
        fs::write(boundary.conf(), format!("[store]{without_backing}")).expect("the folder is ours");
        refused(boundary, &boundary.probe(), CKR_FUNCTION_FAILED, &["key backing"]);
        fs::write(boundary.conf(), good).expect("the folder is ours");
        assert_rv!(boundary.probe().rv, CKR_OK);
    });
}

#[test]
fn a_log_that_cannot_be_written() {
    in_boundary(this_test!(), |boundary| {
        let nowhere = boundary.folder().join("nowhere/countersign.log");
        replace(boundary, "level = \"info\"", &format!("file = \"{}\"", nowhere.display()));
        refused(boundary, &boundary.probe(), CKR_FUNCTION_FAILED, &["log", &text(&nowhere)]);
    });
}

#[test]
fn the_log_goes_to_its_file_readable_by_its_owner_alone() {
    in_boundary(this_test!(), |boundary| {
        let log = boundary.folder().join("countersign.log");
        let file = format!("level = \"error\"\nfile = \"{}\"", log.display());
        replace(boundary, "level = \"info\"", &file);
        set(boundary, "token", "token = \"no such token\"");
        let probe = boundary.probe();
        assert_rv!(probe.rv, CKR_DEVICE_ERROR);
        assert_eq!(probe.stderr, "");
        let written = fs::read_to_string(&log).expect("it was written");
        assert!(written.contains("no such token") && written.lines().count() == 1, "{written}");
        let mode = fs::metadata(&log).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    });
}

#[test]
fn a_backing_module_that_is_missing_or_none() {
    in_boundary(this_test!(), |boundary| {
        let good = fs::read_to_string(boundary.conf()).expect("setup.sh wrote it");
        let no_module = text(&boundary.conf());
        for (path, words) in [
            ("/nowhere/libsofthsm2.so", &["/nowhere/libsofthsm2.so", "does not exist", "install"][..]),
            ("/", &["/ does not exist"]),
            (no_module.as_str(), &["cannot load"]),
        ] {
            set(boundary, "module", &format!("module = \"{path}\""));
            refused(boundary, &boundary.probe(), CKR_DEVICE_ERROR, words);
            fs::write(boundary.conf(), &good).expect("the folder is ours");
        }
        assert_rv!(boundary.probe().rv, CKR_OK);
    });
}

#[test]
fn a_backing_module_that_is_countersign_itself() {
    in_boundary(this_test!(), |boundary| {
        let by_another_name = boundary.folder().join("libother.so");
        symlink(module(), &by_another_name).expect("the folder is ours");
        let copied = boundary.folder().join("libcopy.so");
        fs::copy(module(), &copied).expect("the folder is ours");
        for path in [module(), by_another_name] {
            set(boundary, "module", &format!("module = \"{}\"", path.display()));
            refused(boundary, &boundary.probe(), CKR_DEVICE_ERROR, &["is Countersign itself"]);
        }
        // A copy is another library, and its backing module would be a copy, too. So it must end the
        // recursion, and refuse.
        set(boundary, "module", &format!("module = \"{}\"", copied.display()));
        let probe = boundary.probe();
        assert_rv!(probe.rv, CKR_DEVICE_ERROR, "\n{}", probe.stderr);
        assert!(probe.stderr.contains("Countersign itself"), "{}", probe.stderr);
    });
}

/// With a digest in the configuration, only exactly these bytes are loaded as the backing module.
#[test]
fn backing_owner_a_backing_module_of_another_digest_is_not_loaded() {
    in_boundary(this_test!(), |boundary| {
        let from = boundary.backing_module();
        let line = format!("module = \"{from}\"");
        let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(fs::read(&from).expect("it is there")));
        replace(boundary, &line, &format!("{line}\nsha256 = \"{digest}\""));
        assert_rv!(boundary.probe().rv, CKR_OK);
        let other = digest.replace(|digit: char| digit == digest.chars().next().expect("64 digits"), "0");
        replace(boundary, &digest, &if other == digest { digest.replace('0', "1") } else { other });
        let words = [&*from, "its SHA-256 is", &digest, "backing.sha256", "(backing-owner)"];
        refused(boundary, &boundary.probe(), CKR_DEVICE_ERROR, &words);
        set(boundary, "sha256", "sha256 = \"abc\"");
        refused(boundary, &boundary.probe(), CKR_FUNCTION_FAILED, &["key backing.sha256", "64 hex digits"]);
    });
}

#[test]
fn a_backing_token_that_is_absent() {
    in_boundary(this_test!(), |boundary| {
        set(boundary, "token", "token = \"another token\"");
        let words = ["another token", "backing.token", "SOFTHSM2_CONF"];
        refused(boundary, &boundary.probe(), CKR_DEVICE_ERROR, &words);
        set(boundary, "token", "token = \"countersign-backing\"");
        assert_rv!(boundary.probe().rv, CKR_OK);
        fs::remove_dir_all(boundary.tokens()).expect("the folder is ours");
        fs::create_dir(boundary.tokens()).expect("the folder is ours");
        let words = ["countersign-backing", &text(&boundary.tokens()), "restore its folder from its backup"];
        refused(boundary, &boundary.probe(), CKR_DEVICE_ERROR, &words);
    });
}

#[test]
fn a_backing_pin_that_is_wrong_missing_or_open_to_others() {
    in_boundary(this_test!(), |boundary| {
        let pin_file = boundary.folder().join("backing-user.pin");
        let good = fs::read_to_string(&pin_file).expect("setup.sh wrote it");
        let device = CKR_DEVICE_ERROR;
        for (content, words) in [
            ("5678-not-the-pin\n", &["refuses its PIN", "backing.pin_file"][..]),
            ("1\n", &["refuses its PIN"]),
            ("\n", &["pin_file", "is empty"]),
            ("", &["pin_file", "is empty"]),
        ] {
            fs::write(&pin_file, content).expect("the folder is ours");
            let probe = boundary.probe();
            refused(boundary, &probe, device, words);
            assert!(!probe.stderr.contains("5678"), "{}", probe.stderr);
        }
        fs::write(&pin_file, &good).expect("the folder is ours");
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&pin_file, fs::Permissions::from_mode(mode)).expect("it is ours");
            refused(boundary, &boundary.probe(), device, &["pin_file", "chmod 600"]);
        }
        fs::set_permissions(&pin_file, fs::Permissions::from_mode(0o600)).expect("it is ours");
        assert_rv!(boundary.probe().rv, CKR_OK);
        fs::remove_file(&pin_file).expect("it is ours");
        refused(boundary, &boundary.probe(), device, &["pin_file", &text(&pin_file)]);

        set(boundary, "pin_file", "pin_env = \"BACKING_PIN_OF_THE_TEST\"");
        refused(boundary, &boundary.probe(), device, &["BACKING_PIN_OF_THE_TEST", "is not set"]);
        let with = |pin: &str| {
            boundary.probe_with(|command| {
                command.env("BACKING_PIN_OF_THE_TEST", pin);
            })
        };
        refused(boundary, &with("5678-not-the-pin"), device, &["refuses its PIN", "backing.pin_env"]);
        assert_rv!(with(good.trim()).rv, CKR_OK);
    });
}

#[test]
fn otp_guess_the_breaker_stops_where_it_is_configured() {
    in_boundary(this_test!(), |boundary| {
        for (line, word) in [
            ("failures_per_hour = 15", "limits.failures_per_hour"),
            ("failures_per_hour = 1000001", "limits.failures_per_hour"),
            ("failures_per_day = 5", "key limits.failures_per_day: there is no such key"),
        ] {
            replace(boundary, "[store]", &format!("[limits]\n{line}\n[store]"));
            refused(boundary, &boundary.probe(), CKR_FUNCTION_FAILED, &[word, &text(&boundary.conf())]);
            replace(boundary, &format!("[limits]\n{line}\n"), "");
        }
        replace(boundary, "[store]", "[limits]\nfailures_per_hour = 16\n[store]");
        let stage = Stage::new(&["alice", "bob", "carol"]);
        let try_code = |user: &str, code: &str| stage.sign(user, code, &stage.psbt()).err().unwrap_or(CKR_OK);
        for user in [0, 1] {
            let user = &stage.users[user];
            assert_rv!(try_code(user.name(), &user.wrong_code()), CKR_PIN_INCORRECT);
        }
        // Trying many names is stopped as well.
        for stranger in 0..14 {
            assert_rv!(try_code(&format!("stranger-{stranger}"), "123456"), CKR_PIN_INCORRECT);
        }
        assert_rv!(try_code("carol", &stage.users[2].code()), CKR_PIN_LOCKED, "right as it is");
        assert_eq!(stage.failures("carol"), 0, "what is not looked at is not charged");
    });
}

#[test]
fn a_store_whose_folder_is_missing_or_that_cannot_be_written() {
    in_boundary(this_test!(), |boundary| {
        let good = fs::read_to_string(boundary.conf()).expect("setup.sh wrote it");
        let folder = boundary.folder().join("a folder");
        fs::create_dir(&folder).expect("the folder is ours");
        let nowhere = boundary.folder().join("nowhere/countersign.db");
        let garbage = boundary.folder().join("garbage.db");
        fs::write(&garbage, [0x5a; 4096]).expect("the folder is ours");
        let empty = boundary.folder().join("empty.db");
        fs::write(&empty, []).expect("the folder is ours");
        for (path, rv, word) in [
            (nowhere.as_path(), CKR_DEVICE_ERROR, "its folder does not exist"),
            // Not even root can write here.
            (Path::new("/proc/countersign.db"), CKR_DEVICE_ERROR, "cannot take its lock"),
            (&folder, CKR_DEVICE_ERROR, "a folder"),
            (&garbage, CKR_COUNTERSIGN_STATE, "not a database"),
            (&empty, CKR_COUNTERSIGN_STATE, "not a Countersign store"),
        ] {
            set(boundary, "path", &format!("path = \"{}\"", path.display()));
            refused(boundary, &boundary.probe(), rv, &[&text(path), word]);
            fs::write(boundary.conf(), &good).expect("the folder is ours");
        }
        assert!(fs::read(&garbage).expect("it is there") == [0x5a; 4096], "it was left as it was");
        assert_rv!(boundary.probe().rv, CKR_OK);
    });
}

#[test]
fn a_store_of_a_newer_version_is_left_as_it_is() {
    in_boundary(this_test!(), |boundary| {
        if boundary.role() == "story" {
            assert_rv!(initialised_token().finalize(), CKR_OK);
            return;
        }
        boundary.run("story");
        let set_version = |version: i64| {
            let connection = rusqlite::Connection::open(boundary.store()).expect("it opens");
            connection.pragma_update(None, "user_version", version).expect("it is written");
            connection.pragma_update(None, "journal_mode", "DELETE").expect("all in one file");
        };
        set_version(3);
        let before = fs::read(boundary.store()).expect("it is there");
        let words = ["format 3", "format 2", "newer version", &text(&boundary.store())];
        refused(boundary, &boundary.probe(), CKR_DEVICE_ERROR, &words);
        // Opening may switch the journal mode, which is two bytes of the file's header and not part of a
        // record.
        let after = fs::read(boundary.store()).expect("it is there");
        assert!(before[100..] == after[100..], "a record was changed");
        for version in [2, 1] {
            set_version(version);
            assert_rv!(
                boundary.probe().rv,
                CKR_OK,
                "and opens as before once it is of a version that is known"
            );
        }
    });
}

#[test]
fn a_store_in_use_by_another_process() {
    in_boundary(this_test!(), |boundary| {
        if boundary.role() == "owner" {
            let raw = Raw::load();
            assert_rv!(raw.initialize(), CKR_OK);
            println!("\nowner {}", std::process::id());
            // Until the body lets go.
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            return;
        }
        if boundary.role() == "story" {
            assert_rv!(initialised_token().finalize(), CKR_OK);
            return;
        }
        boundary.run("story");
        for killed in [false, true] {
            let mut command: Command = boundary.command("owner");
            let mut owner = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
            let printed = BufReader::new(owner.stdout.take().expect("it is piped"));
            let process = printed
                .lines()
                .map_while(Result::ok)
                .find_map(|line| line.strip_prefix("owner ").map(str::to_owned))
                .expect("the owner initialises");
            let store = text(&boundary.store());
            let words = ["in use", &store, &format!("process {process}")];
            refused(boundary, &boundary.probe(), CKR_CANT_LOCK, &words);

            if killed {
                // Killed without finalising: the lock ends with the process.
                owner.kill().expect("it runs");
            } else {
                let mut input = owner.stdin.take().expect("it is piped");
                input.flush().expect("it runs");
                drop(input);
            }
            owner.wait().expect("it ends");
            assert_rv!(boundary.probe().rv, CKR_OK, "it is free again");
        }
    });
}

#[test]
fn a_failed_initialisation_can_be_repeated_in_the_same_process() {
    in_boundary(this_test!(), |boundary| {
        let raw = Raw::load();
        set(boundary, "token", "token = \"another token\"");
        assert_rv!(raw.initialize(), CKR_DEVICE_ERROR);
        assert_rv!(raw.initialize(), CKR_DEVICE_ERROR, "and is not initialised already");
        assert_rv!(raw.finalize(), CKR_CRYPTOKI_NOT_INITIALIZED);
        set(boundary, "token", "token = \"countersign-backing\"");
        assert_rv!(raw.initialize(), CKR_OK);
        let mechanism = CKM_COUNTERSIGN_PSBT;
        assert_eq!(raw.generate_key(1, mechanism, &[]), Err(CKR_SESSION_HANDLE_INVALID), "it answers");
    });
}
