//! A token with three officers, two of whom must sign what loosens, which then waits for two hours, or for one if all three have signed.

use totp_rs::Totp;

use countersign::admin::{Act, KeyChange, WalletChange};
use countersign::engine::{EngineError, ProposalStanding, ProposalView, WalletId};
use countersign::kernel::audit::Event;
use countersign::kernel::motion::{ActText, Nonce};
use countersign::kernel::proposal::{ProposalError, veto_text};
use harness::engine::Bench;
use harness::engine::officers::Signers;

pub(super) const LIMITS: &str = "max_fee_sat = 1000\nmax_transaction_sat = 100000";
pub(super) const HIGHER: &str = "max_fee_sat = 1000\nmax_transaction_sat = 900000";
pub(super) const HOUR: u64 = 3_600;
pub(super) const DELAY: u64 = 2 * HOUR;

pub(super) struct Scene {
    pub(super) bench: Bench,
    pub(super) signers: Signers,
    pub(super) alice: Totp,
    pub(super) bob: Totp,
    /// Alice's wallet.
    pub(super) wallet: WalletId,
}

impl Scene {
    pub(super) fn new() -> Scene {
        Scene::on(Bench::new())
    }

    /// The same with this engine, whose token was just initialised.
    pub(super) fn on(bench: Bench) -> Scene {
        let signers = Signers::new(3);
        let (alice, bob) = (bench.user("alice"), bench.user("bob"));
        let wallet = bench.wallet("treasury", &["alice"], LIMITS);
        bench.set_user_pin(b"user-pin").expect("it is not set");
        bench.set_officers(&signers.council(2, 2)).expect("there are none");
        Scene { bench, signers, alice, bob, wallet }
    }

    /// The same in a process that was started anew.
    pub(super) fn restarted(self) -> Scene {
        Scene { bench: self.bench.restarted(), ..self }
    }

    pub(super) fn draft(&self, act: &Act) -> String {
        self.bench.engine.draft(act).expect("officers may sign it")
    }

    /// The text by which bob is to sign for the wallet, too.
    pub(super) fn adding_bob(&self) -> String {
        self.draft(&Act::ChangeWallet(self.wallet, users(&["alice", "bob"])))
    }

    /// Proposes an act as the administrator.
    pub(super) fn submit(&self, text: &str) -> Nonce {
        self.propose(text, None).expect("it fits what is in force")
    }

    pub(super) fn propose(&self, text: &str, signature: Option<&str>) -> Result<Nonce, EngineError> {
        self.bench.engine.propose(Some(self.bench.administrator()), text, signature)
    }

    /// Proposes an act with the signature of an officer, without an administrator.
    pub(super) fn bring(&self, officer: usize, text: &str) -> Result<Nonce, EngineError> {
        self.bench.engine.propose(None, text, Some(&self.signers.sign(officer, text)))
    }

    pub(super) fn sign(&self, officer: usize, text: &str) -> Result<(), EngineError> {
        self.bench.engine.sign_proposal(&nonce(text), &self.signers.sign(officer, text))
    }

    /// Proposes an act that the first officers have signed.
    pub(super) fn signed(&self, officers: usize, text: &str) -> Nonce {
        let nonce = self.submit(text);
        for officer in 0..officers {
            self.sign(officer, text).expect("an officer's, for the first time");
        }
        nonce
    }

    /// Lets time pass in which the boundary runs.
    pub(super) fn wait(&self, seconds: u64) {
        for _ in 0..seconds / 300 {
            self.bench.clock.advance(300);
            self.bench.engine.tick().expect("it ticks");
        }
        self.bench.clock.advance(seconds % 300);
        self.bench.engine.tick().expect("it ticks");
    }

    pub(super) fn carry_out(&self, nonce: &Nonce) -> Result<(), EngineError> {
        self.bench.engine.carry_out(nonce)
    }

    pub(super) fn veto(&self, officer: usize, text: &str) -> Result<(), EngineError> {
        let veto = veto_text(&ActText::parse(text).expect("an act")).expect("it was parsed");
        self.bench.engine.veto_by_officer(&nonce(text), &self.signers.sign(officer, &veto))
    }

    pub(super) fn view(&self, nonce: &Nonce) -> ProposalView {
        self.bench.engine.proposal(nonce).expect("readable").expect("it was proposed")
    }

    pub(super) fn standing(&self, nonce: &Nonce) -> ProposalStanding {
        self.view(nonce).standing
    }

    pub(super) fn users(&self) -> Vec<String> {
        self.bench.engine.wallet(&self.wallet).expect("there").users().to_vec()
    }

    pub(super) fn policy(&self) -> String {
        self.bench.engine.wallet(&self.wallet).expect("there").policy_document().to_owned()
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.bench.ledger.state().events.clone()
    }

    /// Nothing of the wallet has changed, and no restart changes that.
    pub(super) fn assert_untouched(self) {
        let scene = self.restarted();
        assert_eq!((scene.users(), scene.policy()), (vec!["alice".to_owned()], LIMITS.to_owned()));
    }
}

pub(super) fn nonce(text: &str) -> Nonce {
    ActText::parse(text).expect("an act").nonce
}

pub(super) fn users(names: &[&str]) -> WalletChange {
    let users = names.iter().map(|name| (*name).to_owned()).collect();
    KeyChange { users: Some(users), ..KeyChange::default() }.into()
}

pub(super) fn policy(document: &str) -> WalletChange {
    KeyChange { policy: Some(document.into()), ..KeyChange::default() }.into()
}

pub(super) fn label(label: &str) -> KeyChange {
    KeyChange { label: Some(label.into()), ..KeyChange::default() }
}

/// Why a proposal, a signature or a veto was not accepted.
pub(super) fn refused<T: std::fmt::Debug>(result: Result<T, EngineError>) -> ProposalError {
    match result {
        Err(EngineError::Proposal(error)) => error,
        other => panic!("{other:?}"),
    }
}
