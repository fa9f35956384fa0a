//! zip, as PKWARE's APPNOTE.TXT 6.3.10 describes it, read forward: the local headers count. Where the file is seekable,
//! sizes that otherwise only stand after the data are looked up in its central directory. The numbers in brackets are
//! sections of that text.

mod body;
mod directory;
mod local;

use std::io::{self, Read};

use super::Member;
use crate::source::codec::{self, Compressed, Decoded, array, compressed, only_padding_follows, skip};
use crate::source::decode_error::corrupt;
use crate::source::detect::Format;
use crate::source::peek::StoredFile;
use body::Body;
use directory::Directory;
use local::{Counted, Entry};

/// What a record begins with.
mod signature {
    pub const LOCAL: [u8; 4] = *b"PK\x03\x04";
    pub const CENTRAL: [u8; 4] = *b"PK\x01\x02";
    pub const DIGITAL: [u8; 4] = *b"PK\x05\x05";
    pub const END: [u8; 4] = *b"PK\x05\x06";
    pub const END_64: [u8; 4] = *b"PK\x06\x06";
    pub const LOCATOR_64: [u8; 4] = *b"PK\x06\x07";
    pub const EXTRA: [u8; 4] = *b"PK\x06\x08";
    pub const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";
}

/// Finds the image in the zip `file`, read from its start; `None` where there is none.
///
/// # Errors
///
/// Where the file cannot be read or the zip is damaged.
pub fn open(mut file: StoredFile, image_size: Option<u64>) -> io::Result<Option<Member>> {
    let directory = Directory::read(&mut file)?;
    let mut zip = Zip { data: Counted { inner: compressed(file), offset: 0 }, directory };
    let found = zip.find(image_size).map_err(|error| codec::explained(Format::Zip, error))?;
    Ok(found.map(|entry| {
        let (name, size) = (String::from_utf8_lossy(&entry.name).into_owned(), entry.size);
        let image = Image { zip, body: Some(Body::new(entry)) };
        Member { name, reader: Box::new(Decoded::whole(Format::Zip, Box::new(image))), size }
    }))
}

/// A zip that is read forward.
struct Zip {
    data: Counted<Compressed>,
    directory: Directory,
}

impl Zip {
    /// Goes on to the data of the image, or of a tar where no file can be the image itself. A file whose size only the
    /// data tells is taken for the image.
    fn find(&mut self, image_size: Option<u64>) -> io::Result<Option<Entry>> {
        let is_in_a_tar = image_size.is_some_and(|size| self.directory.lacks(size));
        while let Some(entry) = self.next_entry()? {
            let size_fits = image_size.is_none() || entry.size.is_none() || entry.size == image_size;
            let names_tar = || Format::of_name(&String::from_utf8_lossy(&entry.name)) == Some(Format::Tar);
            if entry.is_regular && (size_fits || is_in_a_tar && names_tar()) {
                entry.check_usable()?;
                return Ok(Some(entry));
            }
            Body::new(entry).skip(&mut self.data)?;
        }
        Ok(None)
    }

    /// Goes on to the data of the next entry; `None` at the clean end of the file, after the central directory.
    fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        let offset = self.data.offset;
        match array(&mut self.data)? {
            signature::LOCAL => Entry::parse(&mut self.data, self.directory.get(offset)).map(Some),
            other => self.check_end(other).map(|()| None),
        }
    }

    /// Reads the central directory, whose first record begins with `signature`, and what follows it to the end of the
    /// file [4.3.6].
    fn check_end(&mut self, mut signature: [u8; 4]) -> io::Result<()> {
        loop {
            let length = match signature {
                signature::CENTRAL => {
                    let record = array::<42>(&mut self.data)?;
                    [24, 26, 28].map(|at| u16_at(&record, at)).into_iter().map(u64::from).sum()
                }
                signature::END => {
                    let record = array::<18>(&mut self.data)?;
                    skip(&mut self.data, u64::from(u16_at(&record, 16)))?;
                    let is_clean = only_padding_follows(&mut self.data.inner)?;
                    return if is_clean { Ok(()) } else { Err(corrupt("there is data after its end")) };
                }
                signature::END_64 => u64::from_le_bytes(array(&mut self.data)?),
                signature::LOCATOR_64 => 16,
                signature::DIGITAL => u64::from(u16::from_le_bytes(array(&mut self.data)?)),
                signature::EXTRA => u64::from(u32::from_le_bytes(array(&mut self.data)?)),
                _ => return Err(corrupt("there is unknown data between its files")),
            };
            skip(&mut self.data, length)?;
            signature = array(&mut self.data)?;
        }
    }
}

/// The image in a zip. It ends where the whole zip does, which must be clean.
struct Image {
    zip: Zip,
    /// `None` after the end.
    body: Option<Body>,
}

impl Read for Image {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(body) = self.body.as_mut().filter(|_| !buf.is_empty()) else { return Ok(0) };
        let count = body.read(&mut self.zip.data, buf)?;
        if count == 0 {
            while let Some(entry) = self.zip.next_entry()? {
                Body::new(entry).skip(&mut self.zip.data)?;
            }
            self.body = None;
        }
        Ok(count)
    }
}

/// The number at byte `at` of `record`.
fn u16_at(record: &[u8], at: usize) -> u16 {
    let bytes = record.get(at..).and_then(<[u8]>::first_chunk).copied();
    bytes.map_or(0, u16::from_le_bytes)
}

/// The number at byte `at` of `record`.
fn u32_at(record: &[u8], at: usize) -> u32 {
    let bytes = record.get(at..).and_then(<[u8]>::first_chunk).copied();
    bytes.map_or(0, u32::from_le_bytes)
}
