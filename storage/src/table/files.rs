//! Data files and what the log says about them.

use super::chunk::Effort;
use crate::error::StorageError;
use crate::machine::new_id;
use crate::model::{Position, Timestamp};
use crate::snapshot::{DataFile, FileKind, FileOrder, Level, TimeRange};
use chrono::{DateTime, NaiveDate, SecondsFormat};
use object_store::path::Path;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

const KIND: &str = "warpline.kind";
const WRITER: &str = "warpline.writer";
const FIRST: &str = "warpline.first";
const LAST: &str = "warpline.last";
const VERSION: &str = "warpline.version";
const LEVEL: &str = "warpline.level";
const CHECKSUM: &str = "warpline.crc32c";

/// No file has as many bytes or rows: what is said to cannot be added up.
const MAX_COUNT: u64 = 1 << 48;
/// Longer tag values are left out of the statistics.
const MAX_STATISTIC_BYTES: usize = 64;

/// What a file holds, apart from its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileAbout {
    /// The UTC day of all rows.
    pub(crate) date: NaiveDate,
    pub(crate) kind: FileKind,
    /// The incarnation of the log that the rows come from.
    pub(crate) writer: Uuid,
    /// The positions in that log between which the rows of a flush lie, both included.
    pub(crate) positions: Option<(Position, Position)>,
    pub(crate) level: Level,
    /// The version in which the last of the rows first came; `None` for rows that come now.
    pub(crate) version: Option<u64>,
    pub(crate) effort: Effort,
}

/// A file that lies in the store and awaits its commit.
#[derive(Clone, Debug)]
pub(crate) struct WrittenFile {
    pub(super) about: FileAbout,
    /// From the table's folder.
    pub(super) path: String,
    pub(super) bytes: u64,
    /// CRC-32C of its bytes.
    pub(super) checksum: u32,
    pub(super) contents: Contents,
}

impl WrittenFile {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn rows(&self) -> u64 {
        self.contents.rows
    }

    /// The file as it stands in the table once `version` has brought it there.
    pub(super) fn committed(&self, table: &str, version: u64) -> Result<DataFile, StorageError> {
        Ok(DataFile {
            path: in_store(table, &self.path)?,
            bytes: self.bytes,
            rows: self.contents.rows,
            times: self.contents.times,
            order: FileOrder { version: self.origin(version), kind: self.about.kind },
            writer: self.about.writer,
            kind: self.about.kind,
            level: self.about.level,
            date: self.about.date,
        })
    }

    /// The version in which the last of the rows first came, where `version` brings the file.
    fn origin(&self, version: u64) -> u64 {
        self.about.version.unwrap_or(version)
    }

    /// The tags of the file's entry in the log.
    pub(super) fn tags(&self, version: u64) -> HashMap<String, Option<String>> {
        let about = &self.about;
        let positions = about.positions.into_iter();
        let positions = positions.flat_map(|(first, last)| [(FIRST, first), (LAST, last)]);
        [
            (KIND, kind_name(about.kind).to_owned()),
            (WRITER, about.writer.to_string()),
            (VERSION, self.origin(version).to_string()),
            (LEVEL, level_name(about.level).to_owned()),
            (CHECKSUM, format!("{:08x}", self.checksum)),
        ]
        .into_iter()
        .chain(positions.map(|(name, position)| (name, position.to_string())))
        .map(|(name, value)| (name.to_owned(), Some(value)))
        .collect()
    }

    /// The statistics of the file's entry in the log, as JSON.
    pub(super) fn statistics(&self) -> String {
        let mut least = Map::new();
        let mut greatest = Map::new();
        let mut nulls = Map::new();
        least.insert("time".into(), time_text(self.contents.times.first).into());
        greatest.insert("time".into(), time_text(self.contents.times.last).into());
        nulls.insert("time".into(), 0.into());
        for tag in &self.contents.identity {
            nulls.insert(tag.name.to_string(), 0.into());
            if tag.least.len() <= MAX_STATISTIC_BYTES {
                least.insert(tag.name.to_string(), tag.least.as_str().into());
            }
            if tag.greatest.len() <= MAX_STATISTIC_BYTES {
                greatest.insert(tag.name.to_string(), tag.greatest.as_str().into());
            }
        }
        json!({
            "numRecords": self.contents.rows,
            "minValues": least,
            "maxValues": greatest,
            "nullCount": nulls,
        })
        .to_string()
    }
}

/// What was seen of the rows while a file was encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(super) rows: u64,
    pub(super) times: TimeRange,
    pub(super) identity: Vec<TagRange>,
}

impl Contents {
    /// What statistics in the log say that is not so, in a sentence.
    pub(crate) fn contradicts(&self, statistics: &Value) -> Option<String> {
        let rows = &statistics["numRecords"];
        if rows.as_u64() != Some(self.rows) {
            return Some(format!("the log says {rows} rows, the file has {}", self.rows));
        }
        let (least, greatest) = (&statistics["minValues"], &statistics["maxValues"]);
        let time = |value: &Value| value["time"].as_str().and_then(text_time);
        let TimeRange { first, last } = self.times;
        if (time(least), time(greatest)) != (Some(first), Some(last)) {
            return Some(format!(
                "the log says times {} to {}, the file has {} to {}",
                least["time"],
                greatest["time"],
                time_text(first),
                time_text(last)
            ));
        }
        self.identity.iter().find_map(|tag| {
            let (from, to) = (&least[&*tag.name], &greatest[&*tag.name]);
            let nulls = &statistics["nullCount"][&*tag.name];
            // Long values are left out.
            let is = |said: &Value, own: &String| said.is_null() || said.as_str() == Some(own);
            let agrees = is(from, &tag.least)
                && is(to, &tag.greatest)
                && nulls.as_u64().is_none_or(|nulls| nulls == 0);
            (!agrees).then(|| {
                format!(
                    "the log says {} from {from} to {to} and {nulls} NULL, the file has {:?} to \
                     {:?} and none",
                    tag.name, tag.least, tag.greatest
                )
            })
        })
    }
}

/// A file of a table with all that the log says of it.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) file: Arc<DataFile>,
    /// Where the rows of a flush lie in their log.
    pub(crate) positions: Option<(Position, Position)>,
    /// CRC-32C of its bytes; files of older programs have none.
    pub(crate) checksum: Option<u32>,
    pub(crate) statistics: Value,
}

impl Listed {
    pub(super) fn new(
        file: DataFile,
        statistics: Option<&str>,
        tags: &HashMap<String, Option<String>>,
    ) -> Self {
        let tag = |name: &str| tags.get(name).and_then(Option::as_deref);
        let position = |name: &str| tag(name).and_then(|text| text.parse().ok());
        let statistics = statistics.and_then(|text| serde_json::from_str(text).ok());
        Self {
            file: Arc::new(file),
            positions: position(FIRST).zip(position(LAST)),
            checksum: tag(CHECKSUM).and_then(|text| u32::from_str_radix(text, 16).ok()),
            statistics: statistics.unwrap_or(Value::Null),
        }
    }
}

/// The least and greatest value of an identity tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TagRange {
    pub(super) name: Arc<str>,
    pub(super) least: String,
    pub(super) greatest: String,
}

/// A path for a file with this content that no other file will ever have: an attempt that
/// crashed may have left one that is about the same but has other rows.
pub(super) fn new_path(about: &FileAbout) -> String {
    let (kind, level) = (kind_name(about.kind), level_name(about.level));
    let unique = new_id().simple();
    format!("date={}/{level}-{kind}-{unique}.parquet", about.date)
}

pub(super) fn in_store(table: &str, path: &str) -> Result<Path, StorageError> {
    Path::parse(format!("{table}/{path}")).map_err(|error| {
        StorageError::corrupt(format!("table {table} has a file with a bad path: {error}"))
    })
}

/// An entry of the log as a data file.
///
/// A file without our tags was put there by another program. It is taken as late, so that its
/// keys are resolved, and as older than every file of ours, so that ours win.
pub(super) fn data_file(
    table: &str,
    path: &str,
    size: i64,
    date: &str,
    statistics: Option<&str>,
    tags: &HashMap<String, Option<String>>,
) -> Result<DataFile, StorageError> {
    let broken = |what: &str| {
        StorageError::corrupt(format!("table {table}: the entry of {path} has a bad {what}"))
    };
    let tag = |name: &str| tags.get(name).and_then(Option::as_deref);
    let statistics: Value = match statistics {
        Some(text) => serde_json::from_str(text).map_err(|_| broken("statistics"))?,
        None => Value::Null,
    };
    let kind = match tag(KIND) {
        Some("monotone") => FileKind::Monotone,
        Some("late") | None => FileKind::Late,
        Some(_) => return Err(broken(KIND)),
    };
    let level = match tag(LEVEL) {
        Some("flush") | None => Level::Flush,
        Some("hour") => Level::Hour,
        Some("day") => Level::Day,
        Some(_) => return Err(broken(LEVEL)),
    };
    let date: NaiveDate = date.parse().map_err(|_| broken("date"))?;
    let writer = tag(WRITER).map_or(Ok(Uuid::nil()), str::parse).map_err(|_| broken(WRITER))?;
    let version = tag(VERSION).map_or(Ok(0), str::parse).map_err(|_| broken(VERSION))?;
    let time = |side: &str| statistics[side]["time"].as_str().and_then(text_time);
    let is_ours = tag(KIND).is_some();
    let day = TimeRange::of_day(date);
    let last = time("maxValues").map(|last| if is_ours { last } else { within_millisecond(last) });
    let first = time("minValues").unwrap_or(last.unwrap_or(day.first).min(day.first));
    let last = last.unwrap_or(day.last.max(first));
    if first > last {
        return Err(broken("statistics"));
    }
    let count = |count: Option<u64>, what| {
        count.filter(|count| *count < MAX_COUNT).ok_or_else(|| broken(what))
    };
    Ok(DataFile {
        path: in_store(table, path)?,
        bytes: count(size.try_into().ok(), "size")?,
        rows: count(statistics["numRecords"].as_u64(), "numRecords")?,
        times: TimeRange { first, last },
        order: FileOrder { version, kind },
        writer,
        kind,
        level,
        date,
    })
}

/// The last instant that statistics may mean: the protocol cuts times to milliseconds.
fn within_millisecond(time: Timestamp) -> Timestamp {
    time.div_euclid(1_000) * 1_000 + 999
}

fn kind_name(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Monotone => "monotone",
        FileKind::Late => "late",
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Flush => "flush",
        Level::Hour => "hour",
        Level::Day => "day",
    }
}

pub(super) fn time_text(time: Timestamp) -> String {
    let time = DateTime::from_timestamp_micros(time).expect("a file's times lie within its day");
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

pub(super) fn text_time(text: &str) -> Option<Timestamp> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_programs_say_less() {
        let file = |statistics: &str| {
            let tags = HashMap::new();
            data_file("t", "f.parquet", 1, "2026-01-02", Some(statistics), &tags).unwrap()
        };
        let bare = file(r#"{"numRecords": 3}"#);
        let first = 1_767_312_000_000_000;
        assert_eq!(bare.times, TimeRange { first, last: first + 86_400_000_000 - 1 }, "its day");
        let cut = file(
            r#"{"numRecords": 3, "minValues": {"time": "2026-01-02T12:00:00.000Z"},
                "maxValues": {"time": "2026-01-02T12:00:01.000Z"}}"#,
        );
        let noon = first + 43_200_000_000;
        assert_eq!(cut.times, TimeRange { first: noon, last: noon + 1_000_999 });
        assert_eq!((cut.kind, cut.order.version), (FileKind::Late, 0));
    }
}
