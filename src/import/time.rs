//! Texts and numbers to microseconds since the epoch, exactly.

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use clap::ValueEnum;
use warpline_storage::model::Timestamp;

/// What a number in a time column counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TimeUnit {
    S,
    Ms,
    Us,
    Ns,
}

/// How a time column is read.
#[derive(Clone, Debug)]
pub(super) enum TimeFormat {
    /// Numbers since the epoch in this unit, with decimals if need be.
    Epoch(TimeUnit),
    /// A strptime format; without a zone in it, times are UTC.
    Pattern(String),
    /// RFC 3339, the date and time apart by `T` or a space; without a zone, UTC.
    Rfc3339,
}

impl TimeUnit {
    /// Powers of ten between this unit and a microsecond.
    fn exponent(self) -> i32 {
        match self {
            Self::S => 6,
            Self::Ms => 3,
            Self::Us => 0,
            Self::Ns => -3,
        }
    }
}

impl TimeFormat {
    pub(super) fn of(unit: Option<TimeUnit>, pattern: Option<String>) -> Self {
        match (unit, pattern) {
            (Some(unit), _) => Self::Epoch(unit),
            (None, Some(pattern)) => Self::Pattern(pattern),
            (None, None) => Self::Rfc3339,
        }
    }

    /// The time that `text` says; what is finer than a microsecond is cut off.
    pub(super) fn read(&self, text: &str) -> Result<Timestamp, String> {
        let text = text.trim();
        match self {
            Self::Epoch(unit) => epoch(text, *unit)
                .ok_or_else(|| format!("{text:?} is not a number of {unit:?} since 1970")),
            Self::Pattern(pattern) => with_pattern(text, pattern)
                .ok_or_else(|| format!("{text:?} is not a time as {pattern:?} says")),
            Self::Rfc3339 => rfc3339(text).ok_or_else(|| {
                let number = text.parse::<f64>().is_ok();
                let hint = if number {
                    "say what the number counts with --time-unit s, ms, us or ns"
                } else {
                    "say how it is written with --time-format, for example '%d/%m/%Y %H:%M:%S'"
                };
                format!("{text:?} is not an RFC 3339 time: {hint}")
            }),
        }
    }

    /// The time that a whole number says.
    pub(super) fn read_integer(&self, value: i64) -> Result<Timestamp, String> {
        match self {
            Self::Epoch(unit) => scale(value, unit.exponent())
                .ok_or_else(|| format!("{value} {unit:?} is beyond the times there are")),
            _ => self.read(&value.to_string()),
        }
    }
}

/// Decimal text scaled to microseconds without passing through a double.
fn epoch(text: &str, unit: TimeUnit) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let base = scale(whole.parse().ok()?, unit.exponent())?;
    let digits = usize::try_from(unit.exponent()).unwrap_or(0).min(fraction.len());
    if digits == 0 {
        return Some(base);
    }
    let part: i64 = fraction[..digits].parse().ok()?;
    let part = scale(part, unit.exponent() - digits as i32)?;
    base.checked_add(if whole.starts_with('-') { -part } else { part })
}

fn scale(value: i64, exponent: i32) -> Option<i64> {
    let power = 10_i64.pow(exponent.unsigned_abs());
    if exponent < 0 { Some(value.div_euclid(power)) } else { value.checked_mul(power) }
}

fn with_pattern(text: &str, pattern: &str) -> Option<Timestamp> {
    if let Ok(time) = DateTime::parse_from_str(text, pattern) {
        return Some(time.timestamp_micros());
    }
    if let Ok(time) = NaiveDateTime::parse_from_str(text, pattern) {
        return Some(time.and_utc().timestamp_micros());
    }
    let date = NaiveDate::parse_from_str(text, pattern).ok()?;
    Some(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros())
}

fn rfc3339(text: &str) -> Option<Timestamp> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_micros());
    }
    let naive = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
    if let Some(time) = naive.iter().find_map(|p| NaiveDateTime::parse_from_str(text, p).ok()) {
        return Some(time.and_utc().timestamp_micros());
    }
    ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"]
        .iter()
        .find_map(|pattern| DateTime::parse_from_str(text, pattern).ok())
        .map(|time| time.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::{TimeFormat, TimeUnit};

    fn epoch(text: &str, unit: TimeUnit) -> Option<i64> {
        TimeFormat::Epoch(unit).read(text).ok()
    }

    #[test]
    fn numbers_are_scaled_exactly() {
        assert_eq!(epoch("1715960308411", TimeUnit::Ms), Some(1_715_960_308_411_000));
        assert_eq!(epoch("1715960308.411", TimeUnit::S), Some(1_715_960_308_411_000));
        assert_eq!(epoch("1715960308.4115559", TimeUnit::S), Some(1_715_960_308_411_555));
        assert_eq!(epoch("1715960308411555999", TimeUnit::Ns), Some(1_715_960_308_411_555));
        assert_eq!(epoch("-0.5", TimeUnit::S), Some(-500_000));
        assert_eq!(epoch("9223372036854775807", TimeUnit::S), None);
        assert_eq!(epoch("12a", TimeUnit::S), None);
        assert_eq!(epoch("", TimeUnit::S), None);
    }

    #[test]
    fn texts_are_read_with_and_without_zone() {
        let format = TimeFormat::Rfc3339;
        let noon = 1_717_243_200_000_000;
        for text in [
            "2024-06-01T12:00:00Z",
            "2024-06-01 12:00:00",
            "2024-06-01T14:00:00+02:00",
            "2024-06-01 14:00:00.000+02",
        ] {
            assert_eq!(format.read(text), Ok(noon), "{text}");
        }
        assert!(format.read("1715960308").expect_err("no unit").contains("--time-unit"));
        assert!(format.read("yesterday").expect_err("no time").contains("--time-format"));
    }

    #[test]
    fn patterns_are_strptime() {
        let format = TimeFormat::Pattern("%d/%m/%Y %H:%M".into());
        assert_eq!(format.read("01/06/2024 12:00"), Ok(1_717_243_200_000_000));
        assert!(format.read("2024-06-01").is_err());
        let day = TimeFormat::Pattern("%Y%m%d".into());
        assert_eq!(day.read("20240601"), Ok(1_717_200_000_000_000));
    }
}
