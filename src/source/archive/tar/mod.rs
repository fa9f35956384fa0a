//! tar: POSIX ustar and pax, GNU's long names, and sparse files in GNU's own format and in version 1.0 of its
//! format for pax, as the GNU tar manual describes them.

mod header;
mod pax;
mod sparse;

use std::collections::VecDeque;
use std::io::{self, Read};

use super::choice::Choice;
use super::{Member, Names};
use crate::range::ByteRange;
use crate::source::codec::Trailing;
use crate::source::decode_error::{DecodeError, corrupt};
use crate::source::detect::{Format, HEAD_LEN};
use crate::source::peek::Peek;
use crate::source::{ForwardRead, Skipping, read_full};
use header::{BLOCK_LEN, Block, Header, Kind, until_zero};
use pax::Records;
use sparse::{EXTENTS_MAX, Extent, too_long};

/// The most that an extended header may have, in bytes: it holds names, or the map of a sparse file.
const EXTENSION_MAX: u64 = 8 << 20;

/// Finds the image in the tar that `data` delivers from its start; `Err` with the names of its files where there is none.
/// `trailing` is for what follows the mark at its end, which tar passes over.
///
/// # Errors
///
/// Where `data` cannot be read or the tar is damaged.
pub fn open(
    data: Box<dyn ForwardRead>,
    image_size: Option<u64>,
    trailing: Trailing,
) -> io::Result<Result<Member, Names>> {
    let mut tar = Tar { data, offset: 0, choice: Choice::new(Format::Tar, image_size), trailing };
    let Some((file, start)) = tar.find()? else { return Ok(Err(tar.choice.others)) };
    let (name, size) = (file.name.clone(), file.size);
    let image: Box<dyn ForwardRead> = Box::new(Image { tar, file });
    Ok(Ok(Member { name, reader: Box::new(Peek::of(start, image)), size: Some(size) }))
}

/// A regular file in a tar.
struct File {
    name: String,
    /// With its holes, in bytes.
    size: u64,
    /// Those of its bytes that are stored, and where, without those that end before the position.
    extents: VecDeque<Extent>,
    /// Which of its bytes is read next.
    position: u64,
    /// The offset of the header after it.
    next_header: u64,
}

/// A tar that is read forward.
struct Tar {
    data: Box<dyn ForwardRead>,
    /// The next byte that is read, from the start of the tar.
    offset: u64,
    choice: Choice,
    trailing: Trailing,
}

impl Tar {
    /// Goes on to the image, and reads its first bytes where the choice depends on them. `None` where it does not follow.
    fn find(&mut self) -> io::Result<Option<(File, Vec<u8>)>> {
        while let Some(mut file) = self.next_file()? {
            let mut start = Vec::new();
            if self.choice.depends_on_start(&file.name, Some(file.size)) {
                start.resize(HEAD_LEN, 0);
                let length = read_full(&mut Open { tar: self, file: &mut file }, &mut start)?;
                start.truncate(length);
            }
            if self.choice.takes(&file.name, Some(file.size), &start)? {
                return Ok(Some((file, start)));
            }
            self.go_to(file.next_header)?;
        }
        Ok(None)
    }

    /// Goes on to the data of the next regular file, over all else; `None` at the mark at the end.
    fn next_file(&mut self) -> io::Result<Option<File>> {
        let mut extended = Records::default();
        let mut long_name = None;
        while let Some(header) = self.next_header()? {
            match header.kind {
                Kind::Pax => extended = Records::parse(&self.extension(header.size)?)?,
                Kind::LongName => long_name = Some(until_zero(&self.extension(header.size)?).to_vec()),
                Kind::Regular | Kind::Sparse => {
                    let size = extended.number("size")?.unwrap_or(header.size);
                    let name = extended.name().or(long_name.take()).unwrap_or_else(|| header.name.clone());
                    // In old tars, only this marks a directory.
                    if !name.ends_with(b"/") {
                        return self.file(&header, &name, size, &extended).map(Some);
                    }
                    self.pass_over(size)?;
                }
                Kind::Link => {}
                Kind::Note => self.pass_over(header.size)?,
                Kind::Other => self.pass_over(extended.number("size")?.unwrap_or(header.size))?,
            }
            if !header.kind.is_about_next_file() {
                (extended, long_name) = (Records::default(), None);
            }
        }
        Ok(None)
    }

    /// The file whose data, `stored` bytes of it, begin here.
    fn file(&mut self, header: &Header, name: &[u8], stored: u64, extended: &Records) -> io::Result<File> {
        let (map, size, (end, next_header)) = if header.kind == Kind::Sparse {
            // The blocks that continue this map are not counted as stored data; a map in the data is.
            (self.old_sparse_map(header)?, header.real_size, self.ends(stored)?)
        } else {
            let ends = self.ends(stored)?;
            match extended.sparse_size()? {
                None => (vec![(0, stored)], stored, ends),
                Some(size) => (sparse::map_in_data(|| self.block())?, size, ends),
            }
        };
        let extents = sparse::extents(&map, ByteRange { start: self.offset, end }, size).map_err(bad)?;
        Ok(File { name: String::from_utf8_lossy(name).into_owned(), size, extents, position: 0, next_header })
    }

    /// The offsets where data of `size` bytes that begins here ends, and where the next header begins.
    fn ends(&self, size: u64) -> io::Result<(u64, u64)> {
        let end = self.offset.checked_add(size);
        let next_header = end.and_then(|end| end.checked_next_multiple_of(BLOCK_LEN as u64));
        end.zip(next_header).ok_or_else(|| bad(corrupt("a file is too large")))
    }

    /// The map of a file in GNU's first sparse format.
    fn old_sparse_map(&mut self, header: &Header) -> io::Result<Vec<(u64, u64)>> {
        let (mut map, mut is_continued) = (header.sparse_map.clone(), header.map_is_continued);
        while is_continued {
            let more;
            (more, is_continued) = self.block()?.sparse_continuation().map_err(bad)?;
            map.extend(more);
            if map.len() > EXTENTS_MAX {
                return Err(too_long());
            }
        }
        Ok(map)
    }

    /// The next header; `None` at the mark at the end, which is two blocks of zeroes.
    fn next_header(&mut self) -> io::Result<Option<Header>> {
        let block = self.block()?;
        if !block.is_zero() {
            return block.header().map(Some).map_err(bad);
        }
        if !self.block()?.is_zero() {
            return Err(bad(corrupt("a lone block of zeroes stands between its files")));
        }
        Ok(None)
    }

    fn block(&mut self) -> io::Result<Block> {
        let mut block = [0; BLOCK_LEN];
        if self.read(&mut block)? < BLOCK_LEN {
            return Err(DecodeError::CutOff(Format::Tar).into());
        }
        Ok(Block(block))
    }

    /// The data, of `size` bytes, of an extended header.
    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > EXTENSION_MAX {
            return Err(bad(corrupt(format!(
                "an extended header has {size} bytes, at most {EXTENSION_MAX} are allowed"
            ))));
        }
        let mut bytes = Vec::new();
        for _ in 0..size.div_ceil(BLOCK_LEN as u64) {
            bytes.extend(self.block()?.0);
        }
        bytes.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        Ok(bytes)
    }

    fn pass_over(&mut self, size: u64) -> io::Result<()> {
        let (_, next_header) = self.ends(size)?;
        self.go_to(next_header)
    }

    /// Goes on to `offset`, which must be there.
    fn go_to(&mut self, offset: u64) -> io::Result<()> {
        if offset > self.offset {
            self.offset = self.data.skip_to(offset)?;
        }
        if self.offset == offset { Ok(()) } else { Err(DecodeError::CutOff(Format::Tar).into()) }
    }

    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = read_full(&mut *self.data, buf)?;
        self.offset = self.offset.saturating_add(count as u64);
        Ok(count)
    }

    /// Reads what follows the mark at the end, and checks that the data ends cleanly.
    fn finish(&mut self) -> io::Result<()> {
        let mut chunk = vec![0; 64 << 10];
        let mut is_padding = true;
        loop {
            let count = self.read(&mut chunk)?;
            if count == 0 {
                break;
            }
            is_padding &= chunk.iter().take(count).all(|&byte| byte == 0);
        }
        if !is_padding {
            self.trailing.pass_over().map_err(bad)?;
        }
        self.data.finish().map(drop)
    }
}

/// An error of this module's, as one of the tar's data.
fn bad(error: io::Error) -> io::Error {
    DecodeError::from_decoder(Format::Tar, error).into()
}

/// A file that is read where the tar stands.
struct Open<'a> {
    tar: &'a mut Tar,
    file: &'a mut File,
}

impl Read for Open<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Self { tar, file } = self;
        while file.extents.front().is_some_and(|extent| extent.range.end <= file.position) {
            file.extents.pop_front();
        }
        let extent = file.extents.front().filter(|extent| extent.range.start <= file.position).copied();
        let end = match extent {
            Some(extent) => extent.range.end,
            None => file.extents.front().map_or(file.size, |next| next.range.start),
        };
        let length = usize::try_from(end.saturating_sub(file.position)).unwrap_or(usize::MAX).min(buf.len());
        let buf = buf.get_mut(..length).unwrap_or_default();
        match extent {
            Some(extent) => {
                let passed = file.position.saturating_sub(extent.range.start);
                tar.go_to(extent.stored.saturating_add(passed))?;
                if tar.read(buf)? < length {
                    return Err(DecodeError::CutOff(Format::Tar).into());
                }
            }
            None => buf.fill(0),
        }
        file.position = file.position.saturating_add(length as u64);
        Ok(length)
    }
}

/// The image in a tar.
struct Image {
    tar: Tar,
    file: File,
}

impl Read for Image {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Open { tar: &mut self.tar, file: &mut self.file }.read(buf)
    }
}

impl ForwardRead for Image {
    fn skip_to(&mut self, offset: u64) -> io::Result<u64> {
        self.file.position = offset.min(self.file.size).max(self.file.position);
        Ok(self.file.position)
    }

    fn skipping(&self) -> Skipping {
        Skipping::Reads
    }

    fn finish(&mut self) -> io::Result<u64> {
        self.tar.go_to(self.file.next_header)?;
        // The choice finds no second image, but complains of one.
        self.tar.find()?;
        self.tar.finish()?;
        Ok(self.file.size)
    }
}
