//! What can go wrong with a network.

use std::io;

use reqwest::StatusCode;

use crate::source::Url;

/// Why a file cannot be fetched. It travels as the inner error of an [`io::Error`], so that a decoder's caller can tell
/// it from what is wrong with the data: [`FetchError::of`].
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The server cannot be reached.
    #[error("cannot connect to '{url}'{detour}: {cause}")]
    Connect {
        /// The file.
        url: Url,
        /// What stands between the URL and what is connected to: a redirection, a proxy, or nothing.
        detour: String,
        /// Why.
        cause: String,
    },
    /// The connection was lost, or nothing came over it for too long.
    #[error("the connection to '{url}' broke at byte {offset}: {cause}")]
    Broken {
        /// The file.
        url: Url,
        /// Where in the file.
        offset: u64,
        /// Why.
        cause: String,
    },
    /// The connection was lost too often or for too long.
    #[error("given up after {breaks} breaks without a new byte")]
    GivenUp {
        /// How many there were.
        breaks: u32,
        /// The last one.
        source: Box<FetchError>,
    },
    /// The connection was lost, and the rest of the file cannot be fetched alone.
    #[error("cannot fetch '{url}' from byte {offset} on: its server sends whole files only")]
    NoRanges {
        /// The file.
        url: Url,
        /// Where in the file.
        offset: u64,
    },
    /// The server answers with a status that is no success.
    #[error("the server answers '{url}' with {status}")]
    Status {
        /// The file.
        url: Url,
        /// The status.
        status: StatusCode,
    },
    /// The file is not the one that the first bytes were of.
    #[error("'{url}' changed while it was being fetched")]
    Changed {
        /// The file.
        url: Url,
    },
    /// What comes after a break may be something else: nothing that was known of the file is said of it.
    #[error("cannot resume '{url}': the server sends no ETag, date or size to compare")]
    CannotRevalidate {
        /// The file.
        url: Url,
    },
    /// The server contradicts itself.
    #[error("the server of '{url}' sends another part of the file than the one asked for: {what}")]
    WrongRange {
        /// The file.
        url: Url,
        /// What it says.
        what: String,
    },
    /// The server compresses what it sends, in a way that nothing in the data would tell.
    #[error("the server packs '{url}' on its way ({coding}), although it was asked not to")]
    Compressed {
        /// The file.
        url: Url,
        /// How, in the words of HTTP.
        coding: String,
    },
    /// A redirection that leads nowhere.
    #[error("'{url}' is redirected {how}")]
    Redirect {
        /// The file.
        url: Url,
        /// How.
        how: String,
    },
    /// An FTP server refuses something.
    #[error("the server of '{url}' refuses '{command}': {reply}")]
    Ftp {
        /// The file.
        url: Url,
        /// What was asked for, without any password.
        command: &'static str,
        /// What it says, beginning with a number of three digits.
        reply: String,
    },
    /// A program that fetches files cannot be run.
    #[error("cannot run '{program}'")]
    Program {
        /// The program.
        program: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The `ssh` program failed.
    #[error("ssh cannot read '{url}': {cause}")]
    Ssh {
        /// The file.
        url: Url,
        /// What it said.
        cause: String,
    },
    /// Something in the URL must not be passed on.
    #[error("'{url}' cannot be fetched: {what}")]
    Unusable {
        /// The file.
        url: Url,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl FetchError {
    /// The failure that `error` carries, if it is one of a transport.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Whether the server says that there is no such file. Object stores say 403 where they do not want to say so.
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

    /// Whether a server says neither that there is such a file nor that there is none.
    pub fn is_access_denied(&self) -> bool {
        matches!(self, Self::Status { status: StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED, .. })
    }

    /// Whether it may work when it is tried again.
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
