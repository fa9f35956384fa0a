//! What went wrong, in words that stay the same.

mod errors;

use serde::Serialize;

/// Defines [`Code`], and the list of all.
macro_rules! codes {
    ($($code:ident)*) => {
        /// Programs compare these: one that has been released keeps its name and its meaning, which docs/json.md tells.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Code {
            $($code,)*
        }

        #[cfg(test)]
        impl Code {
            pub const ALL: &[Self] = &[$(Self::$code,)*];
        }
    };
}

codes! {
    ArgumentsSwapped
    BackupGptDamaged
    BmapHasNoChecksums
    BmapInvalid
    BmapIsImage
    BmapNotFound
    BmapOfCompressedFile
    CannotDiscard
    CannotOpen
    CannotRead
    CannotWrite
    CertificateRefused
    CertificatesUnusable
    ChecksumMismatch
    CompressedTwice
    ConnectionLost
    DataCorrupt
    DataCutOff
    DataUnsupported
    DeviceUnclear
    DevicesUnclear
    Empty
    GptMissing
    GptNotRelocatable
    GptSectorSize
    HolesUnclear
    ImageChanged
    ImageCutOff
    ImageTooLong
    InternalError
    Interrupted
    InvalidUrl
    IsDirectory
    KeyringUnusable
    MapImpossible
    MediumFault
    MediumTooSmall
    NoImageInArchive
    NoPermission
    NoResources
    NoSuchFile
    NoSuchPartition
    NotABmap
    NotAnImage
    NotCompressed
    NotMappable
    OutputIsImage
    OutputIsStdout
    PartitionTableDamaged
    ProgramFailed
    ProxyUnusable
    ServerError
    ServerUnreachable
    SeveralImages
    SignatureBad
    SignatureMissing
    SignatureUnknownKey
    SignatureUnverifiable
    SignatureWrongSigner
    SizeMismatch
    StdinClosed
    SyncFailed
    TargetBusy
    TargetCannotBeReadBack
    TargetHeld
    TargetIsInput
    TargetLocked
    TargetMounted
    TargetNoDevice
    TargetNoMedium
    TargetNotBlockDevice
    TargetNotRemovable
    TargetReadOnly
    TargetReplaced
    TargetStalled
    TargetSwap
    TargetTooSmall
    TargetUnclear
    TargetUnusable
    TargetWrongKind
    TargetsFailed
    TargetsOverlap
    TooLarge
    TooManyRanges
    Usage
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::cli::json::Warning;

    const DOCUMENT: &str = include_str!("../../../docs/json.md");
    const SCHEMA: &str = include_str!("../../../docs/json.schema.json");

    fn words<T: Serialize>(codes: &[T]) -> Vec<String> {
        let word = |code| serde_json::to_value(code).unwrap().as_str().unwrap().to_owned();
        codes.iter().map(word).collect()
    }

    /// The codes in the table under a heading of the document.
    fn documented(heading: &str) -> Vec<String> {
        let (_, section) = DOCUMENT.split_once(&format!("\n## {heading}\n")).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let code = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
        section.lines().filter_map(code).collect()
    }

    #[test]
    fn the_document_and_the_schema_have_all_codes_and_no_others() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        for (heading, definition, codes) in
            [("codes", "code", words(Code::ALL)), ("warning codes", "warning_code", words(Warning::ALL))]
        {
            let known: Vec<String> = serde_json::from_value(schema["$defs"][definition]["enum"].clone()).unwrap();
            assert_eq!(documented(heading), codes, "{heading}");
            assert_eq!(known, codes, "{heading}");
            assert!(codes.is_sorted(), "{codes:?}");
        }
    }
}
