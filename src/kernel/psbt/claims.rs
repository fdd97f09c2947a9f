//! A map's claims about our keys: which keys they should be, and where their paths lead.

use std::collections::BTreeMap;

use bitcoin::XOnlyPublicKey;
use bitcoin::bip32::{DerivationPath, Fingerprint, KeySource};
use bitcoin::psbt::Input;
use bitcoin::secp256k1::PublicKey;
use bitcoin::taproot::TapLeafHash;

use super::{PsbtError, refuse};
use crate::rule::Rule;
use crate::wallet::{Elsewhere, Location, Locks, Place, Rebuilt, Sketch, Spend, WatchOnly};

/// A key that an input or output claims to be ours, with its claimed path.
pub(super) struct Claim<'a> {
    pub(super) key: ClaimedKey,
    pub(super) path: &'a DerivationPath,
}

pub(super) enum ClaimedKey {
    Whole(PublicKey),
    XOnly(XOnlyPublicKey),
}

impl ClaimedKey {
    fn is(&self, key: &PublicKey) -> bool {
        match self {
            ClaimedKey::Whole(claimed) => claimed == key,
            ClaimedKey::XOnly(claimed) => *claimed == key.x_only_public_key().0,
        }
    }
}

pub(super) type Derivations = BTreeMap<PublicKey, KeySource>;
pub(super) type TapDerivations = BTreeMap<XOnlyPublicKey, (Vec<TapLeafHash>, KeySource)>;

/// All master fingerprints in a map.
pub(super) fn fingerprints<'a>(
    derivations: &'a Derivations,
    tap: &'a TapDerivations,
) -> impl Iterator<Item = &'a Fingerprint> {
    let plain = derivations.values().map(|(fingerprint, _)| fingerprint);
    plain.chain(tap.values().map(|(_, (fingerprint, _))| fingerprint))
}

/// The keys that are claimed to be `ours`: at most as many as we have `places` in the script, plain or
/// taproot. More are `derived-key`.
pub(super) fn claims<'a>(
    (side, index): (&str, usize),
    derivations: &'a Derivations,
    tap: &'a TapDerivations,
    ours: Fingerprint,
    places: usize,
) -> Result<Vec<Claim<'a>>, PsbtError> {
    let plain = derivations
        .iter()
        .filter(|(_, (fingerprint, _))| *fingerprint == ours)
        .map(|(key, (_, path))| Claim { key: ClaimedKey::Whole(*key), path });
    let tap = tap
        .iter()
        .filter(|(_, (_, (fingerprint, _)))| *fingerprint == ours)
        .map(|(key, (_, (_, path)))| Claim { key: ClaimedKey::XOnly(*key), path });
    let claims: Vec<_> = plain.chain(tap).take(places + 1).collect();
    if claims.len() <= places {
        return Ok(claims);
    }
    let detail =
        format!("{side} {index} claims more keys of this wallet than its script has, which is {places}");
    Err(refuse(Rule::DerivedKey, detail))
}

/// Where the claims of one map lead: to one address, and each to a place of its own. Otherwise `derived-key`.
/// This also bounds the derivations that a list of claims can cost.
pub(super) struct Located<'a> {
    pub(super) location: Location,
    claims: Vec<(Place, &'a ClaimedKey)>,
}

impl<'a> Located<'a> {
    /// `None` without a claim. `elsewhere` gives the error for a path that leads to no address of the wallet.
    pub(super) fn of(
        (side, index): (&str, usize),
        claims: &'a [Claim<'a>],
        wallet: &WatchOnly,
        elsewhere: impl Fn(Elsewhere, &DerivationPath) -> PsbtError,
    ) -> Result<Option<Located<'a>>, PsbtError> {
        let mut located: Option<Located<'a>> = None;
        for Claim { key, path } in claims {
            let (place, location) = wallet.locate_key(path.as_ref()).map_err(|why| elsewhere(why, path))?;
            let located = located.get_or_insert_with(|| Located { location, claims: Vec::new() });
            if located.location != location || located.claims.iter().any(|(there, _)| *there == place) {
                let detail = format!("{side} {index} claims keys of several addresses of this wallet");
                return Err(refuse(Rule::DerivedKey, detail));
            }
            located.claims.push((place, key));
        }
        Ok(located)
    }

    /// Whether every claimed key is the one that its path derives.
    pub(super) fn holds(&self, ours: &Sketch) -> bool {
        self.claims.iter().all(|(place, key)| key.is(ours.key(*place)))
    }

    /// The places whose signature is requested: the claimed ones, without leaves that the input does not
    /// show, and without branches whose timelock the transaction does not satisfy. If nothing would be left,
    /// a restriction is not applied.
    pub(super) fn asked(
        &self,
        input: &Input,
        rebuilt: &Rebuilt,
        wallet: &WatchOnly,
        locks: &Locks,
    ) -> Vec<Place> {
        let claimed: Vec<Place> = self.claims.iter().map(|(place, _)| *place).collect();
        let narrowed = |places: Vec<Place>, keep: &dyn Fn(&Place) -> bool| {
            let kept: Vec<Place> = places.iter().copied().filter(keep).collect();
            if kept.is_empty() { places } else { kept }
        };
        let shown: Vec<TapLeafHash> = input
            .tap_scripts
            .values()
            .map(|(script, version)| TapLeafHash::from_script(script, *version))
            .collect();
        let is_shown = |place: &Place| match &rebuilt.branch(*place).spend {
            Spend::ScriptPath(_, leaf) => shown.is_empty() || shown.contains(leaf),
            Spend::Legacy(_) | Spend::SegwitV0(_) | Spend::KeyPath(_) => true,
        };
        narrowed(narrowed(claimed, &is_shown), &|place| wallet.leads_to(*place, locks))
    }
}
