//! The attributes of proposed acts (`include/countersign.h`, "Officers").

use cryptoki_sys::*;

use super::super::vendor::*;
use super::{Hidden, Value, bool, class_number, ulong};
use crate::engine::{ProposalStanding, ProposalView};
use crate::kernel::utc::to_iso;

/// An attribute of a proposed act.
pub(in crate::pkcs11) fn of_proposal(proposal: &ProposalView, kind: CK_ATTRIBUTE_TYPE) -> Value {
    Ok(match kind {
        CKA_CLASS => ulong(CKO_COUNTERSIGN_PROPOSAL),
        CKA_TOKEN | CKA_MODIFIABLE | CKA_DESTROYABLE => bool(true),
        CKA_PRIVATE | CKA_COPYABLE => bool(false),
        CKA_ID => proposal.nonce.to_vec(),
        CKA_LABEL => proposal.heading.clone().into_bytes(),
        CKA_UNIQUE_ID => format!("proposal.{}", data_encoding::HEXLOWER.encode(&proposal.nonce)).into_bytes(),
        CKA_VALUE => proposal.text.clone().into_bytes(),
        CKA_COUNTERSIGN_PROPOSAL_KIND => ulong(CS_PROPOSAL_ACT),
        CKA_COUNTERSIGN_ACT_CLASS => ulong(class_number(proposal.class)),
        CKA_COUNTERSIGN_ACT_STATE => ulong(state_number(&proposal.standing)),
        CKA_COUNTERSIGN_ACT_DELAY => ulong(match proposal.standing {
            ProposalStanding::Waiting(seconds) => seconds,
            _ => 0,
        }),
        CKA_COUNTERSIGN_ACT_SIGNED => ulong(proposal.signed as CK_ULONG),
        CKA_COUNTERSIGN_ACT_NEEDED => ulong(proposal.needed as CK_ULONG),
        CKA_COUNTERSIGN_ACT_SIGNATURES => one_after_the_other(&proposal.signatures).into_bytes(),
        CKA_COUNTERSIGN_ACT_VETOERS => proposal.vetoers.join("\n").into_bytes(),
        CKA_COUNTERSIGN_ACT_EXPIRES => ulong(proposal.expires),
        CKA_COUNTERSIGN_ACT_ENDED => match &proposal.standing {
            ProposalStanding::Vetoed(by) => by.clone().into_bytes(),
            ProposalStanding::Void(void, None) => void.to_string().into_bytes(),
            ProposalStanding::Void(void, Some(since)) => {
                format!("{void} (found at {})", to_iso(*since)).into_bytes()
            }
            _ => vec![],
        },
        // What is only given.
        CKA_COUNTERSIGN_ACT_SIGNATURE
        | CKA_COUNTERSIGN_ACT_VETO
        | CKA_COUNTERSIGN_ACT_VETO_CODE
        | CKA_COUNTERSIGN_ACT_CARRY_OUT
        | CKA_COUNTERSIGN_ACT_DO => return Err(Hidden::Sensitive),
        _ => return Err(Hidden::Unknown),
    })
}

fn state_number(standing: &ProposalStanding) -> CK_ULONG {
    match standing {
        ProposalStanding::Unsigned => CS_ACT_UNSIGNED,
        ProposalStanding::Waiting(_) => CS_ACT_WAITING,
        ProposalStanding::Due => CS_ACT_DUE,
        ProposalStanding::CarriedOut => CS_ACT_CARRIED_OUT,
        ProposalStanding::Vetoed(_) => CS_ACT_VETOED,
        ProposalStanding::Expired => CS_ACT_EXPIRED,
        ProposalStanding::Void(..) => CS_ACT_VOID,
    }
}

/// Each ends its last line.
fn one_after_the_other(signatures: &[String]) -> String {
    signatures.iter().map(|signature| format!("{}\n", signature.trim_end_matches('\n'))).collect()
}
