//! Sizes and shares as people read them.

/// `bytes` in the largest unit of which there is at least one, with one decimal, as in `1.1 GiB`.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes == 1 {
        return "1 byte".to_owned();
    }
    if bytes < 512 {
        return format!("{bytes} bytes");
    }
    // The unit changes where the rounded figure would reach 1024.
    let mut value = bytes as f64;
    let mut unit = "";
    for name in UNITS {
        value /= 1024.0;
        unit = name;
        if value < 1023.95 {
            break;
        }
    }
    format!("{value:.1} {unit}")
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
    fn shares() {
        assert_eq!(percent(304, 2561), "11.9%");
        assert_eq!(percent(0, 5), "0.0%");
    }
}
