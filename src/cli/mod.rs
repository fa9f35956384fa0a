//! What a person types and sees.

mod args;
mod bmap;
mod columns;
mod copy;
mod create;
mod error;
mod hint;
mod info;
mod json;
mod list;
mod network;
mod output;
pub mod passwords;
pub mod process;
mod python;
pub mod report;
pub mod usage;
mod verify;

use std::panic::catch_unwind;

use args::{Arguments, Command};
use error::Error;

/// The exit status after an error.
const FAILED: i32 = 1;

/// The exit status after wrong usage, clap's own.
const WRONG_USAGE: i32 = 2;

/// Runs the command, tells its error, and returns the exit status.
pub fn run(arguments: &Arguments) -> i32 {
    let (error, status) = match catch_unwind(|| dispatch(arguments)) {
        Ok(Ok(())) => (None, 0),
        Ok(Err(error)) => {
            error.report();
            (Some(error.object()), error.status())
        }
        // The hook has printed the panic.
        Err(_) => (Some(json::Error { code: json::Code::InternalError, message: "internal error".to_owned() }), FAILED),
    };
    json::conclude(error, status);
    status
}

fn dispatch(arguments: &Arguments) -> Result<(), Error> {
    match &arguments.command {
        Command::Create(create) => create::run(create, &arguments.verbosity),
        Command::Copy(copy) => copy::run(copy, &arguments.verbosity),
        Command::Verify(verify) => verify::run(verify, &arguments.verbosity),
        Command::Info(info) => info::run(info),
        Command::List(list) => list::run(list),
    }
}
