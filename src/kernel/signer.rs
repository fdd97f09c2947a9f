//! The signer: signatures for what an [`Authorization`] owns, and for nothing else. ECDSA over the legacy
//! hash and that of BIP 143, Schnorr (BIP 340) over those of BIP 341 and 342, and ECDSA over the digest of a
//! [`DigestAuthorization`].
//!
//! Invariants:
//! - G1. The signer takes an authorization, and only a receipt for consumed codes leads to one. Signing
//!   without a consumed code does not compile. The keys must belong to the store in which the codes were
//!   spent ([`super::receipt`]). Somebody who invents a store, its users and their codes gets an
//!   authorization that the keys of every other store refuse.
//! - G2. No caller influences a nonce. ECDSA of a transaction: RFC 6979, low-R by its counter; of a digest:
//!   RFC 6979 with additional randomness from inside. Schnorr: BIP 340 with auxiliary randomness from inside.
//!   The random values are kept with the code, so a repeated answer has the same signatures.
//! - G3. Each signature is verified under the proved key before it leaves: after a fault, or with a wrong
//!   key, there is no signature.
//! - G4. The signer finalises nothing: it adds signatures to the PSBT and leaves the rest unchanged.
//!
//! ```compile_fail,E0061
//! // Signing without an authorization.
//! use countersign_kernel::{signer, wallet::WalletKeys};
//! fn sign(wallet: &WalletKeys, secp: &bitcoin::secp256k1::Secp256k1<bitcoin::secp256k1::All>) {
//!     let _ = signer::sign(wallet, secp);
//! }
//! ```
//!
//! ```compile_fail,E0382
//! // Using one twice.
//! use countersign_kernel::{signer, signer::Authorization, wallet::WalletKeys};
//! fn sign(a: Authorization, wallet: &WalletKeys, secp: &bitcoin::secp256k1::Secp256k1<bitcoin::secp256k1::All>) {
//!     let _ = signer::sign(a, wallet, secp);
//!     let _ = signer::sign(a, wallet, secp);
//! }
//! ```
//!
//! ```compile_fail,E0451
//! // Forging one.
//! use countersign_kernel::signer::Authorization;
//! fn forge() -> Authorization { Authorization { signings: vec![], ..panic!() } }
//! ```
//!
//! ```compile_fail,E0308
//! // Making one from an outcome that is not opened, which may be a refusal.
//! use countersign_kernel::{psbt::CheckedPsbt, receipt::Receipt, signer::Authorization, state::Outcome};
//! fn shortcut(receipt: Receipt<Outcome<CheckedPsbt>>) -> Authorization { Authorization::new(receipt).unwrap() }
//! ```

use bitcoin::secp256k1::{All, Keypair, Message, Parity, PublicKey, Secp256k1, SecretKey, schnorr};
use bitcoin::sighash::{EcdsaSighashType, Prevouts, SighashCache, TapSighashType};
use bitcoin::taproot::{TapLeafHash, TapTweakHash};
use bitcoin::{XOnlyPublicKey, ecdsa, taproot};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::digest_key::{DIGEST_LEN, DigestKey, RequestedDigest, SIGNATURE_LEN};
use super::psbt::{self, CheckedPsbt, OurInput, Pair, Parts, PsbtBytes};
use super::receipt::Receipt;
use super::seal::Authority;
use super::state::Consumed;
use super::wallet::{Branch, Chain, ErasedKey, Place, Spend, Taproot, WalletKeys};

/// `PSBT_IN_PARTIAL_SIG` (BIP 174).
const IN_PARTIAL_SIG: u8 = 0x02;
/// `PSBT_IN_TAP_KEY_SIG` (BIP 371).
const IN_TAP_KEY_SIG: u8 = 0x13;
/// `PSBT_IN_TAP_SCRIPT_SIG` (BIP 371).
const IN_TAP_SCRIPT_SIG: u8 = 0x14;
/// Separates the auxiliary randomness of one signature from that of another.
const AUX_DOMAIN: &[u8] = b"Countersign/BIP0340/aux";

/// The right to sign one transaction once, paid for by codes that are durably spent.
#[must_use = "an authorization that is not used was paid for in vain"]
pub struct Authorization {
    psbt: PsbtBytes,
    script_id: [u8; 32],
    signings: Vec<Signing>,
    entropy: Zeroizing<[u8; 32]>,
    /// The store in which the codes were spent.
    authority: Authority,
}

struct Signing {
    index: usize,
    place: Place,
    chain: Chain,
    key: PublicKey,
    tweak: SecretKey,
    message: Message,
    scheme: Scheme,
}

enum Scheme {
    Ecdsa,
    KeyPath { taproot: Taproot, sighash_type: TapSighashType },
    ScriptPath { leaf: TapLeafHash, sighash_type: TapSighashType },
}

impl Authorization {
    /// The only maker.
    pub fn new(receipt: Receipt<Consumed<CheckedPsbt>>) -> Result<Authorization, SignerError> {
        let authority = receipt.authority();
        let (psbt, entropy) = receipt.into_evidence().into_parts();
        let Parts { psbt, transaction, prevouts, script_id, ours } = psbt.into_parts();
        // One cache, so that the hashes over all prevouts, sequences and outputs are computed once (BIP 143,
        // BIP 341).
        let mut cache = SighashCache::new(&transaction);
        let mut signings = Vec::with_capacity(ours.len());
        let unsigned = |input| OurInput::unsigned(input).map(move |branch| (input, branch));
        for (input, ours) in ours.iter().flat_map(unsigned) {
            let index = input.index;
            let sighash_type = if input.asks_all { TapSighashType::All } else { TapSighashType::Default };
            let all = Prevouts::All(&prevouts);
            let (message, scheme) = match &ours.spend {
                Spend::Legacy(_) | Spend::SegwitV0(_) => {
                    (psbt::ecdsa_message(&ours.spend, index, &prevouts[index], &mut cache), Scheme::Ecdsa)
                }
                Spend::KeyPath(taproot) => (
                    cache.taproot_key_spend_signature_hash(index, &all, sighash_type).ok().map(Message::from),
                    Scheme::KeyPath { taproot: *taproot, sighash_type },
                ),
                Spend::ScriptPath(_, leaf) => (
                    cache
                        .taproot_script_spend_signature_hash(index, &all, *leaf, sighash_type)
                        .ok()
                        .map(Message::from),
                    Scheme::ScriptPath { leaf: *leaf, sighash_type },
                ),
            };
            let message = message.ok_or(SignerError::Sighash(index))?;
            let Branch { place, key, tweak, .. } = *ours;
            let chain = input.rebuilt.location.chain;
            signings.push(Signing { index, place, chain, key, tweak, message, scheme });
        }
        Ok(Authorization { psbt, script_id, signings, entropy, authority })
    }
}

/// Signs every input that is ours, and returns the PSBT with our signatures added (BIP 174, BIP 371).
pub fn sign(
    authorization: Authorization,
    wallet: &WalletKeys,
    secp: &Secp256k1<All>,
) -> Result<Vec<u8>, SignerError> {
    let Authorization { psbt, script_id, signings, entropy, authority } = authorization;
    if wallet.authority() != Some(authority) {
        return Err(SignerError::Store);
    }
    if script_id != *wallet.watch().id() {
        return Err(SignerError::Wallet);
    }
    let added = signings
        .iter()
        .map(|signing| {
            let secret = wallet
                .secret_key(signing.place, signing.chain, &signing.tweak)
                .map_err(|_| SignerError::Fault(signing.index))?;
            let pair = match &signing.scheme {
                Scheme::Ecdsa => sign_ecdsa(signing, &secret, secp),
                Scheme::KeyPath { taproot, sighash_type } => {
                    sign_key_path(signing, taproot, *sighash_type, &secret, &entropy, secp)
                }
                Scheme::ScriptPath { leaf, sighash_type } => {
                    sign_script_path(signing, leaf, *sighash_type, &secret, &entropy, secp)
                }
            };
            pair.map(|pair| (signing.index, pair)).ok_or(SignerError::Fault(signing.index))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(psbt.signed(&added))
}

fn sign_ecdsa(signing: &Signing, secret: &ErasedKey, secp: &Secp256k1<All>) -> Option<Pair> {
    let signature = secp.sign_ecdsa_low_r(&signing.message, &secret.0);
    secp.verify_ecdsa(&signing.message, &signature, &signing.key).ok()?;
    let signature = ecdsa::Signature { signature, sighash_type: EcdsaSighashType::All };
    Some(Pair::new(IN_PARTIAL_SIG, &[&signing.key.serialize()], &signature.to_vec()))
}

/// With the tweaked key (BIP 341, "Constructing and spending Taproot outputs").
fn sign_key_path(
    signing: &Signing,
    taproot: &Taproot,
    sighash_type: TapSighashType,
    secret: &ErasedKey,
    entropy: &[u8; 32],
    secp: &Secp256k1<All>,
) -> Option<Pair> {
    let tweaked = tweaked(secret, &signing.key, taproot)?;
    let keypair = ErasedPair(Keypair::from_secret_key(secp, &tweaked.0));
    let signature = schnorr(signing, &keypair, &taproot.output_key, entropy, secp)?;
    let signature = taproot::Signature { signature, sighash_type };
    Some(Pair::new(IN_TAP_KEY_SIG, &[], &signature.to_vec()))
}

/// The secret of the output key (BIP 341, `taproot_tweak_seckey`). This only adds numbers: with a key pair
/// there would be two multiplications.
fn tweaked(secret: &ErasedKey, key: &PublicKey, taproot: &Taproot) -> Option<ErasedKey> {
    let tweak = TapTweakHash::from_key_and_tweak(taproot.internal_key, taproot.merkle_root).to_scalar();
    let even = match key.x_only_public_key().1 {
        Parity::Even => ErasedKey(secret.0),
        Parity::Odd => ErasedKey(secret.0.negate()),
    };
    even.0.add_tweak(&tweak).ok().map(ErasedKey)
}

fn sign_script_path(
    signing: &Signing,
    leaf: &TapLeafHash,
    sighash_type: TapSighashType,
    secret: &ErasedKey,
    entropy: &[u8; 32],
    secp: &Secp256k1<All>,
) -> Option<Pair> {
    let keypair = ErasedPair(Keypair::from_secret_key(secp, &secret.0));
    let key = signing.key.x_only_public_key().0;
    let signature = schnorr(signing, &keypair, &key, entropy, secp)?;
    let signature = taproot::Signature { signature, sighash_type };
    Some(Pair::new(IN_TAP_SCRIPT_SIG, &[&key.serialize(), leaf.as_ref()], &signature.to_vec()))
}

/// A BIP 340 signature, verified under `key`.
fn schnorr(
    signing: &Signing,
    keypair: &ErasedPair,
    key: &XOnlyPublicKey,
    entropy: &[u8; 32],
    secp: &Secp256k1<All>,
) -> Option<schnorr::Signature> {
    let aux = Sha256::new()
        .chain_update(AUX_DOMAIN)
        .chain_update(entropy)
        .chain_update((signing.index as u64).to_le_bytes())
        .chain_update((signing.place.number() as u64).to_le_bytes())
        .finalize();
    let signature = secp.sign_schnorr_with_aux_rand(&signing.message, &keypair.0, &aux.into());
    secp.verify_schnorr(&signature, &signing.message, key).ok()?;
    Some(signature)
}

/// The right to sign one digest once, paid for by codes that are durably spent.
///
/// ```compile_fail,E0308
/// // A wallet does not sign digests.
/// use countersign_kernel::{signer, signer::DigestAuthorization, wallet::WalletKeys};
/// fn sign(a: DigestAuthorization, w: &WalletKeys, secp: &bitcoin::secp256k1::Secp256k1<bitcoin::secp256k1::All>) {
///     let _ = signer::sign_digest(a, w, secp);
/// }
/// ```
///
/// ```compile_fail,E0382
/// // Using one twice.
/// use countersign_kernel::{digest_key::DigestKey, signer, signer::DigestAuthorization};
/// fn sign(a: DigestAuthorization, k: &DigestKey, secp: &bitcoin::secp256k1::Secp256k1<bitcoin::secp256k1::All>) {
///     let _ = signer::sign_digest(a, k, secp);
///     let _ = signer::sign_digest(a, k, secp);
/// }
/// ```
#[must_use = "an authorization that is not used was paid for in vain"]
pub struct DigestAuthorization {
    digest: [u8; DIGEST_LEN],
    key: PublicKey,
    entropy: Zeroizing<[u8; 32]>,
    authority: Authority,
}

impl DigestAuthorization {
    /// The only maker.
    pub fn new(receipt: Receipt<Consumed<RequestedDigest>>) -> DigestAuthorization {
        let authority = receipt.authority();
        let (asked, entropy) = receipt.into_evidence().into_parts();
        DigestAuthorization { digest: *asked.digest(), key: *asked.public_key(), entropy, authority }
    }
}

/// Signs a digest with ECDSA: r ‖ s, low-S. The nonce is that of RFC 6979 with additional randomness from
/// inside (section 3.6), which is kept with the code.
pub fn sign_digest(
    authorization: DigestAuthorization,
    key: &DigestKey,
    secp: &Secp256k1<All>,
) -> Result<[u8; SIGNATURE_LEN], SignerError> {
    let DigestAuthorization { digest, key: authorized, entropy, authority } = authorization;
    if key.authority() != Some(authority) {
        return Err(SignerError::Store);
    }
    if authorized != *key.public_key() {
        return Err(SignerError::Key);
    }
    let message = Message::from_digest(digest);
    let signature = secp.sign_ecdsa_with_noncedata(&message, key.secret(), &entropy);
    secp.verify_ecdsa(&message, &signature, key.public_key()).map_err(|_| SignerError::DigestFault)?;
    Ok(signature.serialize_compact())
}

/// A key pair whose secret is overwritten on drop.
struct ErasedPair(Keypair);

impl Drop for ErasedPair {
    fn drop(&mut self) {
        self.0.non_secure_erase();
    }
}

/// The reason why an authorised transaction was not signed. No caller can cause any of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    /// The codes were spent in another store than the one in which the keys are sealed, or the keys are not
    /// sealed yet.
    #[error("the codes of this authorization were spent in another store than that of the keys")]
    Store,
    /// The authorization is for another wallet.
    #[error("the authorization is for another wallet")]
    Wallet,
    /// The authorization is for another key.
    #[error("the authorization is for another key")]
    Key,
    /// The sighash could not be computed.
    #[error("the signature hash of input {0} could not be computed")]
    Sighash(usize),
    /// A key or a signature is wrong: a fault of the machine.
    #[error("the signature of input {0} did not verify: suspect the hardware")]
    Fault(usize),
    /// The signature of a digest is wrong: a fault of the machine.
    #[error("the signature of the digest did not verify: suspect the hardware")]
    DigestFault,
}
