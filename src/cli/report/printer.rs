//! Prints in a thread of its own: a terminal may stand still for as long as its user likes, with Ctrl-S or over a connection
//! that stalls, and a copy must not.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use bmaptool::copy::Cancel;
use bmaptool::threads;

/// How long a message is waited for, so that messages stand where they belong among all else that is printed.
const GRACE: Duration = Duration::from_millis(100);

/// What is still to be done on the terminal: it is over when the other end is dropped.
pub type Pending = Receiver<()>;

/// Prints messages in the order in which it gets them.
pub struct Printer {
    messages: Sender<(String, Sender<()>)>,
    cancel: Cancel,
}

impl Printer {
    /// Starts one that prints with `show`, and whose work is waited for until `cancel` is set.
    ///
    /// # Errors
    ///
    /// Where the machine has no thread left for it.
    pub fn start(show: impl Fn(&str) + Send + 'static, cancel: &Cancel) -> io::Result<Self> {
        let (messages, inbox) = channel::<(String, Sender<()>)>();
        threads::start("printer", move || {
            for (text, _pending) in inbox {
                show(&text);
            }
        })?;
        Ok(Self { messages, cancel: cancel.clone() })
    }

    /// Prints `text`, now or as soon as the terminal takes it.
    pub fn print(&self, text: String) {
        let _ = self.hand_over(text).recv_timeout(GRACE);
    }

    /// Waits until all is printed, or a signal has asked to stop and [`GRACE`] is over.
    pub fn finish(&self) {
        self.wait_for(&self.hand_over(String::new()));
    }

    /// Waits for something else on the terminal in the same way.
    pub fn wait_for(&self, pending: &Pending) {
        while pending.recv_timeout(GRACE) == Err(RecvTimeoutError::Timeout) && self.cancel.reason().is_none() {}
    }

    fn hand_over(&self, text: String) -> Pending {
        let (done, pending) = channel();
        // Should the thread have panicked, nothing is pending.
        let _ = self.messages.send((text, done));
        pending
    }
}
