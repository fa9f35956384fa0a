//! `copy --only-changed`, whatever the image comes in and from: what a device holds already is not written again.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use bmaptool::bmap::Bmap;

use crate::codecs::COMPRESSIONS;
use crate::common::device::{Disk, fill};
use crate::common::image::disk_like;
use crate::common::server::{File, Server};
use crate::common::text;
use crate::common::tool::{Tool, copy};
use crate::common::work::Work;
use crate::registry::{Need, Test};

const MIB: u64 = 1 << 20;

/// What is written at most for a byte that differs, and for the rest of the image's last block.
const UNIT: u64 = 128 << 10;

/// Names of archives, programs, and commands that make one of `disk.img`.
const ARCHIVES: [(&str, &str, &str); 6] = [
    ("tar", "tar", "tar -c disk.img"),
    ("tar_with_holes", "tar", "tar -cS disk.img"),
    ("tar_in_zstd", "zstd", "tar -cS disk.img | zstd"),
    ("tar_in_xz_blocks", "xz", "tar -c disk.img | xz -0 -T2 --block-size=1MiB"),
    ("zip", "zip", "zip -q a.zip disk.img; cat a.zip"),
    ("zip_stored", "zip", "zip -q0 a.zip disk.img; cat a.zip"),
];

#[test_cases]
fn codecs_and_archives() -> Vec<Test> {
    let codecs =
        COMPRESSIONS.iter().map(|compression| (compression.name, compression.needs.to_vec(), compression.command));
    let archives = ARCHIVES.map(|(name, program, command)| (name, vec![Need::Root, Need::Program(program)], command));
    let test = |(name, needs, command): (&str, Vec<Need>, &'static str)| {
        Test::new(format!("{name}_is_written_where_it_differs"), &needs, move || of_command(command))
    };
    codecs.chain(archives).map(test).collect()
}

/// From a file, from standard input and over HTTP.
fn of_command(command: &str) {
    let work = Work::new(|image| disk_like(image, 1));
    let converted = work.output_of(command);
    let bytes = fs::read(&converted).unwrap();
    let server = Server::of(File::new(bytes.clone()));
    let flashed = Flashed::with(&work.image, &work.bmap);
    let from = |source: &str, target: &Path| copy(["--only-changed", "--bmap", text(&work.bmap), source, text(target)]);
    flashed.gets_only_what_differs(|target| from(text(&converted), target));
    flashed.gets_only_what_differs(|target| from("-", target).stdin(bytes.clone()));
    flashed.gets_only_what_differs(|target| from(&server.url("download?id=1"), target));
}

/// A device that holds an image.
pub struct Flashed {
    disk: Disk,
    contents: Vec<u8>,
    map: Bmap,
}

impl Flashed {
    pub fn with(image: &Path, bmap: &Path) -> Self {
        let disk = Disk::new(fs::metadata(image).unwrap().len().next_multiple_of(MIB));
        // A hole of the boot region need not be zeroed then.
        fill(disk.path(), &vec![0; MIB as usize]);
        copy(["--bmap", text(bmap), text(image), text(disk.path())]).ok();
        let contents = fs::read(&disk.backing).unwrap();
        Self { disk, contents, map: Bmap::parse(&fs::read(bmap).unwrap()).unwrap() }
    }

    /// Has it copied to, with `--only-changed`: as it is, and with a wrong byte in the boot region and elsewhere.
    pub fn gets_only_what_differs(&self, copy_to: impl Fn(&Path) -> Tool) {
        let ranges = || self.map.ranges().map(|range| range.bytes);
        let in_boot_region: u64 = ranges().map(|bytes| bytes.end.min(MIB).saturating_sub(bytes.start)).sum();
        let largest = ranges().max_by_key(|bytes| bytes.len()).unwrap();
        let middle = largest.start + largest.len() / 2;
        assert!(middle > MIB);
        // The boot region is zeroed, then written.
        for (wrong, most) in [(&[][..], 0), (&[1000, middle], 2 * in_boot_region + UNIT)] {
            let backing = OpenOptions::new().write(true).open(&self.disk.backing).unwrap();
            wrong.iter().for_each(|&at| backing.write_all_at(&[!self.contents[at as usize]], at).unwrap());
            let before = self.disk.written();
            copy_to(self.disk.path()).ok().says(&["was right already", "all ranges of the image verified"]);
            let written = self.disk.written() - before;
            assert!(fs::read(&self.disk.backing).unwrap() == self.contents, "{wrong:?}");
            assert!(written <= most, "{wrong:?}: {written} bytes, not {most}");
        }
    }
}
