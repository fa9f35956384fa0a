//! Sizes, percentages and times for people.

use std::time::Duration;

/// `bytes` in the smallest unit in which they are below 1024, with one decimal, as in `1.1 GiB`; plain below 512.
pub fn human(bytes: u64) -> String {
    match unit(bytes) {
        Some((size, name)) => format!("{:.1} {name}", bytes as f64 / size),
        None if bytes == 1 => "1 byte".to_owned(),
        None => format!("{bytes} bytes"),
    }
}

/// A number of bytes as people type it: decimal digits, and perhaps K, M, G or T for powers of 1024. `None` where it is
/// none, or over 64 bits.
pub fn parse(text: &str) -> Option<u64> {
    let power = "KMGT".find(text.chars().next_back()?.to_ascii_uppercase());
    let digits = if power.is_some() { &text[..text.len() - 1] } else { text };
    let is_number = digits.bytes().all(|digit| digit.is_ascii_digit()); // a sign parses as well
    let number: u64 = digits.parse().ok().filter(|_| is_number)?;
    number.checked_mul(power.map_or(1, |power| 1 << (10 * (power + 1))))
}

/// `part` and `whole` in the unit of the whole, as in `0.3 of 1.1 GiB`.
pub fn human_part(part: u64, whole: u64) -> String {
    let part = unit(whole).map_or_else(|| part.to_string(), |(size, _)| format!("{:.1}", part as f64 / size));
    format!("{part} of {}", human(whole))
}

/// The unit for `bytes`, by its size in bytes and its name; none for a few bytes.
fn unit(bytes: u64) -> Option<(f64, &'static str)> {
    const NAMES: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 512 {
        return None;
    }
    let mut units = (1..).map(|power| 1024_f64.powi(power)).zip(NAMES);
    // The unit changes where the rounded figure would reach 1024.
    units.find(|(size, _)| bytes as f64 / size < 1023.95)
}

/// `part` of `whole` in percent, as in `28.7%`; 100 if `whole` is 0.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "100.0%".to_owned();
    }
    format!("{:.1}%", part as f64 * 100.0 / whole as f64)
}

/// `part` of `whole` in whole percent, rounded down, at most 100; 100 if `whole` is 0.
pub fn whole_percent(part: u64, whole: u64) -> u64 {
    let share = (u128::from(part).saturating_mul(100)).checked_div(u128::from(whole)).unwrap_or(100);
    u64::try_from(share.min(100)).unwrap_or(100)
}

/// `bytes` per second of `time`, as in `12.3 MiB`.
pub fn rate(bytes: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    human(if seconds > 0.0 { (bytes as f64 / seconds) as u64 } else { bytes })
}

/// `bytes` per second of `time` in MiB whatever the size, as in `12.3 MiB`.
pub fn rate_in_mib(bytes: u64, time: Duration) -> String {
    const MIB: f64 = (1 << 20) as f64;
    let seconds = time.as_secs_f64();
    format!("{:.1} MiB", bytes as f64 / MIB / if seconds > 0.0 { seconds } else { 1.0 })
}

/// `count` and the noun for it, which has its plural in `s`: `1 block`, `2 blocks`.
pub fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A time to tenths of a second, as in `1h 2m 3.4s`.
pub fn human_time(time: Duration) -> String {
    // Rounded to tenths first, so that there is no minute of 60.0 seconds.
    let tenths = time.as_millis().saturating_add(50) / 100;
    let (hours, minutes, seconds) = (tenths / 36_000, tenths / 600 % 60, tenths % 600);
    let seconds = format!("{}.{}s", seconds / 10, seconds % 10);
    match (hours, minutes) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m {seconds}"),
        (hours, minutes) => format!("{hours}h {minutes}m {seconds}"),
    }
}

/// A time in at most six characters, as in `12s`, `3m05s` or `1h02m`, where it is below 1000 hours.
pub fn short_time(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let cases: [(u64, &str); 9] = [
            (0, "0 bytes"),
            (1, "1 byte"),
            (511, "511 bytes"),
            (512, "0.5 KiB"),
            (102_400, "100.0 KiB"),
            (10_485_762, "10.0 MiB"),
            (1 << 30, "1.0 GiB"),
            ((1 << 30) - 1, "1.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn sizes_are_parsed_with_their_suffixes() {
        let cases = [("0", 0), ("4096", 4096), ("4K", 4096), ("4m", 4 << 20), ("3G", 3 << 30)];
        for (text, bytes) in cases {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for text in ["", "K", "4KB", "-1", "+1", " 1", "1.5M", "0x10", "16777216T", "18446744073709551616", "1é"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn parts_have_the_unit_of_the_whole() {
        assert_eq!(human_part(600 << 10, 5 << 20), "0.6 of 5.0 MiB");
        assert_eq!(human_part(0, 300), "0 of 300 bytes");
    }

    #[test]
    fn shares() {
        assert_eq!(percent(304, 2561), "11.9%");
        assert_eq!(percent(0, 5), "0.0%");
    }

    #[test]
    fn whole_percents_end_at_a_hundred() {
        let cases = [(0, 7, 0), (1, 3, 33), (999, 1000, 99), (5, 5, 100), (0, 0, 100), (9, 5, 100)];
        for (part, whole, share) in cases {
            assert_eq!(whole_percent(part, whole), share);
        }
        assert_eq!(whole_percent(u64::MAX, u64::MAX), 100);
    }

    #[test]
    fn a_rate_in_mib_keeps_its_unit() {
        let second = Duration::from_secs(1);
        let cases = [(0, second, "0.0 MiB"), (5 << 30, second * 2, "2560.0 MiB"), (3 << 20, Duration::ZERO, "3.0 MiB")];
        for (bytes, time, text) in cases {
            assert_eq!(rate_in_mib(bytes, time), text);
        }
    }

    #[test]
    fn times() {
        let cases = [(0, "0.0s"), (1_449, "1.4s"), (59_960, "1m 0.0s"), (62_300, "1m 2.3s"), (7_260_000, "2h 1m 0.0s")];
        for (milliseconds, text) in cases {
            assert_eq!(human_time(Duration::from_millis(milliseconds)), text);
        }
        assert_eq!([9, 185, 3725].map(|seconds| short_time(Duration::from_secs(seconds))), ["9s", "3m05s", "1h02m"]);
    }
}
