//! What is frozen, as far as one sees it without a PIN: users are seen after a login alone.

use countersign::pkcs11::vendor as v;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::Session;

use super::checks::{Check, State};
use crate::attributes::{Attributes, truth};
use crate::error::{CommandError, During};
use crate::freeze::is_all_frozen;
use crate::meaning::Act;

/// What of wallets and keys is frozen.
pub(super) fn check(session: &Session) -> Result<Check, CommandError> {
    let frozen = [Attribute::Class(ObjectClass::PUBLIC_KEY), truth(v::CKA_COUNTERSIGN_FROZEN, true)];
    let mut labels = Vec::new();
    for object in session.find_objects(&frozen).during(Act::Read)? {
        labels.push(Attributes::read(session, object, &[AttributeType::Label], Act::Read)?.label());
    }
    labels.sort_unstable();
    let (state, finding, next) = match (is_all_frozen(session)?, &labels[..]) {
        (true, _) => (
            State::Noted,
            "everything: nothing is signed, and no code is looked at".into(),
            Some("once it is known why, the SO ends it: countersign thaw --all"),
        ),
        (false, []) => (State::Good, "no wallet and no key".into(), None),
        (false, labels) => (
            State::Noted,
            format!("wallets and keys: {}", labels.join(", ")),
            Some(
                "once it is known why, the SO ends it: countersign wallet thaw LABEL, countersign key thaw LABEL",
            ),
        ),
    };
    Ok(Check { subject: "frozen", state, finding, next: next.map(Into::into) })
}
