//! The trusted time: the wall clock, compared with the newest record and with the machine's own clock.

use std::sync::{MutexGuard, PoisonError};

use super::{Engine, EngineError, read};
use crate::kernel::act::Deed;
use crate::kernel::clock::{self, Believed, ClockError, TYPED_TOLERANCE};
use crate::kernel::receipt::Change;
use crate::kernel::seal::{Kind, RecordKey};
use crate::kernel::state::{self, ClockRecord, Recorded, Versioned};

impl Engine {
    /// The time that counts, or the refusal of a clock that cannot be believed.
    pub(crate) fn now(&self) -> Result<u64, EngineError> {
        let mut believed = self.believed();
        let reading = self.clock.read();
        let high_water = self.ledger()?.high_water();
        if let Some(believed) = *believed {
            return Ok(clock::judge(reading, believed, high_water)?);
        }
        // The first time in this run of the machine: nothing but the newest record can contradict it.
        let taken = Believed::new(self.clock.boot_id(), reading);
        let now = clock::judge_first(reading, high_water)?;
        self.record_clock(|old| state::believe_clock(old, taken))?;
        *believed = Some(taken);
        Ok(now)
    }

    /// The time for what must go on under a clock that cannot be believed: it stands still at the newest record. No clock is
    /// taken by it.
    pub(crate) fn now_or_newest(&self) -> Result<u64, EngineError> {
        let is_taken = self.believed().is_some();
        match is_taken.then(|| self.now()) {
            None | Some(Err(EngineError::Clock(_))) => Ok(self.ledger()?.high_water()),
            Some(other) => other,
        }
    }

    /// What the wall clock says, Unix seconds.
    pub fn clock_time(&self) -> u64 {
        self.clock.read().wall
    }

    /// Takes the wall clock as it is, by word of the security officer, who says what time it is. Never behind a record.
    pub fn take_clock(&self, said: u64) -> Result<(), EngineError> {
        let attempt = self.attempt(Deed::ClockTaken.tag());
        let mut believed = self.believed();
        let reading = self.clock.read();
        if reading.wall.abs_diff(said) > TYPED_TOLERANCE {
            return Err(EngineError::Parameter(format!(
                "the machine's clock says Unix time {}, not {said}: set the machine's clock right first",
                reading.wall
            )));
        }
        let taken = Believed::new(self.clock.boot_id(), reading);
        clock::judge(reading, taken, self.ledger()?.high_water())?;
        let moved = believed.map(|old| old.moved(reading));
        self.record_clock(|old| state::take_clock(old, taken, moved))?;
        *believed = Some(taken);
        attempt.done();
        Ok(())
    }

    /// Why nothing is signed by the clock as it is now, if so. Looking changes nothing.
    pub fn clock_refusal(&self) -> Result<Option<ClockError>, EngineError> {
        let believed = *self.believed();
        let (reading, high_water) = (self.clock.read(), self.ledger()?.high_water());
        Ok(match believed {
            Some(believed) => clock::judge(reading, believed, high_water).err(),
            None => clock::judge_first(reading, high_water).err(),
        })
    }

    /// Held while a clock is recorded, which waits for the disk: who waits for it holds no core.
    fn believed(&self) -> MutexGuard<'_, Option<Believed>> {
        crate::cores::lock(&self.believed).unwrap_or_else(PoisonError::into_inner)
    }

    fn record_clock(
        &self,
        transition: impl Fn(Option<&Versioned<ClockRecord>>) -> Change<Recorded>,
    ) -> Result<(), EngineError> {
        let decide = || {
            let old = read(self.ledger()?, RecordKey::single(Kind::Clock))?;
            Ok(transition(old.as_ref()))
        };
        self.commit_anew(decide).map(|_recorded| ())
    }

    /// Both clocks as they are, held against nothing.
    pub(crate) fn clocks(&self) -> Believed {
        Believed::new(self.clock.boot_id(), self.clock.read())
    }
}
