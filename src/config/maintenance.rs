//! The settings of what a server does behind the back of those who write and read.

use super::{ByteSize, Span};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;
use warpline_ingest::dictionary::{Dictionary, Kind};
use warpline_storage::rollup::FieldKinds;
use warpline_storage::{MaintenanceOptions, Retention};

/// Merges, rollups and the deletion of files.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaintenanceConfig {
    /// Whether it happens by itself.
    pub background: bool,
    pub rollups: bool,
    pub merge_memory: ByteSize,
    pub file_size: ByteSize,
    pub delete_after: Span,
}

/// How long rows are kept.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionConfig {
    pub raw: Keep,
    pub minute: Keep,
    pub hour: Keep,
    /// Tables, and tables of rollups, that are kept for another time.
    pub tables: BTreeMap<String, Keep>,
}

/// A length of time, or for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep(pub Option<Duration>);

impl MaintenanceConfig {
    /// The options of storage, with what the dictionary knows of fields.
    pub(super) fn options(&self, retention: &RetentionConfig) -> MaintenanceOptions {
        MaintenanceOptions {
            background: self.background,
            rollups: self.rollups,
            merge_memory: self.merge_memory.0,
            file_size: self.file_size.0,
            delete_after: self.delete_after.0,
            retention: retention.options(),
            kinds: kinds(&Dictionary::builtin()),
        }
    }
}

/// What rollups keep of the dictionary's fields.
fn kinds(dictionary: &Dictionary) -> FieldKinds {
    let of = |wanted: fn(Kind) -> bool| {
        let fields = dictionary.iter().filter(move |field| wanted(field.kind));
        fields.map(|field| &*field.column).collect::<Vec<_>>()
    };
    FieldKinds::new(of(|kind| kind == Kind::Counter), of(|kind| kind != Kind::Counter))
}

impl RetentionConfig {
    fn options(&self) -> Retention {
        let tables = self.tables.iter().map(|(name, keep)| (name.clone(), keep.0));
        Retention {
            raw: self.raw.0,
            minute: self.minute.0,
            hour: self.hour.0,
            tables: tables.collect(),
        }
    }
}

impl Default for MaintenanceConfig {
    fn default() -> Self {
        let options = MaintenanceOptions::default();
        Self {
            background: options.background,
            rollups: options.rollups,
            merge_memory: ByteSize(options.merge_memory),
            file_size: ByteSize(options.file_size),
            delete_after: Span(options.delete_after),
        }
    }
}

impl Default for RetentionConfig {
    fn default() -> Self {
        let days = |days: u64| Keep(Some(Duration::from_hours(24 * days)));
        Self { raw: days(14), minute: days(400), hour: Keep(None), tables: BTreeMap::new() }
    }
}

impl FromStr for Keep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "forever" {
            return Ok(Self(None));
        }
        let span: Span = text.parse().map_err(|error| format!("{error}, or forever"))?;
        Ok(Self(Some(span.0)))
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Keep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            None => serializer.serialize_str("forever"),
            Some(time) => Span(time).serialize(serializer),
        }
    }
}
