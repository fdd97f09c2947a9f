//! How the coins of a wallet can move without its own key: what the security officer must know before coins
//! arrive.

use core::str::FromStr;

use bitcoin::bip32::Xpub;
use countersign::kernel::wallet::nobody_has;
use miniscript::policy::Liftable;
use miniscript::policy::semantic::Policy;
use miniscript::{Descriptor, DescriptorPublicKey};

/// In words, or `None` if the descriptor or the key cannot be read.
pub(super) fn without_us(descriptor: &str, xpub: &str) -> Option<String> {
    let policy = Descriptor::<DescriptorPublicKey>::from_str(descriptor).ok()?.lift().ok()?;
    let ours = Xpub::from_str(xpub).ok()?;
    let none = [None].into_iter();
    let ages: Vec<Option<u32>> =
        none.clone().chain(policy.relative_timelocks().into_iter().map(Some)).collect();
    let times: Vec<Option<u32>> = none.chain(policy.absolute_timelocks().into_iter().map(Some)).collect();
    // The cheapest way comes first: no preimage, then no time, then no age.
    for preimages in [false, true] {
        for (time, age) in times.iter().flat_map(|time| ages.iter().map(move |age| (*time, *age))) {
            let world = World { ours: &ours, age, time, preimages };
            if world.satisfies(&policy) {
                return Some(world.in_words());
            }
        }
    }
    Some("no coin moves".into())
}

/// Everybody except us, at some time.
struct World<'a> {
    ours: &'a Xpub,
    /// The `older` that has passed.
    age: Option<u32>,
    /// The `after` that has passed.
    time: Option<u32>,
    /// Whether they know the preimages of hashes.
    preimages: bool,
}

impl World<'_> {
    fn satisfies(&self, policy: &Policy<DescriptorPublicKey>) -> bool {
        // Blocks and seconds cannot be compared with each other (BIP 65, BIP 68).
        let passed = |passed: Option<u32>, wanted: u32, is_seconds: fn(u32) -> bool| {
            passed.is_some_and(|passed| is_seconds(passed) == is_seconds(wanted) && wanted <= passed)
        };
        match policy {
            Policy::Unsatisfiable => false,
            Policy::Trivial => true,
            Policy::Key(key) if nobody_has(key) => false,
            Policy::Key(DescriptorPublicKey::MultiXPub(key)) => key.xkey.public_key != self.ours.public_key,
            Policy::Key(DescriptorPublicKey::XPub(key)) => key.xkey.public_key != self.ours.public_key,
            Policy::Key(DescriptorPublicKey::Single(_)) => true,
            Policy::Older(age) => passed(self.age, age.to_consensus_u32(), |age| age & (1 << 22) != 0),
            Policy::After(time) => passed(self.time, time.to_consensus_u32(), |time| time >= 500_000_000),
            Policy::Sha256(_) | Policy::Hash256(_) | Policy::Ripemd160(_) | Policy::Hash160(_) => {
                self.preimages
            }
            Policy::Thresh(branches) => {
                branches.iter().filter(|branch| self.satisfies(branch)).count() >= branches.k()
            }
        }
    }

    fn in_words(&self) -> String {
        let locks: Vec<String> = (self.age.map(|age| format!("older({age})")).into_iter())
            .chain(self.time.map(|time| format!("after({time})")))
            .collect();
        let when = if locks.is_empty() {
            "at any time".into()
        } else {
            format!("once {} has passed", locks.join(" and "))
        };
        let with = if self.preimages { ", with the preimages of its hashes" } else { "" };
        format!("the other keys suffice {when}{with}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8";
    const USER: &str = "xpub661MyMwAqRbcEZVB4dScxMAdx6d4nFc9nvyvH3v4gJL378CSRZiYmhRoP7mBy6gSPSCYk6SzXPTf3ND1cZAceL7SfJ1Z3GC8vBgp2epUt13";

    fn of(descriptor: &str) -> String {
        let text = descriptor.replace("USER", USER).replace("OURS", OURS);
        without_us(&text, OURS).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn every_way_to_spend_without_us_is_shown() {
        let alone = "no coin moves";
        assert_eq!(of("wpkh(OURS/<0;1>/*)"), alone);
        assert_eq!(of("wsh(multi(2,USER/<0;1>/*,OURS/<0;1>/*))"), alone);
        let any = "the other keys suffice at any time";
        assert_eq!(of("wsh(multi(1,USER/<0;1>/*,OURS/<0;1>/*))"), any);
        assert_eq!(of("tr(USER/<0;1>/*,pk(OURS/<0;1>/*))"), any);
        let waits = "the other keys suffice once older(144) has passed";
        let recovery = "wsh(or_d(multi(2,USER/<0;1>/*,OURS/<0;1>/*),and_v(v:pk(USER/<2;3>/*),older(144))))";
        assert_eq!(of(recovery), waits);
        assert_eq!(of("tr(OURS/<0;1>/*,and_v(v:pk(USER/<0;1>/*),older(144)))"), waits);
        // Shows only the lowest of the locks that come before the others.
        let several = "wsh(thresh(2,pk(OURS/<0;1>/*),s:pk(USER/<0;1>/*),sln:older(144)))";
        assert_eq!(of(several), waits);
        let ours_waits = "wsh(or_d(pk(USER/<0;1>/*),and_v(v:pk(OURS/<0;1>/*),older(144))))";
        assert_eq!(of(ours_waits), any);
        let hash = "sha256(0000000000000000000000000000000000000000000000000000000000000001)";
        assert_eq!(
            of(&format!("wsh(or_d(multi(2,USER/<0;1>/*,OURS/<0;1>/*),and_v(v:pk(USER/<2;3>/*),{hash})))")),
            "the other keys suffice at any time, with the preimages of its hashes"
        );
        let after = "wsh(or_d(multi(2,USER/<0;1>/*,OURS/<0;1>/*),and_v(v:pk(USER/<2;3>/*),after(900000))))";
        assert_eq!(of(after), "the other keys suffice once after(900000) has passed");
        assert_eq!(without_us("", OURS), None);
    }

    const POINT: &str = "50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0";

    /// BIP 341's point with a random chain code.
    fn point_as_xpub() -> String {
        let mut xpub = Xpub::from_str(USER).expect("an xpub");
        xpub.public_key = format!("02{POINT}").parse().expect("a point");
        format!("{xpub}/<0;1>/*")
    }

    #[test]
    fn a_key_that_nobody_can_have_is_no_way_without_us() {
        for point in [POINT.to_owned(), format!("02{POINT}"), point_as_xpub()] {
            let tree = |leaves: &str| of(&format!("tr({point},{leaves})"));
            assert_eq!(tree("pk(OURS/<0;1>/*)"), "no coin moves", "{point}");
            assert_eq!(tree("multi_a(2,USER/<0;1>/*,OURS/<0;1>/*)"), "no coin moves");
            assert_eq!(tree("pk(USER/<0;1>/*)"), "the other keys suffice at any time");
            assert_eq!(
                tree("{multi_a(2,USER/<0;1>/*,OURS/<0;1>/*),and_v(v:pk(USER/<2;3>/*),older(65535))}"),
                "the other keys suffice once older(65535) has passed"
            );
        }
        let point = point_as_xpub();
        assert_eq!(of(&format!("wsh(multi(1,OURS/<0;1>/*,{point}))")), "no coin moves");
        assert_eq!(of(&format!("wsh(multi(2,OURS/<0;1>/*,{point},USER/<0;1>/*))")), "no coin moves");
        // Our other place in the script is ours as well.
        let both = "wsh(or_d(multi(2,USER/<0;1>/*,OURS/<0;1>/*),and_v(v:pk(OURS/<2;3>/*),older(9))))";
        assert_eq!(of(both), "no coin moves");
    }
}
