//! Names the option at fault when a value was refused.

use std::path::Path;

use countersign::admin::MAX_WALLET_USERS;

use crate::error::CommandError;

/// The options for the keys of a policy.
const OPTIONS: [(&str, &str); 17] = [
    ("unlimited", "--unlimited"),
    ("max_transaction_sat", "--max-transaction-sat"),
    ("max_period_sat", "--max-period-sat"),
    ("max_period_transactions", "--max-period-transactions"),
    ("period_hours", "--period-hours"),
    ("max_fee_sat", "--max-fee-sat"),
    ("max_fee_sat_per_vbyte", "--max-fee-sat-per-vbyte"),
    ("max_fee_percent", "--max-fee-percent"),
    ("allowlist", "--allow"),
    ("denylist", "--deny"),
    ("time_windows", "--time-window"),
    ("required_approvals", "--required-approvals"),
    ("approvals_from_sat", "--approvals-from-sat"),
    ("consent_from_sat", "--consent-from-sat"),
    ("consent_by", "--consent-by"),
    ("proposal_minutes", "--proposal-minutes"),
    ("require_cosigner", "--require-cosigner"),
];

/// What to correct if a policy is refused for `reason`: the file, or the option for the key at fault.
pub(crate) fn next_for_policy(reason: &str, file: Option<&Path>) -> String {
    // A key that no policy has. The keys that the message lists after it are not at fault.
    if let Some(unknown) = unknown_key(reason) {
        let place =
            file.map_or_else(String::new, |file| format!(" in {}, which --policy names", file.display()));
        return format!("remove or correct {unknown}{place}");
    }
    let of_users = reason.contains("requires the approvals of");
    let key = if of_users {
        Some("required_approvals")
    } else if reason.contains("requires cosigner") {
        Some("require_cosigner")
    } else {
        reason
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .find(|word| OPTIONS.iter().any(|(key, _)| key == word))
    };
    let option = |key: &str| OPTIONS.iter().find(|(there, _)| *there == key).map_or("", |(_, option)| option);
    let place = match (file, key) {
        (Some(file), Some(key)) => format!("{key} in {}, which --policy names", file.display()),
        (Some(file), None) => format!("{}, which --policy names", file.display()),
        (None, Some(key)) => option(key).to_owned(),
        (None, None) => "the options of the policy".to_owned(),
    };
    if of_users {
        format!("name more users with --user, or lower {place}")
    } else {
        format!("correct {place}")
    }
}

/// The key that no policy has, if that is the reason.
fn unknown_key(reason: &str) -> Option<&str> {
    if let Some((before, _)) = reason.split_once(": there is no such key") {
        return before.split(' ').next_back();
    }
    // A boundary of an older version.
    reason.split("unknown field `").nth(1)?.split('`').next()
}

/// Checks the users of a wallet or key: at most as many as approvals can name, and each once.
pub(crate) fn check_users(users: &[String]) -> Result<(), CommandError> {
    check_named(users, "--user")
}

/// The same for the users that another option names.
pub(crate) fn check_named(users: &[String], option: &str) -> Result<(), CommandError> {
    if users.len() > MAX_WALLET_USERS {
        return Err(CommandError::new(
            format!(
                "{option} names {} users, and a wallet or key has at most {MAX_WALLET_USERS}",
                users.len()
            ),
            "name fewer users",
        ));
    }
    let twice = users.iter().enumerate().find(|(index, user)| users[..*index].contains(user));
    match twice {
        None => Ok(()),
        Some((_, user)) => {
            Err(CommandError::new(format!("{option} names {user:?} twice"), "name each user once"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_or_the_key_in_the_file_is_named() {
        let file = Some(Path::new("p.toml"));
        for (reason, option, key) in [
            (
                "the policy is not valid: allowlist, entry 2: this is the same as entry 1",
                "--allow",
                "allowlist",
            ),
            ("the policy is not valid: period_hours is 1 to 168", "--period-hours", "period_hours"),
            ("max_fee_sat_per_vbyte needs a transaction", "--max-fee-sat-per-vbyte", "max_fee_sat_per_vbyte"),
            ("the policy requires cosigner 01020304, and no key", "--require-cosigner", "require_cosigner"),
            (
                "the policy requires the approvals of 2 users, and the wallet has 1",
                "--user",
                "required_approvals",
            ),
        ] {
            let told = next_for_policy(reason, None);
            assert!(told.contains(option), "{told}");
            let told = next_for_policy(reason, file);
            assert!(told.contains(&format!("{key} in p.toml")), "{told}");
        }
        for unknown in [
            "line 1: unknown field `x`, expected one of `unlimited`, `max_fee_sat`",
            "line 1, key x: there is no such key here: remove it, or write one of `unlimited`, `max_fee_sat`",
        ] {
            assert_eq!(next_for_policy(unknown, file), "remove or correct x in p.toml, which --policy names");
        }
        assert_eq!(next_for_policy("line 3: unexpected", file), "correct p.toml, which --policy names");
    }

    #[test]
    fn no_user_is_named_twice_and_no_more_than_fit_one_approval() {
        let users = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(check_users(&users(&["a", "b"])).is_ok());
        assert!(
            check_users(&users(&["a", "b", "a"]))
                .is_err_and(|error| error.what.contains("--user names \"a\""))
        );
        let many: Vec<String> = (0..17).map(|number| number.to_string()).collect();
        assert!(check_users(&many[..16]).is_ok());
        assert!(check_users(&many).is_err_and(|error| error.what.contains("--user names 17 users")));
    }
}
