//! An officer's secret key: a file in minisign's format, encrypted under a password.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use countersign::kernel::officer::OfficerKey;
use minisign::{ErrorKind, PublicKey, SecretKey, SecretKeyBox};
use zeroize::Zeroizing;

use crate::error::CommandError;
use crate::secret::{Ask, OFFICER_PASSWORD, Secret};

/// The file is a comment and a line of 212 characters, so a larger file is a mistake.
const FILE_MAX: u64 = 4096;
/// The beginning of a secret key: the algorithms of signature, key derivation and checksum.
const ENCRYPTED: &[u8] = b"EdScB2";
const NOT_ENCRYPTED: &[u8] = b"Ed\0\0B2";

/// A decrypted secret key and its public key.
pub(crate) struct KeyPair {
    pub(crate) secret: SecretKey,
    pub(crate) public: PublicKey,
    pub(crate) officer: OfficerKey,
}

/// A secret key's file that was read but not decrypted yet.
pub(crate) struct KeyFile(Zeroizing<String>);

impl KeyFile {
    /// Reads the file, and checks that it is an encrypted key.
    pub(crate) fn read(path: &Path) -> Result<KeyFile, CommandError> {
        let failed = |why: &str| {
            CommandError::new(
                format!("cannot use the secret key {}: {why}", path.display()),
                "name the file that \"countersign plugin keygen\" or \"minisign -G\" wrote with --secret-key",
            )
        };
        let file = File::open(path).map_err(|reason| failed(&reason.to_string()))?;
        if let Ok(metadata) = file.metadata()
            && metadata.is_file()
            && metadata.permissions().mode() & 0o077 != 0
        {
            eprintln!("warning: others can read {0}; next: chmod 600 {0}", path.display());
        }
        let mut text = Zeroizing::new(String::with_capacity(FILE_MAX as usize + 1));
        file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(|reason| failed(&reason.to_string()))?;
        if text.len() as u64 > FILE_MAX {
            return Err(failed("it is larger than 4096 bytes"));
        }
        let algorithms = text
            .lines()
            .nth(1)
            .and_then(|line| data_encoding::BASE64.decode(line.as_bytes()).ok().map(Zeroizing::new));
        match algorithms.as_deref().and_then(|bytes| bytes.get(..6)) {
            Some(ENCRYPTED) => Ok(KeyFile(text)),
            Some(NOT_ENCRYPTED) => {
                Err(failed("no password protects it, so anybody who copies it can sign as this officer"))
            }
            _ => Err(failed("it is not a secret key of minisign")),
        }
    }

    /// Decrypts it, with a password from the file or from a prompt.
    pub(crate) fn decrypt(self, password_file: Option<&Path>) -> Result<KeyPair, CommandError> {
        let password = OFFICER_PASSWORD.obtain(password_file, Ask::OnStdin)?;
        let boxed = SecretKeyBox::from(self.0.to_string());
        let secret = boxed.into_secret_key(Some(password.to_string())).map_err(|error| match error.kind() {
            ErrorKind::Verify => CommandError::new(
                "this password does not open the secret key; nothing was signed",
                "give the password that you chose when you made the key",
            ),
            _ => CommandError::new(
                format!("cannot decrypt the secret key: {error}; nothing was signed"),
                "name the file that \"countersign plugin keygen\" or \"minisign -G\" wrote with --secret-key",
            ),
        })?;
        KeyPair::of(secret)
    }
}

impl KeyPair {
    /// A new pair: the decrypted secret key, and its file's text encrypted under `password`.
    pub(crate) fn generate(
        password: &Secret,
    ) -> Result<(OfficerKey, String, Zeroizing<String>), CommandError> {
        let failed = |error: minisign::PError| {
            CommandError::new(format!("cannot make a key: {error}"), "free some memory, then try again")
        };
        let pair =
            minisign::KeyPair::generate_encrypted_keypair(Some(password.to_string())).map_err(failed)?;
        let officer = officer(&pair.pk)?;
        let comment = format!("countersign officer's secret key {}", officer.id());
        let secret = pair.sk.to_box(Some(&comment)).map_err(failed)?.into_string();
        let public = pair.pk.to_box().map_err(failed)?.into_string();
        Ok((officer, public, Zeroizing::new(secret)))
    }

    fn of(secret: SecretKey) -> Result<KeyPair, CommandError> {
        let public = PublicKey::from_secret_key(&secret).map_err(|error| {
            CommandError::new(format!("the secret key cannot be used: {error}"), "use the backup copy")
        })?;
        let officer = officer(&public)?;
        Ok(KeyPair { secret, public, officer })
    }
}

fn officer(public: &PublicKey) -> Result<OfficerKey, CommandError> {
    OfficerKey::parse(&public.to_base64()).ok_or_else(|| {
        CommandError::new("the secret key has no public key that can be pinned", "make another key")
    })
}
