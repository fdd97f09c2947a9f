//! `countersign user add`: `C_GenerateKey`, and the one reading of the `otpauth://` URI.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use countersign::kernel::factor::FactorKind;
use countersign::kernel::otp::HotpKey;
use countersign::pkcs11::vendor as v;
use cryptoki::mechanism::vendor_defined::VendorDefinedMechanism;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::Session;
use cryptoki_sys::{
    CK_MECHANISM_TYPE, CK_ULONG, CKA_OTP_LENGTH, CKA_OTP_SERVICE_IDENTIFIER, CKA_OTP_TIME_INTERVAL,
    CKM_SHA_1, CKM_SHA256, CKM_SHA512,
};
use serde_json::json;
use zeroize::Zeroizing;

use super::Record;
use crate::Global;
use crate::attributes::{Attributes, kind, number, text};
use crate::error::{CommandError, During};
use crate::kind::exists;
use crate::meaning::Act;
use crate::module::Module;
use crate::names::{self, printable, quoted};
use crate::output::Report;
use crate::qr;
use crate::secret::SoPin;

/// Enrol a user: the module makes a secret and shows it once, as a QR code.
///
/// The module makes the secret inside. This command reads its otpauth URI once; nobody can read it again. The user signs nothing
/// until a first code is confirmed.
#[derive(Args)]
pub(crate) struct Add {
    /// The user's name, 1 to 60 bytes, no ':'
    #[arg(value_parser = names::user_name)]
    name: String,
    /// The issuer that the authenticator shows, 1 to 128 bytes, no ':' [default: Countersign]
    #[arg(long, value_name = "TEXT", value_parser = names::issuer)]
    issuer: Option<String>,
    /// Digits of a code, 6 to 8
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u8).range(6..=8))]
    digits: u8,
    /// Seconds that one code lasts, 15 to 120
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u8).range(15..=120))]
    period: u8,
    /// Codes of a counter in place of the time (HOTP, 8 digits), as a YubiKey makes them
    #[arg(long, conflicts_with_all = ["digits", "period", "hash"])]
    hotp: bool,
    /// The hash function; many authenticators support only sha1
    #[arg(long, value_enum, default_value_t = Hash::Sha1)]
    hash: Hash,
    /// Write the QR code to this new file as SVG, readable by you alone
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    pin: SoPin,
}

#[derive(Clone, Copy, ValueEnum)]
enum Hash {
    Sha1,
    Sha256,
    Sha512,
}

impl Hash {
    fn mechanism(self) -> CK_MECHANISM_TYPE {
        match self {
            Hash::Sha1 => CKM_SHA_1,
            Hash::Sha256 => CKM_SHA256,
            Hash::Sha512 => CKM_SHA512,
        }
    }
}

impl Add {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.so_session(&self.pin)?;
        // The picture's file is made before the secret exists, because the URI is shown only once.
        let picture = self.svg.as_deref().map(NewFile::create).transpose()?;
        let user = self.generate(&session)?;
        match self.show(&session, user, picture) {
            Ok(report) => Ok(report),
            // Nobody has seen the secret, so nobody can use it.
            Err(mut error) => {
                error.next = match session.destroy_object(user) {
                    Ok(()) => {
                        format!(
                            "the user was not added: fix the cause ({}), then add the user again",
                            error.next
                        )
                    }
                    Err(_) => {
                        format!("run \"countersign user remove {}\", then add it again", quoted(&self.name))
                    }
                };
                Err(error)
            }
        }
    }

    fn generate(&self, session: &Session) -> Result<ObjectHandle, CommandError> {
        let act = Act::AddUser(&self.name);
        let mechanism = MechanismType::new_vendor_defined(v::CKM_COUNTERSIGN_TOTP_KEY_GEN).during(act)?;
        let mechanism = Mechanism::VendorDefined(VendorDefinedMechanism::new::<()>(mechanism, None));
        let mut attributes = vec![Attribute::Token(true), Attribute::Label(self.name.as_bytes().to_vec())];
        attributes.extend(match self.hotp {
            true => vec![number(v::CKA_COUNTERSIGN_FACTOR, FactorKind::Hotp as CK_ULONG)],
            false => vec![
                number(CKA_OTP_LENGTH, self.digits.into()),
                number(CKA_OTP_TIME_INTERVAL, self.period.into()),
                number(v::CKA_COUNTERSIGN_OTP_HASH, self.hash.mechanism()),
            ],
        });
        attributes.extend(self.issuer.as_deref().map(|issuer| text(CKA_OTP_SERVICE_IDENTIFIER, issuer)));
        session.generate_key(&mechanism, &attributes).during(act).map_err(|mut error| {
            // One answer covers several values, so this finds out which one it is, if possible.
            let taken = error.is("CKR_ATTRIBUTE_VALUE_INVALID") && exists::<Record>(session, &self.name);
            if taken {
                error.what = format!("there is already a user {}", self.name);
                error.next = "choose another name, or remove that user first".into();
            }
            error
        })
    }

    fn show(
        &self,
        session: &Session,
        user: ObjectHandle,
        picture: Option<NewFile>,
    ) -> Result<Report, CommandError> {
        let uri = read_uri(session, user, &self.name)?;
        let code = qr::for_terminal(&uri)?;
        let saved = match picture {
            Some(picture) => {
                let path = picture.path.display().to_string();
                picture.write(&qr::as_svg(&uri)?)?;
                Some(path)
            }
            None => None,
        };
        let name = printable(&self.name);
        let mut text =
            format!("User {name} is enrolled, but not confirmed yet.\n\n{}\n\n{}\n\n", *uri, *code);
        if let Some(path) = &saved {
            text.push_str(&format!(
                "The QR code is also in {path}. Destroy the file once you have scanned it.\n"
            ));
        }
        text.push_str("Scan the code with an authenticator now. Nobody can read it again.\n");
        let mut user = json!({
            "name": self.name,
            "confirmed": false,
            "otpauth_uri": *uri,
            "svg": saved,
        });
        if self.hotp {
            let secret = secret_in(&uri);
            text.push_str(&format!(
                "For a YubiKey, run \"ykman otp hotp 2 --digits {}\" and type this secret when it asks:\n\n{secret}\n",
                HotpKey::DIGITS
            ));
            user["factor"] = json!("hotp");
            user["digits"] = json!(HotpKey::DIGITS);
        } else {
            user["factor"] = json!("totp");
            user["digits"] = json!(self.digits);
            user["period"] = json!(self.period);
        }
        Ok(Report::new(text, json!({ "user": user }))
            .note(format!("next: countersign user confirm {}", quoted(&self.name))))
    }
}

/// The secret in an `otpauth://` URI, in base 32.
fn secret_in(uri: &str) -> &str {
    let fields = uri.split(['?', '&']);
    fields.filter_map(|field| field.strip_prefix("secret=")).next().unwrap_or_default()
}

fn read_uri(session: &Session, user: ObjectHandle, name: &str) -> Result<Zeroizing<String>, CommandError> {
    let number = v::CKA_COUNTERSIGN_OTPAUTH_URI;
    let attributes = Attributes::read(session, user, &[kind(number)], Act::ReadUri(name))?;
    let uri = Zeroizing::new(attributes.text(number));
    if uri.is_empty() {
        return Err(CommandError::new(
            format!("the module did not give the otpauth URI of user {name}"),
            "check that --module names the libcountersign.so of this version",
        ));
    }
    Ok(uri)
}

/// A file that did not exist before. If it is dropped before it is written, it is removed.
struct NewFile {
    file: Option<File>,
    path: PathBuf,
}

impl NewFile {
    fn create(path: &Path) -> Result<Self, CommandError> {
        let file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|reason| {
                CommandError::new(
                    format!("cannot create {}: {reason}; no user was added", path.display()),
                    "with --svg name a file that does not exist yet, in a folder that you may write to",
                )
            })?;
        Ok(NewFile { file: Some(file), path: path.to_owned() })
    }

    fn write(mut self, content: &str) -> Result<(), CommandError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(content.as_bytes()).and_then(|()| file.sync_all()).map_err(|reason| {
            CommandError::new(
                format!("cannot write {}: {reason}", self.path.display()),
                "free some space, or name another place with --svg",
            )
        })?;
        self.file = None;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            // An empty or half-written picture is useless. If it cannot be removed, that does no harm.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_picture_is_private_and_never_overwrites() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("alice.svg");
        NewFile::create(&path).expect("created").write("<svg/>").expect("written");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert!(NewFile::create(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "<svg/>");
    }

    #[test]
    fn an_unused_picture_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("alice.svg");
        drop(NewFile::create(&path));
        assert!(!path.exists());
    }
}
