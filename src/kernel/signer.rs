//! The signer: BIP 143 signatures for what an [`Authorization`] owns, and for nothing else.
//!
//! Invariants:
//! - G1. The signer takes an [`Authorization`], and there is one way to one: a receipt for consumed codes. Signing
//!   without a consumed code does not compile.
//! - G2. Nonces are RFC 6979, low-R by its counter; no caller has a say in them. The same transaction gets the same
//!   signatures.
//! - G3. Each signature is verified under the PSBT's key before it leaves: a fault or a wrong key gives no signature.
//!
//! ```compile_fail,E0061
//! // Signing without an authorization.
//! use countersign::kernel::{signer, wallet::Wallet};
//! fn sign(wallet: &Wallet, secp: &bitcoin::secp256k1::Secp256k1<bitcoin::secp256k1::All>) {
//!     let _ = signer::sign(wallet, secp);
//! }
//! ```
//!
//! ```compile_fail,E0382
//! // Using one twice.
//! use countersign::kernel::{signer, signer::Authorization, wallet::Wallet};
//! fn sign(a: Authorization, wallet: &Wallet, secp: &bitcoin::secp256k1::Secp256k1<bitcoin::secp256k1::All>) {
//!     let _ = signer::sign(a, wallet, secp);
//!     let _ = signer::sign(a, wallet, secp);
//! }
//! ```
//!
//! ```compile_fail,E0451
//! // Forging one.
//! use countersign::kernel::signer::Authorization;
//! fn forge(psbt: bitcoin::Psbt) -> Authorization { Authorization { psbt, signings: vec![], wallet: String::new() } }
//! ```
//!
//! ```compile_fail,E0308
//! // Making one from a receipt for a mere charge.
//! use countersign::kernel::{receipt::Receipt, signer::Authorization, state::Charged};
//! fn shortcut(receipt: Receipt<Charged>) -> Authorization { Authorization::new(receipt).unwrap() }
//! ```

use bitcoin::psbt::Psbt;
use bitcoin::secp256k1::{All, Message, Secp256k1};
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::{PublicKey, ecdsa};

use super::receipt::Receipt;
use super::state::Consumed;
use super::wallet::{Location, Wallet};

/// The right to sign one transaction once, paid for by codes that are durably spent.
#[must_use = "an authorization that is not used was paid for in vain"]
pub struct Authorization {
    psbt: Psbt,
    signings: Vec<Signing>,
    wallet: String,
}

struct Signing {
    index: usize,
    location: Location,
    key: bitcoin::secp256k1::PublicKey,
    sighash: Message,
}

impl Authorization {
    /// The only maker.
    pub fn new(receipt: Receipt<Consumed>) -> Result<Authorization, SignerError> {
        let checked = receipt.into_evidence().into_psbt();
        let wallet = checked.wallet().to_owned();
        let (psbt, ours) = checked.into_parts();
        // One cache: the hashes over all prevouts, sequences and outputs are computed once (BIP 143).
        let mut cache = SighashCache::new(&psbt.unsigned_tx);
        let signings = ours
            .iter()
            .map(|input| {
                let (script, value) = (&input.prevout.script_pubkey, input.prevout.value);
                cache
                    .p2wpkh_signature_hash(input.index, script, value, EcdsaSighashType::All)
                    .map(|hash| Signing {
                        index: input.index,
                        location: input.location,
                        key: input.key,
                        sighash: hash.into(),
                    })
                    .map_err(|_| SignerError::Sighash(input.index))
            })
            .collect::<Result<_, _>>()?;
        Ok(Authorization { psbt, signings, wallet })
    }
}

/// Signs every input that is ours and gives the PSBT (BIP 174) with our signatures added.
pub fn sign(
    authorization: Authorization,
    wallet: &Wallet,
    secp: &Secp256k1<All>,
) -> Result<Vec<u8>, SignerError> {
    let Authorization { mut psbt, signings, wallet: label } = authorization;
    if label != wallet.label() {
        return Err(SignerError::Wallet);
    }
    for Signing { index, location, key, sighash } in signings {
        let secret = wallet.secret_key(location).map_err(|_| SignerError::Fault(index))?;
        let signature = secp.sign_ecdsa_low_r(&sighash, &secret.0);
        secp.verify_ecdsa(&sighash, &signature, &key).map_err(|_| SignerError::Fault(index))?;
        psbt.inputs[index]
            .partial_sigs
            .insert(PublicKey::new(key), ecdsa::Signature { signature, sighash_type: EcdsaSighashType::All });
    }
    Ok(psbt.serialize())
}

/// Why an authorised transaction was not signed. None of these can be brought about by a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    /// The authorization is for another wallet.
    #[error("the authorization is for another wallet")]
    Wallet,
    /// The sighash could not be computed.
    #[error("the signature hash of input {0} could not be computed")]
    Sighash(usize),
    /// A key or a signature is wrong: a fault of the machine.
    #[error("the signature of input {0} did not verify: suspect the hardware")]
    Fault(usize),
}
