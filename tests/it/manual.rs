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
const PROMISED: [&str; 16] = [
    "--help",
    "--version",
    "--quiet",
    "--debug",
    "--output",
    "--no-checksum",
    "--bmap",
    "--nobmap",
    "--bmap-sig",
    "--no-sig-verify",
    "--keyring",
    "--fingerprint",
    "--no-verify",
    "--read-back",
    "--psplash-pipe",
    "--removable-device",
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
    for (command, heading) in [("create", "BMAPTOOL CREATE"), ("copy", "BMAPTOOL COPY"), ("verify", "BMAPTOOL VERIFY")]
    {
        let mut expected = options(section(&page, heading));
        expected.extend(global.iter().cloned());
        assert_eq!(options(&help(&[command])), expected, "{command}");
        // The synopsis has them all.
        let synopsis = options(section(&page, "SYNOPSIS"));
        for option in options(section(&page, heading)) {
            assert!(synopsis.contains(&option) || option == "--output", "{option} is not in the synopsis");
        }
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
    let mut documents = vec!["fuzz/README.md".to_owned()];
    for directory in ["", "docs/"] {
        let names = std::fs::read_dir(project_file(directory)).unwrap().map(|entry| entry.unwrap().file_name());
        documents.extend(
            names.map(|name| format!("{directory}{}", name.to_string_lossy())).filter(|name| name.ends_with(".md")),
        );
    }
    assert!(documents.len() > 8, "{documents:?}");
    for document in documents {
        let directory = project_file(&document).parent().unwrap().to_owned();
        for link in read(&document).split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path = if file.is_empty() { project_file(&document) } else { directory.join(file) };
            assert!(path.exists(), "{document}: {file} does not exist");
            let is_there = anchor.is_empty() || headings(&path).contains(anchor);
            assert!(is_there, "{document}: {file} has no heading {anchor}");
        }
    }
}

/// The headings of a document, as links name them.
fn headings(path: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let titles = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let name = |title: &str| title.to_lowercase().replace(' ', "-");
    titles.map(|title| name(title).chars().filter(|&c| c.is_alphanumeric() || c == '-').collect()).collect()
}
