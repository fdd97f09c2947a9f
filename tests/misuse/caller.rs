//! Somebody who calls anything, in any order, with anything; and now and then, as a user would, with a right code.

use core::ffi::c_int;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use super::calls::{FUNCTIONS, Function, follow_ups};
use super::checks::{Watched, may_answer};
use super::memory::Memory;
use super::ration::{Costly, Random, Ration};
use super::trail::Trail;
use super::world::{Code, World, right_pin};
use crate::boundary::raw::{Attribute, Raw, Template, call};
use crate::boundary::{approval, ulong};

/// Sessions that one caller has open at a time.
const MOST_SESSIONS: usize = 12;
/// Handles of objects that one caller knows.
const MOST_OBJECTS: usize = 40;
/// Calls between two looks at whether somebody is logged in.
const SETTLE: u64 = 50;
/// Calls of a child process.
const CHILDS_CALLS: u64 = 60;

/// What holds for every call now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The module is not initialised: nothing succeeds but what finds its functions.
    Closed,
    /// This caller is the only one: whoever pays is served.
    Alone,
    /// Others call as well, log out, close and finalise: who pays may find nothing there.
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
    /// Those of them that sign.
    pub(crate) signers: Handles,
    pub(crate) last_session: CK_SESSION_HANDLE,
    pub(crate) last_object: CK_OBJECT_HANDLE,
    pub(crate) last_user_type: CK_USER_TYPE,
    pub(crate) phase: Phase,
    number: usize,
    trail: &'static Trail,
    /// A session that nobody else is told of: with it the login stays.
    own: CK_SESSION_HANDLE,
    /// How often each function succeeded, by its place in the table.
    succeeded: Vec<u64>,
    total_weight: u64,
    /// What makes sense next.
    next: &'static [&'static str],
}

/// Handles that are valid, as far as is known, and handles that were.
pub(crate) struct Handles {
    live: Vec<u64>,
    dead: Vec<u64>,
    most: usize,
}

impl Handles {
    fn new(most: usize) -> Handles {
        Handles { live: Vec::new(), dead: vec![1], most }
    }

    /// A likely one, the one that was picked `last` most of all; or one that was, or none at all.
    pub(crate) fn pick(&self, last: u64, random: &mut Random) -> u64 {
        match random.below(48) {
            0 => 0,
            1 => u64::MAX,
            2 => random.next(),
            3 | 4 => self.pick_dead(random),
            _ if self.live.is_empty() => self.pick_dead(random),
            _ if self.live.contains(&last) && random.below(4) > 0 => last,
            _ => *random.one_of(&self.live),
        }
    }

    pub(crate) fn pick_dead(&self, random: &mut Random) -> u64 {
        *random.one_of(&self.dead)
    }

    pub(crate) fn has_room(&self) -> bool {
        self.live.len() < self.most
    }

    fn add(&mut self, handle: u64) {
        if !self.live.contains(&handle) && self.has_room() {
            self.live.push(handle);
        }
    }

    fn remove(&mut self, handle: u64) {
        if let Some(place) = self.live.iter().position(|live| *live == handle) {
            self.bury(place);
        }
    }

    fn remove_all(&mut self) {
        while !self.live.is_empty() {
            self.bury(0);
        }
    }

    fn bury(&mut self, place: usize) {
        let handle = self.live.swap_remove(place);
        if self.dead.len() == 64 {
            self.dead.swap_remove(0);
        }
        self.dead.push(handle);
    }
}

impl<'w> Caller<'w> {
    pub(crate) fn new(world: &'w World, phase: Phase, seed: u64, number: usize) -> Caller<'w> {
        Caller {
            world,
            memory: Memory::new(),
            watched: Vec::new(),
            random: Random::new(seed.wrapping_add(number as u64)),
            ration: Ration::new(),
            sessions: Handles::new(MOST_SESSIONS),
            objects: Handles::new(MOST_OBJECTS),
            signers: Handles::new(MOST_OBJECTS),
            last_session: 0,
            last_object: 0,
            last_user_type: CKU_USER,
            phase,
            number,
            trail: Trail::of(number),
            own: 0,
            succeeded: vec![0; FUNCTIONS.len()],
            total_weight: FUNCTIONS.iter().map(|function| function.weight).sum(),
            next: &[],
        }
    }

    /// So many calls.
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

    /// How often each function succeeded: calls that are all refused would try little.
    pub(crate) fn succeeded(&self) -> BTreeMap<&'static str, u64> {
        let pairs = FUNCTIONS.iter().zip(&self.succeeded);
        pairs.filter(|(_, times)| **times > 0).map(|(function, times)| (function.name, *times)).collect()
    }

    /// Remembers what a call may do to a piece of memory, and gives its beginning.
    pub(crate) fn watch(&mut self, watched: Watched) -> *mut u8 {
        let start = watched.start();
        self.watched.push(watched);
        start
    }

    /// One call.
    fn step(&mut self) {
        let (index, function) = self.choose();
        let lists: Vec<_> =
            self.world.tables.iter().filter(|table| table.version >= function.since).copied().collect();
        if lists.is_empty() || (self.phase == Phase::Closed && function.name == "C_Initialize") {
            return;
        }
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
            // A length was asked for, or a code brought: the operation goes on.
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

    /// An operation is over once it was answered, but for a length query and `CKR_BUFFER_TOO_SMALL` (section 5.2); and for calls
    /// that never reached it.
    fn check_end(&self, name: &str, rv: CK_RV) {
        let raw = &self.world.raw;
        let is_query =
            self.watched.iter().any(|watched| matches!(watched, Watched::Answer { buffer: None, .. }));
        let (session, nothing) = (self.last_session, core::ptr::null_mut());
        let is_there = match (name, rv) {
            (
                _,
                CKR_SESSION_HANDLE_INVALID
                | CKR_CRYPTOKI_NOT_INITIALIZED
                | CKR_OPERATION_NOT_INITIALIZED
                | CKR_OPERATION_ACTIVE
                | CKR_ARGUMENTS_BAD,
            ) => return,
            ("C_Sign" | "C_SignFinal", CKR_BUFFER_TOO_SMALL) => return,
            ("C_Sign" | "C_SignFinal", CKR_OK) if is_query => return,
            ("C_Sign" | "C_SignFinal", _) => call!(raw, C_SignUpdate(session, nothing, 0)),
            ("C_Verify" | "C_VerifyFinal", _) => call!(raw, C_VerifyUpdate(session, nothing, 0)),
            ("C_FindObjectsFinal", _) => call!(raw, C_FindObjectsFinal(session)),
            _ => return,
        };
        if is_there != CKR_OPERATION_NOT_INITIALIZED {
            self.fail(name, rv, &format!("the operation goes on: the next call answered {is_there:#x}"));
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

    fn clear(&mut self) {
        self.memory.clear();
        self.watched.clear();
    }

    /// Fails, with where that was, if a call did what may not be.
    fn check(&self, name: &str, rv: CK_RV) {
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

    fn fail(&self, name: &str, rv: CK_RV, what: &str) -> ! {
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

    /// An object to call with: any but the keys of those who pay, whom wrong codes would lock.
    fn adopt(&mut self, object: CK_OBJECT_HANDLE) {
        let is_free = match self.world.raw.attribute(self.last_session, object, CKA_LABEL) {
            Ok(label) => !label.starts_with(b"payer-"),
            Err(rv) => rv == CKR_ATTRIBUTE_TYPE_INVALID,
        };
        if is_free {
            if !self.objects.has_room() {
                let place = self.random.below(MOST_OBJECTS as u64) as usize;
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

    /// Finds what there is to call with.
    fn look_around(&mut self) {
        self.last_session = self.own;
        for class in [CKO_PRIVATE_KEY, CKO_PUBLIC_KEY, CKO_OTP_KEY, CKO_HW_FEATURE, CKO_PROFILE, CKO_DATA] {
            let found = find(&self.world.raw, self.own, &[(CKA_CLASS, ulong(class))]);
            found.unwrap_or_default().into_iter().for_each(|object| self.adopt(object));
        }
    }

    /// Signatures that came out: somebody must have paid.
    fn collect(&self, name: &str) {
        for watched in &self.watched {
            if let Watched::Answer { buffer: Some(buffer), len: Some(len), .. } = watched {
                let signed = &buffer.now()[..len.read::<CK_ULONG>() as usize];
                if let Err(what) = self.world.saw_signed(signed) {
                    self.fail(name, CKR_OK, &what);
                }
            }
        }
    }

    /// Initialises what was finalised, opens what was closed, logs in who was logged out: not each time. Pays, now and then.
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
                    CKR_SESSION_READ_ONLY_EXISTS if who == CKU_SO => {}
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
                    self.sessions.remove_all();
                    self.own = session;
                }
                Err(rv) if self.phase == Phase::Alone => self.fail("C_OpenSession", rv, "the only caller"),
                Err(_) => {}
            },
        }
    }

    /// Closes everything, and sees that nothing is left.
    pub(crate) fn close_all(&mut self) {
        let raw = &self.world.raw;
        if raw.state(self.own) == Err(CKR_CRYPTOKI_NOT_INITIALIZED) {
            assert_eq!(raw.initialize(), CKR_OK, "it was finalised at random");
        }
        assert_eq!(raw.close_all(), CKR_OK);
        let info = raw.token_info();
        assert_eq!((info.ulSessionCount, info.ulRwSessionCount), (0, 0), "sessions are left");
        self.sessions.remove_all();
        self.forget_all();
    }

    /// Logs the user in and pays, so many times if there are as many right codes now.
    pub(crate) fn pay_often(&mut self, times: u64) {
        let raw = &self.world.raw;
        self.own = raw.user();
        self.world.took_a_right_pin(CKU_USER);
        (0..times).take_while(|_| self.pay()).for_each(drop);
    }

    /// A payment, as a backend makes it that does as it should. Gives whether there was a code to pay with.
    fn pay(&mut self) -> bool {
        let Some(code) = self.world.draw() else { return false };
        let mut psbt = self.world.psbt(code.wallet);
        // Whose answer was lost asks again, by any door: it is the same payment.
        for _ in 0..=self.random.below(8) / 7 {
            let door = self.random.below(4);
            match self.sign(&code, &mut psbt, door) {
                Ok(()) => self.world.paid(code.payer),
                Err((name, rv)) if self.phase == Phase::Alone => self.fail(name, rv, "a right code was paid"),
                Err(_) => {}
            }
        }
        true
    }

    /// A payment by a code that is not right: all else is as it should be.
    fn steal(&mut self) {
        let Some(code) = self.world.wrong(&mut self.random) else { return };
        let mut psbt = self.world.psbt(code.wallet);
        let door = self.random.below(4);
        // What comes out is counted with all that does.
        if let Err((name, rv)) = self.sign(&code, &mut psbt, door)
            && rv != CKR_PIN_INCORRECT
            && self.phase == Phase::Alone
        {
            self.fail(name, rv, "a code that is not right now");
        }
    }

    /// Signs through one of the doors, with a buffer as short as the module says, or longer.
    fn sign(&mut self, code: &Code, psbt: &mut [u8], door: u64) -> Result<(), (&'static str, CK_RV)> {
        let raw: Raw = self.world.raw;
        let ok = |name, rv| if rv == CKR_OK { Ok(()) } else { Err((name, rv)) };
        let session = raw.open(CKF_SERIAL_SESSION | CKF_RW_SESSION).map_err(|rv| ("C_OpenSession", rv))?;
        let template = [
            (CKA_CLASS, ulong(CKO_PRIVATE_KEY)),
            (CKA_COUNTERSIGN_DESCRIPTOR, self.world.wallets[code.wallet].descriptor.clone().into_bytes()),
        ];
        let found = find(&raw, session, &template)?;
        let &[key] = &found[..] else { return Err(("C_FindObjects", CKR_OK)) };
        let parameter = approval(&code.user, &code.code);
        let parameter = if door < 2 { &parameter[..] } else { &[] };
        ok("C_SignInit", raw.sign_init(session, CKM_COUNTERSIGN_PSBT, parameter, key))?;
        match door {
            2 => {
                let pin = format!("{}:{}", code.user, code.code);
                ok("C_Login", raw.login(session, CKU_CONTEXT_SPECIFIC, pin.as_bytes()))?;
            }
            3 => {
                let (pin, user) = (code.code.as_bytes(), code.user.as_bytes());
                ok("C_LoginUser", raw.login_user(session, CKU_CONTEXT_SPECIFIC, pin, user))?;
            }
            _ => {}
        }
        let (data, data_len) = (psbt.as_mut_ptr(), psbt.len() as CK_ULONG);
        let mut bound = 0;
        ok("C_Sign", call!(raw, C_Sign(session, data, data_len, core::ptr::null_mut(), &mut bound)))?;
        self.clear();
        let room = bound + self.random.below(2) * self.random.below(500);
        let buffer = self.memory.buffer(room as usize, true);
        let len = self.memory.value(room);
        self.watch(Watched::Answer { buffer: Some(buffer), len: Some(len), item: 1 });
        let len = len.start.cast();
        let (name, rv) = if door == 1 {
            ok("C_SignUpdate", raw.sign_update(session, psbt))?;
            ("C_SignFinal", call!(raw, C_SignFinal(session, buffer.start, len)))
        } else {
            ("C_Sign", call!(raw, C_Sign(session, data, data_len, buffer.start, len)))
        };
        self.check(name, rv);
        ok(name, rv)?;
        self.collect(name);
        self.last_session = session;
        if self.phase == Phase::Alone {
            self.check_end(name, rv);
        }
        ok("C_CloseSession", raw.close(session))
    }

    /// A child process, which has inherited everything and may use nothing of it.
    fn fork(&mut self) {
        // SAFETY: no other thread holds a lock: this caller is alone, and whoever watches it sleeps.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork failed");
        if child == 0 {
            self.phase = Phase::Closed;
            // SAFETY: a child that hangs is ended by the system.
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

/// The objects of this template; who is among others may be kept from it.
fn find(
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    template: &[Attribute],
) -> Result<Vec<CK_OBJECT_HANDLE>, (&'static str, CK_RV)> {
    let mut template = Template::of(template);
    let (mut found, mut count) = ([0; 64], 0);
    for rv in [
        call!(raw, C_FindObjectsInit(session, template.pointer(), template.count())),
        call!(raw, C_FindObjects(session, found.as_mut_ptr(), 64, &mut count)),
        call!(raw, C_FindObjectsFinal(session)),
    ] {
        if rv != CKR_OK {
            return Err(("C_FindObjects", rv));
        }
    }
    Ok(found[..count as usize].to_vec())
}
