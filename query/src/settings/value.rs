//! Values of parameters, as people and clients write them.

use arrow::array::timezone::Tz;

/// Units of a time, in milliseconds; none is one of them.
const UNITS: [(&str, u64); 6] =
    [("ms", 1), ("min", 60_000), ("s", 1_000), ("h", 3_600_000), ("d", 86_400_000), ("", 1)];

/// PostgreSQL's ways to write a boolean.
pub(super) fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" | "t" | "y" => Some(true),
        "off" | "false" | "no" | "0" | "f" | "n" => Some(false),
        _ => None,
    }
}

pub(super) fn millis(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, each) = UNITS.iter().find_map(|(unit, each)| {
        let number = text.strip_suffix(unit)?.trim_end();
        number.bytes().all(|byte| byte.is_ascii_digit()).then_some((number, *each))
    })?;
    number.parse::<u64>().ok()?.checked_mul(each)
}

/// Milliseconds in the largest unit that takes a whole number of them.
pub(super) fn in_words(millis: &str) -> String {
    let number: u64 = millis.parse().unwrap_or(0);
    if number == 0 {
        return "0".to_owned();
    }
    let mut units = UNITS;
    units.sort_by_key(|(_, each)| std::cmp::Reverse(*each));
    let (unit, each) = units
        .into_iter()
        .find(|(unit, each)| !unit.is_empty() && number.is_multiple_of(*each))
        .expect("every number is one of milliseconds");
    format!("{}{unit}", number / each)
}

/// A zone by a name that both sides know, or by its offset: whole hours may be a number.
pub(super) fn zone(text: &str) -> Option<String> {
    let text = text.trim();
    if is_utc(text) {
        return Some("UTC".to_owned());
    }
    if let Ok(hours) = text.parse::<i8>() {
        return (-15..=15).contains(&hours).then(|| format!("{hours:+03}:00"));
    }
    text.parse::<Tz>().is_ok().then(|| text.to_owned())
}

pub(super) fn is_utc(zone: &str) -> bool {
    let names = ["utc", "gmt", "z", "etc/utc", "etc/gmt", "universal", "zulu"];
    names.contains(&zone.to_ascii_lowercase().as_str())
}

pub(super) fn is_utf8(name: &str) -> bool {
    let name = name.trim_matches('\'').to_ascii_lowercase();
    ["utf8", "utf-8", "unicode"].contains(&name.as_str())
}

/// The order of day and month only matters to what is read, and ISO has one.
pub(super) fn is_iso(style: &str) -> bool {
    let orders = ["ymd", "mdy", "dmy", "us", "european", "noneuropean", "euro"];
    style
        .split(',')
        .map(|word| word.trim().to_ascii_lowercase())
        .all(|word| word == "iso" || orders.contains(&word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_shown_in_their_units() {
        for (text, want, shown) in [
            ("0", 0, "0"),
            ("1500", 1_500, "1500ms"),
            ("5s", 5_000, "5s"),
            (" 2 min ", 120_000, "2min"),
            ("250ms", 250, "250ms"),
            ("1h", 3_600_000, "1h"),
            ("1d", 86_400_000, "1d"),
        ] {
            assert_eq!(millis(text), Some(want), "{text}");
            assert_eq!(in_words(&want.to_string()), shown);
        }
        for text in
            ["", "s", "-1", "5 weeks", "1.5s", "99999999999999999999", "18446744073709551615d"]
        {
            assert_eq!(millis(text), None, "{text}");
        }
    }

    #[test]
    fn zones_are_names_offsets_and_hours() {
        for (text, want) in [
            ("Europe/Berlin", Some("Europe/Berlin")),
            ("utc", Some("UTC")),
            ("Z", Some("UTC")),
            ("+02:00", Some("+02:00")),
            ("2", Some("+02:00")),
            ("-7", Some("-07:00")),
            ("99", None),
            ("Middle/Earth", None),
            ("", None),
        ] {
            assert_eq!(zone(text).as_deref(), want, "{text}");
        }
    }
}
