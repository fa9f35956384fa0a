//! Requests: one at a time, with credentials, along redirections.

use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime};

use percent_encoding::{CONTROLS, percent_encode};
use reqwest::StatusCode;
use reqwest::blocking::Response;
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, DATE, HeaderMap, HeaderValue, IF_RANGE, LOCATION, RANGE,
    RETRY_AFTER,
};

use super::certificates::CertificateFault;
use super::tls;
use super::version::header;
use crate::range::ByteRange;
use crate::source::transport::credentials::Credentials;
use crate::source::transport::headers::ServerHeaders;
use crate::source::transport::{FetchError, proxy, resolver};
use crate::source::{OpenOptions, Url, location};

/// How many redirections are followed, one after another.
const REDIRECTS: usize = 10;

/// Asks for one file.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::blocking::Client,
    /// The file, as the user named it.
    pub(super) file: Url,
    /// Sent to the server that the user named, and to no other.
    credentials: Option<Credentials>,
    headers: ServerHeaders,
    /// Where the last request was answered.
    current: url::Url,
}

/// A part of one version of the file.
pub(super) struct Part<'a> {
    /// Its bytes. It ends at [`u64::MAX`] where everything to the end of the file is asked for.
    pub(super) bytes: ByteRange,
    /// The version, as a value of `If-Range`.
    pub(super) version: Option<&'a str>,
}

impl Client {
    pub(super) fn new(file: &Url, options: &OpenOptions) -> io::Result<Self> {
        let tls = tls::config(&options.certificates, &*options.observer).map_err(io::Error::other)?;
        let policy = &options.retry;
        let http = resolver::find_hosts_for(reqwest::blocking::Client::builder())
            .tls_backend_preconfigured(tls)
            // One that cannot be used has been refused before each request.
            .proxy(reqwest::Proxy::custom(|url| proxy::of(url).ok().flatten()))
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            // A little shorter than the other timeout, so that this one tells that there is no connection.
            .connect_timeout(policy.connect.min(policy.stall.mul_f64(0.9)))
            // For an answer, and then for each read, not for the whole file.
            .timeout(policy.stall)
            .build()
            .map_err(io::Error::other)?;
        let credentials = Credentials::of(file, &*options.observer);
        let headers = options.headers.clone();
        Ok(Self { http, file: file.clone(), credentials, headers, current: file.address() })
    }

    /// Asks for the whole file or a part of it. The answer has a status of 200, 206 or 416.
    ///
    /// Redirections are followed again where the last one's target does not answer any more.
    pub(super) fn get(&mut self, part: Option<&Part<'_>>) -> Result<Response, FetchError> {
        let start = self.file.address();
        if self.current != start
            && let Ok(response) = self.follow(part)
        {
            return Ok(response);
        }
        self.current = start;
        self.follow(part)
    }

    fn follow(&mut self, part: Option<&Part<'_>>) -> Result<Response, FetchError> {
        for _ in 0..=REDIRECTS {
            let response = self.send(part)?;
            let status = response.status();
            match response.headers().get(LOCATION) {
                _ if status == StatusCode::OK => return self.readable(response),
                _ if status == StatusCode::PARTIAL_CONTENT && part.is_some() => return self.readable(response),
                _ if status == StatusCode::RANGE_NOT_SATISFIABLE && part.is_some() => return Ok(response),
                Some(target) if status.is_redirection() => self.current = self.redirected(target)?,
                _ => return Err(FetchError::Status { status, retry_after: retry_after(&response) }),
            }
        }
        Err(FetchError::Redirect { how: format!("over {REDIRECTS} times") })
    }

    fn send(&self, part: Option<&Part<'_>>) -> Result<Response, FetchError> {
        proxy::of(&self.current)?;
        let mut request = self.http.get(self.current.clone());
        let mut headers = self.headers.of(&self.current);
        let is_named_server = self.current.origin() == self.file.address().origin();
        if let Some(Credentials { user, password }) = self.credentials.as_ref().filter(|_| is_named_server)
            && !headers.contains_key(AUTHORIZATION)
        {
            request = request.basic_auth(user, Some(password));
        }
        add_part(&mut headers, part)?;
        let offset = part.map_or(0, |part| part.bytes.start);
        let response = request.headers(headers).send().map_err(|error| self.explain(&error, offset))?;
        log::debug!("GET {} from byte {offset}: {}", location::shown(&self.current), response.status());
        Ok(response)
    }

    /// `response`, unless it is compressed in a way that its first bytes do not show. Servers also name the compression
    /// that a file is stored in, which is what the user asks for.
    fn readable(&self, response: Response) -> Result<Response, FetchError> {
        let coding = header(&response, &CONTENT_ENCODING).unwrap_or_default();
        let name = coding.trim().to_ascii_lowercase();
        match name.strip_prefix("x-").unwrap_or(&name) {
            // `aws-chunked` is how the file was uploaded; `none` is not a coding, but some servers send it.
            "" | "none" | "aws-chunked" | "identity" | "gzip" | "bzip2" | "xz" | "zstd" => Ok(response),
            _ => Err(FetchError::Compressed { coding: coding.to_owned() }),
        }
    }

    fn redirected(&self, target: &HeaderValue) -> Result<url::Url, FetchError> {
        // Servers also send names as they are, in any encoding.
        let escaped = percent_encode(target.as_bytes(), CONTROLS).to_string();
        match self.current.join(&escaped) {
            Ok(target) if matches!(target.scheme(), "http" | "https") => Ok(location::public(&target)),
            Ok(target) => {
                Err(FetchError::Redirect { how: format!("to '{}', which is not HTTP", location::shown(&target)) })
            }
            Err(_) => Err(FetchError::Redirect { how: "to something that is not a URL".to_owned() }),
        }
    }

    /// The redirection and the proxy between the file's URL and the host that is connected to, for a message.
    fn detour(&self) -> String {
        let mut detour = String::new();
        if self.current != self.file.address() {
            detour += &format!(", redirected to '{}'", location::shown(&self.current));
        }
        if let Ok(Some(proxy)) = proxy::of(&self.current) {
            detour += &format!(", through the proxy '{}'", location::shown(&proxy));
        }
        detour
    }

    /// What went wrong with a request for the bytes from `offset` on.
    fn explain(&self, error: &reqwest::Error, offset: u64) -> FetchError {
        if let Some(source) = causes(error).filter_map(|cause| cause.downcast_ref()).find_map(CertificateFault::of) {
            FetchError::Certificate { detour: self.detour(), source }
        } else if error.is_builder() {
            // It may be longer than hyper takes, also after a redirection.
            FetchError::Unusable { what: "its address is too long or not valid in HTTP" }
        } else if error.is_connect() {
            FetchError::Connect { detour: self.detour(), cause: root_cause(error) }
        } else {
            FetchError::Broken { offset, cause: root_cause(error) }
        }
    }
}

/// Asks for `part`, in the bytes of the file: sizes and ranges must not be those of something that is compressed in
/// transit.
fn add_part(headers: &mut HeaderMap, part: Option<&Part<'_>>) -> Result<(), FetchError> {
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.remove(RANGE);
    headers.remove(IF_RANGE);
    let Some(Part { bytes, version }) = part else { return Ok(()) };
    let last = if bytes.end == u64::MAX { String::new() } else { bytes.end.saturating_sub(1).to_string() };
    let invalid = |_| FetchError::Unusable { what: "the server's ETag is not valid in HTTP" };
    let value = |text: &str| HeaderValue::from_str(text).map_err(invalid);
    headers.insert(RANGE, value(&format!("bytes={}-{last}", bytes.start))?);
    if let Some(version) = version {
        headers.insert(IF_RANGE, value(version)?);
    }
    Ok(())
}

/// The pause that a server asks for, in seconds or until a date (RFC 9110, section 10.2.3).
fn retry_after(response: &Response) -> Option<Duration> {
    let asked_for = header(response, &RETRY_AFTER)?.trim();
    if let Ok(seconds) = asked_for.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| httpdate::parse_http_date(text.trim()).ok();
    // By the server's clock: that of a board may be wrong.
    let now = header(response, &DATE).and_then(date).unwrap_or_else(SystemTime::now);
    date(asked_for)?.duration_since(now).ok()
}

/// `error` and its causes, from the outermost on. Those within an [`io::Error`] count, which it does not name as its
/// source.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    })
}

/// The innermost cause. What wraps it only says that a request failed, and repeats the URL.
pub(super) fn root_cause(error: &(dyn Error + 'static)) -> String {
    match causes(error).last() {
        Some(innermost) if !innermost.is::<reqwest::Error>() => innermost.to_string(),
        _ => "the request failed".to_owned(),
    }
}
