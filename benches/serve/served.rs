//! The server of `countersign serve`, in this process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign::engine::Engine;
use countersign::shell::config::{ServeConfig, ServeLimits, UnixDoor, UserName};
use countersign_server::Server;
use countersign_server::door::{self, Passed};

/// A server on a socket in a folder of its own.
pub(crate) struct Served {
    server: Option<Server>,
    folder: tempfile::TempDir,
}

impl Served {
    /// Serves `engine` to this user.
    pub(crate) fn start(engine: Engine) -> Served {
        let folder = tempfile::tempdir().expect("a folder");
        let backend = UnixDoor {
            socket: folder.path().join("socket"),
            users: vec![UserName::Id(rustix::process::getuid().as_raw())],
        };
        let config = ServeConfig {
            limits: ServeLimits::default(),
            monitoring: None,
            backend: Some(backend),
            administrators: None,
            desk: None,
            tcp: None,
            vsock: None,
        };
        let listeners = door::open(&config, Passed::default()).expect("the folder is ours");
        let hosted = countersign::pkcs11::host(engine).expect("one at a time");
        let server = Server::start(&config, listeners, Arc::new(hosted)).expect("starts");
        let text = format!("[connect]\naddress = \"unix:{}\"\n", folder.path().join("socket").display());
        std::fs::write(folder.path().join("client.toml"), text).expect("the folder is ours");
        Served { server: Some(server), folder }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// The configuration of a client.
    pub(crate) fn client(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}
