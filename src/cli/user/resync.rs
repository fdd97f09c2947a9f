//! `countersign user resync`: `C_Verify` with two codes in a row. It spends both, and all before them.

use std::path::PathBuf;

use clap::Args;
use countersign::kernel::otp::HotpKey;
use countersign::pkcs11::vendor as v;
use cryptoki::mechanism::vendor_defined::VendorDefinedMechanism;
use cryptoki::mechanism::{Mechanism, MechanismType};
use serde_json::json;
use zeroize::Zeroizing;

use super::Record;
use crate::Global;
use crate::error::{CommandError, During};
use crate::kind::find;
use crate::meaning::Act;
use crate::module::Module;
use crate::names::{self, printable};
use crate::output::Report;
use crate::secret::{Ask, CODE, EitherPin, SECOND_CODE, Secret};

/// Resynchronise a user of HOTP by two codes in a row.
///
/// Do this when the authenticator has made more than ten codes that never arrived here, so that its next one is refused. The two codes may
/// be up to 1,000 ahead. They are spent, with all codes before them, and count as one try.
#[derive(Args)]
pub(crate) struct Resync {
    /// The user's name
    #[arg(value_parser = names::user_name)]
    name: String,
    /// Read the first code from this file (else COUNTERSIGN_CODE, else a prompt)
    #[arg(long, value_name = "FILE")]
    code_file: Option<PathBuf>,
    /// Read the code right after it from this file (else COUNTERSIGN_SECOND_CODE, else a prompt)
    #[arg(long, value_name = "FILE")]
    second_code_file: Option<PathBuf>,
    #[command(flatten)]
    pin: EitherPin,
}

impl Resync {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.either_session(&self.pin)?;
        let user = find::<Record>(&session, &self.name)?;
        let first = CODE.obtain(self.code_file.as_deref(), Ask::OnStdin)?;
        let second = SECOND_CODE.obtain(self.second_code_file.as_deref(), Ask::OnStdin)?;
        let codes = pair(&first, &second)?;
        let act = Act::ConfirmUser(&self.name);
        let mechanism = MechanismType::new_vendor_defined(v::CKM_COUNTERSIGN_TOTP).during(act)?;
        let mechanism = Mechanism::VendorDefined(VendorDefinedMechanism::new::<()>(mechanism, None));
        session.verify(&mechanism, user, &[], &codes[..]).during(act)?;
        Ok(Report::new(
            format!(
                "User {} is resynchronised. Both codes are spent: sign with the next one.\n",
                printable(&self.name)
            ),
            json!({ "user": { "name": self.name, "resynchronised": true } }),
        ))
    }
}

/// Both codes, one right after the other.
fn pair(first: &Secret, second: &Secret) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let digits = usize::from(HotpKey::DIGITS);
    let mut codes = Zeroizing::new(Vec::with_capacity(2 * digits));
    for code in [first, second] {
        if code.len() != digits || !code.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(CommandError::new(
                format!(
                    "this is not a code of HOTP: it has {digits} digits and no blanks; nothing was spent"
                ),
                "make two more codes in a row, and type only their digits",
            ));
        }
        codes.extend_from_slice(code.as_bytes());
    }
    Ok(codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_codes_of_eight_digits_stand_one_right_after_the_other() {
        let code = |text: &str| Secret::new(text.to_owned());
        assert_eq!(*pair(&code("84755224"), &code("94287082")).expect("two codes"), b"8475522494287082");
        for bad in ["847552", "847552249", "8475522a", "84755224 "] {
            assert!(pair(&code(bad), &code("94287082")).is_err(), "{bad}");
            assert!(pair(&code("94287082"), &code(bad)).is_err(), "{bad}");
        }
    }
}
