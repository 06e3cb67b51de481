//! A tag column as runs: sorted rows have few of them.

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, Int32Array, StringArray};
use arrow::datatypes::Int32Type;
use datafusion::common::internal_err;
use datafusion::error::Result;
use std::ops::Range;
use std::sync::Arc;

/// Rows of equal value, one run after another.
#[derive(Debug)]
pub(crate) struct TagRuns {
    /// The row after each run.
    ends: Vec<u32>,
    /// Each run's place in `values`, `NULL` where it has none.
    codes: Vec<u32>,
    values: ArrayRef,
}

impl TagRuns {
    /// The code of rows without a value.
    pub(crate) const NULL: u32 = u32::MAX;

    /// Runs of a dictionary of texts.
    pub(crate) fn of(column: &ArrayRef) -> Result<Self> {
        let Some(dictionary) = column.as_any().downcast_ref::<DictionaryArray<Int32Type>>() else {
            return internal_err!("a tag is a dictionary, not {}", column.data_type());
        };
        let (mut ends, mut codes) = (Vec::new(), Vec::new());
        let rows = dictionary.len() as u32;
        let mut row = 0;
        while row < rows {
            let code = code(dictionary, row);
            let end = run_end(dictionary, row, code);
            ends.push(end);
            codes.push(code);
            row = end;
        }
        ends.shrink_to_fit();
        codes.shrink_to_fit();
        Ok(Self { ends, codes, values: Arc::clone(dictionary.values()) })
    }

    pub(crate) fn ends(&self) -> &[u32] {
        &self.ends
    }

    pub(crate) fn codes(&self) -> &[u32] {
        &self.codes
    }

    pub(crate) fn value(&self, code: u32) -> Option<&str> {
        let values: &StringArray = self.values.as_string();
        (code != Self::NULL).then(|| values.value(code as usize))
    }

    /// The values of some codes as a column of the tag's type.
    pub(crate) fn column(&self, codes: impl Iterator<Item = u32>) -> ArrayRef {
        let keys: Int32Array =
            codes.map(|code| (code != Self::NULL).then_some(code as i32)).collect();
        Arc::new(DictionaryArray::new(keys, Arc::clone(&self.values)))
    }

    /// The rows of `range` as a column.
    pub(crate) fn rows(&self, range: Range<u32>) -> ArrayRef {
        self.rows_at(range)
    }

    /// Some rows, ascending, as a column.
    pub(crate) fn rows_at(&self, rows: impl Iterator<Item = u32>) -> ArrayRef {
        let mut run = 0;
        self.column(rows.map(move |row| {
            while self.ends[run] <= row {
                run += 1;
            }
            self.codes[run]
        }))
    }

    pub(crate) fn bytes(&self) -> usize {
        (self.ends.capacity() + self.codes.capacity()) * size_of::<u32>()
            + self.values.get_array_memory_size()
    }
}

fn code(column: &DictionaryArray<Int32Type>, row: u32) -> u32 {
    let row = row as usize;
    if column.is_valid(row) { column.keys().value(row) as u32 } else { TagRuns::NULL }
}

/// The row after the run that begins at `start`.
fn run_end(column: &DictionaryArray<Int32Type>, start: u32, code: u32) -> u32 {
    let rows = column.len() as u32;
    let mut row = start + 1;
    if column.null_count() == 0 {
        let keys = &column.keys().values()[start as usize..];
        let run = keys.iter().position(|key| *key as u32 != code).unwrap_or(keys.len());
        return start + run as u32;
    }
    while row < rows && self::code(column, row) == code {
        row += 1;
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_are_the_rows(
            tags in prop::collection::vec(prop::option::weighted(0.8, 0..3_u8), 0..40),
            cut in 0..40_usize,
        ) {
            let texts: Vec<Option<String>> =
                tags.iter().map(|tag| tag.map(|tag| tag.to_string())).collect();
            let column: DictionaryArray<Int32Type> =
                texts.iter().map(|text| text.as_deref()).collect();
            let column: ArrayRef = Arc::new(column);
            let runs = TagRuns::of(&column).unwrap();
            let mut start = 0;
            for (end, code) in runs.ends().iter().zip(runs.codes()) {
                prop_assert!(*end > start);
                for row in start..*end {
                    prop_assert_eq!(runs.value(*code), texts[row as usize].as_deref());
                }
                start = *end;
            }
            prop_assert_eq!(start as usize, texts.len());
            let from = cut.min(texts.len()) as u32;
            let rows = runs.rows(from..start);
            prop_assert_eq!(&rows, &column.slice(from as usize, rows.len()));
        }
    }
}
