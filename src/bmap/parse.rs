//! Reading a bmap file.
//!
//! The format is described in docs/bmap-format.md. The elements may come in any order, so all are read before they are
//! checked.

// The file comes from outside: no byte of it may cause a panic.
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

mod fields;
mod text;

use std::borrow::Cow;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::error::ParseError;
use super::{Bmap, Version};
use fields::{
    BLOCK_MAP, BLOCK_SIZE, BLOCKS_COUNT, CHECKSUM_TYPE, ChecksumAttribute, FILE_CHECKSUM, FILE_SHA1, Fields,
    IMAGE_SIZE, MAPPED_BLOCKS_COUNT, RANGE, Ranges, Value,
};
use text::{decimal, excerpt, line_of};

/// The newest major version of the format that can be read.
const SUPPORTED_MAJOR: u64 = 2;

/// How deep unknown elements may be nested, so that memory stays bounded.
const MAX_DEPTH: usize = 100;

/// What some editors put before UTF-8.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// How a CDATA section begins.
const CDATA: &str = "<![CDATA[";

pub(super) fn parse(file: &[u8]) -> Result<Bmap, ParseError> {
    let text = std::str::from_utf8(file).map_err(|error| ParseError::NotText { offset: error.valid_up_to() })?;
    // XML has none (section 2.2), and no disk image is without them.
    if let Some(offset) = text.find('\0') {
        return Err(ParseError::NotText { offset });
    }
    if text.trim().is_empty() {
        return Err(ParseError::NotABmap { reason: "the file is empty".to_owned() });
    }
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let uncounted = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    Parser { file: text, reader, uncounted }.document()
}

/// A walk through the file.
struct Parser<'a> {
    file: &'a str,
    reader: Reader<&'a [u8]>,
    /// The length of the byte order mark, which the reader skips and does not count.
    uncounted: usize,
}

impl<'a> Parser<'a> {
    fn document(mut self) -> Result<Bmap, ParseError> {
        let root = self.prolog()?;
        let version = self.version(&root)?;
        let fields = self.fields(ChecksumAttribute::of(version))?;
        self.epilog()?;
        fields.check(self.file, version)
    }

    /// Where the last event ended, as a byte offset in the file.
    fn offset(&self) -> usize {
        self.in_file(self.reader.buffer_position())
    }

    /// A position of the reader as a byte offset in the file.
    fn in_file(&self, position: u64) -> usize {
        let end = self.file.len();
        usize::try_from(position).map_or(end, |at| at.saturating_add(self.uncounted).min(end))
    }

    /// Where the last event ended, as a line of the file.
    fn line(&self) -> usize {
        line_of(self.file, self.offset())
    }

    fn malformed(&self, problem: &str) -> ParseError {
        ParseError::Malformed { line: self.line(), problem: problem.to_owned() }
    }

    /// What the XML parser says of the last event.
    fn not_well_formed(&self, source: quick_xml::Error) -> ParseError {
        ParseError::Xml { line: self.line(), source }
    }

    /// The next event. No document type declaration is accepted: nothing is ever expanded or fetched.
    fn next(&mut self) -> Result<Event<'a>, ParseError> {
        match self.reader.read_event() {
            Ok(Event::DocType(kind)) if kind.trim().to_ascii_lowercase().starts_with("html") => {
                Err(ParseError::HtmlPage)
            }
            Ok(Event::DocType(_)) => Err(self.malformed("a bmap has no document type declaration (DTD)")),
            Ok(event) => Ok(event),
            Err(source) => {
                Err(ParseError::Xml { line: line_of(self.file, self.in_file(self.reader.error_position())), source })
            }
        }
    }

    /// The next event inside the root element.
    fn inside(&mut self) -> Result<Event<'a>, ParseError> {
        match self.next()? {
            Event::Decl(_) => Err(self.malformed("not well-formed XML: an XML declaration inside an element")),
            Event::Eof => Err(self.malformed("not well-formed XML: the file ends inside an element")),
            event => Ok(event),
        }
    }

    /// Reads up to the root element.
    fn prolog(&mut self) -> Result<BytesStart<'a>, ParseError> {
        loop {
            match self.next()? {
                Event::Start(root) => match root.name().as_ref() {
                    "bmap" => return Ok(root),
                    name if name.eq_ignore_ascii_case("html") => return Err(ParseError::HtmlPage),
                    name => {
                        let reason = format!("the root element is '{}' instead of 'bmap'", excerpt(name));
                        return Err(ParseError::NotABmap { reason });
                    }
                },
                Event::Eof => return Err(self.malformed("not well-formed XML: there is no element")),
                event => self.outside_the_root(&event)?,
            }
        }
    }

    /// Reads all after the root element.
    fn epilog(&mut self) -> Result<(), ParseError> {
        loop {
            match self.next()? {
                Event::Eof => return Ok(()),
                Event::Start(_) => return Err(self.malformed("not well-formed XML: a second root element")),
                event => self.outside_the_root(&event)?,
            }
        }
    }

    fn outside_the_root(&self, event: &Event<'_>) -> Result<(), ParseError> {
        match event {
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => Ok(()),
            Event::Text(text) if text.trim().is_empty() => Ok(()),
            _ => Err(self.malformed("not well-formed XML: text outside the root element")),
        }
    }

    fn version(&self, root: &BytesStart<'a>) -> Result<Version, ParseError> {
        let text = self.attribute(root, "version")?;
        let version = text
            .as_deref()
            .and_then(|text| text.trim().split_once('.'))
            .and_then(|(major, minor)| Some(Version::new(decimal(major)?, decimal(minor)?)));
        match version {
            Some(version) if version.major > SUPPORTED_MAJOR => Err(ParseError::UnsupportedVersion { version }),
            Some(version) if version.major > 0 => Ok(version),
            _ => Err(self.malformed("the version of the bmap format is missing or not of the form 2.0")),
        }
    }

    /// The value of an attribute. All attributes of the element are read, so that broken ones are noticed.
    fn attribute<'e>(&self, element: &'e BytesStart<'_>, name: &str) -> Result<Option<Cow<'e, str>>, ParseError> {
        let mut value = None;
        for attribute in element.attributes() {
            let attribute = attribute.map_err(|error| self.not_well_formed(error.into()))?;
            if attribute.key.as_ref() == name {
                let normalized = attribute.normalized_value(XmlVersion::Implicit1_0);
                value = Some(normalized.map_err(|error| self.not_well_formed(error))?);
            }
        }
        Ok(value)
    }

    /// The children of the root element, up to its end.
    fn fields(&mut self, attribute: ChecksumAttribute) -> Result<Fields<'a>, ParseError> {
        let mut fields = Fields::default();
        loop {
            match self.inside()? {
                Event::Start(start) => match start.name().as_ref() {
                    IMAGE_SIZE => self.field(&mut fields.image_size, IMAGE_SIZE)?,
                    BLOCK_SIZE => self.field(&mut fields.block_size, BLOCK_SIZE)?,
                    BLOCKS_COUNT => self.field(&mut fields.blocks_count, BLOCKS_COUNT)?,
                    MAPPED_BLOCKS_COUNT => self.field(&mut fields.mapped_blocks_count, MAPPED_BLOCKS_COUNT)?,
                    CHECKSUM_TYPE => self.field(&mut fields.checksum_type, CHECKSUM_TYPE)?,
                    FILE_CHECKSUM => self.field(&mut fields.file_checksum, FILE_CHECKSUM)?,
                    FILE_SHA1 => self.field(&mut fields.file_sha1, FILE_SHA1)?,
                    BLOCK_MAP if fields.block_map.is_some() => return Err(self.repeated(BLOCK_MAP)),
                    BLOCK_MAP => fields.block_map = Some(self.block_map(attribute)?),
                    _ => self.skip()?,
                },
                Event::End(_) => return Ok(fields),
                // Text between the elements is ignored, as unknown elements are.
                _ => {}
            }
        }
    }

    fn repeated(&self, element: &'static str) -> ParseError {
        self.malformed(&format!("element '{element}' is repeated"))
    }

    /// Skips the unknown element that has just begun.
    fn skip(&mut self) -> Result<(), ParseError> {
        let mut depth: usize = 1;
        while depth > 0 {
            match self.inside()? {
                Event::Start(_) if depth == MAX_DEPTH => {
                    return Err(self.malformed("not well-formed XML: elements that are nested too deeply"));
                }
                Event::Start(_) => depth = depth.saturating_add(1),
                Event::End(_) => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        Ok(())
    }

    fn field(&mut self, slot: &mut Option<Value<'a>>, element: &'static str) -> Result<(), ParseError> {
        if slot.is_some() {
            return Err(self.repeated(element));
        }
        *slot = Some(self.value(element)?);
        Ok(())
    }

    /// The text of the element that has just begun, without the white space around it, up to the element's end.
    ///
    /// Like every XML parser, it joins text, CDATA sections and references to characters, with comments between them.
    fn value(&mut self, element: &'static str) -> Result<Value<'a>, ParseError> {
        let mut value = Value::new(element, self.offset());
        loop {
            let begin = self.offset();
            match self.inside()? {
                Event::Text(text) => value.push(begin, text.into_inner()),
                Event::CData(section) => value.push(begin.saturating_add(CDATA.len()), section.into_inner()),
                Event::GeneralRef(reference) if reference.is_char_ref() => {
                    let character = reference.resolve_char_ref().map_err(|error| self.not_well_formed(error))?;
                    value.push(begin, character.into_iter().collect());
                }
                Event::Comment(_) | Event::PI(_) => {}
                Event::End(_) => return Ok(value.trim_end()),
                // Not even one of XML's five entities stands for a character that a value has.
                _ => {
                    let problem = format!("element '{element}' must hold text only");
                    return Err(ParseError::Malformed { line: line_of(self.file, begin), problem });
                }
            }
        }
    }

    /// The ranges, up to the end of `BlockMap`.
    fn block_map(&mut self, attribute: ChecksumAttribute) -> Result<Ranges, ParseError> {
        let mut map = Ranges::default();
        loop {
            match self.inside()? {
                Event::Start(start) if start.name().as_ref() == RANGE => {
                    let offset = self.offset();
                    let checksum = self.attribute(&start, attribute.name())?;
                    map.add(offset, &self.value(RANGE)?, checksum.as_deref());
                }
                Event::Start(_) => self.skip()?,
                Event::End(_) => return Ok(map),
                Event::Text(text) if text.trim().is_empty() => {}
                Event::Comment(_) | Event::PI(_) => {}
                _ => return Err(self.malformed("not well-formed XML: text between the ranges")),
            }
        }
    }
}

#[cfg(test)]
mod tests;
