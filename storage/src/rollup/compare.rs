//! Holds the rows of a tier against what they should be: what the rows that it was made from
//! reduce to.
//!
//! Promises: both sides are read once, in step, a batch of each in memory. What a row may leave
//! unsaid (docs/formats/rollup.md) is no difference, and totals of doubles may differ by the order
//! of their additions.

use super::columns::{FieldColumns, Kept};
use crate::error::{ErrorKind, StorageError};
use crate::model::{FieldType, TableSchema, Timestamp};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Float64Type, Int32Type, TimestampMicrosecondType};
use arrow::util::display::array_value_to_string;
use std::cmp::Ordering;

/// What a comparison has come to.
#[derive(Debug)]
pub(crate) struct Compared {
    /// Rows of the tier that were held against others.
    pub(crate) rows: u64,
    /// The first that is not as it should be.
    pub(crate) difference: Option<Difference>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The values of the tier's identity tags.
    pub(crate) identity: Vec<String>,
    /// When the bucket begins.
    pub(crate) bucket: Timestamp,
    /// What is wrong with the row, in a sentence.
    pub(crate) found: String,
}

/// Compares rows of a tier's table, `own`, with those that they should be, both sorted by identity
/// and time and in the columns of `tier`; buckets that are not `clean` are passed over.
pub(crate) fn compare(
    raw: &TableSchema,
    tier: &TableSchema,
    own: impl Iterator<Item = Result<RecordBatch, StorageError>>,
    wanted: impl Iterator<Item = Result<RecordBatch, StorageError>>,
    clean: impl Fn(Timestamp) -> bool,
) -> Result<Compared, StorageError> {
    let rules = rules(raw, tier);
    let (mut own, mut wanted) = (Side::new(own, &clean), Side::new(wanted, &clean));
    let mut rows = 0;
    let difference = loop {
        match (own.load()?, wanted.load()?) {
            (None, None) => break None,
            (Some(own), None) => break Some(own.extra(tier)),
            (None, Some(wanted)) => break Some(wanted.missing(tier)),
            (Some(one), Some(other)) => {
                let both = one.rows.min(other.rows);
                if let Some(difference) = first_difference(tier, &rules, &one, &other, both) {
                    break Some(difference);
                }
                rows += both as u64;
                own.row += both;
                wanted.row += both;
            }
        }
    };
    Ok(Compared { rows, difference })
}

/// When two values of a column are the same.
#[derive(Clone, Copy, Debug)]
enum Rule {
    Exact,
    /// NULL is 0: the file is older than the field.
    Count,
    /// The row may not know the value where this column, a count, is above zero.
    Known {
        count: usize,
    },
    /// Beside that, a total of doubles: of so many, of at least and at most such values.
    Total {
        count: usize,
        min: usize,
        max: usize,
    },
}

/// By column of the tier.
fn rules(raw: &TableSchema, tier: &TableSchema) -> Vec<Rule> {
    let first = tier.first_field();
    let mut rules = vec![Rule::Exact; first + tier.fields.len()];
    for field in &raw.fields {
        let columns = FieldColumns::of(tier, field);
        let place = |kept| columns.place(kept).map(|place| first + place);
        let Some(count) = place(Kept::Count) else { continue };
        for kept in Kept::ALL {
            let Some(own) = place(kept) else { continue };
            let total = matches!(kept, Kept::Sum | Kept::Increase);
            rules[own] = match (kept, place(Kept::Min), place(Kept::Max)) {
                (Kept::Count, ..) => Rule::Count,
                (_, Some(min), Some(max)) if total && field.field_type == FieldType::Float64 => {
                    Rule::Total { count, min, max }
                }
                _ => Rule::Known { count },
            };
        }
    }
    rules
}

/// One of the two streams.
struct Side<'a, I, F> {
    batches: I,
    clean: &'a F,
    batch: Option<RecordBatch>,
    row: usize,
}

/// Rows that a side stands at.
struct Here<'a> {
    batch: &'a RecordBatch,
    row: usize,
    rows: usize,
}

impl<'a, I, F> Side<'a, I, F>
where
    I: Iterator<Item = Result<RecordBatch, StorageError>>,
    F: Fn(Timestamp) -> bool,
{
    fn new(batches: I, clean: &'a F) -> Self {
        Self { batches, clean, batch: None, row: 0 }
    }

    fn load(&mut self) -> Result<Option<Here<'_>>, StorageError> {
        while self.batch.as_ref().is_none_or(|batch| self.row == batch.num_rows()) {
            let Some(batch) = self.batches.next().transpose()? else { return Ok(None) };
            let times = batch.column(0).as_primitive::<TimestampMicrosecondType>().values();
            let clean: BooleanArray =
                times.iter().map(|start| Some((self.clean)(*start))).collect();
            let batch = filter_record_batch(&batch, &clean)
                .map_err(|e| StorageError::because(ErrorKind::Internal, "rows not chosen", e))?;
            (self.batch, self.row) = (Some(batch), 0);
        }
        let (batch, row) = (self.batch.as_ref(), self.row);
        Ok(batch.map(|batch| Here { batch, row, rows: batch.num_rows() - row }))
    }
}

impl Here<'_> {
    fn difference(&self, tier: &TableSchema, row: usize, found: String) -> Difference {
        let tags = &self.batch.columns()[1..=tier.identity.len()];
        let times = self.batch.column(0).as_primitive::<TimestampMicrosecondType>();
        let identity = tags.iter().map(|column| text(column, self.row + row)).collect();
        Difference { identity, bucket: times.value(self.row + row), found }
    }

    fn extra(&self, tier: &TableSchema) -> Difference {
        self.difference(tier, 0, "no row of the source leads to this one".to_owned())
    }

    fn missing(&self, tier: &TableSchema) -> Difference {
        self.difference(tier, 0, "the row is missing".to_owned())
    }

    fn column(&self, column: usize, rows: usize) -> ArrayRef {
        self.batch.column(column).slice(self.row, rows)
    }
}

fn first_difference(
    tier: &TableSchema,
    rules: &[Rule],
    own: &Here<'_>,
    wanted: &Here<'_>,
    rows: usize,
) -> Option<Difference> {
    let equal = |column: &usize| own.column(*column, rows) == wanted.column(*column, rows);
    let suspect: Vec<usize> = (0..rules.len()).filter(|column| !equal(column)).collect();
    if suspect.is_empty() {
        return None;
    }
    (0..rows).find_map(|row| match keys(tier, own, row).cmp(&keys(tier, wanted, row)) {
        Ordering::Less => {
            Some(own.difference(tier, row, "no row of the source leads to this one".to_owned()))
        }
        Ordering::Greater => Some(wanted.difference(tier, row, "the row is missing".to_owned())),
        Ordering::Equal => {
            let differs = |column: &&usize| !same(rules[**column], **column, own, wanted, row);
            suspect.iter().find(differs).map(|column| {
                let name = tier.column_names().nth(*column).unwrap_or_default();
                let is = text(own.batch.column(*column), own.row + row);
                let should = text(wanted.batch.column(*column), wanted.row + row);
                own.difference(tier, row, format!("{name} is {is}, its source gives {should}"))
            })
        }
    })
}

/// What rows are sorted by.
fn keys(tier: &TableSchema, here: &Here<'_>, row: usize) -> (Vec<String>, Timestamp) {
    let tags = &here.batch.columns()[1..=tier.identity.len()];
    let times = here.batch.column(0).as_primitive::<TimestampMicrosecondType>();
    let identity = tags.iter().map(|column| text(column, here.row + row)).collect();
    (identity, times.value(here.row + row))
}

fn same(rule: Rule, column: usize, own: &Here<'_>, wanted: &Here<'_>, row: usize) -> bool {
    let (is, at) = (own.batch.column(column), own.row + row);
    let (should, other) = (wanted.batch.column(column), wanted.row + row);
    if is.slice(at, 1) == should.slice(other, 1) {
        return true;
    }
    let count = |column: &ArrayRef, at: usize| {
        let counts = column.as_primitive::<Int32Type>();
        if counts.is_null(at) { 0 } else { counts.value(at) }
    };
    match rule {
        Rule::Exact => false,
        Rule::Count => count(is, at) == count(should, other),
        Rule::Known { count: counts } => is.is_null(at) && count(own.batch.column(counts), at) > 0,
        Rule::Total { count: counts, min, max } => {
            let rows = count(own.batch.column(counts), at);
            if is.is_null(at) {
                return rows > 0;
            }
            let value =
                |column: &ArrayRef, at: usize| column.as_primitive::<Float64Type>().value(at);
            let largest = value(own.batch.column(min), at).abs();
            let largest = largest.max(value(own.batch.column(max), at).abs());
            should.is_valid(other)
                && are_close(value(is, at), value(should, other), f64::from(rows), largest)
        }
    }
}

/// Two sums of the same doubles in other orders of additions.
fn are_close(one: f64, other: f64, rows: f64, largest: f64) -> bool {
    let bound = rows * rows * largest * 2.0_f64.powi(-51);
    (one - other).abs() <= bound || !bound.is_finite() || (one.is_nan() && other.is_nan())
}

fn text(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "NULL".to_owned();
    }
    array_value_to_string(column, row).unwrap_or_default()
}
