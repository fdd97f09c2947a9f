//! `countersign wallet create`: `C_GenerateKeyPair`.

use clap::{ArgGroup, Args, ValueEnum};
use countersign::kernel::wallet::registration::DEFAULT_POLICY;
use countersign::pkcs11::vendor as v;
use cryptoki::mechanism::vendor_defined::VendorDefinedMechanism;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::Attribute;
use cryptoki::session::Session;

use super::Record;
use super::policy::{self, BASES, PolicyOptions};
use super::script::{ScriptOptions, refusal_to_create};
use crate::Global;
use crate::at_fault;
use crate::attributes::text;
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::module::Module;
use crate::names;
use crate::output::Report;
use crate::secret::SoPin;
use crate::terms::{self, name_the_bad_user};

/// Create a wallet: the module makes its key.
///
/// The module makes the key inside; the key never leaves. The descriptor that this command prints is public: load it into any
/// watch-only wallet to receive coins and to make PSBTs.
#[derive(Args)]
#[command(group = ArgGroup::new("limits").required(true).multiple(true).args(BASES))]
pub(crate) struct Create {
    /// The wallet's label
    #[arg(value_parser = names::wallet_label)]
    label: String,
    /// The Bitcoin network
    #[arg(long, value_enum)]
    network: Network,
    /// A user whose codes sign; repeat for several
    #[arg(long = "user", value_name = "NAME", required = true, value_parser = names::user_name)]
    users: Vec<String>,
    #[command(flatten)]
    pin: SoPin,
    #[command(flatten)]
    script: ScriptOptions,
    #[command(flatten)]
    policy: PolicyOptions,
}

#[derive(Clone, Copy, ValueEnum)]
enum Network {
    Mainnet,
    Testnet,
    Signet,
    Regtest,
}

impl Network {
    fn name(self) -> &'static str {
        match self {
            Network::Mainnet => "mainnet",
            Network::Testnet => "testnet",
            Network::Signet => "signet",
            Network::Regtest => "regtest",
        }
    }
}

impl Create {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        at_fault::check_users(&self.users)?;
        let policy = self.policy.document()?.unwrap_or_default();
        let registration = self.script.registration()?;
        let module = Module::open(global)?;
        let session = module.so_session(&self.pin)?;
        let wallet = self.generate(&session, &policy, registration.as_deref())?;
        let next = if wallet.descriptor.is_empty() {
            format!(
                "next: give [{}/{}]{} to the cosigners, then countersign wallet register {} --wallet-policy FILE",
                wallet.fingerprint,
                wallet.path.trim_start_matches("m/"),
                wallet.xpub,
                names::quoted(&wallet.label)
            )
        } else {
            "next: load the descriptor into a watch-only wallet, then sign its PSBTs with countersign sign"
                .into()
        };
        Ok(terms::report(&wallet, "created").note(next))
    }

    fn generate(
        &self,
        session: &Session,
        policy: &str,
        registration: Option<&str>,
    ) -> Result<Record, CommandError> {
        let act = Act::CreateWallet(&self.label);
        let mechanism = MechanismType::new_vendor_defined(v::CKM_COUNTERSIGN_WALLET_KEY_GEN).during(act)?;
        let mechanism = Mechanism::VendorDefined(VendorDefinedMechanism::new::<()>(mechanism, None));
        let public = vec![Attribute::Token(true), Attribute::Label(self.label.as_bytes().to_vec())];
        let mut private = public.clone();
        private.extend([
            text(v::CKA_COUNTERSIGN_NETWORK, self.network.name()),
            text(v::CKA_COUNTERSIGN_USERS, &self.users.join("\n")),
            text(v::CKA_COUNTERSIGN_POLICY, policy),
        ]);
        let script =
            [(v::CKA_COUNTERSIGN_WALLET_POLICY, registration), (v::CKA_COUNTERSIGN_PATH, self.script.path())];
        private.extend(script.iter().filter_map(|(kind, value)| value.map(|value| text(*kind, value))));
        let made = session.generate_key_pair(&mechanism, &public, &private).during(act);
        let (wallet, _) = made.map_err(|error| self.name_the_cause(session, policy, registration, error))?;
        Record::of(session, wallet)
    }

    fn name_the_cause(
        &self,
        session: &Session,
        policy: &str,
        registration: Option<&str>,
        mut error: CommandError,
    ) -> CommandError {
        if !error.is("CKR_ATTRIBUTE_VALUE_INVALID") {
            return error;
        }
        if let Some(there) = terms::taken(session, &self.label) {
            error.what = format!("there is already a {there} {}", self.label);
            error.next = "choose another LABEL".into();
            return error;
        }
        if let Some(refusal) = policy::refusal(policy, self.network.name(), self.users.len()) {
            error.what = format!("this wallet cannot be made: {refusal}");
            error.next = self.policy.next(&refusal);
            return error;
        }
        let registration = registration.unwrap_or(DEFAULT_POLICY);
        let refusal = refusal_to_create(registration, self.script.path(), self.network.name(), policy);
        if let Some(refusal) = refusal {
            error.what = format!("this wallet cannot be made: {refusal}");
            error.next = self.script.next(&refusal).unwrap_or_else(|| self.policy.next(&refusal));
            return error;
        }
        name_the_bad_user(session, &self.users, error)
    }
}
