//! The approval for a signature: one record of 128 bytes, the parameter of `CKM_COUNTERSIGN_PSBT`.
//!
//! The layout is `COUNTERSIGN_APPROVAL` of `countersign.h`.

use countersign::kernel::factor::{FactorKind, TicketId};
use countersign::pkcs11::vendor as v;
use cryptoki::session::Session;
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use crate::attributes::{self, Attributes};
use crate::error::CommandError;
use crate::kind;
use crate::meaning::Act;
use crate::names::USER_NAME_MAX;
use crate::user;

/// The record's length in bytes.
pub(crate) const APPROVAL_LEN: usize = 128;

const VERSION: u8 = 1;
const USER_AT: usize = 4;
const CODE_AT: usize = 64;
const TICKET_DIGITS: u8 = 32;

/// Packs the approval for a wallet or key with these users, by the factor that the user has.
pub(crate) fn of_user(
    session: &Session,
    (user, users): (Option<&str>, &[String]),
    code: &str,
) -> Result<Zeroizing<[u8; APPROVAL_LEN]>, CommandError> {
    let named = user.or(match users {
        [only] => Some(only),
        _ => None,
    });
    let found = named.map(|name| kind::objects::<user::Record>(session, Some(name))).transpose()?;
    let factor = match found.as_deref() {
        Some([object, ..]) => {
            let number = v::CKA_COUNTERSIGN_FACTOR;
            Attributes::read(session, *object, &[attributes::kind(number)], Act::Read)?.number(number)
        }
        _ => None,
    };
    // An earlier release has nothing but TOTP. For a user who does not exist every kind is wrong.
    let factor = factor.and_then(|number| u8::try_from(number).ok()).unwrap_or(FactorKind::Totp as u8);
    pack(factor, user.unwrap_or_default(), code)
}

/// Packs the number of a factor, a user's name (empty for the only user of the wallet) and a code into one record.
fn pack(factor: u8, user: &str, code: &str) -> Result<Zeroizing<[u8; APPROVAL_LEN]>, CommandError> {
    let code_len = check_code(code)?;
    let user_len = u8::try_from(user.len()).ok().filter(|len| usize::from(*len) <= USER_NAME_MAX);
    let user_len = user_len.ok_or_else(|| {
        CommandError::new(
            format!("the user's name is longer than {USER_NAME_MAX} bytes"),
            "shorten the name in --user",
        )
    })?;
    let mut record = Zeroizing::new([0; APPROVAL_LEN]);
    record[0] = VERSION;
    record[1] = factor;
    record[2] = user_len;
    record[3] = code_len;
    record[USER_AT..USER_AT + user.len()].copy_from_slice(user.as_bytes());
    record[CODE_AT..CODE_AT + code.len()].copy_from_slice(code.as_bytes());
    Ok(record)
}

/// Packs a ticket, which has no user, into one record.
pub(crate) fn pack_ticket(ticket: &TicketId) -> Zeroizing<[u8; APPROVAL_LEN]> {
    let digits = HEXLOWER.encode(ticket);
    let mut record = Zeroizing::new([0; APPROVAL_LEN]);
    record[0] = VERSION;
    record[1] = FactorKind::Ticket as u8;
    record[3] = TICKET_DIGITS;
    record[CODE_AT..CODE_AT + digits.len()].copy_from_slice(digits.as_bytes());
    record
}

/// Checks that a code has 6 to 8 ASCII digits, and returns their number. Anything else is a slip of the
/// keyboard, found before anything is spent.
pub(crate) fn check_code(code: &str) -> Result<u8, CommandError> {
    match u8::try_from(code.len()) {
        Ok(digits @ 6..=8) if code.bytes().all(|b| b.is_ascii_digit()) => Ok(digits),
        _ => Err(CommandError::new(
            "this is not a code: a code has 6 to 8 digits and no blanks; nothing was spent",
            "read the code from the authenticator again, and type only its digits",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_headers() {
        let record = pack(3, "alice", "123456").expect("well formed");
        assert_eq!(record[..4], [1, 3, 5, 6]);
        assert_eq!(&record[4..9], b"alice");
        assert!(record[9..64].iter().all(|b| *b == 0));
        assert_eq!(&record[64..70], b"123456");
        assert!(record[70..].iter().all(|b| *b == 0));
    }

    #[test]
    fn a_ticket_has_the_headers_layout_and_no_user() {
        let record = pack_ticket(&[0xa5; 16]);
        assert_eq!(record[..4], [1, 2, 0, 32]);
        assert!(record[4..64].iter().all(|b| *b == 0));
        assert_eq!(record[64..96], *b"a5".repeat(16));
        assert!(record[96..].iter().all(|b| *b == 0));
    }

    #[test]
    fn no_name_means_the_only_user() {
        let record = pack(1, "", "12345678").expect("well formed");
        assert_eq!(record[..4], [1, 1, 0, 8]);
    }

    #[test]
    fn the_longest_name_fits_and_a_longer_does_not() {
        let record = pack(1, &"x".repeat(60), "123456").expect("well formed");
        assert_eq!(record[2], 60);
        assert_eq!(record[63], b'x');
        assert!(pack(1, &"x".repeat(61), "123456").is_err());
        assert!(pack(1, &"x".repeat(300), "123456").is_err());
    }

    #[test]
    fn only_digits_are_a_code() {
        for bad in ["", "12345", "123456789", "123 456", "+12345", "12345a", "１２３４５６"] {
            assert!(pack(1, "alice", bad).is_err(), "{bad:?}");
        }
    }
}
