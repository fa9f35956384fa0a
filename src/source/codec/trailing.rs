//! Data after the end of a file that is none of its format's: metadata that was appended, or a damaged member.

use std::io::{self, BufRead};
use std::mem;

use super::compressed::only_padding_follows;
use crate::source::decode_error::corrupt;
use crate::source::detect::is_text;
use crate::source::read_full;

/// What becomes of such data.
pub enum Trailing {
    /// It is an error.
    Refuse,
    /// It is passed over where it cannot be a damaged member, and this is called.
    Tell(Box<dyn FnOnce() + Send>),
}

/// How many bytes tell whether it is text. A damaged member does not begin with so much of it.
pub(super) const TEXT_LEN: usize = 64;

impl Trailing {
    /// Whether another member, which begins with `magic`, follows one that has ended. If not, `data` is read to its end:
    /// zeroes, which are padding, and text, such as the metadata of OpenWrt's images.
    ///
    /// # Errors
    ///
    /// Where anything else follows.
    pub(super) fn member_follows(&mut self, data: &mut impl BufRead, magic: &[u8]) -> io::Result<bool> {
        if only_padding_follows(data)? {
            return Ok(false);
        }
        if data.fill_buf()?.iter().zip(magic).all(|(byte, magic)| byte == magic) {
            return Ok(true);
        }
        let mut start = [0; TEXT_LEN];
        let length = read_full(data, &mut start)?;
        self.pass_over_text(start.get(..length).unwrap_or_default())?;
        io::copy(data, &mut io::sink())?;
        Ok(false)
    }

    /// Passes over what begins with `start`, if that is text.
    pub(super) fn pass_over_text(&mut self, start: &[u8]) -> io::Result<()> {
        if is_text(start) { self.pass_over() } else { Err(something_follows()) }
    }

    /// Passes over what follows, whatever it is: the format says where its files end.
    pub(in crate::source) fn pass_over(&mut self) -> io::Result<()> {
        match mem::replace(self, Self::Refuse) {
            Self::Refuse => Err(something_follows()),
            Self::Tell(tell) => {
                tell();
                Ok(())
            }
        }
    }
}

fn something_follows() -> io::Error {
    corrupt("something else follows it in the same file")
}
