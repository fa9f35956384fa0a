//! Servers that answer every name with a status of success: what they send is not taken for the file.

use crate::common::download::{Case, hasty};
use crate::common::server::{File, Server};
use crate::common::tool::copy;

/// What servers send for files that they do not have, and the words for it.
const STAND_INS: [(&str, &str); 5] = [
    ("<!DOCTYPE html>\n<html><body>Please log in</body></html>", "an HTML page"),
    ("<?xml version=\"1.0\"?>\n<!DOCTYPE html PUBLIC \"x\">\n<html/>", "an HTML page"),
    ("{\n  \"errors\": [{\"status\": 404}]\n}", "a JSON text"),
    ("\n", "an empty file"),
    ("404 page not found\n", "something else"),
];

/// A server with an image, a bmap where one is given, and `stand_in` under every other name.
fn server_with_stand_ins(image: File, bmap: Option<File>, stand_in: &'static str) -> Server {
    let stand_in = File::new(stand_in.as_bytes().to_vec());
    Server::start(move |request, reply| match (request.path(), &bmap) {
        ("/disk.img", _) => reply.file(request, &image),
        ("/disk.img.bmap", Some(bmap)) => reply.file(request, bmap),
        _ => reply.file(request, &stand_in),
    })
}

#[test]
fn what_a_server_sends_for_a_missing_bmap_is_no_bmap() {
    let case = Case::disk_like();
    for (stand_in, what) in STAND_INS {
        let server = server_with_stand_ins(case.file(), None, stand_in);
        let outcome = hasty(copy([server.url("disk.img").as_ref(), case.out().as_os_str()]));
        let outcome = outcome.fails(&["bmap file not found", "--nobmap"]);
        outcome.says(&[&format!("info: '{}' is no bmap but {what}", server.url("disk.img.bmap"))]);
        let given = server.url("given.bmap");
        let tool = hasty(copy(["--bmap", &given, &server.url("disk.img"), case.out().to_str().unwrap()]));
        tool.fails(&[&format!("ERROR: '{given}' is no bmap but {what}"), "check the address"]);
        case.assert_nothing_left();
    }
}

#[test]
fn what_a_server_sends_for_a_missing_signature_is_no_bad_one() {
    let case = Case::disk_like();
    for (stand_in, what) in STAND_INS {
        let bmap = File::new(std::fs::read(&case.bmap).unwrap());
        let server = server_with_stand_ins(case.file(), Some(bmap), stand_in);
        let tool = || hasty(copy([server.url("disk.img").as_ref(), case.out().as_os_str()]));
        let passed_over =
            |ending| format!("info: '{}{ending}' is no signature but {what}", server.url("disk.img.bmap"));
        tool().ok().says(&[&passed_over(".asc"), &passed_over(".sig"), "is not signed"]);
        case.assert_copied();
        let mut demanding = tool();
        demanding.command.args(["--fingerprint", "0123456789abcdef0123456789abcdef01234567"]);
        demanding.fails(&["no signature found but --fingerprint given"]);
        let mut given = tool();
        given.command.args(["--bmap-sig", &server.url("given.sig")]);
        let outcome = given.fails(&[&format!("'{}' is no signature but {what}", server.url("given.sig"))]);
        assert!(!outcome.stderr.contains("BAD"), "{}", outcome.stderr);
    }
}

#[test]
fn an_error_in_json_is_no_image() {
    let case = Case::disk_like();
    let server = Server::of(File::new(STAND_INS[2].0.as_bytes().to_vec()));
    case.copy_all(&server.url("disk.img")).fails(&["is not a disk image but a JSON text"]);
    case.assert_nothing_left();
}
