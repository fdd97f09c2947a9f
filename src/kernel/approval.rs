//! The approval: the 128-byte records that carry a user's code into a signing mechanism.
//!
//! It comes in two ways (docs/from-a-program.md): as the mechanism's parameter, and as the PIN of a
//! context-specific login. Both give the same value. Parsing spends nothing: a malformed approval is refused
//! before any state is read.

use core::fmt;

use super::factor::ticket::NotATicket;
use super::factor::totp::NotACode;
use super::factor::{FactorKind, Proof, TicketId};

/// Size of one record.
pub const RECORD_LEN: usize = 128;
/// The most records in one mechanism parameter.
pub const MAX_RECORDS: usize = 16;
/// The longest user name, in bytes of UTF-8.
pub const MAX_USER_LEN: usize = 60;

const VERSION: u8 = 1;
const CODE_FIELD: usize = 64;

/// One user's claim: "I am `user`, and this is my proof." Nothing about it has been verified.
pub struct Approval {
    user: Option<Box<str>>,
    proof: Proof,
}

impl Approval {
    /// Parses the mechanism parameter: 1 to 16 records of 128 bytes. The doors take this: without tickets, as long as nobody can
    /// propose a transaction.
    pub fn parse(parameter: &[u8]) -> Result<Vec<Approval>, ApprovalError> {
        Self::parse_records(parameter, &[FactorKind::Totp, FactorKind::Hotp])
    }

    /// The same, or one record with a ticket, which stands alone.
    pub fn parse_or_ticket(parameter: &[u8]) -> Result<Vec<Approval>, ApprovalError> {
        Self::parse_records(parameter, &[FactorKind::Totp, FactorKind::Hotp, FactorKind::Ticket])
    }

    fn parse_records(parameter: &[u8], kinds: &[FactorKind]) -> Result<Vec<Approval>, ApprovalError> {
        if parameter.is_empty() || !parameter.len().is_multiple_of(RECORD_LEN) {
            return Err(ApprovalError::Length(parameter.len()));
        }
        if parameter.len() / RECORD_LEN > MAX_RECORDS {
            return Err(ApprovalError::TooMany(parameter.len() / RECORD_LEN));
        }
        let approvals: Vec<Approval> = parameter
            .chunks_exact(RECORD_LEN)
            .map(|record| Self::parse_record(record, kinds))
            .collect::<Result<_, _>>()?;
        match approvals.iter().any(|approval| approval.ticket().is_some()) {
            true if approvals.len() > 1 => Err(ApprovalError::NotAlone),
            _ => Ok(approvals),
        }
    }

    /// Parses the PIN of a context-specific login: `code` or `user:code`. The form of the code tells what it is. As [`Self::parse`],
    /// without tickets.
    pub fn parse_pin(pin: &[u8]) -> Result<Approval, ApprovalError> {
        // The last colon, because a code has none, whatever the name contains.
        match pin.iter().rposition(|&b| b == b':') {
            Some(colon) => Self::parse_pin_of(&pin[..colon], &pin[colon + 1..]),
            None => Ok(Approval { user: None, proof: Proof::of_form(pin)? }),
        }
    }

    /// The same, or `#TICKET`.
    pub fn parse_pin_or_ticket(pin: &[u8]) -> Result<Approval, ApprovalError> {
        match pin.strip_prefix(b"#") {
            // A name can begin so, too. A ticket has no colon.
            Some(ticket) if !ticket.contains(&b':') => {
                let proof = Proof::parse::<ApprovalError>(FactorKind::Ticket, ticket)?;
                Ok(Approval { user: None, proof })
            }
            _ => Self::parse_pin(pin),
        }
    }

    /// The approval of a login that names its user (`C_LoginUser`).
    pub fn parse_pin_of(user: &[u8], code: &[u8]) -> Result<Approval, ApprovalError> {
        if user.len() > MAX_USER_LEN {
            return Err(ApprovalError::UserLength(user.len()));
        }
        Ok(Approval { user: parse_user(user)?, proof: Proof::of_form(code)? })
    }

    /// The approval of whoever has a code checked that signs nothing: one code, or two in a row.
    pub fn parse_check(user: &str, codes: &[u8]) -> Result<Approval, ApprovalError> {
        Ok(Approval { user: parse_user(user.as_bytes())?, proof: Proof::of_form_or_pair(codes)? })
    }

    /// The name claimed, or `None` for the wallet's only user.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The ticket that it brings instead of a code.
    pub fn ticket(&self) -> Option<&TicketId> {
        match &self.proof {
            Proof::Ticket(ticket) => Some(ticket),
            Proof::Totp(_) | Proof::Hotp(_) | Proof::Digits(_) | Proof::Pair(_) => None,
        }
    }

    pub(crate) fn proof(&self) -> &Proof {
        &self.proof
    }

    fn parse_record(record: &[u8], kinds: &[FactorKind]) -> Result<Approval, ApprovalError> {
        let (version, factor, user_len, code_len) =
            (record[0], record[1], usize::from(record[2]), usize::from(record[3]));
        if version != VERSION {
            return Err(ApprovalError::Version(version));
        }
        let kind = FactorKind::of_number(factor).filter(|kind| kinds.contains(kind));
        let kind = kind.ok_or(ApprovalError::Factor(factor))?;
        if user_len > MAX_USER_LEN {
            return Err(ApprovalError::UserLength(user_len));
        }
        if code_len > CODE_FIELD {
            return Err(ApprovalError::Code);
        }
        let (user, user_padding) = record[4..64].split_at(user_len);
        let (code, code_padding) = record[64..].split_at(code_len);
        if user_padding.iter().chain(code_padding).any(|&b| b != 0) {
            return Err(ApprovalError::Padding);
        }
        if kind == FactorKind::Ticket && user_len > 0 {
            return Err(ApprovalError::Ticket);
        }
        Ok(Approval { user: parse_user(user)?, proof: Proof::parse::<ApprovalError>(kind, code)? })
    }
}

/// A malformed approval. The texts never repeat the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalError {
    /// Not a whole number of records.
    #[error("an approval is one or more records of {RECORD_LEN} bytes, not {0} bytes")]
    Length(usize),
    /// Too many records.
    #[error("at most {MAX_RECORDS} approval records, not {0}")]
    TooMany(usize),
    /// Unknown version.
    #[error("unknown approval version {0}")]
    Version(u8),
    /// Unknown factor.
    #[error("unknown factor {0}")]
    Factor(u8),
    /// A user name that is too long for its field.
    #[error("a user name has at most {MAX_USER_LEN} bytes, not {0}")]
    UserLength(usize),
    /// A user name that is not UTF-8.
    #[error("the user name is not UTF-8")]
    User,
    /// A code that is not 6 to 8 ASCII digits.
    #[error("{NotACode}")]
    Code,
    /// A ticket that is not 32 hexadecimal digits, or that comes with a user's name.
    #[error("{NotATicket}")]
    Ticket,
    /// A ticket beside another record.
    #[error("a ticket stands for all its approvals: no other approval record goes with it")]
    NotAlone,
    /// Non-zero bytes after a field's content.
    #[error("padding that is not zero")]
    Padding,
}

impl From<NotACode> for ApprovalError {
    fn from(_: NotACode) -> ApprovalError {
        ApprovalError::Code
    }
}

impl From<NotATicket> for ApprovalError {
    fn from(_: NotATicket) -> ApprovalError {
        ApprovalError::Ticket
    }
}

fn parse_user(bytes: &[u8]) -> Result<Option<Box<str>>, ApprovalError> {
    let user = core::str::from_utf8(bytes).map_err(|_| ApprovalError::User)?;
    Ok((!user.is_empty()).then(|| user.into()))
}

/// Whether `name` can be a user's name: 1 to 60 bytes of UTF-8, nothing invisible, no colon (the separator of
/// `user:code` and of the otpauth label), no space at either end.
pub fn is_user_name(name: &str) -> bool {
    (1..=MAX_USER_LEN).contains(&name.len()) && name.trim() == name && !name.contains(':') && is_visible(name)
}

/// Whether a name shows all of its characters: no control character, and none that hides or reorders others
/// (Unicode's zero-width and bidirectional formatting characters).
pub fn is_visible(name: &str) -> bool {
    !name.chars().any(|c| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    })
}

impl fmt::Debug for Approval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Approval").field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(user: &[u8], code: &[u8]) -> [u8; RECORD_LEN] {
        let mut record = [0; RECORD_LEN];
        record[0] = 1;
        record[1] = 1;
        record[2] = user.len() as u8;
        record[3] = code.len() as u8;
        record[4..4 + user.len()].copy_from_slice(user);
        record[64..64 + code.len()].copy_from_slice(code);
        record
    }

    fn error(parameter: &[u8]) -> ApprovalError {
        Approval::parse(parameter).expect_err("malformed")
    }

    #[test]
    fn a_record_gives_user_and_code() {
        let approvals = Approval::parse(&record("zoë".as_bytes(), b"012345")).expect("well formed");
        assert_eq!(approvals.len(), 1);
        assert_eq!(approvals[0].user(), Some("zoë"));
        let Proof::Totp(code) = approvals[0].proof() else { panic!("a code") };
        assert_eq!(code.padded(), b"012345\0\0");
    }

    #[test]
    fn no_user_means_the_only_user() {
        let approvals = Approval::parse(&record(b"", b"12345678")).expect("well formed");
        assert_eq!(approvals[0].user(), None);
    }

    #[test]
    fn every_field_out_of_its_range_is_malformed() {
        assert_eq!(error(&[]), ApprovalError::Length(0));
        assert_eq!(error(&[1; 127]), ApprovalError::Length(127));
        assert_eq!(error(&record(b"", b"123456").repeat(17)), ApprovalError::TooMany(17));
        assert_eq!(Approval::parse(&record(b"", b"123456").repeat(16)).expect("16 fit").len(), 16);
        for (offset, value, expected) in [
            (0, 0, ApprovalError::Version(0)),
            (0, 2, ApprovalError::Version(2)),
            (1, 0, ApprovalError::Factor(0)),
            (1, 2, ApprovalError::Factor(2)),
            (1, 4, ApprovalError::Factor(4)),
            (1, 255, ApprovalError::Factor(255)),
            (2, 61, ApprovalError::UserLength(61)),
            (2, 255, ApprovalError::UserLength(255)),
            (3, 65, ApprovalError::Code),
            (3, 5, ApprovalError::Padding),
            (3, 9, ApprovalError::Code),
            (9, b'x', ApprovalError::Padding),
            (63, 1, ApprovalError::Padding),
            (70, b'7', ApprovalError::Padding),
            (127, 1, ApprovalError::Padding),
            (4, 0xff, ApprovalError::User),
        ] {
            let mut bad = record(b"alice", b"123456");
            bad[offset] = value;
            assert_eq!(error(&bad), expected, "offset {offset} = {value}");
        }
    }

    #[test]
    fn otp_blank() {
        for code in
            [&b" 12345"[..], b"12345 ", b"123 456", b"+12345", b"-12345", b"12345\0", b"1234567\n", b"0x1234"]
        {
            assert_eq!(error(&record(b"a", code)), ApprovalError::Code);
            assert_eq!(Approval::parse_pin(code).expect_err("malformed"), ApprovalError::Code);
        }
        // Arabic-Indic and full-width digits: 12 and 18 bytes of UTF-8, and as 2-digit fragments.
        for code in ["١٢٣٤٥٦", "１２３４５６", "１２"] {
            assert_eq!(error(&record(b"a", code.as_bytes())), ApprovalError::Code);
        }
    }

    #[test]
    fn a_pin_is_a_code_or_user_and_code() {
        assert_eq!(Approval::parse_pin(b"123456").expect("code").user(), None);
        assert_eq!(Approval::parse_pin(b"alice:123456").expect("user:code").user(), Some("alice"));
        assert_eq!(Approval::parse_pin(b"a:b:123456").expect("user:code").user(), Some("a:b"));
        assert_eq!(Approval::parse_pin(b"").expect_err("empty"), ApprovalError::Code);
        assert_eq!(Approval::parse_pin(b"alice:").expect_err("no code"), ApprovalError::Code);
        let long = [&[b'a'; 61][..], b":123456"].concat();
        assert_eq!(Approval::parse_pin(&long).expect_err("long"), ApprovalError::UserLength(61));
    }

    #[test]
    fn user_names_have_no_separator_and_no_control_character() {
        assert!(is_user_name("alice") && is_user_name("Zoë Müller") && is_user_name(&"a".repeat(60)));
        for bad in ["", "a:b", "a\nb", " a", "a ", "a\u{0}", "\u{7f}", "a\u{202e}", "a\u{200b}b", "\u{feff}a"]
        {
            assert!(!is_user_name(bad), "{bad:?}");
        }
        assert!(!is_user_name(&"a".repeat(61)));
    }

    #[test]
    fn debug_shows_no_code() {
        let approval = Approval::parse_pin(b"alice:918273").expect("well formed");
        assert!(!format!("{approval:?}").contains("918273"));
    }
}
