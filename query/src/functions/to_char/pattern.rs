//! PostgreSQL's patterns: keywords become parts of a time, everything else stands for itself.

use super::Shown;
use crate::zone::offset_text;
use chrono::{Datelike, NaiveDate, Timelike};

/// A keyword, by what it becomes. Words have a case of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Year(u32),
    YearWithComma,
    IsoYear(u32),
    Century,
    Era,
    Quarter,
    Month,
    MonthName,
    MonthShort,
    RomanMonth,
    IsoWeek,
    Week,
    WeekOfMonth,
    DayName,
    DayShort,
    DayOfYear,
    IsoDayOfYear,
    Day,
    DayOfWeek,
    IsoDayOfWeek,
    JulianDay,
    Hour24,
    Hour12,
    Minute,
    Second,
    SecondOfDay,
    /// Digits of a second's fraction.
    Fraction(u32),
    HalfDay,
    HalfDayWithDots,
    Zone,
    ZoneHours,
    ZoneMinutes,
    Offset,
}

/// Longer ones before those that they begin with.
const KEYWORDS: [(&str, Part); 51] = [
    ("Y,YYY", Part::YearWithComma),
    ("YYYY", Part::Year(4)),
    ("YYY", Part::Year(3)),
    ("YY", Part::Year(2)),
    ("Y", Part::Year(1)),
    ("IYYY", Part::IsoYear(4)),
    ("IYY", Part::IsoYear(3)),
    ("IY", Part::IsoYear(2)),
    ("IDDD", Part::IsoDayOfYear),
    ("ID", Part::IsoDayOfWeek),
    ("IW", Part::IsoWeek),
    ("I", Part::IsoYear(1)),
    ("CC", Part::Century),
    ("Q", Part::Quarter),
    ("MONTH", Part::MonthName),
    ("MON", Part::MonthShort),
    ("MM", Part::Month),
    ("MI", Part::Minute),
    ("MS", Part::Fraction(3)),
    ("RM", Part::RomanMonth),
    ("WW", Part::Week),
    ("W", Part::WeekOfMonth),
    ("DAY", Part::DayName),
    ("DY", Part::DayShort),
    ("DDD", Part::DayOfYear),
    ("DD", Part::Day),
    ("D", Part::DayOfWeek),
    ("J", Part::JulianDay),
    ("HH24", Part::Hour24),
    ("HH12", Part::Hour12),
    ("HH", Part::Hour12),
    ("SSSSS", Part::SecondOfDay),
    ("SSSS", Part::SecondOfDay),
    ("SS", Part::Second),
    ("US", Part::Fraction(6)),
    ("FF1", Part::Fraction(1)),
    ("FF2", Part::Fraction(2)),
    ("FF3", Part::Fraction(3)),
    ("FF4", Part::Fraction(4)),
    ("FF5", Part::Fraction(5)),
    ("FF6", Part::Fraction(6)),
    ("AM", Part::HalfDay),
    ("PM", Part::HalfDay),
    ("A.M.", Part::HalfDayWithDots),
    ("P.M.", Part::HalfDayWithDots),
    ("TZH", Part::ZoneHours),
    ("TZM", Part::ZoneMinutes),
    ("TZ", Part::Zone),
    ("OF", Part::Offset),
    ("BC", Part::Era),
    ("AD", Part::Era),
];

/// How a word's letters are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Upper,
    Capital,
    Lower,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Part { part: Part, case: Case, filled: bool, ordinal: Option<Case> },
}

/// A pattern that was read.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Vec<Piece>);

impl Pattern {
    pub(super) fn read(pattern: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = pattern;
        while !rest.is_empty() {
            let (piece, after) = if let Some(quoted) = rest.strip_prefix('"') {
                quoted_text(quoted)
            } else {
                keyword(rest).unwrap_or_else(|| plain_text(rest))
            };
            pieces.push(piece);
            rest = after;
        }
        Self(pieces)
    }

    pub(super) fn write(&self, time: &Shown) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(own) => text.push_str(own),
                Piece::Part { part, case, filled, ordinal } => {
                    let written = part.write(time, *case, *filled);
                    text.push_str(&written);
                    if let Some(case) = ordinal {
                        text.push_str(&case.of(suffix(&written)));
                    }
                }
            }
        }
        text
    }
}

/// A text up to its closing quote; a backslash lets the next character stand for itself.
fn quoted_text(quoted: &str) -> (Piece, &str) {
    let mut text = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, one)) = characters.next() {
        match one {
            '"' => return (Piece::Text(text), &quoted[at + 1..]),
            '\\' => text.extend(characters.next().map(|(_, itself)| itself)),
            other => text.push(other),
        }
    }
    (Piece::Text(text), "")
}

/// One character that is no keyword; a quote behind a backslash is one.
fn plain_text(rest: &str) -> (Piece, &str) {
    let rest = rest.strip_prefix('\\').filter(|after| after.starts_with('"')).unwrap_or(rest);
    let end = rest.chars().next().map_or(0, char::len_utf8);
    (Piece::Text(rest[..end].to_owned()), &rest[end..])
}

fn keyword(rest: &str) -> Option<(Piece, &str)> {
    let (filled, word) = match strip(rest, "FM") {
        Some(word) => (false, word),
        None => (true, strip(rest, "TM").unwrap_or(rest)),
    };
    let found = KEYWORDS.iter().find_map(|(name, part)| Some((part, strip(word, name)?)));
    let Some((part, after)) = found else {
        // A prefix alone means nothing, and is left out.
        return (word.len() < rest.len()).then(|| (Piece::Text(String::new()), word));
    };
    let case = Case::read(word);
    let suffix = strip(after, "TH").filter(|_| part.is_number());
    let ordinal = suffix.map(|_| Case::read(after));
    let piece = Piece::Part { part: *part, case, filled, ordinal };
    Some((piece, suffix.unwrap_or(after)))
}

/// What follows a word, whatever its case.
fn strip<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(word.len())?;
    head.eq_ignore_ascii_case(word).then_some(rest)
}

impl Case {
    /// By the first two letters.
    fn read(word: &str) -> Self {
        let mut letters = word.chars().filter(char::is_ascii_alphabetic).map(char::is_uppercase);
        match (letters.next(), letters.next()) {
            (Some(true), Some(false)) => Self::Capital,
            (Some(true), _) => Self::Upper,
            _ => Self::Lower,
        }
    }

    /// A word that is written with a capital.
    fn of(self, word: &str) -> String {
        match self {
            Self::Upper => word.to_uppercase(),
            Self::Capital => word.to_owned(),
            Self::Lower => word.to_lowercase(),
        }
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const ROMAN: [&str; 12] =
    ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];
const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
/// The longest of both.
const NAME_LENGTH: usize = 9;
/// Days from the beginning of the Julian calendar to that of chrono's count.
const JULIAN_DAYS: i32 = 1_721_425;

impl Part {
    fn is_number(self) -> bool {
        self.number(&Shown { local: NaiveDate::default().into(), east: 0, zone: String::new() })
            .is_some()
    }

    fn write(self, time: &Shown, case: Case, filled: bool) -> String {
        if let Some((number, digits)) = self.number(time) {
            let width = if filled { digits } else { 1 };
            return format!("{number:0width$}");
        }
        let padded = |text: String| {
            if filled { format!("{text:NAME_LENGTH$}") } else { text }
        };
        let (month, day) = (time.local.month0() as usize, time.local.weekday() as usize);
        match self {
            Self::MonthName => padded(case.of(MONTHS[month])),
            Self::MonthShort => case.of(&MONTHS[month][..3]),
            Self::DayName => padded(case.of(DAYS[day])),
            Self::DayShort => case.of(&DAYS[day][..3]),
            Self::RomanMonth => {
                let width = if filled { 4 } else { 0 };
                format!("{:width$}", case.of(ROMAN[month]))
            }
            Self::HalfDay | Self::HalfDayWithDots => {
                let half = if time.local.hour() < 12 { 'A' } else { 'P' };
                let dot = if self == Self::HalfDay { "" } else { "." };
                let text = format!("{half}{dot}M{dot}");
                if case == Case::Lower { text.to_lowercase() } else { text }
            }
            Self::Era => case.of(if time.local.year() > 0 { "AD" } else { "BC" }),
            Self::Zone if case == Case::Lower => time.zone.to_lowercase(),
            Self::Zone => time.zone.to_uppercase(),
            Self::ZoneHours => offset_text(time.east / 3_600 * 3_600),
            Self::Offset => offset_text(time.east / 60 * 60),
            Self::YearWithComma => {
                let year = time.local.year();
                format!("{},{:03}", year / 1_000, year % 1_000)
            }
            _ => String::new(),
        }
    }

    /// What is a number, with the digits that it has at least.
    fn number(self, time: &Shown) -> Option<(i32, usize)> {
        let local = &time.local;
        let (week, (_, year)) = (local.iso_week(), local.year_ce());
        let year = i32::try_from(year).unwrap_or(i32::MAX);
        let unsigned = |number: u32, digits| (i32::try_from(number).unwrap_or(i32::MAX), digits);
        Some(match self {
            Self::Year(4) => (year, 4),
            Self::Year(digits) => (year % 10_i32.pow(digits), digits as usize),
            Self::IsoYear(4) => (week.year(), 4),
            Self::IsoYear(digits) => (week.year() % 10_i32.pow(digits), digits as usize),
            Self::Century => ((year + 99) / 100, 2),
            Self::Quarter => unsigned(local.month0() / 3 + 1, 1),
            Self::Month => unsigned(local.month(), 2),
            Self::IsoWeek => unsigned(week.week(), 2),
            Self::Week => unsigned(local.ordinal0() / 7 + 1, 2),
            Self::WeekOfMonth => unsigned(local.day0() / 7 + 1, 1),
            Self::DayOfYear => unsigned(local.ordinal(), 3),
            Self::IsoDayOfYear => {
                let day = local.weekday().num_days_from_monday() + 1;
                unsigned((week.week() - 1) * 7 + day, 3)
            }
            Self::Day => unsigned(local.day(), 2),
            Self::DayOfWeek => unsigned(local.weekday().num_days_from_sunday() + 1, 1),
            Self::IsoDayOfWeek => unsigned(local.weekday().num_days_from_monday() + 1, 1),
            Self::JulianDay => (local.num_days_from_ce() + JULIAN_DAYS, 1),
            Self::Hour24 => unsigned(local.hour(), 2),
            Self::Hour12 => unsigned(local.hour12().1, 2),
            Self::Minute => unsigned(local.minute(), 2),
            Self::Second => unsigned(local.second(), 2),
            Self::SecondOfDay => unsigned(local.num_seconds_from_midnight(), 1),
            Self::Fraction(digits) => {
                unsigned(local.nanosecond() / 10_u32.pow(9 - digits), digits as usize)
            }
            Self::ZoneMinutes => (time.east.abs() / 60 % 60, 2),
            _ => return None,
        })
    }
}

/// `st`, `nd`, `rd` or `th`.
fn suffix(number: &str) -> &'static str {
    let mut digits = number.bytes().rev();
    match (digits.next(), digits.next()) {
        (Some(b'1'..=b'3'), Some(b'1')) => "th",
        (Some(b'1'), _) => "st",
        (Some(b'2'), _) => "nd",
        (Some(b'3'), _) => "rd",
        _ => "th",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pattern: &str) -> String {
        let local = NaiveDate::from_ymd_opt(2026, 3, 1).unwrap();
        let local = local.and_hms_micro_opt(15, 4, 9, 70_050).unwrap();
        let time = Shown { local, east: 19_800, zone: "IST".into() };
        Pattern::read(pattern).write(&time)
    }

    #[test]
    fn keywords_become_parts_of_the_time() {
        for (pattern, want) in [
            ("YYYY-MM-DD HH24:MI:SS", "2026-03-01 15:04:09"),
            ("yyyy/mm/dd hh:mi:ss.ms am", "2026/03/01 03:04:09.070 pm"),
            ("SS.US FF1 P.M.", "09.070050 0 P.M."),
            ("Y,YYY YYY YY Y CC Q", "2,026 026 26 6 21 1"),
            ("[Month] [MONTH] [month] [FMMonth]", "[March    ] [MARCH    ] [march    ] [March]"),
            ("Mon MON mon Dy DY dy FMDay", "Mar MAR mar Sun SUN sun Sunday"),
            ("D ID DDD IDDD W WW", "1 7 060 063 1 09"),
            ("IYYY-IW-ID", "2026-09-7"),
            ("FMDDth FMMM FMHH12", "1st 3 3"),
            ("DDTH", "01ST"),
            ("SSSS J", "54249 2461101"),
            ("TZ tz TZH:TZM OF", "IST ist +05:30 +05:30"),
            ("\"YYYY\"YYYY \\\"DD\\\"", "YYYY2026 \"01\""),
            ("\"a\\\"b\" z", "a\"b z"),
            ("RM FMrm AD bc", "III  iii AD ad"),
            ("", ""),
            ("größer", "größer"),
        ] {
            assert_eq!(written(pattern), want, "{pattern}");
        }
    }
}
