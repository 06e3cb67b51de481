//! The tiers of rollups, and the schema that a raw table's tier has.

use super::columns::Kept;
use crate::error::StorageError;
use crate::model::{Field, FieldType, TableSchema};
use std::collections::HashSet;
use std::sync::Arc;
use warpline_kernel::Grid;

pub(super) const PART: &str = "part";
pub(super) const ROWS: &str = "rows";
pub(super) const FIRST_TIME: &str = "first_time";
pub(super) const LAST_TIME: &str = "last_time";

const MINUTE: i64 = 60_000_000;

/// The tiers, each computed from the one before, the first from raw rows.
pub const TIERS: [Tier; 2] =
    [Tier { suffix: "_1m", width: MINUTE }, Tier { suffix: "_1h", width: 60 * MINUTE }];

/// Buckets of one width, from 1970 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tier {
    /// What the name of a raw table's tier ends in.
    pub suffix: &'static str,
    /// Microseconds of a bucket.
    pub width: i64,
}

impl Tier {
    pub fn table(self, raw: &str) -> String {
        format!("{raw}{}", self.suffix)
    }

    pub fn grid(self) -> Grid {
        Grid::new(self.width, 0).expect("a tier's width is above zero")
    }
}

/// What fields are, by name. Of a field that is in neither set a tier keeps sum and increase.
#[derive(Clone, Debug, Default)]
pub struct FieldKinds {
    counters: HashSet<String>,
    gauges: HashSet<String>,
}

impl FieldKinds {
    /// Names differ by more than case.
    pub fn new<'a>(
        counters: impl IntoIterator<Item = &'a str>,
        gauges: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let lower = |name: &str| name.to_ascii_lowercase();
        Self {
            counters: counters.into_iter().map(lower).collect(),
            gauges: gauges.into_iter().map(lower).collect(),
        }
    }

    fn keeps(&self, field: &str, kept: Kept) -> bool {
        let name = field.to_ascii_lowercase();
        match kept {
            Kept::Sum => !self.counters.contains(&name),
            Kept::Increase => !self.gauges.contains(&name),
            _ => true,
        }
    }
}

/// The schema of a raw table's tier.
///
/// Rejected where two columns of the tier would have one name, because a tag is called `part`, say,
/// or `power_max` beside a field `power`: such a table has no rollups.
pub fn tier_schema(
    raw: &TableSchema,
    tier: Tier,
    kinds: &FieldKinds,
) -> Result<TableSchema, StorageError> {
    let named = |name: &str, field_type| Field { name: name.into(), field_type };
    let mut identity = raw.identity.clone();
    identity.push(PART.into());
    let mut fields = vec![
        named(ROWS, FieldType::Int32),
        named(FIRST_TIME, FieldType::Int64),
        named(LAST_TIME, FieldType::Int64),
    ];
    for field in &raw.fields {
        let kept = Kept::ALL.into_iter().filter(|kept| kinds.keeps(&field.name, *kept));
        fields.extend(
            kept.map(|kept| named(&kept.column(&field.name), kept.field_type(field.field_type))),
        );
    }
    let table: Arc<str> = tier.table(&raw.table).into();
    let schema = TableSchema { table, identity, attributes: raw.attributes.clone(), fields };
    match twice(&schema) {
        None => Ok(schema),
        Some(name) => Err(StorageError::rejected(format!(
            "table {} cannot have rollups: {} would have two columns {name:?}. Rename the tag",
            raw.table, schema.table
        ))),
    }
}

/// What a tier's table gets of a schema for it. Of a field that it has already, it keeps what it
/// kept from the first: a sum, say, that began later would be missing in the older rows.
pub fn as_begun(wanted: TableSchema, raw: &TableSchema, begun: &TableSchema) -> TableSchema {
    let has = |name: &str| begun.fields.iter().any(|field| field.name.eq_ignore_ascii_case(name));
    let is_new = |name: &str| {
        raw.fields.iter().all(|field| {
            let own = Kept::ALL.iter().any(|kept| kept.column(&field.name) == name);
            !own || !has(&Kept::Count.column(&field.name))
        })
    };
    let fields = wanted.fields.into_iter().filter(|field| has(&field.name) || is_new(&field.name));
    TableSchema { fields: fields.collect(), ..wanted }
}

/// A name that two columns have.
fn twice(schema: &TableSchema) -> Option<String> {
    let mut seen = HashSet::from(["date".to_owned()]);
    schema.column_names().find(|name| !seen.insert(name.to_ascii_lowercase())).map(str::to_owned)
}

/// The text of a part's number: as many as there may be sort as texts in their order.
pub(super) fn part_text(part: u32) -> String {
    if part < 10_000 { format!("{part:04}") } else { format!("a{part:010}") }
}
