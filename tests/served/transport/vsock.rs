//! vsock, over the loopback of one machine, if its kernel has one.

use countersign::remote::PeerRole;
use countersign::remote::hello::Refusal;
use countersign::shell::config::{ConnectAddress, ServeConfig, VsockDoor};
use socket2::{Domain, SockAddr, Socket, Type};

use super::support::{Client, client_of, refusal, serve_with};

/// VMADDR_CID_LOCAL: this machine itself.
const OURSELVES: u32 = 1;

/// Whether this machine can reach itself.
fn has_loopback(port: u32) -> Result<(), std::io::Error> {
    let listener = Socket::new(Domain::VSOCK, Type::STREAM, None)?;
    listener.bind(&SockAddr::vsock(u32::MAX, port))?;
    listener.listen(1)?;
    let client = Socket::new(Domain::VSOCK, Type::STREAM, None)?;
    client.connect_timeout(&SockAddr::vsock(OURSELVES, port), super::support::LONG)
}

fn with(port: u32, backends: &[u32], administrators: &[u32]) -> impl FnOnce(&mut ServeConfig) {
    let (backends, administrators) = (backends.to_vec(), administrators.to_vec());
    move |config| config.vsock = Some(VsockDoor { port, backends, administrators })
}

#[test]
fn a_machine_is_let_in_by_its_context_id() {
    let port = 100_000 + std::process::id() % 50_000;
    if let Err(error) = has_loopback(port) {
        eprintln!("not tried: this kernel has no vsock_loopback ({error})");
        return;
    }
    let client = client_of(ConnectAddress::Vsock { cid: OURSELVES, port });
    for (backends, administrators, role) in
        [(&[OURSELVES][..], &[][..], PeerRole::Backend), (&[3], &[OURSELVES], PeerRole::Administrator)]
    {
        let served = serve_with(with(port, backends, administrators));
        let mut first = Client::open(&client).expect("it is welcome");
        first.assert_echo(&[9; 300_000]);
        Client::join(&client, &first.secret).expect("it is welcome").assert_echo(b"a lane");
        first.assert_over();
        assert_eq!(served.mock.state().opened, [(1, role, format!("context id {OURSELVES}"))]);
        served.assert_well();
        served.server.stop();
    }
    let served = serve_with(with(port, &[3], &[]));
    assert_eq!(refusal(&client), Refusal::NotAllowed);
    served.assert_well();
}
