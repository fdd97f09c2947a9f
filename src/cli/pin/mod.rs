//! `countersign pin …`: the backends' PIN, as the SO administers it.

mod lost;
mod set;
mod show;
mod unlock;

use clap::Subcommand;
use countersign::kernel::state::{PEER_TRIES, PIN_BUDGET};
use countersign::pkcs11::vendor as v;
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki_sys::{CK_ULONG, CKA_HW_FEATURE_TYPE};
use serde_json::{Value, json};

use crate::Global;
use crate::attributes::{self, Attributes, kind};
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::output::Report;

/// Show, unlock, declare lost and replace the user PIN, which backends log in with.
///
/// Backends change the PIN themselves, with C_SetPIN. The SO sets it once, with "countersign init", and replaces it only
/// after it was locked, or after the SO has declared it lost: no administrator becomes a backend unseen.
#[derive(Subcommand)]
pub(crate) enum Pin {
    Show(show::Show),
    Unlock(unlock::Unlock),
    Lost(lost::Lost),
    Set(set::Set),
}

impl Pin {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        match self {
            Pin::Show(verb) => verb.run(global),
            Pin::Unlock(verb) => verb.run(global),
            Pin::Lost(verb) => verb.run(global),
            Pin::Set(verb) => verb.run(global),
        }
    }
}

/// What the module shows the SO of the user PIN.
struct Shown {
    object: ObjectHandle,
    lost: bool,
    locked: bool,
    /// Wrong tries of all peers in the last 30 days.
    failures: CK_ULONG,
    /// Wrong tries in a row, and the peers that made them.
    peers: Vec<(u32, String)>,
}

impl Shown {
    fn read(session: &Session) -> Result<Shown, CommandError> {
        let template = [
            Attribute::Class(ObjectClass::HARDWARE_FEATURE),
            attributes::number(CKA_HW_FEATURE_TYPE, v::CKH_COUNTERSIGN_USER_PIN),
        ];
        let object =
            session.find_objects(&template).during(Act::Read)?.first().copied().ok_or_else(not_set)?;
        let types = [
            kind(v::CKA_COUNTERSIGN_LOCKED),
            kind(v::CKA_COUNTERSIGN_FAILURES),
            kind(v::CKA_COUNTERSIGN_PIN_LOST),
            kind(v::CKA_COUNTERSIGN_PIN_TRIES),
        ];
        let attributes = Attributes::read(session, object, &types, Act::Read)?;
        let line = |line: &str| {
            let (tries, peer) = line.split_once(' ')?;
            Some((tries.parse().ok()?, peer.to_owned()))
        };
        Ok(Shown {
            object,
            lost: attributes.truth(v::CKA_COUNTERSIGN_PIN_LOST).unwrap_or_default(),
            locked: attributes.truth(v::CKA_COUNTERSIGN_LOCKED).unwrap_or_default(),
            failures: attributes.number(v::CKA_COUNTERSIGN_FAILURES).unwrap_or_default(),
            peers: attributes.text(v::CKA_COUNTERSIGN_PIN_TRIES).lines().filter_map(line).collect(),
        })
    }

    /// Whether nobody can log in until a new PIN is set.
    fn is_closed(&self) -> bool {
        self.lost || self.is_exhausted() || (self.locked && !self.peers.iter().any(is_used_up))
    }

    fn is_exhausted(&self) -> bool {
        usize::try_from(self.failures).is_ok_and(|failures| failures >= PIN_BUDGET)
    }

    fn to_json(&self) -> Value {
        let peers: Vec<Value> = self
            .peers
            .iter()
            .map(|peer| json!({ "peer": peer.1, "tries": peer.0, "locked": is_used_up(peer) }))
            .collect();
        json!({ "lost": self.lost, "locked": self.locked, "failures": self.failures, "peers": peers })
    }
}

fn is_used_up((tries, _): &(u32, String)) -> bool {
    *tries >= PEER_TRIES
}

fn not_set() -> CommandError {
    CommandError::new(
        "the token has no user PIN yet",
        "run \"countersign init --label LABEL\" with the SO PIN to set it",
    )
}
