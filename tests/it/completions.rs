//! Real shells complete the command line, on a terminal.

use std::fs::read_to_string;
use std::path::Path;
use std::process::Command;

use crate::common::device::Disk;
use crate::common::package::project_file;
use crate::common::terminal::Terminal;
use crate::common::tool::{binary, bmaptool};
use crate::common::{options, temp_dir, text};
use crate::registry::{Need, Test};
use tempfile::TempDir;

const SHELLS: [Shell; 3] = [
    Shell {
        name: "bash",
        setup: &[("rc", "PS1='> '; bind 'set show-all-if-ambiguous on'; . $HOME/bmaptool.bash\n")],
        command: "exec bash --rcfile $HOME/rc",
    },
    Shell {
        name: "zsh",
        setup: &[(".zshrc", "PS1='> '; fpath=($HOME $fpath); autoload -U compinit; compinit -u -D\n")],
        command: "exec zsh",
    },
    Shell {
        name: "fish",
        setup: &[
            (".config/fish/config.fish", "set -g fish_autosuggestion_enabled 0; set -g fish_greeting\n"),
            (".config/fish/functions/fish_prompt.fish", "function fish_prompt; echo '> '; end\n"),
        ],
        command: "mkdir -p .config/fish/completions; mv $HOME/bmaptool.fish $HOME/.config/fish/completions; exec fish",
    },
];

#[test_cases]
fn shells() -> Vec<Test> {
    let tests = |shell: Shell| {
        let needs = [Need::Program(shell.name), Need::Program("tmux"), Need::Root];
        let test = |name: &str, needs: &[Need], body: fn(Shell)| {
            Test::new(format!("{name}_in_{}", shell.name), needs, move || body(shell))
        };
        [
            test("every_option_is_offered", &needs[..2], every_option_is_offered),
            test("words_are_completed", &needs[..2], words_are_completed),
            test("devices_are_offered", &needs, devices_are_offered),
        ]
    };
    SHELLS.into_iter().flat_map(tests).collect()
}

/// A shell, and how it is started in a home that has `setup` in it, and what it needs to complete our commands.
#[derive(Clone, Copy)]
struct Shell {
    name: &'static str,
    setup: &'static [(&'static str, &'static str)],
    command: &'static str,
}

/// A shell that waits for a command.
struct Session {
    terminal: Terminal,
    _home: TempDir,
}

impl Session {
    /// Starts the shell in a directory that has some files.
    fn start(shell: Shell) -> Self {
        let home = temp_dir();
        let mut generator = Command::new(env!("CARGO"));
        generator.args(["run", "--quiet", "--example", "completions", "--"]).arg(home.path());
        assert!(generator.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
        for (name, contents) in shell.setup {
            let path = home.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, contents).unwrap();
        }
        let work = home.path().join("work");
        std::fs::create_dir(&work).unwrap();
        for name in
            ["sparse.img", "sparse.txt", "image.wic.xz", "image.txt", "one.bmap", "keys.gpg", "one.sig", "ca.pem"]
        {
            std::fs::write(work.join(name), "").unwrap();
        }
        let binary = Path::new(binary()).parent().unwrap();
        let clean = format!("env -i HOME='{}' PATH='{}':\"$PATH\" TERM=screen", text(home.path()), text(binary));
        let command = format!("{clean} sh -c 'cd; {}'", shell.command.replace("exec", "cd work; exec"));
        let terminal = Terminal::start(home.path(), (150, 50), &[&command]);
        terminal.wait_for("prompt", |screen| line(screen).is_some());
        Self { terminal, _home: home }
    }

    /// Types into an empty line, and asks for what may follow.
    fn type_and_tab(&self, words: &str, tabs: usize) {
        self.terminal.tmux(&["send-keys", "C-u", "C-l"]);
        self.terminal.wait_for("empty line", |screen| screen.trim() == ">");
        self.terminal.tmux(&["send-keys", "-l", words]);
        self.terminal.tmux(&[&["send-keys"], &["Tab", "Tab"][..tabs]].concat());
    }
}

/// What stands after the last prompt.
fn line(screen: &str) -> Option<&str> {
    screen.lines().filter_map(|line| line.strip_prefix('>')).next_back().map(str::trim)
}

/// Else their values would be taken for images and targets.
#[test]
fn the_scripts_know_which_options_have_a_value() {
    let tuning = |name: &str| read_to_string(project_file(&format!("packaging/completions/tuning.{name}"))).unwrap();
    let (bash, fish) = (tuning("bash"), tuning("fish"));
    let bash = bash.split_once("case $word in").unwrap().1.split_once(')').unwrap().0;
    let fish = fish.split_once("argparse").unwrap().1.split_once(" -- ").unwrap().0;
    for command in ["create", "copy", "verify", "info", "list"] {
        let help = String::from_utf8(bmaptool([command, "--help"]).ok().stdout).unwrap();
        let words: Vec<_> =
            help.lines().skip_while(|line| *line != "Options:").flat_map(str::split_whitespace).collect();
        let valued = words.windows(2).filter(|pair| pair[0].starts_with("--") && pair[1].starts_with('<'));
        for option in valued.map(|pair| pair[0]) {
            assert!(options(bash).contains(option), "{option} is not in {bash}");
            assert!(fish.contains(&format!("{}=", &option[2..])), "{option} is not in {fish}");
        }
    }
}

fn every_option_is_offered(shell: Shell) {
    let session = Session::start(shell);
    for command in ["", "create", "copy", "verify", "info", "list"] {
        let help = bmaptool([command, "--help"].iter().filter(|word| !word.is_empty())).ok();
        let expected = options(&String::from_utf8(help.stdout).unwrap());
        session.type_and_tab(&format!("bmaptool {command} --"), 2);
        let what = format!("options of '{command}', {expected:?},");
        session.terminal.wait_for(&what, |screen| options(screen) == expected);
    }
}

fn words_are_completed(shell: Shell) {
    let session = Session::start(shell);
    for (typed, completed) in [
        ("cr", "create"),
        ("copy --remo", "copy --removable-device"),
        ("create s", "create sparse.img"),
        ("verify image.w", "verify image.wic.xz"),
        ("info image.w", "info image.wic.xz"),
        ("info --bmap ", "info --bmap one.bmap"),
        ("info --keyring ", "info --keyring keys.gpg"),
        ("verify --bmap ", "verify --bmap one.bmap"),
        ("copy i", "copy image.wic.xz"),
        ("copy --bmap ", "copy --bmap one.bmap"),
        ("copy --bmap=", "copy --bmap=one.bmap"),
        ("copy --keyring ", "copy --keyring keys.gpg"),
        ("copy --cacert ", "copy --cacert ca.pem"),
        ("copy --bmap-sig o", "copy --bmap-sig one.sig"),
        // The value of an option is not the image.
        ("copy --quiet --bmap one.bmap i", "copy --quiet --bmap one.bmap image.wic.xz"),
        ("create --range-size 1M s", "create --range-size 1M sparse.img"),
        ("create --map p3 --map=1M-2M s", "create --map p3 --map=1M-2M sparse.img"),
        ("copy --bmap=one.bmap i", "copy --bmap=one.bmap image.wic.xz"),
        // Any file may be written to.
        ("copy sparse.img image.t", "copy sparse.img image.txt"),
        ("copy sparse.img image.txt sparse.t", "copy sparse.img image.txt sparse.txt"),
    ] {
        session.type_and_tab(&format!("bmaptool {typed}"), 1);
        let completed = format!("bmaptool {completed}");
        session.terminal.wait_for(&completed, |screen| line(screen) == Some(&completed));
    }
}

fn devices_are_offered(shell: Shell) {
    let disk = Disk::new(1 << 20);
    let device = text(disk.path());
    let session = Session::start(shell);
    for words in ["bmaptool copy image.wic.xz ", "bmaptool copy image.wic.xz /dev/null "] {
        session.type_and_tab(words, 2);
        session.terminal.wait_for(device, |screen| screen.split_whitespace().any(|word| word == device));
    }
    session.type_and_tab("bmaptool create ", 2);
    let screen = session.terminal.wait_for("image", |screen| screen.contains("sparse.img"));
    assert!(!screen.contains(device), "{screen}");
}
