//! The packets that keyrings and signatures consist of (RFC 9580, section 4).

use pgp::packet::PacketHeader;
use pgp::types::{PacketLength, Tag};

/// A packet that has not been looked into.
#[derive(Clone, Copy)]
pub struct Packet<'a> {
    pub header: PacketHeader,
    pub body: &'a [u8],
}

impl Packet<'_> {
    pub fn tag(&self) -> Tag {
        self.header.tag()
    }
}

/// A packet has no end, or a length that is not known beforehand, as only data has it. It may be of this kind.
#[derive(Debug)]
pub struct Damaged(pub Option<Tag>);

/// The packets in some bytes. After damage there are no more.
#[derive(Clone, Copy)]
pub struct Packets<'a> {
    /// What follows the packets that there were.
    pub rest: &'a [u8],
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let packet = self.split();
        if packet.is_err() {
            self.rest = &[];
        }
        Some(packet)
    }
}

impl<'a> Packets<'a> {
    /// The first packet, after which what follows it is left.
    fn split(&mut self) -> Result<Packet<'a>, Damaged> {
        let header = PacketHeader::try_from_reader(&mut self.rest).map_err(|_| Damaged(None))?;
        let PacketLength::Fixed(length) = header.packet_length() else { return Err(Damaged(Some(header.tag()))) };
        let split = usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length));
        let (body, rest) = split.ok_or(Damaged(Some(header.tag())))?;
        self.rest = rest;
        Ok(Packet { header, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_split() {
        // A legacy header with lengths of one and two bytes, a present one, an empty packet.
        let bytes = b"\x88\x02ab\x89\x00\x01c\xc2\x01d\xb4\x00";
        let packets = Packets { rest: bytes };
        let bodies: Vec<_> = packets.map(|packet| packet.map(|packet| (packet.tag(), packet.body)).unwrap()).collect();
        let signature = Tag::Signature;
        assert_eq!(bodies, [(signature, &b"ab"[..]), (signature, b"c"), (signature, b"d"), (Tag::UserId, b"")]);
    }

    #[test]
    fn damage_ends_them() {
        // Cut off; of unknown and of partial length; no packet at all.
        for damaged in [&b"\x88\x05ab"[..], b"\x88", b"\x8bab", b"\xc2\xe1ab", b"hello"] {
            let mut packets = Packets { rest: damaged };
            assert!(packets.next().unwrap().is_err() && packets.next().is_none(), "{damaged:?}");
        }
    }
}
