//! Which file of an archive is the image.

use std::fmt;
use std::io;

use crate::source::detect::{Format, has_ending, is_text};

/// Decides it, as the files of an archive pass by in order.
pub(super) struct Choice {
    format: Format,
    wanted: Wanted,
    /// The name of the image, once it has passed.
    image: Option<String>,
    /// The files before it.
    pub(super) others: Names,
}

/// How the image is known.
#[derive(Clone, Copy)]
enum Wanted {
    /// It is the first file of so many bytes.
    OfSize(u64),
    /// The same, but as no file seems to have that size, it may be in the first that is a tar.
    OfSizeOrInTar(u64),
    /// It is the only file that can be a disk image.
    OnlyOne,
}

impl Choice {
    pub(super) fn new(format: Format, image_size: Option<u64>) -> Self {
        let wanted = image_size.map_or(Wanted::OnlyOne, Wanted::OfSize);
        Self { format, wanted, image: None, others: Names::default() }
    }

    /// The same for an archive whose directory lists no file of the image's size, which is `size`.
    pub(super) fn or_in_tar(self, size: u64) -> Self {
        Self { wanted: Wanted::OfSizeOrInTar(size), ..self }
    }

    /// Whether the first bytes of a file matter, which has `size` bytes where that is known.
    pub(super) fn depends_on_start(&self, name: &str, size: Option<u64>) -> bool {
        match self.wanted {
            Wanted::OfSize(_) => self.image.is_none() && size.is_none(),
            Wanted::OfSizeOrInTar(_) => false,
            Wanted::OnlyOne => !is_passed_over(name),
        }
    }

    /// Whether the file is the image. `start` is what it begins with, where that matters.
    ///
    /// # Errors
    ///
    /// Where it should be the only one, and is the second.
    pub(super) fn takes(&mut self, name: &str, size: Option<u64>, start: &[u8]) -> io::Result<bool> {
        let is_it = match (self.wanted, size) {
            (Wanted::OfSize(_) | Wanted::OfSizeOrInTar(_), _) if self.image.is_some() => false,
            (Wanted::OfSize(wanted), Some(size)) => size == wanted,
            (Wanted::OfSizeOrInTar(wanted), size) => size == Some(wanted) || Format::of_name(name) == Some(Format::Tar),
            (Wanted::OfSize(_), None) | (Wanted::OnlyOne, _) => can_be_image(name, start),
        };
        if !is_it {
            self.others.add(name);
            return Ok(false);
        }
        let Some(first) = self.image.replace(name.to_owned()) else { return Ok(true) };
        let mut files = Names::default();
        files.add(&first);
        files.add(name);
        Err(io::Error::other(SeveralImages { format: self.format, files }))
    }
}

/// Whether a file of an archive can be a disk image, by its path there and its first bytes. Where a name does not say
/// that it is one, text is not.
fn can_be_image(path: &str, start: &[u8]) -> bool {
    const IMAGES: [&str; 6] = ["img", "raw", "bin", "iso", "wic", "dd"];
    !start.is_empty() && !is_passed_over(path) && (has_ending(path, &IMAGES) || !is_text(start))
}

/// Whether the path tells that a file is not a disk image: it is hidden, as what macOS adds, or belongs to others.
fn is_passed_over(path: &str) -> bool {
    const NOTES: [&str; 9] = ["txt", "pdf", "asc", "sig", "sign", "gpg", "minisig", "bmap", "zsync"];
    let is_hidden = |part: &str| part == "__MACOSX" || part.starts_with('.') && !matches!(part, "." | "..");
    has_ending(path, &NOTES) || path.split('/').any(is_hidden)
}

/// More than one file of an archive can be the image. It travels inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("the {format} archive holds several files that can be the image: {files}")]
pub struct SeveralImages {
    format: Format,
    files: Names,
}

/// The names of files in an archive, for a message: the first few, and how many more there are.
#[derive(Clone, Debug, Default)]
pub struct Names {
    first: Vec<String>,
    more: usize,
}

impl Names {
    const SHOWN: usize = 3;
    /// How many characters of a name are shown, from its end.
    const NAME_LEN: usize = 40;

    fn add(&mut self, name: &str) {
        if self.first.len() == Self::SHOWN {
            self.more = self.more.saturating_add(1);
            return;
        }
        let cut = name.char_indices().rev().nth(Self::NAME_LEN - 1).map_or(0, |(at, _)| at);
        let (before, end) = name.split_at(cut);
        self.first.push(if before.is_empty() { end.to_owned() } else { format!("…{end}") });
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }
}

/// In quotes, as in `'a', 'b' and 3 more`.
impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.first.iter().map(|name| format!("'{name}'")).collect();
        f.write_str(&names.join(", "))?;
        if self.more > 0 { write!(f, " and {} more", self.more) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_an_image_is_told_by_name_and_start() {
        for path in ["disk.img", "./disk", "../a/disk.IMG", "Image", "a.b/boot.vfat", "disk.ext4"] {
            assert!(can_be_image(path, b"\xeb\x58\x90"), "{path}");
            assert!(!can_be_image(path, b""), "{path}");
        }
        for path in ["._disk.img", "__MACOSX/disk.img", ".git/disk.img", "disk.img.sig", "disk.img.ASC", "a/README.txt"]
        {
            assert!(!can_be_image(path, b"\xeb\x58\x90"), "{path}");
        }
        for path in ["README", "SHA256SUMS", "disk.manifest", "disk.ext4"] {
            assert!(!can_be_image(path, b"text\n"), "{path}");
        }
        assert!(can_be_image("disk.img", b"text\n"));
    }

    #[test]
    fn the_first_of_the_size_or_the_only_one_is_taken() {
        let mut of_size = Choice::new(Format::Tar, Some(7));
        let mut takes = |name, size| of_size.takes(name, size, b"\0").unwrap();
        assert_eq!([takes("a", Some(8)), takes("b", Some(7)), takes("c", Some(7))], [false, true, false]);
        assert!(Choice::new(Format::Zip, Some(7)).takes("a", None, b"\0").unwrap());
        assert!(!Choice::new(Format::Zip, Some(7)).takes("README", None, b"text").unwrap());

        let mut only = Choice::new(Format::Tar, None);
        assert!(!only.takes("README", Some(4), b"text").unwrap() && only.takes("a", Some(1), b"\0").unwrap());
        assert!(!only.takes("disk.sig", Some(1), b"\0").unwrap());
        let error = only.takes("b", Some(1), b"\0").unwrap_err();
        assert_eq!(error.to_string(), "the tar archive holds several files that can be the image: 'a', 'b'");
    }

    #[test]
    fn few_names_are_shown() {
        let mut names = Names::default();
        assert!(names.is_empty());
        names.add(&format!("{}/é", "x".repeat(50)));
        assert_eq!(names.to_string(), format!("'…{}/é'", "x".repeat(38)));
        for name in ["b", "c", "d", "e", "f"] {
            names.add(name);
        }
        assert!(names.to_string().ends_with("x/é', 'b', 'c' and 3 more"), "{names}");
    }
}
