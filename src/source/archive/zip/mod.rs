//! zip, as PKWARE's APPNOTE.TXT 6.3.10 describes it, read forward: the local headers count. Where the file is seekable,
//! sizes that otherwise only stand after the data are looked up in its central directory. The numbers in brackets are
//! sections of that text.

mod body;
mod directory;
mod local;

use std::io::{self, BufRead, BufReader, Read};

use super::choice::Choice;
use super::{Member, Names, SeveralImages};
use crate::source::codec::{self, Compressed, Decoded, Trailing, array, compressed, only_padding_follows, skip};
use crate::source::decode_error::corrupt;
use crate::source::detect::Format;
use crate::source::peek::StoredFile;
use crate::source::transport::{Seek, Transport};
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

/// Finds the image in the zip `file`, read from its start; `Err` with the names of its files where there is none.
/// `trailing` is for what follows its end, which unzip passes over.
///
/// # Errors
///
/// Where the file cannot be read or the zip is damaged.
pub fn open(mut file: StoredFile, image_size: Option<u64>, trailing: Trailing) -> io::Result<Result<Member, Names>> {
    let directory = Directory::read(&mut file)?;
    let mut choice = Choice::new(Format::Zip, image_size);
    if let Some(size) = image_size.filter(|&size| directory.lacks(size)) {
        choice = choice.or_in_tar(size);
    }
    if image_size.is_none() && file.info().seek == Seek::Free {
        refuse_several(&mut file, &directory)?;
    }
    let mut zip = Zip { data: Counted { inner: compressed(file), offset: 0 }, directory, choice, trailing };
    let found = zip.find().map_err(|error| codec::explained(Format::Zip, error))?;
    let Some((body, start)) = found else { return Ok(Err(zip.choice.others)) };
    let (name, size) = (body.entry().name.clone(), body.entry().size);
    let image = io::Cursor::new(start).chain(Image { zip, body: Some(body) });
    Ok(Ok(Member { name, reader: Box::new(Decoded::whole(Format::Zip, Box::new(image))), size }))
}

/// Fails where several files can be the image, before one is taken for it. Any other error is left to the reading proper.
fn refuse_several(file: &mut StoredFile, directory: &Directory) -> io::Result<()> {
    let mut choice = Choice::new(Format::Zip, None);
    for offset in directory.files() {
        file.seek_to(offset)?;
        let mut data = BufReader::new(&mut *file);
        let offered = array(&mut data).and_then(|_: [u8; 4]| {
            let entry = Entry::parse(&mut data, directory.get(offset))?;
            offer(&mut choice, &mut Body::new(entry), &mut data)
        });
        if let Err(error) = offered
            && error.get_ref().is_some_and(|cause| cause.is::<SeveralImages>())
        {
            return Err(error);
        }
    }
    file.seek_to(0)
}

/// Lets `choice` decide whether an entry is the image, whose data begins where `data` stands; returns what was read of it.
fn offer(choice: &mut Choice, body: &mut Body, data: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    if !body.entry().is_regular {
        return Ok(None);
    }
    let (name, size) = (body.entry().name.clone(), body.entry().size);
    let start = if choice.depends_on_start(&name, size) { body.start(data)? } else { Vec::new() };
    Ok(choice.takes(&name, size, &start)?.then_some(start))
}

/// A zip that is read forward.
struct Zip {
    data: Counted<Compressed>,
    directory: Directory,
    choice: Choice,
    trailing: Trailing,
}

impl Zip {
    /// Goes on to the data of the image, of which the first bytes are read where the choice depends on them. `None` where
    /// it does not follow: then this is the clean end.
    fn find(&mut self) -> io::Result<Option<(Body, Vec<u8>)>> {
        while let Some(entry) = self.next_entry()? {
            let mut body = Body::new(entry);
            if let Some(start) = offer(&mut self.choice, &mut body, &mut self.data)? {
                body.entry().check_usable()?;
                return Ok(Some((body, start)));
            }
            body.skip(&mut self.data)?;
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
                    if !only_padding_follows(&mut self.data.inner)? {
                        self.trailing.pass_over()?;
                        io::copy(&mut self.data.inner, &mut io::sink())?;
                    }
                    return Ok(());
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
            // The choice finds no second image, but complains of one.
            self.zip.find()?;
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
