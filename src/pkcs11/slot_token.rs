//! Slot and token management (PKCS#11 v3.2 section 5.5).

use cryptoki_sys::*;
use zeroize::Zeroizing;

use super::application::{Application, MAX_SESSIONS, SLOT};
use super::reply::{MechanismInfo, TokenInfo};
use super::rv::{Answer, Rv};
use super::vendor::*;
use crate::admin::Act;
use crate::kernel::pin::Role;
use crate::kernel::state::PinStanding;
use crate::kernel::utc;

/// secp256k1: over a prime field, named by its object identifier, with uncompressed points (section 6.3).
const CURVE: CK_FLAGS = CKF_EC_F_P | CKF_EC_OID | CKF_EC_UNCOMPRESS;

/// The mechanisms, and their uses.
pub(super) const MECHANISMS: [(CK_MECHANISM_TYPE, MechanismInfo); 7] = [
    (
        CKM_COUNTERSIGN_PSBT,
        MechanismInfo { min_key_size: 256, max_key_size: 256, flags: CKF_SIGN | CKF_MESSAGE_SIGN },
    ),
    (
        CKM_COUNTERSIGN_DIGEST,
        MechanismInfo {
            min_key_size: 256,
            max_key_size: 256,
            flags: CKF_SIGN | CKF_MESSAGE_SIGN | CKF_VERIFY | CURVE,
        },
    ),
    (CKM_ECDSA, MechanismInfo { min_key_size: 256, max_key_size: 256, flags: CKF_SIGN | CKF_VERIFY | CURVE }),
    (
        CKM_EC_KEY_PAIR_GEN,
        MechanismInfo { min_key_size: 256, max_key_size: 256, flags: CKF_GENERATE_KEY_PAIR | CURVE },
    ),
    (
        CKM_COUNTERSIGN_TOTP_KEY_GEN,
        MechanismInfo { min_key_size: 160, max_key_size: 160, flags: CKF_GENERATE },
    ),
    (CKM_COUNTERSIGN_TOTP, MechanismInfo { min_key_size: 160, max_key_size: 160, flags: CKF_VERIFY }),
    (
        CKM_COUNTERSIGN_WALLET_KEY_GEN,
        MechanismInfo { min_key_size: 256, max_key_size: 256, flags: CKF_GENERATE_KEY_PAIR },
    ),
];

/// Refuses every slot but the one.
pub(super) fn check_slot(slot: CK_SLOT_ID) -> Answer {
    if slot == SLOT { Ok(()) } else { Err(Rv(CKR_SLOT_ID_INVALID)) }
}

/// `C_GetMechanismInfo`.
pub(super) fn mechanism_info(slot: CK_SLOT_ID, mechanism: CK_MECHANISM_TYPE) -> Answer<MechanismInfo> {
    check_slot(slot)?;
    let found = MECHANISMS.iter().find(|(offered, _)| *offered == mechanism);
    found.map(|(_, info)| *info).ok_or(Rv(CKR_MECHANISM_INVALID))
}

impl Application {
    /// `C_GetTokenInfo`.
    pub(super) fn token_info(&self, slot: CK_SLOT_ID) -> Answer<TokenInfo> {
        check_slot(slot)?;
        let token = self.engine.token(self.peer())?;
        let mut flags = CKF_RNG | CKF_LOGIN_REQUIRED | CKF_CLOCK_ON_TOKEN;
        let (mut label, mut serial) = (String::new(), String::new());
        if let Some(token) = token {
            flags |= CKF_TOKEN_INITIALIZED;
            if token.so_is_lost {
                flags |= CKF_SO_PIN_TO_BE_CHANGED;
            }
            flags |= pin_flags(token.so, [CKF_SO_PIN_COUNT_LOW, CKF_SO_PIN_FINAL_TRY, CKF_SO_PIN_LOCKED]);
            if let Some(user) = token.user {
                flags |= CKF_USER_PIN_INITIALIZED;
                flags |=
                    pin_flags(user, [CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED]);
            }
            label = token.label;
            serial = data_encoding::HEXLOWER.encode(&token.serial);
        }
        let (open, read_write) = self.session_counts();
        Ok(TokenInfo {
            label,
            serial,
            flags,
            max_sessions: MAX_SESSIONS as CK_ULONG,
            sessions: open as CK_ULONG,
            read_write_sessions: read_write as CK_ULONG,
            utc_time: utc::to_digits(self.engine.clock_time()),
        })
    }

    /// `C_InitToken`: works once. An initialised token is never wiped: `CKR_TOKEN_WRITE_PROTECTED`. Where officers declared the SO PIN
    /// lost, the secret on which they agreed becomes the next one.
    pub(super) fn init_token(&self, slot: CK_SLOT_ID, pin: &[u8], label: &[u8; 32]) -> Answer {
        check_slot(slot)?;
        self.check_administrator()?;
        if self.session_counts().0 > 0 {
            return Err(Rv(CKR_SESSION_EXISTS));
        }
        let label = core::str::from_utf8(label).map_err(|_| Rv(CKR_ARGUMENTS_BAD))?.trim_end();
        Ok(self.engine.initialise_for(self.peer(), pin, label)?)
    }

    /// `C_InitPIN`: the security officer sets the backends' PIN: once, and later only if it is locked or was
    /// declared lost. In every state but "R/W SO Functions" the answer is `CKR_USER_NOT_LOGGED_IN` (section
    /// 5.5), so that is checked first.
    pub(super) fn init_pin(&self, session: CK_SESSION_HANDLE, pin: &[u8]) -> Answer {
        self.with_session(session, |session| {
            if self.role() != Some(Role::So) {
                return Err(Rv(CKR_USER_NOT_LOGGED_IN));
            }
            let administration = self.administration(session)?;
            administration.perform(Act::SetUserPin(Zeroizing::new(pin.to_vec()))).map(drop)
        })
    }

    /// `C_SetPIN`: changes the PIN of the role that is logged in, or the user's if nobody is. Administrators
    /// who are not logged in are refused, because they must not be able to try the user's PIN.
    pub(super) fn set_pin(&self, session: CK_SESSION_HANDLE, old: &[u8], new: &[u8]) -> Answer {
        self.with_session(session, |session| {
            if !session.read_write {
                return Err(Rv(CKR_SESSION_READ_ONLY));
            }
            let role = self.role();
            if role.is_none() {
                self.check_backend()?;
            }
            let login = self.engine.change_pin(self.peer(), role.unwrap_or(Role::User), old, new)?;
            self.go_on_as(login);
            Ok(())
        })
    }
}

fn pin_flags(standing: PinStanding, [low, last, locked]: [CK_FLAGS; 3]) -> CK_FLAGS {
    match standing {
        PinStanding::Clean => 0,
        PinStanding::CountLow => low,
        PinStanding::FinalTry => low | last,
        PinStanding::Locked => locked,
    }
}
