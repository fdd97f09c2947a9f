//! Shows a document that an act of administration put in force, to a person or a program.

use countersign::kernel::act::Document;
use countersign::kernel::act::document::{
    ClockDocument, CountingUserDocument, CredentialDocument, CredentialsDocument, KeyDocument, TokenDocument,
    UserDocument, WalletDocument,
};
use countersign::kernel::digest_key::DigestMechanisms;
use countersign::kernel::freeze::{Freeze, Freezer};
use countersign::kernel::otp::OtpHash;
use countersign::kernel::utc::to_iso;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::output::{details, yes_no};

/// The whole document.
pub(super) fn to_json(document: &Document) -> Value {
    match document {
        Document::Token(TokenDocument { label, serial, so_pin, user_pin }) => json!({ "token": {
            "label": label,
            "serial": HEXLOWER.encode(serial),
            "so_pin": HEXLOWER.encode(so_pin),
            "user_pin": user_pin.map(|pin| HEXLOWER.encode(&pin)),
        } }),
        Document::User(UserDocument { name, issuer, key_id, hash, digits, period, confirmed }) => {
            json!({ "user": {
                "name": name,
                "issuer": issuer,
                "otp_key": HEXLOWER.encode(key_id),
                "hash": hash_name(*hash),
                "digits": digits,
                "period": period,
                "confirmed": confirmed,
            } })
        }
        Document::Wallet(wallet) => {
            let WalletDocument { label, cka_id, network, users, policy, fingerprint, path, xpub, descriptor } =
                &**wallet;
            json!({ "wallet": {
                "label": label,
                "cka_id": HEXLOWER.encode(cka_id),
                "network": network.name(),
                "users": users,
                "policy": policy,
                "fingerprint": HEXLOWER.encode(fingerprint),
                "path": path,
                "xpub": xpub,
                "descriptor": descriptor,
                "id": descriptor.as_deref().map(wallet_id),
            } })
        }
        Document::Key(KeyDocument { label, cka_id, users, policy, mechanisms, public_key }) => {
            json!({ "key": {
                "label": label,
                "cka_id": HEXLOWER.encode(cka_id),
                "users": users,
                "policy": policy,
                "mechanisms": mechanism_names(*mechanisms),
                "public_key": HEXLOWER.encode(public_key),
            } })
        }
        Document::Clock(ClockDocument { wall, boot }) => {
            json!({ "clock": { "time": wall, "time_utc": to_iso(*wall), "since_boot_s": boot } })
        }
        Document::Freeze(Freeze { what, name, since, by }) => json!({ "freeze": {
            "what": what.name(),
            "name": name,
            "since": since,
            "since_utc": to_iso(*since),
            "by": freezer_name(*by),
        } }),
        Document::Council(text) => json!({ "officers": { "text": text } }),
        Document::Credentials(CredentialsDocument { user, key_id, credentials }) => {
            let (mut devices, mut passkeys) = (Vec::new(), Vec::new());
            for credential in credentials {
                match credential {
                    CredentialDocument::Device { name, network, address, since } => devices.push(json!({
                        "name": name,
                        "network": network.name(),
                        "address": address,
                        "since": since,
                        "since_utc": to_iso(*since),
                    })),
                    CredentialDocument::Passkey { name, id, public_key, is_shared, since } => {
                        passkeys.push(json!({
                            "name": name,
                            "id": BASE64URL_NOPAD.encode(id),
                            "public_key": BASE64URL_NOPAD.encode(public_key),
                            "shared": is_shared,
                            "since": since,
                            "since_utc": to_iso(*since),
                        }));
                    }
                }
            }
            json!({ "credentials": {
                "user": user,
                "otp_key": HEXLOWER.encode(key_id),
                "devices": devices,
                "passkeys": passkeys,
            } })
        }
        Document::CountingUser(CountingUserDocument { name, issuer, key_id, digits, confirmed }) => {
            json!({ "user": {
                "name": name,
                "issuer": issuer,
                "otp_key": HEXLOWER.encode(key_id),
                "factor": "hotp",
                "digits": digits,
                "confirmed": confirmed,
            } })
        }
    }
}

/// The kind of its object.
pub(super) fn kind(document: &Document) -> &'static str {
    match document {
        Document::Token(_) => "token",
        Document::User(_) | Document::CountingUser(_) => "user",
        Document::Wallet(_) => "wallet",
        Document::Key(_) => "key",
        Document::Clock(_) => "clock",
        Document::Freeze(_) => "freeze",
        Document::Council(_) => "officers",
        Document::Credentials(_) => "credentials",
    }
}

/// The whole document, one line for each thing. A policy is shown as it is.
pub(super) fn to_text(document: &Document) -> String {
    let hex = |bytes: &[u8]| HEXLOWER.encode(bytes);
    let mut lines = match document {
        Document::Token(token) => vec![
            ("label", token.label.clone()),
            ("serial", hex(&token.serial)),
            ("SO PIN", format!("the one named {}", hex(&token.so_pin))),
            (
                "user PIN",
                token.user_pin.map_or("not set".into(), |pin| format!("the one named {}", hex(&pin))),
            ),
        ],
        Document::User(user) => vec![
            ("name", user.name.clone()),
            ("issuer", user.issuer.clone()),
            ("OTP key", hex(&user.key_id)),
            ("hash", hash_name(user.hash).into()),
            ("digits", user.digits.to_string()),
            ("period", user.period.to_string()),
            ("confirmed", yes_no(Some(user.confirmed))),
        ],
        Document::CountingUser(user) => vec![
            ("name", user.name.clone()),
            ("issuer", user.issuer.clone()),
            ("OTP key", hex(&user.key_id)),
            ("codes", "HOTP".into()),
            ("digits", user.digits.to_string()),
            ("confirmed", yes_no(Some(user.confirmed))),
        ],
        Document::Wallet(wallet) => vec![
            ("label", wallet.label.clone()),
            ("CKA_ID", hex(&wallet.cka_id)),
            ("network", wallet.network.name().into()),
            ("users", wallet.users.join("\n")),
            ("fingerprint", hex(&wallet.fingerprint)),
            ("path", wallet.path.clone()),
            ("xpub", wallet.xpub.clone()),
            ("descriptor", wallet.descriptor.clone().unwrap_or("not registered yet".into())),
            ("id", wallet.descriptor.as_deref().map_or("not registered yet".into(), wallet_id)),
            ("policy", wallet.policy.clone()),
        ],
        Document::Key(key) => vec![
            ("label", key.label.clone()),
            ("CKA_ID", hex(&key.cka_id)),
            ("users", key.users.join("\n")),
            ("mechanisms", mechanism_names(key.mechanisms).join(", ")),
            ("public key", hex(&key.public_key)),
            ("policy", key.policy.clone()),
        ],
        Document::Clock(clock) => {
            vec![("time", to_iso(clock.wall)), ("since boot", format!("{} s", clock.boot))]
        }
        Document::Freeze(freeze) => vec![
            ("frozen", format!("{} {}", freeze.what.name(), freeze.name).trim_end().into()),
            ("since", to_iso(freeze.since)),
            ("by", freezer_name(freeze.by).into()),
        ],
        Document::Council(council) => vec![("officers", council.trim_end().into())],
        Document::Credentials(CredentialsDocument { user, key_id, credentials }) => {
            let (mut devices, mut passkeys) = (Vec::new(), Vec::new());
            for credential in credentials {
                match credential {
                    CredentialDocument::Device { name, network, address, since } => {
                        devices.push(format!(
                            "{name}: {} {address}, since {}",
                            network.name(),
                            to_iso(*since)
                        ));
                    }
                    CredentialDocument::Passkey { name, id, since, .. } => {
                        let id = BASE64URL_NOPAD.encode(id);
                        passkeys.push(format!("{name}: {id}, since {}", to_iso(*since)));
                    }
                }
            }
            vec![
                ("user", user.clone()),
                ("OTP key", hex(key_id)),
                ("devices", devices.join("\n")),
                ("passkeys", passkeys.join("\n")),
            ]
        }
    };
    lines.push(("digest", document.digest().to_string()));
    details(&lines)
}

/// The wallet id, which every cosigner can compute.
fn wallet_id(descriptor: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(descriptor))
}

fn freezer_name(by: Freezer) -> &'static str {
    match by {
        Freezer::SecurityOfficer => "security officer",
        Freezer::Officer => "officer",
    }
}

fn hash_name(hash: OtpHash) -> &'static str {
    match hash {
        OtpHash::Sha1 => "sha1",
        OtpHash::Sha256 => "sha256",
        OtpHash::Sha512 => "sha512",
    }
}

fn mechanism_names(mechanisms: DigestMechanisms) -> Vec<&'static str> {
    let names = [("digest", mechanisms.digest), ("ecdsa", mechanisms.ecdsa)];
    names.into_iter().filter_map(|(name, is_allowed)| is_allowed.then_some(name)).collect()
}
