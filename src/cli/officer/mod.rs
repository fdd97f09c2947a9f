//! What an officer does with their key: the same for a release and for an act.

mod key_file;

use crate::error::CommandError;
pub(crate) use key_file::{KeyFile, KeyPair};

impl KeyPair {
    /// The signature in minisign's format, after verifying it: the result of a fault while signing must not leave
    /// this process. The comment is signed as well. It has one line.
    pub(crate) fn sign(&self, bytes: &[u8], comment: &str) -> Result<String, CommandError> {
        let failed = |reason: String| {
            CommandError::new(format!("cannot make the signature: {reason}"), "try again, on another machine")
        };
        let untrusted = format!("countersign officer's signature {}", self.officer.id());
        let signed = minisign::sign(Some(&self.public), &self.secret, bytes, Some(comment), Some(&untrusted));
        let text = signed.map_err(|error| failed(error.to_string()))?.into_string();
        if self.officer.has_signed(bytes, &text) {
            Ok(text)
        } else {
            Err(failed("it does not verify".into()))
        }
    }
}
