//! `countersign wallet register`: `C_SetAttributeValue`, once for a wallet.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use countersign::kernel::network::Network;
use countersign::pkcs11::vendor as v;

use super::script::{self, OurKey};
use super::{Record, registration_file};
use crate::Global;
use crate::act::hand_to_officers;
use crate::attributes::text;
use crate::error::{CommandError, During};
use crate::kind::find;
use crate::meaning::Act;
use crate::module::Module;
use crate::names;
use crate::output::Report;
use crate::secret::SoPin;
use crate::terms;

/// Register the script of a wallet that was created with --key-only.
///
/// You can register a wallet once. Before anybody sends coins there, compare the wallet's id with the cosigners: it is the SHA-256 of
/// the descriptor, which all of you must have in common.
#[derive(Args)]
pub(crate) struct Register {
    /// The wallet's label
    #[arg(value_parser = names::wallet_label)]
    label: String,
    /// The wallet policy (BIP 388) or descriptor; "ours" stands for the wallet's own key
    #[arg(long, value_name = "FILE")]
    wallet_policy: PathBuf,
    #[command(flatten)]
    pin: SoPin,
}

impl Register {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let registration = registration_file::read(&self.wallet_policy)?;
        let module = Module::open(global)?;
        let session = module.so_session(&self.pin)?;
        let object = find::<Record>(&session, &self.label)?;
        let change = [text(v::CKA_COUNTERSIGN_WALLET_POLICY, &registration)];
        let answer = session.update_attributes(object, &change).during(Act::SetWallet(&self.label));
        let wallet = Record::of(&session, object)?;
        let answer = answer.map_err(|error| hand_to_officers(&session, error));
        answer.map_err(|error| name_the_cause(&wallet, &registration, error))?;
        Ok(terms::report(&wallet, "registered")
            .note("next: compare the id with every cosigner before anybody sends coins to this wallet"))
    }
}

fn name_the_cause(wallet: &Record, registration: &str, mut error: CommandError) -> CommandError {
    if error.is("CKR_ATTRIBUTE_READ_ONLY") {
        error.what =
            format!("wallet {} is registered already, and a wallet is registered only once", wallet.label);
        error.next = "create another wallet for the other script".into();
        return error;
    }
    let reason = OurKey::shown(&wallet.fingerprint, &wallet.path, &wallet.xpub)
        .zip(Network::from_str(&wallet.network).ok())
        .and_then(|(ours, network)| script::refusal(registration, &ours, network, &wallet.policy));
    if let Some(reason) = reason {
        error.what = format!("this cannot be registered: {reason}");
        error.next = "correct the file that --wallet-policy names".into();
    }
    error
}
