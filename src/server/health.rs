//! The faults that keep a running server from serving: backends from signing, administrators from
//! administering, or users from approving at the desk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use countersign::remote::interface::Administration;
use countersign::remote::standing::{Standing, Trouble};
use countersign::remote::{Boundary, PeerRole};

use super::door::Door;
use super::socket_file::SocketFile;

/// The state of the server.
pub struct Health {
    boundary: Arc<dyn Boundary>,
    doors: Mutex<Vec<DoorState>>,
}

/// The state of a door.
struct DoorState {
    door: Door,
    /// The file of a Unix socket.
    file: Option<SocketFile>,
    has_panicked: bool,
}

/// The reason why nobody can use a door.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DoorTrouble {
    /// An internal error closed it.
    #[error("the door {} is closed after an internal error; restart the boundary", .0.name())]
    Closed(Door),
    /// Clients cannot find its socket any more.
    #[error("the door {} cannot be found: {file}", door.name())]
    SocketGone {
        /// The door.
        door: Door,
        /// The file of its socket.
        file: SocketFile,
    },
}

impl DoorTrouble {
    pub(crate) fn door(&self) -> Door {
        let (DoorTrouble::Closed(door) | DoorTrouble::SocketGone { door, .. }) = self;
        *door
    }
}

/// The result of one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    standing: Standing,
    signing: Vec<String>,
    administration: Vec<String>,
    desk: Vec<String>,
}

impl Report {
    /// Of the module and of the doors.
    pub fn of(standing: Standing, doors: &[DoorTrouble]) -> Report {
        let of_module = |stops: fn(Trouble) -> bool| {
            standing.troubles().filter(move |trouble| stops(*trouble)).map(|trouble| trouble.to_string())
        };
        let of_doors = |role: PeerRole| {
            doors.iter().filter(move |lost| lost.door().lets_in(role)).map(|lost| lost.to_string())
        };
        Report {
            standing,
            signing: of_module(Trouble::stops_signing).chain(of_doors(PeerRole::Backend)).collect(),
            administration: of_module(Trouble::stops_administration)
                .chain(of_doors(PeerRole::Administrator))
                .collect(),
            desk: of_doors(PeerRole::Desk).collect(),
        }
    }

    /// The troubles of the module.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// The problems that keep backends from signing.
    pub fn signing(&self) -> &[String] {
        &self.signing
    }

    /// The problems that keep administrators from administering.
    pub fn administration(&self) -> &[String] {
        &self.administration
    }

    /// The problems of the desk's own door. What stops signing stops the desk, too.
    pub fn desk(&self) -> &[String] {
        &self.desk
    }

    /// All problems, some of them twice.
    pub fn problems(&self) -> impl Iterator<Item = &str> {
        self.signing.iter().chain(&self.administration).chain(&self.desk).map(String::as_str)
    }
}

impl Health {
    pub(crate) fn new(boundary: Arc<dyn Boundary>) -> Health {
        Health { boundary, doors: Mutex::default() }
    }

    /// Checks everything now.
    pub fn report(&self) -> Report {
        Report::of(self.boundary.standing(), &self.lost_doors())
    }

    /// Every door that exists.
    pub(crate) fn doors(&self) -> Vec<Door> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|known| known.door).collect()
    }

    /// The doors that nobody can use now, and the reasons.
    pub(crate) fn lost_doors(&self) -> Vec<DoorTrouble> {
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = doors.iter().filter_map(|DoorState { door, file, has_panicked }| match file {
            _ if *has_panicked => Some(DoorTrouble::Closed(*door)),
            Some(file) if file.is_gone() => Some(DoorTrouble::SocketGone { door: *door, file: file.clone() }),
            _ => None,
        });
        lost.collect()
    }

    /// The counts of administration.
    pub(crate) fn counted(&self) -> Administration {
        self.boundary.administration()
    }

    /// Records that a door is open, and its file.
    pub(crate) fn opened(&self, door: Door, file: Option<SocketFile>) {
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        doors.retain(|known| known.door != door);
        doors.push(DoorState { door, file, has_panicked: false });
    }

    /// Records that all doors are closed.
    pub(crate) fn closed(&self) {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Does the work of a door, and records whether it panicked.
    pub(crate) fn of_door(&self, door: Door, work: impl FnOnce()) {
        // Nobody uses its state afterwards.
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
            doors.iter_mut().filter(|known| known.door == door).for_each(|known| known.has_panicked = true);
            tracing::error!("{}", DoorTrouble::Closed(door));
        }
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use countersign::remote::{CkRv, PeerRole};

    struct Well;

    impl Boundary for Well {
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

    #[test]
    fn a_door_that_panics_is_noticed() {
        let health = Health::new(Arc::new(Well));
        let backend = Door::Unix(PeerRole::Backend);
        health.opened(backend, None);
        health.of_door(backend, || {});
        assert_eq!(health.lost_doors(), [], "it was told to close");
        health.of_door(backend, || panic!("as it was asked"));
        assert_eq!(health.lost_doors(), [DoorTrouble::Closed(backend)]);
        assert_eq!((health.report().signing().len(), health.report().administration().len()), (1, 0));
    }

    #[test]
    fn signing_and_administration_have_troubles_of_their_own() {
        let stopped = |troubles: &[Trouble], doors: &[DoorTrouble]| {
            let standing = troubles.iter().fold(Standing::WELL, |standing, trouble| standing.with(*trouble));
            let report = Report::of(standing, doors);
            (!report.signing().is_empty(), !report.administration().is_empty())
        };
        let lost = |door| [DoorTrouble::Closed(door)];
        assert_eq!(stopped(&[], &[]), (false, false));
        let all = [
            Trouble::StoreClosed,
            Trouble::StoreLost,
            Trouble::Reviving,
            Trouble::Token,
            Trouble::StoreStuck,
            Trouble::PinRefused,
        ];
        for trouble in all {
            assert_eq!(stopped(&[trouble], &[]), (true, true), "{trouble}");
        }
        for trouble in [Trouble::Clock, Trouble::Breaker] {
            assert_eq!(stopped(&[trouble], &[]), (true, false), "{trouble}");
        }
        assert_eq!(stopped(&[Trouble::OfficerLocked], &[]), (false, true));
        assert_eq!(stopped(&[], &lost(Door::Unix(PeerRole::Backend))), (true, false));
        assert_eq!(stopped(&[], &lost(Door::Unix(PeerRole::Administrator))), (false, true));
        assert_eq!(stopped(&[], &lost(Door::Tcp)), (true, true));
        let desk = lost(Door::Unix(PeerRole::Desk));
        assert_eq!(stopped(&[], &desk), (false, false));
        let report = Report::of(Standing::WELL, &desk);
        assert_eq!((report.desk().len(), report.problems().count()), (1, 1));
        assert!(Report::of(Standing::WELL, &lost(Door::Tcp)).desk().is_empty(), "no desk comes in there");
    }
}
