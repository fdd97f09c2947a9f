//! Calls anything, in any order, with any arguments. Now and then calls like a user, with a right code.

use core::ffi::c_int;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::ulong;

use super::calls::{FUNCTIONS, Function, follow_ups};
use super::checks::{Watched, may_answer};
use super::handles::Handles;
use super::memory::Memory;
use super::payments::find;
use super::ration::{Costly, Random, Ration};
use super::trail::Trail;
use super::world::{World, right_pin};

/// The most sessions that one caller has open at a time.
const MAX_SESSIONS: usize = 12;
/// The most handles of objects that one caller remembers.
const MAX_OBJECTS: usize = 40;
/// Calls between two checks whether somebody is logged in.
const SETTLE: u64 = 50;
/// Calls of a child process.
const CHILDS_CALLS: u64 = 60;

/// The conditions for every call at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The module is not initialised: only the functions that find its functions succeed.
    Closed,
    /// This caller is alone, so every right code must be served.
    Alone,
    /// Others call as well, log out, close and finalise, so a right code may find nothing there.
    Among,
}

/// A caller.
pub(crate) struct Caller<'w> {
    pub(crate) world: &'w World,
    pub(crate) memory: Memory,
    pub(crate) watched: Vec<Watched>,
    pub(crate) random: Random,
    pub(crate) ration: Ration,
    pub(crate) sessions: Handles,
    pub(crate) objects: Handles,
    /// The objects that sign.
    pub(crate) signers: Handles,
    pub(crate) last_session: CK_SESSION_HANDLE,
    pub(crate) last_object: CK_OBJECT_HANDLE,
    pub(crate) last_user_type: CK_USER_TYPE,
    pub(crate) last_mechanism: CK_MECHANISM_TYPE,
    /// A digest with its signature, to verify.
    pub(crate) signed_digest: Option<([u8; 32], Vec<u8>)>,
    pub(crate) phase: Phase,
    number: usize,
    trail: &'static Trail,
    /// A session that nobody else knows of, which keeps the login.
    pub(crate) own: CK_SESSION_HANDLE,
    /// How often each function succeeded, by its place in the table.
    succeeded: Vec<u64>,
    total_weight: u64,
    /// The functions that make sense next.
    next: &'static [&'static str],
}

impl<'w> Caller<'w> {
    pub(crate) fn new(world: &'w World, phase: Phase, seed: u64, number: usize) -> Caller<'w> {
        Caller {
            world,
            memory: Memory::new(),
            watched: Vec::new(),
            random: Random::new(seed.wrapping_add(number as u64)),
            ration: Ration::new(),
            sessions: Handles::new(MAX_SESSIONS),
            objects: Handles::new(MAX_OBJECTS),
            signers: Handles::new(MAX_OBJECTS),
            last_session: 0,
            last_object: 0,
            last_user_type: CKU_USER,
            last_mechanism: CKM_COUNTERSIGN_PSBT,
            signed_digest: None,
            phase,
            number,
            trail: Trail::of(number),
            own: 0,
            succeeded: vec![0; FUNCTIONS.len()],
            total_weight: FUNCTIONS.iter().map(|function| function.weight).sum(),
            next: &[],
        }
    }

    /// Makes so many calls.
    pub(crate) fn call_at_random(&mut self, calls: u64) {
        for number in 0..calls {
            if self.phase != Phase::Closed && number % SETTLE == 0 {
                self.settle();
            }
            self.step();
            if self.phase == Phase::Alone && self.ration.allows(Costly::Fork) {
                self.fork();
            }
        }
    }

    /// How often each function succeeded. If all calls were refused, the test would try little.
    pub(crate) fn succeeded(&self) -> BTreeMap<&'static str, u64> {
        let pairs = FUNCTIONS.iter().zip(&self.succeeded);
        pairs.filter(|(_, times)| **times > 0).map(|(function, times)| (function.name, *times)).collect()
    }

    /// Remembers what a call may do to a piece of memory, and returns its beginning.
    pub(crate) fn watch(&mut self, watched: Watched) -> *mut u8 {
        let start = watched.start();
        self.watched.push(watched);
        start
    }

    /// Makes one call.
    fn step(&mut self) {
        let (index, function, lists) = loop {
            let (index, function) = self.choose();
            let tables = self.world.tables.iter().filter(|table| table.version >= function.since);
            let lists: Vec<_> = tables.copied().collect();
            let opens = self.phase == Phase::Closed && function.name == "C_Initialize";
            if !lists.is_empty() && !opens {
                break (index, function, lists);
            }
        };
        let list = self.random.one_of(&lists).functions;
        self.ration.count();
        self.clear();
        self.trail.enter(index);
        let rv = (function.call)(self, list);
        self.trail.leave();
        self.check(function.name, rv);
        self.succeeded[index] += u64::from(rv == CKR_OK);
        match (rv, follow_ups(function.name)) {
            (CKR_OK, [_, ..]) => self.next = follow_ups(function.name),
            // The call asked for a length or brought a code, so the operation goes on.
            (CKR_OK | CKR_BUFFER_TOO_SMALL, _) if self.random.below(2) == 0 => {}
            _ => self.next = &[],
        }
        if self.phase != Phase::Closed {
            self.learn(function.name, rv);
        }
        if self.phase == Phase::Alone {
            self.check_end(function.name, rv);
        }
    }

    fn choose(&mut self) -> (usize, &'static Function) {
        if !self.next.is_empty() && self.random.below(3) > 0 {
            let name = *self.random.one_of(self.next);
            let index =
                FUNCTIONS.iter().position(|function| function.name == name).expect("it is in the table");
            return (index, &FUNCTIONS[index]);
        }
        self.next = &[];
        let mut left = self.random.below(self.total_weight);
        for (index, function) in FUNCTIONS.iter().enumerate() {
            if left < function.weight {
                return (index, function);
            }
            left -= function.weight;
        }
        unreachable!("it is below the sum of all weights")
    }

    pub(crate) fn clear(&mut self) {
        self.memory.clear();
        self.watched.clear();
    }

    /// Fails, with the place of the call, if the call did something forbidden.
    pub(crate) fn check(&self, name: &str, rv: CK_RV) {
        let mut found = self.watched.iter().find_map(|watched| watched.check(&self.memory, rv).err());
        if !may_answer(rv) {
            found = Some("no answer of a module that works".into());
        }
        let finds_functions = ["C_GetFunctionList", "C_GetInterfaceList", "C_GetInterface"].contains(&name);
        if self.phase == Phase::Closed && rv == CKR_OK && !finds_functions {
            found = Some("it succeeded, and the module is not initialised".into());
        }
        if let Some(what) = found {
            self.fail(name, rv, &what);
        }
    }

    pub(crate) fn fail(&self, name: &str, rv: CK_RV, what: &str) -> ! {
        let (number, call) = (self.number, self.trail.calls());
        panic!("caller {number} ({:?}), call {call}: {name} answered {rv:#x}: {what}", self.phase);
    }

    /// Takes from an answer what later calls can use.
    fn learn(&mut self, name: &str, rv: CK_RV) {
        match (name, rv) {
            (_, CKR_SESSION_HANDLE_INVALID) => self.sessions.remove(self.last_session),
            (_, CKR_OBJECT_HANDLE_INVALID | CKR_KEY_HANDLE_INVALID) => self.forget(self.last_object),
            ("C_OpenSession", CKR_OK) => self.written().for_each(|session| self.sessions.add(session)),
            ("C_CloseSession", CKR_OK) => self.sessions.remove(self.last_session),
            ("C_CloseAllSessions" | "C_Finalize", CKR_OK) => self.sessions.remove_all(),
            ("C_Logout", CKR_OK) => self.forget_all(),
            (
                "C_FindObjects" | "C_CreateObject" | "C_CopyObject" | "C_GenerateKey" | "C_GenerateKeyPair",
                CKR_OK,
            ) => {
                self.written().for_each(|object| self.adopt(object));
            }
            ("C_Login" | "C_LoginUser", CKR_OK) => self.world.took_a_right_pin(self.last_user_type),
            ("C_Sign" | "C_SignFinal" | "C_SignMessage" | "C_SignMessageNext", CKR_OK) => self.collect(name),
            _ => {}
        }
    }

    /// The handles that the last call has written.
    fn written(&self) -> std::vec::IntoIter<u64> {
        let mut handles = Vec::new();
        for watched in &self.watched {
            match watched {
                Watched::Fixed(place) if place.len == size_of::<u64>() => handles.push(place.read()),
                Watched::Found { buffer: Some(buffer), count: Some(count) } => {
                    handles.extend(
                        (0..count.read::<CK_ULONG>()).map(|index| buffer.read_at::<u64>(index as usize)),
                    );
                }
                _ => {}
            }
        }
        handles.into_iter()
    }

    /// An object for later calls: any except the keys of payers, which wrong codes would lock.
    fn adopt(&mut self, object: CK_OBJECT_HANDLE) {
        let is_free = match self.world.raw.attribute(self.last_session, object, CKA_LABEL) {
            Ok(label) => !label.starts_with(b"payer-"),
            Err(rv) => rv == CKR_ATTRIBUTE_TYPE_INVALID,
        };
        if is_free {
            if !self.objects.has_room() {
                let place = self.random.below(MAX_OBJECTS as u64) as usize;
                self.objects.bury(place);
            }
            self.objects.add(object);
            let class = self.world.raw.attribute(self.last_session, object, CKA_CLASS);
            if class == Ok(ulong(CKO_PRIVATE_KEY)) {
                self.signers.add(object);
            }
        }
    }

    fn forget(&mut self, object: CK_OBJECT_HANDLE) {
        self.objects.remove(object);
        self.signers.remove(object);
    }

    fn forget_all(&mut self) {
        self.objects.remove_all();
        self.signers.remove_all();
    }

    /// Finds objects for later calls.
    fn look_around(&mut self) {
        self.last_session = self.own;
        for class in [CKO_PRIVATE_KEY, CKO_PUBLIC_KEY, CKO_OTP_KEY, CKO_HW_FEATURE, CKO_PROFILE, CKO_DATA] {
            let found = find(&self.world.raw, self.own, &[(CKA_CLASS, ulong(class))]);
            found.unwrap_or_default().into_iter().for_each(|object| self.adopt(object));
        }
    }

    /// Takes the signatures that came out: somebody must have paid for them.
    pub(crate) fn collect(&self, name: &str) {
        for watched in &self.watched {
            if let Watched::Answer { buffer: Some(buffer), len: Some(len), .. } = watched {
                let signed = &buffer.now()[..len.read::<CK_ULONG>() as usize];
                if let Err(what) = self.world.saw_signed(signed) {
                    self.fail(name, CKR_OK, &what);
                }
            }
        }
    }

    /// Initialises, opens sessions and logs in again, though not each time. Pays now and then.
    fn settle(&mut self) {
        let raw = &self.world.raw;
        match raw.state(self.own) {
            Ok(CKS_RO_PUBLIC_SESSION | CKS_RW_PUBLIC_SESSION) if self.ration.allows(Costly::Login) => {
                let who = if self.random.below(4) == 0 { CKU_SO } else { CKU_USER };
                let rv = raw.login(self.own, who, right_pin(who).as_bytes());
                match rv {
                    CKR_OK => {
                        self.world.took_a_right_pin(who);
                        self.look_around();
                    }
                    // The door of a served boundary is the backends'.
                    CKR_SESSION_READ_ONLY_EXISTS | CKR_ACTION_PROHIBITED if who == CKU_SO => {}
                    _ if self.phase == Phase::Among => {}
                    _ => self.fail("C_Login", rv, "the right PIN"),
                }
            }
            Ok(CKS_RW_USER_FUNCTIONS) if self.ration.allows(Costly::Payment) => {
                self.pay();
            }
            Ok(CKS_RW_USER_FUNCTIONS) if self.ration.allows(Costly::Theft) => self.steal(),
            Ok(_) => {}
            Err(CKR_CRYPTOKI_NOT_INITIALIZED) => {
                let rv = raw.initialize();
                if rv != CKR_OK && self.phase == Phase::Alone {
                    self.fail("C_Initialize", rv, "the only caller");
                }
                self.forget_all();
            }
            Err(_) => match raw.open(CKF_SERIAL_SESSION | CKF_RW_SESSION) {
                Ok(session) => {
                    self.sessions.keep(|session| raw.state(session).is_ok());
                    self.own = session;
                }
                Err(rv) if self.phase == Phase::Alone => self.fail("C_OpenSession", rv, "the only caller"),
                Err(_) => {}
            },
        }
    }

    /// Closes everything, and checks that nothing is left, and that as much was open as this caller had
    /// opened.
    pub(crate) fn close_all(&mut self) {
        let raw = &self.world.raw;
        if raw.state(self.own) == Err(CKR_CRYPTOKI_NOT_INITIALIZED) {
            assert_eq!(raw.initialize(), CKR_OK, "it was finalised at random");
        }
        if self.phase == Phase::Alone {
            let known = self.sessions.live().chain([self.own]).filter(|session| raw.state(*session).is_ok());
            let open = raw.token_info().ulSessionCount;
            assert!(open as usize <= known.count(), "{open} sessions are open");
        }
        assert_eq!(raw.close_all(), CKR_OK);
        let info = raw.token_info();
        assert_eq!((info.ulSessionCount, info.ulRwSessionCount), (0, 0), "sessions are left");
        self.sessions.remove_all();
        self.forget_all();
    }

    /// A child process, which has inherited everything and may use nothing of it.
    fn fork(&mut self) {
        // SAFETY: no other thread holds a lock: this caller is alone, and the watchdog sleeps.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork failed");
        if child == 0 {
            self.phase = Phase::Closed;
            // SAFETY: the system ends a child that hangs.
            unsafe { libc::alarm(120) };
            let calls = catch_unwind(AssertUnwindSafe(|| self.call_at_random(CHILDS_CALLS)));
            // SAFETY: the child runs nothing more, of the test harness least of all.
            unsafe { libc::_exit(c_int::from(calls.is_err())) };
        }
        let mut status = 0;
        // SAFETY: the pointer is to a local.
        let ended = unsafe { libc::waitpid(child, &mut status, 0) };
        if ended != child || status != 0 {
            self.fail("fork", CKR_OK, &format!("the child's status is {status:#x}"));
        }
    }
}
