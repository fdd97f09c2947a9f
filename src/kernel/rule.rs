//! The rules: each has one tag and one number, the same in code, header, answer, audit record, log,
//! documentation and test.

use core::fmt;

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $tag:literal, $sentence:literal;)+) => {
        /// A rule that can refuse a transaction.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Rule {
            $($(#[$doc])* $name,)+
        }

        impl Rule {
            /// Every rule, in the order of the documentation.
            pub const ALL: &'static [Rule] = &[$(Rule::$name,)+];

            /// The kebab-case tag of the rule.
            pub const fn tag(self) -> &'static str {
                match self {
                    $(Rule::$name => $tag,)+
                }
            }

            /// The number of the rule: `CS_RULE_*` in `include/countersign.h`. No other rule ever gets it.
            pub const fn number(self) -> u32 {
                match self {
                    $(Rule::$name => $number,)+
                }
            }

            /// What the rule found, in one sentence for people.
            pub const fn sentence(self) -> &'static str {
                match self {
                    $(Rule::$name => $sentence,)+
                }
            }
        }
    };
}

rules! {
    /// An input without the previous transaction that proves its amount (CVE-2020-14199).
    UtxoMissing = 1, "utxo-missing", "An input lacks the previous transaction that proves its amount.";
    /// A previous transaction whose txid is not the prevout's.
    UtxoTxid = 2, "utxo-txid", "The transaction that comes with an input is not the one that the input spends.";
    /// A prevout index outside the previous transaction's outputs.
    UtxoVout = 3, "utxo-vout", "An input spends an output that its previous transaction does not have.";
    /// A `witness_utxo` that differs from the previous transaction's output.
    UtxoDisagree = 4, "utxo-disagree", "The PSBT describes the output that an input spends twice, and the two differ.";
    /// An amount or a sum over 21 million bitcoin, or outputs worth more than the inputs.
    AmountRange = 5, "amount-range", "An amount is over 21 million bitcoin, or more goes out than comes in.";
    /// A fee over the wallet's cap.
    FeeCap = 6, "fee-cap", "The fee is over the limit of the policy.";
    /// More leaves the wallet than one transaction may take out.
    TransactionMax = 7, "transaction-max", "More would leave the wallet than one transaction may take out.";
    /// More leaves the wallet than one period may take out.
    PeriodMax = 8, "period-max", "More would leave the wallet than the current period allows.";
    /// More transactions than one period may have.
    PeriodTransactions = 9, "period-transactions", "The current period has no signature left.";
    /// An output that is neither proved ours nor listed.
    Allowlist = 10, "allowlist", "An output pays a destination that is not on the allowlist.";
    /// An output to a script that must not be paid.
    Denylist = 11, "denylist", "An output pays a destination that is on the denylist.";
    /// A time at which the wallet does not sign.
    TimeWindow = 12, "time-window", "The policy allows no signature at this time of the week.";
    /// Right codes of too few users.
    Approvals = 13, "approvals", "The policy requires right codes from more users.";
    /// An output that claims to be ours on a path where no wallet of ours would find it.
    ChangePath = 14, "change-path", "An output claims to be change at a path that this wallet does not reach.";
    /// An output with our key in a script that is not the registered one.
    ChangeMultisig = 15, "change-multisig", "An output has our key in a script that is not the registered one.";
    /// A redeem or witness script that does not hash to its program.
    ScriptMismatch = 16, "script-mismatch", "A script in the PSBT is not the script of its output.";
    /// An input whose listed key is not the one that its path derives.
    DerivedKey = 17, "derived-key", "A path in the PSBT does not derive the key that is listed with it.";
    /// A coin type or extended key of another network.
    Network = 18, "network", "The PSBT and the wallet are for different networks.";
    /// Inputs of more than one wallet of this token.
    MixedWallets = 19, "mixed-wallets", "An input belongs to another wallet.";
    /// An input of ours without the signature of the cosigner who must sign first.
    RequireCosigner = 20, "require-cosigner", "The cosigner that the policy requires has not signed every input yet.";
    /// A signature hash type other than ALL.
    SighashType = 21, "sighash-type", "The PSBT has, or asks for, a signature of a type other than ALL.";
    /// The same outpoint spent twice.
    DuplicateInput = 22, "duplicate-input", "Two inputs spend the same output.";
    /// A transaction without outputs.
    NoOutputs = 23, "no-outputs", "The transaction has no outputs.";
    /// No input proved to be the wallet's.
    NoInputOfOurs = 24, "no-input-of-ours", "No input belongs to this wallet.";
    /// An existing partial signature that does not verify.
    ForeignPartialSig = 25, "foreign-partial-sig", "A signature that is already in the PSBT does not verify.";
    /// An input of ours that is already finalised.
    AlreadyFinal = 26, "already-final", "An input of this wallet is already finalised.";
    /// An OP_RETURN output with a value.
    OpReturnValue = 27, "op-return-value", "An OP_RETURN output has a value, which would be lost.";
    /// A message that is signed as if it were a transaction (BIP 322, BIP 127).
    Message = 28, "message", "The PSBT would sign a message, not a payment.";
    /// Bytes that are no PSBT, for another reason than the next two rules.
    NotAPsbt = 29, "not-a-psbt", "The bytes are not a PSBT.";
    /// A map that has a key twice (BIP 174).
    DuplicateKey = 30, "duplicate-key", "A map of the PSBT has the same key twice.";
    /// Bytes after the last map.
    TrailingBytes = 31, "trailing-bytes", "Bytes follow the last map of the PSBT.";
    /// Over a bound that is checked before anything is allocated or derived.
    Oversize = 32, "oversize", "The PSBT exceeds a limit of the module.";
    /// A freeze of the wallet or key, of a user who approves, or of everything.
    Frozen = 33, "frozen", "An administrator froze the wallet or key, a user who approves, or everything.";
    /// Approvals by means that do not count for so much.
    Consent = 34, "consent", "The policy asks users to approve what they are shown, and too few did so by a means that counts.";
}

impl Rule {
    /// The rule with this number.
    pub fn of_number(number: u64) -> Option<Rule> {
        Rule::ALL.iter().copied().find(|rule| u64::from(rule.number()) == number)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Rule;

    const HEADER: &str = include_str!("../../include/countersign.h");

    #[test]
    fn tags_are_unique_and_kebab_case() {
        let mut tags: Vec<_> = Rule::ALL.iter().map(|rule| rule.tag()).collect();
        assert!(tags.iter().all(|tag| tag.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), Rule::ALL.len());
    }

    /// `CS_RULE_FEE_CAP` for `fee-cap`.
    fn name_in_c(rule: &Rule) -> String {
        format!("CS_RULE_{}", rule.tag().to_uppercase().replace('-', "_"))
    }

    #[test]
    fn every_rule_has_its_number_in_the_header_and_no_number_has_two_rules() {
        let header: BTreeMap<&str, u32> = (HEADER.lines())
            .filter_map(|line| line.strip_prefix("#define ")?.split_once(' '))
            // The classes of acts are no rules.
            .filter(|(name, _)| name.starts_with("CS_RULE_") && !name.starts_with("CS_RULE_ACT_"))
            .map(|(name, value)| (name, value.trim().trim_end_matches("UL").parse().expect("a number")))
            .collect();
        let rules: Vec<_> = Rule::ALL.iter().map(|rule| (name_in_c(rule), rule.number())).collect();
        let ours: BTreeMap<&str, u32> = rules.iter().map(|(name, number)| (name.as_str(), *number)).collect();
        assert_eq!(header, ours);
        let mut numbers: Vec<_> = ours.values().collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), Rule::ALL.len(), "a number is there twice");
        assert!(numbers.iter().all(|number| **number > 0), "0 is no rule");
        for rule in Rule::ALL {
            assert_eq!(Rule::of_number(rule.number().into()), Some(*rule));
        }
        assert_eq!(Rule::of_number(0), None);
    }

    #[test]
    fn numbers_never_change() {
        let first = |tag: &str| Rule::ALL.iter().find(|rule| rule.tag() == tag).map(|rule| rule.number());
        for (place, tag) in NUMBERED.split_whitespace().enumerate() {
            assert_eq!(first(tag), Some(place as u32 + 1), "{tag}");
        }
    }

    /// The rules in the order of their numbers, from 1 on. A new one is added at the end.
    const NUMBERED: &str = "utxo-missing utxo-txid utxo-vout utxo-disagree amount-range fee-cap transaction-max period-max \
        period-transactions allowlist denylist time-window approvals change-path change-multisig script-mismatch derived-key \
        network mixed-wallets require-cosigner sighash-type duplicate-input no-outputs no-input-of-ours foreign-partial-sig \
        already-final op-return-value message not-a-psbt duplicate-key trailing-bytes oversize frozen";

    #[test]
    fn the_header_lists_each_rule_with_its_tag_and_its_sentence() {
        let listed: Vec<_> =
            HEADER.lines().filter(|line| line.trim_start().starts_with("RULE(CS_RULE_")).collect();
        let ours: Vec<_> = Rule::ALL
            .iter()
            .map(|rule| {
                format!("    RULE({}, \"{}\", \"{}\") \\", name_in_c(rule), rule.tag(), rule.sentence())
            })
            .collect();
        assert_eq!(listed, ours, "the list of include/countersign.h");
    }

    #[test]
    fn sentences_are_sentences() {
        for rule in Rule::ALL {
            let sentence = rule.sentence();
            assert!(sentence.starts_with(|first: char| first.is_ascii_uppercase()), "{sentence}");
            assert!(sentence.ends_with('.') && !sentence.contains('"'), "{sentence}");
        }
    }
}
