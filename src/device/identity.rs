//! The name and serial number of a disk, for people, to tell one from another.

use std::fs;

use super::topology::{Device, SECTOR};
use crate::visible::visible;

/// What a whole disk is. Texts come from the device, which may be hostile; characters that could deceive are replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The vendor and the model, as in `SanDisk Ultra`.
    pub model: Option<String>,
    /// The serial number.
    pub serial: Option<String>,
    /// The size in bytes.
    pub size: Option<u64>,
    /// The size of a logical sector in bytes.
    pub sector_size: Option<u32>,
    /// Whether it can be taken out: according to the kernel, or because it is an SD card, which the kernel calls fixed.
    pub removable: Option<bool>,
}

impl Identity {
    /// What sysfs tells about `disk`; what it does not tell is left out.
    pub(crate) fn of(disk: &Device) -> Self {
        let told =
            |name| disk.attribute(name).ok().flatten().map(|text| visible(&text, &[])).filter(|text| !text.is_empty());
        // virtio has a number instead of a name; libata has the same word for all.
        let vendor = told("device/vendor").filter(|vendor| !vendor.starts_with("0x") && vendor != "ATA");
        let model = told("device/model").or_else(|| told("device/name"));
        let is_card = || told("device/type").as_deref() == Some("SD");
        Self {
            model: vendor.into_iter().chain(model).reduce(|vendor, model| format!("{vendor} {model}")),
            // virtio; NVMe and cards; USB; SCSI.
            serial: told("serial")
                .or_else(|| told("device/serial"))
                .or_else(|| usb_serial(disk))
                .or_else(|| scsi_serial(disk)),
            size: told("size").and_then(|sectors| sectors.parse::<u64>().ok()?.checked_mul(SECTOR)),
            sector_size: told("queue/logical_block_size").and_then(|bytes| bytes.parse().ok()),
            removable: told("removable").map(|removable| removable == "1" || is_card()),
        }
    }
}

/// The serial number of the USB device that `disk` is a part of.
fn usb_serial(disk: &Device) -> Option<String> {
    let device = disk.directory.ancestors().find(|directory| directory.join("idVendor").exists())?;
    text_of(&fs::read(device.join("serial")).ok()?)
}

/// The serial number in page 80h of the vital product data, after a header of 4 bytes (SPC-4, 7.8.14).
fn scsi_serial(disk: &Device) -> Option<String> {
    text_of(fs::read(disk.file("device/vpd_pg80")).ok()?.get(4..)?)
}

fn text_of(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    Some(visible(text.trim_matches(|c: char| c.is_whitespace() || c == '\0'), &[])).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Tree;
    use super::*;

    /// The identity of a disk with these attributes.
    fn identity(attributes: &[(&str, &str)]) -> Identity {
        let tree = Tree::new();
        for (name, text) in attributes {
            tree.write(&format!("usb/sda/{name}"), text);
        }
        Identity::of(&tree.disk())
    }

    #[test]
    fn a_usb_stick_has_the_serial_number_of_its_usb_device() {
        let tree = Tree::new();
        tree.write("usb/idVendor", "0781\n");
        tree.write("usb/serial", "4C530001\n");
        for (name, text) in [
            ("device/vendor", "SanDisk \n"),
            ("device/model", "Ultra           \n"),
            ("device/vpd_pg80", "\0\u{0}\0\u{4}wwww"),
            ("size", "2000\n"),
            ("queue/logical_block_size", "512\n"),
            ("removable", "1\n"),
        ] {
            tree.write(&format!("usb/sda/{name}"), text);
        }
        let expected = Identity {
            model: Some("SanDisk Ultra".into()),
            serial: Some("4C530001".into()),
            size: Some(1_024_000),
            sector_size: Some(512),
            removable: Some(true),
        };
        assert_eq!(Identity::of(&tree.disk()), expected);
    }

    #[test]
    fn each_kind_of_disk_names_itself_in_its_own_way() {
        let card = [("device/name", "SC16G\n"), ("device/serial", "0x1234\n"), ("device/type", "SD\n")];
        let ata = [
            ("device/vendor", "ATA     \n"),
            ("device/model", "A disk\n"),
            ("device/vpd_pg80", "\0\0\0\u{8}  AB12\0\n"),
        ];
        let virtio = [("device/vendor", "0x1af4\n"), ("serial", "root-disk\n")];
        let cases: [(&[(&str, &str)], _, _); 4] = [
            (&card, Some("SC16G"), Some("0x1234")),
            (&ata, Some("A disk"), Some("AB12")),
            (&virtio, None, Some("root-disk")),
            (&[], None, None),
        ];
        for (attributes, model, serial) in cases {
            let identity = identity(attributes);
            assert_eq!((identity.model.as_deref(), identity.serial.as_deref()), (model, serial));
        }
        assert_eq!(identity(&[]), Identity::default());
    }

    #[test]
    fn of_what_the_mmc_driver_calls_fixed_a_card_can_be_taken_out() {
        for (kind, removable) in [("MMC", false), ("0", false), ("SD", true)] {
            assert_eq!(identity(&[("removable", "0\n"), ("device/type", kind)]).removable, Some(removable), "{kind}");
        }
    }

    #[test]
    fn a_hostile_name_can_neither_move_the_cursor_nor_hide_text() {
        let model = identity(&[("device/model", "a\u{1b}[2Jb\u{202e}c\u{200b}d\u{2066}\u{e0041}é\n")]).model;
        assert_eq!(model.as_deref(), Some("a\u{fffd}[2Jb\u{fffd}c\u{fffd}d\u{fffd}\u{fffd}é"));
    }
}
