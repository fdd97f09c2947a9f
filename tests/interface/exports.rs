//! What the module exposes to the process that loads it: its symbols, its link flags, and never a panic.

use std::process::Command;

use cryptoki_sys::*;
use harness::module::raw::Raw;
use harness::module::{
    Finished, assert_rv, in_boundary_of, initialised_token, module, root, target_folder, this_test,
};

/// The feature `forced-panic` panics for this length.
const PANICS: usize = 3_737;

#[test]
fn only_what_the_allow_list_names_is_exported() {
    let listed = output("nm", &["-D", "--defined-only", "-P"]);
    let exported: Vec<&str> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
    for name in ["C_GetFunctionList", "C_GetInterfaceList", "C_GetInterface"] {
        assert!(exported.contains(&name), "{name} is not exported:\n{listed}");
    }
    // The vendored libsecp256k1 marks four functions for export. Nothing else can have their names.
    let others: Vec<&&str> = exported
        .iter()
        .filter(|name| !["C_GetFunctionList", "C_GetInterfaceList", "C_GetInterface"].contains(name))
        .filter(|name| !name.starts_with("rustsecp256k1_"))
        .collect();
    assert!(others.is_empty(), "exported, and not on the allow-list: {others:?}");
    let of_secp = exported.len() - 3;
    assert!(of_secp <= 4, "{of_secp} functions of libsecp256k1 are exported:\n{listed}");
}

#[test]
fn the_module_is_never_unmapped_and_binds_its_own_symbols_to_itself() {
    let dynamic = output("readelf", &["-d", "-W"]);
    let has = |tag: &str, flag: &str| {
        dynamic.lines().any(|line| line.contains(tag) && line.split_whitespace().any(|word| word == flag))
    };
    assert!(has("(FLAGS_1)", "NODELETE"), "{dynamic}");
    assert!(has("(FLAGS)", "SYMBOLIC") || dynamic.contains("(SYMBOLIC)"), "{dynamic}");
}

#[test]
fn a_panic_stays_inside_and_only_its_session_is_lost() {
    let forced = target_folder().with_file_name("forced-panic").join("libcountersign.so");
    assert!(
        forced.is_file(),
        "{} is not there; run softhsm/test.sh, or: cargo build --features forced-panic && mkdir -p {1} && \
         cp {2} {1}/ && cargo build",
        forced.display(),
        forced.parent().expect("it has a folder").display(),
        target_folder().join("libcountersign.so").display(),
    );
    let log = in_boundary_of(this_test!(), Some(&forced), |_| {
        let raw = initialised_token();
        let (first, second) = (raw.user(), raw.read_write());
        assert!(raw.random(first, PANICS - 1).is_ok());
        assert_eq!(raw.random(first, PANICS).err(), Some(CKR_GENERAL_ERROR));
        // The session is in doubt, so no further call in it is answered.
        for _ in 0..2 {
            assert_eq!(raw.random(first, 8).err(), Some(CKR_GENERAL_ERROR));
            assert_eq!(raw.find(first, &[]).err(), Some(CKR_GENERAL_ERROR));
        }
        assert!(raw.random(second, 8).is_ok(), "the next call, in another session");
        assert_eq!(raw.state(second), Ok(CKS_RW_USER_FUNCTIONS));
        assert_rv!(raw.close(first), CKR_OK, "it can still be closed");
        let third = raw.read_write();
        assert_eq!(raw.random(third, PANICS).err(), Some(CKR_GENERAL_ERROR), "again");
        assert!(raw.random(second, 8).is_ok());
        assert_rv!(raw.finalize(), CKR_OK);
        assert_rv!(raw.initialize(), CKR_OK);
        assert!(raw.random(raw.user(), 8).is_ok());
    });
    assert!(log.contains("forced by the feature forced-panic"), "it was another panic:\n{log}");
}

#[test]
fn the_module_of_users_panics_for_no_length() {
    in_boundary_of(this_test!(), None, |_| {
        let raw: Raw = initialised_token();
        assert_eq!(raw.random(raw.read_only(), PANICS).map(|bytes| bytes.len()), Ok(PANICS));
    });
}

/// The output of a binutils tool for the module.
fn output(tool: &str, arguments: &[&str]) -> String {
    assert!(root().join("build.rs").is_file(), "the link flags come from build.rs");
    let finished = Finished::of(Command::new(tool).args(arguments).arg(module())).expect_success();
    assert!(!finished.stdout.is_empty(), "{tool} prints nothing");
    finished.stdout
}
