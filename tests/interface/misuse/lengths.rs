//! Arguments with a length: bytes, PSBTs, PINs, codes, approvals, and buffers for answers.

use core::ptr;

use cryptoki_sys::*;

use harness::module::approval;

use super::arguments::{HUGE, start};
use super::caller::{Caller, Phase};
use super::checks::Watched;
use super::memory::zeros;
use super::ration::Costly;
use super::world::{prey, right_pin};

/// Malformed codes, which count against no user.
const MALFORMED: [&[u8]; 10] = [
    b"",
    b"12345",
    b"123456789",
    b" 123456",
    b"+1234567",
    b"12 34 56",
    b"alice:",
    b"prey-0:1234567a",
    b"123456\0",
    &[0xd9, 0xa3, 0xd9, 0xa3, 0xd9, 0xa3],
];
/// The longest PSBT that the module reads.
const MAX_PSBT: usize = 16 << 20;

/// A pointer with a length.
impl Caller<'_> {
    /// Any bytes.
    pub(crate) fn text<T>(&mut self) -> (*mut T, CK_ULONG) {
        if let Some(odd) = self.odd() {
            return odd;
        }
        let bytes = self.garbage(600);
        self.sized(&bytes)
    }

    /// A PSBT, a digest, or neither.
    pub(crate) fn data<T>(&mut self) -> (*mut T, CK_ULONG) {
        if let Some(odd) = self.odd() {
            return odd;
        }
        let wallets = self.world.wallets.len();
        let mut bytes = match wallets {
            0 => self.garbage(200),
            _ if self.means_digests() && self.random.below(4) > 0 => self.world.digest().to_vec(),
            _ => {
                let wallet = self.random.below(wallets as u64) as usize;
                self.world.psbt(wallet)
            }
        };
        match self.random.below(12) {
            0 => bytes = self.garbage(2_000),
            1 => bytes.truncate(self.random.below(bytes.len() as u64 + 1) as usize),
            2 | 3 if !bytes.is_empty() => {
                for _ in 0..=self.random.below(4) {
                    let place = self.random.below(bytes.len() as u64) as usize;
                    bytes[place] ^= 1 << self.random.below(8);
                }
            }
            4 => bytes.extend_from_within(..),
            5 if self.random.below(100) == 0 => {
                return (zeros(MAX_PSBT + 1).cast(), MAX_PSBT as CK_ULONG + 1);
            }
            6 if self.random.below(200) == 0 => return (zeros(1 << 20).cast(), 1 << 20),
            _ => {}
        }
        self.sized(&bytes)
    }

    /// The data of a verification: empty, a digest that was signed, or wrong.
    pub(crate) fn verified<T>(&mut self) -> (*mut T, CK_ULONG) {
        match &self.signed_digest {
            _ if self.random.below(4) == 0 => self.text(),
            Some((digest, _)) if self.means_digests() => {
                let digest = *digest;
                self.sized(&digest)
            }
            _ => (ptr::null_mut(), 0),
        }
    }

    /// The signature to verify: a code, or a signature.
    pub(crate) fn signature<T>(&mut self) -> (*mut T, CK_ULONG) {
        match self.signed_digest.clone() {
            Some((_, mut signature)) if self.means_digests() => {
                if self.random.below(3) == 0 {
                    signature[self.random.below(64) as usize] ^= 1 << self.random.below(8);
                }
                self.sized(&signature)
            }
            _ => self.code(),
        }
    }

    /// A PIN for the user type before it.
    pub(crate) fn pin<T>(&mut self) -> (*mut T, CK_ULONG) {
        let user_type = match self.last_user_type {
            CKU_CONTEXT_SPECIFIC => return self.code(),
            user_type @ (CKU_SO | CKU_USER) => user_type,
            _ => return self.text(),
        };
        self.pin_of(user_type)
    }

    /// A PIN to change; the new one comes next.
    pub(crate) fn old_pin<T>(&mut self) -> (*mut T, CK_ULONG) {
        self.last_user_type = if self.random.below(4) == 0 { CKU_SO } else { CKU_USER };
        self.pin_of(self.last_user_type)
    }

    /// The same PIN again, so that it stays, or one that cannot be set.
    pub(crate) fn new_pin<T>(&mut self) -> (*mut T, CK_ULONG) {
        match self.random.below(3) {
            0 => self.refused_pin(),
            1 => self.sized(b"\x01"),
            _ => self.sized(right_pin(self.last_user_type).as_bytes()),
        }
    }

    /// The user's PIN, set by the security officer.
    pub(crate) fn user_pin<T>(&mut self) -> (*mut T, CK_ULONG) {
        self.last_user_type = CKU_USER;
        if self.ration.allows(Costly::Pin) {
            self.sized(right_pin(CKU_USER).as_bytes())
        } else {
            self.refused_pin()
        }
    }

    fn pin_of<T>(&mut self, user_type: CK_USER_TYPE) -> (*mut T, CK_ULONG) {
        if !self.ration.allows(Costly::Pin) {
            return self.refused_pin();
        }
        if self.random.below(4) > 0 || !self.world.takes_a_wrong_pin() {
            return self.sized(right_pin(user_type).as_bytes());
        }
        let wrong = self.garbage(255);
        self.sized(&wrong)
    }

    /// A PIN that is refused before it is compared: comparing one costs a try, and a tenth of a second.
    fn refused_pin<T>(&mut self) -> (*mut T, CK_ULONG) {
        match self.random.below(3) {
            0 => (ptr::null_mut(), 1 + self.random.below(300)),
            1 => (self.input(&[b'1'; 16]).cast(), *self.random.one_of(&HUGE)),
            _ => self.sized(&[b'1'; 256]),
        }
    }

    /// A code, malformed or wrong. A wrong one costs a commit.
    pub(crate) fn code<T>(&mut self) -> (*mut T, CK_ULONG) {
        if let Some(odd) = self.odd() {
            return odd;
        }
        if !self.ration.allows(Costly::Charge) {
            let malformed = self.random.one_of(&MALFORMED);
            return self.sized(malformed);
        }
        let (user, code) = self.wrong_code();
        match self.random.below(2) {
            0 => self.sized(code.as_bytes()),
            _ => self.sized(format!("{user}:{code}").as_bytes()),
        }
    }

    /// The name of a user.
    pub(crate) fn user<T>(&mut self) -> (*mut T, CK_ULONG) {
        if let Some(odd) = self.odd() {
            return odd;
        }
        match self.random.below(3) {
            0 => self.text(),
            1 => self.sized(b""),
            _ => {
                let name = prey(self.random.next());
                self.sized(name.as_bytes())
            }
        }
    }

    /// A mechanism parameter: malformed or wrong approvals, or other bytes.
    pub(crate) fn parameter<T>(&mut self) -> (*mut T, CK_ULONG) {
        if let Some(odd) = self.odd() {
            return odd;
        }
        if self.phase == Phase::Among
            && self.ration.allows(Costly::Stray)
            && let Some(code) = self.world.draw()
        {
            // A right code for whatever comes after. While other callers are there, one of them may sign with
            // it, which is paid for.
            return self.sized(&approval(&code.user, &code.code));
        }
        if self.ration.allows(Costly::Charge) {
            let (user, code) = self.wrong_code();
            let mut records = approval(&user, &code).to_vec();
            if self.random.below(4) == 0 {
                records.extend(approval(&prey(self.random.next()), "00000000"));
            }
            return self.sized(&records);
        }
        let mut records = approval("prey-0", "12345678").to_vec();
        match self.random.below(7) {
            0 => records.truncate(self.random.below(128) as usize),
            1 => records[0] = 2 + self.random.next() as u8 % 200,
            2 => records[1] = 0,
            3 => records[2] = 61 + self.random.next() as u8 % 190,
            4 => records[127] = 1,
            5 => records[64] = b' ',
            _ => records = self.garbage(2_200),
        }
        self.sized(&records)
    }

    /// A wrong code: for a user who may be locked by it, or a payer's.
    fn wrong_code(&mut self) -> (String, String) {
        if self.random.below(4) == 0
            && self.ration.allows(Costly::Theft)
            && let Some(wrong) = self.world.wrong(&mut self.random)
        {
            return (wrong.user, wrong.code);
        }
        (prey(self.random.next()), format!("{:08}", self.random.below(100_000_000)))
    }

    /// A buffer for an answer of variable length, in bytes.
    pub(crate) fn output<T>(&mut self) -> (*mut T, CK_ULONG_PTR) {
        let room = match self.random.below(5) {
            0 => self.random.below(16) as usize,
            1 => 4_096,
            _ => self.random.below(3_000) as usize,
        };
        let (buffer, len) = self.answer(room, 1);
        (buffer.cast(), len)
    }

    /// A buffer for a list of slots, mechanisms or the like.
    pub(crate) fn list<T>(&mut self) -> (*mut T, CK_ULONG_PTR) {
        let room = self.random.below(12) as usize;
        let (buffer, len) = self.answer(room, size_of::<T>());
        (buffer.cast(), len)
    }

    fn answer(&mut self, room: usize, item: usize) -> (*mut u8, CK_ULONG_PTR) {
        let buffer = (self.random.below(5) > 0).then(|| self.buffer(room * item));
        let count = match buffer {
            Some(_) => room as CK_ULONG,
            // Without a buffer the number means nothing.
            None => self.number(),
        };
        let len = (self.random.below(16) > 0).then(|| self.memory.value(count));
        self.watch(Watched::Answer { buffer, len, item });
        (start(buffer), start(len).cast())
    }

    /// A buffer for found handles, and its length. `found_count` is the place of their number.
    pub(crate) fn found(&mut self) -> (CK_OBJECT_HANDLE_PTR, CK_ULONG) {
        let room = self.random.below(24) as usize;
        let buffer = (self.random.below(12) > 0).then(|| self.buffer(room * size_of::<CK_OBJECT_HANDLE>()));
        self.watch(Watched::Found { buffer, count: None });
        (start(buffer).cast(), buffer.map_or_else(|| self.number(), |_| room as CK_ULONG))
    }

    pub(crate) fn found_count(&mut self) -> CK_ULONG_PTR {
        let place = (self.random.below(12) > 0).then(|| self.memory.value(self.random.next()));
        if let Some(Watched::Found { count, .. }) = self.watched.last_mut() {
            *count = place;
        }
        start(place).cast()
    }

    /// A buffer of exactly so many bytes.
    pub(crate) fn room<T>(&mut self) -> (*mut T, CK_ULONG) {
        if let Some(odd) = self.odd() {
            return odd;
        }
        let len = self.random.below(3_000) as usize;
        let place = self.buffer(len);
        (self.watch(Watched::Fixed(place)).cast(), len as CK_ULONG)
    }

    /// Null with a length, or a length beyond all bounds; now and then.
    fn odd<T>(&mut self) -> Option<(*mut T, CK_ULONG)> {
        match self.random.below(24) {
            0 => Some((ptr::null_mut(), 0)),
            1 => Some((ptr::null_mut(), 1 + self.random.below(500))),
            2 => Some((ptr::null_mut(), *self.random.one_of(&HUGE))),
            3 => {
                let len = *self.random.one_of(&HUGE);
                Some((self.input(&[0; 8]).cast(), len))
            }
            _ => None,
        }
    }
}
