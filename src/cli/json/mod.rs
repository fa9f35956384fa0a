//! What programs read: JSON objects, a line each, as docs/json.md describes them.

mod bmap;
mod code;
mod device;
mod event;
pub mod stream;
mod warning;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use bmaptool::visible::visible;
use serde::Serialize;

pub use bmap::{Bmap, Map};
pub use code::Code;
pub use device::Device;
pub use event::{Contents, Error, Event, Of, Phase, Summary, Target, Verified};
pub use warning::Warning;

use super::report::console;
use stream::Closing;

/// `object` in a line. Characters that could deceive who sees it on a terminal are escaped, which changes no string.
pub fn line(object: &impl Serialize) -> String {
    // It fails only where a type of ours has keys that are no strings.
    let text = serde_json::to_string(object).expect("our objects can be serialized");
    let mut line = String::with_capacity(text.len() + 1);
    let mut units = [0; 2];
    for character in text.chars() {
        if visible(character.encode_utf8(&mut [0; 4]), &[]).contains(character) {
            line.push(character);
        } else {
            line.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    line + "\n"
}

/// A text from outside, without passwords.
pub fn text(text: &str) -> String {
    console::plain(text)
}

/// A path as far as it is UTF-8.
pub fn path(path: &Path) -> String {
    text(&path.to_string_lossy())
}

/// What the last event says besides how the command ended.
static SUMMARY: Mutex<Summary> = Mutex::new(Summary { map: None, verified: None });

/// Has the last event say what has come out.
pub fn summarize(add: impl FnOnce(&mut Summary)) {
    add(&mut SUMMARY.lock().unwrap_or_else(PoisonError::into_inner));
}

/// Prints the last event: how the command ended.
pub fn conclude(error: Option<Error>, exit_status: i32) -> Closing {
    let summary = SUMMARY.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let closing = stream::close_with(line(&Event::Result { ok: error.is_none(), error, exit_status, summary }));
    if let Closing::Written(Err(error)) = &closing {
        log::warn!("{}", stream::no_more(error));
    }
    closing
}

/// Prints the last event of a command that `signal` ends.
pub fn interrupted(signal: i32) -> Closing {
    let error = Error { code: Code::Interrupted, message: format!("interrupted by signal {signal}") };
    conclude(Some(error), 128 + signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_deceive_is_escaped_and_no_string_changes() {
        let text = "a\u{1b}\n\u{9b}\u{202e}\u{e0041}é→💾\"\\";
        let line = line(&text);
        assert_eq!(line, "\"a\\u001b\\n\\u009b\\u202e\\udb40\\udc41é→💾\\\"\\\\\"\n");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
    }
}
