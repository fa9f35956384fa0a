//! LZ4: the frame format 1.6.4 and the legacy frame, as lz4_Frame_format.md describes them. The blocks are decompressed
//! by lz4_flex, without unsafe code. Header, block and content checksums are verified.

use std::hash::Hasher;
use std::io::{self, BufRead, Read};

use lz4_flex::block::decompress_into_with_dict;
use twox_hash::XxHash32;

use super::Compressed;
use super::block_reader::{BlockDecoder, BlockReader, first};
use super::compressed::{array, only_padding_follows, skip};
use crate::source::ReadPolicy;
use crate::source::decode_error::{corrupt, unsupported};

const FRAME: u32 = 0x184d_2204;
const LEGACY: u32 = 0x184c_2102;
/// The low four bits are free.
const SKIPPABLE: u32 = 0x184d_2a50;

/// What a block of the legacy frame holds when decompressed; only the last one may hold less.
const LEGACY_BLOCK_LEN: usize = 8 << 20;
/// What such a block takes at most: the bound of the block format, for data that does not compress.
const LEGACY_COMPRESSED_MAX: usize = LEGACY_BLOCK_LEN + LEGACY_BLOCK_LEN / 255 + 16;

/// How far back a block may refer to the blocks before it.
const HISTORY_LEN: usize = 64 << 10;

/// Decompresses lz4. With [`ReadPolicy::SkipHoles`] every byte that counts has a better checksum than that of a frame's
/// content, which takes as long as the decompression itself and is not verified then.
pub(super) fn decoder(compressed: Compressed, policy: &ReadPolicy) -> Box<dyn Read + Send> {
    let verifies_content = *policy == ReadPolicy::ReadAll;
    let lz4 = Lz4 { compressed, verifies_content, state: State::Between, input: Vec::new(), history: Vec::new() };
    Box::new(BlockReader::new(lz4))
}

struct Lz4 {
    compressed: Compressed,
    /// Whether the checksum of a frame's decompressed content is verified.
    verifies_content: bool,
    state: State,
    /// The compressed block.
    input: Vec<u8>,
    /// The end of what the frame has delivered so far, where its blocks are linked.
    history: Vec<u8>,
}

enum State {
    Between,
    Frame(Frame),
    Legacy,
    Ended,
}

/// A frame that has begun.
struct Frame {
    block_max: usize,
    /// Whether blocks refer to those before them.
    is_linked: bool,
    block_checksums: bool,
    content: Content,
    /// How much the header says that the frame holds.
    announced: Option<u64>,
    delivered: u64,
}

/// The checksum of a frame's content.
enum Content {
    /// The frame has none.
    Unchecked,
    /// It has one that is passed over.
    Skipped,
    /// It has one, and this is that of what has been delivered so far.
    Verified(XxHash32),
}

impl BlockDecoder for Lz4 {
    fn next(&mut self, room: &mut Vec<u8>) -> io::Result<Option<usize>> {
        loop {
            let block = match self.state {
                State::Ended => return Ok(None),
                State::Between => {
                    self.begin_frame()?;
                    None
                }
                State::Frame(_) => self.frame_block(room)?,
                State::Legacy => self.legacy_block(room)?,
            };
            if block.is_some() {
                return Ok(block);
            }
        }
    }
}

impl Lz4 {
    /// Goes on to the data of the next frame, or finds the end.
    fn begin_frame(&mut self) -> io::Result<()> {
        if only_padding_follows(&mut self.compressed)? {
            self.state = State::Ended;
            return Ok(());
        }
        let magic = self.u32()?;
        self.begin(magic)
    }

    fn begin(&mut self, magic: u32) -> io::Result<()> {
        self.state = match magic {
            FRAME => {
                self.history.clear();
                State::Frame(Frame::parse(&mut self.compressed, self.verifies_content)?)
            }
            LEGACY => State::Legacy,
            _ if magic & !0xf == SKIPPABLE => {
                let length = u64::from(self.u32()?);
                skip(&mut self.compressed, length)?;
                State::Between
            }
            _ => return Err(corrupt("something follows that is no frame")),
        };
        Ok(())
    }

    /// The next block of the frame; `None` at its end.
    fn frame_block(&mut self, room: &mut Vec<u8>) -> io::Result<Option<usize>> {
        const STORED: u32 = 1 << 31;
        let word = self.u32()?;
        let State::Frame(frame) = &mut self.state else { return Ok(None) };
        if word == 0 {
            frame.check_end(&mut self.compressed)?;
            self.state = State::Between;
            return Ok(None);
        }
        let length = usize::try_from(word & !STORED).unwrap_or(usize::MAX);
        if length > frame.block_max {
            return Err(corrupt(format!("a block has {length} bytes, the frame allows {}", frame.block_max)));
        }
        let input = first(&mut self.input, length)?;
        self.compressed.read_exact(input)?;
        if frame.block_checksums && u32::from_le_bytes(array(&mut self.compressed)?) != XxHash32::oneshot(0, input) {
            return Err(corrupt("the checksum of a block is wrong"));
        }
        let output = first(room, frame.block_max)?;
        let length = if word & STORED == 0 {
            decompress_into_with_dict(input, output, &self.history).map_err(|error| corrupt(error.to_string()))?
        } else {
            input.as_ref().read(output)?
        };
        let block = output.get(..length).unwrap_or_default();
        frame.delivered = frame.delivered.saturating_add(length as u64);
        if let Content::Verified(content) = &mut frame.content {
            content.write(block);
        }
        if frame.is_linked {
            remember(&mut self.history, block);
        }
        Ok(Some(length))
    }

    /// The next block of a legacy frame; `None` at its end, which is the end of the file or the magic of another frame.
    fn legacy_block(&mut self, room: &mut Vec<u8>) -> io::Result<Option<usize>> {
        if self.compressed.fill_buf()?.is_empty() {
            self.state = State::Between;
            return Ok(None);
        }
        let word = self.u32()?;
        let length = usize::try_from(word).unwrap_or(usize::MAX);
        if length == 0 || length > LEGACY_COMPRESSED_MAX {
            // Padding is dealt with where frames are sought.
            self.state = State::Between;
            return if length == 0 { Ok(None) } else { self.begin(word).map(|()| None) };
        }
        let input = first(&mut self.input, length)?;
        self.compressed.read_exact(input)?;
        let output = first(room, LEGACY_BLOCK_LEN)?;
        decompress_into_with_dict(input, output, &[]).map(Some).map_err(|error| corrupt(error.to_string()))
    }

    fn u32(&mut self) -> io::Result<u32> {
        array(&mut self.compressed).map(u32::from_le_bytes)
    }
}

impl Frame {
    /// Reads the rest of a frame's header, after its magic.
    fn parse(compressed: &mut Compressed, verifies_content: bool) -> io::Result<Self> {
        let mut header = array::<2>(compressed)?.to_vec();
        let flag = |bit: u8| header.first().is_some_and(|flags| flags & 1 << bit != 0);
        let (independent, block_checksums) = (flag(5), flag(4));
        let (has_size, has_content_checksum, has_dictionary) = (flag(3), flag(2), flag(0));
        if flag(7) || !flag(6) || flag(1) {
            return Err(unsupported("its frame is of an unknown version"));
        }
        let block_max = match header.get(1).map(|descriptor| descriptor >> 4 & 7) {
            Some(4) => 64 << 10,
            Some(5) => 256 << 10,
            Some(6) => 1 << 20,
            Some(7) => 4 << 20,
            _ => return Err(corrupt("its largest block has an invalid size")),
        };
        let announced = if has_size { Some(array(compressed)?) } else { None };
        header.extend(announced.into_iter().flatten());
        let dictionary = if has_dictionary { Some(array(compressed)?) } else { None };
        header.extend(dictionary.into_iter().flatten());
        let [checksum] = array(compressed)?;
        // The second byte of the hash.
        if XxHash32::oneshot(0, &header).to_le_bytes().get(1) != Some(&checksum) {
            return Err(corrupt("the checksum of a frame's header is wrong"));
        }
        if let Some(id) = dictionary.map(u32::from_le_bytes).filter(|&id| id != 0) {
            return Err(unsupported(format!("it was compressed with dictionary {id}, which is not part of the file")));
        }
        Ok(Self {
            block_max,
            is_linked: !independent,
            block_checksums,
            content: match verifies_content {
                _ if !has_content_checksum => Content::Unchecked,
                true => Content::Verified(XxHash32::with_seed(0)),
                false => Content::Skipped,
            },
            announced: announced.map(u64::from_le_bytes),
            delivered: 0,
        })
    }

    /// Checks what the frame has delivered, when its end mark has been read.
    fn check_end(&self, compressed: &mut Compressed) -> io::Result<()> {
        let told = match self.content {
            Content::Unchecked => None,
            Content::Skipped | Content::Verified(_) => Some(u32::from_le_bytes(array(compressed)?)),
        };
        if let (Content::Verified(content), Some(told)) = (&self.content, told)
            && content.finish_32() != told
        {
            return Err(corrupt("the checksum of a frame is wrong"));
        }
        match self.announced {
            Some(announced) if announced != self.delivered => {
                Err(corrupt(format!("a frame has {} bytes, its header says {announced}", self.delivered)))
            }
            _ => Ok(()),
        }
    }
}

/// Appends `block` to `history`, of which only the end is kept.
fn remember(history: &mut Vec<u8>, block: &[u8]) {
    let tail = block.get(block.len().saturating_sub(HISTORY_LEN)..).unwrap_or_default();
    let excess = history.len().saturating_add(tail.len()).saturating_sub(HISTORY_LEN);
    history.drain(..excess.min(history.len()));
    history.extend_from_slice(tail);
}
