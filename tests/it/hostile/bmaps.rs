//! Bmaps.

use std::fs::{self, File};

use super::{MIB, SIZE, TIME, Victim, bmap};
use crate::common::text;
use crate::common::tool::copy;
use crate::common::work::gzip;

#[test(TIME)]
fn bmaps_that_are_bombs_are_refused() {
    let victim = Victim::new();
    // A gibibyte of white space, a megabyte when compressed; every member of the file is 1 MiB of it.
    let spaces = gzip(&vec![b' '; MIB as usize]);
    let compressed = victim.repeated("compressed", &gzip(b"<bmap version=\"2.0\">"), &spaces, 1024, b"");
    victim.refuses_bmap(&compressed, &["over 256.0 MiB, too many for a bmap"]);
    let large = victim.path("large");
    File::create(&large).unwrap().set_len(257 * MIB).unwrap();
    victim.refuses_bmap(&large, &["over 256.0 MiB, too many for a bmap"]);

    // Nothing but frames to skip.
    let skippable = victim.repeated("skippable", b"", b"\x50\x2a\x4d\x18\0\0\0\0", 200_000, b"");
    victim.refuses_bmap(&skippable, &["not a bmap: the file is empty"]);

    let deep = victim.repeated("deep", b"<bmap version=\"2.0\">", b"<a>", 1_000_000, b"");
    victim.refuses_bmap(&deep, &["elements that are nested too deeply"]);
    let entities = "<!DOCTYPE bmap [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;'>]><bmap version=\"2.0\">&b;</bmap>";
    victim.refuses_bmap(&victim.file("xml", &[entities.as_bytes()]), &["no document type declaration"]);
    let external = "<!DOCTYPE bmap SYSTEM 'file:///etc/passwd'><bmap version=\"2.0\"/>";
    victim.refuses_bmap(&victim.file("xml", &[external.as_bytes()]), &["no document type declaration"]);
    let undeclared = bmap(8192, 4096, 2, 2, "").replace("8192", "&size;");
    victim.refuses_bmap(&victim.file("xml", &[undeclared.as_bytes()]), &["'ImageSize' must hold text only"]);

    // What is merely large is read, or refused, without more memory than a few times its size.
    let size = 16 << 20;
    for (name, head, tail, reason) in [
        ("attribute", "<bmap version=\"2.0\" x=\"", "\"/>", "element 'ImageSize' is missing"),
        ("version", "<bmap version=\"", "\"/>", "the version of the bmap format is missing"),
        ("name", "<bmap version=\"2.0\"><a", "/></bmap>", "element 'ImageSize' is missing"),
        ("root", "<a", "/>", "the root element is 'a9999"),
        ("comment", "<bmap version=\"2.0\"><!--", "--></bmap>", "element 'ImageSize' is missing"),
        ("number", "<bmap version=\"2.0\"><ImageSize>", "</ImageSize></bmap>", "'9999999999"),
    ] {
        let path = victim.repeated(name, head.as_bytes(), b"9", size, tail.as_bytes());
        let outcome = victim.refuses_bmap(&path, &[reason]);
        assert!(outcome.memory() < 5 * size as u64, "{name}: {} MiB", outcome.memory() / MIB);
        assert!(outcome.stderr.len() < 1000, "{}", outcome.stderr);
    }
    let attributes: String = (0..100_000).map(|number| format!(" a{number}=''")).collect();
    let path = victim.file("attributes", &[b"<bmap version=\"2.0\"", attributes.as_bytes(), b"/>"]);
    victim.refuses_bmap(&path, &["element 'ImageSize' is missing"]);
}

#[test(TIME)]
fn bmaps_with_extreme_numbers_are_refused() {
    const MAX: u64 = u64::MAX;
    let victim = Victim::new();
    let refused =
        |text: &str, reason: &str| drop(victim.refuses_bmap(&victim.file("xml", &[text.as_bytes()]), &[reason]));
    let other_size = "'image' has 8192 bytes, but the bmap is for an image of ";
    let other_size = other_size.replace("'image'", &format!("'{}'", victim.path("image").display()));
    for size in [1 << 63, MAX, 10_u64.pow(18)] {
        refused(&bmap(size, 4096, size.div_ceil(4096), 1, "<Range>0</Range>"), &format!("{other_size}{size} bytes"));
    }
    refused(&bmap(MAX, 1, MAX, 1, &format!("<Range>{}</Range>", MAX - 1)), &other_size);
    refused(&bmap(MAX, 1, MAX, MAX, &format!("<Range>0-{}</Range>", MAX - 1)), &other_size);
    refused(&bmap(MAX, 1, MAX, 1, &format!("<Range>{MAX}</Range>")), "is not a range of blocks");
    refused(&bmap(MAX, 1, MAX, MAX, &format!("<Range>0-{}</Range>", MAX - 2).repeat(2)), "overlaps");
    refused(&bmap(8192, 1, 8192, 3, "<Range>0-1</Range><Range>1-2</Range>"), "range 1-2 overlaps range 0-1");
    refused(&bmap(8192, 1 << 40, 2, 1, "<Range>0</Range>"), "has 1 blocks of 1099511627776 bytes");
    for too_large in ["18446744073709551616", "99999999999999999999999", "0x2000", "1e3", "+8192", "8_192", "８１９２"]
    {
        refused(&bmap(7, 1, 7, 0, "").replace(">7</I", &format!(">{too_large}</I")), "is not a decimal number");
    }
    for block_size in [1, 3, 1 << 40, MAX] {
        let blocks = 8192_u64.div_ceil(block_size);
        let path = victim.file("xml", &[bmap(8192, block_size, blocks, 1, "<Range>0</Range>").as_bytes()]);
        let image = victim.file("image", &[&[7; SIZE]]);
        copy(["--bmap", text(&path), text(&image), text(&victim.path("copied"))]).ok();
        let copied = fs::read(victim.path("copied")).unwrap();
        let mapped = copied.iter().take_while(|&&byte| byte == 7).count() as u64;
        assert_eq!((copied.len(), mapped), (SIZE, block_size.min(8192)), "blocks of {block_size}");
    }
}
