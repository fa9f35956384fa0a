//! The checksums of the ranges of an image.

use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::digest::{ChecksumKind, Digest};
use crate::event::{Event, Observer, Outcome, Phase, TargetId};
use crate::hashing::{self, Access, Hashing, Window, cores};
use crate::range::ByteRange;
use crate::sys::read_at::{ReadError, read_all_at};

/// The image, as the observer knows it.
const IMAGE: TargetId = TargetId(0);

/// The digests of `ranges` of `image`, which was opened from `path`, in the same order.
pub(super) fn hash(
    image: &File,
    path: &Path,
    ranges: &[ByteRange],
    kind: ChecksumKind,
    observer: &dyn Observer,
) -> Result<Vec<Digest>, super::Error> {
    observer.event(Event::Phase(IMAGE, Phase::Hashing));
    let total = ranges.iter().map(|bytes| bytes.len()).sum();
    let read = |window: &Window<usize>, buf: &mut [u8]| {
        window.runs().try_for_each(|run| read_all_at(image, &mut buf[window.position(run)], run.start))
    };
    let digests = Mutex::new(Vec::new());
    let add = |index, digest| digests.lock().unwrap_or_else(PoisonError::into_inner).push((index, digest));
    let progress = |done| observer.event(Event::Progress { target: IMAGE, done, total: Some(total) });
    let hashing = Hashing { ranges: longest_first(ranges, total), kind, access: Access::Anywhere };
    hashing.run(read, add, progress).map_err(|error| match error {
        hashing::Error::Memory(error) => super::Error::Memory(error),
        hashing::Error::Read(ReadError { offset, source }) => {
            super::Error::Read { path: path.to_owned(), offset, source }
        }
    })?;
    observer.event(Event::Target(IMAGE, Outcome::Complete));
    let mut digests = digests.into_inner().unwrap_or_else(PoisonError::into_inner);
    digests.sort_unstable_by_key(|&(index, _)| index);
    Ok(digests.into_iter().map(|(_, digest)| digest).collect())
}

/// The ranges with their indices, in the order in which they are hashed. One that takes a core as long as all ranges
/// take all cores must not be begun last; the others are read in the order of the file.
fn longest_first(ranges: &[ByteRange], total: u64) -> impl Iterator<Item = (ByteRange, usize)> {
    let share = total / cores() as u64;
    let is_long = move |bytes: ByteRange| bytes.len() >= share;
    let all = move || ranges.iter().copied().zip(0..);
    all().filter(move |&(bytes, _)| is_long(bytes)).chain(all().filter(move |&(bytes, _)| !is_long(bytes)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::event::Silent;

    const MIB: u64 = 1 << 20;

    fn hash_all(data: &[u8], ranges: &[(u64, u64)]) -> Result<Vec<Digest>, super::super::Error> {
        let mut image = tempfile::tempfile().unwrap();
        image.write_all(data).unwrap();
        let ranges: Vec<_> = ranges.iter().map(|&(start, end)| ByteRange { start, end }).collect();
        hash(&image, Path::new("image"), &ranges, ChecksumKind::Sha256, &Silent)
    }

    #[test]
    fn ranges_of_all_sizes_get_their_own_digests_in_order() {
        let data: Vec<u8> = (0..7 * MIB).map(|at| ((at / 7) ^ (at / 4099)) as u8).collect();
        let small = (0..300).map(|index| (index * 5000, index * 5000 + 1 + index));
        let large = [(2 * MIB, 3 * MIB), (3 * MIB, 5 * MIB + 17), (6 * MIB, 6 * MIB + 1), (7 * MIB - 1, 7 * MIB)];
        let ranges: Vec<_> = small.chain(large).collect();
        let digests = hash_all(&data, &ranges).unwrap();
        assert_eq!(digests.len(), ranges.len());
        for ((start, end), digest) in ranges.into_iter().zip(digests) {
            let mut hasher = ChecksumKind::Sha256.hasher();
            hasher.update(&data[start as usize..end as usize]);
            assert_eq!(digest, hasher.finish(), "{start}..{end}");
        }
        assert!(hash_all(&data, &[]).unwrap().is_empty());
    }

    #[test]
    fn an_image_that_ends_early_is_an_error_with_its_offset() {
        let error = hash_all(&vec![1; 3 * MIB as usize + 5], &[(0, 100), (MIB, 9 * MIB)]).unwrap_err();
        assert!(matches!(error, super::super::Error::Read { offset, .. } if offset == 3 * MIB + 5), "{error}");
    }
}
