//! Least and greatest values of a column, by which readers skip: of each page, for the file's
//! index, and of the whole chunk. Those of long texts are cut: the least to what it begins with, the
//! greatest to such a beginning raised.

use parquet::basic::{BoundaryOrder, Type};
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnIndexBuilder;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::{Statistics, ValueStatistics};

/// Bytes of a text that a bound keeps.
const KEPT: usize = 64;

/// A value that has bounds.
pub(super) trait Bounded: Copy + Ord {
    const TYPE: Type;

    /// What is not above the value, and what is not below it, as an index keeps them.
    fn below(self) -> Vec<u8>;
    fn above(self) -> Vec<u8>;

    fn statistics(bounds: Option<(Self, Self)>, nulls: u64) -> Statistics;
}

impl Bounded for i64 {
    const TYPE: Type = Type::INT64;

    fn below(self) -> Vec<u8> {
        self.to_le_bytes().into()
    }

    fn above(self) -> Vec<u8> {
        self.to_le_bytes().into()
    }

    fn statistics(bounds: Option<(Self, Self)>, nulls: u64) -> Statistics {
        let (least, greatest) = bounds.unzip();
        Statistics::int64(least, greatest, None, Some(nulls), false)
    }
}

impl Bounded for &str {
    const TYPE: Type = Type::BYTE_ARRAY;

    fn below(self) -> Vec<u8> {
        self[..self.floor_char_boundary(KEPT)].into()
    }

    /// Texts are in the order of their characters: with its last character raised, a beginning is
    /// above all that begin with it.
    fn above(self) -> Vec<u8> {
        let mut kept = self[..self.floor_char_boundary(KEPT)].to_owned();
        if kept.len() == self.len() {
            return kept.into();
        }
        while let Some(last) = kept.pop() {
            let raised = (last..=char::MAX).nth(1);
            if let Some(raised) = raised {
                kept.push(raised);
                return kept.into();
            }
        }
        self.into()
    }

    fn statistics(bounds: Option<(Self, Self)>, nulls: u64) -> Statistics {
        let (least, greatest) = bounds.unzip();
        let is_whole = |text: Option<&str>| text.is_some_and(|text| text.len() <= KEPT);
        let statistics = ValueStatistics::new(
            least.map(|least| ByteArray::from(least.below())),
            greatest.map(|greatest| ByteArray::from(greatest.above())),
            None,
            Some(nulls),
            false,
        );
        let exact = statistics.with_min_is_exact(is_whole(least));
        Statistics::ByteArray(exact.with_max_is_exact(is_whole(greatest)))
    }
}

/// What a file keeps of a column chunk's bounds.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) statistics: Option<Statistics>,
    pub(super) index: Option<ColumnIndexMetaData>,
}

/// The bounds of a column chunk as its pages come.
pub(super) struct Bounds<T> {
    index: ColumnIndexBuilder,
    chunk: Option<(T, T)>,
    /// Of the last page that has values.
    last: Option<(T, T)>,
    /// Whether no page's bounds are below those of a page before.
    ascends: bool,
    nulls: u64,
}

impl<T: Bounded> Bounds<T> {
    pub(super) fn new() -> Self {
        let index = ColumnIndexBuilder::new(T::TYPE);
        Self { index, chunk: None, last: None, ascends: true, nulls: 0 }
    }

    /// The values of the next page that are there, and how many are not.
    pub(super) fn page(&mut self, values: impl Iterator<Item = T>, nulls: usize) {
        let page = span(values.map(|value| (value, value)));
        let (least, greatest) =
            page.map(|(least, greatest)| (least.below(), greatest.above())).unzip();
        let (least, greatest) = (least.unwrap_or_default(), greatest.unwrap_or_default());
        self.index.append(page.is_none(), least, greatest, nulls as i64);
        self.chunk = span(self.chunk.into_iter().chain(page));
        if let Some((low, high)) = page {
            self.ascends &= self.last.is_none_or(|last| last.0 <= low && last.1 <= high);
            self.last = page;
        }
        self.nulls += nulls as u64;
    }

    pub(super) fn finish(mut self) -> Result<Kept, ParquetError> {
        if self.ascends {
            self.index.set_boundary_order(BoundaryOrder::ASCENDING);
        }
        Ok(Kept {
            statistics: Some(T::statistics(self.chunk, self.nulls)),
            index: Some(self.index.build()?),
        })
    }
}

fn span<T: Ord>(spans: impl Iterator<Item = (T, T)>) -> Option<(T, T)> {
    spans.reduce(|(least, greatest), (low, high)| (least.min(low), greatest.max(high)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_kept_of_a_text_is_below_and_above_it(
            text in "(a{60,63}|[\u{10fffe}\u{10ffff}]{15,16}|)[a-c\u{7f}\u{d7ff}\u{10ffff}]{0,8}",
        ) {
            let (below, above) = (text.as_str().below(), text.as_str().above());
            prop_assert!(below.as_slice() <= text.as_bytes() && below.len() <= KEPT);
            prop_assert!(above.as_slice() >= text.as_bytes());
            prop_assert!(std::str::from_utf8(&above).is_ok() && std::str::from_utf8(&below).is_ok());
            if text.len() <= KEPT {
                prop_assert_eq!((&*below, &*above), (text.as_bytes(), text.as_bytes()));
            }
        }
    }

    #[test]
    fn a_long_text_is_cut_above_too() {
        let long = "a".repeat(KEPT + 1);
        assert_eq!(long.as_str().above(), format!("{}b", "a".repeat(KEPT - 1)).into_bytes());
        let highest = char::MAX.to_string().repeat(KEPT);
        assert_eq!(highest.as_str().above(), highest.into_bytes());
    }
}
