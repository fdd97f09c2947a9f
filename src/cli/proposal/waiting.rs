//! Proposed transactions at the module (`CKO_COUNTERSIGN_PROPOSAL`), read and shown.

use countersign::kernel::consent::Statement;
use countersign::kernel::factor::TicketId;
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
use crate::names::printable;
use crate::output::details;

/// Columns of a terminal.
const WIDTH: usize = 80;

/// A proposed transaction, as the module shows it.
pub(super) struct Waiting {
    pub(super) object: ObjectHandle,
    /// In hexadecimal.
    pub(super) ticket: String,
    /// The wallet's label when it was proposed.
    pub(super) label: String,
    wallet: String,
    pub(super) asked: Vec<Asked>,
    state: u64,
    needed: u64,
    expires: u64,
    refused_by: String,
}

/// A user who is asked, with the statement that the boundary wrote for them.
pub(super) struct Asked {
    pub(super) name: String,
    statement: String,
    digest: String,
    /// What the user's device shows and signs, to approve and to refuse. Empty if it says too much for a device.
    device: [String; 2],
    /// When and by what means, if they have approved.
    approved: Option<(String, String)>,
}

/// The class of proposals, of acts as well as of transactions.
pub(super) fn class() -> Attribute {
    attributes::number(CKA_CLASS, v::CKO_COUNTERSIGN_PROPOSAL)
}

fn template() -> Vec<Attribute> {
    vec![class(), attributes::number(v::CKA_COUNTERSIGN_PROPOSAL_KIND, v::CS_PROPOSAL_TRANSACTION)]
}

impl Waiting {
    /// All that the login sees, those that expire first in front.
    pub(super) fn all(session: &Session) -> Result<Vec<Waiting>, CommandError> {
        let found = session.find_objects(&template()).during(Act::Read)?;
        let mut all: Vec<_> =
            found.into_iter().map(|object| Waiting::read(session, object)).collect::<Result<_, _>>()?;
        all.sort_by(|a, b| (a.expires, &a.ticket).cmp(&(b.expires, &b.ticket)));
        Ok(all)
    }

    /// The one with this ticket.
    pub(super) fn of(session: &Session, ticket: &TicketId) -> Result<Waiting, CommandError> {
        let mut template = template();
        template.push(Attribute::Id(ticket.to_vec()));
        let found = session.find_objects(&template).during(Act::Read)?;
        let object = found.first().ok_or_else(|| unknown(&HEXLOWER.encode(ticket)))?;
        Waiting::read(session, *object)
    }

    pub(super) fn read(session: &Session, object: ObjectHandle) -> Result<Waiting, CommandError> {
        let numbers = [
            v::CKA_COUNTERSIGN_CONSENT_STATE,
            v::CKA_COUNTERSIGN_CONSENT_NEEDED,
            v::CKA_COUNTERSIGN_CONSENT_EXPIRES,
        ];
        let texts = [
            v::CKA_COUNTERSIGN_USERS,
            v::CKA_COUNTERSIGN_STATEMENT,
            v::CKA_COUNTERSIGN_CONSENT_GIVEN,
            v::CKA_COUNTERSIGN_CONSENT_ENDED,
            v::CKA_COUNTERSIGN_DEVICE_APPROVAL,
            v::CKA_COUNTERSIGN_DEVICE_REFUSAL,
        ];
        let bytes = [v::CKA_COUNTERSIGN_PROPOSAL_WALLET, v::CKA_COUNTERSIGN_CONSENT_DIGEST];
        let types: Vec<AttributeType> = numbers
            .iter()
            .chain(&texts)
            .chain(&bytes)
            .map(|number| kind(*number))
            .chain([AttributeType::Label, AttributeType::Id])
            .collect();
        let shown = Attributes::read(session, object, &types, Act::Read)?;
        let [state, needed, expires] = numbers.map(|number| shown.number(number).unwrap_or(0));
        let [users, statements, given, refused_by, approvals, refusals] =
            texts.map(|number| shown.text(number));
        let [wallet, digests] = bytes.map(|number| shown.bytes(number).unwrap_or_default());
        let ticket = shown.id();
        let mut asked = asked(&ticket, &users, &statements, digests, &given)?;
        for (at, asked) in asked.iter_mut().enumerate() {
            let line = |lines: &str| lines.lines().nth(at).unwrap_or_default().to_owned();
            asked.device = [line(&approvals), line(&refusals)];
        }
        Ok(Waiting {
            object,
            asked,
            ticket: HEXLOWER.encode(&ticket),
            label: shown.label(),
            wallet: HEXLOWER.encode(wallet),
            state,
            needed,
            expires,
            refused_by,
        })
    }

    /// Fails if nobody can say anything to it any more.
    pub(super) fn check_open(&self) -> Result<(), CommandError> {
        if [v::CS_CONSENT_OPEN, v::CS_CONSENT_APPROVED].contains(&self.state) {
            return Ok(());
        }
        Err(CommandError::new(
            format!("the proposal {} {}; no code was asked for", self.ticket, self.standing()),
            "if the transaction is still wanted, propose it again: countersign propose",
        ))
    }

    /// Whether its ticket signs.
    pub(super) fn is_approved(&self) -> bool {
        self.state == v::CS_CONSENT_APPROVED
    }

    /// Where it stands, behind its name.
    pub(super) fn standing(&self) -> String {
        match self.state {
            v::CS_CONSENT_OPEN => {
                format!("has {} of {} approvals", self.approvals().count(), self.needed)
            }
            v::CS_CONSENT_APPROVED => "is approved: its ticket signs this transaction, once".into(),
            v::CS_CONSENT_REFUSED => format!("was refused by {}", self.refused_by),
            v::CS_CONSENT_WITHDRAWN => "was withdrawn".into(),
            v::CS_CONSENT_SPENT => "is over: its transaction was signed".into(),
            v::CS_CONSENT_EXPIRED => format!("expired at {}", to_iso(self.expires)),
            _ => "is in a state that this program does not know".into(),
        }
    }

    /// Those who are asked, for a person.
    pub(super) fn names(&self) -> String {
        self.asked.iter().map(|asked| asked.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// A paragraph about it.
    pub(super) fn summary(&self) -> String {
        let approvals: Vec<String> = self
            .approvals()
            .map(|(asked, (at, means))| format!("{} at {at}, by {means}", asked.name))
            .collect();
        let mut lines = vec![
            ("ticket", self.ticket.clone()),
            ("wallet", self.label.clone()),
            ("state", self.standing()),
            ("asked", self.names()),
        ];
        if !approvals.is_empty() {
            lines.push(("approved", approvals.join("\n")));
        }
        lines.push(("expires", to_iso(self.expires)));
        details(&lines)
    }

    /// All of it, with the statements.
    pub(super) fn shown(&self) -> String {
        let statements = self.asked.iter().map(|asked| {
            let name = printable(&asked.name);
            format!("\n{name} is asked to approve:\n\n{}{}", asked.folded(), asked.for_a_device())
        });
        self.summary() + &statements.collect::<String>()
    }

    fn approvals(&self) -> impl Iterator<Item = (&Asked, &(String, String))> {
        self.asked.iter().filter_map(|asked| Some((asked, asked.approved.as_ref()?)))
    }

    pub(super) fn to_json(&self) -> Value {
        let state = match self.state {
            v::CS_CONSENT_OPEN => "open",
            v::CS_CONSENT_APPROVED => "approved",
            v::CS_CONSENT_REFUSED => "refused",
            v::CS_CONSENT_WITHDRAWN => "withdrawn",
            v::CS_CONSENT_SPENT => "spent",
            v::CS_CONSENT_EXPIRED => "expired",
            _ => "unknown",
        };
        let users: Vec<Value> = self
            .asked
            .iter()
            .map(|Asked { name, statement, digest, device: [approval, refusal], approved }| {
                let approved = approved.as_ref().map(|(at, means)| json!({ "at": at, "by": means }));
                let line = |line: &str| Some(line.to_owned()).filter(|line| !line.is_empty());
                json!({
                    "name": name,
                    "statement": statement,
                    "digest": digest,
                    "device": { "approve": line(approval), "refuse": line(refusal) },
                    "approved": approved,
                })
            })
            .collect();
        json!({
            "ticket": self.ticket,
            "wallet": self.label,
            "wallet_key_id": self.wallet,
            "state": state,
            "approvals": self.approvals().count(),
            "needed": self.needed,
            "users": users,
            "refused_by": Some(&self.refused_by).filter(|name| !name.is_empty()),
            "expires": to_iso(self.expires),
        })
    }
}

impl Asked {
    pub(super) fn has_approved(&self) -> bool {
        self.approved.is_some()
    }

    /// What a device signs, each in one line as it must be signed, however wide the terminal is.
    fn for_a_device(&self) -> String {
        let [approval, refusal] = &self.device;
        if approval.is_empty() || refusal.is_empty() {
            return "\n  No device can show all of this.\n".into();
        }
        format!(
            "\n  By device: sign one of these lines as a message, byte for byte.\n\n{approval}\n\n{refusal}\n"
        )
    }

    /// The statement within the columns of a terminal. Nothing is left out: what is longer goes on in the next line, further to the
    /// right.
    pub(super) fn folded(&self) -> String {
        self.statement.lines().map(folded).collect()
    }
}

/// A line of a statement, which is ASCII. The payee begins a line of its own if it does not fit.
fn folded(line: &str) -> String {
    const FIRST: &str = "  ";
    const NEXT: &str = "      ";
    if FIRST.len() + line.len() <= WIDTH {
        return format!("{FIRST}{line}\n");
    }
    let (head, rest) = match line.split_once(" to ") {
        Some((head, payee)) if line.starts_with("pay ") => (format!("{head} to"), payee),
        _ => {
            let (head, rest) = line.split_at(WIDTH - FIRST.len());
            (head.to_owned(), rest)
        }
    };
    let rest = rest.as_bytes().chunks(WIDTH - NEXT.len()).map(|part| String::from_utf8_lossy(part));
    std::iter::once(format!("{FIRST}{head}\n")).chain(rest.map(|part| format!("{NEXT}{part}\n"))).collect()
}

/// Pairs those who are asked with their statements. A statement that is not for this user and this ticket must not be approved.
fn asked(
    ticket: &[u8],
    users: &str,
    statements: &str,
    digests: &[u8],
    given: &str,
) -> Result<Vec<Asked>, CommandError> {
    let unreadable = |why: &str| {
        CommandError::new(
            format!("the statement of this proposal cannot be read: {why}; nothing was approved"),
            "use the program of the module's version",
        )
    };
    let mut texts: Vec<String> = Vec::new();
    for line in statements.lines() {
        if line.starts_with("countersign/approve/") {
            texts.push(String::new());
        }
        let text = texts.last_mut().ok_or_else(|| unreadable("it has no first line"))?;
        text.extend([line, "\n"]);
    }
    let names: Vec<&str> = users.lines().collect();
    if texts.len() != names.len() || digests.len() != 32 * names.len() {
        return Err(unreadable("there is not one for each user who is asked"));
    }
    let mut asked = Vec::with_capacity(names.len());
    for ((name, statement), digest) in names.into_iter().zip(texts).zip(digests.chunks(32)) {
        let read = Statement::parse(&statement).map_err(|error| unreadable(&error.to_string()))?;
        if read.user.name != name || read.nonce != ticket {
            return Err(unreadable("it is for another user or ticket"));
        }
        let approved = given.lines().find_map(|line| {
            let (at, rest) = line.split_once(' ')?;
            let (means, by) = rest.split_once(' ')?;
            (by == name).then(|| (at.to_owned(), means.to_owned()))
        });
        let (name, digest, device) = (name.into(), HEXLOWER.encode(digest), Default::default());
        asked.push(Asked { name, statement, digest, device, approved });
    }
    Ok(asked)
}

fn unknown(ticket: &str) -> CommandError {
    CommandError::new(
        format!("there is no proposal with the ticket {ticket}, or another backend made it"),
        "\"countersign proposal list\" lists those that are there; one that was withdrawn is gone, and one that expired goes with the next one",
    )
}

/// Adds the module's reason to its refusal of a proposal, or of what a user says to one.
pub(super) fn explained(session: &Session, mut error: CommandError) -> CommandError {
    if !error.is("CKR_COUNTERSIGN_ACT_REFUSED") {
        return error;
    }
    let number = session.get_session_info().map_or(0, |info| info.device_error());
    if let Some((why, next)) = reason(number) {
        (error.what, error.next) = (why.into(), next.into());
    }
    error
}

/// What a reason of `CKR_COUNTERSIGN_ACT_REFUSED` means for a proposed transaction, and what to do next.
fn reason(number: u64) -> Option<(&'static str, &'static str)> {
    const SHOW: &str = "\"countersign proposal show TICKET\" shows what became of it";
    Some(match number {
        v::CS_CONSENT_REFUSED_STATEMENT => (
            "the transaction says more than a statement can hold, so nobody could read what to approve; nothing was proposed",
            "pay fewer outputs at once, or sign it with codes: countersign sign --user NAME",
        ),
        v::CS_CONSENT_REFUSED_ASKED => (
            "fewer users are asked than must approve, or one of them twice; nothing was proposed",
            "name with --ask at least as many users as the wallet's policy requires, each once (countersign wallet show LABEL)",
        ),
        v::CS_CONSENT_REFUSED_STRANGER => (
            "somebody is asked who does not sign for this wallet, or has not confirmed yet; nothing was proposed",
            "name with --ask only users of the wallet (countersign wallet show LABEL) who have confirmed (countersign user list)",
        ),
        v::CS_CONSENT_REFUSED_ROOM => (
            "too many transactions of this wallet or backend are proposed; nothing was proposed",
            "withdraw some (countersign proposal list, countersign proposal withdraw), or wait until some expire",
        ),
        v::CS_CONSENT_REFUSED_UNKNOWN => (
            "there is no such proposal any more; no code was looked at",
            "\"countersign proposal list\" lists those that are there",
        ),
        v::CS_CONSENT_REFUSED_NOT_ASKED => (
            "this user is not asked about this proposal, or was enrolled again since; no code was looked at",
            "\"countersign proposal show TICKET\" says who is asked; whoever was enrolled again is asked by a new proposal",
        ),
        v::CS_CONSENT_REFUSED_NOT_MAKER => (
            "another backend made this proposal, and only that one can withdraw it; nothing was changed",
            "let that backend withdraw it, or a user refuse it: countersign proposal refuse",
        ),
        v::CS_CONSENT_REFUSED_OVER => ("the proposal is over; no code was looked at", SHOW),
        v::CS_CONSENT_REFUSED_LIFETIME => {
            ("the proposal would be open for too long; nothing was proposed", "ask for a week at most")
        }
        v::CS_CONSENT_REFUSED_MEANS => (
            "for so much the wallet counts only approvals by a means that shows what is approved; nothing was looked at or charged",
            "have the user's device sign the line that \"countersign proposal show TICKET\" shows for it",
        ),
        v::CS_CONSENT_REFUSED_NO_DEVICE => (
            "the user has no device for this network; nothing was recorded",
            "an administrator registers one: countersign user device add",
        ),
        v::CS_CONSENT_REFUSED_SIGNATURE => (
            "no device of the user's signed this text; nothing was recorded or charged",
            "sign the line that \"countersign proposal show TICKET\" shows for this user, byte for byte, with a registered device",
        ),
        v::CS_CONSENT_REFUSED_GIVEN => {
            ("the user has approved it by device already; nothing was changed", SHOW)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: &str = include_str!("../../../tests/vectors/statements/usual.txt");
    const PAYEES: &str = include_str!("../../../tests/vectors/statements/payees.txt");
    const NAMES: &str = include_str!("../../../tests/vectors/statements/names.txt");
    const TICKET: [u8; 16] = [0x47; 16];

    fn of(text: &str) -> Asked {
        Asked {
            name: "alice".into(),
            statement: text.into(),
            digest: String::new(),
            device: Default::default(),
            approved: None,
        }
    }

    #[test]
    fn a_statement_is_shown_whole_within_eighty_columns() {
        for text in [USUAL, PAYEES, NAMES] {
            let shown = of(text).folded();
            assert!(shown.lines().all(|line| line.len() <= 80), "{shown}");
            // Without the indentation it is the boundary's text, so nothing is missing.
            let mut back = String::new();
            for line in shown.lines() {
                match line.strip_prefix("      ") {
                    Some(rest) if back.ends_with(" to\n") => {
                        back.pop();
                        back.extend([" ", rest, "\n"]);
                    }
                    Some(rest) => {
                        back.pop();
                        back.extend([rest, "\n"]);
                    }
                    None => back.extend([&line[2..], "\n"]),
                }
            }
            assert_eq!(back, text);
        }
        let shown = of(PAYEES).folded();
        let address = "tb1p242424242424242424242424242424242424242424242424242424242std2dxg";
        assert!(!shown.contains(address) || shown.contains(&format!("      {address}\n")), "{shown}");
    }

    #[test]
    fn only_a_statement_for_this_user_and_ticket_is_shown() {
        let bobs = USUAL.replace("\"alice\"", "\"bob\"");
        let both = format!("{USUAL}{bobs}");
        let given = "2026-11-30T12:01:00Z totp bob\n";
        let read =
            asked(&TICKET, "alice\nbob", &both, &[7; 64], given).expect("it is as the module writes it");
        assert_eq!(
            (&*read[0].name, &read[0].statement, read[0].has_approved()),
            ("alice", &USUAL.into(), false)
        );
        assert_eq!((&*read[1].name, &read[1].statement), ("bob", &bobs));
        assert_eq!(read[1].approved, Some(("2026-11-30T12:01:00Z".into(), "totp".into())));
        for (ticket, users, statements, digests) in [
            (TICKET, "bob\nalice", &both, 64),
            (TICKET, "alice", &both, 32),
            (TICKET, "alice\nbob", &USUAL.into(), 64),
            (TICKET, "alice\nbob", &both, 32),
            ([0x48; 16], "alice\nbob", &both, 64),
            (TICKET, "alice\nbob", &both.replace("fee 0.00002000", "fee 0.00002"), 64),
            (TICKET, "alice\nbob", &both.replace("approve/1", "approve/2"), 64),
            (TICKET, "alice\nbob", &format!("pay\n{both}"), 64),
        ] {
            let refused = asked(&ticket, users, statements, &vec![7; digests], "");
            assert!(refused.is_err_and(|error| error.what.contains("nothing was approved")), "{users}");
        }
    }

    #[test]
    fn every_reason_of_the_header_has_words_and_a_next_step() {
        let header = include_str!("../../../include/countersign.h");
        let numbers: Vec<u64> = header
            .lines()
            .filter_map(|line| line.strip_prefix("#define CS_CONSENT_REFUSED_"))
            .filter_map(|line| line.split_whitespace().nth(1)?.strip_prefix("0x")?.strip_suffix("UL"))
            .map(|number| u64::from_str_radix(number, 16).expect("hexadecimal"))
            .collect();
        assert!(numbers.len() >= 13, "{numbers:?}");
        for number in numbers {
            let (why, next) = reason(number).unwrap_or_else(|| panic!("{number:#x} has no words"));
            assert!(why.contains("nothing was") || why.contains("no code was"), "{why}");
            assert!(next.len() > 20 && !next.ends_with('.'), "{next}");
        }
        assert_eq!(reason(0x311), None);
    }
}
