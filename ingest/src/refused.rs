//! What of a request was not taken: how much of it for which reason, and some of it in words.

/// Examples that are told in words.
const MAX_EXAMPLES: usize = 8;
/// An example is cut to about this many bytes: names and labels come from outside.
const EXAMPLE_BYTES: usize = 512;

/// Why something was not taken, and what is counted under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// Bytes that are not what they are said to be. Counts requests, or lines of text.
    Malformed,
    /// A series whose name or labels cannot be taken, or that would pass a limit. Counts samples.
    Series,
    /// A field that cannot be a column of its table. Counts values.
    Column,
    /// A value that its column cannot hold. Counts values.
    Value,
    /// A time too far ahead, or longer ago than rows are kept. Counts values.
    Time,
    /// Native and exponential histograms. Counts them.
    Histogram,
    /// Sums and histograms of delta temporality. Counts data points.
    Delta,
    /// Exemplars. Counts them.
    Exemplar,
    /// A request of a size or at a time that the server cannot take, or that it failed at. Counts
    /// requests.
    Busy,
}

impl Reason {
    pub const ALL: [Self; 9] = [
        Self::Malformed,
        Self::Series,
        Self::Column,
        Self::Value,
        Self::Time,
        Self::Histogram,
        Self::Delta,
        Self::Exemplar,
        Self::Busy,
    ];

    /// The word used in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Series => "series",
            Self::Column => "column",
            Self::Value => "value",
            Self::Time => "time",
            Self::Histogram => "histogram",
            Self::Delta => "delta",
            Self::Exemplar => "exemplar",
            Self::Busy => "busy",
        }
    }
}

/// Refusals of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    counts: [u64; Reason::ALL.len()],
    examples: Vec<String>,
}

impl Refused {
    pub fn add(&mut self, reason: Reason, count: u64, example: impl FnOnce() -> String) {
        self.counts[reason as usize] += count;
        if self.examples.len() < MAX_EXAMPLES && count > 0 {
            let example = shortened(example(), EXAMPLE_BYTES);
            if !self.examples.contains(&example) {
                self.examples.push(example);
            }
        }
    }

    /// Adds what of another request was not taken.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        for example in &other.examples {
            if self.wants_examples() && !self.examples.contains(example) {
                self.examples.push(example.clone());
            }
        }
    }

    /// Whether another example would be kept.
    pub fn wants_examples(&self) -> bool {
        self.examples.len() < MAX_EXAMPLES
    }

    pub fn count(&self, reason: Reason) -> u64 {
        self.counts[reason as usize]
    }

    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub fn examples(&self) -> &[String] {
        &self.examples
    }
}

/// The text, cut to about so many bytes.
pub(crate) fn shortened(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        let end = (0..=bytes).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}
