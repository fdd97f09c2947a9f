//! Which peers may connect, and in which role.

use std::collections::HashSet;
use std::fmt;

use countersign::remote::PeerRole;
use countersign::remote::stream::user_id;
use countersign::shell::config::{ServeConfig, TcpDoor, UnixDoor, UserName, VsockDoor};
use rustls::pki_types::{CertificateDer, DnsName, UnixTime};

use super::ServeError;
use super::tls::{ServerTls, is_for, names};

/// A peer that may connect. All connections of an application must come from equal peers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Peer {
    /// A process of this machine, by its user.
    Unix {
        /// Given by the socket.
        role: PeerRole,
        /// Its user's number.
        user: u32,
    },
    /// The holder of a certificate.
    Tls {
        /// Given by the name.
        role: PeerRole,
        /// The allowed name in the certificate.
        name: DnsName<'static>,
    },
    /// A virtual machine, or the host of ours.
    Vsock {
        /// Given by the context id.
        role: PeerRole,
        /// Its context id.
        cid: u32,
    },
}

impl Peer {
    /// Its role.
    pub(crate) fn role(&self) -> PeerRole {
        match self {
            Peer::Unix { role, .. } | Peer::Tls { role, .. } | Peer::Vsock { role, .. } => *role,
        }
    }

    /// Its name, whatever its role. Names of different kinds of peers never collide. The module seals this name with the wrong PINs
    /// that the peer has tried, so it must never change.
    pub(crate) fn identity(&self) -> String {
        match self {
            Peer::Unix { user, .. } => format!("user {user}"),
            Peer::Tls { name, .. } => format!("certificate {}", name.as_ref()),
            Peer::Vsock { cid, .. } => format!("context id {cid}"),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role() {
            PeerRole::Backend => "backend",
            PeerRole::Administrator => "administrator",
            PeerRole::Desk => "desk",
        };
        match self {
            Peer::Tls { name, .. } => write!(f, "{role} {}", name.as_ref()),
            Peer::Unix { .. } | Peer::Vsock { .. } => write!(f, "{role}, {}", self.identity()),
        }
    }
}

/// The peers that may connect.
pub(crate) struct Allowed {
    backend_users: HashSet<u32>,
    administrator_users: HashSet<u32>,
    /// One, or none where there is no desk.
    desk_users: HashSet<u32>,
    tcp: Option<Tcp>,
    vsock: Option<VsockDoor>,
}

struct Tcp {
    tls: ServerTls,
    backends: Vec<DnsName<'static>>,
    administrators: Vec<DnsName<'static>>,
}

/// Users who may connect in both roles: one person behind such a user needs only both PINs to have a transaction signed alone.
/// Users that do not exist are left out. The other doors refuse a peer that is listed in both roles.
pub fn users_in_both_roles(config: &ServeConfig) -> Vec<UserName> {
    let (Some(backend), Some(administrators)) = (&config.backend, &config.administrators) else {
        return Vec::new();
    };
    let backends: HashSet<u32> = backend.users.iter().filter_map(user_id).collect();
    let both =
        administrators.users.iter().filter(|user| user_id(user).is_some_and(|id| backends.contains(&id)));
    both.cloned().collect()
}

/// The warning about such a user.
pub fn warning_of_both_roles(user: &UserName) -> String {
    format!(
        "user {user} is in serve.backend.users and in serve.administrators.users; one person with both PINs could have a \
         transaction signed alone; list the user in one of them"
    )
}

impl Allowed {
    /// Finds the users, and reads the files for TLS. Warns of users who may connect as backends and as administrators, and refuses the
    /// desk's user at any other door.
    pub(crate) fn resolve(config: &ServeConfig) -> Result<Allowed, ServeError> {
        for user in users_in_both_roles(config) {
            tracing::warn!("{}", warning_of_both_roles(&user));
        }
        Ok(Allowed {
            backend_users: users("serve.backend.users", config.backend.as_ref())?,
            administrator_users: users("serve.administrators.users", config.administrators.as_ref())?,
            desk_users: desk_users(config)?,
            tcp: config.tcp.as_ref().map(Tcp::resolve).transpose()?,
            vsock: config.vsock.clone(),
        })
    }

    /// The user of a process that came through the socket of this role.
    pub(crate) fn user(&self, role: PeerRole, user: u32) -> Option<Peer> {
        let users = match role {
            PeerRole::Backend => &self.backend_users,
            PeerRole::Administrator => &self.administrator_users,
            PeerRole::Desk => &self.desk_users,
        };
        users.contains(&user).then_some(Peer::Unix { role, user })
    }

    /// The machine with this context id.
    pub(crate) fn context(&self, cid: u32) -> Option<Peer> {
        let vsock = self.vsock.as_ref()?;
        let role = if vsock.backends.contains(&cid) {
            PeerRole::Backend
        } else if vsock.administrators.contains(&cid) {
            PeerRole::Administrator
        } else {
            return None;
        };
        Some(Peer::Vsock { role, cid })
    }

    /// The holder of these certificates, whose chain the handshake has verified. An error has the names that they are for.
    pub(crate) fn certificate(&self, certificates: &[CertificateDer<'_>]) -> Result<Peer, String> {
        let Some(own) = certificates.first() else { return Err("none".into()) };
        self.tcp.as_ref().and_then(|tcp| tcp.peer(own)).ok_or_else(|| names(own))
    }

    /// The configuration of TLS.
    pub(crate) fn tls(&self) -> Option<&ServerTls> {
        self.tcp.as_ref().map(|tcp| &tcp.tls)
    }

    /// Whether a connected peer might connect now. Judges its certificates as a whole, with their chain.
    pub(crate) fn still(&self, peer: &Peer, certificates: &[CertificateDer<'_>]) -> bool {
        match peer {
            Peer::Unix { role, user } => self.user(*role, *user).is_some(),
            Peer::Vsock { cid, .. } => self.context(*cid).as_ref() == Some(peer),
            Peer::Tls { .. } => {
                let (Some(tcp), Some((own, chain))) = (&self.tcp, certificates.split_first()) else {
                    return false;
                };
                tcp.peer(own).as_ref() == Some(peer)
                    && tcp.tls.verifier.verify_client_cert(own, chain, UnixTime::now()).is_ok()
            }
        }
    }
}

impl Tcp {
    fn resolve(door: &TcpDoor) -> Result<Tcp, ServeError> {
        Ok(Tcp {
            tls: ServerTls::read(door)?,
            backends: door.backends.clone(),
            administrators: door.administrators.clone(),
        })
    }

    fn peer(&self, certificate: &CertificateDer<'_>) -> Option<Peer> {
        // A certificate with names of both roles is a backend's, which may do less.
        let of = |names: &[DnsName<'static>], role| {
            let name = names.iter().find(|name| is_for(certificate, name))?.clone();
            Some(Peer::Tls { role, name })
        };
        of(&self.backends, PeerRole::Backend).or_else(|| of(&self.administrators, PeerRole::Administrator))
    }
}

/// The desk's user, who has no other door: otherwise whoever works behind that door could bring codes as if no backend had seen them.
fn desk_users(config: &ServeConfig) -> Result<HashSet<u32>, ServeError> {
    let desk = users("serve.desk.user", config.desk.as_ref())?;
    for (also, door) in
        [("serve.backend.users", &config.backend), ("serve.administrators.users", &config.administrators)]
    {
        let others = users(also, door.as_ref())?;
        if let Some(door) = config.desk.as_ref().filter(|_| !desk.is_disjoint(&others)) {
            return Err(ServeError::DeskUser { user: door.users[0].clone(), also });
        }
    }
    Ok(desk)
}

fn users(key: &'static str, door: Option<&UnixDoor>) -> Result<HashSet<u32>, ServeError> {
    let users = door.map(|door| door.users.as_slice()).unwrap_or_default();
    users
        .iter()
        .map(|user| user_id(user).ok_or_else(|| ServeError::NoSuchUser { key, user: user.clone() }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign::shell::config::ServeLimits;

    fn unix(users: &[UserName]) -> Option<UnixDoor> {
        Some(UnixDoor { socket: "/run/test.sock".into(), users: users.to_vec() })
    }

    #[test]
    fn a_user_in_both_roles_is_found_by_name_or_number() {
        let both = |backends: &[UserName], administrators: &[UserName]| {
            users_in_both_roles(&ServeConfig {
                limits: ServeLimits::default(),
                monitoring: None,
                backend: unix(backends),
                administrators: unix(administrators),
                desk: None,
                tcp: None,
                vsock: None,
            })
        };
        let (root, other, nobody) =
            (UserName::Name("root".into()), UserName::Id(4_000_001), UserName::Name("no such user".into()));
        assert_eq!(both(&[UserName::Id(0)], &[other.clone(), root.clone()]), std::slice::from_ref(&root));
        assert_eq!(both(&[other], &[root]), []);
        assert_eq!(both(std::slice::from_ref(&nobody), std::slice::from_ref(&nobody)), []);
    }
}
