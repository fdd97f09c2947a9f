//! The checks of the doctor, in the order in which the module needs things. If the module stays closed, the doctor finds the reason itself,
//! after the module has released the store.

use countersign::kernel::officer::Council;
use countersign::remote::stream::user_id;
use countersign::shell::config::{Config, ConnectAddress, EngineConfig, PinSource, UserName};
use countersign::shell::inspection;
use countersign_plugin::{self as plugin, PluginConfig};
use countersign_server::{users_in_both_roles, warning_of_both_roles};

use super::backing::{self, TokenKind};
use super::consent::{self, Asks};
use super::files::{code, lock, missing_store, not_writable_by_others, pin, store, written};
use super::{clock, freezes, p11_kit};
use crate::Global;
use crate::clock::Shown;
use crate::error::CommandError;
use crate::inside::{Inside, explain};
use crate::module::{self, Module};
use crate::officers;

/// One check.
pub(super) struct Check {
    pub(super) subject: &'static str,
    pub(super) state: State,
    pub(super) finding: String,
    pub(super) next: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Good,
    /// Worth knowing, but not wrong.
    Noted,
    Wrong,
}

/// The facts on which the promises depend.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) module_works: bool,
    pub(super) backing: Option<TokenKind>,
    pub(super) pin_in_environment: Option<bool>,
    /// The engine is in a boundary elsewhere.
    pub(super) connected: bool,
    /// The boundary is certainly not this user's own process.
    pub(super) apart: bool,
    /// The configuration is for `countersign serve`.
    pub(super) serves: bool,
    /// Whether there are officers. None if the module does not say.
    pub(super) officers: Option<bool>,
    /// What each wallet asks of its users. None if the module does not say.
    pub(super) asks: Option<Vec<Asks>>,
}

/// Who decides beside the administrator.
fn of_officers(council: Option<&Council>) -> Check {
    let (state, finding, next) = match council {
        None => (
            State::Noted,
            "none: an administrator decides everything alone".into(),
            Some("let the SO set the first ones: countersign officers set --help".into()),
        ),
        Some(council) => {
            let (needed, all) = (council.officers().threshold(), council.officers().keys().len());
            (
                State::Good,
                format!("{needed} of {all} sign what loosens; it then waits {} hours", council.delay_hours()),
                None,
            )
        }
    };
    Check { subject: "officers", state, finding, next }
}

/// Makes all checks, in the order in which the module needs things.
pub(super) fn all(global: &Global) -> (Vec<Check>, Facts) {
    let mut checks = Vec::new();
    let mut facts = Facts::default();
    let (mut closed, mut is_in_use, mut clock_refusal) = (false, false, String::new());
    let config = configuration(&mut checks);
    let is_there = config.is_some();
    let config = match config {
        Some(Config::Engine(config)) => Some(config),
        Some(Config::Connect(config)) => {
            facts.connected = true;
            facts.apart = is_apart(&config.address);
            checks.push(good("boundary", config.address.to_string()));
            None
        }
        None => None,
    };
    if let Some(config) = &config {
        facts.serves = config.serve.is_some();
        checks.extend(config.serve.iter().flat_map(users_in_both_roles).map(|user| noted_door(&user)));
        let module = code("backing module", &config.backing.module);
        let (found, kind) = backing::find(&config.backing, module.state != State::Wrong);
        facts.backing = kind;
        facts.pin_in_environment = Some(matches!(config.backing.pin, PinSource::Env(_)));
        checks.push(module);
        checks.extend(p11_kit::check(&config.backing.module));
        checks.push(found);
        checks.push(pin(&config.backing.pin));
        checks.extend(store(&config.store.path));
        if let Some(plugin) = &config.plugin {
            checks.push(signed(plugin));
            checks.push(written("floor folder", &plugin.floor_file));
        }
        checks.extend(config.log.file.as_ref().map(|file| written("log folder", file)));
    }
    match module::locate(global) {
        Ok(path) => checks.push(code("module", &path)),
        Err(error) => checks.push(failed("module", error)),
    }
    // Without a configuration the module would only report the same again.
    if is_there && checks.iter().all(|check| check.subject != "module" || check.state != State::Wrong) {
        match Module::open(global) {
            Ok(module) => {
                facts.module_works = true;
                // While the module has it open, so that one login serves both.
                checks.extend(config.as_ref().map(|config| backing::open_and_try(&config.backing)));
                checks.extend(token(&module).unwrap_or_else(|error| vec![failed("token", error)]));
                if let Ok(session) = module.open_session() {
                    clock_refusal = Shown::read(&session).map(|clock| clock.refusal).unwrap_or_default();
                    checks.push(freezes::check(&session).unwrap_or_else(|error| failed("frozen", error)));
                    match consent::read(&session) {
                        Ok(asks) => facts.asks = Some(asks),
                        Err(error) => checks.push(failed("wallets", error)),
                    }
                    match officers::read(&session) {
                        Ok(council) => {
                            facts.officers = Some(council.is_some());
                            checks.push(of_officers(council.as_ref()));
                        }
                        Err(error) => checks.push(failed("officers", error)),
                    }
                }
            }
            // The process that serves it holds the store, as it should.
            Err(error) if facts.serves && error.is("CKR_CANT_LOCK") => {
                is_in_use = true;
                checks.push(Check {
                    subject: "initialisation",
                    state: State::Noted,
                    finding: "the store is in use, as always while \"countersign serve\" runs".into(),
                    next: Some(
                        "ask the boundary itself: its /health, or \"countersign doctor\" as its client"
                            .into(),
                    ),
                });
            }
            Err(error) => {
                is_in_use = error.is("CKR_CANT_LOCK");
                closed = ["CKR_COUNTERSIGN_STATE", "CKR_DEVICE_ERROR", "CKR_CANT_LOCK"]
                    .iter()
                    .any(|answer| error.is(answer));
                checks.push(failed("initialisation", error));
            }
        }
    }
    if let Some(config) = config {
        if !config.store.path.exists() {
            checks.push(missing_store(&config.store.path, facts.module_works, is_in_use));
        }
        checks.push(lock(&config.store.path, facts.module_works));
        if closed {
            checks.extend(reason(*config));
        }
    }
    checks.push(clock::check(&clock_refusal));
    (checks, facts)
}

/// A user who may connect both as a backend and as an administrator.
fn noted_door(user: &UserName) -> Check {
    Check { subject: "doors", state: State::Noted, finding: warning_of_both_roles(user), next: None }
}

/// Whether `countersign serve` would load the library.
fn signed(config: &PluginConfig) -> Check {
    let subject = "plugin";
    match plugin::verify(config) {
        Ok(verified) => {
            let (library, signers) = (config.library.display(), verified.signers().len());
            good(
                subject,
                format!("{library} {}, signed by {signers} officers", verified.manifest().version()),
            )
        }
        Err(error) => wrong(subject, error.to_string(), &error.next()),
    }
}

/// Whether the boundary is on another machine, or must be another user's.
fn is_apart(address: &ConnectAddress) -> bool {
    match address {
        ConnectAddress::Tcp { .. } | ConnectAddress::Vsock { .. } => true,
        ConnectAddress::Unix { user, .. } => {
            let ours = rustix::process::getuid().as_raw();
            user.as_ref().and_then(user_id).is_some_and(|serving| serving != ours && serving != 0)
        }
    }
}

fn configuration(checks: &mut Vec<Check>) -> Option<Config> {
    let subject = "configuration";
    let next = "write it, or name another file with --config or COUNTERSIGN_CONF";
    let path = match Config::locate() {
        Ok(path) => path,
        Err(error) => {
            checks.push(wrong(subject, error.to_string(), next));
            return None;
        }
    };
    match Config::load(&path) {
        Ok(config) => {
            checks.push(not_writable_by_others(subject, &path));
            Some(config)
        }
        Err(error) => {
            checks.push(wrong(subject, error.to_string(), next));
            None
        }
    }
}

/// The reason why the module stays closed, found in the same way: the store and its anchor are read, and not
/// changed. The module did not initialise, and holds nothing of them any more. There is one login only, so
/// that a wrong PIN is not tried more often than necessary.
fn reason(config: EngineConfig) -> Vec<Check> {
    let (lock, inside) = match Inside::alone(config) {
        Ok(alone) => alone,
        Err(error) => return vec![failed("reason", error)],
    };
    let found = inspection::check(&inside.store, &lock, &inside.backing).map_err(explain);
    let mut checks = vec![backing::try_out(&inside.backing)];
    checks.extend(found.err().map(|error| failed("reason", error)));
    checks
}

fn token(module: &Module) -> Result<Vec<Check>, CommandError> {
    let info = module.info()?;
    let token = module.token()?;
    let version = format!(
        "{} {}, PKCS#11 {}",
        info.library_description(),
        info.library_version(),
        info.cryptoki_version()
    );
    let mut checks = vec![good("version", version)];
    checks.push(match (token.token_initialized(), token.user_pin_initialized()) {
        (true, true) => good("token", format!("{}: initialised, user PIN set", token.label())),
        (initialised, _) => Check {
            subject: "token",
            state: State::Noted,
            finding: if initialised { "initialised, no user PIN".into() } else { "not initialised".into() },
            next: Some("countersign init --label LABEL".into()),
        },
    });
    let pins = [
        ("SO PIN", token.so_pin_locked(), token.so_pin_final_try(), token.so_pin_count_low()),
        ("user PIN", token.user_pin_locked(), token.user_pin_final_try(), token.user_pin_count_low()),
    ];
    for (subject, locked, last_try, tried) in pins {
        let is_so = subject == "SO PIN";
        let finding = match (locked, last_try, tried) {
            (true, _, _) if is_so => "not checked for up to an hour, after wrong tries",
            (true, _, _) => "locked after too many wrong tries, or declared lost",
            (_, true, _) if is_so => "one wrong try from having to wait",
            (_, true, _) => "one wrong try from being locked",
            (_, _, true) => "tried wrongly since the last login",
            _ => continue,
        };
        let state = if locked { State::Wrong } else { State::Noted };
        let next = (locked && !is_so).then(|| {
            "have the SO look at it (countersign pin show), then run countersign pin unlock or countersign pin set".into()
        });
        checks.push(Check { subject, state, finding: finding.into(), next });
    }
    Ok(checks)
}

pub(super) fn good(subject: &'static str, finding: String) -> Check {
    Check { subject, state: State::Good, finding, next: None }
}

pub(super) fn wrong(subject: &'static str, finding: String, next: &str) -> Check {
    Check { subject, state: State::Wrong, finding, next: Some(next.to_owned()) }
}

fn failed(subject: &'static str, error: CommandError) -> Check {
    let finding = match &error.rv {
        Some(rv) => format!("{} ({rv})", error.what),
        None => error.what,
    };
    wrong(subject, finding, &error.next)
}
