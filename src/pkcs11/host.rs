//! The engine for many applications, each of which came in over a connection. `countersign serve` calls it
//! ([`crate::remote::interface`]).
//!
//! H1. A request must keep the same bounds as one from `entry`. Otherwise it is refused before anything looks
//!     at it. The memory for its answer is leased before anything of the answer exists
//!     ([`super::answer_memory`]). No peer has more than its share of the cores while another waits
//!     ([`crate::cores`]).
//! H2. An application sees its own sessions, logins and handles, and no other's.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};

use cryptoki_sys::*;
use zeroize::Zeroizing;

use super::acts;
use super::answer_memory::MemoryLease;
use super::application::{Application, Caller, Totals};
use super::codec::{decode, encode};
use super::ration;
use super::reply::Reply;
use super::request::{Envelope, Request};
use super::rv::{Answer, Rv};
use crate::cores::{self, PeerNumber};
use crate::engine::{Engine, EngineStanding};
use crate::open::{OpenError, open_engine};
use crate::ports::{LedgerStanding, ReopenError};
use crate::remote::standing::{Standing, Trouble};
use crate::remote::{PeerRole, interface};

/// The largest first handle. Handles count up from there, and never overflow.
const MAX_FIRST_HANDLE: u64 = 1 << 62;

/// The engine with its applications.
struct Host {
    engine: Arc<Engine>,
    /// Of backends, of administrators and of the desk, so that none can use up what another needs.
    totals: [Arc<Totals>; 3],
    applications: HashMap<CK_ULONG, (Arc<Application>, PeerNumber)>,
    last: CK_ULONG,
    /// A number for every peer that has ever come, by its identity.
    peers: HashMap<Vec<u8>, PeerNumber>,
}

static HOST: RwLock<Option<Host>> = RwLock::new(None);

/// Opens the engine that the configuration describes.
pub(super) fn open() -> Answer {
    host(open_engine().map_err(|error| match error {
        // Otherwise a service manager that starts us again and again would make the token lock its PIN.
        OpenError::Backing(ReopenError::Refused(error)) => {
            tracing::error!("{error}");
            Rv(CKR_PIN_INCORRECT)
        }
        error => error.into(),
    })?)
}

/// Makes this engine the one that is hosted.
pub(super) fn host(engine: Engine) -> Answer {
    let mut host = HOST.write().unwrap_or_else(PoisonError::into_inner);
    if host.is_some() {
        return Err(Rv(CKR_CRYPTOKI_ALREADY_INITIALIZED));
    }
    *host = Some(Host {
        engine: Arc::new(engine),
        totals: Default::default(),
        applications: HashMap::new(),
        last: 0,
        peers: HashMap::new(),
    });
    Ok(())
}

/// Begins an application.
pub(super) fn begin(first_handle: u64, role: PeerRole, identity: &[u8]) -> Answer<CK_ULONG> {
    if first_handle > MAX_FIRST_HANDLE {
        return Err(Rv(CKR_ARGUMENTS_BAD));
    }
    let caller = Caller::peer(role, identity).ok_or(Rv(CKR_ARGUMENTS_BAD))?;
    let mut host = HOST.write().unwrap_or_else(PoisonError::into_inner);
    let host = host.as_mut().ok_or(Rv(CKR_CRYPTOKI_NOT_INITIALIZED))?;
    host.last += 1;
    let totals = match role {
        PeerRole::Backend => &host.totals[0],
        PeerRole::Administrator => &host.totals[1],
        PeerRole::Desk => &host.totals[2],
    };
    let application = Application::new(Arc::clone(&host.engine), Arc::clone(totals), caller, first_handle);
    let next = host.peers.len() as PeerNumber + 1;
    let peer = *host.peers.entry(identity.to_vec()).or_insert(next);
    host.applications.insert(host.last, (Arc::new(application), peer));
    Ok(host.last)
}

/// An answer, with the memory that it holds until it is delivered.
pub(super) struct Delivery {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    _room: Option<MemoryLease>,
}

/// Answers a request of an application.
pub(super) fn answer(application: CK_ULONG, request: &[u8]) -> Answer<Delivery> {
    let (application, peer) = {
        let host = HOST.read().unwrap_or_else(PoisonError::into_inner);
        let host = host.as_ref().ok_or(Rv(CKR_CRYPTOKI_NOT_INITIALIZED))?;
        let (application, peer) =
            host.applications.get(&application).ok_or(Rv(CKR_CRYPTOKI_NOT_INITIALIZED))?;
        (Arc::clone(application), *peer)
    };
    // A panic becomes that call's answer, as in a process with its own engine.
    let answer =
        catch_unwind(AssertUnwindSafe(|| cores::work(peer, || carry_out(&application, peer, request))));
    let (reply, room) = match answer.unwrap_or(Err(Rv(CKR_GENERAL_ERROR))) {
        Ok((reply, room)) => (Ok(reply), Some(room)),
        Err(rv) => (Err(rv), None),
    };
    Ok(Delivery { bytes: encode(&reply)?, _room: room })
}

/// Ends an application. Its calls under way run to their end.
pub(super) fn end(application: CK_ULONG) -> Answer {
    let ended = {
        let mut host = HOST.write().unwrap_or_else(PoisonError::into_inner);
        host.as_mut().and_then(|host| host.applications.remove(&application))
    };
    ended.map(|(application, _)| application.close_all_sessions()).ok_or(Rv(CKR_CRYPTOKI_NOT_INITIALIZED))
}

/// Any fault that keeps the engine from working.
pub(super) fn standing() -> Answer<Standing> {
    let host = HOST.read().unwrap_or_else(PoisonError::into_inner);
    let engine = Arc::clone(&host.as_ref().ok_or(Rv(CKR_CRYPTOKI_NOT_INITIALIZED))?.engine);
    // Looking takes time, and nobody who begins or ends an application should wait for it.
    drop(host);
    // This call comes every few seconds, also where no peer calls.
    acts::tick(&engine);
    let EngineStanding {
        ledger,
        lacks_randomness,
        pin_is_refused,
        clock_is_refused,
        is_stopped,
        officer_is_locked,
    } = engine.standing();
    let troubles = [
        // An older `serve` does not know the state of a refused PIN, so it also gets one that it knows.
        (matches!(ledger, LedgerStanding::Closed | LedgerStanding::Refused), Trouble::StoreClosed),
        (ledger == LedgerStanding::Lost, Trouble::StoreLost),
        (ledger == LedgerStanding::Reviving, Trouble::Reviving),
        (lacks_randomness, Trouble::Token),
        (clock_is_refused, Trouble::Clock),
        (is_stopped, Trouble::Breaker),
        (officer_is_locked, Trouble::OfficerLocked),
        (ledger == LedgerStanding::Stuck, Trouble::StoreStuck),
        (pin_is_refused, Trouble::PinRefused),
    ];
    let present = troubles.into_iter().filter(|(is_there, _)| *is_there);
    Ok(present.fold(Standing::WELL, |standing, (_, trouble)| standing.with(trouble)))
}

/// The counts of administration ([`interface::Administration`]).
pub(super) fn administration() -> Answer<Vec<u8>> {
    let host = HOST.read().unwrap_or_else(PoisonError::into_inner);
    let host = host.as_ref().ok_or(Rv(CKR_CRYPTOKI_NOT_INITIALIZED))?;
    let frozen = host.engine.frozen_counts().map(|(what, count)| (what.name().to_owned(), count)).into();
    // Without counts nobody takes a store that cannot be read for one in which nothing waits.
    let proposals = host.engine.proposal_counts().unwrap_or_else(|error| {
        tracing::error!("the proposed acts cannot be counted: {error}");
        vec![]
    });
    let consents = host.engine.consent_counts().unwrap_or_else(|error| {
        tracing::error!("the proposed transactions cannot be counted: {error}");
        vec![]
    });
    let counted = interface::Administration {
        acts: host.engine.act_counts(),
        frozen,
        proposals: owned(proposals),
        consents: owned(consents),
        consent_events: owned(host.engine.consent_events()),
    };
    postcard::to_allocvec(&counted).map_err(|_| Rv(CKR_GENERAL_ERROR))
}

fn owned(counts: Vec<(&'static str, u64)>) -> Vec<(String, u64)> {
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

/// Closes the engine.
pub(super) fn close() -> Answer {
    let host = HOST.write().unwrap_or_else(PoisonError::into_inner).take();
    host.map(drop).ok_or(Rv(CKR_CRYPTOKI_NOT_INITIALIZED))
}

fn carry_out(application: &Application, peer: PeerNumber, request: &[u8]) -> Answer<(Reply, MemoryLease)> {
    let Envelope { sign_init, request } = decode(request).ok_or(Rv(CKR_ARGUMENTS_BAD))?;
    if !request.is_bounded() {
        return Err(Rv(CKR_ARGUMENTS_BAD));
    }
    ration::check(peer, &request, application.role().is_some())?;
    let room = application
        .lease(&request)
        .inspect_err(|rv| end_refused(application, sign_init.is_some(), &request, *rv))?;
    if let Some(sign_init) = sign_init {
        if !matches!(sign_init, Request::SignInit { .. }) || !sign_init.is_bounded() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        application.answer(sign_init)?;
    }
    let is_login = ration::is_login(&request);
    let reply = application.answer(request)?;
    ration::count(peer, is_login, &reply);
    Ok((reply, room))
}

/// Ends the operation that `request` would have ended by failing, because there is no memory for its answer.
/// An operation that comes with the request never began.
fn end_refused(application: &Application, comes_with_it: bool, request: &Request, rv: Rv) {
    match request.refused(rv) {
        Some(Request::SignUpdate { .. }) if comes_with_it => {}
        Some(end) => drop(application.answer(end)),
        None => {}
    }
}
