//! From which amount on each wallet asks its users to approve what they are shown.

use std::borrow::Cow;
use std::str::FromStr;

use countersign::kernel::factor::Shown;
use countersign::kernel::network::Network;
use countersign::kernel::policy::Policy;
use countersign::pkcs11::vendor as v;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::Session;

use super::promises::Promise;
use crate::attributes::{Attributes, kind};
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::names::quoted;

/// The most wallets that are named.
const NAMED: usize = 5;

/// A wallet, as far as it concerns consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asks {
    pub(super) label: String,
    /// The amount in satoshi from which on it asks, and the means that count, if it ever asks.
    pub(super) from: Option<(u64, Vec<Shown>)>,
}

/// All wallets. Nobody needs a PIN to see a policy.
pub(super) fn read(session: &Session) -> Result<Vec<Asks>, CommandError> {
    let wanted = [AttributeType::Label, kind(v::CKA_COUNTERSIGN_NETWORK), kind(v::CKA_COUNTERSIGN_POLICY)];
    let mut wallets = Vec::new();
    for object in session.find_objects(&[Attribute::Class(ObjectClass::PUBLIC_KEY)]).during(Act::Read)? {
        let read = Attributes::read(session, object, &wanted, Act::Read)?;
        // A key that signs digests has no network. What it signs nobody can read.
        let Ok(network) = Network::from_str(&read.text(v::CKA_COUNTERSIGN_NETWORK)) else { continue };
        let policy = Policy::parse(&read.text(v::CKA_COUNTERSIGN_POLICY), network).ok();
        let from = policy.and_then(|policy| {
            let from = policy.consent_from()?;
            Some((from, policy.consent_by(from)?.to_vec()))
        });
        wallets.push(Asks { label: read.label(), from });
    }
    wallets.sort_unstable_by(|one, other| one.label.cmp(&other.label));
    Ok(wallets)
}

/// For which amounts of which wallets the promise holds, and for which it does not. `None`: the module does not say.
pub(super) fn promises(wallets: Option<&[Asks]>) -> Vec<Promise> {
    const PROMISE: &str = "A code is consent to this one transaction.";
    const WHY: &str = "a time-based code proves that the user is present, not what they saw. The policy's limits bound the loss";
    let promise = |held, why: String| Promise { promise: PROMISE, held: Some(held), why: Cow::Owned(why) };
    let wallets = wallets.unwrap_or_default();
    // A code that is typed at the desk may have been got out of its user elsewhere, for a smaller payment for example.
    let holds = |(_, by): &&(u64, Vec<Shown>)| by.iter().all(|means| *means == Shown::Device);
    let asking: Vec<String> =
        wallets.iter().filter_map(|wallet| Some(from(wallet, wallet.from.as_ref().filter(holds)?))).collect();
    if asking.is_empty() {
        return vec![promise(false, WHY.into())];
    }
    let rest = wallets.iter().filter_map(|wallet| match &wallet.from {
        None => Some(format!("wallet {}", quoted(&wallet.label))),
        Some(asks) if !holds(&asks) => {
            Some(format!("{}, where users type codes nowhere else", from(wallet, asks)))
        }
        Some((0, _)) => None,
        Some((from, _)) => Some(format!("wallet {} below {from} sat", quoted(&wallet.label))),
    });
    let rest: Vec<String> = rest.collect();
    let mut promises = vec![promise(
        true,
        format!(
            "no code of its users counts there, only what they approve by a means that shows it: {}",
            listed(&asking)
        ),
    )];
    if !rest.is_empty() {
        promises.push(promise(false, format!("{}: {WHY}", listed(&rest))));
    }
    promises
}

fn from(wallet: &Asks, (from, by): &(u64, Vec<Shown>)) -> String {
    let means: Vec<&str> = by.iter().map(|means| means.name()).collect();
    format!("wallet {} from {from} sat on, by {}", quoted(&wallet.label), means.join(" or "))
}

fn listed(wallets: &[String]) -> String {
    let more = wallets.len().saturating_sub(NAMED);
    let named = wallets[..wallets.len() - more].join("; ");
    if more == 0 { named } else { format!("{named}; and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(label: &str, from: Option<u64>) -> Asks {
        Asks { label: label.into(), from: from.map(|from| (from, vec![Shown::Device])) }
    }

    fn told(wallets: &[Asks]) -> Vec<(Option<bool>, String)> {
        promises(Some(wallets)).into_iter().map(|promise| (promise.held, promise.why.into_owned())).collect()
    }

    #[test]
    fn consent_is_held_for_the_amounts_from_which_a_wallet_asks_and_for_no_others() {
        for none in [None, Some(&[][..]), Some(&[asks("treasury", None)][..])] {
            let promises = promises(none);
            assert_eq!(promises.iter().map(|promise| promise.held).collect::<Vec<_>>(), [Some(false)]);
        }
        let all = told(&[asks("treasury", Some(0))]);
        assert_eq!(all.len(), 1);
        assert!(
            all[0].0 == Some(true) && all[0].1.contains("wallet treasury from 0 sat on, by device"),
            "{all:?}"
        );
        let some = told(&[asks("petty cash", None), asks("treasury", Some(5_000))]);
        assert_eq!((some[0].0, some[1].0), (Some(true), Some(false)));
        assert!(some[0].1.ends_with(": wallet treasury from 5000 sat on, by device"), "{some:?}");
        assert!(
            some[1].1.starts_with("wallet 'petty cash'; wallet treasury below 5000 sat: a time-based"),
            "{some:?}"
        );
    }

    #[test]
    fn a_code_that_is_typed_at_the_desk_is_no_consent_wherever_else_its_user_types_codes() {
        let mut desk = asks("treasury", Some(0));
        desk.from = Some((0, vec![Shown::Device, Shown::Desk]));
        let both = told(&[asks("vault", Some(0)), desk.clone()]);
        assert_eq!((both.len(), both[0].0, both[1].0), (2, Some(true), Some(false)));
        assert!(both[0].1.contains("wallet vault") && !both[0].1.contains("treasury"), "{both:?}");
        assert!(both[1].1.starts_with("wallet treasury from 0 sat on, by device or desk, where"), "{both:?}");
        assert_eq!(told(&[desk]).len(), 1);
    }

    #[test]
    fn a_long_list_of_wallets_ends_with_how_many_more_there_are() {
        let many: Vec<Asks> = (0..9).map(|number| asks(&format!("w{number}"), Some(0))).collect();
        let all = told(&many);
        assert!(all[0].1.ends_with("wallet w4 from 0 sat on, by device; and 4 more"), "{all:?}");
    }
}
