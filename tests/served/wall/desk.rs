//! The desk's door: by it users' words come in, and nothing else. The pages of the desk are in `pages`.

mod pages;

use countersign::kernel::consent::Statement;
use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;
use data_encoding::HEXLOWER;

use harness::module::raw::{Attribute, Raw};
use harness::module::wallet::verify_signed;
use harness::module::{LIMITS, approval, assert_rv, read_ulong, report, this_test, ulong};
use harness::users::{BACKEND, DESK, USER, WALLET, Wall, behind_the_wall};

fn class() -> Attribute {
    (CKA_CLASS, ulong(CKO_COUNTERSIGN_PROPOSAL))
}

fn word(kind: CK_ATTRIBUTE_TYPE, user: &str, code: &str) -> Attribute {
    (kind, format!("{user}:{code}").into_bytes())
}

/// A session of a backend that is logged in.
fn backend(wall: &Wall) -> (Raw, CK_SESSION_HANDLE) {
    let raw = Raw::load();
    assert_rv!(raw.initialize(), CKR_OK);
    let session = raw.read_write();
    assert_rv!(raw.login(session, CKU_USER, wall.given("user.pin").as_bytes()), CKR_OK);
    (raw, session)
}

/// Proposes the transaction that the backend was given.
fn propose(wall: &Wall, (raw, session): (Raw, CK_SESSION_HANDLE)) -> CK_OBJECT_HANDLE {
    let key = raw.wallet_key(session, WALLET);
    let wallet = raw.attribute(session, key, CKA_ID).expect("it has an id");
    let psbt = HEXLOWER.decode(wall.given("psbt").as_bytes()).expect("hex");
    let template =
        [class(), (CKA_TOKEN, vec![CK_TRUE]), (CKA_VALUE, psbt), (CKA_COUNTERSIGN_PROPOSAL_WALLET, wallet)];
    raw.create(session, &template).expect("it is allowed")
}

fn ticket_of((raw, session): (Raw, CK_SESSION_HANDLE), proposal: CK_OBJECT_HANDLE) -> String {
    HEXLOWER.encode(&raw.attribute(session, proposal, CKA_ID).expect("it has one"))
}

/// What becomes of a signature by this ticket.
fn sign(wall: &Wall, ticket: &str) {
    let (raw, session) = backend(wall);
    let psbt = HEXLOWER.decode(wall.given("psbt").as_bytes()).expect("hex");
    let mut record = approval("", ticket);
    record[1] = 2;
    match raw.countersign(session, raw.wallet_key(session, WALLET), &record, &psbt) {
        Ok(signed) => report("answer", HEXLOWER.encode(&signed)),
        Err(rv) => report("answer", format!("{rv:#x} {}", raw.device_error(session))),
    }
}

/// A session at the desk, which nobody logs in to.
fn desk() -> (Raw, CK_SESSION_HANDLE) {
    let raw = Raw::load();
    assert_rv!(raw.initialize(), CKR_OK);
    (raw, raw.read_write())
}

/// The one proposal that the desk finds by its ticket.
fn find((raw, session): (Raw, CK_SESSION_HANDLE), ticket: &str) -> CK_OBJECT_HANDLE {
    let id = HEXLOWER.decode(ticket.as_bytes()).expect("hex");
    let found = raw.find(session, &[class(), (CKA_ID, id)]).expect("it finds");
    assert_eq!(found.len(), 1);
    found[0]
}

#[test]
fn consent_a_word_that_comes_by_the_desk_approves_and_its_ticket_signs() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            let serving = wall.serve();
            let customer = wall.set_up_wallet();
            let psbt = customer.order(wall, "none");
            let proposed = wall.run(BACKEND, "propose");
            let ticket = proposed.value("ticket");
            wall.write("desk/ticket", ticket, DESK);
            wall.write("desk/wrong", &customer.wrong_code(), DESK);
            wall.write("desk/code", &customer.code(), DESK);
            let _ = wall.run(DESK, "approve");
            wall.give("ticket", ticket);
            let signed = wall.run(BACKEND, "sign").value("answer").to_owned();
            verify_signed(&psbt, &HEXLOWER.decode(signed.as_bytes()).expect("a PSBT in hex"));
            assert!(serving.stop().success());
        }
        "propose" => {
            let at = backend(wall);
            report("ticket", ticket_of(at, propose(wall, at)));
        }
        "approve" => {
            let noted =
                |name: &str| std::fs::read_to_string(wall.path("desk").join(name)).expect("it is ours");
            let at @ (raw, session) = desk();
            let proposal = find(at, &noted("ticket"));
            assert_eq!(raw.find(session, &[class()]), Ok(vec![proposal]), "it finds all of them");
            let text = raw.attribute(session, proposal, CKA_COUNTERSIGN_STATEMENT).expect("it is shown");
            let read =
                Statement::parse(core::str::from_utf8(&text).expect("ASCII")).expect("one user is asked");
            assert_eq!((&*read.user.name, &*read.label), (USER, WALLET));
            let say = |kind, code: &str| raw.set_attributes(session, proposal, &[word(kind, USER, code)]);
            assert_rv!(say(CKA_COUNTERSIGN_CONSENT_APPROVE, &noted("wrong")), CKR_PIN_INCORRECT);
            let standing = || read_ulong(&raw, session, proposal, CKA_COUNTERSIGN_CONSENT_STATE);
            assert_eq!(standing(), CS_CONSENT_OPEN);
            assert_rv!(say(CKA_COUNTERSIGN_CONSENT_APPROVE, &noted("code")), CKR_OK);
            assert_eq!(standing(), CS_CONSENT_APPROVED);
        }
        _ => sign(wall, &wall.given("ticket")),
    });
}

#[test]
fn consent_by_desk_counts_a_code_typed_there_and_none_that_passed_a_backend() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            let serving = wall.serve();
            let customer = wall.set_up_wallet();
            let _ = wall.run(0, "ask for the desk");
            let code = customer.code();
            let psbt = customer.order(wall, &code);
            let ticket = wall.run(BACKEND, "approve by backend").value("ticket").to_owned();
            wall.give("ticket", &ticket);
            let waits = format!("{CKR_COUNTERSIGN_PENDING:#x} 0");
            assert_eq!(wall.run(BACKEND, "sign").value("answer"), waits);
            // Nobody looked at the code, so it is good at the desk.
            wall.write("desk/ticket", &ticket, DESK);
            wall.write("desk/word", &format!("{USER}:{code}"), DESK);
            let _ = wall.run(DESK, "approve at the desk");
            let signed = wall.run(BACKEND, "sign").value("answer").to_owned();
            verify_signed(&psbt, &HEXLOWER.decode(signed.as_bytes()).expect("a PSBT in hex"));
            assert!(serving.stop().success());
        }
        "ask for the desk" => {
            let raw = Raw::load();
            assert_rv!(raw.initialize(), CKR_OK);
            let so = raw.read_write();
            assert_rv!(raw.login(so, CKU_SO, wall.noted("so.pin").as_bytes()), CKR_OK);
            let policy = format!("{LIMITS}consent_from_sat = 0\nconsent_by = [\"desk\"]\n");
            let policy = (CKA_COUNTERSIGN_POLICY, policy.into_bytes());
            assert_rv!(raw.set_attributes(so, raw.wallet_public(so, WALLET), &[policy]), CKR_OK);
        }
        "approve by backend" => {
            let at @ (raw, session) = backend(wall);
            let proposal = propose(wall, at);
            let word = word(CKA_COUNTERSIGN_CONSENT_APPROVE, USER, &wall.given("code"));
            assert_rv!(raw.set_attributes(session, proposal, &[word]), CKR_COUNTERSIGN_ACT_REFUSED);
            assert_eq!(raw.device_error(session), CS_CONSENT_REFUSED_MEANS);
            report("ticket", ticket_of(at, proposal));
        }
        "approve at the desk" => {
            let noted =
                |name: &str| std::fs::read_to_string(wall.path("desk").join(name)).expect("it is ours");
            let at @ (raw, session) = desk();
            let word = (CKA_COUNTERSIGN_CONSENT_APPROVE, noted("word").into_bytes());
            assert_rv!(raw.set_attributes(session, find(at, &noted("ticket")), &[word]), CKR_OK);
        }
        _ => sign(wall, &wall.given("ticket")),
    });
}

#[test]
fn the_desk_logs_in_as_nobody_sees_proposals_alone_and_does_nothing_but_bring_words() {
    behind_the_wall(this_test!(), |wall| match wall.role() {
        "body" => {
            let serving = wall.serve();
            let customer = wall.set_up_wallet();
            let _ = customer.order(wall, "none");
            let ticket = wall.run(BACKEND, "propose").value("ticket").to_owned();
            for (name, text) in
                [("ticket", ticket), ("so.pin", wall.noted("so.pin")), ("user.pin", wall.noted("user.pin"))]
            {
                wall.write(&format!("desk/{name}"), &text, DESK);
            }
            let _ = wall.run(DESK, "desk");
            assert!(serving.log().contains("refused a call of the desk"), "{}", serving.log());
            // Its tries were charged to nobody, so both PINs are good.
            let _ = wall.run(0, "officer");
            let _ = wall.run(BACKEND, "propose");
            assert!(serving.stop().success());
        }
        "propose" => {
            let at = backend(wall);
            report("ticket", ticket_of(at, propose(wall, at)));
        }
        "officer" => {
            let raw = Raw::load();
            assert_rv!(raw.initialize(), CKR_OK);
            let flags = raw.token_info().flags;
            assert_eq!(flags & (CKF_SO_PIN_COUNT_LOW | CKF_USER_PIN_COUNT_LOW), 0);
            assert_rv!(raw.login(raw.read_write(), CKU_SO, wall.noted("so.pin").as_bytes()), CKR_OK);
        }
        _ => refused_at_the_desk(wall),
    });
}

/// Everything that others may do, tried at the desk with all their PINs.
fn refused_at_the_desk(wall: &Wall) {
    const NO: CK_RV = CKR_ACTION_PROHIBITED;
    let noted = |name: &str| std::fs::read_to_string(wall.path("desk").join(name)).expect("it is ours");
    let at @ (raw, session) = desk();
    let proposal = find(at, &noted("ticket"));
    let (so_pin, user_pin) = (noted("so.pin"), noted("user.pin"));
    for (who, pin) in [(CKU_SO, &so_pin), (CKU_USER, &user_pin), (CKU_CONTEXT_SPECIFIC, &user_pin)] {
        for pin in [pin.as_bytes(), b"a wrong one"] {
            for _ in 0..12 {
                assert_rv!(raw.login(session, who, pin), NO, "{who}");
            }
        }
        assert_rv!(raw.login_user(session, who, pin.as_bytes(), b"alice"), NO);
    }
    assert_eq!(raw.state(session), Ok(CKS_RW_PUBLIC_SESSION));
    assert_rv!(raw.logout(session), NO);
    assert_rv!(raw.init_pin(session, b"another one"), NO);
    assert_rv!(raw.set_pin(session, user_pin.as_bytes(), b"another one"), NO);

    // Nothing but proposed transactions is there for it, by whatever search.
    for class in [CKO_PRIVATE_KEY, CKO_PUBLIC_KEY, CKO_OTP_KEY, CKO_HW_FEATURE, CKO_PROFILE, CKO_DATA] {
        assert_eq!(raw.find(session, &[(CKA_CLASS, ulong(class))]), Ok(vec![]), "{class:#x}");
    }
    assert_eq!(raw.find(session, &[]), Ok(vec![]));
    assert_eq!(raw.find(session, &[(CKA_CLASS, ulong(CKO_COUNTERSIGN_OFFICERS))]), Ok(vec![]));
    assert_eq!(raw.find(session, &[class()]), Ok(vec![proposal]));
    let acts = [class(), (CKA_COUNTERSIGN_PROPOSAL_KIND, ulong(CS_PROPOSAL_ACT))];
    assert_eq!(raw.find(session, &acts), Ok(vec![]));

    // It neither makes nor withdraws any, and changes nothing else of them.
    assert_rv!(raw.destroy(session, proposal), NO);
    let object = [class(), (CKA_TOKEN, vec![CK_TRUE]), (CKA_VALUE, b"psbt".to_vec())];
    assert_eq!(raw.create(session, &object), Err(NO));
    assert_eq!(raw.create(session, &[(CKA_CLASS, ulong(CKO_DATA))]), Err(NO));
    assert_eq!(raw.copy(session, proposal, &[]), Err(NO));
    assert_eq!(raw.object_size(session, proposal), Err(NO));
    let state = (CKA_COUNTERSIGN_CONSENT_STATE, ulong(CS_CONSENT_APPROVED));
    assert_rv!(raw.set_attributes(session, proposal, &[state]), CKR_ATTRIBUTE_READ_ONLY);
    assert_eq!(raw.attribute(session, proposal, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
    // The handles of others are no handles here.
    for handle in (1..200).filter(|handle| *handle != proposal) {
        assert_eq!(raw.attribute(session, handle, CKA_CLASS), Err(CKR_OBJECT_HANDLE_INVALID));
    }

    // It signs nothing, verifies no code, makes no key, and draws no randomness.
    assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], proposal), NO);
    assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &approval(USER, "123456"), 1), NO);
    assert_eq!(raw.countersign(session, 1, &approval(USER, "123456"), b"psbt"), Err(NO));
    assert_eq!(raw.sign_final(session), Err(NO));
    assert_rv!(raw.message_sign_init(session, CKM_COUNTERSIGN_PSBT, 1), NO);
    assert_rv!(raw.verify_init(session, 1), NO);
    assert_eq!(raw.generate_key(session, CKM_COUNTERSIGN_TOTP_KEY_GEN, &[]), Err(NO));
    assert_eq!(raw.random(session, 8), Err(NO));
    assert_rv!(raw.close_all(), CKR_OK);
    assert_rv!(raw.init_token(0, so_pin.as_bytes(), "mine"), NO);
}
