//! Reads the command line of this process.

use std::ffi::OsString;
use std::io::{Stdout, Write};
use std::process::exit;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser};
use log::LevelFilter;

use super::args::{Arguments, Bmap, Command, Copy, Info, Verify};
use super::hint::{BMAP_OF_STDIN, BMAP_OF_VERIFIED_STDIN};
use super::json::{self, Code, stream};
use super::process;
use super::report::console;

/// The arguments of this process. Wrong ones end it with a message.
pub fn parse() -> Arguments {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| exit_with(&error));
    // clap misses this conflict when one flag is before the command and one after it.
    if arguments.verbosity.quiet && arguments.verbosity.debug {
        let message = "'--quiet' cannot be used with '--debug'";
        exit_with(&Arguments::command().error(ErrorKind::ArgumentConflict, message));
    }
    match &arguments.command {
        Command::Copy(copy) => {
            let command = Copy::augment_args(clap::Command::new("bmaptool copy"));
            check_stdin(&copy.image, &copy.bmap, copy.nobmap, BMAP_OF_STDIN, command);
        }
        Command::Verify(verify) => {
            let command = Verify::augment_args(clap::Command::new("bmaptool verify"));
            check_stdin(&verify.file, &verify.bmap, false, BMAP_OF_VERIFIED_STDIN, command);
        }
        Command::Info(info) => {
            let command = Info::augment_args(clap::Command::new("bmaptool info"));
            check_signature(&info.file, &info.bmap, command);
        }
        Command::Create(_) | Command::List(_) => {}
    }
    if arguments.command.is_json() {
        stream::start();
    }
    arguments
}

/// Standard input has no files beside it, and can be read once. The `command` is for its usage: `Arguments::command`
/// would show that of all commands.
fn check_stdin(image: &OsString, bmap: &Bmap, nobmap: bool, advice: &str, mut command: clap::Command) {
    if image == "-" && bmap.bmap.is_none() && !nobmap {
        let message = format!("an image on standard input has no bmap beside it: {advice}");
        exit_with(&command.error(ErrorKind::MissingRequiredArgument, message));
    }
    check_signature(image, bmap, command);
}

/// The signature cannot come from standard input together with another file.
fn check_signature(image: &OsString, bmap: &Bmap, mut command: clap::Command) {
    let is_stdin = |file: &OsString| file == "-";
    let takes_stdin = is_stdin(image) || bmap.bmap.as_ref().is_some_and(is_stdin);
    if takes_stdin && bmap.signature.bmap_sig.as_ref().is_some_and(is_stdin) {
        let message = "the signature cannot come from standard input together with the image or the bmap";
        exit_with(&command.error(ErrorKind::ArgumentConflict, message));
    }
}

/// Prints a usage error, or help or the version, which are asked for in the same way, and ends the process.
fn exit_with(error: &clap::Error) -> ! {
    if !error.use_stderr() {
        answer(error);
    }
    // Help that is shown because arguments are missing explains itself; anything else names the program, for logs.
    if error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        console::print("bmaptool: ");
    }
    // Without colours: it repeats the arguments, whose control characters could not be told from those of colours.
    let text = error.to_string();
    console::print(&console::shown(&text, &['\n']));
    if is_json_wanted() {
        stream::start();
        json::conclude(Some(json::Error { code: Code::Usage, message: json::text(&fact(&text)) }), error.exit_code());
    }
    exit(error.exit_code())
}

/// Whether `--json`, which may be abbreviated, is among arguments that are wrong.
fn is_json_wanted() -> bool {
    let is_json = |argument: OsString| {
        argument.to_str().is_some_and(|argument| argument.starts_with("--j") && "--json".starts_with(argument))
    };
    std::env::args_os().skip(1).take_while(|argument| argument != "--").any(is_json)
}

/// The first paragraph of a usage error in one line: what follows is advice.
fn fact(text: &str) -> String {
    let fact = text.split("\n\n").next().unwrap_or(text);
    let fact = fact.strip_prefix("error: ").unwrap_or(fact);
    fact.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Prints help or the version, and ends the process; it fails if they cannot be written.
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
