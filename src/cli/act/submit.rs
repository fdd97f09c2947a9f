//! `countersign act submit`, `act propose`, `act list` and `act withdraw`: acts at the boundary.

use std::path::{Path, PathBuf};

use clap::Args;
use countersign::kernel::motion::Motion;
use countersign::kernel::officer::MAX_SIGNATURE_LEN;
use countersign::pkcs11::vendor as v;
use countersign::shell::file;
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
use crate::output::Report;
use crate::secret::SoPin;

/// Bring an act with the officers' signatures to the boundary, and carry it out as soon as it is due.
///
/// It needs no PIN: the signatures are the right. The command takes the signatures beside the file (FILE.*minisig), or those that you name.
/// Run it again with further signatures, and once more when the delay is over. It skips a file whose signature the boundary refuses, names
/// it, and sends the others.
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
        let module = Module::open(global)?;
        let session = module.public_session()?;
        let before = Proposed::of(&session, &act.text)?;
        if let Some(over) = before.as_ref().and_then(Proposed::over) {
            return Err(over);
        }
        if before.is_some_and(|before| before.was_carried_out()) {
            return earlier(&session, &act);
        }
        let sent = send(&session, &act, &files)?;
        let Some(there) = Proposed::of(&session, &act.text)? else { return Err(sent.none_counts()) };
        if there.lacks_signatures() && sent.counted == 0 && !sent.skipped.is_empty() {
            return Err(sent.none_counts());
        }
        if there.is_due() {
            let carry_out = [truth(v::CKA_COUNTERSIGN_ACT_CARRY_OUT, true)];
            session
                .update_attributes(there.object, &carry_out)
                .during(Act::Officers)
                .map_err(|error| explained(&session, error))?;
        }
        let there = Proposed::of(&session, &act.text)?.ok_or_else(not_proposed)?;
        // Whatever ended it meanwhile.
        if let Some(over) = there.over() {
            return Err(over);
        }
        let skipped = sent.skipped.iter().map(
            |skipped| json!({ "file": skipped.file.display().to_string(), "reason": skipped.error.what }),
        );
        let json = json!({ "proposal": there.to_json(), "skipped": skipped.collect::<Vec<_>>() });
        Ok(Report::new(format!("The act {}.\n", there.standing()), json).note(sent.note()))
    }
}

/// An act that was carried out before this command: nothing is done a second time.
fn earlier(session: &Session, act: &ActFile) -> Result<Report, CommandError> {
    let there = Proposed::of(session, &act.text)?.ok_or_else(not_proposed)?;
    let mut text = "The act was carried out earlier. Nothing was done now.\n".to_owned();
    if matches!(act.act.motion, Motion::Freeze { .. }) {
        text += "What it froze may have been thawed since. To freeze it again, make a new act: countersign act draft\n";
    }
    Ok(Report::new(text, json!({ "proposal": there.to_json(), "carried_out_earlier": true, "skipped": [] }))
        .note("\"countersign audit export\" shows when"))
}

/// The files with signatures, once they were sent.
#[derive(Default)]
struct Sent {
    /// How many the boundary has accepted, now or before.
    counted: usize,
    skipped: Vec<Skipped>,
}

/// A file without a signature that counts.
struct Skipped {
    file: PathBuf,
    error: CommandError,
}

impl Sent {
    /// Sends one more. False: its officer has no room to bring the act.
    fn add(&mut self, session: &Session, act: &ActFile, file: &Path) -> Result<bool, CommandError> {
        match read_signature(file).and_then(|signature| send_one(session, act, &signature)) {
            Ok(()) => self.counted += 1,
            Err(error) if error.rv.is_none() || is_of_the_signature(session, &error) => {
                let has_room = !is_refused(session, &error, v::CS_ACT_REFUSED_ROOM);
                self.skipped.push(Skipped { file: file.into(), error });
                return Ok(has_room);
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn note(&self) -> String {
        let line = |Skipped { file, error }: &Skipped| format!("skipped: {}: {}", file.display(), error.what);
        self.skipped.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The failure if none of them counts.
    fn none_counts(mut self) -> CommandError {
        match self.skipped.len() {
            0 => CommandError::new(
                "the act has no signature and was not proposed",
                "put an officer's signature beside the file, or let the SO propose it: countersign act propose",
            ),
            1 => {
                let Skipped { file, error } = self.skipped.remove(0);
                CommandError { what: format!("{}: {}", file.display(), error.what), ..error }
            }
            number => {
                let told = self.note();
                // A refusal of the module's says more than a file that is no signature, in whatever order they were tried.
                let refused = self.skipped.iter().rposition(|skipped| skipped.error.rv.is_some());
                let last = self.skipped.remove(refused.unwrap_or(number - 1)).error;
                CommandError { what: format!("none of the {number} signatures was accepted\n{told}"), ..last }
            }
        }
    }
}

/// Sends the signatures one after the other, the first one with the act if it was not proposed yet. Anybody can mail a file that is no
/// signature, or one by somebody who is no officer, so such a file keeps no other one from counting.
fn send(session: &Session, act: &ActFile, files: &[PathBuf]) -> Result<Sent, CommandError> {
    let mut sent = Sent::default();
    let mut without_room = vec![];
    for file in files {
        if !sent.add(session, act, file)? {
            without_room.push(file);
        }
    }
    // An officer without room for an act can sign what another one has brought.
    for file in without_room {
        if sent.counted > 0 {
            sent.skipped.retain(|skipped| skipped.file != *file);
            sent.add(session, act, file)?;
        }
    }
    Ok(sent)
}

fn send_one(session: &Session, act: &ActFile, signature: &str) -> Result<(), CommandError> {
    let Some(there) = Proposed::of(session, &act.text)? else {
        return propose(session, act, Some(signature));
    };
    if !there.is_open() {
        return Ok(());
    }
    match session
        .update_attributes(there.object, &[text(v::CKA_COUNTERSIGN_ACT_SIGNATURE, signature)])
        .during(Act::Officers)
    {
        Err(error) if is_refused(session, &error, v::CS_ACT_REFUSED_AGAIN) => Ok(()),
        done => done.map_err(|error| explained(session, error)),
    }
}

/// Whether another signature of the same act may be accepted nevertheless.
fn is_of_the_signature(session: &Session, error: &CommandError) -> bool {
    // Over the ration of refusals the boundary gives no reason.
    error.is("CKR_FUNCTION_FAILED")
        || error.is("CKR_ATTRIBUTE_VALUE_INVALID")
        || is_refused(session, error, v::CS_ACT_REFUSED_SIGNATURE)
        || is_refused(session, error, v::CS_ACT_REFUSED_ROOM)
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
        let text = match all.as_slice() {
            [] => "No act is proposed.\n".to_owned(),
            all => all.iter().map(Proposed::shown).collect::<Vec<_>>().join("\n"),
        };
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
    let failed = |reason: String| {
        CommandError::new(
            format!("cannot read the signature {}: {reason}", path.display()),
            "name the .minisig file of an officer",
        )
    };
    let bytes = file::read(path, MAX_SIGNATURE_LEN).map_err(|reason| failed(reason.to_string()))?;
    String::from_utf8(bytes).map_err(|_| failed("it is no text".into()))
}

/// Whether it was refused for this reason.
pub(super) fn is_refused(session: &Session, error: &CommandError, reason: u64) -> bool {
    let number = session.get_session_info().map(|info| info.device_error());
    error.is("CKR_COUNTERSIGN_ACT_REFUSED") && number.is_ok_and(|number| number == reason)
}
