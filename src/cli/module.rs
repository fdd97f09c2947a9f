//! The module: finding it, loading it, and sessions with its one token.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use countersign::remote::interface::newest_line as newest_line_of;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Info, Pkcs11};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;

use crate::Global;
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::secret::{Ask, EitherPin, SO_PIN, Secret, SoPin, USER_PIN, UserPin};

/// The module's file, once it is about to be loaded.
static LOADED: OnceLock<PathBuf> = OnceLock::new();

/// The loaded module's log line about the refusal or failure that it has just reported as a number.
pub(crate) fn newest_line() -> Option<String> {
    newest_line_of(LOADED.get()?)
}

/// The loaded and initialised module. Dropping it finalises it; drop its sessions first.
pub(crate) struct Module {
    pkcs11: Pkcs11,
    slot: Slot,
}

impl Module {
    /// Finds, loads and initialises the module.
    pub(crate) fn open(global: &Global) -> Result<Module, CommandError> {
        let path = locate(global)?;
        LOADED.get_or_init(|| path.clone());
        let pkcs11 = Pkcs11::new(&path).during(Act::Open).map_err(|mut error| {
            error.what = format!("{} ({})", error.what, path.display());
            error
        })?;
        pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).during(Act::Open)?;
        let slot = check_manufacturer(&pkcs11, &path).and_then(|()| first_slot(&pkcs11));
        match slot {
            Ok(slot) => Ok(Module { pkcs11, slot }),
            Err(error) => {
                // The first error is the one to report.
                let _ = pkcs11.finalize();
                Err(error)
            }
        }
    }

    /// The module's description of itself.
    pub(crate) fn info(&self) -> Result<Info, CommandError> {
        self.pkcs11.get_library_info().during(Act::Read)
    }

    /// The module's description of its token.
    pub(crate) fn token(&self) -> Result<TokenInfo, CommandError> {
        self.pkcs11.get_token_info(self.slot).during(Act::Read)
    }

    /// Initialises the token. This works once, because a token is never wiped.
    pub(crate) fn init_token(&self, so_pin: &Secret, label: &str) -> Result<(), CommandError> {
        self.pkcs11.init_token(self.slot, &auth_pin(so_pin), label).during(Act::InitToken)
    }

    /// Sets the SO PIN of a token whose SO PIN was declared lost, by the secret on which officers agreed, which becomes that PIN.
    pub(crate) fn inherit_so_pin(&self, secret: &Secret, label: &str) -> Result<(), CommandError> {
        self.pkcs11.init_token(self.slot, &auth_pin(secret), label).during(Act::InheritSoPin)
    }

    /// A session in which nobody is logged in.
    pub(crate) fn open_session(&self) -> Result<Session, CommandError> {
        self.check_initialised()?;
        self.pkcs11.open_ro_session(self.slot).during(Act::Read)
    }

    /// A session in which nobody is logged in, and which can bring what officers signed.
    pub(crate) fn public_session(&self) -> Result<Session, CommandError> {
        self.check_initialised()?;
        self.pkcs11.open_rw_session(self.slot).during(Act::Read)
    }

    /// A session in which the SO is logged in.
    pub(crate) fn so_session(&self, pin: &SoPin) -> Result<Session, CommandError> {
        self.check_initialised()?;
        let pin = SO_PIN.obtain(pin.so_pin_file.as_deref(), Ask::OnStdin)?;
        self.session_with_so_pin(&pin)
    }

    /// A session in which the SO is logged in, with a PIN that is already known.
    pub(crate) fn session_with_so_pin(&self, pin: &Secret) -> Result<Session, CommandError> {
        if self.token()?.so_pin_final_try() {
            eprintln!("warning: another wrong SO PIN makes the next try wait");
        }
        self.session(UserType::So, pin, Act::LoginSo)
    }

    /// A session in which the user is logged in.
    pub(crate) fn user_session(&self, pin: &UserPin, ask: Ask) -> Result<Session, CommandError> {
        self.check_initialised()?;
        let pin = USER_PIN.obtain(pin.user_pin_file.as_deref(), ask)?;
        self.session_with_user_pin(&pin)
    }

    /// A session in the role for which a PIN is given: options take precedence over the environment, and the
    /// user over the SO.
    pub(crate) fn either_session(&self, pin: &EitherPin) -> Result<Session, CommandError> {
        self.check_initialised()?;
        if let Some(pin) = USER_PIN.in_file(pin.user_pin_file.as_deref())? {
            return self.session_with_user_pin(&pin);
        }
        if let Some(pin) = SO_PIN.in_file(pin.so_pin_file.as_deref())? {
            return self.session_with_so_pin(&pin);
        }
        if let Some(pin) = USER_PIN.in_environment()? {
            match self.session_with_user_pin(&pin) {
                // No user can log in by the administrators' door. There the SO PIN means the SO.
                Err(error) if error.is("CKR_ACTION_PROHIBITED") => {}
                answered => return answered,
            }
        }
        if let Some(pin) = SO_PIN.in_environment()? {
            return self.session_with_so_pin(&pin);
        }
        self.session_with_user_pin(&USER_PIN.obtain(None, Ask::OnStdin)?)
    }

    fn session_with_user_pin(&self, pin: &Secret) -> Result<Session, CommandError> {
        let token = self.token()?;
        if !token.user_pin_initialized() {
            return Err(CommandError::new(
                "the token has no user PIN yet",
                "run \"countersign init --label LABEL\" with the SO PIN to set it",
            ));
        }
        if token.user_pin_final_try() {
            eprintln!("warning: this is the last try: another wrong user PIN locks it for this peer");
        }
        self.session(UserType::User, pin, Act::LoginUser)
    }

    fn session(&self, role: UserType, pin: &Secret, act: Act<'_>) -> Result<Session, CommandError> {
        let session = self.pkcs11.open_rw_session(self.slot).during(Act::Read)?;
        session.login(role, Some(&auth_pin(pin))).during(act)?;
        Ok(session)
    }

    fn check_initialised(&self) -> Result<(), CommandError> {
        if self.token()?.token_initialized() {
            return Ok(());
        }
        Err(CommandError::new("the token is not initialised", "run \"countersign init --label LABEL\""))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // At the end of the process. Everything that matters was durable before its call returned.
        let _ = self.pkcs11.clone().finalize();
    }
}

/// The module's file: the named one, or the first that exists in the usual places.
pub(crate) fn locate(global: &Global) -> Result<PathBuf, CommandError> {
    if let Some(path) = &global.module {
        if path.is_file() {
            // A bare file name would be searched for in the system's library folders.
            return std::path::absolute(path).map_err(|reason| {
                CommandError::new(format!("{}: {reason}", path.display()), "name an absolute path")
            });
        }
        return Err(CommandError::new(
            format!("there is no module at {}", path.display()),
            "name libcountersign.so with --module or COUNTERSIGN_MODULE",
        ));
    }
    let places = usual_places(std::env::current_exe().ok().as_deref());
    places.iter().find(|place| place.is_file()).cloned().ok_or_else(|| {
        let list: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        CommandError::new(
            format!("there is no module; looked for {}", list.join(", ")),
            "name libcountersign.so with --module or COUNTERSIGN_MODULE",
        )
    })
}

fn usual_places(program: Option<&Path>) -> Vec<PathBuf> {
    const FILE: &str = "libcountersign.so";
    let folder = program.and_then(Path::parent);
    let beside = folder.map(|folder| folder.join(FILE));
    let in_lib = folder.and_then(Path::parent).map(|prefix| prefix.join("lib").join(FILE));
    beside.into_iter().chain(in_lib).chain([Path::new("/usr/lib/countersign").join(FILE)]).collect()
}

/// A PIN must not be sent to a module that was named by mistake.
fn check_manufacturer(pkcs11: &Pkcs11, path: &Path) -> Result<(), CommandError> {
    let info = pkcs11.get_library_info().during(Act::Read)?;
    if info.manufacturer_id().starts_with("Countersign") {
        return Ok(());
    }
    Err(CommandError::new(
        format!("{} is a module by \"{}\", not Countersign's", path.display(), info.manufacturer_id()),
        "name libcountersign.so with --module or COUNTERSIGN_MODULE",
    ))
}

fn first_slot(pkcs11: &Pkcs11) -> Result<Slot, CommandError> {
    let slots = pkcs11.get_slots_with_token().during(Act::Read)?;
    slots.first().copied().ok_or_else(|| {
        CommandError::new(
            "the module shows no token",
            "check that --module names the libcountersign.so of this version",
        )
    })
}

fn auth_pin(pin: &Secret) -> AuthPin {
    AuthPin::from(pin.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_places() {
        let places = usual_places(Some(Path::new("/opt/cs/bin/countersign")));
        let expected = [
            "/opt/cs/bin/libcountersign.so",
            "/opt/cs/lib/libcountersign.so",
            "/usr/lib/countersign/libcountersign.so",
        ];
        assert_eq!(places, expected.map(PathBuf::from));
        assert_eq!(usual_places(None).len(), 1);
    }
}
