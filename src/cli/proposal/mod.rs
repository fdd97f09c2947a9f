//! `countersign propose` and `countersign proposal …`: transactions that are put before their users.
//!
//! A user reads the statement that the boundary wrote before the command asks for a code, so nobody approves what they were not shown. The
//! commands run where the backend runs, so a backend that was taken over can show something else: [`word`].

mod propose;
mod waiting;
mod word;

pub(crate) use propose::Propose;

use clap::{Args, Subcommand};
use countersign::kernel::factor::TicketId;
use serde_json::json;

use self::waiting::Waiting;
use crate::Global;
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::module::Module;
use crate::names;
use crate::output::Report;
use crate::secret::{Ask, EitherPin, UserPin};

/// Show, approve, refuse and withdraw proposed transactions.
#[derive(Subcommand)]
pub(crate) enum Proposal {
    List(List),
    Show(Show),
    Approve(word::Approve),
    Refuse(word::Refuse),
    Withdraw(Withdraw),
}

impl Proposal {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        match self {
            Proposal::List(verb) => verb.run(global),
            Proposal::Show(verb) => verb.run(global),
            Proposal::Approve(verb) => verb.run(global),
            Proposal::Refuse(verb) => verb.run(global),
            Proposal::Withdraw(verb) => verb.run(global),
        }
    }
}

/// The argument that names a proposed transaction.
#[derive(Args)]
struct Ticket {
    /// The ticket, as "countersign propose" printed it
    #[arg(value_name = "TICKET", value_parser = names::ticket)]
    ticket: TicketId,
}

/// List the proposed transactions and what became of them.
///
/// A backend sees its own, the SO all. What has expired is listed until the next transaction is proposed.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    pin: EitherPin,
}

/// Show a proposed transaction: the statement for each user, in full, and who has approved.
#[derive(Args)]
pub(crate) struct Show {
    #[command(flatten)]
    named: Ticket,
    #[command(flatten)]
    pin: EitherPin,
}

/// Withdraw a proposed transaction, as the backend that proposed it. No code is needed.
#[derive(Args)]
pub(crate) struct Withdraw {
    #[command(flatten)]
    named: Ticket,
    #[command(flatten)]
    pin: UserPin,
}

impl List {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.either_session(&self.pin)?;
        let all = Waiting::all(&session)?;
        let text = match all.as_slice() {
            [] => "No transaction is proposed.\n".to_owned(),
            all => all.iter().map(Waiting::summary).collect::<Vec<_>>().join("\n"),
        };
        Ok(Report::new(text, json!({ "proposals": all.iter().map(Waiting::to_json).collect::<Vec<_>>() })))
    }
}

impl Show {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.either_session(&self.pin)?;
        let there = Waiting::of(&session, &self.named.ticket)?;
        Ok(Report::new(there.shown(), json!({ "proposal": there.to_json() })))
    }
}

impl Withdraw {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.user_session(&self.pin, Ask::OnStdin)?;
        let there = Waiting::of(&session, &self.named.ticket)?;
        session
            .destroy_object(there.object)
            .during(Act::Withdraw)
            .map_err(|error| waiting::explained(&session, error))?;
        let text = format!("The proposal {} is withdrawn: its ticket signs nothing.\n", there.ticket);
        Ok(Report::new(text, json!({ "ticket": there.ticket, "withdrawn": true })))
    }
}
