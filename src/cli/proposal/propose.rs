//! `countersign propose`: puts a transaction before users of its wallet.

use std::path::PathBuf;

use clap::Args;
use countersign::pkcs11::vendor as v;
use cryptoki::object::Attribute;
use serde_json::json;

use super::waiting::{self, Waiting, class};
use crate::Global;
use crate::at_fault;
use crate::attributes::{self, Attributes, text};
use crate::destination::is_standard;
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::module::Module;
use crate::names::{self, quoted};
use crate::output::Report;
use crate::psbt_file;
use crate::secret::{Ask, UserPin};
use crate::terms::find_signing;
use crate::wallet;

/// Put a transaction before users of its wallet, for them to approve. It prints the ticket.
///
/// The boundary checks the transaction as for a signature and writes what it does: a statement for each user. Nothing is signed and no
/// code is needed. Once enough users have approved ("countersign proposal approve"), the ticket signs this transaction, once ("countersign
/// sign --ticket"). A proposal is open for ten minutes, or for as
/// long as the policy of the wallet says (proposal_minutes).
#[derive(Args)]
pub(crate) struct Propose {
    /// The wallet that pays
    #[arg(long, value_name = "LABEL", value_parser = names::wallet_label)]
    wallet: String,
    /// The PSBT to propose; - is standard input
    #[arg(long = "in", value_name = "FILE", default_value = "-")]
    input: PathBuf,
    /// A user to ask; repeat for several [default: all confirmed users of the wallet]
    #[arg(long = "ask", value_name = "NAME", value_parser = names::user_name)]
    ask: Vec<String>,
    #[command(flatten)]
    pin: UserPin,
}

impl Propose {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        at_fault::check_named(&self.ask, "--ask")?;
        let (psbt, _) = psbt_file::read(Some(&self.input))?;
        let ask = if is_standard(Some(&self.input)) { Ask::OnTerminal } else { Ask::OnStdin };
        let module = Module::open(global)?;
        let session = module.user_session(&self.pin, ask)?;
        let key = find_signing::<wallet::Record>(&session, &self.wallet)?;
        let id = Attributes::read(&session, key, &[cryptoki::object::AttributeType::Id], Act::Read)?.id();
        let mut template = vec![
            class(),
            Attribute::Token(true),
            Attribute::Value(psbt),
            attributes::bytes(v::CKA_COUNTERSIGN_PROPOSAL_WALLET, &id),
        ];
        if !self.ask.is_empty() {
            template.push(text(v::CKA_COUNTERSIGN_USERS, &self.ask.join("\n")));
        }
        let show = format!("countersign wallet show {}", quoted(&self.wallet));
        let object = session
            .create_object(&template)
            .during(Act::Propose(&self.wallet))
            .map_err(|error| waiting::explained(&session, error).with_rule_of(&session, &show))?;
        let there = Waiting::read(&session, object)?;
        let file =
            if is_standard(Some(&self.input)) { "FILE".into() } else { self.input.display().to_string() };
        let note = format!(
            "next: each user reads the statement and approves it: countersign proposal approve {0} --user NAME\n\
             then: countersign sign --wallet {1} --in {2} --ticket {0}",
            there.ticket,
            quoted(&self.wallet),
            quoted(&file)
        );
        Ok(Report::new(there.shown(), json!({ "proposal": there.to_json() })).note(note))
    }
}
