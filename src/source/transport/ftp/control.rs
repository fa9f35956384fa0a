//! The control connection: commands and replies (RFC 959).

use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Instant;

use crate::source::Url;
use crate::source::transport::credentials::Credentials;
use crate::source::transport::{Failure, Patience, resolver};

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
    patience: Patience,
}

/// What the server says to a command.
pub(super) struct Reply {
    pub(super) code: u16,
    /// The code and the words of the first line.
    pub(super) text: String,
}

impl Control {
    /// Connects, logs in, and asks for files as they are.
    pub(super) fn log_in(url: &Url, credentials: &Credentials, patience: Patience) -> Result<Self, Failure> {
        let stream = connect(&url.host(), url.port().unwrap_or(PORT), patience);
        let stream = stream.map_err(|error| Failure::Connect {
            url: url.clone(),
            detour: String::new(),
            cause: error.to_string(),
        })?;
        let mut control = Self { server: stream.1, stream: BufReader::new(stream.0), url: url.clone(), patience };
        // Ready later, and then ready.
        if control.expect("connect", &[120, 220])?.code == 120 {
            control.expect("connect", &[220])?;
        }
        if control.command("USER", credentials.user.as_bytes(), &[230, 331])?.code == 331 {
            control.command("PASS", credentials.password.as_bytes(), &[202, 230])?;
        }
        control.command("TYPE", b"I", &[200])?;
        Ok(control)
    }

    /// Sends a command. Its reply must have one of the codes `wanted`.
    pub(super) fn command(&mut self, command: &'static str, argument: &[u8], wanted: &[u16]) -> Result<Reply, Failure> {
        let space: &[u8] = if argument.is_empty() { b"" } else { b" " };
        let line = [command.as_bytes(), space, argument, b"\r\n"].concat();
        let sent = self.stream.get_mut().write_all(&line);
        sent.map_err(|error| self.broken(&error.to_string()))?;
        self.expect(command, wanted)
    }

    /// Waits for the reply to `command`, which must have one of the codes `wanted`.
    pub(super) fn expect(&mut self, command: &'static str, wanted: &[u16]) -> Result<Reply, Failure> {
        let reply = self.reply()?;
        log::debug!("{}: {command}: {}", self.url, reply.text);
        match wanted.contains(&reply.code) {
            true => Ok(reply),
            false => Err(Failure::Ftp { url: self.url.clone(), command, reply: reply.text }),
        }
    }

    /// A connection for data. The server's address is the one that is known: what it says of it may be that of an inner
    /// network, or a stranger's.
    pub(super) fn data(&mut self) -> Result<TcpStream, Failure> {
        let port = match self.command("EPSV", b"", &[229]) {
            Ok(reply) => extended_port(&reply.text),
            Err(Failure::Ftp { .. }) => passive_port(&self.command("PASV", b"", &[227])?.text),
            Err(failure) => return Err(failure),
        };
        let port = port.ok_or_else(|| self.broken("the server offers no port for the data"))?;
        let address = SocketAddr::from((self.server, port));
        let stream = TcpStream::connect_timeout(&address, self.patience.connect).and_then(|stream| {
            stream.set_read_timeout(Some(self.patience.stall))?;
            Ok(stream)
        });
        stream.map_err(|error| self.broken(&format!("no connection for the data: {error}")))
    }

    /// A reply, which must be whole soon after it has begun.
    fn reply(&mut self) -> Result<Reply, Failure> {
        let text = self.line(None)?;
        let began = Some(Instant::now());
        let code = text.get(..3).and_then(|code| code.parse().ok());
        let code: u16 = code.ok_or_else(|| self.broken("the server does not speak FTP"))?;
        if text.get(3..4) == Some("-") {
            let last = format!("{code:03} ");
            let mut lines = 0..LINES;
            while !self.line(began)?.starts_with(&last) {
                lines.next().ok_or_else(|| self.broken("a reply has no end"))?;
            }
        }
        Ok(Reply { code, text })
    }

    /// The next line of a reply that `began` then; else with its first byte.
    fn line(&mut self, began: Option<Instant>) -> Result<String, Failure> {
        let mut line = Vec::new();
        let mut began = began;
        while !line.ends_with(b"\n") {
            let piece = match self.stream.fill_buf() {
                Ok([]) => return Err(self.broken("the server has hung up")),
                Ok(piece) => piece.split_inclusive(|&byte| byte == b'\n').next().unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.broken(&super::words(&error))),
            };
            line.extend_from_slice(piece);
            let length = piece.len();
            self.stream.consume(length);
            if line.len() > LINE_LEN || began.get_or_insert_with(Instant::now).elapsed() > self.patience.stall {
                return Err(self.broken("a reply has no end"));
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    fn broken(&self, cause: &str) -> Failure {
        Failure::Broken { url: self.url.clone(), offset: 0, cause: cause.to_owned() }
    }
}

fn connect(host: &str, port: u16, patience: Patience) -> io::Result<(TcpStream, IpAddr)> {
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in resolver::addresses(host, port)? {
        match TcpStream::connect_timeout(&address, patience.connect) {
            Ok(stream) => {
                stream.set_read_timeout(Some(patience.stall))?;
                stream.set_write_timeout(Some(patience.stall))?;
                return Ok((stream, address.ip()));
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
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
