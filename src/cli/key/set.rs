//! `countersign key set`: `C_SetAttributeValue`, all changes in one call.

use clap::{ArgGroup, Args};

use super::Record;
use super::policy::{BASES, PolicyOptions};
use crate::Global;
use crate::at_fault;
use crate::error::CommandError;
use crate::module::Module;
use crate::names;
use crate::output::Report;
use crate::secret::SoPin;
use crate::terms::NewTerms;

/// Change a key's users or policy.
///
/// Each is replaced as a whole: the users that you name become its only users, and the rules that you name its whole policy.
#[derive(Args)]
#[command(group = ArgGroup::new("limits").args(BASES))]
#[command(
    group = ArgGroup::new("change").required(true).multiple(true)
        .arg("users").args(BASES)
)]
pub(crate) struct Set {
    /// The key's label
    #[arg(value_parser = names::key_label)]
    label: String,
    /// A user whose codes sign; repeat for several
    #[arg(long = "user", value_name = "NAME", value_parser = names::user_name)]
    users: Vec<String>,
    #[command(flatten)]
    pin: SoPin,
    #[command(flatten)]
    policy: PolicyOptions,
}

impl Set {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        at_fault::check_users(&self.users)?;
        let new = NewTerms {
            label: &self.label,
            users: &self.users,
            policy: self.policy.document()?,
            policy_file: self.policy.file(),
        };
        let module = Module::open(global)?;
        let session = module.so_session(&self.pin)?;
        new.set::<Record>(&session, None, |_, error| error)
    }
}
