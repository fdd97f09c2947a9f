//! Metrics and health, by HTTP/1.1 (RFC 9112) on a Unix socket of their own.
//!
//! There is one thread, and one request for each connection, bounded in bytes and time. A user of the socket
//! can only get in the way of its other users.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use countersign::remote::stream::{Patience, Stream};
use countersign_server::Metrics;
use countersign_server::door::{Bound, listen_unix, take_over};
use countersign_server::health::{Health, Report};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use socket2::Socket;

use super::explain;
use crate::error::CommandError;

/// For the owner, and the group that monitors.
const MODE: u32 = 0o660;
/// How long one request and its answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
const MAX_REQUEST_LEN: usize = 8 * 1024;
const MAX_HEADERS: usize = 32;

/// The running monitoring, which ends when this is dropped.
pub(super) struct Monitoring {
    state: Arc<State>,
    closing: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
    _bound: Option<Bound>,
}

struct State {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    stopping: AtomicBool,
}

impl Monitoring {
    /// Answers at `path`, or on the socket that was passed on. Without either, it does not answer.
    pub(super) fn start(
        path: Option<&Path>,
        passed: Option<OwnedFd>,
        metrics: &Arc<Metrics>,
        health: &Arc<Health>,
    ) -> Result<Monitoring, CommandError> {
        let failed = |error: io::Error| {
            CommandError::new(
                format!("cannot start the monitoring: {error}"),
                "free what the system is short of, then start again",
            )
        };
        let (socket, bound) = match (path, passed) {
            (_, Some(socket)) => (Some(take_over("monitoring", socket).map_err(explain)?), None),
            (Some(path), None) => {
                let (socket, bound) = listen_unix("serve.monitoring", path, MODE).map_err(explain)?;
                (Some(socket), Some(bound))
            }
            (None, None) => (None, None),
        };
        let state = Arc::new(State {
            metrics: Arc::clone(metrics),
            health: Arc::clone(health),
            stopping: AtomicBool::new(false),
        });
        let closing = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| failed(error.into()))?);
        let thread = socket
            .map(|socket| {
                let (state, closing) = (Arc::clone(&state), Arc::clone(&closing));
                std::thread::Builder::new()
                    .name("monitoring".into())
                    .spawn(move || state.serve(&socket, &closing))
            })
            .transpose()
            .map_err(failed)?;
        Ok(Monitoring { state, closing, thread, _bound: bound })
    }

    /// From now on, health reports that it is stopping.
    pub(super) fn stopping(&self) {
        self.state.stopping.store(true, Ordering::SeqCst);
    }
}

impl Drop for Monitoring {
    fn drop(&mut self) {
        // If this fails, the thread ends with the process.
        let _ = rustix::io::write(&*self.closing, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    fn serve(&self, socket: &Socket, closing: &OwnedFd) {
        loop {
            let mut ready = [PollFd::new(socket, PollFlags::IN), PollFd::new(closing, PollFlags::IN)];
            let _ = poll(&mut ready, None);
            if !ready[1].revents().is_empty() {
                return;
            }
            match socket.accept() {
                // A client that does not read the answer misses it.
                Ok((socket, _)) => drop(self.answer(socket)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // For example, no descriptor is free. The connection waits.
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    fn answer(&self, socket: Socket) -> io::Result<()> {
        let mut stream = Stream::accepted(socket, Patience { rest: PATIENCE, frame: PATIENCE })?;
        stream.must_end(Instant::now() + PATIENCE);
        let mut request = [0; MAX_REQUEST_LEN];
        let mut length = 0;
        let answer = loop {
            if length == request.len() {
                break Answer::of("431 Request Header Fields Too Large", "the request is too long\n");
            }
            match stream.read(&mut request[length..])? {
                0 => return Ok(()),
                more => length += more,
            }
            if let Some(answer) = self.judge(&request[..length]) {
                break answer;
            }
        };
        stream.write_all(&answer.0)?;
        stream.end_writing();
        Ok(())
    }

    /// None if the request is not complete yet.
    fn judge(&self, request: &[u8]) -> Option<Answer> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(request) {
            Ok(httparse::Status::Partial) => return None,
            Ok(httparse::Status::Complete(_)) => {}
            Err(_) => return Some(Answer::of("400 Bad Request", "this is no request\n")),
        }
        let target = parsed.path.unwrap_or_default();
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        Some(match (parsed.method, path) {
            (Some("GET"), "/metrics") => Answer::metrics(&self.metrics.encode()),
            (Some("GET"), "/health") if self.stopping.load(Ordering::SeqCst) => {
                Answer::of("503 Service Unavailable", "stopping\n")
            }
            (Some("GET"), "/health") => Answer::health(&self.health.report()),
            (_, "/metrics" | "/health") => {
                Answer::new("405 Method Not Allowed", "text/plain", "Allow: GET\r\n", "")
            }
            _ => Answer::of("404 Not Found", "there are /metrics and /health\n"),
        })
    }
}

struct Answer(Vec<u8>);

impl Answer {
    fn of(status: &str, body: &str) -> Answer {
        Answer::new(status, "text/plain; charset=utf-8", "", body)
    }

    /// 503 if nobody can sign. The first line is `ok` if nothing at all is wrong.
    fn health(report: &Report) -> Answer {
        let line = |what: &str, problems: &[String]| match problems {
            [] => format!("{what}: ok\n"),
            problems => problems.iter().map(|problem| format!("{what}: {problem}\n")).collect(),
        };
        let well = if report.problems().next().is_none() { "ok\n" } else { "" };
        let status = if report.signing().is_empty() { "200 OK" } else { "503 Service Unavailable" };
        let (signing, administration) =
            (line("signing", report.signing()), line("administration", report.administration()));
        // Most boundaries have no desk.
        let desk = if report.desk().is_empty() { String::new() } else { line("desk", report.desk()) };
        Answer::of(status, &format!("{well}{signing}{administration}{desk}"))
    }

    fn metrics(body: &str) -> Answer {
        Answer::new("200 OK", "application/openmetrics-text; version=1.0.0; charset=utf-8", "", body)
    }

    fn new(status: &str, kind: &str, more: &str, body: &str) -> Answer {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{more}Connection: close\r\n\r\n"
        );
        Answer([head.as_bytes(), body.as_bytes()].concat())
    }
}
