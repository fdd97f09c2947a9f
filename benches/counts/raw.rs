//! The work that no signer can avoid: a sighash, a signature and its verification for each input.

use std::hint::black_box;

use bitcoin::secp256k1::{All, Keypair, Message, Secp256k1};
use bitcoin::sighash::{EcdsaSighashType, Prevouts, SighashCache, TapSighashType};
use bitcoin::{ScriptBuf, Transaction, TxOut};

use harness::engine::scripts::{good_psbt, named};
use harness::engine::{script_pubkey, watch};

/// A transaction like the measured one, and a key for each of its inputs.
pub(crate) struct Raw {
    secp: Secp256k1<All>,
    transaction: Transaction,
    keys: Vec<(Keypair, ScriptBuf)>,
    prevouts: Vec<TxOut>,
}

impl Raw {
    pub(crate) fn new(inputs: u32) -> Raw {
        let secp = Secp256k1::new();
        let psbt = good_psbt(watch(&named("wpkh").wallet(&secp)), inputs);
        let keys = (0..inputs)
            .map(|index| {
                let mut bytes = [1; 32];
                bytes[..4].copy_from_slice(&index.to_le_bytes());
                let pair = Keypair::from_seckey_slice(&secp, &bytes).expect("a key");
                (pair, script_pubkey(&pair.public_key()))
            })
            .collect();
        let prevouts = psbt.iter_funding_utxos().map(|prevout| prevout.expect("there").clone()).collect();
        Raw { secp, transaction: psbt.unsigned_tx, keys, prevouts }
    }

    /// By BIP 143, low-R.
    pub(crate) fn ecdsa(&self) {
        let mut cache = SighashCache::new(&self.transaction);
        for (index, (pair, script)) in self.keys.iter().enumerate() {
            let value = self.prevouts[index].value;
            let hash = cache.p2wpkh_signature_hash(index, script, value, EcdsaSighashType::All);
            let message = Message::from(hash.expect("an input"));
            let signature = black_box(self.secp.sign_ecdsa_low_r(&message, &pair.secret_key()));
            self.secp.verify_ecdsa(&message, &signature, &pair.public_key()).expect("verifies");
        }
    }

    /// By BIP 340 and 341.
    pub(crate) fn schnorr(&self) {
        let mut cache = SighashCache::new(&self.transaction);
        let all = Prevouts::All(&self.prevouts);
        for (index, (pair, _)) in self.keys.iter().enumerate() {
            let hash = cache.taproot_key_spend_signature_hash(index, &all, TapSighashType::Default);
            let message = Message::from(hash.expect("an input"));
            let signature = black_box(self.secp.sign_schnorr_with_aux_rand(&message, pair, &[3; 32]));
            self.secp.verify_schnorr(&signature, &message, &pair.x_only_public_key().0).expect("verifies");
        }
    }
}
