//! What exactly an approval approves, as one number.

use core::fmt;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use super::Word;
use super::statement::{Statement, StatementError};
use crate::binding::Binding;
use crate::factor::TicketId;
use crate::name::KeyId;
use crate::otp::OtpKeyId;
use crate::seal::StoreId;

const LABEL: &[u8] = b"countersign/consent/v1\0";
const LABEL_REFUSAL: &[u8] = b"countersign/consent-refusal/v1\0";

/// Names what one user approves: this statement, of this transaction, to this store. Any other has another one.
///
/// It is the challenge of whatever approves. A code that approves is bound to it when it is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsentDigest(pub [u8; 32]);

/// The fields of the digest. Each but the last has a fixed length, so no two lists of fields are the same bytes.
struct Fields<'a> {
    store: StoreId,
    wallet: KeyId,
    binding: Binding,
    enrolment: OtpKeyId,
    nonce: TicketId,
    expires: u64,
    statement: &'a str,
}

impl Fields<'_> {
    /// SHA-256 of the label and the fields. The time is in eight bytes, big-endian.
    fn digest(&self) -> ConsentDigest {
        let Fields { store, wallet, binding, enrolment, nonce, expires, statement } = self;
        let hash = Sha256::new_with_prefix(LABEL).chain_update(store).chain_update(wallet);
        let hash = hash.chain_update(binding).chain_update(enrolment).chain_update(nonce);
        ConsentDigest(hash.chain_update(expires.to_be_bytes()).chain_update(statement).finalize().into())
    }
}

impl ConsentDigest {
    /// The digest of a statement about the transaction with this binding.
    pub fn of(
        store: StoreId,
        binding: Binding,
        statement: &Statement,
    ) -> Result<ConsentDigest, StatementError> {
        let Statement { user, wallet, nonce, expires, .. } = statement;
        let (text, enrolment) = (statement.print()?, user.key);
        let (wallet, nonce, expires) = (*wallet, *nonce, *expires);
        Ok(Fields { store, wallet, binding, enrolment, nonce, expires, statement: &text }.digest())
    }

    /// What a user's word is bound to, by whatever means it is given.
    pub fn binding(self, word: Word) -> Binding {
        match word {
            Word::Approve => self.approval(),
            Word::Refuse => self.refusal(),
        }
    }

    /// What a code that approves is bound to.
    pub fn approval(self) -> Binding {
        self.0
    }

    /// What a code that refuses is bound to. No code for the one is right for the other.
    pub fn refusal(self) -> Binding {
        Sha256::new_with_prefix(LABEL_REFUSAL).chain_update(self.0).finalize().into()
    }
}

impl fmt::Display for ConsentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::super::statement::tests::examples;
    use super::*;

    const FIELDS: Fields<'static> = Fields {
        store: [1; 16],
        wallet: [2; 16],
        binding: [3; 32],
        enrolment: [4; 16],
        nonce: [5; 16],
        expires: 0x0102_0304_0506_0708,
        statement: "countersign/approve/1\n",
    };

    #[test]
    fn the_digest_is_that_of_the_label_and_the_fields_in_their_order() {
        let label = b"countersign/consent/v1\0".to_vec();
        let fields = [vec![1; 16], vec![2; 16], vec![3; 32], vec![4; 16], vec![5; 16], (1..=8).collect()];
        let bytes = [label, fields.concat(), b"countersign/approve/1\n".to_vec()].concat();
        assert_eq!(FIELDS.digest().0[..], Sha256::digest(bytes)[..]);
    }

    #[test]
    fn every_field_changed_alone_changes_the_digest() {
        let changed = [
            Fields { store: [9; 16], ..FIELDS },
            Fields { wallet: [9; 16], ..FIELDS },
            Fields { binding: [9; 32], ..FIELDS },
            Fields { enrolment: [9; 16], ..FIELDS },
            Fields { nonce: [9; 16], ..FIELDS },
            Fields { expires: 9, ..FIELDS },
            Fields { statement: "countersign/approve/1", ..FIELDS },
        ];
        let digests: Vec<_> = changed.iter().chain([&FIELDS]).map(|fields| fields.digest().0).collect();
        for (at, digest) in digests.iter().enumerate() {
            assert!(!digests[..at].contains(digest), "field {at}");
        }
    }

    #[test]
    fn the_digests_of_a_statement_are_golden() {
        let statement = &examples()["usual"];
        let digest = ConsentDigest::of([0x7c; 16], [0xb1; 32], statement).expect("it has a text");
        let golden = include_str!("../../../tests/vectors/consent-digest.txt");
        let refusal = HEXLOWER.encode(&digest.refusal());
        assert_eq!(format!("approve {digest}\nrefuse {refusal}\n"), golden);
        assert_eq!(digest.approval(), digest.0);
    }

    #[test]
    fn the_digest_of_a_statement_tells_store_transaction_user_and_everything_that_the_text_says() {
        let statement = &examples()["usual"];
        let of = |store, binding, statement: &Statement| {
            ConsentDigest::of([store; 16], [binding; 32], statement).expect("it has a text").0
        };
        let first = of(1, 2, statement);
        assert_ne!(first, of(3, 2, statement), "another store");
        assert_ne!(first, of(1, 3, statement), "another transaction");
        let mut other = statement.clone();
        other.user.key = [9; 16];
        assert_ne!(first, of(1, 2, &other), "another enrolment");
        other = Statement { expires: statement.expires + 1, ..statement.clone() };
        assert_ne!(first, of(1, 2, &other), "another end");
        other = Statement { fee: statement.fee + 1, ..statement.clone() };
        assert_ne!(first, of(1, 2, &other), "another fee");
    }
}
