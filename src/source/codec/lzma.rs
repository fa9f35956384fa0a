//! LZMA_Alone, by liblzma. The format has no checksum: damage is found only where it contradicts the format, or the size
//! in the header.

use std::io::{self, Read};

use xz2::bufread::XzDecoder;
use xz2::stream::Stream;

use super::compressed::only_padding_follows;
use super::{Compressed, Trailing, memory_limit, xz};

pub(super) fn decoder(compressed: Compressed) -> io::Result<Box<dyn Read + Send>> {
    let memory_limit = memory_limit::allowed();
    let stream = Stream::new_lzma_decoder(memory_limit)?;
    Ok(Box::new(Lzma { decoder: Some(XzDecoder::new_stream(compressed, stream)), memory_limit }))
}

/// The one stream of a file.
struct Lzma {
    /// `None` after the end.
    decoder: Option<XzDecoder<Compressed>>,
    memory_limit: u64,
}

impl Read for Lzma {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(decoder) = self.decoder.as_mut().filter(|_| !buf.is_empty()) else { return Ok(0) };
        let count = decoder.read(buf).map_err(|error| xz::explained(error, self.memory_limit))?;
        if count == 0
            && let Some(mut rest) = self.decoder.take().map(XzDecoder::into_inner)
            && !only_padding_follows(&mut rest)?
        {
            Trailing::Refuse.pass_over()?;
        }
        Ok(count)
    }
}
