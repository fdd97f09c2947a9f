//! Users, wallets and keys that sign digests: the kinds of objects that a verb names, and the verbs that are the
//! same for all of them.

use std::marker::PhantomData;

use clap::Args;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::Session;
use serde_json::{Map, Value};

use crate::Global;
use crate::error::{CommandError, During};
use crate::freeze;
use crate::meaning::Act;
use crate::module::Module;
use crate::output::{Report, table};
use crate::secret::EitherPin;

/// A kind of object. A value is what the module shows of one.
pub(crate) trait Kind: Sized + 'static {
    /// What a verb and an error call one of them.
    const ONE: &'static str;
    /// What JSON calls all of them.
    const ALL: &'static str;
    /// What the usage calls the name of one: NAME, or LABEL.
    const NAME: &'static str;
    /// The help for that name.
    const NAME_HELP: &'static str;
    /// The heading of the list.
    const COLUMNS: &'static [&'static str];
    /// The list while there are none, and what to do then.
    const NONE: (&'static str, &'static str);

    /// Checks a name by the module's rules.
    fn check_name(name: &str) -> Result<String, String>;

    /// What finds the objects of this kind that show all about it.
    fn template() -> Vec<Attribute>;

    /// Reads these objects. `name` is that of the only one, if it is known.
    fn read(
        session: &Session,
        objects: &[ObjectHandle],
        name: Option<&str>,
    ) -> Result<Vec<Self>, CommandError>;

    /// Changing the one of this name.
    fn changing(name: &str) -> Act<'_>;

    /// Its name.
    fn name(&self) -> &str;

    /// Its row in the list.
    fn row(&self) -> Vec<String>;

    /// Everything, for a program.
    fn to_json(&self) -> Value;
}

/// All objects of a kind, or the one with this name.
pub(crate) fn objects<K: Kind>(
    session: &Session,
    name: Option<&str>,
) -> Result<Vec<ObjectHandle>, CommandError> {
    let mut template = K::template();
    template.extend(name.map(|name| Attribute::Label(name.as_bytes().to_vec())));
    session.find_objects(&template).during(Act::Read)
}

/// The object with this name.
pub(crate) fn find<K: Kind>(session: &Session, name: &str) -> Result<ObjectHandle, CommandError> {
    objects::<K>(session, Some(name))?.first().copied().ok_or_else(|| unknown::<K>(name))
}

/// Whether there is one with this name, as far as the module says.
pub(crate) fn exists<K: Kind>(session: &Session, name: &str) -> bool {
    objects::<K>(session, Some(name)).is_ok_and(|objects| !objects.is_empty())
}

/// All of a kind, sorted by name.
pub(crate) fn read_all<K: Kind>(session: &Session) -> Result<Vec<K>, CommandError> {
    let mut all = K::read(session, &objects::<K>(session, None)?, None)?;
    all.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(all)
}

/// The one with this name.
pub(crate) fn read_one<K: Kind>(session: &Session, name: &str) -> Result<K, CommandError> {
    let found = K::read(session, &objects::<K>(session, Some(name))?, Some(name))?;
    found.into_iter().next().ok_or_else(|| unknown::<K>(name))
}

pub(crate) fn unknown<K: Kind>(name: &str) -> CommandError {
    let one = K::ONE;
    CommandError::new(
        format!("there is no {one} {name}"),
        format!("\"countersign {one} list\" lists the {one}s"),
    )
}

/// The argument that names one.
#[derive(Args)]
pub(crate) struct Named<K: Kind> {
    #[arg(value_name = K::NAME, help = K::NAME_HELP, value_parser = K::check_name)]
    pub(crate) name: String,
    #[arg(skip)]
    kind: PhantomData<K>,
}

/// The verb `list`.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    pin: EitherPin,
}

impl List {
    pub(crate) fn run<K: Kind>(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.either_session(&self.pin)?;
        let all = read_all::<K>(&session)?;
        let json = Map::from_iter([(K::ALL.to_owned(), all.iter().map(K::to_json).collect())]);
        if all.is_empty() {
            let (none, next) = K::NONE;
            return Ok(Report::new(none, json.into()).note(next));
        }
        let rows: Vec<Vec<String>> = all.iter().map(K::row).collect();
        freeze::with_note_of_all(&session, Report::new(table(K::COLUMNS, &rows), json.into()))
    }
}
