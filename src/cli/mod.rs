//! What a person types and sees.

mod args;
mod bmap;
mod copy;
mod create;
mod error;
mod hint;
mod network;
mod output;
pub mod passwords;
pub mod process;
pub mod report;
pub mod usage;

use args::{Arguments, Command};
use error::Error;

/// The exit status of what failed.
pub const FAILED: i32 = 1;

/// Does what the arguments ask for.
pub fn run(arguments: Arguments) -> Result<(), Error> {
    match arguments.command {
        Command::Create(create) => create::run(&create),
        Command::Copy(copy) => copy::run(&copy, &arguments.verbosity),
    }
}
