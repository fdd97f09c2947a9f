//! A user's word on a proposal, signed by a passkey.
//!
//! The passkey signs the digest of what is approved or refused, on the one page that the store trusts to show it. A page is easier to take over
//! than a device with a screen of its own, so policies tell the two apart. Otherwise all that is said of a device's signature
//! ([`super::device`]) holds here, too: nobody can guess it, so a wrong one writes nothing and charges nobody, and a user who is locked for
//! wrong codes still approves by passkey.
//!
//! An assertion counts. The commit that records the word also writes the passkey's new counter, so that of two answers with one counter, at
//! most one is heard.

use super::{Word, told};
use crate::audit::{PasskeyWord, PendingStep};
use crate::consent::{ConsentError, Means, Pending};
use crate::credential::Credentials;
use crate::name::UserId;
use crate::passkey::{Assertion, PasskeyError, RelyingParty};
use crate::receipt::{Batch, Decision};
use crate::record::Versioned;
use crate::seal::{Kind, RecordKey};
use crate::state::administration::Recorded;
use crate::state::codes::Thawed;
use crate::state::records::UserRecord;
use crate::state::way::Untried;

/// A user's word, with the assertion that gives it.
pub struct AssertedWord<'a> {
    /// The user, by enrolment.
    pub user: UserId,
    /// The word.
    pub word: Word,
    /// What a passkey answered to the digest of that word.
    pub assertion: &'a Assertion,
}

/// Records a user's word on a proposal, if one of the user's passkeys signed it. It holds as long as the records of the user, of the
/// credentials and of the relying party are what they are.
///
/// A freeze stops approvals, and nobody's refusal.
pub fn consent_by_passkey<E: From<Untried> + From<PasskeyWordError>>(
    asked: &AssertedWord<'_>,
    pending: &Versioned<Pending>,
    user: &Versioned<UserRecord>,
    credentials: Option<&Versioned<Credentials>>,
    party: Option<&Versioned<RelyingParty>>,
    is_frozen: impl Fn(&RecordKey) -> Result<bool, E>,
    now: u64,
) -> Result<Decision<Recorded>, E> {
    let (AssertedWord { user: who, word, assertion }, old) = (asked, &pending.value);
    assert!(
        user.authority == pending.authority
            && credentials.is_none_or(|credentials| credentials.authority == pending.authority)
            && party.is_none_or(|party| party.authority == pending.authority),
        "passkeys are of users of the store that has the proposal, and so is its page"
    );
    let UserRecord { name, factor, confirmed, .. } = &user.value;
    if *name != who.name || factor.key_id() != who.key || !confirmed {
        return Err(PasskeyWordError::from(ConsentError::NotAsked(who.name.clone())).into());
    }
    let next = match word {
        Word::Approve if old.means_of(who) == Some(Means::Passkey) => {
            return Err(PasskeyWordError::Given(who.name.clone()).into());
        }
        Word::Approve => old.approve(who, Means::Passkey, now),
        Word::Refuse => old.refuse(who, now),
    };
    let next = next.map_err(PasskeyWordError::from)?;
    let thawed = match word {
        Word::Approve => {
            let state = RecordKey { kind: Kind::WalletState, id: *old.wallet() };
            Thawed::look_for(Some(state), core::iter::once(user), is_frozen)?
        }
        Word::Refuse => Thawed::regardless(),
    };
    let party = party.ok_or(PasskeyWordError::NoPage)?;
    // Those of an earlier enrolment are nobody's.
    let theirs = credentials.filter(|credentials| credentials.value.user() == who);
    let none = || PasskeyWordError::None(who.name.clone());
    let theirs = theirs.ok_or_else(none)?;
    let found = theirs.value.passkeys().find(|(_, passkey)| passkey.id == assertion.id);
    let (name, passkey) = found.ok_or_else(none)?;
    let digest = old.digest_for(who).map_err(PasskeyWordError::from)?;
    let asserted =
        passkey.verify(assertion, &digest.binding(*word), &party.value).map_err(PasskeyWordError::from)?;
    let step = PendingStep::SaidByPasskey(Box::new(PasskeyWord {
        user: who.name.clone(),
        enrolment: who.key,
        digest: digest.0,
        refuses: *word == Word::Refuse,
        passkey: name.to_owned(),
        public_key: passkey.key.to_spki(),
        client_data: assertion.client_data.clone(),
        authenticator_data: assertion.authenticator_data.clone(),
        signature: assertion.signature.clone(),
    }));
    let counted = theirs.value.counted(asserted);
    let batch = Batch::new(vec![pending.put(&next), theirs.put(&counted)], told(&next, step), now);
    let batch = batch.while_absent(thawed.into_places());
    let batch = batch.while_unchanged(user.unchanged()).while_unchanged(party.unchanged());
    Ok(Decision::new(batch, Recorded).in_store_of(pending.authority))
}

/// Why a word by passkey is not recorded. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyWordError {
    /// The proposal does not take this user's word.
    #[error(transparent)]
    Consent(#[from] ConsentError),
    /// The store trusts no page.
    #[error("no page is trusted to show what a passkey approves: an administrator sets its origin first")]
    NoPage,
    /// The user has no such passkey.
    #[error("user {0:?} has no such passkey: answer with one that is registered for this user")]
    None(String),
    /// The assertion is wrong.
    #[error(transparent)]
    Passkey(#[from] PasskeyError),
    /// The user has approved it.
    #[error("user {0:?} has approved this proposal by passkey already")]
    Given(String),
}
