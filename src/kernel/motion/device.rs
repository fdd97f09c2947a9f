//! An act that registers a device for a user.

use super::TextError;
use super::check::says;
use crate::credential::{Credential, Credentials, NamedCredential};
use crate::message::SigningAddress;
use crate::name::{UserId, check_user_name};
use crate::text::{Reader, quote, unquote};

/// The registration of a device with a screen of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceAdd {
    /// The user, by enrolment.
    pub user: UserId,
    /// The user's devices so far.
    pub old: Vec<Device>,
    /// One more.
    pub new: Device,
}

/// A device by its name among those of its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The name.
    pub name: String,
    /// The address whose key signs.
    pub address: SigningAddress,
}

impl DeviceAdd {
    /// The act that makes the last of `next` a device of the user beside the `old` ones. It says nothing of passkeys, which it leaves alone.
    pub(crate) fn between(old: &Credentials, next: &Credentials) -> DeviceAdd {
        let mut devices = DeviceAdd::devices(next);
        let new = devices.pop().expect("whoever has one more has one");
        DeviceAdd { user: old.user().clone(), old: DeviceAdd::devices(old), new }
    }

    pub(crate) fn devices(credentials: &Credentials) -> Vec<Device> {
        let device = |NamedCredential { name, credential, .. }: &NamedCredential| match credential {
            Credential::Device(address) => Some(Device { name: name.clone(), address: address.clone() }),
            Credential::Passkey(_) => None,
        };
        credentials.list().iter().filter_map(device).collect()
    }

    pub(super) fn check(&self) -> Result<(), TextError> {
        says(check_user_name(&self.user.name).is_ok(), "a name that nobody can have")?;
        let mut all = Credentials::none_of(self.user.clone());
        for Device { name, address } in self.old.iter().chain([&self.new]) {
            let credential = Credential::Device(address.clone());
            let named = NamedCredential { name: name.clone(), credential, since: 0 };
            let with = all.with(named, core::iter::empty());
            all = with.map_err(|_| TextError::Says("devices that no user can have together"))?;
        }
        Ok(())
    }

    pub(super) fn print_old(&self) -> String {
        print(self.old.iter())
    }

    pub(super) fn print_new(&self) -> String {
        print(self.old.iter().chain([&self.new]))
    }

    pub(super) fn read(user: UserId, new: &str, old: &str) -> Option<DeviceAdd> {
        let new = read(new)?.pop()?;
        Some(DeviceAdd { user, old: read(old)?, new })
    }
}

fn print<'a>(devices: impl Iterator<Item = &'a Device>) -> String {
    let lines: String = devices.map(|device| format!("device {}\n", device.print())).collect();
    if lines.is_empty() { "none\n".into() } else { lines }
}

/// Reads more than is printed: whoever calls this prints it again, and compares.
fn read(section: &str) -> Option<Vec<Device>> {
    let (mut reader, mut devices) = (Reader::new(section), Vec::new());
    while reader.has("device ") {
        let (name, rest) = unquote(reader.value("device")?)?;
        let (network, address) = rest.strip_prefix(' ')?.split_once(' ')?;
        let address = SigningAddress::parse(address, network.parse().ok()?).ok()?;
        devices.push(Device { name, address });
    }
    if devices.is_empty() {
        reader.expect("none")?;
    }
    reader.end()?;
    Some(devices)
}

impl Device {
    /// Name, network and address.
    pub(super) fn print(&self) -> String {
        let Device { name, address } = self;
        format!("{} {} {address}", quote(name), address.network().name())
    }
}
