//! The backing token, called directly and not through Countersign, by an attacker who has a backend's PIN.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;

use harness::module::{Finished, copy_folder, report, this_test};
use harness::users::{BACKEND, BOUNDARY, Wall, behind_the_wall};

/// Calls the backing token directly, with SoftHSM2's configuration from the environment. Returns how far it
/// got.
fn call_token(wall: &Wall, pin: &str) -> &'static str {
    let module = given_module(wall);
    let Ok(pkcs11) = Pkcs11::new(module) else { return "not loaded" };
    match pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) => {}
        Err(_) => return "not initialised",
    }
    let slots = pkcs11.get_slots_with_initialized_token().unwrap_or_default();
    let named = slots
        .into_iter()
        .find(|slot| pkcs11.get_token_info(*slot).is_ok_and(|token| token.label() == "countersign-backing"));
    let Some(slot) = named else { return "no token" };
    let session = pkcs11.open_rw_session(slot).expect("a token opens sessions");
    match session.login(UserType::User, Some(&AuthPin::new(pin.into()))) {
        Ok(()) => "logged in",
        Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinLenRange, _)) => "refused",
        Err(error) => panic!("{error}"),
    }
}

/// The backing module, which everybody can load.
fn given_module(wall: &Wall) -> String {
    fs::read_to_string(wall.path("client/module"))
        .or_else(|_| fs::read_to_string(wall.path("notes/module")))
        .expect("it was named")
}

/// Gives its path to the attacker.
fn name_module(wall: &Wall) {
    let configuration = wall.configuration();
    let line =
        configuration.lines().find_map(|line| line.strip_prefix("module = ")).expect("setup.sh wrote it");
    wall.give("module", line.trim_matches('"'));
}

/// Calls the token as `user`, in the role `caller`, with this configuration and this PIN. Returns how far it
/// got.
fn calls_token(wall: &Wall, user: u32, conf: &Path, pin: &str) -> String {
    let mut command = wall.command(user, "caller");
    command.env("SOFTHSM2_CONF", conf).env("PIN", pin);
    Finished::of(&mut command).expect_success().value("got").to_owned()
}

fn caller(wall: &Wall) {
    report("got", call_token(wall, &std::env::var("PIN").expect("it was given")));
}

fn backing_pin(wall: &Wall) -> String {
    fs::read_to_string(wall.path("boundary/backing-user.pin")).expect("root may").trim().to_owned()
}

/// A SoftHSM2 configuration for this folder of tokens, written by the backend.
fn own_conf(wall: &Wall, tokens: &Path) -> PathBuf {
    wall.give(
        "softhsm2.conf",
        &format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.display()
        ),
    );
    wall.path("client/softhsm2.conf")
}

#[test]
fn a_backend_does_not_find_the_backing_token_by_the_boundarys_configuration() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            name_module(wall);
            let conf = wall.path("boundary/softhsm2.conf");
            let pin = backing_pin(wall);
            // The owner finds the token with the same configuration, and so does root.
            assert_eq!(calls_token(wall, 0, &conf, &pin), "logged in");
            for pin in [&wall.noted("user.pin"), &pin] {
                assert_eq!(calls_token(wall, BACKEND, &conf, pin), "not initialised");
            }
        }
        _ => caller(wall),
    });
}

#[test]
fn a_backend_does_not_find_the_backing_token_in_its_folder() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            name_module(wall);
            let conf = own_conf(wall, &wall.path("boundary/tokens"));
            let pin = backing_pin(wall);
            assert_eq!(calls_token(wall, 0, &conf, &pin), "logged in");
            for pin in [&wall.noted("user.pin"), &pin] {
                let got = calls_token(wall, BACKEND, &conf, pin);
                assert!(["not initialised", "no token"].contains(&got.as_str()), "{got}");
            }
        }
        _ => caller(wall),
    });
}

#[test]
fn a_copy_of_all_that_a_backend_can_read_has_no_token_in_it() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            name_module(wall);
            let serving = wall.serve();
            let _ = wall.set_up_wallet();
            let copied = wall.run(BACKEND, "thief").value("copied").parse::<usize>().expect("a number");
            assert!(copied >= 4, "the thief copies what it can: programs and the signed release");
            let conf = own_conf(wall, &wall.path("client/copy/boundary/tokens"));
            assert_eq!(calls_token(wall, BACKEND, &conf, &wall.noted("user.pin")), "not initialised");
            assert!(!wall.path("client/copy/boundary/tokens").exists());
            // A thief of everything has the token: the files are what matters.
            copy_folder(&wall.path("boundary/tokens"), &wall.path("notes/tokens"));
            let conf = own_conf(wall, &wall.path("notes/tokens"));
            assert_eq!(calls_token(wall, 0, &conf, &backing_pin(wall)), "logged in");
            assert!(serving.stop().success());
        }
        "thief" => {
            let mut copied = 0;
            copy_what_can_be_read(&wall.path(""), &wall.path("client/copy"), &mut copied);
            report("copied", copied);
        }
        _ => caller(wall),
    });
}

fn copy_what_can_be_read(from: &Path, to: &Path, copied: &mut usize) {
    let _ = fs::create_dir_all(to);
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().expect("it was listed");
        // The copy goes to the thief's own folder.
        if path.file_name() == Some("client".as_ref()) {
            continue;
        }
        if kind.is_dir() {
            let before = *copied;
            copy_what_can_be_read(&path, &target, copied);
            if *copied == before {
                let _ = fs::remove_dir(&target);
            }
        } else if kind.is_file() && fs::File::open(&path).is_ok() {
            *copied += 1;
            fs::write(&target, "").expect("the folder is ours");
            if fs::metadata(&path).is_ok_and(|found| found.len() < 1 << 20) {
                fs::copy(&path, &target).expect("it can be read");
            }
        }
    }
}

#[test]
fn no_pin_of_a_backend_or_an_officer_opens_the_backing_token_even_to_who_has_it() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            name_module(wall);
            let serving = wall.serve();
            let _ = wall.set_up_wallet();
            copy_folder(&wall.path("boundary/tokens"), &wall.path("notes/tokens"));
            let conf = own_conf(wall, &wall.path("notes/tokens"));
            for pin in ["user.pin", "so.pin"] {
                assert_eq!(calls_token(wall, 0, &conf, &wall.noted(pin)), "refused", "{pin}");
            }
            assert_eq!(calls_token(wall, 0, &conf, &backing_pin(wall)), "logged in");
            assert!(serving.stop().success());
        }
        _ => caller(wall),
    });
}

#[test]
fn a_backend_cannot_open_the_engine_itself() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            // With the boundary's own configuration, and with one that names the boundary's files.
            let own = wall
                .configuration()
                .replace(&format!("{}/boundary/countersign.log", wall.path("").display()), "/dev/null");
            wall.give("engine.toml", &own);
            let _ = wall.run(BACKEND, "attacker");
            // The owner succeeds with the same configuration.
            wall.write("boundary/engine.toml", &own, BOUNDARY);
            let mut right = wall.start_as(BOUNDARY, wall.path("bin/countersign"));
            right
                .env("SOFTHSM2_CONF", wall.path("boundary/softhsm2.conf"))
                .env("COUNTERSIGN_CONF", wall.path("boundary/engine.toml"))
                .env("COUNTERSIGN_SO_PIN", wall.noted("so.pin"))
                .env("COUNTERSIGN_USER_PIN", wall.noted("user.pin"))
                .args(["init", "--label", "t"]);
            let _ = Finished::of(&mut right).expect_success();
        }
        _ => {
            for configuration in ["boundary/inside.toml", "client/engine.toml"] {
                for verb in
                    [&["init", "--label", "t"][..], &["serve"], &["audit", "verify"], &["state", "restore"]]
                {
                    let mut command = std::process::Command::new(wall.path("bin/countersign"));
                    command
                        .args(verb)
                        .env("SOFTHSM2_CONF", wall.path("boundary/softhsm2.conf"))
                        .env("COUNTERSIGN_CONF", wall.path(configuration))
                        .env("COUNTERSIGN_SO_PIN", "whatever it is")
                        .env("COUNTERSIGN_USER_PIN", wall.given("user.pin"));
                    let done = Finished::of(&mut command);
                    assert_eq!(done.status.code(), Some(1), "{configuration} {verb:?}: {}", done.stderr);
                    assert!(done.stderr.contains("next: "), "{}", done.stderr);
                }
            }
            let error = fs::metadata(wall.path("boundary/countersign.db")).expect_err("its folder is closed");
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        }
    });
}
