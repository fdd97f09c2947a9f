//! Whole files of the engine: what is read, and how each mistake is reported.

use std::fs;
use std::time::Duration;

use super::*;
use crate::engine::DEFAULT_FAILURES_PER_HOUR;

const GOOD: &str = r#"
    [backing]
    module = "/usr/lib/softhsm/libsofthsm2.so"
    token = "t"
    pin_file = "/pin"
    [store]
    path = "/store.db"
"#;

fn parse(text: &str) -> Result<EngineConfig, ConfigError> {
    match Config::parse(text, Path::new("/c.toml"))? {
        Config::Engine(config) => Ok(*config),
        Config::Connect(_) => panic!("this is the engine's"),
    }
}

#[test]
fn a_complete_file_is_read() {
    let config = parse(GOOD).expect("complete");
    assert_eq!(config.backing.token.as_deref(), Some("t"));
    assert!(matches!(&config.backing.pin, PinSource::File(path) if path == Path::new("/pin")));
    assert_eq!((config.log.level, config.log.file), (LogLevel::Warn, None));
    assert_eq!(config.limits.failures_per_hour, DEFAULT_FAILURES_PER_HOUR);
    assert_eq!(config.store.reopening, Duration::from_secs(30));
    let config = parse(&GOOD.replace("[store]", "[store]\nreopen_seconds = 0")).expect("complete");
    assert_eq!(config.store.reopening, Duration::ZERO);
    let config = parse(&GOOD.replace("pin_file = \"/pin\"", "pin_env = \"PIN\"")).expect("complete");
    assert!(matches!(&config.backing.pin, PinSource::Env(name) if name == "PIN"));
}

#[test]
fn a_backing_token_is_named_by_label_serial_number_or_slot() {
    let with = |lines: &str| parse(&GOOD.replace("token = \"t\"", lines)).map(|config| config.backing);
    let backing = with("token = \"t\"\nserial = \"0f\"\nslot = 4294967296\ninit_args = \"configdir='/n'\"");
    let backing = backing.expect("complete");
    assert_eq!((backing.serial.as_deref(), backing.slot), (Some("0f"), Some(4_294_967_296)));
    assert_eq!(backing.init_args.as_deref(), Some(c"configdir='/n'"));
    for (lines, token) in [("serial = \"0f\"", None), ("slot = 0", None), ("token = \"\"", Some(""))] {
        assert_eq!(with(lines).expect(lines).token.as_deref(), token, "{lines}");
    }
    for (lines, expected) in [
        ("", "key backing.token: name the token"),
        ("slot = -1", "line 4, key backing.slot: -1 stands there: write a whole number from 0"),
        ("serial = 5", "line 4, key backing.serial: 5 stands there"),
        ("token = \"t\"\ninit_args = \"a\\u0000b\"", "key backing.init_args"),
    ] {
        let error = with(lines).expect_err(lines).to_string();
        assert!(error.contains(expected), "{lines}: {error}");
    }
}

#[test]
fn otp_guess_the_breaker_is_configured_within_its_range() {
    let with = |value: &str| parse(&format!("{GOOD}\n[limits]\nfailures_per_hour = {value}\n"));
    for number in [16, 17, 1_000_000] {
        let config = with(&number.to_string()).expect("within its range");
        assert_eq!(config.limits.failures_per_hour, number);
    }
    for value in ["0", "15", "1000001", "-1", "4294967297", "1.5", "\"many\"", "true"] {
        let error = with(value).expect_err(value).to_string();
        assert!(error.contains("/c.toml"), "{value}: {error}");
    }
    let error = with("0").expect_err("no code at all").to_string();
    assert!(error.contains("limits.failures_per_hour"), "{error}");
}

#[test]
fn every_mistake_names_the_file_and_the_key() {
    for (from, to, expected) in [
        ("[store]", "[stone]", "line 6, key stone: there is no such key"),
        ("path = \"/store.db\"", "", "key store.path: it is missing"),
        ("path = \"/store.db\"", "path = \"store.db\"", "key store.path"),
        ("[store]", "[store]\nreopen_seconds = 301", "key store.reopen_seconds"),
        ("[store]", "[store]\nreopen_seconds = -1", "key store.reopen_seconds: a number from 0 to 300"),
        ("\"/usr/lib/softhsm/libsofthsm2.so\"", "\"libsofthsm2.so\"", "key backing.module"),
        ("pin_file = \"/pin\"", "", "key backing.pin_file"),
        ("pin_file = \"/pin\"", "pin_file = \"/pin\"\npin_env = \"PIN\"", "key backing.pin_file"),
        ("pin_file = \"/pin\"", "pin = \"1234\"", "key backing.pin: there is no such key"),
        ("pin_file = \"/pin\"", "pin_file = \"pin\"", "key backing.pin_file"),
        ("token = \"t\"", "token = 5", "line 4, key backing.token: 5 stands there: write a string in quotes"),
        ("[store]", "[connect]\n[store]", "key connect.address: it is missing"),
        (
            "[store]",
            "[log]\nlevel = \"loud\"\n[store]",
            "key log.level: write one of \"off\", \"error\", \"warn\", \"info\"",
        ),
        ("[store]", "[log]\nlevel = warn\n[store]", "line 7, key level: string values must be quoted"),
        ("[store]", "[log]\nlevel = 3\n[store]", "key log.level: write a string in quotes"),
        (
            "[store]",
            "[log]\nfile = []\n[store]",
            "key log.file: a list stands there: write a string in quotes",
        ),
        ("[store]", "log = 3\n[store]", "key backing.log: there is no such key"),
        ("[store]", "[limits]\n[store]", "key limits.failures_per_hour: it is missing"),
        (
            "[store]",
            "[limits]\nfailures_per_hour = -1\n[store]",
            "key limits.failures_per_hour: a number from 16 to",
        ),
        ("[store]", "[limits]\nfailures = 5\n[store]", "key limits.failures: there is no such key"),
    ] {
        let error = parse(&GOOD.replace(from, to)).expect_err(to).to_string();
        assert!(error.contains(expected) && error.contains("/c.toml"), "{to}: {error}");
    }
    let error = parse("[store]\npath = \"/s\"").expect_err("no backing").to_string();
    assert!(error.contains("key backing"), "{error}");
}

#[test]
fn a_verb_that_needs_the_engine_says_so_if_the_engine_is_elsewhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.toml");
    fs::write(&path, "[connect]\naddress = \"unix:/s\"\n").expect("writes");
    assert!(matches!(Config::load(&path), Ok(Config::Connect(_))));
    let error = EngineConfig::load(&path).expect_err("a client's").to_string();
    assert!(error.contains("key connect") && error.contains("inside the boundary"), "{error}");
}

#[test]
fn the_signed_plugin_has_a_table_whose_mistakes_name_their_key() {
    const OFFICER: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    let good = format!(
        "{GOOD}\n[plugin]\nlibrary = \"/l.so\"\nofficers = [\"{OFFICER}\"]\nthreshold = 1\nfloor_file = \"/f\"\n"
    );
    let config = parse(&good).expect("complete");
    let plugin = config.plugin.expect("it is there");
    assert_eq!((plugin.library, plugin.floor_file), ("/l.so".into(), "/f".into()));
    assert_eq!((plugin.officers.keys()[0].line(), plugin.officers.threshold()), (OFFICER, 1));
    assert!(parse(GOOD).expect("complete").plugin.is_none());
    for (from, to, expected) in [
        ("\"/l.so\"", "\"l.so\"", "key plugin.library: an absolute path"),
        ("\"/l.so\"", "\"/\"", "key plugin.library"),
        ("\"/f\"", "\"f\"", "key plugin.floor_file: an absolute path"),
        ("\"RW", "\"RWx", "key plugin.officers: entry 1 is no public key"),
        (
            "[\"RW",
            &format!("[\"{OFFICER}\", \"RW"),
            "key plugin.officers: entry 2 is the same key as entry 1",
        ),
        (&format!("[\"{OFFICER}\"]"), "[]", "key plugin.officers: there must be 1 to 16"),
        ("threshold = 1", "threshold = 2", "key plugin.threshold: a number from 1 to 1"),
        ("threshold = 1", "threshold = 0", "key plugin.threshold"),
        ("threshold = 1", "threshold = -1", "key plugin.threshold"),
        ("threshold = 1", "", "key plugin.threshold: it is missing"),
        ("threshold = 1", "threshold = \"1\"", "key plugin.threshold: a string stands there"),
        ("threshold = 1", "threshold = 1\nunsigned = true", "key plugin.unsigned: there is no such key"),
    ] {
        assert!(good.contains(from), "{from}");
        let error = parse(&good.replacen(from, to, 1)).expect_err(to).to_string();
        assert!(error.contains(expected) && error.contains("/c.toml"), "{to}: {error}");
    }
}
