//! What the image leaves out is discarded, and what a device then has there is looked at.

use std::io::ErrorKind;

use super::boot_region::BootRegion;
use super::cancel::Cancel;
use super::error::Error;
use super::pass::strides;
use super::plan::Plan;
use crate::event::{Notice, Observer, TargetId};
use crate::range::ByteRange;
use crate::sink::{Sink, SinkInfo, WriteError};
use crate::sys::aligned::AlignedBuf;

/// How many bytes are discarded between two looks whether to stop.
const STRIDE: u64 = 256 << 20;

/// In how many places a device is read.
const SAMPLES: u64 = 64;

/// How much is read in one place, in bytes.
const SAMPLE_LEN: u64 = 4096;

/// Discards on a device, which is as it was found, what `plan` says, and returns how many bytes that is. A file's holes
/// are holes already, and a device without a capacity keeps nothing.
pub(super) fn discard(
    plan: &Plan,
    sink: &mut dyn Sink,
    boot_region: &BootRegion,
    cancel: &Cancel,
) -> Result<u64, Error> {
    let mut discarded = 0;
    for hole in holes(plan, &sink.info(), ByteRange { start: 0, end: u64::MAX }) {
        for bytes in strides(hole, STRIDE) {
            cancel.check()?;
            // Beforehand: the kernel splits a command, and where a part of it fails, others may have been carried out.
            boot_region.rest_changes();
            sink.discard(bytes).map_err(|WriteError { offset, source }| {
                if discarded == 0 && source.kind() == ErrorKind::Unsupported {
                    boot_region.nothing_changed();
                }
                Error::Discard { offset, source }
            })?;
            discarded += bytes.len();
        }
    }
    Ok(discarded)
}

/// Tells whether what was discarded in `rest`, which nothing was written to since, reads as zeroes: no command of a
/// device promises that.
///
/// This comes last, so that the copy is not held up, and does not fail, by what is only told.
pub(super) fn tell_contents(
    plan: &Plan,
    sink: &mut dyn Sink,
    rest: ByteRange,
    target: TargetId,
    observer: &dyn Observer,
) {
    let holes: Vec<_> = holes(plan, &sink.info(), rest).collect();
    let Ok(mut buf) = AlignedBuf::zeroed(SAMPLE_LEN as usize) else { return };
    let mut count = 0;
    for sample in samples(&holes) {
        let buf = &mut buf[..sample.len() as usize];
        if sink.read_at(buf, sample.start).is_err() || buf.iter().any(|&byte| byte != 0) {
            observer.notice(Notice::DiscardedNotZero { target, offset: sample.start });
            return;
        }
        count += 1;
    }
    if count > 0 {
        observer.notice(Notice::DiscardedZero { target, samples: count });
    }
}

/// What of the discarded ranges lies on the device, and in `part` of it.
fn holes(plan: &Plan, info: &SinkInfo, part: ByteRange) -> impl Iterator<Item = ByteRange> {
    let end = info.capacity.unwrap_or(0).min(part.end);
    let within = move |hole: ByteRange| ByteRange { start: hole.start.max(part.start), end: hole.end.min(end) };
    plan.discards().map(within).filter(|hole| hole.start < hole.end)
}

/// Places that are spread evenly over `holes`, in order. They do not begin with a hole: the parts of an erase block at
/// its edges are not discarded.
fn samples(holes: &[ByteRange]) -> impl Iterator<Item = ByteRange> {
    let total: u64 = holes.iter().map(|hole| hole.len()).sum();
    let stride = (total / SAMPLES).max(SAMPLE_LEN);
    let mut next = stride.min(total) / 2;
    // Where the hole starts if all of them are put together.
    let mut before = 0;
    holes.iter().flat_map(move |&hole| {
        let mut samples = Vec::new();
        while next < before + hole.len() {
            let start = hole.start + (next - before) / SAMPLE_LEN * SAMPLE_LEN;
            samples.push(ByteRange { start, end: (start + SAMPLE_LEN).min(hole.end) });
            next += stride;
        }
        before += hole.len();
        samples
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_spread_over_all_holes() {
        const GIB: u64 = 1 << 30;
        let range = |start, end| ByteRange { start, end };
        let holes = [range(GIB, 3 * GIB), range(5 * GIB, 5 * GIB + 10), range(6 * GIB, 8 * GIB)];
        let found: Vec<_> = samples(&holes).collect();
        assert_eq!(found.len() as u64, SAMPLES);
        assert!(found.is_sorted_by(|one, next| one.end <= next.start), "{found:?}");
        for hole in [holes[0], holes[2]] {
            assert_eq!(found.iter().filter(|sample| sample.overlaps(hole)).count(), 32);
        }
        assert_eq!(samples(&[range(7, 107)]).collect::<Vec<_>>(), [range(7, 107)]);
        assert_eq!(samples(&[]).count(), 0);
    }
}
