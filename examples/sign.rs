//! What a backend in Rust does: sign a PSBT with a user's one-time code (crate `cryptoki`).
//!
//! ```text
//! COUNTERSIGN_MODULE=target/release/libcountersign.so COUNTERSIGN_USER_PIN=… \
//!     cargo run --example sign -- WALLET USER < unsigned.psbt > signed.psbt
//! ```
//!
//! The PSBT is binary. The code is asked for on the terminal: the backend passes it on, and cannot make one.

use std::env;
use std::error::Error;
use std::io::{Read, Write, stdin, stdout};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::vendor_defined::VendorDefinedMechanism;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;

use countersign::pkcs11::vendor::CKM_COUNTERSIGN_PSBT;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [wallet, user] = &arguments[..] else { return Err("usage: sign WALLET USER".into()) };
    let mut psbt = Vec::new();
    stdin().read_to_end(&mut psbt)?;
    let code = rpassword::prompt_password(format!("code of {user}: "))?;

    let module = Pkcs11::new(env::var("COUNTERSIGN_MODULE")?)?;
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    let slot = module.get_slots_with_token()?.into_iter().next().ok_or("no token")?;
    let session = module.open_ro_session(slot)?;
    session.login(UserType::User, Some(&AuthPin::new(env::var("COUNTERSIGN_USER_PIN")?.into())))?;

    let template = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Label(wallet.as_bytes().into())];
    let key = *session.find_objects(&template)?.first().ok_or("no wallet of that name")?;
    let approval = approval(user, &code)?;
    let mechanism = MechanismType::new_vendor_defined(CKM_COUNTERSIGN_PSBT)?;
    let mechanism = Mechanism::VendorDefined(VendorDefinedMechanism::new(mechanism, Some(&approval)));
    let signed = session.sign(&mechanism, key, &psbt)?;
    stdout().write_all(&signed)?;
    session.close()?;
    Ok(module.finalize()?)
}

/// The mechanism's parameter: one record of 128 bytes.
fn approval(user: &str, code: &str) -> Result<[u8; 128], Box<dyn Error>> {
    let (user, code) = (user.as_bytes(), code.as_bytes());
    let mut record = [0; 128];
    record[..4].copy_from_slice(&[1, 1, u8::try_from(user.len())?, u8::try_from(code.len())?]);
    record
        .get_mut(4..64)
        .and_then(|field| field.get_mut(..user.len()))
        .ok_or("user too long")?
        .copy_from_slice(user);
    record
        .get_mut(64..)
        .and_then(|field| field.get_mut(..code.len()))
        .ok_or("code too long")?
        .copy_from_slice(code);
    Ok(record)
}
