//! From the source to the sinks: one thread reads, one verifies, and hands each chunk to all writers.
//!
//! Chunks go through bounded channels, and their buffers come back, so that memory is the number of buffers. How a
//! thread ended is told in the channel, after its last chunk: a channel that merely closes is no end of the data.

use std::iter::Peekable;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::error::Error;
use super::fingerprints::{Fingerprints, Purpose, Recorder};
use super::pace::Pace;
use super::plan::{Checksum, Plan, Step};
use crate::digest::{Digest, Hasher};
use crate::hashing::WINDOW;
use crate::range::ByteRange;
use crate::source::{Drain, ForwardRead, read_full};
use crate::sys::memory;
use crate::sys::pool::{Pool, PooledBuf};
use crate::sys::threads;

/// The length of a chunk in bytes. Chunks end on its multiples, so that none straddles the end of a boot region; a
/// device that takes 4 MiB a second is done with one in time for a user who wants to stop.
pub(super) const CHUNK_LEN: usize = WINDOW as usize;

/// How many chunks there are at most, for any number of sinks. Some are being read, hashed and written, the others even these
/// out.
pub(super) const CHUNKS: usize = 16;

/// A part of the image on its way. Its buffer goes back to the pool with the last reference to it.
pub(super) struct Chunk {
    /// Where it belongs, in bytes from the start of the image.
    pub(super) offset: u64,
    /// How much of the buffer is data.
    length: usize,
    buf: PooledBuf,
}

impl Chunk {
    pub(super) fn data(&self) -> &[u8] {
        &self.buf[..self.length]
    }

    pub(super) fn bytes(&self) -> ByteRange {
        ByteRange { start: self.offset, end: self.offset + self.length as u64 }
    }
}

/// What the verifier gets.
enum ToVerifier {
    Chunk(Chunk),
    /// All chunks have come, and as far as that can be told the image is complete.
    End,
    /// No more chunks come.
    Failed(Error),
}

/// What a writer gets.
#[derive(Clone)]
pub(super) enum ToWriter {
    Chunk(Arc<Chunk>),
    /// The image is complete; with the fingerprints of what has come, where they are kept.
    End(Option<Arc<Fingerprints>>),
    /// No more chunks come.
    Failed(Arc<Error>),
}

/// The buffers of one pass.
pub(super) fn buffers() -> Result<Pool, Error> {
    Pool::new(memory::buffers(CHUNKS), CHUNK_LEN).map_err(Error::Memory)
}

/// What is kept of the chunks that pass.
pub(super) enum Keep {
    Nothing,
    /// Their fingerprints. With those of an earlier pass the image must not have changed since.
    Fingerprints(Purpose, Option<Arc<Fingerprints>>),
}

/// Opens the source.
pub(super) type Open = Box<dyn FnOnce() -> Result<Box<dyn ForwardRead>, Error> + Send>;

/// Starts to read and verify what `plan` writes, for `writers`.
///
/// The threads are not waited for: one may sit in a read that never returns. They hold nothing but the source.
pub(super) fn start(
    plan: &Arc<Plan>,
    open: Open,
    drain: Drain,
    pool: Pool,
    keep: Keep,
    writers: Vec<SyncSender<ToWriter>>,
    pace: &Arc<Pace>,
) -> Result<(), Error> {
    let pace = Arc::clone(pace);
    let (to_verifier, chunks) = sync_channel(CHUNKS);
    let planned = Arc::clone(plan);
    let reader = move || {
        let result = open().and_then(|mut source| read(&planned, &mut *source, &pool, &to_verifier, &pace));
        let is_complete = result.is_ok();
        let last = result.map_or_else(ToVerifier::Failed, |()| ToVerifier::End);
        let _ = to_verifier.send(last); // a verifier that has gone needs no end
        // One of unknown size was read to the end of its pipe.
        if let Some(size) = planned.image_size().filter(|_| is_complete) {
            drain.run(planned.writes().last().map_or(0, |range| range.end), size);
        }
    };
    threads::start("reader", reader).map_err(Error::Thread)?;
    let planned = Arc::clone(plan);
    threads::start("verifier", move || verify(&planned, &chunks, keep, writers)).map_err(Error::Thread)?;
    Ok(())
}

/// What the reader returns where the receiver has gone: it is never read, and must not look like success.
const RECEIVER_GONE: Result<(), Error> = Err(Error::Cancelled);

/// Reads what `plan` writes from `source` and sends it on; then checks that the source is complete, as far as that can
/// be told.
fn read(
    plan: &Plan,
    source: &mut dyn ForwardRead,
    pool: &Pool,
    chunks: &SyncSender<ToVerifier>,
    pace: &Pace,
) -> Result<(), Error> {
    let mut offset = 0;
    for range in plan.writes() {
        let reached = source.skip_to(range.start).map_err(|source| Error::Read { offset: range.start, source })?;
        if reached < range.start {
            return Err(ended_early(plan, reached));
        }
        offset = range.start;
        while offset < range.end {
            let mut buf = take(pool, pace);
            let length = chunk_len(ByteRange { start: offset, end: range.end });
            let got = read_full(source, &mut buf[..length]).map_err(|source| Error::Read { offset, source })?;
            let chunk = Chunk { offset, length: got, buf };
            if got > 0 && chunks.send(ToVerifier::Chunk(chunk)).is_err() {
                return RECEIVER_GONE;
            }
            offset += got as u64;
            if got < length {
                if plan.image_size().is_none() {
                    break;
                }
                return Err(ended_early(plan, offset));
            }
        }
    }
    if plan.covers_all() { Ok(()) } else { check_end(plan, source, offset) }
}

/// A free buffer. Where it must be waited for, the targets hold up the reader.
fn take(pool: &Pool, pace: &Pace) -> PooledBuf {
    pool.try_take().unwrap_or_else(|| {
        pace.set_starving(true);
        let buf = pool.take();
        pace.set_starving(false);
        buf
    })
}

/// How much of `range` goes into one chunk: up to the next multiple of the chunk's length in the target.
fn chunk_len(range: ByteRange) -> usize {
    const LENGTH: u64 = CHUNK_LEN as u64;
    let to_boundary = LENGTH - range.start % LENGTH;
    to_boundary.min(range.len()) as usize
}

/// Reads on from `offset` to the end of the source, which must be clean, and where the image ends. A source that goes
/// on after that is not read further: it may be endless.
fn check_end(plan: &Plan, source: &mut dyn ForwardRead, offset: u64) -> Result<(), Error> {
    let Some(expected) = plan.image_size() else {
        return source.finish().map(drop).map_err(|source| Error::Read { offset, source });
    };
    let failed = |source| Error::Read { offset: expected, source };
    let reached = source.skip_to(expected).map_err(failed)?;
    if reached < expected {
        return Err(ended_early(plan, reached));
    }
    if read_full(source, &mut [0]).map_err(failed)? > 0 {
        return Err(if plan.map().is_some() { Error::GoesOn { expected } } else { Error::Grew { expected } });
    }
    source.finish().map(drop).map_err(failed)
}

fn ended_early(plan: &Plan, at: u64) -> Error {
    let expected = plan.image_size().unwrap_or(at);
    if plan.map().is_some() { Error::EndedEarly { at, expected } } else { Error::Shrank { at, expected } }
}

/// Hashes chunks and hands them on. The last chunk of a range goes on only if the range's checksum is right.
fn verify(plan: &Plan, chunks: &Receiver<ToVerifier>, keep: Keep, mut writers: Vec<SyncSender<ToWriter>>) {
    let mut checker = Checker::new(plan, keep);
    for message in chunks {
        let message = match message {
            ToVerifier::Chunk(chunk) => checker.check(&chunk).map(|()| ToWriter::Chunk(Arc::new(chunk))),
            ToVerifier::End => checker.finish().map(ToWriter::End),
            ToVerifier::Failed(error) => Err(error),
        };
        let message = message.unwrap_or_else(|error| ToWriter::Failed(Arc::new(error)));
        let is_last = !matches!(message, ToWriter::Chunk(_));
        send_to_all(&mut writers, &message);
        if is_last || writers.is_empty() {
            return;
        }
    }
}

/// Sends a message to all writers, and forgets those that have given up: they say why themselves.
fn send_to_all(writers: &mut Vec<SyncSender<ToWriter>>, message: &ToWriter) {
    writers.retain(|writer| writer.send(message.clone()).is_ok());
}

/// Follows the chunks through the ranges that they make up.
struct Checker<'a> {
    steps: Peekable<Box<dyn Iterator<Item = Step<'a>> + 'a>>,
    hasher: Option<Hasher>,
    recorder: Option<Recorder>,
    /// The fingerprints of the first pass.
    before: Option<Arc<Fingerprints>>,
}

impl<'a> Checker<'a> {
    fn new(plan: &'a Plan, keep: Keep) -> Self {
        let (recorder, before) = match keep {
            Keep::Nothing => (None, None),
            Keep::Fingerprints(purpose, before) => (Some(Recorder::new(purpose)), before),
        };
        Self { steps: plan.steps().peekable(), hasher: None, recorder, before }
    }

    fn check(&mut self, chunk: &Chunk) -> Result<(), Error> {
        while self.steps.next_if(|step| matches!(step, Step::Zero(_))).is_some() {}
        let Some(&Step::Write(bytes, checksum)) = self.steps.peek() else { panic!("a chunk that no step writes") };
        if let Some(checksum) = checksum {
            self.hasher.get_or_insert_with(|| checksum.kind.hasher()).update(chunk.data());
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.add(chunk.bytes(), chunk.data()).map_err(Error::Memory)?;
        }
        if chunk.bytes().end < bytes.end {
            return Ok(());
        }
        self.steps.next();
        match (checksum, &mut self.hasher) {
            (Some(checksum), Some(hasher)) => compare(checksum, bytes, hasher.finish()),
            _ => Ok(()),
        }
    }

    /// The fingerprints of all chunks, where they are kept.
    fn finish(&mut self) -> Result<Option<Arc<Fingerprints>>, Error> {
        let Some(recorder) = self.recorder.take() else { return Ok(None) };
        let kept = recorder.finish().map_err(Error::Memory)?;
        match self.before.as_ref().and_then(|before| kept.difference(before)) {
            Some(window) => Err(Error::Changed { offset: window * WINDOW }),
            None => Ok(Some(Arc::new(kept))),
        }
    }
}

fn compare(checksum: Checksum<'_>, bytes: ByteRange, computed: Digest) -> Result<(), Error> {
    let Checksum { blocks: range, kind, digest } = checksum;
    let expected = Digest::from(digest);
    if computed == expected { Ok(()) } else { Err(Error::Mismatch { range, bytes, kind, expected, computed }) }
}
