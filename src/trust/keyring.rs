//! Keyrings: OpenPGP public keys one after another, plain or in ASCII armour, or GnuPG's keybox.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::armor::{self, ArmorError, Block};
use crate::sys::file_id::FileId;

/// The largest keyring that is read, in bytes; that of all Debian developers has 30 MiB.
const MAX_FILE_SIZE: u64 = 256 << 20;

/// Public keys.
pub struct Keyring {
    path: PathBuf,
    id: FileId,
    pub(super) contents: Contents,
}

/// What a keyring consists of.
pub(super) enum Contents {
    /// OpenPGP certificates, binary.
    Certificates(Vec<u8>),
    /// GnuPG's own format, which only GnuPG reads.
    Keybox(Vec<u8>),
}

/// Why a file cannot be used as a keyring.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum KeyringError {
    /// It cannot be read.
    #[error("cannot read keyring '{path}'")]
    Read { path: PathBuf, source: io::Error },
    /// It is larger than any keyring that is read.
    #[error("'{path}' has over {MAX_FILE_SIZE} bytes, too many for a keyring")]
    TooLarge { path: PathBuf },
    /// Its armour is damaged.
    #[error("keyring '{path}' cannot be used")]
    Armor { path: PathBuf, source: ArmorError },
    /// It is something else.
    #[error("'{path}' is not a keyring: it is neither a keybox nor OpenPGP public keys, binary or armoured")]
    NotAKeyring { path: PathBuf },
}

impl Keyring {
    /// Reads the keyring at `path`.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, or is not a keyring.
    pub fn read(path: &Path) -> Result<Self, KeyringError> {
        let path = path.to_owned();
        let (id, bytes) = match read(&path) {
            Ok((_, bytes)) if bytes.len() as u64 > MAX_FILE_SIZE => return Err(KeyringError::TooLarge { path }),
            Ok(read) => read,
            Err(source) => return Err(KeyringError::Read { path, source }),
        };
        let contents = match is_keybox(&bytes) {
            true => Contents::Keybox(bytes),
            false => Contents::Certificates(match armor::has_block(&bytes, Block::Keys) {
                true => armor::decode(&bytes, Block::Keys)
                    .map_err(|source| KeyringError::Armor { path: path.clone(), source })?,
                false => bytes,
            }),
        };
        match &contents {
            Contents::Certificates(bytes) if !begins_with_key(bytes) => Err(KeyringError::NotAKeyring { path }),
            _ => Ok(Self { path, id, contents }),
        }
    }

    /// Where it was.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which file it is.
    pub fn id(&self) -> FileId {
        self.id
    }
}

fn read(path: &Path) -> io::Result<(FileId, Vec<u8>)> {
    let file = File::open(path)?;
    let id = FileId::of(&file.metadata()?);
    let mut bytes = Vec::new();
    file.take(MAX_FILE_SIZE.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((id, bytes))
}

/// GnuPG's kbx/keybox-blob.c: the first blob has `KBXf` after its length, type, version and flags.
fn is_keybox(bytes: &[u8]) -> bool {
    bytes.get(8..12) == Some(b"KBXf")
}

/// Whether the first packet is a public key: type 6 of RFC 9580, section 5, in a header of the present or the legacy
/// form (section 4.2).
fn begins_with_key(bytes: &[u8]) -> bool {
    match bytes.first() {
        Some(first @ 0b1100_0000..) => first & 0b0011_1111 == 6,
        Some(first @ 0b1000_0000..) => first >> 2 & 0b1111 == 6,
        _ => false,
    }
}
