//! Names and labels: which are allowed, and how to write them for a terminal and a shell.

use countersign::admin::MAX_LABEL_LEN;
use countersign::kernel::approval::{is_user_name, is_visible};
use countersign::kernel::factor::TicketId;
use data_encoding::HEXLOWER_PERMISSIVE;

/// The greatest length of a user's name in bytes, which is the length of its field in the approval.
pub(crate) const USER_NAME_MAX: usize = 60;

/// A user's name, by the module's rules.
pub(crate) fn user_name(name: &str) -> Result<String, String> {
    if is_user_name(name) {
        return Ok(name.to_owned());
    }
    Err(format!(
        "a user's name has 1 to {USER_NAME_MAX} bytes of UTF-8, no ':', no control or invisible character, and no blank at its ends"
    ))
}

/// A ticket, by the module's rules.
pub(crate) fn ticket(digits: &str) -> Result<TicketId, String> {
    HEXLOWER_PERMISSIVE
        .decode(digits.as_bytes())
        .ok()
        .and_then(|ticket| ticket.try_into().ok())
        .ok_or_else(|| "a ticket has 32 hexadecimal digits, as \"countersign propose\" prints them".into())
}

/// The issuer that an authenticator shows, by the module's rules.
pub(crate) fn issuer(text: &str) -> Result<String, String> {
    match label_of("an issuer", text) {
        Ok(issuer) if !issuer.contains(':') => Ok(issuer),
        Ok(_) => Err("an issuer has no ':': authenticators take what stands before it for the issuer".into()),
        Err(reason) => Err(reason),
    }
}

/// A wallet's label, by the module's rules.
pub(crate) fn wallet_label(label: &str) -> Result<String, String> {
    label_of("a wallet's label", label)
}

/// The label of a key that signs digests, by the same rules as a wallet's.
pub(crate) fn key_label(label: &str) -> Result<String, String> {
    label_of("a key's label", label)
}

fn label_of(what: &str, text: &str) -> Result<String, String> {
    if (1..=MAX_LABEL_LEN).contains(&text.len()) && is_visible(text) {
        return Ok(text.to_owned());
    }
    Err(format!("{what} has 1 to {MAX_LABEL_LEN} bytes of UTF-8 and no control or invisible character"))
}

/// The token's label: at most the 32 bytes of `CK_TOKEN_INFO`.
pub(crate) fn token_label(label: &str) -> Result<String, String> {
    if label.trim().is_empty() || label.len() > 32 || label.chars().any(char::is_control) {
        return Err("a token's label has 1 to 32 bytes and no control characters".into());
    }
    Ok(label.to_owned())
}

/// Text from the token without anything that could control a terminal. Line ends stay.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// The name as one word for a POSIX shell.
pub(crate) fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._@-+/".contains(c);
    if !name.is_empty() && !name.starts_with('-') && name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names() {
        assert!(user_name("alice").is_ok());
        assert!(user_name("Zoë Müller").is_ok());
        assert!(user_name(&"x".repeat(60)).is_ok());
        assert!(user_name(&"x".repeat(61)).is_err());
        assert!(user_name(&"é".repeat(31)).is_err());
        for bad in ["", "a:b", "a\nb", "a\u{85}b", " a", "a ", "a\u{200b}b"] {
            assert!(user_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn tickets() {
        let digits = "00112233445566778899aabbccddeeff";
        assert_eq!(ticket(digits), ticket(&digits.to_uppercase()));
        assert!(ticket(digits).is_ok_and(|ticket| ticket[1] == 0x11));
        for bad in [
            "",
            &digits[2..],
            &format!("{digits}00"),
            &format!("#{}", &digits[1..]),
            "\u{ff11}",
            &"é".repeat(16),
        ] {
            assert!(ticket(bad).is_err_and(|reason| reason.contains("32 hexadecimal digits")), "{bad:?}");
        }
    }

    #[test]
    fn labels_and_issuers() {
        for label in ["x", "Zoë's", &"x".repeat(128)] {
            assert!(
                wallet_label(label).is_ok() && key_label(label).is_ok() && issuer(label).is_ok(),
                "{label:?}"
            );
        }
        for bad in ["", "a\nb", "a\u{202e}b", &"x".repeat(129)] {
            for (told, what) in [
                (wallet_label(bad), "a wallet's label has 1 to 128 bytes"),
                (key_label(bad), "a key's label has 1 to 128 bytes"),
                (issuer(bad), "an issuer has 1 to 128 bytes"),
            ] {
                assert!(told.is_err_and(|reason| reason.starts_with(what)), "{bad:?}");
            }
        }
        assert!(wallet_label("Acme: X").is_ok());
        assert!(issuer("Acme: X").is_err_and(|reason| reason.starts_with("an issuer has no ':'")));
    }

    #[test]
    fn shell_words() {
        assert_eq!(quoted("alice"), "alice");
        assert_eq!(quoted("alice smith"), "'alice smith'");
        assert_eq!(quoted("o'neil"), r"'o'\''neil'");
        assert_eq!(quoted("-x"), "'-x'");
    }

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\nc"), "a\u{fffd}[31mb\nc");
    }
}
