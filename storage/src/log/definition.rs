//! How a layout is told in the log: its shape (table, tags, columns), shared by many layouts, and
//! its series.
//!
//! A tag value equal to the one in the series before is not repeated: the eight GPUs of a node
//! differ in little.

use super::format::{Cursor, Malformed, append_name};
use crate::model::{Column, FieldType, Layout, Series};
use std::sync::Arc;

/// A tag value's length where it equals the one of the series before.
const REPEATED: u16 = u16::MAX;

/// All of a layout but its series.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) table: Arc<str>,
    pub(super) identity: Vec<Arc<str>>,
    pub(super) attributes: Vec<Arc<str>>,
    pub(super) columns: Vec<Column>,
}

impl Shape {
    pub(super) fn of(layout: &Layout) -> Self {
        Self {
            table: layout.table().clone(),
            identity: layout.identity_tags().to_vec(),
            attributes: layout.attribute_tags().to_vec(),
            columns: layout.columns().to_vec(),
        }
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let table = cursor.name()?.into();
        let identity = read_names(&mut cursor)?;
        let attributes = read_names(&mut cursor)?;
        let columns =
            (0..cursor.u16()?).map(|_| read_column(&mut cursor)).collect::<Result<_, _>>()?;
        if cursor.is_empty() {
            Ok(Self { table, identity, attributes, columns })
        } else {
            Err(Malformed("the shape has a rest"))
        }
    }

    fn tags(&self) -> usize {
        self.identity.len() + self.attributes.len()
    }

    /// The layout of this shape whose series [`append_series`] wrote.
    pub(super) fn layout(&self, series: &[u8]) -> Result<Layout, Malformed> {
        let mut cursor = Cursor::new(series);
        let count = cursor.u32()? as usize;
        // Each series tells each tag in two bytes or more.
        let least = self.tags().max(1) * 2;
        if count.saturating_mul(least) > cursor.rest().len() {
            return Err(Malformed("the layout has fewer series than it says"));
        }
        let mut all: Vec<Series> = Vec::with_capacity(count);
        for _ in 0..count {
            let before = all.last();
            let identity = before.map_or(&[][..], |s| &s.identity);
            let identity = read_tags(&mut cursor, self.identity.len(), identity)?;
            let attributes = before.map_or(&[][..], |s| &s.attributes);
            let attributes = read_tags(&mut cursor, self.attributes.len(), attributes)?;
            all.push(Series { identity, attributes });
        }
        if !cursor.is_empty() {
            return Err(Malformed("the layout has a rest"));
        }
        let Self { table, identity, attributes, columns } = self.clone();
        Layout::new(table, identity, attributes, columns, all)
            .map_err(|_| Malformed("the layout is not one that storage takes"))
    }
}

/// Appends what [`Shape::read`] reads.
pub(super) fn append_shape(out: &mut Vec<u8>, layout: &Layout) {
    append_name(out, layout.table());
    append_names(out, layout.identity_tags());
    append_names(out, layout.attribute_tags());
    out.extend_from_slice(&(layout.columns().len() as u16).to_le_bytes());
    for column in layout.columns() {
        append_name(out, &column.name);
        append_type(out, column.field_type);
    }
}

/// Appends what [`Shape::layout`] reads.
pub(super) fn append_series(out: &mut Vec<u8>, layout: &Layout) {
    out.extend_from_slice(&(layout.series().len() as u32).to_le_bytes());
    let mut before: Option<&Series> = None;
    for series in layout.series() {
        append_tags(out, &series.identity, before.map(|s| &s.identity));
        append_tags(out, &series.attributes, before.map(|s| &s.attributes));
        before = Some(series);
    }
}

/// An upper bound of what [`append_series`] writes.
pub(super) fn series_bytes(layout: &Layout) -> usize {
    let values = layout.series().iter().flat_map(|s| s.identity.iter().chain(&s.attributes));
    4 + values.map(|value| 2 + value.len()).sum::<usize>()
}

fn append_names(out: &mut Vec<u8>, names: &[Arc<str>]) {
    out.extend_from_slice(&(names.len() as u16).to_le_bytes());
    for name in names {
        append_name(out, name);
    }
}

fn read_names(cursor: &mut Cursor<'_>) -> Result<Vec<Arc<str>>, Malformed> {
    (0..cursor.u16()?).map(|_| cursor.name().map(Arc::from)).collect()
}

fn append_tags(out: &mut Vec<u8>, values: &[Arc<str>], before: Option<&Vec<Arc<str>>>) {
    for (tag, value) in values.iter().enumerate() {
        if before.is_some_and(|before| before[tag] == *value) {
            out.extend_from_slice(&REPEATED.to_le_bytes());
        } else {
            out.extend_from_slice(&(value.len() as u16).to_le_bytes());
            out.extend_from_slice(value.as_bytes());
        }
    }
}

fn read_tags(
    cursor: &mut Cursor<'_>,
    count: usize,
    before: &[Arc<str>],
) -> Result<Vec<Arc<str>>, Malformed> {
    let mut values = Vec::with_capacity(count);
    for tag in 0..count {
        values.push(match cursor.u16()? {
            REPEATED => before.get(tag).ok_or(Malformed("the first series repeats a tag"))?.clone(),
            length => cursor.text(usize::from(length))?.into(),
        });
    }
    Ok(values)
}

fn append_type(out: &mut Vec<u8>, field_type: FieldType) {
    match field_type {
        FieldType::Int8 => out.push(1),
        FieldType::Int16 => out.push(2),
        FieldType::Int32 => out.push(3),
        FieldType::Int64 => out.push(4),
        FieldType::Decimal { digits, decimals } => out.extend_from_slice(&[5, digits, decimals]),
        FieldType::Float64 => out.push(6),
    }
}

fn read_column(cursor: &mut Cursor<'_>) -> Result<Column, Malformed> {
    let name = cursor.name()?.into();
    let field_type = match cursor.u8()? {
        1 => Some(FieldType::Int8),
        2 => Some(FieldType::Int16),
        3 => Some(FieldType::Int32),
        4 => Some(FieldType::Int64),
        5 => FieldType::decimal(cursor.u8()?, cursor.u8()?),
        6 => Some(FieldType::Float64),
        _ => None,
    };
    let field_type = field_type.ok_or(Malformed("a column is of an unknown type"))?;
    Ok(Column { name, field_type })
}
