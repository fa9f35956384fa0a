//! What a person sees at a terminal.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::common::device::Disk;
use crate::common::image::same_start;
use crate::common::temp_dir;
use crate::common::terminal::Terminal;
use crate::common::tool::{binary, mapped_disk};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

fn scene() -> TempDir {
    let directory = temp_dir();
    mapped_disk(directory.path());
    directory
}

/// The shell commands that make a script run in `directory`, with our bmaptool first on PATH.
fn within(directory: &TempDir, script: &str) -> String {
    let binary = Path::new(binary()).parent().unwrap();
    format!("cd '{}'; PATH='{}':\"$PATH\"; {script}", directory.path().display(), binary.display())
}

fn sh(directory: &TempDir, script: &str) -> Output {
    Command::new("sh").args(["-c", &within(directory, script)]).env_remove("NO_COLOR").output().unwrap()
}

#[test(Program("script"))]
fn colours_and_bars_are_for_terminals() {
    let directory = scene();
    let plain = sh(&directory, "bmaptool copy missing.raw out");
    assert!(!plain.stderr.contains(&0x1b) && !plain.stderr.contains(&b'\r'));
    // `script` gives the program a terminal.
    let on_terminal = |environment: &str, command: &str| {
        let output = sh(&directory, &format!("{environment} script -qec '{command}' /dev/null < /dev/null"));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let failing = "bmaptool copy missing.raw out";
    assert!(on_terminal("TERM=xterm", failing).contains("\x1b[91mERROR\x1b[0m: cannot open"));
    for environment in ["TERM=dumb", "TERM=xterm NO_COLOR=1"] {
        assert!(on_terminal(environment, failing).contains("bmaptool: ERROR: cannot open"), "{environment}");
    }
    // Long enough for a bar.
    let slow = "(head -c 6000000 disk.img; sleep 1; tail -c +6000001 disk.img) | bmaptool copy --nobmap - out";
    assert!(on_terminal("TERM=xterm NO_COLOR=1", slow).contains("copying  "));
    let dumb = on_terminal("TERM=dumb", slow);
    assert!(!dumb.contains('\x1b') && !dumb.replace("\r\n", "").contains('\r'), "{dumb:?}");
    assert!(!on_terminal("TERM=xterm", &slow.replace("bmaptool", "bmaptool --quiet")).contains("copying"));
}

/// A copy that comes to a part of the image and no further.
const STUCK: &str = "(head -c 6000000 disk.img; sleep 60) | bmaptool copy --bmap disk.img.bmap - out";

/// A terminal in which `script` runs.
fn terminal(directory: &TempDir, width: u32, script: &str) -> Terminal {
    // What is on the screen stays there.
    let command = within(directory, &format!("{script}; echo \"[$?]\"; sleep 60"));
    Terminal::start(directory.path(), (width, 20), &["bash", "-c", &command])
}

/// The lines of a screen that are progress bars.
fn bars(screen: &str) -> Vec<&str> {
    screen.lines().filter(|line| line.contains("copying ") && line.contains('%') && !line.contains("info")).collect()
}

/// Whether the last line is a bar, and shorter than the terminal, so that it can be redrawn.
fn ends_with_a_bar(screen: &str, width: u32) -> bool {
    let last = screen.trim_end().lines().last().unwrap_or_default();
    bars(screen).last() == Some(&last) && last.trim_end().len() < width as usize
}

/// The same, and there is no other.
fn has_one_bar(screen: &str, width: u32) -> bool {
    bars(screen).len() == 1 && ends_with_a_bar(screen, width)
}

#[test(Program("tmux"))]
fn the_bar_fits_the_terminal() {
    let directory = scene();
    for (width, figures) in [(80, "of 1.8 MiB"), (40, "/s"), (30, "left"), (24, "%")] {
        let terminal = terminal(&directory, width, STUCK);
        terminal.wait_for("bar with its figures", |screen| {
            has_one_bar(screen, width) && bars(screen).iter().all(|bar| bar.contains(figures))
        });
    }
}

#[test(Program("tmux"))]
fn the_bar_follows_the_width_of_the_terminal() {
    let directory = scene();
    let terminal = terminal(&directory, 100, STUCK);
    terminal.wait_for("bar", |screen| has_one_bar(screen, 100));
    for width in [60, 30, 100, 45] {
        terminal.tmux(&["resize-window", "-x", &width.to_string()]);
        // What tmux folds before it tells the program of the new width stays above the bar.
        terminal.wait_for("bar after resizing", |screen| ends_with_a_bar(screen, width));
    }
}

#[test(Program("tmux"))]
fn the_reason_is_shown_after_an_interruption() {
    let directory = scene();
    let terminal = terminal(&directory, 80, STUCK);
    terminal.wait_for("bar", |screen| has_one_bar(screen, 80));
    terminal.tmux(&["send-keys", "C-c"]);
    let screen = terminal.wait_for("end", |screen| screen.contains("[130]"));
    assert!(bars(&screen).is_empty(), "the bar is still there:\n{screen}");
    let words = screen.replace('\n', "");
    assert!(words.contains("to 'out': interrupted") && words.contains("'out' has been removed"), "{screen}");
}

/// Waits for a file that has something in it.
fn wait_for_file(path: &Path) -> String {
    let started = Instant::now();
    loop {
        match fs::read_to_string(path) {
            Ok(text) if !text.is_empty() => return text,
            _ => assert!(started.elapsed() < Duration::from_secs(30), "nothing in {}", path.display()),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ctrl-S lets a terminal take nothing more, as a connection that stalls does.
#[test(Root, Program("tmux"))]
fn a_terminal_that_stands_still_holds_up_nothing() {
    let directory = scene();
    let file = |name: &str| directory.path().join(name);
    let stopped = |script: &str, width| {
        let terminal = terminal(&directory, width, script);
        terminal.wait_for("bar", |screen| has_one_bar(screen, width));
        terminal.tmux(&["send-keys", "C-s"]);
        terminal
    };
    // The copy goes on to its end, which is where a device gets its first bytes, and its last word is not lost.
    let disk = Disk::new(20 << 20);
    let script = format!(
        "(head -c 6000000 disk.img; cat more; tail -c +6000001 disk.img) | bmaptool copy --bmap disk.img.bmap - {}",
        disk.path().display()
    );
    sh(&directory, "mkfifo more");
    let terminal = stopped(&script, 80);
    fs::write(file("more"), "").unwrap();
    let started = Instant::now();
    while !same_start(&file("disk.img"), disk.path(), 34 * 512) {
        assert!(started.elapsed() < Duration::from_secs(30), "the copy does not go on");
        std::thread::sleep(Duration::from_millis(20));
    }
    terminal.tmux(&["send-keys", "C-q"]);
    let screen = terminal.wait_for("end", |screen| screen.contains("[0]"));
    assert!(screen.contains("copying time: ") && bars(&screen).is_empty(), "{screen}");

    // A signal ends it.
    let script = "bmaptool copy --bmap disk.img.bmap - out2 < <(head -c 6000000 disk.img; sleep 60) & \
                  echo $! > pid; wait $!; echo $? > status";
    let terminal = stopped(script, 90);
    let process = wait_for_file(&file("pid")).trim().parse().unwrap();
    kill(Pid::from_raw(process), Signal::SIGTERM).unwrap();
    assert_eq!(wait_for_file(&file("status")), "143\n");
    assert!(!file("out2").exists());
    drop(terminal);
}

#[test(Program("tmux"))]
fn without_a_known_size_something_moves() {
    let directory = scene();
    let script = "(head -c 6000000 disk.img; sleep 60) | bmaptool copy --nobmap - out";
    let terminal = terminal(&directory, 60, script);
    let line = |screen: &str| screen.lines().find(|line| line.contains(" copying ")).unwrap_or_default().to_owned();
    let screen = terminal.wait_for("amount", |screen| line(screen).contains("5.0 MiB"));
    let first = line(&screen);
    // A console may have no signs but those of ASCII.
    assert!(first.is_ascii() && "|/-\\".contains(&first[..1]) && first.contains("/s"), "{first}");
    terminal.wait_for("movement", |screen| line(screen) != first);
}

#[test(Program("tmux"), Program("strace"), Program("gzip"))]
fn the_share_of_the_source_is_shown_where_the_size_is_not_known() {
    let directory = scene();
    sh(&directory, "gzip -k disk.img");
    let slow = "strace -f -o /dev/null -P disk.img.gz -e inject=read:delay_enter=500000";
    let terminal = terminal(&directory, 80, &format!("{slow} bmaptool copy --nobmap disk.img.gz out"));
    terminal.wait_for("bar", |screen| has_one_bar(screen, 80) && bars(screen)[0].contains("[="));
    let screen = terminal.wait_for("end", |screen| screen.contains("[0]"));
    assert!(bars(&screen).is_empty(), "{screen}");
}

#[test(Program("tmux"), Program("strace"))]
fn while_the_target_syncs_the_bar_says_so() {
    let directory = scene();
    let slow = "strace -f -o /dev/null -e inject=fsync:delay_enter=2000000";
    let terminal = terminal(&directory, 80, &format!("{slow} bmaptool copy disk.img out"));
    let screen = terminal.wait_for("message", |screen| screen.contains("info: synchronizing 'out'"));
    assert!(bars(&screen).is_empty(), "{screen}");
    terminal.wait_for("bar", |screen| screen.lines().any(|line| line.starts_with("synchronizing [")));
}

#[test(Program("tmux"), Program("strace"))]
fn a_map_shows_its_progress_and_says_what_it_found() {
    let directory = scene();
    let slow = "strace -f -o /dev/null -P disk.img -e inject=pread64:delay_enter=500000";
    let terminal = terminal(&directory, 100, &format!("{slow} bmaptool create disk.img > made.bmap"));
    terminal.wait_for("bar", |screen| screen.lines().any(|line| line.starts_with("hashing [") && line.contains('%')));
    let screen = terminal.wait_for("end", |screen| screen.contains("[0]"));
    assert!(!screen.contains("hashing"), "{screen}");
    let words = "'disk.img': 4097 blocks of size 4096 (16.0 MiB), mapped 452 blocks (1.8 MiB or 11.0%) in 7 ranges";
    assert!(screen.replace('\n', "").contains(words), "{screen}");
    assert!(fs::read(directory.path().join("made.bmap")).unwrap().starts_with(b"<?xml"));
}

#[test(Program("tmux"), Program("strace"))]
fn a_map_that_is_interrupted_leaves_the_terminal_in_order() {
    let directory = scene();
    let slow = "strace -D -f -o /dev/null -P disk.img -e inject=pread64:delay_enter=5000000";
    let terminal = terminal(&directory, 60, &format!("{slow} bmaptool create disk.img > made.bmap"));
    terminal.wait_for("bar", |screen| screen.contains("hashing"));
    terminal.tmux(&["send-keys", "C-c"]);
    let screen = terminal.wait_for("end", |screen| screen.contains("[130]"));
    assert!(screen.lines().all(|line| !line.contains("hashing") || !line.contains("[130]")), "{screen}");
}

#[test]
fn off_a_terminal_there_is_a_line_now_and_then() {
    let directory = scene();
    let slow = |flag, targets| {
        format!(
            "(head -c 6000000 disk.img; sleep 15; tail -c +6000001 disk.img) | \
             bmaptool {flag} copy --bmap disk.img.bmap - {targets} 2>&1"
        )
    };
    let [quiet, several, one] = [("--quiet", "quiet"), ("", "a b c"), ("", "out")].map(|(flag, to)| slow(flag, to));
    let output = sh(&directory, &format!("({quiet}) & ({several}) & {one}; wait"));
    let said = String::from_utf8_lossy(&output.stdout);
    // The quiet one says nothing, and of several targets only one is told of.
    let (of_several, of_one): (Vec<&str>, Vec<_>) =
        said.lines().filter(|line| line.contains("copied ")).partition(|line| line.contains("slowest of 3 targets"));
    assert!(matches!(of_one[..], [line] if line.contains(" of 1.8 MiB (") && line.ends_with("/sec")), "{said}");
    assert!(matches!(of_several[..], [line] if line.contains(" of 1.8 MiB (")), "{said}");
    assert_eq!(said.matches("copying time: ").count(), 2, "{said}");
}

/// A copy to several files that comes to a part of the image and no further.
fn stuck_on(targets: &str) -> String {
    format!("(head -c 6000000 disk.img; sleep 60) | bmaptool copy --bmap disk.img.bmap - {targets}")
}

/// The lines of a screen below the messages: those of the progress.
fn progress(screen: &str) -> Vec<&str> {
    screen
        .lines()
        .skip_while(|line| !line.starts_with("image: "))
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect()
}

/// Whether the source and each of the targets has a line, and nothing follows them.
fn has_lines_of(screen: &str, targets: &[&str], width: usize) -> bool {
    let lines = progress(screen);
    let [source, others @ ..] = lines.as_slice() else { return false };
    let is_of = |(line, target): (&&str, &&str)| {
        line.split_whitespace().take(2).eq([*target, "copying"]) && line.contains('%') && line.len() < width
    };
    source.contains(" of 1.8 MiB read")
        && others.len() == targets.len()
        && others.iter().zip(targets).all(is_of)
        && screen.matches("image: ").count() == 1
}

#[test(Program("tmux"))]
fn each_of_several_targets_has_a_line() {
    let directory = scene();
    for (width, height) in [(80, 24), (40, 10)] {
        let command = within(&directory, &format!("{}; echo \"[$?]\"; sleep 60", stuck_on("one two three four")));
        let terminal = Terminal::start(directory.path(), (width, height), &["bash", "-c", &command]);
        let names = ["one", "two", "three", "four"];
        let screen = terminal.wait_for("lines", |screen| has_lines_of(screen, &names, width as usize));
        println!("{screen}");
        for (width, height) in [(100, 30), (60, 12), (80, 24)] {
            terminal.tmux(&["resize-window", "-x", &width.to_string(), "-y", &height.to_string()]);
            terminal.wait_for("lines after resizing", |screen| {
                let lines = screen.lines().rev().skip_while(|line| line.trim().is_empty()).take(5);
                let lines: Vec<_> = lines.map(str::trim_end).collect();
                lines.len() == 5 && lines[4].starts_with("image: ") && lines[0].starts_with("four ")
            });
        }
        terminal.tmux(&["send-keys", "C-c"]);
        let screen = terminal.wait_for("end", |screen| screen.contains("[130]"));
        let after = screen.split("interrupted").last().unwrap();
        assert!(!after.contains("image: ") && !after.contains("copying"), "lines are still there:\n{screen}");
        for name in names {
            assert!(screen.replace('\n', "").contains(&format!("'{name}' has been removed")), "{screen}");
            assert!(!directory.path().join(name).exists());
        }
    }
}

#[test(Program("tmux"))]
fn more_targets_than_lines_are_counted() {
    let directory = scene();
    let targets: Vec<_> = (10..22).map(|number| format!("t{number}")).collect();
    let command = within(&directory, &format!("{}; echo \"[$?]\"; sleep 60", stuck_on(&targets.join(" "))));
    let terminal = Terminal::start(directory.path(), (80, 10), &["bash", "-c", &command]);
    // Two of ten rows are left free, one is for the source, and one for the count.
    let screen = terminal.wait_for("count", |screen| screen.lines().any(|line| line.trim() == "and 6 more"));
    assert_eq!(progress(&screen).len(), 8, "{screen}");
    terminal.tmux(&["send-keys", "C-c"]);
    terminal.wait_for("end", |screen| screen.contains("[130]"));
}
