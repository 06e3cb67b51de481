//! What exporters print, and the rows that a scrape becomes.

use super::{DICTIONARY, Verdict};
use crate::exposition::{Entry, Format, MAX_LABELS, Parser, Sample};
use crate::scrape::{Mapped, Mapper, Origin};
use warpline_storage::model::Block;

/// The text is read in both formats, and scraped twice in the one that it seems to be: the second
/// time, when all series are known, it becomes the same rows.
pub fn exposition(input: &[u8]) -> Verdict {
    for format in [Format::Prometheus, Format::OpenMetrics] {
        let mut last = 0;
        for entry in Parser::new(input, format) {
            let Ok(Entry::Sample(sample)) = entry else { continue };
            assert!(sample.line > last, "a line has one sample");
            last = sample.line;
            check(&sample, format);
        }
    }
    let mut mapper = Mapper::new(DICTIONARY.clone(), Origin::default());
    let format = Format::detect(None, input);
    let first = mapper.map(input, format, 1_000_000);
    let second = mapper.map(input, format, 1_000_000);
    assert_eq!(first.report, second.report);
    assert_same(&first, &second);
    first.report.refused.reasons.first().map_or(Ok(()), |reason| Err(reason.clone()))
}

/// A series is what its text says, wherever the text stands.
fn check(sample: &Sample<'_>, format: Format) {
    let labels: Vec<_> = sample.labels.clone().collect();
    assert!(labels.len() <= MAX_LABELS);
    let alone = format!("{} 1", sample.series);
    let Some(Ok(Entry::Sample(again))) = Parser::new(alone.as_bytes(), format).next() else {
        panic!("{alone:?} is no sample");
    };
    assert_eq!(again.metric, sample.metric);
    assert!(again.labels.eq(labels));
}

fn assert_same(one: &Mapped, other: &Mapped) {
    assert_eq!(one.blocks, other.blocks);
    let mut rows = 0;
    for (layout, bytes) in &one.blocks {
        let block = Block::parse(layout.clone(), bytes.clone()).expect("a block is sound");
        rows += block.rows();
    }
    assert_eq!(rows, one.report.rows);
}
