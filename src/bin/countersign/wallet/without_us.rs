//! How the coins of a wallet can move without its own key: what the security officer must know before coins come in.

use core::str::FromStr;

use bitcoin::bip32::Xpub;
use miniscript::policy::Liftable;
use miniscript::policy::semantic::Policy;
use miniscript::{Descriptor, DescriptorPublicKey};

/// In words, or `None` where the descriptor or the key cannot be read.
pub(super) fn without_us(descriptor: &str, xpub: &str) -> Option<String> {
    let policy = Descriptor::<DescriptorPublicKey>::from_str(descriptor).ok()?.lift().ok()?;
    let ours = Xpub::from_str(xpub).ok()?;
    if is_enough(&policy, &ours, false) {
        return Some("the other keys suffice, at any time".into());
    }
    if !is_enough(&policy, &ours, true) {
        return Some("no coin moves".into());
    }
    let relative = policy.relative_timelocks().into_iter().map(|age| format!("older({age})"));
    let absolute = policy.absolute_timelocks().into_iter().map(|time| format!("after({time})"));
    let timelocks: Vec<String> = relative.chain(absolute).collect();
    Some(format!("the other keys suffice after a timelock: {}", timelocks.join(", ")))
}

/// Whether everybody but us satisfies `policy`, with or without its timelocks passed.
fn is_enough(policy: &Policy<DescriptorPublicKey>, ours: &Xpub, waits: bool) -> bool {
    match policy {
        Policy::Unsatisfiable => false,
        Policy::Key(DescriptorPublicKey::MultiXPub(key)) => key.xkey.public_key != ours.public_key,
        Policy::Key(DescriptorPublicKey::XPub(key)) => key.xkey.public_key != ours.public_key,
        Policy::After(_) | Policy::Older(_) => waits,
        Policy::Thresh(branches) => {
            branches.iter().filter(|branch| is_enough(branch, ours, waits)).count() >= branches.k()
        }
        // A preimage may be known to anybody.
        Policy::Trivial
        | Policy::Key(DescriptorPublicKey::Single(_))
        | Policy::Sha256(_)
        | Policy::Hash256(_)
        | Policy::Ripemd160(_)
        | Policy::Hash160(_) => true,
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
    fn what_moves_without_us_is_told() {
        let alone = "no coin moves";
        assert_eq!(of("wpkh(OURS/<0;1>/*)"), alone);
        assert_eq!(of("wsh(multi(2,USER/<0;1>/*,OURS/<0;1>/*))"), alone);
        let any = "the other keys suffice, at any time";
        assert_eq!(of("wsh(multi(1,USER/<0;1>/*,OURS/<0;1>/*))"), any);
        assert_eq!(of("tr(USER/<0;1>/*,pk(OURS/<0;1>/*))"), any);
        let waits = "the other keys suffice after a timelock: older(144)";
        let recovery = "wsh(or_d(multi(2,USER/<0;1>/*,OURS/<0;1>/*),and_v(v:pk(USER/<2;3>/*),older(144))))";
        assert_eq!(of(recovery), waits);
        assert_eq!(of("tr(OURS/<0;1>/*,and_v(v:pk(USER/<0;1>/*),older(144)))"), waits);
        assert_eq!(without_us("", OURS), None);
    }
}
