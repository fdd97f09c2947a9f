//! Pages: templates filled with the boundary's words. Everything that is put into them is escaped.

use askama::Template;
use countersign::kernel::factor::TicketId;
use countersign::kernel::utc::to_iso;
use hyper::StatusCode;

use crate::boundary::{Proposal, State};
use crate::catalogue::Texts;
use crate::desk::path;
use crate::facts::{Facts, Payee};

/// Why there is no page of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// There is nothing of that name, or nothing any more. All of these look the same.
    Unknown,
    /// The request is for another name.
    Host,
    /// Not with this method.
    Method,
    /// The form is not of a page of ours, or of one from before a restart.
    Stale,
    /// It is no form of ours.
    Form,
    /// The form is too long.
    TooLong,
    /// The form took too long.
    Slow,
    /// This address asks too often.
    TooMany,
    /// The boundary does not answer.
    Unreachable,
}

impl Problem {
    /// The status of the answer.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Problem::Unknown => StatusCode::NOT_FOUND,
            Problem::Host => StatusCode::MISDIRECTED_REQUEST,
            Problem::Method => StatusCode::METHOD_NOT_ALLOWED,
            Problem::Stale => StatusCode::FORBIDDEN,
            Problem::Form => StatusCode::BAD_REQUEST,
            Problem::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Problem::Slow => StatusCode::REQUEST_TIMEOUT,
            Problem::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Problem::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// What a user is told about a word that was not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    Wrong,
    NoCode,
    Locked,
    Busy,
    Stopped,
    Means,
    Over,
}

impl Notice {
    /// The status of the answer.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Notice::Wrong | Notice::NoCode | Notice::Locked | Notice::Means => StatusCode::FORBIDDEN,
            Notice::Busy => StatusCode::TOO_MANY_REQUESTS,
            Notice::Stopped => StatusCode::SERVICE_UNAVAILABLE,
            Notice::Over => StatusCode::CONFLICT,
        }
    }

    fn text(self, texts: &Texts) -> &'static str {
        match self {
            Notice::Wrong => texts.wrong,
            Notice::NoCode => texts.no_code,
            Notice::Locked => texts.locked,
            Notice::Busy => texts.busy,
            Notice::Stopped => texts.stopped,
            Notice::Means => texts.means,
            Notice::Over => texts.over,
        }
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    t: &'static Texts,
    text: &'static str,
}

#[derive(Template)]
#[template(path = "proposal.html")]
struct ProposalPage<'a> {
    t: &'static Texts,
    facts: &'a Facts,
    until: String,
    state: &'static str,
    given: usize,
    needed: u64,
    takes_words: bool,
    action: String,
    token: &'a str,
    notice: Option<&'static str>,
}

/// The page about a problem.
pub(crate) fn of_problem(problem: Problem, t: &'static Texts) -> String {
    let text = match problem {
        Problem::Unknown => t.unknown,
        Problem::Host | Problem::Method | Problem::Form | Problem::TooLong | Problem::Slow => t.request,
        Problem::Stale => t.stale,
        Problem::TooMany => t.too_many,
        Problem::Unreachable => t.unreachable,
    };
    written(&ProblemPage { t, text })
}

/// The page of a proposal.
pub(crate) fn of_proposal(
    ticket: &TicketId,
    proposal: &Proposal,
    token: &str,
    notice: Option<Notice>,
    t: &'static Texts,
) -> String {
    let Some(facts) = &proposal.facts else { return written(&ProblemPage { t, text: t.too_old }) };
    let state = match proposal.state {
        State::Open => t.open,
        State::Approved => t.approved,
        State::Refused => t.refused,
        State::Signed => t.signed,
        State::Expired => t.expired,
    };
    written(&ProposalPage {
        t,
        facts,
        until: to_iso(facts.expires),
        state,
        given: proposal.given,
        needed: proposal.needed,
        // Where enough have approved, a user can still refuse, or approve by a code that counts for more.
        takes_words: matches!(proposal.state, State::Open | State::Approved),
        action: path(ticket),
        token,
        notice: notice.map(|notice| notice.text(t)),
    })
}

fn written(page: &impl Template) -> String {
    page.render().expect("writing to a string does not fail")
}
