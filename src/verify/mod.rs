//! Whether a device, a file or an image is what its block map says. The image is not needed, and nothing is written.

mod differences;
mod error;
mod medium;
mod relocated;
#[cfg(test)]
mod tests;
mod unreadable;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use differences::{Difference, Fault};
pub use error::{Error, Unfinished};
pub use relocated::BackupState;

use crate::bmap::{Bmap, Range};
use crate::device::{self, DeviceInfo};
use crate::digest::{ChecksumKind, Digest};
use crate::event::{Event, Notice, Observer, Outcome, Phase, TargetId};
use crate::hashing::{self, Hashing, Window};
use crate::range::ByteRange;
use crate::source::{Pipe, Source, drain};
use crate::sys::read_at::ReadPath;
use crate::sys::threads;
use differences::Differences;
use medium::Medium;
use relocated::{Original, RelocatedGpt};
use unreadable::Unreadable;

/// What is compared with its block map.
pub struct Verify {
    map: Bmap,
    kind: ChecksumKind,
    medium: Medium,
    device: Option<DeviceInfo>,
    pipe: Option<Pipe>,
}

/// What has come out.
#[derive(Debug)]
pub struct Report {
    /// How many bytes were compared.
    pub bytes: u64,
    /// How many ranges.
    pub ranges: usize,
    /// What is wrong, in order; empty if all is right.
    pub differences: Vec<Difference>,
    /// What the end of a device has whose GPT was relocated: header and MBR were compared as the image has them.
    pub relocated: Option<BackupState>,
    /// How a device was read.
    pub path: Option<ReadPath>,
    /// How long it took.
    pub time: Duration,
}

impl Report {
    /// How many ranges have other bytes than they must have.
    pub fn wrong(&self) -> usize {
        self.differences.iter().filter(|difference| !difference.is_unreadable()).map(|it| it.ranges).sum()
    }

    /// How many ranges cannot be read.
    pub fn unreadable(&self) -> usize {
        self.differences.iter().filter(|difference| difference.is_unreadable()).map(|it| it.ranges).sum()
    }
}

impl Verify {
    /// Opens the image that `map` describes in `source`, which may be a device that is in use: `observer` is told.
    ///
    /// # Errors
    ///
    /// Where the map has no checksums, the source has another size or no such image, or cannot be read.
    pub fn open(map: Bmap, source: Source, observer: &dyn Observer) -> Result<Self, Error> {
        let kind = match map.checksum_kind() {
            Some(kind) => kind,
            None if map.mapped_blocks() == 0 => ChecksumKind::Sha256,
            None => return Err(Error::NoChecksums),
        };
        let device = source.device().and_then(|(path, number)| {
            let device = device_info(number, observer)?;
            if let Some(usage) = &device.usage {
                observer.notice(Notice::DeviceInUse { device: path, usage });
            }
            Some(device)
        });
        let pipe = source.pipe()?;
        let medium = Medium::open(&map, source)?;
        Ok(Self { map, kind, medium, device, pipe })
    }

    /// The device that is compared, if it is one.
    pub fn device(&self) -> Option<&DeviceInfo> {
        self.device.as_ref()
    }

    /// The map that it is compared with.
    pub fn map(&self) -> &Bmap {
        &self.map
    }

    /// The kind of the checksums.
    pub fn checksum_kind(&self) -> ChecksumKind {
        self.kind
    }

    /// Compares all ranges; `observer` is told how far it is, as of its first target.
    ///
    /// # Errors
    ///
    /// Where the source ends early, or cannot be read on. What differs is no error, nor is a range of a device
    /// or of a file of this machine that cannot be read.
    pub fn run(&self, observer: &dyn Observer) -> Result<Report, Unfinished> {
        let (started, target) = (Instant::now(), TargetId(0));
        observer.event(Event::Phase(target, Phase::Verifying));
        let total = Some(self.map.mapped_bytes());
        let progress = |done| observer.event(Event::Progress { target, done, total });
        progress(0);
        let gpt = RelocatedGpt::find(&self.medium, self.map.image_size());
        let original = gpt.as_ref().and_then(|gpt| gpt.originals().into_iter().next());
        let differences = Mutex::new(Differences::new(gpt.as_ref()));
        let compared = self.compare(|_| true, original.as_ref(), gpt.as_ref(), &differences, progress);
        let mut differences = differences.into_inner().unwrap_or_else(PoisonError::into_inner);
        let relocated = compared.and_then(|()| match gpt.as_ref().zip(original) {
            Some((gpt, original)) => self.relocated(gpt, original, &mut differences),
            None => Ok(None),
        });
        let differences = differences.finish();
        let relocated = match relocated {
            Ok(relocated) => relocated,
            Err(error) => return Err(Unfinished { differences, error }),
        };
        observer.event(Event::Target(target, Outcome::Complete));
        let (bytes, ranges, path) = (self.map.mapped_bytes(), self.map.ranges().count(), self.medium.read_path());
        if let Some(path) = path.filter(|path| !path.is_from_medium()) {
            observer.notice(Notice::MediumNotRead { target, bytes, path });
        }
        Ok(Report { bytes, ranges, differences, relocated, path, time: started.elapsed() })
    }

    /// Reads what the pipe still has where it comes through one, so that the writer of that does not fail; `is_cancelled`
    /// ends that.
    pub fn drain_pipe(self, is_cancelled: impl Fn() -> bool, observer: &dyn Observer) {
        let Self { map, medium, pipe: Some(pipe), .. } = self else { return };
        let (drain, drained) = drain(Some(pipe));
        let offset = map.ranges().last().map_or(0, |range| range.bytes.end);
        let run = move || {
            drop(medium); // its decoder may read from the pipe, too
            drain.run(offset, map.image_size());
        };
        let _ = threads::start("drain", run); // where no thread is left, the pipe is left alone
        drained.wait(is_cancelled, observer);
    }

    /// Compares the ranges that are `wanted`, as they are with `original`, and adds those that are wrong to
    /// `differences`; what is read is shown to `gpt`. `progress` is told how many bytes have been compared.
    fn compare(
        &self,
        wanted: impl Fn(ByteRange) -> bool + Sync,
        original: Option<&Original>,
        gpt: Option<&RelocatedGpt>,
        differences: &Mutex<Differences<'_>>,
        progress: impl Fn(u64) + Sync,
    ) -> Result<(), Error> {
        let unreadable = Unreadable::default();
        let ranges = self.map.ranges().map(|range| (range.bytes, range)).filter(|(bytes, _)| wanted(*bytes));
        let hashing = Hashing { ranges, kind: self.kind, access: self.medium.access() };
        let read = |window: &Window<Range<'_>>, buf: &mut [u8]| {
            self.medium.read(window, buf, &unreadable)?;
            let span = window.span();
            let read = &mut buf[window.position(span)];
            if let Some(gpt) = gpt {
                gpt.look(read, span.start);
            }
            if let Some(original) = original {
                original.put_back(read, span.start);
            }
            Ok(())
        };
        let found = |range: Range<'_>, digest: Digest| {
            let differences = || differences.lock().unwrap_or_else(PoisonError::into_inner);
            match (unreadable.take(range), range.checksum) {
                (Some(error), _) => differences().add_unreadable(range, error),
                (None, Some(expected)) if expected != digest.as_bytes() => {
                    differences().add_differing(range, expected.into(), digest);
                }
                (None, _) => {}
            }
        };
        hashing.run(read, found, progress).map_err(|error| match error {
            hashing::Error::Memory(error) => Error::Memory(error),
            hashing::Error::Read(error) => error,
        })
    }

    /// Of a device whose GPT seems to be relocated, finds what the image had instead: first that it was `original`,
    /// which has given these `differences`. Returns what the end of the device has, where the GPT is relocated indeed.
    fn relocated(
        &self,
        gpt: &RelocatedGpt,
        original: Original,
        differences: &mut Differences<'_>,
    ) -> Result<Option<BackupState>, Error> {
        let mut found = original;
        if differences.has_changed(gpt) {
            for other in gpt.originals() {
                let others = Mutex::new(Differences::new(None));
                self.compare(|bytes| gpt.has_changed(bytes), Some(&other), None, &others, |_| ())?;
                if others.into_inner().unwrap_or_else(PoisonError::into_inner).finish().is_empty() {
                    differences.remove_changed(gpt);
                    found = other;
                    break;
                }
            }
        }
        Ok((!found.is_as_found()).then(|| gpt.backup(&self.medium)))
    }
}

/// What the kernel says of a device. What it does not say is of no harm: nothing is written.
fn device_info(number: u64, observer: &dyn Observer) -> Option<DeviceInfo> {
    device::device(number, observer).unwrap_or_else(|error| {
        log::debug!("cannot tell what the device is: {error}");
        None
    })
}
