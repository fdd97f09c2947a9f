//! What officers decided, as an act: the present document that it goes by, and the commit that does it.

use std::sync::Arc;

use bitcoin::secp256k1::{All, Secp256k1};

use super::{Act, KeyId, NewDevice, Present, Refused, Target, UserId, WalletChange, Window, devices};
use crate::act::RecordedAct;
use crate::act::class::Class;
use crate::audit::{DecidedAct, Event};
use crate::digest_key::{DigestKey, DigestKeyRecord};
use crate::key::{KeyChange, KeyTerms};
use crate::motion::{
    DeviceAdd, DigestKeyTerms, Frozen, KeySet, Motion, Raise, WalletFixed, WalletSet, WalletTerms,
};
use crate::officer::Council;
use crate::proposal::{Decided, Proposal, ProposalError};
use crate::receipt::{Batch, Content, Write};
use crate::record::{Stored, Versioned};
use crate::seal::RecordKey;
use crate::state::{KeyRecord, Retired};
use crate::wallet::{Reach, Wallet, WalletRecord};

/// A decision of officers, on its way into the commit.
pub(super) struct Ruling {
    decided: Decided,
    proposal: Arc<Versioned<Proposal>>,
    council: Versioned<Council>,
    /// Who signed.
    officers: Vec<[u8; 32]>,
}

impl Ruling {
    /// The act that officers decided, and the decision.
    pub(super) fn new(
        decided: Decided,
        proposal: Arc<Versioned<Proposal>>,
        council: Versioned<Council>,
    ) -> Result<(Act, Ruling), Refused> {
        if decided.next().nonce() != proposal.value.nonce() {
            return Err(ProposalError::Unknown.into());
        }
        let act = act_of(&proposal.value, &council.value)?;
        let officers = proposal.value.signatures().iter().map(|kept| kept.public_key).collect();
        Ok((act, Ruling { decided, proposal, council, officers }))
    }

    /// The commit that does the act, and records that it was done. What is in force is read after the records that the batch replaces:
    /// if they change in between, the batch cannot be written.
    pub(super) fn carry_out<P: Present>(
        &self,
        batch: Batch,
        present: &P,
        secp: &Secp256k1<All>,
    ) -> Result<Batch, P::Error> {
        let motion = self.decided.motion();
        let (in_force, version) = in_force(motion, present, secp)?;
        if in_force != motion.was() || version != self.proposal.value.subject() {
            return Err(Refused::from(ProposalError::CHANGED).into());
        }
        for user in new_users(motion) {
            if !is_enrolled(user, present)? {
                return Err(Refused::NoSuchUser(user.name.clone()).into());
            }
        }
        let recorded = batch.event.act().map_or(Class::Neutral, RecordedAct::class);
        if recorded > motion.class() {
            return Err(Refused::NeedsOfficers(recorded).into());
        }
        let Batch { mut writes, absent, unchanged, event, time } =
            batch.while_unchanged(self.council.unchanged());
        writes.push(self.proposal.put(self.decided.next()));
        writes.extend(retired(motion));
        let event = match event {
            Event::Act(act) => Event::Decided(Box::new(DecidedAct {
                act: *act,
                nonce: self.proposal.value.nonce(),
                officers: self.officers.clone(),
            })),
            event => event,
        };
        Ok(Batch { writes, absent, unchanged, event, time })
    }
}

/// The act of a proposal, where this council is in force.
fn act_of(proposal: &Proposal, council: &Council) -> Result<Act, Refused> {
    let names = |users: &[UserId]| users.iter().map(|user| user.name.clone()).collect::<Vec<_>>();
    let change = |(label, users, policy): (&String, &[UserId], &String),
                  new: (&String, &[UserId], &String)| {
        KeyChange {
            label: (label != new.0).then(|| new.0.clone()),
            users: (users != new.1).then(|| names(new.1)),
            policy: (policy != new.2).then(|| new.2.clone()),
        }
    };
    Ok(match &proposal.act().motion {
        Motion::WalletSet(set) => {
            let WalletSet { id, old, new, reach } = &**set;
            let terms = change((&old.label, &old.users, &old.policy), (&new.label, &new.users, &new.policy));
            let reach = reach.map(|Raise { to: [external, internal], .. }| Reach::at(external, internal));
            Act::ChangeWallet(*id, WalletChange { terms, registration: None, reach })
        }
        Motion::KeySet(set) => {
            let KeySet { id, old, new } = &**set;
            let terms = change((&old.label, &old.users, &old.policy), (&new.label, &new.users, &new.policy));
            Act::ChangeDigestKey(*id, terms)
        }
        Motion::ClockTake { from, .. } => {
            Act::TakeClockWithin(Window { from: *from, until: proposal.act().expires })
        }
        // Officers who left the settings alone left alone what was tightened since.
        Motion::OfficersSet { old: Some(old), new } if old.settings() == new.settings() => {
            Act::SetOfficers(Box::new(new.with(council.settings())))
        }
        Motion::OfficersSet { new, .. } => Act::SetOfficers(new.clone()),
        Motion::SoPinLost { heir, .. } => Act::LoseSoPin(*heir),
        Motion::Thaw { what, .. } => Act::Thaw(target(what)),
        Motion::Freeze { what } => Act::Freeze(target(what)),
        Motion::DeviceAdd(add) => {
            let address = &add.new.address;
            let (network, address) = (address.network(), address.to_string());
            let (user, name) = (add.user.clone(), add.new.name.clone());
            Act::AddDevice(NewDevice { user, name, network, address })
        }
        // Of a store that does not open: nobody can do it here.
        Motion::Restore { .. } => return Err(ProposalError::CHANGED.into()),
    })
}

fn target(what: &Frozen) -> Target {
    match what {
        Frozen::Wallet(_, id) => Target::Wallet(*id),
        Frozen::Key(_, id) => Target::DigestKey(*id),
        Frozen::User(user) => Target::User(user.clone()),
        Frozen::All => Target::Everything,
    }
}

/// The digest of what is in force about the subject of an act ([`Motion::was`]), and the version of the record that has it. No act was
/// written on zeros, which stand for a subject that is gone.
pub fn in_force<P: Present>(
    motion: &Motion,
    present: &P,
    secp: &Secp256k1<All>,
) -> Result<([u8; 32], Option<u64>), P::Error> {
    let version = version(motion, present)?;
    Ok((as_of_now(motion, present, secp)?.map_or([0; 32], |motion| motion.was()), version))
}

/// The version of the record that an act is about. A record that was changed and put back has another one. None for the council,
/// whose record has the settings as well.
fn version<P: Present>(motion: &Motion, present: &P) -> Result<Option<u64>, P::Error> {
    Ok(match motion {
        Motion::WalletSet(set) => Some(present.key::<WalletRecord>(&set.id)?.0.version),
        Motion::KeySet(set) => Some(present.key::<DigestKeyRecord>(&set.id)?.0.version),
        Motion::ClockTake { .. } => present.clock()?.map(|clock| clock.version),
        Motion::Thaw { what, .. } | Motion::Freeze { what } => {
            present.freeze(&target(what).place())?.map(|freeze| freeze.version)
        }
        // Of a PIN that is lost already, the loss. So nothing of before is valid once a PIN was lost, or lost again.
        Motion::SoPinLost { .. } => {
            let so = present.token()?.value.so;
            so.is_lost().then(|| u64::from_be_bytes(so.name()))
        }
        Motion::DeviceAdd(add) => present.credentials(&add.user.name)?.map(|record| record.version),
        Motion::OfficersSet { .. } | Motion::Restore { .. } => None,
    })
}

/// The same act with the present document as its old one; none if its subject is gone.
fn as_of_now<P: Present>(
    motion: &Motion,
    present: &P,
    secp: &Secp256k1<All>,
) -> Result<Option<Motion>, P::Error> {
    Ok(match motion {
        Motion::WalletSet(set) => {
            let Some((old, _)) = wallet(&set.id, present, secp)? else { return Ok(None) };
            Some(Motion::WalletSet(Box::new(WalletSet { old, ..(**set).clone() })))
        }
        Motion::KeySet(set) => {
            let Some(old) = digest_key(&set.id, present, secp)? else { return Ok(None) };
            Some(Motion::KeySet(Box::new(KeySet { old, ..(**set).clone() })))
        }
        Motion::ClockTake { from, .. } => {
            let believed = present.clock()?.map(|clock| clock.value.believed.wall);
            Some(Motion::ClockTake { believed, from: *from })
        }
        Motion::Restore { .. } => None,
        Motion::OfficersSet { new, .. } => {
            let old = present.council()?.map(|council| Box::new(council.value));
            Some(Motion::OfficersSet { old, new: new.clone() })
        }
        Motion::SoPinLost { heir, .. } => {
            let token = present.token()?.value;
            let (label, serial, pin) = (token.label, token.serial, token.so.name());
            Some(Motion::SoPinLost { label, serial, pin, heir: *heir })
        }
        Motion::Thaw { what, .. } => match frozen(what, present)? {
            Some((what, Some(since))) => Some(Motion::Thaw { what, since }),
            _ => None,
        },
        Motion::Freeze { what } => match frozen(what, present)? {
            Some((what, None)) => Some(Motion::Freeze { what }),
            _ => None,
        },
        Motion::DeviceAdd(add) => {
            if !is_enrolled(&add.user, present)? {
                return Ok(None);
            }
            let record = present.credentials(&add.user.name)?;
            let old = DeviceAdd::devices(&devices::of_enrolment(&add.user, record.as_ref()));
            Some(Motion::DeviceAdd(Box::new(DeviceAdd { old, ..(**add).clone() })))
        }
    })
}

/// A wallet as it is in force, with its reach.
pub(super) fn wallet<P: Present>(
    id: &KeyId,
    present: &P,
    secp: &Secp256k1<All>,
) -> Result<Option<(WalletTerms, Reach)>, P::Error> {
    let (record, state) = present.key::<WalletRecord>(id)?;
    let Some(users) = enrolled(record.value.terms(), present)? else { return Ok(None) };
    let wallet = Wallet::open(&record.value, secp).map_err(Refused::from)?;
    let fixed = WalletFixed {
        network: wallet.network(),
        fingerprint: wallet.master_fingerprint().to_bytes(),
        path: wallet.account_path(),
        xpub: wallet.account().to_string(),
        descriptor: wallet.keys().map(|keys| keys.watch().descriptor().into()),
    };
    let KeyTerms { label, policy, .. } = record.value.terms().clone();
    Ok(Some((WalletTerms { label, users, policy, fixed }, state.value.reach)))
}

/// A key that signs digests, as it is in force.
pub(super) fn digest_key<P: Present>(
    id: &KeyId,
    present: &P,
    secp: &Secp256k1<All>,
) -> Result<Option<DigestKeyTerms>, P::Error> {
    let (record, _) = present.key::<DigestKeyRecord>(id)?;
    let Some(users) = enrolled(record.value.terms(), present)? else { return Ok(None) };
    let key = DigestKey::open(&record.value, secp).map_err(Refused::from)?;
    let (mechanisms, public_key) = (key.mechanisms(), key.public_key().serialize());
    let KeyTerms { label, policy, .. } = record.value.terms().clone();
    Ok(Some(DigestKeyTerms { label, users, policy, mechanisms, public_key }))
}

/// Users by enrolment; none if one of them is not there.
pub(super) fn enrolled<P: Present>(terms: &KeyTerms, present: &P) -> Result<Option<Vec<UserId>>, P::Error> {
    let mut users = Vec::with_capacity(terms.users.len());
    for name in &terms.users {
        let Some(user) = present.user(name)? else { return Ok(None) };
        users.push(UserId { name: name.clone(), key: user.value.factor.key_id() });
    }
    Ok(Some(users))
}

fn is_enrolled<P: Present>(user: &UserId, present: &P) -> Result<bool, P::Error> {
    Ok(present.user(&user.name)?.is_some_and(|record| record.value.factor.key_id() == user.key))
}

/// A thing as it is called now, and since when it is frozen; none if it is gone.
pub(super) fn frozen<P: Present>(
    what: &Frozen,
    present: &P,
) -> Result<Option<(Frozen, Option<u64>)>, P::Error> {
    let now = match what {
        Frozen::All => Frozen::All,
        Frozen::Wallet(_, id) => {
            Frozen::Wallet(present.key::<WalletRecord>(id)?.0.value.terms().label.clone(), *id)
        }
        Frozen::Key(_, id) => {
            Frozen::Key(present.key::<DigestKeyRecord>(id)?.0.value.terms().label.clone(), *id)
        }
        Frozen::User(user) if is_enrolled(user, present)? => Frozen::User(user.clone()),
        Frozen::User(_) => return Ok(None),
    };
    let freeze = present.freeze(&target(what).place())?;
    Ok(Some((now, freeze.map(|freeze| freeze.value.since))))
}

/// The users whom an act concerns: those of the wallet or key, those who were taken off it at `since` or later and are enrolled still,
/// or the user who is frozen. Nobody can prove to be a user who is not enrolled any more.
pub fn vetoers<P: Present>(motion: &Motion, since: u64, present: &P) -> Result<Vec<UserId>, P::Error> {
    let (id, present_users) = match motion {
        Motion::WalletSet(set) => (set.id, of_key::<WalletRecord, P>(&set.id, present)?),
        Motion::KeySet(set) => (set.id, of_key::<DigestKeyRecord, P>(&set.id, present)?),
        Motion::Thaw { what: Frozen::Wallet(_, id), .. } => (*id, of_key::<WalletRecord, P>(id, present)?),
        Motion::Thaw { what: Frozen::Key(_, id), .. } => (*id, of_key::<DigestKeyRecord, P>(id, present)?),
        Motion::Thaw { what: Frozen::User(user), .. } => return Ok(vec![user.clone()]),
        // Nobody else can know whether it is theirs.
        Motion::DeviceAdd(add) => return Ok(vec![add.user.clone()]),
        Motion::Thaw { what: Frozen::All, .. }
        | Motion::Freeze { .. }
        | Motion::ClockTake { .. }
        | Motion::Restore { .. }
        | Motion::OfficersSet { .. }
        | Motion::SoPinLost { .. } => return Ok(vec![]),
    };
    let mut users = present_users;
    for user in present.former_users(&id)?.iter().flat_map(|former| former.value.since(since)) {
        if !users.contains(&user) && is_enrolled(&user, present)? {
            users.push(user);
        }
    }
    Ok(users)
}

fn of_key<K: KeyRecord, P: Present>(id: &KeyId, present: &P) -> Result<Vec<UserId>, P::Error> {
    Ok(enrolled(present.key::<K>(id)?.0.value.terms(), present)?.unwrap_or_default())
}

/// The users who are to sign.
fn new_users(motion: &Motion) -> &[UserId] {
    match motion {
        Motion::WalletSet(set) => &set.new.users,
        Motion::KeySet(set) => &set.new.users,
        _ => &[],
    }
}

/// The record that keeps everybody from using the old label again. Coins can be at the addresses of what had it.
fn retired(motion: &Motion) -> Option<Write> {
    let (old, new) = match motion {
        Motion::WalletSet(set) if set.old.fixed.descriptor.is_some() => (&set.old.label, &set.new.label),
        Motion::KeySet(set) => (&set.old.label, &set.new.label),
        _ => return None,
    };
    (old != new).then(|| Write {
        place: RecordKey::retired(old),
        expected: None,
        content: Content::Put(Retired { label: old.clone() }.encode()),
    })
}

/// The kind of a freeze's record is the same for all things, so the place of a user's freeze follows from the name alone.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::freeze::place_of;
    use crate::seal::Kind;

    #[test]
    fn the_target_of_a_freeze_is_what_the_text_names() {
        let user = UserId { name: "alice".into(), key: [1; 16] };
        let place = |what: Frozen| target(&what).place();
        assert_eq!(place(Frozen::User(user)), place_of(&RecordKey::user("alice")));
        assert_eq!(
            place(Frozen::Wallet("w".into(), [7; 16])),
            place_of(&RecordKey { kind: Kind::Wallet, id: [7; 16] })
        );
    }
}
