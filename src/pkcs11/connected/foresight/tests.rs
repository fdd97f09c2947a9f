//! The rows of F3, and F1 against a model of the boundary.

use proptest::prelude::*;

use super::*;
use crate::pkcs11::reply::Found;
use crate::pkcs11::request::{Bytes, Room, TemplateEntry};

const SESSION: CK_SESSION_HANDLE = 1;
const KEY: CK_OBJECT_HANDLE = 2;

fn sign_init(session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE) -> Request {
    let mechanism = Mechanism { mechanism: CKM_COUNTERSIGN_PSBT, parameter: Bytes::default() };
    Request::SignInit { session, mechanism: Some(mechanism), key }
}

fn end_sign(session: CK_SESSION_HANDLE) -> Request {
    Request::SignInit { session, mechanism: None, key: 0 }
}

fn open() -> Request {
    Request::OpenSession { slot: 0, flags: CKF_SERIAL_SESSION }
}

fn login(user_type: CK_USER_TYPE) -> Request {
    Request::Login { session: SESSION, user_type, user: None, pin: Bytes::default() }
}

fn sign(session: CK_SESSION_HANDLE) -> Request {
    Request::Sign { session, data: Ok(Bytes::default()), room: Room::Of(1) }
}

fn search() -> Request {
    Request::FindObjectsInit { session: SESSION, template: Vec::<TemplateEntry>::new() }
}

fn signed() -> Answer<Reply> {
    Ok(Reply::Signed(Filled::Bytes(Bytes::default())))
}

fn found(key: CK_OBJECT_HANDLE) -> Answer<Reply> {
    Ok(Reply::Found(vec![Found { handle: key, signs: true }]))
}

impl Foresight {
    /// A call that is sent and answered at once.
    fn answered(&mut self, request: Request, answer: Answer<Reply>) {
        let Envelope { request, .. } = self.hold_back(request).expect("it is sent");
        let sent = self.send(&request);
        self.learn(&request, sent, &answer);
    }

    fn holds_back(&mut self, request: Request) -> bool {
        self.hold_back(request).is_none()
    }

    /// Has a session, the user logged in, and a key that was found.
    fn ready() -> Foresight {
        let mut known = Foresight::default();
        known.answered(open(), Ok(Reply::Opened(SESSION)));
        known.answered(login(CKU_USER), Ok(Reply::Done));
        known.answered(Request::FindObjects { session: SESSION, most: 1 }, found(KEY));
        known
    }
}

#[test]
fn a_sign_init_is_held_back_only_if_everything_it_needs_is_known() {
    assert!(Foresight::ready().holds_back(sign_init(SESSION, KEY)));
    let without = |prepare: fn(&mut Foresight)| {
        let mut known = Foresight::ready();
        prepare(&mut known);
        !known.holds_back(sign_init(SESSION, KEY))
    };
    assert!(without(|known| known.is_user_logged_in = false), "login");
    assert!(without(|known| known.signing_keys.clear()), "key");
    assert!(without(|known| known.set(SESSION, Signing::Unknown)), "operation");
    assert!(without(|known| known.sessions.clear()), "session");
    let other = |mechanism, parameter: &[u8]| {
        let parameter = Bytes(zeroize::Zeroizing::new(parameter.to_vec()));
        let mechanism = Some(Mechanism { mechanism, parameter });
        Foresight::ready().holds_back(Request::SignInit { session: SESSION, mechanism, key: KEY })
    };
    assert!(other(CKM_COUNTERSIGN_PSBT, b""));
    assert!(!other(CKM_ECDSA, b""), "another mechanism");
    assert!(!other(CKM_COUNTERSIGN_PSBT, b"no approval"), "its parameter");
}

#[test]
fn every_answer_teaches_what_its_row_says() {
    // What was known before, the call, its answer, and whether a C_SignInit is then held back.
    let idle: fn(&mut Foresight) = |_| {};
    let active: fn(&mut Foresight) = |known| known.set(SESSION, Signing::Unknown);
    let nobody: fn(&mut Foresight) = |known| known.is_user_logged_in = false;
    let cancel = |flags| Request::SessionCancel { session: SESSION, flags };
    let done = || Ok(Reply::Done);
    for (row, prepare, request, answer, holds_back) in [
        ("signed", active, sign(SESSION), signed(), true),
        ("ended", active, end_sign(SESSION), done(), true),
        ("cancelled", active, cancel(CKF_SIGN), done(), true),
        ("another one cancelled", active, cancel(CKF_VERIFY), done(), false),
        ("length", idle, sign(SESSION), Ok(Reply::Signed(Filled::Length(9))), false),
        ("refused", idle, sign(SESSION), Err(Rv(CKR_PIN_INCORRECT)), false),
        ("login", nobody, login(CKU_USER), done(), true),
        ("login refused", nobody, login(CKU_USER), Err(Rv(CKR_PIN_INCORRECT)), false),
        ("login of the SO", nobody, login(CKU_SO), done(), false),
        ("accepted", nobody, sign_init(SESSION, KEY), done(), false),
        ("logout", idle, Request::Logout { session: SESSION }, done(), false),
        ("closed", idle, Request::CloseSession { session: SESSION }, done(), false),
        ("all closed", idle, Request::CloseAllSessions { slot: 0 }, done(), false),
        ("not logged in", idle, search(), Err(Rv(CKR_USER_NOT_LOGGED_IN)), false),
        ("panicked", idle, search(), Err(Rv(CKR_GENERAL_ERROR)), false),
        ("another refusal", idle, search(), Err(Rv(CKR_OPERATION_ACTIVE)), true),
    ] {
        let mut known = Foresight::ready();
        prepare(&mut known);
        known.answered(request, answer);
        assert_eq!(known.holds_back(sign_init(SESSION, KEY)), holds_back, "{row}");
    }
}

#[test]
fn an_accepted_sign_init_teaches_login_and_key_for_the_next_one() {
    let mut known = Foresight::default();
    known.answered(open(), Ok(Reply::Opened(SESSION)));
    known.answered(sign_init(SESSION, KEY), Ok(Reply::Done));
    known.answered(sign(SESSION), signed());
    assert!(known.holds_back(sign_init(SESSION, KEY)));
}

#[test]
fn a_call_held_back_goes_with_the_next_call_of_its_session() {
    let mut known = Foresight::ready();
    assert!(known.holds_back(sign_init(SESSION, KEY)));
    let other = known.hold_back(Request::FindObjectsFinal { session: 9 }).expect("it is sent");
    assert!(other.sign_init.is_none(), "another session");
    let next = known.hold_back(sign(SESSION)).expect("it is sent");
    assert!(matches!(next.sign_init, Some(Request::SignInit { key: KEY, .. })));
    assert!(known.hold_back(sign(SESSION)).is_some_and(|again| again.sign_init.is_none()), "once");
    let mut known = Foresight::ready();
    assert!(known.holds_back(sign_init(SESSION, KEY)));
    let close = known.hold_back(Request::CloseSession { session: SESSION }).expect("it is sent");
    assert!(close.sign_init.is_none(), "the operation ends with the session");
}

#[test]
fn a_call_that_is_not_carried_leaves_a_sign_init_held_back_unless_it_ends_the_operation() {
    for (request, stays) in [(search(), true), (sign(SESSION), false)] {
        let mut known = Foresight::ready();
        assert!(known.holds_back(sign_init(SESSION, KEY)));
        let envelope = known.hold_back(request).expect("it is sent");
        let _ = known.send(&envelope.request);
        known.not_carried(&envelope.request);
        known.take_back(envelope);
        let next = known.hold_back(search()).expect("it is sent");
        assert_eq!(next.sign_init.is_some(), stays);
    }
}

#[test]
fn an_overtaken_answer_teaches_nothing() {
    // A login whose answer comes after a logout was sent.
    let mut known = Foresight::ready();
    let (log_in, log_out) = (login(CKU_USER), Request::Logout { session: SESSION });
    let (first, second) = (known.send(&log_in), known.send(&log_out));
    known.learn(&log_in, first, &Ok(Reply::Done));
    assert!(!known.holds_back(sign_init(SESSION, KEY)), "the logout may have come after it");
    known.learn(&log_out, second, &Ok(Reply::Done));
    assert!(!known.holds_back(sign_init(SESSION, KEY)));
    // A signature whose answer comes after another operation was begun.
    let mut known = Foresight::ready();
    let (signs, begins) = (sign(SESSION), sign_init(SESSION, KEY));
    known.set(SESSION, Signing::Unknown);
    let (first, second) = (known.send(&signs), known.send(&begins));
    known.learn(&begins, second, &Ok(Reply::Done));
    known.learn(&signs, first, &signed());
    assert!(!known.holds_back(sign_init(SESSION, KEY)), "one is active");
}

#[test]
fn a_logout_says_nothing_of_a_session_with_a_call_under_way() {
    let mut known = Foresight::ready();
    assert!(known.holds_back(sign_init(SESSION, KEY)));
    // It brings what was held back, and the boundary takes it up after the next login.
    let late = known.hold_back(Request::FindObjects { session: SESSION, most: 1 }).expect("it is sent");
    let sent = known.send(&late.request);
    known.answered(Request::Logout { session: SESSION }, Ok(Reply::Done));
    known.answered(login(CKU_USER), Ok(Reply::Done));
    known.learn(&late.request, sent, &found(KEY));
    known.answered(Request::FindObjects { session: SESSION, most: 1 }, found(KEY));
    assert!(!known.holds_back(sign_init(SESSION, KEY)), "an operation may be active");
}

/// A model of the boundary, as far as `C_SignInit` is concerned.
#[derive(Clone, Default)]
struct Model {
    user: bool,
    last: CK_SESSION_HANDLE,
    /// The open sessions, and whether a signing operation is active.
    sessions: HashMap<CK_SESSION_HANDLE, bool>,
}

impl Model {
    fn accepts(&self, session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE) -> bool {
        self.user && key == KEY && self.sessions.get(&session) == Some(&false)
    }

    fn answer(&mut self, request: &Request) -> Answer<Reply> {
        if let Some(session) = request.session()
            && !self.sessions.contains_key(&session)
        {
            return Err(Rv(CKR_SESSION_HANDLE_INVALID));
        }
        match request {
            Request::OpenSession { .. } => {
                self.last += 1;
                self.sessions.insert(self.last, false);
                return Ok(Reply::Opened(self.last));
            }
            Request::CloseSession { session } => {
                self.sessions.remove(session);
                self.user &= !self.sessions.is_empty();
            }
            Request::Login { .. } if self.user => return Err(Rv(CKR_USER_ALREADY_LOGGED_IN)),
            Request::Login { .. } => self.user = true,
            Request::Logout { .. } if !self.user => return Err(Rv(CKR_USER_NOT_LOGGED_IN)),
            Request::Logout { .. } => {
                self.user = false;
                self.sessions.values_mut().for_each(|active| *active = false);
            }
            Request::SignInit { session, mechanism: None, .. } => {
                self.sessions.insert(*session, false);
            }
            Request::SignInit { session, key, .. } => {
                if self.sessions[session] {
                    return Err(Rv(CKR_OPERATION_ACTIVE));
                }
                if !self.accepts(*session, *key) {
                    return Err(Rv(if self.user { CKR_KEY_HANDLE_INVALID } else { CKR_USER_NOT_LOGGED_IN }));
                }
                self.sessions.insert(*session, true);
            }
            Request::Sign { session, .. } => {
                return if self.sessions.insert(*session, false) == Some(true) {
                    signed()
                } else {
                    Err(Rv(CKR_OPERATION_NOT_INITIALIZED))
                };
            }
            Request::FindObjects { .. } if self.user => return found(KEY),
            Request::FindObjects { .. } => return Ok(Reply::Found(Vec::new())),
            _ => {}
        }
        Ok(Reply::Done)
    }
}

/// A call under way: first the boundary answers it, then the client receives the answer.
struct UnderWay {
    envelope: Envelope,
    sent: Sent,
    answer: Option<Answer<Reply>>,
    /// The number of states that the boundary had been in when it was sent.
    since: usize,
}

/// A caller with calls under way. The boundary answers them in any order, and the answers arrive in any
/// order.
#[derive(Default)]
struct World {
    known: Foresight,
    model: Model,
    /// Every state of the boundary so far.
    past: Vec<Model>,
    /// The handles that the caller has received. It uses no others.
    given: HashSet<CK_SESSION_HANDLE>,
    calls: Vec<UnderWay>,
}

impl World {
    fn step(&mut self, [what, which, key]: [u8; 3]) {
        let session = CK_SESSION_HANDLE::from(which % 3) + 1;
        let key = if key < 220 { KEY } else { KEY + 1 };
        match what % 12 {
            0 => self.call(open()),
            1 => self.call(login(CKU_USER)),
            2 if which < 64 => self.call(Request::Logout { session }),
            3 if which < 64 => self.call(Request::CloseSession { session }),
            4 => self.call(Request::FindObjects { session, most: 1 }),
            5 | 6 => self.call(sign_init(session, key)),
            7 => self.call(sign(session)),
            8 => self.call(end_sign(session)),
            9 | 10 => self.answer(usize::from(which)),
            _ => self.arrive(usize::from(which)),
        }
    }

    fn call(&mut self, request: Request) {
        if self.calls.len() >= 3 || request.session().is_some_and(|session| !self.given.contains(&session)) {
            return;
        }
        let asked = match &request {
            Request::SignInit { session, key, .. } => Some((*session, *key)),
            _ => None,
        };
        match self.known.hold_back(request) {
            Some(envelope) => {
                let sent = self.known.send(&envelope.request);
                self.calls.push(UnderWay { envelope, sent, answer: None, since: self.past.len() });
            }
            None => {
                let (session, key) = asked.expect("nothing else is held back");
                // The other calls under way may be ordered before it or after it.
                let since = self.calls.iter().map(|call| call.since).min().unwrap_or(self.past.len());
                let mut states = self.past[since..].iter().chain([&self.model]);
                assert!(
                    states.any(|state| state.accepts(session, key)),
                    "held back, and refused by the boundary"
                );
            }
        }
    }

    fn answer(&mut self, which: usize) {
        let unanswered = self.calls.iter_mut().filter(|call| call.answer.is_none());
        let mut unanswered: Vec<_> = unanswered.collect();
        if unanswered.is_empty() {
            return;
        }
        let index = which % unanswered.len();
        self.past.push(self.model.clone());
        let call = &mut unanswered[index];
        let first = call.envelope.sign_init.as_ref().map(|sign_init| self.model.answer(sign_init));
        call.answer = Some(match first {
            Some(Err(rv)) => Err(rv),
            _ => self.model.answer(&call.envelope.request),
        });
    }

    fn arrive(&mut self, which: usize) {
        let answered: Vec<_> = (0..self.calls.len()).filter(|at| self.calls[*at].answer.is_some()).collect();
        if let Some(at) = (!answered.is_empty()).then(|| answered[which % answered.len()]) {
            let UnderWay { envelope, sent, answer, .. } = self.calls.swap_remove(at);
            let answer = answer.expect("it was answered");
            if let Ok(Reply::Opened(session)) = &answer {
                self.given.insert(*session);
            }
            self.known.learn(&envelope.request, sent, &answer);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_held_back_that_the_boundary_would_refuse(steps in prop::collection::vec(any::<[u8; 3]>(), 0..120)) {
        let mut world = World::default();
        // A caller that is ready to sign, whatever comes then.
        for request in [open(), open(), login(CKU_USER), Request::FindObjects { session: SESSION, most: 1 }] {
            world.call(request);
            world.answer(0);
            world.arrive(0);
        }
        steps.into_iter().for_each(|step| world.step(step));
    }
}
