//! Rations for what costs a peer nothing: logins with a right PIN, repeated signatures and acts of
//! administration, which write links, and refusals, which write log lines.
//!
//! - R1. A login or a signature over the ration is refused before anything looks at its PIN or code. It
//!   charges and writes nothing. It is not let in and counted together with others: the audit has a link for
//!   each login.
//! - R2. A new signature pays for one login and restores the whole ration of answers. So a program that logs
//!   in again for each signature is never refused.
//! - R3. A login every five seconds is never refused, with or without a signature: a monitoring system may
//!   probe in this way for ever.
//! - R4. A right code beside a wrong one is not charged. It counts here like a wrong one, so the ration
//!   reveals to nobody which of them was right.
//! - R5. Wrong codes, wrong PINs and policy refusals cost something. All of their lines are written, outside
//!   of the ration.
//! - R6. No ration keeps an officer's signature, a freeze that an officer signed or a veto from being judged, because others come by the
//!   same peer. What of these is refused is counted afterwards. Over the ration, a refusal has no reason and no line.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cryptoki_sys::*;

use super::reply::Reply;
use super::request::Request;
use super::rv::{Answer, Refusal, Rv};
use crate::cores::{self, PeerNumber};
use crate::engine::EngineError;
use crate::gate::Countersigned;
use crate::ration::{Lines, Ration, Stock};

/// Logins without a signature. The stock is for restarts of many processes at once, and for R3.
const LOGINS: Ration = Ration { max: 1_000, every: Duration::from_secs(5) };
/// Answers to codes without a new signature. The stock is large enough for all callers that ask for the same
/// signature at once, and larger than the number of failures that trips the breaker.
const ANSWERS: Ration = Ration { max: 300, every: Duration::from_secs(1) };
/// Acts of administration. Each is a link of the audit, and a wallet's link has its whole policy and
/// descriptor. The stock is enough to set up a thousand users, each with a wallet.
const ACTS: Ration = Ration { max: 2_000, every: Duration::from_secs(5) };
/// Acts that nobody has signed: drafts, and what an administrator proposes or takes back.
const DRAFTS: Ration = Ration { max: 500, every: Duration::from_secs(2) };
/// Acts, signatures and vetoes that were refused. They need no login, and each costs a signature to be verified.
const REFUSED: Ration = Ration { max: 500, every: Duration::from_secs(2) };
/// Transactions that are proposed or withdrawn. Each is a link of the audit, of up to 32 KiB, and is compared with all others that wait. A
/// new signature brings one back.
const PROPOSALS: Ration = Ration { max: 300, every: Duration::from_secs(10) };
/// Codes that veto an act, or approve or refuse a transaction. Wrong ones are charged to the user, like all others.
const VETOES: Ration = Ration { max: 300, every: Duration::from_secs(1) };
/// Lines of the log.
const LINES: Ration = Ration { max: 60, every: Duration::from_secs(1) };

static PEERS: Mutex<Option<HashMap<PeerNumber, Peer>>> = Mutex::new(None);

/// The stocks of one peer.
struct Peer {
    logins: Stock,
    answers: Stock,
    acts: Stock,
    drafts: Stock,
    proposals: Stock,
    refused: Stock,
    vetoes: Stock,
    lines: Lines,
}

impl Peer {
    fn new(now: Instant) -> Peer {
        Peer {
            logins: Stock::whole(LOGINS, now),
            answers: Stock::whole(ANSWERS, now),
            acts: Stock::whole(ACTS, now),
            drafts: Stock::whole(DRAFTS, now),
            proposals: Stock::whole(PROPOSALS, now),
            refused: Stock::whole(REFUSED, now),
            vetoes: Stock::whole(VETOES, now),
            lines: Lines::whole(LINES, now),
        }
    }

    /// A new signature pays for a login and for a proposed transaction, and brings the whole ration of answers.
    fn paid(&mut self, now: Instant) {
        self.logins.put_back();
        self.proposals.put_back();
        self.answers = Stock::whole(ANSWERS, now);
    }
}

fn of_peer<T>(peer: PeerNumber, look: impl FnOnce(&mut Peer, Instant) -> T) -> T {
    let mut peers = PEERS.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    look(peers.get_or_insert_default().entry(peer).or_insert_with(|| Peer::new(now)), now)
}

/// Refuses a login or a change of PIN, both of which write a link, if `peer` has used up its ration of
/// logins. With `is_logged_in`, another login fails anyway and writes nothing.
pub(super) fn check(peer: PeerNumber, request: &Request, is_logged_in: bool) -> Answer {
    let writes = match request {
        Request::Login { user_type, .. } => *user_type != CKU_CONTEXT_SPECIFIC && !is_logged_in,
        Request::SetPin { .. } => true,
        _ => false,
    };
    if !writes || of_peer(peer, |peer, now| peer.logins.has_any(now)) {
        return Ok(());
    }
    refused(|| {
        format!(
            "refused a login: this peer has logged in {} times without signing; it may log in every {} seconds now; keep sessions open instead of logging in again",
            LOGINS.max,
            LOGINS.every.as_secs()
        )
    });
    Err(Rv(CKR_FUNCTION_FAILED))
}

/// Counts an answered request of `peer`.
pub(super) fn count(peer: PeerNumber, is_login: bool, reply: &Reply) {
    if is_login && matches!(reply, Reply::Done) {
        of_peer(peer, |peer, _| peer.logins.spend());
    }
}

/// Refuses to check a code if the peer has used up its ration of answers.
pub(super) fn check_signing() -> Answer {
    let peer = cores::working_for();
    if peer == 0 || of_peer(peer, |peer, now| peer.answers.has_any(now)) {
        return Ok(());
    }
    refused(|| {
        format!(
            "refused a signature: this peer has had {} answers to codes without a new signature; it gets one every second \
             now; no code was checked",
            ANSWERS.max
        )
    });
    Err(Rv(CKR_FUNCTION_FAILED))
}

/// Takes an act of administration from a peer's ration, or refuses it. The ration counts tries, because all
/// acts that are done are recorded, and for a refused one keys were already made. A call of this process has
/// no peer and no ration.
pub(super) fn take_act() -> Answer {
    let peer = cores::working_for();
    if peer == 0 || of_peer(peer, |peer, now| peer.acts.take(now)) {
        return Ok(());
    }
    refused(|| {
        format!(
            "refused an act of administration: this peer used up {} acts and has one every {} seconds now; nothing was changed",
            ACTS.max,
            ACTS.every.as_secs()
        )
    });
    Err(Rv(CKR_FUNCTION_FAILED))
}

/// The same for an act that nobody has signed yet.
pub(super) fn take_draft() -> Answer {
    let peer = cores::working_for();
    if peer == 0 || of_peer(peer, |peer, now| peer.drafts.take(now)) {
        return Ok(());
    }
    refused(|| {
        format!(
            "refused an act without a signature: this peer has drafted, proposed or withdrawn {} and may do so every {} seconds now; nothing was changed",
            DRAFTS.max,
            DRAFTS.every.as_secs()
        )
    });
    Err(Rv(CKR_FUNCTION_FAILED))
}

/// The same for a transaction that a backend proposes or withdraws.
pub(super) fn take_proposal() -> Answer {
    let peer = cores::working_for();
    if peer == 0 || of_peer(peer, |peer, now| peer.proposals.take(now)) {
        return Ok(());
    }
    refused(|| {
        format!(
            "refused a proposed transaction: this peer has proposed or withdrawn {} and may do so every {} seconds now; nothing was changed",
            PROPOSALS.max,
            PROPOSALS.every.as_secs()
        )
    });
    Err(Rv(CKR_FUNCTION_FAILED))
}

/// Counts an act, a signature or a veto that was refused and has cost its caller nothing (R6).
pub(super) fn of_refusals<T>(judged: Result<T, EngineError>) -> Result<T, Refusal> {
    judged.map_err(|error| {
        let peer = cores::working_for();
        let is_free = matches!(
            error,
            EngineError::Proposal(_)
                | EngineError::Consent(_)
                | EngineError::Device(_)
                | EngineError::Locked
                | EngineError::Stopped
        );
        if peer == 0 || !is_free || of_peer(peer, |peer, now| peer.refused.take(now)) {
            return error.into();
        }
        Rv(CKR_FUNCTION_FAILED).into()
    })
}

/// Refuses to check a code that vetoes an act, or with which a user approves or refuses a transaction, if the peer has used up its ration of them.
pub(super) fn check_veto() -> Answer {
    let peer = cores::working_for();
    if peer == 0 || of_peer(peer, |peer, now| peer.vetoes.has_any(now)) {
        return Ok(());
    }
    refused(|| {
        format!(
            "refused a veto, an approval or a refusal: this peer has brought {} codes for them and may bring one every second now; no code was checked",
            VETOES.max
        )
    });
    Err(Rv(CKR_FUNCTION_FAILED))
}

/// Counts such a code, if it was checked. Right and wrong ones count alike.
pub(super) fn count_veto<T>(judged: &Result<T, EngineError>) {
    let peer = cores::working_for();
    if peer != 0 && matches!(judged, Ok(_) | Err(EngineError::Code)) {
        of_peer(peer, |peer, _| peer.vetoes.spend());
    }
}

/// Counts the outcome of codes that were checked.
pub(super) fn count_signing<T>(answer: &Result<Countersigned<T>, EngineError>) {
    let peer = cores::working_for();
    if peer == 0 {
        return;
    }
    match answer {
        Ok(Countersigned { is_new: true, .. }) => of_peer(peer, Peer::paid),
        Ok(_) | Err(EngineError::Code | EngineError::Policy(_)) => {
            of_peer(peer, |peer, _| peer.answers.spend())
        }
        // Nothing was written.
        Err(_) => {}
    }
}

/// Whether the success of a request counts as a login in [`count`].
pub(super) fn is_login(request: &Request) -> bool {
    match request {
        Request::Login { user_type, .. } => *user_type != CKU_CONTEXT_SPECIFIC,
        Request::SetPin { .. } => true,
        _ => false,
    }
}

/// Passes the line of a refusal that cost the peer nothing to `write`, within the peer's ration. A call of
/// this process has no peer and no ration.
fn rationed(line: impl FnOnce() -> String, write: impl FnOnce(String)) {
    let peer = cores::working_for();
    let left_out = if peer == 0 { Some(0) } else { of_peer(peer, |peer, now| peer.lines.due(now)) };
    match left_out {
        None => {}
        Some(0) => write(line()),
        Some(more) => write(format!("{} (left out {more} lines of this peer before this one)", line())),
    }
}

/// Writes a warning, within the ration.
pub(super) fn refused(line: impl FnOnce() -> String) {
    rationed(line, |line| tracing::warn!("{line}"));
}

/// Writes an error, within the ration.
pub(super) fn failed(line: impl FnOnce() -> String) {
    rationed(line, |line| tracing::error!("{line}"));
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::super::request::Bytes;
    use super::super::vendor::CKR_COUNTERSIGN_ACT_REFUSED;
    use super::*;
    use crate::kernel::rule::Rule;

    /// A peer that only these tests use.
    const PEER: PeerNumber = 1 << 40;

    fn login(user_type: CK_USER_TYPE) -> Request {
        Request::Login { session: 1, user_type, user: None, pin: Bytes(Zeroizing::default()) }
    }

    fn log_in(peer: PeerNumber, request: &Request) -> Answer {
        check(peer, request, false)?;
        count(peer, is_login(request), &Reply::Done);
        Ok(())
    }

    #[test]
    fn a_peer_that_only_logs_in_and_out_is_refused_after_its_ration_and_no_other_is() {
        for _ in 0..LOGINS.max {
            assert_eq!(log_in(PEER, &login(CKU_USER)), Ok(()));
        }
        let pin = || Bytes(Zeroizing::default());
        for writes in [login(CKU_USER), login(CKU_SO), Request::SetPin { session: 1, old: pin(), new: pin() }]
        {
            assert_eq!(log_in(PEER, &writes), Err(Rv(CKR_FUNCTION_FAILED)));
        }
        assert_eq!(log_in(PEER, &login(CKU_CONTEXT_SPECIFIC)), Ok(()), "it writes nothing");
        assert_eq!(check(PEER, &login(CKU_USER), true), Ok(()), "nor does it where somebody is logged in");
        assert_eq!(log_in(PEER + 1, &login(CKU_USER)), Ok(()));
        // A new signature pays for a login.
        cores::work(PEER, || count_signing(&new()));
        assert_eq!(log_in(PEER, &login(CKU_USER)), Ok(()));
        assert_eq!(log_in(PEER, &login(CKU_USER)), Err(Rv(CKR_FUNCTION_FAILED)));
        // A repeated signature does not.
        cores::work(PEER, || count_signing(&once_more()));
        assert_eq!(log_in(PEER, &login(CKU_USER)), Err(Rv(CKR_FUNCTION_FAILED)));
    }

    #[test]
    fn an_administrator_who_acts_without_end_is_refused_after_the_ration_and_no_other_is() {
        let peer = PEER + 5;
        // The stock is not refilled during this test.
        of_peer(peer, |peer, now| peer.acts = Stock::whole(ACTS, now + Duration::from_secs(3_600)));
        cores::work(peer, || {
            for _ in 0..ACTS.max {
                assert_eq!(take_act(), Ok(()));
            }
            assert_eq!(take_act(), Err(Rv(CKR_FUNCTION_FAILED)));
            // Other calls of the peer have their own rations.
            assert_eq!(check_signing(), Ok(()));
        });
        cores::work(peer + 1, || assert_eq!(take_act(), Ok(())));
        // A process with its own engine only keeps itself busy.
        for _ in 0..=ACTS.max {
            assert_eq!(take_act(), Ok(()));
        }
        let now = Instant::now();
        let mut later = Peer::new(now);
        while later.acts.take(now) {}
        assert!(!later.acts.take(now));
        assert!(later.acts.take(now + ACTS.every));
    }

    #[test]
    fn what_is_refused_of_officers_has_a_ration_and_what_is_right_has_none() {
        use crate::kernel::proposal::ProposalError;
        let peer = PEER + 6;
        // The stock is not refilled during this test.
        let whole = |ration| Stock::whole(ration, Instant::now() + Duration::from_secs(3_600));
        of_peer(peer, |peer, _| {
            (peer.refused, peer.vetoes, peer.drafts) = (whole(REFUSED), whole(VETOES), whole(DRAFTS));
        });
        let refusal = || of_refusals::<()>(Err(ProposalError::Unknown.into())).map_err(|it| it.note(&mut 0));
        cores::work(peer, || {
            for _ in 0..REFUSED.max {
                assert_eq!(refusal(), Err(Rv(CKR_COUNTERSIGN_ACT_REFUSED)));
            }
            assert_eq!(refusal(), Err(Rv(CKR_FUNCTION_FAILED)));
            assert!(of_refusals(Ok(())).is_ok());
            // A wrong code is charged to its user.
            let wrong = of_refusals::<()>(Err(EngineError::Code)).map_err(|it| it.note(&mut 0));
            assert_eq!(wrong, Err(Rv(CKR_PIN_INCORRECT)));
            // Codes have their own ration, and so have drafts.
            for judged in [Ok(()), Err(EngineError::Code)].iter().cycle().take(VETOES.max as usize) {
                assert_eq!(check_veto(), Ok(()));
                count_veto(judged);
                count_veto::<()>(&Err(ProposalError::Unknown.into()));
            }
            assert_eq!(check_veto(), Err(Rv(CKR_FUNCTION_FAILED)));
            for _ in 0..DRAFTS.max {
                assert_eq!(take_draft(), Ok(()));
            }
            assert_eq!(take_draft(), Err(Rv(CKR_FUNCTION_FAILED)));
        });
        cores::work(peer + 1, || {
            assert_eq!((refusal(), take_draft()), (Err(Rv(CKR_COUNTERSIGN_ACT_REFUSED)), Ok(())))
        });
    }

    fn new() -> Result<Countersigned<()>, EngineError> {
        Ok(Countersigned { signed: (), is_new: true })
    }

    fn once_more() -> Result<Countersigned<()>, EngineError> {
        Ok(Countersigned { signed: (), is_new: false })
    }

    #[test]
    fn a_peer_that_asks_for_the_same_without_end_is_refused_after_its_ration_and_no_other_is() {
        let peer = PEER + 3;
        let unpaid = [once_more, || Err(EngineError::Code), || Err(EngineError::Policy(Rule::TimeWindow))];
        // The stock is not refilled during this test.
        of_peer(peer, |peer, now| peer.answers = Stock::whole(ANSWERS, now + Duration::from_secs(3_600)));
        cores::work(peer, || {
            for (_, answer) in (0..ANSWERS.max).zip(unpaid.iter().cycle()) {
                assert_eq!(check_signing(), Ok(()));
                count_signing(&answer());
            }
            assert_eq!(check_signing(), Err(Rv(CKR_FUNCTION_FAILED)));
            // Nothing was written for this one.
            count_signing::<()>(&Err(EngineError::Locked));
            assert_eq!(check_signing(), Err(Rv(CKR_FUNCTION_FAILED)));
        });
        cores::work(peer + 1, || assert_eq!(check_signing(), Ok(())));
        // A process with its own engine only keeps itself busy.
        for _ in 0..2 * ANSWERS.max {
            count_signing(&once_more());
            assert_eq!(check_signing(), Ok(()));
        }
    }

    #[test]
    fn a_new_signature_brings_the_whole_ration_of_answers_and_time_brings_one_after_the_other() {
        let now = Instant::now();
        let mut peer = Peer::new(now);
        let answered = |peer: &mut Peer, now| {
            let mut count = 0;
            while peer.answers.has_any(now) {
                peer.answers.spend();
                count += 1;
            }
            count
        };
        assert_eq!(answered(&mut peer, now), ANSWERS.max);
        assert_eq!(answered(&mut peer, now + ANSWERS.every), 1);
        peer.paid(now + ANSWERS.every);
        assert_eq!(answered(&mut peer, now + ANSWERS.every), ANSWERS.max);
    }

    #[test]
    fn a_probe_that_logs_in_every_five_seconds_is_never_refused() {
        let start = Instant::now();
        let mut peer = Peer::new(start);
        // For a week, while a program has used up the stock.
        (0..LOGINS.max).for_each(|_| peer.logins.spend());
        for probe in 1..=7 * 24 * 720 {
            assert!(peer.logins.has_any(start + Duration::from_secs(5) * probe), "probe {probe}");
            peer.logins.spend();
        }
    }

    #[test]
    fn a_line_of_a_peer_says_how_many_were_left_out() {
        let peer = PEER + 2;
        let mut lines = Vec::new();
        cores::work(peer, || {
            for _ in 0..LINES.max + 5 {
                rationed(|| "refused".into(), |line| lines.push(line));
            }
        });
        assert_eq!(lines.len(), LINES.max as usize);
        of_peer(peer, |peer, now| peer.lines.refill(now));
        cores::work(peer, || rationed(|| "refused".into(), |line| lines.push(line)));
        let last = lines.pop().expect("it was written");
        assert_eq!(last, "refused (left out 5 lines of this peer before this one)");
        // A process with its own engine only fills its own log.
        for _ in 0..2 * LINES.max {
            rationed(|| "refused".into(), |line| lines.push(line));
        }
        assert_eq!(lines.len(), 3 * LINES.max as usize);
    }
}
