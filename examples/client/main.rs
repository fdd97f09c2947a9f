//! A backend in Rust (crates `cryptoki`, `bitcoin`, `miniscript`), from a user's enrolment to a signed transaction.
//!
//! ```text
//! cargo run --example client -- enrol USER
//! cargo run --example client -- confirm USER
//! cargo run --example client -- wallet WALLET USER
//! cargo run --example client -- psbt WALLET UNSIGNED
//! cargo run --example client -- sign WALLET USER UNSIGNED SIGNED
//! cargo run --example client -- login WALLET USER UNSIGNED SIGNED
//! cargo run --example client -- finalise SIGNED
//! ```
//!
//! `COUNTERSIGN_MODULE` names the module. The security officer's verbs (the first three) take the PIN from
//! `COUNTERSIGN_SO_PIN`, the backend's from `COUNTERSIGN_USER_PIN`. The program asks for codes on the terminal. See `examples/README.md`.

mod watch_only;

use std::env;
use std::error::Error;
use std::fs;
use std::process::ExitCode;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Refusal, RvError};
use cryptoki::mechanism::vendor_defined::VendorDefinedMechanism;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;

// The numbers and the rules of `include/countersign.h`.
use countersign::kernel::rule::Rule;
use countersign::pkcs11::vendor::*;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["enrol", user] => enrol(user),
        ["confirm", user] => confirm(user),
        ["wallet", wallet, user] => create_wallet(wallet, user),
        ["psbt", wallet, unsigned] => make_psbt(wallet, unsigned),
        ["sign", wallet, user, unsigned, signed] => sign(wallet, user, unsigned, signed),
        ["login", wallet, user, unsigned, signed] => sign_by_login(wallet, user, unsigned, signed),
        ["finalise", signed] => finalise(signed),
        _ => Err("usage: enrol | confirm | wallet | psbt | sign | login | finalise, as above".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", explain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// The module makes the secret inside. It comes out once, as the `otpauth://` URI that an authenticator app scans.
fn enrol(user: &str) -> Outcome {
    let session = open_session(Some(UserType::So))?;
    let template =
        [Attribute::Class(ObjectClass::OTP_KEY), Attribute::Token(true), Attribute::Label(user.into())];
    let key = session.generate_key(&mechanism(CKM_COUNTERSIGN_TOTP_KEY_GEN, None)?, &template)?;
    // Show it to the user as a QR code, and keep no copy: anybody who has it can make codes.
    println!("{}", text(&session, key, CKA_COUNTERSIGN_OTPAUTH_URI)?);
    Ok(())
}

/// A first code shows that the user's app has the secret. Before that, the user's codes sign nothing.
fn confirm(user: &str) -> Outcome {
    let session = open_session(Some(UserType::So))?;
    let key = find(&session, ObjectClass::OTP_KEY, user)?;
    let code = ask_code(user)?;
    session.verify(&mechanism(CKM_COUNTERSIGN_TOTP, None)?, key, &[], code.as_bytes())?;
    println!("{user} is confirmed");
    Ok(())
}

/// The module makes the key inside, and the key never leaves. A watch-only wallet needs only the descriptor.
fn create_wallet(wallet: &str, user: &str) -> Outcome {
    let session = open_session(Some(UserType::So))?;
    let public = [Attribute::Label(wallet.into()), Attribute::Token(true)];
    let mut private = public.to_vec();
    private.extend([
        vendor(CKA_COUNTERSIGN_NETWORK, "regtest"),
        vendor(CKA_COUNTERSIGN_USERS, user),
        vendor(CKA_COUNTERSIGN_POLICY, "max_transaction_sat = 100000\nmax_fee_sat = 5000\n"),
    ]);
    let (public_key, _) =
        session.generate_key_pair(&mechanism(CKM_COUNTERSIGN_WALLET_KEY_GEN, None)?, &public, &private)?;
    println!("{}", text(&session, public_key, CKA_COUNTERSIGN_DESCRIPTOR)?);
    Ok(())
}

fn make_psbt(wallet: &str, unsigned: &str) -> Outcome {
    let session = open_session(None)?;
    let public_key = find(&session, ObjectClass::PUBLIC_KEY, wallet)?;
    let descriptor = text(&session, public_key, CKA_COUNTERSIGN_DESCRIPTOR)?;
    Ok(fs::write(unsigned, watch_only::payment(&descriptor)?)?)
}

/// The first way: the code is in the mechanism's parameter.
fn sign(wallet: &str, user: &str, unsigned: &str, signed: &str) -> Outcome {
    let session = open_session(Some(UserType::User))?;
    let key = find(&session, ObjectClass::PRIVATE_KEY, wallet)?;
    let approval = approval(user, &ask_code(user)?)?;
    let answer = session.sign(&mechanism(CKM_COUNTERSIGN_PSBT, Some(&approval))?, key, &fs::read(unsigned)?);
    Ok(fs::write(signed, telling_the_rule(&session, answer)?)?)
}

/// The second way: between `C_SignInit` and the signature the code is the PIN of a context-specific login.
fn sign_by_login(wallet: &str, user: &str, unsigned: &str, signed: &str) -> Outcome {
    let session = open_session(Some(UserType::User))?;
    let key = find(&session, ObjectClass::PRIVATE_KEY, wallet)?;
    let psbt = fs::read(unsigned)?;
    let pin = AuthPin::new(format!("{user}:{}", ask_code(user)?).into());
    session.sign_init(&mechanism(CKM_COUNTERSIGN_PSBT, None)?, key)?;
    // The login only carries the code: the call that signs checks it, once.
    session.login(UserType::ContextSpecific, Some(&pin))?;
    session.sign_update(&psbt)?;
    Ok(fs::write(signed, telling_the_rule(&session, session.sign_final())?)?)
}

/// Says which rule refused, if one did.
fn telling_the_rule(session: &Session, answer: Result<Vec<u8>, Refusal>) -> Result<Vec<u8>, Refusal> {
    if let Err(Refusal::Pkcs11(
        RvError::VendorDefined(CKR_COUNTERSIGN_POLICY | CKR_COUNTERSIGN_PSBT_REFUSED),
        _,
    )) = answer
    {
        let number = session.get_session_info()?.device_error();
        match Rule::of_number(number) {
            Some(rule) => eprintln!("{rule}: {}", rule.sentence()),
            None if number == 0 => {
                eprintln!("the module gives no rule number; look in the log of the boundary")
            }
            None => eprintln!("rule {number}, which is newer than this program"),
        }
    }
    answer
}

fn finalise(signed: &str) -> Outcome {
    println!("{}", watch_only::finalise(&fs::read(signed)?)?);
    Ok(())
}

/// `COUNTERSIGN_APPROVAL`: version 1, factor 1 (TOTP), both lengths, both texts padded with zeros.
fn approval(user: &str, code: &str) -> Outcome<[u8; 128]> {
    let (user, code) = (user.as_bytes(), code.as_bytes());
    let mut record = [0; 128];
    record[..4].copy_from_slice(&[1, 1, u8::try_from(user.len())?, u8::try_from(code.len())?]);
    let (_, texts) = record.split_at_mut(4);
    let (user_field, code_field) = texts.split_at_mut(60);
    user_field.get_mut(..user.len()).ok_or("the user's name is too long")?.copy_from_slice(user);
    code_field.get_mut(..code.len()).ok_or("the code is too long")?.copy_from_slice(code);
    Ok(record)
}

fn ask_code(user: &str) -> Outcome<String> {
    Ok(rpassword::prompt_password(format!("code of {user}: "))?)
}

/// A session on the first token: the security officer's, the backend's, or a public one.
fn open_session(role: Option<UserType>) -> Outcome<Session> {
    let module = Pkcs11::new(variable("COUNTERSIGN_MODULE")?)?;
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    let slot = module.get_slots_with_token()?.into_iter().next().ok_or("there is no token")?;
    let session = module.open_rw_session(slot)?;
    if let Some(role) = role {
        let pin = if matches!(role, UserType::So) { "COUNTERSIGN_SO_PIN" } else { "COUNTERSIGN_USER_PIN" };
        session.login(role, Some(&AuthPin::new(variable(pin)?.into())))?;
    }
    Ok(session)
}

fn variable(name: &str) -> Outcome<String> {
    Ok(env::var(name).map_err(|_| format!("{name} is not set"))?)
}

fn find(session: &Session, class: ObjectClass, label: &str) -> Outcome<ObjectHandle> {
    let found = session.find_objects(&[Attribute::Class(class), Attribute::Label(label.into())])?;
    Ok(*found.first().ok_or_else(|| format!("no object of this kind is called {label}"))?)
}

fn text(session: &Session, object: ObjectHandle, number: u64) -> Outcome<String> {
    match &session.get_attributes(object, &[AttributeType::VendorDefined(number)])?[..] {
        [Attribute::VendorDefined((_, value))] => Ok(String::from_utf8(value.clone())?),
        _ => Err("the module does not show it".into()),
    }
}

fn vendor(number: u64, value: &str) -> Attribute {
    Attribute::VendorDefined((AttributeType::VendorDefined(number), value.into()))
}

fn mechanism(number: u64, approval: Option<&[u8; 128]>) -> Outcome<Mechanism<'_>> {
    let kind = MechanismType::new_vendor_defined(number)?;
    Ok(Mechanism::VendorDefined(VendorDefinedMechanism::new(kind, approval)))
}

/// The message for the person who waits.
fn explain(error: &(dyn Error + 'static)) -> String {
    let Some(Refusal::Pkcs11(rv, _)) = error.downcast_ref() else { return error.to_string() };
    match *rv {
        RvError::PinIncorrect => {
            "CKR_PIN_INCORRECT: the code is wrong, used or stale (or a PIN is wrong); take the next code"
                .into()
        }
        RvError::PinLocked => {
            "CKR_PIN_LOCKED: too many codes or PINs were wrong, so this one was not checked; wait, or have the user unlocked".into()
        }
        RvError::VendorDefined(CKR_COUNTERSIGN_POLICY) => {
            "CKR_COUNTERSIGN_POLICY: the wallet's policy refuses the transaction, and the code is spent (rule 33: it is frozen, and nothing is spent)".into()
        }
        RvError::VendorDefined(CKR_COUNTERSIGN_PSBT_REFUSED) => {
            "CKR_COUNTERSIGN_PSBT_REFUSED: the PSBT breaks a rule; the code is not spent".into()
        }
        RvError::VendorDefined(CKR_COUNTERSIGN_STATE) => {
            "CKR_COUNTERSIGN_STATE: the module does not trust the sealed state; run countersign doctor".into()
        }
        RvError::VendorDefined(CKR_COUNTERSIGN_CLOCK) => {
            "CKR_COUNTERSIGN_CLOCK: the module does not trust the machine's clock; run countersign clock show"
                .into()
        }
        _ => error.to_string(),
    }
}
