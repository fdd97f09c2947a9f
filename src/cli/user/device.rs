//! `countersign user device …`: the hardware wallets by which users approve what those show.

use clap::{Args, Subcommand};
use countersign::kernel::network::Network;
use countersign::pkcs11::vendor as v;
use cryptoki::session::Session;
use serde_json::{Value, json};

use super::Record;
use crate::Global;
use crate::act::hand_to_officers;
use crate::attributes::{Attributes, kind, text};
use crate::error::{CommandError, During};
use crate::kind::find;
use crate::meaning::Act;
use crate::module::Module;
use crate::names::{self, printable, quoted};
use crate::output::{Report, table};
use crate::secret::{SoPin, UserPin};

/// Register, list and remove the hardware wallets by which users approve proposed transactions.
///
/// A user approves by signing one line as a message, which the device shows: who is paid, how much, and the fee. A wallet asks for that with
/// --consent-from-sat and --consent-by device.
#[derive(Subcommand)]
pub(crate) enum Device {
    Add(Add),
    /// List a user's devices.
    List(Listed),
    Remove(Remove),
}

/// Register a device of a user, by an address of its own.
///
/// The user takes an address on the device that receives no coins, and reads it to you. The key behind it must be in no other hands: whoever
/// has it approves as this user. Where there are officers, they sign this.
#[derive(Args)]
pub(crate) struct Add {
    /// The user's name
    #[arg(value_parser = names::user_name)]
    user: String,
    /// What the user calls the device
    #[arg(long, value_name = "LABEL", value_parser = names::wallet_label)]
    device: String,
    /// The network of the wallets for which it approves
    #[arg(long, value_name = "NETWORK")]
    network: Network,
    /// An address of one key: P2PKH, P2SH-P2WPKH, P2WPKH or P2TR
    #[arg(long, value_name = "ADDRESS")]
    address: String,
    #[command(flatten)]
    pin: SoPin,
}

/// The user whose devices are listed.
#[derive(Args)]
pub(crate) struct Listed {
    /// The user's name
    #[arg(value_parser = names::user_name)]
    user: String,
    #[command(flatten)]
    pin: UserPin,
}

/// Remove a device of a user, at once: it approves nothing any more.
///
/// What it approved before stays approved. A user can refuse that.
#[derive(Args)]
pub(crate) struct Remove {
    /// The user's name
    #[arg(value_parser = names::user_name)]
    user: String,
    /// What the user calls the device
    #[arg(long, value_name = "LABEL", value_parser = names::wallet_label)]
    device: String,
    #[command(flatten)]
    pin: SoPin,
}

impl Device {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        match self {
            Device::Add(verb) => verb.run(global),
            Device::List(verb) => verb.run(global),
            Device::Remove(verb) => verb.run(global),
        }
    }
}

impl Add {
    fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.so_session(&self.pin)?;
        let line = format!("{} {} {}", self.network.name(), self.address, self.device);
        change(&session, &self.user, v::CKA_COUNTERSIGN_DEVICE_ADD, &line)?;
        let (user, device) = (printable(&self.user), printable(&self.device));
        let text =
            format!("User {user} approves by the device {device}, with the key of {}.\n", self.address);
        let json = json!({ "user": self.user, "device": self.device, "network": self.network.name(), "address": self.address });
        Ok(Report::new(text, json))
    }
}

impl Listed {
    fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.user_session(&self.pin, crate::secret::Ask::OnStdin)?;
        let user = find::<Record>(&session, &self.user)?;
        let shown = Attributes::read(&session, user, &[kind(v::CKA_COUNTERSIGN_DEVICES)], Act::Read)?;
        let lines = shown.text(v::CKA_COUNTERSIGN_DEVICES);
        let devices: Vec<[&str; 3]> = lines.lines().filter_map(parts).collect();
        if devices.is_empty() {
            let text = format!("User {} has no device.\n", printable(&self.user));
            return Ok(Report::new(text, json!({ "user": self.user, "devices": [] })));
        }
        let row =
            |[network, address, name]: &[&str; 3]| [*name, network, address].map(str::to_owned).to_vec();
        let rows: Vec<Vec<String>> = devices.iter().map(row).collect();
        let json: Vec<Value> = devices
            .iter()
            .map(|[network, address, name]| json!({ "name": name, "network": network, "address": address }))
            .collect();
        let text = table(&["DEVICE", "NETWORK", "ADDRESS"], &rows);
        Ok(Report::new(text, json!({ "user": self.user, "devices": json })))
    }
}

fn parts(line: &str) -> Option<[&str; 3]> {
    let (network, rest) = line.split_once(' ')?;
    let (address, name) = rest.split_once(' ')?;
    Some([network, address, name])
}

impl Remove {
    fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.so_session(&self.pin)?;
        change(&session, &self.user, v::CKA_COUNTERSIGN_DEVICE_REMOVE, &self.device)?;
        let (user, device) = (printable(&self.user), printable(&self.device));
        let text = format!("The device {device} of user {user} approves nothing any more.\n");
        Ok(Report::new(text, json!({ "user": self.user, "device": self.device, "removed": true })))
    }
}

fn change(session: &Session, name: &str, kind: u64, value: &str) -> Result<(), CommandError> {
    let user = find::<Record>(session, name)?;
    let changed = session.update_attributes(user, &[text(kind, value)]).during(Act::SetUser(name));
    changed.map_err(|mut error| {
        if error.is("CKR_ATTRIBUTE_VALUE_INVALID") {
            error.what = format!("the device of user {name} is not changed: the module's log says why");
            error.next = format!(
                "name an address of one key on that network, which no other user has, and a device's name that is right: countersign user device list {}",
                quoted(name)
            );
        }
        hand_to_officers(session, error)
    })
}
