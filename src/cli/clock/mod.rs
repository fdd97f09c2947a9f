//! `countersign clock …`: the clock object (PKCS#11 v3.2 section 4.3, "Clock").

pub(crate) mod set;
mod show;

use clap::Subcommand;
use countersign::kernel::utc::{from_digits, to_iso};
use countersign::pkcs11::vendor as v;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki_sys::{CKA_HW_FEATURE_TYPE, CKH_CLOCK};
use serde_json::{Value, json};

use crate::Global;
use crate::attributes::{self, Attributes, kind};
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::output::Report;

/// Show the clock that codes are checked against, or accept it.
#[derive(Subcommand)]
pub(crate) enum Clock {
    Show(show::Show),
    Set(set::Set),
}

impl Clock {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        match self {
            Clock::Show(verb) => verb.run(global),
            Clock::Set(verb) => verb.run(global),
        }
    }
}

/// What to do if the clock is not trusted.
pub(crate) const WAY_OUT: &str = "compare the clock with another one (\"timedatectl\" shows whether it is synchronised). If it \
                                  is wrong, set it right; if it is right, the SO accepts it with \"countersign clock set\"";

/// What the module says about its clock.
pub(crate) struct Shown {
    object: ObjectHandle,
    /// Unix time.
    time: Option<u64>,
    /// Why the module signs nothing, or empty if it trusts the clock.
    pub(crate) refusal: String,
}

impl Shown {
    /// Asks the module, which answers without a login.
    pub(crate) fn read(session: &Session) -> Result<Shown, CommandError> {
        let clock = [
            Attribute::Class(ObjectClass::HARDWARE_FEATURE),
            attributes::number(CKA_HW_FEATURE_TYPE, CKH_CLOCK),
        ];
        let object = session.find_objects(&clock).during(Act::Read)?.first().copied().ok_or_else(|| {
            CommandError::new(
                "the module shows no clock",
                "check that --module names the libcountersign.so of this version",
            )
        })?;
        let types = [AttributeType::Value, kind(v::CKA_COUNTERSIGN_CLOCK_REFUSAL)];
        let attributes = Attributes::read(session, object, &types, Act::Read)?;
        Ok(Shown {
            object,
            time: from_digits(attributes.value()),
            refusal: attributes.text(v::CKA_COUNTERSIGN_CLOCK_REFUSAL),
        })
    }

    fn time(&self) -> String {
        self.time.map_or("?".into(), to_iso)
    }

    fn to_json(&self) -> Value {
        let refusal = Some(&self.refusal).filter(|refusal| !refusal.is_empty());
        json!({
            "time": self.time,
            "time_utc": self.time.map(to_iso),
            "believed": refusal.is_none(),
            "refusal": refusal,
        })
    }
}
