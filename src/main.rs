//! bmaptool: parse, dispatch, and turn what went wrong into words and an exit status.

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

mod cli;

use std::panic::catch_unwind;
use std::process::exit;

fn main() {
    let arguments = cli::usage::parse();
    cli::console::init(arguments.verbosity.level());
    cli::panics::report_as_errors();
    cli::process_list::hide_passwords();
    let status = match catch_unwind(|| cli::run(arguments)) {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => {
            error.report();
            error.status()
        }
        Err(_) => cli::FAILED, // told already
    };
    cli::console::finish();
    exit(status)
}
