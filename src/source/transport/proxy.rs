//! The proxies that the environment names, in the variables and by the rules of curl(1).

use std::env;

use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use super::FetchError;

/// Why the value of a variable does not name a proxy that can be used. The value itself is not shown: it may hold a
/// password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyFault {
    /// It is reached by another protocol than the known ones.
    #[error("'{0}' is not one of http, https, socks4, socks4a, socks5 and socks5h")]
    Scheme(String),
    /// It is not of the kind that FTP goes through.
    #[error("FTP goes through http proxies only")]
    Ftp,
    /// What follows the credentials is no host with a port.
    #[error("its address is not valid")]
    Address(#[from] url::ParseError),
}

/// The proxy on the way to `url`, whose credentials are percent-encoded; `None` where the way is direct.
///
/// # Errors
///
/// Where one is named that cannot be used: the user wants none of these connections to be direct.
pub(super) fn of(url: &url::Url) -> Result<Option<url::Url>, FetchError> {
    let variables: &[&'static str] = match url.scheme() {
        "https" => &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
        "ftp" => &["ftp_proxy", "FTP_PROXY", "all_proxy", "ALL_PROXY"],
        // What calls us through CGI chooses the value of HTTP_PROXY.
        _ if env::var_os("REQUEST_METHOD").is_some() => &["http_proxy", "all_proxy", "ALL_PROXY"],
        _ => &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"],
    };
    match first_set(variables) {
        Some((variable, value)) if !is_exempt(url) => {
            let proxy = parse(&value).and_then(|proxy| match (url.scheme(), proxy.scheme()) {
                ("ftp", "https" | "socks4" | "socks4a" | "socks5" | "socks5h") => Err(ProxyFault::Ftp),
                _ => Ok(proxy),
            });
            proxy.map(Some).map_err(|source| FetchError::Proxy { variable, source })
        }
        _ => Ok(None),
    }
}

/// The first of these variables that is set, and its value, which is not empty.
fn first_set(variables: &[&'static str]) -> Option<(&'static str, String)> {
    variables.iter().find_map(|variable| {
        let value = env::var_os(variable)?.to_string_lossy().trim().to_owned();
        Some((*variable, value)).filter(|(_, value)| !value.is_empty())
    })
}

/// Whether `no_proxy` lists the host of `url`.
fn is_exempt(url: &url::Url) -> bool {
    let Some((_, hosts)) = first_set(&["no_proxy", "NO_PROXY"]) else { return false };
    let target = url.host_str().and_then(|host| format!("http://{host}/").parse().ok());
    // Blanks separate hosts, too.
    let all_but_these = Matcher::builder().all("http://proxy").no(hosts.replace(char::is_whitespace, ",")).build();
    // The matcher does not know that `*` stands for addresses, too.
    hosts == "*" || target.is_some_and(|target| all_but_these.intercept(&target).is_none())
}

fn parse(value: &str) -> Result<url::Url, ProxyFault> {
    let is_scheme = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let (scheme, rest) = value.split_once("://").filter(|(scheme, _)| is_scheme(scheme)).unwrap_or(("http", value));
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "socks" => "socks4".to_owned(),
        known @ ("http" | "https" | "socks4" | "socks4a" | "socks5" | "socks5h") => known.to_owned(),
        _ => return Err(ProxyFault::Scheme(scheme.to_owned())),
    };
    // Passwords are typed as they are, with any sign in them: only the last `@` ends the credentials.
    let (credentials, host) = rest.rsplit_once('@').map_or((None, rest), |(before, host)| (Some(before), host));
    let mut proxy = url::Url::parse(&format!("{scheme}://{host}"))?;
    if let Some(credentials) = credentials {
        let encoded = |text: &str| {
            let bytes: Vec<u8> = percent_decode_str(text).collect();
            percent_encode(&bytes, NON_ALPHANUMERIC).to_string()
        };
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        // They fail only where there is no host.
        let set = proxy.set_username(&encoded(user)).and_then(|()| proxy.set_password(Some(&encoded(password))));
        set.map_err(|()| url::ParseError::EmptyHost)?;
    }
    Ok(proxy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_taken_as_they_are_typed() {
        let cases = [
            ("http://p:3128", "http://p:3128/"),
            ("p:3128", "http://p:3128/"),
            ("HTTPS://p/path?query", "https://p/path?query"),
            ("http://me:p@ss@p:1", "http://me:p%40ss@p:1/"),
            ("me:se/c?r#et:x@p:1", "http://me:se%2Fc%3Fr%23et%3Ax@p:1/"),
            (r"http://DOMAIN\me:pw@p", "http://DOMAIN%5Cme:pw@p/"),
            ("http://me:100%25%@p", "http://me:100%25%25@p/"),
            ("me:s://x@p", "http://me:s%3A%2F%2Fx@p/"),
            ("socks5h://me:p%40ss@[::1]:1080", "socks5h://me:p%40ss@[::1]:1080"),
            ("socks://p", "socks4://p"),
        ];
        for (value, proxy) in cases {
            assert_eq!(parse(value).map(String::from).as_deref(), Ok(proxy), "{value}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_told_without_the_password() {
        let scheme = |name: &str| Err(ProxyFault::Scheme(name.to_owned()));
        assert_eq!(parse("socks6://me:secret@p"), scheme("socks6"));
        for value in ["http://me:secret@", "http://me:secret@p:port", "http://me:secret@[p"] {
            let fault = parse(value).unwrap_err();
            assert!(matches!(fault, ProxyFault::Address(_)), "{value}: {fault:?}");
            assert!(!format!("{fault:?} {fault}").contains("secret"));
        }
    }
}
