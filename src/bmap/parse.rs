//! Reading a bmap file.
//!
//! The format is described in docs/bmap-format.md. The elements may come in any order, so they are gathered first and
//! judged together.

mod fields;
mod text;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::error::ParseError;
use super::{Bmap, Version};
use fields::{
    BLOCK_MAP, BLOCK_SIZE, BLOCKS_COUNT, CHECKSUM_TYPE, FILE_CHECKSUM, FILE_SHA1, Fields, IMAGE_SIZE,
    MAPPED_BLOCKS_COUNT, Piece, RANGE, Ranges, Style,
};
use text::{decimal, excerpt, line_of};

/// The newest major version of the format that can be read.
const SUPPORTED_MAJOR: u64 = 2;

/// How deep unknown elements may be nested, so that memory stays bounded.
const MAX_DEPTH: usize = 100;

pub(super) fn parse(file: &[u8]) -> Result<Bmap, ParseError> {
    let text = std::str::from_utf8(file).map_err(|error| ParseError::NotUtf8 { offset: error.valid_up_to() })?;
    if text.trim().is_empty() {
        return Err(ParseError::Empty);
    }
    // The XML parser would pass over it, and all positions would be off.
    if text.starts_with('\u{feff}') {
        return Err(ParseError::Misplaced { line: 1, what: "a byte order mark before it" });
    }
    let parser = Parser { file: text, reader: Reader::from_str(text) };
    parser.document()
}

/// A walk through the file.
struct Parser<'a> {
    file: &'a str,
    reader: Reader<&'a [u8]>,
}

impl<'a> Parser<'a> {
    fn document(mut self) -> Result<Bmap, ParseError> {
        self.reader.config_mut().expand_empty_elements = true;
        let root = self.prolog()?;
        let version = self.version(&root)?;
        let fields = self.fields(Style::of(version))?;
        self.epilog()?;
        let file = self.file;
        fields.judge(file, version)
    }

    /// The line of a position in the file, counted from 1.
    fn line(&self, position: usize) -> usize {
        line_of(self.file, position)
    }

    /// Where the last event ended.
    fn position(&self) -> usize {
        usize::try_from(self.reader.buffer_position()).map_or(self.file.len(), |at| at.min(self.file.len()))
    }

    fn next(&mut self) -> Result<Event<'a>, ParseError> {
        self.reader.read_event().map_err(|source| {
            let at = usize::try_from(self.reader.error_position()).unwrap_or(self.file.len());
            ParseError::Xml { line: self.line(at), source }
        })
    }

    /// The next event inside the root element, where no declaration has a place.
    fn inside(&mut self) -> Result<Event<'a>, ParseError> {
        match self.next()? {
            Event::DocType(_) => Err(ParseError::Doctype { line: self.line(self.position()) }),
            Event::Decl(_) => Err(self.misplaced("an XML declaration inside an element")),
            Event::Eof => Err(self.misplaced("the file ends inside an element")),
            event => Ok(event),
        }
    }

    fn misplaced(&self, what: &'static str) -> ParseError {
        ParseError::Misplaced { line: self.line(self.position()), what }
    }

    /// All up to the root element.
    fn prolog(&mut self) -> Result<BytesStart<'a>, ParseError> {
        loop {
            match self.next()? {
                Event::Start(root) if root.name().as_ref() == "bmap" => return Ok(root),
                Event::Start(root) if root.name().as_ref().eq_ignore_ascii_case("html") => {
                    return Err(ParseError::HtmlPage);
                }
                Event::Start(root) => return Err(ParseError::Root { root: excerpt(root.name().as_ref()) }),
                Event::DocType(kind) if kind.trim().to_ascii_lowercase().starts_with("html") => {
                    return Err(ParseError::HtmlPage);
                }
                event => self.outside_the_root(event)?,
            }
        }
    }

    /// All behind the root element.
    fn epilog(&mut self) -> Result<(), ParseError> {
        loop {
            match self.next()? {
                Event::Eof => return Ok(()),
                Event::Start(_) => return Err(self.misplaced("a second root element")),
                event => self.outside_the_root(event)?,
            }
        }
    }

    fn outside_the_root(&self, event: Event<'_>) -> Result<(), ParseError> {
        match event {
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => Ok(()),
            Event::Text(text) if text.trim().is_empty() => Ok(()),
            Event::DocType(_) => Err(ParseError::Doctype { line: self.line(self.position()) }),
            Event::Eof => Err(self.misplaced("there is no element")),
            _ => Err(self.misplaced("text outside the root element")),
        }
    }

    fn version(&self, root: &BytesStart<'a>) -> Result<Version, ParseError> {
        let text = self.attribute(root, "version")?;
        let (major, minor) = text
            .as_deref()
            .and_then(|text| text.trim().split_once('.'))
            .and_then(|(major, minor)| Some((decimal(major)?, decimal(minor)?)))
            .ok_or_else(|| ParseError::BadVersion { line: self.line(self.position()) })?;
        let version = Version::new(major, minor);
        match major {
            0 => Err(ParseError::BadVersion { line: self.line(self.position()) }),
            1..=SUPPORTED_MAJOR => Ok(version),
            _ => Err(ParseError::UnsupportedVersion { version }),
        }
    }

    /// The value of an attribute. All attributes of the element are looked at, so that broken ones are noticed.
    fn attribute(&self, element: &BytesStart<'_>, name: &str) -> Result<Option<String>, ParseError> {
        let mut value = None;
        for attribute in element.attributes() {
            let attribute = attribute.map_err(|error| ParseError::Xml {
                line: self.line(self.position()),
                source: quick_xml::Error::InvalidAttr(error),
            })?;
            if attribute.key.as_ref() == name {
                value = Some(attribute.value.into_owned());
            }
        }
        Ok(value)
    }

    /// The children of the root element, up to its end.
    fn fields(&mut self, style: Style) -> Result<Fields<'a>, ParseError> {
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
                    BLOCK_MAP => fields.block_map = Some(self.block_map(style)?),
                    _ => self.skip()?,
                },
                Event::End(_) => return Ok(fields),
                // It may be to an entity that nothing declares, and then this is no XML.
                Event::GeneralRef(_) => return Err(self.misplaced("a reference between the elements")),
                // Text has no meaning here, as little as unknown elements, and is passed over like them.
                _ => {}
            }
        }
    }

    fn repeated(&self, element: &'static str) -> ParseError {
        ParseError::Repeated { line: self.line(self.position()), element }
    }

    /// Passes over the element that has just begun, which is unknown here.
    fn skip(&mut self) -> Result<(), ParseError> {
        let mut depth: usize = 1;
        while depth > 0 {
            match self.inside()? {
                Event::Start(_) if depth == MAX_DEPTH => {
                    return Err(self.misplaced("elements that are nested too deeply"));
                }
                Event::Start(_) => depth = depth.saturating_add(1),
                Event::End(_) => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        Ok(())
    }

    fn field(&mut self, slot: &mut Option<Piece<'a>>, element: &'static str) -> Result<(), ParseError> {
        if slot.is_some() {
            return Err(self.repeated(element));
        }
        *slot = Some(self.text(element)?);
        Ok(())
    }

    /// The text of the element that has just begun, without the white space around it, up to the element's end.
    fn text(&mut self, element: &'static str) -> Result<Piece<'a>, ParseError> {
        let mut piece: Option<Piece<'a>> = None;
        loop {
            let begin = self.position();
            match self.inside()? {
                Event::Text(text) if text.trim().is_empty() => {}
                Event::Text(_) if piece.is_none() => {
                    // The event's text is the file from where the last event ended to where this one did.
                    let whole = self.file.get(begin..self.position()).unwrap_or_default();
                    let text = whole.trim_ascii();
                    let space = whole.len().saturating_sub(whole.trim_ascii_start().len());
                    let start = begin.saturating_add(space);
                    piece = Some(Piece { element, text, at: start..start.saturating_add(text.len()) });
                }
                Event::Comment(_) | Event::PI(_) => {}
                Event::End(_) => {
                    let empty = Piece { element, text: "", at: begin..begin };
                    return Ok(piece.unwrap_or(empty));
                }
                _ => return Err(ParseError::NotText { line: self.line(begin), element }),
            }
        }
    }

    /// The ranges, up to the end of `BlockMap`.
    fn block_map(&mut self, style: Style) -> Result<Ranges, ParseError> {
        let mut map = Ranges::default();
        loop {
            match self.inside()? {
                Event::Start(start) if start.name().as_ref() == RANGE => self.range(&start, style, &mut map)?,
                Event::Start(_) => self.skip()?,
                Event::End(_) => return Ok(map),
                Event::Text(text) if text.trim().is_empty() => {}
                Event::Comment(_) | Event::PI(_) => {}
                _ => return Err(self.misplaced("text between the ranges")),
            }
        }
    }

    fn range(&mut self, start: &BytesStart<'a>, style: Style, map: &mut Ranges) -> Result<(), ParseError> {
        let at = self.position();
        let checksum = self.attribute(start, style.attribute().unwrap_or_default())?;
        let blocks = self.text(RANGE)?;
        map.add(at, &blocks, checksum.as_deref());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
