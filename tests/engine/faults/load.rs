//! `crash`: the process is killed under load two hundred times, and the state is never put back.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use cryptoki_sys::*;

use harness::module::wallet::Payment;
use harness::module::{Authenticator, Boundary, approval, in_boundary, now, summarise, this_test};

use super::story::{self, authenticator, tell_of_many, wallets_of};

const KILLS: usize = 200;
const THREADS: u64 = 8;
const USERS: usize = 192;
/// Seconds of a time step: the test needs many codes, and this is the shortest step there is.
const QUICK_PERIOD: u64 = 15;
/// Names the seed of an earlier run, to repeat its waits and choices.
const SEED: &str = "COUNTERSIGN_TEST_SEED";

#[test]
fn crash_killed_200_times_under_load_no_code_signs_twice_and_no_try_is_given_back() {
    in_boundary(this_test!(), |boundary| match boundary.role() {
        "story" => tell_of_many(boundary, &users(), QUICK_PERIOD),
        "load" => load(boundary),
        _ => {
            boundary.allow_many_failures();
            boundary.run("story");
            kill_again_and_again(boundary);
        }
    });
}

fn users() -> Vec<String> {
    (0..USERS).map(|number| format!("user-{number}")).collect()
}

/// SplitMix64, which is good enough for choices.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// A line that a thread writes before a try and after its answer. The process may be killed after each.
struct Line {
    user: usize,
    /// The step of a right code; 0 for a wrong one.
    step: u64,
    /// Identifies the transaction: no two tries have the same one.
    transaction: u64,
    /// `None` before the answer.
    rv: Option<CK_RV>,
}

impl Line {
    fn write(&self, mut log: &File) {
        let Line { user, step, transaction, rv } = self;
        let rv = rv.map_or_else(|| "-".into(), |rv| rv.to_string());
        log.write_all(format!("\n{user} {step} {transaction} {rv} .").as_bytes())
            .expect("the folder is ours");
    }

    fn all(boundary: &Boundary) -> Vec<Line> {
        let parse = |line: &str| {
            let fields: Vec<&str> = line.split(' ').collect();
            // A kill can cut a line off at the end of a file's page. Then its try did not begin, or its
            // answer is not known. A complete line ends with a full stop.
            let [user, step, transaction, rv, "."] = fields[..] else { return None };
            let number = |field: &str| field.parse::<u64>().expect("a number");
            Some(Line {
                user: number(user) as usize,
                step: number(step),
                transaction: number(transaction),
                rv: (rv != "-").then(|| number(rv)),
            })
        };
        boundary.noted("log").lines().filter_map(parse).collect()
    }
}

fn kill_again_and_again(boundary: &Boundary) {
    let seed = std::env::var(SEED).map_or_else(
        |_| getrandom::u64().expect("the system gives randomness"),
        |seed| seed.parse().expect("a number"),
    );
    // Printed only if the test fails.
    eprintln!("{SEED}={seed}");
    let mut random = Random(seed);
    boundary.note("log", "");
    let (mut failures, mut seen) = (vec![0; USERS], 0);
    for kill in 0..=KILLS {
        boundary.note("seed", &random.below(u64::MAX).to_string());
        let mut command = boundary.command("load");
        let mut child = Loaded(command.stdout(Stdio::piped()).spawn().expect("it starts"));
        let told = BufReader::new(child.0.stdout.take().expect("it is piped"));
        let ready = told.lines().find_map(|line| Some(line.ok()?.strip_prefix("ready ")?.to_owned()));
        let ready = ready.unwrap_or_else(|| panic!("kill {kill} of seed {seed}: it does not open by itself"));
        let mut numbers = ready.split(' ').map(|count| count.parse::<u64>().expect("a number"));
        let lines = numbers.next().expect("it begins with the length of the log") as usize;
        let found: Vec<u64> = numbers.collect();
        check_failures(&failures, &found, &Line::all(boundary)[seen..lines])
            .unwrap_or_else(|problem| panic!("kill {kill} of seed {seed}: {problem}"));
        (failures, seen) = (found, lines);
        if kill < KILLS {
            std::thread::sleep(Duration::from_millis(5 + random.below(146)));
        }
        let ended = child.kill();
        assert_eq!(ended.signal(), Some(SIGKILL), "kill {kill} of seed {seed}: it ended by itself");
    }
    let log = Line::all(boundary);
    check_codes(&log).unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
    summarise(format_args!(
        "load: {KILLS} kills of seed {seed}, {KILLS} opened by themselves; {}",
        tally(&log)
    ));
}

/// The number of the signal that kills.
const SIGKILL: i32 = 9;

/// A process under load, which is ended if the test fails.
struct Loaded(Child);

impl Loaded {
    fn kill(&mut self) -> ExitStatus {
        // The process may have ended already. Then its status tells how.
        let _ = self.0.kill();
        self.0.wait().expect("it is ours")
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Every refused try stays charged, and no try is charged that did not begin.
fn check_failures(before: &[u64], after: &[u64], between: &[Line]) -> Result<(), String> {
    for user in 0..USERS {
        let count = |wanted: fn(Option<CK_RV>) -> bool| {
            between.iter().filter(|line| line.user == user && wanted(line.rv)).count() as u64
        };
        let (least, begun) =
            (before[user] + count(|rv| rv == Some(CKR_PIN_INCORRECT)), count(|rv| rv.is_none()));
        let most =
            before[user] + begun - count(|rv| rv == Some(CKR_OK)) - count(|rv| rv == Some(CKR_PIN_LOCKED));
        if !(least..=most).contains(&after[user]) {
            return Err(format!("user-{user} has {} failures, not {least} to {most}", after[user]));
        }
    }
    Ok(())
}

/// No code gave signatures for two transactions, and no wrong one for any.
fn check_codes(log: &[Line]) -> Result<(), String> {
    let mut signed: HashMap<(usize, u64), u64> = HashMap::new();
    for line in log.iter().filter(|line| line.rv == Some(CKR_OK)) {
        let Line { user, step, transaction, .. } = *line;
        if step == 0 {
            return Err(format!("a wrong code of user-{user} signed"));
        }
        if let Some(other) = signed.insert((user, step), transaction) {
            return Err(format!("step {step} of user-{user} signed {other} and {transaction}"));
        }
    }
    Ok(())
}

fn tally(log: &[Line]) -> String {
    let count = |wanted: &dyn Fn(&Line) -> bool| log.iter().filter(|line| wanted(line)).count();
    let (begun, answered) = (count(&|line| line.rv.is_none()), count(&|line| line.rv.is_some()));
    let signed = count(&|line| line.rv == Some(CKR_OK));
    let refused = count(&|line| line.rv == Some(CKR_PIN_INCORRECT));
    assert!(signed > KILLS && refused > KILLS, "too little to be a load: {signed} signed, {refused} refused");
    assert!(begun - answered > KILLS, "the kills met nothing");
    format!("{begun} tries: {signed} signed, {refused} refused, {} cut off", begun - answered)
}

/// Signs in many threads until it is killed.
fn load(boundary: &Boundary) {
    // If one thread fails, all of them end, by another signal than the kill's.
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |failure| {
        tell(failure);
        std::process::abort();
    }));
    let (raw, session) = story::open();
    let wallets = wallets_of(boundary, &raw, session, USERS);
    let lines = Line::all(boundary);
    let users = users();
    let seed: u64 = boundary.noted("seed").parse().expect("a number");
    let log =
        OpenOptions::new().append(true).open(boundary.folder().join("log")).expect("the folder is ours");
    // The newest step of each user that was tried.
    let tried = Mutex::new(vec![0; USERS]);
    for line in &lines {
        let newest = &mut tried.lock().expect("nothing panics")[line.user];
        *newest = line.step.max(*newest);
    }
    let mut work = Vec::new();
    for number in 0..THREADS {
        let session = raw.read_only();
        let authenticators: Vec<_> = users.iter().map(|user| authenticator(boundary, user)).collect();
        work.push((number, session, authenticators));
    }
    let failures: Vec<String> =
        users.iter().map(|user| story::failures(&raw, session, user).to_string()).collect();
    println!("\nready {} {}", lines.len(), failures.join(" "));
    std::io::stdout().flush().expect("somebody reads it");

    std::thread::scope(|scope| {
        for (number, session, authenticators) in work {
            let (raw, users, wallets) = (&raw, &users, &wallets);
            let (tried, log) = (&tried, &log);
            let mut random = Random(seed ^ number);
            scope.spawn(move || {
                loop {
                    let user = random.below(USERS as u64) as usize;
                    let Some((step, code)) = choose(
                        &mut random,
                        &authenticators[user],
                        &mut tried.lock().expect("nothing panics")[user],
                    ) else {
                        continue;
                    };
                    let wallet = &wallets[user];
                    let record = approval(&users[user], &code);
                    let psbt = (random.below(4) > 0).then(|| Payment::default().psbt(&wallet.descriptor));
                    let mut line = Line { user, step, transaction: random.below(u64::MAX), rv: None };
                    line.write(log);
                    let answer = match psbt {
                        Some(psbt) => wallet.sign_psbt(raw, session, &record, &psbt),
                        None => wallet.sign_digest(raw, session, &record),
                    };
                    line.rv = Some(answer.err().unwrap_or(CKR_OK));
                    line.write(log);
                    let known = [CKR_OK, CKR_PIN_INCORRECT, CKR_PIN_LOCKED];
                    assert!(line.rv.is_some_and(|rv| known.contains(&rv)), "{:x?}", line.rv);
                }
            });
        }
    });
}

/// A step that was never tried, a step that was, or a wrong code.
fn choose(random: &mut Random, user: &Authenticator, newest: &mut u64) -> Option<(u64, String)> {
    let current = now() / QUICK_PERIOD;
    let away = |step: u64| step.cast_signed() - current.cast_signed();
    match random.below(20) {
        0..16 => {
            let step = (*newest + 1).max(current - 1);
            (step <= current + 1).then(|| {
                *newest = step;
                (step, user.code_away(away(step)))
            })
        }
        16..19 => (*newest >= current - 1).then(|| (*newest, user.code_away(away(*newest)))),
        _ => Some((0, user.wrong_code())),
    }
}
