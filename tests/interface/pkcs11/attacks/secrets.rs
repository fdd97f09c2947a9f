//! Attempts to get a key's value piece by piece: by reading, by searching, from its answers.

use harness::module::{enrol, this_test};

use super::super::in_boundary;
use super::*;

/// A byte that shows whether a buffer was written.
const UNTOUCHED: u8 = 0x5a;

/// Reads several attributes in one call into buffers of so many bytes: the answer, the reported lengths, and
/// the written bytes.
fn read(
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    kinds: &[CK_ATTRIBUTE_TYPE],
    room: usize,
) -> (CK_RV, Vec<CK_ULONG>, Vec<Vec<u8>>) {
    let mut buffers = vec![vec![UNTOUCHED; room]; kinds.len()];
    let mut template: Vec<CK_ATTRIBUTE> = kinds
        .iter()
        .zip(&mut buffers)
        .map(|(kind, buffer)| CK_ATTRIBUTE {
            type_: *kind,
            pValue: buffer.as_mut_ptr().cast(),
            ulValueLen: room as CK_ULONG,
        })
        .collect();
    let count = template.len() as CK_ULONG;
    let rv = call!(raw, C_GetAttributeValue(session, object, template.as_mut_ptr(), count));
    (rv, template.iter().map(|entry| entry.ulValueLen).collect(), buffers)
}

#[test]
fn no_secret_is_read_whole_in_part_beside_others_or_by_its_length() {
    in_boundary(this_test!(), |_| {
        let stage = stage(&["alice"]);
        let raw = &stage.raw;
        for so_is_in in [false, true] {
            let session = if so_is_in { as_officer(raw) } else { stage.session };
            let keys = Keys::seen_by(raw, session);
            for (object, kind, class) in [
                (keys.wallet, CKA_VALUE, CKO_PRIVATE_KEY),
                (keys.digest, CKA_VALUE, CKO_PRIVATE_KEY),
                (keys.user, CKA_VALUE, CKO_OTP_KEY),
                (keys.user, CKA_COUNTERSIGN_OTPAUTH_URI, CKO_OTP_KEY),
            ] {
                for room in [0, 1, 20, 32, 400] {
                    let (rv, lens, buffers) =
                        read(raw, session, object, &[CKA_CLASS, kind, CKA_LABEL], room.max(8));
                    assert_rv!(rv, CKR_ATTRIBUTE_SENSITIVE, "{kind:#x} into {room} bytes");
                    assert_eq!(lens[1], CK_UNAVAILABLE_INFORMATION, "{kind:#x}: not even how long it is");
                    assert!(buffers[1].iter().all(|byte| *byte == UNTOUCHED), "{kind:#x} was written");
                    assert_eq!(buffers[0][..8], *ulong(class));
                }
                assert_eq!(
                    raw.attribute(session, object, kind),
                    Err(CKR_ATTRIBUTE_SENSITIVE),
                    "its length alone"
                );
            }
            // A check value is part of a hash of the secret. There is none, which an empty value means.
            for kind in [CKA_CHECK_VALUE, CKA_OTP_COUNTER, CKA_OTP_TIME] {
                let (rv, lens, buffers) = read(raw, session, keys.user, &[kind], 400);
                assert_rv!(rv, CKR_OK, "{kind:#x}");
                assert_eq!((&lens[..], &buffers[0]), (&[0][..], &vec![UNTOUCHED; 400]), "{kind:#x}");
            }
            for key in [keys.wallet, keys.digest] {
                let check = raw.attribute(session, key, CKA_CHECK_VALUE);
                assert_eq!(check, Err(CKR_ATTRIBUTE_TYPE_INVALID), "nor has a private key one");
            }
            // Attributes that a private key has in other modules. This module's key has them under no number.
            for kind in (CKA_MODULUS..=CKA_COEFFICIENT).chain([CKA_PRIME, CKA_BASE, CKA_SEED]) {
                for key in [keys.wallet, keys.digest] {
                    let (rv, lens, _) = read(raw, session, key, &[kind], 400);
                    assert!(
                        [CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_SENSITIVE].contains(&rv),
                        "{kind:#x} answered {rv:#x}"
                    );
                    assert_eq!(lens, [CK_UNAVAILABLE_INFORMATION]);
                }
            }
        }
    });
}

#[test]
fn no_attribute_of_any_number_shows_a_secret() {
    in_boundary(this_test!(), |_| {
        let mut stage = stage(&["alice"]);
        let (_, query) = stage.users[0].uri().split_once("secret=").expect("a URI has its secret");
        let text = query.split('&').next().expect("a first part").to_owned();
        let secret = data_encoding::BASE32_NOPAD.decode(text.as_bytes()).expect("base 32");
        let numbers =
            (0..0x800).chain(0x8000_0000..0x8000_0040).chain(0xC353_0000..0xC353_0200).chain([0x4000_0211]);
        let numbers: Vec<CK_ATTRIBUTE_TYPE> = numbers.collect();
        let mut shown = 0;
        let mut look = |raw: &Raw, session| {
            for object in raw.find(session, &[]).expect("finds") {
                for kind in &numbers {
                    let Ok(value) = raw.attribute(session, object, *kind) else { continue };
                    shown += 1;
                    for secret in [&secret[..], text.as_bytes(), b"xprv", b"tprv"] {
                        assert!(
                            !value.windows(secret.len()).any(|part| part == secret),
                            "{kind:#x} shows a secret"
                        );
                    }
                }
            }
        };
        look(&stage.raw, stage.session);
        stage.as_so(|raw, so| look(raw, so));
        assert!(shown > 150, "only {shown} attributes were shown at all");
        // The one session that may read it, once, is the one that made it.
        stage.as_so(|raw, so| assert!(enrol(raw, so, "bob").uri().contains("secret=")));
    });
}

#[test]
fn searching_with_guessed_values_tells_nothing_byte_by_byte_or_whole() {
    in_boundary(this_test!(), |_| {
        let stage = stage(&["alice"]);
        let raw = &stage.raw;
        let (_, query) = stage.users[0].uri().split_once("secret=").expect("a URI has its secret");
        let text = query.split('&').next().expect("a first part");
        let secret = data_encoding::BASE32_NOPAD.decode(text.as_bytes()).expect("base 32");
        for so_is_in in [false, true] {
            let session = if so_is_in { as_officer(raw) } else { stage.session };
            for len in 0..=secret.len() {
                // That there is no check value and no counter is no secret, so the empty ones are found.
                let empty = [CKA_CHECK_VALUE, CKA_OTP_COUNTER].into_iter().filter(|_| len > 0);
                for kind in empty.chain([CKA_VALUE, CKA_COUNTERSIGN_OTPAUTH_URI]) {
                    let guess = (kind, secret[..len].to_vec());
                    assert_eq!(
                        raw.find(session, std::slice::from_ref(&guess)),
                        Ok(vec![]),
                        "{len} right bytes"
                    );
                    let beside = [of_number(CKA_CLASS, CKO_OTP_KEY), guess];
                    assert_eq!(raw.find(session, &beside), Ok(vec![]), "{len} right bytes");
                }
            }
            // Also for the key that signs digests, byte by byte: each possible first byte, and no byte at
            // all.
            for guess in (0..=u8::MAX).map(|byte| vec![byte]).chain([vec![], vec![0; 32]]) {
                let label = (CKA_LABEL, SIDECHAIN.into());
                let template = [label, of_number(CKA_CLASS, CKO_PRIVATE_KEY), (CKA_VALUE, guess)];
                assert_eq!(raw.find(session, &template), Ok(vec![]), "{:x?}", template[2]);
                assert_eq!(raw.find(session, &template[..2]), Ok(vec![raw.wallet_key(session, SIDECHAIN)]));
            }
            let uri = stage.users[0].uri().as_bytes().to_vec();
            assert_eq!(raw.find(session, &[(CKA_COUNTERSIGN_OTPAUTH_URI, uri)]), Ok(vec![]));
            // A visible value can be searched for.
            assert_eq!(raw.find(session, &[(CKA_OTP_LENGTH, ulong(8))]).map(|found| found.len()), Ok(1));
        }
    });
}

#[test]
fn raw_digest_a_wallets_key_signs_one_by_no_mechanism_number() {
    in_boundary(this_test!(), |boundary| {
        let stage = stage(&["alice"]);
        let (raw, session, key) = (&stage.raw, stage.session, stage.key);
        let code = stage.users[0].code();
        let parameter = harness::module::approval("alice", &code);
        let made_for_digests = raw.wallet_key(session, SIDECHAIN);
        // All mechanisms that the specification numbers, and vendor numbers near ours.
        for mechanism in (0..0x1_1000).chain(0x4000_0000..0x4000_0040).chain(0xC352_FF00..0xC353_0100) {
            let (by_the_wallet, by_the_other) = match mechanism {
                CKM_COUNTERSIGN_PSBT => (CKR_OK, CKR_KEY_FUNCTION_NOT_PERMITTED),
                CKM_COUNTERSIGN_DIGEST | CKM_ECDSA => (CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_OK),
                _ => (CKR_MECHANISM_INVALID, CKR_MECHANISM_INVALID),
            };
            let parameter = if mechanism > 0xC000_0000 { &parameter[..] } else { &[] };
            for (key, wanted) in [(key, by_the_wallet), (made_for_digests, by_the_other)] {
                assert_rv!(raw.sign_init(session, mechanism, parameter, key), wanted, "{mechanism:#x}");
                if wanted == CKR_OK {
                    assert_rv!(call!(raw, C_SignInit(session, ptr::null_mut(), 0)), CKR_OK, "ended");
                }
            }
        }
        assert_eq!(raw.sign(session, &[7; 32]), Err(CKR_OPERATION_NOT_INITIALIZED));
        // Nor does the mechanism that signs, if a digest is given in the place of a PSBT.
        for bytes in [vec![7; 32], b"psbt\xff".iter().copied().chain([7; 32]).collect()] {
            assert_eq!(raw.countersign(session, key, &parameter, &bytes), Err(CKR_DATA_INVALID));
        }
        assert!(countersigned(boundary).is_empty());
        still_signs(boundary, &stage, "alice", &code);
    });
}

#[test]
fn no_key_is_an_oracle_by_recovering_digesting_or_decrypting() {
    in_boundary(this_test!(), |_| {
        let stage = stage(&["alice"]);
        let raw = &stage.raw;
        in_either_role(&stage, |session, _| {
            for key in Keys::seen_by(raw, session).all() {
                for (name, rv) in no_such_operations(raw, session, key) {
                    assert_rv!(rv, CKR_FUNCTION_NOT_SUPPORTED, "{name}");
                }
            }
        });
    });
}
