//! What a person types and sees.

mod args;
mod bar;
mod bmap;
pub mod console;
mod copy;
mod create;
mod error;
mod network;
mod notices;
mod output;
pub mod panics;
mod passwords;
mod printer;
pub mod process_list;
mod psplash;
mod screen;
mod signals;
mod streams;
pub mod usage;
mod watch;

pub use error::Error;

use args::{Arguments, Command};
use watch::Display;

/// The exit status of what failed.
pub const FAILED: i32 = 1;

/// Does what the arguments ask for.
pub fn run(arguments: Arguments) -> Result<(), Error> {
    match arguments.command {
        Command::Create(create) => create::run(&create),
        Command::Copy(copy) => copy::run(&copy, Display::of(&arguments.verbosity)),
    }
}
