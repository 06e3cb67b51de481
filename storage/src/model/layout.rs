//! What a producer says once, so that its blocks need no names: table, tags, columns, series.

use super::FieldType;
use hashbrown::HashSet;
use std::sync::Arc;

/// Limits that keep one hostile layout from costing more than a table's worth of memory.
pub(super) const MAX_COLUMNS: usize = 4_096;
pub(super) const MAX_SERIES: usize = 1 << 20;
/// The longest name a table, tag or field may have.
pub const MAX_NAME_BYTES: usize = 128;
/// The longest value a tag may have.
pub const MAX_TAG_BYTES: usize = 4_096;
const RESERVED: [&str; 2] = ["time", "date"];

/// A column of a layout: a field's name and the type its values have in the blocks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Column {
    pub name: Arc<str>,
    pub field_type: FieldType,
}

/// One thing that rows are about. Values stand in the order of the layout's tag names; an empty
/// string means the tag is absent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Series {
    pub identity: Vec<Arc<str>>,
    pub attributes: Vec<Arc<str>>,
}

/// The shape of a producer's blocks. Immutable; checked when made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    names: Arc<Names>,
    series: Vec<Series>,
}

/// What layouts of one exporter have in common: all but their series. Those of a table share it, since
/// it is most of what a layout of few series takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Names {
    table: Arc<str>,
    identity_tags: Vec<Arc<str>>,
    attribute_tags: Vec<Arc<str>>,
    columns: Vec<Column>,
    /// `offsets[c]` is the width of all columns before `c`; the last entry is a row's width.
    offsets: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    #[error(
        "{what} name {name:?}: use 1 to {MAX_NAME_BYTES} letters, digits, '_', ':' or '.', not starting with a digit"
    )]
    BadName { what: &'static str, name: String },
    #[error("{name:?} is reserved: rename the tag or field")]
    Reserved { name: String },
    #[error("{name:?} is named twice: tags and fields of a table share one name space")]
    Duplicate { name: String },
    #[error("a series carries {got} {what} values where the layout names {expected}")]
    TagCount { what: &'static str, got: usize, expected: usize },
    #[error("a tag value of {bytes} bytes is longer than the limit of {MAX_TAG_BYTES}")]
    LongTag { bytes: usize },
    #[error("{got} {what} are more than the limit of {limit}")]
    TooMany { what: &'static str, got: usize, limit: usize },
    #[error("the layout has no {what}")]
    Empty { what: &'static str },
}

impl Layout {
    pub fn new(
        table: impl Into<Arc<str>>,
        identity_tags: Vec<Arc<str>>,
        attribute_tags: Vec<Arc<str>>,
        columns: Vec<Column>,
        series: Vec<Series>,
    ) -> Result<Self, LayoutError> {
        let table = table.into();
        check_name("table", &table)?;
        check_count("columns", columns.len(), MAX_COLUMNS)?;
        check_count("tags", identity_tags.len() + attribute_tags.len(), MAX_COLUMNS)?;
        check_count("series", series.len(), MAX_SERIES)?;
        check_names(&identity_tags, &attribute_tags, &columns)?;
        if identity_tags.is_empty() {
            return Err(LayoutError::Empty { what: "identity tags" });
        }
        if series.is_empty() {
            return Err(LayoutError::Empty { what: "series" });
        }
        for one in &series {
            check_series(one, identity_tags.len(), attribute_tags.len())?;
        }
        let offsets = offsets(&columns);
        let names = Names { table, identity_tags, attribute_tags, columns, offsets };
        Ok(Self { names: names.into(), series })
    }

    /// The same series under a table's own names and types, which are known to be good, without
    /// the attributes that are `None`.
    pub(super) fn recast(&self, attributes: &[Option<Arc<str>>], columns: Vec<Column>) -> Self {
        assert_eq!(attributes.len(), self.attribute_tags().len());
        let mut series = self.series.clone();
        for one in &mut series {
            let mut kept = attributes.iter().map(Option::is_some);
            one.attributes.retain(|_| kept.next() == Some(true));
        }
        let names = Names {
            table: self.table().clone(),
            identity_tags: self.identity_tags().to_vec(),
            attribute_tags: attributes.iter().flatten().cloned().collect(),
            offsets: offsets(&columns),
            columns,
        };
        Self { names: names.into(), series }
    }

    /// The same layout over those of `known` that are its own; if it has none there, they come in.
    #[must_use]
    pub(crate) fn sharing(mut self, known: &mut HashSet<Arc<Names>>) -> Self {
        self.names = known.get_or_insert_with(&self.names, Arc::clone).clone();
        self
    }

    pub fn table(&self) -> &Arc<str> {
        &self.names.table
    }

    pub fn identity_tags(&self) -> &[Arc<str>] {
        &self.names.identity_tags
    }

    pub fn attribute_tags(&self) -> &[Arc<str>] {
        &self.names.attribute_tags
    }

    pub fn columns(&self) -> &[Column] {
        &self.names.columns
    }

    pub fn series(&self) -> &[Series] {
        &self.series
    }

    /// Bytes of one row over all columns, validity not counted.
    pub fn row_width(&self) -> usize {
        self.names.offsets[self.columns().len()]
    }

    /// Bytes of one row in the columns before `column`.
    pub fn width_before(&self, column: usize) -> usize {
        self.names.offsets[column]
    }
}

fn offsets(columns: &[Column]) -> Vec<usize> {
    let widths = columns.iter().scan(0, |before, column| {
        *before += column.field_type.width();
        Some(*before)
    });
    std::iter::once(0).chain(widths).collect()
}

fn check_names(
    identity: &[Arc<str>],
    attributes: &[Arc<str>],
    columns: &[Column],
) -> Result<(), LayoutError> {
    let mut seen = HashSet::new();
    let tags = identity.iter().chain(attributes).map(|name| ("tag", name));
    for (what, name) in tags.chain(columns.iter().map(|c| ("field", &c.name))) {
        check_name(what, name)?;
        if RESERVED.iter().any(|word| name.eq_ignore_ascii_case(word)) {
            return Err(LayoutError::Reserved { name: name.to_string() });
        }
        if !seen.insert(name.to_ascii_lowercase()) {
            return Err(LayoutError::Duplicate { name: name.to_string() });
        }
    }
    Ok(())
}

fn check_name(what: &'static str, name: &str) -> Result<(), LayoutError> {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    let ok = name.len() <= MAX_NAME_BYTES
        && name.starts_with(letter)
        && name.chars().all(|c| letter(c) || c.is_ascii_digit() || c == ':' || c == '.');
    if ok {
        Ok(())
    } else {
        Err(LayoutError::BadName { what, name: name.chars().take(200).collect() })
    }
}

fn check_count(what: &'static str, got: usize, limit: usize) -> Result<(), LayoutError> {
    if got <= limit { Ok(()) } else { Err(LayoutError::TooMany { what, got, limit }) }
}

fn check_series(series: &Series, identity: usize, attributes: usize) -> Result<(), LayoutError> {
    for (what, values, expected) in
        [("identity", &series.identity, identity), ("attribute", &series.attributes, attributes)]
    {
        if values.len() != expected {
            return Err(LayoutError::TagCount { what, got: values.len(), expected });
        }
        if let Some(long) = values.iter().find(|value| value.len() > MAX_TAG_BYTES) {
            return Err(LayoutError::LongTag { bytes: long.len() });
        }
    }
    Ok(())
}
