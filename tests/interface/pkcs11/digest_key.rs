//! Keys that sign digests (PKCS#11 v3.2 section 6.3): how they are made, and that each signature costs a
//! code.

#![allow(unsafe_code, reason = "the function tables of PKCS#11 are tables of unsafe functions")]

use core::ptr;

use bitcoin::secp256k1::ecdsa::Signature;
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1};
use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::raw::{Attribute, Mechanism, Raw, call, call_v3, call_v3_2};
use harness::module::{Stage, approval, assert_rv, this_test, ulong};

use super::in_boundary;

const SECP256K1: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];
const DIGEST: [u8; 32] = [0x5a; 32];

/// A template with these attributes added. They replace attributes of the same type.
fn with(template: &[Attribute], changes: &[Attribute]) -> Vec<Attribute> {
    let is_changed = |kind| changes.iter().any(|(changed, _)| *changed == kind);
    template.iter().filter(|(kind, _)| !is_changed(*kind)).chain(changes).cloned().collect()
}

fn without(template: &[Attribute], kind: CK_ATTRIBUTE_TYPE) -> Vec<Attribute> {
    template.iter().filter(|(there, _)| *there != kind).cloned().collect()
}

fn mechanisms(list: &[CK_MECHANISM_TYPE]) -> Attribute {
    (CKA_ALLOWED_MECHANISMS, list.iter().flat_map(|mechanism| ulong(*mechanism)).collect())
}

fn public_template() -> Vec<Attribute> {
    vec![(CKA_EC_PARAMS, SECP256K1.to_vec())]
}

fn private_template(label: &str, users: &str, policy: &str) -> Vec<Attribute> {
    vec![
        (CKA_LABEL, label.as_bytes().to_vec()),
        (CKA_COUNTERSIGN_USERS, users.as_bytes().to_vec()),
        (CKA_COUNTERSIGN_POLICY, policy.as_bytes().to_vec()),
        mechanisms(&[CKM_COUNTERSIGN_DIGEST, CKM_ECDSA]),
    ]
}

/// Makes a key for both mechanisms.
pub(crate) fn make(raw: &Raw, so: CK_SESSION_HANDLE, label: &str, users: &str, policy: &str) {
    let template = private_template(label, users, policy);
    let made = raw.generate_key_pair(so, CKM_EC_KEY_PAIR_GEN, &public_template(), &template);
    assert!(made.is_ok(), "{made:x?}");
}

/// A stage with these keys, which sign on the codes of all users.
fn stage_with_keys(users: &[&str], keys: &[(&str, &str)]) -> Stage {
    let mut stage = Stage::new(users);
    stage.as_so(|raw, so| {
        keys.iter().for_each(|(label, policy)| make(raw, so, label, &users.join("\n"), policy))
    });
    stage
}

/// Signs with the approval as the mechanism's parameter.
fn sign(stage: &Stage, key: CK_OBJECT_HANDLE, approval: &[u8], digest: &[u8]) -> Result<Vec<u8>, CK_RV> {
    match stage.raw.sign_init(stage.session, CKM_COUNTERSIGN_DIGEST, approval, key) {
        CKR_OK => stage.raw.sign(stage.session, digest),
        rv => Err(rv),
    }
}

pub(crate) fn verify(
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_TYPE,
    key: CK_OBJECT_HANDLE,
    digest: &[u8],
    signature: &[u8],
) -> CK_RV {
    match call!(raw, C_VerifyInit(session, Mechanism::new(mechanism, &[]).pointer(), key)) {
        CKR_OK => raw.verify_code(session, digest, signature),
        rv => rv,
    }
}

#[test]
fn a_right_code_signs_a_digest_by_each_door_and_anybody_verifies() {
    in_boundary(this_test!(), |_| {
        let stage = stage_with_keys(&["alice", "bob"], &[("sidechain", "max_period_transactions = 9")]);
        let (raw, session) = (&stage.raw, stage.session);
        let key = raw.wallet_key(session, "sidechain");
        let public = raw.wallet_public(session, "sidechain");

        let record = approval("alice", &stage.users[0].code());
        let by_parameter = sign(&stage, key, &record, &DIGEST).expect("signs");

        assert_rv!(raw.sign_init(session, CKM_ECDSA, &[], key), CKR_OK);
        let code = format!("bob:{}", stage.users[1].code());
        assert_rv!(raw.login(session, CKU_CONTEXT_SPECIFIC, code.as_bytes()), CKR_OK);
        assert_rv!(raw.sign_update(session, &DIGEST[..7]), CKR_OK);
        assert_rv!(raw.sign_update(session, &DIGEST[7..]), CKR_OK);
        let by_login = raw.sign_final(session).expect("signs");

        let point = raw.attribute(session, public, CKA_EC_POINT).expect("shown");
        let point = PublicKey::from_slice(&point[2..]).expect("a point");
        assert_rv!(raw.logout(session), CKR_OK);
        for signature in [&by_parameter, &by_login] {
            assert_eq!(signature.len(), 64);
            let mut parsed = Signature::from_compact(signature).expect("r and s");
            let message = Message::from_digest(DIGEST);
            Secp256k1::new().verify_ecdsa(&message, &parsed, &point).expect("it verifies, with a low s");
            for mechanism in [CKM_ECDSA, CKM_COUNTERSIGN_DIGEST] {
                let judge = |digest: &[u8], signature: &[u8]| {
                    verify(raw, session, mechanism, public, digest, signature)
                };
                assert_rv!(judge(&DIGEST, signature), CKR_OK);
                assert_rv!(judge(&[1; 32], signature), CKR_SIGNATURE_INVALID);
                assert_rv!(judge(&DIGEST[..31], signature), CKR_DATA_LEN_RANGE);
                assert_rv!(judge(&DIGEST, &signature[..63]), CKR_SIGNATURE_LEN_RANGE);
                assert_rv!(judge(&DIGEST, &[0xff; 64]), CKR_SIGNATURE_INVALID);
                assert_rv!(judge(&DIGEST, &[0; 64]), CKR_SIGNATURE_INVALID);
                for (digest, answer) in [(DIGEST, CKR_OK), ([1; 32], CKR_SIGNATURE_INVALID)] {
                    assert_rv!(verify_in_parts(raw, session, mechanism, public, digest, signature), answer);
                    assert_rv!(
                        verify_signature_first(raw, session, mechanism, public, digest, signature),
                        answer
                    );
                }
            }
            // The other value of s verifies as well (SEC 1 section 4.1.4), though our signer never returns
            // it.
            let high = high_s(&parsed);
            assert_rv!(verify(raw, session, CKM_ECDSA, public, &DIGEST, &high), CKR_OK);
            parsed.normalize_s();
            assert_eq!(parsed.serialize_compact()[..], signature[..]);
        }
    });
}

/// The digest in two parts, and the signature last.
fn verify_in_parts(
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_TYPE,
    key: CK_OBJECT_HANDLE,
    mut digest: [u8; 32],
    signature: &[u8],
) -> CK_RV {
    let mut signature = signature.to_vec();
    assert_rv!(call!(raw, C_VerifyInit(session, Mechanism::new(mechanism, &[]).pointer(), key)), CKR_OK);
    for part in digest.chunks_mut(20) {
        let len = part.len() as CK_ULONG;
        assert_rv!(call!(raw, C_VerifyUpdate(session, part.as_mut_ptr(), len)), CKR_OK);
    }
    let len = signature.len() as CK_ULONG;
    call!(raw, C_VerifyFinal(session, signature.as_mut_ptr(), len))
}

/// The signature first, and the digest in two parts.
fn verify_signature_first(
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_TYPE,
    key: CK_OBJECT_HANDLE,
    mut digest: [u8; 32],
    signature: &[u8],
) -> CK_RV {
    let (mut mechanism, mut signature) = (Mechanism::new(mechanism, &[]), signature.to_vec());
    let (pointer, len) = (signature.as_mut_ptr(), signature.len() as CK_ULONG);
    assert_rv!(
        call_v3_2!(raw, C_VerifySignatureInit(session, mechanism.pointer(), key, pointer, len)),
        CKR_OK
    );
    for part in digest.chunks_mut(20) {
        let len = part.len() as CK_ULONG;
        assert_rv!(call_v3_2!(raw, C_VerifySignatureUpdate(session, part.as_mut_ptr(), len)), CKR_OK);
    }
    call_v3_2!(raw, C_VerifySignatureFinal(session))
}

/// The signature with n − s in place of s.
fn high_s(signature: &Signature) -> [u8; 64] {
    let mut bytes = signature.serialize_compact();
    let s = bitcoin::secp256k1::SecretKey::from_slice(&bytes[32..]).expect("a scalar");
    bytes[32..].copy_from_slice(&s.negate().secret_bytes());
    bytes
}

#[test]
fn raw_digest_a_wallet_signs_no_digest_and_a_digest_key_no_psbt() {
    in_boundary(this_test!(), |_| {
        let stage = stage_with_keys(&["alice"], &[("sidechain", "unlimited = true")]);
        let (raw, session) = (&stage.raw, stage.session);
        let key = raw.wallet_key(session, "sidechain");
        for mechanism in [CKM_COUNTERSIGN_DIGEST, CKM_ECDSA] {
            assert_rv!(raw.sign_init(session, mechanism, &[], stage.key), CKR_KEY_FUNCTION_NOT_PERMITTED);
        }
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], key), CKR_KEY_FUNCTION_NOT_PERMITTED);
        for mechanism in [CKM_ECDSA_SHA256, CKM_EDDSA, CKM_RSA_PKCS, 0xC353_00FF] {
            assert_rv!(raw.sign_init(session, mechanism, &[], key), CKR_MECHANISM_INVALID);
            assert_rv!(raw.sign_init(session, mechanism, &[], stage.key), CKR_MECHANISM_INVALID);
        }
        let wallet = raw.wallet_public(session, "treasury");
        assert_rv!(
            verify(raw, session, CKM_ECDSA, wallet, &DIGEST, &[1; 64]),
            CKR_KEY_FUNCTION_NOT_PERMITTED
        );
        let record = approval("alice", &stage.users[0].code());
        assert_rv!(raw.sign_init(session, CKM_ECDSA, &record, key), CKR_MECHANISM_PARAM_INVALID);
        assert_eq!(stage.failures("alice"), 0);
    });
}

#[test]
fn a_key_signs_by_what_it_was_made_for_and_by_nothing_else() {
    in_boundary(this_test!(), |_| {
        let mut stage = Stage::new(&["alice"]);
        stage.as_so(|raw, so| {
            for (label, mechanism) in [("digest", CKM_COUNTERSIGN_DIGEST), ("ecdsa", CKM_ECDSA)] {
                let template =
                    with(&private_template(label, "alice", "unlimited = true"), &[mechanisms(&[mechanism])]);
                raw.generate_key_pair(so, CKM_EC_KEY_PAIR_GEN, &public_template(), &template).expect("made");
            }
        });
        let (raw, session) = (&stage.raw, stage.session);
        for (label, made_for, other) in
            [("digest", CKM_COUNTERSIGN_DIGEST, CKM_ECDSA), ("ecdsa", CKM_ECDSA, CKM_COUNTERSIGN_DIGEST)]
        {
            let (key, public) = (raw.wallet_key(session, label), raw.wallet_public(session, label));
            for object in [key, public] {
                assert_eq!(raw.attribute(session, object, CKA_ALLOWED_MECHANISMS), Ok(ulong(made_for)));
            }
            assert_rv!(raw.sign_init(session, other, &[], key), CKR_KEY_FUNCTION_NOT_PERMITTED);
            let refused = verify(raw, session, other, public, &DIGEST, &[1; 64]);
            assert_rv!(refused, CKR_KEY_FUNCTION_NOT_PERMITTED);
            assert_rv!(raw.sign_init(session, made_for, &[], key), CKR_OK);
            assert_rv!(call!(raw, C_SignInit(session, ptr::null_mut(), 0)), CKR_OK);
        }
    });
}

#[test]
fn no_code_no_signature_of_a_digest_and_what_each_refusal_spends() {
    in_boundary(this_test!(), |_| {
        let stage = stage_with_keys(&["alice"], &[("sidechain", "unlimited = true")]);
        let (raw, session, alice) = (&stage.raw, stage.session, &stage.users[0]);
        let key = raw.wallet_key(session, "sidechain");
        for mechanism in [CKM_COUNTERSIGN_DIGEST, CKM_ECDSA] {
            assert_rv!(raw.sign_init(session, mechanism, &[], key), CKR_OK);
            assert_eq!(raw.sign(session, &DIGEST), Err(CKR_USER_NOT_LOGGED_IN));
        }
        let record = approval("alice", &alice.code());
        for length in [0, 31, 33] {
            assert_eq!(sign(&stage, key, &record, &vec![1; length]), Err(CKR_DATA_LEN_RANGE), "{length}");
        }
        // For a digest of another length, there is no answer's length either.
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_DIGEST, &record, key), CKR_OK);
        let (mut short, mut len) = ([1; 31], 0);
        assert_rv!(
            call!(raw, C_Sign(session, short.as_mut_ptr(), 31, ptr::null_mut(), &mut len)),
            CKR_DATA_LEN_RANGE
        );
        assert_eq!(len, 0);
        // A length query or a small buffer spends nothing.
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_DIGEST, &record, key), CKR_OK);
        let (mut digest, mut small, mut len) = (DIGEST, [0xEE_u8; 63], 0);
        assert_rv!(call!(raw, C_Sign(session, digest.as_mut_ptr(), 32, ptr::null_mut(), &mut len)), CKR_OK);
        assert_eq!(len, 64);
        len = 63;
        assert_rv!(
            call!(raw, C_Sign(session, digest.as_mut_ptr(), 32, small.as_mut_ptr(), &mut len)),
            CKR_BUFFER_TOO_SMALL
        );
        assert_eq!((len, small), (64, [0xEE; 63]));
        let first = raw.sign(session, &DIGEST).expect("the code is whole");
        assert_eq!(stage.failures("alice"), 0);
        assert_eq!(sign(&stage, key, &record, &DIGEST), Ok(first), "the same again gets the same");
        assert_eq!(sign(&stage, key, &record, &[1; 32]), Err(CKR_PIN_INCORRECT), "spent");
        let wrong = approval("alice", &alice.wrong_code());
        assert_eq!(sign(&stage, key, &wrong, &DIGEST), Err(CKR_PIN_INCORRECT));
        assert_eq!(stage.failures("alice"), 2);
    });
}

#[test]
fn one_init_many_codes_sign_digests_as_messages() {
    in_boundary(this_test!(), |_| {
        let stage =
            stage_with_keys(&["alice", "bob", "carol"], &[("sidechain", "max_period_transactions = 2")]);
        let (raw, session) = (&stage.raw, stage.session);
        let key = raw.wallet_key(session, "sidechain");
        let init = |mechanism| {
            call_v3!(raw, C_MessageSignInit(session, Mechanism::new(mechanism, &[]).pointer(), key))
        };
        assert_rv!(init(CKM_ECDSA), CKR_MECHANISM_INVALID, "its messages could have no code");
        assert_rv!(init(CKM_COUNTERSIGN_DIGEST), CKR_OK);
        let sign = |record: &mut [u8], digest: &mut [u8]| {
            let (mut signature, mut len) = ([0; 64], 64);
            let (parameter, parameter_len) = (record.as_mut_ptr().cast(), record.len() as CK_ULONG);
            let (data, data_len) = (digest.as_mut_ptr(), digest.len() as CK_ULONG);
            let rv = call_v3!(
                raw,
                C_SignMessage(
                    session,
                    parameter,
                    parameter_len,
                    data,
                    data_len,
                    signature.as_mut_ptr(),
                    &mut len
                )
            );
            (rv, signature)
        };
        for user in &stage.users[..2] {
            let (rv, _) = sign(&mut approval(user.name(), &user.code()), &mut [7; 32]);
            assert_rv!(rv, CKR_OK);
        }
        let (rv, signature) = sign(&mut approval("carol", &stage.users[2].code()), &mut [8; 32]);
        assert_rv!(rv, CKR_COUNTERSIGN_POLICY, "the third of two");
        assert_eq!(signature, [0; 64]);
        assert_rv!(call_v3!(raw, C_MessageSignFinal(session)), CKR_OK);
    });
}

#[test]
fn a_key_pair_shows_what_it_is_and_the_officer_changes_users_and_policy() {
    in_boundary(this_test!(), |_| {
        let mut stage = stage_with_keys(&["alice", "bob"], &[("sidechain", "unlimited = true")]);
        stage.as_so(|raw, so| {
            let (key, public) = (raw.wallet_key(so, "sidechain"), raw.wallet_public(so, "sidechain"));
            for (object, kind, value) in [
                (key, CKA_CLASS, ulong(CKO_PRIVATE_KEY)),
                (public, CKA_CLASS, ulong(CKO_PUBLIC_KEY)),
                (key, CKA_KEY_GEN_MECHANISM, ulong(CKM_EC_KEY_PAIR_GEN)),
                (public, CKA_EC_PARAMS, SECP256K1.to_vec()),
                (key, CKA_ALWAYS_AUTHENTICATE, vec![CK_TRUE]),
                (key, CKA_SENSITIVE, vec![CK_TRUE]),
                (key, CKA_EXTRACTABLE, vec![CK_FALSE]),
                (key, CKA_SIGN, vec![CK_TRUE]),
                (public, CKA_VERIFY, vec![CK_TRUE]),
                (public, CKA_PRIVATE, vec![CK_FALSE]),
                (key, CKA_COUNTERSIGN_USERS, b"alice\nbob".to_vec()),
            ] {
                assert_eq!(raw.attribute(so, object, kind), Ok(value), "{kind:#x}");
            }
            assert_eq!(raw.attribute(so, key, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
            assert_eq!(
                raw.attribute(so, key, CKA_COUNTERSIGN_DESCRIPTOR),
                Err(CKR_ATTRIBUTE_TYPE_INVALID),
                "it is no wallet"
            );
            for (change, answer) in [
                ((CKA_ALWAYS_AUTHENTICATE, vec![CK_FALSE]), CKR_ATTRIBUTE_READ_ONLY),
                (mechanisms(&[CKM_COUNTERSIGN_PSBT]), CKR_ATTRIBUTE_READ_ONLY),
                ((CKA_EXTRACTABLE, vec![CK_TRUE]), CKR_ATTRIBUTE_READ_ONLY),
                ((CKA_COUNTERSIGN_POLICY, b"max_fee_sat = 1".to_vec()), CKR_ATTRIBUTE_VALUE_INVALID),
                ((CKA_COUNTERSIGN_USERS, b"nobody".to_vec()), CKR_ATTRIBUTE_VALUE_INVALID),
                ((CKA_COUNTERSIGN_NETWORK, b"regtest".to_vec()), CKR_TEMPLATE_INCONSISTENT),
            ] {
                assert_rv!(raw.set_attributes(so, key, std::slice::from_ref(&change)), answer, "{change:x?}");
            }
            assert_rv!(raw.destroy(so, key), CKR_ACTION_PROHIBITED);
            assert_rv!(raw.destroy(so, raw.user_key(so, "alice")), CKR_ACTION_PROHIBITED, "it lists her");
            let users = (CKA_COUNTERSIGN_USERS, b"bob".to_vec());
            assert_rv!(raw.set_attributes(so, key, &[users]), CKR_OK);
            assert_rv!(raw.sign_init(so, CKM_COUNTERSIGN_DIGEST, &[], key), CKR_USER_NOT_LOGGED_IN);
        });
        let key = stage.raw.wallet_key(stage.session, "sidechain");
        let [alice, bob] = &stage.users[..] else { panic!("two users") };
        let record = approval("alice", &alice.code());
        assert_eq!(sign(&stage, key, &record, &DIGEST), Err(CKR_PIN_INCORRECT), "no more");
        assert!(sign(&stage, key, &approval("bob", &bob.code()), &DIGEST).is_ok());
        let read_only = (CKA_COUNTERSIGN_POLICY, b"unlimited = true".to_vec());
        assert_rv!(stage.raw.set_attributes(stage.session, key, &[read_only]), CKR_USER_NOT_LOGGED_IN);
    });
}

#[test]
fn each_mistake_in_the_templates_of_a_key_pair_has_its_answer() {
    in_boundary(this_test!(), |_| {
        let mut stage = Stage::new(&["alice"]);
        stage.as_so(|raw, so| {
            let (public, private) = (public_template(), private_template("k", "alice", "unlimited = true"));
            let p256 = vec![0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
            for (public, private, answer) in [
                (vec![], private.clone(), CKR_TEMPLATE_INCOMPLETE),
                (public.clone(), without(&private, CKA_ALLOWED_MECHANISMS), CKR_TEMPLATE_INCOMPLETE),
                (public.clone(), without(&private, CKA_COUNTERSIGN_POLICY), CKR_TEMPLATE_INCOMPLETE),
                (public.clone(), without(&private, CKA_COUNTERSIGN_USERS), CKR_TEMPLATE_INCOMPLETE),
                (public.clone(), without(&private, CKA_LABEL), CKR_TEMPLATE_INCOMPLETE),
                (vec![(CKA_EC_PARAMS, p256)], private.clone(), CKR_CURVE_NOT_SUPPORTED),
                (public.clone(), with(&private, &[mechanisms(&[])]), CKR_TEMPLATE_INCONSISTENT),
                (
                    public.clone(),
                    with(&private, &[mechanisms(&[CKM_ECDSA, CKM_COUNTERSIGN_PSBT])]),
                    CKR_TEMPLATE_INCONSISTENT,
                ),
                (
                    public.clone(),
                    with(&private, &[(CKA_ALLOWED_MECHANISMS, vec![0; 7])]),
                    CKR_ATTRIBUTE_VALUE_INVALID,
                ),
                (public.clone(), with(&private, &[(CKA_EXTRACTABLE, vec![1])]), CKR_TEMPLATE_INCONSISTENT),
                (
                    public.clone(),
                    with(&private, &[(CKA_ALWAYS_AUTHENTICATE, vec![0])]),
                    CKR_TEMPLATE_INCONSISTENT,
                ),
                (public.clone(), with(&private, &[(CKA_TOKEN, vec![0])]), CKR_TEMPLATE_INCONSISTENT),
                (public.clone(), with(&private, &[(CKA_VALUE, vec![1; 32])]), CKR_ATTRIBUTE_READ_ONLY),
                (
                    public.clone(),
                    with(&private, &[(CKA_COUNTERSIGN_NETWORK, b"regtest".to_vec())]),
                    CKR_TEMPLATE_INCONSISTENT,
                ),
                (public.clone(), with(&private, &[(0x7fff_0000, vec![1])]), CKR_ATTRIBUTE_TYPE_INVALID),
                (
                    public.clone(),
                    with(&private, &[(CKA_COUNTERSIGN_POLICY, b"max_fee_sat = 1".to_vec())]),
                    CKR_ATTRIBUTE_VALUE_INVALID,
                ),
            ] {
                let made = raw.generate_key_pair(so, CKM_EC_KEY_PAIR_GEN, &public, &private);
                assert_eq!(made, Err(answer), "{public:x?} {private:x?}");
            }
            for (kind, in_public, in_private) in said_of_a_key_pair() {
                for (is_private, right) in [(false, in_public), (true, in_private)] {
                    let Some(right) = right else { continue };
                    let wrong = [(kind, opposite(&right))];
                    let made = if is_private {
                        raw.generate_key_pair(so, CKM_EC_KEY_PAIR_GEN, &public, &with(&private, &wrong))
                    } else {
                        raw.generate_key_pair(so, CKM_EC_KEY_PAIR_GEN, &with(&public, &wrong), &private)
                    };
                    let refused = [Err(CKR_TEMPLATE_INCONSISTENT), Err(CKR_CURVE_NOT_SUPPORTED)];
                    assert!(refused.contains(&made), "{kind:#x}, private: {is_private}: {made:x?}");
                }
            }
            assert_eq!(raw.find(so, &[(CKA_LABEL, b"k".to_vec())]), Ok(vec![]), "none was made");
            let said = said_of_a_key_pair();
            let public: Vec<_> =
                said.iter().filter_map(|(kind, right, _)| Some((*kind, right.clone()?))).collect();
            let of_private: Vec<_> =
                said.iter().filter_map(|(kind, _, right)| Some((*kind, right.clone()?))).collect();
            let made = raw.generate_key_pair(so, CKM_EC_KEY_PAIR_GEN, &public, &with(&private, &of_private));
            assert!(made.is_ok(), "what is so anyway may be said: {made:x?}");
        });
    });
}

/// An attribute, and the value that a public and a private key's template may give for it.
type Said = (CK_ATTRIBUTE_TYPE, Option<Vec<u8>>, Option<Vec<u8>>);

/// Every attribute that is the same for all keys that sign digests.
fn said_of_a_key_pair() -> Vec<Said> {
    let (yes, no) = (|| Some(vec![CK_TRUE]), || Some(vec![CK_FALSE]));
    vec![
        (CKA_CLASS, Some(ulong(CKO_PUBLIC_KEY)), Some(ulong(CKO_PRIVATE_KEY))),
        (CKA_KEY_TYPE, Some(ulong(CKK_EC)), Some(ulong(CKK_EC))),
        (CKA_EC_PARAMS, Some(SECP256K1.to_vec()), Some(SECP256K1.to_vec())),
        (CKA_TOKEN, yes(), yes()),
        (CKA_PRIVATE, no(), yes()),
        (CKA_MODIFIABLE, yes(), yes()),
        (CKA_COPYABLE, no(), no()),
        (CKA_DESTROYABLE, no(), no()),
        (CKA_DERIVE, no(), no()),
        (CKA_VERIFY, yes(), None),
        (CKA_ENCRYPT, no(), None),
        (CKA_VERIFY_RECOVER, no(), None),
        (CKA_WRAP, no(), None),
        (CKA_ENCAPSULATE, no(), None),
        (CKA_TRUSTED, no(), None),
        (CKA_SIGN, None, yes()),
        (CKA_SENSITIVE, None, yes()),
        (CKA_ALWAYS_AUTHENTICATE, None, yes()),
        (CKA_EXTRACTABLE, None, no()),
        (CKA_DECRYPT, None, no()),
        (CKA_SIGN_RECOVER, None, no()),
        (CKA_UNWRAP, None, no()),
        (CKA_DECAPSULATE, None, no()),
        (CKA_WRAP_WITH_TRUSTED, None, no()),
    ]
}

/// A different value of the same length: the opposite boolean, another class or type, another curve.
fn opposite(value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    match &mut value[..] {
        [one] => *one ^= 1,
        all if all == SECP256K1 => all[6] = 0x22,
        all => all[0] ^= 0x10,
    }
    value
}
