//! The first bytes of something that goes on: they are looked at, and delivered nevertheless.

use std::io::{self, Read};

use super::read_full;

pub(super) struct Head {
    bytes: Vec<u8>,
    /// How many of them have been delivered.
    delivered: usize,
    /// Whether nothing follows them.
    is_all: bool,
}

impl Head {
    /// Reads the first `length` bytes of `reader`, or as many as there are.
    pub(super) fn of(reader: &mut (impl Read + ?Sized), length: usize) -> io::Result<Self> {
        let mut bytes = vec![0; length];
        let got = read_full(reader, &mut bytes)?;
        bytes.truncate(got);
        Ok(Self { bytes, delivered: 0, is_all: got < length })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes there are, where nothing follows these.
    pub(super) fn whole(&self) -> Option<u64> {
        self.is_all.then_some(self.bytes.len() as u64)
    }

    /// Delivers the next bytes: none once all of them have been.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.get(self.delivered..).unwrap_or_default().read(buf)?;
        self.delivered = self.delivered.saturating_add(count);
        Ok(count)
    }

    /// Goes to byte `offset`, counted from the first; whether that is one of these, or stands right behind them.
    pub(super) fn skip_to(&mut self, offset: u64) -> bool {
        let within = usize::try_from(offset).ok().filter(|&offset| offset <= self.bytes.len());
        self.delivered = within.unwrap_or(self.bytes.len());
        within.is_some()
    }
}
