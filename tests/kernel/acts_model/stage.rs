//! The act, its officers, and the proposals that the kernel makes of it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use countersign::kernel::clock::Reading;
use countersign::kernel::motion::{ActText, Frozen, Motion, Seen};
use countersign::kernel::name::UserId;
use countersign::kernel::officer::{Council, Officers, Settings};
use countersign::kernel::proposal::{Circumstances, Objectors, Proposal, Tick};
use countersign::kernel::record::Stored;
use countersign::kernel::state::FormerUsers;
use minisign::KeyPair;

/// Officers of the council.
const OFFICERS: usize = 2;
/// How many of them must sign.
pub(crate) const THRESHOLD: u32 = 2;
/// The seconds of one step of the clocks: the time between two ticks.
const STEP: u64 = 300;
/// The delay in steps: an hour.
pub(crate) const DELAY: u8 = 12;
const STORE: [u8; 16] = [7; 16];
const START: u64 = 1_800_000_000;

/// The record of a proposal, as the store has it: its place among all records of the search, so that a state is small.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Record(usize);

/// All records of the search.
#[derive(Default)]
struct Records {
    proposals: Vec<Arc<Proposal>>,
    places: HashMap<Vec<u8>, usize>,
}

static RECORDS: LazyLock<Mutex<Records>> = LazyLock::new(Mutex::default);

impl Record {
    fn of(proposal: Proposal) -> Record {
        let mut records = RECORDS.lock().unwrap_or_else(PoisonError::into_inner);
        let next = records.proposals.len();
        let place = *records.places.entry(proposal.encode().to_vec()).or_insert(next);
        if place == next {
            records.proposals.push(Arc::new(proposal));
        }
        Record(place)
    }

    fn proposal(self) -> Arc<Proposal> {
        Arc::clone(&RECORDS.lock().unwrap_or_else(PoisonError::into_inner).proposals[self.0])
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proposal = self.proposal();
        write!(f, "{:?} with {} signatures", proposal.state(), proposal.signatures().len())
    }
}

/// The world in which a transition is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Found {
    pub(crate) epoch: u8,
    /// Whether the subject is as it was when the act was written.
    pub(crate) is_as_before: bool,
    /// The commit that wrote the subject.
    pub(crate) subject: u8,
    /// Steps since the start, by the wall clock.
    pub(crate) now: u8,
    /// One officer is enough.
    pub(crate) lower_threshold: bool,
}

/// A transition of the proposal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Move {
    /// The signature of an officer, or of a stranger.
    Sign(usize),
    /// A tick of this run at these steps of the wall clock and the machine's own.
    Credit {
        run: u8,
        wall: u8,
        boot: u8,
        /// The number of the users' PIN, if they can log in.
        pin: Option<u8>,
    },
    Veto,
    CarryOut,
}

struct Stage {
    councils: [Council; 2],
    act: ActText,
    signatures: Vec<String>,
    veto: String,
}

static STAGE: LazyLock<Stage> = LazyLock::new(|| {
    let pairs: Vec<KeyPair> =
        (0..=OFFICERS).map(|_| KeyPair::generate_unencrypted_keypair().expect("a key pair")).collect();
    let lines: Vec<String> = pairs[..OFFICERS].iter().map(|pair| pair.pk.to_base64()).collect();
    let council = |threshold| {
        let officers = Officers::parse(&lines, threshold).expect("officers");
        Council::new(officers, 1, None, Settings { failures_per_hour: 100 }).expect("a council")
    };
    let act = ActText {
        store: STORE,
        epoch: 0,
        nonce: [1; 16],
        seen: Seen { head: Default::default(), link: 1 },
        expires: START + 100 * STEP,
        motion: Motion::Thaw { what: Frozen::All, since: START },
    };
    let sign = |pair: &KeyPair, text: &str| {
        minisign::sign(Some(&pair.pk), &pair.sk, text.as_bytes(), None, None).expect("signs").into_string()
    };
    let text = act.print().expect("a text");
    let signatures = pairs.iter().map(|pair| sign(pair, &text)).collect();
    let councils = [council(1), council(2)];
    let found = circumstances(&councils[1], &act.motion, FIRST);
    let proposed = Proposal::new(&text, &[], &found).expect("a proposal");
    let veto = sign(&pairs[0], &proposed.veto_text());
    Stage { councils, act, signatures, veto }
});

const FIRST: Found = Found { epoch: 0, is_as_before: true, subject: 0, now: 0, lower_threshold: false };

fn circumstances<'a>(council: &'a Council, motion: &Motion, found: Found) -> Circumstances<'a> {
    Circumstances {
        store: STORE,
        epoch: found.epoch.into(),
        council,
        in_force: if found.is_as_before { motion.was() } else { [0; 32] },
        subject: Some(found.subject.into()),
        now: START + u64::from(found.now) * STEP,
    }
}

/// The act, just proposed, with the user as one who may veto it if the kernel counts one who was taken off so many steps before.
pub(crate) fn proposed(lower_threshold: bool, taken_off: Option<u8>) -> Record {
    let vetoers = match taken_off {
        None => vec![user()],
        Some(u8::MAX) => vec![],
        Some(steps) => {
            let at = START - u64::from(steps) * STEP;
            let former = FormerUsers::default().with(&[user()], at);
            former.since(START - u64::from(DELAY) * STEP).collect()
        }
    };
    let stage = &*STAGE;
    let found = Found { lower_threshold, ..FIRST };
    let council = &stage.councils[usize::from(!lower_threshold)];
    let found = circumstances(council, &stage.act.motion, found);
    Record::of(Proposal::new(&stage.act.print().expect("a text"), &vetoers, &found).expect("a proposal"))
}

fn user() -> UserId {
    UserId { name: "alice".into(), key: [1; 16] }
}

/// Whether the record counts the user among those who may veto it.
pub(crate) fn can_veto(record: Record) -> bool {
    !record.proposal().vetoers().is_empty()
}

/// The kernel's answers so far.
type Answers = HashMap<(Record, Found, Move), Option<Record>>;

static ANSWERS: LazyLock<Mutex<Answers>> = LazyLock::new(Mutex::default);

/// What the kernel makes of a record; `None` if it refuses.
pub(crate) fn moved(record: Record, found: Found, by: Move) -> Option<Record> {
    let asked = (record, found, by);
    if let Some(known) = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner).get(&asked) {
        return *known;
    }
    let stage = &*STAGE;
    let council = &stage.councils[usize::from(!found.lower_threshold)];
    let here = circumstances(council, &stage.act.motion, found);
    let proposal = record.proposal();
    let next = match by {
        Move::Sign(officer) => proposal.sign(&stage.signatures[officer], &here).ok(),
        Move::Credit { run, wall, boot, pin } => {
            let reading = Reading { wall: START + u64::from(wall) * STEP, boot: u64::from(boot) * STEP };
            let objectors = Objectors { are_free: pin.is_some(), pin: pin.map(|number| [number; 8]) };
            proposal.credit(&Tick::new([run; 16], reading, reading.boot, objectors), &here).ok()
        }
        Move::Veto => proposal.veto_by_officer(&stage.veto, &here).ok(),
        Move::CarryOut => proposal.carry_out(&here).ok().map(|(next, _decided)| next),
    };
    let answer = next.map(Record::of);
    ANSWERS.lock().unwrap_or_else(PoisonError::into_inner).insert(asked, answer);
    answer
}

/// How many officers have signed the record.
pub(crate) fn signed(record: Record) -> u32 {
    u32::try_from(record.proposal().signatures().len()).unwrap_or(u32::MAX)
}
