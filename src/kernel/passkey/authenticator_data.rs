//! The authenticator data: what the authenticator itself says (section 6.1).
//!
//! ```text
//! 32 bytes   SHA-256 of the relying party's id
//!  1 byte    flags
//!  4 bytes   the counter, big-endian
//!            of a registration: the attested credential (AT)
//!            extensions (ED)
//! ```
//!
//! Decided here where the specification leaves it to the relying party:
//! - An assertion with an attested credential is refused: no authenticator writes one.
//! - Extensions are never asked for. If there are some unasked, they are signed, and nothing reads them. Bytes that no flag announces are
//!   refused, and so is a flag without bytes.
//! - The flags whose meaning is reserved say nothing.

use super::{CredentialId, MAX_AUTHENTICATOR_DATA_LEN, PasskeyError, PublicKey, RelyingParty};

const FIXED_LEN: usize = 37;
const AAGUID_LEN: usize = 16;

const USER_PRESENT: u8 = 1;
const USER_VERIFIED: u8 = 1 << 2;
const BACKUP_ELIGIBLE: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const ATTESTED: u8 = 1 << 6;
const EXTENSIONS: u8 = 1 << 7;

/// What the boundary keeps of it.
pub(super) struct AuthenticatorData {
    /// Whether the passkey may be kept on several devices.
    pub(super) is_shared: bool,
    /// How often the passkey has signed, or zero if the authenticator does not count.
    pub(super) counter: u32,
}

/// That of an assertion.
pub(super) fn check_assertion(bytes: &[u8], party: &RelyingParty) -> Result<AuthenticatorData, PasskeyError> {
    let (flags, data, rest) = check_fixed(bytes, party)?;
    if flags & ATTESTED != 0 {
        return Err(PasskeyError::AuthenticatorData);
    }
    check_extensions(flags, rest)?;
    Ok(data)
}

/// That of a registration of this credential.
pub(super) fn check_registration(
    bytes: &[u8],
    party: &RelyingParty,
    id: &CredentialId,
    key: &PublicKey,
) -> Result<AuthenticatorData, PasskeyError> {
    let (flags, data, rest) = check_fixed(bytes, party)?;
    let id_len = u16::try_from(id.as_bytes().len()).map_err(|_| PasskeyError::CredentialId)?;
    let credential = [&id_len.to_be_bytes(), id.as_bytes(), &key.to_cose()].concat();
    // The AAGUID names a model. Without an attestation that is hearsay.
    let rest = rest.get(AAGUID_LEN..).and_then(|rest| rest.strip_prefix(credential.as_slice()));
    let rest = rest.filter(|_| flags & ATTESTED != 0).ok_or(PasskeyError::AuthenticatorData)?;
    check_extensions(flags, rest)?;
    Ok(data)
}

/// The part that both have, the flags, and what follows.
fn check_fixed<'a>(
    bytes: &'a [u8],
    party: &RelyingParty,
) -> Result<(u8, AuthenticatorData, &'a [u8]), PasskeyError> {
    if bytes.len() > MAX_AUTHENTICATOR_DATA_LEN {
        return Err(PasskeyError::AuthenticatorData);
    }
    let (fixed, rest) = bytes.split_first_chunk::<FIXED_LEN>().ok_or(PasskeyError::AuthenticatorData)?;
    let [id_hash @ .., flags, c3, c2, c1, c0] = fixed;
    if *id_hash != party.id_hash() {
        return Err(PasskeyError::RelyingParty(party.id().into()));
    }
    let has = |flag: u8| flags & flag != 0;
    if !has(USER_PRESENT) {
        return Err(PasskeyError::Absent);
    }
    if !has(USER_VERIFIED) {
        return Err(PasskeyError::Unverified);
    }
    if has(BACKED_UP) && !has(BACKUP_ELIGIBLE) {
        return Err(PasskeyError::Backup);
    }
    let counter = u32::from_be_bytes([*c3, *c2, *c1, *c0]);
    Ok((*flags, AuthenticatorData { is_shared: has(BACKUP_ELIGIBLE), counter }, rest))
}

/// Whether there is something exactly if the flag says so.
fn check_extensions(flags: u8, rest: &[u8]) -> Result<(), PasskeyError> {
    if (flags & EXTENSIONS != 0) == rest.is_empty() { Err(PasskeyError::AuthenticatorData) } else { Ok(()) }
}
