//! `outcomes.toml`: the outcome of each test of each judge, in process and through a served boundary, and the
//! reason.
//!
//! A group is an array of tables with the judge's name. It has `outcome`, or `direct` and `served` if they
//! differ; `because`, unless the tests pass; and `tests`, in which `*` stands for every other test.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};

use serde::Deserialize;
use toml::Value;

use harness::Way;
use harness::module::{root, summarise};

/// The outcome of a test that succeeded.
pub(crate) const PASSED: &str = "passed";
/// The outcome of a test that is left out.
pub(crate) const NOT_RUN: &str = "not run";

/// The outcome of a test that ended by a signal begins with this. No list excuses it.
pub(crate) const CRASHED: &str = "crashed";
/// The outcome of a test that did not end; no list excuses it.
pub(crate) const HUNG: &str = "hung";

/// Stands for every test that is not named.
const OTHERS: &str = "*";

/// If it is `write`, the list is rewritten with the observed outcomes.
const VARIABLE: &str = "COUNTERSIGN_JUDGES";
/// The beginning of the file.
const HEADING: &str = "\
# What other people's suites and tools say of the module: tests/judges/README.md says how this is made.
";

/// The expected outcome of one test.
#[derive(Clone, Default, PartialEq, Eq)]
struct Expected {
    direct: String,
    served: String,
    because: String,
}

/// Judge, then test.
type List = BTreeMap<String, BTreeMap<String, Expected>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    outcome: Option<String>,
    direct: Option<String>,
    served: Option<String>,
    #[serde(default)]
    because: String,
    tests: Vec<String>,
}

/// The tests of a judge that the list leaves out.
pub(crate) fn left_out(judge: &str, way: Way) -> BTreeSet<String> {
    let mut list = parse(&read(&mut file()));
    let expected = list.remove(judge).unwrap_or_default();
    expected.into_iter().filter(|(_, expected)| expected.by(way) == NOT_RUN).map(|(test, _)| test).collect()
}

/// Compares the outcome of each test of a judge with the list.
pub(crate) fn compare(judge: &str, way: Way, observed: &BTreeMap<String, String>) {
    let mut file = file();
    let mut list = parse(&read(&mut file));
    summarise(summary(judge, way, observed));
    if env::var_os(VARIABLE).is_some_and(|value| value == "write") {
        note(list.entry(judge.into()).or_default(), way, observed);
        let text = render(&list);
        file.rewind().and_then(|()| file.set_len(0)).expect("the list can be written");
        file.write_all(text.as_bytes()).expect("the list can be written");
        return;
    }
    let expected = list.remove(judge).unwrap_or_default();
    let tests: BTreeSet<&String> =
        expected.keys().filter(|test| *test != OTHERS).chain(observed.keys()).collect();
    let mut differences = String::new();
    for test in tests {
        let listed = expected.get(test).or_else(|| expected.get(OTHERS));
        let wanted = listed.map_or("not in the list", |expected| expected.by(way));
        let was = observed.get(test).map_or(NOT_RUN, String::as_str);
        if wanted != was || was.starts_with(CRASHED) || was == HUNG {
            writeln!(differences, "  {test}\n    expected: {wanted}\n    observed: {was}")
                .expect("a String grows");
        } else if was != PASSED && listed.is_some_and(|expected| expected.because.is_empty()) {
            writeln!(differences, "  {test}\n    {was}: no reason is given").expect("a String grows");
        }
    }
    assert!(
        differences.is_empty(),
        "{judge}, {way:?}, differs from tests/judges/outcomes.toml ({VARIABLE}=write rewrites it; reasons are given by hand):\n{differences}"
    );
}

fn summary(judge: &str, way: Way, observed: &BTreeMap<String, String>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for outcome in observed.values() {
        *counts.entry(outcome.split(':').next().unwrap_or_default()).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
    format!("{judge}, {way:?}: {}", counts.join(", "))
}

impl Expected {
    fn by(&self, way: Way) -> &str {
        match way {
            Way::Direct => &self.direct,
            Way::Served => &self.served,
        }
    }
}

/// Takes the observed outcomes over. A reason stays with its outcome.
fn note(expected: &mut BTreeMap<String, Expected>, way: Way, observed: &BTreeMap<String, String>) {
    let others = expected.remove(OTHERS);
    expected.retain(|test, _| observed.contains_key(test));
    for (test, outcome) in observed {
        let entry = expected.entry(test.clone()).or_insert_with(|| others.clone().unwrap_or_default());
        if entry.by(way) == outcome {
            continue;
        }
        let known = !entry.by(way).is_empty();
        match way {
            Way::Direct => entry.direct.clone_from(outcome),
            Way::Served => entry.served.clone_from(outcome),
        }
        if known || (entry.direct == PASSED && entry.served == PASSED) {
            entry.because.clear();
        }
    }
    if let Some(others) = others {
        expected.retain(|_, expected| *expected != others);
        expected.insert(OTHERS.into(), others);
    }
}

/// The list, locked until it is dropped, because the tests of several judges run at the same time.
fn file() -> File {
    let path = root().join("tests/judges/outcomes.toml");
    let writes = env::var_os(VARIABLE).is_some();
    let file = OpenOptions::new().read(true).write(writes).open(&path).expect("the list is in the checkout");
    if writes {
        file.lock().expect("a file can be locked");
    }
    file
}

fn read(file: &mut File) -> String {
    let mut text = String::new();
    file.read_to_string(&mut text).expect("the list is UTF-8");
    text
}

fn parse(text: &str) -> List {
    let groups: BTreeMap<String, Vec<Group>> = toml::from_str(text).expect("outcomes.toml has its form");
    let mut list = List::new();
    for (judge, groups) in groups {
        let tests = list.entry(judge.clone()).or_default();
        for group in groups {
            let way = |own: Option<String>| {
                own.or_else(|| group.outcome.clone()).expect("a group has an outcome, or one of each way")
            };
            let expected = Expected {
                direct: way(group.direct),
                served: way(group.served),
                because: group.because.trim().into(),
            };
            for test in group.tests {
                let twice = tests.insert(test.clone(), expected.clone()).is_some();
                assert!(!twice, "outcomes.toml has {test} of {judge} twice");
            }
        }
    }
    list
}

fn render(list: &List) -> String {
    let mut text = HEADING.to_owned();
    for (judge, tests) in list {
        let mut groups: BTreeMap<(bool, &str, &str, &str), Vec<&str>> = BTreeMap::new();
        for (test, Expected { direct, served, because }) in tests {
            let key = (direct != PASSED, direct.as_str(), served.as_str(), because.as_str());
            groups.entry(key).or_default().push(test);
        }
        for ((_, direct, served, because), tests) in groups {
            text += &format!("\n[[{judge}]]\n");
            if direct == served {
                text += &format!("outcome = {}\n", quoted(direct));
            } else {
                text += &format!("direct = {}\nserved = {}\n", quoted(direct), quoted(served));
            }
            if !because.is_empty() || direct != PASSED || served != PASSED {
                text += &format!("because = {}\n", quoted(because));
            }
            text += "tests = [\n";
            for test in tests {
                text += &format!("    {},\n", quoted(test));
            }
            text += "]\n";
        }
    }
    text
}

fn quoted(text: &str) -> String {
    Value::String(text.into()).to_string()
}
