//! What each event has of its own, as the fields of its line.

mod act;

use countersign::kernel::audit::{
    Answer, Asked, ConsentFacts, ConsentStep, DeviceWord, DigestFacts, Event, Fate, OfficerSignature,
    PasskeyWord, PendingStep, ProposalStep, Step, TransactionFacts, TriedCode,
};
use countersign::kernel::direction::Direction;
use countersign::kernel::pin::Role;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde::Serialize;
use serde_json::{Value, json};

/// The fields that only some events have.
#[derive(Default, Serialize)]
pub(super) struct Facts<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    users: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wrong: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wallet: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    txid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leaves_sat: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fee_sat: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    codes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    moved_s: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    anchor: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    users_added: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    users_removed: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_tightens: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_loosens: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label_before: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    registered: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reach: Option<[u32; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reach_before: Option<[u32; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_before_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    does: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    officers: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passkey: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assertion: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    means: Option<&'static str>,
}

impl<'a> Facts<'a> {
    /// The event's name and its own fields. A new event does not compile until it is added here.
    pub(super) fn of(event: &'a Event) -> (&'static str, Facts<'a>) {
        match event {
            Event::Act(act) => (act.deed.tag(), Facts::of_act(act)),
            Event::Initialised => ("initialised", Facts::default()),
            Event::PinCharged(role) => ("pin-charged", Facts::of_role(*role)),
            Event::PinAccepted(role) => ("pin-accepted", Facts::of_role(*role)),
            Event::PinSet(role) => ("pin-set", Facts::of_role(*role)),
            Event::UserAdded(user) => ("user-added", Facts::of_users(std::slice::from_ref(user))),
            Event::UserRemoved(user) => ("user-removed", Facts::of_users(std::slice::from_ref(user))),
            Event::UserUnlocked(user) => ("user-unlocked", Facts::of_users(std::slice::from_ref(user))),
            Event::CodeCharged(users) => ("code-charged", Facts::of_users(users)),
            Event::CodeAccepted(user) => ("code-accepted", Facts::of_users(std::slice::from_ref(user))),
            Event::WalletCreated(label) => ("wallet-created", Facts::of_wallet(label)),
            Event::WalletChanged(label) => ("wallet-changed", Facts::of_wallet(label)),
            Event::PolicyRefused { users, transaction, rule } => {
                ("policy-refused", Facts { rule: Some(rule), ..Facts::of_users(users).with(transaction) })
            }
            Event::Countersigned { users, transaction } => {
                ("countersigned", Facts::of_users(users).with(transaction))
            }
            Event::ClockTaken { moved } => ("clock-taken", Facts { moved_s: *moved, ..Facts::default() }),
            Event::Charged { users, codes, transaction } => {
                let facts = Facts { codes: Some(*codes), ..Facts::of_users(users) };
                let facts = match transaction {
                    Some(transaction) => facts.with(transaction),
                    None => facts,
                };
                ("charged", facts)
            }
            Event::Repeated { users, transaction } => ("repeated", Facts::of_users(users).with(transaction)),
            Event::Stopped { failures } => {
                ("stopped", Facts { failures: Some(*failures), ..Facts::default() })
            }
            Event::Restored { epoch, store, anchor } => {
                let facts =
                    Facts { epoch: Some(*epoch), store: Some(*store), anchor: *anchor, ..Facts::default() };
                ("restored", facts)
            }
            // The council is not repeated here: "officers-set" showed it when it was put in force.
            Event::RestoredByOfficers { epoch, store, anchor, officers, council: _ } => {
                let officers = Some(officers.iter().map(|key| HEXLOWER.encode(key)).collect());
                let facts = Facts {
                    epoch: Some(*epoch),
                    store: Some(*store),
                    anchor: *anchor,
                    officers,
                    ..Facts::default()
                };
                ("restored", facts)
            }
            Event::PsbtRefused { wallet, rule } => {
                ("psbt-refused", Facts { rule: Some(rule), ..Facts::of_wallet(wallet) })
            }
            Event::WalletUpdated { wallet, users_added, users_removed, policy } => {
                ("wallet-updated", Facts::of_wallet(wallet).changed(users_added, users_removed, *policy))
            }
            Event::DigestKeyCreated(label) => ("digest-key-created", Facts::of_key(label)),
            Event::DigestKeyUpdated { key, users_added, users_removed, policy } => {
                ("digest-key-updated", Facts::of_key(key).changed(users_added, users_removed, *policy))
            }
            Event::DigestCharged { users, codes, digest } => (
                "digest-charged",
                Facts { codes: Some(*codes), ..Facts::of_users(users).with_digest(digest) },
            ),
            Event::DigestSigned { users, digest } => {
                ("digest-signed", Facts::of_users(users).with_digest(digest))
            }
            Event::DigestRepeated { users, digest } => {
                ("digest-repeated", Facts::of_users(users).with_digest(digest))
            }
            Event::DigestRefused { users, digest, rule } => {
                ("digest-refused", Facts { rule: Some(rule), ..Facts::of_users(users).with_digest(digest) })
            }
            Event::Tried { codes, asked, answer } => Facts::of_tried(codes, asked, *answer),
            Event::Decided(decided) => {
                let facts = Facts::of_act(&decided.act);
                let officers = decided.officers.iter().map(|key| HEXLOWER.encode(key)).collect();
                let nonce = Some(HEXLOWER.encode(&decided.nonce));
                (decided.act.deed.tag(), Facts { nonce, officers: Some(officers), ..facts })
            }
            Event::Proposal(step) => (step.step.tag(), Facts::of_proposal(step)),
            Event::Ticked(waiting) => ("act-ticked", Facts { waiting: Some(*waiting), ..Facts::default() }),
            Event::Consent(step) => (step.step.tag(), Facts::of_consent(step)),
        }
    }

    /// What happened to a proposed act.
    fn of_proposal(ProposalStep { nonce, heading, step }: &'a ProposalStep) -> Facts<'a> {
        let facts =
            Facts { nonce: Some(HEXLOWER.encode(nonce)), does: Some(heading.as_str()), ..Facts::default() };
        match step {
            Step::Proposed { text, signature } => {
                let facts = Facts { text: Some(text), ..facts };
                signature.iter().fold(facts, Facts::signed)
            }
            Step::Signed(signature) | Step::VetoedByOfficer(signature) => facts.signed(signature),
            Step::VetoedByUser { name, .. } => Facts { users: Some(vec![name]), ..facts },
            Step::Voided(void) => Facts { because: Some(void.to_string()), ..facts },
            Step::Withdrawn => facts,
        }
    }

    /// What happened to a transaction that waits for its users' approvals.
    fn of_consent(ConsentStep { ticket, wallet, step }: &'a ConsentStep) -> Facts<'a> {
        let facts = Facts { ticket: Some(HEXLOWER.encode(ticket)), ..Facts::of_wallet(wallet) };
        match step {
            PendingStep::Proposed { statement, users, peer } => Facts {
                text: Some(statement),
                users: Some(users.iter().map(|(name, _)| name.as_str()).collect()),
                peer: peer.as_deref(),
                ..facts
            },
            PendingStep::Withdrawn => facts,
            PendingStep::SaidByDevice(word) => {
                let DeviceWord { user, enrolment: _, digest, refuses: _, device, address, text, signature } =
                    &**word;
                Facts {
                    users: Some(vec![user]),
                    digest: Some(HEXLOWER.encode(digest)),
                    device: Some(device),
                    address: Some(address),
                    text: Some(text),
                    signature: Some(signature),
                    ..facts
                }
            }
            PendingStep::SaidByPasskey(word) => {
                let PasskeyWord {
                    user,
                    enrolment: _,
                    digest,
                    refuses: _,
                    passkey,
                    public_key,
                    client_data,
                    authenticator_data,
                    signature,
                } = &**word;
                let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
                let assertion = json!({
                    "public_key": text(public_key),
                    "client_data": text(client_data),
                    "authenticator_data": text(authenticator_data),
                    "signature": text(signature),
                });
                Facts {
                    users: Some(vec![user]),
                    digest: Some(HEXLOWER.encode(digest)),
                    passkey: Some(passkey),
                    assertion: Some(assertion),
                    ..facts
                }
            }
        }
    }

    fn with_consent(self, consent: &'a ConsentFacts) -> Facts<'a> {
        let (ticket, digest) = (HEXLOWER.encode(&consent.ticket), HEXLOWER.encode(&consent.digest));
        Facts { ticket: Some(ticket), wallet: Some(&consent.wallet), digest: Some(digest), ..self }
    }

    fn signed(self, OfficerSignature { officer, signature }: &'a OfficerSignature) -> Facts<'a> {
        Facts { officers: Some(vec![HEXLOWER.encode(officer)]), signature: Some(signature), ..self }
    }

    fn of_users(users: &'a [String]) -> Facts<'a> {
        Facts { users: Some(users.iter().map(String::as_str).collect()), ..Facts::default() }
    }

    /// The outcome of the codes of one request.
    fn of_tried(codes: &'a [TriedCode], asked: &'a Asked, answer: Answer) -> (&'static str, Facts<'a>) {
        let names = |of: fn(Fate) -> bool| {
            codes.iter().filter(|code| of(code.fate)).filter_map(|code| code.user.as_deref()).collect()
        };
        let facts = Facts { users: Some(names(|_| true)), ..Facts::default() };
        let (facts, asked) = match asked {
            Asked::Ticket { ticket, asked } => {
                (Facts { ticket: Some(HEXLOWER.encode(ticket)), ..facts }, &**asked)
            }
            asked => (facts, asked),
        };
        let facts = match asked {
            Asked::Transaction(transaction) => facts.with(transaction),
            Asked::Digest(digest) => facts.with_digest(digest),
            // A ticket does not pay for another one.
            Asked::Enrolment(_) | Asked::Ticket { .. } => facts,
            Asked::Veto(nonce) => Facts { nonce: Some(HEXLOWER.encode(nonce)), ..facts },
            Asked::Consent(consent) => facts.with_consent(consent),
            Asked::ConsentAtDesk(consent) => Facts { means: Some("desk"), ..facts.with_consent(consent) },
        };
        let is_digest = matches!(asked, Asked::Digest(_));
        let consent = match asked {
            Asked::Consent(consent) | Asked::ConsentAtDesk(consent) => Some(consent),
            _ => None,
        };
        match answer {
            Answer::Signed | Answer::Repeated if matches!(asked, Asked::Veto(_)) => ("code-accepted", facts),
            Answer::Signed | Answer::Repeated if let Some(consent) = consent => {
                (if consent.refuses { "consent-refused" } else { "consent-given" }, facts)
            }
            Answer::Signed => (if is_digest { "digest-signed" } else { "countersigned" }, facts),
            Answer::Repeated => (if is_digest { "digest-repeated" } else { "repeated" }, facts),
            Answer::Refused(rule) => {
                let name = if is_digest { "digest-refused" } else { "policy-refused" };
                (name, Facts { rule: Some(rule.tag()), ..facts })
            }
            Answer::Confirmed => match asked {
                Asked::Enrolment(Some(act)) => (act.deed.tag(), Facts::of_act(act)),
                _ => ("code-accepted", facts),
            },
            Answer::WrongCode => {
                let wrong = Some(names(|fate| fate == Fate::Wrong));
                let codes = u32::try_from(codes.len()).ok();
                ("code-refused", Facts { wrong, codes, ..facts })
            }
        }
    }

    fn of_wallet(label: &'a str) -> Facts<'a> {
        Facts { wallet: Some(label), ..Facts::default() }
    }

    fn of_key(label: &'a str) -> Facts<'a> {
        Facts { key: Some(label), ..Facts::default() }
    }

    fn changed(
        self,
        users_added: &'a [String],
        users_removed: &'a [String],
        policy: Option<Direction>,
    ) -> Facts<'a> {
        Facts {
            users_added: Some(users_added),
            users_removed: Some(users_removed),
            policy_tightens: policy.map(|policy| policy.tightens),
            policy_loosens: policy.map(|policy| policy.loosens),
            ..self
        }
    }

    fn with_digest(self, digest: &'a DigestFacts) -> Facts<'a> {
        let DigestFacts { key, digest } = digest;
        Facts { key: Some(key), digest: Some(HEXLOWER.encode(digest)), ..self }
    }

    fn of_role(role: Role) -> Facts<'a> {
        let role = match role {
            Role::So => "so",
            Role::User => "user",
        };
        Facts { role: Some(role), ..Facts::default() }
    }

    fn with(self, transaction: &'a TransactionFacts) -> Facts<'a> {
        let TransactionFacts { wallet, txid, leaves, fee } = transaction;
        Facts {
            wallet: Some(wallet),
            txid: Some(HEXLOWER.encode(txid)),
            leaves_sat: Some(*leaves),
            fee_sat: Some(*fee),
            ..self
        }
    }
}
