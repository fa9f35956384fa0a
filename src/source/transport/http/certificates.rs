//! Certificates that a user trusts, and what may be wrong with that of a server.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, Error, RootCertStore};

/// Certificates that are trusted besides those of the system: of authorities, or of single servers.
#[derive(Clone, Debug, Default)]
pub struct Certificates(pub(super) Arc<[CertificateDer<'static>]>);

/// Why a file cannot be used as certificates.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum CertificatesError {
    /// It cannot be read.
    #[error("cannot read certificates from '{path}'")]
    Read { path: PathBuf, source: io::Error },
    /// It has no certificate, or one that is damaged.
    #[error("'{path}' holds no valid certificate in PEM form (-----BEGIN CERTIFICATE-----)")]
    Invalid { path: PathBuf },
}

impl Certificates {
    /// Reads the certificates in the file at `path`, which are in PEM form (RFC 7468); there is at least one.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, or has no certificate, or one that is not valid.
    pub fn read(path: &Path) -> Result<Self, CertificatesError> {
        let text = fs::read(path).map_err(|source| CertificatesError::Read { path: path.to_owned(), source })?;
        let invalid = || CertificatesError::Invalid { path: path.to_owned() };
        let found: Vec<_> = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|_| invalid())?;
        let (_, refused) = RootCertStore::empty().add_parsable_certificates(found.iter().cloned());
        if found.is_empty() || refused > 0 {
            return Err(invalid());
        }
        Ok(Self(found.into()))
    }
}

/// Whether a server's own certificate is refused because it is one of an authority.
pub(super) fn is_of_an_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// Why a certificate is not accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum CertificateFault {
    /// Its time is over.
    #[error("the server's certificate has expired by this machine's clock")]
    Expired,
    /// Its time has not come.
    #[error("the server's certificate is not valid yet by this machine's clock")]
    NotYetValid,
    /// Nothing leads from it to a trusted one.
    #[error("the server's certificate is signed by itself or by an unknown authority")]
    Untrusted,
    /// It is for other servers, those that `names` lists.
    #[error("the server's certificate is for {}, not for '{expected}'", list(.names))]
    OtherName { expected: String, names: Vec<String> },
    /// It is for something else than servers.
    #[error("the server's certificate is not made for servers")]
    OtherPurpose,
    /// It is damaged, or of a kind that is not known.
    #[error("the server's certificate is not accepted: {0}")]
    Invalid(String),
}

/// How many names of a certificate are shown: some have hundreds.
const NAMES: usize = 3;

fn list(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES).map(String::as_str).collect();
    match (shown.join(", "), names.len()) {
        (_, 0) => "no name (subjectAltName)".to_owned(),
        (shown, count) if count > NAMES => format!("{shown} and others"),
        (shown, _) => shown,
    }
}

impl CertificateFault {
    /// What `error` says of a certificate, if it is about one.
    pub(super) fn of(error: &Error) -> Option<Self> {
        if is_of_an_authority(error) {
            return Some(Self::Untrusted);
        }
        let Error::InvalidCertificate(error) = error else { return None };
        Some(match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::UnknownIssuer => Self::Untrusted,
            CertificateError::NotValidForNameContext { expected, presented } => Self::OtherName {
                expected: expected.to_str().into_owned(),
                names: presented.iter().map(|name| plain(name)).collect(),
            },
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Self::OtherPurpose,
            error => Self::Invalid(error.to_string()),
        })
    }
}

/// A name as people write it, from the form `DnsName("host")` or `IpAddress(127.0.0.1)`.
fn plain(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    format!("'{}'", inner.trim_matches('"'))
}
