//! Panics, told as errors are.

use std::any::Any;
use std::process::exit;

use bmaptool::sys::threads;

/// Where the runtime sets up the stack for signals of a new thread.
const START_OF_THREADS: &str = "/sys/pal/unix/stack_overflow.rs";

/// From now on a panic is a message, without a backtrace. What the thread holds is put back as it ends.
pub fn report_as_errors() {
    std::panic::set_hook(Box::new(|panic| {
        let what = words(panic.payload());
        // The runtime panics in a thread that it cannot start for want of memory, and would then give up the program by a
        // signal.
        if panic.location().is_some_and(|location| location.file().ends_with(START_OF_THREADS)) {
            threads::give_up_start();
            log::error!("cannot start a thread: {what}");
            exit(super::FAILED);
        }
        let place = panic.location().map(|location| format!(" at {location}")).unwrap_or_default();
        log::error!("internal error{place}: {what}; this is a defect of bmaptool, please report it");
    }));
}

fn words(payload: &dyn Any) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_panic_says() {
        assert_eq!(words(&"text"), "text");
        assert_eq!(words(&"text".to_owned()), "text");
        assert_eq!(words(&1), "unknown");
    }
}
