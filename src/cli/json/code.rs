//! What went wrong, in words that stay the same.

use bmaptool::info::Problem;
use bmaptool::load;
use bmaptool::partition;
use bmaptool::source;
use bmaptool::trust;
use serde::Serialize;

/// Programs compare these: one that has been released keeps its name and its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    BmapIsImage,
    BmapInvalid,
    BmapNotFound,
    BmapOfCompressedFile,
    CannotOpen,
    CannotRead,
    CompressedTwice,
    DeviceUnclear,
    IsDirectory,
    NoImageInArchive,
    NotABmap,
    NotAnImage,
    PartitionTableDamaged,
    SignatureBad,
    SignatureMissing,
    SignatureUnknownKey,
    SignatureUnverifiable,
    SignatureWrongSigner,
    SizeMismatch,
    TooLarge,
}

impl From<&Problem> for Code {
    fn from(problem: &Problem) -> Self {
        match problem {
            Problem::Source(error) => error.into(),
            Problem::Bmap(error) => error.into(),
            Problem::Partitions { source: partition::Error::Damaged { .. }, .. } => Self::PartitionTableDamaged,
            Problem::Partitions { source: partition::Error::Read(_), .. } => Self::CannotRead,
            Problem::Device { .. } => Self::DeviceUnclear,
        }
    }
}

impl From<&source::Error> for Code {
    fn from(error: &source::Error) -> Self {
        match error {
            source::Error::Open { .. } => Self::CannotOpen,
            source::Error::Read { .. } => Self::CannotRead,
            source::Error::Directory { .. } => Self::IsDirectory,
            source::Error::NoImage { .. } => Self::NoImageInArchive,
            source::Error::MappedAsStored { .. } => Self::BmapOfCompressedFile,
            source::Error::CompressedTwice { .. } => Self::CompressedTwice,
            source::Error::NotAnImage { .. } => Self::NotAnImage,
            source::Error::Size { .. } => Self::SizeMismatch,
            source::Error::TooLarge { .. } => Self::TooLarge,
        }
    }
}

impl From<&load::Error> for Code {
    fn from(error: &load::Error) -> Self {
        match error {
            load::Error::Source(error) => error.into(),
            load::Error::NotFound { .. } => Self::BmapNotFound,
            load::Error::StandIn { .. } => Self::NotABmap,
            load::Error::IsImage { .. } => Self::BmapIsImage,
            load::Error::Trust(error) => error.into(),
            load::Error::Invalid { .. } => Self::BmapInvalid,
        }
    }
}

impl From<&trust::Error> for Code {
    fn from(error: &trust::Error) -> Self {
        match error {
            trust::Error::BadSignature { .. } => Self::SignatureBad,
            trust::Error::UnknownKey { .. } => Self::SignatureUnknownKey,
            trust::Error::WrongSigner { .. } => Self::SignatureWrongSigner,
            trust::Error::NotSigned { .. } => Self::SignatureMissing,
            trust::Error::Unverifiable { .. } => Self::SignatureUnverifiable,
            trust::Error::Source(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Code; 20] = [
        Code::BmapIsImage,
        Code::BmapInvalid,
        Code::BmapNotFound,
        Code::BmapOfCompressedFile,
        Code::CannotOpen,
        Code::CannotRead,
        Code::CompressedTwice,
        Code::DeviceUnclear,
        Code::IsDirectory,
        Code::NoImageInArchive,
        Code::NotABmap,
        Code::NotAnImage,
        Code::PartitionTableDamaged,
        Code::SignatureBad,
        Code::SignatureMissing,
        Code::SignatureUnknownKey,
        Code::SignatureUnverifiable,
        Code::SignatureWrongSigner,
        Code::SizeMismatch,
        Code::TooLarge,
    ];

    #[test]
    fn every_code_is_in_the_document_and_in_the_schema() {
        let document = include_str!("../../../docs/json.md");
        let schema: serde_json::Value = serde_json::from_str(include_str!("../../../docs/json.schema.json")).unwrap();
        let known: Vec<_> = schema["$defs"]["code"]["enum"].as_array().unwrap().iter().collect();
        let codes = ALL.map(|code| serde_json::to_value(code).unwrap());
        for code in &codes {
            assert!(document.contains(&format!("| `{}` |", code.as_str().unwrap())), "{code}");
        }
        assert_eq!(known, codes.iter().collect::<Vec<_>>());
    }
}
