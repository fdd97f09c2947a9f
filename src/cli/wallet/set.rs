//! `countersign wallet set`: `C_SetAttributeValue`, all changes in one call.

use clap::{ArgGroup, Args};
use core::str::FromStr;

use countersign::kernel::network::Network;
use countersign::kernel::wallet::Reach;
use countersign::pkcs11::vendor as v;

use super::Record;
use super::policy::{BASES, PolicyOptions};
use super::script::{self, OurKey};
use crate::attributes::numbers;
use crate::error::CommandError;
use crate::module::Module;
use crate::names;
use crate::output::Report;
use crate::secret::SoPin;
use crate::terms::NewTerms;
use crate::{Global, at_fault};

/// Change a wallet's users, its policy or its reach.
///
/// Users and policy are replaced as a whole: the users that you name become its only users, and the limits that you name its whole
/// policy. The reach can only grow.
#[derive(Args)]
#[command(group = ArgGroup::new("limits").multiple(true).args(BASES))]
#[command(
    group = ArgGroup::new("change").required(true).multiple(true)
        .args(["users", "reach"]).args(BASES)
)]
pub(crate) struct Set {
    /// The wallet's label
    #[arg(value_parser = names::wallet_label)]
    label: String,
    /// A user whose codes sign; repeat for several
    #[arg(long = "user", value_name = "NAME", value_parser = names::user_name)]
    users: Vec<String>,
    /// Count the addresses below N as used, on both chains: change then comes back to the wallet up to 1,000 addresses further on. Use
    /// this only if the wallet software finds coins there; you cannot lower it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(Reach::MOST)))]
    reach: Option<u32>,
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
        let reach = self.reach.map(|next| numbers(v::CKA_COUNTERSIGN_REACH, &[next.into(); 2]));
        let module = Module::open(global)?;
        let session = module.so_session(&self.pin)?;
        new.set::<Record>(&session, reach, |wallet, error| {
            self.name_the_cosigner(wallet, new.policy.as_deref(), error)
        })
    }

    /// If the policy asks for a cosigner that the wallet does not have.
    fn name_the_cosigner(
        &self,
        wallet: &Record,
        policy: Option<&str>,
        mut error: CommandError,
    ) -> CommandError {
        let is_registered = !wallet.descriptor.is_empty();
        let refused = is_registered && error.is("CKR_ATTRIBUTE_VALUE_INVALID");
        let reason = policy.filter(|_| refused).and_then(|policy| {
            let ours = OurKey::shown(&wallet.fingerprint, &wallet.path, &wallet.xpub)?;
            script::refusal(&wallet.descriptor, &ours, Network::from_str(&wallet.network).ok()?, policy)
        });
        if let Some(reason) = reason {
            error.next = format!(
                "{}; \"countersign wallet show {}\" lists the wallet's keys with their fingerprints",
                self.policy.next(&reason),
                names::quoted(&wallet.label)
            );
            error.what = format!("wallet {} stays as it was: {reason}", wallet.label);
        }
        error
    }
}
