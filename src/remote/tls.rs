//! TLS 1.3 (RFC 8446) with certificates on both sides: reads their files, makes a client's configuration of rustls, and explains
//! failures. The server makes its configuration of the same files.
//!
//! - L1. Only TLS 1.3. Older versions are not compiled in. There is no resumption and no early data, so every connection shows its
//!   certificate.
//! - L2. A key's file must be readable by its owner alone.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring::{default_provider, sign::any_supported_type};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use zeroize::{Zeroize, Zeroizing};

use crate::shell::config::ConnectTls;

/// The greatest length of a file with certificates or a key.
const MAX_FILE_LEN: u64 = 1 << 20;

/// The configuration of a client.
pub fn client(tls: &ConnectTls) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(default_provider());
    let own = certified_key(
        ("connect.tls.certificate_file", &tls.certificate_file),
        ("connect.tls.key_file", &tls.key_file),
    )?;
    let roots = authorities("connect.tls.authority_file", &tls.authority_file)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has the suites of TLS 1.3")
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// The reason why TLS failed at a client, and what to do. `None` if something else failed.
pub fn explain_to_client(error: &io::Error) -> Option<String> {
    use AlertDescription as Alert;
    Some(match tls_error(error)? {
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for another name; connect.tls.server_name must be one of the names in it".into(),
        rustls::Error::InvalidCertificate(problem) => format!(
            "its certificate {}",
            certificate_problem(problem, "the boundary's administrator", "connect.tls.authority_file")
        ),
        rustls::Error::AlertReceived(alert) => match alert {
            Alert::CertificateExpired => {
                "our certificate is not valid now; renew connect.tls.certificate_file, or correct the clocks".into()
            }
            Alert::UnknownCA | Alert::DecryptError | Alert::BadCertificate => {
                "it rejects our certificate; its serve.tcp.client_authority_file must hold the authority that signed connect.tls.certificate_file".into()
            }
            Alert::CertificateRequired => "it asks for a certificate; name ours in connect.tls.certificate_file".into(),
            alert => format!("it ended TLS ({alert:?}); its log says why"),
        },
        rustls::Error::PeerIncompatible(problem) => {
            format!("it cannot speak TLS 1.3 with us ({problem:?}); correct connect.address, or update it")
        }
        rustls::Error::InvalidMessage(_) => "the peer does not speak TLS; correct connect.address".into(),
        other => format!("TLS failed: {other}"),
    })
}

/// What is wrong with a certificate, and who must do what: its `owner`, or whoever wrote the key `authority`.
pub fn certificate_problem(problem: &CertificateError, owner: &str, authority: &str) -> String {
    use CertificateError as Problem;
    match problem {
        Problem::Expired | Problem::ExpiredContext { .. } => format!("has expired; {owner} must renew it"),
        Problem::NotValidYet | Problem::NotValidYetContext { .. } => {
            "is not valid yet; correct the clocks of both machines".into()
        }
        Problem::UnknownIssuer | Problem::BadSignature => {
            format!(
                "was not signed by the authority in {authority}; {owner} must have it signed by that one, or correct the file"
            )
        }
        Problem::InvalidPurpose | Problem::InvalidPurposeContext { .. } => {
            format!("is for another purpose (extended key usage); {owner} must have one made for this side")
        }
        other => format!("is not accepted ({other:?}); {owner} must replace it"),
    }
}

/// The error of rustls, if that is what failed.
pub fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// The reason why a file for TLS cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{key}, the file {}: {problem}", file.display())]
pub struct TlsError {
    key: &'static str,
    file: PathBuf,
    problem: String,
}

impl TlsError {
    /// What is wrong with the file that `key` of the configuration names.
    pub fn new(key: &'static str, file: &Path, problem: &(impl Display + ?Sized)) -> TlsError {
        TlsError { key, file: file.into(), problem: problem.to_string() }
    }
}

fn wrong<'a, E: Display + ?Sized>(key: &'static str, file: &'a Path) -> impl Fn(&E) -> TlsError + 'a {
    move |problem| TlsError::new(key, file, problem)
}

/// A certificate with its chain, and its key, from the files that these keys of the configuration name.
pub fn certified_key(
    certificate: (&'static str, &Path),
    key: (&'static str, &Path),
) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(certificate.0, certificate.1)?;
    let pem = read(key.0, key.1, true)?;
    let mut der = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| wrong(key.0, key.1)("the file has no private key; it must hold one in PEM"))?;
    let signing = any_supported_type(&der);
    der.zeroize();
    let signing = signing.map_err(|_| {
        wrong(key.0, key.1)(
            "this kind of key is not supported; make an ECDSA (P-256, P-384), Ed25519 or RSA key",
        )
    })?;
    let own = CertifiedKey::new(chain, signing);
    match own.keys_match() {
        Ok(()) => Ok(own),
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            Err(wrong(key.0, key.1)(&format!(
                "it is not the key of the first certificate in {}",
                certificate.0
            )))
        }
        Err(error) => Err(wrong(certificate.0, certificate.1)(&error)),
    }
}

/// The authorities whose certificates are in a file.
pub fn authorities(key: &'static str, file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(key, file)? {
        roots.add(certificate).map_err(|error| wrong(key, file)(&error))?;
    }
    Ok(roots)
}

fn certificates(key: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(key, file, false)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|_| wrong(key, file)("a part of the file is not PEM"))?;
    if certificates.is_empty() {
        return Err(wrong(key, file)("the file has no certificate; it must hold certificates in PEM"));
    }
    Ok(certificates)
}

fn read(key: &'static str, file: &Path, secret: bool) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let failed = wrong::<io::Error>(key, file);
    let open = File::open(file).map_err(|error| failed(&error))?;
    let metadata = open.metadata().map_err(|error| failed(&error))?;
    let mode = metadata.permissions().mode();
    if secret && mode & 0o077 != 0 {
        let problem = format!(
            "others can read the file (mode {:o}); run chmod 600 on it, and have a new certificate made if somebody may have read it",
            mode & 0o777
        );
        return Err(wrong(key, file)(&problem));
    }
    if metadata.len() > MAX_FILE_LEN {
        return Err(wrong(key, file)("the file is larger than 1 MiB; name the right one"));
    }
    // The buffer does not grow, so no copy stays behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(metadata.len() as usize + 1));
    open.take(metadata.len()).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    Ok(bytes)
}
