//! FTP (RFC 959, with the passive mode of RFC 2428 and the sizes, times and restarts of RFC 3659).

mod control;
mod gateway;

use std::io::{self, BufReader, Read};
use std::net::TcpStream;

use super::credentials::Credentials;
use super::fetch_error::{ENDED_EARLY, FetchError};
use super::prefetch::{CHUNK_LEN, Chunk, Fetch, StreamTransport, TransferStats};
use super::retry::Retry;
use super::{Transport, proxy};
use crate::event::Notice;
use crate::source::{OpenOptions, Url};
use control::Control;

/// Opens the file at `url`.
pub(super) fn open(url: &Url, options: &OpenOptions) -> io::Result<Box<dyn Transport>> {
    let mut download = Download::new(url, options)?;
    download.transfer = Some(Retry::new(url, options).open(|| download.begin())?);
    download.stats = TransferStats::of(download.version.as_ref().and_then(|version| version.size));
    let stats = download.stats.clone();
    Ok(Box::new(StreamTransport::new(download, stats)))
}

/// What the server says about the file, which may be nothing.
#[derive(Clone, PartialEq, Eq)]
struct Version {
    size: Option<u64>,
    modified: Option<String>,
}

/// A download that is under way.
struct Download {
    url: Url,
    /// The path as the server knows it, from the user's directory on.
    path: Vec<u8>,
    credentials: Option<Credentials>,
    /// Asked for the file instead of the server, where the environment says so.
    proxy: Option<url::Url>,
    options: OpenOptions,
    retry: Retry,
    version: Option<Version>,
    transfer: Option<Transfer>,
    /// The next byte to be fetched.
    position: u64,
    stats: TransferStats,
}

struct Transfer {
    /// Confirms the end of the data. Proxies have none.
    control: Option<Control>,
    data: BufReader<TcpStream>,
    /// The offset in the file of the next byte that it delivers.
    at: u64,
}

impl Download {
    fn new(url: &Url, options: &OpenOptions) -> Result<Self, FetchError> {
        let proxy = proxy::of(&url.address())?;
        let credentials = Credentials::of(url, &*options.observer);
        // RFC 1738: the slash after the host is not part of the path.
        let path = url.path().get(1..).unwrap_or_default().to_vec();
        let of_user =
            credentials.iter().flat_map(|Credentials { user, password }| [user.as_bytes(), password.as_bytes()]);
        if of_user.chain([&*path]).flatten().any(u8::is_ascii_control) {
            return Err(FetchError::Unusable { what: "it has a control character in it" });
        }
        Ok(Self {
            url: url.clone(),
            path,
            credentials,
            proxy,
            options: options.clone(),
            retry: Retry::new(url, options),
            version: None,
            transfer: None,
            position: 0,
            stats: TransferStats::default(),
        })
    }

    /// Asks for the file from the position on, and makes sure that it has not changed.
    fn begin(&mut self) -> Result<Transfer, FetchError> {
        if let Some(proxy) = &self.proxy {
            let (data, version) = gateway::ask(self, proxy)?;
            self.check_version(version)?;
            if self.position > 0 {
                self.options.observer.notice(Notice::StartsOver { url: &self.url });
            }
            return Ok(Transfer { control: None, data, at: 0 });
        }
        let mut control = Control::log_in(&self.url, self.credentials.as_ref(), self.options.retry)?;
        let version = self.ask_version(&mut control)?;
        self.check_version(version)?;
        let at = if self.position > 0 && self.restart(&mut control)? { self.position } else { 0 };
        let data = BufReader::new(control.data()?);
        control.command("RETR", &self.path, &[125, 150])?;
        Ok(Transfer { control: Some(control), data, at })
    }

    /// Makes sure that `version` is the one that was begun with.
    fn check_version(&mut self, version: Version) -> Result<(), FetchError> {
        if self.position > 0 && version.modified.is_none() {
            self.options.observer.notice(Notice::NoValidator { url: &self.url });
        }
        match *self.version.get_or_insert_with(|| version.clone()) == version {
            true => Ok(()),
            false => Err(FetchError::Changed),
        }
    }

    /// Asks the server to go on at the position; false where it can only start over.
    fn restart(&self, control: &mut Control) -> Result<bool, FetchError> {
        match control.command("REST", self.position.to_string().as_bytes(), &[350]) {
            Err(FetchError::Ftp { reply, .. }) if reply.starts_with('5') => {
                self.options.observer.notice(Notice::StartsOver { url: &self.url });
                Ok(false)
            }
            answer => answer.map(|_| true),
        }
    }

    /// Receives and drops what has come before.
    fn skip_repeated(&mut self, transfer: &mut Transfer) -> Result<(), FetchError> {
        while transfer.at < self.position {
            let wanted = self.position.saturating_sub(transfer.at).min(CHUNK_LEN as u64);
            let skipped = io::copy(&mut transfer.data.by_ref().take(wanted), &mut io::sink());
            let broken = |cause| FetchError::Broken { offset: transfer.at, cause };
            let count = match skipped.map_err(|error| broken(words(&error)))? {
                0 => return Err(broken(ENDED_EARLY.to_owned())),
                count => count,
            };
            transfer.at = transfer.at.saturating_add(count);
            self.stats.add(usize::try_from(count).unwrap_or(usize::MAX));
            self.retry.repeated();
        }
        Ok(())
    }

    fn ask_version(&self, control: &mut Control) -> Result<Version, FetchError> {
        let mut ask = |command| match control.command(command, &self.path, &[213]) {
            Ok(reply) => Ok(reply.text.split_whitespace().nth(1).map(str::to_owned)),
            Err(FetchError::Ftp { reply, .. }) if reply.starts_with('5') => Ok(None),
            Err(failure) => Err(failure),
        };
        let size = ask("SIZE")?.and_then(|size| size.parse().ok());
        Ok(Version { size, modified: ask("MDTM")? })
    }

    /// The next bytes; none at the end, which the server has confirmed.
    fn try_fetch(&mut self) -> Result<Vec<u8>, FetchError> {
        let mut transfer = match self.transfer.take() {
            Some(transfer) => transfer,
            None => self.begin().map_err(|failure| self.at_position(failure, ""))?,
        };
        self.skip_repeated(&mut transfer)?;
        let mut data = Vec::with_capacity(CHUNK_LEN);
        let read = transfer.data.by_ref().take(CHUNK_LEN as u64).read_to_end(&mut data);
        self.stats.add(data.len());
        match read {
            Err(error) if data.is_empty() => return Err(self.broken(words(&error))),
            // What came is kept. The connection is not: a read after a reset looks like the end of the file.
            Err(error) => {
                let offset = self.position.saturating_add(data.len() as u64);
                let failure = FetchError::Broken { offset, cause: words(&error) };
                self.options.observer.notice(Notice::Retries { url: &self.url, error: &failure, pause: None });
            }
            Ok(0) => self.check_end(transfer)?,
            Ok(count) => {
                transfer.at = transfer.at.saturating_add(count as u64);
                self.transfer = Some(transfer);
            }
        }
        Ok(data)
    }

    fn check_end(&self, transfer: Transfer) -> Result<(), FetchError> {
        let Transfer { control, data, .. } = transfer;
        drop(data);
        let size = self.version.as_ref().and_then(|version| version.size);
        if let Some(mut control) = control {
            let confirmed = control.expect("RETR", &[226, 250]);
            confirmed.map_err(|failure| self.at_position(failure, "the end is not confirmed: "))?;
        } else if size.is_none() {
            self.stats.ended_unmarked();
        }
        match size {
            Some(size) if self.position < size => Err(self.broken(ENDED_EARLY.to_owned())),
            Some(size) if self.position > size => Err(FetchError::Changed),
            _ => Ok(()),
        }
    }

    /// `failure` of the control connection, if it is a break, with the position in the file and with `words` before it.
    fn at_position(&self, failure: FetchError, words: &str) -> FetchError {
        match failure {
            FetchError::Broken { cause, .. } => self.broken(format!("{words}{cause}")),
            failure => failure,
        }
    }

    fn broken(&self, cause: String) -> FetchError {
        FetchError::Broken { offset: self.position, cause }
    }
}

impl Fetch for Download {
    fn fetch(&mut self) -> io::Result<Option<Chunk>> {
        self.retry.reset(); // the reader may have taken its time
        loop {
            match self.try_fetch() {
                Ok(data) if data.is_empty() => return Ok(None),
                Ok(data) => {
                    let offset = self.position;
                    self.position = offset.saturating_add(data.len() as u64);
                    return Ok(Some(Chunk { offset, data }));
                }
                Err(failure) => self.retry.pause(failure)?,
            }
        }
    }
}

/// The words for an error of a socket with a timeout.
fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "nothing came for too long".to_owned(),
        _ => error.to_string(),
    }
}
