//! What pipelines and people at a terminal do, through a shell.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::image::{assert_same, disk_like};
use common::tool::create;
use common::{Need, sh, temp_dir};
use tempfile::TempDir;

fn main() {
    common::run(tests![
        the_recipes_of_build_scripts_work [Need::Program("bash"), Need::Program("xz")],
        a_failure_stops_a_strict_script [Need::Program("bash"), Need::Program("xz")],
        cron_gets_no_mail_on_success [Need::Program("bash")],
        closed_standard_streams_are_no_reason_to_fail [Need::Program("bash")],
        a_current_folder_need_not_be_writable [Need::Program("bash")],
        colours_and_bars_are_for_terminals [Need::Program("script")],
        the_bar_fits_the_terminal [Need::Program("tmux")],
    ]);
}

/// A folder with an image, its bmap, and its packed form.
struct Scene {
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = temp_dir();
        let image = folder.path().join("image.raw");
        disk_like(&image, 1);
        std::fs::rename(create(&image), folder.path().join("image.bmap")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn pack(&self) {
        sh("xz", &["--keep", "-1", self.path("image.raw").to_str().unwrap()]);
    }

    /// Runs a script in the folder, with our bmaptool first on PATH.
    fn bash(&self, script: &str) -> Output {
        Command::new("bash").args(["-c", script]).current_dir(self.folder.path()).env("PATH", path()).output().unwrap()
    }
}

fn path() -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_bmaptool"));
    format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap())
}

fn assert_success(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn the_recipes_of_build_scripts_work() {
    let scene = Scene::new();
    scene.pack();
    let recipes = [
        "set -eu -o pipefail; bmaptool create image.raw > image.bmap && bmaptool copy image.raw out",
        "set -eu -o pipefail; bmaptool create -o made.bmap image.raw; bmaptool copy --bmap made.bmap image.raw.xz out",
        "set -eu -o pipefail; xzcat image.raw.xz | bmaptool copy --bmap image.bmap - out",
        "bmaptool copy --bmap image.bmap image.raw.xz out 2>&1 | tee log | grep -q 'copying speed'",
        "LANG=C bmaptool -q copy --nobmap image.raw.xz out",
        "bmaptool copy --nobmap - out < image.raw",
    ];
    for recipe in recipes {
        assert_success(&scene.bash(recipe));
        assert_same(&scene.path("image.raw"), &scene.path("out"));
        std::fs::remove_file(scene.path("out")).unwrap();
    }
}

fn a_failure_stops_a_strict_script() {
    let scene = Scene::new();
    scene.pack();
    for recipe in [
        "bmaptool create missing.raw > new.bmap",
        "xzcat image.raw.xz | head -c 100000 | bmaptool copy --bmap image.bmap - out",
        "head -c 3000 image.raw.xz | bmaptool copy --nobmap - out",
        "bmaptool copy image.raw.xz /no/such/folder/out",
    ] {
        let output = scene.bash(&format!("set -eu -o pipefail; {recipe}; echo reached"));
        assert!(!output.status.success() && output.stdout.is_empty(), "{recipe}");
        assert!(!scene.path("out").exists(), "{recipe}");
    }
}

fn cron_gets_no_mail_on_success() {
    let scene = Scene::new();
    let output = scene.bash("bmaptool --quiet create -o new.bmap image.raw; bmaptool --quiet copy image.raw out");
    assert_success(&output);
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
}

fn closed_standard_streams_are_no_reason_to_fail() {
    let scene = Scene::new();
    for redirection in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        assert_success(&scene.bash(&format!("bmaptool copy image.raw out {redirection}")));
        assert_same(&scene.path("image.raw"), &scene.path("out"));
        std::fs::remove_file(scene.path("out")).unwrap();
    }
}

fn a_current_folder_need_not_be_writable() {
    let scene = Scene::new();
    let (image, out) = (scene.path("image.raw"), scene.path("out"));
    assert_success(&scene.bash(&format!("cd /proc && bmaptool copy {} {}", image.display(), out.display())));
    assert_same(&image, &out);
}

fn colours_and_bars_are_for_terminals() {
    let scene = Scene::new();
    let plain = scene.bash("bmaptool copy missing.raw out");
    assert!(!plain.stderr.contains(&0x1b) && !plain.stderr.contains(&b'\r'));
    // `script` gives the program a terminal.
    let on_terminal = |environment: &str| {
        let output =
            scene.bash(&format!("{environment} script -qec 'bmaptool copy missing.raw out' /dev/null < /dev/null"));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(on_terminal("TERM=xterm").contains("\x1b[91mERROR\x1b[0m: cannot open"));
    for environment in ["TERM=dumb", "TERM=xterm NO_COLOR=1"] {
        assert!(on_terminal(environment).contains("bmaptool: ERROR: cannot open"), "{environment}");
    }
}

/// A terminal that a test looks at.
struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    fn start(folder: &Path, width: u32, command: &str) -> Self {
        let socket = folder.join(format!("tmux-{width}"));
        let terminal = Self { socket };
        let width = width.to_string();
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &width, "-y", "20", command]);
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux").arg("-S").arg(&self.socket).args(arguments).output().unwrap();
        assert_success(&output);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").status();
    }
}

fn the_bar_fits_the_terminal() {
    let scene = Scene::new();
    let slow_copy = format!(
        "cd {}; export PATH='{}'; (head -c 6000000 image.raw; sleep 30) | bmaptool copy --bmap image.bmap - out",
        scene.folder.path().display(),
        path()
    );
    for width in [80, 40, 24] {
        let terminal = Terminal::start(scene.folder.path(), width, &slow_copy);
        let started = std::time::Instant::now();
        loop {
            let screen = terminal.tmux(&["capture-pane", "-p"]);
            let bars: Vec<&str> =
                screen.lines().filter(|line| line.starts_with("copying ") && line.contains('%')).collect();
            if let [bar] = bars[..] {
                assert!(bar.trim_end().chars().count() <= width as usize, "{screen}");
                assert!(screen.trim_end().ends_with(bar.trim_end()), "the bar goes over two lines:\n{screen}");
                break;
            }
            assert!(started.elapsed().as_secs() < 20, "no bar, or several:\n{screen}");
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}
