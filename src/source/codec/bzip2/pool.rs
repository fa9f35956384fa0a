//! The threads: one reads and looks for blocks, the others decode them. What they make is taken in the order of the file.

use std::io::{self, BufRead};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use super::block::{Block, Decoder, Flaw, MIN_PACKED};
use super::scanner::{Kind, Piece, Scanner};
use crate::sys::threads;

/// How many blocks are decoded at the same time, at most. Each takes 8 MiB, those that wait for their turn included, and
/// all together shall leave room for the rest of a copy in 64 MiB.
const MAX_DECODERS: usize = 4;

/// A piece of the file, whose block, if it may be one, is being decoded or has been.
pub(super) struct Candidate {
    pub(super) piece: Arc<Piece>,
    pub(super) block: Option<Receiver<Result<Block, Flaw>>>,
}

/// A piece to be decoded, and where the block is wanted.
struct Job {
    piece: Arc<Piece>,
    block: SyncSender<Result<Block, Flaw>>,
}

/// Starts the threads; what they send ends with `None` or an error. They end once that has been sent, or the receiver has
/// been dropped.
pub(super) fn start(packed: impl BufRead + Send + 'static) -> io::Result<Receiver<io::Result<Option<Candidate>>>> {
    let decoders = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MAX_DECODERS);
    // With the one that is being taken and the one that is being looked for there are more than the decoders can work at.
    let (to_consumer, candidates) = sync_channel(decoders);
    let (to_decoders, jobs) = channel();
    let jobs = Arc::new(Mutex::new(jobs));
    for _ in 0..decoders {
        let jobs = Arc::clone(&jobs);
        threads::start("bzip2 decoder", move || decode(&jobs))?;
    }
    let scanner = Scanner::new(packed);
    threads::start("bzip2 scanner", move || scan(scanner, &to_consumer, &to_decoders))?;
    Ok(candidates)
}

/// Hands on each piece and then `None`, unless nobody wants them.
fn scan<R: BufRead>(
    mut scanner: Scanner<R>,
    consumer: &SyncSender<io::Result<Option<Candidate>>>,
    decoders: &Sender<Job>,
) {
    loop {
        let candidate = scanner.next_piece().map(|piece| piece.map(|piece| candidate(piece, decoders)));
        let is_last = !matches!(candidate, Ok(Some(_)));
        if consumer.send(candidate).is_err() || is_last {
            break;
        }
    }
}

/// Has a piece decoded, if it begins like a block and is long enough for one: where a magic comes up over and over, a
/// million pieces may wait for the end of the block that they are part of, and shall cost little.
fn candidate(piece: Piece, decoders: &Sender<Job>) -> Candidate {
    let piece = Arc::new(piece);
    if piece.kind != Kind::Block || piece.bytes.len() < MIN_PACKED {
        return Candidate { piece, block: None };
    }
    let (sender, block) = sync_channel(1);
    // They are there until the sender of their jobs is dropped.
    let _ = decoders.send(Job { piece: Arc::clone(&piece), block: sender });
    Candidate { piece, block: Some(block) }
}

/// Decodes blocks until there are no more.
fn decode(jobs: &Mutex<Receiver<Job>>) {
    let mut decoder = Decoder::new();
    loop {
        // Whoever waits for a job keeps the others from waiting for the same one.
        let job = jobs.lock().map(|jobs| jobs.recv());
        let Ok(Ok(Job { piece, block })) = job else { break };
        let decoded = decoder.decode(&piece.bytes, piece.start % 8).map(|block| {
            let end = (piece.start & !7).saturating_add(block.end);
            Block { end, ..block }
        });
        // The candidate may have turned out to be none.
        let _ = block.send(decoded);
    }
}
