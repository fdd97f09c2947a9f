//! `countersign act draft`: an act that nobody was refused.

use std::path::{Path, PathBuf};

use clap::Args;
use countersign::kernel::pin::{Heir, MIN_HEIR_LEN};
use countersign::pkcs11::vendor as v;
use countersign::ports::Random;
use countersign::shell::random::SystemRandom;
use cryptoki::object::Attribute;
use data_encoding::{BASE32_NOPAD, HEXLOWER};
use serde_json::json;
use zeroize::Zeroizing;

use super::file::ActFile;
use super::proposed::{class, explained, write_draft};
use crate::Global;
use crate::attributes::text;
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::module::Module;
use crate::new_file::NewFile;
use crate::output::Report;
use crate::secret::{EitherPin, Secret};

/// The act that needs a secret.
const SO_PIN_LOST: &str = "so-pin-lost";
/// Bytes of the secret that sets the next SO PIN, before base 32.
const SECRET_LEN: usize = 20;
const _: () = assert!(SECRET_LEN * 8 / 5 >= MIN_HEIR_LEN, "the boundary takes it");

/// Have the boundary put an act into words that nobody was refused.
///
/// WHAT is "freeze all", "freeze wallet LABEL", "freeze key LABEL", "freeze user NAME" or "so-pin-lost". One officer's signature is
/// enough for a freeze. The command changes nothing: it writes NONCE.act, to sign and to submit. Only a user's freeze needs a PIN, because
/// nobody else may learn who is enrolled.
///
/// For "so-pin-lost", the next administrator runs it. It writes a random secret into the file that --secret-file names, and the secret's
/// digest into the act. Once officers have carried it out, "countersign init" sets the SO PIN with that secret, and with no other.
#[derive(Args)]
pub(crate) struct Draft {
    /// What it is to do
    what: String,
    /// For "so-pin-lost": the new file for the secret that sets the next SO PIN. Keep it to yourself
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    #[command(flatten)]
    pin: EitherPin,
}

impl Draft {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let secret_file = match (self.what.as_str(), &self.secret_file) {
            (SO_PIN_LOST, None) => {
                return Err(CommandError::new(
                    "the next SO PIN needs a secret, so that nobody but its holder can set it",
                    "name a new file for it with --secret-file FILE",
                ));
            }
            (SO_PIN_LOST, Some(path)) => Some(path.as_path()),
            (_, None) => None,
            (_, Some(_)) => {
                return Err(CommandError::new(
                    "only \"so-pin-lost\" has a secret",
                    "leave --secret-file out",
                ));
            }
        };
        let module = Module::open(global)?;
        let what = match secret_file {
            Some(path) => format!("{SO_PIN_LOST} {}", HEXLOWER.encode(&new_heir(&module, path)?.0)),
            None => self.what.clone(),
        };
        let session = if what.starts_with("freeze user ") {
            module.either_session(&self.pin)?
        } else {
            module.public_session()?
        };
        let template = [class(), Attribute::Token(false), text(v::CKA_COUNTERSIGN_ACT_DO, &what)];
        session
            .create_object(&template)
            .during(Act::Draft(&self.what))
            .map_err(|error| explained(&session, error))?;
        let path = write_draft(&session)?;
        let file = ActFile::read(&path)?;
        let note = format!(
            "next: countersign act sign {0} --secret-key FILE, then countersign act submit {0}",
            path.display()
        );
        let secret = secret_file.map_or_else(String::new, |path| {
            format!("The secret that sets the next SO PIN is in {}. Show it to nobody.\n", path.display())
        });
        Ok(Report::new(
            format!("The act is {}.\n{secret}\n{}", path.display(), file.shown()),
            json!({
                "act": file.to_json(),
                "secret_file": secret_file.map(|path| path.display().to_string()),
            }),
        )
        .note(note))
    }
}

/// Makes a secret in a new file, and returns its digest.
fn new_heir(module: &Module, path: &Path) -> Result<Heir, CommandError> {
    let failed = |what: String| CommandError::new(what, "run the command again");
    let file = NewFile::create("secret file", path, 0o600)?;
    let mut bytes = Zeroizing::new([0; SECRET_LEN]);
    SystemRandom.fill(&mut bytes[..]).map_err(|error| failed(error.to_string()))?;
    let secret = Secret::new(BASE32_NOPAD.encode(&bytes[..]));
    let token = module.token()?;
    let heir = HEXLOWER
        .decode(token.serial_number().as_bytes())
        .ok()
        .and_then(|serial| serial.try_into().ok())
        .and_then(|serial| Heir::of(&serial, secret.as_bytes()))
        .ok_or_else(|| failed("the token's serial number is not one of Countersign".into()))?;
    file.commit(secret.as_bytes())?;
    Ok(heir)
}
