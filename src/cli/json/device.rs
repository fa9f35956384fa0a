//! A device, in all objects.

use bmaptool::device::DeviceInfo;
use serde::Serialize;

use super::path;

#[derive(Serialize)]
pub struct Device {
    path: String,
    partition_of: Option<String>,
    by_id: Option<String>,
    size: Option<u64>,
    sector_size: Option<u32>,
    model: Option<String>,
    serial: Option<String>,
    removable: Option<bool>,
    read_only: bool,
    usage: Usage,
}

/// What a device is used for.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Usage {
    Free,
    Mounted { mounts: Vec<Mount> },
    Swap { devices: Vec<String> },
    Held { holders: Vec<String> },
}

#[derive(Serialize)]
struct Mount {
    device: String,
    point: String,
}

impl Device {
    pub fn of(device: &DeviceInfo) -> Self {
        let identity = &device.identity;
        Self {
            path: path(&device.path),
            partition_of: device.partition_of.as_deref().map(path),
            by_id: device.by_id.clone(),
            size: device.size,
            sector_size: identity.sector_size,
            model: identity.model.clone(),
            serial: identity.serial.clone(),
            removable: identity.removable,
            read_only: device.read_only,
            usage: Usage::of(device.usage.as_ref()),
        }
    }
}

impl Usage {
    fn of(usage: Option<&bmaptool::device::Usage>) -> Self {
        use bmaptool::device::Usage as Used;

        match usage {
            None => Self::Free,
            Some(Used::Mounted(mounts)) => Self::Mounted {
                mounts: mounts
                    .iter()
                    .map(|(device, point)| Mount { device: path(device), point: path(point) })
                    .collect(),
            },
            Some(Used::Swap(devices)) => Self::Swap { devices: devices.iter().map(|device| path(device)).collect() },
            Some(Used::Held(holders)) => Self::Held { holders: holders.iter().map(ToString::to_string).collect() },
        }
    }
}
