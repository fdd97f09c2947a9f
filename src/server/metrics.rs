//! The metrics. No name of a user or a wallet is in them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use countersign::kernel::act::ActCount;
use countersign::remote::PeerRole;
use countersign::remote::budget::Budget;
use countersign::remote::interface::Administration;
use countersign::remote::standing::Trouble;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::door::Door;
use super::health::Health;

/// The metrics.
pub struct Metrics {
    registry: Registry,
    budgets: [Arc<Budget>; 3],
    budget_used: Gauge,
    health: Arc<Health>,
    store_closed: Gauge,
    resident: Gauge,
    serving: Family<OfService, Gauge>,
    troubles: Family<OfTrouble, Gauge>,
    doors_lost: Family<OfDoor, Gauge>,
    administration: Family<OfAct, Counter>,
    frozen: Family<OfFrozen, Gauge>,
    proposals: Family<OfProposal, Gauge>,
    consents: Family<OfProposal, Gauge>,
    consent_events: Family<OfEvent, Counter>,
    connections: Family<OfDoor, Gauge>,
    accepted: Family<OfDoor, Counter>,
    refused: Family<RefusedPeer, Counter>,
    applications: Family<OfRole, Gauge>,
    frames_refused: Family<RefusedFrame, Counter>,
    calls: [Counter; 3],
    in_flight: Gauge,
    seconds: Histogram,
    bytes_in: Counter<u64, AtomicU64>,
    bytes_out: Counter<u64, AtomicU64>,
}

/// The reason why a peer was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PeerRefusal {
    /// It is not among those that may connect.
    NotAllowed,
    /// All places for connections were taken.
    TooMany,
    /// The TLS handshake failed.
    Tls,
    /// It sent no greeting, or sent it too late.
    Greeting,
    /// It speaks another version.
    Version,
    /// The application to join does not exist or belongs to another peer.
    UnknownApplication,
    /// The server was stopping.
    Stopping,
    /// The module did not begin an application.
    Module,
}

/// The reason why a frame was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FrameRefusal {
    /// Longer than allowed.
    TooLong,
    /// Empty.
    Empty,
    /// Not complete in time.
    Slow,
    /// The connection ended within it.
    Cut,
    /// There was no budget for it.
    NoRoom,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// The module answered it.
    Answered,
    /// There was no room for it.
    Busy,
    /// The application was over.
    Closed,
}

/// The values of labels, in lower case as usual in Prometheus.
macro_rules! labels {
    ($($type:ident { $($variant:ident => $label:literal,)+ })+) => {
        $(impl EncodeLabelValue for $type {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
                let label = match self {
                    $($type::$variant => $label,)+
                };
                label.encode(encoder)
            }
        })+
    };
}

labels! {
    PeerRefusal {
        NotAllowed => "not_allowed",
        TooMany => "too_many",
        Tls => "tls",
        Greeting => "greeting",
        Version => "version",
        UnknownApplication => "unknown_application",
        Stopping => "stopping",
        Module => "module",
    }
    FrameRefusal {
        TooLong => "too_long",
        Empty => "empty",
        Slow => "slow",
        Cut => "cut",
        NoRoom => "no_room",
    }
    Outcome {
        Answered => "answered",
        Busy => "busy",
        Closed => "closed",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfDoor {
    door: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfService {
    what: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTrouble {
    trouble: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRole {
    role: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedPeer {
    door: &'static str,
    reason: PeerRefusal,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedFrame {
    reason: FrameRefusal,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfAct {
    act: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfFrozen {
    what: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfProposal {
    state: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfEvent {
    event: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfDirection {
    direction: &'static str,
}

impl Metrics {
    /// Nothing is counted yet.
    pub(crate) fn new(budgets: [Arc<Budget>; 3], health: Arc<Health>) -> Metrics {
        let mut registry = Registry::with_prefix("countersign");
        let calls: Family<OfOutcome, Counter> = Family::default();
        let bytes: Family<OfDirection, Counter> = Family::default();
        let metrics = Metrics {
            connections: Family::default(),
            accepted: Family::default(),
            refused: Family::default(),
            applications: Family::default(),
            frames_refused: Family::default(),
            // Counted at each call, so these are looked up once.
            calls: [Outcome::Answered, Outcome::Busy, Outcome::Closed]
                .map(|outcome| calls.get_or_create_owned(&OfOutcome { outcome })),
            in_flight: Gauge::default(),
            // 50 microseconds to some 26 seconds.
            seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 20)),
            bytes_in: bytes.get_or_create_owned(&OfDirection { direction: "in" }),
            bytes_out: bytes.get_or_create_owned(&OfDirection { direction: "out" }),
            registry: Registry::default(),
            budgets,
            budget_used: Gauge::default(),
            health,
            store_closed: Gauge::default(),
            resident: Gauge::default(),
            serving: Family::default(),
            troubles: Family::default(),
            doors_lost: Family::default(),
            administration: Family::default(),
            frozen: Family::default(),
            proposals: Family::default(),
            consents: Family::default(),
            consent_events: Family::default(),
        };
        registry.register("connections", "Connections that are there", metrics.connections.clone());
        registry.register("connections_accepted", "Connections that peers opened", metrics.accepted.clone());
        registry.register("peers_refused", "Connections that were not served", metrics.refused.clone());
        registry.register("applications", "Applications that are open", metrics.applications.clone());
        registry.register("frames_refused", "Frames that were refused", metrics.frames_refused.clone());
        registry.register("calls", "Calls that ended", calls);
        registry.register("calls_in_flight", "Calls under way in the module", metrics.in_flight.clone());
        registry.register_with_unit(
            "call",
            "Time of calls in the module",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register_with_unit("frames", "Bytes of frames", Unit::Bytes, bytes);
        registry.register_with_unit(
            "large_frames",
            "Memory of all large frames under way",
            Unit::Bytes,
            metrics.budget_used.clone(),
        );
        registry.register(
            "store_closed",
            "Whether the store is closed, until the boundary is restarted",
            metrics.store_closed.clone(),
        );
        registry.register_with_unit(
            "resident_memory",
            "Memory of this process, including the backing module's",
            Unit::Bytes,
            metrics.resident.clone(),
        );
        registry.register(
            "serving",
            "Whether backends can sign and administrators can administer, as /health says it",
            metrics.serving.clone(),
        );
        registry.register(
            "trouble",
            "Faults that keep the module from its work: 1 while they last",
            metrics.troubles.clone(),
        );
        registry.register(
            "door_lost",
            "Whether a door admits nobody: its socket file is gone, or an internal error ended it",
            metrics.doors_lost.clone(),
        );
        registry.register(
            "administration",
            "Acts of administration, by kind and outcome: done, with more allowed or not, or refused",
            metrics.administration.clone(),
        );
        registry.register(
            "frozen",
            "Things that are frozen, by kind: wallets, keys, users, and 1 for everything",
            metrics.frozen.clone(),
        );
        registry.register(
            "proposals",
            "Acts that were proposed to officers, by state, until their texts expire",
            metrics.proposals.clone(),
        );
        registry.register(
            "consents",
            "Transactions that were proposed to users, by state, while they have a record",
            metrics.consents.clone(),
        );
        registry.register(
            "consent_events",
            "What became of proposed transactions: asked, given, refused by a user, withdrawn",
            metrics.consent_events.clone(),
        );
        Metrics { registry, ..metrics }
    }

    /// All metrics, in the text format of OpenMetrics.
    pub fn encode(&self) -> String {
        self.budget_used.set(self.budgets.iter().map(|budget| budget.used() as i64).sum());
        self.show_health();
        self.resident.set(resident_bytes());
        self.take_over(&self.health.counted());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("writing to a string does not fail");
        text
    }

    fn show_health(&self) {
        let (report, lost) = (self.health.report(), self.health.lost_doors());
        let standing = report.standing();
        let closed = [Trouble::StoreClosed, Trouble::StoreLost].iter().any(|trouble| standing.has(*trouble));
        self.store_closed.set(i64::from(closed));
        for (what, problems) in [("signing", report.signing()), ("administration", report.administration())] {
            self.serving.get_or_create(&OfService { what }).set(i64::from(problems.is_empty()));
        }
        for trouble in Trouble::ALL {
            let shown = self.troubles.get_or_create_owned(&OfTrouble { trouble: trouble.label() });
            shown.set(i64::from(standing.has(trouble)));
        }
        for door in self.health.doors() {
            let is_lost = lost.iter().any(|lost| lost.door() == door);
            self.doors_lost.get_or_create(&OfDoor { door: door.name() }).set(i64::from(is_lost));
        }
    }

    /// The module counts these. Here they are only copied.
    fn take_over(&self, counted: &Administration) {
        let Administration { acts, frozen, proposals, consents, consent_events } = counted;
        for ActCount { act, outcome, count } in acts {
            let of = OfAct { act: act.clone(), outcome: outcome.name() };
            let shown = self.administration.get_or_create_owned(&of);
            shown.inc_by(count.saturating_sub(shown.get()));
        }
        for (what, count) in frozen {
            let shown = self.frozen.get_or_create_owned(&OfFrozen { what: what.clone() });
            shown.set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
        for (shown, counted) in [(&self.proposals, proposals), (&self.consents, consents)] {
            // The module could not count them: a number from before would hide that.
            if counted.is_empty() {
                shown.clear();
            }
            for (state, count) in counted {
                let shown = shown.get_or_create_owned(&OfProposal { state: state.clone() });
                shown.set(i64::try_from(*count).unwrap_or(i64::MAX));
            }
        }
        for (event, count) in consent_events {
            let shown = self.consent_events.get_or_create_owned(&OfEvent { event: event.clone() });
            shown.inc_by(count.saturating_sub(shown.get()));
        }
    }

    pub(crate) fn connections(&self, door: Door) -> Gauge {
        self.connections.get_or_create_owned(&OfDoor { door: door.name() })
    }

    pub(crate) fn came(&self, door: Door) {
        self.accepted.get_or_create(&OfDoor { door: door.name() }).inc();
    }

    pub(crate) fn refused(&self, door: Door, reason: PeerRefusal) {
        self.refused.get_or_create(&RefusedPeer { door: door.name(), reason }).inc();
    }

    pub(crate) fn applications(&self, role: PeerRole) -> Gauge {
        let role = match role {
            PeerRole::Backend => "backend",
            PeerRole::Administrator => "administrator",
            PeerRole::Desk => "desk",
        };
        self.applications.get_or_create_owned(&OfRole { role })
    }

    pub(crate) fn frame_refused(&self, reason: FrameRefusal) {
        self.frames_refused.get_or_create(&RefusedFrame { reason }).inc();
    }

    pub(crate) fn call_begins(&self) {
        self.in_flight.inc();
    }

    pub(crate) fn call_ends(&self, took: Duration) {
        self.in_flight.dec();
        self.seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn ended(&self, outcome: Outcome) {
        self.calls[outcome as usize].inc();
    }

    pub(crate) fn passed(&self, request: usize, answer: usize) {
        self.bytes_in.inc_by(request as u64);
        self.bytes_out.inc_by(answer as u64);
    }
}

/// Memory of this process (`proc_pid_status(5)`), or 0 if the system does not show it.
fn resident_bytes() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.trim().parse::<i64>().ok());
    kilobytes.map_or(0, |kilobytes| kilobytes.saturating_mul(1024))
}
