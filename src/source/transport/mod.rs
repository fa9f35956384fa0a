//! Transports: deliver bytes as they are stored, from files and over networks.

mod credentials;
mod fetch_error;
mod file;
mod ftp;
#[cfg(fuzzing)]
pub mod fuzzing;
mod headers;
mod http;
mod netrc;
mod prefetch;
mod proxy;
#[cfg_attr(target_feature = "crt-static", path = "resolver/hickory.rs")]
#[cfg_attr(not(target_feature = "crt-static"), path = "resolver/libc.rs")]
mod resolver;
mod retry;
mod ssh;
mod stdin;

use std::fs::File;
use std::io::{self, Read};

use super::{Error, Location, OpenOptions, Protocol};
use crate::range::ByteRange;
use crate::sys::file_id::FileId;
pub use fetch_error::FetchError;
pub use headers::{Header, InvalidHeader, ServerHeaders};
pub use http::{CertificateFault, Certificates, CertificatesError};
pub use prefetch::TransferStats;
pub use proxy::ProxyFault;
pub use retry::RetryPolicy;

/// The bytes of a file as they are stored.
pub trait Transport: Read + Send {
    /// What is known of the file.
    fn info(&self) -> Info {
        Info::default()
    }

    /// Goes to any `offset`, counted in bytes from the start of the file.
    ///
    /// # Errors
    ///
    /// Where the transport fails; `Unsupported` where it only goes forward.
    fn seek_to(&mut self, _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// From here on only these ranges will be read, in order: the rest need not be fetched.
    fn fetch_only(&mut self, _wanted: &[ByteRange]) {}

    /// Another descriptor of the pipe or socket that the bytes come through, where a program of the user's writes to
    /// one.
    ///
    /// # Errors
    ///
    /// Where the process has no descriptor left.
    fn pipe(&self) -> io::Result<Option<File>> {
        Ok(None)
    }

    /// Makes sure, as far as possible, that the file has not changed since it was opened.
    ///
    /// # Errors
    ///
    /// Where it has been written to.
    fn check_unchanged(&self) -> io::Result<()> {
        Ok(())
    }
}

/// What a transport knows of its file.
#[derive(Clone, Debug, Default)]
pub struct Info {
    /// The size in bytes, where it is known.
    pub size: Option<u64>,
    /// Whether it is seekable, and at what cost.
    pub seek: Seek,
    /// Counts what is fetched, also later on, where there is a network.
    pub stats: Option<TransferStats>,
}

impl Info {
    /// The size in bytes, where the file is seekable.
    pub fn seekable_size(&self) -> Option<u64> {
        self.size.filter(|_| self.seek != Seek::No)
    }
}

/// Whether [`Transport::seek_to`] works, and costs less than reading on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seek {
    /// It does not work.
    #[default]
    No,
    /// It works and costs nothing: all of the file is here.
    Free,
    /// It works, but drops bytes that are on their way, and may take a new request.
    Costly,
}

/// A transport, and the identity of its file where that is on this machine.
pub type Opened = (Box<dyn Transport>, Option<FileId>);

/// Opens the file at `location`.
///
/// # Errors
///
/// Where it cannot be opened.
pub fn open(location: &Location, options: &OpenOptions) -> Result<Opened, Error> {
    let url = match location {
        Location::Path(path) => return file::open(path, location),
        Location::Stdin => return stdin::open(location),
        Location::Url(url) => url,
    };
    let opened = match url.protocol() {
        Protocol::Http => http::open(url, options),
        Protocol::Ftp => ftp::open(url, options),
        Protocol::Ssh => ssh::open(url, options),
    };
    match opened {
        Ok(transport) => Ok((transport, None)),
        Err(source) => Err(Error::Open { location: location.clone(), source }),
    }
}

/// A file in memory.
#[cfg(test)]
impl Transport for io::Cursor<Vec<u8>> {
    fn info(&self) -> Info {
        Info { size: Some(self.get_ref().len() as u64), seek: Seek::Free, stats: None }
    }

    fn seek_to(&mut self, offset: u64) -> io::Result<()> {
        self.set_position(offset);
        Ok(())
    }
}
