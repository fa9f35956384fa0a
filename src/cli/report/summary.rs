//! What is going to be written where, and what came of it, in words.

use std::path::Path;
use std::time::Duration;

use bmaptool::bmap::Bmap;
use bmaptool::copy::{Summary, WritePolicy};
use bmaptool::sink::SinkInfo;
use bmaptool::size::{counted, human, human_part, human_time, percent, rate_in_mib};

/// How much of an image is mapped. Scripts match these words.
pub fn mapped(map: &Bmap) -> String {
    format!(
        "{} of size {} ({}), mapped {} ({} or {})",
        counted(map.blocks(), "block"),
        map.block_size().bytes(),
        human(map.image_size()),
        counted(map.mapped_blocks(), "block"),
        human(map.mapped_bytes()),
        percent(map.mapped_blocks(), map.blocks()),
    )
}

/// Which device a target is, so that a wrong one is noticed: `/dev/sdb: SanDisk Ultra, 29.7 GiB`. A partition has its
/// own size before that of its disk.
pub fn device(target: &Path, info: &SinkInfo) -> String {
    let (model, disk) = info.identity.clone().map_or((None, None), |identity| (identity.model, identity.size));
    let size = match (info.capacity, disk) {
        (Some(capacity), Some(disk)) if capacity < disk => Some(human_part(capacity, disk)),
        (capacity, disk) => disk.or(capacity).map(human),
    };
    let words: Vec<String> = model.into_iter().chain(size).collect();
    format!("{}: {}", target.display(), words.join(", "))
}

/// The serial number of the device that a target is, or of its disk: `/dev/sdb: serial number 4C530001`.
pub fn serial(target: &Path, info: &SinkInfo) -> Option<String> {
    let serial = info.identity.as_ref()?.serial.as_ref()?;
    Some(format!("{}: serial number {serial}", target.display()))
}

/// What a copy that writes only what differs has written, perhaps zeroed or discarded, and `fetched` over a network:
/// `written 12.3 MiB, 1.1 GiB was right already, 2.0 MiB zeroed, 48.2 MiB fetched of 420.0 MiB`.
pub fn changed(summary: &Summary, fetched: Option<(String, Option<String>)>) -> String {
    let Summary { bytes, written, zeroed, discarded, .. } = *summary;
    let mut words = format!("written {}, {} was right already", human(written), human(bytes - written));
    for (bytes, verb) in [(zeroed, "zeroed"), (discarded, "discarded")].into_iter().filter(|(bytes, _)| *bytes > 0) {
        words += &format!(", {} {verb}", human(bytes));
    }
    if let Some((fetched, size)) = fetched {
        words += &format!(", {fetched} fetched");
        words.extend(size.map(|size| format!(" of {size}")));
    }
    words
}

/// Which target the others waited for, where that was long: more than a second, and a tenth of the time.
pub fn pace(targets: &[(&Path, Summary)]) -> Option<String> {
    let whole = targets.iter().map(|(_, summary)| summary.time).max()?;
    // A target that is done waits for those that are not.
    let waited = |summary: &Summary| summary.waited + (whole - summary.time);
    let (slowest, summary) = targets.iter().min_by_key(|(_, summary)| waited(summary))?;
    let others = targets.iter().filter(|(target, _)| target != slowest).map(|(_, summary)| waited(summary)).min()?;
    // All of them wait for the source.
    let time = others.saturating_sub(waited(summary));
    let is_noticeable = time > Duration::from_secs(1) && time > whole / 10;
    let (slowest, time) = (slowest.display(), human_time(time));
    is_noticeable.then(|| format!("'{slowest}' set the pace: the others waited {time} for it"))
}

/// What vouches for the bytes that a copy writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assurance {
    /// The checksums of the bmap, of this kind.
    Checksums(&'static str),
    /// Nothing: the user does not want that.
    NotWanted,
    /// Nothing: the bmap has no checksums.
    NoChecksums,
    /// Only that the image has a clean end: there is no bmap.
    NoBmap,
}

impl Assurance {
    /// What vouches for the bytes that `map` lists; `no_verify` is the user's option.
    pub fn of(map: Option<&Bmap>, no_verify: bool) -> Self {
        match map {
            None => Self::NoBmap,
            Some(_) if no_verify => Self::NotWanted,
            Some(map) => map.checksum_kind().map_or(Self::NoChecksums, |kind| Self::Checksums(kind.name())),
        }
    }

    /// What was written to `target`, or is there, and how far that was verified.
    pub fn done(self, target: &Path, write: WritePolicy, summary: &Summary) -> String {
        self.done_in("", target, write, summary)
    }

    /// The same of one target of several, with its own time and speed.
    pub fn done_of_several(self, target: &Path, write: WritePolicy, summary: &Summary) -> String {
        let Summary { bytes, time, .. } = *summary;
        let pace = format!(" in {} ({}/sec)", human_time(time), rate_in_mib(bytes, time));
        self.done_in(&pace, target, write, summary)
    }

    fn done_in(self, pace: &str, target: &Path, write: WritePolicy, summary: &Summary) -> String {
        let verb = match write {
            WritePolicy::All => "written to",
            WritePolicy::Changed => "on",
        };
        let (bytes, target) = (human(summary.bytes), target.display());
        let verified = match self {
            Self::Checksums(kind) => format!("all ranges of the image verified ({kind})"),
            Self::NotWanted => "the image not verified (--no-verify)".to_owned(),
            Self::NoChecksums => "the image not verified: its bmap has no checksums".to_owned(),
            Self::NoBmap => "the image read to its end, without a bmap to verify it".to_owned(),
        };
        format!("done: {bytes} {verb} '{target}' and synchronized{pace}, {verified}")
    }
}

#[cfg(test)]
mod tests {
    use bmaptool::device::Identity;
    use bmaptool::range::{BlockRange, BlockSize};
    use bmaptool::sink::Kind;

    use super::*;

    #[test]
    fn one_block_is_no_blocks() {
        let map = |blocks: u64, last| {
            let ranges = vec![BlockRange::from_inclusive(0, last).unwrap()];
            mapped(&Bmap::new(blocks * 4096, BlockSize::new(4096).unwrap(), ranges, None).unwrap())
        };
        assert_eq!(map(1, 0), "1 block of size 4096 (4.0 KiB), mapped 1 block (4.0 KiB or 100.0%)");
        assert_eq!(map(4, 1), "4 blocks of size 4096 (16.0 KiB), mapped 2 blocks (8.0 KiB or 50.0%)");
    }

    #[test]
    fn a_device_is_told_by_model_and_size() {
        let words = |model: Option<&str>, capacity, size| {
            let identity = Identity { model: model.map(str::to_owned), size, ..Identity::default() };
            device(
                "/dev/x".as_ref(),
                &SinkInfo { capacity, identity: Some(identity), ..SinkInfo::of(Kind::BlockDevice) },
            )
        };
        let (mib, gib) = (1 << 20, 1 << 30);
        assert_eq!(words(Some("SanDisk Ultra"), Some(30 * gib), Some(30 * gib)), "/dev/x: SanDisk Ultra, 30.0 GiB");
        assert_eq!(words(Some("SC16G"), Some(512 * mib), Some(16 * gib)), "/dev/x: SC16G, 0.5 of 16.0 GiB");
        assert_eq!(words(None, Some(20 * mib), None), "/dev/x: 20.0 MiB");
    }

    #[test]
    fn the_serial_number_of_a_device_is_said_where_it_has_one() {
        let words = |serial: Option<&str>| {
            let identity = Identity { serial: serial.map(str::to_owned), ..Identity::default() };
            let info = SinkInfo { identity: Some(identity), ..SinkInfo::of(Kind::BlockDevice) };
            serial_of(&info)
        };
        assert_eq!(words(Some("4C530001")).as_deref(), Some("/dev/x: serial number 4C530001"));
        assert_eq!(words(None), None);
        assert_eq!(serial_of(&SinkInfo::of(Kind::RegularFile)), None);
    }

    fn serial_of(info: &SinkInfo) -> Option<String> {
        serial("/dev/x".as_ref(), info)
    }

    #[test]
    fn the_slowest_is_told_if_the_others_waited_long_for_it() {
        let summary = |time, waited| Summary {
            time: Duration::from_secs(time),
            waited: Duration::from_secs(waited),
            ..Summary::default()
        };
        let of = |targets: &[(u64, u64)]| {
            let names = ["a", "b", "c"].map(Path::new);
            let targets = targets.iter().map(|&(time, waited)| summary(time, waited));
            pace(&names.into_iter().zip(targets).collect::<Vec<_>>())
        };
        assert_eq!(of(&[(70, 40), (72, 5), (70, 50)]), Some("'b' set the pace: the others waited 37.0s for it".into()));
        // Of two that are slow none sets it; and what all wait for is the source.
        assert_eq!(of(&[(70, 5), (70, 5), (70, 50)]), None);
        assert_eq!(of(&[(70, 66), (70, 60), (70, 66)]), None);
        assert_eq!(of(&[(3, 0), (1, 0)]), Some("'a' set the pace: the others waited 2.0s for it".into()));
        assert_eq!(of(&[(70, 5)]), None);
    }

    #[test]
    fn what_was_changed_is_said() {
        let summary = Summary { bytes: 3 << 20, written: 1 << 20, ..Summary::default() };
        let fetched = Some(("5.0 MiB".into(), Some("9.0 MiB".into())));
        assert_eq!(changed(&summary, None), "written 1.0 MiB, 2.0 MiB was right already");
        let zeroed = Summary { zeroed: 4 << 20, ..summary };
        let expected = "written 1.0 MiB, 2.0 MiB was right already, 4.0 MiB zeroed, 5.0 MiB fetched of 9.0 MiB";
        assert_eq!(changed(&zeroed, fetched), expected);
        let discarded = Summary { discarded: 1 << 30, ..summary };
        assert_eq!(changed(&discarded, None), "written 1.0 MiB, 2.0 MiB was right already, 1.0 GiB discarded");
    }

    #[test]
    fn what_was_verified_is_said() {
        let summary = Summary { bytes: 3 << 20, written: 3 << 20, ..Summary::default() };
        let cases = [
            (Assurance::Checksums("sha256"), "all ranges of the image verified (sha256)"),
            (Assurance::NotWanted, "the image not verified (--no-verify)"),
            (Assurance::NoChecksums, "the image not verified: its bmap has no checksums"),
            (Assurance::NoBmap, "the image read to its end, without a bmap to verify it"),
        ];
        for (assurance, words) in cases {
            let expected = format!("done: 3.0 MiB written to 'out' and synchronized, {words}");
            assert_eq!(assurance.done("out".as_ref(), WritePolicy::All, &summary), expected);
        }
    }
}
