//! FTP by an HTTP proxy, which fetches the file itself: it is asked for the whole address (RFC 9112, section 3.2.2).

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::StatusCode;

use super::control::{connect_to_any, read_line};
use super::{Download, Version};
use crate::source::location;
use crate::source::transport::FetchError;
use crate::source::transport::credentials::Credentials;

/// The most lines in the head of an answer.
const LINES: usize = 200;

/// Asks `proxy` for the file of `download`. Returns the data, which ends with the connection, and what is said of it.
pub(super) fn ask(download: &Download, proxy: &url::Url) -> Result<(BufReader<TcpStream>, Version), FetchError> {
    let policy = download.options.retry;
    let host = proxy.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let connected = connect_to_any(host, proxy.port_or_known_default().unwrap_or_default(), policy);
    let (mut stream, _) = connected.map_err(|error| FetchError::Connect {
        detour: format!(", through the proxy '{}'", location::shown(proxy)),
        cause: error.to_string(),
    })?;
    // Of version 1.0, so that the data ends with the connection and is not in chunks.
    let request = format!("GET {} HTTP/1.0\r\n{}\r\n", target(download), authorization(proxy));
    let broken = |cause: String| FetchError::Broken { offset: download.position, cause };
    stream.write_all(request.as_bytes()).map_err(|error| broken(error.to_string()))?;

    let mut stream = BufReader::new(stream);
    let status = read_line(&mut stream, policy, None)?;
    let code = status.strip_prefix("HTTP/").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
    let status = code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or_else(|| broken("the proxy does not speak HTTP".to_owned()))?;
    log::debug!("GET {} through {}: {status}", download.url, location::shown(proxy));
    let (began, mut version) = (Some(Instant::now()), Version { size: None, modified: None });
    for _ in 0..LINES {
        let line = read_line(&mut stream, policy, began)?;
        match line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim())) {
            Some((name, value)) if name == "content-length" => version.size = value.parse().ok(),
            Some((name, value)) if name == "last-modified" => version.modified = Some(value.to_owned()),
            Some(_) => {}
            None if status == StatusCode::OK => return Ok((stream, version)),
            None => return Err(FetchError::Status { status, retry_after: None }),
        }
    }
    Err(broken("the proxy's answer has no end".to_owned()))
}

/// The address with the user's credentials, where there are some.
fn target(download: &Download) -> url::Url {
    let mut target = download.url.address();
    if let Some(Credentials { user, password }) = &download.credentials {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        // It fails only for addresses without a host.
        let _ = target.set_username(&encoded(user)).and_then(|()| target.set_password(Some(&encoded(password))));
    }
    target
}

/// The header with the proxy's own credentials; nothing where there are none.
fn authorization(proxy: &url::Url) -> String {
    if proxy.username().is_empty() {
        return String::new();
    }
    let credentials = format!("{}:{}", proxy.username(), proxy.password().unwrap_or_default());
    let credentials: Vec<u8> = percent_decode_str(&credentials).collect();
    format!("Proxy-Authorization: Basic {}\r\n", BASE64_STANDARD.encode(credentials))
}
