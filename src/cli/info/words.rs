//! What a file is, in words.

use std::io::{self, IsTerminal};

use bmaptool::bmap::Bmap;
use bmaptool::device::DeviceInfo;
use bmaptool::info::{BmapInfo, ImageInfo, Info, Mapped, Partitions, Share, What};
use bmaptool::partition::{Partition, PartitionTable};
use bmaptool::range::ByteRange;
use bmaptool::size::{counted, human, percent};
use bmaptool::trust::Signatures;

use crate::cli::columns::{Align, Page};
use crate::cli::list;

/// How many characters the map of an image has.
const CELLS: u64 = 64;

/// All that is known, within 80 columns.
pub fn text(info: &Info) -> String {
    let mut page = Page::default();
    add_file(&mut page, info);
    let map = info.bmap.as_ref().and_then(|bmap| bmap.map.as_ref());
    if let Some(bmap) = &info.bmap {
        add_bmap(&mut page, bmap);
    }
    add_partitions(&mut page, info, map);
    page.into_text()
}

fn add_file(page: &mut Page, info: &Info) {
    page.title(&info.location.to_string());
    match &info.what {
        What::Unknown => page.row("kind", "cannot be told"),
        What::Bmap => page.row("kind", "bmap"),
        What::Empty => page.row("kind", "empty"),
        What::Other(what) => page.row("kind", &what.to_string()),
        What::Device(device) => add_device(page, device.as_deref()),
        What::Image(image) => {
            page.row("kind", &kind(image));
            for member in &image.members {
                page.row("member", &member.name);
            }
        }
    }
    match &info.what {
        What::Unknown => {}
        What::Image(image) if image.compression.is_none() && image.members.is_empty() => {
            add_size(page, "size", image.size.or(info.stored_size));
        }
        What::Image(image) => {
            add_size(page, "stored", info.stored_size);
            add_size(page, "image", image.size);
        }
        _ => add_size(page, "size", info.stored_size),
    }
}

/// As in `disk image, in a tar archive, compressed with xz`.
fn kind(image: &ImageInfo) -> String {
    let archives = image.members.iter().rev().map(|member| format!(", in a {} archive", member.archive));
    let compression = image.compression.map(|format| format!(", compressed with {format}"));
    ["disk image".to_owned()].into_iter().chain(archives).chain(compression).collect()
}

fn add_device(page: &mut Page, device: Option<&DeviceInfo>) {
    let Some(device) = device else { return page.row("kind", "block device") };
    match &device.partition_of {
        Some(disk) => page.row("kind", &format!("partition of {}", disk.display())),
        None => page.row("kind", "block device"),
    }
    let identity = &device.identity;
    let texts = [("model", &identity.model), ("serial", &identity.serial), ("by-id", &device.by_id)];
    for (label, text) in texts {
        if let Some(text) = text {
            page.row(label, text);
        }
    }
    if let Some(bytes) = identity.sector_size {
        page.row("sectors", &format!("{bytes} bytes"));
    }
    if let Some(removable) = identity.removable {
        page.row("removable", if removable { "yes" } else { "no" });
    }
    page.row("used for", &list::usage(device));
}

/// For people, and exactly.
fn add_size(page: &mut Page, label: &str, size: Option<u64>) {
    match size {
        Some(size) if size < 512 => page.row(label, &human(size)),
        Some(size) => page.row(label, &format!("{} ({})", human(size), counted(size, "byte"))),
        None => page.row(label, "not known without reading all of it"),
    }
}

fn add_bmap(page: &mut Page, bmap: &BmapInfo) {
    page.title(&format!("bmap {}", bmap.location));
    if let Some(map) = &bmap.map {
        add_map(page, map);
    } else {
        page.row("contents", "not valid");
    }
    match &bmap.signatures {
        None => page.row("signature", "refused"),
        Some(Signatures::None) => page.row("signature", "none"),
        Some(Signatures::Unverified) => page.row("signature", "not verified"),
        Some(Signatures::Unknown) => page.row("signature", "not looked for"),
        Some(Signatures::Good(signers)) => {
            for signer in signers {
                page.row("signature", &format!("good, of {}", signer.user_id));
                page.row("", &signer.fingerprint);
            }
        }
    }
}

fn add_map(page: &mut Page, map: &Bmap) {
    let block = map.block_size().bytes();
    page.row("version", &format!("{}, blocks of {}", map.version(), human(block)));
    let (mapped, size) = (map.mapped_bytes(), map.image_size());
    page.row("mapped", &format!("{} of {} ({})", human(mapped), human(size), percent(mapped, size)));
    let largest = map.ranges().map(|range| range.bytes.len()).max();
    let ranges = counted(map.ranges().count() as u64, "range");
    page.row("ranges", &largest.map_or(ranges.clone(), |largest| format!("{ranges}, largest {}", human(largest))));
    page.row("checksums", map.checksum_kind().map_or("none", |kind| kind.name()));
    if shows_blocks() && size > 0 {
        page.row("map", &picture(&Mapped::of(map), size));
        page.row("", "█ mapped  ▒ partly  ░ hole");
    }
}

/// Whether standard output is a terminal that has UTF-8 (locale(7)).
fn shows_blocks() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(std::env::var_os).find(|value| !value.is_empty());
    let has_utf8 = set.is_some_and(|locale| {
        let locale = locale.to_string_lossy().to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    });
    has_utf8 && io::stdout().is_terminal()
}

/// The image in a line: a character for each of its parts.
fn picture(mapped: &Mapped, size: u64) -> String {
    let cells = CELLS.min(size);
    let place = |cell: u64| (u128::from(size) * u128::from(cell) / u128::from(cells)) as u64;
    let part = |cell| ByteRange { start: place(cell), end: place(cell + 1) };
    let character = |cell| match mapped.share_of(part(cell)) {
        Share::All => '█',
        Share::Part => '▒',
        Share::None => '░',
    };
    (0..cells).map(character).collect()
}

fn add_partitions(page: &mut Page, info: &Info, map: Option<&Bmap>) {
    match &info.partitions {
        Partitions::None => {
            if matches!(info.what, What::Device(_) | What::Image(_)) && info.problems.is_empty() {
                page.title("no partition table");
            }
        }
        Partitions::OutOfReach => page.title("a partition table that lies past what was read"),
        Partitions::Table(table) => add_table(page, table, map),
        Partitions::Begun(table) => {
            add_table(page, table, map);
            page.line("  and perhaps more logical partitions that were not read");
        }
    }
}

fn add_table(page: &mut Page, table: &PartitionTable, map: Option<&Bmap>) {
    page.title(&format!("{} partition table, sectors of {} bytes", table.scheme, table.sector_size));
    let mapped = map.map(Mapped::of);
    let rows: Vec<_> = table.partitions.iter().map(|partition| row(partition, mapped.as_ref())).collect();
    page.table([Align::Right, Align::Right, Align::Left, Align::Left, Align::Left], &rows);
}

fn row(partition: &Partition, mapped: Option<&Mapped>) -> [String; 5] {
    let holes = match mapped.map(|mapped| mapped.share_of(partition.bytes)) {
        None => "",
        Some(Share::All) => "no holes",
        Some(Share::Part) => "holes",
        Some(Share::None) => "one hole",
    };
    let number = format!("{:>4}", partition.number);
    [number, human(partition.bytes.len()), partition.kind.to_string(), holes.to_owned(), partition.name.clone()]
}

#[cfg(test)]
mod tests {
    use bmaptool::range::{BlockRange, BlockSize};

    use super::*;

    fn map(blocks: u64, ranges: &[(u64, u64)]) -> Bmap {
        let ranges = ranges.iter().map(|&(first, last)| BlockRange::from_inclusive(first, last).unwrap()).collect();
        Bmap::new(blocks * 4096, BlockSize::new(4096).unwrap(), ranges, None).unwrap()
    }

    #[test]
    fn the_picture_shows_where_the_holes_are() {
        let map = map(128, &[(0, 1), (4, 4), (126, 127)]);
        let picture = picture(&Mapped::of(&map), map.image_size());
        assert_eq!(picture, format!("█░▒{}█", "░".repeat(60)));
    }

    #[test]
    fn an_image_smaller_than_the_picture_has_a_short_one() {
        let map = Bmap::new(3, BlockSize::new(1).unwrap(), Vec::new(), None).unwrap();
        assert_eq!(picture(&Mapped::of(&map), 3), "░░░");
    }
}
