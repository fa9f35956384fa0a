//! The control connection: commands and replies (RFC 959).

use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Instant;

use crate::source::Url;
use crate::source::transport::credentials::Credentials;
use crate::source::transport::{FetchError, RetryPolicy, resolver};
use crate::sys::eintr::retry_on_eintr;

/// The port of FTP.
const PORT: u16 = 21;

/// The longest line of a reply, and the most lines.
const LINE_LEN: usize = 8 << 10;
const LINES: usize = 1000;

/// A user who is logged in.
pub(super) struct Control {
    stream: BufReader<TcpStream>,
    server: IpAddr,
    url: Url,
    policy: RetryPolicy,
}

/// What the server says to a command.
pub(super) struct Reply {
    pub(super) code: u16,
    /// The code and the words of the first line.
    pub(super) text: String,
}

impl Control {
    /// Connects, logs in, and asks for files as they are.
    pub(super) fn log_in(
        url: &Url,
        credentials: Option<&Credentials>,
        policy: RetryPolicy,
    ) -> Result<Self, FetchError> {
        let connected = connect_to_any(&url.host(), url.port().unwrap_or(PORT), policy);
        let (stream, server) =
            connected.map_err(|error| FetchError::Connect { detour: String::new(), cause: error.to_string() })?;
        let mut control = Self { stream: BufReader::new(stream), server, url: url.clone(), policy };
        // 120: ready later, which 220 follows.
        if control.expect("connect", &[120, 220])?.code == 120 {
            control.expect("connect", &[220])?;
        }
        let (user, password) = match credentials {
            Some(Credentials { user, password }) => (user.as_str(), password.as_str()),
            None => ("anonymous", "anonymous@"),
        };
        if control.command("USER", user.as_bytes(), &[230, 331])?.code == 331 {
            control.command("PASS", password.as_bytes(), &[202, 230])?;
        }
        control.command("TYPE", b"I", &[200])?;
        Ok(control)
    }

    /// Sends a command. Its reply must have one of the codes `wanted`.
    pub(super) fn command(
        &mut self,
        command: &'static str,
        argument: &[u8],
        wanted: &[u16],
    ) -> Result<Reply, FetchError> {
        let space: &[u8] = if argument.is_empty() { b"" } else { b" " };
        let line = [command.as_bytes(), space, argument, b"\r\n"].concat();
        let sent = self.stream.get_mut().write_all(&line);
        sent.map_err(|error| broken(&error.to_string()))?;
        self.expect(command, wanted)
    }

    /// Waits for the reply to `command`, which must have one of the codes `wanted`.
    pub(super) fn expect(&mut self, command: &'static str, wanted: &[u16]) -> Result<Reply, FetchError> {
        let reply = self.reply()?;
        log::debug!("{}: {command}: {}", self.url, reply.text);
        match wanted.contains(&reply.code) {
            true => Ok(reply),
            false => Err(FetchError::Ftp { command, reply: reply.text }),
        }
    }

    /// A connection for data, to the address of the control connection: the one in a reply to PASV may be of an inner
    /// network, or of another host.
    pub(super) fn data(&mut self) -> Result<TcpStream, FetchError> {
        let port = match self.command("EPSV", b"", &[229]) {
            Ok(reply) => extended_port(&reply.text),
            Err(FetchError::Ftp { .. }) => passive_port(&self.command("PASV", b"", &[227])?.text),
            Err(failure) => return Err(failure),
        };
        let port = port.ok_or_else(|| broken("the server offers no port for the data"))?;
        let address = SocketAddr::from((self.server, port));
        let stream = connect(address, self.policy);
        stream.map_err(|error| broken(&format!("no connection for the data: {error}")))
    }

    /// A reply, which must be whole soon after it has begun.
    fn reply(&mut self) -> Result<Reply, FetchError> {
        let text = read_line(&mut self.stream, self.policy, None)?;
        let began = Some(Instant::now());
        let code = text.get(..3).and_then(|code| code.parse().ok());
        let code: u16 = code.ok_or_else(|| broken("the server does not speak FTP"))?;
        if text.get(3..4) == Some("-") {
            let last = format!("{code:03} ");
            let mut lines = 0..LINES;
            while !read_line(&mut self.stream, self.policy, began)?.starts_with(&last) {
                lines.next().ok_or_else(|| broken("a reply has no end"))?;
            }
        }
        Ok(Reply { code, text })
    }
}

/// The next line of a reply, which began at `began` or begins with its first byte.
pub(super) fn read_line(
    stream: &mut BufReader<TcpStream>,
    policy: RetryPolicy,
    mut began: Option<Instant>,
) -> Result<String, FetchError> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let received = retry_on_eintr(|| {
            let data = stream.fill_buf()?;
            let part = data.split_inclusive(|&byte| byte == b'\n').next().unwrap_or_default();
            line.extend_from_slice(part);
            Ok::<_, io::Error>(part.len())
        });
        match received {
            Ok(0) => return Err(broken("the server has hung up")),
            Ok(length) => stream.consume(length),
            Err(error) => return Err(broken(&super::words(&error))),
        }
        if line.len() > LINE_LEN || began.get_or_insert_with(Instant::now).elapsed() > policy.stall {
            return Err(broken("a reply has no end"));
        }
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

fn broken(cause: &str) -> FetchError {
    FetchError::Broken { offset: 0, cause: cause.to_owned() }
}

/// Connects to one of the host's addresses, which is returned.
pub(super) fn connect_to_any(host: &str, port: u16, policy: RetryPolicy) -> io::Result<(TcpStream, IpAddr)> {
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in resolver::addresses(host, port)? {
        match connect(address, policy) {
            Ok(stream) => return Ok((stream, address.ip())),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn connect(address: SocketAddr, policy: RetryPolicy) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, policy.connect)?;
    stream.set_read_timeout(Some(policy.stall))?;
    stream.set_write_timeout(Some(policy.stall))?;
    Ok(stream)
}

/// The port in a reply to EPSV (RFC 2428): `229 Entering Extended Passive Mode (|||6446|)`, with any delimiter.
fn extended_port(text: &str) -> Option<u16> {
    let (_, inner) = text.split_once('(')?;
    let delimiter = inner.chars().next()?;
    inner.split(delimiter).nth(3)?.parse().ok()
}

/// The port in a reply to PASV: `227 Entering Passive Mode (127,0,0,1,25,46)`. The brackets may be missing.
fn passive_port(text: &str) -> Option<u16> {
    let numbers = text.get(3..)?.split(|c: char| !c.is_ascii_digit()).filter(|number| !number.is_empty());
    let numbers: Vec<u8> = numbers.map(str::parse).collect::<Result<_, _>>().ok()?;
    match numbers[..] {
        [_, _, _, _, high, low] => Some(u16::from_be_bytes([high, low])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        assert_eq!(extended_port("229 Entering Extended Passive Mode (|||6446|)"), Some(6446));
        assert_eq!(extended_port("229 (!!!1!)"), Some(1));
        for wrong in ["229", "229 ()", "229 (|||)", "229 (|||65536|)"] {
            assert_eq!(extended_port(wrong), None, "{wrong}");
        }
        assert_eq!(passive_port("227 Entering Passive Mode (10,0,0,1,25,46)."), Some(25 * 256 + 46));
        assert_eq!(passive_port("227 Passive 10,0,0,1,0,9"), Some(9));
        for wrong in ["227", "227 (1,2,3,4,5)", "227 (1,2,3,4,5,256)", "22"] {
            assert_eq!(passive_port(wrong), None, "{wrong}");
        }
    }
}
