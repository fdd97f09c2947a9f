//! The boundary loads exactly what it verified, and the floor is durable before any code of the library runs.

#![allow(unsafe_code, reason = "a library is loaded, and called")]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign::kernel::officer::Officers;
use countersign_plugin as plugin;
use cryptoki_sys::{CK_FUNCTION_LIST_PTR, CK_INTERFACE_PTR, CK_RV, CK_ULONG, CKR_OK};
use libloading::Library;

use harness::module::{Finished, module, this_test};

use super::release::{Officer, Release, compile};

/// The folder that another process of a test works in.
const FOLDER: &str = "COUNTERSIGN_PLUGIN_FOLDER";
/// The line with the key that it pins.
const OFFICER: &str = "COUNTERSIGN_PLUGIN_OFFICER";

#[test]
fn a_library_that_is_swapped_after_it_was_verified_is_not_the_one_that_is_loaded() {
    let officer = Officer::new();
    let swaps: [fn(&Path, &[u8]); 3] = [
        |path, other| fs::write(path, other).expect("the folder is ours"),
        |path, other| {
            fs::write(path.with_extension("new"), other).expect("the folder is ours");
            fs::rename(path.with_extension("new"), path).expect("the folder is ours");
        },
        |path, _| fs::remove_file(path).expect("the folder is ours"),
    ];
    for (number, swap) in (0_u32..).zip(swaps) {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let (ours, others) = (compile(folder.path(), number, None), compile(folder.path(), 99, None));
        let release = Release::of(&ours, "1.0.0", "1.0.0");
        let verified = plugin::verify(&release.installed(&officer)).expect("it is signed");
        swap(&release.library(), &others);
        assert_eq!(answer(&verified.load().expect("it loads").library), number);
    }
}

/// If the loader knows a name, it returns the library that it already has under it.
#[test]
fn each_of_several_loaded_releases_is_the_one_that_was_verified() {
    let officer = Officer::new();
    for number in 100..110 {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let release = Release::of(&compile(folder.path(), number, None), "1.0.0", "1.0.0");
        let loaded = plugin::verify(&release.installed(&officer)).and_then(|verified| verified.load());
        let library = loaded.expect("it loads").library;
        assert_eq!(answer(&library), number);
        // Never unmapped, like the module.
        std::mem::forget(library);
    }
}

#[test]
fn the_module_loads_and_has_its_three_entries() {
    let officer = Officer::new();
    let bytes = fs::read(module()).expect("it is built");
    let release = Release::of(&bytes, "0.1.0", "0.1.0");
    let loaded = plugin::verify(&release.installed(&officer)).and_then(|verified| verified.load());
    let library = loaded.expect("it loads").library;
    let mapped = fs::read_to_string("/proc/self/maps").expect("Linux");
    assert!(mapped.lines().any(|line| line.contains(" r-xp ") && line.contains("/memfd:libcountersign.so")));
    let mut list: CK_FUNCTION_LIST_PTR = std::ptr::null_mut();
    let mut count: CK_ULONG = 0;
    let mut interface: CK_INTERFACE_PTR = std::ptr::null_mut();
    // SAFETY: these are the types of the three functions (PKCS#11 v3.2 section 5.4), called as it says.
    unsafe {
        let get: libloading::Symbol<'_, unsafe extern "C" fn(*mut CK_FUNCTION_LIST_PTR) -> CK_RV> =
            library.get(b"C_GetFunctionList").expect("exported");
        assert_eq!(get(&mut list), CKR_OK);
        assert_eq!(((*list).version.major, (*list).version.minor), (2, 40));
        let get: libloading::Symbol<'_, unsafe extern "C" fn(CK_INTERFACE_PTR, *mut CK_ULONG) -> CK_RV> =
            library.get(b"C_GetInterfaceList").expect("exported");
        assert_eq!(get(std::ptr::null_mut(), &mut count), CKR_OK);
        assert!(count > 0);
        type GetInterface = unsafe extern "C" fn(*mut u8, *mut u8, *mut CK_INTERFACE_PTR, CK_ULONG) -> CK_RV;
        let get: libloading::Symbol<'_, GetInterface> = library.get(b"C_GetInterface").expect("exported");
        assert_eq!(get(std::ptr::null_mut(), std::ptr::null_mut(), &mut interface, 0), CKR_OK);
        assert!(!interface.is_null());
    }
}

#[test]
fn a_library_that_cannot_be_loaded_is_reported() {
    let officer = Officer::new();
    let release = Release::of(b"no ELF file", "1.0.0", "1.0.0");
    let verified = plugin::verify(&release.installed(&officer)).expect("it is signed");
    let error = verified.load().expect_err("no library");
    assert!(error.to_string().contains("cannot load the verified library"), "{error}");
    assert!(error.next().contains("built for this machine"), "{}", error.next());
}

#[test]
fn the_floor_is_raised_before_the_librarys_code_runs() {
    let officer = Officer::new();
    let release = Release::new("1.0.0", "1.0.0");
    let config = release.installed(&officer);
    let seen = release.path("seen");
    let library = compile(release.folder.path(), 1, Some((&release.floor_file(), &seen)));
    release.replace(&library, "1.1.0", "1.1.0");
    release.sign(&[&officer]);
    plugin::verify(&config).expect("not below").load().expect("it loads");
    let seen = fs::read_to_string(seen).expect("its constructor ran");
    assert!(seen.starts_with("floor = \"1.1.0\"\n"), "{seen}");
}

/// According to its system calls, everything that protects the floor is done and synced before the library is
/// opened.
#[test]
fn the_floor_is_durable_before_the_library_is_mapped() {
    let scene = Scene::of(this_test!());
    for (floor, raised) in [("1.1.0", true), ("1.0.0", false)] {
        scene.put(floor);
        let calls = scene.traced();
        let at = |wanted: &[&str]| {
            calls.iter().position(|call| wanted.iter().all(|word| call.contains(word))).unwrap_or_else(|| {
                panic!("no {wanted:?} before the library is opened:\n{}", calls.join("\n"))
            })
        };
        let folder = scene.release.folder.path().display().to_string();
        let folder_synced = at(&["fsync(", &format!("<{folder}>")]);
        if raised {
            let draft_synced = at(&["fsync(", "plugin.floor.part>"]);
            let moved = at(&["rename", "plugin.floor.part", "plugin.floor\""]);
            assert!(draft_synced < moved && moved < folder_synced, "{}", calls.join("\n"));
        } else {
            // The process that raised the floor may have been killed before the floor was durable.
            assert!(at(&["fsync(", "plugin.floor>"]) < folder_synced, "{}", calls.join("\n"));
        }
        let mapped = at(&["open", "/proc/self/fd/"]);
        assert!(folder_synced < mapped, "{}", calls.join("\n"));
    }
}

/// Killed at each of its calls: the floor is either the old or the new one, whole, and no code ran before it
/// was the new one.
#[test]
fn a_kill_at_any_call_leaves_a_floor_and_no_code_runs_before_it() {
    let scene = Scene::of(this_test!());
    scene.put("1.1.0");
    let old = scene.release.floor_text();
    let calls = scene.traced();
    let new = scene.release.floor_text();
    assert_ne!(old, new);
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let (mut killed, mut left_old) = (0, 0);
    let begin =
        calls.iter().position(|call| call.contains("/begin\"")).expect("the process tells where it begins");
    for (at, call) in calls.iter().enumerate() {
        let name = call.split('(').next().expect("it begins so");
        let number = numbers.entry(name).and_modify(|number| *number += 1).or_insert(1);
        if at <= begin {
            continue;
        }
        scene.put("1.1.0");
        let inject = format!("inject={name}:signal=SIGKILL:when={number}");
        let finished =
            Finished::of(&mut scene.process(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject]));
        assert!(!finished.status.success(), "it was not killed at {call}");
        let floor = scene.release.floor_text();
        assert!(floor == old || floor == new, "killed at {call}: {floor}");
        assert!(
            !scene.seen().exists() || floor == new,
            "killed at {call}: its code ran, the floor is the old one"
        );
        killed += 1;
        left_old += usize::from(floor == old);
        // The next process succeeds.
        Finished::of(&mut scene.process(&[])).expect_success();
        assert_eq!(scene.release.floor_text(), new, "after a kill at {call}");
    }
    println!("killed at {killed} calls, before the floor was the new one at {left_old} of them");
    assert!(killed > 8 && left_old > 2 && left_old < killed, "so few cannot be all:\n{}", calls.join("\n"));
}

/// A release that another process of the test loads.
struct Scene {
    test: String,
    release: Release,
    officer: Officer,
}

impl Scene {
    /// In the test's own process. Another process loads the release, and does not return.
    fn of(test: &str) -> Scene {
        if let (Some(folder), Ok(officer)) = (std::env::var_os(FOLDER), std::env::var(OFFICER)) {
            load_in(Path::new(&folder), &officer);
            std::process::exit(0);
        }
        let (release, officer) = (Release::new("1.0.0", "1.0.0"), Officer::new());
        release.installed(&officer);
        fs::copy(release.floor_file(), release.path("old.floor")).expect("the folder is ours");
        Scene { test: test.into(), release, officer }
    }

    /// Installs version 1.1.0 with this floor, and the old floor file.
    fn put(&self, floor: &str) {
        fs::copy(self.release.path("old.floor"), self.release.floor_file()).expect("the folder is ours");
        let seen = self.seen();
        let _ = fs::remove_file(&seen);
        let library = compile(self.release.folder.path(), 1, Some((&self.release.floor_file(), &seen)));
        self.release.replace(&library, "1.1.0", floor);
        self.release.sign(&[&self.officer]);
    }

    /// The file that the library's constructor leaves.
    fn seen(&self) -> PathBuf {
        self.release.path("seen")
    }

    /// A process that loads the release, under another program if one is given.
    fn process(&self, under: &[&str]) -> Command {
        let executable = std::env::current_exe().expect("the system names the running executable");
        let mut words = under.iter().map(Into::into).chain([executable.into_os_string()]);
        let mut command = Command::new(words.next().expect("there is the executable at least"));
        command
            .args(words)
            .args(["--exact", &self.test, "--nocapture", "--test-threads=1"])
            .env(FOLDER, self.release.folder.path())
            .env(OFFICER, self.officer.line());
        command
    }

    /// The calls of the thread that loads the release, from its start until the library is opened.
    fn traced(&self) -> Vec<String> {
        let trace = self.release.path("trace");
        let to = trace.to_str().expect("UTF-8");
        let calls = "trace=openat,open,creat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,\
                     link,linkat,ftruncate,memfd_create,fcntl,flock";
        let strace = ["strace", "-f", "-y", "-s", "256", "-o", to, "-e", calls];
        Finished::of(&mut self.process(&strace)).expect_success();
        let traced = fs::read_to_string(&trace).expect("strace wrote it");
        let thread = |line: &str| line.split(' ').next().map(str::to_owned);
        let begin =
            traced.lines().find(|line| line.contains("/begin\"")).and_then(thread).expect("it begins");
        let own = traced.lines().filter(|line| thread(line).as_ref() == Some(&begin));
        let mut calls: Vec<String> = own
            .filter_map(|line| line.split_once(' ').map(|(_, call)| call.trim_start().to_owned()))
            .filter(|call| call.starts_with(|first: char| first.is_ascii_lowercase()))
            .collect();
        let mapped = calls.iter().position(|call| call.contains("\"/proc/self/fd/")).expect("it is loaded");
        calls.truncate(mapped + 1);
        calls
    }
}

/// Loads the library in the folder, after announcing it.
fn load_in(folder: &Path, officer: &str) {
    let config = plugin::PluginConfig {
        library: folder.join("libcountersign.so"),
        officers: Officers::parse(&[officer], 1).expect("an officer"),
        floor_file: folder.join("plugin.floor"),
    };
    fs::write(folder.join("begin"), "").expect("the folder is ours");
    let loaded = plugin::verify(&config).and_then(|verified| verified.load()).expect("it loads");
    assert_eq!(answer(&loaded.library), 1);
}

fn answer(library: &Library) -> u32 {
    // SAFETY: `compile` made the library, in which `answer` is such a function.
    unsafe {
        let answer: libloading::Symbol<'_, extern "C" fn() -> u32> =
            library.get(b"answer").expect("exported");
        answer()
    }
}
