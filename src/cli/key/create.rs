//! `countersign key create`: `C_GenerateKeyPair` with `CKM_EC_KEY_PAIR_GEN`.

use clap::{ArgGroup, Args};
use countersign::pkcs11::vendor as v;
use cryptoki::mechanism::Mechanism as Offered;
use cryptoki::object::Attribute;
use cryptoki::session::Session;

use super::policy::{self, BASES, PolicyOptions};
use super::{Mechanism, Record, allowed};
use crate::Global;
use crate::at_fault;
use crate::attributes::text;
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::module::Module;
use crate::names::{self, quoted};
use crate::output::Report;
use crate::secret::SoPin;
use crate::terms::{self, name_the_bad_user};

/// The object identifier of secp256k1 in DER (SEC 2).
const SECP256K1: [u8; 7] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];

/// Create a key that signs digests, for other chains: the module makes it.
///
/// A digest does not show what it moves: the user trusts whoever computed it. For Bitcoin make a wallet. This key needs no cosigner's
/// signature before it tries a code, even if its users' wallets do. The module makes the secret key inside; the key never leaves.
#[derive(Args)]
#[command(group = ArgGroup::new("limits").required(true).args(BASES))]
pub(crate) struct Create {
    /// The key's label
    #[arg(value_parser = names::key_label)]
    label: String,
    /// A user whose codes sign; repeat for several
    #[arg(long = "user", value_name = "NAME", required = true, value_parser = names::user_name)]
    users: Vec<String>,
    /// What the key may do; repeat for both
    #[arg(long = "mechanism", value_name = "NAME", value_enum, default_value = "digest")]
    mechanisms: Vec<Mechanism>,
    #[command(flatten)]
    pin: SoPin,
    #[command(flatten)]
    policy: PolicyOptions,
}

impl Create {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        at_fault::check_users(&self.users)?;
        let policy = self.policy.document()?.unwrap_or_default();
        let module = Module::open(global)?;
        let session = module.so_session(&self.pin)?;
        let key = self.generate(&session, &policy)?;
        let report = terms::report(&key, "created");
        if !key.mechanisms.contains(&Mechanism::Digest) {
            return Ok(report);
        }
        Ok(report.note(format!("next: countersign key sign {} --digest HEX", quoted(&key.label))))
    }

    fn generate(&self, session: &Session, policy: &str) -> Result<Record, CommandError> {
        let label = Attribute::Label(self.label.as_bytes().to_vec());
        let public = [Attribute::Token(true), Attribute::EcParams(SECP256K1.to_vec()), label.clone()];
        let private = [
            Attribute::Token(true),
            label,
            allowed(&self.mechanisms),
            text(v::CKA_COUNTERSIGN_USERS, &self.users.join("\n")),
            text(v::CKA_COUNTERSIGN_POLICY, policy),
        ];
        let made = session
            .generate_key_pair(&Offered::EccKeyPairGen, &public, &private)
            .during(Act::CreateKey(&self.label));
        let (key, _) = made.map_err(|error| self.name_the_cause(session, policy, error))?;
        Record::of(session, key)
    }

    fn name_the_cause(&self, session: &Session, policy: &str, mut error: CommandError) -> CommandError {
        if !error.is("CKR_ATTRIBUTE_VALUE_INVALID") {
            return error;
        }
        if let Some(there) = terms::taken(session, &self.label) {
            error.what = format!("there is already a {there} {}", self.label);
            error.next = "choose another LABEL".into();
            return error;
        }
        if let Some(refusal) = policy::refusal(policy, self.users.len()) {
            error.what = format!("this key cannot be made: {refusal}");
            error.next = self.policy.next(&refusal);
            return error;
        }
        name_the_bad_user(session, &self.users, error)
    }
}
