//! What programs are warned of, in words that stay the same.

use bmaptool::event::Notice;
use serde::Serialize;

/// Defines [`Warning`], and the list of all.
macro_rules! warnings {
    ($($warning:ident)*) => {
        /// Programs compare these: one that has been released keeps its name and its meaning, which docs/json.md tells.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Warning {
            $($warning,)*
        }

        #[cfg(test)]
        impl Warning {
            pub const ALL: &[Self] = &[$(Self::$warning,)*];
        }
    };
}

warnings! {
    BootRegionUnreadable
    ChangeUnnoticed
    CheckSkipped
    DeviceInUse
    DiscardedNotZero
    EmptyChecksums
    EndUnknown
    ImageCompressed
    ImageInUse
    MarksLeft
    MediumNotRead
    NameDiffers
    NoCertificates
    NoHoles
    NotVerified
    PsplashUnusable
    SectorSizeDiffers
    SettingNotRestored
    SharesData
    SignatureNotVerified
    TrailingData
    UnreadableFile
    VerityInHoles
    WritesMissing
}

impl Warning {
    /// The warning that `notice` is, if it is one.
    pub fn of(notice: &Notice<'_>) -> Option<Self> {
        Some(match notice {
            Notice::TrailingData { .. } => Self::TrailingData,
            Notice::NameDiffers { .. } => Self::NameDiffers,
            Notice::EndUnknown { .. } => Self::EndUnknown,
            Notice::NotVerified { .. } => Self::NotVerified,
            Notice::NoValidator { .. } => Self::ChangeUnnoticed,
            Notice::NoCertificates { .. } => Self::NoCertificates,
            Notice::NetrcUnreadable { .. } => Self::UnreadableFile,
            Notice::EmptyChecksums { .. } => Self::EmptyChecksums,
            Notice::SignatureNotVerified { .. } => Self::SignatureNotVerified,
            Notice::SharesData { .. } => Self::SharesData,
            Notice::NoAnswer { .. } => Self::CheckSkipped,
            Notice::SettingNotRestored { .. } => Self::SettingNotRestored,
            Notice::BootRegionUnreadable { .. } => Self::BootRegionUnreadable,
            Notice::MarksLeft { .. } => Self::MarksLeft,
            Notice::MediumNotRead { .. } => Self::MediumNotRead,
            Notice::GptSectorSize { .. } => Self::SectorSizeDiffers,
            Notice::DiscardedNotZero { .. } => Self::DiscardedNotZero,
            Notice::LoopDeviceNotFlushed { .. } => Self::WritesMissing,
            Notice::DeviceInUse { .. } => Self::DeviceInUse,
            Notice::VerityInHoles { .. } => Self::VerityInHoles,
            Notice::ImageInUse { .. } => Self::ImageInUse,
            Notice::NoHoles { .. } => Self::NoHoles,
            Notice::ImageCompressed { .. } => Self::ImageCompressed,
            Notice::PsplashUnusable { .. } => Self::PsplashUnusable,
            Notice::ReadsMember { .. }
            | Notice::Retries { .. }
            | Notice::StartsOver { .. }
            | Notice::BmapFound { .. }
            | Notice::BmapAccessDenied { .. }
            | Notice::SignatureFound { .. }
            | Notice::StandIn { .. }
            | Notice::BmapSignedBy { .. }
            | Notice::BmapNotSigned { .. }
            | Notice::DrainsPipe
            | Notice::SettingKept { .. }
            | Notice::PartitionTableNotReread { .. }
            | Notice::GptRelocated { .. }
            | Notice::DiscardedZero { .. } => return None,
        })
    }
}
