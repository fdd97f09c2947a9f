//! One table that explains the module's answers, because the meaning of an answer depends on the act.

mod consent;
mod draft;

use countersign::pkcs11::vendor as v;
use cryptoki::error::RvError;

use crate::names::quoted;

/// What the command line was doing when the module answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act<'a> {
    /// Loading the module and `C_Initialize`.
    Open,
    /// `C_InitToken`.
    InitToken,
    /// `C_InitToken` at a token whose SO PIN was declared lost.
    InheritSoPin,
    /// `C_InitPIN`.
    InitUserPin,
    /// Unlocking the user PIN, or declaring it lost.
    ChangeUserPin,
    /// `C_Login` as SO.
    LoginSo,
    /// `C_Login` as User.
    LoginUser,
    /// Reading objects and token information.
    Read,
    /// Making the named user's shared secret.
    AddUser(&'a str),
    /// Reading the named user's `otpauth://` URI.
    ReadUri(&'a str),
    /// Verifying the named user's first code.
    ConfirmUser(&'a str),
    /// Unlocking the named user.
    UnlockUser(&'a str),
    /// Removing the named user.
    RemoveUser(&'a str),
    /// Making the labelled wallet.
    CreateWallet(&'a str),
    /// Changing the labelled wallet.
    SetWallet(&'a str),
    /// Signing with the labelled wallet.
    Sign(&'a str),
    /// Signing with the labelled wallet by a ticket.
    SignByTicket(&'a str),
    /// Proposing a transaction of the labelled wallet.
    Propose(&'a str),
    /// The named user's word on a proposed transaction.
    Consent(&'a str),
    /// Withdrawing a proposed transaction.
    Withdraw,
    /// Making the labelled key.
    CreateKey(&'a str),
    /// Changing the labelled key.
    SetKey(&'a str),
    /// Signing with the labelled key.
    SignDigest(&'a str),
    /// Freezing or thawing the named user.
    SetUser(&'a str),
    /// Freezing or thawing everything.
    FreezeAll,
    /// Accepting the clock.
    SetClock,
    /// Setting the officers.
    SetOfficers,
    /// Proposing, signing, vetoing or withdrawing an act.
    Officers,
    /// Drafting an act of these words.
    Draft(&'a str),
}

/// Stands for the module's own line about the answer, which says more than a number.
const WHY: &str = "\u{0}";

/// The same if the rule that refused is also shown. The line says at which input or output, if that is known.
const WHERE: &str = "\u{1}";

/// The breaker over all users: unlocking one of them changes nothing.
const ALL_USERS: &str = "If the log says that codes of all users were wrong, somebody is guessing: find out who; codes are checked again as soon as fewer than limits.failures_per_hour were wrong in the last hour";

/// The meaning of `function`'s answer during `act`, and what to do next. `line` is the module's own line
/// about it, if this process has it.
pub(crate) fn meaning(act: Act<'_>, rv: &RvError, function: &str, line: Option<&str>) -> (String, String) {
    let special = match act {
        Act::Open => of_opening(rv),
        Act::InheritSoPin => of_inheriting(rv),
        Act::InitToken | Act::InitUserPin | Act::LoginSo | Act::LoginUser => of_pins(act, rv),
        Act::ConfirmUser(name) => of_a_code(rv, name),
        Act::Sign(wallet) => of_signing(rv, wallet),
        Act::SignByTicket(wallet) => consent::of_the_ticket(rv, wallet),
        Act::Propose(wallet) => consent::of_proposing(rv, wallet),
        Act::Consent(user) => consent::of_a_word(rv, user),
        Act::Withdraw => consent::of_withdrawing(rv),
        Act::SignDigest(key) => of_signing_a_digest(rv, key),
        Act::ReadUri(name) => of_the_uri(rv, name),
        Act::AddUser(name) | Act::UnlockUser(name) | Act::RemoveUser(name) | Act::SetUser(name) => {
            of_administration(rv, "user", name)
        }
        Act::CreateWallet(label) | Act::SetWallet(label) => of_administration(rv, "wallet", label),
        Act::CreateKey(label) | Act::SetKey(label) => of_administration(rv, "key", label),
        Act::SetClock => of_the_clock(rv),
        Act::ChangeUserPin | Act::FreezeAll | Act::SetOfficers | Act::Officers | Act::Read => None,
        Act::Draft(what) => draft::of_a_draft(rv, what),
    };
    let (what, next) = special.or_else(|| of_any_call(rv)).unwrap_or_else(|| {
        (
            format!("the module refused {function} with {}{WHY}", crate::error::rv_name(rv)),
            "run \"countersign doctor\"".into(),
        )
    });
    let why = match line {
        Some(line) => format!(": {line}"),
        None => " (if this is a client, the boundary's log says why)".to_owned(),
    };
    let place = line.map_or(String::new(), |line| format!(": {line}"));
    (what.replace(WHY, &why).replace(WHERE, &place), next)
}

/// What [`Rule::Frozen`](countersign::kernel::rule::Rule::Frozen) means, and what to do next.
pub(crate) fn frozen() -> (String, String) {
    (
        "something that this needs is frozen; the module checked no code and spent nothing".into(),
        "ask the administrator why; thawing is the SO's, with the officers if there are any (countersign thaw --help)".into(),
    )
}

type Words = Option<(String, String)>;

fn words(what: impl Into<String>, next: impl Into<String>) -> Words {
    Some((what.into(), next.into()))
}

fn of_opening(rv: &RvError) -> Words {
    match rv {
        RvError::FunctionFailed => words(
            format!("the configuration is missing or wrong{WHY}"),
            "correct it, or name another file with --config or COUNTERSIGN_CONF",
        ),
        RvError::DeviceError => words(
            format!("the module cannot use the backing token, the store or the boundary{WHY}"),
            "\"countersign doctor\" shows the paths and permissions",
        ),
        _ => None,
    }
}

fn of_pins(act: Act<'_>, rv: &RvError) -> Words {
    let so = matches!(act, Act::LoginSo);
    match rv {
        RvError::ActionProhibited if matches!(act, Act::LoginUser) => words(
            "this configuration leads to the administrators' door, where nobody can log in as the user",
            "use a configuration whose connect.address is the backends' (--config or COUNTERSIGN_CONF); no try was charged",
        ),
        RvError::ActionProhibited if matches!(act, Act::InitUserPin) => words(
            "the user PIN is set, and neither locked nor lost, so it stays",
            "whoever knows it can change it with C_SetPIN (pkcs11-tool --login --change-pin); if nobody knows it, first declare it lost: countersign pin lost",
        ),
        RvError::ActionProhibited => words(
            "this configuration leads to the backends' door, where the SO cannot log in",
            "use a configuration whose connect.address is the administrators' (--config or COUNTERSIGN_CONF); no try was charged",
        ),
        RvError::PinIncorrect if so => words(
            "the SO PIN is wrong",
            "try again with the right SO PIN; from the third wrong try in a row each one makes the next wait longer, up to an hour",
        ),
        RvError::PinIncorrect => words(
            "the user PIN is wrong",
            "try again with the right user PIN; after five wrong tries in a row the boundary takes no more from here",
        ),
        RvError::PinLocked if so => words(
            "the SO PIN was not checked: earlier tries were wrong, and the next one must wait",
            "wait (30 seconds at first, up to an hour), then try again with the right SO PIN; the module's log says how long",
        ),
        RvError::PinLocked => words(
            "the user PIN was not checked: there were too many wrong tries from here or by all peers, or it was declared lost",
            "have the SO look at it (countersign pin show), and give the tries back (countersign pin unlock) or set a new PIN (countersign pin set)",
        ),
        RvError::PinLenRange => {
            words(format!("the {} is too short or too long", pin_of(act)), "choose a PIN of 4 to 255 bytes")
        }
        RvError::PinInvalid => words(
            format!("the {} has characters that are not allowed", pin_of(act)),
            "choose a PIN of 4 to 255 bytes of UTF-8",
        ),
        RvError::UserPinNotInitialized => words(
            "the token has no user PIN yet",
            "run \"countersign init --label LABEL\" with the SO PIN to set it",
        ),
        RvError::TokenWriteProtected if matches!(act, Act::InitToken) => words(
            "the token is already initialised, and Countersign never wipes a token",
            "use this token; for a new one, configure an empty store and a fresh backing token",
        ),
        _ => None,
    }
}

/// Officers declared the SO PIN lost, and somebody wants to set the next one.
fn of_inheriting(rv: &RvError) -> Words {
    match rv {
        RvError::PinIncorrect => words(
            "this is not the secret on which the officers agreed; nothing was changed",
            "give the file that \"countersign act draft so-pin-lost\" wrote for the act that was carried out. If it is lost, have officers sign another such act",
        ),
        RvError::PinLocked => words(
            "the secret was not checked: there were too many wrong tries from here",
            "wait (30 seconds at first, up to an hour), then try again",
        ),
        RvError::TokenWriteProtected => words(
            "the SO PIN was set meanwhile; nothing was changed",
            "find out who did it: \"countersign audit export\" shows it",
        ),
        _ => None,
    }
}

/// The PIN that an act is about.
fn pin_of(act: Act<'_>) -> &'static str {
    match act {
        Act::InitToken | Act::LoginSo => "SO PIN",
        _ => "user PIN",
    }
}

fn of_a_code(rv: &RvError, name: &str) -> Words {
    let shell_name = quoted(name);
    match rv {
        RvError::PinIncorrect | RvError::SignatureInvalid => words(
            format!("the code of user {name} was refused: it is wrong, too old, or already used"),
            "check the clocks of this machine and of the phone, wait for the next code, and try again",
        ),
        RvError::PinLocked => words(
            format!(
                "user {name} is locked or must wait after failed codes, or too many codes of all users were wrong within an hour; the code was not checked"
            ),
            format!(
                "wait (30 seconds at first, up to an hour), or run \"countersign user unlock {shell_name}\". {ALL_USERS}"
            ),
        ),
        RvError::SignatureLenRange | RvError::PinInvalid | RvError::PinLenRange => words(
            "the code has the wrong number of digits for this user",
            format!("\"countersign user show {shell_name}\" says how many; nothing was spent"),
        ),
        RvError::KeyFunctionNotPermitted => words(
            format!(
                "a wallet of user {name} requires a cosigner, so outside of a signature only the SO can check this user's codes; nothing was spent"
            ),
            "give the SO PIN (--so-pin-file) instead of the user PIN",
        ),
        RvError::KeyHandleInvalid | RvError::ObjectHandleInvalid => words(
            format!("user {name} is gone, or was enrolled again"),
            "\"countersign user list\" lists the users",
        ),
        _ => None,
    }
}

/// Refusals of the approval, whatever it is for.
fn of_the_approval(rv: &RvError) -> Words {
    match rv {
        RvError::PinIncorrect => words(
            "the code was refused: it is wrong, already used or too old, or the user is unknown, unconfirmed or not one of the users who sign here",
            "wait for the next code and try again; failures in a row lock the user",
        ),
        RvError::PinLocked => words(
            "the user is locked or must wait after failed codes, or too many codes of all users were wrong within an hour; the code was not checked",
            format!(
                "wait (30 seconds at first, up to an hour), or have the SO run \"countersign user unlock NAME\". {ALL_USERS}"
            ),
        ),
        RvError::PinInvalid | RvError::MechanismParamInvalid => words(
            "the approval is malformed; nothing was spent",
            "give a code of 6 to 8 digits and, if there are several users, --user NAME",
        ),
        RvError::UserNotLoggedIn => {
            words("no code came with it, or no user is logged in", "give the user PIN and a code")
        }
        RvError::FunctionFailed => words(
            "users or policy were changed while this was being signed; nothing was signed and the code is not spent, but its try is charged",
            "sign again, with the next code",
        ),
        _ => None,
    }
}

fn of_signing_a_digest(rv: &RvError, key: &str) -> Words {
    match rv {
        RvError::VendorDefined(v::CKR_COUNTERSIGN_POLICY) => words(
            format!("the policy of key {key} refuses this signature; the code is spent{WHERE}"),
            format!("\"countersign key show {}\" prints the policy", quoted(key)),
        ),
        RvError::MechanismInvalid | RvError::KeyFunctionNotPermitted => words(
            format!("key {key} was not made for this mechanism"),
            format!("\"countersign key show {}\" says what it was made for", quoted(key)),
        ),
        RvError::KeyHandleInvalid | RvError::ObjectHandleInvalid => {
            words(format!("key {key} is gone"), "\"countersign key list\" lists the keys")
        }
        _ => of_the_approval(rv),
    }
}

fn of_signing(rv: &RvError, wallet: &str) -> Words {
    let shell_wallet = quoted(wallet);
    match rv {
        RvError::VendorDefined(v::CKR_COUNTERSIGN_POLICY) => words(
            format!("the policy of wallet {wallet} refuses this transaction; the code is spent{WHERE}"),
            format!("\"countersign wallet show {shell_wallet}\" prints the policy"),
        ),
        RvError::VendorDefined(v::CKR_COUNTERSIGN_PSBT_REFUSED) => words(
            format!("the PSBT breaks a rule of structure, amount or ownership; no code was spent{WHERE}"),
            format!(
                "\"countersign psbt show --wallet {shell_wallet}\" names the rule, and what to do about it"
            ),
        ),
        RvError::DataInvalid => words(
            "the input is not a PSBT (BIP 174); nothing was spent",
            "make the PSBT again and check that it was not cut short",
        ),
        RvError::DataLenRange => {
            words("the PSBT is too large; nothing was spent", "split the payment into smaller transactions")
        }
        RvError::KeyFunctionNotPermitted => words(
            format!("wallet {wallet} is not registered yet, so it signs nothing; nothing was spent"),
            format!("countersign wallet register {shell_wallet} --wallet-policy FILE"),
        ),
        RvError::KeyHandleInvalid | RvError::ObjectHandleInvalid => {
            words(format!("wallet {wallet} is gone"), "\"countersign wallet list\" lists the wallets")
        }
        _ => of_the_approval(rv),
    }
}

fn of_the_clock(rv: &RvError) -> Words {
    match rv {
        RvError::AttributeValueInvalid => words(
            "the machine's clock differs from --time by more than two minutes; nothing was changed",
            "set the machine's clock right, by another clock, then try again",
        ),
        RvError::VendorDefined(v::CKR_COUNTERSIGN_CLOCK) => words(
            "the machine's clock is behind the module's newest record; nothing was changed",
            "set the machine's clock right. If it is right, and the newest record came from a clock that was ahead, \
             wait until the time has caught up: nobody can make old codes live again",
        ),
        _ => None,
    }
}

fn of_the_uri(rv: &RvError, name: &str) -> Words {
    match rv {
        RvError::AttributeSensitive => words(
            format!("somebody has already read the otpauth URI of user {name}"),
            format!("remove the user with \"countersign user remove {}\" and add it again", quoted(name)),
        ),
        _ => None,
    }
}

fn of_administration(rv: &RvError, kind: &str, name: &str) -> Words {
    match rv {
        RvError::AttributeValueInvalid | RvError::TemplateInconsistent | RvError::TemplateIncomplete => {
            words(
                format!("the module refused a value given for {kind} {name}{WHY}"),
                "correct that value; nothing was changed",
            )
        }
        RvError::ActionProhibited | RvError::AttributeReadOnly => words(
            format!("the module does not allow this for {kind} {name}"),
            match kind {
                "user" => {
                    "take the user out of every wallet and key first: countersign wallet set LABEL --user OTHER, countersign key set LABEL --user OTHER"
                }
                _ => "only the users, the policy and the reach can be changed",
            },
        ),
        RvError::ObjectHandleInvalid => words(
            format!("{kind} {name} is gone"),
            format!("\"countersign {kind} list\" lists what there is"),
        ),
        _ => None,
    }
}

/// The answers that mean the same for every call.
fn of_any_call(rv: &RvError) -> Words {
    match rv {
        RvError::CantLock => words(
            "another process has the store open",
            "stop the backend or command that uses it (\"countersign doctor\" shows the lock), then try again",
        ),
        RvError::VendorDefined(v::CKR_COUNTERSIGN_STATE) => words(
            format!(
                "the sealed state is missing, older than its anchor, or damaged: the module stays closed{WHY}"
            ),
            "delete nothing; put back the newest store that belongs to this backing token. If it is gone for good, the SO accepts an older copy with \"countersign state restore\". \"countersign doctor\" says what was found. If nobody \
                 restored anything, treat it as an intrusion",
        ),
        RvError::VendorDefined(v::CKR_COUNTERSIGN_CLOCK) => words(
            "this machine's clock is behind the last time the module recorded, or it jumped",
            format!("{}; \"countersign clock show\" says what is wrong", crate::clock::WAY_OUT),
        ),
        // Signing has further meanings of it, and asks for the rule.
        RvError::VendorDefined(v::CKR_COUNTERSIGN_POLICY) => Some(frozen()),
        RvError::VendorDefined(v::CKR_COUNTERSIGN_ACT) => words(
            "an administrator alone cannot do this: officers must sign it, and nothing was changed",
            "\"countersign officers show\" says who they are; an act that tightens needs none of them",
        ),
        RvError::DeviceRemoved => words(
            format!("the boundary was lost, or it did not answer in time{WHY}"),
            "it is not known whether this was done: look, then try again. (For two minutes the same code gets the same signature again, and it counts once)",
        ),
        RvError::DeviceMemory => words(
            "there is no room for this call now",
            "try again later; for two minutes the same code gets the same signature again, and it counts once",
        ),
        RvError::DeviceError => words(
            format!("the backing token or the store failed{WHY}"),
            "a token needs CKM_AES_GCM and data objects: \"countersign doctor\" tries them. A store needs disk space and permissions",
        ),
        RvError::UserNotLoggedIn => words(
            "this needs a login of another role",
            "the SO creates and changes users, wallets and keys; the user signs",
        ),
        RvError::TokenNotPresent | RvError::TokenNotRecognized => {
            words("the token is not initialised", "run \"countersign init --label LABEL\"")
        }
        RvError::GeneralError => words(
            format!("the module failed inside{WHY}"),
            "report this as a defect; \"countersign doctor\" shows whether the module still opens",
        ),
        RvError::HostMemory => words("there is not enough memory", "free memory and try again"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(act: Act<'_>, rv: RvError) -> String {
        meaning(act, &rv, "C_Test", None).0
    }

    #[test]
    fn the_same_answer_means_another_thing_in_another_act() {
        assert!(what(Act::LoginSo, RvError::PinIncorrect).contains("SO PIN"));
        assert!(what(Act::LoginUser, RvError::PinIncorrect).contains("user PIN"));
        assert!(what(Act::Sign("w"), RvError::PinIncorrect).contains("code"));
        assert!(what(Act::ConfirmUser("alice"), RvError::PinIncorrect).contains("alice"));
        assert!(what(Act::Open, RvError::DeviceError).contains("cannot use"));
        assert!(what(Act::Sign("w"), RvError::DeviceError).contains("failed"));
    }

    #[test]
    fn every_answer_of_the_interface_is_explained_on_signing() {
        for rv in [
            RvError::PinIncorrect,
            RvError::PinLocked,
            RvError::UserNotLoggedIn,
            RvError::VendorDefined(v::CKR_COUNTERSIGN_POLICY),
            RvError::VendorDefined(v::CKR_COUNTERSIGN_PSBT_REFUSED),
            RvError::VendorDefined(v::CKR_COUNTERSIGN_STATE),
            RvError::VendorDefined(v::CKR_COUNTERSIGN_CLOCK),
            RvError::DataInvalid,
            RvError::DataLenRange,
            RvError::CantLock,
        ] {
            let (what, next) = meaning(Act::Sign("w"), &rv, "C_Sign", None);
            assert!(!what.contains("C_Sign") && !next.is_empty(), "{rv:?}: {what}");
        }
    }

    #[test]
    fn an_error_with_a_remedy_names_it() {
        let next = |act, rv| meaning(act, &rv, "C_Test", None).1;
        let (state, clock) = (v::CKR_COUNTERSIGN_STATE, v::CKR_COUNTERSIGN_CLOCK);
        assert!(next(Act::Open, RvError::VendorDefined(state)).contains("countersign state restore"));
        assert!(next(Act::Sign("w"), RvError::VendorDefined(clock)).contains("countersign clock set"));
        for act in [Act::Sign("w"), Act::ConfirmUser("alice")] {
            assert!(what(act, RvError::PinLocked).contains("of all users"));
            assert!(next(act, RvError::PinLocked).contains("limits.failures_per_hour"));
        }
        assert!(!what(Act::LoginUser, RvError::PinLocked).contains("of all users"));
        // Accepting the clock is the way out itself.
        assert!(!next(Act::SetClock, RvError::VendorDefined(clock)).contains("countersign clock set"));
        assert!(what(Act::SetClock, RvError::AttributeValueInvalid).contains("two minutes"));
    }

    #[test]
    fn an_unexpected_answer_names_the_call() {
        let text = what(Act::Read, RvError::FunctionNotSupported);
        assert!(text.contains("C_Test") && text.contains("CKR_FUNCTION_NOT_SUPPORTED"));
    }
}
