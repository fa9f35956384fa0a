//! An HTTP server that does what a test tells it to, well or badly. It lives in threads of the test.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What a test does with a request.
type Handler = dyn Fn(&Request, &mut Reply<'_>) + Send + Sync;

/// A server on a port of its own. It takes no more connections once it is dropped.
pub struct Server {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    stopped: AtomicBool,
    /// How many requests came.
    count: AtomicUsize,
    /// How many bytes of bodies were sent, or were to be sent when the connection broke.
    sent: AtomicU64,
    requests: Mutex<Vec<Request>>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// With the query; with the host where it came to a proxy.
    pub target: String,
    headers: Vec<(String, String)>,
    /// How many came before it.
    pub number: usize,
}

/// What is sent back. Dropped before it is complete, it breaks off.
pub struct Reply<'a> {
    stream: &'a mut TcpStream,
    state: &'a State,
    broken: bool,
}

/// A file that a server has.
#[derive(Clone)]
pub struct File {
    pub data: Arc<Vec<u8>>,
    pub etag: &'static str,
    /// Whether parts of it are sent.
    pub ranges: bool,
}

impl Server {
    /// A server that answers each request by `handler`.
    pub fn start(handler: impl Fn(&Request, &mut Reply<'_>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let (handler, shared): (Arc<Handler>, _) = (Arc::new(handler), Arc::clone(&state));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (handler, state) = (Arc::clone(&handler), Arc::clone(&shared));
                std::thread::spawn(move || serve(stream.unwrap(), &state, &*handler));
            }
        });
        Self { address, state }
    }

    /// A server that has this one file under every name.
    pub fn of(file: File) -> Self {
        Self::start(move |request, reply| reply.file(request, &file))
    }

    /// The URL of a file on this server.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// The same with credentials.
    pub fn url_as(&self, credentials: &str, path: &str) -> String {
        format!("http://{credentials}@{}/{path}", self.address)
    }

    /// How many bytes of bodies it sent.
    pub fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::SeqCst)
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, state: &State, handler: &Handler) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = Request::read(&mut reader, state) {
        state.requests.lock().unwrap().push(request.clone());
        let mut reply = Reply { stream: &mut stream, state, broken: false };
        handler(&request, &mut reply);
        if reply.broken {
            let _ = stream.shutdown(std::net::Shutdown::Both);
            return;
        }
    }
}

impl Request {
    fn read(reader: &mut impl BufRead, state: &State) -> Option<Self> {
        let mut line = String::new();
        let mut next = |line: &mut String| {
            line.clear();
            reader.read_line(line).ok().filter(|&length| length > 0)
        };
        next(&mut line)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (_method, target) = (words.next()?, words.next()?);
        let mut headers = Vec::new();
        while next(&mut line)? > 2 {
            let (name, value) = line.split_once(':')?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Some(Self { target, headers, number: state.count.fetch_add(1, Ordering::SeqCst) })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    /// The range that is asked for, half-open.
    pub fn range(&self, size: usize) -> Option<(usize, usize)> {
        let (start, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((start.parse().unwrap(), last.parse::<usize>().map_or(size, |last| (last + 1).min(size))))
    }
}

impl Reply<'_> {
    /// Sends a head: a status line and more lines.
    pub fn head(&mut self, status: &str, lines: &[&str]) {
        let mut head = format!("HTTP/1.1 {status}\r\n");
        lines.iter().for_each(|line| head.push_str(&format!("{line}\r\n")));
        head.push_str("\r\n");
        self.broken |= self.stream.write_all(head.as_bytes()).is_err();
    }

    /// Sends a part of a body.
    pub fn body(&mut self, data: &[u8]) {
        for chunk in data.chunks(16 << 10) {
            // Before it is sent: who has received it may look at the number at once.
            self.state.sent.fetch_add(chunk.len() as u64, Ordering::SeqCst);
            if self.stream.write_all(chunk).is_err() {
                self.broken = true;
                return;
            }
        }
    }

    /// Sends a whole answer without a file.
    pub fn status(&mut self, status: &str, lines: &[&str]) {
        let mut lines = lines.to_vec();
        lines.push("Content-Length: 0");
        self.head(status, &lines);
    }

    /// Sends to another address, in whatever bytes.
    pub fn redirect(&mut self, location: &[u8]) {
        let head = [b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: ", location, b"\r\n\r\n"].concat();
        self.broken |= self.stream.write_all(&head).is_err();
    }

    /// Closes the connection after this answer, whatever may be missing from it.
    pub fn close(&mut self) {
        self.broken = true;
    }

    /// Sends nothing for a while.
    pub fn stall(&mut self, time: std::time::Duration) {
        std::thread::sleep(time);
        self.broken = true;
    }

    /// Sends what `request` asks for of `file`, as a good server does.
    pub fn file(&mut self, request: &Request, file: &File) {
        self.file_until(request, file, usize::MAX);
    }

    /// The same, but breaks off after `limit` bytes.
    pub fn file_until(&mut self, request: &Request, file: &File, limit: usize) {
        let size = file.data.len();
        let etag = format!("ETag: {}", file.etag);
        let range = request.range(size).filter(|_| file.ranges);
        let range = range.filter(|_| request.header("if-range").is_none_or(|version| version == file.etag));
        let (start, end) = range.unwrap_or((0, size));
        let length = format!("Content-Length: {}", end.saturating_sub(start));
        match range {
            Some(_) if start >= size => self.status("416 Range Not Satisfiable", &[&etag]),
            Some(_) => {
                let content_range = format!("Content-Range: bytes {start}-{}/{size}", end - 1);
                self.head("206 Partial Content", &[&etag, &length, &content_range]);
            }
            None if file.ranges => self.head("200 OK", &[&etag, &length, "Accept-Ranges: bytes"]),
            None => self.head("200 OK", &[&etag, &length]),
        }
        let data = &file.data[start.min(size)..end];
        self.body(&data[..data.len().min(limit)]);
        self.broken |= data.len() > limit;
    }
}

impl File {
    /// A file with these bytes, on a server that sends parts of it.
    pub fn new(data: Vec<u8>) -> Self {
        Self { data: Arc::new(data), etag: "\"one\"", ranges: true }
    }
}
