//! `countersign act submit`, `act propose`, `act list` and `act withdraw`: acts at the boundary.

use std::path::{Path, PathBuf};

use clap::Args;
use countersign::pkcs11::vendor as v;
use cryptoki::object::Attribute;
use cryptoki::session::Session;
use serde_json::json;

use super::file::{ActFile, signatures_beside};
use super::proposed::{Proposed, class, explained};
use crate::Global;
use crate::attributes::{text, truth};
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::module::Module;
use crate::output::{Report, table};
use crate::secret::SoPin;

/// Bring an act with the officers' signatures to the boundary, and carry it out as soon as it is due.
///
/// It needs no PIN: the signatures are the right. The command takes the signatures beside the file (FILE.*minisig), or those that you name.
/// Run it again with further signatures, and once more when the delay is over.
#[derive(Args)]
pub(crate) struct Submit {
    /// The file of the act
    file: PathBuf,
    /// A signature; repeat for several [default: all beside the file]
    #[arg(long = "signature", value_name = "FILE")]
    signatures: Vec<PathBuf>,
}

/// Propose an act as the administrator, before any officer has signed it.
#[derive(Args)]
pub(crate) struct Propose {
    /// The file of the act
    file: PathBuf,
    #[command(flatten)]
    pin: SoPin,
}

/// List the acts that were proposed, and what each still waits for. It needs no PIN.
#[derive(Args)]
pub(crate) struct List {}

/// Take back an act that no officer has signed, as the administrator.
#[derive(Args)]
pub(crate) struct Withdraw {
    /// The file of the act
    file: PathBuf,
    #[command(flatten)]
    pin: SoPin,
}

impl Submit {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let act = ActFile::read(&self.file)?;
        let files =
            if self.signatures.is_empty() { signatures_beside(&self.file)? } else { self.signatures.clone() };
        let signatures = files.iter().map(|file| read_signature(file)).collect::<Result<Vec<_>, _>>()?;
        let module = Module::open(global)?;
        let session = module.public_session()?;
        if Proposed::of(&session, &act.text)?.is_none() {
            bring(&session, &act, &signatures)?;
        }
        for signature in &signatures {
            let Some(there) = Proposed::of(&session, &act.text)?.filter(Proposed::is_open) else { break };
            match session
                .update_attributes(there.object, &[text(v::CKA_COUNTERSIGN_ACT_SIGNATURE, signature)])
                .during(Act::Officers)
            {
                Err(error) if is_refused(&session, &error, v::CS_ACT_REFUSED_AGAIN) => {}
                done => done.map_err(|error| explained(&session, error))?,
            }
        }
        let there = Proposed::of(&session, &act.text)?.ok_or_else(|| {
            CommandError::new(
                "the act has no signature and was not proposed",
                "put an officer's signature beside the file, or let the SO propose it: countersign act propose",
            )
        })?;
        if there.is_due() {
            let carry_out = [truth(v::CKA_COUNTERSIGN_ACT_CARRY_OUT, true)];
            session
                .update_attributes(there.object, &carry_out)
                .during(Act::Officers)
                .map_err(|error| explained(&session, error))?;
        }
        report(&session, &act)
    }
}

impl Propose {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let act = ActFile::read(&self.file)?;
        let module = Module::open(global)?;
        let session = module.so_session(&self.pin)?;
        propose(&session, &act, None)?;
        report(&session, &act)
    }
}

impl List {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.open_session()?;
        let all = Proposed::all(&session)?;
        let rows: Vec<Vec<String>> = all.iter().map(Proposed::row).collect();
        let text = table(&["NONCE", "DO", "STATE", "EXPIRES"], &rows);
        Ok(Report::new(text, json!({ "acts": all.iter().map(Proposed::to_json).collect::<Vec<_>>() })))
    }
}

impl Withdraw {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let act = ActFile::read(&self.file)?;
        let module = Module::open(global)?;
        let session = module.so_session(&self.pin)?;
        let there = Proposed::of(&session, &act.text)?.ok_or_else(not_proposed)?;
        session
            .destroy_object(there.object)
            .during(Act::Officers)
            .map_err(|error| explained(&session, error))?;
        Ok(Report::new("The act is withdrawn.\n", json!({ "act": act.to_json(), "withdrawn": true })))
    }
}

/// Proposes the act of a file.
fn propose(session: &Session, act: &ActFile, signature: Option<&str>) -> Result<(), CommandError> {
    let mut template = vec![class(), Attribute::Token(true), Attribute::Value(act.text.clone().into_bytes())];
    template.extend(signature.map(|signature| text(v::CKA_COUNTERSIGN_ACT_SIGNATURE, signature)));
    session
        .create_object(&template)
        .during(Act::Officers)
        .map(drop)
        .map_err(|error| explained(session, error))
}

/// Proposes the act of a file by the first signature whose officer has room for it.
fn bring(session: &Session, act: &ActFile, signatures: &[String]) -> Result<(), CommandError> {
    let mut done = Ok(());
    for signature in signatures {
        done = propose(session, act, Some(signature));
        match &done {
            Err(error) if is_refused(session, error, v::CS_ACT_REFUSED_ROOM) => {}
            _ => break,
        }
    }
    done
}

/// What became of it.
pub(super) fn report(session: &Session, act: &ActFile) -> Result<Report, CommandError> {
    let there = Proposed::of(session, &act.text)?.ok_or_else(not_proposed)?;
    let text = format!("The act {}.\n", there.standing());
    Ok(Report::new(text, json!({ "proposal": there.to_json() })))
}

pub(super) fn not_proposed() -> CommandError {
    CommandError::new("this act was not proposed", "\"countersign act list\" lists those that were")
}

pub(super) fn read_signature(path: &Path) -> Result<String, CommandError> {
    std::fs::read_to_string(path).map_err(|reason| {
        CommandError::new(
            format!("cannot read the signature {}: {reason}", path.display()),
            "name the .minisig file of an officer",
        )
    })
}

/// Whether it was refused for this reason.
fn is_refused(session: &Session, error: &CommandError, reason: u64) -> bool {
    let number = session.get_session_info().map(|info| info.device_error());
    error.is("CKR_COUNTERSIGN_ACT_REFUSED") && number.is_ok_and(|number| number == reason)
}
