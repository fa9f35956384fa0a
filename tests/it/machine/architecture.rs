//! What differs between the machines that are emulated: QEMU's program and options, and Debian's kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::common::{sh, text};

/// What drives the disks and reads what is on them.
const MODULES: [&str; 9] =
    ["xhci_pci", "usb_storage", "sd_mod", "sdhci_pci", "mmc_block", "virtio_pci", "virtio_blk", "ext4", "dm_mod"];

pub struct Architecture {
    /// Its name for `packaging/static`.
    pub name: &'static str,
    pub qemu: &'static str,
    /// The options of QEMU for the machine and its two serial ports, the second of which is for the report.
    pub options: &'static [&'static str],
    /// The serial ports of the console and of the report, as Linux calls them.
    pub ports: [&'static str; 2],
    /// Fetched once, also where several tests need it at the same time.
    pub kernel: LazyLock<Kernel>,
}

pub static X86_64: Architecture = Architecture {
    name: "x86_64",
    qemu: "qemu-system-x86_64",
    options: &["-cpu", "max", "-serial", "chardev:console", "-serial", "chardev:report"],
    ports: ["ttyS0", "ttyS1"],
    kernel: LazyLock::new(|| Kernel::get("amd64")),
};

pub static AARCH64: Architecture = Architecture {
    name: "aarch64",
    qemu: "qemu-system-aarch64",
    options: &[
        "-machine",
        "virt",
        "-cpu",
        "cortex-a72",
        "-serial",
        "chardev:console",
        "-device",
        "pci-serial,chardev=report",
    ],
    ports: ["ttyAMA0", "ttyS0"],
    kernel: LazyLock::new(|| Kernel::get("arm64")),
};

/// A kernel of Debian with its modules.
pub struct Kernel {
    pub image: PathBuf,
    directory: PathBuf,
    release: String,
}

impl Kernel {
    /// The kernel that this Debian would install on a machine of an architecture. It is kept for later runs.
    fn get(debian: &str) -> Self {
        let store = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let apt = store.join(format!("apt-{debian}"));
        let settings = format!("export APT_CONFIG='{}'", text(&apt_settings(&apt, debian)));
        let bash = |script: &str, arguments: &[&str]| {
            sh("sh", &[&["-euc", &format!("{settings}\n{script}"), "sh"], arguments].concat())
        };
        let depends = bash("apt-get update -q >/dev/null; apt-cache depends --important \"linux-image-$1\"", &[debian]);
        let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: ")).unwrap();
        // Of another architecture it has a suffix, unlike the package.
        let package = package.split(':').next().unwrap();
        // `6.1.0-1-amd64` of `linux-image-6.1.0-1-amd64`.
        let release = package.strip_prefix("linux-image-").unwrap();
        let directory = store.join(package);
        if !directory.exists() {
            let fetched = tempfile::tempdir_in(store).unwrap();
            let fetch = "cd \"$1\"; apt-get download -q \"$2\"; dpkg-deb -x *.deb root; depmod -b root \"$3\"";
            bash(fetch, &[text(fetched.path()), package, release]);
            fs::rename(fetched.path().join("root"), &directory).unwrap();
        }
        Self { image: directory.join(format!("boot/vmlinuz-{release}")), release: release.to_owned(), directory }
    }

    /// Puts the modules into a directory, with the order in which they are loaded.
    pub fn add_modules(&self, to: &Path) {
        let mut order = Vec::new();
        for module in MODULES {
            let root = text(&self.directory);
            let arguments = ["--dirname", root, "--set-version", &self.release, "--show-depends", module];
            for line in sh("modprobe", &arguments).lines() {
                // `builtin NAME`, or:
                let Some(path) = line.strip_prefix("insmod ") else { continue };
                let path = Path::new(path.trim());
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                if !order.contains(&name) {
                    fs::copy(path, to.join(&name)).unwrap();
                    order.push(name);
                }
            }
        }
        fs::write(to.join("order"), order.join("\n")).unwrap();
    }
}

/// Settings of apt that have it see the packages of another architecture, in lists of their own: those of this machine stay
/// as they are.
fn apt_settings(directory: &Path, debian: &str) -> PathBuf {
    for name in ["lists/partial", "archives/partial"] {
        fs::create_dir_all(directory.join(name)).unwrap();
    }
    let file = directory.join("apt.conf");
    let text = format!(
        "APT::Architecture \"{debian}\";\nAPT::Architectures {{ \"{debian}\"; }};\nDir::State \"{0}\";\n\
         Dir::State::status \"/dev/null\";\nDir::Cache \"{0}\";\n",
        text(directory)
    );
    fs::write(&file, text).unwrap();
    file
}
