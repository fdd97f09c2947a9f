//! `countersign sign`: `C_Sign` with the approval as the mechanism's parameter.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use countersign::kernel::factor::TicketId;
use countersign::pkcs11::vendor as v;
use cryptoki::mechanism::vendor_defined::VendorDefinedMechanism;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use crate::Global;
use crate::approval;
use crate::destination::{Destination, is_standard};
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::module::Module;
use crate::names;
use crate::output::Report;
use crate::psbt_file::{self, Form};
use crate::secret::{Ask, CODE, CodeFile, UserPin};
use crate::terms::{find_signing, users_of};
use crate::wallet;

/// Sign a PSBT with a user's one-time code, or with the ticket of a proposal that its users have approved.
///
/// The command reads the PSBT as binary, base64 or hexadecimal, and writes it in the same form unless you ask for another. A code signs
/// one transaction, once, and so does a ticket. The command writes the whole answer or nothing.
#[derive(Args)]
pub(crate) struct Sign {
    /// The wallet to sign with
    #[arg(long, value_name = "LABEL", value_parser = names::wallet_label)]
    wallet: String,
    /// The user whose code this is [default: the wallet's only user]
    #[arg(long, value_name = "NAME", value_parser = names::user_name)]
    user: Option<String>,
    /// The PSBT to sign; - is standard input
    #[arg(long = "in", value_name = "FILE", default_value = "-")]
    input: PathBuf,
    /// Where the signed PSBT goes; - is standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    out: PathBuf,
    /// Write base64, whatever the input was
    #[arg(long, conflicts_with = "binary")]
    base64: bool,
    /// Write binary, whatever the input was
    #[arg(long)]
    binary: bool,
    /// Sign by this ticket, without a code: the users have approved this very transaction (countersign propose)
    #[arg(long, value_name = "TICKET", value_parser = names::ticket, conflicts_with_all = ["user", "code_file"])]
    ticket: Option<TicketId>,
    #[command(flatten)]
    code: CodeFile,
    #[command(flatten)]
    pin: UserPin,
}

impl Sign {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        // Everything that can fail without the code comes before the code.
        let (psbt, read_as) = psbt_file::read(Some(&self.input))?;
        let form = self.form(read_as, global.json)?;
        let destination = Destination::prepare(Some(&self.out))?;
        let ask = if is_standard(Some(&self.input)) { Ask::OnTerminal } else { Ask::OnStdin };
        let module = Module::open(global)?;
        let session = module.user_session(&self.pin, ask)?;
        let wallet = find_signing::<wallet::Record>(&session, &self.wallet)?;
        let approval = match &self.ticket {
            Some(ticket) => approval::pack_ticket(ticket),
            None => {
                let code = CODE.obtain(self.code.code_file.as_deref(), ask)?;
                let users = users_of(&session, wallet)?;
                approval::of_user(&session, (self.user.as_deref(), &users), &code)?
            }
        };
        let signed = self.sign(&session, wallet, &approval, &psbt)?;
        self.deliver(&signed, form, destination)
    }

    fn form(&self, read_as: Form, json: bool) -> Result<Form, CommandError> {
        let form = match (self.base64, self.binary) {
            (true, _) => Form::Base64,
            (_, true) => Form::Binary,
            _ => read_as,
        };
        let to_terminal = is_standard(Some(&self.out)) && !json && std::io::stdout().is_terminal();
        if form == Form::Binary && to_terminal {
            return Err(CommandError::new(
                "a terminal cannot take a binary PSBT; nothing was signed",
                "name a file with --out, or ask for --base64",
            ));
        }
        Ok(form)
    }

    fn sign(
        &self,
        session: &Session,
        wallet: ObjectHandle,
        approval: &[u8; approval::APPROVAL_LEN],
        psbt: &[u8],
    ) -> Result<Vec<u8>, CommandError> {
        let act = match self.ticket {
            Some(_) => Act::SignByTicket(&self.wallet),
            None => Act::Sign(&self.wallet),
        };
        let mechanism = MechanismType::new_vendor_defined(v::CKM_COUNTERSIGN_PSBT).during(act)?;
        let mechanism =
            VendorDefinedMechanism::new::<[u8; approval::APPROVAL_LEN]>(mechanism, Some(approval));
        let signed = session.sign(&Mechanism::VendorDefined(mechanism), wallet, psbt);
        signed.during(act).map_err(|error| {
            error.with_rule_of(session, &format!("countersign wallet show {}", names::quoted(&self.wallet)))
        })
    }

    fn deliver(&self, signed: &[u8], form: Form, destination: Destination) -> Result<Report, CommandError> {
        let ticket = self.ticket.map(|ticket| HEXLOWER.encode(&ticket));
        let mut json =
            json!({ "wallet": self.wallet, "user": self.user, "ticket": ticket, "form": form.name() });
        let paid = if ticket.is_some() { "ticket" } else { "code" };
        let bytes = form.encode(signed);
        match destination {
            Destination::Standard => {
                // In JSON a PSBT is base64, because JSON cannot carry bytes.
                json["form"] = json!(Form::Base64.name());
                json["psbt"] = String::from_utf8(Form::Base64.encode(signed))
                    .map_or(Value::Null, |line| json!(line.trim_end()));
                Ok(Report::raw(bytes, json))
            }
            Destination::File(file) => {
                let out = self.out.display().to_string();
                file.commit(&bytes).map_err(|reason| {
                    CommandError::new(
                        format!("the PSBT is signed and the {paid} spent, but {out} cannot be written: {reason}"),
                        format!("run the same command within two minutes, with the same {paid} and another --out: you get the same answer, and it spends nothing more"),
                    )
                })?;
                json["out"] = json!(out);
                Ok(Report::new(format!("The signed PSBT is in {out} ({}).\n", form.name()), json))
            }
        }
    }
}
