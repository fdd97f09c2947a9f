//! The trusted time: the wall clock, compared with the newest record and with the machine's own clock.

use std::sync::{MutexGuard, PoisonError};

use super::{Engine, EngineError};
use crate::kernel::clock::{self, Believed, ClockError};
use crate::kernel::seal::Kind;
use crate::kernel::state;

impl Engine {
    /// The trusted time, or the reason why the clock is not trusted.
    pub(crate) fn now(&self) -> Result<u64, EngineError> {
        let mut believed = self.hold_against();
        let reading = self.clock.read();
        let high_water = self.ledger()?.high_water();
        if let Some(believed) = *believed {
            return Ok(clock::judge(reading, believed, high_water)?);
        }
        // The first reading in this run of the machine. Only the newest record can contradict it.
        let taken = Believed::new(self.clock.boot_id(), reading);
        let now = clock::judge_first(reading, high_water)?;
        let recorded = self.commit_anew(|| {
            let old = self.if_there(Kind::Clock)?;
            Ok(state::believe_clock(old.as_ref(), taken))
        });
        recorded.map(|_recorded| ())?;
        *believed = Some(taken);
        Ok(now)
    }

    /// The time for acts that must be possible without a trusted clock: it then stands still at the newest
    /// record. This does not accept a clock.
    pub(crate) fn now_or_newest(&self) -> Result<u64, EngineError> {
        match self.believed().map(|_| self.now()) {
            None | Some(Err(EngineError::Clock(_))) => Ok(self.ledger()?.high_water()),
            Some(other) => other,
        }
    }

    /// The wall clock's time, Unix seconds.
    pub fn clock_time(&self) -> u64 {
        self.clock.read().wall
    }

    /// The readings that the wall clock is compared with, if it was trusted before in this run of the
    /// machine.
    pub(crate) fn believed(&self) -> Option<Believed> {
        *self.hold_against()
    }

    /// Compares the wall clock with these recorded readings from here on.
    pub(crate) fn believe(&self, taken: Believed) {
        *self.hold_against() = Some(taken);
    }

    /// Why nothing is signed because of the present clock, if so. Looking changes nothing.
    pub fn clock_refusal(&self) -> Result<Option<ClockError>, EngineError> {
        let believed = self.believed();
        let (reading, high_water) = (self.clock.read(), self.ledger()?.high_water());
        Ok(match believed {
            Some(believed) => clock::judge(reading, believed, high_water).err(),
            None => clock::judge_first(reading, high_water).err(),
        })
    }

    /// Locked while a clock is recorded, which waits for the disk. A caller that waits for the lock has no
    /// core meanwhile.
    fn hold_against(&self) -> MutexGuard<'_, Option<Believed>> {
        crate::cores::lock(&self.believed).unwrap_or_else(PoisonError::into_inner)
    }

    /// Seconds since the machine booted in which it was not suspended.
    pub(super) fn awake(&self) -> u64 {
        self.clock.awake()
    }

    /// The present readings of both clocks, without a check.
    pub(crate) fn clocks(&self) -> Believed {
        Believed::new(self.clock.boot_id(), self.clock.read())
    }
}
