//! Attempts to get a wallet's signature with a key that signs digests, or with a code that was given for a
//! digest.

use bitcoin::secp256k1::ecdsa::Signature;
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1};
use bitcoin::sighash::{EcdsaSighashType, SighashCache};

use harness::module::raw::call_v3;
use harness::module::wallet::verify_signed;
use harness::module::{approval, this_test};

use super::super::digest_key::verify;
use super::super::in_boundary;
use super::*;

/// The digest that a signature for this input of a wallet signs (BIP 143).
fn sighash(psbt: &Psbt, input: usize) -> [u8; 32] {
    let coin = psbt.inputs[input].witness_utxo.as_ref().expect("it was put there");
    let sighash = SighashCache::new(&psbt.unsigned_tx)
        .p2wpkh_signature_hash(input, &coin.script_pubkey, coin.value, EcdsaSighashType::All)
        .expect("an input of the transaction");
    Message::from(sighash).as_ref().to_owned()
}

/// The point of a public key of the token.
fn point(raw: &Raw, session: CK_SESSION_HANDLE, public: CK_OBJECT_HANDLE) -> PublicKey {
    let point = raw.attribute(session, public, CKA_EC_POINT).expect("shown");
    PublicKey::from_slice(&point[2..]).expect("a point in an OCTET STRING")
}

/// Signs a digest, with the approval as the parameter.
fn sign_digest(
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    key: CK_OBJECT_HANDLE,
    record: &[u8],
    digest: &[u8],
) -> Result<Vec<u8>, CK_RV> {
    match raw.sign_init(session, CKM_COUNTERSIGN_DIGEST, record, key) {
        CKR_OK => raw.sign(session, digest),
        rv => Err(rv),
    }
}

#[test]
fn raw_digest_the_sighash_of_a_wallet_signed_by_another_key_spends_nothing() {
    in_boundary(this_test!(), |boundary| {
        let stage = stage(&["alice", "bob"]);
        let (raw, session) = (&stage.raw, stage.session);
        let keys = Keys::seen_by(raw, session);
        let bytes = stage.psbt();
        let mut psbt = Psbt::deserialize(&bytes).expect("a PSBT");
        let digest = sighash(&psbt, 0);
        for (mechanism, key) in [(CKM_ECDSA, keys.wallet), (CKM_COUNTERSIGN_DIGEST, keys.wallet)] {
            let rv = raw.sign_init(session, mechanism, &[], key);
            assert_rv!(rv, CKR_KEY_FUNCTION_NOT_PERMITTED, "the wallet's own");
        }
        let alice = approval("alice", &stage.users[0].code());
        let signature = sign_digest(raw, session, keys.digest, &alice, &digest).expect("it is a digest");
        let parsed = Signature::from_compact(&signature).expect("r and s");

        // The signature is the other key's, and verifies under none of the wallet's keys.
        let verifies = |key: &PublicKey| {
            Secp256k1::new().verify_ecdsa(&Message::from_digest(digest), &parsed, key).is_ok()
        };
        assert!(verifies(&point(raw, session, keys.digest_public)));
        let derived = psbt.inputs.iter().flat_map(|input| input.bip32_derivation.keys());
        let derived = derived.chain(psbt.outputs.iter().flat_map(|output| output.bip32_derivation.keys()));
        let of_the_wallet: Vec<PublicKey> =
            derived.copied().chain([point(raw, session, keys.wallet_public)]).collect();
        assert!(of_the_wallet.len() >= 4, "two inputs, the change and the account");
        assert!(!of_the_wallet.iter().any(verifies));
        let by_the_module = |key| verify(raw, session, CKM_ECDSA, key, &digest, &signature);
        assert_rv!(by_the_module(keys.digest_public), CKR_OK);
        assert_rv!(by_the_module(keys.wallet_public), CKR_KEY_FUNCTION_NOT_PERMITTED);

        // In its place in the PSBT it is refused, and spends no code.
        let key = bitcoin::PublicKey::new(of_the_wallet[0]);
        let signature = bitcoin::ecdsa::Signature { signature: parsed, sighash_type: EcdsaSighashType::All };
        psbt.inputs[0].partial_sigs.insert(key, signature);
        let bob = approval("bob", &stage.users[1].code());
        let refused = raw.countersign(session, stage.key, &bob, &psbt.serialize());
        assert_eq!(refused, Err(CKR_COUNTERSIGN_PSBT_REFUSED));
        verify_signed(&bytes, &raw.countersign(session, stage.key, &bob, &bytes).expect("without it"));
        assert_eq!(countersigned(boundary), [txid(&bytes)]);
    });
}

#[test]
fn a_code_for_a_digest_is_none_for_a_psbt_and_one_for_a_psbt_none_for_a_digest() {
    in_boundary(this_test!(), |boundary| {
        let mut stage = stage(&["alice", "bob"]);
        stage.as_so(|raw, so| {
            let [public, private] = digest_key("another", "alice\nbob");
            assert!(raw.generate_key_pair(so, CKM_EC_KEY_PAIR_GEN, &public, &private).is_ok());
        });
        let (raw, session) = (&stage.raw, stage.session);
        let keys = Keys::seen_by(raw, session);
        let (another, other, digest) = (raw.wallet_key(session, "another"), raw.read_write(), [7; 32]);
        // Both operations begin before either is judged.
        let (alice, bob) =
            (approval("alice", &stage.users[0].code()), approval("bob", &stage.users[1].code()));
        assert_rv!(raw.sign_init(other, CKM_COUNTERSIGN_PSBT, &alice, keys.wallet), CKR_OK);
        assert!(sign_digest(raw, session, keys.digest, &alice, &digest).is_ok());
        assert_eq!(raw.sign(other, &stage.psbt()), Err(CKR_PIN_INCORRECT), "spent on a digest");
        assert!(countersigned(boundary).is_empty());
        let again = sign_digest(raw, session, another, &alice, &digest);
        assert_eq!(again, Err(CKR_PIN_INCORRECT), "nor is it for the same digest by another key");

        let psbt = stage.psbt();
        assert_rv!(raw.sign_init(other, CKM_COUNTERSIGN_DIGEST, &bob, keys.digest), CKR_OK);
        verify_signed(&psbt, &raw.countersign(session, keys.wallet, &bob, &psbt).expect("signs"));
        assert_eq!(raw.sign(other, &digest), Err(CKR_PIN_INCORRECT), "spent on a PSBT");
        assert_rv!(raw.sign_init(session, CKM_ECDSA, &[], keys.digest), CKR_OK);
        let login = format!("bob:{}", stage.users[1].last_code());
        assert_rv!(raw.login(session, CKU_CONTEXT_SPECIFIC, login.as_bytes()), CKR_OK);
        assert_eq!(raw.sign(session, &digest), Err(CKR_PIN_INCORRECT), "nor by the other way");
        assert_eq!(countersigned(boundary), [txid(&psbt)]);
    });
}

#[test]
fn a_context_login_for_a_digest_reaches_no_psbt() {
    in_boundary(this_test!(), |boundary| {
        let stage = stage(&["alice"]);
        let (raw, session) = (&stage.raw, stage.session);
        let (keys, code) = (Keys::seen_by(raw, session), stage.users[0].code());
        for cancelled in [false, true] {
            assert_rv!(raw.sign_init(session, CKM_ECDSA, &[], keys.digest), CKR_OK);
            assert_rv!(raw.login(session, CKU_CONTEXT_SPECIFIC, code.as_bytes()), CKR_OK);
            let rv = raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], keys.wallet);
            assert_rv!(rv, CKR_OPERATION_ACTIVE, "the operation is not exchanged under the code");
            if cancelled {
                assert_rv!(call_v3!(raw, C_SessionCancel(session, CKF_SIGN)), CKR_OK);
            } else {
                assert_eq!(raw.sign(session, &stage.psbt()), Err(CKR_DATA_LEN_RANGE), "it is no digest");
            }
            assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], keys.wallet), CKR_OK);
            assert_eq!(raw.sign(session, &stage.psbt()), Err(CKR_USER_NOT_LOGGED_IN), "no code came here");
        }
        assert!(countersigned(boundary).is_empty());
        still_signs(boundary, &stage, "alice", &code);
    });
}

#[test]
fn no_two_keys_are_one_even_where_all_that_is_said_of_them_is_the_same() {
    in_boundary(this_test!(), |_| {
        let mut stage = stage(&["alice"]);
        stage.as_so(|raw, so| {
            let treasurys = raw.attribute(so, raw.wallet_key(so, "treasury"), CKA_ID).expect("shown");
            for label in ["one", "other"] {
                let [public, mut private] = digest_key(label, "alice");
                private.push((CKA_ID, treasurys.clone()));
                let made = raw.generate_key_pair(so, CKM_EC_KEY_PAIR_GEN, &public, &private);
                assert!(made.is_ok(), "{label}: {made:?}");
            }
            let savings = [wallet("savings"), vec![(CKA_ID, treasurys.clone())]].concat();
            assert!(raw.generate_key_pair(so, CKM_COUNTERSIGN_WALLET_KEY_GEN, &savings, &[]).is_ok());
            let labels = ["treasury", "savings", SIDECHAIN, "one", "other"];
            let points = labels.map(|label| point(raw, so, raw.wallet_public(so, label)));
            for (index, one) in points.iter().enumerate() {
                assert!(!points[..index].contains(one), "{} is another's key", labels[index]);
            }
        });
        // A key with the wallet's own id signs no transaction.
        let (raw, session) = (&stage.raw, stage.session);
        let treasurys = raw.attribute(session, stage.key, CKA_ID).expect("shown");
        let template = [of_number(CKA_CLASS, CKO_PRIVATE_KEY), (CKA_ID, treasurys)];
        let found = raw.find(session, &template).expect("finds");
        let made_for = |key: &CK_OBJECT_HANDLE| raw.attribute(session, *key, CKA_ALLOWED_MECHANISMS);
        let (wallets, others): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|key| made_for(key) == Ok(ulong(CKM_COUNTERSIGN_PSBT)));
        assert_eq!((wallets.len(), others.len()), (2, 2));
        for key in others {
            let rv = raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], key);
            assert_rv!(rv, CKR_KEY_FUNCTION_NOT_PERMITTED);
        }
        for key in wallets {
            assert_rv!(raw.sign_init(session, CKM_ECDSA, &[], key), CKR_KEY_FUNCTION_NOT_PERMITTED);
        }
    });
}
