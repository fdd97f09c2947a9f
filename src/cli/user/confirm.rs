//! `countersign user confirm`: `C_Verify` with a first code. It spends that code's time step.

use clap::Args;
use countersign::pkcs11::vendor as v;
use cryptoki::mechanism::vendor_defined::VendorDefinedMechanism;
use cryptoki::mechanism::{Mechanism, MechanismType};
use serde_json::json;

use super::Record;
use crate::Global;
use crate::approval::check_code;
use crate::error::{CommandError, During};
use crate::kind::find;
use crate::meaning::Act;
use crate::module::Module;
use crate::names::{self, printable};
use crate::output::Report;
use crate::secret::{Ask, CODE, CodeFile, EitherPin};

/// Confirm an enrolment with the user's first code.
///
/// A right code proves that the authenticator has the right secret and the right time. Confirming spends the code: the next signature
/// needs the next code.
#[derive(Args)]
pub(crate) struct Confirm {
    /// The user's name
    #[arg(value_parser = names::user_name)]
    name: String,
    #[command(flatten)]
    code: CodeFile,
    #[command(flatten)]
    pin: EitherPin,
}

impl Confirm {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.either_session(&self.pin)?;
        let user = find::<Record>(&session, &self.name)?;
        let code = CODE.obtain(self.code.code_file.as_deref(), Ask::OnStdin)?;
        check_code(&code)?;
        let act = Act::ConfirmUser(&self.name);
        let mechanism = MechanismType::new_vendor_defined(v::CKM_COUNTERSIGN_TOTP).during(act)?;
        let mechanism = Mechanism::VendorDefined(VendorDefinedMechanism::new::<()>(mechanism, None));
        session.verify(&mechanism, user, &[], code.as_bytes()).during(act)?;
        Ok(Report::new(
            format!(
                "User {} is confirmed. This code is spent: sign with the next one.\n",
                printable(&self.name)
            ),
            json!({ "user": { "name": self.name, "confirmed": true } }),
        ))
    }
}
