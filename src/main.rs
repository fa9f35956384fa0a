//! bmaptool: parse, dispatch, and turn what went wrong into words and an exit status.

mod cli;

use std::panic::catch_unwind;

use cli::report::console;
use cli::{passwords, process, usage};

fn main() {
    let arguments = usage::parse();
    console::init(arguments.verbosity.level());
    process::report_panics();
    passwords::hide_from_process_list();
    let status = match catch_unwind(|| cli::run(arguments)) {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => {
            error.report();
            error.status()
        }
        Err(_) => cli::FAILED, // told already
    };
    console::finish();
    std::process::exit(status)
}
