//! The C interface, through the real module over a real SoftHSM2 token: one file for each chapter of PKCS#11 section 5.

mod boundary;

#[path = "pkcs11/at_once.rs"]
mod at_once;
#[path = "pkcs11/attacks.rs"]
mod attacks;
#[path = "pkcs11/attributes.rs"]
mod attributes;
#[path = "pkcs11/clock.rs"]
mod clock;
#[path = "pkcs11/digest_key.rs"]
mod digest_key;
#[path = "pkcs11/find.rs"]
mod find;
#[path = "pkcs11/functions.rs"]
mod functions;
#[path = "pkcs11/general.rs"]
mod general;
#[path = "pkcs11/key_management.rs"]
mod key_management;
#[path = "pkcs11/manners.rs"]
mod manners;
#[path = "pkcs11/message_sign.rs"]
mod message_sign;
#[path = "pkcs11/object.rs"]
mod object;
#[path = "pkcs11/random.rs"]
mod random;
#[path = "pkcs11/rules.rs"]
mod rules;
#[path = "pkcs11/session.rs"]
mod session;
#[path = "pkcs11/session_object.rs"]
mod session_object;
#[path = "pkcs11/sign.rs"]
mod sign;
#[path = "pkcs11/slot_token.rs"]
mod slot_token;
#[path = "pkcs11/template.rs"]
mod template;
#[path = "pkcs11/verify.rs"]
mod verify;
