//! `countersign wallet show`.

use clap::Args;
use serde_json::json;

use super::{no_such_wallet, read_wallets};
use crate::Global;
use crate::error::CommandError;
use crate::freeze;
use crate::module::Module;
use crate::names;
use crate::output::Report;
use crate::secret::EitherPin;

/// Show one wallet.
#[derive(Args)]
pub(crate) struct Show {
    /// The wallet's label
    #[arg(value_parser = names::wallet_label)]
    label: String,
    #[command(flatten)]
    pin: EitherPin,
}

impl Show {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.either_session(&self.pin)?;
        let wallets = read_wallets(&session, Some(&self.label))?;
        let wallet = wallets.first().ok_or_else(|| no_such_wallet(&self.label))?;
        let report = Report::new(wallet.to_text(), json!({ "wallet": wallet.to_json() }));
        freeze::with_note_of_all(&session, report)
    }
}
