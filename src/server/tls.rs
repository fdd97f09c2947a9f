//! TLS on the boundary's side: its configuration of rustls, the names in clients' certificates, and why a handshake failed.

use std::io;
use std::sync::Arc;

use countersign::remote::stream::Stream;
use countersign::remote::tls::{TlsError, authorities, certificate_problem, certified_key, tls_error};
use countersign::shell::config::TcpDoor;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, DnsName, ServerName};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{ServerConfig, ServerConnection};
use webpki::EndEntityCert;

/// The configuration of the boundary.
#[derive(Clone)]
pub(crate) struct ServerTls {
    /// For each connection.
    config: Arc<ServerConfig>,
    /// Judges clients' certificates, also those of open connections.
    pub(crate) verifier: Arc<dyn ClientCertVerifier>,
}

impl ServerTls {
    /// Reads the files that the boundary's configuration names.
    pub(crate) fn read(door: &TcpDoor) -> Result<ServerTls, TlsError> {
        let provider: Arc<CryptoProvider> = Arc::new(default_provider());
        let own = certified_key(
            ("serve.tcp.certificate_file", &door.certificate_file),
            ("serve.tcp.key_file", &door.key_file),
        )?;
        let key = "serve.tcp.client_authority_file";
        let roots = authorities(key, &door.client_authority_file)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|error| TlsError::new(key, &door.client_authority_file, &error))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .expect("the provider has the suites of TLS 1.3")
            .with_client_cert_verifier(Arc::clone(&verifier))
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(ServerTls { config: Arc::new(config), verifier })
    }

    /// The handshake on a connection that was accepted.
    pub(crate) fn shake_hands(&self, stream: &mut Stream) -> io::Result<()> {
        let connection = ServerConnection::new(Arc::clone(&self.config)).map_err(io::Error::other)?;
        stream.shake_hands(connection.into())
    }
}

/// Whether a certificate is for exactly this name. A certificate for `*.example` is for no name, because it
/// would fit all of them.
pub(crate) fn is_for(certificate: &CertificateDer<'_>, name: &DnsName<'_>) -> bool {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return false };
    certificate.verify_is_valid_for_subject_name(&ServerName::DnsName(name.borrow())).is_ok()
        && certificate.valid_dns_names().any(|own| own.eq_ignore_ascii_case(name.as_ref()))
}

/// The names in a certificate, for the log.
pub(crate) fn names(certificate: &CertificateDer<'_>) -> String {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return "none".into() };
    let names: Vec<&str> = certificate.valid_dns_names().take(8).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// The reason why TLS failed, and what to do. `None` if something else failed.
pub(crate) fn explain(error: &io::Error) -> Option<String> {
    Some(match tls_error(error)? {
        rustls::Error::InvalidCertificate(problem) => format!(
            "its certificate {}",
            certificate_problem(problem, "its owner", "serve.tcp.client_authority_file")
        ),
        rustls::Error::NoCertificatesPresented => {
            "it shows no certificate; name one in connect.tls.certificate_file of its configuration".into()
        }
        rustls::Error::AlertReceived(alert) => format!(
            "it rejects our certificate ({alert:?}); its connect.tls.authority_file must hold the authority that signed our certificate, and its connect.tls.server_name must be a name in our certificate"
        ),
        rustls::Error::PeerIncompatible(problem) => {
            format!("it cannot speak TLS 1.3 with us ({problem:?}); update it")
        }
        other => format!("TLS failed: {other}"),
    })
}
