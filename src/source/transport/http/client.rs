//! Requests: one at a time, with credentials, along redirections.

use std::{env, io};

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::StatusCode;
use reqwest::blocking::Response;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue, IF_RANGE, LOCATION, RANGE};

use super::tls;
use super::version::header;
use crate::range::ByteRange;
use crate::source::transport::credentials::Credentials;
use crate::source::transport::{FetchError, resolver};
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

/// Whether the environment asks for no proxy at all. reqwest does not know that `*` stands for all hosts.
fn no_host_is_proxied() -> bool {
    // In reqwest's order.
    ["NO_PROXY", "no_proxy"].into_iter().find_map(|name| env::var(name).ok()).is_some_and(|hosts| hosts.trim() == "*")
}

impl Client {
    pub(super) fn new(file: &Url, options: &OpenOptions) -> io::Result<Self> {
        let tls = tls::config(&*options.observer).map_err(io::Error::other)?;
        let policy = &options.retry;
        let mut builder = reqwest::blocking::Client::builder();
        if no_host_is_proxied() {
            builder = builder.no_proxy();
        }
        let http = resolver::find_hosts_for(builder)
            .tls_backend_preconfigured(tls)
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            // A little shorter than the other timeout, so that this one tells that there is no connection.
            .connect_timeout(policy.connect.min(policy.stall.mul_f64(0.9)))
            // For an answer, and then for each read, not for the whole file.
            .timeout(policy.stall)
            .build()
            .map_err(io::Error::other)?;
        let credentials = Credentials::of(file, &*options.observer);
        Ok(Self { http, file: file.clone(), credentials, current: file.address() })
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
                _ => return Err(FetchError::Status { url: self.file.clone(), status }),
            }
        }
        Err(self.bad_redirect(format!("over {REDIRECTS} times")))
    }

    fn send(&self, part: Option<&Part<'_>>) -> Result<Response, FetchError> {
        // No compression in transit: sizes and ranges are those of the file.
        let mut request = self.http.get(self.current.clone()).header(ACCEPT_ENCODING, "identity");
        let is_named_server = self.current.origin() == self.file.address().origin();
        if let Some(Credentials { user, password }) = self.credentials.as_ref().filter(|_| is_named_server) {
            request = request.basic_auth(user, Some(password));
        }
        if let Some(Part { bytes, version }) = part {
            let last = if bytes.end == u64::MAX { String::new() } else { bytes.end.saturating_sub(1).to_string() };
            request = request.header(RANGE, format!("bytes={}-{last}", bytes.start));
            if let Some(version) = version {
                request = request.header(IF_RANGE, *version);
            }
        }
        let offset = part.map_or(0, |part| part.bytes.start);
        let response = request.send().map_err(|error| self.explain(&error, offset))?;
        log::debug!("GET {} from byte {offset}: {}", self.current, response.status());
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
            _ => Err(FetchError::Compressed { url: self.file.clone(), coding: coding.to_owned() }),
        }
    }

    fn redirected(&self, target: &HeaderValue) -> Result<url::Url, FetchError> {
        let target = target.to_str().ok().and_then(|target| self.current.join(target).ok());
        match target {
            Some(target) if matches!(target.scheme(), "http" | "https") => Ok(location::public(&target)),
            Some(target) => Err(self.bad_redirect(format!("to '{}', which is not HTTP", location::public(&target)))),
            None => Err(self.bad_redirect("to something that is not a URL".to_owned())),
        }
    }

    fn bad_redirect(&self, how: String) -> FetchError {
        FetchError::Redirect { url: self.file.clone(), how }
    }

    /// The redirection and the proxy between the file's URL and the host that is connected to, for a message.
    fn detour(&self) -> String {
        let mut detour = String::new();
        if self.current != self.file.address() {
            detour += &format!(", redirected to '{}'", self.current);
        }
        // reqwest's own rules.
        let proxy = self.current.as_str().parse().ok().and_then(|uri| Matcher::from_env().intercept(&uri));
        if let Some(proxy) = proxy.filter(|_| !no_host_is_proxied()) {
            detour += &format!(", through the proxy '{}'", proxy.uri());
        }
        detour
    }

    /// What went wrong with a request for the bytes from `offset` on.
    fn explain(&self, error: &reqwest::Error, offset: u64) -> FetchError {
        let (url, cause) = (self.file.clone(), root_cause(error));
        if error.is_builder() {
            // It may be longer than hyper takes, also after a redirection.
            FetchError::Unusable { url, what: "its address is too long or not valid in HTTP" }
        } else if error.is_connect() {
            FetchError::Connect { url, detour: self.detour(), cause }
        } else {
            FetchError::Broken { url, offset, cause }
        }
    }
}

/// The innermost cause. What wraps it only says that a request failed, and repeats the URL.
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<reqwest::Error>() {
        Some(_) => "the request failed".to_owned(),
        None => innermost.to_string(),
    }
}
