//! `countersign user …`: the people whose codes sign.

mod add;
mod confirm;
mod device;
mod remove;
mod resync;
mod show;
mod unlock;

use std::collections::BTreeMap;

use clap::Subcommand;
use countersign::kernel::factor::FactorKind;
use countersign::pkcs11::vendor as v;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki_sys::{
    CK_ATTRIBUTE_TYPE, CK_ULONG, CKA_OTP_LENGTH, CKA_OTP_TIME_INTERVAL, CKM_SHA_1, CKM_SHA256, CKM_SHA512,
};
use serde_json::{Value, json};

use crate::Global;
use crate::attributes::{self, Attributes, kind};
use crate::error::{CommandError, During};
use crate::freeze::FreezeOne;
use crate::kind::{Kind, List};
use crate::meaning::Act;
use crate::names;
use crate::output::{Report, yes_no};

/// Enrol, confirm, list, resynchronise, unlock, freeze and remove users.
#[derive(Subcommand)]
pub(crate) enum User {
    Add(add::Add),
    Confirm(confirm::Confirm),
    /// List the users.
    List(List),
    Show(show::Show),
    Resync(resync::Resync),
    Unlock(unlock::Unlock),
    /// Freeze a user, at once: no code of theirs is looked at until you thaw them.
    ///
    /// Whatever carries a code of a frozen user is refused whole, whoever else approves it. You can unlock or remove a frozen user. Removing
    /// the user ends the freeze, and a user who is enrolled later under the same name is not frozen.
    Freeze(FreezeOne<Record>),
    /// End the freeze of a user.
    Thaw(FreezeOne<Record>),
    Remove(remove::Remove),
    #[command(subcommand)]
    Device(device::Device),
}

impl User {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        match self {
            User::Add(verb) => verb.run(global),
            User::Device(verb) => verb.run(global),
            User::Confirm(verb) => verb.run(global),
            User::List(verb) => verb.run::<Record>(global),
            User::Show(verb) => verb.run(global),
            User::Resync(verb) => verb.run(global),
            User::Unlock(verb) => verb.run(global),
            User::Freeze(verb) => verb.freeze(global),
            User::Thaw(verb) => verb.thaw(global),
            User::Remove(verb) => verb.run(global),
        }
    }
}

/// What the module shows of a user.
pub(crate) struct Record {
    name: String,
    confirmed: Option<bool>,
    locked: Option<bool>,
    /// Wrong tries in the last 30 days.
    failures: Option<CK_ULONG>,
    /// The breaker has stopped all codes.
    stopped: Option<bool>,
    /// No code of theirs is looked at.
    frozen: Option<bool>,
    /// The name of their factor.
    factor: Option<&'static str>,
    hash: Option<&'static str>,
    digits: Option<CK_ULONG>,
    /// None for codes of a counter, too.
    period: Option<CK_ULONG>,
}

impl Kind for Record {
    const ONE: &'static str = "user";
    const ALL: &'static str = "users";
    const NAME: &'static str = "NAME";
    const NAME_HELP: &'static str = "The user's name";
    const COLUMNS: &'static [&'static str] =
        &["NAME", "CONFIRMED", "LOCKED", "FROZEN", "FAILURES", "FACTOR", "DIGITS", "PERIOD", "HASH"];
    const NONE: (&'static str, &'static str) = ("There are no users.\n", "next: countersign user add NAME");

    fn check_name(name: &str) -> Result<String, String> {
        names::user_name(name)
    }

    fn template() -> Vec<Attribute> {
        vec![Attribute::Class(ObjectClass::OTP_KEY)]
    }

    fn read(
        session: &Session,
        objects: &[ObjectHandle],
        name: Option<&str>,
    ) -> Result<Vec<Record>, CommandError> {
        let digits = values(session, name, objects, CKA_OTP_LENGTH, 6..=8)?;
        let by_time = by_time(session, objects)?;
        let periods =
            values(session, name, &by_time, CKA_OTP_TIME_INTERVAL, [30, 60].into_iter().chain(15..=120))?;
        let types = [
            AttributeType::Label,
            kind(v::CKA_COUNTERSIGN_CONFIRMED),
            kind(v::CKA_COUNTERSIGN_LOCKED),
            kind(v::CKA_COUNTERSIGN_FAILURES),
            kind(v::CKA_COUNTERSIGN_OTP_HASH),
            kind(v::CKA_COUNTERSIGN_STOPPED),
            kind(v::CKA_COUNTERSIGN_FROZEN),
            kind(v::CKA_COUNTERSIGN_FACTOR),
        ];
        let read = |object: &ObjectHandle| {
            let attributes = Attributes::read(session, *object, &types, Act::Read)?;
            Ok(Record {
                name: attributes.label(),
                confirmed: attributes.truth(v::CKA_COUNTERSIGN_CONFIRMED),
                locked: attributes.truth(v::CKA_COUNTERSIGN_LOCKED),
                failures: attributes.number(v::CKA_COUNTERSIGN_FAILURES),
                stopped: attributes.truth(v::CKA_COUNTERSIGN_STOPPED),
                frozen: attributes.truth(v::CKA_COUNTERSIGN_FROZEN),
                factor: attributes.number(v::CKA_COUNTERSIGN_FACTOR).map_or(Some(TOTP), factor_name),
                hash: attributes.number(v::CKA_COUNTERSIGN_OTP_HASH).and_then(hash_name),
                digits: digits.get(&object.handle()).copied(),
                period: periods.get(&object.handle()).copied(),
            })
        };
        objects.iter().map(read).collect()
    }

    fn changing(name: &str) -> Act<'_> {
        Act::SetUser(name)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            yes_no(self.confirmed),
            yes_no(self.locked),
            yes_no(self.frozen),
            told(self.failures),
            self.factor.unwrap_or("?").to_owned(),
            told(self.digits),
            self.period(),
            self.hash.unwrap_or("?").to_owned(),
        ]
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "confirmed": self.confirmed,
            "locked": self.locked,
            "failures": self.failures,
            "stopped": self.stopped,
            "frozen": self.frozen,
            "factor": self.factor,
            "hash": self.hash,
            "digits": self.digits,
            "period": self.period,
        })
    }
}

impl Record {
    /// The time step, if the codes have one.
    fn period(&self) -> String {
        if self.factor == Some(HOTP) { "-".into() } else { told(self.period) }
    }
}

const TOTP: &str = FactorKind::Totp.name();
const HOTP: &str = FactorKind::Hotp.name();

/// The users among these whose codes have a time step.
fn by_time(session: &Session, objects: &[ObjectHandle]) -> Result<Vec<ObjectHandle>, CommandError> {
    let number = v::CKA_COUNTERSIGN_FACTOR;
    let mut by_time = Vec::with_capacity(objects.len());
    for object in objects {
        let factor = Attributes::read(session, *object, &[kind(number)], Act::Read)?.number(number);
        if factor.is_none_or(|factor| factor == FactorKind::Totp as CK_ULONG) {
            by_time.push(*object);
        }
    }
    Ok(by_time)
}

fn factor_name(number: CK_ULONG) -> Option<&'static str> {
    Some(FactorKind::of_number(u8::try_from(number).ok()?)?.name())
}

/// A standard attribute's value for each object, found by searching for each candidate.
///
/// The crate can write the `CKA_OTP_*` attributes but cannot read them, because it has no variants for them.
fn values(
    session: &Session,
    name: Option<&str>,
    objects: &[ObjectHandle],
    attribute: CK_ATTRIBUTE_TYPE,
    candidates: impl IntoIterator<Item = CK_ULONG>,
) -> Result<BTreeMap<CK_ULONG, CK_ULONG>, CommandError> {
    let mut found = BTreeMap::new();
    for candidate in candidates {
        if found.len() >= objects.len() {
            break;
        }
        let mut template = Record::template();
        template.extend(name.map(|name| Attribute::Label(name.as_bytes().to_vec())));
        template.push(attributes::number(attribute, candidate));
        for object in session.find_objects(&template).during(Act::Read)? {
            found.insert(object.handle(), candidate);
        }
    }
    Ok(found)
}

/// A number for a person, or `?` if the module does not show it.
fn told(value: Option<CK_ULONG>) -> String {
    value.map_or("?".to_owned(), |value| value.to_string())
}

fn hash_name(mechanism: CK_ULONG) -> Option<&'static str> {
    match mechanism {
        CKM_SHA_1 => Some("sha1"),
        CKM_SHA256 => Some("sha256"),
        CKM_SHA512 => Some("sha512"),
        _ => None,
    }
}
