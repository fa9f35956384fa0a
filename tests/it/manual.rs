//! The manual page, `--help` and the README agree with each other.

use std::collections::BTreeSet;
use std::path::Path;

use crate::common::package::project_file;
use crate::common::tool::bmaptool;
use crate::common::{options, sh};

fn read(name: &str) -> String {
    std::fs::read_to_string(project_file(name)).unwrap()
}

/// The options that have been promised; scripts use them.
const PROMISED: [&str; 25] = [
    "--help",
    "--version",
    "--quiet",
    "--debug",
    "--output",
    "--no-checksum",
    "--range-size",
    "--map",
    "--bmap",
    "--nobmap",
    "--bmap-sig",
    "--no-sig-verify",
    "--keyring",
    "--fingerprint",
    "--header",
    "--cacert",
    "--no-verify",
    "--read-back",
    "--only-changed",
    "--unmapped",
    "--relocate-gpt",
    "--psplash-pipe",
    "--removable-device",
    "--json",
    "--all",
];

/// The part of the manual page under a heading.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("\n.SH {heading}\n")).unwrap();
    rest.split("\n.SH ").next().unwrap()
}

#[test]
fn the_manual_page_and_the_help_name_the_same_options() {
    let page = read("man/bmaptool.1").replace("\\-", "-");
    let described: BTreeSet<String> = page.lines().flat_map(options).collect();
    for promised in PROMISED {
        assert!(described.contains(promised), "{promised} is missing");
    }
    assert_eq!(described.len(), PROMISED.len(), "{described:?}");
    let global = options(section(&page, "OPTIONS"));
    assert_eq!(options(&help(&[])), global);
    for (command, heading) in [
        ("create", "BMAPTOOL CREATE"),
        ("copy", "BMAPTOOL COPY"),
        ("verify", "BMAPTOOL VERIFY"),
        ("info", "BMAPTOOL INFO"),
        ("list", "BMAPTOOL LIST"),
    ] {
        let mut expected = options(section(&page, heading));
        expected.extend(global.iter().cloned());
        assert_eq!(options(&help(&[command])), expected, "{command}");
        // The synopsis has them all, but for the long name of one.
        let mut synopses = section(&page, "SYNOPSIS").split("\n.br\n");
        let name = format!(".B {command}");
        let synopsis = options(synopses.find(|usage| usage.lines().any(|line| line == name)).unwrap());
        let mut described = options(section(&page, heading));
        described.remove("--output");
        assert_eq!(synopsis, described, "{command}");
    }
    assert!(page.lines().next().unwrap().contains(&format!("bmaptool {}", version())));
}

#[test]
fn the_manual_page_is_complete() {
    let page = read("man/bmaptool.1");
    for heading in ["NAME", "SYNOPSIS", "EXIT STATUS", "FILES", "ENVIRONMENT", "EXAMPLES", "SEE ALSO"] {
        assert!(page.contains(&format!("\n.SH {heading}\n")), "{heading}");
    }
    // What the program asks for in its environment, but for what only tests set.
    for variable in ["HOME", "GNUPGHOME", "NO_COLOR", "TERM", "SSL_CERT_FILE", "http_proxy"] {
        assert!(section(&page, "ENVIRONMENT").contains(variable), "{variable}");
    }
    for status in ["B 0", "B 1", "B 2", "130", "143"] {
        assert!(section(&page, "EXIT STATUS").contains(status), "{status}");
    }
}

fn help(command: &[&str]) -> String {
    let help = bmaptool(command.iter().chain(&["--help"])).ok();
    String::from_utf8(help.stdout).unwrap()
}

/// The major and minor version.
fn version() -> String {
    format!("{}.{}", env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"))
}

#[test(Program("mandoc"), Program("man"))]
fn the_manual_page_is_well_formed() {
    let page = project_file("man/bmaptool.1");
    let page = page.to_str().unwrap();
    assert_eq!(sh("mandoc", &["-T", "lint", page]), "");
    let output = std::process::Command::new("man").args(["--warnings", "-l", page]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_documents_lead_to_files_that_exist() {
    assert!(check_links(&project_file("")) > 8);
    check_links(&project_file("fuzz"));
}

/// Follows the links of the documents in `root` and its directory `docs`; returns how many documents there are.
pub fn check_links(root: &Path) -> usize {
    let directories = [root.to_owned(), root.join("docs")];
    let files = directories.iter().filter_map(|directory| std::fs::read_dir(directory).ok()).flatten();
    let paths = files.map(|entry| entry.unwrap().path());
    let documents: Vec<_> = paths.filter(|path| path.extension().is_some_and(|ending| ending == "md")).collect();
    for document in &documents {
        let text = std::fs::read_to_string(document).unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path = if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            assert!(path.exists(), "{}: {file} does not exist", document.display());
            let is_there = anchor.is_empty() || headings(&path).contains(anchor);
            assert!(is_there, "{}: {file} has no heading {anchor}", document.display());
        }
    }
    documents.len()
}

/// The headings of a document, as links name them.
fn headings(path: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let titles = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let name = |title: &str| title.to_lowercase().replace(' ', "-");
    titles.map(|title| name(title).chars().filter(|&c| c.is_alphanumeric() || c == '-').collect()).collect()
}
