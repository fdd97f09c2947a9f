//! Puts a token's answer into words: the function, and the specification's name for the answer.

use cryptoki::error::{Error, RvError};

use crate::ports::BackingError;

/// The specification's name of an answer, for example `CKR_DEVICE_ERROR`, or its number if it has none.
pub fn rv_name(rv: &RvError) -> String {
    match rv {
        RvError::VendorDefined(number) | RvError::UnknownErrorCode(number) => format!("{number:#010X}"),
        // The crate's variants are the specification's names in another case.
        named => {
            let mut name = String::from("CKR");
            for letter in format!("{named:?}").chars() {
                if letter.is_ascii_uppercase() {
                    name.push('_');
                }
                name.push(letter.to_ascii_uppercase());
            }
            name
        }
    }
}

/// The answer of a call, for example "C_Login answered CKR_DEVICE_ERROR".
pub(super) fn said(error: &Error) -> String {
    match error {
        Error::Pkcs11(rv, function) => format!("C_{function:?} answered {}", rv_name(rv)),
        other => other.to_string(),
    }
}

/// Makes the error of a token that failed to do something: "it WHAT: C_… answered CKR_…".
pub(super) fn failed(what: &'static str) -> impl Fn(Error) -> BackingError {
    move |error| BackingError(format!("it {what}: {}", said(&error)))
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    #[test]
    fn an_answer_is_called_as_the_specification_calls_it() {
        let error = Error::Pkcs11(RvError::MechanismInvalid, Function::EncryptInit);
        assert_eq!(said(&error), "C_EncryptInit answered CKR_MECHANISM_INVALID");
        let error = Error::Pkcs11(RvError::VendorDefined(0x8000_0001), Function::InitPIN);
        assert_eq!(said(&error), "C_InitPIN answered 0x80000001");
        let BackingError(words) = failed("gives no randomness")(error);
        assert_eq!(words, "it gives no randomness: C_InitPIN answered 0x80000001");
    }
}
