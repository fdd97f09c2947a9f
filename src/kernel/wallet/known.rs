//! The addresses of a wallet that were rebuilt lately: deriving keys is most of what checking a PSBT costs.

use std::collections::HashMap;

use super::watch::{Location, Rebuilt};

/// Most addresses that a wallet keeps rebuilt; then half of them go, those that were not asked for lately.
const MOST_KNOWN: usize = 4_096;

/// Addresses that were rebuilt: what is change today is spent tomorrow. The same comes out as without.
#[derive(Default)]
pub(super) struct Known {
    newer: HashMap<Location, Rebuilt>,
    older: HashMap<Location, Rebuilt>,
}

impl Known {
    pub(super) fn get(&mut self, location: Location) -> Option<Rebuilt> {
        if let Some(rebuilt) = self.newer.get(&location) {
            return Some(rebuilt.clone());
        }
        let rebuilt = self.older.remove(&location)?;
        self.put(rebuilt.clone());
        Some(rebuilt)
    }

    pub(super) fn put(&mut self, rebuilt: Rebuilt) {
        if self.newer.len() >= MOST_KNOWN / 2 {
            self.older = core::mem::take(&mut self.newer);
        }
        self.newer.insert(rebuilt.location, rebuilt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::wallet::{Chain, Spend};
    use bitcoin::ScriptBuf;
    use bitcoin::secp256k1::{Secp256k1, SecretKey};

    fn rebuilt(index: u32) -> Rebuilt {
        let secret = SecretKey::from_slice(&[1; 32]).expect("a key");
        Rebuilt {
            location: Location { chain: Chain::External, index },
            key: secret.public_key(&Secp256k1::new()),
            script_pubkey: ScriptBuf::new(),
            spend: Spend::Legacy(ScriptBuf::new()),
            leaves: vec![],
        }
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let mut known = Known::default();
        let favourite = Location { chain: Chain::External, index: 0 };
        for index in 0..3 * MOST_KNOWN as u32 {
            known.put(rebuilt(index));
            assert!(known.get(favourite).is_some_and(|rebuilt| rebuilt.location == favourite));
            assert!(known.newer.len() + known.older.len() <= MOST_KNOWN + 1);
        }
        assert!(known.get(Location { chain: Chain::External, index: 1 }).is_none());
        assert!(known.get(Location { chain: Chain::Internal, index: 0 }).is_none(), "each chain for itself");
    }
}
