//! Certificates as people make them: what is accepted, and in which words the rest is refused.

use std::path::PathBuf;
use std::process::Command;

use crate::common::daemon::{Daemon, free_port};
use crate::common::image::{assert_same, sparse};
use crate::common::json::fails_with;
use crate::common::tool::{Tool, copy};
use crate::common::{find_program, sh, temp_dir};
use crate::registry::{JSON, Need};

const OPENSSL: Need = Need::Program("openssl");

/// A directory with an image, keys and certificates.
struct Case {
    directory: tempfile::TempDir,
}

/// A new key of the kind that is made fastest.
const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

impl Case {
    fn new() -> Self {
        let case = Self { directory: temp_dir() };
        sparse(&case.file("disk.img"), 100_000, &[(0, 100_000)], 1);
        case
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn path(&self, name: &str) -> String {
        self.file(name).to_str().unwrap().to_owned()
    }

    /// `NAME.key` and `NAME.pem`, a certificate that is signed by itself, as `openssl req -x509` makes it.
    fn self_signed(&self, name: &str, subject: &str, options: &[&str]) {
        let (key, certificate) = (self.path(&format!("{name}.key")), self.path(&format!("{name}.pem")));
        let fixed = ["req", "-x509", "-days", "2", "-subj", subject, "-keyout", &key, "-out", &certificate];
        sh("openssl", &[&fixed, &KEY[..], options].concat());
    }

    /// The same, but signed by `authority`, or by itself where that is `None`, with alternative names and dates, as in
    /// `20240101000000Z`.
    fn signed(&self, name: &str, authority: Option<&str>, names: &str, [start, end]: [&str; 2]) {
        let [key, certificate, request, text, index] =
            ["key", "pem", "request", "cnf", "index"].map(|ending| self.path(&format!("{name}.{ending}")));
        sh("openssl", &[&["req", "-subj", "/CN=localhost", "-keyout", &key, "-out", &request], &KEY[..]].concat());
        let names = if names.is_empty() { String::new() } else { format!("subjectAltName={names}\n") };
        let directory = self.path("");
        let configuration = format!(
            "[ca]\ndefault_ca=d\n[d]\nnew_certs_dir={directory}\ndatabase={index}\nrand_serial=yes\npolicy=p\n\
             default_md=sha256\nx509_extensions=v\n[p]\ncommonName=supplied\n[v]\n{names}basicConstraints=CA:FALSE\n"
        );
        std::fs::write(&text, configuration).unwrap();
        std::fs::write(&index, "").unwrap();
        let (ca_key, ca) = authority.map_or((key, String::new()), |authority| {
            (self.path(&format!("{authority}.key")), self.path(&format!("{authority}.pem")))
        });
        let signer = if ca.is_empty() { vec!["-selfsign"] } else { vec!["-cert", &ca] };
        let fixed = ["ca", "-config", &text, "-keyfile", &ca_key, "-in", &request, "-out", &certificate, "-batch"];
        sh("openssl", &[&fixed, &signer[..], &["-notext", "-startdate", start, "-enddate", end]].concat());
    }

    /// A server with the key and certificate of this name. Returns its port.
    fn server(&self, name: &str) -> (Daemon, u16) {
        let port = free_port();
        let mut command = Command::new(find_program("openssl").unwrap());
        command.current_dir(self.directory.path()).args(["s_server", "-quiet", "-WWW", "-accept", &port.to_string()]);
        command.args(["-key", &format!("{name}.key"), "-cert", &format!("{name}.pem")]);
        (Daemon::start(&mut command, port), port)
    }

    fn copy(&self, host: &str, port: u16) -> Tool {
        let url = format!("https://{host}:{port}/disk.img");
        let mut tool = copy(["--nobmap".as_ref(), url.as_ref(), self.file("out").as_os_str()]);
        tool.command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
        tool.env("BMAPTOOL_TIMEOUT_SCALE", "0.1")
    }

    /// A copy that trusts the certificate of this name.
    fn trusting(&self, name: &str, host: &str, port: u16) -> Tool {
        let mut tool = self.copy(host, port);
        tool.command.args(["--cacert", &self.path(&format!("{name}.pem"))]);
        tool
    }

    fn assert_copied(&self) {
        assert_same(&self.file("disk.img"), &self.file("out"));
        std::fs::remove_file(self.file("out")).unwrap();
    }
}

const YEARS: [&str; 2] = ["20200101000000Z", "21200101000000Z"];

#[test(OPENSSL)]
fn a_certificate_that_is_signed_by_itself_is_accepted_for_its_name_where_it_is_trusted() {
    let case = Case::new();
    case.self_signed("both", "/CN=x", &["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    case.self_signed("host", "/O=x/CN=localhost", &[]);
    case.self_signed("address", "/CN=127.0.0.1", &[]);
    case.self_signed(
        "leaf",
        "/CN=x",
        &["-addext", "basicConstraints=CA:FALSE", "-addext", "subjectAltName=DNS:localhost"],
    );
    let cases = [
        ("both", "localhost", "127.0.0.1", None),
        ("host", "localhost", "127.0.0.1", Some("is for no name (subjectAltName), not for '127.0.0.1'")),
        ("address", "127.0.0.1", "localhost", Some("is for no name (subjectAltName), not for 'localhost'")),
        ("leaf", "localhost", "127.0.0.1", Some("is for 'localhost', not for '127.0.0.1'")),
    ];
    for (name, host, other_host, refusal) in cases {
        let (_server, port) = case.server(name);
        case.trusting(name, host, port).ok();
        case.assert_copied();
        case.copy(host, port).env("SSL_CERT_FILE", case.file(&format!("{name}.pem"))).ok();
        case.assert_copied();
        let other = case.trusting(name, other_host, port);
        if let Some(refusal) = refusal {
            other.fails(&[refusal, "--cacert", "SSL_CERT_FILE"]);
        } else {
            other.ok();
            case.assert_copied();
        }
        case.copy(host, port).fails(&[
            "cannot connect: the server's certificate is signed by itself or by an unknown authority",
            "--cacert",
            "SSL_CERT_FILE",
        ]);
    }
}

#[test(OPENSSL, JSON)]
fn a_certificate_of_the_same_name_is_not_the_trusted_one() {
    let case = Case::new();
    for name in ["trusted", "impostor"] {
        case.self_signed(name, "/CN=localhost", &["-addext", "subjectAltName=DNS:localhost"]);
    }
    let (_server, port) = case.server("impostor");
    case.trusting("trusted", "localhost", port).fails(&["cannot connect: the server's certificate"]);
    let mut tool = case.trusting("trusted", "localhost", port);
    tool.command.arg("--json");
    fails_with(tool, "certificate-refused");
    // An authority vouches for alternative names, and for no common name.
    case.self_signed("ca", "/CN=ca", &[]);
    case.signed("unnamed", Some("ca"), "", YEARS);
    let (_server, port) = case.server("unnamed");
    case.trusting("ca", "localhost", port).fails(&["is for no name (subjectAltName), not for 'localhost'"]);
}

#[test(OPENSSL)]
fn a_certificate_out_of_its_time_is_refused_though_it_is_trusted() {
    let case = Case::new();
    case.self_signed("ca", "/CN=ca", &[]);
    let cases = [
        (["20200101000000Z", "20200102000000Z"], "has expired by this machine's clock"),
        (["20990101000000Z", "21000101000000Z"], "is not valid yet by this machine's clock"),
    ];
    for (dates, words) in cases {
        for authority in [None, Some("ca")] {
            case.signed("server", authority, "DNS:localhost", dates);
            let (_server, port) = case.server("server");
            let trusted = authority.unwrap_or("server");
            let outcome = case.trusting(trusted, "localhost", port).fails(&[words, "set the clock", "--cacert"]);
            assert!(outcome.stderr.contains("SSL_CERT_FILE"), "{}", outcome.stderr);
        }
    }
}

#[test(OPENSSL)]
fn certificates_of_a_user_are_trusted_besides_the_others() {
    let case = Case::new();
    for name in ["one", "two"] {
        case.self_signed(name, "/CN=localhost", &[]);
        let (_server, port) = case.server(name);
        case.trusting("one", "localhost", port).env("SSL_CERT_FILE", case.file(&format!("{name}.pem"))).ok();
        case.assert_copied();
    }
    std::fs::write(case.file("none.pem"), "no certificate").unwrap();
    std::fs::write(case.file("bad.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let cases =
        [("none", "holds no valid certificate"), ("bad", "holds no valid certificate"), ("gone", "cannot read")];
    for (name, message) in cases {
        case.trusting(name, "localhost", 1).fails(&[message, &case.path(&format!("{name}.pem"))]);
    }
}
