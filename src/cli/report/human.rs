//! What people read: a message for each notice, and the progress of the targets.

use std::path::{Display, Path, PathBuf};
use std::sync::Arc;

use bmaptool::bmap::Bmap;
use bmaptool::copy::{Summary, WritePolicy};
use bmaptool::digest::ChecksumKind;
use bmaptool::event::{Event, Notice, Observer, Phase, TargetId, Unverified};
use bmaptool::sink::{Kind, ReadPath};
use bmaptool::size::{counted, human, human_time, rate_in_mib};
use bmaptool::source::{Location, TransferStats};
use bmaptool::verify::{self, BackupState, Difference, Fault};
use log::Level::{Info, Warn};

use super::ended::Ended;
use super::progress::Progress;
use super::start::{Start, UsedBmap};
use super::{console, summary};
use crate::cli::error::{in_one_line, in_quotes};
use crate::cli::json::Warning;
use crate::cli::{hint, network};

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
            let level = if Warning::of(&notice).is_some() { Warn } else { Info };
            let text = words(notice, &self.targets);
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
                let how = match path {
                    ReadPath::Direct => ", past the page cache",
                    _ => " after dropping the page cache (no O_DIRECT)",
                };
                log::info!("read back {} from '{}'{how}: all is right", human(bytes), self.target(target));
            }
            _ => {}
        }
    }
}

impl Human {
    /// Says what is going to be written where.
    pub fn started(&self, start: &Start<'_>) {
        if start.command != "copy" {
            return; // nothing is
        }
        let targets = || self.targets.iter().zip(start.targets.iter().flatten());
        for (target, info) in targets().filter(|(_, info)| info.kind == Kind::BlockDevice) {
            log::info!("{}", summary::device(target, info));
            summary::serial(target, info).into_iter().for_each(|serial| log::debug!("{serial}"));
        }
        let Some(UsedBmap { file, map, .. }) = start.bmap else {
            for (target, _) in targets() {
                log::info!("no bmap given, copy entire image to '{}'", target.display());
            }
            return;
        };
        log::info!("block map format version {}", map.version());
        log::info!("{}", summary::mapped(map));
        let (image, file) = (start.image.short_name(), file.short_name());
        for (target, info) in targets() {
            // Scripts match these messages, in which all but devices are named without their directories.
            let (kind, name) = match info.kind {
                Kind::BlockDevice => ("block device", None),
                Kind::RegularFile | Kind::CharacterDevice => ("file", target.file_name()),
            };
            let target = name.map_or(target.display(), |name| Path::new(name).display());
            log::info!("copying image '{image}' to {kind} '{target}' using bmap file '{file}'");
        }
    }

    /// Says how a copy ended. Where there are several targets, their errors are among the results.
    pub fn ended(&self, ended: &Ended<'_>) {
        if let [result] = ended.results {
            let Ok(done) = result else { return };
            match ended.write {
                WritePolicy::Changed => log::info!("{}", summary::changed(done, ended.stats.map(network::fetched))),
                WritePolicy::All => tell_fetched(ended.stats),
            }
            log::info!("{}", ended.assurance.done(&self.targets[0], ended.write, done));
            tell_speed(done);
            return;
        }
        let mut right = Vec::new();
        for (target, result) in self.targets.iter().zip(ended.results) {
            match result {
                Ok(done) => {
                    if ended.write == WritePolicy::Changed {
                        log::info!("'{}': {}", target.display(), summary::changed(done, None));
                    }
                    log::info!("{}", ended.assurance.done_of_several(target, ended.write, done));
                    right.push((target.as_path(), *done));
                }
                Err(error) => error.report(),
            }
        }
        let Some((_, slowest)) = right.iter().max_by_key(|(_, done)| done.time) else { return };
        tell_fetched(ended.stats);
        summary::pace(&right).into_iter().for_each(|pace| log::info!("{pace}"));
        tell_speed(slowest);
    }

    /// Says what the map of an image has, where that cannot go where the map goes.
    pub fn mapped(&self, map: &Bmap) {
        if console::is_terminal() {
            let ranges = counted(map.ranges().count() as u64, "range");
            log::info!("'{}': {} in {ranges}", self.target(TargetId(0)), summary::mapped(map));
        }
    }

    fn target(&self, target: TargetId) -> Display<'_> {
        self.targets[target.0].display()
    }
}

fn tell_fetched(stats: Option<&TransferStats>) {
    stats.into_iter().for_each(|stats| log::info!("fetched {}", network::amount(stats)));
}

/// The last line, and always in this unit: programs of test laboratories read it. With several targets, it is of the
/// one that took longest.
fn tell_speed(done: &Summary) {
    log::info!("copying time: {}, copying speed {}/sec", human_time(done.time), rate_in_mib(done.bytes, done.time));
}

/// A notice in words; `targets` are as the user gave them.
pub fn words(notice: Notice<'_>, targets: &[PathBuf]) -> String {
    let shown = |target: TargetId| targets[target.0].display();
    match notice {
        Notice::ReadsMember { archive, format, member } => {
            format!("reading '{member}' from the {format} archive '{archive}'")
        }
        Notice::TrailingData { file, format } => {
            format!("'{file}' goes on after its {format} data: what follows is left out")
        }
        Notice::NameDiffers { image, named, found: Some(found) } => {
            format!("the name of '{image}' says {named}, but it is {found}")
        }
        Notice::NameDiffers { image, named, found: None } => {
            format!("the name of '{image}' says {named}, but it is not compressed")
        }
        Notice::EndUnknown { image } => {
            format!("the server does not say where '{image}' ends: if it is cut off, that cannot be noticed")
        }
        Notice::Retries { url, error, pause } => {
            let pause = pause.map(|pause| format!(" in {:.1} s", pause.as_secs_f64())).unwrap_or_default();
            format!("'{url}': {}; trying again{pause}", in_one_line(error))
        }
        Notice::StartsOver { url } => {
            format!("the server of '{url}' sends whole files only: starting again from byte 0")
        }
        Notice::NoValidator { url } => {
            // FTP has nothing but times.
            let is_ftp = url.to_string().starts_with("ftp:");
            let validator = if is_ftp { "no time" } else { "no ETag or date" };
            format!("the server gives '{url}' {validator}: a change may stay unnoticed")
        }
        Notice::NoCertificates { variable } => {
            format!("{variable} names no readable certificate: no server is trusted")
        }
        Notice::NetrcUnreadable { path, error } => format!("cannot read '{}': {error}", path.display()),
        Notice::BmapFound { bmap } => format!("discovered bmap file '{bmap}'"),
        Notice::BmapAccessDenied { error } => in_one_line(error),
        Notice::SignatureFound { signature } => format!("discovered signature file '{signature}'"),
        Notice::StandIn { url, sought, what } => {
            format!("'{url}' is no {sought} but {what}: it is passed over")
        }
        Notice::BmapSignedBy { signer, .. } => {
            format!("successfully verified bmap file signature of {signer}")
        }
        Notice::EmptyChecksums { bmap } => {
            format!("bmap file '{bmap}' has empty checksums, which are taken as absent")
        }
        Notice::BmapNotSigned { bmap } => format!("bmap file '{bmap}' is not signed"),
        Notice::SignatureNotVerified { bmap } => {
            format!("the signature of bmap file '{bmap}' is not verified (--no-sig-verify)")
        }
        Notice::NotVerified(Unverified::NotWanted) => "the image is not verified (--no-verify)".to_owned(),
        Notice::NotVerified(Unverified::NoChecksums) => {
            "the image is not verified: its bmap has no checksums".to_owned()
        }
        Notice::DrainsPipe => {
            "nothing more is needed; reading the rest of the pipe (Ctrl-C ends that, and does no harm)".to_owned()
        }
        Notice::SharesData { device, target } => {
            let (device, target) = (device.display(), target.display());
            format!("'{device}' shares data with '{target}': it may show old data until it is detached")
        }
        Notice::NoAnswer { device, file } => {
            let (device, file) = (device.display(), file.display());
            format!("'{device}' is left out of the checks: its file '{file}' does not answer")
        }
        Notice::SettingKept { setting, value, error } => {
            format!("the setting '{}' is left as it is, '{value}': {error}", setting.display())
        }
        Notice::SettingNotRestored { setting, value, error, .. } => {
            format!("cannot restore '{}' to '{value}': {error}", setting.display())
        }
        Notice::PartitionTableNotReread { device, error } => {
            let device = device.display();
            format!("the kernel has not read the partition table of '{device}' again: {error}")
        }
        Notice::BootRegionUnreadable { target, length, error } => {
            let target = shown(target);
            format!("cannot read the first {length} bytes of '{target}', holes become zero: {error}")
        }
        Notice::MarksLeft { target, offsets, error } => {
            let target = shown(target);
            let offsets = offsets.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
            format!("marks of 4096 bytes may be left on '{target}', at byte {offsets}: {}", in_one_line(error))
        }
        // Never "read back": what comes from our own cache says nothing of the medium.
        Notice::MediumNotRead { target, bytes, path } => {
            let source = if path == ReadPath::Cache { "lies in memory" } else { "may have come from memory" };
            format!("compared {} of '{}', which {source}, not from a medium", human(bytes), shown(target))
        }
        Notice::GptSectorSize { target, image, device } => {
            let target = shown(target);
            format!(
                "the GPT of the image is for sectors of {image} bytes: on '{target}', with {device}, it will not boot"
            )
        }
        Notice::GptRelocated { target, offset } => {
            let target = shown(target);
            format!("the backup of the GPT is at the end of '{target}', from byte {offset} on")
        }
        Notice::DiscardedZero { target, samples } => {
            let (target, places) = (shown(target), counted(samples, "place"));
            format!("what was discarded on '{target}' reads as zeroes ({places} looked at)")
        }
        Notice::DiscardedNotZero { target, offset } => {
            let target = shown(target);
            format!("what was discarded on '{target}' does not read as zeroes, at byte {offset} for one")
        }
        Notice::LoopDeviceNotFlushed { device, image, error } => {
            let (device, image) = (device.display(), image.display());
            format!("'{image}' is attached to '{device}', recent writes may be missing from it: {error}")
        }
        Notice::DeviceInUse { device, usage } => {
            format!("'{}' may change while it is read: it is {usage}", device.display())
        }
        Notice::VerityInHoles { image, partition } => {
            format!("partition {partition} of '{}' is for dm-verity and has holes", image.display())
        }
        Notice::ImageInUse { image, usage } => {
            let image = image.display();
            format!("writes to '{image}' may be missing from its map: its loop device is {usage}")
        }
        Notice::NoHoles { image, size } => {
            format!("all {} are mapped, no holes in '{}'", human(size), image.display())
        }
        Notice::ImageCompressed { image, format } => {
            format!("'{}' is compressed ({format}), and mapped as it is", image.display())
        }
        Notice::PsplashUnusable { pipe, error } => {
            format!("the progress is not written to psplash pipe '{}': {error}", pipe.display())
        }
    }
}

/// Prints what was found wrong.
pub fn differs(kind: ChecksumKind, differences: &[Difference]) {
    differences.iter().for_each(|difference| log::error!("{}", difference_in_words(difference, kind)));
}

/// Prints what has come out of comparing `file` with its bmap, but for the differences.
pub fn verified(file: &Location, outcome: &verify::Report) {
    let verify::Report { bytes, ranges, differences, relocated, path, time } = outcome;
    match relocated {
        Some(BackupState::Right) => {
            log::info!("its GPT was relocated to the device's end: '{file}' is compared as the image has it");
        }
        Some(BackupState::Damaged) => {
            log::error!("its GPT was relocated to the device's end, but the backup there is damaged");
        }
        None => {}
    }
    if *path == Some(ReadPath::AfterDrop) {
        log::info!("'{file}' does not take O_DIRECT: the page cache was dropped before it was read");
    }
    log::info!("verifying time: {}, verifying speed {}/sec", human_time(*time), rate_in_mib(*bytes, *time));
    if differences.is_empty() && *relocated != Some(BackupState::Damaged) {
        let (amount, ranges) = (human(*bytes), counted(*ranges as u64, "range"));
        log::info!("{} is what its bmap says: {amount} in {ranges}", in_quotes(file));
    }
}

fn difference_in_words(Difference { bytes, blocks, fault, .. }: &Difference, kind: ChecksumKind) -> String {
    let fault = match fault {
        Fault::Differs(None) => "differ".to_owned(),
        Fault::Differs(Some(digests)) => format!("differ: the {kind} is {}, not {}", digests.1, digests.0),
        Fault::Unreadable(error) => format!("cannot be read: {} at byte {}", error.source, error.offset),
    };
    format!("bytes {}-{} (blocks {blocks}) {fault}", bytes.start, bytes.end - 1)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    #[test]
    fn notices_in_words() {
        let targets = ["/dev/x".into()];
        let error = io::Error::other("why");
        let pause = Some(Duration::from_millis(1500));
        let cases = [
            (Notice::Retries { url: &"ftp://h/a", error: &error, pause }, "'ftp://h/a': why; trying again in 1.5 s"),
            (
                Notice::NoValidator { url: &"ftp://h/a" },
                "the server gives 'ftp://h/a' no time: a change may stay unnoticed",
            ),
            (
                Notice::BootRegionUnreadable { target: TargetId(0), length: 512, error: &error },
                "cannot read the first 512 bytes of '/dev/x', holes become zero: why",
            ),
            (
                Notice::MarksLeft { target: TargetId(0), offsets: &[0, 4096], error: &error },
                "marks of 4096 bytes may be left on '/dev/x', at byte 0, 4096: why",
            ),
            (
                Notice::DiscardedZero { target: TargetId(0), samples: 1 },
                "what was discarded on '/dev/x' reads as zeroes (1 place looked at)",
            ),
            (
                Notice::DiscardedNotZero { target: TargetId(0), offset: 4096 },
                "what was discarded on '/dev/x' does not read as zeroes, at byte 4096 for one",
            ),
            (
                Notice::SettingKept { setting: Path::new("/sys/s"), value: "v", error: &error },
                "the setting '/sys/s' is left as it is, 'v': why",
            ),
        ];
        for (notice, expected) in cases {
            assert_eq!(words(notice, &targets), expected);
        }
    }
}
