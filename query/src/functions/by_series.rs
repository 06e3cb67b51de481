//! What an accumulator keeps for each series of its group.

use arrow::array::ArrayRef;
use arrow::datatypes::FieldRef;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::error::Result;
use std::collections::BTreeMap;

/// Values by the series' keys in row format; iteration is in one order whatever came first, so
/// that doubles are added in one order.
#[derive(Debug)]
pub(super) struct BySeries<T> {
    /// `None` without key columns: all rows are one series.
    converter: Option<RowConverter>,
    values: BTreeMap<Vec<u8>, T>,
    key_bytes: usize,
}

/// The keys of a batch's rows.
pub(super) struct Keys(Option<Rows>);

impl Keys {
    pub(super) fn of_row(&self, row: usize) -> &[u8] {
        self.0.as_ref().map_or(&[], |rows| rows.row(row).data())
    }
}

impl<T: Default> BySeries<T> {
    pub(super) fn new(keys: &[FieldRef]) -> Result<Self> {
        let fields = keys.iter().map(|field| SortField::new(field.data_type().clone()));
        let converter = (!keys.is_empty()).then(|| RowConverter::new(fields.collect()));
        let converter = converter.transpose()?;
        Ok(Self { converter, values: BTreeMap::new(), key_bytes: 0 })
    }

    pub(super) fn keys(&self, columns: &[ArrayRef]) -> Result<Keys> {
        let rows = self.converter.as_ref().map(|converter| converter.convert_columns(columns));
        Ok(Keys(rows.transpose()?))
    }

    pub(super) fn entry(&mut self, key: &[u8]) -> &mut T {
        if !self.values.contains_key(key) {
            self.key_bytes += key.len();
            self.values.insert(key.to_vec(), T::default());
        }
        self.values.get_mut(key).expect("it is there or was just put there")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &T)> {
        self.values.iter().map(|(key, value)| (key.as_slice(), value))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.values.values()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Bytes, less what the values point to.
    pub(super) fn size(&self) -> usize {
        let converter = self.converter.as_ref().map_or(0, RowConverter::size);
        size_of_val(self)
            + converter
            + self.values.len() * size_of::<(Vec<u8>, T)>()
            + self.key_bytes
    }
}
