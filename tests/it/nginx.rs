//! Images from a real web server: passwords, redirections, TLS, proxies, and paths without ranges.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::common::daemon::{Daemon, free_port};
use crate::common::device::Disk;
use crate::common::image::{assert_same, disk_like, sparse};
use crate::common::json::object;
use crate::common::tool::{Tool, bmaptool, copy, create};
use crate::common::{find_program, sh, temp_dir, text};
use crate::registry::Need;

const NGINX: Need = Need::Program("nginx");

/// A server with an image and its bmap, under several paths.
struct Nginx {
    directory: tempfile::TempDir,
    port: u16,
    tls_port: u16,
    proxy_port: u16,
    _daemon: Daemon,
}

impl Nginx {
    fn start(make: impl FnOnce(&Path)) -> Self {
        let directory = temp_dir();
        let path = directory.path();
        let image = path.join("disk.img");
        make(&image);
        create(&image);
        sh("gzip", &["-k", image.to_str().unwrap()]);
        std::fs::write(path.join("passwords"), "me:{PLAIN}s&cret\n").unwrap();
        let tls = find_program("openssl").is_some();
        if tls {
            certificates(path);
        }
        let (port, tls_port, proxy_port) = (free_port(), free_port(), free_port());
        let tls = match tls {
            true => format!("listen 127.0.0.1:{tls_port} ssl; ssl_certificate cert.pem; ssl_certificate_key key.pem;"),
            false => String::new(),
        };
        let root = path.display();
        let configuration = format!(
            "daemon off; master_process off; pid {root}/pid; error_log {root}/errors;
            events {{ }}
            http {{
                log_format sent $body_bytes_sent; access_log {root}/sent sent;
                client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;
                uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;
                server {{
                    listen 127.0.0.1:{port}; {tls}
                    location / {{ root {root}; }}
                    location /locked/ {{
                        alias {root}/; auth_basic here; auth_basic_user_file {root}/passwords;
                    }}
                    location /away/ {{
                        auth_basic here; auth_basic_user_file {root}/passwords;
                        rewrite ^/away/(.*)$ http://localhost:{port}/$1 redirect;
                    }}
                    location /away-to-locked/ {{ rewrite ^/[^/]*/(.*)$ http://localhost:{port}/locked/$1 redirect; }}
                    location /noranges/ {{ alias {root}/; max_ranges 0; }}
                }}
                server {{
                    listen 127.0.0.1:{proxy_port};
                    location / {{
                        proxy_pass http://127.0.0.1:{port}; proxy_set_header Host $host;
                        add_header X-Proxy $http_host; proxy_buffering off;
                    }}
                }}
            }}"
        );
        std::fs::write(path.join("nginx.conf"), configuration).unwrap();
        let mut command = Command::new(find_program("nginx").unwrap());
        command.arg("-p").arg(path).arg("-c").arg(path.join("nginx.conf")).arg("-e").arg(path.join("errors"));
        let daemon = Daemon::start(&mut command, port);
        Self { directory, port, tls_port, proxy_port, _daemon: daemon }
    }

    fn disk_like() -> Self {
        Self::start(|image| disk_like(image, 5))
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// How many bytes of bodies have been sent until now, by the server's own count.
    fn sent(&self) -> u64 {
        let log = std::fs::read_to_string(self.file("sent")).unwrap();
        log.lines().map(|bytes| bytes.parse::<u64>().unwrap()).sum()
    }

    fn copy(&self, url: &str) -> Tool {
        self.copy_to(&self.file("out"), &[], url)
    }

    fn copy_to(&self, target: &Path, options: &[&str], url: &str) -> Tool {
        let mut tool = copy(options.iter().map(OsStr::new).chain([url.as_ref(), target.as_os_str()]));
        tool.command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
        tool.env("BMAPTOOL_TIMEOUT_SCALE", "0.1")
    }

    fn assert_copied(&self) {
        assert_same(&self.file("disk.img"), &self.file("out"));
        std::fs::remove_file(self.file("out")).unwrap();
    }
}

/// A root, and a certificate of it for 127.0.0.1.
fn certificates(directory: &Path) {
    let path = |name| directory.join(name).to_str().unwrap().to_owned();
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj"];
    let (ca, ca_key, request) = (path("ca.pem"), path("ca.key"), path("request"));
    sh(
        "openssl",
        &[&["req", "-x509", "-days", "2", "-keyout", &ca_key, "-out", &ca], &key[..], &["/CN=root"]].concat(),
    );
    sh("openssl", &[&["req", "-keyout", &path("key.pem"), "-out", &request], &key[..], &["/CN=server"]].concat());
    std::fs::write(path("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    let signed = ["-days", "2", "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial", "-extfile", &path("names")];
    sh("openssl", &[&["x509", "-req", "-in", &request, "-out", &path("cert.pem")], &signed[..]].concat());
}

#[test(NGINX)]
fn files_are_served() {
    let nginx = Nginx::disk_like();
    nginx.copy(&nginx.url("disk.img.gz?a=b")).ok().says(&["disk.img.bmap?a=b'"]);
    nginx.assert_copied();
    nginx.copy(&nginx.url("disk.img.xz")).fails(&["cannot open", "404 Not Found"]);
}

#[test(NGINX, Python("jsonschema"))]
fn an_image_is_told_with_what_lies_beside_it() {
    let nginx = Nginx::disk_like();
    let url = nginx.url("disk.img.gz");
    let told = object(&bmaptool(["info", "--json", &url]).ok());
    assert_eq!((&told["file"], &told["kind"], &told["compression"]), (&json!(url), &json!("image"), &json!("gzip")));
    assert_eq!(told["stored_size"], nginx.file("disk.img.gz").metadata().unwrap().len());
    assert_eq!(
        (&told["bmap"]["file"], &told["bmap"]["signature"]),
        (&json!(nginx.url("disk.img.bmap")), &json!("none"))
    );
}

#[test(NGINX)]
fn holes_are_not_fetched() {
    const MIB: u64 = 1 << 20;
    let nginx = Nginx::start(|image| sparse(image, 64 * MIB, &[(0, 1 << 20), (63 * MIB, 1 << 20)], 4));
    nginx.copy(&nginx.url("disk.img")).ok().says(&["fetched 2.0 MiB of 64.0 MiB"]);
    nginx.assert_copied();
    nginx.copy(&nginx.url("noranges/disk.img")).ok().says(&["fetched 64.0 MiB of 64.0 MiB"]);
    nginx.assert_copied();
}

/// What the sockets hold is lost to the client, but counts for the server.
#[test(NGINX, Root, Program("xz"))]
fn of_an_image_that_differs_by_one_percent_little_is_sent() {
    const SIZE: u64 = 96 << 20;
    let nginx = Nginx::start(|image| sparse(image, SIZE, &[(0, SIZE as usize)], 9));
    let [image, bmap] = ["disk.img", "disk.img.bmap"].map(|name| nginx.file(name));
    bmaptool(["create", "--range-size", "4M", "-o", text(&bmap), text(&image)]).ok();
    sh("xz", &["-0", "--keep", "--block-size=4MiB", text(&image)]);
    let disk = Disk::new(SIZE);
    copy([&image, disk.path()]).ok();
    for name in ["disk.img", "disk.img.xz"] {
        let size = nginx.file(name).metadata().unwrap().len();
        // One percent, in one place.
        let file = std::fs::File::options().write(true).open(&disk.backing).unwrap();
        file.write_all_at(&vec![7; SIZE as usize / 100], 50 << 20).unwrap();
        for (allowed, words) in [(size / 10, "was right already"), (size / 100, "written 0")] {
            let before = nginx.sent();
            nginx
                .copy_to(disk.path(), &["--only-changed", "--bmap", text(&bmap)], &nginx.url(name))
                .ok()
                .says(&[words]);
            assert_same(&image, &disk.backing);
            let sent = nginx.sent() - before;
            assert!(sent < allowed, "{sent} of {size} bytes of {name} were sent");
        }
    }
}

#[test(NGINX)]
fn passwords_are_sent_from_the_url_and_netrc() {
    let nginx = Nginx::disk_like();
    let url = format!("http://me:s%26cret@127.0.0.1:{}/locked/disk.img", nginx.port);
    nginx.copy(&url).ok();
    nginx.assert_copied();
    let outcome = nginx.copy(&url.replace("s%26cret", "hidden")).fails(&["401 Unauthorized", "~/.netrc"]);
    assert!(!outcome.stderr.contains("hidden"), "{}", outcome.stderr);
    nginx.copy(&nginx.url("locked/disk.img")).fails(&["401 Unauthorized"]);
    std::fs::write(nginx.file(".netrc"), "machine 127.0.0.1 login me password s&cret").unwrap();
    nginx.copy(&nginx.url("locked/disk.img")).env("HOME", nginx.directory.path()).ok();
    nginx.assert_copied();
}

#[test(NGINX)]
fn a_redirection_to_another_host_gets_no_password() {
    let nginx = Nginx::disk_like();
    let url = |path| format!("http://me:s%26cret@127.0.0.1:{}/{path}", nginx.port);
    nginx.copy(&url("away/disk.img.gz")).ok();
    nginx.assert_copied();
    // The other host gets no password.
    nginx.copy(&url("away-to-locked/disk.img.gz")).fails(&["401 Unauthorized"]);
}

#[test(NGINX)]
fn a_path_without_ranges_is_read_whole() {
    let nginx = Nginx::disk_like();
    nginx.copy(&nginx.url("noranges/disk.img")).ok();
    nginx.assert_copied();
    nginx.copy(&nginx.url("noranges/disk.img.gz")).ok();
    nginx.assert_copied();
}

#[test(NGINX, Program("openssl"))]
fn tls_trusts_the_given_root_only() {
    let nginx = Nginx::disk_like();
    let url = format!("https://127.0.0.1:{}/disk.img", nginx.tls_port);
    nginx.copy(&url).env("SSL_CERT_FILE", nginx.file("ca.pem")).ok();
    nginx.assert_copied();
    nginx.copy(&url).fails(&[&format!("cannot open '{url}': cannot connect: "), "certificate", "--cacert"]);
    let mut tool = nginx.copy(&url);
    tool.command.arg("--cacert").arg(nginx.file("ca.pem"));
    tool.ok();
    nginx.assert_copied();
    nginx.copy(&url).env("SSL_CERT_FILE", nginx.file("none")).fails(&["SSL_CERT_FILE", "certificate"]);
    let other_name = url.replace("127.0.0.1", "localhost");
    nginx.copy(&other_name).env("SSL_CERT_FILE", nginx.file("ca.pem")).fails(&["certificate", "localhost"]);
}

#[test(NGINX)]
fn a_proxy_is_used() {
    let nginx = Nginx::disk_like();
    let proxy = format!("http://127.0.0.1:{}", nginx.proxy_port);
    nginx
        .copy("http://images.invalid/disk.img")
        .env("http_proxy", proxy)
        .ok()
        .says(&["http://images.invalid/disk.img"]);
    nginx.assert_copied();
}

/// A proxy that passes on what it cannot read, for one client. Returns its port.
fn tunnel() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            std::thread::spawn(|| pass_on(client.unwrap()));
        }
    });
    port
}

fn pass_on(mut client: TcpStream) -> Option<()> {
    let mut lines = BufReader::new(client.try_clone().unwrap()).lines().map_while(Result::ok);
    let request = lines.next()?;
    let headers: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let allowed = headers.iter().any(|line| line.eq_ignore_ascii_case("proxy-authorization: Basic bWU6cyZjcmV0"));
    if !allowed {
        client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n").ok()?;
        return None;
    }
    let mut server = TcpStream::connect(request.strip_prefix("CONNECT ")?.split(' ').next()?).ok()?;
    client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").ok()?;
    let (mut from_client, mut to_server) = (client.try_clone().ok()?, server.try_clone().ok()?);
    std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
    std::io::copy(&mut server, &mut client).ok().map(drop)
}

#[test(NGINX, Program("openssl"))]
fn tls_goes_through_a_proxy_that_asks_for_a_password() {
    let nginx = Nginx::disk_like();
    let url = format!("https://127.0.0.1:{}/disk.img", nginx.tls_port);
    let proxy = tunnel();
    let tool = |proxy| nginx.copy(&url).env("SSL_CERT_FILE", nginx.file("ca.pem")).env("HTTPS_PROXY", proxy);
    tool(format!("http://me:s%26cret@127.0.0.1:{proxy}")).ok();
    nginx.assert_copied();
    let outcome = tool(format!("http://me:hidden@127.0.0.1:{proxy}")).fails(&["cannot connect", "proxy auth"]);
    assert!(!outcome.stderr.contains("hidden"), "{}", outcome.stderr);
}
