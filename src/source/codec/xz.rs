//! xz, by liblzma: its decoder for several threads, which decompresses the blocks of a file in parallel where the file
//! has more than one and tells their sizes. Every integrity check is the library's.

use std::io::{self, BufReader, Read};
use std::sync::LazyLock;
use std::thread;

use xz2::bufread::XzDecoder;
use xz2::stream::{self, MtStreamBuilder};

use super::concatenated::{Concatenated, Member};
use super::{Compressed, Trailing, memory_limit};
use crate::size::human;
use crate::source::decode_error::unsupported;
use crate::source::peek::StoredFile;

pub(super) use super::xz_index::index;

pub(super) fn decoder(compressed: Compressed) -> io::Result<Box<dyn Read + Send>> {
    Ok(Box::new(Concatenated::<Stream>::new(compressed, Trailing::Refuse)?))
}

/// Decompresses `file` from where it stands, with one thread.
pub(super) fn sequential(file: &mut StoredFile) -> io::Result<impl Read> {
    let stream = stream::Stream::new_stream_decoder(memory_limit::allowed(), 0)?;
    Ok(XzDecoder::new_stream(BufReader::new(file), stream))
}

/// How many threads decompress. Asking takes longer than to decompress a small stream, of which a file may have many.
static THREADS: LazyLock<u32> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1)));

/// One stream of a file.
struct Stream {
    decoder: XzDecoder<Compressed>,
    memory_limit: u64,
}

impl Stream {
    /// Beyond `for_threads` bytes of memory the decoder uses fewer threads, beyond `memory_limit` it gives up.
    fn new(compressed: Compressed, for_threads: u64, memory_limit: u64) -> io::Result<Self> {
        let stream = MtStreamBuilder::new()
            .threads(*THREADS)
            .memlimit_threading(for_threads)
            .memlimit_stop(memory_limit)
            .decoder()
            .map_err(|error| explained(error.into(), memory_limit))?;
        Ok(Self { decoder: XzDecoder::new_stream(compressed, stream), memory_limit })
    }
}

/// `error` in words, where it is about memory.
pub(super) fn explained(error: io::Error, memory_limit: u64) -> io::Error {
    match error.get_ref().and_then(|cause| cause.downcast_ref::<stream::Error>()) {
        Some(stream::Error::MemLimit) => unsupported(format!(
            "it needs over {} of memory, the limit: a quarter of the machine's, but not less than 128 MiB",
            human(memory_limit)
        )),
        // Or no thread: the library does not tell them apart.
        Some(stream::Error::Mem) => unsupported("the machine has not enough memory left for it, or no thread"),
        _ => error,
    }
}

impl Member for Stream {
    const MAGIC: &'static [u8] = b"\xfd7zXZ\0";

    fn begin(compressed: Compressed) -> io::Result<Self> {
        Self::new(compressed, memory_limit::quarter(), memory_limit::allowed())
    }

    fn into_compressed(self) -> Compressed {
        self.decoder.into_inner()
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buf).map_err(|error| explained(error, self.memory_limit))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use xz2::write::XzEncoder;

    use super::*;

    #[test]
    fn a_stream_that_needs_too_much_memory_is_refused() {
        let mut encoder = XzEncoder::new(Vec::new(), 6);
        encoder.write_all(b"some data").unwrap();
        let file = encoder.finish().unwrap();
        let decompress = |limit| {
            let mut data = String::new();
            let compressed = super::super::compressed(io::Cursor::new(file.clone()));
            Stream::new(compressed, limit, limit).unwrap().read_to_string(&mut data).map(|_| data)
        };
        assert_eq!(decompress(64 << 20).unwrap(), "some data");
        let error = decompress(1 << 20).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains("1.0 MiB"), "{error}");
    }
}
