//! Acts at the module: the drafts that refused calls leave, and proposed acts (`CKO_COUNTERSIGN_PROPOSAL`).

use std::path::{Path, PathBuf};

use countersign::kernel::motion::ActText;
use countersign::kernel::utc::to_iso;
use countersign::pkcs11::vendor as v;
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;
use cryptoki_sys::CKA_CLASS;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use crate::attributes::{self, Attributes, kind};
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::new_file::NewFile;
use crate::officers;
use crate::output::details;

/// A proposed act, as the module shows it to everybody.
pub(super) struct Proposed {
    pub(super) object: ObjectHandle,
    pub(super) text: String,
    label: String,
    state: u64,
    delay: u64,
    signed: u64,
    needed: u64,
    expires: u64,
    vetoers: String,
    ended: String,
}

impl Proposed {
    fn read(session: &Session, object: ObjectHandle) -> Result<Proposed, CommandError> {
        let numbers = [
            v::CKA_COUNTERSIGN_ACT_STATE,
            v::CKA_COUNTERSIGN_ACT_DELAY,
            v::CKA_COUNTERSIGN_ACT_SIGNED,
            v::CKA_COUNTERSIGN_ACT_NEEDED,
            v::CKA_COUNTERSIGN_ACT_EXPIRES,
        ];
        let texts = [v::CKA_COUNTERSIGN_ACT_VETOERS, v::CKA_COUNTERSIGN_ACT_ENDED];
        let types: Vec<AttributeType> = numbers
            .iter()
            .chain(&texts)
            .map(|number| kind(*number))
            .chain([AttributeType::Label, AttributeType::Value])
            .collect();
        let shown = Attributes::read(session, object, &types, Act::Read)?;
        let [state, delay, signed, needed, expires] = numbers.map(|number| shown.number(number).unwrap_or(0));
        let [vetoers, ended] = texts.map(|number| shown.text(number));
        Ok(Proposed {
            object,
            text: shown.value_text(),
            label: shown.label(),
            state,
            delay,
            signed,
            needed,
            expires,
            vetoers,
            ended,
        })
    }

    /// All of them.
    pub(super) fn all(session: &Session) -> Result<Vec<Proposed>, CommandError> {
        let found = session.find_objects(&[class(), Attribute::Token(true)]).during(Act::Read)?;
        found.into_iter().map(|object| Proposed::read(session, object)).collect()
    }

    /// The one with this text, if it was proposed.
    pub(super) fn of(session: &Session, act: &str) -> Result<Option<Proposed>, CommandError> {
        let template = [class(), Attribute::Token(true), Attribute::Value(act.into())];
        let found = session.find_objects(&template).during(Act::Read)?;
        found.first().map(|object| Proposed::read(session, *object)).transpose()
    }

    /// Whether nothing is missing any more.
    pub(super) fn is_due(&self) -> bool {
        self.state == v::CS_ACT_DUE
    }

    /// Whether it was carried out.
    pub(super) fn was_carried_out(&self) -> bool {
        self.state == v::CS_ACT_CARRIED_OUT
    }

    /// Whether it still waits for signatures.
    pub(super) fn lacks_signatures(&self) -> bool {
        self.state == v::CS_ACT_UNSIGNED
    }

    /// Why it can never be carried out any more, if that is so.
    pub(super) fn over(&self) -> Option<CommandError> {
        let next = match self.state {
            v::CS_ACT_VETOED => {
                "find out why it was vetoed. It stays so: if it is wanted all the same, ask for the change again, and the boundary writes a new act"
            }
            v::CS_ACT_EXPIRED | v::CS_ACT_VOID => ANEW,
            _ => return None,
        };
        let when = match self.state {
            v::CS_ACT_EXPIRED => format!(" at {}", to_iso(self.expires)),
            _ => String::new(),
        };
        let what = format!("the act {}{when}; nothing was done", self.standing());
        Some(CommandError::new(
            what,
            format!("{next} (countersign audit export shows what became of this one)"),
        ))
    }

    /// Whether further signatures can matter.
    pub(super) fn is_open(&self) -> bool {
        [v::CS_ACT_UNSIGNED, v::CS_ACT_WAITING, v::CS_ACT_DUE].contains(&self.state)
    }

    /// Its state, for a person.
    pub(super) fn standing(&self) -> String {
        match self.state {
            v::CS_ACT_UNSIGNED => format!("has {} of {} signatures", self.signed, self.needed),
            v::CS_ACT_WAITING => {
                format!("waits for {} more minutes in which the boundary runs", self.delay.div_ceil(60))
            }
            v::CS_ACT_DUE => "can be carried out".into(),
            v::CS_ACT_CARRIED_OUT => "was carried out".into(),
            v::CS_ACT_VETOED => format!("was vetoed by {}", self.ended),
            v::CS_ACT_EXPIRED => "has expired".into(),
            v::CS_ACT_VOID => format!("is void: {}", self.ended),
            _ => "is in a state that this program does not know".into(),
        }
    }

    /// A paragraph about it, since what it does and why it ended are too long for a table.
    pub(super) fn shown(&self) -> String {
        details(&[
            ("act", self.nonce()),
            ("do", self.label.clone()),
            ("state", self.standing()),
            ("expires", to_iso(self.expires)),
        ])
    }

    pub(super) fn to_json(&self) -> Value {
        let state = match self.state {
            v::CS_ACT_UNSIGNED => "unsigned",
            v::CS_ACT_WAITING => "waiting",
            v::CS_ACT_DUE => "due",
            v::CS_ACT_CARRIED_OUT => "carried-out",
            v::CS_ACT_VETOED => "vetoed",
            v::CS_ACT_EXPIRED => "expired",
            v::CS_ACT_VOID => "void",
            _ => "unknown",
        };
        json!({
            "nonce": self.nonce(),
            "do": self.label,
            "state": state,
            "signed": self.signed,
            "needed": self.needed,
            "delay_seconds": self.delay,
            "vetoers": self.vetoers.lines().collect::<Vec<_>>(),
            "ended": Some(&self.ended).filter(|ended| !ended.is_empty()),
            "expires": to_iso(self.expires),
            "text": self.text,
        })
    }

    pub(super) fn nonce(&self) -> String {
        ActText::parse(&self.text).map_or_else(|_| "?".into(), |act| HEXLOWER.encode(&act.nonce))
    }
}

/// The class of acts.
pub(super) fn class() -> Attribute {
    attributes::number(CKA_CLASS, v::CKO_COUNTERSIGN_PROPOSAL)
}

/// After a call that officers must sign: writes the act that the module has put into words, and says who signs it.
pub(crate) fn hand_to_officers(session: &Session, mut error: CommandError) -> CommandError {
    if !error.is("CKR_COUNTERSIGN_ACT") {
        return error;
    }
    let council = officers::read(session).ok().flatten();
    let who = council.map_or_else(String::new, |council| {
        format!(" ({} of {} officers)", council.officers().threshold(), council.officers().keys().len())
    });
    match write_draft(session) {
        Ok(path) => {
            error.what = format!(
                "an administrator alone cannot do this, and nothing was changed: officers must sign it{who}; the act is {}",
                path.display()
            );
            error.next = format!(
                "send {0} to the officers, who read and sign it (countersign act sign {0} --secret-key FILE); put their signatures beside it, then: countersign act submit {0}",
                path.display()
            );
            error.act_file = Some(path);
        }
        Err(reason) => error.next = format!("{}; then run the command again: {}", reason.next, reason.what),
    }
    error
}

/// Writes the draft of this session into a file that is named by its nonce.
pub(super) fn write_draft(session: &Session) -> Result<PathBuf, CommandError> {
    let found = session.find_objects(&[class(), Attribute::Token(false)]).during(Act::Read)?;
    let object = found.last().copied().ok_or_else(|| {
        CommandError::new("the module left no draft of the act", "the module's log says why")
    })?;
    let act = Attributes::read(session, object, &[AttributeType::Value], Act::Read)?;
    let act = act.value_text();
    let parsed = ActText::parse(&act).map_err(|error| {
        CommandError::new(
            format!("the module's draft cannot be read: {error}"),
            "use the program of the module's version",
        )
    })?;
    let path = Path::new(&HEXLOWER.encode(&parsed.nonce)).with_extension("act");
    NewFile::create("act", &path, 0o644)?.commit(act.as_bytes())?;
    Ok(path)
}

/// Adds the module's reason to its refusal of an act, a signature or a veto.
pub(super) fn explained(session: &Session, mut error: CommandError) -> CommandError {
    if !error.is("CKR_COUNTERSIGN_ACT_REFUSED") {
        return error;
    }
    let number = session.get_session_info().map_or(0, |info| info.device_error());
    let (why, next) = match number {
        v::CS_ACT_REFUSED_TEXT => {
            ("it is not in the form of an act", "submit the file as it was written, byte for byte")
        }
        v::CS_ACT_REFUSED_VOID => {
            ("it is void: its subject, the officers or the store have changed since it was written", ANEW)
        }
        v::CS_ACT_REFUSED_EXPIRED => ("it has expired", ANEW),
        v::CS_ACT_REFUSED_EXPIRES_LATE => ("it expires too late", ANEW),
        v::CS_ACT_REFUSED_NEEDS_NOBODY => ("it needs no officers", "let the SO do it"),
        v::CS_ACT_REFUSED_KNOWN => {
            ("it was proposed before", "\"countersign act list\" shows what became of it")
        }
        v::CS_ACT_REFUSED_ROOM => (
            "whoever brings it has brought too many acts",
            "let another officer sign and bring it, withdraw some, or wait until some expire",
        ),
        v::CS_ACT_REFUSED_SIGNATURE => (
            "no officer signed this text",
            "sign this very file with the key of an officer (countersign officers show)",
        ),
        v::CS_ACT_REFUSED_AGAIN => ("this officer has signed already", "another officer must sign"),
        v::CS_ACT_REFUSED_NOTHING_TO_VETO => {
            ("nobody can veto it, since it does not wait", "let the SO freeze what it concerns")
        }
        v::CS_ACT_REFUSED_NO_VETOER => {
            ("it did not concern this user when it was proposed", "ask an officer to veto it")
        }
        v::CS_ACT_REFUSED_OVER => ("it is over", "\"countersign act list\" shows what became of it"),
        v::CS_ACT_REFUSED_NOT_DUE => {
            ("signatures are missing, or it still waits", "\"countersign act list\" shows what it waits for")
        }
        v::CS_ACT_REFUSED_NO_OFFICERS => ("the token has no officers", "let the SO do it"),
        v::CS_ACT_REFUSED_UNKNOWN => {
            ("it was not proposed", "\"countersign act list\" lists those that were")
        }
        v::CS_ACT_REFUSED_OWN_REMOVAL => {
            ("it removes this officer, whose veto does not count", "ask another officer to veto it")
        }
        v::CS_ACT_REFUSED_SIGNED => (
            "an officer has signed it, so it is not the SO's to withdraw",
            "let an officer veto it: countersign act veto",
        ),
        _ => return error,
    };
    error.what = format!("the act was refused: {why}");
    error.next = next.into();
    error
}

const ANEW: &str = "ask for the change again; the boundary then writes a new act";
