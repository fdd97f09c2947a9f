//! HTTPS: connections, and how long anything may take.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign::remote::tls::{TlsError, certified_key};
use countersign::shell::config::DeskConfig;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::desk::Desk;
use crate::limits::{Address, Place};

/// How long a connection may last, a TLS handshake, and the head of a request.
const WHOLE: Duration = Duration::from_secs(60);
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEAD: Duration = Duration::from_secs(10);
/// The most bytes and lines in the head of a request.
const MAX_HEAD_LEN: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// How long to wait if the system has no room for a connection.
const NO_ROOM: Duration = Duration::from_millis(100);

/// The configuration of TLS: version 1.3 alone, with the desk's own certificate.
pub(crate) fn tls(desk: &DeskConfig) -> Result<TlsAcceptor, TlsError> {
    let own =
        certified_key(("desk.certificate_file", &desk.certificate_file), ("desk.key_file", &desk.key_file))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has the suites of TLS 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until the process ends.
pub(crate) fn run(address: SocketAddr, tls: TlsAcceptor, desk: Arc<Desk>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        tracing::info!("serving the desk at {address}");
        loop {
            let Ok((socket, from)) = listener.accept().await else {
                sleep(NO_ROOM).await;
                continue;
            };
            let from = Address::from(from.ip());
            // Without a place it is closed at once.
            if let Some(place) = desk.limits().enter(from) {
                tokio::spawn(attend(socket, from, place, tls.clone(), Arc::clone(&desk)));
            }
        }
    })
}

async fn attend(socket: TcpStream, from: Address, _place: Place, tls: TlsAcceptor, desk: Arc<Desk>) {
    // A peer that is slow, or does not speak TLS or HTTP, only loses its connection.
    let _ended = timeout(WHOLE, async {
        let Ok(Ok(stream)) = timeout(HANDSHAKE, tls.accept(socket)).await else { return };
        let service = service_fn(|request| {
            let desk = Arc::clone(&desk);
            async move { Ok::<_, Infallible>(desk.answer(request, from).await) }
        });
        let _ = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(MAX_HEAD_LEN)
            .max_headers(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    })
    .await;
}
