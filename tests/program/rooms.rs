//! The rooms of the kernel: the modules that `src/kernel/lib.rs` names. Their `use` lines and paths show which room
//! uses which. No two rooms may use each other, directly or through others: then each room can be read, moved and
//! tested with only the rooms below it. Within a room, parent and children may use each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use harness::root;

/// Rooms that use each other on purpose, each with its reason. There are none.
const MEANT: [(&[&str], &str); 0] = [];

/// For each room the rooms that it uses, each with a file in which it does.
type Graph = BTreeMap<String, BTreeMap<String, String>>;

#[test]
fn no_rooms_of_the_kernel_use_each_other_in_a_circle() {
    let graph = kernel();
    assert!(graph.len() > 20 && graph.values().map(BTreeMap::len).sum::<usize>() > 60, "{graph:?}");
    let meant: BTreeSet<BTreeSet<String>> =
        MEANT.iter().map(|(rooms, _)| rooms.iter().map(|room| (*room).to_owned()).collect()).collect();
    for circle in circles(&graph) {
        let told: Vec<String> = circle.iter().flat_map(|room| told(&graph, room, &circle)).collect();
        assert!(
            meant.contains(&circle),
            "these rooms use each other: have one of them not know the other, or list them in MEANT with a reason\n{}",
            told.join("\n")
        );
    }
    let found = circles(&graph);
    assert!(meant.iter().all(|circle| found.contains(circle)), "a circle is gone: take it out of MEANT");
}

/// How `room` uses the others of `circle`.
fn told(graph: &Graph, room: &str, circle: &BTreeSet<String>) -> Vec<String> {
    let uses = graph[room].iter().filter(|(used, _)| circle.contains(*used));
    uses.map(|(used, file)| format!("  {room} uses {used} in {file}")).collect()
}

fn kernel() -> Graph {
    let lib = root().join("src/kernel/lib.rs");
    let text = fs::read_to_string(&lib).expect("the kernel has a lib.rs");
    let rooms = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let mut graph: Graph = rooms.map(|room| (room.to_owned(), BTreeMap::new())).collect();
    read_folder(&root().join("src/kernel"), &mut Vec::new(), &mut graph);
    graph
}

/// Reads the files of a folder, which is the module `path`.
fn read_folder(folder: &Path, path: &mut Vec<String>, graph: &mut Graph) {
    for entry in fs::read_dir(folder).expect("a folder of the kernel") {
        let file = entry.expect("it is listed").path();
        let name = file.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        let is_code = file.extension().is_some_and(|extension| extension == "rs");
        if name == "tests" || name == "lib" || !(file.is_dir() || is_code) {
            continue;
        }
        let is_own = file.is_dir() || name != "mod";
        path.extend(is_own.then_some(name));
        if file.is_dir() {
            read_folder(&file, path, graph);
        } else {
            let text = fs::read_to_string(&file).expect("a file of the kernel");
            let shown = file.strip_prefix(root()).expect("below the root").display().to_string();
            enter(path, &text, &shown, graph);
        }
        if is_own {
            path.pop();
        }
    }
}

/// Notes which rooms the module `path` uses.
fn enter(path: &[String], text: &str, file: &str, graph: &mut Graph) {
    let rooms: BTreeSet<String> = graph.keys().cloned().collect();
    let used = used_by(path, text).into_iter().filter(|used| *used != path[0] && rooms.contains(used));
    if let Some(uses) = graph.get_mut(&path[0]) {
        uses.extend(used.map(|used| (used, file.to_owned())));
    }
}

/// The first name below the crate of each path in a module's code.
fn used_by(path: &[String], text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let code: String = code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let mut used = BTreeSet::new();
    for (start, _) in code.match_indices("crate::").chain(code.match_indices("super::")) {
        let is_path =
            !code[..start].ends_with(|before: char| before.is_alphanumeric() || "_:".contains(before));
        if is_path {
            below(path, &code[start..], &mut used);
        }
    }
    used
}

/// Follows one path, which may end in a tree of paths.
fn below(path: &[String], mut text: &str, used: &mut BTreeSet<String>) {
    let mut at = path;
    if let Some(rest) = text.strip_prefix("crate::") {
        (at, text) = (&[], rest);
    }
    while let Some(rest) = text.strip_prefix("super::") {
        (at, text) = (at.split_last().map_or(at, |(_, parent)| parent), rest);
    }
    if let Some(room) = at.first() {
        used.insert(room.clone());
    } else if let Some(tree) = text.strip_prefix('{') {
        branches(tree).for_each(|branch| below(&[], branch, used));
    } else {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        used.insert(text[..end].to_owned());
    }
}

/// The parts of a tree of paths; `tree` begins after the opening brace.
fn branches(tree: &str) -> impl Iterator<Item = &str> {
    let (mut depth, mut begin, mut parts) = (0, 0, Vec::new());
    for (at, c) in tree.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&tree[begin..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&tree[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty())
}

/// Every set of rooms in which each room leads to every other one.
fn circles(graph: &Graph) -> BTreeSet<BTreeSet<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        graph.keys().map(|room| (room, reached_from(graph, room))).collect();
    let circle = |room: &String| -> BTreeSet<String> {
        let there_and_back = reached[room].iter().filter(|other| reached[**other].contains(room));
        there_and_back.map(|other| (*other).clone()).collect()
    };
    graph.keys().map(circle).filter(|circle| !circle.is_empty()).collect()
}

fn reached_from<'a>(graph: &'a Graph, room: &'a str) -> BTreeSet<&'a String> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![room]);
    while let Some(room) = next.pop() {
        let uses = graph.get(room).into_iter().flat_map(BTreeMap::keys);
        next.extend(uses.filter(|used| reached.insert(*used)).map(String::as_str));
    }
    reached
}

#[test]
fn a_circle_is_found_in_whichever_way_a_room_is_named() {
    let found = |texts: &[(&[&str], &str)]| {
        let path = |path: &[&str]| path.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut graph: Graph = ["a", "b", "c"].map(|room| (room.to_owned(), BTreeMap::new())).into();
        texts.iter().for_each(|(module, text)| enter(&path(module), text, "", &mut graph));
        circles(&graph).into_iter().flatten().collect::<Vec<_>>().concat()
    };
    let to_b = (&["a"][..], "use crate::b::B;\n");
    assert_eq!(found(&[to_b, (&["b"], "use super::a;\n")]), "ab");
    assert_eq!(found(&[to_b, (&["b", "x"], "use super::super::{c::C, a::{A, D}};\n")]), "ab");
    assert_eq!(found(&[to_b, (&["b"], "fn f() -> crate::a::A { }\n")]), "ab");
    assert_eq!(found(&[to_b, (&["b"], "use crate::c;\n"), (&["c"], "pub use super::{x, a};\n")]), "abc");
    assert_eq!(found(&[to_b, (&["b", "x"], "use super::a::A;\n")]), "", "a child of its own");
    assert_eq!(found(&[to_b, (&["b"], "// crate::a is above\nuse crate::c;\n")]), "", "a comment");
    let test = "use crate::c;\n#[cfg(test)]\nmod tests { use crate::a; }\n";
    assert_eq!(found(&[to_b, (&["b"], test)]), "", "a test may use what it likes");
}
