//! How much of the page cache a disk may fill, for the time of a copy: 1 % (Documentation/ABI/testing/sysfs-class-bdi), so
//! that a slow disk does not slow down the whole machine.
//!
//! The I/O scheduler stays. One program writes, in order and past the page cache, so that it has next to nothing to
//! reorder; and who switches it, and back, loses its own settings (`nr_requests`, and all in `iosched`).

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

/// Attributes of the disk, the most precise one first, and what 1 % is there. In whole per cent, a smaller share reads
/// as 0 and could not be put back.
const SHARES: [(&str, u64); 2] = [("bdi/max_ratio_fine", 10_000), ("bdi/max_ratio", 1)];

/// The share, if it was changed. It is put back at the latest when this is dropped.
pub(super) struct Tuning {
    changed: Option<Setting>,
    observer: Arc<dyn Observer>,
}

/// A setting and its previous value. Its file stays open, so that putting it back needs no new descriptor.
struct Setting {
    path: PathBuf,
    file: File,
    before: String,
}

impl Tuning {
    /// Lowers the share to 1 %; the observer is told if it cannot be.
    pub(super) fn apply(disk: &Device, observer: Arc<dyn Observer>) -> Self {
        let mut tuning = Self { changed: None, observer };
        let Some((attribute, before, wanted)) = to_lower(disk) else { return tuning };
        let path = disk.file(attribute);
        let opened = OpenOptions::new().write(true).open(&path);
        match opened.and_then(|file| write(&file, &wanted.to_string()).map(|()| file)) {
            Ok(file) => tuning.changed = Some(Setting { path, file, before }),
            Err(error) => {
                tuning.observer.notice(Notice::SettingKept { setting: &path, value: &before, error: &error });
            }
        }
        tuning
    }

    /// Puts the share back; the observer is told if it cannot be. Does nothing the second time.
    pub(super) fn restore(&mut self) {
        let Some(setting) = self.changed.take() else { return };
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

/// How often to try to put the setting back, and the pause in between: the kernel may be short of memory for a moment.
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

/// The attribute with the share of `disk`, its present value, and the wanted one, if that is lower.
fn to_lower(disk: &Device) -> Option<(&'static str, String, u64)> {
    let read = |attribute| disk.attribute(attribute).ok().flatten();
    let (attribute, wanted, before) =
        SHARES.into_iter().find_map(|(attribute, wanted)| Some((attribute, wanted, read(attribute)?)))?;
    (before.parse::<u64>().ok()? > wanted).then_some((attribute, before, wanted))
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

    use super::*;
    use crate::device::fixture::Tree;
    use crate::event::Silent;

    /// What a copy to a disk with these attributes sets, and what it leaves after that.
    fn tune(attributes: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let tree = Tree::new();
        let files = attributes.iter().map(|(name, value)| tree.write(&format!("usb/sda/bdi/{name}"), value));
        let files: Vec<_> = files.collect();
        let read = || files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        let mut tuning = Tuning::apply(&tree.disk(), Arc::new(Silent));
        let during = read();
        tuning.restore();
        (during, read())
    }

    #[test]
    fn the_share_is_lowered_in_the_finest_unit_that_there_is() {
        let both = [("max_ratio_fine", "42001"), ("max_ratio", "4")];
        assert_eq!(tune(&both), (vec!["10000".into(), "4".into()], vec!["42001".into(), "4".into()]));
        assert_eq!(tune(&[("max_ratio", "7")]), (vec!["1".into()], vec!["7".into()]));
    }

    #[test]
    fn a_share_of_one_per_cent_or_less_stays() {
        for attributes in [
            &[("max_ratio_fine", "9999"), ("max_ratio", "0")][..],
            &[("max_ratio_fine", "10000"), ("max_ratio", "1")],
            &[("max_ratio", "0")],
            &[("max_ratio", "1")],
            &[],
        ] {
            let before: Vec<_> = attributes.iter().map(|(_, value)| (*value).to_owned()).collect();
            assert_eq!(tune(attributes), (before.clone(), before));
        }
    }

    #[test]
    fn the_share_is_put_back_also_by_a_panic() {
        let tree = Tree::new();
        let ratio = tree.write("usb/sda/bdi/max_ratio", "7");
        let disk = tree.disk();
        let panicked = std::panic::catch_unwind(|| {
            let _tuning = Tuning::apply(&disk, Arc::new(Silent));
            assert_eq!(fs::read_to_string(&ratio).unwrap(), "1");
            panic!("for the test");
        });
        assert!(panicked.is_err());
        assert_eq!(fs::read_to_string(&ratio).unwrap(), "7");
    }
}
