//! How much of the page cache a disk may fill, for the time of a copy: 1 % (Documentation/ABI/testing/sysfs-class-bdi), so
//! that a slow disk does not slow down the whole machine.
//!
//! The I/O scheduler stays. One program writes, in order and past the page cache, so that it has next to nothing to
//! reorder; and who switches it, and back, loses its own settings (`nr_requests`, and all in `iosched`).

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::device::Device;
use crate::event::{Notice, Observer};
use crate::sys::eintr::retry_on_eintr;

/// Attributes of the disk, the most precise one first, and what 1 % is there. In whole per cent, a smaller share reads
/// as 0 and could not be put back.
const SHARES: [(&str, u64); 2] = [("bdi/max_ratio_fine", 10_000), ("bdi/max_ratio", 1)];

/// The shares that are changed for the targets of a copy, and for how many of them: partitions of one disk have one.
#[derive(Clone, Default)]
pub(super) struct Tunings(Arc<Mutex<BTreeMap<PathBuf, (Setting, usize)>>>);

/// The share of the disk of a target. It is put back with the last one that needs it, at the latest when this is
/// dropped.
pub(super) struct Tuning {
    /// As the user gave it.
    target: PathBuf,
    disk: Device,
    all: Tunings,
    /// The setting, if it was changed for this target.
    changed: Mutex<Option<PathBuf>>,
    observer: Arc<dyn Observer>,
}

/// A setting and its previous value. Its file stays open, so that putting it back needs no new descriptor.
struct Setting {
    path: PathBuf,
    file: File,
    before: String,
}

impl Tuning {
    /// Changes nothing yet.
    pub(super) fn of(target: &Path, disk: &Device, all: &Tunings, observer: Arc<dyn Observer>) -> Self {
        Self { target: target.to_owned(), disk: disk.clone(), all: all.clone(), changed: Mutex::new(None), observer }
    }

    /// Lowers the share to 1 %; the observer is told if it cannot be.
    pub(super) fn apply(&self) {
        let mut all = lock(&self.all.0);
        let paths = SHARES.map(|(attribute, _)| self.disk.file(attribute));
        if let Some(path) = paths.into_iter().find(|path| all.contains_key(path)) {
            all.entry(path.clone()).and_modify(|(_, targets)| *targets += 1);
            *lock(&self.changed) = Some(path);
            return;
        }
        let Some((attribute, before, wanted)) = to_lower(&self.disk) else { return };
        let path = self.disk.file(attribute);
        let opened = OpenOptions::new().write(true).open(&path);
        match opened.and_then(|file| write(&file, &wanted.to_string()).map(|()| file)) {
            Ok(file) => {
                all.insert(path.clone(), (Setting { path: path.clone(), file, before }, 1));
                *lock(&self.changed) = Some(path);
            }
            Err(error) => {
                self.observer.notice(Notice::SettingKept { setting: &path, value: &before, error: &error });
            }
        }
    }

    /// Puts the share back, if no other target needs it; the observer is told if it cannot be. Does nothing the second
    /// time.
    pub(super) fn restore(&self) {
        let Some(path) = lock(&self.changed).take() else { return };
        // Until it is put back, no other target may take the lowered share for the previous one.
        let mut all = lock(&self.all.0);
        let Some((_, targets)) = all.get_mut(&path) else { return };
        *targets -= 1;
        if *targets > 0 {
            return;
        }
        let Some((setting, _)) = all.remove(&path) else { return };
        match setting.restore() {
            Ok(()) => {}
            // The disk has been unplugged, and its settings are gone with it.
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
            Err(error) => {
                let (target, setting, value) = (&self.target, &setting.path, &setting.before);
                self.observer.notice(Notice::SettingNotRestored { target, setting, value, error: &error });
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn tuning(disk: &Device, all: &Tunings) -> Tuning {
        Tuning::of(Path::new("/dev/sda"), disk, all, Arc::new(Silent))
    }

    #[test]
    fn the_share_of_a_disk_with_several_targets_is_put_back_with_the_last_one() {
        let tree = Tree::new();
        let ratio = tree.write("usb/sda/bdi/max_ratio", "7");
        let share = || fs::read_to_string(&ratio).unwrap();
        let (disk, all) = (tree.disk(), Tunings::default());
        let [one, two, three] = [0; 3].map(|_| tuning(&disk, &all));
        one.apply();
        two.apply();
        one.restore();
        one.restore();
        assert_eq!(share(), "1");
        three.apply();
        drop(two);
        assert_eq!(share(), "1");
        three.restore();
        assert_eq!(share(), "7");
    }

    /// What a copy to a disk with these attributes sets, and what it leaves after that.
    fn tune(attributes: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let tree = Tree::new();
        let files = attributes.iter().map(|(name, value)| tree.write(&format!("usb/sda/bdi/{name}"), value));
        let files: Vec<_> = files.collect();
        let read = || files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        let tuning = tuning(&tree.disk(), &Tunings::default());
        tuning.apply();
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
            let tuning = tuning(&disk, &Tunings::default());
            tuning.apply();
            assert_eq!(fs::read_to_string(&ratio).unwrap(), "1");
            panic!("for the test");
        });
        assert!(panicked.is_err());
        assert_eq!(fs::read_to_string(&ratio).unwrap(), "7");
    }
}
