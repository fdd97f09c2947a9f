//! Registration: which script holds a wallet's coins. The security officer gives it once, and it is sealed
//! (BIP 388).
//!
//! There are two forms. A wallet policy is a descriptor template, followed by one line for each key:
//!
//! ```text
//! wsh(sortedmulti(2,@0/**,@1/**))
//! [f5acc2fd/48'/1'/0'/2']tpubDF...
//! ours
//! ```
//!
//! A descriptor (BIP 380, with or without its checksum) has the keys in their places. In both forms, `ours`
//! stands for the key that the module makes. If that key is known already, its origin and extended public key
//! can be given instead.
//!
//! Invariants:
//! - R1. The registration is a wallet policy of BIP 388: every key is an extended key with two chains, and no
//!   step after it is hardened, so every address follows from what is sealed. In addition, BIP 341's point,
//!   whose private key nobody has, may be given as itself, as in many taproot descriptors.
//! - R2. Our key is in it with its true origin, in one branch or in several at disjoint derivations (BIP
//!   388). Nobody counts twice towards one threshold, neither we nor a cosigner. A cosigner is known by its
//!   master fingerprint, which is a claim: a key that claims another one's is refused.
//! - R3. It is sane in miniscript's sense: every way to spend needs a signature, none is malleable, and all
//!   are within the limits of consensus and relay.

use core::str::FromStr;

use bitcoin::bip32::{ChildNumber, DerivationPath, Fingerprint, Xpub};
use bitcoin::secp256k1::Secp256k1;
use miniscript::descriptor::{
    Descriptor, DescriptorPublicKey, KeyInfo, ShInner, WalletPolicy, WalletPolicyError,
};
use miniscript::policy::Liftable;
use miniscript::policy::semantic::Policy as Semantic;
use miniscript::{MiniscriptKey, Terminal, TranslateErr, Translator, translate_hash_clone};

use super::nobody::{self, NUMS};
use super::text;
use crate::network::Network;

/// The word for the key that the module makes.
pub const OURS: &str = "ours";
/// The wallet policy of a wallet that is registered without one.
pub const DEFAULT_POLICY: &str = "wpkh(@0/**)\nours";
/// The longest text of a registration in bytes: twenty keys of some 150 bytes, and their script. The
/// descriptor may be longer, because a key with several places is repeated in each.
pub const MAX_REGISTRATION_LEN: usize = 8_192;
/// The longest account path: BIP 48 has four steps.
const MAX_PATH_STEPS: usize = 8;
/// The purposes whose second step is a coin type (BIP 44, 48, 49, 84, 86).
const PURPOSES_WITH_COIN_TYPE: [u32; 5] = [44, 48, 49, 84, 86];

/// The reason why a wallet is not registered. Each text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// Neither a wallet policy nor a descriptor.
    #[error("this is no wallet policy (BIP 388) and no descriptor (BIP 380): {0}")]
    Syntax(String),
    /// A script type that the module does not sign.
    #[error(
        "this script type is not signed: use pkh, wpkh, sh(wpkh), tr, sh(multi), sh(sortedmulti), wsh or sh(wsh)"
    )]
    ScriptType,
    /// Our key is not in it.
    #[error("our key is missing: write {OURS} for it")]
    OursMissing,
    /// Our key without its chains.
    #[error("{OURS} has no chains: write {OURS}/**, or {OURS}/<a;b>/* for two chains of your choice")]
    OursAlone,
    /// Our key is given as two different keys.
    #[error("it has two different keys in place of ours: one of them is somebody else's")]
    OursTwice,
    /// Our key in two places, both of which count.
    #[error("our key counts twice towards one threshold: give it one place there")]
    OursCountsTwice,
    /// Our key with an origin that is not its own.
    #[error("our key has another origin: write {OURS} for it, or its origin as the wallet shows it")]
    OursOrigin,
    /// A cosigner's key that claims our master fingerprint.
    #[error("a cosigner's key claims our master fingerprint: have the cosigner export it again")]
    OursClaimed,
    /// A cosigner that counts twice.
    #[error("cosigner {0} is in it twice, but must count once")]
    CosignerTwice(Fingerprint),
    /// A key of another network.
    #[error("an extended key is written for another network: the wallet's is {0}")]
    Network(&'static str),
    /// A step after an extended key that is not one of two normal chains.
    #[error(
        "each extended key needs /** or /<a;b>/* behind it, without hardened steps: they belong into its origin"
    )]
    Derivation,
    /// A private key.
    #[error(
        "it has a private key, which must not be here in any form: give the extended public key. Whoever had this file may have \
         the key"
    )]
    PrivateKey,
    /// An extended key with the version bytes of SLIP 132.
    #[error("{prefix}… is SLIP 132's form, which descriptors do not use: the same key is {equal}")]
    Slip132 {
        /// Its first letters.
        prefix: String,
        /// The same key in the form of BIP 32.
        equal: String,
    },
    /// JSON.
    #[error("this is JSON: give the descriptor in it, which Bitcoin Core has under \"desc\"")]
    Json,
    /// A multisig as some signers keep it.
    #[error(
        "this is a multisig file with Policy, Format and Derivation: have the wallet software export its descriptor or a \
         BSMS file (BIP 129)"
    )]
    Coldcard,
    /// A BSMS file without a descriptor record that we can read.
    #[error("this is a BSMS file (BIP 129), and {0}")]
    Bsms(&'static str),
    /// The descriptor of a BSMS file does not give the first address in the file.
    #[error(
        "the first address of the BSMS file is not the one of its descriptor: one of them was changed, or is of another \
         network"
    )]
    FirstAddress,
    /// Descriptors of different scripts.
    #[error(
        "there are {0} descriptors, of more than one script: keep the one for both chains, or the two of one script"
    )]
    SeveralDescriptors(usize),
    /// A checksum that does not fit the text.
    #[error(
        "the checksum behind # does not fit: a letter of the descriptor was changed or lost. Copy it again; if you changed it yourself, leave out # and the checksum"
    )]
    Checksum,
    /// A key's line with more text after the key.
    #[error(
        "a line has a derivation behind its key: below a template each line holds only the key, and /** stands in the template"
    )]
    KeyLine,
    /// Every way to spend needs a key that nobody can have.
    #[error(
        "nobody could ever spend the coins: every way needs a key that nobody can have (BIP 341's point)"
    )]
    Unspendable,
    /// Not sane in miniscript's sense.
    #[error("the script is not sane: {0}")]
    Insane(String),
    /// The standards have no path for this script type.
    #[error("no standard has a path for this script type: name one")]
    PathNeeded,
    /// An invalid account path.
    #[error("an account path is 1 to {MAX_PATH_STEPS} hardened steps, as m/48'/0'/0'/2'")]
    Path,
    /// A path with another network's coin type.
    #[error("the path has the coin type of another network: this network's is {0}'")]
    CoinType(u32),
}

impl From<WalletPolicyError> for RegistrationError {
    fn from(error: WalletPolicyError) -> RegistrationError {
        match error {
            WalletPolicyError::TemplateValidationInvalidPlaceholderDeriv
            | WalletPolicyError::KeyExpressionParseMustHaveDerivPath => RegistrationError::Derivation,
            WalletPolicyError::KeyInfoUnexpectedDerivation(_) => RegistrationError::KeyLine,
            other => RegistrationError::Syntax(other.to_string()),
        }
    }
}

/// Our key: its origin, and its public side.
pub(super) struct OurKey<'a> {
    pub(super) fingerprint: Fingerprint,
    pub(super) path: &'a DerivationPath,
    pub(super) xpub: &'a Xpub,
}

impl OurKey<'_> {
    fn info(&self) -> KeyInfo {
        KeyInfo { origin: Some((self.fingerprint, self.path.clone())), xkey: *self.xpub }
    }
}

/// The account path for a wallet registered with `text`: BIP 44, 49, 84, 86 and 48, account 0.
pub fn standard_path(text: &str, network: Network) -> Result<DerivationPath, RegistrationError> {
    let written = text::read(text)?;
    let script = written.script();
    let single = !script.contains(',');
    let (purpose, script_type) = match script {
        _ if script.starts_with("pkh(") => (44, None),
        _ if script.starts_with("wpkh(") => (84, None),
        _ if script.starts_with("sh(wpkh(") => (49, None),
        _ if script.starts_with("tr(") && single => (86, None),
        _ if script.starts_with("sh(wsh(") => (48, Some(1)),
        _ if script.starts_with("wsh(") => (48, Some(2)),
        _ if script.starts_with("sh(") || script.starts_with("tr(") => {
            return Err(RegistrationError::PathNeeded);
        }
        _ => return Err(RegistrationError::ScriptType),
    };
    let steps = [Some(purpose), Some(network.coin_type()), Some(0), script_type];
    let hardened = |index| ChildNumber::from_hardened_idx(index).expect("small numbers are below 2^31");
    Ok(steps.into_iter().flatten().map(hardened).collect())
}

/// An account path that was chosen explicitly.
pub fn parse_path(path: &str, network: Network) -> Result<DerivationPath, RegistrationError> {
    let path = DerivationPath::from_str(path).map_err(|_| RegistrationError::Path)?;
    let steps: &[ChildNumber] = path.as_ref();
    if steps.is_empty() || steps.len() > MAX_PATH_STEPS || steps.iter().any(ChildNumber::is_normal) {
        return Err(RegistrationError::Path);
    }
    let coin = ChildNumber::Hardened { index: network.coin_type() };
    match steps {
        [ChildNumber::Hardened { index }, second, ..]
            if PURPOSES_WITH_COIN_TYPE.contains(index) && *second != coin =>
        {
            Err(RegistrationError::CoinType(network.coin_type()))
        }
        _ => Ok(path),
    }
}

/// Checks the length of a registration.
pub(super) fn check_len(text: &str) -> Result<(), RegistrationError> {
    if text.len() <= MAX_REGISTRATION_LEN {
        return Ok(());
    }
    Err(RegistrationError::Syntax(format!("it has more than {MAX_REGISTRATION_LEN} bytes")))
}

/// Reads a registration and checks R1 to R3.
pub(super) fn register(
    text: &str,
    ours: &OurKey<'_>,
    network: Network,
) -> Result<Descriptor<DescriptorPublicKey>, RegistrationError> {
    let written = text::read(text)?;
    let lines: Vec<&str> = written.lines.iter().map(String::as_str).collect();
    let (descriptor, policy) = match lines.as_slice() {
        [template, keys @ ..] if template.contains('@') && template.contains(NUMS) => {
            from_descriptor(&filled(template, keys), ours, network)?
        }
        [template, keys @ ..] if template.contains('@') => {
            let policy = from_policy(template, keys, ours)?;
            (policy.clone().into_descriptor()?, policy)
        }
        [descriptor] => from_descriptor(descriptor, ours, network)?,
        _ => {
            let problem = "give a template with a line for each key below it, or one descriptor";
            return Err(RegistrationError::Syntax(problem.into()));
        }
    };
    check_keys(policy.key_info(), ours, network)?;
    check_script(&descriptor).map_err(|error| match error {
        RegistrationError::CosignerTwice(fingerprint) if fingerprint == ours.fingerprint => {
            RegistrationError::OursCountsTwice
        }
        other => other,
    })?;
    if let Some(address) = &written.first_address {
        check_first_address(&descriptor, address)?;
    }
    Ok(descriptor)
}

fn from_policy(template: &str, keys: &[&str], ours: &OurKey<'_>) -> Result<WalletPolicy, RegistrationError> {
    let mut policy = WalletPolicy::from_str(template)?;
    let keys: Vec<KeyInfo> = keys
        .iter()
        .map(|key| if *key == OURS { Ok(ours.info()) } else { parse_key(key) })
        .collect::<Result<_, _>>()?;
    refuse_ours_twice(&keys, ours)?;
    if keys.len() != policy.n_keys() {
        let problem = format!("it has {} keys, the template takes {}", keys.len(), policy.n_keys());
        return Err(RegistrationError::Syntax(problem));
    }
    policy.set_key_info(keys)?;
    Ok(policy)
}

fn parse_key(key: &str) -> Result<KeyInfo, RegistrationError> {
    match DescriptorPublicKey::from_str(key) {
        Ok(key) => Ok(KeyInfo::try_from(key)?),
        Err(error) => Err(RegistrationError::Syntax(error.to_string())),
    }
}

/// A template with its keys in their places. BIP 388 has no form for a template with a key that is not
/// extended.
fn filled(template: &str, keys: &[&str]) -> String {
    let numbered = keys.iter().enumerate().rev();
    numbered.fold(template.to_owned(), |text, (number, key)| {
        text.replace(&format!("@{number}/"), &format!("{key}/"))
    })
}

/// The descriptor, and its wallet policy, in which an extended key replaces a point that is given as itself.
fn from_descriptor(
    text: &str,
    ours: &OurKey<'_>,
    network: Network,
) -> Result<(Descriptor<DescriptorPublicKey>, WalletPolicy), RegistrationError> {
    let body = text.split('#').next().unwrap_or(text);
    let mut descriptor = String::with_capacity(body.len() + 160);
    // In a descriptor, a key follows a bracket or a comma, and nothing else is called `ours`.
    for part in body.split_inclusive(['(', ',', '{']) {
        match part.strip_prefix(OURS) {
            Some(rest) if rest.starts_with('/') => {
                descriptor.push_str(&ours.info().to_string());
                descriptor.push_str(rest);
            }
            Some(rest) if rest.is_empty() || rest.starts_with([',', ')', '}']) => {
                return Err(RegistrationError::OursAlone);
            }
            _ => descriptor.push_str(part),
        }
    }
    text::checked(text, Some(&descriptor))?;
    // The shorthand of BIP 388 is not allowed in descriptors, but its meaning is clear.
    let descriptor = descriptor.replace("/**", text::BOTH_CHAINS);
    let descriptor = Descriptor::<DescriptorPublicKey>::from_str(&descriptor)
        .map_err(|error| RegistrationError::Syntax(error.to_string()))?;
    let policy = match descriptor.translate_pk(&mut Extended { network, points: 0 }) {
        Ok(extended) => WalletPolicy::from_descriptor(&extended)?,
        Err(TranslateErr::TranslatorErr(error)) => return Err(error),
        Err(TranslateErr::OuterError(error)) => return Err(RegistrationError::Syntax(error.to_string())),
    };
    Ok((descriptor, policy))
}

/// Replaces the point whose private key nobody has with an extended key.
struct Extended {
    network: Network,
    points: u32,
}

impl Translator<DescriptorPublicKey> for Extended {
    type TargetPk = DescriptorPublicKey;
    type Error = RegistrationError;

    fn pk(&mut self, key: &DescriptorPublicKey) -> Result<DescriptorPublicKey, RegistrationError> {
        // Scripts are rebuilt with compressed keys.
        let stands_as_itself = matches!(key, DescriptorPublicKey::Single(_))
            && !key.is_uncompressed()
            && nobody::nobody_has(key);
        if !stands_as_itself {
            return Ok(key.clone());
        }
        let point = nobody::stand_in(self.network);
        // BIP 388 requires each place to have derivations of its own.
        let chains = (2 * self.points, 2 * self.points + 1);
        self.points += 1;
        DescriptorPublicKey::from_str(&format!("{point}/<{};{}>/*", chains.0, chains.1))
            .map_err(|error| RegistrationError::Syntax(error.to_string()))
    }

    translate_hash_clone!(DescriptorPublicKey);
}

/// The first address of a BSMS file: external chain, index 0 (BIP 129, "Round 2").
fn check_first_address(
    descriptor: &Descriptor<DescriptorPublicKey>,
    address: &str,
) -> Result<(), RegistrationError> {
    let chains = descriptor.clone().into_single_descriptors().ok();
    let first = chains.and_then(|chains| chains.into_iter().next()?.at_derivation_index(0).ok());
    let first = first.map(|first| first.derived_descriptor(&Secp256k1::verification_only()).script_pubkey());
    let told = bitcoin::Address::from_str(address).map(|address| address.assume_checked().script_pubkey());
    if told.is_ok() && told.ok() == first {
        return Ok(());
    }
    Err(RegistrationError::FirstAddress)
}

fn refuse_ours_twice(keys: &[KeyInfo], ours: &OurKey<'_>) -> Result<(), RegistrationError> {
    match keys.iter().filter(|key| key.xkey.public_key == ours.xpub.public_key).count() {
        0 => Err(RegistrationError::OursMissing),
        1 => Ok(()),
        _ => Err(RegistrationError::OursTwice),
    }
}

/// Checks each key by itself.
fn check_keys(keys: &[KeyInfo], ours: &OurKey<'_>, network: Network) -> Result<(), RegistrationError> {
    refuse_ours_twice(keys, ours)?;
    for key in keys {
        if key.xkey.network != network.kind() {
            return Err(RegistrationError::Network(network.name()));
        }
        if key.xkey.public_key == ours.xpub.public_key {
            if *key != ours.info() {
                return Err(RegistrationError::OursOrigin);
            }
        } else if fingerprint_of(key) == ours.fingerprint {
            return Err(RegistrationError::OursClaimed);
        }
    }
    Ok(())
}

/// The master fingerprint that a key claims. A key without an origin is a master key itself.
fn fingerprint_of(key: &KeyInfo) -> Fingerprint {
    key.origin.as_ref().map_or_else(|| key.xkey.fingerprint(), |(fingerprint, _)| *fingerprint)
}

/// Checks the script as a whole.
fn check_script(descriptor: &Descriptor<DescriptorPublicKey>) -> Result<(), RegistrationError> {
    match descriptor {
        Descriptor::Bare(_) => return Err(RegistrationError::ScriptType),
        Descriptor::Sh(sh) => match sh.as_inner() {
            ShInner::Wsh(_) | ShInner::Wpkh(_) | ShInner::SortedMulti(_) => {}
            ShInner::Ms(script) if matches!(script.node, Terminal::Multi(_)) => {}
            ShInner::Ms(_) => return Err(RegistrationError::ScriptType),
        },
        Descriptor::Pkh(_) | Descriptor::Wpkh(_) | Descriptor::Wsh(_) | Descriptor::Tr(_) => {}
    }
    descriptor.sanity_check().map_err(|error| RegistrationError::Insane(error.to_string()))?;
    let semantics = descriptor.lift().map_err(|error| RegistrationError::Insane(error.to_string()))?;
    if let Some(age) = semantics.relative_timelocks().into_iter().find(|age| !waits(*age)) {
        let problem = format!("older({age}) is satisfied at once: only its lower 16 bits count (BIP 112)");
        return Err(RegistrationError::Insane(problem));
    }
    signers(&semantics).map(drop)
}

/// The cosigners of `policy`, or the one who is in two branches that both count.
fn signers(policy: &Semantic<DescriptorPublicKey>) -> Result<Vec<DescriptorPublicKey>, RegistrationError> {
    let mut all: Vec<DescriptorPublicKey> = Vec::new();
    match policy {
        Semantic::Key(key) => all.push(key.clone()),
        Semantic::Thresh(branches) => {
            for branch in branches.iter() {
                let signers = signers(branch)?;
                // If one branch is enough, the same cosigner may have several: a way with us, and one without
                // us.
                let twice = signers
                    .iter()
                    .find(|key| branches.k() > 1 && all.iter().any(|there| is_same_cosigner(there, key)));
                if let Some(key) = twice {
                    return Err(RegistrationError::CosignerTwice(key.master_fingerprint()));
                }
                all.extend(signers);
            }
        }
        Semantic::Unsatisfiable
        | Semantic::Trivial
        | Semantic::After(_)
        | Semantic::Older(_)
        | Semantic::Sha256(_)
        | Semantic::Hash256(_)
        | Semantic::Ripemd160(_)
        | Semantic::Hash160(_) => {}
    }
    Ok(all)
}

/// Whether `older(age)` means what it says: consensus reads 16 bits of the value, and the one bit for time
/// (BIP 68, BIP 112).
fn waits(age: u32) -> bool {
    const TIME: u32 = 1 << 22;
    const VALUE: u32 = 0xffff;
    age & !(TIME | VALUE) == 0 && age & VALUE != 0
}

/// Whether two keys belong to one cosigner: the same extended key, or two accounts of one master key.
fn is_same_cosigner(one: &DescriptorPublicKey, other: &DescriptorPublicKey) -> bool {
    // Wallets write this if they do not know a master fingerprint. It identifies nobody.
    let placeholder = Fingerprint::default();
    let fingerprint = one.master_fingerprint();
    public_key(one) == public_key(other)
        || (fingerprint == other.master_fingerprint() && fingerprint != placeholder)
}

fn public_key(key: &DescriptorPublicKey) -> Option<bitcoin::secp256k1::PublicKey> {
    match key {
        DescriptorPublicKey::MultiXPub(key) => Some(key.xkey.public_key),
        DescriptorPublicKey::XPub(key) => Some(key.xkey.public_key),
        DescriptorPublicKey::Single(_) => None,
    }
}
