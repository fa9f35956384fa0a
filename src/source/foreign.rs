//! What is no disk image, told by its first bytes. It matters where there is no bmap, whose checksums would tell.

use std::fmt;

use crate::magic::starts_with;

/// What a file is that cannot be a disk image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// Packed in a way that is not unpacked here.
    Packed(&'static str),
    /// An image in a format of its own.
    Image(&'static str),
    /// What servers send in place of a file that they do not have.
    Page,
    /// Such as a bmap.
    Xml,
    /// A clearsigned text, such as a bmap.
    Signed,
}

/// What they begin with: a byte `?` may be any.
const MAGICS: [(Foreign, &[u8]); 9] = [
    (Foreign::Packed("lzip"), b"LZIP\x01"),
    // Properties, dictionary, and a size that is unknown, as xz and lzma write it.
    (Foreign::Packed("lzma"), b"\x5d\0\0??\xff\xff\xff\xff\xff\xff\xff\xff"),
    (Foreign::Packed("compress"), b"\x1f\x9d"),
    (Foreign::Packed("7-Zip"), b"7z\xbc\xaf\x27\x1c"),
    (Foreign::Packed("RAR"), b"Rar!\x1a\x07"),
    (Foreign::Image("QCOW"), b"QFI\xfb"),
    (Foreign::Image("VMDK"), b"KDMV"),
    (Foreign::Image("VHDX"), b"vhdxfile"),
    (Foreign::Image("Android sparse"), b"\x3a\xff\x26\xed"),
];

impl Foreign {
    /// What begins with `head`; `None` where it may be an image.
    pub fn of(head: &[u8]) -> Option<Self> {
        if let Some((foreign, _)) = MAGICS.iter().find(|(_, magic)| starts_with(head, magic)) {
            return Some(*foreign);
        }
        let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
        let begins = |tag: &[u8]| text.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag));
        match () {
            () if begins(b"<!doctype html") || begins(b"<html") => Some(Self::Page),
            () if begins(b"<?xml") => Some(Self::Xml),
            () if begins(b"-----BEGIN PGP SIGNED MESSAGE-----") => Some(Self::Signed),
            () => None,
        }
    }
}

/// What it is and what helps, as in `packed with lzip, which …`.
impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packed(how) => write!(f, "packed with {how}, which is not unpacked here: unpack it first"),
            Self::Image(format) => write!(f, "an image in the format {format}: convert it to a raw one first"),
            Self::Page => f.write_str("an HTML page, as a server sends it in place of a file"),
            Self::Xml => f.write_str("an XML file, such as a bmap"),
            Self::Signed => f.write_str("a signed text, such as a bmap"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_image_is_told_by_its_start() {
        let cases: [(&[u8], Option<Foreign>); 10] = [
            (b"LZIP\x01\x0c", Some(Foreign::Packed("lzip"))),
            (b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\0", Some(Foreign::Packed("lzma"))),
            (b"QFI\xfb\0\0\0\x03", Some(Foreign::Image("QCOW"))),
            (b"\n<!DOCTYPE HTML>", Some(Foreign::Page)),
            (b"<html lang=en>", Some(Foreign::Page)),
            (b"\xef\xbb\xbf<?xml version", Some(Foreign::Xml)),
            (b"-----BEGIN PGP SIGNED MESSAGE-----\nHash", Some(Foreign::Signed)),
            (b"\xeb\x58\x90mkfs.fat", None),
            (b"<", None),
            (b"", None),
        ];
        for (head, foreign) in cases {
            assert_eq!(Foreign::of(head), foreign, "{head:?}");
        }
    }
}
