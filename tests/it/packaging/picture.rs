//! The picture of a terminal in the README.

use std::fs;

use crate::common::package::project_file;
use crate::common::{PYTHON, sh, temp_dir, text};

/// The lines of a picture, by the letters in them: times and rates differ.
fn words(picture: &str) -> Vec<String> {
    let lines = picture.lines().filter(|line| line.starts_with("<text"));
    let shown = lines.map(|line| line.split('>').nth(1).unwrap().split('<').next().unwrap());
    shown.map(|text| text.chars().filter(char::is_ascii_alphabetic).collect()).collect()
}

#[test(Minutes, Root, Program("tmux"), Program("xz"), Program("unshare"))]
fn the_picture_shows_what_the_program_says() {
    let directory = temp_dir();
    let picture = directory.path().join("terminal.svg");
    let script = project_file("docs/draw-terminal");
    sh(PYTHON, &[text(&script), env!("CARGO_BIN_EXE_bmaptool"), text(&picture)]);
    let [drawn, kept] = [picture, project_file("docs/terminal.svg")].map(|path| fs::read_to_string(path).unwrap());
    assert_eq!(words(&drawn), words(&kept), "docs/draw-terminal BINARY docs/terminal.svg");
    // Nor does it show where it was made.
    assert!(!drawn.contains("tmp") && !drawn.contains("loop"), "{drawn}");
}
