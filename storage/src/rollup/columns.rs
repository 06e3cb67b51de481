//! What a tier keeps of a raw field, in which type, and in which column.

use crate::model::{Field, FieldType, MAX_DIGITS, TableSchema};
use std::sync::Arc;

/// Something that a tier keeps of each field. A NULL beside a count above zero says that it is not
/// kept in this row: raw rows know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kept {
    /// How many rows have a value.
    Count,
    Min,
    Max,
    /// The first value that is not NULL, in time.
    First,
    Last,
    Sum,
    /// How much a counter grew within the bucket; resets count from zero.
    Increase,
}

impl Kept {
    pub const ALL: [Self; 7] =
        [Self::Count, Self::Min, Self::Max, Self::First, Self::Last, Self::Sum, Self::Increase];

    /// The name of a raw field's column in a tier.
    pub fn column(self, field: &str) -> String {
        let suffix = match self {
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::First => "first",
            Self::Last => "last",
            Self::Sum => "sum",
            Self::Increase => "increase",
        };
        format!("{field}_{suffix}")
    }

    /// The type of a raw field's column in a tier.
    pub fn field_type(self, raw: FieldType) -> FieldType {
        match self {
            Self::Count => FieldType::Int32,
            Self::Min | Self::Max | Self::First | Self::Last => raw,
            Self::Sum | Self::Increase => total_type(raw),
        }
    }
}

/// The widest type of the same decimals that SQL still shows exactly.
fn total_type(raw: FieldType) -> FieldType {
    match raw {
        FieldType::Int8 | FieldType::Int16 | FieldType::Int32 | FieldType::Int64 => {
            FieldType::Int64
        }
        FieldType::Decimal { decimals, .. } => FieldType::Decimal { digits: MAX_DIGITS, decimals },
        FieldType::Float64 => FieldType::Float64,
    }
}

/// Where a tier keeps what of one raw field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldColumns {
    /// By `Kept`: the place among the tier's fields.
    places: [Option<usize>; Kept::ALL.len()],
}

impl FieldColumns {
    /// The columns that `tier` has of a raw field. A column of another type than the field's is
    /// not one of them.
    pub fn of(tier: &TableSchema, raw: &Field) -> Self {
        let place = |kept: Kept| {
            let name = kept.column(&raw.name);
            let field_type = kept.field_type(raw.field_type);
            let own = |field: &Field| {
                field.name.eq_ignore_ascii_case(&name) && field.field_type == field_type
            };
            tier.fields.iter().position(own)
        };
        Self { places: Kept::ALL.map(place) }
    }

    /// The place among the tier's fields of the column that holds `kept`, `None` where the tier
    /// does not have it.
    pub fn place(&self, kept: Kept) -> Option<usize> {
        self.places[kept as usize]
    }

    /// The name of the column that holds `kept`, `None` where the tier does not have it.
    pub fn name<'a>(&self, tier: &'a TableSchema, kept: Kept) -> Option<&'a Arc<str>> {
        self.place(kept).map(|place| &tier.fields[place].name)
    }
}
