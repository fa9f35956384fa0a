//! What programs read: JSON objects, a line each, as docs/json.md describes them.

mod code;

use std::path::Path;

pub use code::Code;

use bmaptool::device::DeviceInfo;
use bmaptool::visible::visible;
use serde::Serialize;

/// `object` in a line. Characters that could deceive who sees it on a terminal are escaped, which changes no string.
pub fn line(object: &impl Serialize) -> String {
    // It fails only where a type of ours has keys that are no strings.
    let text = serde_json::to_string(object).expect("our objects can be serialized");
    let mut line = String::with_capacity(text.len() + 1);
    let mut units = [0; 2];
    for character in text.chars() {
        if visible(character.encode_utf8(&mut [0; 4]), &[]).contains(character) {
            line.push(character);
        } else {
            line.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    line + "\n"
}

/// A path as far as it is UTF-8.
pub fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A device, in all objects.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_deceive_is_escaped_and_no_string_changes() {
        let text = "a\u{1b}\n\u{9b}\u{202e}\u{e0041}é→💾\"\\";
        let line = line(&text);
        assert_eq!(line, "\"a\\u001b\\n\\u009b\\u202e\\udb40\\udc41é→💾\\\"\\\\\"\n");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
    }
}
