//! Writing a bmap file.

use std::io::{self, Write};

use super::{Bmap, Version};
use crate::digest::{ChecksumKind, Digest, Hasher};
use crate::size::{human, percent};

/// Writes `map` as a file of the current version.
///
/// The file holds its own checksum, so it is written twice: first to a hasher, with zeroes for digits, then out.
pub(super) fn emit(map: &Bmap, out: &mut dyn Write) -> io::Result<()> {
    let kind = map.checksum_kind().unwrap_or(ChecksumKind::Sha256);
    let mut hashing = Hashing(kind.hasher());
    write_file(map, kind, &"0".repeat(kind.digits()), &mut hashing)?;
    let checksum = hashing.0.finish().to_string();
    write_file(map, kind, &checksum, out)
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

/// A writer that only hashes.
struct Hashing(Hasher);

impl Write for Hashing {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.update(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
