//! What to do next when a rule refuses: one answer for each rule.

use countersign::kernel::rule::Rule;

/// What to do after `rule` refused a signature. `show` is the command that shows the wallet or key.
pub(crate) fn next_step(rule: Rule, show: &str) -> String {
    let show_policy = format!("\"{show}\" prints the policy");
    match rule {
        Rule::UtxoMissing => {
            "have the wallet software add the previous transactions (non_witness_utxo): a node needs -txindex or the wallet \
             itself for it"
                .into()
        }
        Rule::UtxoTxid | Rule::UtxoVout | Rule::UtxoDisagree => {
            "make the PSBT again from the chain as it is now; if another party added these fields, ask where they came from".into()
        }
        Rule::AmountRange => "correct the amounts of the outputs: they may not exceed the inputs".into(),
        Rule::FeeCap => {
            format!("make the transaction again with a lower fee, or have the administrator raise the cap; {show_policy}")
        }
        Rule::TransactionMax => format!(
            "split the payment into smaller transactions within the limit of the period, or have the administrator raise it; \
             {show_policy}"
        ),
        Rule::PeriodMax | Rule::PeriodTransactions => {
            format!("wait until the period has moved on, or have the administrator raise the limit; {show_policy}")
        }
        Rule::Allowlist => format!(
            "pay only destinations that are listed, or have the administrator add this one once it is checked; {show_policy}"
        ),
        Rule::Denylist => format!("remove the output: the policy bans its destination; {show_policy}"),
        Rule::TimeWindow => format!("sign within the hours that the policy allows, in UTC; {show_policy}"),
        Rule::Approvals => {
            format!("from a program, give right codes of as many users as the policy requires, in one call; {show_policy}")
        }
        Rule::Consent => format!(
            "propose the transaction (countersign propose), have its users approve it by a means that counts, and sign with the ticket (countersign sign --ticket); {show_policy}"
        ),
        Rule::ChangePath => {
            "have the wallet software send the change to its next change address, with the derivation of this wallet; if the \
             wallet has given out addresses that far, the administrator raises its reach (countersign wallet set --reach)"
                .into()
        }
        Rule::ChangeMultisig => {
            "do not sign it: somebody made change with our key and another script. Find out which software did, and compare the \
             wallet's id with every cosigner"
                .into()
        }
        Rule::ScriptMismatch => format!(
            "compare the descriptor of the wallet software with \"{show}\": every signer must have the \
             same one"
        ),
        Rule::DerivedKey => format!(
            "give the wallet software the key of this wallet with its origin again, as \"{show}\" prints it"
        ),
        Rule::Network => "make the PSBT with a wallet of the same network".into(),
        Rule::MixedWallets => {
            "name the wallet that the inputs belong to, and make one PSBT for each wallet: no transaction spends coins of two"
                .into()
        }
        Rule::RequireCosigner => {
            "have the cosigner sign first, then give the PSBT with that signature: no code is needed before".into()
        }
        Rule::SighashType => {
            "have the wallet software ask for signatures of type ALL (taproot: DEFAULT or ALL), and remove other ones".into()
        }
        Rule::DuplicateInput => "make the PSBT again with every coin once".into(),
        Rule::NoOutputs => "make the PSBT again with an output".into(),
        Rule::NoInputOfOurs => format!(
            "name the wallet that the inputs belong to, or give the wallet software the descriptor that \"{show}\" prints, so that it adds the derivations"
        ),
        Rule::ForeignPartialSig => {
            "remove the bad signature from the PSBT, and have its owner sign the transaction as it is now".into()
        }
        Rule::AlreadyFinal => {
            "broadcast the transaction if every input is final, or use the PSBT from before it was finalised".into()
        }
        Rule::OpReturnValue => "give the OP_RETURN output the value 0: its coins would be lost".into(),
        Rule::NotAPsbt => "export the PSBT again, as the bytes themselves or in base64, and check that it was not cut short".into(),
        Rule::DuplicateKey => {
            "report it to whoever makes the wallet software: it wrote the same field of one map twice (BIP 174)".into()
        }
        Rule::TrailingBytes => {
            "give one PSBT and nothing behind it; if two were joined, sign each by itself".into()
        }
        Rule::Oversize => "split the payment into transactions with fewer inputs and outputs".into(),
        Rule::Frozen => "ask the administrator why it is frozen; thawing is the SO's, with the officers if there are any (countersign thaw --help)".into(),
        Rule::Message => {
            "do not sign messages with this wallet: Countersign signs payments only".into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const SHOW: &str = "countersign wallet show treasury";

    #[test]
    fn every_rule_has_a_step_that_does_not_say_to_make_the_same_again() {
        for rule in Rule::ALL {
            let step = next_step(*rule, SHOW);
            assert!(step.len() > 20 && !step.ends_with('.'), "{rule}: {step}");
        }
        let steps: HashSet<String> = Rule::ALL.iter().map(|rule| next_step(*rule, SHOW)).collect();
        // Three rules about a wrong previous transaction share one step, and two about a period share one.
        assert_eq!(steps.len(), Rule::ALL.len() - 3);
    }

    #[test]
    fn require_cosigner_has_the_cosigner_sign_first() {
        let step = next_step(Rule::RequireCosigner, SHOW);
        assert!(step.contains("cosigner sign first") && !step.contains("again"), "{step}");
    }
}
