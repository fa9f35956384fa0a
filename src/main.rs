//! bmaptool: parse, dispatch, and turn what went wrong into words and an exit status.

mod cli;

use std::process::exit;

fn main() {
    let arguments = cli::args::parse();
    cli::console::init(arguments.verbosity.level());
    cli::process_list::hide_passwords();
    if let Err(error) = cli::run(arguments) {
        error.report();
        exit(error.status());
    }
}
