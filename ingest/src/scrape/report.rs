//! What became of a scrape, in numbers.

/// Reasons that are kept word for word.
const KEPT_REASONS: usize = 16;

/// Counts of one scrape, or of many added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Sample lines read.
    pub samples: usize,
    /// Different series among them.
    pub series: usize,
    /// Rows made, over all tables.
    pub rows: usize,
    /// Cells of those rows that have no value: NULL in the table.
    pub nulls: usize,
    /// Samples whose number means that there is no value: DCGM's blanks, and NaN in a known field.
    pub blank: usize,
    /// Values that lost decimals.
    pub rounded: usize,
    /// Samples that wrote a cell of the same scrape again: the last one stays.
    pub repeated: usize,
    /// Exemplars, which are read over.
    pub exemplars: usize,
    pub refused: Refusals,
}

/// Lines and values that were not taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    pub count: usize,
    /// The first few reasons.
    pub reasons: Vec<String>,
}

impl Refusals {
    pub fn add(&mut self, reason: impl FnOnce() -> String) {
        self.count += 1;
        if self.reasons.len() < KEPT_REASONS {
            self.reasons.push(reason());
        }
    }
}
