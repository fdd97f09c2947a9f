//! Who may connect, as what.

use std::collections::HashSet;
use std::fmt;

use rustls::pki_types::{CertificateDer, DnsName, UnixTime};

use super::ServeError;
use crate::remote::PeerRole;
use crate::remote::stream::user_id;
use crate::remote::tls::{self, ServerTls, is_for, names};
use crate::shell::config::{ServeConfig, TcpDoor, UnixDoor, VsockDoor};

/// A peer that may connect. Equal ones are one: a further connection of an application must come from the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A process of this machine, by its user.
    Unix {
        /// By the socket that it came through.
        role: PeerRole,
        /// Its user's number.
        user: u32,
    },
    /// The holder of a certificate.
    Tls {
        /// By the name.
        role: PeerRole,
        /// The name in the certificate that is allowed.
        name: DnsName<'static>,
    },
    /// A virtual machine, or the host of ours.
    Vsock {
        /// By the context id.
        role: PeerRole,
        /// Its context id.
        cid: u32,
    },
}

impl Peer {
    /// What it is let in as.
    pub fn role(&self) -> PeerRole {
        match self {
            Peer::Unix { role, .. } | Peer::Tls { role, .. } | Peer::Vsock { role, .. } => *role,
        }
    }

    /// Who it is, whatever it is let in as: names of different kinds never collide. It is sealed with the wrong PINs that the
    /// peer has tried, so it never changes.
    pub fn identity(&self) -> String {
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
        };
        match self {
            Peer::Tls { name, .. } => write!(f, "{role} {}", name.as_ref()),
            Peer::Unix { .. } | Peer::Vsock { .. } => write!(f, "{role}, {}", self.identity()),
        }
    }
}

/// Who may connect.
pub struct Allowed {
    backend_users: HashSet<u32>,
    administrator_users: HashSet<u32>,
    tcp: Option<Tcp>,
    vsock: Option<VsockDoor>,
}

struct Tcp {
    tls: ServerTls,
    backends: Vec<DnsName<'static>>,
    administrators: Vec<DnsName<'static>>,
}

impl Allowed {
    /// Finds the users, and reads the files for TLS.
    pub fn resolve(config: &ServeConfig) -> Result<Allowed, ServeError> {
        Ok(Allowed {
            backend_users: users("serve.backend.users", config.backend.as_ref())?,
            administrator_users: users("serve.administrators.users", config.administrators.as_ref())?,
            tcp: config.tcp.as_ref().map(Tcp::resolve).transpose()?,
            vsock: config.vsock.clone(),
        })
    }

    /// The user of a process that came through the socket of this role.
    pub fn user(&self, role: PeerRole, user: u32) -> Option<Peer> {
        let users = match role {
            PeerRole::Backend => &self.backend_users,
            PeerRole::Administrator => &self.administrator_users,
        };
        users.contains(&user).then_some(Peer::Unix { role, user })
    }

    /// The machine with this context id.
    pub fn context(&self, cid: u32) -> Option<Peer> {
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

    /// The holder of these certificates, whose chain was verified in the handshake; else the names that they are for.
    pub fn certificate(&self, certificates: &[CertificateDer<'_>]) -> Result<Peer, String> {
        let Some(own) = certificates.first() else { return Err("none".into()) };
        self.tcp.as_ref().and_then(|tcp| tcp.peer(own)).ok_or_else(|| names(own))
    }

    /// What a TLS connection begins with.
    pub fn tls(&self) -> Option<&ServerTls> {
        self.tcp.as_ref().map(|tcp| &tcp.tls)
    }

    /// Whether a peer that is connected might connect now. Its certificates are judged as a whole, with their chain.
    pub fn still(&self, peer: &Peer, certificates: &[CertificateDer<'_>]) -> bool {
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
            tls: tls::server(door)?,
            backends: door.backends.clone(),
            administrators: door.administrators.clone(),
        })
    }

    fn peer(&self, certificate: &CertificateDer<'_>) -> Option<Peer> {
        // A certificate with names of both is a backend's: that may do less.
        let of = |names: &[DnsName<'static>], role| {
            let name = names.iter().find(|name| is_for(certificate, name))?.clone();
            Some(Peer::Tls { role, name })
        };
        of(&self.backends, PeerRole::Backend).or_else(|| of(&self.administrators, PeerRole::Administrator))
    }
}

fn users(key: &'static str, door: Option<&UnixDoor>) -> Result<HashSet<u32>, ServeError> {
    let users = door.map(|door| door.users.as_slice()).unwrap_or_default();
    users
        .iter()
        .map(|user| user_id(user).ok_or_else(|| ServeError::NoSuchUser { key, user: user.clone() }))
        .collect()
}
