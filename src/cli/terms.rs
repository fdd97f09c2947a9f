//! What wallets and keys that sign digests have in common: users who approve, and a policy.

use std::path::Path;

use clap::Args;
use countersign::pkcs11::vendor as v;
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use serde_json::{Map, Value};

use crate::act::hand_to_officers;
use crate::attributes::{Attributes, kind as kind_of, text};
use crate::error::{CommandError, During};
use crate::freeze;
use crate::kind::{self, Kind, Named};
use crate::meaning::Act;
use crate::module::Module;
use crate::names::{printable, quoted};
use crate::output::Report;
use crate::secret::EitherPin;
use crate::{Global, at_fault, key, user, wallet};

/// A wallet, or a key that signs digests.
pub(crate) trait HasTerms: Kind {
    /// The names of its users.
    fn users(&self) -> &[String];

    /// Its policy, a TOML document.
    fn policy(&self) -> &str;

    /// Why it cannot have this policy with so many users, if the reason is one of them.
    fn refusal(&self, policy: &str, users: usize) -> Option<String>;

    /// Everything, for a person.
    fn to_text(&self) -> String;
}

/// The verb `show`.
#[derive(Args)]
pub(crate) struct Show<K: HasTerms> {
    #[command(flatten)]
    named: Named<K>,
    #[command(flatten)]
    pin: EitherPin,
}

impl<K: HasTerms> Show<K> {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.either_session(&self.pin)?;
        let one: K = kind::read_one(&session, &self.named.name)?;
        freeze::with_note_of_all(&session, Report::new(one.to_text(), json(&one)))
    }
}

fn json<K: Kind>(one: &K) -> Value {
    Map::from_iter([(K::ONE.to_owned(), one.to_json())]).into()
}

/// The report on a wallet or key that was `done`: created, changed or registered.
pub(crate) fn report<K: HasTerms>(one: &K, done: &str) -> Report {
    let (what, name) = (capitalised(K::ONE), printable(one.name()));
    Report::new(format!("{what} {name} is {done}.\n\n{}", one.to_text()), json(one))
}

/// A word at the beginning of a sentence.
pub(crate) fn capitalised(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}

/// The object that signs.
pub(crate) fn find_signing<K: HasTerms>(
    session: &Session,
    label: &str,
) -> Result<ObjectHandle, CommandError> {
    let mut template = K::template();
    template.retain(|attribute| !matches!(attribute, Attribute::Class(_)));
    template
        .extend([Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Label(label.as_bytes().to_vec())]);
    let objects = session.find_objects(&template).during(Act::Read)?;
    objects.first().copied().ok_or_else(|| kind::unknown::<K>(label))
}

/// The names of the users of a wallet or key.
pub(crate) fn users_of(session: &Session, key: ObjectHandle) -> Result<Vec<String>, CommandError> {
    let number = v::CKA_COUNTERSIGN_USERS;
    let names = Attributes::read(session, key, &[kind_of(number)], Act::Read)?.text(number);
    Ok(names.lines().map(str::to_owned).collect())
}

/// The labels of the wallets, or of the keys, that sign on this user's codes.
pub(crate) fn labels_of<K: HasTerms>(session: &Session, user: &str) -> Result<Vec<String>, CommandError> {
    let all = kind::read_all::<K>(session)?;
    let theirs = all.iter().filter(|one| one.users().iter().any(|name| name == user));
    Ok(theirs.map(|one| one.name().to_owned()).collect())
}

/// New terms for a wallet or key.
pub(crate) struct NewTerms<'a> {
    pub(crate) label: &'a str,
    /// Other users, or none to leave them as they are.
    pub(crate) users: &'a [String],
    /// Another policy, or none to leave it as it is.
    pub(crate) policy: Option<String>,
    /// The file that it comes from, if it comes from one.
    pub(crate) policy_file: Option<&'a Path>,
}

impl NewTerms<'_> {
    /// Changes the wallet or key with this label, all in one call. `further` has changes of what only this kind has.
    /// `name_the_fault` says more about a refusal that neither users nor policy explain.
    pub(crate) fn set<K: HasTerms>(
        &self,
        session: &Session,
        further: Option<Attribute>,
        name_the_fault: impl FnOnce(&K, CommandError) -> CommandError,
    ) -> Result<Report, CommandError> {
        let object = kind::find::<K>(session, self.label)?;
        let before: K = kind::read_one(session, self.label)?;
        let users = (!self.users.is_empty()).then(|| text(v::CKA_COUNTERSIGN_USERS, &self.users.join("\n")));
        let policy = self.policy.as_ref().map(|policy| text(v::CKA_COUNTERSIGN_POLICY, policy));
        let changes: Vec<Attribute> = users.into_iter().chain(policy).chain(further).collect();
        session
            .update_attributes(object, &changes)
            .during(K::changing(self.label))
            .map_err(|error| hand_to_officers(session, error))
            .map_err(|error| name_the_bad_user(session, self.users, error))
            .map_err(|error| name_the_fault(&before, self.name_the_policy(&before, error)))?;
        Ok(report(&kind::read_one::<K>(session, self.label)?, "changed"))
    }

    /// If the policy cannot be read, or asks for more users than there are.
    fn name_the_policy<K: HasTerms>(&self, before: &K, mut error: CommandError) -> CommandError {
        let users = if self.users.is_empty() { before.users().len() } else { self.users.len() };
        let reason = before.refusal(self.policy.as_deref().unwrap_or(before.policy()), users);
        if let Some(reason) = reason.filter(|_| error.is("CKR_ATTRIBUTE_VALUE_INVALID")) {
            error.next = at_fault::next_for_policy(&reason, self.policy_file);
            error.what = format!("{} {} stays as it was: {reason}", K::ONE, before.name());
        }
        error
    }
}

/// After the module refused to make a wallet or key: the one that has its label already. Both have their labels from
/// one stock.
pub(crate) fn taken(session: &Session, label: &str) -> Option<&'static str> {
    if kind::exists::<wallet::Record>(session, label) {
        Some(wallet::Record::ONE)
    } else {
        kind::exists::<key::Record>(session, label).then_some(key::Record::ONE)
    }
}

/// After the module refused a value: finds out whether it was a user who does not exist.
pub(crate) fn name_the_bad_user(
    session: &Session,
    users: &[String],
    mut error: CommandError,
) -> CommandError {
    if !error.is("CKR_ATTRIBUTE_VALUE_INVALID") {
        return error;
    }
    if let Some(name) = users.iter().find(|name| !kind::exists::<user::Record>(session, name)) {
        error.what = format!("--user: there is no user {name}");
        error.next = format!("enrol the user first: countersign user add {}", quoted(name));
    }
    error
}
