//! Images, and bmaps beside them, over HTTP, from servers that behave.

use crate::common::daemon::free_port;
use crate::common::download::{Case, hasty};
use crate::common::image::{Random, sparse};
use crate::common::server::{File, Reply, Request, Server};
use crate::common::sh;
use crate::common::tool::copy;

/// A server that has this one file under every name, but where `cue` says so it does something else.
fn serving_unless(file: File, cue: impl Fn(&Request, &mut Reply<'_>) -> bool + Send + Sync + 'static) -> Server {
    Server::start(move |request, reply| {
        if !cue(request, reply) {
            reply.file(request, &file);
        }
    })
}

#[test]
fn the_bmap_is_beside_the_image_and_keeps_the_query() {
    let case = Case::disk_like();
    let (image, bmap) = (case.file(), File::new(std::fs::read(&case.bmap).unwrap()));
    for name in ["disk%20a.img.gz.bmap?token=x/y.z", "disk%20a.img.bmap?token=x/y.z", "disk%20a.bmap?token=x/y.z"] {
        let (image, bmap) = (image.clone(), bmap.clone());
        let server = Server::start(move |request, reply| match &*request.target {
            "/p/disk%20a.img.gz?token=x/y.z" => reply.file(request, &image),
            target if target.strip_prefix("/p/") == Some(name) => reply.file(request, &bmap),
            _ => reply.status("404 Not Found", &[]),
        });
        let url = server.url("p/disk%20a.img.gz?token=x/y.z#part");
        let outcome = hasty(copy([url.as_ref(), case.out().as_os_str()])).ok();
        let found = server.url(&format!("p/{name}#part"));
        outcome.says(&[&format!("discovered bmap file '{found}'"), "says gzip, but it is not compressed"]);
        case.assert_copied();
    }
}

#[test]
fn what_is_absent_is_passed_over_and_what_fails_is_not() {
    let case = Case::disk_like();
    let (image, bmap) = (case.file(), File::new(std::fs::read(&case.bmap).unwrap()));
    let cases = [
        ("404 Not Found", None),
        ("410 Gone", None),
        ("403 Forbidden", None),
        ("401 Unauthorized", None),
        ("400 Bad Request", None),
        ("500 Internal Server Error", Some("500 Internal Server Error")),
        ("204 No Content", Some("204 No Content")),
    ];
    for (status, failure) in cases {
        let (image, bmap) = (image.clone(), bmap.clone());
        let server = Server::start(move |request, reply| match request.path() {
            "/disk.img.x" => reply.file(request, &image),
            "/disk.img.bmap" => reply.file(request, &bmap),
            name if name.ends_with(".bmap") => reply.status(status, &[]),
            _ => reply.status("404 Not Found", &[]),
        });
        let tool = hasty(copy([server.url("disk.img.x").as_ref(), case.out().as_os_str()]));
        match failure {
            None => tool.ok().says(&["disk.img.bmap'"]),
            Some(message) => tool.fails(&[message, &server.url("disk.img.x.bmap")]).says(&["cannot open"]),
        }
    }
    // A server that withholds all of them, or whether there is a signature, does not say that there is none.
    for withheld in [".bmap", ".asc"] {
        let (image, bmap) = (case.file(), File::new(std::fs::read(&case.bmap).unwrap()));
        let server = Server::start(move |request, reply| match request.path() {
            name if name.ends_with(withheld) => reply.status("401 Unauthorized", &[]),
            "/disk.img" => reply.file(request, &image),
            "/disk.img.bmap" => reply.file(request, &bmap),
            _ => reply.status("404 Not Found", &[]),
        });
        let outcome = hasty(copy([server.url("disk.img").as_ref(), case.out().as_os_str()]));
        outcome.fails(&["ERROR: cannot open", withheld, "401 Unauthorized"]);
    }
    let server = serving_unless(case.file(), |request, reply| {
        let absent = request.path().ends_with(".bmap");
        if absent {
            reply.status("404 Not Found", &[]);
        }
        absent
    });
    hasty(copy([server.url("disk.img").as_ref(), case.out().as_os_str()])).fails(&["bmap file not found", "--nobmap"]);
}

#[test]
fn a_status_is_an_error_that_names_the_url_once() {
    let case = Case::disk_like();
    for status in ["404 Not Found", "403 Forbidden", "401 Unauthorized"] {
        let server = Server::start(move |_, reply| reply.status(status, &[]));
        let url = server.url("x");
        let outcome = case.copy(&url).fails(&[&format!("cannot open '{url}': the server answers {status}")]);
        assert_eq!(outcome.stderr.matches(&url).count(), 1, "{}", outcome.stderr);
        assert_eq!(server.requests().len(), 1);
        case.assert_nothing_left();
    }
}

#[test]
fn an_image_is_not_its_own_bmap() {
    let case = Case::disk_like();
    let server = Server::of(case.file());
    let url = server.url("disk.img");
    hasty(copy(["--bmap".as_ref(), url.as_ref(), url.as_ref(), case.out().as_os_str()])).fails(&["the same file"]);
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let case = Case::disk_like();
    let url = format!("http://127.0.0.1:{}/x", free_port());
    case.copy(&url).fails(&[&format!("cannot open '{url}': cannot connect: "), "refused"]);
    case.copy("http://no-such-host.invalid/x").fails(&["cannot open 'http://no-such-host.invalid/x': cannot connect"]);
    case.copy("http://me:secret@[broken/x").fails(&["not a valid URL", "http://…@[broken/x"]);
}

const BASIC: &str = "Basic bWU6cyZjcmV0"; // me:s&cret

#[test]
fn credentials_stay_with_their_server() {
    let case = Case::full();
    let file = case.file();
    let other = Server::start(move |request, reply| reply.file_until(request, &file, 1_000_000));
    let target = other.url("y?signed=1");
    let server = Server::start(move |request, reply| match request.header("authorization") {
        Some(BASIC) => reply.status("302 Found", &[&format!("Location: {target}")]),
        _ => reply.status("401 Unauthorized", &["WWW-Authenticate: Basic"]),
    });
    let mut tool = case.copy_all(&server.url_as("me:s%26cret", "x"));
    tool.command.arg("--debug");
    let outcome = tool.ok();
    outcome.says(&["trying again", &server.url("x")]);
    case.assert_copied();
    assert!(!outcome.stderr.contains("cret"), "{}", outcome.stderr);
    assert!(other.requests().len() >= 3);
    assert!(other.requests().iter().all(|request| request.header("authorization").is_none()));
    assert!(other.requests().iter().all(|request| request.header("referer").is_none()));

    let outcome = case.copy_all(&server.url_as("me:wr%26ng", "x")).fails(&["401 Unauthorized", &server.url("x")]);
    assert!(!outcome.stderr.contains("ng@") && !outcome.stderr.contains("26ng"), "{}", outcome.stderr);
}

#[test]
fn netrc_has_credentials() {
    let case = Case::full();
    let file = case.file();
    let server = serving_unless(file, |request, reply| {
        let refused = request.header("authorization") != Some(BASIC);
        if refused {
            reply.status("401 Unauthorized", &[]);
        }
        refused
    });
    let home = case.directory.path();
    std::fs::write(home.join(".netrc"), "machine 127.0.0.1\n  login me\n  password s&cret\n").unwrap();
    case.copy_all(&server.url("x")).env("HOME", home).ok();
    case.copy_all(&server.url_as("me", "x")).env("HOME", home).ok();
    case.copy_all(&server.url_as("you", "x")).env("HOME", home).fails(&["401"]);
    case.copy_all(&server.url("x")).env("HOME", "/nonexistent").fails(&["401", "~/.netrc"]);
    // They are for that host, and not for one to which it leads.
    let other = Server::of(case.file());
    let target = other.url("x").replace("127.0.0.1", "localhost");
    let server = Server::start(move |_, reply| reply.status("302 Found", &[&format!("Location: {target}")]));
    case.copy_all(&server.url("x")).env("HOME", home).ok();
    assert!(!other.requests().is_empty());
    assert!(other.requests().iter().all(|request| request.header("authorization").is_none()));
}

const TOKEN: &str = "Bearer s3cret: x";

#[test]
fn headers_are_sent_to_the_server_of_the_image_only() {
    let case = Case::disk_like();
    let (image, bmap) = (case.file(), File::new(std::fs::read(&case.bmap).unwrap()));
    let (mirrored, moved) = (image.clone(), bmap.clone());
    let other = Server::start(move |request, reply| match request.path() {
        "/disk.img" => reply.file_until(request, &mirrored, 1_500_000),
        "/other.bmap" => reply.file(request, &moved),
        _ => reply.status("404 Not Found", &[]),
    });
    let (away, home) = (other.url("disk.img"), image.clone());
    let server = Server::start(move |request, reply| match request.path() {
        _ if request.header("authorization") != Some(TOKEN) => reply.status("401 Unauthorized", &[]),
        _ if request.header("x-twice") != Some("one") => reply.status("400 Bad Request", &[]),
        "/away/disk.img" => reply.status("302 Found", &[&format!("Location: {away}")]),
        "/disk.img" => reply.file(request, &home),
        path if path.ends_with("/disk.img.bmap") => reply.file(request, &bmap),
        _ => reply.status("404 Not Found", &[]),
    });
    let copy = |arguments: &[&str]| {
        let mut tool = hasty(copy(["--debug", "--header", "Authorization: Bearer s3cret: x", "--header=X-Twice: one"]));
        tool.command.args(arguments).arg(case.out());
        tool
    };
    let (disk, other_bmap) = (server.url("disk.img"), other.url("other.bmap"));
    for arguments in [
        [disk.as_str()].as_slice(),
        &["--bmap", &other_bmap, &disk],
        &[&server.url("away/disk.img")],
        // The token is the user's wish, and more than what the URL has.
        &[&server.url_as("me:pw", "disk.img")],
        // Where the image is on no server, the bmap is what they are for.
        &["--bmap", &server.url("disk.img.bmap"), case.image.to_str().unwrap()],
    ] {
        let outcome = copy(arguments).ok();
        case.assert_copied();
        assert!(!outcome.stderr.contains("s3cret"), "{}", outcome.stderr);
    }
    assert!(!other.requests().is_empty());
    for request in other.requests() {
        assert_eq!((request.header("authorization"), request.header("x-twice")), (None, None), "{request:?}");
    }
    hasty(crate::common::tool::copy([disk.as_ref(), case.out().as_os_str()])).fails(&["401", "'--header'"]);
}

#[test]
fn what_a_header_asks_for_does_not_change_what_is_fetched() {
    let case = Case::full();
    let server = Server::of(case.file());
    let mut tool = case.copy_all(&server.url("x"));
    tool.command.args(["--header", "Range: bytes=5-", "--header", "Accept-Encoding: br"]);
    tool.command.args(["--header", "User-Agent: mine"]);
    tool.ok();
    case.assert_copied();
    assert_eq!(server.requests()[0].header("accept-encoding"), Some("identity"));
    assert_eq!(server.requests()[0].header("range"), Some("bytes=0-"));
    assert_eq!(server.requests()[0].header("user-agent"), Some("mine"));
}

/// 64 MiB with 3 MiB of data, in four places.
fn mostly_holes() -> Case {
    const MIB: u64 = 1 << 20;
    let data = [(0, 1 << 20), (2 * MIB - 8192, 4096), (20 * MIB, 1 << 20), (63 * MIB, 1 << 20)];
    Case::new(|path| sparse(path, 64 * MIB, &data, 9))
}

#[test]
fn holes_are_not_fetched() {
    let case = mostly_holes();
    let server = Server::of(case.file());
    let outcome = case.copy(&server.url("x")).ok();
    case.assert_copied();
    // The small hole before 2 MiB is fetched, and so may be what was in flight when the first answer was cut off.
    outcome.says(&["fetched 4.0 MiB of 64.0 MiB"]);
    assert!(server.sent() < 12 << 20, "{} bytes were sent", server.sent());
    assert_eq!(server.requests().len(), 4);

    // So it is where the connection breaks all the time.
    let file = case.file();
    let server = Server::start(move |request, reply| reply.file_until(request, &file, 300_000));
    case.copy(&server.url("x")).ok().says(&["trying again", "of 64.0 MiB"]);
    case.assert_copied();
    assert!(server.sent() < 6 << 20, "{} bytes were sent", server.sent());

    // And where the server takes no ranges in the end, it is a sequential download.
    let mut file = case.file();
    file.ranges = false;
    case.copy(&Server::of(file).url("x")).ok().says(&["fetched 64.0 MiB of 64.0 MiB"]);
    case.assert_copied();
}

#[test]
fn holes_are_fetched_where_nothing_else_tells_that_the_image_is_whole() {
    let case = mostly_holes();
    let server = Server::of(case.file());
    let mut tool = case.copy(&server.url("x"));
    tool.command.arg("--no-verify");
    tool.ok().says(&["fetched 64.0 MiB of 64.0 MiB"]);
    assert_eq!(server.requests().len(), 1);
    case.assert_copied();
}

#[test(Program("xz"))]
fn blocks_of_holes_are_not_fetched() {
    const MIB: u64 = 1 << 20;
    let case = Case::new(|path| sparse(path, 16 * MIB, &[(0, 1 << 20), (10 * MIB, 1 << 20)], 8));
    // What the bmap does not list need not be zeroes.
    let mut full = Random::new(8).bytes(16 << 20);
    for range in [0..1 << 20, 10 << 20..11 << 20] {
        full[range.clone()].copy_from_slice(&case.bytes()[range]);
    }
    let path = case.directory.path().join("full");
    std::fs::write(&path, full).unwrap();
    sh("xz", &["-0", "-T2", "--block-size=1MiB", path.to_str().unwrap()]);
    let compressed = std::fs::read(path.with_extension("xz")).unwrap();
    assert!(compressed.len() > 14 << 20);
    let server = Server::of(File::new(compressed.clone()));
    case.copy(&server.url("x")).ok();
    case.assert_copied();
    // The first answer is cut off, but what fits into the sockets is sent.
    assert!(server.sent() < 8 << 20, "{} bytes were sent", server.sent());
    let file = File::new(compressed);
    let server = Server::start(move |request, reply| reply.file_until(request, &file, 100_000));
    case.copy(&server.url("x")).ok().says(&["trying again"]);
    case.assert_copied();
    assert!(server.sent() < 3 << 20, "{} bytes were sent", server.sent());
}

#[test]
fn an_empty_image_is_copied() {
    let case = Case::disk_like();
    case.copy_all(&Server::of(File::new(Vec::new())).url("x")).ok();
    assert_eq!(std::fs::metadata(case.out()).unwrap().len(), 0);
}

#[test]
fn a_proxy_is_used() {
    let case = Case::full();
    let proxy = Server::of(case.file());
    let url = "http://images.invalid/x";
    case.copy_all(url).env("http_proxy", proxy.url_as("me:s%26cret", "")).ok();
    case.assert_copied();
    let requests = proxy.requests();
    assert_eq!(requests[0].target, url);
    assert_eq!(requests[0].header("proxy-authorization"), Some(BASIC));
    assert_eq!(requests[0].header("authorization"), None);
    let direct = Server::of(case.file());
    case.copy_all(&direct.url("x")).env("http_proxy", proxy.url("")).env("NO_PROXY", "127.0.0.1").ok();
    case.copy_all(&direct.url("x")).env("http_proxy", proxy.url("")).env("no_proxy", " * ").ok();
    assert_eq!(proxy.requests().len(), requests.len());
}

#[test]
fn what_cannot_be_reached_is_named() {
    let case = Case::full();
    let copy = |url: &str| case.copy_all(url).env("no_proxy", "127.0.0.1");
    let outcome = copy("http://images.invalid/x").env("http_proxy", "http://me:s%26cret@127.0.0.1:1").run();
    assert_eq!(outcome.status, Some(1));
    outcome.says(&["'http://images.invalid/x': cannot connect, through the proxy 'http://127.0.0.1:1/': ", "refused"]);
    assert!(!outcome.stderr.contains("cret"), "{}", outcome.stderr);
    copy("http://127.0.0.1:1/x")
        .env("http_proxy", "http://127.0.0.1:2")
        .fails(&["'http://127.0.0.1:1/x': cannot connect: "]);

    let server = Server::start(|_, reply| reply.status("302 Found", &["Location: http://127.0.0.1:1/mirror"]));
    let url = server.url("x");
    copy(&url).fails(&[&format!("'{url}': cannot connect, redirected to 'http://127.0.0.1:1/mirror': ")]);
    case.assert_nothing_left();
}
