//! The bounds of a call.

use std::collections::BTreeSet;

use cryptoki_sys::{CK_ATTRIBUTE_TYPE, CKA_VALUE};

use super::{Bytes, Mechanism, Request, Room, TemplateEntry, Wanted, bare};
use crate::kernel::consent::MAX_STATEMENT_LEN;
use crate::kernel::motion::MAX_TEXT_LEN;
use crate::kernel::name::MAX_SIGNERS;
use crate::kernel::pin;
use crate::kernel::psbt::MAX_PSBT_LEN;
use crate::pkcs11::rv::Answer;
use crate::pkcs11::vendor::CKA_COUNTERSIGN_STATEMENT;

/// The longest code, PIN or user name that is read here. Later checks know the exact bounds.
pub(in crate::pkcs11) const MAX_PIN_LEN: usize = pin::MAX_LEN;
/// The most random bytes in one call.
pub(in crate::pkcs11) const MAX_RANDOM_LEN: u64 = 1 << 20;
/// The most attributes in one template.
pub(in crate::pkcs11) const MAX_ATTRIBUTES: usize = 256;
/// The longest value of an attribute in a template, and the longest mechanism parameter.
pub(in crate::pkcs11) const MAX_VALUE_LEN: usize = 64 * 1024;

/// The longest value of an attribute of this type that is shown. The text of an act has both documents, the old one and the new one, and a
/// proposed transaction has a statement for each user who is asked.
pub(in crate::pkcs11) const fn max_value_len(kind: CK_ATTRIBUTE_TYPE) -> usize {
    match kind {
        CKA_VALUE => MAX_TEXT_LEN,
        CKA_COUNTERSIGN_STATEMENT => MAX_SIGNERS * MAX_STATEMENT_LEN,
        _ => MAX_VALUE_LEN,
    }
}

/// The longest value of an attribute of this type that is given. A transaction that is proposed is a PSBT.
pub(in crate::pkcs11) const fn max_given_len(kind: CK_ATTRIBUTE_TYPE) -> usize {
    match kind {
        CKA_VALUE => MAX_PSBT_LEN,
        _ => MAX_VALUE_LEN,
    }
}

impl Request {
    /// Whether the request keeps the bounds that `entry` enforces, because a peer can send anything over a
    /// connection.
    pub(in crate::pkcs11) fn is_bounded(&self) -> bool {
        let pin = |pin: &Bytes| pin.len() <= MAX_PIN_LEN;
        let template = |template: &[TemplateEntry]| {
            template.len() <= MAX_ATTRIBUTES
                && template.iter().all(|entry| entry.value.len() <= max_given_len(entry.kind))
        };
        let mechanism = |mechanism: &Mechanism| mechanism.parameter.len() <= MAX_VALUE_LEN;
        let psbt = |psbt: &Answer<Bytes>| {
            psbt.as_ref().is_ok_and(|psbt| psbt.len() <= MAX_PSBT_LEN) || psbt.is_err()
        };
        let code = |code: &Answer<Bytes>| code.as_ref().is_ok_and(pin) || code.is_err();
        let approval = |parameter: &Answer<Bytes>| {
            parameter.as_ref().is_ok_and(|parameter| parameter.len() <= MAX_VALUE_LEN) || parameter.is_err()
        };
        match self {
            Request::InitToken { pin: so_pin, .. } | Request::InitPin { pin: so_pin, .. } => pin(so_pin),
            Request::SetPin { old, new, .. } => pin(old) && pin(new),
            Request::Login { user, pin: login, .. } => user.as_ref().is_none_or(pin) && pin(login),
            Request::GetAttributeValue { wanted, .. } => {
                wanted.len() <= MAX_ATTRIBUTES && room_named_again(wanted) <= MAX_VALUE_LEN as u64
            }
            Request::CreateObject { template: entries, .. }
            | Request::CopyObject { template: entries, .. }
            | Request::SetAttributeValue { template: entries, .. }
            | Request::FindObjectsInit { template: entries, .. } => template(entries),
            Request::SignInit { mechanism: named, .. }
            | Request::MessageSignInit { mechanism: named, .. }
            | Request::VerifyInit { mechanism: named, .. } => named.as_ref().is_none_or(mechanism),
            Request::Sign { data: part, .. }
            | Request::SignUpdate { part, .. }
            | Request::VerifyUpdate { part, .. }
            | Request::VerifySignature { data: part, .. }
            | Request::VerifySignatureUpdate { part, .. } => psbt(part),
            Request::SignMessage { parameter, data: part, .. }
            | Request::SignMessageNext { parameter, part, .. } => approval(parameter) && psbt(part),
            Request::SignMessageBegin { parameter, .. } => approval(parameter),
            Request::Verify { data, signature, .. } => psbt(data) && code(signature),
            Request::VerifyFinal { signature, .. } => code(signature),
            Request::VerifySignatureInit { mechanism: named, signature, .. } => {
                named.as_ref().is_none_or(mechanism) && code(signature)
            }
            Request::GenerateKey { mechanism: named, template: entries, .. } => {
                mechanism(named) && template(entries)
            }
            Request::GenerateKeyPair { mechanism: named, public, private, .. } => {
                mechanism(named) && template(public) && template(private)
            }
            Request::GenerateRandom { len, .. } => *len <= MAX_RANDOM_LEN,
            bare!()
            | Request::FindObjects { .. }
            | Request::SignFinal { .. }
            | Request::VerifySignatureFinal { .. } => true,
        }
    }
}

/// The room for values of attributes that are asked for a second time: an answer must be no larger than the
/// object.
fn room_named_again(wanted: &[Wanted]) -> u64 {
    let mut named = BTreeSet::new();
    let again =
        wanted.iter().filter(|wanted| matches!(wanted.room, Room::Of(_)) && !named.insert(wanted.kind));
    let room = |wanted: &Wanted| match wanted.room {
        Room::Query => 0,
        Room::Of(room) => room.min(max_value_len(wanted.kind) as u64),
    };
    again.map(room).sum()
}

#[cfg(test)]
mod tests {
    use cryptoki_sys::CKA_LABEL;
    use zeroize::Zeroizing;

    use super::super::{Room, Wanted};
    use super::*;
    use crate::pkcs11::rv::Rv;

    #[test]
    fn a_request_larger_than_an_application_can_make_is_out_of_bounds() {
        let of = |len: usize| Bytes(Zeroizing::new(vec![0; len]));
        let entries = |count: usize, len: usize| -> Vec<TemplateEntry> {
            (0..count).map(|_| TemplateEntry { kind: CKA_LABEL, value: of(len) }).collect()
        };
        let mechanism = |len| Mechanism { mechanism: 1, parameter: of(len) };
        let message = |parameter, data| Request::SignMessage {
            session: 1,
            parameter: Ok(of(parameter)),
            data: Ok(of(data)),
            room: Room::Query,
        };
        let next_part = |parameter, part| Request::SignMessageNext {
            session: 1,
            parameter: Ok(of(parameter)),
            part: Ok(of(part)),
            room: None,
        };
        let verify_signature_init = |parameter, signature| Request::VerifySignatureInit {
            session: 1,
            mechanism: Some(mechanism(parameter)),
            key: 1,
            signature: Ok(of(signature)),
        };
        let wanted = |count| vec![Wanted { kind: CKA_LABEL, room: Room::Query }; count];
        let named_again =
            |times: usize| vec![Wanted { kind: CKA_LABEL, room: Room::Of(u64::MAX) }; 1 + times];
        for (request, bounded) in [
            (Request::InitPin { session: 1, pin: of(MAX_PIN_LEN) }, true),
            (Request::InitPin { session: 1, pin: of(MAX_PIN_LEN + 1) }, false),
            (Request::InitToken { slot: 0, pin: of(MAX_PIN_LEN + 1), label: [0; 32] }, false),
            (Request::SetPin { session: 1, old: of(1), new: of(MAX_PIN_LEN + 1) }, false),
            (Request::SetPin { session: 1, old: of(MAX_PIN_LEN + 1), new: of(1) }, false),
            (Request::Login { session: 1, user_type: 1, user: Some(of(MAX_PIN_LEN + 1)), pin: of(1) }, false),
            (Request::Login { session: 1, user_type: 1, user: None, pin: of(MAX_PIN_LEN + 1) }, false),
            (Request::FindObjectsInit { session: 1, template: entries(MAX_ATTRIBUTES, 1) }, true),
            (Request::FindObjectsInit { session: 1, template: entries(MAX_ATTRIBUTES + 1, 1) }, false),
            (
                Request::SetAttributeValue { session: 1, object: 1, template: entries(1, MAX_VALUE_LEN + 1) },
                false,
            ),
            (Request::CreateObject { session: 1, template: entries(1, MAX_VALUE_LEN) }, true),
            (Request::CreateObject { session: 1, template: entries(1, MAX_VALUE_LEN + 1) }, false),
            (Request::CopyObject { session: 1, object: 1, template: entries(MAX_ATTRIBUTES + 1, 1) }, false),
            (Request::GetAttributeValue { session: 1, object: 1, wanted: wanted(MAX_ATTRIBUTES + 1) }, false),
            (Request::GetAttributeValue { session: 1, object: 1, wanted: wanted(MAX_ATTRIBUTES) }, true),
            (Request::GetAttributeValue { session: 1, object: 1, wanted: named_again(1) }, true),
            (Request::GetAttributeValue { session: 1, object: 1, wanted: named_again(2) }, false),
            (Request::SignInit { session: 1, mechanism: Some(mechanism(MAX_VALUE_LEN + 1)), key: 1 }, false),
            (
                Request::VerifyInit { session: 1, mechanism: Some(mechanism(MAX_VALUE_LEN + 1)), key: 1 },
                false,
            ),
            (Request::Sign { session: 1, data: Ok(of(MAX_PSBT_LEN)), room: Room::Query }, true),
            (Request::Sign { session: 1, data: Ok(of(MAX_PSBT_LEN + 1)), room: Room::Query }, false),
            (Request::SignUpdate { session: 1, part: Ok(of(MAX_PSBT_LEN + 1)) }, false),
            (
                Request::MessageSignInit {
                    session: 1,
                    mechanism: Some(mechanism(MAX_VALUE_LEN + 1)),
                    key: 1,
                },
                false,
            ),
            (Request::SignMessageBegin { session: 1, parameter: Ok(of(MAX_VALUE_LEN)) }, true),
            (Request::SignMessageBegin { session: 1, parameter: Ok(of(MAX_VALUE_LEN + 1)) }, false),
            (message(MAX_VALUE_LEN, MAX_PSBT_LEN), true),
            (message(MAX_VALUE_LEN + 1, 0), false),
            (message(0, MAX_PSBT_LEN + 1), false),
            (next_part(MAX_VALUE_LEN, MAX_PSBT_LEN), true),
            (next_part(MAX_VALUE_LEN + 1, 0), false),
            (next_part(0, MAX_PSBT_LEN + 1), false),
            (verify_signature_init(MAX_VALUE_LEN, MAX_PIN_LEN), true),
            (verify_signature_init(MAX_VALUE_LEN + 1, 0), false),
            (verify_signature_init(0, MAX_PIN_LEN + 1), false),
            (Request::VerifySignature { session: 1, data: Ok(of(MAX_PSBT_LEN + 1)) }, false),
            (Request::VerifySignatureUpdate { session: 1, part: Ok(of(MAX_PSBT_LEN + 1)) }, false),
            (Request::VerifyUpdate { session: 1, part: Ok(of(MAX_PSBT_LEN + 1)) }, false),
            (Request::Verify { session: 1, data: Err(Rv(1)), signature: Ok(of(MAX_PIN_LEN + 1)) }, false),
            (Request::VerifyFinal { session: 1, signature: Ok(of(MAX_PIN_LEN + 1)) }, false),
            (
                Request::GenerateKey {
                    session: 1,
                    mechanism: mechanism(0),
                    template: entries(1, MAX_VALUE_LEN + 1),
                },
                false,
            ),
            (
                Request::GenerateKeyPair {
                    session: 1,
                    mechanism: mechanism(0),
                    public: vec![],
                    private: entries(MAX_ATTRIBUTES + 1, 0),
                },
                false,
            ),
            (Request::GenerateRandom { session: 1, len: MAX_RANDOM_LEN + 1 }, false),
        ] {
            assert_eq!(request.is_bounded(), bounded);
        }
    }
}
