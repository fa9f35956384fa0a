//! The chain of threads, and its last link: the writer.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::boot_region::BootRegion;
use super::{Cancel, Error, Extents, Progress, Verify, reader, verifier};
use crate::sink::Sink;
use crate::source::ForwardRead;
use crate::sys::aligned::AlignedBuf;
use crate::sys::threads;

/// The length of a chunk in bytes. Chunks end on its multiples, so that none straddles the end of a boot region; a
/// device that takes 4 MiB a second is done with one in time for a user who wants to stop.
pub(super) const CHUNK_LEN: usize = 1 << 20;

/// How many chunks there are. Some are being read, hashed and written, the others even out the three.
const CHUNKS: usize = 16;

/// How long the writer waits before it looks whether it shall stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// A piece of the image on its way.
pub(super) struct Chunk {
    /// Where it belongs, in bytes from the start of the image.
    pub(super) offset: u64,
    /// How much of the buffer is data.
    pub(super) length: usize,
    /// Holds the data.
    pub(super) buf: AlignedBuf,
}

impl Chunk {
    #[expect(clippy::indexing_slicing, reason = "the reader has filled that much of the buffer")]
    pub(super) fn data(&self) -> &[u8] {
        &self.buf[..self.length]
    }

    /// The byte after the last.
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.length as u64)
    }
}

/// What the chain has done.
pub(super) struct Written {
    /// What is still to be written.
    pub(super) boot_region: BootRegion,
    /// How many bytes were copied, those of the boot region included.
    pub(super) bytes: u64,
}

/// Copies everything but the boot region.
///
/// The threads are not waited for after an error: one may sit in a read that never returns. They hold nothing but the
/// source.
pub(super) fn run(
    extents: Extents,
    verify: Verify,
    mut source: Box<dyn ForwardRead>,
    target: &mut dyn Sink,
    progress: &Progress,
    cancel: &Cancel,
) -> Result<Written, Error> {
    cancel.check()?;
    let image_size = extents.image_size();
    let is_device = target.info().boot_region > 0;
    if is_device && image_size == Some(0) {
        return Err(Error::Empty);
    }
    let needs_data = is_device && matches!(extents, Extents::Whole { .. });
    let extents = Arc::new(extents);
    let (give_back, pool) = sync_channel(CHUNKS);
    let (to_verifier, read) = sync_channel(CHUNKS);
    let (to_writer, verified) = sync_channel(CHUNKS);
    for _ in 0..CHUNKS {
        // The pool has room for all of them, and its other end is here.
        let _ = give_back.send(AlignedBuf::zeroed(CHUNK_LEN).map_err(Error::Memory)?);
    }
    let reader = {
        let extents = Arc::clone(&extents);
        spawn("reader", move || reader::read(&extents, verify, &mut *source, &pool, &to_verifier))?
    };
    let verifier = spawn("verifier", move || verifier::verify(&extents, verify, &read, &to_writer))?;
    let boot_region = BootRegion::of(target)?;

    // What may be short, memory and threads, is there before anything changes.
    target.prepare(image_size).map_err(Error::Prepare)?;
    boot_region.clear(target)?;
    let mut writer = Writer { target, boot_region, progress, written: 0 };
    writer.write(&verified, &give_back, cancel)?;
    // The verifier has dropped its end, so it has ended or failed. Where it has ended, the reader has too.
    join(verifier)?;
    join(reader)?;
    if needs_data && writer.written == 0 {
        return Err(Error::Empty);
    }
    Ok(Written { boot_region: writer.boot_region, bytes: writer.written })
}

fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, Error> {
    threads::start(name, work).map_err(Error::Thread)
}

fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

struct Writer<'a> {
    target: &'a mut dyn Sink,
    boot_region: BootRegion,
    progress: &'a Progress,
    written: u64,
}

impl Writer<'_> {
    /// Writes all chunks, until there are no more.
    fn write(&mut self, chunks: &Receiver<Chunk>, pool: &SyncSender<AlignedBuf>, cancel: &Cancel) -> Result<(), Error> {
        loop {
            cancel.check()?;
            match chunks.recv_timeout(PATIENCE) {
                Ok(chunk) => {
                    self.write_chunk(&chunk)?;
                    let _ = pool.send(chunk.buf); // the reader may be done
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    fn write_chunk(&mut self, chunk: &Chunk) -> Result<(), Error> {
        if let Some(capacity) = self.target.info().capacity.filter(|&capacity| capacity < chunk.end()) {
            return Err(Error::Full { capacity });
        }
        let held = self.boot_region.hold(chunk.data(), chunk.offset);
        if let Some(rest) = chunk.data().get(held..).filter(|rest| !rest.is_empty()) {
            self.target.write_at(rest, chunk.offset.saturating_add(held as u64))?;
        }
        let length = chunk.length as u64;
        self.written = self.written.saturating_add(length);
        self.progress.add(length);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
