//! The C interface through the client side: every test of `tests/pkcs11`, unchanged, by a module that is a client of a running
//! `countersign serve`; and what only a client can meet.

mod boundary;

#[path = "connected/amplified.rs"]
mod amplified;
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
#[path = "connected/lost.rs"]
mod lost;
#[path = "pkcs11/manners.rs"]
mod manners;
#[path = "pkcs11/message_sign.rs"]
mod message_sign;
#[path = "pkcs11/object.rs"]
mod object;
#[path = "connected/race.rs"]
mod race;
#[path = "pkcs11/random.rs"]
mod random;
#[path = "connected/roles.rs"]
mod roles;
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
#[path = "connected/trips.rs"]
mod trips;
#[path = "pkcs11/verify.rs"]
mod verify;
#[path = "connected/versions.rs"]
mod versions;
