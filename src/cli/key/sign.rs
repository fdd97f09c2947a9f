//! `countersign key sign`: `C_Sign` with `CKM_COUNTERSIGN_DIGEST` and the approval as its parameter.

use clap::Args;
use countersign::kernel::digest_key::DIGEST_LEN;
use countersign::pkcs11::vendor as v;
use cryptoki::mechanism::vendor_defined::VendorDefinedMechanism;
use cryptoki::mechanism::{Mechanism, MechanismType};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde_json::json;

use super::Record;
use crate::Global;
use crate::approval;
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::module::Module;
use crate::names;
use crate::output::Report;
use crate::secret::{Ask, CODE, CodeFile, UserPin};
use crate::terms::{find_signing, users_of};

/// Sign a digest with a user's one-time code and a key made for CKM_COUNTERSIGN_DIGEST.
///
/// Prints r and s, 64 bytes, in hexadecimal. A digest does not show what it moves: approve only what you computed yourself.
#[derive(Args)]
pub(crate) struct Sign {
    /// The key's label
    #[arg(value_parser = names::key_label)]
    label: String,
    /// The digest: 32 bytes in hexadecimal
    #[arg(long, value_name = "HEX", value_parser = digest)]
    digest: Digest,
    /// The user whose code this is [default: the key's only user]
    #[arg(long, value_name = "NAME", value_parser = names::user_name)]
    user: Option<String>,
    #[command(flatten)]
    code: CodeFile,
    #[command(flatten)]
    pin: UserPin,
}

type Digest = [u8; DIGEST_LEN];

fn digest(text: &str) -> Result<Digest, String> {
    let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| format!("a digest is {DIGEST_LEN} bytes in hexadecimal"))
}

impl Sign {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let act = Act::SignDigest(&self.label);
        let module = Module::open(global)?;
        let session = module.user_session(&self.pin, Ask::OnStdin)?;
        let key = find_signing::<Record>(&session, &self.label)?;
        let code = CODE.obtain(self.code.code_file.as_deref(), Ask::OnStdin)?;
        let users = users_of(&session, key)?;
        let approval = approval::of_user(&session, (self.user.as_deref(), &users), &code)?;
        let mechanism = MechanismType::new_vendor_defined(v::CKM_COUNTERSIGN_DIGEST).during(act)?;
        let mechanism =
            VendorDefinedMechanism::new::<[u8; approval::APPROVAL_LEN]>(mechanism, Some(&approval));
        let signature = session.sign(&Mechanism::VendorDefined(mechanism), key, &self.digest).during(act);
        let signature = signature.map_err(|error| {
            error.with_rule_of(&session, &format!("countersign key show {}", names::quoted(&self.label)))
        })?;
        let signature = HEXLOWER.encode(&signature);
        let json = json!({ "key": self.label, "user": self.user, "signature": signature });
        Ok(Report::new(format!("{signature}\n"), json))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_32_bytes_of_hex() {
        assert_eq!(digest(&"5A".repeat(32)), Ok([0x5a; 32]));
        for bad in ["", "5a", &"5a".repeat(31), &"5a".repeat(33), &"5g".repeat(32)] {
            assert!(digest(bad).is_err(), "{bad}");
        }
    }
}
