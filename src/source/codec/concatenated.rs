//! Files of several members, one after another, for decoders that know only one.

use std::io::{self, Read};

use super::{Compressed, Trailing};

/// A decoder of one member.
pub(super) trait Member: Read + Send + Sized {
    /// What every member begins with.
    const MAGIC: &'static [u8];

    /// Begins a member where `compressed` stands.
    fn begin(compressed: Compressed) -> io::Result<Self>;

    /// Gives back what comes after the member that has ended.
    fn into_compressed(self) -> Compressed;
}

/// All members of a file.
pub(super) struct Concatenated<M> {
    /// `None` once the end of the file has been seen, or an error between two members.
    current: Option<M>,
    trailing: Trailing,
}

impl<M: Member> Concatenated<M> {
    pub(super) fn new(compressed: Compressed, trailing: Trailing) -> io::Result<Self> {
        Ok(Self { current: Some(M::begin(compressed)?), trailing })
    }
}

impl<M: Member> Read for Concatenated<M> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.current {
            let count = member.read(buf)?;
            if count > 0 || buf.is_empty() {
                return Ok(count);
            }
            if let Some(mut compressed) = self.current.take().map(M::into_compressed)
                && self.trailing.member_follows(&mut compressed, M::MAGIC)?
            {
                self.current = Some(M::begin(compressed)?);
            }
        }
        Ok(0)
    }
}
