//! The users who were taken off a wallet or key, and may still veto acts on it.
//!
//! An administrator can take a user off alone, which tightens. If that took the veto from the user at once, it would be the first step of
//! every act that the user would veto. So whoever was one of the users within the delay before an act is proposed may veto it, too.

use serde::{Deserialize, Serialize};

use crate::name::UserId;
use crate::officer::MAX_DELAY_HOURS;
use crate::otp::OtpKeyId;
use crate::record::Stored;

/// The most former users that a record keeps. To get one of them out of it, somebody needs so many others, each of whom officers have let
/// into the wallet since.
pub const MAX_FORMER: usize = 64;
/// Seconds after which nobody asks for a former user: the longest delay.
const KEPT_FOR: u64 = MAX_DELAY_HOURS as u64 * 3_600;

/// The former users of a wallet or key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerUsers {
    /// In the order in which they were taken off.
    users: Vec<Former>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Former {
    name: String,
    enrolment: OtpKeyId,
    /// When the user was taken off, Unix seconds.
    at: u64,
}

impl Former {
    fn is(&self, user: &UserId) -> bool {
        self.name == user.name && self.enrolment == user.key
    }
}

impl FormerUsers {
    /// The same with users who are taken off at `now`.
    #[must_use]
    pub fn with(&self, taken_off: &[UserId], now: u64) -> FormerUsers {
        let is_kept = |one: &&Former| {
            one.at.saturating_add(KEPT_FOR) >= now && !taken_off.iter().any(|user| one.is(user))
        };
        let mut users: Vec<Former> = self.users.iter().filter(is_kept).cloned().collect();
        users.extend(taken_off.iter().map(|user| Former {
            name: user.name.clone(),
            enrolment: user.key,
            at: now,
        }));
        users.drain(..users.len().saturating_sub(MAX_FORMER));
        FormerUsers { users }
    }

    /// Those who were taken off at `since` or later.
    pub fn since(&self, since: u64) -> impl Iterator<Item = UserId> {
        let late = self.users.iter().filter(move |one| one.at >= since);
        late.map(|one| UserId { name: one.name.clone(), key: one.enrolment })
    }
}

impl Stored for FormerUsers {}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn user(number: usize) -> UserId {
        UserId { name: format!("user {number}"), key: [number as u8; 16] }
    }

    #[test]
    fn a_former_user_is_kept_once_and_for_the_longest_delay() {
        let one = FormerUsers::default().with(&[user(1), user(2)], NOW);
        let again = one.with(&[user(1)], NOW + 5);
        assert_eq!(again.since(NOW).collect::<Vec<_>>(), [user(2), user(1)]);
        assert_eq!(again.since(NOW + 1).collect::<Vec<_>>(), [user(1)]);
        assert_eq!(FormerUsers::decode(&again.encode()), Some(again.clone()));
        let later = again.with(&[], NOW + KEPT_FOR + 1);
        assert_eq!(later.since(0).collect::<Vec<_>>(), [user(1)]);
        let anew = UserId { key: [9; 16], ..user(1) };
        assert_eq!(
            one.with(std::slice::from_ref(&anew), NOW).since(NOW).last(),
            Some(anew),
            "another enrolment"
        );
    }

    #[test]
    fn the_newest_former_users_are_kept() {
        let all: Vec<UserId> = (0..MAX_FORMER + 3).map(user).collect();
        let kept =
            all.iter().fold(FormerUsers::default(), |kept, one| kept.with(std::slice::from_ref(one), NOW));
        assert_eq!(kept.since(0).collect::<Vec<_>>(), all[3..]);
    }
}
