//! Transactions that are put before their users (`include/countersign.h`, "Proposed transactions").

use countersign::kernel::consent::{MAX_OF_WALLET, Statement};
use countersign::kernel::rule::Rule;
use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::raw::{Attribute, Raw};
use harness::module::wallet::{Payment, verify_signed};
use harness::module::{LIMITS, Stage, approval, assert_rv, create_wallet, now, read_ulong, this_test, ulong};

use super::in_boundary;

const TICKET: u8 = 2;

fn text(kind: CK_ATTRIBUTE_TYPE, value: &str) -> Attribute {
    (kind, value.as_bytes().to_vec())
}

fn class() -> Attribute {
    (CKA_CLASS, ulong(CKO_COUNTERSIGN_PROPOSAL))
}

/// What proposes a transaction, without those who are asked.
fn template(wallet: &[u8], psbt: &[u8]) -> Vec<Attribute> {
    vec![
        class(),
        (CKA_TOKEN, vec![CK_TRUE]),
        (CKA_VALUE, psbt.to_vec()),
        (CKA_COUNTERSIGN_PROPOSAL_WALLET, wallet.to_vec()),
    ]
}

fn wallet_of(stage: &Stage, label: &str) -> Vec<u8> {
    let key = stage.raw.wallet_key(stage.session, label);
    stage.raw.attribute(stage.session, key, CKA_ID).expect("it has an id")
}

fn propose(stage: &Stage, psbt: &[u8]) -> CK_OBJECT_HANDLE {
    stage.raw.create(stage.session, &template(&wallet_of(stage, "treasury"), psbt)).expect("it is allowed")
}

fn say(stage: &Stage, proposal: CK_OBJECT_HANDLE, kind: CK_ATTRIBUTE_TYPE, word: &str) -> CK_RV {
    stage.raw.set_attributes(stage.session, proposal, &[text(kind, word)])
}

fn approve(stage: &Stage, proposal: CK_OBJECT_HANDLE, user: usize) -> CK_RV {
    let user = &stage.users[user];
    say(stage, proposal, CKA_COUNTERSIGN_CONSENT_APPROVE, &format!("{}:{}", user.name(), user.code()))
}

fn shown(stage: &Stage, proposal: CK_OBJECT_HANDLE, kind: CK_ATTRIBUTE_TYPE) -> Vec<u8> {
    stage.raw.attribute(stage.session, proposal, kind).unwrap_or_else(|rv| panic!("{kind:#x}: {rv:#x}"))
}

fn state(stage: &Stage, proposal: CK_OBJECT_HANDLE) -> CK_ULONG {
    read_ulong(&stage.raw, stage.session, proposal, CKA_COUNTERSIGN_CONSENT_STATE)
}

/// The ticket as an approval record has it.
fn ticket(stage: &Stage, proposal: CK_OBJECT_HANDLE) -> String {
    data_encoding::HEXLOWER.encode(&shown(stage, proposal, CKA_ID))
}

fn record(ticket: &str) -> [u8; 128] {
    let mut record = approval("", ticket);
    record[1] = TICKET;
    record
}

fn sign(stage: &Stage, ticket: &str, psbt: &[u8]) -> Result<Vec<u8>, CK_RV> {
    stage.raw.countersign(stage.session, stage.key, &record(ticket), psbt)
}

fn refused(stage: &Stage, rv: CK_RV, reason: CK_ULONG) {
    assert_rv!(rv, CKR_COUNTERSIGN_ACT_REFUSED, "reason {reason:#x}");
    assert_eq!(stage.raw.device_error(stage.session), reason);
}

fn proposals(raw: &Raw, session: CK_SESSION_HANDLE) -> Vec<CK_OBJECT_HANDLE> {
    raw.find(session, &[class(), (CKA_COUNTERSIGN_PROPOSAL_KIND, ulong(CS_PROPOSAL_TRANSACTION))])
        .expect("it finds")
}

#[test]
fn consent_a_ticket_signs_what_was_shown_and_approved_once_and_nothing_else() {
    in_boundary(this_test!(), |_| {
        let mut stage = Stage::new(&["alice", "bob"]);
        let (psbt, other) = (stage.psbt(), stage.psbt());
        let proposal = propose(&stage, &psbt);
        assert_eq!(proposals(&stage.raw, stage.session), [proposal]);

        // It says what it does, to each of its users.
        let all = String::from_utf8(shown(&stage, proposal, CKA_COUNTERSIGN_STATEMENT)).expect("ASCII");
        let (first, second) = all.split_at(all.rfind("countersign/approve/1").expect("two of them"));
        for (statement, user) in [(first, "alice"), (second, "bob")] {
            let read = Statement::parse(statement).expect("the boundary's own words");
            assert_eq!((&*read.user.name, &*read.label), (user, "treasury"));
            assert_eq!((read.payouts.len(), read.payouts[0].amount, read.fee), (1, 60_000, 1_000));
            assert_eq!(shown(&stage, proposal, CKA_ID), read.nonce);
            assert!((now() + 590..=now() + 600).contains(&read.expires));
            assert_eq!(
                read_ulong(&stage.raw, stage.session, proposal, CKA_COUNTERSIGN_CONSENT_EXPIRES),
                read.expires
            );
        }
        let digests = shown(&stage, proposal, CKA_COUNTERSIGN_CONSENT_DIGEST);
        assert_eq!(digests.len(), 64);
        assert_ne!(digests[..32], digests[32..], "each user approves words of their own");
        assert_eq!(shown(&stage, proposal, CKA_COUNTERSIGN_USERS), b"alice\nbob");
        assert_eq!(shown(&stage, proposal, CKA_LABEL), b"treasury");
        assert_eq!(shown(&stage, proposal, CKA_COUNTERSIGN_PROPOSAL_WALLET), wallet_of(&stage, "treasury"));
        assert_eq!(state(&stage, proposal), CS_CONSENT_OPEN);

        // Nobody has approved yet, and the maker may know.
        let ticket = ticket(&stage, proposal);
        assert_eq!(sign(&stage, &ticket, &psbt), Err(CKR_COUNTERSIGN_PENDING));
        assert_eq!(state(&stage, proposal), CS_CONSENT_OPEN);

        assert_rv!(approve(&stage, proposal, 0), CKR_OK);
        assert_eq!(state(&stage, proposal), CS_CONSENT_APPROVED);
        let given = String::from_utf8(shown(&stage, proposal, CKA_COUNTERSIGN_CONSENT_GIVEN)).expect("UTF-8");
        assert!(given.ends_with(" totp alice\n") && given.lines().count() == 1, "{given}");

        // Another transaction, and another wallet.
        assert_eq!(sign(&stage, &ticket, &other), Err(CKR_PIN_INCORRECT));
        let mut petty = String::new();
        stage.as_so(|raw, so| petty = create_wallet(raw, so, "petty cash", &["alice", "bob"], LIMITS));
        let elsewhere = stage.raw.wallet_key(stage.session, "petty cash");
        let of_petty = Payment::default().psbt(&petty);
        let rv = stage.raw.countersign(stage.session, elsewhere, &record(&ticket), &of_petty);
        assert_eq!(rv, Err(CKR_PIN_INCORRECT));

        let signed = sign(&stage, &ticket, &psbt).expect("approved");
        verify_signed(&psbt, &signed);
        let proposal = proposals(&stage.raw, stage.session)[0];
        assert_eq!(state(&stage, proposal), CS_CONSENT_SPENT);
        // A caller that lost the answer gets it once more, and nothing else.
        assert_eq!(sign(&stage, &ticket, &psbt).as_ref(), Ok(&signed));
        assert_eq!(sign(&stage, &ticket, &other), Err(CKR_PIN_INCORRECT));
        // The code that approved is spent, too.
        let spent = approval("alice", &stage.users[0].last_code());
        for asked in [&psbt, &other] {
            let rv = stage.raw.countersign(stage.session, stage.key, &spent, asked);
            assert_eq!(rv, Err(CKR_PIN_INCORRECT));
        }
    });
}

#[test]
fn consent_a_ticket_comes_by_each_way_in_which_a_code_comes() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice", "bob"]);
        let psbts = [stage.psbt(), stage.psbt()];
        let proposals = psbts.each_ref().map(|psbt| propose(&stage, psbt));
        let tickets = proposals.map(|proposal| ticket(&stage, proposal));
        for (user, proposal) in proposals.into_iter().enumerate() {
            assert_rv!(approve(&stage, proposal, user), CKR_OK);
        }
        let (raw, session) = (&stage.raw, stage.session);
        // As the PIN of a context-specific login. A ticket that is none is no PIN.
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], stage.key), CKR_OK);
        for bad in
            ["#", "#47", &format!("#{}0", tickets[0]), &format!("#{}", tickets[0].to_uppercase() + "!")]
        {
            assert_rv!(raw.login(session, CKU_CONTEXT_SPECIFIC, bad.as_bytes()), CKR_PIN_INVALID, "{bad}");
        }
        let pin = format!("#{}", tickets[0]);
        assert_rv!(raw.login(session, CKU_CONTEXT_SPECIFIC, pin.as_bytes()), CKR_OK);
        verify_signed(&psbts[0], &raw.sign(session, &psbts[0]).expect("approved"));
        // In a message.
        assert_rv!(raw.message_sign_init(session, CKM_COUNTERSIGN_PSBT, stage.key), CKR_OK);
        let signed = raw.sign_message(session, &record(&tickets[1]), &psbts[1]).expect("approved");
        verify_signed(&psbts[1], &signed);
        assert_rv!(raw.message_sign_final(session), CKR_OK);
        // A ticket stands alone, has no user, and is 32 hex digits.
        let beside = [&record(&tickets[1])[..], &approval("alice", "123456")].concat();
        let mut named = record(&tickets[1]);
        (named[2], named[4]) = (1, b'a');
        let short = record(&tickets[1][..31]);
        for malformed in [&beside[..], &named, &short] {
            assert_rv!(
                raw.sign_init(session, CKM_COUNTERSIGN_PSBT, malformed, stage.key),
                CKR_MECHANISM_PARAM_INVALID
            );
        }
    });
}

#[test]
fn consent_a_refused_or_withdrawn_proposal_is_over_for_good() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice", "bob"]);
        let psbts = [stage.psbt(), stage.psbt()];
        let [refusal, withdrawal] = psbts.each_ref().map(|psbt| propose(&stage, psbt));
        let tickets = [refusal, withdrawal].map(|proposal| ticket(&stage, proposal));
        // Enough users approved one of them, and another one says no.
        assert_rv!(approve(&stage, refusal, 0), CKR_OK);
        let word = format!("bob:{}", stage.users[1].code());
        assert_rv!(say(&stage, refusal, CKA_COUNTERSIGN_CONSENT_REFUSE, &word), CKR_OK);
        assert_eq!(state(&stage, refusal), CS_CONSENT_REFUSED);
        assert_eq!(shown(&stage, refusal, CKA_COUNTERSIGN_CONSENT_ENDED), b"bob");
        let wrong = format!("alice:{}", stage.users[0].wrong_code());
        let rv = say(&stage, refusal, CKA_COUNTERSIGN_CONSENT_APPROVE, &wrong);
        refused(&stage, rv, CS_CONSENT_REFUSED_OVER);
        assert_eq!(stage.failures("alice"), 0, "no code was looked at");

        assert_rv!(stage.raw.destroy(stage.session, withdrawal), CKR_OK);
        assert_eq!(
            stage.raw.attribute(stage.session, withdrawal, CKA_COUNTERSIGN_CONSENT_STATE),
            Err(CKR_OBJECT_HANDLE_INVALID)
        );
        for (ticket, psbt) in tickets.iter().zip(&psbts) {
            assert_eq!(sign(&stage, ticket, psbt), Err(CKR_PIN_INCORRECT));
        }
        // So is a ticket that nobody ever had.
        assert_eq!(sign(&stage, &"5a".repeat(16), &psbts[0]), Err(CKR_PIN_INCORRECT));
    });
}

#[test]
fn consent_a_wrong_code_approves_nothing_and_counts_against_its_user() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice", "bob"]);
        let psbt = stage.psbt();
        let proposal = propose(&stage, &psbt);
        let (alice, bob) = (&stage.users[0], &stage.users[1]);
        let of = |user: &str, code: &str| format!("{user}:{code}");
        // Another user's right code is a wrong one, and stays good for its owner.
        let bobs = bob.code();
        for code in [alice.wrong_code(), bobs.clone()] {
            let rv = say(&stage, proposal, CKA_COUNTERSIGN_CONSENT_APPROVE, &of("alice", &code));
            assert_rv!(rv, CKR_PIN_INCORRECT);
        }
        assert_eq!((stage.failures("alice"), stage.failures("bob")), (2, 0));
        assert_eq!(state(&stage, proposal), CS_CONSENT_OPEN);
        let rv = say(&stage, proposal, CKA_COUNTERSIGN_CONSENT_APPROVE, &of("mallory", &bobs));
        refused(&stage, rv, CS_CONSENT_REFUSED_NOT_ASKED);
        for malformed in ["alice", "alice:", "alice:12345a", "alice:123456 "] {
            let rv = say(&stage, proposal, CKA_COUNTERSIGN_CONSENT_APPROVE, malformed);
            assert!(
                [CKR_ATTRIBUTE_VALUE_INVALID, CKR_MECHANISM_PARAM_INVALID].contains(&rv),
                "{malformed}: {rv:#x}"
            );
        }
        assert_eq!(stage.failures("alice"), 2, "what is no code is not tried");
        assert_rv!(say(&stage, proposal, CKA_COUNTERSIGN_CONSENT_APPROVE, &of("bob", &bobs)), CKR_OK);
        verify_signed(&psbt, &sign(&stage, &ticket(&stage, proposal), &psbt).expect("approved"));
    });
}

#[test]
fn consent_what_is_proposed_is_checked_as_it_is_for_a_signature() {
    in_boundary(this_test!(), |_| {
        let mut stage = Stage::new(&["alice", "bob"]);
        let wallet = wallet_of(&stage, "treasury");
        let create = |stage: &Stage, template: &[Attribute]| {
            stage.raw.create(stage.session, template).expect_err("it is refused")
        };
        let too_much = Payment { pay: 100_000, ..Payment::default() }.psbt(&stage.descriptor);
        assert_rv!(create(&stage, &template(&wallet, &too_much)), CKR_COUNTERSIGN_POLICY);
        assert_eq!(stage.raw.device_error(stage.session), CS_RULE_TRANSACTION_MAX_NUMBER);
        let bare = Payment { previous: false, ..Payment::default() }.psbt(&stage.descriptor);
        assert_rv!(create(&stage, &template(&wallet, &bare)), CKR_COUNTERSIGN_PSBT_REFUSED);
        assert_rv!(create(&stage, &template(&wallet, b"no PSBT")), CKR_DATA_INVALID);
        let psbt = stage.psbt();
        assert_rv!(create(&stage, &template(&[7; 16], &psbt)), CKR_ATTRIBUTE_VALUE_INVALID);
        assert_rv!(create(&stage, &template(&[7; 15], &psbt)), CKR_ATTRIBUTE_VALUE_INVALID);
        let with = |stage: &Stage, attribute: Attribute| {
            let mut template = template(&wallet, &psbt);
            template.push(attribute);
            create(stage, &template)
        };
        refused(&stage, with(&stage, text(CKA_COUNTERSIGN_USERS, "mallory")), CS_CONSENT_REFUSED_STRANGER);
        refused(&stage, with(&stage, text(CKA_COUNTERSIGN_USERS, "alice\nalice")), CS_CONSENT_REFUSED_ASKED);
        assert_rv!(with(&stage, (CKA_PRIVATE, vec![CK_FALSE])), CKR_TEMPLATE_INCONSISTENT);
        assert_rv!(with(&stage, text(CKA_LABEL, "mine")), CKR_ATTRIBUTE_READ_ONLY);
        assert_rv!(
            with(&stage, (CKA_COUNTERSIGN_CONSENT_STATE, ulong(CS_CONSENT_APPROVED))),
            CKR_ATTRIBUTE_READ_ONLY
        );
        assert!(proposals(&stage.raw, stage.session).is_empty());

        // The SO sees proposals, and neither makes nor approves any.
        let proposal = propose(&stage, &psbt);
        let ticket = ticket(&stage, proposal);
        let code = stage.users[0].code();
        stage.as_so(|raw, so| {
            let found = proposals(raw, so);
            assert_eq!(found.len(), 1);
            let word = text(CKA_COUNTERSIGN_CONSENT_APPROVE, &format!("alice:{code}"));
            assert_rv!(raw.set_attributes(so, found[0], &[word]), CKR_USER_NOT_LOGGED_IN);
            assert_rv!(raw.destroy(so, found[0]), CKR_USER_NOT_LOGGED_IN);
            assert_eq!(raw.create(so, &template(&wallet, &psbt)), Err(CKR_USER_NOT_LOGGED_IN));
        });
        assert_eq!(sign(&stage, &ticket, &psbt), Err(CKR_COUNTERSIGN_PENDING));
        // Without a login nobody sees one.
        assert_rv!(stage.raw.logout(stage.session), CKR_OK);
        assert!(proposals(&stage.raw, stage.session).is_empty());
    });
}

#[test]
fn consent_device_each_user_has_a_line_for_their_device_and_only_a_registered_one_signs_it() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice", "bob"]);
        let proposal = propose(&stage, &stage.psbt());
        let lines = |kind| String::from_utf8(shown(&stage, proposal, kind)).expect("ASCII");
        let (approvals, refusals) =
            (lines(CKA_COUNTERSIGN_DEVICE_APPROVAL), lines(CKA_COUNTERSIGN_DEVICE_REFUSAL));
        for (lines, word) in [(&approvals, "approve: "), (&refusals, "refuse: ")] {
            let lines: Vec<&str> = lines.lines().collect();
            assert_eq!(lines.len(), 2);
            for line in &lines {
                assert!(line.starts_with(word) && line.len() <= 240 && line.contains("0.00060000"), "{line}");
            }
            assert_ne!(lines[0], lines[1], "each user's own");
        }
        let signature = "H".repeat(87) + "=";
        for kind in [CKA_COUNTERSIGN_APPROVE_SIGNED, CKA_COUNTERSIGN_REFUSE_SIGNED] {
            refused(
                &stage,
                say(&stage, proposal, kind, &format!("alice:{signature}")),
                CS_CONSENT_REFUSED_NO_DEVICE,
            );
            refused(
                &stage,
                say(&stage, proposal, kind, &format!("mallory:{signature}")),
                CS_CONSENT_REFUSED_NOT_ASKED,
            );
        }
        assert_eq!((state(&stage, proposal), stage.failures("alice")), (CS_CONSENT_OPEN, 0));
    });
}

#[test]
fn consent_where_the_policy_asks_for_it_a_fresh_code_signs_nothing() {
    in_boundary(this_test!(), |_| {
        let mut stage = Stage::new(&["alice", "bob"]);
        let asks = format!("{LIMITS}consent_from_sat = 50000\nconsent_by = [\"device\"]\n");
        stage.as_so(|raw, so| {
            let wallet = raw.wallet_public(so, "treasury");
            assert_rv!(raw.set_attributes(so, wallet, &[text(CKA_COUNTERSIGN_POLICY, &asks)]), CKR_OK);
        });
        let psbt = stage.psbt();
        let code = stage.users[0].code();
        assert_eq!(stage.sign("alice", &code, &psbt), Err(CKR_COUNTERSIGN_POLICY));
        assert_eq!(stage.raw.device_error(stage.session), CK_ULONG::from(Rule::Consent.number()));
        // Nor does a code that passed the backend on its way to a proposal, and it is not looked at.
        let proposal = propose(&stage, &psbt);
        let bobs = stage.users[1].code();
        let word = format!("bob:{bobs}");
        let rv = say(&stage, proposal, CKA_COUNTERSIGN_CONSENT_APPROVE, &word);
        refused(&stage, rv, CS_CONSENT_REFUSED_MEANS);
        assert_eq!(sign(&stage, &ticket(&stage, proposal), &psbt), Err(CKR_COUNTERSIGN_PENDING));
        assert_rv!(
            say(&stage, proposal, CKA_COUNTERSIGN_CONSENT_REFUSE, &word),
            CKR_OK,
            "whoever objects may"
        );
        let small = Payment { pay: 40_000, ..Payment::default() }.psbt(&stage.descriptor);
        assert_eq!(stage.sign("alice", &code, &small), Err(CKR_PIN_INCORRECT), "a refusal spends the code");
    });
}

#[test]
fn consent_proposals_without_end_take_a_bounded_room() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice", "bob"]);
        let psbt = stage.psbt();
        let made: Vec<_> = (0..MAX_OF_WALLET).map(|_| propose(&stage, &psbt)).collect();
        let template = template(&wallet_of(&stage, "treasury"), &psbt);
        let rv = stage.raw.create(stage.session, &template).expect_err("there is no room");
        refused(&stage, rv, CS_CONSENT_REFUSED_ROOM);
        // What is over makes room, and none of the others.
        assert_rv!(stage.raw.destroy(stage.session, made[3]), CKR_OK);
        assert!(stage.raw.create(stage.session, &template).is_ok());
        assert_eq!(proposals(&stage.raw, stage.session).len(), MAX_OF_WALLET);
        // Codes sign all the same.
        let code = stage.users[0].code();
        assert!(stage.sign("alice", &code, &psbt).is_ok());
    });
}

const CS_RULE_TRANSACTION_MAX_NUMBER: CK_ULONG = 7;
