//! What the module's answers about proposed transactions mean.

use countersign::pkcs11::vendor as v;
use cryptoki::error::RvError;

use super::{WHERE, Words, of_a_code, of_signing, words};
use crate::names::quoted;

pub(super) fn of_proposing(rv: &RvError, wallet: &str) -> Words {
    match rv {
        RvError::VendorDefined(v::CKR_COUNTERSIGN_POLICY) => words(
            format!(
                "the policy of wallet {wallet} refuses this transaction, whoever approves it; nobody was asked{WHERE}"
            ),
            format!("\"countersign wallet show {}\" prints the policy", quoted(wallet)),
        ),
        RvError::VendorDefined(v::CKR_COUNTERSIGN_PSBT_REFUSED) => words(
            format!("the PSBT breaks a rule of structure, amount or ownership; nothing was proposed{WHERE}"),
            format!(
                "\"countersign psbt show --wallet {}\" names the rule, and what to do about it",
                quoted(wallet)
            ),
        ),
        RvError::DataInvalid => words(
            "the input is not a PSBT (BIP 174); nothing was proposed",
            "make the PSBT again and check that it was not cut short",
        ),
        RvError::DataLenRange => words(
            "the PSBT is too large; nothing was proposed",
            "split the payment into smaller transactions",
        ),
        RvError::AttributeValueInvalid => {
            words(format!("wallet {wallet} is gone"), "\"countersign wallet list\" lists the wallets")
        }
        RvError::FunctionFailed => words(
            "the wallet was changed meanwhile, or this backend has proposed and withdrawn too much; nothing was proposed",
            "try again in some seconds",
        ),
        RvError::TemplateInconsistent | RvError::TemplateIncomplete => words(
            "the module takes no proposed transactions, so it is of an older version; nothing was proposed",
            "sign with codes (countersign sign --user NAME), or update the boundary",
        ),
        _ => of_signing(rv, wallet),
    }
}

pub(super) fn of_a_word(rv: &RvError, user: &str) -> Words {
    match rv {
        RvError::FunctionFailed => words(
            "the proposal was changed meanwhile, or this backend has brought too many codes; nothing was approved or refused",
            "look what became of it (countersign proposal show TICKET), then try again in some seconds",
        ),
        RvError::ObjectHandleInvalid => gone(),
        _ => of_a_code(rv, user),
    }
}

pub(super) fn of_withdrawing(rv: &RvError) -> Words {
    match rv {
        RvError::FunctionFailed => words(
            "the proposal was changed meanwhile, or this backend has proposed and withdrawn too much; nothing was withdrawn",
            "try again in some seconds",
        ),
        RvError::ObjectHandleInvalid => gone(),
        _ => None,
    }
}

fn gone() -> Words {
    words("the proposal is gone", "\"countersign proposal list\" lists those that are there")
}

/// Signing by a ticket. No code comes with it.
pub(super) fn of_the_ticket(rv: &RvError, wallet: &str) -> Words {
    match rv {
        RvError::PinIncorrect => words(
            "the ticket was refused: it is unknown, expired, refused, withdrawn or spent, or it is for another transaction or wallet",
            "give the PSBT that was proposed, as it was; \"countersign proposal show TICKET\" says what was approved and what became of it. For another transaction: countersign propose",
        ),
        RvError::VendorDefined(v::CKR_COUNTERSIGN_PENDING) => words(
            "the ticket is for this transaction, but too few users have approved it; nothing was signed or spent",
            "\"countersign proposal show TICKET\" says who has approved and how many must",
        ),
        RvError::PinLocked => words(
            "the ticket was not looked at: too many codes of all users were wrong within an hour",
            super::ALL_USERS,
        ),
        RvError::VendorDefined(v::CKR_COUNTERSIGN_POLICY) => words(
            format!(
                "the policy of wallet {wallet} refuses this transaction now; the ticket is not spent{WHERE}"
            ),
            format!("\"countersign wallet show {}\" prints the policy", quoted(wallet)),
        ),
        RvError::FunctionFailed => words(
            "users, policy or the proposal were changed while this was being signed; nothing was signed, and the ticket is not spent",
            "sign again with the same ticket",
        ),
        RvError::PinInvalid | RvError::MechanismParamInvalid => words(
            "the module takes no tickets, so it is of an older version; nothing was spent",
            "sign with a code (countersign sign --user NAME), or update the boundary",
        ),
        _ => of_signing(rv, wallet),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Act, meaning};
    use super::*;

    const PENDING: RvError = RvError::VendorDefined(v::CKR_COUNTERSIGN_PENDING);

    fn what(act: Act<'_>, rv: RvError) -> String {
        let (what, next) = meaning(act, &rv, "C_Test", None);
        assert!(!what.contains("C_Test") && !next.is_empty(), "{rv:?}: {what}");
        what
    }

    #[test]
    fn every_answer_about_a_proposal_is_explained_and_none_speaks_of_a_code_that_nobody_gave() {
        let policy = || RvError::VendorDefined(v::CKR_COUNTERSIGN_POLICY);
        let refused = || RvError::VendorDefined(v::CKR_COUNTERSIGN_PSBT_REFUSED);
        for rv in [
            policy(),
            refused(),
            RvError::DataInvalid,
            RvError::DataLenRange,
            RvError::AttributeValueInvalid,
            RvError::FunctionFailed,
            RvError::TemplateInconsistent,
            RvError::KeyFunctionNotPermitted,
        ] {
            let what = what(Act::Propose("w"), rv);
            assert!(!what.contains("code"), "{what}");
        }
        for rv in [RvError::PinIncorrect, PENDING, policy(), RvError::FunctionFailed, RvError::PinInvalid] {
            let what = what(Act::SignByTicket("w"), rv);
            assert!(!what.contains("code"), "{what}");
        }
        for rv in [RvError::PinIncorrect, RvError::PinLocked, RvError::FunctionFailed, policy()] {
            what(Act::Consent("alice"), rv);
        }
        for rv in [RvError::FunctionFailed, RvError::ObjectHandleInvalid] {
            what(Act::Withdraw, rv);
        }
    }

    #[test]
    fn a_policy_that_refuses_spends_a_code_and_no_ticket() {
        let policy = || RvError::VendorDefined(v::CKR_COUNTERSIGN_POLICY);
        assert!(what(Act::Sign("w"), policy()).contains("the code is spent"));
        assert!(what(Act::SignByTicket("w"), policy()).contains("the ticket is not spent"));
        assert!(what(Act::Propose("w"), policy()).contains("nobody was asked"));
    }
}
