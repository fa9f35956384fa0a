//! Sizes and shares as people read them.

/// `bytes` in the smallest unit that makes less than 1024 of it, with one decimal, as in `1.1 GiB`; below 512 as they are.
pub fn human(bytes: u64) -> String {
    match unit(bytes) {
        Some((size, name)) => format!("{:.1} {name}", bytes as f64 / size),
        None if bytes == 1 => "1 byte".to_owned(),
        None => format!("{bytes} bytes"),
    }
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

/// `part` of `whole` in percent, as in `28.7%`; nothing of nothing is all of it.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "100.0%".to_owned();
    }
    format!("{:.1}%", part as f64 * 100.0 / whole as f64)
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
    fn parts_have_the_unit_of_the_whole() {
        assert_eq!(human_part(600 << 10, 5 << 20), "0.6 of 5.0 MiB");
        assert_eq!(human_part(0, 300), "0 of 300 bytes");
    }

    #[test]
    fn shares() {
        assert_eq!(percent(304, 2561), "11.9%");
        assert_eq!(percent(0, 5), "0.0%");
    }
}
