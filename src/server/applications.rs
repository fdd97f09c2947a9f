//! Applications, and the connections that are their members.
//!
//! An application begins with one connection. More connections may join it, so that several threads can call at once. Losing one of
//! them ends the others, and the last to end closes the application.
//!
//! If the application was silent for too long, or the server stops, its connections only stop reading. A call under way, which may
//! have spent a code, is still answered.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use countersign::remote::hello::{ApplicationSecret, Hello, Refusal};
use countersign::remote::stream::Closer;
use countersign::remote::{Boundary, CkRv};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::allowed::Peer;
use super::metrics::Metrics;

/// All applications.
#[derive(Clone)]
pub(crate) struct Applications(Arc<Table>);

struct Table {
    boundary: Arc<dyn Boundary>,
    metrics: Arc<Metrics>,
    /// Whether the server is stopping.
    stopping: Arc<AtomicBool>,
    /// By the digest of their secrets, so that the time a search takes tells nothing about a secret.
    by_digest: Mutex<HashMap<[u8; 32], Arc<Application>>>,
}

struct Application {
    digest: [u8; 32],
    /// Its number in the module.
    handle: u64,
    peer: Peer,
    members: Mutex<Members>,
}

struct Members {
    closers: HashMap<u64, Closer>,
    next: u64,
    /// No connection may join any more.
    over: bool,
    /// Calls under way.
    calls: usize,
    /// When a call last began or ended.
    active: Instant,
}

/// A connection's membership in an application. Dropping it means that the connection is lost.
#[must_use]
pub(crate) struct Membership {
    table: Applications,
    application: Arc<Application>,
    number: u64,
}

impl Applications {
    pub(crate) fn new(
        boundary: Arc<dyn Boundary>,
        metrics: Arc<Metrics>,
        stopping: Arc<AtomicBool>,
    ) -> Applications {
        Applications(Arc::new(Table { boundary, metrics, stopping, by_digest: Mutex::default() }))
    }

    /// The membership that a greeting asks for, and the secret by which others join.
    pub(crate) fn enter(
        &self,
        hello: Hello,
        peer: &Peer,
        closer: Closer,
    ) -> Result<(Membership, ApplicationSecret), Refusal> {
        match hello.join {
            Some(secret) => self.join(&secret, peer, closer).map(|membership| (membership, secret)),
            None => self.open(hello.first_handle, peer, closer),
        }
    }

    fn open(
        &self,
        first_handle: u64,
        peer: &Peer,
        closer: Closer,
    ) -> Result<(Membership, ApplicationSecret), Refusal> {
        let mut random = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *random).map_err(|_| Refusal::Module(cryptoki_sys::CKR_DEVICE_ERROR))?;
        let secret = ApplicationSecret::new(*random);
        let role = peer.role();
        let handle = self.0.boundary.open(first_handle, role, &peer.identity()).map_err(Refusal::Module)?;
        let application = Arc::new(Application {
            digest: digest(&secret),
            handle,
            peer: peer.clone(),
            members: Mutex::new(Members {
                closers: HashMap::new(),
                next: 0,
                over: false,
                calls: 0,
                active: Instant::now(),
            }),
        });
        self.0.metrics.applications(role).inc();
        self.by_digest().insert(application.digest, Arc::clone(&application));
        let membership = self.membership(application, closer).expect("nobody could lose it yet");
        Ok((membership, secret))
    }

    fn join(&self, secret: &ApplicationSecret, peer: &Peer, closer: Closer) -> Result<Membership, Refusal> {
        let application = self.by_digest().get(&digest(secret)).cloned();
        // Other peers do not learn that it exists.
        let application = application.filter(|application| application.peer == *peer);
        application
            .and_then(|application| self.membership(application, closer))
            .ok_or(Refusal::UnknownApplication)
    }

    fn membership(&self, application: Arc<Application>, closer: Closer) -> Option<Membership> {
        let mut members = application.members();
        if members.over {
            return None;
        }
        let number = members.next;
        members.next += 1;
        members.closers.insert(number, closer);
        drop(members);
        Some(Membership { table: self.clone(), application, number })
    }

    fn by_digest(&self) -> MutexGuard<'_, HashMap<[u8; 32], Arc<Application>>> {
        self.0.by_digest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Application {
    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members {
    /// Ends all connections, once.
    fn end(&mut self, close: impl Fn(&Closer)) {
        if !std::mem::replace(&mut self.over, true) {
            self.closers.values().for_each(close);
        }
    }
}

impl Membership {
    /// Carries a request.
    pub(crate) fn answer(&self, request: &[u8]) -> Result<Zeroizing<Vec<u8>>, CkRv> {
        let application = &*self.application;
        let _under_way = UnderWay::begin(application);
        self.table.0.boundary.answer(application.handle, request)
    }

    /// How much longer the application may be silent, of `idle` in all. `None`: it was silent for that long, and has ended.
    pub(crate) fn rest(&self, idle: Duration) -> Option<Duration> {
        let mut members = self.application.members();
        if members.calls > 0 {
            return Some(idle);
        }
        let left = idle.saturating_sub(members.active.elapsed());
        if left.is_zero() {
            // Another connection may have read a request already, which is answered.
            members.end(Closer::close_reading);
            return None;
        }
        Some(left)
    }
}

struct UnderWay<'a>(&'a Application);

impl UnderWay<'_> {
    fn begin(application: &Application) -> UnderWay<'_> {
        let mut members = application.members();
        members.calls += 1;
        members.active = Instant::now();
        UnderWay(application)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut members = self.0.members();
        members.calls -= 1;
        members.active = Instant::now();
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let application = &*self.application;
        let stopping = self.table.0.stopping.load(Ordering::SeqCst);
        let mut members = application.members();
        members.closers.remove(&self.number);
        // While the server stops, every connection ends. That is no loss.
        members.end(if stopping { Closer::close_reading } else { Closer::close });
        let last = members.closers.is_empty();
        drop(members);
        // Nobody joins it any more, so removing it early or twice changes nothing.
        self.table.by_digest().remove(&application.digest);
        if last {
            self.table.0.boundary.close(application.handle);
            self.table.0.metrics.applications(application.peer.role()).dec();
        }
    }
}

fn digest(secret: &ApplicationSecret) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::health::Health;
    use countersign::remote::PeerRole;
    use countersign::remote::budget::Budget;
    use countersign::remote::standing::Standing;
    use countersign::remote::stream::{Patience, Stream};

    struct Echo;

    impl Boundary for Echo {
        fn open(&self, _first_handle: u64, _role: PeerRole, _identity: &str) -> Result<u64, CkRv> {
            Ok(1)
        }

        fn answer(&self, _application: u64, request: &[u8]) -> Result<Zeroizing<Vec<u8>>, CkRv> {
            Ok(Zeroizing::new(request.to_vec()))
        }

        fn close(&self, _application: u64) {}

        fn standing(&self) -> Standing {
            Standing::WELL
        }
    }

    fn connection() -> (Stream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let patience = Patience { rest: Duration::from_secs(60), frame: Duration::from_secs(60) };
        (Stream::accepted(OwnedFd::from(ours).into(), patience).expect("it is a socket"), theirs)
    }

    #[test]
    fn a_call_that_begins_while_silence_ends_its_application_is_answered() {
        let health = Arc::new(Health::new(Arc::new(Echo)));
        let metrics = Arc::new(Metrics::new([(); 3].map(|()| Budget::unlimited()), health));
        let applications = Applications::new(Arc::new(Echo), metrics, Arc::default());
        let peer = Peer::Unix { role: PeerRole::Backend, user: 0 };
        let ((silent, _), (mut calling, mut client)) = (connection(), connection());
        let enter = |join, stream: &Stream| {
            let hello = Hello { join, first_handle: 1 };
            applications.enter(hello, &peer, stream.closer()).expect("it is welcome")
        };
        let (first, secret) = enter(None, &silent);
        let (second, _) = enter(Some(secret.clone()), &calling);
        {
            let _under_way = UnderWay::begin(&second.application);
            assert_eq!(first.rest(Duration::ZERO), Some(Duration::ZERO), "a call is no silence");
        }
        assert!(first.rest(Duration::from_secs(60)).is_some());
        client.write_all(b"request").expect("it is taken");
        calling.read_exact(&mut [0; 7]).expect("it came");
        assert_eq!(first.rest(Duration::ZERO), None);
        drop(first);
        let join = Hello { join: Some(secret), first_handle: 1 };
        let joined = applications.enter(join, &peer, silent.closer());
        assert!(matches!(joined, Err(Refusal::UnknownApplication)));
        let answer = second.answer(b"answer").expect("it is open still");
        calling.write_all(&answer).expect("it can be written");
        client.read_exact(&mut [0; 6]).expect("it came");
        assert_eq!(calling.read(&mut [0; 1]).expect("no error"), 0, "nothing more is read");
    }
}
