//! `countersign act veto`: a word that ends a proposal, of an officer or of a user of the wallet.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use countersign::kernel::proposal::veto_text;
use countersign::paths::with_suffix;
use countersign::pkcs11::vendor as v;
use cryptoki::session::Session;
use serde_json::json;

use super::file::ActFile;
use super::proposed::{Proposed, explained};
use super::sign::decrypt_after_showing;
use super::submit::{is_refused, not_proposed, read_signature, report};
use crate::Global;
use crate::attributes::text;
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::module::Module;
use crate::names;
use crate::new_file::NewFile;
use crate::output::Report;
use crate::secret::{Ask, CODE, CodeFile, UserPin};

/// Veto an act, as an officer or as a user of the wallet.
///
/// One veto ends an act for ever, until it is carried out. An officer's is a signature of a short text of its own, which names the act: no
/// signature of an act is a veto, and none of a veto is one of the act. It needs no PIN. A user's is a code, and needs the user PIN.
#[derive(Args)]
#[command(group = ArgGroup::new("who").required(true).args(["secret_key", "signature", "user"]))]
pub(crate) struct Veto {
    /// The file of the act
    file: PathBuf,
    /// Your encrypted secret key, as an officer
    #[arg(long, value_name = "FILE")]
    secret_key: Option<PathBuf>,
    /// Read the password from this file (else COUNTERSIGN_OFFICER_PASSWORD, else a prompt)
    #[arg(long, value_name = "FILE", requires = "secret_key")]
    password_file: Option<PathBuf>,
    /// Write the text of the veto and its signature beside the file, and send nothing
    #[arg(long, requires = "secret_key")]
    sign_only: bool,
    /// Send a veto that an officer signed elsewhere
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// Veto as this user, with a code
    #[arg(long, value_name = "NAME", value_parser = names::user_name)]
    user: Option<String>,
    #[command(flatten)]
    code: CodeFile,
    #[command(flatten)]
    pin: UserPin,
}

const SUFFIX: &str = ".veto";

impl Veto {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let act = ActFile::read(&self.file)?;
        if let Some(user) = &self.user {
            let module = Module::open(global)?;
            let session = module.user_session(&self.pin, Ask::OnStdin)?;
            let there = Proposed::of(&session, &act.text)?.ok_or_else(not_proposed)?;
            let code = CODE.obtain(self.code.code_file.as_deref(), Ask::OnStdin)?;
            let value = zeroize::Zeroizing::new(format!("{user}:{}", code.as_str()));
            session
                .update_attributes(there.object, &[text(v::CKA_COUNTERSIGN_ACT_VETO_CODE, &value)])
                .during(Act::ConfirmUser(user))
                .map_err(|error| explained(&session, error))?;
            return report(&session, &act);
        }
        let signature = match &self.secret_key {
            Some(key) if self.sign_only => return self.sign_only(&act, key),
            Some(key) => self.sign(&act, key)?.2,
            None => read_signature(self.signature.as_deref().unwrap_or(Path::new("")))?,
        };
        let module = Module::open(global)?;
        let session = module.public_session()?;
        send(&session, &act, &signature)?;
        report(&session, &act)
    }

    /// The key's officer and id, the text of the veto, and its signature.
    fn sign(
        &self,
        act: &ActFile,
        key: &Path,
    ) -> Result<(crate::officer::KeyPair, String, String), CommandError> {
        let text = veto_text(&act.act).map_err(|error| {
            CommandError::new(error.to_string(), "name the file of an act, as the boundary wrote it")
        })?;
        let pair = decrypt_after_showing(key, self.password_file.as_deref(), "a veto against this act", act)?;
        let signature = pair.sign(text.as_bytes(), &act.comment("veto"))?;
        Ok((pair, text, signature))
    }

    fn sign_only(&self, act: &ActFile, key: &Path) -> Result<Report, CommandError> {
        let (pair, text, signature) = self.sign(act, key)?;
        let (text_file, path) = (with_suffix(act.path(), SUFFIX), act.signature_file(SUFFIX, &pair));
        let file = NewFile::create("signature", &path, 0o644)?;
        write_text(&text_file, &text)?;
        file.commit(signature.as_bytes())?;
        let told = format!(
            "{} is vetoed by {}.\nThe veto is {}, its signature is {}.\n",
            act.path().display(),
            pair.officer,
            text_file.display(),
            path.display()
        );
        let json = json!({
            "act": act.to_json(),
            "key_id": pair.officer.id().to_string(),
            "public_key": pair.officer.line(),
            "veto_file": text_file.display().to_string(),
            "signature_file": path.display().to_string(),
        });
        Ok(Report::new(told, json).note(format!(
            "nothing has ended yet; next: countersign act veto {} --signature {}",
            act.path().display(),
            path.display()
        )))
    }
}

fn send(session: &Session, act: &ActFile, signature: &str) -> Result<(), CommandError> {
    let there = Proposed::of(session, &act.text)?.ok_or_else(not_proposed)?;
    session
        .update_attributes(there.object, &[text(v::CKA_COUNTERSIGN_ACT_VETO, signature)])
        .during(Act::Officers)
        .map_err(|error| {
            if !is_refused(session, &error, v::CS_ACT_REFUSED_SIGNATURE) {
                return explained(session, error);
            }
            let file = act.path().display();
            CommandError {
                what: "the veto was refused: no officer signed the text of this act's veto".into(),
                next: format!(
                    "let an officer sign that text, and not the act: countersign act veto {file} --sign-only --secret-key FILE"
                ),
                ..error
            }
        })
}

/// Each officer who vetoes on this machine signs the same text.
fn write_text(path: &Path, text: &str) -> Result<(), CommandError> {
    match fs::read(path) {
        Ok(there) if there == text.as_bytes() => Ok(()),
        Err(reason) if reason.kind() != ErrorKind::NotFound => Err(CommandError::new(
            format!("cannot read the veto {}: {reason}; nothing was signed", path.display()),
            "move that file away",
        )),
        _ => NewFile::create("veto", path, 0o644)?.commit(text.as_bytes()),
    }
}
