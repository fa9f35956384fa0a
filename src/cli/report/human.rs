//! What people read: a message for each notice, and how far the targets are.

use std::path::{Display, PathBuf};
use std::sync::Arc;

use bmaptool::event::{Event, Notice, Observer, Phase, TargetId};
use log::Level;

use super::progress::Progress;
use crate::cli::error::in_one_line;

/// Tells people what happens.
pub struct Human {
    /// As the user gave them.
    pub targets: Vec<PathBuf>,
    pub progress: Arc<Progress>,
}

impl Observer for Human {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Notice(notice) => {
                let (level, text) = self.words(notice);
                log::log!(level, "{text}");
            }
            event => {
                if let Event::Phase(target, Phase::Synchronizing) = event {
                    log::info!("synchronizing '{}'", self.target(target));
                }
                self.progress.note(&event);
            }
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
                (Level::Info, format!("reading '{member}' from the {format} archive '{archive}'"))
            }
            Notice::Retries { error, pause: Some(pause) } => {
                let seconds = pause.as_secs_f64();
                (Level::Info, format!("{}; trying again in {seconds:.1} s", in_one_line(error)))
            }
            Notice::Retries { error, pause: None } => {
                (Level::Info, format!("{}; going on with a new one", in_one_line(error)))
            }
            Notice::NoValidator { url } => {
                let url = url.to_string();
                // FTP has nothing but times.
                let what = match url.starts_with("ftp:") {
                    true => "no time: a change may stay unnoticed",
                    false => "no version: a change cannot be noticed",
                };
                (Level::Warn, format!("the server gives '{url}' {what}"))
            }
            Notice::NoCertificates { variable } => {
                (Level::Warn, format!("{variable} names no certificate that can be read: no server is trusted"))
            }
            Notice::NetrcUnreadable { path, error } => {
                (Level::Warn, format!("cannot read '{}': {error}", path.display()))
            }
            Notice::BmapFound { bmap } => (Level::Info, format!("discovered bmap file '{bmap}'")),
            Notice::BmapAccessDenied { error } => (Level::Info, in_one_line(error)),
            Notice::SignatureFound { signature } => (Level::Info, format!("discovered signature file '{signature}'")),
            Notice::WebPageForSignature { signature } => {
                (Level::Warn, format!("'{signature}' is a web page, not a signature"))
            }
            Notice::BmapSignedBy { signer, .. } => {
                (Level::Info, format!("successfully verified bmap file signature of {signer}"))
            }
            Notice::BmapNotSigned { bmap } => (Level::Info, format!("bmap file '{bmap}' is not signed")),
            Notice::SignatureNotVerified { bmap } => {
                let words = "is not verified, as '--no-sig-verify' asks for";
                (Level::Warn, format!("the signature of bmap file '{bmap}' {words}"))
            }
            Notice::SharesData { device, target } => {
                let (device, target) = (device.display(), target.display());
                let words = "it may show what was there before, until it is detached";
                (Level::Warn, format!("'{device}' shares data with '{target}': {words}"))
            }
            Notice::SettingKept { setting, value, error } => {
                let setting = setting.display();
                (Level::Info, format!("the setting '{setting}' is left as it is, '{value}': cannot write it: {error}"))
            }
            Notice::SettingNotRestored { setting, value, error } => {
                (Level::Warn, format!("cannot put '{}' back to '{value}': {error}", setting.display()))
            }
            Notice::PartitionTableNotReread { device, error } => {
                let device = device.display();
                let words = format!("'blockdev --rereadpt {device}' or plugging it in again does that");
                (
                    Level::Info,
                    format!("the kernel has not read the partition table of '{device}' again: {error}; {words}"),
                )
            }
            Notice::BootRegionUnreadable { target, length, error } => {
                let target = self.target(target);
                let words = format!("which will be zero where the image has nothing: {error}");
                (Level::Warn, format!("cannot read the first {length} bytes of '{target}', {words}"))
            }
            Notice::LoopDeviceNotFlushed { device, image, error } => {
                let (device, image) = (device.display(), image.display());
                let words = format!("may be missing from '{image}', which is attached to it: {error}");
                (Level::Warn, format!("what was written to '{device}' {words}"))
            }
            Notice::ImageInUse { image, usage } => {
                let image = image.display();
                let words = format!("may be missing from its map: it is attached to a device that is {usage}");
                (Level::Warn, format!("what is written to '{image}' {words}"))
            }
        }
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
            (Notice::Retries { error: &error, pause }, Level::Info, "why; trying again in 1.5 s"),
            (
                Notice::NoValidator { url: &"ftp://h/a" },
                Level::Warn,
                "the server gives 'ftp://h/a' no time: a change may stay unnoticed",
            ),
            (
                Notice::BootRegionUnreadable { target: TargetId(0), length: 512, error: &error },
                Level::Warn,
                "cannot read the first 512 bytes of '/dev/x', which will be zero where the image has nothing: why",
            ),
            (
                Notice::SettingKept { setting: Path::new("/sys/s"), value: "v", error: &error },
                Level::Info,
                "the setting '/sys/s' is left as it is, 'v': cannot write it: why",
            ),
        ];
        for (notice, level, words) in cases {
            assert_eq!(human.words(notice), (level, words.to_owned()));
        }
    }
}
