//! QEMU: a machine that is built for a test, runs its steps, and reports what came of them.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::tool::{end, tie};
use crate::common::{image, package, sh, temp_dir, text};
use tempfile::{NamedTempFile, TempDir};

use super::DISK_SIZE;
use super::architecture::{Architecture, X86_64};

/// How long the emulated machine may run.
const TIMEOUT: Duration = Duration::from_secs(400);

/// A machine that is being built.
pub struct Machine {
    architecture: &'static Architecture,
    directory: TempDir,
    steps: String,
}

/// What came of the steps, in order: a status, and what was said.
pub struct Report {
    steps: Vec<(String, String)>,
}

impl Report {
    /// What comes over the serial port.
    fn parse(text: &str) -> Self {
        let mut steps = Vec::new();
        let mut said = String::new();
        for line in text.lines() {
            match line.strip_prefix("== ") {
                Some(rest) => match rest.strip_prefix("status ") {
                    Some(status) => steps.push((status.to_owned(), std::mem::take(&mut said))),
                    None => said.clear(),
                },
                None => said += &format!("{line}\n"),
            }
        }
        Self { steps }
    }

    pub fn said(&self, step: usize) -> &str {
        &self.steps[step].1
    }

    /// Expects a step to have had a status, and to have said all of `fragments`.
    pub fn expect(&self, step: usize, status: &str, fragments: &[&str]) {
        let (had, said) = &self.steps[step];
        assert_eq!(had, status, "{said}");
        for fragment in fragments {
            assert!(said.contains(fragment), "'{fragment}' is not in:\n{said}");
        }
    }
}

impl Machine {
    pub fn new() -> Self {
        Self::of(&X86_64)
    }

    pub fn of(architecture: &'static Architecture) -> Self {
        let machine = Self { architecture, directory: temp_dir(), steps: String::new() };
        fs::create_dir_all(machine.root("modules")).unwrap();
        fs::create_dir_all(machine.root("tmp")).unwrap();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A path in the machine's root directory.
    pub fn root(&self, name: &str) -> PathBuf {
        self.path("root").join(name)
    }

    /// Makes a disk full of a pattern, so that what is not written can be told.
    pub fn disk(&self, name: &str) -> PathBuf {
        let disk = self.path(name);
        fs::write(&disk, vec![image::UNTOUCHED; DISK_SIZE as usize]).unwrap();
        disk
    }

    /// Has the machine do something; returns the number of this step.
    pub fn step(&mut self, line: &str) -> usize {
        self.steps += line;
        self.steps.push('\n');
        self.steps.lines().count() - 1
    }

    /// Puts in a program of this machine and the libraries that it needs.
    pub fn add_program(&self, program: &str) {
        let path = crate::common::find_program(program).unwrap();
        let libraries = sh("ldd", &[text(&path)]);
        let files = libraries.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new);
        for file in files {
            let place = self.root(text(file.strip_prefix("/").unwrap()));
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::copy(file, place).unwrap();
        }
        fs::copy(&path, self.root(program)).unwrap();
    }

    /// Runs the machine to its end; returns the output of its steps. `meanwhile` may give QEMU's monitor a command.
    pub fn run(&self, disks: &[&str], meanwhile: impl FnMut(&str) -> Option<&'static str>) -> Report {
        let Architecture { name, qemu, options, ports: [console, port], kernel } = self.architecture;
        kernel.add_modules(&self.root("modules"));
        fs::write(self.root("steps"), &self.steps).unwrap();
        fs::copy(package::static_binary(name), self.root("bmaptool")).unwrap();
        fs::copy(build_init(name).path(), self.root("init")).unwrap();
        let archive = self.path("initramfs");
        let pack = "cd \"$1\" && find . | cpio --quiet -o -H newc > \"$2\"";
        sh("sh", &["-c", pack, "sh", text(&self.root("")), text(&archive)]);

        let mut command = Command::new(qemu);
        command.args(["-accel", "tcg", "-smp", "2", "-m", "512", "-nodefaults", "-nographic", "-no-reboot"]);
        command.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(archive);
        command.args(["-append", &format!("console={console} report=/dev/{port} quiet panic=-1")]);
        for name in ["console", "report"] {
            command.args(["-chardev", &format!("file,id={name},path={}", text(&self.path(name)))]);
        }
        command.args(*options);
        command.args(["-monitor", &format!("unix:{},server=on,wait=off", text(&self.path("monitor")))]);
        command.args(disks).stdin(Stdio::null());
        self.wait_for(&mut Running(tie(&mut command).spawn().unwrap()), meanwhile);
        let [report, console] = [self.said("report"), self.said("console")];
        assert!(report.ends_with("== done\n"), "{report}\n{console}");
        Report::parse(&report)
    }

    fn wait_for(&self, machine: &mut Running, mut meanwhile: impl FnMut(&str) -> Option<&'static str>) {
        let started = Instant::now();
        // A monitor forgets what it was told last when its connection closes.
        let mut monitors = Vec::new();
        while machine.0.try_wait().unwrap().is_none() {
            if started.elapsed() > TIMEOUT {
                panic!("the machine does not end:\n{}\n{}", self.said("console"), self.said("report"));
            }
            if let Some(command) = meanwhile(&self.said("report")) {
                let mut monitor = UnixStream::connect(self.path("monitor")).unwrap();
                writeln!(monitor, "{command}").unwrap();
                monitors.push(monitor);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What came over a serial port until now.
    fn said(&self, port: &str) -> String {
        fs::read_to_string(self.path(port)).unwrap_or_default().replace('\r', "")
    }
}

/// Compiles the machine's first process. It lies where a compiler in another root directory can write.
fn build_init(architecture: &str) -> NamedTempFile {
    let init = NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let source = package::project_file("tests/it/machine/init.rs");
    let options = ["rustc", "--edition=2024", "-O", "-o", text(init.path()), text(&source)];
    package::cross(architecture, &options);
    init
}

/// QEMU, which ends when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}
