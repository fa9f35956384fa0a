//! The addresses of hosts, as the C library finds them.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use reqwest::blocking::ClientBuilder;

/// The addresses of a host, which may be given by one, with a port.
///
/// # Errors
///
/// Where it has none.
pub(super) fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

/// Has an HTTP client find its hosts in the same way.
pub(super) fn find_hosts_for(client: ClientBuilder) -> ClientBuilder {
    client
}
