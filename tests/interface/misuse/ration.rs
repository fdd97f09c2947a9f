//! Chance from a seed, and limits for what is costly.

/// Pseudo-random numbers, the same for the same seed (SplitMix64, Steele, Lea and Flood 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }
}

/// What a million calls cannot do each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Costly {
    /// A PIN that is compared: Argon2id.
    Pin,
    /// A login with the right PIN, so that other calls can succeed.
    Login,
    /// A code that is checked: a durable write.
    Charge,
    /// A payer's code that is not right now. Payers have few wrong tries.
    Theft,
    /// A right code, used correctly.
    Payment,
    /// A right code, given to any call.
    Stray,
    /// A change of a user or wallet.
    Administer,
    /// A new wallet, which cannot be removed.
    Wallet,
    /// A call that logs out, because the next login costs a PIN.
    Logout,
    /// A call that closes everything.
    Finalize,
    /// A child process.
    Fork,
}

impl Costly {
    const ALL: [Costly; 11] = [
        Costly::Pin,
        Costly::Login,
        Costly::Charge,
        Costly::Theft,
        Costly::Payment,
        Costly::Stray,
        Costly::Administer,
        Costly::Wallet,
        Costly::Logout,
        Costly::Finalize,
        Costly::Fork,
    ];

    /// At most once in so many calls.
    fn every(self) -> u64 {
        match self {
            Costly::Charge => 80,
            Costly::Administer => 60,
            Costly::Payment => 300,
            Costly::Login | Costly::Stray => 800,
            Costly::Theft => 500,
            Costly::Fork | Costly::Logout | Costly::Pin => 2_000,
            Costly::Finalize => 10_000,
            Costly::Wallet => 100,
        }
    }
}

/// The ration of one caller.
pub(crate) struct Ration {
    calls: u64,
    next: [u64; Costly::ALL.len()],
}

impl Ration {
    pub(crate) fn new() -> Ration {
        // Each is allowed once at the beginning, so that a short run has all of them.
        Ration { calls: 0, next: [0; Costly::ALL.len()] }
    }

    /// Counts a call.
    pub(crate) fn count(&mut self) {
        self.calls += 1;
    }

    /// Whether the ration allows it now.
    pub(crate) fn allows(&mut self, what: Costly) -> bool {
        let next = &mut self.next[what as usize];
        let is_due = self.calls >= *next;
        if is_due {
            *next = self.calls + what.every();
        }
        is_due
    }
}
