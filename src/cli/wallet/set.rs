//! `countersign wallet set`: `C_SetAttributeValue`, all changes in one call.

use clap::{ArgGroup, Args};
use core::str::FromStr;

use countersign::kernel::network::Network;
use countersign::kernel::wallet::Reach;
use countersign::pkcs11::vendor as v;
use cryptoki::object::ObjectClass;
use serde_json::json;

use super::policy::{self, BASES, PolicyOptions};
use super::script::{self, OurKey};
use super::{Record, find_wallet, name_the_bad_user};
use crate::attributes::{numbers, text};
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::module::Module;
use crate::names::{self, printable};
use crate::output::Report;
use crate::secret::SoPin;
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
        let policy = self.policy.document()?;
        let module = Module::open(global)?;
        let session = module.so_session(&self.pin)?;
        let wallet = find_wallet(&session, ObjectClass::PUBLIC_KEY, &self.label)?;
        let mut changes = Vec::new();
        if !self.users.is_empty() {
            changes.push(text(v::CKA_COUNTERSIGN_USERS, &self.users.join("\n")));
        }
        if let Some(policy) = &policy {
            changes.push(text(v::CKA_COUNTERSIGN_POLICY, policy));
        }
        if let Some(next) = self.reach {
            changes.push(numbers(v::CKA_COUNTERSIGN_REACH, &[next.into(); 2]));
        }
        session
            .update_attributes(wallet, &changes)
            .during(Act::SetWallet(&self.label))
            .map_err(|error| name_the_bad_user(&session, &self.users, error))
            .map_err(|error| match Record::read(&session, wallet) {
                Ok(there) => {
                    let error = self.name_the_policy(&there, policy.as_deref(), error);
                    self.name_the_cosigner(&there, policy.as_deref(), error)
                }
                Err(_) => error,
            })?;
        let wallet = Record::read(&session, wallet)?;
        let text = format!("Wallet {} is changed.\n\n{}", printable(&wallet.label), wallet.to_text());
        Ok(Report::new(text, json!({ "wallet": wallet.to_json() })))
    }
}

impl Set {
    /// If the policy cannot be read, or asks for more users than there are.
    fn name_the_policy(
        &self,
        wallet: &Record,
        policy: Option<&str>,
        mut error: CommandError,
    ) -> CommandError {
        let users = if self.users.is_empty() { wallet.users.len() } else { self.users.len() };
        let reason = policy::refusal(policy.unwrap_or(&wallet.policy), &wallet.network, users);
        if let Some(reason) = reason.filter(|_| error.is("CKR_ATTRIBUTE_VALUE_INVALID")) {
            error.next = self.policy.next(&reason);
            error.what = format!("wallet {} stays as it was: {reason}", wallet.label);
        }
        error
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
