//! The main job from end to end, on an image that it makes: map it, compress it, flash the compressed image, compare.
//!
//! Run it with `cargo run --release --example quickstart`. It needs some 250 MB in the directory for temporary files.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::thread;
use std::time::Instant;

use bmaptool::bmap::Bmap;
use bmaptool::copy::{Copy, Plan, Unmapped, Verify};
use bmaptool::create::{self, create};
use bmaptool::digest::ChecksumKind;
use bmaptool::event::Silent;
use bmaptool::sink::{self, Request};
use bmaptool::size::{human, percent};
use bmaptool::source::{Location, Source};
use xz2::stream::MtStreamBuilder;

const MIB: u64 = 1 << 20;
const IMAGE_SIZE: u64 = 1024 * MIB;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name);
    let (image, map, compressed, flashed) =
        (path("disk.img"), path("disk.bmap"), path("disk.img.xz"), path("flashed.img"));

    step("truncate -s 1G disk.img; …partitions, files…", || make_image(&image))?;
    println!("    {} on disk for an image of {}", human(occupied(&image)?), human(IMAGE_SIZE));

    step("bmaptool create disk.img > disk.bmap", || create_map(&image, &map))?;
    let bmap = Bmap::parse(&fs::read(&map)?)?;
    let share = percent(bmap.mapped_blocks(), bmap.blocks());
    println!("    {} mapped, {share} of the image, in {} ranges", human(bmap.mapped_bytes()), bmap.ranges().count());

    step("xz -1 -T0 --keep disk.img", || compress(&image, &compressed))?;
    println!("    {}", human(fs::metadata(&compressed)?.len()));

    step("bmaptool copy disk.img.xz flashed.img", || flash(&compressed, &map, &flashed))?;
    println!("    {} on disk, every range verified", human(occupied(&flashed)?));

    step("cmp disk.img flashed.img", || compare(&image, &flashed))?;
    println!("    no difference");
    Ok(())
}

/// Shows a command line, does what it would do, and tells how long it took.
fn step(command: &str, work: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    print!("$ {command}");
    io::stdout().flush()?;
    let started = Instant::now();
    work()?;
    println!("    # {:.2} s", started.elapsed().as_secs_f64());
    Ok(())
}

fn occupied(path: &Path) -> io::Result<u64> {
    const SECTOR: u64 = 512; // the unit of st_blocks, stat(2)
    Ok(fs::metadata(path)?.blocks() * SECTOR)
}

/// A sparse image as of a small system: a protective MBR and a GPT at both ends, a boot partition, and a root partition
/// with its files here and there.
fn make_image(path: &Path) -> Result<(), Box<dyn Error>> {
    let file = File::create(path)?;
    file.set_len(IMAGE_SIZE)?;
    let mut table = vec![0; 34 * 512];
    table[446..462].copy_from_slice(&[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0xff, 0xff, 0x1f, 0]);
    table[510..512].copy_from_slice(&[0x55, 0xaa]);
    table[512..520].copy_from_slice(b"EFI PART");
    file.write_all_at(&table, 0)?;
    file.write_all_at(&table[512..], IMAGE_SIZE - 33 * 512)?;

    let mut state = 1_u32;
    let mut content = |length: u64| -> Vec<u8> {
        // Words in no particular order compress about as well as a system's files do.
        const WORDS: [&str; 8] =
            ["block ", "range ", "hole ", "extent ", "sector ", "flash ", "image\n", "\0\x01\x02\x7f"];
        let mut data = Vec::new();
        while (data.len() as u64) < length {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            data.extend_from_slice(WORDS[(state >> 29) as usize].as_bytes());
            data.push((state >> 13) as u8);
        }
        data.truncate(length as usize);
        data
    };
    file.write_all_at(&content(16 * MIB), MIB)?;
    for extent in 0..40 {
        file.write_all_at(&content(2 * MIB + extent * 8192), (40 + extent * 24) * MIB)?;
    }
    Ok(())
}

fn create_map(image: &Path, map: &Path) -> Result<(), Box<dyn Error>> {
    let request = create::Request { checksums: Some(ChecksumKind::Sha256), ..create::Request::default() };
    let bmap = create(&File::open(image)?, image, &request, &Silent)?;
    let mut out = BufWriter::new(File::create(map)?);
    bmap.emit(&mut out)?;
    Ok(out.flush()?)
}

fn compress(image: &Path, compressed: &Path) -> Result<(), Box<dyn Error>> {
    let threads = thread::available_parallelism()?.get().try_into()?;
    let stream = MtStreamBuilder::new().threads(threads).preset(1).block_size(8 * MIB).encoder()?;
    let mut encoder = xz2::write::XzEncoder::new_stream(File::create(compressed)?, stream);
    io::copy(&mut File::open(image)?, &mut encoder)?;
    encoder.finish()?;
    Ok(())
}

fn flash(image: &Path, map: &Path, target: &Path) -> Result<(), Box<dyn Error>> {
    let map = Bmap::parse(&fs::read(map)?)?;
    let source = Source::open(&Location::Path(image.to_owned()))?;
    let image = Plan::mapped(map, Verify::Checksums, Unmapped::Keep).open(source)?;
    let target = sink::claim(&Request::new(target, image.size(), image.inputs()))?;
    for verdict in Copy::new(image, vec![target.sink]).run() {
        verdict?;
    }
    Ok(())
}

fn compare(left: &Path, right: &Path) -> Result<(), Box<dyn Error>> {
    let (mut left, mut right) = (File::open(left)?, File::open(right)?);
    let mut chunks = (vec![0; MIB as usize], vec![0; MIB as usize]);
    loop {
        let length = left.read(&mut chunks.0)?;
        if length == 0 {
            return if right.read(&mut chunks.1)? == 0 { Ok(()) } else { Err("the sizes differ".into()) };
        }
        right.read_exact(&mut chunks.1[..length])?;
        if chunks.0[..length] != chunks.1[..length] {
            return Err("the contents differ".into());
        }
    }
}
