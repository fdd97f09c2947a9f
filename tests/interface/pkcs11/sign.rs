//! Signing (PKCS#11 v3.2 section 5.13): the whole story, what spends a code, and every answer.

#![allow(unsafe_code, reason = "wrong pointers are what this is about")]

use core::ptr;
use std::sync::Barrier;

use countersign::pkcs11::vendor::*;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::vendor_defined::VendorDefinedMechanism;
use cryptoki::mechanism::{Mechanism as Cryptoki, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use cryptoki_sys::*;

use harness::module::doors;
use harness::module::raw::call;
use harness::module::wallet::{Payment, verify_signed};
use harness::module::{
    Authenticator, Boundary, LIMITS, SO_PIN, Stage, USER_PIN, approval, assert_rv, create_wallet, enrol,
    enrol_confirmed, module, report, this_test, ulong,
};

use super::in_boundary;

/// Bytes of a buffer that holds every answer of these tests.
const ROOM: usize = 1 << 16;

// The whole story, through crate cryptoki.

#[test]
fn the_whole_story_through_cryptoki_signs_by_both_doors() {
    let log = in_boundary(this_test!(), |boundary| {
        let pin = |pin: &str| AuthPin::new(pin.into());
        let pkcs11 = Pkcs11::new(module()).expect("it loads");
        pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).expect("initialises");
        let slot = pkcs11.get_all_slots().expect("slots")[0];
        pkcs11.init_token(slot, &pin(SO_PIN), "story").expect("the token is initialised");

        let so = pkcs11.open_rw_session(slot).expect("a session");
        so.login(UserType::So, Some(&pin(SO_PIN))).expect("the security officer");
        so.init_pin(&pin(USER_PIN)).expect("the user PIN is set");
        let users = ["alice", "bob", "carol", "dave"].map(|name| enrol_by_cryptoki(&so, name));
        let [alice, bob, carol, dave] = &users;
        let shared = create_by_cryptoki(&so, "shared", "alice\nbob\ncarol");
        let own = create_by_cryptoki(&so, "own", "dave");
        so.logout().expect("logs out");
        drop(so);

        // If there are two doors, the backend comes in by its own.
        pkcs11.finalize().expect("finalises");
        doors::configure_backends();
        let pkcs11 = Pkcs11::new(module()).expect("it loads");
        pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).expect("initialises");
        let session = pkcs11.open_ro_session(slot).expect("a session");
        session.login(UserType::User, Some(&pin(USER_PIN))).expect("the backend");
        let key = |label: &str| {
            let template =
                [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Label(label.as_bytes().to_vec())];
            session.find_objects(&template).expect("it finds").remove(0)
        };
        let without_parameter = vendor::<u8>(CKM_COUNTERSIGN_PSBT, None);

        // The code is in the mechanism's parameter, an approval.
        let psbt = Payment::default().psbt(&shared);
        let record = approval("alice", &alice.code());
        let mechanism = vendor(CKM_COUNTERSIGN_PSBT, Some(&record));
        verify_signed(&psbt, &session.sign(&mechanism, key("shared"), &psbt).expect("door 1 signs"));

        // The code is the PIN of a context-specific login.
        let psbt = Payment::default().psbt(&own);
        session.sign_init(&without_parameter, key("own")).expect("it begins");
        session.login(UserType::ContextSpecific, Some(&pin(&dave.code()))).expect("carried in");
        session.sign_update(&psbt[..100]).expect("a part");
        session.sign_update(&psbt[100..]).expect("the rest");
        verify_signed(&psbt, &session.sign_final().expect("door 2 signs in parts"));

        // By a login where the wallet has several users, and in the parameter for a PSBT in parts.
        let psbt = Payment::default().psbt(&shared);
        session.sign_init(&without_parameter, key("shared")).expect("it begins");
        let user_code = format!("bob:{}", bob.code());
        session.login(UserType::ContextSpecific, Some(&pin(&user_code))).expect("carried in");
        session.sign_update(&psbt).expect("all of it");
        verify_signed(&psbt, &session.sign_final().expect("door 2 signs for one of several"));

        let psbt = Payment::default().psbt(&shared);
        let record = approval("carol", &carol.code());
        session.sign_init(&vendor(CKM_COUNTERSIGN_PSBT, Some(&record)), key("shared")).expect("it begins");
        psbt.chunks(7).for_each(|part| session.sign_update(part).expect("a part"));
        verify_signed(&psbt, &session.sign_final().expect("door 1 signs in parts"));

        // The same code again, and what the log may say about it.
        let record = approval("alice", &alice.last_code());
        let refused = session.sign(&vendor(CKM_COUNTERSIGN_PSBT, Some(&record)), key("shared"), &psbt);
        assert!(format!("{refused:?}").contains("PinIncorrect"), "{refused:?}");

        note_secrets(boundary, &users);
        drop(session);
        pkcs11.finalize().expect("finalises");
        report("secrets", boundary.noted("secrets").lines().count());
        for secret in boundary.noted("secrets").lines() {
            // For the first process, which sees the log and not this folder.
            eprintln!("secret {secret}");
        }
    });
    let (secrets, lines): (Vec<&str>, Vec<&str>) = log.lines().partition(|line| line.starts_with("secret "));
    assert!(secrets.len() > 20, "the story noted {} secrets", secrets.len());
    let lines = lines.join("\n");
    assert!(lines.contains("the code is not right"), "the log is on:\n{lines}");
    for secret in secrets.iter().filter_map(|line| line.strip_prefix("secret ")) {
        assert!(!lines.contains(secret), "the log has {secret:?}:\n{lines}");
    }
}

/// Everything that must not appear in a log.
fn note_secrets(boundary: &Boundary, users: &[Authenticator]) {
    let mut secrets = vec![SO_PIN.to_owned(), USER_PIN.to_owned()];
    for file in ["backing-so.pin", "backing-user.pin"] {
        secrets.push(boundary.noted(file).trim().to_owned());
    }
    for user in users {
        let (_, query) = user.uri().split_once("secret=").expect("a URI has its secret");
        let secret = query.split('&').next().expect("a first part");
        let bytes = data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).expect("base 32");
        secrets.extend([secret.into(), hex::encode(&bytes), user.uri().into(), "otpauth:".into()]);
        secrets.extend((-2..=2).map(|steps| user.code_away(steps)));
    }
    // Private keys and PSBTs in every encoding.
    secrets.extend(["xprv", "tprv", "psbt\u{fffd}", "70736274ff", "cHNidP"].map(String::from));
    boundary.note("secrets", &secrets.join("\n"));
}

fn vendor<T>(mechanism: CK_MECHANISM_TYPE, parameter: Option<&T>) -> Cryptoki<'_> {
    let kind = MechanismType::new_vendor_defined(mechanism).expect("it is in the vendor range");
    Cryptoki::VendorDefined(VendorDefinedMechanism::new(kind, parameter))
}

fn vendor_attribute(kind: CK_ATTRIBUTE_TYPE, value: &[u8]) -> Attribute {
    Attribute::VendorDefined((AttributeType::VendorDefined(kind), value.to_vec()))
}

fn read(session: &Session, object: ObjectHandle, kind: CK_ATTRIBUTE_TYPE) -> String {
    let attributes =
        session.get_attributes(object, &[AttributeType::VendorDefined(kind)]).expect("it is shown");
    match &attributes[..] {
        [Attribute::VendorDefined((_, value))] => String::from_utf8(value.clone()).expect("text"),
        other => panic!("{other:?}"),
    }
}

fn enrol_by_cryptoki(so: &Session, name: &str) -> Authenticator {
    let template = [
        Attribute::Label(name.as_bytes().to_vec()),
        vendor_attribute(CKA_OTP_LENGTH, &ulong(8)),
        vendor_attribute(CKA_OTP_TIME_INTERVAL, &ulong(120)),
    ];
    let key = so.generate_key(&vendor::<u8>(CKM_COUNTERSIGN_TOTP_KEY_GEN, None), &template).expect("made");
    let user = Authenticator::scan(name, &read(so, key, CKA_COUNTERSIGN_OTPAUTH_URI));
    let mechanism = vendor::<u8>(CKM_COUNTERSIGN_TOTP, None);
    so.verify(&mechanism, key, &[], user.code().as_bytes()).expect("the first code confirms");
    user
}

fn create_by_cryptoki(so: &Session, label: &str, users: &str) -> String {
    let template = [
        Attribute::Label(label.as_bytes().to_vec()),
        vendor_attribute(CKA_COUNTERSIGN_NETWORK, b"regtest"),
        vendor_attribute(CKA_COUNTERSIGN_USERS, users.as_bytes()),
        vendor_attribute(CKA_COUNTERSIGN_POLICY, LIMITS.as_bytes()),
    ];
    let mechanism = vendor::<u8>(CKM_COUNTERSIGN_WALLET_KEY_GEN, None);
    let (public, _) = so.generate_key_pair(&mechanism, &template, &[]).expect("made");
    read(so, public, CKA_COUNTERSIGN_DESCRIPTOR)
}

// What spends a code and what does not.

#[test]
fn a_length_query_or_too_small_a_buffer_spends_nothing_and_keeps_the_operation() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice", "bob"]);
        let (raw, session) = (&stage.raw, stage.session);
        let mut psbt = stage.psbt();
        let (data, data_len) = (psbt.as_mut_ptr(), psbt.len() as CK_ULONG);
        let mut signed = vec![0u8; ROOM];
        let begin = |user: usize| {
            let user = &stage.users[user];
            let record = approval(user.name(), &user.code());
            assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &record, stage.key), CKR_OK);
        };

        begin(0);
        let mut bound = 0;
        for _ in 0..3 {
            assert_rv!(call!(raw, C_Sign(session, data, data_len, ptr::null_mut(), &mut bound)), CKR_OK);
            let mut small = bound - 1;
            let (buffer, len) = (signed.as_mut_ptr(), &raw mut small);
            assert_rv!(call!(raw, C_Sign(session, data, data_len, buffer, len)), CKR_BUFFER_TOO_SMALL);
            assert_eq!(small, bound, "and says how much is needed");
            assert!(signed.iter().all(|byte| *byte == 0), "nothing is written");
        }
        assert_eq!(stage.failures("alice"), 0);
        let mut len = bound;
        assert_rv!(call!(raw, C_Sign(session, data, data_len, signed.as_mut_ptr(), &mut len)), CKR_OK);
        assert!(len <= bound, "the query's length is an upper bound");
        verify_signed(&psbt, &signed[..len as usize]);
        assert!(signed[len as usize..].iter().all(|byte| *byte == 0), "the length is exact");

        begin(1);
        assert_rv!(raw.sign_update(session, &psbt), CKR_OK);
        signed.fill(0);
        for _ in 0..3 {
            assert_rv!(call!(raw, C_SignFinal(session, ptr::null_mut(), &mut bound)), CKR_OK);
            let mut small = bound - 1;
            let (buffer, len) = (signed.as_mut_ptr(), &raw mut small);
            assert_rv!(call!(raw, C_SignFinal(session, buffer, len)), CKR_BUFFER_TOO_SMALL);
        }
        assert_eq!(stage.failures("bob"), 0);
        verify_signed(&psbt, &raw.sign_final(session).expect("the parts are still there"));
        assert_eq!(raw.sign_final(session), Err(CKR_OPERATION_NOT_INITIALIZED), "it ended");
    });
}

/// Our key in two branches signs twice, and the length that a query returns has room for both signatures.
#[test]
fn the_length_from_a_query_has_room_for_every_branch_of_our_key() {
    in_boundary(this_test!(), |_| {
        let mut stage = Stage::new(&["alice"]);
        let (policy, mut descriptor) = (b"unlimited = true".to_vec(), String::new());
        let script = "wsh(or_d(pk(@0/<0;1>/*),and_v(v:pk(@0/<2;3>/*),older(1))))\nours";
        stage.as_so(|raw, so| {
            let template = [
                (CKA_LABEL, b"branches".to_vec()),
                (CKA_COUNTERSIGN_NETWORK, b"regtest".to_vec()),
                (CKA_COUNTERSIGN_USERS, b"alice".to_vec()),
                (CKA_COUNTERSIGN_POLICY, policy),
                (CKA_COUNTERSIGN_WALLET_POLICY, script.as_bytes().to_vec()),
            ];
            let made = raw.generate_key_pair(so, CKM_COUNTERSIGN_WALLET_KEY_GEN, &template, &[]);
            let (public, _) = made.expect("made");
            let text = raw.attribute(so, public, CKA_COUNTERSIGN_DESCRIPTOR).expect("registered");
            descriptor = String::from_utf8(text).expect("ASCII");
        });
        let (raw, session) = (&stage.raw, stage.session);
        let key = raw.wallet_key(session, "branches");
        let mut psbt = both_branches(&descriptor);
        let record = approval("alice", &stage.users[0].code());
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &record, key), CKR_OK);
        let (data, data_len, mut bound) = (psbt.as_mut_ptr(), psbt.len() as CK_ULONG, 0);
        assert_rv!(call!(raw, C_Sign(session, data, data_len, ptr::null_mut(), &mut bound)), CKR_OK);
        let mut signed = vec![0u8; bound as usize];
        let mut len = bound;
        assert_rv!(call!(raw, C_Sign(session, data, data_len, signed.as_mut_ptr(), &mut len)), CKR_OK);
        assert!(len <= bound);
        let signed = bitcoin::psbt::Psbt::deserialize(&signed[..len as usize]).expect("a PSBT");
        assert_eq!(signed.inputs[0].partial_sigs.len(), 2);
        assert!(len - data_len > 132, "more than one signature an input");
    });
}

/// A PSBT that spends an invented coin of this descriptor, old enough for either branch.
fn both_branches(descriptor: &str) -> Vec<u8> {
    use bitcoin::hashes::Hash;
    use bitcoin::{Amount, OutPoint, Sequence, Transaction, TxIn, TxOut, Txid};
    use miniscript::psbt::PsbtExt;
    let descriptor: miniscript::Descriptor<miniscript::DescriptorPublicKey> =
        descriptor.parse().expect("a descriptor");
    let external = descriptor.into_single_descriptors().expect("two chains").remove(0);
    let address = external.at_derivation_index(0).expect("in range");
    let script_pubkey = address.derived_descriptor(&bitcoin::secp256k1::Secp256k1::new()).script_pubkey();
    let spending = |spent: OutPoint, value: u64| Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![TxIn { previous_output: spent, sequence: Sequence(1), ..TxIn::default() }],
        output: vec![TxOut { value: Amount::from_sat(value), script_pubkey: script_pubkey.clone() }],
    };
    let previous = spending(OutPoint::new(Txid::from_byte_array([9; 32]), 0), 50_000);
    let spend = spending(OutPoint::new(previous.compute_txid(), 0), 49_000);
    let mut psbt = bitcoin::psbt::Psbt::from_unsigned_tx(spend).expect("unsigned");
    psbt.inputs[0].witness_utxo = Some(previous.output[0].clone());
    psbt.inputs[0].non_witness_utxo = Some(previous);
    psbt.update_input_with_descriptor(0, &address).expect("its input");
    psbt.serialize()
}

#[test]
fn a_malformed_parameter_spends_nothing() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let good = approval("alice", &stage.users[0].code());
        let changed = |change: &dyn Fn(&mut [u8; 128])| {
            let mut record = good;
            change(&mut record);
            record.to_vec()
        };
        let with_code = |code: &[u8]| {
            changed(&|record: &mut [u8; 128]| {
                record[3] = code.len() as u8;
                record[64..].fill(0);
                record[64..64 + code.len()].copy_from_slice(code);
            })
        };
        let code = stage.users[0].last_code();
        let table: Vec<(&str, Vec<u8>)> = vec![
            ("a byte short", good[..127].to_vec()),
            ("a byte long", [&good[..], &[0]].concat()),
            ("a record and a half", [&good[..], &good[..64]].concat()),
            ("seventeen records", good.repeat(17)),
            ("over all bounds", vec![1; 70_000]),
            ("version 0", changed(&|record| record[0] = 0)),
            ("version 2", changed(&|record| record[0] = 2)),
            ("factor 0", changed(&|record| record[1] = 0)),
            ("factor 2", changed(&|record| record[1] = 2)),
            ("a user over its field", changed(&|record| record[2] = 61)),
            ("a code over its field", changed(&|record| record[3] = 65)),
            ("padding behind the user", changed(&|record| record[63] = 1)),
            ("padding behind the code", changed(&|record| record[127] = 1)),
            ("a user that is not UTF-8", changed(&|record| record[4] = 0xff)),
            ("otp-blank: no code", with_code(b"")),
            ("otp-blank: five digits", with_code(&code.as_bytes()[..5])),
            ("otp-blank: nine digits", with_code(format!("{code}0").as_bytes())),
            ("otp-blank: a blank before", with_code(format!(" {}", &code[1..]).as_bytes())),
            ("otp-blank: a blank behind", with_code(format!("{} ", &code[..7]).as_bytes())),
            ("otp-blank: a blank within", with_code(format!("{} {}", &code[..3], &code[3..7]).as_bytes())),
            ("otp-blank: a sign", with_code(format!("+{}", &code[1..]).as_bytes())),
            ("otp-blank: a line break", with_code(format!("{}\n", &code[..7]).as_bytes())),
            ("otp-blank: a zero byte", with_code(format!("{}\0", &code[..7]).as_bytes())),
            ("otp-blank: Arabic digits", with_code("٣٣٣٣".as_bytes())),
            ("otp-blank: full-width digits", with_code("１２".as_bytes())),
            ("a second record that is malformed", [&good[..], &[0; 128]].concat()),
        ];
        for (what, parameter) in table {
            let init = stage.raw.sign_init(stage.session, CKM_COUNTERSIGN_PSBT, &parameter, stage.key);
            assert_rv!(init, CKR_MECHANISM_PARAM_INVALID, "{what}");
            assert_rv!(stage.raw.sign_update(stage.session, b"x"), CKR_OPERATION_NOT_INITIALIZED, "{what}");
        }
        assert_eq!(stage.failures("alice"), 0);
        let psbt = stage.psbt();
        let signed = stage.raw.countersign(stage.session, stage.key, &good, &psbt);
        verify_signed(&psbt, &signed.expect("the code is as good as before"));
    });
}

#[test]
fn otp_blank_a_malformed_code_in_the_login_spends_nothing() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let (raw, session) = (&stage.raw, stage.session);
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], stage.key), CKR_OK);
        let code = stage.users[0].code();
        let long_name = "a".repeat(61);
        for pin in [
            "",
            "12345",
            "123456789",
            &format!(" {}", &code[1..]),
            &format!("{} ", &code[..7]),
            &format!("alice {code}"),
            &format!("{code}:alice"),
            &format!("{long_name}:{code}"),
            "alice:",
            "٣٣٣٣",
        ] {
            assert_rv!(raw.login(session, CKU_CONTEXT_SPECIFIC, pin.as_bytes()), CKR_PIN_INVALID, "{pin:?}");
        }
        assert_eq!(stage.failures("alice"), 0);
        // The operation is still active, and the last well-formed login counts.
        assert_rv!(raw.login(session, CKU_CONTEXT_SPECIFIC, b"00000000"), CKR_OK, "judged when it signs");
        assert_rv!(raw.login_user(session, CKU_CONTEXT_SPECIFIC, code.as_bytes(), b"alice"), CKR_OK);
        let psbt = stage.psbt();
        verify_signed(&psbt, &raw.sign(session, &psbt).expect("signs"));
        assert_eq!(stage.failures("alice"), 0);
    });
}

#[test]
fn bytes_that_are_no_psbt_spend_nothing() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let (raw, session) = (&stage.raw, stage.session);
        let good = stage.psbt();
        let record = approval("alice", &stage.users[0].code());
        for bytes in [
            vec![],
            b"psbt".to_vec(),
            b"psbt\xff".to_vec(),
            b"cHNidP8BAHECAAAAA".to_vec(),
            vec![0; 32],
            good[..good.len() - 1].to_vec(),
            good[..good.len() / 2].to_vec(),
            [&good[..], &[0]].concat(),
            [&good[..], &good[..]].concat(),
        ] {
            let refused = raw.countersign(session, stage.key, &record, &bytes);
            assert_eq!(refused, Err(CKR_DATA_INVALID), "{} bytes", bytes.len());
            assert_eq!(raw.sign(session, &good), Err(CKR_OPERATION_NOT_INITIALIZED), "it ended");
        }
        assert_eq!(stage.failures("alice"), 0);
        let signed = raw.countersign(session, stage.key, &record, &good);
        verify_signed(&good, &signed.expect("the code is as good as before"));
    });
}

#[test]
fn utxo_missing_a_refusal_of_structure_spends_nothing_and_is_named_in_the_log() {
    let log = in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let code = stage.users[0].code();
        let liar = Payment { previous: false, ..Payment::default() }.psbt(&stage.descriptor);
        assert_eq!(stage.sign("alice", &code, &liar), Err(CKR_COUNTERSIGN_PSBT_REFUSED));
        assert_eq!(stage.failures("alice"), 0);
        let psbt = stage.psbt();
        verify_signed(&psbt, &stage.sign("alice", &code, &psbt).expect("the code is as good as before"));
    });
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("utxo-missing")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].starts_with("countersign: WARN refused: utxo-missing: input 0"), "{}", lines[0]);
}

#[test]
fn a_right_code_refused_by_policy_is_spent() {
    let log = in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice", "bob"]);
        for (user, payment) in [
            (&stage.users[0], Payment { pay: 200_000, ..Payment::default() }),
            (&stage.users[1], Payment { fee: 5_001, ..Payment::default() }),
        ] {
            let (name, code) = (user.name(), user.code());
            let refused = stage.sign(name, &code, &payment.psbt(&stage.descriptor));
            assert_eq!(refused, Err(CKR_COUNTERSIGN_POLICY), "{name}");
            assert_eq!(stage.failures(name), 0, "it was no failure");
            assert_eq!(stage.sign(name, &code, &stage.psbt()), Err(CKR_PIN_INCORRECT), "but it is spent");
        }
    });
    for rule in ["transaction-max", "fee-cap"] {
        assert!(log.contains(&format!("countersign: WARN refused: the policy refuses: {rule}")), "{log}");
    }
}

#[test]
fn otp_replay_a_signed_step_is_spent_for_every_transaction_wallet_and_door() {
    in_boundary(this_test!(), |_| {
        let mut stage = Stage::new(&["alice"]);
        let mut other = String::new();
        stage.as_so(|raw, so| other = create_wallet(raw, so, "other", &["alice"], LIMITS));
        let raw = stage.raw;
        let confirmed = stage.users[0].last_code();
        assert_eq!(
            stage.sign("alice", &confirmed, &stage.psbt()),
            Err(CKR_PIN_INCORRECT),
            "spent by C_Verify"
        );

        let (code, psbt) = (stage.users[0].code(), stage.psbt());
        let signed = stage.sign("alice", &code, &psbt).expect("once");
        verify_signed(&psbt, &signed);
        let again = stage.sign("alice", &code, &psbt);
        assert!(again == Ok(signed), "the same transaction: the same signatures, for a lost answer");
        assert_eq!(stage.failures("alice"), 1, "nothing but the first try");
        assert_eq!(stage.sign("alice", &code, &stage.psbt()), Err(CKR_PIN_INCORRECT), "another transaction");
        stage.as_so(|raw, so| {
            let unlock = [(CKA_COUNTERSIGN_LOCKED, vec![CK_FALSE])];
            assert_rv!(raw.set_attributes(so, raw.user_key(so, "alice"), &unlock), CKR_OK);
        });
        let (session, psbt) = (stage.session, Payment::default().psbt(&other));
        let key = raw.wallet_key(session, "other");
        let refused = raw.countersign(session, key, &approval("alice", &code), &psbt);
        assert_eq!(refused, Err(CKR_PIN_INCORRECT), "another wallet");
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], key), CKR_OK);
        assert_rv!(raw.login(session, CKU_CONTEXT_SPECIFIC, code.as_bytes()), CKR_OK);
        assert_eq!(raw.sign(session, &psbt), Err(CKR_PIN_INCORRECT), "the other door");
    });
}

#[test]
fn otp_replay_an_older_step_after_a_newer_one_is_spent() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let alice = &stage.users[0];
        let newest = alice.code_away(1);
        let psbt = stage.psbt();
        verify_signed(&psbt, &stage.sign("alice", &newest, &psbt).expect("the next step is live"));
        // Both are valid, or were when the newer one was spent.
        for older in [alice.code_away(0), alice.code_away(-1)] {
            assert_eq!(stage.sign("alice", &older, &psbt), Err(CKR_PIN_INCORRECT));
        }
        assert_eq!(stage.failures("alice"), 2);
    });
}

#[test]
fn otp_replay_one_code_raced_by_16_threads_signs_once() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let (raw, key) = (&stage.raw, stage.key);
        let record = approval("alice", &stage.users[0].code());
        let barrier = Barrier::new(16);
        let answers: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|_| {
                    let (session, psbt) = (raw.read_only(), stage.psbt());
                    assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &record, key), CKR_OK);
                    let barrier = &barrier;
                    scope.spawn(move || {
                        barrier.wait();
                        let signed = raw.sign(session, &psbt);
                        (psbt, signed)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
        });
        let mut signed = 0;
        for (psbt, answer) in &answers {
            match answer {
                Ok(bytes) => {
                    verify_signed(psbt, bytes);
                    signed += 1;
                }
                // Each try was charged, so some may have met the wait after the others.
                Err(rv) => assert!([CKR_PIN_INCORRECT, CKR_PIN_LOCKED].contains(rv), "{rv:#x}"),
            }
        }
        assert_eq!(signed, 1, "signatures for one code");
        assert!(stage.sign("alice", &stage.users[0].last_code(), &stage.psbt()).is_err());
    });
}

#[test]
fn toctou_a_buffer_that_changes_meanwhile_is_signed_as_it_was_checked() {
    use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
    in_boundary(this_test!(), |_| {
        let names = ["u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8"];
        let stage = Stage::new(&names);
        for user in &stage.users {
            let honest = stage.psbt();
            // Somewhere in the stranger's witness program: both are payments that the policy allows.
            let at = honest.windows(2).position(|pair| pair == [0x00, 0x14]).expect("a P2WPKH output") + 10;
            let other = honest[at] ^ 0xff;
            let shared: Vec<AtomicU8> = honest.iter().map(|byte| AtomicU8::new(*byte)).collect();
            let done = AtomicBool::new(false);
            let record = approval(user.name(), &user.code());
            assert_rv!(stage.raw.sign_init(stage.session, CKM_COUNTERSIGN_PSBT, &record, stage.key), CKR_OK);
            let signed = std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        shared[at].store(other, Ordering::Relaxed);
                        shared[at].store(honest[at], Ordering::Relaxed);
                    }
                });
                let mut signed = vec![0; ROOM];
                let mut len = signed.len() as CK_ULONG;
                let data = shared.as_ptr().cast_mut().cast();
                let rv = call!(
                    stage.raw,
                    C_Sign(stage.session, data, shared.len() as CK_ULONG, signed.as_mut_ptr(), &mut len)
                );
                done.store(true, Ordering::Relaxed);
                assert_rv!(rv, CKR_OK);
                signed.truncate(len as usize);
                signed
            });
            // Whichever of the two it was, the signatures are for the transaction that came back.
            let mut changed = honest.clone();
            changed[at] = other;
            let was_changed = bitcoin::Psbt::deserialize(&signed).expect("a PSBT").unsigned_tx
                == bitcoin::Psbt::deserialize(&changed).expect("a PSBT").unsigned_tx;
            verify_signed(if was_changed { &changed } else { &honest }, &signed);
        }
    });
}

// The answers.

#[test]
fn one_answer_for_wrong_stale_unknown_unlisted_and_unconfirmed() {
    in_boundary(this_test!(), |_| {
        let mut stage = Stage::new(&["alice", "bob", "carol"]);
        let (mut unlisted, mut unconfirmed) = (None, None);
        stage.as_so(|raw, so| {
            unlisted = Some(enrol_confirmed(raw, so, "unlisted"));
            unconfirmed = Some(enrol(raw, so, "unconfirmed"));
            let users = [(CKA_COUNTERSIGN_USERS, b"alice\nbob\ncarol\nunconfirmed".to_vec())];
            assert_rv!(raw.set_attributes(so, raw.wallet_key(so, "treasury"), &users), CKR_OK);
        });
        let (unlisted, unconfirmed) = (unlisted.expect("made"), unconfirmed.expect("made"));
        let (alice, bob) = (&stage.users[0], &stage.users[1]);
        let psbt = stage.psbt();
        for (what, user, code) in [
            ("wrong", "alice", alice.wrong_code()),
            ("stale", "alice", alice.code_away(-2)),
            ("not live yet", "bob", bob.code_away(2)),
            ("of another user", "bob", alice.code_away(1)),
            ("of a user who does not exist", "nobody", alice.code_away(1)),
            ("of a user whom the wallet does not list", "unlisted", unlisted.code()),
            ("of a user who has not confirmed", "unconfirmed", unconfirmed.code()),
            ("of no user named, where there are several", "", alice.code_away(1)),
            ("six digits of eight", "carol", alice.code_away(1)[..6].to_owned()),
        ] {
            assert_eq!(stage.sign(user, &code, &psbt), Err(CKR_PIN_INCORRECT), "{what}");
        }
        for (user, failures) in [("alice", 2), ("bob", 2), ("carol", 1), ("unconfirmed", 1), ("unlisted", 0)]
        {
            assert_eq!(stage.failures(user), failures, "{user}");
        }
        // If one code of two is wrong, the request is refused, and the right code is not spent.
        let carol = &stage.users[2];
        let both = [approval("carol", &carol.code()), approval("alice", &alice.wrong_code())].concat();
        let refused = stage.raw.countersign(stage.session, stage.key, &both, &psbt);
        assert_eq!(refused, Err(CKR_PIN_INCORRECT));
        let twice = approval("carol", &carol.last_code()).repeat(2);
        stage.as_so(|raw, so| {
            for user in ["alice", "carol"] {
                let unlock = [(CKA_COUNTERSIGN_LOCKED, vec![CK_FALSE])];
                assert_rv!(raw.set_attributes(so, raw.user_key(so, user), &unlock), CKR_OK);
            }
        });
        let refused = stage.raw.countersign(stage.session, stage.key, &twice, &psbt);
        assert_eq!(refused, Err(CKR_PIN_INCORRECT), "one user is one approval");
        let carol = &stage.users[2];
        verify_signed(&psbt, &stage.sign("carol", &carol.last_code(), &psbt).expect("it was never spent"));
    });
}

#[test]
fn otp_guess_the_third_failure_in_a_row_makes_the_user_wait_over_a_restart() {
    in_boundary(this_test!(), |boundary| {
        if boundary.role() == "later" {
            let raw = harness::module::raw::Raw::load();
            assert_rv!(raw.initialize(), CKR_OK);
            let session = raw.user();
            let key = raw.wallet_key(session, "treasury");
            let record = approval("alice", &boundary.noted("code"));
            let psbt = Payment::default().psbt(&boundary.noted("descriptor"));
            assert_eq!(raw.countersign(session, key, &record, &psbt), Err(CKR_PIN_LOCKED));
            return;
        }
        let stage = Stage::new(&["alice"]);
        let alice = &stage.users[0];
        for failures in 1..=3 {
            assert_eq!(stage.sign("alice", &alice.wrong_code(), &stage.psbt()), Err(CKR_PIN_INCORRECT));
            assert_eq!(stage.failures("alice"), failures, "charged before the answer");
        }
        let code = alice.code();
        for code in [&code, &alice.wrong_code()] {
            assert_eq!(stage.sign("alice", code, &stage.psbt()), Err(CKR_PIN_LOCKED), "right or wrong");
        }
        assert_eq!(stage.failures("alice"), 3, "the code was not looked at");
        boundary.note("code", &code);
        boundary.note("descriptor", &stage.descriptor);
        assert_rv!(stage.raw.finalize(), CKR_OK);
        boundary.run("later");
    });
}

#[test]
fn no_signature_without_a_code_or_without_the_backend() {
    in_boundary(this_test!(), |_| {
        let mut stage = Stage::new(&["alice"]);
        let (psbt, code) = (stage.psbt(), stage.users[0].code());
        let record = approval("alice", &code);
        let raw = stage.raw;
        assert_rv!(raw.sign_init(stage.session, CKM_COUNTERSIGN_PSBT, &[], stage.key), CKR_OK);
        assert_eq!(raw.sign(stage.session, &psbt), Err(CKR_USER_NOT_LOGGED_IN), "no code");
        assert_rv!(raw.sign_init(stage.session, CKM_COUNTERSIGN_PSBT, &[], stage.key), CKR_OK);
        assert_rv!(raw.sign_update(stage.session, &psbt), CKR_OK);
        assert_eq!(raw.sign_final(stage.session), Err(CKR_USER_NOT_LOGGED_IN), "no code, in parts");

        let public = raw.read_only();
        stage.as_so(|raw, so| {
            let key = raw.wallet_key(so, "treasury");
            let init = raw.sign_init(so, CKM_COUNTERSIGN_PSBT, &record, key);
            assert_rv!(init, CKR_USER_NOT_LOGGED_IN, "the security officer never signs");
        });
        assert_rv!(raw.close(public), CKR_SESSION_HANDLE_INVALID);
        let (session, key) = (stage.session, stage.key);
        assert_rv!(raw.logout(session), CKR_OK);
        let init = raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &record, key);
        assert_rv!(init, CKR_USER_NOT_LOGGED_IN, "nobody is logged in");
        assert_rv!(raw.login(session, CKU_USER, USER_PIN.as_bytes()), CKR_OK);
        assert_eq!(stage.failures("alice"), 0);
        let key = raw.wallet_key(session, "treasury");
        verify_signed(&psbt, &raw.countersign(session, key, &record, &psbt).expect("nothing was spent"));
    });
}

#[test]
fn raw_digest_a_wallet_s_key_signs_nothing_but_transactions() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let record = approval("alice", &stage.users[0].code());
        let init =
            |mechanism, parameter: &[u8]| stage.raw.sign_init(stage.session, mechanism, parameter, stage.key);
        for parameter in [&record[..], &[]] {
            assert_rv!(init(CKM_COUNTERSIGN_DIGEST, parameter), CKR_KEY_FUNCTION_NOT_PERMITTED);
            assert_rv!(init(CKM_ECDSA, parameter), CKR_KEY_FUNCTION_NOT_PERMITTED);
            for mechanism in [CKM_ECDSA_SHA256, CKM_COUNTERSIGN_TOTP, CKM_EDDSA] {
                assert_rv!(init(mechanism, parameter), CKR_MECHANISM_INVALID);
            }
        }
        let digest = stage.raw.countersign(stage.session, stage.key, &record, &[7; 32]);
        assert_eq!(digest, Err(CKR_DATA_INVALID));
        assert_eq!(stage.failures("alice"), 0);
    });
}

#[test]
fn the_order_and_the_arguments_are_checked() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let (raw, session, key) = (&stage.raw, stage.session, stage.key);
        let init = |parameter: &[u8], key| raw.sign_init(session, CKM_COUNTERSIGN_PSBT, parameter, key);
        let record = approval("alice", &stage.users[0].code());
        let mut psbt = stage.psbt();
        let (data, data_len) = (psbt.as_mut_ptr(), psbt.len() as CK_ULONG);
        let (mut signed, mut len) = (vec![0u8; ROOM], ROOM as CK_ULONG);
        let out = signed.as_mut_ptr();

        assert_eq!(raw.sign(session, &psbt), Err(CKR_OPERATION_NOT_INITIALIZED));
        assert_rv!(raw.sign_update(session, b"x"), CKR_OPERATION_NOT_INITIALIZED);
        assert_eq!(raw.sign_final(session), Err(CKR_OPERATION_NOT_INITIALIZED));
        assert_rv!(raw.login(session, CKU_CONTEXT_SPECIFIC, b"123456"), CKR_OPERATION_NOT_INITIALIZED);

        assert_rv!(init(&record, 9_999), CKR_KEY_HANDLE_INVALID);
        let (alice, public) = (raw.user_key(session, "alice"), raw.wallet_public(session, "treasury"));
        for other in [alice, public] {
            assert_rv!(init(&record, other), CKR_KEY_TYPE_INCONSISTENT);
        }
        let mut broken = CK_MECHANISM {
            mechanism: CKM_COUNTERSIGN_PSBT,
            pParameter: ptr::null_mut(),
            ulParameterLen: 128,
        };
        assert_rv!(call!(raw, C_SignInit(session, &mut broken, key)), CKR_MECHANISM_PARAM_INVALID);
        assert_rv!(init(&record, key), CKR_OK);
        assert_rv!(init(&record, key), CKR_OPERATION_ACTIVE);
        assert_rv!(
            raw.login(session, CKU_CONTEXT_SPECIFIC, b"123456"),
            CKR_USER_ALREADY_LOGGED_IN,
            "the code came with the parameter"
        );
        assert_rv!(call!(raw, C_SignInit(session, ptr::null_mut(), key)), CKR_OK, "it ends the operation");
        assert_eq!(raw.sign(session, &psbt), Err(CKR_OPERATION_NOT_INITIALIZED));

        // A call without a place for the length ends the operation as well.
        assert_rv!(init(&record, key), CKR_OK);
        assert_rv!(call!(raw, C_Sign(session, data, data_len, out, ptr::null_mut())), CKR_ARGUMENTS_BAD);
        assert_rv!(init(&record, key), CKR_OK);
        assert_rv!(call!(raw, C_SignFinal(session, out, ptr::null_mut())), CKR_ARGUMENTS_BAD);
        assert_rv!(init(&record, key), CKR_OK);
        assert_rv!(call!(raw, C_Sign(session, ptr::null_mut(), 5, out, &mut len)), CKR_ARGUMENTS_BAD);
        assert_eq!(raw.sign(session, &psbt), Err(CKR_OPERATION_NOT_INITIALIZED), "a refusal ended it");
        assert_rv!(init(&record, key), CKR_OK);
        assert_rv!(call!(raw, C_SignUpdate(session, ptr::null_mut(), 5)), CKR_ARGUMENTS_BAD);
        assert_rv!(raw.sign_update(session, &psbt), CKR_OPERATION_NOT_INITIALIZED, "a refusal ended it");

        assert_rv!(init(&record, key), CKR_OK);
        assert_rv!(raw.sign_update(session, &psbt), CKR_OK);
        assert_eq!(raw.sign(session, &psbt), Err(CKR_OPERATION_ACTIVE), "it was begun in parts");
        verify_signed(&psbt, &raw.sign_final(session).expect("and ends so"));
        assert_eq!(stage.failures("alice"), 0);

        let of_another = raw.read_only();
        assert_rv!(init(&record, key), CKR_OK);
        assert_eq!(raw.sign(of_another, &psbt), Err(CKR_OPERATION_NOT_INITIALIZED), "each session alone");
    });
}

#[test]
fn oversize_a_psbt_of_100_mb_is_refused_without_eating_memory() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let (raw, session) = (&stage.raw, stage.session);
        let record = approval("alice", &stage.users[0].code());
        let begin = || assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &record, stage.key), CKR_OK);
        let mut huge = stage.psbt();
        huge.resize(100_000_000, 0x5a);
        let (data, data_len) = (huge.as_mut_ptr(), huge.len() as CK_ULONG);
        let mut len = ROOM as CK_ULONG;
        let mut signed = vec![0u8; ROOM];

        let before = peak_memory();
        begin();
        assert_rv!(
            call!(raw, C_Sign(session, data, data_len, ptr::null_mut(), &mut len)),
            CKR_DATA_LEN_RANGE
        );
        begin();
        len = ROOM as CK_ULONG;
        assert_rv!(
            call!(raw, C_Sign(session, data, data_len, signed.as_mut_ptr(), &mut len)),
            CKR_DATA_LEN_RANGE
        );
        begin();
        assert_rv!(call!(raw, C_SignUpdate(session, data, data_len)), CKR_DATA_LEN_RANGE);
        for len in [CK_ULONG::MAX, CK_ULONG::MAX / 2, 1 << 40] {
            begin();
            let mut room = ROOM as CK_ULONG;
            let rv = call!(raw, C_Sign(session, data, len, signed.as_mut_ptr(), &mut room));
            assert_rv!(rv, CKR_DATA_LEN_RANGE, "a length that is a lie");
        }
        assert!(peak_memory() - before < 8 << 20, "it was copied: {} bytes more", peak_memory() - before);

        // In parts: the parts are freed when the bound is exceeded.
        begin();
        let taken = huge.chunks_mut(1 << 20).position(|part| {
            let rv = call!(raw, C_SignUpdate(session, part.as_mut_ptr(), part.len() as CK_ULONG));
            assert!([CKR_OK, CKR_DATA_LEN_RANGE].contains(&rv), "{rv:#x}");
            rv != CKR_OK
        });
        assert_eq!(taken, Some(16), "parts of a mebibyte before the bound");
        assert_rv!(raw.sign_update(session, b"x"), CKR_OPERATION_NOT_INITIALIZED);
        assert!(peak_memory() - before < 64 << 20, "{} bytes more", peak_memory() - before);

        assert_eq!(stage.failures("alice"), 0);
        let psbt = stage.psbt();
        let signed = raw.countersign(session, stage.key, &record, &psbt);
        verify_signed(&psbt, &signed.expect("the code is as good as before"));
    });
}

#[test]
fn oversize_unfinished_operations_of_many_sessions_do_not_eat_memory() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let raw = &stage.raw;
        let part = vec![0; 15 << 20];
        let begin = || {
            let session = raw.read_only();
            let key = raw.wallet_key(session, "treasury");
            assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], key), CKR_OK);
            session
        };
        let sessions: Vec<_> = (0..4).map(|_| begin()).collect();
        for session in &sessions {
            assert_rv!(raw.sign_update(*session, &part), CKR_OK);
        }
        let one_more = begin();
        assert_rv!(raw.sign_update(one_more, &part), CKR_DEVICE_MEMORY);
        assert_rv!(raw.sign_update(one_more, b"x"), CKR_OPERATION_NOT_INITIALIZED, "it ended");
        // What a session gives up is available again: by closing, by cancelling, by an answer.
        assert_rv!(raw.close(sessions[0]), CKR_OK);
        assert_rv!(raw.sign_update(begin(), &part), CKR_OK);
        let code = stage.users[0].code();
        stage.sign("alice", &code, &stage.psbt()).expect("signing in one call goes on");
    });
}

/// The most memory that this process ever had resident, in bytes (`proc_pid_status(5)`).
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it is listed");
    let kibibytes: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kibibytes << 10
}
