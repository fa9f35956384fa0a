//! Settings of a disk that suit one long sequential write, for the time of a copy.
//!
//! `none` as I/O scheduler, for there is nothing to reorder; and a share of 1 % of the page cache for the disk's dirty
//! data (Documentation/ABI/testing/sysfs-class-bdi), so that a slow disk does not slow down the whole machine.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::device::Device;
use crate::event::{Notice, Observer};
use crate::sys::eintr::retry_on_eintr;

/// Attributes of the disk, and their wanted values.
const WANTED: [(&str, &str); 2] = [("queue/scheduler", "none"), ("bdi/max_ratio", "1")];

/// The settings that were changed. They are put back at the latest when this is dropped.
pub(super) struct Tuning {
    changed: Vec<Setting>,
    observer: Arc<dyn Observer>,
}

/// A setting and its previous value. Its file stays open, so that putting it back needs no new descriptor.
struct Setting {
    path: PathBuf,
    file: File,
    before: String,
}

impl Tuning {
    /// Changes the settings; the observer is told which could not be changed.
    pub(super) fn apply(disk: &Device, observer: Arc<dyn Observer>) -> Self {
        let mut tuning = Self { changed: Vec::new(), observer };
        for (attribute, value) in WANTED {
            let present = disk.attribute(attribute).ok().flatten();
            let Some(before) = present.and_then(|text| to_replace(&text, value)) else { continue };
            let path = disk.file(attribute);
            let opened = OpenOptions::new().write(true).open(&path);
            match opened.and_then(|file| write(&file, value).map(|()| file)) {
                Ok(file) => tuning.changed.push(Setting { path, file, before }),
                Err(error) => {
                    tuning.observer.notice(Notice::SettingKept { setting: &path, value: &before, error: &error });
                }
            }
        }
        tuning
    }

    /// Puts all settings back; the observer is told which could not be. Does nothing the second time.
    pub(super) fn restore(&mut self) {
        while let Some(setting) = self.changed.pop() {
            match setting.restore() {
                Ok(()) => {}
                // The disk has been unplugged, and its settings are gone with it.
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
                Err(error) => {
                    let (setting, value) = (&setting.path, &setting.before);
                    self.observer.notice(Notice::SettingNotRestored { setting, value, error: &error });
                }
            }
        }
    }
}

/// How often to try to put a setting back, and the pause in between: the kernel may be short of memory for a moment.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

impl Setting {
    fn restore(&self) -> io::Result<()> {
        let mut restored = write(&self.file, &self.before);
        for _ in 1..TRIES {
            if restored.as_ref().is_err_and(|error| error.raw_os_error() != Some(libc::ENODEV)) {
                thread::sleep(PAUSE);
                restored = write(&self.file, &self.before);
            }
        }
        restored
    }
}

/// For a panic: at every other end of a copy `restore` is called.
impl Drop for Tuning {
    fn drop(&mut self) {
        self.restore();
    }
}

/// The present value of a setting whose file reads `text`, if it can and needs to be changed to `wanted`.
fn to_replace(text: &str, wanted: &str) -> Option<String> {
    let choices = || text.split_whitespace();
    let chosen = choices().find_map(|choice| choice.strip_prefix('[')?.strip_suffix(']'));
    match chosen {
        // A list of all choices, the present one in brackets.
        Some(chosen) => choices().any(|choice| choice == wanted).then(|| chosen.to_owned()),
        None => (text.parse::<u64>().is_ok() && text != wanted).then(|| text.to_owned()),
    }
}

/// The kernel takes a setting in one write, and answers that with its verdict.
fn write(setting: &File, value: &str) -> io::Result<()> {
    match retry_on_eintr(|| setting.write_at(value.as_bytes(), 0))? {
        count if count == value.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::device::fixture::Tree;
    use crate::event::Silent;

    #[test]
    fn only_what_differs_and_can_be_changed_is() {
        assert_eq!(to_replace("none [mq-deadline] bfq", "none").as_deref(), Some("mq-deadline"));
        assert_eq!(to_replace("[none] mq-deadline", "none"), None);
        assert_eq!(to_replace("noop [cfq]", "none"), None);
        assert_eq!(to_replace("none", "none"), None);
        assert_eq!(to_replace("100", "1").as_deref(), Some("100"));
        assert_eq!(to_replace("1", "1"), None);
    }

    fn tuned_tree() -> (Tree, [PathBuf; 2]) {
        let tree = Tree::new();
        let scheduler = tree.write("usb/sda/queue/scheduler", "none [bfq]\n");
        let ratio = tree.write("usb/sda/bdi/max_ratio", "100\n");
        (tree, [scheduler, ratio])
    }

    fn start(file: &Path) -> String {
        fs::read_to_string(file).unwrap().chars().take(3).collect()
    }

    #[test]
    fn settings_are_changed_and_put_back_also_by_a_panic() {
        let (tree, [scheduler, ratio]) = tuned_tree();
        let mut tuning = Tuning::apply(&tree.disk(), Arc::new(Silent));
        assert_eq!((start(&scheduler), start(&ratio)), ("non".into(), "100".into()));
        assert_eq!(tuning.changed.len(), 2);
        tuning.restore();
        assert_eq!(start(&scheduler), "bfq");

        let (tree, [scheduler, _]) = tuned_tree();
        let disk = tree.disk();
        let panicked = std::panic::catch_unwind(|| {
            let _tuning = Tuning::apply(&disk, Arc::new(Silent));
            panic!("for the test");
        });
        assert!(panicked.is_err());
        assert_eq!(start(&scheduler), "bfq");
    }
}
