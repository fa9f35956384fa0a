//! What a file is, by its first bytes: compressed or an archive, something else that is not a disk image, or an image.

use std::fmt;
use std::ops::Range;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Compressed, or an archive.
    Encoded(Format),
    /// Something that cannot be a disk image. It matters where there is no bmap, whose checksums would tell.
    NotAnImage(NotAnImage),
    /// It may be a disk image.
    Raw,
}

impl Kind {
    /// Whether the ending of a file's `name` says that it is this.
    pub fn is_said_by(self, name: &str) -> bool {
        match self {
            Self::Encoded(format) => Format::of_name(name) == Some(format),
            Self::NotAnImage(what) => FOREIGN.iter().any(|known| known.what == what && has_ending(name, known.endings)),
            Self::Raw => false,
        }
    }
}

/// What a file is that begins with `head`, its first [`HEAD_LEN`] bytes or as many as there are.
pub fn detect(head: &[u8]) -> Kind {
    match (Format::of(head), NotAnImage::of(head)) {
        (Some(format), _) => Kind::Encoded(format),
        (None, Some(what)) => Kind::NotAnImage(what),
        (None, None) => Kind::Raw,
    }
}

/// A compressed format, or an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// gzip, RFC 1952.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz, the .xz file format 1.2.
    Xz,
    /// LZMA_Alone, as lzma-file-format.txt of XZ Utils describes it.
    Lzma,
    /// Zstandard, RFC 8878.
    Zstd,
    /// LZ4, frame format 1.6 or the legacy frame.
    Lz4,
    /// lzop.
    Lzop,
    /// zip, PKWARE's APPNOTE.
    Zip,
    /// tar, POSIX.1-1988 ustar and its successors.
    Tar,
}

/// How many bytes it takes to tell what a file is.
pub const HEAD_LEN: usize = 512;

/// How a format is recognised.
struct Signature {
    format: Format,
    name: &'static str,
    /// What a file begins with, in which `?` stands for any byte.
    magics: &'static [&'static [u8]],
    /// The endings of file names, without their dot.
    endings: &'static [&'static str],
}

/// All that is known about the formats; the first that fits is it.
const SIGNATURES: [Signature; 9] = [
    Signature { format: Format::Gzip, name: "gzip", magics: &[b"\x1f\x8b\x08"], endings: &["gz", "gzip", "tgz"] },
    Signature {
        format: Format::Bzip2,
        name: "bzip2",
        // After the digit for the level: the magic of a block, or of the end of a stream without any.
        magics: &[b"BZh?1AY&SY", b"BZh?\x17\x72\x45\x38\x50\x90"],
        endings: &["bz2", "tbz", "tbz2"],
    },
    Signature { format: Format::Xz, name: "xz", magics: &[b"\xfd7zXZ\0"], endings: &["xz", "txz"] },
    Signature {
        format: Format::Lzma,
        name: "lzma",
        magics: &[], // Only its header tells.
        endings: &["lzma"],
    },
    Signature { format: Format::Zstd, name: "zstd", magics: &[b"\x28\xb5\x2f\xfd"], endings: &["zst", "zstd", "tzst"] },
    Signature {
        format: Format::Lz4,
        name: "lz4",
        magics: &[b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18"],
        endings: &["lz4", "tlz4"],
    },
    Signature { format: Format::Lzop, name: "lzop", magics: &[b"\x89LZO\0\r\n\x1a\n"], endings: &["lzo", "tzo"] },
    Signature { format: Format::Zip, name: "zip", magics: &[b"PK\x03\x04", b"PK\x05\x06"], endings: &["zip"] },
    Signature {
        format: Format::Tar,
        name: "tar",
        magics: &[], // Old ones have none: it is the checksum of the first header that tells.
        endings: &["tar"],
    },
];

/// The skippable frames of Zstandard and LZ4: the low four bits of the first byte are free. pzstd puts one before each
/// of its frames.
const SKIPPABLE: &[u8] = b"\x2a\x4d\x18";

impl Format {
    /// The format of a file that begins with `head`, of which the first [`HEAD_LEN`] bytes count; `None` where it is
    /// stored as it is.
    pub fn of(head: &[u8]) -> Option<Self> {
        let head = head.get(..HEAD_LEN).unwrap_or(head);
        Self::by_signature(head).or_else(|| {
            let mut rest = after_skippable(head)?;
            while let Some(next) = after_skippable(rest) {
                rest = next;
            }
            Some(if Self::by_signature(rest) == Some(Self::Lz4) { Self::Lz4 } else { Self::Zstd })
        })
    }

    fn by_signature(head: &[u8]) -> Option<Self> {
        let fits = |signature: &Signature| match signature.format {
            Self::Tar => has_tar_checksum(head),
            Self::Lzma => has_lzma_header(head),
            _ => signature.magics.iter().any(|magic| starts_with(head, magic)),
        };
        SIGNATURES.iter().find(|&signature| fits(signature)).map(|signature| signature.format)
    }

    /// The format that the ending of a file name says; `None` where it says none.
    pub fn of_name(name: &str) -> Option<Self> {
        let signature = SIGNATURES.iter().find(|signature| has_ending(name, signature.endings))?;
        Some(signature.format)
    }
}

/// The format's name, as in `gzip`.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = SIGNATURES.iter().find(|signature| signature.format == *self).map_or("", |signature| signature.name);
        f.write_str(name)
    }
}

/// What a file is that cannot be a disk image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAnImage {
    /// Compressed in a way that is not decompressed here.
    Compressed(&'static str),
    /// The first of the files into which a zip is split.
    PartOfZip,
    /// An image in a format of its own.
    Image(&'static str),
    /// An HTML page, which servers send for missing files.
    Page,
    /// A JSON text, which servers send for missing files.
    Json,
    /// Such as a bmap.
    Xml,
    /// A clearsigned text, such as a bmap.
    Signed,
    /// What Git LFS keeps in place of a large file that has not been fetched.
    Pointer,
}

/// How something is recognised that is no disk image.
struct Foreign {
    what: NotAnImage,
    /// What it begins with.
    magic: &'static [u8],
    /// The endings of file names, without their dot.
    endings: &'static [&'static str],
}

const fn compressed(name: &'static str, magic: &'static [u8], endings: &'static [&'static str]) -> Foreign {
    Foreign { what: NotAnImage::Compressed(name), magic, endings }
}

const fn image(format: &'static str, magic: &'static [u8], endings: &'static [&'static str]) -> Foreign {
    Foreign { what: NotAnImage::Image(format), magic, endings }
}

const FOREIGN: [Foreign; 13] = [
    compressed("lzip", b"LZIP\x01", &["lz"]),
    compressed("compress", b"\x1f\x9d", &["z"]),
    compressed("7-Zip", b"7z\xbc\xaf\x27\x1c", &["7z"]),
    compressed("RAR", b"Rar!\x1a\x07", &["rar"]),
    // APPNOTE.TXT, 8.5.4: the signature of a data descriptor, which otherwise never comes first.
    Foreign { what: NotAnImage::PartOfZip, magic: b"PK\x07\x08PK\x03\x04", endings: &["z01"] },
    image("QCOW", b"QFI\xfb", &["qcow", "qcow2"]),
    image("VMDK", b"KDMV", &["vmdk"]),
    image("VMDK", b"# Disk DescriptorFile", &["vmdk"]),
    // One of fixed size is an image, with a footer.
    image("VHD", b"conectix", &["vhd"]),
    image("VHDX", b"vhdxfile", &["vhdx"]),
    // `<<< Oracle VM VirtualBox Disk Image >>>`, `<<< QEMU VM Virtual Disk Image >>>`.
    image("VDI", b"<<< ", &["vdi"]),
    image("Android sparse", b"\x3a\xff\x26\xed", &["simg"]),
    Foreign { what: NotAnImage::Pointer, magic: b"version https://git-lfs.github.com/spec/", endings: &[] },
];

impl NotAnImage {
    /// What begins with `head`; `None` where it may be an image.
    pub fn of(head: &[u8]) -> Option<Self> {
        if let Some(known) = FOREIGN.iter().find(|known| head.starts_with(known.magic)) {
            return Some(known.what);
        }
        let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
        let begins = |tag: &[u8]| text.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag));
        match () {
            () if begins(b"<!doctype html") || begins(b"<html") => Some(Self::Page),
            () if begins(b"<?xml") => Some(if has_html(text) { Self::Page } else { Self::Xml }),
            () if is_json(text) => Some(Self::Json),
            () if begins(b"-----BEGIN PGP SIGNED MESSAGE-----") => Some(Self::Signed),
            () => None,
        }
    }
}

/// What it is, as in `an XML file, such as a bmap`.
impl fmt::Display for NotAnImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compressed(how) => write!(f, "compressed with {how}, which is not supported"),
            Self::PartOfZip => f.write_str("the first part of a split zip"),
            Self::Image(format) => write!(f, "an image in the format {format}"),
            Self::Page => f.write_str("an HTML page, as a server sends it for a missing file"),
            Self::Json => f.write_str("a JSON text, as a server sends it for a missing file"),
            Self::Xml => f.write_str("an XML file, such as a bmap"),
            Self::Signed => f.write_str("a signed text, such as a bmap"),
            Self::Pointer => f.write_str("a pointer of Git LFS, whose file has not been fetched"),
        }
    }
}

/// Whether an XML text says that it is XHTML.
fn has_html(text: &[u8]) -> bool {
    const DOCTYPE: &[u8] = b"<!doctype html";
    text.windows(DOCTYPE.len()).any(|window| window.eq_ignore_ascii_case(DOCTYPE))
}

/// Whether `text` begins like a JSON object or a list of such (RFC 8259). Two signs are no proof, so that the first
/// bytes must be text, too.
fn is_json(text: &[u8]) -> bool {
    const LOOK: usize = 16;
    let object = text.strip_prefix(b"[").map_or(text, <[u8]>::trim_ascii_start);
    let begins =
        object.strip_prefix(b"{").is_some_and(|rest| matches!(rest.trim_ascii_start().first(), Some(b'"' | b'}')));
    begins && text.iter().take(LOOK).all(|&byte| byte >= b' ' || byte.is_ascii_whitespace())
}

/// What follows the skippable frame that `head` begins with, as far as it is there.
fn after_skippable(head: &[u8]) -> Option<&[u8]> {
    let (magic, rest) = head.split_first_chunk::<4>()?;
    if !matches!(magic, [0x50..=0x5f, rest @ ..] if rest == SKIPPABLE) {
        return None;
    }
    let length = rest.first_chunk().and_then(|&length| usize::try_from(u32::from_le_bytes(length)).ok());
    Some(length.and_then(|length| rest.get(4..)?.get(length..)).unwrap_or_default())
}

/// Whether `block`, of 512 bytes, has the checksum of a tar's header: the sum of its bytes, those of the checksum
/// itself counted as spaces.
pub(super) fn has_tar_checksum(block: &[u8]) -> bool {
    const CHECKSUM: Range<usize> = 148..156;
    let (Some(block), Some(field)) = (block.get(..512), block.get(CHECKSUM)) else { return false };
    let digits: String = field.iter().map(|&byte| char::from(byte)).take_while(|&char| char != '\0').collect();
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    let computed = sum(block).saturating_add(8 * u32::from(b' ')).checked_sub(sum(field));
    u32::from_str_radix(digits.trim(), 8).ok() == computed
}

/// Whether `head` begins like LZMA_Alone, which has no magic. So only what XZ Utils and LZMA Utils write is taken for it:
/// their default properties; a dictionary of 2^n or 2^n + 2^(n-1) bytes, 4 KiB or more; and a size that is unknown or
/// plausible, by liblzma's own measure. The zero after the header is the first byte of every range coder.
fn has_lzma_header(head: &[u8]) -> bool {
    const SIZE_MAX: u64 = 1 << 38;
    let Some(([0x5d, dictionary @ ..], rest)) = head.split_first_chunk::<5>() else { return false };
    let Some((&size, [0, ..])) = rest.split_first_chunk() else { return false };
    let (dictionary, size) = (u32::from_le_bytes(*dictionary), u64::from_le_bytes(size));
    let is_usual = dictionary.is_power_of_two() || dictionary % 3 == 0 && (dictionary / 3).is_power_of_two();
    dictionary >= 4096 && is_usual && (size == u64::MAX || (1..=SIZE_MAX).contains(&size))
}

/// Whether `start`, of which the last character may be cut, is text: without control characters, but for white space.
/// Zeroes are such characters, and no disk image is without them.
pub(super) fn is_text(start: &[u8]) -> bool {
    let is_control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    let is_utf_8 = std::str::from_utf8(start).map_or_else(|error| error.error_len().is_none(), |_| true);
    is_utf_8 && !start.iter().any(is_control)
}

/// Whether `name` ends in a dot and one of `endings`, which are in lower case.
pub(super) fn has_ending(name: &str, endings: &[&str]) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    ending.is_some_and(|ending| endings.contains(&ending.as_str()))
}

/// Whether `data` begins with `magic`, in which `?` stands for any byte.
fn starts_with(data: &[u8], magic: &[u8]) -> bool {
    data.len() >= magic.len() && data.iter().zip(magic).all(|(&byte, &wanted)| wanted == b'?' || byte == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_their_first_bytes() {
        let cases: [(&[u8], Option<Format>); 12] = [
            (b"\x1f\x8b\x08\0", Some(Format::Gzip)),
            (b"\x1f\x8b", None),
            (b"BZh91AY&SY", Some(Format::Bzip2)),
            (b"BZh9 is a text", None),
            (b"\x28\xb5\x2f\xfd", Some(Format::Zstd)),
            (b"\x5d\x2a\x4d\x18rest", Some(Format::Zstd)),
            (b"\x50\x2a\x4d\x18\x01\0\0\0x\x04\x22\x4d\x18", Some(Format::Lz4)),
            (b"\x50\x2a\x4d\x18\x01\0\0\0x\x28\xb5\x2f\xfd", Some(Format::Zstd)),
            (b"\x04\x22\x4d\x18", Some(Format::Lz4)),
            (b"PK\x03\x04", Some(Format::Zip)),
            (b"PK\x07\x08PK\x03\x04", None),
            (b"", None),
        ];
        for (head, format) in cases {
            assert_eq!(Format::of(head), format, "{head:?}");
        }
        let mut tar = [0; HEAD_LEN];
        assert_eq!(Format::of(&tar), None);
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(Format::of(&tar), None);
        tar[148..156].copy_from_slice(b"001457\0 ");
        assert_eq!(Format::of(&tar), Some(Format::Tar));
        let mut old = [0; HEAD_LEN];
        old[0] = b'a';
        old[148..156].copy_from_slice(b"000541\0 ");
        assert_eq!(Format::of(&old), Some(Format::Tar));
    }

    #[test]
    fn lzma_is_told_by_all_of_its_header() {
        let header = |properties: u8, dictionary: u32, size: u64, first: u8| {
            let fields = [&[properties][..], &dictionary.to_le_bytes(), &size.to_le_bytes(), &[first]].concat();
            Format::of(&fields) == Some(Format::Lzma)
        };
        for (dictionary, size) in [(1 << 23, u64::MAX), (1 << 16, 1), (3 << 20, 1 << 38), (4096, 12345)] {
            assert!(header(0x5d, dictionary, size, 0), "{dictionary} {size}");
        }
        assert!(!header(0x5c, 1 << 23, u64::MAX, 0));
        assert!(!header(0x5d, 1 << 23, u64::MAX, 1));
        for (dictionary, size) in [(0, 1), (2048, 1), (5 << 20, 1), (1 << 23, 0), (1 << 23, (1 << 38) + 1)] {
            assert!(!header(0x5d, dictionary, size, 0), "{dictionary} {size}");
        }
        assert_eq!(Format::of(b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff"), None);
    }

    #[test]
    fn formats_by_name() {
        assert_eq!(Format::of_name("disk.img.GZ"), Some(Format::Gzip));
        assert_eq!(Format::of_name("disk.txz"), Some(Format::Xz));
        assert_eq!(Format::of_name("disk.img"), None);
        assert_eq!(Format::of_name("gz"), None);
        assert!(Kind::Encoded(Format::Xz).is_said_by("a/disk.img.XZ"));
        assert!(!Kind::Encoded(Format::Xz).is_said_by("disk.img.gz"));
        assert!(Kind::NotAnImage(NotAnImage::Compressed("7-Zip")).is_said_by("disk.7z"));
        assert!(!Kind::NotAnImage(NotAnImage::Page).is_said_by("disk.html"));
    }

    #[test]
    fn text_is_told_from_the_start_of_an_image() {
        for text in [&b"# README\r\n\tIt's\n"[..], b"caf\xc3\xa9", b"cut caf\xc3"] {
            assert!(is_text(text), "{text:?}");
        }
        for data in [&b"\0\0"[..], b"UBI#\x01\0\0\0", b"caf\xe9 ", &[0xff; 512], b"a\x7f"] {
            assert!(!is_text(data), "{data:?}");
        }
    }

    #[test]
    fn what_is_no_image_is_told_by_its_start() {
        let cases: [(&[u8], Option<NotAnImage>); 14] = [
            (b"LZIP\x01\x0c", Some(NotAnImage::Compressed("lzip"))),
            (b"PK\x07\x08PK\x03\x04\x14\0", Some(NotAnImage::PartOfZip)),
            (b"version https://git-lfs.github.com/spec/v1\noid ", Some(NotAnImage::Pointer)),
            (b"QFI\xfb\0\0\0\x03", Some(NotAnImage::Image("QCOW"))),
            (b"# Disk DescriptorFile\nversion=1", Some(NotAnImage::Image("VMDK"))),
            (b"conectix\0\0\0\x02", Some(NotAnImage::Image("VHD"))),
            (b"<<< Oracle VM VirtualBox Disk Image >>>\n", Some(NotAnImage::Image("VDI"))),
            (b"\n<!DOCTYPE HTML>", Some(NotAnImage::Page)),
            (b"<html lang=en>", Some(NotAnImage::Page)),
            (b"\xef\xbb\xbf<?xml version", Some(NotAnImage::Xml)),
            (b"-----BEGIN PGP SIGNED MESSAGE-----\nHash", Some(NotAnImage::Signed)),
            (b"\xeb\x58\x90mkfs.fat", None),
            (b"<", None),
            (b"", None),
        ];
        for (head, foreign) in cases {
            assert_eq!(NotAnImage::of(head), foreign, "{head:?}");
        }
    }

    #[test]
    fn pages_and_json_of_servers_are_told_from_images() {
        let cases: [(&[u8], Option<NotAnImage>); 9] = [
            (b"<?xml version=\"1.0\"?>\n<!DOCTYPE html PUBLIC \"x\">", Some(NotAnImage::Page)),
            (b"{\"error\":\"not found\"}", Some(NotAnImage::Json)),
            (b"\r\n{\n  \"errors\" : [ {", Some(NotAnImage::Json)),
            (b"[ {\"status\": 404}]", Some(NotAnImage::Json)),
            (b"{}", Some(NotAnImage::Json)),
            (b"{\"\0\0\0", None),
            (b"{x", None),
            (b"[section]", None),
            (b"{", None),
        ];
        for (head, what) in cases {
            assert_eq!(NotAnImage::of(head), what, "{head:?}");
        }
    }
}
