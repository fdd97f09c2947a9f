//! The names of the rules: one rule, one tag, the same in code, audit record, log, documentation and test.

use core::fmt;

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $tag:literal,)+) => {
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
        }
    };
}

rules! {
    /// An input without the previous transaction that proves its amount (CVE-2020-14199).
    UtxoMissing = "utxo-missing",
    /// A previous transaction whose txid is not the prevout's.
    UtxoTxid = "utxo-txid",
    /// A prevout index outside the previous transaction's outputs.
    UtxoVout = "utxo-vout",
    /// A `witness_utxo` that differs from the previous transaction's output.
    UtxoDisagree = "utxo-disagree",
    /// An amount or a sum over 21 million bitcoin, or outputs worth more than the inputs.
    AmountRange = "amount-range",
    /// A fee over the wallet's cap.
    FeeCap = "fee-cap",
    /// More leaves the wallet than one transaction may take out.
    TransactionMax = "transaction-max",
    /// More leaves the wallet than one period may take out.
    PeriodMax = "period-max",
    /// More transactions than one period may have.
    PeriodTransactions = "period-transactions",
    /// An output that is neither proved ours nor listed.
    Allowlist = "allowlist",
    /// An output to a script that must not be paid.
    Denylist = "denylist",
    /// A time at which the wallet does not sign.
    TimeWindow = "time-window",
    /// Right codes of too few users.
    Approvals = "approvals",
    /// An output that claims to be ours on a path where no wallet of ours would find it.
    ChangePath = "change-path",
    /// An output with our key in a script that is not the registered one.
    ChangeMultisig = "change-multisig",
    /// A redeem or witness script that does not hash to its program.
    ScriptMismatch = "script-mismatch",
    /// An input whose listed key is not the one that its path derives.
    DerivedKey = "derived-key",
    /// A coin type or extended key of another network.
    Network = "network",
    /// Inputs of more than one wallet of this token.
    MixedWallets = "mixed-wallets",
    /// An input of ours without the signature of the cosigner who must sign first.
    RequireCosigner = "require-cosigner",
    /// A signature hash type other than ALL.
    SighashType = "sighash-type",
    /// The same outpoint spent twice.
    DuplicateInput = "duplicate-input",
    /// A transaction without outputs.
    NoOutputs = "no-outputs",
    /// No input proved to be the wallet's.
    NoInputOfOurs = "no-input-of-ours",
    /// A partial signature, already there, that does not verify.
    ForeignPartialSig = "foreign-partial-sig",
    /// An input of ours that is already finalised.
    AlreadyFinal = "already-final",
    /// An OP_RETURN output with a value.
    OpReturnValue = "op-return-value",
    /// A message that is signed as if it were a transaction (BIP 322, BIP 127).
    Message = "message",
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}

#[cfg(test)]
mod tests {
    use super::Rule;

    #[test]
    fn tags_are_unique_and_kebab_case() {
        let mut tags: Vec<_> = Rule::ALL.iter().map(|rule| rule.tag()).collect();
        assert!(tags.iter().all(|tag| tag.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), Rule::ALL.len());
    }
}
