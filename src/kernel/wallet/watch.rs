//! The public side of a registered wallet: the knowledge of a watch-only wallet, which is all that the checks
//! of a PSBT need.
//!
//! Invariants:
//! - W1. "Ours" is proved by deriving every key of the registered script and rebuilding the exact scriptPubKey. Nothing
//!   about the wallet is taken from a PSBT.

use core::fmt;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bitcoin::bip32::{ChildNumber, DerivationPath, Fingerprint, Xpub};
use bitcoin::secp256k1::{All, Parity, PublicKey, Scalar, Secp256k1};
use bitcoin::{Script, hashes};
use miniscript::descriptor::{Descriptor, DescriptorPublicKey, SinglePubKey};
use miniscript::policy::Liftable;
use miniscript::policy::semantic::Policy as Semantic;
use miniscript::{MiniscriptKey, TranslateErr, Translator, hash256, translate_hash_clone};
use sha2::{Digest, Sha256};

use super::branch::{self, Locks, Place};
use super::location::{Chain, Elsewhere, Location};
use super::nobody::{self, is_nums, nobody_has};
use super::rebuilt::{ChildKey, Derived, Progress, Rebuilt, Sketch};
use super::registration::{self, OurKey, RegistrationError};
use super::{WalletError, generator, weight};
use crate::network::Network;
use crate::recent::Recent;

/// The most rebuilt addresses in a wallet's cache: deriving keys is most of the cost of checking a PSBT. A
/// backend can ask for any address, in every wallet, so there are few.
const MAX_KNOWN: usize = 256;

/// A registered wallet, without its secrets.
pub struct WatchOnly {
    label: String,
    network: Network,
    descriptor: String,
    policy: String,
    id: [u8; 32],
    template: Descriptor<Slot>,
    keys: Vec<KeyNode>,
    /// The slots of our key, in the order of our places.
    ours: Vec<Slot>,
    /// The conditions of the script, in which [`branch`] finds the ways that a transaction can use.
    semantics: Semantic<Slot>,
    path: DerivationPath,
    satisfaction_weight: u64,
    /// The cache of rebuilt addresses: what is change today is spent tomorrow.
    known: Mutex<Recent<Location, Arc<Rebuilt>>>,
    /// The number of keys derived so far.
    derived: AtomicU64,
}

/// A place for a key in the template: an index into the wallet's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Slot(usize);

/// The key of one slot.
struct KeyNode {
    fingerprint: Fingerprint,
    /// The extended key of the chains. A cosigner may have several pairs of chains.
    extended: PublicKey,
    /// Its two chains, or none for the point that is given as itself, which is the same at every address.
    chains: Option<Chains>,
}

/// The nodes of the two chains, with their numbers.
type Chains = [(ChildNumber, Xpub); 2];

impl WatchOnly {
    /// Registers `text` (see [`registration`]) for the key at `path` of the master key `fingerprint`.
    pub fn register(
        label: &str,
        text: &str,
        (fingerprint, path): (Fingerprint, &DerivationPath),
        xpub: &Xpub,
        network: Network,
        secp: &Secp256k1<All>,
    ) -> Result<WatchOnly, WalletError> {
        let descriptor = registration::register(text, &OurKey { fingerprint, path, xpub }, network)?;
        let mut plan = Plan { keys: Vec::new(), ours: Vec::new(), our_key: xpub.public_key, secp };
        let template = match descriptor.translate_pk(&mut plan) {
            Ok(template) => template,
            Err(TranslateErr::TranslatorErr(error)) => return Err(error),
            Err(TranslateErr::OuterError(_)) => return Err(WalletError::Derivation),
        };
        let Plan { keys, ours, .. } = plan;
        if ours.is_empty() {
            return Err(WalletError::Derivation);
        }
        let semantics = template.lift().map_err(|_| WalletError::Derivation)?;
        let most = descriptor.max_weight_to_satisfy().map_err(|_| WalletError::Derivation)?;
        let text = descriptor.to_string();
        let mut watch = WatchOnly {
            label: label.into(),
            network,
            id: Sha256::digest(&text).into(),
            descriptor: text,
            policy: policy_text(&descriptor)?,
            template,
            keys,
            ours,
            semantics,
            path: path.clone(),
            satisfaction_weight: most.to_wu(),
            known: Mutex::new(Recent::new(MAX_KNOWN)),
            derived: AtomicU64::new(0),
        };
        // All addresses have the same size.
        let first = Location { chain: Chain::External, index: 0 };
        let first = watch.derive(first, &watch.our_keys(first)?)?;
        if let Some(least) = weight::least(&first.descriptor, &first.rebuilt()?) {
            watch.satisfaction_weight = least.min(most.to_wu());
        }
        Ok(watch)
    }

    /// The wallet's label.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Its network.
    pub fn network(&self) -> Network {
        self.network
    }

    /// Its descriptor (BIP 380, 389) with its checksum: both chains, any index.
    pub fn descriptor(&self) -> &str {
        &self.descriptor
    }

    /// Its wallet policy (BIP 388): the descriptor template, then one line for each key.
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// The wallet id: SHA-256 of the descriptor with its checksum. Every cosigner can compute it.
    pub fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// The fingerprint of our master key (BIP 32, "Key identifiers").
    pub fn master_fingerprint(&self) -> Fingerprint {
        self.our_node().fingerprint
    }

    /// The master fingerprints of all other keys in the script.
    pub fn cosigners(&self) -> impl Iterator<Item = Fingerprint> + '_ {
        let ours = self.master_fingerprint();
        self.keys.iter().map(|key| key.fingerprint).filter(move |fingerprint| *fingerprint != ours)
    }

    /// The number of places for keys in the script, so of keys that are derived for each address.
    pub fn key_places(&self) -> usize {
        self.keys.len()
    }

    /// Checks that the cosigner whom a policy requires, if any, is in the script, and that no other key claims to be
    /// it.
    pub fn check_cosigner(&self, required: Option<Fingerprint>) -> Result<(), WalletError> {
        let Some(cosigner) = required else { return Ok(()) };
        let ours = self.our_node().extended;
        let claiming = |key: &&KeyNode| key.fingerprint == cosigner && key.extended != ours;
        let keys: HashSet<_> = self.keys.iter().filter(claiming).map(|key| key.extended).collect();
        match keys.len() {
            0 => Err(WalletError::NoSuchCosigner(cosigner)),
            1 => Ok(()),
            _ => Err(WalletError::SeveralCosigners(cosigner)),
        }
    }

    /// Checks that the cosigner whom a policy requires, if any, can exist.
    pub fn check_somebody_cosigns(&self, required: Option<Fingerprint>) -> Result<(), WalletError> {
        let claims = |key: &KeyNode| Some(key.fingerprint) == required;
        let nobody = self.keys.iter().find(|key| claims(key) && is_nums(&key.extended));
        nobody.map_or(Ok(()), |key| Err(WalletError::NobodyCosigns(key.fingerprint)))
    }

    /// Checks that keys that somebody can have can spend the coins.
    pub fn check_spendable(&self) -> Result<(), WalletError> {
        if nobody::is_spendable(&self.semantics, &|slot| is_nums(&self.keys[slot.0].extended)) {
            return Ok(());
        }
        Err(RegistrationError::Unspendable.into())
    }

    /// Weight units (BIP 141) that satisfying one input adds to it, in the smallest way that includes our
    /// signature.
    pub fn satisfaction_weight(&self) -> u64 {
        self.satisfaction_weight
    }

    /// Whether its inputs have a witness.
    pub fn is_segwit(&self) -> bool {
        self.template.desc_type().segwit_version().is_some()
    }

    /// Whether its inputs are taproot (BIP 341). The wallet has one script, so either all are or none.
    pub fn is_taproot(&self) -> bool {
        matches!(self.template, Descriptor::Tr(_))
    }

    /// Where `path` (from our master key) leads in this wallet.
    pub fn locate(&self, path: &[ChildNumber]) -> Result<Location, Elsewhere> {
        self.locate_key(path).map(|(_, location)| location)
    }

    /// Where `path` (from our master key) leads in this wallet, and at which of our places in the script its
    /// key is: BIP 388 gives each place its own chains.
    pub fn locate_key(&self, path: &[ChildNumber]) -> Result<(Place, Location), Elsewhere> {
        let found = self.follow(path);
        let hardened = |step: ChildNumber| match step {
            ChildNumber::Normal { index } | ChildNumber::Hardened { index } => index,
        };
        let numbers = |path: &[ChildNumber]| path.iter().copied().map(hardened).collect::<Vec<_>>();
        if found == Err(Elsewhere::Path) && path.len() == self.path.len() + 2 {
            // The path as it should be, hardened where our account is and nowhere else.
            let (_, rest) = path.split_at(self.path.len());
            let rest = rest.iter().map(|step| ChildNumber::Normal { index: hardened(*step) });
            let mended: Vec<ChildNumber> = self.path.into_iter().copied().chain(rest).collect();
            if numbers(&mended) == numbers(path) && self.follow(&mended).is_ok() {
                return Err(Elsewhere::Hardening);
            }
        }
        found
    }

    fn follow(&self, path: &[ChildNumber]) -> Result<(Place, Location), Elsewhere> {
        let account: &[ChildNumber] = self.path.as_ref();
        let (start, rest) = path.split_at_checked(account.len()).ok_or(Elsewhere::Path)?;
        if start != account {
            return Err(match (start, account) {
                ([purpose, coin, ..], [our_purpose, our_coin, ..])
                    if purpose == our_purpose && coin != our_coin && coin.is_hardened() =>
                {
                    Elsewhere::Network
                }
                _ => Elsewhere::Path,
            });
        }
        let [number, ChildNumber::Normal { index }] = rest else { return Err(Elsewhere::Path) };
        let stands = |(place, chain): &(Place, Chain)| self.our_chain(*place, *chain) == *number;
        let mut chains = self.places().flat_map(|place| Chain::BOTH.map(|chain| (place, chain)));
        let (place, chain) = chains.find(stands).ok_or(Elsewhere::Path)?;
        Ok((place, Location { chain, index: *index }))
    }

    /// Our places in the script.
    pub fn places(&self) -> impl Iterator<Item = Place> + use<> {
        (0..self.ours.len()).map(Place)
    }

    /// Whether a transaction with `locks` can spend in a way that needs our signature at `place`.
    pub fn leads_to(&self, place: Place, locks: &Locks) -> bool {
        branch::uses(&self.semantics, self.ours[place.0], locks)
    }

    /// The path of our account, from our master key.
    pub fn account_path(&self) -> &DerivationPath {
        &self.path
    }

    /// Our public key at `location` (BIP 32, public parent to public child), at the first of our places.
    pub fn public_key(&self, location: Location) -> Result<PublicKey, WalletError> {
        self.our_child(self.ours[0], location).map(|child| child.key)
    }

    /// The public keys of the cosigner with this master fingerprint, at a rebuilt address.
    pub fn cosigner_keys<'r>(
        &'r self,
        cosigner: Fingerprint,
        rebuilt: &'r Rebuilt,
    ) -> impl Iterator<Item = &'r PublicKey> {
        let keys = self.keys.iter().zip(&rebuilt.keys);
        keys.filter(move |(node, _)| node.fingerprint == cosigner).map(|(_, key)| key)
    }

    /// Rebuilds the script at `location` from the registration.
    pub fn rebuild(&self, location: Location) -> Result<Rebuilt, WalletError> {
        let rebuilt = self.complete(self.sketch(location)?)?;
        Ok(Arc::unwrap_or_clone(rebuilt))
    }

    /// Our keys at `location`, or everything if it is cached: enough to check a claim, at the cost of our
    /// places in the script.
    pub fn sketch(&self, location: Location) -> Result<Sketch, WalletError> {
        if let Some(rebuilt) = self.known().get(&location) {
            return Ok(Sketch(Progress::Rebuilt(rebuilt)));
        }
        Ok(Sketch(Progress::Begun(location, self.our_keys(location)?)))
    }

    /// Derives the rest of a sketch: all other keys.
    pub fn complete(&self, sketch: Sketch) -> Result<Arc<Rebuilt>, WalletError> {
        match sketch.0 {
            Progress::Rebuilt(rebuilt) => Ok(rebuilt),
            Progress::Begun(location, ours) => {
                let rebuilt = Arc::new(self.derive(location, &ours)?.rebuilt()?);
                self.known().put(location, Arc::clone(&rebuilt));
                Ok(rebuilt)
            }
        }
    }

    /// Whether an address of the wallet can have such a script: all have one form.
    pub fn has_form_of(&self, script_pubkey: &Script) -> bool {
        match &self.template {
            Descriptor::Bare(_) => true,
            Descriptor::Pkh(_) => script_pubkey.is_p2pkh(),
            Descriptor::Wpkh(_) => script_pubkey.is_p2wpkh(),
            Descriptor::Sh(_) => script_pubkey.is_p2sh(),
            Descriptor::Wsh(_) => script_pubkey.is_p2wsh(),
            Descriptor::Tr(_) => script_pubkey.is_p2tr(),
        }
    }

    /// The number of keys derived so far, of everybody in the script: a measure for the cost of checking
    /// PSBTs.
    pub fn keys_derived(&self) -> u64 {
        self.derived.load(Ordering::Relaxed)
    }

    /// Forgets every rebuilt address, for a bench that measures the cost of the first time.
    pub fn forget_known(&self) {
        self.known().clear();
    }

    fn known(&self) -> MutexGuard<'_, Recent<Location, Arc<Rebuilt>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Our keys at `location`, for each place.
    fn our_keys(&self, location: Location) -> Result<Vec<ChildKey>, WalletError> {
        self.ours.iter().map(|slot| self.our_child(*slot, location)).collect()
    }

    /// The descriptor at `location`, with our keys given as `ours`.
    fn derive(&self, location: Location, ours: &[ChildKey]) -> Result<Derived, WalletError> {
        let key = |slot| match self.ours.iter().position(|there| *there == slot) {
            Some(place) => Ok(ours[place].key),
            None => self.child(slot, location),
        };
        let keys = (0..self.keys.len()).map(|slot| key(Slot(slot))).collect::<Result<Vec<_>, _>>()?;
        let descriptor = self.template.translate_pk(&mut Fill(&keys)).map_err(|_| WalletError::Derivation)?;
        Ok(Derived { location, ours: ours.to_vec(), keys, descriptor })
    }

    /// The key of a slot at `location`. Every derivation is counted.
    fn child(&self, slot: Slot, location: Location) -> Result<PublicKey, WalletError> {
        self.derived.fetch_add(1, Ordering::Relaxed);
        let KeyNode { chains, extended, .. } = &self.keys[slot.0];
        chains.as_ref().map_or(Ok(*extended), |chains| Ok(derive(chains, location)?.key))
    }

    /// The same for a slot of ours.
    fn our_child(&self, slot: Slot, location: Location) -> Result<ChildKey, WalletError> {
        self.derived.fetch_add(1, Ordering::Relaxed);
        derive(self.chains(slot), location)
    }

    fn chains(&self, slot: Slot) -> &Chains {
        self.keys[slot.0].chains.as_ref().expect("our key is an extended one")
    }

    /// The number of one of our chains.
    pub(super) fn our_chain(&self, place: Place, chain: Chain) -> ChildNumber {
        self.chains(self.ours[place.0])[chain as usize].0
    }

    fn our_node(&self) -> &KeyNode {
        &self.keys[self.ours[0].0]
    }
}

/// The key at `location` (BIP 32, "Public parent key → public child key").
fn derive(chains: &Chains, location: Location) -> Result<ChildKey, WalletError> {
    let (_, node) = &chains[location.chain as usize];
    // `Xpub::ckd_pub` would also hash the parent's fingerprint, for a node that is not kept.
    let (tweak, _) = node.ckd_pub_tweak(location.child()).map_err(|_| WalletError::Derivation)?;
    let key = generator::add_multiple(&node.public_key, &Scalar::from(tweak))?;
    Ok(ChildKey { key, tweak })
}

/// The wallet policy of a descriptor as text, or the descriptor itself if BIP 388 has no form for it, because
/// it only takes extended keys.
fn policy_text(descriptor: &Descriptor<DescriptorPublicKey>) -> Result<String, WalletError> {
    if descriptor.iter_pk().any(|key| matches!(key, DescriptorPublicKey::Single(_))) {
        return Ok(descriptor.to_string());
    }
    let policy = miniscript::descriptor::WalletPolicy::from_descriptor(descriptor)
        .map_err(|_| WalletError::Derivation)?;
    let keys = policy.key_info().iter().map(ToString::to_string);
    Ok([policy.to_string()].into_iter().chain(keys).collect::<Vec<_>>().join("\n"))
}

/// Replaces the keys in a descriptor with slots.
struct Plan<'a> {
    keys: Vec<KeyNode>,
    ours: Vec<Slot>,
    our_key: PublicKey,
    secp: &'a Secp256k1<All>,
}

impl Translator<DescriptorPublicKey> for Plan<'_> {
    type TargetPk = Slot;
    type Error = WalletError;

    fn pk(&mut self, key: &DescriptorPublicKey) -> Result<Slot, WalletError> {
        let slot = Slot(self.keys.len());
        let fingerprint = key.master_fingerprint();
        let multi = match key {
            DescriptorPublicKey::MultiXPub(multi) => multi,
            DescriptorPublicKey::Single(single) if nobody_has(key) => {
                let point = match single.key {
                    SinglePubKey::FullKey(key) => key.inner,
                    SinglePubKey::XOnly(key) => PublicKey::from_x_only_public_key(key, Parity::Even),
                };
                self.keys.push(KeyNode { fingerprint, extended: point, chains: None });
                return Ok(slot);
            }
            DescriptorPublicKey::Single(_) | DescriptorPublicKey::XPub(_) => {
                return Err(WalletError::Derivation);
            }
        };
        let [external, internal] = multi.derivation_paths.paths().as_slice() else {
            return Err(WalletError::Derivation);
        };
        let chain = |path: &DerivationPath| match path.as_ref() {
            [number] => {
                let node = multi.xkey.ckd_pub(self.secp, *number).map_err(|_| WalletError::Derivation)?;
                Ok((*number, node))
            }
            _ => Err(WalletError::Derivation),
        };
        let chains = [chain(external)?, chain(internal)?];
        if multi.xkey.public_key == self.our_key {
            self.ours.push(slot);
        }
        self.keys.push(KeyNode { fingerprint, extended: multi.xkey.public_key, chains: Some(chains) });
        Ok(slot)
    }

    translate_hash_clone!(DescriptorPublicKey);
}

/// Replaces the slots with the keys of one address.
struct Fill<'a>(&'a [PublicKey]);

impl Translator<Slot> for Fill<'_> {
    type TargetPk = bitcoin::PublicKey;
    type Error = core::convert::Infallible;

    fn pk(&mut self, slot: &Slot) -> Result<bitcoin::PublicKey, Self::Error> {
        Ok(bitcoin::PublicKey::new(self.0[slot.0]))
    }

    translate_hash_clone!(Slot);
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl MiniscriptKey for Slot {
    type Sha256 = hashes::sha256::Hash;
    type Hash256 = hash256::Hash;
    type Ripemd160 = hashes::ripemd160::Hash;
    type Hash160 = hashes::hash160::Hash;
}
