//! The trusted time: the wall clock, compared with the newest record and with the machine's own clock.

use std::sync::{MutexGuard, PoisonError};

use super::{Engine, EngineError};
use crate::kernel::clock::{self, Believed, ClockError};
use crate::kernel::seal::Kind;
use crate::kernel::state;

impl Engine {
    /// The time that counts, or the refusal of a clock that cannot be believed.
    pub(crate) fn now(&self) -> Result<u64, EngineError> {
        let mut believed = self.hold_against();
        let reading = self.clock.read();
        let high_water = self.ledger()?.high_water();
        if let Some(believed) = *believed {
            return Ok(clock::judge(reading, believed, high_water)?);
        }
        // The first time in this run of the machine: nothing but the newest record can contradict it.
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

    /// The time for what must go on under a clock that cannot be believed: it stands still at the newest record. No clock is
    /// taken by it.
    pub(crate) fn now_or_newest(&self) -> Result<u64, EngineError> {
        match self.believed().map(|_| self.now()) {
            None | Some(Err(EngineError::Clock(_))) => Ok(self.ledger()?.high_water()),
            Some(other) => other,
        }
    }

    /// What the wall clock says, Unix seconds.
    pub fn clock_time(&self) -> u64 {
        self.clock.read().wall
    }

    /// What the wall clock is held against, if one was believed in this run of the machine.
    pub(crate) fn believed(&self) -> Option<Believed> {
        *self.hold_against()
    }

    /// Holds the wall clock against these from here on, which are recorded.
    pub(crate) fn believe(&self, taken: Believed) {
        *self.hold_against() = Some(taken);
    }

    /// Why nothing is signed by the clock as it is now, if so. Looking changes nothing.
    pub fn clock_refusal(&self) -> Result<Option<ClockError>, EngineError> {
        let believed = self.believed();
        let (reading, high_water) = (self.clock.read(), self.ledger()?.high_water());
        Ok(match believed {
            Some(believed) => clock::judge(reading, believed, high_water).err(),
            None => clock::judge_first(reading, high_water).err(),
        })
    }

    /// Held while a clock is recorded, which waits for the disk: who waits for it holds no core.
    fn hold_against(&self) -> MutexGuard<'_, Option<Believed>> {
        crate::cores::lock(&self.believed).unwrap_or_else(PoisonError::into_inner)
    }

    /// Both clocks as they are, held against nothing.
    pub(crate) fn clocks(&self) -> Believed {
        Believed::new(self.clock.boot_id(), self.clock.read())
    }
}
