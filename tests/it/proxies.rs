//! Images over HTTP through proxies: real SOCKS servers, and credentials as people type them.

use std::process::Command;

use crate::common::daemon::{Daemon, free_port};
use crate::common::download::Case;
use crate::common::find_program;
use crate::common::server::Server;
use crate::registry::Need;

const MICROSOCKS: Need = Need::Program("microsocks");
const DANTE: Need = Need::Program("danted");

/// microsocks, which speaks SOCKS 5 and wants a password.
fn microsocks() -> (Daemon, u16) {
    let port = free_port();
    let mut command = Command::new(find_program("microsocks").unwrap());
    command.args(["-i", "127.0.0.1", "-p", &port.to_string(), "-u", "me", "-P", "s@cret"]);
    (Daemon::start(&mut command, port), port)
}

/// Dante, which speaks SOCKS 4 and 5.
fn dante(case: &Case) -> (Daemon, u16) {
    let port = free_port();
    let configuration = case.directory.path().join("danted.conf");
    let text = format!(
        "logoutput: /dev/null
        internal: 127.0.0.1 port = {port}
        external: lo
        clientmethod: none
        socksmethod: none
        client pass {{ from: 0/0 to: 0/0 }}
        socks pass {{ from: 0/0 to: 0/0 }}
        "
    );
    std::fs::write(&configuration, text).unwrap();
    let mut command = Command::new(find_program("danted").unwrap());
    command.arg("-f").arg(&configuration).arg("-p").arg(case.directory.path().join("danted.pid"));
    (Daemon::start(&mut command, port), port)
}

#[test(MICROSOCKS)]
fn a_socks_proxy_with_a_password_is_used() {
    let case = Case::full();
    let server = Server::of(case.file());
    let (daemon, port) = microsocks();
    let copy = |credentials: &str, variable| {
        case.copy_all(&server.url("x")).env(variable, format!("socks5h://{credentials}@127.0.0.1:{port}"))
    };
    for (credentials, variable) in [("me:s@cret", "http_proxy"), ("me:s%40cret", "ALL_PROXY")] {
        copy(credentials, variable).ok();
        case.assert_copied();
    }
    let through = format!("cannot connect, through the proxy 'socks5h://127.0.0.1:{port}': ");
    let outcome = copy("me:wr@ng", "http_proxy").fails(&[&through]);
    assert!(!outcome.stderr.contains("ng"), "{}", outcome.stderr);
    drop(daemon);
    copy("me:s@cret", "http_proxy").fails(&[&through]);
}

#[test(DANTE)]
fn all_kinds_of_socks_are_spoken() {
    let case = Case::full();
    let server = Server::of(case.file());
    let (daemon, port) = dante(&case);
    let copy = |scheme, url: &str| case.copy_all(url).env("http_proxy", format!("{scheme}://127.0.0.1:{port}"));
    let schemes = ["socks4", "socks4a", "socks5", "socks5h", "socks"];
    for scheme in schemes {
        copy(scheme, &server.url("x")).ok();
        case.assert_copied();
    }
    // The proxy looks up the name.
    copy("socks5h", &server.url("x").replace("127.0.0.1", "localhost")).ok();
    case.assert_copied();
    drop(daemon);
    for scheme in schemes {
        copy(scheme, &server.url("x")).fails(&["cannot connect, through the proxy 'socks"]);
    }
}

#[test]
fn credentials_are_sent_as_they_are_typed() {
    let case = Case::full();
    let proxy = Server::of(case.file());
    let host = proxy.url("").replace("http://", "");
    let cases = [
        ("http://me:p@ss@", "Basic bWU6cEBzcw=="),
        ("me:p@ss@", "Basic bWU6cEBzcw=="),
        (r"http://DOMAIN\me:pw@", "Basic RE9NQUlOXG1lOnB3"),
        ("http://me:se/c?r#et@", "Basic bWU6c2UvYz9yI2V0"),
    ];
    for (credentials, sent) in cases {
        let before = proxy.requests().len();
        case.copy_all("http://images.invalid/x").env("http_proxy", format!("{credentials}{host}")).ok();
        case.assert_copied();
        let request = &proxy.requests()[before];
        assert_eq!((&*request.target, request.header("proxy-authorization")), ("http://images.invalid/x", Some(sent)));
    }
}

#[test]
fn a_proxy_that_cannot_be_used_is_not_passed_by() {
    let case = Case::full();
    let server = Server::of(case.file());
    let cases = [
        ("quic://me:s3cret@127.0.0.1:1", "'quic' is not one of http, https, socks4"),
        ("http://me:s3cret@127.0.0.1:port", "its address is not valid"),
        ("me:s3/cret@", "its address is not valid"),
    ];
    for (proxy, fault) in cases {
        let tool = case.copy_all(&server.url("x")).env("http_proxy", proxy);
        let outcome = tool.fails(&["cannot use the proxy that http_proxy names: ", fault]);
        assert!(!outcome.stderr.contains("s3"), "{}", outcome.stderr);
        assert!(server.requests().is_empty());
    }
    for exempt in ["127.0.0.1", "example.com, 127.0.0.0/8", "example.com 127.0.0.1", "*"] {
        case.copy_all(&server.url("x")).env("http_proxy", "quic://p").env("no_proxy", exempt).ok();
    }
    // The variable in small letters counts first, as with curl.
    case.copy_all(&server.url("x")).env("http_proxy", server.url("")).env("HTTP_PROXY", "quic://p").ok();
}
