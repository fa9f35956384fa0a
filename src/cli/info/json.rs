//! What a file is, for programs.

use bmaptool::bmap::Bmap as Map;
use bmaptool::info::{BmapInfo, Info, Mapped, Partitions, Problem, What};
use bmaptool::partition::{PartitionType, Scheme};
use serde::Serialize;

use crate::cli::error::in_one_line;
use crate::cli::json::{self, Bmap, Device, Error};

#[derive(Serialize)]
#[serde(tag = "type", rename = "info")]
struct Object {
    file: String,
    kind: Kind,
    /// What it is, where it is nothing of use.
    other: Option<String>,
    stored_size: Option<u64>,
    image_size: Option<u64>,
    compression: Option<String>,
    members: Vec<Member>,
    device: Option<Device>,
    bmap: Option<Bmap>,
    partition_table: Option<Table>,
    ok: bool,
    errors: Vec<Error>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Unknown,
    Device,
    Bmap,
    Image,
    Other,
}

#[derive(Serialize)]
struct Member {
    archive: String,
    name: String,
}

#[derive(Serialize)]
struct Table {
    scheme: &'static str,
    sector_size: u32,
    complete: bool,
    partitions: Vec<Partition>,
}

#[derive(Serialize)]
struct Partition {
    number: u32,
    start: u64,
    size: u64,
    #[serde(rename = "type")]
    kind: String,
    type_name: Option<String>,
    name: String,
    mapped_bytes: Option<u64>,
}

/// All of it as an object in a line.
pub fn line(info: &Info) -> String {
    json::line(&object(info))
}

fn object(info: &Info) -> Object {
    let map = info.bmap.as_ref().and_then(|bmap| bmap.map.as_ref());
    let mut object = Object {
        file: info.location.to_string(),
        kind: Kind::Unknown,
        other: None,
        stored_size: info.stored_size,
        image_size: None,
        compression: None,
        members: Vec::new(),
        device: None,
        bmap: info.bmap.as_ref().map(bmap),
        partition_table: table(&info.partitions, map),
        ok: info.problems.is_empty(),
        errors: info.problems.iter().map(error).collect(),
    };
    match &info.what {
        What::Unknown => {}
        What::Device(device) => {
            object.kind = Kind::Device;
            object.device = device.as_deref().map(Device::of);
        }
        What::Bmap => object.kind = Kind::Bmap,
        What::Image(image) => {
            object.kind = Kind::Image;
            object.image_size = image.size;
            object.compression = image.compression.map(|format| format.to_string());
            let members = image.members.iter();
            let member = |member: &bmaptool::source::Member| (member.archive.to_string(), member.name.clone());
            object.members = members.map(member).map(|(archive, name)| Member { archive, name }).collect();
        }
        What::Empty => {
            object.kind = Kind::Other;
            object.other = Some("empty".to_owned());
        }
        What::Other(what) => {
            object.kind = Kind::Other;
            object.other = Some(what.to_string());
        }
    }
    object
}

fn bmap(bmap: &BmapInfo) -> Bmap {
    Bmap::new(&bmap.location, bmap.map.as_ref(), bmap.signatures.as_ref())
}

fn table(partitions: &Partitions, map: Option<&Map>) -> Option<Table> {
    let table = partitions.table()?;
    let mapped = map.map(Mapped::of);
    let partitions_of = table.partitions.iter().map(|partition| {
        let number = match partition.kind {
            PartitionType::Guid(guid) => guid.to_string(),
            PartitionType::Id(id) => format!("0x{id:02x}"),
        };
        let words = partition.kind.to_string();
        Partition {
            number: partition.number,
            start: partition.bytes.start,
            size: partition.bytes.len(),
            type_name: (words != number).then_some(words),
            kind: number,
            name: partition.name.clone(),
            mapped_bytes: mapped.as_ref().map(|mapped| mapped.bytes_in(partition.bytes)),
        }
    });
    Some(Table {
        scheme: match table.scheme {
            Scheme::Gpt => "gpt",
            Scheme::Mbr => "mbr",
        },
        sector_size: table.sector_size,
        complete: matches!(partitions, Partitions::Table(_)),
        partitions: partitions_of.collect(),
    })
}

fn error(problem: &Problem) -> Error {
    Error { code: problem.into(), message: json::text(&in_one_line(problem)) }
}
