//! Reads the command line of this process.

use std::ffi::OsString;
use std::io::{Stdout, Write};
use std::process::exit;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use log::LevelFilter;

use super::args::{Arguments, Command, Copy};
use super::process;
use super::report::console;

/// The arguments of this process. Ends it with a message where they are wrong.
pub fn parse() -> Arguments {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| exit_with(&error));
    // Checked here, for clap does not see the two together where one stands before the command and one after it.
    if arguments.verbosity.quiet && arguments.verbosity.debug {
        usage_error(ErrorKind::ArgumentConflict, "'--quiet' cannot be used with '--debug'");
    }
    if let Command::Copy(copy) = &arguments.command {
        check_stdin(copy);
    }
    arguments
}

/// Standard input has no neighbours, and can be read once.
fn check_stdin(copy: &Copy) {
    if copy.image == "-" && copy.bmap.is_none() && !copy.nobmap {
        let message = "an image on standard input has no bmap beside it: use '--bmap BMAP' or '--nobmap'";
        copy_error(ErrorKind::MissingRequiredArgument, message);
    }
    let is_stdin = |source: &Option<OsString>| source.as_ref().is_some_and(|source| source == "-");
    if is_stdin(&copy.bmap_sig) && (copy.image == "-" || is_stdin(&copy.bmap)) {
        let message = "the signature cannot come from standard input together with the image or the bmap";
        copy_error(ErrorKind::ArgumentConflict, message);
    }
}

fn usage_error(kind: ErrorKind, message: &str) -> ! {
    exit_with(&Arguments::command().error(kind, message))
}

fn copy_error(kind: ErrorKind, message: &str) -> ! {
    let mut command = Arguments::command();
    command.build();
    match command.find_subcommand_mut("copy") {
        Some(copy) => exit_with(&copy.error(kind, message)),
        None => usage_error(kind, message),
    }
}

/// Prints a usage error, or help or the version, which are asked for in the same way, and ends the process.
fn exit_with(error: &clap::Error) -> ! {
    if !error.use_stderr() {
        answer(error);
    }
    // Help that is shown for want of arguments explains itself; all else says whose error it is, for logs of many programs.
    if error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        console::print("bmaptool: ");
    }
    // It repeats the arguments, which must not command the terminal, and may hold a password. Where they do, it has no colours.
    // Of whole sequences for terminals its plain text has nothing left that would tell.
    let has_commands = std::env::args_os().any(|argument| argument.to_string_lossy().contains(char::is_control));
    let text = error.to_string();
    let shown = console::shown(&text, &['\n']);
    if has_commands || shown != text {
        console::print(&shown);
        exit(error.exit_code());
    }
    error.exit()
}

/// Prints help or the version, and ends the process: not with success where nobody can have read it.
fn answer(text: &clap::Error) -> ! {
    let print = |mut out: Stdout| text.print().and_then(|()| out.flush());
    match process::stdout().and_then(print) {
        Ok(()) => exit(text.exit_code()),
        Err(error) => {
            console::init(LevelFilter::Error);
            log::error!("cannot write to standard output: {error}");
            exit(super::FAILED);
        }
    }
}
