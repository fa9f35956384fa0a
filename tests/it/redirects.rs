//! Images over HTTP along redirections: where they lead, and what is shown of them.

use crate::common::download::Case;
use crate::common::server::Server;

#[test]
fn redirections_are_followed_within_http() {
    let case = Case::full();
    let file = case.file();
    let server = Server::start(move |request, reply| match request.path() {
        "/a/start" => reply.status("301 Moved Permanently", &["Location: ../b/next?x=1"]),
        "/b/next" => reply.status("307 Temporary Redirect", &["Location: /disk"]),
        "/disk" => reply.file_until(request, &file, 1_500_000),
        "/loop" => reply.status("302 Found", &["Location: /loop"]),
        "/local" => reply.status("302 Found", &["Location: file:///etc/passwd"]),
        _ => reply.status("302 Found", &["Location: http://[bad"]),
    });
    case.copy_all(&server.url("a/start")).ok();
    case.assert_copied();
    case.copy_all(&server.url("loop")).fails(&["redirected over 10 times"]);
    case.copy_all(&server.url("local")).fails(&["redirected to 'file:///etc/passwd', which is not HTTP"]);
    case.copy_all(&server.url("bad")).fails(&["redirected to something that is not a URL"]);
}

#[test]
fn redirections_may_name_files_as_they_are() {
    let case = Case::full();
    // What is sent, as raw bytes, and what is then asked for: curl asks for the same.
    let names: [(&[u8], &str); 6] = [
        ("/d\u{e9}mo \u{1f4be}.img".as_bytes(), "/d%C3%A9mo%20%F0%9F%92%BE.img"),
        (b"/d\xe9mo.img", "/d%E9mo.img"),
        (b"/my disk (1) [new].img", "/my%20disk%20(1)%20[new].img"),
        (b"/a|b^c`d{e}.img", "/a|b^c%60d%7Be%7D.img"),
        (b"/disk.img?name=[a b]&x={y}|z", "/disk.img?name=[a%20b]&x={y}|z"),
        (b" /disk%20a.img ", "/disk%20a.img"),
    ];
    for (sent, asked_for) in names {
        let file = case.file();
        let server = Server::start(move |request, reply| match &*request.target {
            "/start" => reply.redirect(sent),
            target if target == asked_for => reply.file(request, &file),
            other => reply.status(&format!("404 {other}"), &[]),
        });
        case.copy_all(&server.url("start")).ok();
        case.assert_copied();
    }
}

#[test]
fn the_query_of_a_redirection_is_not_shown() {
    let case = Case::full();
    let file = case.file();
    let server = Server::start(move |request, reply| match request.path() {
        "/start" => reply.status("302 Found", &["Location: /disk.img?X-Amz-Signature=s3cret#s3cret"]),
        "/lost" => reply.status("302 Found", &["Location: http://127.0.0.1:1/y?sig=s3cret"]),
        "/local" => reply.status("302 Found", &["Location: file:///x?sig=s3cret"]),
        _ => reply.file_until(request, &file, 1_500_000),
    });
    let copy = |path| {
        let mut tool = case.copy_all(&server.url(path));
        tool.command.arg("--debug");
        tool
    };
    for outcome in [
        copy("start").ok(),
        copy("lost").fails(&["redirected to 'http://127.0.0.1:1/y?\u{2026}'"]),
        copy("local").fails(&["redirected to 'file:///x?\u{2026}', which is not HTTP"]),
    ] {
        outcome.says(&["?\u{2026}"]);
        assert!(!outcome.stderr.contains("s3cret"), "{}", outcome.stderr);
    }
}
