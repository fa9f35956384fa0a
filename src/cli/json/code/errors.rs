//! The code of each error. No `match` here has a wildcard for our own errors: the compiler asks for the code of a new one.

use std::io::{self, ErrorKind};

use bmaptool::copy;
use bmaptool::create;
use bmaptool::device::{Conflict, Usage};
use bmaptool::filemap;
use bmaptool::info::Problem;
use bmaptool::load;
use bmaptool::partition::{self, RelocateError};
use bmaptool::sink;
use bmaptool::source::{self, DecodeError, FetchError};
use bmaptool::trust;
use bmaptool::verify;

use super::Code;
use crate::cli::error::Error;

impl From<&Error> for Code {
    fn from(error: &Error) -> Self {
        if error.is_interruption() {
            return Self::Interrupted;
        }
        match error {
            Error::OpenImage { source, .. } => of_open(source),
            Error::NoImage { .. } => Self::NotAnImage,
            Error::OutputIsImage { .. } => Self::OutputIsImage,
            Error::OutputIsStdout { .. } => Self::OutputIsStdout,
            Error::Create(error) => error.into(),
            Error::Output { .. } | Error::Stdout(_) => Self::CannotWrite,
            Error::Location(_) => Self::InvalidUrl,
            Error::Source(error) => error.into(),
            Error::NoBmap { .. } | Error::NoBmapOfDevice { .. } | Error::NothingToCompare { .. } => Self::BmapNotFound,
            Error::NotCompressed { .. } => Self::NotCompressed,
            Error::StdinClosed => Self::StdinClosed,
            Error::NothingCame { .. } => Self::Empty,
            Error::Certificates(_) => Self::CertificatesUnusable,
            Error::Keyring(_) => Self::KeyringUnusable,
            Error::NotSigned { .. } => Self::SignatureMissing,
            Error::WrongSigner { .. } => Self::SignatureWrongSigner,
            Error::Bmap(error) => error.into(),
            Error::Target(error) => error.into(),
            Error::Copy { source, .. } => (&**source).into(),
            Error::Targets { .. } => Self::TargetsFailed,
            Error::Verify { source, .. } => source.into(),
            Error::Differs { wrong: 0, .. } => Self::CannotRead,
            Error::Differs { .. } => Self::ChecksumMismatch,
            Error::BackupGpt { .. } => Self::BackupGptDamaged,
            Error::Partitions { source, .. } => source.into(),
            Error::Unclear { .. } => Self::DeviceUnclear,
            Error::Devices(_) => Self::DevicesUnclear,
            Error::Signals(_) => Self::NoResources,
        }
    }
}

impl From<&Problem> for Code {
    fn from(problem: &Problem) -> Self {
        match problem {
            Problem::Source(error) => error.into(),
            Problem::Bmap(error) => error.into(),
            Problem::Partitions { source, .. } => source.into(),
            Problem::Device { .. } => Self::DeviceUnclear,
        }
    }
}

impl From<&source::Error> for Code {
    fn from(error: &source::Error) -> Self {
        match error {
            source::Error::Open { source, .. } => of_open(source),
            source::Error::Read { source, .. } => of_read(source),
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

/// A file that cannot be opened.
fn of_open(error: &io::Error) -> Code {
    match FetchError::of(error) {
        Some(error) => error.into(),
        None => match error.kind() {
            ErrorKind::NotFound => Code::NoSuchFile,
            ErrorKind::PermissionDenied => Code::NoPermission,
            _ => Code::CannotOpen,
        },
    }
}

/// An input that fails: a transport, a decoder or an archive says in it what is wrong.
fn of_read(error: &io::Error) -> Code {
    let cause = error.get_ref();
    if let Some(error) = FetchError::of(error) {
        error.into()
    } else if cause.is_some_and(|cause| cause.is::<source::SeveralImages>()) {
        Code::SeveralImages
    } else {
        match cause.and_then(|cause| cause.downcast_ref()) {
            Some(DecodeError::CutOff(_)) => Code::DataCutOff,
            Some(DecodeError::Corrupt { .. }) => Code::DataCorrupt,
            Some(DecodeError::Unsupported { .. }) => Code::DataUnsupported,
            None => Code::CannotRead,
        }
    }
}

impl From<&FetchError> for Code {
    fn from(error: &FetchError) -> Self {
        match error {
            error if error.is_absent() => Self::NoSuchFile,
            FetchError::Connect { .. } => Self::ServerUnreachable,
            FetchError::Certificate { .. } => Self::CertificateRefused,
            FetchError::Proxy { .. } => Self::ProxyUnusable,
            FetchError::Broken { .. } | FetchError::GivenUp { .. } | FetchError::CannotRevalidate => {
                Self::ConnectionLost
            }
            FetchError::Changed => Self::ImageChanged,
            FetchError::Status { .. }
            | FetchError::Ftp { .. }
            | FetchError::WrongRange { .. }
            | FetchError::Compressed { .. }
            | FetchError::Redirect { .. } => Self::ServerError,
            FetchError::Program { .. } | FetchError::Ssh { .. } => Self::ProgramFailed,
            FetchError::Unusable { .. } => Self::InvalidUrl,
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

impl From<&partition::Error> for Code {
    fn from(error: &partition::Error) -> Self {
        match error {
            partition::Error::Damaged { .. } => Self::PartitionTableDamaged,
            partition::Error::Read(error) | partition::Error::Logical { source: error, .. } => of_read(error),
        }
    }
}

impl From<&RelocateError> for Code {
    fn from(error: &RelocateError) -> Self {
        match error {
            RelocateError::Missing => Self::GptMissing,
            RelocateError::Damaged { .. } => Self::PartitionTableDamaged,
            RelocateError::SectorSize { .. } => Self::GptSectorSize,
            RelocateError::FarEntries { .. } | RelocateError::NoRoom { .. } => Self::GptNotRelocatable,
        }
    }
}

impl From<&sink::Error> for Code {
    fn from(error: &sink::Error) -> Self {
        match error {
            sink::Error::Access { source, .. } if source.kind() == ErrorKind::PermissionDenied => Self::NoPermission,
            sink::Error::Access { .. } => Self::TargetUnusable,
            sink::Error::WrongKind { .. } | sink::Error::RawFlash { .. } => Self::TargetWrongKind,
            sink::Error::KeepsNothing { .. } => Self::TargetCannotBeReadBack,
            sink::Error::Denied { .. } | sink::Error::Forbidden { .. } => Self::NoPermission,
            sink::Error::Unclear { .. } | sink::Error::NoSysfs { .. } => Self::TargetUnclear,
            sink::Error::Replaced { .. } => Self::TargetReplaced,
            sink::Error::UnknownDevice { .. } | sink::Error::NoDevice { .. } | sink::Error::FileAmongDevices { .. } => {
                Self::TargetNoDevice
            }
            sink::Error::NotRemovable { .. } => Self::TargetNotRemovable,
            sink::Error::NotBlockDevice { .. } => Self::TargetNotBlockDevice,
            sink::Error::Source { .. } => Self::TargetIsInput,
            sink::Error::SharesTarget { .. } => Self::TargetsOverlap,
            sink::Error::HasData { .. } => Self::TargetHasData,
            sink::Error::Swapped { .. } => Self::ArgumentsSwapped,
            sink::Error::Conflict(conflict) => conflict.into(),
            sink::Error::Locked { .. } => Self::TargetLocked,
            sink::Error::ReadOnly { .. } => Self::TargetReadOnly,
            sink::Error::NoMedium { .. } => Self::TargetNoMedium,
            sink::Error::CannotDiscard { .. } => Self::CannotDiscard,
            sink::Error::Busy { .. } => Self::TargetBusy,
            sink::Error::TooSmall { .. } => Self::TargetTooSmall,
        }
    }
}

impl From<&Conflict> for Code {
    fn from(conflict: &Conflict) -> Self {
        match conflict {
            Conflict::InUse { usage, .. } | Conflict::SharedInUse { usage, .. } | Conflict::PartInUse { usage, .. } => {
                match usage {
                    Usage::Mounted(_) => Self::TargetMounted,
                    Usage::Swap(_) => Self::TargetSwap,
                    Usage::Held(_) => Self::TargetHeld,
                }
            }
            Conflict::SharedUnclear { .. } => Self::TargetUnclear,
            Conflict::SharedBusy { .. } => Self::TargetBusy,
            Conflict::FileLocked { .. } => Self::TargetLocked,
        }
    }
}

impl From<&copy::Error> for Code {
    fn from(error: &copy::Error) -> Self {
        match error {
            copy::Error::Read { source, .. } => of_read(source),
            copy::Error::EndedEarly { .. } => Self::ImageCutOff,
            copy::Error::GoesOn { .. } => Self::ImageTooLong,
            copy::Error::Shrank { .. } | copy::Error::Grew { .. } | copy::Error::Changed { .. } => Self::ImageChanged,
            copy::Error::Mismatch { .. } => Self::ChecksumMismatch,
            copy::Error::Reopen(error) => error.into(),
            copy::Error::Empty => Self::Empty,
            copy::Error::Thread(_) | copy::Error::Memory(_) => Self::NoResources,
            copy::Error::Discard { source, .. } if source.kind() == ErrorKind::Unsupported => Self::CannotDiscard,
            copy::Error::Gpt(error) => error.into(),
            copy::Error::NoDeviceEnd => Self::TargetNotBlockDevice,
            copy::Error::Prepare(_) | copy::Error::Write { .. } | copy::Error::Discard { .. } => Self::CannotWrite,
            copy::Error::ReadTarget(_) | copy::Error::ReadBack { .. } => Self::TargetCannotBeReadBack,
            copy::Error::Stalled { .. } => Self::TargetStalled,
            copy::Error::Medium(_) => Self::MediumFault,
            copy::Error::Capacity { .. } => Self::MediumTooSmall,
            copy::Error::Full { .. } => Self::TargetTooSmall,
            copy::Error::Sync(_) => Self::SyncFailed,
            copy::Error::NoResult => Self::InternalError,
            copy::Error::Cancelled | copy::Error::HeldUp { .. } => Self::Interrupted,
        }
    }
}

impl From<&verify::Error> for Code {
    fn from(error: &verify::Error) -> Self {
        match error {
            verify::Error::NoChecksums => Self::BmapHasNoChecksums,
            verify::Error::Source(error) => error.into(),
            verify::Error::Read { source, .. } | verify::Error::GivenUp { source, .. } => of_read(source),
            verify::Error::EndedEarly { .. } => Self::ImageCutOff,
            verify::Error::Memory(_) => Self::NoResources,
        }
    }
}

impl From<&create::Error> for Code {
    fn from(error: &create::Error) -> Self {
        match error {
            create::Error::Read { .. } | create::Error::Access { .. } => Self::CannotRead,
            create::Error::NotAFile { .. } => Self::NotMappable,
            create::Error::Empty { .. } => Self::Empty,
            create::Error::Changed { .. } => Self::ImageChanged,
            create::Error::Memory(_) => Self::NoResources,
            create::Error::RangeSize { .. } | create::Error::PastTheEnd { .. } => Self::Usage,
            create::Error::TooManyRanges { .. } => Self::TooManyRanges,
            create::Error::NoPartition { .. } => Self::NoSuchPartition,
            create::Error::Partitions { source, .. } => source.into(),
            create::Error::Map(error) => error.into(),
            create::Error::Impossible { .. } => Self::MapImpossible,
        }
    }
}

impl From<&filemap::Error> for Code {
    fn from(error: &filemap::Error) -> Self {
        match error {
            filemap::Error::Inspect { .. } | filemap::Error::Query { .. } => Self::CannotRead,
            filemap::Error::Unsupported { .. } => Self::HolesUnclear,
            filemap::Error::Inconsistent { .. } => Self::MapImpossible,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_without_an_end_is_a_defect() {
        assert_eq!(Code::from(&copy::Error::NoResult), Code::InternalError);
    }
}
