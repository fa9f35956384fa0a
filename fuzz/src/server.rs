//! An HTTP server on loopback that does as an input says: it breaks off, forgets headers, sends other parts than were
//! asked for and says so, or another version of the file, or a page that is none of it. It never lies about what it
//! sends: a page has no mark of the file.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;

use crate::Input;

/// The scripts that are being played, by the first part of the path.
static SCRIPTS: LazyLock<Mutex<HashMap<u64, Arc<Mutex<Script>>>>> = LazyLock::new(Mutex::default);

/// The address of the server, which runs as long as the fuzzer.
static ADDRESS: LazyLock<String> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback works");
    let address = listener.local_addr().expect("it is bound").to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(&stream));
        }
    });
    address
});

/// The sizes that files have.
const SIZES: [usize; 8] = [0, 1, 511, 513, 5000, 200_000, 1_500_000, 3_500_000];

/// What is sent in place of a file.
static PAGE: [u8; 6000] = [b'<'; 6000];

/// The bytes of a file: of no two offsets near each other the same.
static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..3_500_000).map(|_| next()).collect()
});

/// What a server does, from its first answer on. After the last it serves as it should.
struct Script {
    size: usize,
    /// Whether its answers say which version of the file they are of.
    has_etag: bool,
    has_date: bool,
    takes_ranges: bool,
    answers: std::vec::IntoIter<Answer>,
    /// The version of which the first bytes were.
    first_version: Option<u8>,
    /// Whether the first answer had anything by which the file is known again.
    is_marked: bool,
}

/// One answer.
#[derive(Clone, Copy, Default)]
struct Answer {
    kind: Kind,
    /// Which version of the file it is of.
    version: u8,
    framing: Framing,
    /// After how many bytes of its body it breaks off.
    cut: Option<u64>,
    /// How far from where it should the part begins that it sends, and says that it sends.
    shift: i8,
    part: PartHeader,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Proper,
    /// The whole file, whatever was asked for.
    Whole,
    Status(u16),
    Redirection(u8),
    /// No answer at all.
    HangUp,
    Garbage,
    /// A page in place of the file, as a proxy or a server in trouble sends it.
    Page,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Framing {
    #[default]
    Length,
    Chunked,
    /// The end of the connection is that of the body.
    None,
    /// A length that is not that of the part.
    WrongLength,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum PartHeader {
    #[default]
    Proper,
    /// Without the size of the whole.
    NoSize,
    /// With another size of the whole.
    WrongSize,
    Missing,
    Garbage,
    /// Only a part of what was asked for.
    Short,
}

impl Answer {
    fn parse(input: &mut Input<'_>) -> Self {
        let kind = match input.below(12) {
            0..=4 => Kind::Proper,
            5 => Kind::Whole,
            6 => Kind::Status([200, 204, 206, 301, 304, 403, 404, 416, 429, 500, 503, 999][input.below(12)]),
            7 => Kind::Redirection(input.byte()),
            8 => Kind::HangUp,
            9 => Kind::Garbage,
            10 => Kind::Page,
            _ => Kind::Proper,
        };
        let framing = match input.below(6) {
            0 => Framing::Chunked,
            1 => Framing::None,
            2 => Framing::WrongLength,
            _ => Framing::Length,
        };
        let part = match input.below(9) {
            0 => PartHeader::NoSize,
            1 => PartHeader::WrongSize,
            2 => PartHeader::Missing,
            3 => PartHeader::Garbage,
            4 => PartHeader::Short,
            _ => PartHeader::Proper,
        };
        let cut = input.flag().then(|| input.number() << (input.byte() & 7));
        let shift = if input.below(8) == 0 { input.byte() as i8 } else { 0 };
        let version = u8::from(input.below(8) == 7);
        Self { kind, version, framing, cut, shift, part }
    }
}

/// A file on the server.
pub struct Served {
    number: u64,
    script: Arc<Mutex<Script>>,
    pub url: String,
    pub size: usize,
    /// Whether the server does nothing but what it should.
    pub is_good: bool,
}

impl Served {
    /// A file that is served as `input` says.
    pub fn by(input: &mut Input<'_>) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let size = SIZES[input.below(SIZES.len())];
        let flags = input.byte();
        let answers: Vec<_> = (0..input.below(12)).map(|_| Answer::parse(input)).collect();
        let is_good = answers.is_empty();
        let script = Script {
            size,
            has_etag: flags & 1 == 0,
            has_date: flags & 2 == 0,
            takes_ranges: flags & 4 == 0,
            answers: answers.into_iter(),
            first_version: None,
            is_marked: false,
        };
        let (number, script) = (NUMBERS.fetch_add(1, Relaxed), Arc::new(Mutex::new(script)));
        let url = format!("http://{}/{number}/disk.img", *ADDRESS);
        lock(&SCRIPTS).insert(number, Arc::clone(&script));
        Self { number, script, url, size, is_good }
    }

    /// Whether the file has these bytes at `offset`, in the version of which the first ones were.
    pub fn is(&self, offset: u64, bytes: &[u8]) -> bool {
        let version = lock(&self.script).first_version.unwrap_or(0);
        let start = offset as usize;
        let end = start + bytes.len();
        let is_byte = |(&found, &byte): (&u8, &u8)| found == byte ^ version;
        end <= self.size
            && (version == 0 && *bytes == CONTENT[start..end] || bytes.iter().zip(&CONTENT[start..end]).all(is_byte))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        lock(&SCRIPTS).remove(&self.number);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers what is asked over one connection, until an answer ends it.
fn serve(stream: &TcpStream) {
    // Short answers shall not wait for each other.
    let _ = stream.set_nodelay(true);
    let mut requests = BufReader::new(stream);
    while let Some((number, range)) = request(&mut requests) {
        let Some(script) = lock(&SCRIPTS).get(&number).cloned() else { return };
        let (answer, facts) = lock(&script).next(range.is_some());
        match answer.send(stream, &facts, range) {
            Ok(true) => {}
            _ => return,
        }
    }
}

/// The number of the script, and the first and the last byte that are asked for.
fn request(requests: &mut impl BufRead) -> Option<(u64, Option<(u64, Option<u64>)>)> {
    let mut line = String::new();
    requests.read_line(&mut line).ok()?;
    let number = line.split(['/', ' ']).find_map(|part| part.parse().ok())?;
    let mut range = None;
    loop {
        line.clear();
        requests.read_line(&mut line).ok().filter(|&count| count > 0)?;
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            return Some((number, range));
        }
        if let Some((first, last)) = header.strip_prefix("range: bytes=").and_then(|range| range.split_once('-')) {
            range = Some((first.parse().ok()?, last.parse().ok()));
        }
    }
}

/// What holds for all answers.
struct Facts {
    size: usize,
    has_etag: bool,
    has_date: bool,
    takes_ranges: bool,
}

impl Script {
    fn next(&mut self, asks_for_part: bool) -> (Answer, Facts) {
        let mut answer = self.answers.next().unwrap_or_default();
        let tells_versions = self.has_etag || self.has_date;
        if !tells_versions {
            answer.version = 0;
        }
        // What the first answer says is believed: it tells the size, or where the end is.
        if self.first_version.is_none() {
            if answer.framing == Framing::WrongLength {
                answer.framing = Framing::Length;
            }
            if answer.part == PartHeader::WrongSize {
                answer.part = PartHeader::Proper;
            }
        }
        if answer.kind == Kind::Page && !self.is_marked {
            answer.kind = Kind::Proper;
        }
        // A first part that does not say that it is the whole is not looked at: the whole is asked for again.
        let is_part =
            answer.kind == Kind::Status(206) || (answer.kind == Kind::Proper && asks_for_part && self.takes_ranges);
        // One that knows no parts sends the whole and calls it a part.
        let shift = if self.takes_ranges { usize::try_from(answer.shift).unwrap_or(0) } else { 0 };
        let start = shift.min(self.size.saturating_sub(1));
        let says_nothing = matches!(answer.part, PartHeader::Missing | PartHeader::Garbage | PartHeader::NoSize);
        // Nor is a part that was not asked for.
        let is_dismissed = is_part && (!asks_for_part || says_nothing || start > 0 || self.size == 0);
        let has_bytes = matches!(answer.kind, Kind::Proper | Kind::Whole | Kind::Status(200 | 206)) && !is_dismissed;
        if self.first_version.is_none() && has_bytes {
            self.first_version = Some(answer.version);
            self.is_marked = tells_versions || answer.framing == Framing::Length && answer.kind == Kind::Whole;
        }
        let Self { size, has_etag, has_date, takes_ranges, .. } = *self;
        (answer, Facts { size, has_etag, has_date, takes_ranges })
    }
}

/// A body in chunks (RFC 9112, section 7.1).
fn in_chunks(bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(bytes.len() + 4096);
    for chunk in bytes.chunks(30_000) {
        body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    body
}

impl Answer {
    /// Sends it; whether the connection goes on.
    fn send(self, mut stream: &TcpStream, facts: &Facts, range: Option<(u64, Option<u64>)>) -> io::Result<bool> {
        let size = facts.size;
        let mut headers = String::new();
        let part = match (self.kind, range) {
            (Kind::HangUp, _) => return Ok(false),
            (Kind::Garbage, _) => {
                stream.write_all(b"\x15\x03\x01 HTTP/9 nonsense\r\n\r\n")?;
                return Ok(false);
            }
            (Kind::Proper | Kind::Status(206), Some((first, last))) if facts.takes_ranges => {
                self.part(size, first, last)
            }
            _ => None,
        };
        let status = match self.kind {
            Kind::Proper | Kind::Whole if part.is_some() => 206,
            Kind::Proper if range.is_some_and(|(first, _)| first >= size as u64) && facts.takes_ranges => 416,
            Kind::Proper | Kind::Whole | Kind::Page => 200,
            Kind::Redirection(_) => 302,
            Kind::Status(status) => status,
            Kind::HangUp | Kind::Garbage => return Ok(false),
        };
        let body = match &part {
            Some(part) => part.clone(),
            None if matches!(status, 200 | 206) => 0..size,
            None => 0..0,
        };
        if let Kind::Redirection(to) = self.kind {
            let target = ["other.img", "/nowhere", "ftp://h/p", "http://[", "http://me:pw@127.0.0.1:1/", ""];
            headers += &format!("Location: {}\r\n", target[usize::from(to) % target.len()]);
        }
        if status == 206 && self.part != PartHeader::Missing {
            headers += &self.content_range(&body, size);
        }
        if status == 416 && self.part != PartHeader::Missing {
            headers += &format!("Content-Range: bytes */{size}\r\n");
        }
        if facts.takes_ranges {
            headers += "Accept-Ranges: bytes\r\n";
        }
        let is_file = self.kind != Kind::Page;
        if facts.has_etag && is_file {
            headers += &format!("ETag: \"v{}\"\r\n", self.version);
        }
        if facts.has_date && is_file {
            headers += &format!("Last-Modified: Mon, 0{} Jan 2024 00:00:00 GMT\r\n", 1 + self.version);
        }
        let bytes: Cow<'_, [u8]> = match self.version {
            _ if !is_file => Cow::Borrowed(&PAGE),
            0 => Cow::Borrowed(&CONTENT[body]),
            version => CONTENT[body].iter().map(|byte| byte ^ version).collect(),
        };
        headers += &match self.framing {
            Framing::Length => format!("Content-Length: {}\r\n", bytes.len()),
            Framing::WrongLength => format!("Content-Length: {}\r\n", bytes.len() + 1),
            Framing::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
            Framing::None => "Connection: close\r\n".to_owned(),
        };
        stream.write_all(format!("HTTP/1.1 {status} Said\r\n{headers}\r\n").as_bytes())?;
        let bytes = if self.framing == Framing::Chunked { Cow::Owned(in_chunks(&bytes)) } else { bytes };
        // Where only the end of the connection tells that of a whole file, it cannot be known that it was cut.
        let cut = self.cut.filter(|_| self.framing != Framing::None || part.is_some());
        let sent = cut.and_then(|cut| bytes.get(..cut as usize));
        stream.write_all(sent.unwrap_or(&bytes))?;
        Ok(sent.is_none() && matches!(self.framing, Framing::Length | Framing::Chunked))
    }

    /// The part that is sent for one that is asked for.
    fn part(self, size: usize, first: u64, last: Option<u64>) -> Option<Range<usize>> {
        let first = usize::try_from(first).ok().filter(|&first| first < size)?;
        let start = first.saturating_add_signed(self.shift.into()).min(size - 1);
        let end = last.and_then(|last| usize::try_from(last).ok()).map_or(size, |last| size.min(last + 1));
        let end = if self.part == PartHeader::Short { start + (end.saturating_sub(start)).div_ceil(3) } else { end };
        Some(start..end.max(start + 1))
    }

    fn content_range(self, body: &Range<usize>, size: usize) -> String {
        let size = match self.part {
            PartHeader::NoSize => "*".to_owned(),
            PartHeader::WrongSize => (size + 1).to_string(),
            PartHeader::Garbage => return "Content-Range: bytes 5-\u{e4}/x\r\n".to_owned(),
            _ => size.to_string(),
        };
        format!("Content-Range: bytes {}-{}/{size}\r\n", body.start, body.end.saturating_sub(1))
    }
}
