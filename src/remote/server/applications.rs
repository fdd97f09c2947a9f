//! Applications, and the lanes that lead to them.
//!
//! An application begins with a connection and may have more, its lanes, for calls of several threads at a time. It lasts as
//! long as all of them do: the first that is lost ends the others, and the last that ends closes it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::allowed::Peer;
use super::metrics::Metrics;
use crate::remote::hello::{ApplicationSecret, Hello, Refusal};
use crate::remote::stream::Closer;
use crate::remote::{Boundary, CkRv};

/// All of them.
#[derive(Clone)]
pub(super) struct Applications(Arc<Table>);

struct Table {
    boundary: Arc<dyn Boundary>,
    metrics: Arc<Metrics>,
    /// By the digest of their secrets: how long looking for one takes tells nothing of another.
    by_digest: Mutex<HashMap<[u8; 32], Arc<Application>>>,
}

struct Application {
    digest: [u8; 32],
    /// What the boundary calls it.
    handle: u64,
    peer: Peer,
    began: Instant,
    /// When a frame last came or went, in milliseconds from its beginning.
    active: AtomicU64,
    calls: AtomicUsize,
    lanes: Mutex<Lanes>,
}

#[derive(Default)]
struct Lanes {
    closers: HashMap<u64, Closer>,
    next: u64,
    lost: bool,
}

/// A connection's part in an application; dropping it is losing it.
#[must_use]
pub(super) struct Lane {
    table: Applications,
    application: Arc<Application>,
    number: u64,
}

impl Applications {
    pub(super) fn new(boundary: Arc<dyn Boundary>, metrics: Arc<Metrics>) -> Applications {
        Applications(Arc::new(Table { boundary, metrics, by_digest: Mutex::default() }))
    }

    /// The lane that a greeting asks for, and the secret for further ones.
    pub(super) fn enter(
        &self,
        hello: Hello,
        peer: &Peer,
        closer: Closer,
    ) -> Result<(Lane, ApplicationSecret), Refusal> {
        match hello.join {
            Some(secret) => self.join(&secret, peer, closer).map(|lane| (lane, secret)),
            None => self.open(hello.first_handle, peer, closer),
        }
    }

    fn open(
        &self,
        first_handle: u64,
        peer: &Peer,
        closer: Closer,
    ) -> Result<(Lane, ApplicationSecret), Refusal> {
        let mut random = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *random).map_err(|_| Refusal::Module(cryptoki_sys::CKR_DEVICE_ERROR))?;
        let secret = ApplicationSecret::new(*random);
        let role = peer.role();
        let handle = self.0.boundary.open(first_handle, role).map_err(Refusal::Module)?;
        let application = Arc::new(Application {
            digest: digest(&secret),
            handle,
            peer: peer.clone(),
            began: Instant::now(),
            active: AtomicU64::new(0),
            calls: AtomicUsize::new(0),
            lanes: Mutex::default(),
        });
        self.0.metrics.applications(role).inc();
        self.by_digest().insert(application.digest, Arc::clone(&application));
        let lane = self.lane(application, closer).expect("nobody could lose it yet");
        Ok((lane, secret))
    }

    fn join(&self, secret: &ApplicationSecret, peer: &Peer, closer: Closer) -> Result<Lane, Refusal> {
        let application = self.by_digest().get(&digest(secret)).cloned();
        // Whose it is is not told to others.
        let application = application.filter(|application| application.peer == *peer);
        application.and_then(|application| self.lane(application, closer)).ok_or(Refusal::UnknownApplication)
    }

    fn lane(&self, application: Arc<Application>, closer: Closer) -> Option<Lane> {
        let mut lanes = application.lanes();
        if lanes.lost {
            return None;
        }
        let number = lanes.next;
        lanes.next += 1;
        lanes.closers.insert(number, closer);
        drop(lanes);
        Some(Lane { table: self.clone(), application, number })
    }

    fn by_digest(&self) -> MutexGuard<'_, HashMap<[u8; 32], Arc<Application>>> {
        self.0.by_digest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Application {
    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        self.active.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }
}

impl Lane {
    /// Carries a request.
    pub(super) fn call(&self, request: &[u8]) -> Result<Zeroizing<Vec<u8>>, CkRv> {
        let application = &*self.application;
        application.calls.fetch_add(1, Ordering::Relaxed);
        application.touch();
        let _under_way = UnderWay(application);
        self.table.0.boundary.call(application.handle, request)
    }

    /// How much longer the application may be silent, of `idle` in all. None: it was silent for as long.
    pub(super) fn rest(&self, idle: Duration) -> Option<Duration> {
        let application = &*self.application;
        if application.calls.load(Ordering::Relaxed) > 0 {
            return Some(idle);
        }
        let active = Duration::from_millis(application.active.load(Ordering::Relaxed));
        let silent = application.began.elapsed().saturating_sub(active);
        idle.checked_sub(silent).filter(|left| !left.is_zero())
    }
}

struct UnderWay<'a>(&'a Application);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.touch();
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let application = &*self.application;
        let mut lanes = application.lanes();
        lanes.closers.remove(&self.number);
        let first = !std::mem::replace(&mut lanes.lost, true);
        if first {
            lanes.closers.values().for_each(Closer::close);
        }
        let last = lanes.closers.is_empty();
        drop(lanes);
        if first {
            self.table.by_digest().remove(&application.digest);
        }
        if last {
            self.table.0.boundary.close(application.handle);
            self.table.0.metrics.applications(application.peer.role()).dec();
        }
    }
}

fn digest(secret: &ApplicationSecret) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}
