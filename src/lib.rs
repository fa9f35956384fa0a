//! Maps sparse disk images and flashes them.
//!
//! Ten lines flash an image:
//!
//! ```no_run
//! use bmaptool::bmap::Bmap;
//! use bmaptool::copy::{Copy, Plan, Unmapped, Verify};
//! use bmaptool::sink::{Request, claim};
//! use bmaptool::source::{Location, Source};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let map = Bmap::parse(&std::fs::read("disk.bmap")?)?;
//! let plan = Plan::mapped(map, Verify::Checksums, Unmapped::Keep);
//! let image = plan.open(Source::open(&Location::parse("disk.img.xz".as_ref())?)?)?;
//! let target = claim(&Request::new("/dev/sdX".as_ref(), image.size(), image.inputs()))?;
//! for verdict in Copy::new(image, vec![target.sink]).run() {
//!     println!("{} bytes, verified", verdict?.bytes);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Three lines map one:
//!
//! ```no_run
//! use bmaptool::create::{Request, create};
//! use bmaptool::digest::ChecksumKind;
//! use bmaptool::event::Silent;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let path = "disk.img".as_ref();
//! let request = Request { checksums: Some(ChecksumKind::Sha256), ..Request::default() };
//! let map = create(&std::fs::File::open(path)?, path, &request, &Silent)?;
//! map.emit(&mut std::fs::File::create("disk.bmap")?)?;
//! # Ok(())
//! # }
//! ```
//!
//! A target is claimed before it is written to: whatever is mounted, held, read-only, too small, or shares bytes with
//! an input is refused, and nothing changes. A copy may have several targets, and gives a verdict for each: what was
//! copied, or a typed error and the state that it left the target in ([`sink::TargetState`]). [`copy::Copy::observer`]
//! is told phases, progress and notices as they happen ([`event`]); [`copy::Cancel`] stops a copy, from a signal
//! handler too. The library prints nothing and never ends the process.
//!
//! # Modules
//!
//! | module | what it is |
//! |---|---|
//! | [`bmap`] | the block map: model, parser, writer |
//! | [`create`] | makes one of a sparse image, from what [`filemap`] says is mapped |
//! | [`copy`] | the engine: a [`copy::Plan`] says what becomes of every byte, a [`copy::Copy`] does it |
//! | [`verify`] | whether a device or an image is what its block map says |
//! | [`info`] | what an image, a bmap or a device is |
//! | [`source`] | where bytes come from: transports, codecs, archives |
//! | [`sink`] | where bytes go: block devices, regular files, /dev/null |
//! | [`device`] | what block devices are, who uses them, and which of them share bytes |
//! | [`trust`] | signatures: one on a bmap authenticates it and, through its checksums, every byte that is written |
//! | [`discover`], [`load`] | the bmap and the signature beside an image |
//! | [`partition`] | partition tables: GPT and MBR |
//! | [`event`] | what happens, told as it happens |
//! | [`range`], [`digest`] | blocks and bytes, checksums |
//! | [`size`], [`visible`] | sizes for people, and text from outside that is fit for them |
//!
//! Imports run downward, without circles: info → copy, create, verify, load → discover, trust → source, sink, filemap → device, bmap →
//! event, range, digest, size, visible, sys. The library knows no command line and no terminal. ARCHITECTURE.md says more.

#![warn(missing_docs)]

pub mod bmap;
pub mod copy;
pub mod create;
pub mod device;
pub mod digest;
pub mod discover;
pub mod event;
pub mod filemap;
mod hashing;
pub mod info;
pub mod load;
pub mod partition;
pub mod range;
pub mod sink;
pub mod size;
pub mod source;
#[doc(hidden)] // shared with the binary, and not for others
pub mod sys;
pub mod trust;
pub mod verify;
pub mod visible;
