//! The addresses of hosts, for a program that the C library is linked into.
//!
//! There the C library would load those parts of itself that look up names (NSS) from the machine, which may not have
//! them, or have them of another version. So a host is looked for in `/etc/hosts`, and then its address is asked of the
//! name servers of `/etc/resolv.conf`.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::ProtoError;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Hosts, TokioResolver};
use reqwest::blocking::ClientBuilder;
use reqwest::dns::{Addrs, Resolve, Resolving};

/// The addresses of a host, which may be given by one, with a port.
///
/// # Errors
///
/// Where it has none.
pub(super) fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(look_up(host))?;
    Ok(found.into_iter().map(|address| SocketAddr::from((address, port))).collect())
}

/// Has an HTTP client find its hosts in the same way.
pub(super) fn find_hosts_for(client: ClientBuilder) -> ClientBuilder {
    client.dns_resolver(Arc::new(Resolver))
}

struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, host: reqwest::dns::Name) -> Resolving {
        Box::pin(async move {
            let found = look_up(host.as_str()).await?;
            // The client knows the port.
            Ok(Box::new(found.into_iter().map(|address| SocketAddr::from((address, 0)))) as Addrs)
        })
    }
}

async fn look_up(host: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let listed = listed(host);
    if !listed.is_empty() {
        return Ok(listed);
    }
    let failed = |error: NetError| io::Error::other(format!("cannot find the address of '{host}': {error}"));
    // Unlike the names of hosts, those of domains may have an underscore, and some servers have.
    let name: Name = host.parse().map_err(|error: ProtoError| failed(error.into()))?;
    // A machine that names no server may be one itself: resolv.conf(5).
    let (config, mut options) = read_system_conf().unwrap_or_else(|error| {
        log::debug!("/etc/resolv.conf: {error}");
        let local = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
        (ResolverConfig::from_parts(None, Vec::new(), vec![local]), ResolverOpts::default())
    });
    options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
    // One server after another, as the C library asks them: a network's own comes first, and the next one may not know
    // its names. One that refuses or does not answer does not decide.
    let mut failure = io::Error::other(format!("cannot find the address of '{host}': no name server"));
    for server in config.name_servers() {
        let (domain, search) = (config.domain().cloned(), config.search().to_vec());
        let config = ResolverConfig::from_parts(domain, search, vec![server.clone()]);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let resolver = builder.with_options(options.clone()).build().map_err(failed)?;
        match resolver.lookup_ip(name.clone()).await {
            Ok(found) => return Ok(found.iter().collect()),
            Err(error) if error.is_nx_domain() || error.is_no_records_found() => return Err(failed(error)),
            Err(error) => failure = failed(error),
        }
    }
    Err(failure)
}

/// The addresses in `/etc/hosts`. Where it has any, no name server is asked, for there may be none.
fn listed(host: &str) -> Vec<IpAddr> {
    let (Ok(text), Ok(name)) = (fs::read("/etc/hosts"), host.parse::<Name>()) else { return Vec::new() };
    let mut hosts = Hosts::default();
    // A comment may be in any encoding.
    if let Err(error) = hosts.read_hosts_conf(String::from_utf8_lossy(&text).as_bytes()) {
        log::debug!("/etc/hosts: {error}");
    }
    let of_type = |kind| hosts.lookup_static_host(&Query::query(name.clone(), kind));
    let found = [RecordType::AAAA, RecordType::A].into_iter().filter_map(of_type);
    found
        .flat_map(|lookup| lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>())
        .collect()
}
