use super::*;

#[test]
fn consent_an_approved_ticket_signs_its_transaction_once() {
    let mut store = approved();
    let first = store.sign_usual().expect("it signs");
    assert!(first.1, "spent now");
    let places: Vec<_> = store.written.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, [RecordKey::pending(&TICKET), WALLET], "one commit");
    assert_eq!(store.unchanged, [RecordKey::user("alice")], "alice's record is what it was");
    assert_eq!(store.fates(), [(Some("alice".into()), Fate::Spent)]);
    let Some(Event::Tried { asked: Asked::Ticket { ticket, asked }, .. }) = &store.event else {
        panic!("told")
    };
    assert!(*ticket == TICKET && matches!(**asked, Asked::Digest(_)));
    assert_eq!((store.standing(), store.signed()), (Standing::Spent, 1));
    // The same request within two minutes: the same randomness, and nothing is counted.
    store.now += 119;
    assert_eq!(store.sign_usual(), Ok((first.0, false)));
    assert_eq!((store.fates(), store.signed()), (vec![(Some("alice".into()), Fate::Repeated)], 1));
    store.now += 1;
    assert_eq!(store.sign_usual(), Err(Declined::Code));
    assert_eq!(store.signed(), 1);
}

#[test]
fn consent_a_spent_ticket_signs_nothing_else() {
    let mut store = approved();
    store.sign_usual().expect("it signs");
    assert_eq!(store.sign(&key(1), key(1).request([9; 32]), &TICKET), Err(Declined::Code));
    assert_eq!(store.fates(), [(Some("alice".into()), Fate::Wrong)]);
}

#[test]
fn consent_a_ticket_is_wrong_for_another_transaction_wallet_or_restoration_and_once_it_is_over() {
    let fails = |change: &dyn Fn(&mut Store), why: &str| {
        let mut store = approved();
        change(&mut store);
        assert_eq!(store.sign_usual(), Err(Declined::Code), "{why}");
        assert_eq!(store.signed(), 0, "{why}");
    };
    assert_eq!(
        approved().sign(&key(1), key(1).request([9; 32]), &TICKET),
        Err(Declined::Code),
        "another digest"
    );
    assert_eq!(approved().sign(&key(1), request(), &[1; 16]), Err(Declined::Code), "unknown");
    fails(&|store| store.now += DEFAULT_LIFETIME + 1, "expired");
    fails(&|store| store.epoch = Epoch { number: 1, at: 5 }, "restored since");
    fails(
        &|store| {
            let decision = withdraw(&store.pending(), Some("backend"), store.now).expect("its maker");
            assert!(store.write(decision).is_some());
        },
        "withdrawn",
    );
    fails(
        &|store| {
            let mut other = store.proposal(TICKET, 1, request().binding());
            other = Pending::decode(&other.encode()).expect("it reads");
            store.put(RecordKey::pending(&TICKET), &other);
            store.now += DEFAULT_LIFETIME + 1;
        },
        "never approved",
    );
    // Another wallet: its state is at another place.
    let store = approved();
    let entropy = Zeroizing::new(ENTROPY);
    let mut other = approved();
    let place = RecordKey { kind: Kind::WalletState, id: [1; 16] };
    other.put(place, &WalletState::default());
    let (claims, state) = (vec![store.ticket(&TICKET)], other.read(place));
    let decided =
        decide::<_, Not>((&key(1), request()), claims, &state, |_| Ok(false), store.moment(&entropy));
    let opened = other.write(decided.expect("decided")).expect("written").open();
    assert_eq!(opened.answer.err(), Some(Declined::Code));
}

#[test]
fn a_ticket_that_waits_for_approvals_costs_nothing_and_one_for_something_else_is_wrong() {
    let mut store = Store::new(2);
    store.approve("alice");
    let decided = store.decide_ticket(&key(1), request(), vec![store.ticket(&TICKET)]);
    assert_eq!(decided.err(), Some(Not::Tried(Untried::Pending)));
    assert_eq!(store.sign(&key(1), key(1).request([9; 32]), &TICKET), Err(Declined::Code), "another digest");
    store.approve("carol");
    assert!(store.sign_usual().is_ok());
    assert_eq!(store.fates(), ["alice", "carol"].map(|name| (Some(name.into()), Fate::Spent)));
    assert_eq!(store.sign(&key(1), key(1).request([9; 32]), &TICKET), Err(Declined::Code));
    let [alice, carol] = ["alice", "carol"].map(|name| Some(name.to_owned()));
    assert_eq!(
        store.fates(),
        [(alice, Fate::Wrong), (carol, Fate::Kept)],
        "one wrong ticket, whoever approved it"
    );
}

#[test]
fn a_refusal_by_the_policy_does_not_spend_the_ticket() {
    let mut store = approved();
    assert_eq!(store.sign(&key(2), request(), &TICKET), Err(Declined::Policy(Rule::Approvals)));
    assert_eq!(store.fates(), [(Some("alice".into()), Fate::Kept)]);
    assert_eq!((store.standing(), store.signed()), (Standing::Approved, 0));
    store.approve("bob");
    assert!(store.sign(&key(2), request(), &TICKET).is_ok(), "once the policy allows it");
    assert_eq!(store.signed(), 1);
}

#[test]
fn an_approval_counts_only_while_its_user_may_sign() {
    let two = || {
        let mut store = Store::new(2);
        store.approve("alice");
        store.approve("bob");
        store
    };
    let answer = |change: &dyn Fn(&mut Store)| {
        let mut store = two();
        change(&mut store);
        store.sign(&key(2), request(), &TICKET).map(drop)
    };
    assert_eq!(answer(&|_| ()), Ok(()));
    let too_few = Err(Declined::Policy(Rule::Approvals));
    assert_eq!(answer(&|store| drop(store.records.remove(&RecordKey::user("bob")))), too_few, "removed");
    let again = UserRecord { factor: Factor::totp(otp("zoe")), ..user_record("bob") };
    assert_eq!(answer(&|store| store.put(RecordKey::user("bob"), &again)), too_few, "enrolled again");
    let unconfirmed = UserRecord { confirmed: false, ..user_record("bob") };
    assert_eq!(answer(&|store| store.put(RecordKey::user("bob"), &unconfirmed)), too_few, "not confirmed");
    let nobody = |store: &mut Store| {
        ["alice", "bob"].iter().for_each(|name| drop(store.records.remove(&RecordKey::user(name))));
    };
    assert!(answer(&nobody).is_err(), "nobody is left");
}

#[test]
fn outcome_leak_a_ticket_writes_the_same_whether_it_is_right_or_wrong() {
    let mut right = approved();
    right.sign_usual().expect("it signs");
    let len = |store: &Store| postcard::to_allocvec(&store.event).expect("it is written").len();
    let mut refused = approved();
    assert!(refused.sign(&key(2), request(), &TICKET).is_err());
    let mut other = approved();
    assert!(other.sign(&key(1), key(1).request([9; 32]), &TICKET).is_err());
    let mut expired = approved();
    expired.now += DEFAULT_LIFETIME + 1;
    assert!(expired.sign_usual().is_err());
    for store in [&refused, &other, &expired] {
        assert_eq!((&store.written, len(store)), (&right.written, len(&right)));
    }
}

#[test]
fn consent_two_signatures_that_race_for_one_ticket_have_one_winner() {
    let mut store = approved();
    let decide = |store: &Store| {
        store.decide_ticket(&key(1), request(), vec![store.ticket(&TICKET)]).expect("it is decided")
    };
    let (one, other) = (decide(&store), decide(&store));
    assert!(store.write(one).is_some());
    assert!(store.write(other).is_none(), "decided before the first one was written");
    // An approval and a refusal.
    let mut store = Store::new(1);
    let approval = store.decide_word(Word::Approve, "alice", store.claim("alice", &code("alice", NOW)));
    let refusal = store.decide_word(Word::Refuse, "bob", store.claim("bob", &code("bob", NOW)));
    assert!(store.write(refusal.expect("decided")).is_some());
    assert!(store.write(approval.expect("decided")).is_none());
    // A refusal, after a signature was decided and before it is written.
    let mut store = approved();
    let signature = decide(&store);
    assert_eq!(store.say(Word::Refuse, "bob", &code("bob", NOW)), Ok(Ok(true)));
    assert!(store.write(signature).is_none());
    // The user was enrolled again meanwhile.
    let mut store = approved();
    let signature = decide(&store);
    store.put(RecordKey::user("alice"), &user_record("alice"));
    assert!(store.write(signature).is_none());
}

#[test]
fn a_ticket_stands_alone_and_is_no_users_code() {
    let store = approved();
    for claims in [
        vec![store.ticket(&TICKET), store.ticket(&TICKET)],
        vec![store.ticket(&TICKET), store.claim("bob", &code("bob", NOW))],
        vec![store.claim("bob", &code("bob", NOW)), store.ticket(&TICKET)],
    ] {
        let mut store = approved();
        let decision = store.decide_ticket(&key(1), request(), claims).expect("decided");
        assert_eq!(store.write(decision).expect("written").open().answer.err(), Some(Declined::Code));
    }
    // A ticket for a user's record, and a code for a ticket's.
    let (ticket, code) = (store.ticket(&TICKET), store.claim("alice", &code("alice", NOW + 30)));
    let crossed = [
        Claim { approval: ticket.approval, subject: code.subject, released_at: None },
        Claim { approval: code.approval, subject: ticket.subject, released_at: None },
    ];
    for claim in crossed {
        let mut store = approved();
        let decision = store.decide_ticket(&key(1), request(), vec![claim]).expect("decided");
        assert_eq!(store.write(decision).expect("written").open().answer.err(), Some(Declined::Code));
        assert_eq!(store.signed(), 0);
    }
}

#[test]
fn the_doors_take_no_ticket_yet() {
    let mut record = [0; 128];
    record[..4].copy_from_slice(&[1, 2, 0, 32]);
    record[64..96].copy_from_slice(&[b'4'; 32]);
    assert!(Approval::parse_or_ticket(&record).is_ok());
    assert_eq!(Approval::parse(&record).err(), Some(ApprovalError::Factor(2)));
    let pin = b"#44444444444444444444444444444444";
    assert!(Approval::parse_pin_or_ticket(pin).is_ok());
    assert_eq!(Approval::parse_pin(pin).err(), Some(ApprovalError::Code));
}

#[test]
fn a_ticket_is_parsed_from_a_record_and_from_a_pin_without_a_user() {
    let digits = b"47474747474747474747474747474747";
    let record = |user: &[u8], code: &[u8]| {
        let mut record = [0; 128];
        record[..4].copy_from_slice(&[1, 2, user.len() as u8, code.len() as u8]);
        record[4..4 + user.len()].copy_from_slice(user);
        record[64..64 + code.len()].copy_from_slice(code);
        record
    };
    let parsed = Approval::parse_or_ticket(&record(b"", digits)).expect("a ticket");
    assert_eq!((parsed[0].ticket(), parsed[0].user()), (Some(&TICKET), None));
    let error = |parameter: &[u8]| Approval::parse_or_ticket(parameter).err();
    assert_eq!(error(&record(b"alice", digits)), Some(ApprovalError::Ticket));
    assert_eq!(error(&record(b"", &digits[1..])), Some(ApprovalError::Ticket));
    assert_eq!(error(&record(b"", b"123456")), Some(ApprovalError::Ticket));
    assert_eq!(error(&record(b"", digits).repeat(2)), Some(ApprovalError::NotAlone));
    let mut code = record(b"alice", b"123456");
    code[1] = 1;
    assert_eq!(error(&[record(b"", digits), code].concat()), Some(ApprovalError::NotAlone));
    for pin in [
        "#",
        "#4747",
        "#474747474747474747474747474747474",
        "#4747474747474747474747474747474g",
        "##7474747474747474747474747474747",
    ] {
        assert_eq!(Approval::parse_pin_or_ticket(pin.as_bytes()).err(), Some(ApprovalError::Ticket), "{pin}");
    }
    assert!(Approval::parse_pin_or_ticket(b"alice:#47474747474747474747474747474747").is_err());
    assert!(Approval::parse_pin_or_ticket(b"47474747474747474747474747474747").is_err());
    let named = Approval::parse_pin_or_ticket(b"#1:123456").expect("a name may begin so");
    assert_eq!((named.user(), named.ticket()), (Some("#1"), None));
}
