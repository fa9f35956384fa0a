//! Images over HTTP from servers that break off, lie, or send something else.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::common::daemon::assert_not_listed;
use crate::common::download::Case;
use crate::common::image::sparse;
use crate::common::server::{File, Reply, Server};
use crate::common::sh;
use crate::common::tool::{copy, interrupt, wait_until};
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, socket};

#[test]
fn dropped_connections_are_resumed() {
    let case = Case::full();
    for every in [50_001, 400_000] {
        let file = case.file();
        let server = Server::start(move |request, reply| reply.file_until(request, &file, every));
        for tool in [case.copy(&server.url("x")), case.copy_all(&server.url("x"))] {
            let before = server.sent();
            tool.ok().says(&["trying again", "fetched 2.9 MiB of 2.9 MiB"]);
            assert!(server.sent() - before < 3_300_000, "{} bytes were sent", server.sent());
            case.assert_copied();
        }
        let requests = server.requests();
        assert!(requests.iter().skip(1).any(|request| request.header("if-range") == Some("\"one\"")));
        assert!(requests.iter().all(|request| request.header("accept-encoding") == Some("identity")));
    }
    sh("gzip", &["-k", case.image.to_str().unwrap()]);
    let file = File::new(std::fs::read(case.directory.path().join("disk.img.gz")).unwrap());
    let server = Server::start(move |request, reply| reply.file_until(request, &file, 100_000));
    case.copy_all(&server.url("x")).ok();
    case.assert_copied();
}

#[test]
fn stalls_are_breaks() {
    let case = Case::full();
    let file = case.file();
    let server = Server::start(move |request, reply| {
        reply.file_until(request, &file, 1_000_000);
        reply.stall(Duration::from_secs(3));
    });
    case.copy_all(&server.url("x")).ok().says(&["broke at byte 1000000", "timed out"]);
    case.assert_copied();

    let file = case.file();
    let server = Server::start(move |request, reply| {
        reply.file_until(request, &file, if request.number == 0 { 1_000_000 } else { 0 });
        reply.stall(Duration::from_secs(60));
    });
    case.copy_all(&server.url("x")).fails(&["given up after", "breaks without a new byte", "timed out"]);
    case.assert_nothing_left();
}

#[test]
fn a_server_in_trouble_is_asked_again() {
    let case = Case::full();
    let file = case.file();
    let server = Server::start(move |request, reply| match request.number % 4 {
        0 => reply.status("500 Internal Server Error", &[]),
        1 => reply.status("503 Service Unavailable", &["Retry-After: 0"]),
        2 => reply.close(),
        _ => reply.file_until(request, &file, 1_000_000),
    });
    case.copy_all(&server.url("x")).ok().says(&["500", "503", "trying again"]);
    case.assert_copied();
}

#[test]
fn a_busy_server_is_asked_again_when_it_says() {
    let case = Case::full();
    let file = case.file();
    let server = Server::start(move |request, reply| match request.number {
        0 => reply.status("429 Too Many Requests", &["Retry-After: 1"]),
        1 => reply.status("408 Request Timeout", &[]),
        2 => reply.file_until(request, &file, 1_000_000),
        3 => reply.status("429 Too Many Requests", &[]),
        _ => reply.file(request, &file),
    });
    let began = Instant::now();
    case.copy_all(&server.url("x")).ok().says(&["429 Too Many Requests; trying again in 1.0 s", "408"]);
    assert!(began.elapsed() >= Duration::from_secs(1));
    case.assert_copied();
    // Nobody waits for an hour.
    let server = Server::start(|_, reply| reply.status("429 Too Many Requests", &["Retry-After: 3600"]));
    let brief = case.copy(&server.url("x")).env("BMAPTOOL_TIMEOUT_SCALE", "0.01");
    brief.fails(&["given up after 2 breaks", "429 Too Many Requests"]);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_server_is_waited_for_until_a_date_by_its_own_clock() {
    let case = Case::full();
    let file = case.file();
    let server = Server::start(move |request, reply| match request.number {
        0 => {
            let at = |seconds| format!("Sun, 06 Nov 1994 08:49:{seconds} GMT");
            let [now, then] = [format!("Date: {}", at(37)), format!("Retry-After: {}", at(38))];
            reply.status("503 Service Unavailable", &[&now, &then]);
        }
        _ => reply.file(request, &file),
    });
    case.copy_all(&server.url("x")).ok().says(&["503 Service Unavailable; trying again in 1.0 s"]);
    case.assert_copied();
}

#[test]
fn a_server_that_stays_in_trouble_is_given_up() {
    let case = Case::full();
    let file = case.file();
    let server = Server::start(move |request, reply| match request.number {
        0 => reply.file_until(request, &file, 1_000_000),
        _ => reply.status("503 Service Unavailable", &[]),
    });
    case.copy_all(&server.url("x")).fails(&["cannot read the image", "given up after 8 breaks", "503"]);
    assert_eq!(server.requests().len(), 8);
    case.assert_nothing_left();
    let server = Server::start(|_, reply| reply.status("500 Internal Server Error", &[]));
    case.copy(&server.url("x")).fails(&["cannot open", "given up after 8 breaks", "500 Internal Server Error"]);
    assert_eq!(server.requests().len(), 8);
}

#[test]
fn short_bodies_never_pass() {
    let case = Case::full();
    // Shorter than announced, and nothing more comes.
    let bytes = case.bytes();
    let server = Server::start(move |request, reply| {
        if request.number > 0 {
            return reply.status("404 Not Found", &[]);
        }
        reply.head("200 OK", &["Content-Length: 3000000"]);
        reply.body(&bytes[..2_000_000]);
        reply.close();
    });
    case.copy(&server.url("x")).fails(&["404 Not Found"]);
    // Not announced: only the bmap, or a trailer, can tell.
    let bytes = case.bytes();
    let server = Server::start(move |_, reply| {
        reply.head("200 OK", &["Connection: close"]);
        reply.body(&bytes[..2_000_000]);
        reply.close();
    });
    case.copy(&server.url("x")).fails(&["the image ended at byte 2000000, the bmap says it has 3000000"]);
    // All of it, not announced.
    let bytes = case.bytes();
    let server = Server::start(move |_, reply| {
        reply.head("200 OK", &["Connection: close"]);
        reply.body(&bytes);
        reply.close();
    });
    let outcome = case.copy_all(&server.url("x")).ok();
    outcome.says(&[
        "fetched 2.9 MiB\n",
        "WARNING: the server does not say where",
        "if it is cut off, that cannot be noticed",
    ]);
    case.assert_copied();
    // Another size than the bmap's.
    let mut file = case.file();
    file.data = case.bytes()[..2_999_999].to_vec().into();
    case.copy(&Server::of(file).url("x")).fails(&["has 2999999 bytes, but the bmap is for an image of 3000000"]);
}

#[test]
fn chunked_bodies_are_resumed_where_the_server_sends_ranges() {
    let case = Case::full();
    for (ranges, cut) in [(true, false), (true, true), (false, true)] {
        let mut file = case.file();
        file.ranges = ranges;
        let server = Server::start(move |request, reply| {
            if request.number > 0 && ranges {
                return reply.file(request, &file);
            }
            reply.head("200 OK", &["ETag: \"one\"", "Transfer-Encoding: chunked"]);
            let end = if cut { 2_000_000 } else { file.data.len() };
            for chunk in file.data[..end].chunks(100_000) {
                reply.body(format!("{:x}\r\n", chunk.len()).as_bytes());
                reply.body(chunk);
                reply.body(b"\r\n");
            }
            if cut { reply.close() } else { reply.body(b"0\r\n\r\n") }
        });
        let tool = case.copy_all(&server.url("x"));
        if ranges {
            let outcome = tool.ok();
            assert!(!outcome.stderr.contains("WARNING"), "{}", outcome.stderr);
            case.assert_copied();
        } else {
            // It always breaks at the same byte.
            tool.fails(&["given up after 8 breaks without a new byte"])
                .says(&["sends whole files only: starting again"]);
            case.assert_nothing_left();
        }
    }
}

#[test]
fn a_changed_image_is_an_error() {
    let case = Case::full();
    for obeys_if_range in [true, false] {
        let (mut file, mut new) = (case.file(), case.file());
        file.etag = "\"one\"";
        new.etag = "\"two\"";
        let server = Server::start(move |request, reply| match request.number {
            0 => reply.file_until(request, &file, 1_000_000),
            _ if obeys_if_range => reply.file(request, &new),
            _ => {
                reply.head(
                    "206 Partial Content",
                    &["ETag: \"two\"", "Content-Length: 2000000", "Content-Range: bytes 1000000-2999999/3000000"],
                );
                reply.body(&new.data[1_000_000..]);
            }
        });
        case.copy_all(&server.url("x")).fails(&["changed while it was being fetched", &server.url("x")]);
        case.assert_nothing_left();
        assert_eq!(server.requests().len(), 2);
    }
    // A weak tag is no condition, but tells a change.
    let (mut file, mut new) = (case.file(), case.file());
    (file.etag, new.etag) = ("W/\"one\"", "W/\"two\"");
    let server = Server::start(move |request, reply| match request.number {
        0 => reply.file_until(request, &file, 1_000_000),
        _ => reply.file(request, &new),
    });
    let outcome = case.copy_all(&server.url("x")).fails(&["changed while it was being fetched"]);
    assert!(!outcome.stderr.contains("WARNING"), "{}", outcome.stderr);
    // It shrank, or is known by its date only.
    let whole = ["Content-Length: 3000000", "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT"];
    for answer in ["416 Range Not Satisfiable", "200 OK"] {
        let bytes = case.bytes();
        let server = Server::start(move |request, reply| {
            if request.number == 0 {
                reply.head("200 OK", &whole);
                reply.body(&bytes[..1_000_000]);
                return reply.close();
            }
            assert_eq!(request.header("if-range"), Some("Mon, 01 Jan 2024 00:00:00 GMT"));
            reply.status(answer, &["Last-Modified: Tue, 02 Jan 2024 00:00:00 GMT"]);
        });
        case.copy_all(&server.url("x")).fails(&["changed while it was being fetched"]);
        assert_eq!(server.requests().len(), 2);
    }
}

#[test]
fn lies_about_ranges_are_errors() {
    let case = Case::full();
    let lies = [
        ("Content-Range: bytes 900000-2899999/3000000", "another part of the file"),
        ("Content-Range: bytes 1000000-2999998/3000000", "another number of them"),
        ("Content-Range: bytes 1000000-2999999/4000000", "changed while"),
        ("Content-Range: bytes 1000000-3999999/3000000", "does not say which"),
        ("Content-Range: nonsense", "does not say which"),
        ("X-Content-Range: none", "does not say which"),
    ];
    for (lie, message) in lies {
        let file = case.file();
        let server = Server::start(move |request, reply| {
            if request.number == 0 {
                return reply.file_until(request, &file, 1_000_000);
            }
            reply.head("206 Partial Content", &["ETag: \"one\"", "Content-Length: 2000000", lie]);
            reply.body(&file.data[1_000_000..]);
        });
        case.copy_all(&server.url("x")).fails(&[message, &server.url("x")]);
        case.assert_nothing_left();
    }
}

#[test]
fn a_server_without_ranges_starts_over() {
    let case = Case::full();
    sh("gzip", &["-k", case.image.to_str().unwrap()]);
    let compressed = File::new(std::fs::read(case.directory.path().join("disk.img.gz")).unwrap());
    for file in [case.file(), compressed] {
        let size = file.data.len();
        let server = Server::start(move |request, reply| {
            let file = File { ranges: false, ..file.clone() };
            // Each time it comes a little further.
            reply.file_until(request, &file, (request.number + 1) * (size / 4 + 1));
        });
        let starts_over = format!("the server of '{}' sends whole files only: starting again", server.url("x"));
        case.copy_all(&server.url("x")).ok().says(&[&starts_over, "broke at byte"]);
        assert_eq!(server.requests().len(), 4);
        case.assert_copied();
        let tool = case.copy(&server.url("x"));
        tool.ok();
        case.assert_copied();
    }
}

#[test]
fn a_file_that_changed_is_not_started_over() {
    let case = Case::full();
    let (old, mut new) = (case.file(), case.file());
    new.etag = "\"two\"";
    let server = Server::start(move |request, reply| match request.number {
        0 => reply.file_until(request, &File { ranges: false, ..old.clone() }, 1_000_000),
        _ => reply.file(request, &File { ranges: false, ..new.clone() }),
    });
    case.copy_all(&server.url("x")).fails(&["changed while it was being fetched"]);
    case.assert_nothing_left();
}

/// Sends these bytes in chunks, with the end that belongs to them.
fn chunks(reply: &mut Reply<'_>, lines: &[&str], data: &[u8]) {
    reply.head("200 OK", &[lines, &["Transfer-Encoding: chunked"]].concat());
    reply.body(format!("{:x}\r\n", data.len()).as_bytes());
    reply.body(data);
    reply.body(b"\r\n0\r\n\r\n");
}

#[test]
fn a_page_in_between_is_not_taken_for_the_file() {
    let case = Case::full();
    let file = case.file();
    let server = Server::start(move |request, reply| match request.number {
        0 => reply.file_until(request, &file, 1000),
        1 => chunks(reply, &["Content-Type: text/html"], &[b'x'; 5000]),
        _ => reply.file(request, &file),
    });
    case.copy_all(&server.url("x")).ok().says(&["the server sends no ETag, date or size to compare; trying again"]);
    case.assert_copied();
}

#[test]
fn answers_without_a_new_byte_come_to_an_end() {
    let case = Case::full();
    let file = case.file();
    let server = Server::start(move |request, reply| match request.number {
        0 => reply.file_until(request, &file, 1000),
        _ => chunks(reply, &["ETag: \"one\""], &file.data[..5000]),
    });
    case.copy_all(&server.url("x")).fails(&["given up after 8 breaks", "ended too early"]);
    case.assert_nothing_left();
}

#[test]
fn a_lost_end_is_asked_for() {
    let case = Case::full();
    for (size, message) in [(3_000_000, None), (3_000_001, Some("changed while it was being fetched"))] {
        let bytes = case.bytes();
        let server = Server::start(move |request, reply| {
            if request.number > 0 {
                assert_eq!(request.header("range"), Some("bytes=3000000-"));
                return reply.status("416 Range Not Satisfiable", &[&format!("Content-Range: bytes */{size}")]);
            }
            reply.head("200 OK", &["ETag: \"one\"", "Transfer-Encoding: chunked"]);
            reply.body(b"2dc6c0\r\n");
            reply.body(&bytes);
            reply.close();
        });
        match message {
            None => {
                case.copy_all(&server.url("x")).ok();
                case.assert_copied();
            }
            Some(message) => drop(case.copy_all(&server.url("x")).fails(&[message])),
        }
    }
}

#[test]
fn what_is_said_of_parts_in_general_need_not_be_true() {
    let case = Case::new(|path| sparse(path, 4 << 20, &[(0, 4096), (3 << 20, 4096)], 5));
    let file = case.file();
    let server = Server::start(move |_, reply| {
        reply.head("200 OK", &["Accept-Ranges: bytes", "Content-Length: 4194304", "ETag: \"one\""]);
        reply.body(&file.data);
    });
    case.copy(&server.url("x")).ok();
    case.assert_copied();
}

#[test]
fn a_server_that_cannot_deal_with_parts_is_read_whole() {
    let case = Case::full();
    let answers: [(&str, &[&str]); 5] = [
        ("206 Partial Content", &[]),
        ("206 Partial Content", &["Content-Range: bytes 0-2999999/*"]),
        ("400 Bad Request", &[]),
        ("416 Range Not Satisfiable", &[]),
        ("501 Not Implemented", &[]),
    ];
    for (answer, lines) in answers {
        let file = case.file();
        let server = Server::start(move |request, reply| match request.header("range") {
            None => reply.file(request, &file),
            Some(_) if answer.starts_with("206") => {
                reply.head(answer, &[lines, &["Content-Length: 3000000"]].concat());
                reply.body(&file.data);
            }
            Some(_) => reply.status(answer, lines),
        });
        case.copy_all(&server.url("x")).ok();
        case.assert_copied();
        assert_eq!(server.requests().len(), 2, "{answer}");
    }
}

#[test]
fn a_server_that_takes_no_connection_is_no_break() {
    let listener = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(listener.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let address: SockaddrIn = getsockname(listener.as_raw_fd()).unwrap();
    // As many as wait to be accepted; from then on the kernel answers nothing.
    let address = SocketAddr::from((address.ip(), address.port()));
    let brief = Duration::from_millis(100);
    let _waiting: Vec<_> = std::iter::from_fn(|| TcpStream::connect_timeout(&address, brief).ok()).collect();

    let case = Case::full();
    let url = format!("http://{address}/x");
    let outcome = case.copy_all(&url).fails(&[&format!("cannot open '{url}': cannot connect: ")]);
    assert!(!outcome.stderr.contains("trying again"), "{}", outcome.stderr);
}

#[test]
fn a_signal_ends_a_stalled_copy() {
    let case = Case::full();
    let file = case.file();
    let server = Server::start(move |request, reply| {
        reply.file_until(request, &file, 1_000_000);
        reply.stall(Duration::from_secs(60));
    });
    let url = server.url_as("me:s%26cret:x", "x");
    let mut tool = copy(["--nobmap".as_ref(), url.as_ref(), case.out().as_os_str()]);
    tool.command.args(["--header", "X-Token: t0ken"]);
    let mut child = tool.spawn();
    // What was sent may still lie in the sockets; the target is there once the copy has begun.
    wait_until(&mut child, "the stall", || server.sent() >= 1_000_000 && case.out().exists());
    assert_not_listed("cret:x");
    assert_not_listed("t0ken");
    interrupt(child, Signal::SIGTERM);
}
