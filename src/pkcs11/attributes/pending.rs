//! The attributes of proposed transactions (`include/countersign.h`, "Proposed transactions").

use cryptoki_sys::*;

use super::super::vendor::*;
use super::{Hidden, Value, bool, ulong};
use crate::engine::{AskedUser, GivenApproval, PendingView};
use crate::kernel::consent::Standing;
use crate::kernel::utc::to_iso;

/// An attribute of a proposed transaction.
pub(in crate::pkcs11) fn of_pending(pending: &PendingView, kind: CK_ATTRIBUTE_TYPE) -> Value {
    let of_each = |part: &dyn Fn(&AskedUser) -> Vec<u8>| pending.asked.iter().flat_map(part).collect();
    Ok(match kind {
        CKA_CLASS => ulong(CKO_COUNTERSIGN_PROPOSAL),
        CKA_TOKEN | CKA_PRIVATE | CKA_MODIFIABLE | CKA_DESTROYABLE => bool(true),
        CKA_COPYABLE => bool(false),
        CKA_ID => pending.ticket.to_vec(),
        CKA_LABEL => pending.label.clone().into_bytes(),
        CKA_UNIQUE_ID => format!("pending.{}", data_encoding::HEXLOWER.encode(&pending.ticket)).into_bytes(),
        CKA_COUNTERSIGN_PROPOSAL_KIND => ulong(CS_PROPOSAL_TRANSACTION),
        CKA_COUNTERSIGN_PROPOSAL_WALLET => pending.wallet.to_vec(),
        CKA_COUNTERSIGN_USERS => {
            pending.asked.iter().map(|user| user.name.as_str()).collect::<Vec<_>>().join("\n").into_bytes()
        }
        CKA_COUNTERSIGN_STATEMENT => of_each(&|user| user.statement.clone().into_bytes()),
        CKA_COUNTERSIGN_CONSENT_DIGEST => of_each(&|user| user.digest.0.to_vec()),
        CKA_COUNTERSIGN_DEVICE_APPROVAL => of_each(&|user| line_of(user, 0)),
        CKA_COUNTERSIGN_DEVICE_REFUSAL => of_each(&|user| line_of(user, 1)),
        CKA_COUNTERSIGN_CONSENT_STATE => ulong(state_number(&pending.standing)),
        CKA_COUNTERSIGN_CONSENT_NEEDED => ulong(pending.needed as CK_ULONG),
        CKA_COUNTERSIGN_CONSENT_GIVEN => pending.approvals.iter().map(line).collect::<String>().into_bytes(),
        CKA_COUNTERSIGN_CONSENT_EXPIRES => ulong(pending.expires),
        CKA_COUNTERSIGN_CONSENT_ENDED => match &pending.standing {
            Standing::Refused(user) => user.name.clone().into_bytes(),
            _ => vec![],
        },
        // The transaction is not kept, and the others are only given.
        CKA_VALUE
        | CKA_COUNTERSIGN_CONSENT_APPROVE
        | CKA_COUNTERSIGN_CONSENT_REFUSE
        | CKA_COUNTERSIGN_APPROVE_SIGNED
        | CKA_COUNTERSIGN_REFUSE_SIGNED => return Err(Hidden::Sensitive),
        _ => return Err(Hidden::Unknown),
    })
}

fn line(GivenApproval { user, means, at }: &GivenApproval) -> String {
    format!("{} {} {user}\n", to_iso(*at), means.name())
}

/// The text for the user's device, to approve (0) or to refuse (1).
fn line_of(user: &AskedUser, word: usize) -> Vec<u8> {
    format!("{}\n", user.device_texts.as_ref().map_or("", |texts| &texts[word])).into_bytes()
}

fn state_number(standing: &Standing) -> CK_ULONG {
    match standing {
        Standing::Open { .. } => CS_CONSENT_OPEN,
        Standing::Approved => CS_CONSENT_APPROVED,
        Standing::Refused(_) => CS_CONSENT_REFUSED,
        Standing::Withdrawn => CS_CONSENT_WITHDRAWN,
        Standing::Spent => CS_CONSENT_SPENT,
        Standing::Expired => CS_CONSENT_EXPIRED,
    }
}
