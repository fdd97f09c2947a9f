//! The ticket as a proof: the number of a transaction that users approved elsewhere ([`crate::consent`]).
//!
//! Whoever brings it proves nothing about themselves. What counts is the record that it names.

use data_encoding::HEXLOWER_PERMISSIVE;

/// Names a ticket: random, 128 bits.
pub type TicketId = [u8; 16];

/// Bytes that are no ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a ticket is 32 hexadecimal digits and nothing else, and no user's name comes with it")]
pub struct NotATicket;

/// Accepts exactly 32 hexadecimal digits.
pub(super) fn parse(bytes: &[u8]) -> Result<TicketId, NotATicket> {
    HEXLOWER_PERMISSIVE.decode(bytes).ok().and_then(|ticket| ticket.try_into().ok()).ok_or(NotATicket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_thirty_two_hexadecimal_digits() {
        let digits = b"00112233445566778899aabbccddeeff";
        let ticket =
            [0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
        assert_eq!(parse(digits), Ok(ticket));
        assert_eq!(parse(&digits.to_ascii_uppercase()), Ok(ticket));
        for other in [
            &b""[..],
            &digits[1..],
            &digits[2..],
            b"#0112233445566778899aabbccddeeff",
            b"00112233445566778899aabbccddeef ",
        ] {
            assert_eq!(parse(other), Err(NotATicket));
        }
        assert_eq!(parse(&[&digits[..], b"00"].concat()), Err(NotATicket));
    }
}
