//! bmaptool: the command line, then the command, then the exit status.

mod cli;

use cli::report::console;
use cli::{passwords, process, usage};

fn main() {
    let arguments = usage::parse();
    console::init(arguments.verbosity.level());
    process::report_panics();
    passwords::hide_from_process_list();
    let status = process::leave_signals_to_this_thread(|| cli::run(&arguments));
    console::finish();
    std::process::exit(status)
}
