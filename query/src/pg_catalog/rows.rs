//! Tables of the catalog, column by column.

use arrow::array::RecordBatch;
use arrow::array::{
    Array, ArrayRef, BooleanArray, Int32Array, ListBuilder, PrimitiveBuilder, StringArray,
};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, Int16Type, Int32Type, Schema};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::oid_field::{kind, oid_field};
use std::sync::Arc;

/// A table with one row for each of some things; columns come in the order in which they are named.
pub(super) struct Rows<'a, T> {
    of: &'a [T],
    columns: Vec<(Field, ArrayRef)>,
}

impl<'a, T> Rows<'a, T> {
    pub(super) fn of(of: &'a [T]) -> Self {
        Self { of, columns: Vec::new() }
    }

    fn column(mut self, field: Field, values: ArrayRef) -> Self {
        self.columns.push((field, values));
        self
    }

    fn plain(self, name: &str, values: ArrayRef) -> Self {
        self.column(Field::new(name, values.data_type().clone(), true), values)
    }

    /// Numbers of objects, which clients are told as such.
    pub(super) fn oid(self, name: &str, value: impl Fn(&'a T) -> i32) -> Self {
        let values = Int32Array::from_iter_values(self.of.iter().map(value));
        self.column(oid_field(name, kind::OID, true), Arc::new(values))
    }

    /// The same number in every row.
    pub(super) fn same_oid(self, name: &str, value: i32) -> Self {
        self.oid(name, |_| value)
    }

    pub(super) fn text<S: AsRef<str>>(self, name: &str, value: impl Fn(&'a T) -> S) -> Self {
        self.some_text(name, |row| Some(value(row)))
    }

    pub(super) fn some_text<S: AsRef<str>>(
        self,
        name: &str,
        value: impl Fn(&'a T) -> Option<S>,
    ) -> Self {
        let values: StringArray = self.of.iter().map(value).collect();
        self.plain(name, Arc::new(values))
    }

    pub(super) fn flag(self, name: &str, value: impl Fn(&'a T) -> bool) -> Self {
        let values: BooleanArray = self.of.iter().map(|row| Some(value(row))).collect();
        self.plain(name, Arc::new(values))
    }

    /// Values of any type that all rows have; `none` is the type where there is no row.
    pub(super) fn value(
        self,
        name: &str,
        none: &ScalarValue,
        value: impl Fn(&'a T) -> ScalarValue,
    ) -> Result<Self> {
        let values = match self.of {
            [] => none.to_array_of_size(0)?,
            rows => ScalarValue::iter_to_array(rows.iter().map(value))?,
        };
        Ok(self.plain(name, values))
    }

    /// The same value in every row.
    pub(super) fn same(self, name: &str, value: impl Into<ScalarValue>) -> Result<Self> {
        let values = value.into().to_array_of_size(self.of.len())?;
        Ok(self.plain(name, values))
    }

    /// Nothing in every row.
    pub(super) fn none(self, name: &str, data_type: &DataType) -> Result<Self> {
        self.same(name, ScalarValue::try_from(data_type)?)
    }

    /// A list of nothing: of privileges, of options.
    pub(super) fn no_list(self, name: &str) -> Result<Self> {
        self.none(name, &DataType::new_list(DataType::Utf8, true))
    }

    pub(super) fn smalls(self, name: &str, value: impl Fn(&'a T) -> Vec<i16>) -> Self {
        self.list::<Int16Type>(name, value)
    }

    pub(super) fn oids(self, name: &str, value: impl Fn(&'a T) -> Vec<i32>) -> Self {
        self.list::<Int32Type>(name, value)
    }

    fn list<P: ArrowPrimitiveType>(
        self,
        name: &str,
        value: impl Fn(&'a T) -> Vec<P::Native>,
    ) -> Self {
        let mut lists = ListBuilder::new(PrimitiveBuilder::<P>::new());
        for row in self.of {
            lists.append_value(value(row).into_iter().map(Some));
        }
        self.plain(name, Arc::new(lists.finish()))
    }

    pub(super) fn batch(self) -> Result<RecordBatch> {
        let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = self.columns.into_iter().unzip();
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }
}
