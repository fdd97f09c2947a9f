//! `countersign key set`: `C_SetAttributeValue`, all changes in one call.

use clap::{ArgGroup, Args};
use countersign::pkcs11::vendor as v;
use cryptoki::object::ObjectClass;
use serde_json::json;

use super::policy::{self, BASES, PolicyOptions};
use super::{Record, find_key};
use crate::Global;
use crate::at_fault;
use crate::attributes::text;
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::module::Module;
use crate::names::{self, printable};
use crate::output::Report;
use crate::secret::SoPin;
use crate::wallet::name_the_bad_user;

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
        let policy = self.policy.document()?;
        let module = Module::open(global)?;
        let session = module.so_session(&self.pin)?;
        let object = find_key(&session, ObjectClass::PRIVATE_KEY, &self.label)?;
        let mut changes = Vec::new();
        if !self.users.is_empty() {
            changes.push(text(v::CKA_COUNTERSIGN_USERS, &self.users.join("\n")));
        }
        if let Some(policy) = &policy {
            changes.push(text(v::CKA_COUNTERSIGN_POLICY, policy));
        }
        let shown = find_key(&session, ObjectClass::PUBLIC_KEY, &self.label)?;
        let before = Record::read(&session, shown)?;
        session.update_attributes(object, &changes).during(Act::SetKey(&self.label)).map_err(
            |mut error| {
                let users = if self.users.is_empty() { before.users.len() } else { self.users.len() };
                let refusal = policy::refusal(policy.as_deref().unwrap_or(&before.policy), users);
                match refusal.filter(|_| error.is("CKR_ATTRIBUTE_VALUE_INVALID")) {
                    Some(refusal) => {
                        error.next = self.policy.next(&refusal);
                        error.what = format!("key {} stays as it was: {refusal}", self.label);
                        error
                    }
                    None => name_the_bad_user(&session, &self.users, error),
                }
            },
        )?;
        let key = Record::read(&session, shown)?;
        let text = format!("Key {} is changed.\n\n{}", printable(&key.label), key.to_text());
        Ok(Report::new(text, json!({ "key": key.to_json() })))
    }
}
