//! Errors of the network.

use std::io;

use reqwest::StatusCode;

use crate::source::Url;

/// The cause of a break where a server ends the connection before the end of the file.
pub(super) const ENDED_EARLY: &str = "it ended too early";

/// Why a file cannot be fetched. It travels as the inner error of an [`io::Error`], so that a decoder's caller can tell
/// it from what is wrong with the data: [`FetchError::of`].
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum FetchError {
    /// The server cannot be reached. `detour` names the redirection or proxy on the way there, or is empty.
    #[error("cannot connect to '{url}'{detour}: {cause}")]
    Connect { url: Url, detour: String, cause: String },
    /// The connection was lost, or nothing came over it for too long; `offset` counts from the start of the file.
    #[error("the connection to '{url}' broke at byte {offset}: {cause}")]
    Broken { url: Url, offset: u64, cause: String },
    /// The connection was lost too often or for too long; the source is the last break.
    #[error("given up after {breaks} breaks without a new byte")]
    GivenUp { breaks: u32, source: Box<FetchError> },
    /// The connection was lost, and the rest of the file cannot be fetched alone.
    #[error("cannot fetch '{url}' from byte {offset} on: its server sends whole files only")]
    NoRanges { url: Url, offset: u64 },
    /// The server answers with a status other than success.
    #[error("the server answers '{url}' with {status}")]
    Status { url: Url, status: StatusCode },
    /// The file is not the one that the first bytes were of.
    #[error("'{url}' changed while it was being fetched")]
    Changed { url: Url },
    /// After a break the server names no validator that shows that the file is still the same.
    #[error("cannot resume '{url}': the server sends no ETag, date or size to compare")]
    CannotRevalidate { url: Url },
    /// The server contradicts itself.
    #[error("the server of '{url}' sends another part of the file than the one asked for: {what}")]
    WrongRange { url: Url, what: String },
    /// The server compresses what it sends, in a way that the data does not show; `coding` is HTTP's name for it.
    #[error("the server compresses '{url}' in transit ({coding}), although it was asked not to")]
    Compressed { url: Url, coding: String },
    /// A redirection that cannot be followed.
    #[error("'{url}' is redirected {how}")]
    Redirect { url: Url, how: String },
    /// An FTP server refuses `command`, shown without its argument; the reply begins with a three-digit code.
    #[error("the server of '{url}' refuses '{command}': {reply}")]
    Ftp { url: Url, command: &'static str, reply: String },
    /// A program that fetches files cannot be run.
    #[error("cannot run '{program}'")]
    Program { program: &'static str, source: io::Error },
    /// The `ssh` program failed.
    #[error("ssh cannot read '{url}': {cause}")]
    Ssh { url: Url, cause: String },
    /// Something in the URL must not be passed on.
    #[error("'{url}' cannot be fetched: {what}")]
    Unusable { url: Url, what: &'static str },
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

    /// Whether another try may succeed.
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Broken { .. } | Self::CannotRevalidate { .. } => true,
            Self::Status { status, .. } => status.is_server_error(),
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
