//! Requests: what is asked for, and whether it may be.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use countersign::kernel::approval::is_user_name;
use countersign::kernel::factor::TicketId;
use countersign::shell::config::DeskOrigin;
use cryptoki::error::Error;
use data_encoding::HEXLOWER;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::answer;
use crate::boundary::{Boundary, Proposal, Said};
use crate::catalogue::{self, Texts};
use crate::form::{Form, MAX_FORM_LEN};
use crate::guard::{Browser, Guard, is_from_our_page};
use crate::limits::{Address, Limits};
use crate::page::{self, Notice, Problem};

/// The most calls to the boundary at a time.
const MAX_CALLS: usize = 32;
/// How long a form may take to arrive, and a call to get its turn.
const FORM: Duration = Duration::from_secs(10);
const TURN: Duration = Duration::from_secs(10);
const FORM_TYPE: &str = "application/x-www-form-urlencoded";

/// The desk.
pub(crate) struct Desk {
    boundary: Arc<Boundary>,
    origin: DeskOrigin,
    guard: Guard,
    limits: Arc<Limits>,
    calls: Arc<Semaphore>,
}

/// What a path names.
enum Place {
    Style,
    Proposal(TicketId),
    Nothing,
}

impl Desk {
    /// A desk of this boundary, whose pages have this origin.
    pub(crate) fn new(boundary: Boundary, origin: &DeskOrigin) -> Result<Desk, getrandom::Error> {
        Ok(Desk {
            boundary: Arc::new(boundary),
            origin: origin.clone(),
            guard: Guard::new()?,
            limits: Arc::default(),
            calls: Arc::new(Semaphore::new(MAX_CALLS)),
        })
    }

    /// The limits.
    pub(crate) fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// Answers a request.
    pub(crate) async fn answer(&self, request: Request<Incoming>, from: Address) -> Response<String> {
        let texts = catalogue::of(request.headers());
        match self.judge(request, from, texts).await {
            Ok(response) => response,
            Err(problem) => {
                let response = answer::page(problem.status(), page::of_problem(problem, texts));
                if problem == Problem::Method { answer::allow(response, "GET, HEAD, POST") } else { response }
            }
        }
    }

    async fn judge(
        &self,
        request: Request<Incoming>,
        from: Address,
        texts: &'static Texts,
    ) -> Result<Response<String>, Problem> {
        if !self.limits.take_request(from) {
            return Err(Problem::TooMany);
        }
        if !is_for(&request, self.origin.authority()) {
            return Err(Problem::Host);
        }
        let ticket = match place(request.uri().path()) {
            Place::Style => return Ok(answer::style()),
            Place::Nothing => return Err(Problem::Unknown),
            Place::Proposal(ticket) => ticket,
        };
        match *request.method() {
            Method::GET | Method::HEAD => self.show(ticket, request.headers(), texts).await,
            Method::POST => self.take(ticket, request, from, texts).await,
            _ => Err(Problem::Method),
        }
    }

    /// The page of a proposal.
    async fn show(
        &self,
        ticket: TicketId,
        headers: &HeaderMap,
        texts: &'static Texts,
    ) -> Result<Response<String>, Problem> {
        let known = Browser::of(headers);
        let new = match known {
            Some(_) => None,
            None => Some(Browser::new().map_err(|_| Problem::Unreachable)?),
        };
        let browser = known.as_ref().or(new.as_ref()).expect("one of the two");
        let proposal = self.look(ticket).await?;
        let token = self.guard.token(browser, &ticket);
        let body = page::of_proposal(&ticket, &proposal, &token, None, texts);
        Ok(answer::page_for(StatusCode::OK, body, new.as_ref()))
    }

    /// Takes a form, and carries the user's word to the boundary.
    async fn take(
        &self,
        ticket: TicketId,
        request: Request<Incoming>,
        from: Address,
        texts: &'static Texts,
    ) -> Result<Response<String>, Problem> {
        if !is_from_our_page(request.headers(), self.origin.as_str()) {
            return Err(Problem::Stale);
        }
        let browser = Browser::of(request.headers()).ok_or(Problem::Stale)?;
        let kind =
            request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case(FORM_TYPE) {
            return Err(Problem::Form);
        }
        let body = timeout(FORM, read(request.into_body())).await.map_err(|_| Problem::Slow)??;
        let form = Form::parse(&body).ok_or(Problem::Form)?;
        if !self.guard.knows(&form.token, &browser, &ticket) {
            return Err(Problem::Stale);
        }
        if !self.limits.take_code(from) {
            return Err(Problem::TooMany);
        }
        // What everybody may see of the proposal decides before a user is named.
        if let Some(notice) = self.look(ticket).await?.takes_no_word() {
            return self.unrecorded(&ticket, &browser, notice, texts).await;
        }
        if !self.limits.take_code_for(&ticket) {
            return Err(Problem::TooMany);
        }
        // A code that was typed into the field of the name must not reach a log as one.
        let is_name = is_user_name(&form.user) && !form.user.bytes().all(|byte| byte.is_ascii_digit());
        let notice = if !is_name {
            Notice::Wrong
        } else {
            let say = move |boundary: &Boundary| boundary.say(&ticket, form.word, &form.user, &form.code);
            match self.call(say).await? {
                Said::Recorded => return Ok(answer::see(&path(&ticket))),
                Said::Gone => return Err(Problem::Unknown),
                Said::Wrong => Notice::Wrong,
                Said::NoCode => Notice::NoCode,
                Said::Locked => Notice::Locked,
                Said::Busy => Notice::Busy,
                Said::Stopped => Notice::Stopped,
                Said::Means => Notice::Means,
                Said::Over => Notice::Over,
            }
        };
        self.unrecorded(&ticket, &browser, notice, texts).await
    }

    /// The page of a proposal after a word that was not recorded.
    async fn unrecorded(
        &self,
        ticket: &TicketId,
        browser: &Browser,
        notice: Notice,
        texts: &'static Texts,
    ) -> Result<Response<String>, Problem> {
        let proposal = self.look(*ticket).await?;
        let token = self.guard.token(browser, ticket);
        let body = page::of_proposal(ticket, &proposal, &token, Some(notice), texts);
        Ok(answer::page(notice.status(), body))
    }

    async fn look(&self, ticket: TicketId) -> Result<Proposal, Problem> {
        self.call(move |boundary| boundary.look(&ticket)).await?.ok_or(Problem::Unknown)
    }

    /// Makes calls to the boundary on a thread that may wait for them.
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Boundary) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = timeout(TURN, Arc::clone(&self.calls).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(Problem::Unreachable) };
        let boundary = Arc::clone(&self.boundary);
        let call = move || {
            // The turn lasts as long as the call, also if nobody waits for its answer any more.
            let _turn = turn;
            work(&boundary)
        };
        match tokio::task::spawn_blocking(call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                tracing::error!("the boundary does not answer: {error}");
                Err(Problem::Unreachable)
            }
            Err(_) => Err(Problem::Unreachable),
        }
    }
}

/// The path of a proposal's page.
pub(crate) fn path(ticket: &TicketId) -> String {
    format!("/p/{}", HEXLOWER.encode(ticket))
}

/// What a path names. A path has one spelling: nothing is decoded or cleaned up.
fn place(path: &str) -> Place {
    match path.strip_prefix("/p/") {
        Some(ticket) => HEXLOWER
            .decode(ticket.as_bytes())
            .ok()
            .and_then(|ticket| ticket.try_into().ok())
            .map_or(Place::Nothing, Place::Proposal),
        None if path == "/style.css" => Place::Style,
        None => Place::Nothing,
    }
}

/// Whether a request is for our own name, so that no other name is led here.
fn is_for(request: &Request<Incoming>, authority: &str) -> bool {
    let named = request.headers().get_all(HOST).iter().collect::<Vec<_>>();
    let in_target = request.uri().authority().is_none_or(|target| target.as_str() == authority);
    matches!(&named[..], [host] if *host == authority) && in_target
}

/// Reads a form that is not too long.
async fn read(mut body: Incoming) -> Result<Zeroizing<Vec<u8>>, Problem> {
    // It never grows, so no copy is left behind.
    let mut whole = Zeroizing::new(Vec::with_capacity(MAX_FORM_LEN));
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(part) = frame.map_err(|_| Problem::Form)?.into_data() else { continue };
        if whole.len() + part.len() > MAX_FORM_LEN {
            return Err(Problem::TooLong);
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consent_path_tricks_name_nothing() {
        let ticket = "47".repeat(16);
        assert!(matches!(place(&format!("/p/{ticket}")), Place::Proposal(found) if found == [0x47; 16]));
        assert!(matches!(place("/style.css"), Place::Style));
        for path in [
            "",
            "/",
            "*",
            "/p",
            "/p/",
            "/p//",
            "/P/{}",
            "//p/{}",
            "/p/{}/",
            "/p/{}/..",
            "/p/../p/{}",
            "/p/./{}",
            "/p/%34{}",
            "/p/{}%00",
            "/p/0{}",
            "/p/{}0",
            "/style.css/",
            "/../etc/passwd",
            "/style.css%00",
        ] {
            assert!(matches!(place(&path.replace("{}", &ticket)), Place::Nothing), "{path}");
        }
        assert!(matches!(place(&format!("/p/{}", "aB".repeat(16))), Place::Nothing), "one spelling");
    }
}
