//! Names and labels: which a user may have, and how they are written for a terminal and for a shell.

/// The length of a user's name at most, in bytes: the width of its field in the approval.
pub(crate) const USER_NAME_MAX: usize = 60;

/// A user's name: 1 to 60 bytes of UTF-8, no control characters and no `:`.
pub(crate) fn user_name(name: &str) -> Result<String, String> {
    if name.is_empty() || name.len() > USER_NAME_MAX {
        return Err(format!("a user's name has 1 to {USER_NAME_MAX} bytes"));
    }
    if name.chars().any(|c| c.is_control() || c == ':') {
        return Err("a user's name has no control characters and no ':'".into());
    }
    Ok(name.to_owned())
}

/// A wallet's label: not empty, no control characters.
pub(crate) fn wallet_label(label: &str) -> Result<String, String> {
    if label.is_empty() || label.chars().any(char::is_control) {
        return Err("a wallet's label is not empty and has no control characters".into());
    }
    Ok(label.to_owned())
}

/// The label of a key that signs digests: as a wallet's.
pub(crate) fn key_label(label: &str) -> Result<String, String> {
    wallet_label(label).map_err(|_| "a key's label is not empty and has no control characters".into())
}

/// The token's label: at most the 32 bytes of `CK_TOKEN_INFO`.
pub(crate) fn token_label(label: &str) -> Result<String, String> {
    if label.trim().is_empty() || label.len() > 32 || label.chars().any(char::is_control) {
        return Err("a token's label has 1 to 32 bytes and no control characters".into());
    }
    Ok(label.to_owned())
}

/// Text from the token with nothing in it that steers a terminal; line ends stay.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// The name as one word of a POSIX shell.
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
        for bad in ["", "a:b", "a\nb", "a\u{85}b"] {
            assert!(user_name(bad).is_err(), "{bad:?}");
        }
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
