//! TLS: which certificates are trusted.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use crate::event::{Notice, Observer};

/// Trusts the roots of this system, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name. A system that has none gets
/// Mozilla's.
pub(super) fn config(observer: &dyn Observer) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        log::debug!("{error}");
    }
    let (trusted, _) = roots.add_parsable_certificates(found.certs);
    let chosen = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().find(|name| std::env::var_os(name).is_some());
    match chosen {
        Some(variable) if trusted == 0 => observer.notice(Notice::NoCertificates { variable }),
        None if trusted == 0 => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        _ => {}
    }
    let versions = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = versions.with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
