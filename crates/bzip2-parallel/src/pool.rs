//! The threads: one reads and looks for blocks, the others decode them. The results are received in the order of the
//! file.

use std::io::{self, BufRead};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use super::Task;
use super::block::{Block, BlockDecoder, BlockError, MIN_COMPRESSED};
use super::scanner::{Magic, Scanner, Section};

/// A section of the file, and what becomes of the block that it begins with, unless it cannot be one.
pub(super) struct Candidate {
    pub(super) section: Arc<Section>,
    pub(super) block: Option<Receiver<Result<Block, BlockError>>>,
}

/// What the thread that reads has found. Nothing follows the end or a failure.
pub(super) enum Scanned {
    Candidate(Candidate),
    EndOfFile,
    ReadFailed(io::Error),
}

/// A section to be decoded, and where to send the block.
struct Job {
    section: Arc<Section>,
    block: SyncSender<Result<Block, BlockError>>,
}

/// Starts `threads` that decode, and one that reads. They end after the last [`Scanned`], or when its receiver is
/// dropped.
pub(super) fn start(
    compressed: impl BufRead + Send + 'static,
    threads: NonZeroUsize,
    mut spawn: impl FnMut(&str, Task) -> io::Result<()>,
) -> io::Result<Receiver<Scanned>> {
    // Together with the one that is being received and the one that is being sent, there are more than can be decoded
    // at the same time. This is what bounds how far is read ahead.
    let (consumer, scanned) = sync_channel(threads.get());
    let (decoders, jobs) = channel();
    let jobs = Arc::new(Mutex::new(jobs));
    for _ in 0..threads.get() {
        let jobs = Arc::clone(&jobs);
        spawn("bzip2 decoder", Box::new(move || decode(&jobs)))?;
    }
    let scanner = Scanner::new(compressed);
    spawn("bzip2 scanner", Box::new(move || scan(scanner, &consumer, &decoders)))?;
    Ok(scanned)
}

/// Starts a thread, and waits until it runs.
pub(super) fn spawn(name: &str, task: Task) -> io::Result<()> {
    let (running, started) = sync_channel(1);
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _ = running.send(()); // the receiver is there: it waits
        task();
    })?;
    started.recv().map_err(|_| io::Error::other("a thread of the decoder has failed to start"))
}

/// Sends each section, and what ends them, unless the receiver is gone.
fn scan<R: BufRead>(mut scanner: Scanner<R>, consumer: &SyncSender<Scanned>, decoders: &Sender<Job>) {
    loop {
        let (scanned, is_last) = match scanner.next_section() {
            Ok(Some(section)) => (Scanned::Candidate(candidate(section, decoders)), false),
            Ok(None) => (Scanned::EndOfFile, true),
            Err(error) => (Scanned::ReadFailed(error), true),
        };
        if consumer.send(scanned).is_err() || is_last {
            break;
        }
    }
}

/// Has a section decoded, if it begins like a block and is long enough for one. In a file that is crafted to consist of
/// magics, a million sections may belong to one block, and each has to cost little.
fn candidate(section: Section, decoders: &Sender<Job>) -> Candidate {
    let section = Arc::new(section);
    if section.magic != Some(Magic::Block) || section.bytes.len() < MIN_COMPRESSED {
        return Candidate { section, block: None };
    }
    let (sender, block) = sync_channel(1);
    // Only fails if all decoders have panicked; then no block arrives, which the receiver notices.
    let _ = decoders.send(Job { section: Arc::clone(&section), block: sender });
    Candidate { section, block: Some(block) }
}

/// Decodes blocks until there are no more.
fn decode(jobs: &Mutex<Receiver<Job>>) {
    let mut decoder = BlockDecoder::new();
    loop {
        // The lock is held while waiting, so that only one waits for a job and the others for their turn.
        let job = jobs.lock().map(|jobs| jobs.recv());
        let Ok(Ok(Job { section, block })) = job else { break };
        let decoded = decoder.decode(&section.bytes, section.start % 8).map(|block| {
            let end = (section.start & !7).saturating_add(block.end);
            Block { end, ..block }
        });
        // Fails if the candidate has turned out to be no block, or the receiver is gone.
        let _ = block.send(decoded);
    }
}
