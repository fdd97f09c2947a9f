//! `countersign proposal approve` and `countersign proposal refuse`: what a user says to a proposed transaction.
//!
//! 1. The user's statement is shown in full before a code is asked for or read.
//! 2. A code is sent only for a statement that this program has read as one for this user and this ticket.
//!
//! A code that is given here passes the backend's machine. It approves one statement and nothing else, but a backend that was taken over
//! may show another statement, or spend the code elsewhere.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use countersign::pkcs11::vendor as v;
use serde_json::json;
use zeroize::Zeroizing;

use super::Ticket;
use super::waiting::{Asked, Waiting, explained};
use crate::Global;
use crate::approval::check_code;
use crate::attributes::text;
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::module::Module;
use crate::names::{self, printable, quoted};
use crate::output::Report;
use crate::secret::{Ask, CODE, CodeFile, UserPin};

/// Approve a proposed transaction as one of the users who are asked, with a code.
///
/// The command shows that user's statement in full before it asks for the code: who is paid, how much, and the fee. The code is spent on
/// this statement and approves nothing else.
#[derive(Args)]
pub(crate) struct Approve {
    #[command(flatten)]
    word: Word,
}

/// Refuse a proposed transaction as one of the users who are asked, with a code. That ends it for good.
///
/// The command shows that user's statement in full before it asks for the code. One refusal is enough, even after all others have approved.
#[derive(Args)]
pub(crate) struct Refuse {
    #[command(flatten)]
    word: Word,
}

/// What both verbs take.
#[derive(Args)]
struct Word {
    #[command(flatten)]
    named: Ticket,
    /// The user whose word and code this is
    #[arg(long, value_name = "NAME", value_parser = names::user_name)]
    user: String,
    #[command(flatten)]
    code: CodeFile,
    /// Read the signature of the user's device from this file, in base64 (BIP 137, or BIP 322 simple), and ask for no code. "countersign
    /// proposal show" has the lines to sign
    #[arg(long, value_name = "FILE", conflicts_with = "code_file")]
    signature_file: Option<PathBuf>,
    #[command(flatten)]
    pin: UserPin,
}

impl Approve {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let kinds = [v::CKA_COUNTERSIGN_CONSENT_APPROVE, v::CKA_COUNTERSIGN_APPROVE_SIGNED];
        let there = self.word.say(global, kinds, "approve")?;
        let (name, ticket) = (printable(&self.word.user), &there.ticket);
        let text = format!("{name} has approved the proposal {ticket}. It {}.\n", there.standing());
        let wallet = quoted(&there.label);
        let note = if there.is_approved() {
            format!("next: countersign sign --wallet {wallet} --in FILE --ticket {ticket}")
        } else {
            format!("next: another user approves: countersign proposal approve {ticket} --user NAME")
        };
        Ok(Report::new(text, json!({ "proposal": there.to_json() })).note(note))
    }
}

impl Refuse {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let kinds = [v::CKA_COUNTERSIGN_CONSENT_REFUSE, v::CKA_COUNTERSIGN_REFUSE_SIGNED];
        let there = self.word.say(global, kinds, "refuse")?;
        let (name, ticket) = (printable(&self.word.user), &there.ticket);
        let text =
            format!("{name} has refused the proposal {ticket}: it is over, and its ticket signs nothing.\n");
        Ok(Report::new(text, json!({ "proposal": there.to_json() })))
    }
}

impl Word {
    /// Shows the statement, takes the code or the device's signature, and sends it as this word.
    fn say(
        &self,
        global: &Global,
        [by_code, by_device]: [u64; 2],
        verb: &str,
    ) -> Result<Waiting, CommandError> {
        let signature = self.signature_file.as_deref().map(read_signature).transpose()?;
        let module = Module::open(global)?;
        let session = module.user_session(&self.pin, Ask::OnStdin)?;
        let there = Waiting::of(&session, &self.named.ticket)?;
        there.check_open()?;
        let asked = self.asked(&there)?;
        if verb == "approve" && asked.has_approved() && signature.is_none() {
            return Err(CommandError::new(
                format!("user {} has approved this proposal already; no code was asked for", self.user),
                format!("\"countersign proposal show {}\" says what it waits for", there.ticket),
            ));
        }
        eprintln!("{} is asked to {verb} this payment:\n\n{}", printable(&self.user), asked.folded());
        let (kind, word) = match signature {
            Some(signature) => (by_device, Zeroizing::new(format!("{}:{signature}", self.user))),
            None => {
                let code = CODE.obtain(self.code.code_file.as_deref(), Ask::OnStdin)?;
                check_code(&code)?;
                (by_code, Zeroizing::new(format!("{}:{}", self.user, code.as_str())))
            }
        };
        session
            .update_attributes(there.object, &[text(kind, &word)])
            .during(Act::Consent(&self.user))
            .map_err(|error| explained(&session, error))?;
        Waiting::of(&session, &self.named.ticket)
    }

    fn asked<'a>(&self, there: &'a Waiting) -> Result<&'a Asked, CommandError> {
        there.asked.iter().find(|asked| asked.name == self.user).ok_or_else(|| {
            CommandError::new(
                format!(
                    "user {} is not asked about the proposal {}; no code was asked for",
                    self.user, there.ticket
                ),
                format!("name one of those who are asked: {}", there.names()),
            )
        })
    }
}

/// The longest signature that is read: more than any that a device gives for one key.
const MAX_SIGNATURE_LEN: usize = 4 * 1024;

/// The base64 in a file, without the line's end.
fn read_signature(path: &Path) -> Result<String, CommandError> {
    let next = "name the file with what the device gave for the line, in base64";
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_SIGNATURE_LEN as u64 + 1).read_to_string(&mut text))
        .map_err(|error| CommandError::new(format!("{} cannot be read: {error}", path.display()), next))?;
    let signature = text.trim();
    if signature.is_empty() || text.len() > MAX_SIGNATURE_LEN || signature.contains(char::is_whitespace) {
        return Err(CommandError::new(
            format!("{} has no signature of a device; nothing was sent", path.display()),
            next,
        ));
    }
    Ok(signature.to_owned())
}
