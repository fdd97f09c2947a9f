//! One connection and its thread, from its acceptance to its end.

use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use countersign::remote::CkRv;
use countersign::remote::budget::{Budget, Lease};
use countersign::remote::frame::{Frame, FrameError, Received, Wiped};
use countersign::remote::hello::{
    Hello, HelloError, MAX_GREETING_LEN, MAX_RESPONSE_LEN, Refusal, Response, VERSION, Welcome,
};
use countersign::remote::stream::{Framed, Patience, Stream, prepare_tcp};
use prometheus_client::metrics::gauge::Gauge;
use socket2::Socket;

use super::Shared;
use super::allowed::Peer;
use super::applications::Membership;
use super::connections::Entry;
use super::door::Door;
use super::limits::{Cause, Place};
use super::metrics::{FrameRefusal, Outcome, PeerRefusal};
use super::tls;

/// A connection with a thread.
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    pub(crate) door: Door,
    /// The peer's address, over TCP.
    pub(crate) from: Option<String>,
    pub(crate) accepted: Instant,
}

impl Connection {
    /// Serves the connection to its end. A peer that is not known yet has a stranger's place.
    pub(crate) fn run(self, socket: Socket, peer: Option<Peer>, place: Place) {
        let limits = &self.shared.limits;
        let patience = Patience { rest: limits.idle, frame: limits.frame };
        let Ok(mut stream) = Stream::accepted(socket, patience) else { return };
        // Until its welcome, everything must be done within the time of one frame.
        stream.must_end(self.accepted + limits.frame);
        let entry = self.shared.connections.enter(stream.closer());
        self.attend(stream, peer, place, &entry);
        // A caller that waits for the end of all connections must wait until none of them holds anything of
        // the server. The last one to release the module closes it, and that must happen before the program
        // ends.
        drop(self);
        drop(entry);
    }

    fn attend(&self, stream: Stream, peer: Option<Peer>, place: Place, entry: &Entry) {
        let shared = &*self.shared;
        let mut framed = Framed::new(stream, MAX_GREETING_LEN, Budget::unlimited());
        let known = match peer {
            Some(peer) => Some((peer, place)),
            None => self.shake_hands(&mut framed, place),
        };
        let Some((peer, _place)) = known else { return };
        let certificates = framed.stream().peer_certificates().to_vec();
        entry.is(peer.clone(), certificates.clone());
        // The configuration may have changed since. From here on, a change finds this connection.
        if !shared.allowed().still(&peer, &certificates) {
            return self.refuse(&mut framed, Refusal::NotAllowed, PeerRefusal::NotAllowed);
        }
        let _counted = Counted::one_more(shared.metrics.connections(self.door));
        if let Some(membership) = self.welcome(&mut framed, &peer) {
            self.serve(&mut framed, &peer, &membership);
        }
        framed.stream().end_writing();
    }

    /// Does the TLS handshake and names the peer by its certificate. The peer exchanges its stranger's place
    /// for one of its role.
    fn shake_hands(&self, framed: &mut Framed, stranger: Place) -> Option<(Peer, Place)> {
        let shared = &*self.shared;
        let allowed = shared.allowed();
        // A new configuration may have no TCP any more.
        let tls = allowed.tls()?;
        let stream = framed.stream();
        let secured = prepare_tcp(stream.socket()).and_then(|()| tls.shake_hands(stream));
        if let Err(error) = secured {
            shared.metrics.refused(self.door, PeerRefusal::Tls);
            shared.log.warn(Cause::PeerRefused, || {
                let why = tls::explain(&error).unwrap_or_else(|| error.to_string());
                format!("closed the connection of {}: {why}", self.who(&"a peer"))
            });
            stream.end_writing();
            return None;
        }
        let peer = match allowed.certificate(stream.peer_certificates()) {
            Ok(peer) => peer,
            Err(names) => {
                shared.log.warn(Cause::PeerRefused, || {
                    format!(
                        "closed the connection of {}: its certificate is for {names}, and [serve.tcp] has no such name; add the name there if the peer may connect",
                        self.who(&"a peer")
                    )
                });
                self.refuse(framed, Refusal::NotAllowed, PeerRefusal::NotAllowed);
                return None;
            }
        };
        let Some(place) = shared.places.of_role(peer.role()).enter() else {
            shared.log.warn(Cause::Full, || {
                format!(
                    "refused {}: this role already has serve.max_connections open; close some, or raise the limit",
                    self.who(&peer)
                )
            });
            self.refuse(framed, Refusal::TooManyConnections, PeerRefusal::TooMany);
            return None;
        };
        drop(stranger);
        Some((peer, place))
    }

    /// Reads the greeting and answers it.
    fn welcome(&self, framed: &mut Framed, peer: &Peer) -> Option<Membership> {
        let shared = &*self.shared;
        let hello = match framed.read() {
            Ok(Received::Frame(Frame { payload, .. })) => Hello::decode(&payload),
            // Somebody checked whether we are there.
            Ok(Received::End) => return None,
            Ok(Received::NoRoom) | Err(_) => Err(HelloError::Malformed),
        };
        let hello = match hello {
            Ok(hello) => hello,
            Err(error) => {
                shared.log.warn(Cause::Greeting, || {
                    format!("closed the connection of {}: {error}", self.who(peer))
                });
                match error {
                    HelloError::Version(_) => {
                        self.refuse(framed, Refusal::Version { ours: VERSION }, PeerRefusal::Version);
                    }
                    HelloError::Malformed => shared.metrics.refused(self.door, PeerRefusal::Greeting),
                }
                return None;
            }
        };
        if shared.stopping.load(Ordering::SeqCst) {
            self.refuse(framed, Refusal::Stopping, PeerRefusal::Stopping);
            return None;
        }
        let closer = framed.stream().closer();
        match shared.applications.enter(hello, peer, closer) {
            Ok((membership, application)) => {
                let max_frame = shared.limits.max_frame_bytes;
                framed.write([&Welcome::Accepted { application, max_frame }.encode(), &[]]).ok()?;
                framed.set_limits(max_frame, Arc::clone(shared.budgets.of_role(peer.role())));
                Some(membership)
            }
            Err(refusal) => {
                let reason = match refusal {
                    Refusal::Module(_) => PeerRefusal::Module,
                    _ => PeerRefusal::UnknownApplication,
                };
                self.refuse(framed, refusal, reason);
                None
            }
        }
    }

    /// Answers requests until the connection is lost or the server stops.
    fn serve(&self, framed: &mut Framed, peer: &Peer, membership: &Membership) {
        let shared = &*self.shared;
        while !shared.stopping.load(Ordering::SeqCst) {
            let answered = match self.next(framed, peer, membership) {
                Next::Called { request, answer, mut lease } => {
                    let reply = match &answer {
                        // The module gives no such answer. A client could not take it.
                        Some(Ok(answer)) if answer.len() >= MAX_RESPONSE_LEN as usize => {
                            Response::Closed(cryptoki_sys::CKR_GENERAL_ERROR)
                        }
                        // A signed PSBT is at most half as long again as its request. More than that comes out of the budget.
                        Some(Ok(answer)) if lease.cover(answer.len().saturating_sub(request / 2)) => {
                            Response::Answered(answer)
                        }
                        Some(Ok(_)) | None => Response::Busy,
                        Some(Err(rv)) => Response::Closed(*rv),
                    };
                    self.respond(framed, request, &reply)
                }
                Next::NoRoom => {
                    shared.metrics.frame_refused(FrameRefusal::NoRoom);
                    self.respond(framed, 0, &Response::Busy)
                }
                Next::Silence => match membership.rest(shared.limits.idle) {
                    Some(rest) => framed.stream().rest_for(rest).map(|()| true),
                    None => {
                        shared.log.info(Cause::Ended, || {
                            format!("closed the connection of {}: it was silent for too long", self.who(peer))
                        });
                        return;
                    }
                },
                Next::Lost => return,
            };
            match answered {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    shared.log.info(Cause::Ended, || {
                        format!(
                            "closed the connection of {}: it does not read its answer: {error}",
                            self.who(peer)
                        )
                    });
                    return;
                }
            }
        }
    }

    /// Reads a request and answers it. The request is wiped when its call has ended.
    fn next(&self, framed: &mut Framed, peer: &Peer, membership: &Membership) -> Next {
        match framed.read() {
            Ok(Received::Frame(Frame { payload, lease })) => {
                let (request, answer) = (payload.len(), self.call(peer, membership, &payload));
                Next::Called { request, answer, lease }
            }
            Ok(Received::NoRoom) => Next::NoRoom,
            Ok(Received::End) => Next::Lost,
            Err(FrameError::Idle) => Next::Silence,
            Err(error) => {
                self.bad_frame(peer, &error);
                Next::Lost
            }
        }
    }

    /// Answers a request, when it is its turn. `None` if no turn came in time.
    fn call(&self, peer: &Peer, membership: &Membership, request: &[u8]) -> Option<Answer> {
        let shared = &*self.shared;
        let until = Instant::now() + shared.limits.frame;
        let _turn = shared.calls.of_role(peer.role()).enter(peer, Some(until))?;
        let _timed = Timed::begin(shared);
        Some(membership.answer(request).map(Wiped::from))
    }

    /// Writes a response. False: it is the last one.
    fn respond(&self, framed: &mut Framed, request: usize, reply: &Response<'_>) -> io::Result<bool> {
        let mut number = [0; 8];
        let parts = reply.parts(&mut number);
        let metrics = &self.shared.metrics;
        metrics.passed(request, parts[0].len() + parts[1].len());
        let outcome = match reply {
            Response::Answered(_) => Outcome::Answered,
            Response::Busy => Outcome::Busy,
            Response::Closed(_) => Outcome::Closed,
        };
        metrics.ended(outcome);
        framed.write(parts).map(|()| outcome != Outcome::Closed)
    }

    fn bad_frame(&self, peer: &Peer, error: &FrameError) {
        let reason = match error {
            FrameError::TooLong { .. } => FrameRefusal::TooLong,
            FrameError::Empty => FrameRefusal::Empty,
            FrameError::Slow => FrameRefusal::Slow,
            FrameError::Cut => FrameRefusal::Cut,
            FrameError::Idle | FrameError::Io(_) => {
                self.shared
                    .log
                    .info(Cause::Ended, || format!("lost the connection of {}: {error}", self.who(peer)));
                return;
            }
        };
        self.shared.metrics.frame_refused(reason);
        self.shared
            .log
            .warn(Cause::Frame, || format!("closed the connection of {}: {error}", self.who(peer)));
    }

    fn refuse(&self, framed: &mut Framed, refusal: Refusal, reason: PeerRefusal) {
        self.shared.metrics.refused(self.door, reason);
        // A peer that does not read it learns no reason.
        let _ = framed.write([&Welcome::Refused(refusal).encode(), &[]]);
        framed.stream().end_writing();
    }

    fn who(&self, peer: &dyn Display) -> String {
        match &self.from {
            Some(from) => format!("{peer} from {from}"),
            None => peer.to_string(),
        }
    }
}

type Answer = Result<Wiped, CkRv>;

/// What comes next on a connection.
enum Next {
    /// A request of so many bytes. No answer: no turn came in time.
    Called { request: usize, answer: Option<Answer>, lease: Lease },
    /// A request for which there is no room.
    NoRoom,
    /// Nothing, for too long.
    Silence,
    /// The end of the connection.
    Lost,
}

/// A call under way in the module.
struct Timed<'a> {
    shared: &'a Shared,
    began: Instant,
}

impl Timed<'_> {
    fn begin(shared: &Shared) -> Timed<'_> {
        shared.metrics.call_begins();
        Timed { shared, began: Instant::now() }
    }
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        self.shared.metrics.call_ends(self.began.elapsed());
    }
}

/// Counts one while it lives.
struct Counted(Gauge);

impl Counted {
    fn one_more(gauge: Gauge) -> Counted {
        gauge.inc();
        Counted(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
