//! The machine's clock, as far as one can judge it without asking anybody else.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use countersign::kernel::utc::to_iso;

use super::checks::{Check, State};
use crate::clock::WAY_OUT;

/// Every build of this program is newer, so an earlier clock is wrong.
const BUILT_AFTER: u64 = 1_735_689_600; // 2025-01-01T00:00:00Z

/// The file that systemd-timesyncd makes once it has set the clock.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

/// The clock's time, and whether it can be right. `refusal` is the module's objection, if it has one.
pub(super) fn check(refusal: &str) -> Check {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let time = to_iso(now);
    if now < BUILT_AFTER {
        return Check {
            subject: "clock",
            state: State::Wrong,
            finding: format!("{time}, which is before this program was written"),
            next: Some("set the clock; codes depend on it".into()),
        };
    }
    if !refusal.is_empty() {
        return Check {
            subject: "clock",
            state: State::Wrong,
            finding: format!("{time}: the module signs nothing by it: {refusal}"),
            next: Some(WAY_OUT.into()),
        };
    }
    let seen =
        if Path::new(SYNCHRONISED).exists() { "synchronised by systemd-timesyncd" } else { "not checked" };
    Check {
        subject: "clock",
        state: State::Good,
        finding: format!("{time}; {seen}; a code is valid one period early or late, no more"),
        next: None,
    }
}
