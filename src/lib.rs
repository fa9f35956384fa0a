//! Maps sparse disk images and flashes them.
//!
//! # The house
//!
//! Two things are done here. [`create`] asks the file system which blocks of an image hold data ([`filemap`]), hashes
//! them, and so makes a block map ([`bmap`]). [`copy`] is the engine: it takes what to copy ([`copy::Extents`], mostly a
//! block map), where the bytes come from ([`source`]) and where they go ([`sink`]), and moves each byte once. Who made
//! the block map, and so vouches for every byte, is told by its [`signature`].
//!
//! Below them lie the words that all share: [`range`] turns blocks into bytes, [`digest`] knows the checksums,
//! [`magic`] tells how a file is packed, [`file_id`] which file is which, [`size`] writes sizes for people, [`retry`] lets no
//! signal stop a system call, [`threads`] starts threads, `programs` sees that those that are run end with us, and [`paths`]
//! tells folders.
//!
//! ```text
//! the command line      -> create, copy, signature, source, target, bmap
//! create                -> filemap, bmap, digest, range
//! copy                  -> bmap, digest, range, threads, and the traits of source and target with what goes with them
//! source, target,
//! signature, filemap,
//! bmap                  -> range, digest, magic, file_id, size, retry, threads, programs, paths; never each other
//! ```
//!
//! Nothing here knows a command line or a terminal: that is the binary's, which cannot be imported. What is worth
//! telling goes through the [`log`] facade; what goes wrong is a typed error.
//!
//! # The way of one byte
//!
//! A file or a socket → transport → codec → holes are skipped → the reader fills an aligned buffer → the verifier hashes
//! it and, at the end of a range, lets the last piece through only if the digest is right → the writer puts it at its
//! offset → sync → boot region → sync.

#![warn(missing_docs)]
// Nothing that comes from outside may bring the program down. In tests, a panic is how they fail.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a broken invariant of our own shall panic"
)]
pub mod bmap;
pub mod copy;
#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a broken invariant of our own shall panic"
)]
pub mod create;
#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a broken invariant of our own shall panic"
)]
pub mod digest;
pub mod event;
pub mod file_id;
#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a broken invariant of our own shall panic"
)]
pub mod filemap;
pub mod magic;
pub mod paths;
mod programs;
#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a broken invariant of our own shall panic"
)]
pub mod range;
pub mod retry;
pub mod signature;
pub mod sink;
pub mod size;
pub mod source;
pub mod threads;
