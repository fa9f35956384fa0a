//! What is read, what is refused, and that nothing gets lost between writing and reading.

use proptest::prelude::*;

use super::super::{Bmap, Checksums, Version};
use super::*;
use crate::digest::{ChecksumKind, Digest};
use crate::range::{BlockRange, BlockSize};

/// A bmap of version 2.0 with elements as given.
fn bmap(elements: &str) -> String {
    format!("<bmap version=\"2.0\">{elements}</bmap>")
}

/// Elements of a map without checksums: 10000 bytes in blocks of 1000, of which `mapped` are in `ranges`.
fn elements(mapped: &str, ranges: &str) -> String {
    format!(
        "<ImageSize>10000</ImageSize><BlockSize>1000</BlockSize><BlocksCount>10</BlocksCount>\
         <MappedBlocksCount>{mapped}</MappedBlocksCount><BlockMap>{ranges}</BlockMap>"
    )
}

fn accept(file: &str) -> Bmap {
    Bmap::parse(file.as_bytes()).unwrap_or_else(|error| panic!("{error}: {file}"))
}

/// The refusal of `file`, and what caused it, in words.
fn refuse(file: &str) -> String {
    use std::error::Error;

    match Bmap::parse(file.as_bytes()) {
        Ok(_) => panic!("accepted: {file}"),
        Err(error) => match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

fn ranges(map: &Bmap) -> String {
    map.ranges().map(|range| range.blocks.to_string()).collect::<Vec<_>>().join(" ")
}

#[test]
fn elements_come_in_any_order_with_any_white_space_and_company() {
    let plain = accept(&bmap(&elements("4", "<Range>0-1</Range><Range> 3 </Range><Range>\n9-9\t</Range>")));
    assert_eq!(ranges(&plain), "0-1 3 9");
    let shuffled = "<?xml version='1.0'?><!-- a -- b --><bmap new='x' version=' 2.7 '>\r\n\
        <BlockMap><Extra><Range>5</Range></Extra><Range more='1'>0-1</Range><!-- x --><Range>3</Range><Range>9</Range>\
        </BlockMap><Future><ImageSize>1</ImageSize></Future><MappedBlocksCount><!-- four -->4</MappedBlocksCount>text\
        <BlocksCount>10</BlocksCount><BlockSize>1000</BlockSize><![CDATA[more of it]]>\
        <ImageSize>10000</ImageSize></bmap>\n<!-- end -->";
    let shuffled = accept(shuffled);
    assert_eq!(ranges(&shuffled), ranges(&plain));
    assert_eq!(shuffled.version(), Version::new(2, 7));
}

#[test]
fn a_map_of_nothing_is_a_map() {
    assert_eq!(accept(&bmap(&elements("0", ""))).mapped_bytes(), 0);
    let empty = "<ImageSize>0</ImageSize><BlockSize>1</BlockSize><BlocksCount>0</BlocksCount>\
                 <MappedBlocksCount>0</MappedBlocksCount><BlockMap/>";
    assert_eq!(accept(&bmap(empty)).image_size(), 0);
}

#[test]
fn what_is_no_bmap_is_refused() {
    let cases = [
        ("", "the file is empty"),
        (" \n", "the file is empty"),
        ("\u{feff}", "there is no element"),
        ("\u{feff}\u{feff}<bmap version=\"2.0\"/>", "text outside the root"),
        (&format!("<bmap version=\"2.0\">{}", "<a>".repeat(1000)), "nested too deeply"),
        ("just text", "not well-formed XML"),
        ("<bmap version=\"2.0\">", "line 1: not well-formed XML"),
        ("<bmap version=\"2.0\"></bmap", "not well-formed XML"),
        ("<bmap version=\"2.0\">\n<a></b></bmap>", "line 2: not well-formed XML"),
        ("<bmap version=\"2.0\"/><bmap/>", "a second root element"),
        ("<bmap version=\"2.0\"/>text", "text outside the root"),
        ("<bmap version=\"2.0\" version=\"2.0\"/>", "not well-formed XML"),
        ("<map version=\"2.0\"/>", "the root element is 'map'"),
        ("<!DOCTYPE html><html><p></html>", "an HTML page"),
        ("<HTML></HTML>", "an HTML page"),
        ("<!DOCTYPE bmap [<!ENTITY a \"b\">]><bmap version=\"2.0\"/>", "no document type declaration"),
        ("<bmap version=\"2.0\"><!DOCTYPE a></bmap>", "no document type declaration"),
        ("<bmap version=\"2.0\"><a><!DOCTYPE a></a></bmap>", "no document type declaration"),
        ("<bmap version=\"2.0\"><?xml version=\"1.0\"?></bmap>", "an XML declaration inside an element"),
        ("<bmap/>", "the version of the bmap format is missing"),
        ("<bmap version=\"2\"/>", "not of the form 2.0"),
        ("<bmap version=\"0.9\"/>", "not of the form 2.0"),
        ("<bmap version=\"-2.0\"/>", "not of the form 2.0"),
        ("<bmap version=\"3.0\"/>", "version 3.0 is not supported, up to 2 is"),
    ];
    for (file, reason) in cases {
        let refusal = refuse(file);
        assert!(refusal.contains(reason), "{file}: {refusal}");
    }
    for file in [&b"<bmap>\xff</bmap>"[..], b"<bmap>\0</bmap>"] {
        assert!(matches!(Bmap::parse(file), Err(ParseError::NotText { offset: 6 })));
    }
}

#[test]
fn missing_and_repeated_elements_are_named() {
    let whole = elements("1", "<Range>5</Range>");
    for element in [IMAGE_SIZE, BLOCK_SIZE, BLOCKS_COUNT, MAPPED_BLOCKS_COUNT, BLOCK_MAP] {
        let start = whole.find(&format!("<{element}>")).unwrap();
        let end = whole.find(&format!("</{element}>")).unwrap() + element.len() + 3;
        let missing = format!("{}{}", &whole[..start], &whole[end..]);
        assert_eq!(refuse(&bmap(&missing)), format!("element '{element}' is missing"));
        let repeated = format!("{whole}\n{}", &whole[start..end]);
        assert_eq!(refuse(&bmap(&repeated)), format!("line 2: element '{element}' is repeated"));
    }
}

#[test]
fn numbers_are_decimal_and_at_most_64_bits() {
    for wrong in ["-1", "+1", "0x10", "1e3", "", " ", "1 0", "1,0", "18446744073709551616", "\u{0661}"] {
        let file = bmap(&elements("1", "<Range>5</Range>").replace("10000", wrong));
        assert!(refuse(&file).contains("in element 'ImageSize' is not a decimal number below 2^64"), "{wrong}");
        let refusal = refuse(&bmap(&elements("1", &format!("<Range>{wrong}</Range>"))));
        assert!(refusal.contains("is not a range of blocks"), "{wrong}: {refusal}");
    }
}

#[test]
fn text_is_put_together_as_in_any_xml() {
    let plain = accept(&bmap(&elements("1", "<Range>5</Range>")));
    for one in ["&#49;", "&#x31;", "<![CDATA[1]]>", "<![CDATA[ ]]>\n<!-- a --><![CDATA[ 1]]>", "<?a b?>1<!-- -->"] {
        let ten_thousand = format!("{one}00<!-- -->0<![CDATA[0]]>");
        let file = bmap(&elements(one, "<Range>5</Range>")).replace("10000", &ten_thousand);
        assert_eq!(accept(&file), plain, "{file}");
    }
    for range in ["&#53;", "<![CDATA[5-5]]>", "5<!-- to -->&#45;&#x35;\n&#32;"] {
        assert_eq!(accept(&bmap(&elements("1", &format!("<Range>{range}</Range>")))), plain, "{range}");
    }
    assert_eq!(accept(&bmap(&elements("1", "<Range>5</Range>")).replace("2.0", "2&#46;&#x30;")), plain);
    assert_eq!(accept(&format!("\u{feff}{}", bmap(&elements("1", "<Range>5</Range>")))), plain);

    let cases = [
        ("1<b/>0", "line 2: element 'MappedBlocksCount' must hold text only"),
        ("&bomb;", "must hold text only"),
        ("&lt;", "must hold text only"),
        ("&#0;", "line 2: not well-formed XML"),
        ("&#x110000;", "not well-formed XML"),
        ("&#49", "not well-formed XML"),
        ("<![CDATA[1", "not well-formed XML"),
        (" <!-- -->\n&#50;&#120;", "line 3: '2x' in element 'MappedBlocksCount' is not a decimal number"),
        ("1\n2&#10;&#x202e;", "line 2: '1\u{fffd}2\u{fffd}\u{fffd}' in element 'MappedBlocksCount'"),
        ("<![CDATA[\n  -1]]>", "line 3: '-1' in element 'MappedBlocksCount'"),
    ];
    for (markup, reason) in cases {
        let file = bmap(&elements(markup, "<Range>5</Range>")).replace("<Mapped", "\n<Mapped");
        for file in [file.clone(), format!("\u{feff}{file}")] {
            assert!(refuse(&file).contains(reason), "{file}: {}", refuse(&file));
        }
    }
    let attribute = "<bmap version=\"&bomb;\"/>";
    assert!(refuse(attribute).contains("line 1: not well-formed XML"), "{}", refuse(attribute));
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    let cases = [
        (elements("1", "<Range>5</Range>").replace("<BlockSize>1000", "<BlockSize>0"), "element 'BlockSize' is zero"),
        (
            elements("1", "<Range>5</Range>").replace("10000", "10001"),
            "'BlocksCount' says 10, but an image of 10001 bytes has 11",
        ),
        (elements("2", "<Range>5</Range>"), "'MappedBlocksCount' says 2, but the ranges hold 1"),
        (elements("2", "<Range>6-5</Range>"), "'6-5' is not a range"),
        (elements("2", "<Range>5-6-7</Range>"), "is not a range"),
        (elements("2", "<Range>-6</Range>"), "is not a range"),
        (elements("2", "<Range>9-10</Range>"), "range 9-10 lies past the end of the image, which has 10 blocks"),
        (elements("2", "<Range>0-18446744073709551615</Range>"), "is not a range"),
        (elements("2", "<Range>5</Range><Range>4</Range>"), "range 4 is out of order, it comes after 5"),
        (elements("4", "<Range>2-5</Range><Range>5-6</Range>"), "range 5-6 overlaps range 2-5"),
        (elements("1", "text<Range>5</Range>"), "text between the ranges"),
        (elements("1", "<Range>5</Range>&nosuch;"), "text between the ranges"),
        (elements("1", "<![CDATA[a]]><Range>5</Range>"), "text between the ranges"),
        (elements("1", "<Range>5</Range><!DOCTYPE a>"), "no document type declaration"),
    ];
    for (elements, reason) in cases {
        let refusal = refuse(&bmap(&elements));
        assert!(refusal.contains(reason), "{elements}: {refusal}");
    }
}

const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// Puts the file's right checksum of `kind` in place of `@`.
fn sealed(file: &str, kind: ChecksumKind) -> String {
    let zeroes = "0".repeat(kind.digest_len() * 2);
    let mut hasher = kind.hasher();
    hasher.update(file.replace('@', &zeroes).as_bytes());
    file.replace('@', &hasher.finish().to_string())
}

#[test]
fn checksums_fit_their_kind() {
    let file = |kind: &str, ranges: &str| {
        bmap(&format!(
            "<ChecksumType>{kind}</ChecksumType><BmapFileChecksum>@</BmapFileChecksum>{}",
            elements("2", ranges)
        ))
    };
    let two = |first: &str, second: &str| format!("<Range{first}>1</Range><Range{second}>3</Range>");
    let chksum = |digits: &str| format!(" chksum=\"{digits}\"");
    let sha256 = chksum(SHA256);

    let good = accept(&sealed(
        &file("sha256", &two(&sha256, &sha256.to_uppercase().replace("CHKSUM", "chksum"))),
        ChecksumKind::Sha256,
    ));
    assert_eq!(good.checksum_kind(), Some(ChecksumKind::Sha256));
    assert!(good.ranges().all(|range| range.checksum.map(Digest::from).unwrap().to_string() == SHA256));

    let cases = [
        (file("sha256", &two(&sha256, "")), "some ranges have a checksum and some have none"),
        (file("sha256", &two("", &sha256)), "some ranges have a checksum and some have none"),
        (file("md5", &two(&sha256, &sha256)), "is not 32 hexadecimal digits, as md5 has"),
        (file("sha256", &two(&sha256, &chksum(&SHA256[2..]))), "is not 64 hexadecimal digits"),
        (file("sha256", &two(&sha256, &chksum(&SHA256.replace('b', "g")))), "is not 64 hexadecimal digits"),
        (file("md5", &two(&chksum(&SHA256[..31]), &sha256)), "is not 32 hexadecimal digits, as md5 has"),
        (file("crc32", &two(&sha256, &sha256)), "checksum type 'crc32' is not supported"),
        (file("SHA256", &two(&sha256, &sha256)), "checksum type 'SHA256' is not supported"),
    ];
    for (file, reason) in cases {
        let refusal = refuse(&sealed(&file, ChecksumKind::Sha256));
        assert!(refusal.contains(reason), "{file}: {refusal}");
    }
}

#[test]
fn a_damaged_file_is_named_as_such_before_its_ranges_are() {
    let whole = sealed(
        &bmap(&format!(
            "<ChecksumType>sha256</ChecksumType><BmapFileChecksum>@</BmapFileChecksum>{}",
            elements("2", &format!("<Range chksum=\"{SHA256}\">1</Range><Range chksum=\"{SHA256}\">3</Range>"))
        )),
        ChecksumKind::Sha256,
    );
    accept(&whole);
    let damages = [
        (">1</Range>", ">1+2</Range>"),
        (">1</Range>", ">3-1</Range>"),
        (&format!("{SHA256}\">3")[..], &format!("{}\">3", &SHA256[1..])),
        (&format!("{SHA256}\">1")[..], &format!("{}\">1", &SHA256[1..])),
        (&format!("{SHA256}\">1")[..], &format!("{}\">1", SHA256.replace('b', "g"))),
        ("<Range chksum", "<Range chksun"),
    ];
    for (from, to) in damages {
        let damaged = whole.replacen(from, to, 1);
        assert!(damaged != whole && refuse(&damaged).contains("the file is damaged"), "{to}: {}", refuse(&damaged));
    }
}

#[test]
fn a_map_with_checksums_says_their_kind_and_has_one_of_its_own() {
    let ranges = format!("<Range chksum=\"{SHA256}\">1</Range>");
    let own = "<BmapFileChecksum>@</BmapFileChecksum>";
    let kind = "<ChecksumType>sha256</ChecksumType>";
    let seal = |elements: &str| sealed(&bmap(elements), ChecksumKind::Sha256);
    accept(&seal(&format!("{kind}{own}{}", elements("1", &ranges))));
    assert_eq!(refuse(&seal(&format!("{own}{}", elements("1", &ranges)))), "element 'ChecksumType' is missing");
    assert_eq!(refuse(&seal(&format!("{kind}{}", elements("1", &ranges)))), "element 'BmapFileChecksum' is missing");
    // Without any checksums neither is needed, and what is there is still verified.
    accept(&seal(&elements("1", "<Range>1</Range>")));
    accept(&seal(&format!("{own}{}", elements("1", "<Range>1</Range>"))));
    let wrong = format!("<BmapFileChecksum>{SHA256}</BmapFileChecksum>{}", elements("1", "<Range>1</Range>"));
    assert!(refuse(&bmap(&wrong)).contains("the file is damaged"));
}

#[test]
fn the_own_checksum_is_zeroed_where_it_stands_and_nowhere_else() {
    // The digits of the checksum stand in a comment too, before and after the element.
    let element = "<!-- @ --><BmapFileChecksum> @ </BmapFileChecksum><!-- @ -->";
    let file = bmap(&format!("{element}{}", elements("1", "<Range>1</Range>")));
    let sealed_everywhere = sealed(&file, ChecksumKind::Sha256);
    assert!(refuse(&sealed_everywhere).contains("damaged"));
}

#[test]
fn the_own_checksum_is_of_the_bytes_of_the_file() {
    let file = |own: &str| {
        let elements = elements("1", &format!("<Range chksum=\"{}\">1</Range>", references(SHA256)));
        bmap(&format!(
            "<ChecksumType><![CDATA[sha256]]></ChecksumType><BmapFileChecksum>{own}</BmapFileChecksum>{elements}"
        ))
    };
    let (mark, kind) = ('\u{feff}', ChecksumKind::Sha256);
    for own in ["@", "<![CDATA[@]]>", "<!-- a --> <![CDATA[\n@ ]]>"] {
        let plain = sealed(&file(own), kind);
        assert_eq!(accept(&plain), accept(&sealed(&format!("{mark}{}", file(own)), kind)));
        assert!(refuse(&format!("{mark}{plain}")).contains("damaged"), "{own}");
        assert!(refuse(&plain.replace("&#x", "&#x0")).contains("damaged"), "{own}");
    }
    for own in [references(SHA256), SHA256.replace("f8", "f<!-- -->8")] {
        assert!(refuse(&file(&own)).contains("do not stand in the file side by side"), "{own}");
    }
}

/// `text` as references to its characters.
fn references(text: &str) -> String {
    text.bytes().map(|byte| format!("&#x{byte:x};")).collect()
}

#[test]
fn empty_checksums_are_taken_as_absent() {
    let kind = |text: &str| format!("<ChecksumType>{text}</ChecksumType>");
    let own = |text: &str| format!("<BmapFileChecksum>{text}</BmapFileChecksum>");
    let ranges = |first: &str, second: &str| {
        elements("2", &format!("<Range chksum=\"{first}\">1</Range><Range chksum=\"{second}\">3</Range>"))
    };
    let plain = elements("2", "<Range>1</Range><Range>3</Range>");
    let found = |elements: &[&str]| {
        let map = accept(&sealed(&bmap(&elements.concat()), ChecksumKind::Sha256));
        (map.checksum_kind(), map.has_empty_checksums())
    };
    let cases = [
        [kind("sha256"), own(" "), ranges("", " ")],
        [kind("sha256"), own("<!-- -->"), plain.clone()],
        [kind(""), own(""), ranges("", "")],
        [kind(""), own("@"), plain.clone()],
        [String::new(), String::new(), ranges("", "")],
    ];
    for elements in cases {
        assert_eq!(found(&elements.each_ref().map(String::as_str)), (None, true), "{elements:?}");
    }
    assert_eq!(found(&[&plain]), (None, false));
    // What is there is used all the same.
    let whole = ranges(SHA256, SHA256);
    assert_eq!(found(&[&kind("sha256"), &own(""), &whole]), (Some(ChecksumKind::Sha256), true));
    assert_eq!(found(&[&kind("sha256"), &own("@"), &whole]), (Some(ChecksumKind::Sha256), false));

    let unnamed = bmap(&format!("\n{}{}{whole}", kind(" "), own("")));
    assert_eq!(refuse(&unnamed), "line 2: element 'ChecksumType' is empty, but ranges have checksums");
    for (first, second) in [(SHA256, ""), ("", SHA256)] {
        let mixed = bmap(&format!("{}{}{}", kind("sha256"), own(""), ranges(first, second)));
        assert_eq!(refuse(&mixed), "line 1: some ranges have a checksum and some have none");
    }
    let old = |own: &str| format!("<bmap version=\"1.3\">{own}{}</bmap>", plain.replace("<Range", "<Range sha1=''"));
    let old = accept(&old("<BmapFileSHA1/>"));
    assert_eq!((old.checksum_kind(), old.has_empty_checksums()), (None, true));
}

#[test]
fn older_versions_keep_their_checksums_elsewhere() {
    const SHA1: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";
    let file = |version: &str, own: &str, attribute: &str| {
        format!(
            "<bmap version=\"{version}\">{own}{}</bmap>",
            elements("1", &format!("<Range {attribute}=\"{SHA1}\">5</Range>"))
        )
    };
    assert_eq!(accept(&file("1.0", "", "sha1")).checksum_kind(), None);
    assert_eq!(accept(&file("1.1", "", "chksum")).checksum_kind(), None);
    for version in ["1.1", "1.2"] {
        assert_eq!(accept(&file(version, "", "sha1")).checksum_kind(), Some(ChecksumKind::Sha1));
    }
    let own = "<BmapFileSHA1> @ </BmapFileSHA1>";
    let sealed_13 = sealed(&file("1.3", own, "sha1"), ChecksumKind::Sha1);
    assert_eq!(accept(&sealed_13).checksum_kind(), Some(ChecksumKind::Sha1));
    assert_eq!(refuse(&file("1.3", "", "sha1")), "element 'BmapFileSHA1' is missing");
    assert!(refuse(&sealed_13.replace("5</Range>", "6</Range>")).contains("damaged"));
    assert!(refuse(&file("1.2", "", "sha1").replace(&SHA1[..2], "")).contains("40 hexadecimal digits"));
    for version in ["1.4", "2.0"] {
        let own = "<ChecksumType>sha1</ChecksumType><BmapFileChecksum>@</BmapFileChecksum>";
        let typed = sealed(&file(version, own, "chksum"), ChecksumKind::Sha1);
        assert_eq!(accept(&typed).checksum_kind(), Some(ChecksumKind::Sha1));
    }
}

#[test]
fn sizes_up_to_the_last_bit_are_handled() {
    let file = |size: u64, block: u64, count: u64, range: &str| {
        bmap(&format!(
            "<ImageSize>{size}</ImageSize><BlockSize>{block}</BlockSize><BlocksCount>{count}</BlocksCount>\
             <MappedBlocksCount>1</MappedBlocksCount><BlockMap><Range>{range}</Range></BlockMap>"
        ))
    };
    let huge = accept(&file(u64::MAX, 1 << 40, 1 << 24, "16777215"));
    assert_eq!(huge.ranges().next().unwrap().bytes.end, u64::MAX);
    assert_eq!(huge.mapped_bytes(), (1 << 40) - 1);
    accept(&file(u64::MAX, u64::MAX, 1, "0"));
    accept(&file(u64::MAX, 1, u64::MAX, "18446744073709551614"));
}

prop_compose! {
    /// Any valid map, with or without checksums of any kind.
    fn any_map()(
        block_size in prop_oneof![1..5000_u64, Just(512), Just(4096), Just(65536)],
        // The ranges as holes and lengths, one after another.
        steps in prop::collection::vec((0..5_u64, 1..1000_u64), 0..30),
        tail in 0..5_u64,
        short in 0..4096_u64,
        kind in prop::option::of(prop::sample::select(&ChecksumKind::ALL[..])),
        seed in any::<u8>(),
    ) -> Bmap {
        let mut end = 0;
        let ranges: Vec<_> = steps.iter().map(|&(hole, length)| {
            let start = end + hole;
            end = start + length;
            BlockRange::new(start, end).unwrap()
        }).collect();
        let block_size = BlockSize::new(block_size).unwrap();
        let image_size = ((end + tail) * block_size.bytes()).saturating_sub(short % block_size.bytes());
        let checksums = kind.map(|kind| {
            let mut checksums = Checksums::new(kind);
            for index in 0..ranges.len() {
                let digest = vec![seed.wrapping_add(index as u8); kind.digest_len()];
                checksums.push(&Digest::from(&digest[..]));
            }
            checksums
        });
        Bmap::new(image_size, block_size, ranges, checksums).unwrap()
    }
}

fn emitted(map: &Bmap) -> Vec<u8> {
    let mut file = Vec::new();
    map.emit(&mut file).unwrap();
    file
}

/// What a map means to a copy: all but the version, and checksums where there are ranges to have them.
fn meaning(map: &Bmap) -> impl PartialEq + std::fmt::Debug + use<> {
    let ranges: Vec<_> = map.ranges().map(|range| (range.blocks, range.checksum.map(<[u8]>::to_vec))).collect();
    (map.image_size(), map.block_size(), ranges)
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(map in any_map()) {
        let file = emitted(&map);
        prop_assert_eq!(meaning(&accept(std::str::from_utf8(&file).unwrap())), meaning(&map));
        prop_assert_eq!(file.last(), Some(&b'\n'));
    }

    #[test]
    fn a_damaged_file_is_refused_or_means_the_same(
        map in any_map(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, any::<u8>()), 1..4),
    ) {
        let mut file = emitted(&map);
        for (index, what, byte) in damage {
            let at = index.index(file.len());
            match what {
                0 => file[at] ^= 1 << (byte % 8),
                1 => file[at] = byte,
                2 => file.insert(at, byte),
                _ => drop(file.remove(at)),
            }
        }
        if let Ok(read) = Bmap::parse(&file) {
            prop_assert_eq!(meaning(&read), meaning(&map));
        }
    }
}
