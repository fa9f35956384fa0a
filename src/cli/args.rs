//! The command line, as `bmaptool --help` shows it.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroU64;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use bmaptool::create::Include;
use bmaptool::size;
use bmaptool::source::Header;
use bmaptool::trust::Fingerprint;
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Args, Parser, Subcommand, ValueEnum, ValueHint};

/// Maps sparse disk images and flashes them: only the mapped blocks, every range verified.
#[derive(Debug, Parser)]
#[command(name = "bmaptool", version = env!("BMAPTOOL_VERSION"), propagate_version = true, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
// As in the Python tool, options may be abbreviated, and the last one of several counts.
#[command(infer_long_args = true, args_override_self = true)]
#[command(after_help = "\
Examples:
  bmaptool create disk.img > disk.bmap
  bmaptool copy disk.img.xz /dev/sdX

'bmaptool COMMAND --help' lists the options of a command.")]
pub struct Arguments {
    #[command(flatten)]
    pub verbosity: Verbosity,
    #[command(subcommand)]
    pub command: Command,
}

/// Lists the options of all commands after those of one.
const LAST: usize = 100;

#[derive(Args, Debug)]
pub struct Verbosity {
    /// Print warnings and errors only
    #[arg(short, long, global = true, display_order = LAST)]
    pub quiet: bool,
    /// Print time stamps and details
    #[arg(short, long, global = true, display_order = LAST)]
    pub debug: bool,
}

impl Verbosity {
    /// The least important level that is printed.
    pub fn level(&self) -> log::LevelFilter {
        match (self.quiet, self.debug) {
            (true, _) => log::LevelFilter::Warn,
            (_, true) => log::LevelFilter::Debug,
            _ => log::LevelFilter::Info,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the block map (bmap) of a sparse image
    #[command(display_name = "bmaptool")] // in the version
    #[command(after_help = "\
Examples:
  bmaptool create disk.img > disk.bmap
  bmaptool create -o disk.bmap disk.img")]
    Create(Create),
    /// Write an image to a device or a file, only the blocks that its bmap lists
    #[command(display_name = "bmaptool")]
    #[command(after_help = "\
Examples:
  bmaptool copy disk.img.xz /dev/sdX
  bmaptool copy https://example.com/disk.img.gz /dev/sdX
  xzcat disk.img.xz | bmaptool copy --bmap disk.bmap - /dev/sdX

'bmaptool list' lists the devices.")]
    Copy(Box<Copy>),
    /// Compare a device, a file or an image with its bmap; nothing is written
    #[command(display_name = "bmaptool")]
    #[command(after_help = "\
Examples:
  bmaptool verify --bmap disk.bmap /dev/sdX
  bmaptool verify disk.img.xz")]
    Verify(Verify),
    /// Tell what an image, a bmap or a device is; nothing is written
    #[command(display_name = "bmaptool")]
    #[command(after_help = "\
Examples:
  bmaptool info disk.img.xz
  bmaptool info /dev/sdX")]
    Info(Info),
    /// List the removable devices, and what they are used for
    #[command(display_name = "bmaptool")]
    List(List),
}

impl Command {
    /// Whether events or objects are printed for programs.
    pub fn is_json(&self) -> bool {
        match self {
            Self::Create(Create { json, .. })
            | Self::Verify(Verify { json, .. })
            | Self::Info(Info { json, .. })
            | Self::List(List { json, .. }) => *json,
            Self::Copy(copy) => copy.json,
        }
    }
}

#[derive(Args, Debug)]
pub struct Create {
    /// Write the bmap to FILE instead of standard output; it appears whole or not at all
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Leave out the checksums of the ranges
    #[arg(long)]
    pub no_checksum: bool,
    /// Cut ranges at multiples of SIZE bytes, with K, M, G or T for powers of 1024; by default a range is a whole extent
    #[arg(long, value_name = "SIZE", value_parser = size, value_hint = ValueHint::Other)]
    pub range_size: Option<NonZeroU64>,
    /// Map this part in any case, even if it is a hole: START-END in bytes, or pN for partition N
    #[arg(long, value_name = "RANGE", value_hint = ValueHint::Other)]
    pub map: Vec<Include>,
    /// Print events for programs on standard output, JSON objects in a line each
    #[arg(long, requires = "output")]
    pub json: bool,
    /// The image: a regular file that is not compressed
    #[arg(value_name = "IMAGE")]
    pub image: PathBuf,
}

#[derive(Args, Debug)]
pub struct Copy {
    #[command(flatten)]
    pub bmap: Bmap,
    /// Copy the whole image, without a bmap
    #[arg(long, conflicts_with_all = ["bmap", "bmap_sig", "keyring", "fingerprint"])]
    pub nobmap: bool,
    #[command(flatten)]
    pub network: Network,
    /// Do not verify the checksums of the ranges
    #[arg(long)]
    pub no_verify: bool,
    /// Read back what was written, past the page cache, and compare it
    #[arg(long)]
    pub read_back: bool,
    /// Write only what the target does not hold already
    #[arg(long)]
    pub only_changed: bool,
    /// What becomes of the holes of the image on a device; 'discard' includes what follows the image
    #[arg(long, value_enum, value_name = "ACTION", default_value = "keep", hide_default_value = true)]
    #[arg(conflicts_with = "nobmap")]
    pub unmapped: Unmapped,
    /// Put the backup of the image's GPT at the end of the device, which may be larger than the image
    #[arg(long)]
    pub relocate_gpt: bool,
    /// Print events for programs on standard output, JSON objects in a line each
    #[arg(long)]
    pub json: bool,
    /// Write the progress to a psplash FIFO
    #[arg(long, value_name = "FIFO")]
    pub psplash_pipe: Option<PathBuf>,
    /// Refuse a target that is not a removable device
    #[arg(long)]
    pub removable_device: bool,
    /// The image: a path, '-' for standard input, or a URL; it may be compressed
    #[arg(value_name = "IMAGE")]
    pub image: OsString,
    /// Where it is written: block devices and files
    #[arg(value_name = "TARGET", required = true)]
    pub targets: Vec<PathBuf>,
}

/// What becomes of the holes of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Unmapped {
    /// The device keeps what it has there
    Keep,
    /// They are zeroed
    Zero,
    /// They are discarded
    Discard,
}

/// How files are fetched.
#[derive(Args, Debug)]
pub struct Network {
    /// Send this header, 'NAME: VALUE', to the HTTP server of the image; repeatable
    #[arg(long, value_name = "HEADER", value_hint = ValueHint::Other, value_parser = HeaderParser)]
    pub header: Vec<Header>,
    /// Trust the certificates in FILE (PEM), besides those of the system
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
}

/// Parses headers. Unlike those of clap, its errors do not show the value, which may be a secret.
#[derive(Clone)]
struct HeaderParser;

impl TypedValueParser for HeaderParser {
    type Value = Header;

    fn parse_ref(&self, command: &clap::Command, _: Option<&Arg>, value: &OsStr) -> Result<Header, clap::Error> {
        Header::parse(value.as_bytes()).map_err(|error| {
            let message = format!("invalid value for '--header <HEADER>': {error}");
            command.clone().error(ErrorKind::ValueValidation, message)
        })
    }
}

#[derive(Args, Debug)]
pub struct Verify {
    #[command(flatten)]
    pub bmap: Bmap,
    #[command(flatten)]
    pub network: Network,
    /// Print events for programs on standard output, JSON objects in a line each
    #[arg(long)]
    pub json: bool,
    /// What is verified: a device, a file, '-' for standard input, or a URL; it may be compressed
    #[arg(value_name = "FILE")]
    pub file: OsString,
}

/// Which bmap, and who must have made it.
#[derive(Args, Debug)]
#[group(skip)] // the group would have the name of the option
pub struct Bmap {
    /// The bmap of the image; by default it is looked for beside the image
    #[arg(long, value_name = "BMAP", value_parser = named())]
    pub bmap: Option<OsString>,
    #[command(flatten)]
    pub signature: Signature,
}

/// Who must have made the bmap.
#[derive(Args, Debug)]
#[group(skip)]
pub struct Signature {
    /// The detached OpenPGP signature of the bmap; by default it is looked for beside the bmap
    #[arg(long, value_name = "SIG", value_parser = named())]
    pub bmap_sig: Option<OsString>,
    /// Do not verify the signature of the bmap
    #[arg(long, conflicts_with_all = ["bmap_sig", "keyring", "fingerprint"])]
    pub no_sig_verify: bool,
    /// Accept signatures of the keys in this keyring only
    #[arg(long, value_name = "FILE")]
    pub keyring: Option<PathBuf>,
    /// Accept a signature of the key with this fingerprint only
    #[arg(long, value_name = "FPR", value_hint = ValueHint::Other)]
    pub fingerprint: Option<Fingerprint>,
}

#[derive(Args, Debug)]
pub struct Info {
    #[command(flatten)]
    pub bmap: Bmap,
    #[command(flatten)]
    pub network: Network,
    /// Print a JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// An image, a bmap or a device: a path, '-' for standard input, or a URL
    #[arg(value_name = "FILE")]
    pub file: OsString,
}

#[derive(Args, Debug)]
pub struct List {
    /// List fixed disks and loop devices too
    #[arg(long)]
    pub all: bool,
    /// Print a JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

impl Bmap {
    /// The files that are named.
    pub fn files(&self) -> impl Iterator<Item = &OsString> {
        self.bmap.iter().chain(&self.signature.bmap_sig)
    }
}

fn size(text: &str) -> Result<NonZeroU64, &'static str> {
    size::parse(text).and_then(NonZeroU64::new).ok_or("not a number of bytes, as in 4M")
}

/// Refuses an empty name, which is an unset variable in a script.
fn named() -> impl TypedValueParser<Value = OsString> {
    OsStringValueParser::new().try_map(|name| if name.is_empty() { Err("it is empty") } else { Ok(name) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        use clap::CommandFactory;

        Arguments::command().debug_assert();
    }
}
