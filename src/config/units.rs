//! Sizes and durations as people write them: `256MiB`, `10m`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

/// A length of time, whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

/// How long rows are kept: a length of time, or `None` for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep(pub Option<Duration>);

const FOREVER: &str = "forever";

const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Units with their milliseconds; `ms` before `m` and `s`, which are its ends.
const SPANS: [(&str, u64); 5] =
    [("ms", 1), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || format!("{text:?} is not a size: write a number of bytes, or 64MiB, 2GiB");
        if let Ok(bytes) = text.parse() {
            return Ok(Self(bytes));
        }
        scaled(text, &SIZES).map(Self).ok_or_else(unknown)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || format!("{text:?} is not a duration: write 250ms, 10s, 5m, 2h or 1d");
        scaled(text, &SPANS).map(|ms| Self(Duration::from_millis(ms))).ok_or_else(unknown)
    }
}

impl FromStr for Keep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == FOREVER {
            return Ok(Self(None));
        }
        match text.parse() {
            Ok(Span(Duration::ZERO)) | Err(_) => {
                Err(format!("{text:?} says not how long to keep: write 14d, 36h or {FOREVER}"))
            }
            Ok(Span(length)) => Ok(Self(Some(length))),
        }
    }
}

/// `1.5h` in the smallest unit; the first unit whose name ends the text counts.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, unit) =
        units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))?;
    let number = number.trim();
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(unit);
    }
    let number: f64 = number.parse().ok()?;
    let all = number * unit as f64;
    (all >= 0.0 && all < u64::MAX as f64).then_some(all.round() as u64)
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        whole(self.0, &SIZES[..4], f, "")
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        whole(self.0.as_millis() as u64, &SPANS[1..], f, "ms")
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str(FOREVER),
            Some(length) => Span(length).fmt(f),
        }
    }
}

/// The largest unit that divides the amount.
fn whole(
    amount: u64,
    units: &[(&str, u64)],
    f: &mut fmt::Formatter<'_>,
    smallest: &str,
) -> fmt::Result {
    match units.iter().find(|(_, unit)| amount >= *unit && amount.is_multiple_of(*unit)) {
        Some((name, unit)) => write!(f, "{}{name}", amount / unit),
        None => write!(f, "{amount}{smallest}"),
    }
}

/// A TOML value that is a text in units, or a bare number where that is clear.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Number(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text.parse().map_err(de::Error::custom),
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Keep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::{ByteSize, Keep, Span};
    use std::time::Duration;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in [("17", 17), ("64MiB", 64 << 20), ("1.5GiB", 3 << 29), ("2KB", 2000)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        assert_eq!(ByteSize(3 << 29).to_string(), "1536MiB");
        assert!("12 parsecs".parse::<ByteSize>().is_err());
        assert!("-1MiB".parse::<ByteSize>().is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived_and_what_is_read_is_written(
            text in "([0-9.eE+-]{0,24}|inf|NaN)[ ]?(TiB|GiB|MB|B|ms|d|m|s)?|.{0,8}",
        ) {
            if let Ok(size) = text.parse::<ByteSize>() {
                proptest::prop_assert_eq!(size.to_string().parse(), Ok(size));
            }
            if let Ok(span) = text.parse::<Span>() {
                proptest::prop_assert_eq!(span.to_string().parse(), Ok(span));
            }
            drop(text.parse::<Keep>());
        }
    }

    #[test]
    fn durations_are_read_and_written() {
        for (text, ms) in
            [("250ms", 250), ("10s", 10_000), ("1.5h", 5_400_000), ("2d", 172_800_000)]
        {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(ms))), "{text}");
        }
        assert_eq!(Span(Duration::from_mins(90)).to_string(), "90m");
        assert!("10".parse::<Span>().is_err());
    }

    #[test]
    fn what_is_kept_has_an_end_or_none() {
        assert_eq!("14d".parse(), Ok(Keep(Some(Duration::from_hours(14 * 24)))));
        assert_eq!("forever".parse(), Ok(Keep(None)));
        assert_eq!(Keep(Some(Duration::from_hours(48))).to_string(), "2d");
        for wrong in ["0s", "never", ""] {
            assert!(wrong.parse::<Keep>().is_err(), "{wrong}");
        }
    }
}
