//! Sections `maintenance` and `retention`: what merges may cost, and how long rows are kept.

use super::{ByteSize, Keep, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use warpline_ingest::dictionary::{Dictionary, Kind};
use warpline_storage::rollup::FieldKinds;
use warpline_storage::{MaintenanceOptions, Retention};

const DAY: Duration = Duration::from_hours(24);

/// What keeps tables small and fast behind the back of those who write and read.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaintenanceConfig {
    /// Whether it happens by itself.
    pub background: bool,
    /// Whether tables get rollups where their rows are dense enough.
    pub rollups: bool,
    pub interval: Span,
    pub merge_memory: ByteSize,
    pub file_size: ByteSize,
    pub delete_after: Span,
}

/// How long rows are kept, by days of their time: of raw tables, of the tiers of minutes and of
/// hours, and of single tables by name.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionConfig {
    pub raw: Keep,
    pub minute: Keep,
    pub hour: Keep,
    pub tables: BTreeMap<String, Keep>,
}

impl MaintenanceConfig {
    /// Both sections as the storage room takes them, with the fields of a dictionary.
    pub(super) fn options(
        &self,
        retention: &RetentionConfig,
        dictionary: &Dictionary,
    ) -> MaintenanceOptions {
        let tables = retention.tables.iter().map(|(name, keep)| (name.clone(), keep.0));
        MaintenanceOptions {
            background: self.background,
            rollups: self.rollups,
            kinds: kinds(dictionary),
            interval: self.interval.0,
            merge_memory: self.merge_memory.0,
            file_size: self.file_size.0,
            delete_after: self.delete_after.0,
            retention: Retention {
                raw: retention.raw.0,
                minute: retention.minute.0,
                hour: retention.hour.0,
                tables: tables.collect(),
            },
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

impl Default for MaintenanceConfig {
    fn default() -> Self {
        let options = MaintenanceOptions::default();
        Self {
            background: options.background,
            rollups: options.rollups,
            interval: Span(options.interval),
            merge_memory: ByteSize(options.merge_memory),
            file_size: ByteSize(options.file_size),
            delete_after: Span(options.delete_after),
        }
    }
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self {
            raw: Keep(Some(14 * DAY)),
            minute: Keep(Some(400 * DAY)),
            hour: Keep(None),
            tables: BTreeMap::new(),
        }
    }
}
