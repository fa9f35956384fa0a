//! Writing a bmap file.

use std::io::{self, Write};

use super::{Bmap, Version};
use crate::digest::{ChecksumKind, Digest, Hasher};
use crate::size::{human, percent};

/// Writes `map` as a file of the current version.
///
/// The file holds its own checksum, so it is written twice: first to a hasher, with zeroes for digits, then to `out`.
/// A file of more than `max` bytes is refused, as no reader would accept it.
pub(super) fn emit(map: &Bmap, max: u64, out: &mut dyn Write) -> io::Result<()> {
    let kind = map.checksum_kind().unwrap_or(ChecksumKind::Sha256);
    let mut hashing = Hashing { hasher: kind.hasher(), length: 0 };
    write_file(map, kind, &"0".repeat(kind.digits()), &mut hashing)?;
    let Hashing { mut hasher, length } = hashing;
    if length > max {
        return Err(io::Error::other(format!("a bmap of {length} bytes is over the limit of {max} bytes")));
    }
    write_file(map, kind, &hasher.finish().to_string(), out)
}

fn write_file(map: &Bmap, kind: ChecksumKind, checksum: &str, out: &mut dyn Write) -> io::Result<()> {
    let image_size = map.image_size();
    let mapped = human(map.mapped_bytes());
    let share = percent(map.mapped_blocks(), map.blocks());
    write!(
        out,
        "\
<?xml version=\"1.0\" ?>
<!-- A block map (bmap): it tells which blocks of a disk image hold data.

     A program that writes the image to a disk writes the blocks listed here
     and leaves out all others, which are holes. It checks every range that
     has a checksum before it calls the disk written.

     Readers accept a file whose version has a major number that they know;
     a larger minor number only adds what they may ignore. -->

<bmap version=\"{}\">
    <!-- The size of the image in bytes: {} -->
    <ImageSize> {image_size} </ImageSize>

    <!-- The size of a block in bytes -->
    <BlockSize> {} </BlockSize>

    <!-- How many blocks the image has, a last partial one included -->
    <BlocksCount> {} </BlocksCount>

    <!-- How many of them are mapped: {mapped}, or {share} of the image -->
    <MappedBlocksCount> {} </MappedBlocksCount>

    <!-- The kind of all checksums in this file -->
    <ChecksumType> {kind} </ChecksumType>

    <!-- The checksum of this file, computed with zeroes in place of these
         digits -->
    <BmapFileChecksum> {checksum} </BmapFileChecksum>

    <!-- The mapped ranges: first and last block, both included, or a single
         block. A checksum covers the image's bytes in that range. -->
    <BlockMap>
",
        Version::CURRENT,
        human(image_size),
        map.block_size().bytes(),
        map.blocks(),
        map.mapped_blocks(),
    )?;
    for range in map.ranges() {
        match range.checksum.map(Digest::from) {
            Some(digest) => writeln!(out, "        <Range chksum=\"{digest}\"> {} </Range>", range.blocks)?,
            None => writeln!(out, "        <Range> {} </Range>", range.blocks)?,
        }
    }
    write!(out, "    </BlockMap>\n</bmap>\n")
}

/// Hashes and counts bytes.
struct Hashing {
    hasher: Hasher,
    length: u64,
}

impl Write for Hashing {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.hasher.update(data);
        self.length += data.len() as u64;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::range::{BlockRange, BlockSize};

    #[test]
    fn a_file_too_large_to_be_read_is_not_written() {
        let blocks = BlockRange::new(0, 1).unwrap();
        let map = Bmap::new(4096, BlockSize::new(4096).unwrap(), vec![blocks], None).unwrap();
        let mut file = Vec::new();
        emit(&map, u64::MAX, &mut file).unwrap();
        let length = file.len() as u64;
        emit(&map, length, &mut file).unwrap();
        assert_eq!(file.len() as u64, 2 * length);
        let error = emit(&map, length - 1, &mut file).unwrap_err();
        assert!(error.to_string().contains("over the limit"), "{error}");
        assert_eq!(file.len() as u64, 2 * length);
    }
}
