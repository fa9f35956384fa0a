//! What people read: a message for each notice, and the progress of the targets.

use std::path::{Display, PathBuf};
use std::sync::Arc;

use bmaptool::event::{Event, Notice, Observer, Phase, TargetId};
use bmaptool::sink::ReadPath;
use bmaptool::size::{counted, human};
use log::Level::{self, Info, Warn};

use super::progress::Progress;
use crate::cli::error::in_one_line;
use crate::cli::hint;

pub struct Human {
    /// As the user gave them.
    pub targets: Vec<PathBuf>,
    pub progress: Arc<Progress>,
}

impl Observer for Human {
    fn event(&self, event: Event<'_>) {
        // First, as it is drawn again below each message.
        self.progress.note(&event);
        if let Event::Notice(notice) = event {
            let (level, text) = self.words(notice);
            match hint::of_notice(&notice) {
                Some(hint) => log::log!(level, "{text}; {hint}"),
                None => log::log!(level, "{text}"),
            }
        }
        match event {
            Event::Phase(target, Phase::Synchronizing) => log::info!("synchronizing '{}'", self.target(target)),
            Event::Phase(target, Phase::Comparing) => log::info!("comparing what '{}' holds", self.target(target)),
            Event::Phase(target, Phase::Verifying) => log::info!("verifying '{}'", self.target(target)),
            Event::Retry { target, bytes } => {
                log::warn!("{} of '{}' came back wrong; copying them again", human(bytes), self.target(target));
            }
            Event::ReadBack { target, bytes, path } => {
                log::info!("{}", read_back_in_words(&human(bytes), self.target(target), path));
            }
            _ => {}
        }
    }
}

impl Human {
    fn target(&self, target: TargetId) -> Display<'_> {
        self.targets[target.0].display()
    }

    /// A notice in words, and how important it is.
    fn words(&self, notice: Notice<'_>) -> (Level, String) {
        match notice {
            Notice::ReadsMember { archive, format, member } => {
                (Info, format!("reading '{member}' from the {format} archive '{archive}'"))
            }
            Notice::TrailingData { file, format } => {
                (Warn, format!("'{file}' goes on after its {format} data: what follows is left out"))
            }
            Notice::Retries { url, error, pause } => {
                let pause = pause.map(|pause| format!(" in {:.1} s", pause.as_secs_f64())).unwrap_or_default();
                (Info, format!("'{url}': {}; trying again{pause}", in_one_line(error)))
            }
            Notice::StartsOver { url } => {
                (Info, format!("the server of '{url}' sends whole files only: starting again from byte 0"))
            }
            Notice::NoValidator { url } => {
                // FTP has nothing but times.
                let is_ftp = url.to_string().starts_with("ftp:");
                let validator = if is_ftp { "no time" } else { "no ETag or date" };
                (Warn, format!("the server gives '{url}' {validator}: a change may stay unnoticed"))
            }
            Notice::NoCertificates { variable } => {
                (Warn, format!("{variable} names no readable certificate: no server is trusted"))
            }
            Notice::NetrcUnreadable { path, error } => (Warn, format!("cannot read '{}': {error}", path.display())),
            Notice::BmapFound { bmap } => (Info, format!("discovered bmap file '{bmap}'")),
            Notice::BmapAccessDenied { error } => (Info, in_one_line(error)),
            Notice::SignatureFound { signature } => (Info, format!("discovered signature file '{signature}'")),
            Notice::StandIn { url, sought, what } => {
                (Info, format!("'{url}' is no {sought} but {what}: it is passed over"))
            }
            Notice::BmapSignedBy { signer, .. } => {
                (Info, format!("successfully verified bmap file signature of {signer}"))
            }
            Notice::EmptyChecksums { bmap } => {
                (Warn, format!("bmap file '{bmap}' has empty checksums, which are taken as absent"))
            }
            Notice::BmapNotSigned { bmap } => (Info, format!("bmap file '{bmap}' is not signed")),
            Notice::SignatureNotVerified { bmap } => {
                (Warn, format!("the signature of bmap file '{bmap}' is not verified (--no-sig-verify)"))
            }
            Notice::DrainsPipe => (
                Info,
                "the image is complete; reading the rest of the pipe (Ctrl-C ends that, and does no harm)".into(),
            ),
            Notice::SharesData { device, target } => {
                let (device, target) = (device.display(), target.display());
                (Warn, format!("'{device}' shares data with '{target}': it may show old data until it is detached"))
            }
            Notice::NoAnswer { device, file } => {
                let (device, file) = (device.display(), file.display());
                (Warn, format!("'{device}' is left out of the checks: its file '{file}' does not answer"))
            }
            Notice::SettingKept { setting, value, error } => {
                (Info, format!("the setting '{}' is left as it is, '{value}': {error}", setting.display()))
            }
            Notice::SettingNotRestored { setting, value, error } => {
                (Warn, format!("cannot restore '{}' to '{value}': {error}", setting.display()))
            }
            Notice::PartitionTableNotReread { device, error } => {
                let device = device.display();
                (Info, format!("the kernel has not read the partition table of '{device}' again: {error}"))
            }
            Notice::BootRegionUnreadable { target, length, error } => {
                let target = self.target(target);
                (Warn, format!("cannot read the first {length} bytes of '{target}', holes become zero: {error}"))
            }
            Notice::GptSectorSize { target, image, device } => {
                let target = self.target(target);
                (
                    Warn,
                    format!(
                        "the GPT of the image is for sectors of {image} bytes: on '{target}', with {device}, it will not boot"
                    ),
                )
            }
            Notice::GptRelocated { target, offset } => {
                let target = self.target(target);
                (Info, format!("the backup of the GPT is at the end of '{target}', from byte {offset} on"))
            }
            Notice::DiscardedZero { target, samples } => {
                let (target, places) = (self.target(target), counted(samples, "place"));
                (Info, format!("what was discarded on '{target}' reads as zeroes ({places} looked at)"))
            }
            Notice::DiscardedNotZero { target, offset } => {
                let target = self.target(target);
                (Warn, format!("what was discarded on '{target}' does not read as zeroes, at byte {offset} for one"))
            }
            Notice::LoopDeviceNotFlushed { device, image, error } => {
                let (device, image) = (device.display(), image.display());
                (Warn, format!("'{image}' is attached to '{device}', recent writes may be missing from it: {error}"))
            }
            Notice::DeviceInUse { device, usage } => {
                (Warn, format!("'{}' may change while it is read: it is {usage}", device.display()))
            }
            Notice::VerityInHoles { image, partition } => {
                (Warn, format!("partition {partition} of '{}' is for dm-verity and has holes", image.display()))
            }
            Notice::ImageInUse { image, usage } => {
                let image = image.display();
                (Warn, format!("writes to '{image}' may be missing from its map: its loop device is {usage}"))
            }
        }
    }
}

/// What was read back, as far as it was: what comes from our own cache says nothing of the medium.
fn read_back_in_words(amount: &str, target: Display<'_>, path: ReadPath) -> String {
    match path {
        ReadPath::Direct => format!("read back {amount} from '{target}', past the page cache: all is right"),
        ReadPath::AfterDrop => {
            format!("read back {amount} from '{target}' after dropping the page cache (no O_DIRECT): all is right")
        }
        ReadPath::Cache => format!("compared {amount} of '{target}', which lies in memory: all is right"),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    #[test]
    fn notices_in_words() {
        let human = Human { targets: vec!["/dev/x".into()], progress: Arc::default() };
        let error = io::Error::other("why");
        let pause = Some(Duration::from_millis(1500));
        let cases = [
            (
                Notice::Retries { url: &"ftp://h/a", error: &error, pause },
                Info,
                "'ftp://h/a': why; trying again in 1.5 s",
            ),
            (
                Notice::NoValidator { url: &"ftp://h/a" },
                Warn,
                "the server gives 'ftp://h/a' no time: a change may stay unnoticed",
            ),
            (
                Notice::BootRegionUnreadable { target: TargetId(0), length: 512, error: &error },
                Warn,
                "cannot read the first 512 bytes of '/dev/x', holes become zero: why",
            ),
            (
                Notice::DiscardedZero { target: TargetId(0), samples: 1 },
                Info,
                "what was discarded on '/dev/x' reads as zeroes (1 place looked at)",
            ),
            (
                Notice::DiscardedNotZero { target: TargetId(0), offset: 4096 },
                Warn,
                "what was discarded on '/dev/x' does not read as zeroes, at byte 4096 for one",
            ),
            (
                Notice::SettingKept { setting: Path::new("/sys/s"), value: "v", error: &error },
                Info,
                "the setting '/sys/s' is left as it is, 'v': why",
            ),
        ];
        for (notice, level, words) in cases {
            assert_eq!(human.words(notice), (level, words.to_owned()));
        }
    }
}
