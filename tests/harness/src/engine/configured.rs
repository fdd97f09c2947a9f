//! The engine of the configured boundary in this process, by a clock that a test moves, so that delays of hours pass at once.

use countersign::admin::Act;
use countersign::engine::Engine;
use countersign::kernel::motion::Nonce;
use countersign::kernel::pin::Role;
use countersign::shell::backing::Backing;
use countersign::shell::config::{Config, EngineConfig};
use countersign::shell::random::MixedRandom;
use countersign::shell::sqlite::{SqliteSite, take_lock};
use countersign::shell::vault::SealedVault;

use super::ManualClock;
use super::officers::Signers;
use crate::module::SO_PIN;

/// Opens it. Nobody else may have it open.
pub fn open_by(clock: &ManualClock) -> Engine {
    let config = EngineConfig::load(&Config::locate().expect("it is set")).expect("setup.sh wrote it");
    let lock = take_lock(&config.store.path).expect("nobody has it");
    let backing = Backing::begin(&config.backing).expect("the token is there");
    let site = SqliteSite::new(config.store.path).expect("the folder is there").locked_by(lock);
    let vault = SealedVault::over(site, &backing);
    let random = Box::new(MixedRandom::new(backing));
    Engine::open(Box::new(vault), Box::new(clock.clone()), random).expect("it opens")
}

/// A token of this label with two officers, both of whom must sign, and a delay of an hour.
pub fn with_officers(clock: &ManualClock, signers: &Signers, label: &str) -> Engine {
    let engine = open_by(clock);
    engine.initialise(SO_PIN.as_bytes(), label).expect("there is none");
    let login = engine.login(Role::So, SO_PIN.as_bytes()).expect("the PIN is right");
    let administrator = engine.administrator(&login).expect("the login is not over");
    let council = Box::new(signers.council(2, 1));
    let _set = engine.perform(administrator.approve(Act::SetOfficers(council))).expect("there are none");
    engine
}

/// Has the first officers sign an act, lets its delay pass, and carries it out.
pub fn decide(engine: &Engine, clock: &ManualClock, signers: &Signers, officers: usize, text: &str) -> Nonce {
    let nonce = engine.propose(None, text, Some(&signers.sign(0, text))).expect("an officer's");
    for officer in 1..officers {
        engine.sign_proposal(&nonce, &signers.sign(officer, text)).expect("an officer's");
    }
    let delay = engine.council().expect("readable").expect("there are officers").delay_hours();
    for _ in 0..delay * 12 {
        clock.advance(300);
        engine.tick().expect("it ticks");
    }
    engine.carry_out(&nonce).expect("it is due");
    nonce
}
