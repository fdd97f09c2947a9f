//! `countersign init`: `C_InitToken`, then the SO sets the user PIN with `C_InitPIN`.

use std::path::PathBuf;

use clap::Args;
use cryptoki::types::AuthPin;
use serde_json::json;

use crate::Global;
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::module::Module;
use crate::names;
use crate::officers;
use crate::officers::council::CouncilOptions;
use crate::output::Report;
use crate::secret::{Ask, HEIR, Origin, SO_PIN, Secret, USER_PIN};

/// Initialise the token: its label, the SO PIN and the user PIN. Also set the SO PIN after it was lost.
///
/// The SO administers users and wallets and never signs. The user role is the backend's: it signs, with a code from one of the
/// wallet's users. A token is initialised once, and never wiped. If the command was interrupted after it set the SO PIN, run it
/// again to set the user PIN. With --officer, officers decide from the beginning what lets coins move more easily.
///
/// Once officers have declared the SO PIN lost, the command asks for the secret on which they agreed, which becomes the SO PIN, and changes
/// nothing else.
#[derive(Args)]
pub(crate) struct Init {
    /// The token's label, 1 to 32 bytes
    #[arg(long, value_parser = names::token_label)]
    label: String,
    /// Read the SO PIN from this file (else COUNTERSIGN_SO_PIN, else a prompt)
    #[arg(long, value_name = "FILE")]
    so_pin_file: Option<PathBuf>,
    /// Read the user PIN from this file (else COUNTERSIGN_USER_PIN, else a prompt)
    #[arg(long, value_name = "FILE")]
    user_pin_file: Option<PathBuf>,
    #[command(flatten)]
    council: CouncilOptions,
}

impl Init {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let council = self.council.council()?;
        let module = Module::open(global)?;
        let token = module.token()?;
        if token.so_pin_to_be_changed() {
            return self.inherit(&module, token.label(), council.is_some());
        }
        let so_pin = match (token.token_initialized(), token.user_pin_initialized()) {
            (true, true) => return Err(already_initialised(token.label())),
            (true, false) => SO_PIN.obtain(self.so_pin_file.as_deref(), Ask::OnStdin)?,
            (false, _) => SO_PIN.choose(self.so_pin_file.as_deref())?,
        };
        // Both PINs are known, and of an allowed length, before anything changes.
        check_length(&SO_PIN, &so_pin)?;
        let user_pin = USER_PIN.choose(self.user_pin_file.as_deref())?;
        check_length(&USER_PIN, &user_pin)?;
        if !token.token_initialized() {
            module.init_token(&so_pin, &self.label)?;
        }
        let session = module.session_with_so_pin(&so_pin)?;
        // Before the user PIN: if this fails, the command can be run again.
        if let Some(council) = &council
            && officers::read(&session)?.as_ref() != Some(council)
        {
            officers::set(&session, council)?;
        }
        session.init_pin(&AuthPin::from(user_pin.as_str())).during(Act::InitUserPin)?;
        drop(session);
        let token = module.token()?;
        Ok(Report::new(
            format!(
                "Token {} is initialised. The SO PIN and the user PIN are set{}.\n",
                names::printable(token.label()),
                if council.is_some() { ", and officers decide what loosens" } else { "" }
            ),
            json!({
                "token": { "label": token.label(), "serial": token.serial_number() },
                "council": council.as_ref().map(officers::to_json),
            }),
        )
        .note("next: countersign user add NAME"))
    }
}

impl Init {
    /// Sets the SO PIN after officers declared it lost.
    fn inherit(&self, module: &Module, label: &str, with_officers: bool) -> Result<Report, CommandError> {
        if self.label != label {
            return Err(CommandError::new(
                format!("the token is {}, and its SO PIN was declared lost", names::printable(label)),
                "give its own label with --label to set the next SO PIN",
            ));
        }
        if with_officers {
            return Err(CommandError::new(
                "the token has officers already, who declared the SO PIN lost",
                "leave the options of the officers out",
            ));
        }
        let secret = HEIR.obtain(self.so_pin_file.as_deref(), Ask::OnStdin)?;
        module.inherit_so_pin(&secret, label)?;
        Ok(Report::new(
            format!(
                "The SO PIN of token {} is set: it is the secret on which the officers agreed.\n",
                names::printable(label)
            ),
            json!({ "token": { "label": label, "serial": module.token()?.serial_number() }, "so_pin_set": true }),
        )
        .note("next: keep it like any SO PIN, or change it with C_SetPIN"))
    }
}

fn already_initialised(label: &str) -> CommandError {
    let what = format!("the token is already initialised, as {label}, and Countersign never wipes a token");
    let next = "use this token; for a new one, configure an empty store and a fresh backing token";
    CommandError { rv: Some("CKR_TOKEN_WRITE_PROTECTED".into()), ..CommandError::new(what, next) }
}

fn check_length(origin: &Origin, pin: &Secret) -> Result<(), CommandError> {
    if (4..=255).contains(&pin.len()) {
        return Ok(());
    }
    Err(CommandError::new(
        format!("the {} is too short or too long; nothing was changed", origin.name),
        "choose a PIN of 4 to 255 bytes",
    ))
}
