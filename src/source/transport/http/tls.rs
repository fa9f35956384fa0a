//! TLS: which certificates are trusted.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{self, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::certificates::{Certificates, is_of_an_authority};
use crate::event::{Notice, Observer};

/// Trusts the roots of this system, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name, and `more`. A system that has
/// none gets Mozilla's.
pub(super) fn config(more: &Certificates, observer: &dyn Observer) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    let mut found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        log::debug!("{error}");
    }
    let (trusted, _) = roots.add_parsable_certificates(found.certs.iter().cloned());
    let chosen = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().find(|name| std::env::var_os(name).is_some());
    match chosen {
        Some(variable) if trusted == 0 && more.0.is_empty() => observer.notice(Notice::NoCertificates { variable }),
        None if trusted == 0 => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        _ => {}
    }
    found.certs.extend(more.0.iter().cloned());
    roots.add_parsable_certificates(more.0.iter().cloned());
    let provider = Arc::new(ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let verifier = Verifier { roots, trusted: found.certs, algorithms };
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(versions.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

/// Verifies certificates of servers as rustls does, except that a server's own certificate may be among the trusted ones
/// though it calls itself an authority or has no alternative name. `openssl req -x509` makes such certificates, and
/// other programs accept them.
#[derive(Debug)]
struct Verifier {
    roots: RootCertStore,
    trusted: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let is_trusted = self.trusted.contains(end_entity);
        let (roots, algorithms) = (&self.roots, self.algorithms.all);
        let signed = verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms);
        match signed {
            // Its dates have been verified before that.
            Err(error) if is_trusted && is_of_an_authority(&error) => {}
            verified => verified?,
        }
        match verify_server_name(&certificate, server_name) {
            Err(error) if is_trusted && names_nobody(&error) && has_common_name(end_entity, server_name) => {}
            verified => verified?,
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether a certificate is refused because it has no alternative names at all.
fn names_nobody(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }) => presented.is_empty(),
        _ => false,
    }
}

/// Whether the common name in the subject of `certificate` is that of the server.
fn has_common_name(certificate: &CertificateDer<'_>, server: &ServerName<'_>) -> bool {
    let Ok(anchor) = webpki::anchor_from_trusted_cert(certificate) else { return false };
    match (common_name(&anchor.subject), server) {
        (Some(name), ServerName::IpAddress(address)) => name.parse() == Ok(IpAddr::from(*address)),
        (Some(name), _) => name.eq_ignore_ascii_case(&server.to_str()),
        (None, _) => false,
    }
}

/// The last common name in a subject (RFC 5280, section 4.1.2.4, in DER): its object identifier, 2.5.4.3, stands before
/// it.
fn common_name(subject: &[u8]) -> Option<&str> {
    const OBJECT_IDENTIFIER: &[u8] = &[6, 3, 0x55, 4, 3];
    let at = subject.windows(OBJECT_IDENTIFIER.len()).rposition(|window| window == OBJECT_IDENTIFIER)?;
    let [_type, length, name @ ..] = subject.get(at..)?.strip_prefix(OBJECT_IDENTIFIER)? else { return None };
    std::str::from_utf8(name.get(..usize::from(*length))?).ok()
}
