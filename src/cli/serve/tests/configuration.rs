//! What of the configuration a reload takes, and what is missing for serving at all.

use super::*;

#[test]
fn every_setting_is_known_to_apply_on_reload_or_at_the_next_start() {
    const CONFIG: &str = r#"
        [backing]
        module = "/m"
        token = "t"
        pin_file = "/p"
        [store]
        path = "/s"
        [limits]
        failures_per_hour = 100
        [log]
        level = "info"
        [plugin]
        library = "/l.so"
        officers = ["RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"]
        threshold = 1
        floor_file = "/f"
        [serve]
        max_calls = 3
        monitoring = "/m.sock"
        [serve.backend]
        socket = "/b.sock"
        users = [1]
        [serve.tcp]
        address = "127.0.0.1:1"
        certificate_file = "/c"
        key_file = "/k"
        client_authority_file = "/a"
        backends = ["b.example"]
        [serve.vsock]
        port = 1
        backends = [3]
    "#;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.toml");
    let waits = |from: &str, to: &str| {
        let config = |text: String| {
            fs::write(&path, text).expect("the folder is ours");
            EngineConfig::load(&path).expect("it is one")
        };
        assert!(CONFIG.contains(from), "{from}");
        waits_for_the_next_start(&config(CONFIG.replace(from, to)), &config(CONFIG.into()))
    };
    for (from, to) in [
        ("module = \"/m\"", "module = \"/m2\""),
        ("token = \"t\"", "token = \"t2\""),
        ("pin_file = \"/p\"", "pin_env = \"P\""),
        ("path = \"/s\"", "path = \"/s2\""),
        ("failures_per_hour = 100", "failures_per_hour = 101"),
        ("level = \"info\"", "level = \"warn\""),
        ("level = \"info\"", "level = \"info\"\nfile = \"/log\""),
        ("/l.so", "/l2.so"),
        ("\"/f\"", "\"/f2\""),
        ("max_calls = 3", "max_calls = 4"),
        ("/m.sock", "/m2.sock"),
        ("/b.sock", "/b2.sock"),
        ("127.0.0.1:1", "127.0.0.1:2"),
        ("port = 1", "port = 2"),
    ] {
        assert!(waits(from, to), "{to}");
    }
    let of_plugin =
        CONFIG.find("[plugin]").expect("it is there")..CONFIG.find("[serve]").expect("it is there");
    assert!(waits(&CONFIG[of_plugin], ""), "none is another one");
    for (from, to) in [
        ("users = [1]", "users = [2]"),
        ("\"/c\"", "\"/c2\""),
        ("\"/k\"", "\"/k2\""),
        ("\"/a\"", "\"/a2\""),
        ("b.example", "b2.example"),
        ("backends = [3]", "backends = [4]"),
    ] {
        assert!(!waits(from, to), "{to}");
    }
}

#[test]
fn a_configuration_without_doors_is_refused_with_what_to_add() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.toml");
    fs::write(
        &path,
        "[backing]\nmodule = \"/m\"\ntoken = \"t\"\npin_file = \"/p\"\n[store]\npath = \"/s\"\n",
    )
    .expect("the folder is ours");
    let config = EngineConfig::load(&path).expect("it is the engine's");
    let error = serve_table(&path, &config).expect_err("no doors");
    assert!(
        error.what.contains("c.toml") && error.next.contains("[serve.backend]"),
        "{} {}",
        error.what,
        error.next
    );
}
