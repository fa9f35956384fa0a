//! Errors of the network.

use std::io;
use std::time::Duration;

use reqwest::StatusCode;

use super::http::CertificateFault;
use super::proxy::ProxyFault;

/// The cause of a break where a server ends the connection before the end of the file.
pub(super) const ENDED_EARLY: &str = "it ended too early";

/// Why a file cannot be fetched; who reports it names the file. It travels as the inner error of an [`io::Error`], so that
/// a decoder's caller can tell it from what is wrong with the data: [`FetchError::of`].
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum FetchError {
    /// The server cannot be reached. `detour` names the redirection or proxy on the way there, or is empty.
    #[error("cannot connect{detour}: {cause}")]
    Connect { detour: String, cause: String },
    /// The server, or the proxy, has a certificate that is not accepted.
    #[error("cannot connect{detour}")]
    Certificate { detour: String, source: CertificateFault },
    /// The proxy that the environment names cannot be used.
    #[error("cannot use the proxy that {variable} names")]
    Proxy { variable: &'static str, source: ProxyFault },
    /// The connection was lost, or nothing came over it for too long; `offset` counts from the start of the file.
    #[error("the connection broke at byte {offset}: {cause}")]
    Broken { offset: u64, cause: String },
    /// The connection was lost too often or for too long; the source is the last break.
    #[error("given up after {breaks} breaks without a new byte")]
    GivenUp { breaks: u32, source: Box<FetchError> },
    /// The server answers with a status other than success, and may say when to ask again.
    #[error("the server answers {status}")]
    Status { status: StatusCode, retry_after: Option<Duration> },
    /// The file is not the one that the first bytes were of.
    #[error("it changed while it was being fetched")]
    Changed,
    /// After a break the server names no validator that shows that the file is still the same.
    #[error("cannot resume: the server sends no ETag, date or size to compare")]
    CannotRevalidate,
    /// The server contradicts itself.
    #[error("the server sends another part of the file than the one asked for: {what}")]
    WrongRange { what: String },
    /// The server compresses what it sends, in a way that the data does not show; `coding` is HTTP's name for it.
    #[error("the server compresses it in transit ({coding}), although it was asked not to")]
    Compressed { coding: String },
    /// A redirection that cannot be followed.
    #[error("it is redirected {how}")]
    Redirect { how: String },
    /// An FTP server refuses `command`, shown without its argument; the reply begins with a three-digit code.
    #[error("the server refuses '{command}': {reply}")]
    Ftp { command: &'static str, reply: String },
    /// A program that fetches files cannot be run.
    #[error("cannot run '{program}'")]
    Program { program: &'static str, source: io::Error },
    /// The `ssh` program failed.
    #[error("ssh: {cause}")]
    Ssh { cause: String },
    /// Something in the URL must not be passed on.
    #[error("it cannot be fetched: {what}")]
    Unusable { what: &'static str },
}

impl FetchError {
    /// The failure that `error` carries, if a transport caused it.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Whether the server says that the file is missing. Object stores answer 403 where the client may not know that.
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Status { status, .. } => {
                matches!(*status, StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::FORBIDDEN)
            }
            // RFC 959: file unavailable.
            Self::Ftp { command: "RETR", reply, .. } => reply.starts_with("550"),
            Self::Ssh { cause, .. } => cause.contains("cat: ") && cause.ends_with(": No such file or directory"),
            _ => false,
        }
    }

    /// Whether a server denies access, which some do for missing files, too.
    pub fn is_access_denied(&self) -> bool {
        matches!(self, Self::Status { status: StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED, .. })
    }

    /// Whether ssh does not trust the key of the host; the first words are ours for a status of sshpass.
    pub fn is_unknown_host(&self) -> bool {
        let Self::Ssh { cause, .. } = self else { return false };
        ["the host's key is not known", "Host key verification failed"].iter().any(|words| cause.contains(words))
    }

    /// How long the server asks to wait before another try.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether another try may succeed.
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Broken { .. } | Self::CannotRevalidate => true,
            Self::Status { status, .. } => {
                status.is_server_error()
                    || matches!(*status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
            }
            // RFC 959: transient.
            Self::Ftp { reply, .. } => reply.starts_with('4'),
            _ => false,
        }
    }
}

impl From<FetchError> for io::Error {
    fn from(failure: FetchError) -> Self {
        Self::other(failure)
    }
}
