//! `bmaptool list`.

use std::sync::Arc;

use bmaptool::device::{DeviceInfo, Disks, Usage, disks};
use bmaptool::size::human;
use serde::Serialize;

use super::args::List;
use super::columns::{Align, Page, WIDTH, cut};
use super::error::Error;
use super::hint::LIST_ALL;
use super::json::{self, Device};
use super::output;
use super::process::Signals;
use super::report::{Readers, Report};

/// The columns that a model gets at most, so that there is room for what the device is used for.
const MODEL: usize = 24;

#[derive(Serialize)]
#[serde(tag = "type", rename = "list")]
struct Devices {
    devices: Vec<Device>,
}

pub fn run(arguments: &List) -> Result<(), Error> {
    // Nothing is written, so that a signal may end the program at any time.
    Signals::handle().map_err(Error::Signals)?;
    let report: Arc<Report> = Report::new(Vec::new(), Readers::default());
    let which = if arguments.all { Disks::All } else { Disks::Removable };
    let disks = disks(which, &*report).map_err(Error::Devices)?;
    if arguments.json {
        return output::answer_json(json::line(&Devices { devices: disks.iter().map(Device::of).collect() }));
    }
    match (disks.is_empty(), which) {
        (false, _) => output::answer(&table(&disks)),
        (true, Disks::Removable) => {
            log::info!("there is no removable device; {LIST_ALL}");
            Ok(())
        }
        (true, Disks::All) => {
            log::info!("there is no disk");
            Ok(())
        }
    }
}

/// A line for each device, below it its name in /dev/disk/by-id.
fn table(disks: &[DeviceInfo]) -> String {
    let mut rows = vec![["DEVICE", "SIZE", "MODEL", "USED FOR"].map(str::to_owned)];
    rows.extend(disks.iter().map(row));
    let mut table = Page::default();
    table.table([Align::Left, Align::Right, Align::Left, Align::Left], &rows);
    let table = table.into_text();
    let mut page = Page::default();
    let names = [None].into_iter().chain(disks.iter().map(|disk| disk.by_id.as_deref()));
    for (line, name) in table.lines().zip(names) {
        page.line(line);
        if let Some(name) = name {
            page.line(&cut(&format!("  by-id/{name}"), WIDTH));
        }
    }
    page.into_text()
}

fn row(disk: &DeviceInfo) -> [String; 4] {
    let model = disk.identity.model.as_deref().unwrap_or("-");
    let size = disk.size.map(human).unwrap_or_default();
    [disk.path.display().to_string(), size, cut(model, MODEL), usage(disk)]
}

/// What a device is used for, in a few words.
pub fn usage(device: &DeviceInfo) -> String {
    let usage = match &device.usage {
        None => "free".to_owned(),
        Some(Usage::Mounted(mounts)) => {
            let points: Vec<_> = mounts.iter().map(|(_, point)| point.display().to_string()).collect();
            format!("mounted on {}", points.join(", "))
        }
        Some(Usage::Swap(_)) => "swap".to_owned(),
        Some(held @ Usage::Held(_)) => held.to_string(),
    };
    if device.read_only { format!("{usage}, read-only") } else { usage }
}

#[cfg(test)]
mod tests {
    use bmaptool::device::Identity;

    use super::*;

    fn disk(path: &str, size: u64, model: Option<&str>, usage: Option<Usage>) -> DeviceInfo {
        DeviceInfo {
            path: path.into(),
            partition_of: None,
            by_id: None,
            size: Some(size),
            read_only: false,
            identity: Identity { model: model.map(str::to_owned), ..Identity::default() },
            usage,
        }
    }

    #[test]
    fn the_table_is_aligned_and_fits_80_columns() {
        let card = DeviceInfo {
            by_id: Some("usb-SanDisk_Ultra_4C53-0:0".into()),
            ..disk("/dev/sdb", 31_914_983_424, Some("SanDisk Ultra"), None)
        };
        let points =
            ["/", "/boot", "/a/directory/with/a/long/name"].map(|point| ("/dev/nvme0n1p1".into(), point.into()));
        let used = disk("/dev/nvme0n1", 1 << 40, Some(&"x".repeat(40)), Some(Usage::Mounted(points.to_vec())));
        let swap = DeviceInfo {
            read_only: true,
            ..disk("/dev/vda", 1 << 20, None, Some(Usage::Swap(vec!["/dev/vda".into()])))
        };
        let expected = format!(
            "\
DEVICE            SIZE  MODEL                     USED FOR
/dev/sdb      29.7 GiB  SanDisk Ultra             free
  by-id/usb-SanDisk_Ultra_4C53-0:0
/dev/nvme0n1   1.0 TiB  {}…  mounted on /, /boot, /a/direc…
/dev/vda       1.0 MiB  -                         swap, read-only
",
            "x".repeat(23)
        );
        assert_eq!(table(&[card, used, swap]), expected);
    }
}
