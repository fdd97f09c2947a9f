//! What a door does with a connection: gives it a thread, or turns it away.

use std::sync::Arc;
use std::time::Instant;

use countersign::remote::PeerRole;
use countersign::remote::budget::Budget;
use countersign::remote::hello::{MAX_GREETING_LEN, Refusal, Welcome};
use countersign::remote::stream::{Framed, Patience, Stream};
use rustix::net::sockopt::socket_peercred;
use socket2::Socket;

use super::Shared;
use super::allowed::Peer;
use super::connection::Connection;
use super::door::{Arrival, Door};
use super::limits::Cause;
use super::metrics::PeerRefusal;

/// The stack of a connection's thread. Only the part in use takes memory.
const STACK: usize = 2 << 20;

/// Takes or refuses a connection. Nothing here waits for the peer, so the door goes on at once.
pub(crate) fn admit(shared: &Arc<Shared>, arrival: Arrival) {
    let Arrival { door, socket, from } = arrival;
    shared.metrics.came(door);
    let judged = match door {
        Door::Unix(role) => socket_peercred(&socket)
            .map_err(|error| format!("the system does not name its user ({error})"))
            .and_then(|found| {
                let user = found.uid.as_raw();
                shared.allowed().user(role, user).map(Some).ok_or_else(|| {
                    format!(
                        "user {user} is not {}; add the user there if it may connect",
                        match role {
                            PeerRole::Backend => "among serve.backend.users",
                            PeerRole::Administrator => "among serve.administrators.users",
                            PeerRole::Desk => "serve.desk.user",
                        }
                    )
                })
            }),
        Door::Vsock => from
            .as_vsock_address()
            .ok_or_else(|| "the system does not name its context id".into())
            .and_then(|(cid, _)| {
                shared.allowed().context(cid).map(Some).ok_or_else(|| {
                    format!("context id {cid} is not in [serve.vsock]; add it there if it may connect")
                })
            }),
        // Its certificate will name it.
        Door::Tcp => Ok(None),
    };
    let peer = match judged {
        Ok(peer) => peer,
        Err(why) => {
            let line = || format!("closed a connection at the door {}: {why}", door.name());
            return turn_away(shared, door, socket, Refusal::NotAllowed, line);
        }
    };
    let place = match &peer {
        Some(peer) => shared.places.of_role(peer.role()).enter(),
        None => shared.strangers.enter(),
    };
    let Some(place) = place else {
        let line = || full(door, peer.as_ref());
        return turn_away(shared, door, socket, Refusal::TooManyConnections, line);
    };
    let from = from.as_socket().map(|from| from.to_string());
    let connection = Connection { shared: Arc::clone(shared), door, from, accepted: Instant::now() };
    let spawned = std::thread::Builder::new()
        .name("connection".into())
        .stack_size(STACK)
        .spawn(move || connection.run(socket, peer, place));
    if let Err(error) = spawned {
        shared.metrics.refused(door, PeerRefusal::TooMany);
        shared.log.warn(Cause::Full, || {
            format!(
                "closed a connection: the system has no thread for it: {error}; raise TasksMax and LimitMEMLOCK, or lower serve.max_connections"
            )
        });
    }
}

fn full(door: Door, peer: Option<&Peer>) -> String {
    let door = door.name();
    match peer {
        Some(peer) => format!(
            "refused {peer} at the door {door}: this role already has serve.max_connections open; close some, or raise the limit"
        ),
        None => format!(
            "closed a connection at the door {door}: too many connections there have not shown a certificate yet"
        ),
    }
}

/// Closes a connection, and says why if that needs no waiting.
fn turn_away(shared: &Shared, door: Door, socket: Socket, refusal: Refusal, line: impl FnOnce() -> String) {
    let (cause, reason) = match refusal {
        Refusal::NotAllowed => (Cause::PeerRefused, PeerRefusal::NotAllowed),
        _ => (Cause::Full, PeerRefusal::TooMany),
    };
    shared.metrics.refused(door, reason);
    shared.log.warn(cause, line);
    // Before TLS nothing can be said. Elsewhere the refusal fits into the empty queue of a new socket.
    if door == Door::Tcp || socket.set_nonblocking(true).is_err() {
        return;
    }
    let patience = Patience { rest: shared.limits.frame, frame: shared.limits.frame };
    if let Ok(stream) = Stream::accepted(socket, patience) {
        let mut framed = Framed::new(stream, MAX_GREETING_LEN, Budget::unlimited());
        // A peer that does not read it learns no reason.
        let _ = framed.write([&Welcome::Refused(refusal).encode(), &[]]);
    }
}
